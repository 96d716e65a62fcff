/*
 * rounds.c - step() and quiesce(): one poll(2) over every host and client, then what it said is carried out.
 * The rule: a host is run for what poll said, so a silent fd with work pending shows as a missed deadline.
 */
#include "rounds.h"

#include "layer.h"

#include <errno.h>
#include <unistd.h>

/* Conditions that another thread makes true are looked at this often; the hosts are not run for it. */
#define TICK_MS 20
#define ROUNDS_MAX 100000

static rounds r;

void rounds_add(rounds *x, host *h, peer *p, int fd, short events) {
  if (x->n == x->cap) {
    x->cap = x->cap ? x->cap * 2 : 64;
    x->fds = need(realloc(x->fds, x->cap * sizeof *x->fds));
    x->of = need(realloc(x->of, x->cap * sizeof *x->of));
  }
  x->fds[x->n].fd = fd, x->fds[x->n].events = events, x->fds[x->n].revents = 0;
  x->of[x->n].h = h, x->of[x->n].p = p;
  x->n++;
}

void rounds_due(rounds *x, host *h) {
  if (x->ndue < sizeof x->due / sizeof *x->due) x->due[x->ndue++] = h;
}

int rounds_is_due(const rounds *x, const host *h) {
  for (size_t i = 0; i < x->ndue; i++)
    if (x->due[i] == h) return 1;
  return 0;
}

static size_t round_once(int timeout) {
  r.n = 0, r.ndue = 0, r.timeout = timeout;
  rounds_hosts(&r);
  rounds_peers(&r);
  int rc = poll(r.fds, r.n, r.timeout);
  if (rc < 0 && errno == EINTR) return 1;
  CHECK(rc >= 0);
  size_t moved = rounds_each_peer(&r);
  return moved + rounds_each_host(&r, rc == 0);
}

void step(void) { round_once(TICK_MS); }

void step_now(void) { round_once(0); }

void quiesce(void) {
  for (int i = 0; round_once(0) > 0; i++)
    if (i > ROUNDS_MAX) {
      rounds_show_hosts();
      check_fail(__FILE__, __LINE__, "never quiet: the fd stays readable without end");
    }
}

void check_late(const char *file, int line, const char *condition) {
  fprintf(stderr, "state at the missed deadline:\n");
  rounds_show_hosts();
  rounds_show_peers();
  check_fail(file, line, "not in time: %s", condition);
}

int check_end(void) {
  CHECK_EQ(rounds_open_hosts(), 0);
  CHECK_EQ(rounds_open_peers(), 0);
  layer_over();
  free(r.fds);
  free(r.of);
  memset(&r, 0, sizeof r);
  puts("ok");
  return 0;
}
