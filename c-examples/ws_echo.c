/*
 * ws_echo.c - a WebSocket that says what it is told. A message that finds the way full (ENCKE_E_AGAIN) is kept until
 * ENCKE_EV_WRITABLE; whoever goes on talking without listening is closed.
 *
 *   ./ws_echo [ADDRESS]                    default 127.0.0.1:8080
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <encke.h>

struct kept {
  uint32_t opcode;
  size_t len;
  char data[];
};

static encke *e;
static encke_sender *sender;
static volatile sig_atomic_t stop;
static int drained;

static void die(const char *what) {
  fprintf(stderr, "ws_echo: %s: %s\n", what, encke_last_error());
  exit(1);
}

static void echo(const encke_event *ev) {
  if (ev->user != 0) { /* one is kept already */
    encke_ws_close(sender, ev->id, 1008, "you do not listen");
    return;
  }
  if (encke_ws_send(sender, ev->id, (uint32_t)ev->code, ev->data, ev->len) != ENCKE_E_AGAIN)
    return; /* sent, or nobody is there any more */
  struct kept *kept = malloc(sizeof *kept + ev->len);
  if (kept == NULL || encke_set_user(sender, ev->id, (uint64_t)(uintptr_t)kept) != ENCKE_OK) {
    free(kept);
    encke_abort(sender, ev->id);
    return;
  }
  kept->opcode = (uint32_t)ev->code;
  kept->len = ev->len;
  memcpy(kept->data, ev->data, ev->len);
}

static void on_event(const encke_event *ev) {
  struct kept *kept = (struct kept *)(uintptr_t)ev->user;
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    if (encke_ws_accept(sender, ev->id, NULL, 0) == ENCKE_E_STATE)
      encke_reply(sender, ev->id, 426, "text/plain", "a WebSocket, please\n", 20);
    break;
  case ENCKE_EV_MESSAGE:
    echo(ev);
    break;
  case ENCKE_EV_WRITABLE:
    if (kept != NULL && encke_ws_send(sender, ev->id, kept->opcode, kept->data, kept->len) != ENCKE_E_AGAIN) {
      encke_set_user(sender, ev->id, 0);
      free(kept);
    }
    break;
  case ENCKE_EV_CLOSED:
    free(kept);
    break;
  case ENCKE_EV_ABORTED:
  case ENCKE_EV_BODY:
    encke_abort(sender, ev->id);
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
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new");
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen");
  sender = encke_get_sender(e);
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
      if (encke_drain(e, 2000) != ENCKE_OK)
        die("encke_drain");
    }
  }
  encke_free(e);
  return 0;
}
