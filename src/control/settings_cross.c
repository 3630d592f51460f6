/*
 * settings_cross: what is wrong with several settings together: names that
 * refer to nothing, names and routes that are there twice, things that
 * exclude or need each other. The last part of settings_check. Control thread;
 * nothing outlives the call.
 * Invariant: no problem is told as a consequence of another one. What is wrong
 * with things that are there is told of every object; that something is not
 * there only of objects which were sound before, as it may be there under a
 * misspelt name. Names that an object gives to others count in any case.
 */
#include "control/settings.h"

#include "base/map.h"
#include "base/mem.h"
#include "net/listener.h"

#include <inttypes.h>

enum {
    /* Searching for what a name may have meant is slow: only the first ones. */
    SETTINGS_CROSS_HINTS_MAX = 32,
    SETTINGS_CROSS_SET_MAX = 256,
};

struct settings_cross {
    struct error *err;
    const struct node *upstreams; /* the map; NULL when there is none */
    const struct node *listeners;
    struct map *upstream_names;
    struct map *listener_names; /* to their nodes */
    struct map *addresses;
    struct map *routes; /* what a route matches, to its node */
    unsigned n_hints;
    bool has_upstreams; /* false: unknown, do not look for names in it */
    bool has_listeners;
};

/* RFC 9110 5.6.2 */
static bool settings_cross_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        const char c = s.p[i];
        const bool is_alnum = (c >= 'a' && c <= 'z') ||
                              (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return s.len > 0;
}

static void settings_cross_token(struct settings_cross *x,
                                 const struct node *n,
                                 const char *what)
{
    if (n != NULL && settings_is_sound(n) &&
        !settings_cross_is_token(settings_text(n, NULL))) {
        node_problem(n, x->err,
                     "\"%s\" cannot be the name of a %s; use letters, digits "
                     "and \"-\"",
                     n->text, what);
    }
}

/* Two things of one name. The words: "name", "listener". */
static void settings_cross_unique(struct settings_cross *x,
                                  struct map *seen,
                                  const struct node *n,
                                  const char *advice)
{
    if (n == NULL || n->kind != NODE_TEXT) {
        return;
    }
    const struct node *other = map_find(seen, str_from(n->text));
    if (other == NULL) {
        map_set(seen, str_from(n->text), (void *)(uintptr_t)n);
        return;
    }
    char path[256];
    node_problem(n, x->err, "\"%s\" is taken by %s (line %u) already; %s",
                 n->text, node_path(other->parent, path, sizeof path),
                 other->line, advice);
}

/* ---- listeners ---------------------------------------------------------- */

static void settings_cross_listener_tls(struct settings_cross *x,
                                        const struct node *l,
                                        const struct node *tls)
{
    const bool is_sound = settings_is_sound(tls);
    if (settings_flag(l, "redirect_to_https")) {
        node_problem(settings_child(l, "redirect_to_https"), x->err,
                     "a listener with tls serves https itself; remove this, "
                     "or the tls");
    }
    const struct str auth = settings_text(tls, "client_auth");
    if (is_sound && !str_eq(auth, STR("off")) &&
        !settings_has(tls, "client_ca")) {
        node_problem(settings_child(tls, "client_auth"), x->err,
                     "\"%.*s\" needs client_ca, the file of the authorities "
                     "that may issue client certificates",
                     STR_ARG(auth));
    }
}

static void settings_cross_socket_mode(struct settings_cross *x,
                                       const struct node *l,
                                       const struct node *mode)
{
    mode_t ignored;
    if (!str_starts(settings_text(l, "address"), STR("unix:"))) {
        node_problem(mode, x->err,
                     "only the file of a unix: address has a mode; remove "
                     "this");
    } else if (!listener_mode_parse(settings_text(mode, NULL), &ignored)) {
        node_problem(mode, x->err,
                     "\"%s\" is no mode; write octal digits such as \"0660\"",
                     mode->text);
    }
}

