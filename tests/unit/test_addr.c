/*
 * Unit tests of net/addr: what is read as an address, what is refused, and
 * that text and value go together.
 */
#define _GNU_SOURCE
#include "net/addr.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_addr__text_survives_parse_and_print(void **state)
{
    static const char *const texts[] = {
        "1.2.3.4:80",      "127.0.0.1:65535",       "[::1]:8080",
        "[2001:db8::1]:1", "unix:/run/daemun.sock",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct addr a;
        char text[ADDR_TEXT_MAX];
        assert_true(addr_parse(str_from(texts[i]), &a));
        assert_string_equal(addr_print(&a, text), texts[i]);
    }
}

static void test_addr__refuses_what_is_no_address(void **state)
{
    static const char *const texts[] = {
        "",
        ":",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:0",
        "1.2.3:80",
        ":80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[]:80",
        "[::1:80",
        "1.2.3.4:+80",
        "1.2.3.4:65536",
        "host:80",
        "[1.2.3.4]:80",
        "1.2.3.4: 80",
        "01.2.3.4:80",
        "unix:",
        "unix:run",
        "unix:/",
        "1.2.3.4:000080",
        "[::1]:",
        "[::1]: 1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct addr a;
        if (addr_parse(str_from(texts[i]), &a)) {
            fail_msg("taken: %s", texts[i]);
        }
    }
}

static void test_addr__refuses_a_path_that_does_not_fit(void **state)
{
    char text[5 + 109];
    struct addr a;
    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "unix:/", 6);
    assert_false(addr_parse(str_make(text, 5 + 108), &a));
    assert_true(addr_parse(str_make(text, 5 + 107), &a));
    char printed[ADDR_TEXT_MAX];
    assert_int_equal(strlen(addr_print(&a, printed)), 5 + 107);
    assert_false(addr_parse(str_make("unix:/a\0b", 9), &a));
}

static void test_addr__split_takes_host_and_port(void **state)
{
    struct str host;
    uint16_t port;
    (void)state;
    assert_true(addr_split(STR("example.com:443"), &host, &port));
    assert_true(str_eq(host, STR("example.com")));
    assert_int_equal(port, 443);
    assert_true(addr_split(STR("[fd00::1]:8"), &host, &port));
    assert_true(str_eq(host, STR("fd00::1")));
    assert_int_equal(port, 8);
    assert_false(addr_split(STR("example.com"), &host, &port));
    assert_false(addr_split(STR("a:b:1"), &host, &port));
}

static void test_addr__mapped_ipv4_counts_as_ipv4(void **state)
{
    struct addr mapped;
    struct addr_net net;
    struct error err = {0};
    char text[ADDR_TEXT_MAX];
    (void)state;
    assert_true(addr_parse(STR("[::ffff:10.1.2.3]:80"), &mapped));
    assert_string_equal(addr_print_host(&mapped, text), "10.1.2.3");
    assert_string_equal(addr_print(&mapped, text), "10.1.2.3:80");
    assert_int_equal(addr_bytes(&mapped).len, 4);
    assert_true(addr_net_parse(STR("10.0.0.0/8"), &net, &err));
    assert_true(addr_net_has(&net, 1, &mapped));
}

static void test_addr__networks_hold_their_bits(void **state)
{
    static const struct {
        const char *net;
        const char *addr;
        bool is_in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1:1", true},
        {"10.0.0.0/8", "11.0.0.1:1", false},
        {"10.128.0.0/9", "10.127.0.1:1", false},
        {"10.128.0.0/9", "10.128.0.1:1", true},
        {"0.0.0.0/0", "8.8.8.8:1", true},
        {"0.0.0.0/0", "[::1]:1", false},
        {"::/0", "[::1]:1", true},
        {"::1", "[::1]:1", true},
        {"::1", "[::2]:1", false},
        {"fd00::/8", "[fdff::2]:1", true},
        {"fd00::/8", "[fc00::2]:1", false},
        {"127.0.0.1", "127.0.0.1:9", true},
        {"127.0.0.1/32", "127.0.0.2:9", false},
        {"0.0.0.0/0", "unix:/x", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr_net net;
        struct addr a;
        struct error err = {0};
        assert_true(addr_net_parse(str_from(rows[i].net), &net, &err));
        assert_true(addr_parse(str_from(rows[i].addr), &a));
        if (addr_net_has(&net, 1, &a) != rows[i].is_in) {
            fail_msg("%s in %s", rows[i].addr, rows[i].net);
        }
    }
}

static void test_addr__a_bad_network_is_named(void **state)
{
    static const char *const texts[] = {
        "10.0.0.0/33", "::/129",    "10.0.0/8",    "x",       "",
        "/8",          "10.0.0.0/", "10.0.0.0/-1", "::1/1/1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct addr_net net;
        struct error err = {0};
        assert_false(addr_net_parse(str_from(texts[i]), &net, &err));
        assert_int_equal(err.n_problems, 1);
        assert_non_null(strstr(error_text(&err), texts[i]));
        error_fini(&err);
    }
}

static void test_addr__equal_means_address_and_port(void **state)
{
    struct addr a;
    struct addr b;
    struct addr none = {.len = 0};
    (void)state;
    assert_true(addr_parse(STR("1.2.3.4:80"), &a));
    assert_true(addr_parse(STR("1.2.3.4:81"), &b));
    assert_false(addr_eq(&a, &b));
    assert_true(addr_eq(&a, &a));
    assert_false(addr_eq(&a, &none));
    assert_true(addr_eq(&none, &none));
    assert_true(addr_parse(STR("[::ffff:1.2.3.4]:80"), &b));
    assert_false(addr_eq(&a, &b));
    assert_int_equal(addr_port(&none), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addr__text_survives_parse_and_print),
        cmocka_unit_test(test_addr__refuses_what_is_no_address),
        cmocka_unit_test(test_addr__refuses_a_path_that_does_not_fit),
        cmocka_unit_test(test_addr__split_takes_host_and_port),
        cmocka_unit_test(test_addr__mapped_ipv4_counts_as_ipv4),
        cmocka_unit_test(test_addr__networks_hold_their_bits),
        cmocka_unit_test(test_addr__a_bad_network_is_named),
        cmocka_unit_test(test_addr__equal_means_address_and_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
