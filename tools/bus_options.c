/* bus_options.c - see bus_options.h. */
#define _GNU_SOURCE
#include "bus_options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SECRET 512
#define FIRST_PASSED 3 /* SD_LISTEN_FDS_START */

static const char help[] =
  "usage: encke-bus [OPTION...]\n"
  "The message bus: POST " BUS "CHANNEL publishes, GET " BUS "CHANNEL subscribes.\n"
  "\n"
  "Where it listens (each may be given several times):\n"
  "  -l, --address ADDRESS     with every -p and -P; default: any address\n"
  "  -p, --port PORT           HTTP; default 8888; 0: the system chooses\n"
  "  -P, --tls-port PORT       HTTPS, with -c; default 4444\n"
  "      --listen ADDRESS      HTTP at \"127.0.0.1:8888\", \"[::1]:8888\", \":8888\"\n"
  "      --listen-tls ADDRESS  HTTPS there\n"
  "      --unix PATH           HTTP on a UNIX socket\n"
  "      --unix-mode MODE      permission bits of these sockets, such as 0660\n"
  "  Sockets that systemd hands over are taken; those named \"https\" speak TLS.\n"
  "\n"
  "Certificates:\n"
  "  -c, --certificate FILE    PEM, the certificate, those that issued it, and the key\n"
  "      --tls-key FILE        the key, if it is in a file of its own\n"
  "  SIGHUP reads them anew.\n"
  "\n"
  "Who may do what:\n"
  "  -s, --secret SECRET       everybody has to know it (HTTP Basic authentication, any user)\n"
  "      --secret-file FILE    the same, from the first line of a file\n"
  "      --cors                pages of every origin may read and publish\n"
  "  -u, --user USER           run as this user, by name or number, after listening\n"
  "\n"
  "What it serves:\n"
  "  -d, --documents DIRECTORY files, for every path outside the bus\n"
  "      --stats PATH          counters, as text, or as JSON to who asks for application/json\n"
  "      --history MESSAGES    kept in each channel for those who come back; default 100\n"
  "      --history-bytes N     and bytes of them; default 1048576\n"
  "      --history-age SECONDS and for how long; default 60\n"
  "      --slow WHAT           for who does not keep up: drop-new, drop-old, close\n"
  "      --backlog BYTES       unsent with which that begins; default 1000000\n"
  "\n"
  "  -v, --verbose             tell of subscriptions; -vv of documents too, -vvv of messages too\n"
  "  -h, --help   -V, --version\n"
  "\n"
  "SIGTERM ends it when what is under way is done, 5 seconds at the most; a second one ends it at once.\n";

static struct bus_options *chosen;

/* ---- listeners ------------------------------------------------------------------------------------------------------ */

static void add_listener(const char *address, int fd, int tls) {
  if (chosen->listener_count == sizeof chosen->listeners / sizeof *chosen->listeners)
    die_usage("too many addresses");
  chosen->listeners[chosen->listener_count++] = (struct listener){address != NULL ? copy_text(address) : NULL, fd, tls};
}

static void add_at(const char *host, const char *port, int tls) {
  char address[300];
  int bare6 = strchr(host, ':') != NULL && host[0] != '[';
  snprintf(address, sizeof address, bare6 ? "[%.256s]:%s" : "%.256s:%s", host, port);
  add_listener(address, ENCKE_NO_FD, tls);
}

/* Sockets of systemd's (sd_listen_fds): not inherited further, and taken once. */
static void add_passed(void) {
  const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
  if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != (long)getpid())
    return;
  int n = (int)number("LISTEN_FDS", count, 0, MOST);
  for (int i = 0; i < n; i++) {
    size_t len = names != NULL ? strcspn(names, ":") : 0;
    add_listener(NULL, FIRST_PASSED + i, len == 5 && strncmp(names, "https", 5) == 0);
    fcntl(FIRST_PASSED + i, F_SETFD, FD_CLOEXEC);
    if (names != NULL)
      names += len + (names[len] == ':');
  }
  unsetenv("LISTEN_PID");
  unsetenv("LISTEN_FDS");
  unsetenv("LISTEN_FDNAMES");
}

