/*
 * links.c - links against a bus that the test plays itself, byte by byte, as the original daemon was recorded; and against an
 * encke. The rule: what was acknowledged is not sent again, what was not is, in order; whatever a server says, the host hears
 * of it and goes on.
 */
#include "links.h"

#include <pthread.h>
#include <sys/un.h>

static uint64_t watch; /* ENCKE_OPT_WATCH of the hosts */

/* As the original begins a stream over HTTP/1.1. */
static const char begin[] =
  "HTTP/1.1 200 OK\r\nServer: msgbus\r\nContent-Type: multipart/x-mixed-replace;boundary=00MsgBus00\r\n"
  "Transfer-Encoding: chunked\r\nDate: Fri, 20 Nov 2026 08:40:22 GMT\r\n\r\nd\r\n--00MsgBus00\n\r\n";
#define ACK "HTTP/1.1 204 OK\r\nServer: msgbus\r\nDate: Fri, 20 Nov 2026 08:40:23 GMT\r\n\r\n"

/* ---- the host ---------------------------------------------------------------------------------------------------------- */

static host *start(void) { return HOST({ENCKE_OPT_WATCH, watch}); }

static encke_id link_with(host *h, const encke_link_options *options) {
  encke_id id = 0;
  CHECK_OK(encke_link_open(h->e, textf("http://127.0.0.1:%d/msgbus/", port), options, options ? sizeof *options : 0, &id));
  CHECK(id != 0);
  return id;
}

static encke_id link_quick(host *h, uint32_t flags) {
  encke_link_options options;
  memset(&options, 0, sizeof options);
  options.retry_ms_max = 5, options.flags = flags;
  return link_with(h, &options);
}

static int publish(host *h, encke_id link, const char *channel, const char *type, const char *data) {
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str(type), m.data = data, m.len = strlen(data);
  return encke_publish(h->s, link, channel, &m, sizeof m);
}

static encke_id follow(host *h, encke_id link, const char *channel, const char *types) {
  encke_subscription how;
  encke_id id = 0;
  memset(&how, 0, sizeof how);
  how.types = str(types);
  CHECK_OK(encke_link_subscribe(h->e, link, channel, &how, sizeof how, &id));
  return id;
}

static uint64_t settled(host *h, encke_id id) {
  event *ev = last_told(h, id, ENCKE_LINK_ACKED);
  return ev ? ev->cookie : 0;
}

/* ---- cases ------------------------------------------------------------------------------------------------------------- */

