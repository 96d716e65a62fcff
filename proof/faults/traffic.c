/*
 * traffic.c - failures while clients are served: a scripted run of everything a connection can be about. The rule: who was
 * not hit gets exactly its answers at the first try; who was hit gets them or loses its connection, and gets them on the
 * next one; the host sees every request through (L5), gets back what it lent, and nothing is left at the end.
 */
#include "faults.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { STREAM = 700000, LENT = 150000, FILE_SIZE = 300000, UPLOAD = 150000, BODY = 100000 };

static const fault *want;
static host *h;
static int port, file = -1;
static unsigned told_by_adopt;
static char unix_path[64], *streamed, *lent, *in_file, *upload;
static size_t lent_out;

/* ---- the host ----------------------------------------------------------------------------------------------------------- */

typedef struct { encke_id id; size_t at; int begun; } stream;
static stream streams[8];

static void go_on(stream *s) {
  while (s->at < STREAM) {
    size_t part = STREAM - s->at < 30000 ? STREAM - s->at : 30000;
    int rc = encke_write(h->s, s->id, streamed + s->at, part);
    if (rc == ENCKE_E_AGAIN) return;
    if (rc == ENCKE_E_NOMEM && want->effect == NO_MEMORY) continue; /* nothing was taken */
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    if (rc == ENCKE_E_GONE) break;
    s->at += part;
  }
  int rc = encke_end(h->s, s->id, NULL, 0);
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
  s->id = 0;
}

static void *reply_elsewhere(void *id) {
  int rc = encke_reply(h->s, *(encke_id *)id, 200, "text/plain", "elsewhere", 9);
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
  return NULL;
}

static int is(const event *x, const char *target) { return strcmp(x->target, target) == 0; }

static void on_request(const event *x) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  int rc = ENCKE_OK;
  if (is(x, "/stream")) {
    size_t i = 0;
    while (streams[i].id) CHECK(++i < sizeof streams / sizeof *streams);
    rc = encke_begin(h->s, x->id, &r, sizeof r);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    streams[i] = (stream){.id = x->id};
    go_on(&streams[i]);
    return;
  }
  if (is(x, "/lent")) {
    r.flags = ENCKE_BORROW, r.body = lent, r.body_len = LENT, r.cookie = 7;
    rc = encke_respond(h->s, x->id, &r, sizeof r);
    lent_out += rc == ENCKE_OK;
  } else if (is(x, "/file")) {
    r.flags = ENCKE_FILE, r.file = dup(file), r.length = FILE_SIZE;
    CHECK(r.file >= 0);
    rc = encke_respond(h->s, x->id, &r, sizeof r);
    if (rc == ENCKE_E_SYS) { /* nothing happened: the request and the file are still ours */
      CHECK(want->effect == SAID && encke_last_errno() == want->error);
      rc = encke_respond(h->s, x->id, &r, sizeof r);
    }
    if (rc != ENCKE_OK) close(r.file);
  } else if (is(x, "/elsewhere")) {
    pthread_t thread;
    encke_id id = x->id;
    encke_sender_ref(h->s);
    CHECK(pthread_create(&thread, NULL, reply_elsewhere, &id) == 0);
    pthread_join(thread, NULL);
    encke_sender_unref(h->s);
  } else if (x->head->flags & ENCKE_HEAD_BODY_FOLLOWS) {
    return; /* its BODY events end it */
  } else if (x->len > 0) {
    r.body = x->data, r.body_len = x->len;
    do rc = encke_respond(h->s, x->id, &r, sizeof r);
    while (rc == ENCKE_E_NOMEM && want->effect == NO_MEMORY);
  } else {
    rc = encke_reply(h->s, x->id, 200, "text/plain", x->target, strlen(x->target));
  }
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
}

static void on_event(host *host_, const event *x) {
  (void)host_;
  int rc;
  switch (x->kind) {
  case ENCKE_EV_REQUEST:
    on_request(x);
    break;
  case ENCKE_EV_WRITABLE:
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
      if (streams[i].id == x->id) go_on(&streams[i]);
    break;
  case ENCKE_EV_BODY:
    rc = encke_body_ack(h->s, x->id, x->len);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    if (x->more) break;
    rc = encke_reply(h->s, x->id, 200, "text/plain", "taken", 5);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    break;
  case ENCKE_EV_ABORTED:
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
      if (streams[i].id == x->id) streams[i].id = 0;
    CHECK_RC(encke_abort(h->s, x->id), ENCKE_E_GONE);
    break;
  case ENCKE_EV_LISTENER:
    if (want->effect != ACCEPT || x->code != want->error) check_fail(__FILE__, __LINE__, "LISTENER with code %d", x->code);
    break;
  case ENCKE_EV_RELEASED:
    CHECK_EQ(x->cookie, 7);
    break;
  default:
    break;
  }
}

/* ---- acts: each is one client; 1: all went well, 0: its connection ended early ------------------------------------------------ */

