/*
 * scoreboard: the slots of endpoints and upstreams, by key and by index. The
 * table belongs to the control thread: take, give, count and print run there
 * only. Workers hold pointers to slots, which never move, and touch nothing
 * but the atomics inside.
 * Invariant: a slot is in the map and in cells[slot->index] for as long as
 * n_refs > 0; an index is either there, or on the stack of free ones, or not
 * given out yet (>= n_cells), so that indices stay dense.
 */
#include "upstream/scoreboard.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "upstream/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCOREBOARD_LINE_BYTES = 64, SCOREBOARD_N_FIRST = 64 };

/* malloc does not align to cache lines: the block that holds a slot. */
struct scoreboard_cell {
    struct slot *slot; /* NULL: the index is free */
    void *block;
};

struct scoreboard {
    struct map *by_key;
    struct scoreboard_cell *cells;
    uint32_t *free; /* stack of indices below n_cells that are free */
    size_t n_cells;
    size_t n_cells_cap; /* of cells and of free */
    size_t n_free;
};

typedef uint64_t scoreboard_read_fn(const struct slot *slot);

/* One metric: what it is called and how it is read from a slot. */
struct scoreboard_metric {
    const char *name;
    const char *type;
    const char *help;
    scoreboard_read_fn *read;
    bool is_of_endpoints; /* false: of whole upstreams */
    bool is_flag;         /* 0 or 1, not a number that adds up */
};

struct scoreboard *scoreboard_new(void)
{
    struct scoreboard *sb = mem_new(sizeof *sb);
    sb->by_key = map_new();
    return sb;
}

static void scoreboard_cell_fini(struct scoreboard_cell *cell)
{
    if (cell->slot == NULL) {
        return;
    }
    queue_free(cell->slot->queue);
    mem_free(cell->slot->key);
    mem_free(cell->slot->upstream_name);
    mem_free(cell->slot->endpoint_id);
    mem_free(cell->block);
    *cell = (struct scoreboard_cell){0};
}

void scoreboard_free(struct scoreboard *sb)
{
    if (sb == NULL) {
        return;
    }
    for (size_t i = 0; i < sb->n_cells; i++) {
        scoreboard_cell_fini(&sb->cells[i]);
    }
    mem_free(sb->cells);
    mem_free(sb->free);
    map_free(sb->by_key);
    mem_free(sb);
}

static void scoreboard_grow(struct scoreboard *sb)
{
    if (sb->n_cells < sb->n_cells_cap) {
        return;
    }
    sb->n_cells_cap =
        sb->n_cells_cap == 0 ? SCOREBOARD_N_FIRST : 2 * sb->n_cells_cap;
    sb->cells = mem_resize(sb->cells, sb->n_cells_cap * sizeof *sb->cells);
    sb->free = mem_resize(sb->free, sb->n_cells_cap * sizeof *sb->free);
}

static uint32_t scoreboard_index_take(struct scoreboard *sb)
{
    if (sb->n_free > 0) {
        return sb->free[--sb->n_free];
    }
    scoreboard_grow(sb);
    return (uint32_t)sb->n_cells++;
}

static struct scoreboard_cell scoreboard_cell_new(void)
{
    struct scoreboard_cell cell;
    cell.block = mem_new(sizeof(struct slot) + SCOREBOARD_LINE_BYTES - 1);
    const uintptr_t at = (uintptr_t)cell.block;
    const size_t n_over = at % SCOREBOARD_LINE_BYTES;
    const size_t shift = n_over == 0 ? 0 : SCOREBOARD_LINE_BYTES - n_over;
    cell.slot = (void *)((char *)cell.block + shift);
    return cell;
}

static struct slot *scoreboard_slot_new(struct scoreboard *sb, struct str key)
{
    const struct scoreboard_cell cell = scoreboard_cell_new();
    cell.slot->index = scoreboard_index_take(sb);
    cell.slot->key = mem_copy_text(key.p, key.len);
    cell.slot->queue = queue_new();
    sb->cells[cell.slot->index] = cell;
    map_set(sb->by_key, key, cell.slot);
    return cell.slot;
}

