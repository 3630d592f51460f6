/*
 * pool: see pool.h. A pool_conn lives from conn_connect to the codec's
 * on_closed; before the connection is ready the pool sits on the conn itself,
 * afterwards the codec does and tells the pool. When a pool is retired its
 * connections go on without it (pc->pool is NULL) until their streams end;
 * the set's list still has them.
 */
#include "upstream/pool.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "upstream/pool_line.h"

#include <errno.h>

static void pool_conn_detach(struct pool_conn *pc)
{
    struct pool *p = pc->pool;
    list_remove(&pc->node);
    if (p == NULL) {
        return;
    }
    if (pc->is_idle) {
        p->n_idle--;
        pc->is_idle = false;
    }
    p->n_conns--;
    slot_give_place(&p->slot->n_conns);
    queue_wake(p->slot->queue);
    pc->pool = NULL;
}

static void pool_serve_later(struct pool *p);

/* The descriptor is closed: now the place may be another's. */
static void pool_conn_on_gone(struct deferred *d)
{
    struct pool_conn *pc = CONTAINER_OF(d, struct pool_conn, gone);
    struct pool *p = pc->pool;
    pool_conn_detach(pc);
    list_remove(&pc->set_node);
    pc->set->n_conns--;
    metric_sub(pc->set->loop->metrics, METRIC_UPSTREAM_CONNS, 1);
    pool_serve_later(p);
    mem_free(pc);
}

/* The conn is about to die: it can serve nobody any more. */
static void pool_conn_end(struct pool_conn *pc)
{
    struct pool *p = pc->pool;
    loop_disarm(pc->set->loop, &pc->idle_timer);
    pc->conn = NULL;
    pc->codec = NULL;
    pc->fresh = NULL;
    if (p != NULL) {
        list_remove(&pc->node);
        list_push_back(&p->others, &pc->node);
        p->n_idle -= pc->is_idle ? 1 : 0;
        pc->is_idle = false;
    }
    loop_defer(pc->set->loop, &pc->gone);
}

/* Leaves the waiting list. */
static void pool_request_unlink(struct pool_request *r)
{
    if (list_is_linked(&r->node)) {
        list_remove(&r->node);
        if (r->want_fresh) {
            r->pool->n_fresh--;
        } else {
            r->pool->n_waiting--;
        }
    }
    r->pool = NULL;
    if (r->own != NULL) {
        r->own->fresh = NULL;
        r->own = NULL;
    }
}

static void pool_give(struct pool_request *r, struct codec *k)
{
    pool_request_unlink(r);
    r->on_ready(r, k);
}

static void pool_fail(struct pool_request *r, enum fault f, const char *why)
{
    pool_request_unlink(r);
    r->on_failed(r, f, why);
}

/* Takes the newest idle HTTP/1.1 connection that is still good. */
static struct codec *pool_take_idle(struct pool *p)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &p->idle) {
        struct pool_conn *pc = CONTAINER_OF(it, struct pool_conn, node);
        if (codec_capacity(pc->codec) == 0) {
            continue; /* it is closing; on_closed will take it out */
        }
        list_remove(&pc->node);
        list_push_back(&p->others, &pc->node);
        pc->is_idle = false;
        p->n_idle--;
        loop_disarm(p->set->loop, &pc->idle_timer);
        return pc->codec;
    }
    return NULL;
}

static struct codec *pool_take_multiplexed(struct pool *p)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &p->multiplexed) {
        struct pool_conn *pc = CONTAINER_OF(it, struct pool_conn, node);
        if (codec_capacity(pc->codec) > 0) {
            loop_disarm(p->set->loop, &pc->idle_timer);
            return pc->codec;
        }
    }
    return NULL;
}

/* Gives the waiting what is there. */
static void pool_hand_out(struct pool *p)
{
    struct list *first;
    while ((first = list_first(&p->waiting)) != NULL) {
        struct codec *k = pool_take_multiplexed(p);
        if (k == NULL) {
            k = pool_take_idle(p);
        }
        if (k == NULL) {
            return;
        }
        pool_give(CONTAINER_OF(first, struct pool_request, node), k);
    }
}

static void pool_conn_on_idle_timer(struct timer *t)
{
    struct pool_conn *pc = CONTAINER_OF(t, struct pool_conn, idle_timer);
    if (pc->codec->n_streams == 0) {
        codec_drain(pc->codec);
    }
}

