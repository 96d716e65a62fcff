/*
 * soak.c - mixed traffic for a long time. The rule: every client checks every byte it gets; once a second the server's
 * memory, fds and counters are noted. Under traffic the memory of the process goes up and down with what the clients happen
 * to want, so now and then all of them rest: nothing is connected, nothing is held, fds are as at the start, and what the
 * process then has may not be more than 2 % above what it had at the end of the warm-up.
 *
 *   soak SECONDS            at least 90, or the warm-up is not over
 *   soak SECONDS quick      without a word on memory
 *   soak SECONDS stalled    every third second the server is stopped for up to half a second, so that everything comes at once
 */
#include "../load/bystander.h"
#include "../load/certificate.h"
#include "../load/client.h"
#include "../load/pattern.h"
#include "../load/server.h"

#include <signal.h>
#include <unistd.h>

static box *shared;
static char *chain, *key;

typedef struct {
  const char *name;
  int (*round)(uint64_t *seed); /* 1: the client is still in order */
  int over_tls;
  int port;
} role;

static int going(void) { return !atomic_load(&shared->stop) && !atomic_load(&shared->failed); }

static kind kind_now;
static int port_now;
static client *live;

/* 0, after noting it: the outcome is not what a client may expect. */
static int went_well(outcome o, const char *what) {
  if (o == WHOLE) {
    atomic_fetch_add(&shared->answers, 1);
    return 1;
  }
  box_fail(shared, "%s over %s: outcome %d (%s)", what, kind_now == PLAIN ? "TCP" : "TLS", (int)o, client_why());
  return 0;
}

static int open_live(void) {
  if (live) return 1;
  live = client_open(port_now, kind_now);
  if (live) atomic_fetch_add(&shared->reconnects, 1);
  else box_fail(shared, "a connection: %s", client_why());
  return live != NULL;
}

static void close_live(void) {
  client_close(live);
  live = NULL;
}

static int echo(uint64_t *seed, const char *where) {
  char path[64];
  int n = snprintf(path, sizeof path, "%s%llu", where, (unsigned long long)random_next(seed));
  return went_well(client_get(live, path, path + 6, (size_t)n - 6), where);
}

/* One connection, many requests. */
static int keep_alive(uint64_t *seed) {
  if (!open_live()) return 0;
  if (random_next(seed) % 500 == 0) {
    close_live();
    return 1;
  }
  return echo(seed, random_next(seed) % 8 ? "/echo/" : "/work/");
}

static int one_each(uint64_t *seed) {
  if (!open_live() || !echo(seed, "/echo/")) return 0;
  close_live();
  return 1;
}

static int pipelined(uint64_t *seed) {
  char text[32 * 64], expected[32][32];
  size_t n = 0, depth = 1 + random_next(seed) % 32;
  if (!open_live()) return 0;
  for (size_t i = 0; i < depth; i++) {
    snprintf(expected[i], sizeof expected[i], "%llu", (unsigned long long)random_next(seed));
    n += (size_t)snprintf(text + n, sizeof text - n, "GET /%s/%s HTTP/1.1\r\nHost: a\r\n\r\n", i % 3 ? "echo" : "work", expected[i]);
  }
  if (client_say(live, text, n) != WHOLE) return went_well(CLOSED, "a pipeline");
  for (size_t i = 0; i < depth; i++)
    if (!went_well(client_expect(live, expected[i], strlen(expected[i])), "a pipeline")) return 0;
  return 1;
}

static int streamed(uint64_t *seed) {
  uint64_t size = random_next(seed) % (random_next(seed) % 8 ? 100000 : 3000000);
  char path[64];
  snprintf(path, sizeof path, "/stream/%llu%s", (unsigned long long)size, random_next(seed) % 2 ? "?chunked" : "");
  return open_live() && went_well(client_get_pattern(live, path, size), path);
}

static int borrowed(uint64_t *seed) {
  (void)seed;
  return open_live() && went_well(client_get_pattern(live, "/lent", PATTERN_PIECE), "/lent");
}

