/*
 * threads_stress.c - clients, workers and the loop, all in threads, a bounded number of rounds. The rule: every client that
 * stays gets its own answers whole and in order; a worker that waits for WRITABLE under its mutex never misses it (F3).
 */
#include "jobs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define CLIENTS 3
#define WORKERS 4
#define ROUNDS 25
#define DEPTH 8

static host *h;
static int port;
static jobs queue = JOBS_INIT;
static atomic_int clients_over;

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t change;
  encke_id id; /* what it streams */
  int go;
} streamer;

static streamer streamers[WORKERS];

/* "/seed/size" */
static void read_target(const char *target, unsigned *seed, size_t *size) {
  unsigned long n = 0;
  CHECK(sscanf(target, "/%u/%lu", seed, &n) == 2);
  *size = n;
}

/* Writes all of it, waiting where it has to; 0: the peer left. */
static int write_all(encke_sender *s, streamer *me, const char *data, size_t n) {
  int alive = 1;
  pthread_mutex_lock(&me->lock);
  for (size_t at = 0; at < n && alive;) {
    size_t part = n - at < 20000 ? n - at : 20000;
    me->go = 0;
    int rc = encke_write(s, me->id, data + at, part);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_AGAIN || rc == ENCKE_E_GONE);
    if (rc == ENCKE_OK) at += part;
    if (rc == ENCKE_E_GONE) alive = 0;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    while (rc == ENCKE_E_AGAIN && !me->go)
      if (pthread_cond_timedwait(&me->change, &me->lock, &until) != 0) check_fail(__FILE__, __LINE__, "neither WRITABLE nor ABORTED after AGAIN");
  }
  pthread_mutex_unlock(&me->lock);
  return alive;
}

static void *work(void *number) {
  streamer *me = &streamers[(uintptr_t)number];
  encke_sender *s = encke_sender_ref(h->s);
  job j;
  while (jobs_take(&queue, &j)) {
    unsigned seed;
    size_t size;
    char target[64];
    encke_response r;
    snprintf(target, sizeof target, "%.*s", (int)j.head->target.n, j.head->target.p);
    read_target(target, &seed, &size);
    char *data = pattern(size, seed);
    memset(&r, 0, sizeof r);
    r.status = 200;
    int rc;
    if (size < 2000) {
      rc = encke_reply(s, j.id, 200, "text/plain", data, size);
    } else {
      pthread_mutex_lock(&me->lock);
      me->id = j.id;
      pthread_mutex_unlock(&me->lock);
      if (seed % 2) r.flags = ENCKE_LENGTH, r.length = size;
      rc = encke_begin(s, j.id, &r, sizeof r);
      CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
      if (rc == ENCKE_OK) (void)write_all(s, me, data, size);
      rc = encke_end(s, j.id, NULL, 0);
    }
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    free(data);
  }
  encke_sender_unref(s);
  return NULL;
}

static void on_event(host *host_, const event *x) {
  (void)host_;
  if (x->kind == ENCKE_EV_REQUEST) jobs_put(&queue, x->id, x->head, 0);
  if (x->kind != ENCKE_EV_WRITABLE && x->kind != ENCKE_EV_ABORTED) return;
  for (int i = 0; i < WORKERS; i++) {
    pthread_mutex_lock(&streamers[i].lock);
    if (streamers[i].id == x->id) {
      streamers[i].go = 1;
      pthread_cond_signal(&streamers[i].change);
    }
    pthread_mutex_unlock(&streamers[i].lock);
  }
}

static void *client(void *number) {
  uint64_t seed = (uint64_t)(uintptr_t)number + 100;
  for (int round = 0; round < ROUNDS; round++) {
    peer *p = peer_own(port);
    unsigned seeds[DEPTH];
    size_t sizes[DEPTH];
    for (int i = 0; i < DEPTH; i++) {
      seeds[i] = (unsigned)(random_next(&seed) % 1000);
      sizes[i] = random_next(&seed) % (i % 4 == 3 ? 200000 : 1500);
      if (i % 3 == 2) peer_send(p, textf("POST /%u/%zu HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", seeds[i], sizes[i]));
      else peer_send(p, textf("GET /%u/%zu HTTP/1.1\r\nHost: a\r\n\r\n", seeds[i], sizes[i]));
    }
    size_t stay = random_next(&seed) % 4 ? DEPTH : random_next(&seed) % DEPTH;
    peer_await(p, stay);
    CHECK(peer_finals(p) >= stay);
    for (size_t i = 0; i < stay; i++) {
      response *r = peer_nth(p, i);
      char *want = pattern(sizes[i], seeds[i]);
      CHECK_EQ(r->status, 200);
      CHECK_BYTES(r->body, r->len, want, sizes[i]);
      free(want);
    }
    if (random_next(&seed) % 2) peer_rst(p);
    else peer_close(p);
  }
  atomic_fetch_add(&clients_over, 1);
  return NULL;
}

int main(void) {
  pthread_t clients[CLIENTS], workers[WORKERS];
  h = HOST({ENCKE_OPT_HIGH_WATER, 65536}, {ENCKE_OPT_LOW_WATER, 16384});
  h->on = on_event;
  port = host_listen(h);
  for (int i = 0; i < WORKERS; i++) {
    CHECK(pthread_mutex_init(&streamers[i].lock, NULL) == 0 && pthread_cond_init(&streamers[i].change, NULL) == 0);
    CHECK(pthread_create(&workers[i], NULL, work, (void *)(uintptr_t)i) == 0);
  }
  for (int i = 0; i < CLIENTS; i++) CHECK(pthread_create(&clients[i], NULL, client, (void *)(uintptr_t)i) == 0);
  while (atomic_load(&clients_over) < CLIENTS) step(); /* the clients have the deadlines */
  for (int i = 0; i < CLIENTS; i++) pthread_join(clients[i], NULL);
  UNTIL(SEEN(h, DONE) == SEEN(h, REQUEST) && host_stats(h).connections == 0);
  jobs_end(&queue);
  for (int i = 0; i < WORKERS; i++) pthread_join(workers[i], NULL);
  jobs_free(&queue);
  QUIESCE();
  CHECK(host_all_done(h));
  CHECK_EQ(host_stats(h).held, 0);
  host_close(h);
  for (int i = 0; i < WORKERS; i++) {
    pthread_mutex_destroy(&streamers[i].lock);
    pthread_cond_destroy(&streamers[i].change);
  }
  return check_end();
}
