/*
 * bystander.c - see bystander.h. The rule: each request asks for something else and the answer must be exactly that; the
 * first that is not is the end.
 */
#include "bystander.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *named(outcome o) {
  static const char *const names[] = {"whole", "closed", "cut", "nothing came", "503", "wrong"};
  return names[o];
}

int bystander_play(void *bystander_) {
  const bystander *b = bystander_;
  client *c = NULL;
  for (uint64_t i = 0; !atomic_load(&b->box->stop); i++) {
    char path[64];
    int n = snprintf(path, sizeof path, "/echo/%llu-%d", (unsigned long long)i * 7919, b->port);
    if (b->new_every && i % (uint64_t)b->new_every == 0) {
      client_close(c);
      c = NULL;
    }
    int fresh = !c;
    uint64_t from = now_us();
    if (!c && !(c = client_open(b->port, b->kind))) {
      if (b->may_close) break; /* it listens no more */
      box_fail(b->box, "the bystander's connection %llu: %s", (unsigned long long)i, client_why());
      return 1;
    }
    atomic_fetch_add(&b->box->reconnects, (uint64_t)fresh);
    outcome o = client_get(c, path, path + 6, (size_t)n - 6);
    if (o == BUSY && b->may_wait) {
      client_close(c);
      c = NULL;
      continue;
    }
    if ((o == CLOSED && b->may_close) || (o == CUT && b->may_cut)) break;
    if (o != WHOLE) {
      box_fail(b->box, "the bystander's request %llu on a %s connection: %s (%s)", (unsigned long long)i, fresh ? "new" : "live", named(o), client_why());
      client_close(c);
      return 1;
    }
    latency_add(fresh ? &b->box->on_new : &b->box->on_open, now_us() - from);
    atomic_fetch_add(&b->box->answers, 1);
    struct timespec pause = {.tv_nsec = b->pause_us * 1000L};
    nanosleep(&pause, NULL);
  }
  client_close(c);
  if (b->may_close) atomic_store(&b->box->was_closed, 1);
  return 0;
}
