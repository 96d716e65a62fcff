/*
 * encke.h - HTTP and server push for C programs that already have an event loop.
 *
 * Generated from the doc comments in src/capi/ and from cbindgen.toml: change those, then `make header`.
 *
 * Four properties carry the API:
 *   1. One fd tells the truth: encke_fd is readable whenever encke_run or encke_next would do or return something.
 *      Level-triggered.
 *   2. No callbacks: not one function pointer. The host pulls; the host decides when its code runs.
 *   3. The type says the thread: takes `encke *` -> loop thread only. Takes `encke_sender *` -> any thread, never blocks.
 *   4. Ids are leases, not pointers: a request is settled exactly once; anything late gets ENCKE_E_GONE, never undefined
 *      behaviour.
 *
 * THE LOOP (correct in every host; level-triggered hosts may leave it anywhere, edge-triggered and multishot hosts must
 * finish it):
 *     for (;;) {
 *       int more = encke_run(e, 0), got = 0;
 *       if (more < 0) die();
 *       while (encke_next(e, &ev, sizeof ev) > 0) { got = 1; handle(&ev); }
 *       if (!more && !got) break;
 *     }
 *
 * RULES. Threads
 *   T1  encke_config and encke_tls: one thread at a time, except encke_tls_swap: any thread, at any time. encke_strerror,
 *       encke_last_error, encke_last_errno, encke_head_get, encke_param and the version: any thread. Loop-thread calls made
 *       elsewhere return ENCKE_E_THREAD and do nothing.
 *   T2  encke_move_here and encke_free may be called from any thread, but only while no other thread is inside a call that
 *       takes this encke; the host orders the two threads (join, mutex). Ids, heads, senders and the fd stay valid across
 *       encke_move_here. A thread that may be inside a sender call meanwhile holds a reference (encke_sender_ref), the loop
 *       thread of before included: a borrowed sender is for the loop thread alone.
 *   T3  A sender call never waits for the loop, a socket or a file. Calls of one thread on one id take effect in the order
 *       made. "OK" means accepted, not sent: what became of it is told by ENCKE_EV_DONE.
 *   T4  encke_wake is async-signal-safe (and keeps errno); nothing else is. encke_wait returns early on a signal or a wake.
 * RULES. Leases
 *   L1  Settling calls: encke_reply, encke_respond, encke_end, encke_abort, encke_subscribe, encke_pass, encke_ws_accept. OK,
 *       GONE and CLOSED settle. Any other result leaves the request yours, but for encke_reply, which settles whatever it
 *       returns: where it cannot send what you gave it sends 500 (INVAL) or acts as encke_abort (NOMEM; STATE after begin). No
 *       settling call returns AGAIN. encke_abort needs no memory and so always settles. begin, write and inform never settle:
 *       after their GONE you still owe.
 *   L2  After a settle was accepted every further call with that id returns GONE, at once and for ever. Of two threads that
 *       settle at the same time exactly one wins. STATE is only for: begin twice, write or end before begin, reply or
 *       respond after begin, pass after begin or BODY.
 *   L3  A head is constant and readable from any thread from REQUEST until its settle; the loop thread may read it until
 *       both the settle and its own next encke_next or encke_run. Nobody else's settle, no peer and no encke_free ends it:
 *       after encke_free an unsettled head lives until it is settled through a sender (returns CLOSED), or until the last
 *       sender reference is dropped.
 *   L4  ev.data: until the next encke_next or encke_run. What you pass in is copied before return, except a body with
 *       ENCKE_BORROW and a file with ENCKE_FILE; those two are taken on OK only, on every other result they are still yours.
 *   L5  Events of one request come in this order: REQUEST, any of (BODY, WRITABLE, HALF_CLOSED, RELEASED), at most one
 *       ABORTED, DONE. DONE comes exactly once for every REQUEST, after its settle, in every case but encke_free (where
 *       ENCKE_OPT_EVENTS asks for it). No event carries the id after it: free what ev.user points to there and nowhere else
 *       (a worker that settles may otherwise race with an ABORTED under way). After encke_subscribe come SUBSCRIBER and DONE,
 *       and of a subscribed WebSocket what follows: after encke_ws_accept any of (MESSAGE, WRITABLE, SUBSCRIBER), and CLOSED
 *       instead of DONE, always.
 *   L6  ABORTED and a settle from another thread may cross: expect an ABORTED for an id you have just settled; ignoring it
 *       is right.
 *   L7  Ids are never reused and differ between all enckes of a process: a foreign id gets GONE. They are guessable: show
 *       encke_token.
 *   L8  encke_free aborts what is open, releases every borrowed buffer and file before it returns, and gives no more events.
 * RULES. Flow
 *   F1  encke_run > 0: calling it again now, before encke_next, would do more. It is 0 once the event queue is full, so
 *       `while (encke_run(e, 0) > 0);` ends. Connections are served in turn; what one run leaves is first in the next.
 *   F2  Answers given on the loop thread are collected and written when encke_next returns 0, or at the latest by the next
 *       encke_run; until then encke_fd is readable. Leaving the drain early costs latency, never an answer.
 *   F3  encke_write and encke_ws_send return AGAIN while HIGH_WATER or more bytes of that id are queued, otherwise they take
 *       all of it, however long. After one or more AGAINs exactly one WRITABLE or ABORTED (of a WebSocket: CLOSED) follows
 *       unless you settle first, and it is made after the first AGAIN: a worker that calls encke_write under the mutex of its
 *       condition variable cannot miss it. encke_write with len 0 writes nothing and asks, also before begin: OK (the peer is
 *       there), AGAIN (counts as one), GONE (left, or settled).
 *   F4  Not calling encke_next is no back-pressure (encke_fd stays readable). Lower ENCKE_OPT_MAX_HELD instead: 0 = no new
 *       requests; answers, streams and aborts go on, and encke_fd is quiet.
 *   F5  At most BODY_WINDOW bytes of a large body are with the host un-acked. Acks may come from any thread. BODY_TIMEOUT
 *       runs only while the library waits for the peer, never while it waits for an ack.
 *   F6  Answering does not need the whole body: begin and write may run while BODY events come. A settle ends the BODY
 *       events: a short rest is read and dropped, otherwise the connection closes after the answer.
 *   F7  Answers of one connection go out in the order of its requests: writes behind an unanswered request wait (AGAIN).
 *   F8  FIN: TCP cannot tell "left" from "sends no more and waits". Held requests get HALF_CLOSED and are still answered; the
 *       host that takes it for leaving calls encke_abort. A reset, a failed write or a time-out gives ABORTED. The FIN of a
 *       subscriber or a WebSocket ends it.
 * RULES. Structs
 *   S1  encke_str, encke_field, encke_watch, encke_head are frozen. The others grow at the end; pass sizeof. Out: the library
 *       fills the smaller of both sizes and zeroes your rest. In: fields it does not know must be 0, else NOTSUP. Zero every
 *       in-struct first.
 */
#ifndef ENCKE_H
#define ENCKE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Define ENCKE_STATIC where the static library is linked (pkg-config encke-static and CMake's encke::static do). */
#ifndef ENCKE_API
#if defined(_WIN32) && !defined(ENCKE_STATIC)
#define ENCKE_API __declspec(dllimport)
#else
#define ENCKE_API
#endif
#endif

/* A socket; for ENCKE_FILE a file. */
#ifdef _WIN32
typedef uintptr_t encke_fd_t;
#else
typedef int encke_fd_t;
#endif
#define ENCKE_NO_FD ((encke_fd_t)-1)

/* A length that nobody knows yet. */
#define ENCKE_UNKNOWN ((uint64_t)-1)

/* The bit of an event kind, for ENCKE_OPT_EVENTS. */
#define ENCKE_WANT(kind) ((uint64_t)1 << (kind))

/* Initialiser of an encke_str: encke_field f = { ENCKE_STR("etag"), ENCKE_STR("\"1\"") }; */
#define ENCKE_STR(literal) { (literal), sizeof(literal) - 1 }

#define ENCKE_VERSION_NUM ((ENCKE_VERSION_MAJOR << 16) | (ENCKE_VERSION_MINOR << 8) | ENCKE_VERSION_PATCH)

/* ---- handles ----------------------------------------------------------------------------------------------------- */

/** The any-thread half of an encke; outlives it. See encke_get_sender. */
typedef struct encke_sender encke_sender;

/** Settings; copied at encke_new, so one may serve many enckes. One thread at a time. */
typedef struct encke_config encke_config;

/** One loop's worth of listeners and connections: LOOP THREAD ONLY. */
typedef struct encke encke;

/** Certificates; shared by listeners, swapped while they serve. */
typedef struct encke_tls encke_tls;

/* ---- 1. version -------------------------------------------------------------------------------------------------- */

#define ENCKE_VERSION_MAJOR 0  /**< The number before the first dot. */
#define ENCKE_VERSION_MINOR 1  /**< The number between the dots. */
#define ENCKE_VERSION_PATCH 0  /**< The number behind the last dot. */

/**
 * The version of the library the program runs on, as ENCKE_VERSION_NUM has it for the header it was compiled with.
 * Any thread. Never fails. Since 0.1.
 */
ENCKE_API uint32_t encke_version_num(void);

/** The same as text, "0.1.0"; static. Any thread. Never fails. Since 0.1. */
ENCKE_API const char *encke_version(void);

