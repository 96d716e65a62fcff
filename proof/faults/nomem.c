/*
 * nomem.c - no memory for what is large. The rule of the library: what comes from the host or from a peer and can be large is
 * kept in allocations that may fail. Then a call says ENCKE_E_NOMEM and took nothing, and a connection is answered with 503
 * or ends; its own small allocations end the process, as everywhere in Rust.
 * First each call is made with a body of a megabyte, on the loop thread and on another, while its n-th allocation above half
 * of that fails; then the n-th of at least LEAST bytes, for every n, while the clients of traffic.c are served.
 *
 *   nomem            all of it
 *   nomem survey     besides, what becomes of every failing allocation of 4 KiB and more there
 */
#include "faults.h"

#include "allocations.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 1 << 20 };
enum { LEAST = 64 << 10, SMALL = 4 << 10 };
enum { REPLY, RESPOND, BEGIN, WRITE, CALLS };

static const char *const names[] = {"encke_reply", "encke_respond", "encke_begin with a first piece", "encke_write"};
static char *body;
static host *h;
static int port;

typedef struct { int call; encke_id id; int rc; } job;

static void *make(void *job_) {
  job *j = job_;
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.body = body, r.body_len = LARGE;
  switch (j->call) {
  case REPLY: j->rc = encke_reply(h->s, j->id, 200, "text/plain", body, LARGE); break;
  case RESPOND: j->rc = encke_respond(h->s, j->id, &r, sizeof r); break;
  case BEGIN: j->rc = encke_begin(h->s, j->id, &r, sizeof r); break;
  default: j->rc = encke_write(h->s, j->id, body, LARGE); break;
  }
  return NULL;
}

static int made(int call, encke_id id, int elsewhere) {
  job j = {call, id, 0};
  if (!elsewhere) {
    make(&j);
    return j.rc;
  }
  pthread_t thread;
  encke_sender_ref(h->s);
  CHECK(pthread_create(&thread, NULL, make, &j) == 0);
  pthread_join(thread, NULL);
  encke_sender_unref(h->s);
  return j.rc;
}

static encke_id next_request(peer *p) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

/* 0: that call makes fewer than n such allocations. */
static int without_memory(int call, int elsewhere, unsigned n) {
  h = HOST({ENCKE_OPT_HIGH_WATER, 8 * LARGE});
  port = host_listen(h);
  peer *p = peer_tcp(port);
  encke_id id = next_request(p);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  if (call == WRITE) CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  int at_least = LARGE / 2;
  allocations_arm(n, (size_t)at_least);
  int rc = made(call, id, elsewhere);
  allocations_disarm();
  int failed = allocations_failed() > 0, status = 200;
  CHECK_RC(rc, failed ? ENCKE_E_NOMEM : ENCKE_OK);
  if (failed && call == REPLY) status = 500; /* it acted as encke_abort */
  else if (failed) CHECK_OK(made(call, id, elsewhere)); /* nothing was taken: the same again */
  if (call == BEGIN || call == WRITE) CHECK_OK(encke_end(h->s, id, NULL, 0));
  CHECK_RC(encke_abort(h->s, id), ENCKE_E_GONE);
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, status);
  if (status == 200) CHECK_BYTES(peer_nth(p, 0)->body, peer_nth(p, 0)->len, body, LARGE);
  answer(h, next_request(p), "still here");
  UNTIL(peer_finals(p) == 2);
  CHECK_TEXT(peer_nth(p, 1)->body, "still here");
  peer_close(p);
  UNTIL(host_all_done(h) && host_stats(h).connections == 0);
  CHECK_EQ(host_stats(h).memory, 0);
  host_close(h);
  return failed;
}

/* ---- the cases, each in a child ------------------------------------------------------------------------------------------------ */

static struct report { int failed; size_t size; } *report;

