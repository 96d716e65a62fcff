/*
 * faults.c - the n-th failure: every kind of system call that the library makes fails at its n-th time, for every n that a
 * scripted run reaches, with every errno that Linux documents for it. The rule: one fault, one child process; what it must
 * lead to stands in the table, and the scenes (opening.c, traffic.c) compare.
 *
 *   faults quick                              one errno of each kind at a time, every n
 *   faults all                                every errno, also over TLS, also where the host watches each socket
 *   faults one SCENE CALL N TIMES ERRNO       one of them in this process; SCENE with "-tls": over TLS
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct { const char *name; int error; } named;

#define E(name) {#name, name}
#define NONE {NULL, 0}

typedef struct {
  const char *call;
  effect effect;
  named errors[8];
} row;

/* Where a call is not listed it cannot fail with the arguments that it gets (timerfd_settime, EPOLL_CTL_MOD and _DEL), or
 * nobody looks at its result (shutdown). Unlisted calls fail the run, so the tables are complete. */
static const row opening[] = {
  {"epoll_create1", SAID, {E(EMFILE), E(ENFILE), E(ENOMEM)}},
  {"eventfd2", SAID, {E(EMFILE), E(ENFILE), E(ENOMEM), E(ENODEV)}},
  {"timerfd_create", SAID, {E(EMFILE), E(ENFILE), E(ENOMEM), E(ENODEV)}},
  {"epoll_ctl_add", SAID, {E(ENOMEM), E(ENOSPC)}},
  {"socket", SAID, {E(EMFILE), E(ENFILE), E(ENOBUFS), E(ENOMEM), E(EACCES)}},
  {"setsockopt", SAID, {E(ENOMEM), E(ENOPROTOOPT)}},
  {"bind", SAID, {E(EADDRINUSE), E(EACCES), E(EADDRNOTAVAIL), E(ENOMEM)}},
  {"listen", SAID, {E(EADDRINUSE), E(ENOBUFS)}},
  {"chmod", SAID, {E(EPERM), E(EROFS)}},
  {"fchmodat", SAID, {E(EPERM), E(EROFS)}},
  {"connect", SAID, {E(EADDRINUSE)}}, /* the probe of a dead socket: whatever it says, the address counts as in use */
  {"getsockopt", NO_STREAM, {E(ENOBUFS)}},
  {"getpeername", SAID, {E(ENOBUFS)}},
  {"getsockname", SAID, {E(ENOBUFS)}},
  {"ioctl", SAID, {E(ENOTTY)}},
  {"stat", FILE_STAYS, {E(EACCES), E(ENOMEM)}},
  {"newfstatat", FILE_STAYS, {E(EACCES), E(ENOMEM)}},
  {"unlink", FILE_STAYS, {E(EACCES), E(EROFS)}},
  {"unlinkat", FILE_STAYS, {E(EACCES), E(EROFS)}},
};

static const row traffic[] = {
  {"accept4", ACCEPT, {E(EMFILE), E(ENFILE), E(ENOBUFS), E(ENOMEM)}},
  {"accept4", UNSEEN, {E(ECONNABORTED), E(EINTR), E(EPROTO)}},
  {"epoll_ctl_add", ACCEPT, {E(ENOSPC), E(ENOMEM)}},
  {"epoll_wait", UNSEEN, {E(EINTR)}},
  {"epoll_pwait", UNSEEN, {E(EINTR)}},
  {"epoll_pwait2", UNSEEN, {E(EINTR)}},
  {"recvfrom", UNSEEN, {E(EINTR)}},
  {"recvfrom", LOSES, {E(ECONNRESET), E(ETIMEDOUT), E(ENOMEM), E(EHOSTUNREACH)}},
  {"sendto", UNSEEN, {E(EINTR)}},
  {"sendto", LOSES, {E(EPIPE), E(ECONNRESET), E(ENOBUFS), E(ENOMEM), E(ETIMEDOUT)}},
  {"sendmsg", UNSEEN, {E(EINTR)}},
  {"sendmsg", LOSES, {E(ENOMEM), E(EPIPE), E(ECONNRESET), E(ENOBUFS)}},
  {"sendfile", UNSEEN, {E(EINTR)}},
  {"sendfile", LOSES, {E(EIO), E(EINVAL), E(ENOMEM), E(EPIPE), E(ECONNRESET), E(EOVERFLOW)}},
  {"fstat", SAID, {E(EIO), E(EOVERFLOW)}},
  {"pread64", UNSEEN, {E(EINTR)}},
  {"pread64", LOSES_FILE, {E(EIO), E(EISDIR)}},
};

typedef struct {
  const char *name;
  const row *rows;
  size_t n;
  int tls;
  uint64_t watch;
} scene;

