/* evhttp.c - the HTTP server of libevent. */
#include "tls.h"
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>

static struct event_base *base;
static struct timeval ms10 = {0, 10000}, ms200 = {0, 200000};

static void answer_with(struct evhttp_request *request, const char *body, size_t n) {
  evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "text/plain");
  evbuffer_add_reference(evhttp_request_get_output_buffer(request), body, n, NULL, NULL);
  evhttp_send_reply(request, 200, "OK", NULL);
}

static void answer(struct evhttp_request *request) {
  answer_with(request, HELLO, HELLO_LEN);
}

static void on_plaintext(struct evhttp_request *request, void *unused) {
  (void)unused;
  answer(request);
}

static void on_timer(evutil_socket_t fd, short what, void *request) {
  (void)fd, (void)what;
  answer(request);
}

static void on_delay(struct evhttp_request *request, void *duration) {
  event_base_once(base, -1, EV_TIMEOUT, on_timer, request, duration);
}

static void on_big(struct evhttp_request *request, void *unused) {
  (void)unused;
  answer_with(request, big(), BIG_LEN);
}

static void on_echo(struct evhttp_request *request, void *unused) {
  (void)unused;
  evbuffer_add_buffer(evhttp_request_get_output_buffer(request), evhttp_request_get_input_buffer(request));
  evhttp_send_reply(request, 200, "OK", NULL);
}

static struct bufferevent *over_tls(struct event_base *loop, void *context) {
  return bufferevent_openssl_socket_new(loop, -1, SSL_new(context), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
}

/* `context`: of TLS, or NULL. */
static void serve(const char *port, SSL_CTX *context) {
  struct evhttp *http = evhttp_new(base);
  evhttp_set_timeout(http, 600);
  evhttp_set_cb(http, "/plaintext", on_plaintext, NULL);
  evhttp_set_cb(http, "/delay", on_delay, (void *)event_base_init_common_timeout(base, &ms10));
  evhttp_set_cb(http, "/delay200", on_delay, (void *)event_base_init_common_timeout(base, &ms200));
  evhttp_set_cb(http, "/echo", on_echo, NULL);
  evhttp_set_cb(http, "/big", on_big, NULL);
  if (context)
    evhttp_set_bevcb(http, over_tls, context);
  evhttp_accept_socket(http, listen_on(port));
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  peer_start();
  struct event_config *config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
  base = event_base_new_with_config(config);
  serve(argv[1], argc > 2 ? tls_context() : NULL);
  if (argc > 3)
    serve(argv[3], NULL);
  return event_base_dispatch(base);
}
