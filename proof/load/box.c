/* box.c - see box.h. */
#include "box.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

box *box_new(void) {
  box *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (b == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return b;
}

void box_free(box *b) { munmap(b, sizeof *b); }

void box_fail(box *b, const char *format, ...) {
  if (atomic_exchange(&b->failed, 1)) return;
  va_list args;
  va_start(args, format);
  vsnprintf(b->fault, sizeof b->fault, format, args);
  va_end(args);
}

/* ---- latencies -------------------------------------------------------------------------------------------------------------- */

void latency_add(latencies *l, uint64_t us) {
  int scale = 0;
  while (us >> scale >= BUCKETS && scale < SCALES - 1) scale++;
  uint64_t b = us >> scale;
  atomic_fetch_add(&l->bucket[scale][b < BUCKETS ? b : BUCKETS - 1], 1);
  atomic_fetch_add(&l->n, 1);
  if (us > atomic_load(&l->most)) atomic_store(&l->most, us);
}

uint64_t latency_at(const latencies *l, double quantile) {
  uint64_t n = 0, wanted = (uint64_t)((double)atomic_load(&l->n) * quantile);
  for (int scale = 0; scale < SCALES; scale++)
    for (int b = 0; b < BUCKETS; b++) {
      n += atomic_load(&l->bucket[scale][b]);
      if (n > wanted) return (uint64_t)b << scale;
    }
  return atomic_load(&l->most);
}

static uint64_t read_clock(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t now_us(void) { return read_clock(CLOCK_MONOTONIC); }
uint64_t cpu_us(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

void wait_a_little(void) { poll(NULL, 0, 2); }

/* ---- other processes ---------------------------------------------------------------------------------------------------------- */

static long status_of(pid_t pid, const char *name) {
  char path[64], line[256];
  long value = -1;
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  FILE *f = fopen(path, "r");
  if (!f) return -1;
  while (fgets(line, sizeof line, f))
    if (strncmp(line, name, strlen(name)) == 0) value = atol(line + strlen(name));
  fclose(f);
  return value;
}

long rss_kib(pid_t pid) { return status_of(pid, "VmRSS:"); }
long rss_most_kib(pid_t pid) { return status_of(pid, "VmHWM:"); }

int fds_of(pid_t pid) {
  char path[64];
  int n = 0;
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  DIR *d = opendir(path);
  if (!d) return -1;
  while (readdir(d)) n++;
  closedir(d);
  return n - 2;
}

pid_t start_process(int (*play)(void *context), void *context) {
  pid_t parent = getpid();
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) {
    perror("fork");
    exit(1);
  }
  if (child > 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  int code = play(context);
  fflush(NULL);
  _exit(code);
}

int end_process(pid_t pid, int seconds, const char *who) {
  int status = 0;
  pid_t ended = 0;
  if (!WAIT_FOR((ended = waitpid(pid, &status, WNOHANG)) != 0, seconds)) {
    fprintf(stderr, "%s did not end\n", who);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -1;
  }
  if (ended < 0) return -1;
  if (WIFSIGNALED(status)) fprintf(stderr, "%s was ended by signal %d\n", who, WTERMSIG(status));
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
