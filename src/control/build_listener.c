/*
 * build_listener: listeners of a snapshot, their sockets and certificates.
 * Sockets outlive snapshots: an address that a snapshot had before keeps its
 * sockets, and they close when the last snapshot that uses them is freed.
 * Control thread.
 */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "control/build.h"
#include "net/resolve.h"

enum { BUILD_BACKLOG = 4096 };

/* The file of a UNIX socket belongs to who the process will be: else a reload
 * could not change its mode, and "0660" would let in root's group only. */
static void build_give_file(struct build *b, const struct listener_group *g)
{
    const struct str user = settings_text(b->root, "user");
    if (g->addr.sa.sa_family == AF_UNIX && !g->is_inherited) {
        privilege_give(g->addr.un.sun_path, user.len > 0 ? user.p : "nobody");
    }
}

static struct listener_group *build_group_take(struct build *b,
                                               const struct listener *l,
                                               const struct node *n)
{
    struct list *it;
    struct list *tmp;
    struct error err = {0};
    list_for_each (it, tmp, &b->world->groups) {
        struct build_group *g = CONTAINER_OF(it, struct build_group, node);
        if (addr_eq(&g->group->addr, &l->addr)) {
            g->n_refs++;
            return g->group;
        }
    }
    struct listener_group *group =
        listener_group_open(&l->addr, (mode_t)l->socket_mode,
                            b->world->n_workers, BUILD_BACKLOG, &err);
    if (group == NULL) {
        build_explain(b, n, &err);
        return NULL;
    }
    build_give_file(b, group);
    struct build_group *g = mem_new(sizeof(*g));
    g->group = group;
    g->n_refs = 1;
    list_push_back(&b->world->groups, &g->node);
    return group;
}

static void build_group_give(struct build_world *world,
                             const struct listener_group *group)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &world->groups) {
        struct build_group *g = CONTAINER_OF(it, struct build_group, node);
        if (g->group == group && --g->n_refs == 0) {
            list_remove(&g->node);
            listener_group_close(g->group);
            mem_free(g);
        }
    }
}

/* A list of CIDR texts. */
bool build_nets(struct build *b,
                const struct node *n,
                const char *key,
                struct addr_net **nets,
                size_t *n_nets)
{
    const struct node *list = settings_child(n, key);
    bool is_ok = true;
    size_t i = 0;
    if (list == NULL || list->n_children == 0) {
        return true;
    }
    *nets = build_take(b, list->n_children, sizeof(**nets));
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        struct error err = {0};
        if (settings_is_sound(m) &&
            !addr_net_parse(str_from(m->text), &(*nets)[i++], &err)) {
            build_explain(b, m, &err);
            is_ok = false;
        }
    }
    *n_nets = i;
    return is_ok;
}

static size_t build_n_sound(const struct node *list)
{
    size_t n = 0;
    for (const struct node *m = list != NULL ? list->first : NULL; m != NULL;
         m = m->next) {
        n += settings_is_sound(m);
    }
    return n;
}

/* Both `protocols` and `alpn` have to have it. */
static bool build_has_alpn(const struct node *tls, struct str word)
{
    return settings_lists(tls->parent, "protocols", word) &&
           settings_lists(tls, "alpn", word);
}

static bool build_is_http1_first(const struct node *tls)
{
    const struct node *list = settings_child(tls, "alpn");
    return list != NULL && list->first != NULL &&
           str_eq(str_from(list->first->text), STR("http/1.1"));
}

static enum tls_client_auth build_client_auth(const struct node *tls)
{
    const struct str word = settings_text(tls, "client_auth");
    if (str_eq(word, STR("required"))) {
        return TLS_CLIENT_AUTH_REQUIRED;
    }
    return str_eq(word, STR("optional")) ? TLS_CLIENT_AUTH_OPTIONAL
                                         : TLS_CLIENT_AUTH_OFF;
}

/* Loads those certificates that are named in order, even if others are not. */
static bool
build_tls(struct build *b, const struct node *tls, struct listener *l)
{
    const struct node *list = settings_child(tls, "certificates");
    const bool has_ca = settings_is_sound(settings_child(tls, "client_ca")) &&
                        settings_is_sound(settings_child(tls, "client_auth"));
    const size_t n = build_n_sound(list);
    if (n == 0) {
        return false; /* which was told already */
    }
    struct tls_pair *pairs = mem_new_array(n, sizeof(*pairs));
    char **files = mem_new_array(n * 2 + 1, sizeof(*files));
    size_t i = 0;
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        if (settings_is_sound(m)) {
            pairs[i].chain_path = files[2 * i] = settings_file(m, "chain");
            pairs[i].key_path = files[2 * i + 1] = settings_file(m, "key");
            i++;
        }
    }
    files[2 * n] = has_ca ? settings_file(tls, "client_ca") : NULL;
    const struct str version = settings_text(tls, "min_version");
    const struct tls_server_settings settings = {
        .name = l->name.p,
        .pairs = pairs,
        .n_pairs = n,
        .is_sni_strict = settings_flag(tls, "sni_strict"),
        .client_auth = has_ca ? build_client_auth(tls) : TLS_CLIENT_AUTH_OFF,
        .client_ca_path = files[2 * n],
        .has_h2 = build_has_alpn(tls, STR("h2")),
        .has_http1 = build_has_alpn(tls, STR("http/1.1")),
        .is_http1_first = build_is_http1_first(tls),
        .min_version =
            str_eq(version, STR("1.3")) ? TLS1_3_VERSION : TLS1_2_VERSION,
        .tickets = b->world->tickets,
    };
    struct error err = {0};
    l->tls = tls_server_new(&settings, &err);
    if (l->tls == NULL) {
        build_explain(b, tls, &err);
    }
    error_fini(&err);
    for (i = 0; i < n * 2 + 1; i++) {
        mem_free(files[i]);
    }
    mem_free(files);
    mem_free(pairs);
    return l->tls != NULL;
}

