/*
 * testbed.c - the server that outside HTTP test suites and the benches talk to.
 *
 * A plain poll() loop with encke_fd and a timer of its own: one encke_run and one drain of encke_next per
 * wake-up. Delayed answers are FIFO lists, one for each delay, because each delay is constant; all that is
 * kept of such a request is its id. Streams keep a task in a table; ev.user is its place there. A place is
 * used again but never goes away, and it holds the id it is for: so no ENCKE_EV_DONE is needed, which would
 * cost the benches one event for each request.
 *
 *   ./testbed PORT [tls [PLAIN_PORT]]      on 127.0.0.1; PORT 0: a free one; tls: with state/cert.pem and state/key.pem,
 *                                          and without on PLAIN_PORT too
 *
 *   a body, by any method, anywhere   comes back as it is, with its Content-Type, of any size
 *   GET /             a small body             GET /plaintext          13 bytes
 *   GET /echo         the fields received      GET /delay /delay200    the same after 10 and 200 ms
 *   GET /cookie       the cookies received     GET /big                1 MiB from one borrowed buffer
 *   GET /bytes/N      N bytes, up to 1 GiB     GET /events             five server-sent events
 *   WebSocket /echo   messages come back       GET /mjpeg              a picture that changes ten times a second
 *
 * /events has a channel of its own for each client, because each has its own five events, whose ids count on from its
 * Last-Event-ID; so it publishes whole events and subscribes in plain. /mjpeg is one channel for all.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <encke.h>

#define TEXT "text/plain"
#define HELLO "Hello, World!"
#define BLOCK 65536
#define GIB ((uint64_t)1 << 30)
#define SPOOL ((size_t)16 << 20) /* up to this size a body is echoed when complete, else as it comes */

enum kind { FREE, BYTES, ECHO, EVENTS };
enum { WIDTH = 64, HEIGHT = 48, BITMAP = 54 + WIDTH * HEIGHT * 3 };

struct task {
  enum kind kind;
  size_t next_free;
  encke_id id;
  uint64_t left;          /* BYTES, EVENTS: to be written */
  uint64_t last_id;       /* EVENTS */
  const encke_head *head; /* ECHO: readable until the settle */
  char *data;             /* ECHO: received and not yet sent */
  size_t len, cap, unacked;
  int begun, complete;
};

struct waiter {
  struct waiter *next;
  encke_id id;
  uint64_t due;
  size_t user; /* of a task; 0: answer with HELLO */
};

struct fifo {
  uint64_t delay; /* microseconds, the same for all: so the first is always due first */
  struct waiter *first, **end;
};

static encke *e;
static encke_sender *sender;
static volatile sig_atomic_t stop;
static int drained;
static struct task *tasks;
static size_t ntasks, free_task; /* places count from 1; 0: none */
enum { AFTER_10_MS, AFTER_200_MS, NEXT_EVENT, NEXT_FRAME, FIFOS };
static struct fifo fifos[FIFOS] = {{10000, NULL, NULL}, {200000, NULL, NULL}, {50000, NULL, NULL}, {100000, NULL, NULL}};
static char big[1 << 20];

static void die(const char *what, const char *why) {
  fprintf(stderr, "testbed: %s: %s\n", what, why);
  exit(1);
}

static uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int is(encke_str s, const char *text) {
  return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void reply(encke_id id, unsigned status, const char *text) {
  encke_reply(sender, id, status, TEXT, text, strlen(text)); /* settles, whatever it returns: L1 */
}

/* For a settling call that may leave the request ours; after GONE one call too many does no harm. */
static void settled(encke_id id, int result) {
  if (result != ENCKE_OK)
    encke_abort(sender, id);
}

/* ---- tasks ---------------------------------------------------------------------------------------- */

static struct task *new_task(enum kind kind, encke_id id) {
  if (free_task == 0) {
    size_t n = ntasks ? ntasks * 2 : 64;
    struct task *grown = realloc(tasks, n * sizeof *grown);
    if (grown == NULL)
      return NULL;
    tasks = grown;
    for (; ntasks < n; free_task = ++ntasks)
      tasks[ntasks] = (struct task){.next_free = free_task};
  }
  struct task *t = &tasks[free_task - 1];
  if (encke_set_user(sender, id, free_task) != ENCKE_OK)
    return NULL;
  free_task = t->next_free;
  *t = (struct task){.kind = kind, .id = id};
  return t;
}

/* NULL: it is over, and its place may have another task. */
static struct task *find_task(uint64_t user, encke_id id) {
  struct task *t = user > 0 && user <= ntasks ? &tasks[user - 1] : NULL;
  return t != NULL && t->kind != FREE && t->id == id ? t : NULL;
}

static void end_task(struct task *t) {
  free(t->data);
  *t = (struct task){.kind = FREE, .next_free = free_task};
  free_task = (size_t)(t - tasks) + 1;
}

static void cut_task(struct task *t) {
  encke_abort(sender, t->id);
  end_task(t);
}

static void finish_task(struct task *t) {
  settled(t->id, encke_end(sender, t->id, NULL, 0));
  end_task(t);
}

/* ---- timers --------------------------------------------------------------------------------------- */

static int wait_in(int which, encke_id id, size_t user) {
  struct fifo *fifo = &fifos[which];
  struct waiter *w = malloc(sizeof *w);
  if (w == NULL)
    return 0;
  *w = (struct waiter){.id = id, .due = now_us() + fifo->delay, .user = user};
  if (fifo->first == NULL)
    fifo->end = &fifo->first;
  *fifo->end = w;
  fifo->end = &w->next;
  return 1;
}

/* Milliseconds until the first is due; -1: nothing waits. */
static int next_timeout(void) {
  uint64_t now = now_us(), due = UINT64_MAX;
  for (int i = 0; i < FIFOS; i++)
    if (fifos[i].first != NULL && fifos[i].first->due < due)
      due = fifos[i].first->due;
  return due == UINT64_MAX ? -1 : due <= now ? 0 : (int)((due - now + 999) / 1000);
}

static void go_on(struct task *t);
static void next_frame(void);

static void fire_timers(void) {
  uint64_t now = now_us();
  for (int i = 0; i < FIFOS; i++) {
    struct waiter *w;
    while ((w = fifos[i].first) != NULL && w->due <= now) {
      fifos[i].first = w->next;
      struct task *t = find_task(w->user, w->id);
      if (t != NULL)
        go_on(t);
      else if (i == NEXT_FRAME)
        next_frame();
      else if (w->user == 0)
        encke_reply(sender, w->id, 200, TEXT, HELLO, sizeof HELLO - 1); /* GONE where the client has left */
      free(w);
    }
  }
}

/* ---- streams -------------------------------------------------------------------------------------- */

static void go_on_with_bytes(struct task *t) {
  while (t->left > 0) {
    size_t n = t->left < BLOCK ? (size_t)t->left : BLOCK;
    int r = encke_write(sender, t->id, big, n);
    if (r == ENCKE_E_AGAIN)
      return; /* WRITABLE brings us back */
    if (r != ENCKE_OK) {
      cut_task(t);
      return;
    }
    t->left -= n;
  }
  finish_task(t);
}

static void publish(const char *channel, const char *type, const void *data, size_t len) {
  encke_message message = {.type = {type, strlen(type)}, .key = ENCKE_STR("newest"), .data = data, .len = len};
  if (encke_publish(sender, 0, channel, &message, sizeof message) != ENCKE_OK)
    fprintf(stderr, "testbed: encke_publish: %s\n", encke_last_error());
}

static void events_channel(encke_id id, char *channel, size_t cap) {
  snprintf(channel, cap, "events/%llx", (unsigned long long)id);
}

static void go_on_with_events(struct task *t) {
  char text[128];
  uint64_t id = t->last_id + 1;
  int n = id % 2 ? snprintf(text, sizeof text, "id: %llu\nevent: tick\ndata: tick %llu\ndata: of five\n\n",
                            (unsigned long long)id, (unsigned long long)id)
                 : snprintf(text, sizeof text, ": a comment\nid: %llu\ndata: message %llu\n\n",
                            (unsigned long long)id, (unsigned long long)id);
  char channel[32];
  events_channel(t->id, channel, sizeof channel);
  publish(channel, "", text, (size_t)n);
  t->last_id = id;
  if (--t->left == 0)
    finish_task(t);
  else if (!wait_in(NEXT_EVENT, t->id, (size_t)(t - tasks) + 1))
    cut_task(t);
}

static void go_on_with_echo(struct task *t) {
  encke_str type = encke_head_get(t->head, "content-type");
  if (!t->begun && t->complete) {
    encke_reply(sender, t->id, 200, type.p ? type.p : "application/octet-stream", t->data, t->len);
    end_task(t);
    return;
  }
  if (!t->begun) {
    encke_field field = {ENCKE_STR("content-type"), type};
    encke_response r = {.status = 200, .fields = &field, .nfields = type.p != NULL};
    if (t->head->content_length != ENCKE_UNKNOWN) {
      r.flags = ENCKE_LENGTH;
      r.length = t->head->content_length;
    }
    if (encke_begin(sender, t->id, &r, sizeof r) != ENCKE_OK) {
      cut_task(t);
      return;
    }
    t->begun = 1;
  }
  int r = encke_write(sender, t->id, t->data, t->len);
  if (r == ENCKE_E_AGAIN)
    return; /* no credit meanwhile: at most BODY_WINDOW bytes are added */
  if (r != ENCKE_OK) {
    cut_task(t);
    return;
  }
  encke_body_ack(sender, t->id, t->unacked);
  t->len = t->unacked = 0;
  if (t->complete)
    finish_task(t);
}

static void on_body(struct task *t, const encke_event *ev) {
  if (t->len + ev->len > t->cap) {
    size_t cap = (t->len + ev->len) * 2;
    char *grown = realloc(t->data, cap);
    if (grown == NULL) {
      cut_task(t);
      return;
    }
    t->data = grown;
    t->cap = cap;
  }
  if (ev->len > 0)
    memcpy(t->data + t->len, ev->data, ev->len);
  t->len += ev->len;
  t->unacked += ev->len;
  t->complete = !ev->more;
  if (t->begun || t->complete || t->len > SPOOL) {
    go_on_with_echo(t);
  } else { /* a client that sends all before it reads would otherwise wait for us, and we for it */
    encke_body_ack(sender, t->id, t->unacked);
    t->unacked = 0;
  }
}

static void go_on(struct task *t) {
  switch (t->kind) {
  case BYTES:
    go_on_with_bytes(t);
    break;
  case EVENTS:
    go_on_with_events(t);
    break;
  case ECHO:
    go_on_with_echo(t);
    break;
  case FREE:
    break;
  }
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void get_fields(encke_id id, const encke_head *head) {
  size_t size = 1, at = 0;
  for (size_t i = 0; i < head->nfields; i++)
    size += head->fields[i].name.n + head->fields[i].value.n + 3;
  char *text = malloc(size);
  if (text == NULL) {
    reply(id, 503, "out of memory\n");
    return;
  }
  for (size_t i = 0; i < head->nfields; i++)
    at += (size_t)snprintf(text + at, size - at, "%s: %s\n", head->fields[i].name.p, head->fields[i].value.p);
  encke_reply(sender, id, 200, TEXT, text, at);
  free(text);
}

static void get_cookies(encke_id id, const encke_head *head) {
  size_t size = 1, at = 0;
  for (size_t i = 0; i < head->nfields; i++)
    size += head->fields[i].value.n + 1;
  char *text = malloc(size);
  if (text == NULL) {
    reply(id, 503, "out of memory\n");
    return;
  }
  for (size_t i = 0; i < head->nfields; i++) {
    if (!is(head->fields[i].name, "cookie"))
      continue;
    for (const char *p = head->fields[i].value.p; *p != '\0';) {
      p += strspn(p, "; ");
      size_t n = strcspn(p, ";");
      if (memchr(p, '=', n) != NULL) {
        memcpy(text + at, p, n);
        at += n;
        text[at++] = '\n';
      }
      p += n;
    }
  }
  encke_reply(sender, id, 200, TEXT, text, at);
  free(text);
}

static void get_bytes(encke_id id, const encke_head *head) {
  const char *digits = head->path.p + strlen("/bytes/");
  size_t n = strspn(digits, "0123456789");
  uint64_t length = strtoull(digits, NULL, 10);
  if (n == 0 || n > 10 || digits[n] != '\0' || length > GIB) {
    reply(id, 400, "/bytes/N: N is a number up to 1073741824\n");
    return;
  }
  static const encke_field type = {ENCKE_STR("content-type"), ENCKE_STR("application/octet-stream")};
  encke_response r = {.status = 200, .flags = ENCKE_LENGTH, .fields = &type, .nfields = 1, .length = length};
  if (is(head->method, "HEAD")) {
    settled(id, encke_respond(sender, id, &r, sizeof r));
    return;
  }
  struct task *t = new_task(BYTES, id);
  if (t == NULL) {
    reply(id, 503, "out of memory\n");
    return;
  }
  t->left = length;
  if (encke_begin(sender, id, &r, sizeof r) == ENCKE_OK)
    go_on(t);
  else
    cut_task(t);
}

static void get_big(encke_id id, const encke_head *head) {
  static const encke_field type = {ENCKE_STR("content-type"), ENCKE_STR("application/octet-stream")};
  encke_response r = {.status = 200, .flags = ENCKE_BORROW, .fields = &type, .nfields = 1};
  r.body = big; /* never changes and never goes: RELEASED needs no handling */
  r.body_len = sizeof big;
  (void)head;
  settled(id, encke_respond(sender, id, &r, sizeof r));
}

static void get_events(encke_id id, const encke_head *head) {
  static const encke_field type = {ENCKE_STR("content-type"), ENCKE_STR("text/event-stream")};
  static const char retry[] = "retry: 1000\n\n";
  if (is(head->method, "HEAD")) {
    encke_response r = {.status = 200, .fields = &type, .nfields = 1};
    settled(id, encke_respond(sender, id, &r, sizeof r));
    return;
  }
  struct task *t = new_task(EVENTS, id);
  if (t == NULL) {
    reply(id, 503, "out of memory\n");
    return;
  }
  encke_str last = encke_head_get(head, "last-event-id");
  t->last_id = last.p != NULL ? strtoull(last.p, NULL, 10) : 0;
  t->left = 5;
  char channel[32];
  const char *name = channel;
  encke_subscription how = {.transport = ENCKE_TRANSPORT_PLAIN, .fields = &type, .nfields = 1};
  events_channel(id, channel, sizeof channel);
  if (encke_subscribe(sender, id, &name, 1, &how, sizeof how) == ENCKE_OK) {
    publish(channel, "", retry, sizeof retry - 1);
    go_on(t);
  } else {
    cut_task(t);
  }
}

/* ---- a picture that changes ------------------------------------------------------------------------- */

static void put(unsigned char *at, uint32_t value) {
  for (int i = 0; i < 4; i++)
    at[i] = (unsigned char)(value >> 8 * i);
}

/* A bitmap of 24 bits a pixel with a bar that goes round. */
static void publish_frame(void) {
  static unsigned char frame[BITMAP];
  static unsigned tick;
  frame[0] = 'B', frame[1] = 'M', frame[26] = 1, frame[28] = 24;
  put(frame + 2, sizeof frame), put(frame + 10, 54), put(frame + 14, 40), put(frame + 18, WIDTH), put(frame + 22, HEIGHT);
  for (unsigned i = 0; i < WIDTH * HEIGHT; i++)
    memset(frame + 54 + i * 3, (i + tick) % WIDTH < 8 ? 255 : 32, 3);
  tick++;
  publish("mjpeg", "image/bmp", frame, sizeof frame);
}

/* As long as somebody looks. */
static void next_frame(void) {
  encke_channel_facts facts;
  memset(&facts, 0, sizeof facts);
  encke_channel_get(sender, "mjpeg", &facts, sizeof facts);
  if (facts.subscribers > 0) {
    publish_frame();
    wait_in(NEXT_FRAME, 0, 0);
  }
}

static void get_mjpeg(encke_id id, const encke_head *head) {
  const char *channel = "mjpeg";
  encke_subscription how = {.transport = ENCKE_TRANSPORT_MULTIPART};
  (void)head;
  settled(id, encke_subscribe(sender, id, &channel, 1, &how, sizeof how));
  if (fifos[NEXT_FRAME].first == NULL)
    wait_in(NEXT_FRAME, 0, 0);
}

static void get_delay(encke_id id, const encke_head *head) {
  if (!wait_in(is(head->path, "/delay") ? AFTER_10_MS : AFTER_200_MS, id, 0))
    reply(id, 503, "out of memory\n");
}

static void get_root(encke_id id, const encke_head *head) {
  (void)head;
  reply(id, 200, "encke testbed\n");
}

static void echo(encke_id id, const encke_head *head) {
  encke_str type = encke_head_get(head, "content-type");
  if (!(head->flags & ENCKE_HEAD_BODY_FOLLOWS)) {
    encke_reply(sender, id, 200, type.p ? type.p : "application/octet-stream", head->body, head->body_len);
    return;
  }
  struct task *t = new_task(ECHO, id);
  if (t != NULL)
    t->head = head;
  else
    reply(id, 503, "out of memory\n");
}

static void tell_methods(encke_id id, unsigned status) {
  static const encke_field allow = {ENCKE_STR("allow"), ENCKE_STR("GET, HEAD, POST, PUT, PATCH, OPTIONS")};
  encke_response r = {.status = status, .fields = &allow, .nfields = 1};
  settled(id, encke_respond(sender, id, &r, sizeof r));
}

static void get(encke_id id, const encke_head *head) {
  static const struct {
    const char *path;
    void (*get)(encke_id id, const encke_head *head);
  } routes[] = {
    {"/", get_root},       {"/echo", get_fields},    {"/cookie", get_cookies}, {"/big", get_big},
    {"/delay", get_delay}, {"/delay200", get_delay}, {"/events", get_events},
    {"/mjpeg", get_mjpeg},
  };
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    if (is(head->path, routes[i].path)) {
      routes[i].get(id, head);
      return;
    }
  }
  if (head->path.n > 7 && memcmp(head->path.p, "/bytes/", 7) == 0)
    get_bytes(id, head);
  else
    reply(id, 404, "not here\n");
}

static void on_request(encke_id id, const encke_head *head) {
  int body_follows = (head->flags & ENCKE_HEAD_BODY_FOLLOWS) != 0;
  if (head->path.n == 10 && memcmp(head->path.p, "/plaintext", 10) == 0 && !head->body_len && !body_follows) {
    encke_reply(sender, id, 200, TEXT, HELLO, sizeof HELLO - 1);
    return;
  }
  int has_body = body_follows || head->content_length == ENCKE_UNKNOWN ||
                 encke_head_get(head, "content-length").p != NULL; /* an empty body is a body, too */
  if ((head->flags & ENCKE_HEAD_WEBSOCKET) != 0 && is(head->path, "/echo"))
    settled(id, encke_ws_accept(sender, id, NULL, 0));
  else if (is(head->method, "TRACE"))
    tell_methods(id, 405);
  else if (has_body || is(head->method, "POST") || is(head->method, "PUT") || is(head->method, "PATCH"))
    echo(id, head);
  else if (is(head->method, "GET") || is(head->method, "HEAD"))
    get(id, head);
  else if (is(head->method, "OPTIONS") || is(head->method, "DELETE"))
    tell_methods(id, is(head->method, "OPTIONS") ? 200 : 405);
  else
    reply(id, 501, "no such method\n");
}

static void on_event(const encke_event *ev) {
  struct task *t;
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    on_request(ev->id, ev->head);
    break;
  case ENCKE_EV_BODY:
    if ((t = find_task(ev->user, ev->id)) != NULL)
      on_body(t, ev);
    break;
  case ENCKE_EV_WRITABLE:
    if ((t = find_task(ev->user, ev->id)) != NULL)
      go_on(t);
    break;
  case ENCKE_EV_ABORTED:
    if ((t = find_task(ev->user, ev->id)) != NULL)
      cut_task(t);
    else
      encke_abort(sender, ev->id);
    break;
  case ENCKE_EV_MESSAGE:
    if (encke_ws_send(sender, ev->id, (uint32_t)ev->code, ev->data, ev->len) == ENCKE_E_AGAIN)
      encke_ws_close(sender, ev->id, 1008, "you do not read");
    break;
  case ENCKE_EV_LISTENER:
    fprintf(stderr, "testbed: cannot accept: %s\n", strerror(ev->code));
    break;
  case ENCKE_EV_DRAINED:
    drained = 1;
    break;
  default:
    break;
  }
}

