/*
 * peer.c - raw clients: non-blocking sockets that live in the test's own thread, and the splitting of what they received
 * into responses. The rule: the splitter is strict; whatever a server may not send ends the test.
 */
#include "check.h"
#include "rounds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static peer **peers;
static size_t npeers, peers_cap;

static peer *peer_make(int fd, int own) {
  peer *p = need(calloc(1, sizeof *p));
  CHECK(fd >= 0);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  p->fd = fd, p->own = own, p->tunnel = -1;
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

static int tcp_fd(int port, int receive_buffer) {
  struct sockaddr_in in = loopback(port);
  return socket_to((struct sockaddr *)&in, sizeof in, receive_buffer);
}

peer *peer_tcp(int port) { return peer_make(tcp_fd(port, 0), 0); }
peer *peer_tcp_small(int port) { return peer_make(tcp_fd(port, 4096), 0); }
peer *peer_own(int port) { return peer_make(tcp_fd(port, 0), 1); }
peer *peer_fd(int fd) { return peer_make(fd, 0); }

peer *peer_tcp6(int port) {
  struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  return peer_make(socket_to((struct sockaddr *)&in, sizeof in, 0), 0);
}

peer *peer_unix(const char *path) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  return peer_make(socket_to((struct sockaddr *)&un, sizeof un, 0), 0);
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
  if (error == ECONNRESET || error == EPIPE) p->reset = 1;
}

