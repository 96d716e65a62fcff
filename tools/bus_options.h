/*
 * bus_options.h - the command line of encke-bus: what it says, with the sockets that systemd hands over, as one value.
 */
#ifndef ENCKE_TOOLS_BUS_OPTIONS_H
#define ENCKE_TOOLS_BUS_OPTIONS_H

#include "account.h"
#include "common.h"

#define BUS "/msgbus/"
#define MOST 64 /* addresses, ports, listeners */

struct listener {
  char *address; /* NULL: fd is taken */
  encke_fd_t fd;
  int tls;
};

struct bus_options {
  struct listener listeners[MOST * 2];
  size_t listener_count;
  const char *certificate_file, *key_file; /* NULL: none; the key is in the other file */
  const char *directory, *stats_path;      /* NULL: none */
  char *secret;
  struct {
    int option; /* ENCKE_CHANNEL_ */
    uint64_t value;
  } choices[MOST];
  size_t choice_count;
  uint64_t unix_mode;
  struct account account;
  int has_account, cors, verbose;
};

/* Fills in a value of zeros, or ends the process: exit code 0, 1 or 2. */
void read_options(struct bus_options *out, int argc, char **argv);

#endif
