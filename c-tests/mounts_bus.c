/*
 * mounts_bus.c - ENCKE_MOUNT_BUS and encke_pass beyond what mounts_transcripts.c replays. The rule: old clients and those of
 * today meet in the same channels; who is slow harms nobody; a request that is passed on is the mount's from then on, and the
 * host hears its end.
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

static host *h;
static int port;
static encke_id bus;

#define GET(path, fields) "GET " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define OLD "HTTP/1.1 200 OK\r\nServer: msgbus\r\n"

static int has(peer *p, const char *text) { return p->n > 0 && memmem(p->in, p->n, text, strlen(text)) != NULL; }

static int publish(const char *channel, const char *type, const char *from, const void *data, size_t n) {
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str(type), m.from = str(from), m.data = data, m.len = n;
  return encke_publish(h->s, 0, channel, &m, sizeof m);
}

static void transports(void) {
  SECTION("every transport under the same path, and the host's own messages");
  peer *old = peer_tcp(port), *sse = peer_tcp(port), *poll = peer_tcp(port), *parts = peer_tcp(port), *root = peer_tcp(port);
  peer_send(old, GET("/msgbus/news", ""));
  peer_send(sse, GET("/msgbus/news", "Accept: text/event-stream\r\n"));
  peer_send(poll, GET("/msgbus/news", "Accept: application/json\r\n"));
  peer_send(parts, GET("/msgbus/news", "Accept: multipart/x-mixed-replace\r\n"));
  peer_send(root, GET("/msgbus/", ""));
  UNTIL(has(old, "--00MsgBus00\n") && has(sse, "\n\n") && has(parts, "--encke-part") && has(root, "--00MsgBus00\n"));
  CHECK(has(old, OLD));
  CHECK(has(sse, "Content-Type: text/event-stream\r\n"));
  CHECK(has(parts, "Encke-Position: "));
  encke_channel_facts facts;
  UNTIL(encke_channel_get(h->s, "news", &facts, sizeof facts) == 1 && facts.subscribers == 4);
  CHECK_OK(publish("news", "text/plain", "zoe", "hello", 5));
  UNTIL(peer_finals(poll) == 1);
  UNTIL(has(old, "hello--00MsgBus00\n") && has(sse, "data: hello\n\n") && has(parts, "\r\n\r\nhello\r\n--encke-part"));
  UNTIL(has(root, "4b\r\nFrom: zoe\nContent-Location: /msgbus/news\nContent-Type: text/plain\n\nhello--00MsgBus00\n"
                  "\r\n") || has(root, "hello--00MsgBus00\n"));
  CHECK(has(root, "From: zoe\nContent-Location: /msgbus/news\nContent-Type: text/plain\n\nhello--00MsgBus00\n"));
  CHECK(has(parts, "Encke-Channel: news\r\n"));
  CHECK(strstr(peer_nth(poll, 0)->body, "\"data\":\"hello\"") != NULL);

  SECTION("a message without a type still has one in a part");
  CHECK_OK(publish("news", "", "", "raw", 3));
  UNTIL(has(old, "Content-Type: application/octet-stream\n\nraw--00MsgBus00\n"));

  SECTION("a name that a path cannot hold raw");
  CHECK_OK(publish("Zo\xc3\xab", "a/b", "", "1", 1));
  UNTIL(has(root, "Content-Location: /msgbus/Zo%C3%AB\n"));
  peer *zoe = peer_tcp(port);
  peer_send(zoe, GET("/msgbus/Zo%C3%AB", ""));
  UNTIL(has(zoe, "--00MsgBus00\n"));
  CHECK_OK(publish("Zo\xc3\xab", "a/b", "", "2", 1));
  UNTIL(has(zoe, "\n\n2--00MsgBus00\n"));
  CHECK(!has(zoe, "\n\n1--00MsgBus00\n")); /* no history for who does not ask */
  peer_close(zoe);

  SECTION("who comes back with its position gets what it missed");
  char id[64];
  const char *at = memmem(sse->in, sse->n, "id: ", 4);
  CHECK(at != NULL && sscanf(at, "id: %63[0-9a-f:]", id) == 1);
  peer *again = peer_tcp(port);
  peer_send(again, textf(GET("/msgbus/news", "Accept: text/event-stream\r\nLast-Event-ID: %s\r\n"), id));
  UNTIL(has(again, "data: raw\n\n"));
  CHECK(has(again, "Encke-Recovered: yes\r\n") && has(again, "data: hello\n\n"));
  peer_close(again);
  peer_close(old), peer_close(sse), peer_close(poll), peer_close(parts), peer_close(root);
  UNTIL(host_stats(h).subscribers == 0);
  CHECK_EQ(SEEN(h, REQUEST), 0);
  CHECK_EQ(SEEN(h, DONE), 0);
}

