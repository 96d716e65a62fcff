/*
 * glib_loop.c - encke in a GLib main loop: one g_unix_fd_add, and answers that GLib timers give.
 *
 * GLib watches level-triggered, so one encke_run and one drain of encke_next per dispatch is enough.
 *
 *   ./glib_loop [ADDRESS]                  default 127.0.0.1:8080
 *   curl http://127.0.0.1:8080/            answered by a GLib timer half a second later
 *   curl -Z 'http://127.0.0.1:8080/?[1-40]'     forty of them are held at once
 */
#include <stdlib.h>
#include <string.h>

#include <glib-unix.h>
#include <glib.h>

#include <encke.h>

static encke *e;
static encke_sender *sender;
static GMainLoop *loop;

static void die(const char *what) {
  g_printerr("glib_loop: %s: %s\n", what, encke_last_error());
  exit(1);
}

static gboolean answer(gpointer user_data) {
  static const char text[] = "a timer of the main loop answered\n";
  const encke_id *id = user_data;
  encke_reply(sender, *id, 200, "text/plain", text, sizeof text - 1); /* settles in any case */
  return G_SOURCE_REMOVE;
}

static gboolean on_encke(gint fd, GIOCondition condition, gpointer user_data) {
  (void)fd, (void)condition, (void)user_data;
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("encke_run");
  while (encke_next(e, &ev, sizeof ev) > 0) {
    switch (ev.kind) {
    case ENCKE_EV_REQUEST: {
      encke_id *id = g_new(encke_id, 1);
      *id = ev.id;
      g_timeout_add_full(G_PRIORITY_DEFAULT, 500, answer, id, g_free);
      break;
    }
    case ENCKE_EV_LISTENER:
      g_printerr("glib_loop: cannot accept: %s\n", strerror(ev.code));
      break;
    case ENCKE_EV_DRAINED:
      g_main_loop_quit(loop);
      break;
    default:
      break; /* ABORTED: the timer settles in any case */
    }
  }
  return G_SOURCE_CONTINUE;
}

static gboolean on_stop(gpointer user_data) {
  (void)user_data;
  if (encke_drain(e, 5000) != ENCKE_OK)
    die("encke_drain");
  return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv) {
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new");
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen");
  sender = encke_get_sender(e);

  loop = g_main_loop_new(NULL, FALSE);
  g_unix_fd_add(encke_fd(e), G_IO_IN, on_encke, NULL);
  g_unix_signal_add(SIGINT, on_stop, NULL);
  g_unix_signal_add(SIGTERM, on_stop, NULL);
  g_main_loop_run(loop);

  encke_free(e);
  g_main_loop_unref(loop);
  return 0;
}
