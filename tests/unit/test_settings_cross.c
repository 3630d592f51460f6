/*
 * The promises of settings_cross: names must refer to something that is there,
 * are taken once, and settings that exclude or need each other are told; what
 * is wrong in itself brings no second message.
 */
#include "control/settings_cross.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "settings_fixture.h"

#define N_CASES(cases) (sizeof(cases) / sizeof((cases)[0]))
#define CERTIFICATES "certificates = ( { chain = \"c\"; key = \"k\"; } ); "
#define UPSTREAM(inside)                                                       \
    "upstreams = { u = { endpoints = ( { address = \"a:1\"; } ); " inside      \
    " }; };"
#define ROUTE(inside) "routes = ( { upstream = \"portal\"; " inside " } );"

static void test_settings_cross__listeners(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"listeners = ( { name = \"a\"; address = \"x:1\"; },\n"
         "{ name = \"a\"; address = \"x:1\"; } );",
         "x.conf:2: listeners[1].name: \"a\" is taken by listeners[0] (line 1) "
         "already; give each listener its own name\n"
         "x.conf:2: listeners[1].address: \"x:1\" is taken by listeners[0] "
         "(line 1) already; give each listener its own address\n"},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; redirect_to_https = "
         "true; tls = { " CERTIFICATES "}; } );",
         "x.conf:1: listeners[0].redirect_to_https: a listener with tls serves "
         "https itself; remove this, or the tls\n"},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; "
         "tls = { " CERTIFICATES "client_auth = \"required\"; }; } );",
         "x.conf:1: listeners[0].tls.client_auth: \"required\" needs "
         "client_ca, the file of the authorities that may issue client "
         "certificates\n"},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; "
         "tls = { " CERTIFICATES "client_auth = \"required\"; client_ca = "
         "\"ca.pem\"; }; } );",
         ""},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; proxy_protocol = "
         "true; } );",
         "x.conf:1: listeners[0].proxy_protocol: needs proxy_protocol_from, "
         "the networks whose header is believed, for example "
         "[ \"10.0.0.0/8\" ]\n"},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; proxy_protocol = "
         "true; proxy_protocol_from = [ \"10.0.0.0/8\" ]; } );",
         ""},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; protocols = "
         "[ \"h2\" ]; } );",
         ""},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; protocols = "
         "[ \"http/1.1\" ]; h2c = false; } );",
         ""},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; protocols = "
         "[ \"h2\" ]; h2c = false; } );",
         "x.conf:1: listeners[0].h2c: protocols has nothing but \"h2\"; remove "
         "this, or add \"http/1.1\" there\n"},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; protocols = "
         "[ \"h2\" ]; tls = { " CERTIFICATES
         "alpn = [ \"http/1.1\", \"h2\" ]; }; } );",
         ""},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; protocols = "
         "[ \"h2\" ]; tls = { " CERTIFICATES "alpn = [ \"http/1.1\" ]; }; } );",
         "x.conf:1: listeners[0].protocols: tls.alpn offers none of these; "
         "remove tls.alpn, or add one of them there\n"},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; protocols = "
         "[ \"http/1.1\" ]; tls = { " CERTIFICATES "alpn = [ \"h2\" ]; }; } );",
         "x.conf:1: listeners[0].protocols: tls.alpn offers none of these; "
         "remove tls.alpn, or add one of them there\n"},
        {"listeners = ( { name = \"a\"; address = \"unix:/s\"; socket_mode = "
         "\"0660\"; } );",
         ""},
        {"listeners = ( { name = \"a\"; address = \"unix:/s\"; socket_mode = "
         "\"1777\"; } );",
         "x.conf:1: listeners[0].socket_mode: \"1777\" is no mode; write octal "
         "digits such as \"0660\"\n"},
        {"listeners = ( { name = \"a\"; address = \"x:1\"; socket_mode = "
         "\"0660\"; } );",
         "x.conf:1: listeners[0].socket_mode: only the file of a unix: address "
         "has a mode; remove this\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), "");
}

