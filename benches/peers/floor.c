/*
 * floor.c - not a peer but the limit: the least that an epoll server can do. It counts the ends of request heads and sends a
 * canned answer for each; it parses nothing, knows no paths and no time-outs. What it costs is the kernel's price.
 */
#include "common.h"
#include <sys/epoll.h>

#define BATCH 2048 /* answers in one write, at most */

static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n" HELLO;

static int watch(int epoll, int fd) {
  struct epoll_event ev = {EPOLLIN, {.fd = fd}};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  peer_start();
  static char in[65536], out[(sizeof answer - 1) * BATCH];
  for (size_t i = 0; i < BATCH; i++)
    memcpy(out + i * (sizeof answer - 1), answer, sizeof answer - 1);
  int listener = listen_on(argv[1]), epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener);
  for (;;) {
    struct epoll_event ready[256];
    int n = epoll_wait(epoll, ready, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = ready[i].data.fd;
      if (fd == listener) {
        int c = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (c >= 0)
          watch(epoll, c);
        continue;
      }
      ssize_t got = read(fd, in, sizeof in);
      if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
          close(fd);
        continue;
      }
      size_t requests = 0;
      char *end = in + got;
      for (char *at = in; requests < BATCH && (at = memmem(at, (size_t)(end - at), "\r\n\r\n", 4)); at += 4)
        requests++;
      if (requests && write(fd, out, requests * (sizeof answer - 1)) < 0)
        close(fd);
    }
  }
}
