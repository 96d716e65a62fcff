/* tls.h - TLS for the peers that leave it to OpenSSL: 1.2 and 1.3, stateless tickets, no buffers while idle. */
#ifndef PEER_TLS_H
#define PEER_TLS_H
#include "common.h"
#include <openssl/err.h>
#include <openssl/ssl.h>

static inline SSL_CTX *tls_context(void) {
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  if (!context || SSL_CTX_use_certificate_chain_file(context, CERTIFICATE) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, KEY, SSL_FILETYPE_PEM) != 1) {
    ERR_print_errors_fp(stderr);
    exit(1);
  }
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets do without */
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return context;
}
#endif
