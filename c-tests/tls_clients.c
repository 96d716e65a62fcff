/*
 * tls_clients.c - certificates of clients: off, optional, required. The rule: what clients must show is what the handshake
 * asks for from then on; who shows what cannot be verified gets an alert and is never a request.
 */
#include "tls.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static encke_tls *tls;
static int port;
static const cert *server, *ca, *second_ca, *foreign_ca, *forger, *good, *foreign, *forged, *expired, *self;

static void mode(uint64_t value) { CHECK_OK(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, value)); }

static void fresh_set(const char *name) {
  SECTION(name);
  encke_tls_free(tls);
  tls = tls_with(server);
  port = host_listen_tls(h, tls);
}

static size_t certificate_size(encke_id id) {
  unsigned char der[4096];
  size_t n = 0;
  CHECK_OK(encke_info(h->e, id, ENCKE_INFO_CLIENT_CERT, der, sizeof der, &n));
  return n;
}

/* Both versions get in with that certificate, and `told` is what the host hears of it. */
static void gets_in(const cert *mine, const cert *told) {
  for (int version = 12; version <= 13; version++) {
    size_t want = 0;
    peer *p = TLS(port, .version = version, .mine = mine);
    encke_id id = ask(h, p, GET);
    if (told) (void)cert_der(told, &want);
    CHECK_EQ(certificate_size(id), want);
    answer(h, id, "in");
    UNTIL(peer_finals(p) == 1);
    peer_close(p);
  }
}

/* Neither does; what 1.3 is told is the more exact. */
static void stays_out(const cert *mine, int alert) {
  size_t before = SEEN(h, REQUEST);
  for (int version = 12; version <= 13; version++) {
    peer *p = TLS(port, .version = version, .mine = mine);
    peer_send(p, GET); /* a client of 1.3 speaks before it hears of the refusal */
    refused(p);
    CHECK(tls_alert(p) > 0);
    if (version == 13 || alert != ALERT_CERTIFICATE_REQUIRED) CHECK_EQ(tls_alert(p), alert);
    peer_close(p);
  }
  UNTIL(host_stats(h).connections == 0);
  CHECK_EQ(SEEN(h, REQUEST), before);
}

int main(void) {
  h = HOST_PLAIN();
  server = CERT(.names = "server.test");
  ca = CERT(.names = "authority", .authority = 1);
  second_ca = CERT(.names = "another-authority", .authority = 1, .kind = "P-384");
  foreign_ca = CERT(.names = "foreign-authority", .authority = 1);
  forger = CERT(.names = "authority", .authority = 1); /* the name alone does not do */
  good = CERT(.names = "good.test", .by = ca);
  foreign = CERT(.names = "foreign.test", .by = foreign_ca);
  forged = CERT(.names = "forged.test", .by = forger);
  expired = CERT(.names = "expired.test", .by = ca, .when = -1);
  self = CERT(.names = "self.test");

  fresh_set("no roots: clients are not asked");
  gets_in(NULL, NULL);
  gets_in(good, NULL);
  mode(ENCKE_CLIENT_CERT_OFF);
  gets_in(self, NULL);

  fresh_set("roots: a certificate is required");
  CHECK_OK(tls_add_roots(tls, ca));
  gets_in(good, good);
  stays_out(NULL, ALERT_CERTIFICATE_REQUIRED);
  stays_out(foreign, ALERT_UNKNOWN_CA);
  stays_out(forged, ALERT_DECRYPT_ERROR);
  stays_out(self, ALERT_UNKNOWN_CA);
  stays_out(expired, ALERT_CERTIFICATE_EXPIRED);
  SECTION("more roots");
  const cert *of_second = CERT(.names = "second.test", .by = second_ca, .kind = "ED25519");
  stays_out(of_second, ALERT_UNKNOWN_CA);
  CHECK_OK(tls_add_roots(tls, second_ca));
  gets_in(of_second, of_second);
  gets_in(good, good);

  SECTION("optional");
  mode(ENCKE_CLIENT_CERT_OPTIONAL);
  gets_in(good, good);
  gets_in(NULL, NULL);
  stays_out(foreign, ALERT_UNKNOWN_CA);
  stays_out(expired, ALERT_CERTIFICATE_EXPIRED);

  SECTION("off, though there are roots");
  mode(ENCKE_CLIENT_CERT_OFF);
  gets_in(good, NULL);
  gets_in(NULL, NULL);
  gets_in(foreign, NULL);

  SECTION("and on again");
  mode(ENCKE_CLIENT_CERT_REQUIRED);
  gets_in(good, good);
  stays_out(NULL, ALERT_CERTIFICATE_REQUIRED);

  SECTION("a value that is none changes nothing");
  CHECK_RC(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, 17), ENCKE_E_INVAL);
  stays_out(NULL, ALERT_CERTIFICATE_REQUIRED);

  fresh_set("optional before there are roots");
  mode(ENCKE_CLIENT_CERT_OPTIONAL);
  gets_in(NULL, NULL);
  stays_out(good, ALERT_UNKNOWN_CA);
  CHECK_OK(tls_add_roots(tls, ca));
  gets_in(NULL, NULL); /* what was said before holds */
  gets_in(good, good);

  fresh_set("required before there are roots: nobody");
  mode(ENCKE_CLIENT_CERT_REQUIRED);
  stays_out(NULL, ALERT_CERTIFICATE_REQUIRED);
  stays_out(good, ALERT_UNKNOWN_CA);
  CHECK_OK(tls_add_roots(tls, ca));
  gets_in(good, good);

  SECTION("an issuer between the roots and the client");
  const cert *middle = CERT(.names = "middle", .by = ca, .authority = 1);
  const cert *under = CERT(.names = "under.test", .by = middle);
  stays_out(under, ALERT_UNKNOWN_CA); /* it does not show who issued it */
  CHECK_OK(tls_add_roots(tls, middle));
  gets_in(under, under);

  UNTIL(host_all_done(h));
  encke_tls_free(tls);
  host_close(h);
  return check_end();
}
