/*
 * threads.c - worker threads that answer by themselves, through an encke_sender.
 *
 * The loop thread only puts {id, head} into a queue (a mutex and a condition variable, nothing of encke's);
 * a worker takes them out, reads the head, which stays as it is until that worker settles, works as long as
 * it must, and answers. No call of a worker ever waits for the loop or for a socket. A client that leaves
 * meanwhile does no harm: the ABORTED event needs no handling here, because the worker settles in any case
 * and is told GONE.
 *
 *   ./threads [ADDRESS]                                 default 127.0.0.1:8080
 *   curl 'http://127.0.0.1:8080/primes?below=3000000'   about half a second of a worker
 *   curl -Z 'http://127.0.0.1:8080/primes?below=3000000&n=[1-8]'    the workers share them
 *   curl http://127.0.0.1:8080/                         answered by the loop thread, at once, beside all that
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <encke.h>

#define WORKERS 4
#define QUEUE 256

struct job {
  encke_id id;
  const encke_head *head;
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t filled;
  struct job jobs[QUEUE];
  size_t first, count;
  int closed;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static encke_sender *sender; /* of the loop thread; the workers hold references of their own */
static volatile sig_atomic_t stop;

static void die(const char *what) {
  fprintf(stderr, "threads: %s: %s\n", what, encke_last_error());
  exit(1);
}

static void reply(encke_sender *through, encke_id id, unsigned status, const char *text) {
  encke_reply(through, id, status, "text/plain", text, strlen(text)); /* settles, whatever it returns: L1 */
}

static int queue_put(struct job job) {
  pthread_mutex_lock(&queue.lock);
  int room = queue.count < QUEUE;
  if (room) {
    queue.jobs[(queue.first + queue.count++) % QUEUE] = job;
    pthread_cond_signal(&queue.filled);
  }
  pthread_mutex_unlock(&queue.lock);
  return room;
}

/* 0: the queue is closed and empty. */
static int queue_take(struct job *job) {
  pthread_mutex_lock(&queue.lock);
  while (queue.count == 0 && !queue.closed)
    pthread_cond_wait(&queue.filled, &queue.lock);
  int got = queue.count > 0;
  if (got) {
    *job = queue.jobs[queue.first];
    queue.first = (queue.first + 1) % QUEUE;
    queue.count--;
  }
  pthread_mutex_unlock(&queue.lock);
  return got;
}

static void queue_close(void) {
  pthread_mutex_lock(&queue.lock);
  queue.closed = 1;
  pthread_cond_broadcast(&queue.filled);
  pthread_mutex_unlock(&queue.lock);
}

static unsigned long primes_below(unsigned long below) {
  unsigned long found = below > 2;
  for (unsigned long n = 3; n < below; n += 2) {
    unsigned long d = 3;
    while (d * d <= n && n % d != 0)
      d += 2;
    found += d * d > n;
  }
  return found;
}

static void *worker(void *arg) {
  encke_sender *mine = arg;
  struct job job;
  while (queue_take(&job)) {
    if (encke_write(mine, job.id, NULL, 0) == ENCKE_E_GONE) { /* asks: has the client left meanwhile? */
      encke_abort(mine, job.id);                              /* then only the settling is still owed */
      continue;
    }
    char text[128];
    unsigned long below = 0;
    if (encke_param(job.head->query, '&', "below", text, sizeof text, NULL) == 1)
      below = strtoul(text, NULL, 10);
    if (below > 20000000) {
      reply(mine, job.id, 400, "below: at most 20000000\n");
      continue;
    }
    snprintf(text, sizeof text, "%lu primes below %lu\n", primes_below(below), below);
    reply(mine, job.id, 200, text); /* from here on job.head is over */
  }
  encke_sender_unref(mine);
  return NULL;
}

static void on_request(encke_id id, const encke_head *head) {
  if (head->path.n == 7 && memcmp(head->path.p, "/primes", 7) == 0) {
    if (!queue_put((struct job){id, head}))
      reply(sender, id, 503, "the queue is full\n");
  } else {
    reply(sender, id, 200, "try /primes?below=3000000\n");
  }
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender); /* the one call that a signal handler may make */
}

int main(int argc, char **argv) {
  encke *e;
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new");
  if (encke_listen(e, argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, NULL) != ENCKE_OK)
    die("encke_listen");
  sender = encke_get_sender(e);

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);

  pthread_t workers[WORKERS];
  for (int i = 0; i < WORKERS; i++) {
    if (pthread_create(&workers[i], NULL, worker, encke_sender_ref(sender)) != 0) {
      fprintf(stderr, "threads: cannot start a thread\n");
      return 1;
    }
  }

  int draining = 0, drained = 0;
  while (!drained) {
    if (encke_wait(e, -1) < 0)
      die("encke_wait");
    encke_event ev;
    while (encke_next(e, &ev, sizeof ev) > 0) {
      switch (ev.kind) {
      case ENCKE_EV_REQUEST:
        on_request(ev.id, ev.head);
        break;
      case ENCKE_EV_DRAINED:
        drained = 1;
        break;
      default:
        break; /* ABORTED too: see above */
      }
    }
    if (stop && !draining) {
      draining = 1;
      if (encke_drain(e, 10000) != ENCKE_OK)
        die("encke_drain");
    }
  }
  queue_close();
  for (int i = 0; i < WORKERS; i++)
    pthread_join(workers[i], NULL);
  encke_free(e);
  return 0;
}
