/*
 * sender_threads.c - the sender calls from many threads at once. The rule: every call has one of its documented results, of
 * two settles exactly one wins (L2), and the calls of one thread on one id take effect in the order made (T3).
 */
#include "jobs.h"

#include <pthread.h>
#include <stdatomic.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define WORKERS 4

static host *h;
static int port;
static jobs queue = JOBS_INIT;
static atomic_size_t settled_ok, settled_gone, other;

/* What each worker gives as ev.user: any thread can tell it from the id. */
static uint64_t user_of(encke_id id) { return id * 0x9e3779b97f4a7c15u | 1; }

static void count(int rc) {
  if (rc == ENCKE_OK) atomic_fetch_add(&settled_ok, 1);
  else if (rc == ENCKE_E_GONE) atomic_fetch_add(&settled_gone, 1);
  else atomic_fetch_add(&other, 1);
}

static int one_of(int rc, int a, int b, int c) { return rc == a || rc == b || rc == c; }

static void work(encke_sender *s, job *j, uint64_t *seed) {
  encke_response r;
  char text[64], path[64];
  int n = snprintf(text, sizeof text, "for %.*s", (int)j->head->target.n, j->head->target.p), rc;
  snprintf(path, sizeof path, "%.*s", (int)j->head->path.n, j->head->path.p);
  CHECK(path[0] == '/');
  memset(&r, 0, sizeof r);
  r.status = 200;
  rc = encke_set_user(s, j->id, user_of(j->id));
  CHECK(one_of(rc, ENCKE_OK, ENCKE_E_GONE, ENCKE_OK));
  switch (random_next(seed) % 5) {
  case 0:
    count(encke_reply(s, j->id, 200, "text/plain", text, (size_t)n));
    break;
  case 1:
    r.body = text, r.body_len = (size_t)n;
    count(encke_respond(s, j->id, &r, sizeof r));
    break;
  case 2:
    rc = encke_begin(s, j->id, &r, sizeof r);
    CHECK(one_of(rc, ENCKE_OK, ENCKE_E_GONE, ENCKE_OK));
    if (rc == ENCKE_OK)
      for (int i = 0; i < n; i++) {
        rc = encke_write(s, j->id, text + i, 1);
        CHECK(one_of(rc, ENCKE_OK, ENCKE_E_GONE, ENCKE_OK));
      }
    count(encke_end(s, j->id, NULL, 0));
    break;
  case 3:
    rc = encke_inform(s, j->id, 103, NULL, 0);
    CHECK(one_of(rc, ENCKE_OK, ENCKE_E_GONE, ENCKE_OK));
    r.flags = ENCKE_LENGTH, r.length = (uint64_t)n;
    rc = encke_begin(s, j->id, &r, sizeof r);
    CHECK(one_of(rc, ENCKE_OK, ENCKE_E_GONE, ENCKE_OK));
    if (rc == ENCKE_OK) {
      rc = encke_write(s, j->id, text, (size_t)n);
      CHECK(one_of(rc, ENCKE_OK, ENCKE_E_GONE, ENCKE_OK));
    }
    count(encke_end(s, j->id, NULL, 0));
    break;
  default:
    rc = encke_write(s, j->id, NULL, 0);
    CHECK(one_of(rc, ENCKE_OK, ENCKE_E_GONE, ENCKE_E_AGAIN));
    count(encke_reply(s, j->id, 200, "text/plain", text, (size_t)n));
  }
  rc = encke_abort(s, j->id);
  CHECK_RC(rc, ENCKE_E_GONE); /* settled: at once and for ever */
}

static void *worker(void *number) {
  uint64_t seed = (uint64_t)(uintptr_t)number;
  encke_sender *s = encke_sender_ref(h->s);
  job j;
  while (jobs_take(&queue, &j)) work(s, &j, &seed);
  encke_sender_unref(s);
  return NULL;
}

static void pass_on(host *host_, const event *x) {
  (void)host_;
  if (x->kind == ENCKE_EV_REQUEST) jobs_put(&queue, x->id, x->head, 0);
}

static void start(pthread_t *threads, size_t n, void *(*f)(void *)) {
  for (size_t i = 0; i < n; i++) CHECK(pthread_create(&threads[i], NULL, f, (void *)(uintptr_t)(i + 1)) == 0);
}