/* ---- start and stop ------------------------------------------------------------------------------- */

static char *slurp(const char *name, size_t *len) {
  FILE *f = fopen(name, "rb");
  char *data = malloc(BLOCK);
  if (f == NULL || data == NULL)
    die(name, f == NULL ? strerror(errno) : "out of memory");
  *len = fread(data, 1, BLOCK, f);
  fclose(f);
  return data;
}

static encke_tls *load_tls(void) {
  size_t chain_len, key_len;
  char *chain = slurp("state/cert.pem", &chain_len), *key = slurp("state/key.pem", &key_len);
  encke_tls *tls = encke_tls_new();
  if (tls == NULL || encke_tls_add(tls, chain, chain_len, key, key_len) != ENCKE_OK)
    die("tls", encke_last_error());
  free(chain);
  free(key);
  return tls;
}

static void listen_on(const char *port, encke_tls *tls) {
  char at[128];
  encke_id listener;
  snprintf(at, sizeof at, "127.0.0.1:%s", port);
  if (encke_listen(e, at, tls, &listener) != ENCKE_OK)
    die("encke_listen", encke_last_error());
  if (encke_info(e, listener, ENCKE_INFO_LOCAL, at, sizeof at, NULL) != ENCKE_OK)
    die("encke_info", encke_last_error());
  printf("listening on %s\n", at);
}

