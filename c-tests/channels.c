/*
 * channels.c - channels through the API. The rule: a message that is published once reaches every subscriber in the form of
 * its transport, in order; who comes back with its position gets what it missed or is told that it cannot; who does not keep
 * up harms nobody else.
 */
#include "check.h"

#include <pthread.h>
#include <strings.h>

static host *h;
static int port;

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET10 "GET / HTTP/1.0\r\n\r\n"
#define SSE "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n"
#define POLL "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n"

static int subscribe_as(encke_id id, const char *channel, uint32_t transport) {
  encke_subscription how;
  memset(&how, 0, sizeof how);
  how.transport = transport;
  return encke_subscribe(h->s, id, &channel, 1, &how, sizeof how);
}

static int subscribe(encke_id id, const char *channel) { return encke_subscribe(h->s, id, &channel, 1, NULL, 0); }

static int publish_from(encke_sender *s, const char *channel, const char *type, const char *from, const char *data) {
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str(type), m.from = str(from), m.data = data, m.len = strlen(data);
  return encke_publish(s, 0, channel, &m, sizeof m);
}

static void publish(const char *channel, const char *data) {
  CHECK_OK(publish_from(h->s, channel, "text/plain", "", data));
}

static int has(peer *p, const char *text) { return p->n > 0 && memmem(p->in, p->n, text, strlen(text)) != NULL; }

static size_t times(peer *p, const char *text) {
  size_t found = 0;
  for (const char *at = p->in, *end = p->in + p->n; at && (at = memmem(at, (size_t)(end - at), text, strlen(text))); at += strlen(text)) found++;
  return found;
}

/* The position behind the last "id: " of a stream; static. */
static const char *last_id(peer *p) {
  static char id[64];
  const char *at = NULL;
  for (const char *next = p->in; next && (next = memmem(next, p->n - (size_t)(next - p->in), "id: ", 4)); next += 4) at = next;
  CHECK(at != NULL);
  CHECK(sscanf(at, "id: %63[0-9a-f:]", id) == 1);
  return id;
}

static encke_channel_facts facts(const char *channel, int exists) {
  encke_channel_facts f;
  CHECK_RC(encke_channel_get(h->s, channel, &f, sizeof f), exists);
  return f;
}

static void server_sent_events(void) {
  SECTION("text/event-stream: what the client asks for is what it gets");
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  encke_id id = next_request(p, SSE), other = next_request(q, SSE);
  CHECK_OK(subscribe(id, "news"));
  CHECK_OK(subscribe(other, "news"));
  CHECK_RC(encke_reply(h->s, id, 200, NULL, "late", 4), ENCKE_E_GONE); /* settled */
  UNTIL(has(p, "\n\n") && has(q, "\n\n"));
  CHECK(has(p, "Content-Type: text/event-stream\r\n"));
  CHECK(has(p, "Transfer-Encoding: chunked\r\n"));
  CHECK(has(p, "Cache-Control: no-store\r\n"));
  CHECK(has(p, "X-Accel-Buffering: no\r\n"));
  CHECK(has(p, "Encke-Position: "));
  CHECK(!has(p, "Encke-Recovered"));
  publish("news", "one");
  publish("news", "two\nlines");
  UNTIL(has(q, "data: lines\n\n") && has(p, "data: lines\n\n"));
  CHECK(has(p, "data: one\n\n"));
  CHECK(has(p, "data: two\ndata: lines\n\n"));
  CHECK_EQ(facts("news", 1).subscribers, 2);
  CHECK_EQ(facts("news", 1).messages, 2);
  CHECK_EQ(facts("news", 1).published, 2);

  SECTION("a client that leaves is one less, and DONE is its last event");
  peer_close(q);
  UNTIL(host_last(h, ENCKE_EV_DONE, other) != NULL);
  CHECK_EQ(host_last(h, ENCKE_EV_SUBSCRIBER, other)->code, 0);
  CHECK_EQ(facts("news", 1).subscribers, 1);

  SECTION("encke_abort cuts a subscriber");
  CHECK_OK(encke_abort(h->s, id));
  UNTIL(p->eof && host_last(h, ENCKE_EV_DONE, id) != NULL);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  CHECK_RC(encke_abort(h->s, id), ENCKE_E_GONE);
  CHECK_EQ(facts("news", 1).subscribers, 0);
  peer_close(p);
}

