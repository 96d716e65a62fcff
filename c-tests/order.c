/*
 * order.c - calls on one request made in turn by several threads. The rule: a host that orders two calls by a join has
 * them take effect in that order (T3), whichever of the two threads is the loop's; the bytes are exact.
 */
#include "check.h"

#include <pthread.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static int port;

typedef enum { BEGIN, WRITE, END, ABORT, REPLY, INFORM } deed;
typedef struct {
  deed what;
  encke_id id;
  const void *data;
  size_t n;
} call;

static int make(const call *c) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  switch (c->what) {
  case BEGIN: r.body = c->data, r.body_len = c->n; return encke_begin(h->s, c->id, &r, sizeof r);
  case WRITE: return encke_write(h->s, c->id, c->data, c->n);
  case END: return encke_end(h->s, c->id, NULL, 0);
  case ABORT: return encke_abort(h->s, c->id);
  case INFORM: return encke_inform(h->s, c->id, 103, NULL, 0);
  default: return encke_reply(h->s, c->id, 200, "text/plain", c->data, c->n);
  }
}

static void *make_elsewhere(void *argument) {
  CHECK_OK(make(argument));
  return NULL;
}

static void loop_does(deed what, encke_id id, const char *text) {
  call c = {what, id, text, strlen(text)};
  CHECK_OK(make(&c));
}

/* By a thread that is over when this returns; the loop has not run in the meantime. */
static void worker_does(deed what, encke_id id, const char *text) {
  call c = {what, id, text, strlen(text)};
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, make_elsewhere, &c) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
}

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static void done_ok(encke_id id, size_t len) {
  UNTIL(host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->len, len);
}

static void begun_elsewhere(void) {
  SECTION("begun by a worker, written and ended by the loop");
  peer *p = peer_tcp(port);
  encke_id one = next_request(p, GET), two = next_request(p, GET);
  worker_does(BEGIN, one, "first ");
  loop_does(WRITE, one, "second ");
  loop_does(WRITE, one, "third");
  loop_does(END, one, "");
  loop_does(REPLY, two, "two");
  UNTIL(peer_finals(p) == 2);
  CHECK_TEXT(peer_nth(p, 0)->body, "first second third");
  CHECK_TEXT(peer_nth(p, 1)->body, "two");
  done_ok(one, 18), done_ok(two, 3);
  peer_close(p);
}

static void written_elsewhere(void) {
  SECTION("written by a worker, ended by the loop");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  loop_does(BEGIN, id, "a");
  worker_does(WRITE, id, "b");
  worker_does(WRITE, id, "c");
  loop_does(END, id, "");
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "abc");
  CHECK(!peer_nth(p, 0)->truncated);
  done_ok(id, 3);

  SECTION("written in turn, ended by a worker");
  id = next_request(p, GET);
  worker_does(BEGIN, id, "");
  loop_does(WRITE, id, "1");
  worker_does(WRITE, id, "2");
  loop_does(WRITE, id, "3");
  worker_does(END, id, "");
  UNTIL(peer_finals(p) == 2);
  CHECK_TEXT(peer_nth(p, 1)->body, "123");
  done_ok(id, 3);

  SECTION("told by a worker, answered by the loop");
  id = next_request(p, GET);
  worker_does(INFORM, id, "");
  loop_does(REPLY, id, "late");
  UNTIL(peer_finals(p) == 3);
  CHECK_EQ(peer_all(p), 4);
  CHECK_EQ(peer_any(p, 2)->status, 103);
  CHECK_TEXT(peer_nth(p, 2)->body, "late");
  peer_close(p);

  SECTION("written by a worker, aborted by the loop: cut, and the bytes before it are no other's");
  p = peer_tcp(port);
  id = next_request(p, GET);
  worker_does(BEGIN, id, "half");
  loop_does(ABORT, id, "");
  UNTIL(p->eof && host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  for (size_t i = 0; i < peer_finals(p); i++) CHECK(peer_nth(p, i)->truncated);
  peer_close(p);
}

static void in_the_drain(host *host_, const event *x) {
  (void)host_;
  if (x->kind != ENCKE_EV_REQUEST) return;
  worker_does(BEGIN, x->id, "worker ");
  loop_does(WRITE, x->id, "loop ");
  worker_does(WRITE, x->id, "worker ");
  loop_does(END, x->id, "");
}

static void inside_a_drain(void) {
  SECTION("in turn inside the drain, pipelined");
  peer *p = peer_tcp(port);
  h->on = in_the_drain;
  for (int i = 0; i < 20; i++) peer_send(p, GET);
  UNTIL(peer_finals(p) == 20);
  h->on = NULL;
  for (size_t i = 0; i < 20; i++) CHECK_TEXT(peer_nth(p, i)->body, "worker loop worker ");
  peer_close(p);
}

/* ---- more than one run hears ------------------------------------------------------------------------------------------ */

#define LINES 5000

static void *write_lines(void *id) {
  for (int i = 0; i < LINES; i++) {
    char line[16];
    int n = snprintf(line, sizeof line, "%d\n", i);
    CHECK_OK(encke_write(h->s, *(encke_id *)id, line, (size_t)n));
  }
  return NULL;
}

static void many_before_the_end(void) {
  SECTION("five thousand writes of a worker before the loop's end");
  char *want = need(malloc(LINES * 8));
  size_t n = 0;
  for (int i = 0; i < LINES; i++) n += (size_t)sprintf(want + n, "%d\n", i);
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  pthread_t thread;
  worker_does(BEGIN, id, "");
  CHECK(pthread_create(&thread, NULL, write_lines, &id) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  loop_does(END, id, "");
  UNTIL(peer_finals(p) == 1);
  CHECK_BYTES(peer_nth(p, 0)->body, peer_nth(p, 0)->len, want, n);
  done_ok(id, n);
  peer_close(p);
  free(want);
}

/* ---- any order -------------------------------------------------------------------------------------------------------- */

static void any_order(void) {
  SECTION("three streams of one connection, written in any turn by any of two threads");
  uint64_t seed = 17;
  for (int round = 0; round < 60; round++) {
    peer *p = peer_tcp(port);
    encke_id ids[3];
    char want[3][256] = {"", "", ""};
    for (size_t k = 0; k < 3; k++) ids[k] = next_request(p, GET);
    for (size_t k = 0; k < 3; k++) (random_next(&seed) % 2 ? worker_does : loop_does)(BEGIN, ids[k], "");
    for (int i = 0; i < 24; i++) {
      size_t k = random_next(&seed) % 3;
      const char *piece = textf("%zu.%d ", k, i);
      strcat(want[k], piece);
      (random_next(&seed) % 2 ? worker_does : loop_does)(WRITE, ids[k], piece);
      if (random_next(&seed) % 8 == 0) step_now();
    }
    for (size_t k = 0; k < 3; k++) (random_next(&seed) % 2 ? worker_does : loop_does)(END, ids[k], "");
    UNTIL(peer_finals(p) == 3);
    for (size_t k = 0; k < 3; k++) CHECK_TEXT(peer_nth(p, k)->body, want[k]);
    for (size_t k = 0; k < 3; k++) done_ok(ids[k], strlen(want[k]));
    peer_close(p);
  }
}

int main(void) {
  h = HOST_PLAIN();
  port = host_listen(h);
  begun_elsewhere();
  written_elsewhere();
  inside_a_drain();
  many_before_the_end();
  any_order();
  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
