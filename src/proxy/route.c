/*
 * route: see route.h. A host's table has two maps from path to a bucket of
 * routes (exact, prefix) and a list of regular expressions. A look-up tries
 * one map entry per path element, from the longest, and never more elements
 * than the deepest prefix of that host has.
 */
#include "proxy/route.h"

#include "base/map.h"
#include "base/mem.h"
#include "http/uri.h"

#include <stdlib.h>

/* Routes with the same path, most conditions first. */
struct route_bucket {
    const struct route **routes;
    size_t n;
};

enum { ROUTE_ALLOW_BYTES_MAX = 512 };

struct route_host {
    struct map *exact;  /* path -> bucket */
    struct map *prefix; /* path without trailing '/' -> bucket */
    struct route_bucket regex;
    size_t n_elements_max; /* of the deepest prefix */
};

struct route_table {
    struct map *hosts;     /* exact host -> route_host */
    struct map *wildcards; /* ".example.org" -> route_host */
    struct route_host *any;
    size_t regex_max;
};

size_t route_n_conditions(const struct route *r)
{
    return (r->n_methods > 0) + r->n_headers + (r->n_listener_ids > 0);
}

static int route_order(const void *a, const void *b)
{
    const struct route *ra = *(const struct route *const *)a;
    const struct route *rb = *(const struct route *const *)b;
    const size_t na = route_n_conditions(ra);
    const size_t nb = route_n_conditions(rb);
    if (ra->path_kind != ROUTE_PATH_REGEX && na != nb) {
        return na > nb ? -1 : 1;
    }
    return ra->order < rb->order ? -1 : 1;
}

static void route_bucket_add(struct route_bucket *b, const struct route *r)
{
    b->routes = mem_resize(b->routes, (b->n + 1) * sizeof(*b->routes));
    b->routes[b->n++] = r;
}

static void route_bucket_sort(struct route_bucket *b)
{
    if (b->n > 1) {
        qsort(b->routes, b->n, sizeof(*b->routes), route_order);
    }
}

static void route_map_add(struct map *m, const struct route *r)
{
    struct route_bucket *b = map_find(m, r->path);
    if (b == NULL) {
        b = mem_new(sizeof(*b));
        map_set(m, r->path, b);
    }
    route_bucket_add(b, r);
}

static void route_map_sort(struct map *m)
{
    size_t cursor = 0;
    struct str key;
    void *value;
    while (map_next(m, &cursor, &key, &value)) {
        route_bucket_sort(value);
    }
}

static void route_map_free(struct map *m)
{
    size_t cursor = 0;
    struct str key;
    void *value;
    while (map_next(m, &cursor, &key, &value)) {
        struct route_bucket *b = value;
        mem_free(b->routes);
        mem_free(b);
    }
    map_free(m);
}

static struct route_host *route_host_new(void)
{
    struct route_host *rh = mem_new(sizeof(*rh));
    rh->exact = map_new();
    rh->prefix = map_new();
    return rh;
}

static void route_host_free(struct route_host *rh)
{
    if (rh == NULL) {
        return;
    }
    route_map_free(rh->exact);
    route_map_free(rh->prefix);
    mem_free(rh->regex.routes);
    mem_free(rh);
}

static size_t route_count_elements(struct str path)
{
    size_t n = 0;
    for (size_t i = 0; i < path.len; i++) {
        n += path.p[i] == '/';
    }
    return n;
}

static void route_host_add(struct route_host *rh, const struct route *r)
{
    switch (r->path_kind) {
    case ROUTE_PATH_EXACT:
        route_map_add(rh->exact, r);
        return;
    case ROUTE_PATH_REGEX:
        route_bucket_add(&rh->regex, r);
        return;
    case ROUTE_PATH_PREFIX:
        route_map_add(rh->prefix, r);
        const size_t n = route_count_elements(r->path);
        rh->n_elements_max = n > rh->n_elements_max ? n : rh->n_elements_max;
        return;
    }
}

static void route_host_sort(struct route_host *rh)
{
    route_map_sort(rh->exact);
    route_map_sort(rh->prefix);
    route_bucket_sort(&rh->regex);
}

