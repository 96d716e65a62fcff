/*
 * config.c - options, and structs of other sizes than the library's (S1). The rule: what is unknown, out of range or not
 * live is refused by name and changes nothing; a struct is read and filled as far as both sides know it.
 */
#include "check.h"

#include <limits.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void options(void) {
  SECTION("setting options");
  encke_config *config = encke_config_new();
  CHECK(config != NULL);
  CHECK_RC(encke_config_set(NULL, ENCKE_OPT_MAX_HEAD, 1000), ENCKE_E_INVAL);
  CHECK_RC(encke_config_set_str(NULL, ENCKE_OPT_SERVER_NAME, "x"), ENCKE_E_INVAL);
  CHECK_RC(encke_config_set(config, 0, 1), ENCKE_E_NOTSUP);
  CHECK_RC(encke_config_set(config, 999, 1), ENCKE_E_NOTSUP);
  CHECK_RC(encke_config_set(config, -1, 1), ENCKE_E_NOTSUP);
  CHECK_RC(encke_config_set(config, INT_MAX, 1), ENCKE_E_NOTSUP);
  CHECK(encke_last_error()[0] != 0);
  CHECK_RC(encke_config_set_str(config, 999, "x"), ENCKE_E_NOTSUP);
  CHECK_RC(encke_config_set(config, ENCKE_OPT_WATCH, 2), ENCKE_E_INVAL);
  CHECK_RC(encke_config_set(config, ENCKE_OPT_EXPECT, 2), ENCKE_E_INVAL);
  CHECK_RC(encke_config_set(config, ENCKE_OPT_PIPELINE_SAFE, 9), ENCKE_E_INVAL);
  CHECK(encke_config_set(config, ENCKE_OPT_SERVER_NAME, 1) < 0);
  CHECK(encke_config_set_str(config, ENCKE_OPT_MAX_HEAD, "1000") < 0);
  CHECK_RC(encke_config_set_str(config, ENCKE_OPT_SERVER_NAME, NULL), ENCKE_E_INVAL);
  CHECK_RC(encke_config_set_str(config, ENCKE_OPT_SERVER_NAME, "a\r\nb: c"), ENCKE_E_INVAL);
  for (int option = ENCKE_OPT_WATCH; option <= ENCKE_OPT_UNIX_MODE; option++) { /* every limit is finite */
    int rc = encke_config_set(config, option, UINT64_MAX);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_INVAL);
  }
  encke_config_free(config);
  encke_config_free(NULL);
  CHECK_RC(encke_new(NULL, NULL), ENCKE_E_INVAL);
}

static void copied_at_new(void) {
  SECTION("a config is copied, and reusable");
  encke_config *config = encke_config_new();
  encke *one = NULL, *two = NULL;
  CHECK_OK(encke_config_set_str(config, ENCKE_OPT_SERVER_NAME, "one"));
  CHECK_OK(encke_new(config, &one));
  CHECK_OK(encke_config_set(config, ENCKE_OPT_WATCH, ENCKE_WATCH_EACH));
  CHECK_OK(encke_new(config, &two));
  encke_config_free(config);
  CHECK(encke_fd(one) != ENCKE_NO_FD);
  CHECK(encke_fd(two) == ENCKE_NO_FD);
  encke_free(one);
  encke_free(two);
  CHECK(encke_fd(NULL) == ENCKE_NO_FD);
}

/* A value within the range of that option. */
static uint64_t fitting(int option) {
  switch (option) {
  case ENCKE_OPT_WATCH: case ENCKE_OPT_EXPECT: case ENCKE_OPT_PIPELINE_SAFE: case ENCKE_OPT_REUSE_PORT: case ENCKE_OPT_CONNECT:
    return 1;
  case ENCKE_OPT_MAX_FIELDS: case ENCKE_OPT_UNIX_MODE:
    return 100;
  default:
    return 5000;
  }
}

static void live_options(void) {
  SECTION("live options, and the others");
  static const int live[] = {ENCKE_OPT_EVENTS, ENCKE_OPT_MAX_CONNECTIONS, ENCKE_OPT_MAX_HELD, ENCKE_OPT_REUSE_PORT, ENCKE_OPT_BACKLOG,
                             ENCKE_OPT_UNIX_MODE};
  host *h = HOST_PLAIN();
  for (int option = ENCKE_OPT_WATCH; option <= ENCKE_OPT_UNIX_MODE; option++) {
    int is_live = 0;
    for (size_t i = 0; i < sizeof live / sizeof *live; i++) is_live |= live[i] == option;
    SECTION(textf("option %d", option));
    CHECK_RC(encke_set(h->e, option, fitting(option)), is_live ? ENCKE_OK : ENCKE_E_STATE);
  }
  CHECK_RC(encke_set(h->e, 999, 1), ENCKE_E_NOTSUP);
  CHECK_RC(encke_set(h->e, ENCKE_OPT_REUSE_PORT, 2), ENCKE_E_INVAL);
  CHECK(encke_set(NULL, ENCKE_OPT_MAX_HELD, 1) < 0);
  host_close(h);

  SECTION("EVENTS live: DONE on and off");
  h = HOST({ENCKE_OPT_EVENTS, 0});
  peer *p = peer_tcp(host_listen(h));
  for (size_t i = 0; i < 3; i++) {
    CHECK_OK(encke_set(h->e, ENCKE_OPT_EVENTS, i == 1 ? ENCKE_WANT(ENCKE_EV_DONE) : 0));
    peer_send(p, GET);
    UNTIL(SEEN(h, REQUEST) == i + 1);
    answer(h, request_id(h, i), "x");
    UNTIL(peer_finals(p) == i + 1);
    QUIESCE();
    CHECK_EQ(SEEN(h, DONE), i == 0 ? 0 : 1);
  }
  peer_close(p);
  host_close(h);
}

