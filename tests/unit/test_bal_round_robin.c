/*
 * The promises of bal_round_robin: exact shares, spread over the round, each
 * worker from its own place, and what is out leaves its turns to all others.
 */
#include "upstream/bal_round_robin.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "balance_fixture.h"

static void test_bal_round_robin__keeps_the_common_promises(void **state)
{
    (void)state;
    fixture_check_promises(&bal_round_robin);
}

static void test_bal_round_robin__equal_ones_take_turns(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(3);
    for (size_t i = 0; i < 3; i++) {
        f->eps[i].weight = 700;
    }
    fixture_build(f, &bal_round_robin, &fixture_settings);
    struct round_robin *t =
        round_robin_build(f->eps, f->n, &fixture_settings, NULL);
    assert_int_equal(t->len, 3);
    round_robin_free(t);
    int last = fixture_home(f, 0);
    for (unsigned k = 0; k < 30; k++) {
        const int i = fixture_home(f, 0);
        assert_int_equal(i, (last + 1) % 3);
        last = i;
    }
    fixture_fini(f);
}

static void test_bal_round_robin__shares_are_exact_in_a_round(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(100);
    for (uint32_t i = 0; i < 100; i++) {
        f->eps[i].weight = 10 * (i % 7);
    }
    fixture_build(f, &bal_round_robin, &fixture_settings);
    unsigned total = 0;
    for (uint32_t i = 0; i < 100; i++) {
        total += i % 7;
    }
    fixture_count(f, 3 * total);
    fixture_assert_shares(f, 3 * total, 0);
    fixture_fini(f);
}

/* In any window of picks each has its share, to within 2.5. */
static void test_bal_round_robin__turns_are_spread(void **state)
{
    (void)state;
    static const uint32_t weights[] = {5, 1, 1, 9, 30, 3, 3, 3, 1, 2};
    enum { N = sizeof weights / sizeof weights[0], TOTAL = 58, LEN = 174 };
    int picks[LEN];
    struct fixture *f = fixture_make(N);
    for (size_t i = 0; i < N; i++) {
        f->eps[i].weight = weights[i];
    }
    fixture_build(f, &bal_round_robin, &fixture_settings);
    for (size_t k = 0; k < LEN; k++) {
        picks[k] = fixture_home(f, 0);
    }
    for (size_t from = 0; from < LEN; from++) {
        int n_seen[N] = {0};
        for (size_t to = from; to < LEN; to++) {
            n_seen[picks[to]]++;
            const double window = (double)(to - from + 1);
            for (size_t i = 0; i < N; i++) {
                const double share = window * weights[i] / TOTAL;
                assert_true(n_seen[i] - share < 2.5 && share - n_seen[i] < 2.5);
            }
        }
    }
    fixture_fini(f);
}

static void test_bal_round_robin__workers_start_apart(void **state)
{
    (void)state;
    enum { N_WORKERS = 4000 };
    struct fixture *f = fixture_make(4);
    fixture_build(f, &bal_round_robin, &fixture_settings);
    for (unsigned k = 0; k < N_WORKERS; k++) {
        f->cursor = (struct balance_cursor){0};
        f->n_picked[fixture_home(f, 0)]++;
    }
    fixture_assert_shares(f, N_WORKERS, 10);
    fixture_fini(f);
}

static void test_bal_round_robin__others_share_the_turns_evenly(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(4);
    fixture_build(f, &bal_round_robin, &fixture_settings);
    fixture_down(f, 1, true);
    fixture_count(f, 3000);
    assert_int_equal(f->n_picked[0], 1000);
    assert_int_equal(f->n_picked[2], 1000);
    assert_int_equal(f->n_picked[3], 1000);
    fixture_fini(f);
}

static void test_bal_round_robin__a_long_run_that_is_down_is_left(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(3);
    f->eps[0].weight = 1000;
    f->eps[2].weight = 3;
    fixture_build(f, &bal_round_robin, &fixture_settings);
    fixture_down(f, 0, true);
    fixture_count(f, 10000);
    assert_int_equal(f->n_picked[0], 0);
    assert_in_range(f->n_picked[1], 2200, 2800);
    fixture_fini(f);
}

static void test_bal_round_robin__a_shorter_table_takes_the_cursor(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(2);
    f->cursor = (struct balance_cursor){.next = UINT64_MAX, .aux = 1};
    fixture_build(f, &bal_round_robin, &fixture_settings);
    fixture_count(f, 10);
    fixture_assert_shares(f, 10, 0);
    fixture_fini(f);
}

static void
test_bal_round_robin__a_thousand_odd_weights_are_bounded(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    for (uint32_t i = 0; i < 1000; i++) {
        f->eps[i].weight = 1 + i;
    }
    struct round_robin *t =
        round_robin_build(f->eps, f->n, &fixture_settings, NULL);
    assert_in_range(t->len, ROUND_ROBIN_LEN_MAX * 9 / 10,
                    ROUND_ROBIN_LEN_MAX + 1000);
    for (uint32_t k = 0; k < t->len; k++) {
        f->n_picked[t->order[k]]++;
    }
    for (unsigned i = 0; i < 1000; i++) {
        const double share = (double)t->len * (1 + i) / 500500;
        assert_in_range(f->n_picked[i], 1, (unsigned)(share * 1.05) + 1);
        assert_true(f->n_picked[i] > share - 2);
    }
    round_robin_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bal_round_robin__keeps_the_common_promises),
        cmocka_unit_test(test_bal_round_robin__equal_ones_take_turns),
        cmocka_unit_test(test_bal_round_robin__shares_are_exact_in_a_round),
        cmocka_unit_test(test_bal_round_robin__turns_are_spread),
        cmocka_unit_test(test_bal_round_robin__workers_start_apart),
        cmocka_unit_test(test_bal_round_robin__others_share_the_turns_evenly),
        cmocka_unit_test(test_bal_round_robin__a_long_run_that_is_down_is_left),
        cmocka_unit_test(
            test_bal_round_robin__a_shorter_table_takes_the_cursor),
        cmocka_unit_test(
            test_bal_round_robin__a_thousand_odd_weights_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
