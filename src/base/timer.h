/*
 * timer: coarse timer wheel of one loop. Deadlines are in milliseconds of the
 * loop's monotonic clock; a timer fires at its deadline or up to TIMER_TICK_MS
 * later, never earlier. Re-arming to a later time is a store (the wheel looks
 * again when the old slot comes up); arming and disarming never allocate.
 * A timer is embedded in its owner, which must disarm it before it dies.
 */
#ifndef DAEMUN_BASE_TIMER_H
#define DAEMUN_BASE_TIMER_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

enum { TIMER_TICK_MS = 4, TIMER_N_SLOTS = 4096 };

struct timer;
typedef void timer_fn(struct timer *t);

struct timer {
    struct list node;     /* in a slot of the wheel */
    uint64_t deadline_ms; /* when to fire; 0: not armed */
    uint64_t slot_ms;     /* the tick at which the wheel looks at it */
    timer_fn *fn;
};

struct timer_wheel {
    struct list slots[TIMER_N_SLOTS];
    uint64_t bitmap[TIMER_N_SLOTS / 64]; /* slots that may hold a timer */
    uint64_t now_ms;                     /* up to here all has fired */
    uint64_t n_armed;
};

void timer_init(struct timer *t, timer_fn *fn);
static inline bool timer_is_armed(const struct timer *t)
{
    return t->deadline_ms != 0;
}
void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms);
/* Arms or re-arms for `deadline_ms` (absolute, clock of the wheel). */
void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t deadline_ms);
void timer_disarm(struct timer_wheel *w, struct timer *t);
/* Fires what is due. A callback may arm and disarm any timer. */
void timer_wheel_run(struct timer_wheel *w, uint64_t now_ms);
/* When to call timer_wheel_run next; UINT64_MAX when nothing is armed. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *w);

#endif
