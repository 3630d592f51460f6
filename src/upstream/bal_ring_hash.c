/*
 * bal_ring_hash: endpoints own points on a ring of 64-bit hashes, in proportion
 * to their weights; a key belongs to the owner of the next point. What an
 * endpoint that goes had belongs to the next ones, and nothing else moves.
 * Immutable once built; picks keep no state.
 * Invariant: points are sorted by hash, and starts[b] is the first whose upper
 * bits are at least b, so a search looks at one or two points. The points of
 * an endpoint depend on its id and the seed alone; more weight adds points and
 * moves none.
 */
#include "base/error.h"
#include "base/mem.h"
#include "upstream/balance.h"
#include "upstream/sample.h"

#include <xxhash.h>

enum {
    RING_POINTS_DEFAULT = 160,
    RING_N_POINTS_MAX = 1 << 20, /* beyond it all get fewer in proportion */
    RING_N_WALKED = 128
};

struct ring_point {
    uint64_t hash;
    uint32_t owner;
};

struct ring {
    struct ring_point *points;
    uint32_t *starts; /* n_buckets + 1 */
    uint32_t n_points;
    uint32_t n_buckets; /* a power of two, at least 2 */
    unsigned shift;     /* hash >> shift is the bucket */
    uint64_t total_weight;
    uint32_t bounded_percent;
};

/* How many points one unit of weight makes: n / of. */
struct ring_scale {
    uint64_t n;
    uint64_t of;
};

/* Where the points of one endpoint come from. */
struct ring_series {
    uint64_t start;
    uint64_t step; /* odd: no point comes twice */
};

static struct ring_series ring_series_make(struct str id, uint64_t seed)
{
    const XXH128_hash_t h =
        XXH3_128bits_withSeed(id.len == 0 ? "" : id.p, id.len, seed);
    return (struct ring_series){h.low64, h.high64 | 1};
}

static uint64_t ring_series_at(struct ring_series s, uint32_t k)
{
    return sample_mix(s.start + k * s.step);
}

static uint32_t ring_share(const struct balance_endpoint *ep,
                           struct ring_scale scale)
{
    if (ep->weight == 0) {
        return 0;
    }
    const uint64_t n =
        (uint64_t)((unsigned __int128)ep->weight * scale.n / scale.of);
    return n == 0 ? 1 : (uint32_t)n;
}

static struct ring_scale ring_scale_make(uint64_t total_weight,
                                         uint32_t ring_points)
{
    const uint64_t per_unit =
        ring_points == 0 ? RING_POINTS_DEFAULT : ring_points;
    if (total_weight * per_unit <= RING_N_POINTS_MAX) {
        return (struct ring_scale){per_unit, 1};
    }
    return (struct ring_scale){RING_N_POINTS_MAX, total_weight};
}

static void ring_size(struct ring *r,
                      const struct balance_endpoint *eps,
                      size_t n,
                      struct ring_scale scale)
{
    for (size_t i = 0; i < n; i++) {
        r->n_points += ring_share(&eps[i], scale);
    }
    unsigned n_bits = 1;
    while ((UINT64_C(1) << n_bits) < r->n_points) {
        n_bits++;
    }
    r->shift = 64 - n_bits;
    r->n_buckets = UINT32_C(1) << n_bits;
    r->points = mem_new_array(r->n_points, sizeof *r->points);
    r->starts = mem_new_array((size_t)r->n_buckets + 1, sizeof *r->starts);
}

/* Counts the points of each bucket, then turns counts into starts. */
static void ring_count(struct ring *r,
                       const struct balance_endpoint *eps,
                       size_t n,
                       struct ring_scale scale,
                       uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const struct ring_series s = ring_series_make(eps[i].id, seed);
        const uint32_t n_own = ring_share(&eps[i], scale);
        for (uint32_t k = 0; k < n_own; k++) {
            r->starts[(ring_series_at(s, k) >> r->shift) + 1]++;
        }
    }
    for (uint32_t b = 0; b < r->n_buckets; b++) {
        r->starts[b + 1] += r->starts[b];
    }
}