struct slot *scoreboard_take(struct scoreboard *sb,
                             struct str key,
                             struct str upstream_name,
                             struct str endpoint_id)
{
    /* give finds the key again by its NUL. */
    CHECK(key.len > 0 && memchr(key.p, '\0', key.len) == NULL);
    struct slot *slot = map_find(sb->by_key, key);
    if (slot == NULL) {
        if (map_count(sb->by_key) >= SCOREBOARD_N_MAX) {
            return NULL;
        }
        slot = scoreboard_slot_new(sb, key);
        slot->upstream_name = mem_copy_text(upstream_name.p, upstream_name.len);
        if (endpoint_id.p != NULL) {
            slot->endpoint_id = mem_copy_text(endpoint_id.p, endpoint_id.len);
        }
    }
    slot->n_refs++;
    return slot;
}

void scoreboard_give(struct scoreboard *sb, struct slot *slot)
{
    CHECK(slot->n_refs > 0);
    CHECK(sb->cells[slot->index].slot == slot);
    slot->n_refs--;
    if (slot->n_refs > 0) {
        return;
    }
    const uint32_t index = slot->index;
    map_remove(sb->by_key, str_from(slot->key));
    scoreboard_cell_fini(&sb->cells[index]);
    sb->free[sb->n_free++] = index;
}

size_t scoreboard_count(const struct scoreboard *sb)
{
    return map_count(sb->by_key);
}

static uint64_t scoreboard_read_requests(const struct slot *slot)
{
    return atomic_load_explicit(&slot->n_requests, memory_order_relaxed);
}

static uint64_t scoreboard_read_failures(const struct slot *slot)
{
    return atomic_load_explicit(&slot->n_failures, memory_order_relaxed);
}

static uint64_t scoreboard_read_in_flight(const struct slot *slot)
{
    return slot_in_flight(slot);
}

static uint64_t scoreboard_read_conns(const struct slot *slot)
{
    return atomic_load_explicit(&slot->n_conns, memory_order_relaxed);
}

static uint64_t scoreboard_read_connects(const struct slot *slot)
{
    return atomic_load_explicit(&slot->n_connects, memory_order_relaxed);
}

static uint64_t scoreboard_read_retries(const struct slot *slot)
{
    return atomic_load_explicit(&slot->n_retries, memory_order_relaxed);
}

static uint64_t scoreboard_read_queue(const struct slot *slot)
{
    return queue_length(slot->queue);
}

static uint64_t scoreboard_read_queued(const struct slot *slot)
{
    return atomic_load_explicit(&slot->n_queued, memory_order_relaxed);
}

static uint64_t scoreboard_read_queue_failures(const struct slot *slot)
{
    return atomic_load_explicit(&slot->n_queue_failures, memory_order_relaxed);
}

static uint64_t scoreboard_read_down(const struct slot *slot)
{
    return slot_is_down(slot) ? 1 : 0;
}

static uint64_t scoreboard_read_ejected(const struct slot *slot)
{
    return slot->vitals.is_ejected ? 1 : 0;
}

static uint64_t scoreboard_read_ejections(const struct slot *slot)
{
    return slot->vitals.n_ejections;
}

static uint64_t scoreboard_read_probe_failing(const struct slot *slot)
{
    return slot->vitals.is_probed_out ? 1 : 0;
}

static uint64_t scoreboard_read_probes(const struct slot *slot)
{
    return slot->vitals.n_probes;
}

static uint64_t scoreboard_read_probes_failed(const struct slot *slot)
{
    return slot->vitals.n_probes_failed;
}

static uint64_t scoreboard_read_slow(const struct slot *slot)
{
    return slot_held_back(slot) != 0 ? 1 : 0;
}

