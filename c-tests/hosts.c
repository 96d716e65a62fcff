/*
 * hosts.c - the same small service under poll, select, epoll (level and edge), and nested epoll. The rule: one fd in a loop
 * of any kind is enough; an edge-triggered host finishes THE LOOP, a level-triggered one may leave it after each event.
 */
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

enum { BY_POLL, BY_SELECT, BY_EPOLL, BY_EPOLL_EDGE, BY_NESTED_EPOLL, KINDS };
static const char *const names[] = {"poll", "select", "epoll", "epoll, edge-triggered", "epoll in epoll"};

static int watch(int epoll, int fd, uint32_t events) {
  struct epoll_event ev = {.events = events, .data.fd = fd};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

static int ready(int kind, int fd, int epoll) {
  switch (kind) {
  case BY_POLL: {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 10) > 0;
  }
  case BY_SELECT: {
    fd_set set;
    struct timeval t = {0, 10000};
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, &t) > 0;
  }
  default: {
    struct epoll_event ev;
    return epoll_wait(epoll, &ev, 1, 10) > 0;
  }
  }
}

static void answer_target(host *h, const encke_event *ev) {
  if (ev->kind != ENCKE_EV_REQUEST) return;
  CHECK_OK(encke_reply(h->s, ev->id, 200, "text/plain", ev->head->target.p, ev->head->target.n));
}

/* THE LOOP, or one event of it where a level-triggered host likes to go back to its poll. */
static void drive(host *h, int whole) {
  encke_event ev;
  for (;;) {
    int more = encke_run(h->e, 0), got = 0;
    CHECK(more >= 0);
    while (encke_next(h->e, &ev, sizeof ev) > 0) {
      got = 1;
      answer_target(h, &ev);
      if (!whole) return;
    }
    if (!whole || (!more && !got)) return;
  }
}

static void serve(int kind) {
  SECTION(names[kind]);
  host *h = HOST({ENCKE_OPT_EVENTS, 0});
  int port = host_listen(h), inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC), fd = encke_fd(h->e);
  CHECK(inner >= 0 && outer >= 0);
  CHECK(watch(inner, fd, EPOLLIN | (kind == BY_EPOLL_EDGE ? (uint32_t)EPOLLET : 0)) == 0);
  CHECK(watch(outer, inner, EPOLLIN) == 0);
  if (kind == BY_SELECT) CHECK(fd < FD_SETSIZE);
  peer *p[10];
  for (int i = 0; i < 10; i++) p[i] = peer_own(port);
  moment until = deadline();
  for (size_t round = 0; round < 10; round++) {
    size_t served = 0;
    for (size_t i = 0; i < 10; i++)
      for (size_t k = 0; k < 5; k++) peer_send(p[i], textf("GET /%zu/%zu/%zu HTTP/1.1\r\nHost: a\r\n\r\n", round, i, k));
    while (served < 10) {
      CHECK(now_ms() < until);
      if (ready(kind, fd, kind == BY_NESTED_EPOLL ? outer : inner)) drive(h, kind != BY_EPOLL && kind != BY_POLL);
      served = 0;
      for (size_t i = 0; i < 10; i++) {
        peer_pump(p[i]);
        served += peer_finals(p[i]) == 5 * (round + 1);
      }
    }
    for (size_t i = 0; i < 10; i++)
      for (size_t k = 0; k < 5; k++) CHECK_TEXT(peer_nth(p[i], 5 * round + k)->body, textf("/%zu/%zu/%zu", round, i, k));
  }
  for (int i = 0; i < 10; i++) peer_close(p[i]);
  close(outer);
  close(inner);
  host_close(h);
}

int main(void) {
  for (int kind = 0; kind < KINDS; kind++) serve(kind);
  return check_end();
}
