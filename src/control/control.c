/*
 * control: see control.h. The order of a start: read and check, build (opens
 * the listeners), open the logs and the admin page, drop privileges, start the
 * workers. The order of a reload: read, check, build, post to the workers; the
 * old snapshot is freed when the last worker has said that it left it.
 */
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include "control/control.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/privilege.h"
#include "control/admin.h"
#include "control/build.h"
#include "control/health.h"
#include "control/module.h"
#include "control/source_file.h"
#include "control/watch.h"
#include "proxy/worker.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

struct control {
    struct loop *loop;
    char *conf_path;
    struct build_world world;
    struct worker **workers;
    size_t n_workers;
    struct snapshot *current;
    struct admin *admin;
    struct health *health;
    struct watch *watch;
    struct event signal_event;
    int signal_fd;
    struct timer rotate_timer;
    uint64_t rotate_ms;
    char *pid_path;
    size_t n_snapshots; /* alive, the current one too */
    size_t n_drained;
    uint64_t n_reloads;
    uint64_t n_reloads_failed;
    uint64_t reloaded_wall_us;
    bool is_last_reload_ok;
    bool is_draining;
};

static const int control_signals[] = {SIGHUP, SIGTERM, SIGINT, SIGQUIT,
                                      SIGUSR1};

static void control_signal_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof(control_signals) / sizeof(int); i++) {
        sigaddset(set, control_signals[i]);
    }
}

void control_block_signals(void)
{
    sigset_t set;
    control_signal_set(&set);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    signal(SIGPIPE, SIG_IGN);
}

/* Reads and checks; NULL with lines in `err`. */
static struct node *control_read(const char *path, struct error *err)
{
    struct node *root = source_file_read(path, err);
    if (root != NULL && !settings_check(root, err)) {
        node_free(root);
        return NULL;
    }
    return root;
}

static size_t control_n_workers(const struct node *root)
{
    const int64_t n = settings_number(root, "workers");
    cpu_set_t set;
    if (n > 0) {
        return (size_t)n;
    }
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return (size_t)CPU_COUNT(&set);
    }
    return 1;
}

static void control_free_if_left(struct loop *loop, void *arg)
{
    struct control *c = loop->owner;
    build_free_snapshot(&c->world, arg);
    c->n_snapshots--;
}

/* Worker's thread. The last one to leave has it freed. */
static void control_on_snapshot_left(struct worker *w, struct snapshot *snap)
{
    struct control *c = w->owner;
    if (atomic_fetch_sub_explicit(&snap->n_workers_left, 1,
                                  memory_order_acq_rel) == 1) {
        loop_post(c->loop, control_free_if_left, snap);
    }
}

static void control_count_drained(struct loop *loop, void *arg)
{
    struct control *c = loop->owner;
    (void)arg;
    if (++c->n_drained == c->n_workers) {
        log_text(LOG_INFO, "drained; stopping");
        loop_stop(loop);
    }
}

/* Worker's thread. */
static void control_on_drained(struct worker *w)
{
    struct control *c = w->owner;
    loop_post(c->loop, control_count_drained, NULL);
}

static void control_look_at_failing(struct loop *loop, void *arg)
{
    struct control *c = loop->owner;
    if (c->health != NULL) {
        health_failing(c->health, arg);
    }
}

/* Worker's thread. The message comes before the one that the worker left the
 * snapshot, so the slot is still there when it is read. */
static void control_on_failing(struct worker *w, struct slot *slot)
{
    struct control *c = w->owner;
    loop_post(c->loop, control_look_at_failing, slot);
}

static const struct worker_owner_ops control_worker_ops = {
    .on_snapshot_left = control_on_snapshot_left,
    .on_drained = control_on_drained,
    .on_failing = control_on_failing,
};

/* Watches every PATH of the tree, and every file that was included. */
static void control_watch_node(struct control *c, const struct node *n)
{
    for (const struct node *m = n->first; m != NULL; m = m->next) {
        if (m->file != n->file) {
            watch_add(c->watch, m->file);
        }
        if (m->row != NULL && m->row->kind == SETTING_PATH && m->name != NULL) {
            char *path = settings_file(n, m->name);
            watch_add(c->watch, path);
            mem_free(path);
        }
        control_watch_node(c, m);
    }
}

static void control_watch_files(struct control *c)
{
    watch_clear(c->watch);
    if (settings_flag(c->current->settings, "watch_files")) {
        watch_add(c->watch, c->conf_path);
        control_watch_node(c, c->current->settings);
    }
}

