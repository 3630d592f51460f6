/*
 * The promises of bal_ring_hash: spread by weight, few keys move when an
 * endpoint comes or goes, all gateways agree, and no endpoint is loaded over
 * its bound.
 */
#include "upstream/bal_ring_hash.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "balance_fixture.h"

enum { N_KEYS = 100000 };

static void test_bal_ring_hash__keeps_the_common_promises(void **state)
{
    (void)state;
    fixture_check_promises(&bal_ring_hash);
}

static void test_bal_ring_hash__spreads_evenly(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(10);
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    fixture_count(f, N_KEYS);
    fixture_assert_shares(f, N_KEYS, 25);
    fixture_fini(f);
}

static void test_bal_ring_hash__a_thousand_spread_evenly(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    fixture_count(f, 10 * N_KEYS);
    fixture_assert_shares(f, 10 * N_KEYS, 45);
    fixture_fini(f);
}

static void test_bal_ring_hash__shares_follow_the_weights(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(6);
    for (uint32_t i = 0; i < 6; i++) {
        f->eps[i].weight = 4 * i;
    }
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    fixture_count(f, N_KEYS);
    fixture_assert_shares(f, N_KEYS, 20);
    fixture_fini(f);
}

/* Removing one of n moves its own keys and at most 0.01 % of the others. */
static void test_bal_ring_hash__few_keys_move_when_one_goes(void **state)
{
    (void)state;
    for (size_t n = 5; n <= 50; n *= 10) {
        struct fixture *f = fixture_make(n);
        fixture_build(f, &bal_ring_hash, &fixture_settings);
        const struct slot **homes = fixture_homes(f, N_KEYS);
        const struct slot *gone = f->eps[n / 2].slot;
        unsigned n_own = 0;
        for (unsigned k = 0; k < N_KEYS; k++) {
            n_own += homes[k] == gone ? 1 : 0;
        }
        fixture_remove(f, n / 2);
        fixture_build(f, &bal_ring_hash, &fixture_settings);
        const double own = 100.0 * n_own / N_KEYS;
        const double moved = fixture_moved(f, homes, N_KEYS, gone);
        assert_true(moved >= own);
        assert_true(moved <= own + 0.01);
        mem_free(homes);
        fixture_fini(f);
    }
}

/* As when one goes, but the table stays: others keep their keys. */
static void test_bal_ring_hash__down_moves_only_its_own_keys(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(10);
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    const struct slot **homes = fixture_homes(f, N_KEYS);
    fixture_down(f, 4, true);
    for (unsigned k = 0; k < N_KEYS; k++) {
        struct balance_pick p = fixture_pick_key(f, k);
        const struct slot *now = f->eps[balance_pick(f->balance, &p)].slot;
        if (homes[k] == &f->slots[4]) {
            assert_string_equal(p.why, "ring_hash_next");
            f->n_picked[now - f->slots]++;
        } else {
            assert_ptr_equal(now, homes[k]);
            assert_string_equal(p.why, "ring_hash");
        }
    }
    /* The keys of the one that is down go to all the others. */
    for (size_t i = 0; i < 10; i++) {
        assert_in_range(f->n_picked[i], i == 4 ? 0 : 200, i == 4 ? 0 : 3000);
    }
    mem_free(homes);
    fixture_fini(f);
}

static void test_bal_ring_hash__gateways_that_share_nothing_agree(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(17);
    f->eps[3].weight = 5;
    struct fixture *other = mem_new_array(1, sizeof *other);
    fixture_weigh(other, 17, 1);
    other->eps[3].weight = 5;
    other->random = 99;
    other->cursor = (struct balance_cursor){.next = 8, .aux = 1};
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    fixture_build(other, &bal_ring_hash, &fixture_settings);
    for (unsigned k = 0; k < 10000; k++) {
        assert_int_equal(fixture_home(f, k), fixture_home(other, k));
    }
    /* Another seed is another table. */
    const struct balance_settings seeded = {.seed = 8};
    fixture_build(other, &bal_ring_hash, &seeded);
    unsigned n_same = 0;
    for (unsigned k = 0; k < 10000; k++) {
        n_same += fixture_home(f, k) == fixture_home(other, k) ? 1 : 0;
    }
    assert_in_range(n_same, 100, 3000);
    fixture_fini(f);
    fixture_fini(other);
    mem_free(other);
}

/* These never change: else an upgrade would move every key. */
static void test_bal_ring_hash__homes_are_what_they_were(void **state)
{
    (void)state;
    static const int homes[] = {3, 4, 0, 1, 6, 5, 5, 4, 0, 5, 0, 4,
                                5, 2, 6, 6, 2, 6, 4, 6, 5, 1, 2, 4};
    struct fixture *f = fixture_make(7);
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    for (unsigned k = 0; k < sizeof homes / sizeof homes[0]; k++) {
        assert_int_equal(fixture_home(f, k), homes[k]);
    }
    fixture_fini(f);
}

