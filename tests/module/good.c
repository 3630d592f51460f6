/* A sound module with two filters; the tests look at its counters. */
#include <daemun/daemun.h>

extern DM_API int good_n_loaded;
int good_n_loaded;
extern DM_API int good_n_unloaded;
int good_n_unloaded;

static bool good_load(struct error *err)
{
    (void)err;
    good_n_loaded++;
    return true;
}

static void good_unload(void)
{
    good_n_unloaded++;
}

static const struct filter good_one = {
    .size = sizeof(struct filter),
    .name = "good_one",
    .state_size = 8,
};

static const struct filter good_two = {
    .size = sizeof(struct filter),
    .name = "good_two",
};

static const struct filter *const good_filters[] = {&good_one, &good_two, NULL};

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "good",
    .version = "1.2",
    .load = good_load,
    .unload = good_unload,
    .filters = good_filters,
};
