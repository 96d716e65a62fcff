/*
 * certs.c - certificates and keys, made by libcrypto when a test asks for them. The rule: nothing is read from a file, so
 * that no key is kept anywhere and nothing expires.
 */
#include "tls.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

struct cert {
  X509 *x;
  EVP_PKEY *key;
  unsigned char *der;
  int der_n;
  struct cert *next;
};

/* Texts that were handed out. */
typedef struct text {
  struct text *next;
  char bytes[];
} text;

static cert *made;
static text *texts;

/* The contents of a BIO as text that lives until check_end(). */
static const char *kept(BIO *bio) {
  char *at;
  long n = BIO_get_mem_data(bio, &at);
  text *t = need(malloc(sizeof *t + (size_t)n + 1));
  memcpy(t->bytes, at, (size_t)n);
  t->bytes[n] = 0;
  t->next = texts, texts = t;
  BIO_free(bio);
  return t->bytes;
}

static EVP_PKEY *make_key(const char *kind) {
  EVP_PKEY *key = NULL;
  int rsa = kind && strcmp(kind, "RSA") == 0, ed = kind && strcmp(kind, "ED25519") == 0;
  EVP_PKEY_CTX *c = need(EVP_PKEY_CTX_new_id(rsa ? EVP_PKEY_RSA : ed ? EVP_PKEY_ED25519 : EVP_PKEY_EC, NULL));
  CHECK(EVP_PKEY_keygen_init(c) == 1);
  if (rsa) CHECK(EVP_PKEY_CTX_set_rsa_keygen_bits(c, 2048) == 1);
  else if (!ed) {
    int curve = kind && strcmp(kind, "secp256k1") == 0 ? NID_secp256k1 : EC_curve_nist2nid(kind ? kind : "P-256");
    CHECK(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(c, curve) == 1);
  }
  CHECK(EVP_PKEY_keygen(c, &key) == 1);
  EVP_PKEY_CTX_free(c);
  return key;
}

static void extend(X509 *x, X509 *issuer, int what, const char *value) {
  X509V3_CTX c;
  X509V3_set_ctx(&c, issuer, x, NULL, NULL, 0);
  X509_EXTENSION *extension = need(X509V3_EXT_conf_nid(NULL, &c, what, value));
  CHECK(X509_add_ext(x, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

const cert *cert_make(const making *m) {
  static long serial;
  cert *c = need(calloc(1, sizeof *c));
  X509 *x = c->x = need(X509_new());
  c->key = make_key(m->kind);
  char dns[512] = "", *at = dns, common[64];
  for (const char *name = m->names; *name;) {
    size_t n = strcspn(name, " ");
    if (at == dns) snprintf(common, sizeof common, "%.*s", (int)n, name);
    at += snprintf(at, sizeof dns - (size_t)(at - dns), "%sDNS:%.*s", at == dns ? "" : ",", (int)n, name);
    name += n + strspn(name + n, " ");
  }
  const char *from = m->when < 0 ? "20000101000000Z" : m->when > 0 ? "20900101000000Z" : "20200101000000Z";
  const char *until = m->when < 0 ? "20100101000000Z" : m->when > 0 ? "20990101000000Z" : "20900101000000Z";
  CHECK(X509_set_version(x, m->old ? 0 : 2) == 1);
  CHECK(ASN1_INTEGER_set(X509_get_serialNumber(x), 1000 + serial++) == 1);
  CHECK(ASN1_TIME_set_string_X509(X509_getm_notBefore(x), from) == 1);
  CHECK(ASN1_TIME_set_string_X509(X509_getm_notAfter(x), until) == 1);
  X509_NAME *subject = X509_get_subject_name(x);
  CHECK(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (unsigned char *)common, -1, -1, 0) == 1);
  CHECK(X509_set_issuer_name(x, m->by ? X509_get_subject_name(m->by->x) : subject) == 1);
  CHECK(X509_set_pubkey(x, c->key) == 1);
  if (!m->old) {
    X509 *issuer = m->by ? m->by->x : x;
    extend(x, issuer, NID_basic_constraints, m->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!m->authority) extend(x, issuer, NID_subject_alt_name, dns);
  }
  EVP_PKEY *signer = m->by ? m->by->key : c->key;
  CHECK(X509_sign(x, signer, EVP_PKEY_id(signer) == EVP_PKEY_ED25519 ? NULL : EVP_sha256()) > 0);
  CHECK((c->der_n = i2d_X509(x, &c->der)) > 0);
  c->next = made, made = c;
  return c;
}

const unsigned char *cert_der(const cert *c, size_t *n) { return *n = (size_t)c->der_n, c->der; }

const char *cert_pem(const cert *c) {
  BIO *bio = need(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_X509(bio, c->x) == 1);
  return kept(bio);
}

const char *cert_key(const cert *c) {
  BIO *bio = need(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PKCS8PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL) == 1);
  return kept(bio);
}

const char *cert_key_locked(const cert *c) {
  BIO *bio = need(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PKCS8PrivateKey(bio, c->key, EVP_aes_128_cbc(), "password", 8, NULL, NULL) == 1);
  return kept(bio);
}

const char *cert_key_named(const cert *c) {
  BIO *bio = need(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PrivateKey_traditional(bio, c->key, NULL, NULL, 0, NULL, NULL) == 1);
  return kept(bio);
}

const char *cert_key_locked_old(const cert *c) {
  BIO *bio = need(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PrivateKey_traditional(bio, c->key, EVP_aes_128_cbc(), (unsigned char *)"password", 8, NULL, NULL) == 1);
  return kept(bio);
}

const char *cert_joined(const char *first, const char *then) {
  BIO *bio = need(BIO_new(BIO_s_mem()));
  CHECK(BIO_puts(bio, first) >= 0 && BIO_puts(bio, then) >= 0);
  return kept(bio);
}

void cert_free_all(void) {
  while (made) {
    cert *c = made;
    made = c->next;
    X509_free(c->x);
    EVP_PKEY_free(c->key);
    OPENSSL_free(c->der);
    free(c);
  }
  while (texts) {
    text *t = texts;
    texts = t->next;
    free(t);
  }
}
