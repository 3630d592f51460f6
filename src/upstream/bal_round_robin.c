/*
 * bal_round_robin: each endpoint in turn, as often as its weight says, spread
 * out evenly. The order is worked out once per snapshot; a worker walks it
 * with its own cursor, which starts at a random place, so that workers do not
 * all begin with the same endpoint.
 * Invariant: each endpoint with a weight is in the order at least once. The
 * order is exact while the weights, reduced by their greatest common divisor,
 * add up to ROUND_ROBIN_LEN_MAX at most, and scaled to that length otherwise.
 */
#include "base/check.h"
#include "base/mem.h"
#include "upstream/balance.h"
#include "upstream/sample.h"

#include <stdlib.h>

enum { ROUND_ROBIN_LEN_MAX = 65536, ROUND_ROBIN_N_ATTEMPTS = 64 };

struct round_robin {
    uint32_t len; /* 0: no endpoint has a weight */
    uint32_t order[];
};

/* Endpoint `index` is due `turns` times per round; `group` is how many others
 * have the same number of turns, `rank` which of them it is. */
struct round_robin_share {
    uint32_t index;
    uint32_t turns;
    uint32_t rank;
    uint32_t group;
};

/* A place in the round: num/den of it has passed. */
struct round_robin_turn {
    uint64_t num;
    uint64_t den;
    uint32_t index;
};

static uint32_t round_robin_gcd(uint32_t a, uint32_t b)
{
    while (b != 0) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static size_t round_robin_shares(struct round_robin_share *shares,
                                 const struct balance_endpoint *eps,
                                 size_t n)
{
    size_t n_shares = 0;
    uint32_t divisor = 0;
    for (size_t i = 0; i < n; i++) {
        if (eps[i].weight > 0) {
            divisor = round_robin_gcd(eps[i].weight, divisor);
            shares[n_shares].index = (uint32_t)i;
            shares[n_shares].turns = eps[i].weight;
            n_shares++;
        }
    }
    for (size_t i = 0; i < n_shares; i++) {
        shares[i].turns /= divisor;
    }
    return n_shares;
}

/* Shortens a round that is too long; returns its length. */
static uint64_t round_robin_scale(struct round_robin_share *shares, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += shares[i].turns;
    }
    if (total <= ROUND_ROBIN_LEN_MAX) {
        return total;
    }
    uint64_t len = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t turns = (uint64_t)shares[i].turns * ROUND_ROBIN_LEN_MAX;
        turns /= total;
        shares[i].turns = turns == 0 ? 1 : (uint32_t)turns;
        len += shares[i].turns;
    }
    return len;
}

static int round_robin_share_cmp(const void *a, const void *b)
{
    const struct round_robin_share *left = a;
    const struct round_robin_share *right = b;
    if (left->turns != right->turns) {
        return left->turns < right->turns ? -1 : 1;
    }
    return (left->index > right->index) - (left->index < right->index);
}

/* Sorts into groups of the same number of turns and numbers them. */
static void round_robin_group(struct round_robin_share *shares, size_t n)
{
    qsort(shares, n, sizeof *shares, round_robin_share_cmp);
    for (size_t from = 0; from < n;) {
        size_t to = from;
        while (to < n && shares[to].turns == shares[from].turns) {
            to++;
        }
        for (size_t i = from; i < to; i++) {
            shares[i].rank = (uint32_t)(i - from);
            shares[i].group = (uint32_t)(to - from);
        }
        from = to;
    }
}

static int round_robin_turn_cmp(const void *a, const void *b)
{
    const struct round_robin_turn *left = a;
    const struct round_robin_turn *right = b;
    const unsigned __int128 x = (unsigned __int128)left->num * right->den;
    const unsigned __int128 y = (unsigned __int128)right->num * left->den;
    if (x != y) {
        return x < y ? -1 : 1;
    }
    return (left->index > right->index) - (left->index < right->index);
}

/*
 * Turn k of a share is due at (k + phase) / turns of the round. The phase
 * (2 rank + 1) / (2 group) staggers those that have the same number of turns,
 * which would all be due at once otherwise.
 */
static void round_robin_turns(struct round_robin_turn *turns,
                              const struct round_robin_share *shares,
                              size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct round_robin_share *s = &shares[i];
        for (uint64_t k = 0; k < s->turns; k++) {
            turns->num = 2 * k * s->group + 2 * (uint64_t)s->rank + 1;
            turns->den = 2 * (uint64_t)s->group * s->turns;
            turns->index = s->index;
            turns++;
        }
    }
}

static void *round_robin_build(const struct balance_endpoint *eps,
                               size_t n,
                               const struct balance_settings *settings,
                               struct error *err)
{
    (void)settings;
    (void)err;
    struct round_robin_share *shares = mem_new_array(n, sizeof *shares);
    const size_t n_shares = round_robin_shares(shares, eps, n);
    const uint64_t len = round_robin_scale(shares, n_shares);
    /* The one case that is longer: more endpoints than that, at weight 1. */
    CHECK(len <= (uint64_t)ROUND_ROBIN_LEN_MAX + n_shares);
    round_robin_group(shares, n_shares);
    struct round_robin_turn *turns = mem_new_array(len, sizeof *turns);
    round_robin_turns(turns, shares, n_shares);
    qsort(turns, len, sizeof *turns, round_robin_turn_cmp);
    struct round_robin *t = mem_new(sizeof *t + len * sizeof t->order[0]);
    t->len = (uint32_t)len;
    for (size_t i = 0; i < len; i++) {
        t->order[i] = turns[i].index;
    }
    mem_free(turns);
    mem_free(shares);
    return t;
}

/* The cursor's place; a table that is new may be shorter than the last one. */
static uint32_t round_robin_start(const struct round_robin *t,
                                  const struct balance_pick *p)
{
    struct balance_cursor *cursor = p->cursor;
    if (cursor->aux == 0) {
        cursor->aux = 1;
        cursor->next = sample_range(p->random, t->len);
    }
    if (cursor->next >= t->len) {
        cursor->next %= t->len;
    }
    return (uint32_t)cursor->next;
}

static int round_robin_pick(const void *table,
                            const struct balance_endpoint *eps,
                            size_t n,
                            struct balance_pick *p)
{
    const struct round_robin *t = table;
    if (t->len == 0) {
        return BALANCE_NONE;
    }
    uint32_t at = round_robin_start(t, p);
    for (uint32_t k = 0; k < ROUND_ROBIN_N_ATTEMPTS && k < t->len; k++) {
        const int i = (int)t->order[at];
        at = at + 1 == t->len ? 0 : at + 1;
        if (balance_is_usable(eps, i, p)) {
            p->cursor->next = at;
            return i;
        }
    }
    p->cursor->next = at;
    return balance_scan(eps, n, p, p->random);
}

static void round_robin_free(void *table)
{
    mem_free(table);
}

const struct balance_ops bal_round_robin = {
    .name = "round_robin",
    .build = round_robin_build,
    .pick = round_robin_pick,
    .free = round_robin_free,
};
