/*
 * websocket.c - WebSockets through the API. The rule: what RFC 6455 demands of a server is kept, whatever the client does;
 * messages come whole and checked; CLOSED is the last event, once.
 */
#include "check.h"

#include <strings.h>

static host *h;
static int port;

#define HANDSHAKE                                                                                                        \
  "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

/* What came behind the head of the 101. */
static const unsigned char *frames(peer *p, size_t *n) {
  const char *end = p->n ? memmem(p->in, p->n, "\r\n\r\n", 4) : NULL;
  *n = end ? p->n - (size_t)(end + 4 - p->in) : 0;
  return end ? (const unsigned char *)end + 4 : NULL;
}

static int got(peer *p, const void *bytes, size_t n) {
  size_t have;
  const unsigned char *at = frames(p, &have);
  return at && memmem(at, have, bytes, n) != NULL;
}
#define GOT(p, literal) got((p), (literal), sizeof(literal) - 1)

static void send_frame(peer *p, unsigned first, const void *data, size_t n) {
  static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  unsigned char *frame = need(malloc(n + 14));
  size_t at = 0;
  frame[at++] = (unsigned char)first;
  if (n <= 125) {
    frame[at++] = (unsigned char)(0x80 | n);
  } else if (n <= 0xffff) {
    frame[at++] = 0x80 | 126, frame[at++] = (unsigned char)(n >> 8), frame[at++] = (unsigned char)n;
  } else {
    frame[at++] = 0x80 | 127;
    for (int i = 7; i >= 0; i--) frame[at++] = (unsigned char)((uint64_t)n >> (8 * i));
  }
  memcpy(frame + at, mask, 4), at += 4;
  for (size_t i = 0; i < n; i++) frame[at++] = ((const unsigned char *)data)[i] ^ mask[i % 4];
  peer_send_n(p, frame, at);
  free(frame);
}
#define SEND(p, first, literal) send_frame((p), (first), (literal), sizeof(literal) - 1)

static encke_id open_socket(peer **p, const char *more) {
  *p = peer_tcp(port);
  encke_id id = next_request(*p, textf("%s%s\r\n", HANDSHAKE, more));
  CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_WEBSOCKET);
  CHECK_OK(encke_ws_accept(h->s, id, NULL, 0));
  size_t n;
  UNTIL(frames(*p, &n) != NULL);
  return id;
}

static void closes(peer *p, encke_id id, int code) {
  UNTIL(host_last(h, ENCKE_EV_CLOSED, id) != NULL);
  CHECK_EQ(host_last(h, ENCKE_EV_CLOSED, id)->code, code);
  CHECK_EQ(host_count(h, ENCKE_EV_CLOSED, id), 1);
  CHECK_EQ(host_count(h, ENCKE_EV_DONE, id), 0);
  CHECK_RC(encke_ws_send(h->s, id, ENCKE_WS_TEXT, "x", 1), ENCKE_E_GONE);
  UNTIL(p->eof);
  peer_close(p);
}

static void handshake(void) {
  SECTION("the handshake");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, HANDSHAKE "Sec-WebSocket-Protocol: a, b\r\n\r\n");
  encke_field ours = field("sec-websocket-accept", "x"), choice = field("Sec-WebSocket-Protocol", "b");
  CHECK_RC(encke_ws_accept(h->s, id, &ours, 1), ENCKE_E_INVAL);
  CHECK_RC(encke_ws_send(h->s, id, ENCKE_WS_TEXT, "x", 1), ENCKE_E_GONE);
  CHECK_OK(encke_ws_accept(h->s, id, &choice, 1));
  CHECK_RC(encke_ws_accept(h->s, id, NULL, 0), ENCKE_E_GONE);
  CHECK_RC(encke_reply(h->s, id, 200, NULL, "", 0), ENCKE_E_GONE);
  size_t n;
  UNTIL(frames(p, &n) != NULL);
  CHECK(strncmp(p->in, "HTTP/1.1 101 Switching Protocols\r\n", 34) == 0);
  CHECK(memmem(p->in, p->n, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 52) != NULL);
  CHECK(memmem(p->in, p->n, "Sec-WebSocket-Protocol: b\r\n", 27) != NULL);
  CHECK(memmem(p->in, p->n, "Sec-WebSocket-Extensions", 24) == NULL);
  CHECK(strcasestr(p->in, "upgrade: websocket\r\n") != NULL && strcasestr(p->in, "connection: upgrade\r\n") != NULL);
  SEND(p, 0x88, "\x03\xe8");
  UNTIL(GOT(p, "\x88\x02\x03\xe8"));
  closes(p, id, 1000);

  SECTION("not without one");
  p = peer_tcp(port);
  id = next_request(p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK_RC(encke_ws_accept(h->s, id, NULL, 0), ENCKE_E_STATE);
  answer(h, id, "ok");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
}

