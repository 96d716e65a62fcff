/*
 * opening.c - failures while an encke, its listeners and what it adopts are made. The rule: ENCKE_E_SYS with the errno of
 * the failed call or ENCKE_OK, nothing in between: no fd is left, what was to be adopted is still the host's, and the same
 * call again works.
 */
#include "faults.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const fault *want;

static int is_the_fault(int rc) {
  if (inject_done() == 0) return 0;
  switch (want->effect) {
  case SAID: return rc == ENCKE_E_SYS && encke_last_errno() == want->error;
  case FILE_STAYS: return rc == ENCKE_E_SYS && (encke_last_errno() == want->error || encke_last_errno() == EADDRINUSE);
  case NO_STREAM: return rc == ENCKE_E_INVAL || (rc == ENCKE_E_SYS && encke_last_errno() == want->error);
  default: return 0;
  }
}

/* 1: done. 0: it failed as it may. */
static int said(int rc, const char *what) {
  if (rc == ENCKE_OK) return 1;
  if (!is_the_fault(rc))
    check_fail(__FILE__, __LINE__, "%s: %d, errno %d, %s", what, rc, encke_last_errno(), encke_last_error());
  CHECK(encke_last_error()[0] != 0);
  return 0;
}

/* Makes the call until it works; between two tries nothing may have changed. */
#define UNTIL_DONE(call, unchanged)                                                                                    \
  for (unsigned tries_ = 0;; tries_++) {                                                                               \
    int fds_ = count_fds();                                                                                            \
    if (said((call), #call)) break;                                                                                    \
    CHECK_EQ(count_fds(), fds_);                                                                                       \
    CHECK(unchanged);                                                                                                  \
    CHECK(tries_ < want->times);                                                                                       \
  }

static int listening_socket(void) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0 && listen(fd, 16) == 0);
  return fd;
}

/* A UNIX socket's file that nobody listens on. */
static void leave_behind(const char *path) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof un) == 0 && listen(fd, 1) == 0);
  close(fd);
}

static int exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

static void serves(encke *e, int fd, const char *where) {
  const char *ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  char got[512];
  size_t n = 0;
  CHECK(send(fd, ask, strlen(ask), MSG_NOSIGNAL) == (ssize_t)strlen(ask));
  for (moment until = deadline(); n < sizeof got - 1;) {
    encke_event ev;
    if (now_ms() > until) check_fail(__FILE__, __LINE__, "%s: not served", where);
    CHECK(encke_wait(e, 10) >= 0);
    while (encke_next(e, &ev, sizeof ev) > 0)
      if (ev.kind == ENCKE_EV_REQUEST) CHECK_OK(encke_reply(encke_get_sender(e), ev.id, 200, "text/plain", where, strlen(where)));
    ssize_t k = recv(fd, got + n, sizeof got - 1 - n, MSG_DONTWAIT);
    if (k == 0) break;
    if (k > 0) n += (size_t)k;
    else CHECK(errno == EAGAIN || errno == EINTR);
  }
  got[n] = 0;
  CHECK(strncmp(got, "HTTP/1.1 200 OK\r\n", 17) == 0);
  CHECK(strstr(got, where) != NULL);
  close(fd);
}

static int connected(int port) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof in) == 0);
  return fd;
}

static int connected_unix(const char *path) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) == 0);
  return fd;
}

void scene_opening(const fault *f) {
  want = f;
  int before = count_fds();
  char path[64], address[80], text[128];
  snprintf(path, sizeof path, "/tmp/encke-faults-%d.sock", (int)getpid());
  snprintf(address, sizeof address, "unix:%s", path);
  unlink(path);

  encke *e = (encke *)1;
  inject_arm(f->call, f->n, f->times, f->error);
  UNTIL_DONE(encke_new(NULL, &e), e == NULL);
  CHECK(encke_fd(e) != ENCKE_NO_FD);
  CHECK_OK(encke_set(e, ENCKE_OPT_REUSE_PORT, 1));
  CHECK_OK(encke_set(e, ENCKE_OPT_UNIX_MODE, 0600));

  encke_id tcp = 0, any = 0, file = 0, taken = 0, pair = 0;
  UNTIL_DONE(encke_listen(e, "127.0.0.1:0", NULL, &tcp), tcp == 0);
  UNTIL_DONE(encke_listen(e, ":0", NULL, &any), any == 0);
  UNTIL_DONE(encke_listen(e, address, NULL, &file), file == 0 && !exists(path));
  CHECK_OK(encke_close(e, file));
  if (exists(path)) {
    CHECK(want->effect == FILE_STAYS && inject_done() > 0);
    unlink(path);
  }
  leave_behind(path); /* is replaced; where that fails half-way nothing but the dead file may be gone */
  UNTIL_DONE(encke_listen(e, address, NULL, &file), 1);

  int fd = listening_socket(), two[2];
  UNTIL_DONE(encke_adopt(e, fd, NULL, &taken), taken == 0 && fd_open(fd));
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, two) == 0);
  UNTIL_DONE(encke_adopt(e, two[0], NULL, &pair), pair == 0 && fd_open(two[0]));

  int ports[3];
  const encke_id listeners[] = {tcp, any, taken};
  for (int i = 0; i < 3; i++) {
    UNTIL_DONE(encke_info(e, listeners[i], ENCKE_INFO_LOCAL, text, sizeof text, NULL), 1);
    ports[i] = atoi(strrchr(text, ':') + 1);
  }
  inject_pause(1); /* connections are for the other scene */
  serves(e, connected(ports[0]), "tcp");
  serves(e, connected(ports[1]), "any");
  serves(e, connected(ports[2]), "taken");
  serves(e, connected_unix(path), "file");
  serves(e, two[1], "pair");
  inject_pause(0);
  encke_free(e);
  if (exists(path)) {
    CHECK(want->effect == FILE_STAYS && inject_done() > 0);
    unlink(path);
  }
  CHECK_EQ(count_fds(), before);
}