/**
 * Whether this build has a feature: 1 or 0. "one-fd": ENCKE_WATCH_ONE works on this system; "sendfile": ENCKE_FILE moves
 * in the kernel; "tls": encke_tls_add and encke_listen with certificates work; "mounts": encke_mount works; "links":
 * encke_link_open works; "push": encke_subscribe and encke_publish do; "websocket": encke_ws_accept does. Names that are
 * not known, and NULL, are 0. Any thread. Since 0.1.
 */
ENCKE_API int encke_has_feature(const char *name);

/* ---- 2. results -------------------------------------------------------------------------------------------------- */

#define ENCKE_OK           0  /**< Done. */
#define ENCKE_E_INVAL   (-1)  /**< Bad argument: NULL, a malformed field, CR or LF in a value, a field that is the
                                   library's. Nothing happened. */
#define ENCKE_E_STATE   (-2)  /**< A held request, but the wrong moment: see L2; or not possible in this mode. */
#define ENCKE_E_GONE    (-3)  /**< That id is over or not of this encke: the normal answer to a late call. */
#define ENCKE_E_AGAIN   (-4)  /**< ENCKE_OPT_HIGH_WATER is reached, nothing was taken; wait for ENCKE_EV_WRITABLE. */
#define ENCKE_E_CLOSED  (-5)  /**< The encke behind this sender was freed. */
#define ENCKE_E_NOMEM   (-6)  /**< No memory for a copy of what was passed in. */
#define ENCKE_E_SYS     (-7)  /**< A system call failed: encke_last_errno() says how, encke_last_error() which. */
#define ENCKE_E_TLS     (-8)  /**< Certificate or key not usable: encke_last_error() says which and why. */
#define ENCKE_E_NOTSUP  (-9)  /**< Not in this build, or an option or field newer than this library. */
#define ENCKE_E_RANGE  (-10)  /**< Your buffer is too small; the size needed was stored. */
#define ENCKE_E_THREAD (-11)  /**< A loop-thread call made from another thread. */
#define ENCKE_E_FORKED (-12)  /**< Belongs to the parent process; only encke_free and encke_sender_unref work here. */
#define ENCKE_E_PANIC  (-13)  /**< A bug in the library; this encke answers only this from now on and its fd stays
                                   readable: free it. */

/** What a code means, as static text, for unknown codes too. Any thread. Never fails. Since 0.1. */
ENCKE_API const char *encke_strerror(int code);

/**
 * The detail of this thread's last failing call, such as "field 3: name contains a space"; "" before the first one. The
 * text lives until this thread's next failing call. Any thread. Never fails. Since 0.1.
 */
ENCKE_API const char *encke_last_error(void);

/**
 * errno behind this thread's last failing call, if that was ENCKE_E_SYS, else 0. Any thread. Never fails. Since 0.1.
 */
ENCKE_API int encke_last_errno(void);

/* ---- 3. plain types ---------------------------------------------------------------------------------------------- */

/**
 * Names a listener, a connection, a request, a link or its subscription. 0 is none. Ids are never reused and differ between all
 * enckes of a process (L7).
 */
typedef uint64_t encke_id;

/** Bytes with their length; also NUL-terminated when the library hands them out. {NULL, 0} is empty. Frozen. */
typedef struct encke_str {
  const char *p;
  size_t n;
} encke_str;

/** One field. Names are in lower case on delivery; values are bytes without CR, LF and NUL. Frozen. */
typedef struct encke_field {
  encke_str name;
  encke_str value;
} encke_field;

#define ENCKE_HEAD_TLS           1u  /**< The request came over TLS. */
#define ENCKE_HEAD_BODY_FOLLOWS  2u  /**< The body comes in ENCKE_EV_BODY events. */
#define ENCKE_HEAD_EXPECT        4u  /**< The client waits for 100-continue, which is not sent yet. */
#define ENCKE_HEAD_UPGRADE       8u  /**< A well-formed Upgrade, or CONNECT: encke_begin may open a tunnel. */
#define ENCKE_HEAD_WEBSOCKET    16u  /**< A well-formed WebSocket handshake (RFC 6455, 4.2.1). */

/**
 * The head of a request. Constant; for how long, see L3. Plain data: a unit test may fill one itself. Frozen: new facts
 * come through encke_info and flags.
 */
typedef struct encke_head {
  encke_id id;
  /** The connection it came on. */
  encke_id connection;
  /** The listener of that connection; 0 where the connection was adopted. */
  encke_id listener;
  /** As it came, known or not; methods are case-sensitive (RFC 9110, 9.1). */
  encke_str method;
  /** As it came: origin-, absolute-, authority- or asterisk-form (RFC 9112, 3.2). */
  encke_str target;
  /** Before '?', not decoded: see encke_param. "/" for an absolute-form target without a path, empty for CONNECT. */
  encke_str path;
  /** Behind '?', not decoded; empty where there is none. */
  encke_str query;
  /** The Host field, or the authority of an absolute-form target, which wins (RFC 9112, 3.2.2); empty with HTTP/1.0. */
  encke_str host;
  /** The client's address, as ENCKE_INFO_PEER. */
  encke_str peer;
  /** In order of arrival, repeats kept; trailers of requests are dropped. */
  const encke_field *fields;
  size_t nfields;
  /** The whole body, unless ENCKE_HEAD_BODY_FOLLOWS. */
  const void *body;
  size_t body_len;
  /** ENCKE_UNKNOWN: chunked. */
  uint64_t content_length;
  /** 10 or 11. */
  uint32_t version;
  /** ENCKE_HEAD_ bits. */
  uint32_t flags;
} encke_head;

/** What is published, or came from a channel. Zero it first. Grows at the end only. */
typedef struct encke_message {
  /** Content type; may be empty. */
  encke_str type;
  /** Who sent it; may be empty. */
  encke_str from;
  /** Name of the event for EventSource; may be empty. */
  encke_str event;
  /** With ENCKE_SLOW_LATEST: of the messages with one key the newest stands for all. */
  encke_str key;
  const void *data;
  size_t len;
} encke_message;

/* ---- 4. configuration -------------------------------------------------------------------------------------------- */

#define ENCKE_OPT_WATCH                   1  /**< ENCKE_WATCH_ONE (default) or ENCKE_WATCH_EACH. */
#define ENCKE_OPT_EVENTS                  2  /**< Live. ENCKE_WANT(kind) bits of the optional kinds of events that
                                                  are wanted; default none. */
#define ENCKE_OPT_MAX_CONNECTIONS         3  /**< Live. Connections at a time, default 100,000; beyond, nothing is
                                                  accepted until one ends. */
#define ENCKE_OPT_MAX_PIPELINE            4  /**< Requests of one connection in the host's hands, or answered behind
                                                  one that is, default 128; beyond, the connection is not read. */
#define ENCKE_OPT_MAX_HEAD                5  /**< Bytes of request line and fields, default 32 KiB: 431 or 414
                                                  beyond. */
#define ENCKE_OPT_MAX_BODY                6  /**< Bytes of a body, default 64 MiB: 413 beyond. */
#define ENCKE_OPT_BUFFER_BODY             7  /**< Bytes, default 64 KiB: a body up to this size arrives whole inside
                                                  ENCKE_EV_REQUEST, a larger one in ENCKE_EV_BODY events. */
#define ENCKE_OPT_HEAD_TIMEOUT_MS         8  /**< For a request head, from its first byte, default 15,000: 408. */
#define ENCKE_OPT_BODY_TIMEOUT_MS         9  /**< For the next bytes of a body, default 30,000: 408; see F5. */
#define ENCKE_OPT_IDLE_TIMEOUT_MS        10  /**< For a connection without a request, default 60,000: it closes. */
#define ENCKE_OPT_WRITE_TIMEOUT_MS       11  /**< For a peer that takes nothing of a pending answer, default 30,000:
                                                  it is cut. */
#define ENCKE_OPT_ANSWER_TIMEOUT_MS      12  /**< For the host, from the delivery to the settle or begin: 503 and
                                                  ENCKE_EV_ABORTED; the id stays yours until settled. 0 (default):
                                                  never. */
#define ENCKE_OPT_HIGH_WATER             13  /**< Unsent body bytes of one answer before ENCKE_E_AGAIN, default 256
                                                  KiB; less while ENCKE_OPT_MAX_MEMORY runs short. */
#define ENCKE_OPT_LOW_WATER              14  /**< Unsent body bytes of one answer below which ENCKE_EV_WRITABLE
                                                  comes, default 64 KiB. */
#define ENCKE_OPT_MAX_MEMORY             15  /**< Bytes of buffers over all connections, default 256 MiB; the more
                                                  is used, the less is taken on, and who waited too long gets 503,
                                                  as do the largest that are not finished where others wait. The
                                                  last eighth is for connections that hold nothing. As many again
                                                  for the messages of channels, with their histories: see
                                                  encke_share. */
#define ENCKE_OPT_MAX_HELD               16  /**< Live. Requests in the host's hands over all connections, default
                                                  65,536; 0: pause, see F4. */
#define ENCKE_OPT_BODY_WINDOW            17  /**< Bytes of one large body or tunnel with the host that it has not
                                                  acknowledged, default 256 KiB. A chunked body that turns out
                                                  larger than ENCKE_OPT_BUFFER_BODY begins with what was collected
                                                  of it, whatever the window. */
