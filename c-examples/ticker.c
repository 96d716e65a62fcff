/*
 * ticker.c - comet by hand: every client holds a stream open and the program's timer feeds all of them.
 *
 * Slow readers show themselves by ENCKE_E_AGAIN: nothing was taken, so the tick is skipped for that client
 * until ENCKE_EV_WRITABLE says that there is room again; one that stays behind for too long is cut. A
 * client's memory is found through ev.user and freed at ENCKE_EV_DONE and nowhere else: no event carries
 * its id after that one.
 *
 *   ./ticker [ADDRESS]                     default 127.0.0.1:8080
 *   curl -N http://127.0.0.1:8080/         a line a second, for as long as you like; start several
 *   curl -N --limit-rate 1 http://127.0.0.1:8080/?fat      a slow reader of fat lines: skipped, then cut
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <encke.h>

#define TICK_MS 1000
#define PATIENCE 10 /* ticks that a client may miss in a row */

struct client {
  struct client *next, **link; /* link: the pointer that points here */
  encke_id id;
  int fat, full, settled;
  unsigned missed;
};

static encke *e;
static encke_sender *sender;
static struct client *clients;
static char fat_line[1 << 20];
static volatile sig_atomic_t stop;
static int drained;

static void die(const char *what) {
  fprintf(stderr, "ticker: %s: %s\n", what, encke_last_error());
  exit(1);
}

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void cut(struct client *c) {
  encke_abort(sender, c->id);
  c->settled = 1;
}

static void write_line(struct client *c, const char *line, size_t len) {
  int r = encke_write(sender, c->id, line, len);
  if (r == ENCKE_E_AGAIN)
    c->full = 1; /* one WRITABLE, or ABORTED, follows */
  else if (r != ENCKE_OK)
    cut(c);
}

static void on_request(encke_id id, const encke_head *head) {
  static const encke_field fields[] = {
    {ENCKE_STR("content-type"), ENCKE_STR("text/plain")},
    {ENCKE_STR("cache-control"), ENCKE_STR("no-store")},
  };
  static const char welcome[] = "hello\n";
  encke_response r = {.status = 200, .fields = fields, .nfields = 2};
  if (head->method.n == 4 && memcmp(head->method.p, "HEAD", 4) == 0) { /* no body: nothing to hold open */
    if (encke_respond(sender, id, &r, sizeof r) != ENCKE_OK)
      encke_abort(sender, id);
    return;
  }
  struct client *c = calloc(1, sizeof *c);
  if (c == NULL || encke_set_user(sender, id, (uint64_t)(uintptr_t)c) != ENCKE_OK) {
    free(c); /* not known to encke: no DONE will bring it */
    encke_abort(sender, id);
    return;
  }
  c->id = id;
  c->fat = head->query.n == 3 && memcmp(head->query.p, "fat", 3) == 0;
  c->next = clients;
  c->link = &clients;
  if (clients != NULL)
    clients->link = &c->next;
  clients = c;
  r.body = welcome; /* the first piece */
  r.body_len = sizeof welcome - 1;
  if (encke_begin(sender, id, &r, sizeof r) != ENCKE_OK)
    cut(c); /* begin does not settle */
}

static void on_tick(void) {
  static unsigned tick;
  char line[64];
  int n = snprintf(line, sizeof line, "tick %u\n", ++tick);
  for (struct client *c = clients; c != NULL; c = c->next) {
    if (c->settled)
      continue;
    if (!c->full) {
      c->missed = 0;
      write_line(c, c->fat ? fat_line : line, c->fat ? sizeof fat_line : (size_t)n);
    } else if (++c->missed > PATIENCE) {
      fprintf(stderr, "ticker: cut a client that missed %d ticks\n", PATIENCE);
      cut(c);
    }
  }
}

static void on_event(const encke_event *ev) {
  struct client *c = (struct client *)(uintptr_t)ev->user;
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    on_request(ev->id, ev->head);
    break;
  case ENCKE_EV_WRITABLE:
    if (c != NULL)
      c->full = 0;
    break;
  case ENCKE_EV_ABORTED:
    if (c != NULL)
      cut(c);
    break;
  case ENCKE_EV_DONE:
    if (c != NULL) {
      *c->link = c->next;
      if (c->next != NULL)
        c->next->link = c->link;
      free(c);
    }
    break;
  case ENCKE_EV_LISTENER:
    fprintf(stderr, "ticker: cannot accept: %s\n", strerror(ev->code));
    break;
  case ENCKE_EV_DRAINED:
    drained = 1;
    break;
  default:
    break;
  }
}

/* The streams have no end of their own, so they are ended here; then the drain has nothing to wait for. */
static void begin_drain(void) {
  for (struct client *c = clients; c != NULL; c = c->next) {
    if (c->settled)
      continue;
    if (encke_end(sender, c->id, NULL, 0) != ENCKE_OK)
      encke_abort(sender, c->id);
    c->settled = 1;
  }
  if (encke_drain(e, 2000) != ENCKE_OK)
    die("encke_drain");
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender);
}

int main(int argc, char **argv) {
  encke_config *config = encke_config_new();
  if (config == NULL || encke_config_set(config, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)) != ENCKE_OK ||
      encke_config_set(config, ENCKE_OPT_HIGH_WATER, 65536) != ENCKE_OK ||
      encke_config_set(config, ENCKE_OPT_LOW_WATER, 16384) != ENCKE_OK)
    die("encke_config");
  if (encke_new(config, &e) != ENCKE_OK)
    die("encke_new");
  encke_config_free(config);
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen");
  sender = encke_get_sender(e);
  memset(fat_line, '.', sizeof fat_line - 1);
  fat_line[sizeof fat_line - 1] = '\n';

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);

  int draining = 0;
  uint64_t next_tick = now_ms() + TICK_MS;
  while (!drained || clients != NULL) { /* DONE of the last streams may come after DRAINED */
    uint64_t now = now_ms();
    if (encke_wait(e, now < next_tick ? (int64_t)(next_tick - now) : 0) < 0)
      die("encke_wait");
    encke_event ev;
    while (encke_next(e, &ev, sizeof ev) > 0)
      on_event(&ev);
    if (now_ms() >= next_tick) {
      on_tick();
      next_tick += TICK_MS;
    }
    if (stop && !draining) {
      draining = 1;
      begin_drain();
    }
  }
  encke_free(e);
  return 0;
}
