/*
 * Unit tests of proxy/route: which route a request gets, what is edited on the
 * way, and that ten thousand routes cost no more than ten.
 */
#include "base/map.h"

/* Counts the look-ups of the file under test. */
static unsigned long n_finds;
static void *counted_find(const struct map *m, struct str key)
{
    n_finds++;
    return map_find(m, key);
}
#define map_find counted_find
#include "proxy/route.c"
#undef map_find

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ROUTES_MAX = 32 };

/* A table under test, and what a request is made of. */
struct fx {
    struct route routes[ROUTES_MAX];
    size_t n;
    struct route_table *t;
    struct regex_scratch *scratch;
    struct arena arena;
    struct head head;
    unsigned listener_id;
};

static void fx_init(struct fx *fx)
{
    memset(fx, 0, sizeof(*fx));
    fx->scratch = regex_scratch_new(REGEX_PROGRAM_MAX);
    arena_init(&fx->arena, NULL, 1 << 24);
    fx->listener_id = 1;
}

static void fx_fini(struct fx *fx)
{
    route_table_free(fx->t);
    for (size_t i = 0; i < fx->n; i++) {
        regex_free(fx->routes[i].regex);
        for (size_t j = 0; j < fx->routes[i].n_headers; j++) {
            regex_free(fx->routes[i].headers[j].regex);
        }
    }
    regex_scratch_free(fx->scratch);
    arena_reset(&fx->arena);
}

static struct regex *regex_of(const char *text)
{
    struct error err = {0};
    struct regex *re =
        regex_new(str_from(text), REGEX_ANCHOR_START | REGEX_ANCHOR_END, &err);
    assert_string_equal(error_text(&err), "");
    return re;
}

/* Adds a route; its name tells the tests which one was found. */
static struct route *fx_add(struct fx *fx,
                            const char *name,
                            const char *host,
                            enum route_path_kind kind,
                            const char *path)
{
    assert_true(fx->n < ROUTES_MAX);
    struct route *r = &fx->routes[fx->n];
    r->order = (unsigned)fx->n++;
    r->name = str_from(name);
    r->host = str_from(host);
    r->path_kind = kind;
    r->path = str_from(path);
    r->regex = kind == ROUTE_PATH_REGEX ? regex_of(path) : NULL;
    return r;
}

/* The name of the route for a request; "404" or "405" when there is none. */
static const char *
fx_find(struct fx *fx, const char *method, const char *host, const char *path)
{
    enum fault f;
    if (fx->t == NULL) {
        fx->t = route_table_build(fx->routes, fx->n);
    }
    head_init(&fx->head, &fx->arena);
    fx->head.method_text = str_from(method);
    fx->head.host = str_from(host);
    fx->head.authority = fx->head.host;
    fx->head.path = str_from(path);
    const struct route_match m = {
        .head = &fx->head,
        .listener_id = fx->listener_id,
        .arena = &fx->arena,
        .scratch = fx->scratch,
    };
    const struct route *r = route_find(fx->t, &m, &f);
    if (r != NULL) {
        return r->name.p;
    }
    return f == FAULT_METHOD ? "405" : "404";
}

struct row {
    const char *host;
    const char *path;
    const char *want;
};

static void fx_check(struct fx *fx, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = fx_find(fx, "GET", rows[i].host, rows[i].path);
        if (strcmp(got, rows[i].want) != 0) {
            fail_msg("%s%s: %s, not %s", rows[i].host, rows[i].path, got,
                     rows[i].want);
        }
    }
}

#define FX_CHECK(fx, rows) fx_check(fx, rows, sizeof(rows) / sizeof((rows)[0]))

static void test_route__the_most_specific_path_wins(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    fx_add(&fx, "root", NULL, ROUTE_PATH_PREFIX, "");
    fx_add(&fx, "a", NULL, ROUTE_PATH_PREFIX, "/a");
    fx_add(&fx, "a/b", NULL, ROUTE_PATH_PREFIX, "/a/b");
    fx_add(&fx, "number", NULL, ROUTE_PATH_REGEX, "/a/[0-9]+");
    fx_add(&fx, "digit", NULL, ROUTE_PATH_REGEX, "/a/[0-9]");
    fx_add(&fx, "exact", NULL, ROUTE_PATH_EXACT, "/a/7");
    const struct row rows[] = {
        {"h", "/", "root"},       {"h", "/b", "root"},
        {"h", "/ab", "root"},     {"h", "/a", "a"},
        {"h", "/a/", "a"},        {"h", "/a/bc", "a"},
        {"h", "/a/b", "a/b"},     {"h", "/a/b/", "a/b"},
        {"h", "/a/b/c/d", "a/b"}, {"h", "/a/7", "exact"},
        {"h", "/a/7/", "a"},      {"h", "/a/8", "number"},
        {"h", "/a/88", "number"}, {"h", "/a/8x", "a"},
        {"h", "*", "root"},
    };
    FX_CHECK(&fx, rows);
    fx_fini(&fx);
}

