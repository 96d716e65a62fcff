/*
 * host.c - a host program's side: THE LOOP of encke.h under poll(2), in both watch modes, and a log of the events.
 * The rule: the loop runs when the fd (or a watched fd, or the time-out) says so, never "to be sure".
 */
#include "check.h"
#include "rounds.h"

#include <poll.h>

static host *hosts[64];
static size_t nhosts;

host *host_open(const setting *settings) {
  host *h = need(calloc(1, sizeof *h));
  encke_config *config = encke_config_new();
  int events = 0;
  CHECK(config != NULL);
  for (; settings->option; settings++) {
    CHECK_OK(encke_config_set(config, settings->option, settings->value));
    if (settings->option == ENCKE_OPT_EVENTS) events = 1;
    if (settings->option == ENCKE_OPT_WATCH) h->watch = settings->value;
  }
  if (!events) CHECK_OK(encke_config_set(config, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)));
  CHECK_OK(encke_new(config, &h->e));
  encke_config_free(config);
  h->s = encke_get_sender(h->e);
  CHECK(h->s != NULL);
  if (h->watch == ENCKE_WATCH_ONE) CHECK(encke_fd(h->e) != ENCKE_NO_FD);
  CHECK(nhosts < sizeof hosts / sizeof *hosts);
  hosts[nhosts++] = h;
  return h;
}

void host_forget(host *h) {
  for (size_t i = 0; i < nhosts; i++)
    if (hosts[i] == h) hosts[i] = hosts[--nhosts];
  for (size_t i = 0; i < h->n; i++) free(h->log[i].data);
  free(h->log);
  free(h->watched);
  free(h);
}

void host_close(host *h) {
  host_audit(h);
  encke_free(h->e);
  host_forget(h);
}

int host_port(host *h, encke_id listener) {
  char text[128];
  CHECK_OK(encke_info(h->e, listener, ENCKE_INFO_LOCAL, text, sizeof text, NULL));
  char *colon = strrchr(text, ':');
  CHECK(colon != NULL && atoi(colon + 1) > 0);
  return atoi(colon + 1);
}

int host_listen(host *h) {
  encke_id listener = 0;
  CHECK_OK(encke_listen(h->e, "127.0.0.1:0", host_tls(), &listener));
  CHECK(listener != 0);
  return host_port(h, listener);
}

/* ---- the log ---------------------------------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t cap, encke_str from) {
  size_t n = from.n < cap - 1 ? from.n : cap - 1;
  if (n) memcpy(to, from.p, n);
  to[n] = 0;
}

void host_record(host *h, const encke_event *ev) {
  if (h->n == h->cap) {
    h->cap = h->cap ? h->cap * 2 : 64;
    h->log = need(realloc(h->log, h->cap * sizeof *h->log));
  }
  event *x = &h->log[h->n++];
  memset(x, 0, sizeof *x);
  x->kind = ev->kind, x->code = ev->code, x->id = ev->id, x->user = ev->user, x->cookie = ev->cookie;
  x->head = ev->head, x->more = ev->more;
  const void *data = ev->data;
  x->len = ev->len;
  snprintf(x->channel, sizeof x->channel, "(none)");
  if (ev->channel.p) copy_text(x->channel, sizeof x->channel, ev->channel);
  if (ev->message) {
    copy_text(x->type, sizeof x->type, ev->message->type);
    copy_text(x->from, sizeof x->from, ev->message->from);
    copy_text(x->event, sizeof x->event, ev->message->event);
    data = ev->message->data, x->len = ev->message->len;
  }
  if (ev->kind == ENCKE_EV_REQUEST) {
    CHECK(ev->head != NULL);
    CHECK(ev->id != 0);
    CHECK(ev->head->id == ev->id);
    x->connection = ev->head->connection;
    copy_text(x->method, sizeof x->method, ev->head->method);
    copy_text(x->target, sizeof x->target, ev->head->target);
    data = ev->head->body, x->len = ev->head->body_len;
  } else if (ev->kind == ENCKE_EV_DONE) {
    data = NULL; /* len counts the body bytes sent */
  }
  if (data) {
    x->data = need(malloc(x->len + 1));
    if (x->len) memcpy(x->data, data, x->len);
    x->data[x->len] = 0;
  }
  if (x->kind < sizeof h->seen / sizeof *h->seen) h->seen[x->kind]++;
}

