/*
 * hello_tls.c - the smallest HTTPS server: certificates from files, and new ones by SIGHUP while it serves.
 *
 * encke reads no files and handles no signals: both are the host's. load() reads the files into an encke_tls.
 * On SIGHUP the loop loads them anew and swaps: connections go on with what they have, new handshakes get the
 * new certificate. Files that cannot be used are complained about and change nothing; so it does no harm when
 * the signal comes while only one of two files has been replaced.
 *
 *   ./hello_tls CERTIFICATE KEY [CLIENT-CAS [ADDRESS]]      default 127.0.0.1:8443
 *
 * CERTIFICATE is the chain, the server's own certificate first ("fullchain.pem"), KEY its key, not encrypted
 * ("privkey.pem"). With CLIENT-CAS clients must show a certificate that one of these has issued; "-": none.
 *
 *   curl https://localhost:8443/                            add --cacert for a certificate made at home
 *   curl --cert me.pem --key my-key.pem https://localhost:8443/
 *   kill -HUP $(pidof hello_tls)
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <encke.h>

static const char *chain_file, *key_file, *cas_file; /* cas_file: NULL, clients show no certificate */
static encke *e;
static encke_sender *sender;
static volatile sig_atomic_t stop, reload;
static int drained;

static void complain(const char *what, const char *why) {
  fprintf(stderr, "hello_tls: %s: %s\n", what, why);
}

static void die(const char *what, const char *why) {
  complain(what, why);
  exit(1);
}

/* ---- certificates --------------------------------------------------------------------------------- */

/* All of a file, to be freed; NULL: it has said why. */
static char *read_file(const char *name, size_t *len) {
  FILE *f = fopen(name, "rb");
  char *data = NULL;
  size_t cap = 0, n = 1;
  for (*len = 0; f != NULL && n > 0; *len += n) {
    if (*len == cap) {
      char *grown = realloc(data, cap += 16384);
      if (grown == NULL)
        break;
      data = grown;
    }
    n = fread(data + *len, 1, cap - *len, f);
  }
  if (f == NULL || n > 0 || ferror(f)) {
    complain(name, strerror(errno));
    free(data);
    data = NULL;
  }
  if (f != NULL)
    fclose(f);
  return data;
}

/* Without a key: the CAs of clients. False: it has said why. */
static int add(encke_tls *tls, const char *chain_name, const char *key_name) {
  size_t chain_len, key_len = 0;
  int result = ENCKE_E_SYS;
  char *chain = read_file(chain_name, &chain_len);
  char *key = key_name != NULL ? read_file(key_name, &key_len) : NULL;
  if (chain != NULL && (key_name == NULL || key != NULL)) {
    result = encke_tls_add(tls, chain, chain_len, key, key_len);
    if (result != ENCKE_OK) /* the text says whether chain, key or roots, and what is wrong with it */
      fprintf(stderr, "hello_tls: %s%s%s: %s\n", chain_name, key_name != NULL ? " and " : "",
              key_name != NULL ? key_name : "", encke_last_error());
  }
  free(chain);
  free(key);
  return result == ENCKE_OK;
}

/* What the files have now; NULL: it has said why. */
static encke_tls *load(void) {
  encke_tls *tls = encke_tls_new();
  if (add(tls, chain_file, key_file) && (cas_file == NULL || add(tls, cas_file, NULL)))
    return tls;
  encke_tls_free(tls);
  return NULL;
}

static void load_anew(encke_tls *live) {
  encke_tls *fresh = load();
  if (fresh != NULL && encke_tls_swap(live, fresh) == ENCKE_OK)
    fprintf(stderr, "hello_tls: new certificates are in use\n");
  else
    fprintf(stderr, "hello_tls: the old certificates stay in use\n");
  encke_tls_free(fresh); /* after the swap it is empty */
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void on_request(encke_id id) {
  char tls[64] = "", text[160];
  size_t certificate = 0;
  encke_info(e, id, ENCKE_INFO_TLS, tls, sizeof tls, NULL);
  encke_info(e, id, ENCKE_INFO_CLIENT_CERT, NULL, 0, &certificate); /* the size alone */
  int n = snprintf(text, sizeof text, "Hello, World! %s, %s\n", tls,
                   certificate > 0 ? "and I know you" : "whoever you are");
  encke_reply(sender, id, 200, "text/plain", text, (size_t)n); /* settles, whatever it returns: L1 */
}

static void serve(void) {
  encke_event ev;
  if (encke_run(e, 0) < 0)
    die("encke_run", encke_last_error());
  while (encke_next(e, &ev, sizeof ev) > 0) {
    switch (ev.kind) {
    case ENCKE_EV_REQUEST:
      on_request(ev.id);
      break;
    case ENCKE_EV_LISTENER:
      complain("cannot accept", strerror(ev.code));
      break;
    case ENCKE_EV_DRAINED:
      drained = 1;
      break;
    default:
      break; /* ABORTED has nothing to settle: every request was answered at once */
    }
  }
}

/* ---- the loop ------------------------------------------------------------------------------------- */

static void on_signal(int number) {
  if (number == SIGHUP)
    reload = 1;
  else
    stop = 1;
  encke_wake(sender); /* makes encke_fd readable: poll() returns even if the signal came just before it */
}

static void listen_at(const char *address, encke_tls *tls) {
  encke_id listener;
  char at[128];
  if (encke_new(NULL, &e) != ENCKE_OK)
    die("encke_new", encke_last_error());
  if (encke_listen(e, address, tls, &listener) != ENCKE_OK)
    die("encke_listen", encke_last_error());
  if (encke_info(e, listener, ENCKE_INFO_LOCAL, at, sizeof at, NULL) != ENCKE_OK)
    die("encke_info", encke_last_error());
  sender = encke_get_sender(e);
  printf("listening on https://%s/\n", at);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: hello_tls CERTIFICATE KEY [CLIENT-CAS [ADDRESS]]\n");
    return 2;
  }
  chain_file = argv[1];
  key_file = argv[2];
  cas_file = argc > 3 && strcmp(argv[3], "-") != 0 ? argv[3] : NULL;
  encke_tls *tls = load();
  if (tls == NULL)
    return 1;
  listen_at(argc > 4 ? argv[4] : "127.0.0.1:8443", tls);

  struct sigaction on = {.sa_handler = on_signal};
  sigaction(SIGHUP, &on, NULL);
  sigaction(SIGINT, &on, NULL);
  sigaction(SIGTERM, &on, NULL);

  int draining = 0;
  struct pollfd p = {.fd = encke_fd(e), .events = POLLIN}; /* and your own */
  while (!drained) {
    if (poll(&p, 1, -1) < 0 && errno != EINTR)
      die("poll", strerror(errno));
    serve();
    if (reload) {
      reload = 0; /* before the files are read: what changes later comes with a signal of its own */
      load_anew(tls);
    }
    if (stop && !draining) {
      draining = 1;
      if (encke_drain(e, 5000) != ENCKE_OK)
        die("encke_drain", encke_last_error());
    }
  }
  encke_free(e);
  encke_tls_free(tls);
  return 0;
}
