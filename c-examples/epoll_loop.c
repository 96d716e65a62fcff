/*
 * epoll_loop.c - encke_fd inside the host's own epoll set, beside its timerfd and its signalfd.
 *
 * The fd is watched edge-triggered here to show the stricter case: then every wake-up must finish THE LOOP
 * of encke.h, as serve() does. (With EPOLLIN alone one encke_run and one `while (encke_next...)` per
 * wake-up would do.) What the host keeps of a held request is its id; one whose client has left costs
 * nothing: the answer gets GONE.
 *
 *   ./epoll_loop [ADDRESS]                 default 127.0.0.1:8080
 *   curl http://127.0.0.1:8080/            at once
 *   curl http://127.0.0.1:8080/next-tick   when the host's own one-second timer ticks
 *   curl -Z 'http://127.0.0.1:8080/next-tick?[1-20]'    twenty of them, all answered by one tick
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <encke.h>

enum source { FROM_ENCKE, FROM_TIMER, FROM_SIGNAL };

static encke *e;
static encke_sender *sender;
static int drained;
static unsigned ticks;
static encke_id waiting[4096]; /* for the next tick */
static size_t nwaiting;

static void die(const char *what, const char *why) {
  fprintf(stderr, "epoll_loop: %s: %s\n", what, why);
  exit(1);
}

static void reply(encke_id id, unsigned status, const char *text) {
  encke_reply(sender, id, status, "text/plain", text, strlen(text)); /* settles, whatever it returns: L1 */
}

static void on_request(encke_id id, const encke_head *head) {
  if (head->path.n == 10 && memcmp(head->path.p, "/next-tick", 10) == 0) {
    if (nwaiting < sizeof waiting / sizeof *waiting)
      waiting[nwaiting++] = id;
    else
      reply(id, 503, "too many are waiting\n");
    return;
  }
  char text[64];
  snprintf(text, sizeof text, "%u ticks so far\n", ticks);
  reply(id, 200, text);
}

static void on_tick(void) {
  char text[64];
  snprintf(text, sizeof text, "tick %u\n", ++ticks);
  for (size_t i = 0; i < nwaiting; i++)
    reply(waiting[i], 200, text);
  nwaiting = 0;
}

static void on_event(const encke_event *ev) {
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    on_request(ev->id, ev->head);
    break;
  case ENCKE_EV_ABORTED:
    encke_abort(sender, ev->id);
    break;
  case ENCKE_EV_LISTENER:
    fprintf(stderr, "epoll_loop: cannot accept: %s\n", strerror(ev->code));
    break;
  case ENCKE_EV_DRAINED:
    drained = 1;
    break;
  default:
    break;
  }
}

/* THE LOOP: nothing may be left behind, no second edge would tell of it. */
static void serve(void) {
  encke_event ev;
  for (;;) {
    int more = encke_run(e, 0), got = 0;
    if (more < 0)
      die("encke_run", encke_last_error());
    while (encke_next(e, &ev, sizeof ev) > 0) {
      got = 1;
      on_event(&ev);
    }
    if (!more && !got)
      return;
  }
}

static void watch(int ep, int fd, uint32_t events, enum source source) {
  struct epoll_event ev = {.events = events, .data.u32 = source};
  if (fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0)
    die("watch", strerror(errno));
}

int main(int argc, char **argv) {
  encke_id listener;
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, &listener) != ENCKE_OK)
    die("encke_listen", encke_last_error());
  sender = encke_get_sender(e);

  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &stop, NULL) != 0)
    die("sigprocmask", strerror(errno));
  int signals = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  struct itimerspec every_second = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_sec = 1}};
  if (timer < 0 || timerfd_settime(timer, 0, &every_second, NULL) != 0)
    die("timerfd", strerror(errno));

  int ep = epoll_create1(EPOLL_CLOEXEC);
  if (ep < 0)
    die("epoll_create1", strerror(errno));
  watch(ep, encke_fd(e), EPOLLIN | EPOLLET, FROM_ENCKE);
  watch(ep, timer, EPOLLIN, FROM_TIMER);
  watch(ep, signals, EPOLLIN, FROM_SIGNAL);

  char at[128];
  if (encke_info(e, listener, ENCKE_INFO_LOCAL, at, sizeof at, NULL) == ENCKE_OK)
    printf("listening on %s\n", at);
  fflush(stdout);

  while (!drained) {
    struct epoll_event ready[8];
    int n = epoll_wait(ep, ready, 8, -1);
    if (n < 0 && errno != EINTR)
      die("epoll_wait", strerror(errno));
    for (int i = 0; i < n; i++) {
      uint64_t expirations;
      struct signalfd_siginfo info;
      switch (ready[i].data.u32) {
      case FROM_TIMER:
        if (read(timer, &expirations, sizeof expirations) == sizeof expirations)
          on_tick();
        break;
      case FROM_SIGNAL:
        if (read(signals, &info, sizeof info) == sizeof info && encke_drain(e, 5000) != ENCKE_OK)
          die("encke_drain", encke_last_error());
        break;
      default:
        break; /* encke: serve() follows in any case */
      }
    }
    serve(); /* after our own events too: the answers of a tick go out here */
  }
  encke_free(e);
  close(ep);
  close(timer);
  close(signals);
  return 0;
}
