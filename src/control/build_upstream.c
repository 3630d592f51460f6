/*
 * build_upstream: upstreams of a snapshot. An upstream whose settings,
 * addresses and files are what they were is shared with the snapshot before,
 * with its tables and cursors. Control thread.
 */
#include "base/check.h"
#include "base/mem.h"
#include "control/build.h"
#include "http/grpc.h"
#include "net/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    BUILD_UPSTREAM_BYTES_MAX = 256 * 1024 * 1024,
    BUILD_ENDPOINTS_MAX = 65536
};

/* An endpoint while it is collected. */
struct build_endpoint {
    struct addr addr;
    char id[ADDR_TEXT_MAX];
    struct str host; /* as configured: the TLS name when none is given */
    uint32_t weight;
    uint32_t max_requests;
    uint32_t max_conns;
};

struct build_endpoints {
    struct build_endpoint *at;
    size_t n;
};

static int build_endpoint_order(const void *a, const void *b)
{
    const struct build_endpoint *ea = a;
    const struct build_endpoint *eb = b;
    return strcmp(ea->id, eb->id);
}

static bool build_endpoint_add(struct build *b,
                               const struct node *n,
                               struct build_endpoints *eps)
{
    struct addr addrs[RESOLVE_N_MAX];
    struct error err = {0};
    const struct str text = settings_text(n, "address");
    const size_t n_addrs = resolve(text, addrs, &err);
    uint16_t port;
    if (n_addrs == 0) {
        build_explain(b, n, &err);
        return false;
    }
    error_fini(&err);
    if (eps->n + n_addrs > BUILD_ENDPOINTS_MAX) {
        return node_problem(n, b->err, "more than %d endpoints",
                            BUILD_ENDPOINTS_MAX);
    }
    eps->at = mem_resize(eps->at, (eps->n + n_addrs) * sizeof(*eps->at));
    for (size_t i = 0; i < n_addrs; i++) {
        struct build_endpoint *ep = &eps->at[eps->n++];
        memset(ep, 0, sizeof(*ep));
        ep->addr = addrs[i];
        addr_print(&addrs[i], ep->id);
        if (!addr_split(text, &ep->host, &port)) {
            ep->host = STR_NONE;
        }
        ep->weight = (uint32_t)settings_number(n, "weight");
        ep->max_requests = (uint32_t)settings_number(n, "max_requests");
        ep->max_conns = (uint32_t)settings_number(n, "max_connections");
    }
    return true;
}

/* Sorted by id; an address that is there twice is a mistake. False when some
 * are missing. */
static bool build_endpoints_collect(struct build *b,
                                    const struct node *up,
                                    struct build_endpoints *eps)
{
    const struct node *list = settings_child(up, "endpoints");
    bool is_ok = true;
    for (const struct node *n = list != NULL ? list->first : NULL; n != NULL;
         n = n->next) {
        is_ok = settings_is_sound(n) && build_endpoint_add(b, n, eps) && is_ok;
    }
    if (eps->n > 1) {
        qsort(eps->at, eps->n, sizeof(*eps->at), build_endpoint_order);
    }
    for (size_t i = 1; i < eps->n; i++) {
        if (strcmp(eps->at[i - 1].id, eps->at[i].id) == 0) {
            is_ok = node_problem(list, b->err,
                                 "%s is there twice; give one endpoint the "
                                 "weight of both",
                                 eps->at[i].id);
        }
    }
    return is_ok;
}

static void build_print_node(const struct node *n, struct buf *out)
{
    char text[64];
    buf_append_str(out, str_from(n->name));
    buf_append_str(out, STR("="));
    buf_append_str(out, str_from(n->text));
    const int len = snprintf(text, sizeof(text), "|%lld|%g|%d{",
                             (long long)n->number, n->real, n->flag);
    buf_append(out, text, (size_t)len);
    for (const struct node *m = n->first; m != NULL; m = m->next) {
        build_print_node(m, out);
    }
    buf_append_str(out, STR("}"));
}

