/*
 * tls_cert: reading certificates, keys and roots. See tls_cert.h. Control
 * thread only: it reads files. Messages name the file and the problem.
 */
#define _GNU_SOURCE
#include "net/tls_cert.h"

#include "base/log.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

const char *tls_cert_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown problem";
}

struct str tls_cert_read_file(const char *path, struct error *err)
{
    char reason[128];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        error_add(err, "%s: cannot be read: %s; correct the path", path,
                  strerror_r(errno, reason, sizeof(reason)));
        return STR_NONE;
    }
    char *text = NULL;
    size_t len = 0;
    size_t n;
    do {
        text = mem_resize(text, len + 16 * 1024 + 1);
        n = fread(text + len, 1, 16 * 1024, file);
        len += n;
    } while (n > 0 && len <= TLS_CERT_FILE_BYTES_MAX);
    const bool is_bad = ferror(file) != 0;
    const int error_number = errno;
    fclose(file);
    text[len] = '\0';
    if (!is_bad && len <= TLS_CERT_FILE_BYTES_MAX) {
        return str_make(text, len);
    }
    error_add(err, "%s: cannot be read: %s; correct the path", path,
              is_bad ? strerror_r(error_number, reason, sizeof(reason))
                     : "the file is too large");
    mem_free(text);
    return STR_NONE;
}

/* No key is ever asked for a password: nobody is there to type it. */
static int tls_cert_no_password(char *buf, int size, int is_writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)is_writing;
    (void)arg;
    return -1;
}

static BIO *tls_cert_open_text(struct str pem)
{
    ERR_clear_error();
    return BIO_new_mem_buf(pem.p, (int)pem.len);
}

/* After the last certificate OpenSSL complains of no further start line. */
static bool tls_cert_is_at_end(void)
{
    const unsigned long code = ERR_peek_last_error();
    const bool is_end =
        code == 0 || (ERR_GET_LIB(code) == ERR_LIB_PEM &&
                      ERR_GET_REASON(code) == PEM_R_NO_START_LINE);
    return is_end;
}

static bool tls_cert_read_chain(struct tls_cert *cert,
                                const char *what,
                                struct str pem,
                                struct error *err)
{
    BIO *bio = tls_cert_open_text(pem);
    cert->chain = sk_X509_new_null();
    X509 *x;
    while (bio != NULL &&
           (x = PEM_read_bio_X509(bio, NULL, tls_cert_no_password, NULL)) !=
               NULL) {
        if (cert->leaf == NULL) {
            cert->leaf = x;
        } else {
            sk_X509_push(cert->chain, x);
        }
    }
    const bool is_complete = tls_cert_is_at_end();
    BIO_free(bio);
    if (cert->leaf == NULL && is_complete) {
        return error_add(err, "%s: holds no certificate in PEM form", what);
    }
    if (!is_complete) {
        return error_add(err, "%s: a certificate is damaged: %s", what,
                         tls_cert_reason());
    }
    return true;
}

static bool tls_cert_read_key(struct tls_cert *cert,
                              const char *what,
                              struct str pem,
                              struct error *err)
{
    BIO *bio = tls_cert_open_text(pem);
    if (bio != NULL) {
        cert->key =
            PEM_read_bio_PrivateKey(bio, NULL, tls_cert_no_password, NULL);
    }
    BIO_free(bio);
    if (cert->key != NULL) {
        return true;
    }
    if (memmem(pem.p, pem.len, "ENCRYPTED", 9) != NULL) {
        return error_add(err,
                         "%s: the key is encrypted; it must be readable "
                         "without a password",
                         what);
    }
    return error_add(err, "%s: holds no private key in PEM form", what);
}

enum { TLS_CERT_RENEW_DAYS = 14 };

static void tls_cert_warn_expiry(const struct tls_cert *cert, const char *what)
{
    const ASN1_TIME *end = X509_get0_notAfter(cert->leaf);
    int n_days = 0;
    int n_seconds = 0;
    if (X509_cmp_current_time(X509_get0_notBefore(cert->leaf)) > 0) {
        log_text(LOG_WARN,
                 "%s: the certificate is not valid yet; clients refuse it "
                 "(is the clock right?)",
                 what);
    } else if (X509_cmp_current_time(end) < 0) {
        log_text(LOG_WARN,
                 "%s: the certificate has expired, and clients refuse it; "
                 "renew it",
                 what);
    } else if (ASN1_TIME_diff(&n_days, &n_seconds, NULL, end) == 1 &&
               n_days < TLS_CERT_RENEW_DAYS) {
        log_text(LOG_WARN, "%s: the certificate ends in %d days; renew it",
                 what, n_days);
    }
}