static void test_route__the_most_specific_host_wins(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    fx_add(&fx, "any", NULL, ROUTE_PATH_PREFIX, "");
    fx_add(&fx, "any-x", NULL, ROUTE_PATH_EXACT, "/x");
    fx_add(&fx, "wild", "*.example.org", ROUTE_PATH_PREFIX, "");
    fx_add(&fx, "wild-deep", "*.b.example.org", ROUTE_PATH_PREFIX, "");
    fx_add(&fx, "exact", "www.example.org", ROUTE_PATH_PREFIX, "/only");
    const struct row rows[] = {
        {"other.test", "/", "any"},
        {"example.org", "/", "any"}, /* one label before it */
        {"a.example.org", "/", "wild"},
        {"c.a.example.org", "/", "any"},
        {"a.b.example.org", "/", "wild-deep"},
        {"b.example.org", "/", "wild"},
        {"www.example.org", "/only", "exact"},
        {"www.example.org", "/only/a", "exact"},
        /* No path fits there: falls through to the less specific host. */
        {"www.example.org", "/other", "wild"},
        {"evilexample.org", "/", "any"},
        {"", "/x", "any-x"},
    };
    FX_CHECK(&fx, rows);
    fx_fini(&fx);
}

static void test_route__nothing_fits(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    fx_add(&fx, "a", "h", ROUTE_PATH_PREFIX, "/a");
    assert_string_equal(fx_find(&fx, "GET", "h", "/"), "404");
    assert_string_equal(fx_find(&fx, "GET", "h", "/ab"), "404");
    assert_string_equal(fx_find(&fx, "GET", "g", "/a"), "404");
    fx_fini(&fx);
}

static void test_route__an_empty_table_finds_nothing(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    assert_string_equal(fx_find(&fx, "GET", "h", "/"), "404");
    fx_fini(&fx);
}

static void test_route__path_parameters_do_not_count(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    fx_add(&fx, "exact", NULL, ROUTE_PATH_EXACT, "/a/b");
    fx_add(&fx, "admin", NULL, ROUTE_PATH_PREFIX, "/admin");
    fx_add(&fx, "root", NULL, ROUTE_PATH_PREFIX, "");
    const struct row rows[] = {
        {"h", "/a;v=1/b", "exact"},
        {"h", "/admin;x/y", "admin"},
    };
    FX_CHECK(&fx, rows);
    fx_fini(&fx);
}

static void test_route__methods_decide(void **state)
{
    struct fx fx;
    struct str reads[] = {STR("GET"), STR("HEAD")};
    struct str writes[] = {STR("POST")};
    (void)state;
    fx_init(&fx);
    struct route *r = fx_add(&fx, "read", NULL, ROUTE_PATH_PREFIX, "/a");
    r->methods = reads;
    r->n_methods = 2;
    r = fx_add(&fx, "write", NULL, ROUTE_PATH_PREFIX, "/a");
    r->methods = writes;
    r->n_methods = 1;
    assert_string_equal(fx_find(&fx, "GET", "h", "/a"), "read");
    assert_string_equal(fx_find(&fx, "HEAD", "h", "/a"), "read");
    assert_string_equal(fx_find(&fx, "POST", "h", "/a"), "write");
    assert_string_equal(fx_find(&fx, "PUT", "h", "/a"), "405");
    assert_string_equal(fx_find(&fx, "get", "h", "/a"), "405");
    assert_string_equal(fx_find(&fx, "PUT", "h", "/b"), "404");
    fx_fini(&fx);
}

/* A route of another path that takes the method is better than a 405. */
static void test_route__a_method_falls_through_to_a_shorter_path(void **state)
{
    struct fx fx;
    struct str reads[] = {STR("GET")};
    (void)state;
    fx_init(&fx);
    struct route *r = fx_add(&fx, "a", NULL, ROUTE_PATH_PREFIX, "/a");
    r->methods = reads;
    r->n_methods = 1;
    fx_add(&fx, "root", NULL, ROUTE_PATH_PREFIX, "");
    assert_string_equal(fx_find(&fx, "PUT", "h", "/a"), "root");
    fx_fini(&fx);
}

