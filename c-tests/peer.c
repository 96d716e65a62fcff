/*
 * peer.c - raw clients: non-blocking sockets that live in the test's own thread. Over TLS the bytes go through layer.c. The
 * rule: what a socket says is kept as it came, and over TLS an end without close_notify is a reset.
 */
#include "check.h"
#include "layer.h"
#include "rounds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static peer **peers;
static size_t npeers, peers_cap;

peer *peer_make(int fd, int own, layer *tls) {
  peer *p = need(calloc(1, sizeof *p));
  CHECK(fd >= 0);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  p->fd = fd, p->own = own, p->tunnel = -1, p->tls = tls;
  if (!own) {
    if (npeers == peers_cap) {
      peers_cap = peers_cap ? peers_cap * 2 : 64;
      peers = need(realloc(peers, peers_cap * sizeof *peers));
    }
    peers[npeers++] = p;
  }
  return p;
}

static int socket_to(const struct sockaddr *address, socklen_t n, int receive_buffer) {
  int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
  if (fd < 0) check_fail(__FILE__, __LINE__, "socket: %s", strerror(errno));
  if (receive_buffer) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  if (address->sa_family != AF_UNIX) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(fd, address, n) < 0 && errno != EINPROGRESS) check_fail(__FILE__, __LINE__, "connect: %s", strerror(errno));
  return fd;
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return in;
}

int peer_socket(int port, int small) {
  struct sockaddr_in in = loopback(port);
  return socket_to((struct sockaddr *)&in, sizeof in, small ? 4096 : 0);
}

/* Its first words go out as soon as the socket takes them. */
static peer *begun(peer *p) {
  if (p->tls) peer_pump(p);
  return p;
}

peer *peer_tcp(int port) { return begun(peer_make(peer_socket(port, 0), 0, layer_open())); }
peer *peer_tcp_small(int port) { return begun(peer_make(peer_socket(port, 1), 0, layer_open())); }
peer *peer_own(int port) { return begun(peer_make(peer_socket(port, 0), 1, layer_open())); }
peer *peer_fd(int fd) { return begun(peer_make(fd, 0, layer_open())); }

peer *peer_tcp6(int port) {
  struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  return begun(peer_make(socket_to((struct sockaddr *)&in, sizeof in, 0), 0, layer_open()));
}

peer *peer_unix(const char *path) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  return begun(peer_make(socket_to((struct sockaddr *)&un, sizeof un, 0), 0, layer_open()));
}

