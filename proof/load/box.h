/*
 * box.h - the memory that the processes of a run share, and what one process may learn of another. The rule: the server
 * writes what it counts, the bystander what it measures, the program that started them only commands and reads.
 */
#ifndef BOX_H
#define BOX_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum { GO_ON, DRAIN, FREE };

/* Latencies in microseconds: bucket b of scale s counts those of b << s and a little more, which is exact to 3 %. */
enum { SCALES = 26, BUCKETS = 64 };

typedef struct {
  _Atomic uint64_t n, most;
  _Atomic uint64_t bucket[SCALES][BUCKETS];
} latencies;

typedef struct {
  /* the server's */
  atomic_int port, tls_port; /* 0: not yet; tls_port also where there is no TLS */
  _Atomic uint64_t connections, connections_most, accepted, requests, held, aborted, refused, bytes_in, bytes_out;
  _Atomic uint64_t memory, memory_most, queued;
  _Atomic uint64_t smuggled;  /* requests that nobody sent as such */
  _Atomic uint64_t trouble;   /* ENCKE_EV_LISTENER */
  _Atomic uint64_t taken;     /* bytes of uploads that came */
  _Atomic uint64_t in_use;    /* bytes that malloc has given out, as of the last rest; 0: it does not tell */
  atomic_int drained;
  latencies pass;             /* CPU time of one encke_run and the drain behind it */
  /* for the server */
  atomic_int command, grace_ms;
  /* the bystander's, and its clients' kin */
  _Atomic uint64_t answers, reconnects;
  latencies on_open, on_new; /* requests on an open connection; connection, handshake and request */
  atomic_int stop, failed, was_closed;
  atomic_int rest; /* clients close their connections and wait */
  char fault[512]; /* what the first that failed has to say */
} box;

box  *box_new(void);
void  box_free(box *);
void  box_fail(box *, const char *format, ...) __attribute__((format(printf, 2, 3))); /* keeps the first */

void     latency_add(latencies *, uint64_t us);
uint64_t latency_at(const latencies *, double quantile); /* microseconds */

uint64_t now_us(void);
uint64_t cpu_us(void); /* of this thread */

/* Of a process: -1 where it is over. */
long rss_kib(pid_t);
long rss_most_kib(pid_t);
int  fds_of(pid_t);

/* Runs play(context) in a child that ends when its parent does; it may not return a code above 125. */
pid_t start_process(int (*play)(void *context), void *context);
/* 0: it ended by itself with code 0, within `seconds`; after that it is killed. */
int   end_process(pid_t, int seconds, const char *who);

/* 1 once the condition holds, 0 when so many seconds were spent with waiting. They are counted in rounds, so that a machine
 * that stood still has not used them up. */
#define WAIT_FOR(cond, seconds)                                                                                        \
  (__extension__({                                                                                                     \
    int rounds_ = (seconds) * 500, holds_ = 0;                                                                         \
    while (!(holds_ = (cond)) && rounds_-- > 0) wait_a_little();                                                       \
    holds_;                                                                                                            \
  }))
void wait_a_little(void); /* 2 ms */

#endif
