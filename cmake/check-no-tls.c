/*
 * check-no-tls.c - a build with ENCKE_TLS=OFF: every function of section 9 is there and says NOTSUP, and plain HTTP works.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <encke.h>

#define CHECK(condition)                                                                          \
  do {                                                                                            \
    if (!(condition)) {                                                                           \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, encke_last_error());    \
      exit(1);                                                                                    \
    }                                                                                             \
  } while (0)

static int says_why(int result) {
  return result == ENCKE_E_NOTSUP && strstr(encke_last_error(), "TLS") != NULL;
}

static void every_function_is_there(encke *e) {
  encke_tls *tls = encke_tls_new(), *fresh = encke_tls_new();
  encke_id id = 1;
  int pair[2];
  CHECK(encke_has_feature("tls") == 0);
  CHECK(tls != NULL && fresh != NULL);
  CHECK(says_why(encke_tls_add(tls, "x", 1, "y", 1)));
  CHECK(says_why(encke_tls_add(tls, "x", 1, NULL, 0)));
  CHECK(says_why(encke_tls_set(tls, ENCKE_TLS_CLIENT_CERT, ENCKE_CLIENT_CERT_REQUIRED)));
  CHECK(says_why(encke_tls_swap(tls, fresh)));
  CHECK(says_why(encke_listen(e, "127.0.0.1:0", tls, &id)));

  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  CHECK(says_why(encke_adopt(e, pair[0], tls, &id)));
  CHECK(close(pair[0]) == 0 && close(pair[1]) == 0); /* it was not taken */

  CHECK(encke_tls_add(NULL, "x", 1, "y", 1) == ENCKE_E_INVAL);
  encke_tls_free(fresh);
  encke_tls_free(tls);
  encke_tls_free(NULL);
}

static void answer(encke *e, encke_id id) {
  char text[8] = "?";
  size_t need = 99;
  CHECK(encke_info(e, id, ENCKE_INFO_TLS, text, sizeof text, &need) == ENCKE_OK && need == 1 && text[0] == '\0');
  CHECK(encke_info(e, id, ENCKE_INFO_CLIENT_CERT, NULL, 0, &need) == ENCKE_OK && need == 0);
  CHECK(encke_reply(encke_get_sender(e), id, 200, "text/plain", "hello\n", 6) == ENCKE_OK);
}

static void http_works(encke *e) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  char got[1024] = "", at[64];
  size_t len = 0;
  encke_id listener;
  CHECK(encke_listen(e, "127.0.0.1:0", NULL, &listener) == ENCKE_OK);
  CHECK(encke_info(e, listener, ENCKE_INFO_LOCAL, at, sizeof at, NULL) == ENCKE_OK);

  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(at, ':') + 1))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int client = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(client >= 0 && connect(client, (struct sockaddr *)&to, sizeof to) == 0);
  CHECK(write(client, request, sizeof request - 1) == (ssize_t)sizeof request - 1);

  struct pollfd fds[] = {{.fd = encke_fd(e), .events = POLLIN}, {.fd = client, .events = POLLIN}};
  for (;;) {
    CHECK(poll(fds, 2, 10000) > 0); /* ten seconds of nothing: it hangs */
    if (fds[0].revents != 0) {
      encke_event ev;
      CHECK(encke_run(e, 0) >= 0);
      while (encke_next(e, &ev, sizeof ev) > 0)
        if (ev.kind == ENCKE_EV_REQUEST)
          answer(e, ev.id);
    }
    if (fds[1].revents != 0) {
      ssize_t n = read(client, got + len, sizeof got - 1 - len);
      CHECK(n >= 0);
      if (n == 0)
        break;
      len += (size_t)n;
    }
  }
  got[len] = '\0';
  CHECK(strncmp(got, "HTTP/1.1 200 ", 13) == 0 && strstr(got, "\r\n\r\nhello\n") != NULL);
  close(client);
}

int main(void) {
  encke *e;
  CHECK(encke_new(NULL, &e) == ENCKE_OK);
  every_function_is_there(e);
  http_works(e);
  encke_free(e);
  return 0;
}
