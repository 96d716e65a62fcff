/*
 * mounts_transcripts.c - what clients of the msgbus protocol were answered by the daemon that it comes from, recorded byte by
 * byte in transcripts/, and what they are answered by ENCKE_MOUNT_BUS. The rule: the same bytes, but for the value of Date;
 * every transcript is replayed, and where we answer otherwise the difference stands here and in docs/bus.md.
 */
#include "check.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef TRANSCRIPTS
#define TRANSCRIPTS "transcripts"
#endif

/* ---- a transcript: what the client sent, what it was sent, in pieces ------------------------------------------------- */

typedef struct {
  char name[96];
  char *said, *heard;
  size_t said_n, heard_n;
  size_t first; /* of heard, the bytes of the first piece */
  int closed;   /* the server closed */
  int replayed;
} transcript;

static transcript all[64];
static size_t nall;

static void put(char **to, size_t *n, unsigned byte) {
  *to = need(realloc(*to, *n + 2));
  (*to)[(*n)++] = (char)byte;
  (*to)[*n] = 0;
}

/* One quoted text: line ends of the file mean nothing, characters are bytes of Latin-1. */
static const char *quoted(const char *at, char **to, size_t *n) {
  CHECK(*at++ == '\'');
  for (; *at != '\''; at++) {
    unsigned char c = (unsigned char)*at;
    if (c == '\n') continue;
    if (c == '\\') {
      c = (unsigned char)*++at;
      CHECK(c == 'r' || c == 'n' || c == '\\' || c == '\'');
      put(to, n, c == 'r' ? '\r' : c == 'n' ? '\n' : c);
    } else if (c >= 0xc2 && c <= 0xc3) {
      put(to, n, (unsigned)((c & 3) << 6) | ((unsigned char)*++at & 0x3f));
    } else {
      CHECK(c >= ' ' && c < 0x7f);
      put(to, n, c);
    }
  }
  return at + 1;
}

static void load(const char *file) {
  transcript *t = &all[nall++];
  char path[512];
  CHECK(nall <= sizeof all / sizeof *all);
  snprintf(path, sizeof path, "%s/%s", TRANSCRIPTS, file);
  snprintf(t->name, sizeof t->name, "%.2s", file);
  FILE *in = fopen(path, "rb");
  CHECK(in != NULL);
  char *text = NULL;
  size_t n = 0;
  for (int c; (c = getc(in)) != EOF;) put(&text, &n, (unsigned)c);
  fclose(in);
  for (const char *at = text; *at;) {
    const char *line = at;
    at = strchr(at, '\n');
    CHECK(at != NULL);
    at++;
    if (!strncmp(line, ">>> ", 4) || !strncmp(line, "<<< ", 4)) {
      int ours = *line == '>';
      size_t before = ours ? t->said_n : t->heard_n;
      unsigned long bytes = 0;
      CHECK(sscanf(line + 4, "[%*[0-9.]s] %lu bytes", &bytes) == 1);
      at = ours ? quoted(at, &t->said, &t->said_n) : quoted(at, &t->heard, &t->heard_n);
      CHECK_EQ((ours ? t->said_n : t->heard_n) - before, bytes);
      if (!ours && !before) t->first = t->heard_n;
    } else if (!strncmp(line, "=== ", 4)) {
      CHECK(!strncmp(at, "'server closed'", 15));
      t->closed = 1;
      at += 15;
    } else {
      CHECK(!strncmp(line, "--- still open", 14));
    }
    while (*at == '\n') at++;
  }
  free(text);
}

static transcript *find(const char *number) {
  for (size_t i = 0; i < nall; i++)
    if (!strcmp(all[i].name, number)) return &all[i];
  check_fail(__FILE__, __LINE__, "no transcript %s", number);
}

/* Where we differ: the recorded bytes lose a part, or have another one in its place. */
static void departs(const char *number, const char *from, const char *to) {
  transcript *t = find(number);
  char *at = memmem(t->heard, t->heard_n, from, strlen(from));
  CHECK(at != NULL);
  char *next = NULL;
  size_t n = 0;
  for (char *byte = t->heard; byte < at; byte++) put(&next, &n, (unsigned char)*byte);
  for (const char *byte = to; *byte; byte++) put(&next, &n, (unsigned char)*byte);
  for (char *byte = at + strlen(from); byte < t->heard + t->heard_n; byte++) put(&next, &n, (unsigned char)*byte);
  if (at < t->heard + t->first) t->first = t->first + strlen(to) - strlen(from);
  free(t->heard);
  t->heard = next, t->heard_n = n;
}

/* ---- replaying -------------------------------------------------------------------------------------------------------- */

static host *h;
static int port;

static void same(transcript *t, peer *p, size_t n) {
  char *ours = masked(p->in, p->n), *theirs = masked(t->heard, n);
  SECTION(textf("transcript %s", t->name));
  check_bytes(__FILE__, __LINE__, t->name, ours, p->n, theirs, n);
  free(ours), free(theirs);
}

/* The client's bytes, and the first piece of what it is sent. */
static peer *begin(const char *number) {
  transcript *t = find(number);
  peer *p = peer_tcp(port);
  SECTION(textf("transcript %s", number));
  peer_send_n(p, t->said, t->said_n);
  UNTIL(p->n >= t->first || p->eof);
  same(t, p, t->first);
  return p;
}

