/*
 * tls_info.c - what is told of a secure connection. The rule: ENCKE_HEAD_TLS and the ENCKE_INFO_ of TLS say what the client's
 * own TLS says, by the id of a connection or a request; where there is nothing to tell it is "".
 */
#include "tls.h"

#include <sys/socket.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;
static const cert *ca, *mine;

static void nothing(encke_id id) {
  size_t n = 99;
  char byte = 7;
  CHECK_TEXT(host_info(h, id, ENCKE_INFO_SNI), "");
  CHECK_TEXT(host_info(h, id, ENCKE_INFO_TLS), "");
  CHECK_TEXT(host_info(h, id, ENCKE_INFO_ALPN), "");
  CHECK_OK(encke_info(h->e, id, ENCKE_INFO_CLIENT_CERT, &byte, 1, &n));
  CHECK_EQ(n, 0);
}

/* The verified client certificate; NULL: none is told. */
static void certificate(encke_id id, const cert *expected) {
  unsigned char got[2048], small[16];
  size_t n = 99, want;
  CHECK_OK(encke_info(h->e, id, ENCKE_INFO_CLIENT_CERT, got, sizeof got, &n));
  if (!expected) {
    CHECK_EQ(n, 0);
    return;
  }
  const unsigned char *der = cert_der(expected, &want);
  CHECK_BYTES(got, n, der, want);
  CHECK_RC(encke_info(h->e, id, ENCKE_INFO_CLIENT_CERT, small, sizeof small, &n), ENCKE_E_RANGE);
  CHECK_EQ(n, want);
  CHECK_RC(encke_info(h->e, id, ENCKE_INFO_CLIENT_CERT, NULL, 0, &n), ENCKE_E_RANGE);
  CHECK_EQ(n, want);
  memset(got, 0xaa, sizeof got);
  CHECK_OK(encke_info(h->e, id, ENCKE_INFO_CLIENT_CERT, got, want, NULL)); /* no NUL behind it */
  CHECK_EQ(got[want], 0xaa);
}

static void facts(peer *p, const char *sni, const char *suite, const char *alpn, const cert *shown) {
  encke_id id = ask(h, p, GET);
  const encke_head *head = host_last(h, ENCKE_EV_REQUEST, id)->head;
  encke_id ids[2] = {id, head->connection};
  CHECK_EQ(head->flags, ENCKE_HEAD_TLS);
  for (int i = 0; i < 2; i++) {
    size_t n = 0;
    char tiny[4];
    CHECK_TEXT(host_info(h, ids[i], ENCKE_INFO_SNI), sni);
    CHECK_TEXT(host_info(h, ids[i], ENCKE_INFO_TLS), textf("%s %s", tls_version(p), suite));
    CHECK_TEXT(host_info(h, ids[i], ENCKE_INFO_ALPN), alpn);
    certificate(ids[i], shown);
    CHECK_RC(encke_info(h->e, ids[i], ENCKE_INFO_TLS, tiny, sizeof tiny, &n), ENCKE_E_RANGE);
    CHECK_EQ(n, strlen(tls_version(p)) + 1 + strlen(suite) + 1);
  }
  CHECK_TEXT(tls_alpn(p), alpn);
  CHECK(strncmp(host_info(h, id, ENCKE_INFO_PEER), "127.0.0.1:", 10) == 0);
  nothing(head->listener);
  encke_id connection = head->connection;
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  CHECK_TEXT(host_info(h, connection, ENCKE_INFO_SNI), sni); /* between requests too */
  peer_close(p);
  UNTIL(host_stats(h).connections == 0);
  char text[8];
  CHECK_RC(encke_info(h->e, connection, ENCKE_INFO_SNI, text, sizeof text, NULL), ENCKE_E_GONE);
  CHECK_RC(encke_info(h->e, id, ENCKE_INFO_TLS, text, sizeof text, NULL), ENCKE_E_GONE);
}

int main(void) {
  static const char *const suites[] = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS13_AES_128_GCM_SHA256"};
  h = HOST({ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_CONNECTION)});
  ca = CERT(.names = "authority", .authority = 1);
  mine = CERT(.names = "client.test", .by = ca);
  encke_tls *tls = tls_with(CERT(.names = "server.test"));
  CHECK_OK(tls_add_roots(tls, ca));
  CHECK_OK(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_OPTIONAL));
  int port = host_listen_tls(h, tls), plain = host_listen(h);
  for (int i = 0; i < 2; i++) {
    int version = 12 + i;
    SECTION(textf("TLS 1.%d", 2 + i));
    facts(TLS(port, .version = version), "", suites[i], "", NULL);
    facts(TLS(port, .version = version, .name = "server.test", .alpn = "http/1.1"), "server.test", suites[i], "http/1.1", NULL);
    facts(TLS(port, .version = version, .name = "nobody.test", .mine = mine), "nobody.test", suites[i], "", mine);

    SECTION(textf("TLS 1.%d, resumed", 2 + i));
    peer *p = TLS(port, .version = version, .name = "server.test", .mine = mine);
    served(h, p);
    ticket *t = tls_ticket(p);
    CHECK(t != NULL);
    peer_close(p);
    p = TLS(port, .version = version, .name = "server.test", .mine = mine, .resume = t);
    peer_ready(p);
    CHECK(tls_resumed(p));
    facts(p, "server.test", suites[i], "", mine); /* it was verified when the session began */
    tls_ticket_free(t);

    SECTION(textf("TLS 1.%d, no protocol in common", 2 + i));
    p = TLS(port, .version = version, .alpn = "h2");
    refused(p);
    CHECK_EQ(tls_alert(p), ALERT_NO_APPLICATION_PROTOCOL);
    peer_close(p);
  }

  SECTION("before the handshake there is nothing to tell");
  UNTIL(host_stats(h).connections == 0);
  QUIESCE();
  size_t before = SEEN(h, CONNECTION);
  peer *p = peer_tcp(port);
  UNTIL(SEEN(h, CONNECTION) == before + 1);
  nothing(host_nth(h, ENCKE_EV_CONNECTION, before)->id);
  peer_close(p);
  UNTIL(host_stats(h).connections == 0);

  SECTION("without TLS there is nothing to tell");
  p = peer_tcp(plain);
  encke_id id = ask(h, p, GET);
  const encke_head *head = host_last(h, ENCKE_EV_REQUEST, id)->head;
  CHECK_EQ(head->flags, 0);
  nothing(id), nothing(head->connection), nothing(head->listener);
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);

  SECTION("an adopted connection");
  int pair[2];
  encke_id connection = 0;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  CHECK_OK(encke_adopt(h->e, pair[0], tls, &connection));
  p = peer_tls_fd(pair[1], &(client){.name = "adopted.test", .alpn = "http/1.1"});
  id = ask(h, p, GET);
  head = host_last(h, ENCKE_EV_REQUEST, id)->head;
  CHECK(head->connection == connection && head->listener == 0);
  CHECK_EQ(head->flags, ENCKE_HEAD_TLS);
  CHECK_TEXT(host_info(h, connection, ENCKE_INFO_SNI), "adopted.test");
  CHECK_TEXT(host_info(h, id, ENCKE_INFO_ALPN), "http/1.1");
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
  UNTIL(host_all_done(h) && host_stats(h).connections == 0);
  encke_tls_free(tls);
  host_close(h);
  return check_end();
}
