/* Another module that calls itself as good.c does. */
#include <daemun/daemun.h>

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "good",
};
