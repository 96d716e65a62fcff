/*
 * layer.h - the TLS of a client, between its socket and what it says. Private to the harness: peer.c has the sockets,
 * layer.c the TLS, no_tls.c stands in for layer.c where there is no OpenSSL.
 */
#ifndef LAYER_H
#define LAYER_H

#include "check.h"

typedef struct layer layer;

int    layer_wanted(void);               /* by ENCKE_TEST_TLS */
layer *layer_open(void);                 /* as ENCKE_TEST_TLS says; NULL: plain */
void   layer_free(layer *);
void   layer_say(layer *, const void *data, size_t n);
void   layer_hear(peer *, const void *cipher, size_t n); /* what it says goes to peer.in */
void   layer_move(peer *);               /* whatever can go on does; ciphertext goes to peer.out */
void   layer_end(layer *);               /* close_notify behind what was said */
int    layer_established(const layer *); /* or will never be */
int    layer_said(const layer *);        /* all of it was encrypted, close_notify included; or never will be */
int    layer_closed(const layer *);      /* the server's close_notify came */
void   layer_over(void);                 /* check_end(): what all of them share is freed */

/* of certs.c and tls_host.c */
void cert_free_all(void);
void tls_host_over(void);

/* of peer.c */
peer *peer_make(int fd, int own, layer *);
int   peer_socket(int port, int small);
void  peer_put(peer *, const void *data, size_t n);  /* into out */
void  peer_room(peer *, size_t n);                   /* in has room for so many more */

#endif
