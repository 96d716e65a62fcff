/*
 * body.c - request bodies: whole inside REQUEST up to BUFFER_BODY, in credited pieces above it (F5), the limits, answering
 * before the body has come (F6). 100-continue is in expect.c.
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#define BUFFER 1000
#define WINDOW 65536

static host *h;
static int port;
static char *big;

static peer *post(const char *path, const char *framing) {
  peer *p = peer_tcp(port);
  peer_send(p, textf("POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, framing));
  return p;
}

/* Sends n bytes as chunks of up to `size` and the last chunk. */
static void send_chunked(peer *p, const char *data, size_t n, size_t size) {
  for (size_t at = 0; at < n; at += size) {
    size_t part = n - at < size ? n - at : size;
    peer_send(p, textf("%zx\r\n", part));
    peer_send_n(p, data + at, part);
    peer_send(p, "\r\n");
  }
  peer_send(p, "0\r\n\r\n");
}

static size_t body_bytes(encke_id id) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_BODY && h->log[i].id == id) n += h->log[i].len;
  return n;
}

static int body_complete(encke_id id) {
  event *x = host_last(h, ENCKE_EV_BODY, id);
  return x && !x->more;
}

static void check_body(encke_id id, const char *want, size_t n) {
  char *all = need(malloc(n + 1));
  size_t at = 0;
  int last = 0;
  for (size_t i = 0; i < h->n; i++) {
    event *x = &h->log[i];
    if (x->kind != ENCKE_EV_BODY || x->id != id) continue;
    CHECK(!last);
    CHECK(at + x->len <= n);
    if (x->len) memcpy(all + at, x->data, x->len);
    at += x->len;
    last = !x->more;
  }
  CHECK(last);
  CHECK_BYTES(all, at, want, n);
  free(all);
}

static void whole_up_to_buffer_body(void) {
  static const size_t sizes[] = {0, 1, 999, BUFFER};
  for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
    size_t n = sizes[i / 2], before = SEEN(h, REQUEST);
    int chunked = i % 2;
    SECTION(textf("%zu bytes whole, %s", n, chunked ? "chunked" : "Content-Length"));
    peer *p = post("/", chunked ? "Transfer-Encoding: chunked\r\n" : textf("Content-Length: %zu\r\n", n));
    QUIESCE();
    if (n || chunked) CHECK_EQ(SEEN(h, REQUEST), before);
    if (chunked) send_chunked(p, big, n, 333);
    else peer_send_n(p, big, n);
    UNTIL(SEEN(h, REQUEST) == before + 1);
    event *x = host_nth(h, ENCKE_EV_REQUEST, before);
    CHECK(!(x->head->flags & ENCKE_HEAD_BODY_FOLLOWS));
    CHECK_EQ(x->head->content_length, chunked ? ENCKE_UNKNOWN : n);
    CHECK_EQ(x->head->body_len, n);
    CHECK_BYTES(x->data ? x->data : "", x->len, big, n);
    answer(h, x->id, "x");
    UNTIL(peer_finals(p) == 1);
    peer_close(p);
  }
  CHECK_EQ(SEEN(h, BODY), 0);
}

static void ack_at_once(host *host_, const event *x) {
  if (x->kind != ENCKE_EV_BODY || !x->len) return;
  int rc = encke_body_ack(host_->s, x->id, x->len);
  CHECK(rc == ENCKE_OK || rc == ENCKE_E_GONE); /* GONE: an ABORTED is under way */
}

static void in_pieces_above_it(void) {
  static const size_t sizes[] = {BUFFER + 1, 70000, 1000000};
  h->on = ack_at_once;
  for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
    size_t n = sizes[i / 2], before = SEEN(h, REQUEST);
    int chunked = i % 2;
    SECTION(textf("%zu bytes in pieces, %s", n, chunked ? "chunked" : "Content-Length"));
    peer *p = post("/", chunked ? "Transfer-Encoding: chunked\r\n" : textf("Content-Length: %zu\r\n", n));
    if (chunked) send_chunked(p, big, n, 7777);
    else peer_send_n(p, big, n);
    peer_send(p, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"); /* and the next request is found behind it */
    UNTIL(SEEN(h, REQUEST) == before + 2);
    encke_id id = request_id(h, before);
    event *x = host_last(h, ENCKE_EV_REQUEST, id);
    CHECK(x->head->flags & ENCKE_HEAD_BODY_FOLLOWS);
    CHECK_EQ(x->head->content_length, chunked ? ENCKE_UNKNOWN : n);
    UNTIL(body_complete(id));
    check_body(id, big, n);
    answer(h, id, "x");
    answer(h, request_id(h, before + 1), "y");
    UNTIL(peer_finals(p) == 2);
    CHECK_TEXT(peer_nth(p, 1)->body, "y");
    peer_close(p);
  }
  h->on = NULL;
}

