/*
 * tls_certificates.c - every function of section 9 of encke.h. The rule: what cannot be used is ENCKE_E_TLS with a text that
 * says which part of it and why, and changes nothing; what can be used counts for the next handshake.
 */
#include "tls.h"

#include <sys/socket.h>
#include <unistd.h>

static host *h;
static const cert *ca, *good, *other;

/* Without a NUL behind it, and where a sanitizer sees a byte too far. */
static int add(encke_tls *tls, const char *chain, const char *key) {
  size_t n = strlen(chain), m = key ? strlen(key) : 0;
  char *exact_chain = need(malloc(n + !n)), *exact_key = key ? need(malloc(m + !m)) : NULL;
  memcpy(exact_chain, chain, n);
  if (key) memcpy(exact_key, key, m);
  int rc = encke_tls_add(tls, exact_chain, n, exact_key, m);
  memset(exact_chain, 'x', n); /* it was copied */
  free(exact_chain);
  free(exact_key);
  return rc;
}

static void nulls(void) {
  SECTION("NULL and numbers that are nothing");
  encke_tls *tls = need(encke_tls_new());
  const char *pem = cert_pem(good), *key = cert_key(good);
  CHECK_RC(encke_tls_add(NULL, pem, strlen(pem), key, strlen(key)), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_add(tls, NULL, 0, key, strlen(key)), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_add(tls, NULL, 0, NULL, 0), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_set(NULL, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_OFF), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, 3), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, UINT64_MAX), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_set(tls, 0, 0), ENCKE_E_NOTSUP);
  CHECK_RC(encke_tls_set(tls, 4711, 0), ENCKE_E_NOTSUP);
  CHECK_RC(encke_tls_swap(NULL, tls), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_swap(tls, NULL), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_swap(NULL, NULL), ENCKE_E_INVAL);
  CHECK_RC(encke_tls_swap(tls, tls), ENCKE_E_INVAL);
  encke_tls_free(NULL);
  encke_tls_free(tls);
  CHECK_EQ(encke_has_feature("tls"), 1);
}

static void empty_sets(void) {
  SECTION("a set without a certificate is not listened with");
  encke_tls *tls = need(encke_tls_new());
  encke_id id = 7;
  int pair[2];
  CHECK_RC(encke_listen(h->e, "127.0.0.1:0", tls, &id), ENCKE_E_TLS);
  CHECK_OK(tls_add_roots(tls, ca)); /* no certificate of the server's own */
  CHECK_RC(encke_listen(h->e, "127.0.0.1:0", tls, &id), ENCKE_E_TLS);
  CHECK(encke_last_error()[0] != 0);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  CHECK_RC(encke_adopt(h->e, pair[0], tls, &id), ENCKE_E_TLS);
  CHECK(fd_open(pair[0])); /* still the host's */
  close(pair[0]), close(pair[1]);
  encke_tls_free(tls);
}

/* ---- what cannot be used -------------------------------------------------------------------------------------------------- */

static void unusable(encke_tls *serving, int port, const char *chain, const char *key, const char *which, const char *why) {
  encke_tls *empty = need(encke_tls_new());
  encke_id id = 0;
  for (int i = 0; i < 2; i++) {
    CHECK_RC(add(i ? serving : empty, chain, key), ENCKE_E_TLS);
    const char *said = encke_last_error();
    if (strncmp(said, which, strlen(which)) != 0 || !strcasestr(said, why))
      check_fail(__FILE__, __LINE__, "it says \"%s\" and not what is wrong: %s, %s", said, which, why);
  }
  CHECK_RC(encke_listen(h->e, "127.0.0.1:0", empty, &id), ENCKE_E_TLS); /* nothing was taken */
  CHECK_OK(tls_add(empty, good));                                       /* and nothing is spoilt */
  encke_tls_free(empty);
  peer *p = TLS(port, .name = "good.test"); /* and the other set serves as before */
  served(h, p);
  CHECK(tls_shown(p, good));
  peer_close(p);
}

