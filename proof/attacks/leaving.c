/*
 * leaving.c - the end of the server while it is under load. The rule: after encke_drain every answer that was begun comes
 * whole or is cut when the grace is over, ENCKE_EV_DRAINED comes, and the process ends; encke_free ends it at once.
 */
#include "attacks.h"

static void leave(ground *g, int command, int grace_ms, int tls) {
  g->command = command, g->grace_ms = grace_ms, g->command_at = now_us() + (g->until - now_us()) / 2;
  swarm(g, 60, &(script){.again = "GET /stream/200000 HTTP/1.1\r\nHost: a\r\n\r\nGET /echo/x HTTP/1.1\r\nHost: a\r\n\r\n"
                                  "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n", .tls = tls});
  if (command == DRAIN && !WAIT_FOR(atomic_load(&g->box->drained), 20)) box_fail(g->box, "ENCKE_EV_DRAINED did not come");
}

static void drain_plain(ground *g) { leave(g, DRAIN, 300, 0); }
static void drain_secure(ground *g) { leave(g, DRAIN, 300, 13); }
static void free_plain(ground *g) { leave(g, FREE, 0, 0); }
static void free_secure(ground *g) { leave(g, FREE, 0, 13); }

const attack leaving_attacks[] = {
  {"drained under load", drain_plain, defaults, LEAVES | MAY_CLOSE, 0, 60},
  {"drained under load, TLS", drain_secure, defaults, LEAVES | MAY_CLOSE | OVER_TLS, 0, 60},
  {"freed under load", free_plain, defaults, LEAVES | MAY_CUT, 0, 60},
  {"freed under load, TLS", free_secure, defaults, LEAVES | MAY_CUT | OVER_TLS, 0, 60},
  {NULL, NULL, NULL, 0, 0, 0},
};
