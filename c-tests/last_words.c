/*
 * last_words.c - the end of a request as its events tell it. The rule: after ABORTED only RELEASED and DONE come (L5), a
 * tunnel's last BODY always comes, and DONE counts the body bytes that were sent.
 */
#include "check.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
#define CONNECT "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"
#define EVENTS {ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_HALF_CLOSED)}

static host *h;
static int port;

#define OPEN(...)                                                                                                      \
  do {                                                                                                                 \
    h = HOST(__VA_ARGS__);                                                                                             \
    port = host_listen(h);                                                                                             \
  } while (0)

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static int begin(encke_id id, uint32_t status, uint32_t flags, uint64_t length) {
  encke_field upgrade = field("Upgrade", "x");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = status, r.flags = flags, r.length = length;
  if (status == 101) r.fields = &upgrade, r.nfields = 1;
  return encke_begin(h->s, id, &r, sizeof r);
}

static void nothing_after_aborted(void) {
  SECTION("no BODY and no HALF_CLOSED after ABORTED");
  OPEN({ENCKE_OPT_ANSWER_TIMEOUT_MS, 100}, {ENCKE_OPT_BUFFER_BODY, 0}, EVENTS);
  char *data = pattern(50000, 1);
  peer *p = peer_tcp(port);
  encke_id one = next_request(p, GET);
  CHECK_OK(begin(one, 200, 0, 0)); /* begun: the answer time-out is over for this one */
  encke_id two = next_request(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  peer_send_n(p, data, 1000);
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, two)->code, ENCKE_END_TIMEOUT);
  size_t pieces = SEEN(h, BODY);
  uint64_t in = host_stats(h).bytes_in;
  peer_send_n(p, data, 50000);
  UNTIL(host_stats(h).bytes_in > in || p->eof);
  peer_fin(p);
  QUIESCE();
  CHECK_OK(encke_write(h->s, one, "one", 3));
  QUIESCE();
  CHECK_EQ(SEEN(h, BODY), pieces);
  CHECK_EQ(host_count(h, ENCKE_EV_HALF_CLOSED, two), 0);
  host_audit(h);
  CHECK_RC(encke_reply(h->s, two, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  CHECK_OK(encke_end(h->s, one, NULL, 0));
  UNTIL(p->eof && host_all_done(h));
  CHECK_TEXT(peer_nth(p, 0)->body, "one");
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, one)->code, ENCKE_END_OK);
  CHECK_EQ(peer_finals(p), 2);
  CHECK_EQ(peer_nth(p, 1)->status, 503);
  peer_close(p);
  host_close(h);
  free(data);
}

/* The client is through with its side before the host opens the tunnel. */
static void tunnel_after_fin(const char *section, const char *request, uint32_t status, const char *early) {
  SECTION(section);
  OPEN({ENCKE_OPT_CONNECT, 1}, EVENTS);
  peer *p = peer_tcp(port);
  p->tunnel = 0;
  encke_id id = next_request(p, request);
  if (*early) peer_send(p, early);
  peer_fin(p);
  if (*early) QUIESCE();
  else UNTIL(SEEN(h, HALF_CLOSED) == 1);
  CHECK_OK(begin(id, status, 0, 0));
  UNTIL(host_count(h, ENCKE_EV_BODY, id) > 0 && !host_last(h, ENCKE_EV_BODY, id)->more);
  char got[64];
  size_t n = 0, last = 0;
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_BODY) {
      CHECK_EQ(last, 0); /* one is the last */
      memcpy(got + n, h->log[i].data ? h->log[i].data : "", h->log[i].len);
      n += h->log[i].len;
      last += !h->log[i].more;
    }
  CHECK_EQ(last, 1);
  CHECK_BYTES(got, n, early, strlen(early));
  CHECK_OK(encke_write(h->s, id, "bye", 3)); /* the other direction is open */
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(p->eof && host_all_done(h));
  const char *raw = (CHECK_EQ(peer_finals(p), 1), peer_raw(p, &n));
  CHECK_BYTES(raw, n, "bye", 3);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  peer_close(p);
  host_close(h);
}

static void bodiless(const char *section, const char *method, uint32_t status, uint32_t flags) {
  SECTION(section);
  peer *p = peer_tcp(port);
  p->head_only = strcmp(method, "HEAD") == 0;
  encke_id id = next_request(p, textf("%s / HTTP/1.1\r\nHost: a\r\n\r\n", method));
  CHECK_OK(begin(id, status, flags, 100));
  for (int i = 0; i < 10; i++) CHECK_OK(encke_write(h->s, id, "0123456789", 10)); /* taken, not sent */
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(peer_finals(p) == 1 && host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, status);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->len, 0);
  answer(h, id = next_request(p, GET), "next"); /* and nothing of it is in the way of what follows */
  UNTIL(peer_finals(p) == 2 && host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK_TEXT(peer_nth(p, 1)->body, "next");
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->len, 4);
  peer_close(p);
}

static void sent_is_counted(void) {
  OPEN(EVENTS);
  bodiless("HEAD by begin and write: DONE counts nothing", "HEAD", 200, 0);
  bodiless("HEAD with a length: DONE counts nothing", "HEAD", 200, ENCKE_LENGTH);
  bodiless("204 by begin and write: DONE counts nothing", "GET", 204, 0);
  bodiless("304 by begin and write: DONE counts nothing", "GET", 304, 0);
  host_close(h);
}

int main(void) {
  nothing_after_aborted();
  tunnel_after_fin("CONNECT, FIN, then the tunnel: the last BODY comes", CONNECT, 200, "");
  tunnel_after_fin("Upgrade, FIN, then the tunnel: the last BODY comes", UPGRADE, 101, "");
  tunnel_after_fin("CONNECT, bytes and FIN, then the tunnel", CONNECT, 200, "early bytes");
  tunnel_after_fin("Upgrade, bytes and FIN, then the tunnel", UPGRADE, 101, "early bytes");
  sent_is_counted();
  return check_end();
}
