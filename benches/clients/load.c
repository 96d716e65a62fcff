/*
 * load.c - load client: one thread, epoll, N connections, each with D requests outstanding; checks every response
 * (status 200, framing, nothing behind the last body) and prints one line of key=value pairs.
 *
 *   load -p PORT [-c connections] [-d depth] [-t seconds] [-n total requests] [-u path] [-s] [-b bytes]
 *
 * -s: over TLS 1.3; -b: every body must be so many times the letter x.
 *
 * A connection sends its next D requests when the last answer of the batch is complete.
 */
#define _GNU_SOURCE
#include "tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 32768
#define LONGEST_US 2000000

enum state { HEAD, SIZED, CHUNK_SIZE, CHUNK_DATA, LAST_CHUNK };

struct connection {
  int fd, closed;
  SSL *tls;          /* NULL: without */
  int waiting_for;   /* responses of this batch still to come */
  uint64_t sent_at;  /* ns */
  size_t written;    /* of the batch */
  size_t batch;      /* bytes of it */
  enum state state;
  uint64_t body;     /* bytes of the body or chunk still to come */
  size_t have;
  char in[BUFFER];
};

static char *requests; /* depth requests, one behind the other */
static size_t one_request;
static int depth = 1, stopping;
static int64_t left = INT64_MAX; /* requests not yet sent */
static uint64_t body_of_x;       /* 0: any body */
static uint64_t ok, bad;
static uint32_t *latencies; /* [µs] = how many */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Both as read and write on a non-blocking socket. */
static ssize_t put(struct connection *c, const char *from, size_t n) {
  if (!c->tls)
    return write(c->fd, from, n);
  ERR_clear_error();
  int done = SSL_write(c->tls, from, (int)n);
  errno = done <= 0 && tls_again(c->tls, done) ? EAGAIN : EPROTO;
  return done > 0 ? done : -1;
}

static ssize_t take(struct connection *c, char *to, size_t room) {
  if (!c->tls)
    return read(c->fd, to, room);
  ERR_clear_error();
  int done = SSL_read(c->tls, to, (int)room);
  errno = done <= 0 && tls_again(c->tls, done) ? EAGAIN : EPROTO;
  return done > 0 ? done : -1;
}

/* 0: all written, or the socket is full; -1: broken. */
static int write_batch(struct connection *c) {
  while (c->written < c->batch) {
    ssize_t n = put(c, requests + c->written, c->batch - c->written);
    if (n < 0)
      return errno == EAGAIN ? 0 : -1;
    c->written += (size_t)n;
  }
  return 0;
}

static int next_batch(struct connection *c) {
  if (stopping || left <= 0)
    return 0;
  int n = left < depth ? (int)left : depth;
  left -= n;
  c->waiting_for = n;
  c->sent_at = now_ns();
  c->written = 0;
  c->batch = one_request * (size_t)n;
  return write_batch(c);
}

/* A response is complete. 1: the batch goes on; 0: it was the last and nothing may follow; -1: broken. */
static int answered(struct connection *c, uint64_t now) {
  uint64_t us = (now - c->sent_at) / 1000;
  latencies[us < LONGEST_US ? us : LONGEST_US - 1]++;
  ok++;
  c->state = HEAD;
  return --c->waiting_for > 0;
}

/* The framing of a response, from its head of n bytes (with the empty line). -1: not a good answer. */
static int read_head(struct connection *c, const char *head, size_t n) {
  if (strncmp(head, "HTTP/1.1 200", 12) != 0)
    return -1;
  const char *end = head + n;
  for (const char *line = memchr(head, '\n', n); line && ++line < end; line = memchr(line, '\n', (size_t)(end - line))) {
    if (!strncasecmp(line, "content-length:", 15)) {
      c->body = strtoull(line + 15, NULL, 10);
      c->state = SIZED;
      return body_of_x && c->body != body_of_x ? -1 : 0;
    }
    if (!body_of_x && !strncasecmp(line, "transfer-encoding: chunked", 26)) {
      c->state = CHUNK_SIZE;
      return 0;
    }
  }
  return -1;
}

/* Takes what it can of the input. -1: broken. */
static int read_responses(struct connection *c, uint64_t now) {
  char *at = c->in, *end = c->in + c->have;
  while (at < end) {
    int done = 0;
    if (c->state == SIZED || c->state == CHUNK_DATA) {
      uint64_t n = c->body < (uint64_t)(end - at) ? c->body : (uint64_t)(end - at);
      if (body_of_x && n > 0 && (*at != 'x' || memcmp(at, at + 1, n - 1) != 0))
        return -1;
      c->body -= n;
      at += n;
      if (c->body > 0)
        break;
      if (c->state == SIZED)
        done = 1;
      else
        c->state = CHUNK_SIZE;
    } else {
      const char *mark = c->state == CHUNK_SIZE ? "\r\n" : "\r\n\r\n";
      size_t length = strlen(mark);
      char *stop = memmem(at, (size_t)(end - at), mark, length);
      if (!stop) {
        if ((size_t)(end - at) == sizeof c->in)
          return -1;
        break;
      }
      if (c->state == HEAD) {
        if (read_head(c, at, (size_t)(stop - at) + length))
          return -1;
        at = stop + length;
        done = c->state == SIZED && c->body == 0;
      } else if (c->state == CHUNK_SIZE) {
        c->body = strtoull(at, NULL, 16) + 2; /* with its CRLF */
        if (c->body == 2)
          c->state = LAST_CHUNK; /* the mark stays: "0 CRLF CRLF" */
        else {
          at = stop + length;
          c->state = CHUNK_DATA;
        }
      } else {
        at = stop + length;
        done = 1;
      }
    }
    if (done) {
      int more = answered(c, now);
      if (!more && (at != end || next_batch(c)))
        return -1;
    }
  }
  c->have = (size_t)(end - at);
  memmove(c->in, at, c->have);
  return 0;
}

