/*
 * handover.c - encke_free and encke_move_here while the loop thread that was is inside sender calls, which T2 allows: it
 * forbids only calls that take the encke. The rule: the sender calls stay whole and in order, or get CLOSED.
 */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static atomic_int ready, freed, calls;

static void spin_a_while(uint64_t *seed) {
  for (uint64_t n = random_next(seed) % 2000; n > 0; n--) atomic_load(&ready);
}

static int over(int rc) { return rc == ENCKE_E_CLOSED || rc == ENCKE_E_GONE; }

/* ---- freed by another thread ------------------------------------------------------------------------------------------ */

#define FREES 300

static encke *made;

/* Makes an encke, which makes it the loop thread, and then says things that come to nothing. */
static void *says_to_nobody(void *unused) {
  encke_field f = field("x-field", "a value that is copied, or not, or was freed");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.fields = &f, r.nfields = 1, r.body = "body", r.body_len = 4;
  CHECK_OK(encke_new(NULL, &made));
  encke_sender *s = encke_sender_ref(encke_get_sender(made));
  (void)unused;
  atomic_store(&ready, 1);
  for (encke_id id = 1; ; id += 0x10001) {
    int was_freed = atomic_load(&freed);
    int rc = id % 2 ? encke_respond(s, id, &r, sizeof r) : encke_reply(s, id, 200, "text/plain", "x", 1);
    CHECK(was_freed ? rc == ENCKE_E_CLOSED : over(rc));
    CHECK(over(encke_write(s, id, "x", 1)));
    CHECK(over(encke_abort(s, id)));
    if (was_freed) break;
  }
  CHECK_RC(encke_wake(s), ENCKE_E_CLOSED);
  encke_sender_unref(s);
  return NULL;
}

static void freed_under_senders(void) {
  SECTION("freed while the loop thread is inside sender calls");
  uint64_t seed = 5;
  for (int i = 0; i < FREES; i++) {
    pthread_t thread;
    atomic_store(&ready, 0), atomic_store(&freed, 0);
    CHECK(pthread_create(&thread, NULL, says_to_nobody, NULL) == 0);
    while (!atomic_load(&ready)) sched_yield();
    spin_a_while(&seed);
    encke_free(made);
    atomic_store(&freed, 1);
    CHECK(pthread_join(thread, NULL) == 0);
  }
}

/* ---- freed and moved in the middle of streams ------------------------------------------------------------------------- */

#define STREAMS 4
#define LINES 400

static host *h;
static peer *clients[STREAMS + 1];
static encke_id ids[STREAMS + 1]; /* the last one is for the thread that takes the encke over */

/* Becomes the loop thread, takes the requests of the clients and begins to answer: from here on sender calls only. */
static void take_streams(void) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  CHECK_OK(encke_move_here(h->e));
  size_t before = SEEN(h, REQUEST);
  for (size_t k = 0; k <= STREAMS; k++) {
    peer_send(clients[k], GET);
    UNTIL(SEEN(h, REQUEST) == before + k + 1);
    ids[k] = request_id(h, before + k);
    CHECK_OK(encke_begin(h->s, ids[k], &r, sizeof r));
  }
}

static int line(char *to, size_t cap, size_t k, int i) { return snprintf(to, cap, "stream %zu line %d\n", k, i); }

static void *streams_on(void *sender) {
  encke_sender *s = sender;
  char text[64];
  take_streams();
  atomic_store(&ready, 1);
  for (int i = 0; i < LINES; i++)
    for (size_t k = 0; k < STREAMS; k++) {
      int n = line(text, sizeof text, k, i), rc;
      while ((rc = encke_write(s, ids[k], text, (size_t)n)) == ENCKE_E_AGAIN) sched_yield();
      CHECK(rc == ENCKE_OK || over(rc));
      atomic_fetch_add(&calls, rc == ENCKE_OK);
    }
  for (size_t k = 0; k < STREAMS; k++) {
    int was_freed = atomic_load(&freed), rc = encke_end(s, ids[k], NULL, 0);
    CHECK(was_freed ? over(rc) : rc == ENCKE_OK || over(rc));
    CHECK(over(encke_end(s, ids[k], NULL, 0)));
  }
  return NULL;
}

