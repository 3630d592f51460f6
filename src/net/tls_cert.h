/*
 * tls_cert: a certificate chain with its key, and sets of trusted roots, read
 * from PEM. Control thread; owned by the tls_server or tls_client that is
 * being built. Private to net/.
 */
#ifndef DAEMUN_NET_TLS_CERT_H
#define DAEMUN_NET_TLS_CERT_H

#include "net/tls.h"

#include <openssl/x509.h>

enum { TLS_CERT_FILE_BYTES_MAX = 4 * 1024 * 1024, TLS_CERT_NAME_MAX = 256 };

struct tls_cert {
    X509 *leaf;
    STACK_OF(X509) * chain; /* without the leaf */
    EVP_PKEY *key;
};

/* Called for each name that a certificate covers: lower case, perhaps with a
 * leading "*."; addresses as text. */
typedef void tls_cert_name_fn(void *arg, struct str name);

/* Reads and checks that chain and key belong together; logs expiry. */
bool tls_cert_load(struct tls_cert *cert,
                   const struct tls_pair *pair,
                   struct error *err);
void tls_cert_fini(struct tls_cert *cert);
/* Gives the certificate to a context. */
bool tls_cert_use(const struct tls_cert *cert, SSL_CTX *ctx, struct error *err);
void tls_cert_each_name(const struct tls_cert *cert,
                        tls_cert_name_fn *fn,
                        void *arg);
/* The whole file, to be freed by mem_free; p NULL with a message. */
struct str tls_cert_read_file(const char *path, struct error *err);
/* All certificates in `pem`; `path` is for messages. NULL with a message. */
X509_STORE *tls_cert_read_roots(const char *path,
                                struct str pem,
                                STACK_OF(X509_NAME) * names,
                                struct error *err);
/* What OpenSSL said last, in words. */
const char *tls_cert_reason(void);

#endif