/* What waitpid says. */
static int in_child(void (*play)(const void *), const void *what) {
  memset(report, 0, sizeof *report);
  fflush(NULL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(quiet, 1);
    alarm(60);
    play(what);
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
  return status;
}

typedef struct { int call, elsewhere; unsigned n; } one_case;

static void play_case(const void *what) {
  const one_case *c = what;
  report->failed = without_memory(c->call, c->elsewhere, c->n);
}

static unsigned all_cases(void) {
  unsigned bad = 0, good = 0;
  for (int call = 0; call < CALLS; call++)
    for (int elsewhere = 0; elsewhere < 2; elsewhere++)
      for (unsigned n = 1, more = 1; more && n < 20; n++) {
        one_case c = {call, elsewhere, n};
        int status = in_child(play_case, &c);
        more = report->failed != 0;
        if (status == 0) {
          good += more;
          continue;
        }
        bad++;
        more = 0;
        fprintf(stderr, "FAILED: %s on %s: its allocation %u of a megabyte fails, and the process %s\n", names[call],
                elsewhere ? "another thread" : "the loop thread", n, WIFSIGNALED(status) ? "ends by a signal" : "finds a fault");
      }
  printf("no memory: %u allocations failed as promised, %u calls did not keep the promise\n", good, bad);
  return bad;
}

/* ---- while clients are served ---------------------------------------------------------------------------------------------------------------- */

static size_t least;

static void arm(const fault *f) { allocations_arm(f->n, least); }

static int happened(void) { return allocations_failed() > 0; }

static void play_traffic(const void *what) {
  const unsigned *n = what;
  const fault f = {.call = -1, .n = *n, .times = 1, .effect = NO_MEMORY, .arm = arm, .happened = happened};
  scene_traffic(&f, ENCKE_WATCH_ONE);
  report->failed = happened();
}

static unsigned every_n(int tls) {
  unsigned bad = 0, failed = 0;
  least = LEAST;
  if (tls) setenv("ENCKE_TEST_TLS", "1.3", 1);
  else unsetenv("ENCKE_TEST_TLS");
  for (unsigned n = 1; n < 5000; n++) {
    int status = in_child(play_traffic, &n);
    if (status == 0 && !report->failed) break;
    failed++;
    if (status == 0) continue;
    bad++;
    fprintf(stderr, "FAILED: while clients are served%s, allocation %u of at least %d bytes: the process %s\n", tls ? " over TLS" : "", n, LEAST,
            WIFSIGNALED(status) ? "ends by a signal" : "finds a fault");
    if (bad == 5) break;
  }
  printf("no memory%s: %u allocations of at least %d bytes failed while clients were served, %u badly\n", tls ? ", TLS" : "", failed, LEAST, bad);
  return bad;
}

static void on_abort(int number) {
  (void)number;
  report->size = allocations_failed();
  _exit(99);
}

static void survey(void) {
  unsigned ended = 0, served = 0, other = 0;
  size_t largest = 0;
  least = SMALL;
  signal(SIGABRT, on_abort);
  for (unsigned n = 1; n < 5000; n++) {
    int status = in_child(play_traffic, &n);
    if (status == 0 && !report->failed) break;
    if (status == 0) served++;
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 99) ended++;
    else other++;
    if (report->size > largest) largest = report->size;
  }
  printf("survey: of %u failing allocations of 4 KiB and more, %u ended the process (the largest of %zu bytes), %u did not, %u otherwise\n",
         ended + served + other, ended, largest, served, other);
}

int main(int argc, char **argv) {
  report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(report != MAP_FAILED);
  signal(SIGPIPE, SIG_IGN);
  if (!allocations_seen()) {
    puts("no memory: skipped, the library is linked statically");
    return 77;
  }
  body = pattern(LARGE, 1);
  unsigned bad = all_cases() + every_n(0);
  if (encke_has_feature("tls")) bad += every_n(1);
  if (argc > 1 && strcmp(argv[1], "survey") == 0) survey();
  free(body);
  return bad > 0;
}
