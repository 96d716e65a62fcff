/*
 * tls.h - TLS as the clients speak it, with OpenSSL. Rule: one version and one group for all; one suite too, so that every
 * server does the same work (clients/openssl.cnf says the same to wrk), unless what is measured is what servers choose by
 * themselves; and the server must prove that it has state/key.pem.
 */
#ifndef CLIENT_TLS_H
#define CLIENT_TLS_H
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

/* `any_suite`: what OpenSSL offers by default. */
static inline SSL_CTX *tls_context(int version, int any_suite) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  /* P-256 is offered too because TLS 1.2 wants the certificate's curve in the list; the key share is X25519's. */
  if (!context || !SSL_CTX_set_min_proto_version(context, version) || !SSL_CTX_set_max_proto_version(context, version) ||
      (!any_suite && (!SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384") ||
                      !SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES256-GCM-SHA384"))) ||
      !SSL_CTX_set1_groups_list(context, "X25519:P-256") ||
      !SSL_CTX_load_verify_locations(context, "state/cert.pem", NULL)) {
    ERR_print_errors_fp(stderr);
    exit(1);
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  return context;
}

/* To be connected by SSL_connect; its socket is still to be set. */
static inline SSL *tls_new(SSL_CTX *context) {
  SSL *tls = SSL_new(context);
  if (!tls || !SSL_set_tlsext_host_name(tls, "localhost") || !SSL_set1_host(tls, "localhost")) {
    fputs("tls: out of memory\n", stderr);
    exit(1);
  }
  return tls;
}

/* Whether a call that gave `result` is to be made again when the socket is ready. */
static inline int tls_again(SSL *tls, int result) {
  int error = SSL_get_error(tls, result);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}
#endif
