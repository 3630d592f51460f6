/*
 * A module that was built for another ABI: refused by its number, and nothing
 * else of it is looked at.
 */
#include <daemun/daemun.h>
#include <stdint.h>

const struct module_info dm_module = {
    .abi = DM_ABI + 2,
    .size = SIZE_MAX,
    .name = (const char *)16,
    .filters = (const struct filter *const *)16,
};