static void test_route__more_conditions_come_first(void **state)
{
    struct fx fx;
    struct str reads[] = {STR("GET")};
    unsigned listeners[] = {2};
    struct route_header_match match[] = {{.name = STR("x-v")}};
    (void)state;
    fx_init(&fx);
    fx_add(&fx, "plain", NULL, ROUTE_PATH_EXACT, "/a");
    fx_add(&fx, "plain-2", NULL, ROUTE_PATH_EXACT, "/a");
    struct route *r = fx_add(&fx, "get", NULL, ROUTE_PATH_EXACT, "/a");
    r->methods = reads;
    r->n_methods = 1;
    r = fx_add(&fx, "get-on-2", NULL, ROUTE_PATH_EXACT, "/a");
    r->methods = reads;
    r->n_methods = 1;
    r->listener_ids = listeners;
    r->n_listener_ids = 1;
    r = fx_add(&fx, "v", NULL, ROUTE_PATH_EXACT, "/a");
    r->headers = match;
    r->n_headers = 1;
    assert_string_equal(fx_find(&fx, "PUT", "h", "/a"), "plain");
    assert_string_equal(fx_find(&fx, "GET", "h", "/a"), "get");
    fx.listener_id = 2;
    assert_string_equal(fx_find(&fx, "GET", "h", "/a"), "get-on-2");
    assert_string_equal(fx_find(&fx, "PUT", "h", "/a"), "plain");
    fx_fini(&fx);
}

/* As fx_find, with one header field. */
static const char *
fx_find_header(struct fx *fx, const char *name, const char *value)
{
    enum fault f;
    fx_find(fx, "GET", "h", "/a");
    if (name != NULL) {
        assert_true(head_add(&fx->head, name_find(str_from(name)),
                             str_from(name), str_from(value)));
    }
    const struct route_match m = {
        .head = &fx->head,
        .listener_id = 1,
        .arena = &fx->arena,
        .scratch = fx->scratch,
    };
    const struct route *r = route_find(fx->t, &m, &f);
    return r != NULL ? r->name.p : "404";
}

static void test_route__headers_decide(void **state)
{
    struct fx fx;
    struct route_header_match exact[] = {
        {.name = STR("x-v"), .value = STR("1")}};
    struct route_header_match pattern[] = {
        {.name = STR("x-v"), .regex = regex_of("[2-4]+")}};
    struct route_header_match absent[] = {
        {.name = STR("x-v"), .is_absent = true}};
    struct route_header_match any[] = {{.name = STR("x-v")}};
    (void)state;
    fx_init(&fx);
    fx_add(&fx, "exact", NULL, ROUTE_PATH_PREFIX, "/a")->headers = exact;
    fx_add(&fx, "pattern", NULL, ROUTE_PATH_PREFIX, "/a")->headers = pattern;
    fx_add(&fx, "absent", NULL, ROUTE_PATH_PREFIX, "/a")->headers = absent;
    fx_add(&fx, "any", NULL, ROUTE_PATH_PREFIX, "/a")->headers = any;
    for (size_t i = 0; i < fx.n; i++) {
        fx.routes[i].n_headers = 1;
    }
    assert_string_equal(fx_find_header(&fx, NULL, NULL), "absent");
    assert_string_equal(fx_find_header(&fx, "x-v", "1"), "exact");
    assert_string_equal(fx_find_header(&fx, "x-v", "3"), "pattern");
    assert_string_equal(fx_find_header(&fx, "x-v", "34"), "pattern");
    assert_string_equal(fx_find_header(&fx, "x-v", "35"), "any");
    assert_string_equal(fx_find_header(&fx, "x-w", "1"), "absent");
    fx_fini(&fx);
}

static void test_route__the_largest_expression_is_known(void **state)
{
    struct fx fx;
    struct route_header_match match[] = {
        {.name = STR("x"), .regex = regex_of("(abc|def|ghi){3,9}")}};
    (void)state;
    fx_init(&fx);
    struct route *r = fx_add(&fx, "r", NULL, ROUTE_PATH_REGEX, "/a");
    r->headers = match;
    r->n_headers = 1;
    fx_find(&fx, "GET", "h", "/");
    assert_int_equal(route_table_regex_max(fx.t), regex_size(match[0].regex));
    assert_true(regex_size(match[0].regex) > regex_size(r->regex));
    fx_fini(&fx);
}

