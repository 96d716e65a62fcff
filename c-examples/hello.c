/*
 * hello.c - the smallest encke server, for a program that has no loop of its own: encke_wait blocks,
 * encke_next_request hands over one request after the other, encke_reply answers and settles it.
 *
 *   ./hello [ADDRESS]                      default 127.0.0.1:8080
 *   curl -i http://127.0.0.1:8080/
 */
#include <stdio.h>

#include <encke.h>

int main(int argc, char **argv) {
  const char *address = argc > 1 ? argv[1] : "127.0.0.1:8080";
  encke *e = NULL;
  if (encke_new(NULL, &e) != ENCKE_OK || encke_listen(e, address, NULL, NULL) != ENCKE_OK) {
    fprintf(stderr, "hello: %s\n", encke_last_error());
    encke_free(e);
    return 1;
  }
  encke_sender *sender = encke_get_sender(e);
  while (encke_wait(e, -1) >= 0) {
    encke_id id;
    const encke_head *head;
    while (encke_next_request(e, &id, &head) > 0) {
      printf("%s %s\n", head->method.p, head->target.p);
      encke_reply(sender, id, 200, "text/plain", "Hello, World!\n", 14); /* settles, whatever it returns */
    }
  }
  fprintf(stderr, "hello: %s\n", encke_last_error());
  encke_free(e);
  return 1;
}
