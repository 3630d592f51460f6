/*
 * explain: see explain.h. The request is written as HTTP/1.1 bytes and read by
 * the parser that reads those of clients; then the steps of the exchange are
 * walked with the same functions: crossing, route, edits, key, pick. What
 * depends on the load of the moment (round_robin, least_request, random) is
 * told as such, not guessed.
 */
#include "control/explain.h"

#include "base/fault.h"
#include "control/build.h"
#include "control/module.h"
#include "control/source_file.h"
#include "http/h1.h"
#include "http/hop.h"
#include "http/uri.h"
#include "proxy/filter.h"
#include "proxy/route_why.h"

#include <inttypes.h>
#include <string.h>

enum {
    EXPLAIN_BYTES_MAX = 1024 * 1024,
    EXPLAIN_N_LOSERS_MAX = 100, /* told one by one */
};

struct explain_run {
    const struct explain *e;
    struct error *err;
    FILE *out;
    const struct snapshot *snap;
    const struct listener *listener;
    struct regex_scratch *scratch;
    struct arena arena;
    struct addr source;
    struct str scheme;
    struct str authority;
    struct str target;
    uint16_t port;
    bool has_port;
    struct head head;
};

/* ---- the request -------------------------------------------------------- */

static bool explain_read_source(struct explain_run *x)
{
    const struct str text = str_from(x->e->source);
    const bool is_v6 = str_find_char(text, ':') < text.len;
    if (addr_parse(text, &x->source) ||
        addr_parse(arena_print(&x->arena, is_v6 ? "[%.*s]:0" : "%.*s:0",
                               STR_ARG(text)),
                   &x->source) ||
        addr_parse(arena_print(&x->arena, is_v6 ? "[%.*s]:1" : "%.*s:1",
                               STR_ARG(text)),
                   &x->source)) {
        return true;
    }
    return error_add(x->err,
                     "source \"%s\": not an address; write an IP such as "
                     "192.0.2.1, or 192.0.2.1:5000",
                     x->e->source);
}

static bool explain_read_url(struct explain_run *x)
{
    struct str rest;
    struct str host;
    const struct str url = str_from(x->e->url);
    if (uri_absolute(url, &x->scheme, &x->authority, &rest) != FAULT_NONE) {
        return error_add(x->err,
                         "URL \"%s\": write it as http://host/path or "
                         "https://host:port/path?query",
                         x->e->url);
    }
    x->has_port = addr_split(x->authority, &host, &x->port);
    if (!x->has_port) {
        x->port = str_eq(x->scheme, STR("https")) ? 443 : 80;
    }
    const bool is_rooted = rest.len > 0 && rest.p[0] == '/';
    x->target =
        is_rooted ? rest : arena_print(&x->arena, "/%.*s", STR_ARG(rest));
    return true;
}

/* Says what a client would be told, and why. */
static bool explain_refused(struct explain_run *x, enum fault f)
{
    const struct fault_row *row = fault_row(f);
    fprintf(x->out, "answer    %d (%.*s): %.*s\n", row->status,
            STR_ARG(row->word), STR_ARG(row->text));
    return false;
}

/* True: the parser took it, and it was sent across. */
static bool explain_parse(struct explain_run *x)
{
    struct str text =
        arena_print(&x->arena, "%s %.*s HTTP/1.1\r\nHost: %.*s", x->e->method,
                    STR_ARG(x->target), STR_ARG(x->authority));
    for (size_t i = 0; i < x->e->n_headers && text.p != NULL; i++) {
        text = arena_print(&x->arena, "%.*s\r\n%s", STR_ARG(text),
                           x->e->headers[i]);
    }
    text = arena_print(&x->arena, "%.*s\r\n\r\n", STR_ARG(text));
    head_init(&x->head, &x->arena);
    const enum fault f =
        text.p == NULL
            ? FAULT_HEAD_TOO_LARGE
            : h1_parse_request(&x->head, (const uint8_t *)text.p, text.len,
                               x->scheme, x->listener->limits);
    if (f != FAULT_NONE) {
        return explain_refused(x, f);
    }
    const struct hop hop = {
        .peer = &x->source,
        .local = &x->listener->addr,
        .scheme = x->scheme,
        .request_id = STR("00000000-0000-0000-0000-000000000000"),
        .is_peer_trusted = addr_net_has(
            x->listener->trusted_nets, x->listener->n_trusted_nets, &x->source),
        .has_forwarded = x->listener->has_forwarded,
    };
    struct str id;
    x->head.version = x->e->is_h2 ? 20 : x->head.version;
    return hop_request(&x->head, &hop, &id) ||
           explain_refused(x, FAULT_HEAD_TOO_LARGE);
}

