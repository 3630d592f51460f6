/* A descriptor that ends behind its name: it offers nothing. */
#include <daemun/daemun.h>

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = offsetof(struct module_info, version),
    .name = "oldest",
    .version = (const char *)16,
    .load = (bool (*)(struct error *))16,
    .filters = (const struct filter *const *)16,
};