#define ENCKE_OPT_MAX_FIELDS             18  /**< Fields of a request, default 100: 431 beyond. */
#define ENCKE_OPT_EXPECT                 19  /**< 100-continue: 0 (default): it goes out when the drain that
                                                  delivered the request ends without a settle or begin; 1: only by
                                                  encke_inform. Any final answer refuses it; after an encke_begin
                                                  the refused body ends with an empty ENCKE_EV_BODY. */
#define ENCKE_OPT_PIPELINE_SAFE          20  /**< 0 (default): all pipelined requests are handed over beside each
                                                  other, the host minds their order. 1: only GET, HEAD, OPTIONS and
                                                  TRACE are (RFC 9110, 9.2.1; RFC 9112, 9.3.2), others wait for
                                                  those before them. */
#define ENCKE_OPT_REUSE_PORT             21  /**< Live. 1: SO_REUSEPORT for the next encke_listen; default 0. */
#define ENCKE_OPT_BACKLOG                22  /**< Live. The backlog of the next encke_listen, default 4,096; the
                                                  kernel may have a lower limit. */
#define ENCKE_OPT_CONNECT                23  /**< 0 (default): CONNECT is answered 501. 1: it is handed over, see
                                                  encke_begin. */
#define ENCKE_OPT_UNIX_MODE              24  /**< Live. Permission bits of the file of the next UNIX socket, such as
                                                  0660; 0 (default): as umask has it. */
#define ENCKE_OPT_HANDSHAKE_TIMEOUT_MS   25  /**< For a TLS handshake, from the connection on, default 10,000: it
                                                  closes. */
#define ENCKE_OPT_WS_HEARTBEAT_MS        26  /**< For a WebSocket that says nothing, default 30,000: a ping, and
                                                  1006 where nothing comes within as long again; 0: neither. */
#define ENCKE_OPT_SERVER_NAME          1000  /**< Text: the Server field; "" (default): none. */
#define ENCKE_OPT_ORIGINS              1001  /**< Text: origins whose pages may subscribe and open WebSockets beside
                                                  those of this server's host: a list of patterns as in
                                                  encke_subscription, "https://example.org,https://?*.example.org";
                                                  "*": all; "" (default): none. Others are answered 403; clients
                                                  that send no Origin are no pages. Subscriptions with
                                                  ENCKE_SUBSCRIBE_CORS are open to all. */

#define ENCKE_WATCH_ONE  0u  /**< One fd carries everything. */
#define ENCKE_WATCH_EACH 1u  /**< The host watches every socket itself: see encke_next_watch. */

/**
 * New settings, each at its default. NULL only for want of memory. Free it with encke_config_free. Any thread. Since 0.1.
 */
ENCKE_API encke_config *encke_config_new(void);

/**
 * Sets an option that takes a number. Times are milliseconds, sizes are bytes. One thread at a time.
 * ENCKE_E_INVAL: config is NULL, or the value is out of range, with the range in encke_last_error(); ENCKE_E_NOTSUP: an
 * option that this library does not know. On a failure nothing changes. Since 0.1.
 */
ENCKE_API int encke_config_set(encke_config *config, int option, uint64_t value);

/**
 * Sets an option that takes text; it is copied. One thread at a time.
 * ENCKE_E_INVAL: config or value is NULL, or the text is no field value; ENCKE_E_NOTSUP: an option that this library does
 * not know. On a failure nothing changes. Since 0.1.
 */
ENCKE_API int encke_config_set_str(encke_config *config, int option, const char *value);

/** Frees settings; enckes made with them keep their copies. NULL is fine. Since 0.1. */
ENCKE_API void encke_config_free(encke_config *config);

/* ---- 5. an encke and its listeners ------------------------------------------------------------------------------- */

/**
 * Makes an encke with these settings (NULL: the defaults), which are copied. The calling thread becomes its loop thread.
 * Nothing is printed, no thread is started, no signal disposition is changed.
 * ENCKE_E_INVAL: out is NULL, or two settings contradict each other; ENCKE_E_SYS: no fds are left; ENCKE_E_NOMEM: 4,095
 * enckes live already. On a failure *out is NULL. Since 0.1.
 */
ENCKE_API int encke_new(const encke_config *config, encke **out);

/**
 * Changes an option marked live while the encke runs. [loop thread]
 * ENCKE_E_STATE: an option that is not live; ENCKE_E_INVAL: out of range; ENCKE_E_NOTSUP: not known. Since 0.1.
 */
ENCKE_API int encke_set(encke *e, int option, uint64_t value);

/**
 * Makes the calling thread the loop thread; the host sees to it that no other thread is inside a call with this encke
 * (T2). Ids, heads, senders and the fd stay as they are.
 * ENCKE_E_INVAL: e is NULL. Since 0.1.
 */
ENCKE_API int encke_move_here(encke *e);

/**
 * Ends an encke, at any moment: answers given so far are written as far as the sockets take them, what is open is
 * aborted without events, borrowed buffers and files are released before it returns (L8), ids go GONE and senders
 * CLOSED. Heads that are not settled live on as L3 says. NULL is fine. From any thread, under T2; in a child of fork it
 * closes fds and nothing else. What links have not delivered is lost without an event: encke_close them first and wait for
 * ENCKE_LINK_CLOSED. Since 0.1.
 */
ENCKE_API void encke_free(encke *e);

/**
 * Listens: "127.0.0.1:8080", "[::1]:8080", ":8080" (any address, IPv6 and IPv4), "localhost:8080" (127.0.0.1),
 * "unix:/run/x.sock"; port 0 lets the system choose, see ENCKE_INFO_LOCAL. A UNIX socket's file that nobody listens on
 * any more is replaced, and removed at the end. tls: the certificates for HTTPS, which the listener keeps a reference to;
 * NULL: HTTP. out may be NULL, else it gets the listener's id. [loop thread]
 * ENCKE_E_INVAL: the address is not understood; ENCKE_E_SYS: it cannot be had (in use, not permitted);
 * ENCKE_E_TLS: tls has no certificate; ENCKE_E_NOTSUP: tls is not NULL and this build has no TLS; ENCKE_E_STATE: the encke
 * drains. Since 0.1.
 */
ENCKE_API int encke_listen(encke *e, const char *address, encke_tls *tls, encke_id *out);

/**
 * Takes a stream socket that is bound and listening (socket activation, pre-fork), or connected (accepted elsewhere, a
 * socketpair): the library asks the socket which, and makes it non-blocking. It is taken on ENCKE_OK only, then the
 * library closes it; tls as encke_listen; out (may be NULL) gets the id of the listener or of the connection. [loop thread]
 * ENCKE_E_INVAL: no stream socket; ENCKE_E_SYS: the socket cannot be used, or is neither listening nor connected;
 * ENCKE_E_STATE: the encke drains, or ENCKE_OPT_MAX_CONNECTIONS is reached; ENCKE_E_TLS,
 * ENCKE_E_NOTSUP: as encke_listen. Since 0.1.
 */
ENCKE_API int encke_adopt(encke *e, encke_fd_t fd, encke_tls *tls, encke_id *out);

/**
 * Ends what an id names. A listener: stops accepting there (the file of a UNIX socket is removed), open connections go
 * on. A connection: is cut, its requests get ENCKE_EV_ABORTED. A mount: takes no further requests, what it is at goes on.
 * Requests: encke_abort. A link, with all its subscriptions, or one subscription of encke_link_subscribe: what was
 * published and is not acknowledged comes back, ENCKE_LINK_CLOSED is the last event. [loop thread]
 * ENCKE_E_GONE: the id is over or not of this encke; ENCKE_E_INVAL: it is a request's. Since 0.1.
 */
ENCKE_API int encke_close(encke *e, encke_id id);

/**
 * Begins the end: stops accepting, closes idle connections now, takes no further requests, ends subscriptions (with what
 * was published before) and WebSockets (1001) now, waits for held requests, streams and tunnels, cuts them after grace
 * milliseconds; then ENCKE_EV_DRAINED comes, once. Calling again moves the
 * deadline. Unsettled leases of peers that left do not hold it up. [loop thread] Fails only as every loop-thread call
 * does. Since 0.1.
 */
ENCKE_API int encke_drain(encke *e, uint64_t grace_ms);

#define ENCKE_INFO_LOCAL       1  /**< The local address: "127.0.0.1:8080", "[::1]:8080", "unix:/run/x.sock"; the
                                       real port after ":0". */
#define ENCKE_INFO_PEER        2  /**< The other end's address in the same form; "unix:" for a UNIX client; "" for a
                                       listener. */
#define ENCKE_INFO_SNI         3  /**< The server name that the TLS client asked for; "" without TLS. */
#define ENCKE_INFO_TLS         4  /**< TLS version and cipher suite, "TLSv1.3 TLS13_AES_128_GCM_SHA256"; "" without
                                       TLS. */
#define ENCKE_INFO_ALPN        5  /**< The protocol agreed by ALPN; "" without. */
#define ENCKE_INFO_CLIENT_CERT 6  /**< DER of the verified client certificate, not NUL-terminated; need 0 without. */
#define ENCKE_INFO_FD          7  /**< The fd in decimal digits; for getsockopt and setsockopt only. */

