/*
 * The promises of settings: the table is in order and sound in itself, every
 * row is found again, and accessors give the operator's value or the default.
 */
#include "control/settings.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "settings_fixture.h"

static void test_settings__table_is_sorted_and_unique(void **state)
{
    (void)state;
    for (size_t i = 1; settings_row(i) != NULL; i++) {
        if (strcmp(settings_row(i - 1)->path, settings_row(i)->path) >= 0) {
            fail_msg("\"%s\" must stand before \"%s\"", settings_row(i)->path,
                     settings_row(i - 1)->path);
        }
    }
    assert_null(settings_row(SETTINGS_N_ROWS));
}

static bool test_settings_has_word(const char *words, const char *word)
{
    struct str rest = str_from(words);
    struct str piece;
    while (str_split(&rest, '|', &piece)) {
        if (str_eq(piece, str_from(word))) {
            return true;
        }
    }
    return false;
}

static bool test_settings_is_fallback_good(const struct setting *row)
{
    char *end;
    const char *text = row->fallback;
    if (text == NULL) {
        return true;
    }
    switch (row->kind) {
    case SETTING_NUMBER: {
        const long long n = strtoll(text, &end, 10);
        return *end == '\0' && n >= row->min && n <= row->max;
    }
    case SETTING_FLAG:
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
    case SETTING_WORD:
        return test_settings_has_word(row->words, text);
    case SETTING_TEXT:
    case SETTING_PATH:
        return (int64_t)strlen(text) >= row->min &&
               (int64_t)strlen(text) <= row->max;
    case SETTING_GROUP:
        return strcmp(text, "{}") == 0;
    case SETTING_LIST:
        return true;
    case SETTING_MAP:
    case SETTING_ANY:
        return false;
    }
    return false;
}

static void test_settings__every_row_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; settings_row(i) != NULL; i++) {
        const struct setting *row = settings_row(i);
        const bool is_word = row->kind == SETTING_WORD;
        const bool is_required = (row->flags & SETTING_REQUIRED) != 0;
        const size_t doc_len = strlen(row->doc);
        if (!test_settings_is_fallback_good(row) ||
            is_word != (row->words != NULL) || row->min > row->max ||
            (is_required && row->fallback != NULL) || doc_len == 0 ||
            row->doc[doc_len - 1] != '.') {
            fail_msg("the row \"%s\" is not sound", row->path);
        }
    }
}

static void test_settings__every_row_is_found_below_its_parent(void **state)
{
    (void)state;
    for (size_t i = 0; settings_row(i) != NULL; i++) {
        const struct setting *row = NULL;
        struct str rest = str_from(settings_row(i)->path);
        struct str key;
        while (str_split(&rest, '.', &key)) {
            row = settings_row_child(row, key);
            assert_non_null(row);
        }
        assert_ptr_equal(row, settings_row(i));
        assert_true(str_eq(settings_row_key(row),
                           str_from(strrchr(row->path, '.') == NULL
                                        ? row->path
                                        : strrchr(row->path, '.') + 1)));
    }
}

static void test_settings__unknown_rows_are_not_found(void **state)
{
    (void)state;
    const struct setting *limits = settings_row_child(NULL, STR("limits"));
    assert_null(settings_row_child(NULL, STR("limit")));
    assert_null(settings_row_child(NULL, STR("limitss")));
    assert_null(settings_row_child(NULL, STR("")));
    assert_null(settings_row_child(NULL, STR("limits.buffer_bytes")));
    assert_null(settings_row_child(limits, STR("zzz")));
    assert_null(settings_row_child(limits, STR("*")));
}

static void test_settings__walk_visits_all_rows_once(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t i = 0; i <= SETTINGS_N_ROWS; i++) {
        const struct setting *parent =
            i == SETTINGS_N_ROWS ? NULL : settings_row(i);
        const struct setting *row = settings_row_next(parent, NULL);
        for (; row != NULL; row = settings_row_next(parent, row)) {
            assert_ptr_equal(settings_row_child(parent, settings_row_key(row)),
                             row);
            n++;
        }
    }
    assert_int_equal(n, SETTINGS_N_ROWS);
}

static void test_settings__values_of_the_operator_win(void **state)
{
    (void)state;
    struct node *root = fixture_tree(
        FIXTURE_LISTENER "workers = 3;\nwatch_files = false;\n"
                         "log = { level = \"debug\"; error = \"e.log\"; };\n");
    const struct node *log = settings_child(root, "log");
    assert_int_equal(settings_number(root, "workers"), 3);
    assert_false(settings_flag(root, "watch_files"));
    assert_true(str_eq(settings_text(log, "level"), STR("debug")));
    assert_true(str_eq(settings_text(log, "error"), STR("e.log")));
    assert_true(settings_has(root, "workers"));
    node_free(root);
}

