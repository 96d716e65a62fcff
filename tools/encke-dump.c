/*
 * encke-dump.c - prints the messages of channels, as they come; also the events and parts of any server, and WebSockets.
 *
 * A link of the library subscribes and comes back by itself; what may have been missed is told on stderr. Messages go to
 * stdout: a line that names each and its data, the data alone (--raw), or a line of JSON each (--json).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

static const char help[] =
  "usage: encke-dump [OPTION...] [CHANNEL|URL...]\n"
  "Prints the messages of these channels, or sources; without one, of all channels.\n"
  "\n"
  "  -n, --count N           end after so many\n"
  "  -t, --types LIST        only these content types: \"text/*,!text/html\"\n"
  "  -f, --from LIST         only these senders; who gave no name passes\n"
  "  -r, --raw               the data and nothing else\n"
  "  -j, --json              a line of JSON for each message\n"
  "  -w, --wait SECONDS      without a connection for so long it gives up; default: never\n"
  "  -q, --quiet             nothing about connections on stderr\n"
  "  -b, --bus               a URL is a channel of a bus, whatever its path\n"
  "  -P, --protocol NAME     of WebSockets: the subprotocol to ask for\n" PLACE_HELP
  "  -h, --help   -V, --version\n"
  "\n"
  "A channel's URL is http://HOST:PORT/msgbus/CHANNEL, https://... or unix:/SOCKET:/msgbus/CHANNEL. Every other is a source:\n"
  "http://HOST/PATH?QUERY (server-sent events, multipart/x-mixed-replace), https://..., ws://... or wss://... (WebSocket).\n"
  "USER:SECRET@ may stand before HOST.\n"
  "Exit codes: 0 so many came, or it was told to end; 1 refused or no connection; 2 the command line is wrong.\n";

enum form { FORM_SHOWN, FORM_RAW, FORM_JSON };

/* One channel of one bus. */
struct source {
  struct target target;
  encke_id id;
  uint64_t down_since; /* in ns; 0: not down */
  int was_down;
};

static enum form form = FORM_SHOWN;
static uint64_t wait_ms = UINT64_MAX, left = UINT64_MAX;
static int quiet;
static size_t open_sources;

/* ---- printing ------------------------------------------------------------------------------------------------------- */

/* Bytes of the character of UTF-8 at p; 0: it is none. Overlong forms and surrogates are none. */
static size_t utf8_at(const unsigned char *p, size_t n) {
  size_t len = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
  if (len == 0 || len > n)
    return 0;
  for (size_t i = 1; i < len; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  int bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
  return bad ? 0 : len;
}

static int is_text(const unsigned char *p, size_t n) {
  for (size_t i = 0, len; i < n; i += len)
    if ((len = utf8_at(p + i, n - i)) == 0)
      return 0;
  return 1;
}

/* A stranger's text must not move the cursor: what is no printable character is shown as a dot. */
static void put_safely(const unsigned char *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int c1 = i + 1 < n && p[i] == 0xc2 && p[i + 1] < 0xa0; /* the other control characters */
    int control = (p[i] < ' ' && p[i] != '\n' && p[i] != '\t') || p[i] == 0x7f || c1;
    putchar(control ? '.' : p[i]);
    i += (size_t)c1;
  }
}

static void put_str(encke_str s) {
  put_safely((const unsigned char *)s.p, s.n);
}

static void show(encke_str channel, const encke_message *m) {
  put_str(channel.n > 0 ? channel : (encke_str){"/", 1});
  putchar(' ');
  put_str(m->type.n > 0 ? m->type : (encke_str){"-", 1});
  putchar(' ');
  put_str(m->from.n > 0 ? m->from : (encke_str){"-", 1});
  printf(" %llu bytes\n", (unsigned long long)m->len);
  const unsigned char *data = m->data;
  if (m->len == 0)
    return;
  if (is_text(data, m->len) && memchr(data, '\0', m->len) == NULL) {
    put_safely(data, m->len);
    if (data[m->len - 1] != '\n')
      putchar('\n');
  }
}