static void flush_out(peer *p) {
  while (p->fd >= 0 && p->out_at < p->out_n) {
    ssize_t n = send(p->fd, p->out + p->out_at, p->out_n - p->out_at, MSG_NOSIGNAL);
    if (n > 0) {
      p->out_at += (size_t)n;
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
    if (p->fin_wanted && p->fd >= 0) {
      p->fin_wanted = 0;
      shutdown(p->fd, SHUT_WR);
    }
  }
}

void peer_send_n(peer *p, const void *data, size_t n) {
  CHECK(p->fd >= 0);
  p->out = need(realloc(p->out, p->out_n + n + 1));
  if (n) memcpy(p->out + p->out_n, data, n);
  p->out_n += n;
  flush_out(p);
}

void peer_send(peer *p, const char *text) { peer_send_n(p, text, strlen(text)); }

int peer_sent(const peer *p) { return p->out_at == p->out_n; }

void peer_fin(peer *p) {
  p->fin_wanted = 1;
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
  free(p->responses);
  free(p->in);
  free(p->out);
  free(p);
}

void peer_close(peer *p) {
  if (p->fd >= 0) close(p->fd);
  drop(p);
}

void peer_rst(peer *p) {
  struct linger now = {1, 0};
  setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  peer_close(p);
}

/* ---- bytes in ----------------------------------------------------------------------------------------------------------- */

static void read_in(peer *p) {
  while (p->fd >= 0 && !p->eof) {
    if (p->cap - p->n < 4096) {
      p->cap = p->cap ? p->cap * 2 : 8192;
      p->in = need(realloc(p->in, p->cap + 1));
    }
    ssize_t n = recv(p->fd, p->in + p->n, p->cap - p->n, 0);
    if (n > 0) p->n += (size_t)n;
    else if (n == 0) over(p, 0);
    else if (errno == EINTR) continue;
    else if (errno == EAGAIN || errno == ENOTCONN) break;
    else over(p, errno);
  }
}

void peer_pump(peer *p) {
  flush_out(p);
  if (!p->paused) read_in(p);
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
    short events = (short)((p->paused || p->eof ? 0 : POLLIN) | (p->out_at < p->out_n ? POLLOUT : 0));
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

/* ---- responses ---------------------------------------------------------------------------------------------------------- */

static const char *find_field(const response *r, const char *name, size_t nth, size_t *n) {
  size_t len = strlen(name);
  for (const char *line = strstr(r->head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
    const char *at = line + 2;
    if (strncasecmp(at, name, len) != 0 || at[len] != ':' || nth-- > 0) continue;
    at += len + 1;
    while (*at == ' ' || *at == '\t') at++;
    *n = (size_t)(strstr(at, "\r\n") - at);
    return at;
  }
  return NULL;
}

const char *response_field(const response *r, const char *name) {
  static _Thread_local char values[8][512];
  static _Thread_local unsigned next;
  size_t n;
  const char *at = find_field(r, name, 0, &n);
  if (!at) return NULL;
  char *value = values[next++ % 8];
  snprintf(value, sizeof values[0], "%.*s", (int)n, at);
  return value;
}

size_t response_fields(const response *r, const char *name) {
  size_t count = 0, n;
  while (find_field(r, name, count, &n)) count++;
  return count;
}

static void junk(const char *why, const char *p, size_t n) {
  check_fail(__FILE__, __LINE__, "the server sent %s: \"%.*s\"", why, (int)(n > 400 ? 400 : n), p);
}

/* Walks over the chunks from `at` and decodes them into r where `copy` says so; where they end, or 0: not all here yet. */
static size_t chunks(peer *p, response *r, size_t at, int copy) {
  size_t cap = 0;
  for (;;) {
    const char *line = p->in + at, *end = memmem(line, p->n - at, "\r\n", 2);
    if (!end) return 0;
    size_t size = 0;
    if (end == line) junk("an empty chunk size", line, p->n - at);
    for (const char *c = line; c < end; c++) {
      int digit = *c >= '0' && *c <= '9' ? *c - '0' : *c >= 'a' && *c <= 'f' ? *c - 'a' + 10 : *c >= 'A' && *c <= 'F' ? *c - 'A' + 10 : -1;
      if (digit < 0) junk("a bad chunk size", line, p->n - at);
      size = size * 16 + (size_t)digit;
    }
    at = (size_t)(end + 2 - p->in);
    if (size == 0) break;
    if (p->n - at < size + 2) return 0;
    if (memcmp(p->in + at + size, "\r\n", 2) != 0) junk("a chunk without its end", p->in + at, size + 2);
    if (copy) {
      if (r->len + size + 1 > cap) r->body = need(realloc(r->body, cap = (r->len + size + 1) * 2));
      memcpy(r->body + r->len, p->in + at, size);
      r->len += size;
    }
    at += size + 2;
  }
  size_t start = at;
  for (;;) {
    const char *line = p->in + at, *end = memmem(line, p->n - at, "\r\n", 2);
    if (!end) return 0;
    at = (size_t)(end + 2 - p->in);
    if (end == line) break;
  }
  if (copy) r->trailers = need(strndup(p->in + start, at - 2 - start));
  return at;
}

static void forget_response(response *r) {
  free((char *)r->head);
  free(r->body);
  free(r->trailers);
}

/* 1: one more response was split off. */
static int split_one(peer *p) {
  response r;
  memset(&r, 0, sizeof r);
  if (p->raw || p->parsed >= p->n) return 0;
  const char *at = p->in + p->parsed, *end = memmem(at, p->n - p->parsed, "\r\n\r\n", 4);
  if (p->n - p->parsed >= 7 && memcmp(at, "HTTP/1.", 7) != 0) junk("what is no response", at, p->n - p->parsed);
  if (!end) return 0;
  r.start = p->parsed;
  r.head_len = (size_t)(end + 4 - at);
  if (memchr(at, 0, r.head_len)) junk("NUL in a head", at, r.head_len);
  r.head = need(strndup(at, r.head_len));
  if (sscanf(r.head, "HTTP/1.%*1[01] %3d", &r.status) != 1 || r.status < 100 || r.status > 599) junk("a bad status line", at, r.head_len);
  if (r.head[8] != ' ' || r.head[12] != ' ') junk("a bad status line", at, r.head_len);
  r.informational = r.status < 200 && r.status != 101;
  size_t body = (size_t)(end + 4 - p->in), value = 0;
  const char *length = response_field(&r, "content-length"), *coding = response_field(&r, "transfer-encoding");
  if (response_fields(&r, "content-length") > 1) junk("two Content-Length", at, r.head_len);
  if (length && coding) junk("both Content-Length and Transfer-Encoding", at, r.head_len);
  if ((length || coding) && (r.status < 200 || r.status == 204)) junk("body framing where RFC 9110 forbids it", at, r.head_len);
  int is_head = !r.informational && p->nfinal < 64 && (p->head_only >> p->nfinal & 1);
  int tunnel = r.status == 101 || (!r.informational && p->tunnel == (int)p->nfinal && r.status / 100 == 2);
  if (tunnel) {
    if (length || coding) junk("body framing in front of a tunnel", at, r.head_len);
    r.end = body;
  } else if (r.informational || is_head || r.status == 204 || r.status == 304) {
    r.end = body;
  } else if (coding) {
    if (strcasecmp(coding, "chunked") != 0) junk("an unknown transfer coding", at, r.head_len);
    r.chunked = 1;
    r.end = chunks(p, &r, body, 0);
    if (r.end || p->eof) chunks(p, &r, body, 1);
    if (!r.end && p->eof) r.truncated = 1, r.end = p->n;
  } else if (length) {
    char *stop;
    value = strtoull(length, &stop, 10);
    if (*stop || stop == length) junk("a bad Content-Length", at, r.head_len);
    if (p->n - body >= value) r.end = body + value;
    else if (p->eof) r.truncated = 1, r.end = p->n;
    if (r.end) r.len = r.end - body;
  } else if (p->eof) {
    r.end = p->n;
    r.len = r.end - body;
  }
  if (!r.end) {
    forget_response(&r);
    return 0;
  }
  if (!r.chunked) {
    r.body = need(malloc(r.len + 1));
    if (r.len) memcpy(r.body, p->in + body, r.len);
  } else if (!r.body) {
    r.body = need(malloc(1));
  }
  r.body[r.len] = 0;
  p->responses = need(realloc(p->responses, (p->nresponses + 1) * sizeof r));
  p->responses[p->nresponses++] = r;
  p->nfinal += !r.informational;
  p->parsed = r.end;
  p->raw = tunnel;
  return 1;
}

size_t peer_all(peer *p) {
  while (split_one(p)) {}
  return p->nresponses;
}

size_t peer_finals(peer *p) {
  peer_all(p);
  return p->nfinal;
}

response *peer_any(peer *p, size_t nth) {
  if (nth >= peer_all(p)) check_fail(__FILE__, __LINE__, "there is no response %zu", nth);
  return &p->responses[nth];
}

response *peer_nth(peer *p, size_t nth) {
  size_t k = nth;
  for (size_t i = 0; i < peer_all(p); i++)
    if (!p->responses[i].informational && k-- == 0) return &p->responses[i];
  check_fail(__FILE__, __LINE__, "there is no final response %zu", nth);
}

const char *peer_raw(peer *p, size_t *n) {
  peer_all(p);
  *n = p->n - p->parsed;
  return p->in ? p->in + p->parsed : "";
}

char *masked(const char *wire, size_t n) {
  char *copy = need(malloc(n + 1));
  if (n) memcpy(copy, wire, n);
  copy[n] = 0;
  for (size_t i = 0; i + 8 < n; i++)
    if (strncasecmp(copy + i, "\r\ndate: ", 8) == 0)
      for (i += 8; i < n && copy[i] != '\r'; i++) copy[i] = '#';
  return copy;
}
