/*
 * idle.c - opens N connections (from 127.0.0.2 .. 127.0.0.9, so that ports do not run out), asks each for /plaintext once,
 * and holds them until its standard input ends. Prints "held=N failed=M" when all are up.
 *
 *   idle PORT N [tls]
 */
#define _GNU_SOURCE
#include "answer.h"
#include "tls.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* NULL: without TLS. */
static SSL_CTX *context;

static ssize_t take(int fd, SSL *tls, char *to, size_t room) {
  return tls ? SSL_read(tls, to, (int)room) : read(fd, to, room);
}

static int ask(int fd, SSL *tls) {
  size_t n = sizeof hello_request - 1;
  return tls ? SSL_connect(tls) == 1 && SSL_write(tls, hello_request, (int)n) == (int)n
             : write(fd, hello_request, n) == (ssize_t)n;
}

/* 1: connected and answered. Socket and TLS stay open. */
static int open_one(int i, int port) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {2, 0};
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u + (unsigned)i % 8)};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) || connect(fd, (struct sockaddr *)&to, sizeof to))
    return 0;
  SSL *tls = context ? tls_new(context) : NULL;
  if ((tls && !SSL_set_fd(tls, fd)) || !ask(fd, tls))
    return 0;
  char in[4096];
  size_t have = 0;
  int right = 0;
  while (right == 0 && have < sizeof in) {
    ssize_t n = take(fd, tls, in + have, sizeof in - have);
    if (n <= 0)
      return 0;
    have += (size_t)n;
    right = is_hello(in, have);
  }
  return right == 1;
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  int port = atoi(argv[1]), n = atoi(argv[2]), held = 0, failed = 0;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  alarm(300);
  if (argc > 3 && !strcmp(argv[3], "tls"))
    context = tls_context(TLS1_3_VERSION, 0);
  for (int i = 0; i < n && failed < 50; i++)
    if (open_one(i, port))
      held++;
    else
      failed++;
  printf("held=%d failed=%d\n", held, failed);
  fflush(stdout);
  char wait;
  return read(0, &wait, 1) != 0;
}
