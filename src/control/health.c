/*
 * health: see health.h. Each endpoint has a watch with three timers, none of
 * which is armed for nothing: the next probe, the end of an ejection, and the
 * next step of a slow start.
 * Invariant: slot->is_down says what its vitals say, and the upstream's slot
 * (is_panic, is_down, numbers) what its endpoints say, before any callback
 * returns. A watch points into the live snapshot, never into an older one.
 */
#include "control/health.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/probe.h"
#include "upstream/queue.h"

#include <stdio.h>

enum {
    HEALTH_RETRY_MS = 20, /* when too many probes run */
    HEALTH_SLOW_STEPS = 100,
    HEALTH_SLOW_STEP_MS_MAX = 1000
};

struct health_watch {
    struct health *health;
    const struct endpoint *ep;
    struct slot *slot;
    uint64_t generation; /* of health: the last health_watch that had it */
    struct probe *probe; /* NULL: none is running */
    uint64_t due_ms;     /* when the next probe shall start */
    struct timer probe_timer;
    struct timer return_timer;
    struct timer slow_timer;
};

struct health {
    struct loop *loop;
    struct health_watch **watches; /* by index of the slot */
    size_t n_watches;
    uint64_t generation;
    struct list probes; /* also those whose connection is still closing */
    uint32_t n_probing;
};

/* "upstream NAME: endpoint ID" of a log line. */
#define HEALTH_NAMES(w) STR_ARG((w)->ep->upstream->name), STR_ARG((w)->ep->id)

/* ---- an upstream as a whole --------------------------------------------- */

static void health_log_panic(const struct upstream *up, bool is_panic)
{
    const struct vitals *v = &up->slot->vitals;
    if (is_panic) {
        log_text(LOG_WARN,
                 "upstream %.*s: %u of %u endpoints up, less than %u %%: all "
                 "are used as if up",
                 STR_ARG(up->name), v->n_up, v->n_endpoints,
                 up->healthy_min_percent);
    } else {
        log_text(LOG_INFO,
                 "upstream %.*s: %u of %u endpoints up: those that are down "
                 "are left out again",
                 STR_ARG(up->name), v->n_up, v->n_endpoints);
    }
}

/* Counts anew; decides whether it fails open. Requests that wait for a place
 * look again: there may be one now, or none that is worth waiting for. */
static void health_count(const struct upstream *up)
{
    struct vitals *v = &up->slot->vitals;
    v->n_endpoints = 0;
    v->n_up = 0;
    for (size_t i = 0; i < up->n_endpoints; i++) {
        if (up->balance_endpoints[i].weight > 0) {
            v->n_endpoints++;
            v->n_up += slot_is_down(up->endpoints[i].slot) ? 0 : 1;
        }
    }
    const bool is_panic =
        vitals_is_panic(v->n_endpoints, v->n_up, up->healthy_min_percent);
    const bool was_panic = slot_is_panic(up->slot);
    atomic_store_explicit(&up->slot->is_down,
                          v->n_endpoints > 0 && v->n_up == 0,
                          memory_order_relaxed);
    atomic_store_explicit(&up->slot->is_panic, is_panic, memory_order_relaxed);
    if (is_panic != was_panic) {
        health_log_panic(up, is_panic);
    }
    queue_wake_all(up->slot->queue);
}

static uint32_t health_n_ejected(const struct upstream *up)
{
    uint32_t n = 0;
    for (size_t i = 0; i < up->n_endpoints; i++) {
        n += up->endpoints[i].slot->vitals.is_ejected ? 1 : 0;
    }
    return n;
}

/* ---- slow start --------------------------------------------------------- */

static void health_slow_stop(struct health_watch *w)
{
    loop_disarm(w->health->loop, &w->slow_timer);
    w->slot->vitals.slow_ms = 0;
    atomic_store_explicit(&w->slot->held_back, 0, memory_order_relaxed);
}