/* A listener that is left without any protocol serves nobody. */
static void settings_cross_protocols(struct settings_cross *x,
                                     const struct node *l,
                                     const struct node *tls)
{
    const struct node *list = settings_child(l, "protocols");
    const bool has_h2 = settings_lists(l, "protocols", STR("h2"));
    const bool has_http1 = settings_lists(l, "protocols", STR("http/1.1"));
    if (!has_h2 && !has_http1) {
        return; /* empty or wrong, which was told already */
    }
    if (tls == NULL && !has_http1 && !settings_flag(l, "h2c")) {
        node_problem(settings_child(l, "h2c"), x->err,
                     "protocols has nothing but \"h2\"; remove this, or add "
                     "\"http/1.1\" there");
    }
    const struct node *alpn =
        tls == NULL ? NULL : settings_sound_child(tls, "alpn");
    if (alpn != NULL && !(has_h2 && settings_lists(tls, "alpn", STR("h2"))) &&
        !(has_http1 && settings_lists(tls, "alpn", STR("http/1.1")))) {
        node_problem(list, x->err,
                     "tls.alpn offers none of these; remove tls.alpn, or add "
                     "one of them there");
    }
}

static void settings_cross_listener(struct settings_cross *x,
                                    const struct node *l)
{
    const bool is_sound = settings_is_sound(l);
    settings_cross_unique(x, x->listener_names, settings_child(l, "name"),
                          "give each listener its own name");
    settings_cross_unique(x, x->addresses, settings_child(l, "address"),
                          "give each listener its own address");
    const struct node *tls = settings_child(l, "tls");
    if (tls != NULL) {
        settings_cross_listener_tls(x, l, tls);
    }
    settings_cross_protocols(x, l, tls);
    const struct node *mode = settings_child(l, "socket_mode");
    if (mode != NULL) {
        settings_cross_socket_mode(x, l, mode);
    }
    const struct node *from = settings_child(l, "proxy_protocol_from");
    if (is_sound && settings_flag(l, "proxy_protocol") &&
        (from == NULL || from->n_children == 0)) {
        node_problem(settings_child(l, "proxy_protocol"), x->err,
                     "needs proxy_protocol_from, the networks whose header is "
                     "believed, for example [ \"10.0.0.0/8\" ]");
    }
}

/* ---- upstreams ---------------------------------------------------------- */

static bool settings_cross_hashes_cookie(const struct node *hash_on,
                                         struct str name)
{
    const struct node *m = hash_on == NULL ? NULL : hash_on->first;
    for (; m != NULL; m = m->next) {
        const struct str part = settings_text(m, NULL);
        if (str_starts(part, STR("cookie:")) &&
            str_eq(str_trim(str_from_index(part, 7)), name)) {
            return true;
        }
    }
    return false;
}

static void settings_cross_mint(struct settings_cross *x,
                                const struct node *hash_on,
                                const struct node *mint)
{
    const struct node *name = settings_child(mint, "name");
    settings_cross_token(x, name, "cookie");
    if (!settings_cross_hashes_cookie(hash_on, settings_text(name, NULL))) {
        node_problem(name, x->err,
                     "the cookie is not in hash_on; add \"cookie:%s\" there, "
                     "or remove mint_cookie",
                     name->text);
    }
}

static void settings_cross_balance(struct settings_cross *x,
                                   const struct node *balance)
{
    const struct str policy = settings_text(balance, "policy");
    const struct node *given = settings_child(balance, "policy");
    const struct node *hash_on = settings_child(balance, "hash_on");
    const struct node *mint = settings_child(balance, "mint_cookie");
    const struct node *sticky = settings_child(balance, "sticky_cookie");
    const bool is_hashing =
        str_eq(policy, STR("ring_hash")) || str_eq(policy, STR("maglev"));
    const bool has_key = hash_on != NULL && hash_on->n_children > 0;
    const int64_t bound = settings_number(balance, "bounded_load_percent");
    if (is_hashing && !has_key) {
        node_problem(given, x->err,
                     "\"%.*s\" needs hash_on, for example hash_on = "
                     "[ \"source_ip\" ];",
                     STR_ARG(policy));
    } else if (!is_hashing && has_key) {
        node_problem(hash_on, x->err,
                     "has no effect with the policy \"%.*s\"; use "
                     "\"ring_hash\" or \"maglev\", or remove hash_on",
                     STR_ARG(policy));
    } else if (mint != NULL) {
        settings_cross_mint(x, hash_on, mint);
    }
    if (sticky != NULL) {
        settings_cross_token(x, settings_child(sticky, "name"), "cookie");
    }
    if (bound > 0 && bound < 100) {
        node_problem(settings_child(balance, "bounded_load_percent"), x->err,
                     "%" PRId64 " is too small; write 0 for no bound, or 100 "
                     "to 1000",
                     bound);
    }
}

