/*
 * The promises of settings_check: each way to write a single setting wrong has
 * its message with file, line, path and how to mend it; all problems are told
 * at once; a sound file has none.
 */
#include "control/settings_check.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "settings_fixture.h"

#define N_CASES(cases) (sizeof(cases) / sizeof((cases)[0]))

static void test_settings_check__keys(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"", ""},
        {"worker = 1;",
         "x.conf:2: worker: unknown key; did you mean \"workers\"?\n"},
        {"timeouts = {\n  head_timeout = 5; };",
         "x.conf:3: timeouts.head_timeout: unknown key; did you mean "
         "\"head_timeout_ms\"?\n"},
        {"log = { colour_scheme = \"red\"; };",
         "x.conf:2: log.colour_scheme: unknown key; remove it, or use one of: "
         "access, access_format, error, level\n"},
        {"tls = { ticket_key_flie = \"k\"; };",
         "x.conf:2: tls.ticket_key_flie: unknown key; did you mean "
         "\"ticket_key_file\"?\n"},
        {"upstreams = { u = { }; };",
         "x.conf:2: upstreams.u: \"endpoints\" is missing; add endpoints = "
         "( );\n"},
        {"routes = ( { redirect = { }; } );",
         "x.conf:2: routes[0].redirect: \"to\" is missing; add to = "
         "\"...\";\n"},
        {"routes = ( { answer = { }; } );",
         "x.conf:2: routes[0].answer: \"status\" is missing; add status = "
         "...;\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

static void test_settings_check__a_listener_is_needed(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"workers = 1;",
         "x.conf: \"listeners\" is missing; add listeners = ( ... );\n"},
        {"listeners = ( );",
         "x.conf:1: listeners: has 0 members; it needs at least 1\n"},
        {"listeners = ( { adress = \"a:1\"; name = \"l\"; } );",
         "x.conf:1: listeners[0].adress: unknown key; did you mean "
         "\"address\"?\n"
         "x.conf:1: listeners[0]: \"address\" is missing; add address = "
         "\"...\";\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), "");
}

static void test_settings_check__kinds(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"workers = \"3\";",
         "x.conf:2: workers: must be a whole number, not text; write 3 without "
         "quotes\n"},
        {"workers = 1.5;", "x.conf:2: workers: must be a whole number, not a "
                           "number with a fraction\n"},
        {"workers = true;",
         "x.conf:2: workers: must be a whole number, not true or false\n"},
        {"watch_files = 1;",
         "x.conf:2: watch_files: must be true or false, not a number; write "
         "true\n"},
        {"watch_files = \"False\";",
         "x.conf:2: watch_files: must be true or false, not text; write False "
         "without quotes\n"},
        {"user = 33;",
         "x.conf:2: user: must be text in quotes, not a number; write "
         "\"33\"\n"},
        {"user = true;", "x.conf:2: user: must be text in quotes, not true or "
                         "false; write \"true\"\n"},
        {"pid_file = [ \"a\" ];",
         "x.conf:2: pid_file: must be a file name in quotes, not a list\n"},
        {"log = { level = 3; };",
         "x.conf:2: log.level: must be a word in quotes, not a number; write "
         "\"3\"\n"},
        {"log = \"x\";", "x.conf:2: log: must be a group { ... }, not text\n"},
        {"modules = \"a.so\";",
         "x.conf:2: modules: must be a list [ ..., ... ], not text; write "
         "[ \"a.so\" ]\n"},
        {"routes = { };", "x.conf:2: routes: must be a list ( { ... }, ... ), "
                          "not a group; put ( and ) around it\n"},
        {"upstreams = ( );",
         "x.conf:2: upstreams: must be a group of named members { name = ...; "
         "}, not a list; give each member a name\n"},
        {"routes = ( \"x\" );",
         "x.conf:2: routes[0]: must be a group { ... }, not text\n"},
        {"modules = [ 1 ];",
         "x.conf:2: modules[0]: must be a file name in quotes, not a number; "
         "write \"1\"\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

static void test_settings_check__ranges(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"upstreams = { u = { endpoints = ( ); connect_timeout_ms = 0; }; };",
         "x.conf:2: upstreams.u.connect_timeout_ms: 0 is too small; the "
         "smallest value is 1\n"},
        {"workers = 257;",
         "x.conf:2: workers: 257 is too large; the largest value is 256\n"},
        {"workers = 5000000000;",
         "x.conf:2: workers: 5000000000 is too large; the largest value is "
         "256\n"},
        {"workers = -1;",
         "x.conf:2: workers: -1 is too small; the smallest value is 0\n"},
        {"user = \"\";",
         "x.conf:2: user: is empty; write a value, or remove it\n"},
        {"user = \"a\\nb\";", "x.conf:2: user: has the control byte 0x0a at "
                              "position 2; remove it\n"},
        {"routes = ( { answer = { status = 200; body = \"a\\nb\"; }; } );", ""},
        {"routes = ( { answer = { status = 200; }; name = "
         "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"; "
         "} );",
         "x.conf:2: routes[0].name: is 129 bytes long; the longest value has "
         "128\n"},
        {"routes = ( { answer = { status = 200; }; methods = [ ]; } );",
         "x.conf:2: routes[0].methods: has 0 members; it needs at least 1\n"},
        {"upstreams = { u = { endpoints = ( ); balance = { policy = "
         "\"maglev\"; hash_on = [ \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", "
         "\"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", \"a\", "
         "\"a\", \"a\" ]; }; }; };",
         "x.conf:2: upstreams.u.balance.hash_on: has 17 members; it may have "
         "at most 16\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

static void test_settings_check__words(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"log = { level = \"debug\"; };", ""},
        {"log = { level = \"wran\"; };", "x.conf:2: log.level: \"wran\" is not "
                                         "one of error, warn, info, debug; "
                                         "did you mean \"warn\"?\n"},
        {"log = { level = \"everything\"; };",
         "x.conf:2: log.level: \"everything\" is not one of error, warn, info, "
         "debug\n"},
        {"log = { level = \"\"; };",
         "x.conf:2: log.level: \"\" is not one of error, warn, info, debug\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

static void test_settings_check__all_problems_are_told(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"workers = 999;\nusr = \"x\";\nroutes = (\n  { upstream = \"u\"; },\n"
         "  { upstream = \"uu\"; max_body_bytes = -1; }\n);\n"
         "upstreams = { u = { endpoints = ( { weight = 5000; } ); }; };",
         "x.conf:2: workers: 999 is too large; the largest value is 256\n"
         "x.conf:3: usr: unknown key; did you mean \"user\"?\n"
         "x.conf:6: routes[1].max_body_bytes: -1 is too small; the smallest "
         "value is 0\n"
         "x.conf:8: upstreams.u.endpoints[0].weight: 5000 is too large; the "
         "largest value is 1000\n"
         "x.conf:8: upstreams.u.endpoints[0]: \"address\" is missing; add "
         "address = \"...\";\n"
         "x.conf:6: routes[1].upstream: there is no upstream \"uu\"; did you "
         "mean \"u\"?\n"},
        /* What is there is looked at beside a misspelt key, what is not there
         * may be what was misspelt. */
        {"upstreams = { u = { endpoints = ( { address = \"a:1\"; }, { address "
         "= \"a:1\"; } ); protocol = \"h2\"; tsl = { }; }; };\n"
         "routes = ( { upsteam = \"u\"; },\n"
         "{ upstream = \"v\"; replace_prefix = \"x\"; path_prefx = \"/\";\n"
         "  methods = [ \"get\" ]; listeners = [ \"m\" ]; } );",
         "x.conf:2: upstreams.u.tsl: unknown key; did you mean \"tls\"?\n"
         "x.conf:3: routes[0].upsteam: unknown key; did you mean "
         "\"upstream\"?\n"
         "x.conf:4: routes[1].path_prefx: unknown key; did you mean "
         "\"path_prefix\"?\n"
         "x.conf:2: upstreams.u.endpoints[1].address: \"a:1\" is taken by "
         "upstreams.u.endpoints[0] (line 2) already; remove one, or give the "
         "other more weight\n"
         "x.conf:4: routes[1].replace_prefix: must begin with \"/\"; write "
         "\"/x\"\n"
         "x.conf:4: routes[1].upstream: there is no upstream \"v\"; did you "
         "mean \"u\"?\n"
         "x.conf:5: routes[1].listeners[0]: there is no listener \"m\"; did "
         "you mean \"l\"?\n"
         "x.conf:5: routes[1].methods[0]: methods are written in capitals; "
         "write \"GET\"\n"},
        {"upstreams = 5;\nroutes = ( 7, { upstream = 8; split = 9; methods = "
         "\"x\"; } );",
         "x.conf:2: upstreams: must be a group of named members { name = ...; "
         "}, not a number\n"
         "x.conf:3: routes[0]: must be a group { ... }, not a number\n"
         "x.conf:3: routes[1].upstream: must be text in quotes, not a number; "
         "write \"8\"\n"
         "x.conf:3: routes[1].split: must be a list ( { ... }, ... ), not a "
         "number\n"
         "x.conf:3: routes[1].methods: must be a list [ ..., ... ], not text; "
         "write [ \"x\" ]\n"
         "x.conf:3: routes[1]: has 2 actions (upstream, split); keep one of "
         "them\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

static void test_settings_check__settings_of_modules_are_free(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"routes = ( { answer = { status = 200; }; filters = ( { name = \"f\"; "
         "settings = { any = ( 1, \"x\", { y = 2.5; } ); }; } ); } );",
         ""},
        {"routes = ( { answer = { status = 200; }; filters = ( { name = \"f\"; "
         "settings = 5; } ); } );",
         "x.conf:2: routes[0].filters[0].settings: must be a group { ... }, "
         "not a number\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

static void test_settings_check__binds_and_may_be_repeated(void **state)
{
    (void)state;
    struct error err = {0};
    struct node *root = fixture_tree(FIXTURE_LISTENER "workers = 2;\n");
    const size_t n_children = root->n_children;
    const struct node *workers = settings_child(root, "workers");
    assert_string_equal(workers->row->path, "workers");
    const struct node *name =
        settings_child(settings_child(root, "listeners")->first, "name");
    assert_string_equal(name->row->path, "listeners.*.name");
    assert_true(settings_check(root, &err));
    assert_int_equal(root->n_children, n_children);
    node_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_check__keys),
        cmocka_unit_test(test_settings_check__a_listener_is_needed),
        cmocka_unit_test(test_settings_check__kinds),
        cmocka_unit_test(test_settings_check__ranges),
        cmocka_unit_test(test_settings_check__words),
        cmocka_unit_test(test_settings_check__all_problems_are_told),
        cmocka_unit_test(test_settings_check__settings_of_modules_are_free),
        cmocka_unit_test(test_settings_check__binds_and_may_be_repeated),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