void host_loop(host *h) {
  for (;;) {
    encke_event ev;
    int more = encke_run(h->e, 0), got = 0, rc;
    if (more < 0) check_fail(__FILE__, __LINE__, "encke_run: %d %s", more, encke_last_error());
    while ((rc = encke_next(h->e, &ev, sizeof ev)) > 0) {
      got = 1;
      host_record(h, &ev);
      if (h->on) {
        event copy = h->log[h->n - 1];
        h->on(h, &copy);
      }
    }
    CHECK_RC(rc, 0);
    if (!more && !got) break;
  }
}

int host_readable(host *h, int timeout_ms) {
  struct pollfd p = {.fd = encke_fd(h->e), .events = POLLIN};
  int rc = poll(&p, 1, timeout_ms);
  CHECK(rc >= 0);
  return rc > 0 && p.revents != 0;
}

/* ---- looking things up in the log --------------------------------------------------------------------------------------- */

event *host_nth(host *h, uint32_t kind, size_t nth) {
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == kind && nth-- == 0) return &h->log[i];
  return NULL;
}

event *host_target(host *h, const char *target) {
  for (size_t i = 0; i < h->n; i++)
    if (h->log[i].kind == ENCKE_EV_REQUEST && strcmp(h->log[i].target, target) == 0) return &h->log[i];
  return NULL;
}

size_t host_count(host *h, uint32_t kind, encke_id id) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++) n += h->log[i].kind == kind && h->log[i].id == id;
  return n;
}

event *host_last(host *h, uint32_t kind, encke_id id) {
  for (size_t i = h->n; i-- > 0;)
    if (h->log[i].kind == kind && h->log[i].id == id) return &h->log[i];
  return NULL;
}

encke_id request_id(host *h, size_t nth) {
  event *x = host_nth(h, ENCKE_EV_REQUEST, nth);
  if (!x) check_fail(__FILE__, __LINE__, "there is no request %zu", nth);
  return x->id;
}

encke_id target_id(host *h, const char *target) {
  event *x = host_target(h, target);
  if (!x) check_fail(__FILE__, __LINE__, "there is no request for %s", target);
  return x->id;
}

encke_stats host_stats(host *h) {
  encke_stats stats;
  CHECK_OK(encke_stats_get(h->s, &stats, sizeof stats));
  return stats;
}

void answer(host *h, encke_id id, const char *body) {
  CHECK_OK(encke_reply(h->s, id, 200, "text/plain", body, strlen(body)));
}

/* ---- L5 ----------------------------------------------------------------------------------------------------------------- */

typedef struct { encke_id id; size_t at; } place;

static int by_id(const void *a, const void *b) {
  const place *x = a, *y = b;
  if (x->id != y->id) return x->id < y->id ? -1 : 1;
  return x->at < y->at ? -1 : x->at > y->at;
}

static int of_request(uint32_t kind) {
  switch (kind) {
  case ENCKE_EV_REQUEST: case ENCKE_EV_BODY: case ENCKE_EV_WRITABLE: case ENCKE_EV_DONE:
  case ENCKE_EV_ABORTED: case ENCKE_EV_RELEASED: case ENCKE_EV_HALF_CLOSED:
    return 1;
  default:
    return 0;
  }
}

/* -1: order broken (says so), else how many requests have no DONE */
static long walk(host *h) {
  place *places = need(malloc((h->n + 1) * sizeof *places));
  size_t n = 0;
  long open = 0;
  for (size_t i = 0; i < h->n; i++)
    if (of_request(h->log[i].kind) && (h->link == 0 || h->log[i].id != h->link)) places[n].id = h->log[i].id, places[n++].at = i;
  qsort(places, n, sizeof *places, by_id);
  for (size_t i = 0; i < n;) {
    encke_id id = places[i].id;
    int requests = 0, aborted = 0, done = 0, halves = 0;
    for (; i < n && places[i].id == id; i++) {
      event *x = &h->log[places[i].at];
      if (done) check_fail(__FILE__, __LINE__, "event %u after the DONE of its request", x->kind);
      if (x->kind == ENCKE_EV_REQUEST) {
        if (requests++) check_fail(__FILE__, __LINE__, "a second REQUEST for one id");
        continue;
      }
      if (!requests && (x->kind != ENCKE_EV_RELEASED || id != 0))
        check_fail(__FILE__, __LINE__, "event %u before the REQUEST of its id", x->kind);
      if (aborted && x->kind != ENCKE_EV_DONE && x->kind != ENCKE_EV_RELEASED)
        check_fail(__FILE__, __LINE__, "event %u after ABORTED", x->kind);
      if (x->kind == ENCKE_EV_ABORTED && aborted++) check_fail(__FILE__, __LINE__, "two ABORTED");
      if (x->kind == ENCKE_EV_HALF_CLOSED && halves++) check_fail(__FILE__, __LINE__, "two HALF_CLOSED");
      if (x->kind == ENCKE_EV_DONE) done = 1;
    }
    if (requests && !done) open++;
  }
  free(places);
  return open;
}

