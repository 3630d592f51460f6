/*
 * tls_ctx: what every TLS context of ours has in common. See tls_ctx.h. The
 * choice of suites and groups is Mozilla's "intermediate" of 2025 without
 * DHE: AES-128-GCM first, ChaCha20 for clients that prefer it.
 */
#include "net/tls_ctx.h"

#include "net/tls_cert.h"

#include <openssl/err.h>

static const char tls_ctx_suites_1_2[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char tls_ctx_suites_1_3[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
    "TLS_CHACHA20_POLY1305_SHA256";

static void tls_ctx_set_options(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA |
                                 TLS_CTX_NO_CERT_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    /* Each record without data comes back to io_tls, which counts it. */
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    /* One system call reads many records; the buffer is freed when empty. */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_early_data(ctx, 0);
}

static bool tls_ctx_set_suites(SSL_CTX *ctx)
{
    /* Not const, as OpenSSL's macros want it. The first needs OpenSSL 3.5. */
    char hybrid_groups[] = "X25519MLKEM768:X25519:P-256:P-384";
    char groups[] = "X25519:P-256:P-384";
    /* Level 2: no SHA-1, no RSA below 2048 bits, no curve below 224. */
    SSL_CTX_set_security_level(ctx, 2);
    return SSL_CTX_set_cipher_list(ctx, tls_ctx_suites_1_2) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, tls_ctx_suites_1_3) == 1 &&
           (SSL_CTX_set1_groups_list(ctx, hybrid_groups) == 1 ||
            SSL_CTX_set1_groups_list(ctx, groups) == 1);
}

SSL_CTX *
tls_ctx_new(const SSL_METHOD *method, int min_version, struct error *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx != NULL && tls_ctx_set_suites(ctx) &&
        SSL_CTX_set_min_proto_version(
            ctx, min_version == 0 ? TLS1_2_VERSION : min_version) == 1) {
        tls_ctx_set_options(ctx);
        ERR_clear_error();
        return ctx;
    }
    error_add(err, "TLS cannot be set up: %s", tls_cert_reason());
    SSL_CTX_free(ctx);
    return NULL;
}

size_t tls_ctx_write_alpn(uint8_t dst[static TLS_CTX_ALPN_MAX],
                          bool has_h2,
                          bool has_http1,
                          bool is_http1_first)
{
    static const char h2[] = "\x02h2";
    static const char http1[] = "\x08http/1.1";
    size_t len = 0;
    if (has_http1 && is_http1_first) {
        memcpy(dst, http1, sizeof(http1) - 1);
        len += sizeof(http1) - 1;
    }
    if (has_h2) {
        memcpy(dst + len, h2, sizeof(h2) - 1);
        len += sizeof(h2) - 1;
    }
    if (has_http1 && !is_http1_first) {
        memcpy(dst + len, http1, sizeof(http1) - 1);
        len += sizeof(http1) - 1;
    }
    return len;
}
