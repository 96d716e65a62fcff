/*
 * simple.c - encke_next_request, the simple host. The rule: it sees requests only; a body above BUFFER_BODY is answered 413
 * by the library.
 */
#include "check.h"

static host *h;

static encke_id take(const encke_head **head) {
  encke_id id = 0;
  moment until = deadline();
  for (;;) {
    CHECK(now_ms() < until);
    int rc = encke_next_request(h->e, &id, head);
    CHECK(rc >= 0);
    if (rc > 0) return id;
    if (host_readable(h, 100)) CHECK(encke_run(h->e, 0) >= 0);
  }
}

static void finish(peer *p, size_t finals) {
  moment until = deadline();
  while (peer_finals(p) < finals) {
    const encke_head *head;
    encke_id id;
    CHECK(now_ms() < until);
    peer_pump(p);
    if (!host_readable(h, 10)) continue;
    CHECK(encke_run(h->e, 0) >= 0);
    CHECK_RC(encke_next_request(h->e, &id, &head), 0);
  }
}

int main(void) {
  h = HOST({ENCKE_OPT_BUFFER_BODY, 1000}, {ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_CONNECTION)});
  int port = host_listen(h);
  const encke_head *head = NULL;
  peer *p = peer_tcp(port);
  peer_ready(p);

  SECTION("requests, one after the other");
  for (size_t i = 0; i < 5; i++) peer_send(p, textf("GET /%zu HTTP/1.1\r\nHost: a\r\n\r\n", i));
  encke_id ids[5];
  for (size_t i = 0; i < 5; i++) {
    ids[i] = take(&head);
    CHECK_STR(head->target, textf("/%zu", i));
    CHECK(head->id == ids[i]);
  }
  for (size_t i = 5; i-- > 0;) answer(h, ids[i], textf("%zu", i));
  finish(p, 5);
  for (size_t i = 0; i < 5; i++) CHECK_TEXT(peer_nth(p, i)->body, textf("%zu", i));

  SECTION("a body within BUFFER_BODY");
  peer_send(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
  encke_id id = take(&head);
  CHECK_BYTES(head->body, head->body_len, "body", 4);
  answer(h, id, "x");
  finish(p, 6);
  peer_close(p);

  SECTION("a body above it");
  char *large = pattern(3000, 1);
  p = peer_tcp(port);
  peer_ready(p);
  peer_send(p, "POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n");
  peer_send_n(p, large, 3000);
  finish(p, 1);
  CHECK_EQ(peer_nth(p, 0)->status, 413);
  peer_close(p);
  p = peer_tcp(port);
  peer_ready(p);
  peer_send(p, "GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
  id = take(&head);
  CHECK_STR(head->target, "/after");
  answer(h, id, "x");
  finish(p, 1);
  peer_close(p);
  free(large);
  host_close(h);
  return check_end();
}
