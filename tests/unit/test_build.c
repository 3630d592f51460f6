/*
 * Unit tests of control/build and its builders: what is said about settings
 * that are sound and yet cannot be built, what snapshots share, and that a
 * build which fails leaves nothing behind. No socket is opened (is_test), but
 * for the tests of sockets.
 */
#include "control/build.c"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "settings_fixture.h"

#define LISTENER                                                               \
    "listeners = ( { name = \"l\"; address = \"127.0.0.1:1\"; } );\n"

static void world_init(struct build_world *world)
{
    build_world_init(world, 2);
    world->is_test = true;
}

static void world_fini(struct build_world *world)
{
    assert_int_equal(scoreboard_count(world->scoreboard), 0);
    assert_true(list_is_empty(&world->groups));
    build_world_fini(world);
}

static struct snapshot *
world_build(struct build_world *world, const char *text, struct snapshot *old)
{
    struct error err = {0};
    struct node *root = fixture_tree(text);
    struct snapshot *snap = build_snapshot(world, root, old, &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(snap);
    return snap;
}

/*
 * Builds what must fail with `message`, and checks that nothing is left. Some
 * of it is found by settings_check already: it comes to the same for the
 * reader, and is told once.
 */
static void check_problem(const char *text, const char *message)
{
    struct build_world world;
    struct error err = {0};
    world_init(&world);
    fixture_write("x.conf", text);
    struct node *root = source_file_read("x.conf", &err);
    assert_non_null(root);
    settings_check(root, &err);
    assert_null(build_snapshot(&world, root, NULL, &err));
    assert_string_equal(error_text(&err), message);
    error_fini(&err);
    node_free(root);
    world_fini(&world);
}

/* `route` is a member of the one route, which is on line 2. */
static void check_route(const char *route, const char *problem)
{
    char text[2048];
    char message[1024];
    snprintf(text, sizeof(text),
             LISTENER "routes = ( { answer = { status = 204; }; %s } );",
             route);
    snprintf(message, sizeof(message), "x.conf:2: routes[0]%s\n", problem);
    check_problem(text, message);
}

/* `members` are those of the one upstream, which is on line 2. */
static void check_upstream(const char *members, const char *problem)
{
    char text[2048];
    char message[1024];
    snprintf(text, sizeof(text), LISTENER "upstreams = { u = { %s }; };",
             members);
    snprintf(message, sizeof(message), "x.conf:2: upstreams.u%s\n", problem);
    check_problem(text, message);
}

#define ENDPOINTS "endpoints = ( { address = \"127.0.0.1:80\"; } ); "

/* ---- routes ------------------------------------------------------------- */

static void test_build__a_wrong_host_is_explained(void **state)
{
    (void)state;
    check_route("host = \"a b\";",
                ": host \"a b\" is not a host name; write \"www.example.org\" "
                "or \"*.example.org\", without port");
    check_route("host = \"a.test:8080\";",
                ": host \"a.test:8080\" is not a host name; write "
                "\"www.example.org\" or \"*.example.org\", without port");
}

static void test_build__hosts_are_canonical(void **state)
{
    struct build_world world;
    (void)state;
    world_init(&world);
    struct snapshot *snap =
        world_build(&world,
                    LISTENER "routes = ( { host = \"*.Example.ORG\"; answer = "
                             "{ status = 204; }; }, { host = \"[::1]\"; answer "
                             "= { status = 204; }; } );",
                    NULL);
    assert_true(str_eq(snap->route_list[0].host, STR("*.example.org")));
    assert_true(str_eq(snap->route_list[1].host, STR("::1")));
    build_free_snapshot(&world, snap);
    world_fini(&world);
}

static void test_build__paths_are_written_as_they_are_matched(void **state)
{
    (void)state;
    check_route("path = \"/a/../b\";",
                ": path \"/a/../b\" is never seen in this form; write \"/b\"");
    check_route("path_prefix = \"//a\";",
                ": path_prefix \"//a\" is never seen in this form; write "
                "\"/a\"");
    check_route("path = \"/a?b\";",
                ": path \"/a?b\" is not a path; it begins with / and has no "
                "query");
}

static void test_build__a_wrong_expression_is_explained(void **state)
{
    struct build_world world;
    struct error err = {0};
    (void)state;
    world_init(&world);
    struct node *root =
        fixture_tree(LISTENER "routes = ( { path_regex = \"/(a\"; answer = { "
                              "status = 204; }; } );");
    assert_null(build_snapshot(&world, root, NULL, &err));
    assert_int_equal(err.n_problems, 1);
    assert_non_null(strstr(error_text(&err), "x.conf:2: routes[0]: "));
    error_fini(&err);
    node_free(root);
    world_fini(&world);
}

static void test_build__framing_is_not_edited(void **state)
{
    (void)state;
    check_route("request_headers = { set = { host = \"x\"; }; };",
                ".request_headers.set.host: \"host\" frames the message and "
                "cannot be edited; set host of the upstream");
    check_route("response_headers = { remove = ( \"Content-Length\" ); };",
                ".response_headers.remove[0]: \"content-length\" frames the "
                "message and cannot be edited");
}

static void test_build__one_pass_tells_every_problem(void **state)
{
    (void)state;
    check_problem(
        LISTENER "routes = (\n"
                 "{ host = \"a b\"; answer = { status = 204; }; },\n"
                 "{ path = \"/./\"; answer = { status = 204; }; } );\n"
                 "log = { access_format = \"${statsu}\"; };",
        "x.conf:5: log.access_format: ${statsu} is not a variable; did "
        "you mean ${status}?\n"
        "x.conf:3: routes[0]: host \"a b\" is not a host name; write "
        "\"www.example.org\" or \"*.example.org\", without port\n"
        "x.conf:4: routes[1]: path \"/./\" is never seen in this form; write "
        "\"/\"\n");
}

/* ---- upstreams ---------------------------------------------------------- */

static void test_build__an_endpoint_twice_is_a_mistake(void **state)
{
    (void)state;
    check_upstream("endpoints = ( { address = \"127.0.0.1:80\"; }, "
                   "{ address = \"127.0.0.1:0080\"; } );",
                   ".endpoints: 127.0.0.1:80 is there twice; give one endpoint "
                   "the weight of both");
}

static void test_build__a_name_that_does_not_resolve_is_told(void **state)
{
    struct build_world world;
    struct error err = {0};
    (void)state;
    world_init(&world);
    struct node *root =
        fixture_tree(LISTENER "upstreams = { u = { endpoints = ( { address = "
                              "\"nobody.invalid:80\"; } ); }; };");
    assert_null(build_snapshot(&world, root, NULL, &err));
    assert_int_equal(err.n_problems, 1);
    assert_non_null(
        strstr(error_text(&err), "x.conf:2: upstreams.u.endpoints[0]: "));
    assert_non_null(strstr(error_text(&err), "nobody.invalid"));
    error_fini(&err);
    node_free(root);
    world_fini(&world);
}

static void test_build__protocol_and_tls_must_fit(void **state)
{
    (void)state;
    check_upstream(ENDPOINTS "protocol = \"h2c\"; tls = { verify = false; };",
                   ".tls: \"h2c\" is HTTP/2 without TLS; write protocol = "
                   "\"h2\", or remove tls");
    check_upstream(ENDPOINTS "protocol = \"h2\";",
                   ".protocol: \"h2\" is spoken over TLS; add tls = { }, or "
                   "write \"h2c\" for HTTP/2 without TLS");
}

static void test_build__cookies_are_checked(void **state)
{
    (void)state;
    check_upstream(ENDPOINTS "balance = { sticky_cookie = { name = \"a b\"; }; "
                             "};",
                   ".balance.sticky_cookie.name: \"a b\" cannot be the name of "
                   "a cookie; use letters, digits and \"-\"");
    check_upstream(ENDPOINTS "balance = { sticky_cookie = { name = \"a\"; path "
                             "= \"x\"; }; };",
                   ".balance.sticky_cookie: the path of a cookie begins with / "
                   "and has no ; in it");
    check_upstream(ENDPOINTS "balance = { sticky_cookie = { name = \"a\"; path "
                             "= \"/;x\"; }; };",
                   ".balance.sticky_cookie: the path of a cookie begins with / "
                   "and has no ; in it");
}

static void test_build__a_minted_cookie_must_decide(void **state)
{
    (void)state;
    check_upstream(ENDPOINTS
                   "balance = { policy = \"maglev\"; hash_on = ( \"path\" ); "
                   "mint_cookie = { name = \"k\"; }; };",
                   ".balance.mint_cookie.name: the cookie is not in hash_on; "
                   "add \"cookie:k\" there, or remove mint_cookie");
}

static void test_build__names_of_headers_are_matched_in_lower_case(void **state)
{
    struct build_world world;
    (void)state;
    world_init(&world);
    struct snapshot *snap = world_build(
        &world,
        LISTENER "upstreams = { u = { " ENDPOINTS "balance = { policy = "
                 "\"maglev\"; hash_on = ( \"header:X-User\" ); }; }; };",
        NULL);
    assert_true(str_eq(snap->upstreams[0]->key.parts[0].name, STR("x-user")));
    build_free_snapshot(&world, snap);
    world_fini(&world);
}

/* Workers write them at once: they must not share cache lines. */
static void test_build__what_workers_write_is_on_lines_of_its_own(void **state)
{
    struct build_world world;
    (void)state;
    world_init(&world);
    struct snapshot *snap = world_build(
        &world, LISTENER "upstreams = { u = { " ENDPOINTS "}; };", NULL);
    assert_int_equal((uintptr_t)snap->pins % 64, 0);
    assert_int_equal((uintptr_t)snap->upstreams[0]->cursors % 64, 0);
    build_free_snapshot(&world, snap);
    world_fini(&world);
}

/* ---- certificates ------------------------------------------------------- */

static void test_build__a_missing_certificate_is_named(void **state)
{
    struct build_world world;
    struct error err = {0};
    (void)state;
    world_init(&world);
    struct node *root = fixture_tree(
        "listeners = ( { name = \"l\"; address = \"127.0.0.1:1\"; tls = { "
        "certificates = ( { chain = \"no.pem\"; key = \"no.key\"; } ); }; } "
        ");");
    assert_null(build_snapshot(&world, root, NULL, &err));
    assert_non_null(strstr(error_text(&err), "x.conf:1: listeners[0].tls: "));
    assert_non_null(strstr(error_text(&err), "no.pem"));
    error_fini(&err);
    node_free(root);
    world_fini(&world);
}

static void test_build__a_missing_ca_of_an_upstream_is_named(void **state)
{
    struct build_world world;
    struct error err = {0};
    (void)state;
    world_init(&world);
    struct node *root = fixture_tree(LISTENER "upstreams = { u = { " ENDPOINTS
                                              "tls = { ca = \"no.pem\"; }; "
                                              "}; };");
    assert_null(build_snapshot(&world, root, NULL, &err));
    assert_non_null(strstr(error_text(&err), "x.conf:2: upstreams.u.tls: "));
    assert_non_null(strstr(error_text(&err), "no.pem"));
    error_fini(&err);
    node_free(root);
    world_fini(&world);
}

/* ---- snapshots ---------------------------------------------------------- */

static const char two[] =
    LISTENER "upstreams = { a = { endpoints = ( { address = \"127.0.0.1:80\"; "
             "}, { address = \"127.0.0.2:80\"; } ); }; b = { endpoints = ( { "
             "address = \"127.0.0.1:80\"; } ); }; };";
static const char two_changed[] =
    LISTENER "upstreams = { a = { endpoints = ( { address = \"127.0.0.1:80\"; "
             "}, { address = \"127.0.0.3:80\"; } ); }; b = { endpoints = ( { "
             "address = \"127.0.0.1:80\"; } ); }; };";

static void test_build__what_did_not_change_is_shared(void **state)
{
    struct build_world world;
    (void)state;
    world_init(&world);
    struct snapshot *old = world_build(&world, two, NULL);
    assert_int_equal(scoreboard_count(world.scoreboard), 5);
    struct snapshot *new = world_build(&world, two_changed, old);
    assert_int_equal(new->generation, old->generation + 1);
    assert_ptr_not_equal(new->upstreams[0], old->upstreams[0]);
    assert_ptr_equal(new->upstreams[1], old->upstreams[1]);
    assert_int_equal(new->upstreams[1]->n_refs, 2);
    /* The endpoint that stayed keeps its slot in a new upstream, too. */
    assert_ptr_equal(new->upstreams[0]->endpoints[0].slot,
                     old->upstreams[0]->endpoints[0].slot);
    assert_true(snapshot_has_slot(new, old->upstreams[0]->endpoints[0].slot));
    assert_false(snapshot_has_slot(new, old->upstreams[0]->endpoints[1].slot));
    assert_int_equal(scoreboard_count(world.scoreboard), 6);
    build_free_snapshot(&world, old);
    assert_int_equal(scoreboard_count(world.scoreboard), 5);
    assert_int_equal(new->upstreams[1]->n_refs, 1);
    build_free_snapshot(&world, new);
    world_fini(&world);
}

static void test_build__limits_are_part_of_an_upstream(void **state)
{
    struct build_world world;
    char text[2048];
    (void)state;
    world_init(&world);
    struct snapshot *old = world_build(&world, two, NULL);
    snprintf(text, sizeof(text), "%slimits = { buffer_bytes = 65536; };", two);
    struct snapshot *new = world_build(&world, text, old);
    assert_ptr_not_equal(new->upstreams[1], old->upstreams[1]);
    assert_int_equal(new->upstreams[1]->limits->buffer_bytes, 65536);
    build_free_snapshot(&world, old);
    build_free_snapshot(&world, new);
    world_fini(&world);
}

/* A reload that fails leaves the shared upstreams as they were. */
static void test_build__a_failed_reload_takes_nothing(void **state)
{
    struct build_world world;
    struct error err = {0};
    char text[2048];
    (void)state;
    world_init(&world);
    struct snapshot *old = world_build(&world, two, NULL);
    snprintf(text, sizeof(text),
             "%sroutes = ( { host = \"a b\"; upstream = \"a\"; } );",
             two_changed);
    struct node *root = fixture_tree(text);
    assert_null(build_snapshot(&world, root, old, &err));
    assert_int_equal(err.n_problems, 1);
    assert_int_equal(old->upstreams[1]->n_refs, 1);
    assert_int_equal(scoreboard_count(world.scoreboard), 5);
    error_fini(&err);
    node_free(root);
    build_free_snapshot(&world, old);
    world_fini(&world);
}

static void test_build__the_number_of_a_listener_stays(void **state)
{
    struct build_world world;
    (void)state;
    world_init(&world);
    const unsigned a = build_listener_id(&world, STR("a"));
    const unsigned b = build_listener_id(&world, STR("b"));
    assert_int_not_equal(a, b);
    assert_int_equal(build_listener_id(&world, STR("a")), a);
    world_fini(&world);
}

/* ---- sockets ------------------------------------------------------------ */

static void test_build__sockets_outlive_a_reload(void **state)
{
    struct build_world world;
    struct addr a;
    char text[256];
    (void)state;
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &a.sa, a.len), 0);
    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    close(fd);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"l\"; address = \"127.0.0.1:%u\"; } );",
             addr_port(&a));
    build_world_init(&world, 2);
    struct snapshot *old = world_build(&world, text, NULL);
    struct snapshot *new = world_build(&world, text, old);
    assert_ptr_equal(old->listeners[0].group, new->listeners[0].group);
    build_free_snapshot(&world, old);
    assert_false(list_is_empty(&world.groups));
    build_free_snapshot(&world, new);
    world_fini(&world);
}

