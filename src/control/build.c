/*
 * build: see build.h.
 */
#include "control/build.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/access_log.h"

#include <stdio.h>
#include <sys/resource.h>

enum {
    BUILD_ARENA_BYTES_MAX = 1 << 30,
    BUILD_CONNS_MAX = 50000,
    BUILD_FDS_RESERVED = 64
};

void build_world_init(struct build_world *world, size_t n_workers)
{
    *world = (struct build_world){.n_workers = n_workers};
    world->scoreboard = scoreboard_new();
    world->tickets = tls_tickets_new();
    world->listener_ids = map_new();
    list_init(&world->groups);
}

void build_world_fini(struct build_world *world)
{
    struct list *first;
    while ((first = list_first(&world->groups)) != NULL) {
        struct build_group *g = CONTAINER_OF(first, struct build_group, node);
        list_remove(&g->node);
        listener_group_close(g->group);
        mem_free(g);
    }
    map_free(world->listener_ids);
    tls_tickets_free(world->tickets);
    scoreboard_free(world->scoreboard);
}

unsigned build_listener_id(struct build_world *world, struct str name)
{
    uintptr_t id = (uintptr_t)map_find(world->listener_ids, name);
    if (id == 0) {
        id = map_count(world->listener_ids) + 1;
        map_set(world->listener_ids, name, (void *)id);
    }
    return (unsigned)id;
}

void *build_take(struct build *b, size_t n, size_t size)
{
    CHECK(size == 0 || n < BUILD_ARENA_BYTES_MAX / size);
    void *p = arena_take_zero(&b->snap->arena, n * size + 1);
    CHECK(p != NULL);
    return p;
}

struct str build_copy(struct build *b, struct str s)
{
    const struct str copy = arena_copy(&b->snap->arena, s);
    CHECK(copy.p != NULL);
    return copy;
}

struct str build_text(struct build *b, const struct node *n, const char *key)
{
    const struct str s = settings_text(n, key);
    return s.len > 0 ? build_copy(b, s) : STR_NONE;
}

void build_explain(struct build *b, const struct node *n, struct error *from)
{
    node_explain(n, b->err, from);
}

static uint32_t build_number(const struct node *n, const char *key)
{
    return (uint32_t)settings_number(n, key);
}

struct codec_limits build_limits(const struct build *b)
{
    const struct node *l = settings_child(b->root, "limits");
    const struct node *t = settings_child(b->root, "timeouts");
    struct codec_limits c = codec_limits_default();
    if (!settings_is_sound(l) || !settings_is_sound(t)) {
        return c; /* nothing of this build will be used */
    }
    c.head_bytes_max = build_number(l, "header_bytes_max");
    c.n_fields_max = build_number(l, "header_fields_max");
    c.field_bytes_max = build_number(l, "header_value_bytes_max");
    c.target_bytes_max = build_number(l, "target_bytes_max");
    c.trailer_bytes_max = build_number(l, "trailer_bytes_max");
    c.n_trailers_max = build_number(l, "trailer_fields_max");
    c.buffer_bytes = build_number(l, "buffer_bytes");
    c.n_streams_max = build_number(l, "streams_max");
    c.stream_window_bytes = build_number(l, "stream_window_bytes");
    c.conn_window_bytes = build_number(l, "connection_window_bytes");
    c.conn_buffer_bytes = build_number(l, "connection_buffer_bytes");
    c.n_glitches_max = build_number(l, "glitches_max");
    c.n_resets_max = build_number(l, "resets_max");
    c.n_requests_max = build_number(l, "requests_per_connection_max");
    c.head_timeout_ms = build_number(t, "head_timeout_ms");
    c.idle_timeout_ms = build_number(t, "idle_timeout_ms");
    c.write_timeout_ms = build_number(t, "write_timeout_ms");
    c.age_max_ms = build_number(t, "connection_age_max_ms");
    return c;
}

bool build_any_encoded_slash(const struct build *b)
{
    const struct node *routes = settings_child(b->root, "routes");
    for (const struct node *r = routes != NULL ? routes->first : NULL;
         r != NULL; r = r->next) {
        if (settings_flag(r, "allow_encoded_slash")) {
            return true;
        }
    }
    return false;
}

/* Connections per worker: what is set, or what the descriptors allow. */
static uint32_t build_conns_max(const struct build *b)
{
    const struct node *l = settings_child(b->root, "limits");
    uint64_t max = (uint64_t)settings_number(l, "connections_max");
    struct rlimit r;
    if (max == 0) {
        max = BUILD_CONNS_MAX;
        if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
            const uint64_t usable = r.rlim_cur > BUILD_FDS_RESERVED
                                        ? r.rlim_cur - BUILD_FDS_RESERVED
                                        : 1;
            const uint64_t share = usable * 45 / 100;
            max = share < max ? share : max;
        }
    }
    const uint64_t per_worker =
        (max + b->world->n_workers - 1) / b->world->n_workers;
    return per_worker > 0 ? (uint32_t)per_worker : 1;
}

