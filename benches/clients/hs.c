/*
 * hs.c - handshakes, one after the other: connect, shake hands, ask for /plaintext, reset the connection. Every handshake
 * must be of the kind that was asked for, with X25519 where keys are exchanged, and every answer right: the first that is
 * not ends the program with 1 and says why.
 *
 *   hs PORT SECONDS full|resumed 1.2|1.3 any|same
 *
 * `any` offers the suites that OpenSSL offers by default, and the server chooses; `same` the one of tls.h.
 * With `resumed` each handshake uses the newest ticket; the first of all, which gets one, is full and not counted.
 */
#define _GNU_SOURCE
#include "answer.h"
#include "tls.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static SSL_SESSION *ticket;
static const char *suite; /* the first that was chosen; the others must be the same */

static int on_ticket(SSL *tls, SSL_SESSION *fresh) {
  (void)tls;
  SSL_SESSION_free(ticket);
  ticket = fresh;
  return 1; /* the reference is ours */
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_socket(int port) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {2, 0};
  struct linger reset = {1, 0}; /* no TIME_WAIT: ports would run out */
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof to))
    return fd;
  perror("hs: connect");
  exit(1);
}

/* NULL: the answer came, and was right. */
static const char *ask(SSL *tls) {
  char in[4096];
  size_t have = 0;
  if (SSL_write(tls, hello_request, sizeof hello_request - 1) != (int)sizeof hello_request - 1)
    return "the request was not taken";
  for (int right = 0; right == 0;) {
    int n = have < sizeof in ? SSL_read(tls, in + have, (int)(sizeof in - have)) : 0;
    if (n <= 0)
      return "no whole answer";
    have += (size_t)n;
    if ((right = is_hello(in, have)) < 0)
      return "a wrong answer";
  }
  return NULL;
}

static int is_x25519(SSL *tls) {
  EVP_PKEY *key = NULL;
  int is = SSL_get_peer_tmp_key(tls, &key) == 1 && EVP_PKEY_id(key) == EVP_PKEY_X25519;
  EVP_PKEY_free(key);
  return is;
}

/* NULL: all was as it must be. */
static const char *shake_hands(SSL *tls, int resumed) {
  if (SSL_connect(tls) != 1)
    return "the handshake failed";
  if (SSL_session_reused(tls) != resumed)
    return resumed ? "not resumed" : "resumed unasked";
  if (!(resumed && SSL_version(tls) == TLS1_2_VERSION) && !is_x25519(tls))
    return "not with X25519";
  const char *chosen = SSL_CIPHER_standard_name(SSL_get_current_cipher(tls));
  if (suite && strcmp(suite, chosen))
    return "with another suite than before";
  suite = chosen;
  return ask(tls);
}

static void one(SSL_CTX *context, int port, int resumed) {
  SSL *tls = tls_new(context);
  int fd = open_socket(port);
  SSL_set_fd(tls, fd);
  if (resumed && !SSL_set_session(tls, ticket)) {
    fputs("hs: the ticket cannot be used\n", stderr);
    exit(1);
  }
  const char *wrong = shake_hands(tls, resumed);
  if (wrong) {
    fprintf(stderr, "hs: %s\n", wrong);
    ERR_print_errors_fp(stderr);
    exit(1);
  }
  if (resumed && SSL_version(tls) == TLS1_2_VERSION) {
    /* A server may give a new ticket, which makes the old one void and is not told by the callback. */
    SSL_SESSION_free(ticket);
    ticket = SSL_get1_session(tls);
  }
  SSL_set_shutdown(tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else the session counts as broken */
  SSL_free(tls);
  close(fd);
}

int main(int argc, char **argv) {
  if (argc < 6)
    return 2;
  int port = atoi(argv[1]), resumed = !strcmp(argv[3], "resumed");
  double seconds = atof(argv[2]);
  signal(SIGPIPE, SIG_IGN);
  SSL_CTX *context = tls_context(!strcmp(argv[4], "1.2") ? TLS1_2_VERSION : TLS1_3_VERSION, !strcmp(argv[5], "any"));
  if (resumed) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_ticket);
    one(context, port, 0);
    if (!ticket) {
      fputs("hs: no ticket came\n", stderr);
      return 1;
    }
  }
  long n = 0;
  double start = now(), end = start + seconds, at = start;
  for (; at < end; at = now(), n++)
    one(context, port, resumed);
  printf("handshakes=%ld rate=%.0f suite=%s\n", n, (double)n / (at - start), suite ? suite : "none");
  return 0;
}
