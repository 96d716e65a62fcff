/*
 * client.c - see client.h. The rule: the socket is non-blocking and every wait is a poll with a limit, so that a server
 * that says nothing is found out.
 */
#include "client.h"

#include "pattern.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef HAVE_OPENSSL
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

int client_patience = 10;

struct client {
  int fd;
  SSL *ssl;
  size_t n, at; /* in[at..n] has come and is not used */
  char in[32 << 10];
};

static char why[256];

const char *client_why(void) { return why; }

/* 1: ready; 0: nothing for too long. Many short waits, so that a machine that stood still has not used them up. */
static int ready(client *c, short events) {
  struct pollfd p = {.fd = c->fd, .events = events};
  for (int i = 0; i < client_patience * 20; i++) {
    int rc = poll(&p, 1, 50);
    if (rc > 0) return 1;
    if (rc < 0 && errno != EINTR) break;
  }
  return 0;
}

/* ---- bytes ---------------------------------------------------------------------------------------------------------------------- */

#ifdef HAVE_OPENSSL

static SSL_CTX *contexts[3];

static SSL_CTX *context_of(kind k) {
  if (contexts[k]) return contexts[k];
  SSL_CTX *c = SSL_CTX_new(TLS_client_method());
  int version = k == TLS12 ? TLS1_2_VERSION : TLS1_3_VERSION;
  if (!c || !SSL_CTX_set_min_proto_version(c, version) || !SSL_CTX_set_max_proto_version(c, version)) abort();
  SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
  return contexts[k] = c;
}

/* What OpenSSL waits for; 0: it is over. */
static short wants(client *c, int rc) {
  int error = SSL_get_error(c->ssl, rc);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ ? POLLIN : error == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

static int shake_hands(client *c, kind k) {
  int rc;
  if (!(c->ssl = SSL_new(context_of(k))) || !SSL_set_fd(c->ssl, c->fd)) return 0;
  SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  while ((rc = SSL_connect(c->ssl)) <= 0) {
    short events = wants(c, rc);
    if (!events) return snprintf(why, sizeof why, "the handshake failed"), 0;
    if (!ready(c, events)) return snprintf(why, sizeof why, "the handshake takes too long"), 0;
  }
  return 1;
}

/* As recv: > 0, 0 the end, < 0 and errno. */
static ssize_t take_in(client *c, char *to, size_t n) {
  if (!c->ssl) return recv(c->fd, to, n, 0);
  int rc = SSL_read(c->ssl, to, (int)n);
  if (rc > 0) return rc;
  short events = wants(c, rc);
  errno = EAGAIN;
  return events ? -1 : 0;
}

static ssize_t put_out(client *c, const char *from, size_t n) {
  if (!c->ssl) return send(c->fd, from, n, MSG_NOSIGNAL);
  int rc = SSL_write(c->ssl, from, (int)(n > 1 << 20 ? 1 << 20 : n));
  if (rc > 0) return rc;
  errno = wants(c, rc) ? EAGAIN : EPIPE;
  return -1;
}

static void free_ssl(client *c) { SSL_free(c->ssl); }

#else

static int shake_hands(client *c, kind k) { return (void)c, (void)k, snprintf(why, sizeof why, "no OpenSSL"), 0; }
static ssize_t take_in(client *c, char *to, size_t n) { return recv(c->fd, to, n, 0); }
static ssize_t put_out(client *c, const char *from, size_t n) { return send(c->fd, from, n, MSG_NOSIGNAL); }
static void free_ssl(client *c) { (void)c; }

#endif

client *client_open(int port, kind k) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  client *c = calloc(1, sizeof *c);
  int one = 1, error = 0;
  socklen_t n = sizeof error;
  if (!c) abort();
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (c->fd >= 0) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&in, sizeof in) < 0 && errno != EINPROGRESS)) {
    snprintf(why, sizeof why, "connect: %s", strerror(errno));
    client_close(c);
    return NULL;
  }
  if (!ready(c, POLLOUT)) snprintf(why, sizeof why, "connect takes too long");
  else if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) snprintf(why, sizeof why, "connect: %s", strerror(error));
  else if (k == PLAIN || shake_hands(c, k)) return c;
  client_close(c);
  return NULL;
}

void client_close(client *c) {
  if (!c) return;
  if (c->ssl) free_ssl(c);
  if (c->fd >= 0) close(c->fd);
  free(c);
}

void client_reset(client *c) {
  struct linger now = {1, 0};
  if (c && c->fd >= 0) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  client_close(c);
}

outcome client_say(client *c, const void *data, size_t n) {
  const char *at = data;
  while (n > 0) {
    ssize_t k = put_out(c, at, n);
    if (k > 0) at += k, n -= (size_t)k;
    else if (errno == EAGAIN && !ready(c, POLLOUT)) return LATE;
    else if (errno != EAGAIN && errno != EINTR) return CLOSED;
  }
  return WHOLE;
}

/* More bytes behind what is there: WHOLE, CLOSED or LATE. */
static outcome more(client *c) {
  if (c->at > 0) memmove(c->in, c->in + c->at, c->n - c->at);
  c->n -= c->at, c->at = 0;
  if (c->n == sizeof c->in) return WRONG;
  for (;;) {
    ssize_t k = take_in(c, c->in + c->n, sizeof c->in - c->n);
    if (k > 0) {
      c->n += (size_t)k;
      return WHOLE;
    }
    if (k == 0 || (errno != EAGAIN && errno != EINTR)) return CLOSED;
    if (!ready(c, POLLIN)) return LATE;
  }
}

