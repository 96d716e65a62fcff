/*
 * tls_plain.c - the one protocol at the port of the other. The rule: who speaks plain HTTP to a TLS port reads a 400 in plain
 * text that says so, and TLS at a plain port is a 400 too; neither becomes a request, and both ports serve on.
 */
#include "tls.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static int port;

static void is_told(peer *p) {
  UNTIL(p->eof);
  CHECK(!p->reset);
  CHECK_EQ(peer_all(p), 1);
  response *r = peer_nth(p, 0);
  CHECK_EQ(r->status, 400);
  CHECK(response_field(r, "connection") && strcmp(response_field(r, "connection"), "close") == 0);
  CHECK(response_field(r, "content-type") && strncmp(response_field(r, "content-type"), "text/plain", 10) == 0);
  CHECK(!r->truncated && strstr(r->body, "https://"));
  size_t n;
  (void)peer_raw(p, &n);
  CHECK_EQ(n, 0);
  peer_close(p);
}

static void at_a_tls_port(void) {
  static const char *const texts[] = {
      GET, GET GET GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "GET / HTTP/1.0\r\n\r\n", "get", "G",
      "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-OpenSSH\r\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    for (int fin = 0; fin < 2; fin++) {
      SECTION(textf("%s to a TLS port%s", texts[i], fin ? ", and FIN" : ""));
      uint64_t refusals = host_stats(h).refused;
      peer *p = peer_tcp(port);
      peer_send(p, texts[i]);
      if (fin) peer_fin(p);
      is_told(p);
      UNTIL(host_stats(h).connections == 1);
      CHECK_EQ(host_stats(h).refused, refusals + 1);
    }
  SECTION("byte by byte to a TLS port");
  peer *p = peer_tcp(port);
  p->drip = 1;
  peer_send(p, GET);
  is_told(p);

  SECTION("much of it to a TLS port");
  char *much = pattern(1 << 20, 1);
  memcpy(much, "POST ", 5);
  p = peer_tcp(port);
  peer_send_n(p, much, 1 << 20);
  UNTIL(p->eof);
  if (!p->reset) CHECK_EQ(peer_nth(p, 0)->status, 400);
  peer_close(p);
  free(much);

  SECTION("200 of them");
  peer *many[200];
  for (size_t i = 0; i < 200; i++) {
    many[i] = peer_tcp(port);
    peer_send(many[i], GET);
  }
  for (size_t i = 0; i < 200; i++) is_told(many[i]);
}

/* What is neither gets an alert at the most: no word of HTTP. */
static void neither(void) {
  static const struct { const char *bytes; size_t n; } junk[] = {
      {"\r\nGET / HTTP/1.1\r\n\r\n", 20}, {"\0\0\0\0\0\0\0\0", 8}, {"\x16\x03\x01\xff\xff\x01", 6}, {"\x16\x03\x01\0\x04\x02\0\0\0", 9},
      {"\x80\x2e\x01\x03\x01\0\x15", 7}, {"1234567890", 10}, {"\xff", 1}, {"\x15\x03\x03\0\x02\x02\x28", 7}, {"\x17\x03\x03\0\x01x", 6},
  };
  for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
    SECTION(textf("junk %zu to a TLS port", i));
    peer *p = peer_tcp(port);
    peer_send_n(p, junk[i].bytes, junk[i].n);
    peer_fin(p);
    UNTIL(p->eof);
    if (p->n) CHECK_EQ(p->in[0], 0x15);
    CHECK(p->n <= 7);
    peer_close(p);
  }
}

static void at_a_plain_port(void) {
  int plain = host_listen(h);
  for (int version = 12; version <= 13; version++) {
    SECTION(textf("TLS 1.%d to a plain port", version - 10));
    unsigned char hello[4096];
    size_t n = tls_hello(&(client){.version = version}, hello, sizeof hello);
    peer *p = peer_tcp(plain);
    peer_send_n(p, hello, n);
    UNTIL(p->eof);
    CHECK_EQ(peer_finals(p), 1);
    CHECK_EQ(peer_nth(p, 0)->status, 400);
    peer_close(p);
    p = TLS(plain, .version = version); /* and a client of TLS sees that it is none */
    refused(p);
    peer_close(p);
  }
  peer *p = peer_tcp(plain);
  answer(h, ask(h, p, GET), "plain");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
}

int main(void) {
  h = HOST_PLAIN();
  encke_tls *tls = tls_with(CERT(.names = "server.test"));
  port = host_listen_tls(h, tls);
  encke_tls_free(tls);
  peer *all_along = TLS(port);
  served(h, all_along);
  at_a_tls_port();
  neither();
  at_a_plain_port();
  CHECK_EQ(SEEN(h, REQUEST), 2);
  SECTION("and both ports serve on");
  served(h, all_along);
  peer_close(all_along);
  peer *p = TLS(port);
  served(h, p);
  peer_close(p);
  UNTIL(host_all_done(h) && host_stats(h).connections == 0);
  host_close(h);
  return check_end();
}
