/* account.c - see account.h. */
#define _GNU_SOURCE
#include "account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

struct account find_account(const char *text) {
  struct account account;
  struct passwd *entry = getpwnam(text);
  if (entry == NULL && text[strspn(text, "0123456789")] == '\0' && text[0] != '\0')
    entry = getpwuid(account.uid = (uid_t)number("--user", text, 0, UINT32_MAX - 1));
  else if (entry == NULL)
    die("--user: there is no user \"%s\"", text);
  if (entry != NULL) {
    account.uid = entry->pw_uid;
    account.gid = entry->pw_gid;
    account.name = copy_text(entry->pw_name);
  } else { /* a number that nobody has a name for: its group is the same number */
    account.gid = (gid_t)account.uid;
    account.name = NULL;
  }
  return account;
}

/* Groups first: afterwards it is not allowed any more. Then looks whether there is a way back. */
void become(struct account account) {
  if (geteuid() != 0 && geteuid() == account.uid)
    return;
  if ((account.name != NULL ? initgroups(account.name, account.gid) : setgroups(0, NULL)) != 0)
    die("--user: setgroups: %s", strerror(errno));
  if (setgid(account.gid) != 0)
    die("--user: setgid: %s", strerror(errno));
  if (setuid(account.uid) != 0)
    die("--user: setuid: %s", strerror(errno));
  if (getuid() != account.uid || geteuid() != account.uid || getgid() != account.gid || getegid() != account.gid ||
      (account.uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)))
    die("--user: the privileges were not given up");
}
