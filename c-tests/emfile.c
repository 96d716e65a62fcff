/*
 * emfile.c - accept at the limit of file descriptors. The rule: the host is told, the other connections are served, the fd
 * does not spin, and the waiting clients are taken when there is room again.
 */
#include "check.h"

#include <sys/resource.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static encke_id next_request(host *h, peer *p) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

int main(void) {
  struct rlimit usual, tight;
  host *h = HOST_PLAIN();
  int port = host_listen(h);
  SECTION("at the limit");
  peer *served = peer_tcp(port), *waiting[3];
  answer(h, next_request(h, served), "before");
  UNTIL(peer_finals(served) == 1);
  for (int i = 0; i < 3; i++) waiting[i] = peer_tcp(port); /* in the backlog */
  CHECK(getrlimit(RLIMIT_NOFILE, &usual) == 0);
  int lowest = dup(0);
  CHECK(lowest > 0);
  close(lowest);
  tight = usual;
  tight.rlim_cur = (rlim_t)lowest;
  CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  UNTIL(SEEN(h, LISTENER) >= 1);
  CHECK(host_nth(h, ENCKE_EV_LISTENER, 0)->code != 0);
  QUIESCE(); /* fails if it spins */
  for (int i = 0; i < 20; i++) {
    answer(h, next_request(h, served), "meanwhile");
    UNTIL(peer_finals(served) == (size_t)i + 2);
  }
  QUIESCE();

  SECTION("room again");
  CHECK(setrlimit(RLIMIT_NOFILE, &usual) == 0);
  for (int i = 0; i < 3; i++) {
    if (waiting[i]->eof) { /* turned away is as good */
      peer_close(waiting[i]);
      waiting[i] = peer_tcp(port);
    }
    answer(h, next_request(h, waiting[i]), "after");
    UNTIL(peer_finals(waiting[i]) == 1);
    peer_close(waiting[i]);
  }
  peer_close(served);
  UNTIL(host_stats(h).connections == 0 && host_all_done(h));

  SECTION("room by a connection that ends");
  peer *a = peer_tcp(port);
  answer(h, next_request(h, a), "a");
  UNTIL(peer_finals(a) == 1);
  peer *b = peer_tcp(port);
  size_t told = SEEN(h, LISTENER);
  lowest = dup(0);
  close(lowest);
  tight.rlim_cur = (rlim_t)lowest;
  CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  UNTIL(SEEN(h, LISTENER) > told || b->eof);
  peer_close(a); /* frees two: this client's and the library's */
  if (!b->eof) {
    answer(h, next_request(h, b), "b");
    UNTIL(peer_finals(b) == 1);
  }
  CHECK(setrlimit(RLIMIT_NOFILE, &usual) == 0);
  peer_close(b);
  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
