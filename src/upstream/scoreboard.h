/*
 * scoreboard: what all workers must agree on about an endpoint or an upstream,
 * in one cache line of relaxed atomics each. Slots live outside the snapshots,
 * are found by a stable key, and survive reloads: the one thing that workers
 * share. Take and give on the control thread; counters on every thread.
 */
#ifndef DAEMUN_UPSTREAM_SCOREBOARD_H
#define DAEMUN_UPSTREAM_SCOREBOARD_H

#include "base/str.h"
#include "upstream/vitals.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct queue;

struct slot {
    /* Written per request. */
    _Alignas(64) atomic_uint in_flight; /* requests that run now */
    atomic_uint n_conns;                /* connections that are open now */
    atomic_uint n_retrying;             /* requests in a further attempt */
    atomic_uint_least64_t n_requests;
    atomic_uint_least64_t n_failures; /* faults that the upstream is to blame */
    atomic_uint_least64_t n_connects;
    atomic_uint_least64_t n_retries;
    atomic_uint n_failing; /* failures since the last success */
    atomic_uint failed_by; /* the last one: a fault, or see SLOT_FAILED_ */
    atomic_uint_least64_t n_queued;         /* requests that had to wait */
    atomic_uint_least64_t n_queue_failures; /* waited in vain, or not at all */
    /* Read per request, written seldom: by the control thread. */
    _Alignas(64) atomic_bool is_down; /* by probes or ejection; of an upstream:
                                         no endpoint is up */
    atomic_bool is_panic;             /* of an upstream: use those that are down
                                         too, for too few are up */
    atomic_uint held_back; /* of VITALS_SHARE, in slow start; 0: nothing */
    /* Of an upstream: requests that wait for a place on an endpoint. Of an
     * endpoint: pools that wait for a connection. */
    struct queue *queue;
    uint32_t index;      /* dense number: workers' pools use it */
    uint32_t n_refs;     /* control thread: snapshots that use it */
    char *key;           /* "endpoint|..." or "upstream|..." */
    char *upstream_name; /* labels for /metrics */
    char *endpoint_id;   /* NULL: slot of a whole upstream */
    /* Control thread only. */
    _Alignas(64) struct vitals vitals;
};

/* failed_by when it was not a fault: an HTTP status or a gRPC status. */
enum { SLOT_FAILED_HTTP = 1000, SLOT_FAILED_GRPC = 2000 };

struct scoreboard;

enum { SCOREBOARD_N_MAX = 1 << 20 };

struct scoreboard *scoreboard_new(void);
void scoreboard_free(struct scoreboard *sb);
/*
 * Finds or makes the slot of `key`; counts a reference. `endpoint_id` p NULL: a
 * whole upstream. NULL when there are SCOREBOARD_N_MAX slots. Control thread.
 */
struct slot *scoreboard_take(struct scoreboard *sb,
                             struct str key,
                             struct str upstream_name,
                             struct str endpoint_id);
/* Gives a reference back; the slot is freed with the last one (its index is
 * used again). The caller has made sure that no worker uses it any more. */
void scoreboard_give(struct scoreboard *sb, struct slot *slot);
size_t scoreboard_count(const struct scoreboard *sb);
/* Labelled metrics dm_endpoint_* and dm_upstream_*, Prometheus text. Control
 * thread. */
void scoreboard_print(struct scoreboard *sb, struct buf *out);

/* Adds 1 to a count of places, but never above `max` (0: no limit). Exact over
 * all threads. */
static inline bool slot_take_place(atomic_uint *n, uint32_t max)
{
    unsigned now = atomic_load_explicit(n, memory_order_relaxed);
    do {
        if (max != 0 && now >= max) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(
        n, &now, now + 1, memory_order_seq_cst, memory_order_relaxed));
    return true;
}

/* Gives a place back. Whoever does looks at the queue afterwards; the order of
 * the two is what keeps a waiting one from being forgotten. */
static inline void slot_give_place(atomic_uint *n)
{
    atomic_fetch_sub_explicit(n, 1, memory_order_seq_cst);
}

/* A request begins that no cap stops. */
static inline void slot_begin(struct slot *s)
{
    atomic_fetch_add_explicit(&s->in_flight, 1, memory_order_seq_cst);
    atomic_fetch_add_explicit(&s->n_requests, 1, memory_order_relaxed);
}

static inline void slot_end(struct slot *s)
{
    slot_give_place(&s->in_flight);
}

static inline void slot_count(atomic_uint_least64_t *n)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* A request failed by the endpoint's fault. True when it is time to look at
 * the endpoint: after each n_max failures in a row. */
static inline bool slot_fail(struct slot *s, unsigned by, unsigned n_max)
{
    atomic_store_explicit(&s->failed_by, by, memory_order_relaxed);
    const unsigned n =
        atomic_fetch_add_explicit(&s->n_failing, 1, memory_order_relaxed) + 1;
    return n % n_max == 0;
}

/* A request was answered well. Writes only if there is something to write. */
static inline void slot_succeed(struct slot *s)
{
    if (atomic_load_explicit(&s->n_failing, memory_order_relaxed) != 0) {
        atomic_store_explicit(&s->n_failing, 0, memory_order_relaxed);
    }
}

static inline bool slot_is_down(const struct slot *s)
{
    return atomic_load_explicit(&s->is_down, memory_order_relaxed);
}

static inline bool slot_is_panic(const struct slot *s)
{
    return atomic_load_explicit(&s->is_panic, memory_order_relaxed);
}

static inline unsigned slot_held_back(const struct slot *s)
{
    return atomic_load_explicit(&s->held_back, memory_order_relaxed);
}

static inline unsigned slot_in_flight(const struct slot *s)
{
    return atomic_load_explicit(&s->in_flight, memory_order_relaxed);
}

#endif
