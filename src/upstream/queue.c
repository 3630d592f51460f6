/*
 * queue: see queue.h. A ticket is WAITING in the list; its turn makes it
 * WOKEN (a message is on its way to its loop) and then TRYING, outside the
 * list. One who tries in vain goes back to where its number belongs. Turns that
 * found nobody waiting are kept as spare ones, for those who try at that moment
 * may have looked too early. Whoever entered an empty queue does not know how
 * many places came free just before: it succeeds, and the next one tries too.
 * Invariant: there is no spare turn while a ticket is WAITING.
 */
#include "upstream/queue.h"

#include "base/check.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"

#include <pthread.h>

enum queue_state { QUEUE_WAITING, QUEUE_WOKEN, QUEUE_TRYING, QUEUE_LEFT };

struct queue {
    pthread_mutex_t lock;
    struct list waiting; /* queue_ticket, by number */
    uint64_t n_entered;  /* numbers given out */
    uint32_t n_spare;    /* turns that nobody took yet */
    const void *kind;    /* of the ticket that entered last */
    uint32_t n_kind;     /* tickets of this kind */
    atomic_uint n;       /* all tickets, those with a turn too */
};

struct queue_ticket {
    struct list node;
    struct queue *queue;
    struct loop *loop;
    uint64_t number;
    const void *kind;
    queue_turn_fn *on_turn;
    void *owner;
    enum queue_state state;
    bool is_unsure; /* there may be more places than turns were given */
};

struct queue *queue_new(void)
{
    struct queue *q = mem_new(sizeof(*q));
    CHECK(pthread_mutex_init(&q->lock, NULL) == 0);
    list_init(&q->waiting);
    return q;
}

void queue_free(struct queue *q)
{
    if (q == NULL) {
        return;
    }
    CHECK(queue_length(q) == 0);
    pthread_mutex_destroy(&q->lock);
    mem_free(q);
}

uint32_t queue_length(const struct queue *q)
{
    return atomic_load_explicit(&q->n, memory_order_seq_cst);
}

static void queue_on_turn(struct loop *loop, void *arg)
{
    struct queue_ticket *t = arg;
    (void)loop;
    if (t->state == QUEUE_LEFT) {
        mem_free(t);
        return;
    }
    /* Only this thread looks at the state of a ticket that is not WAITING. */
    CHECK(t->state == QUEUE_WOKEN);
    t->state = QUEUE_TRYING;
    t->on_turn(t->owner);
}

/* Locked. */
static void queue_give_turn(struct queue_ticket *t, bool is_unsure)
{
    list_remove(&t->node);
    t->state = QUEUE_WOKEN;
    t->is_unsure = is_unsure;
    loop_post(t->loop, queue_on_turn, t);
}

/* Locked. The first who waits gets a turn, or it is kept. */
static void queue_wake_first(struct queue *q, bool is_unsure)
{
    struct list *first = list_first(&q->waiting);
    if (first != NULL) {
        queue_give_turn(CONTAINER_OF(first, struct queue_ticket, node),
                        is_unsure);
    } else if (q->n_spare < queue_length(q)) {
        q->n_spare++;
    }
}

/* Locked. Back to where its number belongs: not far from the front. */
static void queue_put_back(struct queue *q, struct queue_ticket *t)
{
    struct list *at = list_first(&q->waiting);
    while (at != NULL && at != &q->waiting &&
           CONTAINER_OF(at, struct queue_ticket, node)->number < t->number) {
        at = at->next;
    }
    t->state = QUEUE_WAITING;
    if (at == NULL) {
        list_push_back(&q->waiting, &t->node);
    } else {
        list_push_back(at, &t->node); /* in front of it */
    }
}

/* Locked. Is it the first one that tries for these places? After a change of
 * the configuration there may be some for which nobody waits. */
static bool queue_is_first(struct queue *q, const void *kind)
{
    const bool is_first = kind != q->kind || q->n_kind == 0;
    q->n_kind = kind == q->kind ? q->n_kind + 1 : 1;
    q->kind = kind;
    return is_first;
}

/* Locked. The turn goes to the first behind who tries for other places. */
static void queue_pass_on(struct queue *q, const struct queue_ticket *from)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &q->waiting) {
        struct queue_ticket *t = CONTAINER_OF(it, struct queue_ticket, node);
        if (t->number > from->number && t->kind != from->kind) {
            queue_give_turn(t, from->is_unsure);
            return;
        }
    }
}

struct queue_ticket *queue_enter(struct queue *q,
                                 struct loop *loop,
                                 uint32_t n_max,
                                 const void *kind,
                                 queue_turn_fn *on_turn,
                                 void *owner,
                                 bool *is_turn)
{
    struct queue_ticket *t = NULL;
    *is_turn = false;
    pthread_mutex_lock(&q->lock);
    const uint32_t n = queue_length(q);
    if (n < n_max) {
        t = mem_new(sizeof(*t));
        *t = (struct queue_ticket){.queue = q,
                                   .loop = loop,
                                   .number = q->n_entered++,
                                   .kind = kind,
                                   .on_turn = on_turn,
                                   .owner = owner};
        /* From here on, who gives a place back looks at the queue: the try
         * that follows cannot miss it. */
        atomic_fetch_add_explicit(&q->n, 1, memory_order_seq_cst);
        t->is_unsure = queue_is_first(q, kind);
        if (t->is_unsure || q->n_spare > 0) {
            q->n_spare -= t->is_unsure ? 0 : 1;
            t->state = QUEUE_TRYING;
            *is_turn = true;
        } else {
            list_push_back(&q->waiting, &t->node);
        }
    }
    pthread_mutex_unlock(&q->lock);
    return t;
}

void queue_leave(struct queue_ticket *t, bool has_place)
{
    struct queue *q = t->queue;
    pthread_mutex_lock(&q->lock);
    const enum queue_state state = t->state;
    const bool has_turn_left = state != QUEUE_WAITING && !has_place;
    list_remove(&t->node);
    q->n_kind -= t->kind == q->kind ? 1 : 0;
    t->state = QUEUE_LEFT;
    const unsigned n_before =
        atomic_fetch_sub_explicit(&q->n, 1, memory_order_seq_cst);
    CHECK(n_before > 0);
    if (n_before == 1) {
        q->n_spare = 0;
    } else if (has_turn_left || t->is_unsure) {
        queue_wake_first(q, t->is_unsure);
    }
    pthread_mutex_unlock(&q->lock);
    if (state != QUEUE_WOKEN) {
        mem_free(t); /* else the message frees it */
    }
}

bool queue_stay(struct queue_ticket *t)
{
    struct queue *q = t->queue;
    CHECK(t->state == QUEUE_TRYING);
    pthread_mutex_lock(&q->lock);
    const bool is_staying = q->n_spare == 0;
    if (is_staying) {
        queue_put_back(q, t);
        queue_pass_on(q, t);
        t->is_unsure = false;
    } else {
        q->n_spare--;
    }
    pthread_mutex_unlock(&q->lock);
    return is_staying;
}

void queue_wake(struct queue *q)
{
    if (queue_length(q) == 0) {
        return;
    }
    pthread_mutex_lock(&q->lock);
    queue_wake_first(q, false);
    pthread_mutex_unlock(&q->lock);
}

void queue_wake_all(struct queue *q)
{
    struct list *it;
    struct list *tmp;
    if (queue_length(q) == 0) {
        return;
    }
    pthread_mutex_lock(&q->lock);
    list_for_each (it, tmp, &q->waiting) {
        queue_give_turn(CONTAINER_OF(it, struct queue_ticket, node), false);
    }
    pthread_mutex_unlock(&q->lock);
}
