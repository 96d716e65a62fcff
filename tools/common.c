/* common.c - see common.h. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

const char *program = "encke";

/* ---- complaints ----------------------------------------------------------------------------------------------------- */

static void say(const char *text, va_list values) {
  fflush(stdout);
  fprintf(stderr, "%s: ", program);
  vfprintf(stderr, text, values);
  fputc('\n', stderr);
}

void complain(const char *text, ...) {
  va_list values;
  va_start(values, text);
  say(text, values);
  va_end(values);
}

void die(const char *text, ...) {
  va_list values;
  va_start(values, text);
  say(text, values);
  va_end(values);
  exit(EXIT_FAILURE);
}

void die_usage(const char *text, ...) {
  va_list values;
  va_start(values, text);
  say(text, values);
  va_end(values);
  fprintf(stderr, "Try '%s --help'.\n", program);
  exit(EXIT_USAGE);
}

const char *why(int result) {
  return result == ENCKE_E_SYS && encke_last_errno() != 0 ? strerror(encke_last_errno()) : encke_last_error();
}

void *allocate(void *old, size_t n) {
  void *memory = realloc(old, n > 0 ? n : 1);
  if (memory == NULL)
    die("no memory");
  return memory;
}

char *copy_text(const char *text) {
  size_t n = strlen(text) + 1;
  return memcpy(allocate(NULL, n), text, n);
}

void print_version(void) {
  printf("%s (encke) %s\n", program, encke_version());
  exit(EXIT_SUCCESS);
}

/* ---- the command line ----------------------------------------------------------------------------------------------- */

uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most) {
  char *end;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n < least || n > most)
    die_usage("%s: \"%s\" is no number from %llu to %llu", option, text, (unsigned long long)least,
              (unsigned long long)most);
  return n;
}

uint64_t seconds(const char *option, const char *text) {
  char *end;
  double n = strtod(text, &end);
  if (((text[0] < '0' || text[0] > '9') && text[0] != '.') || *end != '\0' || !(n >= 0 && n <= 1e9))
    die_usage("%s: \"%s\" is no number of seconds", option, text);
  return (uint64_t)(n * 1000);
}

char *read_file(const char *name, size_t *len) {
  FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
  if (f == NULL)
    return NULL;
  size_t cap = 0, n = 1;
  char *data = NULL;
  for (*len = 0; n > 0; *len += n) {
    if (*len + 1 >= cap)
      data = allocate(data, cap = cap * 2 + 16384);
    n = fread(data + *len, 1, cap - *len - 1, f);
  }
  data[*len] = '\0';
  int failed = ferror(f), error = errno;
  if (f != stdin)
    fclose(f);
  if (!failed)
    return data;
  free(data);
  errno = error;
  return NULL;
}

uint64_t raise_fds(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    die("RLIMIT_NOFILE: %s", strerror(errno));
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > 1000000 ? 1000000 : limit.rlim_cur;
}

void put_base64(FILE *out, const void *data, size_t n) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *p = data;
  for (size_t i = 0; i < n; i += 3) {
    uint32_t bits = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0u) | (i + 2 < n ? p[i + 2] : 0u);
    putc(alphabet[bits >> 18], out);
    putc(alphabet[bits >> 12 & 63], out);
    putc(i + 1 < n ? alphabet[bits >> 6 & 63] : '=', out);
    putc(i + 2 < n ? alphabet[bits & 63] : '=', out);
  }
}

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- signals -------------------------------------------------------------------------------------------------------- */

volatile sig_atomic_t stop_signals, hangup_signals;
static encke_sender *woken;

static void on_signal(int which) {
  if (which == SIGHUP)
    hangup_signals = 1;
  else
    stop_signals = stop_signals + 1;
  if (woken != NULL)
    encke_wake(woken); /* keeps errno */
}

