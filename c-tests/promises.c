/*
 * promises.c - what waits goes on. The rule: whatever pauses for the host's sake (a window, MAX_HELD, the queue of a
 * listener) goes on by itself once the host has done its part, and the fd says so (F1, F4, F5).
 */
#include "check.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define LONG_GRACE 3600000

static host *h;
static int port;

#define OPEN(...)                                                                                                      \
  do {                                                                                                                 \
    h = HOST(__VA_ARGS__);                                                                                             \
    port = host_listen(h);                                                                                             \
  } while (0)

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

/* ---- encke_drain while a window is full ------------------------------------------------------------------------------- */

enum { window = 64 << 10, upload = 1000000 };

static void ack(host *host_, const event *x) {
  if (x->kind == ENCKE_EV_BODY && x->len) CHECK_OK(encke_body_ack(host_->s, x->id, x->len));
}

static size_t body_bytes(encke_id id) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_BODY && h->log[i].id == id) n += h->log[i].len;
  return n;
}

static int body_over(encke_id id) {
  event *x = host_last(h, ENCKE_EV_BODY, id);
  return x && !x->more;
}

static void drained_full(int tunnel) {
  SECTION(tunnel ? "drained while the window of a tunnel is full" : "drained while the window of a body is full");
  char *data = pattern(upload, 2);
  OPEN({ENCKE_OPT_BODY_WINDOW, window}, {ENCKE_OPT_BUFFER_BODY, 1000});
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, tunnel ? "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
                                       : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  if (tunnel) {
    encke_field upgrade = field("Upgrade", "x");
    encke_response r;
    memset(&r, 0, sizeof r);
    r.status = 101, r.fields = &upgrade, r.nfields = 1;
    CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  }
  peer_send_n(p, data, upload);
  if (tunnel) peer_fin(p);
  UNTIL(body_bytes(id) == window);
  QUIESCE();
  CHECK_OK(encke_drain(h->e, LONG_GRACE));
  QUIESCE();
  CHECK_EQ(SEEN(h, DRAINED) + SEEN(h, ABORTED), 0);
  CHECK(body_bytes(id) == window); /* a drain is no ack */
  h->on = ack;
  CHECK_OK(encke_body_ack(h->s, id, window));
  UNTIL(body_over(id));
  CHECK_EQ(body_bytes(id), upload);
  CHECK_EQ(SEEN(h, DRAINED) + SEEN(h, ABORTED), 0);
  if (tunnel) {
    CHECK_OK(encke_write(h->s, id, "bye", 3));
    CHECK_OK(encke_end(h->s, id, NULL, 0));
  } else {
    answer(h, id, "bye");
  }
  UNTIL(p->eof);
  peer_fin(p); /* it has all, and says so: nothing lingers */
  UNTIL(SEEN(h, DRAINED) == 1 && host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  CHECK_EQ(peer_finals(p), 1);
  if (tunnel) {
    size_t n;
    const char *raw = peer_raw(p, &n);
    CHECK_BYTES(raw, n, "bye", 3);
  } else {
    CHECK_TEXT(peer_nth(p, 0)->body, "bye");
  }
  peer_close(p);
  host_close(h);
  free(data);
}

/* ---- MAX_HELD lowered while requests are queued ----------------------------------------------------------------------- */

static void *reply_from_thread(void *id) {
  CHECK_OK(encke_reply(h->s, *(encke_id *)id, 200, "text/plain", "x", 1));
  return NULL;
}

static void expect_readable(const char *after) {
  moment until = deadline();
  while (!host_readable(h, 20))
    if (now_ms() > until) check_fail(__FILE__, __LINE__, "the fd is silent after: %s", after);
}

static void parked_requests(int by_thread) {
  SECTION(by_thread ? "parked requests come when a worker settles" : "parked requests come when the loop settles");
  encke_event ev;
  OPEN({ENCKE_OPT_EVENTS, 0});
  peer *p = peer_tcp(port);
  peer_ready(p);
  for (int i = 0; i < 6; i++) peer_send(p, GET);
  expect_readable("six requests");
  for (moment until = deadline(); SEEN(h, REQUEST) < 2;) { /* two are taken, the others are still queued */
    CHECK(encke_run(h->e, 0) >= 0);
    while (SEEN(h, REQUEST) < 2 && encke_next(h->e, &ev, sizeof ev) > 0) host_record(h, &ev);
    CHECK(now_ms() < until);
  }
  CHECK_OK(encke_set(h->e, ENCKE_OPT_MAX_HELD, 2));
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), 0);
  QUIESCE(); /* fails if the fd stays readable */
  CHECK_EQ(SEEN(h, REQUEST), 2);
  for (size_t i = 0; i < 6; i++) {
    encke_id id = request_id(h, i);
    size_t want = i + 3 < 6 ? i + 3 : 6;
    CHECK_EQ(SEEN(h, REQUEST), i + 2 < 6 ? i + 2 : 6);
    if (by_thread) {
      pthread_t thread;
      CHECK(pthread_create(&thread, NULL, reply_from_thread, &id) == 0);
      CHECK(pthread_join(thread, NULL) == 0);
    } else {
      answer(h, id, "x");
    }
    if (i + 2 < 6) expect_readable("a settle that makes room");
    UNTIL(SEEN(h, REQUEST) == want);
    QUIESCE();
    CHECK_EQ(SEEN(h, REQUEST), want);
  }
  UNTIL(peer_finals(p) == 6);
  CHECK_EQ(host_stats(h).held, 0);
  peer_close(p);
  host_close(h);
}

