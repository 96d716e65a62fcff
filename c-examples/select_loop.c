/*
 * select_loop.c - encke inside a select() loop that was there before it.
 *
 * The program has a life of its own: a timer (a line of statistics every five seconds) and an internal
 * system behind a socket, whose answers take their time and come in any order. encke adds one fd to the
 * read set, and serve() when it is readable. A request goes out to the internal system as it comes and is
 * answered when its answer is back; what ties the two together is the encke_id, and nothing else is kept. A
 * client that leaves meanwhile does no harm: there is no pointer that could dangle, a late answer gets
 * ENCKE_E_GONE or is thrown away.
 *
 *   GET /                   a page to watch it in
 *   GET /work?n=NAME&ms=N   asks the internal system, which takes N ms (without ms: 100 to 2000, as it likes)
 *   GET /state              what the server holds at this moment, as JSON
 *
 *   ./select_loop [ADDRESS [HTTPS-ADDRESS CERTIFICATE KEY]]     default 127.0.0.1:8080; it prints what to try
 *
 * HTTPS is one more listener, and nothing else in the loop changes; hello_tls.c shows certificates at length.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <encke.h>

#include "select_loop_page.h"

#define MAX_JOBS 1024
#define RANDOM_MS UINT32_MAX
#define TICK_MS 5000

/* What goes to the internal system and comes back: the id passes through it like any other number. */
struct job {
  encke_id id;
  uint32_t ms;
  char name[20];
};

static encke *e;
static encke_sender *sender;
static volatile sig_atomic_t stop;
static int drained;
static int inside = -1;                    /* our end of the socket to the internal system */
static struct job unsent[MAX_JOBS];        /* a ring: accepted, but its socket was full */
static size_t unsent_first, unsent_count, unsent_part; /* part: so many bytes of the first one are out */
static unsigned long long asked, answered; /* jobs given to the internal system, jobs that came back */

static void die(const char *what, const char *why) {
  fprintf(stderr, "select_loop: %s: %s\n", what, why);
  exit(1);
}

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the internal system: another process, which knows nothing of HTTP ----------------------- */

static void internal_system(int fd) {
  static struct job jobs[MAX_JOBS];
  static uint64_t due[MAX_JOBS];
  size_t n = 0;
  srand((unsigned)getpid());
  for (;;) {
    uint64_t now = now_ms(), next = UINT64_MAX;
    for (size_t i = 0; i < n;) {
      if (due[i] <= now) {
        if (send(fd, &jobs[i], sizeof jobs[i], 0) != sizeof jobs[i])
          return;
        n--;
        jobs[i] = jobs[n];
        due[i] = due[n];
      } else {
        next = due[i] < next ? due[i] : next;
        i++;
      }
    }
    struct pollfd p = {.fd = n < MAX_JOBS ? fd : -1, .events = POLLIN};
    if (poll(&p, 1, n > 0 ? (int)(next - now) : -1) <= 0)
      continue;
    if (recv(fd, &jobs[n], sizeof jobs[n], MSG_WAITALL) != sizeof jobs[n])
      return; /* the program has gone */
    if (jobs[n].ms == RANDOM_MS)
      jobs[n].ms = 100 + (uint32_t)rand() % 1900;
    due[n] = now_ms() + jobs[n].ms;
    n++;
  }
}

/* ---- requests out, answers back -------------------------------------------------------------- */

static void reply(encke_id id, unsigned status, const char *type, const char *text) {
  encke_reply(sender, id, status, type, text, strlen(text)); /* settles, whatever it returns: L1 */
}

static void send_unsent(void) {
  while (unsent_count > 0) {
    const char *job = (const char *)&unsent[unsent_first];
    ssize_t n = send(inside, job + unsent_part, sizeof(struct job) - unsent_part, MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return; /* select() tells when there is room */
      die("internal system", strerror(errno));
    }
    unsent_part += (size_t)n;
    if (unsent_part == sizeof(struct job)) {
      unsent_part = 0;
      unsent_first = (unsent_first + 1) % MAX_JOBS;
      unsent_count--;
      asked++;
    }
  }
}

static void ask_inside(encke_id id, const encke_head *head) {
  char ms[12];
  struct job job = {.id = id, .ms = RANDOM_MS, .name = "-"};
  if (unsent_count == MAX_JOBS) {
    reply(id, 503, "text/plain", "the internal system is too busy\n");
    return;
  }
  int named = encke_param(head->query, '&', "n", job.name, sizeof job.name, NULL);
  int timed = encke_param(head->query, '&', "ms", ms, sizeof ms, NULL);
  if (named < 0 || timed < 0) { /* malformed or too long */
    reply(id, 400, "text/plain", "n: at most 19 characters, ms: a number\n");
    return;
  }
  if (timed > 0) {
    unsigned long n = strtoul(ms, NULL, 10);
    job.ms = n < 60000 ? (uint32_t)n : 60000;
  }
  unsent[(unsent_first + unsent_count++) % MAX_JOBS] = job;
  send_unsent();
}