static void filters(void) {
  SECTION("types and senders, in any transport");
  peer *sse = peer_tcp(port), *p = peer_tcp(port);
  peer_send(sse, GET("/msgbus/f?type=text/*,!text/html&sender=al*", "Accept: text/event-stream\r\n"));
  UNTIL(has(sse, "\n\n"));
  CHECK_OK(publish("f", "text/html", "alice", "no", 2));
  CHECK_OK(publish("f", "text/plain", "bob", "no", 2));
  CHECK_OK(publish("f", "image/png", "alice", "no", 2));
  CHECK_OK(publish("f", "text/plain", "alice", "yes", 3));
  CHECK_OK(publish("f", "text/plain", "", "of nobody", 9)); /* as the original has it */
  UNTIL(has(sse, "data: of nobody\n\n"));
  CHECK(has(sse, "data: yes\n\n") && !has(sse, "data: no\n\n"));
  SECTION("a list that is too long");
  char *list = pattern(4200, 1);
  for (int i = 0; i < 4200; i++) list[i] = 'x';
  char *request = need(malloc(5000));
  snprintf(request, 5000, "GET /msgbus/f?type=%.4100s HTTP/1.1\r\nHost: a\r\n\r\n", list);
  peer_send(p, request);
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 400);
  free(list), free(request);
  peer_close(sse), peer_close(p);
  UNTIL(host_stats(h).subscribers == 0);
}

static void send_frame(peer *p, unsigned first, const char *text) {
  size_t n = strlen(text);
  unsigned char frame[256] = {(unsigned char)first, (unsigned char)(0x80 | n), 0, 0, 0, 0};
  CHECK(n <= 125);
  memcpy(frame + 6, text, n);
  peer_send_n(p, frame, n + 6);
}

