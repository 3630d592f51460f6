/* A module that calls what no daemun offers. */
#include <daemun/daemun.h>

extern void dm_no_such_call(void);

static bool unresolved_load(struct error *err)
{
    (void)err;
    dm_no_such_call();
    return true;
}

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "unresolved",
    .load = unresolved_load,
};
