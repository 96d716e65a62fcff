/*
 * inject.c - see inject.h. The filter compares the address of the instruction with the library's segments in memory; what
 * it catches comes as SIGSYS with the registers as they were, and the handler's result goes back into them.
 */
#include "inject.h"

#include "process.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* fd: which argument has the socket that the call is about; -1: none. op: only with this second argument; 0: any. */
typedef struct { const char *name; long number; int fd, op; } call;

static const call calls[] = {
#ifdef SYS_epoll_wait
  {"epoll_wait", SYS_epoll_wait, -1, 0},
#endif
#ifdef SYS_accept
  {"accept", SYS_accept, 0, 0},
#endif
#ifdef SYS_epoll_pwait2
  {"epoll_pwait2", SYS_epoll_pwait2, -1, 0},
#endif
#ifdef SYS_stat
  {"stat", SYS_stat, -1, 0},
#endif
#ifdef SYS_unlink
  {"unlink", SYS_unlink, -1, 0},
#endif
#ifdef SYS_chmod
  {"chmod", SYS_chmod, -1, 0},
#endif
#ifdef SYS_newfstatat
  {"newfstatat", SYS_newfstatat, -1, 0},
#endif
#ifdef SYS_statx
  {"statx", SYS_statx, -1, 0},
#endif
  {"accept4", SYS_accept4, -1, 0},
  {"bind", SYS_bind, -1, 0},
  {"connect", SYS_connect, -1, 0},
  {"epoll_create1", SYS_epoll_create1, -1, 0},
  {"epoll_ctl_add", SYS_epoll_ctl, 2, EPOLL_CTL_ADD},
  {"epoll_ctl_del", SYS_epoll_ctl, 2, EPOLL_CTL_DEL},
  {"epoll_ctl_mod", SYS_epoll_ctl, 2, EPOLL_CTL_MOD},
  {"epoll_pwait", SYS_epoll_pwait, -1, 0},
  {"eventfd2", SYS_eventfd2, -1, 0},
  {"fchmodat", SYS_fchmodat, -1, 0},
  {"fcntl", SYS_fcntl, 0, 0},
  {"fstat", SYS_fstat, -1, 0},
  {"getpeername", SYS_getpeername, 0, 0},
  {"getsockname", SYS_getsockname, 0, 0},
  {"getsockopt", SYS_getsockopt, 0, 0},
  {"ioctl", SYS_ioctl, 0, 0},
  {"listen", SYS_listen, -1, 0},
  {"pread64", SYS_pread64, -1, 0},
  {"read", SYS_read, -1, 0},
  {"recvfrom", SYS_recvfrom, 0, 0},
  {"sendfile", SYS_sendfile, 0, 0},
  {"sendmsg", SYS_sendmsg, 0, 0},
  {"sendto", SYS_sendto, 0, 0},
  {"setsockopt", SYS_setsockopt, 0, 0},
  {"shutdown", SYS_shutdown, 0, 0},
  {"socket", SYS_socket, -1, 0},
  {"timerfd_create", SYS_timerfd_create, -1, 0},
  {"timerfd_settime", SYS_timerfd_settime, -1, 0},
  {"unlinkat", SYS_unlinkat, -1, 0},
  {"write", SYS_write, -1, 0},
};

#define CALLS ((int)(sizeof calls / sizeof *calls))

int inject_calls(void) { return CALLS; }

const char *inject_call_name(int which) { return calls[which].name; }

int inject_call_of(const char *name) {
  for (int i = 0; i < CALLS; i++)
    if (strcmp(calls[i].name, name) == 0) return i;
  return -1;
}

/* ---- what is to fail ---------------------------------------------------------------------------------------------------- */

static atomic_uint seen[sizeof calls / sizeof *calls], total, done;
static atomic_long unknown = -1;
static atomic_int what = -1, paused = 1, hits[16]; /* ports of those that were hit; -1: about no socket */
static unsigned first, last;
static int with_error;