/* ---- many routes -------------------------------------------------------- */

/* Look-ups that the most expensive of some requests takes among n routes. */
static unsigned long count_finds(size_t n)
{
    struct route *routes = mem_new_array(n, sizeof(*routes));
    char(*texts)[2][48] = mem_new_array(n, sizeof(*texts));
    struct fx fx;
    unsigned long worst = 0;
    fx_init(&fx);
    for (size_t i = 0; i < n; i++) {
        struct route *r = &routes[i];
        snprintf(texts[i][0], sizeof(texts[i][0]), "h%zu.test", i % 100);
        snprintf(texts[i][1], sizeof(texts[i][1]), "/a/p%zu", i);
        r->order = (unsigned)i;
        r->name = str_from(texts[i][1]);
        r->host = i % 3 == 0 ? STR_NONE : str_from(texts[i][0]);
        r->path_kind = i % 2 == 0 ? ROUTE_PATH_PREFIX : ROUTE_PATH_EXACT;
        r->path = str_from(texts[i][1]);
    }
    fx.t = route_table_build(routes, n);
    for (size_t i = 0; i < n; i++) {
        n_finds = 0;
        const char *host = routes[i].host.p != NULL ? routes[i].host.p : "x";
        assert_string_equal(fx_find(&fx, "GET", host, texts[i][1]),
                            texts[i][1]);
        worst = n_finds > worst ? n_finds : worst;
    }
    n_finds = 0;
    assert_string_equal(fx_find(&fx, "GET", "h1.test", "/a/b/c/d/e/f/g"),
                        "404");
    worst = n_finds > worst ? n_finds : worst;
    fx_fini(&fx);
    mem_free(routes);
    mem_free(texts);
    return worst;
}

static void test_route__ten_thousand_cost_as_much_as_ten(void **state)
{
    (void)state;
    const unsigned long few = count_finds(10);
    assert_true(few < 12);
    assert_int_equal(count_finds(10000), few);
}

/* A long path in a request must not be paid element by element. */
static void test_route__no_deeper_than_the_deepest_prefix(void **state)
{
    struct fx fx;
    char path[2048];
    (void)state;
    fx_init(&fx);
    fx_add(&fx, "a/b", NULL, ROUTE_PATH_PREFIX, "/a/b");
    memset(path, '/', sizeof(path));
    for (size_t i = 1; i < sizeof(path); i += 2) {
        path[i] = 'a';
    }
    path[sizeof(path) - 1] = '\0';
    n_finds = 0;
    assert_string_equal(fx_find(&fx, "GET", "h", path), "404");
    assert_true(n_finds <= 6);
    fx_fini(&fx);
}

/* ---- what is done on the way -------------------------------------------- */

static void test_route__the_prefix_is_replaced(void **state)
{
    static const struct {
        const char *prefix;
        const char *replace;
        const char *path;
        const char *want;
    } rows[] = {
        {"/a", "/", "/a", "/"},
        {"/a", "/", "/a/", "/"},
        {"/a", "/", "/a/b", "/b"},
        {"/a", "/x", "/a", "/x"},
        {"/a", "/x", "/a/b", "/x/b"},
        {"/a", "/x/", "/a/b", "/x/b"},
        {"/a", "/x/y", "/a/", "/x/y/"},
        {"", "/x", "/a", "/x/a"},
        {"", "/x", "/", "/x/"},
        {"", "/", "/a/b", "/a/b"},
        /* What matched without its parameters is replaced with them. */
        {"/a", "/x", "/a;v=1/b;w", "/x/b;w"},
        {"/a/b", "/x", "/a;v/b/c", "/x/c"},
        {"/a/b", "/x", "/;p/a/;q/b;r", "/x"},
    };
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 1 << 20);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct route r = {
            .path_kind = ROUTE_PATH_PREFIX,
            .path = str_from(rows[i].prefix),
            .has_replace_prefix = true,
            .replace_prefix = str_from(rows[i].replace),
        };
        const struct str got =
            route_rewrite_path(&r, &arena, str_from(rows[i].path));
        if (!str_eq(got, str_from(rows[i].want))) {
            fail_msg("row %zu: %.*s", i, STR_ARG(got));
        }
    }
    const struct route none = {.path = STR("/a")};
    assert_true(
        str_eq(route_rewrite_path(&none, &arena, STR("/a/b")), STR("/a/b")));
    arena_reset(&arena);
}

