/*
 * Unit tests of http/h1_parse: the rule tables R-LIN, R-TGT, R-HST, R-HDR,
 * R-LEN, R-EXP and 5.11 for requests, and their counterparts for responses.
 * Each accepted head is compared as one line of text.
 */
#include "http/h1_parse.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;
static struct codec_limits limits;

/* All that was understood of a head, as text. */
static const char *head_text(const struct head *h)
{
    static char text[4096];
    size_t n = 0;

#define PUT(...) n += (size_t)snprintf(text + n, sizeof(text) - n, __VA_ARGS__)
    if (h->status != 0) {
        PUT("%d", h->status);
    } else {
        PUT("%.*s %.*s", STR_ARG(h->method_text), STR_ARG(h->path));
        if (h->query.p != NULL) {
            PUT("?%.*s", STR_ARG(h->query));
        }
        PUT(" @%.*s", STR_ARG(h->authority));
    }
    PUT(" v%d", h->version);
    if (h->content_length >= 0) {
        PUT(" length=%lld", (long long)h->content_length);
    }
    PUT("%s%s%s%s%s%s", h->is_chunked ? " chunked" : "",
        h->want_close ? " close" : "", h->has_expect ? " expect" : "",
        h->has_te_trailers ? " trailers" : "",
        h->is_websocket ? " websocket" : "", h->is_grpc ? " grpc" : "");
    if (h->upgrade.len > 0) {
        PUT(" upgrade=%.*s", STR_ARG(h->upgrade));
    }
    for (uint32_t i = 0; i < h->n_fields; i++) {
        PUT(" %.*s=[%.*s]", STR_ARG(h->fields[i].name),
            STR_ARG(h->fields[i].value));
    }
#undef PUT
    return text;
}

/* ---- requests ----------------------------------------------------------- */

#define WS_KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define WS                                                                     \
    "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                 \
    "Sec-WebSocket-Version: 13\r\n"
#define WS_FIELDS                                                              \
    " sec-websocket-version=[13] "                                             \
    "sec-websocket-key=[dGhlIHNhbXBsZSBub25jZQ==]"
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

struct request_row {
    const char *wire;
    const char *text; /* NULL: the fault is expected */
    enum fault fault;
};