static void what_cannot_be_used(void) {
  encke_tls *serving = tls_with(good);
  int port = host_listen_tls(h, serving);
  const char *chain = cert_pem(good), *key = cert_key(good);
  const cert *rsa = CERT(.names = "rsa.test", .kind = "RSA"), *curve = CERT(.names = "curve.test", .kind = "secp256k1");
  char *cut = need(strdup(chain)), *spoilt = need(strdup(chain)), *cut_key = need(strdup(key));
  cut[strlen(cut) / 2] = 0;
  memset(strchr(spoilt, '\n') + 10, '!', 10);
  cut_key[strlen(cut_key) / 2] = 0;
  /* A certificate whose contents are not one: the base64 of another one's middle. */
  const char *junk = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
  struct { const char *name, *chain, *key, *which, *why; } bad[] = {
      {"an empty chain", "", key, "chain", "empty"},
      {"text", "hello\n", key, "chain", "PEM"},
      {"DER", "0\202\001\001", key, "chain", "DER"},
      {"half a chain", cut, key, "chain", "END"},
      {"a spoilt chain", spoilt, key, "chain", "base64"},
      {"no certificate inside", junk, key, "chain", "certificate 1"},
      {"the second is none", cert_joined(chain, junk), key, "chain", "certificate 2"},
      {"a wrong order", cert_joined(cert_pem(ca), chain), key, "chain", "not issued"},
      {"a stranger in the chain", cert_joined(chain, cert_pem(other)), key, "chain", "certificate 1"},
      {"expired", cert_pem(CERT(.names = "old.test", .when = -1)), key, "chain", "expired on 2010-01-01"},
      {"X.509 version 1", cert_pem(CERT(.names = "one.test", .old = 1)), key, "chain", "version 1"},
      {"an empty key", chain, "", "key", "empty"},
      {"a key that is text", chain, "hello\n", "key", "PEM"},
      {"half a key", chain, cut_key, "key", "END"},
      {"an encrypted key", chain, cert_key_locked(good), "key", "encrypted"},
      {"an encrypted key of the old kind", chain, cert_key_locked_old(good), "key", "encrypted"},
      {"another's key", chain, cert_key(other), "key", "certificate 1"},
      {"another's key of another kind", chain, cert_key(rsa), "key", "certificate 1"},
      {"a curve that nobody uses", cert_pem(curve), cert_key(curve), "key", "secp256k1"},
      {"two keys", chain, cert_joined(key, cert_key(other)), "key", "2 keys"},
      {"a certificate for a key", chain, chain, "key", "certificate"},
      {"a key for a certificate", key, key, "chain", "PRIVATE KEY"},
      {"one for the other", key, chain, "chain and key", "swapped"},
      {"empty roots", "", NULL, "roots", "empty"},
      {"roots that are a key", key, NULL, "roots", "PRIVATE KEY"},
      {"roots that are junk", cert_joined(cert_pem(ca), junk), NULL, "roots", "certificate 2"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    SECTION(bad[i].name);
    unusable(serving, port, bad[i].chain, bad[i].key, bad[i].which, bad[i].why);
  }
  free(cut), free(spoilt), free(cut_key);
  encke_tls_free(serving);
}

/* ---- what can ------------------------------------------------------------------------------------------------------------- */

static void one_serves(const cert *c, const char *chain, const char *key) {
  encke_tls *tls = need(encke_tls_new());
  CHECK_OK(add(tls, chain, key));
  int port = host_listen_tls(h, tls);
  encke_tls_free(tls); /* the listener has its own reference */
  for (int version = 12; version <= 13; version++) {
    peer *p = TLS(port, .version = version);
    served(h, p);
    CHECK(tls_shown(p, c));
    peer_close(p);
  }
}

static void what_can_be_used(void) {
  static const char *const kinds[] = {"P-256", "P-384", "ED25519", "RSA"};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    SECTION(kinds[i]);
    const cert *c = CERT(.names = "kind.test", .kind = kinds[i]);
    one_serves(c, cert_pem(c), cert_key(c));
    if (strcmp(kinds[i], "ED25519") != 0) one_serves(c, cert_pem(c), cert_key_named(c));
  }
  SECTION("a chain with those that issued it");
  const cert *middle = CERT(.names = "middle", .by = ca, .authority = 1), *leaf = CERT(.names = "leaf.test", .by = middle);
  one_serves(leaf, cert_joined(cert_pem(leaf), cert_joined(cert_pem(middle), cert_pem(ca))), cert_key(leaf));
  SECTION("words around it, and both in one file");
  const char *both = cert_joined("Issuer: nobody\n\n", cert_joined(cert_key(good), cert_pem(good)));
  one_serves(good, both, both);
  SECTION("not valid yet: the clock may be wrong");
  const cert *early = CERT(.names = "early.test", .when = 1);
  one_serves(early, cert_pem(early), cert_key(early));
}

