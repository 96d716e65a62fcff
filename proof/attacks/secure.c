/*
 * secure.c - attacks on TLS: handshakes that cost the server more than the client, and records made to be many. The rule:
 * the bystander speaks TLS too, and makes a new handshake every few requests.
 */
#include "attacks.h"

#ifdef HAVE_OPENSSL
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

static script after_hello(int version) {
  static unsigned char hello[4096];
  script s = {.once = (const char *)hello};
  s.once_n = client_hello(hello, sizeof hello, version);
  return s;
}

static void silent(ground *g) { swarm(g, 2000, &(script){.pause_ms = 2}); }

static void half_open(ground *g) {
  script s = after_hello(13);
  s.pause_ms = 2;
  swarm(g, 1000, &s);
}

static void slow_hello(ground *g) {
  script s = after_hello(13);
  s.piece = 1, s.pause_ms = 2;
  swarm(g, 1000, &s);
}

static void hello_flood(ground *g) {
  script s = after_hello(13);
  s.life = 3, s.reset = 1;
  swarm(g, 50, &s);
}

static void hello_flood_12(ground *g) {
  script s = after_hello(12);
  s.life = 3, s.reset = 1;
  swarm(g, 50, &s);
}

static void handshakes(ground *g) {
  swarm(g, 30, &(script){.once = "GET /echo/x HTTP/1.1\r\nHost: a\r\n\r\n", .tls = 13, .life = 12});
}

/* Records that are legal during a handshake and mean nothing. */
static void compatibility(ground *g) {
  script s = after_hello(13);
  s.again = "\x14\x03\x03\x00\x01\x01\x14\x03\x03\x00\x01\x01\x14\x03\x03\x00\x01\x01\x14\x03\x03\x00\x01\x01", s.again_n = 24;
  swarm(g, 50, &s);
}

static void warnings(ground *g) {
  static const char warning[] = "\x15\x03\x03\x00\x02\x01\x5a";
  script s = {.once = warning, .once_n = 7, .again = warning, .again_n = 7};
  swarm(g, 50, &s);
}

/* A handshake message of 16 MB announced, and sent in records of 16 KiB. */
static void long_hello(ground *g) {
  static char record[5 + 16384] = "\x16\x03\x01\x40\x00";
  static char first[5 + 16384] = "\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03";
  swarm(g, 400, &(script){.once = first, .once_n = sizeof first, .again = record, .again_n = sizeof record, .piece = sizeof record, .pause_ms = 2});
}

/* The same, but only as much of it as is waited for. */
static void hoarded_hello(ground *g) {
  static char text[4 * (5 + 16384)];
  for (int i = 0; i < 4; i++) memcpy(text + i * (5 + 16384), "\x16\x03\x01\x40\x00", 5);
  memcpy(text + 5, "\x01\x00\xff\xf0\x03\x03", 6);
  swarm(g, 2000, &(script){.once = text, .once_n = 3 * (5 + 16384) + 10000, .pause_ms = 2});
}

static void one_byte_records(ground *g) {
  swarm(g, 16, &(script){.again = "GET /echo/x HTTP/1.1\r\nHost: a\r\n\r\n", .piece = 1, .burst = 60, .tls = 13});
}

static void slow_readers(ground *g) {
  swarm(g, 200, &(script){.once = "GET /stream/1073741824 HTTP/1.1\r\nHost: a\r\n\r\n", .read = READ_ONE, .small = 1, .tls = 13, .pause_ms = 2});
}

static void hogs(ground *g) {
  swarm(g, 8, &(script){.again = "GET /stream/30000 HTTP/1.1\r\nHost: a\r\n\r\nGET /echo/x HTTP/1.1\r\nHost: a\r\n\r\n", .tls = 13});
}

static void hogs_not_reading(ground *g) {
  swarm(g, 50, &(script){.again = "GET /stream/30000 HTTP/1.1\r\nHost: a\r\n\r\nGET /echo/x HTTP/1.1\r\nHost: a\r\n\r\n", .tls = 13, .read = READ_NOTHING, .small = 1});
}

static void cut_short(ground *g) {
  swarm(g, 30, &(script){.once = "GET /stream/1000000 HTTP/1.1\r\nHost: a\r\n\r\n", .tls = 13, .life = 14, .reset = 1});
}

