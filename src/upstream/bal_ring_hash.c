/*
 * bal_ring_hash: endpoints own points on a ring of 64-bit hashes, in proportion
 * to their weights; a key belongs to the owner of the next point. What an
 * endpoint that goes had belongs to the next ones, and nothing else moves.
 * Immutable once built; picks keep no state.
 * A pick is one load for most keys: the ring is cut into buckets, several for
 * each point, and a bucket without a point names the owner of all its keys.
 * What a pick reads is kept small, because what it costs are cache misses: two
 * bytes a bucket, eight a point.
 * Invariant: points are sorted; jumps[b] leads to the owner or the first point
 * of bucket b. The points of an endpoint depend on its id and the seed alone;
 * more weight adds points and moves none.
 */
#include "base/error.h"
#include "base/mem.h"
#include "upstream/balance.h"
#include "upstream/sample.h"

#include <xxhash.h>

enum {
    RING_POINTS_DEFAULT = 160,
    RING_N_POINTS_MAX = 1 << 21, /* beyond it all get half as many */
    RING_N_BUCKETS_PER_POINT = 2,
    RING_N_WALKED = 128
};

/* A point: 44 bits of the hash, 20 of the owner. As a number it sorts by hash,
 * and by owner where hashes are equal. */
enum { RING_OWNER_BITS = 20 };
_Static_assert(SCOREBOARD_N_MAX <= 1 << RING_OWNER_BITS,
               "each endpoint has a number as an owner");

/*
 * A jump: with RING_JUMP_OWNER the owner of the whole bucket; else how far its
 * first point, or one before, is from that of its group of buckets.
 */
enum { RING_JUMP_OWNER = 1 << 15, RING_GROUP_BITS = 8 };

struct ring {
    uint64_t *points;
    uint16_t *jumps;  /* n_buckets */
    uint32_t *groups; /* first point of each group */
    uint32_t n_points;
    uint32_t n_buckets; /* a power of two, at least 2 */
    unsigned shift;     /* hash >> shift is the bucket */
    uint64_t total_weight;
    uint32_t bounded_percent;
};

/* How many points one unit of weight makes: n / 2^halved. */
struct ring_scale {
    uint64_t n;
    unsigned halved;
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
    const uint64_t n = (ep->weight * scale.n) >> scale.halved;
    return n == 0 ? 1 : (uint32_t)n;
}

/*
 * A ring that would be too long is halved, again and again. A finer step would
 * take points from all endpoints, and so move their keys, each time one comes.
 */
static struct ring_scale ring_scale_make(uint64_t total_weight,
                                         uint32_t ring_points)
{
    struct ring_scale scale = {
        .n = ring_points == 0 ? RING_POINTS_DEFAULT : ring_points,
    };
    while ((total_weight * scale.n) >> scale.halved > RING_N_POINTS_MAX) {
        scale.halved++;
    }
    return scale;
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
    const uint64_t n_least = (uint64_t)r->n_points * RING_N_BUCKETS_PER_POINT;
    while ((UINT64_C(1) << n_bits) < n_least) {
        n_bits++;
    }
    r->shift = 64 - n_bits;
    r->n_buckets = UINT32_C(1) << n_bits;
    r->points = mem_new_array(r->n_points, sizeof *r->points);
    r->jumps = mem_new_array(r->n_buckets, sizeof *r->jumps);
    r->groups =
        mem_new_array((r->n_buckets >> RING_GROUP_BITS) + 1, sizeof *r->groups);
}

static uint64_t ring_point(uint64_t hash, uint32_t owner)
{
    return hash >> RING_OWNER_BITS << RING_OWNER_BITS | owner;
}

static uint32_t ring_owner(uint64_t point)
{
    return point & ((1u << RING_OWNER_BITS) - 1);
}

/* Counts the points of each bucket, then turns counts into first points. */
static uint32_t *ring_count(const struct ring *r,
                            const struct balance_endpoint *eps,
                            size_t n,
                            struct ring_scale scale,
                            uint64_t seed)
{
    uint32_t *starts = mem_new_array((size_t)r->n_buckets + 1, sizeof *starts);
    for (size_t i = 0; i < n; i++) {
        const struct ring_series s = ring_series_make(eps[i].id, seed);
        const uint32_t n_own = ring_share(&eps[i], scale);
        for (uint32_t k = 0; k < n_own; k++) {
            starts[(ring_series_at(s, k) >> r->shift) + 1]++;
        }
    }
    for (uint32_t b = 0; b < r->n_buckets; b++) {
        starts[b + 1] += starts[b];
    }
    return starts;
}

