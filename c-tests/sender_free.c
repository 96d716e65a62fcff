/*
 * sender_free.c - encke_free while senders are in use. The rule: ids go CLOSED, heads that are not settled stay readable
 * until they are (L3), nothing that was lent is touched any more (L8), and no call is undefined.
 */
#include "jobs.h"

#include <pthread.h>
#include <stdatomic.h>

#define POST "POST /held/%zu?x=1 HTTP/1.1\r\nHost: a\r\nX-Field: value\r\nContent-Length: 4\r\n\r\nbody"

static int over(int rc) { return rc == ENCKE_E_CLOSED || rc == ENCKE_E_GONE; }

static void check_head(const encke_head *head, size_t n) {
  char path[32];
  snprintf(path, sizeof path, "/held/%zu", n);
  CHECK(head->path.n == strlen(path) && memcmp(head->path.p, path, head->path.n) == 0);
  CHECK(head->body_len == 4 && memcmp(head->body, "body", 4) == 0);
  encke_str value = encke_head_get(head, "x-field");
  CHECK(value.n == 5 && memcmp(value.p, "value", 5) == 0);
}

static void *free_it(void *e) {
  encke_free(e);
  return NULL;
}

static void settled_afterwards(void) {
  for (int by_thread = 0; by_thread < 2; by_thread++) {
    SECTION(by_thread ? "freed by another thread" : "freed by the loop thread");
    host *h = HOST_PLAIN();
    peer *p = peer_tcp(host_listen(h));
    encke_id ids[8], stale;
    const encke_head *heads[8];
    peer_send(p, "GET /stale HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(SEEN(h, REQUEST) == 1);
    answer(h, stale = request_id(h, 0), "x");
    for (size_t i = 0; i < 8; i++) peer_send(p, textf(POST, i));
    UNTIL(SEEN(h, REQUEST) == 9);
    for (size_t i = 0; i < 8; i++) {
      ids[i] = request_id(h, i + 1);
      heads[i] = host_nth(h, ENCKE_EV_REQUEST, i + 1)->head;
    }
    encke_response r;
    memset(&r, 0, sizeof r);
    r.status = 200;
    CHECK_OK(encke_begin(h->s, ids[7], &r, sizeof r));
    char token[ENCKE_TOKEN_SIZE];
    CHECK_OK(encke_token(h->s, ids[0], token, sizeof token));
    encke_sender *s = encke_sender_ref(h->s);
    CHECK(s != NULL);
    if (by_thread) {
      pthread_t thread;
      CHECK(pthread_create(&thread, NULL, free_it, h->e) == 0);
      pthread_join(thread, NULL);
    } else {
      encke_free(h->e);
    }
    host_forget(h);
    UNTIL(p->eof);
    CHECK(peer_finals(p) >= 1);
    CHECK_TEXT(peer_nth(p, 0)->body, "x");

    for (size_t i = 0; i < 8; i++) check_head(heads[i], i);
    encke_id found;
    encke_stats stats;
    CHECK_RC(encke_wake(s), ENCKE_E_CLOSED);
    CHECK_RC(encke_stats_get(s, &stats, sizeof stats), ENCKE_E_CLOSED);
    CHECK(over(encke_from_token(s, token, strlen(token), &found)));
    CHECK(over(encke_token(s, ids[0], token, sizeof token)));
    CHECK(over(encke_set_user(s, ids[0], 1)));
    CHECK(over(encke_body_ack(s, ids[0], 1)));
    CHECK(over(encke_inform(s, ids[0], 103, NULL, 0)));
    CHECK(over(encke_begin(s, ids[0], &r, sizeof r)));
    CHECK(over(encke_write(s, ids[7], "x", 1)));
    CHECK(over(encke_write(s, ids[0], NULL, 0)));
    CHECK(over(encke_reply(s, stale, 200, "text/plain", "x", 1)));
    for (size_t i = 0; i < 8; i++) check_head(heads[i], i); /* none of these settles */

    CHECK_RC(encke_reply(s, ids[0], 200, "text/plain", "x", 1), ENCKE_E_CLOSED);
    CHECK_RC(encke_abort(s, ids[1]), ENCKE_E_CLOSED);
    char lent[4] = "mine";
    encke_response borrow = r;
    borrow.flags = ENCKE_BORROW, borrow.body = lent, borrow.body_len = 4;
    CHECK_RC(encke_respond(s, ids[2], &borrow, sizeof borrow), ENCKE_E_CLOSED);
    CHECK_RC(encke_end(s, ids[7], NULL, 0), ENCKE_E_CLOSED);
    for (size_t i = 3; i < 7; i++) check_head(heads[i], i); /* nobody else's settle ends a head */
    for (size_t i = 0; i < 3; i++) CHECK(over(encke_abort(s, ids[i])));
    CHECK(over(encke_abort(s, ids[7])));
    CHECK_RC(encke_abort(s, ids[3]), ENCKE_E_CLOSED);
    check_head(heads[4], 4);
    encke_sender_unref(s); /* the last reference: the heads that were never settled go with it */
    peer_close(p);
  }
}

static void nothing_left(void) {
  SECTION("NULL and double references");
  encke_free(NULL);
  encke_sender_unref(NULL);
  encke_config_free(NULL);
  host *h = HOST_PLAIN();
  encke_sender *s = encke_sender_ref(h->s), *again = encke_sender_ref(s);
  host_close(h);
  CHECK_RC(encke_wake(s), ENCKE_E_CLOSED);
  encke_sender_unref(again);
  CHECK_RC(encke_wake(s), ENCKE_E_CLOSED);
  encke_sender_unref(s);
}

/* ---- four threads in the middle of it --------------------------------------------------------------------------------------- */

#define WORKERS 4
static jobs queue = JOBS_INIT;
static atomic_int freed;

static void settle(encke_sender *s, job *j, uint64_t *seed) {
  int was_freed = atomic_load(&freed), rc;
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  check_head(j->head, j->note);
  rc = encke_set_user(s, j->id, j->note);
  CHECK(rc == ENCKE_OK || over(rc));
  check_head(j->head, j->note); /* mine until I settle it, freed or not */
  switch (random_next(seed) % 4) {
  case 0: rc = encke_reply(s, j->id, 200, "text/plain", "x", 1); break;
  case 1: rc = encke_respond(s, j->id, &r, sizeof r); break;
  case 2: rc = encke_abort(s, j->id); break;
  default:
    rc = encke_begin(s, j->id, &r, sizeof r);
    CHECK(rc == ENCKE_OK || over(rc));
    if (rc == ENCKE_OK) {
      rc = encke_write(s, j->id, "some", 4);
      CHECK(rc == ENCKE_OK || rc == ENCKE_E_AGAIN || over(rc));
    }
    check_head(j->head, j->note);
    rc = encke_abort(s, j->id);
  }
  if (was_freed) CHECK(over(rc)); /* GONE: an abort had cut its connection before */
  CHECK(rc == ENCKE_OK || over(rc));
  CHECK(over(encke_abort(s, j->id)));
}

static void *worker(void *sender) {
  encke_sender *s = sender; /* this thread's reference */
  uint64_t seed = (uint64_t)(uintptr_t)&s;
  job j;
  while (jobs_take(&queue, &j)) settle(s, &j, &seed);
  CHECK_RC(encke_wake(s), ENCKE_E_CLOSED);
  encke_sender_unref(s);
  return NULL;
}

static void while_threads_answer(void) {
  SECTION("freed while four threads read heads and answer");
  uint64_t seed = 3;
  for (int round = 0; round < 25; round++) {
    pthread_t threads[WORKERS];
    host *h = HOST_PLAIN();
    int port = host_listen(h);
    peer *p[6];
    size_t given = 0;
    atomic_store(&freed, 0);
    for (size_t i = 0; i < 6; i++) {
      p[i] = peer_tcp(port);
      for (size_t k = 0; k < 8; k++) peer_send(p[i], textf(POST, i * 8 + k));
    }
    UNTIL(SEEN(h, REQUEST) == 48); /* nobody answers yet: nothing is aborted before the free */
    for (int i = 0; i < WORKERS; i++) CHECK(pthread_create(&threads[i], NULL, worker, encke_sender_ref(h->s)) == 0);
    size_t before = random_next(&seed) % 40;
    for (; given < 48; given++) {
      event *x = host_nth(h, ENCKE_EV_REQUEST, given);
      size_t n = (size_t)atoi(x->target + strlen("/held/"));
      jobs_put(&queue, x->id, x->head, n);
      if (given == before) {
        if (round % 2) step(); /* some of the answers are being sent, or none is */
        encke_free(h->e);
        atomic_store(&freed, 1);
      }
    }
    jobs_end(&queue);
    for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    jobs_free(&queue);
    host_forget(h);
    for (size_t i = 0; i < 6; i++) peer_close(p[i]);
  }
}

int main(void) {
  nothing_left();
  settled_afterwards();
  while_threads_answer();
  return check_end();
}
