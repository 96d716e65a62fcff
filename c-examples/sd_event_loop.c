/*
 * sd_event_loop.c - encke in a systemd event loop: one I/O source on encke_fd, answers that sd-event timers
 * give, and a socket handed over by systemd where there is one (socket activation).
 *
 * The source is level-triggered (no EPOLLET), so one encke_run and one drain of encke_next per callback is
 * enough.
 *
 *   ./sd_event_loop [ADDRESS]                             default 127.0.0.1:8080
 *   systemd-socket-activate -l 127.0.0.1:8080 ./sd_event_loop     the socket comes from outside
 *   curl http://127.0.0.1:8080/                           answered by an sd-event timer half a second later
 *   curl -Z 'http://127.0.0.1:8080/?[1-40]'               forty of them are held at once
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include <encke.h>

static encke *e;
static encke_sender *sender;
static sd_event *loop;

static void die(const char *what, const char *why) {
  fprintf(stderr, "sd_event_loop: %s: %s\n", what, why);
  exit(1);
}

static void must(const char *what, int r) {
  if (r < 0)
    die(what, strerror(-r));
}

static int answer(sd_event_source *source, uint64_t usec, void *userdata) {
  static const char text[] = "a timer of sd-event answered\n";
  encke_id *id = userdata;
  (void)source, (void)usec;
  encke_reply(sender, *id, 200, "text/plain", text, sizeof text - 1); /* settles in any case */
  free(id);
  return 0;
}

static void on_request(encke_id id) {
  encke_id *held = malloc(sizeof *held);
  if (held == NULL) {
    encke_abort(sender, id);
    return;
  }
  *held = id;
  must("sd_event_add_time_relative",
       sd_event_add_time_relative(loop, NULL, CLOCK_MONOTONIC, 500000, 1000, answer, held));
}

static int on_encke(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  (void)source, (void)fd, (void)revents, (void)userdata;
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("encke_run", encke_last_error());
  while (encke_next(e, &ev, sizeof ev) > 0) {
    switch (ev.kind) {
    case ENCKE_EV_REQUEST:
      on_request(ev.id);
      break;
    case ENCKE_EV_LISTENER:
      fprintf(stderr, "sd_event_loop: cannot accept: %s\n", strerror(ev.code));
      break;
    case ENCKE_EV_DRAINED:
      must("sd_event_exit", sd_event_exit(loop, 0));
      break;
    default:
      break; /* ABORTED: the timer settles in any case */
    }
  }
  return 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
  (void)source, (void)info, (void)userdata;
  if (encke_drain(e, 5000) != ENCKE_OK)
    die("encke_drain", encke_last_error());
  return 0;
}

static void listen_or_adopt(const char *address) {
  int n = sd_listen_fds(1);
  must("sd_listen_fds", n);
  for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++)
    if (encke_adopt(e, fd, NULL, NULL) != ENCKE_OK)
      die("encke_adopt", encke_last_error());
  if (n == 0 && encke_listen(e, address, NULL, NULL) != ENCKE_OK)
    die("encke_listen", encke_last_error());
}

int main(int argc, char **argv) {
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  listen_or_adopt(argc > 1 ? argv[1] : "127.0.0.1:8080");
  sender = encke_get_sender(e);

  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &stop, NULL) != 0) /* sd_event_add_signal wants them blocked */
    die("sigprocmask", "failed");
  sd_event_source *readable = NULL;
  must("sd_event_new", sd_event_new(&loop));
  must("sd_event_add_io", sd_event_add_io(loop, &readable, encke_fd(e), EPOLLIN, on_encke, NULL));
  must("sd_event_add_signal", sd_event_add_signal(loop, NULL, SIGINT, on_stop, NULL));
  must("sd_event_add_signal", sd_event_add_signal(loop, NULL, SIGTERM, on_stop, NULL));
  must("sd_event_loop", sd_event_loop(loop));

  sd_event_source_unref(readable); /* before encke_free: sd-event must not watch an fd that is closed */
  encke_free(e);
  sd_event_unref(loop);
  return 0;
}