void catch_signals(encke_sender *wake, int with_hangup) {
  woken = wake;
  struct sigaction on = {.sa_handler = on_signal};
  sigaction(SIGINT, &on, NULL);
  sigaction(SIGTERM, &on, NULL);
  if (with_hangup)
    sigaction(SIGHUP, &on, NULL);
}

/* ---- where a bus is ------------------------------------------------------------------------------------------------- */

int place_option(struct place *place, int letter, const char *value) {
  char *colon;
  switch (letter) {
  case 'l':
    place->address = value;
    return 1;
  case 'p':
    number("--port", value, 1, 65535);
    place->port = value;
    return 1;
  case 's':
    place->tls = 1;
    return 1;
  case 'C':
    free(place->ca_pem);
    place->ca_pem = read_file(value, &place->ca_len);
    if (place->ca_pem == NULL)
      die("%s: %s", value, strerror(errno));
    if (place->ca_len == 0)
      die("%s: empty", value);
    return 1;
  case 'u':
    free(place->user);
    place->user = copy_text(value);
    colon = strchr(place->user, ':');
    place->secret = colon != NULL ? colon + 1 : getenv("ENCKE_SECRET");
    if (colon != NULL)
      *colon = '\0';
    return 1;
  default:
    return 0;
  }
}

static char *join(const char *a, const char *b, const char *c, const char *d, const char *e) {
  size_t n = strlen(a) + strlen(b) + strlen(c) + strlen(d) + strlen(e) + 1;
  char *text = allocate(NULL, n);
  snprintf(text, n, "%s%s%s%s%s", a, b, c, d, e);
  return text;
}

static char *url_of(const struct place *place) {
  const char *address = place->address != NULL ? place->address : "127.0.0.1";
  if (strncmp(address, "unix:", 5) == 0) {
    if (place->tls)
      die_usage("--tls: not over a UNIX socket");
    return join(address, ":/msgbus/", "", "", "");
  }
  const char *port = place->port != NULL ? place->port : place->tls ? "4444" : "8888";
  int bare6 = strchr(address, ':') != NULL && address[0] != '[';
  char *host = join(bare6 ? "[" : "", address, bare6 ? "]" : "", "", "");
  char *url = join(place->tls ? "https://" : "http://", host, ":", port, "/msgbus/");
  free(host);
  return url;
}

static int is_url(const char *text) {
  return strstr(text, "://") != NULL || strncmp(text, "unix:", 5) == 0;
}

/* Where the path of a URL begins; NULL: it has none. The last one of unix:/SOCKET:/PATH. */
static char *path_of(char *url) {
  char *path = NULL;
  if (strncmp(url, "unix:", 5) != 0)
    return strchr(strstr(url, "://") + 3, '/');
  for (char *at = url + 5; (at = strstr(at, ":/")) != NULL; at += 2)
    path = at + 1;
  return path;
}

static int hex(char c) {
  const char *digits = "0123456789abcdef", *at = c != '\0' ? strchr(digits, c | 0x20) : NULL;
  return at != NULL && (c <= '9' || c >= 'A') ? (int)(at - digits) : -1;
}

/* A user or a secret as it stands in a URL, decoded (RFC 3986, 2.1). */
static char *decoded(const char *text, size_t n) {
  char *out = allocate(NULL, n + 1), *end = out;
  for (size_t i = 0; i < n; i++) {
    int high = i + 2 < n && text[i] == '%' ? hex(text[i + 1]) : -1, low = high >= 0 ? hex(text[i + 2]) : -1;
    *end++ = low >= 0 ? (char)(high << 4 | low) : text[i];
    i += low >= 0 ? 2 : 0;
  }
  *end = '\0';
  return out;
}

/* USER:SECRET@ is taken out of the URL: nobody is shown it. */
static void take_user(struct target *target) {
  char *host = strncmp(target->url, "unix:", 5) != 0 ? strstr(target->url, "://") + 3 : NULL;
  char *at = host != NULL ? memchr(host, '@', strcspn(host, "/?#")) : NULL;
  if (at == NULL)
    return;
  char *colon = memchr(host, ':', (size_t)(at - host));
  target->user = decoded(host, (size_t)((colon != NULL ? colon : at) - host));
  target->secret = colon != NULL ? decoded(colon + 1, (size_t)(at - colon - 1)) : NULL;
  memmove(host, at + 1, strlen(at + 1) + 1);
}

