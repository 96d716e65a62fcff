/*
 * attacks.c - one server, one attacker, one bystander. The rule: while the attack lasts every request of the bystander is
 * answered, and rightly; the accounts of memory stay below ENCKE_OPT_MAX_MEMORY and the process below what follows from it;
 * afterwards nothing is left of the attack. How long the bystander waited is printed, not judged.
 *
 *   attacks quick              each for a short time
 *   attacks SECONDS [NAME]     each for that long; only those whose name has NAME in it
 */
#include "attacks.h"

#include "../load/bystander.h"
#include "../load/certificate.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ONE_READ = 80 << 10 };

static char *chain, *key;
static unsigned failed, made;

static uint64_t memory_limit(const setting *s) {
  uint64_t limit = (uint64_t)256 << 20;
  for (; s->option; s++)
    if (s->option == ENCKE_OPT_MAX_MEMORY) limit = s->value;
  return limit;
}

/* What the process may grow by: the memory that is counted (its buffers grow by doubling), the pools that are kept for
 * reuse, and what a connection has besides. */
static long rss_bound_kib(const attack *a) {
  long pools = 40 << 10, each = a->flags & OVER_TLS ? 20 : 4;
  return (long)(2 * memory_limit(a->settings) >> 10) + pools + each * a->connections;
}

static void check(box *b, int holds, const char *what, long long is, long long bound) {
  if (!holds) box_fail(b, "%s: %lld against %lld", what, is, bound);
}

