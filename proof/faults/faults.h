/* faults.h - what the scenes of faults.c share. The rule: a scene is one child process, so a failure leaves nothing behind. */
#ifndef FAULTS_H
#define FAULTS_H

#include "../../c-tests/check.h"
#include "inject.h"
#include "process.h"

/* What a failed call may lead to. */
typedef enum {
  UNSEEN, /* nothing: everybody is served as if it had not been */
  LOSES,  /* the connection that it was about; nobody else notices */
  LOSES_FILE, /* as LOSES, but the call names a file and no connection: one whose answer is a file */
  ACCEPT, /* ENCKE_EV_LISTENER with this errno; then everybody is served */
  SAID,   /* the call of the API says ENCKE_E_SYS with this errno, and did nothing */
  NO_STREAM, /* as SAID, or ENCKE_E_INVAL: a socket that does not tell what it is counts as none */
  FILE_STAYS, /* as UNSEEN, but the file of a UNIX socket may be left behind */
  NO_MEMORY, /* a call of the API says ENCKE_E_NOMEM and did nothing, or one connection is lost or hears 503: which one nobody knows */
} effect;

/* The n-th call of that kind, and times - 1 more of them, fail. */
typedef struct fault {
  int call;
  unsigned n, times;
  int error;
  effect effect;
  /* NO_MEMORY: an allocation of at least so many bytes instead of a call. */
  void (*arm)(const struct fault *);
  int (*happened)(void);
} fault;

/* Each ends the process with 1 where something is not as it should be. */
void scene_opening(const fault *);
void scene_traffic(const fault *, uint64_t watch);

#endif
