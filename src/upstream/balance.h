/*
 * balance: the policies that choose an endpoint. A policy is one file bal_*.c
 * that ends in its table; the registry is the array in balance.c. build runs
 * on the control thread and its result is immutable; pick runs on workers,
 * never blocks, never allocates; what a policy must remember per worker is in
 * the pick's cursor.
 * Invariant: endpoints are handed over sorted by stable id, so that gateways
 * which share nothing build the same tables.
 */
#ifndef DAEMUN_UPSTREAM_BALANCE_H
#define DAEMUN_UPSTREAM_BALANCE_H

#include "base/error.h"
#include "base/str.h"
#include "upstream/scoreboard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BALANCE_NONE = -1, BALANCE_TRIED_MAX = 8, BALANCE_CANDIDATES_MAX = 16 };

/* An endpoint as a policy sees it. */
struct balance_endpoint {
    struct str id;   /* stable: resolved address, or a name from a source */
    uint32_t weight; /* 1..1000; 0: takes no new requests */
    uint32_t max_requests; /* 0: no cap */
    struct slot *slot;
};

struct balance_settings {
    uint32_t bounded_load_percent; /* 0: off; 125: at most 1.25x the mean */
    uint32_t table_size;  /* maglev, rounded up to a prime; 0: enough */
    uint32_t ring_points; /* ring_hash: per unit of weight; 0: 160 */
    uint64_t seed;
};

/* What a policy remembers per worker and upstream; zeroed at first. */
struct balance_cursor {
    _Alignas(64) uint64_t next;
    uint64_t aux;
};

struct balance_pick {
    bool has_hash;
    uint64_t hash;
    uint64_t random; /* fresh for each pick */
    struct balance_cursor *cursor;
    const struct slot *upstream;  /* in_flight of all: for bounded load; and
                                     whether too few are up (is_panic) */
    int tried[BALANCE_TRIED_MAX]; /* indices that must not be chosen again */
    unsigned n_tried;
    bool is_panic;   /* out: too few are up, so down is no bar */
    const char *why; /* out: a word for the access log: "round_robin",
                        "maglev", "maglev_bounded", "fallback",
                        "slow_start", "panic" ... */
};

struct balance_ops {
    const char *name;
    bool is_hashing; /* needs a key; bounded load applies */
    void *(*build)(const struct balance_endpoint *eps,
                   size_t n,
                   const struct balance_settings *settings,
                   struct error *err);
    int (*pick)(const void *table,
                const struct balance_endpoint *eps,
                size_t n,
                struct balance_pick *p);
    void (*free)(void *table);
};

extern const struct balance_ops bal_round_robin;
extern const struct balance_ops bal_least_request;
extern const struct balance_ops bal_random;
extern const struct balance_ops bal_ring_hash;
extern const struct balance_ops bal_maglev;

/* One upstream's balancing: policy, fallback policy and their tables. */
struct balance;

/*
 * Control thread. `eps` must outlive the result, sorted by id. `fallback` is
 * the policy for requests without a key (not a hashing one).
 */
struct balance *balance_build(const struct balance_ops *ops,
                              const struct balance_ops *fallback,
                              const struct balance_endpoint *eps,
                              size_t n,
                              const struct balance_settings *settings,
                              struct error *err);
void balance_free(struct balance *b);
/* By name; NULL when there is none. balance_names lists them for messages. */
const struct balance_ops *balance_find(struct str name);
struct str balance_names(void);
/*
 * Worker. Index of the endpoint, or BALANCE_NONE. Never one that was tried,
 * has weight 0, is over its cap, or is down (unless the upstream's slot says
 * that too few are up: fails open, "panic").
 */
int balance_pick(const struct balance *b, struct balance_pick *p);

/* Would an endpoint be chosen if it had a place free? Then waiting makes sense,
 * after balance_pick found none. */
bool balance_is_full(const struct balance *b, const struct balance_pick *p);

/* For policies: may endpoint i be chosen? */
bool balance_is_usable(const struct balance_endpoint *eps,
                       int i,
                       const struct balance_pick *p);
/* The same for a client whose cookie names endpoint i: weight 0 takes no new
 * clients, but keeps its own. */
bool balance_may_stay(const struct balance_endpoint *eps,
                      int i,
                      const struct balance_pick *p);
/*
 * For policies, when their own attempts found none: walks all endpoints and
 * draws a usable one in proportion to its weight from 64 random bits (the same
 * bits draw the same one while the same are usable). BALANCE_NONE: there is
 * none.
 */
int balance_scan(const struct balance_endpoint *eps,
                 size_t n,
                 const struct balance_pick *p,
                 uint64_t bits);
/* Sum of the weights of those that may be chosen. */
uint64_t balance_usable_weight(const struct balance_endpoint *eps,
                               size_t n,
                               const struct balance_pick *p);
/* For hashing policies with bounded load: is i within its share? `total_weight`
 * is that of all endpoints. */
bool balance_is_within_bound(const struct balance_endpoint *ep,
                             const struct balance_pick *p,
                             uint64_t total_weight,
                             uint32_t bounded_percent);

/* For hashing policies whose first choice cannot be: what comes after it. */
struct balance_candidates {
    int list[BALANCE_CANDIDATES_MAX];
    unsigned n;
    uint64_t total_weight; /* of all endpoints */
    uint32_t bounded_percent;
};

/*
 * The first candidate that is usable and within its share, else the first such
 * endpoint from a place that the hash decides. When none is within its share
 * because others are down, the share is taken of those that are usable; when
 * that does not help either, it is given up.
 */
int balance_choose(const struct balance_candidates *c,
                   const struct balance_endpoint *eps,
                   size_t n,
                   const struct balance_pick *p);

#endif