void inject_pause(int pause) { atomic_store(&paused, pause); }

void inject_arm(int which, unsigned n, unsigned times, int error) {
  inject_pause(1);
  for (int i = 0; i < CALLS; i++) atomic_store(&seen[i], 0);
  atomic_store(&total, 0);
  atomic_store(&done, 0);
  for (size_t i = 0; i < sizeof hits / sizeof *hits; i++) atomic_store(&hits[i], -1);
  first = n, last = n + times - 1, with_error = error;
  atomic_store(&what, which);
  inject_pause(0);
}

unsigned inject_seen(int which) { return atomic_load(&seen[which]); }
unsigned inject_total(void) { return atomic_load(&total); }
unsigned inject_done(void) { return atomic_load(&done); }
long inject_unknown(void) { return atomic_load(&unknown); }

int inject_hit(int port) {
  for (size_t i = 0; i < sizeof hits / sizeof *hits && i < atomic_load(&done); i++)
    if (atomic_load(&hits[i]) == port) return 1;
  return 0;
}

static int port_of(int fd) {
  struct sockaddr_storage at;
  socklen_t n = sizeof at;
  if (getpeername(fd, (struct sockaddr *)&at, &n) != 0) return 0;
  if (at.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&at)->sin_port);
  if (at.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&at)->sin6_port);
  return 0;
}

/* Async-signal-safe: atomics and system calls. */
static long carry_out(long number, const long *a) {
  int which = -1, counts = !atomic_load(&paused);
  for (int i = 0; counts && i < CALLS; i++)
    if (calls[i].number == number && (calls[i].op == 0 || calls[i].op == a[1])) which = i;
  if (counts) atomic_fetch_add(&total, 1);
  if (counts && which < 0) atomic_store(&unknown, number);
  if (which >= 0) {
    unsigned n = atomic_fetch_add(&seen[which], 1) + 1;
    if (with_error != 0 && which == atomic_load(&what) && n >= first && n <= last) {
      int fd = calls[which].fd >= 0 ? (int)a[calls[which].fd] : -1;
      unsigned nth = atomic_fetch_add(&done, 1);
      if (nth < sizeof hits / sizeof *hits) atomic_store(&hits[nth], fd >= 0 ? port_of(fd) : -1);
      return -with_error;
    }
  }
  long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  return result < 0 ? -errno : result;
}

/* ---- the filter ----------------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifndef ARCH

int inject_install(void) {
  fputs("faults: not on this processor\n", stderr);
  return 0;
}

#else

static void on_sigsys(int signal_number, siginfo_t *info, void *context) {
  ucontext_t *u = context;
  int saved = errno;
  (void)signal_number;
#if defined(__x86_64__)
  greg_t *r = u->uc_mcontext.gregs;
  const long a[] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
  r[REG_RAX] = carry_out(info->si_syscall, a);
#else
  unsigned long long *r = u->uc_mcontext.regs;
  const long a[] = {(long)r[0], (long)r[1], (long)r[2], (long)r[3], (long)r[4], (long)r[5]};
  r[0] = (unsigned long long)carry_out(info->si_syscall, a);
#endif
  errno = saved;
}

static int not_here(const char *why) {
  fprintf(stderr, "faults: %s\n", why);
  return 0;
}

int inject_install(void) {
  code_range code;
  if (!library_code(&code)) return not_here("the library's code was not found, or it is linked statically");
  if (code.start >> 32 != (code.end - 1) >> 32) return not_here("the library lies across 4 GiB");
  uint32_t high = (uint32_t)(code.start >> 32), low = (uint32_t)code.start, end = (uint32_t)(code.end - 1);
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 6),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4), /* little-endian */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 4),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, low, 0, 2),
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, end, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_sigsys;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  if (sigaction(SIGSYS, &action, NULL) != 0) return not_here("sigaction");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return not_here("no PR_SET_NO_NEW_PRIVS");
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) return not_here("no seccomp here");
  return 1;
}

#endif
