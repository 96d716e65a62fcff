/*
 * channels_share.c - channels of several enckes and several threads. The rule: whoever publishes where, every subscriber
 * gets everything once, and all in the same order; the end of one encke harms no other.
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, EACH = 250, CLIENTS = 12 };

static host *hosts[2];
static atomic_int at_the_gate;

static int publish(encke_sender *s, const char *channel, const char *text) {
  encke_message m;
  memset(&m, 0, sizeof m);
  m.data = text, m.len = strlen(text);
  return encke_publish(s, 0, channel, &m, sizeof m);
}

static void *publisher(void *number) {
  int me = (int)(intptr_t)number;
  encke_sender *s = hosts[me % 2]->s; /* with a reference of this thread's */
  atomic_fetch_add(&at_the_gate, 1);
  while (atomic_load(&at_the_gate) < THREADS) continue;
  for (int i = 0; i < EACH; i++) {
    char text[32];
    snprintf(text, sizeof text, "<%d:%d>", me, i);
    if (publish(s, "shared", text) != ENCKE_OK) return (void *)1;
  }
  encke_sender_unref(s);
  return NULL;
}

static peer *subscribe(host *h, int port, const char *channel, uint32_t transport, const char *query) {
  size_t before = SEEN(h, REQUEST);
  peer *p = peer_tcp(port);
  peer_send(p, textf("GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", query));
  UNTIL(SEEN(h, REQUEST) == before + 1);
  encke_subscription how;
  memset(&how, 0, sizeof how);
  how.transport = transport;
  CHECK_OK(encke_subscribe(h->s, request_id(h, before), &channel, 1, &how, sizeof how));
  return p;
}

/* What came, without framing: "<t:i><t:i>..." ; to be freed. */
static char *texts(peer *p) {
  char *out = need(calloc(p->n + 1, 1)), *to = out;
  for (size_t i = 0; i < p->n; i++)
    if (p->in[i] == '<')
      do *to++ = p->in[i];
      while (p->in[i++] != '>' && i < p->n);
  return out;
}

static size_t count(peer *p) {
  size_t n = 0;
  for (size_t i = 0; i < p->n; i++) n += p->in[i] == '>';
  return n;
}

/* One loop does not come while very much is published: what waits for it is bounded, and its subscribers are told. */
static void stands_still(void) {
  SECTION("a loop that stands still");
  host *speaker = HOST_PLAIN();
  host *still = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)}, {ENCKE_OPT_MAX_MEMORY, 4 << 20});
  CHECK_OK(encke_share(still->e, speaker->s));
  int port = host_listen(still);
  CHECK_OK(encke_channel_set(still->s, "old", ENCKE_CHANNEL_SLOW, ENCKE_SLOW_DROP_OLD));
  peer *closed = subscribe(still, port, "much", ENCKE_TRANSPORT_SSE, "");
  peer *stays = subscribe(still, port, "old", ENCKE_TRANSPORT_SSE, "");
  UNTIL(closed->n && stays->n && memmem(closed->in, closed->n, "id: ", 4) && memmem(stays->in, stays->n, "id: ", 4));
  uint64_t before = host_stats(speaker).memory;
  char *text = need(malloc(10001));
  memset(text, 'x', 10000), text[10000] = 0;
  for (int i = 0; i < 2000; i++) CHECK_OK(publish(speaker->s, i % 2 ? "much" : "old", text));
  CHECK(host_stats(speaker).memory - before < 8 << 20); /* a megabyte waits, and there are two histories */
  UNTIL(closed->eof);
  CHECK(memcmp(closed->in + closed->n - 5, "0\r\n\r\n", 5) == 0);
  CHECK(host_stats(still).dropped > 0);
  char since[64];
  const char *id = NULL;
  for (const char *at = closed->in; (at = memmem(at, closed->n - (size_t)(at - closed->in), "id: ", 4)); at += 4) id = at;
  CHECK(id != NULL && sscanf(id, "id: %63[0-9a-f:]", since) == 1);
  peer *back = subscribe(still, port, "much", ENCKE_TRANSPORT_SSE, textf("?since=%s", since));
  UNTIL(back->n && memmem(back->in, back->n, "event: recovered\ndata: no\n", 26));
  CHECK_OK(publish(speaker->s, "old", "<and on it goes>"));
  UNTIL(memmem(stays->in, stays->n, "<and on it goes>", 16));
  peer_close(closed), peer_close(stays), peer_close(back);
  free(text);
  host_close(still);
  host_close(speaker);
}