static void put_json(const char *name, const void *text, size_t n) {
  const unsigned char *p = text;
  printf("\"%s\":\"", name);
  for (size_t i = 0; i < n; i++) {
    if (p[i] == '"' || p[i] == '\\')
      printf("\\%c", p[i]);
    else if (p[i] < ' ' || p[i] == 0x7f)
      printf("\\u%04x", p[i]);
    else
      putchar(p[i]);
  }
  putchar('"');
}

static void show_json(encke_str channel, const encke_message *m) {
  putchar('{');
  put_json("channel", channel.p, channel.n);
  const struct { const char *name; encke_str value; } rest[] = {{"type", m->type}, {"from", m->from}, {"event", m->event}, {"key", m->key}};
  for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
    if (rest[i].value.n == 0)
      continue;
    putchar(',');
    put_json(rest[i].name, rest[i].value.p, rest[i].value.n);
  }
  putchar(',');
  if (is_text(m->data, m->len)) {
    put_json("data", m->data, m->len);
  } else {
    fputs("\"base64\":\"", stdout);
    put_base64(stdout, m->data, m->len);
    putchar('"');
  }
  fputs("}\n", stdout);
}

static void on_message(const encke_event *ev) {
  if (left == 0)
    return;
  left--;
  if (form == FORM_RAW)
    fwrite(ev->message->data, 1, ev->message->len, stdout);
  else if (form == FORM_JSON)
    show_json(ev->channel, ev->message);
  else
    show(ev->channel, ev->message);
}

/* ---- the link ------------------------------------------------------------------------------------------------------- */

static const char *name_of(const struct source *source) {
  if (source->target.source)
    return "";
  return source->target.channel[0] != '\0' ? source->target.channel : "*";
}

static void on_link(struct source *source, const encke_event *ev) {
  switch (ev->code) {
  case ENCKE_LINK_UP:
    if (source->was_down && !quiet)
      complain("%s%s: connected", source->target.url, name_of(source));
    source->down_since = 0;
    source->was_down = 0;
    break;
  case ENCKE_LINK_DOWN:
    if (wait_ms == 0)
      die("%s%s: %.*s", source->target.url, name_of(source), (int)ev->len, (const char *)ev->data);
    if (!quiet && !source->was_down)
      complain("%s%s: %.*s; trying again", source->target.url, name_of(source), (int)ev->len, (const char *)ev->data);
    source->was_down = 1;
    if (source->down_since == 0)
      source->down_since = now_ns();
    break;
  case ENCKE_LINK_REFUSED:
    if (ev->more == 204 && source->target.source) {
      if (!quiet)
        complain("%s: status 204: there is no more", source->target.url);
      source->down_since = 0;
      open_sources--;
      break;
    }
    if (ev->len > 0)
      die("%s: refused: status %u: it is at %.*s", source->target.url, (unsigned)ev->more, (int)ev->len, (const char *)ev->data);
    die("%s%s: refused: status %u%s", source->target.url, name_of(source), (unsigned)ev->more,
        ev->more == 401 ? " (it wants another --user USER:SECRET)" : "");
  case ENCKE_LINK_GAP:
    if (!quiet)
      complain("%s%s: messages may have been missed", source->target.url, name_of(source));
    break;
  default:
    break;
  }
}

/* Milliseconds until somebody has waited too long; -1: nobody is waiting. */
static int64_t patience(const struct source *sources, size_t n) {
  int64_t least = -1;
  for (size_t i = 0; i < n && wait_ms != UINT64_MAX; i++) {
    if (sources[i].down_since == 0)
      continue;
    uint64_t passed = (now_ns() - sources[i].down_since) / 1000000;
    if (passed >= wait_ms)
      die("%s%s: no connection for so long", sources[i].target.url, name_of(&sources[i]));
    int64_t more = (int64_t)(wait_ms - passed) + 1;
    least = least < 0 || more < least ? more : least;
  }
  return least;
}

