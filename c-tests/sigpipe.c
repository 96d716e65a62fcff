/*
 * sigpipe.c - a host with the default disposition of SIGPIPE, whose clients go away while they are written to. The rule:
 * no write of the library raises the signal (the program would be killed), and it leaves the disposition alone.
 */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define SIZE ((size_t)4 << 20)

static host *h;
static int port;
static char path[108];
static char *big;

enum { SMALL, LARGE_COPY, GATHER, SENDFILE, STREAM, WAYS };
static const char *const names[] = {"small", "large copy", "gather", "sendfile", "stream"};

static int temp_file(void) {
  char name[] = "/tmp/encke-test-XXXXXX";
  int file = mkstemp(name);
  CHECK(file >= 0 && ftruncate(file, (off_t)SIZE) == 0);
  unlink(name);
  return file;
}

static void send_by(encke_id id, int way) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  int rc, file = -1;
  switch (way) {
  case SMALL: rc = encke_reply(h->s, id, 200, "text/plain", "x", 1); break;
  case LARGE_COPY: rc = encke_reply(h->s, id, 200, "text/plain", big, SIZE); break;
  case GATHER:
    r.flags = ENCKE_BORROW, r.body = big, r.body_len = SIZE;
    rc = encke_respond(h->s, id, &r, sizeof r);
    break;
  case SENDFILE:
    r.flags = ENCKE_FILE, r.file = file = temp_file(), r.length = SIZE;
    rc = encke_respond(h->s, id, &r, sizeof r);
    break;
  default:
    rc = encke_begin(h->s, id, &r, sizeof r);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
    for (int i = 0; i < 50 && rc == ENCKE_OK; i++) {
      rc = encke_write(h->s, id, big, 10000);
      CHECK(rc == ENCKE_OK || rc == ENCKE_E_AGAIN || rc == ENCKE_E_GONE);
      step();
    }
    rc = encke_end(h->s, id, NULL, 0);
  }
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
  if (rc != ENCKE_OK && file >= 0) close(file);
}

static void gone_client(int is_unix, int how, int way) {
  SECTION(textf("%s, %s, %s", is_unix ? "unix" : "tcp", how == 0 ? "closed" : how == 1 ? "reset" : "closed in the middle", names[way]));
  size_t before = SEEN(h, REQUEST);
  peer *p = is_unix ? peer_unix(path) : peer_tcp_small(port);
  p->paused = 1;
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  encke_id id = request_id(h, before);
  if (how < 2) {
    if (how == 1 && !is_unix) peer_rst(p);
    else peer_close(p);
    send_by(id, way); /* the library has not looked since */
  } else {
    send_by(id, way);
    QUIESCE();
    peer_close(p); /* with unread bytes: a reset */
  }
  UNTIL(host_count(h, ENCKE_EV_DONE, id) == 1);
}

int main(void) {
  struct sigaction now;
  sigset_t pipe_only;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
  CHECK(sigprocmask(SIG_UNBLOCK, &pipe_only, NULL) == 0);
  big = pattern(SIZE, 1);
  snprintf(path, sizeof path, "/tmp/encke-test-%ld-pipe.sock", (long)getpid());
  h = HOST_PLAIN();
  port = host_listen(h);
  CHECK_OK(encke_listen(h->e, textf("unix:%s", path), host_tls(), NULL));
  for (int is_unix = 0; is_unix < 2; is_unix++)
    for (int how = 0; how < 3; how++)
      for (int way = 0; way < WAYS; way++) gone_client(is_unix, how, way);
  UNTIL(host_all_done(h));
  CHECK(sigaction(SIGPIPE, NULL, &now) == 0);
  CHECK(now.sa_handler == SIG_DFL);
  host_close(h);
  unlink(path);
  free(big);
  return check_end();
}