static void messages(void) {
  peer *p;
  SECTION("messages both ways");
  encke_id id = open_socket(&p, "");
  SEND(p, 0x81, "Hello");
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 1);
  CHECK_BYTES(host_last(h, ENCKE_EV_MESSAGE, id)->data, host_last(h, ENCKE_EV_MESSAGE, id)->len, "Hello", 5);
  CHECK_EQ(host_last(h, ENCKE_EV_MESSAGE, id)->code, ENCKE_WS_TEXT);
  CHECK_OK(encke_ws_send(h->s, id, ENCKE_WS_TEXT, "Hello", 5));
  CHECK_OK(encke_ws_send(h->s, id, ENCKE_WS_BINARY, "\xff\0", 2));
  UNTIL(got(p, "\x81\x05Hello\x82\x02\xff\0", 11));
  CHECK_RC(encke_ws_send(h->s, id, ENCKE_WS_TEXT, "\xff", 1), ENCKE_E_INVAL);
  CHECK_RC(encke_ws_send(h->s, id, 3, "x", 1), ENCKE_E_INVAL);
  char *long_ping = pattern(126, 1);
  CHECK_RC(encke_ws_send(h->s, id, ENCKE_WS_PING, long_ping, 126), ENCKE_E_INVAL);
  free(long_ping);

  SECTION("fragments with a ping between, a character across them, one byte at a time");
  p->drip = 1;
  SEND(p, 0x01, "a\xc3");
  SEND(p, 0x89, "ping");
  SEND(p, 0x00, "\xab");
  SEND(p, 0x80, "b");
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 2);
  CHECK_BYTES(host_last(h, ENCKE_EV_MESSAGE, id)->data, host_last(h, ENCKE_EV_MESSAGE, id)->len, "a\xc3\xab" "b", 4);
  UNTIL(GOT(p, "\x8a\x04ping"));
  p->drip = 0;

  SECTION("empty, and 64-bit lengths");
  SEND(p, 0x82, "");
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 3);
  CHECK_EQ(host_last(h, ENCKE_EV_MESSAGE, id)->len, 0);
  char *big = pattern(70000, 3);
  send_frame(p, 0x82, big, 70000);
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 4);
  CHECK_BYTES(host_last(h, ENCKE_EV_MESSAGE, id)->data, host_last(h, ENCKE_EV_MESSAGE, id)->len, big, 70000);
  CHECK_OK(encke_ws_send(h->s, id, ENCKE_WS_BINARY, big, 70000));
  UNTIL(got(p, big, 70000));
  CHECK(GOT(p, "\x82\x7f\0\0\0\0\0\x01\x11\x70"));
  free(big);

  SECTION("AGAIN, then WRITABLE");
  p->paused = 1;
  size_t sent = 0, writable = host_count(h, ENCKE_EV_WRITABLE, id);
  char *block = pattern(100000, 5);
  int rc;
  while ((rc = encke_ws_send(h->s, id, ENCKE_WS_BINARY, block, 100000)) == ENCKE_OK) {
    CHECK(++sent < 1000);
    QUIESCE();
  }
  CHECK_EQ(rc, ENCKE_E_AGAIN);
  p->paused = 0;
  UNTIL(host_count(h, ENCKE_EV_WRITABLE, id) == writable + 1);
  CHECK_OK(encke_ws_send(h->s, id, ENCKE_WS_TEXT, "after it", 8));
  UNTIL(GOT(p, "\x81\x08" "after it"));
  free(block);

  SECTION("the host closes");
  CHECK_RC(encke_ws_close(h->s, id, 1005, NULL), ENCKE_E_INVAL);
  CHECK_RC(encke_ws_close(h->s, id, 1000, "\xff"), ENCKE_E_INVAL);
  CHECK_OK(encke_ws_close(h->s, id, 4000, "bye"));
  CHECK_RC(encke_ws_close(h->s, id, 4000, "bye"), ENCKE_E_GONE);
  UNTIL(GOT(p, "\x88\x05\x0f\xa0" "bye"));
  closes(p, id, 4000);

  id = open_socket(&p, "");
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(GOT(p, "\x88\x02\x03\xe8"));
  closes(p, id, 1000);

  SECTION("the client goes without a word");
  id = open_socket(&p, "");
  peer_fin(p);
  closes(p, id, 1006);
  id = open_socket(&p, "");
  peer_rst(p);
  UNTIL(host_last(h, ENCKE_EV_CLOSED, id) != NULL);
  CHECK_EQ(host_last(h, ENCKE_EV_CLOSED, id)->code, 1006);

  SECTION("encke_abort cuts");
  id = open_socket(&p, "");
  CHECK_OK(encke_abort(h->s, id));
  closes(p, id, 1006);
}

