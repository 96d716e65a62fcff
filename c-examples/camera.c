/*
 * camera.c - a picture that changes: frames published in a channel, shown by <img> as multipart/x-mixed-replace.
 *
 * The "camera" draws a bitmap ten times a second. Who does not keep up gets the newest frame and not all of them:
 * ENCKE_SLOW_LATEST, and all frames have one key.
 *
 *   ./camera [ADDRESS]                     default 127.0.0.1:8080, then open http://127.0.0.1:8080/
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <encke.h>

enum { WIDTH = 160, HEIGHT = 120, HEAD = 54, FRAME_MS = 100 };

static encke *e;
static encke_sender *sender;
static volatile sig_atomic_t stop;
static int drained;
static unsigned char frame[HEAD + WIDTH * HEIGHT * 3];

static const char page[] = "<!doctype html><meta charset=utf-8><title>camera</title><h1>camera</h1>"
                           "<img src=/camera width=640 height=480 alt='what the camera sees' style='image-rendering:pixelated'>";

static void die(const char *what) {
  fprintf(stderr, "camera: %s: %s\n", what, encke_last_error());
  exit(1);
}

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void number(unsigned char *at, uint32_t value) {
  for (int i = 0; i < 4; i++)
    at[i] = (unsigned char)(value >> 8 * i);
}

/* A bitmap of 24 bits a pixel: a bright square goes round over a gradient. */
static void draw(unsigned tick) {
  static const unsigned char magic[2] = {'B', 'M'};
  memset(frame, 0, HEAD);
  memcpy(frame, magic, 2);
  number(frame + 2, sizeof frame);
  number(frame + 10, HEAD);
  number(frame + 14, 40);
  number(frame + 18, WIDTH);
  number(frame + 22, HEIGHT);
  frame[26] = 1;
  frame[28] = 24;
  unsigned left = tick * 4 % (WIDTH - 20), bottom = tick * 3 % (HEIGHT - 20);
  for (unsigned y = 0; y < HEIGHT; y++)
    for (unsigned x = 0; x < WIDTH; x++) {
      unsigned char *pixel = frame + HEAD + (y * WIDTH + x) * 3;
      int inside = x >= left && x < left + 20 && y >= bottom && y < bottom + 20;
      pixel[0] = inside ? 0 : (unsigned char)(x + tick);
      pixel[1] = inside ? 200 : (unsigned char)y;
      pixel[2] = inside ? 255 : 40;
    }
}

static void publish(unsigned tick) {
  draw(tick);
  encke_message message = {.type = ENCKE_STR("image/bmp"), .key = ENCKE_STR("frame"), .data = frame, .len = sizeof frame};
  if (encke_publish(sender, 0, "camera", &message, sizeof message) != ENCKE_OK)
    die("encke_publish");
}

static void on_request(encke_id id, const encke_head *head) {
  const char *channel = "camera";
  if (strcmp(head->path.p, "/camera") == 0) {
    encke_subscription how = {.transport = ENCKE_TRANSPORT_MULTIPART};
    if (encke_subscribe(sender, id, &channel, 1, &how, sizeof how) != ENCKE_OK)
      encke_abort(sender, id);
  } else if (strcmp(head->path.p, "/") == 0) {
    encke_reply(sender, id, 200, "text/html; charset=utf-8", page, sizeof page - 1);
  } else {
    encke_reply(sender, id, 404, "text/plain", "no such page\n", 13);
  }
}

static void on_signal(int number_) {
  (void)number_;
  stop = 1;
  encke_wake(sender);
}

int main(int argc, char **argv) {
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new");
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen");
  sender = encke_get_sender(e);
  if (encke_channel_set(sender, "camera", ENCKE_CHANNEL_SLOW, ENCKE_SLOW_LATEST) != ENCKE_OK ||
      encke_channel_set(sender, "camera", ENCKE_CHANNEL_HISTORY, 1) != ENCKE_OK)
    die("encke_channel_set");
  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);

  int draining = 0;
  unsigned tick = 0;
  uint64_t next_frame = now_ms();
  while (!drained) {
    uint64_t now = now_ms();
    if (encke_wait(e, now < next_frame ? (int64_t)(next_frame - now) : 0) < 0)
      die("encke_wait");
    encke_event ev;
    while (encke_next(e, &ev, sizeof ev) > 0) {
      if (ev.kind == ENCKE_EV_REQUEST)
        on_request(ev.id, ev.head);
      else if (ev.kind == ENCKE_EV_ABORTED || ev.kind == ENCKE_EV_BODY)
        encke_abort(sender, ev.id);
      else if (ev.kind == ENCKE_EV_DRAINED)
        drained = 1;
    }
    if (now_ms() >= next_frame) {
      publish(tick++);
      next_frame += FRAME_MS;
    }
    if (stop && !draining) {
      draining = 1;
      if (encke_drain(e, 2000) != ENCKE_OK)
        die("encke_drain");
    }
  }
  encke_free(e);
  return 0;
}
