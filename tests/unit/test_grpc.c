/*
 * What the gateway reads and writes of gRPC.
 */
#include "http/grpc.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_grpc__content_type_is_exact(void **state)
{
    (void)state;
    static const char *const good[] = {"application/grpc",
                                       "application/grpc+proto",
                                       "application/grpc+json",
                                       "Application/GRPC",
                                       "application/grpc;charset=utf-8",
                                       "application/grpc ; x=1"};
    static const char *const bad[] = {"",
                                      "application/grp",
                                      "application/grpc-web",
                                      "application/grpc-web+proto",
                                      "application/grpcx",
                                      "text/grpc",
                                      " application/grpc",
                                      "application/json"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(grpc_content_type(str_from(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(grpc_content_type(str_from(bad[i])));
    }
    assert_false(grpc_content_type(STR_NONE));
}

static void test_grpc__timeouts_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t us;
    } good[] = {{"1H", 3600000000ULL},
                {"1M", 60000000},
                {"1S", 1000000},
                {"1m", 1000},
                {"1u", 1},
                {"1n", 1},
                {"1000n", 1},
                {"1999n", 1},
                {"0n", 0},
                {"0S", 0},
                {"00000001S", 1000000},
                {"99999999H", 99999999ULL * 3600000000ULL}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t us = 7;
        assert_true(grpc_timeout_parse(str_from(good[i].text), &us));
        assert_int_equal(us, good[i].us);
    }
    static const char *const bad[] = {"",    "S",    "1",   "1s",  "-1S",
                                      "+1S", "1.5S", "1 S", " 1S", "100000000S",
                                      "1SS", "1h",   "0x1S"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t us = 0;
        assert_false(grpc_timeout_parse(str_from(bad[i]), &us));
    }
}

static void test_grpc__timeouts_are_written_and_never_shorter(void **state)
{
    (void)state;
    static const struct {
        uint64_t us;
        const char *text;
    } cases[] = {{0, "0u"},
                 {1, "1u"},
                 {99999999, "99999999u"},
                 {100000000, "100000m"},
                 {100000001, "100001m"},
                 {99999999000ULL, "99999999m"},
                 {99999999001ULL, "100000S"},
                 {UINT64_MAX, "99999999H"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[16];
        uint64_t us = 0;
        const struct str s = grpc_timeout_print(cases[i].us, text);
        assert_true(str_eq(s, str_from(cases[i].text)));
        assert_true(grpc_timeout_parse(s, &us));
        assert_true(us >= cases[i].us || cases[i].us == UINT64_MAX);
    }
}

static void test_grpc__messages_are_percent_encoded(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 4096);
    static const char *const cases[][2] = {
        {"", ""},
        {"plain text!", "plain text!"},
        {"100%", "100%25"},
        {"a\r\nb", "a%0D%0Ab"},
        {"\xc3\xa9", "%C3%A9"},
        {"\x7f~", "%7F~"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(str_eq(grpc_message_encode(&arena, str_from(cases[i][0])),
                           str_from(cases[i][1])));
    }
    arena_reset(&arena);
    struct arena tiny;
    arena_init(&tiny, NULL, 0);
    assert_null(grpc_message_encode(&tiny, STR("\n")).p);
}

static void test_grpc__reply_is_trailers_only(void **state)
{
    (void)state;
    struct arena arena;
    struct head h;
    arena_init(&arena, NULL, 64 * 1024);
    head_init(&h, &arena);
    h.status = 503;
    h.content_length = 10;
    head_add_copy(&h, STR("content-type"), STR("text/plain"));
    head_add_copy(&h, STR("retry-after"), STR("1"));
    assert_int_equal(grpc_status_find(&h), -1);
    assert_true(grpc_reply(&h, 14, STR("no\nendpoint")));
    assert_int_equal(h.status, 200);
    assert_int_equal(h.content_length, -1);
    assert_int_equal(h.n_fields, 4);
    assert_int_equal(grpc_status_find(&h), 14);
    assert_true(str_eq(head_find(&h, NAME_CONTENT_TYPE)->value,
                       STR("application/grpc")));
    assert_true(
        str_eq(head_find(&h, NAME_GRPC_MESSAGE)->value, STR("no%0Aendpoint")));
    arena_reset(&arena);
}

static void test_grpc__status_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {{"0", 0}, {"16", 16}, {"007", 7}, {"x", 2},
                 {"", 2},  {"-1", 2},  {"1000", 2}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct head h;
        arena_init(&arena, NULL, 64 * 1024);
        head_init(&h, &arena);
        head_add_copy(&h, STR("grpc-status"), str_from(cases[i].text));
        assert_int_equal(grpc_status_find(&h), cases[i].status);
        arena_reset(&arena);
    }
}

static void test_grpc__http_statuses_are_mapped(void **state)
{
    (void)state;
    static const int cases[][2] = {{400, 13}, {401, 16}, {403, 7},  {404, 12},
                                   {429, 14}, {502, 14}, {503, 14}, {504, 14},
                                   {500, 2},  {200, 2},  {302, 2}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(grpc_status_of_http(cases[i][0]), cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grpc__content_type_is_exact),
        cmocka_unit_test(test_grpc__timeouts_are_read),
        cmocka_unit_test(test_grpc__timeouts_are_written_and_never_shorter),
        cmocka_unit_test(test_grpc__messages_are_percent_encoded),
        cmocka_unit_test(test_grpc__reply_is_trailers_only),
        cmocka_unit_test(test_grpc__status_is_found),
        cmocka_unit_test(test_grpc__http_statuses_are_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
