/*
 * sample: turning 64 bits into a choice. A table draws one of n members in
 * proportion to its weight in constant time (Walker's alias method, in whole
 * numbers, so that every machine draws alike). Built on the control thread,
 * immutable, used by the balancing policies on workers.
 */
#ifndef DAEMUN_UPSTREAM_SAMPLE_H
#define DAEMUN_UPSTREAM_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* Bits that look random and differ for each `x`: a bijection of 64 bits. */
static inline uint64_t sample_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* 0 .. n - 1, evenly, from the upper bits of `bits`; n > 0. */
static inline uint64_t sample_range(uint64_t bits, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)bits * n) >> 64);
}

struct sample_cell {
    uint32_t threshold; /* of 2^32: below it this column, else the other */
    uint32_t other;
};

struct sample {
    size_t n;
    struct sample_cell cells[];
};

/*
 * NULL when all weights are 0. At most 2^32 members whose weights sum up to
 * less than 2^63 / n. Freed by mem_free.
 */
struct sample *sample_build(const uint32_t *weights, size_t n);

/* Index of a member whose weight is not 0. */
static inline uint32_t sample_draw(const struct sample *s, uint64_t bits)
{
    const uint32_t column = (uint32_t)sample_range(bits, s->n);
    const struct sample_cell *cell = &s->cells[column];
    /* The column used the upper bits; the lower ones decide within it. */
    return (uint32_t)bits < cell->threshold ? column : cell->other;
}

#endif