static void test_bal_ring_hash__load_never_exceeds_its_bound(void **state)
{
    (void)state;
    static const uint32_t percents[] = {100, 110, 125, 200};
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        const struct balance_settings settings = {
            .bounded_load_percent = percents[i],
        };
        struct fixture *f = fixture_make(12);
        f->eps[0].weight = 4;
        fixture_build(f, &bal_ring_hash, &settings);
        fixture_check_bound(f, 3000, 5, percents[i]);
        fixture_fini(f);
    }
}

static void test_bal_ring_hash__a_hot_key_overflows_and_says_so(void **state)
{
    (void)state;
    const struct balance_settings settings = {.bounded_load_percent = 125};
    struct fixture *f = fixture_make(10);
    fixture_build(f, &bal_ring_hash, &settings);
    struct balance_pick p = fixture_pick_key(f, 1);
    const int home = balance_pick(f->balance, &p);
    assert_string_equal(p.why, "ring_hash");
    atomic_store(&f->upstream.in_flight, 100);
    atomic_store(&f->slots[home].in_flight, 50);
    p = fixture_pick_key(f, 1);
    const int next = balance_pick(f->balance, &p);
    assert_int_not_equal(next, home);
    assert_string_equal(p.why, "ring_hash_bounded");
    /* The same next one each time: its cache warms up. */
    p = fixture_pick_key(f, 1);
    assert_int_equal(balance_pick(f->balance, &p), next);
    fixture_fini(f);
}

/* Filters may set a key that is no good hash. */
static void test_bal_ring_hash__small_numbers_spread_too(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(4);
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    fixture_count(f, 400);
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(f->n_picked[i], 50, 160);
    }
    fixture_fini(f);
}

/* So that its keys do not move twice when it is taken out for good. */
static void test_bal_ring_hash__down_moves_keys_as_removal_does(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(10);
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    fixture_down(f, 4, true);
    const struct slot **homes = fixture_homes(f, N_KEYS);
    fixture_remove(f, 4);
    fixture_build(f, &bal_ring_hash, &fixture_settings);
    assert_true(fixture_moved(f, homes, N_KEYS, &f->slots[4]) == 0);
    mem_free(homes);
    fixture_fini(f);
}

static void test_bal_ring_hash__points_are_sorted_and_found(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(50);
    f->eps[7].weight = 9;
    struct error err = {0};
    struct ring *r = ring_build(f->eps, f->n, &fixture_settings, &err);
    assert_int_equal(r->n_points, 58 * RING_POINTS_DEFAULT);
    for (uint32_t k = 1; k < r->n_points; k++) {
        assert_true(r->points[k - 1] < r->points[k]);
    }
    for (uint64_t k = 0; k < 20000; k++) {
        const uint64_t hash = sample_mix(k);
        const uint64_t point = ring_point(hash, 0);
        const uint32_t at = ring_find(r, hash);
        const uint32_t before = (at + r->n_points - 1) % r->n_points;
        assert_true(at == 0 || r->points[before] < point);
        assert_true(r->points[at] >= point ||
                    (at == 0 && r->points[before] < point));
        assert_int_equal(ring_home(r, hash), ring_owner(r->points[at]));
    }
    assert_int_equal(ring_find(r, 0), 0);
    assert_int_equal(ring_find(r, UINT64_MAX), 0);
    assert_int_equal(ring_find(r, r->points[9]), 9);
    ring_free(r);
}

static void test_bal_ring_hash__a_ring_of_any_weights_is_bounded(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    for (size_t i = 0; i < 1000; i++) {
        f->eps[i].weight = i == 0 ? 1 : 1000;
    }
    struct error err = {0};
    struct ring *r = ring_build(f->eps, f->n, &fixture_settings, &err);
    assert_in_range(r->n_points, RING_N_POINTS_MAX / 2,
                    RING_N_POINTS_MAX + 1000);
    ring_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bal_ring_hash__keeps_the_common_promises),
        cmocka_unit_test(test_bal_ring_hash__spreads_evenly),
        cmocka_unit_test(test_bal_ring_hash__a_thousand_spread_evenly),
        cmocka_unit_test(test_bal_ring_hash__shares_follow_the_weights),
        cmocka_unit_test(test_bal_ring_hash__few_keys_move_when_one_goes),
        cmocka_unit_test(test_bal_ring_hash__down_moves_only_its_own_keys),
        cmocka_unit_test(test_bal_ring_hash__gateways_that_share_nothing_agree),
        cmocka_unit_test(test_bal_ring_hash__homes_are_what_they_were),
        cmocka_unit_test(test_bal_ring_hash__load_never_exceeds_its_bound),
        cmocka_unit_test(test_bal_ring_hash__a_hot_key_overflows_and_says_so),
        cmocka_unit_test(test_bal_ring_hash__small_numbers_spread_too),
        cmocka_unit_test(test_bal_ring_hash__down_moves_keys_as_removal_does),
        cmocka_unit_test(test_bal_ring_hash__points_are_sorted_and_found),
        cmocka_unit_test(test_bal_ring_hash__a_ring_of_any_weights_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
