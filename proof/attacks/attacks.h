/* attacks.h - what the attacks share. The rule: an attack is a function that does its worst until the time is over. */
#ifndef ATTACKS_H
#define ATTACKS_H

#include "../load/box.h"
#include "../load/server.h"
#include "swarm.h"

typedef struct {
  box *box;
  pid_t server;
  int port;           /* of what is attacked: with or without TLS */
  uint64_t until, limit; /* now_us() */
  uint64_t enough;    /* answers to the bystander */
  uint64_t command_at; /* 0: never; then the server is told this */
  int command, grace_ms;
  /* what the attacker counts */
  uint64_t opened, ended, said, heard;
} ground;

/* n connections that all do this, until the time is over. */
void swarm(ground *, int n, const script *);

/* Until the time is over, and the bystander has had a few answers: on a slow machine that may take longer. */
static inline int going(const ground *g) {
  uint64_t now = now_us();
  return now < g->until || (now < g->limit && !atomic_load(&g->box->failed) && atomic_load(&g->box->answers) < g->enough);
}

enum {
  OVER_TLS = 1,
  NO_NEW = 2,     /* the bystander keeps its connection: new ones cannot be had */
  MAY_WAIT = 4,   /* all memory is taken: the bystander may wait for the time-outs of others, and hear 503 */
  MAY_CLOSE = 8,  /* the bystander's connection may end between two answers */
  MAY_CUT = 16,   /* also inside one */
  LEAVES = 32,    /* the attack ends the server */
  LONG = 64,      /* not in the quick form */
  OPEN = 128,     /* a fault that is known and not mended yet: not in the quick form */
};

typedef struct {
  const char *name;
  void (*run)(ground *);
  const setting *settings; /* ends with {0, 0} */
  int flags;
  int fd_limit;
  int connections;         /* of the attacker, for the bound of the server's memory */
} attack;

extern const attack plain_attacks[], framing_attacks[], secure_attacks[], leaving_attacks[], listening_attacks[]; /* end with {NULL} */

/* Short time-outs and small limits; what a host would set that fears its clients. */
extern const setting defaults[], tight[];
enum { TIGHT_MEMORY = 4 << 20 };

#endif
