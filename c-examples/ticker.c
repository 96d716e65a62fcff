/*
 * ticker.c - the program's timer feeds everybody who listens: one encke_publish a second, for one client or for ten thousand.
 *
 * No list of clients and no memory of them: a channel is a name, and encke_subscribe makes the answer the library's. Who
 * does not read as fast as the ticker ticks misses ticks (ENCKE_SLOW_DROP_NEW) and is cut when it takes nothing at all for
 * ENCKE_OPT_WRITE_TIMEOUT_MS. Nobody else is slower for it.
 *
 *   ./ticker [ADDRESS]                     default 127.0.0.1:8080
 *   curl -N http://127.0.0.1:8080/         a line a second, for as long as you like; start several
 *   curl -N -H 'Accept: text/event-stream' http://127.0.0.1:8080/          the same as server-sent events
 *   curl -N --limit-rate 1 http://127.0.0.1:8080/?fat                      a slow reader of fat lines
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <encke.h>

#define TICK_MS 1000

static encke *e;
static encke_sender *sender;
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

static void on_request(encke_id id, const encke_head *head) {
  static const encke_field type = {ENCKE_STR("content-type"), ENCKE_STR("text/plain")};
  const char *channel = strcmp(head->query.p, "fat") == 0 ? "ticks/fat" : "ticks";
  encke_str accept = encke_head_get(head, "accept");
  encke_subscription how = {.transport = ENCKE_TRANSPORT_SSE};
  if (accept.p == NULL || strcmp(accept.p, "text/event-stream") != 0) {
    how.transport = ENCKE_TRANSPORT_PLAIN; /* the data and nothing else: lines for curl */
    how.fields = &type;
    how.nfields = 1;
  }
  if (encke_subscribe(sender, id, &channel, 1, &how, sizeof how) != ENCKE_OK)
    encke_abort(sender, id);
}

static void publish(const char *channel, const char *line, size_t len) {
  encke_message message = {.data = line, .len = len};
  if (encke_publish(sender, 0, channel, &message, sizeof message) != ENCKE_OK)
    die("encke_publish");
}

static void on_tick(void) {
  static unsigned tick;
  char line[64];
  int n = snprintf(line, sizeof line, "tick %u\n", ++tick);
  publish("ticks", line, (size_t)n);
  publish("ticks/fat", fat_line, sizeof fat_line);
}

static void on_event(const encke_event *ev) {
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    on_request(ev->id, ev->head);
    break;
  case ENCKE_EV_ABORTED: /* the client left before it was subscribed */
    encke_abort(sender, ev->id);
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

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender);
}

int main(int argc, char **argv) {
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new");
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen");
  sender = encke_get_sender(e);
  if (encke_channel_set(sender, "ticks*", ENCKE_CHANNEL_SLOW, ENCKE_SLOW_DROP_NEW) != ENCKE_OK ||
      encke_channel_set(sender, "ticks*", ENCKE_CHANNEL_HISTORY, 10) != ENCKE_OK) /* for EventSource, which comes back */
    die("encke_channel_set");
  memset(fat_line, '.', sizeof fat_line - 1);
  fat_line[sizeof fat_line - 1] = '\n';

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);

  int draining = 0;
  uint64_t next_tick = now_ms() + TICK_MS;
  while (!drained) {
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
      if (encke_drain(e, 2000) != ENCKE_OK) /* ends the streams well */
        die("encke_drain");
    }
  }
  encke_free(e);
  return 0;
}