/* The table of the host of `r`, made when it is the first route there. */
static struct route_host *route_table_host(struct route_table *t,
                                           const struct route *r)
{
    if (r->host.p == NULL) {
        if (t->any == NULL) {
            t->any = route_host_new();
        }
        return t->any;
    }
    const bool is_wildcard = str_starts(r->host, STR("*."));
    struct map *m = is_wildcard ? t->wildcards : t->hosts;
    const struct str key = is_wildcard ? str_from_index(r->host, 1) : r->host;
    struct route_host *rh = map_find(m, key);
    if (rh == NULL) {
        rh = route_host_new();
        map_set(m, key, rh);
    }
    return rh;
}

static void route_hosts_each(struct map *m, void (*fn)(struct route_host *rh))
{
    size_t cursor = 0;
    struct str key;
    void *value;
    while (map_next(m, &cursor, &key, &value)) {
        fn(value);
    }
}

static size_t route_regex_size(const struct regex *re)
{
    return re != NULL ? regex_size(re) : 0;
}

struct route_table *route_table_build(const struct route *routes, size_t n)
{
    struct route_table *t = mem_new(sizeof(*t));
    t->hosts = map_new();
    t->wildcards = map_new();
    for (size_t i = 0; i < n; i++) {
        const struct route *r = &routes[i];
        route_host_add(route_table_host(t, r), r);
        size_t size = route_regex_size(r->regex);
        t->regex_max = size > t->regex_max ? size : t->regex_max;
        for (size_t j = 0; j < r->n_headers; j++) {
            size = route_regex_size(r->headers[j].regex);
            t->regex_max = size > t->regex_max ? size : t->regex_max;
        }
    }
    route_hosts_each(t->hosts, route_host_sort);
    route_hosts_each(t->wildcards, route_host_sort);
    if (t->any != NULL) {
        route_host_sort(t->any);
    }
    return t;
}

void route_table_free(struct route_table *t)
{
    if (t == NULL) {
        return;
    }
    route_hosts_each(t->hosts, route_host_free);
    route_hosts_each(t->wildcards, route_host_free);
    route_host_free(t->any);
    map_free(t->hosts);
    map_free(t->wildcards);
    mem_free(t);
}

size_t route_table_regex_max(const struct route_table *t)
{
    return t->regex_max;
}

bool route_has_method(const struct route *r, struct str method)
{
    for (size_t i = 0; i < r->n_methods; i++) {
        if (str_eq(r->methods[i], method)) {
            return true;
        }
    }
    return r->n_methods == 0;
}

bool route_has_listener(const struct route *r, unsigned id)
{
    for (size_t i = 0; i < r->n_listener_ids; i++) {
        if (r->listener_ids[i] == id) {
            return true;
        }
    }
    return r->n_listener_ids == 0;
}

bool route_header_fits(const struct route_header_match *hm,
                       const struct route_match *m)
{
    const struct field *f = head_find_name(m->head, hm->name);
    if (f == NULL || hm->is_absent) {
        return (f == NULL) == hm->is_absent;
    }
    if (hm->regex != NULL) {
        return regex_match(hm->regex, f->value, m->scratch, NULL, 0);
    }
    return hm->value.p == NULL || str_eq(hm->value, f->value);
}

void route_allow(const struct route *r, struct arena *arena, struct str *allow)
{
    for (size_t i = 0; i < r->n_methods; i++) {
        const bool is_first = allow->p == NULL;
        if (!is_first && allow->len > ROUTE_ALLOW_BYTES_MAX) {
            return;
        }
        *allow = is_first ? r->methods[i]
                          : arena_print(arena, "%.*s, %.*s", STR_ARG(*allow),
                                        STR_ARG(r->methods[i]));
    }
}

/* All conditions but host and path. Remembers a near miss by method. */
static bool
route_fits(const struct route *r, const struct route_match *m, enum fault *f)
{
    if (!route_has_listener(r, m->listener_id)) {
        return false;
    }
    for (size_t i = 0; i < r->n_headers; i++) {
        if (!route_header_fits(&r->headers[i], m)) {
            return false;
        }
    }
    if (!route_has_method(r, m->head->method_text)) {
        *f = FAULT_METHOD;
        if (m->allow != NULL) {
            route_allow(r, m->arena, m->allow);
        }
        return false;
    }
    return true;
}

