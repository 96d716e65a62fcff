/*
 * expect.c - 100-continue in all of its forms. The rule: the client hears 100 at most once and never after a final answer;
 * with EXPECT 1 only the host says it; any final answer refuses.
 */
#include "check.h"

#define BUFFER 1000

static host *h;
static int port;

static peer *expecting(size_t n) {
  peer *p = peer_tcp(port);
  peer_send(p, textf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\nExpect: 100-continue\r\n\r\n", n));
  return p;
}

static void ack(host *host_, const event *x) {
  if (x->kind != ENCKE_EV_BODY || !x->len) return;
  int rc = encke_body_ack(host_->s, x->id, x->len);
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE); /* GONE: an ABORTED is under way */
}

static int whole(encke_id id) {
  event *x = host_last(h, ENCKE_EV_REQUEST, id), *b = host_last(h, ENCKE_EV_BODY, id);
  return !(x->head->flags & ENCKE_HEAD_BODY_FOLLOWS) || (b && !b->more);
}

static size_t continues(peer *p) {
  size_t n = 0;
  for (size_t i = 0; i < peer_all(p); i++) n += peer_any(p, i)->status == 100;
  return n;
}

static void refuse_in_the_drain(host *host_, const event *x) {
  if (x->kind == ENCKE_EV_REQUEST) CHECK_OK(encke_reply(host_->s, x->id, 403, "text/plain", "no", 2));
}

static void open_host(uint64_t expect) {
  h = HOST({ENCKE_OPT_EXPECT, expect}, {ENCKE_OPT_BUFFER_BODY, BUFFER});
  h->on = ack;
  port = host_listen(h);
}

static void by_the_library(void) {
  char *data = pattern(5000, 1);
  open_host(0);
  SECTION("small body, EXPECT 0: the library asks for it");
  peer *p = expecting(5);
  UNTIL(peer_all(p) == 1);
  CHECK_EQ(peer_any(p, 0)->status, 100);
  peer_send(p, "hello");
  UNTIL(SEEN(h, REQUEST) == 1 && whole(request_id(h, 0)));
  answer(h, request_id(h, 0), "x");
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(continues(p), 1);
  peer_close(p);

  SECTION("large body, EXPECT 0: when the drain ends without a settle");
  p = expecting(5000);
  UNTIL(SEEN(h, REQUEST) == 2);
  encke_id id = request_id(h, 1);
  CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_BODY_FOLLOWS);
  CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_EXPECT);
  UNTIL(peer_all(p) == 1);
  CHECK_EQ(peer_any(p, 0)->status, 100);
  peer_send_n(p, data, 5000);
  UNTIL(whole(id));
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(continues(p), 1);
  peer_close(p);

  SECTION("the body comes along unasked");
  p = expecting(5000);
  peer_send_n(p, data, 5000);
  UNTIL(SEEN(h, REQUEST) == 3 && whole(request_id(h, 2)));
  answer(h, request_id(h, 2), "x");
  UNTIL(peer_finals(p) == 1);
  CHECK(continues(p) <= 1);
  CHECK_EQ(peer_nth(p, 0)->status, 200);
  peer_close(p);

  SECTION("behind an unanswered request: not before its answer");
  p = peer_tcp(port);
  peer_send(p, "GET /first HTTP/1.1\r\nHost: a\r\n\r\nPOST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
  UNTIL(host_target(h, "/first") != NULL);
  QUIESCE();
  CHECK_EQ(p->n, 0);
  answer(h, target_id(h, "/first"), "first");
  UNTIL(peer_all(p) == 2);
  CHECK_EQ(peer_any(p, 0)->status, 200);
  CHECK_EQ(peer_any(p, 1)->status, 100);
  peer_send_n(p, data, 5000);
  UNTIL(host_target(h, "/second") != NULL && whole(target_id(h, "/second")));
  answer(h, target_id(h, "/second"), "second");
  UNTIL(peer_finals(p) == 2);
  CHECK_TEXT(peer_nth(p, 1)->body, "second");
  peer_close(p);

  SECTION("refused inside the drain: no 100");
  UNTIL(host_all_done(h));
  h->on = refuse_in_the_drain;
  p = expecting(5000);
  UNTIL(peer_finals(p) == 1);
  QUIESCE();
  CHECK_EQ(peer_nth(p, 0)->status, 403);
  CHECK_EQ(continues(p), 0);
  peer_close(p);

  SECTION("too large: refused by the library");
  p = expecting((size_t)1 << 40);
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 413);
  CHECK_EQ(continues(p), 0);
  peer_close(p);
  UNTIL(host_all_done(h));
  host_close(h);
  free(data);
}

static void by_the_host(void) {
  char *data = pattern(5000, 1);
  static const size_t sizes[] = {5, 5000};
  open_host(1);
  for (size_t i = 0; i < 2; i++) {
    SECTION(i ? "large body, EXPECT 1: only by inform" : "small body, EXPECT 1: only by inform");
    size_t before = SEEN(h, REQUEST);
    peer *p = expecting(sizes[i]);
    UNTIL(SEEN(h, REQUEST) == before + 1);
    encke_id id = request_id(h, before);
    CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_EXPECT);
    CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_BODY_FOLLOWS);
    QUIESCE();
    CHECK_EQ(p->n, 0);
    CHECK_OK(encke_inform(h->s, id, 100, NULL, 0));
    UNTIL(peer_all(p) == 1);
    CHECK_EQ(peer_any(p, 0)->status, 100);
    peer_send_n(p, data, sizes[i]);
    UNTIL(whole(id));
    answer(h, id, "x");
    UNTIL(peer_finals(p) == 1);
    CHECK_EQ(continues(p), 1);
    peer_close(p);
  }
  SECTION("EXPECT 1: a late refusal");
  size_t before = SEEN(h, REQUEST);
  peer *p = expecting(5000);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  QUIESCE();
  CHECK_OK(encke_reply(h->s, request_id(h, before), 403, "text/plain", "no", 2));
  UNTIL(peer_finals(p) == 1);
  QUIESCE();
  CHECK_EQ(peer_nth(p, 0)->status, 403);
  CHECK_EQ(continues(p), 0);
  peer_close(p);

  SECTION("EXPECT 1: an answer that is begun refuses the body too, and the body ends without a byte");
  before = SEEN(h, REQUEST);
  p = expecting(5000);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  encke_id id = request_id(h, before);
  encke_response r = {.status = 200};
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  UNTIL(whole(id));
  CHECK_EQ(host_last(h, ENCKE_EV_BODY, id)->len, 0);
  CHECK_OK(encke_write(h->s, id, "no", 2));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(peer_finals(p) == 1);
  UNTIL(p->eof);
  CHECK_EQ(peer_nth(p, 0)->status, 200);
  CHECK_TEXT(peer_nth(p, 0)->body, "no");
  CHECK_EQ(continues(p), 0);
  peer_close(p);
  UNTIL(host_all_done(h));
  host_close(h);
  free(data);
}

int main(void) {
  by_the_library();
  by_the_host();
  return check_end();
}
