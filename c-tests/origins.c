/*
 * origins.c - who may subscribe and open WebSockets: pages of the server itself, clients that name no page, and pages that
 * the host lists (RFC 6455, 10.2). The rule: who is refused is told why, and nothing of it becomes a subscriber.
 */
#include "check.h"

#include <strings.h>

static host *h;
static int port;

#define HANDSHAKE                                                                                               \
  "GET /ws HTTP/1.1\r\nHost: a.example:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                   \
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define SSE "GET /sse HTTP/1.1\r\nHost: a.example:8080\r\nAccept: text/event-stream\r\n"

static encke_id next_request(peer *p, const char *text) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, text);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static void open_host(const char *origins) {
  encke_config *config = encke_config_new();
  CHECK(config != NULL);
  CHECK_OK(encke_config_set(config, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)));
  if (origins) CHECK_OK(encke_config_set_str(config, ENCKE_OPT_ORIGINS, origins));
  h = HOST_PLAIN();
  encke_free(h->e);
  CHECK_OK(encke_new(config, &h->e));
  encke_config_free(config);
  h->s = encke_get_sender(h->e);
  port = host_listen(h);
}

static const char *origin_line(const char *origin) { return origin ? textf("Origin: %s\r\n", origin) : ""; }

/* Whether a page of this origin may have this stream, and what is said of it to the browser; static. */
static const char *stream(const char *origin, uint32_t flags, int status) {
  static char allowed[100];
  const char *channel = "news";
  encke_subscription how;
  memset(&how, 0, sizeof how);
  how.flags = flags;
  peer *p = peer_tcp(port);
  encke_id id = next_request(p, textf("%s%s\r\n", SSE, origin_line(origin)));
  CHECK_OK(encke_subscribe(h->s, id, &channel, 1, &how, sizeof how));
  UNTIL(peer_all(p) == 1 || (p->n && memmem(p->in, p->n, "\nid: ", 5)));
  CHECK(strncmp(p->in, textf("HTTP/1.1 %d ", status), 13) == 0);
  const char *line = strcasestr(p->in, "\r\nAccess-Control-Allow-Origin: ");
  allowed[0] = 0;
  if (line) sscanf(line + 31, "%99[^\r]", allowed);
  CHECK_EQ(strcasestr(p->in, "\r\nVary: Origin\r\n") != NULL, line && allowed[0] != '*');
  if (status == 403) {
    CHECK_TEXT(peer_nth(p, 0)->body, textf("403 pages of the origin \"%s\" may not subscribe here\n", origin));
    UNTIL(host_count(h, ENCKE_EV_DONE, id) == 1);
  }
  peer_close(p);
  UNTIL(host_count(h, ENCKE_EV_DONE, id) == 1);
  return allowed;
}

/* A WebSocket by encke_ws_accept, and one by encke_subscribe. */
static void socket(const char *origin, int status) {
  for (int subscribes = 0; subscribes < 2; subscribes++) {
    const char *channel = "news";
    peer *p = peer_tcp(port);
    encke_id id = next_request(p, textf("%s%s\r\n", HANDSHAKE, origin_line(origin)));
    if (subscribes) CHECK_OK(encke_subscribe(h->s, id, &channel, 1, NULL, 0));
    else CHECK_OK(encke_ws_accept(h->s, id, NULL, 0));
    UNTIL(p->n && memmem(p->in, p->n, "\r\n\r\n", 4));
    CHECK(strncmp(p->in, textf("HTTP/1.1 %d ", status), 13) == 0);
    CHECK(memmem(p->in, p->n, "Access-Control-", 15) == NULL);
    if (status == 403) {
      UNTIL(peer_finals(p) == 1);
      CHECK_TEXT(peer_nth(p, 0)->body, textf("403 pages of the origin \"%s\" may not subscribe here\n", origin));
      UNTIL(host_count(h, subscribes ? ENCKE_EV_DONE : ENCKE_EV_CLOSED, id) == 1);
      CHECK_RC(encke_ws_send(h->s, id, ENCKE_WS_TEXT, "x", 1), ENCKE_E_GONE);
      CHECK_RC(encke_subscribe(h->s, id, &channel, 1, NULL, 0), ENCKE_E_GONE);
    }
    peer_close(p);
    UNTIL(host_count(h, ENCKE_EV_CLOSED, id) + host_count(h, ENCKE_EV_DONE, id) == 1);
    if (!subscribes) CHECK_EQ(host_last(h, ENCKE_EV_CLOSED, id)->code, 1006);
  }
}