static void join(pthread_t *threads, size_t n) {
  for (size_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

static void check_users(void) {
  for (size_t i = 0; i < h->n; i++) {
    event *x = &h->log[i];
    /* A worker whose set_user came after the peer had left may have been refused. */
    if (x->kind == ENCKE_EV_DONE) CHECK(x->user == user_of(x->id) || (x->code != ENCKE_END_OK && x->user == 0));
  }
}

static void four_answer(void) {
  SECTION("four threads answer, all clients stay");
  pthread_t threads[WORKERS];
  peer *p[20];
  h->on = pass_on;
  start(threads, WORKERS, worker);
  for (int i = 0; i < 20; i++) {
    p[i] = peer_tcp(port);
    for (int k = 0; k < 20; k++) peer_send(p[i], textf("GET /%d/%d HTTP/1.1\r\nHost: a\r\n\r\n", i, k));
  }
  for (int i = 0; i < 20; i++) {
    UNTIL(peer_finals(p[i]) == 20);
    for (size_t k = 0; k < 20; k++) CHECK_TEXT(peer_nth(p[i], k)->body, textf("for /%d/%zu", i, k));
  }
  UNTIL(SEEN(h, DONE) == 400);
  for (int i = 0; i < 20; i++) peer_close(p[i]);
  jobs_end(&queue);
  join(threads, WORKERS);
  jobs_free(&queue);
  CHECK_EQ(atomic_load(&settled_ok), 400);
  CHECK_EQ(atomic_load(&settled_gone) + atomic_load(&other), 0);
  CHECK(host_all_done(h));
  check_users();
}

static void while_others_close(void) {
  SECTION("four threads answer while the loop thread and the clients close");
  pthread_t threads[WORKERS];
  size_t before = SEEN(h, REQUEST), done = 0;
  uint64_t seed = 11;
  atomic_store(&settled_ok, 0), atomic_store(&settled_gone, 0);
  start(threads, WORKERS, worker);
  for (int round = 0; round < 60; round++) {
    peer *p[8];
    for (int i = 0; i < 8; i++) {
      p[i] = peer_tcp(port);
      peer_send(p[i], GET GET GET);
    }
    for (int i = 0; i < 4; i++) step();
    for (int i = 0; i < 8; i++) {
      switch (random_next(&seed) % 4) {
      case 0: peer_rst(p[i]); break;
      case 1: peer_close(p[i]); break;
      case 2:
        if (SEEN(h, REQUEST) > done) { /* some request's; it may be over already */
          event *x = host_nth(h, ENCKE_EV_REQUEST, done + random_next(&seed) % (SEEN(h, REQUEST) - done));
          int rc = encke_close(h->e, x->connection);
          CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
        }
        peer_close(p[i]);
        break;
      default:
        step();
        peer_close(p[i]);
      }
    }
    done = SEEN(h, REQUEST);
  }
  UNTIL(SEEN(h, DONE) == SEEN(h, REQUEST) && host_stats(h).connections == 0);
  jobs_end(&queue);
  join(threads, WORKERS);
  jobs_free(&queue);
  QUIESCE();
  CHECK_EQ(SEEN(h, DONE), SEEN(h, REQUEST));
  CHECK(host_all_done(h));
  CHECK_EQ(atomic_load(&settled_ok) + atomic_load(&settled_gone), SEEN(h, REQUEST) - before);
  CHECK_EQ(atomic_load(&other), 0);
  h->on = NULL;
}

/* ---- of two settles one wins --------------------------------------------------------------------------------------------- */

#define RACES 200
static encke_id race_ids[RACES];
static atomic_int winners[RACES];
static pthread_barrier_t line_up;

static void *racer(void *number) {
  uintptr_t me = (uintptr_t)number;
  encke_sender *s = encke_sender_ref(h->s);
  for (int i = 0; i < RACES; i++) {
    pthread_barrier_wait(&line_up);
    int rc;
    encke_response r;
    memset(&r, 0, sizeof r);
    r.status = 200, r.body = "r", r.body_len = 1;
    switch (me % 3) {
    case 0: rc = encke_abort(s, race_ids[i]); break;
    case 1: rc = encke_reply(s, race_ids[i], 200, "text/plain", "x", 1); break;
    default: rc = encke_respond(s, race_ids[i], &r, sizeof r);
    }
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    if (rc == ENCKE_OK) atomic_fetch_add(&winners[i], 1);
  }
  encke_sender_unref(s);
  return NULL;
}

static void one_wins(void) {
  SECTION("four threads settle the same id: one wins");
  pthread_t threads[WORKERS];
  static peer *p[RACES];
  size_t before = SEEN(h, REQUEST);
  for (size_t i = 0; i < RACES; i++) {
    p[i] = peer_tcp(port);
    peer_send(p[i], GET);
    UNTIL(SEEN(h, REQUEST) == before + i + 1);
    race_ids[i] = request_id(h, before + i);
  }
  CHECK(pthread_barrier_init(&line_up, NULL, WORKERS) == 0);
  start(threads, WORKERS, racer);
  for (size_t i = 0; i < RACES; i++) UNTIL(peer_finals(p[i]) == 1);
  join(threads, WORKERS);
  UNTIL(host_all_done(h));
  for (int i = 0; i < RACES; i++) {
    CHECK_EQ(atomic_load(&winners[i]), 1);
    peer_close(p[i]);
  }
  pthread_barrier_destroy(&line_up);
}

/* ---- one thread for each request ------------------------------------------------------------------------------------------ */

#define PER_REQUEST 64
typedef struct { encke_id id; size_t n; } single;

static void *answer_one(void *argument) {
  single *me = argument;
  char text[32];
  int n = snprintf(text, sizeof text, "thread %zu", me->n);
  CHECK_OK(encke_set_user(h->s, me->id, 1000 + me->n));
  CHECK_OK(encke_reply(h->s, me->id, 200, "text/plain", text, (size_t)n));
  return NULL;
}

static void thread_per_request(void) {
  SECTION("one thread per request");
  pthread_t threads[PER_REQUEST];
  single all[PER_REQUEST];
  peer *p = peer_tcp(port);
  size_t before = SEEN(h, REQUEST);
  for (int i = 0; i < PER_REQUEST; i++) peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == before + PER_REQUEST);
  for (size_t i = PER_REQUEST; i-- > 0;) {
    all[i].id = request_id(h, before + i), all[i].n = i;
    CHECK(pthread_create(&threads[i], NULL, answer_one, &all[i]) == 0);
  }
  UNTIL(peer_finals(p) == PER_REQUEST);
  join(threads, PER_REQUEST);
  UNTIL(host_all_done(h));
  for (size_t i = 0; i < PER_REQUEST; i++) {
    CHECK_TEXT(peer_nth(p, i)->body, textf("thread %zu", i));
    CHECK_EQ(host_last(h, ENCKE_EV_DONE, all[i].id)->user, 1000 + i);
  }
  peer_close(p);
}

/* ---- an id as text, from thread to thread ---------------------------------------------------------------------------------- */

static char ticket[ENCKE_TOKEN_SIZE];

static void *make_ticket(void *id) {
  CHECK_OK(encke_token(h->s, *(encke_id *)id, ticket, sizeof ticket));
  return NULL;
}

static void *use_ticket(void *id) {
  encke_id found = 0;
  CHECK_OK(encke_from_token(h->s, ticket, strlen(ticket), &found));
  CHECK(found == *(encke_id *)id);
  CHECK_OK(encke_reply(h->s, found, 200, "text/plain", "by ticket", 9));
  CHECK_RC(encke_from_token(h->s, ticket, strlen(ticket), &found), ENCKE_E_GONE);
  return NULL;
}

static void tokens_between_threads(void) {
  SECTION("a token from one thread to another");
  pthread_t thread;
  peer *p = peer_tcp(port);
  size_t before = SEEN(h, REQUEST);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  encke_id id = request_id(h, before);
  CHECK(pthread_create(&thread, NULL, make_ticket, &id) == 0);
  pthread_join(thread, NULL);
  CHECK(pthread_create(&thread, NULL, use_ticket, &id) == 0);
  pthread_join(thread, NULL);
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "by ticket");
  peer_close(p);
}

int main(void) {
  raise_fd_limit();
  h = HOST_PLAIN();
  port = host_listen(h);
  four_answer();
  while_others_close();
  one_wins();
  thread_per_request();
  tokens_between_threads();
  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
