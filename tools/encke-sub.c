/*
 * encke-sub.c - load for a message bus: thousands of subscriptions in one process, each on a connection of its own.
 *
 * It looks at every byte: that a chunk is a message, that the delimiter stands where it belongs, that the numbers of
 * encke-pub come without gaps and in order, how long they took. To cost little beside the bus it speaks the protocol
 * itself, over epoll, without TLS; what a link of the library does besides (come back, say what was missed) is not
 * wanted here: a lost connection is a result.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common.h"
#include "load.h"

#define CONNECTING_MOST 256
#define RUNS 4 /* publishers at a time */
#define MAX_MESSAGE (64u << 20)
#define BUCKETS 2048

static const char help[] =
  "usage: encke-sub [OPTION...]\n"
  "Many subscriptions of one channel, and what came of it: order, gaps, rates, how long it took.\n"
  "\n"
  "  -c, --channel CHANNEL   default flood; \"*\": all\n"
  "  -n, --subscribers N     default 1\n"
  "  -l, --address ADDRESS   of the bus, a number: 127.0.0.1; or unix:/PATH\n"
  "  -p, --port PORT         default 8888\n"
  "  -t, --types LIST        only these content types\n"
  "  -u, --user USER:SECRET  who you are; the secret may stand in ENCKE_SECRET instead\n"
  "  -m, --messages N        end when every subscriber has so many\n"
  "  -d, --duration SECONDS  end after so long\n"
  "  -1, --from-first        the first message of each encke-pub must be number 1\n"
  "  -i, --interval SECONDS  between two lines on stderr; default 5; 0: none\n"
  "  -h, --help   -V, --version\n"
  "\n"
  "A line \"subscribed=N\" on stdout when all are there, and a last one with delivered=, gaps=, disorder=, malformed=, lost=,\n"
  "failed=, seconds=, per_s=, p50_ms=, p99_ms= and max_ms= (of messages of encke-pub on this machine).\n"
  "Exit codes: 0 nothing is missing, 1 something is, 2 the command line is wrong.\n";

enum state { CONNECTING, HEAD, BEGINNING, STREAMING, OVER };

struct subscriber {
  int fd;
  enum state state;
  char *rest; /* of what came: not a whole chunk yet */
  size_t rest_len, rest_cap;
  uint64_t received;
  uint64_t last[RUNS]; /* numbers */
};

static struct subscriber *subscribers;
static size_t wanted = 1, begun, connecting, subscribed, satisfied;
static uint64_t goal = UINT64_MAX;
static int from_first;

static struct sockaddr_storage address;
static socklen_t address_len;
static char *request;
static size_t request_len;
static int poller;

static uint64_t delivered, bytes, gaps, disorder, malformed, lost, failed;
static uint32_t runs[RUNS];
static size_t run_count;
static char first_trouble[160];

/* ---- how long it took: buckets that grow, 32 to each doubling --------------------------------------------------------- */

struct times {
  uint64_t counts[BUCKETS], n, longest;
};

static struct times all, lately;

static size_t bucket_of(uint64_t us) {
  if (us < 32)
    return (size_t)us;
  int shift = 63 - __builtin_clzll(us) - 5;
  return (size_t)(shift + 1) * 32 + (size_t)(us >> shift) - 32;
}

static void note(struct times *times, uint64_t us) {
  times->counts[bucket_of(us)]++;
  times->n++;
  times->longest = us > times->longest ? us : times->longest;
}

/* The upper end of the bucket that so much of all are in or below, in milliseconds. */
static double percentile(const struct times *times, double share) {
  uint64_t seen = 0, upto = (uint64_t)((double)times->n * share + 0.5);
  for (size_t i = 0; i < BUCKETS; i++) {
    seen += times->counts[i];
    if (seen >= upto && seen > 0) {
      uint64_t us = i < 32 ? i : ((uint64_t)(i % 32) + 33) << (i / 32 - 1);
      return (double)(us < times->longest ? us : times->longest) / 1000;
    }
  }
  return 0;
}

/* ---- what comes ------------------------------------------------------------------------------------------------------ */

static void trouble(const char *what, const char *detail) {
  if (first_trouble[0] == '\0') {
    snprintf(first_trouble, sizeof first_trouble, "%s%s%.100s", what, detail[0] != '\0' ? ": " : "", detail);
    complain("%s", first_trouble);
  }
}

