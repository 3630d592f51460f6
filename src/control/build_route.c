/*
 * build_route: routes of a snapshot, their regular expressions and filters,
 * and the table that finds them. Control thread.
 */
#include "base/check.h"
#include "base/mem.h"
#include "control/build.h"
#include "http/uri.h"
#include "proxy/filter.h"

#include <stdio.h>

static struct str build_lower(struct build *b, struct str s)
{
    char *p = build_take(b, s.len, 1);
    str_lower(p, s);
    return str_make(p, s.len);
}

/* Nothing but the host: "example.org", or "[::1]", which requests have without
 * its brackets. */
static bool build_is_host(struct str authority, struct str host)
{
    return authority.len == host.len ||
           (str_starts(authority, STR("[")) && authority.len == host.len + 2);
}

/* A text that is there and sound, copied; p NULL otherwise. */
static struct str
build_sound_text(struct build *b, const struct node *n, const char *key)
{
    return build_text(b, settings_sound_child(n, key), NULL);
}

/* "example.org" or "*.example.org", canonical as request hosts are. */
static bool build_host(struct build *b, const struct node *n, struct route *r)
{
    const struct str text = build_sound_text(b, n, "host");
    struct str authority;
    if (text.len == 0) {
        return true;
    }
    const bool is_wildcard = str_starts(text, STR("*."));
    const struct str name = is_wildcard ? str_from_index(text, 2) : text;
    if (uri_host(&b->snap->arena, name, STR("http"), &authority, &r->host) !=
            FAULT_NONE ||
        !build_is_host(authority, r->host)) {
        return node_problem(n, b->err,
                            "host \"%.*s\" is not a host name; write "
                            "\"www.example.org\" or \"*.example.org\", "
                            "without port",
                            STR_ARG(text));
    }
    if (is_wildcard) {
        r->host = arena_print(&b->snap->arena, "*.%.*s", STR_ARG(r->host));
    }
    return true;
}

static struct regex *
build_regex(struct build *b, const struct node *n, struct str text)
{
    struct error err = {0};
    struct regex *re =
        regex_new(text, REGEX_ANCHOR_START | REGEX_ANCHOR_END, &err);
    if (re == NULL) {
        build_explain(b, n, &err);
    }
    error_fini(&err);
    return re;
}

/* Paths are matched in canonical form, so they are written in it. */
static bool build_path_text(struct build *b,
                            const struct node *n,
                            const char *key,
                            struct str text)
{
    struct str path;
    struct str query;
    const struct uri_options options = {.is_encoded_slash_allowed = true};
    const enum fault f =
        uri_target(&b->snap->arena, text, &options, &path, &query);
    if (f != FAULT_NONE || text.p[0] != '/' || query.p != NULL) {
        return node_problem(n, b->err,
                            "%s \"%.*s\" is not a path; it begins "
                            "with / and has no query",
                            key, STR_ARG(text));
    }
    if (!str_eq(path, text)) {
        return node_problem(n, b->err,
                            "%s \"%.*s\" is never seen in this form; write "
                            "\"%.*s\"",
                            key, STR_ARG(text), STR_ARG(path));
    }
    return true;
}

static bool build_path(struct build *b, const struct node *n, struct route *r)
{
    const struct str exact = build_sound_text(b, n, "path");
    const struct str pattern = build_sound_text(b, n, "path_regex");
    struct str prefix = build_sound_text(b, n, "path_prefix");
    if (pattern.p != NULL) {
        r->path_kind = ROUTE_PATH_REGEX;
        r->path = pattern;
        r->regex = build_regex(b, n, pattern);
        return r->regex != NULL;
    }
    if (exact.p != NULL) {
        r->path_kind = ROUTE_PATH_EXACT;
        r->path = exact;
        return build_path_text(b, n, "path", exact);
    }
    r->path_kind = ROUTE_PATH_PREFIX;
    if (prefix.p == NULL) {
        prefix = STR("/");
    }
    const bool is_ok = build_path_text(b, n, "path_prefix", prefix);
    while (prefix.len > 0 && prefix.p[prefix.len - 1] == '/') {
        prefix.len--;
    }
    r->path = prefix;
    return is_ok;
}

