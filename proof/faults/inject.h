/*
 * inject.h - makes chosen system calls of the library fail. The library calls the kernel without libc, so nothing can be
 * put in front of its calls; a seccomp filter hands every system call whose instruction lies in the library's code to a
 * handler, which carries it out or makes it fail. The rule: the test's own calls never come here, so a count of calls is a
 * count of the library's.
 */
#ifndef INJECT_H
#define INJECT_H

#include <stddef.h>
#include <sys/types.h>

/* Which calls: one of those that a table of the handler knows, by the name strace has for it. */
int         inject_calls(void);             /* how many there are, numbered from 0 */
const char *inject_call_name(int call);
int         inject_call_of(const char *name); /* -1: no such call */

/* The filter, once and for the rest of the process; 0: not on this machine, and why is on stderr. */
int inject_install(void);

/* From now on: the n-th call of that kind (the first is 1), and the `times - 1` after it, return -error; 0 counts only. */
void     inject_arm(int call, unsigned n, unsigned times, int error);
void     inject_pause(int pause);  /* while it is 1 nothing is counted and nothing fails; so it is before inject_arm() */
unsigned inject_seen(int call);    /* calls of that kind since inject_arm() */
unsigned inject_total(void);       /* all calls of the library since inject_arm() */
unsigned inject_done(void);        /* how many were made to fail */
long     inject_unknown(void);     /* the number of a call that the table does not know, -1: none was seen */

/* Whether one of the failed calls was about a socket whose other end has this port; 0: about one that is not TCP. */
int inject_hit(int port);

#endif
