/*
 * tls_handshake.c - handshakes that do not end, come in pieces, or come all at once. The rule: a handshake ends in time or is
 * cut, leaves nothing behind, and is done in small steps between which the others have their turn.
 */
#include "tls.h"

#include <dirent.h>
#include <poll.h>
#include <sys/resource.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define NEVER 3600000

static host *h;
static encke_tls *tls;
static int port;
static unsigned char hello[4096];
static size_t hello_n;

#define OPEN(...)                                                                                                      \
  do {                                                                                                                 \
    h = HOST(__VA_ARGS__);                                                                                             \
    port = host_listen_tls(h, tls);                                                                                    \
  } while (0)

static size_t open_fds(void) {
  DIR *all = opendir("/proc/self/fd");
  size_t n = 0;
  CHECK(all != NULL);
  while (readdir(all)) n++;
  closedir(all);
  return n;
}

/* ---- those that do not end -------------------------------------------------------------------------------------------- */

/* A client that stops: before its first byte, behind it, in the middle of its hello, behind it. */
static peer *half_open(size_t how) {
  peer *p = peer_tcp(port);
  size_t n = how % 4 == 0 ? 0 : how % 4 == 1 ? 1 : how % 4 == 2 ? hello_n / 2 : hello_n;
  if (n) peer_send_n(p, hello, n);
  return p;
}

static void time_out(uint64_t watch) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  size_t n = limit.rlim_cur > 2200 ? 1000 : (limit.rlim_cur - 100) / 2;
  SECTION(textf("%zu half-open handshakes, %s", n, watch == ENCKE_WATCH_ONE ? "one fd" : "each watched"));
  OPEN({ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, 400}, {ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_CONNECTION)},
       {ENCKE_OPT_WATCH, watch});
  peer *worker = TLS(port), **p = need(malloc(n * sizeof *p));
  served(h, worker);
  QUIESCE();
  size_t fds = open_fds();
  for (size_t i = 0; i < n; i++) p[i] = half_open(i);
  size_t at = 0; /* one more client sends a byte now and then: that does not help it */
  peer *slow = peer_tcp(port);
  for (size_t over = 0; over < n || !slow->eof;) {
    if (!slow->eof && at < hello_n) peer_send_n(slow, hello + at++, 1);
    served(h, worker);
    for (over = 0; over < n && p[over]->eof; over++) {}
  }
  for (size_t i = 0; i < n; i++) {
    CHECK(i % 4 == 3 || p[i]->n == 0); /* whoever had no answer has none now */
    peer_close(p[i]);
  }
  peer_close(slow);
  UNTIL(host_stats(h).connections == 1);
  QUIESCE();
  CHECK_EQ(open_fds(), fds);
  CHECK_EQ(host_stats(h).memory, 0);
  CHECK_EQ(SEEN(h, ABORTED), 0);
  CHECK_EQ(SEEN(h, CONNECTION), 1 + 2 * (n + 1)); /* each of them came and went */
  served(h, worker); /* established long ago: no time-out of handshakes concerns it */
  peer_close(worker);
  UNTIL(host_all_done(h));
  host_close(h);
  free(p);
}

/* ---- in pieces ----------------------------------------------------------------------------------------------------------- */

static void byte_by_byte(void) {
  OPEN({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)});
  for (int version = 12; version <= 13; version++) {
    SECTION(textf("TLS 1.%d byte by byte", version - 10));
    peer *p = TLS(port, .version = version, .drip = 1);
    peer_ready(p);
    served(h, p);
    served(h, p);
    peer_fin(p);
    UNTIL(p->eof);
    CHECK(tls_closed(p));
    peer_close(p);
  }
  UNTIL(host_all_done(h));
  host_close(h);
}

/* ---- all at once --------------------------------------------------------------------------------------------------------- */

enum { storm = 200, per_run = 8, runs_between = 2 };

static size_t answered(peer *const *p) { /* how many of the storm have something to read */
  struct pollfd fds[storm];
  size_t n = 0;
  for (size_t i = 0; i < storm; i++) fds[i].fd = p[i]->fd, fds[i].events = POLLIN;
  CHECK(poll(fds, storm, 0) >= 0);
  for (size_t i = 0; i < storm; i++) n += fds[i].revents != 0;
  return n;
}

static void run_once(void) {
  encke_event ev;
  CHECK(encke_run(h->e, 0) >= 0);
  while (encke_next(h->e, &ev, sizeof ev) > 0) host_record(h, &ev);
}

/* The runs that it takes until the worker's request is there, while the storm goes on. */
static size_t runs_until_request(peer *worker, int server_fd, peer *const *p) {
  struct pollfd there = {.fd = server_fd, .events = POLLIN};
  size_t runs = 0, before = SEEN(h, REQUEST);
  peer_send(worker, GET);
  CHECK(poll(&there, 1, 10000) == 1);
  for (; SEEN(h, REQUEST) == before; runs++) {
    size_t earlier = answered(p);
    CHECK(runs < 1000);
    run_once();
    if (answered(p) > earlier + per_run) check_fail(__FILE__, __LINE__, "%zu handshakes in one run", answered(p) - earlier);
  }
  return runs;
}

