/*
 * tls: what one finished handshake tells about its peer. See tls.h; contexts
 * are in tls_server.c and tls_client.c. Worker thread, on the SSL of a conn.
 */
#include "net/tls.h"

#include "base/check.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>

/* The name in one line of RFC 2253; cut when it does not fit. */
static void tls_print_subject(const X509 *x, char *subject, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    CHECK(bio != NULL && size > 0);
    X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253);
    char *text = NULL;
    const long len = BIO_get_mem_data(bio, &text);
    const struct str s = len > 0 ? str_make(text, (size_t)len) : STR_NONE;
    snprintf(subject, size, "%.*s", STR_ARG(s));
    BIO_free(bio);
}

bool tls_peer_subject(SSL *ssl,
                      char *subject,
                      size_t size,
                      char fingerprint[static 65])
{
    /* With verification off a certificate may be there that nobody checked. */
    if (SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE ||
        SSL_get_verify_result(ssl) != X509_V_OK) {
        return false;
    }
    X509 *x = SSL_get1_peer_certificate(ssl);
    if (x == NULL) {
        return false;
    }
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    tls_print_subject(x, subject, size);
    CHECK(X509_digest(x, EVP_sha256(), digest, &len) == 1 && len == 32);
    for (unsigned i = 0; i < len; i++) {
        snprintf(fingerprint + 2 * i, 3, "%02x", digest[i]);
    }
    X509_free(x);
    ERR_clear_error();
    return true;
}

bool tls_is_resumed(SSL *ssl)
{
    return SSL_session_reused(ssl) == 1;
}
