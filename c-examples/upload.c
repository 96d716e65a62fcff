/*
 * upload.c - takes bodies of any size into files, in constant memory, however slow the disk is.
 *
 * The loop thread copies each piece of a body into a queue; one writing thread takes it out, writes it, and
 * gives the credit for it back with encke_body_ack. encke hands over no more than BODY_WINDOW bytes of a
 * body without credit, so that much is all that one upload ever occupies, and a full disk queue slows the
 * client down by TCP itself.
 *
 * An upload belongs to the writing thread: it opens, writes, finishes and settles. What the loop thread
 * learns goes through the same queue, DONE included, after which no event can name the upload any more:
 * only then it is freed. A file appears under its name when it is complete, and a name that exists is not
 * overwritten (409).
 *
 *   ./upload DIRECTORY [ADDRESS]                                       default 127.0.0.1:8080
 *   curl -T big.iso http://127.0.0.1:8080/                             PUT /big.iso, 201
 *   head -c 5G /dev/zero | curl -T - http://127.0.0.1:8080/zeros       chunked: a length that nobody knows
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <encke.h>

#define NAME_MAX_LENGTH 100

enum what { OPEN, PIECE, COMPLETE, ABORTED, DONE, QUIT };

struct item {
  struct item *next;
  struct upload *upload;
  enum what what;
  size_t len; /* PIECE: so many bytes follow the struct */
};

struct upload {
  encke_id id;
  int aborted_sent;                        /* the loop thread's */
  int fd;                                  /* from here on the writing thread's; -1: not open (any more) */
  char name[NAME_MAX_LENGTH + 1], part[NAME_MAX_LENGTH + 32];
  struct item open, complete, aborted, done; /* these must get through even when memory is short */
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t filled;
  struct item *first, **last;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .last = &queue.first};

static int directory;
static encke_sender *sender;
static volatile sig_atomic_t stop;
static size_t uploads; /* between REQUEST and DONE */

static void die(const char *what, const char *why) {
  fprintf(stderr, "upload: %s: %s\n", what, why);
  exit(1);
}

static void reply(encke_id id, unsigned status, const char *text) {
  encke_reply(sender, id, status, "text/plain", text, strlen(text)); /* settles, whatever it returns: L1 */
}

static void queue_put(struct item *item, struct upload *upload, enum what what) {
  item->next = NULL;
  item->upload = upload;
  item->what = what;
  pthread_mutex_lock(&queue.lock);
  *queue.last = item;
  queue.last = &item->next;
  pthread_cond_signal(&queue.filled);
  pthread_mutex_unlock(&queue.lock);
}

static struct item *queue_take(void) {
  pthread_mutex_lock(&queue.lock);
  while (queue.first == NULL)
    pthread_cond_wait(&queue.filled, &queue.lock);
  struct item *item = queue.first;
  queue.first = item->next;
  if (queue.first == NULL)
    queue.last = &queue.first;
  pthread_mutex_unlock(&queue.lock);
  return item;
}

/* ---- the writing thread --------------------------------------------------------------------------- */

static void discard(struct upload *u) {
  if (u->fd >= 0) {
    close(u->fd);
    unlinkat(directory, u->part, 0);
    u->fd = -1;
  }
}

static void give_up(struct upload *u, unsigned status, const char *why) {
  discard(u);
  reply(u->id, status, why); /* ends the BODY events; those that are under way find fd < 0 */
}

static void write_piece(struct upload *u, const char *data, size_t len) {
  for (size_t at = 0; u->fd >= 0 && at < len;) {
    ssize_t n = write(u->fd, data + at, len - at);
    if (n >= 0)
      at += (size_t)n;
    else if (errno != EINTR)
      give_up(u, 507, "the file cannot be written\n");
  }
  encke_body_ack(sender, u->id, len); /* GONE where it was settled: nothing is expected any more */
}

static void complete(struct upload *u) {
  char location[NAME_MAX_LENGTH + 2];
  int n = snprintf(location, sizeof location, "/%s", u->name);
  encke_field fields[] = {{ENCKE_STR("location"), {location, (size_t)n}}};
  encke_response created = {.status = 201, .fields = fields, .nfields = 1};
  if (u->fd < 0)
    return; /* settled before */
  if (fsync(u->fd) != 0) {
    give_up(u, 507, "the file cannot be written\n");
  } else if (linkat(directory, u->part, directory, u->name, 0) != 0) {
    if (errno == EEXIST)
      give_up(u, 409, "that name exists\n");
    else
      give_up(u, 500, "the file cannot be named\n");
  } else {
    discard(u); /* the name of the part only */
    if (encke_respond(sender, u->id, &created, sizeof created) != ENCKE_OK)
      encke_abort(sender, u->id); /* out of memory: still to settle; elsewhere GONE and no harm */
  }
}

