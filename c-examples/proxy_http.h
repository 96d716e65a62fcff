/*
 * proxy_http.h - what proxy.c must know of HTTP/1.1 as a client: writing a request, fields that belong to
 * one hop, the head of a response and how its end is found, the chunked coding. Bytes in, bytes out; no
 * sockets.
 */
#ifndef PROXY_HTTP_H
#define PROXY_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include <encke.h>

#define MAX_FIELDS 100

struct buffer {
  char *p;
  size_t n, cap;
  bool failed; /* out of memory, once and for all */
};

struct answer {
  unsigned status;
  encke_field fields[MAX_FIELDS];
  size_t nfields;
  bool sized, chunked; /* neither: the body ends with the connection */
  uint64_t length;     /* sized */
};

enum chunk_state { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_FIELD, END_LF, END };

struct chunks {
  enum chunk_state state;
  bool digits;   /* of a size: at least one was there */
  uint64_t left; /* bytes of this chunk to come */
};

static bool is(encke_str s, const char *text) {
  return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

/* Is `name` an element of this list? */
static bool is_listed(encke_str list, encke_str name) {
  for (size_t at = 0, end; at < list.n; at = end + 1) {
    for (end = at; end < list.n && list.p[end] != ',' && list.p[end] != ' ' && list.p[end] != '\t';)
      end++;
    if (end - at == name.n && strncasecmp(list.p + at, name.p, name.n) == 0)
      return true;
  }
  return false;
}

/* RFC 9110 7.6.1, Expect, and the framing fields: each hop writes its own. */
static bool is_of_one_hop(const encke_field *fields, size_t n, encke_str name) {
  static const char *const own[] = {"connection", "keep-alive",        "proxy-connection", "te",    "trailer",
                                    "upgrade",    "transfer-encoding", "content-length",   "expect"};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (is(name, own[i]))
      return true;
  for (size_t i = 0; i < n; i++)
    if (is(fields[i].name, "connection") && is_listed(fields[i].value, name))
      return true;
  return false;
}

/* ---- the request ---------------------------------------------------------------------------------- */

static void put(struct buffer *b, encke_str s) {
  if (b->cap - b->n < s.n) {
    size_t cap = (b->n + s.n) * 2;
    char *grown = realloc(b->p, cap);
    if (grown == NULL) {
      b->failed = true;
      return;
    }
    b->p = grown;
    b->cap = cap;
  }
  if (s.n > 0)
    memcpy(b->p + b->n, s.p, s.n);
  b->n += s.n;
}

static void put_text(struct buffer *b, const char *text) {
  put(b, (encke_str){text, strlen(text)});
}

static void put_field(struct buffer *b, const char *name, encke_str value) {
  put_text(b, name);
  put_text(b, ": ");
  put(b, value);
  put_text(b, "\r\n");
}

static void put_head(struct buffer *b, const encke_head *h, bool chunked, bool upgrade) {
  encke_str length = encke_head_get(h, "content-length");
  put(b, h->method);
  put_text(b, " ");
  if (h->target.p[0] == '/' || h->target.p[0] == '*') {
    put(b, h->target);
  } else { /* absolute-form is for proxies that do not know their upstream */
    put_text(b, h->path.n == 0 ? "/" : "");
    put(b, h->path);
    put_text(b, h->query.n > 0 ? "?" : "");
    put(b, h->query);
  }
  put_text(b, " HTTP/1.1\r\n");
  put_field(b, "host", h->host); /* the target's, where it names one; HTTP/1.0 may have none at all */
  put_text(b, "via: 1.1 encke-proxy\r\n");
  for (size_t i = 0; i < h->nfields; i++)
    if (!is(h->fields[i].name, "host") && !is_of_one_hop(h->fields, h->nfields, h->fields[i].name))
      put_field(b, h->fields[i].name.p, h->fields[i].value);
  if (chunked)
    put_text(b, "transfer-encoding: chunked\r\n");
  else if (length.p != NULL)
    put_field(b, "content-length", length);
  else if (h->content_length == ENCKE_UNKNOWN) /* it was chunked and empty */
    put_text(b, "content-length: 0\r\n");
  if (upgrade)
    put_field(b, "connection: upgrade\r\nupgrade", encke_head_get(h, "upgrade"));
  else
    put_text(b, "connection: close\r\n");
  put_text(b, "\r\n");
}

/* A piece of the body; an empty one is no chunk, that would be the end. */
static void put_piece(struct buffer *b, const char *data, size_t len, bool chunked, bool last) {
  char size[24];
  snprintf(size, sizeof size, "%zx\r\n", len);
  put_text(b, chunked && len > 0 ? size : "");
  put(b, (encke_str){data, len});
  put_text(b, chunked && len > 0 ? "\r\n" : "");
  put_text(b, chunked && last ? "0\r\n\r\n" : "");
}

/* ---- the response --------------------------------------------------------------------------------- */

static bool parse_length(encke_str s, uint64_t *length) {
  *length = 0;
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9')
      return false;
    *length = *length * 10 + (uint64_t)(s.p[i] - '0');
  }
  return s.n > 0 && s.n <= 18;
}