static pthread_t start_streams(encke_sender *s, uint64_t *seed) {
  pthread_t thread;
  atomic_store(&ready, 0), atomic_store(&freed, 0), atomic_store(&calls, 0);
  CHECK(pthread_create(&thread, NULL, streams_on, s) == 0);
  while (!atomic_load(&ready)) sched_yield();
  int enough = (int)(random_next(seed) % (STREAMS * LINES));
  for (int i = 0; i < 100000 && atomic_load(&calls) < enough; i++) sched_yield();
  return thread;
}

/* What a client got is the beginning of its stream, whole lines or not. */
static void check_stream(size_t k, const char *got, size_t n, int whole) {
  char text[64];
  size_t taken = 0;
  int i = 0;
  for (; i < LINES && taken < n; i++) {
    size_t len = (size_t)line(text, sizeof text, k, i), part = n - taken < len ? n - taken : len;
    CHECK_BYTES(got + taken, part, text, part);
    taken += part;
  }
  CHECK_EQ(taken, n);
  if (whole) CHECK_EQ(i, LINES);
}

static void freed_under_streams(void) {
  SECTION("freed while the loop thread writes to its clients");
  uint64_t seed = 7;
  for (int round = 0; round < 40; round++) {
    h = HOST_PLAIN();
    int port = host_listen(h);
    for (size_t k = 0; k <= STREAMS; k++) clients[k] = peer_tcp(port);
    encke_sender *s = encke_sender_ref(h->s);
    pthread_t thread = start_streams(s, &seed);
    encke_free(h->e);
    atomic_store(&freed, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    host_forget(h);
    for (size_t k = 0; k <= STREAMS; k++) {
      UNTIL(clients[k]->eof);
      if (peer_finals(clients[k])) {
        response *r = peer_nth(clients[k], 0);
        check_stream(k, r->body, r->len, !r->truncated);
      }
      CHECK_RC(encke_write(s, ids[k], "x", 1), ENCKE_E_CLOSED);
      CHECK(over(encke_abort(s, ids[k])));
      peer_close(clients[k]);
    }
    encke_sender_unref(s);
  }
}

static void moved_under_streams(void) {
  SECTION("moved to another thread while the loop thread writes to its clients");
  uint64_t seed = 9;
  h = HOST_PLAIN();
  int port = host_listen(h);
  encke_sender *s = encke_sender_ref(h->s); /* borrowed is for the loop thread alone */
  for (size_t k = 0; k <= STREAMS; k++) clients[k] = peer_tcp(port);
  for (size_t round = 0; round < 100; round++) {
    char text[64];
    pthread_t thread = start_streams(s, &seed);
    CHECK_OK(encke_move_here(h->e));
    for (int i = 0; i < LINES; i++) { /* at once, while the other thread may still be inside a call of its own */
      int n = line(text, sizeof text, STREAMS, i);
      CHECK_OK(encke_write(h->s, ids[STREAMS], text, (size_t)n));
    }
    CHECK_OK(encke_end(h->s, ids[STREAMS], NULL, 0));
    for (size_t k = 0; k <= STREAMS; k++) {
      UNTIL(peer_finals(clients[k]) == round + 1);
      response *r = peer_nth(clients[k], round);
      check_stream(k, r->body, r->len, 1);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    UNTIL(host_all_done(h));
    CHECK_EQ(atomic_load(&calls), STREAMS * LINES);
  }
  for (size_t k = 0; k <= STREAMS; k++) peer_close(clients[k]);
  encke_sender_unref(s);
  host_close(h);
}

int main(void) {
  freed_under_senders();
  freed_under_streams();
  moved_under_streams();
  return check_end();
}
