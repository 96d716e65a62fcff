/*
 * tls_beside.c - how those who have a connection are served while many others make one. The rule: it is counted in runs, steps
 * and connections, never in time. A run with few requests makes a step of a handshake or two, and takes in so few new
 * connections that they do not get most of its work; whoever asks is heard in this run or the next; who comes without TLS waits
 * for no handshake.
 */
#include "tls.h"

#include <poll.h>

#define GET "GET /lasting HTTP/1.1\r\nHost: a\r\n\r\n"
#define NEVER 3600000

enum { lasting = 8, coming = 240, accepted_in_a_run = 12, runs_to_be_heard = 2, runs_to_be_let_in = 3, listeners = 4, at_once = 60, half_open = 8, talking = 64, crowd = 700, may_wait = 400 };

static host *h;
static encke_tls *tls;

/* One that stays and asks again and again. */
typedef struct {
  peer *p;
  int server_fd;
  encke_id connection;
  size_t waits; /* runs since it asked */
} lasting_one;

static void run_once(void) {
  encke_event ev;
  CHECK(encke_run(h->e, 0) >= 0);
  while (encke_next(h->e, &ev, sizeof ev) > 0) {
    host_record(h, &ev);
    if (h->on) h->on(h, &h->log[h->n - 1]);
  }
}

static void say_yes(host *of, const event *ev) {
  if (ev->kind == ENCKE_EV_REQUEST) answer(of, ev->id, "yes");
}

/* How many of those that came and stayed have their first answer. */
static size_t steps_so_far(peer *const *p, size_t all) {
  struct pollfd fds[crowd];
  size_t n = 0;
  for (size_t i = 0; i < all; i++) fds[i] = (struct pollfd){.fd = p[i] ? p[i]->fd : -1, .events = POLLIN};
  CHECK(poll(fds, all, 0) >= 0);
  for (size_t i = 0; i < all; i++) n += fds[i].revents != 0;
  return n;
}

static void hears_answer(peer *p, size_t nth) {
  struct pollfd fd = {.fd = p->fd, .events = POLLIN};
  while (peer_finals(p) < nth) {
    CHECK(poll(&fd, 1, 10000) == 1);
    peer_pump(p);
  }
}

static void asks(lasting_one *l) {
  struct pollfd fd = {.fd = l->server_fd, .events = POLLIN};
  peer_send(l->p, GET);
  CHECK(poll(&fd, 1, 10000) == 1);
  l->waits = 0;
}

/* Those that stay, or were reset by their client at once: each of them has said its hello. */
static size_t come(const int *ports, peer **p) {
  static unsigned char hello[4096];
  size_t n = tls_hello(&(client){.version = 13}, hello, sizeof hello), staying = 0;
  for (size_t i = 0; i < coming; i++) {
    p[i] = peer_tcp(ports[i % listeners]);
    peer_send_n(p[i], hello, n);
    CHECK(peer_sent(p[i]));
    if (i % 3 == 2) {
      peer_rst(p[i]);
      p[i] = NULL;
    } else {
      staying++;
    }
  }
  return staying;
}

static void beside_lasting_ones(void) {
  h = HOST({ENCKE_OPT_EVENTS, 0}, {ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, NEVER});
  int ports[listeners], plain_port = host_listen(h);
  for (size_t i = 0; i < listeners; i++) ports[i] = host_listen_tls(h, tls);
  lasting_one all[lasting];
  peer *p[coming], *newcomer = NULL;
  char text[32];

  SECTION("some that ask all the time beside many that come");
  for (size_t i = 0; i < lasting; i++) {
    all[i] = (lasting_one){.p = TLS(ports[0])};
    served(h, all[i].p);
    all[i].connection = host_last(h, ENCKE_EV_REQUEST, request_id(h, i))->connection;
    CHECK_OK(encke_info(h->e, all[i].connection, ENCKE_INFO_FD, text, sizeof text, NULL));
    all[i].server_fd = atoi(text);
  }
  for (size_t i = 0; i < lasting; i++) asks(&all[i]);
  size_t staying = come(ports, p), steps = 0, heard = 0, newcomers = 0, newcomer_waits = 0, runs = 0;
  while (steps < staying) {
    if (!newcomer) {
      newcomer = peer_tcp(plain_port);
      peer_send(newcomer, "GET /new HTTP/1.1\r\nHost: a\r\n\r\n");
      newcomer_waits = 0;
    }
    encke_stats before = host_stats(h), after;
    size_t first = SEEN(h, REQUEST);
    int beside_handshakes = steps > 0;
    CHECK(++runs < 100 * coming);
    run_once();
    after = host_stats(h);
    steps = steps_so_far(p, coming);
    uint64_t gone = before.connections + (after.accepted - before.accepted) - after.connections;
    if (beside_handshakes && after.accepted - before.accepted > accepted_in_a_run + gone)
      check_fail(__FILE__, __LINE__, "%d accepted in one run beside handshakes, %d had gone", (int)(after.accepted - before.accepted), (int)gone);
    for (size_t i = 0; i < lasting; i++) all[i].waits++;
    newcomer_waits++;
    for (size_t nth = first; nth < SEEN(h, REQUEST); nth++) {
      const event *ev = host_nth(h, ENCKE_EV_REQUEST, nth);
      encke_id id = ev->id, connection = ev->connection;
      answer(h, id, "yes");
      for (size_t i = 0; i < lasting; i++) {
        if (all[i].connection != connection) continue;
        if (all[i].waits > runs_to_be_heard) check_fail(__FILE__, __LINE__, "%zu runs before a request was seen", all[i].waits);
        heard++;
        hears_answer(all[i].p, peer_finals(all[i].p) + 1);
        asks(&all[i]);
        connection = 0;
      }
      if (connection == 0) continue;
      if (newcomer_waits > runs_to_be_let_in) check_fail(__FILE__, __LINE__, "%zu runs before a plain newcomer was heard", newcomer_waits);
      newcomers++;
      hears_answer(newcomer, 1);
      peer_close(newcomer);
      newcomer = NULL;
    }
  }
  /* As many as there are ask in each run: they are to get most of it, and three steps beside eight requests were most of it. */
  if (heard < lasting / 2 * steps) check_fail(__FILE__, __LINE__, "%zu requests were heard beside %zu steps of handshakes", heard, steps);
  CHECK(newcomers >= runs / (2 * runs_to_be_let_in));

  h->on = say_yes; /* to those who have asked once more */
  QUIESCE();
  if (newcomer) peer_close(newcomer);
  for (size_t i = 0; i < coming; i++)
    if (p[i]) peer_close(p[i]);
  for (size_t i = 0; i < lasting; i++) peer_close(all[i].p);
  UNTIL(host_stats(h).connections == 0);
  host_close(h);
}

