/*
 * Unit tests of http/uri: tables of targets (5.8) and hosts (R-HST), and the
 * laws that canonical forms must obey.
 */
#include "http/uri.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct arena arena;

static void assert_str(const char *of, struct str got, const char *want)
{
    if (got.len != strlen(want) || memcmp(got.p, want, got.len) != 0) {
        fail_msg("'%s': got '%.*s', want '%s'", of, STR_ARG(got), want);
    }
}

static const struct {
    const char *target;
    const char *path; /* NULL: FAULT_BAD_TARGET */
    const char *query;
} uri_rows[] = {
    {"/", "/", NULL},
    {"*", "*", NULL},
    {"/a/b?c=d", "/a/b", "c=d"},
    {"/?", "/", ""},
    {"/a?b?c/../d", "/a", "b?c/../d"},
    {"/a//b///c", "/a/b/c", NULL},
    {"//", "/", NULL},
    {"/a/./b/.", "/a/b/", NULL},
    {"/a/../b", "/b", NULL},
    {"/a/b/..", "/a/", NULL},
    {"/a//../b", "/b", NULL},
    {"/a/..", "/", NULL},
    {"/..", NULL, NULL},
    {"/a/../..", NULL, NULL},
    {"/a/../../b", NULL, NULL},
    {"/%2e%2e/a", NULL, NULL},
    {"/a/%2E%2e/b", "/b", NULL},
    {"/a/.%2e/b", "/b", NULL},
    {"/%61%7e%2D", "/a~-", NULL},
    {"/%c3%a4", "/%C3%A4", NULL},
    {"/a%20b", "/a%20b", NULL},
    {"/%252e%252e/", "/%252e%252e/", NULL},
    {"/a%2fb", NULL, NULL},
    {"/a%5cb", NULL, NULL},
    {"/a\\b", NULL, NULL},
    {"/%00", NULL, NULL},
    {"/%0a", NULL, NULL},
    {"/%0D", NULL, NULL},
    {"/%1f", NULL, NULL},
    {"/%7f", NULL, NULL},
    {"/%", NULL, NULL},
    {"/%4", NULL, NULL},
    {"/%zz", NULL, NULL},
    {"/a?%4", NULL, NULL},
    {"/a?%0a", "/a", "%0a"},
    {"/a#b", NULL, NULL},
    {"/a?b#c", NULL, NULL},
    {"/a?b[]=c&d[e][f]=g", "/a", "b[]=c&d[e][f]=g"},
    {"/a?[", "/a", "["},
    {"/a[b]", NULL, NULL},
    {"/a[]?b", NULL, NULL},
    {"/a?b|c", NULL, NULL},
    {"/a?{b}", NULL, NULL},
    {"/a?b\\c", NULL, NULL},
    {"/a?b^c", NULL, NULL},
    {"/a?b`c", NULL, NULL},
    {"/a?\"b", NULL, NULL},
    {"/a?<b>", NULL, NULL},
    {"/a b", NULL, NULL},
    {"/a\"", NULL, NULL},
    {"/<", NULL, NULL},
    {"/{}", NULL, NULL},
    {"/a|b", NULL, NULL},
    {"/a^b", NULL, NULL},
    {"/a`b", NULL, NULL},
    {"/\x80", NULL, NULL},
    {"/\x7f", NULL, NULL},
    {"/a\tb", NULL, NULL},
    {"", NULL, NULL},
    {"a", NULL, NULL},
    {"**", NULL, NULL},
    {"/*", "/*", NULL},
    {"/a;p=1/b", "/a;p=1/b", NULL},
    {"/a/..;x/b", NULL, NULL},
    {"/a/.;x/b", NULL, NULL},
    {"/a/%2e%2e;x/b", NULL, NULL},
    {"/..a/.b./...", "/..a/.b./...", NULL},
    {"/a/b/", "/a/b/", NULL},
    {"/Case/Kept", "/Case/Kept", NULL},
    {"/a:b@c!$&'()*+,=-._~", "/a:b@c!$&'()*+,=-._~", NULL},
};

static void test_uri__targets_become_canonical(void **state)
{
    const struct uri_options options = {false};

    (void)state;
    for (size_t i = 0; i < sizeof(uri_rows) / sizeof(uri_rows[0]); i++) {
        const char *const target = uri_rows[i].target;
        struct str path;
        struct str query;
        const enum fault f =
            uri_target(&arena, str_from(target), &options, &path, &query);

        if (uri_rows[i].path == NULL) {
            if (f != FAULT_BAD_TARGET) {
                fail_msg("'%s' was not refused", target);
            }
            continue;
        }
        if (f != FAULT_NONE) {
            fail_msg("'%s' was refused", target);
        }
        assert_str(target, path, uri_rows[i].path);
        assert_int_equal(query.p == NULL, uri_rows[i].query == NULL);
        if (uri_rows[i].query != NULL) {
            assert_str(target, query, uri_rows[i].query);
        }
    }
    arena_reset(&arena);
}

