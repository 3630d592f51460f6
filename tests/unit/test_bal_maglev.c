/*
 * The promises of bal_maglev: spread by weight, few keys move when an endpoint
 * comes or goes, all gateways agree, and no endpoint is loaded over its bound.
 */
#include "upstream/bal_maglev.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "balance_fixture.h"

enum { N_KEYS = 100000 };

static void test_bal_maglev__keeps_the_common_promises(void **state)
{
    (void)state;
    fixture_check_promises(&bal_maglev);
}

static void test_bal_maglev__spreads_evenly(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(10);
    fixture_build(f, &bal_maglev, &fixture_settings);
    fixture_count(f, N_KEYS);
    fixture_assert_shares(f, N_KEYS, 3);
    fixture_fini(f);
}

static void test_bal_maglev__a_thousand_spread_evenly(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    fixture_build(f, &bal_maglev, &fixture_settings);
    fixture_count(f, 10 * N_KEYS);
    fixture_assert_shares(f, 10 * N_KEYS, 20);
    fixture_fini(f);
}

static void test_bal_maglev__shares_follow_the_weights(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(6);
    for (uint32_t i = 0; i < 6; i++) {
        f->eps[i].weight = 4 * i;
    }
    fixture_build(f, &bal_maglev, &fixture_settings);
    fixture_count(f, N_KEYS);
    fixture_assert_shares(f, N_KEYS, 3);
    fixture_fini(f);
}

/* Removing one of n moves its own keys and at most 4.0 % of the others. */
static void test_bal_maglev__few_keys_move_when_one_goes(void **state)
{
    (void)state;
    for (size_t n = 5; n <= 50; n *= 10) {
        struct fixture *f = fixture_make(n);
        fixture_build(f, &bal_maglev, &fixture_settings);
        const struct slot **homes = fixture_homes(f, N_KEYS);
        const struct slot *gone = f->eps[n / 2].slot;
        unsigned n_own = 0;
        for (unsigned k = 0; k < N_KEYS; k++) {
            n_own += homes[k] == gone ? 1 : 0;
        }
        fixture_remove(f, n / 2);
        fixture_build(f, &bal_maglev, &fixture_settings);
        const double own = 100.0 * n_own / N_KEYS;
        const double moved = fixture_moved(f, homes, N_KEYS, gone);
        assert_true(moved >= own);
        assert_true(moved <= own + 4.0);
        mem_free(homes);
        fixture_fini(f);
    }
}

/* As when one goes, but the table stays: others keep their keys. */
static void test_bal_maglev__down_moves_only_its_own_keys(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(10);
    fixture_build(f, &bal_maglev, &fixture_settings);
    const struct slot **homes = fixture_homes(f, N_KEYS);
    fixture_down(f, 4, true);
    for (unsigned k = 0; k < N_KEYS; k++) {
        struct balance_pick p = fixture_pick_key(f, k);
        const struct slot *now = f->eps[balance_pick(f->balance, &p)].slot;
        if (homes[k] == &f->slots[4]) {
            assert_string_equal(p.why, "maglev_next");
            f->n_picked[now - f->slots]++;
        } else {
            assert_ptr_equal(now, homes[k]);
            assert_string_equal(p.why, "maglev");
        }
    }
    /* The keys of the one that is down go to all the others. */
    for (size_t i = 0; i < 10; i++) {
        assert_in_range(f->n_picked[i], i == 4 ? 0 : 200, i == 4 ? 0 : 3000);
    }
    mem_free(homes);
    fixture_fini(f);
}

