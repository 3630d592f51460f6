/*
 * The law of bounded load: whoever gets a request, has after it no more than
 * ceil(f * w/W * all), where `all` counts every request in flight, this one
 * too. (Requests that end lower `all` and may leave an endpoint above it; it
 * gets no new one then.) There always is one below: the sum of the bounds is
 * at least f * all. Keys are skewed: one in four is the hottest one.
 */
#include "upstream/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "law.h"

#ifdef DAEMUN_CHECK_SLOW
enum { N_PER_ENDPOINT = 4, N_CHURN = 20000 };
#else
enum { N_PER_ENDPOINT = 10, N_CHURN = 1000000 };
#endif

/* Rank r with a chance of about 1/r, rank 0 one time in four. */
static uint64_t bounded_key(struct law *l)
{
    if (law_below(l, 4) == 0) {
        return 0;
    }
    return law_below(l, 1 + law_below(l, (uint32_t)(4 * l->n)));
}

/* Places one; returns its endpoint and checks the law. */
static uint32_t bounded_place(struct law *l, uint64_t total, uint32_t percent)
{
    const uint32_t i = (uint32_t)law_pick(l, bounded_key(l));
    slot_begin(l->eps[i].slot);
    slot_begin(&l->upstream);
    const uint64_t all = slot_in_flight(&l->upstream);
    const uint64_t bound =
        (all * percent * l->eps[i].weight + 100 * total - 1) / (100 * total);
    assert_in_range(slot_in_flight(l->eps[i].slot), 1, bound);
    return i;
}

static void bounded_check(const struct balance_ops *ops,
                          size_t n,
                          uint32_t n_churn,
                          uint32_t percent)
{
    const struct balance_settings settings = {
        .seed = 7,
        .bounded_load_percent = percent,
        .table_size = 65537,
    };
    struct law *l = law_new(n);
    for (size_t i = 0; i < n; i++) {
        l->eps[i].weight = 1 + (uint32_t)(i % 5);
    }
    const uint64_t total = law_weight(l);
    law_build(l, ops, &settings);
    const uint32_t n_held = (uint32_t)n * N_PER_ENDPOINT;
    uint32_t *held = mem_new_array(n_held, sizeof *held);
    for (uint32_t k = 0; k < n_held; k++) {
        held[k] = bounded_place(l, total, percent);
    }
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        const double due = (double)n_held * l->eps[i].weight / (double)total;
        most = fmax(most, ((double)slot_in_flight(l->eps[i].slot) - 1) / due);
    }
    for (uint32_t k = 0; k < n_churn; k++) {
        uint32_t *one = &held[law_below(l, n_held)];
        slot_end(l->eps[*one].slot);
        slot_end(&l->upstream);
        *one = bounded_place(l, total, percent);
    }
    law_measured("bounded load %u %%, %s, n %zu: %u held and %u exchanged, "
                 "most over its due %.3f before the last one",
                 percent, ops->name, n, n_held, n_churn, most);
    assert_true(most <= percent / 100.0);
    mem_free(held);
    law_free(l);
}

static void test_law_bounded__ring_hash(void **state)
{
    (void)state;
    bounded_check(&bal_ring_hash, 10, N_CHURN, 100);
    bounded_check(&bal_ring_hash, 100, N_CHURN, 125);
    bounded_check(&bal_ring_hash, 1000, N_CHURN / 10, 125);
    bounded_check(&bal_ring_hash, LAW_N_ENDPOINTS, N_CHURN / 100, 150);
}

static void test_law_bounded__maglev(void **state)
{
    (void)state;
    bounded_check(&bal_maglev, 10, N_CHURN, 100);
    bounded_check(&bal_maglev, 100, N_CHURN, 125);
    bounded_check(&bal_maglev, 1000, N_CHURN / 10, 125);
    bounded_check(&bal_maglev, LAW_N_ENDPOINTS, N_CHURN / 100, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_law_bounded__ring_hash),
        cmocka_unit_test(test_law_bounded__maglev),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
