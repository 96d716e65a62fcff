/*
 * stream.c - answers in pieces: begin, write, end. The rule: chunked or with the length that was promised, bodiless where
 * HTTP says so, AGAIN at HIGH_WATER and then exactly one WRITABLE (F3).
 */
#include "check.h"

#include <strings.h>

static host *h;
static int port;
static char *big;

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"

static encke_response with(uint32_t status, uint32_t flags, uint64_t length) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = status, r.flags = flags, r.length = length;
  return r;
}

static void chunked(void) {
  SECTION("chunked, piece by piece");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  encke_field fields[] = {field("content-type", "text/event-stream"), field("x-a", "1"), field("x-a", "2")};
  encke_response r = with(200, 0, 0);
  r.fields = fields, r.nfields = 3, r.body = "first ", r.body_len = 6;
  char first[] = "copied";
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  UNTIL(p->n > 0);
  for (int i = 0; i < 5; i++) {
    size_t seen = p->n;
    memcpy(first, "piece ", 6);
    CHECK_OK(encke_write(h->s, id, first, 6));
    memset(first, 0, 6); /* copied before return */
    UNTIL(p->n > seen);
  }
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(peer_finals(p) == 1);
  response *x = peer_nth(p, 0);
  CHECK(x->chunked);
  CHECK_TEXT(x->body, "first piece piece piece piece piece ");
  CHECK_EQ(response_fields(x, "x-a"), 2);
  CHECK_TEXT(response_field(x, "content-type"), "text/event-stream");
  CHECK_TEXT(x->trailers, "");
  answer(h, next_request(p, GET), "and on");
  UNTIL(peer_finals(p) == 2);
  peer_close(p);

  SECTION("nothing written at all");
  p = peer_tcp(port);
  id = next_request(p, GET);
  r = with(200, 0, 0);
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->len, 0);
  peer_close(p);
}

static void trailers(void) {
  SECTION("trailers");
  peer *p = peer_tcp(port);
  encke_field lines[] = {field("x-sum", "42"), field("x-end", "yes")}, evil = field("x-evil", "a\r\nb: c");
  encke_id id = next_request(p, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
  encke_response r = with(200, 0, 0);
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_write(h->s, id, "body", 4));
  CHECK_RC(encke_end(h->s, id, &evil, 1), ENCKE_E_INVAL); /* does not settle */
  CHECK_OK(encke_end(h->s, id, lines, 2));
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "body");
  CHECK(strcasestr(peer_nth(p, 0)->trailers, "x-sum: 42\r\n") != NULL);
  CHECK(strcasestr(peer_nth(p, 0)->trailers, "x-end: yes\r\n") != NULL);
  id = next_request(p, GET);
  r = with(200, ENCKE_LENGTH, 4);
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_write(h->s, id, "body", 4));
  CHECK_OK(encke_end(h->s, id, lines, 2)); /* dropped: not chunked */
  answer(h, next_request(p, GET), "next");
  UNTIL(peer_finals(p) == 3);
  CHECK_TEXT(peer_nth(p, 2)->body, "next");
  peer_close(p);
}

static void with_length(void) {
  SECTION("ENCKE_LENGTH: exactly, and more is INVAL");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  encke_response r = with(200, ENCKE_LENGTH, 10);
  r.body = "01", r.body_len = 2;
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_write(h->s, id, "2345", 4));
  CHECK_RC(encke_write(h->s, id, "67890", 5), ENCKE_E_INVAL);
  CHECK_OK(encke_write(h->s, id, "6789", 4));
  CHECK_RC(encke_write(h->s, id, "x", 1), ENCKE_E_INVAL);
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(peer_finals(p) == 1 && host_all_done(h));
  CHECK(!peer_nth(p, 0)->chunked);
  CHECK_TEXT(peer_nth(p, 0)->body, "0123456789");
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->len, 10);

  SECTION("ENCKE_LENGTH: the first piece is too much already");
  id = next_request(p, GET);
  r = with(200, ENCKE_LENGTH, 1);
  r.body = "01", r.body_len = 2;
  CHECK_RC(encke_begin(h->s, id, &r, sizeof r), ENCKE_E_INVAL);
  answer(h, id, "ok");
  UNTIL(peer_finals(p) == 2);
  CHECK_TEXT(peer_nth(p, 1)->body, "ok");

  SECTION("ENCKE_LENGTH: fewer is cut");
  id = next_request(p, GET);
  r = with(200, ENCKE_LENGTH, 10);
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_write(h->s, id, "01234", 5));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(p->eof && host_all_done(h));
  if (peer_finals(p) == 3) CHECK(peer_nth(p, 2)->truncated);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  peer_close(p);

  SECTION("ENCKE_LENGTH 0");
  p = peer_tcp(port);
  id = next_request(p, GET);
  r = with(200, ENCKE_LENGTH, 0);
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(response_field(peer_nth(p, 0), "content-length"), "0");
  peer_close(p);
}

