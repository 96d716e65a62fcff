/* lws.c - libwebsockets, with its own poll loop. */
#include "common.h"
#include <libwebsockets.h>

struct request {
  enum { NONE, DELAY, ECHO, BIG } kind;
  size_t sent; /* BIG */
  size_t n, room;
  unsigned char *body; /* behind LWS_PRE bytes of room, which lws_write wants */
};

/* Head and short body in one write, which is right for a server of HTTP/1 only. */
static int answer(struct lws *wsi, const void *body, size_t n) {
  unsigned char out[LWS_PRE + 4096], *start = out + LWS_PRE, *at = start, *end = out + sizeof out;
  if (lws_add_http_common_headers(wsi, 200, "text/plain", n, &at, end) || lws_finalize_http_header(wsi, &at, end) ||
      (size_t)(end - at) < n)
    return -1;
  memcpy(at, body, n);
  at += n;
  if (lws_write(wsi, start, (size_t)(at - start), LWS_WRITE_HTTP_HEADERS) < 0)
    return -1;
  return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int begin_big(struct lws *wsi) {
  unsigned char out[LWS_PRE + 1024], *start = out + LWS_PRE, *at = start, *end = out + sizeof out;
  if (lws_add_http_common_headers(wsi, 200, "text/plain", BIG_LEN, &at, end) || lws_finalize_http_header(wsi, &at, end) ||
      lws_write(wsi, start, (size_t)(at - start), LWS_WRITE_HTTP_HEADERS) < 0)
    return -1;
  lws_callback_on_writable(wsi);
  return 0;
}

static int go_on_with_big(struct lws *wsi, struct request *r) {
  size_t n = BIG_LEN - r->sent < 262144 ? BIG_LEN - r->sent : 262144;
  int last = r->sent + n == BIG_LEN;
  if (lws_write(wsi, (unsigned char *)big() + r->sent, n, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
    return -1;
  r->sent += n;
  if (!last) {
    lws_callback_on_writable(wsi);
    return 0;
  }
  r->kind = NONE;
  return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len) {
  struct request *r = user;
  switch (why) {
  case LWS_CALLBACK_HTTP:
    r->n = 0;
    r->kind = NONE;
    if (!strcmp(in, "/plaintext"))
      return answer(wsi, HELLO, HELLO_LEN);
    if (!strncmp(in, "/delay", 6)) {
      r->kind = DELAY;
      lws_set_timer_usecs(wsi, ((char *)in)[6] ? 200000 : 10000);
      return 0;
    }
    if (!strcmp(in, "/big")) {
      r->kind = BIG;
      r->sent = 0;
      return begin_big(wsi);
    }
    r->kind = ECHO;
    return 0;
  case LWS_CALLBACK_HTTP_WRITEABLE:
    return r && r->kind == BIG ? go_on_with_big(wsi, r) : 0;
  case LWS_CALLBACK_TIMER:
    if (!r || r->kind != DELAY)
      return 0;
    r->kind = NONE;
    return answer(wsi, HELLO, HELLO_LEN);
  case LWS_CALLBACK_HTTP_BODY:
    if (r->n + len > r->room)
      r->body = realloc(r->body, r->room = (r->n + len) * 2);
    memcpy(r->body + r->n, in, len);
    r->n += len;
    return 0;
  case LWS_CALLBACK_HTTP_BODY_COMPLETION:
    r->kind = NONE;
    return answer(wsi, r->body, r->n);
  case LWS_CALLBACK_CLOSED_HTTP:
    if (r) {
      free(r->body);
      r->body = NULL;
      r->room = 0;
    }
    return 0;
  default:
    return lws_callback_http_dummy(wsi, why, user, in, len);
  }
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  peer_start();
  lws_set_log_level(0, NULL);
  static const struct lws_protocols protocols[] = {
      {.name = "http", .callback = on_event, .per_session_data_size = sizeof(struct request), .rx_buffer_size = 65536}, {0}};
  struct lws_context_creation_info info;
  memset(&info, 0, sizeof info);
  info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
  info.iface = "127.0.0.1";
  info.protocols = protocols;
  info.keepalive_timeout = info.timeout_secs = 600;
  info.max_http_header_pool = 4096;
  info.pt_serv_buf_size = 65536;
  info.count_threads = 1;
  info.gid = (gid_t)-1;
  info.uid = (uid_t)-1;
  if (argc > 2)
    info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
  struct lws_context *context = lws_create_context(&info);
  if (!context)
    return 1;
  if (argc > 3) {
    info.port = atoi(argv[3]);
    info.vhost_name = "plain";
    if (!lws_create_vhost(context, &info))
      return 1;
  }
  info.port = atoi(argv[1]);
  info.vhost_name = "first";
  if (argc > 2) {
    info.ssl_cert_filepath = CERTIFICATE;
    info.ssl_private_key_filepath = KEY;
    info.alpn = "http/1.1";
  }
  if (!lws_create_vhost(context, &info))
    return 1;
  while (lws_service(context, 0) >= 0)
    ;
}
