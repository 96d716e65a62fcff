/*
 * mounts_files.c - ENCKE_MOUNT_FILES: the files of a directory. The rule: what is there is sent as RFC 9110 says, what is not
 * is 404, and nothing outside the directory is ever sent.
 */
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static host *h;
static int port;
static char place[256]; /* a directory of this test's own; place/root is served */

/* ---- the directory ---------------------------------------------------------------------------------------------------- */

static const char *at(const char *name) { return textf("%s/%s", place, name); }

static void make_n(const char *name, const void *data, size_t n) {
  int fd = open(at(name), O_CREAT | O_TRUNC | O_WRONLY, 0644);
  CHECK(fd >= 0);
  CHECK_EQ(write(fd, data, n), (ssize_t)n);
  /* 1,000,000,000: not young, so that its tag is strong */
  struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
  CHECK_EQ(futimens(fd, times), 0);
  close(fd);
}

static void make(const char *name, const char *text) { make_n(name, text, strlen(text)); }

static void dated(const char *name, time_t seconds) {
  struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
  CHECK_EQ(utimensat(AT_FDCWD, at(name), times, 0), 0);
}

#define BIG (3u << 20)
static char *big;

static void make_place(void) {
  snprintf(place, sizeof place, "/tmp/encke-mounts-XXXXXX");
  CHECK(mkdtemp(place) != NULL);
  CHECK_EQ(mkdir(at("root"), 0755), 0);
  CHECK_EQ(mkdir(at("root/sub"), 0755), 0);
  CHECK_EQ(mkdir(at("root/empty"), 0755), 0);
  CHECK_EQ(mkdir(at("root/.git"), 0755), 0);
  CHECK_EQ(mkdir(at("root-evil"), 0755), 0);
  make("root/index.html", "<p>root</p>\n");
  make("root/sub/index.html", "<p>sub</p>\n");
  make("root/digits.txt", "0123456789");
  make("root/nothing", "");
  make("root/two words.css", "p {}");
  make("root/.hidden", "hidden");
  make("root/.git/config", "hidden");
  make("root/app.js", "plain();");
  make("root/app.js.br", "BROTLI");
  make("root/app.js.gz", "GZIP.");
  make("root/old.js", "new();");
  make("root/old.js.gz", "OLD");
  dated("root/old.js.gz", 999999999);
  make("secret", "outside");
  make("root-evil/c", "outside");
  big = pattern(BIG, 7);
  make_n("root/big.bin", big, BIG);
  CHECK_EQ(symlink("digits.txt", at("root/link.txt")), 0);
  CHECK_EQ(symlink("../secret", at("root/out.txt")), 0);
  CHECK_EQ(symlink("../root-evil", at("root/evil")), 0);
  CHECK_EQ(symlink("/etc", at("root/etc")), 0);
  CHECK_EQ(mkfifo(at("root/pipe"), 0644), 0);
}

static void remove_place(void) { CHECK_EQ(system(textf("rm -rf '%s'", place)), 0); }

/* ---- one request after the other ---------------------------------------------------------------------------------------- */

static peer *p;

static response *ask(const char *line, const char *fields) {
  if (p && p->eof) peer_close(p), p = NULL;
  if (!p) p = peer_tcp(port);
  size_t n = peer_finals(p);
  if (!strncmp(line, "HEAD", 4)) p->head_only |= (uint64_t)1 << n;
  peer_send(p, textf("%s HTTP/1.1\r\nHost: a\r\n%s\r\n", line, fields));
  UNTIL(peer_finals(p) == n + 1);
  response *r = peer_nth(p, n);
  /* one connection for all requests, but not for more than the bits of head_only */
  if (n == 60) p->eof = 1;
  return r;
}

static response *get(const char *path) { return ask(textf("GET %s", path), ""); }

#define FIELD(r, name) (response_field(r, name) ? response_field(r, name) : "")

static void is(response *r, int status, const char *body) {
  CHECK_EQ(r->status, status);
  if (body) check_bytes(__FILE__, __LINE__, "body", r->body, r->len, body, strlen(body));
}

