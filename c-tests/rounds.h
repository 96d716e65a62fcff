/* rounds.h - one poll(2) over all hosts and clients of a test program. Private to the harness. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include "check.h"

#include <poll.h>

typedef struct { host *h; peer *p; } owner;

typedef struct {
  struct pollfd *fds;
  owner *of;
  size_t n, cap;
  int timeout;
  host *due[64]; /* hosts in WATCH_EACH whose time-out is over when this poll is */
  size_t ndue;
} rounds;

void   rounds_add(rounds *, host *, peer *, int fd, short events);
void   rounds_due(rounds *, host *);
int    rounds_is_due(const rounds *, const host *);

size_t rounds_hosts(rounds *);
size_t rounds_peers(rounds *);
int    rounds_host(rounds *, host *, int timed_out);
size_t rounds_each_host(rounds *, int timed_out);
size_t rounds_each_peer(rounds *);
void   rounds_show_hosts(void);
void   rounds_show_peers(void);
size_t rounds_open_hosts(void);
size_t rounds_open_peers(void);

#endif
