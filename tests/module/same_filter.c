/* Another module that offers a filter of good.c. */
#include <daemun/daemun.h>

static const struct filter same_filter = {
    .size = sizeof(struct filter),
    .name = "good_two",
};

static const struct filter *const same_filters[] = {&same_filter, NULL};

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "same_filter",
    .filters = same_filters,
};
