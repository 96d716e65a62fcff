/*
 * encke-bus.c - the message bus as a daemon: channels below /msgbus/, the files of a directory below /.
 *
 * The library answers both (encke_mount). What is left is a host's: options, certificates, signals, the user it runs as,
 * a page of counters, and with -v what happens. Only then do requests for the bus come as events, to be looked at and
 * passed on; without -v they never leave the library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bus_options.h"
#include "bus_stats.h"

#define GRACE_MS 5000    /* for what is under way when it is told to end */
#define FDS_OF_OURS 64   /* that are no connections */

static encke *e;
static encke_sender *sender;
static encke_id bus, documents; /* 0: none */
static struct bus_options chosen;
static int drained;
static uint64_t started;

/* ---- certificates --------------------------------------------------------------------------------------------------- */

/* What the files have now; NULL: it has said why. */
static encke_tls *load(void) {
  size_t chain_len = 0, key_len = 0;
  const char *key_name = chosen.key_file != NULL ? chosen.key_file : chosen.certificate_file;
  char *chain = read_file(chosen.certificate_file, &chain_len);
  if (chain == NULL)
    complain("%s: %s", chosen.certificate_file, strerror(errno));
  char *key = chain != NULL ? read_file(key_name, &key_len) : NULL;
  if (chain != NULL && key == NULL)
    complain("%s: %s", key_name, strerror(errno));
  encke_tls *tls = NULL;
  if (key != NULL) {
    tls = encke_tls_new();
    if (encke_tls_add(tls, chain, chain_len, key, key_len) != ENCKE_OK) {
      complain("%s: %s", chosen.certificate_file, encke_last_error());
      encke_tls_free(tls);
      tls = NULL;
    }
  }
  free(chain);
  free(key);
  return tls;
}

static void load_anew(encke_tls *live) {
  if (live == NULL) {
    complain("SIGHUP: there is no certificate to read anew");
    return;
  }
  encke_tls *fresh = load();
  if (fresh != NULL && encke_tls_swap(live, fresh) == ENCKE_OK)
    complain("new certificates are in use");
  else
    complain("the old certificates stay in use");
  encke_tls_free(fresh); /* after the swap it is empty */
}

/* ---- who asks ------------------------------------------------------------------------------------------------------- */

/* The text of HTTP Basic authentication, "user:secret"; "" where there is none (RFC 7617; RFC 4648, 4). */
static void credentials(const encke_head *head, char *out, size_t cap) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  encke_str value = encke_head_get(head, "authorization");
  size_t n = 0, at = 6;
  uint32_t bits = 0;
  out[0] = '\0';
  if (value.p == NULL || value.n < at || strncasecmp(value.p, "basic ", at) != 0)
    return;
  while (at < value.n && value.p[at] == ' ')
    at++;
  for (size_t i = at; i < value.n && value.p[i] != '='; i++) {
    const char *digit = memchr(alphabet, value.p[i], 64);
    if (digit == NULL || n + 1 >= cap) {
      out[0] = '\0';
      return;
    }
    bits = (bits << 6 | (uint32_t)(digit - alphabet)) & 0xffffff;
    if ((i - at) % 4 != 0)
      out[n++] = (char)(bits >> (6 - 2 * ((i - at) % 4)) & 0xff);
  }
  out[n] = '\0';
}

/* The mounts see to this themselves; this is for the answers of ours. In constant time. */
static int is_admitted(const encke_head *head) {
  char given[1024];
  if (chosen.secret == NULL)
    return 1;
  credentials(head, given, sizeof given);
  const char *password = strchr(given, ':');
  if (password == NULL)
    return 0;
  size_t n = strlen(++password), m = strlen(chosen.secret);
  unsigned char differs = n != m;
  for (size_t i = 0; i < n; i++)
    differs |= (unsigned char)(password[i] ^ chosen.secret[m > 0 ? i % m : 0]);
  return !differs;
}

/* ---- requests ------------------------------------------------------------------------------------------------------- */

/* With -v: what a request was, until its last event. */
struct asked {
  char what; /* 'B': bus, 'P': a message, 'D': a document */
  char peer[64], user[64], type[80], path[];
};

static void remember(encke_id id, const encke_head *head, char what) {
  char text[1024];
  struct asked *asked = allocate(NULL, sizeof *asked + head->path.n + 1);
  encke_str type = encke_head_get(head, "content-type");
  credentials(head, text, sizeof text);
  text[strcspn(text, ":")] = '\0';
  asked->what = what;
  snprintf(asked->peer, sizeof asked->peer, "%s", head->peer.p);
  snprintf(asked->user, sizeof asked->user, "%.63s", text[0] != '\0' ? text : "-");
  snprintf(asked->type, sizeof asked->type, "%s", type.p != NULL ? type.p : "-");
  memcpy(asked->path, head->path.p, head->path.n);
  asked->path[head->path.n] = '\0';
  if (encke_set_user(sender, id, (uint64_t)(uintptr_t)asked) != ENCKE_OK)
    free(asked);
}