/* Sets the share as it is now; arms the next step. */
static void health_slow_step(struct health_watch *w)
{
    struct loop *loop = w->health->loop;
    const uint32_t slow_ms = w->ep->upstream->slow_start_ms;
    const uint64_t past_ms = loop->now_ms - w->slot->vitals.slow_ms;
    const uint32_t held_back = vitals_held_back(past_ms, slow_ms);
    if (held_back == 0) {
        health_slow_stop(w);
        return;
    }
    uint64_t step_ms = slow_ms / HEALTH_SLOW_STEPS + 1;
    if (step_ms > HEALTH_SLOW_STEP_MS_MAX) {
        step_ms = HEALTH_SLOW_STEP_MS_MAX;
    }
    atomic_store_explicit(&w->slot->held_back, held_back, memory_order_relaxed);
    loop_arm(loop, &w->slow_timer, step_ms);
}

static void health_on_slow(struct timer *t)
{
    health_slow_step(CONTAINER_OF(t, struct health_watch, slow_timer));
}

static void health_slow_start(struct health_watch *w)
{
    if (w->ep->upstream->slow_start_ms > 0) {
        w->slot->vitals.slow_ms = w->health->loop->now_ms;
        health_slow_step(w);
    }
}

/* ---- one endpoint ------------------------------------------------------- */

/* Makes the slot say what the vitals say. True when that is news: the caller
 * logs why, and counts. */
static bool health_settle(struct health_watch *w)
{
    struct vitals *v = &w->slot->vitals;
    const bool is_down = v->is_probed_out || v->is_ejected;
    if (is_down == slot_is_down(w->slot)) {
        return false;
    }
    if (is_down) {
        health_slow_stop(w);
    } else {
        /* Before a worker can see that it is up. */
        health_slow_start(w);
        atomic_store_explicit(&w->slot->n_failing, 0, memory_order_relaxed);
    }
    v->changed_ms = w->health->loop->now_ms;
    atomic_store_explicit(&w->slot->is_down, is_down, memory_order_relaxed);
    return true;
}

/* For how long it was down, in seconds, for the log. */
static double health_down_s(const struct health_watch *w, uint64_t since_ms)
{
    return (double)(w->health->loop->now_ms - since_ms) / 1000;
}

/* The last failure in words. */
static const char *health_failed_by(unsigned by, char dst[static 64])
{
    if (by >= SLOT_FAILED_GRPC) {
        snprintf(dst, 64, "gRPC status %u", by - SLOT_FAILED_GRPC);
    } else if (by >= SLOT_FAILED_HTTP) {
        snprintf(dst, 64, "status %u", by - SLOT_FAILED_HTTP);
    } else {
        snprintf(dst, 64, "%.*s", STR_ARG(fault_row((enum fault)by)->word));
    }
    return dst;
}

static void health_return(struct health_watch *w, const char *why)
{
    struct vitals *v = &w->slot->vitals;
    const uint64_t since_ms = v->changed_ms;
    loop_disarm(w->health->loop, &w->return_timer);
    v->is_ejected = false;
    v->return_ms = w->health->loop->now_ms;
    if (health_settle(w)) {
        log_text(LOG_INFO,
                 "upstream %.*s: endpoint %.*s is back after %.1f s: %s",
                 HEALTH_NAMES(w), health_down_s(w, since_ms), why);
        health_count(w->ep->upstream);
    }
}

static void health_on_return(struct timer *t)
{
    health_return(CONTAINER_OF(t, struct health_watch, return_timer),
                  "its ejection is over");
}

static void health_eject(struct health_watch *w, unsigned n_failing)
{
    const struct ejection *e = &w->ep->upstream->ejection;
    char by[64];
    const uint32_t time_ms = vitals_eject(&w->slot->vitals, e->base_ms,
                                          e->max_ms, w->health->loop->now_ms);
    loop_arm(w->health->loop, &w->return_timer, time_ms);
    log_text(LOG_WARN,
             "upstream %.*s: endpoint %.*s is ejected for %.1f s: %u requests "
             "failed in a row, the last one: %s",
             HEALTH_NAMES(w), (double)time_ms / 1000, n_failing,
             health_failed_by(atomic_load_explicit(&w->slot->failed_by,
                                                   memory_order_relaxed),
                              by));
    health_settle(w);
    health_count(w->ep->upstream);
}

static struct health_watch *health_find(const struct health *h,
                                        const struct slot *slot)
{
    struct health_watch *w =
        slot->index < h->n_watches ? h->watches[slot->index] : NULL;
    return w != NULL && w->slot == slot ? w : NULL;
}

