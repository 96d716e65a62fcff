/*
 * listeners.c - every kind of listener and adopted socket. The rule: what listens is what encke_info says, a socket file is
 * replaced only when nobody listens there, what is not taken stays the host's, and a close closes what it names.
 */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static host *h;

static char *info(encke_id id, int what) {
  static char texts[4][160];
  static unsigned next;
  char *text = texts[next++ % 4];
  size_t size = 0;
  CHECK_OK(encke_info(h->e, id, what, text, sizeof texts[0], &size));
  CHECK_EQ(size, strlen(text) + 1);
  return text;
}

static encke_id next_request(peer *p) {
  size_t before = SEEN(h, REQUEST);
  peer_send(p, GET);
  UNTIL(SEEN(h, REQUEST) == before + 1);
  return request_id(h, before);
}

static void serve(peer *p, const char *body) {
  size_t finals = peer_finals(p);
  answer(h, next_request(p), body);
  UNTIL(peer_finals(p) == finals + 1);
  CHECK_TEXT(peer_nth(p, finals)->body, body);
}

static void tcp4(void) {
  SECTION("tcp4 and what encke_info says");
  encke_id listener = 0;
  CHECK_OK(encke_listen(h->e, "127.0.0.1:0", host_tls(), &listener));
  int port = host_port(h, listener);
  CHECK_TEXT(info(listener, ENCKE_INFO_LOCAL), textf("127.0.0.1:%d", port));
  peer *p = peer_tcp(port);
  struct sockaddr_in mine;
  socklen_t n = sizeof mine;
  encke_id id = next_request(p);
  CHECK(getsockname(p->fd, (struct sockaddr *)&mine, &n) == 0);
  const encke_head *head = host_last(h, ENCKE_EV_REQUEST, id)->head;
  CHECK(head->listener == listener && head->connection != 0);
  char *me = textf("127.0.0.1:%d", (int)ntohs(mine.sin_port));
  CHECK_STR(head->peer, me);
  CHECK_TEXT(info(id, ENCKE_INFO_PEER), me);
  CHECK_TEXT(info(head->connection, ENCKE_INFO_PEER), me);
  CHECK_TEXT(info(id, ENCKE_INFO_LOCAL), textf("127.0.0.1:%d", port));
  int fd = atoi(info(id, ENCKE_INFO_FD)), type = 0;
  n = sizeof type;
  CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  fd = atoi(info(listener, ENCKE_INFO_FD));
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  CHECK_TEXT(info(id, ENCKE_INFO_SNI), ""); /* absent */
  CHECK_EQ(strlen(info(id, ENCKE_INFO_TLS)) > 0, host_tls() != NULL);
  CHECK_TEXT(info(id, ENCKE_INFO_ALPN), "");
  size_t size = 99;
  char tiny[4];
  CHECK_OK(encke_info(h->e, id, ENCKE_INFO_CLIENT_CERT, tiny, sizeof tiny, &size));
  CHECK_EQ(size, 0);
  CHECK_RC(encke_info(h->e, id, ENCKE_INFO_PEER, tiny, sizeof tiny, &size), ENCKE_E_RANGE);
  CHECK_EQ(size, strlen(me) + 1);
  CHECK_RC(encke_info(h->e, id, ENCKE_INFO_PEER, NULL, 0, &size), ENCKE_E_RANGE);
  CHECK_EQ(size, strlen(me) + 1);
  char *exact = need(malloc(size));
  CHECK_OK(encke_info(h->e, id, ENCKE_INFO_PEER, exact, size, NULL));
  CHECK_TEXT(exact, me);
  free(exact);
  CHECK(encke_info(h->e, id, 4711, tiny, sizeof tiny, &size) < 0);
  answer(h, id, "x");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);

  SECTION("the same port twice");
  encke_id again = 0;
  CHECK_RC(encke_listen(h->e, textf("127.0.0.1:%d", port), NULL, &again), ENCKE_E_SYS);
  CHECK(encke_last_errno() != 0);
  CHECK(again == 0);
  CHECK_OK(encke_close(h->e, listener));
}