/* What ends the connection, and with which code (RFC 6455, sections as named). */
static void refusals(void) {
  static const struct { const char *name; const char *bytes; size_t n; int code; } rows[] = {
#define ROW(name, bytes, code) {name, bytes, sizeof(bytes) - 1, code}
    ROW("5.1 no mask", "\x81\x01x", 1002),
    ROW("5.2 reserved bit 1", "\xc1\x81\0\0\0\0x", 1002),
    ROW("5.2 reserved bit 2", "\xa1\x81\0\0\0\0x", 1002),
    ROW("5.2 reserved bit 3", "\x91\x81\0\0\0\0x", 1002),
    ROW("5.2 length of 2 bytes that needs none", "\x81\xfe\0\x7d\0\0\0\0", 1002),
    ROW("5.2 length of 8 bytes that needs 2", "\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", 1002),
    ROW("5.2 length with the top bit", "\x81\xff\x80\0\0\0\0\x01\0\0\0\0\0\0", 1002),
    ROW("5.4 continuation of nothing", "\x80\x81\0\0\0\0x", 1002),
    ROW("5.4 message within a message", "\x01\x81\0\0\0\0x\x81\x81\0\0\0\0x", 1002),
    ROW("5.5 ping in fragments", "\x09\x81\0\0\0\0x", 1002),
    ROW("5.5 close in fragments", "\x08\x82\0\0\0\0\x03\xe8", 1002),
    ROW("5.5 pong in fragments", "\x0a\x80\0\0\0\0", 1002),
    ROW("5.5 pong of 126 bytes", "\x8a\xfe\0\x7e\0\0\0\0", 1002),
    ROW("5.5 close of 126 bytes", "\x88\xfe\0\x7e\0\0\0\0", 1002),
    ROW("5.5 ping of 126 bytes", "\x89\xfe\0\x7e\0\0\0\0", 1002),
    ROW("5.5.1 close of one byte", "\x88\x81\0\0\0\0\x03", 1002),
    ROW("7.4 code 999", "\x88\x82\0\0\0\0\x03\xe7", 1002),
    ROW("7.4 code 0", "\x88\x82\0\0\0\0\0\0", 1002),
    ROW("7.4 code 1004", "\x88\x82\0\0\0\0\x03\xec", 1002),
    ROW("7.4 code 1016", "\x88\x82\0\0\0\0\x03\xf8", 1002),
    ROW("7.4 code 1005", "\x88\x82\0\0\0\0\x03\xed", 1002),
    ROW("7.4 code 1006", "\x88\x82\0\0\0\0\x03\xee", 1002),
    ROW("7.4 code 1015", "\x88\x82\0\0\0\0\x03\xf7", 1002),
    ROW("7.4 code 2999", "\x88\x82\0\0\0\0\x0b\xb7", 1002),
    ROW("7.4 code 5000", "\x88\x82\0\0\0\0\x13\x88", 1002),
    ROW("5.5.1 reason that is not UTF-8", "\x88\x83\0\0\0\0\x03\xe8\xff", 1007),
    ROW("8.1 text that is not UTF-8", "\x81\x81\0\0\0\0\xff", 1007),
    ROW("8.1 the first bad byte of a longer text", "\x01\x84\0\0\0\0" "a\xc0\x80" "b", 1007),
    ROW("8.1 text that ends within a character", "\x81\x81\0\0\0\0\xc3", 1007),
    ROW("8.1 surrogate", "\x81\x83\0\0\0\0\xed\xa0\x80", 1007),
    ROW("10.4 larger than MAX_BODY", "\x82\xff\0\0\0\0\0\x02\0\0\0\0\0\0", 1009),
    ROW("5.5.1 close without a code", "\x88\x80\0\0\0\0", 1005),
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    SECTION(rows[i].name);
    peer *p;
    encke_id id = open_socket(&p, "");
    peer_send_n(p, rows[i].bytes, rows[i].n);
    closes(p, id, rows[i].code);
  }
}

