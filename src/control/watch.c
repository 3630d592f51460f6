/*
 * watch: see watch.h. A folder is watched as a whole and any change in it is
 * looked at by name; "..data" is the link that Kubernetes swaps. When a file
 * is a symbolic link, the folder of its target counts as well.
 */
#include "control/watch.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

struct watch {
    struct loop *loop;
    watch_fn *fn;
    void *owner;
    struct event event;
    struct timer settle;
    struct map *names;   /* base names that count */
    struct map *folders; /* path -> watch descriptor + 1 */
    int fd;
};

static bool watch_counts(const struct watch *w, const struct inotify_event *e)
{
    if (e->len == 0) {
        /* No name follows. When events were lost, anything may have changed. */
        return (e->mask & IN_Q_OVERFLOW) != 0;
    }
    const struct str name = str_from(e->name);
    return str_eq(name, STR("..data")) || map_find(w->names, name) != NULL;
}

static void watch_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    _Alignas(struct inotify_event) char bytes[16 * 1024];
    bool has_changed = false;
    (void)what;
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(bytes + at);
            has_changed |= watch_counts(w, e);
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
    if (has_changed) {
        loop_arm(w->loop, &w->settle, WATCH_SETTLE_MS);
    }
}

static void watch_on_settled(struct timer *t)
{
    struct watch *w = CONTAINER_OF(t, struct watch, settle);
    w->fn(w->owner);
}

struct watch *watch_new(struct loop *loop, watch_fn *fn, void *owner)
{
    const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) {
        log_text(LOG_WARN,
                 "files are not watched: inotify: errno %d; send "
                 "SIGHUP to reload",
                 errno);
        return NULL;
    }
    struct watch *w = mem_new(sizeof(*w));
    w->loop = loop;
    w->fn = fn;
    w->owner = owner;
    w->fd = fd;
    w->names = map_new();
    w->folders = map_new();
    timer_init(&w->settle, watch_on_settled);
    event_assign(&w->event, loop->base, fd, EV_READ | EV_PERSIST,
                 watch_on_event, w);
    event_add(&w->event, NULL);
    return w;
}

void watch_clear(struct watch *w)
{
    size_t cursor = 0;
    struct str key;
    void *value;
    if (w == NULL) {
        return;
    }
    while (map_next(w->folders, &cursor, &key, &value)) {
        inotify_rm_watch(w->fd, (int)(intptr_t)value - 1);
    }
    map_free(w->folders);
    map_free(w->names);
    w->folders = map_new();
    w->names = map_new();
}

void watch_free(struct watch *w)
{
    if (w == NULL) {
        return;
    }
    loop_disarm(w->loop, &w->settle);
    event_del(&w->event);
    close(w->fd);
    map_free(w->folders);
    map_free(w->names);
    mem_free(w);
}

static void watch_add_path(struct watch *w, const char *path)
{
    const char *slash = strrchr(path, '/');
    const struct str folder =
        slash == NULL
            ? STR(".")
            : str_make(path, slash == path ? 1 : (size_t)(slash - path));
    const struct str name = str_from(slash == NULL ? path : slash + 1);
    map_set(w->names, name, w);
    if (map_find(w->folders, folder) != NULL ||
        map_count(w->folders) >= WATCH_N_FOLDERS_MAX) {
        return;
    }
    char *text = mem_copy_text(folder.p, folder.len);
    const int wd = inotify_add_watch(
        w->fd, text, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
    if (wd >= 0) {
        map_set(w->folders, folder, (void *)((intptr_t)wd + 1));
    } else {
        log_text(LOG_WARN,
                 "%s is not watched: errno %d; send SIGHUP after a "
                 "change in it",
                 text, errno);
    }
    mem_free(text);
}

void watch_add(struct watch *w, const char *path)
{
    char real[PATH_MAX];
    if (w == NULL || path == NULL) {
        return;
    }
    watch_add_path(w, path);
    if (realpath(path, real) != NULL && strcmp(real, path) != 0) {
        watch_add_path(w, real);
    }
}
