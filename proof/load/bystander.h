/* bystander.h - a well-behaved client that must be served whatever others do, and says how long it waited. */
#ifndef BYSTANDER_H
#define BYSTANDER_H

#include "box.h"
#include "client.h"

typedef struct {
  box *box;
  kind kind;
  int port;
  int new_every;   /* a new connection after so many requests; 0: never */
  int pause_us;    /* between two requests */
  int may_close;   /* the server may end the connection between two answers: then it is over */
  int may_cut;     /* also inside one */
  int may_wait;    /* the server may answer 503 and close */
} bystander;

int bystander_play(void *bystander); /* for start_process(); until box->stop */

#endif