static void bodiless(void) {
  SECTION("HEAD, 204 and 304 carry no body");
  peer *p = peer_tcp(port);
  p->head_only = 7; /* the first three are HEAD */
  encke_id id = next_request(p, HEAD);
  answer(h, id, "not sent");
  id = next_request(p, HEAD);
  encke_response r = with(200, ENCKE_LENGTH, 12345);
  CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
  id = next_request(p, HEAD);
  r = with(200, 0, 0);
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_write(h->s, id, "taken, not sent", 15));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  uint32_t statuses[] = {204, 304};
  for (int i = 0; i < 2; i++) {
    id = next_request(p, GET);
    r = with(statuses[i], 0, 0);
    r.body = "not sent", r.body_len = 8;
    CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
  }
  answer(h, next_request(p, GET), "sent");
  UNTIL(peer_finals(p) == 6);
  for (size_t i = 0; i < 3; i++) CHECK_EQ(peer_nth(p, i)->status, 200);
  CHECK_TEXT(response_field(peer_nth(p, 1), "content-length"), "12345");
  CHECK_EQ(peer_nth(p, 3)->status, 204);
  CHECK_EQ(peer_nth(p, 4)->status, 304);
  CHECK_TEXT(peer_nth(p, 5)->body, "sent");
  CHECK(memmem(p->in, p->n, "not sent", 8) == NULL);
  peer_close(p);

  SECTION("the head goes out before the end, also with a first piece that is not sent");
  p = peer_tcp(port);
  p->head_only = 1;
  id = next_request(p, HEAD);
  r = with(200, 0, 0);
  r.body = "not sent", r.body_len = 8;
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  UNTIL(peer_finals(p) == 1);
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  answer(h, next_request(p, GET), "sent");
  UNTIL(peer_finals(p) == 2);
  CHECK(memmem(p->in, p->n, "not sent", 8) == NULL);
  peer_close(p);
  UNTIL(host_all_done(h));
}

static void again_and_one_writable(void) {
  SECTION("AGAIN, then exactly one WRITABLE");
  host *saved = h;
  h = HOST({ENCKE_OPT_HIGH_WATER, 100000}, {ENCKE_OPT_LOW_WATER, 20000});
  peer *p = peer_tcp_small(host_listen(h));
  p->paused = 1;
  encke_id id = next_request(p, GET);
  encke_response r = with(200, 0, 0);
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  CHECK_OK(encke_write(h->s, id, NULL, 0));
  size_t taken = 0, writable = 0;
  for (int full = 0; !full;) { /* the socket takes its share first */
    int rc;
    while ((rc = encke_write(h->s, id, big + taken, 50000)) == ENCKE_OK) {
      taken += 50000;
      CHECK(taken <= (size_t)32 << 20);
    }
    CHECK_RC(rc, ENCKE_E_AGAIN);
    for (int i = 0; i < 5; i++) CHECK_RC(encke_write(h->s, id, i % 2 ? "x" : NULL, (size_t)(i % 2)), ENCKE_E_AGAIN);
    QUIESCE();
    full = SEEN(h, WRITABLE) == writable;
    if (!full) CHECK_EQ(SEEN(h, WRITABLE), ++writable); /* one for all of the AGAINs */
  }
  p->paused = 0;
  UNTIL(SEEN(h, WRITABLE) == writable + 1);
  QUIESCE();
  CHECK_EQ(SEEN(h, WRITABLE), writable + 1);
  CHECK_OK(encke_write(h->s, id, NULL, 0));
  CHECK_OK(encke_write(h->s, id, big + taken, 3000000)); /* all of it, however long */
  taken += 3000000;
  (void)encke_write(h->s, id, NULL, 0); /* OK or AGAIN: the kernel may have taken it all */
  CHECK_OK(encke_end(h->s, id, NULL, 0)); /* settled: no WRITABLE any more */
  UNTIL(peer_finals(p) == 1 && host_all_done(h));
  CHECK_BYTES(peer_nth(p, 0)->body, peer_nth(p, 0)->len, big, taken);
  CHECK_EQ(SEEN(h, WRITABLE), writable + 1);
  peer_close(p);
  host_close(h);
  h = saved;
}