void health_failing(struct health *h, const struct slot *slot)
{
    struct health_watch *w = health_find(h, slot);
    if (w == NULL || slot_is_down(slot)) {
        return;
    }
    const struct upstream *up = w->ep->upstream;
    const struct ejection *e = &up->ejection;
    const unsigned n_failing =
        atomic_load_explicit(&w->slot->n_failing, memory_order_relaxed);
    if (e->n_failures == 0 || n_failing < e->n_failures) {
        return; /* it was answered well since */
    }
    if (vitals_may_eject((uint32_t)up->n_endpoints, health_n_ejected(up),
                         e->max_percent)) {
        health_eject(w, n_failing);
    } else if (!w->slot->vitals.is_spared) {
        w->slot->vitals.is_spared = true;
        log_text(LOG_WARN,
                 "upstream %.*s: endpoint %.*s fails %u requests in a row, but "
                 "is not ejected: that would be more than %u %%",
                 HEALTH_NAMES(w), n_failing, e->max_percent);
    }
}

/* ---- probes ------------------------------------------------------------- */

static void health_arm_probe(struct health_watch *w)
{
    struct loop *loop = w->health->loop;
    const uint64_t now_ms = loop->now_ms;
    loop_arm(loop, &w->probe_timer,
             w->due_ms > now_ms ? w->due_ms - now_ms : 0);
}

static void health_on_probed(void *owner, bool is_passed, const char *why)
{
    struct health_watch *w = owner;
    struct vitals *v = &w->slot->vitals;
    const struct check *check = &w->ep->upstream->check;
    const uint64_t since_ms = v->changed_ms;
    w->probe = NULL;
    w->health->n_probing--;
    health_arm_probe(w);
    if (!vitals_probe(v, is_passed, check->rise, check->fall)) {
        return;
    }
    const bool is_news = health_settle(w);
    if (!is_passed) {
        log_text(LOG_WARN,
                 "upstream %.*s: endpoint %.*s is down: %u probe%s failed: %s",
                 HEALTH_NAMES(w), v->n_failed, v->n_failed == 1 ? "" : "s",
                 why);
    } else if (is_news) {
        log_text(LOG_INFO,
                 "upstream %.*s: endpoint %.*s is back after %.1f s: %u "
                 "probe%s passed",
                 HEALTH_NAMES(w), health_down_s(w, since_ms), v->n_passed,
                 v->n_passed == 1 ? "" : "s");
    }
    health_count(w->ep->upstream);
}

static void health_on_probe(struct timer *t)
{
    struct health_watch *w = CONTAINER_OF(t, struct health_watch, probe_timer);
    struct health *h = w->health;
    if (h->n_probing >= HEALTH_N_PROBES_MAX) {
        loop_arm(h->loop, t, HEALTH_RETRY_MS);
        return;
    }
    w->due_ms =
        h->loop->now_ms +
        vitals_jitter(w->ep->upstream->check.interval_ms, loop_random(h->loop));
    h->n_probing++;
    w->probe = probe_start(h->loop, &h->probes, w->ep, health_on_probed, w);
}

static void health_stop_probing(struct health_watch *w)
{
    loop_disarm(w->health->loop, &w->probe_timer);
    if (w->probe != NULL) {
        probe_cancel(w->probe);
        w->probe = NULL;
        w->health->n_probing--;
    }
}

/* The first probe comes at a random time within one interval, so that not all
 * endpoints are probed at once; a schedule that is there is kept. */
static void health_schedule(struct health_watch *w)
{
    struct loop *loop = w->health->loop;
    const uint32_t interval_ms = w->ep->upstream->check.interval_ms;
    const bool is_late =
        timer_is_armed(&w->probe_timer) &&
        w->probe_timer.deadline_ms >
            loop->now_ms + vitals_jitter(interval_ms, UINT64_MAX);
    if (w->probe != NULL || (timer_is_armed(&w->probe_timer) && !is_late)) {
        return;
    }
    w->due_ms = loop->now_ms + loop_random(loop) % interval_ms;
    health_arm_probe(w);
}

/* ---- reload ------------------------------------------------------------- */