static encke_mount_options options_of(const char *directory, uint32_t flags) {
  encke_mount_options options;
  memset(&options, 0, sizeof options);
  options.directory = str(directory), options.flags = flags;
  return options;
}

static encke_id mount_at(const char *prefix, uint32_t flags) {
  encke_id id = 0;
  encke_mount_options options = options_of(at("root"), flags);
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_FILES, prefix, &options, sizeof options, &id));
  CHECK(id != 0);
  return id;
}

static void what_is_there(void) {
  SECTION("a file, its type, its length");
  response *r = get("/digits.txt");
  is(r, 200, "0123456789");
  CHECK_TEXT(FIELD(r, "content-type"), "text/plain; charset=utf-8");
  CHECK_TEXT(FIELD(r, "content-length"), "10");
  CHECK_TEXT(FIELD(r, "last-modified"), "Sun, 09 Sep 2001 01:46:40 GMT");
  CHECK_TEXT(FIELD(r, "accept-ranges"), "bytes");
  CHECK(FIELD(r, "etag")[0] == '"');
  CHECK(response_field(r, "vary") == NULL);
  r = get("/two%20words.css?version=2");
  is(r, 200, "p {}");
  CHECK_TEXT(FIELD(r, "content-type"), "text/css; charset=utf-8");
  is(get("/nothing"), 200, "");

  SECTION("HEAD is told what GET would be, and sent nothing");
  r = ask("HEAD /digits.txt", "");
  is(r, 200, "");
  CHECK_TEXT(FIELD(r, "content-length"), "10");
  is(ask("HEAD /nowhere", ""), 404, "");

  SECTION("a large file");
  r = get("/big.bin");
  CHECK_EQ(r->status, 200);
  CHECK_BYTES(r->body, r->len, big, BIG);
  CHECK_TEXT(FIELD(r, "content-type"), "application/octet-stream");

  SECTION("directories");
  r = get("/");
  is(r, 200, "<p>root</p>\n");
  CHECK_TEXT(FIELD(r, "content-type"), "text/html; charset=utf-8");
  is(get("/sub/"), 200, "<p>sub</p>\n");
  r = get("/sub?a=b");
  is(r, 301, NULL);
  CHECK_TEXT(FIELD(r, "location"), "/sub/?a=b");
  is(get("/empty/"), 404, NULL);
  is(get("/digits.txt/"), 404, NULL);

  SECTION("other methods");
  r = ask("DELETE /digits.txt", "");
  is(r, 405, NULL);
  CHECK_TEXT(FIELD(r, "allow"), "GET, HEAD");
  is(ask("POST /digits.txt", "Content-Length: 0\r\n"), 405, NULL);
}

static void what_is_not_there(void) {
  SECTION("nothing leads out");
  const char *nothing[] = {"/nowhere", "/../secret", "/..%2fsecret", "/%2e%2e/secret", "/sub/../../secret", "/sub/%2E%2e/%2e./secret",
                           "//etc/passwd", "/sub//index.html", "/./digits.txt", "/digits.txt%00", "/sub%2findex.html", "/out.txt",
                           "/evil/c", "/etc/passwd", "/link.txt", "/pipe", "/root-evil/c", "/..\\secret", "/digits.txt/x"};
  for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
    SECTION(nothing[i]);
    is(get(nothing[i]), 404, "404 Not Found\n");
  }
  SECTION("dot files are not there");
  is(get("/.hidden"), 404, NULL);
  is(get("/.git/config"), 404, NULL);
  is(get("/%2ehidden"), 404, NULL);
  SECTION("an escape that is none");
  is(get("/%zz"), 400, NULL);
  if (geteuid() != 0) {
    SECTION("a file that may not be read");
    CHECK_EQ(chmod(at("root/nothing"), 0), 0);
    is(get("/nothing"), 403, NULL);
    CHECK_EQ(chmod(at("root/nothing"), 0644), 0);
  }
}

