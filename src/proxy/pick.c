/*
 * pick: which endpoint gets the request, and the attempt on it. The hash key,
 * the sticky cookie, the policy, and what was tried already decide; the
 * scoreboard counts the attempt from here to exchange_attempt_end. Worker
 * thread; part of the exchange.
 */
#include "base/metric.h"
#include "proxy/exchange.h"

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

bool exchange_pick(struct exchange *x)
{
    if (x->up == NULL && !pick_prepare(x)) {
        exchange_fail(x, FAULT_HEAD_TOO_LARGE, STR_NONE);
        return false;
    }
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
    if (i == BALANCE_NONE) {
        exchange_fail(x, FAULT_NO_ENDPOINT, STR_NONE);
        return false;
    }
    x->why = x->pick.why;
    x->ep = &x->up->endpoints[i];
    x->picked_us = x->w->loop->now_us;
    if (x->pick.n_tried < BALANCE_TRIED_MAX) {
        x->pick.tried[x->pick.n_tried++] = i;
    }
    return true;
}

static void pick_on_ready(struct pool_request *r, struct codec *k)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, pool_request);
    x->connected_us = x->w->loop->now_us;
    forward_begin(x, k);
}

static void
pick_on_failed(struct pool_request *r, enum fault f, const char *why)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, pool_request);
    exchange_fail(x, f, str_from(why));
}

/* The upstream counts a request once, its endpoints each attempt. */
static void pick_attempt_begin(struct exchange *x)
{
    slot_begin(x->ep->slot);
    if (x->n_attempts == 0) {
        slot_begin(x->up->slot);
    } else {
        slot_begin_again(x->up->slot);
        atomic_fetch_add_explicit(&x->ep->slot->n_retries, 1,
                                  memory_order_relaxed);
    }
    x->is_attempt_open = true;
    x->n_attempts++;
}

bool exchange_connect(struct exchange *x)
{
    if (x->h->is_websocket && x->up->protocol != UPSTREAM_HTTP1 &&
        x->up->protocol != UPSTREAM_AUTO) {
        x->h->is_websocket = false; /* h2 upstreams take no upgrade */
    }
    pick_attempt_begin(x);
    x->pool_request = (struct pool_request){
        .on_ready = pick_on_ready,
        .on_failed = pick_on_failed,
        .want_fresh = x->h->is_websocket,
    };
    /* May call forward_begin at once: the step must be the next one by then. */
    x->step = STEP_FORWARD;
    if (!pool_acquire(&x->w->pools, x->ep, &x->pool_request)) {
        exchange_fail(x, FAULT_QUEUE_FULL, STR_NONE);
    }
    return false;
}

void exchange_attempt_end(struct exchange *x, bool is_failure)
{
    if (!x->is_attempt_open) {
        return;
    }
    x->is_attempt_open = false;
    if (is_failure) {
        atomic_fetch_add_explicit(&x->ep->slot->n_failures, 1,
                                  memory_order_relaxed);
    }
    slot_end(x->ep->slot);
    slot_end(x->up->slot);
    pool_cancel(&x->pool_request);
    if (x->us != NULL) {
        struct stream *us = x->us;
        x->us = NULL;
        stream_close(us);
    }
    x->is_head_up_sent = false;
}