void host_audit(host *h) { (void)walk(h); }

int host_all_done(host *h) { return SEEN(h, DONE) == SEEN(h, REQUEST) && walk(h) == 0; }

/* ---- rounds: the host's part -------------------------------------------------------------------------------------------- */

static void watch_apply(host *h) {
  encke_watch w;
  int rc;
  while ((rc = encke_next_watch(h->e, &w)) > 0) {
    size_t i = 0;
    while (i < h->nwatched && h->watched[i].fd != w.fd) i++;
    if (w.want == 0) {
      CHECK(fd_open(w.fd)); /* closed at the next call, not before the host heard of it */
      if (i < h->nwatched) h->watched[i] = h->watched[--h->nwatched];
      continue;
    }
    if (i == h->nwatched) h->watched = need(realloc(h->watched, ++h->nwatched * sizeof *h->watched));
    h->watched[i] = w;
  }
  CHECK_RC(rc, 0);
}

size_t rounds_hosts(rounds *r) {
  for (size_t k = 0; k < nhosts; k++) {
    host *h = hosts[k];
    if (h->watch == ENCKE_WATCH_ONE) {
      rounds_add(r, h, NULL, encke_fd(h->e), POLLIN);
      continue;
    }
    uint64_t ms = 0;
    watch_apply(h);
    for (size_t i = 0; i < h->nwatched; i++)
      rounds_add(r, h, NULL, h->watched[i].fd,
                 (short)((h->watched[i].want & ENCKE_READ ? POLLIN : 0) | (h->watched[i].want & ENCKE_WRITE ? POLLOUT : 0)));
    int rc = encke_timeout(h->e, &ms);
    CHECK(rc >= 0);
    if (rc > 0 && ms <= (uint64_t)r->timeout) {
      r->timeout = (int)ms;
      rounds_due(r, h);
    }
  }
  return nhosts;
}

/* What poll said of one host: 1 if the host had something to do. */
int rounds_host(rounds *r, host *h, int timed_out) {
  int run = 0;
  if (h->watch == ENCKE_WATCH_ONE) {
    for (size_t i = 0; i < r->n; i++)
      if (r->of[i].h == h && r->fds[i].revents) run = 1;
  } else {
    encke_watch *ready = need(malloc((h->nwatched + 1) * sizeof *ready));
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
      if (r->of[i].h != h || !r->fds[i].revents) continue;
      short got = r->fds[i].revents;
      ready[n].fd = r->fds[i].fd;
      ready[n].want = 0;
      ready[n].got = (got & POLLIN ? ENCKE_READ : 0) | (got & POLLOUT ? ENCKE_WRITE : 0) |
                     (got & (POLLERR | POLLHUP) ? ENCKE_READ | ENCKE_WRITE : 0);
      for (size_t k = 0; k < h->nwatched; k++)
        if (h->watched[k].fd == ready[n].fd) ready[n].want = h->watched[k].want;
      n++;
    }
    if (n) CHECK(encke_feed(h->e, ready, n) >= 0);
    free(ready);
    run = n > 0 || (rounds_is_due(r, h) && (timed_out || r->timeout == 0));
  }
  if (run) host_loop(h);
  return run;
}

size_t rounds_each_host(rounds *r, int timed_out) {
  size_t moved = 0;
  host *now[sizeof hosts / sizeof *hosts];
  size_t n = nhosts;
  memcpy(now, hosts, sizeof now); /* a handler may close a host */
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < nhosts; i++)
      if (hosts[i] == now[k]) {
        moved += (size_t)rounds_host(r, now[k], timed_out);
        break;
      }
  return moved;
}

void rounds_show_hosts(void) {
  for (size_t k = 0; k < nhosts; k++) {
    host *h = hosts[k];
    fprintf(stderr, "  host %zu: %zu events", k, h->n);
    for (size_t i = 1; i < sizeof h->seen / sizeof *h->seen; i++)
      if (h->seen[i]) fprintf(stderr, ", kind %zu x %zu", i, h->seen[i]);
    fputc('\n', stderr);
  }
}

size_t rounds_open_hosts(void) { return nhosts; }
