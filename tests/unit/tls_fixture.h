/*
 * tls_fixture: certificates made in the test itself by OpenSSL, in PEM, and
 * files to put them in. For unit tests of net/ that speak TLS.
 */
#ifndef DAEMUN_TEST_TLS_FIXTURE_H
#define DAEMUN_TEST_TLS_FIXTURE_H

#include "net/tls.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture_cert {
    X509 *x;
    EVP_PKEY *key;
    char *chain_pem;
    char *key_pem;
};

static inline char *fixture_bio_text(BIO *bio)
{
    char *p = NULL;
    const long len = BIO_get_mem_data(bio, &p);
    char *text = calloc(1, (size_t)len + 1);
    memcpy(text, p, (size_t)len);
    BIO_free(bio);
    return text;
}

static inline void
fixture_add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
}

/*
 * `is_rsa` chooses the key; `names` is a value of subjectAltName, or NULL;
 * `issuer` NULL: self-signed, an authority. Valid from now - 1 day until
 * `end_days` from now.
 */
static inline void fixture_make(struct fixture_cert *cert,
                                bool is_rsa,
                                const char *common_name,
                                const char *names,
                                const struct fixture_cert *issuer,
                                long end_days)
{
    static long serial = 1;
    cert->key = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    assert_non_null(cert->key);
    cert->x = X509_new();
    X509_set_version(cert->x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert->x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert->x), -86400L * 10);
    X509_gmtime_adj(X509_getm_notAfter(cert->x), 86400L * end_days);
    X509_set_pubkey(cert->x, cert->key);
    X509_NAME *name = X509_get_subject_name(cert->x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)common_name, -1, -1, 0);
    X509_set_issuer_name(
        cert->x, issuer != NULL ? X509_get_subject_name(issuer->x) : name);
    fixture_add_ext(cert->x, issuer != NULL ? issuer->x : cert->x,
                    NID_basic_constraints,
                    issuer != NULL ? "CA:FALSE" : "critical,CA:TRUE");
    if (names != NULL) {
        fixture_add_ext(cert->x, cert->x, NID_subject_alt_name, names);
    }
    assert_true(X509_sign(cert->x, issuer != NULL ? issuer->key : cert->key,
                          EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert->x);
    cert->chain_pem = fixture_bio_text(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, cert->key, NULL, NULL, 0, NULL, NULL);
    cert->key_pem = fixture_bio_text(bio);
}

static inline void fixture_free(struct fixture_cert *cert)
{
    X509_free(cert->x);
    EVP_PKEY_free(cert->key);
    free(cert->chain_pem);
    free(cert->key_pem);
}

static inline struct tls_pair fixture_pair(const struct fixture_cert *cert)
{
    const struct tls_pair pair = {.chain_pem = str_from(cert->chain_pem),
                                  .key_pem = str_from(cert->key_pem)};
    return pair;
}

/* A file with these bytes; `path` ends in XXXXXX. The caller unlinks. */
static inline void fixture_write_file(char *path, const void *p, size_t len)
{
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, len), (ssize_t)len);
    close(fd);
}

#endif
