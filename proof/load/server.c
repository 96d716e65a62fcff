/*
 * server.c - see server.h. What it serves:
 *   GET  /echo/TEXT     TEXT
 *   GET  /stream/N      N bytes of the pattern, by encke_begin and encke_write
 *   GET  /lent          LENT bytes of the pattern, borrowed
 *   GET  /work/TEXT     TEXT, from another thread
 *   GET  /hold          nothing, until the client has gone or the server drains
 *   POST /sink          how many bytes came, each acknowledged at once
 *   POST /deaf          as /hold, and no byte of the body is acknowledged
 *   GET  /feed          what is published, in the transport that is asked for: FEED bytes with each /echo while somebody listens
 *   GET  /socket        a WebSocket whose messages come back
 * The rule: its own memory does not grow, so what grows is the library's.
 */
#include "server.h"

#include "../../c-tests/jobs.h"
#include "pattern.h"

#include <errno.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_WORKERS 8
#define FEED 16384

typedef struct task {
  struct task *next, **back;
  encke_id id;
  enum { STREAM, SINK, DEAF, HOLD } kind;
  uint64_t at, length;
} task;

static server *self;
static encke *e;
static encke_sender *sender;
static task *tasks; /* all of them, for the end */
static jobs queue = JOBS_INIT;
static uint64_t listeners;

static void late_or_ok(int rc) { CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE); }

static void reply(encke_id id, unsigned status, const char *text, size_t n) {
  late_or_ok(encke_reply(sender, id, status, "text/plain", text, n));
}

static task *task_new(encke_id id, int kind, uint64_t length) {
  task *t = need(calloc(1, sizeof *t));
  t->id = id, t->kind = kind, t->length = length;
  t->next = tasks, t->back = &tasks;
  if (tasks) tasks->back = &t->next;
  tasks = t;
  late_or_ok(encke_set_user(sender, id, (uint64_t)(uintptr_t)t));
  return t;
}

static void task_free(task *t) {
  *t->back = t->next;
  if (t->next) t->next->back = t->back;
  free(t);
}

static void go_on(task *t) {
  while (t->at < t->length) {
    size_t n = t->length - t->at < PATTERN_PIECE ? (size_t)(t->length - t->at) : PATTERN_PIECE;
    int rc = encke_write(sender, t->id, pattern_at(t->at), n);
    if (rc == ENCKE_E_AGAIN) return;
    late_or_ok(rc);
    if (rc == ENCKE_E_GONE) break;
    t->at += n;
  }
  late_or_ok(encke_end(sender, t->id, NULL, 0));
}

static void feed(void) {
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str("text/plain"), m.key = str("newest"), m.data = pattern_at(0), m.len = FEED;
  CHECK_OK(encke_publish(sender, 0, "feed", &m, sizeof m));
}

static int starts(encke_str s, const char *with) { return s.n >= strlen(with) && memcmp(s.p, with, strlen(with)) == 0; }

static void on_request(const encke_event *ev) {
  const encke_head *head = ev->head;
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  if (starts(head->path, "/echo/")) {
    reply(ev->id, 200, head->path.p + 6, head->path.n - 6);
    if (listeners) feed();
  } else if (starts(head->path, "/feed")) {
    const char *channel = "feed";
    late_or_ok(encke_subscribe(sender, ev->id, &channel, 1, NULL, 0));
  } else if (starts(head->path, "/socket")) {
    int rc = encke_ws_accept(sender, ev->id, NULL, 0);
    if (rc == ENCKE_E_STATE) reply(ev->id, 400, "no", 2);
    else late_or_ok(rc);
  } else if (starts(head->path, "/stream/")) {
    task *t = task_new(ev->id, STREAM, strtoull(head->path.p + 8, NULL, 10));
    if (head->query.n == 0) r.flags = ENCKE_LENGTH, r.length = t->length; /* with a query: chunked */
    int rc = encke_begin(sender, ev->id, &r, sizeof r);
    late_or_ok(rc);
    if (rc == ENCKE_OK) go_on(t);
    else late_or_ok(encke_abort(sender, ev->id));
  } else if (starts(head->path, "/lent")) {
    r.flags = ENCKE_BORROW, r.body = pattern_at(0), r.body_len = PATTERN_PIECE;
    late_or_ok(encke_respond(sender, ev->id, &r, sizeof r));
  } else if (starts(head->path, "/work/") && self->workers) {
    jobs_put(&queue, ev->id, head, 0);
  } else if (starts(head->path, "/sink")) {
    if (head->flags & ENCKE_HEAD_BODY_FOLLOWS) {
      task_new(ev->id, SINK, 0);
    } else {
      atomic_fetch_add(&self->box->taken, head->body_len);
      const char *text = textf("%zu", head->body_len);
      reply(ev->id, 200, text, strlen(text));
    }
  } else if (starts(head->path, "/deaf")) {
    task_new(ev->id, DEAF, 0);
  } else if (starts(head->path, "/hold")) {
    task_new(ev->id, HOLD, 0);
  } else {
    if (starts(head->path, "/smuggled")) atomic_fetch_add(&self->box->smuggled, 1);
    reply(ev->id, 404, "not here", 8);
  }
}

