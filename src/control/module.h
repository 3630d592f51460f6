/*
 * module: shared objects that add filters. A module is loaded when a
 * configuration first lists it and stays, mapped, until the process ends: a
 * request may be inside of it at any time. Control thread; owned by the
 * process.
 * Invariant: names of modules and of filters are unique; what is found here
 * has been checked and may be used for ever.
 */
#ifndef DAEMUN_CONTROL_MODULE_H
#define DAEMUN_CONTROL_MODULE_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

struct buf;
struct filter;

/*
 * Loads the module at `path` (absolute), or does nothing when it is loaded
 * already. False with what is wrong in `err`; then nothing of it is left.
 */
bool module_load(const char *path, struct error *err);
/* The filter of that name; NULL when no loaded module offers it. Members that
 * its module did not know are zero. */
const struct filter *module_find_filter(struct str name);
/* "a, b, c" of all filters, for messages; empty when there are none. */
void module_print_filters(struct buf *out);
/* The end of the process: no worker runs and no snapshot is left. Calls the
 * unload hooks, last module first. */
void module_unload_all(void);

#endif