static void settings_cross_protocol(struct settings_cross *x,
                                    const struct node *up,
                                    bool is_sound)
{
    const struct str protocol = settings_text(up, "protocol");
    const struct node *given = settings_child(up, "protocol");
    const struct node *tls = settings_child(up, "tls");
    const bool is_tls_sound = settings_is_sound(tls);
    if (str_eq(protocol, STR("h2c")) && tls != NULL) {
        node_problem(tls, x->err,
                     "\"h2c\" is HTTP/2 without TLS; write protocol = \"h2\", "
                     "or remove tls");
    } else if (is_sound && tls == NULL &&
               (str_eq(protocol, STR("h2")) || str_eq(protocol, STR("auto")))) {
        node_problem(given, x->err,
                     "\"%.*s\" is spoken over TLS; add tls = { }, or write "
                     "\"h2c\" for HTTP/2 without TLS",
                     STR_ARG(protocol));
    }
    if (tls != NULL && is_tls_sound &&
        settings_has(tls, "chain") != settings_has(tls, "key")) {
        node_problem(tls, x->err,
                     "a client certificate needs both chain and key; \"%s\" is "
                     "missing",
                     settings_has(tls, "chain") ? "key" : "chain");
    }
}

static void settings_cross_endpoints(struct settings_cross *x,
                                     const struct node *endpoints)
{
    if (endpoints == NULL || endpoints->n_children < 2) {
        return;
    }
    struct map *seen = map_new();
    for (const struct node *m = endpoints->first; m != NULL; m = m->next) {
        settings_cross_unique(x, seen, settings_child(m, "address"),
                              "remove one, or give the other more weight");
    }
    map_free(seen);
}

static void settings_cross_upstream(struct settings_cross *x,
                                    const struct node *up)
{
    const struct node *balance = settings_sound_child(up, "balance");
    if (up->kind != NODE_GROUP) {
        return;
    }
    settings_cross_protocol(x, up, settings_is_sound(up));
    if (balance != NULL) {
        settings_cross_balance(x, balance);
    }
    settings_cross_endpoints(x, settings_child(up, "endpoints"));
    settings_check_health(up, x->err);
}

/* ---- references --------------------------------------------------------- */

/* The name in `list` (of its members, or of their member `key`) that is the
 * closest to a wrong one. */
static struct str settings_cross_hint(struct settings_cross *x,
                                      const struct node *list,
                                      const char *key,
                                      struct str wrong)
{
    struct str best = STR_NONE;
    unsigned reach = wrong.len < 9 ? 2 : (unsigned)(wrong.len / 3);
    if (list == NULL || x->n_hints >= SETTINGS_CROSS_HINTS_MAX ||
        wrong.len > 128) {
        return best;
    }
    x->n_hints++;
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        const struct node *named = settings_child(m, key);
        const struct str name =
            key == NULL ? str_from(m->name)
                        : str_from(named == NULL ? NULL : named->text);
        const unsigned d = str_distance(wrong, name, reach);
        if (name.len > 0 && d <= reach) {
            best = name;
            reach = d == 0 ? 0 : d - 1;
        }
    }
    return best;
}

static void settings_cross_ref_problem(struct settings_cross *x,
                                       const struct node *n,
                                       const char *what,
                                       struct str hint)
{
    if (hint.len > 0) {
        node_problem(n, x->err, "there is no %s \"%s\"; did you mean \"%.*s\"?",
                     what, n->text, STR_ARG(hint));
    } else {
        node_problem(n, x->err, "there is no %s \"%s\"; add it to %ss", what,
                     n->text, what);
    }
}

static void settings_cross_ref_upstream(struct settings_cross *x,
                                        const struct node *n)
{
    if (n == NULL || !x->has_upstreams ||
        map_find(x->upstream_names, str_from(n->text)) != NULL) {
        return;
    }
    settings_cross_ref_problem(
        x, n, "upstream",
        settings_cross_hint(x, x->upstreams, NULL, str_from(n->text)));
}

static void settings_cross_ref_listener(struct settings_cross *x,
                                        const struct node *n)
{
    if (!x->has_listeners ||
        map_find(x->listener_names, str_from(n->text)) != NULL) {
        return;
    }
    settings_cross_ref_problem(
        x, n, "listener",
        settings_cross_hint(x, x->listeners, "name", str_from(n->text)));
}