static int read_input(struct connection *c) {
  for (;;) {
    size_t room = sizeof c->in - c->have;
    ssize_t n = take(c, c->in + c->have, room);
    if (n <= 0)
      return n < 0 && errno == EAGAIN ? 0 : -1;
    c->have += (size_t)n;
    if (read_responses(c, now_ns()))
      return -1;
    if (!c->tls && (size_t)n < room) /* a record may leave another one behind it */
      return 0;
  }
}

static void open_connection(struct connection *c, int port, int epoll, SSL_CTX *context) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) {
    perror("connect");
    exit(1);
  }
  if (context) {
    struct timeval patience = {5, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    c->tls = tls_new(context);
    if (!SSL_set_fd(c->tls, c->fd) || SSL_connect(c->tls) != 1) {
      ERR_print_errors_fp(stderr);
      exit(1);
    }
  }
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event ev = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = c}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev);
}

static uint64_t percentile(double share) {
  uint64_t total = 0, sum = 0;
  for (int i = 0; i < LONGEST_US; i++)
    total += latencies[i];
  for (int i = 0; i < LONGEST_US; i++)
    if ((sum += latencies[i]) && (double)sum >= share * (double)total)
      return (uint64_t)i;
  return 0;
}

int main(int argc, char **argv) {
  int port = 0, n = 64, tls = 0, option;
  double seconds = 5;
  const char *path = "/plaintext";
  while ((option = getopt(argc, argv, "p:c:d:t:n:u:sb:")) > 0) {
    switch (option) {
    case 'p': port = atoi(optarg); break;
    case 'c': n = atoi(optarg); break;
    case 'd': depth = atoi(optarg); break;
    case 't': seconds = atof(optarg); break;
    case 'n': left = atoll(optarg); break;
    case 'u': path = optarg; break;
    case 's': tls = 1; break;
    case 'b': body_of_x = strtoull(optarg, NULL, 10); break;
    default: return 2;
    }
  }
  signal(SIGPIPE, SIG_IGN);
  latencies = calloc(LONGEST_US, sizeof *latencies);
  struct connection *all = calloc((size_t)n, sizeof *all);
  char request[512];
  one_request = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", path, port);
  requests = malloc(one_request * (size_t)depth);
  if (!latencies || !all || !requests)
    return 1;
  for (int i = 0; i < depth; i++)
    memcpy(requests + (size_t)i * one_request, request, one_request);

  int epoll = epoll_create1(EPOLL_CLOEXEC);
  SSL_CTX *context = tls ? tls_context(TLS1_3_VERSION, 0) : NULL;
  for (int i = 0; i < n; i++)
    open_connection(&all[i], port, epoll, context);

  uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9), grace = end + 2000000000u, stopped = 0, in_time = 0;
  for (int i = 0; i < n; i++)
    if (next_batch(&all[i]))
      bad++;
  for (int live = n; live > 0;) {
    uint64_t now = now_ns();
    if (!stopping && now >= end) {
      stopping = 1;
      stopped = now;
      in_time = ok;
    }
    if (stopping || left <= 0) {
      int busy = 0;
      for (int i = 0; i < n; i++)
        busy += all[i].waiting_for > 0 && !all[i].closed;
      if (!busy || now > grace)
        break;
    }
    struct epoll_event ready[256];
    int k = epoll_wait(epoll, ready, 256, 50);
    for (int i = 0; i < k; i++) {
      struct connection *c = ready[i].data.ptr;
      int broken = (ready[i].events & EPOLLOUT) && c->written < c->batch && write_batch(c);
      if (!broken && (ready[i].events & ~(uint32_t)EPOLLOUT))
        broken = read_input(c);
      if (broken) {
        bad++;
        live--;
        c->closed = 1;
        close(c->fd);
      }
    }
  }
  if (!stopped) {
    stopped = now_ns();
    in_time = ok;
  }
  uint64_t lost = 0;
  for (int i = 0; i < n; i++)
    lost += (uint64_t)all[i].waiting_for;
  printf("rate=%.0f ok=%llu bad=%llu lost=%llu p50_us=%llu p99_us=%llu max_us=%llu\n", (double)in_time / ((double)(stopped - start) / 1e9),
         (unsigned long long)ok, (unsigned long long)bad, (unsigned long long)lost, (unsigned long long)percentile(.5),
         (unsigned long long)percentile(.99), (unsigned long long)percentile(1));
  return bad || lost;
}