static void bad_arguments(void) {
  SECTION("what a link is not opened with");
  host *h = start();
  encke_id id = 7;
  static const struct { const char *url, *why; } bad[] = {
    {"127.0.0.1:8888", "begins with http://"}, {"http://", "host is missing"}, {"http://a@b/", "options"},
    {"http://a:0/", "no port"}, {"http://127.0.0.1/x", "does not end in '/'"}, {"unix:", "path of a socket"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    CHECK_RC(encke_link_open(h->e, bad[i].url, NULL, 0, &id), ENCKE_E_INVAL);
    if (!strstr(encke_last_error(), bad[i].why)) check_fail(__FILE__, __LINE__, "%s: %s", bad[i].url, encke_last_error());
  }
  CHECK_RC(encke_link_open(h->e, NULL, NULL, 0, NULL), ENCKE_E_INVAL);
  encke_link_options o;
  memset(&o, 0, sizeof o);
  o.flags = 1u << 31;
  CHECK_RC(encke_link_open(h->e, NULL, &o, sizeof o, &id), ENCKE_E_NOTSUP);
  o.flags = 0, o.user = str("a:b");
  CHECK_RC(encke_link_open(h->e, NULL, &o, sizeof o, &id), ENCKE_E_INVAL);
  o.user = str("a\r\nX: y");
  CHECK_RC(encke_link_open(h->e, NULL, &o, sizeof o, &id), ENCKE_E_INVAL);
  CHECK_EQ(id, 7);
  encke_id link = link_quick(h, 0), sub = 0;
  encke_subscription how;
  memset(&how, 0, sizeof how);
  how.transport = ENCKE_TRANSPORT_SSE;
  CHECK_RC(encke_link_subscribe(h->e, link, "a", &how, sizeof how, &sub), ENCKE_E_NOTSUP);
  how.transport = 0, how.since = str("a b");
  CHECK_RC(encke_link_subscribe(h->e, link, "a", &how, sizeof how, &sub), ENCKE_E_INVAL);
  CHECK_RC(encke_link_subscribe(h->e, link, "a\nb", NULL, 0, &sub), ENCKE_E_INVAL);
  CHECK_RC(encke_link_subscribe(h->e, link + 1, "a", NULL, 0, &sub), ENCKE_E_GONE);
  CHECK_RC(encke_subscribe(h->s, link, NULL, 0, NULL, 0), ENCKE_E_INVAL);
  CHECK_RC(publish(h, link, "a\nb", "", ""), ENCKE_E_INVAL);
  CHECK_RC(publish(h, link, "a", "x\ny", ""), ENCKE_E_INVAL);
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str("a/b"), m.key = str("k\r\nX: y");
  CHECK_RC(encke_publish(h->s, link, "a", &m, sizeof m), ENCKE_E_INVAL);
  CHECK_RC(publish(h, link + 1, "a", "", ""), ENCKE_E_GONE);
  CHECK_RC(encke_unsubscribe(h->s, link + 1, "a"), ENCKE_E_GONE);
  CHECK_RC(encke_close(h->e, link + 1), ENCKE_E_GONE);
  CHECK_OK(encke_close(h->e, link));
  CHECK_RC(publish(h, link, "a", "", ""), ENCKE_E_GONE);
  CHECK_RC(encke_close(h->e, link), ENCKE_E_GONE);
  UNTIL(told(h, link, ENCKE_LINK_CLOSED) == 1);
  host_close(h);
}

static void subscriptions(void) {
  SECTION("what the original sends is what the host gets");
  host *h = start();
  encke_link_options o;
  memset(&o, 0, sizeof o);
  o.user = str("alice"), o.password = str("secret"), o.retry_ms_max = 5;
  encke_id link = link_with(h, &o), sub = follow(h, link, "a b/c", "text/*,!text/html");
  CHECK_OK(encke_set_user(h->s, sub, 4711));
  peer *p = bus_accept();
  const char *request = textf("GET /msgbus/a%%20b/c?type=text%%2F%%2A%%2C%%21text%%2Fhtml HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: encke\r\n"
    "Accept: multipart/x-mixed-replace\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n", port);
  CHECK_BYTES(p->in, p->n, request, strlen(request));
  CHECK_EQ(told(h, sub, ENCKE_LINK_UP), 0);
  peer_send(p, begin);
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 1);
  peer_send(p, "2d\r\nContent-Type: text/plain\n\nhello\n--00MsgBus00\n\r\n");
  peer_send_n(p, "36\r\nFrom: bob\nContent-Type: image/jpeg\n\n\xff\xd8\xff\xe0\0--00MsgBus00\n\r\n", 4 + 54 + 2);
  UNTIL(SEEN(h, MESSAGE) == 2);
  event *first = host_nth(h, ENCKE_EV_MESSAGE, 0), *second = host_nth(h, ENCKE_EV_MESSAGE, 1);
  CHECK_BYTES(first->data, first->len, "hello\n", 6);
  CHECK_TEXT(first->type, "text/plain");
  CHECK_TEXT(first->from, "");
  CHECK_TEXT(first->channel, "a b/c");
  CHECK(first->id == sub && first->user == 4711);
  CHECK_BYTES(second->data, second->len, "\xff\xd8\xff\xe0", 5);
  CHECK_TEXT(second->from, "bob");
  SECTION("the end of a stream: told, made anew, and what may have been missed is told");
  peer_close(p);
  p = bus_accept();
  CHECK_EQ(told(h, sub, ENCKE_LINK_DOWN), 1);
  CHECK(last_told(h, sub, ENCKE_LINK_DOWN)->len > 0);
  CHECK(!has(p, "Last-Event-ID"));
  peer_send(p, begin);
  UNTIL(told(h, sub, ENCKE_LINK_GAP) == 1);
  CHECK_EQ(told(h, sub, ENCKE_LINK_UP), 2);
  SECTION("close ends it, and nothing comes after its last event");
  peer_send(p, "2d\r\nContent-Type: text/plain\n\nhello\n--00MsgBus00\n\r\n");
  UNTIL(SEEN(h, MESSAGE) == 3);
  CHECK_OK(encke_close(h->e, sub));
  peer_send(p, "2d\r\nContent-Type: text/plain\n\nhello\n--00MsgBus00\n\r\n");
  UNTIL(p->eof && told(h, sub, ENCKE_LINK_CLOSED) == 1);
  CHECK_EQ(SEEN(h, MESSAGE), 3);
  CHECK_RC(encke_close(h->e, sub), ENCKE_E_GONE);
  CHECK_RC(encke_set_user(h->s, sub, 1), ENCKE_E_GONE);
  peer_close(p);
  host_close(h);
}

