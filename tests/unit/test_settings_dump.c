/*
 * The promises of settings_dump: what it writes is a conf file of the same
 * meaning with the defaults spelled out, without secrets; the reference page
 * has every setting.
 */
#include "control/settings_dump.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "settings_fixture.h"

static char *test_dump(const char *conf)
{
    struct buf out;
    buf_init(&out, NULL);
    struct node *root = fixture_tree(conf);
    settings_dump(root, &out);
    node_free(root);
    char *text = fixture_take(&out);
    buf_fini(&out);
    return text;
}

static const char test_conf[] =
    "listeners = ( { name = \"l\"; address = \"a:1\"; tls = { certificates = ( "
    "{ chain = \"c\"; key = \"k.pem\"; } ); alpn = [ \"h2\" ]; }; } );\n"
    "workers = 2;\n"
    "upstreams = { u-1 = { endpoints = ( ); }; };\n"
    "routes = (\n"
    "  { upstream = \"u-1\"; max_body_bytes = 5000000000;\n"
    "    request_headers = { set = { authorization = \"Bearer 42\"; }; }; },\n"
    "  { path = \"/a\"; answer = { status = 200; body = "
    "\"a\\tb\\\"c\\\\d\\n\"; "
    "};\n"
    "    filters = ( { name = \"f\"; settings = { token = \"s3cret\"; n = 5; "
    "list = ( 1, { pin = \"s3cret\"; } ); }; } ); }\n"
    ");\n";

static void test_settings_dump__is_read_to_the_same(void **state)
{
    (void)state;
    char *once = test_dump(test_conf);
    char *twice = test_dump(once);
    assert_string_equal(once, twice);
    mem_free(once);
    mem_free(twice);
}

static void test_settings_dump__spells_out_defaults(void **state)
{
    (void)state;
    char *text = test_dump(test_conf);
    assert_non_null(strstr(text, "\nworkers = 2;\n"));
    assert_non_null(strstr(text, "\nwatch_files = true;\n"));
    assert_non_null(strstr(text, "  header_bytes_max = 32768;\n"));
    assert_non_null(strstr(text, "    max_body_bytes = 5000000000L;\n"));
    assert_non_null(strstr(text, "      policy = \"round_robin\";\n"));
    assert_non_null(strstr(text, "    endpoints = ( );\n"));
    assert_null(strstr(text, "pid_file"));
    mem_free(text);
}

static void test_settings_dump__values_survive(void **state)
{
    (void)state;
    char *text = test_dump(test_conf);
    struct node *root = fixture_tree(text);
    const struct node *route = settings_child(root, "routes")->last;
    const struct node *first = settings_child(root, "routes")->first;
    const struct node *tls =
        settings_child(settings_child(root, "listeners")->first, "tls");
    assert_true(str_eq(settings_text(settings_child(route, "answer"), "body"),
                       STR("a\tb\"c\\d\n")));
    assert_true(settings_number(first, "max_body_bytes") ==
                INT64_C(5000000000));
    assert_int_equal(settings_child(tls, "alpn")->n_children, 1);
    node_free(root);
    mem_free(text);
}

static void test_settings_dump__masks_secrets(void **state)
{
    (void)state;
    char *text = test_dump(test_conf);
    assert_null(strstr(text, "Bearer"));
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "authorization = \"***\";\n"));
    assert_non_null(strstr(text, "token = \"***\";\n"));
    assert_non_null(strstr(text, "pin = \"***\";\n"));
    assert_non_null(strstr(text, "/k.pem\";\n"));
    mem_free(text);
}

static void test_settings_dump__reference_has_every_row(void **state)
{
    (void)state;
    struct buf out;
    char row[256];
    buf_init(&out, NULL);
    settings_print(&out);
    char *text = fixture_take(&out);
    for (size_t i = 0; settings_row(i) != NULL; i++) {
        snprintf(row, sizeof row, "\n| `%s` | ", settings_row(i)->path);
        assert_non_null(strstr(text, row));
    }
    assert_non_null(strstr(
        text, "\n| `workers` | number | `0` | 0 to 256 | restart | Worker "
              "threads; 0: one for each core. |\n"));
    assert_non_null(strstr(text, "| `off`, `optional`, `required` |"));
    assert_non_null(strstr(text, "| `listeners.*.name` | text | (required) |"));
    mem_free(text);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_dump__is_read_to_the_same),
        cmocka_unit_test(test_settings_dump__spells_out_defaults),
        cmocka_unit_test(test_settings_dump__values_survive),
        cmocka_unit_test(test_settings_dump__masks_secrets),
        cmocka_unit_test(test_settings_dump__reference_has_every_row),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
