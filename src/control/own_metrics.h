/*
 * own_metrics: the lines of /metrics that are about the gateway as a process:
 * its reloads, snapshots, logs, descriptors and memory. Control thread.
 */
#ifndef DAEMUN_CONTROL_OWN_METRICS_H
#define DAEMUN_CONTROL_OWN_METRICS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the control knows. */
struct own_metrics {
    uint64_t generation;
    size_t n_snapshots; /* alive, the current one too */
    size_t n_workers;
    uint64_t n_reloads;
    uint64_t n_reloads_failed;
    uint64_t reloaded_wall_us;
    bool is_last_reload_ok;
};

void own_metrics_print(const struct own_metrics *m, struct buf *out);

#endif