/*
 * Puts a point into its bucket behind those that are smaller, or equal and of
 * an earlier endpoint. A bucket holds one point on average.
 */
static void
ring_put(struct ring *r, uint32_t *n_in, uint64_t hash, uint32_t owner)
{
    const uint64_t bucket = hash >> r->shift;
    const uint32_t first = r->starts[bucket];
    uint32_t at = first + n_in[bucket]++;
    while (at > first && r->points[at - 1].hash > hash) {
        r->points[at] = r->points[at - 1];
        at--;
    }
    r->points[at] = (struct ring_point){hash, owner};
}

static void ring_fill(struct ring *r,
                      const struct balance_endpoint *eps,
                      size_t n,
                      struct ring_scale scale,
                      uint64_t seed)
{
    uint32_t *n_in = mem_new_array(r->n_buckets, sizeof *n_in);
    for (size_t i = 0; i < n; i++) {
        const struct ring_series s = ring_series_make(eps[i].id, seed);
        const uint32_t n_own = ring_share(&eps[i], scale);
        for (uint32_t k = 0; k < n_own; k++) {
            ring_put(r, n_in, ring_series_at(s, k), (uint32_t)i);
        }
    }
    mem_free(n_in);
}

static void *ring_build(const struct balance_endpoint *eps,
                        size_t n,
                        const struct balance_settings *settings,
                        struct error *err)
{
    (void)err;
    struct ring *r = mem_new(sizeof *r);
    r->bounded_percent = settings->bounded_load_percent;
    for (size_t i = 0; i < n; i++) {
        r->total_weight += eps[i].weight;
    }
    if (r->total_weight == 0) {
        return r;
    }
    const struct ring_scale scale =
        ring_scale_make(r->total_weight, settings->ring_points);
    ring_size(r, eps, n, scale);
    ring_count(r, eps, n, scale, settings->seed);
    ring_fill(r, eps, n, scale, settings->seed);
    return r;
}

static uint32_t ring_find(const struct ring *r, uint64_t hash)
{
    const uint64_t bucket = hash >> r->shift;
    uint32_t at = r->starts[bucket];
    while (at < r->starts[bucket + 1] && r->points[at].hash < hash) {
        at++;
    }
    return at == r->n_points ? 0 : at;
}

static bool ring_candidates_have(const struct balance_candidates *c, int i)
{
    for (unsigned k = 0; k < c->n; k++) {
        if (c->list[k] == i) {
            return true;
        }
    }
    return false;
}

/* The owners of the points from `at` on, each once. */
static void
ring_walk(const struct ring *r, uint32_t at, struct balance_candidates *c)
{
    for (unsigned k = 0; k < RING_N_WALKED && c->n < BALANCE_CANDIDATES_MAX;
         k++) {
        const int i = (int)r->points[at].owner;
        if (!ring_candidates_have(c, i)) {
            c->list[c->n++] = i;
        }
        at = at + 1 == r->n_points ? 0 : at + 1;
    }
}

static int ring_pick(const void *table,
                     const struct balance_endpoint *eps,
                     size_t n,
                     struct balance_pick *p)
{
    const struct ring *r = table;
    if (r->n_points == 0) {
        return BALANCE_NONE;
    }
    const uint32_t at = ring_find(r, sample_mix(p->hash));
    const int home = (int)r->points[at].owner;
    const bool is_usable = balance_is_usable(eps, home, p);
    if (is_usable && balance_is_within_bound(&eps[home], p, r->total_weight,
                                             r->bounded_percent)) {
        return home;
    }
    p->why = is_usable ? "ring_hash_bounded" : "ring_hash_next";
    struct balance_candidates c = {
        .total_weight = r->total_weight,
        .bounded_percent = r->bounded_percent,
    };
    ring_walk(r, at, &c);
    return balance_choose(&c, eps, n, p);
}

static void ring_free(void *table)
{
    struct ring *r = table;
    mem_free(r->points);
    mem_free(r->starts);
    mem_free(r);
}

const struct balance_ops bal_ring_hash = {
    .name = "ring_hash",
    .is_hashing = true,
    .build = ring_build,
    .pick = ring_pick,
    .free = ring_free,
};
