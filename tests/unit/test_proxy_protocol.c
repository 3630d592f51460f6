/*
 * Unit tests of net/proxy_protocol: headers of both versions, cut at every
 * byte, and hostile ones.
 */
#define _GNU_SOURCE
#include "net/proxy_protocol.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\x0a\x00\x00\x01\x0a\x00\x00\x02\x1f\x90\x00\x50"
#define V6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"

struct row {
    const char *bytes;
    size_t len;
    const char *source; /* NULL: none; valid rows only */
    const char *destination;
};

#define ROW(text, source, destination)                                         \
    {                                                                          \
        text, sizeof(text) - 1, source, destination                            \
    }

static const struct row good_rows[] = {
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1000 443\r\n",
        "1.2.3.4:1000",
        "5.6.7.8:443"),
    ROW("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "255.255.255.255:65535",
        "255.255.255.255:65535"),
    ROW("PROXY TCP6 2001:db8::1 ::1 5 6\r\n", "[2001:db8::1]:5", "[::1]:6"),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", "1.2.3.4:0", "5.6.7.8:0"),
    ROW("PROXY UNKNOWN\r\n", NULL, NULL),
    ROW("PROXY UNKNOWN what ever stands here\r\n", NULL, NULL),
    ROW(SIGNATURE "\x21\x11\0\x0c" V4, "10.0.0.1:8080", "10.0.0.2:80"),
    ROW(SIGNATURE "\x21\x21\0\x24" V6 V6 "\0\x05\0\x06",
        "[2001:db8::1]:5",
        "[2001:db8::1]:6"),
    ROW(SIGNATURE "\x20\x00\0\0", NULL, NULL),
    ROW(SIGNATURE "\x20\xff\0\x03xyz", NULL, NULL),
    ROW(SIGNATURE "\x21\x00\0\0", NULL, NULL),
    /* A TLV of type 4 (NOOP) with two bytes, and an empty one. */
    ROW(SIGNATURE "\x21\x11\0\x14" V4 "\x04\0\x02hi\x05\0\0",
        "10.0.0.1:8080",
        "10.0.0.2:80"),
};

static const struct row bad_rows[] = {
    ROW("GET / HTTP/1.1\r\n", NULL, NULL),
    ROW("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n", NULL, NULL),
    ROW("PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4.5 5.6.7.8 1 2\r\n", NULL, NULL),
    ROW("PROXY TCP4 ::1 ::1 1 2\r\n", NULL, NULL),
    ROW("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", NULL, NULL),
    ROW("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", NULL, NULL),
    ROW("PROXY UNKNOWNx\r\n", NULL, NULL),
    ROW("PROXY \r\n", NULL, NULL),
    ROW("PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n", NULL, NULL),
    ROW("PROXY TCP4\t1.2.3.4 5.6.7.8 1 2\r\n", NULL, NULL),
    ROW(SIGNATURE "\x11\x11\0\x0c" V4, NULL, NULL),   /* version 1 */
    ROW(SIGNATURE "\x22\x11\0\x0c" V4, NULL, NULL),   /* no such command */
    ROW(SIGNATURE "\x21\x12\0\x0c" V4, NULL, NULL),   /* UDP */
    ROW(SIGNATURE "\x21\x41\0\x0c" V4, NULL, NULL),   /* no such family */
    ROW(SIGNATURE "\x21\x11\0\x0b" V4, NULL, NULL),   /* too short */
    ROW(SIGNATURE "\x21\x21\0\x0c" V4, NULL, NULL),   /* TCP6, too short */
    ROW(SIGNATURE "\x21\x11\x10\x01" V4, NULL, NULL), /* 4097 */
    ROW(SIGNATURE "\x21\x11\0\x0e" V4 "\x04\0", NULL, NULL),
    ROW(SIGNATURE "\x21\x11\0\x0f" V4 "\x04\0\x01", NULL, NULL),
    ROW(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\0\0\0\0", NULL, NULL),
    ROW(SIGNATURE "\x21\x11\0\x10" V4 "\x03\0\x01\0", NULL, NULL),
    ROW("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c" V4, NULL, NULL),
};

/* Parses from a block of exactly `len` bytes, so that ASan sees one more. */
static enum proxy_protocol_result
parse(const char *bytes, size_t len, struct proxy_protocol *out)
{
    uint8_t *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    const enum proxy_protocol_result result =
        proxy_protocol_parse(copy, len, out);
    free(copy);
    return result;
}

static void check_addr(const struct addr *a, const char *text)
{
    char printed[ADDR_TEXT_MAX];
    if (text == NULL) {
        assert_int_equal(a->len, 0);
    } else {
        assert_string_equal(addr_print(a, printed), text);
    }
}

static void test_proxy_protocol__reads_valid_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
        const struct row *row = &good_rows[i];
        struct proxy_protocol pp;
        assert_int_equal(parse(row->bytes, row->len, &pp), PROXY_PROTOCOL_OK);
        assert_int_equal(pp.header_len, row->len);
        assert_int_equal(pp.version, row->bytes[0] == 'P' ? 1 : 2);
        check_addr(&pp.source, row->source);
        check_addr(&pp.destination, row->destination);
    }
}

