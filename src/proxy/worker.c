/*
 * worker: see worker.h. What the control thread asks for arrives by mailbox as
 * a small message that carries the worker and its argument.
 */
#include "proxy/worker.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/privilege.h"
#include "net/listener.h"
#include "proxy/client.h"
#include "proxy/exchange.h"

#include <stdio.h>
#include <sys/random.h>

enum { WORKER_SHED_N = 16 };

/* One listener's socket of this worker. */
struct worker_acceptor {
    struct list node;
    struct acceptor acceptor;
    struct worker *worker;
    const struct listener_group *group;
    unsigned listener_id;
};

/* Those that wait the longest for their client's next request come first. */
unsigned worker_shed_idle(struct worker *w, unsigned n_max)
{
    struct list *it;
    struct list *tmp;
    unsigned n = 0;
    list_for_each (it, tmp, &w->clients) {
        if (n == n_max) {
            break;
        }
        if (client_close_idle(CONTAINER_OF(it, struct client, node))) {
            n++;
        }
    }
    metric_add(w->loop->metrics, METRIC_CLIENT_SHED_TOTAL, n);
    return n;
}

static void worker_on_accept(struct acceptor *a,
                             int fd,
                             const struct addr *peer,
                             const struct addr *local)
{
    struct worker_acceptor *wa = a->owner;
    const struct listener *l =
        snapshot_listener(wa->worker->snap, wa->listener_id);
    CHECK(l != NULL);
    client_accept(wa->worker, l, fd, peer, local);
    if (l->tls == NULL) {
        return;
    }
    const struct loop *loop = wa->worker->loop;
    const uint32_t wait_ms =
        handshake_gate_wait_ms(&wa->worker->handshakes, loop->now_us);
    if (wait_ms > 0) {
        metric_add(loop->metrics, METRIC_TLS_DELAYED_TOTAL, 1);
        acceptor_pause(a, wait_ms);
    }
}

/* Whoever comes now is worth more than whoever may come again. */
static bool worker_on_full(struct acceptor *a)
{
    const struct worker_acceptor *wa = a->owner;
    return worker_shed_idle(wa->worker, WORKER_SHED_N) > 0;
}

static struct worker_acceptor *
worker_find_acceptor(struct worker *w, const struct listener_group *group)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &w->acceptors) {
        struct worker_acceptor *wa =
            CONTAINER_OF(it, struct worker_acceptor, node);
        if (wa->group == group) {
            return wa;
        }
    }
    return NULL;
}

static void worker_open_acceptor(struct worker *w, const struct listener *l)
{
    struct worker_acceptor *wa = worker_find_acceptor(w, l->group);
    if (wa != NULL) {
        wa->listener_id = l->id; /* the same socket, maybe a new name */
        return;
    }
    wa = mem_new(sizeof(*wa));
    wa->worker = w;
    wa->group = l->group;
    wa->listener_id = l->id;
    list_push_back(&w->acceptors, &wa->node);
    acceptor_open(&wa->acceptor, w->loop, l->group->fds[w->index],
                  worker_on_accept, wa);
    wa->acceptor.on_full = worker_on_full;
    wa->acceptor.is_shared = l->group->is_inherited;
}

static void worker_close_acceptor(struct worker_acceptor *wa)
{
    list_remove(&wa->node);
    acceptor_close(&wa->acceptor);
    mem_free(wa);
}

static bool worker_has_group(const struct snapshot *snap,
                             const struct listener_group *group)
{
    for (size_t i = 0; i < snap->n_listeners; i++) {
        if (snap->listeners[i].group == group) {
            return true;
        }
    }
    return false;
}

/* Sockets that the new snapshot does not have any more. Clients that the
 * kernel had queued are accepted first, with the old listener's settings. */
static void worker_close_old_acceptors(struct worker *w,
                                       const struct snapshot *next)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &w->acceptors) {
        struct worker_acceptor *wa =
            CONTAINER_OF(it, struct worker_acceptor, node);
        if (!worker_has_group(next, wa->group)) {
            worker_close_acceptor(wa);
        }
    }
}