static void on_event(const encke_event *ev) {
  task *t = (task *)(uintptr_t)ev->user;
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    on_request(ev);
    break;
  case ENCKE_EV_WRITABLE:
    if (t) go_on(t);
    break;
  case ENCKE_EV_MESSAGE: {
    int rc = encke_ws_send(sender, ev->id, (uint32_t)ev->code, ev->data, ev->len);
    if (rc == ENCKE_E_AGAIN) rc = encke_ws_close(sender, ev->id, 1008, "you do not read");
    late_or_ok(rc);
    break;
  }
  case ENCKE_EV_BODY:
    if (!t) break;
    atomic_fetch_add(&self->box->taken, ev->len);
    if (t->kind != SINK) break;
    t->at += ev->len;
    late_or_ok(encke_body_ack(sender, ev->id, ev->len));
    if (!ev->more) {
      const char *text = textf("%llu", (unsigned long long)t->at);
      reply(ev->id, 200, text, strlen(text));
    }
    break;
  case ENCKE_EV_ABORTED:
    if (t || !self->workers) CHECK_RC(encke_abort(sender, ev->id), ENCKE_E_GONE); /* the workers settle theirs */
    break;
  case ENCKE_EV_HALF_CLOSED: /* who waits for nothing that will come has left */
    if (t && t->kind != STREAM) late_or_ok(encke_abort(sender, ev->id));
    break;
  case ENCKE_EV_DONE:
    if (t) task_free(t);
    break;
  case ENCKE_EV_LISTENER:
    atomic_fetch_add(&self->box->trouble, 1);
    break;
  case ENCKE_EV_DRAINED:
    atomic_store(&self->box->drained, 1);
    break;
  default:
    break;
  }
}

static void *worker(void *unused) {
  job j;
  (void)unused;
  while (jobs_take(&queue, &j)) {
    encke_str path = j.head->path;
    reply(j.id, 200, path.p + 6, path.n - 6);
  }
  encke_sender_unref(sender);
  return NULL;
}

/* ---- the process ---------------------------------------------------------------------------------------------------------------- */

/* What malloc has given out and not got back, of all its arenas; 0: this C library does not tell. */
static uint64_t allocated(void) {
#if defined(__GLIBC__)
  char *text = NULL;
  size_t n = 0;
  uint64_t system = 0, kept = 0;
  FILE *f = open_memstream(&text, &n);
  if (!f || malloc_info(0, f) != 0 || fclose(f) != 0) return 0;
  /* The sums over all arenas stand behind the last of them. */
  const char *sums = strstr(text, "</heap>");
  for (const char *next = sums; next; next = strstr(next + 1, "</heap>")) sums = next;
  for (const char *at = sums; at && (at = strstr(at, "<total type=\"")) != NULL; at++) {
    const char *size = strstr(at, "size=\"");
    if (size && strncmp(at + 13, "mmap", 4) != 0) kept += strtoull(size + 6, NULL, 10);
  }
  const char *current = sums ? strstr(sums, "<system type=\"current\" size=\"") : NULL;
  if (current) system = strtoull(current + 29, NULL, 10);
  free(text);
  return system > kept ? system - kept : 0;
#else
  return 0;
#endif
}

static void publish(void) {
  box *b = self->box;
  encke_stats s;
  CHECK_OK(encke_stats_get(sender, &s, sizeof s));
  listeners = s.subscribers;
  atomic_store(&b->connections, s.connections);
  atomic_store(&b->accepted, s.accepted);
  atomic_store(&b->requests, s.requests);
  atomic_store(&b->held, s.held);
  atomic_store(&b->aborted, s.aborted);
  atomic_store(&b->refused, s.refused);
  atomic_store(&b->bytes_in, s.bytes_in);
  atomic_store(&b->bytes_out, s.bytes_out);
  atomic_store(&b->memory, s.memory);
  atomic_store(&b->queued, s.queued_bytes);
  if (atomic_load(&b->rest) && s.connections == 0) atomic_store(&b->in_use, allocated());
  if (s.memory > atomic_load(&b->memory_most)) atomic_store(&b->memory_most, s.memory);
  if (s.connections > atomic_load(&b->connections_most)) atomic_store(&b->connections_most, s.connections);
}

