/*
 * encke-bus.c - the message bus as a daemon: channels below /msgbus/, the files of a directory below /.
 *
 * The library answers both (encke_mount). What is left is a host's: options, certificates, signals, the user it runs as,
 * a page of counters, and with -v what happens. Only then do requests for the bus come as events, to be looked at and
 * passed on; without -v they never leave the library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "account.h"
#include "common.h"

#define BUS "/msgbus/"
#define MOST 64          /* addresses, ports, listeners */
#define MAX_SECRET 512
#define MAX_LISTED 1000  /* channels on the page of counters */
#define GRACE_MS 5000    /* for what is under way when it is told to end */
#define FDS_OF_OURS 64   /* that are no connections */
#define FIRST_PASSED 3   /* SD_LISTEN_FDS_START */

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

static encke *e;
static encke_sender *sender;
static encke_id bus, documents; /* 0: none */
static const char *certificate_file, *key_file, *stats_path;
static char *secret;
static int verbose, drained;
static uint64_t started;

/* ---- certificates --------------------------------------------------------------------------------------------------- */

/* What the files have now; NULL: it has said why. */
static encke_tls *load(void) {
  size_t chain_len = 0, key_len = 0;
  const char *key_name = key_file != NULL ? key_file : certificate_file;
  char *chain = read_file(certificate_file, &chain_len);
  if (chain == NULL)
    complain("%s: %s", certificate_file, strerror(errno));
  char *key = chain != NULL ? read_file(key_name, &key_len) : NULL;
  if (chain != NULL && key == NULL)
    complain("%s: %s", key_name, strerror(errno));
  encke_tls *tls = NULL;
  if (key != NULL) {
    tls = encke_tls_new();
    if (encke_tls_add(tls, chain, chain_len, key, key_len) != ENCKE_OK) {
      complain("%s: %s", certificate_file, encke_last_error());
      encke_tls_free(tls);
      tls = NULL;
    }
  }
  free(chain);
  free(key);
  return tls;
}

static void load_anew(encke_tls *live) {
  if (live == NULL) {
    complain("SIGHUP: there is no certificate to read anew");
    return;
  }
  encke_tls *fresh = load();
  if (fresh != NULL && encke_tls_swap(live, fresh) == ENCKE_OK)
    complain("new certificates are in use");
  else
    complain("the old certificates stay in use");
  encke_tls_free(fresh); /* after the swap it is empty */
}

/* ---- who asks ------------------------------------------------------------------------------------------------------- */

/* The text of HTTP Basic authentication, "user:secret"; "" where there is none (RFC 7617; RFC 4648, 4). */
static void credentials(const encke_head *head, char *out, size_t cap) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  encke_str value = encke_head_get(head, "authorization");
  size_t n = 0, at = 6;
  uint32_t bits = 0;
  out[0] = '\0';
  if (value.p == NULL || value.n < at || strncasecmp(value.p, "basic ", at) != 0)
    return;
  while (at < value.n && value.p[at] == ' ')
    at++;
  for (size_t i = at; i < value.n && value.p[i] != '='; i++) {
    const char *digit = memchr(alphabet, value.p[i], 64);
    if (digit == NULL || n + 1 >= cap) {
      out[0] = '\0';
      return;
    }
    bits = (bits << 6 | (uint32_t)(digit - alphabet)) & 0xffffff;
    if ((i - at) % 4 != 0)
      out[n++] = (char)(bits >> (6 - 2 * ((i - at) % 4)) & 0xff);
  }
  out[n] = '\0';
}

/* The mounts see to this themselves; this is for the answers of ours. In constant time. */
static int is_admitted(const encke_head *head) {
  char given[1024];
  if (secret == NULL)
    return 1;
  credentials(head, given, sizeof given);
  const char *password = strchr(given, ':');
  if (password == NULL)
    return 0;
  size_t n = strlen(++password), m = strlen(secret);
  unsigned char differs = n != m;
  for (size_t i = 0; i < n; i++)
    differs |= (unsigned char)(password[i] ^ secret[m > 0 ? i % m : 0]);
  return !differs;
}

/* ---- the page of counters ------------------------------------------------------------------------------------------- */

