/*
 * sample: builds the table that draws by weight. Control thread; the caller
 * owns the result.
 * Invariant: each column holds total/n of weight: `threshold` of its own
 * member and the rest of one other, so the shares of a member over all columns
 * add up to its weight. A column that is filled by its own member alone names
 * itself as the other, because 2^32 does not fit the threshold.
 */
#include "upstream/sample.h"

#include "base/mem.h"

static uint64_t sample_total(const uint32_t *weights, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += weights[i];
    }
    return total;
}

static uint32_t sample_threshold(uint64_t share, uint64_t total)
{
    return (uint32_t)(((unsigned __int128)share << 32) / total);
}

/*
 * `left` is each member's weight times n that is not in a column yet; a column
 * takes `total` of it. `order` holds the members with too little from the
 * front and those with enough from the back.
 */
static void
sample_fill(struct sample *s, uint64_t *left, uint32_t *order, uint64_t total)
{
    size_t n_small = 0;
    size_t large = s->n;
    for (size_t i = s->n; i-- > 0;) {
        if (left[i] >= total) {
            order[--large] = (uint32_t)i;
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        if (left[i] < total) {
            order[n_small++] = (uint32_t)i;
        }
    }
    while (n_small > 0) {
        const uint32_t small = order[--n_small];
        const uint32_t giver = order[large];
        s->cells[small].threshold = sample_threshold(left[small], total);
        s->cells[small].other = giver;
        left[giver] -= total - left[small];
        if (left[giver] < total) {
            large++;
            order[n_small++] = giver;
        }
    }
    for (; large < s->n; large++) {
        s->cells[order[large]].threshold = UINT32_MAX;
        s->cells[order[large]].other = order[large];
    }
}

struct sample *sample_build(const uint32_t *weights, size_t n)
{
    const uint64_t total = sample_total(weights, n);
    if (total == 0) {
        return NULL;
    }
    struct sample *s = mem_new(sizeof *s + n * sizeof s->cells[0]);
    uint64_t *left = mem_new_array(n, sizeof *left);
    uint32_t *order = mem_new_array(n, sizeof *order);
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        left[i] = (uint64_t)weights[i] * n;
    }
    sample_fill(s, left, order, total);
    mem_free(order);
    mem_free(left);
    return s;
}
