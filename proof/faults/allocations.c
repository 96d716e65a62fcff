/* allocations.c - see allocations.h. */
#include "allocations.h"

#include "process.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void (*next_free)(void *);

/* For what dlsym allocates while it looks for the others. */
static char early[4096];
static size_t early_used;

static int is_early(const void *p) { return (const char *)p >= early && (const char *)p < early + sizeof early; }

static void *early_alloc(size_t n) {
  n = (n + 15) & ~(size_t)15;
  if (n > sizeof early - early_used) abort();
  void *p = early + early_used;
  early_used += n;
  return p;
}

static void *symbol(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

static int find_next(void) {
  static int finding;
  if (next_free) return 1;
  if (finding) return 0;
  finding = 1;
  next_malloc = (void *(*)(size_t))symbol("malloc");
  next_calloc = (void *(*)(size_t, size_t))symbol("calloc");
  next_realloc = (void *(*)(void *, size_t))symbol("realloc");
  next_posix_memalign = (int (*)(void **, size_t, size_t))symbol("posix_memalign");
  next_free = (void (*)(void *))symbol("free");
  return 1;
}

/* ---- which one fails ------------------------------------------------------------------------------------------------------ */

static code_range library;
static atomic_int armed;
static atomic_uint count;
static atomic_size_t failed;
static unsigned which;
static size_t smallest;

int allocations_seen(void) { return library_code(&library); }

void allocations_arm(unsigned n, size_t least) {
  atomic_store(&count, 0);
  atomic_store(&failed, 0);
  which = n, smallest = least;
  atomic_store(&armed, 1);
}

void allocations_disarm(void) { atomic_store(&armed, 0); }

unsigned allocations_count(void) { return atomic_load(&count); }

size_t allocations_failed(void) { return atomic_load(&failed); }

static int fails(size_t n, const void *caller) {
  uintptr_t at = (uintptr_t)caller;
  if (!atomic_load(&armed) || n < smallest || at < library.start || at >= library.end) return 0;
  if (atomic_fetch_add(&count, 1) + 1 != which) return 0;
  atomic_store(&failed, n);
  errno = ENOMEM;
  return 1;
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

void *malloc(size_t n) {
  if (!find_next()) return early_alloc(n);
  return fails(n, CALLER) ? NULL : next_malloc(n);
}

void *calloc(size_t n, size_t size) {
  if (!find_next()) return early_alloc(n * size); /* still zero */
  return size && n <= SIZE_MAX / size && fails(n * size, CALLER) ? NULL : next_calloc(n, size);
}

void *realloc(void *p, size_t n) {
  if (!find_next()) return early_alloc(n);
  if (is_early(p)) {
    void *moved = next_malloc(n);
    if (moved) memcpy(moved, p, n < sizeof early ? n : sizeof early);
    return moved;
  }
  return fails(n, CALLER) ? NULL : next_realloc(p, n);
}

int posix_memalign(void **out, size_t alignment, size_t n) {
  find_next();
  if (fails(n, CALLER)) return ENOMEM;
  return next_posix_memalign(out, alignment, n);
}

void free(void *p) {
  if (p && !is_early(p) && find_next()) next_free(p);
}
