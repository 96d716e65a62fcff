/*
 * many.c - five thousand requests outstanding at once, answered in random order. The rule: each connection gets its own
 * answers, in the order of its requests, whatever the host's order was.
 */
#include "check.h"

static void many(size_t connections, size_t depth, uint64_t seed) {
  SECTION(textf("%zu connections with %zu requests each", connections, depth));
  size_t total = connections * depth, *order = need(malloc(total * sizeof *order));
  peer **peers = need(malloc(connections * sizeof *peers));
  host *h = HOST({ENCKE_OPT_MAX_PIPELINE, depth}, {ENCKE_OPT_MAX_HELD, total}, {ENCKE_OPT_MAX_CONNECTIONS, connections + 10});
  int port = host_listen(h);
  for (size_t c = 0; c < connections; c++) {
    peers[c] = peer_tcp(port);
    for (size_t i = 0; i < depth; i++) peer_send(peers[c], textf("GET /%zu/%zu HTTP/1.1\r\nHost: a\r\n\r\n", c, i));
    if (c % 50 == 49) QUIESCE(); /* the backlog of a listener is short */
  }
  UNTIL(SEEN(h, REQUEST) == total);
  encke_stats stats = host_stats(h);
  CHECK_EQ(stats.held, total);
  CHECK_EQ(stats.connections, connections);
  for (size_t c = 0; c < connections; c++) CHECK_EQ(peers[c]->n, 0);
  shuffle(order, total, &seed);
  event **requests = need(malloc(total * sizeof *requests));
  for (size_t i = 0, k = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_REQUEST) requests[k++] = &h->log[i];
  encke_id *ids = need(malloc(total * sizeof *ids));
  char (*targets)[96] = need(malloc(total * sizeof *targets));
  for (size_t i = 0; i < total; i++) {
    ids[i] = requests[i]->id;
    snprintf(targets[i], sizeof targets[i], "%s", requests[i]->target);
  }
  for (size_t i = 0; i < total; i++) {
    answer(h, ids[order[i]], targets[order[i]]);
    if (i % 97 == 0) step();
  }
  for (size_t c = 0; c < connections; c++) {
    UNTIL(peer_finals(peers[c]) == depth);
    for (size_t i = 0; i < depth; i++) CHECK_TEXT(peer_nth(peers[c], i)->body, textf("/%zu/%zu", c, i));
  }
  UNTIL(SEEN(h, DONE) == total);
  CHECK(host_all_done(h));
  CHECK_EQ(host_stats(h).held, 0);
  for (size_t c = 0; c < connections; c++) peer_close(peers[c]);
  free(peers);
  free(order);
  free(requests);
  free(ids);
  free(targets);
  host_close(h);
}

int main(void) {
  raise_fd_limit();
  many(100, 50, 7);
  many(250, 20, 8);
  return check_end();
}
