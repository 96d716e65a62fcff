/*
 * borrow.c - bodies that are not copied: ENCKE_BORROW and ENCKE_FILE. The rule: each OK with BORROW is followed by exactly
 * one RELEASED with its cookie, a file is closed by the library, and what was not OK is still the host's (L4).
 */
#include "check.h"

#include <fcntl.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define SIZE ((size_t)8 << 20)

static host *h;
static int port;
static char *big;

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static int lend(encke_id id, uint32_t status, const void *body, size_t n, uint64_t cookie) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = status, r.flags = ENCKE_BORROW, r.body = body, r.body_len = n, r.cookie = cookie;
  return encke_respond(h->s, id, &r, sizeof r);
}

static size_t released(uint64_t cookie) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++) n += h->log[i].kind == ENCKE_EV_RELEASED && h->log[i].cookie == cookie;
  return n;
}

static void sent_whole(void) {
  SECTION("sent whole, small and large, then overwritten");
  static const size_t sizes[] = {1, 1000, 70000, SIZE};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char *body = pattern(sizes[i], 6);
    peer *p = peer_tcp(port);
    encke_id id = next_request(p, GET);
    CHECK_OK(lend(id, 200, body, sizes[i], 100 + i));
    UNTIL(released(100 + i) == 1);
    memset(body, 0, sizes[i]); /* it is the host's again */
    UNTIL(peer_finals(p) == 1 && host_count(h, ENCKE_EV_DONE, id) == 1);
    CHECK_BYTES(peer_nth(p, 0)->body, peer_nth(p, 0)->len, big, sizes[i]);
    CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->len, sizes[i]);
    free(body);
    peer_close(p);
  }
}

static void nothing_is_sent(void) {
  SECTION("HEAD, 204, 304 and nothing: released all the same");
  peer *p = peer_tcp(port);
  p->head_only = 1;
  CHECK_OK(lend(next_request(p, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), 200, big, 5000, 201));
  CHECK_OK(lend(next_request(p, GET), 204, big, 5000, 202));
  CHECK_OK(lend(next_request(p, GET), 304, big, 5000, 203));
  CHECK_OK(lend(next_request(p, GET), 200, big, 0, 204));
  UNTIL(peer_finals(p) == 4 && host_all_done(h));
  for (uint64_t cookie = 201; cookie <= 204; cookie++) CHECK_EQ(released(cookie), 1);
  peer_close(p);
}

static void refused(void) {
  SECTION("not OK: still the host's, never RELEASED");
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, GET);
  encke_field evil = field("x", "a\nb");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = ENCKE_BORROW, r.body = big, r.body_len = SIZE, r.cookie = 301, r.fields = &evil, r.nfields = 1;
  CHECK_RC(encke_respond(h->s, id, &r, sizeof r), ENCKE_E_INVAL);
  answer(h, id, "x");
  CHECK_RC(lend(id, 200, big, SIZE, 302), ENCKE_E_GONE);
  UNTIL(peer_finals(p) == 1);
  id = next_request(p, GET);
  peer_rst(p);
  UNTIL(host_count(h, ENCKE_EV_ABORTED, id) == 1);
  CHECK_RC(lend(id, 200, big, SIZE, 303), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  QUIESCE();
  for (uint64_t cookie = 301; cookie <= 303; cookie++) CHECK_EQ(released(cookie), 0);
}