static void test_build__a_port_in_use_is_told_by_its_line(void **state)
{
    struct build_world world;
    struct error err = {0};
    struct addr a;
    char text[256];
    (void)state;
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &a.sa, a.len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"l\"; address = \"127.0.0.1:%u\"; } );",
             addr_port(&a));
    build_world_init(&world, 2);
    struct node *root = fixture_tree(text);
    assert_null(build_snapshot(&world, root, NULL, &err));
    assert_int_equal(err.n_problems, 1);
    assert_non_null(strstr(error_text(&err), "x.conf:1: listeners[0]: "));
    error_fini(&err);
    node_free(root);
    close(fd);
    world_fini(&world);
}

#define TEST(name) cmocka_unit_test(test_build__##name)

static void test_build__variables_of_a_redirect_are_known(void **state)
{
    (void)state;
    const char *known = "there are ${authority}, ${host}, ${path}, ${query}, "
                        "${request_uri}";
    char text[1024];
    char message[2048];
    snprintf(text, sizeof(text), "%s",
             LISTENER "routes = ( { redirect = {\n"
                      "to = \"https://${hots}${request_url}/${x}$\"; }; },\n"
                      "{ path = \"/b\"; redirect = { to = \"/${host\"; }; },\n"
                      "{ path = \"/c\"; redirect = { to = \"/${}\"; }; } );");
    snprintf(message, sizeof(message),
             "x.conf:3: routes[0].redirect.to: ${hots} is not a variable; did "
             "you mean ${host}? %s\n"
             "x.conf:3: routes[0].redirect.to: ${request_url} is not a "
             "variable; did you mean ${request_uri}? %s\n"
             "x.conf:3: routes[0].redirect.to: ${x} is not a variable; %s\n"
             "x.conf:4: routes[1].redirect.to: \"${\" without \"}\"; close it, "
             "as in \"${host}\"\n"
             "x.conf:5: routes[2].redirect.to: ${} is not a variable; %s\n",
             known, known, known, known);
    check_problem(text, message);
    struct build_world world;
    world_init(&world);
    struct snapshot *snap = world_build(
        &world,
        LISTENER "routes = ( { redirect = { to = "
                 "\"$/${host}${authority}${path}${query}${request_uri}}\"; }; "
                 "} );",
        NULL);
    build_free_snapshot(&world, snap);
    world_fini(&world);
}

