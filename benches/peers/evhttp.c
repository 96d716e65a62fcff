/* evhttp.c - the HTTP server of libevent. */
#include "common.h"
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>

static struct event_base *base;

static void answer(struct evhttp_request *request) {
  evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "text/plain");
  evbuffer_add_reference(evhttp_request_get_output_buffer(request), HELLO, HELLO_LEN, NULL, NULL);
  evhttp_send_reply(request, 200, "OK", NULL);
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

static void on_echo(struct evhttp_request *request, void *unused) {
  (void)unused;
  evbuffer_add_buffer(evhttp_request_get_output_buffer(request), evhttp_request_get_input_buffer(request));
  evhttp_send_reply(request, 200, "OK", NULL);
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  peer_start();
  struct event_config *config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
  base = event_base_new_with_config(config);
  struct timeval ms10 = {0, 10000}, ms200 = {0, 200000};
  struct evhttp *http = evhttp_new(base);
  evhttp_set_timeout(http, 600);
  evhttp_set_cb(http, "/plaintext", on_plaintext, NULL);
  evhttp_set_cb(http, "/delay", on_delay, (void *)event_base_init_common_timeout(base, &ms10));
  evhttp_set_cb(http, "/delay200", on_delay, (void *)event_base_init_common_timeout(base, &ms200));
  evhttp_set_cb(http, "/echo", on_echo, NULL);
  evhttp_accept_socket(http, listen_on(argv[1]));
  return event_base_dispatch(base);
}