static void tcp6(void) {
  SECTION("tcp6");
  int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  int available = probe >= 0 && bind(probe, (struct sockaddr *)&in, sizeof in) == 0;
  if (probe >= 0) close(probe);
  if (!available) {
    puts("no IPv6 here");
    return;
  }
  encke_id listener = 0;
  CHECK_OK(encke_listen(h->e, "[::1]:0", host_tls(), &listener));
  int port = host_port(h, listener);
  CHECK_TEXT(info(listener, ENCKE_INFO_LOCAL), textf("[::1]:%d", port));
  peer *p = peer_tcp6(port);
  encke_id id = next_request(p);
  CHECK(strncmp(info(id, ENCKE_INFO_PEER), "[::1]:", 6) == 0);
  answer(h, id, "six");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);
  CHECK_OK(encke_close(h->e, listener));
}

static void any_address(void) {
  SECTION("\":0\" is every address");
  encke_id listener = 0;
  CHECK_OK(encke_listen(h->e, ":0", host_tls(), &listener));
  peer *p = peer_tcp(host_port(h, listener));
  serve(p, "any");
  peer_close(p);
  CHECK_OK(encke_close(h->e, listener));
}

static void bad_addresses(void) {
  SECTION("addresses that are none");
  static const char *const bad[] = {"", "nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:80x",
                                    "[::1", "[::1]", "unix:", "1.2.3.4.5:80"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    encke_id id = 7;
    SECTION(bad[i]);
    CHECK(encke_listen(h->e, bad[i], NULL, &id) < 0);
  }
  char long_path[300] = "unix:/tmp/";
  memset(long_path + 10, 'x', 200);
  long_path[210] = 0;
  CHECK(encke_listen(h->e, long_path, NULL, NULL) < 0);
  CHECK_RC(encke_listen(h->e, NULL, NULL, NULL), ENCKE_E_INVAL);
  CHECK_RC(encke_listen(h->e, "unix:/nonexistent-directory/x.sock", NULL, NULL), ENCKE_E_SYS);
}

static void unix_sockets(void) {
  SECTION("unix: served, and removed when closed");
  char path[108];
  struct stat st;
  snprintf(path, sizeof path, "/tmp/encke-test-%ld-listen.sock", (long)getpid());
  char *address = textf("unix:%s", path);
  unlink(path);
  encke_id listener = 0;
  CHECK_OK(encke_listen(h->e, address, host_tls(), &listener));
  CHECK_TEXT(info(listener, ENCKE_INFO_LOCAL), address);
  CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode));
  peer *p = peer_unix(path);
  serve(p, "unix");

  SECTION("unix: a live one is not replaced");
  host *second = HOST_PLAIN();
  CHECK(encke_listen(second->e, address, NULL, NULL) < 0);
  CHECK(encke_listen(h->e, address, NULL, NULL) < 0);
  host_close(second);
  peer *q = peer_unix(path);
  serve(q, "still here");
  peer_close(q);

  CHECK_OK(encke_close(h->e, listener));
  CHECK(stat(path, &st) != 0);
  serve(p, "open connections go on");
  peer_close(p);

  SECTION("unix: a stale one is replaced");
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof un) == 0);
  close(fd); /* the file stays, nobody listens */
  CHECK(stat(path, &st) == 0);
  CHECK_OK(encke_listen(h->e, address, host_tls(), &listener));
  p = peer_unix(path);
  serve(p, "replaced");
  peer_close(p);
  CHECK_OK(encke_close(h->e, listener));
  CHECK(stat(path, &st) != 0);

  SECTION("unix: any other file is left alone");
  fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && write(fd, "mine", 4) == 4);
  close(fd);
  CHECK(encke_listen(h->e, address, NULL, NULL) < 0);
  CHECK(stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 4);
  unlink(path);
}