/**
 * Tells a fact (ENCKE_INFO_) about a listener, a connection or a request, as NUL-terminated text. need (may be NULL) gets
 * the size, the NUL counted; an absent fact is "" with need 1. buf may be NULL with cap 0 to learn the size.
 * [loop thread]
 * ENCKE_E_GONE: the id is over, or its connection is; ENCKE_E_RANGE: cap is too small, need tells; ENCKE_E_INVAL: no such
 * fact; ENCKE_E_SYS: the system does not tell. Since 0.1.
 */
ENCKE_API int encke_info(encke *e, encke_id id, int what, void *buf, size_t cap, size_t *need);

/* ---- 6. driving it ----------------------------------------------------------------------------------------------- */

#define ENCKE_READ  1u  /**< Watch for reading. As got: also for error and hang-up (set both). */
#define ENCKE_WRITE 2u  /**< Watch for writing. */

/** One fd of ENCKE_WATCH_EACH: what it is to be watched for, and what was seen. Frozen. */
typedef struct encke_watch {
  encke_fd_t fd;
  /** ENCKE_READ, ENCKE_WRITE, both; 0: forget it. */
  uint32_t want;
  /** ENCKE_READ, ENCKE_WRITE, both: for encke_feed. */
  uint32_t got;
} encke_watch;

/**
 * The one fd. Watch it for readability, level-triggered: it is readable whenever encke_run or encke_next would do or
 * return something. It never changes, and it is not to be read, written or closed. It may lie above FD_SETSIZE: hosts
 * with select call encke_new early. -1 (ENCKE_NO_FD) with ENCKE_WATCH_EACH, where the build lacks "one-fd", and on an
 * error: NULL, another thread, a child of fork. [loop thread] Since 0.1.
 */
ENCKE_API encke_fd_t encke_fd(encke *e);

/**
 * Does what is ready and never blocks: accepts, reads, writes, deadlines, what other threads said. budget is the most
 * connections that are served, 0: the default (256). 1: calling again now, before encke_next, would do more; 0: it would
 * not, also where the event queue is full (F1). [loop thread]
 * ENCKE_E_SYS: the kernel's queue failed, which only a bug or closed fds can cause. Since 0.1.
 */
ENCKE_API int encke_run(encke *e, uint32_t budget);

/**
 * For a program without a loop of its own: blocks until there is something to do or to show, or timeout_ms milliseconds
 * have passed (-1: for ever), or a signal or encke_wake came; then does what encke_run does and returns what it returns.
 * 0 also where nothing happened. [loop thread]
 * ENCKE_E_STATE: with ENCKE_WATCH_EACH; ENCKE_E_SYS: as encke_run. Since 0.1.
 */
ENCKE_API int encke_wait(encke *e, int64_t timeout_ms);

/**
 * With ENCKE_WATCH_EACH: 1 and the milliseconds after which encke_run is to be called at the latest (0: now), or 0: no
 * deadline. Ask before every wait, after encke_next_watch. [loop thread]
 * ENCKE_E_INVAL: ms is NULL; ENCKE_E_STATE: not with ENCKE_WATCH_EACH. Since 0.1.
 */
ENCKE_API int encke_timeout(encke *e, uint64_t *ms);

/**
 * With ENCKE_WATCH_EACH: the next change. 1: from now on watch out->fd for out->want, 0 meaning forget it; 0: no more
 * changes. Call it until 0 before every wait. A forgotten fd is closed only at the next call here. [loop thread]
 * ENCKE_E_INVAL: out is NULL; ENCKE_E_STATE: not with ENCKE_WATCH_EACH. Since 0.1.
 */
ENCKE_API int encke_next_watch(encke *e, encke_watch *out);

/**
 * With ENCKE_WATCH_EACH: notes what the host saw on n fds (fd and got); encke_run does the work. What is stale, spurious
 * or unknown is ignored. [loop thread]
 * ENCKE_E_INVAL: ready is NULL and n is not 0; ENCKE_E_STATE: not with ENCKE_WATCH_EACH. Since 0.1.
 */
ENCKE_API int encke_feed(encke *e, const encke_watch *ready, size_t n);

/* ---- 7. events --------------------------------------------------------------------------------------------------- */

#define ENCKE_EV_REQUEST      1u  /**< ev.id is now yours: settle it exactly once, see L1. */
#define ENCKE_EV_BODY         2u  /**< A piece of a large body or tunnel: data, len, more (0: the last, may be
                                       empty); credit it back with encke_body_ack. */
#define ENCKE_EV_WRITABLE     3u  /**< Below ENCKE_OPT_LOW_WATER after an ENCKE_E_AGAIN. */
#define ENCKE_EV_DONE         4u  /**< Optional. The last event of a request: code is ENCKE_END_, len the body bytes
                                       sent. */
#define ENCKE_EV_ABORTED      5u  /**< It cannot be answered any more: code is ENCKE_END_; still settle it: that
                                       frees, and returns ENCKE_E_GONE. */
#define ENCKE_EV_RELEASED     6u  /**< A borrowed buffer (ev.cookie) is no longer referenced: once for each ENCKE_OK
                                       with ENCKE_BORROW. */
#define ENCKE_EV_MESSAGE      7u  /**< From a WebSocket: code is ENCKE_WS_TEXT or ENCKE_WS_BINARY; data, len. From a
                                       link: channel, message, and its data in data, len too; ev.id is the
                                       subscription's, or the link's where encke_subscribe was used. Optional is
                                       that of a WebSocket that was passed on (encke_pass). */
#define ENCKE_EV_CLOSED       8u  /**< The last event of a WebSocket: code is the close code; 1005: it came without
                                       one, 1006: the connection was lost. */
#define ENCKE_EV_SUBSCRIBER   9u  /**< Optional. The subscriber ev.id joined (code 1) or left (code 0) ev.channel;
                                       before its ENCKE_EV_DONE. */
#define ENCKE_EV_LISTENER    10u  /**< Accept trouble of the listener ev.id, such as EMFILE: code is errno; once
                                       until it is over, and accepting begins again by itself. */
#define ENCKE_EV_DRAINED     11u  /**< encke_drain is through. */
#define ENCKE_EV_LOG         12u  /**< Optional. data is one line, code 1 error, 2 warning, 3 information, 4 debug;
                                       not yet in this version. */
#define ENCKE_EV_HALF_CLOSED 13u  /**< Optional. The peer of a held request has closed its sending side: see F8. */
#define ENCKE_EV_CONNECTION  14u  /**< Optional. Code 1: accepted; 0: over, the last event of a connection. */
#define ENCKE_EV_LINK        15u  /**< Of a link or one of its subscriptions: code is ENCKE_LINK_. channel is the
                                       subscription's; p is NULL where it is about what is published. */

#define ENCKE_END_OK       0  /**< All of it was handed to the kernel. */
#define ENCKE_END_PEER     1  /**< Reset, or gone before it had everything. */
#define ENCKE_END_TIMEOUT  2  /**< Body, write or answer time-out. */
#define ENCKE_END_LIMIT    3  /**< Body too large, or no room. */
#define ENCKE_END_PROTOCOL 4  /**< Malformed framing of the body. */
#define ENCKE_END_HOST     5  /**< encke_abort, encke_close; a body shorter than its ENCKE_LENGTH; a file that
                                   shrank; an answer before it closed the connection. */
#define ENCKE_END_DRAIN    6  /**< The grace of encke_drain was over. */

/** What happened. Grows at the end only. */
typedef struct encke_event {
  /** ENCKE_EV_ */
  uint32_t kind;
  int32_t code;
  encke_id id;
  /** What encke_set_user gave this id, else 0. */
  uint64_t user;
  /** RELEASED, LINK */
  uint64_t cookie;
  /** REQUEST, ABORTED */
  const encke_head *head;
  /** BODY, MESSAGE, LINK: see L4 */
  const void *data;
  size_t len;
  uint32_t more;
  /** SUBSCRIBER, MESSAGE and LINK of a link, as is message: see L4 */
  encke_str channel;
  const encke_message *message;
} encke_event;

/**
 * The next event: 1, or 0: there is none, and the answers given so far are written (F2). Pass sizeof(encke_event). What
 * the event before pointed to is over. [loop thread]
 * ENCKE_E_INVAL: out is NULL, or sizeof_event has no room for kind, code and id; no event is lost. Since 0.1.
 */
ENCKE_API int encke_next(encke *e, encke_event *out, size_t sizeof_event);

/**
 * For the simple host: the next request: 1, or 0 as encke_next. Other events are consumed unseen, and a request whose
 * body is larger than ENCKE_OPT_BUFFER_BODY is answered 413 by the library. Not to be used beside borrowed bodies,
 * streams that meet ENCKE_E_AGAIN or drain: those need encke_next. id and head may be NULL. [loop thread] Fails only as
 * every loop-thread call does. Since 0.1.
 */
ENCKE_API int encke_next_request(encke *e, encke_id *id, const encke_head **head);

/**
 * The value of the first field of that name, which is given in lower case; p == NULL: there is none. Lives as long as
 * the head. Any thread; reads nothing but the head. Since 0.1.
 */
ENCKE_API encke_str encke_head_get(const encke_head *head, const char *lower_case_name);

