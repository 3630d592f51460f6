/*
 * tls_server: the certificates of one listener, found by SNI. See tls.h.
 *
 * A site is an SSL_CTX with the pairs of one name: at most one for each kind
 * of key, so that a client that can takes ECDSA and others take RSA. Names
 * that lead to the same pairs share a site; site 0 is the default. All sites
 * of a listener have the same session id context, made from the listener's
 * name and its rules for client certificates: a session never moves to a
 * listener that would have asked for other certificates.
 *
 * Built on the control thread, read by workers, freed by whoever leaves last.
 */
#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/tls.h"
#include "net/tls_cert.h"
#include "net/tls_ctx.h"
#include "net/tls_tickets.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>

enum {
    TLS_SERVER_KINDS_MAX = 4, /* RSA, EC, Ed25519, RSA-PSS */
    TLS_SERVER_SESSION_SECONDS = 3600,
};

struct tls_server_site {
    SSL_CTX *ctx;
    size_t pairs[TLS_SERVER_KINDS_MAX]; /* indexes, ascending */
    size_t n_pairs;
};

struct tls_server {
    atomic_uint n_refs;
    struct tls_server_site **sites; /* the first is the default */
    size_t n_sites;
    struct map *names; /* to struct tls_server_site */
    bool is_sni_strict;
    uint8_t alpn[TLS_CTX_ALPN_MAX];
    size_t alpn_len;
};

/* What is needed while one is built. */
struct tls_server_plan {
    const struct tls_server_settings *settings;
    struct tls_cert *certs;
    struct map *names; /* to struct tls_server_site: pairs only */
    size_t at;         /* the pair whose names are being told */
    X509_STORE *client_roots;
    STACK_OF(X509_NAME) * client_names;
    uint8_t session_context[SSL_MAX_SID_CTX_LENGTH];
};

/* ---- finding ------------------------------------------------------------ */

/* The site for a name in any case; NULL when no certificate covers it. */
static const struct tls_server_site *tls_server_find(const struct tls_server *t,
                                                     struct str host)
{
    char name[TLS_CERT_NAME_MAX];
    if (host.len > 0 && host.p[host.len - 1] == '.') {
        host.len--;
    }
    if (host.len == 0 || host.len >= sizeof(name)) {
        return NULL;
    }
    str_lower(name, host);
    const struct tls_server_site *site =
        map_find(t->names, str_make(name, host.len));
    if (site != NULL) {
        return site;
    }
    /* "*.example.com" covers one label, and only a whole one. */
    const size_t dot = str_find_char(str_make(name, host.len), '.');
    if (dot == 0 || dot == host.len) {
        return NULL;
    }
    name[dot - 1] = '*';
    return map_find(t->names, str_make(name + dot - 1, host.len - dot + 1));
}

static const struct tls_server_site *
tls_server_choose(const struct tls_server *t, struct str host)
{
    const struct tls_server_site *site = tls_server_find(t, host);
    if (site != NULL) {
        return site;
    }
    return t->is_sni_strict && host.len > 0 ? NULL : t->sites[0];
}

bool tls_server_covers(const struct tls_server *t,
                       struct str sni,
                       struct str host)
{
    const struct tls_server_site *a = tls_server_choose(t, sni);
    const struct tls_server_site *b = tls_server_choose(t, host);
    if (a == NULL || b == NULL) {
        return false;
    }
    for (size_t i = 0; i < a->n_pairs; i++) {
        for (size_t k = 0; k < b->n_pairs; k++) {
            if (a->pairs[i] == b->pairs[k]) {
                return true;
            }
        }
    }
    return false;
}

