/*
 * libevent_loop.c - encke in a libevent loop: one persistent read event on encke_fd, and answers that
 * libevent's timers give.
 *
 * The event is level-triggered (no EV_ET), so one encke_run and one drain of encke_next per callback is
 * enough.
 *
 *   ./libevent_loop [ADDRESS]              default 127.0.0.1:8080
 *   curl http://127.0.0.1:8080/            answered by a libevent timer half a second later
 *   curl -Z 'http://127.0.0.1:8080/?[1-40]'     forty of them are held at once
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include <encke.h>

static encke *e;
static encke_sender *sender;
static struct event_base *base;

static void die(const char *what, const char *why) {
  fprintf(stderr, "libevent_loop: %s: %s\n", what, why);
  exit(1);
}

static void answer(evutil_socket_t fd, short what, void *arg) {
  static const char text[] = "a timer of libevent answered\n";
  encke_id *id = arg;
  (void)fd, (void)what;
  encke_reply(sender, *id, 200, "text/plain", text, sizeof text - 1); /* settles in any case */
  free(id);
}

static void on_request(encke_id id) {
  static const struct timeval half_a_second = {.tv_usec = 500000};
  encke_id *held = malloc(sizeof *held);
  if (held != NULL)
    *held = id;
  if (held == NULL || event_base_once(base, -1, EV_TIMEOUT, answer, held, &half_a_second) != 0) {
    free(held);
    encke_abort(sender, id);
  }
}

static void on_encke(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what, (void)arg;
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("encke_run", encke_last_error());
  while (encke_next(e, &ev, sizeof ev) > 0) {
    switch (ev.kind) {
    case ENCKE_EV_REQUEST:
      on_request(ev.id);
      break;
    case ENCKE_EV_LISTENER:
      fprintf(stderr, "libevent_loop: cannot accept: %s\n", strerror(ev.code));
      break;
    case ENCKE_EV_DRAINED:
      event_base_loopbreak(base);
      break;
    default:
      break; /* ABORTED: the timer settles in any case */
    }
  }
}

static void on_stop(evutil_socket_t number, short what, void *arg) {
  (void)number, (void)what, (void)arg;
  if (encke_drain(e, 5000) != ENCKE_OK)
    die("encke_drain", encke_last_error());
}

static struct event *add(evutil_socket_t fd, short what, event_callback_fn callback) {
  struct event *event = event_new(base, fd, (short)(what | EV_PERSIST), callback, NULL);
  if (event == NULL || event_add(event, NULL) != 0)
    die("event_add", "failed");
  return event;
}

int main(int argc, char **argv) {
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen", encke_last_error());
  sender = encke_get_sender(e);

  base = event_base_new();
  if (base == NULL)
    die("event_base_new", "failed");
  struct event *readable = add(encke_fd(e), EV_READ, on_encke);
  struct event *on_int = add(SIGINT, EV_SIGNAL, on_stop);
  struct event *on_term = add(SIGTERM, EV_SIGNAL, on_stop);
  event_base_dispatch(base);

  event_free(on_term);
  event_free(on_int);
  event_free(readable); /* before encke_free: libevent must not watch an fd that is closed */
  event_base_free(base);
  encke_free(e);
  return 0;
}
