/*
 * snapshot: one built configuration. The control thread builds it, publishes
 * it to the workers, and frees it when the last worker has let go; on workers
 * it is const. Each exchange pins the snapshot it began with; pins are plain
 * integers, one per worker, each on its own cache line.
 */
#ifndef DAEMUN_PROXY_SNAPSHOT_H
#define DAEMUN_PROXY_SNAPSHOT_H

#include "http/codec.h"
#include "net/addr.h"
#include "net/address_limit.h"
#include "net/tls.h"
#include "proxy/handshake_gate.h"
#include "proxy/route.h"
#include "upstream/upstream.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_format;
struct listener_group;
struct node;

/* How clients of one listener are served. */
struct listener {
    struct str name;
    unsigned id; /* process-wide number of the name; routes match it */
    struct addr addr;
    struct tls_server *tls; /* one reference is ours; NULL: plain */
    bool is_h2_allowed;     /* prior knowledge on a plain listener */
    bool is_http1_allowed;  /* no: who does not choose h2 gets h2 */
    bool is_redirecting;    /* 308 to https */
    bool has_proxy_protocol;
    bool has_forwarded;          /* write RFC 7239 Forwarded as well */
    struct addr_net *proxy_nets; /* who may send a PROXY header */
    size_t n_proxy_nets;
    struct addr_net *trusted_nets; /* whose X-Forwarded-* are kept */
    size_t n_trusted_nets;
    uint32_t n_conns_max; /* per worker; 0: only the total counts */
    uint32_t handshake_timeout_ms;
    const struct codec_limits *limits;
    uint32_t socket_mode;         /* of a UNIX socket's file */
    struct listener_group *group; /* its sockets; changed by control only */
};

/* Pins of one worker. */
struct snapshot_pins {
    _Alignas(64) uint64_t n;
    bool is_retired; /* a newer one is in use; tell control at n == 0 */
};

struct snapshot {
    uint64_t generation;
    struct listener *listeners;
    size_t n_listeners;
    struct upstream **upstreams; /* shared with other snapshots, see n_refs */
    size_t n_upstreams;
    struct route_table *routes;
    struct route *route_list; /* what the table points into */
    size_t n_routes;
    const struct access_format *access_format; /* NULL: no access log */
    struct node *settings;                     /* the tree it was built from */
    uint32_t n_conns_max;                 /* client connections per worker */
    struct address_bounds address_bounds; /* of one source address */
    struct handshake_bounds handshake_bounds; /* of each worker */
    uint32_t drain_timeout_ms;
    uint32_t body_timeout_ms;
    uint32_t tunnel_idle_timeout_ms;
    struct snapshot_pins *pins; /* n_workers of them */
    size_t n_workers;
    atomic_uint n_workers_left; /* workers that may still use it */
    struct arena arena;         /* texts and small tables */
};

/* Listener by its id; NULL when this snapshot has none of that name. */
const struct listener *snapshot_listener(const struct snapshot *snap,
                                         unsigned id);
/* True when an endpoint of this snapshot uses the slot. Control and workers at
 * reload only: linear in the upstreams, binary search by index inside. */
bool snapshot_has_slot(const struct snapshot *snap, const struct slot *slot);

#endif
