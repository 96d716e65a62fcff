/*
 * links_bridge.c - two buses beside each other and a program that carries the messages of one to the other by links. The rule:
 * whoever listens at the second bus, an old client too, has what was published at the first, in order; while one of the two is
 * started anew nothing is lost that the other had acknowledged.
 */
#include "links.h"

static host *first, *second, *bridge;
static int first_port, second_port;
static encke_id to_second;

static host *bus_at(int *at) {
  host *h = HOST_PLAIN();
  encke_id id = 0;
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/msgbus/", NULL, 0, NULL));
  UNTIL(encke_listen(h->e, textf("127.0.0.1:%d", *at), NULL, &id) == ENCKE_OK);
  *at = host_port(h, id);
  return h;
}

static void carry(host *h, const event *ev) {
  if (ev->kind != ENCKE_EV_MESSAGE) return;
  encke_message m;
  memset(&m, 0, sizeof m);
  m.type = str(ev->type), m.from = str(ev->from), m.data = ev->data, m.len = ev->len;
  CHECK_OK(encke_publish(h->s, to_second, ev->channel, &m, sizeof m));
}

static encke_id link_to(int at, uint32_t flags) {
  encke_link_options o;
  encke_id link = 0;
  memset(&o, 0, sizeof o);
  o.retry_ms_max = 5, o.flags = flags;
  CHECK_OK(encke_link_open(bridge->e, textf("http://127.0.0.1:%d/msgbus/", at), &o, sizeof o, &link));
  return link;
}

static void publish(int from, int to) {
  for (int i = from; i < to; i++) {
    char text[32];
    encke_message m;
    memset(&m, 0, sizeof m);
    m.type = str("text/plain"), m.from = str("zoe"), m.data = text, m.len = (size_t)snprintf(text, sizeof text, "<%d>", i);
    CHECK_OK(encke_publish(first->s, 0, i % 2 ? "odd" : "even", &m, sizeof m));
  }
}

static peer *old_client(int at, const char *channel) {
  peer *p = peer_tcp(at);
  peer_send(p, textf("GET /msgbus/%s HTTP/1.1\r\nHost: a\r\n\r\n", channel));
  UNTIL(has(p, "--00MsgBus00\n"));
  return p;
}

/* All from there to there came, in order; doubles may be among them. */
static int in_order(peer *p, int from, int to) {
  const char *at = p->in;
  for (int i = from; i < to; i++)
    if (!at || !(at = memmem(at, (size_t)(p->in + p->n - at), textf("\n\n<%d>--00MsgBus00\n", i), strlen(textf("\n\n<%d>--00MsgBus00\n", i))))) return 0;
  return 1;
}

static uint64_t settled(void) {
  event *ev = last_told(bridge, to_second, ENCKE_LINK_ACKED);
  return ev ? ev->cookie : 0;
}

int main(void) {
  if (!encke_has_feature("links") || !encke_has_feature("mounts")) return check_end();
  SECTION("two buses, and a bridge from one to the other");
  first = bus_at(&first_port), second = bus_at(&second_port), bridge = HOST_PLAIN();
  bridge->on = carry;
  encke_id all = 0;
  to_second = link_to(second_port, ENCKE_LINK_REPORT);
  CHECK_OK(encke_link_subscribe(bridge->e, link_to(first_port, 0), "", NULL, 0, &all));
  UNTIL(told(bridge, all, ENCKE_LINK_UP) == 1);
  peer *here = old_client(first_port, ""), *there = old_client(second_port, ""), *odd = old_client(second_port, "odd");
  publish(0, 200);
  UNTIL(in_order(here, 0, 200) && in_order(there, 0, 200));
  CHECK(has(there, "From: zoe\nContent-Location: /msgbus/even\nContent-Type: text/plain\n\n<0>--00MsgBus00\n"));
  UNTIL(has(odd, "<199>"));
  CHECK(!has(odd, "<198>"));

  SECTION("the second one is started anew: what the bridge holds meanwhile is given to the new one, in order");
  UNTIL(settled() == 200);
  peer_close(there), peer_close(odd);
  host_close(second);
  UNTIL(told(bridge, to_second, ENCKE_LINK_UP) == 1);
  publish(200, 300);
  UNTIL(SEEN(bridge, MESSAGE) == 300);
  UNTIL(told(bridge, to_second, ENCKE_LINK_DOWN) == 1);
  CHECK_EQ(settled(), 200);
  second = bus_at(&second_port);
  UNTIL(settled() == 300);
  /* Nobody listened when the new one began: what it was given is in its history for who comes with a position, and counted. */
  encke_channel_facts even, uneven;
  CHECK(encke_channel_get(second->s, "even", &even, sizeof even) == 1 && encke_channel_get(second->s, "odd", &uneven, sizeof uneven) == 1);
  CHECK_EQ(even.published + uneven.published, 100);

  SECTION("the first one is started anew: the bridge comes back by itself and says that something may be missing");
  there = old_client(second_port, "");
  peer_close(here);
  host_close(first);
  first = bus_at(&first_port);
  UNTIL(told(bridge, all, ENCKE_LINK_GAP) == 1);
  here = old_client(first_port, "");
  publish(300, 500);
  UNTIL(in_order(here, 300, 500) && in_order(there, 300, 500));
  CHECK_EQ(told(bridge, to_second, ENCKE_LINK_RETURNED), 0);
  peer_close(here), peer_close(there);
  host_close(bridge), host_close(second), host_close(first);
  return check_end();
}
