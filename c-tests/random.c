/*
 * random.c - clients that send right, cut, changed and senseless bytes and leave at any moment, and a host that answers in
 * any way at any moment; from one seed. The rule: every lease ends once, the fd finds its rest, every byte that is counted
 * in is counted out again, and the next client is served. ENCKE_TEST_SEED and ENCKE_TEST_CLIENTS change the run.
 */
#include "check.h"

#define AT_ONCE 12
#define HELD_MAX 64

static const char *const corpus[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /head HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
    "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\na=1&b=hello",
    "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n5;x=1\r\npedia\r\n0\r\nT: 1\r\n\r\n",
    "PUT /large HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "POST /expect HTTP/1.1\r\nHost: a\r\nContent-Length: 400\r\nExpect: 100-continue\r\n\r\n",
    "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    "GET /close HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
};
#define CORPUS (sizeof corpus / sizeof *corpus)

typedef struct { encke_id id; int begun, length; } hold;

static host *h;
static uint64_t seed;
static hold held[HELD_MAX];
static size_t nheld;
static char *big;

static uint64_t pick(uint64_t n) { return random_next(&seed) % n; }

static void expect_one_of(int rc, int a, int b) {
  if (rc != ENCKE_OK && rc != a && rc != b) check_fail(__FILE__, __LINE__, "%d (%s)", rc, encke_strerror(rc));
}

/* Settles it in one of the ways that fit. */
static void settle(hold x) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = pick(4) ? 200 : 204;
  int rc;
  switch (x.begun ? 3 + pick(2) : pick(4)) {
  case 0: rc = encke_reply(h->s, x.id, 200, "text/plain", big, pick(3) ? pick(100) : pick(100000)); break;
  case 1:
    r.flags = ENCKE_BORROW | (pick(5) ? 0 : ENCKE_CLOSE), r.body = big, r.body_len = pick(200000);
    rc = encke_respond(h->s, x.id, &r, sizeof r);
    break;
  case 2:
    r.body = big, r.body_len = pick(1000);
    rc = encke_respond(h->s, x.id, &r, sizeof r);
    break;
  case 3: rc = encke_abort(h->s, x.id); break;
  default: rc = encke_end(h->s, x.id, NULL, 0);
  }
  expect_one_of(rc, ENCKE_E_GONE, ENCKE_E_GONE);
}

/* One thing or another to a request that is held. */
static void handle(size_t at) {
  hold *x = &held[at];
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  switch (pick(6)) {
  case 0:
    if (!x->begun) {
      if (pick(2)) r.flags = ENCKE_LENGTH, r.length = 5000, x->length = 1;
      int rc = encke_begin(h->s, x->id, &r, sizeof r);
      expect_one_of(rc, ENCKE_E_GONE, ENCKE_E_GONE);
      x->begun = rc == ENCKE_OK;
      return;
    }
    break;
  case 1:
    if (x->begun) {
      int rc = encke_write(h->s, x->id, big, pick(x->length ? 200 : 30000));
      if (rc != ENCKE_E_INVAL || !x->length) expect_one_of(rc, ENCKE_E_GONE, ENCKE_E_AGAIN);
      return;
    }
    expect_one_of(encke_inform(h->s, x->id, 103, NULL, 0), ENCKE_E_GONE, ENCKE_E_GONE);
    return;
  case 2:
    expect_one_of(encke_write(h->s, x->id, NULL, 0), ENCKE_E_GONE, ENCKE_E_AGAIN);
    return;
  default:
    break;
  }
  settle(*x);
  *x = held[--nheld];
}

static void on_event(host *host_, const event *x) {
  (void)host_;
  if (x->kind == ENCKE_EV_BODY && x->len) expect_one_of(encke_body_ack(h->s, x->id, x->len), ENCKE_E_GONE, ENCKE_E_GONE);
  if (x->kind != ENCKE_EV_REQUEST) return;
  hold fresh = {x->id, 0, 0};
  if (nheld == HELD_MAX || pick(3) == 0) settle(fresh);
  else held[nheld++] = fresh;
}