static void test_proxy_protocol__any_beginning_needs_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
        for (size_t len = 0; len < good_rows[i].len; len++) {
            struct proxy_protocol pp;
            if (parse(good_rows[i].bytes, len, &pp) != PROXY_PROTOCOL_MORE) {
                fail_msg("row %zu cut at %zu", i, len);
            }
        }
    }
}

static void test_proxy_protocol__what_follows_is_not_looked_at(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
        char bytes[256];
        struct proxy_protocol pp;
        memset(bytes, 0xff, sizeof(bytes));
        memcpy(bytes, good_rows[i].bytes, good_rows[i].len);
        assert_int_equal(parse(bytes, sizeof(bytes), &pp), PROXY_PROTOCOL_OK);
        assert_int_equal(pp.header_len, good_rows[i].len);
    }
}

static void test_proxy_protocol__hostile_headers_are_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
        const struct row *row = &bad_rows[i];
        struct proxy_protocol pp;
        bool was_bad = false;
        /* Once bad, more bytes never make it good; never OK on the way. */
        for (size_t len = 0; len <= row->len; len++) {
            const enum proxy_protocol_result result =
                parse(row->bytes, len, &pp);
            if (result == PROXY_PROTOCOL_OK ||
                (was_bad && result != PROXY_PROTOCOL_BAD)) {
                fail_msg("row %zu at %zu: %d", i, len, (int)result);
            }
            was_bad = result == PROXY_PROTOCOL_BAD;
        }
        if (!was_bad) {
            fail_msg("row %zu was not refused", i);
        }
    }
}

static void test_proxy_protocol__a_line_has_107_bytes_at_most(void **state)
{
    char line[120];
    struct proxy_protocol pp;
    (void)state;
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse(line, 106, &pp), PROXY_PROTOCOL_MORE);
    assert_int_equal(parse(line, 107, &pp), PROXY_PROTOCOL_BAD);
    memcpy(line + 105, "\r\n", 2);
    assert_int_equal(parse(line, 107, &pp), PROXY_PROTOCOL_OK);
    memcpy(line + 105, "x\r\n", 3);
    assert_int_equal(parse(line, 108, &pp), PROXY_PROTOCOL_BAD);
}

static void test_proxy_protocol__a_checksum_is_verified(void **state)
{
    uint8_t bytes[16 + 12 + 7];
    struct proxy_protocol pp;
    (void)state;
    memcpy(bytes, SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\0\0\0\0",
           sizeof(bytes));
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        crc = proxy_protocol_crc32c_byte(crc, bytes[i]);
    }
    crc = ~crc;
    for (int i = 0; i < 4; i++) {
        bytes[31 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
    assert_int_equal(proxy_protocol_parse(bytes, sizeof(bytes), &pp),
                     PROXY_PROTOCOL_OK);
    bytes[20] ^= 1;
    assert_int_equal(proxy_protocol_parse(bytes, sizeof(bytes), &pp),
                     PROXY_PROTOCOL_BAD);
}

/* The check value of the CRC catalogue: "123456789" gives e3069283. */
static void test_proxy_protocol__crc_is_castagnoli(void **state)
{
    uint32_t crc = UINT32_MAX;
    (void)state;
    for (const char *p = "123456789"; *p != '\0'; p++) {
        crc = proxy_protocol_crc32c_byte(crc, (uint8_t)*p);
    }
    assert_int_equal(~crc, 0xe3069283u);
}

static void test_proxy_protocol__unix_addresses_are_read(void **state)
{
    uint8_t bytes[16 + 216] = {0};
    struct proxy_protocol pp;
    (void)state;
    memcpy(bytes, SIGNATURE "\x21\x31\0\xd8", 16);
    memcpy(bytes + 16, "/a", 2);
    memset(bytes + 16 + 108, 'y', 108); /* a path that fills its room */
    assert_int_equal(proxy_protocol_parse(bytes, sizeof(bytes), &pp),
                     PROXY_PROTOCOL_OK);
    check_addr(&pp.source, "unix:/a");
    assert_int_equal(addr_bytes(&pp.destination).len, 108);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy_protocol__reads_valid_headers),
        cmocka_unit_test(test_proxy_protocol__any_beginning_needs_more),
        cmocka_unit_test(test_proxy_protocol__what_follows_is_not_looked_at),
        cmocka_unit_test(test_proxy_protocol__hostile_headers_are_bad),
        cmocka_unit_test(test_proxy_protocol__a_line_has_107_bytes_at_most),
        cmocka_unit_test(test_proxy_protocol__a_checksum_is_verified),
        cmocka_unit_test(test_proxy_protocol__crc_is_castagnoli),
        cmocka_unit_test(test_proxy_protocol__unix_addresses_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
