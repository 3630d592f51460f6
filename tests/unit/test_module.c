/*
 * The promises of module: what is no module, or one of another ABI, is refused
 * with a message that says what to do; names are unique; a module is loaded
 * once; what an older module does not know is absent. The shared objects are
 * those of tests/module, beside this program.
 */
#include "control/module.c"

#include <stdio.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

static char test_folder[PATH_MAX];

static int test_find_folder(void **state)
{
    (void)state;
    const ssize_t len =
        readlink("/proc/self/exe", test_folder, sizeof(test_folder) - 1);
    if (len <= 0) {
        return -1;
    }
    test_folder[len] = '\0';
    *strrchr(test_folder, '/') = '\0';
    return 0;
}

static int test_forget_all(void **state)
{
    (void)state;
    module_unload_all();
    return 0;
}

static const char *test_path(const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/module/%s.so", test_folder, name);
    assert_int_equal(access(path, R_OK), 0);
    return path;
}

static void test_loads(const char *name)
{
    struct error err = {0};
    const bool is_loaded = module_load(test_path(name), &err);
    assert_string_equal(error_text(&err), "");
    assert_true(is_loaded);
}

/* The message; "@" stands for the folder of the modules. */
static void test_refuses(const char *name, const char *message)
{
    struct error err = {0};
    char expected[2 * PATH_MAX];
    const char *at = strchr(message, '@');
    const int before = at != NULL ? (int)(at - message) : (int)strlen(message);
    snprintf(expected, sizeof(expected), "%.*s%s%s%s\n", before, message,
             at != NULL ? test_folder : "", at != NULL ? "/module" : "",
             at != NULL ? at + 1 : "");
    assert_false(module_load(test_path(name), &err));
    assert_string_equal(error_text(&err), expected);
    assert_int_equal(err.n_problems, 1);
    error_fini(&err);
}

static int *test_counter(const char *symbol)
{
    const struct module *m = module_find("good");
    assert_non_null(m);
    int *counter = dlsym(m->handle, symbol);
    assert_non_null(counter);
    return counter;
}

static void test_module__a_sound_one_offers_its_filters(void **state)
{
    (void)state;
    struct buf names;
    test_loads("good");
    const struct filter *f = module_find_filter(STR("good_one"));
    assert_non_null(f);
    assert_string_equal(f->name, "good_one");
    assert_int_equal(f->state_size, 8);
    assert_non_null(module_find_filter(STR("good_two")));
    assert_null(module_find_filter(STR("good_three")));
    assert_null(module_find_filter(STR("good")));
    buf_init(&names, NULL);
    module_print_filters(&names);
    assert_true(str_eq(buf_peek(&names), STR("good_one, good_two")));
    buf_fini(&names);
}

static void test_module__it_is_loaded_once_and_unloaded_at_the_end(void **state)
{
    (void)state;
    struct error err = {0};
    char path[PATH_MAX + 64];
    test_loads("good");
    int *n_loaded = test_counter("good_n_loaded");
    int *n_unloaded = test_counter("good_n_unloaded");
    const int n_loaded_before = *n_loaded;
    const int n_unloaded_before = *n_unloaded;
    const struct filter *f = module_find_filter(STR("good_one"));
    /* The same file by another way. */
    snprintf(path, sizeof(path), "%s/module/../module/good.so", test_folder);
    assert_true(module_load(path, &err));
    test_loads("good");
    assert_int_equal(*n_loaded, n_loaded_before);
    assert_ptr_equal(module_find_filter(STR("good_one")), f);
    module_unload_all();
    assert_int_equal(*n_unloaded, n_unloaded_before + 1);
    assert_null(module_find_filter(STR("good_one")));
}

static void test_module__one_of_another_abi_is_told_to_be_compiled(void **state)
{
    (void)state;
    char message[128];
    snprintf(message, sizeof(message),
             "built for module ABI %d, this daemun has %d; compile it again",
             DM_ABI + 2, DM_ABI);
    test_refuses("other_abi", message);
    assert_true(list_is_empty(&modules));
}

