/*
 * load.h - what encke-pub puts in front of its messages and encke-sub looks for: who published it, its number, when.
 *
 * "@#" RUN ":" NUMBER ":" TIME ";" in fixed width: eight hexadecimal digits for the run of the publisher, ten decimal ones for
 * the number, from 1, nineteen for CLOCK_MONOTONIC in nanoseconds. So times mean something on one machine only.
 */
#ifndef ENCKE_TOOLS_LOAD_H
#define ENCKE_TOOLS_LOAD_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define STAMP_SIZE 42

struct stamp {
  uint32_t run;
  uint64_t number, ns;
};

static inline void write_stamp(char *out, struct stamp stamp) {
  char text[64];
  snprintf(text, sizeof text, "@#%08lx:%010llu:%019llu;", (unsigned long)stamp.run,
           (unsigned long long)(stamp.number % 10000000000), (unsigned long long)stamp.ns);
  memcpy(out, text, STAMP_SIZE);
}

/* True: there is one at the beginning. */
static inline int read_stamp(const char *in, size_t len, struct stamp *out) {
  uint64_t run = 0;
  if (len < STAMP_SIZE || in[0] != '@' || in[1] != '#' || in[10] != ':' || in[21] != ':' || in[41] != ';')
    return 0;
  for (int i = 2; i < 10; i++)
    run = run << 4 | (uint64_t)(in[i] <= '9' ? in[i] - '0' : in[i] - 'a' + 10);
  out->run = (uint32_t)run;
  out->number = out->ns = 0;
  for (int i = 11; i < 21; i++)
    out->number = out->number * 10 + (uint64_t)(in[i] - '0');
  for (int i = 22; i < 41; i++)
    out->ns = out->ns * 10 + (uint64_t)(in[i] - '0');
  return 1;
}

#endif