/**
 * Looks a parameter up in `from` and stores its value, NUL-terminated, in buf; need (may be NULL) gets the size, the NUL
 * counted. 1: found; 0: absent (buf is untouched). separator '&': a query or form, percent- and plus-decoded
 * (application/x-www-form-urlencoded); ';': a Cookie field, as it is (RFC 6265, 4.2.1); 0: name is unused (may be NULL),
 * all of `from` is percent-decoded, as for a path. The first of several counts. Any thread; reads nothing but its
 * arguments.
 * ENCKE_E_INVAL: a bad escape or a decoded NUL in the name or value that is looked at, another separator, NULL;
 * ENCKE_E_RANGE: cap is too small, need tells. Since 0.1.
 */
ENCKE_API int encke_param(encke_str from, char separator, const char *name, char *buf, size_t cap, size_t *need);

/* ---- 8. answering ------------------------------------------------------------------------------------------------ */

#define ENCKE_BORROW 1u  /**< encke_respond: the body is not copied: keep it unchanged until ENCKE_EV_RELEASED
                              brings your cookie. */
#define ENCKE_LENGTH 2u  /**< encke_begin: exactly `length` bytes will be written (more: ENCKE_E_INVAL, fewer: the
                              connection is cut). encke_respond to HEAD or with 304: announce `length` as the
                              Content-Length. */
#define ENCKE_CLOSE  4u  /**< Close the connection after this answer. */
#define ENCKE_FILE   8u  /**< encke_respond: the body is `length` bytes (ENCKE_UNKNOWN: to its end) of `file` from
                              `offset`; the library closes it. Read on the loop thread: a cold disk stalls the loop. */

/** An answer, or its head and the first piece of its body. Zero it first. Grows at the end only. */
typedef struct encke_response {
  /** 200 to 999; encke_begin: also 101. */
  uint32_t status;
  /** ENCKE_BORROW, ENCKE_LENGTH, ENCKE_CLOSE, ENCKE_FILE */
  uint32_t flags;
  /**
   * Repeats are allowed and sent in order. Date and Server of yours win. Content-Length, Transfer-Encoding, Connection,
   * Keep-Alive, Trailer and Upgrade (but in a 101) are the library's: ENCKE_E_INVAL.
   */
  const encke_field *fields;
  size_t nfields;
  /** encke_begin: the first piece, copied. */
  const void *body;
  size_t body_len;
  /** With ENCKE_BORROW: comes back with ENCKE_EV_RELEASED. */
  uint64_t cookie;
  /** With ENCKE_LENGTH or ENCKE_FILE. */
  uint64_t length;
  /** With ENCKE_FILE. */
  uint64_t offset;
  /** With ENCKE_FILE; open for reading, a regular file. */
  encke_fd_t file;
} encke_response;

/**
 * The any-thread half: borrowed for the encke's life; take a reference (encke_sender_ref) for another thread. NULL on a
 * failure: NULL, another thread, a child of fork. [loop thread] Since 0.1.
 */
ENCKE_API encke_sender *encke_get_sender(encke *e);

/** Takes a reference, which lives on after encke_free; returns the sender. NULL is fine. Any thread. Since 0.1. */
ENCKE_API encke_sender *encke_sender_ref(encke_sender *sender);

/**
 * Gives a reference up. With the last one, heads that were never settled are freed. NULL is fine. Any thread. Since 0.1.
 */
ENCKE_API void encke_sender_unref(encke_sender *sender);

/**
 * Makes encke_fd readable once, and lets encke_wait return; brings no event. Async-signal-safe, keeps errno. Any thread.
 * ENCKE_E_CLOSED: the encke was freed; ENCKE_E_INVAL: sender is NULL. Since 0.1.
 */
ENCKE_API int encke_wake(encke_sender *sender);

/**
 * Gives a request, subscriber, WebSocket, link or subscription of a link a value that comes back as ev.user in every later
 * event of it; see L5 for when to free what it points to, of a link with ENCKE_LINK_CLOSED. Any thread.
 * ENCKE_E_GONE: the id is over; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_set_user(encke_sender *sender, encke_id id, uint64_t user);

/**
 * n bytes of ENCKE_EV_BODY data of a request or tunnel are dealt with: as many more may come (F5). Any thread.
 * ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_body_ack(encke_sender *sender, encke_id id, size_t n);

/**
 * The short answer: status, content type (NULL: none) and body, which is copied. Always settles, whatever it returns (L1).
 * Any thread.
 * ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_INVAL: the status, the content type or the body cannot be
 * sent: 500 was; ENCKE_E_NOMEM, ENCKE_E_STATE (the answer was begun): it acted as encke_abort; ENCKE_E_CLOSED: the encke
 * was freed. Since 0.1. RFC 9110, 15; RFC 9112, 6.
 */
ENCKE_API int encke_reply(encke_sender *sender, encke_id id, uint32_t status, const char *content_type,
                          const void *body, size_t len);

/**
 * A whole answer in one call; settles on ENCKE_OK, ENCKE_E_GONE and ENCKE_E_CLOSED. Pass sizeof(encke_response). To HEAD,
 * and with 204 and 304, the body is not sent. What it points to is copied, but for a body with ENCKE_BORROW and a file
 * with ENCKE_FILE, which are taken on ENCKE_OK only. Any thread.
 * ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: the answer was begun; ENCKE_E_INVAL: bad status, field,
 * body or file, encke_last_error() says which; ENCKE_E_NOTSUP: a flag or field newer than this library; ENCKE_E_NOMEM;
 * ENCKE_E_SYS: the file cannot be asked for its size; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC 9112, 6.
 */
ENCKE_API int encke_respond(encke_sender *sender, encke_id id, const encke_response *response, size_t sizeof_response);

/**
 * The head of an answer goes out; its body follows by encke_write, and encke_end settles. Without ENCKE_LENGTH it is sent
 * chunked, to HTTP/1.0 until the connection closes. Status 101 to a request with ENCKE_HEAD_UPGRADE, or 2xx to CONNECT,
 * opens a tunnel: from then on ENCKE_EV_BODY and encke_write carry raw bytes, and encke_end sends what is queued and
 * closes. Never settles: after ENCKE_E_GONE you still owe a settle. Any thread.
 * ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: begun before; ENCKE_E_INVAL: bad status, field or
 * flags, a 101 to a request without Upgrade, a first piece longer than the length; ENCKE_E_NOTSUP, ENCKE_E_NOMEM,
 * ENCKE_E_CLOSED as encke_respond. Since 0.1. RFC 9112, 7.1; RFC 9110, 7.8 and 9.3.6.
 */
ENCKE_API int encke_begin(encke_sender *sender, encke_id id, const encke_response *response, size_t sizeof_response);

/**
 * A piece of the body of a begun answer: all or nothing, however long, copied. ENCKE_E_AGAIN while ENCKE_OPT_HIGH_WATER or
 * more bytes are queued; then exactly one ENCKE_EV_WRITABLE or ENCKE_EV_ABORTED follows unless you settle first (F3). len
 * 0 writes nothing and asks, also before begin. To HEAD: taken, not sent. Never settles. Any thread.
 * ENCKE_E_AGAIN; ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: before begin; ENCKE_E_INVAL: more than
 * ENCKE_LENGTH promised; ENCKE_E_NOMEM: nothing was taken; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_write(encke_sender *sender, encke_id id, const void *data, size_t len);

/**
 * The end of a begun answer; settles on ENCKE_OK, ENCKE_E_GONE and ENCKE_E_CLOSED. Trailer fields go out where the answer
 * is chunked and are dropped elsewhere. With fewer bytes than ENCKE_LENGTH promised it acts as encke_abort. Of a subscriber:
 * its stream ends well behind what was published so far, a WebSocket with 1000; a long poll is answered. Any thread.
 * ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: before begin; ENCKE_E_INVAL: a bad trailer field, or
 * one that RFC 9110, 6.5.1 forbids; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC 9112, 7.1.2.
 */
ENCKE_API int encke_end(encke_sender *sender, encke_id id, const encke_field *trailers, size_t n);

/**
 * Gives up; always settles. 500 if nothing of the answer went out yet, else the connection is cut, so that the client
 * does not take what it has for the whole. Any thread.
 * ENCKE_E_GONE: the id was over, or the peer is gone; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_abort(encke_sender *sender, encke_id id);

/**
 * An informational answer before the final one: 100, 102 or 103, with fields. ENCKE_OK and not sent to HTTP/1.0. Never
 * settles. Any thread.
 * ENCKE_E_INVAL: another status, or a bad field; ENCKE_E_STATE: the answer was begun; ENCKE_E_GONE: the id is over, or the
 * peer is gone; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC 9110, 15.2; RFC 8297.
 */
ENCKE_API int encke_inform(encke_sender *sender, encke_id id, uint32_t status, const encke_field *fields, size_t n);

#define ENCKE_TOKEN_SIZE 64  /**< Every token, its NUL counted, is shorter. */

/**
 * Stores the id of a request, subscriber or WebSocket as unguessable text of [A-Za-z0-9_-], NUL-terminated;
 * ENCKE_TOKEN_SIZE bytes are enough. The same id gives the same token. Any thread.
 * ENCKE_E_GONE: the id is over; ENCKE_E_RANGE: cap is too small; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_token(encke_sender *sender, encke_id id, char *out, size_t cap);

/**
 * The id behind a token of len bytes. The comparison takes the same time wherever the texts differ. Any thread.
 * ENCKE_E_GONE: not made by this encke, or its id is over; ENCKE_E_INVAL: out or text is NULL; ENCKE_E_CLOSED: the encke
 * was freed. Since 0.1.
 */
