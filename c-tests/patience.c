/*
 * patience.c - whose wait it is. The rule: a time-out of the peer does not run while the peer waits for the host or for the
 * library (F5), one request's time-out is not another's, and a peer that was not read hears why.
 */
#include "check.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define SHORT 70 /* ms, the time-out that must not strike */
#define LONGER 210

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

/* Returns when LONGER is over: the idle time-out of a client that begins now tells. */
static void longer(void) {
  peer *clock = peer_tcp(port);
  UNTIL(clock->eof);
  peer_close(clock);
}

static int begin(encke_id id, const char *first) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.body = first, r.body_len = strlen(first);
  return encke_begin(h->s, id, &r, sizeof r);
}

static const char *expecting(size_t n) {
  return textf("POST /%zu HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\nExpect: 100-continue\r\n\r\n", n, n);
}

static void the_host_thinks(void) {
  static const size_t sizes[] = {10, 5000};
  for (int i = 0; i < 2; i++) {
    SECTION("EXPECT 1: the host thinks longer than BODY_TIMEOUT");
    OPEN({ENCKE_OPT_EXPECT, 1}, {ENCKE_OPT_BODY_TIMEOUT_MS, SHORT}, {ENCKE_OPT_IDLE_TIMEOUT_MS, LONGER},
         {ENCKE_OPT_BUFFER_BODY, 1000});
    char *data = pattern(sizes[i], 1);
    peer *p = peer_tcp(port), *q = peer_tcp(port);
    encke_id id = next_request(p, expecting(sizes[i])), other = next_request(q, expecting(sizes[i]));
    longer();
    CHECK(p->n == 0 && !p->eof);
    CHECK_EQ(SEEN(h, ABORTED), 0);
    CHECK_OK(encke_inform(h->s, id, 100, NULL, 0));
    peer_send_n(p, data, sizes[i]);
    UNTIL(host_count(h, ENCKE_EV_BODY, id) > 0 && !host_last(h, ENCKE_EV_BODY, id)->more);
    answer(h, id, "fine");
    UNTIL(peer_finals(p) == 1);
    CHECK_EQ(peer_nth(p, 0)->status, 200);

    SECTION("EXPECT 1: asked for, the body has its time-out");
    CHECK_EQ(SEEN(h, ABORTED), 0);
    CHECK_OK(encke_inform(h->s, other, 100, NULL, 0));
    UNTIL(SEEN(h, ABORTED) == 1);
    CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, other)->code, ENCKE_END_TIMEOUT);
    CHECK_RC(encke_abort(h->s, other), ENCKE_E_GONE);
    UNTIL(q->eof && host_all_done(h));
    CHECK_EQ(peer_nth(q, 0)->status, 408);
    peer_close(p), peer_close(q);
    host_close(h);
    free(data);
  }
}

static void its_turn_comes_late(void) {
  SECTION("100-continue waits behind an unanswered request: the peer is not late");
  OPEN({ENCKE_OPT_BODY_TIMEOUT_MS, SHORT}, {ENCKE_OPT_IDLE_TIMEOUT_MS, LONGER}, {ENCKE_OPT_BUFFER_BODY, 1000});
  for (size_t n = 10; n <= 5000; n += 4990) {
    char *data = pattern(n, 1);
    peer *p = peer_tcp(port);
    size_t before = SEEN(h, REQUEST);
    peer_send(p, GET);
    peer_send(p, expecting(n));
    UNTIL(SEEN(h, REQUEST) > before);
    longer();
    CHECK(p->n == 0 && !p->eof);
    CHECK_EQ(SEEN(h, ABORTED), 0);
    answer(h, request_id(h, before), "first");
    UNTIL(peer_all(p) == 2);
    CHECK_EQ(peer_any(p, 1)->status, 100);
    peer_send_n(p, data, n);
    UNTIL(SEEN(h, REQUEST) == before + 2);
    answer(h, request_id(h, before + 1), "second");
    UNTIL(peer_finals(p) == 2);
    CHECK_EQ(peer_nth(p, 1)->status, 200);
    peer_close(p);
    free(data);
  }
  UNTIL(host_all_done(h));
  host_close(h);
}