static void root_and_names(void) {
  SECTION("everything; two subscriptions of one channel; channels under the link's own id");
  host *h = start();
  encke_id link = link_quick(h, 0), root = follow(h, link, "", "");
  peer *p = bus_accept();
  CHECK(has(p, "GET /msgbus/ HTTP/1.1\r\n"));
  peer_send(p, begin);
  peer_send(p, "4b\r\nContent-Location: /msgbus/foo\nContent-Type: text/plain\n\nhello\n--00MsgBus00\n\r\n");
  UNTIL(SEEN(h, MESSAGE) == 1);
  CHECK_TEXT(host_nth(h, ENCKE_EV_MESSAGE, 0)->channel, "foo");
  CHECK(host_nth(h, ENCKE_EV_MESSAGE, 0)->id == root);
  encke_id plain = follow(h, link, "x", "text/plain");
  peer *a = bus_accept();
  encke_id html = follow(h, link, "x", "text/html");
  peer *b = bus_accept();
  CHECK(plain != html && has(a, "?type=text%2Fplain ") && has(b, "?type=text%2Fhtml "));
  CHECK_OK(encke_close(h->e, plain));
  UNTIL(a->eof);
  CHECK(!b->eof);
  const char *both[] = {"one", "two"};
  CHECK_OK(encke_subscribe(h->s, link, both, 2, NULL, 0));
  CHECK_OK(encke_subscribe(h->s, link, both, 1, NULL, 0)); /* as before: nothing changes */
  peer *c = bus_accept(), *d = bus_accept();
  CHECK(has(c, "GET /msgbus/one HTTP/1.1") && has(d, "GET /msgbus/two HTTP/1.1"));
  CHECK_OK(encke_set_user(h->s, link, 99));
  peer_send(c, begin);
  peer_send(c, "28\r\nContent-Type: text/plain\n\n1--00MsgBus00\n\r\n");
  UNTIL(SEEN(h, MESSAGE) == 2);
  event *ev = host_nth(h, ENCKE_EV_MESSAGE, 1);
  CHECK(ev->id == link && ev->user == 99);
  CHECK_TEXT(ev->channel, "one");
  CHECK_TEXT(last_told(h, link, ENCKE_LINK_UP)->channel, "one");
  CHECK_OK(encke_unsubscribe(h->s, link, "one"));
  UNTIL(c->eof);
  CHECK(!d->eof && !b->eof && !p->eof);
  CHECK_OK(encke_close(h->e, link));
  UNTIL(b->eof && d->eof && p->eof);
  UNTIL(told(h, link, ENCKE_LINK_CLOSED) == 1 && told(h, html, ENCKE_LINK_CLOSED) == 1 && told(h, root, ENCKE_LINK_CLOSED) == 1);
  CHECK(!try_accept());
  peer_close(a), peer_close(b), peer_close(c), peer_close(d), peer_close(p);
  host_close(h);
}

#define OURS "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=encke-part\r\nEncke-Position: 000000000000000a:5\r\n%s\r\n--encke-part\r\n"

