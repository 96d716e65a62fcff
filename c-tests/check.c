/* check.c - the checks, the deadline and the small helpers. The rule: a failed check says where, what and which values. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static char section[160];

void check_section(const char *name) { snprintf(section, sizeof section, "%s", name); }

static void fail_head(const char *file, int line) {
  const char *base = strrchr(file, '/');
  fflush(stdout);
  fprintf(stderr, "FAILED %s:%d [%s] ", base ? base + 1 : file, line, section);
}

void check_fail(const char *file, int line, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fail_head(file, line);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  _exit(1);
}

void check_eq(const char *file, int line, const char *left, long long a, const char *right, long long b) {
  if (a != b) check_fail(file, line, "%s == %s: %lld against %lld", left, right, a, b);
}

void check_rc(const char *file, int line, const char *call, int got, int want) {
  if (got == want) return;
  char detail[256];
  snprintf(detail, sizeof detail, "%s", got < 0 ? encke_last_error() : "");
  check_fail(file, line, "%s: %d (%s) instead of %d (%s); %s", call, got, got > 0 ? "count" : encke_strerror(got), want,
             want > 0 ? "count" : encke_strerror(want), detail);
}

static void show(const char *name, const void *p, size_t n) {
  const unsigned char *bytes = p;
  fprintf(stderr, "\n  %s (%zu): \"", name, n);
  for (size_t i = 0; i < n && i < 2000; i++) {
    if (bytes[i] == '\n') fputs("\\n\n   ", stderr);
    else if (bytes[i] < 32 || bytes[i] > 126) fprintf(stderr, "\\x%02x", bytes[i]);
    else fputc(bytes[i], stderr);
  }
  fputc('"', stderr);
}

void check_bytes(const char *file, int line, const char *what, const void *p, size_t n, const void *q, size_t m) {
  if (n == m && (n == 0 || memcmp(p, q, n) == 0)) return;
  size_t at = 0;
  while (at < n && at < m && ((const char *)p)[at] == ((const char *)q)[at]) at++;
  fail_head(file, line);
  fprintf(stderr, "%s differs from what was expected at byte %zu", what, at);
  show("got", p, n);
  show("expected", q, m);
  fputc('\n', stderr);
  _exit(1);
}

void *need(void *allocated) {
  if (!allocated) check_fail(__FILE__, __LINE__, "out of memory");
  return allocated;
}

/* ---- time: only for deadlines ----------------------------------------------------------------------------------------- */

moment now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (moment)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

moment deadline(void) {
  const char *seconds = getenv("ENCKE_TEST_DEADLINE");
  return now_ms() + 1000 * (seconds && atoi(seconds) > 0 ? atoi(seconds) : 10);
}

/* ---- small things ----------------------------------------------------------------------------------------------------- */

uint64_t random_next(uint64_t *state) { /* splitmix64: the same numbers in every run */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void shuffle(size_t *order, size_t n, uint64_t *state) {
  for (size_t i = 0; i < n; i++) order[i] = i;
  for (size_t i = n; i > 1; i--) {
    size_t j = random_next(state) % i, t = order[i - 1];
    order[i - 1] = order[j];
    order[j] = t;
  }
}

char *pattern(size_t n, unsigned seed) {
  char *p = need(malloc(n + 1));
  for (size_t i = 0; i < n; i++) p[i] = (char)('!' + (i * 7 + i / 89 + i / 7919 + seed) % 90);
  p[n] = 0;
  return p;
}

char *textf(const char *format, ...) {
  static _Thread_local char texts[16][1024];
  static _Thread_local unsigned next;
  char *text = texts[next++ % 16];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof texts[0], format, args);
  va_end(args);
  return text;
}

int fd_open(int fd) { return fcntl(fd, F_GETFD) >= 0 || errno != EBADF; }

void raise_fd_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

encke_str str(const char *text) {
  encke_str s = {text, text ? strlen(text) : 0};
  return s;
}

encke_field field(const char *name, const char *value) {
  encke_field f = {{name, strlen(name)}, {value, strlen(value)}};
  return f;
}
