/*
 * responses.c - what a client received, split into responses. The rule: the splitter is strict; whatever a server may not
 * send ends the test.
 */
#include "check.h"

#include <strings.h>

static const char *find_field(const response *r, const char *name, size_t nth, size_t *n) {
  size_t len = strlen(name);
  for (const char *line = strstr(r->head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
    const char *at = line + 2;
    if (strncasecmp(at, name, len) != 0 || at[len] != ':' || nth-- > 0) continue;
    at += len + 1;
    while (*at == ' ' || *at == '\t') at++;
    *n = (size_t)(strstr(at, "\r\n") - at);
    return at;
  }
  return NULL;
}

const char *response_field(const response *r, const char *name) {
  static _Thread_local char values[8][512];
  static _Thread_local unsigned next;
  size_t n;
  const char *at = find_field(r, name, 0, &n);
  if (!at) return NULL;
  char *value = values[next++ % 8];
  snprintf(value, sizeof values[0], "%.*s", (int)n, at);
  return value;
}

size_t response_fields(const response *r, const char *name) {
  size_t count = 0, n;
  while (find_field(r, name, count, &n)) count++;
  return count;
}

static void junk(const char *why, const char *p, size_t n) {
  check_fail(__FILE__, __LINE__, "the server sent %s: \"%.*s\"", why, (int)(n > 400 ? 400 : n), p);
}

/* Walks over the chunks from `at` and decodes them into r where `copy` says so; where they end, or 0: not all here yet. */
static size_t chunks(peer *p, response *r, size_t at, int copy) {
  size_t cap = 0;
  for (;;) {
    const char *line = p->in + at, *end = memmem(line, p->n - at, "\r\n", 2);
    if (!end) return 0;
    size_t size = 0;
    if (end == line) junk("an empty chunk size", line, p->n - at);
    for (const char *c = line; c < end; c++) {
      int digit = *c >= '0' && *c <= '9' ? *c - '0' : *c >= 'a' && *c <= 'f' ? *c - 'a' + 10 : *c >= 'A' && *c <= 'F' ? *c - 'A' + 10 : -1;
      if (digit < 0) junk("a bad chunk size", line, p->n - at);
      size = size * 16 + (size_t)digit;
    }
    at = (size_t)(end + 2 - p->in);
    if (size == 0) break;
    if (p->n - at < size + 2) return 0;
    if (memcmp(p->in + at + size, "\r\n", 2) != 0) junk("a chunk without its end", p->in + at, size + 2);
    if (copy) {
      if (r->len + size + 1 > cap) r->body = need(realloc(r->body, cap = (r->len + size + 1) * 2));
      memcpy(r->body + r->len, p->in + at, size);
      r->len += size;
    }
    at += size + 2;
  }
  size_t start = at;
  for (;;) {
    const char *line = p->in + at, *end = memmem(line, p->n - at, "\r\n", 2);
    if (!end) return 0;
    at = (size_t)(end + 2 - p->in);
    if (end == line) break;
  }
  if (copy) r->trailers = need(strndup(p->in + start, at - 2 - start));
  return at;
}

static void forget_response(response *r) {
  free((char *)r->head);
  free(r->body);
  free(r->trailers);
}

/* 1: one more response was split off. */
static int split_one(peer *p) {
  response r;
  memset(&r, 0, sizeof r);
  if (p->raw || p->parsed >= p->n) return 0;
  const char *at = p->in + p->parsed, *end = memmem(at, p->n - p->parsed, "\r\n\r\n", 4);
  if (p->n - p->parsed >= 7 && memcmp(at, "HTTP/1.", 7) != 0) junk("what is no response", at, p->n - p->parsed);
  if (!end) return 0;
  r.start = p->parsed;
  r.head_len = (size_t)(end + 4 - at);
  if (memchr(at, 0, r.head_len)) junk("NUL in a head", at, r.head_len);
  r.head = need(strndup(at, r.head_len));
  if (sscanf(r.head, "HTTP/1.%*1[01] %3d", &r.status) != 1 || r.status < 100 || r.status > 599) junk("a bad status line", at, r.head_len);
  if (r.head[8] != ' ' || r.head[12] != ' ') junk("a bad status line", at, r.head_len);
  r.informational = r.status < 200 && r.status != 101;
  size_t body = (size_t)(end + 4 - p->in), value = 0;
  const char *length = response_field(&r, "content-length"), *coding = response_field(&r, "transfer-encoding");
  if (response_fields(&r, "content-length") > 1) junk("two Content-Length", at, r.head_len);
  if (length && coding) junk("both Content-Length and Transfer-Encoding", at, r.head_len);
  if ((length || coding) && (r.status < 200 || r.status == 204)) junk("body framing where RFC 9110 forbids it", at, r.head_len);
  int is_head = !r.informational && p->nfinal < 64 && (p->head_only >> p->nfinal & 1);
  int tunnel = r.status == 101 || (!r.informational && p->tunnel == (int)p->nfinal && r.status / 100 == 2);
  if (tunnel) {
    if (length || coding) junk("body framing in front of a tunnel", at, r.head_len);
    r.end = body;
  } else if (r.informational || is_head || r.status == 204 || r.status == 304) {
    r.end = body;
  } else if (coding) {
    if (strcasecmp(coding, "chunked") != 0) junk("an unknown transfer coding", at, r.head_len);
    r.chunked = 1;
    r.end = chunks(p, &r, body, 0);
    if (r.end || p->eof) chunks(p, &r, body, 1);
    if (!r.end && p->eof) r.truncated = 1, r.end = p->n;
  } else if (length) {
    char *stop;
    value = strtoull(length, &stop, 10);
    if (*stop || stop == length) junk("a bad Content-Length", at, r.head_len);
    if (p->n - body >= value) r.end = body + value;
    else if (p->eof) r.truncated = 1, r.end = p->n;
    if (r.end) r.len = r.end - body;
  } else if (p->eof) {
    r.end = p->n;
    r.len = r.end - body;
  }
  if (!r.end) {
    forget_response(&r);
    return 0;
  }
  if (!r.chunked) {
    r.body = need(malloc(r.len + 1));
    if (r.len) memcpy(r.body, p->in + body, r.len);
  } else if (!r.body) {
    r.body = need(malloc(1));
  }
  r.body[r.len] = 0;
  p->responses = need(realloc(p->responses, (p->nresponses + 1) * sizeof r));
  p->responses[p->nresponses++] = r;
  p->nfinal += !r.informational;
  p->parsed = r.end;
  p->raw = tunnel;
  return 1;
}

size_t peer_all(peer *p) {
  while (split_one(p)) {}
  return p->nresponses;
}

size_t peer_finals(peer *p) {
  peer_all(p);
  return p->nfinal;
}

response *peer_any(peer *p, size_t nth) {
  if (nth >= peer_all(p)) check_fail(__FILE__, __LINE__, "there is no response %zu", nth);
  return &p->responses[nth];
}

response *peer_nth(peer *p, size_t nth) {
  size_t k = nth;
  for (size_t i = 0; i < peer_all(p); i++)
    if (!p->responses[i].informational && k-- == 0) return &p->responses[i];
  check_fail(__FILE__, __LINE__, "there is no final response %zu", nth);
}

const char *peer_raw(peer *p, size_t *n) {
  peer_all(p);
  *n = p->n - p->parsed;
  return p->in ? p->in + p->parsed : "";
}

char *masked(const char *wire, size_t n) {
  char *copy = need(malloc(n + 1));
  if (n) memcpy(copy, wire, n);
  copy[n] = 0;
  for (size_t i = 0; i + 8 < n; i++)
    if (strncasecmp(copy + i, "\r\ndate: ", 8) == 0)
      for (i += 8; i < n && copy[i] != '\r'; i++) copy[i] = '#';
  return copy;
}
