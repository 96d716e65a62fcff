/* pattern.c - see pattern.h. It repeats after a prime number of bytes, so that no buffer's size divides its period. */
#include "pattern.h"

#include <string.h>

enum { PERIOD = 65521 };

static const char *block(void) {
  static char bytes[PERIOD + (32 << 10)];
  if (!bytes[0])
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)('!' + ((i % PERIOD) * 7 + (i % PERIOD) / 89) % 90);
  return bytes;
}

const char *pattern_at(uint64_t i) { return block() + i % PERIOD; }

int pattern_is(const char *p, size_t n, uint64_t i) {
  for (size_t at = 0; at < n;) {
    size_t part = n - at < PATTERN_PIECE ? n - at : PATTERN_PIECE;
    if (memcmp(p + at, pattern_at(i + at), part) != 0) return 0;
    at += part;
  }
  return 1;
}
