/*
 * leave.c - clients that leave, by FIN and by RST, at each stage of a request. The rule: every REQUEST is settled by the
 * host once and gets one DONE; a half-closed client is still answered (F8); a reset is ABORTED (L5, L6).
 */
#include "check.h"

#define WANTED (ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_HALF_CLOSED) | ENCKE_WANT(ENCKE_EV_CONNECTION))
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static int port;
static char *big;

static void open_host(const char *name) {
  SECTION(name);
  h = HOST({ENCKE_OPT_EVENTS, WANTED}, {ENCKE_OPT_BUFFER_BODY, 1000}, {ENCKE_OPT_HIGH_WATER, 65536}, {ENCKE_OPT_LOW_WATER, 16384});
  port = host_listen(h);
}

/* The server still serves, and every lease has found its end. */
static void close_host(void) {
  size_t before = SEEN(h, REQUEST);
  peer *fence = peer_tcp(port);
  peer_send(fence, "GET /fence HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) > before);
  answer(h, target_id(h, "/fence"), "fence");
  UNTIL(peer_finals(fence) == 1);
  peer_close(fence);
  UNTIL(host_all_done(h));
  UNTIL(host_stats(h).connections == 0);
  QUIESCE();
  CHECK(host_all_done(h));
  CHECK_EQ(host_stats(h).held, 0);
  host_close(h);
}

static encke_id begun(encke_id id) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  return id;
}

/* Connections that were told of (code 1) and are told to be over (code 0). */
static size_t connections_over(void) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++) n += h->log[i].kind == ENCKE_EV_CONNECTION && h->log[i].code == 0;
  return n;
}

static void half_a_head(void) {
  for (int reset = 0; reset < 2; reset++) {
    open_host(reset ? "half a head, RST" : "half a head, FIN");
    peer *p = peer_tcp(port);
    peer_send(p, "GET / HTTP/1.1\r\nHos");
    UNTIL(host_stats(h).connections == 1);
    QUIESCE();
    if (reset) {
      peer_rst(p);
    } else {
      peer_fin(p);
      UNTIL(p->eof);
      peer_close(p);
    }
    UNTIL(connections_over() == 1);
    CHECK_EQ(SEEN(h, REQUEST), 0);
    close_host();
  }
}

static void nothing_at_all(void) {
  open_host("connected and left");
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  UNTIL(host_stats(h).connections == 2);
  peer_fin(p);
  UNTIL(p->eof);
  CHECK_EQ(p->n, 0);
  peer_close(p);
  peer_rst(q);
  UNTIL(connections_over() == 2);
  CHECK_EQ(SEEN(h, REQUEST), 0);
  close_host();
}

static void before_delivery(void) {
  open_host("whole request and FIN before the host looks");
  peer *p = peer_tcp(port);
  peer_send(p, GET);
  peer_fin(p);
  UNTIL(SEEN(h, REQUEST) == 1);
  answer(h, request_id(h, 0), "still answered");
  UNTIL(p->eof);
  CHECK_TEXT(peer_nth(p, 0)->body, "still answered");
  peer_close(p);
  close_host();

  open_host("whole request and RST before the host looks");
  p = peer_tcp(port);
  peer_send(p, GET);
  peer_rst(p);
  QUIESCE();
  if (SEEN(h, REQUEST)) {
    UNTIL(SEEN(h, ABORTED) == 1);
    CHECK_RC(encke_reply(h->s, request_id(h, 0), 200, "text/plain", "x", 1), ENCKE_E_GONE);
  }
  close_host();
}

static void held_fin(void) {
  open_host("held, FIN: HALF_CLOSED, then answered");
  peer *p = peer_tcp(port);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == 1);
  QUIESCE();
  CHECK_EQ(SEEN(h, HALF_CLOSED), 0);
  peer_fin(p);
  UNTIL(SEEN(h, HALF_CLOSED) == 1);
  encke_id id = request_id(h, 0);
  CHECK(host_nth(h, ENCKE_EV_HALF_CLOSED, 0)->id == id);
  QUIESCE();
  CHECK_EQ(SEEN(h, ABORTED), 0);
  CHECK_OK(encke_write(h->s, id, NULL, 0)); /* the peer is there */
  answer(h, id, "late");
  UNTIL(p->eof && host_all_done(h));
  CHECK(!p->reset);
  CHECK_TEXT(peer_nth(p, 0)->body, "late");
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  peer_close(p);
  close_host();

  open_host("held, FIN taken for leaving: abort");
  p = peer_tcp(port);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == 1);
  peer_fin(p);
  UNTIL(SEEN(h, HALF_CLOSED) == 1);
  id = request_id(h, 0);
  CHECK_OK(encke_abort(h->s, id));
  UNTIL(p->eof && host_all_done(h));
  if (peer_finals(p)) CHECK_EQ(peer_nth(p, 0)->status, 500);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  peer_close(p);
  close_host();

  open_host("three held, FIN: all are answered, in order");
  p = peer_tcp(port);
  peer_send(p, GET GET GET);
  UNTIL(SEEN(h, REQUEST) == 3);
  peer_fin(p);
  UNTIL(SEEN(h, HALF_CLOSED) >= 1);
  for (size_t i = 3; i-- > 0;) answer(h, request_id(h, i), textf("%zu", i));
  UNTIL(p->eof && host_all_done(h));
  CHECK_EQ(peer_finals(p), 3);
  for (size_t i = 0; i < 3; i++) CHECK_TEXT(peer_nth(p, i)->body, textf("%zu", i));
  peer_close(p);
  close_host();
}