static bool
build_methods(struct build *b, const struct node *n, struct route *r)
{
    const struct node *list = settings_child(n, "methods");
    bool is_ok = true;
    if (list == NULL) {
        return true;
    }
    r->methods = build_take(b, list->n_children, sizeof(*r->methods));
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        const struct str text = str_from(m->text);
        if (!settings_is_sound(m)) {
            continue;
        }
        if (!name_is_valid(text)) {
            is_ok = node_problem(m, b->err, "\"%s\" is not a method", m->text);
        }
        r->methods[r->n_methods++] = build_copy(b, text);
    }
    return is_ok;
}

static bool build_header_match(struct build *b,
                               const struct node *m,
                               struct route_header_match *hm)
{
    const struct str pattern = settings_text(m, "value_regex");
    bool is_ok = true;
    hm->name = build_lower(b, settings_text(m, "name"));
    hm->value = build_text(b, m, "value");
    hm->is_absent = settings_has(m, "present") && !settings_flag(m, "present");
    if (!name_is_valid(hm->name)) {
        is_ok = node_problem(m, b->err, "\"%.*s\" is not a header name",
                             STR_ARG(hm->name));
    }
    if (pattern.len > 0) {
        hm->regex = build_regex(b, m, pattern);
        is_ok = hm->regex != NULL && is_ok;
    }
    return is_ok;
}

static bool
build_header_matches(struct build *b, const struct node *n, struct route *r)
{
    const struct node *list = settings_child(n, "headers");
    bool is_ok = true;
    if (list == NULL) {
        return true;
    }
    r->headers = build_take(b, list->n_children, sizeof(*r->headers));
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        if (settings_is_sound(m)) {
            is_ok =
                build_header_match(b, m, &r->headers[r->n_headers++]) && is_ok;
        }
    }
    return is_ok;
}

static void
build_route_listeners(struct build *b, const struct node *n, struct route *r)
{
    const struct node *list = settings_child(n, "listeners");
    if (list == NULL) {
        return;
    }
    r->listener_ids = build_take(b, list->n_children, sizeof(*r->listener_ids));
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        if (settings_is_sound(m)) {
            r->listener_ids[r->n_listener_ids++] =
                build_listener_id(b->world, str_from(m->text));
        }
    }
}

/* Fields that frame the message, or that we write, are not for editing. */
static bool
build_edit_name(struct build *b, const struct node *n, struct str name)
{
    const enum name_id id = name_find(name);
    if (!name_is_valid(name)) {
        return node_problem(n, b->err, "\"%.*s\" is not a header name",
                            STR_ARG(name));
    }
    if ((name_flags(id) & NAME_FLAG_HOP) != 0 || id == NAME_CONTENT_LENGTH ||
        id == NAME_HOST || id == NAME_EXPECT) {
        return node_problem(
            n, b->err,
            "\"%.*s\" frames the message and cannot be "
            "edited%s",
            STR_ARG(name), id == NAME_HOST ? "; set host of the upstream" : "");
    }
    return true;
}

static bool build_edit_map(struct build *b,
                           const struct node *map,
                           struct route_header **headers,
                           size_t *n_headers)
{
    bool is_ok = true;
    if (map == NULL) {
        return true;
    }
    *headers = build_take(b, map->n_children, sizeof(**headers));
    for (const struct node *m = map->first; m != NULL; m = m->next) {
        if (!settings_is_sound(m)) {
            continue;
        }
        struct route_header *h = &(*headers)[(*n_headers)++];
        h->name = build_lower(b, str_from(m->name));
        h->value = build_copy(b, str_from(m->text));
        is_ok = build_edit_name(b, m, h->name) && is_ok;
        if (!value_is_valid(h->value)) {
            is_ok = node_problem(m, b->err,
                                 "a header value has no control "
                                 "characters and no blanks at its "
                                 "ends");
        }
    }
    return is_ok;
}