static void end(struct subscriber *s, uint64_t *counter, const char *what, const char *detail) {
  trouble(what, detail);
  ++*counter;
  connecting -= s->state < STREAMING;
  subscribed -= s->state == STREAMING;
  satisfied += s->received < goal; /* nothing more is expected of it */
  s->state = OVER;
  close(s->fd);
  free(s->rest);
  s->rest = NULL;
  s->rest_len = s->rest_cap = 0;
}

static size_t run_of(uint32_t run) {
  for (size_t i = 0; i < run_count; i++)
    if (runs[i] == run)
      return i;
  if (run_count < RUNS) {
    runs[run_count] = run;
    return run_count++;
  }
  return RUNS;
}

static void on_message(struct subscriber *s, const char *data, size_t len, uint64_t now) {
  struct stamp stamp;
  delivered++;
  bytes += len;
  if (++s->received == goal)
    satisfied++;
  if (!read_stamp(data, len, &stamp))
    return;
  uint64_t us = now > stamp.ns ? (now - stamp.ns) / 1000 : 0;
  note(&all, us);
  note(&lately, us);
  size_t run = run_of(stamp.run);
  if (run == RUNS)
    return;
  uint64_t last = s->last[run];
  if (stamp.number <= last) {
    disorder++;
    return;
  }
  if (last != 0 || from_first)
    gaps += stamp.number - last - 1;
  s->last[run] = stamp.number;
}

static const char delimiter[] = "--00MsgBus00\n";
#define DELIMITER (sizeof delimiter - 1)

/* One chunk: fields, an empty line, the data, the delimiter; the first one is the delimiter alone. False: it is none. */
static int on_chunk(struct subscriber *s, const char *p, size_t n, uint64_t now) {
  if (n < DELIMITER || memcmp(p + n - DELIMITER, delimiter, DELIMITER) != 0)
    return 0;
  if (s->state == BEGINNING) {
    s->state = STREAMING;
    connecting--;
    subscribed++;
    return n == DELIMITER;
  }
  const char *data = memmem(p, n, "\n\n", 2);
  if (data == NULL || data + 2 > p + n - DELIMITER)
    return 0;
  on_message(s, data + 2, (size_t)(p + n - data) - 2 - DELIMITER, now);
  return 1;
}

/* A whole chunk at p: its length with everything around, and where its data is; 0: more is needed, -1: it is none. */
static long find_chunk(const char *p, size_t n, const char **data, size_t *len) {
  size_t size = 0, i = 0;
  for (; i < n && i < 8; i++) {
    int c = p[i], digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0)
      break;
    size = size << 4 | (size_t)digit;
  }
  if (i == n)
    return i < 8 ? 0 : -1;
  if (i == 0 || p[i] != '\r' || size > MAX_MESSAGE)
    return -1;
  size_t total = i + 2 + size + 2;
  if (n < total)
    return 0;
  if (p[i + 1] != '\n' || p[total - 2] != '\r' || p[total - 1] != '\n')
    return -1;
  *data = p + i + 2;
  *len = size;
  return (long)total;
}

/* Takes whole pieces from the front; returns how many bytes. The subscriber may be over afterwards. */
static size_t take(struct subscriber *s, const char *p, size_t n, uint64_t now) {
  size_t at = 0;
  if (s->state == HEAD) {
    const char *head_end = memmem(p, n, "\r\n\r\n", 4);
    if (head_end == NULL) {
      if (n > 16384)
        end(s, &malformed, "the head of the answer is too long", "");
      return 0;
    }
    if (n < 12 || memcmp(p, "HTTP/1.1 200", 12) != 0) {
      char line[80];
      snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\r\n"), p);
      end(s, &failed, "refused", line);
      return n;
    }
    at = (size_t)(head_end - p) + 4;
    s->state = BEGINNING;
  }
  while (at < n && s->state != OVER) {
    const char *data = p;
    size_t len = 0;
    long total = find_chunk(p + at, n - at, &data, &len);
    if (total == 0)
      break;
    if (total > 0 && len == 0)
      end(s, &lost, "the bus ended a subscription", "");
    else if (total < 0 || !on_chunk(s, data, len, now))
      end(s, &malformed, "what came is no chunk of a message", "");
    else
      at += (size_t)total;
  }
  return at;
}

static char *in;
static size_t in_cap = 1 << 18;

