/*
 * own_metrics: see own_metrics.h. What is not given is asked of the system at
 * the moment of printing.
 */
#include "control/own_metrics.h"

#include "base/log.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* One line of a metric of the process. */
static void own_metrics_line(struct buf *out,
                             const char *name,
                             const char *kind,
                             const char *help,
                             double value)
{
    char text[512];
    const int len =
        snprintf(text, sizeof(text), "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n",
                 name, help, name, kind, name, value);
    buf_append(out, text, (size_t)len);
}

static size_t own_metrics_n_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        closedir(d);
    }
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

static double own_metrics_resident_bytes(void)
{
    unsigned long size = 0;
    unsigned long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double own_metrics_cpu_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

void own_metrics_print(const struct own_metrics *m, struct buf *out)
{
    const struct {
        const char *name;
        const char *kind;
        const char *help;
        double value;
    } rows[] = {
        {"dm_snapshot_generation", "gauge", "Number of the live snapshot.",
         (double)m->generation},
        {"dm_snapshots", "gauge",
         "Snapshots in memory; 1 when no old one is in use.",
         (double)m->n_snapshots},
        {"dm_reloads_total", "counter", "Reloads asked for.",
         (double)m->n_reloads},
        {"dm_reloads_failed_total", "counter",
         "Reloads that left everything as it was.",
         (double)m->n_reloads_failed},
        {"dm_reload_last_ok", "gauge", "1 when the last reload succeeded.",
         m->is_last_reload_ok ? 1 : 0},
        {"dm_reload_timestamp_seconds", "gauge",
         "When the live snapshot was published.",
         (double)m->reloaded_wall_us / 1e6},
        {"dm_workers", "gauge", "Worker threads.", (double)m->n_workers},
        {"dm_log_dropped_error_total", "counter",
         "Error log lines that were dropped.",
         (double)log_n_dropped(LOG_TO_ERROR)},
        {"dm_log_dropped_access_total", "counter",
         "Access log lines that were dropped.",
         (double)log_n_dropped(LOG_TO_ACCESS)},
        {"process_open_fds", "gauge", "Open file descriptors.",
         (double)own_metrics_n_fds()},
        {"process_resident_memory_bytes", "gauge", "Resident memory.",
         own_metrics_resident_bytes()},
        {"process_cpu_seconds_total", "counter", "CPU time, user and system.",
         own_metrics_cpu_seconds()},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        own_metrics_line(out, rows[i].name, rows[i].kind, rows[i].help,
                         rows[i].value);
    }
}