/* Values, combinations and what is built: told together, each once. */
static void test_build__no_phase_hides_the_next(void **state)
{
    (void)state;
    static const char text[] =
        "listeners = ( { name = \"l\"; address = \"127.0.0.1:1\"; nam = 1;\n"
        "  trusted_proxies = [ \"ten\" ]; tls = { min_version = \"9\";\n"
        "  certificates = ( { chain = \"no.pem\"; key = \"no.key\"; },\n"
        "  { chain = \"other.pem\"; } ); }; } );\n"
        "workers = 1000; limits = { streams_max = 0; };\n"
        "log = { access_format = \"${x}\"; level = \"loud\"; };\n"
        "modules = [ \"no.so\" ];\n"
        "upstreams = { u = { retries_max = 99; tls = { ca = \"no.ca\"; };\n"
        "  endpoints = ( { address = \"here\"; }, { address = 5; } );\n"
        "  balance = { policy = \"maglev\"; sticky_cookie = {\n"
        "  name = \"c\"; path = \"x\"; }; }; }; };\n"
        "routes = ( { host = \"a b\"; upstream = \"v\"; metods = 1;\n"
        "  filters = ( { name = \"f\"; } ); } );";
    static const char *const problems[] = {
        "x.conf:1: listeners[0].nam: unknown key",
        "x.conf:2: listeners[0].tls.min_version: \"9\" is not one of",
        "x.conf:4: listeners[0].tls.certificates[1]: \"key\" is missing",
        "x.conf:5: workers: 1000 is too large",
        "x.conf:5: limits.streams_max: 0 is too small",
        "x.conf:6: log.level: \"loud\" is not one of",
        "x.conf:8: upstreams.u.retries_max: 99 is too large",
        "x.conf:9: upstreams.u.endpoints[1].address: must be text",
        "x.conf:12: routes[0].metods: unknown key",
        "x.conf:10: upstreams.u.balance.policy: \"maglev\" needs hash_on",
        "x.conf:12: routes[0].upstream: there is no upstream \"v\"",
        "x.conf:6: log.access_format: ${x} is not a variable",
        "x.conf:9: upstreams.u.endpoints[0]: here: must be host:port",
        "no.ca: cannot be read",
        "x.conf:10: upstreams.u.balance.sticky_cookie: the path of a cookie",
        "x.conf:2: listeners[0].trusted_proxies[0]: ten: not an address",
        "no.pem: cannot be read",
        "no.key: cannot be read",
        "x.conf:7: modules[0]: no.so: cannot be loaded",
        "x.conf:12: routes[0]: host \"a b\" is not a host name",
    };
    struct build_world world;
    struct error err = {0};
    world_init(&world);
    fixture_write("x.conf", text);
    struct node *root = source_file_read("x.conf", &err);
    settings_check(root, &err);
    assert_null(build_snapshot(&world, root, NULL, &err));
    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
        const char *at = strstr(error_text(&err), problems[i]);
        assert_non_null(at);
        assert_null(strstr(at + 1, problems[i]));
    }
    assert_int_equal(err.n_problems, sizeof(problems) / sizeof(problems[0]));
    error_fini(&err);
    node_free(root);
    world_fini(&world);
}