/* A small generator: the law must hold for what nobody thought of. */
static void test_uri__canonical_twice_is_canonical_once(void **state)
{
    static const char *const parts[] = {"/",   ".",     "..",  "a",   "%2e",
                                        "%2F", "%5c",   "%41", "%7e", ";p",
                                        "%25", "%252e", "b",   "%c3", "?q"};
    const struct uri_options options[] = {{false}, {true}};
    uint32_t random = 12345;
    unsigned n_accepted = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[128] = "/";
        size_t n = 1;

        for (int i = 0; i < 8; i++) {
            random = random * 1664525 + 1013904223;
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s",
                                  parts[(random >> 16) % 15]);
        }
        const struct uri_options *const o = &options[round % 2];
        struct str path;
        struct str query;
        struct str again;
        struct str none;
        if (uri_target(&arena, str_from(text), o, &path, &query) !=
            FAULT_NONE) {
            continue;
        }
        n_accepted++;
        assert_int_equal(uri_target(&arena, path, o, &again, &none),
                         FAULT_NONE);
        if (!str_eq(path, again)) {
            fail_msg("'%s': '%.*s' became '%.*s'", text, STR_ARG(path),
                     STR_ARG(again));
        }
        assert_true(path.p[0] == '/');
        arena_reset(&arena);
    }
    assert_true(n_accepted > 1000);
}

static void test_uri__encoded_slashes_pass_only_if_allowed(void **state)
{
    const struct uri_options options = {.is_encoded_slash_allowed = true};
    struct str path;
    struct str query;

    (void)state;
    assert_int_equal(
        uri_target(&arena, STR("/a%2fb%5Cc"), &options, &path, &query),
        FAULT_NONE);
    assert_str("slash", path, "/a%2Fb%5Cc");
    assert_int_equal(uri_target(&arena, STR("/a%00"), &options, &path, &query),
                     FAULT_BAD_TARGET);
    arena_reset(&arena);
}

static void test_uri__a_long_path_is_refused(void **state)
{
    const struct uri_options options = {false};
    static char text[URI_PATH_BYTES_MAX + 2];
    struct str path;
    struct str query;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    assert_int_equal(uri_target(&arena, str_make(text, URI_PATH_BYTES_MAX),
                                &options, &path, &query),
                     FAULT_NONE);
    assert_int_equal(uri_target(&arena, str_make(text, URI_PATH_BYTES_MAX + 1),
                                &options, &path, &query),
                     FAULT_TARGET_TOO_LONG);
}

static void test_uri__the_arena_limit_is_overload(void **state)
{
    const struct uri_options options = {false};
    struct arena small;
    struct str path;
    struct str query;

    (void)state;
    arena_init(&small, NULL, 4);
    assert_int_equal(
        uri_target(&small, STR("/aaaaaaaaaaaaaa/./b"), &options, &path, &query),
        FAULT_OVERLOAD);
    arena_reset(&small);
}

static void test_uri__matching_ignores_parameters(void **state)
{
    const struct str plain = STR("/a/b");

    (void)state;
    assert_ptr_equal(uri_match_path(&arena, plain).p, plain.p);
    assert_str("1", uri_match_path(&arena, STR("/a;x=1/b;y")), "/a/b");
    assert_str("2", uri_match_path(&arena, STR("/;x/admin")), "/admin");
    assert_str("3", uri_match_path(&arena, STR("/a;b;c/")), "/a/");
    arena_reset(&arena);
}