static void held_gone(void) {
  open_host("three held, RST: three ABORTED");
  peer *p = peer_tcp(port);
  peer_send(p, GET GET GET);
  UNTIL(SEEN(h, REQUEST) == 3);
  peer_rst(p);
  UNTIL(SEEN(h, ABORTED) == 3);
  QUIESCE();
  CHECK_EQ(SEEN(h, DONE), 0); /* not before the settle */
  for (size_t i = 0; i < 3; i++) {
    encke_id id = request_id(h, i);
    event *x = host_last(h, ENCKE_EV_ABORTED, id);
    CHECK(x != NULL && x->head != NULL);
    CHECK_EQ(x->code, ENCKE_END_PEER);
    CHECK_RC(encke_write(h->s, id, NULL, 0), ENCKE_E_GONE);
    encke_response r;
    memset(&r, 0, sizeof r);
    r.status = 200;
    CHECK_RC(encke_begin(h->s, id, &r, sizeof r), ENCKE_E_GONE); /* does not settle */
    CHECK_STR(host_last(h, ENCKE_EV_REQUEST, id)->head->target, "/");
    if (i == 0) CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
    if (i == 1) CHECK_RC(encke_respond(h->s, id, &r, sizeof r), ENCKE_E_GONE);
    if (i == 2) {
      int rc = encke_abort(h->s, id);
      CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    }
  }
  UNTIL(host_all_done(h));
  for (size_t i = 0; i < 3; i++) CHECK_EQ(host_last(h, ENCKE_EV_DONE, request_id(h, i))->code, ENCKE_END_PEER);
  close_host();

  open_host("held, closed: the answer is written into nothing");
  p = peer_tcp(port);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == 1);
  peer_close(p);
  UNTIL(SEEN(h, HALF_CLOSED) + SEEN(h, ABORTED) >= 1);
  int rc = encke_reply(h->s, request_id(h, 0), 200, "text/plain", "x", 1);
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
  close_host();
}

static void in_a_stream(void) {
  open_host("begun, RST: write gets GONE and does not settle, end does");
  peer *p = peer_tcp(port);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == 1);
  encke_id id = begun(request_id(h, 0));
  UNTIL(p->n > 0);
  peer_rst(p);
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_RC(encke_write(h->s, id, "x", 1), ENCKE_E_GONE);
  CHECK_RC(encke_write(h->s, id, "x", 1), ENCKE_E_GONE);
  QUIESCE();
  CHECK_EQ(SEEN(h, DONE), 0);
  CHECK_RC(encke_end(h->s, id, NULL, 0), ENCKE_E_GONE);
  close_host();

  open_host("blocked in AGAIN, RST: ABORTED instead of WRITABLE");
  p = peer_tcp_small(port);
  p->paused = 1;
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == 1);
  id = begun(request_id(h, 0));
  size_t taken = 0, writable = 0;
  int rc;
  for (;;) { /* until the socket is full too and no WRITABLE comes any more */
    while ((rc = encke_write(h->s, id, big, 60000)) == ENCKE_OK) {
      taken += 60000;
      CHECK(taken < (size_t)256 << 20);
    }
    CHECK_RC(rc, ENCKE_E_AGAIN);
    QUIESCE();
    if (SEEN(h, WRITABLE) == writable) break;
    CHECK_EQ(SEEN(h, WRITABLE), ++writable);
  }
  peer_rst(p);
  UNTIL(SEEN(h, ABORTED) == 1);
  QUIESCE();
  CHECK(SEEN(h, WRITABLE) <= writable + 1); /* one for the last AGAINs, if the kernel took some more before the RST */
  CHECK_RC(encke_write(h->s, id, "x", 1), ENCKE_E_GONE);
  CHECK_RC(encke_end(h->s, id, NULL, 0), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_PEER);
  close_host();

  open_host("mid-stream, FIN: the rest arrives");
  p = peer_tcp(port);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == 1);
  id = begun(request_id(h, 0));
  CHECK_OK(encke_write(h->s, id, "one ", 4));
  UNTIL(p->n > 0);
  peer_fin(p);
  QUIESCE();
  CHECK_OK(encke_write(h->s, id, "two ", 4));
  QUIESCE();
  CHECK_OK(encke_write(h->s, id, "three", 5));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(p->eof && host_all_done(h));
  CHECK_TEXT(peer_nth(p, 0)->body, "one two three");
  CHECK(!peer_nth(p, 0)->truncated);
  peer_close(p);
  close_host();
}

