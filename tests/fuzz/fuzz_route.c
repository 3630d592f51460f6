/*
 * fuzz_route: the route table against a matcher that reads the list from the
 * top. Input: a byte with the number of routes, then a line per route and per
 * look-up. A route: bytes that choose its kind and conditions, then host and
 * path. A look-up: "host path" of a request.
 * Law: both find the same route, or none for the same reason.
 */
#include "fuzz.h"
#include "http/uri.h"
#include "proxy/route.h"

enum { ROUTES_MAX = 24, LOOKUPS_MAX = 16, ARENA_MAX = 1 << 20 };

/* Few words, so that routes and look-ups meet. */
static const struct str route_methods[] = {{"GET", 3}, {"PUT", 3}};
static const struct str route_names[] = {{"x-a", 3}, {"x-b", 3}};

struct route_world {
    struct arena arena;
    struct route routes[ROUTES_MAX];
    size_t n;
    struct regex_scratch *scratch;
};

/* One bit of the options each. */
static void
route_make_conditions(struct route_world *w, struct route *r, uint8_t options)
{
    if ((options & 4) != 0) {
        r->n_methods = 1 + ((options & 8) != 0);
        r->methods = arena_take_zero(&w->arena, 2 * sizeof(*r->methods));
        r->methods[0] = route_methods[(options >> 4) & 1];
        r->methods[1] = route_methods[0];
    }
    if ((options & 32) != 0) {
        r->n_headers = 1;
        r->headers = arena_take_zero(&w->arena, sizeof(*r->headers));
        r->headers[0].name = route_names[(options >> 4) & 1];
        r->headers[0].is_absent = (options & 64) != 0;
        if ((options & 128) != 0) {
            r->headers[0].value = STR("1");
        }
    }
    if ((options & 192) == 192) {
        r->n_listener_ids = 1;
        r->listener_ids = arena_take_zero(&w->arena, sizeof(unsigned));
        r->listener_ids[0] = 1 + ((options >> 3) & 1);
    }
}

/* A prefix has no '/' at its end; the look-up of "/" is its empty key. */
static struct str route_make_path(struct str text, enum route_path_kind kind)
{
    if (kind == ROUTE_PATH_PREFIX) {
        while (text.len > 0 && text.p[text.len - 1] == '/') {
            text.len--;
        }
    }
    return text;
}

static bool route_make(struct route_world *w, struct str line)
{
    static const enum route_path_kind kinds[] = {
        ROUTE_PATH_PREFIX, ROUTE_PATH_EXACT, ROUTE_PATH_REGEX,
        ROUTE_PATH_PREFIX};
    struct route *r = &w->routes[w->n];
    if (line.len < 2) {
        return false;
    }
    const uint8_t options = (uint8_t)line.p[0];
    struct str rest = arena_copy(&w->arena, str_from_index(line, 1));
    const size_t blank = str_find_char(rest, ' ');
    const struct str host = str_sub(rest, 0, blank);
    const struct str path = str_from_index(rest, blank + 1);
    *r = (struct route){.order = (unsigned)w->n};
    r->path_kind = kinds[options & 3];
    r->host = host.len > 0 ? host : STR_NONE;
    if (r->path_kind != ROUTE_PATH_REGEX &&
        (!str_starts(path, STR("/")) || str_find_char(path, ';') < path.len)) {
        return false;
    }
    r->path = route_make_path(path, r->path_kind);
    if (r->path_kind == ROUTE_PATH_REGEX) {
        struct error err = {0};
        r->regex = regex_new(path, REGEX_ANCHOR_START | REGEX_ANCHOR_END, &err);
        error_fini(&err);
        if (r->regex == NULL) {
            return false;
        }
    }
    route_make_conditions(w, r, options);
    w->n++;
    return true;
}

/* ---- the naive matcher ----------------------------------------------------
 */

/* 2: this very host, 1: a wildcard, 0: any host, -1: another one. */
static int naive_host(const struct route *r, struct str host)
{
    if (r->host.p == NULL) {
        return 0;
    }
    if (!str_starts(r->host, STR("*."))) {
        return str_eq(r->host, host) ? 2 : -1;
    }
    const size_t dot = str_find_char(host, '.');
    return dot < host.len &&
                   str_eq(str_from_index(host, dot), str_from_index(r->host, 1))
               ? 1
               : -1;
}

/* How specific the match of the path is; -1: none. */
static int
naive_path(const struct route *r, struct str path, struct regex_scratch *s)
{
    switch (r->path_kind) {
    case ROUTE_PATH_EXACT:
        return str_eq(r->path, path) ? 1 << 30 : -1;
    case ROUTE_PATH_REGEX:
        return regex_match(r->regex, path, s, NULL, 0) ? 1 << 29 : -1;
    case ROUTE_PATH_PREFIX:
        /* "/" takes all, also the "*" of OPTIONS. */
        return str_starts(path, r->path) &&
                       (path.len == r->path.len || r->path.len == 0 ||
                        path.p[r->path.len] == '/')
                   ? (int)r->path.len
                   : -1;
    }
    return -1;
}

