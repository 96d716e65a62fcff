/*
 * layer.c - the TLS of clients: OpenSSL between two memory BIOs, so that nothing blocks and the test owns the wire. The
 * rule: whatever can go on goes on in layer_move(); a broken record ends the test unless the test is about that.
 */
#include "layer.h"
#include "tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <unistd.h>

struct layer {
  SSL *ssl;
  BIO *in, *out;
  char *plain; /* to be said when the handshake is through */
  size_t n;
  int lenient; /* a test of TLS: what fails is for the test to see */
  int end_wanted, ended, closed, broken, alert;
  ticket *ticket;
  unsigned char header[5];
  size_t header_n, body_left, records;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static SSL_CTX *context;

static int on_ticket(SSL *ssl, SSL_SESSION *session) {
  layer *t = SSL_get_app_data(ssl);
  SSL_SESSION_free(t->ticket);
  t->ticket = session;
  return 1; /* the reference is taken */
}

static void on_info(const SSL *ssl, int where, int value) {
  layer *t = SSL_get_app_data(ssl);
  if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (value & 0xff) != 0) t->alert = value & 0xff;
}

static void make_context(void) {
  context = need(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, on_ticket);
  SSL_CTX_set_info_callback(context, on_info);
}

static layer *open_with(const client *c) {
  layer *t = need(calloc(1, sizeof *t));
  pthread_once(&once, make_context);
  t->ssl = need(SSL_new(context));
  t->in = need(BIO_new(BIO_s_mem())), t->out = need(BIO_new(BIO_s_mem()));
  t->alert = -1;
  BIO_set_mem_eof_return(t->in, -1);
  SSL_set_bio(t->ssl, t->in, t->out);
  SSL_set_app_data(t->ssl, t);
  SSL_set_connect_state(t->ssl);
  int version = c->version == 12 ? TLS1_2_VERSION : c->version == 13 ? TLS1_3_VERSION : 0;
  if (version) CHECK(SSL_set_min_proto_version(t->ssl, version) && SSL_set_max_proto_version(t->ssl, version));
  if (c->name) CHECK(SSL_set_tlsext_host_name(t->ssl, c->name));
  if (c->signatures) CHECK(SSL_set1_sigalgs_list(t->ssl, c->signatures));
  if (c->alpn) {
    unsigned char protocols[64];
    size_t n = strlen(c->alpn);
    CHECK(n > 0 && n < sizeof protocols);
    protocols[0] = (unsigned char)n;
    memcpy(protocols + 1, c->alpn, n);
    CHECK(SSL_set_alpn_protos(t->ssl, protocols, (unsigned)n + 1) == 0);
  }
  if (c->mine) {
    X509 *shown = NULL;
    EVP_PKEY *key = NULL;
    BIO *pem = need(BIO_new_mem_buf(cert_pem(c->mine), -1));
    CHECK((shown = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL);
    BIO_free(pem);
    pem = need(BIO_new_mem_buf(cert_key(c->mine), -1));
    CHECK((key = PEM_read_bio_PrivateKey(pem, NULL, NULL, NULL)) != NULL);
    BIO_free(pem);
    CHECK(SSL_use_certificate(t->ssl, shown) == 1 && SSL_use_PrivateKey(t->ssl, key) == 1);
    X509_free(shown);
    EVP_PKEY_free(key);
  }
  if (c->resume) CHECK(SSL_set_session(t->ssl, c->resume) == 1);
  return t;
}

int layer_wanted(void) {
  const char *wanted = getenv("ENCKE_TEST_TLS");
  return wanted && *wanted && strcmp(wanted, "0") != 0;
}

layer *layer_open(void) {
  if (!layer_wanted()) return NULL;
  const char *wanted = getenv("ENCKE_TEST_TLS");
  return open_with(&(client){.version = strcmp(wanted, "1.2") == 0 ? 12 : strcmp(wanted, "1.3") == 0 ? 13 : 0});
}

peer *peer_tls_fd(int fd, const client *c) {
  layer *t = open_with(c);
  t->lenient = 1;
  peer *p = peer_make(fd, 0, t);
  p->held = c->held, p->drip = c->drip;
  peer_pump(p);
  return p;
}

peer *peer_tls(int port, const client *c) { return peer_tls_fd(peer_socket(port, c->small), c); }

void layer_free(layer *t) {
  if (!t) return;
  SSL_SESSION_free(t->ticket);
  SSL_free(t->ssl);
  free(t->plain);
  free(t);
}

void layer_say(layer *t, const void *data, size_t n) {
  if (t->ended) return; /* as a socket that was shut down */
  t->plain = need(realloc(t->plain, t->n + n + 1));
  if (n) memcpy(t->plain + t->n, data, n);
  t->n += n;
}

void layer_end(layer *t) { t->end_wanted = 1; }

int layer_established(const layer *t) { return t->broken || SSL_is_init_finished(t->ssl); }
int layer_said(const layer *t) { return t->broken || (SSL_is_init_finished(t->ssl) && t->n == 0 && (!t->end_wanted || t->ended)); }
int layer_closed(const layer *t) { return t->closed; }

/* What OpenSSL returned: 1, or 0 and either it waits for more, or the server closed, or something broke. */
static int went(layer *t, int rc, const char *what) {
  if (rc > 0) return 1;
  int error = SSL_get_error(t->ssl, rc);
  if (error == SSL_ERROR_ZERO_RETURN) t->closed = 1;
  else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) t->broken = 1;
  if (t->broken && !t->lenient)
    check_fail(__FILE__, __LINE__, "%s: %s, alert %d", what, ERR_reason_error_string(ERR_peek_last_error()), t->alert);
  ERR_clear_error();
  return 0;
}