/* ---- while they serve ------------------------------------------------------------------------------------------------------ */

static const cert *shown(int port, const char *name) {
  peer *p = TLS(port, .name = name);
  served(h, p);
  const cert *c = tls_shown(p, good) ? good : tls_shown(p, other) ? other : NULL;
  peer_close(p);
  return c;
}

static void added_while_serving(void) {
  SECTION("added while it serves: new handshakes see it");
  encke_tls *tls = tls_with(good);
  int port = host_listen_tls(h, tls), second = host_listen_tls(h, tls);
  peer *before = TLS(port, .name = "other.test");
  served(h, before);
  CHECK(tls_shown(before, good));
  CHECK_OK(tls_add(tls, other));
  CHECK(shown(port, "other.test") == other);
  CHECK(shown(second, "other.test") == other); /* one set, two listeners */
  CHECK(shown(port, "good.test") == good && shown(port, NULL) == good);
  CHECK_OK(tls_add_roots(tls, ca));
  peer *p = TLS(port);
  refused(p);
  peer_close(p);
  CHECK_OK(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_OFF));
  CHECK(shown(port, NULL) == good);
  served(h, before); /* through all of this */
  encke_tls_free(tls);
  CHECK(shown(port, "other.test") == other); /* and when the host's reference is gone */
  served(h, before);
  peer_close(before);
}

static void swapped(void) {
  SECTION("swapped: live has everything of fresh, fresh is empty");
  encke_tls *live = tls_with(good), *fresh = tls_with(other);
  encke_id id = 0;
  int port = host_listen_tls(h, live);
  peer *before = TLS(port);
  served(h, before);
  CHECK_OK(encke_tls_swap(live, fresh));
  CHECK(shown(port, "good.test") == other); /* the old one is gone */
  CHECK_RC(encke_listen(h->e, "127.0.0.1:0", fresh, &id), ENCKE_E_TLS);
  SECTION("an empty fresh set changes nothing");
  CHECK_RC(encke_tls_swap(live, fresh), ENCKE_E_INVAL);
  CHECK_OK(tls_add_roots(fresh, ca));
  CHECK_RC(encke_tls_swap(live, fresh), ENCKE_E_INVAL); /* roots alone are none */
  CHECK_RC(encke_tls_swap(live, live), ENCKE_E_INVAL);
  CHECK(shown(port, "good.test") == other);
  SECTION("what clients must show is swapped too");
  CHECK_OK(tls_add(fresh, good));
  CHECK_OK(encke_tls_swap(live, fresh));
  peer *p = TLS(port);
  refused(p);
  peer_close(p);
  CHECK_OK(tls_add(fresh, good)); /* without roots again */
  CHECK_OK(encke_tls_swap(live, fresh));
  CHECK(shown(port, NULL) == good);
  SECTION("into a set that had none");
  CHECK_OK(tls_add(fresh, other));
  encke_tls *first = need(encke_tls_new());
  CHECK_OK(encke_tls_swap(first, fresh));
  CHECK(shown(host_listen_tls(h, first), NULL) == other);
  served(h, before);
  CHECK(tls_shown(before, good));
  peer_close(before);
  encke_tls_free(first), encke_tls_free(live), encke_tls_free(fresh);
}

static void shared_by_enckes(void) {
  SECTION("one set, two enckes");
  encke_tls *tls = tls_with(good);
  host *first = h, *second = HOST_PLAIN();
  int port = host_listen_tls(first, tls), at_second = host_listen_tls(second, tls);
  CHECK(shown(port, NULL) == good);
  h = second;
  CHECK(shown(at_second, NULL) == good);
  h = first;
  encke_tls *fresh = tls_with(other);
  CHECK_OK(encke_tls_swap(tls, fresh));
  encke_tls_free(fresh), encke_tls_free(tls);
  CHECK(shown(port, NULL) == other);
  h = second;
  CHECK(shown(at_second, NULL) == other);
  UNTIL(host_all_done(second));
  host_close(second);
  h = first;
  CHECK(shown(port, NULL) == other);
}

int main(void) {
  h = HOST_PLAIN();
  ca = CERT(.names = "authority", .authority = 1);
  good = CERT(.names = "good.test"), other = CERT(.names = "other.test");
  nulls();
  empty_sets();
  what_cannot_be_used();
  what_can_be_used();
  added_while_serving();
  swapped();
  shared_by_enckes();
  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