/* ---- routes ------------------------------------------------------------- */

/* How many of the `n` keys a group has; their names, separated by ", ". */
static size_t settings_cross_given(const struct node *n,
                                   const char *const *keys,
                                   size_t n_keys,
                                   char *dst,
                                   size_t size)
{
    size_t count = 0;
    size_t len = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < n_keys; i++) {
        if (!settings_has(n, keys[i])) {
            continue;
        }
        const size_t key_len = strlen(keys[i]);
        if (len + key_len + 3 < size) {
            memcpy(dst + len, count > 0 ? ", " : "", count > 0 ? 2 : 0);
            len += count > 0 ? 2 : 0;
            memcpy(dst + len, keys[i], key_len + 1);
            len += key_len;
        }
        count++;
    }
    return count;
}

static void settings_cross_action(struct settings_cross *x,
                                  const struct node *route,
                                  bool is_sound)
{
    static const char *const actions[] = {"upstream", "split", "redirect",
                                          "answer"};
    char given[128];
    const size_t n =
        settings_cross_given(route, actions, sizeof actions / sizeof actions[0],
                             given, sizeof given);
    if (n == 0 && is_sound) {
        node_problem(route, x->err,
                     "says what to match, but not what to do; add one of "
                     "upstream, split, redirect and answer");
    } else if (n > 1) {
        node_problem(route, x->err, "has %zu actions (%s); keep one of them", n,
                     given);
    }
    const int64_t status =
        settings_number(settings_child(route, "redirect"), "status");
    if (status >= 304 && status <= 306) {
        node_problem(
            settings_child(settings_child(route, "redirect"), "status"), x->err,
            "%" PRId64 " is not a redirect with a URL; use 301, 302, "
            "303, 307 or 308",
            status);
    }
}

static void settings_cross_split(struct settings_cross *x,
                                 const struct node *split)
{
    const bool is_sound = settings_is_sound(split);
    int64_t total = 0;
    for (const struct node *m = split->first; m != NULL; m = m->next) {
        settings_cross_ref_upstream(x, settings_sound_child(m, "upstream"));
        total += settings_number(m, "weight");
    }
    if (is_sound && total == 0) {
        node_problem(split, x->err,
                     "all weights are 0; give one upstream at least 1");
    }
}

static void settings_cross_slash(struct settings_cross *x,
                                 const struct node *route,
                                 const char *key)
{
    const struct node *n = settings_sound_child(route, key);
    if (n != NULL && n->text[0] != '/' && strcmp(n->text, "*") != 0) {
        node_problem(n, x->err, "must begin with \"/\"; write \"/%s\"",
                     n->text);
    }
}

static void settings_cross_path(struct settings_cross *x,
                                const struct node *route,
                                bool is_sound)
{
    static const char *const kinds[] = {"path", "path_prefix", "path_regex"};
    char given[64];
    const size_t n = settings_cross_given(
        route, kinds, sizeof kinds / sizeof kinds[0], given, sizeof given);
    const bool is_stripped = settings_flag(route, "strip_prefix");
    const struct node *replace = settings_child(route, "replace_prefix");
    if (n > 1) {
        node_problem(route, x->err,
                     "matches the path in %zu ways (%s); keep one of them", n,
                     given);
    }
    settings_cross_slash(x, route, "path");
    settings_cross_slash(x, route, "path_prefix");
    settings_cross_slash(x, route, "replace_prefix");
    if (is_stripped && replace != NULL) {
        node_problem(replace, x->err,
                     "excludes strip_prefix; remove one of the two");
    } else if (is_sound && (is_stripped || replace != NULL) &&
               !settings_has(route, "path_prefix")) {
        node_problem(is_stripped ? settings_child(route, "strip_prefix")
                                 : replace,
                     x->err, "needs path_prefix, the prefix that it changes");
    }
}

static void settings_cross_header(struct settings_cross *x,
                                  const struct node *h)
{
    const bool has_value = settings_has(h, "value");
    const bool has_regex = settings_has(h, "value_regex");
    settings_cross_token(x, settings_child(h, "name"), "header field");
    if (has_value && has_regex) {
        node_problem(h, x->err,
                     "value and value_regex exclude each other; remove one");
    } else if ((has_value || has_regex) && !settings_flag(h, "present")) {
        node_problem(settings_child(h, "present"), x->err,
                     "a field that is absent has no value; remove %s, or this",
                     has_value ? "value" : "value_regex");
    }
}