static const struct {
    const char *text;
    const char *scheme;
    const char *authority; /* NULL: FAULT_BAD_HOST */
    const char *host;
} host_rows[] = {
    {"example.com", "http", "example.com", "example.com"},
    {"EXAMPLE.com", "http", "example.com", "example.com"},
    {"example.com.", "http", "example.com", "example.com"},
    {"example.com..", "http", NULL, NULL},
    {"example.com:80", "http", "example.com", "example.com"},
    {"example.com:80", "https", "example.com:80", "example.com"},
    {"example.com:443", "https", "example.com", "example.com"},
    {"example.com:443", "http", "example.com:443", "example.com"},
    {"example.com.:8080", "http", "example.com:8080", "example.com"},
    {"Example.com:8080", "http", "example.com:8080", "example.com"},
    {"a:08080", "http", "a:8080", "a"},
    {"a:00080", "http", "a", "a"},
    {"a:0", "http", NULL, NULL},
    {"a:", "http", NULL, NULL},
    {"a:65535", "http", "a:65535", "a"},
    {"a:65536", "http", NULL, NULL},
    {"a:123456", "http", NULL, NULL},
    {"a:1x", "http", NULL, NULL},
    {"a:+1", "http", NULL, NULL},
    {"a:1:2", "http", NULL, NULL},
    {"", "http", NULL, NULL},
    {".", "http", NULL, NULL},
    {":80", "http", NULL, NULL},
    {"a..b", "http", NULL, NULL},
    {".a", "http", NULL, NULL},
    {"a,b", "http", NULL, NULL},
    {"a b", "http", NULL, NULL},
    {"u@a", "http", NULL, NULL},
    {"a/b", "http", NULL, NULL},
    {"a?b", "http", NULL, NULL},
    {"a#b", "http", NULL, NULL},
    {"a%41", "http", NULL, NULL},
    {"\xc3\xa4", "http", NULL, NULL},
    {"under_score.x", "http", "under_score.x", "under_score.x"},
    {"127.0.0.1:8080", "http", "127.0.0.1:8080", "127.0.0.1"},
    {"[::1]", "http", "[::1]", "::1"},
    {"[::1]:80", "http", "[::1]", "::1"},
    {"[::1]:8080", "http", "[::1]:8080", "::1"},
    {"[2001:DB8::A]:443", "https", "[2001:db8::a]", "2001:db8::a"},
    {"[::1%eth0]", "http", NULL, NULL},
    {"[::1", "http", NULL, NULL},
    {"[]", "http", NULL, NULL},
    {"[1.2.3.4]", "http", NULL, NULL},
    {"[::1]x", "http", NULL, NULL},
    {"[::1].", "http", NULL, NULL},
    {"::1", "http", NULL, NULL},
};

static void test_uri__hosts_become_canonical(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(host_rows) / sizeof(host_rows[0]); i++) {
        struct str authority;
        struct str host;
        const enum fault f =
            uri_host(&arena, str_from(host_rows[i].text),
                     str_from(host_rows[i].scheme), &authority, &host);

        if (host_rows[i].authority == NULL) {
            if (f != FAULT_BAD_HOST) {
                fail_msg("'%s' was not refused", host_rows[i].text);
            }
            continue;
        }
        if (f != FAULT_NONE) {
            fail_msg("'%s' was refused", host_rows[i].text);
        }
        assert_str(host_rows[i].text, authority, host_rows[i].authority);
        assert_str(host_rows[i].text, host, host_rows[i].host);
    }
    arena_reset(&arena);
}

static void test_uri__a_host_has_at_most_255_bytes(void **state)
{
    char text[257];
    struct str authority;
    struct str host;

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_int_equal(
        uri_host(&arena, str_make(text, 255), STR("http"), &authority, &host),
        FAULT_NONE);
    assert_int_equal(
        uri_host(&arena, str_make(text, 256), STR("http"), &authority, &host),
        FAULT_BAD_HOST);
}

static const struct {
    const char *target;
    const char *scheme; /* NULL: refused */
    const char *authority;
    const char *rest;
} absolute_rows[] = {
    {"http://a/b", "http", "a", "/b"}, {"HTTPS://A:1?x", "https", "A:1", "?x"},
    {"http://a", "http", "a", ""},     {"http:///b", NULL, NULL, NULL},
    {"http://", NULL, NULL, NULL},     {"http:/a", NULL, NULL, NULL},
    {"http://u@a/", NULL, NULL, NULL}, {"http://u:p@a/", NULL, NULL, NULL},
    {"ftp://a/", NULL, NULL, NULL},    {"a:80", NULL, NULL, NULL},
    {"http", NULL, NULL, NULL},
};

static void test_uri__absolute_form_is_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(absolute_rows) / sizeof(absolute_rows[0]);
         i++) {
        const char *const target = absolute_rows[i].target;
        struct str scheme;
        struct str authority;
        struct str rest;
        const enum fault f =
            uri_absolute(str_from(target), &scheme, &authority, &rest);

        if (absolute_rows[i].scheme == NULL) {
            if (f != FAULT_BAD_TARGET) {
                fail_msg("'%s' was not refused", target);
            }
            continue;
        }
        assert_int_equal(f, FAULT_NONE);
        assert_str(target, scheme, absolute_rows[i].scheme);
        assert_str(target, authority, absolute_rows[i].authority);
        assert_str(target, rest, absolute_rows[i].rest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri__targets_become_canonical),
        cmocka_unit_test(test_uri__canonical_twice_is_canonical_once),
        cmocka_unit_test(test_uri__encoded_slashes_pass_only_if_allowed),
        cmocka_unit_test(test_uri__a_long_path_is_refused),
        cmocka_unit_test(test_uri__the_arena_limit_is_overload),
        cmocka_unit_test(test_uri__matching_ignores_parameters),
        cmocka_unit_test(test_uri__hosts_become_canonical),
        cmocka_unit_test(test_uri__a_host_has_at_most_255_bytes),
        cmocka_unit_test(test_uri__absolute_form_is_split),
    };

    arena_init(&arena, NULL, 1024 * 1024);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