/* Something came free: the waiting are served at the end of the turn. */
static void pool_serve_later(struct pool *p)
{
    if (p != NULL && p->n_waiting + p->n_fresh > 0) {
        loop_defer(p->set->loop, &p->serve);
    }
}

/* May a connection without streams wait for others? */
static bool pool_conn_is_kept(const struct pool_conn *pc)
{
    const struct pool *p = pc->pool;
    return p != NULL && !pc->is_fresh &&
           (p->n_waiting > 0 ||
            (!pc->set->is_draining && !pool_line_is_wanted(p)));
}

/* An HTTP/1.1 connection is free, or an HTTP/2 one has room. */
static void pool_conn_on_capacity(struct codec *k)
{
    struct pool_conn *pc = k->owner;
    struct pool *p = pc->pool;
    if (k->n_streams == 0) {
        if (!pool_conn_is_kept(pc)) {
            codec_drain(k);
            return;
        }
        loop_arm(k->loop, &pc->idle_timer, pc->keep_alive_idle_ms);
    }
    if (p == NULL) {
        return;
    }
    if (k->kind == CODEC_H1 && k->n_streams == 0 && !pc->is_idle &&
        codec_capacity(k) > 0) {
        if (p->n_waiting == 0 && p->n_idle >= p->n_keep_alive_max) {
            codec_drain(k);
            return;
        }
        list_remove(&pc->node);
        list_push_front(&p->idle, &pc->node);
        pc->is_idle = true;
        p->n_idle++;
    }
    pool_serve_later(p);
}

/*
 * How many of the waiting lose with a connection that failed: none that has
 * another one on its way; with HTTP/1.1 one, with HTTP/2 all, for they had
 * waited for it together.
 */
static uint32_t pool_n_lost(const struct pool *p)
{
    if (p->is_shared) {
        return p->n_connecting == 0 ? p->n_waiting : 0;
    }
    return p->n_waiting > p->n_connecting ? 1 : 0;
}

/* A retry may come back to this pool at once: it is not failed again, for it
 * stands behind those that are counted here. */
static void pool_fail_waiting(struct pool *p, enum fault f, const char *why)
{
    struct list *first;
    pool_hand_out(p);
    uint32_t n = pool_n_lost(p);
    while (n-- > 0 && (first = list_first(&p->waiting)) != NULL) {
        pool_fail(CONTAINER_OF(first, struct pool_request, node), f, why);
    }
}

/*
 * An HTTP/2 connection that ends before SETTINGS came was never one: those who
 * waited for it are told, as when connecting fails. Else each of them would
 * try, and wait for, such a connection after the other.
 */
static void pool_conn_on_codec_closed(struct codec *k, enum conn_end end)
{
    (void)end;
    struct pool_conn *pc = k->owner;
    struct pool *p = pc->pool;
    const bool is_settled = k->is_settled;
    pool_conn_end(pc);
    if (p != NULL && !is_settled && list_is_empty(&p->multiplexed)) {
        pool_fail_waiting(p, FAULT_CONNECT_FAILED,
                          "the connection ended before SETTINGS came");
    }
}

static void pool_conn_on_stream(struct codec *k, struct stream *s)
{
    (void)s;
    CHECK(k->is_server); /* a client codec announces no streams */
}

static const struct codec_owner_ops pool_codec_ops = {
    .on_stream = pool_conn_on_stream,
    .on_capacity = pool_conn_on_capacity,
    .on_closed = pool_conn_on_codec_closed,
};

static bool pool_conn_is_h2(const struct pool_conn *pc)
{
    if (pc->is_fresh) {
        return false;
    }
    switch (pc->protocol) {
    case UPSTREAM_HTTP1:
        return false;
    case UPSTREAM_H2C:
    case UPSTREAM_H2:
        return true;
    case UPSTREAM_AUTO:
        return str_eq(conn_alpn(pc->conn), STR("h2"));
    }
    return false;
}

/* RFC 9113 3.2: over TLS, HTTP/2 is spoken where ALPN chose it only. */
static bool pool_conn_is_not_h2(const struct pool_conn *pc)
{
    return pc->protocol == UPSTREAM_H2 && !pc->is_fresh &&
           !str_eq(conn_alpn(pc->conn), STR("h2"));
}