static void flags(void) {
  SECTION("symbolic links that stay inside, where they are wanted");
  encke_id links = mount_at("/links/", ENCKE_MOUNT_SYMLINKS);
  is(get("/links/link.txt"), 200, "0123456789");
  const char *nothing[] = {"/links/out.txt", "/links/evil/c", "/links/etc/passwd", "/links/.hidden"};
  for (size_t i = 0; i < 4; i++) is(get(nothing[i]), 404, NULL);
  CHECK_OK(encke_close(h->e, links));
  is(get("/links/link.txt"), 404, NULL); /* the mount at "/" again */

  SECTION("dot files, where they are wanted");
  encke_id dots = mount_at("/dots/", ENCKE_MOUNT_DOTFILES);
  is(get("/dots/.hidden"), 200, "hidden");
  is(get("/dots/.git/config"), 200, "hidden");
  is(get("/dots/../secret"), 404, NULL);
  is(get("/dots/.."), 404, NULL);
  CHECK_OK(encke_close(h->e, dots));

  SECTION("precompressed files, by what the client takes");
  encke_id small = mount_at("/small/", ENCKE_MOUNT_PRECOMPRESSED);
  response *r = ask("GET /small/app.js", "Accept-Encoding: gzip, br\r\n");
  is(r, 200, "BROTLI");
  CHECK_TEXT(FIELD(r, "content-encoding"), "br");
  CHECK_TEXT(FIELD(r, "content-type"), "text/javascript; charset=utf-8");
  CHECK_TEXT(FIELD(r, "vary"), "Accept-Encoding");
  char *tag = strdup(FIELD(r, "etag"));
  r = ask("GET /small/app.js", "Accept-Encoding: gzip\r\n");
  is(r, 200, "GZIP.");
  CHECK_TEXT(FIELD(r, "content-encoding"), "gzip");
  CHECK(strcmp(tag, FIELD(r, "etag")) != 0);
  r = get("/small/app.js");
  is(r, 200, "plain();");
  CHECK(response_field(r, "content-encoding") == NULL);
  CHECK_TEXT(FIELD(r, "vary"), "Accept-Encoding");
  r = ask("GET /small/app.js", textf("Accept-Encoding: br\r\nIf-None-Match: %s\r\n", tag));
  is(r, 304, "");
  CHECK_TEXT(FIELD(r, "vary"), "Accept-Encoding");
  free(tag);
  is(ask("GET /small/old.js", "Accept-Encoding: gzip\r\n"), 200, "new();"); /* the compressed one is older */
  is(ask("GET /app.js", "Accept-Encoding: gzip\r\n"), 200, "plain();");      /* not asked for */
  CHECK_OK(encke_close(h->e, small));
}