static char *first_line(const char *name) {
  size_t n;
  char *text = read_file(name, &n);
  if (text == NULL)
    die("%s: %s", name, strerror(errno));
  text[strcspn(text, "\r\n")] = '\0';
  if (text[0] == '\0')
    die("%s: the secret is empty", name);
  return text;
}

/* ---- options -------------------------------------------------------------------------------------------------------- */

struct texts {
  const char *list[MOST];
  size_t n;
};

static struct texts hosts, ports, tls_ports;

static void add_text(struct texts *texts, const char *text) {
  if (texts->n == MOST)
    die_usage("too many addresses");
  texts->list[texts->n++] = text;
}

static void add_port(struct texts *texts, const char *option, const char *text) {
  number(option, text, 0, 65535);
  add_text(texts, text);
}

static void add_unix(const char *path) {
  char *address = allocate(NULL, strlen(path) + 6);
  sprintf(address, "unix:%s", path);
  add_listener(address, ENCKE_NO_FD, 0);
  free(address);
}

static void choose(int option, uint64_t value) {
  if (chosen->choice_count == MOST)
    die_usage("too many options");
  chosen->choices[chosen->choice_count].option = option;
  chosen->choices[chosen->choice_count++].value = value;
}

static uint64_t slow_choice(const char *text) {
  static const struct { const char *name; uint64_t value; } known[] = {
    {"drop-new", ENCKE_SLOW_DROP_NEW}, {"drop-old", ENCKE_SLOW_DROP_OLD}, {"close", ENCKE_SLOW_CLOSE}};
  for (size_t i = 0; i < 3; i++)
    if (strcmp(known[i].name, text) == 0)
      return known[i].value;
  die_usage("--slow: drop-new, drop-old or close, not \"%s\"", text);
}

static uint64_t mode(const char *text) {
  char *end;
  unsigned long bits = strtoul(text, &end, 8);
  if (text[0] < '0' || text[0] > '7' || *end != '\0' || bits == 0 || bits > 0777)
    die_usage("--unix-mode: \"%s\" is no mode such as 0660", text);
  return bits;
}

