/* mhd.c - libmicrohttpd in the host's own loop: MHD_run_wait on its epoll set, suspend and resume for the delays. */
#include "common.h"
#include <microhttpd.h>
#include <poll.h>

struct delayed {
  struct MHD_Connection *connection;
  uint64_t at;
  struct request *request;
  struct delayed *next;
};
struct queue {
  struct delayed *first, **last;
} short_delays, long_delays;
struct request {
  enum { NEW, DELAYED, DUE } phase;
  size_t n, room;
  char *body;
};

static struct MHD_Response *hello;
static struct request plain; /* marks a request for /plaintext or /big that was seen once */

/* Made when first asked for: a server that is not asked should not weigh a MiB more. */
static struct MHD_Response *large(void) {
  static struct MHD_Response *response;
  if (!response) {
    response = MHD_create_response_from_buffer(BIG_LEN, big(), MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Content-Type", "text/plain");
  }
  return response;
}

static void delay(struct queue *q, struct MHD_Connection *connection, struct request *request, unsigned ms) {
  struct delayed *d = malloc(sizeof *d);
  *d = (struct delayed){connection, now_us() + ms * 1000u, request, NULL};
  if (!q->first)
    q->last = &q->first;
  *q->last = d;
  q->last = &d->next;
}

static void resume(struct queue *q, uint64_t now) {
  while (q->first && q->first->at <= now) {
    struct delayed *d = q->first;
    q->first = d->next;
    d->request->phase = DUE;
    MHD_resume_connection(d->connection);
    free(d);
  }
}

static enum MHD_Result on_request(void *unused, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_n, void **state) {
  (void)unused, (void)method, (void)version;
  struct request *r = *state;
  /* Never answered on the first call: an "early" answer makes MHD drop the pipelined requests behind it and close. */
  if (!strcmp(url, "/plaintext") || !strcmp(url, "/big")) {
    if (r)
      return MHD_queue_response(connection, 200, url[1] == 'b' ? large() : hello);
    *state = &plain;
    return MHD_YES;
  }
  if (!r) {
    *state = calloc(1, sizeof *r);
    return MHD_YES;
  }
  if (!strncmp(url, "/delay", 6)) {
    if (r->phase == DUE)
      return MHD_queue_response(connection, 200, hello);
    int is_long = url[6] == '2';
    r->phase = DELAYED;
    delay(is_long ? &long_delays : &short_delays, connection, r, is_long ? 200 : 10);
    MHD_suspend_connection(connection);
    return MHD_YES;
  }
  if (*upload_n) { /* /echo */
    if (r->n + *upload_n > r->room)
      r->body = realloc(r->body, r->room = (r->n + *upload_n) * 2);
    memcpy(r->body + r->n, upload, *upload_n);
    r->n += *upload_n;
    *upload_n = 0;
    return MHD_YES;
  }
  struct MHD_Response *echo = MHD_create_response_from_buffer(r->n, r->body, MHD_RESPMEM_MUST_FREE);
  r->body = NULL;
  enum MHD_Result result = MHD_queue_response(connection, 200, echo);
  MHD_destroy_response(echo);
  return result;
}

static void on_end(void *unused, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode why) {
  (void)unused, (void)connection, (void)why;
  struct request *r = *state;
  if (r && r != &plain) {
    free(r->body);
    free(r);
    *state = NULL;
  }
}

static char *text_of(const char *name) {
  static const size_t room = 8192;
  FILE *file = fopen(name, "r");
  char *text = calloc(1, room);
  if (!file || !text || fread(text, 1, room, file) >= room) {
    perror(name);
    exit(1);
  }
  fclose(file);
  return text;
}

static struct MHD_Daemon *serve(const char *port, int tls) {
  struct MHD_OptionItem with_tls[] = {
      {MHD_OPTION_HTTPS_MEM_KEY, 0, tls ? text_of(KEY) : NULL},
      {MHD_OPTION_HTTPS_MEM_CERT, 0, tls ? text_of(CERTIFICATE) : NULL},
      {MHD_OPTION_END, 0, NULL},
  };
  struct MHD_Daemon *daemon = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | (tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, NULL,
      MHD_OPTION_LISTEN_SOCKET, listen_on(port), MHD_OPTION_CONNECTION_LIMIT, 19000u, MHD_OPTION_NOTIFY_COMPLETED, on_end,
      NULL, MHD_OPTION_ARRAY, tls ? with_tls : with_tls + 2, MHD_OPTION_END);
  if (!daemon)
    exit(1);
  return daemon;
}

/* A daemon has one port: with two of them both are waited for. */
static void run(struct MHD_Daemon **daemons, int n, int timeout) {
  if (n == 1) {
    MHD_run_wait(daemons[0], timeout);
    return;
  }
  struct pollfd fds[2];
  MHD_UNSIGNED_LONG_LONG most;
  for (int i = 0; i < n; i++) {
    fds[i] = (struct pollfd){MHD_get_daemon_info(daemons[i], MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, POLLIN, 0};
    if (MHD_get_timeout(daemons[i], &most) == MHD_YES && (timeout < 0 || most < (unsigned)timeout))
      timeout = (int)most;
  }
  poll(fds, (nfds_t)n, timeout);
  for (int i = 0; i < n; i++)
    MHD_run(daemons[i]);
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  peer_start();
  hello = MHD_create_response_from_buffer(HELLO_LEN, HELLO, MHD_RESPMEM_PERSISTENT);
  MHD_add_response_header(hello, "Content-Type", "text/plain");
  struct MHD_Daemon *daemons[2] = {serve(argv[1], argc > 2)};
  if (argc > 3)
    daemons[1] = serve(argv[3], 0);
  for (;;) {
    uint64_t now = now_us(), next = UINT64_MAX;
    resume(&short_delays, now);
    resume(&long_delays, now);
    if (short_delays.first)
      next = short_delays.first->at;
    if (long_delays.first && long_delays.first->at < next)
      next = long_delays.first->at;
    run(daemons, argc > 3 ? 2 : 1, next == UINT64_MAX ? -1 : next <= now ? 0 : (int)((next - now + 999) / 1000));
  }
}