/* The server reads a close_notify and finds, when it says its own, that nobody is there any more. */
static void polite(ground *g) {
  swarm(g, 20, &(script){.once = "GET /echo/x HTTP/1.1\r\nHost: a\r\n\r\n", .tls = 13, .read = READ_NOTHING, .life = 40, .polite = 1});
}

static void garbage(ground *g) {
  static char junk[5 + 4000] = "\x17\x03\x03\x0f\xa0";
  script s = after_hello(13);
  s.again = junk, s.again_n = sizeof junk;
  swarm(g, 50, &s);
}

#ifdef HAVE_OPENSSL

static int ask_for_keys(conn *c) {
  for (int i = 0; i < 20; i++) {
    if (SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED) != 1) return 0;
    int rc = SSL_do_handshake(c->ssl);
    ERR_clear_error();
    if (rc <= 0) {
      int error = SSL_get_error(c->ssl, rc);
      return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ;
    }
  }
  return 1;
}

static int renegotiate(conn *c) {
  if (!SSL_renegotiate_pending(c->ssl)) SSL_renegotiate(c->ssl);
  int rc = SSL_do_handshake(c->ssl), error = SSL_get_error(c->ssl, rc);
  ERR_clear_error();
  return rc > 0 || error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ;
}

static void key_updates(ground *g) { swarm(g, 16, &(script){.each = ask_for_keys, .tls = 13}); }
static void key_updates_not_read(ground *g) { swarm(g, 16, &(script){.each = ask_for_keys, .tls = 13, .read = READ_NOTHING, .small = 1}); }
static void renegotiations(ground *g) { swarm(g, 16, &(script){.each = renegotiate, .tls = 12}); }

#else

static void key_updates(ground *g) { (void)g; }
static void key_updates_not_read(ground *g) { (void)g; }
static void renegotiations(ground *g) { (void)g; }

#endif

static const setting impatient[] = {{ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, 1500}, {0, 0}};

const attack secure_attacks[] = {
  {"TLS: nothing said", silent, defaults, OVER_TLS, 0, 2000},
  {"TLS: nothing said, short time-out", silent, impatient, OVER_TLS | LONG, 0, 2000},
  {"TLS: half-open handshakes", half_open, defaults, OVER_TLS, 0, 1000},
  {"TLS: slow handshakes", slow_hello, defaults, OVER_TLS, 0, 1000},
  {"TLS: slow handshakes, short time-out", slow_hello, impatient, OVER_TLS | LONG, 0, 1000},
  {"TLS: ClientHello flood", hello_flood, defaults, OVER_TLS, 0, 50},
  {"TLS: ClientHello flood, TLS 1.2", hello_flood_12, defaults, OVER_TLS, 0, 50},
  {"TLS: handshake and one request", handshakes, defaults, OVER_TLS, 0, 30},
  {"TLS: ChangeCipherSpec flood", compatibility, defaults, OVER_TLS, 0, 50},
  {"TLS: warning flood", warnings, defaults, OVER_TLS, 0, 50},
  {"TLS: a ClientHello of 16 MB", long_hello, defaults, OVER_TLS, 0, 400},
  {"TLS: ClientHello without end", hoarded_hello, tight, OVER_TLS, 0, 2000},
  {"TLS: junk instead of a handshake", garbage, defaults, OVER_TLS, 0, 50},
  {"TLS: records of one byte", one_byte_records, defaults, OVER_TLS, 0, 16},
  {"TLS: key updates", key_updates, defaults, OVER_TLS, 0, 16},
  {"TLS: key updates, not read", key_updates_not_read, tight, OVER_TLS, 0, 16},
  {"TLS: renegotiation", renegotiations, defaults, OVER_TLS, 0, 16},
  {"TLS: slow readers", slow_readers, defaults, OVER_TLS, 0, 200},
  {"TLS: slow readers, small limits", slow_readers, tight, OVER_TLS, 0, 200},
  {"TLS: pipelines, read", hogs, defaults, OVER_TLS, 0, 8},
  {"TLS: pipelines, not read", hogs_not_reading, defaults, OVER_TLS, 0, 50},
  {"TLS: connections reset", cut_short, defaults, OVER_TLS, 0, 30},
  {"TLS: closed with the answer unread", polite, defaults, OVER_TLS, 0, 20},
  {NULL, NULL, NULL, 0, 0, 0},
};
