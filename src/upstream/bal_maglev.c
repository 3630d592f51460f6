/*
 * bal_maglev: the lookup table of the Maglev paper (Eisenbud et al., NSDI 2016,
 * section 3.4). Each endpoint has a permutation of the slots; they take turns,
 * by weight, to claim their next free one, until the table is full. A pick is
 * one load. Immutable once built; picks keep no state.
 * Shares are exact, to about one slot. That has a price: when an endpoint
 * goes, the others must fill up to the slot, and pass slots on among each
 * other; see docs/balancing.md for how many keys move.
 * Invariant: the number of slots is a prime, so that a skip of any length
 * visits them all; each endpoint with a weight owns one slot at least.
 */
#include "base/error.h"
#include "base/mem.h"
#include "upstream/balance.h"
#include "upstream/sample.h"

#include <xxhash.h>

enum {
    MAGLEV_SIZE_MAX = 8 * 1024 * 1024,
    MAGLEV_SLOTS_LEAST = 100, /* per endpoint: one slot more or less is 1 % */
    MAGLEV_FREE = -1
};

/*
 * Default sizes, the first one with enough slots for each endpoint. There is
 * but one step, at 6553 endpoints, because another size is another table, and
 * nearly all keys move. The first size keeps what moves when one endpoint goes
 * within 10 % of its share for 60 endpoints.
 */
static const uint32_t maglev_sizes[] = {655373, 6553577};

enum { MAGLEV_N_SIZES = sizeof maglev_sizes / sizeof maglev_sizes[0] };

struct maglev {
    uint64_t total_weight;
    uint32_t bounded_percent;
    uint32_t size;
    int32_t slots[]; /* index of the endpoint */
};

/* One endpoint while the table is filled. */
struct maglev_turn {
    uint32_t next; /* place in its permutation */
    uint32_t skip;
    uint32_t credit; /* a turn costs the greatest weight */
};

static bool maglev_is_prime(uint32_t n)
{
    for (uint32_t d = 2; (uint64_t)d * d <= n; d++) {
        if (n % d == 0) {
            return false;
        }
    }
    return n >= 2;
}

static uint32_t maglev_prime(uint32_t n)
{
    while (!maglev_is_prime(n)) {
        n++;
    }
    return n;
}

static uint32_t maglev_size_default(size_t n_weighted)
{
    for (unsigned k = 0; k < MAGLEV_N_SIZES; k++) {
        if (n_weighted * MAGLEV_SLOTS_LEAST <= maglev_sizes[k]) {
            return maglev_sizes[k];
        }
    }
    return maglev_sizes[MAGLEV_N_SIZES - 1];
}

/*
 * The first turn of an endpoint falls due at a place in the round that its id
 * decides: else those of one small weight would get their last slot, or not,
 * all together, at the cost of a heavy one.
 */
static struct maglev_turn
maglev_turn_make(struct str id, uint64_t seed, uint32_t size, uint32_t price)
{
    const XXH128_hash_t h =
        XXH3_128bits_withSeed(id.len == 0 ? "" : id.p, id.len, seed);
    return (struct maglev_turn){
        .next = (uint32_t)(h.low64 % size),
        .skip = (uint32_t)(h.high64 % (size - 1)) + 1,
        .credit = (uint32_t)sample_range(sample_mix(h.low64 ^ h.high64), price),
    };
}

/* Claims the next slot of the permutation that is free. */
static void maglev_claim(struct maglev *t, struct maglev_turn *turn, size_t i)
{
    while (t->slots[turn->next] != MAGLEV_FREE) {
        turn->next += turn->skip;
        if (turn->next >= t->size) {
            turn->next -= t->size;
        }
    }
    t->slots[turn->next] = (int32_t)i;
}

/*
 * In each round an endpoint earns its weight and may claim a slot for the
 * greatest weight of all. One whose share is below a slot has its turn in the
 * first round, so that it gets one before the table is full.
 */
