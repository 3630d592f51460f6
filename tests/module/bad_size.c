/* A descriptor whose author forgot its size. */
#include <daemun/daemun.h>

const struct module_info dm_module = {.abi = DM_ABI, .name = "bad_size"};