static void pool_conn_on_ready(struct conn *c)
{
    struct pool_conn *pc = c->owner;
    struct pool *p = pc->pool;
    conn_set_timer(c, 0, NULL);
    if (!pc->is_fresh && p != NULL) {
        p->n_connecting--;
    }
    if (p == NULL || (pc->is_fresh && pc->fresh == NULL)) {
        conn_close(c, CONN_CLOSED_BY_US);
        return;
    }
    if (pool_conn_is_not_h2(pc)) {
        conn_close(c, CONN_NOT_H2);
        return;
    }
    const bool is_h2 = pool_conn_is_h2(pc);
    p->is_shared = pc->is_fresh ? p->is_shared : is_h2;
    pc->codec = is_h2 ? h2_new(c, false, pc->limits, &pool_codec_ops, pc)
                      : h1_new(c, false, pc->limits, &pool_codec_ops, pc);
    if (pc->is_fresh) {
        pool_give(pc->fresh, pc->codec);
        return;
    }
    if (is_h2) {
        list_remove(&pc->node);
        list_push_back(&p->multiplexed, &pc->node);
    }
    pool_conn_on_capacity(pc->codec);
}

static size_t pool_conn_on_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    (void)c;
    (void)p;
    (void)len;
    return 0; /* nothing comes before on_ready, which hands the conn over */
}

static void pool_conn_on_nothing(struct conn *c)
{
    (void)c;
}

/* Why there is no connection. Our own lack is no fault of the endpoint. */
static enum fault pool_conn_fault(const struct conn *c, enum conn_end end)
{
    if (end == CONN_TIMED_OUT) {
        return FAULT_CONNECT_TIMEOUT;
    }
    if (end == CONN_TLS_FAILED || end == CONN_NOT_H2) {
        return FAULT_UPSTREAM_TLS;
    }
    return c->error_number == EMFILE || c->error_number == ENFILE
               ? FAULT_OVERLOAD
               : FAULT_CONNECT_FAILED;
}

/* Connecting failed: says so to those who wait for this connection. */
static void pool_conn_on_closed(struct conn *c, enum conn_end end)
{
    struct pool_conn *pc = c->owner;
    struct pool *p = pc->pool;
    char why[256];
    const enum fault f = pool_conn_fault(c, end);
    conn_end_text(c, why, sizeof(why));
    struct pool_request *fresh = pc->fresh;
    if (end != CONN_CLOSED_BY_US) {
        metric_add(c->loop->metrics, METRIC_UPSTREAM_CONNECT_FAILED, 1);
    }
    if (p != NULL && !pc->is_fresh && !c->is_ready) {
        p->n_connecting--;
    }
    if (fresh != NULL) {
        fresh->own = NULL; /* it must not look for a connection that is gone */
    }
    pool_conn_end(pc);
    if (fresh != NULL) {
        pool_fail(fresh, f, why);
    } else if (p != NULL && !pc->is_fresh) {
        pool_fail_waiting(p, f, why);
    }
}

static const struct conn_ops pool_conn_ops = {
    .on_ready = pool_conn_on_ready,
    .on_bytes = pool_conn_on_bytes,
    .on_eof = pool_conn_on_nothing,
    .on_room = pool_conn_on_nothing,
    .on_closed = pool_conn_on_closed,
};

static void pool_conn_on_connect_timer(struct conn *c)
{
    conn_close(c, CONN_TIMED_OUT);
}

/* The caller has taken the place. */
static void pool_connect(struct pool *p,
                         const struct endpoint *ep,
                         struct pool_request *fresh)
{
    const struct upstream *up = ep->upstream;
    struct loop *loop = p->set->loop;
    struct pool_conn *pc = mem_new(sizeof(*pc));
    pc->pool = p;
    pc->set = p->set;
    pc->protocol = up->protocol;
    pc->limits = up->limits;
    pc->keep_alive_idle_ms = up->keep_alive_idle_ms;
    pc->is_fresh = fresh != NULL;
    pc->fresh = fresh;
    if (fresh != NULL) {
        fresh->own = pc;
    } else {
        p->n_connecting++;
    }
    pc->gone.fn = pool_conn_on_gone;
    timer_init(&pc->idle_timer, pool_conn_on_idle_timer);
    list_push_back(&p->others, &pc->node);
    list_push_back(&p->set->conns, &pc->set_node);
    p->n_conns++;
    p->set->n_conns++;
    slot_count(&p->slot->n_connects);
    metric_add(loop->metrics, METRIC_UPSTREAM_CONNS, 1);
    metric_add(loop->metrics, METRIC_UPSTREAM_CONNS_TOTAL, 1);
    pc->conn = conn_connect(loop, &ep->addr, ep->tls, &pool_conn_ops, pc);
    if (fresh != NULL && ep->tls != NULL && pc->conn->io_state != NULL) {
        tls_offer_http1(pc->conn->io_state); /* upgrades are HTTP/1.1 */
    }
    conn_set_timer(pc->conn, up->connect_timeout_ms,
                   pool_conn_on_connect_timer);
}

