/* certificate.h - a certificate and its key, PEM, made on the spot; NULL without OpenSSL. The caller frees both. */
#ifndef CERTIFICATE_H
#define CERTIFICATE_H

void certificate_make(char **chain, char **key);

#endif
