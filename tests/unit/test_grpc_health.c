/*
 * The messages of grpc.health.v1 as bytes.
 */
#include "http/grpc_health.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check_request(struct str service, const char *bytes, size_t len)
{
    uint8_t dst[GRPC_HEALTH_REQUEST_BYTES_MAX];
    assert_int_equal(grpc_health_request(service, dst), len);
    assert_memory_equal(dst, bytes, len);
}

static void test_grpc_health__requests(void **state)
{
    (void)state;
    check_request(STR_NONE, "\0\0\0\0\0", 5);
    check_request(STR("a.B"), "\0\0\0\0\5\12\3a.B", 10);
}

/* From 128 bytes on the length takes two bytes. */
static void test_grpc_health__a_long_service(void **state)
{
    uint8_t dst[GRPC_HEALTH_REQUEST_BYTES_MAX];
    char name[GRPC_HEALTH_SERVICE_BYTES_MAX];
    (void)state;
    memset(name, 'x', sizeof(name));
    for (size_t n = 1; n <= sizeof(name); n++) {
        const size_t n_len = n < 128 ? 1 : 2;
        const size_t len = grpc_health_request(str_make(name, n), dst);
        assert_int_equal(len, 5 + 1 + n_len + n);
        assert_int_equal(dst[3] << 8 | dst[4], 1 + n_len + n);
        const unsigned said =
            n_len == 1 ? dst[6] : (dst[6] & 0x7fu) | (unsigned)dst[7] << 7;
        assert_int_equal(said, n);
        assert_memory_equal(dst + 6 + n_len, name, n);
    }
}

#define RESPONSE(literal)                                                      \
    grpc_health_response((const uint8_t *)(literal), sizeof(literal) - 1)

static void test_grpc_health__responses(void **state)
{
    (void)state;
    assert_int_equal(RESPONSE("\0\0\0\0\2\10\1"), GRPC_HEALTH_SERVING);
    assert_int_equal(RESPONSE("\0\0\0\0\2\10\2"), GRPC_HEALTH_NOT_SERVING);
    assert_int_equal(RESPONSE("\0\0\0\0\2\10\3"), GRPC_HEALTH_SERVICE_UNKNOWN);
    assert_int_equal(RESPONSE("\0\0\0\0\0"), GRPC_HEALTH_UNKNOWN);
    /* A value of tomorrow, a number in more bytes than needed, the last one
     * counts, fields that we do not know. */
    assert_int_equal(RESPONSE("\0\0\0\0\2\10\11"), GRPC_HEALTH_UNKNOWN);
    assert_int_equal(RESPONSE("\0\0\0\0\3\10\201\0"), GRPC_HEALTH_SERVING);
    assert_int_equal(RESPONSE("\0\0\0\0\4\10\2\10\1"), GRPC_HEALTH_SERVING);
    assert_int_equal(RESPONSE("\0\0\0\0\6\22\2ab\10\1"), GRPC_HEALTH_SERVING);
    assert_int_equal(RESPONSE("\0\0\0\0\7\25abcd\10\1"), GRPC_HEALTH_SERVING);
    assert_int_equal(RESPONSE("\0\0\0\0\13\21abcdefgh\10\1"),
                     GRPC_HEALTH_SERVING);
    assert_int_equal(RESPONSE("\0\0\0\0\4\30\7\10\1"), GRPC_HEALTH_SERVING);
}

static void test_grpc_health__malformed_responses(void **state)
{
    (void)state;
    static const struct str bad[] = {
        STR(""),
        STR("\0\0\0\0"),
        STR("\1\0\0\0\2\10\1"),       /* compressed */
        STR("\0\0\0\0\3\10\1"),       /* too short */
        STR("\0\0\0\0\1\10\1"),       /* too long */
        STR("\0\0\0\0\1\10"),         /* no value */
        STR("\0\0\0\0\2\10\200"),     /* half a value */
        STR("\0\0\0\0\2\22\5"),       /* a text that is not there */
        STR("\0\0\0\0\4\25abc"),      /* half a number */
        STR("\0\0\0\0\2\13\1"),       /* a group */
        STR("\0\0\0\0\3\22\377\377"), /* half a length */
        STR("\377\377\377\377\377"),
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(
            grpc_health_response((const uint8_t *)bad[i].p, bad[i].len),
            GRPC_HEALTH_MALFORMED);
    }
}

/* Whatever comes: a status, and nothing read beyond the end. */
static void test_grpc_health__any_bytes(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t p[5 + 16];
        memset(p, 0, 5);
        p[4] = (uint8_t)(i % 17);
        for (size_t k = 0; k < p[4]; k++) {
            random = random * 1664525 + 1013904223;
            p[5 + k] = (uint8_t)(random >> 24);
        }
        const enum grpc_health got = grpc_health_response(p, 5u + p[4]);
        assert_true(got >= GRPC_HEALTH_MALFORMED &&
                    got <= GRPC_HEALTH_SERVICE_UNKNOWN);
        assert_non_null(grpc_health_name(got));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grpc_health__requests),
        cmocka_unit_test(test_grpc_health__a_long_service),
        cmocka_unit_test(test_grpc_health__responses),
        cmocka_unit_test(test_grpc_health__malformed_responses),
        cmocka_unit_test(test_grpc_health__any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