static void play(const attack *a, double seconds) {
  box *b = box_new();
  server s = {.box = b, .settings = a->settings, .fd_limit = a->fd_limit, .chain = chain, .key = key};
  pid_t served = start_process(server_play, &s);
  made++;
  if (!WAIT_FOR(atomic_load(&b->port) != 0, 10)) box_fail(b, "the server did not start");
  int fds = fds_of(served), port = a->flags & OVER_TLS ? atomic_load(&b->tls_port) : atomic_load(&b->port);
  long rss = rss_kib(served);

  bystander by = {.box = b, .kind = a->flags & OVER_TLS ? TLS : PLAIN, .port = port, .new_every = a->flags & NO_NEW ? 0 : 16,
                  .pause_us = 1000, .may_close = (a->flags & (MAY_CLOSE | MAY_CUT)) != 0, .may_cut = (a->flags & MAY_CUT) != 0, .may_wait = (a->flags & MAY_WAIT) != 0};
  pid_t other = start_process(bystander_play, &by);
  if (!WAIT_FOR(atomic_load(&b->answers) >= 20 || atomic_load(&b->failed), 20)) box_fail(b, "the bystander was not served before");
  latencies *open = &b->on_open, *new = &b->on_new;
  memset((void *)open, 0, sizeof *open);
  memset((void *)new, 0, sizeof *new);
  uint64_t answers = atomic_load(&b->answers);

  ground g = {.box = b, .server = served, .port = port, .until = now_us() + (uint64_t)(seconds * 1e6)};
  g.enough = a->flags & LEAVES ? 0 : atomic_load(&b->answers) + 5;
  g.limit = g.until + 15000000;
  if (!atomic_load(&b->failed)) a->run(&g);
  answers = atomic_load(&b->answers) - answers;
  check(b, answers > 0 || a->flags & LEAVES, "answers to the bystander", (long long)answers, 1);

  if (!(a->flags & LEAVES)) {
    if (!WAIT_FOR(atomic_load(&b->connections) <= 1 || atomic_load(&b->failed), 20)) box_fail(b, "connections of the attack are still there");
    atomic_store(&b->stop, 1);
    if (end_process(other, 20, "the bystander") != 0) box_fail(b, "the bystander failed");
    if (!WAIT_FOR(atomic_load(&b->connections) == 0, 20)) box_fail(b, "connections are left: %d", (int)atomic_load(&b->connections));
    if (!WAIT_FOR(atomic_load(&b->memory) == 0 && atomic_load(&b->held) == 0, 5)) box_fail(b, "memory %lld, held %lld are left", (long long)atomic_load(&b->memory), (long long)atomic_load(&b->held));
    if (!WAIT_FOR(fds_of(served) == fds, 5)) box_fail(b, "fds: %d before, %d after", fds, fds_of(served));
  }
  long grown = rss_most_kib(served) - rss;
  uint64_t limit = memory_limit(a->settings);
  /* The limit is looked at before a connection is read: what it has said by then comes on top. */
  limit += ONE_READ;
  check(b, atomic_load(&b->memory_most) <= limit, "memory by encke_stats", (long long)atomic_load(&b->memory_most), (long long)limit);
  if (!(a->flags & LEAVES)) {
    check(b, grown <= rss_bound_kib(a), "KiB of growth", grown, rss_bound_kib(a));
    check(b, atomic_load(&b->smuggled) == 0, "smuggled requests", (long long)atomic_load(&b->smuggled), 0);
    server_command(b, served, DRAIN, 0);
    if (end_process(served, 20, "the server") != 0) box_fail(b, "the server did not end well");
  } else {
    atomic_store(&b->stop, 1);
    if (end_process(other, 20, "the bystander") != 0) box_fail(b, "the bystander failed");
    if (end_process(served, 20, "the server") != 0) box_fail(b, "the server did not end well");
  }

  if (grown < 0) grown = 0; /* it has ended */
  uint64_t p50 = latency_at(open, 0.5), p99 = latency_at(open, 0.99), most = atomic_load(&open->most), fresh = latency_at(new, 0.99);
  printf("%-36s %7llu %7llu %8llu %6llu %6llu %7llu %7llu %6llu %6llu %9.1f %8.1f\n", a->name, (unsigned long long)g.opened, (unsigned long long)g.ended,
         (unsigned long long)answers, (unsigned long long)p50, (unsigned long long)p99, (unsigned long long)most, (unsigned long long)fresh,
         (unsigned long long)latency_at(&b->pass, 0.99), (unsigned long long)atomic_load(&b->pass.most),
         (double)atomic_load(&b->memory_most) / 1024, (double)grown / 1024);
  if (atomic_load(&b->failed)) {
    printf("  FAILED%s: %s\n", a->flags & OPEN ? " (known)" : "", b->fault);
    failed++;
    kill(served, SIGKILL);
    kill(other, SIGKILL);
    end_process(served, 5, "the server");
    end_process(other, 5, "the bystander");
  }
  fflush(stdout);
  box_free(b);
}

int main(int argc, char **argv) {
  int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
  double seconds = quick ? 0.15 : argc > 1 ? atof(argv[1]) : 0;
  const char *only = argc > 2 ? argv[2] : "";
  if (seconds <= 0) {
    fprintf(stderr, "usage: attacks quick | SECONDS [NAME]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  raise_fd_limit();
  certificate_make(&chain, &key);
  printf("%-36s %15s %39s %13s %9s %8s\n", "", "connections", "of the bystander, microseconds", "server's CPU", "KiB", "MiB");
  printf("%-36s %7s %7s %8s %6s %6s %7s %7s %6s %6s %9s %8s\n", "attack", "opened", "ended", "answers", "p50", "p99", "most", "new p99", "p99", "most", "counted", "RSS");
  int tls = swarm_has_tls() && encke_has_feature("tls");
  const attack *const all[] = {plain_attacks, framing_attacks, encke_has_feature("push") ? listening_attacks : NULL, secure_attacks, leaving_attacks};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    for (const attack *a = all[i]; a && a->name; a++)
      if (strstr(a->name, only) && !(quick && a->flags & (LONG | OPEN)) && (!(a->flags & OVER_TLS) || tls)) play(a, seconds);
  printf("attacks: %u passed, %u failed\n", made - failed, failed);
  free(chain), free(key);
  return failed > 0;
}