static bool
build_edits(struct build *b, const struct node *n, struct route_edits *e)
{
    bool is_ok =
        build_edit_map(b, settings_child(n, "set"), &e->set, &e->n_set);
    is_ok = build_edit_map(b, settings_child(n, "add"), &e->add, &e->n_add) &&
            is_ok;
    const struct node *list = settings_child(n, "remove");
    if (list == NULL) {
        return is_ok;
    }
    e->remove = build_take(b, list->n_children, sizeof(*e->remove));
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        if (!settings_is_sound(m)) {
            continue;
        }
        struct str *name = &e->remove[e->n_remove++];
        *name = build_lower(b, str_from(m->text));
        is_ok = build_edit_name(b, m, *name) && is_ok;
    }
    return is_ok;
}

static struct upstream *build_find_upstream(struct build *b, struct str name)
{
    return map_find(b->upstreams, name);
}

/* False without a message when the upstream itself could not be built: its
 * own problem was told already. */
static bool
build_split(struct build *b, const struct node *list, struct route *r)
{
    uint64_t total = 0;
    r->action = ROUTE_SPLIT;
    r->split = build_take(b, list->n_children, sizeof(*r->split));
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        struct route_split *s = &r->split[r->n_split++];
        s->upstream = build_find_upstream(b, settings_text(m, "upstream"));
        total += (uint64_t)settings_number(m, "weight");
        s->weight_end = total;
        if (s->upstream == NULL) {
            return false;
        }
    }
    return total > 0 || node_problem(list, b->err,
                                     "all weights are 0; give one upstream a "
                                     "weight of at least 1");
}

static bool
build_unknown_variable(struct build *b, const struct node *n, struct str name)
{
    char known[256] = "";
    size_t len = 0;
    const char *best = NULL;
    const char *variable;
    unsigned reach = 3;
    for (size_t i = 0; (variable = route_variable_name(i)) != NULL; i++) {
        const unsigned d = str_distance(name, str_from(variable), reach);
        if (d <= reach && (best == NULL || d < reach)) {
            best = variable;
            reach = d;
        }
        len += (size_t)snprintf(known + len, sizeof(known) - len, "%s${%s}",
                                i > 0 ? ", " : "", variable);
    }
    return node_problem(
        n, b->err, "${%.*s} is not a variable%s%s%s there are %s",
        STR_ARG(name), best != NULL ? "; did you mean ${" : "",
        best != NULL ? best : "", best != NULL ? "}?" : ";", known);
}

/* Every ${variable} is one, and closed. */
static bool
build_variables(struct build *b, const struct node *n, struct str text)
{
    bool is_ok = true;
    for (size_t at = 0; at + 1 < text.len; at++) {
        if (text.p[at] != '$' || text.p[at + 1] != '{') {
            continue;
        }
        const struct str inside = str_from_index(text, at + 2);
        const size_t end = str_find_char(inside, '}');
        if (end == inside.len) {
            return node_problem(n, b->err,
                                "\"${\" without \"}\"; close it, as in "
                                "\"${host}\"");
        }
        const struct str name = str_sub(inside, 0, end);
        if (!route_is_variable(name)) {
            is_ok = build_unknown_variable(b, n, name);
        }
        at += 2 + end;
    }
    return is_ok;
}

static bool
build_redirect(struct build *b, const struct node *n, struct route *r)
{
    const struct node *to = settings_sound_child(n, "to");
    r->action = ROUTE_REDIRECT;
    r->status = (int)settings_number(n, "status");
    r->to = build_text(b, to, NULL);
    if (to == NULL) {
        return false; /* which was told already */
    }
    if (!value_is_valid(r->to)) {
        return node_problem(to, b->err,
                            "must be an address such as "
                            "\"https://${host}${request_uri}\"");
    }
    return build_variables(b, to, r->to);
}

static bool build_answer(struct build *b, const struct node *n, struct route *r)
{
    r->action = ROUTE_ANSWER;
    r->status = (int)settings_number(n, "status");
    r->body = build_text(b, n, "body");
    r->content_type = build_text(b, n, "content_type");
    if (r->body.p != NULL &&
        (r->status == 204 || r->status == 205 || r->status == 304)) {
        return node_problem(n, b->err, "an answer of status %d has no body",
                            r->status);
    }
    if (r->content_type.p != NULL && !value_is_valid(r->content_type)) {
        return node_problem(n, b->err, "content_type is not a header value");
    }
    return true;
}

