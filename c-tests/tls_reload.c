/*
 * tls_reload.c - new certificates while connections stream and others come. The rule: a swap, from whichever thread, is seen
 * whole by the next handshake; no live connection notices; a bad new file changes nothing.
 */
#include "tls.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define STREAMS 4
#define SIZE ((size_t)3 << 20)
#define PIECE 20000
#define NEWCOMERS 40

static host *h;
static encke_tls *live;
static const cert *a, *b;
static char *data;
static size_t written[STREAMS];
static encke_id streams[STREAMS];
static atomic_int over, swaps;

/* As a thread that sees the files change: a good pair, a bad one, and a pair that does not fit. */
static void *reloads(void *unused) {
  const char *chains[2] = {cert_pem(a), cert_pem(b)}, *keys[2] = {cert_key(a), cert_key(b)};
  (void)unused;
  for (int i = 1; !atomic_load(&over); i++) {
    const char *chain = chains[i % 2], *key = keys[i % 2], *wrong = keys[(i + 1) % 2];
    encke_tls *fresh = need(encke_tls_new());
    CHECK_RC(encke_tls_add(fresh, chain, strlen(chain) / 2, key, strlen(key)), ENCKE_E_TLS);
    CHECK_RC(encke_tls_add(fresh, chain, strlen(chain), wrong, strlen(wrong)), ENCKE_E_TLS);
    CHECK(strncmp(encke_last_error(), "key", 3) == 0);
    CHECK_RC(encke_tls_swap(live, fresh), ENCKE_E_INVAL);
    CHECK_OK(encke_tls_add(fresh, chain, strlen(chain), key, strlen(key)));
    CHECK_OK(encke_tls_swap(live, fresh));
    CHECK_RC(encke_tls_swap(live, fresh), ENCKE_E_INVAL);
    encke_tls_free(fresh);
    atomic_fetch_add(&swaps, 1);
    sched_yield();
  }
  return NULL;
}

/* Two sets swapped with each other and with one that is served: no order of locks may matter. */
static void *swaps_to_and_fro(void *set) {
  encke_tls *mine = set;
  while (!atomic_load(&over)) {
    int rc = encke_tls_swap(live, mine);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_INVAL);
    rc = encke_tls_swap(mine, live);
    CHECK(rc == ENCKE_OK || rc == ENCKE_E_INVAL);
    atomic_fetch_add(&swaps, 1);
  }
  return NULL;
}

static void go_on(host *host_, size_t i) {
  while (written[i] < SIZE) {
    size_t n = SIZE - written[i] < PIECE ? SIZE - written[i] : PIECE;
    int rc = encke_write(host_->s, streams[i], data + written[i], n);
    if (rc == ENCKE_E_AGAIN) return;
    CHECK_OK(rc);
    written[i] += n;
  }
  CHECK_OK(encke_end(host_->s, streams[i], NULL, 0));
  streams[i] = 0;
}

static void on_event(host *host_, const event *x) {
  if (x->kind != ENCKE_EV_WRITABLE) return;
  for (size_t i = 0; i < STREAMS; i++)
    if (streams[i] == x->id) go_on(host_, i);
}

static void under_load(int port) {
  SECTION("another thread reloads while four connections stream and new ones come");
  encke_response r;
  memset(&r, 0, sizeof r);
  r.status = 200;
  peer *p[STREAMS];
  pthread_t thread;
  size_t seen[2] = {0, 0};
  for (size_t i = 0; i < STREAMS; i++) {
    p[i] = TLS(port, .version = i % 2 ? 12 : 13, .small = i < 2);
    streams[i] = ask(h, p[i], "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_OK(encke_begin(h->s, streams[i], &r, sizeof r));
  }
  h->on = on_event;
  CHECK(pthread_create(&thread, NULL, reloads, NULL) == 0);
  for (size_t i = 0; i < STREAMS; i++) go_on(h, i);
  for (size_t n = 0; n < NEWCOMERS || seen[0] == 0 || seen[1] == 0 || atomic_load(&swaps) < 20; n++) {
    CHECK(n < 10000);
    peer *q = TLS(port, .version = n % 2 ? 12 : 13);
    served(h, q);
    CHECK(tls_shown(q, a) || tls_shown(q, b));
    seen[tls_shown(q, b)]++;
    peer_close(q);
  }
  for (size_t i = 0; i < STREAMS; i++) {
    UNTIL(peer_finals(p[i]) == 1);
    response *got = peer_nth(p[i], 0);
    CHECK_BYTES(got->body, got->len, data, SIZE);
    served(h, p[i]);
  }
  atomic_store(&over, 1);
  CHECK(pthread_join(thread, NULL) == 0);
  for (size_t i = 0; i < STREAMS; i++) {
    served(h, p[i]); /* whatever it was shown is long gone */
    peer_close(p[i]);
  }
  CHECK_EQ(SEEN(h, ABORTED), 0);
  h->on = NULL;
}

static void crossed(int port) {
  SECTION("two threads swap with the live set, to and fro");
  pthread_t threads[2];
  encke_tls *sets[2] = {tls_with(a), tls_with(b)};
  atomic_store(&over, 0), atomic_store(&swaps, 0);
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, swaps_to_and_fro, sets[i]) == 0);
  UNTIL(atomic_load(&swaps) >= 2000); /* a deadlock is missed here */
  atomic_store(&over, 1);
  for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  for (int i = 0; i < 2; i++) encke_tls_free(sets[i]);
  encke_tls *fresh = tls_with(b); /* the live one may have been left empty */
  CHECK_OK(encke_tls_swap(live, fresh));
  encke_tls_free(fresh);
  peer *p = TLS(port);
  served(h, p);
  CHECK(tls_shown(p, b));
  peer_close(p);
}

static void in_the_middle(int port) {
  SECTION("in the middle of a handshake: what began with one ends with it");
  encke_tls *fresh = tls_with(a);
  peer *p = TLS(port, .version = 12);
  UNTIL(p->out_n == 0);
  p->held = 1; /* its second flight comes after the swap */
  UNTIL(p->out_n > 0);
  CHECK_OK(encke_tls_swap(live, fresh));
  p->held = 0;
  served(h, p);
  CHECK(tls_shown(p, b));
  peer *q = TLS(port);
  served(h, q);
  CHECK(tls_shown(q, a));
  peer_close(q);
  peer_close(p);
  encke_tls_free(fresh);
}

int main(void) {
  h = HOST({ENCKE_OPT_HIGH_WATER, 100000}, {ENCKE_OPT_LOW_WATER, 50000});
  a = CERT(.names = "a.test"), b = CERT(.names = "b.test");
  data = pattern(SIZE, 3);
  live = tls_with(a);
  int port = host_listen_tls(h, live);
  under_load(port);
  crossed(port);
  in_the_middle(port);
  UNTIL(host_all_done(h));
  encke_tls_free(live);
  host_close(h);
  free(data);
  return check_end();
}