static void on_readable(struct subscriber *s) {
  if (in_cap < s->rest_len * 2)
    in = allocate(in, in_cap = s->rest_len * 4);
  if (s->rest_len > 0)
    memcpy(in, s->rest, s->rest_len);
  ssize_t got = recv(s->fd, in + s->rest_len, in_cap - s->rest_len - 1, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got <= 0) {
    end(s, s->state < STREAMING ? &failed : &lost, s->state < STREAMING ? "not subscribed" : "a connection was lost",
        got < 0 ? strerror(errno) : "the bus closed it");
    return;
  }
  size_t n = s->rest_len + (size_t)got;
  in[n] = '\0';
  size_t used = take(s, in, n, now_ns());
  if (s->state == OVER)
    return;
  s->rest_len = n - used;
  if (s->rest_len > s->rest_cap)
    s->rest = allocate(s->rest, s->rest_cap = s->rest_len + 256);
  memcpy(s->rest != NULL ? s->rest : in, in + used, s->rest_len);
}

/* ---- connections ----------------------------------------------------------------------------------------------------- */

static void fail_to_begin(struct subscriber *s, const char *what) {
  s->state = CONNECTING;
  connecting++;
  end(s, &failed, what, strerror(errno));
}

static void begin(struct subscriber *s) {
  s->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s->fd < 0) {
    fail_to_begin(s, "socket");
    return;
  }
  if (connect(s->fd, (struct sockaddr *)&address, address_len) != 0 && errno != EINPROGRESS) {
    fail_to_begin(s, "cannot connect");
    return;
  }
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = s};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &event) != 0)
    die("epoll: %s", strerror(errno));
  s->state = CONNECTING;
  connecting++;
}

static void on_connected(struct subscriber *s) {
  int error = 0;
  socklen_t n = sizeof error;
  getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &n);
  if (error == 0 && send(s->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
    error = errno;
  if (error != 0) {
    end(s, &failed, "cannot connect", strerror(error));
    return;
  }
  s->state = HEAD;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
  if (epoll_ctl(poller, EPOLL_CTL_MOD, s->fd, &event) != 0)
    die("epoll: %s", strerror(errno));
}

static void find_address(const char *text, const char *port) {
  struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
  struct sockaddr_un *un = (struct sockaddr_un *)&address;
  uint16_t n = htons((uint16_t)number("--port", port, 1, 65535));
  if (strncmp(text, "unix:", 5) == 0 && strlen(text + 5) < sizeof un->sun_path) {
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, text + 5, strlen(text + 5) + 1);
    address_len = sizeof *un;
  } else if (inet_pton(AF_INET, strcmp(text, "localhost") == 0 ? "127.0.0.1" : text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = n;
    address_len = sizeof *v4;
  } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = n;
    address_len = sizeof *v6;
  } else {
    die_usage("--address: \"%s\" is no address such as 127.0.0.1", text);
  }
}

/* What stands in a path or query as it is, else with %: RFC 3986, 2.3. */
static void put_escaped(FILE *out, const char *text, const char *also) {
  for (; *text != '\0'; text++) {
    int c = (unsigned char)*text;
    int plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) || strchr(also, c);
    fprintf(out, plain ? "%c" : "%%%02X", c);
  }
}

static void write_request(const char *channel, const char *types, const struct place *place) {
  FILE *out = open_memstream(&request, &request_len);
  if (out == NULL)
    die("no memory");
  fputs("GET /msgbus/", out);
  put_escaped(out, strcmp(channel, "*") == 0 ? "" : channel, "/!$&'()*+,;=:@%");
  if (types != NULL) {
    fputs("?type=", out);
    put_escaped(out, types, "*,!/;");
  }
  fputs(" HTTP/1.1\r\nHost: localhost\r\nUser-Agent: encke-sub\r\n", out);
  if (place->user != NULL) {
    char *both = allocate(NULL, strlen(place->user) + 2 + (place->secret != NULL ? strlen(place->secret) : 0));
    sprintf(both, "%s:%s", place->user, place->secret != NULL ? place->secret : "");
    fputs("Authorization: Basic ", out);
    put_base64(out, both, strlen(both));
    fputs("\r\n", out);
    free(both);
  }
  fputs("\r\n", out);
  if (fclose(out) != 0)
    die("no memory");
}

/* ---- the run --------------------------------------------------------------------------------------------------------- */

static void serve(int timeout) {
  struct epoll_event events[512];
  int n = epoll_wait(poller, events, 512, timeout);
  if (n < 0 && errno != EINTR)
    die("epoll: %s", strerror(errno));
  for (int i = 0; i < n; i++) {
    struct subscriber *s = events[i].data.ptr;
    if (s->state == CONNECTING)
      on_connected(s);
    else if (s->state != OVER)
      on_readable(s);
  }
  while (begun < wanted && connecting < CONNECTING_MOST)
    begin(&subscribers[begun++]);
}

