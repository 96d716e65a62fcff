/* hello.c - the smallest host there is: prints where it listens, then answers everything. */
#include <encke.h>
#include <stdio.h>

int main(void) {
  encke *e;
  encke_id listener, id;
  const encke_head *head;
  char at[64];
  if (encke_new(NULL, &e) || encke_listen(e, "127.0.0.1:0", NULL, &listener)) return 1;
  if (encke_info(e, listener, ENCKE_INFO_LOCAL, at, sizeof at, NULL)) return 1;
  printf("%s\n", at);
  fflush(stdout);
  while (encke_wait(e, -1) >= 0)
    while (encke_next_request(e, &id, &head) > 0) encke_reply(encke_get_sender(e), id, 200, "text/plain", "hello\n", 6);
  return 1;
}
