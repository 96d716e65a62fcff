/*
 * bounds.c - what one peer, or a host that answers as it should, can make the library keep. The rule: memory is bounded by
 * the settings and told by the stats; what is beyond stays in the kernel, and nothing is lost when it goes on.
 */
#include "check.h"

#include <sys/socket.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static int port;

#define OPEN(...)                                                                                                      \
  do {                                                                                                                 \
    h = HOST(__VA_ARGS__);                                                                                             \
    port = host_listen(h);                                                                                             \
  } while (0)

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static size_t resident(void) { /* bytes; 0: not told here */
  unsigned long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f) return 0;
  if (fscanf(f, "%*u %lu", &pages) != 1) pages = 0;
  fclose(f);
  return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- a stream --------------------------------------------------------------------------------------------------------- */

static void endless_stream(void) {
  SECTION("a stream of small writes whose queue is never quite empty");
  enum { high = 1 << 20, low = 768 << 10, piece = 1000, total = 100 << 20, allowed = 40 << 20 };
  OPEN({ENCKE_OPT_HIGH_WATER, high}, {ENCKE_OPT_LOW_WATER, low});
  char *data = pattern(piece, 1), *scratch = need(malloc(64 << 10)), text[32];
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  int send_buffer = 128 << 10; /* doubled by the kernel: less than fits between the marks and nothing */
  CHECK_OK(encke_info(h->e, id, ENCKE_INFO_FD, text, sizeof text, NULL));
  CHECK(setsockopt(atoi(text), SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer) == 0);
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  CHECK_OK(encke_begin(h->s, id, &r, sizeof r));
  p->paused = 1; /* this test reads by itself, and keeps nothing */
  size_t before = resident(), written = 0, promised = 0;
  for (moment until = deadline(); written < total;) {
    if (SEEN(h, WRITABLE) == promised) {
      int rc;
      while ((rc = encke_write(h->s, id, data, piece)) == ENCKE_OK) written += piece;
      CHECK_RC(rc, ENCKE_E_AGAIN);
      promised++;
    }
    encke_stats stats = host_stats(h);
    CHECK(stats.queued_bytes > 0);
    CHECK(stats.queued_bytes < 2 * high);
    CHECK(stats.memory < 2 * high);
    for (ssize_t n = 1; n > 0;) n = recv(p->fd, scratch, 64 << 10, MSG_DONTWAIT);
    if (host_readable(h, 1)) host_loop(h);
    CHECK(host_tls() || host_stats(h).queued_bytes > 0); /* while TLS encrypts the kernel may get rid of all of it */
    if (now_ms() > until) check_late(__FILE__, __LINE__, "all of the stream was written");
  }
  size_t after = resident();
  if (after > before + allowed)
    check_fail(__FILE__, __LINE__, "%zu MB more are resident than before the stream", (after - before) >> 20);
  peer_rst(p);
  UNTIL(SEEN(h, ABORTED) == 1);
  CHECK_RC(encke_abort(h->s, id), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  CHECK_EQ(host_stats(h).memory, 0);
  host_close(h);
  free(data);
  free(scratch);
}

/* ---- a pipeline ------------------------------------------------------------------------------------------------------- */

static char *body;
static size_t body_len;

static void answer_at_once(host *host_, const event *x) {
  if (x->kind != ENCKE_EV_REQUEST || strcmp(x->target, "/held") == 0) return;
  CHECK_OK(encke_reply(host_->s, x->id, 200, "text/plain", body, body_len));
}

static void piled_up(const char *section, uint64_t pipeline, uint64_t high, size_t len, size_t most, uint64_t most_bytes) {
  enum { requests = 4000 };
  SECTION(section);
  OPEN({ENCKE_OPT_MAX_PIPELINE, pipeline}, {ENCKE_OPT_HIGH_WATER, high}, {ENCKE_OPT_LOW_WATER, high / 2});
  body = pattern(body_len = len, 3);
  h->on = answer_at_once;
  peer *p = peer_tcp(port);
  peer_send(p, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
  for (int i = 1; i < requests; i++) peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) > 1);
  QUIESCE();
  encke_stats stats = host_stats(h);
  if (SEEN(h, REQUEST) > most) check_fail(__FILE__, __LINE__, "%zu requests behind a held one", SEEN(h, REQUEST));
  if (stats.memory > most_bytes) check_fail(__FILE__, __LINE__, "%llu bytes behind a held one", (unsigned long long)stats.memory);
  CHECK_EQ(p->n, 0);
  CHECK_EQ(stats.held, 1);
  answer(h, target_id(h, "/held"), "held"); /* and all of it goes on */
  UNTIL(peer_finals(p) == requests);
  CHECK_TEXT(peer_nth(p, 0)->body, "held");
  for (size_t i = 1; i < requests; i++) CHECK_BYTES(peer_nth(p, i)->body, peer_nth(p, i)->len, body, body_len);
  UNTIL(host_all_done(h));
  peer_close(p);
  UNTIL(host_stats(h).connections == 0);
  CHECK_EQ(host_stats(h).memory, 0);
  host_close(h);
  free(body);
}

/* ---- bodies ----------------------------------------------------------------------------------------------------------- */

#define UPLOADS 16