static void informs(void) {
  SECTION("103 before the answer");
  peer *p = peer_tcp(port);
  encke_field link[] = {field("link", "</a.css>; rel=preload"), field("link", "</b.js>; rel=preload")}, evil = field("link", "a\nb");
  encke_id id = next_request(p, GET);
  CHECK_RC(encke_inform(h->s, id, 103, &evil, 1), ENCKE_E_INVAL);
  CHECK_RC(encke_inform(h->s, id, 101, NULL, 0), ENCKE_E_INVAL);
  CHECK_OK(encke_inform(h->s, id, 102, NULL, 0));
  CHECK_OK(encke_inform(h->s, id, 103, link, 2));
  UNTIL(peer_all(p) == 2);
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_any(p, 0)->status, 102);
  CHECK_EQ(peer_any(p, 1)->status, 103);
  CHECK_EQ(response_fields(peer_any(p, 1), "link"), 2);
  CHECK_EQ(peer_any(p, 2)->status, 200);
  CHECK(response_field(peer_any(p, 2), "link") == NULL);

  SECTION("103 behind an unanswered request waits for its turn");
  peer_send(p, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(host_target(h, "/2") != NULL);
  size_t before = p->n;
  CHECK_OK(encke_inform(h->s, target_id(h, "/2"), 103, link, 1));
  QUIESCE();
  CHECK_EQ(p->n, before);
  answer(h, target_id(h, "/2"), "two");
  answer(h, target_id(h, "/1"), "one");
  UNTIL(peer_finals(p) == 3);
  CHECK_EQ(peer_any(p, 3)->status, 200);
  CHECK_EQ(peer_any(p, 4)->status, 103);
  CHECK_TEXT(peer_any(p, 5)->body, "two");
  peer_close(p);
  UNTIL(host_all_done(h));
}

static void head_fields(void) {
  SECTION("Date and Server: the library's unless the host gives them");
  host *saved = h;
  encke_config *config = encke_config_new();
  CHECK(config != NULL);
  CHECK_OK(encke_config_set_str(config, ENCKE_OPT_SERVER_NAME, "test/1"));
  h = HOST_PLAIN();
  encke_free(h->e);
  CHECK_OK(encke_new(config, &h->e));
  encke_config_free(config);
  h->s = encke_get_sender(h->e);
  peer *p = peer_tcp(host_listen(h));
  answer(h, next_request(p, GET), "x");
  encke_field own[] = {field("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), field("Server", "mine")};
  encke_response r = with(200, 0, 0);
  r.fields = own, r.nfields = 2;
  encke_id id = next_request(p, GET);
  CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
  UNTIL(peer_finals(p) == 2);
  CHECK_TEXT(response_field(peer_nth(p, 0), "server"), "test/1");
  CHECK(response_field(peer_nth(p, 0), "date") != NULL);
  CHECK_EQ(strlen(response_field(peer_nth(p, 0), "date")), 29);
  CHECK_EQ(response_fields(peer_nth(p, 1), "server"), 1);
  CHECK_EQ(response_fields(peer_nth(p, 1), "date"), 1);
  CHECK_TEXT(response_field(peer_nth(p, 1), "server"), "mine");
  CHECK_TEXT(response_field(peer_nth(p, 1), "date"), "Thu, 01 Jan 1970 00:00:00 GMT");
  peer_close(p);
  host_close(h);
  h = saved;
}

int main(void) {
  big = pattern((size_t)36 << 20, 5);
  h = HOST_PLAIN();
  port = host_listen(h);
  chunked();
  trailers();
  with_length();
  bodiless();
  again_and_one_writable();
  informs();
  head_fields();
  UNTIL(host_all_done(h));
  host_close(h);
  free(big);
  return check_end();
}
