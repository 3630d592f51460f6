/*
 * bench_balance: what a pick costs and how long a table takes to build, for
 * each policy and 10 to 10,000 endpoints. A pick is timed as the gateway makes
 * it (balance_pick, with all its checks) on keys in random order; the best of
 * several rounds is printed, as what disturbs a round only ever adds.
 * `make bench-micro` runs it. It measures and judges nothing.
 */
#include "base/mem.h"
#include "upstream/balance.h"
#include "upstream/sample.h"

#include <stdio.h>
#include <time.h>

enum { N_PICKS = 1 << 18, N_ROUNDS = 12, ID_BYTES = 40 };

struct bench {
    struct balance_endpoint *eps;
    char (*ids)[ID_BYTES];
    struct slot *slots;
    struct slot upstream;
    struct balance_cursor cursor;
};

static double bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void bench_init(struct bench *b, size_t n)
{
    b->eps = mem_new_array(n, sizeof *b->eps);
    b->ids = mem_new_array(n, sizeof *b->ids);
    b->slots = mem_new_lines(n, sizeof *b->slots);
    for (size_t i = 0; i < n; i++) {
        snprintf(b->ids[i], sizeof b->ids[i], "10.0.%03zu.%03zu:8080", i >> 8,
                 i & 255);
        b->eps[i] = (struct balance_endpoint){
            .id = str_from(b->ids[i]),
            .weight = 1,
            .slot = &b->slots[i],
        };
    }
}

static void bench_fini(struct bench *b)
{
    mem_free(b->eps);
    mem_free(b->ids);
    mem_free(b->slots);
}

/* One round of picks; `sum` keeps the compiler from leaving them out. */
static double
bench_round_ns(struct bench *b, const struct balance *table, uint64_t *sum)
{
    struct balance_pick p = {
        .has_hash = true,
        .cursor = &b->cursor,
        .upstream = &b->upstream,
    };
    uint64_t random = *sum;
    const double began = bench_now_ns();
    for (uint64_t k = 0; k < N_PICKS; k++) {
        random = sample_mix(random);
        p.hash = random;
        p.random = ~random;
        *sum += (uint64_t)balance_pick(table, &p);
    }
    return (bench_now_ns() - began) / N_PICKS;
}

/* Each pick waits for the one before: what a single request waits for. */
static double
bench_chain_ns(struct bench *b, const struct balance *table, uint64_t *sum)
{
    struct balance_pick p = {
        .has_hash = true,
        .cursor = &b->cursor,
        .upstream = &b->upstream,
    };
    const double began = bench_now_ns();
    for (uint64_t k = 0; k < N_PICKS; k++) {
        p.hash = sample_mix(k + *sum);
        p.random = ~p.hash;
        *sum += (uint64_t)balance_pick(table, &p);
    }
    return (bench_now_ns() - began) / N_PICKS;
}

static void bench_policy(const char *name, size_t n)
{
    const struct balance_settings settings = {.seed = 7};
    const struct balance_ops *ops = balance_find(str_from(name));
    struct bench b = {0};
    struct error err = {0};
    uint64_t sum = 1;
    double best = 1e9;
    double best_chain = 1e9;
    bench_init(&b, n);
    const double began = bench_now_ns();
    struct balance *table = balance_build(ops, NULL, b.eps, n, &settings, &err);
    const double build_ms = (bench_now_ns() - began) / 1e6;
    for (unsigned k = 0; k < N_ROUNDS; k++) {
        const double ns = bench_round_ns(&b, table, &sum);
        const double chain_ns = bench_chain_ns(&b, table, &sum);
        best = ns < best ? ns : best;
        best_chain = chain_ns < best_chain ? chain_ns : best_chain;
    }
    printf("%-14s %6zu %10.1f %10.1f %10.2f\n", name, n, best, best_chain,
           build_ms);
    fflush(stdout);
    balance_free(table);
    bench_fini(&b);
}

int main(void)
{
    static const char *const names[] = {"round_robin", "least_request",
                                        "random", "ring_hash", "maglev"};
    printf("%-14s %6s %10s %10s %10s\n", "policy", "n", "ns/pick", "ns alone",
           "build ms");
    for (unsigned k = 0; k < sizeof names / sizeof names[0]; k++) {
        for (size_t n = 10; n <= 10000; n *= 10) {
            bench_policy(names[k], n);
        }
    }
    return 0;
}
