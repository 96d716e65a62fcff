/*
 * stress.c - eight threads with the sender, any call on any request at any moment, while the loop thread serves, clients
 * leave, and at last frees the encke in the middle of it; in between, duels: two threads settle the same request at the
 * same moment. The rule: every call has one of its documented results, of all settles of a request at most one is accepted,
 * and after encke_free every call says so. Meant for a library that was built with ThreadSanitizer or AddressSanitizer
 * (proof/sanitize.sh); without it is a test of results alone.
 *
 *   stress [ROUNDS [SEED]]
 */
#include "../../c-tests/check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define WORKERS 8
#define CLIENTS 6
#define DEPTH 10
#define MOST (CLIENTS * DEPTH)

static host *h;
static encke_sender *shared; /* each thread has a reference of its own */
static _Atomic encke_id ids[MOST];
static atomic_int known, settled[MOST], gone[MOST], freed, stop;
static const char data[30000];

static int one_of(int rc, const int *allowed) {
  for (; *allowed != 1; allowed++)
    if (rc == *allowed) return 1;
  return 0;
}

/* `...`: what the call may say besides GONE and CLOSED. */
#define RESULT(rc, ...)                                                                                                \
  do {                                                                                                                 \
    int rc_ = (rc);                                                                                                    \
    if (!one_of(rc_, (const int[]){ENCKE_E_GONE, ENCKE_E_CLOSED, __VA_ARGS__, 1})) CHECK_RC(rc_, ENCKE_OK);            \
    if (was_freed) CHECK(rc_ == ENCKE_E_GONE || rc_ == ENCKE_E_CLOSED || rc_ == ENCKE_E_INVAL);                        \
  } while (0)

static void count(int i, int rc) {
  if (rc == ENCKE_OK) CHECK_EQ(atomic_fetch_add(&settled[i], 1), 0);
  if (rc == ENCKE_E_GONE || rc == ENCKE_E_CLOSED) atomic_store(&gone[i], 1);
}

static void call(encke_sender *s, uint64_t *seed) {
  int n = atomic_load(&known), was_freed = atomic_load(&freed), rc;
  if (n == 0) return;
  int i = (int)(random_next(seed) % (uint64_t)n);
  encke_id id = atomic_load(&ids[i]), found;
  char token[ENCKE_TOKEN_SIZE];
  encke_stats stats;
  encke_field trailer = field("x-trailer", "y");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  switch (random_next(seed) % 16) {
  case 0:
    rc = encke_reply(s, id, 200, "text/plain", data, random_next(seed) % sizeof data);
    RESULT(rc, ENCKE_OK, ENCKE_E_STATE);
    count(i, rc);
    if (rc == ENCKE_E_STATE) atomic_store(&gone[i], 1); /* it acted as encke_abort */
    break;
  case 1:
    r.body = data, r.body_len = random_next(seed) % sizeof data;
    rc = encke_respond(s, id, &r, sizeof r);
    RESULT(rc, ENCKE_OK, ENCKE_E_STATE);
    count(i, rc);
    break;
  case 2:
    r.flags = ENCKE_BORROW, r.body = data, r.body_len = sizeof data, r.cookie = id;
    rc = encke_respond(s, id, &r, sizeof r);
    RESULT(rc, ENCKE_OK, ENCKE_E_STATE);
    count(i, rc);
    break;
  case 3:
  case 4:
  case 5:
    r.body = data, r.body_len = random_next(seed) % 100;
    RESULT(encke_begin(s, id, &r, sizeof r), ENCKE_OK, ENCKE_E_STATE);
    break;
  case 6:
  case 7:
  case 8:
    RESULT(encke_write(s, id, data, random_next(seed) % sizeof data), ENCKE_OK, ENCKE_E_AGAIN, ENCKE_E_STATE);
    break;
  case 9:
    rc = encke_end(s, id, random_next(seed) % 2 ? &trailer : NULL, 1);
    if (rc == ENCKE_E_INVAL) rc = encke_end(s, id, NULL, 0);
    RESULT(rc, ENCKE_OK, ENCKE_E_STATE);
    count(i, rc);
    break;
  case 10:
    rc = encke_abort(s, id);
    RESULT(rc, ENCKE_OK);
    count(i, rc);
    break;
  case 11:
    RESULT(encke_inform(s, id, 103, NULL, 0), ENCKE_OK, ENCKE_E_STATE);
    break;
  case 12:
    RESULT(encke_body_ack(s, id, random_next(seed) % 20000), ENCKE_OK);
    break;
  case 13:
    rc = encke_token(s, id, token, sizeof token);
    RESULT(rc, ENCKE_OK);
    if (rc == ENCKE_OK && encke_from_token(s, token, strlen(token), &found) == ENCKE_OK) CHECK(found == id);
    break;
  case 14:
    RESULT(encke_set_user(s, id, random_next(seed)), ENCKE_OK);
    break;
  default:
    RESULT(encke_wake(s), ENCKE_OK);
    RESULT(encke_stats_get(s, &stats, sizeof stats), ENCKE_OK);
  }
}

