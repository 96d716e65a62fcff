/*
 * tls_links.c - links over TLS, against an encke with a bus. The rule: a server that cannot prove who it is hears nothing, and
 * the host hears why.
 */
#include "tls.h"

static host *server, *h;
static int port;

static size_t told(encke_id id, int code) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++) n += h->log[i].kind == ENCKE_EV_LINK && h->log[i].id == id && h->log[i].code == code;
  return n;
}

static const char *why(encke_id id) {
  for (size_t i = h->n; i-- > 0;)
    if (h->log[i].kind == ENCKE_EV_LINK && h->log[i].id == id && h->log[i].code == ENCKE_LINK_DOWN) return h->log[i].data;
  return "";
}

static int open_link(const char *url, const char *ca, encke_id *id) {
  encke_link_options o;
  memset(&o, 0, sizeof o);
  o.ca_pem = str(ca), o.retry_ms_max = 20, o.flags = ENCKE_LINK_REPORT, o.user = str("zoe");
  return encke_link_open(h->e, url, &o, sizeof o, id);
}

static void publish(encke_id link, const char *data, size_t n) {
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str("application/x"), m.data = data, m.len = n;
  CHECK_OK(encke_publish(h->s, link, "news", &m, sizeof m));
}

static void speaks(const cert *authority) {
  SECTION("there and back, small and large");
  encke_id link = 0, sub = 0;
  CHECK_OK(open_link(textf("https://localhost:%d/msgbus/", port), cert_pem(authority), &link));
  CHECK_OK(encke_link_subscribe(h->e, link, "news", NULL, 0, &sub));
  UNTIL(told(sub, ENCKE_LINK_UP) == 1);
  publish(link, "hello", 5);
  UNTIL(SEEN(h, MESSAGE) == 1);
  event *ev = host_nth(h, ENCKE_EV_MESSAGE, 0);
  CHECK_BYTES(ev->data, ev->len, "hello", 5);
  CHECK_TEXT(ev->from, "zoe");
  CHECK_TEXT(ev->type, "application/x");
  size_t n = 900000;
  char *large = pattern(n, 5);
  publish(link, large, n);
  publish(link, "behind it", 9);
  UNTIL(SEEN(h, MESSAGE) == 3);
  ev = host_nth(h, ENCKE_EV_MESSAGE, 1);
  CHECK_BYTES(ev->data, ev->len, large, n);
  free(large);
  UNTIL(told(link, ENCKE_LINK_ACKED) > 0 && host_last(h, ENCKE_EV_LINK, link)->cookie == 3);
  CHECK_OK(encke_close(h->e, link));
  UNTIL(told(link, ENCKE_LINK_CLOSED) == 1 && told(sub, ENCKE_LINK_CLOSED) == 1);
}

/* A link to that URL with that root never gets through, and says so. */
static void fails(const char *url, const cert *root, const char *because) {
  encke_id link = 0;
  size_t before = SEEN(server, REQUEST);
  uint64_t requests = host_stats(server).requests;
  CHECK_OK(open_link(url, cert_pem(root), &link));
  publish(link, "secret", 6);
  UNTIL(told(link, ENCKE_LINK_DOWN) == 1);
  if (!strstr(why(link), because)) check_fail(__FILE__, __LINE__, "%s: %s", url, why(link));
  CHECK_EQ(told(link, ENCKE_LINK_UP), 0);
  CHECK_OK(encke_close(h->e, link));
  UNTIL(told(link, ENCKE_LINK_CLOSED) == 1);
  CHECK_EQ(told(link, ENCKE_LINK_RETURNED), 1);
  CHECK_EQ(SEEN(server, REQUEST), before);
  CHECK_EQ(host_stats(server).requests, requests);
}

