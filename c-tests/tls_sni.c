/*
 * tls_sni.c - which of several certificates a client gets. The rule: the one that has the name it asks for, exactly before by
 * wildcard; of several the first that it can check; otherwise the first one added.
 */
#include "tls.h"

static host *h;
static int port;
static const cert *first, *second, *wild, *exact, *rsa;

static void gets(const char *name, const cert *expected) {
  for (int version = 12; version <= 13; version++) {
    SECTION(textf("TLS 1.%d asks for %s", version - 10, name ? name : "nothing"));
    peer *p = TLS(port, .version = version, .name = name);
    served(h, p);
    CHECK(tls_shown(p, expected));
    peer_close(p);
  }
}

/* A client that can check one kind of signature only. */
static void gets_by(const char *name, int version, const char *signatures, const cert *expected) {
  SECTION(textf("TLS 1.%d asks for %s and checks %s", version - 10, name, signatures));
  peer *p = TLS(port, .version = version, .name = name, .signatures = signatures);
  if (expected) {
    served(h, p);
    CHECK(tls_shown(p, expected));
  } else {
    refused(p);
    CHECK(tls_alert(p) > 0);
  }
  peer_close(p);
}

int main(void) {
  h = HOST_PLAIN();
  first = CERT(.names = "first.test also-first.test");
  wild = CERT(.names = "*.wild.test");
  exact = CERT(.names = "exact.wild.test second.test"); /* behind the wildcard */
  second = CERT(.names = "second.test");                /* behind one that has the name too */
  rsa = CERT(.names = "first.test only-rsa.test", .kind = "RSA");
  encke_tls *tls = tls_with(first);
  CHECK_OK(tls_add(tls, wild));
  CHECK_OK(tls_add(tls, exact));
  CHECK_OK(tls_add(tls, second));
  CHECK_OK(tls_add(tls, rsa));
  port = host_listen_tls(h, tls);
  encke_tls_free(tls);

  gets("first.test", first);
  gets("also-first.test", first);
  gets("second.test", exact);      /* both have it: the first one added */
  gets("any.wild.test", wild);
  gets("exact.wild.test", exact);
  gets("two.labels.wild.test", first); /* "*" is one label */
  gets("wild.test", first);
  gets("SECOND.test", exact);      /* names know no case */
  gets("Any.Wild.TEST", wild);
  gets("nobody.test", first);
  gets("test", first);
  gets(NULL, first);

  gets_by("first.test", 13, "rsa_pss_rsae_sha256", rsa);
  gets_by("first.test", 12, "rsa_pss_rsae_sha256", rsa);
  gets_by("first.test", 13, "ECDSA+SHA256", first);
  gets_by("only-rsa.test", 13, "rsa_pss_rsae_sha256", rsa);
  gets_by("nobody.test", 13, "rsa_pss_rsae_sha256", rsa); /* the first that it can check */
  gets_by("first.test", 13, "ed25519", NULL);

  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
