/*
 * allocations.h - makes chosen allocations of the library fail. This program has its own malloc in front of libc's, and
 * counts those whose caller lies in the library's code. The rule: the test's own allocations never fail.
 */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

#include <stddef.h>

int      allocations_seen(void); /* finds the library; 0: it is linked statically, and nobody can tell the callers apart */
void     allocations_arm(unsigned n, size_t least); /* the n-th of at least so many bytes fails from now on; 0: only counts */
void     allocations_disarm(void);
unsigned allocations_count(void); /* of at least that size, since allocations_arm() */
size_t   allocations_failed(void); /* the size of the one that failed; 0: none did */

#endif