static int uploaded(uint64_t *seed) {
  size_t size = random_next(seed) % (random_next(seed) % 4 ? 60000 : 1000000), at = 0;
  int chunked = random_next(seed) % 2;
  char text[128], count[32];
  if (!open_live()) return 0;
  int n = chunked ? snprintf(text, sizeof text, "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                  : snprintf(text, sizeof text, "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", size);
  outcome o = client_say(live, text, (size_t)n);
  while (o == WHOLE && at < size) {
    size_t part = 1 + random_next(seed) % PATTERN_PIECE;
    if (part > size - at) part = size - at;
    if (chunked && (o = client_say(live, text, (size_t)snprintf(text, sizeof text, "%zx\r\n", part))) != WHOLE) break;
    o = client_say(live, pattern_at(at), part);
    if (chunked && o == WHOLE) o = client_say(live, "\r\n", 2);
    at += part;
  }
  if (chunked && o == WHOLE) o = client_say(live, "0\r\n\r\n", 5);
  if (o != WHOLE) return went_well(o, "an upload");
  n = snprintf(count, sizeof count, "%zu", size);
  return went_well(client_expect(live, count, (size_t)n), "an upload");
}

/* Leaves in the middle, one way or the other. */
static int aborted(uint64_t *seed) {
  static const char *const starts[] = {
    "GET /stream/5000000 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /work/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /ho", "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc",
    "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n", "POST /deaf HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
  };
  const char *text = starts[random_next(seed) % (sizeof starts / sizeof *starts)];
  if (!open_live()) return 0;
  (void)client_say(live, text, strlen(text)); /* it may be refused while it is said */
  if (random_next(seed) % 2) client_reset(live);
  else client_close(live);
  live = NULL;
  return 1;
}

static role roles[] = {
  {"keep-alive", keep_alive, 0, 0}, {"one each", one_each, 0, 0},   {"pipelined", pipelined, 0, 0},
  {"streamed", streamed, 0, 0},     {"borrowed", borrowed, 0, 0},   {"uploaded", uploaded, 0, 0},
  {"aborted", aborted, 0, 0},       {"keep-alive", keep_alive, 1, 0}, {"one each", one_each, 1, 0},
  {"streamed", streamed, 1, 0},     {"uploaded", uploaded, 1, 0},   {"aborted", aborted, 1, 0},
};

#define ROLES (sizeof roles / sizeof *roles)

static int play(void *role_) {
  const role *r = role_;
  uint64_t seed = (uint64_t)(r - roles) + 1;
  kind_now = r->over_tls ? (seed % 2 ? TLS : TLS12) : PLAIN;
  port_now = r->port;
  while (going()) {
    if (atomic_load(&shared->rest)) {
      close_live();
      wait_a_little();
      continue;
    }
    if (!r->round(&seed)) return 1;
    if (seed % 16 == 0) wait_a_little();
  }
  close_live();
  return 0;
}

/* ---- what is noted -------------------------------------------------------------------------------------------------------------- */

typedef struct { int second, fds; long rss; uint64_t connections, requests, answers, memory, aborted, in, out, in_use; } sample;

static int by_rss(const void *a, const void *b) {
  const sample *x = a, *y = b;
  return x->rss < y->rss ? -1 : x->rss > y->rss;
}

static long median_rss(const sample *from, size_t n) {
  sample *copy = need(malloc((n + 1) * sizeof *copy));
  memcpy(copy, from, n * sizeof *copy);
  qsort(copy, n, sizeof *copy, by_rss);
  long rss = n ? copy[n / 2].rss : 0;
  free(copy);
  return rss;
}

static sample take(pid_t pid, int second) {
  box *b = shared;
  return (sample){second, fds_of(pid), rss_kib(pid), atomic_load(&b->connections), atomic_load(&b->requests), atomic_load(&b->answers),
                  atomic_load(&b->memory), atomic_load(&b->aborted), atomic_load(&b->bytes_in), atomic_load(&b->bytes_out), atomic_load(&b->in_use)};
}

static void show(const sample *s, size_t n) {
  size_t every = n > 40 ? (n + 39) / 40 : 1;
  printf("%7s %9s %6s %6s %11s %11s %10s %9s %9s\n", "second", "RSS KiB", "fds", "conns", "requests", "answers", "memory", "MiB in", "MiB out");
  for (size_t i = 0; i < n; i++)
    if (i % every == 0 || i + 1 == n)
      printf("%7d %9ld %6d %6llu %11llu %11llu %10llu %9llu %9llu\n", s[i].second, s[i].rss, s[i].fds, (unsigned long long)s[i].connections,
             (unsigned long long)s[i].requests, (unsigned long long)s[i].answers, (unsigned long long)s[i].memory,
             (unsigned long long)s[i].in >> 20, (unsigned long long)s[i].out >> 20);
}

/* All clients rest. 0: something of them is left. */
static int at_rest(pid_t serving, int fds) {
  box *b = shared;
  atomic_store(&b->rest, 1);
  int empty = WAIT_FOR((atomic_load(&b->connections) == 0 && atomic_load(&b->held) == 0 && atomic_load(&b->memory) == 0 && fds_of(serving) == fds) || !going(), 60);
  if (!empty)
    box_fail(b, "left at rest: %llu connections, %llu held, %llu bytes, %d fds for %d", (unsigned long long)atomic_load(&b->connections),
             (unsigned long long)atomic_load(&b->held), (unsigned long long)atomic_load(&b->memory), fds_of(serving), fds);
  return empty && going();
}

/* The server does not run for a moment, as where others take the processor; its clients go on. */
static void stall(pid_t serving, uint64_t *seed) {
  uint64_t until = now_us() + 100000 + random_next(seed) % 400000;
  kill(serving, SIGSTOP);
  while (now_us() < until) wait_a_little();
  kill(serving, SIGCONT);
}

static double percent(long before, long after) { return before > 0 ? 100.0 * (double)(after - before) / (double)before : 0; }

int main(int argc, char **argv) {
  int seconds = argc > 1 ? atoi(argv[1]) : 0, tls = encke_has_feature("tls");
  const char *form = argc > 2 ? argv[2] : "";
  int quick = strcmp(form, "quick") == 0, stalled = strcmp(form, "stalled") == 0;
  if (seconds <= 0 || (*form && !quick && !stalled)) {
    fprintf(stderr, "usage: soak SECONDS [quick | stalled]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  client_patience = 30;
  certificate_make(&chain, &key);
  if (!chain) tls = 0;
  shared = box_new();
  server s = {.box = shared, .workers = 2, .chain = tls ? chain : NULL, .key = key};
  pid_t serving = start_process(server_play, &s), clients[ROLES];
  CHECK(WAIT_FOR(atomic_load(&shared->port) != 0, 10));
  int fds = fds_of(serving);
  size_t n = 0;
  for (size_t i = 0; i < ROLES; i++) {
    clients[i] = 0;
    if (roles[i].over_tls && !tls) continue;
    roles[i].port = roles[i].over_tls ? atomic_load(&shared->tls_port) : atomic_load(&shared->port);
    clients[i] = start_process(play, &roles[i]);
  }
  sample *samples = need(calloc((size_t)seconds + 1, sizeof *samples)), *rests = need(calloc((size_t)seconds + 1, sizeof *rests));
  size_t resting = 0;
  int rest_every = seconds >= 600 ? 20 : seconds >= 90 ? 5 : 1;
  uint64_t from = now_us(), seed = 1;
  for (int second = 1; second <= seconds && going(); second++) {
    if (stalled && second % 3 == 0) stall(serving, &seed);
    while (now_us() < from + (uint64_t)second * 1000000 && going()) wait_a_little();
    samples[n++] = take(serving, second);
    if (second % rest_every) continue;
    if (at_rest(serving, fds)) rests[resting++] = take(serving, second);
    atomic_store(&shared->rest, 0);
  }
  atomic_store(&shared->stop, 1);
  for (size_t i = 0; i < ROLES; i++)
    if (clients[i] && end_process(clients[i], 60, roles[i].name) != 0) box_fail(shared, "the client \"%s\" failed", roles[i].name);
  if (!WAIT_FOR(atomic_load(&shared->connections) == 0 && atomic_load(&shared->held) == 0, 30))
    box_fail(shared, "left: %llu connections, %llu held", (unsigned long long)atomic_load(&shared->connections), (unsigned long long)atomic_load(&shared->held));
  if (!WAIT_FOR(atomic_load(&shared->memory) == 0, 5)) box_fail(shared, "left: %llu bytes of memory", (unsigned long long)atomic_load(&shared->memory));
  if (!WAIT_FOR(fds_of(serving) == fds, 10)) box_fail(shared, "fds: %d before, %d after", fds, fds_of(serving));
  show(samples, n);

  /* The warm-up is the first third, of a long run at most two minutes. Of what follows the first fifth is compared with the last. */
  size_t warm = n / 3 < 120 ? n / 3 : 120, part = (n - warm) / 5;
  long before = median_rss(samples + warm, part), after = median_rss(samples + n - part, part);
  size_t first = 0;
  while (first < resting && rests[first].second <= (int)warm) first++;
  size_t rest_part = (resting - first + 4) / 5;
  long rest_before = median_rss(rests + first, rest_part), rest_after = median_rss(rests + resting - rest_part, rest_part);
  double growth = percent(rest_before, rest_after);
  printf("RSS under traffic %ld KiB after the warm-up (%zu s), %ld KiB at the end: %+.2f %%\n", before, warm, after, percent(before, after));
  printf("at most %llu connections at a time, %llu bytes as they are counted\n", (unsigned long long)atomic_load(&shared->connections_most),
         (unsigned long long)atomic_load(&shared->memory_most));
  printf("RSS at rest %ld KiB after the warm-up, %ld KiB at the end (%zu rests): %+.2f %%; fds %d before, %d after\n", rest_before, rest_after,
         resting, growth, fds, fds_of(serving));
  if (resting > first)
    printf("in use at rest, by malloc: %llu bytes after the warm-up, %llu at the end\n", (unsigned long long)rests[first].in_use,
           (unsigned long long)rests[resting - 1].in_use);
  if (growth > 2 && !quick) box_fail(shared, "the memory is not flat");
  server_command(shared, serving, DRAIN, 1000);
  if (end_process(serving, 30, "the server") != 0) box_fail(shared, "the server did not end well");
  int failed = atomic_load(&shared->failed);
  printf("soak: %zu seconds, %llu answers, %llu connections, %s%s\n", n, (unsigned long long)atomic_load(&shared->answers),
         (unsigned long long)atomic_load(&shared->reconnects), failed ? "FAILED: " : "passed", failed ? shared->fault : "");
  free(samples), free(rests), free(chain), free(key);
  return failed;
}
