/* server.h - the host under attack and under load: one process, one encke, a poll loop. */
#ifndef SERVER_H
#define SERVER_H

#include "../../c-tests/check.h"
#include "box.h"

typedef struct {
  box *box;
  const setting *settings; /* ends with {0, 0} */
  int fd_limit;            /* this many fds more than it has at the start; 0: as many as the system allows */
  int workers;             /* threads that answer /work */
  const char *chain, *key; /* PEM; NULL: without TLS */
} server;

/* For start_process(). Ends after DRAIN or FREE in box->command; server_command() says it and wakes. */
int  server_play(void *server);
void server_command(box *, pid_t, int command, int grace_ms);

#endif