static struct health_watch *health_watch_new(struct health *h,
                                             struct slot *slot)
{
    struct health_watch *w = mem_new(sizeof(*w));
    w->health = h;
    w->slot = slot;
    timer_init(&w->probe_timer, health_on_probe);
    timer_init(&w->return_timer, health_on_return);
    timer_init(&w->slow_timer, health_on_slow);
    if (slot->index >= h->n_watches) {
        const size_t n = ((size_t)slot->index + 64) & ~(size_t)63;
        h->watches = mem_resize(h->watches, n * sizeof(struct health_watch *));
        memset(h->watches + h->n_watches, 0,
               (n - h->n_watches) * sizeof(struct health_watch *));
        h->n_watches = n;
    }
    CHECK(h->watches[slot->index] == NULL);
    h->watches[slot->index] = w;
    return w;
}

static void health_watch_free(struct health_watch *w)
{
    health_stop_probing(w);
    loop_disarm(w->health->loop, &w->return_timer);
    loop_disarm(w->health->loop, &w->slow_timer);
    mem_free(w);
}

/* What the settings say now may undo what was decided under others. */
static void health_adapt(struct health_watch *w)
{
    const struct upstream *up = w->ep->upstream;
    struct vitals *v = &w->slot->vitals;
    if (up->check.kind == CHECK_NONE) {
        health_stop_probing(w);
        vitals_forget_probes(v);
    } else {
        health_schedule(w);
    }
    if (up->ejection.n_failures == 0 && v->is_ejected) {
        health_return(w, "ejection is off");
    }
    if (up->slow_start_ms == 0 && v->slow_ms != 0) {
        health_slow_stop(w);
    }
    if (health_settle(w)) {
        log_text(LOG_INFO,
                 "upstream %.*s: endpoint %.*s is back: its health is not "
                 "checked any more",
                 HEALTH_NAMES(w));
    }
}

/* Its slot may have been used before, and be left over from an older snapshot
 * that is still in use: timers go on where they were. */
static void health_take_up(struct health_watch *w, bool is_added_later)
{
    struct loop *loop = w->health->loop;
    const struct vitals *v = &w->slot->vitals;
    if (v->is_ejected) {
        loop_arm(loop, &w->return_timer,
                 v->return_ms > loop->now_ms ? v->return_ms - loop->now_ms : 0);
    } else if (v->slow_ms != 0) {
        health_slow_step(w);
    } else if (is_added_later) {
        health_slow_start(w);
    }
}

static void health_watch_upstream(struct health *h, const struct upstream *up)
{
    const bool is_new = up->slot->vitals.n_endpoints == 0;
    for (size_t i = 0; i < up->n_endpoints; i++) {
        const struct endpoint *ep = &up->endpoints[i];
        struct health_watch *w = health_find(h, ep->slot);
        const bool is_added = w == NULL;
        if (is_added) {
            w = health_watch_new(h, ep->slot);
        }
        w->ep = ep;
        w->generation = h->generation;
        if (is_added) {
            health_take_up(w, !is_new);
        }
    }
}

/* Those that are not in the snapshot any more. */
static void health_drop_others(struct health *h)
{
    for (size_t i = 0; i < h->n_watches; i++) {
        if (h->watches[i] != NULL &&
            h->watches[i]->generation != h->generation) {
            health_watch_free(h->watches[i]);
            h->watches[i] = NULL;
        }
    }
}

void health_watch(struct health *h, const struct snapshot *snap)
{
    h->generation++;
    for (size_t i = 0; i < snap->n_upstreams; i++) {
        health_watch_upstream(h, snap->upstreams[i]);
    }
    health_drop_others(h);
    for (size_t i = 0; i < h->n_watches; i++) {
        if (h->watches[i] != NULL) {
            health_adapt(h->watches[i]);
        }
    }
    for (size_t i = 0; i < snap->n_upstreams; i++) {
        health_count(snap->upstreams[i]);
    }
}

struct health *health_new(struct loop *loop)
{
    struct health *h = mem_new(sizeof(*h));
    h->loop = loop;
    list_init(&h->probes);
    return h;
}

void health_free(struct health *h)
{
    if (h == NULL) {
        return;
    }
    for (size_t i = 0; i < h->n_watches; i++) {
        if (h->watches[i] != NULL) {
            health_watch_free(h->watches[i]);
        }
    }
    probe_close_all(&h->probes);
    loop_run_once(h->loop, 0); /* the connections die at the end of the turn */
    CHECK(list_is_empty(&h->probes));
    mem_free(h->watches);
    mem_free(h);
}