/* ---- the listener ------------------------------------------------------- */

static bool explain_is_tls(const struct explain_run *x)
{
    return str_eq(x->scheme, STR("https"));
}

/* What is against a listener; NULL: nothing. */
static const char *explain_listener_why(const struct explain_run *x,
                                        const struct listener *l,
                                        bool is_port_wanted)
{
    if (x->e->listener != NULL) {
        return str_eq(l->name, str_from(x->e->listener)) ? NULL
                                                         : "another is asked "
                                                           "for";
    }
    if ((l->tls != NULL) != explain_is_tls(x)) {
        return l->tls != NULL ? "it speaks TLS, and the URL is http"
                              : "it has no TLS, and the URL is https";
    }
    return is_port_wanted && addr_port(&l->addr) != x->port
               ? "it has another port"
               : NULL;
}

static const struct listener *explain_listener_find(const struct explain_run *x,
                                                    bool is_port_wanted)
{
    for (size_t i = 0; i < x->snap->n_listeners; i++) {
        const struct listener *l = &x->snap->listeners[i];
        if (explain_listener_why(x, l, is_port_wanted) == NULL) {
            return l;
        }
    }
    return NULL;
}

static bool explain_no_listener(struct explain_run *x)
{
    char text[ADDR_TEXT_MAX];
    error_add(x->err, "no listener takes %s:", x->e->url);
    for (size_t i = 0; i < x->snap->n_listeners; i++) {
        const struct listener *l = &x->snap->listeners[i];
        error_add(x->err, "  %.*s (%s): %s", STR_ARG(l->name),
                  addr_print(&l->addr, text),
                  explain_listener_why(x, l, x->has_port));
    }
    return false;
}

static bool explain_listener(struct explain_run *x)
{
    char text[ADDR_TEXT_MAX];
    bool is_exact = true;
    x->listener = explain_listener_find(x, true);
    if (x->listener == NULL && !x->has_port) {
        /* The port of the URL is mapped to that of a listener elsewhere. */
        is_exact = false;
        x->listener = explain_listener_find(x, false);
    }
    if (x->listener == NULL) {
        return explain_no_listener(x);
    }
    const struct listener *l = x->listener;
    fprintf(x->out, "listener  %.*s (%s)%s%s\n", STR_ARG(l->name),
            addr_print(&l->addr, text), l->tls != NULL ? ", TLS" : "",
            is_exact ? "" : ", if its port is the one that clients come to");
    for (size_t i = 0; i < x->snap->n_listeners; i++) {
        const struct listener *other = &x->snap->listeners[i];
        const char *why = explain_listener_why(x, other, is_exact);
        if (other != l) {
            fprintf(x->out, "  not     %.*s (%s): %s\n", STR_ARG(other->name),
                    addr_print(&other->addr, text),
                    why != NULL ? why : "the one before it takes it");
        }
    }
    return true;
}

/* ---- the route ---------------------------------------------------------- */

static void explain_losers(struct explain_run *x,
                           const struct route *winner,
                           const struct route_match *m)
{
    size_t n_told = 0;
    size_t n_more = 0;
    for (size_t i = 0; i < x->snap->n_routes; i++) {
        const struct route *r = &x->snap->route_list[i];
        if (r == winner) {
            continue;
        }
        if (n_told == EXPLAIN_N_LOSERS_MAX ||
            !route_why_has_host(r, x->head.host)) {
            n_more++;
            continue;
        }
        const struct str why = route_why(r, winner, m);
        n_told++;
        fprintf(x->out, "  not     %.*s: %.*s\n", STR_ARG(r->name),
                STR_ARG(why));
    }
    if (n_more > 0) {
        fprintf(x->out, "  not     %zu %s: %s\n", n_more,
                n_told == 0 ? "routes" : "others",
                n_told == EXPLAIN_N_LOSERS_MAX ? "of this host or others"
                                               : "for other hosts");
    }
}

