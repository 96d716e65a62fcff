/*
 * tls_host.c - the library's side of TLS tests: sets of certificates, and hosts that listen with them. The rule: with
 * ENCKE_TEST_TLS in the environment every host of the program listens with one set, which nothing changes.
 */
#include "layer.h"
#include "tls.h"

#include <pthread.h>

static encke_tls *shared;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_shared(void) { shared = tls_with(CERT(.names = "localhost")); }

encke_tls *host_tls(void) {
  if (!layer_wanted()) return NULL;
  pthread_once(&once, make_shared);
  return shared;
}

void tls_host_over(void) {
  encke_tls_free(shared);
  shared = NULL;
}

int tls_add(encke_tls *tls, const cert *c) {
  const char *chain = cert_pem(c), *key = cert_key(c);
  return encke_tls_add(tls, chain, strlen(chain), key, strlen(key));
}

int tls_add_roots(encke_tls *tls, const cert *c) {
  const char *roots = cert_pem(c);
  return encke_tls_add(tls, roots, strlen(roots), NULL, 0);
}

encke_tls *tls_with(const cert *c) {
  encke_tls *tls = need(encke_tls_new());
  CHECK_OK(tls_add(tls, c));
  return tls;
}

int host_listen_tls(host *h, encke_tls *tls) {
  encke_id listener = 0;
  CHECK_OK(encke_listen(h->e, "127.0.0.1:0", tls, &listener));
  return host_port(h, listener);
}

const char *host_info(host *h, encke_id id, int what) {
  char got[256];
  size_t n = 0;
  CHECK_OK(encke_info(h->e, id, what, got, sizeof got, &n));
  CHECK_EQ(n, strlen(got) + 1);
  return textf("%s", got);
}

encke_id ask(host *h, peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

void served(host *h, peer *p) {
  size_t before = peer_finals(p);
  encke_id id = ask(h, p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const char *body = textf("answer %zu", before);
  CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->flags & ENCKE_HEAD_TLS);
  answer(h, id, body);
  UNTIL(peer_finals(p) == before + 1);
  CHECK_TEXT(peer_nth(p, before)->body, body);
}

void refused(peer *p) {
  UNTIL(p->eof);
  CHECK(tls_alert(p) > 0 || tls_broken(p));
  CHECK_EQ(p->n, 0);
}
