/*
 * fork.c - a host that forks. The rule: in the child every call says FORKED, encke_free works and disturbs nothing of the
 * parent's: not its epoll set, not its connections, not its socket files.
 */
#include "check.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static encke_sender *own; /* a reference of the host's */
static encke_id held;

static void every_call_says_forked(void) {
  encke_event ev;
  encke_id id = 0;
  const encke_head *head = NULL;
  encke_stats stats;
  encke_response r;
  char text[ENCKE_TOKEN_SIZE];
  memset(&r, 0, sizeof r);
  r.status = 200;
  CHECK_RC(encke_run(h->e, 0), ENCKE_E_FORKED);
  CHECK_RC(encke_next(h->e, &ev, sizeof ev), ENCKE_E_FORKED);
  CHECK_RC(encke_next_request(h->e, &id, &head), ENCKE_E_FORKED);
  CHECK_RC(encke_wait(h->e, 0), ENCKE_E_FORKED);
  CHECK_RC(encke_listen(h->e, "127.0.0.1:0", NULL, &id), ENCKE_E_FORKED);
  CHECK_RC(encke_set(h->e, ENCKE_OPT_MAX_HELD, 1), ENCKE_E_FORKED);
  CHECK_RC(encke_drain(h->e, 0), ENCKE_E_FORKED);
  CHECK_RC(encke_close(h->e, held), ENCKE_E_FORKED);
  CHECK_RC(encke_info(h->e, held, ENCKE_INFO_PEER, text, sizeof text, NULL), ENCKE_E_FORKED);
  CHECK_RC(encke_move_here(h->e), ENCKE_E_FORKED);
  CHECK_RC(encke_wake(own), ENCKE_E_FORKED);
  CHECK_RC(encke_stats_get(own, &stats, sizeof stats), ENCKE_E_FORKED);
  CHECK_RC(encke_set_user(own, held, 1), ENCKE_E_FORKED);
  CHECK_RC(encke_begin(own, held, &r, sizeof r), ENCKE_E_FORKED);
  CHECK_RC(encke_write(own, held, NULL, 0), ENCKE_E_FORKED);
  CHECK_RC(encke_respond(own, held, &r, sizeof r), ENCKE_E_FORKED);
  CHECK_RC(encke_reply(own, held, 200, "text/plain", "x", 1), ENCKE_E_FORKED);
  CHECK_RC(encke_abort(own, held), ENCKE_E_FORKED);
  CHECK_RC(encke_token(own, held, text, sizeof text), ENCKE_E_FORKED);
}

/* A child may have an encke of its own. */
static void child_serves(void) {
  encke *e = NULL;
  encke_id listener = 0, id;
  const encke_head *head;
  char at[64];
  CHECK_OK(encke_new(NULL, &e));
  CHECK_OK(encke_listen(e, "127.0.0.1:0", host_tls(), &listener));
  CHECK_OK(encke_info(e, listener, ENCKE_INFO_LOCAL, at, sizeof at, NULL));
  peer *p = peer_own(atoi(strrchr(at, ':') + 1));
  peer_send(p, GET);
  moment until = deadline();
  while (peer_finals(p) == 0) {
    CHECK(encke_wait(e, 50) >= 0);
    while (encke_next_request(e, &id, &head) > 0) CHECK_OK(encke_reply(encke_get_sender(e), id, 200, "text/plain", "child", 5));
    peer_pump(p);
    CHECK(now_ms() < until);
  }
  CHECK_TEXT(peer_nth(p, 0)->body, "child");
  peer_close(p);
  encke_free(e);
}

/* Runs one child; what it did must have gone well, and the parent goes on as if nothing had been. */
static void in_a_child(void (*f)(void)) {
  fflush(stdout);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    f();
    _exit(0);
  }
  int status = -1;
  while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
}

static void just_exit(void) {}

static void free_all(void) {
  every_call_says_forked();
  encke_free(h->e);
  encke_sender_unref(own);
}

static void free_without_a_word(void) { encke_free(h->e); }

static void unref_only(void) { encke_sender_unref(own); }

static void own_encke(void) {
  child_serves();
  encke_free(h->e);
  child_serves();
  encke_sender_unref(own);
}

int main(void) {
  static const struct { const char *name; void (*f)(void); } children[] = {
      {"a child that exits", just_exit},         {"a child that calls everything, then frees", free_all},
      {"a child that frees", free_without_a_word}, {"a child that drops its reference", unref_only},
      {"a child with an encke of its own", own_encke},
  };
  char path[108];
  snprintf(path, sizeof path, "/tmp/encke-test-%ld-fork.sock", (long)getpid());
  h = HOST_PLAIN();
  int port = host_listen(h);
  CHECK_OK(encke_listen(h->e, textf("unix:%s", path), host_tls(), NULL));
  own = encke_sender_ref(h->s);
  size_t requests = 0;
  for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
    SECTION(children[i].name);
    peer *p = peer_tcp(port), *idle = peer_tcp(port), *half = peer_tcp(port);
    peer_send(p, GET);
    peer_send(half, "GET / HTTP/1.1\r\nHo");
    UNTIL(SEEN(h, REQUEST) == requests + 1 && host_stats(h).connections == 3);
    held = request_id(h, requests);
    QUIESCE();
    in_a_child(children[i].f);
    QUIESCE();
    CHECK(!p->eof && !idle->eof && !half->eof);
    peer_send(half, "st: a\r\n\r\n"); /* the connections of before are still watched */
    UNTIL(SEEN(h, REQUEST) == requests + 2);
    answer(h, held, "parent");
    answer(h, request_id(h, requests + 1), "half");
    peer_send(idle, GET);
    UNTIL(SEEN(h, REQUEST) == requests + 3);
    answer(h, request_id(h, requests + 2), "idle");
    peer *fresh = peer_tcp(port), *local = peer_unix(path);
    peer_send(fresh, GET);
    peer_send(local, GET);
    UNTIL(SEEN(h, REQUEST) == requests + 5);
    answer(h, request_id(h, requests + 3), "new");
    answer(h, request_id(h, requests + 4), "new");
    UNTIL(peer_finals(p) && peer_finals(half) && peer_finals(idle) && peer_finals(fresh) && peer_finals(local));
    CHECK_TEXT(peer_nth(p, 0)->body, "parent");
    QUIESCE();
    CHECK_OK(encke_wake(own));
    CHECK(host_readable(h, 1000));
    peer_close(p), peer_close(idle), peer_close(half), peer_close(fresh), peer_close(local);
    UNTIL(host_stats(h).connections == 0 && host_all_done(h));
    requests += 5;
  }
  encke_sender_unref(own);
  host_close(h);
  unlink(path);
  return check_end();
}
