/*
 * Unit tests of http/hop: what is removed and what is written when a message
 * crosses the gateway, for trusted and untrusted peers.
 */
#include "http/hop.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;

struct fixture {
    struct head h;
    struct addr peer;
    struct addr local;
    struct hop hop;
    struct str id;
};

static void fixture_init(struct fixture *f, const char *peer)
{
    *f = (struct fixture){.id = STR_NONE};
    head_init(&f->h, &arena);
    f->h.authority = STR("ex.com");
    assert_true(addr_parse(str_from(peer), &f->peer));
    assert_true(addr_parse(STR("10.0.0.1:8443"), &f->local));
    f->hop = (struct hop){.peer = &f->peer,
                          .local = &f->local,
                          .scheme = STR("https"),
                          .request_id = STR("new-id"),
                          .client_subject = STR_NONE};
}

static void fixture_add(struct fixture *f, const char *name, const char *value)
{
    assert_true(head_add_copy(&f->h, str_from(name), str_from(value)));
}

/* The lines of that name joined by '|'; "-" when there is none. */
static const char *fixture_get(const struct fixture *f, const char *name)
{
    static char text[512];
    size_t n = 0;

    text[0] = '-';
    text[1] = '\0';
    for (uint32_t i = 0; i < f->h.n_fields; i++) {
        if (str_eq(f->h.fields[i].name, str_from(name))) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s",
                                  n > 0 ? "|" : "",
                                  STR_ARG(f->h.fields[i].value));
        }
    }
    return text;
}

static void fixture_add_forged(struct fixture *f)
{
    fixture_add(f, "X-Forwarded-For", "1.1.1.1");
    fixture_add(f, "x-forwarded-for", "2.2.2.2, 3.3.3.3");
    fixture_add(f, "X-Forwarded-Proto", "ftp");
    fixture_add(f, "X-Forwarded-Host", "forged");
    fixture_add(f, "X-Forwarded-Port", "1");
    fixture_add(f, "X-Forwarded-Prefix", "/p");
    fixture_add(f, "X-Real-IP", "4.4.4.4");
    fixture_add(f, "Forwarded", "for=5.5.5.5");
    fixture_add(f, "X-Request-Id", "old-id");
    fixture_add(f, "X-Daemun-Route", "forged");
    fixture_add(f, "X-Client-Cert-Subject", "forged");
    fixture_add(f, "X-Client-Cert-Sha256", "forged");
    fixture_add(f, "Accept", "*/*");
}

static void test_hop__untrusted_peers_cannot_forward(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, "192.0.2.7:999");
    fixture_add_forged(&f);
    assert_true(hop_request(&f.h, &f.hop, &f.id));
    assert_string_equal(fixture_get(&f, "x-forwarded-for"), "192.0.2.7");
    assert_string_equal(fixture_get(&f, "x-forwarded-proto"), "https");
    assert_string_equal(fixture_get(&f, "x-forwarded-host"), "ex.com");
    assert_string_equal(fixture_get(&f, "x-forwarded-port"), "8443");
    assert_string_equal(fixture_get(&f, "x-forwarded-prefix"), "-");
    assert_string_equal(fixture_get(&f, "x-real-ip"), "192.0.2.7");
    assert_string_equal(fixture_get(&f, "forwarded"), "-");
    assert_string_equal(fixture_get(&f, "x-request-id"), "new-id");
    assert_string_equal(fixture_get(&f, "x-daemun-route"), "-");
    assert_string_equal(fixture_get(&f, "x-client-cert-subject"), "-");
    assert_string_equal(fixture_get(&f, "x-client-cert-sha256"), "-");
    assert_string_equal(fixture_get(&f, "accept"), "*/*");
    assert_true(str_eq(f.id, STR("new-id")));
    arena_reset(&arena);
}

static void test_hop__trusted_peers_are_appended_to(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, "192.0.2.7:999");
    f.hop.is_peer_trusted = true;
    f.hop.has_forwarded = true;
    fixture_add_forged(&f);
    assert_true(hop_request(&f.h, &f.hop, &f.id));
    assert_string_equal(fixture_get(&f, "x-forwarded-for"),
                        "1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7");
    assert_string_equal(fixture_get(&f, "x-forwarded-proto"), "ftp");
    assert_string_equal(fixture_get(&f, "x-forwarded-host"), "forged");
    assert_string_equal(fixture_get(&f, "x-forwarded-port"), "1");
    assert_string_equal(fixture_get(&f, "x-forwarded-prefix"), "/p");
    assert_string_equal(fixture_get(&f, "x-real-ip"), "4.4.4.4");
    assert_string_equal(
        fixture_get(&f, "forwarded"),
        "for=5.5.5.5, for=192.0.2.7;host=\"ex.com\";proto=https");
    assert_string_equal(fixture_get(&f, "x-daemun-route"), "-");
    assert_string_equal(fixture_get(&f, "x-client-cert-subject"), "-");
    assert_true(str_eq(f.id, STR("old-id")));
    arena_reset(&arena);
}

static void test_hop__a_trusted_id_must_be_safe(void **state)
{
    static const char *const bad[] = {"", "a b", "a\"b", "a\tb", "\xff"};
    char long_id[140];

    (void)state;
    memset(long_id, 'a', sizeof(long_id));
    long_id[129] = '\0';
    for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
        struct fixture f;

        fixture_init(&f, "192.0.2.7:999");
        f.hop.is_peer_trusted = true;
        fixture_add(&f, "X-Request-Id", i < 5 ? bad[i] : long_id);
        assert_true(hop_request(&f.h, &f.hop, &f.id));
        assert_true(str_eq(f.id, STR("new-id")));
        assert_string_equal(fixture_get(&f, "x-request-id"), "new-id");
        arena_reset(&arena);
    }
}