static void all_at_once(void) {
  SECTION("a storm of handshakes beside a working connection");
  OPEN({ENCKE_OPT_EVENTS, 0}, {ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, NEVER});
  peer *worker = TLS(port), *p[storm];
  char text[32];
  served(h, worker);
  CHECK_OK(encke_info(h->e, host_last(h, ENCKE_EV_REQUEST, request_id(h, 0))->connection, ENCKE_INFO_FD, text, sizeof text, NULL));
  for (size_t i = 0; i < storm; i++) p[i] = TLS(port, .version = i % 2 ? 12 : 13);
  size_t most = 0, rounds = 0, established = 0;
  for (moment until = deadline(); established < storm; rounds++) {
    size_t runs = runs_until_request(worker, atoi(text), p), before = peer_finals(worker);
    if (runs > most) most = runs;
    answer(h, request_id(h, SEEN(h, REQUEST) - 1), "worked");
    while (peer_finals(worker) == before) {
      CHECK(now_ms() < until);
      run_once();
      peer_pump(worker);
    }
    established = 0;
    for (size_t i = 0; i < storm; i++) {
      peer_pump(p[i]);
      established += (size_t)tls_established(p[i]);
    }
  }
  if (most > runs_between) check_fail(__FILE__, __LINE__, "%zu runs before a request was seen", most);
  CHECK(rounds >= storm / per_run / 2); /* it was a storm for long enough */
  for (size_t i = 0; i < storm; i++) {
    served(h, p[i]);
    peer_close(p[i]);
  }
  peer_close(worker);
  UNTIL(host_stats(h).connections == 0);
  host_close(h);
}

/* ---- the end of everything meanwhile ------------------------------------------------------------------------------------- */

enum { some = 40 };

static void some_half_open(peer **p) {
  for (size_t i = 0; i < some; i++)
    if (i % 5 == 4) p[i] = TLS(port, .version = i % 2 ? 12 : 13); /* in the middle, or through */
    else p[i] = half_open(i);
}

static void drained(void) {
  SECTION("drained during handshakes: they do not hold it up");
  OPEN({ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, NEVER});
  peer *p[some], *worker = TLS(port);
  encke_id id = ask(h, worker, GET);
  some_half_open(p);
  UNTIL(host_stats(h).connections == 1 + some);
  CHECK_OK(encke_drain(h->e, NEVER));
  for (size_t i = 0; i < some; i++) UNTIL(p[i]->eof);
  QUIESCE();
  CHECK_EQ(SEEN(h, DRAINED), 0);
  answer(h, id, "the last");
  UNTIL(worker->eof);
  CHECK_TEXT(peer_nth(worker, 0)->body, "the last");
  CHECK(tls_closed(worker));
  for (size_t i = 0; i < some; i++) peer_close(p[i]);
  peer_close(worker);
  UNTIL(SEEN(h, DRAINED) == 1);
  host_close(h);
}

static void freed(void) {
  for (int ran = 0; ran < 2; ran++) {
    SECTION(ran ? "freed during handshakes" : "freed before the handshakes were looked at");
    size_t fds = open_fds();
    OPEN({ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, NEVER});
    peer *p[some];
    some_half_open(p);
    if (ran) UNTIL(host_stats(h).connections == some);
    for (int i = 0; i < 3 * ran; i++) run_once(); /* some are served, some wait for their step */
    host_close(h);
    for (size_t i = 0; i < some; i++) {
      UNTIL(p[i]->eof);
      peer_close(p[i]);
    }
    CHECK_EQ(open_fds(), fds);
  }
}

/* ---- floods -------------------------------------------------------------------------------------------------------------- */

static peer *flood(const void *first, size_t first_n, const void *again, size_t again_n, size_t times) {
  peer *p = peer_tcp_small(port);
  p->paused = 1;
  if (first_n) peer_send_n(p, first, first_n);
  char *much = need(malloc(again_n * times));
  for (size_t i = 0; i < times; i++) memcpy(much + i * again_n, again, again_n);
  peer_send_n(p, much, again_n * times);
  free(much);
  return p;
}

static void floods(void) {
  static const unsigned char endless[] = {22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, ccs[] = {20, 3, 3, 0, 1, 1},
                             warning[] = {21, 3, 3, 0, 2, 1, 90}, empty[] = {22, 3, 1, 0, 0};
  unsigned char record[5 + 0x4000] = {22, 3, 1, 0x40, 0};
  enum { kinds = 5 };
  peer *p[kinds];
  SECTION("hellos, one of 16 MB, ChangeCipherSpec, warnings, empty records: without end, and nothing is read");
  OPEN({ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, NEVER});
  memcpy(record, endless, sizeof endless);
  p[0] = flood(NULL, 0, hello, hello_n, 5000);
  p[1] = flood(record, sizeof record, record, sizeof record, 200);
  p[2] = flood(hello, hello_n, ccs, sizeof ccs, 100000);
  p[3] = flood(hello, hello_n, warning, sizeof warning, 100000);
  p[4] = flood(NULL, 0, empty, sizeof empty, 100000);
  UNTIL(host_stats(h).accepted == kinds);
  UNTIL(host_stats(h).connections == 0); /* cut, or told why and closed */
  CHECK_EQ(host_stats(h).memory, 0);
  for (int i = 0; i < kinds; i++) peer_close(p[i]);

  SECTION("new keys without end, and nothing is read");
  peer *q = TLS(port, .version = 13, .small = 1);
  served(h, q);
  q->paused = 1;
  for (int i = 0; i < 5000 && host_stats(h).connections == 1; i++) {
    tls_update_keys(q);
    if (i % 50 == 0) QUIESCE();
  }
  UNTIL(host_stats(h).connections == 0);
  peer_close(q);
  UNTIL(host_all_done(h));
  host_close(h);
}

int main(void) {
  raise_fd_limit();
  tls = tls_with(CERT(.names = "server.test"));
  hello_n = tls_hello(&(client){.version = 0}, hello, sizeof hello);
  time_out(ENCKE_WATCH_ONE);
  time_out(ENCKE_WATCH_EACH);
  byte_by_byte();
  all_at_once();
  drained();
  freed();
  floods();
  encke_tls_free(tls);
  return check_end();
}
