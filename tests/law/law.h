/*
 * law: an upstream of up to 10,000 endpoints on the heap, with slots of their
 * own, for tests that prove laws by simulation. Included by a test after
 * cmocka.h. Sanitizer builds run the same laws on fewer keys and endpoints.
 * Invariant: ids are sorted, as every caller of balance_build has them; random
 * numbers are the same in each run, so that a law holds always or never.
 */
#ifndef DAEMUN_TESTS_LAW_H
#define DAEMUN_TESTS_LAW_H

#include "base/mem.h"
#include "upstream/balance.h"
#include "upstream/sample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#ifdef DAEMUN_CHECK_SLOW
enum { LAW_N_KEYS = 200000, LAW_N_ENDPOINTS = 1000 };
#else
enum { LAW_N_KEYS = 10000000, LAW_N_ENDPOINTS = 10000 };
#endif

/* How often a law may fail by chance, were the seeds drawn anew. */
#define LAW_CHANCE 1e-4

enum { LAW_ID_BYTES = 40 };

struct law {
    struct balance_endpoint *eps;
    char (*ids)[LAW_ID_BYTES];
    struct slot *slots;
    struct slot upstream;
    struct balance_cursor cursor;
    struct balance *balance;
    size_t n;
    uint64_t random;
};

/* A line with a figure: the runner shows it, docs/balancing.md quotes it. */
static inline __attribute__((format(printf, 1, 2))) void
law_measured(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("measured: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

/* n endpoints of weight 1. */
static inline struct law *law_new(size_t n)
{
    struct law *l = mem_new_lines(1, sizeof *l);
    l->n = n;
    l->random = 88172645463325252u;
    l->eps = mem_new_array(n, sizeof *l->eps);
    l->ids = mem_new_array(n, sizeof *l->ids);
    l->slots = mem_new_lines(n, sizeof *l->slots);
    for (size_t i = 0; i < n; i++) {
        snprintf(l->ids[i], sizeof l->ids[i], "10.%03zu.%03zu.%03zu:8080",
                 i >> 16, i >> 8 & 255, i & 255);
        l->eps[i] = (struct balance_endpoint){
            .id = str_from(l->ids[i]),
            .weight = 1,
            .slot = &l->slots[i],
        };
    }
    return l;
}

static inline void law_free(struct law *l)
{
    balance_free(l->balance);
    mem_free(l->slots);
    mem_free(l->ids);
    mem_free(l->eps);
    mem_free(l);
}

static inline void law_build(struct law *l,
                             const struct balance_ops *ops,
                             const struct balance_settings *settings)
{
    struct error err = {0};
    balance_free(l->balance);
    l->balance =
        balance_build(ops, &bal_round_robin, l->eps, l->n, settings, &err);
    assert_string_equal(error_text(&err), "");
}

/* xorshift64*. */
static inline uint64_t law_random(struct law *l)
{
    l->random ^= l->random >> 12;
    l->random ^= l->random << 25;
    l->random ^= l->random >> 27;
    return l->random * UINT64_C(2685821657736338717);
}

static inline uint32_t law_below(struct law *l, uint32_t n)
{
    return (uint32_t)sample_range(law_random(l), n);
}

/* Where key number `k` goes; each number stands for a hash of a key. */
static inline int law_pick(struct law *l, uint64_t k)
{
    struct balance_pick p = {
        .has_hash = true,
        .hash = sample_mix(k ^ UINT64_C(0x5851f42d4c957f2d)),
        .random = law_random(l),
        .cursor = &l->cursor,
        .upstream = &l->upstream,
    };
    const int i = balance_pick(l->balance, &p);
    assert_in_range(i, 0, l->n - 1);
    return i;
}

/* The slot is the endpoint's name that survives removals. */
static inline uint32_t law_home(struct law *l, uint64_t k)
{
    return (uint32_t)(l->eps[law_pick(l, k)].slot - l->slots);
}

static inline uint32_t *law_homes(struct law *l, uint32_t n_keys)
{
    uint32_t *homes = mem_new_array(n_keys, sizeof *homes);
    for (uint32_t k = 0; k < n_keys; k++) {
        homes[k] = law_home(l, k);
    }
    return homes;
}

/* How many of n_keys picks each slot had. */
static inline uint32_t *
law_count(struct law *l, uint32_t n_keys, uint32_t n_slots)
{
    uint32_t *counts = mem_new_array(n_slots, sizeof *counts);
    for (uint32_t k = 0; k < n_keys; k++) {
        counts[law_home(l, k)]++;
    }
    return counts;
}

static inline uint32_t law_max(const uint32_t *counts, size_t n)
{
    uint32_t max = 0;
    for (size_t i = 0; i < n; i++) {
        max = counts[i] > max ? counts[i] : max;
    }
    return max;
}

static inline uint64_t law_weight(const struct law *l)
{
    uint64_t total = 0;
    for (size_t i = 0; i < l->n; i++) {
        total += l->eps[i].weight;
    }
    return total;
}

static inline void law_remove(struct law *l, size_t i)
{
    memmove(&l->eps[i], &l->eps[i + 1], (l->n - i - 1) * sizeof l->eps[0]);
    l->n--;
}

/* The x > 0 where the rising `f(x) * scale` reaches `level`. */
static inline double law_solve(double (*f)(double), double scale, double level)
{
    double low = 0;
    double high = 1;
    while (f(high) * scale < level) {
        high *= 2;
    }
    for (unsigned k = 0; k < 60; k++) {
        const double mid = (low + high) / 2;
        *(f(mid) * scale < level ? &low : &high) = mid;
    }
    return high;
}

static inline double law_poisson_rate(double x)
{
    return (1 + x) * log1p(x) - x;
}

static inline double law_gamma_rate(double x)
{
    return x - log1p(x);
}

/*
 * Most that the fullest of n bins has over the mean, when each bin's balls are
 * counted out at random: Chernoff's bound for a sum of independent draws of
 * mean m, P(count > (1+x) m) <= exp(-m ((1+x) ln(1+x) - x)), over n bins.
 */
static inline double law_bound_random(double n, double mean)
{
    return 1 + law_solve(law_poisson_rate, mean, log(n / LAW_CHANCE));
}

/*
 * Most that the longest of n shares of a ring has over the mean, when a share
 * is the sum of m arcs between points at random places. N arcs are like N
 * exponential waiting times divided by their sum, so a share is a sum of m of
 * them: P(share > (1+x) m) <= exp(-m (x - ln(1+x))), over n shares.
 */
static inline double law_bound_ring(double n, double n_points)
{
    return 1 + law_solve(law_gamma_rate, n_points, log(n / LAW_CHANCE));
}

#endif
