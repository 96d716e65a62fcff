/*
 * tunnel.c - leaving HTTP: Upgrade by 101, CONNECT by 2xx. The rule: after encke_begin BODY events and encke_write carry raw
 * bytes, under the same credit and the same lease as any request; CONNECT is 501 unless the host asked for it.
 */
#include "check.h"

#include <strings.h>

#define UPGRADE "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
#define CONNECT "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"

static host *h;
static int port;

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static int begin(encke_id id, uint32_t status) {
  encke_field upgrade = field("Upgrade", "echo");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = status;
  if (status == 101) r.fields = &upgrade, r.nfields = 1;
  return encke_begin(h->s, id, &r, sizeof r);
}

static size_t tunnel_bytes(encke_id id, char *to) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_BODY && h->log[i].id == id) {
      if (to && h->log[i].len) memcpy(to + n, h->log[i].data, h->log[i].len);
      n += h->log[i].len;
    }
  return n;
}

static int tunnel_over(encke_id id) {
  event *x = host_last(h, ENCKE_EV_BODY, id);
  return x && !x->more;
}

static void ack(host *host_, const event *x) {
  if (x->kind != ENCKE_EV_BODY || !x->len) return;
  int rc = encke_body_ack(host_->s, x->id, x->len);
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE); /* GONE: an ABORTED is under way */
}

static int raw_is(peer *p, const char *text) {
  size_t n;
  const char *raw = peer_raw(p, &n);
  return n == strlen(text) && memcmp(raw, text, n) == 0;
}

/* Raw bytes both ways, the client's end first, then the host's. */
static void talk(peer *p, encke_id id) {
  char got[64] = "";
  peer_send(p, "GET / this is not HTTP any more\n");
  UNTIL(tunnel_bytes(id, NULL) == 32);
  tunnel_bytes(id, got);
  CHECK_TEXT(got, "GET / this is not HTTP any more\n");
  CHECK_OK(encke_write(h->s, id, "raw \0 back", 10));
  size_t n = 0;
  UNTIL((peer_raw(p, &n), n == 10));
  CHECK_BYTES(peer_raw(p, &n), 10, "raw \0 back", 10);
  char *big = pattern(300000, 8), *all = need(malloc(300032));
  peer_send_n(p, big, 300000); /* more than the window: the acks go on */
  UNTIL(tunnel_bytes(id, NULL) == 300032);
  tunnel_bytes(id, all);
  CHECK_BYTES(all + 32, 300000, big, 300000);
  free(big);
  free(all);
  peer_fin(p);
  UNTIL(tunnel_over(id));
  CHECK_EQ(tunnel_bytes(id, NULL), 300032);
  CHECK_OK(encke_write(h->s, id, " bye", 4));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(p->eof && host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK_BYTES(peer_raw(p, &n), 14, "raw \0 back bye", 14);
  CHECK_EQ(host_count(h, ENCKE_EV_ABORTED, id), 0);
  peer_close(p);
}

static void upgrade(void) {
  SECTION("Upgrade");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, UPGRADE);
  CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_UPGRADE);
  CHECK_OK(begin(id, 101));
  UNTIL(peer_all(p) == 1);
  response *r = peer_any(p, 0);
  CHECK_EQ(r->status, 101);
  CHECK(response_field(r, "upgrade") && strcasecmp(response_field(r, "upgrade"), "echo") == 0);
  CHECK(response_field(r, "connection") && strcasestr(response_field(r, "connection"), "upgrade") != NULL);
  talk(p, id);

  SECTION("Upgrade behind a pipelined request");
  p = peer_tcp(port);
  size_t before = SEEN(h, REQUEST);
  peer_send(p, "GET /before HTTP/1.1\r\nHost: a\r\n\r\n" UPGRADE);
  UNTIL(SEEN(h, REQUEST) >= before + 1);
  answer(h, request_id(h, before), "before");
  UNTIL(SEEN(h, REQUEST) == before + 2);
  id = request_id(h, before + 1);
  CHECK_OK(begin(id, 101));
  UNTIL(peer_all(p) == 2);
  CHECK_EQ(peer_any(p, 0)->status, 200);
  CHECK_EQ(peer_any(p, 1)->status, 101);
  talk(p, id);

  SECTION("Upgrade that the host does not take up");
  p = peer_tcp(port);
  answer(h, next_request(p, UPGRADE), "plain");
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 200);
  answer(h, next_request(p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "and on");
  UNTIL(peer_finals(p) == 2);
  peer_close(p);

  SECTION("101 for a request that did not ask for it");
  p = peer_tcp(port);
  id = next_request(p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(!(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_UPGRADE));
  CHECK(begin(id, 101) < 0);
  answer(h, id, "still mine");
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "still mine");
  peer_close(p);
}

