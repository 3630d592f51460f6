/*
 * pick: which endpoint gets the request, and the attempt on it. The hash key,
 * the sticky cookie, the policy, and what was tried already decide; the
 * scoreboard counts the attempt from here to exchange_attempt_end. When every
 * endpoint that could be chosen has as many requests as it may, the request
 * waits in the upstream's queue. Worker thread; part of the exchange.
 */
#include "base/mem.h"
#include "base/metric.h"
#include "proxy/exchange.h"
#include "upstream/queue.h"

#include <stdio.h>

static uint32_t pick_or(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

/* A value for a cookie that the client does not have: 128 random bits. */
static bool pick_mint(struct exchange *x)
{
    const struct str name = x->up->mint.name;
    if (name.p == NULL || head_cookie(x->h, name).p != NULL) {
        return true;
    }
    if (x->minted_cookie.p == NULL) {
        struct loop *l = x->w->loop;
        x->minted_cookie = arena_print(&x->arena, "%016llx%016llx",
                                       (unsigned long long)loop_random(l),
                                       (unsigned long long)loop_random(l));
    }
    return x->minted_cookie.p != NULL;
}

static bool pick_hash(struct exchange *x)
{
    struct upstream *up = x->up;
    const struct conn *c = x->client->conn;
    if (!pick_mint(x)) {
        return false;
    }
    const struct hash_input in = {
        .source = &c->peer,
        .destination = &c->local,
        .head = x->h,
        .sni = conn_is_tls(c) ? conn_sni(c) : STR_NONE,
        .minted_name = x->minted_cookie.p != NULL ? up->mint.name : STR_NONE,
        .minted_value = x->minted_cookie,
    };
    x->pick.has_hash = hash_key_compute(&up->key, &in, &x->pick.hash);
    return true;
}

/* The endpoint of the client's sticky cookie, if it may be used. */
static int pick_sticky(struct exchange *x)
{
    struct upstream *up = x->up;
    if (up->sticky.name.p == NULL) {
        return BALANCE_NONE;
    }
    const struct str value = head_cookie(x->h, up->sticky.name);
    const int i =
        value.p != NULL ? upstream_sticky_find(up, value) : BALANCE_NONE;
    if (i >= 0 && balance_may_stay(up->balance_endpoints, i, &x->pick)) {
        x->pick.why = "sticky_cookie";
        return i;
    }
    x->want_sticky = true;
    return BALANCE_NONE;
}

/* The first time only: the upstream, its key and its limits. */
static bool pick_prepare(struct exchange *x)
{
    const struct route *r = x->route;
    struct upstream *up = route_upstream(r, loop_random(x->w->loop));
    x->up = up;
    x->idle_timeout_ms = pick_or(r->idle_timeout_ms, up->idle_timeout_ms);
    x->n_retries_max =
        r->n_retries_max >= 0 ? (uint32_t)r->n_retries_max : up->n_retries_max;
    x->is_replayable = x->n_retries_max > 0;
    x->pick.upstream = up->slot;
    x->pick.cursor = &up->cursors[x->w->index];
    return pick_hash(x);
}

static int pick_choose(struct exchange *x)
{
    x->pick.random = loop_random(x->w->loop);
    int i = pick_sticky(x);
    if (i == BALANCE_NONE) {
        i = balance_pick(x->up->balance, &x->pick);
    }
    if (i == BALANCE_NONE && x->pick.n_tried > 0) {
        /* The others take nothing now: rather one that was tried. */
        x->pick.n_tried = 0;
        i = balance_pick(x->up->balance, &x->pick);
    }
    return i;
}

/* The upstream counts a request once, its endpoints each attempt. */
static void pick_attempt_begin(struct exchange *x, int i)
{
    struct slot *whole = x->up->slot;
    x->why = x->pick.why;
    x->ep = &x->up->endpoints[i];
    x->picked_us = x->w->loop->now_us;
    if (x->pick.n_tried < BALANCE_TRIED_MAX) {
        x->pick.tried[x->pick.n_tried++] = i;
    }
    slot_count(&x->ep->slot->n_requests);
    if (x->n_attempts == 0) {
        slot_begin(whole);
    } else {
        slot_take_place(&whole->in_flight, 0); /* not a new request */
        slot_count(&x->ep->slot->n_retries);
    }
    x->is_attempt_open = true;
    x->n_attempts++;
}

/* Takes a place on an endpoint; false: none was free. */
static bool pick_take(struct exchange *x)
{
    int i;
    while ((i = pick_choose(x)) != BALANCE_NONE) {
        const struct balance_endpoint *ep = &x->up->balance_endpoints[i];
        if (slot_take_place(&ep->slot->in_flight, ep->max_requests)) {
            pick_attempt_begin(x, i);
            return true;
        }
        /* Another worker had the last place: it is full now, look again. */
    }
    return false;
}

static void pick_leave_queue(struct exchange *x, bool has_place)
{
    if (x->ticket != NULL) {
        queue_leave(x->ticket, has_place);
        x->ticket = NULL;
        x->queue_ms = 0;
    }
}

static void pick_on_turn(void *owner)
{
    struct exchange *x = owner;
    x->is_turn = true;
    exchange_run(x, STEP_PICK);
}

static bool pick_refuse(struct exchange *x, enum fault f)
{
    if (f == FAULT_QUEUE_FULL) {
        slot_count(&x->up->slot->n_queue_failures);
    }
    exchange_fail(x, f, STR_NONE);
    return false;
}

/* At the end of the line; false: the line is full. */
static bool pick_enter_queue(struct exchange *x)
{
    const struct upstream *up = x->up;
    x->ticket = queue_enter(up->slot->queue, x->w->loop, up->n_queue_max, up,
                            pick_on_turn, x, &x->is_turn);
    if (x->ticket == NULL) {
        return false;
    }
    slot_count(&up->slot->n_queued);
    x->queue_ms = x->w->loop->now_ms + up->queue_timeout_ms;
    return true;
}

/* Nobody overtakes those who wait; whose turn it is tries. */
static bool pick_try(struct exchange *x)
{
    const struct queue *q = x->up->slot->queue;
    if (x->ticket == NULL) {
        return queue_length(q) == 0 && pick_take(x);
    }
    while (x->is_turn) {
        if (pick_take(x)) {
            return true;
        }
        x->is_turn = !queue_stay(x->ticket);
    }
    return false;
}

bool exchange_pick(struct exchange *x)
{
    if (x->up == NULL && !pick_prepare(x)) {
        return pick_refuse(x, FAULT_HEAD_TOO_LARGE);
    }
    if (pick_try(x)) {
        pick_leave_queue(x, true);
        return true;
    }
    if (x->ticket != NULL) {
        return false;
    }
    if (!balance_is_full(x->up->balance, &x->pick)) {
        return pick_refuse(x, FAULT_NO_ENDPOINT);
    }
    if (!pick_enter_queue(x)) {
        return pick_refuse(x, FAULT_QUEUE_FULL);
    }
    if (pick_try(x)) {
        pick_leave_queue(x, true);
        return true;
    }
    return false; /* until pick_on_turn, or queue_ms */
}

static void pick_on_ready(struct pool_request *r, struct codec *k)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, pool_request);
    x->connected_us = x->w->loop->now_us;
    x->queue_ms = 0;
    forward_begin(x, k);
}

