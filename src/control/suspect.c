/*
 * suspect: see suspect.h. References are read from the tree, and what a route
 * matches from the snapshot, where it is in one form.
 */
#include "control/suspect.h"

#include "base/log.h"
#include "control/settings.h"

#include <stdarg.h>
#include <stdio.h>

/* Each is compared with each: beyond this a reload would take too long. */
enum { SUSPECT_ROUTES_MAX = 4096 };

__attribute__((format(printf, 2, 3))) static void
suspect_tell(const struct node *n, const char *format, ...)
{
    char where[512];
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    log_text(LOG_WARN, "%s:%u: %s: %s", n->file, n->line,
             node_path(n, where, sizeof(where)), what);
}

static const struct node *suspect_first(const struct node *n, const char *key)
{
    const struct node *list = settings_child(n, key);
    return list != NULL ? list->first : NULL;
}

static const struct node *suspect_nth(const struct node *list, size_t at)
{
    const struct node *n = list != NULL ? list->first : NULL;
    while (n != NULL && at-- > 0) {
        n = n->next;
    }
    return n;
}

/* ---- upstreams ---------------------------------------------------------- */

static bool suspect_route_uses(const struct node *route, struct str upstream)
{
    if (str_eq(settings_text(route, "upstream"), upstream)) {
        return true;
    }
    for (const struct node *s = suspect_first(route, "split"); s != NULL;
         s = s->next) {
        if (str_eq(settings_text(s, "upstream"), upstream)) {
            return true;
        }
    }
    return false;
}

static bool suspect_is_used(const struct node *root, struct str upstream)
{
    for (const struct node *r = suspect_first(root, "routes"); r != NULL;
         r = r->next) {
        if (suspect_route_uses(r, upstream)) {
            return true;
        }
    }
    return false;
}

static bool suspect_takes_requests(const struct node *upstream)
{
    for (const struct node *e = suspect_first(upstream, "endpoints"); e != NULL;
         e = e->next) {
        if (settings_number(e, "weight") > 0) {
            return true;
        }
    }
    return false;
}

static void suspect_upstreams(const struct node *root)
{
    for (const struct node *u = suspect_first(root, "upstreams"); u != NULL;
         u = u->next) {
        if (!suspect_is_used(root, str_from(u->name))) {
            suspect_tell(u, "no route uses this upstream; name it in a route, "
                            "or remove it");
        } else if (suspect_first(u, "endpoints") == NULL) {
            suspect_tell(u, "it has no endpoint, so its requests are answered "
                            "with 503; add one to endpoints");
        } else if (!suspect_takes_requests(u)) {
            suspect_tell(u, "all of its endpoints have weight 0, so its "
                            "requests are answered with 503; give one of them "
                            "a weight");
        }
    }
}

/* ---- routes ------------------------------------------------------------- */

static bool suspect_has_id(const struct route *r, unsigned id)
{
    for (size_t i = 0; i < r->n_listener_ids; i++) {
        if (r->listener_ids[i] == id) {
            return true;
        }
    }
    return false;
}

static bool suspect_has_method(const struct route *r, struct str method)
{
    for (size_t i = 0; i < r->n_methods; i++) {
        if (str_eq(r->methods[i], method)) {
            return true;
        }
    }
    return false;
}

/* Whether all that `b` lets through by method and listener, `a` does too. */
static bool suspect_is_wider(const struct route *a, const struct route *b)
{
    if ((a->n_methods > 0 && b->n_methods == 0) ||
        (a->n_listener_ids > 0 && b->n_listener_ids == 0)) {
        return false;
    }
    for (size_t i = 0; a->n_methods > 0 && i < b->n_methods; i++) {
        if (!suspect_has_method(a, b->methods[i])) {
            return false;
        }
    }
    for (size_t i = 0; a->n_listener_ids > 0 && i < b->n_listener_ids; i++) {
        if (!suspect_has_id(a, b->listener_ids[i])) {
            return false;
        }
    }
    return true;
}

/* Patterns that match every path there is. */
static bool suspect_is_all(struct str pattern)
{
    return str_eq(pattern, STR(".*")) || str_eq(pattern, STR("/.*"));
}

static bool suspect_same_place(const struct route *a, const struct route *b)
{
    if (a->path_kind != b->path_kind || !str_eq_nocase(a->host, b->host)) {
        return false;
    }
    return str_eq(a->path, b->path) ||
           (a->path_kind == ROUTE_PATH_REGEX && suspect_is_all(a->path));
}

/*
 * `a` gets each request that `b` could get. Of the same host and path those
 * with more conditions come first, then the order of the file decides; patterns
 * are tried in the order of the file alone. Conditions on header fields are not
 * compared: with them on `a`, nothing is certain.
 */
static bool suspect_hides(const struct route *a, const struct route *b)
{
    const bool is_first =
        a->order < b->order && (a->path_kind == ROUTE_PATH_REGEX ||
                                route_n_conditions(a) == route_n_conditions(b));
    return is_first && a->n_headers == 0 && suspect_same_place(a, b) &&
           suspect_is_wider(a, b);
}

/* Each listener of the route answers everything with a redirect. */
static bool suspect_is_redirected(const struct snapshot *snap,
                                  const struct route *r)
{
    for (size_t i = 0; i < snap->n_listeners; i++) {
        const struct listener *l = &snap->listeners[i];
        if (!l->is_redirecting &&
            (r->n_listener_ids == 0 || suspect_has_id(r, l->id))) {
            return false;
        }
    }
    return snap->n_listeners > 0;
}

static void suspect_tell_hidden(const struct node *n, const struct node *by)
{
    char path[64];
    if (by != NULL) {
        suspect_tell(n,
                     "never reached: %s (line %u) gets all that it matches; "
                     "put it before that one, or remove it",
                     node_path(by, path, sizeof(path)), by->line);
    }
}

static void suspect_route(const struct snapshot *snap,
                          const struct node *list,
                          const struct route *r)
{
    const struct node *n = suspect_nth(list, r->order);
    if (n == NULL) {
        return;
    }
    if (suspect_is_redirected(snap, r)) {
        suspect_tell(n, "never reached: all of its listeners redirect to "
                        "https (redirect_to_https); remove the route, or name "
                        "another listener");
        return;
    }
    for (size_t i = 0; i < snap->n_routes; i++) {
        const struct route *other = &snap->route_list[i];
        if (suspect_hides(other, r)) {
            suspect_tell_hidden(n, suspect_nth(list, other->order));
            return;
        }
    }
}

void suspect_warn(const struct snapshot *snap, const struct node *root)
{
    const struct node *routes = settings_child(root, "routes");
    suspect_upstreams(root);
    for (size_t i = 0;
         snap->n_routes <= SUSPECT_ROUTES_MAX && i < snap->n_routes; i++) {
        suspect_route(snap, routes, &snap->route_list[i]);
    }
}