static void control_load_tickets(struct control *c,
                                 const struct node *root,
                                 struct error *err)
{
    const struct node *tls = settings_child(root, "tls");
    char *path = settings_file(tls, "ticket_key_file");
    c->rotate_ms =
        path != NULL
            ? 0
            : (uint64_t)settings_number(tls, "ticket_rotate_seconds") * 1000;
    if (path != NULL) {
        tls_tickets_load(c->world.tickets, path, err);
    }
    mem_free(path);
    loop_disarm(c->loop, &c->rotate_timer);
    if (c->rotate_ms > 0) {
        loop_arm(c->loop, &c->rotate_timer, c->rotate_ms);
    }
}

static void control_on_rotate(struct timer *t)
{
    struct control *c = CONTAINER_OF(t, struct control, rotate_timer);
    tls_tickets_rotate(c->world.tickets);
    loop_arm(c->loop, t, c->rotate_ms);
}

static enum log_level control_log_level(const struct node *log)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    const struct str level = settings_text(log, "level");
    for (unsigned i = 0; i < 4; i++) {
        if (str_eq(level, str_from(words[i]))) {
            return (enum log_level)i;
        }
    }
    return LOG_INFO;
}

/* A file's path made absolute; "-" and "off" as they are. */
static char *control_log_path(const struct node *log, const char *key)
{
    const struct str text = settings_text(log, key);
    if (str_eq(text, STR("-")) || str_eq(text, STR("off"))) {
        return mem_copy_text(text.p, text.len);
    }
    return settings_file(log, key);
}

static bool control_open_logs(const struct node *root, struct error *err)
{
    const struct node *log = settings_child(root, "log");
    char *ep = control_log_path(log, "error");
    char *ap = control_log_path(log, "access");
    const bool is_ok = log_open(ep, ap, control_log_level(log), err);
    mem_free(ep);
    mem_free(ap);
    return is_ok;
}

static void control_log_problems(const struct error *err)
{
    struct str rest = str_from(error_text(err));
    struct str line;
    while (str_split(&rest, '\n', &line)) {
        if (line.len > 0) {
            log_text(LOG_ERROR, "%.*s", STR_ARG(line));
        }
    }
}

static void control_publish(struct control *c, struct snapshot *snap)
{
    health_watch(c->health, snap);
    c->current = snap;
    c->n_snapshots++;
    c->reloaded_wall_us = c->loop->wall_us;
    for (size_t i = 0; i < c->n_workers; i++) {
        worker_post_snapshot(c->workers[i], snap);
    }
}

/* What a reload cannot change, and was changed nevertheless. */
static void control_warn_restart(const struct node *old, const struct node *new)
{
    static const char *const keys[] = {"workers", "user", "pid_file"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (settings_number(old, keys[i]) != settings_number(new, keys[i]) ||
            !str_eq(settings_text(old, keys[i]), settings_text(new, keys[i]))) {
            log_text(LOG_WARN, "%s was changed: that takes a restart", keys[i]);
        }
    }
    if (!str_eq(settings_text(settings_child(old, "admin"), "address"),
                settings_text(settings_child(new, "admin"), "address"))) {
        log_text(LOG_WARN, "admin.address was changed: that takes a restart");
    }
}

static bool control_try_reload(struct control *c, struct error *err)
{
    struct node *root = control_read(c->conf_path, err);
    if (root == NULL) {
        return false;
    }
    struct snapshot *snap = build_snapshot(&c->world, root, c->current, err);
    if (snap == NULL) {
        node_free(root);
        return false;
    }
    struct error late = {0};
    control_load_tickets(c, root, &late);
    control_open_logs(root, &late);
    control_log_problems(&late);
    error_fini(&late);
    control_warn_restart(c->current->settings, root);
    control_publish(c, snap);
    return true;
}

static void control_reload(struct control *c)
{
    struct error err = {0};
    const uint64_t begin_us = loop_clock_us();
    if (c->is_draining) {
        return;
    }
    c->n_reloads++;
    c->is_last_reload_ok = control_try_reload(c, &err);
    if (c->is_last_reload_ok) {
        control_watch_files(c);
        log_text(LOG_INFO, "generation %llu is live (%llu us)",
                 (unsigned long long)c->current->generation,
                 (unsigned long long)(loop_clock_us() - begin_us));
    } else {
        c->n_reloads_failed++;
        control_log_problems(&err);
        log_text(LOG_ERROR,
                 "reload: %zu problem%s; generation %llu goes on serving",
                 err.n_problems, err.n_problems == 1 ? "" : "s",
                 (unsigned long long)c->current->generation);
    }
    error_fini(&err);
}

static void control_on_file_change(void *owner)
{
    struct control *c = owner;
    log_text(LOG_INFO, "a file of the configuration changed");
    control_reload(c);
}

static void control_drain(struct control *c)
{
    if (c->is_draining) {
        loop_stop(c->loop); /* asked twice: now */
        return;
    }
    c->is_draining = true;
    log_text(LOG_INFO, "draining, %u ms at most", c->current->drain_timeout_ms);
    for (size_t i = 0; i < c->n_workers; i++) {
        worker_post_drain(c->workers[i]);
    }
}

