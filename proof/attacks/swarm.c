/* swarm.c - see swarm.h. */
#include "attacks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef HAVE_OPENSSL
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context_of(int version) {
  static SSL_CTX *contexts[2];
  SSL_CTX **c = &contexts[version == 12];
  if (*c) return *c;
  *c = need(SSL_CTX_new(TLS_client_method()));
  int v = version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
  CHECK(SSL_CTX_set_min_proto_version(*c, v) && SSL_CTX_set_max_proto_version(*c, v));
  SSL_CTX_set_session_cache_mode(*c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(*c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return *c;
}

static void ssl_open(conn *c, int version) {
  c->ssl = need(SSL_new(context_of(version)));
  CHECK(SSL_set_fd(c->ssl, c->fd));
  SSL_set_connect_state(c->ssl);
}

static void ssl_close(conn *c, int polite) {
  if (polite && c->established && !c->over) SSL_shutdown(c->ssl);
  ERR_clear_error();
  SSL_free(c->ssl);
  c->ssl = NULL;
}

static ssize_t ssl_result(conn *c, int rc) {
  if (rc > 0) return rc;
  int error = SSL_get_error(c->ssl, rc);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
  c->over = 1;
  return -1;
}

static int ssl_ready(conn *c) {
  if (!c->established && ssl_result(c, SSL_do_handshake(c->ssl)) > 0) c->established = 1;
  return c->established;
}

static ssize_t ssl_say(conn *c, const void *data, size_t n) { return ssl_result(c, SSL_write(c->ssl, data, (int)n)); }
static ssize_t ssl_hear(conn *c, void *data, size_t n) { return ssl_result(c, SSL_read(c->ssl, data, (int)n)); }

size_t client_hello(unsigned char *out, size_t cap, int version) {
  SSL *ssl = need(SSL_new(context_of(version)));
  BIO *in = need(BIO_new(BIO_s_mem())), *wire = need(BIO_new(BIO_s_mem()));
  SSL_set_bio(ssl, in, wire);
  SSL_set_connect_state(ssl);
  SSL_do_handshake(ssl);
  ERR_clear_error();
  int n = BIO_read(wire, out, (int)cap);
  CHECK(n > 0);
  SSL_free(ssl);
  return (size_t)n;
}

int swarm_has_tls(void) { return 1; }

#else

static void ssl_open(conn *c, int version) { (void)c, (void)version; }
static void ssl_close(conn *c, int polite) { (void)polite, c->ssl = NULL; }
static int ssl_ready(conn *c) { return (void)c, 0; }
static ssize_t ssl_say(conn *c, const void *data, size_t n) { return (void)c, (void)data, (void)n, -1; }
static ssize_t ssl_hear(conn *c, void *data, size_t n) { return (void)c, (void)data, (void)n, -1; }
size_t client_hello(unsigned char *out, size_t cap, int version) { return (void)out, (void)cap, (void)version, 0; }
int swarm_has_tls(void) { return 0; }

#endif

void conn_open(conn *c, int port, const script *s) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1, small = 2048;
  memset(c, 0, sizeof *c);
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (c->fd < 0) {
    c->over = 1;
    return;
  }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (s->small) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  /* Other addresses than the bystander's, so that the ports that closed connections leave behind are not missed there. */
  static unsigned source;
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + source++ % 200)};
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  (void)!bind(c->fd, (struct sockaddr *)&from, sizeof from);
  if (connect(c->fd, (struct sockaddr *)&in, sizeof in) < 0 && errno != EINPROGRESS) {
    c->over = 1;
    return;
  }
  if (s->tls) ssl_open(c, s->tls);
  else c->established = 1;
}

void conn_close(conn *c, const script *s) {
  if (c->ssl) ssl_close(c, s->polite);
  if (c->fd >= 0) {
    struct linger now = {1, 0};
    if (s->reset) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(c->fd);
  }
  c->fd = -1;
}

static ssize_t result(conn *c, ssize_t n) {
  if (n > 0) return n;
  if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN || errno == EINPROGRESS)) return 0;
  c->over = 1;
  return -1;
}

ssize_t conn_say(conn *c, const void *data, size_t n) {
  return c->ssl ? ssl_say(c, data, n) : result(c, send(c->fd, data, n, MSG_NOSIGNAL));
}

ssize_t conn_hear(conn *c, void *data, size_t n) {
  ssize_t k = c->ssl ? ssl_hear(c, data, n) : result(c, recv(c->fd, data, n, 0));
  if (k > 0) c->heard += (uint64_t)k;
  return k;
}

/* ---- turns ---------------------------------------------------------------------------------------------------------------------- */

/* What is to be said at the connection's place, and how much of it lies there in one piece. */
static const char *words(const script *s, const conn *c, size_t *n) {
  size_t once = s->once_n ? s->once_n : s->once ? strlen(s->once) : 0, again = s->again_n ? s->again_n : s->again ? strlen(s->again) : 0;
  if (c->place < once) return *n = once - c->place, s->once + c->place;
  if (again == 0) return *n = 0, NULL;
  size_t at = (c->place - once) % again;
  return *n = again - at, s->again + at;
}

static void say(ground *g, const script *s, conn *c) {
  int calls = s->burst ? s->burst : s->piece ? 1 : 8;
  while (calls-- > 0 && !c->over) {
    size_t n;
    const char *text = words(s, c, &n);
    if (n == 0) return;
    ssize_t k = conn_say(c, text, s->piece && s->piece < n ? s->piece : n);
    if (k <= 0) return;
    c->place += (size_t)k;
    g->said += (uint64_t)k;
  }
}

static void hear(ground *g, const script *s, conn *c) {
  char bytes[64 << 10];
  ssize_t k;
  if (s->read == READ_NOTHING) return;
  if (s->read == READ_ONE) {
    k = conn_hear(c, bytes, 1);
    g->heard += k > 0;
    return;
  }
  for (int i = 0; i < 8 && !c->over && (k = conn_hear(c, bytes, sizeof bytes)) > 0; i++) g->heard += (uint64_t)k;
}

static void turn(ground *g, const script *s, conn *c) {
  c->turns++;
  if (c->ssl && !ssl_ready(c)) return;
  if (s->each) {
    if (!s->each(c)) c->over = 1;
  } else {
    say(g, s, c);
  }
  if (!c->over) hear(g, s, c);
}

/* Half-way; also at the end, where a slow machine leaves no turn in between. */
static void command(ground *g) {
  if (g->command_at == 0 || (going(g) && now_us() < g->command_at)) return;
  g->command_at = 0;
  server_command(g->box, g->server, g->command, g->grace_ms);
}

void swarm(ground *g, int n, const script *s) {
  conn *conns = need(calloc((size_t)n, sizeof *conns));
  for (int i = 0; i < n; i++) conns[i].fd = -1;
  while (going(g)) {
    command(g);
    for (int i = 0; i < n && going(g); i++) {
      conn *c = &conns[i];
      if (c->fd >= 0 && c->over) g->ended++;
      if (c->fd >= 0 && (c->over || (s->life && c->turns >= s->life))) conn_close(c, s);
      if (c->fd < 0) {
        conn_open(c, g->port, s);
        g->opened++;
      }
      if (!c->over) turn(g, s, c);
    }
    if (s->pause_ms) wait_a_little();
  }
  command(g);
  for (int i = 0; i < n; i++) conn_close(&conns[i], s);
  free(conns);
}
