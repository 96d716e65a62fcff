/*
 * limits.c - the time-outs, with short values, and the limits over all connections. The rule: a slow or greedy peer costs
 * itself its connection and nobody else anything; a limit pauses, it does not lose (F4).
 */
#include "check.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static int port;

#define OPEN(...)                                                                                                      \
  do {                                                                                                                 \
    h = HOST(__VA_ARGS__);                                                                                             \
    port = host_listen(h);                                                                                             \
  } while (0)

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static void head_timeout(void) {
  SECTION("slow head: 408");
  OPEN({ENCKE_OPT_HEAD_TIMEOUT_MS, 150});
  peer *p = peer_tcp(port);
  peer_send(p, "GET / HTTP/1.1\r\nHost:");
  UNTIL(p->eof);
  CHECK_EQ(peer_finals(p), 1);
  CHECK_EQ(peer_nth(p, 0)->status, 408);
  CHECK_EQ(SEEN(h, REQUEST), 0);
  peer_close(p);
  host_close(h);
}

static void body_timeout(void) {
  SECTION("stalled body, not delivered: 408");
  OPEN({ENCKE_OPT_BODY_TIMEOUT_MS, 150}, {ENCKE_OPT_BUFFER_BODY, 1000});
  peer *p = peer_tcp(port);
  peer_send(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123");
  UNTIL(p->eof);
  CHECK_EQ(peer_finals(p), 1);
  CHECK_EQ(peer_nth(p, 0)->status, 408);
  CHECK_EQ(SEEN(h, REQUEST), 0);
  peer_close(p);

  SECTION("stalled body, delivered: ABORTED");
  p = peer_tcp(port);
  encke_id id = next_request(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n123");
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, id)->code, ENCKE_END_TIMEOUT);
  CHECK(host_last(h, ENCKE_EV_ABORTED, id)->head != NULL);
  CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  UNTIL(p->eof && host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_TIMEOUT);
  peer_close(p);
  host_close(h);

  SECTION("the host's acks do not count as stalling (F5)");
  OPEN({ENCKE_OPT_BODY_TIMEOUT_MS, 150}, {ENCKE_OPT_IDLE_TIMEOUT_MS, 300}, {ENCKE_OPT_BUFFER_BODY, 1000}, {ENCKE_OPT_BODY_WINDOW, 4096});
  char *data = pattern(100000, 1);
  peer *clock = peer_tcp(port); /* its idle time-out tells that more than BODY_TIMEOUT has gone by */
  UNTIL(host_stats(h).connections == 1);
  answer(h, next_request(clock, GET), "x");
  UNTIL(peer_finals(clock) == 1);
  p = peer_tcp(port);
  id = next_request(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  peer_send_n(p, data, 100000);
  UNTIL(clock->eof);
  CHECK_EQ(host_count(h, ENCKE_EV_ABORTED, id), 0);
  CHECK(host_count(h, ENCKE_EV_BODY, id) > 0);
  answer(h, id, "fine");
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 200);
  peer_close(p);
  peer_close(clock);
  host_close(h);
  free(data);
}

static void idle_timeout(void) {
  SECTION("keep-alive without a request: closed without a word");
  OPEN({ENCKE_OPT_IDLE_TIMEOUT_MS, 150});
  peer *p = peer_tcp(port);
  answer(h, next_request(p, GET), "x");
  UNTIL(p->eof);
  CHECK_EQ(peer_all(p), 1);
  CHECK_EQ(peer_nth(p, 0)->end, p->n);
  CHECK(!p->reset);
  peer_close(p);

  SECTION("a held request is not idle");
  peer *q = peer_tcp(port), *clock = peer_tcp(port);
  encke_id id = next_request(q, GET);
  answer(h, next_request(clock, GET), "x");
  UNTIL(clock->eof);
  CHECK(!q->eof);
  answer(h, id, "late");
  UNTIL(peer_finals(q) == 1);
  peer_close(q);
  peer_close(clock);
  host_close(h);
}

static void write_timeout(void) {
  SECTION("the peer takes nothing: closed");
  char *big = pattern((size_t)16 << 20, 1);
  OPEN({ENCKE_OPT_WRITE_TIMEOUT_MS, 200});
  peer *p = peer_tcp_small(port);
  p->paused = 1;
  encke_id id = next_request(p, GET);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = ENCKE_BORROW, r.body = big, r.body_len = (size_t)16 << 20, r.cookie = 1;
  CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
  UNTIL(SEEN(h, RELEASED) == 1 && host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_TIMEOUT);
  p->paused = 0;
  UNTIL(p->eof);
  if (peer_finals(p)) CHECK(peer_nth(p, 0)->truncated);
  peer_close(p);

  SECTION("the peer takes nothing of a stream: ABORTED");
  p = peer_tcp_small(port);
  p->paused = 1;
  id = next_request(p, GET);
  memset(&r, 0, sizeof r);
  r.status = 200;
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_write(h->s, id, big, (size_t)16 << 20));
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, id)->code, ENCKE_END_TIMEOUT);
  CHECK_RC(encke_end(h->s, id, NULL, 0), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  peer_close(p);
  host_close(h);
  free(big);
}