/* What is taken although it looks odd, and what else a server has to do. */
static void allowed(void) {
  static const int codes[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
  static const unsigned opcodes[] = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15};
  peer *p;
  encke_id id;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    SECTION("7.4 codes that may be said are answered as they are");
    unsigned char close_[4] = {(unsigned char)(codes[i] >> 8), (unsigned char)codes[i], 'o', 'k'};
    unsigned char answer_[4] = {0x88, 0x02, close_[0], close_[1]};
    id = open_socket(&p, "");
    send_frame(p, 0x88, close_, 4);
    UNTIL(got(p, answer_, 4));
    closes(p, id, codes[i]);
  }
  for (size_t i = 0; i < sizeof opcodes / sizeof *opcodes; i++) {
    SECTION("5.2 opcodes that nobody knows");
    id = open_socket(&p, "");
    send_frame(p, 0x80 | opcodes[i], "", 0);
    closes(p, id, 1002);
  }
  SECTION("5.5.1 nothing is heard behind a close");
  id = open_socket(&p, "");
  p->held = 1;
  SEND(p, 0x81, "before");
  SEND(p, 0x88, "\x03\xe8");
  SEND(p, 0x81, "behind");
  SEND(p, 0x89, "ping");
  p->held = 0;
  closes(p, id, 1000);
  CHECK_EQ(host_count(h, ENCKE_EV_MESSAGE, id), 1);
  SECTION("5.5.2 pings: empty, of 125 bytes, several; 5.5.3 a pong that nobody asked for");
  id = open_socket(&p, "");
  char *long_ping = pattern(125, 7);
  SEND(p, 0x8a, "unasked");
  SEND(p, 0x89, "");
  send_frame(p, 0x89, long_ping, 125);
  SEND(p, 0x89, "last");
  UNTIL(GOT(p, "\x8a\x04last"));
  CHECK(GOT(p, "\x8a\x00\x8a\x7d") && got(p, long_ping, 125));
  free(long_ping);
  SECTION("5.4 fragments, empty ones among them; 5.6 any bytes are binary; 8.1 characters of four bytes");
  SEND(p, 0x01, "");
  SEND(p, 0x00, "\xf0\x9f");
  SEND(p, 0x00, "");
  SEND(p, 0x00, "\x98\x80");
  SEND(p, 0x80, "");
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 1);
  CHECK_BYTES(host_last(h, ENCKE_EV_MESSAGE, id)->data, host_last(h, ENCKE_EV_MESSAGE, id)->len, "\xf0\x9f\x98\x80", 4);
  SEND(p, 0x02, "\xff\xfe");
  SEND(p, 0x80, "\xc0\0");
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 2);
  CHECK_BYTES(host_last(h, ENCKE_EV_MESSAGE, id)->data, host_last(h, ENCKE_EV_MESSAGE, id)->len, "\xff\xfe\xc0\0", 4);
  SEND(p, 0x88, "");
  closes(p, id, 1005);
}