static void reply_with(encke_id id, uint32_t status, const encke_field *fields, size_t n, const char *body, size_t len) {
  encke_response r = {.status = status, .fields = fields, .nfields = n, .body = body, .body_len = len};
  if (encke_respond(sender, id, &r, sizeof r) != ENCKE_OK)
    encke_abort(sender, id); /* where it was settled this is GONE and no harm */
}

/* A text in the quotes of JSON. */
static void put_quoted(FILE *out, const char *text) {
  fputc('"', out);
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\')
      fputc('\\', out);
    fputc(*text, out); /* names of channels have no control characters */
  }
  fputc('"', out);
}

static void put_channels(FILE *out, int json) {
  char name[256] = "", next[256];
  encke_channel_facts facts;
  int first = 1;
  for (int n = 0; n < MAX_LISTED && encke_channel_next(sender, name, next, sizeof next, NULL) == 1; n++) {
    memcpy(name, next, sizeof name);
    if (encke_channel_get(sender, name, &facts, sizeof facts) != 1)
      continue;
    unsigned long long subscribers = facts.subscribers, published = facts.published, kept = facts.messages;
    if (json) {
      fputs(first ? "" : ",", out);
      fputs("\n  {\"name\": ", out);
      put_quoted(out, name);
      fprintf(out, ", \"subscribers\": %llu, \"published\": %llu, \"kept\": %llu}", subscribers, published, kept);
    } else {
      fprintf(out, "channel %s: %llu subscribers, %llu published, %llu kept\n", name, subscribers, published, kept);
    }
    first = 0;
  }
}

static void tell_stats(encke_id id, const encke_head *head) {
  encke_stats s;
  char *text = NULL;
  size_t len = 0;
  encke_str accept = encke_head_get(head, "accept");
  int json = accept.p != NULL && strstr(accept.p, "application/json") != NULL;
  FILE *out = open_memstream(&text, &len);
  if (out == NULL || encke_stats_get(sender, &s, sizeof s) != ENCKE_OK) {
    encke_abort(sender, id);
    if (out != NULL)
      fclose(out);
    free(text);
    return;
  }
  const struct { const char *name; uint64_t value; } rows[] = {
    {"uptime_seconds", (now_ns() - started) / 1000000000},
    {"connections", s.connections}, {"accepted", s.accepted}, {"requests", s.requests}, {"aborted", s.aborted},
    {"refused", s.refused}, {"bytes_in", s.bytes_in}, {"bytes_out", s.bytes_out}, {"queued_bytes", s.queued_bytes},
    {"memory", s.memory}, {"channels", s.channels}, {"subscribers", s.subscribers}, {"published", s.published},
    {"delivered", s.delivered}, {"dropped", s.dropped},
  };
  fputs(json ? "{" : "", out);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    fprintf(out, json ? "\"%s\": %llu,\n " : "%s %llu\n", rows[i].name, (unsigned long long)rows[i].value);
  fputs(json ? "\"list\": [" : "", out);
  put_channels(out, json);
  fputs(json ? "]}\n" : "", out);
  if (fclose(out) == 0) {
    const encke_field fields[] = {
      {ENCKE_STR("content-type"), {NULL, 0}}, {ENCKE_STR("cache-control"), ENCKE_STR("no-store")}, {ENCKE_STR("vary"), ENCKE_STR("accept")}};
    encke_field all[3];
    memcpy(all, fields, sizeof all);
    all[0].value.p = json ? "application/json" : "text/plain; charset=utf-8";
    all[0].value.n = strlen(all[0].value.p);
    reply_with(id, 200, all, 3, text, len);
  } else {
    encke_abort(sender, id);
  }
  free(text);
}

/* ---- requests ------------------------------------------------------------------------------------------------------- */

/* With -v: what a request was, until its last event. */
struct asked {
  char what; /* 'B': bus, 'P': a message, 'D': a document */
  char peer[64], user[64], type[80], path[];
};

