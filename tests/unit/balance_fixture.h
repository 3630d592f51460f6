/*
 * balance_fixture: an upstream of n endpoints with slots of their own, for the
 * tests of the policies. Included by a test after cmocka.h; the endpoints and
 * the worker's cursor are of one test and freed by fixture_fini.
 * Invariant: ids are sorted, as every caller of balance_build has them.
 */
#ifndef DAEMUN_TESTS_BALANCE_FIXTURE_H
#define DAEMUN_TESTS_BALANCE_FIXTURE_H

#include "base/mem.h"
#include "upstream/balance.h"

#include <stdio.h>

enum { FIXTURE_N_MAX = 2000, FIXTURE_ID_BYTES = 24 };

struct fixture {
    struct balance_endpoint eps[FIXTURE_N_MAX];
    char ids[FIXTURE_N_MAX][FIXTURE_ID_BYTES];
    struct slot slots[FIXTURE_N_MAX];
    unsigned n_picked[FIXTURE_N_MAX];
    struct slot upstream;
    struct balance_cursor cursor;
    struct balance *balance;
    size_t n;
    uint64_t random;
};

static const struct balance_settings fixture_settings = {.seed = 7};

static inline void fixture_weigh(struct fixture *f, size_t n, uint32_t weight)
{
    memset(f, 0, sizeof *f);
    f->n = n;
    f->random = 1;
    for (size_t i = 0; i < n; i++) {
        snprintf(f->ids[i], sizeof f->ids[i], "ep%05zu", i);
        f->eps[i] = (struct balance_endpoint){
            .id = str_from(f->ids[i]),
            .weight = weight,
            .slot = &f->slots[i],
        };
    }
}

/* n endpoints of weight 1. The fixture is large: one per test program. */
static inline struct fixture *fixture_make(size_t n)
{
    static struct fixture f;
    fixture_weigh(&f, n, 1);
    return &f;
}

