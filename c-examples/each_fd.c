/*
 * each_fd.c - ENCKE_WATCH_EACH: the host watches every socket itself, here with poll().
 *
 * For loops that want each fd (io_uring, select on Windows, a simulator) instead of the one encke_fd. Three
 * more calls tie encke in: encke_next_watch says which fds to watch for what, encke_timeout when to come
 * back at the latest, and encke_feed takes what was seen. Feeding only takes notes; encke_run does the
 * work, as ever.
 *
 *   ./each_fd [ADDRESS]                    default 127.0.0.1:8080
 *   curl http://127.0.0.1:8080/            tells how many fds are being watched
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <encke.h>

static encke *e;
static encke_sender *sender;
static volatile sig_atomic_t stop;
static int drained;
static struct pollfd *set; /* the entry of an fd is set[fd]; poll() skips the entries whose fd is -1 */
static size_t nset, watched;

static void die(const char *what, const char *why) {
  fprintf(stderr, "each_fd: %s: %s\n", what, why);
  exit(1);
}

static void watch(const encke_watch *w) {
  size_t need = (size_t)w->fd + 1;
  if (need > nset) {
    struct pollfd *grown = realloc(set, need * sizeof *grown);
    if (grown == NULL)
      die("watch", "out of memory");
    for (set = grown; nset < need; nset++)
      set[nset] = (struct pollfd){.fd = -1};
  }
  struct pollfd *entry = &set[w->fd];
  watched -= entry->fd >= 0;
  entry->fd = w->want != 0 ? w->fd : -1; /* want 0: forget it, it is about to be closed */
  entry->events = (short)((w->want & ENCKE_READ ? POLLIN : 0) | (w->want & ENCKE_WRITE ? POLLOUT : 0));
  entry->revents = 0;
  watched += entry->fd >= 0;
}

static void feed(const struct pollfd *entry) {
  encke_watch seen = {.fd = entry->fd};
  if (entry->revents & (POLLIN | POLLERR | POLLHUP | POLLNVAL))
    seen.got |= ENCKE_READ;
  if (entry->revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL))
    seen.got |= ENCKE_WRITE;
  if (encke_feed(e, &seen, 1) != ENCKE_OK)
    die("encke_feed", encke_last_error());
}

/* Before every wait: all the changes of interest, then the time to wait at most. */
static int prepare(void) {
  encke_watch w;
  int r;
  while ((r = encke_next_watch(e, &w)) > 0)
    watch(&w);
  if (r < 0)
    die("encke_next_watch", encke_last_error());
  uint64_t ms;
  if ((r = encke_timeout(e, &ms)) < 0)
    die("encke_timeout", encke_last_error());
  return r == 0 ? -1 : ms < INT_MAX ? (int)ms : INT_MAX;
}

static void serve(void) {
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("encke_run", encke_last_error());
  while (encke_next(e, &ev, sizeof ev) > 0) {
    char text[64];
    int n;
    switch (ev.kind) {
    case ENCKE_EV_REQUEST:
      n = snprintf(text, sizeof text, "%zu fds are watched\n", watched);
      encke_reply(sender, ev.id, 200, "text/plain", text, (size_t)n); /* settles, whatever it returns: L1 */
      break;
    case ENCKE_EV_LISTENER:
      fprintf(stderr, "each_fd: cannot accept: %s\n", strerror(ev.code));
      break;
    case ENCKE_EV_DRAINED:
      drained = 1;
      break;
    default:
      break; /* ABORTED has nothing to settle: every request was answered at once */
    }
  }
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender); /* in this mode it wakes one of the fds that encke_next_watch named */
}

int main(int argc, char **argv) {
  encke_config *config = encke_config_new();
  if (config == NULL || encke_config_set(config, ENCKE_OPT_WATCH, ENCKE_WATCH_EACH) != ENCKE_OK ||
      encke_new(config, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  encke_config_free(config);
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen", encke_last_error());
  sender = encke_get_sender(e);

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);

  int draining = 0;
  while (!drained) {
    int timeout = prepare();
    int n = poll(set, (nfds_t)nset, timeout);
    if (n < 0 && errno != EINTR)
      die("poll", strerror(errno));
    for (size_t i = 0; n > 0 && i < nset; i++)
      if (set[i].fd >= 0 && set[i].revents != 0)
        feed(&set[i]);
    serve();
    if (stop && !draining) {
      draining = 1;
      if (encke_drain(e, 5000) != ENCKE_OK)
        die("encke_drain", encke_last_error());
    }
  }
  encke_free(e);
  free(set);
  return 0;
}