static const struct request_row request_rows[] = {
    {GET "\r\n", "GET / @a v11", 0},
    {GET "Accept:  x y\t \r\nX-Empty:\r\n\r\n",
     "GET / @a v11 accept=[x y] x-empty=[]", 0},
    {"GET /a/./b//c?d=%41 HTTP/1.1\r\nhOST: EX.com:80\r\n\r\n",
     "GET /a/b/c?d=%41 @ex.com v11", 0},
    // R-LIN
    {"GET / HTTP/1.1\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1.1\r\nHost: a\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1.1\r\nHost: a\r\n\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1.1\r\nHost: a\rb: c\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"\r\n" GET "\r\n", "GET / @a v11", 0},
    {"\r\n\r\n" GET "\r\n", NULL, FAULT_BAD_REQUEST},
    {"\n" GET "\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"PRI * HTTP/2.0\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET /\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"\x16\x03\x01\x02\r\n\r\n", NULL, FAULT_TLS_ON_PLAIN},
    {"\x17\x03\x01\x02\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    // R-TGT
    {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1\r\nHost: a\r\n\r\n",
     "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / @a v11", 0},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1\r\nHost: a\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", NULL, FAULT_VERSION},
    {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", NULL, FAULT_VERSION},
    {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", NULL, FAULT_VERSION},
    {"GET / HTTP/1.10\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / http/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1,1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"GET /%2e%2e HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"GET http://A/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b @a v11", 0},
    {"GET HTTP://a HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET / @a v11", 0},
    {"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?q @a v11", 0},
    {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_HOST},
    {"GET http://a/ HTTP/1.1\r\n\r\n", NULL, FAULT_BAD_HOST},
    {"GET http://a/ HTTP/1.0\r\n\r\n", "GET / @a v10 close", 0},
    {"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", NULL, FAULT_METHOD},
    {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_METHOD},
    {"TRACK / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_METHOD},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * @a v11", 0},
    {"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * @a v11", 0},
    {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    {"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_TARGET},
    // R-HST
    {"GET / HTTP/1.1\r\n\r\n", NULL, FAULT_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", NULL, FAULT_BAD_HOST},
    {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", NULL, FAULT_BAD_HOST},
    {"GET / HTTP/1.0\r\n\r\n", "GET / @ v10 close", 0},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", NULL, FAULT_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", NULL, FAULT_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", NULL, FAULT_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", NULL, FAULT_BAD_HOST},
    // R-HDR
    {GET "No-Colon\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET ": x\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a b: x\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a : x\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a\t: x\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a\xc3: x\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a: x\r\n y\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a: x\r\n\ty: z\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a: x\x01\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a: x\x7f\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "a: x\ty\xff\r\n\r\n", "GET / @a v11 a=[x\ty\xff]", 0},
    {GET "a_b: x\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "Content_Length: 5\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "Content-Type: a\r\nContent-Type: a\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {GET "Authorization: a\r\nauthorization: a\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {GET "Cookie: a\r\nCookie: b\r\n\r\n", "GET / @a v11 cookie=[a] cookie=[b]",
     0},
    // R-LEN
    {POST "Content-Length: 5\r\n\r\n", "POST / @a v11 length=5", 0},
    {POST "Content-Length: 0005\r\n\r\n", "POST / @a v11 length=5", 0},
    {POST "Content-Length: 9223372036854775807\r\n\r\n",
     "POST / @a v11 length=9223372036854775807", 0},
    {POST "Content-Length: 9223372036854775808\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {POST "Content-Length: 00000000000000000005\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {POST "Content-Length: +5\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Content-Length: -5\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Content-Length: 5 5\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Content-Length: 5,5\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Content-Length: 0x5\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Content-Length: 5_0\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Content-Length:\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: chunked\r\n\r\n", "POST / @a v11 chunked", 0},
    {POST "Transfer-Encoding: ChUnKeD\r\n\r\n", "POST / @a v11 chunked", 0},
    {POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding:\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: ,chunked\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: chunked,\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: chunked, chunked\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: identity\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: identity, chunked\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: chunked;q=1\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: xchunked\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: \"chunked\"\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding\x0b: chunked\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: \x0b"
          "chunked\r\n\r\n",
     NULL, FAULT_BAD_REQUEST},
    {POST "Transfer-Encoding: gzip, chunked\r\n\r\n", NULL,
     FAULT_NOT_IMPLEMENTED},
    {POST "Transfer-Encoding: gzip\r\n\r\n", NULL, FAULT_NOT_IMPLEMENTED},
    {POST "Transfer-Encoding: chunked, gzip\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
     "POST / @a v10 length=3 close", 0},
    // Connection, R-HOP
    {GET "Connection: close\r\n\r\n", "GET / @a v11 close", 0},
    {GET "Connection: x-a, X-B\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n\r\n",
     "GET / @a v11 x-c=[3]", 0},
    {GET "X-A: 1\r\nConnection: a\r\nConnection: CLOSE, x-a\r\n\r\n",
     "GET / @a v11 close", 0},
    {GET "Connection: authorization, cookie\r\nAuthorization: s\r\n\r\n",
     "GET / @a v11 authorization=[s]", 0},
    {POST "Connection: content-length\r\nContent-Length: 5\r\n\r\n", NULL,
     FAULT_BAD_REQUEST},
    {GET "Connection: Transfer-Encoding\r\n\r\n", NULL, FAULT_BAD_REQUEST},
    {"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
     "GET / @a v10", 0},
    {GET "Keep-Alive: 1\r\nProxy-Connection: x\r\nTE: trailers, gzip\r\n"
         "Trailer: x\r\nHTTP2-Settings: x\r\nProxy-Authorization: x\r\n\r\n",
     "GET / @a v11 trailers", 0},
    {GET "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
         "HTTP2-Settings: x\r\n\r\n",
     "GET / @a v11", 0},
    // R-EXP
    {POST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n",
     "POST / @a v11 length=5 expect", 0},
    {POST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
     "POST / @a v11 chunked expect", 0},
    {GET "Expect: 100-continue\r\n\r\n", NULL, FAULT_EXPECTATION},
    {POST "Expect: x\r\nContent-Length: 5\r\n\r\n", NULL, FAULT_EXPECTATION},
    {POST "Expect: 100-continue, x\r\nContent-Length: 5\r\n\r\n", NULL,
     FAULT_EXPECTATION},
    {"POST / HTTP/1.0\r\nHost: a\r\nExpect: x\r\nContent-Length: 5\r\n\r\n",
     "POST / @a v10 length=5 close", 0},
    // 5.11
    {"GET / HTTP/1.1\r\n" WS WS_KEY "\r\n",
     "GET / @a v11 websocket upgrade=websocket" WS_FIELDS, 0},
    {"GET / HTTP/1.1\r\nUpgrade: h2c, WebSocket\r\n"
     "Connection: keep-alive, upgrade\r\nHost: a\r\n"
     "Sec-WebSocket-Version: 13\r\n" WS_KEY "\r\n",
     "GET / @a v11 websocket upgrade=websocket" WS_FIELDS, 0},
    {"POST / HTTP/1.1\r\n" WS WS_KEY "\r\n", "POST / @a v11" WS_FIELDS, 0},
    {"GET / HTTP/1.0\r\n" WS WS_KEY "\r\n", "GET / @a v10 close" WS_FIELDS, 0},
    {"GET / HTTP/1.1\r\n" WS "\r\n", "GET / @a v11 sec-websocket-version=[13]",
     0},
    {GET "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" WS_KEY "\r\n",
     "GET / @a v11" WS_FIELDS, 0},
    {GET "Content-Type: application/grpc+proto\r\n\r\n",
     "GET / @a v11 grpc content-type=[application/grpc+proto]", 0},
};

static void assert_request(const struct request_row *row)
{
    const size_t len = strlen(row->wire);
    struct head h;

    head_init(&h, &arena);
    const enum fault f = h1_parse_request(&h, (const uint8_t *)row->wire, len,
                                          STR("http"), &limits);
    if (row->text == NULL) {
        if (f != row->fault) {
            fail_msg("'%s': got %.*s, want %.*s", row->wire,
                     STR_ARG(fault_row(f)->word),
                     STR_ARG(fault_row(row->fault)->word));
        }
    } else if (f != FAULT_NONE) {
        fail_msg("'%s': refused: %.*s", row->wire, STR_ARG(fault_row(f)->word));
    } else if (strcmp(head_text(&h), row->text) != 0) {
        fail_msg("'%s': got '%s', want '%s'", row->wire, head_text(&h),
                 row->text);
    }
    arena_reset(&arena);
}

static void test_h1_parse__requests_are_taken_or_refused_by_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(request_rows) / sizeof(request_rows[0]);
         i++) {
        assert_request(&request_rows[i]);
    }
}

/*
 * What is refused while incomplete is refused for the same reason when whole,
 * and nothing that is accepted whole is refused in part.
 */
static void test_h1_parse__a_part_is_judged_as_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(request_rows) / sizeof(request_rows[0]);
         i++) {
        const struct request_row *const row = &request_rows[i];
        const size_t len = strlen(row->wire);

        for (size_t n = 0; n < len; n++) {
            const enum fault f =
                h1_head_partial((const uint8_t *)row->wire, n, true, &limits);
            if (f != FAULT_NONE && (row->text != NULL || f != row->fault)) {
                fail_msg("'%s': %zu bytes: %.*s", row->wire, n,
                         STR_ARG(fault_row(f)->word));
            }
        }
    }
}

static void test_h1_parse__garbage_is_refused_before_its_end(void **state)
{
    static const char *const texts[] = {"\x17\x03\x01", "GET /\r\n", "\n",
                                        "GET / HTTP/1.1\n", " GET"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(h1_head_partial((const uint8_t *)texts[i],
                                         strlen(texts[i]), true, &limits),
                         FAULT_BAD_REQUEST);
    }
}

static void test_h1_parse__nul_is_refused_anywhere(void **state)
{
    static const char wire[] = "GET /abc HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    char text[sizeof(wire)];

    (void)state;
    for (size_t i = 0; i + 1 < sizeof(wire); i++) {
        struct head h;

        memcpy(text, wire, sizeof(wire));
        text[i] = '\0';
        head_init(&h, &arena);
        assert_int_not_equal(h1_parse_request(&h, (const uint8_t *)text,
                                              sizeof(wire) - 1, STR("http"),
                                              &limits),
                             FAULT_NONE);
        arena_reset(&arena);
    }
}

/* Any single byte anywhere: never a crash, never a read beyond the end. */
static void test_h1_parse__every_byte_is_survived(void **state)
{
    static const char wire[] = "GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    const size_t len = sizeof(wire) - 1;

    (void)state;
    for (size_t i = 0; i < len; i++) {
        for (int c = 0; c < 256; c++) {
            uint8_t *const text = malloc(len);
            struct head h;

            memcpy(text, wire, len);
            text[i] = (uint8_t)c;
            head_init(&h, &arena);
            (void)h1_parse_request(&h, text, len, STR("http"), &limits);
            head_init(&h, &arena);
            (void)h1_parse_response(&h, text, len, METHOD_GET, &limits);
            (void)h1_parse_request(&h, text, i, STR("http"), &limits);
            arena_reset(&arena);
            free(text);
        }
    }
}

static enum fault parse_fields(unsigned n_fields, size_t value_len)
{
    static char wire[256 * 1024];
    struct head h;
    size_t n = (size_t)snprintf(wire, sizeof(wire), "%s", GET);

    for (unsigned i = 0; i < n_fields; i++) {
        n += (size_t)snprintf(wire + n, sizeof(wire) - n, "n: ");
        memset(wire + n, 'v', value_len);
        n += value_len;
        n += (size_t)snprintf(wire + n, sizeof(wire) - n, "\r\n");
    }
    n += (size_t)snprintf(wire + n, sizeof(wire) - n, "\r\n");
    head_init(&h, &arena);
    const enum fault f =
        h1_parse_request(&h, (const uint8_t *)wire, n, STR("http"), &limits);
    arena_reset(&arena);
    return f;
}

static void test_h1_parse__limits_are_exact(void **state)
{
    (void)state;
    assert_int_equal(parse_fields(99, 1), FAULT_NONE);
    assert_int_equal(parse_fields(100, 1), FAULT_HEAD_TOO_LARGE);
    assert_int_equal(parse_fields(1, 16 * 1024), FAULT_NONE);
    assert_int_equal(parse_fields(1, 16 * 1024 + 1), FAULT_HEAD_TOO_LARGE);
    // 37 of Host; each n: 33 and its value.
    assert_int_equal(parse_fields(1, 32 * 1024 - 37 - 33 + 1),
                     FAULT_HEAD_TOO_LARGE);
    assert_int_equal(parse_fields(2, (32 * 1024 - 37 - 66) / 2), FAULT_NONE);
    assert_int_equal(parse_fields(3, (32 * 1024 - 37 - 99) / 3 + 1),
                     FAULT_HEAD_TOO_LARGE);
    assert_int_equal(parse_fields(4, 16 * 1024), FAULT_HEAD_TOO_LARGE);
}

static void test_h1_parse__a_long_line_is_414(void **state)
{
    static char wire[20000];
    const size_t line_max = limits.target_bytes_max;

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        const size_t n_target = line_max - 13 + extra;
        size_t n = (size_t)snprintf(wire, sizeof(wire), "GET /");
        struct head h;

        memset(wire + n, 'a', n_target - 1);
        n += n_target - 1;
        const size_t n_line = n + 9;
        n += (size_t)snprintf(wire + n, sizeof(wire) - n,
                              " HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(n_line, line_max + extra);
        head_init(&h, &arena);
        assert_int_equal(h1_parse_request(&h, (const uint8_t *)wire, n,
                                          STR("http"), &limits),
                         extra ? FAULT_TARGET_TOO_LONG : FAULT_NONE);
        arena_reset(&arena);
    }
    memset(wire, 'a', sizeof(wire));
    assert_int_equal(
        h1_head_partial((const uint8_t *)wire, line_max + 1, true, &limits),
        FAULT_NONE);
    assert_int_equal(
        h1_head_partial((const uint8_t *)wire, line_max + 2, true, &limits),
        FAULT_TARGET_TOO_LONG);
}

static void test_h1_parse__settings_loosen_what_they_name(void **state)
{
    const struct request_row underscore = {GET "a_b: x\r\n\r\n",
                                           "GET / @a v11 a_b=[x]", 0};
    const struct request_row slash = {"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n",
                                      "GET /a%2Fb @a v11", 0};

    (void)state;
    limits.is_underscore_allowed = true;
    limits.is_encoded_slash_allowed = true;
    assert_request(&underscore);
    assert_request(&slash);
    limits = codec_limits_default();
}

static void test_h1_parse__the_arena_limit_is_overload(void **state)
{
    struct arena small;
    struct head h;
    static const char wire[] = GET "\r\n";

    (void)state;
    arena_init(&small, NULL, 16);
    head_init(&h, &small);
    assert_int_equal(h1_parse_request(&h, (const uint8_t *)wire,
                                      sizeof(wire) - 1, STR("http"), &limits),
                     FAULT_OVERLOAD);
    arena_reset(&small);
}

/* ---- the end of a head -------------------------------------------------- */

static void test_h1_parse__the_end_is_found_in_every_cut(void **state)
{
    static const struct {
        const char *wire;
        size_t len;
    } rows[] = {
        {"a\r\n\r\nrest", 5},   {"a\n\nrest", 3},
        {"a\r\n\nrest", 4},     {"a\n\r\nrest", 4},
        {"\r\n\r\nx", 4},       {"a\r\nb\r\n\r\n", 8},
        {"a\r\n\rb\r\n", 0},    {"a\r\nb\r\nc", 0},
        {"a\r\n\r\r\n\r\n", 8}, {"", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const uint8_t *const p = (const uint8_t *)rows[i].wire;
        const size_t len = strlen(rows[i].wire);
        size_t scan_from = 0;
        size_t found = 0;

        assert_int_equal(h1_head_len(p, len, &scan_from), rows[i].len);
        scan_from = 0;
        for (size_t n = 0; n <= len && found == 0; n++) {
            found = h1_head_len(p, n, &scan_from);
            assert_true(scan_from <= n);
        }
        assert_int_equal(found, rows[i].len);
    }
}

/* ---- responses ---------------------------------------------------------- */

#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
    const char *wire;
    enum method m;
    const char *text; /* NULL: FAULT_BAD_RESPONSE */
} response_rows[] = {
    {OK "\r\n", METHOD_GET, "200 v11"},
    {"HTTP/1.1 200\r\n\r\n", METHOD_GET, "200 v11"},
    {"HTTP/1.1 200 \r\n\r\n", METHOD_GET, "200 v11"},
    {"HTTP/1.0 404 Not \xc3\xa4\r\n\r\n", METHOD_GET, "404 v10 close"},
    {"HTTP/1.1 599 x\r\n\r\n", METHOD_GET, "599 v11"},
    {"HTTP/1.1 600 x\r\n\r\n", METHOD_GET, NULL},
    {"HTTP/1.1 099 x\r\n\r\n", METHOD_GET, NULL},
    {"HTTP/1.1 20 x\r\n\r\n", METHOD_GET, NULL},
    {"HTTP/1.1 2000 x\r\n\r\n", METHOD_GET, NULL},
    {"HTTP/1.1  200 x\r\n\r\n", METHOD_GET, NULL},
    {"HTTP/1.1\t200 x\r\n\r\n", METHOD_GET, NULL},
    {"HTTP/2.0 200 x\r\n\r\n", METHOD_GET, NULL},
    {"http/1.1 200 x\r\n\r\n", METHOD_GET, NULL},
    {"HTTP/1.1 200 x\x01\r\n\r\n", METHOD_GET, NULL},
    {"HTTP/1.1 200 OK\n\r\n", METHOD_GET, NULL},
    {"\r\n" OK "\r\n", METHOD_GET, NULL},
    {"ICY 200 OK\r\n\r\n", METHOD_GET, NULL},
    {OK "Server: x\r\nX_Y: z\r\n\r\n", METHOD_GET,
     "200 v11 server=[x] x_y=[z]"},
    {OK "Content-Length: 5\r\n\r\n", METHOD_GET, "200 v11 length=5"},
    {OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", METHOD_GET,
     "200 v11 length=5"},
    {OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", METHOD_GET, NULL},
    {OK "Content-Length: 5, 5\r\n\r\n", METHOD_GET, NULL},
    {OK "Content-Length: x\r\n\r\n", METHOD_GET, NULL},
    {OK "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, "200 v11 chunked"},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", METHOD_GET, NULL},
    {OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", METHOD_GET,
     NULL},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, NULL},
    {OK "Content-Length: 5\r\n\r\n", METHOD_HEAD, "200 v11 length=5"},
    {OK "Transfer-Encoding: chunked\r\n\r\n", METHOD_HEAD, "200 v11"},
    {"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", METHOD_GET,
     "304 v11 length=5"},
    {"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", METHOD_GET, "204 v11"},
    {"HTTP/1.1 205 x\r\nContent-Length: 5\r\n\r\n", METHOD_GET,
     "205 v11 length=0"},
    {"HTTP/1.1 100 Continue\r\n\r\n", METHOD_GET, "100 v11"},
    {"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n",
     METHOD_GET, "101 v11 upgrade=WebSocket"},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", METHOD_GET, "101 v11"},
    {OK "Connection: close\r\n\r\n", METHOD_GET, "200 v11 close"},
    {OK "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n",
     METHOD_GET, "200 v11 chunked"},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", METHOD_GET,
     "200 v10"},
    {OK "a : b\r\n\r\n", METHOD_GET, NULL},
    {OK "a: b\r\n c\r\n\r\n", METHOD_GET, NULL},
    {OK " a: b\r\n\r\n", METHOD_GET, NULL},
    {OK "Keep-Alive: x\r\nProxy-Authenticate: x\r\nHost: h\r\n\r\n", METHOD_GET,
     "200 v11"},
};

static void test_h1_parse__responses_are_taken_or_refused_by_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(response_rows) / sizeof(response_rows[0]);
         i++) {
        const char *const wire = response_rows[i].wire;
        const char *const want = response_rows[i].text;
        struct head h;

        head_init(&h, &arena);
        const enum fault f =
            h1_parse_response(&h, (const uint8_t *)wire, strlen(wire),
                              response_rows[i].m, &limits);
        if (want == NULL) {
            if (f != FAULT_BAD_RESPONSE) {
                fail_msg("'%s' was taken", wire);
            }
        } else if (f != FAULT_NONE) {
            fail_msg("'%s' was refused", wire);
        } else if (strcmp(head_text(&h), want) != 0) {
            fail_msg("'%s': got '%s', want '%s'", wire, head_text(&h), want);
        }
        arena_reset(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_parse__requests_are_taken_or_refused_by_rule),
        cmocka_unit_test(test_h1_parse__a_part_is_judged_as_the_whole),
        cmocka_unit_test(test_h1_parse__garbage_is_refused_before_its_end),
        cmocka_unit_test(test_h1_parse__nul_is_refused_anywhere),
        cmocka_unit_test(test_h1_parse__every_byte_is_survived),
        cmocka_unit_test(test_h1_parse__limits_are_exact),
        cmocka_unit_test(test_h1_parse__a_long_line_is_414),
        cmocka_unit_test(test_h1_parse__settings_loosen_what_they_name),
        cmocka_unit_test(test_h1_parse__the_arena_limit_is_overload),
        cmocka_unit_test(test_h1_parse__the_end_is_found_in_every_cut),
        cmocka_unit_test(test_h1_parse__responses_are_taken_or_refused_by_rule),
    };

    limits = codec_limits_default();
    arena_init(&arena, NULL, 4 * 1024 * 1024);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