/* Each goes on as soon as it can: its Finished and its request come with the next run. */
static void begun_and_through(void) {
  SECTION("who was let in is through before others begin");
  h = HOST({ENCKE_OPT_EVENTS, 0}, {ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, NEVER});
  int port = host_listen_tls(h, tls);
  peer *p[at_once];
  size_t answered[at_once] = {0};
  for (size_t i = 0; i < at_once; i++) {
    p[i] = TLS(port, .version = i % 2 ? 12 : 13);
    peer_send(p[i], GET);
  }
  size_t most = 0, runs = 0;
  while (SEEN(h, REQUEST) < at_once) {
    size_t through = SEEN(h, REQUEST), begun = 0;
    CHECK(++runs < 100 * at_once);
    run_once();
    for (; through < SEEN(h, REQUEST); through++) answer(h, request_id(h, through), "yes");
    for (size_t i = 0; i < at_once; i++) {
      struct pollfd fd = {.fd = p[i]->fd, .events = POLLIN};
      if (poll(&fd, 1, 0) != 1) continue;
      answered[i] = 1;
      peer_pump(p[i]);
    }
    for (size_t i = 0; i < at_once; i++) begun += answered[i];
    if (begun - through > most) most = begun - through;
  }
  if (most > half_open) check_fail(__FILE__, __LINE__, "%zu handshakes were half-open at once", most);
  for (size_t i = 0; i < at_once; i++) peer_close(p[i]);
  UNTIL(host_stats(h).connections == 0);
  host_close(h);
}

/* However many requests a run has: who comes over TLS waits in the kernel's queue, not in a row that grows here. */
static void crowd_beside_talk(void) {
  SECTION("the row of handshakes is short beside much talk");
  static unsigned char hello[4096];
  h = HOST({ENCKE_OPT_EVENTS, 0}, {ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, NEVER});
  h->on = say_yes;
  int plain_port = host_listen(h), port = host_listen_tls(h, tls);
  peer *talk[talking], *p[crowd];
  for (size_t i = 0; i < talking; i++) {
    talk[i] = peer_tcp(plain_port);
    peer_send(talk[i], GET);
    UNTIL(peer_finals(talk[i]) == 1);
  }
  size_t n = tls_hello(&(client){.version = 13}, hello, sizeof hello), steps = 0, runs = 0;
  for (size_t i = 0; i < crowd; i++) {
    p[i] = peer_tcp(port);
    peer_send_n(p[i], hello, n);
    CHECK(peer_sent(p[i]));
  }
  while (steps < crowd) {
    CHECK(++runs < 100 * crowd);
    for (size_t i = 0; i < talking; i++) peer_send(talk[i], GET);
    run_once();
    for (size_t i = 0; i < talking; i++) peer_pump(talk[i]);
    steps = steps_so_far(p, crowd);
    size_t here = host_stats(h).connections - talking - steps;
    if (here > may_wait) check_fail(__FILE__, __LINE__, "%zu wait for a step of their handshake", here);
  }
  for (size_t i = 0; i < talking; i++) peer_close(talk[i]);
  for (size_t i = 0; i < crowd; i++) peer_close(p[i]);
  UNTIL(host_stats(h).connections == 0);
  host_close(h);
}

/* A handshake that cannot be completed costs no arithmetic. */
static void ended_before(void) {
  SECTION("who has ended its side behind its hello is not answered");
  static unsigned char hello[4096];
  h = HOST({ENCKE_OPT_EVENTS, 0}, {ENCKE_OPT_HANDSHAKE_TIMEOUT_MS, NEVER});
  peer *p = peer_tcp(host_listen_tls(h, tls));
  peer_send_n(p, hello, tls_hello(&(client){.version = 13}, hello, sizeof hello));
  peer_fin(p);
  CHECK(peer_sent(p)); /* both, before the server looks */
  UNTIL(p->eof);
  CHECK_EQ(p->n, 0);
  peer_close(p);
  UNTIL(host_stats(h).connections == 0);
  host_close(h);
}

int main(void) {
  raise_fd_limit();
  tls = tls_with(CERT(.names = "server.test"));
  beside_lasting_ones();
  begun_and_through();
  crowd_beside_talk();
  ended_before();
  encke_tls_free(tls);
  return check_end();
}