int main(int argc, char **argv) {
  static const struct option options[] = {
    {"count", required_argument, NULL, 'n'}, {"types", required_argument, NULL, 't'}, {"from", required_argument, NULL, 'f'},
    {"raw", no_argument, NULL, 'r'}, {"json", no_argument, NULL, 'j'}, {"wait", required_argument, NULL, 'w'},
    {"quiet", no_argument, NULL, 'q'}, {"bus", no_argument, NULL, 'b'}, {"protocol", required_argument, NULL, 'P'}, PLACE_OPTIONS, {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
  static char *const everything[] = {"*"};
  struct place place = {0};
  encke_subscription how = {0};
  struct target (*find)(const struct place *, const char *) = find_source;
  const char *protocol = NULL;
  int counted = 0;
  program = "encke-dump";
  for (int letter; (letter = getopt_long(argc, argv, "n:t:f:rjw:qbP:hV" PLACE_LETTERS, options, NULL)) != -1;) {
    if (place_option(&place, letter, optarg))
      continue;
    switch (letter) {
    case 'n':
      left = number("--count", optarg, 1, UINT64_MAX);
      counted = 1;
      break;
    case 't':
      how.types.n = strlen(how.types.p = optarg);
      break;
    case 'f':
      how.from.n = strlen(how.from.p = optarg);
      break;
    case 'r':
      form = FORM_RAW;
      break;
    case 'j':
      form = FORM_JSON;
      break;
    case 'w':
      wait_ms = seconds("--wait", optarg);
      break;
    case 'q':
      quiet = 1;
      break;
    case 'b':
      find = find_target;
      break;
    case 'P':
      protocol = optarg;
      break;
    case 'h':
      fputs(help, stdout);
      return EXIT_SUCCESS;
    case 'V':
      print_version();
    default:
      fprintf(stderr, "Try 'encke-dump --help'.\n");
      return EXIT_USAGE;
    }
  }
  size_t n = optind < argc ? (size_t)(argc - optind) : 1;
  char *const *names = optind < argc ? argv + optind : everything;
  struct source *sources = allocate(NULL, n * sizeof *sources);
  memset(sources, 0, n * sizeof *sources);
  encke *e = new_client();
  encke_sender *sender = encke_get_sender(e);
  for (size_t i = 0; i < n; i++) {
    struct target *target = &sources[i].target;
    *target = find(&place, names[i]);
    if (target->source && how.types.n + how.from.n > 0)
      die_usage("%s: types and senders are of a bus: with --bus it is one", target->url);
    /* A bus is near; a strange server may wish for long pauses. */
    encke_link_options options_of_link = {.retry_ms_max = target->source ? 0 : 2000};
    if (protocol != NULL)
      options_of_link.protocol.n = strlen(options_of_link.protocol.p = protocol);
    encke_id link = open_link(e, &place, target, options_of_link);
    int result = encke_link_subscribe(e, link, target->channel, &how, sizeof how, &sources[i].id);
    if (result == ENCKE_E_INVAL)
      die_usage("%s: %s", target->url, encke_last_error());
    if (result != ENCKE_OK || encke_set_user(sender, sources[i].id, (uint64_t)(uintptr_t)&sources[i]) != ENCKE_OK)
      die("%s: %s", target->url, encke_last_error());
  }
  catch_signals(sender, 0);
  open_sources = n;
  while (left > 0 && open_sources > 0 && !stop_signals) {
    encke_event ev;
    if (encke_wait(e, patience(sources, n)) < 0)
      die("%s", encke_last_error());
    while (encke_next(e, &ev, sizeof ev) > 0) {
      if (ev.kind == ENCKE_EV_MESSAGE)
        on_message(&ev);
      else if (ev.kind == ENCKE_EV_LINK && ev.user != 0)
        on_link((struct source *)(uintptr_t)ev.user, &ev);
    }
    if (fflush(stdout) != 0)
      die("stdout: %s", strerror(errno));
  }
  encke_free(e);
  int missing = open_sources == 0 && left > 0 && counted;
  for (size_t i = 0; i < n; i++)
    free_target(&sources[i].target);
  free(sources);
  free(place.ca_pem);
  free(place.user);
  return missing ? EXIT_FAILURE : EXIT_SUCCESS;
}