static void cut_short(void) {
  SECTION("the peer resets in the middle");
  peer *p = peer_tcp_small(port);
  p->paused = 1;
  encke_id id = next_request(p, GET);
  CHECK_OK(lend(id, 200, big, SIZE, 401));
  QUIESCE();
  CHECK_EQ(released(401), 0);
  peer_rst(p);
  UNTIL(released(401) == 1 && host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_PEER);

  SECTION("the host cuts the connection in the middle");
  p = peer_tcp_small(port);
  p->paused = 1;
  id = next_request(p, GET);
  encke_id connection = host_last(h, ENCKE_EV_REQUEST, id)->head->connection;
  CHECK_OK(lend(id, 200, big, SIZE, 402));
  QUIESCE();
  CHECK_OK(encke_close(h->e, connection));
  UNTIL(released(402) == 1 && host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  peer_close(p);

  SECTION("behind an answer that is aborted");
  p = peer_tcp(port);
  size_t before = SEEN(h, REQUEST);
  peer_send(p, GET GET GET);
  UNTIL(SEEN(h, REQUEST) == before + 3);
  encke_id first = request_id(h, before);
  CHECK_OK(lend(request_id(h, before + 1), 200, big, SIZE, 403));
  CHECK_OK(lend(request_id(h, before + 2), 200, big, 10, 404));
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  CHECK_OK(encke_begin(h->s, first, &r, sizeof r));
  UNTIL(p->n > 0);
  CHECK_EQ(released(403) + released(404), 0);
  CHECK_OK(encke_abort(h->s, first)); /* begun: the connection is cut */
  UNTIL(p->eof && released(403) == 1 && released(404) == 1 && host_all_done(h));
  peer_close(p);
}

static void freed_with_the_encke(void) {
  SECTION("encke_free gives every buffer back before it returns");
  host *saved = h;
  h = HOST_PLAIN();
  peer *p = peer_tcp_small(host_listen(h));
  p->paused = 1;
  char *body = pattern(SIZE, 7);
  char name[] = "/tmp/encke-test-XXXXXX";
  int file = mkstemp(name);
  CHECK(file >= 0 && ftruncate(file, 100000) == 0);
  unlink(name);
  peer_send(p, GET GET);
  UNTIL(SEEN(h, REQUEST) == 2);
  CHECK_OK(lend(request_id(h, 0), 200, body, SIZE, 501));
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = ENCKE_FILE, r.file = file, r.length = ENCKE_UNKNOWN;
  CHECK_OK(encke_respond(h->s, request_id(h, 1), &r, sizeof r));
  QUIESCE();
  CHECK(fd_open(file));
  host_close(h);
  CHECK(!fd_open(file));
  memset(body, 0, SIZE);
  free(body);
  h = saved;
  peer_close(p);
}

/* ---- files -------------------------------------------------------------------------------------------------------------- */

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

static int send_file(encke_id id, int file, uint64_t offset, uint64_t length) {
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = ENCKE_FILE, r.file = file, r.offset = offset, r.length = length;
  return encke_respond(h->s, id, &r, sizeof r);
}

static void files(void) {
  static const struct { uint64_t offset, length, n; } cases[] = {
      {0, SIZE, SIZE}, {0, ENCKE_UNKNOWN, SIZE}, {1000, ENCKE_UNKNOWN, SIZE - 1000}, {12345, 100, 100}, {SIZE, ENCKE_UNKNOWN, 0},
      {SIZE - 7, 7, 7}, {4096, 0, 0},
  };
  peer *p = peer_tcp(port);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    SECTION(textf("a file from %llu, case %zu", (unsigned long long)cases[i].offset, i));
    int file = file_of(big, SIZE);
    encke_id id = next_request(p, GET);
    CHECK_OK(send_file(id, file, cases[i].offset, cases[i].length));
    UNTIL(peer_finals(p) == i + 1 && host_all_done(h));
    CHECK_BYTES(peer_nth(p, i)->body, peer_nth(p, i)->len, big + cases[i].offset, cases[i].n);
    CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_OK);
    CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->len, cases[i].n);
    UNTIL(!fd_open(file));
  }
  SECTION("not OK: the file is still the host's");
  int file = file_of(big, 1000);
  encke_id id = next_request(p, GET);
  encke_field evil = field("x", "a\nb");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200, r.flags = ENCKE_FILE, r.file = file, r.length = ENCKE_UNKNOWN, r.fields = &evil, r.nfields = 1;
  CHECK_RC(encke_respond(h->s, id, &r, sizeof r), ENCKE_E_INVAL);
  CHECK(fd_open(file));
  answer(h, id, "x");
  CHECK_RC(send_file(id, file, 0, ENCKE_UNKNOWN), ENCKE_E_GONE);
  QUIESCE();
  CHECK(fd_open(file));
  close(file);
  peer_close(p);

  SECTION("HEAD of a file");
  file = file_of(big, 1000);
  p = peer_tcp(port);
  p->head_only = 1;
  CHECK_OK(send_file(next_request(p, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), file, 0, ENCKE_UNKNOWN));
  UNTIL(peer_finals(p) == 1 && host_all_done(h) && !fd_open(file));
  answer(h, next_request(p, GET), "next");
  UNTIL(peer_finals(p) == 2);
  CHECK_TEXT(peer_nth(p, 1)->body, "next");
  peer_close(p);

  SECTION("the peer resets in the middle of a file");
  file = file_of(big, SIZE);
  p = peer_tcp_small(port);
  p->paused = 1;
  CHECK_OK(send_file(next_request(p, GET), file, 0, SIZE));
  QUIESCE();
  CHECK(fd_open(file));
  peer_rst(p);
  UNTIL(host_all_done(h) && !fd_open(file));

  SECTION("a file that shrank");
  file = file_of(big, SIZE);
  int other = dup(file);
  p = peer_tcp(port);
  size_t before = SEEN(h, REQUEST);
  peer_send(p, GET GET);
  UNTIL(SEEN(h, REQUEST) == before + 2);
  id = request_id(h, before + 1);
  CHECK_OK(send_file(id, file, 0, SIZE));
  CHECK(ftruncate(other, 100000) == 0); /* its turn has not come */
  answer(h, request_id(h, before), "first");
  UNTIL(p->eof && host_all_done(h));
  CHECK_TEXT(peer_nth(p, 0)->body, "first");
  if (peer_finals(p) == 2) CHECK(peer_nth(p, 1)->truncated);
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, id)->code, ENCKE_END_HOST);
  UNTIL(!fd_open(file));
  close(other);
  peer_close(p);
}

int main(void) {
  big = pattern(SIZE, 6);
  h = HOST_PLAIN();
  port = host_listen(h);
  sent_whole();
  nothing_is_sent();
  refused();
  cut_short();
  freed_with_the_encke();
  files();
  UNTIL(host_all_done(h));
  CHECK_EQ(SEEN(h, RELEASED), 4 + 4 + 4);
  host_close(h);
  free(big);
  return check_end();
}