static void refused_handshakes(void) {
  static const struct { const char *fields; int status; } rows[] = {
    {"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 426},
    {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 426},
    {"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n", 400},
    {"Sec-WebSocket-Version: 13\r\n", 400},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    SECTION(rows[i].fields);
    const char *channel = "news";
    peer *p = peer_tcp(port);
    encke_id id = next_request(p, textf("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n%s\r\n", rows[i].fields));
    CHECK_RC(encke_ws_accept(h->s, id, NULL, 0), ENCKE_E_STATE);
    CHECK_OK(encke_subscribe(h->s, id, &channel, 1, NULL, 0));
    UNTIL(peer_finals(p) == 1);
    const response *r = peer_nth(p, 0);
    CHECK_EQ(r->status, rows[i].status);
    if (r->status == 426) { /* RFC 9110, 15.5.22; RFC 6455, 4.4 */
      CHECK_TEXT(response_field(r, "sec-websocket-version"), "13");
      CHECK_TEXT(response_field(r, "upgrade"), "websocket");
      CHECK(strcasestr(r->head, "\r\nConnection: upgrade\r\n") != NULL);
    }
    UNTIL(host_count(h, ENCKE_EV_DONE, id) == 1);
    peer_close(p);
  }
}

int main(void) {
  SECTION("the list");
  encke_config *config = encke_config_new();
  CHECK(config != NULL);
  CHECK_OK(encke_config_set_str(config, ENCKE_OPT_ORIGINS, "https://B.example,http://*.b.example:*,null"));
  CHECK_OK(encke_config_set_str(config, ENCKE_OPT_ORIGINS, "*,!null"));
  CHECK_OK(encke_config_set_str(config, ENCKE_OPT_ORIGINS, ""));
  static const char *const bad[] = {"b.example", "http://b.example/", "http://b, http://c", "http://b,", "\xff*"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK_RC(encke_config_set_str(config, ENCKE_OPT_ORIGINS, bad[i]), ENCKE_E_INVAL);
  CHECK_RC(encke_config_set(config, ENCKE_OPT_ORIGINS, 1), ENCKE_E_INVAL);
  encke_config_free(config);

  SECTION("by default: its own pages, and who is none");
  open_host(NULL);
  socket(NULL, 101);
  socket("http://a.example:8080", 101);
  socket("https://A.example:8080", 101);
  socket("http://a.example", 403);
  socket("http://evil.example", 403);
  socket("null", 403);
  CHECK_TEXT(stream(NULL, 0, 200), "");
  CHECK_TEXT(stream("http://a.example:8080", 0, 200), "");
  CHECK_TEXT(stream("http://evil.example", 0, 403), "");
  CHECK_TEXT(stream("http://evil.example", ENCKE_SUBSCRIBE_CORS, 200), "*");
  refused_handshakes();
  CHECK_EQ(host_stats(h).subscribers, 0);
  host_close(h);

  SECTION("a list");
  open_host("https://B.example,http://*.b.example:*");
  socket("https://b.example", 101);
  socket("http://x.b.example:81", 101);
  socket("http://a.example:8080", 101);
  socket("http://b.example", 403);
  CHECK_TEXT(stream("https://b.example", 0, 200), "https://b.example");
  CHECK_TEXT(stream("https://c.example", 0, 403), "");
  host_close(h);

  SECTION("all");
  open_host("*");
  socket("null", 101);
  CHECK_TEXT(stream("null", 0, 200), "null");
  host_close(h);
  return check_end();
}