int main(void) {
  int ports[2];
  for (int i = 0; i < 2; i++) {
    hosts[i] = HOST_PLAIN();
    ports[i] = host_listen(hosts[i]);
  }

  SECTION("encke_share, before anything is there");
  CHECK_RC(encke_share(hosts[1]->e, NULL), ENCKE_E_INVAL);
  CHECK_OK(encke_share(hosts[1]->e, hosts[0]->s));
  CHECK_OK(encke_share(hosts[1]->e, hosts[0]->s)); /* as before */

  SECTION("one order for all");
  peer *clients[CLIENTS];
  for (int i = 0; i < CLIENTS; i++)
    clients[i] = subscribe(hosts[i % 2], ports[i % 2], i % 3 == 0 ? "*" : "shared", i % 4 < 2 ? ENCKE_TRANSPORT_SSE : ENCKE_TRANSPORT_PLAIN, "");
  encke_channel_facts facts;
  CHECK_RC(encke_channel_get(hosts[0]->s, "shared", &facts, sizeof facts), 1);
  CHECK_EQ(facts.subscribers, 8);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) {
    encke_sender_ref(hosts[i % 2]->s);
    CHECK(pthread_create(&threads[i], NULL, publisher, (void *)(intptr_t)i) == 0);
  }
  for (int i = 0; i < CLIENTS; i++) UNTIL(count(clients[i]) == THREADS * EACH);
  for (int i = 0; i < THREADS; i++) {
    void *failed;
    CHECK(pthread_join(threads[i], &failed) == 0 && !failed);
  }
  char *first = texts(clients[0]);
  int next[THREADS] = {0};
  for (const char *at = first; *at; at = strchr(at, '>') + 1) {
    int thread, i;
    CHECK(sscanf(at, "<%d:%d>", &thread, &i) == 2);
    CHECK_EQ(i, next[thread]++);
  }
  for (int i = 1; i < CLIENTS; i++) {
    char *other = texts(clients[i]);
    CHECK_TEXT(other, first);
    free(other);
  }
  free(first);
  CHECK_EQ(host_stats(hosts[1]).published, THREADS * EACH);
  CHECK_EQ(host_stats(hosts[0]).subscribers + host_stats(hosts[1]).subscribers, CLIENTS);

  SECTION("a history for both: left here, back there");
  const char *id = NULL;
  for (const char *at = clients[0]->in; (at = memmem(at, clients[0]->n - (size_t)(at - clients[0]->in), "id: ", 4)); at += 4) id = at;
  char since[64];
  CHECK(id != NULL && sscanf(id, "id: %63[0-9a-f:]", since) == 1);
  CHECK_OK(publish(hosts[0]->s, "shared", "<after>"));
  peer *back = subscribe(hosts[1], ports[1], "shared", ENCKE_TRANSPORT_SSE, textf("?since=%s", since));
  UNTIL(count(back) == 1);
  CHECK(memmem(back->in, back->n, "data: <after>\n", 14) != NULL);

  SECTION("not once there is something");
  host *late = HOST_PLAIN();
  CHECK_OK(publish(late->s, "own", "x"));
  CHECK_RC(encke_share(late->e, hosts[0]->s), ENCKE_E_STATE);
  host_close(late);
  late = HOST_PLAIN();
  CHECK_OK(encke_channel_set(late->s, "own", ENCKE_CHANNEL_HISTORY, 1)); /* it would be lost */
  CHECK_RC(encke_share(late->e, hosts[0]->s), ENCKE_E_STATE);
  host_close(late);
  stands_still();

  SECTION("one ends, the other goes on");
  for (int i = 0; i < CLIENTS; i += 2) peer_close(clients[i]);
  encke_sender *gone = encke_sender_ref(hosts[0]->s);
  host_close(hosts[0]);
  CHECK_RC(publish(gone, "shared", "x"), ENCKE_E_CLOSED);
  late = HOST_PLAIN();
  CHECK_RC(encke_share(late->e, gone), ENCKE_E_CLOSED);
  host_close(late);
  encke_sender_unref(gone);
  size_t before = count(back);
  CHECK_OK(publish(hosts[1]->s, "shared", "<still>"));
  UNTIL(count(back) == before + 1);
  CHECK_RC(encke_channel_get(hosts[1]->s, "shared", &facts, sizeof facts), 1);
  CHECK_EQ(facts.subscribers, 5);
  for (int i = 1; i < CLIENTS; i += 2) peer_close(clients[i]);
  peer_close(back);
  host_close(hosts[1]);
  return check_end();
}
