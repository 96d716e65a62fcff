/*
 * stats.c - the counters, from any thread. The rule: what comes and goes is counted both ways, what only comes never falls.
 */
#include "check.h"

#include <pthread.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;

static void *from_a_thread(void *out) {
  CHECK_OK(encke_stats_get(h->s, out, sizeof(encke_stats)));
  return NULL;
}

int main(void) {
  h = HOST_PLAIN();
  int port = host_listen(h);
  encke_stats s = host_stats(h), t;
  SECTION("at the start");
  CHECK_EQ(s.connections + s.accepted + s.requests + s.held + s.aborted + s.bytes_in + s.bytes_out + s.queued_bytes, 0);
  CHECK_EQ(s.channels + s.subscribers + s.published + s.delivered + s.dropped, 0);

  SECTION("ten connections with two requests each");
  peer *p[10];
  size_t sent = 0, received = 0;
  for (int i = 0; i < 10; i++) {
    p[i] = peer_tcp(port);
    peer_send(p[i], GET GET);
    sent += 2 * strlen(GET);
  }
  UNTIL(SEEN(h, REQUEST) == 20);
  QUIESCE();
  s = host_stats(h);
  CHECK_EQ(s.connections, 10);
  CHECK_EQ(s.accepted, 10);
  CHECK_EQ(s.requests, 20);
  CHECK_EQ(s.held, 20);
  CHECK_EQ(s.bytes_in, sent);
  CHECK_EQ(s.bytes_out, 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, from_a_thread, &t) == 0);
  pthread_join(thread, NULL);
  CHECK_EQ(t.requests, 20);

  SECTION("answered");
  for (size_t i = 0; i < 20; i++) answer(h, request_id(h, i), "hello");
  for (int i = 0; i < 10; i++) {
    UNTIL(peer_finals(p[i]) == 2);
    received += p[i]->n;
  }
  UNTIL(host_all_done(h));
  QUIESCE();
  s = host_stats(h);
  CHECK_EQ(s.held, 0);
  CHECK_EQ(s.requests, 20);
  CHECK_EQ(s.bytes_out, received);
  CHECK_EQ(s.queued_bytes, 0);
  CHECK_EQ(s.aborted, 0);

  SECTION("gone");
  peer_send(p[0], GET);
  UNTIL(SEEN(h, REQUEST) == 21);
  peer_rst(p[0]);
  UNTIL(SEEN(h, ABORTED) == 1);
  QUIESCE();
  CHECK_EQ(host_stats(h).aborted, 1);
  CHECK_RC(encke_reply(h->s, request_id(h, 20), 200, "text/plain", "x", 1), ENCKE_E_GONE);
  for (int i = 1; i < 10; i++) peer_close(p[i]);
  UNTIL(host_stats(h).connections == 0 && host_all_done(h));
  s = host_stats(h);
  CHECK_EQ(s.accepted, 10);
  CHECK_EQ(s.held, 0);
  CHECK_RC(encke_stats_get(NULL, &s, sizeof s), ENCKE_E_INVAL);
  host_close(h);
  return check_end();
}
