/*
 * tls_one_fd.c - the one fd while TLS has its part. The rule: it is readable whenever encke_run or encke_next would do or
 * return something, and silent otherwise: between the flights of a handshake, over half a record, over a full socket.
 */
#include "tls.h"

#include <poll.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static int port, version;

static void section(const char *name) { SECTION(textf("TLS 1.%d: %s", version - 10, name)); }

static void expect_readable(const char *after) {
  moment until = deadline();
  while (!host_readable(h, 100))
    if (now_ms() > until) check_fail(__FILE__, __LINE__, "the fd is silent after: %s", after);
}

/* The whole loop, as often as the fd asks for it; then it is silent, and neither call has anything. */
static void until_silent(const char *after) {
  encke_event ev;
  for (int i = 0; host_readable(h, 0); i++) {
    if (i > 1000) check_fail(__FILE__, __LINE__, "the fd stays readable after: %s", after);
    host_loop(h);
  }
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), 0);
  CHECK_RC(encke_run(h->e, 0), 0);
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), 0);
  CHECK(!host_readable(h, 0));
}

/* Whatever the client did is seen, dealt with, and over. */
static void dealt_with(const char *what) {
  expect_readable(what);
  until_silent(what);
}

/* The client hears what is on its way. */
static void hears(peer *p) {
  struct pollfd x = {.fd = p->fd, .events = POLLIN};
  CHECK(poll(&x, 1, 10000) == 1);
  peer_pump(p);
}

/* Sends a part of what the client holds back. */
static void lets_go(peer *p, size_t n) {
  size_t all = p->out_n;
  CHECK(p->held && p->out_at == 0 && n <= all);
  p->out_n = n;
  p->held = 0;
  char *rest = need(malloc(all - n + 1));
  memcpy(rest, p->out + n, all - n);
  peer_pump(p);
  CHECK(p->out_n == 0);
  p->held = 1;
  p->out = need(realloc(p->out, all - n + 1));
  memcpy(p->out, rest, all - n);
  p->out_n = all - n;
  free(rest);
}

/* Its connection ends, for which the fd asks as often as it takes. */
static void leaves(peer *p) {
  moment until = deadline();
  for (; !p->eof; peer_pump(p)) {
    if (host_readable(h, 20)) host_loop(h);
    CHECK(now_ms() < until);
  }
  peer_close(p);
  while (host_stats(h).connections > 0) {
    if (host_readable(h, 20)) host_loop(h);
    CHECK(now_ms() < until);
  }
  until_silent("the end");
}

static peer *handshake(void) {
  section("each flight of a handshake");
  peer *p = TLS(port, .version = version, .held = 1);
  dealt_with("a connection");
  peer_pump(p);
  CHECK(p->out_n > 100);
  lets_go(p, 1);
  dealt_with("the first byte of a hello");
  lets_go(p, p->out_n / 2);
  dealt_with("half a hello");
  lets_go(p, p->out_n);
  dealt_with("a hello");
  hears(p);
  CHECK(p->out_n > 0);
  CHECK_EQ(tls_established(p), version == 13);
  lets_go(p, p->out_n - 1);
  dealt_with("the client's last flight but a byte");
  lets_go(p, 1);
  dealt_with("the end of a handshake");
  if (version == 12) hears(p); /* in 1.3 the ticket goes with the first answer */
  CHECK(tls_established(p));
  CHECK_EQ(SEEN(h, REQUEST) + SEEN(h, DONE), 0);
  return p;
}

static void requests(peer *p) {
  section("half a record, the rest, several records");
  peer_send(p, GET);
  lets_go(p, 20);
  dealt_with("half a record");
  lets_go(p, p->out_n - 1);
  dealt_with("all of it but a byte");
  CHECK_EQ(SEEN(h, REQUEST), 0);
  lets_go(p, 1);
  dealt_with("the last byte");
  CHECK_EQ(SEEN(h, REQUEST), 1);
  size_t whole = p->out_n;
  peer_send(p, GET), peer_send(p, "GET / HTTP/1.1\r\nHos");
  CHECK(p->out_n > whole);
  lets_go(p, p->out_n);
  dealt_with("one request and a half in two records");
  CHECK_EQ(SEEN(h, REQUEST), 2);
  peer_send(p, "t: a\r\n\r\n");
  lets_go(p, p->out_n);
  dealt_with("the other half");
  CHECK_EQ(SEEN(h, REQUEST), 3);
  for (size_t i = 0; i < 3; i++) answer(h, request_id(h, i), "x");
  until_silent("answers");
  while (peer_finals(p) < 3) hears(p);
  until_silent("answers that were read");
}