static void credit_window(void) {
  SECTION("at most BODY_WINDOW bytes without an ack");
  size_t n = 1000000, acked = 0, before = SEEN(h, REQUEST);
  peer *p = post("/", textf("Content-Length: %zu\r\n", n));
  peer_send_n(p, big, n);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  encke_id id = request_id(h, before);
  uint64_t seed = 5;
  while (!body_complete(id)) {
    UNTIL(body_bytes(id) > acked || body_complete(id));
    QUIESCE(); /* and the fd keeps quiet while the window is full */
    size_t open = body_bytes(id) - acked;
    CHECK(open <= WINDOW);
    if (open == 0) break;
    size_t part = 1 + random_next(&seed) % open; /* the unit of an ack is the byte, not the event */
    if (part < open / 2) part = open / 2;
    CHECK_OK(encke_body_ack(h->s, id, part));
    acked += part;
  }
  check_body(id, big, n);
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
}

typedef struct {
  encke_sender *s;
  pthread_mutex_t lock;
  pthread_cond_t more;
  encke_id id;
  size_t due;
  int over;
} acker;

static acker worker = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void *ack_from_here(void *unused) {
  (void)unused;
  pthread_mutex_lock(&worker.lock);
  while (!worker.over) {
    if (!worker.due) {
      pthread_cond_wait(&worker.more, &worker.lock);
      continue;
    }
    size_t n = worker.due;
    worker.due = 0;
    pthread_mutex_unlock(&worker.lock);
    CHECK_OK(encke_body_ack(worker.s, worker.id, n));
    pthread_mutex_lock(&worker.lock);
  }
  pthread_mutex_unlock(&worker.lock);
  return NULL;
}

static void pass_to_worker(host *host_, const event *x) {
  (void)host_;
  if (x->kind != ENCKE_EV_BODY) return;
  pthread_mutex_lock(&worker.lock);
  worker.id = x->id;
  worker.due += x->len;
  pthread_cond_signal(&worker.more);
  pthread_mutex_unlock(&worker.lock);
}

static void acks_from_a_thread(void) {
  SECTION("acks from a thread");
  pthread_t thread;
  size_t n = 1000000, before = SEEN(h, REQUEST);
  worker.s = h->s;
  CHECK(pthread_create(&thread, NULL, ack_from_here, NULL) == 0);
  h->on = pass_to_worker;
  peer *p = post("/", textf("Content-Length: %zu\r\n", n));
  peer_send_n(p, big, n);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  encke_id id = request_id(h, before);
  UNTIL(body_complete(id));
  h->on = NULL;
  pthread_mutex_lock(&worker.lock);
  worker.over = 1;
  pthread_cond_signal(&worker.more);
  pthread_mutex_unlock(&worker.lock);
  pthread_join(thread, NULL);
  check_body(id, big, n);
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
}

static void too_large(void) {
  SECTION("more than MAX_BODY by Content-Length: 413, not delivered");
  host *small = HOST({ENCKE_OPT_BUFFER_BODY, 100}, {ENCKE_OPT_MAX_BODY, 10000});
  host *saved = h;
  h = small, port = host_listen(h);
  peer *p = post("/", "Content-Length: 10001\r\n");
  UNTIL(p->eof);
  CHECK_EQ(peer_nth(p, 0)->status, 413);
  CHECK_EQ(SEEN(h, REQUEST), 0);
  peer_close(p);

  SECTION("more than MAX_BODY in chunks: ABORTED");
  h->on = ack_at_once;
  p = post("/", "Transfer-Encoding: chunked\r\n");
  peer_send(p, "c8\r\n");
  peer_send_n(p, big, 200);
  peer_send(p, "\r\n");
  UNTIL(SEEN(h, REQUEST) == 1);
  send_chunked(p, big, 50000, 1000);
  UNTIL(SEEN(h, ABORTED) == 1);
  encke_id id = request_id(h, 0);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, id)->code, ENCKE_END_LIMIT);
  CHECK(body_bytes(id) <= 10000);
  CHECK(!body_complete(id));
  CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  UNTIL(p->eof && host_all_done(h));
  if (peer_finals(p)) CHECK_EQ(peer_nth(p, 0)->status, 413);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_LIMIT);
  peer_close(p);

  SECTION("malformed framing in the middle: ABORTED");
  size_t aborted = SEEN(h, ABORTED);
  p = post("/", "Transfer-Encoding: chunked\r\n");
  peer_send(p, "c8\r\n");
  peer_send_n(p, big, 200);
  peer_send(p, "\r\nnonsense\r\n");
  UNTIL(SEEN(h, ABORTED) == aborted + 1 || p->eof);
  QUIESCE();
  if (SEEN(h, REQUEST) == 2) { /* it was delivered before the fault was seen */
    id = request_id(h, 1);
    CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, id)->code, ENCKE_END_PROTOCOL);
    CHECK(!body_complete(id));
    CHECK_RC(encke_reply(h->s, id, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  }
  UNTIL(p->eof && host_all_done(h));
  if (peer_finals(p)) CHECK_EQ(peer_nth(p, 0)->status, 400);
  peer_close(p);
  host_close(h);
  h = saved;
}

