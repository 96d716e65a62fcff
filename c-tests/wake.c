/*
 * wake.c - encke_wait, encke_wake and the loop thread. The rule: a wait ends by an event, a wake or a signal (T4); a
 * loop-thread call made elsewhere is refused and does nothing (T1); the loop moves where the host says (T2).
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static atomic_int stop;

static void drain_events(void) {
  encke_event ev;
  while (encke_next(h->e, &ev, sizeof ev) > 0) host_record(h, &ev);
}

static void *wake_again_and_again(void *sender) {
  while (!atomic_load(&stop)) {
    CHECK_OK(encke_wake(sender));
    sched_yield();
  }
  return NULL;
}

static void wait_ends_by_wake(void) {
  SECTION("encke_wait ends by a wake");
  pthread_t thread;
  atomic_store(&stop, 0);
  CHECK_OK(encke_wake(h->s));
  CHECK(encke_wait(h->e, -1) >= 0); /* a wake from before counts */
  CHECK(pthread_create(&thread, NULL, wake_again_and_again, h->s) == 0);
  for (int i = 0; i < 10; i++) CHECK(encke_wait(h->e, -1) >= 0);
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
  drain_events();
  CHECK_EQ(h->n, 0); /* and brings no event */
  QUIESCE();
}

static void nothing(int number) { (void)number; }

static void wait_ends_by_signal(void) {
  SECTION("encke_wait ends by a signal");
  struct sigaction act, old;
  memset(&act, 0, sizeof act);
  act.sa_handler = nothing;
  for (int restart = 0; restart < 2; restart++) {
    act.sa_flags = restart ? SA_RESTART : 0;
    CHECK(sigaction(SIGALRM, &act, &old) == 0);
    struct itimerval every = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    for (int i = 0; i < 5; i++) CHECK(encke_wait(h->e, -1) >= 0);
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    CHECK(sigaction(SIGALRM, &old, NULL) == 0);
  }
}

static void wait_serves(void) {
  SECTION("encke_wait is a loop of its own");
  CHECK(encke_wait(h->e, 0) >= 0);
  CHECK_RC(encke_wait(h->e, 1), 0);
  int port = host_listen(h);
  peer *p = peer_tcp(port);
  peer_ready(p);
  peer_send(p, GET);
  while (SEEN(h, REQUEST) == 0) {
    CHECK(encke_wait(h->e, -1) >= 0);
    drain_events();
  }
  answer(h, request_id(h, 0), "x");
  while (SEEN(h, DONE) == 0) {
    CHECK(encke_wait(h->e, -1) >= 0);
    drain_events();
  }
  peer_await(p, 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "x");
  peer_close(p);
  UNTIL(host_stats(h).connections == 0);
}

static encke_sender *woken_by_handler;

static void wake_from_handler(int number) {
  (void)number;
  (void)encke_wake(woken_by_handler);
}

static void wake_in_a_signal_handler(void) {
  SECTION("encke_wake in a signal handler keeps errno");
  struct sigaction act;
  memset(&act, 0, sizeof act);
  act.sa_handler = wake_from_handler;
  CHECK(sigaction(SIGUSR1, &act, NULL) == 0);
  woken_by_handler = h->s;
  QUIESCE();
  for (int i = 0; i < 100; i++) {
    errno = 4711;
    raise(SIGUSR1);
    CHECK_EQ(errno, 4711);
  }
  CHECK(host_readable(h, 0));
  QUIESCE();
  CHECK_RC(encke_wake(NULL), ENCKE_E_INVAL);
}

static void *elsewhere(void *unused) {
  (void)unused;
  encke_event ev;
  encke_id id = 0;
  const encke_head *head = NULL;
  char text[64];
  uint64_t ms;
  encke_watch w;
  memset(&w, 0, sizeof w);
  CHECK_RC(encke_run(h->e, 0), ENCKE_E_THREAD);
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), ENCKE_E_THREAD);
  CHECK_RC(encke_next_request(h->e, &id, &head), ENCKE_E_THREAD);
  CHECK_RC(encke_wait(h->e, 0), ENCKE_E_THREAD);
  CHECK_RC(encke_listen(h->e, "127.0.0.1:0", NULL, &id), ENCKE_E_THREAD);
  CHECK_RC(encke_adopt(h->e, 0, NULL, &id), ENCKE_E_THREAD);
  CHECK_RC(encke_set(h->e, ENCKE_OPT_MAX_HELD, 0), ENCKE_E_THREAD);
  CHECK_RC(encke_close(h->e, request_id(h, 0)), ENCKE_E_THREAD);
  CHECK_RC(encke_drain(h->e, 0), ENCKE_E_THREAD);
  CHECK_RC(encke_info(h->e, request_id(h, 0), ENCKE_INFO_PEER, text, sizeof text, NULL), ENCKE_E_THREAD);
  CHECK(encke_timeout(h->e, &ms) < 0);
  CHECK(encke_next_watch(h->e, &w) < 0);
  CHECK(encke_feed(h->e, &w, 1) < 0);
  CHECK(encke_last_error()[0] != 0);
  return NULL;
}

static void *takes_over(void *out) {
  CHECK_OK(encke_move_here(h->e));
  encke_id id = request_id(h, SEEN(h, REQUEST) - 1);
  const encke_head *head = host_last(h, ENCKE_EV_REQUEST, id)->head;
  CHECK_STR(head->target, "/moved"); /* heads and ids came along */
  answer(h, id, "from the new loop thread");
  peer *p = out;
  moment until = deadline();
  while (peer_finals(p) == 0) {
    if (host_readable(h, 100)) host_loop(h);
    peer_pump(p);
    CHECK(now_ms() < until);
  }
  return NULL;
}

static void loop_thread(void) {
  SECTION("calls from another thread");
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, elsewhere, NULL) == 0);
  pthread_join(thread, NULL);

  SECTION("the loop moves to another thread and back");
  peer *p = peer_tcp(host_listen(h));
  size_t before = SEEN(h, REQUEST);
  peer_send(p, "GET /moved HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == before + 1);
  encke_fd_t fd = encke_fd(h->e);
  CHECK(pthread_create(&thread, NULL, takes_over, p) == 0);
  pthread_join(thread, NULL);
  CHECK_TEXT(peer_nth(p, 0)->body, "from the new loop thread");
  CHECK_RC(encke_run(h->e, 0), ENCKE_E_THREAD);
  CHECK_OK(encke_move_here(h->e));
  CHECK(encke_fd(h->e) == fd);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == before + 2);
  answer(h, request_id(h, before + 1), "back");
  UNTIL(peer_finals(p) == 2);
  peer_close(p);
}

int main(void) {
  h = HOST_PLAIN();
  wait_ends_by_wake();
  wait_ends_by_signal();
  wait_serves();
  wake_in_a_signal_handler();
  loop_thread();
  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