static void worker_close_acceptors(struct worker *w)
{
    struct list *first;
    while ((first = list_first(&w->acceptors)) != NULL) {
        worker_close_acceptor(
            CONTAINER_OF(first, struct worker_acceptor, node));
    }
}

/* Connections to endpoints that only the old snapshot had. */
static void worker_retire_pools(struct worker *w, const struct snapshot *old)
{
    for (size_t i = 0; i < old->n_upstreams; i++) {
        const struct upstream *up = old->upstreams[i];
        for (size_t j = 0; j < up->n_endpoints; j++) {
            const struct slot *slot = up->endpoints[j].slot;
            if (w->snap == NULL || !snapshot_has_slot(w->snap, slot)) {
                pool_retire(&w->pools, slot);
            }
        }
    }
}

static void worker_leave(struct worker *w, struct snapshot *snap)
{
    worker_retire_pools(w, snap);
    w->owner_ops->on_snapshot_left(w, snap);
}

void worker_pin(struct worker *w, struct snapshot *snap)
{
    snap->pins[w->index].n++;
}

void worker_unpin(struct worker *w, struct snapshot *snap)
{
    struct snapshot_pins *pins = &snap->pins[w->index];
    CHECK(pins->n > 0);
    pins->n--;
    if (pins->n == 0 && pins->is_retired) {
        worker_leave(w, snap);
    }
}

static void worker_use(struct worker *w, struct snapshot *next)
{
    struct snapshot *old = w->snap;
    if (old != NULL) {
        worker_close_old_acceptors(w, next);
    }
    w->snap = next;
    worker_pin(w, next);
    if (!w->is_draining) {
        for (size_t i = 0; i < next->n_listeners; i++) {
            worker_open_acceptor(w, &next->listeners[i]);
        }
    }
    if (old != NULL) {
        old->pins[w->index].is_retired = true;
        worker_unpin(w, old);
    }
}

struct worker_message {
    struct worker *worker;
    struct snapshot *snap;
};

static void worker_on_snapshot(struct loop *loop, void *arg)
{
    struct worker_message *m = arg;
    (void)loop;
    worker_use(m->worker, m->snap);
    mem_free(m);
}

void worker_post_snapshot(struct worker *w, struct snapshot *snap)
{
    struct worker_message *m = mem_new(sizeof(*m));
    m->worker = w;
    m->snap = snap;
    loop_post(w->loop, worker_on_snapshot, m);
}

static void worker_close_clients(struct worker *w)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &w->clients) {
        client_close(CONTAINER_OF(it, struct client, node));
    }
}

static void worker_on_drain_timer(struct timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, drain_timer);
    log_text(LOG_WARN,
             "worker %u: the drain limit has passed; closing %u "
             "connections",
             w->index, w->n_clients);
    worker_close_clients(w);
}

void worker_client_left(struct worker *w)
{
    if (w->is_draining && w->n_clients == 0) {
        loop_disarm(w->loop, &w->drain_timer);
        w->owner_ops->on_drained(w);
    }
}

static void worker_on_drain(struct loop *loop, void *arg)
{
    struct worker *w = arg;
    struct list *it;
    struct list *tmp;
    if (w->is_draining) {
        return;
    }
    worker_close_acceptors(w);
    w->is_draining = true;
    pool_set_drain(&w->pools);
    list_for_each (it, tmp, &w->clients) {
        client_drain(CONTAINER_OF(it, struct client, node));
    }
    if (w->n_clients == 0) {
        w->owner_ops->on_drained(w);
        return;
    }
    loop_arm(loop, &w->drain_timer, w->snap->drain_timeout_ms);
}

void worker_post_drain(struct worker *w)
{
    loop_post(w->loop, worker_on_drain, w);
}