struct target find_target(const struct place *place, const char *text) {
  struct target target = {0};
  if (!is_url(text)) {
    target.url = url_of(place);
    target.channel = copy_text(strcmp(text, "*") == 0 ? "" : text);
    return target;
  }
  target.url = copy_text(text);
  take_user(&target);
  char *path = path_of(target.url);
  if (path == NULL) { /* the library knows what stands there usually */
    target.channel = copy_text("");
  } else if (strpbrk(path, "?#") != NULL) {
    die_usage("%s: nothing may stand behind the channel: give types and senders as options", target.url);
  } else {
    char *msgbus = strstr(path, "/msgbus/"), *second = strchr(path + 1, '/');
    char *channel = msgbus != NULL ? msgbus + 8 : second != NULL ? second + 1 : path + 1;
    target.channel = copy_text(channel);
    *channel = '\0';
  }
  return target;
}

/* A name that a channel may have: the path without its first '/'. */
static char *label_of(const char *path) {
  size_t n = path != NULL ? strcspn(path + 1, "?#") : 0;
  char *label = copy_text("");
  if (n > 0 && n <= 255 && path[n] != '*') {
    label = allocate(label, n + 1);
    memcpy(label, path + 1, n);
    label[n] = '\0';
  }
  return label;
}

struct target find_source(const struct place *place, const char *text) {
  int websocket = strncmp(text, "ws://", 5) == 0 || strncmp(text, "wss://", 6) == 0;
  size_t before_query = strcspn(text, "?#");
  const char *msgbus = strstr(text, "/msgbus/");
  struct target target = {0};
  if (!websocket && (!is_url(text) || (msgbus != NULL && (size_t)(msgbus - text) < before_query)))
    return find_target(place, text);
  target.url = copy_text(text);
  take_user(&target);
  char *path = path_of(target.url);
  if (!websocket && path == NULL && strchr(target.url, '?') == NULL) { /* a bus where one is usually */
    target.channel = copy_text("");
    return target;
  }
  target.source = 1;
  target.channel = label_of(path);
  return target;
}

void free_target(struct target *target) {
  free(target->url);
  free(target->channel);
  free(target->user);
  free(target->secret);
}

encke *new_client(void) {
  encke *e;
  int result = encke_new(NULL, &e);
  if (result != ENCKE_OK)
    die("%s", why(result));
  return e;
}

static encke_str text_of(const char *text) {
  encke_str s = {text, text != NULL ? strlen(text) : 0};
  return s;
}

encke_id open_link(encke *e, const struct place *place, const struct target *target, encke_link_options options) {
  encke_id link;
  options.user = text_of(target->user != NULL ? target->user : place->user);
  options.password = text_of(target->user != NULL ? target->secret : place->secret);
  options.flags |= target->source ? ENCKE_LINK_SOURCE : 0;
  options.ca_pem.p = place->ca_pem;
  options.ca_pem.n = place->ca_len;
  int result = encke_link_open(e, target->url, &options, sizeof options, &link);
  if (result == ENCKE_E_INVAL)
    die_usage("%s", encke_last_error());
  if (result != ENCKE_OK)
    die("%s: %s", target->url, why(result));
  return link;
}

int publish(encke_sender *sender, encke_id link, const struct target *target, const char *type, const void *data, size_t len) {
  encke_message message = {.type = text_of(type), .data = data, .len = len};
  int result = encke_publish(sender, link, target->channel, &message, sizeof message);
  if (result == ENCKE_E_INVAL)
    die_usage("%s", encke_last_error());
  if (result != ENCKE_OK && result != ENCKE_E_AGAIN)
    die("%s", why(result));
  return result == ENCKE_OK;
}