#define HANDSHAKE \
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void sockets(void) {
  SECTION("a WebSocket subscribes, and what it says is published");
  peer *ws = peer_tcp(port), *old = peer_tcp(port), *json = peer_tcp(port);
  peer_send(old, GET("/msgbus/chat", ""));
  peer_send(ws, GET("/msgbus/chat", HANDSHAKE "Authorization: Basic YWxpY2U6cHc=\r\n"));
  peer_send(json, GET("/msgbus/", HANDSHAKE "Sec-WebSocket-Protocol: encke.json\r\n"));
  UNTIL(has(old, "--00MsgBus00\n") && has(ws, "\r\n\r\n") && has(json, "{\"position\":"));
  CHECK(has(ws, "101 Switching Protocols"));
  encke_channel_facts facts;
  UNTIL(encke_channel_get(h->s, "chat", &facts, sizeof facts) == 1 && facts.subscribers == 2);
  send_frame(ws, 0x81, "hello");
  UNTIL(has(old, "From: alice\nContent-Type: text/plain; charset=utf-8\n\nhello--00MsgBus00\n"));
  UNTIL(has(ws, "\x81\x05hello"));
  UNTIL(has(json, "\"channel\":\"chat\",\"type\":\"text/plain; charset=utf-8\",\"from\":\"alice\",\"data\":\"hello\""));
  send_frame(ws, 0x82, "bytes");
  UNTIL(has(old, "Content-Type: application/octet-stream\n\nbytes--00MsgBus00\n"));
  send_frame(json, 0x81, "{\"to\":\"all\"}");
  UNTIL(has(json, "\"channel\":\"\",\"type\":\"application/json\",\"data\":\"{\\\"to\\\":\\\"all\\\"}\""));
  CHECK(!has(ws, "all\"}")); /* it was published in the root, not in chat */
  send_frame(ws, 0x88, "\x03\xe8");
  UNTIL(ws->eof);
  peer_rst(json);
  peer_close(old), peer_close(ws);
  UNTIL(host_stats(h).subscribers == 0);
  CHECK_EQ(SEEN(h, MESSAGE), 0);
  CHECK_EQ(SEEN(h, CLOSED), 0);

  SECTION("a handshake with the end of the stream behind it is nothing of the host's either");
  ws = peer_tcp(port);
  peer_send(ws, GET("/msgbus/chat", HANDSHAKE));
  peer_fin(ws);
  UNTIL(ws->eof);
  peer_close(ws);
  QUIESCE();
  CHECK_EQ(SEEN(h, CLOSED), 0);

  SECTION("pages of other origins neither publish nor open WebSockets");
  peer *page = peer_tcp(port);
  peer_send(page, GET("/msgbus/chat", HANDSHAKE "Origin: http://evil\r\n"));
  UNTIL(peer_finals(page) == 1);
  CHECK_EQ(peer_nth(page, 0)->status, 403);
  peer_close(page);
  page = peer_tcp(port);
  peer_send(page, "POST /msgbus/chat HTTP/1.1\r\nHost: a\r\nOrigin: http://evil\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\nx"
                  "POST /msgbus/chat HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\nx");
  UNTIL(peer_finals(page) == 2);
  CHECK_EQ(peer_nth(page, 0)->status, 403);
  CHECK_EQ(peer_nth(page, 1)->status, 204);
  peer_close(page);
  CHECK_EQ(SEEN(h, REQUEST), 0);
}

static void cors(void) {
  SECTION("... unless the mount is open to them");
  encke_mount_options options;
  memset(&options, 0, sizeof options);
  options.flags = ENCKE_MOUNT_CORS, options.secret = str("s3cret");
  encke_id id = 0;
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/open/", &options, sizeof options, &id));
  peer *p = peer_tcp(port);
  peer_send(p, "OPTIONS /open/a HTTP/1.1\r\nHost: a\r\nOrigin: http://o\r\nAccess-Control-Request-Method: POST\r\n\r\n");
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 204);
  CHECK_TEXT(response_field(peer_nth(p, 0), "access-control-allow-origin"), "*");
  CHECK_TEXT(response_field(peer_nth(p, 0), "access-control-allow-methods"), "GET, POST");
  peer_send(p, "POST /open/a HTTP/1.1\r\nHost: a\r\nOrigin: http://o\r\nAuthorization: Basic Ym9iOnMzY3JldA==\r\nContent-Type: a/b\r\n"
               "Content-Length: 1\r\n\r\nx" GET("/open/a", "Origin: http://o\r\nAuthorization: Basic Ym9iOnMzY3JldA==\r\n"));
  UNTIL(has(p, "--00MsgBus00\n"));
  CHECK_EQ(peer_nth(p, 1)->status, 204);
  CHECK_TEXT(response_field(peer_nth(p, 1), "access-control-allow-origin"), "*");
  peer_close(p);
  CHECK_OK(encke_close(h->e, id));
}

#define LARGE 300000