static void test_bal_maglev__gateways_that_share_nothing_agree(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(17);
    f->eps[3].weight = 5;
    struct fixture *other = mem_new_array(1, sizeof *other);
    fixture_weigh(other, 17, 1);
    other->eps[3].weight = 5;
    other->random = 99;
    other->cursor = (struct balance_cursor){.next = 8, .aux = 1};
    fixture_build(f, &bal_maglev, &fixture_settings);
    fixture_build(other, &bal_maglev, &fixture_settings);
    for (unsigned k = 0; k < 10000; k++) {
        assert_int_equal(fixture_home(f, k), fixture_home(other, k));
    }
    /* Another seed is another table. */
    const struct balance_settings seeded = {.seed = 8};
    fixture_build(other, &bal_maglev, &seeded);
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
static void test_bal_maglev__homes_are_what_they_were(void **state)
{
    (void)state;
    static const int homes[] = {4, 2, 5, 4, 4, 1, 2, 5, 3, 3, 5, 3,
                                4, 4, 5, 1, 2, 4, 6, 2, 5, 6, 0, 5};
    const struct balance_settings set = {.seed = 7, .table_size = 65537};
    struct fixture *f = fixture_make(7);
    fixture_build(f, &bal_maglev, &set);
    for (unsigned k = 0; k < sizeof homes / sizeof homes[0]; k++) {
        assert_int_equal(fixture_home(f, k), homes[k]);
    }
    fixture_fini(f);
}

static void test_bal_maglev__load_never_exceeds_its_bound(void **state)
{
    (void)state;
    static const uint32_t percents[] = {100, 110, 125, 200};
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        const struct balance_settings settings = {
            .bounded_load_percent = percents[i],
        };
        struct fixture *f = fixture_make(12);
        f->eps[0].weight = 4;
        fixture_build(f, &bal_maglev, &settings);
        fixture_check_bound(f, 3000, 5, percents[i]);
        fixture_fini(f);
    }
}

static void test_bal_maglev__a_hot_key_overflows_and_says_so(void **state)
{
    (void)state;
    const struct balance_settings settings = {.bounded_load_percent = 125};
    struct fixture *f = fixture_make(10);
    fixture_build(f, &bal_maglev, &settings);
    struct balance_pick p = fixture_pick_key(f, 1);
    const int home = balance_pick(f->balance, &p);
    assert_string_equal(p.why, "maglev");
    atomic_store(&f->upstream.in_flight, 100);
    atomic_store(&f->slots[home].in_flight, 50);
    p = fixture_pick_key(f, 1);
    const int next = balance_pick(f->balance, &p);
    assert_int_not_equal(next, home);
    assert_string_equal(p.why, "maglev_bounded");
    /* The same next one each time: its cache warms up. */
    p = fixture_pick_key(f, 1);
    assert_int_equal(balance_pick(f->balance, &p), next);
    fixture_fini(f);
}

/* Filters may set a key that is no good hash. */
static void test_bal_maglev__small_numbers_spread_too(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(4);
    fixture_build(f, &bal_maglev, &fixture_settings);
    fixture_count(f, 400);
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(f->n_picked[i], 50, 160);
    }
    fixture_fini(f);
}

static void test_bal_maglev__keys_of_the_down_go_by_weight(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(5);
    for (uint32_t i = 0; i < 5; i++) {
        f->eps[i].weight = 1 + i;
    }
    fixture_build(f, &bal_maglev, &fixture_settings);
    fixture_down(f, 4, true);
    fixture_count(f, N_KEYS);
    for (uint32_t i = 0; i < 4; i++) {
        const unsigned share = N_KEYS * (1 + i) / 10;
        assert_in_range(f->n_picked[i], share - share / 20, share + share / 20);
    }
    fixture_fini(f);
}

static void test_bal_maglev__the_table_is_full_and_even(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    struct error err = {0};
    struct maglev *t = maglev_build(f->eps, f->n, &fixture_settings, &err);
    assert_int_equal(t->size, 655373);
    for (uint32_t k = 0; k < t->size; k++) {
        assert_in_range(t->slots[k], 0, 999);
        f->n_picked[t->slots[k]]++;
    }
    for (size_t i = 0; i < 1000; i++) {
        assert_in_range(f->n_picked[i], 655, 656);
    }
    maglev_free(t);
}

static void test_bal_maglev__small_weights_get_a_slot(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    for (size_t i = 0; i < 999; i++) {
        f->eps[i].weight = 1000;
    }
    f->eps[500].weight = 0;
    struct error err = {0};
    struct maglev *t = maglev_build(f->eps, f->n, &fixture_settings, &err);
    for (uint32_t k = 0; k < t->size; k++) {
        f->n_picked[t->slots[k]]++;
    }
    assert_int_equal(f->n_picked[999], 1);
    assert_int_equal(f->n_picked[500], 0);
    maglev_free(t);
}