static void take_answers(void) {
  static struct job job;
  static size_t part; /* of it, so many bytes are here */
  ssize_t n;
  while ((n = recv(inside, (char *)&job + part, sizeof job - part, MSG_DONTWAIT)) > 0) {
    char text[64];
    part += (size_t)n;
    if (part < sizeof job)
      continue;
    part = 0;
    snprintf(text, sizeof text, "%s after %u ms\n", job.name, (unsigned)job.ms);
    reply(job.id, 200, "text/plain", text); /* GONE where the client has left: nothing to do about it */
    answered++;
  }
  if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
    die("internal system", "it has ended");
}

static void tell_state(encke_id id) {
  encke_stats s;
  char text[512], tls[64] = "";
  int r = encke_stats_get(sender, &s, sizeof s);
  if (r != ENCKE_OK) {
    reply(id, 500, "text/plain", encke_strerror(r));
    return;
  }
  encke_info(e, id, ENCKE_INFO_TLS, tls, sizeof tls, NULL); /* "" without TLS */
  snprintf(text, sizeof text,
           "{\"connections\": %llu, \"accepted\": %llu, \"requests\": %llu, \"held\": %llu, "
           "\"aborted\": %llu, \"asked inside\": %llu, \"queued bytes\": %llu, \"memory\": %llu, "
           "\"your connection\": \"%s\"}\n",
           (unsigned long long)s.connections, (unsigned long long)s.accepted, (unsigned long long)s.requests,
           (unsigned long long)s.held, (unsigned long long)s.aborted, asked - answered,
           (unsigned long long)s.queued_bytes, (unsigned long long)s.memory, tls[0] != '\0' ? tls : "HTTP");
  reply(id, 200, "application/json", text);
}

static int is(encke_str s, const char *text) {
  return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void on_request(encke_id id, const encke_head *head) {
  if (!is(head->method, "GET") && !is(head->method, "HEAD")) {
    static const encke_field allow[] = {{ENCKE_STR("allow"), ENCKE_STR("GET, HEAD")}};
    encke_response r = {.status = 405, .fields = allow, .nfields = 1};
    if (encke_respond(sender, id, &r, sizeof r) != ENCKE_OK)
      encke_abort(sender, id); /* still ours to settle; where it was settled, this is GONE and no harm */
  } else if (is(head->path, "/work")) {
    ask_inside(id, head);
  } else if (is(head->path, "/state")) {
    tell_state(id);
  } else if (is(head->path, "/")) {
    reply(id, 200, "text/html; charset=utf-8", page);
  } else {
    reply(id, 404, "text/plain", "not here\n");
  }
}

/* ---- encke's part of the loop ---------------------------------------------------------------- */

/* select() is level-triggered: once per wake-up is enough, what is left keeps the fd readable. */
static void serve(void) {
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("encke_run", encke_last_error());
  while (encke_next(e, &ev, sizeof ev) > 0) {
    switch (ev.kind) {
    case ENCKE_EV_REQUEST:
      on_request(ev.id, ev.head);
      break;
    case ENCKE_EV_ABORTED:
      encke_abort(sender, ev.id); /* the client has left: settle now, the late answer will find GONE */
      break;
    case ENCKE_EV_LISTENER:
      fprintf(stderr, "select_loop: cannot accept: %s\n", strerror(ev.code));
      break;
    case ENCKE_EV_DRAINED:
      drained = 1;
      break;
    default:
      break;
    }
  }
}

static void print_statistics(void) {
  encke_stats s;
  if (encke_stats_get(sender, &s, sizeof s) == ENCKE_OK)
    fprintf(stderr, "%llu requests so far, %llu held, %llu aborted, on %llu connections\n",
            (unsigned long long)s.requests, (unsigned long long)s.held, (unsigned long long)s.aborted,
            (unsigned long long)s.connections);
}

static void listen_at(const char *address, encke_tls *tls, char *at, size_t size) {
  encke_id listener;
  if (encke_listen(e, address, tls, &listener) != ENCKE_OK)
    die(address, encke_last_error());
  if (encke_info(e, listener, ENCKE_INFO_LOCAL, at, size, NULL) != ENCKE_OK)
    die("encke_info", encke_last_error());
}

static size_t read_file(const char *name, char *data, size_t cap) {
  FILE *f = fopen(name, "rb");
  size_t n = f != NULL ? fread(data, 1, cap, f) : 0;
  if (f == NULL || ferror(f) || n == cap)
    die(name, n == cap ? "too large" : strerror(errno));
  fclose(f);
  return n;
}

static encke_tls *load_tls(const char *certificate, const char *key) {
  static char chain_pem[65536], key_pem[65536];
  size_t chain_len = read_file(certificate, chain_pem, sizeof chain_pem);
  size_t key_len = read_file(key, key_pem, sizeof key_pem);
  encke_tls *tls = encke_tls_new();
  if (encke_tls_add(tls, chain_pem, chain_len, key_pem, key_len) != ENCKE_OK)
    die(certificate, encke_last_error());
  return tls;
}

static void print_what_to_try(const char *at, const char *https, const char *certificate) {
  const char *port = strrchr(at, ':');
  int host = port != NULL ? (int)(port - at) : (int)strlen(at);
  printf("open http://%s/", at);
  if (https != NULL)
    printf(" or https://%s/ (a browser will doubt a certificate made at home)", https);
  printf("\nor try, in another terminal:\n"
         "asynchrony: six requests on six connections, the last one sent is answered first\n"
         "  for n in 1 2 3 4 5 6; do curl -s \"http://%s/work?n=$n&ms=$((1500 - 200 * n))\" & done; wait\n"
         "pipelining: two requests of a second each on one connection take one second together\n"
         "  time bash -c 'exec 3<>/dev/tcp/%.*s/%s; printf \"GET /work?n=1&ms=1000 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
         "GET /work?n=2&ms=1000 HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n\" >&3; cat <&3'\n"
         "a client that leaves before its answer, and what the server holds then\n"
         "  curl -m 0.5 'http://%s/work?ms=3000'; curl http://%s/state\n",
         at, host, at, port != NULL ? port + 1 : "", at, at);
  if (https != NULL)
    printf("the same over TLS, from the same loop, and plain HTTP sent there by mistake\n"
           "  curl --cacert '%s' https://%s/state; curl http://%s/state\n",
           certificate, https, https);
  fflush(stdout);
}

static void on_signal(int number) {
  (void)number;
  stop = 1;
  encke_wake(sender); /* makes encke_fd readable: select() returns even if the signal came just before it */
}

/* Before encke_new: an encke belongs to the process that made it. */
static pid_t start_internal_system(void) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
    die("socketpair", strerror(errno));
  pid_t pid = fork();
  if (pid < 0)
    die("fork", strerror(errno));
  if (pid == 0) {
    close(ends[0]);
    signal(SIGINT, SIG_IGN); /* its end is the end of the socket: its answers are wanted while we drain */
    signal(SIGTERM, SIG_IGN);
    internal_system(ends[1]);
    _exit(0);
  }
  close(ends[1]);
  inside = ends[0];
  return pid;
}