static void hear_plain(peer *p) {
  layer *t = p->tls;
  for (;;) {
    peer_room(p, 16 << 10);
    int n = SSL_read(t->ssl, p->in + p->n, 16 << 10);
    if (!went(t, n, "reading")) return;
    p->n += (size_t)n;
  }
}

void layer_move(peer *p) {
  layer *t = p->tls;
  char cipher[16 << 10];
  int n;
  if (!t->broken && !SSL_is_init_finished(t->ssl)) went(t, SSL_do_handshake(t->ssl), "the handshake");
  if (!t->broken && SSL_is_init_finished(t->ssl)) {
    if (!t->closed) hear_plain(p);
    if (!t->broken && t->n > 0 && went(t, SSL_write(t->ssl, t->plain, (int)t->n), "writing")) t->n = 0;
    if (!t->broken && t->end_wanted && !t->ended && t->n == 0) {
      SSL_shutdown(t->ssl); /* 0 says that the other side has not closed yet */
      ERR_clear_error();
      t->ended = 1;
    }
  }
  while ((n = BIO_read(t->out, cipher, sizeof cipher)) > 0) peer_put(p, cipher, (size_t)n);
}

static void count_records(layer *t, const unsigned char *at, size_t n) {
  while (n > 0) {
    if (t->body_left > 0) {
      size_t part = t->body_left < n ? t->body_left : n;
      t->body_left -= part, at += part, n -= part;
      continue;
    }
    t->header[t->header_n++] = *at++, n--;
    if (t->header_n < sizeof t->header) continue;
    t->header_n = 0;
    t->body_left = (size_t)t->header[3] << 8 | t->header[4];
    t->records += t->header[0] == SSL3_RT_APPLICATION_DATA;
  }
}

void layer_hear(peer *p, const void *cipher, size_t n) {
  count_records(p->tls, cipher, n);
  CHECK(BIO_write(p->tls->in, cipher, (int)n) == (int)n);
  layer_move(p);
}

/* ---- what a client knows, for tests that are about TLS -------------------------------------------------------------------- */

int tls_established(const peer *p) { return !p->tls->broken && SSL_is_init_finished(p->tls->ssl); }
int tls_closed(const peer *p) { return p->tls->closed; }
int tls_alert(const peer *p) { return p->tls->alert; }
int tls_broken(const peer *p) { return p->tls->broken; }
int tls_resumed(const peer *p) { return SSL_session_reused(p->tls->ssl); }
const char *tls_version(const peer *p) { return SSL_get_version(p->tls->ssl); }
size_t tls_records(const peer *p) { return p->tls->records; }

const char *tls_alpn(const peer *p) {
  const unsigned char *protocol;
  unsigned n;
  SSL_get0_alpn_selected(p->tls->ssl, &protocol, &n);
  return textf("%.*s", (int)n, protocol ? (const char *)protocol : "");
}

int tls_shown(const peer *p, const cert *expected) {
  X509 *shown = SSL_get_peer_certificate(p->tls->ssl);
  unsigned char *der = NULL;
  size_t want;
  const unsigned char *wanted = cert_der(expected, &want);
  int n = shown ? i2d_X509(shown, &der) : 0, same = n > 0 && (size_t)n == want && memcmp(der, wanted, want) == 0;
  OPENSSL_free(der);
  X509_free(shown);
  return same;
}

ticket *tls_ticket(peer *p) {
  if (SSL_version(p->tls->ssl) < TLS1_3_VERSION) { /* a resumed session replaces its ticket without a word */
    ticket *session = SSL_get1_session(p->tls->ssl);
    if (session && SSL_SESSION_is_resumable(session)) return session;
    SSL_SESSION_free(session);
    return NULL;
  }
  if (p->tls->ticket) CHECK(SSL_SESSION_up_ref(p->tls->ticket));
  return p->tls->ticket;
}

void tls_ticket_free(ticket *t) { SSL_SESSION_free(t); }

void peer_inject(peer *p, const void *data, size_t n) {
  peer_put(p, data, n);
  peer_pump(p);
}

void peer_notify(peer *p) {
  layer_end(p->tls);
  peer_pump(p);
}

void tls_update_keys(peer *p) {
  CHECK(SSL_key_update(p->tls->ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
  CHECK(SSL_do_handshake(p->tls->ssl) == 1);
  peer_pump(p);
}

size_t tls_hello(const client *c, unsigned char *to, size_t cap) {
  layer *t = open_with(c);
  CHECK(SSL_do_handshake(t->ssl) <= 0);
  int n = BIO_read(t->out, to, (int)cap);
  CHECK(n > 0 && (size_t)n < cap);
  layer_free(t);
  return (size_t)n;
}

void layer_over(void) {
  SSL_CTX_free(context);
  context = NULL;
  tls_host_over();
  cert_free_all();
}
