/*
 * The laws of keys that are not there. A minted cookie is 128 bits of a
 * worker's own numbers: the clients that get one spread over the endpoints as
 * chance does, which Pearson's chi-square says. With k = n - 1 it is at most
 * k + 2 sqrt(k x) + 2 x but for a chance of exp(-x) (Laurent and Massart 2000);
 * x = 16, one run in nine million, as workers draw other numbers in each run.
 * A request without a key goes where the fallback says.
 */
#include "base/loop.h"
#include "upstream/balance.h"
#include "upstream/hash_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "law.h"

#ifdef DAEMUN_CHECK_SLOW
enum { N_CLIENTS = 100000 };
#else
enum { N_CLIENTS = 2000000 };
#endif
enum { N_WORKERS = 4 };

static const struct balance_settings settings = {.seed = 7};

static double key_chi_square(const uint32_t *counts, size_t n, double mean)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (counts[i] - mean) * (counts[i] - mean) / mean;
    }
    return sum;
}

static double key_bound(size_t n)
{
    const double k = (double)n - 1;
    return k + 2 * sqrt(k * 16) + 2 * 16;
}

/* The hash of a request whose only cookie is to be minted from `l`. */
static uint64_t key_minted(const struct hash_key *key, struct loop *l)
{
    const struct head head = {0};
    char value[33];
    uint64_t hash = 0;
    snprintf(value, sizeof value, "%016llx%016llx",
             (unsigned long long)loop_random(l),
             (unsigned long long)loop_random(l));
    const struct hash_input in = {
        .head = &head,
        .minted_name = STR("lb"),
        .minted_value = str_from(value),
    };
    assert_true(hash_key_compute(key, &in, &hash));
    return hash;
}

static void key_check_minted(const struct balance_ops *ops, size_t n)
{
    struct law *l = law_new(n);
    struct loop *loops[N_WORKERS];
    struct hash_key key = {.seed = 3};
    struct error err = {0};
    assert_true(hash_key_add(&key, STR("cookie:lb"), &err));
    law_build(l, ops, &settings);
    uint32_t *counts = mem_new_array(n, sizeof *counts);
    for (unsigned w = 0; w < N_WORKERS; w++) {
        loops[w] = loop_new("law", w);
        for (unsigned k = 0; k < N_CLIENTS / N_WORKERS; k++) {
            struct balance_pick p = {
                .has_hash = true,
                .hash = key_minted(&key, loops[w]),
                .cursor = &l->cursor,
            };
            counts[balance_pick(l->balance, &p)]++;
        }
        loop_free(loops[w]);
    }
    const double chi = key_chi_square(counts, n, N_CLIENTS / (double)n);
    const double bound = key_bound(n);
    law_measured("minted cookies, %s, n %zu, %d clients of %d workers: "
                 "chi-square %.1f, bound %.1f",
                 ops->name, n, N_CLIENTS, N_WORKERS, chi, bound);
    assert_true(chi <= bound);
    mem_free(counts);
    law_free(l);
}

static void test_law_key__minted_cookies_spread(void **state)
{
    (void)state;
    key_check_minted(&bal_maglev, 3);
    key_check_minted(&bal_maglev, 10);
    key_check_minted(&bal_maglev, 100);
}

static void key_check_fallback(const struct balance_ops *ops,
                               const struct balance_ops *fallback)
{
    enum { N = 50, N_PICKS = 100000 };
    struct law *l = law_new(N);
    uint32_t counts[N] = {0};
    struct error err = {0};
    l->balance = balance_build(ops, fallback, l->eps, N, &settings, &err);
    assert_string_equal(error_text(&err), "");
    for (unsigned k = 0; k < N_PICKS; k++) {
        struct balance_pick p = {
            .hash = 1, /* left over: it must not decide */
            .random = law_random(l),
            .cursor = &l->cursor,
        };
        counts[balance_pick(l->balance, &p)]++;
        assert_string_equal(p.why, "fallback");
    }
    const double chi = key_chi_square(counts, N, N_PICKS / (double)N);
    law_measured("no key, %s falls back to %s: chi-square %.1f", ops->name,
                 fallback->name, chi);
    if (fallback == &bal_round_robin) {
        assert_true(chi < 1e-9);
    } else {
        assert_true(chi > 0 && chi <= key_bound(N));
    }
    law_free(l);
}

static void test_law_key__a_missing_one_falls_back(void **state)
{
    (void)state;
    static const struct balance_ops *const fallbacks[] = {
        &bal_round_robin, &bal_random, &bal_least_request};
    for (unsigned k = 0; k < 3; k++) {
        key_check_fallback(&bal_maglev, fallbacks[k]);
        key_check_fallback(&bal_ring_hash, fallbacks[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_law_key__minted_cookies_spread),
        cmocka_unit_test(test_law_key__a_missing_one_falls_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