static void pool_on_turn(void *owner);

/* Is there an HTTP/2 connection that has not told yet how much it takes? */
static bool pool_is_unsettled(const struct pool *p)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &p->multiplexed) {
        const struct codec *k = CONTAINER_OF(it, struct pool_conn, node)->codec;
        if (!k->is_settled && !k->is_draining) {
            return true;
        }
    }
    return false;
}

/* A shared connection that is full now, but will have room. */
static bool pool_has_shared(const struct pool *p)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &p->multiplexed) {
        if (!CONTAINER_OF(it, struct pool_conn, node)->codec->is_draining) {
            return true;
        }
    }
    return false;
}

/* For whom a connection is needed next; NULL: for nobody. The endpoint is that
 * of the request which waits longest: its snapshot is pinned. */
static struct pool_request *pool_needs(const struct pool *p)
{
    struct list *first = list_first(&p->fresh);
    if (first != NULL) {
        return CONTAINER_OF(first, struct pool_request, node);
    }
    first = list_first(&p->waiting);
    if (first == NULL || pool_is_unsettled(p) ||
        p->n_connecting >= (p->is_shared ? 1 : p->n_waiting)) {
        return NULL;
    }
    struct pool_request *r = CONTAINER_OF(first, struct pool_request, node);
    return p->is_shared && pool_has_shared(p) &&
                   !pool_line_is_open(p, r->ep->n_conns_max)
               ? NULL
               : r;
}

/* Makes as many connections as the waiting requests need. */
static void pool_connect_more(struct pool *p)
{
    struct pool_request *r;
    while ((r = pool_needs(p)) != NULL) {
        if (!pool_line_take(p, r->ep->n_conns_max, pool_on_turn)) {
            return;
        }
        if (r->want_fresh) {
            list_remove(&r->node);
            p->n_fresh--;
        }
        pool_connect(p, r->ep, r->want_fresh ? r : NULL);
    }
    pool_line_leave(p, false);
}

/* Hands out what is there, then connects for the rest. */
static void pool_serve(struct pool *p)
{
    pool_hand_out(p);
    pool_connect_more(p);
}

static void pool_on_turn(void *owner)
{
    struct pool *p = owner;
    p->is_turn = true;
    pool_serve(p);
}

static void pool_on_serve(struct deferred *d)
{
    pool_serve(CONTAINER_OF(d, struct pool, serve));
}

static struct pool *pool_get(struct pool_set *set, const struct endpoint *ep)
{
    const uint32_t index = ep->slot->index;
    if (index >= set->n_pools) {
        const uint32_t n = (index + 64) & ~63u;
        set->pools = mem_resize(set->pools, n * sizeof(struct pool *));
        memset(set->pools + set->n_pools, 0,
               (n - set->n_pools) * sizeof(struct pool *));
        set->n_pools = n;
    }
    struct pool *p = set->pools[index];
    if (p == NULL) {
        p = mem_new(sizeof(*p));
        p->set = set;
        p->slot = ep->slot;
        list_init(&p->idle);
        list_init(&p->multiplexed);
        list_init(&p->others);
        list_init(&p->waiting);
        list_init(&p->fresh);
        p->serve.fn = pool_on_serve;
        p->is_shared = ep->upstream->protocol != UPSTREAM_HTTP1;
        set->pools[index] = p;
    }
    CHECK(p->slot == ep->slot);
    p->n_keep_alive_max = ep->upstream->n_keep_alive_max;
    return p;
}

/* A connection that leaves its pool ends when its streams have ended. */
static void pool_conn_leave(struct pool_conn *pc)
{
    pool_conn_detach(pc);
    if (pc->codec != NULL) {
        codec_drain(pc->codec);
    }
}

