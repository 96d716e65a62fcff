/*
 * mixed.c - all kinds of clients at the same time, each kind in a process of its own, and how each is served beside the others:
 *
 *   lasting      TLS connections that stay, one request at a time
 *   fresh        a new TLS connection, with a full handshake, for each request
 *   plain        connections without TLS that stay, one request at a time
 *   pipelined    the same, 16 requests at a time
 *   left         say their hello over TLS, leave at the first byte of the answer, and come again: what they ask of a server
 *                costs them little, so that it is always busy and has to choose
 *   gone_tls     say their hello and are gone
 *   gone_plain   the same without TLS, with a request
 *
 *   mixed SECONDS PLAIN_PORT [TLS_PORT]      without TLS_PORT: the plain kinds alone
 *
 * Who is gone at once comes at a pace of its own, however the server does. A wait is from
 * the first byte sent (fresh: from connect) to the last of the answer, or to the end where none came. Every answer is looked
 * at: the first that is wrong ends the program with 1 and says why.
 */
#define _GNU_SOURCE
#include "answer.h"
#include "tls.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONGEST_US 10000000
#define STEP_US 10

enum manner { STAYS, ONCE, LEAVES, GONE };

struct kind {
  const char *name;
  enum manner manner;
  int tls, connections, depth;
  int pace; /* GONE: so many come in each millisecond */
};

static const struct kind kinds[] = {
    {"lasting", STAYS, 1, 6, 1, 0}, {"fresh", ONCE, 1, 4, 1, 0},    {"plain", STAYS, 0, 6, 1, 0},    {"pipelined", STAYS, 0, 1, 16, 0},
    {"left", LEAVES, 1, 32, 0, 0},   {"gone_tls", GONE, 1, 8, 0, 1}, {"gone_plain", GONE, 0, 8, 0, 2},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

struct result {
  uint64_t done; /* answers; LEAVES, GONE: those who left */
  uint32_t waits[LONGEST_US / STEP_US];
};

struct client {
  int fd; /* -1: none */
  SSL *tls;
  int shaken, awaited;
  uint64_t since; /* µs */
  size_t have;
  char in[16384];
};

static const struct kind *kind;
static struct result *result;
static int epoll, port;
static SSL_CTX *context;
static char first[2048]; /* what a client says first, or all that it asks */
static size_t first_n;

static uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void die(const char *why) {
  fprintf(stderr, "mixed: %s: %s\n", kind->name, why);
  ERR_print_errors_fp(stderr);
  exit(1);
}

static void note_wait(uint64_t us) {
  result->waits[us < LONGEST_US ? us / STEP_US : LONGEST_US / STEP_US - 1]++;
}

static void come(struct client *c) {
  struct linger reset = {1, 0}; /* no TIME_WAIT: ports would run out */
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct epoll_event ev = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = c}};
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  c->shaken = c->awaited = 0;
  c->have = 0;
  c->since = now_us();
  if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev))
    die(strerror(errno));
  if (context && kind->manner < LEAVES) {
    c->tls = tls_new(context);
    if (!SSL_set_fd(c->tls, c->fd))
      die("no memory");
  }
}

static void go(struct client *c) {
  if (c->tls) {
    SSL_set_shutdown(c->tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->tls);
    c->tls = NULL;
  }
  close(c->fd);
  c->fd = -1;
}

/* 0: nothing can be written or read now. */
static long moved(struct client *c, long n) {
  if (n > 0)
    return n;
  if (c->tls ? !tls_again(c->tls, (int)n) : n == 0 || errno != EAGAIN)
    die(n == 0 || c->tls ? "the connection ended" : strerror(errno));
  return 0;
}

static void ask(struct client *c) {
  ERR_clear_error();
  long n = moved(c, c->tls ? SSL_write(c->tls, first, (int)first_n) : write(c->fd, first, first_n));
  if ((size_t)n != first_n)
    die("a request was not taken");
  c->awaited = kind->depth;
}

/* 1: all that was awaited is there. */
static int hear(struct client *c) {
  for (;;) {
    size_t room = sizeof c->in - c->have, at = 0;
    ERR_clear_error();
    long n = moved(c, c->tls ? SSL_read(c->tls, c->in + c->have, (int)room) : read(c->fd, c->in + c->have, room));
    if (n == 0)
      return 0;
    c->have += (size_t)n;
    for (; c->awaited > 0; c->awaited--) {
      n = hello_length(c->in + at, c->have - at);
      if (n < 0 || (n == 0 && c->have == sizeof c->in))
        die("a wrong answer");
      if (n == 0)
        break;
      at += (size_t)n;
      result->done++;
    }
    c->have -= at;
    memmove(c->in, c->in + at, c->have);
    if (c->awaited == 0) {
      if (c->have > 0)
        die("more than was asked for");
      return 1;
    }
  }
}