static void resume(void) {
  SECTION("who comes back with its position gets what it missed");
  peer *p = peer_tcp(port);
  CHECK_OK(subscribe(next_request(p, SSE), "resume"));
  publish("resume", "first");
  UNTIL(has(p, "data: first\n\n"));
  char id[64];
  snprintf(id, sizeof id, "%s", last_id(p));
  peer_close(p);
  UNTIL(facts("resume", 1).subscribers == 0);
  publish("resume", "second");
  publish("resume", "third");
  p = peer_tcp(port);
  encke_id request = next_request(p, textf("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nLast-Event-ID: %s\r\n\r\n", id));
  CHECK_OK(subscribe(request, "resume"));
  UNTIL(has(p, "data: third\n\n"));
  CHECK(has(p, "Encke-Recovered: yes\r\n"));
  CHECK(has(p, "event: recovered\ndata: yes\n\n"));
  CHECK(!has(p, "data: first"));
  CHECK_EQ(times(p, "data: second"), 1);
  CHECK(memcmp(p->in, "HTTP/1.1 200 OK\r\n", 17) == 0); /* the head first, and in order */
  const char *second = memmem(p->in, p->n, "data: second", 12), *third = memmem(p->in, p->n, "data: third", 11);
  CHECK((const char *)memmem(p->in, p->n, "event: recovered", 16) < second && second < third);
  peer_close(p);

  SECTION("... by another transport too");
  p = peer_tcp(port);
  request = next_request(p, textf("GET /?since=%s HTTP/1.1\r\nHost: a\r\n\r\n", id));
  CHECK_OK(subscribe_as(request, "resume", ENCKE_TRANSPORT_LONGPOLL));
  UNTIL(peer_finals(p) == 1);
  CHECK(strstr(peer_nth(p, 0)->body, "\"recovered\":true") != NULL);
  CHECK(strstr(peer_nth(p, 0)->body, "\"data\":\"second\"") != NULL);
  CHECK(strstr(peer_nth(p, 0)->body, "\"data\":\"third\"") != NULL);
  CHECK(strstr(peer_nth(p, 0)->body, "\"data\":\"first\"") == NULL);
  peer_close(p);

  SECTION("what the history has lost is not promised");
  CHECK_OK(encke_channel_set(h->s, "resume", ENCKE_CHANNEL_HISTORY, 1));
  p = peer_tcp(port);
  request = next_request(p, textf("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nLast-Event-ID: %s\r\n\r\n", id));
  CHECK_OK(subscribe(request, "resume"));
  UNTIL(has(p, "data: third\n\n"));
  CHECK(has(p, "Encke-Recovered: no\r\n"));
  CHECK(!has(p, "data: second"));
  peer_close(p);

  SECTION("a position of another life");
  p = peer_tcp(port);
  request = next_request(p, "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nLast-Event-ID: 17\r\n\r\n");
  CHECK_OK(subscribe(request, "resume"));
  UNTIL(has(p, "data: no\n\n"));
  CHECK(!has(p, "data: third"));
  peer_close(p);
}

