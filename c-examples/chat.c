/*
 * chat.c - rooms, names, history, and who is there: server push by channels.
 *
 * A room is a channel. The page listens by EventSource and sends by POST, or does both over a WebSocket; who loses
 * the connection comes back by itself and misses nothing, as the browser says where it left. A visitor's memory
 * is found through ev.user, is made when its request is subscribed and freed with the last event of that id.
 *
 *   ./chat [ADDRESS]                       default 127.0.0.1:8080, then open http://127.0.0.1:8080/ twice
 *   curl -N 'http://127.0.0.1:8080/room/lobby?name=curl' -H 'Accept: text/event-stream'
 *   curl 'http://127.0.0.1:8080/room/lobby?name=curl' -d 'hello from the shell'
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <encke.h>

#include "chat_page.h"

#define NAME_SIZE 64
#define ROOM "/room/"

struct visitor {
  struct visitor *next, **link; /* link: the pointer that points here */
  encke_id id;
  char name[NAME_SIZE], room[128];
};

static encke *e;
static encke_sender *sender;
static struct visitor *visitors;
static volatile sig_atomic_t stop;
static int drained;

static void die(const char *what) {
  fprintf(stderr, "chat: %s: %s\n", what, encke_last_error());
  exit(1);
}

static void publish(const char *room, const char *name, const char *event, const void *data, size_t len) {
  encke_message message = {
    .type = ENCKE_STR("text/plain; charset=utf-8"), .from = {name, strlen(name)}, .event = {event, strlen(event)}, .data = data, .len = len};
  if (encke_publish(sender, 0, room, &message, sizeof message) != ENCKE_OK)
    fprintf(stderr, "chat: not published: %s\n", encke_last_error());
}

/* "name: text": EventSource knows nothing of who sent it. */
static void say(const char *room, const char *name, const void *text, size_t len) {
  size_t head = strlen(name) + 2;
  char *line = malloc(head + len + 1);
  if (line == NULL)
    return;
  snprintf(line, head + 1, "%s: ", name);
  memcpy(line + head, text, len);
  publish(room, name, "", line, head + len);
  free(line);
}

/* Everybody in a room, a name a line. */
static void publish_who(const char *room) {
  char names[4096];
  size_t n = 0;
  for (struct visitor *v = visitors; v != NULL; v = v->next)
    if (strcmp(v->room, room) == 0 && n + strlen(v->name) + 2 < sizeof names)
      n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n > 0 ? "\n" : "", v->name);
  publish(room, "", "who", names, n);
}

static void refuse(encke_id id, unsigned status, const char *why) {
  encke_reply(sender, id, status, "text/plain", why, strlen(why));
}

static void enter(encke_id id, const char *name, const char *room) {
  struct visitor *v = calloc(1, sizeof *v);
  if (v == NULL || encke_set_user(sender, id, (uint64_t)(uintptr_t)v) != ENCKE_OK) {
    free(v);
    encke_abort(sender, id);
    return;
  }
  v->id = id;
  snprintf(v->name, sizeof v->name, "%s", name);
  snprintf(v->room, sizeof v->room, "%s", room);
  v->next = visitors;
  v->link = &visitors;
  if (visitors != NULL)
    visitors->link = &v->next;
  visitors = v;
  encke_subscription how = {.flags = ENCKE_SUBSCRIBE_CORS};
  if (encke_subscribe(sender, id, &room, 1, &how, sizeof how) != ENCKE_OK)
    encke_abort(sender, id); /* DONE follows and frees */
}

static void leave(struct visitor *v) {
  char room[sizeof v->room];
  memcpy(room, v->room, sizeof room);
  *v->link = v->next;
  if (v->next != NULL)
    v->next->link = v->link;
  free(v);
  publish_who(room);
}

static void on_request(encke_id id, const encke_head *head) {
  char name[NAME_SIZE] = "somebody", path[256];
  if (strcmp(head->path.p, "/") == 0) {
    encke_reply(sender, id, 200, "text/html; charset=utf-8", chat_page, sizeof chat_page - 1);
    return;
  }
  if (encke_param(head->path, 0, "", path, sizeof path, NULL) != 1 || strncmp(path, ROOM, strlen(ROOM)) != 0 || path[strlen(ROOM)] == '\0') {
    refuse(id, 404, "no such page\n");
    return;
  }
  if (encke_param(head->query, '&', "name", name, sizeof name, NULL) < 0) {
    refuse(id, 400, "the name cannot be read\n");
    return;
  }
  const char *room = path + 1; /* "room/lobby" */
  if (strcmp(head->method.p, "GET") == 0) {
    enter(id, name, room);
  } else if (strcmp(head->method.p, "POST") == 0) {
    if (head->body_len > 0)
      say(room, name, head->body, head->body_len);
    encke_reply(sender, id, 204, NULL, NULL, 0);
  } else {
    refuse(id, 405, "GET or POST\n");
  }
}

static void on_event(const encke_event *ev) {
  struct visitor *v = (struct visitor *)(uintptr_t)ev->user;
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    on_request(ev->id, ev->head);
    break;
  case ENCKE_EV_BODY: /* more than one wants to say at once */
    encke_abort(sender, ev->id);
    break;
  case ENCKE_EV_ABORTED: /* before it was answered: the settle frees */
    encke_abort(sender, ev->id);
    break;
  case ENCKE_EV_MESSAGE: /* from a WebSocket */
    if (v != NULL && ev->len > 0)
      say(v->room, v->name, ev->data, ev->len);
    break;
  case ENCKE_EV_SUBSCRIBER:
    if (ev->code == 1 && v != NULL)
      publish_who(v->room);
    break;
  case ENCKE_EV_DONE:
  case ENCKE_EV_CLOSED:
    if (v != NULL)
      leave(v);
    break;
  case ENCKE_EV_LISTENER:
    fprintf(stderr, "chat: cannot accept: %s\n", strerror(ev->code));
    break;
  case ENCKE_EV_DRAINED:
    drained = 1;
    break;
  default:
    break;
  }
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender);
}

int main(int argc, char **argv) {
  const char *address = argc > 1 ? argv[1] : "127.0.0.1:8080";
  encke_config *config = encke_config_new();
  if (config == NULL || encke_config_set(config, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_SUBSCRIBER)) != ENCKE_OK)
    die("encke_config");
  if (encke_new(config, &e) != ENCKE_OK)
    die("encke_new");
  encke_config_free(config);
  if (encke_listen(e, address, NULL, NULL) != ENCKE_OK)
    die("encke_listen");
  sender = encke_get_sender(e);
  if (encke_channel_set(sender, "room/*", ENCKE_CHANNEL_TTL_MS, 3600000) != ENCKE_OK)
    die("encke_channel_set");
  printf("open http://%s/ in two windows\n", address);
  fflush(stdout);

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);
  int draining = 0;
  while (!drained) {
    if (encke_wait(e, -1) < 0)
      die("encke_wait");
    encke_event ev;
    while (encke_next(e, &ev, sizeof ev) > 0)
      on_event(&ev);
    if (stop && !draining) {
      draining = 1;
      if (encke_drain(e, 2000) != ENCKE_OK) /* ends the subscriptions */
        die("encke_drain");
    }
  }
  while (visitors != NULL) { /* whose last event did not come before DRAINED */
    struct visitor *v = visitors;
    visitors = v->next;
    free(v);
  }
  encke_free(e);
  return 0;
}
