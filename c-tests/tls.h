/*
 * tls.h - what the tests of TLS stand on beside check.h: certificates made on the spot, listeners with certificates, and
 * clients whose TLS is OpenSSL's. The rule: nothing here is the library's, so that two implementations have to agree.
 */
#ifndef TLS_H
#define TLS_H

#include "check.h"

/* ---- certificates: made by libcrypto when the test runs, freed by check_end() ------------------------------------------ */

typedef struct cert cert;

typedef struct {
  const char *names; /* "a.test *.b.test": its DNS names; the first is its common name too */
  const cert *by;    /* who issued it; NULL: itself */
  int authority;     /* it may issue others */
  const char *kind;  /* of its key: "P-256" (NULL), "P-384", "secp256k1", "ED25519", "RSA" */
  int when;          /* 0: valid from 2020 to 2090; -1: over since 2010; 1: from 2090 on */
  int old;           /* X.509 version 1 */
} making;

const cert *cert_make(const making *);
#define CERT(...) cert_make(&(making){__VA_ARGS__})
const char *cert_pem(const cert *);
const char *cert_key(const cert *);         /* PKCS#8 */
const char *cert_key_named(const cert *);   /* SEC1 or PKCS#1 */
const char *cert_key_locked(const cert *);  /* PKCS#8 under a password */
const char *cert_key_locked_old(const cert *); /* as OpenSSL did before PKCS#8 */
const unsigned char *cert_der(const cert *, size_t *n);
const char *cert_joined(const char *first, const char *then); /* one text behind the other */

/* ---- the library's side ------------------------------------------------------------------------------------------------ */

int        tls_add(encke_tls *, const cert *);  /* what encke_tls_add says */
int        tls_add_roots(encke_tls *, const cert *);
encke_tls *tls_with(const cert *);              /* a set with this certificate */
int        host_listen_tls(host *, encke_tls *);/* 127.0.0.1:0; the port */
const char *host_info(host *, encke_id, int what); /* encke_info as text; one of a few static buffers */
encke_id   ask(host *, peer *, const char *text);  /* sends it and waits for its REQUEST */
void       served(host *, peer *);              /* one more GET of that client is answered, over TLS */
void       refused(peer *);                     /* it ends with an alert, or broken, and nothing was said */

/* ---- clients ----------------------------------------------------------------------------------------------------------- */

typedef struct ssl_session_st ticket;

typedef struct {
  int version;        /* 12, 13; 0: the best that both know */
  const char *name;   /* SNI; NULL: none */
  const char *alpn;   /* the one protocol it offers; NULL: no ALPN */
  const char *signatures; /* the only algorithms it checks, as OpenSSL writes them: "RSA-PSS+SHA256" */
  const cert *mine;   /* what it shows when it is asked */
  ticket *resume;
  int small;          /* a small receive buffer */
  int held;           /* peer.held and peer.drip from the beginning */
  int drip;
} client;

peer *peer_tls(int port, const client *);
peer *peer_tls_fd(int fd, const client *); /* over a socket that is connected */
#define TLS(port, ...) peer_tls(port, &(client){__VA_ARGS__})

int         tls_established(const peer *); /* as the client sees it */
int         tls_closed(const peer *);      /* the server's close_notify came */
int         tls_alert(const peer *);       /* the last alert that came but close_notify, as RFC 8446 numbers it; -1: none */
int         tls_broken(const peer *);      /* the handshake or a record failed */
int         tls_resumed(const peer *);
const char *tls_version(const peer *);     /* "TLSv1.3" */
const char *tls_alpn(const peer *);        /* "" without */
int         tls_shown(const peer *, const cert *); /* whether the server showed that certificate */
ticket     *tls_ticket(peer *);            /* the last that came, for client.resume; NULL: none. The test frees it */
void        tls_ticket_free(ticket *);
size_t      tls_records(const peer *);     /* records of application data that came, TLS 1.3's tickets included */
void        peer_inject(peer *, const void *data, size_t n); /* as it is, behind what is encrypted */
void        peer_notify(peer *);           /* close_notify without FIN */
void        tls_update_keys(peer *);       /* TLS 1.3: new keys of its own, and it asks for the server's */
size_t      tls_hello(const client *, unsigned char *to, size_t cap); /* what such a client says first */

/* The alerts of RFC 8446, section 6, that tests expect. */
enum {
  ALERT_UNEXPECTED_MESSAGE = 10, ALERT_BAD_RECORD_MAC = 20, ALERT_RECORD_OVERFLOW = 22, ALERT_HANDSHAKE_FAILURE = 40,
  ALERT_BAD_CERTIFICATE = 42, ALERT_CERTIFICATE_EXPIRED = 45, ALERT_UNKNOWN_CA = 48, ALERT_DECODE_ERROR = 50,
  ALERT_DECRYPT_ERROR = 51,
  ALERT_PROTOCOL_VERSION = 70, ALERT_CERTIFICATE_REQUIRED = 116, ALERT_NO_APPLICATION_PROTOCOL = 120,
};

#endif
