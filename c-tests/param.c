/*
 * param.c - encke_param and encke_head_get: pure functions of what they are given. The rule: a bad escape is an error and
 * never a guess, the size needed is always told, and absent is not the same as empty.
 */
#include "check.h"

#define NONE "<absent>"

static char *get_n(encke_str from, char separator, const char *name) {
  static char texts[4][256];
  static unsigned next;
  char *text = texts[next++ % 4];
  size_t size = 0;
  int rc = encke_param(from, separator, name, text, sizeof texts[0], &size);
  if (rc == 0) return strcpy(text, NONE);
  if (rc < 0) return strcpy(text, textf("<%d>", rc));
  CHECK_RC(rc, 1);
  CHECK_EQ(size, strlen(text) + 1);
  return text;
}

static char *get(const char *from, char separator, const char *name) { return get_n(str(from), separator, name); }

static void queries(void) {
  SECTION("'&': a query or a form");
  static const char from[] = "a=1&bee=hello+world%21&empty=&enc=%C3%a9%26%3D%2B&last=%31";
  CHECK_TEXT(get(from, '&', "a"), "1");
  CHECK_TEXT(get(from, '&', "bee"), "hello world!");
  CHECK_TEXT(get(from, '&', "empty"), "");
  CHECK_TEXT(get(from, '&', "enc"), "\xc3\xa9&=+");
  CHECK_TEXT(get(from, '&', "last"), "1");
  CHECK_TEXT(get(from, '&', "be"), NONE);
  CHECK_TEXT(get(from, '&', "beee"), NONE);
  CHECK_TEXT(get(from, '&', "A"), NONE);
  CHECK_TEXT(get("", '&', "a"), NONE);
  CHECK_TEXT(get("xa=1&a=2", '&', "a"), "2");
  CHECK_TEXT(get("a=x=y", '&', "a"), "x=y");
  CHECK_TEXT(get("&&a=1&", '&', "a"), "1");
}

static void cookies(void) {
  SECTION("';': Cookie, raw");
  static const char from[] = "sid=abc%20+d; theme=dark; empty=; q=\"x y\"";
  CHECK_TEXT(get(from, ';', "sid"), "abc%20+d");
  CHECK_TEXT(get(from, ';', "theme"), "dark");
  CHECK_TEXT(get(from, ';', "empty"), "");
  CHECK_TEXT(get(from, ';', "them"), NONE);
  CHECK_TEXT(get(from, ';', " theme"), NONE);
  CHECK_TEXT(get("", ';', "sid"), NONE);
  CHECK_TEXT(get("a=b=c", ';', "a"), "b=c");
}

static void paths(void) {
  SECTION("0: all of it, percent-decoded");
  CHECK_TEXT(get("/a%20b+c/%2F", 0, NULL), "/a b+c//");
  CHECK_TEXT(get("/plain", 0, "unused"), "/plain");
  CHECK_TEXT(get("", 0, NULL), "");
}

static void faults(void) {
  char invalid[16], buf[8];
  snprintf(invalid, sizeof invalid, "<%d>", ENCKE_E_INVAL);
  SECTION("bad escapes and a decoded NUL");
  static const char *const bad[] = {"a=%", "a=%4", "a=%zz", "a=%4g", "a=%00", "a=x%", "a=%%41", "a=% 1", "a=%+1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    SECTION(bad[i]);
    CHECK_TEXT(get(bad[i], '&', "a"), invalid);
    CHECK_TEXT(get(bad[i] + 2, 0, NULL), invalid);
    CHECK_TEXT(get(bad[i], ';', "a"), bad[i] + 2);
  }
  SECTION("bad arguments");
  CHECK_RC(encke_param(str("a=1"), '&', NULL, buf, sizeof buf, NULL), ENCKE_E_INVAL);
  CHECK_RC(encke_param(str("a=1"), 'x', "a", buf, sizeof buf, NULL), ENCKE_E_INVAL);
  encke_str null = {NULL, 0};
  CHECK_TEXT(get_n(null, '&', "a"), NONE);
  null.n = 3;
  CHECK_RC(encke_param(null, '&', "a", buf, sizeof buf, NULL), ENCKE_E_INVAL);
}

static void sizes(void) {
  SECTION("a buffer that is too small");
  char buf[32];
  for (size_t cap = 0; cap < sizeof buf; cap++) {
    size_t size = 0;
    memset(buf, '#', sizeof buf);
    int rc = encke_param(str("a=hello%20world"), '&', "a", cap ? buf : NULL, cap, &size);
    CHECK_EQ(size, 12);
    CHECK_RC(rc, cap >= 12 ? 1 : ENCKE_E_RANGE);
    if (cap >= 12) CHECK_TEXT(buf, "hello world");
    for (size_t i = cap; i < sizeof buf; i++) CHECK(buf[i] == '#');
  }
  CHECK_RC(encke_param(str("a=1"), '&', "a", buf, sizeof buf, NULL), 1); /* need may be NULL */
  /* not NUL-terminated, and a value that ends where the text does */
  encke_str part = {"a=12345", 4};
  CHECK_TEXT(get_n(part, '&', "a"), "12");
}

static void heads(void) {
  SECTION("encke_head_get of a head that the test made");
  encke_field fields[] = {field("host", "a"), field("x-one", "first"), field("x-one", "second"), field("x-empty", "")};
  encke_head head;
  memset(&head, 0, sizeof head);
  CHECK(encke_head_get(&head, "host").p == NULL);
  head.fields = fields, head.nfields = 4;
  CHECK_STR(encke_head_get(&head, "x-one"), "first");
  CHECK_STR(encke_head_get(&head, "host"), "a");
  CHECK(encke_head_get(&head, "x-empty").p != NULL);
  CHECK_EQ(encke_head_get(&head, "x-empty").n, 0);
  CHECK(encke_head_get(&head, "x-on").p == NULL);
  CHECK(encke_head_get(&head, "x-onee").p == NULL);
  CHECK(encke_head_get(&head, "").p == NULL);
}

int main(void) {
  queries();
  cookies();
  paths();
  faults();
  sizes();
  heads();
  return check_end();
}
