/*
 * tls_resume.c - sessions that go on in another connection. The rule: a ticket of TLS 1.2 or 1.3 resumes with whoever shares
 * the set of certificates, across a renewal too, and never where clients must show something else than they did.
 */
#include "tls.h"

static host *h;
static int version;
static const cert *server, *renewed, *ca, *second_ca, *mine;

/* A full handshake, and its ticket. */
static ticket *begins(int port, const cert *shows) {
  peer *p = TLS(port, .version = version, .name = "server.test", .mine = shows);
  served(h, p);
  CHECK(!tls_resumed(p));
  ticket *t = tls_ticket(p);
  CHECK(t != NULL);
  peer_close(p);
  return t;
}

/* Whether a client with that ticket goes on where it was; it is served in any case. The ticket is over then. */
static int goes_on(int port, ticket *t, const cert *shows) {
  peer *p = TLS(port, .version = version, .name = "server.test", .resume = t, .mine = shows);
  served(h, p);
  int resumed = tls_resumed(p);
  CHECK_TEXT(tls_version(p), textf("TLSv1.%d", version - 10));
  served(h, p);
  peer_close(p);
  tls_ticket_free(t);
  return resumed;
}

static void again_and_again(void) {
  SECTION(textf("TLS 1.%d: each session begets the next", version - 10));
  encke_tls *tls = tls_with(server);
  int port = host_listen_tls(h, tls);
  ticket *t = begins(port, NULL);
  for (int i = 0; i < 5; i++) {
    peer *p = TLS(port, .version = version, .name = "server.test", .resume = t);
    served(h, p);
    CHECK(tls_resumed(p));
    tls_ticket_free(t);
    t = tls_ticket(p);
    CHECK(t != NULL);
    peer_close(p);
  }
  tls_ticket_free(t);
  encke_tls_free(tls);
}

static void across_a_swap(void) {
  SECTION(textf("TLS 1.%d: across a renewal", version - 10));
  encke_tls *tls = tls_with(server), *fresh = tls_with(renewed);
  int port = host_listen_tls(h, tls);
  ticket *t = begins(port, NULL);
  CHECK_OK(encke_tls_swap(tls, fresh));
  CHECK(goes_on(port, t, NULL));
  t = begins(port, NULL);
  CHECK_OK(tls_add(fresh, server));
  CHECK_OK(encke_tls_swap(tls, fresh));
  CHECK_OK(tls_add(tls, renewed));
  CHECK(goes_on(port, t, NULL));

  SECTION(textf("TLS 1.%d: not where clients must show more, by a swap", version - 10));
  t = begins(port, NULL);
  CHECK_OK(tls_add(fresh, server));
  CHECK_OK(tls_add_roots(fresh, ca));
  CHECK_OK(encke_tls_swap(tls, fresh));
  CHECK(!goes_on(port, t, mine));
  t = begins(port, mine);
  CHECK(goes_on(port, t, NULL)); /* it was verified when the session began */

  SECTION(textf("TLS 1.%d: not with other roots", version - 10));
  t = begins(port, mine);
  CHECK_OK(tls_add(fresh, server));
  CHECK_OK(tls_add_roots(fresh, second_ca));
  CHECK_OK(encke_tls_set(fresh, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_OPTIONAL));
  CHECK_OK(encke_tls_swap(tls, fresh));
  CHECK(!goes_on(port, t, NULL));

  SECTION(textf("TLS 1.%d: the same demands, swapped in: yes", version - 10));
  t = begins(port, NULL);
  CHECK_OK(tls_add_roots(fresh, second_ca));
  CHECK_OK(encke_tls_set(fresh, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_OPTIONAL));
  CHECK_OK(tls_add(fresh, renewed));
  CHECK_OK(encke_tls_swap(tls, fresh));
  CHECK(goes_on(port, t, NULL));
  encke_tls_free(fresh), encke_tls_free(tls);
}

static void across_a_change(void) {
  SECTION(textf("TLS 1.%d: across more certificates, not across another demand", version - 10));
  encke_tls *tls = tls_with(server);
  int port = host_listen_tls(h, tls);
  ticket *t = begins(port, NULL);
  CHECK_OK(tls_add(tls, renewed));
  CHECK(goes_on(port, t, NULL));
  t = begins(port, NULL);
  CHECK_OK(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_OPTIONAL));
  CHECK(!goes_on(port, t, NULL));
  t = begins(port, NULL);
  CHECK_OK(tls_add_roots(tls, ca));
  CHECK(!goes_on(port, t, NULL));
  t = begins(port, NULL);
  CHECK_OK(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_REQUIRED));
  CHECK(!goes_on(port, t, mine)); /* who showed nothing does not get in by a ticket */
  encke_tls_free(tls);
}

static void elsewhere(void) {
  SECTION(textf("TLS 1.%d: with another encke that shares the set, not with another set", version - 10));
  encke_tls *tls = tls_with(server), *another = tls_with(server);
  host *first = h, *second = HOST_PLAIN();
  int port = host_listen_tls(h, tls), at_second = host_listen_tls(second, tls), at_another = host_listen_tls(second, another);
  encke_tls_free(tls), encke_tls_free(another);
  ticket *t = begins(port, NULL), *u = begins(port, NULL);
  h = second;
  CHECK(goes_on(at_second, t, NULL));
  CHECK(!goes_on(at_another, u, NULL));
  UNTIL(host_all_done(second));
  host_close(second);
  h = first;
}

int main(void) {
  h = HOST_PLAIN();
  server = CERT(.names = "server.test"), renewed = CERT(.names = "server.test");
  ca = CERT(.names = "authority", .authority = 1), second_ca = CERT(.names = "second-authority", .authority = 1);
  mine = CERT(.names = "client.test", .by = ca);
  for (version = 12; version <= 13; version++) {
    again_and_again();
    across_a_swap();
    across_a_change();
    elsewhere();
  }
  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
