/*
 * pool_line: see pool_line.h. What comes from other workers comes by message
 * and names the pool by its index: it may be gone by then.
 */
#include "upstream/pool_line.h"

#include "base/mem.h"

bool pool_line_is_wanted(const struct pool *p)
{
    return p->n_fresh > 0 ||
           queue_length(p->slot->queue) > (p->ticket != NULL ? 1u : 0u);
}

/* Asks for the connection that has waited longest, or for one that is shared:
 * it takes no new streams then, and closes when the last one has ended. */
static void pool_line_give_up_one(struct pool *p)
{
    struct list *it;
    for (it = p->idle.prev; it != &p->idle; it = it->prev) {
        struct codec *k = CONTAINER_OF(it, struct pool_conn, node)->codec;
        if (codec_capacity(k) > 0) {
            codec_drain(k);
            return;
        }
    }
    for (it = p->multiplexed.next; it != &p->multiplexed; it = it->next) {
        struct codec *k = CONTAINER_OF(it, struct pool_conn, node)->codec;
        if (!k->is_draining) {
            codec_drain(k);
            return;
        }
    }
}

struct pool_line_ask {
    struct pool_set *set;
    uint32_t index;
};

/* Another worker's pool waits for a place. */
static void pool_line_on_asked(struct loop *loop, void *arg)
{
    struct pool_line_ask *ask = arg;
    struct pool_set *set = ask->set;
    struct pool *p = ask->index < set->n_pools ? set->pools[ask->index] : NULL;
    (void)loop;
    if (p != NULL && pool_line_is_wanted(p)) {
        pool_line_give_up_one(p);
    }
    mem_free(ask);
}

static void pool_line_ask_peers(struct pool *p)
{
    const struct pool_peers *peers = p->set->peers;
    for (size_t i = 0; peers != NULL && i < peers->n; i++) {
        if (peers->sets[i] == p->set) {
            continue;
        }
        struct pool_line_ask *ask = mem_new(sizeof(*ask));
        ask->set = peers->sets[i];
        ask->index = p->slot->index;
        loop_post(ask->set->loop, pool_line_on_asked, ask);
    }
}

void pool_line_leave(struct pool *p, bool has_place)
{
    if (p->ticket != NULL) {
        queue_leave(p->ticket, has_place);
        p->ticket = NULL;
        p->is_turn = false;
    }
}

bool pool_line_is_open(const struct pool *p, uint32_t n_max)
{
    const struct slot *s = p->slot;
    return p->ticket == NULL && queue_length(s->queue) == 0 &&
           atomic_load_explicit(&s->n_conns, memory_order_relaxed) < n_max;
}

bool pool_line_take(struct pool *p, uint32_t n_max, queue_turn_fn *on_turn)
{
    struct slot *s = p->slot;
    if (p->ticket == NULL) {
        if (queue_length(s->queue) == 0 &&
            slot_take_place(&s->n_conns, n_max)) {
            return true;
        }
        p->ticket = queue_enter(s->queue, p->set->loop, UINT32_MAX, NULL,
                                on_turn, p, &p->is_turn);
        pool_line_ask_peers(p);
        if (p->n_fresh > 0) {
            pool_line_give_up_one(
                p); /* our own idle ones are of no use to it */
        }
    }
    while (p->is_turn) {
        if (slot_take_place(&s->n_conns, n_max)) {
            pool_line_leave(p, true);
            return true;
        }
        p->is_turn = !queue_stay(p->ticket);
    }
    return false;
}
