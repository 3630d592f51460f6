/*
 * Unit tests of http/h1_chunk: tables of chunked bodies, each decoded in one
 * piece, byte by byte and in every cut into two, with the same result.
 */
#include "http/h1_chunk.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct outcome {
    char body[256];
    size_t body_len;
    size_t used; /* bytes up to the trailer section */
    bool is_end;
    bool is_bad;
};

static void
decode(struct h1_chunks *ch, struct outcome *o, const char *p, size_t len)
{
    size_t at = 0;

    while (at < len && !o->is_end && !o->is_bad) {
        struct str data = STR_NONE;
        size_t used = 0;
        const enum h1_chunk_result got =
            h1_chunks_next(ch, (const uint8_t *)p + at, len - at, &used, &data);

        assert_true(used <= len - at);
        at += used;
        if (got == H1_CHUNK_DATA) {
            assert_true(data.len > 0);
            assert_true(o->body_len + data.len <= sizeof(o->body));
            memcpy(o->body + o->body_len, data.p, data.len);
            o->body_len += data.len;
        }
        o->is_end = got == H1_CHUNK_TRAILER;
        o->is_bad = got == H1_CHUNK_BAD;
        assert_true(got != H1_CHUNK_MORE || at == len);
    }
    o->used += at;
}

/* Cut into [0, first), then pieces of `step` bytes. */
static struct outcome
decode_cut(const char *p, size_t len, size_t first, size_t step)
{
    struct outcome o = {.is_bad = false};
    struct h1_chunks ch;

    h1_chunks_init(&ch);
    decode(&ch, &o, p, first);
    for (size_t at = first; at < len; at += step) {
        decode(&ch, &o, p + at, len - at < step ? len - at : step);
    }
    return o;
}

static const struct {
    const char *wire;
    const char *body; /* NULL: must be refused */
    const char *rest; /* what is left for the trailer section */
} rows[] = {
    {"5\r\nhello\r\n0\r\n\r\n", "hello", "\r\n"},
    {"0\r\n\r\n", "", "\r\n"},
    {"3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n", "abcde", "X: y\r\n\r\n"},
    {"a\r\n0123456789\r\n00\r\n\r\n", "0123456789", "\r\n"},
    {"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", "\r\n"},
    {"0000000000000000\r\n\r\n", "", "\r\n"},
    {"00000000000000000\r\n\r\n", NULL, NULL},
    {"0000000000000003\r\nabc\r\n0\r\n", "abc", ""},
    {"7fffffffffffffff\r\n", "", NULL}, /* accepted, incomplete */
    {"8000000000000000\r\n", NULL, NULL},
    {"ffffffffffffffff\r\n", NULL, NULL},
    {"1;a\r\nx\r\n0\r\n", "x", ""},
    {"1;a=b\r\nx\r\n0\r\n", "x", ""},
    {"1 ; a = b ; c\r\nx\r\n0\r\n", "x", ""},
    {"1;a=\"q \\\" ;\t\"\r\nx\r\n0;z\r\n", "x", ""},
    {"1;a=b;c=\"\"\r\nx\r\n0\r\n", "x", ""},
    {"1;\r\nx\r\n", NULL, NULL},
    {"1;a=\r\nx\r\n", NULL, NULL},
    {"1;=b\r\nx\r\n", NULL, NULL},
    {"1;a b\r\nx\r\n", NULL, NULL},
    {"1;a \r\nx\r\n", NULL, NULL},
    {"1;a=b \r\nx\r\n", NULL, NULL},
    {"1;a=\"b\r\nx\r\n", NULL, NULL},
    {"1;a=\"b\"c\r\nx\r\n", NULL, NULL},
    {"1;a\x01\r\nx\r\n", NULL, NULL},
    {"1;a\rb\r\nx\r\n", NULL, NULL},
    {"1;a\nx\r\n", NULL, NULL},
    {"1 \r\nx\r\n", NULL, NULL},
    {" 1\r\nx\r\n", NULL, NULL},
    {"+1\r\nx\r\n", NULL, NULL},
    {"-1\r\nx\r\n", NULL, NULL},
    {"0x1\r\nx\r\n", NULL, NULL},
    {"1_0\r\nx\r\n", NULL, NULL},
    {"g\r\n", NULL, NULL},
    {"\r\n", NULL, NULL},
    {"1\nx\r\n", NULL, NULL},
    {"1\r\nx\n0\r\n", NULL, NULL},
    {"1\r\nxy\r\n", NULL, NULL},
    {"1\r\nx\r0\r\n", NULL, NULL},
    {"1\r\nx0\r\n", NULL, NULL},
    {"1\rx\r\n", NULL, NULL},
    {"0\r\r\n", NULL, NULL},
};