static void conditions(void) {
  SECTION("conditional requests");
  char *tag = strdup(FIELD(get("/digits.txt"), "etag"));
  response *r = ask("GET /digits.txt", textf("If-None-Match: \"x\", %s\r\n", tag));
  is(r, 304, "");
  CHECK_TEXT(FIELD(r, "etag"), tag);
  CHECK(response_field(r, "content-length") == NULL);
  is(ask("HEAD /digits.txt", textf("If-None-Match: %s\r\n", tag)), 304, "");
  is(ask("GET /digits.txt", "If-None-Match: \"x\"\r\n"), 200, "0123456789");
  is(ask("GET /digits.txt", "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n"), 304, "");
  is(ask("GET /digits.txt", "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n"), 200, NULL);
  is(ask("GET /digits.txt", "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n"), 412, NULL);
  is(ask("GET /digits.txt", textf("If-Match: %s\r\n", tag)), 200, NULL);
  is(ask("GET /digits.txt", "If-Match: \"x\"\r\n"), 412, NULL);

  SECTION("a file that changes has another tag, and a weak one while it is young");
  make("root/digits.txt", "abcdefghij");
  dated("root/digits.txt", 1000000001);
  r = ask("GET /digits.txt", textf("If-None-Match: %s\r\n", tag));
  is(r, 200, "abcdefghij");
  dated("root/digits.txt", time(NULL) + 1000);
  CHECK(!strncmp(FIELD(get("/digits.txt"), "etag"), "W/\"", 3));
  make("root/digits.txt", "0123456789");

  SECTION("ranges");
  tag = (free(tag), strdup(FIELD(get("/digits.txt"), "etag")));
  r = ask("GET /digits.txt", "Range: bytes=2-4\r\n");
  is(r, 206, "234");
  CHECK_TEXT(FIELD(r, "content-range"), "bytes 2-4/10");
  is(ask("GET /digits.txt", "Range: bytes=-3\r\n"), 206, "789");
  is(ask("GET /digits.txt", "Range: bytes=8-100\r\n"), 206, "89");
  is(ask("GET /digits.txt", "Range: bytes=3-1\r\n"), 200, "0123456789");
  is(ask("GET /digits.txt", "Range: lines=1-2\r\n"), 200, "0123456789");
  is(ask("GET /digits.txt", "Range: bytes=0-5,3-9\r\n"), 200, "0123456789"); /* they overlap */
  r = ask("GET /digits.txt", "Range: bytes=10-\r\n");
  is(r, 416, NULL);
  CHECK_TEXT(FIELD(r, "content-range"), "bytes */10");
  is(ask("GET /nothing", "Range: bytes=0-\r\n"), 416, NULL);
  r = ask("HEAD /digits.txt", "Range: bytes=2-4\r\n");
  is(r, 200, "");
  is(ask("GET /digits.txt", textf("Range: bytes=2-4\r\nIf-Range: %s\r\n", tag)), 206, "234");
  is(ask("GET /digits.txt", "Range: bytes=2-4\r\nIf-Range: \"x\"\r\n"), 200, "0123456789");
  is(ask("GET /digits.txt", "Range: bytes=2-4\r\nIf-Range: Sun, 09 Sep 2001 01:46:40 GMT\r\n"), 206, "234");
  is(ask("GET /digits.txt", "Range: bytes=2-4\r\nIf-Range: Sun, 09 Sep 2001 01:46:41 GMT\r\n"), 200, "0123456789");
  free(tag);

  SECTION("several ranges");
  r = ask("GET /digits.txt", "Range: bytes=0-1, 5-5, -1\r\n");
  CHECK_EQ(r->status, 206);
  CHECK(response_field(r, "content-range") == NULL);
  char boundary[80];
  CHECK(sscanf(FIELD(r, "content-type"), "multipart/byteranges; boundary=%79s", boundary) == 1);
  const char *part = "%s--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes %s/10\r\n\r\n%s";
  char *expected = textf("%s%s%s\r\n--%s--\r\n", textf(part, "", boundary, "0-1", "01"), textf(part, "\r\n", boundary, "5-5", "5"),
                         textf(part, "\r\n", boundary, "9-9", "9"), boundary);
  CHECK_BYTES(r->body, r->len, expected, strlen(expected));
  r = ask("GET /big.bin", "Range: bytes=0-99999,2000000-2999999\r\n");
  CHECK_EQ(r->status, 206);
  CHECK(r->len > 1100000 && r->len < 1101000);
  CHECK(memmem(r->body, r->len, big, 100000) != NULL);
  CHECK(memmem(r->body, r->len, big + 2000000, 1000000) != NULL);
}

static int open_files(void) {
  int n = 0;
  for (int fd = 0; fd < 4096; fd++) n += fcntl(fd, F_GETFD) != -1;
  return n;
}

