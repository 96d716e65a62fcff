/*
 * links_sources.c - links to sources of any server: text/event-stream and multipart played byte by byte, WebSockets of an encke.
 * The rule: what a server's format says is what the host gets; what is none of it is told, and tried again.
 */
#include "links.h"

static uint64_t watch;

static host *start(void) { return HOST({ENCKE_OPT_WATCH, watch}); }

static int open_source(host *h, const char *url, const char *protocol, encke_id *link) {
  encke_link_options o;
  memset(&o, 0, sizeof o);
  o.flags = ENCKE_LINK_SOURCE, o.retry_ms_max = 5, o.max_message = 70000, o.protocol = str(protocol);
  return encke_link_open(h->e, url, &o, sizeof o, link);
}

static encke_id source(host *h, const char *url) {
  encke_id link = 0, sub = 0;
  CHECK_OK(open_source(h, url, "", &link));
  CHECK_OK(encke_link_subscribe(h->e, link, "label", NULL, 0, &sub));
  return sub;
}

static void is_message(host *h, size_t nth, const char *type, const char *event_name, const char *data) {
  UNTIL(SEEN(h, MESSAGE) > nth);
  event *ev = host_nth(h, ENCKE_EV_MESSAGE, nth);
  CHECK_TEXT(ev->type, type);
  CHECK_TEXT(ev->channel, "label");
  CHECK_TEXT(ev->event, event_name);
  CHECK_BYTES(ev->data, ev->len, data, strlen(data));
}

#define TEXT_TYPE "text/plain; charset=utf-8"
#define EVENTS "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"

static void bad_arguments(void) {
  SECTION("what a source is not opened with");
  host *h = start();
  encke_id link = 0, sub = 0;
  CHECK_RC(open_source(h, "http://127.0.0.1/x#y", "", &link), ENCKE_E_INVAL);
  CHECK_RC(open_source(h, "http://127.0.0.1/x", "p", &link), ENCKE_E_INVAL);
  CHECK_RC(open_source(h, "ws://127.0.0.1/x", "a b", &link), ENCKE_E_INVAL);
  CHECK_RC(encke_link_open(h->e, "http://127.0.0.1/x", NULL, 0, &link), ENCKE_E_INVAL);
  CHECK_OK(encke_link_open(h->e, "ws://127.0.0.1:1/x", NULL, 0, &link));
  encke_message m;
  memset(&m, 0, sizeof m);
  CHECK_RC(encke_publish(h->s, link, "a", &m, sizeof m), ENCKE_E_NOTSUP);
  encke_subscription how;
  memset(&how, 0, sizeof how);
  how.types = str("text/*");
  CHECK_RC(encke_link_subscribe(h->e, link, "a", &how, sizeof how, &sub), ENCKE_E_NOTSUP);
  const char *channels[] = {"a"};
  CHECK_RC(encke_subscribe(h->s, link, channels, 1, &how, sizeof how), ENCKE_E_NOTSUP);
  host_close(h);
}