ENCKE_API int encke_from_token(encke_sender *sender, const char *text, size_t len, encke_id *out);

/* ---- 9. TLS ------------------------------------------------------------------------------------------------------ */

#define ENCKE_TLS_CLIENT_CERT 1  /**< For encke_tls_set: whether clients are to show a certificate,
                                      ENCKE_CLIENT_CERT_. Default: required once client roots were added, off
                                      before. */

#define ENCKE_CLIENT_CERT_OFF      0  /**< Clients are not asked. */
#define ENCKE_CLIENT_CERT_OPTIONAL 1  /**< Clients are asked; who shows none is served too (ENCKE_INFO_CLIENT_CERT
                                           tells), who shows a bad one is not. */
#define ENCKE_CLIENT_CERT_REQUIRED 2  /**< Without a certificate from the client roots the handshake fails. */

/** An empty set of certificates; free it with encke_tls_free. NULL only for want of memory. Any thread. Since 0.1. */
ENCKE_API encke_tls *encke_tls_new(void);

/**
 * Adds a certificate chain (the server's certificate first, then those that issued it) and its key: PKCS#8, SEC1 or
 * PKCS#1, both PEM, the bytes of the usual files; they are copied, and need no NUL. Clients get the certificate that has
 * the name they ask for (SNI; "*.example.org" covers one label), of several the first that they can check, otherwise the
 * first one added. With key NULL chain_pem holds the CAs that client certificates must come from: from then on clients
 * must show one, see ENCKE_TLS_CLIENT_CERT. May be called while listeners use it: new handshakes see it. Takes no files:
 * nothing here reads a disk. One thread at a time.
 * ENCKE_E_TLS: not usable; encke_last_error() says which of the two, which certificate of it, and why (no PEM, a wrong
 * order, expired, an encrypted key, a key that does not fit ...); ENCKE_E_INVAL: tls or chain_pem is NULL;
 * ENCKE_E_NOTSUP: this build has no TLS (encke_has_feature("tls")). On a failure nothing changes. Since 0.1.
 * RFC 5280; RFC 6066, 3; RFC 7468.
 */
ENCKE_API int encke_tls_add(encke_tls *tls, const void *chain_pem, size_t chain_len, const void *key_pem,
                            size_t key_len);

/**
 * Sets an option of a set of certificates (ENCKE_TLS_CLIENT_CERT); new handshakes see it. One thread at a time.
 * ENCKE_E_INVAL: tls is NULL, or the value is out of range; ENCKE_E_TLS: it cannot be used with what was added;
 * ENCKE_E_NOTSUP: an option that this library does not know, or this build has no TLS. On a failure nothing changes.
 * Since 0.1.
 */
ENCKE_API int encke_tls_set(encke_tls *tls, int option, uint64_t value);

/**
 * Reload: in one step live gets everything of fresh, and fresh becomes empty. New handshakes use it; live connections keep
 * what they have, and sessions still resume, unless the demands on client certificates changed. Any thread, also while
 * others serve with live.
 * ENCKE_E_INVAL: one of the two is NULL, they are the same, or fresh has no certificate; ENCKE_E_NOTSUP: this build has no
 * TLS. On a failure nothing changes. Since 0.1.
 */
ENCKE_API int encke_tls_swap(encke_tls *live, encke_tls *fresh);

/** Gives up your reference; listeners keep theirs. NULL is fine. One thread at a time. Since 0.1. */
ENCKE_API void encke_tls_free(encke_tls *tls);

/* ---- 10. looking in ---------------------------------------------------------------------------------------------- */

/** Counters of one encke. Grows at the end only. */
typedef struct encke_stats {
  /** Open now. */
  uint64_t connections;
  /** Accepted ever. */
  uint64_t accepted;
  /** Requests handed to the host ever. */
  uint64_t requests;
  /** Requests in the host's hands now: handed over and not settled. */
  uint64_t held;
  /** Requests that could not be answered any more, ever. */
  uint64_t aborted;
  /** Requests that the library answered itself with an error, ever. */
  uint64_t refused;
  /** Bytes read and written ever. */
  uint64_t bytes_in;
  uint64_t bytes_out;
  /** Bytes of answers whose turn has come and that the kernel has not taken yet, now. */
  uint64_t queued_bytes;
  /** Bytes of buffers now, as ENCKE_OPT_MAX_MEMORY counts them. */
  uint64_t memory;
  /** Channels now, and messages published ever, in all enckes that share them (encke_share). */
  uint64_t channels;
  /** Subscribers of this encke now. */
  uint64_t subscribers;
  uint64_t published;
  /** Messages queued for subscribers of this encke ever, and those that slow ones missed. */
  uint64_t delivered;
  uint64_t dropped;
} encke_stats;

/**
 * Reads the counters as they were at the end of the loop's last run or drain. Pass sizeof(encke_stats). Any thread.
 * ENCKE_E_INVAL: out is NULL or sizeof_stats too small; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_stats_get(encke_sender *sender, encke_stats *out, size_t sizeof_stats);

/* ---- 11. WebSockets ---------------------------------------------------------------------------------------------- */

#define ENCKE_WS_TEXT   1u  /**< A WebSocket message of text, which is UTF-8. */
#define ENCKE_WS_BINARY 2u  /**< A WebSocket message of bytes. */
#define ENCKE_WS_PING   9u  /**< Asks the client for a sign of life; at most 125 bytes. */

/**
 * Makes a WebSocket of a request with ENCKE_HEAD_WEBSOCKET: 101 with these fields (Sec-WebSocket-Protocol is yours, the
 * other Sec-WebSocket- fields are the library's; it takes permessage-deflate where it is offered). Settles: the head is
 * over, the id lives on as the socket's until ENCKE_EV_CLOSED, which comes instead of ENCKE_EV_DONE and always. Messages
 * come as ENCKE_EV_MESSAGE, up to ENCKE_OPT_MAX_BODY; pings and closes are answered by the library; encke_abort cuts it.
 * Who says nothing is asked and cut, see ENCKE_OPT_WS_HEARTBEAT_MS. A page of another origin (ENCKE_OPT_ORIGINS) is answered
 * 403, and ENCKE_EV_CLOSED says 1006. Any thread.
 * ENCKE_E_STATE: no WebSocket handshake, or the answer was begun; ENCKE_E_GONE: the id is over, or the peer is gone;
 * ENCKE_E_INVAL: a bad field; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC 6455, 4.2.2; RFC 7692.
 */
ENCKE_API int encke_ws_accept(encke_sender *sender, encke_id request, const encke_field *fields, size_t n);

/**
 * Sends a message: ENCKE_WS_TEXT (checked to be UTF-8), ENCKE_WS_BINARY, or ENCKE_WS_PING; all or nothing, copied. As
 * encke_write: ENCKE_E_AGAIN while ENCKE_OPT_HIGH_WATER or more bytes are queued, then one ENCKE_EV_WRITABLE (F3). Any
 * thread.
 * ENCKE_E_AGAIN; ENCKE_E_GONE: the id is over or no socket's, or it is being closed; ENCKE_E_INVAL: another opcode, text
 * that is not UTF-8, a ping of more than 125 bytes; ENCKE_E_NOMEM; ENCKE_E_CLOSED: the encke was freed. Since 0.1. RFC
 * 6455, 5.6.
 */
ENCKE_API int encke_ws_send(encke_sender *sender, encke_id id, uint32_t opcode, const void *data, size_t len);

/**
 * Closes a socket: what is queued goes out, then the close with this code and reason (UTF-8, cut to 123 bytes; NULL: none);
 * ENCKE_EV_CLOSED follows. Any thread.
 * ENCKE_E_GONE: the id is over or no socket's, or it is being closed; ENCKE_E_INVAL: a code that must not be sent (allowed
 * are 1000 to 1003, 1007 to 1014, 3000 to 4999), a reason that is not UTF-8; ENCKE_E_CLOSED: the encke was freed. Since
 * 0.1. RFC 6455, 7.4.
 */
ENCKE_API int encke_ws_close(encke_sender *sender, encke_id id, uint32_t code, const char *reason);

/* ---- 12. channels: publish once, every subscriber gets it in its own transport ----------------------------------- */

#define ENCKE_TRANSPORT_AUTO      0u  /**< By Upgrade and Accept: WebSocket, text/event-stream,
                                           multipart/x-mixed-replace, application/json for a long poll; multipart
                                           for a client that asks for nothing of these. */
#define ENCKE_TRANSPORT_MULTIPART 1u  /**< multipart/x-mixed-replace: a part for each message; an image that
                                           changes. */
#define ENCKE_TRANSPORT_SSE       2u  /**< text/event-stream, for EventSource: the id is the position, and
                                           Last-Event-ID resumes. What is not UTF-8 comes as a data: URL. */
#define ENCKE_TRANSPORT_LONGPOLL  3u  /**< One batch as an object of JSON, then the answer ends: "position" to come
                                           back with, "recovered" where it came back, "messages". 204 where nothing
                                           came in time. The position is in the field Encke-Position too. */