static void bursts(void) {
  SECTION("a burst larger than the backlog is nobody's fault who reads");
  CHECK_OK(encke_channel_set(h->s, "burst", ENCKE_CHANNEL_BACKLOG, 50000));
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, SSE);
  CHECK_OK(subscribe(id, "burst"));
  UNTIL(has(p, "id: "));
  char from[64], data[10001];
  snprintf(from, sizeof from, "%s", last_id(p));
  memset(data, 'x', sizeof data - 1);
  data[sizeof data - 1] = 0;
  publish("burst", data);
  UNTIL(times(p, "data: ") == 1);
  for (int i = 0; i < 4; i++) publish("burst", data);
  publish("burst", "the last of it");
  UNTIL(has(p, "the last of it"));
  CHECK_EQ(times(p, "data: "), 6);
  CHECK_EQ(facts("burst", 1).subscribers, 1);
  peer_close(p);

  SECTION("a history larger than the backlog: the newest of it, and it is told");
  for (int i = 0; i < 10; i++) publish("burst", data);
  publish("burst", "newest");
  p = peer_tcp(port);
  id = next_request(p, textf("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nLast-Event-ID: %s\r\n\r\n", from));
  CHECK_OK(subscribe(id, "burst"));
  UNTIL(has(p, "data: newest\n\n"));
  CHECK(has(p, "Encke-Recovered: no\r\n"));
  CHECK(times(p, "data: xxx") >= 3 && times(p, "data: xxx") <= 5);
  publish("burst", "and on");
  UNTIL(has(p, "data: and on\n\n"));
  peer_close(p);

  SECTION("a client that had said before that it sends no more");
  p = peer_tcp(port);
  id = next_request(p, GET);
  peer_fin(p);
  UNTIL(peer_sent(p));
  QUIESCE();
  CHECK_OK(subscribe(id, "burst"));
  UNTIL(host_last(h, ENCKE_EV_DONE, id) != NULL);
  peer_close(p);
}

static void multipart(void) {
  SECTION("multipart/x-mixed-replace, on HTTP/1.1 and 1.0");
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  CHECK_OK(subscribe(next_request(p, GET), "camera"));
  CHECK_OK(subscribe(next_request(q, GET10), "camera"));
  CHECK_OK(publish_from(h->s, "camera", "image/jpeg", "cam1", "JPEG"));
  const char *part = "Content-Type: image/jpeg\r\nContent-Length: 4\r\nFrom: cam1\r\nEncke-Channel: camera\r\nEncke-Position: ";
  UNTIL(has(p, "\r\n\r\nJPEG\r\n--encke-part\r\n") && has(q, "\r\n\r\nJPEG\r\n--encke-part\r\n"));
  CHECK(has(p, "Content-Type: multipart/x-mixed-replace;boundary=encke-part\r\n"));
  CHECK(has(p, "Transfer-Encoding: chunked\r\n"));
  CHECK(has(p, part));
  CHECK(!has(q, "Transfer-Encoding"));
  CHECK(has(q, "\r\n\r\n--encke-part\r\n"));
  CHECK(has(q, part));
  CHECK_EQ(times(p, "--encke-part"), 2);
  peer_close(p);
  peer_close(q);
}

static void long_poll(void) {
  SECTION("a long poll waits for one batch; the connection goes on");
  peer *p = peer_tcp(port);
  CHECK_OK(subscribe(next_request(p, POLL), "poll"));
  publish("poll", "\"quoted\"");
  UNTIL(peer_finals(p) == 1);
  response *r = peer_nth(p, 0);
  CHECK_EQ(r->status, 200);
  CHECK_TEXT(response_field(r, "content-type"), "application/json");
  const char *position = response_field(r, "encke-position");
  CHECK(strstr(r->body, textf("{\"position\":\"%s\",\"messages\":[{\"position\":\"%s\",\"channel\":\"poll\"", position, position)) == r->body);
  CHECK(strstr(r->body, "\"data\":\"\\\"quoted\\\"\"}]}") != NULL);
  publish("poll", "meanwhile");
  CHECK_OK(subscribe(next_request(p, textf("GET /?since=%s HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n", position)), "poll"));
  UNTIL(peer_finals(p) == 2);
  CHECK(strstr(peer_nth(p, 1)->body, "meanwhile") != NULL);

  SECTION("204 when nothing came in time");
  encke_subscription how;
  memset(&how, 0, sizeof how);
  how.timeout_ms = 1;
  const char *channel = "silence";
  encke_id id = next_request(p, POLL);
  CHECK_OK(encke_subscribe(h->s, id, &channel, 1, &how, sizeof how));
  UNTIL(peer_finals(p) == 3);
  CHECK_EQ(peer_nth(p, 2)->status, 204);
  CHECK(response_field(peer_nth(p, 2), "encke-position") != NULL);
  UNTIL(host_last(h, ENCKE_EV_DONE, id) != NULL);
  facts("silence", 0);

  SECTION("HEAD is answered at once");
  p->head_only = 8;
  CHECK_OK(subscribe(next_request(p, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), "poll"));
  UNTIL(peer_finals(p) == 4);
  peer_close(p);
}

