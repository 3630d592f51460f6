/*
 * The promises of sample: shares follow the weights, weight 0 is never drawn,
 * and a range is hit evenly from end to end.
 */
#include "upstream/sample.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_sample__shares_follow_the_weights(void **state)
{
    (void)state;
    enum { N = 6, N_DRAWS = 1000000 };
    const uint32_t weights[N] = {1, 0, 1000, 7, 0, 300};
    unsigned n_drawn[N] = {0};
    struct sample *s = sample_build(weights, N);
    for (uint64_t k = 0; k < N_DRAWS; k++) {
        n_drawn[sample_draw(s, sample_mix(k))]++;
    }
    for (unsigned i = 0; i < N; i++) {
        const double expected = (double)N_DRAWS * weights[i] / 1308;
        const double slack = 0.01 * expected + (weights[i] == 0 ? 0 : 100);
        assert_true((double)n_drawn[i] >= expected - slack);
        assert_true((double)n_drawn[i] <= expected + slack);
    }
    mem_free(s);
}

static void test_sample__columns_add_up(void **state)
{
    (void)state;
    enum { N = 1000 };
    static uint32_t weights[N];
    static double shares[N];
    double total = 0;
    for (unsigned i = 0; i < N; i++) {
        weights[i] = (uint32_t)(sample_mix(i) % 1001);
        total += weights[i];
    }
    struct sample *s = sample_build(weights, N);
    for (unsigned i = 0; i < N; i++) {
        const double own = s->cells[i].threshold / 4294967296.0;
        shares[i] += own / N;
        shares[s->cells[i].other] += (1 - own) / N;
    }
    for (unsigned i = 0; i < N; i++) {
        const double off = shares[i] - weights[i] / total;
        assert_true(off < 1e-6 && off > -1e-6);
    }
    mem_free(s);
}

static void test_sample__no_weight_no_table(void **state)
{
    (void)state;
    const uint32_t weights[3] = {0, 0, 0};
    assert_null(sample_build(weights, 3));
    assert_null(sample_build(weights, 0));
}

static void test_sample__one_member_is_always_drawn(void **state)
{
    (void)state;
    const uint32_t weights[3] = {0, 5, 0};
    struct sample *s = sample_build(weights, 3);
    assert_int_equal(sample_draw(s, 0), 1);
    assert_int_equal(sample_draw(s, UINT64_MAX), 1);
    for (uint64_t k = 0; k < 10000; k++) {
        assert_int_equal(sample_draw(s, sample_mix(k)), 1);
    }
    mem_free(s);
}

static void test_sample__range_covers_all(void **state)
{
    (void)state;
    assert_int_equal(sample_range(0, 10), 0);
    assert_int_equal(sample_range(UINT64_MAX, 10), 9);
    assert_int_equal(sample_range(UINT64_MAX, 1), 0);
    assert_int_equal(sample_range(UINT64_C(1) << 63, 10), 5);
    assert_int_equal(sample_range(UINT64_MAX, UINT64_MAX), UINT64_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample__shares_follow_the_weights),
        cmocka_unit_test(test_sample__columns_add_up),
        cmocka_unit_test(test_sample__no_weight_no_table),
        cmocka_unit_test(test_sample__one_member_is_always_drawn),
        cmocka_unit_test(test_sample__range_covers_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