static void
pick_on_failed(struct pool_request *r, enum fault f, const char *why)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, pool_request);
    exchange_fail(x, f, str_from(why));
}

bool exchange_connect(struct exchange *x)
{
    if (x->h->is_websocket && x->up->protocol != UPSTREAM_HTTP1 &&
        x->up->protocol != UPSTREAM_AUTO) {
        x->h->is_websocket = false; /* h2 upstreams take no upgrade */
    }
    x->pool_request = (struct pool_request){
        .on_ready = pick_on_ready,
        .on_failed = pick_on_failed,
        .want_fresh = x->h->is_websocket,
    };
    /* May call forward_begin at once: the step must be the next one by then. */
    x->step = STEP_FORWARD;
    /* Waiting for a connection to be free is waiting, too. */
    x->queue_ms = x->w->loop->now_ms + x->up->connect_timeout_ms +
                  x->up->queue_timeout_ms;
    if (!pool_acquire(&x->w->pools, x->ep, &x->pool_request)) {
        exchange_fail(x, FAULT_QUEUE_FULL, STR_NONE);
    }
    return false;
}

/* A place that is given back at the end of the turn. */
struct pick_release {
    struct deferred later;
    struct slot *ep;
    struct queue *queue;
};

static void pick_give_place(struct slot *ep, struct queue *q)
{
    slot_end(ep);
    queue_wake(q);
}

static void pick_on_release(struct deferred *d)
{
    struct pick_release *r = CONTAINER_OF(d, struct pick_release, later);
    pick_give_place(r->ep, r->queue);
    mem_free(r);
}

/*
 * A stream that is broken off is reset at the end of the turn: only then may
 * another worker send a request in its place. Both messages done: at once. The
 * snapshot that holds the slots stays pinned until after that (x->gone).
 */
static void pick_release(struct exchange *x, bool is_broken_off)
{
    struct slot *ep = x->ep->slot;
    if (!is_broken_off) {
        pick_give_place(ep, x->up->slot->queue);
        return;
    }
    struct pick_release *r = mem_new(sizeof(*r));
    r->later.fn = pick_on_release;
    r->ep = ep;
    r->queue = x->up->slot->queue;
    loop_defer(x->w->loop, &r->later);
}

void exchange_attempt_end(struct exchange *x, bool is_failure)
{
    pick_leave_queue(x, false);
    if (!x->is_attempt_open) {
        return;
    }
    x->is_attempt_open = false;
    x->queue_ms = 0;
    if (is_failure) {
        slot_count(&x->ep->slot->n_failures);
    }
    slot_end(x->up->slot);
    pool_cancel(&x->pool_request);
    const bool is_broken_off =
        x->us != NULL && !(x->upload.is_done && x->download.is_done);
    if (x->us != NULL) {
        struct stream *us = x->us;
        x->us = NULL;
        stream_follow(us, NULL);
        stream_close(us);
    }
    pick_release(x, is_broken_off);
    x->is_head_up_sent = false;
}