static void settings_cross_method(struct settings_cross *x,
                                  const struct node *m)
{
    char upper[33];
    size_t i = 0;
    if (!settings_cross_is_token(str_from(m->text))) {
        node_problem(m, x->err,
                     "\"%s\" cannot be a method; write a name such "
                     "as \"GET\"",
                     m->text);
        return;
    }
    for (; i < sizeof upper - 1 && m->text[i] != '\0'; i++) {
        const char c = m->text[i];
        upper[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    upper[i] = '\0';
    if (strcmp(upper, m->text) != 0) {
        node_problem(m, x->err, "methods are written in capitals; write \"%s\"",
                     upper);
    }
}

static void settings_cross_changes(struct settings_cross *x,
                                   const struct node *changes)
{
    const struct node *remove = settings_child(changes, "remove");
    const struct node *m = remove == NULL ? NULL : remove->first;
    for (; m != NULL; m = m->next) {
        settings_cross_token(x, m, "header field");
    }
}

/* ---- routes that match the same ------------------------------------------ */

/* Everything a route matches, as one text; lines never hold a newline. */
struct settings_cross_key {
    char *p;
    size_t len;
    size_t cap;
};

static void settings_cross_key_add(struct settings_cross_key *k,
                                   char tag,
                                   struct str s,
                                   bool is_lower)
{
    if (k->len + s.len + 2 > k->cap) {
        k->cap = (k->len + s.len + 2) * 2;
        k->p = mem_resize(k->p, k->cap);
    }
    k->p[k->len++] = tag;
    if (is_lower) {
        str_lower(k->p + k->len, s);
    } else if (s.len > 0) {
        memcpy(k->p + k->len, s.p, s.len);
    }
    k->len += s.len;
    k->p[k->len++] = '\n';
}

/* The members of a list in the order of their texts, so that order does not
 * make a difference; returns how many. */
static size_t settings_cross_sort(const struct node *list,
                                  const char *key,
                                  const struct node **dst)
{
    size_t n = 0;
    const struct node *m = list == NULL ? NULL : list->first;
    for (; m != NULL && n < SETTINGS_CROSS_SET_MAX; m = m->next) {
        size_t i = n++;
        while (i > 0 && str_cmp(settings_text(dst[i - 1], key),
                                settings_text(m, key)) > 0) {
            dst[i] = dst[i - 1];
            i--;
        }
        dst[i] = m;
    }
    return n;
}

static void settings_cross_key_set(struct settings_cross_key *k,
                                   char tag,
                                   const struct node *list)
{
    const struct node *sorted[SETTINGS_CROSS_SET_MAX];
    const size_t n = settings_cross_sort(list, NULL, sorted);
    for (size_t i = 0; i < n; i++) {
        settings_cross_key_add(k, tag, settings_text(sorted[i], NULL), false);
    }
}

static void settings_cross_key_headers(struct settings_cross_key *k,
                                       const struct node *headers)
{
    const struct node *sorted[SETTINGS_CROSS_SET_MAX];
    const size_t n = settings_cross_sort(headers, "name", sorted);
    for (size_t i = 0; i < n; i++) {
        const struct node *h = sorted[i];
        const char tag = settings_has(h, "value")         ? '='
                         : settings_has(h, "value_regex") ? '~'
                         : settings_flag(h, "present")    ? '+'
                                                          : '-';
        settings_cross_key_add(k, 'n', settings_text(h, "name"), true);
        settings_cross_key_add(
            k, tag, settings_text(h, tag == '~' ? "value_regex" : "value"),
            false);
    }
}

static void settings_cross_same(struct settings_cross *x,
                                const struct node *route)
{
    struct settings_cross_key k = {0};
    settings_cross_key_add(&k, 'h', settings_text(route, "host"), true);
    settings_cross_key_add(&k, 'e', settings_text(route, "path"), false);
    settings_cross_key_add(&k, 'p', settings_text(route, "path_prefix"), false);
    settings_cross_key_add(&k, 'r', settings_text(route, "path_regex"), false);
    settings_cross_key_set(&k, 'm', settings_child(route, "methods"));
    settings_cross_key_set(&k, 'l', settings_child(route, "listeners"));
    settings_cross_key_headers(&k, settings_child(route, "headers"));
    const struct str key = str_make(k.p, k.len);
    const struct node *other = map_find(x->routes, key);
    if (other == NULL) {
        map_set(x->routes, key, (void *)(uintptr_t)route);
    } else {
        char path[64];
        node_problem(route, x->err,
                     "matches the same requests as %s (line %u) and would "
                     "never be used; remove it, or make it match others",
                     node_path(other, path, sizeof path), other->line);
    }
    mem_free(k.p);
}

static void settings_cross_each(struct settings_cross *x,
                                const struct node *list,
                                void (*fn)(struct settings_cross *x,
                                           const struct node *n))
{
    const struct node *m = list == NULL ? NULL : list->first;
    for (; m != NULL; m = m->next) {
        fn(x, m);
    }
}

/* Those members of a list that are sound. */
static void settings_cross_each_sound(struct settings_cross *x,
                                      const struct node *list,
                                      void (*fn)(struct settings_cross *x,
                                                 const struct node *n))
{
    const struct node *m = list == NULL ? NULL : list->first;
    for (; m != NULL; m = m->next) {
        if (settings_is_sound(m)) {
            fn(x, m);
        }
    }
}

static void settings_cross_route(struct settings_cross *x,
                                 const struct node *route)
{
    const bool is_sound = settings_is_sound(route);
    if (route->kind != NODE_GROUP) {
        return;
    }
    settings_cross_action(x, route, is_sound);
    settings_cross_path(x, route, is_sound);
    settings_cross_ref_upstream(x, settings_sound_child(route, "upstream"));
    const struct node *split = settings_child(route, "split");
    if (split != NULL) {
        settings_cross_split(x, split);
    }
    settings_cross_each_sound(x, settings_child(route, "listeners"),
                              settings_cross_ref_listener);
    settings_cross_each_sound(x, settings_child(route, "methods"),
                              settings_cross_method);
    settings_cross_each_sound(x, settings_child(route, "headers"),
                              settings_cross_header);
    settings_cross_changes(x, settings_child(route, "request_headers"));
    settings_cross_changes(x, settings_child(route, "response_headers"));
    if (is_sound) {
        settings_cross_same(x, route);
    }
}

/* ---- all ----------------------------------------------------------------- */

/*
 * A top list or map. *is_known turns false when it is there but no good, or is
 * not there but perhaps under a misspelt name: nothing can be said then about
 * names that refer to its members.
 */
static const struct node *settings_cross_top(const struct node *root,
                                             const char *key,
                                             enum node_kind kind,
                                             bool *is_known)
{
    const struct node *n = settings_child(root, key);
    *is_known = n == NULL || n->kind == kind;
    for (const struct node *m = root->first; n == NULL && m != NULL;
         m = m->next) {
        *is_known = *is_known && m->row != NULL;
    }
    return *is_known ? n : NULL;
}

static void settings_cross_name(struct settings_cross *x, const struct node *n)
{
    map_set(x->upstream_names, str_from(n->name), (void *)(uintptr_t)n);
}

bool settings_check_cross(const struct node *root, struct error *err)
{
    const size_t n_before = err->n_problems;
    bool has_routes;
    struct settings_cross x = {.err = err};
    x.upstreams =
        settings_cross_top(root, "upstreams", NODE_GROUP, &x.has_upstreams);
    x.listeners =
        settings_cross_top(root, "listeners", NODE_LIST, &x.has_listeners);
    x.has_listeners = x.listeners != NULL; // a missing list is told already
    const struct node *routes =
        settings_cross_top(root, "routes", NODE_LIST, &has_routes);
    x.upstream_names = map_new();
    x.listener_names = map_new();
    x.addresses = map_new();
    x.routes = map_new();
    settings_cross_each(&x, x.upstreams, settings_cross_name);
    settings_cross_each(&x, x.listeners, settings_cross_listener);
    settings_cross_each(&x, x.upstreams, settings_cross_upstream);
    settings_cross_each(&x, routes, settings_cross_route);
    map_free(x.upstream_names);
    map_free(x.listener_names);
    map_free(x.addresses);
    map_free(x.routes);
    return err->n_problems == n_before;
}
