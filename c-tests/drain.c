/*
 * drain.c - encke_drain. The rule: idle connections close, what is held is still answered, what is left after the grace is
 * ABORTED with END_DRAIN, and then DRAINED comes, once; leases of peers that left do not hold it up.
 */
#include "check.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define LONG_GRACE 600000

static host *h;
static int port;

static void open_host(const char *name) {
  SECTION(name);
  h = HOST_PLAIN();
  port = host_listen(h);
}

static void close_host(void) {
  QUIESCE();
  UNTIL(host_stats(h).connections == 0);
  CHECK_EQ(SEEN(h, DRAINED), 1);
  host_close(h);
}

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static void nothing_open(void) {
  open_host("nothing is open");
  CHECK_OK(encke_drain(h->e, LONG_GRACE));
  UNTIL(SEEN(h, DRAINED) == 1);
  CHECK(!tcp_connectable(port));
  close_host();
}

static void waits_for_what_is_held(void) {
  open_host("held requests and streams are waited for");
  peer *idle = peer_tcp(port), *held = peer_tcp(port), *stream = peer_tcp(port);
  answer(h, next_request(idle, GET), "x");
  UNTIL(peer_finals(idle) == 1);
  encke_id one = next_request(held, GET), two = next_request(held, GET), three = next_request(stream, GET);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  CHECK_OK(encke_begin(h->s, three, &r, sizeof r));
  CHECK_OK(encke_write(h->s, three, "one ", 4));
  UNTIL(stream->n > 0);
  CHECK_OK(encke_drain(h->e, LONG_GRACE));
  UNTIL(idle->eof);
  QUIESCE();
  CHECK(!tcp_connectable(port));
  CHECK(!held->eof && !stream->eof);
  CHECK_EQ(SEEN(h, DRAINED) + SEEN(h, ABORTED), 0);
  answer(h, two, "two");
  answer(h, one, "one");
  UNTIL(held->eof);
  CHECK_EQ(peer_finals(held), 2);
  CHECK_TEXT(peer_nth(held, 0)->body, "one");
  CHECK_TEXT(peer_nth(held, 1)->body, "two");
  QUIESCE();
  CHECK_EQ(SEEN(h, DRAINED), 0);
  CHECK_OK(encke_write(h->s, three, "two", 3));
  CHECK_OK(encke_end(h->s, three, NULL, 0));
  UNTIL(SEEN(h, DRAINED) == 1 && stream->eof && host_all_done(h));
  CHECK_TEXT(peer_nth(stream, 0)->body, "one two");
  CHECK(!peer_nth(stream, 0)->truncated);
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_DONE) CHECK_EQ(h->log[i].code, ENCKE_END_OK);
  peer_close(idle), peer_close(held), peer_close(stream);
  close_host();
}

static void aborts_after_the_grace(void) {
  open_host("aborted after the grace");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  CHECK_OK(encke_drain(h->e, 100));
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, id)->code, ENCKE_END_DRAIN);
  UNTIL(SEEN(h, DRAINED) == 1 && p->eof);
  CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_DRAIN);
  peer_close(p);
  close_host();
}

static void the_deadline_moves(void) {
  open_host("calling again moves the deadline");
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  encke_id id = next_request(p, GET), lent = next_request(q, GET);
  static const char body[] = "lent";
  CHECK_OK(encke_drain(h->e, LONG_GRACE));
  QUIESCE();
  CHECK_EQ(SEEN(h, ABORTED), 0);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = ENCKE_BORROW, r.body = body, r.body_len = 4, r.cookie = 5;
  CHECK_OK(encke_respond(h->s, lent, &r, sizeof r));
  UNTIL(q->eof && SEEN(h, RELEASED) == 1);
  CHECK_EQ(SEEN(h, DRAINED), 0);
  CHECK_OK(encke_drain(h->e, 0));
  UNTIL(SEEN(h, DRAINED) == 1 && SEEN(h, ABORTED) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, id)->code, ENCKE_END_DRAIN);
  CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  UNTIL(host_all_done(h) && p->eof);
  peer_close(p), peer_close(q);
  close_host();
}

static void peers_that_left_do_not_count(void) {
  open_host("unsettled leases of peers that left");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  peer_rst(p);
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_OK(encke_drain(h->e, LONG_GRACE));
  UNTIL(SEEN(h, DRAINED) == 1);
  CHECK_STR(host_last(h, ENCKE_EV_REQUEST, id)->head->target, "/");
  CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  close_host();
}

int main(void) {
  nothing_open();
  waits_for_what_is_held();
  aborts_after_the_grace();
  the_deadline_moves();
  peers_that_left_do_not_count();
  return check_end();
}
