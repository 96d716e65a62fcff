/*
 * check.h - what every test stands on: checks that name file, line and values; waiting for a condition with a deadline;
 * a host that runs THE LOOP of encke.h under poll(2); raw clients that live in the same thread; a response splitter.
 *
 * The rule: nothing here sleeps and nothing measures time. A test waits with UNTIL(condition); the host runs its loop only
 * when its fd is readable, so an fd that keeps silent over pending work fails the test by the deadline, and QUIESCE()
 * fails when an fd stays readable without end.
 */
#ifndef CHECK_H
#define CHECK_H

#include <encke.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- checks: the first that fails ends the program with exit code 1 ------------------------------------------------- */

void check_fail(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
void check_eq(const char *file, int line, const char *left, long long a, const char *right, long long b);
void check_rc(const char *file, int line, const char *call, int got, int want);
void check_bytes(const char *file, int line, const char *what, const void *p, size_t n, const void *q, size_t m);
void check_section(const char *name); /* printed with the first failure */

#define CHECK(c) ((c) ? (void)0 : check_fail(__FILE__, __LINE__, "%s", #c))
#define CHECK_EQ(a, b) check_eq(__FILE__, __LINE__, #a, (long long)(a), #b, (long long)(b))
#define CHECK_RC(call, want) check_rc(__FILE__, __LINE__, #call, (call), (want))
#define CHECK_OK(call) CHECK_RC(call, ENCKE_OK)
#define CHECK_BYTES(p, n, q, m) check_bytes(__FILE__, __LINE__, #p, (p), (n), (q), (m))
#define CHECK_STR(str, text) check_bytes(__FILE__, __LINE__, #str, (str).p, (str).n, (text), strlen(text))
#define CHECK_TEXT(a, b) check_bytes(__FILE__, __LINE__, #a, (a), strlen(a), (b), strlen(b))
#define SECTION(name) check_section(name)

void *need(void *allocated); /* the allocation or the end of the program */
int   check_end(void);       /* every host and client is closed by now; prints ok, returns 0 */

/* ---- waiting ---------------------------------------------------------------------------------------------------------- */

typedef long long moment; /* CLOCK_MONOTONIC, ms */
moment now_ms(void);
moment deadline(void); /* 10 s from now; ENCKE_TEST_DEADLINE=seconds in the environment changes that */
void   check_late(const char *file, int line, const char *condition) __attribute__((noreturn));

void step(void);     /* one round: poll every host and client of this program, move what is ready */
void step_now(void); /* the same without waiting */
void quiesce(void);  /* rounds until nothing is ready any more */

#define UNTIL(cond)                                                                                                    \
  do {                                                                                                                 \
    moment until_ = deadline();                                                                                        \
    while (!(cond)) {                                                                                                  \
      if (now_ms() > until_) check_late(__FILE__, __LINE__, #cond);                                                    \
      step();                                                                                                          \
    }                                                                                                                  \
  } while (0)
#define QUIESCE() quiesce()

/* ---- the host --------------------------------------------------------------------------------------------------------- */

typedef struct {
  uint32_t kind;
  int32_t code;
  encke_id id;
  uint64_t user, cookie;
  const encke_head *head; /* as delivered; the copies below stay */
  encke_id connection;    /* of a REQUEST */
  uint32_t more;
  char *data; /* a copy, NUL-terminated; the body of a REQUEST, the data of the others */
  size_t len;
  char method[16], target[96];
  char channel[96], type[64], from[64], event[64]; /* of a message over a link; channel is "(none)" where there is none */
} event;

typedef struct host {
  encke *e;
  encke_sender *s;
  uint64_t watch;
  event *log;
  size_t n, cap;
  size_t seen[32];                             /* how many of each kind */
  void (*on)(struct host *, const event *);    /* called inside the drain, after the event was logged */
  void *context;
  encke_watch *watched;                        /* WATCH_EACH: what the library wants watched */
  size_t nwatched;
  encke_id link;                               /* a link whose WRITABLE is no request's */
} host;

typedef struct { int option; uint64_t value; } setting;

/* HOST({ENCKE_OPT_MAX_PIPELINE, 4}, ...): a host with these settings; DONE events are on unless EVENTS is among them. */
host *host_open(const setting *);
#define HOST(...) host_open((const setting[]){__VA_ARGS__, {0, 0}})
#define HOST_PLAIN() host_open((const setting[]){{0, 0}})
void  host_close(host *); /* audits the leases, then encke_free */
int   host_listen(host *);                            /* 127.0.0.1:0; the port; with host_tls() */
encke_tls *host_tls(void);                            /* with ENCKE_TEST_TLS a set of certificates, else NULL */
int   host_port(host *, encke_id listener);
void  host_loop(host *);                              /* THE LOOP, once */
int   host_readable(host *, int timeout_ms);          /* WATCH_ONE: what poll says of the fd */
void  host_record(host *, const encke_event *);       /* for tests that drain by themselves */
void  host_forget(host *);                            /* the encke is no longer this program's to step; frees only the record */

#define SEEN(h, what) ((h)->seen[ENCKE_EV_##what])
event *host_nth(host *, uint32_t kind, size_t nth);             /* NULL: not yet */
event *host_target(host *, const char *target);                 /* the REQUEST for that target */
size_t host_count(host *, uint32_t kind, encke_id);             /* events of that kind with that id */
event *host_last(host *, uint32_t kind, encke_id);
encke_id request_id(host *, size_t nth);
encke_id target_id(host *, const char *target);
encke_stats host_stats(host *);
void  host_audit(host *);  /* L5: the order of each request's events, at most one DONE */
int   host_all_done(host *);  /* each REQUEST has its DONE */

/* short answers */
void answer(host *, encke_id, const char *body);        /* 200 text/plain, must be OK */

/* ---- raw clients ------------------------------------------------------------------------------------------------------
 * With ENCKE_TEST_TLS=1 (or 1.2, 1.3) in the environment they speak TLS, and host_listen() listens for it: every test may
 * run over both. What is about TLS itself has more in tls.h. */

typedef struct {
  int status, chunked, informational;
  const char *head; /* into a copy of its own: NUL-terminated, ends with CRLF CRLF */
  size_t head_len;
  char *body;       /* decoded, NUL-terminated */
  size_t len;
  char *trailers;   /* the lines behind the last chunk */
  size_t start, end;/* where it lay in the bytes received */
  int truncated;    /* the connection ended inside it */
} response;

typedef struct peer {
  int fd;
  int own;          /* not in the list that step() serves */
  int paused;       /* does not read */
  int eof, reset;   /* reset sets eof too; over TLS it is also an end without close_notify */
  char *in;
  size_t n, cap;
  char *out;
  size_t out_n, out_at;
  int fin_wanted;
  uint64_t head_only;   /* bit i: final response i answers a HEAD */
  int tunnel;           /* the final response of this index opens a tunnel: what follows is raw; -1: none */
  response *responses;
  size_t nresponses, nfinal, parsed;
  int raw;              /* parsed up to where raw bytes start */
  struct layer *tls;    /* NULL: plain; in is plaintext, out ciphertext */
  int held, drip;       /* nothing of out is sent; one byte of it at a time */
  int cut;
} peer;

peer *peer_tcp(int port);
peer *peer_tcp_small(int port); /* a small receive buffer */
peer *peer_tcp6(int port);
peer *peer_unix(const char *path);
peer *peer_fd(int fd);
peer *peer_own(int port);       /* for a thread of its own: not served by step(); see peer_await */
void  peer_send(peer *, const char *text);
void  peer_send_n(peer *, const void *data, size_t n);
int   peer_sent(const peer *);  /* everything is with the kernel */
void  peer_ready(peer *);       /* waits for the end of the TLS handshake, if there is one */
void  peer_fin(peer *);         /* after what is queued; over TLS close_notify, then FIN */
void  peer_cut(peer *);         /* FIN without close_notify */
void  peer_rst(peer *);         /* at once; the client is over */
void  peer_close(peer *);
void  peer_pump(peer *);
void  peer_await(peer *, size_t finals); /* own thread: until that many final responses or the end, by the deadline */
size_t peer_finals(peer *);     /* complete final responses so far */
size_t peer_all(peer *);        /* complete responses, 1xx included */
response *peer_nth(peer *, size_t nth);    /* final ones */
response *peer_any(peer *, size_t nth);    /* all of them */
const char *peer_raw(peer *, size_t *n);   /* bytes behind the responses split off so far */
const char *response_field(const response *, const char *name); /* value of the first of that name, NULL: absent; static */
size_t response_fields(const response *, const char *name);     /* how many of that name */
char *masked(const char *wire, size_t n);  /* a copy with every Date value blanked */
int   tcp_connectable(int port); /* 1: a connect to 127.0.0.1:port succeeds */

/* ---- small things ----------------------------------------------------------------------------------------------------- */

uint64_t random_next(uint64_t *state);
void     shuffle(size_t *order, size_t n, uint64_t *state); /* order becomes a permutation of 0..n-1 */
char    *pattern(size_t n, unsigned seed);                  /* n bytes that differ from place to place */
char    *textf(const char *format, ...) __attribute__((format(printf, 1, 2))); /* one of 16 static buffers of this thread */
int      fd_open(int fd);
void     raise_fd_limit(void);
encke_str str(const char *text);
encke_field field(const char *name, const char *value);

#endif