static void unix_modes(void) {
  SECTION("unix: the permissions of the file");
  char path[108];
  struct stat st;
  snprintf(path, sizeof path, "/tmp/encke-test-%ld-mode.sock", (long)getpid());
  static const mode_t modes[] = {0600, 0666, 0640};
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    encke_id listener = 0;
    CHECK_OK(encke_set(h->e, ENCKE_OPT_UNIX_MODE, modes[i]));
    CHECK_OK(encke_listen(h->e, textf("unix:%s", path), host_tls(), &listener));
    CHECK(stat(path, &st) == 0);
    CHECK_EQ(st.st_mode & 07777, modes[i]);
    peer *p = peer_unix(path);
    serve(p, "with a mode");
    peer_close(p);
    CHECK_OK(encke_close(h->e, listener));
  }
  CHECK_OK(encke_set(h->e, ENCKE_OPT_UNIX_MODE, 0));
}

static void adopted(void) {
  SECTION("a listening socket of the host's");
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in in = {.sin_family = AF_INET};
  socklen_t n = sizeof in;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0 && listen(fd, 16) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)&in, &n) == 0);
  encke_id id = 0;
  CHECK_OK(encke_adopt(h->e, fd, host_tls(), &id));
  int port = host_port(h, id);
  CHECK_EQ(port, ntohs(in.sin_port));
  peer *p = peer_tcp(port);
  encke_id request = next_request(p);
  CHECK(host_last(h, ENCKE_EV_REQUEST, request)->head->listener == id);
  answer(h, request, "adopted");
  UNTIL(peer_finals(p) == 1);
  CHECK_OK(encke_close(h->e, id));
  QUIESCE();
  CHECK(!tcp_connectable(port));
  serve(p, "goes on");
  peer_close(p);

  SECTION("one end of a socketpair");
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  CHECK_OK(encke_adopt(h->e, pair[0], host_tls(), &id));
  CHECK(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
  p = peer_fd(pair[1]);
  request = next_request(p);
  const encke_head *head = host_last(h, ENCKE_EV_REQUEST, request)->head;
  CHECK(head->listener == 0 && head->connection == id);
  answer(h, request, "pair");
  UNTIL(peer_finals(p) == 1);
  CHECK_OK(encke_close(h->e, id));
  UNTIL(p->eof);
  peer_close(p);

  SECTION("an accepted connection with bytes waiting");
  fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  in.sin_port = 0;
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0 && listen(fd, 16) == 0);
  n = sizeof in;
  CHECK(getsockname(fd, (struct sockaddr *)&in, &n) == 0);
  p = peer_tcp(ntohs(in.sin_port));
  int accepted = accept(fd, NULL, NULL);
  CHECK(accepted >= 0);
  close(fd);
  size_t before = SEEN(h, REQUEST);
  peer_send(p, GET);
  CHECK_OK(encke_adopt(h->e, accepted, host_tls(), NULL));
  UNTIL(SEEN(h, REQUEST) == before + 1);
  answer(h, request_id(h, before), "waiting");
  UNTIL(peer_finals(p) == 1);
  peer_close(p);

  SECTION("what cannot be adopted stays the host's");
  int pipes[2], datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  CHECK(pipe(pipes) == 0 && datagram >= 0);
  CHECK(encke_adopt(h->e, pipes[0], NULL, &id) < 0);
  CHECK(encke_adopt(h->e, datagram, NULL, &id) < 0);
  CHECK(encke_adopt(h->e, ENCKE_NO_FD, NULL, &id) < 0);
  CHECK(fd_open(pipes[0]) && fd_open(datagram));
  close(pipes[0]), close(pipes[1]), close(datagram);
}

static void many_listeners(void) {
  SECTION("twenty listeners of one encke");
  encke_id ids[20];
  peer *p[20];
  int ports[20];
  for (int i = 0; i < 20; i++) {
    CHECK_OK(encke_listen(h->e, "127.0.0.1:0", host_tls(), &ids[i]));
    ports[i] = host_port(h, ids[i]);
    p[i] = peer_tcp(ports[i]);
  }
  for (int i = 0; i < 20; i++) {
    encke_id id = next_request(p[i]);
    CHECK(host_last(h, ENCKE_EV_REQUEST, id)->head->listener == ids[i]);
    answer(h, id, "many");
    UNTIL(peer_finals(p[i]) == 1);
  }
  for (int i = 0; i < 20; i++) {
    CHECK_OK(encke_close(h->e, ids[i]));
    QUIESCE();
    CHECK(!tcp_connectable(ports[i]));
    CHECK_RC(encke_close(h->e, ids[i]), ENCKE_E_GONE);
    char text[32];
    CHECK_RC(encke_info(h->e, ids[i], ENCKE_INFO_LOCAL, text, sizeof text, NULL), ENCKE_E_GONE);
  }
  for (int i = 0; i < 20; i++) {
    serve(p[i], "open connections go on");
    peer_close(p[i]);
  }
}

