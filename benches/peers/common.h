/*
 * common.h - what every peer does alike: the answers, the socket, the limits. A peer is called as `peer PORT [tls
 * [PLAIN_PORT]]`, in a directory with state/cert.pem and state/key.pem.
 */
#ifndef PEER_COMMON_H
#define PEER_COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HELLO "Hello, World!"
#define HELLO_LEN (sizeof HELLO - 1)
#define BIG_LEN ((size_t)1 << 20)
#define CERTIFICATE "state/cert.pem"
#define KEY "state/key.pem"

/* The body of GET /big, with room in front, which lws_write wants. */
static inline char *big(void) {
  static char body[64 + BIG_LEN];
  if (!body[64])
    memset(body + 64, 'x', BIG_LEN);
  return body + 64;
}

static inline void peer_start(void) {
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

/* Bound to 127.0.0.1. TCP_NODELAY on a listening socket is inherited by the accepted ones on Linux. */
static inline int listen_on(const char *port) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) {
    perror("listen");
    exit(1);
  }
  return fd;
}

static inline uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}
#endif