static const struct route *route_bucket_find(const struct route_bucket *b,
                                             const struct route_match *m,
                                             enum fault *f)
{
    for (size_t i = 0; b != NULL && i < b->n; i++) {
        if (route_fits(b->routes[i], m, f)) {
            return b->routes[i];
        }
    }
    return NULL;
}

static const struct route *route_find_regex(const struct route_host *rh,
                                            struct str path,
                                            const struct route_match *m,
                                            enum fault *f)
{
    for (size_t i = 0; i < rh->regex.n; i++) {
        const struct route *r = rh->regex.routes[i];
        if (regex_match(r->regex, path, m->scratch, NULL, 0) &&
            route_fits(r, m, f)) {
            return r;
        }
    }
    return NULL;
}

static const struct route *route_find_prefix(const struct route_host *rh,
                                             struct str path,
                                             const struct route_match *m,
                                             enum fault *f)
{
    size_t n_elements = 0;
    size_t end = 0;
    /* Forward to the deepest prefix there can be, then back from there. */
    while (end < path.len && n_elements < rh->n_elements_max) {
        n_elements++;
        const size_t next = str_find_char(str_from_index(path, end + 1), '/');
        end += 1 + next;
    }
    for (;;) {
        const struct route *r = route_bucket_find(
            map_find(rh->prefix, str_make(path.p, end)), m, f);
        if (r != NULL || end == 0) {
            return r;
        }
        do {
            end--;
        } while (end > 0 && path.p[end] != '/');
    }
}

static const struct route *route_host_find(const struct route_host *rh,
                                           struct str path,
                                           const struct route_match *m,
                                           enum fault *f)
{
    if (rh == NULL) {
        return NULL;
    }
    const struct route *r = route_bucket_find(map_find(rh->exact, path), m, f);
    if (r == NULL) {
        r = route_find_regex(rh, path, m, f);
    }
    if (r == NULL) {
        r = route_find_prefix(rh, path, m, f);
    }
    return r;
}

const struct route *route_find(const struct route_table *t,
                               const struct route_match *m,
                               enum fault *f)
{
    const struct str host = m->head->host;
    const struct str path = uri_match_path(m->arena, m->head->path);
    *f = FAULT_NO_ROUTE;
    if (path.p == NULL) {
        *f = FAULT_OVERLOAD;
        return NULL;
    }
    const struct route *r =
        route_host_find(map_find(t->hosts, host), path, m, f);
    if (r == NULL && map_count(t->wildcards) > 0) {
        /* "*" stands for one label: only the host's first one. */
        const size_t at = str_find_char(host, '.');
        r = route_host_find(map_find(t->wildcards, str_from_index(host, at)),
                            path, m, f);
    }
    if (r == NULL) {
        r = route_host_find(t->any, path, m, f);
    }
    return r;
}

struct upstream *route_upstream(const struct route *r, uint64_t random)
{
    if (r->action == ROUTE_TO_UPSTREAM) {
        return r->upstream;
    }
    const uint64_t total = r->split[r->n_split - 1].weight_end;
    const uint64_t at = total > 0 ? random % total : 0;
    for (size_t i = 0; i < r->n_split; i++) {
        if (at < r->split[i].weight_end) {
            return r->split[i].upstream;
        }
    }
    return r->split[r->n_split - 1].upstream;
}

/*
 * How much of `path` the matched prefix takes. They were compared without path
 * parameters (uri_match_path), so element by element, without those that have
 * nothing but parameters.
 */
static size_t route_prefix_len(const struct route *r, struct str path)
{
    size_t at = 0;
    size_t n_matched = 0;
    while (n_matched < r->path.len && at < path.len) {
        const struct str rest = str_from_index(path, at + 1);
        const struct str element = str_sub(rest, 0, str_find_char(rest, '/'));
        const size_t name_len = str_find_char(element, ';');
        at += 1 + element.len;
        n_matched += name_len > 0 ? 1 + name_len : 0;
    }
    return at;
}

