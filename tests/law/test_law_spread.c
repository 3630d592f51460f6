/*
 * The laws of spread: how far the busiest endpoint is over the mean, and that
 * weights are honoured to 1 %. law.h derives the bounds of what is random.
 *
 * ring_hash, P points for each unit of weight: the bound of a ring's shares
 * times that of keys at random, about 1 + sqrt(2 ln n / P).
 * maglev, M slots: slots are dealt out in turn, M/n each rounded up or down,
 * so the table's part is 1 + n/M, times that of keys at random.
 * round_robin: rounding alone: after k picks of a worker each endpoint is
 * within 1 of k times its share, and exact at the end of a round.
 * random, and least_request while all are idle: that of draws at random.
 */
#include "upstream/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "law.h"

static const struct balance_settings settings = {.seed = 7};

static const size_t sizes[] = {10, 100, 1000, LAW_N_ENDPOINTS};
enum { N_SIZES = sizeof sizes / sizeof sizes[0], RING_POINTS = 160 };

/* All of them for the most endpoints, fewer for few. */
static uint32_t spread_n_keys(size_t n)
{
    return n >= LAW_N_ENDPOINTS / 2 ? LAW_N_KEYS : LAW_N_KEYS / 5;
}

static double spread_table_ring(double n)
{
    return law_bound_ring(n, RING_POINTS);
}

static double spread_table_maglev(double n)
{
    return 1 + n / (n <= 6553 ? 655373 : 6553577);
}

static double spread_table_none(double n)
{
    (void)n;
    return 1;
}

static void spread_check(const struct balance_ops *ops, double (*table)(double))
{
    for (unsigned s = 0; s < N_SIZES; s++) {
        struct law *l = law_new(sizes[s]);
        law_build(l, ops, &settings);
        const uint32_t n_keys = spread_n_keys(l->n);
        uint32_t *counts = law_count(l, n_keys, (uint32_t)l->n);
        const double mean = (double)n_keys / (double)l->n;
        const double n = (double)l->n;
        const double bound = table(n) * law_bound_random(n, mean);
        const double got = law_max(counts, l->n) / mean;
        law_measured("spread %s, n %zu: max over mean %.3f, bound %.3f",
                     ops->name, l->n, got, bound);
        assert_true(got >= 1 && got <= bound);
        mem_free(counts);
        law_free(l);
    }
}

static void test_law_spread__ring_hash(void **state)
{
    (void)state;
    spread_check(&bal_ring_hash, spread_table_ring);
}

static void test_law_spread__maglev(void **state)
{
    (void)state;
    spread_check(&bal_maglev, spread_table_maglev);
}

static void test_law_spread__random(void **state)
{
    (void)state;
    spread_check(&bal_random, spread_table_none);
}

static void test_law_spread__least_request_while_idle(void **state)
{
    (void)state;
    spread_check(&bal_least_request, spread_table_none);
}

/* Weights 1, 2 and 4 in turn: 7 a round of three. */
static void spread_weigh(struct law *l)
{
    for (size_t i = 0; i < l->n; i++) {
        l->eps[i].weight = 1u << (i % 3);
    }
}

/* Exact at the end of each round, and never more than 1 from it. */
static void test_law_spread__round_robin_is_exact(void **state)
{
    (void)state;
    for (unsigned s = 0; s < N_SIZES; s++) {
        struct law *l = law_new(sizes[s] / 3 * 3);
        spread_weigh(l);
        law_build(l, &bal_round_robin, &settings);
        const uint32_t round = (uint32_t)law_weight(l);
        uint32_t *counts = mem_new_array(l->n, sizeof *counts);
        double worst = 0;
        for (uint32_t k = 1; k <= 20 * round; k++) {
            const int i = law_pick(l, 0);
            counts[i]++;
            const double due = (double)k * l->eps[i].weight / round;
            worst = fmax(worst, fabs(counts[i] - due));
        }
        for (size_t i = 0; i < l->n; i++) {
            assert_int_equal(counts[i], 20 * l->eps[i].weight);
        }
        law_measured("spread round_robin, n %zu: at most %.2f from its due",
                     l->n, worst);
        assert_true(worst <= 1 + 1e-9);
        mem_free(counts);
        law_free(l);
    }
}

/* Sums over the endpoints of one weight are within 1 % of their due. */
static void spread_check_weights(const struct balance_ops *ops, size_t n)
{
    struct law *l = law_new(n / 3 * 3);
    spread_weigh(l);
    law_build(l, ops, &settings);
    /* Chance alone is a sixth of 1 % for the lightest of that many. */
    const uint32_t n_keys = n > 1000 ? LAW_N_KEYS : 2000000;
    uint32_t *counts = law_count(l, n_keys, (uint32_t)l->n);
    double worst = 0;
    for (unsigned c = 0; c < 3; c++) {
        uint64_t got = 0;
        for (size_t i = c; i < l->n; i += 3) {
            got += counts[i];
        }
        const double due = (double)n_keys * (1u << c) / 7;
        worst = fmax(worst, fabs((double)got / due - 1));
    }
    law_measured("weights 1:2:4 %s, n %zu: off by %.2f %%, bound 1 %%",
                 ops->name, l->n, 100 * worst);
    assert_true(worst <= 0.01);
    mem_free(counts);
    law_free(l);
}

static void test_law_spread__weights_to_one_percent(void **state)
{
    (void)state;
    static const struct balance_ops *const all[] = {
        &bal_random, &bal_round_robin, &bal_least_request, &bal_maglev};
    for (unsigned k = 0; k < sizeof all / sizeof all[0]; k++) {
        spread_check_weights(all[k], 12);
        spread_check_weights(all[k], LAW_N_ENDPOINTS);
    }
    /* A ring's shares are random: to 1 % only in the sum of many points. */
    spread_check_weights(&bal_ring_hash, LAW_N_ENDPOINTS);
}

/* A maglev endpoint has its slots to one, whatever the mix of weights. */
static void test_law_spread__maglev_slots_follow_any_weights(void **state)
{
    (void)state;
    const struct balance_settings large = {.seed = 7, .table_size = 655373};
    struct law *l = law_new(60);
    for (size_t i = 0; i < l->n; i++) {
        l->eps[i].weight = 50 + law_below(l, 951);
    }
    law_build(l, &bal_maglev, &large);
    uint32_t *counts = law_count(l, LAW_N_KEYS, (uint32_t)l->n);
    const double per_unit = (double)LAW_N_KEYS / (double)law_weight(l);
    double worst = 0;
    for (size_t i = 0; i < l->n; i++) {
        const double due = per_unit * l->eps[i].weight;
        /* Of what keys at random leave: five deviations. */
        worst = fmax(worst, (fabs(counts[i] - due) - 5 * sqrt(due)) / due);
    }
    law_measured("weights 50..1000 maglev, n %zu: each within %.2f %% "
                 "and 5 deviations of the keys",
                 l->n, 100 * fmax(worst, 0));
    assert_true(worst <= 0.01);
    mem_free(counts);
    law_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_law_spread__ring_hash),
        cmocka_unit_test(test_law_spread__maglev),
        cmocka_unit_test(test_law_spread__random),
        cmocka_unit_test(test_law_spread__least_request_while_idle),
        cmocka_unit_test(test_law_spread__round_robin_is_exact),
        cmocka_unit_test(test_law_spread__weights_to_one_percent),
        cmocka_unit_test(test_law_spread__maglev_slots_follow_any_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
