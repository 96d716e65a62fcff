/*
 * tls_end.c - how secure connections end. The rule: close_notify is sent and honoured, a half-closed client is answered (F8);
 * an end without it is a cut: ABORTED, and never the end of a body; a broken record gets its alert and ends everything.
 */
#include "tls.h"

#include <poll.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define UPGRADE "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

static host *h;
static int port, version;
static encke_tls *tls;

static peer *connected(void) {
  peer *p = TLS(port, .version = version);
  peer_ready(p);
  return p;
}

static void nobody_left(void) { UNTIL(host_stats(h).connections == 0 && host_all_done(h)); }

static void section(const char *name) { SECTION(textf("TLS 1.%d: %s", version - 10, name)); }

/* ---- the ends that are announced ----------------------------------------------------------------------------------------- */

static void ended_well(peer *p) {
  UNTIL(p->eof);
  CHECK(tls_closed(p)); /* and so it is no reset */
  CHECK(!p->reset && !tls_broken(p));
  CHECK_EQ(tls_alert(p), -1);
  peer_close(p);
  nobody_left();
}

static void announced(void) {
  section("the server ends with close_notify");
  peer *p = connected();
  answer(h, ask(h, p, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "the last");
  UNTIL(p->eof);
  CHECK_TEXT(peer_nth(p, 0)->body, "the last");
  ended_well(p);

  section("idle, close_notify and FIN");
  p = connected();
  served(h, p);
  peer_fin(p);
  ended_well(p);

  section("idle, close_notify alone");
  p = connected();
  served(h, p);
  peer_notify(p);
  ended_well(p);

  section("nothing was said at all");
  p = connected();
  peer_fin(p);
  ended_well(p);

  for (int fin = 0; fin < 2; fin++) {
    section(fin ? "three held, close_notify and FIN" : "three held, close_notify alone");
    size_t halves = SEEN(h, HALF_CLOSED), before = SEEN(h, REQUEST);
    p = connected();
    peer_send(p, GET GET GET);
    UNTIL(SEEN(h, REQUEST) == before + 3);
    if (fin) peer_fin(p);
    else peer_notify(p);
    UNTIL(SEEN(h, HALF_CLOSED) > halves);
    CHECK_OK(encke_write(h->s, request_id(h, before), NULL, 0)); /* the peer is there */
    for (size_t i = 3; i-- > 0;) answer(h, request_id(h, before + i), textf("answer %zu", i));
    UNTIL(p->eof);
    CHECK_EQ(peer_finals(p), 3);
    for (size_t i = 0; i < 3; i++) CHECK_TEXT(peer_nth(p, i)->body, textf("answer %zu", i));
    CHECK_EQ(host_last(h, ENCKE_EV_DONE, request_id(h, before + 2))->code, ENCKE_END_OK);
    ended_well(p);

    section(fin ? "the request, close_notify and FIN at once" : "the request and close_notify at once");
    before = SEEN(h, REQUEST);
    p = TLS(port, .version = version);
    peer_send(p, GET);
    if (fin) peer_fin(p);
    else peer_notify(p);
    UNTIL(SEEN(h, REQUEST) == before + 1);
    answer(h, request_id(h, before), "still answered");
    UNTIL(p->eof);
    CHECK_TEXT(peer_nth(p, 0)->body, "still answered");
    ended_well(p);
  }

  section("behind close_notify nothing counts");
  p = connected();
  encke_id id = ask(h, p, GET);
  peer_notify(p);
  peer_inject(p, GET, strlen(GET));
  answer(h, id, "answered");
  UNTIL(p->eof);
  CHECK_TEXT(peer_nth(p, 0)->body, "answered");
  ended_well(p);
}

/* ---- the ends that are not ----------------------------------------------------------------------------------------------- */

enum { IDLE, HELD, HEAD, GATHERED, GATHERED_CHUNKS, LENGTH, CHUNKED, ALL_BUT_THE_END, STREAM, TUNNEL, STAGES };
static const char *const stages[STAGES] = {"idle",           "a held request",        "half a head", "a body that is collected",
                                           "chunks that are collected", "a body with its length", "a chunked body",
                                           "all but the end of the chunks", "a stream's reader", "a tunnel"};

static encke_id begun(encke_id id, uint32_t status) {
  encke_field upgrade = field("Upgrade", "echo");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = status;
  if (status == 101) r.fields = &upgrade, r.nfields = 1;
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  return id;
}

/* Brings a connection there; the request's id, 0: there is none. */
static encke_id reach(peer *p, int stage) {
  switch (stage) {
  case IDLE: served(h, p); return 0;
  case HELD: return ask(h, p, GET);
  case HEAD: peer_send(p, "GET / HTTP/1.1\r\nHos"); return 0;
  case GATHERED: peer_send(p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1234"); return 0;
  case GATHERED_CHUNKS: peer_send(p, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n"); return 0;
  case LENGTH: return ask(h, p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n0123456789");
  case CHUNKED: return ask(h, p, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n5\r\n012");
  case ALL_BUT_THE_END: return ask(h, p, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n");
  case STREAM: {
    encke_id id = begun(ask(h, p, GET), 200);
    CHECK_OK(encke_write(h->s, id, "some", 4));
    return id;
  }
  default: {
    encke_id id = begun(ask(h, p, UPGRADE), 101);
    UNTIL(peer_all(p) == 1);
    peer_send(p, "raw");
    UNTIL(host_count(h, ENCKE_EV_BODY, id) > 0);
    return id;
  }
  }
}

/* Its request is aborted with that code, was never told to be complete, and is the host's until it settles. */
static void is_aborted(encke_id id, int code) {
  if (!id) return;
  UNTIL(host_count(h, ENCKE_EV_ABORTED, id) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, id)->code, code);
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_BODY && h->log[i].id == id) CHECK(h->log[i].more);
  CHECK_EQ(host_count(h, ENCKE_EV_DONE, id), 0);
  CHECK_RC(encke_write(h->s, id, NULL, 0), ENCKE_E_GONE);
  CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
}

static void truncated(void) {
  for (int stage = 0; stage < STAGES; stage++)
    for (int mid_record = 0; mid_record < 2; mid_record++) {
      section(textf("cut %s%s", stages[stage], mid_record ? ", in the middle of a record" : ""));
      size_t before = SEEN(h, REQUEST), halves = SEEN(h, HALF_CLOSED);
      peer *p = connected();
      encke_id id = reach(p, stage);
      QUIESCE();
      if (mid_record) {
        p->held = 1;
        peer_send(p, "0123456789");
        CHECK(p->out_n > 10);
        p->out_n -= 8;
        p->held = 0;
      }
      peer_cut(p);
      is_aborted(id, ENCKE_END_PEER);
      UNTIL(p->eof);
      peer_close(p);
      nobody_left();
      CHECK_EQ(SEEN(h, REQUEST), before + (id != 0) + (stage == IDLE));
      CHECK_EQ(SEEN(h, HALF_CLOSED), halves); /* it is no half-close */
    }
  section("cut in the middle of the handshake");
  for (int i = 0; i < 3; i++) {
    unsigned char bytes[4096];
    size_t n = tls_hello(&(client){.version = version}, bytes, sizeof bytes);
    peer *p = peer_tcp(port);
    peer_send_n(p, bytes, i == 0 ? 1 : i == 1 ? n / 2 : n);
    QUIESCE();
    peer_fin(p);
    UNTIL(p->eof);
    peer_close(p);
    nobody_left();
  }
}

/* ---- what is broken ------------------------------------------------------------------------------------------------------ */

/* alert 0: any, implementations differ */
static void broken(const char *name, int stage, const void *bytes, size_t n, int alert) {
  section(textf("%s, %s", stages[stage], name));
  size_t before = SEEN(h, REQUEST);
  peer *p = connected();
  encke_id id = reach(p, stage);
  QUIESCE();
  if (bytes) {
    peer_inject(p, bytes, n);
  } else { /* a true record with one bit changed */
    p->held = 1;
    peer_send(p, GET);
    p->out[p->out_n - 1] ^= 1;
    p->held = 0;
    peer_pump(p);
  }
  is_aborted(id, ENCKE_END_PROTOCOL);
  UNTIL(p->eof);
  CHECK(alert ? tls_alert(p) == alert : tls_alert(p) > 0);
  CHECK_EQ(SEEN(h, REQUEST), before + (id != 0) + (stage == IDLE));
  peer_close(p);
  nobody_left();
}

static void garbage(void) {
  static const unsigned char long_record[] = {0x17, 3, 3, 0x60, 0}, unknown[] = {0x63, 3, 3, 0, 1, 0};
  for (int stage = 0; stage < STAGES; stage++) {
    broken("a changed bit", stage, NULL, 0, ALERT_BAD_RECORD_MAC);
    broken("a record that is too long", stage, long_record, sizeof long_record, 0);
    broken("a record of no type", stage, unknown, sizeof unknown, 0);
    broken("plain HTTP", stage, GET, strlen(GET), 0);
  }
}

static void alerts_of_clients(void) {
  static const unsigned char fatal[] = {0x15, 3, 3, 0, 2, 2, 48};
  section("a client that refuses the certificate");
  size_t before = SEEN(h, REQUEST);
  unsigned char bytes[4096];
  size_t n = tls_hello(&(client){.version = version}, bytes, sizeof bytes);
  peer *p = peer_tcp(port);
  peer_send_n(p, bytes, n);
  UNTIL(p->n > 0);
  peer_send_n(p, fatal, sizeof fatal);
  UNTIL(p->eof);
  peer_close(p);
  nobody_left();
  CHECK_EQ(SEEN(h, REQUEST), before);
}

int main(void) {
  h = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_HALF_CLOSED)}, {ENCKE_OPT_BUFFER_BODY, 8});
  tls = tls_with(CERT(.names = "server.test"));
  port = host_listen_tls(h, tls);
  encke_tls_free(tls);
  for (version = 12; version <= 13; version++) {
    announced();
    truncated();
    garbage();
    alerts_of_clients();
  }
  nobody_left();
  host_close(h);
  return check_end();
}