static void events(void) {
  SECTION("server-sent events: data, names, ids, and back to where it was");
  host *h = start();
  encke_id sub = source(h, textf("http://127.0.0.1:%d/events?a=b", port));
  peer *p = bus_accept();
  const char *request = textf("GET /events?a=b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: encke\r\n"
    "Accept: multipart/x-mixed-replace, text/event-stream\r\nCache-Control: no-store\r\n\r\n", port);
  CHECK_BYTES(p->in, p->n, request, strlen(request));
  peer_send(p, EVENTS "Transfer-Encoding: chunked\r\n\r\n");
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 1);
  peer_send(p, "18\r\n: hello\nid: one two\ndata\r\n3\r\n: a\r\n9\r\n\ndata: b\n\r\n1\r\n\n\r\n");
  is_message(h, 0, TEXT_TYPE, "", "a\nb");
  peer_send(p, "24\r\nevent: tick\ndata: 1\n\nid: 9\ndata: cut\r\n");
  is_message(h, 1, TEXT_TYPE, "tick", "1");
  peer_close(p); /* in the middle of an event, which is none */
  p = bus_accept();
  CHECK(has(p, "\r\nLast-Event-ID: one two\r\n"));
  CHECK_EQ(told(h, sub, ENCKE_LINK_DOWN), 1);
  peer_send(p, EVENTS "\r\n");
  UNTIL(told(h, sub, ENCKE_LINK_GAP) == 1); /* it did not say whether it has all of it */
  peer_close(p);
  p = bus_accept(); /* without an event its place is the same */
  CHECK(has(p, "\r\nLast-Event-ID: one two\r\n"));
  peer_send(p, EVENTS "\r\nid\n\n");
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 3);
  SECTION("an event that is too large is left out alone");
  size_t gaps = told(h, sub, ENCKE_LINK_GAP);
  char *large = pattern(80000, 3);
  for (size_t i = 0; i < 80000; i++) large[i] = 'x';
  peer_send(p, "data: ");
  peer_send_n(p, large, 80000);
  peer_send(p, "\n\ndata: behind it\n\n");
  is_message(h, 2, TEXT_TYPE, "", "behind it");
  CHECK_EQ(told(h, sub, ENCKE_LINK_GAP), gaps + 1);
  free(large);
  peer_close(p);
  p = bus_accept();
  CHECK(!has(p, "Last-Event-ID"));
  SECTION("refused, redirected, and answers of other kinds");
  peer_send(p, "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n");
  UNTIL(told(h, sub, ENCKE_LINK_REFUSED) == 1);
  CHECK_EQ(last_told(h, sub, ENCKE_LINK_REFUSED)->more, 302);
  CHECK_TEXT(last_told(h, sub, ENCKE_LINK_REFUSED)->data, "http://elsewhere/");
  peer_close(p);
  static const char *const answers[] = {
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello",
    EVENTS "Content-Encoding: gzip\r\n\r\n",
    EVENTS "Content-Length: 0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  };
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    p = bus_accept();
    peer_send(p, answers[i]);
    UNTIL(p->eof);
    peer_close(p);
  }
  SECTION("204: there is no more");
  p = bus_accept();
  peer_send(p, "HTTP/1.1 204 No Content\r\n\r\n");
  UNTIL(told(h, sub, ENCKE_LINK_REFUSED) == 2 && p->eof);
  CHECK_EQ(last_told(h, sub, ENCKE_LINK_REFUSED)->more, 204);
  peer_close(p);
  QUIESCE();
  CHECK(!try_accept());
  CHECK_OK(encke_close(h->e, sub));
  UNTIL(told(h, sub, ENCKE_LINK_CLOSED) == 1);
  host_close(h);
}

static void parts(void) {
  SECTION("a camera: parts of any server");
  host *h = start();
  source(h, textf("http://127.0.0.1:%d", port));
  peer *p = bus_accept();
  CHECK(has(p, "GET / HTTP/1.1\r\n"));
  peer_send(p, "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n--frame\r\n"
    "Content-Type: image/jpeg\r\nContent-Length: 4\r\n\r\njpeg\r\n--frame\r\n");
  is_message(h, 0, "image/jpeg", "", "jpeg");
  peer_close(p);
  host_close(h);
}