static void test_bal_maglev__the_size_grows_in_one_step(void **state)
{
    (void)state;
    assert_int_equal(maglev_size_default(1), 655373);
    assert_int_equal(maglev_size_default(6553), 655373);
    assert_int_equal(maglev_size_default(6554), 6553577);
    assert_int_equal(maglev_size_default(65536), 6553577);
}

/* Else a thousand light ones would round up together at its cost. */
static void test_bal_maglev__a_heavy_one_has_its_share(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    f->eps[500].weight = 1000;
    struct error err = {0};
    for (uint32_t size = 60000; size < 70000; size += 500) {
        const struct balance_settings settings = {.table_size = size};
        struct maglev *t = maglev_build(f->eps, f->n, &settings, &err);
        unsigned n_own = 0;
        for (uint32_t k = 0; k < t->size; k++) {
            n_own += t->slots[k] == 500 ? 1 : 0;
        }
        const unsigned share = (unsigned)(t->size * UINT64_C(1000) / 1999);
        assert_in_range(n_own, share - 40, share + 40);
        maglev_free(t);
    }
}

static void test_bal_maglev__the_size_is_a_prime(void **state)
{
    (void)state;
    assert_int_equal(maglev_prime(1), 2);
    assert_int_equal(maglev_prime(4), 5);
    assert_int_equal(maglev_prime(65536), 65537);
    assert_int_equal(maglev_prime(655360), 655373);
    struct fixture *f = fixture_make(4);
    for (uint32_t size = 3; size < 40; size++) {
        const struct balance_settings settings = {.table_size = size};
        struct error err = {0};
        struct maglev *t = maglev_build(f->eps, f->n, &settings, &err);
        assert_true((t == NULL) == (size == 3));
        error_fini(&err);
        if (t != NULL) {
            maglev_free(t);
        }
    }
}

static void test_bal_maglev__a_table_of_no_use_is_refused(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(100);
    struct error err = {0};
    const struct balance_settings small = {.table_size = 90};
    assert_null(maglev_build(f->eps, f->n, &small, &err));
    assert_non_null(strstr(error_text(&err), "100 endpoints do not fit"));
    const struct balance_settings large = {.table_size = UINT32_MAX};
    assert_null(maglev_build(f->eps, f->n, &large, &err));
    assert_non_null(strstr(error_text(&err), "over the limit"));
    error_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bal_maglev__keeps_the_common_promises),
        cmocka_unit_test(test_bal_maglev__spreads_evenly),
        cmocka_unit_test(test_bal_maglev__a_thousand_spread_evenly),
        cmocka_unit_test(test_bal_maglev__shares_follow_the_weights),
        cmocka_unit_test(test_bal_maglev__few_keys_move_when_one_goes),
        cmocka_unit_test(test_bal_maglev__down_moves_only_its_own_keys),
        cmocka_unit_test(test_bal_maglev__gateways_that_share_nothing_agree),
        cmocka_unit_test(test_bal_maglev__homes_are_what_they_were),
        cmocka_unit_test(test_bal_maglev__load_never_exceeds_its_bound),
        cmocka_unit_test(test_bal_maglev__a_hot_key_overflows_and_says_so),
        cmocka_unit_test(test_bal_maglev__small_numbers_spread_too),
        cmocka_unit_test(test_bal_maglev__keys_of_the_down_go_by_weight),
        cmocka_unit_test(test_bal_maglev__the_table_is_full_and_even),
        cmocka_unit_test(test_bal_maglev__small_weights_get_a_slot),
        cmocka_unit_test(test_bal_maglev__the_size_grows_in_one_step),
        cmocka_unit_test(test_bal_maglev__a_heavy_one_has_its_share),
        cmocka_unit_test(test_bal_maglev__the_size_is_a_prime),
        cmocka_unit_test(test_bal_maglev__a_table_of_no_use_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
