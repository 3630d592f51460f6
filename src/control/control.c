/*
 * control: see control.h. The order of a start: read, check, build (opens the
 * listeners), open the logs and the admin page, drop privileges, start the
 * workers. The order of a reload: read, check, build, open what is new; from
 * then on nothing can fail: logs and keys are put in place and the snapshot is
 * posted to the workers. The old snapshot is freed when the last worker has
 * said that it left it.
 */
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include "control/control.h"

#include "base/check.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/privilege.h"
#include "control/admin.h"
#include "control/build.h"
#include "control/health.h"
#include "control/logs.h"
#include "control/module.h"
#include "control/own_metrics.h"
#include "control/pid_file.h"
#include "control/prepare.h"
#include "control/source_file.h"
#include "control/suspect.h"
#include "control/watch.h"
#include "net/fd_reserve.h"
#include "proxy/worker.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct control {
    struct loop *loop;
    char *conf_path;
    struct build_world world;
    struct worker **workers;
    size_t n_workers;
    struct pool_peers peers; /* the pools of all workers */
    struct address_limit *addresses;
    struct snapshot *current;
    struct admin *admin;
    struct health *health;
    struct watch *watch;
    struct event signal_event;
    int signal_fd;
    struct timer rotate_timer;
    uint64_t rotate_ms;
    struct pid_file pid_file;
    char *user;             /* whom we became; NULL: root was not given up */
    struct map *read_files; /* of the last reading, whatever came of it */
    size_t n_snapshots;     /* alive, the current one too */
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

static size_t control_n_workers(const struct node *root)
{
    const struct node *workers = settings_child(root, "workers");
    const int64_t n = settings_number(root, "workers");
    cpu_set_t set;
    if (!settings_is_sound(workers)) {
        return 1; /* there will be none */
    }
    if (n > 0) {
        return (size_t)n;
    }
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return (size_t)CPU_COUNT(&set);
    }
    return 1;
}

/*
 * From a tree after settings_check, whatever that found, through the other
 * checks to a snapshot; NULL with every problem in `err`. On success the tree
 * belongs to the snapshot.
 */
