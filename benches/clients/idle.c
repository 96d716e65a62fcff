/*
 * idle.c - opens N connections (from 127.0.0.2 .. 127.0.0.9, so that ports do not run out), asks each for /plaintext once,
 * and holds them until its standard input ends. Prints "held=N failed=M" when all are up.
 *
 *   idle PORT N
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char request[] = "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/* 1: connected and answered. */
static int open_one(int i, int port) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {2, 0};
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u + (unsigned)i % 8)};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) || connect(fd, (struct sockaddr *)&to, sizeof to) ||
      write(fd, request, sizeof request - 1) != (ssize_t)sizeof request - 1)
    return 0;
  char in[4096];
  size_t have = 0;
  while (have < sizeof in && !memmem(in, have, "World", 5)) {
    ssize_t n = read(fd, in + have, sizeof in - have);
    if (n <= 0)
      return 0;
    have += (size_t)n;
  }
  return 1;
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
