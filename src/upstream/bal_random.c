/*
 * bal_random: any endpoint, in proportion to its weight. Holds no state
 * between picks, so there is nothing that workers could get out of step with.
 * Invariant: the table never draws an endpoint without a weight.
 */
#include "base/mem.h"
#include "upstream/balance.h"
#include "upstream/sample.h"

enum { RANDOM_N_ATTEMPTS = 8 };

struct random_table {
    struct sample *sample; /* NULL: no endpoint has a weight */
};

static void *random_build(const struct balance_endpoint *eps,
                          size_t n,
                          const struct balance_settings *settings,
                          struct error *err)
{
    (void)settings;
    (void)err;
    struct random_table *t = mem_new(sizeof *t);
    uint32_t *weights = mem_new_array(n, sizeof *weights);
    for (size_t i = 0; i < n; i++) {
        weights[i] = eps[i].weight;
    }
    t->sample = sample_build(weights, n);
    mem_free(weights);
    return t;
}

static int random_pick(const void *table,
                       const struct balance_endpoint *eps,
                       size_t n,
                       struct balance_pick *p)
{
    const struct random_table *t = table;
    if (t->sample == NULL) {
        return BALANCE_NONE;
    }
    uint64_t bits = p->random;
    for (unsigned k = 0; k < RANDOM_N_ATTEMPTS; k++) {
        const int i = (int)sample_draw(t->sample, bits);
        if (balance_is_usable(eps, i, p)) {
            return i;
        }
        bits = sample_mix(bits);
    }
    return balance_scan(eps, n, p, bits);
}

static void random_free(void *table)
{
    struct random_table *t = table;
    mem_free(t->sample);
    mem_free(t);
}

const struct balance_ops bal_random = {
    .name = "random",
    .build = random_build,
    .pick = random_pick,
    .free = random_free,
};
