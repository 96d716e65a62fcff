/*
 * push_floor.c - the limit that the kernel sets: an epoll loop that holds its subscribers' sockets and sends each the same
 * bytes, and does nothing else. What stays unsent is dropped: its clients read.
 *
 *   push_floor PORT [BATCH]
 *   GET /feed: holds the connection.  POST /feed: sends the body, or BATCH of them together.
 *   GET /msgbus/flood and POST /msgbus/flood: the same in the bytes of the message bus.
 */
#include "common.h"
#include <sys/epoll.h>

enum { MOST = 1 << 20 };

static const char held[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
static const char bus_held[] = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=00MsgBus00\r\n"
                               "Transfer-Encoding: chunked\r\n\r\nd\r\n--00MsgBus00\n\r\n";
static const char taken[] = "HTTP/1.1 204 No Content\r\n\r\n";
static const char hello[] = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!";
static int subscribers[MOST];
static size_t n, waiting, batch = 1, out_n;
static char out[1 << 18];

static int is_bus;

static void publish(const char *body, size_t len) {
  static const char part[] = "Content-Type: text/plain\n\n", end[] = "--00MsgBus00\n";
  if (is_bus)
    out_n += (size_t)snprintf(out + out_n, sizeof out - out_n, "%zx\r\n%s%.*s%s\r\n", sizeof part + len + sizeof end - 2, part, (int)len, body, end);
  else
    out_n += (size_t)snprintf(out + out_n, sizeof out - out_n, "data: %.*s\n\n", (int)len, body);
  if (++waiting < batch) return;
  for (size_t i = 0; i < n; i++)
    if (send(subscribers[i], out, out_n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN) perror("send");
  waiting = 0, out_n = 0;
}

static void serve(int fd) {
  char in[16384];
  ssize_t got = recv(fd, in, sizeof in - 1, 0);
  if (got <= 0) {
    for (size_t i = 0; i < n; i++)
      if (subscribers[i] == fd) subscribers[i] = subscribers[--n];
    close(fd);
    return;
  }
  in[got] = 0;
  if (!memcmp(in, "GET /feed", 9)) {
    send(fd, held, sizeof held - 1, MSG_NOSIGNAL);
    if (n < MOST) subscribers[n++] = fd;
  } else if (!memcmp(in, "GET /msgbus/", 12)) {
    is_bus = 1;
    send(fd, bus_held, sizeof bus_held - 1, MSG_NOSIGNAL);
    if (n < MOST) subscribers[n++] = fd;
  } else if (!memcmp(in, "POST", 4)) {
    for (char *at = in; (at = strstr(at, "\r\n\r\n"));) {
      char *next = strstr(at += 4, "POST ");
      publish(at, next ? (size_t)(next - at) : strlen(at));
      send(fd, taken, sizeof taken - 1, MSG_NOSIGNAL);
    }
  } else {
    send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL);
  }
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  if (argc > 2) batch = (size_t)atoi(argv[2]);
  peer_start();
  int listener = listen_on(argv[1]), set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(set, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(set, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd != listener) {
        serve(events[i].data.fd);
        continue;
      }
      for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        event.events = EPOLLIN, event.data.fd = fd;
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
      }
    }
  }
}
