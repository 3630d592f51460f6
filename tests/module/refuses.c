/* A module that will not be loaded, and does not say why. */
#include <daemun/daemun.h>

static bool refuses_load(struct error *err)
{
    (void)err;
    return false;
}

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "refuses",
    .load = refuses_load,
};
