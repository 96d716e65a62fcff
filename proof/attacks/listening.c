/*
 * listening.c - attacks on server push: subscribers and WebSockets that mean ill. The rule of all attacks; besides, what is
 * published with every answer to the bystander reaches whoever reads it, and waits for nobody who does not.
 */
#include "attacks.h"

#define HOST_LINE "Host: a\r\n"
#define FEED "GET /feed HTTP/1.1\r\n" HOST_LINE "Accept: text/event-stream\r\n\r\n"
#define POLL "GET /feed HTTP/1.1\r\n" HOST_LINE "Accept: application/json\r\n\r\n"
#define HANDSHAKE(path)                                                                                  \
  "GET " path " HTTP/1.1\r\n" HOST_LINE "Connection: Upgrade\r\nUpgrade: websocket\r\n"                  \
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void stalled(ground *g) { swarm(g, 300, &(script){.once = FEED, .read = READ_NOTHING, .small = 1}); }
static void sipping(ground *g) { swarm(g, 300, &(script){.once = FEED, .read = READ_ONE, .small = 1}); }
static void storm(ground *g) { swarm(g, 60, &(script){.once = FEED, .life = 3, .reset = 1}); }
static void polls(ground *g) { swarm(g, 200, &(script){.again = POLL, .pause_ms = 2, .life = 20, .reset = 1}); }

static void stalled_sockets(ground *g) { swarm(g, 300, &(script){.once = HANDSHAKE("/feed") "\r\n", .read = READ_NOTHING, .small = 1}); }

/* A frame of a client with a mask of zeros: whole, its payload as it is. */
static size_t frame(char *out, unsigned first, const void *data, size_t n) {
  size_t at = 0;
  out[at++] = (char)first;
  if (n <= 125) out[at++] = (char)(0x80 | n);
  else if (n <= 0xffff) out[at++] = (char)0xfe, out[at++] = (char)(n >> 8), out[at++] = (char)n;
  else {
    out[at++] = (char)0xff;
    for (int i = 7; i >= 0; i--) out[at++] = (char)((uint64_t)n >> 8 * i);
  }
  memset(out + at, 0, 4), at += 4;
  memcpy(out + at, data, n);
  return at + n;
}

static char text[64 << 10];

static void pings(ground *g) {
  char payload[125] = {0};
  size_t n = 0;
  while (n + 140 < sizeof text) n += frame(text + n, 0x89, payload, sizeof payload);
  swarm(g, 100, &(script){.once = HANDSHAKE("/socket") "\r\n", .again = text, .again_n = n});
}

static void pings_not_read(ground *g) {
  char payload[125] = {0};
  size_t n = 0;
  while (n + 140 < sizeof text) n += frame(text + n, 0x89, payload, sizeof payload);
  swarm(g, 100, &(script){.once = HANDSHAKE("/socket") "\r\n", .again = text, .again_n = n, .read = READ_NOTHING, .small = 1});
}

static void echoes_not_read(ground *g) {
  static char payload[16 << 10];
  size_t n = frame(text, 0x82, payload, sizeof payload);
  swarm(g, 100, &(script){.once = HANDSHAKE("/socket") "\r\n", .again = text, .again_n = n, .read = READ_NOTHING, .small = 1});
}

/* Fragments of one byte, and empty ones, of a message without end. */
static void fragments(ground *g) {
  size_t n = frame(text, 0x00, "", 0);
  n += frame(text + n, 0x00, "x", 1);
  static char once[512];
  size_t head = (size_t)snprintf(once, sizeof once, "%s\r\n", HANDSHAKE("/socket"));
  head += frame(once + head, 0x02, "", 0);
  swarm(g, 30, &(script){.once = once, .once_n = head, .again = text, .again_n = n});
}

static void put_bits(char *out, size_t *at, unsigned value, unsigned n) {
  for (unsigned i = 0; i < n; i++, ++*at)
    if (value >> i & 1) out[*at / 8] |= (char)(1 << *at % 8);
}

/* Zeros, so many, in one block of the fixed code: a zero, then copies of 258 bytes in 13 bits each (RFC 1951, 3.2.6). */
static size_t deflated(char *out, size_t bytes) {
  size_t at = 0;
  put_bits(out, &at, 2, 3);    /* not the last block, fixed code */
  put_bits(out, &at, 0x0c, 8); /* 0: 00110000, most significant bit first */
  for (size_t n = 1; n < bytes; n += 258) {
    put_bits(out, &at, 0xa3, 8); /* 285: 11000101 */
    put_bits(out, &at, 0, 5);    /* one byte back */
  }
  put_bits(out, &at, 0, 7); /* the end of the block */
  put_bits(out, &at, 0, 3); /* an empty stored one, whose last four bytes are not sent */
  return (at + 7) / 8;
}

static void bombs_of(ground *g, size_t bytes) {
  static char small[128 << 10], bomb[132 << 10];
  memset(small, 0, sizeof small);
  size_t n = frame(bomb, 0xc2, small, deflated(small, bytes));
  swarm(g, 20, &(script){.once = HANDSHAKE("/socket") "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", .again = bomb, .again_n = n});
}

static void bombs(ground *g) { bombs_of(g, 16 << 20); }
static void bombs_within(ground *g) { bombs_of(g, 250 << 10); }

/* Whatever is no frame. */
static void junk(ground *g) { swarm(g, 60, &(script){.once = HANDSHAKE("/socket") "\r\n", .again = "\xff\xff\xff\xff\xff\xff\xff\xff", .again_n = 8}); }

static const setting small_messages[] = {{ENCKE_OPT_MAX_BODY, 256 << 10}, {ENCKE_OPT_MAX_MEMORY, 64 << 20}, {0, 0}};

const attack listening_attacks[] = {
  {"subscribers that read nothing", stalled, defaults, 0, 0, 300},
  {"subscribers that sip", sipping, defaults, 0, 0, 300},
  {"subscriptions opened and reset", storm, defaults, 0, 0, 60},
  {"long polls opened and reset", polls, defaults, 0, 0, 200},
  {"subscribed WebSockets, not read", stalled_sockets, defaults, 0, 0, 300},
  {"pings without end", pings, defaults, 0, 0, 100},
  {"pings without end, pongs not read", pings_not_read, defaults, 0, 0, 100},
  {"WebSocket echoes, not read", echoes_not_read, defaults, 0, 0, 100},
  {"fragments without end", fragments, small_messages, 0, 0, 30},
  {"compression bombs", bombs, small_messages, 0, 0, 20},
  {"compression bombs within the limit", bombs_within, small_messages, 0, 0, 20},
  {"no frames", junk, defaults, 0, 0, 60},
  {NULL, NULL, NULL, 0, 0, 0},
};
