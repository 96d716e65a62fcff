/*
 * crowd.c - many connect at once, to a host that is slow. The rule: no more are accepted than can be served before long; the
 * others wait in the kernel's queue, where they cost the process nothing and a peer that connects hears that it is to slow
 * down; nobody is lost.
 */
#include "check.h"

#define CLIENTS 700

int main(void) {
  raise_fd_limit();
  static peer *peers[CLIENTS];
  host *h = HOST_PLAIN();
  int port = host_listen(h);

  SECTION("the host takes nothing");
  for (size_t i = 0; i < CLIENTS; i++) {
    peers[i] = peer_tcp(port);
    peer_send(peers[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_pump(peers[i]);
  }
  for (int run = 0; run < 150; run++) CHECK(encke_run(h->e, 0) >= 0);
  uint64_t waiting = host_stats(h).connections;
  if (waiting < 64 || waiting > 600) check_fail(__FILE__, __LINE__, "%llu of %d connections were accepted", (unsigned long long)waiting, CLIENTS);

  SECTION("it goes on");
  size_t answered = 0;
  while (answered < CLIENTS) {
    UNTIL(SEEN(h, REQUEST) > answered);
    for (; answered < SEEN(h, REQUEST); answered++) answer(h, request_id(h, answered), "yes");
  }
  for (size_t i = 0; i < CLIENTS; i++) {
    UNTIL(peer_finals(peers[i]) == 1);
    peer_close(peers[i]);
  }
  UNTIL(host_stats(h).connections == 0 && host_all_done(h));
  host_close(h);
  return check_end();
}