static void control_on_signal(struct control *c, uint32_t number)
{
    switch (number) {
    case SIGHUP:
        control_reload(c);
        return;
    case SIGTERM:
        control_drain(c);
        return;
    case SIGINT:
    case SIGQUIT:
        log_text(LOG_INFO, "stopping at once");
        loop_stop(c->loop);
        return;
    case SIGUSR1:
        log_reopen();
        return;
    default:
        return;
    }
}

/* A storm of SIGHUP is one reload: signalfd holds one of each kind. */
static void control_on_signals(evutil_socket_t fd, short what, void *arg)
{
    struct signalfd_siginfo info;
    (void)what;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        control_on_signal(arg, info.ssi_signo);
    }
}

static void control_open_signals(struct control *c)
{
    sigset_t set;
    control_signal_set(&set);
    c->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(c->signal_fd >= 0);
    event_assign(&c->signal_event, c->loop->base, c->signal_fd,
                 EV_READ | EV_PERSIST, control_on_signals, c);
    event_add(&c->signal_event, NULL);
}

/* One line of a metric of the process. */
static void control_print_metric(struct buf *out,
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

static size_t control_n_fds(void)
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

static double control_resident_bytes(void)
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

static double control_cpu_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void control_print_own(struct control *c, struct buf *out)
{
    const struct {
        const char *name;
        const char *kind;
        const char *help;
        double value;
    } rows[] = {
        {"dm_snapshot_generation", "gauge", "Number of the live snapshot.",
         (double)c->current->generation},
        {"dm_snapshots", "gauge",
         "Snapshots in memory; 1 when no old one is in use.",
         (double)c->n_snapshots},
        {"dm_reloads_total", "counter", "Reloads asked for.",
         (double)c->n_reloads},
        {"dm_reloads_failed_total", "counter",
         "Reloads that left everything as it was.",
         (double)c->n_reloads_failed},
        {"dm_reload_last_ok", "gauge", "1 when the last reload succeeded.",
         c->is_last_reload_ok ? 1 : 0},
        {"dm_reload_timestamp_seconds", "gauge",
         "When the live snapshot was published.",
         (double)c->reloaded_wall_us / 1e6},
        {"dm_workers", "gauge", "Worker threads.", (double)c->n_workers},
        {"dm_log_dropped_error_total", "counter",
         "Error log lines that were dropped.",
         (double)log_n_dropped(LOG_TO_ERROR)},
        {"dm_log_dropped_access_total", "counter",
         "Access log lines that were dropped.",
         (double)log_n_dropped(LOG_TO_ACCESS)},
        {"process_open_fds", "gauge", "Open file descriptors.",
         (double)control_n_fds()},
        {"process_resident_memory_bytes", "gauge", "Resident memory.",
         control_resident_bytes()},
        {"process_cpu_seconds_total", "counter", "CPU time, user and system.",
         control_cpu_seconds()},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        control_print_metric(out, rows[i].name, rows[i].kind, rows[i].help,
                             rows[i].value);
    }
}

static void control_admin_metrics(void *owner, struct buf *out)
{
    struct control *c = owner;
    metric_print(out);
    scoreboard_print(c->world.scoreboard, out);
    control_print_own(c, out);
}

static void control_admin_config(void *owner, struct buf *out)
{
    struct control *c = owner;
    settings_dump(c->current->settings, out);
}

static bool control_admin_is_ready(void *owner, struct str *why)
{
    struct control *c = owner;
    if (c->is_draining) {
        *why = STR("draining");
        return false;
    }
    return true;
}

static const struct admin_ops control_admin_ops = {
    .metrics = control_admin_metrics,
    .config = control_admin_config,
    .is_ready = control_admin_is_ready,
};

static bool control_open_admin(struct control *c,
                               const struct node *root,
                               struct error *err)
{
    const struct str address =
        settings_text(settings_child(root, "admin"), "address");
    if (str_eq(address, STR("off"))) {
        return true;
    }
    c->admin = admin_new(c->loop, address, &control_admin_ops, c, err);
    return c->admin != NULL;
}

static bool
control_write_pid(struct control *c, const struct node *root, struct error *err)
{
    char *path = settings_file(root, "pid_file");
    if (path == NULL) {
        return true;
    }
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        error_add(err, "pid_file: %s cannot be written; check its folder",
                  path);
        mem_free(path);
        return false;
    }
    fprintf(f, "%d\n", getpid());
    fclose(f);
    c->pid_path = path;
    return true;
}

static const char *control_user(const struct node *root)
{
    const struct node *user = settings_child(root, "user");
    return user != NULL ? user->text : "nobody";
}

