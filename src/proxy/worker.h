/*
 * worker: a loop that serves requests. It owns its acceptors, clients,
 * exchanges and pools, and reads a snapshot that the control thread handed
 * over by mailbox. Everything here runs on the worker's thread, except the
 * functions that say otherwise.
 */
#ifndef DAEMUN_PROXY_WORKER_H
#define DAEMUN_PROXY_WORKER_H

#include "base/list.h"
#include "base/loop.h"
#include "base/regex.h"
#include "proxy/snapshot.h"
#include "upstream/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct exchange;
struct worker;

/* What a worker tells the control thread; called on the worker's thread, so
 * the implementation posts to the control loop. */
struct worker_owner_ops {
    /* The worker will never touch `snap` again. */
    void (*on_snapshot_left)(struct worker *w, struct snapshot *snap);
    /* Draining is over: no client is left. */
    void (*on_drained)(struct worker *w);
    /* Requests to the endpoint of this slot fail in a row; the slot is pinned
     * during the call and until on_snapshot_left. NULL: nobody cares. */
    void (*on_failing)(struct worker *w, struct slot *slot);
};

struct worker {
    struct loop *loop;
    unsigned index;
    pthread_t thread;
    struct snapshot *snap; /* only the pins of this worker are written */
    struct pool_set pools;
    struct handshake_gate handshakes;
    struct address_limit *addresses; /* of the process: all workers count */
    uint64_t address_log_ms;         /* the last line about it, */
    uint32_t n_address_refused;      /* and refusals since then */
    uint64_t evicted_log_ms; /* the same of handshakes that were ended */
    uint32_t n_evicted;
    struct regex_scratch *scratch;
    struct list acceptors; /* worker_acceptor */
    struct list clients;
    uint32_t n_clients;
    uint32_t *listener_counts; /* clients of each listener, by its id */
    unsigned n_listener_counts;
    uint32_t n_exchanges;
    struct list free_exchanges;
    uint32_t n_free_exchanges;
    const struct worker_owner_ops *owner_ops;
    void *owner;
    struct timer drain_timer;
    uint64_t id_high; /* request ids: random at start, then counted */
    uint64_t id_low;
    char id_prefix[24];
    char date[32]; /* of `date_seconds`, for our own answers */
    uint64_t date_seconds;
    bool is_draining;
};

/* Control thread: makes a worker and starts its thread. */
struct worker *
worker_new(unsigned index, const struct worker_owner_ops *ops, void *owner);
/* Control thread, any time: the worker goes over to `snap`. */
void worker_post_snapshot(struct worker *w, struct snapshot *snap);
/* Control thread: stop accepting, finish what runs, then on_drained. The limit
 * is the snapshot's drain_timeout_ms. */
void worker_post_drain(struct worker *w);
/* Control thread: ends the thread at once, closing everything. Other workers
 * may still send it mail. */
void worker_stop(struct worker *w);
/* Control thread: frees a stopped worker, when all of them are stopped. */
void worker_free(struct worker *w);

/* Closes gently up to `n_max` client connections that have no request, the
 * oldest ones first; how many of them are closed by the end of the turn. */
unsigned worker_shed_idle(struct worker *w, unsigned n_max);
/* An endpoint fails its requests (called by outcome.c). */
void worker_tell_failing(struct worker *w, struct slot *slot);
/* Pins for those who hold on to a snapshot across turns. */
void worker_pin(struct worker *w, struct snapshot *snap);
void worker_unpin(struct worker *w, struct snapshot *snap);
/* A client is gone (called by client.c). */
void worker_client_left(struct worker *w);
/* Writes a new request id (36 characters and NUL). */
struct str worker_request_id(struct worker *w, char dst[static 37]);
/* Date of now as in RFC 9110 5.6.7, made once a second. The text stays where it
 * is and keeps its length: a later second is written over it. */
struct str worker_date(struct worker *w);

#endif
