/*
 * tls_big.c - much data over TLS, both ways. The rule: every way to answer brings the same bytes as without TLS, whoever is
 * slow; a small answer is one record, a large one is as few as can be, and nothing that was lent is kept.
 */
#include "tls.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define SIZE ((size_t)6 << 20)
#define RECORD 16384

static host *h;
static int port, version;
static char *big;

static void section(const char *name) { SECTION(textf("TLS 1.%d: %s", version - 10, name)); }

static encke_response with(uint32_t flags) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = flags;
  return r;
}

static size_t released(uint64_t cookie) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++) n += h->log[i].kind == ENCKE_EV_RELEASED && h->log[i].cookie == cookie;
  return n;
}

static int file_of(const char *data, size_t n) {
  char name[] = "/tmp/encke-test-XXXXXX";
  int file = mkstemp(name);
  CHECK(file >= 0);
  unlink(name);
  for (size_t at = 0; at < n;) {
    ssize_t k = write(file, data + at, n - at);
    CHECK(k > 0);
    at += (size_t)k;
  }
  return file;
}

static void gets_all(peer *p, encke_id id, size_t n) {
  size_t before = peer_finals(p);
  UNTIL(peer_finals(p) > before && host_count(h, ENCKE_EV_DONE, id) == 1);
  response *r = peer_nth(p, before);
  CHECK_BYTES(r->body, r->len, big, n);
  CHECK(!r->truncated);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->len, n);
}

static void answer_at_once(host *host_, const event *x) {
  if (x->kind == ENCKE_EV_REQUEST) answer(host_, x->id, "at once");
}

/* ---- records ------------------------------------------------------------------------------------------------------------- */

static void records(void) {
  section("head and small body go out in one record");
  peer *p = TLS(port, .version = version);
  served(h, p); /* with the ticket behind it nothing else is on the way */
  QUIESCE();
  static const size_t sizes[] = {0, 1, 100, 1000, 10000, 16000};
  encke_field fields[2] = {field("content-type", "text/plain"), field("x-more", "some")};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int way = 0; way < 4; way++) {
      encke_id id = ask(h, p, GET);
      size_t before = tls_records(p);
      encke_response r = with(way == 1 ? ENCKE_BORROW : 0);
      r.body = big, r.body_len = sizes[i], r.fields = fields, r.nfields = 2;
      if (way == 0) {
        CHECK_OK(encke_reply(h->s, id, 200, "text/plain", big, sizes[i]));
      } else if (way < 3) {
        CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
      } else { /* the head is not sent before its first piece is there: all of it within one drain */
        r.flags = ENCKE_LENGTH, r.length = sizes[i];
        CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
        CHECK_OK(encke_end(h->s, id, NULL, 0));
      }
      gets_all(p, id, sizes[i]);
      if (tls_records(p) != before + 1)
        check_fail(__FILE__, __LINE__, "%zu bytes, way %d: %zu records", sizes[i], way, tls_records(p) - before);
    }
  section("answers of one drain share records");
  size_t first = SEEN(h, REQUEST), before = tls_records(p), finals = peer_finals(p);
  char many[50 * sizeof GET] = "";
  for (int i = 0; i < 50; i++) strcat(many, GET);
  h->on = answer_at_once;
  peer_send(p, many);
  UNTIL(peer_finals(p) == finals + 50);
  h->on = NULL;
  CHECK_EQ(SEEN(h, REQUEST), first + 50);
  CHECK(tls_records(p) - before <= 4);
  section("large ones fill their records");
  before = tls_records(p);
  encke_id id = ask(h, p, GET);
  CHECK_OK(encke_reply(h->s, id, 200, "text/plain", big, SIZE));
  gets_all(p, id, SIZE);
  size_t least = SIZE / RECORD;
  if (tls_records(p) - before > least + least / 8)
    check_fail(__FILE__, __LINE__, "%zu records where %zu would do", tls_records(p) - before, least);
  peer_close(p);
}

/* ---- out ----------------------------------------------------------------------------------------------------------------- */

enum { COPY, BORROW, SENDFILE, STREAM, SMALL_WRITES, WAYS };
static const char *const ways[] = {"copied", "borrowed", "a file", "streamed", "in small writes"};
static encke_id streaming;
static size_t written, piece;

static void go_on(void) {
  while (streaming && written < SIZE) {
    size_t n = SIZE - written < piece ? SIZE - written : piece;
    int rc = encke_write(h->s, streaming, big + written, n);
    if (rc == ENCKE_E_AGAIN) return;
    CHECK_OK(rc);
    written += n;
  }
  if (streaming) CHECK_OK(encke_end(h->s, streaming, NULL, 0));
  streaming = 0;
}

static void on_event(host *host_, const event *x) {
  (void)host_;
  if (x->kind == ENCKE_EV_WRITABLE && x->id == streaming) go_on();
}

static int send_by(encke_id id, int way, char *lent) {
  encke_response r = with(way == BORROW ? ENCKE_BORROW : way == SENDFILE ? ENCKE_FILE : 0);
  int file = -1;
  switch (way) {
  case COPY: CHECK_OK(encke_reply(h->s, id, 200, "text/plain", big, SIZE)); break;
  case BORROW:
    r.body = lent, r.body_len = SIZE, r.cookie = id;
    CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
    break;
  case SENDFILE:
    r.file = file = file_of(big, SIZE), r.length = ENCKE_UNKNOWN;
    CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
    break;
  default:
    CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
    streaming = id, written = 0, piece = way == STREAM ? 100000 : 700;
    go_on();
  }
  return file;
}

