/*
 * answers.c - the answers that testbed has no route for, for a strict client to parse: without a body by their status, with
 * trailers, with informational ones before, with and without a length.
 *
 *   ./answers ADDRESS         GET or HEAD /204 /204-begun /304 /304-length /early /twice-early /trailers /length /stream
 *                             /empty-stream /close /fields
 */
#include <stdio.h>
#include <string.h>

#include <encke.h>

static const encke_field etag[] = {{ENCKE_STR("etag"), ENCKE_STR("\"1\"")}};
static const encke_field link_field[] = {{ENCKE_STR("link"), ENCKE_STR("</a.css>; rel=preload")}};
static const encke_field checksum[] = {{ENCKE_STR("checksum"), ENCKE_STR("abc")}, {ENCKE_STR("x-empty"), ENCKE_STR("")}};
static const encke_field fields[] = {{ENCKE_STR("set-cookie"), ENCKE_STR("a=1")},
                                     {ENCKE_STR("set-cookie"), ENCKE_STR("b=2; Path=/")},
                                     {ENCKE_STR("x-bytes"), ENCKE_STR("caf\xc3\xa9")}};

static encke_sender *sender;

static void whole(encke_id id, encke_response response) {
  if (encke_respond(sender, id, &response, sizeof response) != ENCKE_OK)
    encke_abort(sender, id);
}

/* `pieces` writes: the first of one byte, each a byte longer. */
static void stream(encke_id id, encke_response response, unsigned pieces, const encke_field *trailers, size_t ntrailers) {
  char text[128];
  int r = encke_begin(sender, id, &response, sizeof response);
  memset(text, 'x', sizeof text);
  for (unsigned n = 1; r == ENCKE_OK && n <= pieces; n++)
    r = encke_write(sender, id, text, n);
  if (r != ENCKE_OK || encke_end(sender, id, trailers, ntrailers) != ENCKE_OK)
    encke_abort(sender, id);
}

static void answer(encke_id id, const encke_head *head) {
  const char *path = head->path.p;
  encke_response response = {.status = 200, .body = "Hello", .body_len = 5};
  encke_response streamed = {.status = 200};
  if (strcmp(path, "/204") == 0) {
    response.status = 204;
    whole(id, response);
  } else if (strcmp(path, "/204-begun") == 0) {
    streamed.status = 204;
    stream(id, streamed, 3, NULL, 0);
  } else if (strcmp(path, "/304") == 0 || strcmp(path, "/304-length") == 0) {
    response.status = 304;
    response.fields = etag;
    response.nfields = 1;
    response.flags = strcmp(path, "/304") == 0 ? 0 : ENCKE_LENGTH;
    response.length = 1234;
    whole(id, response);
  } else if (strcmp(path, "/early") == 0 || strcmp(path, "/twice-early") == 0) {
    if (strcmp(path, "/early") != 0)
      encke_inform(sender, id, 102, NULL, 0);
    encke_inform(sender, id, 103, link_field, 1);
    whole(id, response);
  } else if (strcmp(path, "/trailers") == 0) {
    stream(id, streamed, 10, checksum, 2);
  } else if (strcmp(path, "/length") == 0) {
    streamed.flags = ENCKE_LENGTH;
    streamed.length = 55;
    stream(id, streamed, 10, NULL, 0);
  } else if (strcmp(path, "/stream") == 0) {
    stream(id, streamed, 100, NULL, 0);
  } else if (strcmp(path, "/empty-stream") == 0) {
    stream(id, streamed, 0, NULL, 0);
  } else if (strcmp(path, "/close") == 0) {
    response.flags = ENCKE_CLOSE;
    whole(id, response);
  } else if (strcmp(path, "/fields") == 0) {
    response.fields = fields;
    response.nfields = 3;
    whole(id, response);
  } else {
    encke_reply(sender, id, 404, "text/plain", "not here\n", 9);
  }
}

int main(int argc, char **argv) {
  encke *e = NULL;
  encke_id listener;
  char at[128];
  if (argc != 2 || encke_new(NULL, &e) != ENCKE_OK || encke_listen(e, argv[1], NULL, &listener) != ENCKE_OK ||
      encke_info(e, listener, ENCKE_INFO_LOCAL, at, sizeof at, NULL) != ENCKE_OK) {
    fprintf(stderr, "answers: %s\n", argc != 2 ? "usage: answers ADDRESS" : encke_last_error());
    encke_free(e);
    return 1;
  }
  sender = encke_get_sender(e);
  printf("listening on %s\n", at);
  fflush(stdout);
  while (encke_wait(e, -1) >= 0) {
    encke_id id;
    const encke_head *head;
    while (encke_next_request(e, &id, &head) > 0)
      answer(id, head);
  }
  encke_free(e);
  return 1;
}