static void control_start_workers(struct control *c)
{
    c->n_workers = c->world.n_workers;
    c->workers = mem_new_array(c->n_workers, sizeof(*c->workers));
    for (size_t i = 0; i < c->n_workers; i++) {
        c->workers[i] = worker_new((unsigned)i, &control_worker_ops, c);
    }
}

static void control_raise_fd_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

/*
 * Log files that root made belong to the user from now on, who opens them again
 * at a reload and at SIGUSR1. Devices and pipes stay whose they are.
 */
static void control_give_logs(const struct node *root)
{
    static const char *const keys[] = {"error", "access"};
    struct stat st;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char *path = control_log_path(settings_child(root, "log"), keys[i]);
        if (path[0] == '/' && lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            privilege_give(path, control_user(root));
        }
        mem_free(path);
    }
}

static bool control_start(struct control *c,
                          struct node *root,
                          struct snapshot *snap,
                          struct error *err)
{
    struct error late = {0};
    if (!control_open_admin(c, root, err) || !control_write_pid(c, root, err) ||
        !control_open_logs(root, err)) {
        return false;
    }
    c->loop->log = log_ring_new();
    control_load_tickets(c, root, &late);
    if (late.n_problems > 0) {
        error_add(err, "%s", error_text(&late));
        error_fini(&late);
        return false;
    }
    control_give_logs(root);
    if (!privilege_drop(control_user(root), err)) {
        return false;
    }
    control_start_workers(c);
    c->health = health_new(c->loop);
    control_publish(c, snap);
    c->watch = watch_new(c->loop, control_on_file_change, c);
    control_watch_files(c);
    control_open_signals(c);
    log_text(LOG_INFO,
             "generation %llu is live: %zu workers, %zu listeners, "
             "%zu upstreams, %zu routes",
             (unsigned long long)snap->generation, c->n_workers,
             snap->n_listeners, snap->n_upstreams, snap->n_routes);
    return true;
}

/* Links are not resolved: where one leads to may change (a mounted volume). */
static char *control_absolute(const char *path)
{
    char text[2 * PATH_MAX];
    char cwd[PATH_MAX];
    if (path[0] == '/' || getcwd(cwd, sizeof(cwd)) == NULL) {
        return mem_copy_text(path, strlen(path));
    }
    snprintf(text, sizeof(text), "%s/%s", cwd, path);
    return mem_copy_text(text, strlen(text));
}

struct control *control_new(const char *conf_path, struct error *err)
{
    control_raise_fd_limit();
    struct node *root = control_read(conf_path, err);
    if (root == NULL) {
        return NULL;
    }
    struct control *c = mem_new(sizeof(*c));
    c->conf_path = control_absolute(conf_path);
    c->loop = loop_new("control", 0);
    c->loop->owner = c;
    c->loop->metrics = metric_set_new();
    c->signal_fd = -1;
    c->is_last_reload_ok = true;
    timer_init(&c->rotate_timer, control_on_rotate);
    build_world_init(&c->world, control_n_workers(root));
    struct snapshot *snap = build_snapshot(&c->world, root, NULL, err);
    if (snap == NULL) {
        node_free(root);
        control_free(c);
        return NULL;
    }
    if (!control_start(c, root, snap, err)) {
        build_free_snapshot(&c->world, snap);
        control_free(c);
        return NULL;
    }
    return c;
}

int control_run(struct control *c)
{
    loop_run(c->loop);
    return 0;
}

void control_free(struct control *c)
{
    if (c == NULL) {
        return;
    }
    /* Nothing may ask for a reload any more: turns of the loop follow. */
    watch_free(c->watch);
    if (c->signal_fd >= 0) {
        event_del(&c->signal_event);
        close(c->signal_fd);
    }
    loop_disarm(c->loop, &c->rotate_timer);
    for (size_t i = 0; i < c->n_workers; i++) {
        worker_stop(c->workers[i]);
    }
    c->n_workers = 0;
    mem_free(c->workers);
    struct health *health = c->health;
    c->health = NULL; /* messages that are still on their way find none */
    health_free(health);
    admin_free(c->admin);
    loop_free(c->loop); /* frees the last snapshots by posted messages */
    build_world_fini(&c->world);
    module_unload_all();
    log_close();
    if (c->pid_path != NULL) {
        unlink(c->pid_path);
        mem_free(c->pid_path);
    }
    mem_free(c->conf_path);
    mem_free(c);
}

bool control_test(const char *conf_path, struct error *err)
{
    struct node *root = control_read(conf_path, err);
    if (root == NULL) {
        return false;
    }
    struct build_world world;
    build_world_init(&world, control_n_workers(root));
    world.is_test = true;
    struct snapshot *snap = build_snapshot(&world, root, NULL, err);
    if (snap == NULL) {
        node_free(root);
    }
    build_free_snapshot(&world, snap);
    build_world_fini(&world);
    module_unload_all();
    return snap != NULL;
}
