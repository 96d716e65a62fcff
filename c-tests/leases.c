/*
 * leases.c - ids that are over, foreign, zero, random or used twice, on every call that takes one; the STATE cases; what a
 * reply does that cannot be sent; how long a head lives. The rule: L1, L2, L3, L7: an answer, never undefined behaviour.
 */
#include "check.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

typedef int (*call)(host *, encke_id);

static int set_user(host *h, encke_id id) { return encke_set_user(h->s, id, 1); }
static int body_ack(host *h, encke_id id) { return encke_body_ack(h->s, id, 1); }
static int reply(host *h, encke_id id) { return encke_reply(h->s, id, 200, "text/plain", "x", 1); }
static int write_some(host *h, encke_id id) { return encke_write(h->s, id, "x", 1); }
static int write_none(host *h, encke_id id) { return encke_write(h->s, id, NULL, 0); }
static int end(host *h, encke_id id) { return encke_end(h->s, id, NULL, 0); }
static int abort_it(host *h, encke_id id) { return encke_abort(h->s, id); }
static int inform(host *h, encke_id id) { return encke_inform(h->s, id, 103, NULL, 0); }

static int respond(host *h, encke_id id) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  return encke_respond(h->s, id, &r, sizeof r);
}

static int begin(host *h, encke_id id) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  return encke_begin(h->s, id, &r, sizeof r);
}

static int token(host *h, encke_id id) {
  char text[ENCKE_TOKEN_SIZE];
  return encke_token(h->s, id, text, sizeof text);
}

static int info(host *h, encke_id id) {
  char text[64];
  return encke_info(h->e, id, ENCKE_INFO_PEER, text, sizeof text, NULL);
}

static const struct { const char *name; call f; } calls[] = {
    {"set_user", set_user},     {"body_ack", body_ack}, {"reply", reply},       {"respond", respond}, {"begin", begin},
    {"write", write_some},      {"write 0", write_none}, {"end", end},          {"abort", abort_it},  {"inform", inform},
    {"token", token},           {"info", info},
};
#define CALLS (sizeof calls / sizeof *calls)

static host *h;
static int port;

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static void over_is_gone_for_ever(void) {
  SECTION("ids that are over");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET("/over"));
  answer(h, id, "x");
  for (int round = 0; round < 3; round++) { /* at once, after DONE, after the slot was used again */
    for (size_t i = 0; i < CALLS; i++) {
      if (calls[i].f == info && round == 0) continue; /* a fact of a request that is still being sent may be had */
      SECTION(calls[i].name);
      CHECK_RC(calls[i].f(h, id), ENCKE_E_GONE);
      CHECK_RC(calls[i].f(h, id), ENCKE_E_GONE);
    }
    if (round == 0) UNTIL(host_all_done(h) && peer_finals(p) == 1);
    if (round == 1) {
      encke_id again = next_request(p, GET("/again"));
      CHECK(again != id);
      answer(h, again, "y");
      UNTIL(peer_finals(p) == 2);
    }
  }
  CHECK_TEXT(peer_nth(p, 0)->body, "x");
  CHECK_TEXT(peer_nth(p, 1)->body, "y");
  peer_close(p);
  UNTIL(host_all_done(h));
}

static void foreign_is_gone(void) {
  SECTION("ids of another encke");
  host *other = HOST_PLAIN();
  peer *p = peer_tcp(host_listen(other));
  peer_send(p, GET("/mine"));
  UNTIL(SEEN(other, REQUEST) == 1);
  encke_id id = request_id(other, 0);
  for (size_t i = 0; i < CALLS; i++) {
    SECTION(calls[i].name);
    CHECK_RC(calls[i].f(h, id), ENCKE_E_GONE);
  }
  CHECK(encke_close(h->e, id) < 0);
  CHECK_OK(encke_write(other->s, id, NULL, 0));
  answer(other, id, "untouched");
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "untouched");
  peer_close(p);
  host_close(other);
}

static void zero_and_others_are_refused(void) {
  SECTION("zero, all ones, listeners, connections");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET("/kinds"));
  const encke_head *head = host_target(h, "/kinds")->head;
  CHECK(head->connection != 0 && head->listener != 0);
  encke_id wrong[] = {0, UINT64_MAX, head->connection, head->listener};
  for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
    for (size_t i = 0; i < CALLS; i++) {
      /* These may have a meaning for a connection or a listener. */
      if (k >= 2 && (calls[i].f == info || calls[i].f == set_user || calls[i].f == token)) continue;
      SECTION(calls[i].name);
      int rc = calls[i].f(h, wrong[k]);
      CHECK(rc == ENCKE_E_GONE || rc == ENCKE_E_INVAL || (k >= 2 && rc < 0));
    }
  CHECK(encke_close(h->e, 0) < 0);
  CHECK(encke_close(h->e, UINT64_MAX) < 0);
  CHECK(encke_close(h->e, id) < 0); /* requests: encke_abort */
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
  UNTIL(host_all_done(h));
}