static void collected_bodies(int chunked) {
  enum { most = 64 << 10, sent = 48 << 10, cap = 256 << 10, large = 1 << 20 };
  char *data = pattern(large, 4);
  peer *p[UPLOADS];
  SECTION(chunked ? "chunked bodies that are being collected are memory" : "bodies that are being collected are memory");
  OPEN({ENCKE_OPT_BUFFER_BODY, most});
  for (int i = 0; i < UPLOADS; i++) {
    p[i] = peer_tcp(port);
    peer_send(p[i], chunked ? "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n"
                            : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n");
    peer_send_n(p[i], data, sent);
  }
  UNTIL(host_stats(h).bytes_in >= (uint64_t)UPLOADS * sent);
  QUIESCE();
  CHECK_EQ(SEEN(h, REQUEST), 0);
  CHECK(host_stats(h).memory >= (uint64_t)UPLOADS * sent);
  CHECK(host_stats(h).memory < (uint64_t)2 * UPLOADS * most);
  for (int i = 0; i < UPLOADS; i++) { /* some come to their end, some do not */
    if (i % 2) {
      peer_rst(p[i]);
      continue;
    }
    peer_send_n(p[i], data + sent, most - sent);
    if (chunked) peer_send(p[i], "\r\n0\r\n\r\n");
  }
  UNTIL(SEEN(h, REQUEST) == UPLOADS / 2 && host_stats(h).connections == UPLOADS / 2);
  for (size_t i = 0; i < UPLOADS / 2; i++) {
    event *x = host_nth(h, ENCKE_EV_REQUEST, i);
    CHECK_BYTES(x->data, x->len, data, most);
    answer(h, x->id, "x");
  }
  UNTIL(host_all_done(h));
  for (int i = 0; i < UPLOADS; i += 2) peer_close(p[i]);
  UNTIL(host_stats(h).connections == 0);
  CHECK_EQ(host_stats(h).memory, 0);
  host_close(h);

  SECTION(chunked ? "chunked bodies and MAX_MEMORY" : "bodies that are being collected and MAX_MEMORY");
  OPEN({ENCKE_OPT_BUFFER_BODY, large}, {ENCKE_OPT_MAX_MEMORY, cap});
  for (int i = 0; i < UPLOADS; i++) {
    p[i] = peer_tcp(port);
    peer_send(p[i], chunked ? "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n"
                            : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
    peer_send_n(p[i], data, large - 1);
  }
  UNTIL(host_stats(h).memory >= cap - cap / 8); /* the rest is not for what is unfinished */
  QUIESCE();
  CHECK(host_stats(h).memory < 2 * cap);
  for (int i = 0; i < UPLOADS; i++) peer_rst(p[i]);
  UNTIL(host_stats(h).connections == 0);
  CHECK_EQ(host_stats(h).memory, 0);
  host_close(h);
  free(data);
}

static void tiny_chunks(void) {
  enum { chunks = 2000 };
  SECTION("many chunks of one byte come in few events");
  OPEN({ENCKE_OPT_BUFFER_BODY, 0});
  char want[chunks], got[chunks];
  size_t n = 0;
  char *wire = need(malloc(chunks * 8)), *at = wire;
  for (int i = 0; i < chunks; i++) {
    want[i] = (char)('a' + i % 26);
    at += sprintf(at, "1\r\n%c\r\n", want[i]);
  }
  peer *p = peer_tcp(port);
  peer_send(p, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  peer_send_n(p, wire, (size_t)(at - wire));
  peer_send(p, "0\r\n\r\n");
  UNTIL(SEEN(h, BODY) > 0 && !host_last(h, ENCKE_EV_BODY, request_id(h, 0))->more);
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_BODY) {
      CHECK(n + h->log[i].len <= chunks);
      memcpy(got + n, h->log[i].data, h->log[i].len);
      n += h->log[i].len;
    }
  CHECK_BYTES(got, n, want, (size_t)chunks);
  if (SEEN(h, BODY) > chunks / 20) check_fail(__FILE__, __LINE__, "%zu events for %d bytes", SEEN(h, BODY), (int)chunks);
  answer(h, request_id(h, 0), "x");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
  host_close(h);
  free(wire);
}

static void behind_the_last_request(void) {
  enum { junk = 16 << 20, most = 1 << 20 };
  SECTION("endless bytes behind the last request");
  OPEN({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)});
  peer *p = peer_tcp(port);
  char *data = pattern(junk, 6);
  encke_id id = next_request(p, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  peer_send_n(p, data, junk);
  QUIESCE();
  CHECK(host_stats(h).bytes_in < most);
  CHECK(host_stats(h).memory < most);
  CHECK(!p->eof);
  answer(h, id, "the last");
  UNTIL(peer_finals(p) == 1);
  CHECK_EQ(peer_nth(p, 0)->status, 200);
  CHECK_TEXT(peer_nth(p, 0)->body, "the last");
  UNTIL(host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
  peer_close(p);
  host_close(h);
  free(data);
}

int main(void) {
  endless_stream();
  piled_up("answers behind a held request: no more than the pipeline", 16, 256 << 10, 100, 16 + 1, 256 << 10);
  /* One drain is at the most 256 events long: what they are answered with may be on top. */
  piled_up("answers behind a held request: no more than HIGH_WATER", 100000, 64 << 10, 1000, 1000, (64 << 10) + 400 * 1200);
  collected_bodies(0);
  collected_bodies(1);
  tiny_chunks();
  behind_the_last_request();
  return check_end();
}