/* Two framings at once, or two lengths, are an attack or a mistake: false. */
static bool note_framing(struct answer *a, encke_field f) {
  uint64_t length;
  if (is(f.name, "transfer-encoding")) {
    if (a->chunked || !is(f.value, "chunked"))
      return false;
    a->chunked = true;
  } else if (is(f.name, "content-length")) {
    if (!parse_length(f.value, &length) || (a->sized && length != a->length))
      return false;
    a->sized = true;
    a->length = length;
  }
  return !(a->sized && a->chunked);
}

/* The n bytes at p end in an empty line. Names and values are checked when they are sent: ENCKE_E_INVAL. */
static bool parse_answer(const char *p, size_t n, struct answer *a) {
  const char *end = p + n - 2; /* the empty line */
  const char *eol = memmem(p, n, "\r\n", 2);
  uint64_t status;
  a->nfields = 0;
  a->sized = a->chunked = false;
  if (eol - p < 12 || memcmp(p, "HTTP/1.", 7) != 0 || p[7] < '0' || p[7] > '9' || p[8] != ' ' ||
      !parse_length((encke_str){p + 9, 3}, &status) || status < 100 || status > 599 ||
      (p[12] != ' ' && p + 12 != eol))
    return false;
  a->status = (unsigned)status;
  for (p = eol + 2; p < end; p = eol + 2) {
    eol = memmem(p, (size_t)(end + 2 - p), "\r\n", 2);
    const char *colon = memchr(p, ':', (size_t)(eol - p)), *last = eol;
    if (colon == NULL || colon == p || a->nfields == MAX_FIELDS)
      return false;
    const char *value = colon + 1;
    while (value < last && (*value == ' ' || *value == '\t'))
      value++;
    while (value < last && (last[-1] == ' ' || last[-1] == '\t'))
      last--;
    encke_field f = {{p, (size_t)(colon - p)}, {value, (size_t)(last - value)}};
    a->fields[a->nfields++] = f;
    if (!note_framing(a, f))
      return false;
  }
  return true;
}

/* One byte of framing. */
static bool chunk_framing(struct chunks *c, char byte) {
  char low = (char)(byte | 32);
  int digit = byte >= '0' && byte <= '9' ? byte - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
  switch (c->state) {
  case SIZE:
    if (digit >= 0) {
      c->digits = true;
      c->left = c->left << 4 | (uint64_t)digit;
      return c->left >> 59 == 0;
    }
    c->state = byte == '\r' ? SIZE_LF : EXTENSION;
    return c->digits && (byte == '\r' || byte == ';' || byte == ' ' || byte == '\t');
  case EXTENSION:
    c->state = byte == '\r' ? SIZE_LF : EXTENSION;
    return byte != '\n';
  case SIZE_LF:
    c->state = c->left > 0 ? DATA : TRAILER;
    return byte == '\n';
  case DATA_CR:
    c->state = DATA_LF;
    return byte == '\r';
  case DATA_LF:
    c->state = SIZE;
    c->digits = false;
    return byte == '\n';
  case TRAILER: /* at the beginning of a line; trailers are dropped */
    c->state = byte == '\r' ? END_LF : TRAILER_FIELD;
    return byte != '\n';
  case TRAILER_FIELD:
    c->state = byte == '\n' ? TRAILER : TRAILER_FIELD;
    return true;
  case END_LF:
    c->state = END;
    return byte == '\n';
  case DATA:
  case END:
    break;
  }
  return false;
}

/* Takes chunked bytes in place: the content moves to the front of p. Its length, or -1: malformed. */
static ssize_t dechunk(struct chunks *c, char *p, size_t n) {
  size_t content = 0;
  for (size_t i = 0; i < n && c->state != END;) {
    if (c->state == DATA) {
      size_t take = c->left < n - i ? (size_t)c->left : n - i;
      memmove(p + content, p + i, take);
      content += take;
      i += take;
      c->left -= take;
      c->state = c->left > 0 ? DATA : DATA_CR;
    } else if (!chunk_framing(c, p[i++])) {
      return -1;
    }
  }
  return (ssize_t)content;
}

#endif