static void large_messages(void) {
  SECTION("a message that comes in pieces");
  char *data = pattern(LARGE, 3);
  peer *p = peer_tcp(port), *old = peer_tcp(port);
  peer_send(old, "GET /msgbus/large HTTP/1.0\r\n\r\n");
  UNTIL(has(old, "--00MsgBus00\n"));
  peer_send(p, textf("POST /msgbus/large HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", LARGE));
  UNTIL(has(p, "100 Continue\r\n")); /* nobody else says it */
  peer_send_n(p, data, LARGE);
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 204);
  UNTIL(old->n > LARGE && has(old, textf("Content-Length: %d\n\n", LARGE)));
  UNTIL(memmem(old->in, old->n, data, LARGE) != NULL);
  peer_close(old);

  SECTION("and what is in the way of one");
  peer_send(p, "POST /msgbus/large HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"); /* no type */
  UNTIL(peer_finals(p) == 2 && p->eof);
  CHECK_EQ(peer_nth(p, 1)->status, 400);
  peer_close(p);
  p = peer_tcp(port);
  peer_send(p, "POST /msgbus/large HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 300000\r\n\r\n");
  peer_send_n(p, data, 200000);
  UNTIL(host_stats(h).memory > 190000); /* what is kept of it counts */
  peer_rst(p);
  UNTIL(host_stats(h).held == 0);
  p = peer_tcp(port);
  peer_send(p, "POST /msgbus/large HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 40; i++) peer_send(p, "2710\r\n"), peer_send_n(p, data, 10000), peer_send(p, "\r\n");
  peer_send(p, "xyz\r\n");
  UNTIL(peer_finals(p) == 1 && p->eof);
  CHECK_EQ(peer_nth(p, 0)->status, 400);
  peer_close(p);
  UNTIL(host_stats(h).held == 0);
  CHECK_EQ(SEEN(h, REQUEST) + SEEN(h, BODY) + SEEN(h, ABORTED), 0);
  free(data);
}

static void little_memory(void) {
  SECTION("messages under way leave a quarter of the memory to the others");
  host *before = h;
  int port_before = port;
  h = HOST({ENCKE_OPT_MAX_MEMORY, 2 << 20}, {ENCKE_OPT_MAX_BODY, 8 << 20});
  port = host_listen(h);
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/msgbus/", NULL, 0, NULL));
  char *data = pattern(1 << 20, 4);
  peer *keeps = peer_tcp(port), *p = peer_tcp(port);
  const char *head = "POST /msgbus/m HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 1048576\r\n\r\n";
  peer_send(keeps, head), peer_send_n(keeps, data, 1 << 20); /* whole but for nothing: published */
  UNTIL(peer_finals(keeps) == 1);
  CHECK_EQ(peer_nth(keeps, 0)->status, 204);
  peer_send(keeps, head), peer_send_n(keeps, data, 1000000);
  UNTIL(host_stats(h).memory > 990000);
  peer_send(p, head), peer_send_n(p, data, 1 << 20);
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 503);
  peer_send_n(keeps, data + 1000000, (1 << 20) - 1000000);
  UNTIL(peer_finals(keeps) == 2 || keeps->eof);
  peer_close(keeps);
  if (!p->eof) {
    peer_send(p, "POST /msgbus/m HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nhi");
    UNTIL(peer_finals(p) == 2 || p->eof);
  }
  peer_close(p);
  p = peer_tcp(port);
  peer_send(p, "POST /msgbus/m HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n");
  UNTIL(peer_finals(p) == 1); /* not even asked for */
  CHECK_EQ(peer_nth(p, 0)->status, 413);
  peer_close(p);
  UNTIL(host_stats(h).held == 0);
  host_close(h);
  h = before, port = port_before;
  free(data);
}

static void slow(void) {
  SECTION("who does not keep up misses what is new, at 1,000,000 bytes; its connection stays");
  char *data = pattern(100000, 5);
  peer *lazy = peer_tcp_small(port), *quick = peer_tcp(port);
  lazy->paused = 1;
  peer_send(lazy, "GET /msgbus/slow HTTP/1.0\r\n\r\n");
  peer_send(quick, "GET /msgbus/slow HTTP/1.0\r\n\r\n");
  encke_channel_facts facts;
  UNTIL(encke_channel_get(h->s, "slow", &facts, sizeof facts) == 1 && facts.subscribers == 2);
  uint64_t before = host_stats(h).dropped;
  size_t sent = 0;
  while (host_stats(h).dropped < before + 5) {
    CHECK_OK(publish("slow", "a/b", "", data, 100000));
    sent++;
    UNTIL(quick->n >= sent * 100000);
  }
  CHECK(sent > 10 && sent < 500);
  CHECK_OK(publish("slow", "a/b", "", "last but one", 12)); /* small ones too, while it is full */
  lazy->paused = 0;
  UNTIL(host_stats(h).queued_bytes == 0);
  CHECK_OK(publish("slow", "a/b", "", "the last", 8));
  UNTIL(has(lazy, "the last--00MsgBus00\n"));
  CHECK(!lazy->eof);
  CHECK(lazy->n < sent * 100000);
  CHECK(memmem(lazy->in, lazy->n, "--00MsgBus00\nContent-Type: a/b\nContent-Length: 8\n\nthe last--00MsgBus00\n", 70) != NULL);

  SECTION("... unless the host chose otherwise");
  CHECK_OK(encke_channel_set(h->s, "slow", ENCKE_CHANNEL_SLOW, ENCKE_SLOW_CLOSE));
  lazy->paused = 1;
  for (int i = 0; i < 500 && host_stats(h).subscribers == 2; i++) {
    CHECK_OK(publish("slow", "a/b", "", data, 100000));
    step_now();
  }
  lazy->paused = 0;
  UNTIL(lazy->eof);
  peer_close(lazy), peer_close(quick);
  UNTIL(host_stats(h).subscribers == 0);
  free(data);
}