static void several(void) {
  SECTION("several channels and a prefix on one connection, in the order of publishing");
  peer *p = peer_tcp(port);
  const char *names[] = {"a", "b/*", "b/1", "a"};
  encke_id id = next_request(p, SSE);
  CHECK_OK(encke_subscribe(h->s, id, names, 4, NULL, 0));
  publish("a", "1");
  publish("b/1", "2");
  publish("c", "never");
  publish("b/2", "3");
  publish("a", "4");
  UNTIL(has(p, "data: 4\n\n"));
  const char *at = p->in;
  for (int i = 1; i <= 4; i++) {
    const char *text = textf("data: %d\n\n", i);
    at = memmem(at, p->n - (size_t)(at - p->in), text, strlen(text));
    CHECK(at != NULL);
    CHECK_EQ(times(p, text), 1);
  }
  CHECK(!has(p, "never"));

  SECTION("joining and leaving");
  const char *more = "more";
  CHECK_OK(encke_subscribe(h->s, id, &more, 1, NULL, 0));
  CHECK_OK(encke_unsubscribe(h->s, id, "a"));
  publish("more", "5");
  publish("a", "gone");
  publish("b/3", "6");
  UNTIL(has(p, "data: 6\n\n"));
  CHECK(has(p, "data: 5\n\n"));
  CHECK(!has(p, "gone"));
  CHECK_OK(encke_unsubscribe(h->s, id, "more"));
  CHECK_OK(encke_unsubscribe(h->s, id, "b/*"));
  CHECK_OK(encke_unsubscribe(h->s, id, "b/1"));
  publish("b/1", "nobody");
  CHECK_OK(encke_subscribe(h->s, id, &more, 1, NULL, 0));
  publish("more", "7");
  UNTIL(has(p, "data: 7\n\n"));
  CHECK(!has(p, "nobody"));
  peer_close(p);
  UNTIL(host_last(h, ENCKE_EV_DONE, id) != NULL);
  CHECK_RC(encke_unsubscribe(h->s, id, "more"), ENCKE_E_GONE);

  SECTION("filters by type and sender");
  p = peer_tcp(port);
  encke_subscription how;
  memset(&how, 0, sizeof how);
  how.types = str("text/*,!text/html"), how.from = str("z*");
  const char *channel = "filter";
  CHECK_OK(encke_subscribe(h->s, next_request(p, SSE), &channel, 1, &how, sizeof how));
  CHECK_OK(publish_from(h->s, "filter", "text/html", "zoe", "html"));
  CHECK_OK(publish_from(h->s, "filter", "image/png", "zoe", "png"));
  CHECK_OK(publish_from(h->s, "filter", "text/plain", "adam", "adam"));
  CHECK_OK(publish_from(h->s, "filter", "text/plain", "", "anonymous"));
  CHECK_OK(publish_from(h->s, "filter", "text/plain", "zoe", "wanted"));
  UNTIL(has(p, "wanted"));
  CHECK_EQ(times(p, "data: "), 1);
  peer_close(p);
}