static void maglev_fill(struct maglev *t,
                        struct maglev_turn *turns,
                        const struct balance_endpoint *eps,
                        size_t n,
                        uint32_t price)
{
    uint32_t n_left = t->size;
    for (size_t i = 0; i < n; i++) {
        if ((uint64_t)eps[i].weight * t->size < t->total_weight) {
            turns[i].credit = price - eps[i].weight;
        }
    }
    while (n_left > 0) {
        for (size_t i = 0; i < n && n_left > 0; i++) {
            turns[i].credit += eps[i].weight;
            if (eps[i].weight > 0 && turns[i].credit >= price) {
                turns[i].credit -= price;
                maglev_claim(t, &turns[i], i);
                n_left--;
            }
        }
    }
}

static bool maglev_size_find(const struct balance_settings *settings,
                             size_t n_weighted,
                             uint32_t *size,
                             struct error *err)
{
    const uint32_t wanted = settings->table_size == 0
                                ? maglev_size_default(n_weighted)
                                : settings->table_size;
    if (wanted > MAGLEV_SIZE_MAX) {
        return error_add(err, "maglev: a table of %u is over the limit of %d",
                         wanted, MAGLEV_SIZE_MAX);
    }
    *size = maglev_prime(wanted);
    if (n_weighted > *size) {
        return error_add(err,
                         "maglev: %zu endpoints do not fit a table of %u; "
                         "make it larger, best a hundred times their number",
                         n_weighted, *size);
    }
    return true;
}

static struct maglev *maglev_table_build(const struct balance_endpoint *eps,
                                         size_t n,
                                         uint32_t size,
                                         uint32_t price,
                                         uint64_t total_weight,
                                         uint64_t seed)
{
    struct maglev *t = mem_new(sizeof *t + size * sizeof t->slots[0]);
    struct maglev_turn *turns = mem_new_array(n, sizeof *turns);
    t->size = size;
    t->total_weight = total_weight;
    for (uint32_t k = 0; k < size; k++) {
        t->slots[k] = MAGLEV_FREE;
    }
    for (size_t i = 0; i < n; i++) {
        turns[i] = maglev_turn_make(eps[i].id, seed, size, price);
    }
    maglev_fill(t, turns, eps, n, price);
    mem_free(turns);
    return t;
}

static void *maglev_build(const struct balance_endpoint *eps,
                          size_t n,
                          const struct balance_settings *settings,
                          struct error *err)
{
    uint64_t total = 0;
    uint32_t price = 0;
    size_t n_weighted = 0;
    uint32_t size = 0;
    for (size_t i = 0; i < n; i++) {
        total += eps[i].weight;
        price = eps[i].weight > price ? eps[i].weight : price;
        n_weighted += eps[i].weight > 0 ? 1 : 0;
    }
    if (!maglev_size_find(settings, n_weighted, &size, err)) {
        return NULL;
    }
    struct maglev *t = total == 0 ? mem_new(sizeof *t)
                                  : maglev_table_build(eps, n, size, price,
                                                       total, settings->seed);
    t->bounded_percent = settings->bounded_load_percent;
    return t;
}

/* Attempt 0 is the key's home; the others are where it would go next. */
static int maglev_slot(const struct maglev *t, uint64_t hash, unsigned attempt)
{
    const uint64_t bits =
        sample_mix(hash + attempt * UINT64_C(0xd1342543de82ef95));
    return t->slots[sample_range(bits, t->size)];
}

static int maglev_pick(const void *table,
                       const struct balance_endpoint *eps,
                       size_t n,
                       struct balance_pick *p)
{
    const struct maglev *t = table;
    if (t->size == 0) {
        return BALANCE_NONE;
    }
    const int home = maglev_slot(t, p->hash, 0);
    const bool is_usable = balance_is_usable(eps, home, p);
    if (is_usable && balance_is_within_bound(&eps[home], p, t->total_weight,
                                             t->bounded_percent)) {
        return home;
    }
    p->why = is_usable ? "maglev_bounded" : "maglev_next";
    struct balance_candidates c = {
        .total_weight = t->total_weight,
        .bounded_percent = t->bounded_percent,
    };
    while (c.n < BALANCE_CANDIDATES_MAX) {
        c.list[c.n] = maglev_slot(t, p->hash, c.n + 1);
        c.n++;
    }
    return balance_choose(&c, eps, n, p);
}

static void maglev_free(void *table)
{
    mem_free(table);
}

const struct balance_ops bal_maglev = {
    .name = "maglev",
    .is_hashing = true,
    .build = maglev_build,
    .pick = maglev_pick,
    .free = maglev_free,
};