/* Who answers a handshake of WebSocket wrongly is not heard. */
static void bad_handshakes(void) {
  SECTION("handshakes that are none");
  host *h = start();
  encke_id sub = source(h, textf("ws://127.0.0.1:%d/x?y", port));
  static const struct { const char *answer, *why; } bad[] = {
    {"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x01x", "Sec-WebSocket-Accept is wrong"},
    {"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "another protocol"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "no WebSocket"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    peer *p = bus_accept();
    CHECK(has(p, "GET /x?y HTTP/1.1\r\n") && has(p, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "));
    CHECK(!has(p, "Accept:") && !has(p, "Protocol"));
    peer_send(p, bad[i].answer);
    UNTIL(p->eof && told(h, sub, ENCKE_LINK_DOWN) == 1);
    peer_close(p);
    if (!strstr(last_told(h, sub, ENCKE_LINK_DOWN)->data, bad[i].why)) check_fail(__FILE__, __LINE__, "%s", last_told(h, sub, ENCKE_LINK_DOWN)->data);
    CHECK_OK(encke_close(h->e, sub)); /* it is told once only */
    UNTIL(told(h, sub, ENCKE_LINK_CLOSED) == 1);
    while (try_accept()) peer_close(accepted);
    sub = source(h, textf("ws://127.0.0.1:%d/x?y", port));
  }
  peer *p = bus_accept();
  peer_send(p, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
  UNTIL(told(h, sub, ENCKE_LINK_REFUSED) == 1);
  CHECK_EQ(told(h, sub, ENCKE_LINK_UP), 0);
  CHECK_EQ(SEEN(h, MESSAGE), 0);
  peer_close(p);
  host_close(h);
}

static encke_id next_socket(host *server, size_t nth) {
  UNTIL(SEEN(server, REQUEST) > nth);
  encke_id id = request_id(server, nth);
  CHECK_OK(encke_ws_accept(server->s, id, NULL, 0));
  return id;
}

static void websockets(void) {
  SECTION("a WebSocket: messages, pings, the end and what comes after it");
  host *server = HOST({ENCKE_OPT_WS_HEARTBEAT_MS, 20}), *h = start();
  int at = host_listen(server);
  encke_id sub = source(h, textf("ws://127.0.0.1:%d/feed", at)), id = next_socket(server, 0);
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 1);
  CHECK_OK(encke_ws_send(server->s, id, ENCKE_WS_TEXT, "hello", 5));
  is_message(h, 0, TEXT_TYPE, "", "hello");
  CHECK_OK(encke_ws_send(server->s, id, ENCKE_WS_BINARY, "\xff", 1));
  is_message(h, 1, "application/octet-stream", "", "\xff");
  char *large = pattern(70000, 5);
  CHECK_OK(encke_ws_send(server->s, id, ENCKE_WS_BINARY, large, 70000));
  UNTIL(SEEN(h, MESSAGE) == 3);
  CHECK_BYTES(host_nth(h, ENCKE_EV_MESSAGE, 2)->data, host_nth(h, ENCKE_EV_MESSAGE, 2)->len, large, 70000);
  /* Who does not answer a ping is cut at the second one: here many pass. */
  for (moment end = now_ms() + 200; now_ms() < end;) step();
  CHECK_EQ(told(h, sub, ENCKE_LINK_DOWN), 0);
  CHECK_OK(encke_ws_close(server->s, id, 4001, "bye"));
  UNTIL(told(h, sub, ENCKE_LINK_DOWN) == 1);
  CHECK_TEXT(last_told(h, sub, ENCKE_LINK_DOWN)->data, "the server closed the WebSocket: 4001 bye");
  UNTIL(SEEN(server, CLOSED) == 1);
  CHECK_EQ(host_nth(server, ENCKE_EV_CLOSED, 0)->code, 4001);
  id = next_socket(server, 1);
  UNTIL(told(h, sub, ENCKE_LINK_GAP) == 1);
  SECTION("a message that is too large ends it with its code");
  CHECK_OK(encke_ws_send(server->s, id, ENCKE_WS_BINARY, large, 70000));
  char *larger = pattern(70001, 1);
  CHECK_OK(encke_ws_send(server->s, id, ENCKE_WS_BINARY, larger, 70001));
  free(larger);
  UNTIL(SEEN(server, CLOSED) == 2);
  CHECK_EQ(host_nth(server, ENCKE_EV_CLOSED, 1)->code, 1009);
  CHECK_EQ(SEEN(h, MESSAGE), 4);
  SECTION("a WebSocket that is left hears so");
  next_socket(server, 2);
  UNTIL(told(h, sub, ENCKE_LINK_UP) == 3);
  CHECK_OK(encke_close(h->e, sub));
  UNTIL(SEEN(server, CLOSED) == 3 && told(h, sub, ENCKE_LINK_CLOSED) == 1);
  CHECK_EQ(host_nth(server, ENCKE_EV_CLOSED, 2)->code, 1001);
  free(large);
  host_close(h);
  host_close(server);
}

/* Who serves events alone is followed from where it ended, and what is said of that is no message. */
static void events_of_an_encke(void) {
  if (!encke_has_feature("push")) return;
  SECTION("events of an encke: nothing is missed, and nothing is told of it");
  host *server = HOST_PLAIN(), *h = start();
  int at = host_listen(server);
  encke_subscription how;
  const char *channels[] = {"news"};
  encke_message m;
  memset(&how, 0, sizeof how), memset(&m, 0, sizeof m);
  how.transport = ENCKE_TRANSPORT_SSE;
  encke_id sub = source(h, textf("http://127.0.0.1:%d/events", at));
  UNTIL(SEEN(server, REQUEST) == 1);
  encke_id first = request_id(server, 0);
  CHECK_OK(encke_subscribe(server->s, first, channels, 1, &how, sizeof how));
  m.data = "one", m.len = 3;
  CHECK_OK(encke_publish(server->s, 0, "news", &m, sizeof m));
  is_message(h, 0, TEXT_TYPE, "", "one");
  encke_abort(server->s, first);
  m.data = "two";
  CHECK_OK(encke_publish(server->s, 0, "news", &m, sizeof m));
  UNTIL(SEEN(server, REQUEST) == 2);
  CHECK_OK(encke_subscribe(server->s, request_id(server, 1), channels, 1, &how, sizeof how));
  is_message(h, 1, TEXT_TYPE, "", "two");
  CHECK_EQ(SEEN(h, MESSAGE), 2);
  CHECK_EQ(told(h, sub, ENCKE_LINK_UP), 2);
  CHECK_EQ(told(h, sub, ENCKE_LINK_GAP), 0);
  host_close(h);
  host_close(server);
}

static void of_an_encke(void) {
  if (!encke_has_feature("mounts")) return;
  SECTION("a bus of an encke by its WebSocket, with JSON; and its events");
  host *server = HOST_PLAIN(), *h = start();
  CHECK_OK(encke_mount(server->e, ENCKE_MOUNT_BUS, "/msgbus/", NULL, 0, NULL));
  int at = host_listen(server);
  encke_id link = 0, sub = 0;
  CHECK_OK(open_source(h, textf("ws://127.0.0.1:%d/msgbus/news", at), "encke.json", &link));
  CHECK_OK(encke_link_subscribe(h->e, link, "label", NULL, 0, &sub));
  UNTIL(SEEN(h, MESSAGE) == 1);
  encke_id by_parts = source(h, textf("http://127.0.0.1:%d/msgbus/news", at));
  UNTIL(told(h, by_parts, ENCKE_LINK_UP) == 1);
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str("text/html"), m.from = str("zoe"), m.data = "hi", m.len = 2;
  CHECK_OK(encke_publish(server->s, 0, "news", &m, sizeof m));
  UNTIL(SEEN(h, MESSAGE) == 3);
  for (size_t i = 1; i < 3; i++) {
    event *ev = host_nth(h, ENCKE_EV_MESSAGE, i);
    if (ev->id == sub) {
      CHECK_TEXT(ev->type, "application/json");
      CHECK(strstr(ev->data, "\"from\":\"zoe\""));
    } else { /* parts say more than events */
      CHECK_TEXT(ev->type, "text/html");
      CHECK_TEXT(ev->from, "zoe");
      CHECK_TEXT(ev->channel, "news");
    }
  }
  host_close(h);
  host_close(server);
}

int main(void) {
  if (!encke_has_feature("links")) return check_end();
  for (watch = ENCKE_WATCH_ONE; watch <= ENCKE_WATCH_EACH; watch++) {
    listener = bus_listen(0);
    bad_arguments();
    events();
    parts();
    bad_handshakes();
    websockets();
    events_of_an_encke();
    of_an_encke();
    close(listener);
  }
  return check_end();
}