static const struct route *explain_route(struct explain_run *x)
{
    enum fault f;
    struct str allow = STR_NONE;
    struct route_match m = {
        .head = &x->head,
        .listener_id = x->listener->id,
        .arena = &x->arena,
        .scratch = x->scratch,
        .allow = &allow,
    };
    const struct route *r = route_find(x->snap->routes, &m, &f);
    if (r != NULL) {
        fprintf(x->out, "route     %.*s\n", STR_ARG(r->name));
    } else {
        fprintf(x->out, "route     none\n");
    }
    explain_losers(x, r, &m);
    if (r == NULL) {
        explain_refused(x, f);
        if (f == FAULT_METHOD) {
            fprintf(x->out, "          Allow: %.*s\n", STR_ARG(allow));
        }
        return NULL;
    }
    if (!r->is_encoded_slash_allowed && uri_has_encoded_slash(x->head.path)) {
        explain_refused(x, FAULT_BAD_TARGET);
        return NULL;
    }
    return r;
}

static void explain_filters(const struct explain_run *x, const struct route *r)
{
    const size_t n = r->filters != NULL ? r->filters->n_links : 0;
    for (size_t i = 0; i < n; i++) {
        fprintf(x->out, "filter    %s: may answer by itself\n",
                r->filters->links[i].filter->name);
    }
}

static void explain_edits(const struct explain_run *x,
                          const struct route_edits *e,
                          const char *whose)
{
    for (size_t i = 0; i < e->n_remove; i++) {
        fprintf(x->out, "%s without %.*s\n", whose, STR_ARG(e->remove[i]));
    }
    for (size_t i = 0; i < e->n_set; i++) {
        fprintf(x->out, "%s %.*s set to \"%.*s\"\n", whose,
                STR_ARG(e->set[i].name), STR_ARG(e->set[i].value));
    }
    for (size_t i = 0; i < e->n_add; i++) {
        fprintf(x->out, "%s %.*s added: \"%.*s\"\n", whose,
                STR_ARG(e->add[i].name), STR_ARG(e->add[i].value));
    }
}

/* True: the route itself is the answer. */
static bool explain_answer(struct explain_run *x, const struct route *r)
{
    if (r->action == ROUTE_REDIRECT) {
        const struct str to = route_location(r, &x->arena, &x->head);
        fprintf(x->out, "answer    %d to %.*s\n", r->status, STR_ARG(to));
    } else if (r->action == ROUTE_ANSWER) {
        fprintf(x->out, "answer    %d, %zu bytes of %.*s\n", r->status,
                r->body.len, STR_ARG(r->content_type));
    } else {
        return false;
    }
    explain_edits(x, &r->response_edits, "response ");
    return true;
}

/* ---- the upstream ------------------------------------------------------- */

static const char *explain_protocol(enum upstream_protocol p)
{
    static const char *const words[] = {
        [UPSTREAM_HTTP1] = "http1",
        [UPSTREAM_H2C] = "h2c",
        [UPSTREAM_H2] = "h2",
        [UPSTREAM_AUTO] = "auto",
    };
    return words[p];
}

/* The policy as the conf file says it. */
static const struct balance_ops *explain_policy(const struct explain_run *x,
                                                const struct upstream *up)
{
    const struct node *list = settings_child(x->snap->settings, "upstreams");
    for (const struct node *n = list->first; n != NULL; n = n->next) {
        if (str_eq(str_from(n->name), up->name)) {
            return balance_find(
                settings_text(settings_child(n, "balance"), "policy"));
        }
    }
    return NULL;
}