static void two_enckes(void) {
  SECTION("two enckes share a port by REUSE_PORT");
  host *first = h, *second = HOST_PLAIN();
  encke_id listener = 0;
  CHECK_OK(encke_set(first->e, ENCKE_OPT_REUSE_PORT, 1));
  CHECK_OK(encke_listen(first->e, "127.0.0.1:0", host_tls(), &listener));
  int port = host_port(first, listener);
  CHECK_RC(encke_listen(second->e, textf("127.0.0.1:%d", port), NULL, NULL), ENCKE_E_SYS); /* both must ask for it */
  CHECK_OK(encke_set(second->e, ENCKE_OPT_REUSE_PORT, 1));
  CHECK_OK(encke_listen(second->e, textf("127.0.0.1:%d", port), host_tls(), NULL));
  size_t mine = SEEN(first, REQUEST), theirs = SEEN(second, REQUEST);
  peer *p[40];
  for (int i = 0; i < 40; i++) {
    p[i] = peer_tcp(port);
    peer_send(p[i], GET);
  }
  UNTIL(SEEN(first, REQUEST) - mine + SEEN(second, REQUEST) - theirs == 40);
  for (; mine < SEEN(first, REQUEST); mine++) answer(first, request_id(first, mine), "shared");
  for (; theirs < SEEN(second, REQUEST); theirs++) answer(second, request_id(second, theirs), "shared");
  for (int i = 0; i < 40; i++) {
    UNTIL(peer_finals(p[i]) == 1);
    peer_close(p[i]);
  }
  CHECK_OK(encke_close(first->e, listener));
  CHECK_OK(encke_set(first->e, ENCKE_OPT_REUSE_PORT, 0));
  host_close(second);
}

static void connections_are_cut(void) {
  SECTION("encke_close of a connection");
  peer *p = peer_tcp(host_listen(h));
  peer_send(p, GET GET);
  size_t before = SEEN(h, REQUEST);
  UNTIL(SEEN(h, REQUEST) == before + 2);
  encke_id one = request_id(h, before), two = request_id(h, before + 1);
  encke_id connection = host_last(h, ENCKE_EV_REQUEST, one)->head->connection;
  CHECK(host_last(h, ENCKE_EV_REQUEST, two)->head->connection == connection);
  CHECK_OK(encke_close(h->e, connection));
  UNTIL(p->eof && host_count(h, ENCKE_EV_ABORTED, one) == 1 && host_count(h, ENCKE_EV_ABORTED, two) == 1);
  CHECK_EQ(host_last(h, ENCKE_EV_ABORTED, one)->code, ENCKE_END_HOST);
  CHECK_EQ(peer_finals(p), 0);
  CHECK_RC(encke_close(h->e, connection), ENCKE_E_GONE);
  CHECK_RC(encke_reply(h->s, one, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  CHECK_RC(encke_reply(h->s, two, 200, "text/plain", "x", 1), ENCKE_E_GONE);
  UNTIL(host_all_done(h));
  CHECK_EQ(host_last(h, ENCKE_EV_DONE, two)->code, ENCKE_END_HOST);
  peer_close(p);
}

int main(void) {
  h = HOST_PLAIN();
  tcp4();
  tcp6();
  any_address();
  bad_addresses();
  unix_sockets();
  unix_modes();
  adopted();
  many_listeners();
  two_enckes();
  connections_are_cut();
  UNTIL(host_all_done(h));
  host_close(h);
  return check_end();
}