/* Everything is closed, and the turn that frees it has ended. */
static void worker_fini(struct worker *w)
{
    /* No acceptor may hand out clients while the lists are emptied. */
    w->is_draining = true;
    worker_close_acceptors(w);
    loop_disarm(w->loop, &w->drain_timer);
    worker_close_clients(w);
    loop_run_once(w->loop, 0);
    pool_set_fini(&w->pools);
    loop_run_once(w->loop, 0);
    CHECK(w->n_clients == 0 && w->n_exchanges == 0 && w->pools.n_conns == 0);
    exchange_cache_fini(w);
    if (w->snap != NULL) {
        struct snapshot *snap = w->snap;
        w->snap = NULL;
        snap->pins[w->index].is_retired = true;
        worker_unpin(w, snap);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    privilege_drop_thread();
    loop_run(w->loop);
    worker_fini(w);
    return NULL;
}

struct worker *
worker_new(unsigned index, const struct worker_owner_ops *ops, void *owner)
{
    struct worker *w = mem_new(sizeof(*w));
    w->index = index;
    w->owner_ops = ops;
    w->owner = owner;
    w->loop = loop_new("worker", index);
    w->loop->owner = w;
    w->loop->log = log_ring_new();
    w->loop->metrics = metric_set_new();
    w->scratch = regex_scratch_new(REGEX_PROGRAM_MAX);
    pool_set_init(&w->pools, w->loop);
    handshake_gate_init(&w->handshakes);
    list_init(&w->acceptors);
    list_init(&w->clients);
    list_init(&w->free_exchanges);
    timer_init(&w->drain_timer, worker_on_drain_timer);
    CHECK(getrandom(&w->id_high, sizeof(w->id_high), 0) == sizeof(w->id_high));
    CHECK(getrandom(&w->id_low, sizeof(w->id_low), 0) == sizeof(w->id_low));
    CHECK(pthread_create(&w->thread, NULL, worker_main, w) == 0);
    return w;
}

void worker_stop(struct worker *w)
{
    loop_stop(w->loop);
    CHECK(pthread_join(w->thread, NULL) == 0);
}

void worker_free(struct worker *w)
{
    loop_free(w->loop);
    regex_scratch_free(w->scratch);
    mem_free(w->listener_counts);
    mem_free(w);
}

/*
 * Shaped as a UUID (version 4 variant bits), but counted up from a random
 * start with a mixer: unique per worker without a call to the kernel.
 */
void worker_tell_failing(struct worker *w, struct slot *slot)
{
    if (w->owner_ops->on_failing != NULL) {
        w->owner_ops->on_failing(w, slot);
    }
}

struct str worker_request_id(struct worker *w, char dst[static 37])
{
    static const char hex[] = "0123456789abcdef";
    uint64_t z = (w->id_low += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    const uint64_t low = (z ^ (z >> 31));
    const uint64_t words[2] = {
        (w->id_high & ~0xf000ull) | 0x4000,
        (low & ~(3ull << 62)) | (2ull << 62),
    };
    size_t at = 0;
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            dst[at++] = '-';
        }
        dst[at++] = hex[(words[i / 16] >> (60 - 4 * (i % 16))) & 15];
    }
    dst[at] = '\0';
    return str_make(dst, at);
}

/* Civil date from days since 1970 (proleptic Gregorian). */
static void worker_civil(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    const int64_t era = days / 146097;
    const int64_t doe = days - era * 146097;
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

struct str worker_date(struct worker *w)
{
    static const char *const week[] = {"Thu", "Fri", "Sat", "Sun",
                                       "Mon", "Tue", "Wed"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr",
                                         "May", "Jun", "Jul", "Aug",
                                         "Sep", "Oct", "Nov", "Dec"};
    const uint64_t now = w->loop->wall_us / 1000000;
    if (now != w->date_seconds) {
        int year;
        int month;
        int day;
        worker_civil((int64_t)(now / 86400), &year, &month, &day);
        snprintf(w->date, sizeof(w->date),
                 "%s, %02d %s %04d %02u:%02u:%02u GMT", week[now / 86400 % 7],
                 day % 32, months[month - 1], year % 10000,
                 (unsigned)(now / 3600 % 24), (unsigned)(now / 60 % 60),
                 (unsigned)(now % 60));
        w->date_seconds = now;
    }
    return str_from(w->date);
}
