/*
 * Header blocks, as nghttp2 hands them over, become typed heads or faults.
 */
#include "http/h2_head.c"

#include "h2_fixture.h"

struct block {
    struct h2 h2;
    struct h2_stream st;
    struct arena arena;
    struct codec_limits limits;
};

static struct block *block_new(bool is_server)
{
    struct block *const b = mem_new(sizeof(*b));
    b->limits = codec_limits_default();
    b->h2.codec.limits = &b->limits;
    b->st.s.codec = &b->h2.codec;
    b->st.s.arena = &b->arena;
    b->st.is_server = is_server;
    arena_init(&b->arena, NULL, 256 * 1024);
    h2_head_begin(&b->st, false);
    return b;
}

static void block_free(struct block *b)
{
    arena_reset(&b->arena);
    mem_free(b);
}

static bool block_add(struct block *b, const char *name, const char *value)
{
    return h2_head_field(&b->st, str_from(name), str_from(value), false);
}

/* The usual pseudo-headers, where NULL leaves one out. */
static void block_request(struct block *b,
                          const char *method,
                          const char *scheme,
                          const char *path,
                          const char *authority)
{
    assert_true(block_add(b, ":method", method));
    assert_true(block_add(b, ":scheme", scheme));
    if (path != NULL) {
        assert_true(block_add(b, ":path", path));
    }
    if (authority != NULL) {
        assert_true(block_add(b, ":authority", authority));
    }
}

struct request_case {
    const char *method;
    const char *scheme;
    const char *path;
    const char *authority;
    const char *fields[6];
    enum fault fault;
};

static const struct request_case request_cases[] = {
    {"GET", "http", "/", "a.b", {NULL}, FAULT_NONE},
    {"GET", "HTTP", "/", "a.b", {NULL}, FAULT_NONE},
    {"GET", "https", "/", "a.b", {NULL}, FAULT_BAD_REQUEST},
    {"GET", "ftp", "/", "a.b", {NULL}, FAULT_BAD_REQUEST},
    {"OPTIONS", "http", "*", "a.b", {NULL}, FAULT_NONE},
    {"GET", "http", "*", "a.b", {NULL}, FAULT_BAD_TARGET},
    {"GET", "http", "a", "a.b", {NULL}, FAULT_BAD_TARGET},
    {"GET", "http", "http://a.b/", "a.b", {NULL}, FAULT_BAD_TARGET},
    {"GET", "http", "/a%2fb", "a.b", {NULL}, FAULT_BAD_TARGET},
    {"GET", "http", "/a#b", "a.b", {NULL}, FAULT_BAD_TARGET},
    {"GET", "http", "/../a", "a.b", {NULL}, FAULT_BAD_TARGET},
    {"CONNECT", "http", "/", "a.b", {NULL}, FAULT_METHOD},
    {"CONNECT", "http", NULL, "a.b:1", {NULL}, FAULT_METHOD},
    {"TRACE", "http", "/", "a.b", {NULL}, FAULT_METHOD},
    {"TRACK", "http", "/", "a.b", {NULL}, FAULT_METHOD},
    {"PROPFIND", "http", "/", "a.b", {NULL}, FAULT_NONE},
    {"G T", "http", "/", "a.b", {NULL}, FAULT_BAD_REQUEST},
    {"ABCDEFGHIJABCDEFGHIJABCDEFGHIJABC",
     "http",
     "/",
     "a.b",
     {NULL},
     FAULT_BAD_REQUEST},
    {"GET", "http", "/", "u@a.b", {NULL}, FAULT_BAD_HOST},
    {"GET", "http", "/", "a..b", {NULL}, FAULT_BAD_HOST},
    {"GET", "http", "/", "", {NULL}, FAULT_BAD_HOST},
    {"GET", "http", "/", "a.b:0", {NULL}, FAULT_BAD_HOST},
    {"GET", "http", "/", NULL, {NULL}, FAULT_BAD_HOST},
    {"GET", "http", "/", NULL, {"host", "a.b"}, FAULT_NONE},
    {"GET", "http", "/", "a.b", {"host", "a.b"}, FAULT_NONE},
    {"GET", "http", "/", "A.b.", {"host", "a.B:80"}, FAULT_NONE},
    {"GET", "http", "/", "a.b", {"host", "a.c"}, FAULT_BAD_HOST},
    {"GET", "http", "/", "a.b", {"host", "a.b:8080"}, FAULT_BAD_HOST},
    {"GET", "http", "/", "a.b", {"host", "a.b,a.b"}, FAULT_BAD_HOST},
    {"GET", "http", "/", "a.b", {"host", "a.b", "host", "a.b"}, FAULT_BAD_HOST},
    {"GET", "http", "/", "a.b", {"x_a", "1"}, FAULT_BAD_REQUEST},
    {"GET",
     "http",
     "/",
     "a.b",
     {"authorization", "a", "authorization", "a"},
     FAULT_BAD_REQUEST},
    {"GET",
     "http",
     "/",
     "a.b",
     {"content-type", "a", "content-type", "a"},
     FAULT_BAD_REQUEST},
    {"POST", "http", "/", "a.b", {"expect", "100-Continue"}, FAULT_NONE},
    {"POST", "http", "/", "a.b", {"expect", "200-ok"}, FAULT_EXPECTATION},
    {"POST",
     "http",
     "/",
     "a.b",
     {"content-length", "9223372036854775808"},
     FAULT_BAD_REQUEST},
    {"POST",
     "http",
     "/",
     "a.b",
     {"content-length", "1", "content-length", "1"},
     FAULT_BAD_REQUEST},
};