static void positions(void) {
  SECTION("a server that has positions: it goes on where it was");
  host *h = start();
  encke_id sub = follow(h, link_quick(h, 0), "news", "");
  peer *p = bus_accept();
  peer_send(p, textf(OURS, ""));
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 1);
  peer_close(p);
  p = bus_accept();
  CHECK(has(p, "\r\nLast-Event-ID: 000000000000000a:5\r\n")); /* also without a message */
  peer_send(p, textf(OURS, "Encke-Recovered: yes\r\n"));
  peer_send(p, "Content-Length: 2\r\nEncke-Position: 000000000000000a:6\r\n\r\nsi\r\n--encke-part\r\n");
  UNTIL(SEEN(h, MESSAGE) == 1);
  peer_close(p);
  p = bus_accept();
  CHECK(has(p, "\r\nLast-Event-ID: 000000000000000a:6\r\n"));
  CHECK_EQ(told(h, sub, ENCKE_LINK_GAP), 0);
  peer_send(p, textf(OURS, "Encke-Recovered: no\r\n"));
  UNTIL(told(h, sub, ENCKE_LINK_GAP) == 1);
  peer_close(p);
  p = bus_accept();
  CHECK(has(p, "\r\nLast-Event-ID: 000000000000000a:5\r\n"));
  SECTION("a message that is too large is not asked for again, and that it was left out is told");
  peer_send(p, textf(OURS, "Encke-Recovered: yes\r\n"));
  peer_send(p, "Content-Length: 99999999\r\nEncke-Position: 000000000000000a:7\r\n\r\n");
  UNTIL(p->eof);
  peer_close(p);
  p = bus_accept();
  CHECK(has(p, "\r\nLast-Event-ID: 000000000000000a:7\r\n"));
  CHECK_EQ(told(h, sub, ENCKE_LINK_GAP), 1);
  peer_send(p, textf(OURS, "Encke-Recovered: yes\r\n"));
  UNTIL(told(h, sub, ENCKE_LINK_GAP) == 2);
  peer_close(p);
  host_close(h);
}