#define ENCKE_TRANSPORT_WEBSOCKET 4u  /**< A WebSocket message for each message. */
#define ENCKE_TRANSPORT_PLAIN     5u  /**< The data of the messages and nothing else, one behind the other. */

#define ENCKE_SUBSCRIBE_CORS 1u  /**< encke_subscription: pages of every origin may read the answer (CORS). */

/** How a client is subscribed. Zero it first. Grows at the end only. */
typedef struct encke_subscription {
  /** ENCKE_TRANSPORT_ */
  uint32_t transport;
  /** ENCKE_SUBSCRIBE_CORS */
  uint32_t flags;
  /**
   * Lists of patterns, "text/plain,image/?ng,!*html*": '*' fits any text, '?' any one byte, '!' decides against; empty: all.
   */
  encke_str types;
  encke_str from;
  /** Resume after this position; empty: after that of the client, in Last-Event-ID or in the query as "since". */
  encke_str since;
  /** Of a long poll: 204 after so long without a message; 0: 30 s. */
  uint64_t timeout_ms;
  /** Of the answer: CORS, cookies, caching. A Cache-Control of yours wins. */
  const encke_field *fields;
  size_t nfields;
} encke_subscription;

#define ENCKE_CHANNEL_HISTORY      1  /**< Messages kept for those who come back; default 100. */
#define ENCKE_CHANNEL_BYTES        2  /**< ... and bytes of them; default 1 MiB. */
#define ENCKE_CHANNEL_TTL_MS       3  /**< ... and for how long, in milliseconds; default 60,000. It is looked at
                                           when the channel is used, or once due. */
#define ENCKE_CHANNEL_SLOW         4  /**< What a subscriber gets that does not keep up: one of ENCKE_SLOW_. */
#define ENCKE_CHANNEL_BACKLOG      5  /**< Unsent bytes with which a subscriber does not keep up; default 1 MiB. */
#define ENCKE_CHANNEL_HEARTBEAT_MS 6  /**< Time between signs of life (a comment of SSE, a ping of WebSocket);
                                           default 30,000; 0: none. */

#define ENCKE_SLOW_CLOSE    0  /**< Default. Its stream ends well behind the last whole message; it may come back
                                    and gets what the history has. */
#define ENCKE_SLOW_DROP_NEW 1  /**< It does not get the new message. */
#define ENCKE_SLOW_DROP_OLD 2  /**< It does not get the oldest ones that have not begun to go out. */
#define ENCKE_SLOW_LATEST   3  /**< As ENCKE_SLOW_DROP_OLD; besides, a message takes the place of an unsent one with
                                    its key. */

/** What is known of a channel. Grows at the end only. */
typedef struct encke_channel_facts {
  /** Of this channel itself, of all enckes that share it; not those of a prefix. */
  uint64_t subscribers;
  /** Kept for those who come back. */
  uint64_t messages;
  uint64_t bytes;
  /** Since the channel came to be. */
  uint64_t published;
} encke_channel_facts;

/**
 * Publishes a message in a channel: everybody who subscribes it gets it, in the order of publishing, and its history
 * keeps it. A name is UTF-8 of up to 255 bytes without control characters and does not end in '*'; a channel comes to be
 * with its first use and goes with its last subscriber and its history. Copied before it returns. link: 0.
 * With the id of a link (encke_link_open) it goes to the bus at the other end, in order, again until it is acknowledged; it may
 * arrive twice. The channel may be "" there, from (where it is not empty) is sent as the user instead of the link's, and
 * ENCKE_LINK_RETURNED tells what was not delivered. Pass sizeof(encke_message). Any thread.
 * ENCKE_E_INVAL: bad name or message, encke_last_error() says which and why; ENCKE_E_GONE: link is not 0 and no link's id;
 * ENCKE_E_AGAIN: the queue of the link is full, one ENCKE_EV_WRITABLE with its id follows; ENCKE_E_NOTSUP: a field newer than this library, or a source (ENCKE_LINK_SOURCE); ENCKE_E_NOMEM: it is larger than ENCKE_OPT_MAX_MEMORY, or there is no
 * memory for the copy; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_publish(encke_sender *sender, encke_id link, const char *channel, const encke_message *message,
                            size_t sizeof_message);

/**
 * Subscribes the client of a request to channels, and to prefixes ("news/" and a star: every channel whose name begins so;
 * "*" alone: all). Settles: the answer is the library's from now on, the id lives on as the subscriber's until
 * ENCKE_EV_DONE, and encke_abort cuts it. The client that comes back with its position gets what it missed, or is told that
 * it cannot: the field Encke-Recovered says yes or no, as do the event "recovered" of SSE and the member of a long poll.
 * The library answers 403 to a page of another origin (ENCKE_OPT_ORIGINS), 426 or 400 to a handshake that is none.
 * A subscriber's id: joins more channels, and of `how` nothing may be set; not as a long poll. A link's id: the host itself
 * follows these channels of the other end ("": all of them), of `how` types, from and since are looked at, and messages come
 * as ENCKE_EV_MESSAGE with the link's id. Pass sizeof(encke_subscription); how may be NULL with 0. Any thread.
 * ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: the answer was begun; ENCKE_E_INVAL: bad name, list,
 * position, transport or field; ENCKE_E_NOTSUP: a flag or field newer than this library; ENCKE_E_CLOSED: the encke was
 * freed. Since 0.1. https://html.spec.whatwg.org/multipage/server-sent-events.html; RFC 2046, 5.1; RFC 6455.
 */
ENCKE_API int encke_subscribe(encke_sender *sender, encke_id id, const char *const *channels, size_t n,
                              const encke_subscription *how, size_t sizeof_subscription);

/**
 * A subscriber leaves a channel or prefix, as it was subscribed; it stays a subscriber, also of nothing. A link's id: ends what
 * encke_subscribe began there for this channel. Any thread.
 * ENCKE_E_GONE: the id is over, or no subscriber's; ENCKE_E_INVAL: bad name; ENCKE_E_CLOSED: the encke was freed. Since
 * 0.1.
 */
ENCKE_API int encke_unsubscribe(encke_sender *sender, encke_id id, const char *channel);

/**
 * From now on this encke has the channels, histories and positions of another: one encke per thread, and a message that
 * is published in any reaches the subscribers of all. Before it has published, subscribed or set anything: options of
 * channels are set after it, and hold for all. What the messages may occupy is ENCKE_OPT_MAX_MEMORY of the encke whose
 * channels they were first. `other` keeps nothing of e, and may be freed before it. [loop thread]
 * ENCKE_E_STATE: e has channels of its own already, or options of channels; ENCKE_E_INVAL: other is NULL; ENCKE_E_CLOSED: the encke of other was
 * freed. Since 0.1.
 */
ENCKE_API int encke_share(encke *e, encke_sender *other);

/**
 * Sets an option of a channel, or of a prefix ("news/" and a star). The name decides before a prefix, a longer prefix
 * before a shorter one. Holds at once, and for channels that come to be later. Any thread.
 * ENCKE_E_INVAL: bad name, or the value is out of range; ENCKE_E_NOTSUP: an option that this library does not know;
 * ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_channel_set(encke_sender *sender, const char *channel, int option, uint64_t value);

/**
 * What is known of a channel. Pass sizeof(encke_channel_facts). Any thread: 1, or 0: there is no such channel now.
 * ENCKE_E_INVAL: bad name, or out is NULL or too small; ENCKE_E_CLOSED: the encke was freed. Since 0.1.
 */
ENCKE_API int encke_channel_get(encke_sender *sender, const char *channel, encke_channel_facts *out,
                                size_t sizeof_facts);

/**
 * The name of the first channel behind `after` in the order of bytes, NUL-terminated: 1, or 0: there is none. "" begins.
 * Channels that come and go meanwhile are met or not; none is met twice. need may be NULL and counts the NUL. Any thread.
 * ENCKE_E_RANGE: name has no room, *need bytes are needed; ENCKE_E_INVAL: after is NULL or not UTF-8; ENCKE_E_CLOSED: the
 * encke was freed. Since 0.1.
 */
ENCKE_API int encke_channel_next(encke_sender *sender, const char *after, char *name, size_t cap, size_t *need);

/* ---- 13. mounts: requests under a path that the library answers itself ------------------------------------------- */

#define ENCKE_MOUNT_BUS   1  /**< A message bus that speaks the msgbus protocol: POST publishes in the channel that
                                  the path names behind the prefix, GET subscribes it ("": everything), with types
                                  and senders in the query (`type`, `sender`). Clients that ask for it get the same
                                  channels as Server-Sent Events, WebSocket, long poll or encke's own multipart; all
                                  of them are the channels of section 12. docs/bus.md is the protocol. */
#define ENCKE_MOUNT_FILES 2  /**< The files of a directory, by GET and HEAD: conditional requests, ranges,
                                  index.html, types by the name's ending. */

#define ENCKE_MOUNT_PASS           1u  /**< encke_mount_options: requests come by encke_pass only; the prefix is
                                            still what is cut off their paths. */
#define ENCKE_MOUNT_SYMLINKS       2u  /**< encke_mount_options: FILES: symbolic links are followed as long as they
                                            stay inside the directory. Without it they are not there. */