static void test_h2_head__requests_are_judged(void **state)
{
    (void)state;
    const size_t n = sizeof(request_cases) / sizeof(request_cases[0]);
    for (size_t i = 0; i < n; i++) {
        const struct request_case *const c = &request_cases[i];
        struct block *const b = block_new(true);
        block_request(b, c->method, c->scheme, c->path, c->authority);
        for (int j = 0; j < 6 && c->fields[j] != NULL; j += 2) {
            assert_true(block_add(b, c->fields[j], c->fields[j + 1]));
        }
        const enum fault f = h2_head_finish_request(&b->st, false);
        if (f != c->fault) {
            fail_msg("case %zu: fault %d, not %d", i, (int)f, (int)c->fault);
        }
        block_free(b);
    }
}

static void test_h2_head__members_are_typed(void **state)
{
    (void)state;
    struct block *const b = block_new(true);
    block_request(b, "POST", "https", "/a//b/../c?x=%2f", "A.Example:443");
    block_add(b, "content-length", "0012");
    block_add(b, "content-type", "application/grpc+proto");
    block_add(b, "te", "trailers");
    block_add(b, "trailer", "x-a");
    block_add(b, "proxy-authorization", "Basic x");
    block_add(b, "cookie", "a=1");
    block_add(b, "x-a", "");
    block_add(b, "cookie", "b=2");
    block_add(b, "authorization", "Bearer x");
    assert_int_equal(h2_head_finish_request(&b->st, true), FAULT_NONE);
    const struct head *const h = b->st.head;
    assert_true(str_eq(h->path, STR("/a/c")));
    assert_true(str_eq(h->query, STR("x=%2f")));
    assert_true(str_eq(h->authority, STR("a.example")));
    assert_true(str_eq(h->host, STR("a.example")));
    assert_true(str_eq(h->scheme, STR("https")));
    assert_int_equal(h->content_length, 12);
    assert_true(h->is_grpc);
    assert_true(h->has_te_trailers);
    assert_int_equal(h->version, 20);
    assert_int_equal(h->n_fields, 4);
    assert_true(str_eq(head_find(h, NAME_COOKIE)->value, STR("a=1; b=2")));
    assert_true(head_find(h, NAME_AUTHORIZATION)->is_sensitive);
    assert_int_equal(head_find_name(h, STR("x-a"))->value.len, 0);
    assert_int_equal(b->st.s.method, METHOD_POST);
    block_free(b);
}

