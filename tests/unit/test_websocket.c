/*
 * Unit tests of http/websocket: the opening handshake, with the example of
 * RFC 6455 1.3.
 */
#include "http/websocket.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct arena arena;

static struct head make_request(const char *version, const char *key)
{
    struct head h;

    head_init(&h, &arena);
    h.method = METHOD_GET;
    h.version = 11;
    if (version != NULL) {
        head_add_copy(&h, STR("sec-websocket-version"), str_from(version));
    }
    if (key != NULL) {
        head_add_copy(&h, STR("sec-websocket-key"), str_from(key));
    }
    return h;
}

static void test_websocket__requests(void **state)
{
    static const struct {
        const char *version;
        const char *key;
        bool is_valid;
    } rows[] = {
        {"13", "dGhlIHNhbXBsZSBub25jZQ==", true},
        {"13", "AAAAAAAAAAAAAAAAAAAAAA==", true},
        {"13", "+/+/+/+/+/+/+/+/+/+/+w==", true},
        {"8", "dGhlIHNhbXBsZSBub25jZQ==", false},
        {NULL, "dGhlIHNhbXBsZSBub25jZQ==", false},
        {"13", NULL, false},
        {"13", "", false},
        {"13", "dGhlIHNhbXBsZSBub25jZQ=", false},
        {"13", "dGhlIHNhbXBsZSBub25jZQ===", false},
        {"13", "dGhlIHNhbXBsZSBub25jZR==", false},
        {"13", "dGhlIHNhbXBsZSBub25j Q==", false},
        {"13", "dGhlIHNhbXBsZSBub25j_Q==", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct head h = make_request(rows[i].version, rows[i].key);
        assert_int_equal(websocket_request_is_valid(&h), rows[i].is_valid);
    }
    arena_reset(&arena);
}

static void test_websocket__requests_need_get_and_no_body(void **state)
{
    struct head h = make_request("13", "dGhlIHNhbXBsZSBub25jZQ==");

    (void)state;
    h.method = METHOD_POST;
    assert_false(websocket_request_is_valid(&h));
    h.method = METHOD_GET;
    h.version = 10;
    assert_false(websocket_request_is_valid(&h));
    h.version = 11;
    h.content_length = 1;
    assert_false(websocket_request_is_valid(&h));
    h.content_length = 0;
    assert_true(websocket_request_is_valid(&h));
    h.is_chunked = true;
    assert_false(websocket_request_is_valid(&h));
    h.is_chunked = false;
    head_add_copy(&h, STR("sec-websocket-key"),
                  STR("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_false(websocket_request_is_valid(&h));
    arena_reset(&arena);
}

static void test_websocket__responses(void **state)
{
    static const struct {
        int status;
        const char *upgrade;
        const char *accept;
        bool is_valid;
    } rows[] = {
        {101, "websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true},
        {101, "WebSocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true},
        {200, "websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false},
        {101, "h2c", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false},
        {101, "", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false},
        {101, "websocket", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false},
        {101, "websocket", "", false},
        {101, "websocket", NULL, false},
    };
    const struct head request = make_request("13", "dGhlIHNhbXBsZSBub25jZQ==");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct head h;

        head_init(&h, &arena);
        h.status = rows[i].status;
        h.upgrade = str_from(rows[i].upgrade);
        if (rows[i].accept != NULL) {
            head_add_copy(&h, STR("sec-websocket-accept"),
                          str_from(rows[i].accept));
        }
        assert_int_equal(websocket_response_is_valid(&request, &h),
                         rows[i].is_valid);
    }
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_websocket__requests),
        cmocka_unit_test(test_websocket__requests_need_get_and_no_body),
        cmocka_unit_test(test_websocket__responses),
    };

    arena_init(&arena, NULL, 64 * 1024);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
