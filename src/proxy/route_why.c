/*
 * route_why: see route_why.h. Conditions are asked in the order in which people
 * think of them (host, path, listener, headers, method), not in that of the
 * look-up; the order of routes that all fit is the one that route.h states.
 */
#include "proxy/route_why.h"

#include "http/uri.h"

/* From the most specific host to none. */
enum route_host_rank { ROUTE_HOST_EXACT, ROUTE_HOST_WILDCARD, ROUTE_HOST_ANY };

static enum route_host_rank route_why_host_rank(const struct route *r)
{
    if (r->host.p == NULL) {
        return ROUTE_HOST_ANY;
    }
    return str_starts(r->host, STR("*.")) ? ROUTE_HOST_WILDCARD
                                          : ROUTE_HOST_EXACT;
}

bool route_why_has_host(const struct route *r, struct str host)
{
    switch (route_why_host_rank(r)) {
    case ROUTE_HOST_EXACT:
        return str_eq(r->host, host);
    case ROUTE_HOST_WILDCARD:
        return str_eq(str_from_index(r->host, 1),
                      str_from_index(host, str_find_char(host, '.')));
    case ROUTE_HOST_ANY:
        break;
    }
    return true;
}

static bool route_why_has_path(const struct route *r,
                               struct str path,
                               const struct route_match *m)
{
    switch (r->path_kind) {
    case ROUTE_PATH_EXACT:
        return str_eq(r->path, path);
    case ROUTE_PATH_REGEX:
        return regex_match(r->regex, path, m->scratch, NULL, 0);
    case ROUTE_PATH_PREFIX:
        break;
    }
    return str_starts(path, r->path) &&
           (path.len == r->path.len || path.p[r->path.len] == '/');
}

static struct str route_why_path(const struct route *r, struct arena *arena)
{
    static const char *const keys[] = {
        [ROUTE_PATH_PREFIX] = "path_prefix",
        [ROUTE_PATH_EXACT] = "path",
        [ROUTE_PATH_REGEX] = "path_regex",
    };
    return arena_print(arena, "its %s is %.*s%s", keys[r->path_kind],
                       STR_ARG(r->path),
                       r->path_kind == ROUTE_PATH_PREFIX ? "/" : "");
}

/* A header condition that does not hold; p NULL: all hold. */
static struct str route_why_header(const struct route *r,
                                   const struct route_match *m)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        const struct route_header_match *hm = &r->headers[i];
        if (route_header_fits(hm, m)) {
            continue;
        }
        const bool is_there = head_find_name(m->head, hm->name) != NULL;
        return arena_print(m->arena, "the request %s header %.*s%s",
                           is_there ? "has the" : "has no", STR_ARG(hm->name),
                           !is_there       ? ""
                           : hm->is_absent ? ", which must not be there"
                           : hm->regex != NULL
                               ? ", but its regex does not match"
                               : ", but with another value");
    }
    return STR_NONE;
}

static struct str route_why_methods(const struct route *r, struct arena *arena)
{
    struct str methods = STR_NONE;
    route_allow(r, arena, &methods);
    return arena_print(arena, "its methods are %.*s", STR_ARG(methods));
}

/* The first condition that does not hold; p NULL: it fits. */
static struct str route_why_unfit(const struct route *r,
                                  struct str path,
                                  const struct route_match *m)
{
    if (!route_why_has_host(r, m->head->host)) {
        return arena_print(m->arena, "its host is %.*s", STR_ARG(r->host));
    }
    if (!route_why_has_path(r, path, m)) {
        return route_why_path(r, m->arena);
    }
    if (!route_has_listener(r, m->listener_id)) {
        return STR("it is for other listeners");
    }
    const struct str header = route_why_header(r, m);
    if (header.p != NULL || route_has_method(r, m->head->method_text)) {
        return header;
    }
    return route_why_methods(r, m->arena);
}

/* Both fit: what sets the winner first. */
static struct str route_why_later(const struct route *r,
                                  const struct route *winner,
                                  struct arena *arena)
{
    if (route_why_host_rank(winner) < route_why_host_rank(r)) {
        return arena_print(arena, "it fits, but host %.*s is more specific",
                           STR_ARG(winner->host));
    }
    if (winner->path_kind == ROUTE_PATH_EXACT &&
        r->path_kind != ROUTE_PATH_EXACT) {
        return STR("it fits, but an exact path goes first");
    }
    if (winner->path_kind == ROUTE_PATH_REGEX &&
        r->path_kind == ROUTE_PATH_PREFIX) {
        return STR("it fits, but a path_regex goes before a path_prefix");
    }
    if (winner->path_kind == ROUTE_PATH_PREFIX &&
        winner->path.len > r->path.len) {
        return arena_print(arena, "it fits, but the prefix %.*s/ is longer",
                           STR_ARG(winner->path));
    }
    if (winner->path_kind != ROUTE_PATH_REGEX &&
        route_n_conditions(winner) > route_n_conditions(r)) {
        return STR("it fits, but the other one has more conditions");
    }
    return STR("it fits, but stands later in the file");
}

struct str route_why(const struct route *r,
                     const struct route *winner,
                     const struct route_match *m)
{
    const struct str path = uri_match_path(m->arena, m->head->path);
    const struct str unfit = route_why_unfit(r, path, m);
    return unfit.p != NULL || winner == NULL
               ? unfit
               : route_why_later(r, winner, m->arena);
}