static void tunnel_endings(void) {
  SECTION("the host ends the tunnel first");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, UPGRADE);
  CHECK_OK(begin(id, 101));
  CHECK_OK(encke_write(h->s, id, "bye", 3));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(p->eof && host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK(raw_is(p, "bye"));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  peer_close(p);

  SECTION("the host aborts the tunnel");
  p = peer_tcp(port);
  id = next_request(p, UPGRADE);
  CHECK_OK(begin(id, 101));
  UNTIL(peer_all(p) == 1);
  CHECK_OK(encke_abort(h->s, id));
  UNTIL(p->eof && host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK(raw_is(p, ""));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  peer_close(p);

  SECTION("the peer resets the tunnel");
  p = peer_tcp(port);
  id = next_request(p, UPGRADE);
  CHECK_OK(begin(id, 101));
  UNTIL(peer_all(p) == 1);
  peer_rst(p);
  UNTIL(host_count(h, ENCKE_EV_ABORTED, id) == 1);
  CHECK_RC(encke_write(h->s, id, "x", 1), ENCKE_E_GONE);
  CHECK_RC(encke_end(h->s, id, NULL, 0), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_PEER);
}

static void connect_method(void) {
  SECTION("CONNECT is 501 by default");
  peer *p = peer_tcp(port);
  size_t before = SEEN(h, REQUEST);
  peer_send(p, CONNECT);
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 501);
  CHECK_EQ(SEEN(h, REQUEST), before);
  peer_close(p);

  host *saved = h;
  h = HOST({ENCKE_OPT_CONNECT, 1}, {ENCKE_OPT_BODY_WINDOW, 65536});
  h->on = ack;
  port = host_listen(h);
  SECTION("CONNECT, refused by the host");
  p = peer_tcp(port);
  encke_id id = next_request(p, CONNECT);
  const encke_head *head = host_last(h, ENCKE_EV_REQUEST, id)->head;
  CHECK_STR(head->method, "CONNECT");
  CHECK_STR(head->target, "example.com:443");
  CHECK(head->flags & ENCKE_HEAD_UPGRADE);
  CHECK_OK(encke_reply(h->s, id, 403, "text/plain", "no", 2));
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 403);
  CHECK_TEXT(peer_nth(p, 0)->body, "no");
  peer_close(p);

  SECTION("CONNECT, taken");
  p = peer_tcp(port);
  p->tunnel = 0;
  id = next_request(p, CONNECT);
  CHECK_OK(begin(id, 200));
  UNTIL(peer_all(p) == 1);
  CHECK_EQ(peer_any(p, 0)->status, 200);
  talk(p, id);
  UNTIL(host_all_done(h));
  host_close(h);
  h = saved;
}

/* What comes before the answer that opens the tunnel belongs to the tunnel. */
static void early_bytes(void) {
  static const char *const asks[] = {UPGRADE, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: echo\r\n\r\n"};
  for (int drains = 0; drains < 2; drains++)
    for (size_t i = 0; i < 2; i++) {
      SECTION(drains ? "bytes before the 101, while the server drains" : "bytes before the 101");
      host *saved = h;
      h = HOST_PLAIN();
      h->on = ack;
      peer *p = peer_tcp(host_listen(h));
      encke_id id = next_request(p, asks[i]);
      if (drains) CHECK_OK(encke_drain(h->e, 10000));
      peer_send(p, "early");
      QUIESCE();
      CHECK_OK(begin(id, 101));
      UNTIL(tunnel_bytes(id, NULL) == 5);
      char got[8] = "";
      tunnel_bytes(id, got);
      CHECK_TEXT(got, "early");
      CHECK_OK(encke_end(h->s, id, NULL, 0));
      UNTIL(p->eof && host_all_done(h));
      peer_close(p);
      host_close(h);
      h = saved;
    }
}

int main(void) {
  h = HOST({ENCKE_OPT_BODY_WINDOW, 65536});
  h->on = ack;
  port = host_listen(h);
  upgrade();
  tunnel_endings();
  UNTIL(host_all_done(h));
  connect_method();
  early_bytes();
  host_close(h);
  return check_end();
}