static const struct setting *find_row(const char *path)
{
    size_t i = 0;
    while (strcmp(settings_row(i)->path, path) != 0) {
        i++;
    }
    return settings_row(i);
}

/* The conf text in which `value` stands where a row wants another. */
static void print_at(const char *row_path, const char *value, char dst[1024])
{
    char path[256];
    char inner[1024];
    char *dot;
    snprintf(path, sizeof(path), "%s", row_path);
    snprintf(inner, sizeof(inner), "%s", value);
    while ((dot = strrchr(path, '.')) != NULL) {
        *dot = '\0';
        if (strcmp(dot + 1, "*") != 0) {
            snprintf(dst, 1024, "{ %.99s = %.800s; }", dot + 1, inner);
        } else if (find_row(path)->kind == SETTING_MAP) {
            snprintf(dst, 1024, "{ m = %.800s; }", inner);
        } else {
            snprintf(dst, 1024, "( %.800s )", inner);
        }
        snprintf(inner, sizeof(inner), "%s", dst);
    }
    snprintf(dst, 1024, "%.99s = %.800s;", path, inner);
}

/* Checks and builds a tree of any shape; the result does not matter. */
static void build_anything(const char *text)
{
    struct build_world world;
    struct error err = {0};
    world_init(&world);
    fixture_write("x.conf", text);
    struct node *root = source_file_read("x.conf", &err);
    if (root != NULL) {
        settings_check(root, &err);
        struct snapshot *snap = build_snapshot(&world, root, NULL, &err);
        assert_true((snap == NULL) == (err.n_problems > 0));
        if (snap == NULL) {
            node_free(root);
        }
        build_free_snapshot(&world, snap);
    }
    error_fini(&err);
    world_fini(&world);
}