static struct snapshot *control_build(struct build_world *world,
                                      struct prepare *p,
                                      struct node *root,
                                      const struct snapshot *old,
                                      struct error *err)
{
    if (old == NULL) {
        world->n_workers = control_n_workers(root);
    }
    prepare_check(p, root, err);
    return build_snapshot(world, root, old, err);
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

static bool control_is_watching(const struct control *c)
{
    return c->current != NULL &&
           settings_flag(c->current->settings, "watch_files");
}

/*
 * Those of the live configuration, and of the one that was refused, which may
 * not even have become a tree: mending any of them is a reason to try again.
 */
static void control_watch_files(struct control *c, const struct node *refused)
{
    size_t cursor = 0;
    struct str path;
    void *value;
    watch_clear(c->watch);
    if (!control_is_watching(c)) {
        return;
    }
    watch_add(c->watch, c->conf_path);
    control_watch_node(c, c->current->settings);
    if (refused != NULL) {
        control_watch_node(c, refused);
    }
    while (map_next(c->read_files, &cursor, &path, &value)) {
        char *text = mem_copy_text(path.p, path.len);
        watch_add(c->watch, text);
        mem_free(text);
    }
}

static void control_on_read_file(void *owner, const char *path)
{
    struct control *c = owner;
    map_set(c->read_files, str_from(path), c);
    if (control_is_watching(c)) {
        watch_add(c->watch, path);
    }
}

/*
 * The tree after settings_check, with its problems in `err`; NULL when there
 * is none. Files are watched before they are read, so that no change is missed
 * between reading one and watching it.
 */
static struct node *control_read(struct control *c, struct error *err)
{
    map_free(c->read_files);
    c->read_files = map_new();
    struct node *root =
        source_file_read_told(c->conf_path, control_on_read_file, c, err);
    if (root != NULL) {
        settings_check(root, err);
        if (control_is_watching(c)) {
            control_watch_node(c, root);
        }
    }
    return root;
}

/* Reloads that change nothing about it do not put the next rotation off. */
static void control_arm_rotate(struct control *c, const struct node *root)
{
    const struct node *tls = settings_child(root, "tls");
    const uint64_t rotate_ms =
        settings_has(tls, "ticket_key_file")
            ? 0
            : (uint64_t)settings_number(tls, "ticket_rotate_seconds") * 1000;
    if (rotate_ms == c->rotate_ms) {
        return;
    }
    c->rotate_ms = rotate_ms;
    loop_disarm(c->loop, &c->rotate_timer);
    if (rotate_ms > 0) {
        loop_arm(c->loop, &c->rotate_timer, rotate_ms);
    }
}

static void control_on_rotate(struct timer *t)
{
    struct control *c = CONTAINER_OF(t, struct control, rotate_timer);
    tls_tickets_rotate(c->world.tickets);
    loop_arm(c->loop, t, c->rotate_ms);
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

/* False when nothing has changed; then *refused is the tree, if there is one.
 */
static bool
control_try_reload(struct control *c, struct node **refused, struct error *err)
{
    struct prepare p = {.live = c->current->settings, .user = c->user};
    struct node *root = control_read(c, err);
    struct snapshot *snap =
        root == NULL ? NULL
                     : control_build(&c->world, &p, root, c->current, err);
    const bool is_ok = snap != NULL && prepare_open(&p, root, err) &&
                       prepare_commit(&p, root, c->world.tickets, err);
    prepare_fini(&p);
    if (!is_ok) {
        if (snap != NULL) {
            snap->settings = NULL;
            build_free_snapshot(&c->world, snap);
        }
        *refused = root;
        return false;
    }
    control_arm_rotate(c, root);
    control_warn_restart(c->current->settings, root);
    suspect_warn(snap, root);
    build_apply_listeners(snap);
    control_publish(c, snap);
    return true;
}

static void control_tell_refusal(struct control *c, struct error *err)
{
    const size_t n = err->n_problems;
    logs_tell(err);
    log_text(LOG_ERROR,
             "reload: %zu problem%s; generation %llu goes on serving", n,
             n == 1 ? "" : "s", (unsigned long long)c->current->generation);
}

static void control_reload(struct control *c)
{
    struct error err = {0};
    struct node *refused = NULL;
    const uint64_t begin_us = loop_clock_us();
    if (c->is_draining) {
        return;
    }
    c->n_reloads++;
    c->is_last_reload_ok = control_try_reload(c, &refused, &err);
    if (c->is_last_reload_ok) {
        log_text(LOG_INFO, "generation %llu is live (%llu us)",
                 (unsigned long long)c->current->generation,
                 (unsigned long long)(loop_clock_us() - begin_us));
    } else {
        c->n_reloads_failed++;
        control_tell_refusal(c, &err);
    }
    control_watch_files(c, refused);
    node_free(refused);
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
        logs_reopen(c->current->settings, c->user);
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

static void control_print_own(struct control *c, struct buf *out)
{
    const struct own_metrics m = {
        .generation = c->current->generation,
        .n_snapshots = c->n_snapshots,
        .n_workers = c->n_workers,
        .n_reloads = c->n_reloads,
        .n_reloads_failed = c->n_reloads_failed,
        .reloaded_wall_us = c->reloaded_wall_us,
        .is_last_reload_ok = c->is_last_reload_ok,
    };
    own_metrics_print(&m, out);
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
    const struct node *admin = settings_child(root, "admin");
    const struct node *n = settings_child(admin, "address");
    const struct str address = settings_text(admin, "address");
    struct error detail = {0};
    if (str_eq(address, STR("off"))) {
        return true;
    }
    c->admin = admin_new(c->loop, address, &control_admin_ops, c, &detail);
    return c->admin != NULL ||
           node_explain(n != NULL ? n : admin, err, &detail);
}

/* Who can still write the logs is said once the logs are open. */
static bool control_give_up_root(struct control *c,
                                 const struct node *root,
                                 struct error *err)
{
    const char *user = prepare_user(root);
    const struct node *n = settings_child(root, "user");
    struct error detail = {0};
    if (geteuid() != 0) {
        return true;
    }
    logs_give(root, user);
    if (!privilege_drop(user, &detail)) {
        return node_explain(n != NULL ? n : root, err, &detail);
    }
    c->user = mem_copy_text(user, strlen(user));
    logs_warn(root, user);
    return true;
}

static void control_start_workers(struct control *c)
{
    c->n_workers = c->world.n_workers;
    c->workers = mem_new_array(c->n_workers, sizeof(*c->workers));
    c->addresses = address_limit_new();
    c->peers.sets = mem_new_array(c->n_workers, sizeof(*c->peers.sets));
    for (size_t i = 0; i < c->n_workers; i++) {
        c->workers[i] = worker_new((unsigned)i, &control_worker_ops, c);
        c->peers.sets[c->peers.n++] = &c->workers[i]->pools;
    }
    /* Workers look at it when they have a snapshot, which comes by mail. */
    for (size_t i = 0; i < c->n_workers; i++) {
        c->workers[i]->pools.peers = &c->peers;
        c->workers[i]->addresses = c->addresses;
    }
}

static void control_raise_fd_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        fd_reserve_init(r.rlim_cur);
    }
}

/* What outlives snapshots, and what only a start opens. */
static bool control_open(struct control *c,
                         struct prepare *p,
                         const struct node *root,
                         struct error *err)
{
    bool is_ok = control_open_admin(c, root, err);
    is_ok = pid_file_open(&c->pid_file, root, err) && is_ok;
    is_ok = prepare_open(p, root, err) && is_ok;
    if (!is_ok || !prepare_commit(p, root, c->world.tickets, err)) {
        return false;
    }
    c->loop->log = log_ring_new();
    return control_give_up_root(c, root, err);
}

static void control_start(struct control *c, struct snapshot *snap)
{
    control_arm_rotate(c, snap->settings);
    control_start_workers(c);
    c->health = health_new(c->loop);
    control_publish(c, snap);
    c->watch = watch_new(c->loop, control_on_file_change, c);
    control_watch_files(c, NULL);
    control_open_signals(c);
    log_text(LOG_INFO,
             "generation %llu is live: %zu workers, %zu listeners, "
             "%zu upstreams, %zu routes",
             (unsigned long long)snap->generation, c->n_workers,
             snap->n_listeners, snap->n_upstreams, snap->n_routes);
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

/* False when it cannot start; the tree is then freed. */
static bool
control_begin(struct control *c, struct node *root, struct error *err)
{
    struct prepare p = {0};
    struct snapshot *snap = control_build(&c->world, &p, root, NULL, err);
    if (snap == NULL) {
        node_free(root);
    }
    const bool is_ok = snap != NULL && control_open(c, &p, root, err);
    prepare_fini(&p);
    if (is_ok) {
        suspect_warn(snap, root);
        control_start(c, snap);
    } else {
        build_free_snapshot(&c->world, snap);
    }
    return is_ok;
}

struct control *control_new(const char *conf_path, struct error *err)
{
    control_raise_fd_limit();
    struct control *c = mem_new(sizeof(*c));
    c->conf_path = control_absolute(conf_path);
    c->loop = loop_new("control", 0);
    c->loop->owner = c;
    c->loop->metrics = metric_set_new();
    c->signal_fd = -1;
    c->is_last_reload_ok = true;
    timer_init(&c->rotate_timer, control_on_rotate);
    build_world_init(&c->world, 1); /* the number is not known yet */
    struct node *root = control_read(c, err);
    if (root == NULL || !control_begin(c, root, err)) {
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
    for (size_t i = 0; i < c->n_workers; i++) {
        worker_free(c->workers[i]);
    }
    c->n_workers = 0;
    mem_free(c->peers.sets);
    address_limit_free(c->addresses);
    mem_free(c->workers);
    struct health *health = c->health;
    c->health = NULL; /* messages that are still on their way find none */
    health_free(health);
    admin_free(c->admin);
    loop_free(c->loop); /* frees the last snapshots by posted messages */
    build_world_fini(&c->world);
    module_unload_all();
    log_close();
    pid_file_close(&c->pid_file);
    map_free(c->read_files);
    mem_free(c->user);
    mem_free(c->conf_path);
    mem_free(c);
}

bool control_test(const char *conf_path, struct error *err)
{
    struct node *root = source_file_read(conf_path, err);
    if (root == NULL) {
        return false;
    }
    settings_check(root, err);
    struct prepare p = {0};
    struct build_world world;
    build_world_init(&world, 1);
    world.is_test = true;
    struct snapshot *snap = control_build(&world, &p, root, NULL, err);
    if (snap == NULL) {
        node_free(root);
    } else {
        suspect_warn(snap, root);
    }
    prepare_fini(&p);
    build_free_snapshot(&world, snap);
    build_world_fini(&world);
    module_unload_all();
    return snap != NULL;
}
