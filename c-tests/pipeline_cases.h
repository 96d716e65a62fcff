/*
 * pipeline_cases.h - the cases of pipelining, for both watch modes. The rule they check: requests of one connection are in
 * the host's hands before any of them is answered, and answers leave in the order of the requests whatever order they came in.
 */
#ifndef PIPELINE_CASES_H
#define PIPELINE_CASES_H

#include "check.h"

#define EIGHT 8
#define HEAD_AT 5

static char *big, *piece;

static char *eight_requests(void) {
  char *text = need(calloc(1, 4096));
  for (int i = 0; i < EIGHT; i++)
    strcat(text, textf("%s /r%d HTTP/1.1\r\nHost: a\r\n%s\r\n", i == HEAD_AT ? "HEAD" : "GET", i, i % 2 ? "X-Odd: 1\r\n" : ""));
  return text;
}

/* Each of the eight has a form of its own; none of them depends on when it is sent. */
static void answer_form(host *h, encke_id id, size_t i) {
  encke_field fields[2] = {field("etag", "\"one\""), field("x-two", "2")};
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.fields = fields, r.nfields = 2;
  switch (i) {
  case 1:
    r.status = 404, r.body = "nothing here", r.body_len = 12;
    CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
    break;
  case 2:
    r.flags = ENCKE_LENGTH, r.length = 40000;
    CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
    CHECK_OK(encke_write(h->s, id, piece, 20000));
    CHECK_OK(encke_write(h->s, id, piece, 20000));
    CHECK_OK(encke_end(h->s, id, NULL, 0));
    break;
  case 3:
    r.status = 204;
    CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
    break;
  case 6:
    CHECK_OK(encke_reply(h->s, id, 200, "application/octet-stream", big, 100000));
    break;
  default:
    answer(h, id, textf("answer %zu", i));
  }
}

/* Sends the eight, answers them in `order`, returns the masked bytes of the wire. */
static char *eight_in_order(host *h, int port, const size_t *order, int one_by_one, size_t *n) {
  char *text = eight_requests();
  size_t base = SEEN(h, REQUEST);
  peer *p = peer_tcp(port);
  p->head_only = 1u << HEAD_AT;
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == base + EIGHT);
  QUIESCE();
  CHECK_EQ(p->n, 0);
  encke_id ids[EIGHT];
  for (size_t i = 0; i < EIGHT; i++) {
    event *x = host_nth(h, ENCKE_EV_REQUEST, base + i);
    CHECK_TEXT(x->target, textf("/r%zu", i));
    CHECK_TEXT(x->method, i == HEAD_AT ? "HEAD" : "GET");
    CHECK(x->head->version == 11);
    ids[i] = x->id;
  }
  for (size_t k = 0; k < EIGHT; k++) {
    answer_form(h, ids[order[k]], order[k]);
    if (one_by_one) QUIESCE();
  }
  UNTIL(peer_finals(p) == EIGHT && host_all_done(h));
  QUIESCE();
  for (size_t i = 0; i < EIGHT; i++) CHECK_EQ(peer_nth(p, i)->status, i == 1 ? 404 : i == 3 ? 204 : 200);
  CHECK_BYTES(peer_nth(p, 6)->body, peer_nth(p, 6)->len, big, 100000);
  CHECK_TEXT(peer_nth(p, 7)->body, "answer 7");
  CHECK_EQ(peer_nth(p, 7)->end, p->n);
  *n = p->n;
  char *wire = masked(p->in, p->n);
  peer_close(p);
  free(text);
  return wire;
}

static void any_order_gives_the_same_bytes(uint64_t watch) {
  SECTION("any order of answers gives the same bytes");
  host *h = HOST({ENCKE_OPT_WATCH, watch});
  int port = host_listen(h);
  size_t order[EIGHT], n, m;
  uint64_t seed = 1;
  for (size_t i = 0; i < EIGHT; i++) order[i] = i;
  char *reference = eight_in_order(h, port, order, 1, &n);
  for (int round = 0; round < 20; round++) {
    if (round < 2) for (size_t i = 0; i < EIGHT; i++) order[i] = EIGHT - 1 - i;
    else shuffle(order, EIGHT, &seed);
    char *wire = eight_in_order(h, port, order, round % 2, &m);
    CHECK_BYTES(wire, m, reference, n);
    free(wire);
  }
  free(reference);
  host_close(h);
}

