/*
 * proxy.c - a reverse proxy: every request is forwarded to one upstream server, over a connection of its
 * own.
 *
 * It shows back-pressure both ways. Upwards encke hands over no more than BODY_WINDOW bytes of a body
 * without credit, and credit is given as the upstream takes them. Downwards encke_write is asked (length 0)
 * before each read: at ENCKE_E_AGAIN the upstream is not read until ENCKE_EV_WRITABLE. So a transfer
 * occupies a bounded amount of memory, whatever its size and whichever side is slow. Lengths stay lengths,
 * chunked stays chunked, fields that belong to one hop are not passed on, 101 opens a tunnel, and the
 * upstream connection ends when the client leaves.
 *
 *   ./proxy HOST PORT [ADDRESS]            default 127.0.0.1:8080
 *   python3 -m http.server 8000 & ./proxy 127.0.0.1 8000
 *   curl -v http://127.0.0.1:8080/
 */
#define _GNU_SOURCE 1 /* memmem */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy_http.h"

#define WINDOW 262144

enum state { HEAD, SIZED, CHUNKED, TO_CLOSE, TUNNEL, OVER }; /* of the response */

struct transfer {
  encke_id id;
  int fd;            /* the connection to the upstream; -1: over */
  uint32_t interest; /* in epoll; 0: out of the set, where a paused one would report its hang-up on and on */
  bool paused;       /* AGAIN came, WRITABLE has not */
  bool deaf;         /* the upstream takes no more of the request, but may still answer it */
  bool is_head, upgrade, chunk_body, shut_later;
  struct buffer out; /* for the upstream: at most the head and WINDOW bytes of body, with chunk framing */
  size_t unacked;
  enum state state;
  struct chunks chunks;
  uint64_t left;     /* SIZED: bytes to come */
  size_t in_len;
  char in[16384];    /* the beginning of the response head, later what one read brought */
};

static encke *e;
static encke_sender *sender;
static int ep;
static struct addrinfo *upstream;
static size_t transfers; /* between REQUEST and DONE */
static bool drained;
static volatile sig_atomic_t stop;

static void die(const char *what, const char *why) {
  fprintf(stderr, "proxy: %s: %s\n", what, why);
  exit(1);
}

/* ---- the end of a transfer ------------------------------------------------------------------------ */

/* After the settle. The struct itself lives on until DONE. */
static void close_upstream(struct transfer *t) {
  if (t->fd >= 0)
    close(t->fd);
  t->fd = -1;
  t->state = OVER;
}

/* 502 where nothing was sent yet, else the client's connection is cut: encke_reply does both, and settles. */
static void fail(struct transfer *t, const char *why) {
  encke_reply(sender, t->id, 502, "text/plain", why, strlen(why));
  close_upstream(t);
}

static void complete(struct transfer *t) {
  if (encke_end(sender, t->id, NULL, 0) != ENCKE_OK)
    encke_abort(sender, t->id);
  close_upstream(t);
}

static void watch(struct transfer *t) {
  uint32_t want = (t->paused ? 0 : EPOLLIN) | (t->out.n > 0 ? EPOLLOUT : 0);
  int op = want == 0 ? EPOLL_CTL_DEL : t->interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  struct epoll_event ev = {.events = want, .data.ptr = t};
  if (t->fd < 0 || want == t->interest)
    return;
  if (epoll_ctl(ep, op, t->fd, &ev) != 0)
    fail(t, "the proxy is out of resources\n");
  t->interest = want;
}

/* ---- the request, upwards ------------------------------------------------------------------------- */