static void names(void) {
  SECTION("bad names, messages and options");
  encke_message m;
  memset(&m, 0, sizeof m);
  CHECK_RC(encke_publish(h->s, 0, "", &m, sizeof m), ENCKE_E_INVAL);
  CHECK_RC(encke_publish(h->s, 0, "a\nb", &m, sizeof m), ENCKE_E_INVAL);
  CHECK_RC(encke_publish(h->s, 0, "a*", &m, sizeof m), ENCKE_E_INVAL);
  CHECK_RC(encke_publish(h->s, 0, "\xff", &m, sizeof m), ENCKE_E_INVAL);
  CHECK_RC(encke_publish(h->s, 0, NULL, &m, sizeof m), ENCKE_E_INVAL);
  CHECK_RC(encke_publish(h->s, 0, "a", NULL, sizeof m), ENCKE_E_INVAL);
  CHECK_RC(encke_publish(h->s, 12345, "a", &m, sizeof m), ENCKE_E_GONE);
  m.event = str("a\nid: 9");
  CHECK_RC(encke_publish(h->s, 0, "a", &m, sizeof m), ENCKE_E_INVAL);
  CHECK_TEXT(encke_last_error(), "event contains a control character");
  CHECK_RC(encke_channel_set(h->s, "a", 99, 0), ENCKE_E_NOTSUP);
  CHECK_RC(encke_channel_set(h->s, "a", ENCKE_CHANNEL_SLOW, 4), ENCKE_E_INVAL);
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  encke_subscription how;
  memset(&how, 0, sizeof how);
  how.transport = 77;
  const char *channel = "a";
  CHECK_RC(encke_subscribe(h->s, id, &channel, 1, &how, sizeof how), ENCKE_E_INVAL);
  CHECK_RC(encke_subscribe(h->s, id, &channel, 0, NULL, 0), ENCKE_E_INVAL);
  how.transport = 0, how.flags = 1u << 30;
  CHECK_RC(encke_subscribe(h->s, id, &channel, 1, &how, sizeof how), ENCKE_E_NOTSUP);
  answer(h, id, "still mine");
  UNTIL(peer_finals(p) == 1);
  CHECK_RC(subscribe(id, "a"), ENCKE_E_GONE);
  id = next_request(p, GET);
  CHECK_OK(subscribe_as(id, "a", ENCKE_TRANSPORT_WEBSOCKET)); /* no handshake */
  UNTIL(peer_finals(p) == 2);
  CHECK_EQ(peer_nth(p, 1)->status, 426);
  peer_close(p);

  SECTION("the list of channels");
  publish("list/1", "x");
  publish("list/2", "x");
  char name[256];
  size_t need_ = 0;
  CHECK_RC(encke_channel_next(h->s, "list/", name, sizeof name, &need_), 1);
  CHECK_TEXT(name, "list/1");
  CHECK_EQ(need_, 7);
  CHECK_RC(encke_channel_next(h->s, name, name, sizeof name, NULL), 1);
  CHECK_TEXT(name, "list/2");
  CHECK_RC(encke_channel_next(h->s, "list/1", name, 3, &need_), ENCKE_E_RANGE);
  CHECK_RC(encke_channel_next(h->s, "\x7f", name, sizeof name, NULL), 0);
}

/* A client that does not read, on a channel with this policy; the others are served to the end. */
static peer *stalled(const char *channel, uint64_t slow, size_t messages, encke_id *id) {
  CHECK_OK(encke_channel_set(h->s, channel, ENCKE_CHANNEL_SLOW, slow));
  CHECK_OK(encke_channel_set(h->s, channel, ENCKE_CHANNEL_BACKLOG, 100000));
  peer *p = peer_tcp_small(port), *q = peer_tcp(port);
  *id = next_request(p, SSE);
  CHECK_OK(subscribe(*id, channel));
  CHECK_OK(subscribe(next_request(q, SSE), channel));
  UNTIL(has(p, "id: "));
  p->paused = 1;
  char *data = pattern(20000, 1);
  for (size_t i = 0; i < 20000; i++) data[i] = (char)('a' + (unsigned char)data[i] % 26);
  for (size_t i = 0; i < messages; i++) {
    encke_message m;
    memset(&m, 0, sizeof m);
    memcpy(data, textf("[%08zu]", i), 10);
    m.key = str(i % 2 ? "odd" : "even"), m.data = data, m.len = 20000;
    CHECK_OK(encke_publish(h->s, 0, channel, &m, sizeof m));
    UNTIL(has(q, textf("[%08zu]", i)));
    q->n = 0; /* its bytes are of no further interest */
  }
  free(data);
  peer_close(q);
  return p;
}

