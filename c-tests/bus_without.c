/*
 * bus_without.c - a library that was built without mounts and links. The rule: sections 13 and 14 are there, every function of
 * them says so, and channels (where they are built in) know nothing of it.
 */
#include "check.h"

int main(void) {
  host *h = HOST_PLAIN();
  int port = host_listen(h);
  encke_id id = 7;
  encke_mount_options files;
  encke_link_options options;
  encke_message message;
  memset(&files, 0, sizeof files), memset(&options, 0, sizeof options), memset(&message, 0, sizeof message);
  files.directory = str("/");
  options.flags = ENCKE_LINK_SOURCE;
  CHECK_EQ(encke_has_feature("mounts"), 0);
  CHECK_EQ(encke_has_feature("links"), 0);

  SECTION("mounts");
  CHECK_RC(encke_mount(h->e, ENCKE_MOUNT_BUS, "/msgbus/", NULL, 0, &id), ENCKE_E_NOTSUP);
  CHECK(strstr(encke_last_error(), "no mounts") != NULL);
  CHECK_RC(encke_mount(h->e, ENCKE_MOUNT_FILES, "/", &files, sizeof files, &id), ENCKE_E_NOTSUP);
  peer *p = peer_tcp(port);
  peer_send(p, "POST /msgbus/news HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
  UNTIL(SEEN(h, REQUEST) == 1);
  CHECK_RC(encke_pass(h->s, request_id(h, 0), 1), ENCKE_E_NOTSUP);
  CHECK_RC(encke_reply(h->s, request_id(h, 0), 200, NULL, "still yours", 11), ENCKE_OK);
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(peer_nth(p, 0)->body, "still yours");
  peer_close(p);

  SECTION("links");
  CHECK_RC(encke_link_open(h->e, textf("http://127.0.0.1:%d/msgbus/", port), NULL, 0, &id), ENCKE_E_NOTSUP);
  CHECK(strstr(encke_last_error(), "no links") != NULL);
  CHECK_RC(encke_link_open(h->e, textf("ws://127.0.0.1:%d/", port), &options, sizeof options, &id), ENCKE_E_NOTSUP);
  CHECK_RC(encke_link_subscribe(h->e, 1, "news", NULL, 0, &id), ENCKE_E_NOTSUP);
  CHECK_EQ(id, 7);

  SECTION("what is without them is as it was");
  int push = encke_has_feature("push");
  CHECK_RC(encke_publish(h->s, 0, "news", &message, sizeof message), push ? ENCKE_OK : ENCKE_E_NOTSUP);
  CHECK_RC(encke_publish(h->s, 1, "news", &message, sizeof message), push ? ENCKE_E_GONE : ENCKE_E_NOTSUP);
  host_close(h);
  return check_end();
}
