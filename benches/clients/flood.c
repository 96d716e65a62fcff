/*
 * flood.c - a storm of full TLS 1.3 handshakes: N connections are opened and say their hello at once, then each goes on as
 * the server lets it, asks for /plaintext and is reset when the answer was right. ROUNDS times. The hellos are made before,
 * so that sending one costs much less than the server's answer to it: nearly all are waiting at the same time.
 *
 *   flood PORT N ROUNDS
 *
 * The first wrong thing ends the program with 1 and says what it was.
 */
#define _GNU_SOURCE
#include "answer.h"
#include "tls.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct connection {
  SSL *tls;
  int fd, asked;
  size_t have;
  char in[1024];
};

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *why) {
  fprintf(stderr, "flood: %s\n", why);
  ERR_print_errors_fp(stderr);
  exit(1);
}

/* Its hello stays in a memory BIO. */
static void prepare(struct connection *c, SSL_CTX *context) {
  int on = 1;
  struct linger reset = {1, 0};
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  *c = (struct connection){.tls = tls_new(context), .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (c->fd < 0 || !in || !out)
    die("no socket or memory");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  SSL_set_bio(c->tls, in, out);
  if (!tls_again(c->tls, SSL_connect(c->tls)))
    die("no hello");
}

static void say_hello(struct connection *c, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char *hello;
  long n = BIO_get_mem_data(SSL_get_wbio(c->tls), &hello);
  if (connect(c->fd, (struct sockaddr *)&to, sizeof to) || write(c->fd, hello, (size_t)n) != n)
    die(strerror(errno));
}

static void from_now_on_by_socket(struct connection *c, int epoll) {
  struct epoll_event ev = {EPOLLIN, {.ptr = c}};
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  if (!SSL_set_fd(c->tls, c->fd) || epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev))
    die("no memory");
}

/* 1: answered, and closed. */
static int go_on(struct connection *c) {
  if (!c->asked) {
    int done = SSL_connect(c->tls);
    if (done != 1) {
      if (!tls_again(c->tls, done))
        die("a handshake failed");
      return 0;
    }
    if (SSL_write(c->tls, hello_request, sizeof hello_request - 1) != (int)sizeof hello_request - 1)
      die("a request was not taken");
    c->asked = 1;
  }
  for (;;) {
    int n = c->have < sizeof c->in ? SSL_read(c->tls, c->in + c->have, (int)(sizeof c->in - c->have)) : 0;
    if (n <= 0) {
      if (c->have == sizeof c->in || !tls_again(c->tls, n))
        die("no whole answer");
      return 0;
    }
    c->have += (size_t)n;
    int right = is_hello(c->in, c->have);
    if (right < 0)
      die("a wrong answer");
    if (right) {
      SSL_free(c->tls);
      close(c->fd);
      return 1;
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  int port = atoi(argv[1]), n = atoi(argv[2]), rounds = atoi(argv[3]), epoll = epoll_create1(EPOLL_CLOEXEC);
  struct connection *all = calloc((size_t)n, sizeof *all);
  SSL_CTX *context = tls_context(TLS1_3_VERSION, 0);
  double hellos = 0, rest = 0;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  alarm(60);
  if (!all)
    die("no memory");
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < n; i++)
      prepare(&all[i], context);
    double start = now_ms();
    for (int i = 0; i < n; i++)
      say_hello(&all[i], port);
    double said = now_ms();
    for (int i = 0; i < n; i++)
      from_now_on_by_socket(&all[i], epoll);
    for (int left = n; left > 0;) {
      struct epoll_event ready[64];
      int k = epoll_wait(epoll, ready, 64, -1);
      for (int i = 0; i < k; i++)
        left -= go_on(ready[i].data.ptr);
    }
    hellos += said - start;
    rest += now_ms() - said;
  }
  printf("handshakes=%d hellos_ms=%.1f rest_ms=%.1f\n", n * rounds, hellos / rounds, rest / rounds);
  return 0;
}
