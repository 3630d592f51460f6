/*
 * conn_end: why a conn ended, in words for the log. See conn_end_text in
 * conn.h. Pure but for the OpenSSL tables that it reads; any thread, while
 * the conn is there.
 */
#define _GNU_SOURCE
#include "net/conn.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>

static const char *conn_end_errno(const struct conn *c, char *dst, size_t size)
{
    if (c->error_number == 0) {
        return "no reason given";
    }
    return strerror_r(c->error_number, dst, size);
}

static void conn_end_tls(const struct conn *c, char *dst, size_t size)
{
    if (c->tls_verify_error != X509_V_OK) {
        snprintf(dst, size, "TLS: certificate of the peer: %s",
                 X509_verify_cert_error_string(c->tls_verify_error));
        return;
    }
    const char *reason = ERR_reason_error_string(c->tls_error);
    char buffer[128];
    if (c->tls_error == 0) {
        snprintf(dst, size, "TLS: the connection ended in the handshake: %s",
                 conn_end_errno(c, buffer, sizeof(buffer)));
    } else {
        ERR_error_string_n(c->tls_error, buffer, sizeof(buffer));
        snprintf(dst, size, "TLS: %s", reason != NULL ? reason : buffer);
    }
}

const char *conn_end_text(const struct conn *c, char *dst, size_t size)
{
    char buffer[128];
    switch (c->end) {
    case CONN_OPEN:
        snprintf(dst, size, "open");
        break;
    case CONN_CLOSED_BY_US:
        snprintf(dst, size, "closed by us");
        break;
    case CONN_CLOSED_BY_PEER:
        snprintf(dst, size, "closed by the peer");
        break;
    case CONN_RESET:
        snprintf(dst, size, "broken: %s",
                 conn_end_errno(c, buffer, sizeof(buffer)));
        break;
    case CONN_CONNECT_FAILED:
        snprintf(dst, size, "connecting failed: %s",
                 conn_end_errno(c, buffer, sizeof(buffer)));
        break;
    case CONN_TLS_FAILED:
        conn_end_tls(c, dst, size);
        break;
    case CONN_NOT_H2:
        snprintf(dst, size,
                 "TLS: the peer did not choose h2 by ALPN; if it speaks "
                 "HTTP/1.1 only, set protocol = \"http1\" or \"auto\"");
        break;
    case CONN_TIMED_OUT:
        snprintf(dst, size, "timed out");
        break;
    }
    return dst;
}
