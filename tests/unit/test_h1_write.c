/*
 * Unit tests of http/h1_write: what leaves for each kind of message, and that
 * our own strict parser reads back what was meant (R-H2-12).
 */
#include "http/h1_write.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct arena arena;
static struct codec_limits limits;

static void assert_out(struct buf *out, const char *want)
{
    static char text[64 * 1024];
    size_t n = 0;

    while (buf_len(out) > 0) {
        const struct str piece = buf_peek(out);

        assert_true(n + piece.len < sizeof(text));
        memcpy(text + n, piece.p, piece.len);
        n += piece.len;
        buf_drop(out, piece.len);
    }
    text[n] = '\0';
    assert_string_equal(text, want);
}

static void head_make(struct head *h, const char *method, const char *path)
{
    head_init(h, &arena);
    h->method_text = str_from(method);
    h->method = method_find(h->method_text);
    h->path = str_from(path);
    h->authority = STR("a:1");
    h->version = 11;
}

static void test_h1_write__requests(void **state)
{
    static const struct {
        const char *method;
        int64_t length;
        bool is_end;
        enum h1_framing framing;
        const char *line;
    } rows[] = {
        {"GET", -1, true, H1_NO_BODY, ""},
        {"POST", -1, true, H1_NO_BODY, "content-length: 0\r\n"},
        {"PUT", -1, true, H1_NO_BODY, "content-length: 0\r\n"},
        {"DELETE", -1, true, H1_NO_BODY, ""},
        {"POST", -1, false, H1_CHUNKED, "transfer-encoding: chunked\r\n"},
        {"GET", -1, false, H1_CHUNKED, "transfer-encoding: chunked\r\n"},
        {"POST", 5, false, H1_LENGTH, "content-length: 5\r\n"},
        {"POST", 0, true, H1_LENGTH, "content-length: 0\r\n"},
        {"POST", INT64_MAX, false, H1_LENGTH,
         "content-length: 9223372036854775807\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out;
        struct head h;
        char want[256];

        buf_init(&out, NULL);
        head_make(&h, rows[i].method, "/p");
        h.query = STR("q=1");
        h.content_length = rows[i].length;
        assert_true(head_add(&h, NAME_OTHER, STR("x"), STR("y")));
        assert_int_equal(h1_write_request(&out, &h, rows[i].is_end),
                         rows[i].framing);
        snprintf(want, sizeof(want),
                 "%s /p?q=1 HTTP/1.1\r\nhost: a:1\r\nx: y\r\n%s\r\n",
                 rows[i].method, rows[i].line);
        assert_out(&out, want);
    }
}

static void test_h1_write__websocket_request(void **state)
{
    struct buf out;
    struct head h;

    (void)state;
    buf_init(&out, NULL);
    head_make(&h, "GET", "/");
    h.is_websocket = true;
    assert_int_equal(h1_write_request(&out, &h, true), H1_NO_BODY);
    assert_out(&out, "GET / HTTP/1.1\r\nhost: a:1\r\n"
                     "connection: Upgrade\r\nupgrade: websocket\r\n\r\n");
}

static const struct {
    int status;
    enum method m;
    uint8_t version;
    int64_t length;
    bool is_close;
    bool is_end;
    enum h1_framing framing;
    const char *wire;
} response_rows[] = {
    {200, METHOD_GET, 11, 5, false, false, H1_LENGTH,
     "200 OK\r\ncontent-length: 5\r\n"},
    {200, METHOD_GET, 11, 5, true, false, H1_LENGTH,
     "200 OK\r\ncontent-length: 5\r\nconnection: close\r\n"},
    {200, METHOD_GET, 11, -1, false, false, H1_CHUNKED,
     "200 OK\r\ntransfer-encoding: chunked\r\n"},
    {200, METHOD_GET, 11, -1, false, true, H1_LENGTH,
     "200 OK\r\ncontent-length: 0\r\n"},
    {200, METHOD_GET, 10, -1, false, false, H1_UNTIL_CLOSE,
     "200 OK\r\nconnection: close\r\n"},
    {200, METHOD_GET, 10, 5, false, false, H1_LENGTH,
     "200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n"},
    {200, METHOD_GET, 10, 5, true, false, H1_LENGTH,
     "200 OK\r\ncontent-length: 5\r\nconnection: close\r\n"},
    {200, METHOD_HEAD, 11, 5, false, true, H1_NO_BODY,
     "200 OK\r\ncontent-length: 5\r\n"},
    {200, METHOD_HEAD, 11, -1, false, true, H1_NO_BODY, "200 OK\r\n"},
    {304, METHOD_GET, 11, 5, false, true, H1_NO_BODY,
     "304 Not Modified\r\ncontent-length: 5\r\n"},
    {204, METHOD_GET, 11, -1, false, true, H1_NO_BODY, "204 No Content\r\n"},
    {205, METHOD_GET, 11, -1, false, true, H1_NO_BODY,
     "205 Reset Content\r\ncontent-length: 0\r\n"},
    {100, METHOD_GET, 11, -1, true, false, H1_NO_BODY, "100 Continue\r\n"},
    {103, METHOD_GET, 11, -1, false, false, H1_NO_BODY, "103 Early Hints\r\n"},
    {101, METHOD_GET, 11, -1, false, false, H1_NO_BODY,
     "101 Switching Protocols\r\nconnection: Upgrade\r\n"
     "upgrade: websocket\r\n"},
    {599, METHOD_GET, 11, 0, false, true, H1_LENGTH,
     "599 \r\ncontent-length: 0\r\n"},
};

static void test_h1_write__responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(response_rows) / sizeof(response_rows[0]);
         i++) {
        struct buf out;
        struct head h;
        char want[256];

        buf_init(&out, NULL);
        head_init(&h, &arena);
        h.status = response_rows[i].status;
        h.content_length = response_rows[i].length;
        h.upgrade = STR("websocket");
        assert_int_equal(h1_write_response(&out, &h, response_rows[i].m,
                                           response_rows[i].version,
                                           response_rows[i].is_close,
                                           response_rows[i].is_end),
                         response_rows[i].framing);
        snprintf(want, sizeof(want), "HTTP/1.1 %s\r\n", response_rows[i].wire);
        assert_out(&out, want);
    }
}

