/*
 * A module of an older daemun with the same ABI number: its descriptor ends
 * before `filters` did exist, as far as its size says, or its filter before
 * on_done. What lies beyond is not theirs and must not be looked at.
 */
#include <daemun/daemun.h>
#include <stdint.h>

static const struct filter older = {
    .size = offsetof(struct filter, on_done),
    .name = "older",
    .on_done = (void (*)(struct exchange *, const struct filter_use *))16,
};

static const struct filter *const older_filters[] = {&older, NULL};

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "older",
    .filters = older_filters,
};
