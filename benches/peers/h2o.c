/* h2o.c - libh2o with its own event loop (libh2o-evloop). */
#include "tls.h"
#define H2O_USE_LIBUV 0
#define H2O_USE_EPOLL 1
#include <h2o.h>
#include <h2o/http1.h>

struct delayed {
  h2o_timeout_entry_t timer;
  h2o_req_t *request;
};

static h2o_globalconf_t config;
static h2o_context_t context;
static h2o_accept_ctx_t accept_first, accept_plain;
static h2o_timeout_t ms10, ms200;
static h2o_generator_t generator;

static void answer(h2o_req_t *request, const char *body, size_t n) {
  request->res.status = 200;
  request->res.reason = "OK";
  request->res.content_length = n;
  h2o_add_header(&request->pool, &request->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, H2O_STRLIT("text/plain"));
  h2o_iovec_t out = h2o_iovec_init(body, n);
  h2o_start_response(request, &generator);
  h2o_send(request, &out, 1, H2O_SEND_STATE_FINAL);
}

static int on_plaintext(h2o_handler_t *unused, h2o_req_t *request) {
  (void)unused;
  answer(request, HELLO, HELLO_LEN);
  return 0;
}

static int on_big(h2o_handler_t *unused, h2o_req_t *request) {
  (void)unused;
  answer(request, big(), BIG_LEN);
  return 0;
}

static int on_echo(h2o_handler_t *unused, h2o_req_t *request) {
  (void)unused;
  answer(request, request->entity.base, request->entity.len);
  return 0;
}

static void on_timer(h2o_timeout_entry_t *timer) {
  answer(H2O_STRUCT_FROM_MEMBER(struct delayed, timer, timer)->request, HELLO, HELLO_LEN);
}

static void forget(void *delayed) {
  h2o_timeout_unlink(&((struct delayed *)delayed)->timer);
}

static int on_delay(h2o_handler_t *unused, h2o_req_t *request) {
  (void)unused;
  struct delayed *d = h2o_mem_alloc_shared(&request->pool, sizeof *d, forget);
  memset(d, 0, sizeof *d);
  d->timer.cb = on_timer;
  d->request = request;
  h2o_timeout_link(context.loop, request->path.len > strlen("/delay") ? &ms200 : &ms10, &d->timer);
  return 0;
}

static void on_accept(h2o_socket_t *listener, const char *error) {
  h2o_socket_t *s;
  for (int i = 0; !error && i < 16 && (s = h2o_evloop_socket_accept(listener)); i++)
    h2o_accept(listener->data, s);
}

static void listen_with(h2o_accept_ctx_t *how, const char *port) {
  how->ctx = &context;
  how->hosts = config.hosts;
  h2o_socket_t *listener = h2o_evloop_socket_create(context.loop, listen_on(port), H2O_SOCKET_FLAG_DONT_READ);
  listener->data = how;
  h2o_socket_read_start(listener, on_accept);
}

static void serve(h2o_hostconf_t *host, const char *path, int (*handler)(h2o_handler_t *, h2o_req_t *)) {
  h2o_create_handler(h2o_config_register_path(host, path, 0), sizeof(h2o_handler_t))->on_req = handler;
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  peer_start();
  h2o_config_init(&config);
  config.http1.req_timeout = 600000;
  h2o_hostconf_t *host = h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
  serve(host, "/plaintext", on_plaintext);
  serve(host, "/delay", on_delay);
  serve(host, "/delay200", on_delay);
  serve(host, "/echo", on_echo);
  serve(host, "/big", on_big);
  h2o_context_init(&context, h2o_evloop_create(), &config);
  h2o_timeout_init(context.loop, &ms10, 10);
  h2o_timeout_init(context.loop, &ms200, 200);
  if (argc > 2)
    accept_first.ssl_ctx = tls_context();
  listen_with(&accept_first, argv[1]);
  if (argc > 3)
    listen_with(&accept_plain, argv[3]);
  while (h2o_evloop_run(context.loop, INT32_MAX) == 0 || errno == EINTR)
    ;
}
