/*
 * libuv_loop.c - encke in a libuv loop: one uv_poll_t on encke_fd, and answers that libuv timers give.
 *
 * uv_poll is level-triggered, so one encke_run and one drain of encke_next per callback is enough.
 *
 *   ./libuv_loop [ADDRESS]                 default 127.0.0.1:8080
 *   curl http://127.0.0.1:8080/            answered by a libuv timer half a second later
 *   curl -Z 'http://127.0.0.1:8080/?[1-40]'     forty of them are held at once
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include <encke.h>

struct held {
  uv_timer_t timer; /* first, so that the handle that libuv gives back is the whole */
  encke_id id;
};

static encke *e;
static encke_sender *sender;
static uv_loop_t loop;
static uv_poll_t readable;
static uv_signal_t on_int, on_term;

static void die(const char *what, const char *why) {
  fprintf(stderr, "libuv_loop: %s: %s\n", what, why);
  exit(1);
}

static void must(const char *what, int r) {
  if (r != 0)
    die(what, uv_strerror(r));
}

static void free_handle(uv_handle_t *handle) {
  free(handle);
}

static void answer(uv_timer_t *timer) {
  static const char text[] = "a timer of the uv loop answered\n";
  struct held *held = (struct held *)timer;
  encke_reply(sender, held->id, 200, "text/plain", text, sizeof text - 1); /* settles in any case */
  uv_close((uv_handle_t *)timer, free_handle);
}

static void on_request(encke_id id) {
  struct held *held = malloc(sizeof *held);
  if (held == NULL) {
    encke_abort(sender, id);
    return;
  }
  held->id = id;
  must("uv_timer_init", uv_timer_init(&loop, &held->timer));
  must("uv_timer_start", uv_timer_start(&held->timer, answer, 500, 0));
}

static void on_encke(uv_poll_t *handle, int status, int events) {
  (void)handle, (void)events;
  must("uv_poll", status);
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("encke_run", encke_last_error());
  while (encke_next(e, &ev, sizeof ev) > 0) {
    switch (ev.kind) {
    case ENCKE_EV_REQUEST:
      on_request(ev.id);
      break;
    case ENCKE_EV_LISTENER:
      fprintf(stderr, "libuv_loop: cannot accept: %s\n", strerror(ev.code));
      break;
    case ENCKE_EV_DRAINED: /* nothing else keeps the loop: uv_run returns */
      uv_close((uv_handle_t *)&readable, NULL);
      uv_close((uv_handle_t *)&on_int, NULL);
      uv_close((uv_handle_t *)&on_term, NULL);
      break;
    default:
      break; /* ABORTED: the timer settles in any case */
    }
  }
}

static void on_stop(uv_signal_t *handle, int number) {
  (void)handle, (void)number;
  if (encke_drain(e, 5000) != ENCKE_OK)
    die("encke_drain", encke_last_error());
}

int main(int argc, char **argv) {
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen", encke_last_error());
  sender = encke_get_sender(e);

  must("uv_loop_init", uv_loop_init(&loop));
  must("uv_poll_init", uv_poll_init(&loop, &readable, encke_fd(e)));
  must("uv_poll_start", uv_poll_start(&readable, UV_READABLE, on_encke));
  must("uv_signal_init", uv_signal_init(&loop, &on_int));
  must("uv_signal_init", uv_signal_init(&loop, &on_term));
  must("uv_signal_start", uv_signal_start(&on_int, on_stop, SIGINT));
  must("uv_signal_start", uv_signal_start(&on_term, on_stop, SIGTERM));
  uv_run(&loop, UV_RUN_DEFAULT);

  encke_free(e); /* after uv_close(&readable): libuv must not watch an fd that is closed */
  must("uv_loop_close", uv_loop_close(&loop));
  return 0;
}
