/*
 * framing.c - requests whose end two readers may see at different places. The rule: each is refused, the connection ends
 * with the refusal, and nothing behind it is ever a request; whole or byte by byte.
 */
#include "attacks.h"

#include <errno.h>
#include <poll.h>

/* What an attacker hopes to get through behind it. */
#define BEHIND "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST /sink HTTP/1.1\r\nHost: a\r\n"
#define GET "GET /echo/x HTTP/1.1\r\nHost: a\r\n"
#define TE "Transfer-Encoding: "
#define CL "Content-Length: "
#define CHUNKED POST TE "chunked\r\n\r\n"

typedef struct { int status; const char *text; } shape;

static const shape shapes[] = {
  /* two lengths */
  {400, POST CL "5\r\n" CL "5\r\n\r\nhello" BEHIND},
  {400, POST CL "5\r\n" CL "6\r\n\r\nhello" BEHIND},
  {400, POST CL "5, 5\r\n\r\nhello" BEHIND},
  {400, POST CL "5\r\n" TE "chunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST TE "chunked\r\n" CL "5\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST CL "0\r\n" TE "chunked\r\n\r\n0\r\n\r\n" BEHIND},
  /* lengths that are none */
  {400, POST CL "\r\n\r\n" BEHIND},
  {400, POST CL "+5\r\n\r\nhello" BEHIND},
  {400, POST CL "-1\r\n\r\n" BEHIND},
  {400, POST CL "0x5\r\n\r\nhello" BEHIND},
  {400, POST CL "5 5\r\n\r\nhello" BEHIND},
  {400, POST CL "5;\r\n\r\nhello" BEHIND},
  {400, POST CL "18446744073709551621\r\n\r\nhello" BEHIND},
  {400, POST CL "5_0\r\n\r\nhello" BEHIND},
  /* codings */
  {400, POST TE "chunked\r\n" TE "chunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST TE "chunked, chunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST TE "chunked, identity\r\n\r\n0\r\n\r\n" BEHIND},
  {501, POST TE "identity\r\n\r\n" BEHIND},
  {501, POST TE "gzip\r\n\r\n0\r\n\r\n" BEHIND},
  {501, POST TE "gzip, chunked\r\n\r\n0\r\n\r\n" BEHIND},
  {501, POST TE "xchunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST TE "\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST TE ", chunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST TE "chunked;a=b\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST TE "\"chunked\"\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST TE "\vchunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, "POST /sink HTTP/1.0\r\nHost: a\r\n" TE "chunked\r\n\r\n0\r\n\r\n" BEHIND},
  /* names and lines */
  {400, POST "Content-Length : 5\r\n\r\nhello" BEHIND},
  {400, POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST "X: y\r\n " TE "chunked\r\n\r\n" BEHIND},
  {400, POST "X: y\r\n\t" CL "5\r\n\r\nhello" BEHIND},
  {400, POST TE "\r\n chunked\r\n\r\n0\r\n\r\n" BEHIND},
  {400, POST "X\rContent-Length: 5\r\n\r\nhello" BEHIND},
  {400, POST "X: y\rContent-Length: 5\r\n\r\nhello" BEHIND},
  {400, POST "X: y\nContent-Length: 5\r\n\r\nhello" BEHIND},
  {400, POST "Content\x01-Length: 5\r\n\r\nhello" BEHIND},
  {400, POST "Content-Length\r\n\r\n" BEHIND},
  {400, POST ": 5\r\n\r\n" BEHIND},
  {400, "POST /sink HTTP/1.1\nHost: a\n" CL "5\n\nhello" BEHIND},
  {400, POST CL "5\n\r\nhello" BEHIND},
  {400, POST CL "5\r\n\nhello" BEHIND},
  {400, GET "\rGET /smuggled HTTP/1.1\r\n\r\n" BEHIND},
  /* request lines */
  {400, "GET /echo/x HTTP/1.1 \r\nHost: a\r\n\r\n" BEHIND},
  {400, "GET  /echo/x HTTP/1.1\r\nHost: a\r\n\r\n" BEHIND},
  {400, "GET\t/echo/x HTTP/1.1\r\nHost: a\r\n\r\n" BEHIND},
  {400, "GET /echo/x y HTTP/1.1\r\nHost: a\r\n\r\n" BEHIND},
  {400, "GET /echo/x\r\n\r\n" BEHIND},
  {400, "GET /echo/x http/1.1\r\nHost: a\r\n\r\n" BEHIND},
  {400, "GET /echo/x HTTP/1.1.1\r\nHost: a\r\n\r\n" BEHIND},
  {505, "GET /echo/x HTTP/2.0\r\nHost: a\r\n\r\n" BEHIND},
  {400, " GET /echo/x HTTP/1.1\r\nHost: a\r\n\r\n" BEHIND},
  {400, "G@T /echo/x HTTP/1.1\r\nHost: a\r\n\r\n" BEHIND},
  /* hosts */
  {400, "GET /echo/x HTTP/1.1\r\n\r\n" BEHIND},
  {400, GET "Host: b\r\n\r\n" BEHIND},
  {400, "GET /echo/x HTTP/1.1\r\nHost: a b\r\n\r\n" BEHIND},
  {400, "GET http://u@a/echo/x HTTP/1.1\r\nHost: a\r\n\r\n" BEHIND},
  {400, "GET http:///echo/x HTTP/1.1\r\nHost: a\r\n\r\n" BEHIND},
  /* chunks */
  {400, CHUNKED "5\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "0x5\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "+5\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "-1\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED " 5\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "5\r\nhelloX\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "5\r\nhello\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "5\r\nhello0\r\n\r\n" BEHIND},
  {400, CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "00000000000000005\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "5;a=\"\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n" BEHIND},
  {400, CHUNKED "0\r\nX : y\r\n\r\n" BEHIND},
  {400, CHUNKED "0\r\nX: y\n\r\n" BEHIND},
  {400, CHUNKED "0\r\n X: y\r\n\r\n" BEHIND},
  {400, CHUNKED "0\n\r\n" BEHIND},
};

static int wait_for(const conn *c, short events) {
  struct pollfd p = {.fd = c->fd, .events = events};
  return poll(&p, 1, 10000) > 0;
}

/* Says all of it, in pieces of that size; what the server refused half-way need not be said to the end. */
static void say_all(conn *c, const char *text, size_t piece) {
  for (size_t n = strlen(text), at = 0; at < n && !c->over;) {
    ssize_t k = conn_say(c, text + at, piece < n - at ? piece : n - at);
    if (k > 0) at += (size_t)k;
    else if (k == 0 && !wait_for(c, POLLOUT)) return;
  }
}

static size_t hear_all(conn *c, char *to, size_t cap) {
  size_t n = 0;
  c->over = 0; /* that nothing more could be said does not say that nothing was */
  while (!c->over && n < cap - 1) {
    ssize_t k = conn_hear(c, to + n, cap - 1 - n);
    if (k > 0) n += (size_t)k;
    else if (k == 0 && !wait_for(c, POLLIN)) break;
  }
  to[n] = 0;
  return n;
}

static void one(ground *g, const shape *s, size_t piece, int behind_a_good_one) {
  conn c;
  char got[8192];
  int status = 0;
  const script plain = {0};
  conn_open(&c, g->port, &plain);
  g->opened++;
  if (behind_a_good_one) say_all(&c, "GET /echo/good HTTP/1.1\r\nHost: a\r\n\r\n", SIZE_MAX);
  say_all(&c, s->text, piece);
  hear_all(&c, got, sizeof got);
  const char *at = got;
  if (behind_a_good_one) {
    at = strstr(got, "\r\n\r\ngood");
    if (!at || strncmp(got, "HTTP/1.1 200", 12) != 0) box_fail(g->box, "the good one before \"%s\": \"%s\"", s->text, got);
    at = at ? at + 8 : got;
  }
  if (sscanf(at, "HTTP/1.1 %d", &status) != 1 || status != s->status)
    box_fail(g->box, "\"%.120s\" gives %d instead of %d: \"%.80s\"", s->text, status, s->status, at);
  else if (strstr(at + 1, "HTTP/1.1")) box_fail(g->box, "\"%s\" has two answers", s->text);
  else if (!strstr(at, "onnection: close\r\n")) box_fail(g->box, "\"%s\" does not say close", s->text);
  else if (!c.over) box_fail(g->box, "\"%s\" leaves the connection open", s->text);
  else g->ended++;
  conn_close(&c, &plain);
}

static void every_shape(ground *g) {
  do {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !atomic_load(&g->box->failed); i++) {
      one(g, &shapes[i], SIZE_MAX, 0);
      one(g, &shapes[i], SIZE_MAX, 1);
      one(g, &shapes[i], 1, 0);
    }
  } while (going(g) && !atomic_load(&g->box->failed));
}

const attack framing_attacks[] = {
  {"ambiguous framing", every_shape, defaults, 0, 0, 1},
  {NULL, NULL, NULL, 0, 0, 0},
};
