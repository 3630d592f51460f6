/*
 * The promises of bal_random: shares by weight, without state.
 */
#include "upstream/bal_random.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "balance_fixture.h"

static void test_bal_random__keeps_the_common_promises(void **state)
{
    (void)state;
    fixture_check_promises(&bal_random);
}

static void test_bal_random__shares_follow_the_weights(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(10);
    for (uint32_t i = 0; i < 10; i++) {
        f->eps[i].weight = i * i;
    }
    fixture_build(f, &bal_random, &fixture_settings);
    fixture_count(f, 1000000);
    fixture_assert_shares(f, 1000000, 5);
    fixture_fini(f);
}

static void test_bal_random__a_thousand_share_evenly(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    fixture_build(f, &bal_random, &fixture_settings);
    fixture_count(f, 1000000);
    /* 5 standard deviations of 1000. */
    fixture_assert_shares(f, 1000000, 16);
    fixture_fini(f);
}

static void test_bal_random__the_rest_share_by_weight(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(5);
    f->eps[0].weight = 1000;
    f->eps[1].weight = 1000;
    f->eps[2].weight = 1000;
    f->eps[3].weight = 2;
    fixture_build(f, &bal_random, &fixture_settings);
    for (size_t i = 0; i < 3; i++) {
        fixture_down(f, i, true);
    }
    fixture_count(f, 30000);
    assert_in_range(f->n_picked[3], 19500, 20500);
    assert_in_range(f->n_picked[4], 9500, 10500);
    fixture_fini(f);
}

static void test_bal_random__leaves_no_trace(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(50);
    fixture_build(f, &bal_random, &fixture_settings);
    struct balance_pick p = fixture_pick(f);
    struct balance_pick q = p;
    assert_int_equal(balance_pick(f->balance, &p),
                     balance_pick(f->balance, &q));
    assert_int_equal(f->cursor.next, 0);
    assert_int_equal(f->cursor.aux, 0);
    fixture_fini(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bal_random__keeps_the_common_promises),
        cmocka_unit_test(test_bal_random__shares_follow_the_weights),
        cmocka_unit_test(test_bal_random__a_thousand_share_evenly),
        cmocka_unit_test(test_bal_random__the_rest_share_by_weight),
        cmocka_unit_test(test_bal_random__leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