static void start(const char *port, int with_tls, const char *plain_port) {
  static const struct {
    int option;
    uint64_t value;
  } options[] = {
    {ENCKE_OPT_MAX_CONNECTIONS, 100000}, {ENCKE_OPT_MAX_HELD, 100000}, {ENCKE_OPT_MAX_MEMORY, GIB},
    {ENCKE_OPT_MAX_BODY, 4096 * GIB},    {ENCKE_OPT_BACKLOG, 4096},
  };
  encke_config *config = encke_config_new();
  if (config == NULL)
    die("encke_config_new", "out of memory");
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    if (encke_config_set(config, options[i].option, options[i].value) != ENCKE_OK)
      die("encke_config_set", encke_last_error());
  if (encke_new(config, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  encke_config_free(config);

  encke_tls *tls = with_tls ? load_tls() : NULL;
  listen_on(port, tls);
  encke_tls_free(tls); /* the listener keeps its own reference */
  if (plain_port != NULL)
    listen_on(plain_port, NULL);
  sender = encke_get_sender(e);
  if (encke_has_feature("push") &&
      (encke_channel_set(sender, "*", ENCKE_CHANNEL_HISTORY, 0) != ENCKE_OK || /* nobody comes back to these */
       encke_channel_set(sender, "mjpeg", ENCKE_CHANNEL_SLOW, ENCKE_SLOW_LATEST) != ENCKE_OK))
    die("encke_channel_set", encke_last_error());
  fflush(stdout);
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender);
}

int main(int argc, char **argv) {
  struct rlimit files;
  if (argc < 2 || (argc > 2 && strcmp(argv[2], "tls") != 0)) {
    fprintf(stderr, "usage: testbed PORT [tls [PLAIN_PORT]]\n");
    return 2;
  }
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  memset(big, 'x', sizeof big);
  start(argv[1], argc > 2, argc > 3 ? argv[3] : NULL);

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);

  struct pollfd p = {.fd = encke_fd(e), .events = POLLIN};
  int draining = 0;
  while (!drained) {
    if (poll(&p, 1, next_timeout()) < 0 && errno != EINTR)
      die("poll", strerror(errno));
    fire_timers(); /* before encke_run, which sends their answers */
    encke_event ev;
    if (encke_run(e, 0) < 0)
      die("encke_run", encke_last_error());
    while (encke_next(e, &ev, sizeof ev) > 0)
      on_event(&ev);
    if (stop && !draining) {
      draining = 1;
      if (encke_drain(e, 1000) != ENCKE_OK)
        die("encke_drain", encke_last_error());
    }
  }
  encke_free(e);
  return 0;
}
