/*
 * bad.c - requests that are not HTTP, or are more than the limits allow, or could be read in two ways. The rule: what was
 * asked properly before is answered first, then the error, then the connection closes; the host never sees the bad one nor
 * anything behind it.
 */
#include "check.h"

#include <strings.h>

#define MAX_HEAD 2000
#define MAX_FIELDS 20
#define MAX_BODY 10000

typedef struct {
  int status, other; /* `other`: as good an answer */
  int may_stay;      /* the framing is not in doubt: the connection may stay open */
  const char *bytes;
  size_t n;
} bad;

#define B(status, other, text) {status, other, 0, text, sizeof(text) - 1}
#define STAY(status, other, text) {status, other, 1, text, sizeof(text) - 1}
#define G(rest) "GET / HTTP/1.1\r\n" rest
#define H G("Host: a\r\n")
#define P "POST / HTTP/1.1\r\nHost: a\r\n"
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

static const bad table[] = {
    /* lines */
    B(400, 0, "GET / HTTP/1.1\nHost: a\n\n"),
    B(400, 0, G("Host: a\nX: b\r\n\r\n")),
    B(400, 0, G("Host: a\r\nX: b\n\r\n")),
    B(400, 0, H "X: a\rb\r\n\r\n"),
    B(400, 0, H "X: a\0b\r\n\r\n"),
    B(400, 0, H "X: a\001b\r\n\r\n"),
    B(400, 0, H "X: a\177b\r\n\r\n"),
    /* request line */
    B(400, 0, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    B(400, 0, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET /\001 HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET /\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET / http/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET / HTTP/1.11\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET / HTTP/1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET / HTTX/1.1\r\nHost: a\r\n\r\n"),
    B(505, 0, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    B(505, 0, "GET / HTTP/3.1\r\nHost: a\r\n\r\n"),
    B(505, 0, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    B(505, 400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    B(400, 0, "\026\003\001\002\000\001\000\001\374\003\003 this is a TLS hello\r\n\r\n"),
    /* targets */
    B(400, 0, "GET foo HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    B(400, 0, "GET example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    STAY(501, 0, "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"),
    /* field lines */
    B(400, 0, G("Host : a\r\n\r\n")),
    B(400, 0, G(" Host: a\r\n\r\n")),
    B(400, 0, H "X: a\r\n folded\r\n\r\n"),
    B(400, 0, H "X: a\r\n\tfolded\r\n\r\n"),
    B(400, 0, H ": no name\r\n\r\n"),
    B(400, 0, H "no colon\r\n\r\n"),
    B(400, 0, H "X(y): 1\r\n\r\n"),
    B(400, 0, H "X\0: 1\r\n\r\n"),
    /* Host */
    B(400, 0, G("\r\n")),
    B(400, 0, G("Host:\r\n\r\n")),
    B(400, 0, G("Host: a\r\nHost: a\r\n\r\n")),
    B(400, 0, G("Host: a\r\nHost: b\r\n\r\n")),
    B(400, 0, G("Host: user@a\r\n\r\n")),
    B(400, 0, G("Host: a/b\r\n\r\n")),
    B(400, 0, G("Host: a b\r\n\r\n")),
    B(400, 0, G("Host: a:b\r\n\r\n")),
    /* Content-Length */
    B(400, 0, P "Content-Length:\r\n\r\nhello"),
    B(400, 0, P "Content-Length: +5\r\n\r\nhello"),
    B(400, 0, P "Content-Length: -5\r\n\r\nhello"),
    B(400, 0, P "Content-Length: 5a\r\n\r\nhello"),
    B(400, 0, P "Content-Length: 0x5\r\n\r\nhello"),
    B(400, 0, P "Content-Length: 5 5\r\n\r\nhello"),
    B(400, 0, P "Content-Length: 5, 5\r\n\r\nhello"),
    B(400, 0, P "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    B(400, 0, P "Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello"),
    B(400, 413, P "Content-Length: 99999999999999999999999999\r\n\r\nhello"),
    B(400, 413, P "Content-Length: 18446744073709551621\r\n\r\nhello"),
    B(413, 0, P "Content-Length: 10001\r\n\r\nhello"),
    /* Transfer-Encoding */
    B(501, 0, P "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    B(501, 400, P "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    B(501, 400, P "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    B(501, 400, P "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    B(501, 400, P "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    B(501, 400, P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    B(501, 400, P "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    B(501, 400, P "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    B(400, 501, P "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding:\013chunked\r\n\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    B(400, 0, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    /* chunks */
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n5_0\r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n;ext\r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n5;a=\rb\r\nhello\r\n0\r\n\r\n"),
    B(400, 0, P "Transfer-Encoding: chunked\r\n\r\n5;a=\001\r\nhello\r\n0\r\n\r\n"),
    B(400, 413, P "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
    B(400, 413, P "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"),
    /* expectations */
    STAY(417, 0, P "Content-Length: 0\r\nExpect: 200-ok\r\n\r\n"),
    /* what could be read in two ways */
    B(400, 0, P "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    B(400, 0, P "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" SMUGGLED "0\r\n\r\n"),
    B(400, 0, P "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" SMUGGLED),
    B(501, 400, P "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" SMUGGLED),
    B(501, 400, P "Transfer-Encoding: identity\r\nContent-Length: 44\r\n\r\n" SMUGGLED),
    B(400, 0, P "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    B(400, 0, P "Content-Length\r\n: 44\r\n\r\n" SMUGGLED),
    B(400, 0, P "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 44\r\n\r\n" SMUGGLED),
    B(400, 0, G("X: \rHost: a\r\n\r\n" SMUGGLED)),
};

static host *h;
static int port;

static void check_one(const bad *b, const char *name, int pipelined) {
  SECTION(name);
  size_t before = SEEN(h, REQUEST), good = pipelined ? 2 : 0;
  peer *p = peer_tcp(port);
  if (pipelined) peer_send(p, "GET /good1 HTTP/1.1\r\nHost: a\r\n\r\nGET /good2 HTTP/1.1\r\nHost: a\r\n\r\n");
  peer_send_n(p, b->bytes, b->n);
  if (pipelined) {
    UNTIL(SEEN(h, REQUEST) == before + 2);
    QUIESCE();
    CHECK_EQ(p->n, 0);
    answer(h, request_id(h, before + 1), "good2");
    answer(h, request_id(h, before), "good1");
  }
  UNTIL(peer_finals(p) == good + 1 && (p->eof || b->may_stay));
  if (pipelined) {
    CHECK_TEXT(peer_nth(p, 0)->body, "good1");
    CHECK_TEXT(peer_nth(p, 1)->body, "good2");
  }
  response *r = peer_nth(p, good);
  if (r->status != b->status && r->status != b->other)
    check_fail(__FILE__, __LINE__, "status %d instead of %d", r->status, b->status);
  const char *type = response_field(r, "content-type");
  CHECK(type != NULL && strncasecmp(type, "text/plain", 10) == 0);
  CHECK(r->len > 0 && !r->truncated);
  peer_close(p);
  CHECK_EQ(SEEN(h, REQUEST), before + good);
}

static char *long_head(const char *start, const char *repeat, size_t times, const char *end) {
  char *text = need(malloc(strlen(start) + strlen(repeat) * times + strlen(end) + 1)), *at = text;
  at += sprintf(at, "%s", start);
  for (size_t i = 0; i < times; i++) at += sprintf(at, "%s", repeat);
  sprintf(at, "%s", end);
  return text;
}

static void limits(void) {
  struct { int status; const char *name; char *text; } cases[] = {
      {414, "target too long", long_head("GET /", "0123456789", MAX_HEAD / 5, " HTTP/1.1\r\nHost: a\r\n\r\n")},
      {431, "one field too long", long_head("GET / HTTP/1.1\r\nHost: a\r\nX: ", "0123456789", MAX_HEAD / 5, "\r\n\r\n")},
      {431, "head too long", long_head("GET / HTTP/1.1\r\nHost: a\r\n", "X-Some-Long-Name: and-some-value-that-is-not-short-"
                                       "either-so-that-a-few-of-these-are-beyond-the-limit-of-the-head-aaaaaaaaaaaaa\r\n",
                                       MAX_FIELDS - 2, "\r\n")},
      {431, "too many fields", long_head("GET / HTTP/1.1\r\nHost: a\r\n", "X: 1\r\n", MAX_FIELDS, "\r\n")},
      {400, "chunk extension too long", long_head(P "Transfer-Encoding: chunked\r\n\r\n5;a=", "0123456789", 7000, "\r\nhello\r\n0\r\n\r\n")},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bad b = {cases[i].status, 0, 0, cases[i].text, strlen(cases[i].text)};
    check_one(&b, cases[i].name, 1);
    check_one(&b, cases[i].name, 0);
    free(cases[i].text);
  }
}

/* Just within the limits, and odd but right: none of these may be refused. */
static void what_is_right_is_served(void) {
  char *fields = long_head("GET / HTTP/1.1\r\nHost: a\r\n", "X: 1\r\n", MAX_FIELDS - 1, "\r\n");
  char *target = long_head("GET /", "0123456789", MAX_HEAD / 10 - 10, " HTTP/1.1\r\nHost: a\r\n\r\n");
  const char *texts[] = {
      fields, target, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://example.com/x HTTP/1.1\r\nHost: example.com\r\n\r\n",
      "brew /pot HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nhOST:a\r\n\r\n", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX:\t \r\n\r\n", P "Transfer-Encoding: Chunked\r\n\r\n5;ext=1\r\nhello\r\n000\r\n\r\n",
      P "Content-Length: 005\r\n\r\nhello", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 42\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil.com\r\n\r\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    SECTION(textf("right %zu", i));
    size_t before = SEEN(h, REQUEST);
    peer *p = peer_tcp(port);
    peer_send(p, texts[i]);
    UNTIL(SEEN(h, REQUEST) == before + 1);
    QUIESCE();
    CHECK_EQ(SEEN(h, REQUEST), before + 1);
    answer(h, request_id(h, before), "right");
    UNTIL(peer_finals(p) == 1);
    CHECK_EQ(peer_nth(p, 0)->status, 200);
    peer_close(p);
  }
  free(fields);
  free(target);
}

int main(void) {
  h = HOST({ENCKE_OPT_MAX_HEAD, MAX_HEAD}, {ENCKE_OPT_MAX_FIELDS, MAX_FIELDS}, {ENCKE_OPT_MAX_BODY, MAX_BODY},
           {ENCKE_OPT_BUFFER_BODY, 5000});
  port = host_listen(h);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    const char *name = textf("line %zu of the table: %.60s", i, table[i].bytes);
    check_one(&table[i], name, 1);
    check_one(&table[i], name, 0);
  }
  limits();
  what_is_right_is_served();
  UNTIL(host_all_done(h));
  CHECK(host_target(h, "/smuggled") == NULL);
  host_close(h);
  return check_end();
}
