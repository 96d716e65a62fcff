/* jobs.h - a queue of ids from the loop thread to worker threads: a mutex, a condition, nothing of the library. */
#ifndef JOBS_H
#define JOBS_H

#include "check.h"

#include <pthread.h>

typedef struct {
  encke_id id;
  const encke_head *head;
  uint64_t note;
} job;

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t more;
  job *items;
  size_t first, n, cap;
  int over;
} jobs;

#define JOBS_INIT {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER}

static inline void jobs_put(jobs *q, encke_id id, const encke_head *head, uint64_t note) {
  pthread_mutex_lock(&q->lock);
  if (q->n == q->cap) {
    size_t cap = q->cap ? q->cap * 2 : 64;
    job *items = need(malloc(cap * sizeof *items));
    for (size_t i = 0; i < q->n; i++) items[i] = q->items[(q->first + i) % q->cap];
    free(q->items);
    q->items = items, q->cap = cap, q->first = 0;
  }
  job *j = &q->items[(q->first + q->n++) % q->cap];
  j->id = id, j->head = head, j->note = note;
  pthread_cond_signal(&q->more);
  pthread_mutex_unlock(&q->lock);
}

/* Blocks; 0: the queue is over and empty. */
static inline int jobs_take(jobs *q, job *out) {
  pthread_mutex_lock(&q->lock);
  while (!q->n && !q->over) pthread_cond_wait(&q->more, &q->lock);
  int got = q->n > 0;
  if (got) {
    *out = q->items[q->first];
    q->first = (q->first + 1) % q->cap;
    q->n--;
  }
  pthread_mutex_unlock(&q->lock);
  return got;
}

static inline void jobs_end(jobs *q) {
  pthread_mutex_lock(&q->lock);
  q->over = 1;
  pthread_cond_broadcast(&q->more);
  pthread_mutex_unlock(&q->lock);
}

static inline void jobs_free(jobs *q) {
  free(q->items);
  q->items = NULL;
  q->cap = q->n = q->first = 0;
  q->over = 0;
}

#endif