static void settled_before_its_end(void) {
  for (int rest = 0; rest < 3; rest++) {
    SECTION(rest == 0 ? "settled early, a short rest comes later" : rest == 1 ? "settled early, the rest is long" : "settled early, the rest never comes");
    size_t n = rest == 1 ? (size_t)8 << 20 : 3000, before = SEEN(h, REQUEST);
    peer *p = post("/", textf("Content-Length: %zu\r\n", n));
    peer_send_n(p, big, 1500);
    UNTIL(SEEN(h, REQUEST) == before + 1);
    encke_id id = request_id(h, before);
    QUIESCE();
    answer(h, id, "early");
    size_t pieces = host_count(h, ENCKE_EV_BODY, id);
    UNTIL(peer_finals(p) == 1);
    CHECK_TEXT(peer_nth(p, 0)->body, "early");
    if (rest == 0) {
      peer_send_n(p, big + 1500, n - 1500);
      peer_send(p, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    } else if (rest == 1) {
      peer_send_n(p, big, n - 1500);
    } else {
      peer_fin(p);
    }
    /* The rest is read and dropped, or the connection closes after the answer. */
    if (rest == 0) {
      UNTIL(p->eof || SEEN(h, REQUEST) == before + 2);
      if (SEEN(h, REQUEST) == before + 2) {
        CHECK_TEXT(host_nth(h, ENCKE_EV_REQUEST, before + 1)->target, "/next");
        answer(h, request_id(h, before + 1), "next");
        UNTIL(peer_finals(p) == 2);
      }
    } else if (rest == 1) {
      UNTIL(p->eof || peer_sent(p));
    } else {
      UNTIL(p->eof);
    }
    CHECK_EQ(host_count(h, ENCKE_EV_BODY, id), pieces);
    peer_close(p);
    UNTIL(host_all_done(h));
  }
}

static void echo(host *host_, const event *x) {
  if (x->kind != ENCKE_EV_BODY) return;
  if (x->len) {
    CHECK_OK(encke_write(host_->s, x->id, x->data, x->len));
    CHECK_OK(encke_body_ack(host_->s, x->id, x->len));
  }
  if (!x->more) CHECK_OK(encke_end(host_->s, x->id, NULL, 0));
}

static void begin_on_request(host *host_, const event *x) {
  encke_response r;
  if (x->kind == ENCKE_EV_REQUEST) {
    memset(&r, 0, sizeof r);
    r.status = 200;
    CHECK_OK(encke_begin(host_->s, x->id, &r, sizeof r));
  }
  echo(host_, x);
}

static void answered_while_it_comes(void) {
  SECTION("begin and write while the body comes");
  size_t n = 200000;
  h->on = begin_on_request;
  peer *p = post("/echo", "Transfer-Encoding: chunked\r\n");
  for (size_t at = 0; at < n; at += 20000) {
    peer_send(p, "4e20\r\n");
    peer_send_n(p, big + at, 20000);
    peer_send(p, "\r\n");
    size_t seen = p->n;
    UNTIL(p->n > seen); /* what was sent so far comes back before more is sent */
  }
  peer_send(p, "0\r\n\r\n");
  UNTIL(peer_finals(p) == 1);
  CHECK_BYTES(peer_nth(p, 0)->body, peer_nth(p, 0)->len, big, n);
  h->on = NULL;
  peer_close(p);
}

int main(void) {
  big = pattern((size_t)8 << 20, 4);
  h = HOST({ENCKE_OPT_BUFFER_BODY, BUFFER}, {ENCKE_OPT_BODY_WINDOW, WINDOW}, {ENCKE_OPT_MAX_BODY, 64 << 20},
           {ENCKE_OPT_HIGH_WATER, 1 << 20});
  port = host_listen(h);
  whole_up_to_buffer_body();
  in_pieces_above_it();
  credit_window();
  acks_from_a_thread();
  settled_before_its_end();
  answered_while_it_comes();
  UNTIL(host_all_done(h));
  too_large();
  host_close(h);
  free(big);
  return check_end();
}
