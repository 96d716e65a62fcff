/* answer.h - the right answer to GET /plaintext, for clients that know no other. */
#ifndef CLIENT_ANSWER_H
#define CLIENT_ANSWER_H
#include <string.h>

#define HELLO "Hello, World!"
static const char hello_request[] = "GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n";

/* How long the first answer of what has come is; 0: not yet whole; -1: wrong. */
static inline long hello_length(const char *in, size_t have) {
  static const char status[] = "HTTP/1.1 200 ";
  size_t n = have < sizeof status - 1 ? have : sizeof status - 1;
  if (memcmp(in, status, n) != 0)
    return -1;
  const char *end = memmem(in, have, "\r\n\r\n", 4);
  if (!end)
    return 0;
  size_t head = (size_t)(end + 4 - in), all = sizeof HELLO - 1, body = have - head < all ? have - head : all;
  if (memcmp(end + 4, HELLO, body) != 0)
    return -1;
  return body == all ? (long)(head + all) : 0;
}

/* What has come so far: 1: all of it and right; 0: not yet all; -1: wrong, or more than the answer. */
static inline int is_hello(const char *in, size_t have) {
  long n = hello_length(in, have);
  return n <= 0 ? (int)n : (size_t)n == have ? 1 : -1;
}
#endif
