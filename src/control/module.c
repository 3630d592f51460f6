/*
 * module: loads shared objects, checks their descriptor, and keeps them. See
 * module.h. Descriptors and filter tables are copied into tables of our own
 * size, filled with zero where the module's are shorter; so nobody else has to
 * know that a module may be older than we are. Control thread.
 */
#define _GNU_SOURCE /* strerror_r that returns the text */
#include "control/module.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/filter.h"

#include <daemun/module.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    MODULE_FILTERS_MAX = 64,
    MODULE_NAME_BYTES_MAX = 64,
    MODULE_REASON_BYTES_MAX = 128
};

/* One loaded module. */
struct module {
    struct list node; /* in modules */
    char *path;       /* canonical */
    struct stat stat; /* of the file that was loaded */
    void *handle;
    struct module_info info;
    struct filter *filters; /* our copies */
    size_t n_filters;
};

/* Of the process; the control thread alone touches it. */
static struct list modules = {&modules, &modules};

static bool module_name_is_valid(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const size_t len =
        name != NULL ? strnlen(name, MODULE_NAME_BYTES_MAX + 1) : 0;
    return len > 0 && len <= MODULE_NAME_BYTES_MAX &&
           strspn(name, allowed) == len;
}

static struct module *module_find(const char *name)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &modules) {
        struct module *m = CONTAINER_OF(it, struct module, node);
        if (strcmp(m->info.name, name) == 0) {
            return m;
        }
    }
    return NULL;
}

static struct module *module_find_path(const char *path)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &modules) {
        struct module *m = CONTAINER_OF(it, struct module, node);
        if (strcmp(m->path, path) == 0) {
            return m;
        }
    }
    return NULL;
}

/* The filter and the module that has it. */
static const struct filter *module_find_offer(struct str name,
                                              const struct module **owner)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &modules) {
        const struct module *m = CONTAINER_OF(it, struct module, node);
        for (size_t i = 0; i < m->n_filters; i++) {
            if (str_eq(str_from(m->filters[i].name), name)) {
                *owner = m;
                return &m->filters[i];
            }
        }
    }
    return NULL;
}

const struct filter *module_find_filter(struct str name)
{
    const struct module *owner;
    return module_find_offer(name, &owner);
}

void module_print_filters(struct buf *out)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &modules) {
        const struct module *m = CONTAINER_OF(it, struct module, node);
        for (size_t i = 0; i < m->n_filters; i++) {
            if (buf_len(out) > 0) {
                buf_append_str(out, STR(", "));
            }
            buf_append_str(out, str_from(m->filters[i].name));
        }
    }
}

static bool module_system_problem(int error_number, struct error *err)
{
    char reason[MODULE_REASON_BYTES_MAX];
    return error_add(err, "cannot be loaded: %s",
                     strerror_r(error_number, reason, sizeof(reason)));
}

/* What the loader says, without the path that the caller's line has. */
static bool module_loader_problem(const char *path, struct error *err)
{
    const char *text = dlerror();
    const size_t len = strlen(path);
    if (text == NULL) {
        text = "the loader gives no reason";
    }
    if (strncmp(text, path, len) == 0 && text[len] == ':') {
        text += len + 1;
        text += strspn(text, " ");
    }
    return error_add(err, "cannot be loaded: %s", text);
}

/* The first two members are all that may be read of any module. */
static const struct module_info *module_check_abi(void *handle,
                                                  struct error *err)
{
    const struct module_info *info = dlsym(handle, "dm_module");
    if (info == NULL) {
        error_add(err, "is no module: it does not export dm_module");
        return NULL;
    }
    if (info->abi != DM_ABI) {
        error_add(err,
                  "built for module ABI %u, this daemun has %u; compile it "
                  "again",
                  info->abi, (unsigned)DM_ABI);
        return NULL;
    }
    if (info->size < offsetof(struct module_info, version)) {
        error_add(err,
                  "dm_module says its size is %zu; set it to "
                  "sizeof(struct module_info)",
                  info->size);
        return NULL;
    }
    return info;
}

static bool module_check_name(const struct module *m, struct error *err)
{
    if (!module_name_is_valid(m->info.name)) {
        return error_add(err,
                         "the name in dm_module must be 1 to %d letters, "
                         "digits, '_' and '-'",
                         MODULE_NAME_BYTES_MAX);
    }
    const struct module *other = module_find(m->info.name);
    if (other != NULL) {
        return error_add(err, "the module's name \"%s\" is that of %s",
                         m->info.name, other->path);
    }
    return true;
}