static void read_line(int argc, char **argv) {
  enum { LISTEN = 256, LISTEN_TLS, UNIX, UNIX_MODE, TLS_KEY, SECRET_FILE, CORS, STATS, HISTORY, HISTORY_BYTES, HISTORY_AGE, SLOW, BACKLOG };
  static const struct option options[] = {
    {"address", required_argument, NULL, 'l'}, {"port", required_argument, NULL, 'p'}, {"tls-port", required_argument, NULL, 'P'},
    {"listen", required_argument, NULL, LISTEN}, {"listen-tls", required_argument, NULL, LISTEN_TLS}, {"unix", required_argument, NULL, UNIX},
    {"unix-mode", required_argument, NULL, UNIX_MODE}, {"certificate", required_argument, NULL, 'c'}, {"tls-key", required_argument, NULL, TLS_KEY},
    {"secret", required_argument, NULL, 's'}, {"secret-file", required_argument, NULL, SECRET_FILE}, {"cors", no_argument, NULL, CORS},
    {"user", required_argument, NULL, 'u'}, {"documents", required_argument, NULL, 'd'}, {"stats", required_argument, NULL, STATS},
    {"history", required_argument, NULL, HISTORY}, {"history-bytes", required_argument, NULL, HISTORY_BYTES},
    {"history-age", required_argument, NULL, HISTORY_AGE}, {"slow", required_argument, NULL, SLOW}, {"backlog", required_argument, NULL, BACKLOG},
    {"verbose", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
  for (int letter; (letter = getopt_long(argc, argv, "l:p:P:c:s:u:d:vhV", options, NULL)) != -1;) {
    switch (letter) {
    case 'l':
      add_text(&hosts, optarg);
      break;
    case 'p':
      add_port(&ports, "--port", optarg);
      break;
    case 'P':
      add_port(&tls_ports, "--tls-port", optarg);
      break;
    case LISTEN:
    case LISTEN_TLS:
      add_listener(optarg, ENCKE_NO_FD, letter == LISTEN_TLS);
      break;
    case UNIX:
      add_unix(optarg);
      break;
    case UNIX_MODE:
      chosen->unix_mode = mode(optarg);
      break;
    case 'c':
      chosen->certificate_file = optarg;
      break;
    case TLS_KEY:
      chosen->key_file = optarg;
      break;
    case 's':
      if (*optarg == '\0')
        die_usage("--secret: it is empty");
      chosen->secret = copy_text(optarg);
      memset(optarg, 'x', strlen(optarg)); /* ps shows what stands there */
      break;
    case SECRET_FILE:
      chosen->secret = first_line(optarg);
      break;
    case CORS:
      chosen->cors = 1;
      break;
    case 'u':
      chosen->account = find_account(optarg);
      chosen->has_account = 1;
      break;
    case 'd':
      chosen->directory = optarg;
      break;
    case STATS:
      if (optarg[0] != '/' || strncmp(optarg, BUS, strlen(BUS)) == 0)
        die_usage("--stats: \"%s\" is no path outside " BUS, optarg);
      chosen->stats_path = optarg;
      break;
    case HISTORY:
      choose(ENCKE_CHANNEL_HISTORY, number("--history", optarg, 0, UINT32_MAX));
      break;
    case HISTORY_BYTES:
      choose(ENCKE_CHANNEL_BYTES, number("--history-bytes", optarg, 0, UINT64_MAX));
      break;
    case HISTORY_AGE:
      choose(ENCKE_CHANNEL_TTL_MS, seconds("--history-age", optarg));
      break;
    case SLOW:
      choose(ENCKE_CHANNEL_SLOW, slow_choice(optarg));
      break;
    case BACKLOG:
      choose(ENCKE_CHANNEL_BACKLOG, number("--backlog", optarg, 1, UINT64_MAX));
      break;
    case 'v':
      chosen->verbose++;
      break;
    case 'h':
      fputs(help, stdout);
      exit(EXIT_SUCCESS);
    case 'V':
      print_version();
    default:
      fprintf(stderr, "Try 'encke-bus --help'.\n");
      exit(EXIT_USAGE);
    }
  }
  if (optind < argc)
    die_usage("\"%s\" is no option", argv[optind]);
  if (chosen->secret != NULL && strlen(chosen->secret) > MAX_SECRET)
    die_usage("--secret: longer than %d bytes", MAX_SECRET);
  if (chosen->key_file != NULL && chosen->certificate_file == NULL)
    die_usage("--tls-key: without --certificate");
}

/* Every address with every port; the default ports where nothing else was said. */
static void add_ports(void) {
  if (ports.n == 0 && (hosts.n > 0 || tls_ports.n > 0 || chosen->listener_count == 0))
    add_text(&ports, "8888");
  if (chosen->certificate_file != NULL && tls_ports.n == 0 && ports.n > 0)
    add_text(&tls_ports, "4444");
  if (hosts.n == 0)
    add_text(&hosts, ""); /* any */
  for (size_t h = 0; h < hosts.n; h++) {
    for (size_t p = 0; p < ports.n; p++)
      add_at(hosts.list[h], ports.list[p], 0);
    for (size_t p = 0; p < tls_ports.n; p++)
      add_at(hosts.list[h], tls_ports.list[p], 1);
  }
  for (size_t i = 0; i < chosen->listener_count; i++)
    if (chosen->listeners[i].tls && chosen->certificate_file == NULL)
      die_usage("%s: TLS needs --certificate", chosen->listeners[i].address != NULL ? chosen->listeners[i].address : "socket activation");
}

void read_options(struct bus_options *out, int argc, char **argv) {
  chosen = out;
  read_line(argc, argv);
  add_passed();
  add_ports();
}