static void remember(encke_id id, const encke_head *head, char what) {
  char text[1024];
  struct asked *asked = allocate(NULL, sizeof *asked + head->path.n + 1);
  encke_str type = encke_head_get(head, "content-type");
  credentials(head, text, sizeof text);
  text[strcspn(text, ":")] = '\0';
  asked->what = what;
  snprintf(asked->peer, sizeof asked->peer, "%s", head->peer.p);
  snprintf(asked->user, sizeof asked->user, "%.63s", text[0] != '\0' ? text : "-");
  snprintf(asked->type, sizeof asked->type, "%s", type.p != NULL ? type.p : "-");
  memcpy(asked->path, head->path.p, head->path.n);
  asked->path[head->path.n] = '\0';
  if (encke_set_user(sender, id, (uint64_t)(uintptr_t)asked) != ENCKE_OK)
    free(asked);
}

static int is(encke_str s, const char *text) {
  return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void pass(encke_id id, encke_id mount) {
  if (encke_pass(sender, id, mount) != ENCKE_OK)
    encke_abort(sender, id);
}

static void on_request(encke_id id, const encke_head *head) {
  static const encke_field html = {ENCKE_STR("content-type"), ENCKE_STR("text/html")};
  int for_bus = head->path.n >= strlen(BUS) && memcmp(head->path.p, BUS, strlen(BUS)) == 0;
  if (for_bus && verbose) {
    remember(id, head, is(head->method, "POST") ? 'P' : 'B');
    pass(id, bus);
  } else if (!is_admitted(head)) {
    const encke_field fields[] = {html, {ENCKE_STR("www-authenticate"), ENCKE_STR("Basic realm=\"msgbus\"")}};
    reply_with(id, 401, fields, 2, "<h1>Unauthorized</h1>", 21);
  } else if (stats_path != NULL && is(head->path, stats_path) && (is(head->method, "GET") || is(head->method, "HEAD"))) {
    tell_stats(id, head);
  } else if (documents != 0) {
    if (verbose > 1)
      remember(id, head, 'D');
    pass(id, documents);
  } else {
    reply_with(id, 404, &html, 1, "<h1>Not Found</h1>", 18);
  }
}

/* What cannot be shown as it is, in lines that others read. */
static const char *printable(char *text) {
  for (char *at = text; *at != '\0'; at++)
    if ((unsigned char)*at < ' ' || *at == 0x7f)
      *at = '?';
  return text;
}

static void on_subscriber(const encke_event *ev) {
  struct asked *asked = (struct asked *)(uintptr_t)ev->user;
  if (asked != NULL)
    printf("%s %s %s %s\n", ev->code ? "SUB" : "UNSUB", asked->peer, printable(asked->user),
           ev->channel.n > 0 ? ev->channel.p : "*");
}

/* A message that was taken is answered without a body, one that was refused has a page. */
static void on_done(const encke_event *ev) {
  struct asked *asked = (struct asked *)(uintptr_t)ev->user;
  if (asked == NULL)
    return;
  if (asked->what == 'D')
    printf("DOC %s %s %llu bytes\n", asked->peer, asked->path, (unsigned long long)ev->len);
  else if (asked->what == 'P' && verbose > 2 && ev->code == ENCKE_END_OK && ev->len == 0)
    printf("PUB %s %s %s %s\n", asked->peer, printable(asked->user), asked->path + strlen(BUS), printable(asked->type));
  free(asked);
}

static void on_event(const encke_event *ev) {
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    on_request(ev->id, ev->head);
    break;
  case ENCKE_EV_ABORTED:
    encke_abort(sender, ev->id);
    break;
  case ENCKE_EV_SUBSCRIBER:
    on_subscriber(ev);
    break;
  case ENCKE_EV_DONE:
    on_done(ev);
    break;
  case ENCKE_EV_CLOSED: /* instead of DONE where a WebSocket came of it */
    free((struct asked *)(uintptr_t)ev->user);
    break;
  case ENCKE_EV_LISTENER:
    complain("cannot accept: %s", strerror(ev->code));
    break;
  case ENCKE_EV_DRAINED:
    drained = 1;
    break;
  default:
    break;
  }
}

/* ---- the process ---------------------------------------------------------------------------------------------------- */

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

/* ---- listening ------------------------------------------------------------------------------------------------------ */