static void random_ids_hit_nothing(void) {
  SECTION("random ids and ids one bit away");
  uint64_t seed = 42;
  QUIESCE();
  for (int i = 0; i < 100000; i++) {
    encke_id id = random_next(&seed);
    CHECK_RC(calls[(size_t)i % (CALLS - 1)].f(h, id), ENCKE_E_GONE);
  }
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET("/near"));
  for (int bit = 0; bit < 64; bit++)
    for (size_t i = 0; i < CALLS - 1; i++) CHECK(calls[i].f(h, id ^ ((uint64_t)1 << bit)) < 0);
  CHECK(abort_it(h, id + 1) < 0);
  CHECK(abort_it(h, id - 1) < 0);
  QUIESCE();
  CHECK_EQ(p->n, 0);
  answer(h, id, "near");
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "near");
  peer_close(p);
  UNTIL(host_all_done(h));
}

static void state_cases(void) {
  SECTION("STATE: the wrong moment");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET("/state"));
  CHECK_RC(write_some(h, id), ENCKE_E_STATE);
  CHECK_RC(end(h, id), ENCKE_E_STATE);
  CHECK_OK(write_none(h, id));
  CHECK_OK(begin(h, id));
  CHECK_RC(begin(h, id), ENCKE_E_STATE);
  CHECK_RC(respond(h, id), ENCKE_E_STATE); /* and it is still mine */
  CHECK(inform(h, id) < 0);
  CHECK_OK(encke_write(h->s, id, "still mine", 10));
  CHECK_OK(end(h, id));
  CHECK_RC(end(h, id), ENCKE_E_GONE);
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "still mine");
  id = next_request(p, GET("/state2"));
  size_t before = p->n;
  CHECK_OK(begin(h, id));
  UNTIL(p->n > before);
  CHECK_RC(reply(h, id), ENCKE_E_STATE); /* settles as encke_abort does */
  CHECK_RC(end(h, id), ENCKE_E_GONE);
  CHECK_RC(abort_it(h, id), ENCKE_E_GONE);
  UNTIL(p->eof && host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  if (peer_finals(p) == 2) CHECK(peer_nth(p, 1)->truncated);
  peer_close(p);
}

static void reply_always_settles(void) {
  SECTION("a reply that cannot be sent is a 500");
  struct { uint32_t status; const char *type; const void *body; size_t len; } bad[] = {
      {200, "text/plain\r\nX-Evil: 1", "x", 1}, {0, "text/plain", "x", 1}, {1000, "text/plain", "x", 1}, {200, "text/plain", NULL, 5},
      {200, "a\nb", "x", 1},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    peer *p = peer_tcp(port);
    encke_id id = next_request(p, GET("/bad"));
    CHECK_RC(encke_reply(h->s, id, bad[i].status, bad[i].type, bad[i].body, bad[i].len), ENCKE_E_INVAL);
    CHECK(encke_last_error() != NULL && encke_last_error()[0] != 0);
    CHECK_RC(reply(h, id), ENCKE_E_GONE);
    CHECK_RC(abort_it(h, id), ENCKE_E_GONE);
    UNTIL(peer_finals(p) == 1 && host_count(h, ENCKE_EV_DONE, id) == 1);
    CHECK_EQ(peer_nth(p, 0)->status, 500);
    CHECK(response_field(peer_nth(p, 0), "x-evil") == NULL);
    peer_close(p);
  }
}

static int respond_with(encke_id id, const encke_field *fields, size_t n) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.fields = fields, r.nfields = n;
  return encke_respond(h->s, id, &r, sizeof r);
}

static void invalid_fields_leave_it_yours(void) {
  SECTION("INVAL names the field and does not settle");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET("/inval"));
  encke_field fields[10];
  for (size_t i = 0; i < 10; i++) fields[i] = field("x-good", "1");
  static const struct { const char *name, *value; } bad[] = {
      {"content-length", "5"}, {"Content-Length", "5"}, {"transfer-encoding", "chunked"}, {"Connection", "close"},
      {"keep-alive", "timeout=5"}, {"Upgrade", "h2c"}, {"Trailer", "x"}, {"x-split", "a\r\nb: c"}, {"x-lf", "a\nb"},
      {"x-cr", "a\rb"}, {"", "empty"}, {"x y", "blank"}, {"x:", "colon"}, {"x\r\ny", "crlf"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fields[7] = field(bad[i].name, bad[i].value);
    CHECK_RC(respond_with(id, fields, 10), ENCKE_E_INVAL);
    if (strstr(encke_last_error(), "7") == NULL)
      check_fail(__FILE__, __LINE__, "last_error does not name field 7: \"%s\"", encke_last_error());
    encke_response r;
    memset(&r, 0, sizeof r);
    r.status = 200, r.fields = fields, r.nfields = 10;
    CHECK_RC(encke_begin(h->s, id, &r, sizeof r), ENCKE_E_INVAL);
  }
  encke_field nul = {{"x-nul", 5}, {"a\0b", 3}};
  CHECK_RC(respond_with(id, &nul, 1), ENCKE_E_INVAL);
  CHECK_RC(respond_with(id, NULL, 3), ENCKE_E_INVAL);
  CHECK_RC(encke_respond(h->s, id, NULL, sizeof(encke_response)), ENCKE_E_INVAL);
  CHECK_RC(encke_begin(h->s, id, NULL, sizeof(encke_response)), ENCKE_E_INVAL);
  CHECK_RC(encke_inform(h->s, id, 200, NULL, 0), ENCKE_E_INVAL);
  CHECK(encke_respond(NULL, id, NULL, 0) < 0);
  CHECK(encke_abort(NULL, id) < 0);
  fields[7] = field("x-good", "2");
  CHECK_OK(respond_with(id, fields, 10));
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(response_fields(peer_nth(p, 0), "x-good"), 10);
  peer_close(p);
  UNTIL(host_all_done(h));
}