static void refused_by_begin(void) {
  for (int manual = 0; manual < 2; manual++) {
    SECTION("an expectation refused by begin: the stream goes on past BODY_TIMEOUT");
    OPEN({ENCKE_OPT_EXPECT, (uint64_t)manual}, {ENCKE_OPT_BODY_TIMEOUT_MS, SHORT}, {ENCKE_OPT_IDLE_TIMEOUT_MS, LONGER},
         {ENCKE_OPT_BUFFER_BODY, 0});
    encke_event ev;
    peer *p = peer_tcp(port);
    peer_ready(p);
    peer_send(p, expecting(10));
    for (moment until = deadline(); !SEEN(h, REQUEST);) { /* refused inside the drain: before the library says 100 */
      CHECK(encke_run(h->e, 0) >= 0);
      while (!SEEN(h, REQUEST) && encke_next(h->e, &ev, sizeof ev) > 0) host_record(h, &ev);
      CHECK(now_ms() < until);
    }
    encke_id id = request_id(h, 0);
    CHECK_OK(begin(id, "one "));
    longer();
    CHECK_EQ(SEEN(h, ABORTED), 0);
    CHECK_OK(encke_write(h->s, id, "two", 3));
    CHECK_OK(encke_end(h->s, id, NULL, 0));
    UNTIL(p->eof && host_all_done(h));
    CHECK_EQ(peer_all(p), 1);
    CHECK_TEXT(peer_nth(p, 0)->body, "one two");
    CHECK(!peer_nth(p, 0)->truncated);
    CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
    peer_close(p);
    host_close(h);
  }
}

static void one_is_not_the_other(void) {
  SECTION("the body time-out of the second request, begun, does not cut the answer of the first");
  OPEN({ENCKE_OPT_BODY_TIMEOUT_MS, SHORT}, {ENCKE_OPT_BUFFER_BODY, 0});
  peer *p = peer_tcp(port);
  encke_id one = next_request(p, GET), two = next_request(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n123");
  CHECK_OK(begin(two, "half of the "));
  CHECK_OK(encke_write(h->s, two, "second", 6));
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, two)->code, ENCKE_END_TIMEOUT);
  QUIESCE();
  CHECK(p->n == 0 && !p->eof);
  CHECK_EQ(host_count(h, ENCKE_EV_ABORTED, one), 0);
  CHECK_RC(encke_write(h->s, two, "x", 1), ENCKE_E_GONE);
  CHECK_RC(encke_end(h->s, two, NULL, 0), ENCKE_E_GONE);
  answer(h, one, "the first");
  UNTIL(p->eof && host_all_done(h));
  CHECK(!p->reset);
  CHECK_TEXT(peer_nth(p, 0)->body, "the first");
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, one)->code, ENCKE_END_OK);
  CHECK_EQ(peer_finals(p), 2);
  CHECK_EQ(peer_nth(p, 1)->status, 408); /* nothing of the second had gone out */
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, two)->code, ENCKE_END_TIMEOUT);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, two)->len, 0);
  peer_close(p);
  CHECK_EQ(host_stats(h).memory, 0);
  host_close(h);
}

static void starved(void) {
  enum { cap = 128 << 10, body = 60000 };
  SECTION("not read for want of memory: 503, not a silent close");
  OPEN({ENCKE_OPT_MAX_MEMORY, cap}, {ENCKE_OPT_HEAD_TIMEOUT_MS, 300}, {ENCKE_OPT_IDLE_TIMEOUT_MS, 3000});
  char *data = pattern(body, 1);
  peer *p = peer_tcp(port), *eaters[16];
  size_t n = 0;
  answer(h, next_request(p, GET), "x");
  UNTIL(peer_finals(p) == 1);
  for (moment until = deadline(); host_stats(h).memory < cap; n++) { /* held requests use all of it up */
    CHECK(n < sizeof eaters / sizeof *eaters);
    size_t before = SEEN(h, REQUEST);
    eaters[n] = peer_tcp(port);
    /* What is common takes what fits into it, the reserve what comes whole in one small piece. */
    uint64_t used = host_stats(h).memory, common = cap - cap / 8;
    size_t left = used < common ? (size_t)(common - used) : 0;
    size_t size = left > body + 1000 ? body : left > 4000 ? left - 1000 : 3000;
    const char *head = textf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", size);
    size_t length = strlen(head);
    char *all = need(malloc(length + size));
    memcpy(all, head, length);
    memcpy(all + length, data, size);
    peer_send_n(eaters[n], all, length + size);
    free(all);
    while (SEEN(h, REQUEST) == before && host_stats(h).memory < cap) {
      CHECK(now_ms() < until);
      step();
    }
  }
  size_t before = SEEN(h, REQUEST);
  peer_send(p, GET);
  UNTIL(p->eof);
  CHECK_EQ(SEEN(h, REQUEST), before);
  CHECK_EQ(peer_finals(p), 2);
  CHECK_EQ(peer_nth(p, 1)->status, 503);
  for (size_t i = 0; i < SEEN(h, REQUEST); i++) (void)encke_abort(h->s, request_id(h, i));
  UNTIL(host_all_done(h));
  for (size_t i = 0; i < n; i++) peer_close(eaters[i]);
  peer_close(p);
  UNTIL(host_stats(h).connections == 0);
  CHECK_EQ(host_stats(h).memory, 0);
  host_close(h);
  free(data);
}

int main(void) {
  the_host_thinks();
  its_turn_comes_late();
  refused_by_begin();
  one_is_not_the_other();
  starved();
  return check_end();
}