#define ENCKE_MOUNT_DOTFILES       4u  /**< encke_mount_options: FILES: names that begin with a dot are served too. */
#define ENCKE_MOUNT_PRECOMPRESSED  8u  /**< encke_mount_options: FILES: who accepts it gets name.br or name.gz, if
                                            it is beside the file and not older. */
#define ENCKE_MOUNT_CORS          16u  /**< encke_mount_options: BUS: pages of every origin may read and publish
                                            (CORS). */

/** How a mount behaves. Zero it first. Grows at the end only. */
typedef struct encke_mount_options {
  /** FILES: its path. It is opened now: renamed later, it is still the same. */
  encke_str directory;
  /**
   * Not empty: requests need HTTP Basic authentication with this password; any user will do. Else 401. It guards this
   * mount's paths as they are spelled, not the files: another mount over the same directory shows them without it.
   */
  encke_str secret;
  /** ENCKE_MOUNT_PASS, ENCKE_MOUNT_SYMLINKS, ENCKE_MOUNT_DOTFILES, ENCKE_MOUNT_PRECOMPRESSED, ENCKE_MOUNT_CORS */
  uint32_t flags;
  /** With secret: the realm that the 401 names; empty: "msgbus" for BUS, "files" for FILES. */
  encke_str realm;
  /** Of every answer: caching, security policies. Copied. */
  const encke_field *fields;
  size_t nfields;
} encke_mount_options;

/**
 * Answers requests whose path begins with this prefix, from now on: they are no events of the host any more, but count in
 * the statistics. A prefix begins and ends with '/': "/msgbus/", or "/" for everything; it is compared with the path as it
 * came, not decoded. Of several the longest wins; what none fits is the host's. NULL: reached by encke_pass only, nothing is
 * cut off. *out (may be NULL without ENCKE_MOUNT_PASS) gets the id, for encke_pass and encke_close, which ends the mount:
 * answers and subscriptions under way go on. Pass sizeof(encke_mount_options); options may be NULL with 0 for BUS.
 * [loop thread]
 * ENCKE_E_INVAL: bad kind, prefix, directory or field, a prefix that another mount has, or a flag of the other kind,
 * encke_last_error() says which; ENCKE_E_SYS: the directory cannot be opened; ENCKE_E_NOTSUP: this build has no mounts
 * (encke_has_feature("mounts")), or a flag or field newer than this library; ENCKE_E_NOMEM: too many. Since 0.1.
 */
ENCKE_API int encke_mount(encke *e, int kind, const char *prefix, const encke_mount_options *options,
                          size_t sizeof_options, encke_id *out);

/**
 * Lets a mount answer a request of the host, so that the host's own authorisation comes first. Settles; a path that does
 * not begin with the mount's prefix is answered 404. DONE comes as after encke_respond; where it became a subscription the
 * id lives on as the subscriber's, as after encke_subscribe. What a WebSocket says to a bus is published there; with
 * ENCKE_WANT(ENCKE_EV_MESSAGE) among ENCKE_OPT_EVENTS it is shown as well. Any thread.
 * ENCKE_E_GONE: the id is over, or the peer is gone; ENCKE_E_STATE: the answer was begun, or a piece of the body was shown;
 * ENCKE_E_INVAL: no mount of this encke; ENCKE_E_NOTSUP: this build has no mounts; ENCKE_E_CLOSED: the encke was freed.
 * Since 0.1.
 */
ENCKE_API int encke_pass(encke_sender *sender, encke_id request, encke_id mount);

/* ---- 14. links: the client's side of a bus ----------------------------------------------------------------------- */

#define ENCKE_LINK_REPORT 1u  /**< encke_link_options: each acknowledged message is told by ENCKE_LINK_ACKED. */
#define ENCKE_LINK_ONCE   2u  /**< encke_link_options: no message is sent twice: what was on its way when the
                                   connection was lost comes back as ENCKE_LINK_RETURNED. */
#define ENCKE_LINK_SOURCE 4u  /**< encke_link_options: the URL is one source of any server, whole, with its query:
                                   text/event-stream, or multipart/x-mixed-replace. Without a port 80 (https: 443),
                                   without a path "/". */

#define ENCKE_LINK_UP       1  /**< ENCKE_EV_LINK: connected, and the other end agreed. After it was down: it goes
                                    on without loss unless ENCKE_LINK_GAP says otherwise. */
#define ENCKE_LINK_DOWN     2  /**< ENCKE_EV_LINK: lost, or it could not be reached; data is one line that says why.
                                    It is tried again. */
#define ENCKE_LINK_REFUSED  3  /**< ENCKE_EV_LINK: the server answered a subscription with another status than 200:
                                    it is in `more`. It is tried again after the longest pause; after 408, 425, 429,
                                    500 and 502 to 504 as after a lost connection. After 204 of a source it is over.
                                    data is where a redirect points to: it is not followed. */
#define ENCKE_LINK_GAP      4  /**< ENCKE_EV_LINK: of a subscription that came back: messages may have been missed.
                                    Of a source of events also: one was larger than max_message and left out. */
#define ENCKE_LINK_ACKED    5  /**< ENCKE_EV_LINK, with ENCKE_LINK_REPORT: of the messages that encke_publish took
                                    for this link, numbered from 1, all up to `cookie` were acknowledged or have
                                    come back. */
#define ENCKE_LINK_RETURNED 6  /**< ENCKE_EV_LINK: the message with the number `cookie`, in channel and message, was
                                    not delivered and is not tried again. `more` is the status of the server that
                                    refused it; 0: nobody knows whether it arrived (ENCKE_LINK_ONCE), or the link
                                    was closed. */
#define ENCKE_LINK_CLOSED   7  /**< ENCKE_EV_LINK: the last event of this id, after encke_close. */

/** How a link behaves. Zero it first. Grows at the end only. */
typedef struct encke_link_options {
  /** For HTTP Basic authentication; the user is the sender of what is published. */
  encke_str user;
  encke_str password;
  /** https: the certificates in PEM that the server's must come from; empty: those of the system. */
  encke_str ca_pem;
  /**
   * The longest pause between two attempts to connect; 0: 30,000. Pauses begin at 100 ms, double, and vary by chance.
   */
  uint64_t retry_ms_max;
  /**
   * What encke_publish takes before ENCKE_E_AGAIN: bytes of messages not acknowledged, and their number; 0: 1 MiB, 10,000.
   */
  uint64_t queue_bytes;
  uint64_t queue_messages;
  /** Bytes of a message from the bus at the most; a larger one ends its connection. 0: 16 MiB. */
  uint64_t max_message;
  /** ENCKE_LINK_REPORT, ENCKE_LINK_ONCE, ENCKE_LINK_SOURCE */
  uint32_t flags;
  /** Messages on their way at the same time; 0: 64; 1: one after the other. */
  uint32_t window;
  /** ws and wss: the subprotocol that is asked for; a server may do without it. */
  encke_str protocol;
} encke_link_options;

/**
 * Opens a link to a bus: "http://127.0.0.1:8888/msgbus/", "https://[::1]:4444/bus/", "unix:/run/x.sock:/msgbus/". Without a
 * port 8888 (https: 4444), without a path "/msgbus/"; NULL: http://127.0.0.1:8888/msgbus/. A path ends in '/': the names of
 * channels stand behind it. Connections are made when something is published or subscribed, kept, and made anew when they are
 * lost, all inside encke_run.
 * "ws://127.0.0.1/path?query" and "wss://..." are a WebSocket that is listened to, and with ENCKE_LINK_SOURCE any http, https or
 * unix URL is one stream of any server: each is a source, of which encke_link_subscribe makes a connection, whatever name the
 * channel has there; nothing is published to it. *link gets its id, for encke_publish, encke_subscribe, encke_unsubscribe, encke_set_user and
 * encke_close. What happens is told by ENCKE_EV_LINK and ENCKE_EV_MESSAGE. Pass sizeof(encke_link_options); options may be NULL
 * with 0. [loop thread]
 * ENCKE_E_INVAL: the URL or an option is not understood, encke_last_error() says what is wrong with it; ENCKE_E_TLS: ca_pem, or
 * the system, has no usable certificate; ENCKE_E_NOTSUP: this build has no links (encke_has_feature("links")), or https and no
 * TLS, or a flag or field newer than this library; ENCKE_E_SYS: no random numbers; ENCKE_E_NOMEM. Since 0.1. RFC 7617; RFC 6455, 4.1.
 */
ENCKE_API int encke_link_open(encke *e, const char *url, const encke_link_options *options, size_t sizeof_options,
                              encke_id *link);

/**
 * Subscribes one channel of a link under an id of its own: what comes for it carries this id and its encke_set_user, and
 * encke_close ends it alone. "": every channel. Of `how` types, from and since are looked at; NULL with 0: everything. Pass
 * sizeof(encke_subscription). [loop thread]
 * ENCKE_E_GONE: no such link; ENCKE_E_INVAL: bad name, list or position, or out is NULL; ENCKE_E_NOTSUP: a flag or field newer
 * than this library, or one that a link has no use for, or types and from of a source. Since 0.1.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
ENCKE_API int encke_link_subscribe(encke *e, encke_id link, const char *channel, const encke_subscription *how,
                                   size_t sizeof_subscription, encke_id *out);

#ifdef __cplusplus
}
#endif
#endif /* ENCKE_H */