static void tell(double elapsed, uint64_t *before) {
  fprintf(stderr, "%zu of %zu subscribed; %llu delivered, %.0f/s; p50 %.1f, p99 %.1f, longest %.1f ms; missing %llu\n", subscribed, wanted,
          (unsigned long long)delivered, (double)(delivered - *before) / elapsed, percentile(&lately, 0.5), percentile(&lately, 0.99),
          (double)lately.longest / 1000, (unsigned long long)gaps);
  *before = delivered;
  memset(&lately, 0, sizeof lately);
}

int main(int argc, char **argv) {
  static const struct option options[] = {
    {"channel", required_argument, NULL, 'c'}, {"subscribers", required_argument, NULL, 'n'}, {"address", required_argument, NULL, 'l'},
    {"port", required_argument, NULL, 'p'}, {"types", required_argument, NULL, 't'}, {"user", required_argument, NULL, 'u'},
    {"messages", required_argument, NULL, 'm'}, {"duration", required_argument, NULL, 'd'}, {"from-first", no_argument, NULL, '1'},
    {"interval", required_argument, NULL, 'i'}, {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
  struct place place = {0};
  const char *channel = "flood", *types = NULL;
  uint64_t duration_ms = UINT64_MAX, interval_ms = 5000;
  program = "encke-sub";
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int letter; (letter = getopt_long(argc, argv, "c:n:l:p:t:u:m:d:1i:hV", options, NULL)) != -1;) {
    switch (letter) {
    case 'c':
      channel = optarg;
      break;
    case 'n':
      wanted = (size_t)number("--subscribers", optarg, 1, 1000000);
      break;
    case 't':
      types = optarg;
      break;
    case 'm':
      goal = number("--messages", optarg, 1, UINT64_MAX);
      break;
    case 'd':
      duration_ms = seconds("--duration", optarg);
      break;
    case '1':
      from_first = 1;
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
      if (place_option(&place, letter, optarg))
        continue;
      fprintf(stderr, "Try 'encke-sub --help'.\n");
      return EXIT_USAGE;
    }
  }
  if (optind < argc)
    die_usage("\"%s\" is no option", argv[optind]);
  find_address(place.address != NULL ? place.address : "127.0.0.1", place.port != NULL ? place.port : "8888");
  write_request(channel, types, &place);
  uint64_t most = raise_fds();
  if (most < wanted + 16)
    complain("only %llu files may be open: raise the limit (ulimit -n)", (unsigned long long)most);
  subscribers = allocate(NULL, wanted * sizeof *subscribers);
  memset(subscribers, 0, wanted * sizeof *subscribers);
  in = allocate(NULL, in_cap);
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0)
    die("epoll: %s", strerror(errno));
  catch_signals(NULL, 0);

  uint64_t started = now_ns(), told = started, told_delivered = 0, first = 0, latest = 0;
  int announced = 0;
  while (!stop_signals && satisfied < wanted) {
    uint64_t now = now_ns(), before = delivered;
    if ((now - started) / 1000000 >= duration_ms)
      break;
    serve(100);
    if (delivered > before) {
      latest = now_ns();
      first = first != 0 ? first : latest;
    }
    if (!announced && subscribed == wanted) {
      announced = 1;
      printf("subscribed=%zu seconds=%.3f\n", subscribed, (double)(now_ns() - started) / 1e9);
    }
    if (interval_ms > 0 && now - told >= interval_ms * 1000000) {
      tell((double)(now - told) / 1e9, &told_delivered);
      told = now;
    }
  }
  double s = (double)(latest - first) / 1e9;
  printf("subscribers=%zu delivered=%llu bytes=%llu gaps=%llu disorder=%llu malformed=%llu lost=%llu failed=%llu seconds=%.3f per_s=%.0f "
         "p50_ms=%.1f p99_ms=%.1f max_ms=%.1f\n",
         wanted, (unsigned long long)delivered, (unsigned long long)bytes, (unsigned long long)gaps, (unsigned long long)disorder,
         (unsigned long long)malformed, (unsigned long long)lost, (unsigned long long)failed, s, s > 0 ? (double)delivered / s : 0.0,
         percentile(&all, 0.5), percentile(&all, 0.99), (double)all.longest / 1000);
  for (size_t i = 0; i < begun; i++) {
    if (subscribers[i].state != OVER) {
      close(subscribers[i].fd);
      free(subscribers[i].rest);
    }
  }
  free(subscribers);
  free(in);
  free(request);
  free(place.user);
  return gaps + disorder + malformed + lost + failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