static void
assert_same(const char *wire, const struct outcome *a, const struct outcome *b)
{
    if (a->is_bad != b->is_bad || a->is_end != b->is_end ||
        a->body_len != b->body_len || a->used != b->used ||
        memcmp(a->body, b->body, a->body_len) != 0) {
        fail_msg("'%s' depends on how it is cut", wire);
    }
}

static void test_h1_chunk__bodies_decode_the_same_in_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *const wire = rows[i].wire;
        const size_t len = strlen(wire);
        const struct outcome whole = decode_cut(wire, len, len, 1);

        if (whole.is_bad != (rows[i].body == NULL)) {
            fail_msg("'%s' was %s", wire, whole.is_bad ? "refused" : "taken");
        }
        if (rows[i].body != NULL) {
            assert_int_equal(whole.body_len, strlen(rows[i].body));
            assert_memory_equal(whole.body, rows[i].body, whole.body_len);
            assert_int_equal(whole.is_end, rows[i].rest != NULL);
        }
        if (rows[i].rest != NULL) {
            assert_string_equal(wire + whole.used, rows[i].rest);
        }
        for (size_t cut = 0; cut <= len; cut++) {
            const struct outcome two = decode_cut(wire, len, cut, len);
            assert_same(wire, &whole, &two);
        }
        const struct outcome bytes = decode_cut(wire, len, 0, 1);
        assert_same(wire, &whole, &bytes);
    }
}

static void test_h1_chunk__nul_is_refused_anywhere(void **state)
{
    static const char line[] = "1;a=\"\0\"\r\nx\r\n";
    const struct outcome o = decode_cut(line, sizeof(line) - 1, 0, 1);

    (void)state;
    assert_true(o.is_bad);
}

static void test_h1_chunk__lines_have_a_limit(void **state)
{
    char wire[400];

    (void)state;
    for (int len = 250; len <= 262; len++) {
        memset(wire, 'a', sizeof(wire));
        wire[0] = '1';
        wire[1] = ';';
        memcpy(wire + len - 2, "\r\n", 3);
        const struct outcome o = decode_cut(wire, strlen(wire), 0, 1);
        assert_int_equal(o.is_bad, len > 256);
    }
}

/* R-CHK-5: one byte a chunk with a long extension is not a body. */
static void test_h1_chunk__overhead_is_bounded(void **state)
{
    struct h1_chunks ch;
    bool is_bad = false;
    size_t n_wire = 0;

    (void)state;
    h1_chunks_init(&ch);
    while (!is_bad && n_wire < 1024 * 1024) {
        static const char chunk[] = "1;abcdefghijklmnopqrstuvwxyz\r\nx\r\n";
        struct outcome o = {.is_bad = false};

        decode(&ch, &o, chunk, sizeof(chunk) - 1);
        is_bad = o.is_bad;
        n_wire += sizeof(chunk) - 1;
    }
    assert_true(is_bad);
    assert_true(n_wire > 16 * 1024 && n_wire < 17 * 1024);
}

static void test_h1_chunk__small_honest_chunks_pass(void **state)
{
    struct h1_chunks ch;

    (void)state;
    h1_chunks_init(&ch);
    for (int i = 0; i < 100000; i++) {
        struct outcome o = {.is_bad = false};

        decode(&ch, &o, "1\r\nx\r\n", 6);
        assert_false(o.is_bad);
    }
    assert_int_equal(ch.data_bytes, 100000);
    assert_int_equal(ch.wire_bytes, 600000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_chunk__bodies_decode_the_same_in_every_cut),
        cmocka_unit_test(test_h1_chunk__nul_is_refused_anywhere),
        cmocka_unit_test(test_h1_chunk__lines_have_a_limit),
        cmocka_unit_test(test_h1_chunk__overhead_is_bounded),
        cmocka_unit_test(test_h1_chunk__small_honest_chunks_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
