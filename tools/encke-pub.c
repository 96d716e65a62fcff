/*
 * encke-pub.c - load for a message bus: publishes at a rate, or as much as the bus takes, and says how much that is.
 *
 * Each message begins with its number and the time (load.h), so that encke-sub can tell what is missing and how long it
 * took. One link publishes: one connection, many messages on their way.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "load.h"

static const char help[] =
  "usage: encke-pub [OPTION...] [URL]\n"
  "Publishes messages with numbers and times that encke-sub looks at.\n"
  "\n"
  "  -c, --channel CHANNEL   default flood\n"
  "  -f, --file FILE         publish this, without numbers\n"
  "  -t, --type TYPE         content type; default text/plain\n"
  "  -r, --rate N            messages a second; default: as many as the bus takes\n"
  "  -n, --count N           end after so many\n"
  "  -d, --duration SECONDS  end after so long\n"
  "  -z, --size BYTES        of a message, at least 42; default 100\n"
  "  -i, --interval SECONDS  between two lines on stderr; default 5; 0: none\n" PLACE_HELP
  "  -h, --help   -V, --version\n"
  "\n"
  "The last line, on stdout, has sent=, acknowledged=, returned=, seconds= and per_s=.\n"
  "Exit codes: 0 all were acknowledged, 1 not, 2 the command line is wrong.\n";

static encke_sender *sender;
static encke_id link_id;
static struct target target;
static const char *type = "text/plain";
static uint64_t sent, settled, returned;
static int full, stamped = 1;
static uint32_t run;

/* False: not now. */
static int give(char *data, size_t len) {
  if (stamped)
    write_stamp(data, (struct stamp){run, sent + 1, now_ns()});
  full = !publish(sender, link_id, &target, type, data, len);
  sent += !full;
  return !full;
}

static void on_event(const encke_event *ev) {
  if (ev->kind == ENCKE_EV_WRITABLE)
    full = 0;
  if (ev->kind != ENCKE_EV_LINK)
    return;
  if (ev->code == ENCKE_LINK_ACKED)
    settled = ev->cookie;
  else if (ev->code == ENCKE_LINK_DOWN)
    complain("%s: %.*s; trying again", target.url, (int)ev->len, (const char *)ev->data);
  else if (ev->code == ENCKE_LINK_RETURNED && returned++ == 0)
    complain("%s: refused: status %u", target.url, (unsigned)ev->more);
}

int main(int argc, char **argv) {
  static const struct option options[] = {
    {"channel", required_argument, NULL, 'c'}, {"file", required_argument, NULL, 'f'}, {"type", required_argument, NULL, 't'},
    {"rate", required_argument, NULL, 'r'}, {"count", required_argument, NULL, 'n'}, {"duration", required_argument, NULL, 'd'},
    {"size", required_argument, NULL, 'z'}, {"interval", required_argument, NULL, 'i'}, PLACE_OPTIONS,
    {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
  struct place place = {0};
  uint64_t rate = 0, count = UINT64_MAX, duration_ms = UINT64_MAX, interval_ms = 5000;
  size_t len = 100;
  const char *channel = "flood";
  char *data = NULL;
  program = "encke-pub";
  for (int letter; (letter = getopt_long(argc, argv, "c:f:t:r:n:d:z:i:hV" PLACE_LETTERS, options, NULL)) != -1;) {
    if (place_option(&place, letter, optarg))
      continue;
    switch (letter) {
    case 'c':
      channel = optarg;
      break;
    case 'f':
      if ((data = read_file(optarg, &len)) == NULL)
        die("%s: %s", optarg, strerror(errno));
      stamped = 0;
      break;
    case 't':
      type = optarg;
      break;
    case 'r':
      rate = number("--rate", optarg, 1, 1000000);
      break;
    case 'n':
      count = number("--count", optarg, 1, UINT64_MAX);
      break;
    case 'd':
      duration_ms = seconds("--duration", optarg);
      break;
    case 'z':
      len = (size_t)number("--size", optarg, STAMP_SIZE, 1 << 24);
      break;
    case 'i':
      interval_ms = seconds("--interval", optarg);
      break;
    case 'h':
      fputs(help, stdout);
      return EXIT_SUCCESS;
    case 'V':
      print_version();
    default:
      fprintf(stderr, "Try 'encke-pub --help'.\n");
      return EXIT_USAGE;
    }
  }
  if (argc - optind > 1)
    die_usage("one URL, please");
  target = find_target(&place, optind < argc ? argv[optind] : channel);
  if (stamped) {
    data = allocate(NULL, len);
    memset(data, '.', len);
  }
  encke *e = new_client();
  sender = encke_get_sender(e);
  encke_link_options how = {.flags = ENCKE_LINK_REPORT, .retry_ms_max = 2000, .queue_bytes = len * 64 + (1 << 20)};
  link_id = open_link(e, &place, &target, how);
  catch_signals(sender, 0);

  uint64_t started = now_ns(), told = started, told_sent = 0, told_settled = 0;
  run = (uint32_t)(started ^ (uint64_t)getpid() << 16);
  for (;;) {
    uint64_t now = now_ns(), passed = now - started;
    int over = stop_signals || sent >= count || passed / 1000000 >= duration_ms;
    if ((over && settled >= sent) || stop_signals > 1)
      break;
    int64_t wait = interval_ms > 0 ? (int64_t)interval_ms : 1000;
    if (duration_ms != UINT64_MAX)
      wait = 100;
    while (!over && !full && sent < count) {
      uint64_t due = rate > 0 ? sent * 1000000000 / rate : 0; /* since the beginning */
      if (due > passed) {
        int64_t until = (int64_t)((due - passed) / 1000000);
        wait = until < wait ? until : wait;
        break;
      }
      if (!give(data, len))
        break;
      if (rate == 0 && sent % 256 == 0) {
        wait = 0; /* so that the link has its turn */
        break;
      }
    }
    encke_event ev;
    if (encke_wait(e, wait) < 0)
      die("%s", encke_last_error());
    while (encke_next(e, &ev, sizeof ev) > 0)
      on_event(&ev);
    if (interval_ms > 0 && now - told >= interval_ms * 1000000) {
      double s = (double)(now - told) / 1e9;
      fprintf(stderr, "%llu sent, %.0f/s; %llu acknowledged, %.0f/s\n", (unsigned long long)sent, (double)(sent - told_sent) / s,
              (unsigned long long)(settled - returned), (double)(settled - told_settled) / s);
      told = now;
      told_sent = sent;
      told_settled = settled;
    }
  }
  double s = (double)(now_ns() - started) / 1e9;
  printf("sent=%llu acknowledged=%llu returned=%llu seconds=%.3f per_s=%.1f\n", (unsigned long long)sent,
         (unsigned long long)(settled - returned), (unsigned long long)returned, s, (double)settled / s);
  encke_free(e);
  free(data);
  free_target(&target);
  free(place.ca_pem);
  free(place.user);
  return settled == sent && returned == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