static int tls_server_on_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_server *t = arg;
    const struct str sni =
        str_from(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    const struct tls_server_site *site = tls_server_choose(t, sni);
    if (site == NULL) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    SSL_set_SSL_CTX(ssl, site->ctx);
    return sni.len > 0 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static int tls_server_on_alpn(SSL *ssl,
                              const unsigned char **out,
                              unsigned char *out_len,
                              const unsigned char *in,
                              unsigned in_len,
                              void *arg)
{
    (void)ssl;
    const struct tls_server *t = arg;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_len, t->alpn, (unsigned)t->alpn_len,
                              in, in_len) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- building ----------------------------------------------------------- */

/* True when the pairs of `site` have a key of the same kind already. */
static bool tls_server_has_kind(const struct tls_server_plan *plan,
                                const struct tls_server_site *site,
                                size_t pair)
{
    const int kind = EVP_PKEY_get_base_id(plan->certs[pair].key);
    for (size_t i = 0; i < site->n_pairs; i++) {
        if (EVP_PKEY_get_base_id(plan->certs[site->pairs[i]].key) == kind) {
            return true;
        }
    }
    return false;
}

static void tls_server_add_pair(const struct tls_server_plan *plan,
                                struct tls_server_site *site,
                                size_t pair)
{
    if (site->n_pairs < TLS_SERVER_KINDS_MAX &&
        !tls_server_has_kind(plan, site, pair)) {
        site->pairs[site->n_pairs++] = pair;
    }
}

/* A name of certificate plan->at. */
static void tls_server_on_cert_name(void *arg, struct str name)
{
    struct tls_server_plan *plan = arg;
    struct tls_server_site *site = map_find(plan->names, name);
    if (site == NULL) {
        site = mem_new(sizeof(*site));
        map_set(plan->names, name, site);
    }
    tls_server_add_pair(plan, site, plan->at);
}

static void tls_server_on_default_name(void *arg, struct str name)
{
    void **args = arg;
    const struct tls_server_plan *plan = args[0];
    struct tls_server_site *site = args[1];
    const struct tls_server_site *named = map_find(plan->names, name);
    for (size_t i = 0; named != NULL && i < named->n_pairs; i++) {
        tls_server_add_pair(plan, site, named->pairs[i]);
    }
}

static void tls_server_set_client_auth(SSL_CTX *ctx,
                                       const struct tls_server_plan *plan)
{
    int mode = SSL_VERIFY_NONE;
    switch (plan->settings->client_auth) {
    case TLS_CLIENT_AUTH_OFF:
        break;
    case TLS_CLIENT_AUTH_OPTIONAL:
        mode = SSL_VERIFY_PEER;
        break;
    case TLS_CLIENT_AUTH_REQUIRED:
        mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        break;
    }
    SSL_CTX_set_verify(ctx, mode, NULL);
    if (mode != SSL_VERIFY_NONE) {
        SSL_CTX_set1_cert_store(ctx, plan->client_roots);
        SSL_CTX_set_client_CA_list(ctx, SSL_dup_CA_list(plan->client_names));
    }
}

static SSL_CTX *tls_server_new_ctx(struct tls_server *t,
                                   const struct tls_server_plan *plan,
                                   const struct tls_server_site *site,
                                   struct error *err)
{
    SSL_CTX *ctx =
        tls_ctx_new(TLS_server_method(), plan->settings->min_version, err);
    if (ctx == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < site->n_pairs; i++) {
        if (!tls_cert_use(&plan->certs[site->pairs[i]], ctx, err)) {
            SSL_CTX_free(ctx);
            return NULL;
        }
    }
    tls_server_set_client_auth(ctx, plan);
    SSL_CTX_set_session_id_context(ctx, plan->session_context,
                                   sizeof(plan->session_context));
    SSL_CTX_set_timeout(ctx, TLS_SERVER_SESSION_SECONDS);
    SSL_CTX_set_num_tickets(ctx, 1);
    if (plan->settings->tickets != NULL) {
        tls_tickets_attach(plan->settings->tickets, ctx);
    }
    SSL_CTX_set_tlsext_servername_callback(ctx, tls_server_on_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, t);
    if (t->alpn_len > 0) {
        SSL_CTX_set_alpn_select_cb(ctx, tls_server_on_alpn, t);
    }
    return ctx;
}

/* The site with these pairs, made when there is none; NULL with a message. */
static struct tls_server_site *
tls_server_get_site(struct tls_server *t,
                    const struct tls_server_plan *plan,
                    const struct tls_server_site *wanted,
                    struct error *err)
{
    for (size_t i = 0; i < t->n_sites; i++) {
        struct tls_server_site *site = t->sites[i];
        if (site->n_pairs == wanted->n_pairs &&
            memcmp(site->pairs, wanted->pairs,
                   wanted->n_pairs * sizeof(wanted->pairs[0])) == 0) {
            return site;
        }
    }
    SSL_CTX *ctx = tls_server_new_ctx(t, plan, wanted, err);
    if (ctx == NULL) {
        return NULL;
    }
    struct tls_server_site *site = mem_new(sizeof(*site));
    *site = *wanted;
    site->ctx = ctx;
    t->sites = mem_resize(t->sites, (t->n_sites + 1) * sizeof(*t->sites));
    t->sites[t->n_sites++] = site;
    return site;
}

static bool tls_server_build_sites(struct tls_server *t,
                                   struct tls_server_plan *plan,
                                   struct error *err)
{
    for (plan->at = 0; plan->at < plan->settings->n_pairs; plan->at++) {
        tls_cert_each_name(&plan->certs[plan->at], tls_server_on_cert_name,
                           plan);
    }
    /* The default: the first pair, and other kinds of key for its names. */
    struct tls_server_site first = {.pairs = {0}, .n_pairs = 1};
    void *args[] = {plan, &first};
    tls_cert_each_name(&plan->certs[0], tls_server_on_default_name, args);
    if (tls_server_get_site(t, plan, &first, err) == NULL) {
        return false;
    }
    size_t cursor = 0;
    struct str name;
    void *value;
    while (map_next(plan->names, &cursor, &name, &value)) {
        struct tls_server_site *site = tls_server_get_site(t, plan, value, err);
        if (site == NULL) {
            return false;
        }
        map_set(t->names, name, site);
    }
    return true;
}

/* Who may resume a session: those whom the same rules would let in. */
static void tls_server_hash_context(struct tls_server_plan *plan,
                                    struct str roots_pem)
{
    const struct tls_server_settings *s = plan->settings;
    const char *name = s->name != NULL ? s->name : "";
    const uint8_t rule = (uint8_t)s->client_auth;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned len = sizeof(plan->session_context);
    CHECK(md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
    EVP_DigestUpdate(md, name, strlen(name) + 1);
    EVP_DigestUpdate(md, &rule, 1);
    if (s->client_auth != TLS_CLIENT_AUTH_OFF) {
        EVP_DigestUpdate(md, roots_pem.p, roots_pem.len);
    }
    CHECK(EVP_DigestFinal_ex(md, plan->session_context, &len) == 1);
    EVP_MD_CTX_free(md);
}

static bool tls_server_load_roots(struct tls_server_plan *plan,
                                  struct error *err)
{
    const struct tls_server_settings *s = plan->settings;
    struct str pem = STR_NONE;
    if (s->client_auth != TLS_CLIENT_AUTH_OFF) {
        if (s->client_ca_path == NULL) {
            return error_add(err, "client certificates are asked for, but "
                                  "there is no file of their authorities");
        }
        pem = tls_cert_read_file(s->client_ca_path, err);
        if (pem.p == NULL) {
            return false;
        }
        plan->client_names = sk_X509_NAME_new_null();
        plan->client_roots = tls_cert_read_roots(s->client_ca_path, pem,
                                                 plan->client_names, err);
    }
    tls_server_hash_context(plan, pem);
    mem_free((void *)(uintptr_t)pem.p);
    return s->client_auth == TLS_CLIENT_AUTH_OFF || plan->client_roots != NULL;
}

/* Loads all, so that the operator reads of every problem at once. */
static bool tls_server_load(struct tls_server_plan *plan, struct error *err)
{
    const struct tls_server_settings *s = plan->settings;
    bool is_good = tls_server_load_roots(plan, err);
    for (size_t i = 0; i < s->n_pairs; i++) {
        is_good = tls_cert_load(&plan->certs[i], &s->pairs[i], err) && is_good;
    }
    return is_good;
}

static void tls_server_plan_fini(struct tls_server_plan *plan)
{
    size_t cursor = 0;
    struct str name;
    void *value;
    while (map_next(plan->names, &cursor, &name, &value)) {
        mem_free(value);
    }
    map_free(plan->names);
    for (size_t i = 0; i < plan->settings->n_pairs; i++) {
        tls_cert_fini(&plan->certs[i]);
    }
    mem_free(plan->certs);
    X509_STORE_free(plan->client_roots);
    sk_X509_NAME_pop_free(plan->client_names, X509_NAME_free);
}

static void tls_server_free(struct tls_server *t)
{
    for (size_t i = 0; i < t->n_sites; i++) {
        SSL_CTX_free(t->sites[i]->ctx);
        mem_free(t->sites[i]);
    }
    mem_free(t->sites);
    map_free(t->names);
    mem_free(t);
}

struct tls_server *tls_server_new(const struct tls_server_settings *settings,
                                  struct error *err)
{
    if (settings->n_pairs == 0) {
        error_add(err, "TLS needs at least one certificate");
        return NULL;
    }
    struct tls_server *t = mem_new(sizeof(*t));
    atomic_init(&t->n_refs, 1);
    t->names = map_new();
    t->is_sni_strict = settings->is_sni_strict;
    t->alpn_len =
        tls_ctx_write_alpn(t->alpn, settings->has_h2, settings->has_http1,
                           settings->is_http1_first);
    struct tls_server_plan plan = {.settings = settings, .names = map_new()};
    plan.certs = mem_new_array(settings->n_pairs, sizeof(*plan.certs));
    const bool is_good =
        tls_server_load(&plan, err) && tls_server_build_sites(t, &plan, err);
    tls_server_plan_fini(&plan);
    ERR_clear_error();
    if (!is_good) {
        tls_server_free(t);
        return NULL;
    }
    return t;
}

void tls_server_ref(struct tls_server *t)
{
    atomic_fetch_add_explicit(&t->n_refs, 1, memory_order_relaxed);
}

void tls_server_unref(struct tls_server *t)
{
    if (t != NULL &&
        atomic_fetch_sub_explicit(&t->n_refs, 1, memory_order_acq_rel) == 1) {
        tls_server_free(t);
    }
}

SSL *tls_server_ssl_new(struct tls_server *t)
{
    SSL *ssl = SSL_new(t->sites[0]->ctx);
    CHECK(ssl != NULL);
    SSL_set_accept_state(ssl);
    return ssl;
}
