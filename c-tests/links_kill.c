/*
 * links_kill.c - a server that is killed a hundred times while a link publishes to it. The rule: a message that was
 * acknowledged has arrived, every message is acknowledged in the end, and those of a subscription come in order.
 *
 * The server is an encke of a child process that notes in shared memory what it is about to acknowledge. The parent kills it
 * (SIGKILL) whenever some more messages were acknowledged, at a place that chance chooses.
 */
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLS = 100, MOST = 100000, BETWEEN = 20 };

static unsigned char *arrived; /* how often, by number */
static int port;

static int free_port(void) {
  struct sockaddr_in in = {.sin_family = AF_INET};
  socklen_t n = sizeof in;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(fd, (struct sockaddr *)&in, n) == 0 && getsockname(fd, (struct sockaddr *)&in, &n) == 0);
  close(fd);
  return ntohs(in.sin_port);
}

/* The child: acknowledges what it has noted, passes it on to who subscribed, for ever. */
static void serve(void) {
  encke *e;
  encke_event ev;
  if (encke_new(NULL, &e) != ENCKE_OK) _exit(2);
  while (encke_listen(e, textf("127.0.0.1:%d", port), NULL, NULL) != ENCKE_OK) usleep(1000);
  encke_sender *s = encke_get_sender(e);
  for (;;) {
    if (encke_wait(e, -1) < 0) _exit(3);
    while (encke_next(e, &ev, sizeof ev) > 0) {
      if (ev.kind != ENCKE_EV_REQUEST) continue;
      if (ev.head->method.p[0] == 'G') {
        const char *channel = "numbers";
        if (encke_subscribe(s, ev.id, &channel, 1, NULL, 0) != ENCKE_OK) _exit(4);
        continue;
      }
      int number = 0;
      if (sscanf(ev.head->body, "%d", &number) != 1 || number < 1 || number > MOST) _exit(5);
      if (arrived[number] < 255) arrived[number]++;
      encke_message m;
      memset(&m, 0, sizeof m);
      m.data = ev.head->body, m.len = ev.head->body_len;
      if (encke_publish(s, 0, "numbers", &m, sizeof m) != ENCKE_OK) _exit(6);
      encke_reply(s, ev.id, 204, NULL, NULL, 0);
    }
  }
}

static pid_t server(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive a test that failed */
#endif
    serve();
    _exit(1);
  }
  return pid;
}

int main(void) {
  if (!encke_has_feature("links")) return check_end();
  arrived = mmap(NULL, MOST + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(arrived != MAP_FAILED);
  port = free_port();
  pid_t child = server();

  SECTION("a hundred kills");
  encke *e;
  CHECK_OK(encke_new(NULL, &e));
  encke_sender *s = encke_get_sender(e);
  encke_link_options o;
  memset(&o, 0, sizeof o);
  o.retry_ms_max = 10, o.flags = ENCKE_LINK_REPORT, o.queue_messages = 64, o.window = 16;
  encke_id link = 0, sub = 0;
  CHECK_OK(encke_link_open(e, textf("http://127.0.0.1:%d/", port), &o, sizeof o, &link));
  CHECK_OK(encke_link_subscribe(e, link, "numbers", NULL, 0, &sub));

  uint64_t published = 0, acknowledged = 0, at_kill = 0, seed = 7, more = 1;
  size_t kills = 0, ups = 0, downs = 0, messages = 0, gaps = 0;
  long last = 0;
  int full = 0, over = 0;
  moment until = now_ms() + 6 * (deadline() - now_ms());
  while (!over) {
    if (now_ms() > until) check_late(__FILE__, __LINE__, "a hundred kills");
    while (!full && kills < KILLS && published < MOST) {
      char text[16];
      encke_message m;
      memset(&m, 0, sizeof m);
      snprintf(text, sizeof text, "%d\n", (int)published + 1);
      m.type = str("text/plain"), m.data = text, m.len = strlen(text);
      int rc = encke_publish(s, link, "numbers", &m, sizeof m);
      if (rc == ENCKE_E_AGAIN) full = 1;
      else {
        CHECK_RC(rc, ENCKE_OK);
        published++;
      }
    }
    /* The product's loop: it runs when the fd says so. */
    struct pollfd p = {.fd = encke_fd(e), .events = POLLIN};
    CHECK(poll(&p, 1, 1000) >= 0);
    if (!p.revents) continue;
    encke_event ev;
    CHECK(encke_run(e, 0) >= 0);
    while (encke_next(e, &ev, sizeof ev) > 0) {
      if (ev.kind == ENCKE_EV_WRITABLE) full = 0;
      if (ev.kind == ENCKE_EV_MESSAGE) {
        long number = strtol(ev.data, NULL, 10);
        if (ev.len > 0 && number > 0) messages++, last = number;
      }
      if (ev.kind != ENCKE_EV_LINK) continue;
      if (ev.code == ENCKE_LINK_UP && ev.id == link) ups++;
      if (ev.code == ENCKE_LINK_DOWN && ev.id == link) downs++;
      if (ev.code == ENCKE_LINK_GAP) gaps++;
      CHECK(ev.code != ENCKE_LINK_RETURNED);
      if (ev.code == ENCKE_LINK_ACKED) {
        CHECK(ev.cookie > acknowledged && ev.cookie <= published);
        for (; acknowledged < ev.cookie; acknowledged++)
          if (!arrived[acknowledged + 1]) check_fail(__FILE__, __LINE__, "message %d was acknowledged and has not arrived", (int)acknowledged + 1);
      }
    }
    if (kills < KILLS && acknowledged >= at_kill + more) {
      CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
      kills++;
      at_kill = acknowledged, more = 1 + random_next(&seed) % BETWEEN;
      child = server();
    }
    over = kills == KILLS && acknowledged == published && last == (long)published;
    /* What was published behind the last gap comes to the subscription; if that was the very end, one more does. */
    if (kills == KILLS && acknowledged == published && !over && published < MOST) {
      encke_message m;
      char text[16];
      memset(&m, 0, sizeof m);
      snprintf(text, sizeof text, "%d\n", (int)published + 1);
      m.type = str("text/plain"), m.data = text, m.len = strlen(text);
      if (encke_publish(s, link, "numbers", &m, sizeof m) == ENCKE_OK) published++;
    }
  }
  for (uint64_t n = 1; n <= published; n++) CHECK(arrived[n] > 0);
  size_t twice = 0;
  for (uint64_t n = 1; n <= published; n++) twice += arrived[n] > 1;
  CHECK(downs > 0 && ups > 0);
  CHECK(gaps > 0 && messages > 0);
  printf("%zu kills: %llu messages, all acknowledged have arrived; %zu came more than once; %zu outages; %zu messages and %zu gaps subscribed\n", kills,
         (unsigned long long)published, twice, downs, messages, gaps);
  encke_free(e);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  return check_end();
}