static void test_route__the_location_is_filled_in(void **state)
{
    static const struct {
        const char *to;
        const char *want;
    } rows[] = {
        {"https://other.test/", "https://other.test/"},
        {"https://${host}${request_uri}", "https://h.test/a/b?q=1"},
        {"http://${authority}${path}", "http://h.test:8080/a/b"},
        {"/x?${query}&z", "/x?q=1&z"},
        {"${host}", "h.test"},
        {"$${host}$", "$h.test$"},
        {"a${", "a${"},
        {"a${host", "a${host"},
    };
    struct arena arena;
    struct head h;
    (void)state;
    arena_init(&arena, NULL, 1 << 20);
    head_init(&h, &arena);
    h.host = STR("h.test");
    h.authority = STR("h.test:8080");
    h.path = STR("/a/b");
    h.query = STR("q=1");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct route r = {.to = str_from(rows[i].to)};
        const struct str got = route_location(&r, &arena, &h);
        if (!str_eq(got, str_from(rows[i].want))) {
            fail_msg("%s: %.*s", rows[i].to, STR_ARG(got));
        }
    }
    h.query = STR_NONE;
    const struct route r = {.to = STR("https://${host}${request_uri}")};
    assert_true(
        str_eq(route_location(&r, &arena, &h), STR("https://h.test/a/b")));
    arena_reset(&arena);
}

static void test_route__headers_are_removed_set_and_added(void **state)
{
    struct arena arena;
    struct head h;
    struct str gone[] = {STR("x-gone")};
    struct route_header set[] = {{STR("x-set"), STR("new")}};
    struct route_header add[] = {{STR("x-add"), STR("2")}};
    const struct route_edits e = {set, 1, add, 1, gone, 1};
    (void)state;
    arena_init(&arena, NULL, 1 << 20);
    head_init(&h, &arena);
    assert_true(head_add_copy(&h, STR("x-gone"), STR("a")));
    assert_true(head_add_copy(&h, STR("x-set"), STR("old")));
    assert_true(head_add_copy(&h, STR("x-gone"), STR("b")));
    assert_true(head_add_copy(&h, STR("x-add"), STR("1")));
    assert_true(route_edit(&e, &h));
    assert_null(head_find_name(&h, STR("x-gone")));
    assert_true(str_eq(head_find_name(&h, STR("x-set"))->value, STR("new")));
    assert_int_equal(head_remove(&h, STR("x-add")), 2);
    arena_reset(&arena);
}

static void test_route__a_split_follows_its_weights(void **state)
{
    struct upstream up[3];
    struct route_split split[] = {{&up[0], 1}, {&up[1], 1}, {&up[2], 4}};
    const struct route r = {
        .action = ROUTE_SPLIT, .split = split, .n_split = 3};
    unsigned n[3] = {0};
    (void)state;
    for (uint64_t i = 0; i < 400; i++) {
        n[route_upstream(&r, i) - up]++;
    }
    assert_int_equal(n[0], 100);
    assert_int_equal(n[1], 0); /* weight 0 */
    assert_int_equal(n[2], 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route__the_most_specific_path_wins),
        cmocka_unit_test(test_route__the_most_specific_host_wins),
        cmocka_unit_test(test_route__nothing_fits),
        cmocka_unit_test(test_route__an_empty_table_finds_nothing),
        cmocka_unit_test(test_route__path_parameters_do_not_count),
        cmocka_unit_test(test_route__methods_decide),
        cmocka_unit_test(test_route__a_method_falls_through_to_a_shorter_path),
        cmocka_unit_test(test_route__more_conditions_come_first),
        cmocka_unit_test(test_route__headers_decide),
        cmocka_unit_test(test_route__the_largest_expression_is_known),
        cmocka_unit_test(test_route__ten_thousand_cost_as_much_as_ten),
        cmocka_unit_test(test_route__no_deeper_than_the_deepest_prefix),
        cmocka_unit_test(test_route__the_prefix_is_replaced),
        cmocka_unit_test(test_route__the_location_is_filled_in),
        cmocka_unit_test(test_route__headers_are_removed_set_and_added),
        cmocka_unit_test(test_route__a_split_follows_its_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