/* What is no handshake (4.2.1): an upgrade like any other, or nothing at all. */
static void no_handshakes(void) {
  static const char *const rows[] = {
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 0\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n\r\n",
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    SECTION("4.2.1 no handshake");
    peer *p = peer_tcp(port);
    encke_id id = next_request(p, rows[i]);
    CHECK_EQ(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_WEBSOCKET, 0);
    CHECK_RC(encke_ws_accept(h->s, id, NULL, 0), ENCKE_E_STATE);
    answer(h, id, "no");
    UNTIL(peer_finals(p) == 1);
    peer_close(p);
  }
  SECTION("4.2.1 the words of a handshake in any case, among others, in any order");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, "GET / HTTP/1.1\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION: 13\r\n"
                                "upgrade: h2c, WebSocket\r\nconnection: keep-alive, UPGRADE\r\nhost: a\r\n\r\n");
  CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_WEBSOCKET);
  CHECK_OK(encke_ws_accept(h->s, id, NULL, 0));
  UNTIL(p->n && memmem(p->in, p->n, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28));
  peer_close(p);
  UNTIL(host_last(h, ENCKE_EV_CLOSED, id) != NULL);
}

static void compression(void) {
  peer *p;
  SECTION("permessage-deflate: the example of RFC 7692, 7.2.3.1");
  encke_id id = open_socket(&p, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
  CHECK(memmem(p->in, p->n, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n", 101) != NULL);
  SEND(p, 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00");
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 1);
  CHECK_BYTES(host_last(h, ENCKE_EV_MESSAGE, id)->data, host_last(h, ENCKE_EV_MESSAGE, id)->len, "Hello", 5);
  SEND(p, 0x41, "\xf2\x48\xcd");
  SEND(p, 0x80, "\xc9\xc9\x07\x00");
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 2);
  CHECK_BYTES(host_last(h, ENCKE_EV_MESSAGE, id)->data, host_last(h, ENCKE_EV_MESSAGE, id)->len, "Hello", 5);
  SECTION("junk");
  SEND(p, 0xc1, "\xff\xff\xff\xff");
  closes(p, id, 1007);
}

static void channels(void) {
  SECTION("a channel over WebSocket: the data alone, or with what is known of it");
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  const char *channel = "ws";
  encke_id id = next_request(p, HANDSHAKE "\r\n"), other = next_request(q, HANDSHAKE "Sec-WebSocket-Protocol: x, encke.json\r\n\r\n");
  CHECK_OK(encke_subscribe(h->s, id, &channel, 1, NULL, 0));
  CHECK_OK(encke_subscribe(h->s, other, &channel, 1, NULL, 0));
  UNTIL(GOT(q, "{\"position\":\""));
  CHECK(memmem(q->in, q->n, "Sec-WebSocket-Protocol: encke.json\r\n", 36) != NULL);
  encke_message m;
  memset(&m, 0, sizeof m);
  m.data = "hi", m.len = 2;
  CHECK_OK(encke_publish(h->s, 0, channel, &m, sizeof m));
  UNTIL(GOT(p, "\x81\x02hi") && GOT(q, "\"channel\":\"ws\",\"data\":\"hi\"}"));
  SECTION("its id goes on as any other: a value of the host's, a token");
  char token[ENCKE_TOKEN_SIZE];
  encke_id same = 0;
  CHECK_OK(encke_set_user(h->s, id, 77));
  CHECK_OK(encke_token(h->s, id, token, sizeof token));
  CHECK_OK(encke_from_token(h->s, token, strlen(token), &same));
  CHECK_EQ(same, id);
  SECTION("ws_ calls are for sockets");
  peer *sse = peer_tcp(port);
  encke_id no_socket = next_request(sse, "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
  CHECK_OK(encke_subscribe(h->s, no_socket, &channel, 1, NULL, 0));
  CHECK_RC(encke_ws_send(h->s, no_socket, ENCKE_WS_TEXT, "x", 1), ENCKE_E_GONE);
  CHECK_RC(encke_ws_close(h->s, no_socket, 1000, NULL), ENCKE_E_GONE);
  peer_close(sse);
  SECTION("its client may speak, and the host may answer it alone");
  SEND(p, 0x81, "me too");
  UNTIL(host_count(h, ENCKE_EV_MESSAGE, id) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_MESSAGE, id)->user, 77);
  CHECK_OK(encke_ws_send(h->s, id, ENCKE_WS_TEXT, "you", 3));
  UNTIL(GOT(p, "\x81\x03you"));
  SECTION("a socket of the host joins");
  peer *r;
  encke_id third = open_socket(&r, "");
  CHECK_OK(encke_subscribe(h->s, third, &channel, 1, NULL, 0));
  CHECK_OK(encke_publish(h->s, 0, channel, &m, sizeof m));
  UNTIL(GOT(r, "\x81\x02hi"));
  CHECK_OK(encke_unsubscribe(h->s, third, channel));
  CHECK_OK(encke_publish(h->s, 0, channel, &m, sizeof m));
  CHECK_OK(encke_ws_send(h->s, third, ENCKE_WS_TEXT, "last", 4));
  UNTIL(GOT(r, "\x81\x02hi\x81\x04last"));
  peer_close(r);
  SECTION("drain closes with 1001");
  CHECK_OK(encke_drain(h->e, 5000));
  UNTIL(GOT(p, "\x88\x02\x03\xe9") && GOT(q, "\x88\x02\x03\xe9"));
  closes(p, id, 1001);
  CHECK_EQ(host_last(h, ENCKE_EV_CLOSED, id)->user, 77);
  CHECK_RC(encke_set_user(h->s, id, 1), ENCKE_E_GONE);
  CHECK_RC(encke_token(h->s, id, token, sizeof token), ENCKE_E_GONE);
  CHECK_RC(encke_from_token(h->s, token, strlen(token), &same), ENCKE_E_GONE);
  closes(q, other, 1001);
  UNTIL(SEEN(h, DRAINED) == 1);
}

/* Of two sockets one answers its pings: it is in all of these channels, the other in the first. */
static void liveness(const char *const *channels, size_t n_channels) {
  peer *p, *q;
  encke_id id = open_socket(&p, ""), other = open_socket(&q, "");
  if (n_channels > 0) {
    CHECK_OK(encke_subscribe(h->s, id, channels, 1, NULL, 0));
    CHECK_OK(encke_subscribe(h->s, other, channels, n_channels, NULL, 0));
  }
  size_t pongs = 0;
  for (; pongs < 4 || !host_last(h, ENCKE_EV_CLOSED, id); step()) {
    size_t n, pings = 0;
    const unsigned char *at = frames(q, &n);
    for (size_t i = 0; i + 1 < n; i += 2) pings += at[i] == 0x89 && at[i + 1] == 0;
    for (; pongs < pings; pongs++) SEND(q, 0x8a, "");
  }
  CHECK(GOT(p, "\x89"));
  closes(p, id, 1006);
  CHECK_EQ(host_count(h, ENCKE_EV_CLOSED, other), 0);
  peer_close(q);
  UNTIL(host_last(h, ENCKE_EV_CLOSED, other) != NULL);
}

static void patience(void) {
  SECTION("a message that does not go on");
  h = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)}, {ENCKE_OPT_BODY_TIMEOUT_MS, 50});
  port = host_listen(h);
  peer *p;
  encke_id id = open_socket(&p, "");
  peer_send_n(p, "\x81\x85\0\0\0\0He", 8);
  UNTIL(GOT(p, "\x03\xf0the message took too long"));
  closes(p, id, 1008);
  host_close(h);
  SECTION("silence without a channel: a ping, then the end; whoever answers stays");
  h = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)}, {ENCKE_OPT_WS_HEARTBEAT_MS, 100});
  port = host_listen(h);
  liveness(NULL, 0);
  SECTION("also where its channel has no heartbeat");
  CHECK_OK(encke_channel_set(h->s, "still", ENCKE_CHANNEL_HEARTBEAT_MS, 0));
  const char *still = "still";
  liveness(&still, 1);
  host_close(h);
  h = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)}, {ENCKE_OPT_WS_HEARTBEAT_MS, 0});
  port = host_listen(h);
  SECTION("a peer that answers no ping is cut, one that does is not");
  CHECK_OK(encke_channel_set(h->s, "beat", ENCKE_CHANNEL_HEARTBEAT_MS, 1));
  CHECK_OK(encke_channel_set(h->s, "beat too", ENCKE_CHANNEL_HEARTBEAT_MS, 1));
  const char *both[] = {"beat", "beat too"};
  liveness(both, 2);
  host_close(h);
}

int main(void) {
  patience();
  h = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)}, {ENCKE_OPT_MAX_BODY, 100000});
  port = host_listen(h);
  handshake();
  messages();
  refusals();
  allowed();
  no_handshakes();
  compression();
  channels();
  host_close(h);
  return check_end();
}
