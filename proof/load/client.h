/* client.h - a client that waits for its answer, and believes nothing it was not told. Plain or TLS (by OpenSSL). */
#ifndef CLIENT_H
#define CLIENT_H

#include <stddef.h>
#include <stdint.h>

typedef struct client client;

typedef enum { PLAIN, TLS, TLS12 } kind;

typedef enum {
  WHOLE,   /* an answer, complete */
  CLOSED,  /* the connection ended before its first byte */
  CUT,     /* it ended inside it */
  LATE,    /* nothing came for client_patience seconds */
  BUSY,    /* 503 */
  WRONG,   /* what came is no answer; see client_why() */
} outcome;

extern int client_patience;

client *client_open(int port, kind); /* NULL: not connected, or the handshake failed; see client_why() */
void    client_close(client *);
void    client_reset(client *);
outcome client_say(client *, const void *data, size_t n);

/* The next answer. `sink` is called for each piece of its body, at place `at`; NULL: the body is dropped. */
typedef int (*body_sink)(void *context, const char *data, size_t n, uint64_t at);
outcome client_hear(client *, int *status, uint64_t *length, body_sink sink, void *context);

/* GET path; the answer must be 200 and exactly this. */
outcome client_get(client *, const char *path, const char *body, size_t n);
/* GET path; the answer must be 200 and the first `length` bytes of the pattern. */
outcome client_get_pattern(client *, const char *path, uint64_t length);
/* The next answer must be 200 and exactly this. */
outcome client_expect(client *, const char *body, size_t n);

const char *client_why(void);

#endif