static void explain_bounds(const struct explain_run *x,
                           const struct route *r,
                           const struct upstream *up)
{
    const uint32_t response_ms = r->response_timeout_ms != 0
                                     ? r->response_timeout_ms
                                     : up->response_timeout_ms;
    const uint32_t idle_ms =
        r->idle_timeout_ms != 0 ? r->idle_timeout_ms : up->idle_timeout_ms;
    const uint32_t n_retries =
        r->n_retries_max >= 0 ? (uint32_t)r->n_retries_max : up->n_retries_max;
    fprintf(x->out, "bounds    body ");
    if (r->max_body_bytes == 0) {
        fprintf(x->out, "without limit");
    } else {
        fprintf(x->out, "up to %" PRIu64 " bytes", r->max_body_bytes);
    }
    fprintf(x->out,
            "; connect %" PRIu32 " ms, response %" PRIu32 " ms, idle %" PRIu32
            " ms; up to %" PRIu32 " retries\n",
            up->connect_timeout_ms, response_ms, idle_ms, n_retries);
}

static void explain_key(struct explain_run *x,
                        const struct upstream *up,
                        const struct hash_input *in)
{
    for (size_t i = 0; i < up->key.n_parts; i++) {
        const struct hash_part *part = &up->key.parts[i];
        const struct str word = hash_key_part_text(part, &x->arena);
        const struct str value = hash_key_part_value(part, in, &x->arena);
        const bool is_minted = part->kind == HASH_COOKIE &&
                               str_eq(part->name, up->mint.name) &&
                               up->mint.name.p != NULL && value.p == NULL;
        if (value.p != NULL) {
            fprintf(x->out, "key       %.*s = \"%.*s\"\n", STR_ARG(word),
                    STR_ARG(value));
        } else {
            fprintf(x->out, "key       %.*s is not there%s\n", STR_ARG(word),
                    is_minted ? ": a new one is made, and decides" : "");
        }
    }
}

/* The cookie that would be made is a new one each time. */
static bool explain_is_minted(const struct explain_run *x,
                              const struct upstream *up)
{
    return up->mint.name.p != NULL &&
           head_cookie(&x->head, up->mint.name).p == NULL;
}

static int explain_sticky(const struct explain_run *x,
                          const struct upstream *up)
{
    if (up->sticky.name.p == NULL) {
        return BALANCE_NONE;
    }
    const struct str value = head_cookie(&x->head, up->sticky.name);
    return value.p != NULL ? upstream_sticky_find(up, value) : BALANCE_NONE;
}

static void explain_candidates(const struct explain_run *x,
                               const struct upstream *up,
                               int chosen,
                               const char *why)
{
    for (size_t i = 0; i < up->n_endpoints; i++) {
        const struct balance_endpoint *ep = &up->balance_endpoints[i];
        if ((int)i != chosen) {
            fprintf(x->out, "  %s %.*s%s\n",
                    chosen != BALANCE_NONE || ep->weight == 0 ? "not    "
                                                              : "maybe  ",
                    STR_ARG(ep->id),
                    ep->weight == 0          ? ": its weight is 0"
                    : chosen != BALANCE_NONE ? why
                                             : "");
        }
    }
}

static void explain_endpoint(struct explain_run *x,
                             const struct upstream *up,
                             const struct hash_input *in)
{
    struct balance_pick p = {
        .cursor = &up->cursors[0],
        .upstream = up->slot,
        .random = 0,
    };
    const struct balance_ops *ops = explain_policy(x, up);
    p.has_hash = hash_key_compute(&up->key, in, &p.hash);
    const int sticky = explain_sticky(x, up);
    if (sticky >= 0 && balance_may_stay(up->balance_endpoints, sticky, &p)) {
        fprintf(x->out, "endpoint  %.*s by the cookie %.*s\n",
                STR_ARG(up->endpoints[sticky].id), STR_ARG(up->sticky.name));
        explain_candidates(x, up, sticky, ": the cookie names another");
        return;
    }
    const int i = balance_pick(up->balance, &p);
    if (i == BALANCE_NONE) {
        fprintf(x->out, "endpoint  none\n");
        explain_candidates(x, up, BALANCE_NONE, "");
        explain_refused(x, FAULT_NO_ENDPOINT);
        return;
    }
    const bool is_hashing = ops != NULL && ops->is_hashing;
    const bool is_minted = explain_is_minted(x, up);
    if (is_hashing && p.has_hash && !is_minted) {
        fprintf(x->out, "endpoint  %.*s by %s, while it is up and has room\n",
                STR_ARG(up->endpoints[i].id), p.why);
        explain_candidates(x, up, i, ": the key leads to another");
        return;
    }
    const bool is_keyless = is_hashing && !p.has_hash && !is_minted;
    fprintf(x->out, "endpoint  any of them, by %s%s\n",
            ops != NULL && !is_keyless ? ops->name : "fallback_policy",
            is_keyless                ? ", for the request has no key"
            : is_hashing && is_minted ? " and the cookie that is made"
                                      : "");
    explain_candidates(x, up, BALANCE_NONE, "");
}