static void out(int way, int slow) {
  section(textf("%s%s", ways[way], slow ? ", to a slow reader" : ""));
  char *lent = need(malloc(SIZE));
  memcpy(lent, big, SIZE);
  peer *p = TLS(port, .version = version, .small = slow);
  encke_id id = ask(h, p, GET);
  p->paused = slow;
  int file = send_by(id, way, lent);
  if (slow) {
    QUIESCE(); /* the socket is full, and the fd is silent over it */
    CHECK_EQ(host_count(h, ENCKE_EV_DONE, id), 0);
    CHECK_EQ(released(id), 0);
    p->paused = 0;
  }
  gets_all(p, id, SIZE);
  if (way == BORROW) {
    UNTIL(released(id) == 1);
    memset(lent, 0, SIZE);
  }
  if (file >= 0) UNTIL(!fd_open(file));
  served(h, p);
  peer_close(p);
  free(lent);
}

/* What was lent comes back also where the peer does not take it. */
static void out_and_gone(int way) {
  section(textf("%s, to one that leaves", ways[way]));
  char *lent = need(malloc(SIZE));
  memcpy(lent, big, SIZE);
  peer *p = TLS(port, .version = version, .small = 1);
  encke_id id = ask(h, p, GET);
  p->paused = 1;
  int file = send_by(id, way, lent);
  QUIESCE();
  peer_rst(p);
  if (way >= STREAM) {
    UNTIL(host_count(h, ENCKE_EV_ABORTED, id) == 1);
    CHECK_RC(encke_abort(h->s, id), ENCKE_E_GONE);
    streaming = 0;
  }
  UNTIL(host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_PEER);
  if (way == BORROW) CHECK_EQ(released(id), 1);
  if (file >= 0) UNTIL(!fd_open(file));
  UNTIL(host_stats(h).connections == 0);
  CHECK_EQ(host_stats(h).memory, 0);
  free(lent);
}

static void short_file(void) {
  section("a file that shrank");
  int file = file_of(big, SIZE), other = dup(file);
  peer *p = TLS(port, .version = version, .small = 1);
  encke_id id = ask(h, p, GET);
  p->paused = 1;
  encke_response r = with(ENCKE_FILE);
  r.file = file, r.length = SIZE;
  CHECK_OK(encke_respond(h->s, id, &r, sizeof r));
  QUIESCE();
  CHECK(ftruncate(other, 1000) == 0);
  p->paused = 0;
  UNTIL(p->eof && host_count(h, ENCKE_EV_DONE, id) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  CHECK(p->reset && !tls_closed(p)); /* no clean end that a client may take for the whole */
  CHECK(peer_finals(p) == 0 || peer_nth(p, 0)->truncated);
  peer_close(p);
  close(other);
}

/* ---- in ------------------------------------------------------------------------------------------------------------------ */

static char *got;
static size_t got_n;

static void takes(host *host_, const event *x) {
  if (x->kind != ENCKE_EV_BODY) return;
  CHECK(got_n + x->len <= SIZE);
  if (x->len) memcpy(got + got_n, x->data, x->len);
  got_n += x->len;
  CHECK_OK(encke_body_ack(host_->s, x->id, x->len));
  if (!x->more) answer(host_, x->id, "got it");
}

static void in(int chunked) {
  section(chunked ? "a large body in chunks" : "a large body with its length");
  got = need(malloc(SIZE)), got_n = 0;
  h->on = takes;
  peer *p = TLS(port, .version = version);
  peer_ready(p);
  peer_send(p, chunked ? "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                       : textf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", SIZE));
  for (size_t at = 0, n; at < SIZE; at += n) {
    n = SIZE - at < 100000 ? SIZE - at : 100000;
    if (chunked) peer_send(p, textf("%zx\r\n", n));
    peer_send_n(p, big + at, n);
    if (chunked) peer_send(p, "\r\n");
    if (version == 13 && at % 1000000 == 0) tls_update_keys(p);
  }
  if (chunked) peer_send(p, "0\r\n\r\n");
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "got it");
  CHECK_BYTES(got, got_n, big, SIZE);
  h->on = NULL;
  served(h, p);
  peer_close(p);
  free(got);
}

static void run(uint64_t watch) {
  h = HOST({ENCKE_OPT_WATCH, watch});
  encke_tls *tls = tls_with(CERT(.names = "server.test"));
  port = host_listen_tls(h, tls);
  encke_tls_free(tls);
  for (version = watch == ENCKE_WATCH_ONE ? 12 : 13; version <= 13; version++) {
    records();
    h->on = on_event;
    for (int way = 0; way < WAYS; way++) {
      out(way, 0);
      out(way, 1);
      out_and_gone(way);
    }
    short_file();
    in(0);
    in(1);
  }
  UNTIL(host_all_done(h) && host_stats(h).connections == 0);
  CHECK_EQ(host_stats(h).memory, 0);
  host_close(h);
}

int main(void) {
  big = pattern(SIZE, 6);
  run(ENCKE_WATCH_ONE);
  run(ENCKE_WATCH_EACH);
  free(big);
  return check_end();
}