/* Puts a point into its bucket behind those that are smaller. Few buckets hold
 * more than one point; 0 is a place that is free yet. */
static void ring_put(struct ring *r, uint32_t first, uint64_t point)
{
    uint32_t at = first;
    while (r->points[at] != 0) {
        at++;
    }
    while (at > first && r->points[at - 1] > point) {
        r->points[at] = r->points[at - 1];
        at--;
    }
    r->points[at] = point;
}

static void ring_fill(struct ring *r,
                      const uint32_t *starts,
                      const struct balance_endpoint *eps,
                      size_t n,
                      struct ring_scale scale,
                      uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const struct ring_series s = ring_series_make(eps[i].id, seed);
        const uint32_t n_own = ring_share(&eps[i], scale);
        for (uint32_t k = 0; k < n_own; k++) {
            const uint64_t hash = ring_series_at(s, k);
            ring_put(r, starts[hash >> r->shift],
                     ring_point(hash, (uint32_t)i));
        }
    }
}

/* Buckets without a point answer by themselves, if the owner has room. */
static void ring_shorten(struct ring *r, const uint32_t *starts)
{
    for (uint32_t b = 0; b < r->n_buckets; b++) {
        const uint32_t next = starts[b];
        const uint32_t group = b >> RING_GROUP_BITS;
        if (b == group << RING_GROUP_BITS) {
            r->groups[group] = next;
        }
        const uint32_t owner =
            ring_owner(r->points[next == r->n_points ? 0 : next]);
        if (next == starts[b + 1] && owner < RING_JUMP_OWNER) {
            r->jumps[b] = (uint16_t)(RING_JUMP_OWNER | owner);
        } else {
            const uint32_t far = next - r->groups[group];
            r->jumps[b] =
                (uint16_t)(far < RING_JUMP_OWNER ? far : RING_JUMP_OWNER - 1);
        }
    }
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
    uint32_t *starts = ring_count(r, eps, n, scale, settings->seed);
    ring_fill(r, starts, eps, n, scale, settings->seed);
    ring_shorten(r, starts);
    mem_free(starts);
    return r;
}

/* The first point at or after the hash, of those from the group's first on. */
static uint32_t ring_search(const struct ring *r, uint64_t hash, uint32_t far)
{
    const uint64_t point = ring_point(hash, 0);
    uint32_t at = r->groups[hash >> r->shift >> RING_GROUP_BITS] + far;
    while (at < r->n_points && r->points[at] < point) {
        at++;
    }
    return at == r->n_points ? 0 : at;
}

static uint32_t ring_find(const struct ring *r, uint64_t hash)
{
    const uint32_t jump = r->jumps[hash >> r->shift];
    return ring_search(r, hash, (jump & RING_JUMP_OWNER) != 0 ? 0 : jump);
}

/* The owner of that point. */
static int ring_home(const struct ring *r, uint64_t hash)
{
    const uint32_t jump = r->jumps[hash >> r->shift];
    if ((jump & RING_JUMP_OWNER) != 0) {
        return jump & (RING_JUMP_OWNER - 1);
    }
    return (int)ring_owner(r->points[ring_search(r, hash, jump)]);
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
        const int i = (int)ring_owner(r->points[at]);
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
    const uint64_t hash = sample_mix(p->hash);
    const int home = ring_home(r, hash);
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
    ring_walk(r, ring_find(r, hash), &c);
    return balance_choose(&c, eps, n, p);
}

static void ring_free(void *table)
{
    struct ring *r = table;
    mem_free(r->points);
    mem_free(r->jumps);
    mem_free(r->groups);
    mem_free(r);
}

const struct balance_ops bal_ring_hash = {
    .name = "ring_hash",
    .is_hashing = true,
    .build = ring_build,
    .pick = ring_pick,
    .free = ring_free,
};
