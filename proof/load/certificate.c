/* certificate.c - see certificate.h. */
#include "certificate.h"

#include <stddef.h>

#ifdef HAVE_OPENSSL

#include "../../c-tests/layer.h"
#include "../../c-tests/tls.h"

void certificate_make(char **chain, char **key) {
  const cert *c = CERT(.names = "localhost");
  *chain = need(strdup(cert_pem(c)));
  *key = need(strdup(cert_key(c)));
  cert_free_all();
}

#else

void certificate_make(char **chain, char **key) { *chain = *key = NULL; }

#endif
