/*
 * watch_each.c - ENCKE_WATCH_EACH: the host watches every socket itself. The rule: with next_watch until 0, feed and the
 * time-out, everything works as with one fd, and what the host fed by mistake does no harm.
 */
#include "pipeline_cases.h"

#include <unistd.h>

static void modes_exclude_each_other(void) {
  SECTION("what is not possible in WATCH_EACH");
  host *h = HOST({ENCKE_OPT_WATCH, ENCKE_WATCH_EACH});
  CHECK(encke_fd(h->e) == ENCKE_NO_FD);
  CHECK_RC(encke_wait(h->e, 0), ENCKE_E_STATE);
  host_close(h);
}

static void timers_come_through_the_timeout(void) {
  SECTION("a time-out comes through encke_timeout");
  host *h = HOST({ENCKE_OPT_WATCH, ENCKE_WATCH_EACH}, {ENCKE_OPT_IDLE_TIMEOUT_MS, 100});
  peer *p = peer_tcp(host_listen(h));
  peer_send(p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == 1);
  answer(h, request_id(h, 0), "x");
  UNTIL(p->eof);
  CHECK_EQ(peer_finals(p), 1);
  peer_close(p);
  host_close(h);
}

static void spurious_feeds_are_harmless(void) {
  SECTION("spurious and stale feeds");
  host *h = HOST({ENCKE_OPT_WATCH, ENCKE_WATCH_EACH});
  int port = host_listen(h), idle[2];
  CHECK(pipe(idle) == 0);
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  peer_send(p, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == 1 && host_stats(h).connections == 2);
  size_t n = h->nwatched;
  encke_watch *stale = need(malloc((n + 3) * sizeof *stale));
  for (size_t i = 0; i < n; i++) {
    stale[i] = h->watched[i];
    stale[i].got = ENCKE_READ | ENCKE_WRITE; /* nothing of this is true */
  }
  encke_watch foreign = {.fd = idle[0], .want = ENCKE_READ, .got = ENCKE_READ | ENCKE_WRITE};
  stale[n] = foreign;
  foreign.fd = 1 << 20;
  stale[n + 1] = foreign;
  foreign.fd = ENCKE_NO_FD;
  stale[n + 2] = foreign;
  for (int i = 0; i < 3; i++) {
    CHECK(encke_feed(h->e, stale, n + 3) >= 0);
    host_loop(h);
  }
  CHECK(encke_feed(h->e, NULL, 0) >= 0);
  CHECK_EQ(SEEN(h, REQUEST), 1);
  peer_close(q);
  UNTIL(host_stats(h).connections == 1);
  CHECK(encke_feed(h->e, stale, n + 3) >= 0); /* one of them is closed by now */
  host_loop(h);
  answer(h, request_id(h, 0), "x");
  UNTIL(peer_finals(p) == 1);
  free(stale);
  close(idle[0]);
  close(idle[1]);
  peer_close(p);
  host_close(h);
}

static void wakes_are_watched_too(void) {
  SECTION("wake makes a watched fd ready");
  host *h = HOST({ENCKE_OPT_WATCH, ENCKE_WATCH_EACH});
  peer *p = peer_tcp(host_listen(h));
  peer_send(p, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == 1);
  QUIESCE();
  CHECK_OK(encke_wake(h->s));
  QUIESCE(); /* and it does not stay ready */
  answer(h, request_id(h, 0), "x");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
  host_close(h);
}

int main(void) {
  modes_exclude_each_other();
  timers_come_through_the_timeout();
  spurious_feeds_are_harmless();
  wakes_are_watched_too();
  pipeline_cases(ENCKE_WATCH_EACH);
  return check_end();
}
