/*
 * queue: a line of those who wait for a place that all workers share: requests
 * for a capped upstream, pools for a capped number of connections. First come,
 * first served, over all workers. The queue itself is behind one short lock,
 * which is taken only when somebody waits; a ticket belongs to the worker that
 * entered it.
 * The queue hands out turns, not places: whoever's turn it is tries to take a
 * place (an atomic count), leaves on success, and stays otherwise.
 * Invariants: while the queue is not empty, whoever has not entered it takes
 * no place, so nobody overtakes; a place that came free while somebody waited
 * has given somebody a turn.
 */
#ifndef DAEMUN_UPSTREAM_QUEUE_H
#define DAEMUN_UPSTREAM_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct queue;
struct queue_ticket;

/* It is `owner`'s turn: try, then queue_leave or queue_stay. On the loop's
 * thread, from its mailbox. */
typedef void queue_turn_fn(void *owner);

struct queue *queue_new(void);
/* Nobody may wait any more. Takes NULL. */
void queue_free(struct queue *q);
/* How many wait now. Any thread. */
uint32_t queue_length(const struct queue *q);
/*
 * Enters at the end, on the loop's thread. NULL when `n_max` wait already.
 * *is_turn: the caller may try at once, and must then say how it went. `kind`
 * tells those apart who try for different places.
 */
struct queue_ticket *queue_enter(struct queue *q,
                                 struct loop *loop,
                                 uint32_t n_max,
                                 const void *kind,
                                 queue_turn_fn *on_turn,
                                 void *owner,
                                 bool *is_turn);
/* Out of the line, with a place or without; frees the ticket. A turn that was
 * not used is the next one's. */
void queue_leave(struct queue_ticket *t, bool has_place);
/* The try failed. True: waits on. False: a place came free in the meantime, try
 * again. */
bool queue_stay(struct queue_ticket *t);
/* A place came free: the first who waits gets a turn. Any thread; cheap when
 * nobody waits. The place must have been given back before. */
void queue_wake(struct queue *q);
/* As many turns as there are tickets: much may have changed. Any thread. */
void queue_wake_all(struct queue *q);

#endif