static uint64_t scoreboard_read_panic(const struct slot *slot)
{
    return slot_is_panic(slot) ? 1 : 0;
}

static uint64_t scoreboard_read_n_endpoints(const struct slot *slot)
{
    return slot->vitals.n_endpoints;
}

static uint64_t scoreboard_read_n_up(const struct slot *slot)
{
    return slot->vitals.n_up;
}

static const struct scoreboard_metric scoreboard_metrics[] = {
    {"dm_endpoint_requests_total", "counter",
     "Requests sent to the endpoint, retries counted too.",
     scoreboard_read_requests, true, false},
    {"dm_endpoint_failures_total", "counter",
     "Requests that failed by a fault of the endpoint.",
     scoreboard_read_failures, true, false},
    {"dm_endpoint_in_flight", "gauge", "Requests that run on the endpoint now.",
     scoreboard_read_in_flight, true, false},
    {"dm_endpoint_connections", "gauge",
     "Connections to the endpoint that are open now.", scoreboard_read_conns,
     true, false},
    {"dm_endpoint_connects_total", "counter",
     "Connections opened to the endpoint.", scoreboard_read_connects, true,
     false},
    {"dm_endpoint_retries_total", "counter",
     "Requests that came to the endpoint as a retry.", scoreboard_read_retries,
     true, false},
    {"dm_endpoint_down", "gauge",
     "1 when probes or failures took the endpoint out.", scoreboard_read_down,
     true, true},
    {"dm_endpoint_ejected", "gauge",
     "1 while the endpoint is ejected because requests failed in a row.",
     scoreboard_read_ejected, true, true},
    {"dm_endpoint_ejections_total", "counter",
     "Times the endpoint was ejected because requests failed in a row.",
     scoreboard_read_ejections, true, false},
    {"dm_endpoint_probe_down", "gauge",
     "1 while health checks say that the endpoint is down.",
     scoreboard_read_probe_failing, true, true},
    {"dm_endpoint_probes_total", "counter", "Health checks of the endpoint.",
     scoreboard_read_probes, true, false},
    {"dm_endpoint_probes_failed_total", "counter",
     "Health checks of the endpoint that failed.",
     scoreboard_read_probes_failed, true, false},
    {"dm_endpoint_slow_start", "gauge",
     "1 while the share of the endpoint still grows after its return.",
     scoreboard_read_slow, true, true},
    {"dm_upstream_requests_total", "counter", "Requests for the upstream.",
     scoreboard_read_requests, false, false},
    {"dm_upstream_in_flight", "gauge", "Requests that run in the upstream now.",
     scoreboard_read_in_flight, false, false},
    {"dm_upstream_endpoints", "gauge",
     "Endpoints of the upstream that have a weight.",
     scoreboard_read_n_endpoints, false, false},
    {"dm_upstream_endpoints_up", "gauge",
     "Those of them that are up by health checks and requests.",
     scoreboard_read_n_up, false, false},
    {"dm_upstream_panic", "gauge",
     "1 when too few endpoints are up, so that all are used as if up.",
     scoreboard_read_panic, false, true},
    {"dm_upstream_queue_length", "gauge",
     "Requests that wait for a place on an endpoint now.",
     scoreboard_read_queue, false, false},
    {"dm_upstream_queued_total", "counter",
     "Requests that had to wait for a place.", scoreboard_read_queued, false,
     false},
    {"dm_upstream_queue_failures_total", "counter",
     "Requests that waited too long, or found the queue full.",
     scoreboard_read_queue_failures, false, false},
};

static int scoreboard_label_cmp(const struct slot *a, const struct slot *b)
{
    const int order = strcmp(a->upstream_name, b->upstream_name);
    if (order != 0 || a->endpoint_id == NULL || b->endpoint_id == NULL) {
        return order;
    }
    return strcmp(a->endpoint_id, b->endpoint_id);
}

