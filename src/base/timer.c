/*
 * timer: a wheel of slots, one for each tick of TIMER_TICK_MS, owned by one
 * loop and touched on its thread. A slot holds the timers that the wheel looks
 * at in that tick; one whose deadline lies further ahead by then is put into a
 * later slot. So pushing a deadline back, which every byte of a connection
 * does to its idle timer, is one store.
 * Invariants: an armed timer is in a slot whose tick lies after the wheel's
 * and at most TIMER_N_SLOTS - 1 ahead of it, and not after the deadline's
 * tick. n_armed counts the timers with a deadline. The bitmap has a bit for
 * each slot that is not empty.
 */
#include "base/timer.h"

#include "base/check.h"

enum { TIMER_WORD_BITS = 64, TIMER_N_WORDS = TIMER_N_SLOTS / TIMER_WORD_BITS };

void timer_init(struct timer *t, timer_fn *fn)
{
    *t = (struct timer){.fn = fn};
}

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms)
{
    *w = (struct timer_wheel){.now_ms = now_ms};
    for (size_t i = 0; i < TIMER_N_SLOTS; i++) {
        list_init(&w->slots[i]);
    }
}

/* The tick of the wheel at which a timer with this deadline is looked at. */
static uint64_t timer_wheel_tick_for(const struct timer_wheel *w,
                                     uint64_t deadline_ms)
{
    const uint64_t now = w->now_ms / TIMER_TICK_MS;
    const uint64_t tick = deadline_ms / TIMER_TICK_MS +
                          (deadline_ms % TIMER_TICK_MS != 0 ? 1 : 0);
    if (tick <= now) {
        return now + 1;
    }
    return tick - now < TIMER_N_SLOTS ? tick : now + TIMER_N_SLOTS - 1;
}

static void
timer_wheel_put(struct timer_wheel *w, struct timer *t, uint64_t tick)
{
    const size_t slot = tick % TIMER_N_SLOTS;
    t->slot_ms = tick * TIMER_TICK_MS;
    list_push_back(&w->slots[slot], &t->node);
    w->bitmap[slot / TIMER_WORD_BITS] |= UINT64_C(1) << slot % TIMER_WORD_BITS;
}

/*
 * Takes a timer out of its slot. The bit of an empty slot is cleared, as else
 * timers that come and go would leave a trail for the search to walk along.
 */
static void timer_wheel_take(struct timer_wheel *w, struct timer *t)
{
    const size_t slot = t->slot_ms / TIMER_TICK_MS % TIMER_N_SLOTS;
    list_remove(&t->node);
    if (list_is_empty(&w->slots[slot])) {
        w->bitmap[slot / TIMER_WORD_BITS] &=
            ~(UINT64_C(1) << slot % TIMER_WORD_BITS);
    }
}

void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t deadline_ms)
{
    CHECK(t->fn != NULL);
    if (t->deadline_ms == 0) {
        w->n_armed++;
    }
    t->deadline_ms = deadline_ms == 0 ? 1 : deadline_ms;
    const uint64_t tick = timer_wheel_tick_for(w, t->deadline_ms);
    if (list_is_linked(&t->node)) {
        if (t->slot_ms / TIMER_TICK_MS <= tick) {
            return;
        }
        timer_wheel_take(w, t);
    }
    timer_wheel_put(w, t, tick);
}

void timer_disarm(struct timer_wheel *w, struct timer *t)
{
    if (t->deadline_ms == 0) {
        return;
    }
    CHECK(w->n_armed > 0);
    timer_wheel_take(w, t);
    w->n_armed--;
    t->deadline_ms = 0;
}

/*
 * The first tick after the wheel's own whose slot holds a timer; UINT64_MAX
 * when there is none. Walks the bitmap by words, from the slot after now once
 * around.
 */
static uint64_t timer_wheel_next_tick(const struct timer_wheel *w)
{
    const uint64_t from = w->now_ms / TIMER_TICK_MS + 1;
    uint64_t tick = from;
    if (w->n_armed == 0) {
        return UINT64_MAX;
    }
    while (tick < from + TIMER_N_SLOTS) {
        const size_t slot = tick % TIMER_N_SLOTS;
        const uint64_t bits =
            w->bitmap[slot / TIMER_WORD_BITS] >> slot % TIMER_WORD_BITS;
        if (bits == 0) {
            tick += TIMER_WORD_BITS - slot % TIMER_WORD_BITS;
            continue;
        }
        return tick + (uint64_t)__builtin_ctzll(bits);
    }
    return UINT64_MAX;
}

/* Empties one slot: fires what is due, puts the rest further ahead. */
static void
timer_wheel_run_slot(struct timer_wheel *w, size_t slot, uint64_t now_ms)
{
    struct list due;
    struct list *node;
    list_init(&due);
    while ((node = list_first(&w->slots[slot])) != NULL) {
        list_remove(node);
        list_push_back(&due, node);
    }
    w->bitmap[slot / TIMER_WORD_BITS] &=
        ~(UINT64_C(1) << slot % TIMER_WORD_BITS);
    while ((node = list_first(&due)) != NULL) {
        struct timer *t = CONTAINER_OF(node, struct timer, node);
        list_remove(node);
        if (t->deadline_ms > now_ms) {
            timer_wheel_put(w, t, timer_wheel_tick_for(w, t->deadline_ms));
            continue;
        }
        t->deadline_ms = 0;
        w->n_armed--;
        /* The callback may free the timer: nothing of it is used after. */
        t->fn(t);
    }
}

void timer_wheel_run(struct timer_wheel *w, uint64_t now_ms)
{
    const uint64_t now = now_ms / TIMER_TICK_MS;
    if (now_ms < w->now_ms) {
        return;
    }
    for (;;) {
        const uint64_t tick = timer_wheel_next_tick(w);
        if (tick > now) {
            break;
        }
        /*
         * Moving the wheel first puts what a callback arms into a later slot,
         * so that each slot is run once and the loop ends.
         */
        w->now_ms = tick * TIMER_TICK_MS;
        timer_wheel_run_slot(w, tick % TIMER_N_SLOTS, now_ms);
    }
    w->now_ms = now_ms;
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *w)
{
    const uint64_t tick = timer_wheel_next_tick(w);
    return tick == UINT64_MAX ? UINT64_MAX : tick * TIMER_TICK_MS;
}