struct listener {
  char *address; /* NULL: fd is taken */
  encke_fd_t fd;
  int tls;
};

static struct listener listeners[MOST * 2];
static size_t listener_count;

static void add_listener(const char *address, int fd, int tls) {
  if (listener_count == sizeof listeners / sizeof *listeners)
    die_usage("too many addresses");
  listeners[listener_count++] = (struct listener){address != NULL ? copy_text(address) : NULL, fd, tls};
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

static void listen_at(const struct listener *listener, encke_tls *tls) {
  encke_id id;
  char at[512];
  encke_tls *with = listener->tls ? tls : NULL;
  int result = listener->address != NULL ? encke_listen(e, listener->address, with, &id)
                                         : encke_adopt(e, listener->fd, with, &id);
  if (result == ENCKE_E_INVAL)
    die_usage("%s: %s", listener->address != NULL ? listener->address : "socket activation", encke_last_error());
  if (result != ENCKE_OK && listener->address == NULL)
    die("socket activation: fd %d: %s", (int)listener->fd, why(result));
  if (result != ENCKE_OK)
    die("cannot listen on %s: %s", listener->address, why(result));
  if (encke_info(e, id, ENCKE_INFO_LOCAL, at, sizeof at, NULL) != ENCKE_OK)
    die("%s", encke_last_error());
  if (strncmp(at, "unix:", 5) == 0)
    printf("listening on %s:" BUS "\n", at);
  else
    printf("listening on %s://%s" BUS "\n", listener->tls ? "https" : "http", at);
}

/* ---- options -------------------------------------------------------------------------------------------------------- */

struct texts {
  const char *list[MOST];
  size_t n;
};

static struct texts hosts, ports, tls_ports;
static struct {
  int option; /* ENCKE_CHANNEL_ */
  uint64_t value;
} channel_choices[MOST];
static size_t channel_choice_count;
static const char *directory;
static uint64_t unix_mode;
static struct account account;
static int has_account, cors;

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
  if (channel_choice_count == MOST)
    die_usage("too many options");
  channel_choices[channel_choice_count].option = option;
  channel_choices[channel_choice_count++].value = value;
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

static void read_options(int argc, char **argv) {
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
      unix_mode = mode(optarg);
      break;
    case 'c':
      certificate_file = optarg;
      break;
    case TLS_KEY:
      key_file = optarg;
      break;
    case 's':
      if (*optarg == '\0')
        die_usage("--secret: it is empty");
      secret = copy_text(optarg);
      memset(optarg, 'x', strlen(optarg)); /* ps shows what stands there */
      break;
    case SECRET_FILE:
      secret = first_line(optarg);
      break;
    case CORS:
      cors = 1;
      break;
    case 'u':
      account = find_account(optarg);
      has_account = 1;
      break;
    case 'd':
      directory = optarg;
      break;
    case STATS:
      if (optarg[0] != '/' || strncmp(optarg, BUS, strlen(BUS)) == 0)
        die_usage("--stats: \"%s\" is no path outside " BUS, optarg);
      stats_path = optarg;
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
      verbose++;
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
  if (secret != NULL && strlen(secret) > MAX_SECRET)
    die_usage("--secret: longer than %d bytes", MAX_SECRET);
  if (key_file != NULL && certificate_file == NULL)
    die_usage("--tls-key: without --certificate");
}

/* Every address with every port; the default ports where nothing else was said. */
static void add_ports(void) {
  if (ports.n == 0 && (hosts.n > 0 || tls_ports.n > 0 || listener_count == 0))
    add_text(&ports, "8888");
  if (certificate_file != NULL && tls_ports.n == 0 && ports.n > 0)
    add_text(&tls_ports, "4444");
  if (hosts.n == 0)
    add_text(&hosts, ""); /* any */
  for (size_t h = 0; h < hosts.n; h++) {
    for (size_t p = 0; p < ports.n; p++)
      add_at(hosts.list[h], ports.list[p], 0);
    for (size_t p = 0; p < tls_ports.n; p++)
      add_at(hosts.list[h], tls_ports.list[p], 1);
  }
  for (size_t i = 0; i < listener_count; i++)
    if (listeners[i].tls && certificate_file == NULL)
      die_usage("%s: TLS needs --certificate", listeners[i].address != NULL ? listeners[i].address : "socket activation");
}

/* ---- the beginning and the end -------------------------------------------------------------------------------------- */

static void make_encke(void) {
  encke_config *config = encke_config_new();
  uint64_t fds = raise_fds(), most = fds > 2 * FDS_OF_OURS ? fds - FDS_OF_OURS : FDS_OF_OURS;
  uint64_t events = verbose ? ENCKE_WANT(ENCKE_EV_SUBSCRIBER) | ENCKE_WANT(ENCKE_EV_DONE) : 0;
  if (encke_config_set(config, ENCKE_OPT_MAX_CONNECTIONS, most) != ENCKE_OK ||
      encke_config_set(config, ENCKE_OPT_UNIX_MODE, unix_mode) != ENCKE_OK || encke_config_set(config, ENCKE_OPT_EVENTS, events) != ENCKE_OK)
    die("%s", encke_last_error());
  int result = encke_new(config, &e);
  if (result != ENCKE_OK)
    die("%s", why(result));
  encke_config_free(config);
  sender = encke_get_sender(e);
  for (size_t i = 0; i < channel_choice_count; i++)
    if (encke_channel_set(sender, "*", channel_choices[i].option, channel_choices[i].value) != ENCKE_OK)
      die_usage("%s", encke_last_error());
}

static encke_id mount(int kind, const char *prefix, uint32_t flags) {
  encke_id id;
  encke_mount_options options = {.flags = flags, .realm = ENCKE_STR("msgbus")};
  options.secret.p = secret;
  options.secret.n = secret != NULL ? strlen(secret) : 0;
  if (kind == ENCKE_MOUNT_FILES) {
    options.directory.p = directory;
    options.directory.n = strlen(directory);
  }
  int result = encke_mount(e, kind, prefix, &options, sizeof options, &id);
  if (result != ENCKE_OK)
    die("%s: %s", kind == ENCKE_MOUNT_FILES ? directory : prefix, why(result));
  return id;
}

static void serve(encke_tls *tls) {
  for (int draining = 0; !drained && stop_signals < 2;) {
    encke_event ev;
    if (encke_wait(e, -1) < 0)
      die("%s", encke_last_error());
    while (encke_next(e, &ev, sizeof ev) > 0)
      on_event(&ev);
    if (hangup_signals) {
      hangup_signals = 0; /* before the files are read: what changes later comes with a signal of its own */
      load_anew(tls);
    }
    if (stop_signals > 0 && !draining) {
      draining = 1;
      if (encke_drain(e, GRACE_MS) != ENCKE_OK)
        die("%s", encke_last_error());
    }
  }
}

int main(int argc, char **argv) {
  encke_tls *tls = NULL;
  program = "encke-bus";
  started = now_ns();
  setvbuf(stdout, NULL, _IOLBF, 0);
  read_options(argc, argv);
  add_passed();
  add_ports();
  if (!encke_has_feature("mounts"))
    die("this build of the library has no mounts");
  if (certificate_file != NULL && (tls = load()) == NULL)
    return EXIT_FAILURE;
  make_encke();
  bus = mount(ENCKE_MOUNT_BUS, BUS, (cors ? ENCKE_MOUNT_CORS : 0) | (verbose ? ENCKE_MOUNT_PASS : 0));
  if (directory != NULL)
    documents = mount(ENCKE_MOUNT_FILES, "/", ENCKE_MOUNT_PASS);
  for (size_t i = 0; i < listener_count; i++)
    listen_at(&listeners[i], tls);
  if (has_account)
    become(account);
  signal(SIGPIPE, SIG_IGN); /* for stdout; the library needs nothing of the kind */
  catch_signals(sender, 1);
  puts("ready");
  serve(tls);
  encke_free(e);
  encke_tls_free(tls);
  for (size_t i = 0; i < listener_count; i++)
    free(listeners[i].address);
  free(account.name);
  free(secret);
  return drained ? EXIT_SUCCESS : EXIT_FAILURE;
}
