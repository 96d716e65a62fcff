/*
 * tls_without.c - a library that was built without TLS. The rule: section 9 is there, and every function of it says so.
 */
#include "check.h"

#include <sys/socket.h>
#include <unistd.h>

int main(void) {
  encke_id id = 0;
  int pair[2];
  host *h = HOST_PLAIN();
  CHECK_EQ(encke_has_feature("tls"), 0);
  encke_tls *tls = encke_tls_new(), *fresh = encke_tls_new();
  CHECK(tls != NULL && fresh != NULL);
  CHECK_RC(encke_tls_add(tls, "x", 1, "x", 1), ENCKE_E_NOTSUP);
  CHECK_RC(encke_tls_add(tls, "x", 1, NULL, 0), ENCKE_E_NOTSUP);
  CHECK_RC(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_OFF), ENCKE_E_NOTSUP);
  CHECK_RC(encke_tls_swap(tls, fresh), ENCKE_E_NOTSUP);
  CHECK_RC(encke_tls_add(NULL, "x", 1, "x", 1), ENCKE_E_INVAL);
  CHECK_RC(encke_listen(h->e, "127.0.0.1:0", tls, &id), ENCKE_E_NOTSUP);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  CHECK_RC(encke_adopt(h->e, pair[0], tls, &id), ENCKE_E_NOTSUP);
  CHECK(fd_open(pair[0]));
  close(pair[0]), close(pair[1]);
  encke_tls_free(tls), encke_tls_free(fresh), encke_tls_free(NULL);
  host_close(h);
  return check_end();
}