bool tls_cert_load(struct tls_cert *cert,
                   const struct tls_pair *pair,
                   struct error *err)
{
    const bool is_file = pair->chain_path != NULL;
    const char *chain_name = is_file ? pair->chain_path : "certificate";
    const char *key_name = is_file ? pair->key_path : "private key";
    struct str chain_pem = pair->chain_pem;
    struct str key_pem = pair->key_pem;
    memset(cert, 0, sizeof(*cert));
    if (is_file) {
        if (key_name == NULL) {
            key_name = chain_name;
        }
        chain_pem = tls_cert_read_file(chain_name, err);
        key_pem = tls_cert_read_file(key_name, err);
    }
    bool is_good = chain_pem.p != NULL && key_pem.p != NULL;
    if (is_good) {
        const bool has_chain =
            tls_cert_read_chain(cert, chain_name, chain_pem, err);
        const bool has_key = tls_cert_read_key(cert, key_name, key_pem, err);
        is_good = has_chain && has_key;
    } else if (!is_file) {
        error_add(err, "certificate or private key is missing");
    }
    if (is_good && X509_check_private_key(cert->leaf, cert->key) != 1) {
        is_good = error_add(err,
                            "%s: the key does not belong to the "
                            "certificate in %s",
                            key_name, chain_name);
    }
    if (is_file) {
        if (key_pem.p != NULL) {
            OPENSSL_cleanse((void *)(uintptr_t)key_pem.p, key_pem.len);
        }
        mem_free((void *)(uintptr_t)chain_pem.p);
        mem_free((void *)(uintptr_t)key_pem.p);
    }
    if (is_good) {
        tls_cert_warn_expiry(cert, chain_name);
    } else {
        tls_cert_fini(cert);
    }
    ERR_clear_error();
    return is_good;
}

void tls_cert_fini(struct tls_cert *cert)
{
    X509_free(cert->leaf);
    sk_X509_pop_free(cert->chain, X509_free);
    EVP_PKEY_free(cert->key);
    memset(cert, 0, sizeof(*cert));
}

bool tls_cert_use(const struct tls_cert *cert, SSL_CTX *ctx, struct error *err)
{
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(ctx, cert->leaf, cert->key, cert->chain, 1) !=
        1) {
        /* For example an RSA key below 2048 bits. */
        return error_add(err, "certificate refused: %s", tls_cert_reason());
    }
    return true;
}

static void
tls_cert_tell_dns(const ASN1_STRING *s, tls_cert_name_fn *fn, void *arg)
{
    struct str text = str_make((const char *)ASN1_STRING_get0_data(s),
                               (size_t)ASN1_STRING_length(s));
    char name[TLS_CERT_NAME_MAX];
    if (text.len > 0 && text.p[text.len - 1] == '.') {
        text.len--;
    }
    if (text.len == 0 || text.len > sizeof(name) ||
        memchr(text.p, '\0', text.len) != NULL) {
        return;
    }
    str_lower(name, text);
    fn(arg, str_make(name, text.len));
}

static void
tls_cert_tell_ip(const ASN1_STRING *s, tls_cert_name_fn *fn, void *arg)
{
    char name[INET6_ADDRSTRLEN];
    const int len = ASN1_STRING_length(s);
    const int family = len == 4 ? AF_INET : AF_INET6;
    if ((len == 4 || len == 16) && inet_ntop(family, ASN1_STRING_get0_data(s),
                                             name, sizeof(name)) != NULL) {
        fn(arg, str_from(name));
    }
}

/* The common name counts only when there are no alternative names. */
static void
tls_cert_tell_common_name(const X509 *x, tls_cert_name_fn *fn, void *arg)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0) {
        tls_cert_tell_dns(
            X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), fn,
            arg);
    }
}

void tls_cert_each_name(const struct tls_cert *cert,
                        tls_cert_name_fn *fn,
                        void *arg)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(cert->leaf, NID_subject_alt_name, NULL, NULL);
    if (names == NULL) {
        tls_cert_tell_common_name(cert->leaf, fn, arg);
        return;
    }
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            tls_cert_tell_dns(name->d.dNSName, fn, arg);
        } else if (name->type == GEN_IPADD) {
            tls_cert_tell_ip(name->d.iPAddress, fn, arg);
        }
    }
    GENERAL_NAMES_free(names);
}

X509_STORE *tls_cert_read_roots(const char *path,
                                struct str pem,
                                STACK_OF(X509_NAME) * names,
                                struct error *err)
{
    BIO *bio = tls_cert_open_text(pem);
    X509_STORE *store = X509_STORE_new();
    int n_roots = 0;
    X509 *x;
    while (bio != NULL && store != NULL &&
           (x = PEM_read_bio_X509(bio, NULL, tls_cert_no_password, NULL)) !=
               NULL) {
        n_roots += X509_STORE_add_cert(store, x) == 1;
        if (names != NULL) {
            sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(x)));
        }
        X509_free(x);
    }
    const bool is_complete = tls_cert_is_at_end();
    BIO_free(bio);
    if (n_roots > 0 && is_complete) {
        ERR_clear_error();
        return store;
    }
    if (is_complete) {
        error_add(err, "%s: holds no certificate in PEM form", path);
    } else {
        error_add(err, "%s: a certificate is damaged: %s", path,
                  tls_cert_reason());
    }
    X509_STORE_free(store);
    return NULL;
}
