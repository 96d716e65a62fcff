/*
 * push_without.c - a library that was built without push. The rule: sections 11 and 12 are there, every function of them says
 * so, and a request that was offered to them is still the host's.
 */
#include "check.h"

int main(void) {
  host *h = HOST_PLAIN();
  int port = host_listen(h);
  peer *p = peer_tcp(port);
  encke_message message = {0};
  encke_channel_facts facts = {0};
  const char *names[] = {"news"};
  char text[64];
  CHECK_EQ(encke_has_feature("push"), 0);
  peer_send(p, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  UNTIL(SEEN(h, REQUEST) == 1);
  encke_id id = request_id(h, 0);
  CHECK_RC(encke_subscribe(h->s, id, names, 1, NULL, 0), ENCKE_E_NOTSUP);
  CHECK(strstr(encke_last_error(), "channels") != NULL);
  CHECK_RC(encke_unsubscribe(h->s, id, "news"), ENCKE_E_NOTSUP);
  CHECK_RC(encke_ws_accept(h->s, id, NULL, 0), ENCKE_E_NOTSUP);
  CHECK_RC(encke_ws_send(h->s, id, ENCKE_WS_TEXT, "x", 1), ENCKE_E_NOTSUP);
  CHECK_RC(encke_ws_close(h->s, id, 1000, ""), ENCKE_E_NOTSUP);
  CHECK_RC(encke_publish(h->s, 0, "news", &message, sizeof message), ENCKE_E_NOTSUP);
  CHECK_RC(encke_channel_set(h->s, "news", ENCKE_CHANNEL_HISTORY, 1), ENCKE_E_NOTSUP);
  CHECK_RC(encke_channel_get(h->s, "news", &facts, sizeof facts), ENCKE_E_NOTSUP);
  CHECK_RC(encke_channel_next(h->s, "", text, sizeof text, NULL), ENCKE_E_NOTSUP);
  CHECK_RC(encke_share(h->e, h->s), ENCKE_E_NOTSUP);
  CHECK_RC(encke_reply(h->s, id, 200, NULL, "still yours", 11), ENCKE_OK);
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "still yours");
  peer_close(p);
  host_close(h);
  return check_end();
}