/* Until the condition holds; leaves the act where the connection ends first. */
#define REACH(cond)                                                                                                    \
  do {                                                                                                                 \
    UNTIL((cond) || p->eof);                                                                                           \
    if (!(cond)) return 0;                                                                                             \
  } while (0)

/* The nth final response: whole and as it should be, or cut. */
static int whole(peer *p, size_t nth, const char *body, size_t n) {
  response *r = peer_nth(p, nth);
  if (r->truncated || (r->status == 503 && want->effect == NO_MEMORY)) return 0;
  CHECK_EQ(r->status, 200);
  CHECK_BYTES(r->body, r->len, body, n);
  return 1;
}

static int ask(peer *p, const char *target, const char *body, size_t n) {
  size_t before = peer_finals(p);
  peer_send(p, textf("GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target));
  REACH(peer_finals(p) == before + 1);
  return whole(p, before, body, n);
}

static int some(peer *p) { return ask(p, "/one", "/one", 4) && ask(p, "/two", "/two", 4); }

static int pipelined(peer *p) {
  for (int i = 0; i < 20; i++) peer_send(p, textf("GET /p%d HTTP/1.1\r\nHost: a\r\n\r\n", i));
  for (size_t i = 0; i < 20; i++) {
    const char *target = textf("/p%zu", i);
    REACH(peer_finals(p) > i);
    if (!whole(p, i, target, strlen(target))) return 0;
  }
  return 1;
}

static int streaming(peer *p) { return ask(p, "/stream", streamed, STREAM); }

static int streaming_slowly(peer *p) {
  p->paused = 1;
  peer_send(p, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  if (!p->tls) QUIESCE(); /* the kernel's buffers are full, and the answer is above high water */
  p->paused = 0;
  REACH(peer_finals(p) == 1);
  return whole(p, 0, streamed, STREAM);
}

static int lending(peer *p) { return ask(p, "/lent", lent, LENT); }

static int from_a_file(peer *p) { return ask(p, "/file", in_file, FILE_SIZE) && ask(p, "/after", "/after", 6); }

static int from_elsewhere(peer *p) { return ask(p, "/elsewhere", "elsewhere", 9); }

static int post(peer *p, size_t n, const char *body, size_t len) {
  peer_send(p, textf("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", n));
  peer_send_n(p, upload, n);
  REACH(peer_finals(p) == 1);
  return whole(p, 0, body, len);
}

static int uploading(peer *p) { return post(p, UPLOAD, "taken", 5); }

static int uploading_at_once(peer *p) { return post(p, BODY, upload, BODY); }

static int in_chunks(peer *p) {
  peer_send(p, "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  REACH(peer_all(p) == 1);
  CHECK_EQ(peer_any(p, 0)->status, 100);
  peer_send(p, "5\r\nhello\r\n");
  QUIESCE();
  peer_send(p, "6\r\n again\r\n0\r\n\r\n");
  REACH(peer_finals(p) == 1);
  return whole(p, 0, "hello again", 11);
}

static int refused_with(peer *p, int status) {
  UNTIL(p->eof);
  if (peer_finals(p) == 0 || peer_nth(p, 0)->truncated) return 0;
  CHECK_EQ(peer_nth(p, 0)->status, status);
  return 1;
}

static int malformed(peer *p) {
  peer_send(p, "GET / HTTP/1.1\r\nHost : a\r\n\r\n");
  return refused_with(p, 400);
}

static int too_slow(peer *p) {
  peer_send(p, "GET / HTTP/1.1\r\nHo");
  return refused_with(p, 408);
}

static int leaving(peer *p) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  REACH(SEEN(h, REQUEST) > before);
  struct linger now = {1, 0};
  setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  return 1;
}

typedef struct {
  const char *name;
  int (*run)(peer *);
  enum { TCP, SMALL, LOCAL, PAIR } how;
} act;

static const act acts[] = {
  {"two requests", some, TCP},          {"20 in a pipeline", pipelined, TCP},
  {"a stream", streaming, TCP},         {"a stream to a slow reader", streaming_slowly, SMALL},
  {"a borrowed body", lending, TCP},    {"a file", from_a_file, SMALL},
  {"another thread", from_elsewhere, TCP}, {"an upload", uploading, TCP},
  {"a body", uploading_at_once, TCP},   {"chunks after 100-continue", in_chunks, TCP},
  {"a malformed request", malformed, TCP}, {"a slow head", too_slow, TCP},
  {"a client that leaves", leaving, SMALL}, {"over a UNIX socket", some, LOCAL},
  {"a file over a UNIX socket", from_a_file, LOCAL}, {"an adopted socket", streaming, PAIR},
};

static int client_port(const peer *p) {
  struct sockaddr_storage at;
  socklen_t n = sizeof at;
  if (p->fd < 0 || getsockname(p->fd, (struct sockaddr *)&at, &n) != 0 || at.ss_family != AF_INET) return 0;
  return ntohs(((struct sockaddr_in *)&at)->sin_port);
}

static int asks_for_a_file;

/* A UNIX socket has no port to tell it by. */
static int may_lose(int its_port) {
  static int lost;
  if (want->effect == NO_MEMORY) return want->happened() && lost++ == 0;
  if (want->effect == LOSES_FILE) return asks_for_a_file && inject_done() > 0;
  /* ACCEPT: what was accepted and could not be watched. */
  return (want->effect == LOSES || want->effect == ACCEPT) && inject_hit(its_port);
}

static peer *open_as(const act *a) {
  int two[2];
  switch (a->how) {
  case TCP: return peer_tcp(port);
  case SMALL: return peer_tcp_small(port);
  case LOCAL: return peer_unix(unix_path);
  default:
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, two) == 0);
    for (unsigned tries = 0;; tries++) {
      int rc = encke_adopt(h->e, two[0], host_tls(), NULL);
      if (rc == ENCKE_OK) break;
      CHECK(rc == ENCKE_E_SYS && encke_last_errno() == want->error && inject_done() > 0 && fd_open(two[0]));
      told_by_adopt++;
      CHECK(tries < want->times);
    }
    return peer_fd(two[1]);
  }
}

static int run_act(const act *a) {
  peer *p = open_as(a);
  int its_port = client_port(p);
  asks_for_a_file = a->run == from_a_file;
  int good = a->run(p);
  peer_close(p);
  if (!good && !may_lose(its_port)) check_fail(__FILE__, __LINE__, "a client that nothing happened to was not served");
  return good;
}

static peer *bystander;
static int bystander_port;

static void ask_bystander(void) {
  for (unsigned tries = 0;; tries++) {
    if (!bystander) {
      bystander = peer_tcp(port);
      bystander_port = client_port(bystander);
    }
    if (ask(bystander, "/by", "/by", 3)) return;
    if (!may_lose(bystander_port)) check_fail(__FILE__, __LINE__, "the bystander was not served");
    peer_close(bystander);
    bystander = NULL;
    CHECK(tries < want->times);
  }
}

/* ---- the scene ------------------------------------------------------------------------------------------------------------ */

static void make_file(void) {
  char name[] = "/tmp/encke-faults-XXXXXX";
  file = mkstemp(name);
  CHECK(file >= 0);
  unlink(name);
  in_file = pattern(FILE_SIZE, 3);
  CHECK(write(file, in_file, FILE_SIZE) == FILE_SIZE);
}

void scene_traffic(const fault *f, uint64_t watch) {
  want = f;
  streamed = pattern(STREAM, 1), lent = pattern(LENT, 2), upload = pattern(UPLOAD, 4);
  make_file();
  (void)host_tls(); /* certificates: once, and not counted */
  int before = count_fds();

  h = HOST({ENCKE_OPT_WATCH, watch}, {ENCKE_OPT_BODY_WINDOW, 16384}, {ENCKE_OPT_HEAD_TIMEOUT_MS, 20}, {ENCKE_OPT_BUFFER_BODY, 110000},
           {ENCKE_OPT_HIGH_WATER, 100000}, {ENCKE_OPT_LOW_WATER, 30000});
  h->on = on_event;
  encke_id local = 0, tcp = 0;
  CHECK_OK(encke_listen(h->e, "127.0.0.1:0", host_tls(), &tcp));
  port = host_port(h, tcp);
  snprintf(unix_path, sizeof unix_path, "/tmp/encke-faults-%d.sock", (int)getpid());
  CHECK_OK(encke_listen(h->e, textf("unix:%s", unix_path), host_tls(), &local));
  if (f->arm) f->arm(f);
  else inject_arm(f->call, f->n, f->times, f->error);

  ask_bystander();
  for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
    check_section(acts[i].name);
    for (unsigned tries = 0; !run_act(&acts[i]); tries++) CHECK(tries < want->times);
    asks_for_a_file = 0;
    ask_bystander();
  }
  check_section("the end");
  UNTIL(host_stats(h).connections == 1 && host_all_done(h));
  CHECK_EQ(SEEN(h, RELEASED), lent_out);
  CHECK_EQ(host_stats(h).held, 0);
  CHECK_EQ(host_stats(h).memory, 0);
  CHECK_EQ(host_stats(h).queued_bytes, 0);
  if (want->effect == ACCEPT) CHECK((inject_done() > 0) == (SEEN(h, LISTENER) + told_by_adopt > 0));
  CHECK(SEEN(h, LISTENER) <= want->times);
  CHECK_OK(encke_close(h->e, local));
  CHECK_OK(encke_drain(h->e, 1000));
  UNTIL(bystander->eof);
  peer_close(bystander); /* otherwise the grace runs out: the library waits for the client to close */
  UNTIL(SEEN(h, DRAINED) == 1);
  host_close(h);
  CHECK(access(unix_path, F_OK) != 0);
  CHECK_EQ(count_fds(), before);
  close(file);
  free(streamed), free(lent), free(upload), free(in_file);
  (void)check_end();
}