static void test_hop__ipv6_is_quoted_in_forwarded(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, "[2001:db8::1]:999");
    f.hop.has_forwarded = true;
    assert_true(hop_request(&f.h, &f.hop, &f.id));
    assert_string_equal(fixture_get(&f, "forwarded"),
                        "for=\"[2001:db8::1]\";host=\"ex.com\";proto=https");
    assert_string_equal(fixture_get(&f, "x-forwarded-for"), "2001:db8::1");
    arena_reset(&arena);
}

static void test_hop__a_client_certificate_is_told(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, "192.0.2.7:999");
    fixture_add(&f, "X-Client-Cert-Subject", "forged");
    f.hop.client_subject = STR("CN=a\nb");
    f.hop.client_fingerprint = STR("00ff");
    assert_true(hop_request(&f.h, &f.hop, &f.id));
    assert_string_equal(fixture_get(&f, "x-client-cert-subject"), "CN=a?b");
    assert_string_equal(fixture_get(&f, "x-client-cert-sha256"), "00ff");
    arena_reset(&arena);
}

static void test_hop__max_forwards_counts_down_for_options(void **state)
{
    static const struct {
        enum method m;
        const char *from;
        const char *to;
    } rows[] = {
        {METHOD_OPTIONS, "5", "4"},
        {METHOD_OPTIONS, "0", "0"},
        {METHOD_GET, "5", "5"},
        {METHOD_OPTIONS, "x", "x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;

        fixture_init(&f, "192.0.2.7:999");
        f.h.method = rows[i].m;
        fixture_add(&f, "Max-Forwards", rows[i].from);
        assert_true(hop_request(&f.h, &f.hop, &f.id));
        assert_string_equal(fixture_get(&f, "max-forwards"), rows[i].to);
        arena_reset(&arena);
    }
}

static void test_hop__the_arena_limit_is_told(void **state)
{
    struct arena small;
    struct fixture f;

    (void)state;
    fixture_init(&f, "192.0.2.7:999");
    arena_init(&small, NULL, 8);
    head_init(&f.h, &small);
    assert_false(hop_request(&f.h, &f.hop, &f.id));
    arena_reset(&small);
}

static void test_hop__connection_removes_what_it_may(void **state)
{
    static const struct {
        const char *list;
        enum fault fault;
        unsigned n_glitches;
        const char *left; /* of x-a, cookie, x-forwarded-foo, x-daemun-b */
    } rows[] = {
        {"close", 0, 0, "1111"},
        {"x-a", 0, 0, "0111"},
        {" X-A , close", 0, 0, "0111"},
        {"cookie", 0, 1, "1111"},
        {"x-forwarded-foo,X-Daemun-B", 0, 2, "1111"},
        {"host", 0, 1, "1111"},
        {",,", 0, 0, "1111"},
        {"a b", 0, 1, "1111"},
        {"Transfer-Encoding", FAULT_BAD_REQUEST, 0, "1111"},
        {"x, CONTENT-LENGTH", FAULT_BAD_REQUEST, 0, "1111"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static const char *const names[] = {"x-a", "cookie", "x-forwarded-foo",
                                            "x-daemun-b"};
        unsigned n_glitches = 0;
        struct fixture f;

        fixture_init(&f, "192.0.2.7:999");
        for (size_t j = 0; j < 4; j++) {
            fixture_add(&f, names[j], "v");
        }
        assert_int_equal(
            hop_connection(&f.h, str_from(rows[i].list), &n_glitches),
            rows[i].fault);
        assert_int_equal(n_glitches, rows[i].n_glitches);
        for (size_t j = 0; j < 4; j++) {
            assert_int_equal(head_find_name(&f.h, str_from(names[j])) != NULL,
                             rows[i].left[j] == '1');
        }
        arena_reset(&arena);
    }
}

static void test_hop__an_endless_connection_list_is_refused(void **state)
{
    char list[400];
    unsigned n_glitches = 0;
    struct fixture f;

    (void)state;
    fixture_init(&f, "192.0.2.7:999");
    for (size_t i = 0; i < sizeof(list); i++) {
        list[i] = i % 2 == 0 ? 'a' : ',';
    }
    assert_int_equal(
        hop_connection(&f.h, str_make(list, sizeof(list)), &n_glitches),
        FAULT_BAD_REQUEST);
    arena_reset(&arena);
}

static void test_hop__responses_lose_our_own_fields(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, "192.0.2.7:999");
    fixture_add(&f, "X-Daemun-Fault", "x");
    fixture_add(&f, "Keep-Alive", "x");
    fixture_add(&f, "X-Daemun-Other", "x");
    fixture_add(&f, "Server", "s");
    hop_response(&f.h);
    assert_int_equal(f.h.n_fields, 1);
    assert_string_equal(fixture_get(&f, "server"), "s");
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hop__untrusted_peers_cannot_forward),
        cmocka_unit_test(test_hop__trusted_peers_are_appended_to),
        cmocka_unit_test(test_hop__a_trusted_id_must_be_safe),
        cmocka_unit_test(test_hop__ipv6_is_quoted_in_forwarded),
        cmocka_unit_test(test_hop__a_client_certificate_is_told),
        cmocka_unit_test(test_hop__max_forwards_counts_down_for_options),
        cmocka_unit_test(test_hop__the_arena_limit_is_told),
        cmocka_unit_test(test_hop__connection_removes_what_it_may),
        cmocka_unit_test(test_hop__an_endless_connection_list_is_refused),
        cmocka_unit_test(test_hop__responses_lose_our_own_fields),
    };

    arena_init(&arena, NULL, 1024 * 1024);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
