/*
 * pool_line: how a pool comes to a place for one more connection. The places of
 * an endpoint are counted over all workers; when none is free the pool stands
 * in the endpoint's queue, and asks the pools of other workers to give one up.
 * The insides of a pool stand here for pool.c and pool_line.c, for nobody else.
 * Worker thread. Invariant: a pool has a ticket only while it needs a place.
 */
#ifndef DAEMUN_UPSTREAM_POOL_LINE_H
#define DAEMUN_UPSTREAM_POOL_LINE_H

#include "upstream/pool.h"
#include "upstream/queue.h"

struct pool {
    struct pool_set *set;
    struct slot *slot;
    struct list idle;        /* pool_conn: HTTP/1.1, free; newest first */
    struct list multiplexed; /* pool_conn: HTTP/2 */
    struct list others;      /* pool_conn: connecting, or busy HTTP/1.1 */
    struct list waiting;     /* pool_request */
    struct list fresh;       /* pool_request: waits for a place of its own */
    uint32_t n_idle;
    uint32_t n_waiting;
    uint32_t n_connecting; /* those for the waiting list, not fresh ones */
    uint32_t n_conns;
    uint32_t n_keep_alive_max;
    uint32_t n_fresh;
    bool is_shared; /* HTTP/2, or may be: one connection serves many */
    bool is_turn;   /* the ticket's: a place may be free */
    struct queue_ticket *ticket; /* in the slot's queue; NULL: in none */
    struct deferred serve; /* hands connections out at the end of the turn */
};

struct pool_conn {
    struct list node;     /* in one of the lists of its pool */
    struct list set_node; /* in set->conns */
    struct pool *pool;    /* NULL: retired */
    struct pool_set *set;
    struct conn *conn;
    struct codec *codec;        /* NULL while connecting */
    struct pool_request *fresh; /* the one request it was made for */
    struct timer idle_timer;
    struct deferred gone; /* after the descriptor is closed */
    enum upstream_protocol protocol;
    const struct codec_limits *limits;
    uint32_t keep_alive_idle_ms;
    bool is_fresh; /* never shared */
    bool is_idle;  /* in pool->idle */
};

/*
 * One more connection: takes a place among those of all workers, or stands in
 * line for one. True: the place is taken, n_conns of the slot counts it. False:
 * `on_turn` is called with the pool, on this worker, when it is the pool's
 * turn.
 */
bool pool_line_take(struct pool *p, uint32_t n_max, queue_turn_fn *on_turn);
/* Is there a place without waiting in line for it? */
bool pool_line_is_open(const struct pool *p, uint32_t n_max);
/* Out of the line, with a place or without; harmless when not in it. */
void pool_line_leave(struct pool *p, bool has_place);
/* Does somebody else wait for one of the places that we hold? */
bool pool_line_is_wanted(const struct pool *p);

#endif