static void on_request(encke_id id, const encke_head *h) {
  struct transfer *t = calloc(1, sizeof *t);
  if (t == NULL || encke_set_user(sender, id, (uint64_t)(uintptr_t)t) != ENCKE_OK) {
    free(t);
    encke_abort(sender, id);
    return;
  }
  transfers++;
  t->id = id;
  t->is_head = is(h->method, "HEAD");
  t->upgrade = (h->flags & ENCKE_HEAD_UPGRADE) != 0;
  t->chunk_body = (h->flags & ENCKE_HEAD_BODY_FOLLOWS) && h->content_length == ENCKE_UNKNOWN;
  t->fd = socket(upstream->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  put_head(&t->out, h, t->chunk_body, t->upgrade);
  if (t->out.failed || t->fd < 0 ||
      (connect(t->fd, upstream->ai_addr, upstream->ai_addrlen) != 0 && errno != EINPROGRESS))
    fail(t, "no connection to the upstream\n");
  watch(t); /* writable when it is connected, and when that has failed */
}

static void push(struct transfer *t) {
  size_t sent = 0;
  while (sent < t->out.n) {
    ssize_t n = send(t->fd, t->out.p + sent, t->out.n - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += (size_t)n;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) { /* it may have answered before it closed: go on reading */
      t->deaf = true;
      t->out.n = t->unacked = sent = 0;
    }
  }
  t->out.n -= sent;
  if (t->out.n > 0)
    memmove(t->out.p, t->out.p + sent, t->out.n);
  if (t->unacked > t->out.n) { /* no more of the body than `out` holds can still be unsent */
    encke_body_ack(sender, t->id, t->unacked - t->out.n);
    t->unacked = t->out.n;
  }
  if (t->shut_later && t->out.n == 0) {
    t->shut_later = false;
    shutdown(t->fd, SHUT_WR);
  }
}

static void on_body(struct transfer *t, const encke_event *ev) {
  if (t->fd < 0 || t->deaf)
    return; /* no credit: what is on its way stays there */
  put_piece(&t->out, ev->data, ev->len, t->chunk_body, !ev->more);
  if (t->out.failed) {
    fail(t, "the proxy is out of memory\n");
    return;
  }
  t->unacked += ev->len;
  t->shut_later = t->state == TUNNEL && !ev->more;
  push(t);
  watch(t);
}

/* ---- the response, downwards ---------------------------------------------------------------------- */

static void on_head(struct transfer *t, size_t n) {
  static struct answer a;
  static encke_field keep[MAX_FIELDS];
  encke_response r = {.fields = keep};
  if (!parse_answer(t->in, n, &a) || (a.status == 101 && !t->upgrade)) {
    fail(t, "the answer of the upstream is malformed\n");
    return;
  }
  r.status = a.status;
  for (size_t i = 0; i < a.nfields; i++)
    if (!is_of_one_hop(a.fields, a.nfields, a.fields[i].name) ||
        (a.status == 101 && is(a.fields[i].name, "upgrade")))
      keep[r.nfields++] = a.fields[i];
  if (a.status < 200 && a.status != 101) {
    if (a.status != 100) /* encke has sent its own; another interim answer may get lost, that does no harm */
      encke_inform(sender, t->id, a.status, keep, r.nfields);
    return;
  }
  bool no_body = t->is_head || a.status == 204 || a.status == 304;
  if (a.sized && a.status != 101 && (t->is_head || !no_body)) {
    r.flags = ENCKE_LENGTH;
    r.length = a.length;
  }
  int taken = no_body ? encke_respond(sender, t->id, &r, sizeof r) : encke_begin(sender, t->id, &r, sizeof r);
  if (taken != ENCKE_OK) {
    fail(t, "the answer of the upstream is malformed\n");
  } else if (no_body) {
    close_upstream(t);
  } else {
    t->state = a.status == 101 ? TUNNEL : a.chunked ? CHUNKED : a.sized ? SIZED : TO_CLOSE;
    t->chunk_body = t->chunk_body && a.status != 101;
    t->left = a.length;
  }
}

static void on_content(struct transfer *t) {
  ssize_t n = (ssize_t)t->in_len;
  bool last = false;
  t->in_len = 0;
  if (t->state == SIZED) {
    n = (uint64_t)n < t->left ? n : (ssize_t)t->left;
    t->left -= (uint64_t)n;
    last = t->left == 0;
  } else if (t->state == CHUNKED) {
    n = dechunk(&t->chunks, t->in, (size_t)n);
    last = t->chunks.state == END;
  }
  if (n < 0 || (n > 0 && encke_write(sender, t->id, t->in, (size_t)n) != ENCKE_OK))
    fail(t, "the answer of the upstream is malformed\n"); /* or the client left; pull() has ruled AGAIN out */
  else if (last)
    complete(t);
}

static void pull(struct transfer *t) {
  t->paused = encke_write(sender, t->id, NULL, 0) == ENCKE_E_AGAIN; /* else all of one read will be taken */
  if (t->paused)
    return;
  ssize_t n = recv(t->fd, t->in + t->in_len, sizeof t->in - t->in_len, 0);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
    return;
  if (n == 0 && (t->state == TO_CLOSE || t->state == TUNNEL)) {
    complete(t);
    return;
  }
  if (n <= 0) {
    fail(t, "the upstream has left without an answer\n");
    return;
  }
  t->in_len += (size_t)n;
  char *end;
  while (t->state == HEAD && (end = memmem(t->in, t->in_len, "\r\n\r\n", 4)) != NULL) { /* 1xx go before */
    size_t head = (size_t)(end - t->in) + 4;
    on_head(t, head);
    t->in_len -= head;
    memmove(t->in, t->in + head, t->in_len);
  }
  if (t->state == HEAD && t->in_len == sizeof t->in)
    fail(t, "the answer of the upstream has too long a head\n");
  else if (t->state != HEAD && t->state != OVER)
    on_content(t);
}

/* ---- the loop ------------------------------------------------------------------------------------- */

static void on_event(struct transfer *t, const encke_event *ev) {
  switch (ev->kind) {
  case ENCKE_EV_BODY:
    on_body(t, ev);
    break;
  case ENCKE_EV_WRITABLE:
    t->paused = false;
    watch(t);
    break;
  case ENCKE_EV_ABORTED:
    encke_abort(sender, t->id);
    close_upstream(t);
    break;
  case ENCKE_EV_DONE:
    free(t->out.p);
    free(t);
    transfers--;
    break;
  default:
    break;
  }
}

/* After the upstreams' events of one wake-up: transfers are freed only here, so none of those is stale. */
static void serve(void) {
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("encke_run", encke_last_error());
  while (encke_next(e, &ev, sizeof ev) > 0) {
    if (ev.kind == ENCKE_EV_REQUEST)
      on_request(ev.id, ev.head);
    else if (ev.user != 0)
      on_event((struct transfer *)(uintptr_t)ev.user, &ev);
    else if (ev.kind == ENCKE_EV_LISTENER)
      fprintf(stderr, "proxy: cannot accept: %s\n", strerror(ev.code));
    else if (ev.kind == ENCKE_EV_DRAINED)
      drained = true;
  }
}

static void on_upstream(struct transfer *t, uint32_t events) {
  if (t->fd >= 0 && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
    push(t);
  if (t->fd >= 0 && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
    pull(t);
  watch(t);
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender);
}

static void start(const char *address) {
  encke_config *c = encke_config_new();
  if (c == NULL || encke_config_set(c, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)) != ENCKE_OK ||
      encke_config_set(c, ENCKE_OPT_BUFFER_BODY, 0) != ENCKE_OK || /* every body comes in BODY events */
      encke_config_set(c, ENCKE_OPT_MAX_BODY, (uint64_t)1 << 50) != ENCKE_OK ||
      encke_config_set(c, ENCKE_OPT_BODY_WINDOW, WINDOW) != ENCKE_OK ||
      encke_config_set(c, ENCKE_OPT_HIGH_WATER, WINDOW) != ENCKE_OK ||
      encke_config_set(c, ENCKE_OPT_ANSWER_TIMEOUT_MS, 60000) != ENCKE_OK || /* 503: the upstream hangs */
      encke_new(c, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  encke_config_free(c);
  if (encke_listen(e, address, NULL, NULL) != ENCKE_OK)
    die("encke_listen", encke_last_error());
  sender = encke_get_sender(e);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: proxy HOST PORT [ADDRESS]\n");
    return 2;
  }
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  int r = getaddrinfo(argv[1], argv[2], &hints, &upstream);
  if (r != 0)
    die(argv[1], gai_strerror(r));
  start(argc > 3 ? argv[3] : "127.0.0.1:8080");

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);

  struct epoll_event of_encke = {.events = EPOLLIN, .data.ptr = NULL};
  ep = epoll_create1(EPOLL_CLOEXEC);
  if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, encke_fd(e), &of_encke) != 0)
    die("epoll", strerror(errno));

  for (bool draining = false; !drained || transfers > 0;) {
    struct epoll_event ready[64];
    int n = epoll_wait(ep, ready, 64, -1);
    if (n < 0 && errno != EINTR)
      die("epoll_wait", strerror(errno));
    for (int i = 0; i < n; i++)
      if (ready[i].data.ptr != NULL)
        on_upstream(ready[i].data.ptr, ready[i].events);
    serve();
    if (stop && !draining) {
      draining = true;
      if (encke_drain(e, 5000) != ENCKE_OK)
        die("encke_drain", encke_last_error());
    }
  }
  encke_free(e);
  freeaddrinfo(upstream);
  close(ep);
  return 0;
}
