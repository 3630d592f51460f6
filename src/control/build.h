/*
 * build: from a checked settings tree to a snapshot: names resolved,
 * certificates loaded, tables made. Each noun has a builder of its own
 * (build_listener.c, build_upstream.c, build_route.c); build.c puts them
 * together. Control thread. A build that fails leaves nothing behind.
 * Builders also run over trees with problems: each step looks at parts that
 * are sound only (settings_is_sound), and may leave out what it then lacks.
 */
#ifndef DAEMUN_CONTROL_BUILD_H
#define DAEMUN_CONTROL_BUILD_H

#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "control/settings.h"
#include "net/listener.h"
#include "proxy/snapshot.h"

#include <stddef.h>

/* What outlives snapshots; owned by the control. */
struct build_world {
    struct scoreboard *scoreboard;
    struct tls_tickets *tickets;
    struct list groups;       /* build_group */
    struct map *listener_ids; /* name -> number + 1 */
    size_t n_workers;
    uint64_t n_generations;
    bool is_test; /* daemun -t: no socket is opened */
};

/* Sockets of an address, and how many snapshots use them. */
struct build_group {
    struct list node;
    struct listener_group *group;
    uint32_t n_refs;
};

/* A build that is going on. */
struct build {
    struct build_world *world;
    const struct node *root;
    const struct snapshot *old; /* NULL: the first one */
    struct snapshot *snap;
    struct map *upstreams; /* name -> struct upstream */
    bool lacks_modules;    /* one was not loaded: its filters are unknown */
    struct error *err;
};

void build_world_init(struct build_world *world, size_t n_workers);
void build_world_fini(struct build_world *world);
/*
 * The new snapshot, or NULL when there is any problem in `err`, those of an
 * earlier check too: then it looks for more in what is sound. On success the
 * tree belongs to the snapshot.
 */
struct snapshot *build_snapshot(struct build_world *world,
                                struct node *root,
                                const struct snapshot *old,
                                struct error *err);
/* Frees a snapshot that no worker can see. */
void build_free_snapshot(struct build_world *world, struct snapshot *snap);

/* Of the builders: false with lines in b->err. */
bool build_listeners(struct build *b);
bool build_upstreams(struct build *b);
bool build_routes(struct build *b);
/* build_filter.c: loads the modules that the root names, once. */
bool build_modules(struct build *b);
bool build_filters(struct build *b, const struct node *n, struct route *r);
/* What the sockets of a snapshot that goes live have to look like. */
void build_apply_listeners(const struct snapshot *snap);
void build_free_listeners(struct build_world *world, struct snapshot *snap);
void build_free_upstreams(struct build_world *world, struct snapshot *snap);
void build_free_routes(struct snapshot *snap);
/* The number of a listener's name; the same for ever. */
unsigned build_listener_id(struct build_world *world, struct str name);
/* A text of the tree, copied to the snapshot; p NULL when it is not given or
 * empty. */
struct str build_text(struct build *b, const struct node *n, const char *key);
struct str build_copy(struct build *b, struct str s);
/* Room in the snapshot, zeroed. */
void *build_take(struct build *b, size_t n, size_t size);
/* The networks of a list, in the snapshot. */
bool build_nets(struct build *b,
                const struct node *n,
                const char *key,
                struct addr_net **nets,
                size_t *n_nets);
/* Limits as the settings say. */
struct codec_limits build_limits(const struct build *b);
bool build_any_encoded_slash(const struct build *b);
/* Adds the lines of `from` to b->err, each behind the place of `n`. */
void build_explain(struct build *b, const struct node *n, struct error *from);

#endif