static void test_h2_head__limits_act_while_decoding(void **state)
{
    (void)state;
    struct block *b = block_new(true);
    block_request(b, "GET", "http", "/", "a.b");
    for (int i = 0; i < 100; i++) {
        assert_true(block_add(b, "x", "1"));
        assert_int_equal(b->st.intake.fault, FAULT_NONE);
    }
    int n = 100;
    while (n < 10000 && block_add(b, "x", "1")) {
        n++;
    }
    assert_in_range(n, 400, 410); // then nothing is decoded any more
    assert_int_equal(b->st.head->n_fields, 100);
    assert_int_equal(h2_head_finish_request(&b->st, false),
                     FAULT_HEAD_TOO_LARGE);
    block_free(b);

    static char text[17 * 1024];
    memset(text, 'a', sizeof(text) - 1);
    b = block_new(true);
    block_request(b, "GET", "http", "/", "a.b");
    block_add(b, "x", text);
    assert_int_equal(b->st.intake.fault, FAULT_HEAD_TOO_LARGE);
    block_free(b);
    text[0] = '/';
    b = block_new(true);
    block_request(b, "GET", "http", text, "a.b");
    assert_int_equal(h2_head_finish_request(&b->st, false),
                     FAULT_TARGET_TOO_LONG);
    block_free(b);
    // 32 bytes for each field, whatever it holds.
    b = block_new(true);
    b->limits.n_fields_max = 100000;
    block_request(b, "GET", "http", "/", "a.b");
    for (n = 0; n < 2000 && b->st.intake.fault == FAULT_NONE; n++) {
        assert_true(block_add(b, "x", ""));
    }
    assert_in_range(n, 980, 1000);
    block_free(b);
}

static void test_h2_head__full_arena_is_overload(void **state)
{
    (void)state;
    struct block *const b = block_new(true);
    arena_reset(&b->arena);
    arena_init(&b->arena, NULL, 16);
    h2_head_begin(&b->st, false);
    block_request(b, "GET", "http", "/", "a.b");
    assert_int_equal(h2_head_finish_request(&b->st, false), FAULT_OVERLOAD);
    block_free(b);
}

static void test_h2_head__responses_are_judged(void **state)
{
    (void)state;
    struct block *b = block_new(false);
    block_add(b, ":status", "404");
    block_add(b, "x_y", "1"); // upstreams may
    block_add(b, "set-cookie", "a");
    block_add(b, "set-cookie", "b");
    block_add(b, "proxy-authenticate", "x");
    block_add(b, "content-length", "7");
    assert_int_equal(h2_head_finish_response(&b->st), FAULT_NONE);
    assert_int_equal(b->st.head->status, 404);
    assert_int_equal(b->st.head->n_fields, 3);
    assert_int_equal(b->st.head->content_length, 7);
    block_free(b);
    static const char *const bad[] = {"099", "600", "1", "2x0", "101"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        b = block_new(false);
        block_add(b, ":status", bad[i]);
        assert_int_equal(h2_head_finish_response(&b->st), FAULT_BAD_RESPONSE);
        block_free(b);
    }
}

static void test_h2_head__trailers_are_filtered(void **state)
{
    (void)state;
    struct block *const b = block_new(true);
    h2_head_begin(&b->st, true);
    block_add(b, "grpc-status", "0");
    block_add(b, "x-sum", "1");
    block_add(b, "authorization", "no");
    block_add(b, "content-type", "no");
    block_add(b, "host", "no");
    assert_int_equal(b->st.trailers->n_fields, 2);
    for (int i = 0; i < 40; i++) {
        block_add(b, "x", "1");
    }
    assert_int_equal(b->st.intake.fault, FAULT_HEAD_TOO_LARGE);
    block_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h2_head__requests_are_judged),
        cmocka_unit_test(test_h2_head__members_are_typed),
        cmocka_unit_test(test_h2_head__limits_act_while_decoding),
        cmocka_unit_test(test_h2_head__full_arena_is_overload),
        cmocka_unit_test(test_h2_head__responses_are_judged),
        cmocka_unit_test(test_h2_head__trailers_are_filtered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
