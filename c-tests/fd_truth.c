/*
 * fd_truth.c - the one fd, step by step. The rule: it is readable whenever encke_run or encke_next would do or return
 * something, and silent otherwise; leaving the drain early keeps it readable (F2).
 */
#include "check.h"

#include <pthread.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;

/* It becomes readable: what the peer did travels through the kernel. */
static void expect_readable(const char *after) {
  moment until = deadline();
  while (!host_readable(h, 100))
    if (now_ms() > until) check_fail(__FILE__, __LINE__, "the fd is silent after: %s", after);
}

/* The whole loop, as often as the fd asks for it; it must come to an end. */
static void until_silent(const char *after) {
  for (int i = 0; host_readable(h, 0); i++) {
    if (i > 1000) check_fail(__FILE__, __LINE__, "the fd stays readable after: %s", after);
    host_loop(h);
  }
}

/* Silent means that neither call has anything. */
static void silent_is_true(void) {
  encke_event ev;
  CHECK(!host_readable(h, 0));
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), 0);
  CHECK(!host_readable(h, 0));
  CHECK_RC(encke_run(h->e, 0), 0);
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), 0);
  CHECK(!host_readable(h, 0));
}

static void take_one(uint32_t kind) {
  encke_event ev;
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), 1);
  CHECK_EQ(ev.kind, kind);
  host_record(h, &ev);
}

static void *reply_from_thread(void *id) {
  CHECK_OK(encke_reply(h->s, *(encke_id *)id, 200, "text/plain", "thread", 6));
  return NULL;
}

