/*
 * plain.c - attacks that need nothing but a socket: slow, greedy and endless clients. The rule: each is one line of what a
 * connection does, or a function where one line does not do.
 */
#include "attacks.h"

#include "../load/pattern.h"


const setting defaults[] = {{0, 0}};

const setting tight[] = {
  {ENCKE_OPT_HEAD_TIMEOUT_MS, 1500}, {ENCKE_OPT_BODY_TIMEOUT_MS, 1500}, {ENCKE_OPT_WRITE_TIMEOUT_MS, 1500},
  {ENCKE_OPT_MAX_PIPELINE, 8}, {ENCKE_OPT_MAX_HEAD, 4096}, {ENCKE_OPT_BUFFER_BODY, 4096}, {ENCKE_OPT_BODY_WINDOW, 8192},
  {ENCKE_OPT_HIGH_WATER, 16384}, {ENCKE_OPT_LOW_WATER, 4096}, {ENCKE_OPT_MAX_MEMORY, TIGHT_MEMORY},
  {ENCKE_OPT_MAX_BODY, (uint64_t)8 << 30}, {0, 0},
};

/* Nothing of these is ever late: what is measured is the flood alone. */
static const setting patient[] = {
  {ENCKE_OPT_MAX_BODY, (uint64_t)8 << 30}, {ENCKE_OPT_MAX_MEMORY, TIGHT_MEMORY}, {0, 0},
};

#define HOST_LINE "Host: a\r\n"

static void slow_head(ground *g) {
  swarm(g, 400, &(script){.once = "GET /echo/x HTTP/1.1\r\n" HOST_LINE, .again = "X-Slow: a\r\n", .piece = 1, .pause_ms = 2});
}

static void slow_body(ground *g) {
  swarm(g, 400, &(script){.once = "POST /sink HTTP/1.1\r\n" HOST_LINE "Content-Length: 100000\r\n\r\n", .again = "x", .piece = 1, .pause_ms = 2});
}

static void slow_reader(ground *g) {
  swarm(g, 200, &(script){.once = "GET /stream/1073741824 HTTP/1.1\r\n" HOST_LINE "\r\n", .read = READ_ONE, .small = 1, .pause_ms = 2});
}

static void idle(ground *g) { swarm(g, 3000, &(script){.read = READ_ALL, .pause_ms = 2}); }

static const char *many_requests(size_t *n) {
  static char text[60000];
  static const char one[] = "GET /echo/0123456789 HTTP/1.1\r\n" HOST_LINE "\r\n";
  *n = 0;
  while (*n + sizeof one < sizeof text) *n += (size_t)snprintf(text + *n, sizeof text - *n, "%s", one);
  return text;
}

static void hog_reading(ground *g) {
  script s = {.read = READ_ALL};
  s.again = many_requests(&s.again_n);
  swarm(g, 8, &s);
}

static void hog_not_reading(ground *g) {
  script s = {.read = READ_NOTHING, .small = 1};
  s.again = many_requests(&s.again_n);
  swarm(g, 100, &s);
}

static void hog_of_streams(ground *g) {
  swarm(g, 100, &(script){.again = "GET /stream/100000 HTTP/1.1\r\n" HOST_LINE "\r\n", .read = READ_NOTHING, .small = 1, .pause_ms = 2});
}

static void header_flood(ground *g) {
  swarm(g, 64, &(script){.once = "GET /echo/x HTTP/1.1\r\n" HOST_LINE, .again = "X: y\r\n"});
}

static void long_line(ground *g) { swarm(g, 64, &(script){.once = "GET /", .again = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}); }

/* Heads that stay just within the limit and never end: all the memory that heads may take. */
static void unfinished_heads(ground *g) {
  static char text[4000];
  if (!text[0]) {
    int n = snprintf(text, sizeof text, "GET /echo/x HTTP/1.1\r\n" HOST_LINE "X: ");
    memset(text + n, 'y', sizeof text - (size_t)n);
  }
  swarm(g, 700, &(script){.once = text, .once_n = sizeof text, .pause_ms = 2});
}

/* The same beyond what all connections may have together. */
static void heads_beyond_memory(ground *g) {
  static char text[4000];
  if (!text[0]) {
    int n = snprintf(text, sizeof text, "GET /echo/x HTTP/1.1\r\n" HOST_LINE "X: ");
    memset(text + n, 'y', sizeof text - (size_t)n);
  }
  swarm(g, 2000, &(script){.once = text, .once_n = sizeof text, .pause_ms = 2});
}

static void chunks(ground *g) {
  swarm(g, 16, &(script){.once = "POST /sink HTTP/1.1\r\n" HOST_LINE "Transfer-Encoding: chunked\r\n\r\n",
                         .again = "1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n"});
}

static void single_bytes(ground *g) {
  swarm(g, 16, &(script){.again = "GET /echo/x HTTP/1.1\r\n" HOST_LINE "\r\n", .piece = 1, .burst = 60});
}

static void accept_flood(ground *g) { swarm(g, 300, &(script){.once = "GET /hold HTTP/1.1\r\n" HOST_LINE "\r\n", .pause_ms = 2, .reset = 1}); }

