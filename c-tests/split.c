/*
 * split.c - one pipelined stream of requests, cut at every byte. The rule: how the bytes were cut changes neither the
 * events nor the bytes of the answers, with whole bodies and with bodies in pieces.
 */
#include "check.h"

static const char stream[] =
    "GET /one HTTP/1.1\r\nHost: a\r\nX-Field: some value\r\n\r\n"
    "\r\n" /* an empty line before a request line is skipped */
    "POST /two?q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    "POST /three HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n6;ext=\"1\"\r\npedia!\r\n0\r\nX-Trailer: 1\r\n\r\n"
    "PUT /four HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    "GET /five HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
#define LENGTH (sizeof stream - 1)

/* What the events of one run say, in words. */
typedef struct { char text[4096], body[256]; } story;
static story now;

static void tell(const char *text) {
  CHECK(strlen(now.text) + strlen(text) < sizeof now.text);
  strcat(now.text, text);
}

static void on_event(host *h, const event *x) {
  if (x->kind == ENCKE_EV_REQUEST) {
    tell(textf("%s %s %llu %zu", x->method, x->target, (unsigned long long)x->head->content_length, x->head->nfields));
    now.body[0] = 0;
    if (x->head->flags & ENCKE_HEAD_BODY_FOLLOWS) return;
    if (x->data) strcat(now.body, x->data);
  } else if (x->kind == ENCKE_EV_BODY) {
    if (x->data) strcat(now.body, x->data);
    CHECK_OK(encke_body_ack(h->s, x->id, x->len));
    if (x->more) return;
  } else {
    return;
  }
  tell(textf(" [%s]\n", now.body));
  answer(h, x->id, textf("got %s", now.body));
}

/* Sends the stream in pieces that end at first, first + every, ...; returns the masked wire. */
static char *run(host *h, int port, size_t first, size_t every, size_t *n) {
  memset(&now, 0, sizeof now);
  peer *p = peer_tcp(port);
  for (size_t at = 0, end = first; at < LENGTH; at = end, end += every) {
    if (end > LENGTH) end = LENGTH;
    peer_send_n(p, stream + at, end - at);
    QUIESCE();
  }
  UNTIL(p->eof && host_all_done(h));
  CHECK_EQ(peer_finals(p), 5);
  char *wire = masked(p->in, *n = p->n);
  peer_close(p);
  return wire;
}

static void split(uint64_t buffer_body) {
  SECTION(buffer_body ? "bodies whole" : "bodies in pieces");
  host *h = HOST({ENCKE_OPT_BUFFER_BODY, buffer_body ? buffer_body : 3});
  h->on = on_event;
  int port = host_listen(h);
  size_t n, m;
  char *reference = run(h, port, LENGTH, LENGTH, &n);
  story whole = now;
  CHECK_TEXT(whole.text, "GET /one 0 2 []\nPOST /two?q 5 2 [hello]\n"
                         "POST /three 18446744073709551615 2 [Wikipedia!]\nPUT /four 0 2 []\nGET /five 0 2 []\n");
  for (size_t cut = 1; cut <= LENGTH; cut++) { /* the last one: byte by byte */
    char *wire = cut < LENGTH ? run(h, port, cut, LENGTH, &m) : run(h, port, 1, 1, &m);
    CHECK_TEXT(now.text, whole.text);
    CHECK_BYTES(wire, m, reference, n);
    free(wire);
  }
  free(reference);
  host_close(h);
}

int main(void) {
  split(4096);
  split(0);
  return check_end();
}