static int is(encke_str s, const char *text) {
  return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void pass(encke_id id, encke_id mount) {
  if (encke_pass(sender, id, mount) != ENCKE_OK)
    encke_abort(sender, id);
}

static void on_request(encke_id id, const encke_head *head) {
  static const encke_field html = {ENCKE_STR("content-type"), ENCKE_STR("text/html")};
  int for_bus = head->path.n >= strlen(BUS) && memcmp(head->path.p, BUS, strlen(BUS)) == 0;
  if (for_bus && chosen.verbose) {
    remember(id, head, is(head->method, "POST") ? 'P' : 'B');
    pass(id, bus);
  } else if (!is_admitted(head)) {
    const encke_field fields[] = {html, {ENCKE_STR("www-authenticate"), ENCKE_STR("Basic realm=\"msgbus\"")}};
    reply_with(sender, id, 401, fields, 2, "<h1>Unauthorized</h1>", 21);
  } else if (chosen.stats_path != NULL && is(head->path, chosen.stats_path) && (is(head->method, "GET") || is(head->method, "HEAD"))) {
    tell_stats(sender, id, head, started);
  } else if (documents != 0) {
    if (chosen.verbose > 1)
      remember(id, head, 'D');
    pass(id, documents);
  } else {
    reply_with(sender, id, 404, &html, 1, "<h1>Not Found</h1>", 18);
  }
}

/* What cannot be shown as it is, in lines that others read. */
static const char *printable(char *text) {
  for (char *at = text; *at != '\0'; at++)
    if ((unsigned char)*at < ' ' || *at == 0x7f)
      *at = '?';
  return text;
}

static void on_subscriber(const encke_event *ev) {
  struct asked *asked = (struct asked *)(uintptr_t)ev->user;
  if (asked != NULL)
    printf("%s %s %s %s\n", ev->code ? "SUB" : "UNSUB", asked->peer, printable(asked->user),
           ev->channel.n > 0 ? ev->channel.p : "*");
}

/* A message that was taken is answered without a body, one that was refused has a page. */
static void on_done(const encke_event *ev) {
  struct asked *asked = (struct asked *)(uintptr_t)ev->user;
  if (asked == NULL)
    return;
  if (asked->what == 'D')
    printf("DOC %s %s %llu bytes\n", asked->peer, asked->path, (unsigned long long)ev->len);
  else if (asked->what == 'P' && chosen.verbose > 2 && ev->code == ENCKE_END_OK && ev->len == 0)
    printf("PUB %s %s %s %s\n", asked->peer, printable(asked->user), asked->path + strlen(BUS), printable(asked->type));
  free(asked);
}

/* What a WebSocket has said: published already. */
static void on_message(const encke_event *ev) {
  struct asked *asked = (struct asked *)(uintptr_t)ev->user;
  if (asked != NULL)
    printf("PUB %s %s %s WebSocket\n", asked->peer, printable(asked->user), asked->path + strlen(BUS));
}

static void on_event(const encke_event *ev) {
  switch (ev->kind) {
  case ENCKE_EV_REQUEST:
    on_request(ev->id, ev->head);
    break;
  case ENCKE_EV_ABORTED:
    encke_abort(sender, ev->id);
    break;
  case ENCKE_EV_SUBSCRIBER:
    on_subscriber(ev);
    break;
  case ENCKE_EV_MESSAGE:
    on_message(ev);
    break;
  case ENCKE_EV_DONE:
    on_done(ev);
    break;
  case ENCKE_EV_CLOSED: /* instead of DONE where a WebSocket came of it */
    free((struct asked *)(uintptr_t)ev->user);
    break;
  case ENCKE_EV_LISTENER:
    complain("cannot accept: %s", strerror(ev->code));
    break;
  case ENCKE_EV_DRAINED:
    drained = 1;
    break;
  default:
    break;
  }
}

/* ---- the beginning and the end -------------------------------------------------------------------------------------- */

static void listen_at(const struct listener *listener, encke_tls *tls) {
  encke_id id;
  char at[512];
  encke_tls *with = listener->tls ? tls : NULL;
  int result = listener->address != NULL ? encke_listen(e, listener->address, with, &id)
                                         : encke_adopt(e, listener->fd, with, &id);
  if (result == ENCKE_E_INVAL)
    die_usage("%s: %s", listener->address != NULL ? listener->address : "socket activation", encke_last_error());
  if (result != ENCKE_OK && listener->address == NULL)
    die("socket activation: fd %d: %s", (int)listener->fd, why(result));
  if (result != ENCKE_OK)
    die("cannot listen on %s: %s", listener->address, why(result));
  if (encke_info(e, id, ENCKE_INFO_LOCAL, at, sizeof at, NULL) != ENCKE_OK)
    die("%s", encke_last_error());
  if (strncmp(at, "unix:", 5) == 0)
    printf("listening on %s:" BUS "\n", at);
  else
    printf("listening on %s://%s" BUS "\n", listener->tls ? "https" : "http", at);
}

static void make_encke(void) {
  encke_config *config = encke_config_new();
  uint64_t fds = raise_fds(), most = fds > 2 * FDS_OF_OURS ? fds - FDS_OF_OURS : FDS_OF_OURS;
  uint64_t events = chosen.verbose ? ENCKE_WANT(ENCKE_EV_SUBSCRIBER) | ENCKE_WANT(ENCKE_EV_DONE) : 0;
  if (chosen.verbose > 2)
    events |= ENCKE_WANT(ENCKE_EV_MESSAGE);
  if (encke_config_set(config, ENCKE_OPT_MAX_CONNECTIONS, most) != ENCKE_OK ||
      encke_config_set(config, ENCKE_OPT_UNIX_MODE, chosen.unix_mode) != ENCKE_OK || encke_config_set(config, ENCKE_OPT_EVENTS, events) != ENCKE_OK)
    die("%s", encke_last_error());
  int result = encke_new(config, &e);
  if (result != ENCKE_OK)
    die("%s", why(result));
  encke_config_free(config);
  sender = encke_get_sender(e);
  for (size_t i = 0; i < chosen.choice_count; i++)
    if (encke_channel_set(sender, "*", chosen.choices[i].option, chosen.choices[i].value) != ENCKE_OK)
      die_usage("%s", encke_last_error());
}

static encke_id mount(int kind, const char *prefix, uint32_t flags) {
  encke_id id;
  encke_mount_options options = {.flags = flags, .realm = ENCKE_STR("msgbus")};
  options.secret.p = chosen.secret;
  options.secret.n = chosen.secret != NULL ? strlen(chosen.secret) : 0;
  if (kind == ENCKE_MOUNT_FILES) {
    options.directory.p = chosen.directory;
    options.directory.n = strlen(chosen.directory);
  }
  int result = encke_mount(e, kind, prefix, &options, sizeof options, &id);
  if (result != ENCKE_OK)
    die("%s: %s", kind == ENCKE_MOUNT_FILES ? chosen.directory : prefix, why(result));
  return id;
}

static void serve(encke_tls *tls) {
  for (int draining = 0; !drained && stop_signals < 2;) {
    encke_event ev;
    if (encke_wait(e, -1) < 0)
      die("%s", encke_last_error());
    while (encke_next(e, &ev, sizeof ev) > 0)
      on_event(&ev);
    if (hangup_signals) {
      hangup_signals = 0; /* before the files are read: what changes later comes with a signal of its own */
      load_anew(tls);
    }
    if (stop_signals > 0 && !draining) {
      draining = 1;
      if (encke_drain(e, GRACE_MS) != ENCKE_OK)
        die("%s", encke_last_error());
    }
  }
}

int main(int argc, char **argv) {
  encke_tls *tls = NULL;
  program = "encke-bus";
  started = now_ns();
  setvbuf(stdout, NULL, _IOLBF, 0);
  read_options(&chosen, argc, argv);
  if (!encke_has_feature("mounts"))
    die("this build of the library has no mounts");
  if (chosen.certificate_file != NULL && (tls = load()) == NULL)
    return EXIT_FAILURE;
  make_encke();
  bus = mount(ENCKE_MOUNT_BUS, BUS, (chosen.cors ? ENCKE_MOUNT_CORS : 0) | (chosen.verbose ? ENCKE_MOUNT_PASS : 0));
  if (chosen.directory != NULL)
    documents = mount(ENCKE_MOUNT_FILES, "/", ENCKE_MOUNT_PASS);
  for (size_t i = 0; i < chosen.listener_count; i++)
    listen_at(&chosen.listeners[i], tls);
  if (chosen.has_account)
    become(chosen.account);
  signal(SIGPIPE, SIG_IGN); /* for stdout; the library needs nothing of the kind */
  catch_signals(sender, 1);
  puts("ready");
  serve(tls);
  encke_free(e);
  encke_tls_free(tls);
  for (size_t i = 0; i < chosen.listener_count; i++)
    free(chosen.listeners[i].address);
  free(chosen.account.name);
  free(chosen.secret);
  return drained ? EXIT_SUCCESS : EXIT_FAILURE;
}
