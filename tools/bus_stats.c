/* bus_stats.c - see bus_stats.h. */
#define _GNU_SOURCE
#include "bus_stats.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LISTED 1000 /* channels */

void reply_with(encke_sender *sender, encke_id id, uint32_t status, const encke_field *fields, size_t n, const char *body, size_t len) {
  encke_response r = {.status = status, .fields = fields, .nfields = n, .body = body, .body_len = len};
  if (encke_respond(sender, id, &r, sizeof r) != ENCKE_OK)
    encke_abort(sender, id); /* where it was settled this is GONE and no harm */
}

/* A text in the quotes of JSON. */
static void put_quoted(FILE *out, const char *text) {
  fputc('"', out);
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\')
      fputc('\\', out);
    fputc(*text, out); /* names of channels have no control characters */
  }
  fputc('"', out);
}

static void put_channels(encke_sender *sender, FILE *out, int json) {
  char name[256] = "", next[256];
  encke_channel_facts facts;
  int first = 1;
  for (int n = 0; n < MAX_LISTED && encke_channel_next(sender, name, next, sizeof next, NULL) == 1; n++) {
    memcpy(name, next, sizeof name);
    if (encke_channel_get(sender, name, &facts, sizeof facts) != 1)
      continue;
    unsigned long long subscribers = facts.subscribers, published = facts.published, kept = facts.messages;
    if (json) {
      fputs(first ? "" : ",", out);
      fputs("\n  {\"name\": ", out);
      put_quoted(out, name);
      fprintf(out, ", \"subscribers\": %llu, \"published\": %llu, \"kept\": %llu}", subscribers, published, kept);
    } else {
      fprintf(out, "channel %s: %llu subscribers, %llu published, %llu kept\n", name, subscribers, published, kept);
    }
    first = 0;
  }
}

void tell_stats(encke_sender *sender, encke_id id, const encke_head *head, uint64_t started) {
  encke_stats s;
  char *text = NULL;
  size_t len = 0;
  encke_str accept = encke_head_get(head, "accept");
  int json = accept.p != NULL && strstr(accept.p, "application/json") != NULL;
  FILE *out = open_memstream(&text, &len);
  if (out == NULL || encke_stats_get(sender, &s, sizeof s) != ENCKE_OK) {
    encke_abort(sender, id);
    if (out != NULL)
      fclose(out);
    free(text);
    return;
  }
  const struct { const char *name; uint64_t value; } rows[] = {
    {"uptime_seconds", (now_ns() - started) / 1000000000},
    {"connections", s.connections}, {"accepted", s.accepted}, {"requests", s.requests}, {"aborted", s.aborted},
    {"refused", s.refused}, {"bytes_in", s.bytes_in}, {"bytes_out", s.bytes_out}, {"queued_bytes", s.queued_bytes},
    {"memory", s.memory}, {"channels", s.channels}, {"subscribers", s.subscribers}, {"published", s.published},
    {"delivered", s.delivered}, {"dropped", s.dropped},
  };
  fputs(json ? "{" : "", out);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    fprintf(out, json ? "\"%s\": %llu,\n " : "%s %llu\n", rows[i].name, (unsigned long long)rows[i].value);
  fputs(json ? "\"list\": [" : "", out);
  put_channels(sender, out, json);
  fputs(json ? "]}\n" : "", out);
  if (fclose(out) == 0) {
    const encke_field fields[] = {
      {ENCKE_STR("content-type"), {NULL, 0}}, {ENCKE_STR("cache-control"), ENCKE_STR("no-store")}, {ENCKE_STR("vary"), ENCKE_STR("accept")}};
    encke_field all[3];
    memcpy(all, fields, sizeof all);
    all[0].value.p = json ? "application/json" : "text/plain; charset=utf-8";
    all[0].value.n = strlen(all[0].value.p);
    reply_with(sender, id, 200, all, 3, text, len);
  } else {
    encke_abort(sender, id);
  }
  free(text);
}