/* Not given: the machine itself, where benchmarks and neighbours come from. */
static void build_own_nets(struct build *b, struct address_bounds *bounds)
{
    static const char *const own[] = {"127.0.0.0/8", "::1/128"};
    const size_t n = sizeof(own) / sizeof(own[0]);
    struct error err = {0};
    bounds->exempt = build_take(b, n, sizeof(*bounds->exempt));
    bounds->n_exempt = n;
    for (size_t i = 0; i < n; i++) {
        CHECK(addr_net_parse(str_from(own[i]), &bounds->exempt[i], &err));
    }
}

static bool build_addresses(struct build *b)
{
    const struct node *l = settings_child(b->root, "limits");
    const char *key = "connections_per_address_exempt";
    struct address_bounds *bounds = &b->snap->address_bounds;
    bounds->n_open_max = build_number(l, "connections_per_address_max");
    bounds->rate_per_s = build_number(l, "connections_per_address_rate");
    bounds->n_burst = build_number(l, "connections_per_address_burst");
    if (settings_has(l, key)) {
        return build_nets(b, l, key, &bounds->exempt, &bounds->n_exempt);
    }
    build_own_nets(b, bounds);
    return true;
}

static void build_handshakes(struct build *b)
{
    const struct node *l = settings_child(b->root, "limits");
    struct handshake_bounds *bounds = &b->snap->handshake_bounds;
    bounds->n_max = build_number(l, "tls_handshakes_max");
    bounds->rate_per_s = build_number(l, "tls_handshakes_per_second");
}

static void build_access_format(struct build *b)
{
    const struct node *log = settings_child(b->root, "log");
    const struct node *format = settings_child(log, "access_format");
    if (str_eq(settings_text(log, "access"), STR("off")) ||
        !settings_is_sound(format)) {
        return;
    }
    struct error err = {0};
    b->snap->access_format =
        access_format_new(settings_text(log, "access_format"), &err);
    if (b->snap->access_format == NULL) {
        build_explain(b, format != NULL ? format : log, &err);
    }
}

static void build_times(struct build *b)
{
    const struct node *t = settings_child(b->root, "timeouts");
    b->snap->drain_timeout_ms = build_number(t, "drain_timeout_ms");
    b->snap->body_timeout_ms = build_number(t, "body_timeout_ms");
    b->snap->tunnel_idle_timeout_ms = build_number(t, "tunnel_idle_timeout_ms");
}

struct snapshot *build_snapshot(struct build_world *world,
                                struct node *root,
                                const struct snapshot *old,
                                struct error *err)
{
    struct snapshot *snap = mem_new(sizeof(*snap));
    struct build b = {
        .world = world, .root = root, .old = old, .snap = snap, .err = err};
    arena_init(&snap->arena, NULL, BUILD_ARENA_BYTES_MAX);
    snap->n_workers = world->n_workers;
    snap->pins = mem_new_lines(world->n_workers, sizeof(*snap->pins));
    atomic_init(&snap->n_workers_left, (unsigned)world->n_workers);
    snap->n_conns_max = build_conns_max(&b);
    build_times(&b);
    build_handshakes(&b);
    b.upstreams = map_new();
    /* All of them run, so that one pass tells every problem. */
    build_access_format(&b);
    bool is_ok = build_addresses(&b);
    is_ok = build_upstreams(&b) && is_ok;
    is_ok = build_listeners(&b) && is_ok;
    is_ok = build_modules(&b) && is_ok;
    is_ok = build_routes(&b) && is_ok;
    map_free(b.upstreams);
    if (!is_ok && err->n_problems == 0) {
        node_problem(root, err,
                     "cannot be built, and the reason was lost; "
                     "report this file as a bug of the gateway");
    }
    if (err->n_problems > 0) {
        build_free_snapshot(world, snap);
        return NULL;
    }
    snap->settings = root;
    snap->generation = ++world->n_generations;
    if (old == NULL) {
        build_apply_listeners(snap); /* a reload does it when it goes live */
    }
    return snap;
}

void build_free_snapshot(struct build_world *world, struct snapshot *snap)
{
    if (snap == NULL) {
        return;
    }
    build_free_routes(snap);
    build_free_listeners(world, snap);
    build_free_upstreams(world, snap);
    access_format_free((struct access_format *)(uintptr_t)snap->access_format);
    node_free(snap->settings);
    mem_free(snap->pins);
    arena_reset(&snap->arena);
    mem_free(snap);
}