static bool build_action(struct build *b, const struct node *n, struct route *r)
{
    const struct node *split = settings_child(n, "split");
    const struct node *redirect = settings_child(n, "redirect");
    const struct node *answer = settings_child(n, "answer");
    if (!settings_is_sound(split) || !settings_is_sound(answer)) {
        return false; /* which was told already */
    }
    if (split != NULL) {
        return build_split(b, split, r);
    }
    if (redirect != NULL) {
        return build_redirect(b, redirect, r);
    }
    if (answer != NULL) {
        return build_answer(b, answer, r);
    }
    r->action = ROUTE_TO_UPSTREAM;
    r->upstream = build_find_upstream(b, settings_text(n, "upstream"));
    return r->upstream != NULL;
}

static bool
build_prefix_edit(struct build *b, const struct node *n, struct route *r)
{
    const struct str replace = build_sound_text(b, n, "replace_prefix");
    r->has_replace_prefix =
        replace.p != NULL || settings_flag(n, "strip_prefix");
    r->replace_prefix = replace.p != NULL ? replace : STR("/");
    return replace.p == NULL ||
           build_path_text(b, n, "replace_prefix", replace);
}

static void build_route_numbers(const struct node *n, struct route *r)
{
    r->max_body_bytes = (uint64_t)settings_number(n, "max_body_bytes");
    r->response_timeout_ms =
        (uint32_t)settings_number(n, "response_timeout_ms");
    r->idle_timeout_ms = (uint32_t)settings_number(n, "idle_timeout_ms");
    r->n_retries_max = settings_has(n, "retries_max")
                           ? (int32_t)settings_number(n, "retries_max")
                           : -1;
    r->is_websocket_allowed = settings_flag(n, "websocket");
    r->is_encoded_slash_allowed = settings_flag(n, "allow_encoded_slash");
    r->is_get_body_allowed =
        str_eq(settings_text(n, "get_body"), STR("forward"));
}

static void
build_route_name(struct build *b, const struct node *n, struct route *r)
{
    r->name = build_sound_text(b, n, "name");
    if (r->name.p == NULL) {
        r->name = arena_print(&b->snap->arena, "%.*s%.*s%s",
                              STR_ARG(r->host.p != NULL ? r->host : STR("*")),
                              STR_ARG(r->path),
                              r->path_kind == ROUTE_PATH_PREFIX ? "/" : "");
    }
}

static bool build_route(struct build *b, const struct node *n, struct route *r)
{
    bool is_ok = build_host(b, n, r);
    is_ok = build_path(b, n, r) && is_ok;
    is_ok = build_methods(b, n, r) && is_ok;
    is_ok = build_header_matches(b, n, r) && is_ok;
    is_ok = build_action(b, n, r) && is_ok;
    is_ok = build_prefix_edit(b, n, r) && is_ok;
    is_ok = build_edits(b, settings_child(n, "request_headers"),
                        &r->request_edits) &&
            is_ok;
    is_ok = build_edits(b, settings_child(n, "response_headers"),
                        &r->response_edits) &&
            is_ok;
    build_route_listeners(b, n, r);
    build_route_numbers(n, r);
    build_route_name(b, n, r);
    return build_filters(b, n, r) && is_ok;
}

bool build_routes(struct build *b)
{
    const struct node *list = settings_child(b->root, "routes");
    bool is_ok = true;
    if (list != NULL) {
        b->snap->route_list =
            build_take(b, list->n_children, sizeof(*b->snap->route_list));
        for (const struct node *n = list->first; n != NULL; n = n->next) {
            struct route *r = &b->snap->route_list[b->snap->n_routes];
            r->order = (unsigned)b->snap->n_routes++;
            is_ok = build_route(b, n, r) && is_ok;
        }
    }
    if (is_ok && b->err->n_problems == 0) {
        b->snap->routes =
            route_table_build(b->snap->route_list, b->snap->n_routes);
    }
    return is_ok;
}

void build_free_routes(struct snapshot *snap)
{
    route_table_free(snap->routes);
    for (size_t i = 0; i < snap->n_routes; i++) {
        struct route *r = &snap->route_list[i];
        regex_free(r->regex);
        for (size_t j = 0; j < r->n_headers; j++) {
            regex_free(r->headers[j].regex);
        }
        filter_chain_free(r->filters);
    }
}