static void say_something(peer *p) {
  const char *text = corpus[pick(CORPUS)];
  char changed[1024];
  size_t n = strlen(text);
  memcpy(changed, text, n);
  switch (pick(6)) {
  case 0: n = pick(n) + 1; break; /* cut */
  case 1:                         /* changed */
    for (uint64_t i = 0; i < 1 + pick(3); i++) changed[pick(n)] = (char)pick(256);
    break;
  case 2: /* nothing that makes sense */
    if (pick(4)) break;
    for (size_t i = 0; i < n; i++) changed[i] = (char)pick(256);
    break;
  default: break;
  }
  for (size_t at = 0; at < n;) { /* in pieces */
    size_t part = pick(2) ? n - at : 1 + pick(n - at);
    peer_send_n(p, changed + at, part);
    at += part;
    if (pick(4) == 0) step_now();
  }
}

static void run(uint64_t watch, size_t clients) {
  size_t made = 0, open = 0;
  peer *p[AT_ONCE];
  SECTION(textf("seed %llu, %s", (unsigned long long)seed, watch == ENCKE_WATCH_ONE ? "one fd" : "each watched"));
  h = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_HALF_CLOSED)}, {ENCKE_OPT_BUFFER_BODY, 100},
           {ENCKE_OPT_BODY_WINDOW, 1000}, {ENCKE_OPT_HIGH_WATER, 50000}, {ENCKE_OPT_LOW_WATER, 10000}, {ENCKE_OPT_MAX_PIPELINE, 8},
           {ENCKE_OPT_MAX_HEAD, 2000}, {ENCKE_OPT_MAX_BODY, 100000}, {ENCKE_OPT_CONNECT, 1}, {ENCKE_OPT_WATCH, watch});
  h->on = on_event;
  int port = host_listen(h);
  uint64_t memory = host_stats(h).memory;
  while (made < clients || open > 0) {
    if (open < AT_ONCE && made < clients && pick(2)) {
      p[open] = pick(4) ? peer_tcp(port) : peer_tcp_small(port);
      p[open]->paused = pick(5) == 0;
      open++, made++;
    }
    if (open > 0) {
      size_t i = pick(open);
      uint64_t what = pick(20);
      if (what < 17 && !p[i]->fin_wanted) {
        say_something(p[i]);
      } else if (what == 17) {
        peer_fin(p[i]);
      } else if (what >= 18) {
        if (what == 18) peer_rst(p[i]);
        else peer_close(p[i]);
        p[i] = p[--open];
      }
    }
    if (nheld > 0 && pick(2)) handle(pick(nheld));
    if (pick(3)) step_now();
    if (pick(50) == 0) QUIESCE();
  }
  while (nheld > 0) settle(held[--nheld]);
  h->on = NULL;
  UNTIL(host_all_done(h) && host_stats(h).connections == 0);
  QUIESCE();
  encke_stats stats = host_stats(h);
  CHECK_EQ(stats.held, 0);
  CHECK_EQ(stats.queued_bytes, 0);
  CHECK_EQ(stats.memory, memory);

  size_t before = SEEN(h, REQUEST);
  peer *last = peer_tcp(port);
  peer_send(last, "GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == before + 1);
  answer(h, request_id(h, before), "served");
  UNTIL(peer_finals(last) == 1);
  CHECK_TEXT(peer_nth(last, 0)->body, "served");
  peer_close(last);
  printf("%zu clients, %zu requests\n", clients, before);
  host_close(h);
}

int main(void) {
  const char *from = getenv("ENCKE_TEST_SEED"), *many = getenv("ENCKE_TEST_CLIENTS");
  size_t clients = many ? strtoull(many, NULL, 10) : 2000;
  seed = from ? strtoull(from, NULL, 10) : 2024;
  big = pattern(200000, 1);
  run(ENCKE_WATCH_ONE, clients / 2);
  run(ENCKE_WATCH_EACH, clients / 2);
  free(big);
  return check_end();
}