int main(void) {
  if (!encke_has_feature("links") || !encke_has_feature("mounts")) return check_end();
  const cert *authority = CERT(.names = "authority", .authority = 1), *other = CERT(.names = "other", .authority = 1);
  const cert *mine = CERT(.names = "localhost", .by = authority), *own = CERT(.names = "localhost");
  encke_tls *tls = tls_with(mine), *tls_own = tls_with(own);
  server = HOST_PLAIN(), h = HOST_PLAIN();
  CHECK_OK(encke_mount(server->e, ENCKE_MOUNT_BUS, "/msgbus/", NULL, 0, NULL));
  port = host_listen_tls(server, tls);
  speaks(authority);

  SECTION("whom not to trust");
  fails(textf("https://localhost:%d/msgbus/", port), other, "TLS: invalid peer certificate");
  fails(textf("https://127.0.0.1:%d/msgbus/", port), authority, "TLS: invalid peer certificate");
  int own_port = host_listen_tls(server, tls_own), plain = host_listen_tls(server, NULL);
  fails(textf("https://localhost:%d/msgbus/", own_port), authority, "TLS: invalid peer certificate");
  fails(textf("https://localhost:%d/msgbus/", plain), authority, "TLS: ");

  SECTION("where an address cannot prove who it is, the next one of the name may");
  encke_id other_address = 0, link_by_name = 0, sub_by_name = 0;
  if (encke_listen(server->e, textf("[::1]:%d", own_port), tls, &other_address) == ENCKE_OK) { /* there may be no IPv6 */
    CHECK_OK(open_link(textf("https://localhost:%d/msgbus/", own_port), cert_pem(authority), &link_by_name));
    CHECK_OK(encke_link_subscribe(h->e, link_by_name, "news", NULL, 0, &sub_by_name));
    UNTIL(told(sub_by_name, ENCKE_LINK_UP) == 1);
    CHECK_EQ(told(sub_by_name, ENCKE_LINK_DOWN), 0);
    CHECK_OK(encke_close(h->e, link_by_name));
    UNTIL(told(link_by_name, ENCKE_LINK_CLOSED) == 1);
    CHECK_OK(encke_close(server->e, other_address));
  }

  SECTION("a WebSocket over TLS");
  encke_link_options of_socket;
  memset(&of_socket, 0, sizeof of_socket);
  of_socket.ca_pem = str(cert_pem(authority));
  size_t before_it = SEEN(h, MESSAGE);
  CHECK_OK(encke_link_open(h->e, textf("wss://localhost:%d/msgbus/socket", port), &of_socket, sizeof of_socket, &link_by_name));
  CHECK_OK(encke_link_subscribe(h->e, link_by_name, "socket", NULL, 0, &sub_by_name));
  UNTIL(told(sub_by_name, ENCKE_LINK_UP) == 1);
  encke_message spoken;
  memset(&spoken, 0, sizeof spoken);
  spoken.data = "hello", spoken.len = 5;
  CHECK_OK(encke_publish(server->s, 0, "socket", &spoken, sizeof spoken));
  UNTIL(SEEN(h, MESSAGE) == before_it + 1);
  CHECK_BYTES(host_nth(h, ENCKE_EV_MESSAGE, before_it)->data, host_nth(h, ENCKE_EV_MESSAGE, before_it)->len, "hello", 5);
  CHECK_OK(encke_close(h->e, link_by_name));
  UNTIL(told(link_by_name, ENCKE_LINK_CLOSED) == 1);

  SECTION("a certificate of one's own making, passed as it is");
  port = own_port;
  size_t messages = SEEN(h, MESSAGE);
  encke_id link = 0, sub = 0;
  CHECK_OK(open_link(textf("https://localhost:%d/msgbus/", port), cert_pem(own), &link));
  CHECK_OK(encke_link_subscribe(h->e, link, "", NULL, 0, &sub));
  UNTIL(told(sub, ENCKE_LINK_UP) == 1);
  publish(link, "x", 1);
  UNTIL(SEEN(h, MESSAGE) == messages + 1);

  SECTION("what cannot be used is refused at once");
  CHECK_RC(open_link("https://localhost/", "no PEM", &link), ENCKE_E_TLS);
  CHECK_RC(open_link("https://localhost/", cert_key(mine), &link), ENCKE_E_TLS);
  CHECK_RC(open_link("http://localhost/", cert_pem(own), &link), ENCKE_E_INVAL);

  encke_tls_free(tls), encke_tls_free(tls_own);
  host_close(h), host_close(server);
  return check_end();
}