static void stream_waits_for_the_answer_before_it(uint64_t watch) {
  SECTION("a stream behind an unanswered request waits and gets AGAIN");
  host *h = HOST({ENCKE_OPT_WATCH, watch}, {ENCKE_OPT_HIGH_WATER, 65536}, {ENCKE_OPT_LOW_WATER, 16384});
  int port = host_listen(h);
  peer *p = peer_tcp(port);
  peer_send(p, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == 2);
  encke_id one = target_id(h, "/1"), two = target_id(h, "/2");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  CHECK_OK(encke_begin(h->s, two, &r, sizeof r));
  size_t taken = 0;
  int rc;
  while ((rc = encke_write(h->s, two, big + taken, 5000)) == ENCKE_OK) {
    taken += 5000;
    CHECK(taken <= 65536 + 5000);
  }
  CHECK_RC(rc, ENCKE_E_AGAIN);
  CHECK(taken >= 65536);
  QUIESCE();
  CHECK_EQ(p->n, 0);
  CHECK_RC(encke_write(h->s, two, "x", 1), ENCKE_E_AGAIN);
  CHECK_RC(encke_write(h->s, two, NULL, 0), ENCKE_E_AGAIN);
  CHECK_EQ(SEEN(h, WRITABLE), 0);
  answer(h, one, "first");
  UNTIL(SEEN(h, WRITABLE) == 1);
  CHECK(host_nth(h, ENCKE_EV_WRITABLE, 0)->id == two);
  CHECK_OK(encke_write(h->s, two, big + taken, 1000));
  CHECK_OK(encke_end(h->s, two, NULL, 0));
  UNTIL(peer_finals(p) == 2 && host_all_done(h));
  CHECK_TEXT(peer_nth(p, 0)->body, "first");
  CHECK_BYTES(peer_nth(p, 1)->body, peer_nth(p, 1)->len, big, taken + 1000);
  CHECK_EQ(SEEN(h, WRITABLE), 1);
  peer_close(p);
  host_close(h);
}

static void max_pipeline_pauses_reading(uint64_t watch) {
  SECTION("MAX_PIPELINE pauses reading");
  host *h = HOST({ENCKE_OPT_WATCH, watch}, {ENCKE_OPT_MAX_PIPELINE, 4});
  int port = host_listen(h);
  char *text = eight_requests();
  peer *p = peer_tcp(port);
  p->head_only = 1u << HEAD_AT;
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == 4);
  for (size_t i = 0; i < EIGHT; i++) {
    QUIESCE();
    CHECK_EQ(SEEN(h, REQUEST), i + 4 < EIGHT ? i + 4 : EIGHT);
    answer(h, request_id(h, i), textf("%zu", i));
    UNTIL(peer_finals(p) == i + 1);
    UNTIL(SEEN(h, REQUEST) >= (i + 5 < EIGHT ? i + 5 : EIGHT));
  }
  for (size_t i = 0; i < EIGHT; i++) CHECK_TEXT(peer_nth(p, i)->body, i == HEAD_AT ? "" : textf("%zu", i));
  peer_close(p);
  free(text);
  host_close(h);
}