static void test_h1_write__trailers_follow_the_last_chunk(void **state)
{
    struct buf out;
    struct head t;

    (void)state;
    buf_init(&out, NULL);
    head_init(&t, &arena);
    assert_true(head_add(&t, NAME_OTHER, STR("a"), STR("b")));
    h1_write_trailers(&out, &t);
    assert_out(&out, "0\r\na: b\r\n\r\n");
}

/* A head larger than a block takes the other way, with the same result. */
static void test_h1_write__a_large_head_is_the_same(void **state)
{
    static char value[BUF_BLOCK_BYTES];
    static char want[2 * BUF_BLOCK_BYTES];
    struct buf out;
    struct head h;

    (void)state;
    memset(value, 'v', sizeof(value));
    buf_init(&out, NULL);
    head_make(&h, "GET", "/");
    assert_true(
        head_add(&h, NAME_OTHER, STR("x"), str_make(value, sizeof(value))));
    h1_write_request(&out, &h, true);
    snprintf(want, sizeof(want),
             "GET / HTTP/1.1\r\nhost: a:1\r\nx: %.*s\r\n\r\n",
             (int)sizeof(value), value);
    assert_out(&out, want);
}

static void test_h1_write__our_parser_reads_it_back(void **state)
{
    static const int64_t lengths[] = {-1, 0, 7};

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        const bool is_end = i < 3 && lengths[i] <= 0;
        struct buf out;
        struct head h;
        struct head back;

        buf_init(&out, NULL);
        head_make(&h, "PATCH", "/p;x/%C3%A4");
        h.query = STR("a=%20");
        h.content_length = lengths[i % 3];
        assert_true(head_add(&h, NAME_OTHER, STR("x-y"), STR("1, 2")));
        const enum h1_framing framing = h1_write_request(&out, &h, is_end);
        const struct str wire = buf_peek(&out);
        head_init(&back, &arena);
        assert_int_equal(h1_parse_request(&back, (const uint8_t *)wire.p,
                                          wire.len, STR("http"), &limits),
                         FAULT_NONE);
        assert_int_equal(back.method, METHOD_PATCH);
        assert_true(str_eq(back.path, h.path));
        assert_true(str_eq(back.query, h.query));
        assert_true(str_eq(back.authority, h.authority));
        assert_int_equal(back.n_fields, 1);
        assert_true(str_eq(back.fields[0].value, STR("1, 2")));
        assert_int_equal(back.is_chunked, framing == H1_CHUNKED);
        assert_int_equal(back.content_length > 0, lengths[i % 3] > 0);
        buf_fini(&out);
    }
}

static void test_h1_write__reasons_are_sorted_and_found(void **state)
{
    const size_t n = sizeof(h1_write_reasons) / sizeof(h1_write_reasons[0]);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        const struct str text = h1_write_reasons[i].text;

        assert_true(i == 0 || h1_write_reasons[i - 1].status <
                                  h1_write_reasons[i].status);
        assert_int_equal(text.len, strlen(text.p));
        assert_true(str_eq(h1_reason(h1_write_reasons[i].status), text));
    }
    assert_int_equal(h1_reason(299).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_write__requests),
        cmocka_unit_test(test_h1_write__websocket_request),
        cmocka_unit_test(test_h1_write__responses),
        cmocka_unit_test(test_h1_write__trailers_follow_the_last_chunk),
        cmocka_unit_test(test_h1_write__a_large_head_is_the_same),
        cmocka_unit_test(test_h1_write__our_parser_reads_it_back),
        cmocka_unit_test(test_h1_write__reasons_are_sorted_and_found),
    };

    limits = codec_limits_default();
    arena_init(&arena, NULL, 1024 * 1024);
    const int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_reset(&arena);
    return n_failed;
}