static void publishing(void) {
  SECTION("published one behind the other on one connection, acknowledged in order");
  host *h = start();
  encke_id link = link_quick(h, ENCKE_LINK_REPORT);
  CHECK_OK(publish(h, link, "foo", "text/plain", "one"));
  CHECK_OK(publish(h, link, "", "", ""));
  CHECK_OK(publish(h, link, "a?b", "text/html", "three"));
  peer *p = bus_accept();
  UNTIL(has(p, "\r\n\r\nthree"));
  const char *all = textf("POST /msgbus/foo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: encke\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\none"
    "POST /msgbus/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: encke\r\nContent-Type: application/octet-stream\r\nContent-Length: 0\r\n\r\n"
    "POST /msgbus/a%%3Fb HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: encke\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nthree", port, port, port);
  CHECK_BYTES(p->in, p->n, all, strlen(all));
  CHECK_EQ(told(h, link, ENCKE_LINK_UP), 1);
  CHECK_EQ(settled(h, link), 0);
  peer_send(p, ACK);
  UNTIL(settled(h, link) == 1);
  SECTION("the connection is lost: what was not acknowledged is sent again, in order");
  peer_close(p);
  p = bus_accept();
  UNTIL(has(p, "\r\n\r\nthree"));
  CHECK(!has(p, "one") && times(p, "POST ") == 2);
  CHECK_EQ(told(h, link, ENCKE_LINK_DOWN), 1);
  SECTION("refused: it comes back; to be tried again: it is");
  peer_send(p, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
  UNTIL(told(h, link, ENCKE_LINK_RETURNED) == 1);
  event *ev = last_told(h, link, ENCKE_LINK_RETURNED);
  CHECK_EQ(ev->cookie, 2);
  CHECK_EQ(ev->more, 400);
  CHECK_TEXT(ev->channel, "");
  peer_send(p, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
  UNTIL(p->eof);
  peer_close(p);
  p = bus_accept();
  UNTIL(has(p, "\r\n\r\nthree"));
  CHECK_EQ(times(p, "POST "), 1);
  peer_send(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
  UNTIL(settled(h, link) == 3);
  SECTION("an idle connection may end; the next message makes a new one");
  size_t downs = told(h, link, ENCKE_LINK_DOWN);
  peer_close(p);
  QUIESCE();
  CHECK_OK(publish(h, link, "foo", "text/plain", "four"));
  p = bus_accept();
  UNTIL(has(p, "four"));
  CHECK_EQ(told(h, link, ENCKE_LINK_DOWN), downs);
  peer_send(p, "HTTP/1.0 204 OK\r\n\r\n");
  UNTIL(settled(h, link) == 4);
  peer_close(p);
  SECTION("what a link still has when it is closed comes back");
  CHECK_OK(publish(h, link, "foo", "text/plain", "five"));
  CHECK_OK(publish(h, link, "bar", "x/y", "six"));
  p = bus_accept();
  UNTIL(has(p, "six"));
  CHECK_OK(encke_close(h->e, link));
  UNTIL(told(h, link, ENCKE_LINK_CLOSED) == 1 && p->eof);
  CHECK_EQ(told(h, link, ENCKE_LINK_RETURNED), 3);
  ev = last_told(h, link, ENCKE_LINK_RETURNED);
  CHECK(ev->cookie == 6 && ev->more == 0);
  CHECK_TEXT(ev->channel, "bar");
  CHECK_TEXT(ev->type, "x/y");
  CHECK_BYTES(ev->data, ev->len, "six", 3);
  peer_close(p);
  host_close(h);
}

static void at_most_once(void) {
  SECTION("ENCKE_LINK_ONCE: nothing is sent twice");
  host *h = start();
  encke_id link = link_quick(h, ENCKE_LINK_REPORT | ENCKE_LINK_ONCE);
  CHECK_OK(publish(h, link, "c", "t", "one"));
  CHECK_OK(publish(h, link, "c", "t", "two"));
  peer *p = bus_accept();
  UNTIL(has(p, "two"));
  peer_close(p);
  UNTIL(told(h, link, ENCKE_LINK_RETURNED) == 2 && settled(h, link) == 2);
  CHECK_EQ(last_told(h, link, ENCKE_LINK_RETURNED)->more, 0);
  CHECK_OK(publish(h, link, "c", "t", "three"));
  p = bus_accept();
  UNTIL(has(p, "three"));
  CHECK_EQ(times(p, "POST "), 1);
  peer_send(p, ACK);
  UNTIL(settled(h, link) == 3);
  peer_close(p);
  host_close(h);
}

static void full(void) {
  SECTION("a full queue: AGAIN, then one WRITABLE");
  host *h = start();
  encke_link_options o;
  memset(&o, 0, sizeof o);
  o.queue_messages = 8, o.window = 2, o.retry_ms_max = 5, o.flags = ENCKE_LINK_REPORT;
  encke_id link = h->link = link_with(h, &o);
  CHECK_OK(encke_set_user(h->s, link, 5));
  for (int i = 0; i < 8; i++) CHECK_OK(publish(h, link, "c", "t", textf("m%d.", i)));
  CHECK_RC(publish(h, link, "c", "t", "more"), ENCKE_E_AGAIN);
  CHECK_RC(publish(h, link, "c", "t", "more"), ENCKE_E_AGAIN);
  peer *p = bus_accept();
  for (uint64_t i = 0; i < 8; i++) {
    UNTIL(has(p, textf("m%d.", (int)i)));
    QUIESCE();
    CHECK_EQ(times(p, "POST "), i + 2 < 8 ? i + 2 : 8); /* the window */
    peer_send(p, ACK);
    UNTIL(settled(h, link) == i + 1);
    CHECK_EQ(SEEN(h, WRITABLE), i + 1 >= 4);
  }
  CHECK(host_nth(h, ENCKE_EV_WRITABLE, 0)->id == link && host_nth(h, ENCKE_EV_WRITABLE, 0)->user == 5);
  CHECK_OK(publish(h, link, "c", "t", "more"));
  UNTIL(has(p, "more"));
  peer_close(p);
  host_close(h);
}

static void refusals_and_nonsense(void) {
  SECTION("refused, and answers that are none");
  static const char *const answers[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=\r\n\r\n",
    "SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n--b\nContent-Length: 99999999999\n\n",
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n--b\nno colon\n\n",
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n--b\nContent-Length: 1\n\nxyz\n",
  };
  host *h = start();
  encke_id sub = follow(h, link_quick(h, 0), "c", "");
  for (int round = 0; round < 2; round++) {
    peer *p = bus_accept();
    peer_send(p, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    UNTIL(p->eof);
    peer_close(p);
  }
  UNTIL(told(h, sub, ENCKE_LINK_REFUSED) == 1); /* once for the same status */
  CHECK_EQ(last_told(h, sub, ENCKE_LINK_REFUSED)->more, 401);
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    peer *p = bus_accept();
    peer_send(p, answers[i]);
    UNTIL(p->eof);
    peer_close(p);
  }
  char *junk = pattern(100000, 3);
  peer *p = bus_accept();
  peer_send_n(p, junk, 100000);
  UNTIL(p->eof);
  peer_close(p);
  free(junk);
  SECTION("after all that it works");
  p = bus_accept();
  peer_send(p, begin);
  peer_send(p, "28\r\nContent-Type: text/plain\n\n1--00MsgBus00\n\r\n");
  UNTIL(SEEN(h, MESSAGE) == 1);
  peer_close(p);
  SECTION("an answer that nobody asked for ends a publishing connection");
  encke_id link = link_quick(h, ENCKE_LINK_REPORT);
  CHECK_OK(encke_close(h->e, sub));
  CHECK_OK(publish(h, link, "c", "t", "one"));
  p = bus_accept();
  while (!has(p, "POST ")) { /* the subscription may have come once more */
    peer_close(p);
    p = bus_accept();
  }
  peer_send(p, ACK ACK);
  UNTIL(p->eof && settled(h, link) == 1);
  peer_close(p);
  host_close(h);
}

static void nobody_there(void) {
  SECTION("no server: told once, tried for ever");
  int before = port;
  host *h = start();
  close(listener);
  encke_id link = link_quick(h, ENCKE_LINK_REPORT), sub = follow(h, link, "c", "");
  CHECK_OK(publish(h, link, "c", "t", "one"));
  UNTIL(told(h, sub, ENCKE_LINK_DOWN) == 1 && told(h, link, ENCKE_LINK_DOWN) == 1);
  CHECK(strstr(last_told(h, link, ENCKE_LINK_DOWN)->data, "refused"));
  CHECK_TEXT(last_told(h, link, ENCKE_LINK_DOWN)->channel, "(none)");
  CHECK_TEXT(last_told(h, sub, ENCKE_LINK_DOWN)->channel, "c");
  listener = bus_listen(before);
  peer *p = bus_accept(), *q = bus_accept();
  CHECK(has(p, "POST ") + has(q, "POST ") == 1);
  peer_send(p, has(p, "POST ") ? ACK : begin);
  peer_send(q, has(q, "POST ") ? ACK : begin);
  UNTIL(settled(h, link) == 1 && told(h, sub, ENCKE_LINK_UP) == 1);
  CHECK_EQ(told(h, sub, ENCKE_LINK_DOWN), 1);
  CHECK_EQ(told(h, sub, ENCKE_LINK_GAP), 0);
  peer_close(p), peer_close(q);
  host_close(h);
}

static void slow_host(void) {
  SECTION("what the host does not take is not read");
  host *h = start();
  encke_id sub = follow(h, link_quick(h, 0), "c", "");
  peer *p = bus_accept();
  peer_send(p, begin);
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 1);
  enum { MANY = 200000 };
  size_t one = strlen("28\r\nContent-Type: text/plain\n\n1--00MsgBus00\n\r\n");
  char *all = need(malloc(one * MANY + 1));
  for (size_t i = 0; i < MANY; i++) memcpy(all + i * one, "28\r\nContent-Type: text/plain\n\n1--00MsgBus00\n\r\n", one);
  peer_send_n(p, all, one * MANY);
  /* The library runs and nobody takes events: that comes to an end long before all is read. */
  uint64_t memory = 0;
  for (int quiet = 0; quiet < 100;) {
    size_t at = p->out_at;
    peer_pump(p);
    if (watch == ENCKE_WATCH_ONE) CHECK(encke_run(h->e, 0) >= 0);
    quiet = p->out_at == at ? quiet + 1 : 0;
    encke_stats s = host_stats(h);
    if (s.memory > memory) memory = s.memory;
  }
  CHECK(!peer_sent(p));
  CHECK(memory < 4 << 20);
  UNTIL(SEEN(h, MESSAGE) == MANY);
  CHECK(peer_sent(p));
  peer_close(p);
  free(all);
  host_close(h);
}

/* ---- other threads ------------------------------------------------------------------------------------------------------ */

enum { EACH = 500, THREADS = 3 };
static encke_id shared;

static void *publisher(void *argument) {
  host *h = ((host **)argument)[0];
  static int next;
  int me = __atomic_fetch_add(&next, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < EACH; i++) {
    char text[32];
    snprintf(text, sizeof text, "<%d:%d>", me % THREADS, i);
    while (publish(h, shared, "c", "t", text) == ENCKE_E_AGAIN) continue;
  }
  encke_sender_unref(h->s);
  return NULL;
}

static void threads(void) {
  SECTION("any thread publishes; each one's messages in order");
  host *h = start();
  encke_link_options o;
  memset(&o, 0, sizeof o);
  o.queue_messages = 50, o.flags = ENCKE_LINK_REPORT;
  shared = h->link = link_with(h, &o);
  pthread_t thread[THREADS];
  for (int i = 0; i < THREADS; i++) {
    encke_sender_ref(h->s);
    CHECK(pthread_create(&thread[i], NULL, publisher, &h) == 0);
  }
  peer *p = bus_accept();
  size_t answered = 0, got = 0, at = 0;
  int last[THREADS] = {-1, -1, -1};
  while (got < THREADS * EACH) {
    moment until = deadline();
    while (answered == times(p, "POST ")) {
      if (now_ms() > until) check_late(__FILE__, __LINE__, "the next message");
      step();
    }
    for (size_t n = times(p, "POST "); answered < n; answered++) peer_send(p, ACK);
    for (; at < p->n; at++) {
      int who, which;
      if (p->in[at] != '<' || !memchr(p->in + at, '>', p->n - at)) {
        if (p->in[at] == '<') break;
        continue;
      }
      CHECK(sscanf(p->in + at, "<%d:%d>", &who, &which) == 2);
      CHECK_EQ(which, last[who] + 1);
      last[who] = which, got++;
    }
  }
  for (size_t n = times(p, "POST "); answered < n; answered++) peer_send(p, ACK);
  UNTIL(settled(h, shared) == THREADS * EACH);
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  peer_close(p);
  host_close(h);
}

static void ends(void) {
  SECTION("encke_free with links in every state; encke_drain leaves them alone");
  host *h = start();
  encke_id link = link_quick(h, 0), sub = follow(h, link, "c", "");
  peer *p = bus_accept();
  peer_send(p, begin);
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 1);
  CHECK_OK(encke_drain(h->e, 0));
  UNTIL(SEEN(h, DRAINED) == 1);
  peer_send(p, "28\r\nContent-Type: text/plain\n\n1--00MsgBus00\n\r\n");
  UNTIL(SEEN(h, MESSAGE) == 1);
  follow(h, link, "never answered", "");
  peer *q = bus_accept();
  CHECK_OK(publish(h, link, "c", "t", "never sent"));
  follow(h, link, "never begun", "");
  encke_sender *s = encke_sender_ref(h->s);
  host_close(h);
  UNTIL(p->eof && q->eof);
  CHECK_RC(encke_publish(s, link, "c", &(encke_message){.len = 0}, sizeof(encke_message)), ENCKE_E_CLOSED);
  encke_sender_unref(s);
  peer_close(p), peer_close(q);
  while (try_accept()) peer_close(accepted);
}

/* ---- against an encke -------------------------------------------------------------------------------------------------- */

static void an_encke(void) {
  if (!encke_has_feature("mounts")) return;
  SECTION("a bus of encke's: cut off again and again, a subscription misses nothing and gets nothing twice");
  host *server = HOST({ENCKE_OPT_WATCH, watch}, {ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_CONNECTION)}), *h = start();
  CHECK_OK(encke_mount(server->e, ENCKE_MOUNT_BUS, "/msgbus/", NULL, 0, NULL));
  CHECK_OK(encke_channel_set(server->s, "numbers", ENCKE_CHANNEL_HISTORY, 10000));
  int before = port;
  port = host_listen(server);
  encke_id link = link_quick(h, ENCKE_LINK_REPORT), sub = follow(h, link, "numbers", "text/*");
  port = before;
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 1);
  enum { ALL = 2000 };
  size_t cut = 0;
  for (size_t i = 0; i < ALL; i++) {
    CHECK_OK(encke_publish(server->s, 0, "numbers", &(encke_message){.type = {"text/plain", 10}, .data = textf("%zu", i), .len = strlen(textf("%zu", i))}, sizeof(encke_message)));
    if (i % 50 != 49) continue;
    while (i % 100 == 99 && SEEN(h, MESSAGE) < i + 1) step();
    event *ev = host_nth(server, ENCKE_EV_CONNECTION, cut * 2);
    CHECK(ev && ev->code == 1);
    CHECK_OK(encke_close(server->e, ev->id));
    cut++;
    UNTIL(told(h, sub, ENCKE_LINK_UP) == cut + 1 && SEEN(server, CONNECTION) == cut * 2 + 1);
  }
  UNTIL(SEEN(h, MESSAGE) == ALL);
  size_t next = 0;
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_MESSAGE) CHECK_EQ(atoi(h->log[i].data), next++);
  CHECK_EQ(told(h, sub, ENCKE_LINK_GAP), 0);
  CHECK_EQ(told(h, sub, ENCKE_LINK_DOWN), cut);
  SECTION("and what is published over the link comes back with everything");
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str("text/plain"), m.from = str("zoe"), m.event = str("tick"), m.key = str("k"), m.data = "one", m.len = 3;
  encke_id root = 0;
  CHECK_OK(encke_link_subscribe(h->e, link, "", NULL, 0, &root));
  UNTIL(told(h, root, ENCKE_LINK_UP) == 1);
  CHECK_OK(encke_publish(h->s, link, "a b/Zo\xc3\xab", &m, sizeof m));
  UNTIL(SEEN(h, MESSAGE) == ALL + 1 && settled(h, link) == 1);
  event *ev = host_nth(h, ENCKE_EV_MESSAGE, ALL);
  CHECK_TEXT(ev->channel, "a b/Zo\xc3\xab");
  CHECK_TEXT(ev->from, "zoe");
  CHECK_TEXT(ev->type, "text/plain");
  host_close(h);
  host_close(server);
}

