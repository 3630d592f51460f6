/* A name that could not stand in a conf file, a log line or a metric. */
#include <daemun/daemun.h>

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "bad name",
};
