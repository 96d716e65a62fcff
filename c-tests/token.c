/*
 * token.c - ids as text that cannot be guessed. The rule: a token leads to its id while that lives, in its encke only, and
 * nothing else leads there.
 */
#include "check.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

int main(void) {
  host *h = HOST_PLAIN(), *other = HOST_PLAIN();
  int port = host_listen(h);
  peer *p = peer_tcp(port);
  peer_send(p, GET GET);
  UNTIL(SEEN(h, REQUEST) == 2);
  encke_id one = request_id(h, 0), two = request_id(h, 1), found = 0;
  char a[ENCKE_TOKEN_SIZE], b[ENCKE_TOKEN_SIZE], changed[ENCKE_TOKEN_SIZE + 1];

  SECTION("there and back");
  memset(a, '#', sizeof a);
  CHECK_OK(encke_token(h->s, one, a, sizeof a));
  CHECK_OK(encke_token(h->s, two, b, sizeof b));
  size_t n = strnlen(a, sizeof a);
  CHECK(n > 0 && n < ENCKE_TOKEN_SIZE);
  CHECK_EQ(strspn(a, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"), n);
  CHECK(strcmp(a, b) != 0);
  CHECK_OK(encke_from_token(h->s, a, n, &found));
  CHECK(found == one);
  CHECK_OK(encke_from_token(h->s, b, strlen(b), &found));
  CHECK(found == two);
  CHECK_OK(encke_token(h->s, one, changed, sizeof changed));
  CHECK_OK(encke_from_token(h->s, changed, strlen(changed), &found));
  CHECK(found == one);

  SECTION("a buffer that is too small");
  CHECK_RC(encke_token(h->s, one, changed, n), ENCKE_E_RANGE);
  CHECK(encke_token(h->s, one, NULL, 0) < 0);
  CHECK_OK(encke_token(h->s, one, changed, n + 1));

  SECTION("changed, cut, prolonged, foreign");
  for (size_t i = 0; i < n; i++) {
    strcpy(changed, a);
    changed[i] = a[i] == 'A' ? 'B' : 'A';
    CHECK_RC(encke_from_token(h->s, changed, n, &found), ENCKE_E_GONE);
    CHECK_RC(encke_from_token(h->s, a, i, &found), ENCKE_E_GONE);
  }
  strcat(strcpy(changed, a), "A");
  CHECK_RC(encke_from_token(h->s, changed, n + 1, &found), ENCKE_E_GONE);
  CHECK_RC(encke_from_token(h->s, "", 0, &found), ENCKE_E_GONE);
  CHECK_RC(encke_from_token(h->s, "not a token \xff", 13, &found), ENCKE_E_GONE);
  CHECK_RC(encke_from_token(other->s, a, n, &found), ENCKE_E_GONE);
  CHECK(encke_from_token(h->s, NULL, 5, &found) < 0);

  SECTION("over");
  answer(h, one, "x");
  CHECK_RC(encke_from_token(h->s, a, n, &found), ENCKE_E_GONE);
  CHECK_RC(encke_token(h->s, one, changed, sizeof changed), ENCKE_E_GONE);
  UNTIL(peer_finals(p) == 1);
  CHECK_OK(encke_from_token(h->s, b, strlen(b), &found));
  answer(h, found, "y");
  UNTIL(peer_finals(p) == 2 && host_all_done(h));
  CHECK_RC(encke_from_token(h->s, a, n, &found), ENCKE_E_GONE);
  peer_close(p);
  host_close(h);
  host_close(other);
  return check_end();
}