bool pool_acquire(struct pool_set *set,
                  const struct endpoint *ep,
                  struct pool_request *r)
{
    struct pool *p = pool_get(set, ep);
    if (p->n_waiting + p->n_fresh >= POOL_N_WAITING_MAX) {
        return false;
    }
    r->pool = p;
    r->ep = ep;
    r->own = NULL;
    r->node.next = NULL;
    if (r->want_fresh) {
        list_push_back(&p->fresh, &r->node);
        p->n_fresh++;
        pool_connect_more(p);
        return true;
    }
    list_push_back(&p->waiting, &r->node);
    p->n_waiting++;
    /* What comes free in a turn is given out at its end, and only then it is
     * counted how many more are needed. */
    if (p->n_waiting == 1 && !loop_is_deferred(&p->serve)) {
        pool_serve(p);
    } else if (p->is_shared || loop_is_deferred(&p->serve)) {
        pool_serve_later(p);
    } else {
        pool_connect_more(p);
    }
    return true;
}

void pool_cancel(struct pool_request *r)
{
    if (r->pool == NULL) {
        return;
    }
    struct pool_conn *own = r->own;
    struct pool *p = r->pool;
    pool_request_unlink(r);
    if (own != NULL && own->codec == NULL) {
        conn_close(own->conn, CONN_CLOSED_BY_US);
    }
    if (p->n_waiting + p->n_fresh == 0) {
        pool_line_leave(p, false);
    }
}

static void pool_leave_all(struct list *l)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, l) {
        pool_conn_leave(CONTAINER_OF(it, struct pool_conn, node));
    }
}

static bool pool_has_requests(const struct pool *p)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &p->others) {
        if (CONTAINER_OF(it, struct pool_conn, node)->fresh != NULL) {
            return true;
        }
    }
    return p->n_waiting + p->n_fresh > 0;
}

void pool_retire(struct pool_set *set, const struct slot *slot)
{
    struct pool *p =
        slot->index < set->n_pools ? set->pools[slot->index] : NULL;
    if (p == NULL || pool_has_requests(p)) {
        return; /* an older snapshot still uses it, and retires it again */
    }
    set->pools[slot->index] = NULL;
    pool_leave_all(&p->idle);
    pool_leave_all(&p->multiplexed);
    pool_leave_all(&p->others);
    pool_line_leave(p, false);
    loop_defer_cancel(&p->serve);
    mem_free(p);
}

void pool_set_init(struct pool_set *set, struct loop *loop)
{
    *set = (struct pool_set){.loop = loop};
    list_init(&set->conns);
}

void pool_set_drain(struct pool_set *set)
{
    set->is_draining = true;
    for (uint32_t i = 0; i < set->n_pools; i++) {
        struct pool *p = set->pools[i];
        if (p == NULL) {
            continue;
        }
        struct list *it;
        struct list *tmp;
        list_for_each (it, tmp, &p->idle) {
            codec_drain(CONTAINER_OF(it, struct pool_conn, node)->codec);
        }
        list_for_each (it, tmp, &p->multiplexed) {
            struct pool_conn *pc = CONTAINER_OF(it, struct pool_conn, node);
            if (pc->codec->n_streams == 0) {
                codec_drain(pc->codec);
            }
        }
    }
}

/* Retired connections too: they have no pool, but are in the list. */
static void pool_set_close(struct pool_set *set)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &set->conns) {
        struct pool_conn *pc = CONTAINER_OF(it, struct pool_conn, set_node);
        pool_conn_detach(pc);
        if (pc->conn != NULL) {
            conn_close(pc->conn, CONN_CLOSED_BY_US);
        }
    }
}

void pool_set_fini(struct pool_set *set)
{
    for (uint32_t i = 0; i < set->n_pools; i++) {
        struct pool *p = set->pools[i];
        struct list *first;
        while (p != NULL && ((first = list_first(&p->waiting)) != NULL ||
                             (first = list_first(&p->fresh)) != NULL)) {
            pool_fail(CONTAINER_OF(first, struct pool_request, node),
                      FAULT_DRAINING, "the gateway is stopping");
        }
    }
    pool_set_close(set);
    for (uint32_t i = 0; i < set->n_pools; i++) {
        if (set->pools[i] != NULL) {
            pool_line_leave(set->pools[i], false);
            loop_defer_cancel(&set->pools[i]->serve);
            mem_free(set->pools[i]);
        }
    }
    mem_free(set->pools);
    set->pools = NULL;
    set->n_pools = 0;
}
