/*
 * version.c - version, features, texts of the result codes. The rule: the header a program was built with and the library it
 * runs on say the same, and every number has a text.
 */
#include "check.h"

#include <limits.h>

int main(void) {
  SECTION("version");
  CHECK_EQ(ENCKE_VERSION_NUM, (ENCKE_VERSION_MAJOR << 16) | (ENCKE_VERSION_MINOR << 8) | ENCKE_VERSION_PATCH);
  CHECK_EQ(encke_version_num(), ENCKE_VERSION_NUM);
  char *text = textf("%d.%d.%d", (int)ENCKE_VERSION_MAJOR, (int)ENCKE_VERSION_MINOR, (int)ENCKE_VERSION_PATCH);
  CHECK_TEXT(encke_version(), text);
  CHECK(encke_version() == encke_version());

  SECTION("features");
  CHECK_EQ(encke_has_feature("one-fd"), 1);
  CHECK_EQ(encke_has_feature("push"), 1);
  CHECK_EQ(encke_has_feature("websocket"), 1);
  CHECK_EQ(encke_has_feature("no-such-feature"), 0);
  CHECK_EQ(encke_has_feature(""), 0);
  CHECK_EQ(encke_has_feature(NULL), 0);

  SECTION("a text for every code");
  static const int codes[] = {ENCKE_OK, ENCKE_E_INVAL, ENCKE_E_STATE, ENCKE_E_GONE, ENCKE_E_AGAIN, ENCKE_E_CLOSED, ENCKE_E_NOMEM,
                              ENCKE_E_SYS, ENCKE_E_TLS, ENCKE_E_NOTSUP, ENCKE_E_RANGE, ENCKE_E_THREAD, ENCKE_E_FORKED, ENCKE_E_PANIC};
  size_t n = sizeof codes / sizeof *codes;
  for (size_t i = 0; i < n; i++) {
    CHECK_EQ(codes[i], -(int)i);
    CHECK(encke_strerror(codes[i]) != NULL && encke_strerror(codes[i])[0] != 0);
    for (size_t k = 0; k < i; k++) CHECK(strcmp(encke_strerror(codes[i]), encke_strerror(codes[k])) != 0);
  }
  static const int unknown[] = {1, 7, 1000, -14, -1000, INT_MAX, INT_MIN};
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
    CHECK(encke_strerror(unknown[i]) != NULL && encke_strerror(unknown[i])[0] != 0);

  SECTION("constants");
  CHECK(ENCKE_UNKNOWN == UINT64_MAX);
  CHECK(ENCKE_WANT(ENCKE_EV_CONNECTION) == (uint64_t)1 << 14);
  encke_field f = {ENCKE_STR("etag"), ENCKE_STR("\"1\"")};
  CHECK_STR(f.name, "etag");
  CHECK_EQ(f.value.n, 3);
  CHECK(encke_last_error() != NULL);
  return check_end();
}
