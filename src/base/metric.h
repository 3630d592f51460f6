/*
 * metric: every counter, gauge and histogram is declared with its help text
 * in metric.def before it is used. Each loop has a set of its own and is its
 * only writer (plain relaxed stores, no lock prefix); the scraper adds the
 * sets up with relaxed loads. Labelled metrics of upstreams and endpoints live
 * on the scoreboard.
 */
#ifndef DAEMUN_BASE_METRIC_H
#define DAEMUN_BASE_METRIC_H

#include "base/str.h"

#include <stdatomic.h>
#include <stdint.h>

struct buf;

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

enum metric_id {
#define METRIC(id, name, kind, help) id,
#include "base/metric.def"
#undef METRIC
    METRIC_N
};

enum { METRIC_BUCKETS = 16 };

struct metric_set {
    atomic_uint_least64_t values[METRIC_N];
    /* dm_exchange_duration_seconds, see metric_bucket_us. */
    atomic_uint_least64_t duration_buckets[METRIC_BUCKETS + 1];
    atomic_uint_least64_t duration_sum_us;
};

/* The set is registered for ever (process lifetime). Any thread. */
struct metric_set *metric_set_new(void);

static inline void
metric_add(struct metric_set *set, enum metric_id id, uint64_t n)
{
    const uint64_t v =
        atomic_load_explicit(&set->values[id], memory_order_relaxed);
    atomic_store_explicit(&set->values[id], v + n, memory_order_relaxed);
}

static inline void
metric_sub(struct metric_set *set, enum metric_id id, uint64_t n)
{
    const uint64_t v =
        atomic_load_explicit(&set->values[id], memory_order_relaxed);
    atomic_store_explicit(&set->values[id], v - n, memory_order_relaxed);
}

/* Records one exchange's duration. */
void metric_observe_duration(struct metric_set *set, uint64_t us);
/* Sum over all sets. Any thread. */
uint64_t metric_total(enum metric_id id);
/* Appends all of it in Prometheus text format 0.0.4. Any thread. */
void metric_print(struct buf *out);
/* docs/metrics.md in Markdown. */
void metric_print_docs(struct buf *out);

#endif