static void test_settings_cross__upstream_protocols(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {UPSTREAM("protocol = \"h2\"; tls = { };"), ""},
        {UPSTREAM("tls = { };"), ""},
        {UPSTREAM("protocol = \"h2\";"),
         "x.conf:2: upstreams.u.protocol: \"h2\" is spoken over TLS; add tls = "
         "{ }, or write \"h2c\" for HTTP/2 without TLS\n"},
        {UPSTREAM("protocol = \"h2c\"; tls = { };"),
         "x.conf:2: upstreams.u.tls: \"h2c\" is HTTP/2 without TLS; write "
         "protocol = \"h2\", or remove tls\n"},
        {UPSTREAM("tls = { chain = \"c\"; };"),
         "x.conf:2: upstreams.u.tls: a client certificate needs both chain and "
         "key; \"key\" is missing\n"},
        {UPSTREAM("tls = { key = \"c\"; };"),
         "x.conf:2: upstreams.u.tls: a client certificate needs both chain and "
         "key; \"chain\" is missing\n"},
        {"upstreams = { u = { endpoints = ( { address = \"a:1\"; },\n"
         "{ address = \"b:1\"; }, { address = \"a:1\"; } ); }; };",
         "x.conf:3: upstreams.u.endpoints[2].address: \"a:1\" is taken by "
         "upstreams.u.endpoints[0] (line 2) already; remove one, or give the "
         "other more weight\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

static void test_settings_cross__balancing(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {UPSTREAM("balance = { policy = \"maglev\"; hash_on = [ \"host\" ]; "
                  "bounded_load_percent = 100; };"),
         ""},
        {UPSTREAM("balance = { policy = \"maglev\"; };"),
         "x.conf:2: upstreams.u.balance.policy: \"maglev\" needs hash_on, for "
         "example hash_on = [ \"source_ip\" ];\n"},
        {UPSTREAM("balance = { policy = \"ring_hash\"; hash_on = [ ]; };"),
         "x.conf:2: upstreams.u.balance.policy: \"ring_hash\" needs hash_on, "
         "for example hash_on = [ \"source_ip\" ];\n"},
        {UPSTREAM("balance = { hash_on = [ \"host\" ]; };"),
         "x.conf:2: upstreams.u.balance.hash_on: has no effect with the policy "
         "\"round_robin\"; use \"ring_hash\" or \"maglev\", or remove "
         "hash_on\n"},
        {UPSTREAM("balance = { bounded_load_percent = 99; };"),
         "x.conf:2: upstreams.u.balance.bounded_load_percent: 99 is too small; "
         "write 0 for no bound, or 100 to 1000\n"},
        {UPSTREAM("balance = { policy = \"maglev\"; hash_on = [ \"cookie:s\" "
                  "]; mint_cookie = { name = \"s\"; }; };"),
         ""},
        {UPSTREAM("balance = { policy = \"maglev\"; hash_on = [ \"cookie:s\" "
                  "]; mint_cookie = { name = \"t\"; }; };"),
         "x.conf:2: upstreams.u.balance.mint_cookie.name: the cookie is not in "
         "hash_on; add \"cookie:t\" there, or remove mint_cookie\n"},
        {UPSTREAM("balance = { sticky_cookie = { name = \"a b\"; }; };"),
         "x.conf:2: upstreams.u.balance.sticky_cookie.name: \"a b\" cannot be "
         "the name of a cookie; use letters, digits and \"-\"\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

#define FIXTURE_PORTAL                                                         \
    FIXTURE_LISTENER "upstreams = { portal = { endpoints = ( ); }; };\n"

static void test_settings_cross__references(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {ROUTE("listeners = [ \"l\" ];"), ""},
        {"routes = ( { upstream = \"portl\"; } );",
         "x.conf:3: routes[0].upstream: there is no upstream \"portl\"; did "
         "you mean \"portal\"?\n"},
        {"routes = ( { upstream = \"images\"; } );",
         "x.conf:3: routes[0].upstream: there is no upstream \"images\"; add "
         "it to upstreams\n"},
        {"routes = ( { split = ( { upstream = \"portal\"; }, { upstream = "
         "\"Portal\"; } ); } );",
         "x.conf:3: routes[0].split[1].upstream: there is no upstream "
         "\"Portal\"; did you mean \"portal\"?\n"},
        {ROUTE("listeners = [ \"https\" ];"),
         "x.conf:3: routes[0].listeners[0]: there is no listener \"https\"; "
         "add it to listeners\n"},
        {ROUTE("listeners = [ \"ll\" ];"),
         "x.conf:3: routes[0].listeners[0]: there is no listener \"ll\"; did "
         "you mean \"l\"?\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_PORTAL);
}

static void test_settings_cross__actions(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"routes = ( { path = \"/\"; } );",
         "x.conf:3: routes[0]: says what to match, but not what to do; add one "
         "of upstream, split, redirect and answer\n"},
        {ROUTE("answer = { status = 200; }; redirect = { to = \"/\"; };"),
         "x.conf:3: routes[0]: has 3 actions (upstream, redirect, answer); "
         "keep one of them\n"},
        {"routes = ( { redirect = { to = \"/x\"; status = 304; }; } );",
         "x.conf:3: routes[0].redirect.status: 304 is not a redirect with a "
         "URL; use 301, 302, 303, 307 or 308\n"},
        {"routes = ( { split = ( { upstream = \"portal\"; weight = 0; } ); } "
         ");",
         "x.conf:3: routes[0].split: all weights are 0; give one upstream at "
         "least 1\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_PORTAL);
}

static void test_settings_cross__paths(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {ROUTE("path_prefix = \"/a\"; strip_prefix = true;"), ""},
        {ROUTE("path = \"*\";"), ""},
        {ROUTE("path = \"/a\"; path_regex = \"/b\";"),
         "x.conf:3: routes[0]: matches the path in 2 ways (path, path_regex); "
         "keep one of them\n"},
        {ROUTE("path_prefix = \"a\";"),
         "x.conf:3: routes[0].path_prefix: must begin with \"/\"; write "
         "\"/a\"\n"},
        {ROUTE("strip_prefix = true;"),
         "x.conf:3: routes[0].strip_prefix: needs path_prefix, the prefix that "
         "it changes\n"},
        {ROUTE("replace_prefix = \"/x\"; path = \"/y\";"),
         "x.conf:3: routes[0].replace_prefix: needs path_prefix, the prefix "
         "that it changes\n"},
        {ROUTE("path_prefix = \"/a\"; strip_prefix = true; replace_prefix = "
               "\"/b\";"),
         "x.conf:3: routes[0].replace_prefix: excludes strip_prefix; remove "
         "one of the two\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_PORTAL);
}

static void test_settings_cross__methods_and_headers(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {ROUTE("methods = [ \"GET\", \"M-SEARCH\" ]; headers = ( { name = "
               "\"x-a\"; value = \"\"; }, { name = \"x-b\"; present = false; } "
               ");"),
         ""},
        {ROUTE("methods = [ \"Get\" ];"),
         "x.conf:3: routes[0].methods[0]: methods are written in capitals; "
         "write \"GET\"\n"},
        {ROUTE("methods = [ \"GET /\" ];"),
         "x.conf:3: routes[0].methods[0]: \"GET /\" cannot be a method; write "
         "a name such as \"GET\"\n"},
        {ROUTE("headers = ( { name = \"a:b\"; } );"),
         "x.conf:3: routes[0].headers[0].name: \"a:b\" cannot be the name of a "
         "header field; use letters, digits and \"-\"\n"},
        {ROUTE("headers = ( { name = \"a\"; value = \"1\"; value_regex = "
               "\"2\"; } );"),
         "x.conf:3: routes[0].headers[0]: value and value_regex exclude each "
         "other; remove one\n"},
        {ROUTE("headers = ( { name = \"a\"; value = \"1\"; present = false; } "
               ");"),
         "x.conf:3: routes[0].headers[0].present: a field that is absent has "
         "no value; remove value, or this\n"},
        {ROUTE("response_headers = { remove = [ \"server:\" ]; };"),
         "x.conf:3: routes[0].response_headers.remove[0]: \"server:\" cannot "
         "be the name of a header field; use letters, digits and \"-\"\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_PORTAL);
}

#define TWO_ROUTES(a, b)                                                       \
    "routes = ( { upstream = \"portal\"; " a                                   \
    " },\n{ upstream = \"portal\"; " b " } );"
#define SAME                                                                   \
    "x.conf:4: routes[1]: matches the same requests as routes[0] (line 3) "    \
    "and "                                                                     \
    "would never be used; remove it, or make it match others\n"

static void test_settings_cross__routes_that_match_the_same(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {TWO_ROUTES("", ""), SAME},
        {TWO_ROUTES("host = \"A.b\"; name = \"x\";", "host = \"a.B\";"), SAME},
        {TWO_ROUTES("methods = [ \"GET\", \"PUT\" ];",
                    "methods = [ \"PUT\", \"GET\" ];"),
         SAME},
        {TWO_ROUTES("headers = ( { name = \"a\"; }, { name = \"b\"; } );",
                    "headers = ( { name = \"b\"; }, { name = \"a\"; } );"),
         SAME},
        {TWO_ROUTES("path = \"/a\";", "path_prefix = \"/a\";"), ""},
        {TWO_ROUTES("path = \"/a\";", "path = \"/A\";"), ""},
        {TWO_ROUTES("host = \"a\";", ""), ""},
        {TWO_ROUTES("listeners = [ \"l\" ];", ""), ""},
        {TWO_ROUTES("headers = ( { name = \"a\"; value = \"1\"; } );",
                    "headers = ( { name = \"a\"; value_regex = \"1\"; } );"),
         ""},
        {TWO_ROUTES("headers = ( { name = \"a\"; } );",
                    "headers = ( { name = \"a\"; present = false; } );"),
         ""},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_PORTAL);
}

static void test_settings_cross__no_message_follows_another(void **state)
{
    (void)state;
    static const struct fixture_case cases[] = {
        {"upstream = { p = { endpoints = ( ); }; };\n"
         "routes = ( { upstream = \"p\"; } );",
         "x.conf:2: upstream: unknown key; did you mean \"upstreams\"?\n"},
        {"upstreams = 5;\nroutes = ( { upstream = \"p\"; } );",
         "x.conf:2: upstreams: must be a group of named members { name = ...; "
         "}, not a number\n"},
        {"routes = ( { upstrem = \"p\"; } );",
         "x.conf:2: routes[0].upstrem: unknown key; did you mean "
         "\"upstream\"?\n"},
        {UPSTREAM("balance = { policy = \"maglv\"; hash_on = [ \"host\" ]; };"),
         "x.conf:2: upstreams.u.balance.policy: \"maglv\" is not one of "
         "round_robin, least_request, random, ring_hash, maglev; did you mean "
         "\"maglev\"?\n"},
    };
    fixture_check_cases(cases, N_CASES(cases), FIXTURE_LISTENER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_cross__listeners),
        cmocka_unit_test(test_settings_cross__upstream_protocols),
        cmocka_unit_test(test_settings_cross__balancing),
        cmocka_unit_test(test_settings_cross__references),
        cmocka_unit_test(test_settings_cross__actions),
        cmocka_unit_test(test_settings_cross__paths),
        cmocka_unit_test(test_settings_cross__methods_and_headers),
        cmocka_unit_test(test_settings_cross__routes_that_match_the_same),
        cmocka_unit_test(test_settings_cross__no_message_follows_another),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