static const struct codec_limits *
build_listener_limits(struct build *b, const struct node *n, bool is_h2c)
{
    struct codec_limits limits = build_limits(b);
    limits.is_underscore_allowed = settings_flag(n, "underscore_names");
    limits.is_encoded_slash_allowed = build_any_encoded_slash(b);
    limits.has_prior_knowledge = is_h2c;
    return codec_limits_intern(&limits);
}

static bool
build_address(struct build *b, const struct node *n, struct listener *l)
{
    struct error err = {0};
    struct addr addrs[RESOLVE_N_MAX];
    const struct str text =
        settings_text(settings_sound_child(n, "address"), NULL);
    if (text.len == 0) {
        return false; /* which was told already */
    }
    if (addr_parse(text, &l->addr)) {
        return true;
    }
    if (resolve(text, addrs, &err) > 0) {
        l->addr = addrs[0];
        error_fini(&err);
        return true;
    }
    build_explain(b, n, &err);
    return false;
}

static uint32_t build_socket_mode(const struct node *n)
{
    mode_t mode = LISTENER_MODE_DEFAULT;
    /* One that is wrong was told by settings_cross; then nothing goes live. */
    return settings_has(n, "socket_mode") &&
                   listener_mode_parse(settings_text(n, "socket_mode"), &mode)
               ? (uint32_t)mode
               : LISTENER_MODE_DEFAULT;
}

static bool
build_listener(struct build *b, const struct node *n, struct listener *l)
{
    const struct node *tls = settings_child(n, "tls");
    const struct node *times = settings_child(b->root, "timeouts");
    l->name = build_text(b, settings_sound_child(n, "name"), NULL);
    l->id = l->name.p != NULL ? build_listener_id(b->world, l->name) : 0;
    l->is_h2_allowed = tls == NULL && settings_flag(n, "h2c") &&
                       settings_lists(n, "protocols", STR("h2"));
    l->is_http1_allowed = settings_lists(n, "protocols", STR("http/1.1"));
    l->is_redirecting = settings_flag(n, "redirect_to_https");
    l->has_proxy_protocol = settings_flag(n, "proxy_protocol");
    l->has_forwarded = settings_flag(n, "forwarded_header");
    l->n_conns_max = (uint32_t)settings_number(n, "connections_max");
    if (l->n_conns_max != 0) {
        const uint32_t n_workers = (uint32_t)b->world->n_workers;
        l->n_conns_max = (l->n_conns_max + n_workers - 1) / n_workers;
    }
    l->socket_mode = build_socket_mode(n);
    l->handshake_timeout_ms =
        (uint32_t)settings_number(times, "handshake_timeout_ms");
    l->limits = build_listener_limits(b, n, l->is_h2_allowed);
    bool is_ok = build_nets(b, n, "proxy_protocol_from", &l->proxy_nets,
                            &l->n_proxy_nets);
    is_ok = build_nets(b, n, "trusted_proxies", &l->trusted_nets,
                       &l->n_trusted_nets) &&
            is_ok;
    is_ok = (tls == NULL || build_tls(b, tls, l)) && is_ok;
    if (!build_address(b, n, l)) {
        return false;
    }
    if (b->world->is_test) {
        return is_ok; /* the running gateway has the address */
    }
    l->group = build_group_take(b, l, n);
    return l->group != NULL && is_ok;
}

bool build_listeners(struct build *b)
{
    const struct node *list = settings_child(b->root, "listeners");
    bool is_ok = true;
    if (list == NULL) {
        return true;
    }
    b->snap->listeners =
        build_take(b, list->n_children, sizeof(*b->snap->listeners));
    for (const struct node *n = list->first; n != NULL; n = n->next) {
        struct listener *l = &b->snap->listeners[b->snap->n_listeners++];
        is_ok = build_listener(b, n, l) && is_ok;
    }
    return is_ok;
}

void build_apply_listeners(const struct snapshot *snap)
{
    for (size_t i = 0; i < snap->n_listeners; i++) {
        const struct listener *l = &snap->listeners[i];
        struct error err = {0};
        if (l->group != NULL &&
            !listener_group_set_mode(l->group, (mode_t)l->socket_mode, &err)) {
            log_text(LOG_WARN,
                     "listener %.*s: socket_mode: that takes a "
                     "restart: %s",
                     STR_ARG(l->name), error_text(&err));
        }
        error_fini(&err);
    }
}

void build_free_listeners(struct build_world *world, struct snapshot *snap)
{
    for (size_t i = 0; i < snap->n_listeners; i++) {
        struct listener *l = &snap->listeners[i];
        tls_server_unref(l->tls);
        if (l->group != NULL) {
            build_group_give(world, l->group);
        }
    }
}