/* All of it, and nothing else. */
static void finish(const char *number, peer *p) {
  transcript *t = find(number);
  SECTION(textf("transcript %s", number));
  UNTIL(p->n >= t->heard_n || p->eof);
  if (t->closed) UNTIL(p->eof);
  QUIESCE();
  same(t, p, t->heard_n);
  CHECK_EQ(p->eof, t->closed);
  t->replayed = 1;
  peer_close(p);
}

static void replay(const char *number) { finish(number, begin(number)); }

/* Another answer altogether, by whoever has the path: its status and whether it closes are the same. */
static void replay_status(const char *number, const char *status, const char *body) {
  transcript *t = find(number);
  peer *p = peer_tcp(port);
  SECTION(textf("transcript %s", number));
  peer_send_n(p, t->said, t->said_n);
  UNTIL(peer_finals(p) == 1);
  if (t->closed) UNTIL(p->eof);
  CHECK(!strncmp(t->heard + 9, status, 3));
  CHECK_EQ(peer_nth(p, 0)->status, atoi(status));
  CHECK_TEXT(peer_nth(p, 0)->body, body);
  t->replayed = 1;
  peer_close(p);
}

static void not_found(host *host_, const event *ev) {
  if (ev->kind == ENCKE_EV_REQUEST) CHECK_OK(encke_reply(host_->s, ev->id, 404, "text/html", "<h1>Not Found</h1>", 18));
}

static void open_bus(const char *secret) {
  encke_mount_options options;
  memset(&options, 0, sizeof options);
  options.secret = str(secret);
  h = HOST_PLAIN();
  h->on = not_found;
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/msgbus/", &options, sizeof options, NULL));
  port = host_listen(h);
}

int main(void) {
  DIR *directory = opendir(TRANSCRIPTS);
  CHECK(directory != NULL);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    if (strstr(entry->d_name, ".txt")) load(entry->d_name);
  closedir(directory);
  CHECK(nall >= 33);

  /* docs/bus.md, "What is not as it was" */
  departs("17", "Connection: keep-alive\r\nContent-Length: 0\r\n", "");
  departs("25", "root--00MsgBus00\nContent-Type: text/plain\nContent-Length: 4\n\nroot--00MsgBus00\n", "root--00MsgBus00\n");

  open_bus("");
  const char *subscribers[] = {"01", "02", "03", "04", "05", "06", "07", "08", "17"};
  peer *peers[9];
  for (size_t i = 0; i < 9; i++) peers[i] = begin(subscribers[i]);
  replay("09");
  replay("10");
  replay("11");
  replay("12");
  replay("13");
  replay("19");
  for (size_t i = 0; i < 9; i++)
    if (strcmp(subscribers[i], "03")) finish(subscribers[i], peers[i]);
  peer *more[] = {begin("24"), begin("25"), begin("26"), begin("16")};
  replay("14");
  finish("03", peers[2]);
  replay("15");
  replay("18");
  replay("23");
  replay("27");
  replay("28");
  finish("24", more[0]);
  finish("25", more[1]);
  replay("29"); /* f%6fo is not foo */
  finish("26", more[2]);
  finish("16", more[3]);
  replay("32");
  replay("33");
  CHECK_EQ(SEEN(h, REQUEST), 0); /* nothing of the bus is the host's */

  replay_status("20", "404", "<h1>Not Found</h1>"); /* the host's */
  CHECK_EQ(SEEN(h, REQUEST), 1);
  replay_status("21", "404", "<h1>Not Found</h1>");
  CHECK_EQ(host_stats(h).requests, 9 + 6 + 4 + 2 + 6 + 2 + 2);
  host_close(h);

  /* the same with a document root, which is ENCKE_MOUNT_FILES here: its words are its own */
  char root[] = "/tmp/encke-transcripts-XXXXXX";
  CHECK(mkdtemp(root) != NULL);
  CHECK_EQ(mkdir(textf("%s/sub", root), 0755), 0);
  FILE *index = fopen(textf("%s/sub/index.html", root), "w");
  CHECK(index != NULL && fputs("<p>sub</p>\n", index) >= 0 && fclose(index) == 0);
  open_bus("");
  encke_mount_options files;
  memset(&files, 0, sizeof files);
  files.directory = str(root);
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_FILES, "/", &files, sizeof files, NULL));
  replay_status("20", "404", "404 Not Found\n");
  replay_status("21", "404", "404 Not Found\n");
  replay_status("22", "200", "<p>sub</p>\n");
  CHECK_EQ(SEEN(h, REQUEST), 0);
  host_close(h);
  CHECK_EQ(unlink(textf("%s/sub/index.html", root)), 0);
  CHECK_EQ(rmdir(textf("%s/sub", root)), 0);
  CHECK_EQ(rmdir(root), 0);

  open_bus("s3cret");
  replay("30");
  replay("31");
  CHECK_EQ(SEEN(h, REQUEST), 0);
  host_close(h);

  for (size_t i = 0; i < nall; i++) {
    if (!all[i].replayed) check_fail(__FILE__, __LINE__, "transcript %s was not replayed", all[i].name);
    free(all[i].said), free(all[i].heard);
  }
  return check_end();
}
