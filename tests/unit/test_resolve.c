/*
 * Unit tests of net/resolve, without a network: addresses, localhost, and
 * what an operator is told.
 */
#define _GNU_SOURCE
#include "net/resolve.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_resolve__addresses_need_no_resolver(void **state)
{
    static const char *const texts[] = {"10.0.0.1:80", "[fd00::1]:443",
                                        "unix:/run/x.sock"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct addr addrs[RESOLVE_N_MAX];
        struct error err = {0};
        char text[ADDR_TEXT_MAX];
        assert_int_equal(resolve(str_from(texts[i]), addrs, &err), 1);
        assert_string_equal(addr_print(&addrs[0], text), texts[i]);
    }
}

static void test_resolve__localhost_is_loopback(void **state)
{
    struct addr addrs[RESOLVE_N_MAX];
    struct error err = {0};
    (void)state;
    const size_t n = resolve(STR("localhost:8080"), addrs, &err);
    assert_string_equal(error_text(&err), "");
    assert_true(n >= 1 && n <= 2);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(addr_port(&addrs[i]), 8080);
    }
}

static void test_resolve__answers_are_sorted_without_doubles(void **state)
{
    static const char *const texts[] = {"[fd00::2]:80", "10.0.0.9:80",
                                        "[fd00::1]:80", "10.0.0.9:80",
                                        "9.9.9.9:80"};
    static const char *const sorted[] = {"9.9.9.9:80", "10.0.0.9:80",
                                         "[fd00::1]:80", "[fd00::2]:80"};
    enum { N = sizeof(texts) / sizeof(texts[0]) };
    struct addr in[N];
    struct addrinfo infos[N];
    struct addr addrs[RESOLVE_N_MAX];
    (void)state;
    memset(infos, 0, sizeof(infos));
    for (size_t i = 0; i < N; i++) {
        assert_true(addr_parse(str_from(texts[i]), &in[i]));
        infos[i].ai_addr = &in[i].sa;
        infos[i].ai_addrlen = in[i].len;
        infos[i].ai_next = i + 1 < N ? &infos[i + 1] : NULL;
    }
    assert_int_equal(resolve_collect(infos, addrs), N - 1);
    for (size_t i = 0; i < N - 1; i++) {
        char text[ADDR_TEXT_MAX];
        assert_string_equal(addr_print(&addrs[i], text), sorted[i]);
    }
}

static void test_resolve__never_gives_more_than_there_is_room_for(void **state)
{
    enum { N = RESOLVE_N_MAX + 10 };
    static struct addr in[N];
    static struct addrinfo infos[N];
    struct addr addrs[RESOLVE_N_MAX];
    (void)state;
    for (size_t i = 0; i < N; i++) {
        assert_true(addr_parse(STR("10.0.0.0:80"), &in[i]));
        in[i].in.sin_addr.s_addr = htonl(0x0a000000u + (uint32_t)i);
        infos[i].ai_addr = &in[i].sa;
        infos[i].ai_addrlen = in[i].len;
        infos[i].ai_next = i + 1 < N ? &infos[i + 1] : NULL;
    }
    assert_int_equal(resolve_collect(infos, addrs), RESOLVE_N_MAX);
}

static void test_resolve__problems_are_named(void **state)
{
    static const char *const texts[] = {"host",        "host:0",
                                        "unix:",       "[zz]:80",
                                        "no name:80x", "[example.com]:80"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct addr addrs[RESOLVE_N_MAX];
        struct error err = {0};
        assert_int_equal(resolve(str_from(texts[i]), addrs, &err), 0);
        assert_int_equal(err.n_problems, 1);
        assert_non_null(strstr(error_text(&err), texts[i]));
        error_fini(&err);
    }
}

static void
test_resolve__an_impossible_name_says_what_the_resolver_said(void **state)
{
    struct addr addrs[RESOLVE_N_MAX];
    struct error err = {0};
    (void)state;
    /* Two dots: refused before any server is asked. */
    assert_int_equal(resolve(STR("a..invalid:80"), addrs, &err), 0);
    assert_non_null(strstr(error_text(&err), "a..invalid: "));
    error_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve__addresses_need_no_resolver),
        cmocka_unit_test(test_resolve__localhost_is_loopback),
        cmocka_unit_test(test_resolve__answers_are_sorted_without_doubles),
        cmocka_unit_test(test_resolve__never_gives_more_than_there_is_room_for),
        cmocka_unit_test(test_resolve__problems_are_named),
        cmocka_unit_test(
            test_resolve__an_impossible_name_says_what_the_resolver_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
