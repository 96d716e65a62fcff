/*
 * common.h - what the programs of the message bus have in common: complaints and exit codes, numbers and files from the
 * command line, where a bus is, signals.
 *
 * Exit codes of all: 0 it did what it was asked for, 1 it could not, 2 the command line is wrong.
 */
#ifndef ENCKE_TOOLS_COMMON_H
#define ENCKE_TOOLS_COMMON_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>

#include <encke.h>

#define EXIT_USAGE 2

/* The name in front of every complaint. */
extern const char *program;

/* One line on stderr; the text is as printf has it, without the end of the line. */
void complain(const char *text, ...) __attribute__((format(printf, 1, 2)));
/* The same, and exit code 1. */
void die(const char *text, ...) __attribute__((format(printf, 1, 2), noreturn));
/* The same, and exit code 2. */
void die_usage(const char *text, ...) __attribute__((format(printf, 1, 2), noreturn));
/* What failed in the library: errno's text where a system call did, else encke_last_error(). */
const char *why(int result);
void *allocate(void *old, size_t n); /* realloc that does not fail */
char *copy_text(const char *text);
_Noreturn void print_version(void);

/* A decimal number from `least` to `most`, or exit code 2; option is its name. */
uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most);
/* Seconds with a fraction, as milliseconds. */
uint64_t seconds(const char *option, const char *text);

/* All of a file ("-": stdin), to be freed, with a NUL behind it; NULL: errno says why. */
char *read_file(const char *name, size_t *len);

uint64_t raise_fds(void); /* as many files as this process may open; how many, at most a million */
void put_base64(FILE *out, const void *data, size_t n);
uint64_t now_ns(void); /* CLOCK_MONOTONIC, which all programs of a machine share */

/* Set by SIGINT and SIGTERM, and by SIGHUP where it was asked for; a sender that is given is woken. */
extern volatile sig_atomic_t stop_signals, hangup_signals;
void catch_signals(encke_sender *wake, int with_hangup);

/* ---- where a bus is ------------------------------------------------------------------------------------------------- */

/* The options that the clients share, each with its letter: see place_option. */
struct place {
  const char *address, *port; /* NULL: the default */
  int tls;
  char *ca_pem; /* NULL: those of the system */
  size_t ca_len;
  char *user, *secret;
};

#define PLACE_LETTERS "l:p:sC:u:"
#define PLACE_OPTIONS                                                                                             \
  {"address", required_argument, NULL, 'l'}, {"port", required_argument, NULL, 'p'}, {"tls", no_argument, NULL, 's'}, \
    {"ca", required_argument, NULL, 'C'}, {"user", required_argument, NULL, 'u'}
#define PLACE_HELP                                                                                                \
  "  -l, --address ADDRESS   of the bus: 127.0.0.1; or unix:/PATH\n"                                              \
  "  -p, --port PORT         8888, with TLS 4444\n"                                                               \
  "  -s, --tls               speak TLS\n"                                                                         \
  "  -C, --ca FILE           the certificates (PEM) that the bus's must come from; else the system's\n"           \
  "  -u, --user USER:SECRET  who you are; the secret may stand in ENCKE_SECRET instead\n"

/* Takes an option of PLACE_LETTERS: 1; 0: it is none of them. */
int place_option(struct place *place, int letter, const char *value);

/* A channel of a bus, or a source of any server; to be given to free_target. */
struct target {
  char *url;     /* of the bus or the source, for encke_link_open */
  char *channel; /* "": all of them; of a source what it is called */
  int source;    /* the URL is all of it: ENCKE_LINK_SOURCE */
  char *user, *secret; /* of the URL; NULL: those of the place */
};

/* `text` is a channel of the bus at `place`, or a URL that ends in one. */
struct target find_target(const struct place *place, const char *text);
/* The same; but a URL whose path has no /msgbus/ is a source, and so is ws:// and wss://. */
struct target find_source(const struct place *place, const char *text);
void free_target(struct target *target);

/* A link to the bus of a target, with what `place` says and what `options` holds already; or exit code 1 or 2. */
encke_id open_link(encke *e, const struct place *place, const struct target *target, encke_link_options options);

encke *new_client(void);

/* Gives a message to a link: true; false: it is full, ENCKE_EV_WRITABLE tells when it is not. What is no message is exit code 2. */
int publish(encke_sender *sender, encke_id link, const struct target *target, const char *type, const void *data, size_t len);

#endif