/* ---- the queue of a listener ------------------------------------------------------------------------------------------ */

enum { crowd = 200 };

static void run_until_zero(void) {
  SECTION("while (encke_run > 0): all of the queue is accepted");
  OPEN({ENCKE_OPT_BACKLOG, 1024});
  peer *p[crowd];
  for (int i = 0; i < crowd; i++) p[i] = peer_tcp(port); /* on the loopback a connect that is not refused is complete */
  int runs = 0;
  while (encke_run(h->e, 0) > 0) CHECK(++runs < 100000);
  CHECK_EQ(host_stats(h).connections, crowd);
  for (int i = 0; i < crowd; i++) peer_close(p[i]);
  while (encke_run(h->e, 0) > 0) CHECK(++runs < 100000);
  UNTIL(host_stats(h).connections == 0);
  host_close(h);
}

static void answer_all(host *host_, const event *x) {
  if (x->kind == ENCKE_EV_REQUEST) answer(host_, x->id, "x");
}

static void edge_triggered(void) {
  SECTION("a host that watches the fd edge-triggered loses none");
  OPEN({ENCKE_OPT_BACKLOG, 1024});
  h->on = answer_all;
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event edge = {.events = EPOLLIN | EPOLLET}, got;
  CHECK(set >= 0);
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, encke_fd(h->e), &edge) == 0);
  peer *p[crowd];
  for (int i = 0; i < crowd; i++) {
    p[i] = peer_own(port); /* not served by step(): nothing but the edges runs this host */
    peer_send(p[i], GET);
  }
  size_t answered = 0;
  for (moment until = deadline(); answered < 3 * crowd;) {
    if (epoll_wait(set, &got, 1, 20) > 0) host_loop(h);
    answered = 0;
    for (int i = 0; i < crowd; i++) {
      size_t before = peer_finals(p[i]);
      peer_pump(p[i]);
      if (peer_finals(p[i]) > before && peer_finals(p[i]) < 3) peer_send(p[i], GET);
      answered += peer_finals(p[i]);
    }
    if (now_ms() > until) check_fail(__FILE__, __LINE__, "%zu of %d answers in time", answered, 3 * crowd);
  }
  CHECK_EQ(host_stats(h).connections, crowd);
  for (int i = 0; i < crowd; i++) peer_close(p[i]);
  for (moment until = deadline(); host_stats(h).connections > 0;) {
    if (epoll_wait(set, &got, 1, 20) > 0) host_loop(h);
    if (now_ms() > until) check_late(__FILE__, __LINE__, "all have left");
  }
  close(set);
  host_close(h);
}

int main(void) {
  raise_fd_limit();
  drained_full(0);
  drained_full(1);
  parked_requests(0);
  parked_requests(1);
  run_until_zero();
  edge_triggered();
  return check_end();
}
