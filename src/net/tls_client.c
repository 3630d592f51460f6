/*
 * tls_client: how an upstream is spoken to and what makes us trust it. See
 * tls.h. Verification is on unless the operator turned it off, and always
 * includes the name. Built on the control thread, immutable, counted.
 */
#define _GNU_SOURCE
#include "base/check.h"
#include "base/mem.h"
#include "net/tls.h"
#include "net/tls_cert.h"
#include "net/tls_ctx.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>

struct tls_client {
    atomic_uint n_refs;
    SSL_CTX *ctx;
    char *server_name; /* NULL: none is sent (verification is off) */
    bool is_address;   /* an address is verified, but never sent as SNI */
    bool is_verify_off;
    char identity[65];
};

static void tls_client_hash(EVP_MD_CTX *md, struct str s)
{
    const uint64_t len = s.len; /* so that no two lists read alike */
    EVP_DigestUpdate(md, &len, sizeof(len));
    if (s.len > 0) {
        EVP_DigestUpdate(md, s.p, s.len);
    }
}

static bool tls_client_load_roots(struct tls_client *t,
                                  const char *ca_path,
                                  EVP_MD_CTX *md,
                                  struct error *err)
{
    if (t->is_verify_off) {
        return true;
    }
    if (ca_path == NULL) {
        tls_client_hash(md, STR("system"));
        return SSL_CTX_set_default_verify_paths(t->ctx) == 1 ||
               error_add(err,
                         "the system's trusted certificates cannot be "
                         "read: %s",
                         tls_cert_reason());
    }
    struct str pem = tls_cert_read_file(ca_path, err);
    if (pem.p == NULL) {
        return false;
    }
    tls_client_hash(md, pem);
    X509_STORE *store = tls_cert_read_roots(ca_path, pem, NULL, err);
    mem_free((void *)(uintptr_t)pem.p);
    if (store == NULL) {
        return false;
    }
    SSL_CTX_set_cert_store(t->ctx, store);
    return true;
}

static bool tls_client_load_cert(struct tls_client *t,
                                 const struct tls_client_settings *settings,
                                 EVP_MD_CTX *md,
                                 struct error *err)
{
    if (settings->chain_path == NULL) {
        tls_client_hash(md, STR_NONE);
        return true;
    }
    const struct tls_pair pair = {.chain_path = settings->chain_path,
                                  .key_path = settings->key_path};
    struct tls_cert cert;
    if (!tls_cert_load(&cert, &pair, err)) {
        return false;
    }
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    CHECK(X509_digest(cert.leaf, EVP_sha256(), digest, &len) == 1);
    tls_client_hash(md, str_make((const char *)digest, len));
    const bool is_good = tls_cert_use(&cert, t->ctx, err);
    tls_cert_fini(&cert);
    return is_good;
}

static bool
tls_client_set_name(struct tls_client *t, const char *name, struct error *err)
{
    uint8_t bytes[16];
    if (name == NULL || name[0] == '\0') {
        return t->is_verify_off ||
               error_add(err, "TLS needs the name that the server's "
                              "certificate must have");
    }
    size_t len = strlen(name);
    if (len >= TLS_CERT_NAME_MAX) {
        return error_add(err, "%s: the name is too long", name);
    }
    if (name[0] == '[' && name[len - 1] == ']') {
        name++;
        len -= 2;
    }
    t->server_name = mem_copy_text(name, len);
    t->is_address = inet_pton(AF_INET, t->server_name, bytes) == 1 ||
                    inet_pton(AF_INET6, t->server_name, bytes) == 1;
    return true;
}

static void tls_client_set_identity(struct tls_client *t, EVP_MD_CTX *md)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    CHECK(EVP_DigestFinal_ex(md, digest, &len) == 1 && len == 32);
    for (unsigned i = 0; i < len; i++) {
        snprintf(t->identity + 2 * i, 3, "%02x", digest[i]);
    }
}

static bool tls_client_build(struct tls_client *t,
                             const struct tls_client_settings *settings,
                             EVP_MD_CTX *md,
                             struct error *err)
{
    uint8_t alpn[TLS_CTX_ALPN_MAX];
    const size_t alpn_len =
        tls_ctx_write_alpn(alpn, settings->has_h2, settings->has_http1, false);
    t->ctx = tls_ctx_new(TLS_client_method(), TLS1_2_VERSION, err);
    if (t->ctx == NULL) {
        return false;
    }
    const char flags[] = {settings->is_verify_off ? 'n' : 'y', '\0'};
    tls_client_hash(md, str_from(flags));
    tls_client_hash(md, str_from(settings->server_name));
    tls_client_hash(md, str_make((const char *)alpn, alpn_len));
    const bool has_name = tls_client_set_name(t, settings->server_name, err);
    const bool has_roots = tls_client_load_roots(t, settings->ca_path, md, err);
    if (!tls_client_load_cert(t, settings, md, err) || !has_name ||
        !has_roots) {
        return false;
    }
    SSL_CTX_set_verify(
        t->ctx, t->is_verify_off ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (alpn_len > 0 &&
        SSL_CTX_set_alpn_protos(t->ctx, alpn, (unsigned)alpn_len) != 0) {
        return error_add(err, "ALPN cannot be set up");
    }
    tls_client_set_identity(t, md);
    return true;
}

static void tls_client_free(struct tls_client *t)
{
    SSL_CTX_free(t->ctx);
    mem_free(t->server_name);
    mem_free(t);
}

struct tls_client *tls_client_new(const struct tls_client_settings *settings,
                                  struct error *err)
{
    struct tls_client *t = mem_new(sizeof(*t));
    atomic_init(&t->n_refs, 1);
    t->is_verify_off = settings->is_verify_off;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    CHECK(md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
    const bool is_good = tls_client_build(t, settings, md, err);
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    if (!is_good) {
        tls_client_free(t);
        return NULL;
    }
    return t;
}

void tls_client_ref(struct tls_client *t)
{
    atomic_fetch_add_explicit(&t->n_refs, 1, memory_order_relaxed);
}

void tls_client_unref(struct tls_client *t)
{
    if (t != NULL &&
        atomic_fetch_sub_explicit(&t->n_refs, 1, memory_order_acq_rel) == 1) {
        tls_client_free(t);
    }
}

struct str tls_client_identity(const struct tls_client *t)
{
    return str_make(t->identity, sizeof(t->identity) - 1);
}

SSL *tls_client_ssl_new(struct tls_client *t)
{
    SSL *ssl = SSL_new(t->ctx);
    CHECK(ssl != NULL);
    SSL_set_connect_state(ssl);
    if (t->server_name == NULL) {
        return ssl;
    }
    if (!t->is_address) {
        CHECK(SSL_set_tlsext_host_name(ssl, t->server_name) == 1);
    }
    if (!t->is_verify_off) {
        X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
        X509_VERIFY_PARAM_set_hostflags(param,
                                        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        CHECK(t->is_address
                  ? X509_VERIFY_PARAM_set1_ip_asc(param, t->server_name) == 1
                  : X509_VERIFY_PARAM_set1_host(param, t->server_name, 0) == 1);
    }
    return ssl;
}

void tls_offer_http1(SSL *ssl)
{
    uint8_t alpn[TLS_CTX_ALPN_MAX];
    const size_t len = tls_ctx_write_alpn(alpn, false, true, true);
    CHECK(SSL_set_alpn_protos(ssl, alpn, (unsigned)len) == 0);
}