static void unix_sockets(void) {
  SECTION("a UNIX socket");
  char path[64];
  snprintf(path, sizeof path, "/tmp/encke-links-%d.sock", (int)getpid());
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  int tcp = listener;
  listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  CHECK(bind(listener, (struct sockaddr *)&un, sizeof un) == 0 && listen(listener, 8) == 0);
  host *h = start();
  encke_id link = 0;
  CHECK_OK(encke_link_open(h->e, textf("unix:%s:/bus/", path), NULL, 0, &link));
  CHECK_OK(publish(h, link, "c", "t", "one"));
  peer *p = bus_accept();
  UNTIL(has(p, "one"));
  CHECK(has(p, "POST /bus/c HTTP/1.1\r\nHost: localhost\r\n"));
  peer_close(p);
  host_close(h);
  while (try_accept()) peer_close(accepted);
  close(listener);
  unlink(path);
  listener = tcp;
}

int main(void) {
  if (!encke_has_feature("links")) return check_end();
  listener = bus_listen(0);
  for (watch = ENCKE_WATCH_ONE; watch <= ENCKE_WATCH_EACH; watch++) {
    bad_arguments();
    subscriptions();
    root_and_names();
    positions();
    publishing();
    at_most_once();
    full();
    refusals_and_nonsense();
    nobody_there();
    slow_host();
    ends();
    an_encke();
    unix_sockets();
  }
  watch = ENCKE_WATCH_ONE;
  threads();
  close(listener);
  return check_end();
}