static void order_and_ends(void) {
  SECTION("pipelined requests of files, the bus and the host are answered in their order");
  encke_mount_options none;
  memset(&none, 0, sizeof none);
  encke_id bus = 0;
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_BUS, "/bus/", &none, sizeof none, &bus));
  CHECK_OK(encke_channel_set(h->s, "x", ENCKE_CHANNEL_HISTORY, 0));
  encke_id files = mount_at("/files/", 0);
  peer *q = peer_tcp(port);
  size_t requests = SEEN(h, REQUEST);
  peer_send(q, "GET /files/digits.txt HTTP/1.1\r\nHost: a\r\n\r\n"
               "POST /bus/x HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\nx"
               "GET /files/big.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n"
               "GET /files/sub/ HTTP/1.0\r\n\r\n");
  UNTIL(q->eof);
  CHECK_EQ(peer_finals(q), 4);
  is(peer_nth(q, 0), 200, "0123456789");
  CHECK_EQ(peer_nth(q, 1)->status, 204);
  CHECK_EQ(peer_nth(q, 2)->status, 206);
  is(peer_nth(q, 3), 200, "<p>sub</p>\n");
  CHECK_EQ(SEEN(h, REQUEST), requests);
  peer_close(q);

  SECTION("who asks for many small files and reads none keeps none of them open");
  static const char small[] = "GET /files/digits.txt HTTP/1.1\r\nHost: a\r\n\r\n";
  const size_t many = 40000, each = sizeof small - 1;
  char *flood = need(malloc(many * each));
  for (size_t i = 0; i < many; i++) memcpy(flood + i * each, small, each);
  int before = open_files();
  q = peer_tcp_small(port);
  q->paused = 1;
  peer_send_n(q, flood, many * each);
  UNTIL(host_stats(h).queued_bytes > 100000);
  CHECK(open_files() < before + 32);
  peer_rst(q);
  UNTIL(host_stats(h).queued_bytes == 0);
  free(flood);

  SECTION("a client that leaves in the middle of a file");
  q = peer_tcp_small(port);
  q->paused = 1;
  peer_send(q, "GET /files/big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(host_stats(h).queued_bytes > 0);
  peer_rst(q);
  UNTIL(host_stats(h).queued_bytes == 0);

  SECTION("a file that shrinks ends its connection");
  make_n("root/shrinks", big, BIG);
  q = peer_tcp_small(port);
  q->paused = 1;
  peer_send(q, "GET /files/shrinks HTTP/1.1\r\nHost: a\r\n\r\n");
  UNTIL(host_stats(h).queued_bytes > 0);
  CHECK_EQ(truncate(at("root/shrinks"), 10), 0);
  q->paused = 0;
  UNTIL(q->eof);
  peer_close(q);

  SECTION("a POST whose body is large is refused without waiting for it");
  q = peer_tcp(port);
  peer_send(q, "POST /files/digits.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\nstart");
  UNTIL(peer_finals(q) == 1);
  CHECK_EQ(peer_nth(q, 0)->status, 405);
  UNTIL(q->eof);
  peer_close(q);
  CHECK_OK(encke_close(h->e, bus));
  CHECK_OK(encke_close(h->e, files));
}

static void guarded(void) {
  SECTION("a secret");
  encke_mount_options options = options_of(at("root"), 0);
  encke_field fields[] = {field("Cache-Control", "private"), field("X-Content-Type-Options", "nosniff")};
  options.secret = str("s3cret"), options.realm = str("the files"), options.fields = fields, options.nfields = 2;
  encke_id id = 0;
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_FILES, "/guarded/", &options, sizeof options, &id));
  response *r = get("/guarded/digits.txt");
  is(r, 401, "401 Unauthorized\n");
  CHECK_TEXT(FIELD(r, "www-authenticate"), "Basic realm=\"the files\", charset=\"UTF-8\"");
  CHECK_TEXT(FIELD(r, "cache-control"), "private");
  is(ask("GET /guarded/digits.txt", "Authorization: Basic Ym9iOndyb25n\r\n"), 401, NULL);
  is(ask("GET /guarded/nowhere", ""), 401, NULL);
  r = ask("GET /guarded/digits.txt", "Authorization: Basic Ym9iOnMzY3JldA==\r\n");
  is(r, 200, "0123456789");
  CHECK_TEXT(FIELD(r, "x-content-type-options"), "nosniff");
  CHECK_OK(encke_close(h->e, id));
}

static int mounts(const char *prefix, encke_mount_options options, encke_id *out) {
  return encke_mount(h->e, ENCKE_MOUNT_FILES, prefix, &options, sizeof options, out);
}