static void ends(peer *p) {
  section("close_notify");
  p->held = 0;
  peer_notify(p);
  dealt_with("close_notify");
  while (!p->eof) hears(p);
  CHECK(tls_closed(p));
  leaves(p);
}

static void with_a_request(void) {
  section("the request comes with the last flight");
  size_t before = SEEN(h, REQUEST);
  peer *p = TLS(port, .version = version);
  peer_send(p, GET);
  for (moment until = deadline(); SEEN(h, REQUEST) == before; peer_pump(p)) {
    if (host_readable(h, 10)) host_loop(h);
    CHECK(now_ms() < until);
  }
  until_silent("a request");
  answer(h, request_id(h, before), "x");
  until_silent("an answer");
  while (peer_finals(p) < 1) hears(p);
  peer_rst(p);
  dealt_with("a reset");
}

static void many(void) {
  enum { n = 30 };
  section("many handshakes: while some wait for their step it is readable");
  peer *p[n];
  for (int i = 0; i < n; i++) p[i] = TLS(port, .version = version);
  size_t established = 0;
  for (moment until = deadline(); established < n;) { /* one run each time that the fd says so, never another */
    encke_event ev;
    if (host_readable(h, 20)) {
      CHECK(encke_run(h->e, 0) >= 0);
      while (encke_next(h->e, &ev, sizeof ev) > 0) host_record(h, &ev);
    }
    established = 0;
    for (int i = 0; i < n; i++) {
      peer_pump(p[i]);
      established += (size_t)(tls_established(p[i]) && peer_sent(p[i]));
    }
    CHECK(now_ms() < until);
  }
  until_silent("many handshakes");
  for (int i = 0; i < n; i++) {
    peer_notify(p[i]);
    if (i + 1 < n) peer_close(p[i]);
  }
  leaves(p[n - 1]);
}

static void full(void) {
  enum { size = 8 << 20 };
  section("a full socket: silent until there is room");
  char *big = pattern(size, 1);
  size_t before = SEEN(h, REQUEST);
  peer *p = TLS(port, .version = version, .small = 1);
  encke_id id = ask(h, p, GET);
  CHECK_EQ(SEEN(h, REQUEST), before + 1);
  CHECK_OK(encke_reply(h->s, id, 200, "text/plain", big, size));
  until_silent("a socket that is full");
  CHECK_EQ(host_count(h, ENCKE_EV_DONE, id), 0);
  UNTIL(peer_finals(p) == 1);
  CHECK_BYTES(peer_nth(p, 0)->body, peer_nth(p, 0)->len, big, (size_t)size);
  peer_close(p);
  UNTIL(host_stats(h).connections == 0);
  until_silent("a large answer");
  free(big);
}

static void failures(void) {
  section("handshakes that fail");
  peer *p = peer_tcp(port);
  dealt_with("a connection");
  peer_send_n(p, "\x16\x03\x01\0\x05\x01\0\0\x01\xff", 10);
  dealt_with("junk");
  leaves(p);
  p = peer_tcp(port);
  dealt_with("a connection");
  peer_send(p, GET);
  dealt_with("plain HTTP");
  while (!p->eof) hears(p);
  CHECK_EQ(peer_nth(p, 0)->status, 400);
  leaves(p);
}

static void times_out(void) {
  section("a handshake that is too slow");
  host *saved = h;
  int saved_port = port;
  h = HOST({ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, 100});
  encke_tls *tls = tls_with(CERT(.names = "server.test"));
  port = host_listen_tls(h, tls);
  encke_tls_free(tls);
  peer *p = peer_tcp(port);
  dealt_with("a connection");
  CHECK_EQ(host_stats(h).connections, 1);
  dealt_with("the time-out");
  while (!p->eof) hears(p);
  CHECK_EQ(host_stats(h).connections, 0);
  peer_close(p);
  host_close(h);
  h = saved, port = saved_port;
}

int main(void) {
  for (version = 12; version <= 13; version++) {
    h = HOST_PLAIN();
    encke_fd_t fd = encke_fd(h->e);
    encke_tls *tls = tls_with(CERT(.names = "server.test"));
    port = host_listen_tls(h, tls);
    encke_tls_free(tls);
    until_silent("nothing");
    peer *p = handshake();
    requests(p);
    ends(p);
    with_a_request();
    many();
    full();
    failures();
    times_out();
    CHECK(encke_fd(h->e) == fd);
    host_close(h);
  }
  return check_end();
}