static inline void fixture_build(struct fixture *f,
                                 const struct balance_ops *ops,
                                 const struct balance_settings *settings)
{
    struct error err = {0};
    balance_free(f->balance);
    f->balance =
        balance_build(ops, &bal_round_robin, f->eps, f->n, settings, &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(f->balance);
}

static inline void fixture_fini(struct fixture *f)
{
    balance_free(f->balance);
    f->balance = NULL;
}

/* xorshift64*: the same numbers in each run. */
static inline uint64_t fixture_random(struct fixture *f)
{
    f->random ^= f->random >> 12;
    f->random ^= f->random << 25;
    f->random ^= f->random >> 27;
    return f->random * UINT64_C(2685821657736338717);
}

static inline struct balance_pick fixture_pick(struct fixture *f)
{
    return (struct balance_pick){
        .random = fixture_random(f),
        .cursor = &f->cursor,
        .upstream = &f->upstream,
    };
}

static inline struct balance_pick fixture_pick_key(struct fixture *f,
                                                   uint64_t hash)
{
    struct balance_pick p = fixture_pick(f);
    p.has_hash = true;
    p.hash = hash;
    return p;
}

/* Where key number `k` goes. */
static inline int fixture_home(struct fixture *f, uint64_t k)
{
    struct balance_pick p = fixture_pick_key(f, k);
    return balance_pick(f->balance, &p);
}

/* Counts `n` picks, each with a key, into n_picked. */
static inline void fixture_count(struct fixture *f, unsigned n)
{
    memset(f->n_picked, 0, sizeof f->n_picked);
    for (unsigned k = 0; k < n; k++) {
        const int i = fixture_home(f, k);
        assert_in_range(i, 0, f->n - 1);
        f->n_picked[i]++;
    }
}

static inline void fixture_down(struct fixture *f, size_t i, bool is_down)
{
    atomic_store(&f->slots[i].is_down, is_down);
}

/* Takes endpoint `i` out, as a reload would; the table is not built anew. */
static inline void fixture_remove(struct fixture *f, size_t i)
{
    memmove(&f->eps[i], &f->eps[i + 1], (f->n - i - 1) * sizeof f->eps[0]);
    f->n--;
}

/* Shares of `n` picks are within `percent` of the weights. */
static inline void
fixture_assert_shares(const struct fixture *f, unsigned n, unsigned percent)
{
    uint64_t total = 0;
    for (size_t i = 0; i < f->n; i++) {
        total += f->eps[i].weight;
    }
    for (size_t i = 0; i < f->n; i++) {
        const uint64_t expected = (uint64_t)n * f->eps[i].weight / total;
        const uint64_t slack = expected * percent / 100;
        assert_in_range(f->n_picked[i], expected - slack, expected + slack);
    }
}

/*
 * The promises that every policy keeps. `is_hashing` policies get keys too.
 */
static inline void fixture_check_promises(const struct balance_ops *ops)
{
    struct fixture *f = fixture_make(20);
    f->eps[3].weight = 0;
    f->eps[4].max_requests = 2;
    atomic_store(&f->slots[4].in_flight, 2);
    fixture_down(f, 5, true);
    fixture_build(f, ops, &fixture_settings);
    for (unsigned k = 0; k < 5000; k++) {
        struct balance_pick p = fixture_pick_key(f, k);
        p.tried[0] = 7;
        p.tried[1] = 19;
        p.n_tried = 2;
        const int i = balance_pick(f->balance, &p);
        assert_in_range(i, 0, 19);
        assert_true(i != 3 && i != 4 && i != 5 && i != 7 && i != 19);
        assert_non_null(p.why);
    }
    /* One left over is found, whatever the policy tries first. */
    for (size_t i = 0; i < 20; i++) {
        fixture_down(f, i, i != 11);
    }
    fixture_count(f, 500);
    assert_int_equal(f->n_picked[11], 500);
    /* Tried: no other one is up, and not all are down. */
    struct balance_pick p = fixture_pick_key(f, 1);
    p.tried[0] = 11;
    p.n_tried = 1;
    assert_int_equal(balance_pick(f->balance, &p), BALANCE_NONE);
    assert_string_equal(p.why, "none");
    /* All down, and no word of failing open: nobody. */
    fixture_down(f, 11, true);
    p = fixture_pick_key(f, 1);
    assert_int_equal(balance_pick(f->balance, &p), BALANCE_NONE);
    assert_string_equal(p.why, "none");
    /* Too few are up: fails open, but caps and weights still hold. */
    fixture_down(f, 12, false);
    atomic_store(&f->upstream.is_panic, true);
    for (unsigned k = 0; k < 500; k++) {
        p = fixture_pick_key(f, k);
        const int i = balance_pick(f->balance, &p);
        assert_in_range(i, 0, 19);
        assert_true(i != 3 && i != 4);
        assert_string_equal(p.why, "panic");
    }
    fixture_fini(f);
    /* Nobody at all, and nobody with a weight. */
    f = fixture_make(0);
    fixture_build(f, ops, &fixture_settings);
    assert_int_equal(fixture_home(f, 1), BALANCE_NONE);
    fixture_fini(f);
    fixture_weigh(f, 3, 0);
    fixture_build(f, ops, &fixture_settings);
    assert_int_equal(fixture_home(f, 1), BALANCE_NONE);
    fixture_fini(f);
}

/* Percent of `n` keys whose endpoint is not the same in `before`. */
static inline double fixture_moved(struct fixture *f,
                                   const struct slot **homes,
                                   unsigned n,
                                   const struct slot *gone)
{
    unsigned n_moved = 0;
    for (unsigned k = 0; k < n; k++) {
        const struct slot *now = f->eps[fixture_home(f, k)].slot;
        assert_ptr_not_equal(now, gone);
        n_moved += now != homes[k] ? 1 : 0;
    }
    return 100.0 * n_moved / n;
}

static inline const struct slot **fixture_homes(struct fixture *f, unsigned n)
{
    const struct slot **homes = mem_new_array(n, sizeof *homes);
    for (unsigned k = 0; k < n; k++) {
        homes[k] = f->eps[fixture_home(f, k)].slot;
    }
    return homes;
}

/*
 * Holds `n` requests with few keys and checks after each that no endpoint has
 * more than its share: ceil(percent/100 * all * weight/total_weight).
 */
static inline void fixture_check_bound(struct fixture *f,
                                       unsigned n,
                                       unsigned n_keys,
                                       uint64_t percent)
{
    uint64_t total = 0;
    for (size_t i = 0; i < f->n; i++) {
        total += f->eps[i].weight;
    }
    for (unsigned k = 0; k < n; k++) {
        const int i = fixture_home(f, k % n_keys);
        assert_in_range(i, 0, f->n - 1);
        slot_begin(f->eps[i].slot);
        slot_begin(&f->upstream);
        const uint64_t n_all = slot_in_flight(&f->upstream);
        const uint64_t of = 100 * total;
        const uint64_t cap = (percent * n_all * f->eps[i].weight + of - 1) / of;
        assert_in_range(slot_in_flight(f->eps[i].slot), 1, cap);
    }
}

#endif