static void answer_timeout(void) {
  SECTION("the host is too slow: 503 and ABORTED, still the host's to settle");
  OPEN({ENCKE_OPT_ANSWER_TIMEOUT_MS, 150});
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  UNTIL(peer_finals(p) == 1 && SEEN(h, ABORTED) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 503);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, id)->code, ENCKE_END_TIMEOUT);
  QUIESCE();
  CHECK_EQ(SEEN(h, DONE), 0);
  CHECK_STR(host_last(h, ENCKE_EV_ABORTED, id)->head->target, "/"); /* the head stays readable */
  CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_TIMEOUT);
  CHECK_EQ(peer_finals(p), 1);
  peer_close(p);
  host_close(h);
}

static void max_connections(void) {
  SECTION("MAX_CONNECTIONS");
  OPEN({ENCKE_OPT_MAX_CONNECTIONS, 2});
  peer *a = peer_tcp(port), *b = peer_tcp(port);
  answer(h, next_request(a, GET), "a");
  answer(h, next_request(b, GET), "b");
  UNTIL(peer_finals(a) == 1 && peer_finals(b) == 1);
  peer *c = peer_tcp(port);
  peer_send(c, "GET /c HTTP/1.1\r\nHost: a\r\n\r\n");
  answer(h, next_request(a, GET), "a");
  UNTIL(peer_finals(a) == 2);
  QUIESCE();
  CHECK(host_target(h, "/c") == NULL);
  CHECK(host_stats(h).connections <= 2);
  peer_close(b); /* there is room for one more: for the one that waits, or for the next where that was refused */
  UNTIL(host_target(h, "/c") != NULL || c->eof);
  if (c->eof) {
    peer_close(c);
    UNTIL(host_stats(h).connections == 1);
    c = peer_tcp(port);
    peer_send(c, "GET /c HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(host_target(h, "/c") != NULL);
  }
  answer(h, target_id(h, "/c"), "c");
  UNTIL(peer_finals(c) == 1);

  SECTION("MAX_CONNECTIONS raised while it runs");
  CHECK_OK(encke_set(h->e, ENCKE_OPT_MAX_CONNECTIONS, 10));
  peer *more[5];
  for (int i = 0; i < 5; i++) {
    more[i] = peer_tcp(port);
    answer(h, next_request(more[i], GET), "more");
    UNTIL(peer_finals(more[i]) == 1);
  }
  for (int i = 0; i < 5; i++) peer_close(more[i]);
  peer_close(a);
  peer_close(c);
  host_close(h);
}

#define GREEDY 40

static void max_memory(void) {
  SECTION("MAX_MEMORY: pauses, then 503; everybody hears something");
  enum { body = 200000, cap = 2 << 20 };
  /* Bodies that are half here may hold all of the memory: then it is the body time-out that ends the wait. */
  OPEN({ENCKE_OPT_MAX_MEMORY, cap}, {ENCKE_OPT_BUFFER_BODY, 256 << 10}, {ENCKE_OPT_MAX_BODY, 1 << 20},
       {ENCKE_OPT_BODY_TIMEOUT_MS, 2000}, {ENCKE_OPT_HEAD_TIMEOUT_MS, 2000});
  char *data = pattern(body, 1);
  peer *p[GREEDY];
  size_t over = 0, settled = 0;
  for (int i = 0; i < GREEDY; i++) {
    p[i] = peer_tcp(port);
    peer_send(p[i], textf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", i, (int)body));
    peer_send_n(p[i], data, body);
    QUIESCE();
    CHECK(host_stats(h).memory <= 2 * (uint64_t)cap);
  }
  /* Hold what comes until nothing comes any more, then answer it: as a slow host does. */
  for (moment until = deadline(); over < GREEDY;) {
    size_t requests = SEEN(h, REQUEST);
    step();
    CHECK(host_stats(h).memory <= 2 * (uint64_t)cap);
    if (SEEN(h, REQUEST) == requests)
      for (; settled < SEEN(h, REQUEST); settled++) {
        event *x = host_nth(h, ENCKE_EV_REQUEST, settled);
        if (!(x->head->flags & ENCKE_HEAD_BODY_FOLLOWS)) CHECK_BYTES(x->data, x->len, data, body);
        int rc = encke_reply(h->s, x->id, 200, "text/plain", "x", 1);
        CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
      }
    over = 0;
    for (int i = 0; i < GREEDY; i++) over += peer_finals(p[i]) > 0 || p[i]->eof;
    if (now_ms() > until) check_late(__FILE__, __LINE__, "every client hears something");
  }
  size_t served = 0;
  for (int i = 0; i < GREEDY; i++) {
    if (peer_finals(p[i])) {
      int status = peer_nth(p[i], 0)->status;
      if (status != 200 && status != 503) check_fail(__FILE__, __LINE__, "status %d: it was not the client that was slow", status);
      served += status == 200;
    }
    peer_close(p[i]);
  }
  CHECK(served > 0);
  UNTIL(host_all_done(h));
  host_close(h);
  free(data);
}

static void nobody_takes_the_answers(void) {
  SECTION("MAX_MEMORY: used up by answers that a peer does not take, that peer goes and others are served");
  enum { MANY = 120 };
  char *big = pattern(100000, 1);
  OPEN({ENCKE_OPT_MAX_MEMORY, 1 << 20}, {ENCKE_OPT_WRITE_TIMEOUT_MS, 600000}, {ENCKE_OPT_HEAD_TIMEOUT_MS, 600000});
  peer *other = peer_tcp(port);
  answer(h, next_request(other, GET), "before");
  UNTIL(peer_finals(other) == 1);
  peer *p = peer_tcp_small(port);
  p->paused = 1;
  size_t before = SEEN(h, REQUEST);
  for (int i = 0; i < MANY; i++) peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == before + MANY);
  for (size_t i = 0; i < MANY; i++) {
    int rc = encke_reply(h->s, request_id(h, before + i), 200, "text/plain", big, 100000);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
  }
  CHECK(host_stats(h).memory > 1 << 20);
  answer(h, next_request(other, GET), "after");
  UNTIL(peer_finals(other) == 2);
  CHECK_TEXT(peer_nth(other, 1)->body, "after");
  p->paused = 0;
  UNTIL(p->eof && host_all_done(h));
  CHECK(peer_finals(p) < MANY || peer_nth(p, MANY - 1)->truncated);
  CHECK_EQ(host_stats(h).memory, 0);
  peer_close(p);
  peer_close(other);
  host_close(h);
  free(big);
}

static void max_held(void) {
  SECTION("MAX_HELD 0: a quiet fd, and then on");
  OPEN({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)});
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  encke_id held = next_request(p, GET);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  encke_id stream = next_request(q, GET);
  CHECK_OK(encke_begin(h->s, stream, &r, sizeof r));
  CHECK_OK(encke_set(h->e, ENCKE_OPT_MAX_HELD, 0));
  peer *n[4];
  for (int i = 0; i < 4; i++) {
    n[i] = peer_tcp(port);
    peer_send(n[i], textf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i));
  }
  peer_send(p, "GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
  QUIESCE(); /* fails if the fd stays readable */
  CHECK_EQ(SEEN(h, REQUEST), 2);
  CHECK_OK(encke_write(h->s, stream, "one ", 4)); /* streams go on */
  size_t seen = q->n;
  UNTIL(q->n > seen);
  answer(h, held, "held"); /* answers go on */
  UNTIL(peer_finals(p) == 1);
  CHECK_OK(encke_write(h->s, stream, "two", 3));
  CHECK_OK(encke_end(h->s, stream, NULL, 0));
  UNTIL(peer_finals(q) == 1);
  CHECK_TEXT(peer_nth(q, 0)->body, "one two");
  QUIESCE();
  CHECK_EQ(SEEN(h, REQUEST), 2);
  CHECK_OK(encke_set(h->e, ENCKE_OPT_MAX_HELD, 1));
  for (size_t i = 0; i < 5; i++) { /* one at a time */
    UNTIL(SEEN(h, REQUEST) == i + 3);
    QUIESCE();
    CHECK_EQ(SEEN(h, REQUEST), i + 3);
    CHECK_EQ(host_stats(h).held, 1);
    answer(h, request_id(h, i + 2), "late");
  }
  UNTIL(peer_finals(p) == 2);
  for (int i = 0; i < 4; i++) UNTIL(peer_finals(n[i]) == 1);
  UNTIL(host_all_done(h));

  SECTION("MAX_HELD 0: aborts go on");
  CHECK_OK(encke_set(h->e, ENCKE_OPT_MAX_HELD, 1));
  held = next_request(p, GET);
  CHECK_OK(encke_set(h->e, ENCKE_OPT_MAX_HELD, 0));
  peer_rst(p);
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_RC(encke_reply(h->s, held, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  for (int i = 0; i < 4; i++) peer_close(n[i]);
  peer_close(q);
  host_close(h);
}

int main(void) {
  head_timeout();
  body_timeout();
  idle_timeout();
  write_timeout();
  answer_timeout();
  max_connections();
  max_memory();
  nobody_takes_the_answers();
  max_held();
  return check_end();
}