int main(int argc, char **argv) {
  char at[128], https[128];
  if (argc > 2 && argc != 5) {
    fprintf(stderr, "usage: select_loop [ADDRESS [HTTPS-ADDRESS CERTIFICATE KEY]]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN); /* for our own socket; encke needs nothing of the kind */
  pid_t child = start_internal_system();
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  listen_at(argc > 1 ? argv[1] : "127.0.0.1:8080", NULL, at, sizeof at);
  if (argc > 2) {
    encke_tls *tls = load_tls(argv[3], argv[4]);
    listen_at(argv[2], tls, https, sizeof https);
    encke_tls_free(tls); /* the listener keeps a reference of its own */
  }
  if (encke_fd(e) < 0 || encke_fd(e) >= FD_SETSIZE)
    die("encke_fd", "not usable with select()");
  sender = encke_get_sender(e);

  struct sigaction on_stop = {.sa_handler = on_signal};
  sigaction(SIGINT, &on_stop, NULL);
  sigaction(SIGTERM, &on_stop, NULL);
  print_what_to_try(at, argc > 2 ? https : NULL, argc > 2 ? argv[3] : NULL);

  int draining = 0;
  uint64_t next_tick = now_ms() + TICK_MS;
  while (!drained) {
    fd_set readable, writable;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(encke_fd(e), &readable);
    FD_SET(inside, &readable);
    if (unsent_count > 0)
      FD_SET(inside, &writable);
    uint64_t now = now_ms(), wait = now < next_tick ? next_tick - now : 0;
    struct timeval timeout = {.tv_sec = (time_t)(wait / 1000), .tv_usec = (suseconds_t)(wait % 1000 * 1000)};
    int highest = encke_fd(e) > inside ? encke_fd(e) : inside;
    int n = select(highest + 1, &readable, &writable, NULL, &timeout);
    if (n < 0 && errno != EINTR)
      die("select", strerror(errno));

    if (n > 0 && FD_ISSET(inside, &readable))
      take_answers();
    if (n > 0 && FD_ISSET(inside, &writable))
      send_unsent();
    if (n > 0 && FD_ISSET(encke_fd(e), &readable))
      serve();
    if (now_ms() >= next_tick) {
      print_statistics();
      next_tick += TICK_MS;
    }
    if (stop && !draining) {
      draining = 1;
      fprintf(stderr, "select_loop: no new requests, waiting for those that are held\n");
      if (encke_drain(e, 5000) != ENCKE_OK)
        die("encke_drain", encke_last_error());
    }
  }
  encke_free(e);
  close(inside);
  waitpid(child, NULL, 0);
  return 0;
}