static void test_build__wrong_kinds_do_no_harm(void **state)
{
    (void)state;
    static const char *const values[] = {"5",
                                         "\"x\"",
                                         "true",
                                         "2.5",
                                         "{ }",
                                         "( )",
                                         "( 1, { a = 1; }, \"\" )",
                                         "{ a = 1; b = { c = ( 1 ); }; }"};
    for (size_t row = 0; settings_row(row) != NULL; row++) {
        const char *path = settings_row(row)->path;
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            char text[2048];
            char at[1024];
            print_at(path, values[i], at);
            snprintf(text, sizeof(text), "%s%s",
                     strncmp(path, "listeners", 9) == 0 ? "" : LISTENER, at);
            build_anything(text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_wrong_host_is_explained),
        TEST(hosts_are_canonical),
        TEST(paths_are_written_as_they_are_matched),
        TEST(a_wrong_expression_is_explained),
        TEST(framing_is_not_edited),
        TEST(one_pass_tells_every_problem),
        TEST(variables_of_a_redirect_are_known),
        TEST(no_phase_hides_the_next),
        TEST(wrong_kinds_do_no_harm),
        TEST(an_endpoint_twice_is_a_mistake),
        TEST(a_name_that_does_not_resolve_is_told),
        TEST(protocol_and_tls_must_fit),
        TEST(cookies_are_checked),
        TEST(a_minted_cookie_must_decide),
        TEST(names_of_headers_are_matched_in_lower_case),
        TEST(what_workers_write_is_on_lines_of_its_own),
        TEST(a_missing_certificate_is_named),
        TEST(a_missing_ca_of_an_upstream_is_named),
        TEST(what_did_not_change_is_shared),
        TEST(limits_are_part_of_an_upstream),
        TEST(a_failed_reload_takes_nothing),
        TEST(the_number_of_a_listener_stays),
        TEST(sockets_outlive_a_reload),
        TEST(a_port_in_use_is_told_by_its_line),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
