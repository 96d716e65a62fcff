/*
 * bus_stats.h - the page of counters of encke-bus, and how a request is answered with a whole page.
 */
#ifndef ENCKE_TOOLS_BUS_STATS_H
#define ENCKE_TOOLS_BUS_STATS_H

#include "common.h"

/* Answers with all of it, or aborts. */
void reply_with(encke_sender *sender, encke_id id, uint32_t status, const encke_field *fields, size_t n, const char *body, size_t len);

/* The counters as lines, or as JSON to who asks for application/json; started is by now_ns(). */
void tell_stats(encke_sender *sender, encke_id id, const encke_head *head, uint64_t started);

#endif