static void bad_options(void) {
  SECTION("what cannot be mounted, and what is said of it");
  encke_id id = 0;
  CHECK_RC(mounts("/x/", options_of("/no/such/place", 0), &id), ENCKE_E_SYS);
  CHECK_EQ(encke_last_errno(), ENOENT);
  CHECK(strstr(encke_last_error(), "/no/such/place") != NULL);
  CHECK_RC(mounts("/x/", options_of(at("root/digits.txt"), 0), &id), ENCKE_E_SYS);
  CHECK_EQ(encke_last_errno(), ENOTDIR);
  CHECK_RC(mounts("/x/", options_of("", 0), &id), ENCKE_E_INVAL);
  CHECK_RC(mounts("/x/", options_of(at("root"), 1u << 31), &id), ENCKE_E_NOTSUP);
  CHECK_RC(mounts("/x/", options_of(at("root"), ENCKE_MOUNT_CORS), &id), ENCKE_E_INVAL);
  CHECK_RC(mounts("/x", options_of(at("root"), 0), &id), ENCKE_E_INVAL);
  CHECK(strstr(encke_last_error(), "does not end in '/'") != NULL);
  CHECK_RC(mounts("x/", options_of(at("root"), 0), &id), ENCKE_E_INVAL);
  CHECK_RC(mounts("", options_of(at("root"), 0), &id), ENCKE_E_INVAL);
  CHECK_RC(mounts("//", options_of(at("root"), 0), &id), ENCKE_E_INVAL);
  CHECK_RC(mounts("/x?/", options_of(at("root"), 0), &id), ENCKE_E_INVAL);
  CHECK_RC(mounts("/", options_of(at("root"), 0), &id), ENCKE_E_INVAL); /* taken */
  CHECK(strstr(encke_last_error(), "another mount's") != NULL);
  CHECK_RC(mounts(NULL, options_of(at("root"), 0), NULL), ENCKE_E_INVAL);
  encke_mount_options options = options_of(at("root"), 0);
  encke_field bad = field("Content-Length", "1");
  options.fields = &bad, options.nfields = 1;
  CHECK_RC(mounts("/x/", options, &id), ENCKE_E_INVAL);
  options = options_of(at("root"), 0);
  options.realm = str("a\nb");
  CHECK_RC(mounts("/x/", options, &id), ENCKE_E_INVAL);
  options = options_of(at("root"), 0);
  CHECK_RC(encke_mount(h->e, 3, "/x/", &options, sizeof options, &id), ENCKE_E_INVAL);
  CHECK_RC(encke_mount(h->e, ENCKE_MOUNT_FILES, "/x/", NULL, 0, &id), ENCKE_E_INVAL);
  CHECK_RC(encke_mount(h->e, ENCKE_MOUNT_FILES, "/x/", NULL, sizeof options, &id), ENCKE_E_INVAL);
  CHECK_RC(encke_mount(h->e, ENCKE_MOUNT_FILES, "/x/", &options, 3, &id), ENCKE_E_INVAL);
  CHECK_RC(encke_mount(h->e, ENCKE_MOUNT_BUS, "/x/", &options, sizeof options, &id), ENCKE_E_INVAL); /* a directory */
  CHECK_RC(encke_mount(NULL, ENCKE_MOUNT_FILES, "/x/", &options, sizeof options, &id), ENCKE_E_INVAL);
  struct { encke_mount_options options; char more[8]; } newer = {options, {0}};
  CHECK_OK(encke_mount(h->e, ENCKE_MOUNT_FILES, "/x/", &newer.options, sizeof newer, &id));
  CHECK_OK(encke_close(h->e, id));
  CHECK_RC(encke_close(h->e, id), ENCKE_E_GONE);
  newer.more[7] = 1;
  CHECK_RC(encke_mount(h->e, ENCKE_MOUNT_FILES, "/x/", &newer.options, sizeof newer, &id), ENCKE_E_NOTSUP);
}

int main(void) {
  make_place();
  h = HOST_PLAIN();
  port = host_listen(h);
  mount_at("/", 0);
  what_is_there();
  what_is_not_there();
  flags();
  conditions();
  order_and_ends();
  guarded();
  bad_options();
  CHECK_EQ(SEEN(h, REQUEST), 0);
  if (p) peer_close(p);
  UNTIL(host_stats(h).connections == 0);
  CHECK_EQ(host_stats(h).memory, 0);
  CHECK_EQ(host_stats(h).held, 0);
  host_close(h);
  remove_place();
  free(big);
  return check_end();
}