int main(void) {
  encke_event ev;
  moment until;
  h = HOST_PLAIN();
  encke_fd_t fd = encke_fd(h->e);
  int port = host_listen(h);

  SECTION("connect, half a head, the rest");
  until_silent("listen");
  silent_is_true();
  peer *p = peer_tcp(port);
  expect_readable("a connection");
  until_silent("accepting it");
  silent_is_true();
  peer_ready(p);
  until_silent("a handshake");
  silent_is_true();
  peer_send(p, "GET / HTTP/1.1\r\nHo");
  expect_readable("half a head");
  until_silent("half a head");
  CHECK_EQ(h->n, 0);
  silent_is_true();
  peer_send(p, "st: a\r\n\r\n");
  expect_readable("a whole head");

  SECTION("an event that waits keeps it readable");
  while (encke_run(h->e, 0) > 0) {}
  CHECK(host_readable(h, 0));
  take_one(ENCKE_EV_REQUEST);
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), 0);
  until_silent("taking the only event");
  silent_is_true(); /* a held request is nothing to do */

  SECTION("an answer outside of the drain");
  answer(h, request_id(h, 0), "one");
  if (!host_readable(h, 0)) peer_await(p, 1); /* the fd says that it is to be written, or it was written at once */
  until_silent("an answer");
  UNTIL(peer_finals(p) == 1);
  until_silent("its DONE");
  CHECK_EQ(SEEN(h, DONE), 1);
  silent_is_true();

  SECTION("leaving the drain early keeps it readable");
  peer_send(p, GET GET GET);
  expect_readable("three requests");
  while (encke_run(h->e, 0) > 0) {}
  for (size_t i = 0; i < 3; i++) { /* one event, one answer, back to the host's poll */
    until = deadline();
    int rc;
    while ((rc = encke_next(h->e, &ev, sizeof ev)) == 0 || (rc == 1 && ev.kind != ENCKE_EV_REQUEST)) {
      if (rc == 1) host_record(h, &ev);
      expect_readable("an unfinished drain");
      CHECK(encke_run(h->e, 0) >= 0);
      CHECK(now_ms() < until);
    }
    CHECK_RC(rc, 1);
    host_record(h, &ev);
    answer(h, ev.id, textf("early %zu", i));
    CHECK(host_readable(h, 0)); /* the answer is not written yet, and there are more events */
  }
  until_silent("leaving early");
  UNTIL(peer_finals(p) == 4);
  for (size_t i = 0; i < 3; i++) CHECK_TEXT(peer_nth(p, i + 1)->body, textf("early %zu", i));
  until_silent("the DONEs");
  silent_is_true();

  SECTION("wake: readable once, no event");
  size_t events = h->n;
  CHECK_OK(encke_wake(h->s));
  CHECK_OK(encke_wake(h->s));
  expect_readable("wake");
  until_silent("wake");
  CHECK_EQ(h->n, events);
  silent_is_true();

  SECTION("an answer from another thread");
  peer_send(p, GET);
  expect_readable("a request");
  until_silent("taking it");
  encke_id id = request_id(h, SEEN(h, REQUEST) - 1);
  silent_is_true();
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, reply_from_thread, &id) == 0);
  pthread_join(thread, NULL);
  expect_readable("an answer from a thread");
  until_silent("writing it");
  UNTIL(peer_finals(p) == 5);
  until_silent("its DONE");
  silent_is_true();

  SECTION("an answer from another thread during a busy drain");
  peer *busy[3];
  size_t before = SEEN(h, REQUEST);
  for (int i = 0; i < 3; i++) {
    busy[i] = peer_tcp(port);
    peer_ready(busy[i]);
    peer_send(busy[i], GET);
    expect_readable("a request");
    until_silent("taking it");
  }
  CHECK_EQ(SEEN(h, REQUEST), before + 3);
  peer_send(p, GET);
  expect_readable("a request beside them");
  until = deadline();
  do {
    CHECK(encke_run(h->e, 0) >= 0);
    CHECK(now_ms() < until);
  } while (encke_next(h->e, &ev, sizeof ev) == 0);
  host_record(h, &ev);
  for (size_t i = 0; i < 2; i++) answer(h, request_id(h, before + i), "x");
  id = request_id(h, before + 2);
  CHECK(pthread_create(&thread, NULL, reply_from_thread, &id) == 0);
  pthread_join(thread, NULL);
  while (encke_next(h->e, &ev, sizeof ev) > 0) host_record(h, &ev);
  CHECK(host_readable(h, 0)); /* for the third */
  until_silent("two answers of the loop thread and one of another");
  for (int i = 0; i < 3; i++) UNTIL(peer_finals(busy[i]) == 1);
  answer(h, request_id(h, before + 3), "x");
  UNTIL(peer_finals(p) == 6);
  until_silent("all four");
  silent_is_true();
  for (int i = 0; i < 3; i++) peer_close(busy[i]);

  SECTION("a run with a budget of one leaves it readable while there is more");
  peer *q[20];
  size_t requests = SEEN(h, REQUEST);
  for (int i = 0; i < 20; i++) {
    q[i] = peer_tcp(port);
    peer_ready(q[i]);
    peer_send(q[i], GET);
  }
  until = deadline();
  while (SEEN(h, REQUEST) < requests + 20) {
    expect_readable("twenty connections");
    CHECK(encke_run(h->e, 1) >= 0);
    while (encke_next(h->e, &ev, sizeof ev) > 0) host_record(h, &ev);
    CHECK(now_ms() < until);
  }
  for (size_t i = 0; i < 20; i++) answer(h, request_id(h, requests + i), "x");
  for (int i = 0; i < 20; i++) UNTIL(peer_finals(q[i]) == 1);
  until_silent("twenty answers");
  silent_is_true();

  SECTION("a time-out that is due");
  CHECK(encke_fd(h->e) == fd); /* never changes */
  host *saved = h;
  h = HOST({ENCKE_OPT_IDLE_TIMEOUT_MS, 100});
  peer *idle = peer_tcp(host_listen(h));
  peer_send(idle, GET);
  UNTIL(SEEN(h, REQUEST) == 1);
  answer(h, request_id(h, 0), "x");
  UNTIL(peer_finals(idle) == 1);
  until_silent("an answer");
  expect_readable("the idle time-out");
  UNTIL(idle->eof);
  until_silent("the idle time-out");
  silent_is_true();
  peer_close(idle);
  host_close(h);
  h = saved;

  SECTION("clients that leave");
  for (int i = 0; i < 20; i++) {
    if (i % 2) peer_close(q[i]);
    else peer_rst(q[i]);
    expect_readable("a client that left");
    until_silent("a client that left");
  }
  peer_close(p);
  expect_readable("the last client that left");
  UNTIL(host_stats(h).connections == 0);
  until_silent("the last client that left");
  silent_is_true();
  CHECK(encke_fd(h->e) == fd);
  host_close(h);
  return check_end();
}