static int same_str(encke_str a, const char *text) { return a.n == strlen(text) && memcmp(a.p, text, a.n) == 0 && a.p[a.n] == 0; }

/* All of a head of next_head(), as it was sent. */
static void check_head(const encke_head *head, encke_id id) {
  CHECK(head->id == id);
  CHECK(same_str(head->method, "POST"));
  CHECK(same_str(head->target, "/head/%41?q=1&r=2"));
  CHECK(same_str(head->path, "/head/%41"));
  CHECK(same_str(head->query, "q=1&r=2"));
  CHECK(head->host.n >= 11 && memcmp(head->host.p, "example.com", 11) == 0);
  CHECK_EQ(head->version, 11);
  CHECK_EQ(head->content_length, 4);
  CHECK_EQ(head->body_len, 4);
  CHECK(memcmp(head->body, "body", 4) == 0);
  CHECK_EQ(head->flags, host_tls() ? ENCKE_HEAD_TLS : 0);
  CHECK(same_str(encke_head_get(head, "x-mixed"), "Case kept"));
  CHECK(same_str(encke_head_get(head, "x-twice"), "1"));
  CHECK(encke_head_get(head, "x-absent").p == NULL);
  CHECK(encke_head_get(head, "x-empty").p != NULL && encke_head_get(head, "x-empty").n == 0);
  size_t twice = 0;
  for (size_t i = 0; i < head->nfields; i++) {
    for (size_t k = 0; k < head->fields[i].name.n; k++) CHECK(head->fields[i].name.p[k] < 'A' || head->fields[i].name.p[k] > 'Z');
    if (same_str(head->fields[i].name, "x-twice")) CHECK(same_str(head->fields[i].value, twice++ ? "2" : "1"));
  }
  CHECK_EQ(twice, 2);
}

static void heads_stay_as_they_are(void) {
  SECTION("a head is constant until its settle and the loop's next call");
  static const char post[] = "POST /head/%41?q=1&r=2 HTTP/1.1\r\nHost: example.com:81\r\nX-Mixed: Case kept \r\nX-Twice: 1\r\n"
                             "X-Empty:\r\nX-Twice:\t2\r\nContent-Length: 4\r\n\r\nbody";
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, post);
  const encke_head *head = host_last(h, ENCKE_EV_REQUEST, id)->head;
  check_head(head, id);
  for (int i = 0; i < 50; i++) { /* much else happens; the head stays */
    peer *q = peer_tcp(port);
    encke_id other = next_request(q, GET("/other"));
    answer(h, other, "other");
    UNTIL(peer_finals(q) == 1);
    peer_close(q);
  }
  CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head == head);
  check_head(head, id);
  answer(h, id, "x");
  check_head(head, id); /* settled, but the loop thread made no call of the loop yet */
  UNTIL(peer_finals(p) == 1);
  id = next_request(p, post);
  head = host_last(h, ENCKE_EV_REQUEST, id)->head;
  peer_rst(p);
  UNTIL(host_count(h, ENCKE_EV_ABORTED, id) == 1);
  QUIESCE();
  check_head(head, id); /* no peer ends it */
  CHECK(host_last(h, ENCKE_EV_ABORTED, id)->head == head);
  CHECK_RC(reply(h, id), ENCKE_E_GONE);
  check_head(head, id);
  UNTIL(host_all_done(h));
}

int main(void) {
  h = HOST_PLAIN();
  port = host_listen(h);
  over_is_gone_for_ever();
  foreign_is_gone();
  zero_and_others_are_refused();
  random_ids_hit_nothing();
  state_cases();
  reply_always_settles();
  invalid_fields_leave_it_yours();
  heads_stay_as_they_are();
  host_close(h);
  return check_end();
}
