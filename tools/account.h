/* account.h - the user that a daemon becomes once it has what only root gets. */
#ifndef ENCKE_TOOLS_ACCOUNT_H
#define ENCKE_TOOLS_ACCOUNT_H

#include <sys/types.h>

struct account {
  uid_t uid;
  gid_t gid;
  char *name; /* NULL: only a number */
};

/* By name or number, or exit code 1. */
struct account find_account(const char *text);
/* For ever, or exit code 1; whoever is that user already may say so. */
void become(struct account account);

#endif
