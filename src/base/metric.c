/*
 * metric: the registry of the sets and their sum as Prometheus reads it. A set
 * is written by its one loop alone; any thread may add the sets up while they
 * change, and gets for each number a value that it had.
 * Sets are linked once and never leave, as their counts must not go down: they
 * belong to the process. A zeroed set is an empty one.
 */
#include "base/metric.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { METRIC_BUCKET_FIRST_US = 250, METRIC_LINE_MAX = 512 };

/* The gaps keep other memory off the cache lines that a loop writes. */
struct metric_node {
    struct metric_node *next;
    char gap_before[64];
    struct metric_set set;
    char gap_after[64];
};

struct metric_row {
    const char *name;
    const char *help;
    enum metric_kind kind;
};

static const struct metric_row metric_rows[METRIC_N] = {
#define METRIC(id, name, kind, help) [id] = {name, help, kind},
#include "base/metric.def"
#undef METRIC
};

static _Atomic(struct metric_node *) metric_nodes;

struct metric_set *metric_set_new(void)
{
    struct metric_node *node = mem_new(sizeof *node);
    node->next = atomic_load(&metric_nodes);
    while (!atomic_compare_exchange_weak(&metric_nodes, &node->next, node)) {
    }
    return &node->set;
}

/* The upper bound of a bucket; each is twice the one before. */
static uint64_t metric_bucket_us(size_t bucket)
{
    return (uint64_t)METRIC_BUCKET_FIRST_US << bucket;
}

static void metric_bump(atomic_uint_least64_t *value, uint64_t n)
{
    const uint64_t before = atomic_load_explicit(value, memory_order_relaxed);
    atomic_store_explicit(value, before + n, memory_order_relaxed);
}

void metric_observe_duration(struct metric_set *set, uint64_t us)
{
    size_t bucket = 0;
    while (bucket < METRIC_BUCKETS && us > metric_bucket_us(bucket)) {
        bucket++;
    }
    metric_bump(&set->duration_buckets[bucket], 1);
    metric_bump(&set->duration_sum_us, us);
}

uint64_t metric_total(enum metric_id id)
{
    uint64_t sum = 0;
    const struct metric_node *node = atomic_load(&metric_nodes);
    while (node != NULL) {
        sum +=
            atomic_load_explicit(&node->set.values[id], memory_order_relaxed);
        node = node->next;
    }
    return sum;
}

__attribute__((format(printf, 2, 3))) static void
metric_print_line(struct buf *out, const char *format, ...)
{
    char line[METRIC_LINE_MAX];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    CHECK(n >= 0 && n < METRIC_LINE_MAX);
    buf_append(out, line, (size_t)n);
}

static void metric_print_row(struct buf *out, enum metric_id id)
{
    const struct metric_row *row = &metric_rows[id];
    const uint64_t total = metric_total(id);
    const char *kind = row->kind == METRIC_COUNTER ? "counter" : "gauge";
    metric_print_line(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help,
                      row->name, kind);
    if (row->kind == METRIC_COUNTER) {
        metric_print_line(out, "%s %" PRIu64 "\n", row->name, total);
    } else {
        /* One loop may count up what another counts down. */
        metric_print_line(out, "%s %" PRId64 "\n", row->name, (int64_t)total);
    }
}

/* Sums of the histogram over all sets. */
struct metric_durations {
    uint64_t buckets[METRIC_BUCKETS + 1];
    uint64_t sum_us;
};

static struct metric_durations metric_total_durations(void)
{
    struct metric_durations total = {0};
    struct metric_node *node = atomic_load(&metric_nodes);
    while (node != NULL) {
        struct metric_set *set = &node->set;
        for (size_t i = 0; i <= METRIC_BUCKETS; i++) {
            total.buckets[i] += atomic_load_explicit(&set->duration_buckets[i],
                                                     memory_order_relaxed);
        }
        total.sum_us +=
            atomic_load_explicit(&set->duration_sum_us, memory_order_relaxed);
        node = node->next;
    }
    return total;
}

/* The count is the sum of the buckets, so that it always equals +Inf. */
static void metric_print_durations(struct buf *out)
{
    const struct metric_durations total = metric_total_durations();
    uint64_t count = 0;
    metric_print_line(out,
                      "# HELP dm_exchange_duration_seconds Time from the first "
                      "byte of a request to the end of its response.\n"
                      "# TYPE dm_exchange_duration_seconds histogram\n");
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        count += total.buckets[i];
        metric_print_line(out,
                          "dm_exchange_duration_seconds_bucket{le=\"%g\"} "
                          "%" PRIu64 "\n",
                          (double)metric_bucket_us(i) / 1e6, count);
    }
    count += total.buckets[METRIC_BUCKETS];
    metric_print_line(
        out,
        "dm_exchange_duration_seconds_bucket{le=\"+Inf\"} "
        "%" PRIu64 "\n"
        "dm_exchange_duration_seconds_sum %" PRIu64 ".%06" PRIu64 "\n"
        "dm_exchange_duration_seconds_count %" PRIu64 "\n",
        count, total.sum_us / 1000000, total.sum_us % 1000000, count);
}

/* Kept by the log itself, as no loop writes them. */
static void metric_print_log(struct buf *out)
{
    metric_print_line(
        out,
        "# HELP dm_log_lines_dropped_total Log lines lost to a "
        "full ring or by their file.\n"
        "# TYPE dm_log_lines_dropped_total counter\n"
        "dm_log_lines_dropped_total{log=\"error\"} %" PRIu64 "\n"
        "dm_log_lines_dropped_total{log=\"access\"} %" PRIu64 "\n",
        log_n_dropped(LOG_TO_ERROR), log_n_dropped(LOG_TO_ACCESS));
}

void metric_print(struct buf *out)
{
    for (int id = 0; id < METRIC_N; id++) {
        metric_print_row(out, (enum metric_id)id);
    }
    metric_print_durations(out);
    metric_print_log(out);
}

void metric_print_docs(struct buf *out)
{
    buf_append_str(out, STR("# Metrics\n\nThe metrics of the workers, summed "
                            "over all of them. Made from "
                            "`src/base/metric.def` by `make docs`. "
                            "`dm_endpoint_*` and `dm_upstream_*` carry the "
                            "labels `upstream` and `endpoint`; what a scrape "
                            "shows beyond these rows explains itself in its "
                            "HELP line.\n\n| name | kind | meaning |\n|---|---"
                            "|---|\n"));
#define METRIC(id, name, kind, help)                                           \
    buf_append_str(out, STR("| `" name "` | "));                               \
    buf_append_str(out,                                                        \
                   (kind) == METRIC_COUNTER ? STR("counter") : STR("gauge"));  \
    buf_append_str(out, STR(" | " help " |\n"));
#include "base/metric.def"
#undef METRIC
}
