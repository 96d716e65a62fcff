/*
 * storm.c - not a peer: encke in a plain poll() loop that times every encke_run, to show how long the host is kept from its
 * other work while many TLS handshakes come at once. Both clocks are read: what a run took is what the host waits; how much
 * of it was CPU time tells a long run from one that the machine interrupted.
 *
 *   storm PORT tls
 *   GET /forget      forget the runs so far
 *   GET /runs        how many since then, and percentiles of their microseconds, as one line of key=value pairs
 *   anything else    13 bytes
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <encke.h>

enum { MOST_RUNS = 1 << 20 };

static uint32_t took[MOST_RUNS], worked[MOST_RUNS]; /* ns */
static size_t runs;

static void die(const char *what) {
  fprintf(stderr, "storm: %s: %s\n", what, encke_last_error());
  exit(1);
}

static uint64_t now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int timed_run(encke *e) {
  uint64_t start = now_ns(CLOCK_MONOTONIC), work = now_ns(CLOCK_THREAD_CPUTIME_ID);
  int more = encke_run(e, 0);
  work = now_ns(CLOCK_THREAD_CPUTIME_ID) - work;
  uint64_t time = now_ns(CLOCK_MONOTONIC) - start;
  if (more < 0)
    die("encke_run");
  if (runs == MOST_RUNS) {
    fputs("storm: too many runs to remember\n", stderr);
    exit(1);
  }
  took[runs] = time < UINT32_MAX ? (uint32_t)time : UINT32_MAX;
  worked[runs++] = work < UINT32_MAX ? (uint32_t)work : UINT32_MAX;
  return more;
}

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static size_t percentiles(char *out, size_t cap, const char *name, uint32_t *ns) {
  static const struct {
    const char *name;
    double share;
  } all[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}, {"max", 1}};
  size_t n = 0;
  qsort(ns, runs, sizeof *ns, by_size);
  for (size_t i = 0; i < sizeof all / sizeof *all && runs > 0; i++) {
    size_t rank = (size_t)(all[i].share * (double)(runs - 1) + .5);
    n += (size_t)snprintf(out + n, cap - n, " %s_%s=%.1f", name, all[i].name, ns[rank] / 1e3);
  }
  return n;
}

static void answer(encke_sender *sender, encke_id id, encke_str path) {
  char text[512] = "Hello, World!";
  size_t n = strlen(text);
  if (!strcmp(path.p, "/forget")) {
    runs = 0;
  } else if (!strcmp(path.p, "/runs")) {
    n = (size_t)snprintf(text, sizeof text, "runs=%zu", runs);
    n += percentiles(text + n, sizeof text - n, "took", took);
    n += percentiles(text + n, sizeof text - n, "worked", worked);
    runs = 0; /* no longer in the order of each other */
  }
  encke_reply(sender, id, 200, "text/plain", text, n); /* settles, whatever it returns */
}

static char *text_of(const char *name, size_t *n) {
  static const size_t room = 8192;
  FILE *file = fopen(name, "rb");
  char *text = malloc(room);
  if (!file || !text || (*n = fread(text, 1, room, file)) == room) {
    perror(name);
    exit(1);
  }
  fclose(file);
  return text;
}

static encke_tls *certificate(void) {
  size_t chain_n, key_n;
  char *chain = text_of("state/cert.pem", &chain_n), *key = text_of("state/key.pem", &key_n);
  encke_tls *tls = encke_tls_new();
  if (!tls || encke_tls_add(tls, chain, chain_n, key, key_n) != ENCKE_OK)
    die("certificate");
  free(chain);
  free(key);
  return tls;
}

int main(int argc, char **argv) {
  if (argc < 3 || strcmp(argv[2], "tls") != 0) {
    fputs("usage: storm PORT tls\n", stderr);
    return 2;
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  char address[64];
  encke_config *config = encke_config_new();
  encke *e;
  snprintf(address, sizeof address, "127.0.0.1:%s", argv[1]);
  if (!config || encke_config_set(config, ENCKE_OPT_BACKLOG, 4096) != ENCKE_OK || encke_new(config, &e) != ENCKE_OK)
    die("start");
  encke_tls *tls = certificate();
  if (encke_listen(e, address, tls, NULL) != ENCKE_OK)
    die(address);
  encke_tls_free(tls);
  encke_config_free(config);

  encke_sender *sender = encke_get_sender(e);
  struct pollfd fd = {.fd = encke_fd(e), .events = POLLIN};
  for (;;) {
    if (poll(&fd, 1, -1) < 0 && errno != EINTR)
      return 1;
    for (int again = 1; again;) {
      again = timed_run(e);
      encke_id id;
      const encke_head *head;
      while (encke_next_request(e, &id, &head) > 0) {
        again = 1;
        answer(sender, id, head->path);
      }
    }
  }
}