static void pipeline_safe_holds_back_unsafe_methods(uint64_t watch) {
  SECTION("PIPELINE_SAFE");
  static const char four[] = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b HTTP/1.1\r\nHost: a\r\n\r\n"
                             "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /d HTTP/1.1\r\nHost: a\r\n\r\n";
  for (uint64_t safe = 0; safe < 2; safe++) {
    host *h = HOST({ENCKE_OPT_WATCH, watch}, {ENCKE_OPT_PIPELINE_SAFE, safe});
    peer *p = peer_tcp(host_listen(h));
    p->head_only = 1u << 1;
    peer_send(p, four);
    if (safe) {
      UNTIL(SEEN(h, REQUEST) == 2);
      QUIESCE();
      CHECK_EQ(SEEN(h, REQUEST), 2);
      answer(h, target_id(h, "/b"), "b");
      QUIESCE();
      CHECK_EQ(SEEN(h, REQUEST), 2);
      answer(h, target_id(h, "/a"), "a");
      UNTIL(host_target(h, "/c") != NULL);
    } else {
      UNTIL(SEEN(h, REQUEST) == 4);
      answer(h, target_id(h, "/b"), "b");
      answer(h, target_id(h, "/a"), "a");
    }
    CHECK_BYTES(host_target(h, "/c")->data, host_target(h, "/c")->len, "abc", 3);
    answer(h, target_id(h, "/c"), "c");
    UNTIL(host_target(h, "/d") != NULL);
    answer(h, target_id(h, "/d"), "d");
    UNTIL(peer_finals(p) == 4 && host_all_done(h));
    for (size_t i = 0; i < 4; i++) {
      CHECK_TEXT(host_nth(h, ENCKE_EV_REQUEST, i)->target, textf("/%c", (int)('a' + i)));
      CHECK_TEXT(peer_nth(p, i)->body, i == 1 ? "" : textf("%c", (int)('a' + i)));
    }
    peer_close(p);
    host_close(h);
  }
}

static void connection_close_is_kept_in_its_place(uint64_t watch) {
  SECTION("Connection: close in the middle");
  host *h = HOST({ENCKE_OPT_WATCH, watch});
  peer *p = peer_tcp(host_listen(h));
  peer_send(p, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
               "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) >= 2);
  answer(h, target_id(h, "/2"), "two");
  QUIESCE();
  CHECK_EQ(p->n, 0);
  answer(h, target_id(h, "/1"), "one");
  UNTIL(p->eof);
  CHECK_EQ(peer_finals(p), 2);
  CHECK_TEXT(peer_nth(p, 0)->body, "one");
  CHECK_TEXT(peer_nth(p, 1)->body, "two");
  CHECK(response_field(peer_nth(p, 1), "connection") != NULL);
  peer_close(p);
  host_close(h);
}

static void close_flag_ends_the_connection_there(uint64_t watch) {
  SECTION("ENCKE_CLOSE on the second of three");
  host *h = HOST({ENCKE_OPT_WATCH, watch});
  peer *p = peer_tcp(host_listen(h));
  peer_send(p, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == 3);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = ENCKE_CLOSE, r.body = "two", r.body_len = 3;
  CHECK_OK(encke_respond(h->s, target_id(h, "/2"), &r, sizeof r));
  answer(h, target_id(h, "/1"), "one");
  UNTIL(p->eof);
  CHECK_EQ(peer_finals(p), 2);
  CHECK_TEXT(peer_nth(p, 1)->body, "two");
  int rc = encke_reply(h->s, target_id(h, "/3"), 200, "text/plain", "three", 5);
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  peer_close(p);
  host_close(h);
}

static void answer_at_once(host *h, const event *x) {
  if (x->kind == ENCKE_EV_REQUEST) answer(h, x->id, x->target);
}

static void answers_inside_the_drain(uint64_t watch) {
  SECTION("a thousand pipelined requests answered inside the drain");
  host *h = HOST({ENCKE_OPT_WATCH, watch});
  h->on = answer_at_once;
  peer *p = peer_tcp(host_listen(h));
  for (int i = 0; i < 1000; i++) peer_send(p, textf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i));
  UNTIL(peer_finals(p) == 1000 && host_all_done(h));
  for (size_t i = 0; i < 1000; i++) CHECK_TEXT(peer_nth(p, i)->body, textf("/%zu", i));
  peer_close(p);
  host_close(h);
}

static void pipeline_cases(uint64_t watch) {
  big = pattern(120000, 1);
  piece = pattern(20000, 2);
  any_order_gives_the_same_bytes(watch);
  stream_waits_for_the_answer_before_it(watch);
  max_pipeline_pauses_reading(watch);
  pipeline_safe_holds_back_unsafe_methods(watch);
  connection_close_is_kept_in_its_place(watch);
  close_flag_ends_the_connection_there(watch);
  answers_inside_the_drain(watch);
  free(big);
  free(piece);
}

#endif
