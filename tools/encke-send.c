/*
 * encke-send.c - publishes on a message bus, and tells by its exit code whether the bus has taken it.
 *
 * A link of the library does the work: it keeps what it was given until the bus has acknowledged it, over as many
 * connections as that takes. What is decided here is how long to be patient: not at all, unless --wait says otherwise.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static const char help[] =
  "usage: encke-send [OPTION...] CHANNEL|URL\n"
  "Publishes stdin as one message; the exit code is 0 when the bus has acknowledged it.\n"
  "\n"
  "  -f, --file FILE         this file instead of stdin\n"
  "  -m, --message TEXT      this text instead\n"
  "  -L, --lines             each line of stdin is a message, published as it comes\n"
  "  -t, --type TYPE         its content type; default text/plain\n"
  "  -w, --wait SECONDS      without a connection for so long it gives up; default 0: at once\n" PLACE_HELP
  "  -h, --help   -V, --version\n"
  "\n"
  "A URL is http://HOST:PORT/msgbus/CHANNEL, https://... or unix:/SOCKET:/msgbus/CHANNEL.\n"
  "Exit codes: 0 acknowledged, 1 not, 2 the command line is wrong.\n";

static encke *e;
static encke_sender *sender;
static encke_id link_id;
static struct target target;
static const char *type = "text/plain";
static uint64_t taken, settled, returned; /* messages: given to the link, done with, of these come back */
static uint64_t wait_ms, down_since;      /* in ns; 0: not down */
static char *down_why;
static int full; /* the link wants no more now */

static _Noreturn void give_up(const char *what) {
  if (taken > 1 || settled > 0)
    complain("%llu of %llu messages were acknowledged", (unsigned long long)(settled - returned), (unsigned long long)taken);
  die("%s: %s", target.url, what);
}

/* False: the link is full, and an event tells when it is not. */
static int give(const char *data, size_t len) {
  full = !publish(sender, link_id, &target, type, data, len);
  taken += !full;
  return !full;
}

static void on_link(const encke_event *ev) {
  switch (ev->code) {
  case ENCKE_LINK_UP:
    down_since = 0;
    break;
  case ENCKE_LINK_DOWN:
    free(down_why);
    down_why = strndup(ev->data, ev->len);
    if (wait_ms == 0)
      give_up(down_why != NULL ? down_why : "lost");
    if (down_since == 0)
      down_since = now_ns();
    break;
  case ENCKE_LINK_RETURNED:
    returned++;
    if (ev->more != 0)
      complain("%s: message %llu was refused: status %u%s", target.url, (unsigned long long)ev->cookie, (unsigned)ev->more,
               ev->more == 401 ? " (it wants another --user USER:SECRET)" : "");
    break;
  case ENCKE_LINK_ACKED:
    settled = ev->cookie;
    break;
  default:
    break;
  }
}

/* Waits for the link, and for `fd` to be readable unless that is -1; true: it is. */
static int wait_and_serve(int fd) {
  struct pollfd fds[] = {{.fd = encke_fd(e), .events = POLLIN}, {.fd = fd, .events = POLLIN}};
  int timeout = -1;
  if (down_since != 0) {
    uint64_t passed = (now_ns() - down_since) / 1000000;
    if (passed >= wait_ms)
      give_up(down_why != NULL ? down_why : "lost");
    timeout = wait_ms - passed < 1000 ? (int)(wait_ms - passed) + 1 : 1000;
  }
  if (poll(fds, 2, timeout) < 0 && errno != EINTR)
    die("poll: %s", strerror(errno));
  if (stop_signals)
    give_up("interrupted");
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("%s", encke_last_error());
  while (encke_next(e, &ev, sizeof ev) > 0) {
    if (ev.kind == ENCKE_EV_LINK)
      on_link(&ev);
    else if (ev.kind == ENCKE_EV_WRITABLE)
      full = 0;
  }
  return fds[1].revents != 0;
}

/* Nothing is read while the link is full: whoever writes the lines feels it. */
static void send_lines(void) {
  char *data = NULL;
  size_t len = 0, cap = 0, at = 0;
  for (int end = 0; !end || at < len;) {
    char *line_end = at < len ? memchr(data + at, '\n', len - at) : NULL;
    if (!full && (line_end != NULL || (end && at < len))) {
      size_t n = line_end != NULL ? (size_t)(line_end - data) - at : len - at;
      if (give(data + at, n))
        at += n + (line_end != NULL);
      continue;
    }
    if (!wait_and_serve(full || end ? -1 : STDIN_FILENO))
      continue;
    memmove(data, data + at, len - at);
    len -= at;
    at = 0;
    if (cap - len < 65536)
      data = allocate(data, cap = cap * 2 + 131072);
    ssize_t n = read(STDIN_FILENO, data + len, cap - len);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
      die("stdin: %s", strerror(errno));
    end = n == 0;
    len += n > 0 ? (size_t)n : 0;
  }
  free(data);
}

int main(int argc, char **argv) {
  static const struct option options[] = {
    {"file", required_argument, NULL, 'f'}, {"message", required_argument, NULL, 'm'}, {"lines", no_argument, NULL, 'L'},
    {"type", required_argument, NULL, 't'}, {"wait", required_argument, NULL, 'w'}, PLACE_OPTIONS,
    {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
  struct place place = {0};
  const char *file = "-", *text = NULL;
  int lines = 0;
  program = "encke-send";
  for (int letter; (letter = getopt_long(argc, argv, "f:m:Lt:w:hV" PLACE_LETTERS, options, NULL)) != -1;) {
    if (place_option(&place, letter, optarg))
      continue;
    switch (letter) {
    case 'f':
      file = optarg;
      break;
    case 'm':
      text = optarg;
      break;
    case 'L':
      lines = 1;
      break;
    case 't':
      if (*optarg == '\0')
        die_usage("--type: it is empty");
      type = optarg;
      break;
    case 'w':
      wait_ms = seconds("--wait", optarg);
      break;
    case 'h':
      fputs(help, stdout);
      return EXIT_SUCCESS;
    case 'V':
      print_version();
    default:
      fprintf(stderr, "Try 'encke-send --help'.\n");
      return EXIT_USAGE;
    }
  }
  if (argc - optind != 1)
    die_usage("%s", optind == argc ? "which channel?" : "one channel, please");
  if (lines && (text != NULL || strcmp(file, "-") != 0))
    die_usage("--lines: from stdin only");
  target = find_target(&place, argv[optind]);

  size_t len = 0;
  char *data = NULL;
  if (!lines && text != NULL)
    len = strlen(data = copy_text(text));
  else if (!lines && (data = read_file(file, &len)) == NULL)
    die("%s: %s", file, strerror(errno));

  e = new_client();
  sender = encke_get_sender(e);
  encke_link_options how = {.flags = ENCKE_LINK_REPORT, .retry_ms_max = 2000, .queue_bytes = len + (1 << 20)};
  link_id = open_link(e, &place, &target, how);
  catch_signals(sender, 0);
  if (lines)
    send_lines();
  else
    give(data, len);
  while (settled < taken)
    wait_and_serve(-1);
  encke_free(e);
  if (returned > 0 && taken > 1)
    complain("%llu of %llu messages were refused", (unsigned long long)returned, (unsigned long long)taken);
  free(data);
  free(down_why);
  free_target(&target);
  free(place.ca_pem);
  free(place.user);
  return returned > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