/* ---- encke_pass ------------------------------------------------------------------------------------------------------- */

static encke_id held(peer *p, const char *request) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, request);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static void passed(void) {
  SECTION("the host's own authorisation in front of a mount");
  encke_mount_options options;
  memset(&options, 0, sizeof options);
  options.flags = ENCKE_MOUNT_PASS;
  encke_id private_ = 0, whole = 0;
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/private/", &options, sizeof options, &private_));
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, NULL, NULL, 0, &whole));
  peer *p = peer_tcp(port), *sub = peer_tcp(port);
  encke_id subscriber = held(sub, GET("/private/x", ""));
  CHECK_OK(encke_pass(h->s, subscriber, private_));
  UNTIL(has(sub, OLD) && has(sub, "--00MsgBus00\n"));
  encke_id id = held(p, "POST /private/x HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nhi");
  CHECK_OK(encke_pass(h->s, id, private_));
  CHECK_RC(encke_pass(h->s, id, private_), ENCKE_E_GONE);
  CHECK_RC(encke_reply(h->s, id, 200, NULL, "", 0), ENCKE_E_GONE);
  UNTIL(peer_finals(p) == 1 && has(sub, "\n\nhi--00MsgBus00\n"));
  CHECK_EQ(peer_nth(p, 0)->status, 204);
  UNTIL(host_last(h, ENCKE_EV_DONE, id) != NULL);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);

  SECTION("a subscriber lives on under its id, and encke_abort cuts it");
  CHECK(host_last(h, ENCKE_EV_DONE, subscriber) == NULL);
  const char *more = "y";
  CHECK_OK(encke_subscribe(h->s, subscriber, &more, 1, NULL, 0));
  CHECK_OK(publish("y", "a/b", "", "of y", 4));
  UNTIL(has(sub, "\n\nof y--00MsgBus00\n"));
  CHECK_OK(encke_abort(h->s, subscriber));
  UNTIL(sub->eof && host_last(h, ENCKE_EV_DONE, subscriber) != NULL);
  peer_close(sub);

  SECTION("a mount without a prefix cuts nothing off; a path that is not below the prefix is nowhere");
  id = held(p, "POST /any/thing HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 0\r\n\r\n");
  CHECK_OK(encke_pass(h->s, id, private_));
  UNTIL(peer_finals(p) == 2);
  CHECK_EQ(peer_nth(p, 1)->status, 404);
  sub = peer_tcp(port);
  subscriber = held(sub, GET("/any/thing", ""));
  CHECK_OK(encke_pass(h->s, subscriber, whole));
  UNTIL(has(sub, "--00MsgBus00\n"));
  CHECK_OK(publish("any/thing", "a/b", "", "here", 4));
  UNTIL(has(sub, "\n\nhere--00MsgBus00\n"));
  peer_close(sub);

  SECTION("a WebSocket that is passed on: CLOSED is the host's, its messages are published");
  sub = peer_tcp(port);
  subscriber = held(sub, GET("/private/ws", HANDSHAKE));
  CHECK_OK(encke_pass(h->s, subscriber, private_));
  UNTIL(has(sub, "101 Switching"));
  send_frame(sub, 0x81, "echo");
  UNTIL(has(sub, "\x81\x04" "echo"));
  CHECK_OK(encke_ws_send(h->s, subscriber, ENCKE_WS_TEXT, "own", 3));
  UNTIL(has(sub, "\x81\x03" "own"));
  CHECK_OK(encke_ws_close(h->s, subscriber, 1000, NULL));
  UNTIL(host_last(h, ENCKE_EV_CLOSED, subscriber) != NULL);
  CHECK_EQ(host_count(h, ENCKE_EV_MESSAGE, subscriber), 0);
  peer_close(sub);

  SECTION("who wants to see them gets them as well");
  CHECK_OK(encke_set(h->e, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_MESSAGE)));
  sub = peer_tcp(port);
  subscriber = held(sub, GET("/private/ws", HANDSHAKE));
  CHECK_OK(encke_pass(h->s, subscriber, private_));
  UNTIL(has(sub, "101 Switching"));
  send_frame(sub, 0x81, "echo");
  UNTIL(has(sub, "\x81\x04" "echo") && host_count(h, ENCKE_EV_MESSAGE, subscriber) == 1);
  event *said = host_last(h, ENCKE_EV_MESSAGE, subscriber);
  CHECK_BYTES(said->data, said->len, "echo", 4);
  CHECK_EQ(said->code, ENCKE_WS_TEXT);
  CHECK_OK(encke_ws_close(h->s, subscriber, 1000, NULL));
  UNTIL(host_last(h, ENCKE_EV_CLOSED, subscriber) != NULL);
  CHECK_EQ(host_count(h, ENCKE_EV_MESSAGE, subscriber), 1);
  CHECK_OK(encke_set(h->e, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)));
  peer_close(sub);

  SECTION("ids that are wrong leave the request with the host");
  id = held(p, GET("/private/x", ""));
  CHECK_RC(encke_pass(h->s, id, 0), ENCKE_E_INVAL);
  CHECK_RC(encke_pass(h->s, id, id), ENCKE_E_INVAL);
  CHECK_RC(encke_pass(h->s, id, private_ + 100), ENCKE_E_INVAL);
  host *other = HOST_PLAIN();
  encke_id foreign = 0;
  CHECK_OK(encke_mount(other->e, ENCKE_MOUNT_BUS, "/private/", NULL, 0, &foreign));
  CHECK_RC(encke_pass(h->s, id, foreign), ENCKE_E_INVAL);
  CHECK_RC(encke_pass(other->s, id, foreign), ENCKE_E_GONE);
  CHECK_RC(encke_close(other->e, private_), ENCKE_E_GONE);
  host_close(other);
  CHECK_RC(encke_pass(NULL, id, private_), ENCKE_E_INVAL);
  CHECK_RC(encke_pass(h->s, 0, private_), ENCKE_E_GONE);
  CHECK_RC(encke_pass(h->s, bus, private_), ENCKE_E_GONE); /* no request */
  encke_response begun;
  memset(&begun, 0, sizeof begun);
  begun.status = 200;
  CHECK_OK(encke_begin(h->s, id, &begun, sizeof begun));
  CHECK_RC(encke_pass(h->s, id, private_), ENCKE_E_STATE);
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  CHECK_RC(encke_pass(h->s, id, private_), ENCKE_E_GONE);
  UNTIL(peer_finals(p) == 3);
  sub = peer_tcp(port);
  id = held(sub, GET("/private/x", ""));
  peer_rst(sub);
  UNTIL(host_count(h, ENCKE_EV_ABORTED, id) == 1);
  CHECK_RC(encke_pass(h->s, id, private_), ENCKE_E_GONE);
  CHECK_OK(encke_close(h->e, whole));
  id = held(p, GET("/private/x", ""));
  CHECK_RC(encke_pass(h->s, id, whole), ENCKE_E_INVAL);
  answer(h, id, "mine after all");
  UNTIL(peer_finals(p) == 4);
  peer_close(p);
  CHECK_OK(encke_close(h->e, private_));
}