static void on_signal(int number) {
  (void)number;
  encke_wake(sender);
}

static int port_of(encke_id listener) {
  char text[64];
  CHECK_OK(encke_info(e, listener, ENCKE_INFO_LOCAL, text, sizeof text, NULL));
  return atoi(strrchr(text, ':') + 1);
}

static void start(void) {
  encke_config *config = encke_config_new();
  encke_id listener;
  CHECK(config != NULL);
  CHECK_OK(encke_config_set(config, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_HALF_CLOSED)));
  for (const setting *s = self->settings; s && s->option; s++) CHECK_OK(encke_config_set(config, s->option, s->value));
  CHECK_OK(encke_new(config, &e));
  encke_config_free(config);
  sender = encke_get_sender(e);
  if (encke_has_feature("push")) CHECK_OK(encke_channel_set(sender, "feed", ENCKE_CHANNEL_TTL_MS, 500));
  signal(SIGUSR1, on_signal);
  int tls_port = 0;
  if (self->chain) {
    encke_tls *tls = need(encke_tls_new());
    CHECK_OK(encke_tls_add(tls, self->chain, strlen(self->chain), self->key, strlen(self->key)));
    CHECK_OK(encke_listen(e, "127.0.0.1:0", tls, &listener));
    encke_tls_free(tls);
    tls_port = port_of(listener);
  }
  CHECK_OK(encke_listen(e, "127.0.0.1:0", NULL, &listener));
  if (self->fd_limit > 0) {
    int lowest = dup(0);
    struct rlimit limit;
    CHECK(lowest >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    close(lowest);
    limit.rlim_cur = (rlim_t)(lowest + self->fd_limit);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  } else {
    raise_fd_limit();
  }
  atomic_store(&self->box->tls_port, tls_port);
  atomic_store(&self->box->port, port_of(listener));
}

static void loop_once(void) {
  for (;;) {
    encke_event ev;
    uint64_t from = cpu_us();
    int more = encke_run(e, 0), got = 0;
    CHECK(more >= 0);
    while (encke_next(e, &ev, sizeof ev) > 0) {
      got = 1;
      on_event(&ev);
    }
    latency_add(&self->box->pass, cpu_us() - from);
    publish();
    if (!more && !got) break;
  }
}

int server_play(void *server_) {
  pthread_t threads[MAX_WORKERS];
  self = server_;
  CHECK(self->workers <= MAX_WORKERS);
  start();
  for (int i = 0; i < self->workers; i++) {
    encke_sender_ref(sender);
    CHECK(pthread_create(&threads[i], NULL, worker, NULL) == 0);
  }
  struct pollfd p = {.fd = encke_fd(e), .events = POLLIN};
  int draining = 0;
  for (;;) {
    if (poll(&p, 1, -1) < 0) CHECK(errno == EINTR);
    loop_once();
    int command = atomic_load(&self->box->command);
    if (command == FREE) break;
    if (command == DRAIN && !draining) {
      draining = 1;
      CHECK_OK(encke_drain(e, (uint64_t)atomic_load(&self->box->grace_ms)));
      for (task *t = tasks, *next; t; t = next) { /* what is held without end */
        next = t->next;
        if (t->kind == HOLD || t->kind == DEAF) late_or_ok(encke_abort(sender, t->id));
      }
    }
    if (atomic_load(&self->box->drained)) break;
  }
  jobs_end(&queue);
  if (self->workers) encke_sender_ref(sender); /* the loop thread's own, while another may settle */
  encke_free(e);
  for (int i = 0; i < self->workers; i++) pthread_join(threads[i], NULL);
  if (self->workers) encke_sender_unref(sender);
  jobs_free(&queue);
  while (tasks) task_free(tasks);
  return 0;
}

void server_command(box *b, pid_t pid, int command, int grace_ms) {
  atomic_store(&b->grace_ms, grace_ms);
  atomic_store(&b->command, command);
  kill(pid, SIGUSR1);
}