/* ---- answers ---------------------------------------------------------------------------------------------------------------------- */

static outcome wrong(const char *what, const char *p, size_t n) {
  snprintf(why, sizeof why, "%s: \"%.*s\"", what, (int)(n > 120 ? 120 : n), p);
  return WRONG;
}

/* One line without its CRLF; it stays in c->in until the next call of more(). */
static outcome line(client *c, const char **text, size_t *n) {
  for (;;) {
    char *end = memmem(c->in + c->at, c->n - c->at, "\r\n", 2);
    if (end) {
      *text = c->in + c->at, *n = (size_t)(end - *text);
      c->at += *n + 2;
      return WHOLE;
    }
    outcome o = more(c);
    if (o != WHOLE) return o == WRONG ? wrong("a line without an end", c->in, c->n) : o;
  }
}

static outcome body_bytes(client *c, uint64_t n, uint64_t at, body_sink sink, void *context) {
  while (n > 0) {
    if (c->n == c->at) {
      outcome o = more(c);
      if (o != WHOLE) return o == CLOSED ? CUT : o;
    }
    size_t part = c->n - c->at < n ? c->n - c->at : (size_t)n;
    if (sink && !sink(context, c->in + c->at, part, at)) return wrong("another body", c->in + c->at, part);
    c->at += part, at += part, n -= part;
  }
  return WHOLE;
}

static outcome inside(outcome o) { return o == CLOSED ? CUT : o; }

outcome client_hear(client *c, int *status, uint64_t *length, body_sink sink, void *context) {
  const char *text;
  size_t n;
  uint64_t size = 0;
  int chunked = 0, sized = 0;
  outcome o = line(c, &text, &n);
  if (o != WHOLE) return o == CLOSED && c->n > c->at ? CUT : o;
  if (n < 12 || memcmp(text, "HTTP/1.1 ", 9) != 0) return wrong("no status line", text, n);
  *status = atoi(text + 9);
  for (;;) {
    if ((o = line(c, &text, &n)) != WHOLE) return inside(o);
    if (n == 0) break;
    if (n > 15 && strncasecmp(text, "content-length:", 15) == 0) size = strtoull(text + 15, NULL, 10), sized++;
    if (n > 18 && strncasecmp(text, "transfer-encoding:", 18) == 0) chunked++;
  }
  if (*status / 100 == 1) return client_hear(c, status, length, sink, context);
  if (sized + chunked != 1) return wrong("no framing, or two", "", 0);
  if (sized) {
    *length = size;
    return body_bytes(c, size, 0, sink, context);
  }
  for (*length = 0;; *length += size) {
    if ((o = line(c, &text, &n)) != WHOLE) return inside(o);
    char *end;
    size = strtoull(text, &end, 16);
    if (n == 0 || end != text + n) return wrong("no chunk size", text, n);
    if (size == 0) break;
    if ((o = body_bytes(c, size, *length, sink, context)) != WHOLE) return o;
    if ((o = line(c, &text, &n)) != WHOLE) return inside(o);
    if (n != 0) return wrong("a chunk without its end", text, n);
  }
  if ((o = line(c, &text, &n)) != WHOLE) return inside(o);
  return n == 0 ? WHOLE : wrong("trailers", text, n);
}

typedef struct { const char *body; size_t n; } exact;

static int is_exact(void *context, const char *data, size_t n, uint64_t at) {
  const exact *x = context;
  if (at == 0 && n >= 4 && memcmp(data, "503 ", 4) == 0) return 1; /* the library's own text: the status tells */
  return at + n <= x->n && memcmp(x->body + at, data, n) == 0;
}

static int is_pattern(void *context, const char *data, size_t n, uint64_t at) { return (void)context, pattern_is(data, n, at); }

outcome client_expect(client *c, const char *body, size_t n) {
  exact x = {body, n};
  int status = 0;
  uint64_t length = 0;
  outcome o = client_hear(c, &status, &length, is_exact, &x);
  if (o != WHOLE) return o;
  if (status == 503) return BUSY;
  if (status != 200 || length != n) {
    snprintf(why, sizeof why, "status %d, %llu bytes", status, (unsigned long long)length);
    return WRONG;
  }
  return WHOLE;
}

static outcome ask(client *c, const char *path) {
  char text[256];
  int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
  return client_say(c, text, (size_t)n);
}

outcome client_get(client *c, const char *path, const char *body, size_t n) {
  outcome o = ask(c, path);
  return o == WHOLE ? client_expect(c, body, n) : o;
}

outcome client_get_pattern(client *c, const char *path, uint64_t length) {
  int status = 0;
  uint64_t came = 0;
  outcome o = ask(c, path);
  if (o != WHOLE) return o;
  o = client_hear(c, &status, &came, is_pattern, NULL);
  if (o != WHOLE) return o;
  if (status != 200 || came != length) {
    snprintf(why, sizeof why, "status %d, %llu bytes instead of %llu", status, (unsigned long long)came, (unsigned long long)length);
    return WRONG;
  }
  return WHOLE;
}