static void slow(void) {
  encke_id id;
  SECTION("slow: closed, and told to come back");
  peer *p = stalled("slow/close", ENCKE_SLOW_CLOSE, 1000, &id);
  UNTIL(facts("slow/close", 1).subscribers == 0);
  p->paused = 0;
  UNTIL(p->eof && host_last(h, ENCKE_EV_DONE, id) != NULL);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_LIMIT);
  CHECK(!p->reset);
  CHECK(p->n > 5 && memcmp(p->in + p->n - 5, "0\r\n\r\n", 5) == 0);
  peer_close(p);

  for (uint64_t how = ENCKE_SLOW_DROP_NEW; how <= ENCKE_SLOW_LATEST; how++) {
    SECTION(how == ENCKE_SLOW_DROP_NEW ? "slow: new ones dropped" : how == ENCKE_SLOW_DROP_OLD ? "slow: old ones dropped" : "slow: latest of each key");
    char channel[16];
    snprintf(channel, sizeof channel, "slow/%d", (int)how);
    p = stalled(channel, how, 1000, &id);
    UNTIL(facts(channel, 1).subscribers == 1);
    CHECK(host_stats(h).dropped > 0);
    CHECK(host_stats(h).memory < 12u << 20);
    p->paused = 0;
    publish(channel, "the end of it");
    UNTIL(has(p, "the end of it") || how == ENCKE_SLOW_DROP_NEW);
    if (how == ENCKE_SLOW_DROP_NEW) {
      QUIESCE();
      publish(channel, "the end of all");
      UNTIL(has(p, "the end of all"));
      CHECK(has(p, "[00000000]") && !has(p, "[00000999]"));
    } else {
      CHECK(has(p, "[00000999]") && has(p, "[00000998]"));
    }
    CHECK(times(p, "data: [") < 1000);
    /* In order, whatever is missing. */
    long before = -1;
    for (const char *at = p->in; (at = memmem(at, p->n - (size_t)(at - p->in), "data: [", 7)); at += 7) {
      long n = atol(at + 7);
      CHECK(n > before);
      before = n;
    }
    peer_close(p);
    UNTIL(host_last(h, ENCKE_EV_DONE, id) != NULL);
  }
}

/* Old messages are looked for among what is unsent: not among any number of them. */
static void crowded(void) {
  for (uint64_t how = ENCKE_SLOW_DROP_OLD; how <= ENCKE_SLOW_LATEST; how++) {
    SECTION("slow: very many small messages");
    CHECK_OK(encke_channel_set(h->s, "crowd", ENCKE_CHANNEL_SLOW, how));
    CHECK_OK(encke_channel_set(h->s, "crowd", ENCKE_CHANNEL_BACKLOG, 64 << 20));
    peer *p = peer_tcp_small(port);
    encke_id id = next_request(p, SSE);
    CHECK_OK(subscribe(id, "crowd"));
    UNTIL(has(p, "id: "));
    p->paused = 1;
    char *large = pattern(6 << 20, 1);
    for (size_t i = 0; i < 6 << 20; i++) large[i] = 'x';
    encke_message m;
    memset(&m, 0, sizeof m);
    m.data = large, m.len = 6 << 20;
    CHECK_OK(encke_publish(h->s, 0, "crowd", &m, sizeof m));
    QUIESCE();
    uint64_t before = host_stats(h).dropped;
    for (int i = 0; i < 2000; i++) {
      publish("crowd", "small");
      if (i % 500 == 0) QUIESCE();
    }
    QUIESCE();
    uint64_t dropped = host_stats(h).dropped - before;
    CHECK(dropped >= 2000 - 1024 && dropped < 2000 - 512);
    free(large);
    peer_close(p);
    UNTIL(host_last(h, ENCKE_EV_DONE, id) != NULL);
  }
}

