/*
 * tls_ctx: an OpenSSL context with the options that hold on both sides
 * (docs/design.md): versions, suites, groups, no renegotiation, no
 * compression, buffers given back while idle. Control thread. Private to net/.
 */
#ifndef DAEMUN_NET_TLS_CTX_H
#define DAEMUN_NET_TLS_CTX_H

#include "net/tls.h"

/* OpenSSL before 3.2 has no certificate compression to turn off. */
#ifdef SSL_OP_NO_TX_CERTIFICATE_COMPRESSION
#define TLS_CTX_NO_CERT_COMPRESSION                                            \
    (SSL_OP_NO_TX_CERTIFICATE_COMPRESSION |                                    \
     SSL_OP_NO_RX_CERTIFICATE_COMPRESSION)
#else
#define TLS_CTX_NO_CERT_COMPRESSION 0
#endif

enum { TLS_CTX_ALPN_MAX = 16 };

/* NULL with a message. */
SSL_CTX *
tls_ctx_new(const SSL_METHOD *method, int min_version, struct error *err);
/* ALPN list in wire form, best first; returns its length. */
size_t tls_ctx_write_alpn(uint8_t dst[static TLS_CTX_ALPN_MAX],
                          bool has_h2,
                          bool has_http1,
                          bool is_http1_first);

#endif
