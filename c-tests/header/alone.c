/* alone.c - encke.h by itself, twice, first of all headers, in every C standard and in C++: no warning, nothing missing. */
#include <encke.h>
#include <encke.h>

int header_alone(void);

int header_alone(void) {
  static const encke_field field = {ENCKE_STR("etag"), ENCKE_STR("\"1\"")};
  encke_response response = {0, 0, 0, 0, 0, 0, 0, 0, 0, ENCKE_NO_FD};
  uint64_t wanted = ENCKE_WANT(ENCKE_EV_DONE) | ENCKE_WANT(ENCKE_EV_HALF_CLOSED);
  uint32_t flags = ENCKE_HEAD_TLS | ENCKE_HEAD_BODY_FOLLOWS | ENCKE_HEAD_EXPECT | ENCKE_HEAD_UPGRADE | ENCKE_BORROW | ENCKE_LENGTH;
  int (*respond)(encke_sender *, encke_id, const encke_response *, size_t) = encke_respond;
  response.status = 200;
  response.flags = ENCKE_CLOSE;
  response.fields = &field;
  response.nfields = 1;
  response.length = ENCKE_UNKNOWN;
  if (response.file != ENCKE_NO_FD || wanted == 0 || flags == 0) return ENCKE_E_INVAL;
  return respond != 0 && encke_version_num() == ENCKE_VERSION_NUM ? ENCKE_OK : -ENCKE_E_STATE - 2;
}