static bool naive_conditions(const struct route *r,
                             const struct route_match *m,
                             bool *is_method_miss)
{
    if (r->n_listener_ids > 0 && r->listener_ids[0] != m->listener_id) {
        return false;
    }
    for (size_t i = 0; i < r->n_headers; i++) {
        const struct field *f = head_find_name(m->head, r->headers[i].name);
        const struct str value = r->headers[i].value;
        if (r->headers[i].is_absent
                ? f != NULL
                : f == NULL || (value.p != NULL && !str_eq(value, f->value))) {
            return false;
        }
    }
    for (size_t i = 0; i < r->n_methods; i++) {
        if (str_eq(r->methods[i], m->head->method_text)) {
            return true;
        }
    }
    *is_method_miss |= r->n_methods > 0;
    return r->n_methods == 0;
}

static int naive_n_conditions(const struct route *r)
{
    if (r->path_kind == ROUTE_PATH_REGEX) {
        return 0; /* these go by the order of the file alone */
    }
    return (r->n_methods > 0) + (int)r->n_headers + (r->n_listener_ids > 0);
}

static const struct route *naive_find(const struct route_world *w,
                                      const struct route_match *m,
                                      bool *is_method_miss)
{
    const struct str path = uri_match_path(m->arena, m->head->path);
    const struct route *best = NULL;
    int best_rank[3] = {0, 0, 0};
    *is_method_miss = false;
    for (size_t i = 0; i < w->n; i++) {
        const struct route *r = &w->routes[i];
        const int rank[3] = {naive_host(r, m->head->host),
                             naive_path(r, path, w->scratch),
                             naive_n_conditions(r)};
        if (rank[0] < 0 || rank[1] < 0 ||
            !naive_conditions(r, m, is_method_miss)) {
            continue;
        }
        int order = 0;
        for (size_t j = 0; j < 3 && order == 0; j++) {
            order = rank[j] - best_rank[j];
        }
        if (best == NULL || order > 0) {
            best = r;
            memcpy(best_rank, rank, sizeof(rank));
        }
    }
    return best;
}

/* ---- look-ups ---------------------------------------------------------------
 */

static void route_look_up(const struct route_world *w,
                          const struct route_table *t,
                          struct str line)
{
    struct arena arena;
    struct head h;
    enum fault f = FAULT_NONE;
    struct str allow = STR_NONE;
    struct str query;
    const struct uri_options options = {true};
    if (line.len < 2) {
        return;
    }
    const uint8_t bits = (uint8_t)line.p[0];
    const struct str rest = str_from_index(line, 1);
    const size_t blank = str_find_char(rest, ' ');
    arena_init(&arena, NULL, ARENA_MAX);
    head_init(&h, &arena);
    h.host = str_sub(rest, 0, blank);
    h.authority = h.host;
    h.method_text = route_methods[bits & 1];
    if ((bits & 2) != 0) {
        head_add(&h, NAME_OTHER, route_names[(bits >> 2) & 1],
                 (bits & 8) != 0 ? STR("1") : STR("2"));
    }
    if (uri_target(&arena, str_from_index(rest, blank + 1), &options, &h.path,
                   &query) == FAULT_NONE) {
        const struct route_match m = {.head = &h,
                                      .listener_id = 1 + ((bits >> 4) & 1),
                                      .arena = &arena,
                                      .scratch = w->scratch,
                                      .allow = &allow};
        bool is_method_miss;
        const struct route *want = naive_find(w, &m, &is_method_miss);
        const struct route *got = route_find(t, &m, &f);
        CHECK(want == got);
        if (got == NULL) {
            CHECK(f == (is_method_miss ? FAULT_METHOD : FAULT_NO_ROUTE));
            CHECK((allow.p != NULL) == is_method_miss);
        }
    }
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct regex_scratch *scratch;
    struct fuzz in = {data, size};
    struct route_world w = {.n = 0};
    if (scratch == NULL) {
        scratch = regex_scratch_new(REGEX_PROGRAM_MAX);
    }
    w.scratch = scratch;
    arena_init(&w.arena, NULL, ARENA_MAX);
    const size_t n_routes = fuzz_byte(&in) % (ROUTES_MAX + 1);
    for (size_t i = 0; i < n_routes; i++) {
        route_make(&w, fuzz_until(&in, '\n'));
    }
    struct route_table *t = route_table_build(w.routes, w.n);
    for (size_t i = 0; i < LOOKUPS_MAX && in.len > 0; i++) {
        const struct str line = fuzz_until(&in, '\n');
        if (line.len < 1024) {
            route_look_up(&w, t, line);
        }
    }
    route_table_free(t);
    for (size_t i = 0; i < w.n; i++) {
        regex_free(w.routes[i].regex);
    }
    arena_reset(&w.arena);
    return 0;
}