static void *writing_thread(void *arg) {
  (void)arg;
  for (;;) {
    struct item *item = queue_take();
    struct upload *u = item->upload;
    switch (item->what) {
    case OPEN:
      u->fd = openat(directory, u->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
      if (u->fd < 0)
        give_up(u, 500, "the file cannot be created\n");
      break;
    case PIECE:
      write_piece(u, (const char *)(item + 1), item->len);
      free(item);
      break;
    case COMPLETE:
      complete(u);
      break;
    case ABORTED:
      discard(u);
      encke_abort(sender, u->id);
      break;
    case DONE:
      discard(u);
      free(u);
      break;
    case QUIT:
      return NULL;
    }
  }
}

/* ---- the loop thread ------------------------------------------------------------------------------ */

/* One path segment of harmless characters that does not begin with a dot: it cannot leave the directory. */
static int safe_name(encke_str path, char *name, size_t cap) {
  static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  char decoded[NAME_MAX_LENGTH + 2];
  if (encke_param(path, 0, NULL, decoded, sizeof decoded, NULL) != 1 || decoded[0] != '/')
    return 0;
  size_t len = strlen(decoded + 1);
  if (len == 0 || len >= cap || decoded[1] == '.' || strspn(decoded + 1, safe) != len)
    return 0;
  memcpy(name, decoded + 1, len + 1);
  return 1;
}

static void on_request(encke_id id, const encke_head *head) {
  if (strcmp(head->method.p, "PUT") != 0) {
    static const encke_field allow[] = {{ENCKE_STR("allow"), ENCKE_STR("PUT")}};
    encke_response r = {.status = 405, .fields = allow, .nfields = 1};
    if (encke_respond(sender, id, &r, sizeof r) != ENCKE_OK)
      encke_abort(sender, id);
    return;
  }
  struct upload *u = calloc(1, sizeof *u);
  if (u == NULL) {
    reply(id, 503, "out of memory\n");
    return;
  }
  if (!safe_name(head->path, u->name, sizeof u->name)) {
    free(u);
    reply(id, 400, "a name is letters, digits, dots, dashes and underscores\n"); /* also refuses an Expect */
    return;
  }
  if (encke_set_user(sender, id, (uint64_t)(uintptr_t)u) != ENCKE_OK) {
    free(u);
    encke_abort(sender, id);
    return;
  }
  u->id = id;
  u->fd = -1;
  snprintf(u->part, sizeof u->part, ".%s.%016llx.part", u->name, (unsigned long long)id);
  uploads++;
  queue_put(&u->open, u, OPEN);
  if (!(head->flags & ENCKE_HEAD_BODY_FOLLOWS))
    queue_put(&u->complete, u, COMPLETE); /* BUFFER_BODY is 0: then the body is empty */
}

static void drop(struct upload *u) {
  if (!u->aborted_sent)
    queue_put(&u->aborted, u, ABORTED);
  u->aborted_sent = 1;
}

static void on_body(struct upload *u, const encke_event *ev) {
  struct item *item = malloc(sizeof *item + ev->len);
  if (item == NULL) {
    reply(u->id, 503, "out of memory\n");
    drop(u);
    return;
  }
  item->len = ev->len;
  if (ev->len > 0)
    memcpy(item + 1, ev->data, ev->len);
  queue_put(item, u, PIECE);
  if (!ev->more)
    queue_put(&u->complete, u, COMPLETE);
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender);
}

static encke *start(const char *address) {
  encke *e;
  encke_config *config = encke_config_new();
  if (config == NULL || encke_config_set(config, ENCKE_OPT_EVENTS, ENCKE_WANT(ENCKE_EV_DONE)) != ENCKE_OK ||
      encke_config_set(config, ENCKE_OPT_BUFFER_BODY, 0) != ENCKE_OK ||
      encke_config_set(config, ENCKE_OPT_MAX_BODY, (uint64_t)1 << 50) != ENCKE_OK ||
      encke_config_set(config, ENCKE_OPT_BODY_WINDOW, 1 << 20) != ENCKE_OK)
    die("encke_config", encke_last_error());
  if (encke_new(config, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  encke_config_free(config);
  if (encke_listen(e, address, NULL, NULL) != ENCKE_OK)
    die("encke_listen", encke_last_error());
  return e;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: upload DIRECTORY [ADDRESS]\n");
    return 2;
  }
  directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0)
    die(argv[1], strerror(errno));
  encke *e = start(argc > 2 ? argv[2] : "127.0.0.1:8080");
  sender = encke_get_sender(e);

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);

  pthread_t writer;
  if (pthread_create(&writer, NULL, writing_thread, NULL) != 0)
    die("pthread_create", "failed");

  int draining = 0, drained = 0;
  while (!drained || uploads > 0) { /* after the drain: until the writing thread has settled the rest */
    if (encke_wait(e, -1) < 0)
      die("encke_wait", encke_last_error());
    encke_event ev;
    while (encke_next(e, &ev, sizeof ev) > 0) {
      struct upload *u = (struct upload *)(uintptr_t)ev.user; /* NULL: refused at once */
      switch (ev.kind) {
      case ENCKE_EV_REQUEST:
        on_request(ev.id, ev.head);
        break;
      case ENCKE_EV_BODY:
        if (u != NULL)
          on_body(u, &ev);
        break;
      case ENCKE_EV_ABORTED:
        if (u != NULL)
          drop(u);
        break;
      case ENCKE_EV_DONE:
        if (u != NULL) {
          uploads--;
          queue_put(&u->done, u, DONE);
        }
        break;
      case ENCKE_EV_LISTENER:
        fprintf(stderr, "upload: cannot accept: %s\n", strerror(ev.code));
        break;
      case ENCKE_EV_DRAINED:
        drained = 1;
        break;
      default:
        break;
      }
    }
    if (stop && !draining) {
      draining = 1;
      if (encke_drain(e, 10000) != ENCKE_OK)
        die("encke_drain", encke_last_error());
    }
  }
  struct item quit;
  queue_put(&quit, NULL, QUIT);
  pthread_join(writer, NULL);
  encke_free(e);
  close(directory);
  return 0;
}
