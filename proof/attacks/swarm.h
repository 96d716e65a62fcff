/*
 * swarm.h - many connections of one attacker. The rule: nothing blocks, whatever the server does; a connection that it
 * ends is counted and replaced.
 */
#ifndef SWARM_H
#define SWARM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ssl_st;

typedef struct {
  int fd;             /* -1: none */
  int over;           /* the server has ended it */
  struct ssl_st *ssl;
  int established;
  int turns;
  size_t place;       /* in what it says */
  uint64_t heard;
} conn;

/* What each connection of a swarm does, in turns. */
typedef struct {
  const char *once;   /* first, and then */
  size_t once_n;      /* 0: as long as the text */
  const char *again;  /* this without end; NULL: nothing more */
  size_t again_n;
  size_t piece;       /* bytes in one call; 0: as many as the socket takes */
  int burst;          /* calls in one turn; 0: one, or for piece 0 some */
  enum { READ_ALL, READ_ONE, READ_NOTHING } read;
  int small;          /* a small receive buffer */
  int life;           /* turns after which it is closed and replaced; 0: never */
  int reset;          /* closed by a reset */
  int polite;         /* over TLS: close_notify first; what has come and was not read makes it a reset all the same */
  int tls;            /* 0: plain; 12, 13 */
  int pause_ms;       /* between two rounds */
  int (*each)(conn *);/* instead of saying anything, once established; 0: this connection is over */
} script;

void conn_open(conn *, int port, const script *);
void conn_close(conn *, const script *);
/* > 0: taken; 0: not now; < 0: over */
ssize_t conn_say(conn *, const void *data, size_t n);
ssize_t conn_hear(conn *, void *data, size_t n);

/* The first bytes that a TLS client says. */
size_t client_hello(unsigned char *out, size_t cap, int version);

int swarm_has_tls(void);

#endif
