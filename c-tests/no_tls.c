/* no_tls.c - stands in for layer.c and tls_host.c where there is no OpenSSL. The rule: every client is a plain one. */
#include "layer.h"

encke_tls *host_tls(void) { return NULL; }

layer *layer_open(void) {
  if (getenv("ENCKE_TEST_TLS")) check_fail(__FILE__, __LINE__, "ENCKE_TEST_TLS is set, and this was built without OpenSSL");
  return NULL;
}

void layer_free(layer *t) { (void)t; }
void layer_over(void) {}

static void never(void) { check_fail(__FILE__, __LINE__, "TLS without OpenSSL"); }

void layer_say(layer *t, const void *data, size_t n) { (void)t, (void)data, (void)n, never(); }
void layer_hear(peer *p, const void *cipher, size_t n) { (void)p, (void)cipher, (void)n, never(); }
void layer_move(peer *p) { (void)p, never(); }
void layer_end(layer *t) { (void)t, never(); }
int  layer_established(const layer *t) { return (void)t, never(), 0; }
int  layer_said(const layer *t) { return (void)t, never(), 0; }
int  layer_closed(const layer *t) { return (void)t, never(), 0; }