/* Passes every request on: at once, so that its body is the mount's from the first piece; or in another thread, which the
 * loop waits for (2) or not (1): then a piece of the body may have been shown before. */
static encke_id target;
static int by_thread;
static atomic_int running;

static void *pass_there(void *id) {
  int rc = encke_pass(h->s, *(encke_id *)id, target);
  if (rc == ENCKE_E_STATE && by_thread == 1) rc = encke_reply(h->s, *(encke_id *)id, 413, NULL, "", 0);
  CHECK(rc == ENCKE_OK || (rc == ENCKE_E_GONE && by_thread == 1));
  free(id);
  running--;
  return NULL;
}

static void pass_on(host *host_, const event *ev) {
  if (ev->kind != ENCKE_EV_REQUEST) return;
  if (!by_thread) {
    CHECK_OK(encke_pass(host_->s, ev->id, target));
    return;
  }
  encke_id *id = need(malloc(sizeof *id));
  pthread_t thread;
  *id = ev->id;
  running++;
  CHECK_EQ(pthread_create(&thread, NULL, pass_there, id), 0);
  if (by_thread == 2) CHECK_EQ(pthread_join(thread, NULL), 0);
  else CHECK_EQ(pthread_detach(thread), 0);
}

static void passed_with_bodies(void) {
  char *data = pattern(LARGE, 9);
  encke_mount_options options;
  memset(&options, 0, sizeof options);
  options.flags = ENCKE_MOUNT_PASS;
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/p/", &options, sizeof options, &target));
  encke_sender_ref(h->s);
  for (by_thread = 0; by_thread < 3; by_thread++) {
    SECTION(textf("a large body of a request that is passed on, by way of thread %d", by_thread));
    h->on = pass_on;
    peer *sub = peer_tcp(port), *p = peer_tcp(port);
    peer_send(sub, "GET /p/x HTTP/1.0\r\n\r\n");
    UNTIL(has(sub, "--00MsgBus00\n"));
    size_t bodies = SEEN(h, BODY);
    for (size_t i = 0; i < 3; i++) {
      peer_send(p, textf("POST /p/x HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n", LARGE));
      peer_send_n(p, data, LARGE);
    }
    UNTIL(peer_finals(p) == 3 || SEEN(h, BODY) > bodies);
    UNTIL(sub->n > 3 * LARGE || SEEN(h, BODY) > bodies);
    UNTIL(running == 0);
    if (by_thread != 1) CHECK_EQ(SEEN(h, BODY), bodies);
    if (SEEN(h, BODY) == bodies)
      for (size_t i = 0; i < 3; i++) CHECK_EQ(peer_nth(p, i)->status, 204);
    peer_close(p), peer_close(sub);
    UNTIL(host_stats(h).held == 0 && running == 0); /* another request may come before the end */
    h->on = NULL;
  }
  by_thread = 0;

  SECTION("not after a piece of the body was shown");
  peer *p = peer_tcp(port);
  encke_id id = held(p, textf("POST /p/x HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\nstart", LARGE));
  UNTIL(host_count(h, ENCKE_EV_BODY, id) == 1);
  CHECK_RC(encke_pass(h->s, id, target), ENCKE_E_STATE);
  CHECK_OK(encke_reply(h->s, id, 413, NULL, "", 0));
  UNTIL(peer_finals(p) == 1 && p->eof);
  peer_close(p);

  SECTION("a request that was passed on, and whose client leaves");
  h->on = pass_on;
  p = peer_tcp(port);
  size_t before = SEEN(h, REQUEST);
  peer_send(p, textf("POST /p/x HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\nstart", LARGE));
  UNTIL(SEEN(h, REQUEST) == before + 1);
  id = request_id(h, before);
  QUIESCE();
  peer_rst(p);
  UNTIL(host_last(h, ENCKE_EV_DONE, id) != NULL);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_PEER);

  SECTION("a request that was passed on, and is taken back");
  p = peer_tcp(port);
  before = SEEN(h, REQUEST);
  peer_send(p, textf("POST /p/x HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\nstart", LARGE));
  UNTIL(SEEN(h, REQUEST) == before + 1);
  id = request_id(h, before);
  QUIESCE();
  CHECK_OK(encke_abort(h->s, id));
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 500);
  UNTIL(host_last(h, ENCKE_EV_DONE, id) != NULL);
  peer_close(p);
  h->on = NULL;

  CHECK_OK(encke_close(h->e, target));
  encke_sender_unref(h->s);
  free(data);
}