static void explain_upstream(struct explain_run *x,
                             const struct route *r,
                             const struct upstream *up)
{
    const struct hash_input in = {
        .source = &x->source,
        .destination = &x->listener->addr,
        .head = &x->head,
        .sni = explain_is_tls(x) ? x->head.host : STR_NONE,
    };
    const struct balance_ops *ops = explain_policy(x, up);
    const struct str path = route_rewrite_path(r, &x->arena, x->head.path);
    fprintf(x->out, "upstream  %.*s: %s, %zu endpoint%s, %s\n",
            STR_ARG(up->name), explain_protocol(up->protocol), up->n_endpoints,
            up->n_endpoints == 1 ? "" : "s", ops != NULL ? ops->name : "");
    if (up->host.p != NULL) {
        fprintf(x->out, "request   host is %.*s\n", STR_ARG(up->host));
    }
    if (!str_eq(path, x->head.path)) {
        fprintf(x->out, "request   path is %.*s\n", STR_ARG(path));
    }
    explain_bounds(x, r, up);
    explain_key(x, up, &in);
    explain_endpoint(x, up, &in);
}

static void explain_upstreams(struct explain_run *x, const struct route *r)
{
    explain_edits(x, &r->request_edits, "request  ");
    explain_edits(x, &r->response_edits, "response ");
    route_edit(&r->request_edits, &x->head);
    if (r->action == ROUTE_TO_UPSTREAM) {
        explain_upstream(x, r, r->upstream);
        return;
    }
    const uint64_t total = r->split[r->n_split - 1].weight_end;
    uint64_t begin = 0;
    for (size_t i = 0; i < r->n_split; i++) {
        const struct route_split *part = &r->split[i];
        fprintf(x->out, "split     %.1f %% of the requests:\n",
                total > 0
                    ? 100.0 * (double)(part->weight_end - begin) / (double)total
                    : 0.0);
        begin = part->weight_end;
        explain_upstream(x, r, part->upstream);
    }
}

/* ---- all of it ---------------------------------------------------------- */

static void explain_steps(struct explain_run *x)
{
    if (!explain_parse(x)) {
        return;
    }
    if (x->listener->is_redirecting) {
        fprintf(x->out, "answer    308 to https, by redirect_to_https of the "
                        "listener\n");
        return;
    }
    const struct route *r = explain_route(x);
    if (r == NULL) {
        return;
    }
    explain_filters(x, r);
    if (!explain_answer(x, r)) {
        explain_upstreams(x, r);
    }
}

static bool explain_snapshot(struct explain_run *x)
{
    arena_init(&x->arena, NULL, EXPLAIN_BYTES_MAX);
    x->scratch = regex_scratch_new(REGEX_PROGRAM_MAX);
    const bool is_ok =
        explain_read_source(x) && explain_read_url(x) && explain_listener(x);
    if (is_ok) {
        explain_steps(x);
    }
    regex_scratch_free(x->scratch);
    arena_reset(&x->arena);
    return is_ok;
}

bool explain_print(const struct explain *e, FILE *out, struct error *err)
{
    struct explain_run x = {.e = e, .out = out, .err = err};
    struct build_world world;
    struct node *root = source_file_read(e->conf_path, err);
    if (root == NULL) {
        return false;
    }
    settings_check(root, err);
    build_world_init(&world, 1);
    world.is_test = true;
    struct snapshot *snap = build_snapshot(&world, root, NULL, err);
    if (snap == NULL) {
        node_free(root);
    }
    x.snap = snap;
    const bool is_ok = snap != NULL && explain_snapshot(&x);
    build_free_snapshot(&world, snap);
    build_world_fini(&world);
    module_unload_all();
    return is_ok;
}