static void leave(struct client *c, uint32_t events) {
  if (!c->awaited) {
    if (write(c->fd, first, first_n) != (ssize_t)first_n)
      die(strerror(errno));
    c->awaited = 1;
  }
  if (kind->manner == GONE || (events & EPOLLIN)) {
    result->done++;
    go(c);
    if (kind->manner == LEAVES)
      come(c);
  }
}

static void go_on(struct client *c, uint32_t events) {
  if (kind->manner >= LEAVES) {
    leave(c, events);
    return;
  }
  if (c->tls && !c->shaken) {
    ERR_clear_error();
    int done = SSL_connect(c->tls);
    if (done != 1) {
      if (!tls_again(c->tls, done))
        die("a handshake failed");
      return;
    }
  }
  if (!c->shaken) {
    c->shaken = 1;
    if (kind->manner == STAYS)
      c->since = now_us();
    ask(c);
  }
  while (hear(c)) {
    uint64_t now = now_us();
    note_wait(now - c->since);
    if (kind->manner == ONCE) {
      go(c);
      come(c);
      return;
    }
    c->since = now;
    ask(c);
  }
}

/* What those say who leave during their handshake. */
static void prepare_hello(void) {
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  SSL *tls = tls_new(context);
  if (!in || !out)
    die("no memory");
  SSL_set_bio(tls, in, out);
  int n = tls_again(tls, SSL_connect(tls)) ? BIO_read(out, first, sizeof first) : 0;
  if (n <= 0 || n == sizeof first)
    die("no hello");
  first_n = (size_t)n;
  SSL_free(tls);
}

static void play(uint64_t end) {
  struct client *all = calloc((size_t)kind->connections, sizeof *all);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  context = kind->tls ? tls_context(TLS1_3_VERSION, 0) : NULL;
  if (!all)
    die("no memory");
  if (kind->manner >= LEAVES && kind->tls) {
    prepare_hello();
  } else {
    for (int i = 0; i < (kind->depth ? kind->depth : 1); i++, first_n += sizeof hello_request - 1)
      memcpy(first + first_n, hello_request, sizeof hello_request - 1);
  }
  for (int i = 0; i < kind->connections; i++) {
    all[i].fd = -1;
    if (kind->manner != GONE)
      come(&all[i]);
  }
  for (uint64_t next = now_us();;) {
    uint64_t now = now_us();
    if (now >= end)
      break;
    if (kind->manner == GONE && now >= next) {
      for (int i = 0, left = kind->pace; i < kind->connections && left > 0; i++)
        if (all[i].fd < 0) {
          come(&all[i]);
          left--;
        }
      next = now + 1000;
    }
    struct epoll_event ready[64];
    int n = epoll_wait(epoll, ready, 64, kind->manner == GONE ? 1 : 20);
    for (int i = 0; i < n; i++)
      go_on(ready[i].data.ptr, ready[i].events);
  }
  for (int i = 0; i < kind->connections; i++)
    if (all[i].fd >= 0 && kind->manner < LEAVES)
      note_wait(now_us() - all[i].since);
}

static uint64_t percentile(const struct result *of, double share) {
  uint64_t total = 0, sum = 0;
  for (int i = 0; i < LONGEST_US / STEP_US; i++)
    total += of->waits[i];
  for (int i = 0; i < LONGEST_US / STEP_US; i++)
    if ((sum += of->waits[i]) && (double)sum >= share * (double)total)
      return (uint64_t)i * STEP_US;
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  double seconds = atof(argv[1]);
  int with_tls = argc > 3, failed = 0;
  struct result *results = mmap(NULL, KINDS * sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t pids[KINDS] = {0};
  uint64_t start = now_us();
  signal(SIGPIPE, SIG_IGN);
  if (results == MAP_FAILED)
    return 1;
  for (int i = 0; i < KINDS; i++) {
    if (kinds[i].tls && !with_tls)
      continue;
    if ((pids[i] = fork()) == 0) {
      kind = &kinds[i], result = &results[i], port = atoi(argv[kind->tls ? 3 : 2]);
      play(start + (uint64_t)(seconds * 1e6));
      _exit(0);
    }
  }
  for (int status; wait(&status) > 0;)
    failed |= status != 0;
  if (failed)
    return 1;
  struct rusage used;
  getrusage(RUSAGE_CHILDREN, &used);
  double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  printf("client_busy=%.2f", cpu / ((double)(now_us() - start) / 1e6));
  for (int i = 0; i < KINDS; i++) {
    if (pids[i] <= 0)
      continue;
    printf(" %s=%llu", kinds[i].name, (unsigned long long)results[i].done);
    if (kinds[i].manner < LEAVES)
      printf(" %s_p50_us=%llu %s_p99_us=%llu", kinds[i].name, (unsigned long long)percentile(&results[i], .5), kinds[i].name,
             (unsigned long long)percentile(&results[i], .99));
  }
  putchar('\n');
  return 0;
}