static void *pass_late(void *context) {
  encke_id *ids = context;
  CHECK_OK(encke_pass(h->s, ids[0], target));
  return NULL;
}

static void freed(uint64_t watch) {
  SECTION("the encke ends before the word of another thread was heard");
  host *before = h;
  int port_before = port;
  h = HOST({ENCKE_OPT_WATCH, watch});
  port = host_listen(h);
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, NULL, NULL, 0, &target));
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  encke_id ids[] = {held(p, GET("/x", "")), held(q, GET("/y", ""))};
  encke_sender *sender = encke_sender_ref(h->s);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, pass_late, ids), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  host_close(h);
  CHECK_RC(encke_pass(sender, ids[1], target), ENCKE_E_CLOSED);
  CHECK_RC(encke_pass(sender, ids[0], target), ENCKE_E_CLOSED);
  encke_sender_unref(sender);
  UNTIL(p->eof && q->eof);
  peer_close(p), peer_close(q);
  h = before, port = port_before;
}

static void the_end(void) {
  SECTION("a drain ends subscriptions, and messages under way are taken");
  peer *sub = peer_tcp(port), *p = peer_tcp(port);
  peer_send(sub, GET("/msgbus/end", ""));
  UNTIL(has(sub, "--00MsgBus00\n"));
  peer_send(p, "POST /msgbus/end HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 100000\r\n\r\n");
  UNTIL(host_stats(h).held == 1);
  CHECK_OK(encke_drain(h->e, 10000));
  UNTIL(sub->eof);
  char *data = pattern(100000, 2);
  peer_send_n(p, data, 100000);
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 204);
  UNTIL(p->eof && SEEN(h, DRAINED) == 1);
  peer_close(sub), peer_close(p);
  free(data);
}