struct str
route_rewrite_path(const struct route *r, struct arena *arena, struct str path)
{
    if (!r->has_replace_prefix || r->path_kind == ROUTE_PATH_REGEX ||
        !str_starts(path, STR("/"))) {
        return path;
    }
    const struct str rest = str_from_index(path, route_prefix_len(r, path));
    struct str front = r->replace_prefix;
    if (front.len > 0 && front.p[front.len - 1] == '/') {
        front.len--;
    }
    if (front.len == 0 && rest.len == 0) {
        return STR("/");
    }
    const bool want_slash = rest.len > 0 && rest.p[0] != '/';
    return arena_print(arena, "%.*s%s%.*s", STR_ARG(front),
                       want_slash ? "/" : "", STR_ARG(rest));
}

bool route_edit(const struct route_edits *e, struct head *h)
{
    for (size_t i = 0; i < e->n_remove; i++) {
        head_remove(h, e->remove[i]);
    }
    for (size_t i = 0; i < e->n_set; i++) {
        if (!head_set(h, e->set[i].name, e->set[i].value)) {
            return false;
        }
    }
    for (size_t i = 0; i < e->n_add; i++) {
        const struct route_header *a = &e->add[i];
        if (!head_add(h, name_find(a->name), a->name, a->value)) {
            return false;
        }
    }
    return true;
}

enum route_variable {
    ROUTE_VARIABLE_AUTHORITY,
    ROUTE_VARIABLE_HOST,
    ROUTE_VARIABLE_PATH,
    ROUTE_VARIABLE_QUERY,
    ROUTE_VARIABLE_REQUEST_URI,
    ROUTE_N_VARIABLES
};

static const char *const route_variables[ROUTE_N_VARIABLES] = {
    [ROUTE_VARIABLE_AUTHORITY] = "authority",
    [ROUTE_VARIABLE_HOST] = "host",
    [ROUTE_VARIABLE_PATH] = "path",
    [ROUTE_VARIABLE_QUERY] = "query",
    [ROUTE_VARIABLE_REQUEST_URI] = "request_uri",
};

const char *route_variable_name(size_t index)
{
    return index < ROUTE_N_VARIABLES ? route_variables[index] : NULL;
}

/* ROUTE_N_VARIABLES: there is none of that name. */
static enum route_variable route_variable_find(struct str name)
{
    size_t i = 0;
    while (i < ROUTE_N_VARIABLES &&
           !str_eq(name, str_from(route_variables[i]))) {
        i++;
    }
    return (enum route_variable)i;
}

bool route_is_variable(struct str name)
{
    return route_variable_find(name) != ROUTE_N_VARIABLES;
}

/* The value of a ${variable} of a redirect. */
static struct str
route_variable(struct str name, struct arena *arena, const struct head *h)
{
    const bool has_query = h->query.p != NULL;
    switch (route_variable_find(name)) {
    case ROUTE_VARIABLE_AUTHORITY:
        return h->authority;
    case ROUTE_VARIABLE_HOST:
        return h->host;
    case ROUTE_VARIABLE_PATH:
        return h->path;
    case ROUTE_VARIABLE_QUERY:
        return h->query;
    case ROUTE_VARIABLE_REQUEST_URI:
        return arena_print(arena, "%.*s%s%.*s", STR_ARG(h->path),
                           has_query ? "?" : "", STR_ARG(h->query));
    case ROUTE_N_VARIABLES:
        break;
    }
    return STR_NONE; /* the build refuses them */
}

struct str
route_location(const struct route *r, struct arena *arena, const struct head *h)
{
    struct str rest = r->to;
    struct str out = STR("");
    while (rest.len > 0) {
        size_t at = 0;
        while (at + 1 < rest.len &&
               !(rest.p[at] == '$' && rest.p[at + 1] == '{')) {
            at++;
        }
        const struct str inside = str_from_index(rest, at + 2);
        const size_t end = str_find_char(inside, '}');
        if (at + 1 >= rest.len || end == inside.len) {
            return arena_print(arena, "%.*s%.*s", STR_ARG(out), STR_ARG(rest));
        }
        const struct str value =
            route_variable(str_sub(inside, 0, end), arena, h);
        out = arena_print(arena, "%.*s%.*s%.*s", STR_ARG(out), (int)at, rest.p,
                          STR_ARG(value));
        rest = str_from_index(inside, end + 1);
    }
    return out;
}