static encke_id request(host *h, peer *p) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static void structs_in(void) {
  SECTION("in-structs of other sizes");
  struct { encke_response r; uint64_t newer[4]; } larger;
  host *h = HOST_PLAIN();
  peer *p = peer_tcp(host_listen(h));
  memset(&larger, 0, sizeof larger);
  larger.r.status = 200, larger.r.body = "body", larger.r.body_len = 4;
  encke_id id = request(h, p);
  larger.newer[3] = 1; /* a field of a newer header, in use */
  CHECK_RC(encke_respond(h->s, id, &larger.r, sizeof larger), ENCKE_E_NOTSUP);
  CHECK_RC(encke_begin(h->s, id, &larger.r, sizeof larger), ENCKE_E_NOTSUP);
  larger.newer[3] = 0; /* not in use */
  CHECK_OK(encke_respond(h->s, id, &larger.r, sizeof larger));
  id = request(h, p);
  /* an older header: what lies behind it is not looked at */
  larger.r.length = 999, larger.r.offset = 999, larger.r.file = -5;
  CHECK_OK(encke_respond(h->s, id, &larger.r, offsetof(encke_response, cookie)));
  id = request(h, p);
  CHECK_OK(encke_begin(h->s, id, &larger.r, offsetof(encke_response, cookie)));
  CHECK_OK(encke_end(h->s, id, NULL, 0));
  UNTIL(peer_finals(p) == 3);
  for (size_t i = 0; i < 3; i++) CHECK_TEXT(peer_nth(p, i)->body, "body");
  SECTION("flags that this library does not know");
  id = request(h, p);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = 1u << 30;
  CHECK(encke_respond(h->s, id, &r, sizeof r) < 0);
  answer(h, id, "still mine");
  UNTIL(peer_finals(p) == 4);
  peer_close(p);
  host_close(h);
}

static void structs_out(void) {
  SECTION("out-structs of other sizes");
  struct { encke_event ev; unsigned char newer[32]; } larger;
  struct { encke_stats stats; unsigned char newer[32]; } stats;
  host *h = HOST_PLAIN();
  int port = host_listen(h);
  for (int round = 0; round < 2; round++) {
    peer *p = peer_tcp(port);
    peer_ready(p);
    peer_send(p, GET);
    size_t size = round ? offsetof(encke_event, cookie) : sizeof larger;
    moment until = deadline();
    int rc;
    do {
      memset(&larger, 0xaa, sizeof larger);
      CHECK(now_ms() < until);
      if (host_readable(h, 100)) CHECK(encke_run(h->e, 0) >= 0);
      rc = encke_next(h->e, &larger.ev, size);
      CHECK(rc >= 0);
    } while (rc == 0 || larger.ev.kind != ENCKE_EV_REQUEST);
    encke_id id = larger.ev.id;
    CHECK(id != 0);
    if (round == 0) {
      CHECK_STR(larger.ev.head->target, "/");
      for (size_t i = 0; i < sizeof larger.newer; i++) CHECK(larger.newer[i] == 0); /* zeroed */
    } else {
      for (size_t i = size; i < sizeof larger; i++) CHECK(((unsigned char *)&larger)[i] == 0xaa); /* untouched */
    }
    answer(h, id, "x");
    UNTIL(peer_finals(p) == 1);
    peer_close(p);
    h->n = 0; /* its REQUEST is not in the record */
    memset(h->seen, 0, sizeof h->seen);
  }
  memset(&stats, 0xaa, sizeof stats);
  CHECK_OK(encke_stats_get(h->s, &stats.stats, sizeof stats));
  for (size_t i = 0; i < sizeof stats.newer; i++) CHECK(stats.newer[i] == 0);
  memset(&stats, 0xaa, sizeof stats);
  CHECK_OK(encke_stats_get(h->s, &stats.stats, offsetof(encke_stats, held)));
  CHECK(stats.stats.accepted >= 2);
  for (size_t i = offsetof(encke_stats, held); i < sizeof stats; i++) CHECK(((unsigned char *)&stats)[i] == 0xaa);
  CHECK(encke_stats_get(h->s, NULL, sizeof(encke_stats)) < 0);
  CHECK(encke_next(h->e, NULL, sizeof(encke_event)) < 0);
  host_close(h);
}

int main(void) {
  options();
  copied_at_new();
  live_options();
  structs_in();
  structs_out();
  return check_end();
}