static void churn(ground *g) { swarm(g, 30, &(script){.once = "GET /echo/x HTTP/1.1\r\n" HOST_LINE "\r\n", .life = 2}); }

static void resets(ground *g) { swarm(g, 30, &(script){.once = "GET /stream/1000000 HTTP/1.1\r\n" HOST_LINE "\r\n", .life = 3, .reset = 1}); }

static void upload_without_credit(ground *g) {
  swarm(g, 8, &(script){.once = "POST /deaf HTTP/1.1\r\n" HOST_LINE "Content-Length: 1073741824\r\n\r\n", .again = pattern_at(0), .again_n = 30000, .reset = 1});
  if (atomic_load(&g->box->taken) == 0) box_fail(g->box, "nothing of the upload came");
}

static void upload(ground *g) {
  swarm(g, 4, &(script){.once = "POST /sink HTTP/1.1\r\n" HOST_LINE "Content-Length: 1073741824\r\n\r\n", .again = pattern_at(0), .again_n = 30000});
}

static void expectations(ground *g) {
  swarm(g, 100, &(script){.once = "POST /sink HTTP/1.1\r\n" HOST_LINE "Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n", .life = 4});
}

static void held(ground *g) {
  swarm(g, 200, &(script){.again = "GET /hold HTTP/1.1\r\n" HOST_LINE "\r\n", .pause_ms = 2, .reset = 1});
}

/* As many requests as a client may have in the host's hands, each with as many fields as it may have. */
static void held_with_fields(ground *g) {
  static char text[1200];
  if (!text[0]) {
    int n = snprintf(text, sizeof text, "GET /hold HTTP/1.1\r\n" HOST_LINE);
    for (int i = 0; i < 99; i++) n += snprintf(text + n, sizeof text - (size_t)n, "a%d:b\r\n", i);
    snprintf(text + n, sizeof text - (size_t)n, "\r\n");
  }
  swarm(g, 200, &(script){.again = text, .pause_ms = 2, .reset = 1});
}

static void upgrades(ground *g) {
  swarm(g, 100, &(script){.once = "GET /hold HTTP/1.1\r\n" HOST_LINE "Connection: upgrade\r\nUpgrade: x\r\n\r\n", .again = pattern_at(0), .again_n = 30000,
                          .reset = 1});
}

/* Bodies that stay just below what comes whole, and never end. */
static void unfinished_bodies(ground *g) {
  static char text[4000];
  if (!text[0]) {
    int n = snprintf(text, sizeof text, "POST /sink HTTP/1.1\r\n" HOST_LINE "Content-Length: 4000\r\n\r\n");
    memset(text + n, 'y', sizeof text - (size_t)n);
  }
  swarm(g, 2000, &(script){.once = text, .once_n = sizeof text, .pause_ms = 2});
}

const attack plain_attacks[] = {
  {"slow heads", slow_head, defaults, 0, 0, 400},
  {"slow heads, short time-outs", slow_head, tight, 0, 0, 400},
  {"slow bodies", slow_body, defaults, 0, 0, 400},
  {"slow bodies, short time-outs", slow_body, tight, 0, 0, 400},
  {"slow readers", slow_reader, defaults, 0, 0, 200},
  {"slow readers, short time-outs", slow_reader, tight, 0, 0, 200},
  {"idle connections", idle, defaults, 0, 0, 3000},
  {"pipelines, read", hog_reading, defaults, 0, 0, 8},
  {"pipelines, not read", hog_not_reading, defaults, 0, 0, 100},
  {"pipelines, not read, small limits", hog_not_reading, tight, 0, 0, 100},
  {"pipelined streams, not read", hog_of_streams, defaults, 0, 0, 100},
  {"endless header fields", header_flood, defaults, 0, 0, 64},
  {"endless request lines", long_line, defaults, 0, 0, 64},
  {"heads without end", unfinished_heads, patient, 0, 0, 700},
  {"heads beyond the memory", heads_beyond_memory, tight, MAY_WAIT | LONG, 0, 2000},
  {"bodies beyond the memory", unfinished_bodies, tight, MAY_WAIT | LONG, 0, 2000},
  {"chunks of one byte", chunks, patient, 0, 0, 16},
  {"requests byte by byte", single_bytes, defaults, 0, 0, 16},
  {"connections at the fd limit", accept_flood, defaults, NO_NEW, 40, 300},
  {"connections opened and closed", churn, defaults, 0, 0, 30},
  {"connections reset", resets, defaults, 0, 0, 30},
  {"uploads without credit", upload_without_credit, patient, 0, 0, 8},
  {"uploads of a gigabyte", upload, patient, 0, 0, 4},
  {"expectations", expectations, defaults, 0, 0, 100},
  {"requests held for ever", held, defaults, 0, 0, 200},
  {"requests of 100 fields held", held_with_fields, defaults, 0, 0, 200},
  {"upgrades held for ever", upgrades, defaults, 0, 0, 100},
  {NULL, NULL, NULL, 0, 0, 0},
};
