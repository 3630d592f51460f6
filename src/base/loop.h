/*
 * loop: one thread's event base, clock, timers, mailbox and end-of-turn queue.
 * A turn is: wait for events, handle all that are ready, read the mailbox, run
 * due timers, then run the end-of-turn queue until it is empty. Everything a
 * loop owns is touched on its thread alone; loop_post and loop_stop are the
 * only calls that other threads may make.
 * Events on `base` have no timeout of their own: use loop_arm.
 */
#ifndef DAEMUN_BASE_LOOP_H
#define DAEMUN_BASE_LOOP_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { LOOP_SCRATCH_BYTES = 64 * 1024 };

struct loop;
struct mailbox;
struct log_ring;
struct metric_set;

/* Something to do at the end of the turn; embedded in its owner. */
struct deferred;
typedef void deferred_fn(struct deferred *d);
struct deferred {
    struct list node;
    deferred_fn *fn;
};

typedef void loop_fn(struct loop *loop, void *arg);

struct loop {
    struct event_base *base;
    int poll_fd;  /* the epoll of `base`, borrowed: readable means events */
    bool is_busy; /* the last turn had so many events that we need not wait */
    struct timer_wheel wheel;
    uint64_t now_ms;  /* monotonic, read once per turn, never 0 */
    uint64_t now_us;  /* the same clock in microseconds */
    uint64_t wall_us; /* Unix time in microseconds, read with now_us */
    struct list turn_end;
    struct mailbox *mailbox;
    struct log_ring *log;       /* borrowed; NULL: log to standard error */
    struct metric_set *metrics; /* borrowed; this loop is its one writer */
    struct buf_cache bufs;
    struct arena_cache arenas;
    uint8_t *scratch; /* LOOP_SCRATCH_BYTES for reading, used within a call */
    unsigned index;   /* 0-based among workers; control has its own */
    const char *name;
    atomic_bool is_stopping;
    void *owner; /* the worker or control that runs here */
    uint64_t random_state[2];
};

/* `name` must outlive the loop. Aborts when the system refuses an epoll. */
struct loop *loop_new(const char *name, unsigned index);
/* All conns must be gone. Takes NULL. Runs posted messages first. */
void loop_free(struct loop *loop);
/* Runs turns until loop_stop. Sets the thread's current loop. */
void loop_run(struct loop *loop);
/* Runs one turn, waiting for events at most `wait_ms` (tests). */
void loop_run_once(struct loop *loop, uint64_t wait_ms);
/* Any thread: ends loop_run after the current turn. */
void loop_stop(struct loop *loop);
/*
 * Any thread: `fn(loop, arg)` runs on the loop's thread, in the order posted
 * by one thread. Ownership of `arg` moves with the message.
 */
void loop_post(struct loop *loop, loop_fn *fn, void *arg);
/* Queues for the end of this turn, once: harmless when it is queued. */
void loop_defer(struct loop *loop, struct deferred *d);
void loop_defer_cancel(struct deferred *d);
static inline bool loop_is_deferred(const struct deferred *d)
{
    return list_is_linked(&d->node);
}
/* The clock now, not that of the turn's start (for measurements). */
uint64_t loop_clock_us(void);
/* Re-reads now_ms, now_us and wall_us. */
void loop_update_clock(struct loop *loop);
/* Arms a timer `after_ms` from the turn's clock. */
void loop_arm(struct loop *loop, struct timer *t, uint64_t after_ms);
void loop_disarm(struct loop *loop, struct timer *t);
/* xorshift-class random number, seeded from the kernel; not for secrets. */
uint64_t loop_random(struct loop *loop);
/* The loop that this thread runs, or NULL. For log and CHECK only. */
struct loop *loop_current(void);

#endif