static void *worker(void *seed_) {
  uint64_t seed = (uint64_t)(uintptr_t)seed_;
  encke_sender *s = shared;
  while (!atomic_load(&stop)) call(s, &seed);
  encke_sender_unref(s);
  return NULL;
}

static void on_event(host *host_, const event *x) {
  (void)host_;
  if (x->kind != ENCKE_EV_REQUEST) return;
  int n = atomic_load(&known);
  CHECK(n < MOST);
  atomic_store(&ids[n], x->id);
  atomic_store(&known, n + 1);
}

static int all_settled(void) {
  int n = atomic_load(&known);
  for (int i = 0; i < n; i++)
    if (!atomic_load(&settled[i]) && !atomic_load(&gone[i])) return 0;
  return 1;
}

static void round_of(uint64_t *seed) {
  pthread_t threads[WORKERS];
  peer *peers[CLIENTS];
  for (int i = 0; i < MOST; i++) atomic_store(&settled[i], 0), atomic_store(&gone[i], 0), atomic_store(&ids[i], 0);
  atomic_store(&known, 0), atomic_store(&freed, 0), atomic_store(&stop, 0);
  h = HOST({ENCKE_OPT_HIGH_WATER, 40000}, {ENCKE_OPT_LOW_WATER, 10000}, {ENCKE_OPT_BUFFER_BODY, 1000}, {ENCKE_OPT_BODY_WINDOW, 4096});
  h->on = on_event;
  int port = host_listen(h);
  shared = encke_sender_ref(h->s); /* of this thread */
  for (int i = 0; i < WORKERS; i++) {
    encke_sender_ref(shared);
    CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)random_next(seed)) == 0);
  }
  for (int i = 0; i < CLIENTS; i++) {
    peers[i] = peer_tcp(port);
    peer_ready(peers[i]);
    for (int k = 0; k < DEPTH; k++) {
      size_t n = random_next(seed) % 4 ? 0 : random_next(seed) % 20000;
      peer_send(peers[i], textf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", k, n));
      peer_send_n(peers[i], data, n);
    }
  }
  int to_the_end = random_next(seed) % 2;
  size_t steps = random_next(seed) % 200;
  if (to_the_end) UNTIL(all_settled());
  for (size_t i = 0; i < steps; i++) {
    step_now();
    call(shared, seed); /* the loop thread has a sender, too */
    if (i % 50 == 49) peer_rst(peers[i / 50]), peers[i / 50] = NULL;
  }
  encke_free(h->e);
  atomic_store(&freed, 1);
  for (int i = 0; i < 200; i++) call(shared, seed);
  atomic_store(&stop, 1);
  for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
  encke_sender_unref(shared);
  host_audit(h);
  host_forget(h);
  for (int i = 0; i < CLIENTS; i++)
    if (peers[i]) peer_close(peers[i]);
}

/* ---- duels ---------------------------------------------------------------------------------------------------------------- */

static atomic_int arrived;

static void *duellist(void *unused) {
  (void)unused;
  for (int i = 0; i < MOST; i++) {
    atomic_fetch_add(&arrived, 1);
    for (int spins = 1; atomic_load(&arrived) < 2 * (i + 1); spins++)
      if (spins % 10000 == 0) sched_yield();
    int rc = encke_reply(shared, atomic_load(&ids[i]), 200, "text/plain", "once", 4);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    if (rc == ENCKE_OK) atomic_fetch_add(&settled[i], 1);
  }
  encke_sender_unref(shared);
  return NULL;
}

static void duels(void) {
  pthread_t threads[2];
  peer *peers[CLIENTS];
  for (int i = 0; i < MOST; i++) atomic_store(&settled[i], 0);
  atomic_store(&known, 0), atomic_store(&arrived, 0);
  h = HOST_PLAIN();
  h->on = on_event;
  int port = host_listen(h);
  for (int i = 0; i < CLIENTS; i++) {
    peers[i] = peer_tcp(port);
    for (int k = 0; k < DEPTH; k++) peer_send(peers[i], textf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", k));
  }
  UNTIL(atomic_load(&known) == MOST);
  shared = h->s;
  for (int i = 0; i < 2; i++) {
    encke_sender_ref(shared);
    CHECK(pthread_create(&threads[i], NULL, duellist, NULL) == 0);
  }
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < MOST; i++) CHECK_EQ(atomic_load(&settled[i]), 1);
  for (int i = 0; i < CLIENTS; i++) {
    UNTIL(peer_finals(peers[i]) == DEPTH);
    for (size_t k = 0; k < DEPTH; k++) CHECK_TEXT(peer_nth(peers[i], k)->body, "once");
    peer_close(peers[i]);
  }
  UNTIL(host_all_done(h));
  host_close(h);
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 60;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  for (int i = 0; i < rounds; i++) {
    uint64_t of_round = seed + (uint64_t)i;
    SECTION(textf("round %d, seed %llu", i, (unsigned long long)of_round));
    round_of(&of_round);
    SECTION(textf("duels of round %d", i));
    duels();
  }
  return check_end();
}
