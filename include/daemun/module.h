/*
 * module: what a shared object must export to be a module: one constant
 * descriptor, by the name dm_module.
 *
 *   const struct module_info dm_module = {
 *       .abi = DM_ABI,
 *       .size = sizeof(struct module_info),
 *       .name = "my_module",
 *       .version = "1.0",
 *       .summary = "Does what it says.",
 *       .filters = my_filters,
 *   };
 *
 * A module is loaded once, when a configuration first lists it, and stays
 * until the process ends; a new file takes effect at a restart.
 *
 * History of the ABI
 *   1  2026-11-25  The first one: filters.
 */
#ifndef DAEMUN_MODULE_H
#define DAEMUN_MODULE_H

#include <daemun/api.h>
#include <daemun/filter.h>
#include <stdbool.h>
#include <stddef.h>

struct error;

/*
 * The descriptor. `abi` and `size` come first for ever, so that any daemun can
 * read them of any module. Members beyond `size` are absent.
 */
struct module_info {
    unsigned abi;        /* DM_ABI */
    size_t size;         /* sizeof(struct module_info) */
    const char *name;    /* unique: letters, digits, '_' and '-' */
    const char *version; /* free text for the log; may be NULL */
    const char *summary; /* one line for the log; may be NULL */
    /* Control thread, once, when the module is loaded; may be NULL. False,
     * with a problem in `err` (dm_conf_problem), refuses to be loaded. */
    bool (*load)(struct error *err);
    /* Control thread, once, at the end of the process, when no hook of the
     * module can be called any more; may be NULL. */
    void (*unload)(void);
    /* What it offers; ends in NULL; may be NULL. */
    const struct filter *const *filters;
};

/* Defined by the module. */
extern DM_API const struct module_info dm_module;

#endif