static void *set_heartbeat(void *unused) {
  (void)unused;
  return encke_channel_set(h->s, "beats", ENCKE_CHANNEL_HEARTBEAT_MS, 1) == ENCKE_OK ? NULL : (void *)1;
}

static void *publish_and_go(void *unused) {
  (void)unused;
  encke_message m;
  memset(&m, 0, sizeof m);
  m.data = "x", m.len = 1;
  return encke_publish(h->s, 0, "short", &m, sizeof m) == ENCKE_OK ? NULL : (void *)1;
}

static void in_a_thread(void *(*f)(void *)) {
  pthread_t thread;
  void *failed;
  CHECK(pthread_create(&thread, NULL, f, NULL) == 0 && pthread_join(thread, &failed) == 0);
  CHECK(!failed);
}

static void from_threads(void) {
  SECTION("a heartbeat that is set holds at once, for a stream that had none");
  CHECK_OK(encke_channel_set(h->s, "beats", ENCKE_CHANNEL_HEARTBEAT_MS, 0));
  peer *p = peer_tcp(port);
  CHECK_OK(subscribe(next_request(p, SSE), "beats"));
  UNTIL(has(p, "id: "));
  QUIESCE();
  in_a_thread(set_heartbeat);
  UNTIL(has(p, "\n:\n"));
  peer_close(p);
  encke_channel_facts none;
  UNTIL(encke_channel_get(h->s, "beats", &none, sizeof none) == 0);
  SECTION("what nobody listens to goes in its time");
  CHECK_OK(encke_channel_set(h->s, "short", ENCKE_CHANNEL_TTL_MS, 200));
  QUIESCE();
  in_a_thread(publish_and_go);
  UNTIL(encke_channel_get(h->s, "short", &none, sizeof none) == 0);
}

static void ended_by_the_host(void) {
  SECTION("encke_end: a stream ends well, behind what was published");
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  encke_id id = next_request(p, SSE), poll = next_request(q, POLL);
  CHECK_RC(encke_end(h->s, id, NULL, 0), ENCKE_E_STATE);
  CHECK_OK(subscribe(id, "ends"));
  CHECK_OK(subscribe(poll, "ends"));
  publish("ends", "almost");
  publish("ends", "all");
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  CHECK_RC(encke_end(h->s, id, NULL, 0), ENCKE_E_GONE);
  UNTIL(p->eof);
  CHECK(has(p, "data: almost\n\n") && has(p, "data: all\n\n") && memcmp(p->in + p->n - 5, "0\r\n\r\n", 5) == 0);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  UNTIL(peer_finals(q) == 1);
  poll = next_request(q, POLL);
  CHECK_OK(subscribe(poll, "ends"));
  CHECK_OK(encke_end(h->s, poll, NULL, 0));
  UNTIL(peer_finals(q) == 2);
  CHECK_EQ(peer_nth(q, 1)->status, 204);
  peer_close(p);
  peer_close(q);
}

static void the_end(void) {
  SECTION("drain ends subscriptions well");
  peer *p = peer_tcp(port), *q = peer_tcp(port);
  encke_id id = next_request(p, SSE), poll = next_request(q, POLL);
  CHECK_OK(subscribe(id, "end"));
  CHECK_OK(subscribe(poll, "end"));
  UNTIL(has(p, "id: "));
  publish("end", "last words");
  CHECK_OK(encke_drain(h->e, 5000));
  UNTIL(p->eof && q->eof && SEEN(h, DRAINED) == 1);
  CHECK(memcmp(p->in + p->n - 5, "0\r\n\r\n", 5) == 0);
  CHECK(has(p, "data: last words\n\n"));
  CHECK(strstr(peer_nth(q, 0)->body, "last words") != NULL);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_DRAIN);
  peer_close(p);
  peer_close(q);
}

int main(void) {
  h = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_SUBSCRIBER)});
  port = host_listen(h);
  server_sent_events();
  resume();
  bursts();
  multipart();
  long_poll();
  several();
  names();
  slow();
  crowded();
  from_threads();
  ended_by_the_host();
  the_end();
  host_close(h);
  return check_end();
}