/* When, and how large: a file that was replaced makes a new upstream. */
static void
build_print_file(const struct node *tls, const char *key, struct buf *out)
{
    char text[128];
    struct stat st;
    char *path = settings_file(tls, key);
    if (path != NULL && stat(path, &st) == 0) {
        const int len =
            snprintf(text, sizeof(text), "%s:%lld.%ld/%lld/%llu;", key,
                     (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                     (long long)st.st_size, (unsigned long long)st.st_ino);
        buf_append(out, text, (size_t)len);
    }
    mem_free(path);
}

/* Everything that an upstream is built from, as text. */
static char *build_fingerprint(const struct node *up,
                               const struct build_endpoints *eps,
                               const struct codec_limits *limits)
{
    struct buf out;
    char text[32];
    buf_init(&out, NULL);
    build_print_node(up, &out);
    for (size_t i = 0; i < eps->n; i++) {
        buf_append_str(&out, str_from(eps->at[i].id));
        buf_append_str(&out, STR(";"));
    }
    const struct node *tls = settings_child(up, "tls");
    build_print_file(tls, "ca", &out);
    build_print_file(tls, "chain", &out);
    build_print_file(tls, "key", &out);
    snprintf(text, sizeof(text), "%p", (const void *)limits);
    buf_append_str(&out, str_from(text));
    char *result = mem_new(buf_len(&out) + 1);
    size_t at = 0;
    while (buf_len(&out) > 0) {
        const struct str piece = buf_peek(&out);
        memcpy(result + at, piece.p, piece.len);
        at += piece.len;
        buf_drop(&out, piece.len);
    }
    buf_fini(&out);
    return result;
}

static struct upstream *
build_find_old(const struct build *b, struct str name, const char *fingerprint)
{
    for (size_t i = 0; b->old != NULL && i < b->old->n_upstreams; i++) {
        struct upstream *up = b->old->upstreams[i];
        if (str_eq(up->name, name) &&
            str_eq(up->fingerprint, str_from(fingerprint))) {
            return up;
        }
    }
    return NULL;
}

static enum upstream_protocol build_protocol(const struct node *n)
{
    const struct str word = settings_text(n, "protocol");
    if (str_eq(word, STR("h2c"))) {
        return UPSTREAM_H2C;
    }
    if (str_eq(word, STR("h2"))) {
        return UPSTREAM_H2;
    }
    return str_eq(word, STR("auto")) ? UPSTREAM_AUTO : UPSTREAM_HTTP1;
}

static struct str build_up_copy(struct upstream *up, struct str s)
{
    if (s.len == 0) {
        return STR_NONE;
    }
    const struct str copy = arena_copy(&up->arena, s);
    CHECK(copy.p != NULL);
    return copy;
}

/* Header names are matched in lower case; other names are as they are. */
static struct str build_hash_part(struct upstream *up, struct str text)
{
    if (text.len == 0 || !str_starts(text, STR("header:"))) {
        return build_up_copy(up, text);
    }
    char *lower = arena_take(&up->arena, text.len);
    CHECK(lower != NULL);
    str_lower(lower, text);
    return str_make(lower, text.len);
}

static bool
build_hash_key(struct build *b, const struct node *balance, struct upstream *up)
{
    const struct node *list = settings_child(balance, "hash_on");
    bool is_ok = true;
    up->key.seed = (uint64_t)settings_number(balance, "hash_seed");
    for (const struct node *m = list != NULL ? list->first : NULL; m != NULL;
         m = m->next) {
        struct error err = {0};
        if (settings_is_sound(m) &&
            !hash_key_add(&up->key, build_hash_part(up, str_from(m->text)),
                          &err)) {
            build_explain(b, m, &err);
            is_ok = false;
        }
    }
    return is_ok;
}

static bool build_cookie(struct build *b,
                         struct upstream *up,
                         const struct node *n,
                         struct cookie_rule *rule)
{
    if (n == NULL || !settings_is_sound(n)) {
        return n == NULL;
    }
    rule->name = build_up_copy(up, settings_text(n, "name"));
    rule->path = build_up_copy(up, settings_text(n, "path"));
    rule->ttl_seconds = (uint32_t)settings_number(n, "ttl_seconds");
    if (!name_is_valid(rule->name)) {
        return node_problem(n, b->err,
                            "the name of a cookie has letters, "
                            "digits and - _ . only");
    }
    if (!str_starts(rule->path, STR("/")) || !value_is_valid(rule->path) ||
        str_find_char(rule->path, ';') < rule->path.len) {
        return node_problem(n, b->err,
                            "the path of a cookie begins with / "
                            "and has no ; in it");
    }
    return true;
}

/* A minted cookie must be part of the key, else it would decide nothing. */
static bool build_mint_is_used(struct build *b,
                               const struct node *balance,
                               const struct upstream *up)
{
    for (size_t i = 0; i < up->key.n_parts; i++) {
        if (up->key.parts[i].kind == HASH_COOKIE &&
            str_eq(up->key.parts[i].name, up->mint.name)) {
            return true;
        }
    }
    return up->mint.name.p == NULL ||
           node_problem(settings_child(balance, "mint_cookie"), b->err,
                        "hash_on does not have \"cookie:%.*s\"; add it, so "
                        "that the cookie decides",
                        STR_ARG(up->mint.name));
}

static bool
build_balance(struct build *b, const struct node *n, struct upstream *up)
{
    const struct node *balance = settings_child(n, "balance");
    const struct balance_settings settings = {
        .bounded_load_percent =
            (uint32_t)settings_number(balance, "bounded_load_percent"),
        .table_size = (uint32_t)settings_number(balance, "table_size"),
        .ring_points = (uint32_t)settings_number(balance, "ring_points"),
        .seed = (uint64_t)settings_number(balance, "hash_seed"),
    };
    const struct str policy = settings_text(balance, "policy");
    const struct str fallback = settings_text(balance, "fallback");
    struct error err = {0};
    bool is_ok = build_hash_key(b, balance, up);
    is_ok = build_cookie(b, up, settings_child(balance, "mint_cookie"),
                         &up->mint) &&
            is_ok;
    is_ok = build_cookie(b, up, settings_child(balance, "sticky_cookie"),
                         &up->sticky) &&
            is_ok;
    if (!settings_is_sound(balance)) {
        return false;
    }
    is_ok = is_ok && build_mint_is_used(b, balance, up);
    up->balance = balance_build(
        balance_find(policy.len > 0 ? policy : STR("round_robin")),
        balance_find(fallback.len > 0 ? fallback : STR("random")),
        up->balance_endpoints, up->n_endpoints, &settings, &err);
    if (up->balance == NULL) {
        build_explain(b, balance != NULL ? balance : n, &err);
    }
    error_fini(&err);
    return is_ok && up->balance != NULL;
}

/* What one endpoint trusts: its own name unless one is given for all. */
static struct tls_client *build_client(struct build *b,
                                       const struct node *n,
                                       struct upstream *up,
                                       struct str host)
{
    const struct node *tls = settings_child(n, "tls");
    struct str name = settings_text(tls, "server_name");
    char *ca = settings_file(tls, "ca");
    char *chain = settings_file(tls, "chain");
    char *key = settings_file(tls, "key");
    char *name_text = name.len > 0 ? mem_copy_text(name.p, name.len)
                                   : mem_copy_text(host.p, host.len);
    const struct tls_client_settings settings = {
        .ca_path = ca,
        .server_name = name_text,
        .is_verify_off = !settings_flag(tls, "verify"),
        .chain_path = chain,
        .key_path = key,
        .has_h2 = up->protocol == UPSTREAM_H2 || up->protocol == UPSTREAM_AUTO,
        .has_http1 = up->protocol != UPSTREAM_H2,
    };
    struct error err = {0};
    struct tls_client *client = tls_client_new(&settings, &err);
    if (client == NULL) {
        build_explain(b, tls, &err);
    }
    error_fini(&err);
    mem_free(ca);
    mem_free(chain);
    mem_free(key);
    mem_free(name_text);
    return client;
}

/* Whether there is TLS to be built: with problems of its own there is not. */
static bool build_has_tls(const struct node *n)
{
    return settings_sound_child(n, "tls") != NULL;
}

/* Endpoints of one host share their trust. */
static struct tls_client *build_client_shared(struct build *b,
                                              const struct node *n,
                                              struct upstream *up,
                                              const struct build_endpoints *eps,
                                              size_t i)
{
    const bool has_name =
        settings_text(settings_child(n, "tls"), "server_name").len > 0;
    for (size_t j = 0; j < i; j++) {
        if (has_name || str_eq(eps->at[j].host, eps->at[i].host)) {
            if (up->endpoints[j].tls != NULL) {
                tls_client_ref(up->endpoints[j].tls);
            }
            return up->endpoints[j].tls;
        }
    }
    return build_client(b, n, up, eps->at[i].host);
}

static struct slot *build_slot(struct build *b,
                               const struct upstream *up,
                               const struct endpoint *ep)
{
    const struct str trust =
        ep->tls != NULL ? tls_client_identity(ep->tls) : STR("plain");
    const size_t size = up->name.len + ep->id.len + trust.len + 64;
    char *key = mem_new(size);
    const int len =
        snprintf(key, size, "endpoint|%.*s|%.*s|%d|%.*s", STR_ARG(up->name),
                 STR_ARG(ep->id), (int)up->protocol, STR_ARG(trust));
    struct slot *slot = scoreboard_take(
        b->world->scoreboard, str_make(key, (size_t)len), up->name, ep->id);
    mem_free(key);
    return slot;
}

/* The files of an upstream that has no endpoint (yet) are read all the same. */
static bool
build_client_try(struct build *b, const struct node *n, struct upstream *up)
{
    struct tls_client *client = build_client(b, n, up, STR("localhost"));
    tls_client_unref(client);
    return client != NULL;
}

/* What is wrong with the files is told once, not for each endpoint. */
static bool build_endpoint_tls(struct build *b,
                               const struct node *n,
                               struct upstream *up,
                               const struct build_endpoints *eps,
                               size_t i)
{
    if (!build_has_tls(n)) {
        return true;
    }
    up->endpoints[i].tls = build_client_shared(b, n, up, eps, i);
    return up->endpoints[i].tls != NULL;
}

/* Over HTTP/1.1 a request has a connection to itself: who may not have the one
 * must not get the other. */
static uint32_t build_requests_max(const struct upstream *up,
                                   const struct endpoint *ep,
                                   const struct build_endpoint *from,
                                   uint32_t n_requests_max)
{
    const uint32_t max =
        from->max_requests != 0 ? from->max_requests : n_requests_max;
    return up->protocol == UPSTREAM_HTTP1 && ep->n_conns_max < max
               ? ep->n_conns_max
               : max;
}

static bool build_endpoints(struct build *b,
                            const struct node *n,
                            struct upstream *up,
                            const struct build_endpoints *eps)
{
    bool is_ok = eps->n > 0 || !build_has_tls(n) || build_client_try(b, n, up);
    const uint32_t n_conns_max =
        (uint32_t)settings_number(n, "connections_max");
    const uint32_t n_requests_max =
        (uint32_t)settings_number(n, "requests_max");
    up->endpoints = mem_new_array(eps->n + 1, sizeof(*up->endpoints));
    up->balance_endpoints =
        mem_new_array(eps->n + 1, sizeof(*up->balance_endpoints));
    for (size_t i = 0; i < eps->n; i++) {
        const struct build_endpoint *from = &eps->at[i];
        struct endpoint *ep = &up->endpoints[i];
        up->n_endpoints = i + 1;
        ep->addr = from->addr;
        ep->id = build_up_copy(up, str_from(from->id));
        ep->upstream = up;
        ep->n_conns_max = from->max_conns != 0 ? from->max_conns : n_conns_max;
        is_ok = is_ok && build_endpoint_tls(b, n, up, eps, i);
        ep->slot = build_slot(b, up, ep);
        if (ep->slot == NULL) {
            up->n_endpoints = i;
            tls_client_unref(ep->tls);
            return node_problem(n, b->err, "more than %d endpoints in all",
                                SCOREBOARD_N_MAX);
        }
        up->balance_endpoints[i] = (struct balance_endpoint){
            .id = ep->id,
            .weight = from->weight,
            .max_requests = build_requests_max(up, ep, from, n_requests_max),
            .slot = ep->slot,
        };
    }
    return is_ok;
}

static enum check_kind build_check_kind(const struct node *check)
{
    const struct str word = settings_text(check, "kind");
    if (str_eq(word, STR("tcp"))) {
        return CHECK_TCP;
    }
    if (str_eq(word, STR("http"))) {
        return CHECK_HTTP;
    }
    return str_eq(word, STR("grpc")) ? CHECK_GRPC : CHECK_NONE;
}

static void build_check(const struct node *n, struct upstream *up)
{
    const struct node *check = settings_sound_child(n, "health_check");
    if (check == NULL) {
        return;
    }
    up->check = (struct check){
        .kind = build_check_kind(check),
        .path = build_up_copy(up, settings_text(check, "path")),
        .host = build_up_copy(up, settings_text(check, "host")),
        .service = build_up_copy(up, settings_text(check, "service")),
        .status_min = (int)settings_number(check, "status_min"),
        .status_max = (int)settings_number(check, "status_max"),
        .port = (uint16_t)settings_number(check, "port"),
        .interval_ms = (uint32_t)settings_number(check, "interval_ms"),
        .timeout_ms = (uint32_t)settings_number(check, "timeout_ms"),
        .rise = (uint32_t)settings_number(check, "rise"),
        .fall = (uint32_t)settings_number(check, "fall"),
    };
}

static void build_ejection(const struct node *n, struct upstream *up)
{
    const struct node *e = settings_sound_child(n, "ejection");
    up->ejection = (struct ejection){
        .n_failures = (uint32_t)settings_number(e, "consecutive_failures"),
        .base_ms = (uint32_t)settings_number(e, "base_ms"),
        .max_ms = (uint32_t)settings_number(e, "max_ms"),
        .max_percent = (uint32_t)settings_number(e, "max_percent"),
    };
    up->slow_start_ms = (uint32_t)settings_number(n, "slow_start_ms");
    up->healthy_min_percent =
        (uint32_t)settings_number(n, "healthy_min_percent");
}

static const struct codec_limits *build_upstream_limits(const struct build *b)
{
    struct codec_limits limits = build_limits(b);
    limits.n_requests_max = UINT32_MAX; /* the peer's business */
    limits.age_max_ms = UINT32_MAX;
    return codec_limits_intern(&limits);
}

static struct slot *build_whole_slot(struct build *b, struct str name)
{
    char *key = mem_new(name.len + 16);
    const int len =
        snprintf(key, name.len + 16, "upstream|%.*s", STR_ARG(name));
    struct slot *slot = scoreboard_take(
        b->world->scoreboard, str_make(key, (size_t)len), name, STR_NONE);
    mem_free(key);
    return slot;
}

static void build_upstream_free(struct build_world *world, struct upstream *up)
{
    for (size_t i = 0; i < up->n_endpoints; i++) {
        scoreboard_give(world->scoreboard, up->endpoints[i].slot);
    }
    if (up->slot != NULL) {
        scoreboard_give(world->scoreboard, up->slot);
    }
    upstream_free(up);
}

static void build_queue(const struct node *n, struct upstream *up)
{
    up->n_queue_max = (uint32_t)settings_number(n, "queue_max");
    up->queue_timeout_ms = (uint32_t)settings_number(n, "queue_timeout_ms");
}

static void build_retries(const struct node *n, struct upstream *up)
{
    const struct node *codes = settings_sound_child(n, "retry_grpc_codes");
    up->n_retries_max = (uint32_t)settings_number(n, "retries_max");
    up->retry_budget_percent =
        (uint32_t)settings_number(n, "retry_budget_percent");
    up->n_retry_budget_min = (uint32_t)settings_number(n, "retry_budget_min");
    for (const struct node *m = codes != NULL ? codes->first : NULL; m != NULL;
         m = m->next) {
        const int code = grpc_code_find(str_from(m->text));
        CHECK(code >= 0); /* settings.def has the words */
        up->retry_grpc_codes |= UINT32_C(1) << code;
    }
}

static struct upstream *build_upstream_new(struct build *b,
                                           const struct node *n,
                                           const struct build_endpoints *eps,
                                           const char *fingerprint)
{
    struct upstream *up = mem_new(sizeof(*up));
    arena_init(&up->arena, NULL, BUILD_UPSTREAM_BYTES_MAX);
    up->name = build_up_copy(up, str_from(n->name));
    up->fingerprint = build_up_copy(up, str_from(fingerprint));
    up->protocol = build_protocol(n);
    up->host = build_up_copy(up, settings_text(n, "host"));
    up->limits = build_upstream_limits(b);
    up->slot = build_whole_slot(b, up->name);
    up->cursors = mem_new_lines(b->world->n_workers, sizeof(*up->cursors));
    up->connect_timeout_ms = (uint32_t)settings_number(n, "connect_timeout_ms");
    up->response_timeout_ms =
        (uint32_t)settings_number(n, "response_timeout_ms");
    up->idle_timeout_ms = (uint32_t)settings_number(n, "idle_timeout_ms");
    up->keep_alive_idle_ms = (uint32_t)settings_number(n, "keep_alive_idle_ms");
    up->n_keep_alive_max =
        (uint32_t)settings_number(n, "keep_alive_connections_max");
    build_queue(n, up);
    build_retries(n, up);
    build_check(n, up);
    build_ejection(n, up);
    bool is_ok = true;
    if (up->slot == NULL) {
        is_ok = node_problem(n, b->err,
                             "more than %d upstreams and endpoints "
                             "in all",
                             SCOREBOARD_N_MAX);
    }
    is_ok = build_endpoints(b, n, up, eps) && is_ok;
    is_ok = build_balance(b, n, up) && is_ok;
    if (!is_ok) {
        build_upstream_free(b->world, up);
        return NULL;
    }
    return up;
}

/* Goes on without endpoints that are not known, to see what else is wrong. */
static bool build_upstream(struct build *b, const struct node *n)
{
    struct build_endpoints eps = {0};
    const bool is_ok = build_endpoints_collect(b, n, &eps);
    char *fingerprint = build_fingerprint(n, &eps, build_upstream_limits(b));
    struct upstream *up =
        is_ok ? build_find_old(b, str_from(n->name), fingerprint) : NULL;
    if (up == NULL) {
        up = build_upstream_new(b, n, &eps, fingerprint);
    }
    mem_free(fingerprint);
    mem_free(eps.at);
    if (up == NULL) {
        return false;
    }
    up->n_refs++;
    b->snap->upstreams[b->snap->n_upstreams++] = up;
    map_set(b->upstreams, up->name, up);
    return is_ok;
}

bool build_upstreams(struct build *b)
{
    const struct node *map = settings_child(b->root, "upstreams");
    bool is_ok = true;
    if (map == NULL || map->kind != NODE_GROUP) {
        return map == NULL;
    }
    b->snap->upstreams =
        build_take(b, map->n_children, sizeof(*b->snap->upstreams));
    for (const struct node *n = map->first; n != NULL; n = n->next) {
        is_ok = n->kind == NODE_GROUP && build_upstream(b, n) && is_ok;
    }
    return is_ok;
}

void build_free_upstreams(struct build_world *world, struct snapshot *snap)
{
    for (size_t i = 0; i < snap->n_upstreams; i++) {
        struct upstream *up = snap->upstreams[i];
        if (--up->n_refs == 0) {
            build_upstream_free(world, up);
        }
    }
}