static void two_paths(void) {
  SECTION("a bus below two paths: each names channels below its own");
  encke_id second = 0;
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/second/bus/", NULL, 0, &second));
  peer *first_root = peer_tcp(port), *root = peer_tcp(port), *old = peer_tcp(port);
  peer_send(first_root, GET("/msgbus/", ""));
  peer_send(root, GET("/second/bus/", ""));
  peer_send(old, "GET /second/bus/ HTTP/1.0\r\n\r\n");
  UNTIL(has(first_root, "--00MsgBus00\n") && has(root, "--00MsgBus00\n") && has(old, "--00MsgBus00\n"));
  CHECK_OK(publish("news", "text/plain", "", "both", 4));
  UNTIL(has(first_root, "both--00MsgBus00\n") && has(root, "both--00MsgBus00\n") && has(old, "both--00MsgBus00\n"));
  CHECK(has(first_root, "\nContent-Location: /msgbus/news\nContent-Type: text/plain\n\nboth"));
  CHECK(has(root, "\nContent-Location: /second/bus/news\nContent-Type: text/plain\n\nboth"));
  CHECK(has(old, "\nContent-Location: /second/bus/news\nContent-Type: text/plain\nContent-Length: 4\n\nboth"));
  peer_close(first_root), peer_close(root), peer_close(old);
  CHECK_OK(encke_close(h->e, second));
  UNTIL(host_stats(h).subscribers == 0);
}

static void run(uint64_t watch) {
  h = HOST({ENCKE_OPT_WATCH, watch});
  port = host_listen(h);
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/msgbus/", NULL, 0, &bus));
  transports();
  two_paths();
  filters();
  sockets();
  cors();
  large_messages();
  little_memory();
  slow();
  passed();
  passed_with_bodies();
  freed(watch);
  the_end();
  CHECK_EQ(host_stats(h).held, 0);
  host_close(h);
}

int main(void) {
  CHECK_EQ(encke_has_feature("mounts"), 1);
  run(ENCKE_WATCH_ONE);
  run(ENCKE_WATCH_EACH);
  return check_end();
}
