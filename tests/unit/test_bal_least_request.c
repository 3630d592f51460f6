/*
 * The promises of bal_least_request: the least loaded for its weight of few,
 * close to it of many, and quiet endpoints share by weight.
 */
#include "upstream/bal_least_request.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "balance_fixture.h"

static void test_bal_least_request__keeps_the_common_promises(void **state)
{
    (void)state;
    fixture_check_promises(&bal_least_request);
}

/* Picks and holds `n` requests. */
static void least_request_hold(struct fixture *f, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        const int i = fixture_home(f, 0);
        assert_in_range(i, 0, f->n - 1);
        slot_begin(&f->slots[i]);
    }
}

static void test_bal_least_request__few_are_exact(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(8);
    fixture_build(f, &bal_least_request, &fixture_settings);
    for (unsigned i = 0; i < 8; i++) {
        atomic_store(&f->slots[i].in_flight, 10 - i);
    }
    assert_int_equal(fixture_home(f, 0), 7);
    atomic_store(&f->slots[7].in_flight, 100);
    assert_int_equal(fixture_home(f, 0), 6);
    for (unsigned i = 0; i < 8; i++) {
        atomic_store(&f->slots[i].in_flight, 0);
    }
    least_request_hold(f, 800);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(slot_in_flight(&f->slots[i]), 100);
    }
    fixture_fini(f);
}

static void test_bal_least_request__load_is_by_weight(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(4);
    for (uint32_t i = 0; i < 4; i++) {
        f->eps[i].weight = 1 + 3 * i;
    }
    fixture_build(f, &bal_least_request, &fixture_settings);
    least_request_hold(f, 2200);
    for (unsigned i = 0; i < 4; i++) {
        const unsigned share = 100 * f->eps[i].weight;
        assert_in_range(slot_in_flight(&f->slots[i]), share - 2, share + 2);
    }
    fixture_fini(f);
}

static void test_bal_least_request__idle_ones_share_by_weight(void **state)
{
    (void)state;
    for (size_t n = 3; n <= 30; n += 27) {
        struct fixture *f = fixture_make(n);
        for (uint32_t i = 0; i < n; i++) {
            f->eps[i].weight = 1 + i % 3;
        }
        fixture_build(f, &bal_least_request, &fixture_settings);
        fixture_count(f, 200000);
        fixture_assert_shares(f, 200000, 8);
        fixture_fini(f);
    }
}

static void test_bal_least_request__of_many_the_load_stays_close(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1000);
    fixture_build(f, &bal_least_request, &fixture_settings);
    least_request_hold(f, 50000);
    for (size_t i = 0; i < 1000; i++) {
        /* Two choices: about ln ln n over the mean; one would reach 75. */
        assert_in_range(slot_in_flight(&f->slots[i]), 40, 56);
    }
    fixture_fini(f);
}

static void
test_bal_least_request__of_many_the_slow_one_is_shunned(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(20);
    fixture_build(f, &bal_least_request, &fixture_settings);
    atomic_store(&f->slots[3].in_flight, 1000);
    fixture_count(f, 100000);
    assert_int_equal(f->n_picked[3], 0);
    fixture_fini(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bal_least_request__keeps_the_common_promises),
        cmocka_unit_test(test_bal_least_request__few_are_exact),
        cmocka_unit_test(test_bal_least_request__load_is_by_weight),
        cmocka_unit_test(test_bal_least_request__idle_ones_share_by_weight),
        cmocka_unit_test(test_bal_least_request__of_many_the_load_stays_close),
        cmocka_unit_test(
            test_bal_least_request__of_many_the_slow_one_is_shunned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