static void test_module__what_is_no_module_is_said_to_be_none(void **state)
{
    (void)state;
    test_refuses("no_symbol", "is no module: it does not export dm_module");
}

static void test_module__a_missing_file_is_named_by_the_system(void **state)
{
    (void)state;
    struct error err = {0};
    assert_false(module_load("/nonexistent/x.so", &err));
    assert_string_equal(error_text(&err),
                        "cannot be loaded: No such file or directory\n");
    error_fini(&err);
}

static void test_module__a_file_that_is_no_object_is_refused(void **state)
{
    (void)state;
    struct error err = {0};
    assert_false(module_load("/proc/self/cmdline", &err));
    assert_non_null(strstr(error_text(&err), "cannot be loaded: "));
    assert_int_equal(err.n_problems, 1);
    error_fini(&err);
}

static void
test_module__unknown_symbols_are_found_when_it_is_loaded(void **state)
{
    (void)state;
    test_refuses("unresolved",
                 "cannot be loaded: undefined symbol: dm_no_such_call");
    test_refuses("internal",
                 "cannot be loaded: undefined symbol: exchange_finish");
}

static void test_module__a_descriptor_without_size_is_refused(void **state)
{
    (void)state;
    test_refuses("bad_size", "dm_module says its size is 0; set it to "
                             "sizeof(struct module_info)");
}

static void test_module__names_must_be_words(void **state)
{
    (void)state;
    test_refuses("bad_name", "the name in dm_module must be 1 to 64 letters, "
                             "digits, '_' and '-'");
    assert_false(module_name_is_valid(NULL));
    assert_false(module_name_is_valid(""));
    assert_true(module_name_is_valid("Ab-9_z"));
    char name[MODULE_NAME_BYTES_MAX + 2];
    memset(name, 'a', sizeof(name));
    name[MODULE_NAME_BYTES_MAX + 1] = '\0';
    assert_false(module_name_is_valid(name));
    name[MODULE_NAME_BYTES_MAX] = '\0';
    assert_true(module_name_is_valid(name));
}

static void test_module__names_are_unique(void **state)
{
    (void)state;
    test_loads("good");
    test_refuses("same_name",
                 "the module's name \"good\" is that of @/good.so");
    test_refuses("same_filter", "the filter \"good_two\" is offered by module "
                                "good (@/good.so)");
    assert_null(module_find("same_filter"));
}

static void test_module__one_that_refuses_without_reason_is_named(void **state)
{
    (void)state;
    test_refuses("refuses", "refused to be loaded and gave no reason");
    assert_true(list_is_empty(&modules));
}

static void test_module__members_beyond_its_size_are_absent(void **state)
{
    (void)state;
    test_loads("older");
    const struct filter *f = module_find_filter(STR("older"));
    assert_non_null(f);
    assert_null(f->on_done);
    test_loads("oldest");
    const struct module *m = module_find("oldest");
    assert_non_null(m);
    assert_int_equal(m->n_filters, 0);
    assert_null(m->info.version);
    assert_null(m->info.load);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_module__a_sound_one_offers_its_filters,
                                  test_forget_all),
        cmocka_unit_test_teardown(
            test_module__it_is_loaded_once_and_unloaded_at_the_end,
            test_forget_all),
        cmocka_unit_test(
            test_module__one_of_another_abi_is_told_to_be_compiled),
        cmocka_unit_test(test_module__what_is_no_module_is_said_to_be_none),
        cmocka_unit_test(test_module__a_missing_file_is_named_by_the_system),
        cmocka_unit_test(test_module__a_file_that_is_no_object_is_refused),
        cmocka_unit_test(
            test_module__unknown_symbols_are_found_when_it_is_loaded),
        cmocka_unit_test(test_module__a_descriptor_without_size_is_refused),
        cmocka_unit_test(test_module__names_must_be_words),
        cmocka_unit_test_teardown(test_module__names_are_unique,
                                  test_forget_all),
        cmocka_unit_test(test_module__one_that_refuses_without_reason_is_named),
        cmocka_unit_test_teardown(
            test_module__members_beyond_its_size_are_absent, test_forget_all),
    };
    return cmocka_run_group_tests(tests, test_find_folder, NULL);
}
