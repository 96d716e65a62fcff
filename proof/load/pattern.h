/* pattern.h - bytes that both ends know: byte i of the pattern, for every i. */
#ifndef PATTERN_H
#define PATTERN_H

#include <stddef.h>
#include <stdint.h>

#define PATTERN_PIECE ((size_t)32 << 10)

const char *pattern_at(uint64_t i);                            /* PATTERN_PIECE bytes from there */
int         pattern_is(const char *p, size_t n, uint64_t i);   /* whether these are the bytes from there */

#endif