static void in_a_body(void) {
  for (int reset = 0; reset < 2; reset++) {
    open_host(reset ? "in the middle of a large body, RST" : "in the middle of a large body, FIN");
    peer *p = peer_tcp(port);
    peer_send(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n0123456789");
    UNTIL(SEEN(h, REQUEST) == 1 && SEEN(h, BODY) >= 1);
    if (reset) peer_rst(p);
    else peer_fin(p);
    /* A FIN there: the body can never be whole, but the host may be let to answer it. */
    UNTIL(SEEN(h, ABORTED) + (reset ? 0 : SEEN(h, HALF_CLOSED)) >= 1);
    QUIESCE();
    if (SEEN(h, ABORTED)) CHECK(host_nth(h, ENCKE_EV_ABORTED, 0)->code != ENCKE_END_OK);
    if (reset) CHECK_EQ(host_nth(h, ENCKE_EV_ABORTED, 0)->code, ENCKE_END_PEER);
    size_t got = 0;
    for (size_t i = 0; i < h->n; i++)
      if (h->log[i].kind == ENCKE_EV_BODY) {
        got += h->log[i].len;
        CHECK(h->log[i].more != 0); /* the last piece never came */
      }
    CHECK_EQ(got, 10);
    CHECK_RC(encke_reply(h->s, request_id(h, 0), 400, "text/plain", "x", 1), SEEN(h, ABORTED) ? ENCKE_E_GONE : ENCKE_OK);
    if (!reset) {
      UNTIL(p->eof);
      peer_close(p);
    }
    close_host();

    open_host(reset ? "in the middle of a small body, RST" : "in the middle of a small body, FIN");
    p = peer_tcp(port);
    peer_send(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n0123456789");
    UNTIL(host_stats(h).connections == 1);
    QUIESCE();
    if (reset) {
      peer_rst(p);
    } else {
      peer_fin(p);
      UNTIL(p->eof);
      peer_close(p);
    }
    UNTIL(connections_over() == 1);
    CHECK_EQ(SEEN(h, REQUEST), 0);
    close_host();
  }
}

static void after_the_settle(void) {
  open_host("after the settle, before the client has it: RST");
  peer *p = peer_tcp_small(port);
  p->paused = 1;
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == 1);
  encke_id id = request_id(h, 0);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = ENCKE_BORROW, r.body = big, r.body_len = 16 << 20, r.cookie = 9;
  CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
  QUIESCE();
  CHECK_EQ(SEEN(h, DONE), 0);
  peer_rst(p);
  UNTIL(host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_PEER);
  CHECK(host_last(h, ENCKE_EV_DONE, id)->len < (size_t)16 << 20);
  CHECK_EQ(SEEN(h, RELEASED), 1);
  close_host();

  open_host("leaves behind a held request with two settled ones behind it");
  p = peer_tcp(port);
  peer_send(p, GET GET GET);
  UNTIL(SEEN(h, REQUEST) == 3);
  answer(h, request_id(h, 1), "1");
  answer(h, request_id(h, 2), "2");
  QUIESCE();
  CHECK_EQ(p->n, 0);
  peer_rst(p);
  UNTIL(host_count(h, ENCKE_EV_ABORTED, request_id(h, 0)) == 1);
  CHECK_RC(encke_reply(h->s, request_id(h, 0), 200, "text/plain", "0", 1), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  for (size_t i = 0; i < 3; i++) CHECK_EQ(host_last(h, ENCKE_EV_DONE, request_id(h, i))->code, ENCKE_END_PEER);
  close_host();
}

int main(void) {
  big = pattern((size_t)16 << 20, 3);
  half_a_head();
  nothing_at_all();
  before_delivery();
  held_fin();
  held_gone();
  in_a_stream();
  in_a_body();
  after_the_settle();
  free(big);
  return check_end();
}
