/*
 * listen.c - the smallest client of a message bus: prints every message, reconnects by itself, listens on no port.
 *
 *   ./listen [URL [CHANNEL]]      default http://127.0.0.1:8888/msgbus/ and every channel; ws://HOST/PATH is a WebSocket
 */
#include <stdio.h>

#include <encke.h>

int main(int argc, char **argv) {
  encke *e;
  encke_event ev;
  encke_id link, all;
  if (encke_new(NULL, &e) != ENCKE_OK || encke_link_open(e, argc > 1 ? argv[1] : NULL, NULL, 0, &link) != ENCKE_OK ||
      encke_link_subscribe(e, link, argc > 2 ? argv[2] : "", NULL, 0, &all) != ENCKE_OK) {
    fprintf(stderr, "listen: %s\n", encke_last_error());
    return 1;
  }
  while (encke_wait(e, -1) >= 0) {
    while (encke_next(e, &ev, sizeof ev) > 0) {
      if (ev.kind == ENCKE_EV_MESSAGE) {
        printf("%s %s %s: ", ev.channel.p, ev.message->type.p, ev.message->from.p);
        fwrite(ev.message->data, 1, ev.message->len, stdout);
        putchar('\n');
      } else if (ev.kind == ENCKE_EV_LINK && ev.code == ENCKE_LINK_DOWN) {
        fprintf(stderr, "listen: %s; trying again\n", (const char *)ev.data);
      } else if (ev.kind == ENCKE_EV_LINK && ev.code == ENCKE_LINK_REFUSED) {
        fprintf(stderr, "listen: the server says %u; trying again\n", ev.more);
      }
    }
    fflush(stdout);
  }
  encke_free(e);
  return 0;
}
