/*
 * balance: the registry of the policies, and a pick from start to end: the
 * policy, the fallback for requests without a key, slow start, and failing open
 * when too few are up. Built on the control thread, immutable then; picks run
 * on workers and write nothing but the pick and its cursor.
 * Invariant: an index that leaves here was usable a moment ago. Whoever takes
 * it counts itself in (slot_take_place), which may fail: then picks again.
 */
#include "upstream/balance.h"

#include "base/check.h"
#include "base/mem.h"
#include "upstream/sample.h"

struct balance {
    const struct balance_ops *ops;
    const struct balance_ops *fallback; /* NULL: ops needs no key */
    const struct balance_endpoint *eps;
    size_t n;
    void *table;
    void *fallback_table;
};

static const struct balance_ops *const balance_registry[] = {
    &bal_round_robin, &bal_least_request, &bal_random,
    &bal_ring_hash,   &bal_maglev,
};

enum { BALANCE_N_OPS = sizeof balance_registry / sizeof balance_registry[0] };

const struct balance_ops *balance_find(struct str name)
{
    for (size_t i = 0; i < BALANCE_N_OPS; i++) {
        if (str_eq(name, str_from(balance_registry[i]->name))) {
            return balance_registry[i];
        }
    }
    return NULL;
}

struct str balance_names(void)
{
    return STR("round_robin, least_request, random, ring_hash, maglev");
}

static bool balance_check(const struct balance_ops *fallback,
                          const struct balance_endpoint *eps,
                          size_t n,
                          struct error *err)
{
    if (fallback->is_hashing) {
        return error_add(err,
                         "%s: cannot stand in for a missing hash key, as it "
                         "needs one itself",
                         fallback->name);
    }
    if (n > SCOREBOARD_N_MAX) {
        return error_add(err, "endpoints: %zu are more than the %d allowed", n,
                         SCOREBOARD_N_MAX);
    }
    for (size_t i = 1; i < n; i++) {
        CHECK(str_cmp(eps[i - 1].id, eps[i].id) <= 0);
    }
    return true;
}

static bool balance_build_tables(struct balance *b,
                                 const struct balance_settings *settings,
                                 struct error *err)
{
    /* Tables of nobody are never asked. */
    if (b->n == 0) {
        return true;
    }
    b->table = b->ops->build(b->eps, b->n, settings, err);
    if (b->table == NULL) {
        return false;
    }
    if (b->fallback != NULL) {
        b->fallback_table = b->fallback->build(b->eps, b->n, settings, err);
        return b->fallback_table != NULL;
    }
    return true;
}

struct balance *balance_build(const struct balance_ops *ops,
                              const struct balance_ops *fallback,
                              const struct balance_endpoint *eps,
                              size_t n,
                              const struct balance_settings *settings,
                              struct error *err)
{
    if (fallback == NULL || !ops->is_hashing) {
        fallback = &bal_round_robin;
    }
    if (!balance_check(fallback, eps, n, err)) {
        return NULL;
    }
    struct balance *b = mem_new(sizeof *b);
    b->ops = ops;
    b->fallback = ops->is_hashing ? fallback : NULL;
    b->eps = eps;
    b->n = n;
    if (!balance_build_tables(b, settings, err)) {
        balance_free(b);
        return NULL;
    }
    return b;
}

void balance_free(struct balance *b)
{
    if (b == NULL) {
        return;
    }
    if (b->table != NULL) {
        b->ops->free(b->table);
    }
    if (b->fallback_table != NULL) {
        b->fallback->free(b->fallback_table);
    }
    mem_free(b);
}

/* Too few are up: down is no bar then. Asked only where it matters. */
static bool balance_is_panic(const struct balance_pick *p)
{
    return p->upstream != NULL && slot_is_panic(p->upstream);
}

bool balance_may_stay(const struct balance_endpoint *eps,
                      int i,
                      const struct balance_pick *p)
{
    const struct balance_endpoint *ep = &eps[i];
    if (slot_is_down(ep->slot) && !balance_is_panic(p)) {
        return false;
    }
    if (ep->max_requests > 0 && slot_in_flight(ep->slot) >= ep->max_requests) {
        return false;
    }
    for (unsigned k = 0; k < p->n_tried; k++) {
        if (p->tried[k] == i) {
            return false;
        }
    }
    return true;
}

bool balance_is_usable(const struct balance_endpoint *eps,
                       int i,
                       const struct balance_pick *p)
{
    return eps[i].weight > 0 && balance_may_stay(eps, i, p);
}

uint64_t balance_usable_weight(const struct balance_endpoint *eps,
                               size_t n,
                               const struct balance_pick *p)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        if (balance_is_usable(eps, (int)i, p)) {
            total += eps[i].weight;
        }
    }
    return total;
}

int balance_scan(const struct balance_endpoint *eps,
                 size_t n,
                 const struct balance_pick *p,
                 uint64_t bits)
{
    const uint64_t total = balance_usable_weight(eps, n, p);
    if (total == 0) {
        return BALANCE_NONE;
    }
    uint64_t left = sample_range(bits, total);
    int last = BALANCE_NONE;
    for (size_t i = 0; i < n; i++) {
        if (!balance_is_usable(eps, (int)i, p)) {
            continue;
        }
        last = (int)i;
        if (left < eps[i].weight) {
            return last;
        }
        left -= eps[i].weight;
    }
    /* Another worker took one away since the sum: the last one will do. */
    return last;
}