static int scoreboard_sort_cmp(const void *a, const void *b)
{
    struct slot *const *left = a;
    struct slot *const *right = b;
    return scoreboard_label_cmp(*left, *right);
}

/* The slots of endpoints, or those of upstreams, sorted by their labels. */
static struct slot **
scoreboard_list(const struct scoreboard *sb, bool is_of_endpoints, size_t *n)
{
    struct slot **slots = mem_new_array(sb->n_cells, sizeof *slots);
    *n = 0;
    for (size_t i = 0; i < sb->n_cells; i++) {
        struct slot *slot = sb->cells[i].slot;
        if (slot != NULL && (slot->endpoint_id != NULL) == is_of_endpoints) {
            slots[(*n)++] = slot;
        }
    }
    qsort(slots, *n, sizeof(struct slot *), scoreboard_sort_cmp);
    return slots;
}

static void
scoreboard_print_label(struct buf *out, const char *name, const char *value)
{
    buf_append_str(out, str_from(name));
    buf_append_str(out, STR("=\""));
    struct str rest = str_from(value);
    while (rest.len > 0) {
        const size_t n_plain = strcspn(rest.p, "\\\"\n");
        buf_append_str(out, str_sub(rest, 0, n_plain));
        if (n_plain < rest.len) {
            const char c = rest.p[n_plain];
            const char escape[2] = {'\\', c == '\n' ? 'n' : c};
            buf_append(out, escape, sizeof escape);
        }
        rest = str_from_index(rest, n_plain + 1);
    }
    buf_append_str(out, STR("\""));
}

static void scoreboard_print_value(struct buf *out,
                                   const struct scoreboard_metric *metric,
                                   const struct slot *slot,
                                   uint64_t value)
{
    char text[32];
    buf_append_str(out, str_from(metric->name));
    buf_append_str(out, STR("{"));
    scoreboard_print_label(out, "upstream", slot->upstream_name);
    if (slot->endpoint_id != NULL) {
        buf_append_str(out, STR(","));
        scoreboard_print_label(out, "endpoint", slot->endpoint_id);
    }
    const int len = snprintf(text, sizeof text, "} %" PRIu64 "\n", value);
    buf_append(out, text, (size_t)len);
}

/*
 * While an old snapshot goes, two slots may bear the same labels under
 * different keys. A scraper refuses a series that is there twice, so they are
 * added up.
 */
static void scoreboard_print_metric(struct buf *out,
                                    const struct scoreboard_metric *metric,
                                    struct slot *const *slots,
                                    size_t n)
{
    char head[256];
    const int len =
        snprintf(head, sizeof head, "# HELP %s %s\n# TYPE %s %s\n",
                 metric->name, metric->help, metric->name, metric->type);
    buf_append(out, head, (size_t)len);
    for (size_t i = 0; i < n;) {
        const struct slot *first = slots[i];
        uint64_t value = 0;
        while (i < n && scoreboard_label_cmp(first, slots[i]) == 0) {
            value += metric->read(slots[i]);
            i++;
        }
        if (metric->is_flag && value > 1) {
            value = 1;
        }
        scoreboard_print_value(out, metric, first, value);
    }
}

void scoreboard_print(struct scoreboard *sb, struct buf *out)
{
    size_t n_endpoints = 0;
    size_t n_upstreams = 0;
    struct slot **endpoints = scoreboard_list(sb, true, &n_endpoints);
    struct slot **upstreams = scoreboard_list(sb, false, &n_upstreams);
    const size_t n_metrics =
        sizeof scoreboard_metrics / sizeof scoreboard_metrics[0];
    for (size_t i = 0; i < n_metrics; i++) {
        const struct scoreboard_metric *metric = &scoreboard_metrics[i];
        if (metric->is_of_endpoints) {
            scoreboard_print_metric(out, metric, endpoints, n_endpoints);
        } else {
            scoreboard_print_metric(out, metric, upstreams, n_upstreams);
        }
    }
    mem_free(endpoints);
    mem_free(upstreams);
}