static void test_settings__defaults_fill_in(void **state)
{
    (void)state;
    struct node *root = fixture_tree(
        FIXTURE_LISTENER "upstreams = { u = { endpoints = ( ); }; };\n"
                         "routes = ( { upstream = \"u\"; } );\n");
    const struct node *up =
        settings_child(settings_child(root, "upstreams"), "u");
    const struct node *route = settings_child(root, "routes")->first;
    assert_int_equal(settings_number(root, "workers"), 0);
    assert_true(settings_flag(root, "watch_files"));
    assert_int_equal(
        settings_number(settings_child(root, "limits"), "header_bytes_max"),
        32768);
    assert_int_equal(
        settings_number(settings_child(root, "timeouts"), "head_timeout_ms"),
        10000);
    assert_true(str_eq(settings_text(up, "protocol"), STR("http1")));
    assert_true(str_eq(settings_text(settings_child(up, "balance"), "policy"),
                       STR("round_robin")));
    assert_int_equal(settings_number(route, "max_body_bytes"), 16777216);
    assert_false(settings_has(route, "max_body_bytes"));
    assert_null(settings_text(route, "host").p);
    assert_int_equal(settings_number(route, "retries_max"), 0);
    assert_null(settings_child(route, "redirect"));
    node_free(root);
}

static void test_settings__a_list_with_defaults_is_there(void **state)
{
    (void)state;
    struct node *root = fixture_tree(
        "listeners = ( { name = \"l\"; address = \"a:1\"; tls = { certificates "
        "= ( { chain = \"c\"; key = \"k\"; } ); }; } );\n");
    const struct node *tls =
        settings_child(settings_child(root, "listeners")->first, "tls");
    const struct node *alpn = settings_child(tls, "alpn");
    assert_non_null(alpn);
    assert_int_equal(alpn->n_children, 2);
    assert_true(str_eq(settings_text(alpn->first, NULL), STR("h2")));
    assert_true(str_eq(settings_text(alpn->last, NULL), STR("http/1.1")));
    node_free(root);
}

static void test_settings__nothing_of_nothing(void **state)
{
    (void)state;
    assert_null(settings_child(NULL, "a"));
    assert_null(settings_text(NULL, "a").p);
    assert_int_equal(settings_number(NULL, "a"), 0);
    assert_false(settings_flag(NULL, "a"));
    assert_false(settings_has(NULL, "a"));
    assert_null(settings_file(NULL, "a"));
}

static void test_settings__settings_of_a_module_have_no_defaults(void **state)
{
    (void)state;
    struct node *root = fixture_tree(
        FIXTURE_LISTENER
        "routes = ( { answer = { status = 200; }; filters = ( { name = \"f\"; "
        "settings = { workers = 4; deep = { x = 1.5; }; }; } ); } );\n");
    const struct node *filter =
        settings_child(settings_child(root, "routes")->first, "filters")->first;
    const struct node *own = settings_child(filter, "settings");
    assert_int_equal(settings_number(own, "workers"), 4);
    assert_int_equal(settings_number(own, "absent"), 0);
    assert_null(settings_text(settings_child(own, "deep"), "absent").p);
    node_free(root);
}

static void
test_settings_expect_file(const char *conf, const char *path, const char *want)
{
    struct node *root = node_new(NULL, NULL, NODE_GROUP, conf, 0);
    struct node *n = node_new(root, "pid_file", NODE_TEXT, "other/y.conf", 1);
    node_set_text(n, str_from(path));
    char *file = settings_file(root, "pid_file");
    assert_string_equal(file, want);
    mem_free(file);
    file = settings_file(n, NULL);
    assert_string_equal(file, want);
    mem_free(file);
    node_free(root);
}

static void test_settings__files_are_relative_to_the_conf_file(void **state)
{
    (void)state;
    char cwd[PATH_MAX];
    char want[PATH_MAX + 64];
    assert_non_null(getcwd(cwd, sizeof cwd));
    test_settings_expect_file("/etc/daemun/x.conf", "certs/a.pem",
                              "/etc/daemun/certs/a.pem");
    test_settings_expect_file("/etc/daemun/x.conf", "/run/a.pid", "/run/a.pid");
    snprintf(want, sizeof want, "%s/conf/a.pem", cwd);
    test_settings_expect_file("conf/x.conf", "a.pem", want);
    snprintf(want, sizeof want, "%s/a.pem", cwd);
    test_settings_expect_file("x.conf", "a.pem", want);
    test_settings_expect_file(NULL, "a.pem", want);
}

static void test_settings__a_file_that_is_not_given_is_null(void **state)
{
    (void)state;
    struct node *root = fixture_tree(FIXTURE_LISTENER);
    assert_null(settings_file(root, "pid_file"));
    node_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings__table_is_sorted_and_unique),
        cmocka_unit_test(test_settings__every_row_is_sound),
        cmocka_unit_test(test_settings__every_row_is_found_below_its_parent),
        cmocka_unit_test(test_settings__unknown_rows_are_not_found),
        cmocka_unit_test(test_settings__walk_visits_all_rows_once),
        cmocka_unit_test(test_settings__values_of_the_operator_win),
        cmocka_unit_test(test_settings__defaults_fill_in),
        cmocka_unit_test(test_settings__a_list_with_defaults_is_there),
        cmocka_unit_test(test_settings__nothing_of_nothing),
        cmocka_unit_test(test_settings__settings_of_a_module_have_no_defaults),
        cmocka_unit_test(test_settings__files_are_relative_to_the_conf_file),
        cmocka_unit_test(test_settings__a_file_that_is_not_given_is_null),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