/*
 * in_flight + 1 <= ceil(percent/100 * (all + 1) * weight/total_weight), which
 * in whole numbers is in_flight < the same without ceil.
 */
bool balance_is_within_bound(const struct balance_endpoint *ep,
                             const struct balance_pick *p,
                             uint64_t total_weight,
                             uint32_t bounded_percent)
{
    if (bounded_percent == 0 || p->upstream == NULL) {
        return true;
    }
    const uint64_t n_all = (uint64_t)slot_in_flight(p->upstream) + 1;
    const unsigned __int128 share =
        (unsigned __int128)(n_all * bounded_percent) * ep->weight;
    const unsigned __int128 load =
        (unsigned __int128)total_weight * 100 * slot_in_flight(ep->slot);
    return load < share;
}

static int balance_choose_within(const struct balance_candidates *c,
                                 const struct balance_endpoint *eps,
                                 size_t n,
                                 const struct balance_pick *p)
{
    for (unsigned k = 0; k < c->n; k++) {
        const int i = c->list[k];
        if (balance_is_usable(eps, i, p) &&
            balance_is_within_bound(&eps[i], p, c->total_weight,
                                    c->bounded_percent)) {
            return i;
        }
    }
    size_t at = sample_range(sample_mix(~p->hash), n);
    for (size_t k = 0; k < n; k++) {
        if (balance_is_usable(eps, (int)at, p) &&
            balance_is_within_bound(&eps[at], p, c->total_weight,
                                    c->bounded_percent)) {
            return (int)at;
        }
        at = at + 1 == n ? 0 : at + 1;
    }
    return BALANCE_NONE;
}

int balance_choose(const struct balance_candidates *c,
                   const struct balance_endpoint *eps,
                   size_t n,
                   const struct balance_pick *p)
{
    int i = balance_choose_within(c, eps, n, p);
    if (i != BALANCE_NONE || c->bounded_percent == 0) {
        return i;
    }
    struct balance_candidates looser = *c;
    looser.total_weight = balance_usable_weight(eps, n, p);
    if (looser.total_weight == 0) {
        return BALANCE_NONE;
    }
    i = balance_choose_within(&looser, eps, n, p);
    if (i != BALANCE_NONE) {
        return i;
    }
    looser.bounded_percent = 0;
    return balance_choose_within(&looser, eps, n, p);
}

bool balance_is_full(const struct balance *b, const struct balance_pick *p)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct balance_endpoint *ep = &b->eps[i];
        if (ep->weight > 0 && ep->max_requests > 0 &&
            (p->is_panic || !slot_is_down(ep->slot))) {
            return true;
        }
    }
    return false;
}

static int balance_ask(const struct balance *b, struct balance_pick *p)
{
    const bool is_keyless = b->ops->is_hashing && !p->has_hash;
    const struct balance_ops *ops = is_keyless ? b->fallback : b->ops;
    const void *table = is_keyless ? b->fallback_table : b->table;
    p->why = ops->name;
    const int i = ops->pick(table, b->eps, b->n, p);
    CHECK(i == BALANCE_NONE || (i >= 0 && (size_t)i < b->n));
    if (is_keyless) {
        p->why = "fallback";
    }
    return i;
}

/*
 * `first` is in slow start: it is taken with the chance that its share gives
 * it, else the policy is asked for another one. With a key the key decides, so
 * that each key moves to the endpoint once, sooner or later. When all of them
 * decline, it is the first one.
 */
static int balance_choose_slowly(const struct balance *b,
                                 struct balance_pick *p,
                                 int first)
{
    const unsigned n_tried = p->n_tried;
    /* Other bits than those that the policies draw from. */
    uint64_t bits = sample_mix((p->has_hash ? p->hash : p->random) ^
                               UINT64_C(0x736c6f777374));
    int i = first;
    while (i != BALANCE_NONE &&
           sample_range(bits, VITALS_SHARE) < slot_held_back(b->eps[i].slot)) {
        if (p->n_tried == BALANCE_TRIED_MAX) {
            i = BALANCE_NONE;
            break;
        }
        p->tried[p->n_tried++] = i;
        bits = sample_mix(bits);
        i = balance_ask(b, p);
    }
    p->n_tried = n_tried;
    if (i != first) {
        p->why = "slow_start";
    }
    return i == BALANCE_NONE ? first : i;
}

int balance_pick(const struct balance *b, struct balance_pick *p)
{
    p->is_panic = balance_is_panic(p);
    p->why = "none";
    if (b->n == 0) {
        return BALANCE_NONE;
    }
    int i = balance_ask(b, p);
    if (i != BALANCE_NONE && !p->is_panic &&
        slot_held_back(b->eps[i].slot) > 0) {
        i = balance_choose_slowly(b, p, i);
    }
    if (i == BALANCE_NONE) {
        p->why = "none";
    } else if (p->is_panic) {
        /* Health that fails everywhere says more about the checks. */
        p->why = "panic";
    }
    return i;
}
