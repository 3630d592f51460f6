/*
 * address_limit: see address_limit.h. The rate is kept as the time at which the
 * address would be within it again if it opened nothing more (a leaky bucket
 * as one number), so that a cell needs no timer and no clean-up.
 */
#include "net/address_limit.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <sys/random.h>
#include <sys/socket.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    ADDRESS_N_CELLS = 1 << 16,
    ADDRESS_V6_BYTES = 8, /* a /64 is one subscriber */
};

struct address_limit {
    uint64_t seed;
    atomic_uint n_open[2][ADDRESS_N_CELLS];
    atomic_uint_least64_t free_us[2][ADDRESS_N_CELLS];
};

struct address_limit *address_limit_new(void)
{
    struct address_limit *a = mem_new(sizeof(*a));
    CHECK(getrandom(&a->seed, sizeof(a->seed), 0) == sizeof(a->seed));
    return a;
}

void address_limit_free(struct address_limit *a)
{
    mem_free(a);
}

static struct address_place address_place_of(const struct address_limit *a,
                                             const struct addr *peer)
{
    const struct str bytes = addr_bytes(peer);
    const size_t len =
        bytes.len > ADDRESS_V6_BYTES ? ADDRESS_V6_BYTES : bytes.len;
    const uint64_t hash = XXH3_64bits_withSeed(bytes.p, len, a->seed);
    return (struct address_place){
        .cells = {(uint32_t)(hash % ADDRESS_N_CELLS),
                  (uint32_t)((hash >> 32) % ADDRESS_N_CELLS)},
    };
}

static uint64_t address_free_us(struct address_limit *a,
                                const struct address_place *p)
{
    const uint64_t one =
        atomic_load_explicit(&a->free_us[0][p->cells[0]], memory_order_relaxed);
    const uint64_t two =
        atomic_load_explicit(&a->free_us[1][p->cells[1]], memory_order_relaxed);
    return one < two ? one : two;
}

/* One connection more: the cell is free so much later. */
static void
address_pay(atomic_uint_least64_t *cell, uint64_t now_us, uint64_t cost_us)
{
    uint64_t old = atomic_load_explicit(cell, memory_order_relaxed);
    uint64_t new_us;
    do {
        new_us = (old > now_us ? old : now_us) + cost_us;
    } while (!atomic_compare_exchange_weak_explicit(
        cell, &old, new_us, memory_order_relaxed, memory_order_relaxed));
}

static bool address_is_fast(struct address_limit *a,
                            const struct address_bounds *bounds,
                            const struct address_place *p,
                            uint64_t now_us)
{
    if (bounds->rate_per_s == 0) {
        return false;
    }
    const uint64_t cost_us = 1000000 / bounds->rate_per_s;
    const uint64_t n_burst = bounds->n_burst > 0 ? bounds->n_burst : 1;
    if (address_free_us(a, p) > now_us + (n_burst - 1) * cost_us) {
        return true;
    }
    for (int row = 0; row < 2; row++) {
        address_pay(&a->free_us[row][p->cells[row]], now_us, cost_us);
    }
    return false;
}

/* The other way round than address_take. */
static void address_give(struct address_limit *a, const struct address_place *p)
{
    atomic_fetch_sub(&a->n_open[0][p->cells[0]], 1);
    atomic_fetch_sub(&a->n_open[1][p->cells[1]], 1);
}

/*
 * Counts first and looks then, so that two workers cannot both take the last
 * place: row 0 alone would be exact. Row 1, which is never behind row 0, only
 * corrects it when row 0 counts others too, and then counts every attempt that
 * is going on. So whoever is let in was one of at most n_open_max by a count
 * that had all those in it who were let in before. (Needs one order of both
 * rows: these are not relaxed.)
 */
static bool address_take(struct address_limit *a,
                         const struct address_bounds *bounds,
                         const struct address_place *p)
{
    atomic_fetch_add(&a->n_open[1][p->cells[1]], 1);
    const unsigned n = atomic_fetch_add(&a->n_open[0][p->cells[0]], 1);
    if (bounds->n_open_max == 0 || n < bounds->n_open_max ||
        atomic_load(&a->n_open[1][p->cells[1]]) <= bounds->n_open_max) {
        return true;
    }
    address_give(a, p);
    return false;
}

enum address_verdict address_limit_enter(struct address_limit *a,
                                         const struct address_bounds *bounds,
                                         const struct addr *peer,
                                         uint64_t now_us,
                                         struct address_place *place)
{
    *place = (struct address_place){.is_counted = false};
    const sa_family_t family = peer->sa.sa_family;
    if ((family != AF_INET && family != AF_INET6) ||
        addr_net_has(bounds->exempt, bounds->n_exempt, peer)) {
        return ADDRESS_OK;
    }
    struct address_place p = address_place_of(a, peer);
    if (!address_take(a, bounds, &p)) {
        return ADDRESS_TOO_MANY;
    }
    if (address_is_fast(a, bounds, &p, now_us)) {
        address_give(a, &p);
        return ADDRESS_TOO_FAST;
    }
    p.is_counted = true;
    *place = p;
    return ADDRESS_OK;
}

void address_limit_leave(struct address_limit *a, struct address_place *place)
{
    if (place->is_counted) {
        place->is_counted = false;
        address_give(a, place);
    }
}
