/*
 * push.c - encke as a push server in a plain poll() loop, for the measurements of fan-out.
 *
 *   push PORT [tls] [BATCH]        with tls, HTTP without it on the next port: for the publisher
 *   GET /feed        subscribes: by the client's Accept and Upgrade
 *   POST /feed       publishes the body; with BATCH, that many at a time
 *   GET /runs        how long single calls of encke_run took since the first publish, as storm.c has it, until subscribers
 *                    leave; and the longest after that
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

enum { MOST_RUNS = 1 << 20, MOST_BATCH = 64, MOST_BODY = 4096 };

static uint32_t took[MOST_RUNS], worked[MOST_RUNS]; /* ns */
static size_t runs;
static uint64_t most_subscribers, left_worked; /* ns: the longest since some have left */
static size_t batch = 1, waiting;
static struct { char data[MOST_BODY]; size_t len; } bodies[MOST_BATCH];

static void die(const char *what) {
  fprintf(stderr, "push: %s: %s\n", what, encke_last_error());
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
  if (more < 0) die("encke_run");
  encke_stats stats = {0};
  encke_stats_get(encke_get_sender(e), &stats, sizeof stats);
  if (stats.subscribers > most_subscribers) most_subscribers = stats.subscribers;
  if (stats.subscribers < most_subscribers) {
    if (work > left_worked) left_worked = work;
  } else if (runs < MOST_RUNS) {
    took[runs] = time < UINT32_MAX ? (uint32_t)time : UINT32_MAX;
    worked[runs++] = work < UINT32_MAX ? (uint32_t)work : UINT32_MAX;
  }
  return more;
}

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static size_t percentiles(char *out, size_t cap, const char *name, uint32_t *ns) {
  static const struct { const char *name; double share; } all[] = {{"p50", .5}, {"p99", .99}, {"p999", .999}, {"max", 1}};
  size_t n = 0;
  qsort(ns, runs, sizeof *ns, by_size);
  for (size_t i = 0; i < sizeof all / sizeof *all && runs > 0; i++) {
    size_t rank = (size_t)(all[i].share * (double)(runs - 1) + .5);
    n += (size_t)snprintf(out + n, cap - n, " %s_%s=%.1f", name, all[i].name, ns[rank] / 1e3);
  }
  return n;
}

static void publish(encke_sender *sender, const void *data, size_t len) {
  encke_message message = {.type = ENCKE_STR("text/plain"), .data = data, .len = len};
  if (encke_publish(sender, 0, "feed", &message, sizeof message) != ENCKE_OK) die("publish");
}

static void post(encke_sender *sender, const encke_head *head) {
  static int posted;
  if (!posted++) runs = 0; /* what came before were subscriptions */
  if (batch == 1) {
    publish(sender, head->body, head->body_len);
  } else if (head->body_len <= MOST_BODY) {
    memcpy(bodies[waiting].data, head->body, head->body_len);
    bodies[waiting++].len = head->body_len;
    if (waiting == batch) {
      for (size_t i = 0; i < batch; i++) publish(sender, bodies[i].data, bodies[i].len);
      waiting = 0;
    }
  }
  encke_reply(sender, head->id, 204, NULL, NULL, 0);
}

static void serve(encke_sender *sender, const encke_head *head) {
  if (!strcmp(head->path.p, "/feed")) {
    const char *channel = "feed";
    if (head->method.p[0] == 'P') post(sender, head);
    else encke_subscribe(sender, head->id, &channel, 1, NULL, 0);
    return;
  }
  char text[512] = "Hello, World!";
  size_t n = strlen(text);
  if (!strcmp(head->path.p, "/runs")) {
    n = (size_t)snprintf(text, sizeof text, "runs=%zu", runs);
    n += percentiles(text + n, sizeof text - n, "took", took);
    n += percentiles(text + n, sizeof text - n, "worked", worked);
    n += (size_t)snprintf(text + n, sizeof text - n, " left_max=%.1f", (double)left_worked / 1e3);
    runs = 0;
  }
  encke_reply(sender, head->id, 200, "text/plain", text, n);
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
  if (!tls || encke_tls_add(tls, chain, chain_n, key, key_n) != ENCKE_OK) die("certificate");
  free(chain);
  free(key);
  return tls;
}

int main(int argc, char **argv) {
  int with_tls = 0;
  for (int i = 2; i < argc; i++) {
    if (!strcmp(argv[i], "tls")) with_tls = 1;
    else batch = (size_t)atoi(argv[i]);
  }
  if (argc < 2 || batch < 1 || batch > MOST_BATCH) {
    fputs("usage: push PORT [tls] [BATCH up to 64]\n", stderr);
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
  if (!config || encke_config_set(config, ENCKE_OPT_BACKLOG, 16384) != ENCKE_OK || encke_new(config, &e) != ENCKE_OK)
    die("start");
  encke_tls *tls = with_tls ? certificate() : NULL;
  if (encke_listen(e, address, tls, NULL) != ENCKE_OK) die(address);
  if (tls) {
    snprintf(address, sizeof address, "127.0.0.1:%d", atoi(argv[1]) + 1);
    if (encke_listen(e, address, NULL, NULL) != ENCKE_OK) die(address);
  }
  encke_tls_free(tls);
  encke_config_free(config);

  encke_sender *sender = encke_get_sender(e);
  struct pollfd fd = {.fd = encke_fd(e), .events = POLLIN};
  for (;;) {
    if (poll(&fd, 1, -1) < 0 && errno != EINTR) return 1;
    timed_run(e);
    encke_id id;
    const encke_head *head;
    while (encke_next_request(e, &id, &head) > 0) serve(sender, head);
  }
}