int tcp_connectable(int port) {
  struct sockaddr_in in = loopback(port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  int rc = connect(fd, (struct sockaddr *)&in, sizeof in);
  close(fd);
  return rc == 0;
}

/* ---- bytes out ---------------------------------------------------------------------------------------------------------- */

static void over(peer *p, int error) {
  p->eof = 1;
  if (error == ECONNRESET || error == EPIPE || (p->tls && !layer_closed(p->tls))) p->reset = 1;
}

static void flush_out(peer *p) {
  if (p->tls) layer_move(p);
  while (p->fd >= 0 && !p->held && p->out_at < p->out_n) {
    ssize_t n = send(p->fd, p->out + p->out_at, p->drip ? 1 : p->out_n - p->out_at, MSG_NOSIGNAL);
    if (n > 0) {
      p->out_at += (size_t)n;
      if (p->drip) break;
    } else if (errno == EINTR) {
      continue;
    } else {
      /* A server that closed may still have answered: reading tells. Nothing more can be sent, though. */
      if (errno != EAGAIN && errno != ENOTCONN && errno != EINPROGRESS) p->out_at = p->out_n;
      break;
    }
  }
  if (p->out_at == p->out_n) {
    p->out_at = p->out_n = 0;
    if (p->fin_wanted && p->fd >= 0 && (!p->tls || p->cut || layer_said(p->tls))) {
      p->fin_wanted = 0;
      shutdown(p->fd, SHUT_WR);
    }
  }
}

void peer_put(peer *p, const void *data, size_t n) {
  p->out = need(realloc(p->out, p->out_n + n + 1));
  if (n) memcpy(p->out + p->out_n, data, n);
  p->out_n += n;
}

void peer_send_n(peer *p, const void *data, size_t n) {
  CHECK(p->fd >= 0);
  if (p->tls) layer_say(p->tls, data, n);
  else peer_put(p, data, n);
  flush_out(p);
}

void peer_send(peer *p, const char *text) { peer_send_n(p, text, strlen(text)); }

int peer_sent(const peer *p) { return p->out_at == p->out_n && (!p->tls || layer_said(p->tls)); }

void peer_ready(peer *p) {
  if (p->tls) UNTIL(layer_established(p->tls) && peer_sent(p));
}

void peer_fin(peer *p) {
  if (p->tls) layer_end(p->tls);
  p->fin_wanted = 1;
  flush_out(p);
}

void peer_cut(peer *p) {
  p->fin_wanted = p->cut = 1;
  flush_out(p);
}

static void drop(peer *p) {
  for (size_t i = 0; i < npeers && !p->own; i++)
    if (peers[i] == p) {
      peers[i] = peers[--npeers];
      break;
    }
  if (npeers == 0 && !p->own) {
    free(peers);
    peers = NULL;
    peers_cap = 0;
  }
  for (size_t i = 0; i < p->nresponses; i++) {
    free((char *)p->responses[i].head);
    free(p->responses[i].body);
    free(p->responses[i].trailers);
  }
  layer_free(p->tls);
  free(p->responses);
  free(p->in);
  free(p->out);
  free(p);
}

static void close_now(peer *p) {
  if (p->fd >= 0) close(p->fd);
  drop(p);
}

void peer_close(peer *p) {
  if (p->tls && p->fd >= 0 && !p->cut) { /* as clients do: close_notify, if the socket takes it, and gone */
    layer_end(p->tls);
    flush_out(p);
  }
  close_now(p);
}

void peer_rst(peer *p) {
  struct linger now = {1, 0};
  setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close_now(p);
}

/* ---- bytes in ----------------------------------------------------------------------------------------------------------- */

void peer_room(peer *p, size_t n) {
  if (p->cap - p->n >= n) return;
  while (p->cap - p->n < n) p->cap = p->cap ? p->cap * 2 : 8192;
  p->in = need(realloc(p->in, p->cap + 1));
}

/* A client that does not read still shakes hands. */
static int reads(const peer *p) { return !p->eof && (!p->paused || (p->tls && !layer_established(p->tls))); }

static void read_in(peer *p) {
  char cipher[16 << 10];
  while (p->fd >= 0 && reads(p)) {
    if (!p->tls) peer_room(p, 4096);
    ssize_t n = p->tls ? recv(p->fd, cipher, sizeof cipher, 0) : recv(p->fd, p->in + p->n, p->cap - p->n, 0);
    if (n > 0 && p->tls) layer_hear(p, cipher, (size_t)n);
    else if (n > 0) p->n += (size_t)n;
    else if (n == 0) over(p, 0);
    else if (errno == EINTR) continue;
    else if (errno == EAGAIN || errno == ENOTCONN) break;
    else over(p, errno);
  }
}

void peer_pump(peer *p) {
  flush_out(p);
  read_in(p);
  if (p->tls) flush_out(p);
}

void peer_await(peer *p, size_t finals) {
  moment until = deadline();
  while (peer_finals(p) < finals && !p->eof) {
    if (now_ms() > until) check_fail(__FILE__, __LINE__, "%zu of %zu responses in time", peer_finals(p), finals);
    struct pollfd x = {.fd = p->fd, .events = (short)(POLLIN | (p->out_at < p->out_n ? POLLOUT : 0))};
    poll(&x, 1, 100);
    peer_pump(p);
  }
}

size_t rounds_peers(rounds *r) {
  for (size_t i = 0; i < npeers; i++) {
    peer *p = peers[i];
    short events = (short)((reads(p) ? POLLIN : 0) | (p->out_at < p->out_n && !p->held ? POLLOUT : 0));
    if (p->fd >= 0 && events) rounds_add(r, NULL, p, p->fd, events);
  }
  return npeers;
}

size_t rounds_each_peer(rounds *r) {
  size_t moved = 0;
  for (size_t i = 0; i < r->n; i++)
    if (r->of[i].p && r->fds[i].revents) {
      peer_pump(r->of[i].p);
      moved++;
    }
  return moved;
}

void rounds_show_peers(void) {
  for (size_t i = 0; i < npeers && i < 16; i++) {
    peer *p = peers[i];
    fprintf(stderr, "  client %zu: %zu bytes in, %zu responses, %zu bytes unsent%s%s; last: \"%.*s\"\n", i, p->n, p->nresponses,
            p->out_n - p->out_at, p->eof ? ", ended" : "", p->reset ? " by reset" : "", (int)(p->n > 300 ? 300 : p->n),
            p->in ? p->in + (p->n > 300 ? p->n - 300 : 0) : "");
  }
}

size_t rounds_open_peers(void) { return npeers; }