static const scene scenes[] = {
  {"opening", opening, sizeof opening / sizeof *opening, 0, ENCKE_WATCH_ONE},
  {"traffic", traffic, sizeof traffic / sizeof *traffic, 0, ENCKE_WATCH_ONE},
  {"each", traffic, sizeof traffic / sizeof *traffic, 0, ENCKE_WATCH_EACH},
  {"traffic-tls", traffic, sizeof traffic / sizeof *traffic, 1, ENCKE_WATCH_ONE},
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- one fault -------------------------------------------------------------------------------------------------------------- */

#define BESIDE 4 /* children at a time: a scene waits for time-outs more than it works */

/* What a child tells: it lives in memory that both processes see. */
typedef struct { unsigned done, seen, total; } report;
static report *reports;

static void play(const scene *s, const fault *f, report *r) {
  if (s->rows == opening) scene_opening(f);
  else scene_traffic(f, s->watch);
  r->done = inject_done();
  r->seen = f->call >= 0 ? inject_seen(f->call) : 0;
  r->total = inject_total();
  if (inject_unknown() >= 0) check_fail(__FILE__, __LINE__, "system call %ld is not in the table of inject.c", inject_unknown());
}

static void prepare(const scene *s) {
  if (s->tls) setenv("ENCKE_TEST_TLS", "1.3", 1);
  else unsetenv("ENCKE_TEST_TLS");
}

static pid_t start_child(const scene *s, const fault *f, report *r) {
  memset(r, 0, sizeof *r);
  fflush(NULL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child > 0) return child;
  int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
  dup2(quiet, 1);
  close(quiet);
  if (!inject_install()) _exit(1);
  play(s, f, r);
  _exit(0);
}

/* 1: the child found everything as it should be. */
static int end_child(pid_t child) {
  int status = 0, rounds = 60000; /* of a millisecond: a machine that stands still does not use them up */
  pid_t ended;
  while ((ended = waitpid(child, &status, WNOHANG)) == 0 && rounds-- > 0) poll(NULL, 0, 1);
  if (ended == 0) {
    fprintf(stderr, "the child hangs\n");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  if (ended > 0 && WIFSIGNALED(status)) fprintf(stderr, "the child was ended by signal %d\n", WTERMSIG(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------ */

static unsigned played, failed, injected;

/* Every n that the scene reaches. */
static void every_n(const scene *s, const row *r, const named *errors, size_t nerrors, unsigned times) {
  fault f[BESIDE];
  pid_t children[BESIDE];
  int call = inject_call_of(r->call), reached = 1;
  if (call < 0) return; /* not on this processor */
  for (unsigned n = 1; reached && n < 5000; n += BESIDE) {
    for (unsigned i = 0; i < BESIDE; i++) {
      f[i] = (fault){call, n + i, times, errors[(n + i - 1) % nerrors].error, r->effect};
      children[i] = start_child(s, &f[i], &reports[i]);
    }
    for (unsigned i = 0; i < BESIDE; i++) {
      int good = end_child(children[i]);
      played++;
      injected += reports[i].done;
      if (good && reports[i].done == 0) reached = 0;
      if (good) continue;
      fprintf(stderr, "FAILED: faults one %s %s %u %u %s\n", s->name, r->call, n + i, times, errors[(n + i - 1) % nerrors].name);
      if (++failed >= 10) exit(1);
    }
  }
}

static void every_row(const scene *s, int all) {
  unsigned before = played, injected_before = injected;
  prepare(s);
  for (size_t i = 0; i < s->n; i++) {
    const row *r = &s->rows[i];
    size_t n = 0;
    while (n < COUNT(r->errors) && r->errors[n].name) n++;
    if (!all) every_n(s, r, r->errors, n, 1);
    for (size_t k = 0; all && k < n; k++) every_n(s, r, &r->errors[k], 1, 1);
    if (all && r->effect != SAID) every_n(s, r, r->errors, 1, 3);
  }
  printf("%-12s %5u runs, %5u faults\n", s->name, played - before, injected - injected_before);
  fflush(stdout);
}

/* Without a fault: how many calls there are, and that everything is as it should be. */
static void without(const scene *s) {
  fault f = {.call = -1, .times = 1, .effect = UNSEEN};
  prepare(s);
  if (!end_child(start_child(s, &f, reports))) check_fail(__FILE__, __LINE__, "%s fails without a fault", s->name);
  printf("%-12s %5u system calls of the library\n", s->name, reports->total);
  fflush(stdout);
}

static int tls_here(void) { return encke_has_feature("tls"); }

static void all_of_it(int all) {
  for (size_t i = 0; i < COUNT(scenes); i++) {
    if (scenes[i].tls && !tls_here()) continue;
    if (!all && i >= 2) continue;
    without(&scenes[i]);
    every_row(&scenes[i], all);
  }
  printf("faults: %u runs, %u faults, %u failed\n", played, injected, failed);
}

static int one(char **argv) {
  for (size_t i = 0; i < COUNT(scenes); i++) {
    const scene *s = &scenes[i];
    if (strcmp(s->name, argv[0]) != 0) continue;
    for (size_t k = 0; k < s->n; k++) {
      if (strcmp(s->rows[k].call, argv[1]) != 0) continue;
      for (const named *error = s->rows[k].errors; error->name; error++) {
        if (strcmp(error->name, argv[4]) != 0) continue;
        fault f = {inject_call_of(argv[1]), (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), error->error, s->rows[k].effect};
        prepare(s);
        if (!inject_install()) return 77;
        play(s, &f, reports);
        printf("%u of %u calls failed\n", reports->done, reports->seen);
        return 0;
      }
    }
  }
  fprintf(stderr, "no such fault\n");
  return 2;
}

int main(int argc, char **argv) {
  reports = mmap(NULL, BESIDE * sizeof *reports, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(reports != MAP_FAILED);
  signal(SIGPIPE, SIG_IGN);
  if (argc == 7 && strcmp(argv[1], "one") == 0) return one(argv + 2);
  if (argc != 2 || (strcmp(argv[1], "quick") != 0 && strcmp(argv[1], "all") != 0)) {
    fprintf(stderr, "usage: faults quick | all | one SCENE CALL N TIMES ERRNO\n");
    return 2;
  }
  fflush(NULL);
  pid_t probe = fork();
  if (probe == 0) _exit(inject_install() ? 0 : 77);
  int status = 0;
  CHECK(probe > 0 && waitpid(probe, &status, 0) == probe);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    puts("faults: skipped");
    return 77;
  }
  all_of_it(strcmp(argv[1], "all") == 0);
  return failed > 0;
}
