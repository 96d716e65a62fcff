/*
 * prefork.c - one listening socket, several processes: the parent binds and listens, forks, and every child
 * takes the socket into an encke of its own with encke_adopt. An encke belongs to the process that made it,
 * so encke_new comes after fork. The parent touches no request: it replaces children that die and ends them
 * all on SIGINT or SIGTERM.
 *
 *   ./prefork [PORT [CHILDREN]]                        default 8080 and 4, on 127.0.0.1
 *   curl -Z 'http://127.0.0.1:8080/?[1-8]'             the answers name the processes that gave them
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <encke.h>

#define MAX_CHILDREN 64

static encke_sender *sender;
static volatile sig_atomic_t stop;

static void die(const char *what, const char *why) {
  fprintf(stderr, "prefork[%d]: %s: %s\n", (int)getpid(), what, why);
  exit(1);
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender);
}

/* A child: the ordinary little server, on a socket that was bound before it was born. */
static void serve(int listener, const sigset_t *unblocked) {
  encke *e;
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  if (encke_adopt(e, listener, NULL, NULL) != ENCKE_OK) /* the fd is encke's from here on */
    die("encke_adopt", encke_last_error());
  sender = encke_get_sender(e);

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);
  sigprocmask(SIG_SETMASK, unblocked, NULL);

  char text[64];
  int len = snprintf(text, sizeof text, "process %d\n", (int)getpid());
  int draining = 0, drained = 0;
  while (!drained) {
    if (encke_wait(e, -1) < 0)
      die("encke_wait", encke_last_error());
    encke_event ev;
    while (encke_next(e, &ev, sizeof ev) > 0) {
      switch (ev.kind) {
      case ENCKE_EV_REQUEST:
        encke_reply(sender, ev.id, 200, "text/plain", text, (size_t)len);
        break;
      case ENCKE_EV_LISTENER:
        fprintf(stderr, "prefork[%d]: cannot accept: %s\n", (int)getpid(), strerror(ev.code));
        break;
      case ENCKE_EV_DRAINED:
        drained = 1;
        break;
      default:
        break; /* ABORTED cannot come: every request was settled at once */
      }
    }
    if (stop && !draining) {
      draining = 1;
      if (encke_drain(e, 5000) != ENCKE_OK)
        die("encke_drain", encke_last_error());
    }
  }
  encke_free(e);
}

static pid_t start(int listener, const sigset_t *unblocked) {
  pid_t pid = fork();
  if (pid < 0)
    die("fork", strerror(errno));
  if (pid == 0) {
    serve(listener, unblocked);
    exit(0);
  }
  return pid;
}

static int listen_on(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, SOMAXCONN) != 0)
    die("listen", strerror(errno));
  socklen_t len = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
    die("getsockname", strerror(errno));
  printf("listening on 127.0.0.1:%d\n", (int)ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

static long number(const char *text) {
  char *end;
  long n = strtol(text, &end, 10);
  return *text != '\0' && *end == '\0' ? n : -1;
}

int main(int argc, char **argv) {
  long port = argc > 1 ? number(argv[1]) : 8080, count = argc > 2 ? number(argv[2]) : 4;
  if (port < 0 || port > 65535 || count < 1 || count > MAX_CHILDREN) {
    fprintf(stderr, "usage: prefork [PORT [CHILDREN]]\n");
    return 2;
  }
  int listener = listen_on((uint16_t)port);

  sigset_t set, unblocked; /* the parent takes its signals one by one; the children take them as usual */
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, &unblocked);

  pid_t children[MAX_CHILDREN];
  for (long i = 0; i < count; i++)
    children[i] = start(listener, &unblocked);

  for (int number = SIGCHLD; number == SIGCHLD;) {
    if (sigwait(&set, &number) != 0)
      die("sigwait", "failed");
    pid_t pid;
    while (number == SIGCHLD && (pid = waitpid(-1, NULL, WNOHANG)) > 0) {
      fprintf(stderr, "prefork: process %d ended, another takes its place\n", (int)pid);
      sleep(1); /* a child that dies at once must not become a fork bomb */
      for (long i = 0; i < count; i++)
        if (children[i] == pid)
          children[i] = start(listener, &unblocked);
    }
  }
  for (long i = 0; i < count; i++)
    kill(children[i], SIGTERM);
  while (wait(NULL) > 0 || errno == EINTR)
    ;
  return 0;
}
