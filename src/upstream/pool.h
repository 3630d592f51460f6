/*
 * pool: one worker's connections to one endpoint. HTTP/1.1 connections are
 * lent to one request at a time, HTTP/2 connections to as many as the peer
 * allows. A request that finds none waits; connections are made as they are
 * needed and kept for keep_alive_idle_ms. A new HTTP/2 connection gets one
 * request; the others wait until its SETTINGS tell how many it takes, for a
 * server may refuse, or close upon, more than that. Worker thread; the count of
 * an endpoint's connections is that of all workers, exact at every moment.
 * Invariant: every waiting request has a connection on its way, or the pool
 * waits in the endpoint's queue for a place, and the pools of other workers
 * were asked to give one up.
 */
#ifndef DAEMUN_UPSTREAM_POOL_H
#define DAEMUN_UPSTREAM_POOL_H

#include "base/fault.h"
#include "base/list.h"
#include "http/codec.h"
#include "upstream/upstream.h"

#include <stdbool.h>

enum { POOL_N_WAITING_MAX = 4096 };

struct pool;
struct pool_conn;
struct pool_request;

/* A codec with room for a stream: the request opens it within this call. */
typedef void pool_ready_fn(struct pool_request *r, struct codec *k);
/* No connection. `why` is a line for the log, valid during the call. */
typedef void
pool_failed_fn(struct pool_request *r, enum fault f, const char *why);

/* Embedded in the exchange. */
struct pool_request {
    struct list node;
    struct pool *pool; /* set while it waits */
    const struct endpoint *ep;
    struct pool_conn *own; /* want_fresh: the connection made for it */
    pool_ready_fn *on_ready;
    pool_failed_fn *on_failed;
    bool want_fresh; /* a new HTTP/1.1 connection of its own (upgrades) */
};

struct pool_set;

/* The pools of all workers: who may be asked for a place. Filled by the control
 * thread before the first snapshot is published, constant then. */
struct pool_peers {
    struct pool_set **sets;
    size_t n;
};

/* All pools of one worker, by slot index. */
struct pool_set {
    struct loop *loop;
    const struct pool_peers *peers; /* NULL: there are none */
    struct pool **pools;
    uint32_t n_pools;
    uint32_t n_conns;
    struct list conns; /* all of them, also those that left their pool */
    bool is_draining;
};

void pool_set_init(struct pool_set *set, struct loop *loop);
/* Closes every connection; those with streams are reset. */
void pool_set_fini(struct pool_set *set);
/* No idle connection is kept any more; running streams go on. */
void pool_set_drain(struct pool_set *set);
/*
 * Asks for a stream to `ep`, which must live while the request waits. on_ready
 * may come inside the call, on_failed never does. False: too many wait.
 */
bool pool_acquire(struct pool_set *set,
                  const struct endpoint *ep,
                  struct pool_request *r);
/* The request went away while it waited; harmless when it does not wait. */
void pool_cancel(struct pool_request *r);
/* The endpoint of this slot is gone from the configuration: idle connections
 * close, busy ones when their streams end; the slot is not touched again. */
void pool_retire(struct pool_set *set, const struct slot *slot);

#endif