static bool module_filter_is_known(const struct module *m, const char *name)
{
    for (size_t i = 0; i < m->n_filters; i++) {
        if (strcmp(m->filters[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Copies one filter and checks it. */
static bool module_take_filter(struct module *m,
                               const struct filter *from,
                               struct error *err)
{
    struct filter *f = &m->filters[m->n_filters];
    const struct module *owner;
    if (from->size < offsetof(struct filter, flags)) {
        return error_add(err,
                         "filter %zu says its size is %zu; set it to "
                         "sizeof(struct filter)",
                         m->n_filters + 1, from->size);
    }
    memcpy(f, from, from->size < sizeof(*f) ? from->size : sizeof(*f));
    if (!module_name_is_valid(f->name)) {
        return error_add(err,
                         "the name of filter %zu must be 1 to %d letters, "
                         "digits, '_' and '-'",
                         m->n_filters + 1, MODULE_NAME_BYTES_MAX);
    }
    if (f->state_size > FILTER_STATE_BYTES_MAX) {
        return error_add(err,
                         "filter \"%s\": state_size is %zu, the most is %d",
                         f->name, f->state_size, FILTER_STATE_BYTES_MAX);
    }
    if (module_filter_is_known(m, f->name)) {
        return error_add(err, "offers the filter \"%s\" twice", f->name);
    }
    if (module_find_offer(str_from(f->name), &owner) != NULL) {
        return error_add(err, "the filter \"%s\" is offered by module %s (%s)",
                         f->name, owner->info.name, owner->path);
    }
    m->n_filters++;
    return true;
}

static bool module_take_filters(struct module *m, struct error *err)
{
    size_t n = 0;
    while (m->info.filters != NULL && m->info.filters[n] != NULL) {
        if (++n > MODULE_FILTERS_MAX) {
            return error_add(err, "offers more than %d filters",
                             MODULE_FILTERS_MAX);
        }
    }
    m->filters = mem_new_array(n + 1, sizeof(*m->filters));
    for (size_t i = 0; i < n; i++) {
        if (!module_take_filter(m, m->info.filters[i], err)) {
            return false;
        }
    }
    return true;
}

/* Everything but keeping it. */
static bool module_open(struct module *m, struct error *err)
{
    if (stat(m->path, &m->stat) != 0) {
        return module_system_problem(errno, err);
    }
    m->handle = dlopen(m->path, RTLD_NOW | RTLD_LOCAL);
    if (m->handle == NULL) {
        return module_loader_problem(m->path, err);
    }
    const struct module_info *info = module_check_abi(m->handle, err);
    if (info == NULL) {
        return false;
    }
    memcpy(&m->info, info,
           info->size < sizeof(m->info) ? info->size : sizeof(m->info));
    if (!module_check_name(m, err) || !module_take_filters(m, err)) {
        return false;
    }
    if (m->info.load != NULL && !m->info.load(err)) {
        if (err->n_problems == 0) {
            error_add(err, "refused to be loaded and gave no reason");
        }
        return false;
    }
    return true;
}

/* Of a module that was not taken. */
static void module_free(struct module *m)
{
    if (m->handle != NULL) {
        dlclose(m->handle);
    }
    mem_free(m->filters);
    mem_free(m->path);
    mem_free(m);
}

/* The file may have been replaced since; the old code goes on. */
static void module_note_change(const struct module *m)
{
    struct stat now;
    if (stat(m->path, &now) == 0 &&
        (now.st_ino != m->stat.st_ino || now.st_dev != m->stat.st_dev ||
         now.st_mtim.tv_sec != m->stat.st_mtim.tv_sec ||
         now.st_mtim.tv_nsec != m->stat.st_mtim.tv_nsec)) {
        log_text(LOG_WARN,
                 "module %s: %s has changed; the new one is used after a "
                 "restart",
                 m->info.name, m->path);
    }
}

bool module_load(const char *path, struct error *err)
{
    char canonical[PATH_MAX];
    if (realpath(path, canonical) == NULL) {
        return module_system_problem(errno, err);
    }
    const struct module *known = module_find_path(canonical);
    if (known != NULL) {
        module_note_change(known);
        return true;
    }
    struct module *m = mem_new(sizeof(*m));
    m->path = mem_copy_text(canonical, strlen(canonical));
    if (!module_open(m, err)) {
        module_free(m);
        return false;
    }
    list_push_back(&modules, &m->node);
    log_text(LOG_INFO, "module %s (version %s) is loaded from %s", m->info.name,
             m->info.version != NULL ? m->info.version : "unknown", m->path);
    return true;
}

void module_unload_all(void)
{
    struct list *last;
    while ((last = list_last(&modules)) != NULL) {
        struct module *m = CONTAINER_OF(last, struct module, node);
        list_remove(&m->node);
        if (m->info.unload != NULL) {
            m->info.unload();
        }
        /* It stays mapped: what it left in the process may still run. */
        mem_free(m->filters);
        mem_free(m->path);
        mem_free(m);
    }
}
