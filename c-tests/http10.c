/*
 * http10.c - HTTP/1.0 clients. The rule: the connection closes after the answer unless the client asked to keep it and the
 * length is known; never chunked, never a 1xx.
 */
#include "check.h"

#include <strings.h>

static host *h;
static int port;

static encke_id one_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  CHECK_EQ(host_nth(h, ENCKE_EV_REQUEST, before)->head->version, 10);
  return request_id(h, before);
}

static int says(peer *p, size_t nth, const char *token) {
  const char *value = response_field(peer_nth(p, nth), "connection");
  return value && strcasestr(value, token) != NULL;
}

static void begin(encke_id id, uint32_t flags, uint64_t length) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = flags, r.length = length;
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
}

static void closes_by_default(void) {
  SECTION("closes after the answer");
  static const char *const texts[] = {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n",
                                      "HEAD / HTTP/1.0\r\n\r\n"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    peer *p = peer_tcp(port);
    p->head_only = i == 2;
    answer(h, one_request(p, texts[i]), "hello");
    UNTIL(p->eof);
    CHECK_EQ(peer_finals(p), 1);
    CHECK_EQ(peer_nth(p, 0)->status, 200);
    CHECK_TEXT(peer_nth(p, 0)->body, i == 2 ? "" : "hello");
    CHECK(!says(p, 0, "keep-alive"));
    CHECK_EQ(peer_nth(p, 0)->end, p->n);
    peer_close(p);
  }
}

static void keeps_alive_on_request(void) {
  SECTION("keep-alive on request");
  peer *p = peer_tcp(port);
  for (size_t i = 0; i < 3; i++) {
    answer(h, one_request(p, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), "kept");
    UNTIL(peer_finals(p) == i + 1);
    CHECK(says(p, i, "keep-alive"));
  }
  encke_id id = one_request(p, "POST / HTTP/1.0\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\nbody");
  CHECK_TEXT(host_last(h, ENCKE_EV_REQUEST, id)->data, "body");
  begin(id, ENCKE_LENGTH, 6);
  CHECK_OK(encke_write(h->s, id, "abc", 3));
  CHECK_OK(encke_write(h->s, id, "def", 3));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(peer_finals(p) == 4);
  CHECK_TEXT(peer_nth(p, 3)->body, "abcdef");
  CHECK(says(p, 3, "keep-alive"));
  CHECK(!p->eof);
  answer(h, one_request(p, "GET /last HTTP/1.0\r\n\r\n"), "last");
  UNTIL(p->eof);
  CHECK_EQ(peer_finals(p), 5);
  peer_close(p);
}

static void unknown_length_ends_with_the_connection(void) {
  SECTION("a stream of unknown length ends with the connection");
  encke_field trailer = field("x-sum", "1");
  for (int keep = 0; keep < 2; keep++) {
    peer *p = peer_tcp(port);
    encke_id id = one_request(p, keep ? "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" : "GET / HTTP/1.0\r\n\r\n");
    begin(id, 0, 0);
    CHECK_OK(encke_write(h->s, id, "one ", 4));
    UNTIL(p->n > 0);
    CHECK_OK(encke_write(h->s, id, "two", 3));
    CHECK_OK(encke_end(h->s, id, &trailer, 1)); /* dropped: not chunked */
    UNTIL(p->eof);
    CHECK(!p->reset);
    CHECK_EQ(peer_finals(p), 1);
    response *r = peer_nth(p, 0);
    CHECK(response_field(r, "transfer-encoding") == NULL);
    CHECK(response_field(r, "content-length") == NULL);
    CHECK(!says(p, 0, "keep-alive"));
    CHECK_TEXT(r->body, "one two");
    peer_close(p);
  }
}

static void never_informational(void) {
  SECTION("no 1xx");
  peer *p = peer_tcp(port);
  encke_field link = field("link", "</a.css>; rel=preload");
  encke_id id = one_request(p, "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok");
  CHECK_TEXT(host_last(h, ENCKE_EV_REQUEST, id)->data, "ok");
  CHECK_OK(encke_inform(h->s, id, 103, &link, 1));
  CHECK_OK(encke_inform(h->s, id, 100, NULL, 0));
  answer(h, id, "x");
  UNTIL(p->eof);
  CHECK_EQ(peer_all(p), 1);
  CHECK_EQ(peer_nth(p, 0)->status, 200);
  peer_close(p);
}

static void pipelined(void) {
  SECTION("two pipelined, answered in reverse");
  peer *p = peer_tcp(port);
  size_t before = SEEN(h, REQUEST);
  peer_send(p, "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == before + 2);
  answer(h, request_id(h, before + 1), "second");
  QUIESCE();
  CHECK_EQ(p->n, 0);
  answer(h, request_id(h, before), "first");
  UNTIL(p->eof);
  CHECK_EQ(peer_finals(p), 2);
  CHECK_TEXT(peer_nth(p, 0)->body, "first");
  CHECK_TEXT(peer_nth(p, 1)->body, "second");
  peer_close(p);
}

int main(void) {
  h = HOST_PLAIN();
  port = host_listen(h);
  closes_by_default();
  keeps_alive_on_request();
  unknown_length_ends_with_the_connection();
  never_informational();
  pipelined();
  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
