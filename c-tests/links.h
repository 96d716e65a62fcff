/*
 * links.h - a server that a test of links plays itself, byte by byte, and what its host was told.
 */
#ifndef LINKS_H
#define LINKS_H

#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static __attribute__((unused)) int listener, port;

static __attribute__((unused)) int bus_listen(int wanted) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted)};
  socklen_t n = sizeof in;
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  CHECK(bind(fd, (struct sockaddr *)&in, n) == 0);
  CHECK(listen(fd, 128) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)&in, &n) == 0);
  port = ntohs(in.sin_port);
  return fd;
}

static peer *accepted;

static __attribute__((unused)) int try_accept(void) {
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) return 0;
  accepted = peer_fd(fd);
  return 1;
}

/* The next connection, with the head of its request. */
static __attribute__((unused)) peer *bus_accept(void) {
  UNTIL(try_accept());
  peer *p = accepted;
  UNTIL(p->n > 0 && memmem(p->in, p->n, "\r\n\r\n", 4));
  return p;
}

static __attribute__((unused)) int has(peer *p, const char *text) { return p->n > 0 && memmem(p->in, p->n, text, strlen(text)) != NULL; }

static __attribute__((unused)) size_t times(peer *p, const char *text) {
  size_t found = 0;
  for (const char *at = p->in, *end = p->in + p->n; at && (at = memmem(at, (size_t)(end - at), text, strlen(text))); at += strlen(text)) found++;
  return found;
}

/* LINK events with that code, of that id. */
static __attribute__((unused)) size_t told(host *h, encke_id id, int code) {
  size_t n = 0;
  for (size_t i = 0; i < h->n; i++) n += h->log[i].kind == ENCKE_EV_LINK && h->log[i].id == id && h->log[i].code == code;
  return n;
}

static __attribute__((unused)) event *last_told(host *h, encke_id id, int code) {
  for (size_t i = h->n; i-- > 0;)
    if (h->log[i].kind == ENCKE_EV_LINK && h->log[i].id == id && h->log[i].code == code) return &h->log[i];
  return NULL;
}

#endif
