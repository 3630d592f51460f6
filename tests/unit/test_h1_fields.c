/*
 * Unit tests of http/h1_fields: trailer sections, the walk over lines, and
 * transfer codings. Whole heads are tested with h1_parse.
 */
#include "http/h1_fields.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;
static struct codec_limits limits;

static const char *trailers_text(const struct head *t)
{
    static char text[1024];
    size_t n = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < t->n_fields; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, " %.*s=[%.*s]",
                              STR_ARG(t->fields[i].name),
                              STR_ARG(t->fields[i].value));
    }
    return text;
}

static const struct {
    const char *wire;
    const char *text; /* NULL: refused */
} trailer_rows[] = {
    {"\r\n", ""},
    {"Grpc-Status: 0\r\nGrpc-Message: ok\r\n\r\n",
     " grpc-status=[0] grpc-message=[ok]"},
    {"X-Sum: 1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n"
     "Connection: x\r\nAuthorization: x\r\nCookie: x\r\nSet-Cookie: x\r\n"
     "Content-Foo: x\r\nCache-Control: x\r\nTrailer: x\r\n"
     "X-Forwarded-Foo: x\r\nForwarded: x\r\nX-Daemun-Y: x\r\n\r\n",
     " x-sum=[1]"},
    {"a b: c\r\n\r\n", NULL},
    {"a_b: c\r\n\r\n", NULL},
    {"a: b\r\n c\r\n\r\n", NULL},
    {"a: b\n\r\n", NULL},
    {"\n", NULL},
};

static void test_h1_fields__trailers_are_filtered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(trailer_rows) / sizeof(trailer_rows[0]);
         i++) {
        const char *const wire = trailer_rows[i].wire;
        struct head t;

        head_init(&t, &arena);
        const enum fault f =
            h1_parse_trailers(&t, (const uint8_t *)wire, strlen(wire), &limits);
        if (trailer_rows[i].text == NULL) {
            assert_int_not_equal(f, FAULT_NONE);
        } else {
            assert_int_equal(f, FAULT_NONE);
            assert_string_equal(trailers_text(&t), trailer_rows[i].text);
        }
        arena_reset(&arena);
    }
}

static void test_h1_fields__trailers_have_limits(void **state)
{
    char wire[40 * 6 + 3] = "";
    size_t n = 0;

    (void)state;
    for (unsigned i = 1; i <= 33; i++) {
        struct head t;

        n += (size_t)snprintf(wire + n, sizeof(wire) - n, "a: b\r\n");
        memcpy(wire + n, "\r\n", 3);
        head_init(&t, &arena);
        assert_int_equal(
            h1_parse_trailers(&t, (const uint8_t *)wire, n + 2, &limits),
            i <= 32 ? FAULT_NONE : FAULT_HEAD_TOO_LARGE);
        arena_reset(&arena);
    }
}

static void test_h1_fields__other_codings_are_told_from_nonsense(void **state)
{
    static const struct {
        const char *value;
        enum fault fault;
    } rows[] = {
        {"gzip", FAULT_NOT_IMPLEMENTED},
        {"GZIP , chunked", FAULT_NOT_IMPLEMENTED},
        {"deflate, compress, x-gzip", FAULT_NOT_IMPLEMENTED},
        {"gzip, chunked, gzip", FAULT_BAD_REQUEST},
        {"chunked, chunked", FAULT_BAD_REQUEST},
        {"gzip,", FAULT_BAD_REQUEST},
        {"", FAULT_BAD_REQUEST},
        {"identity", FAULT_BAD_REQUEST},
        {"gzip;q=1", FAULT_BAD_REQUEST},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(h1_coding_fault(str_from(rows[i].value)),
                         rows[i].fault);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_fields__trailers_are_filtered),
        cmocka_unit_test(test_h1_fields__trailers_have_limits),
        cmocka_unit_test(test_h1_fields__other_codings_are_told_from_nonsense),
    };

    limits = codec_limits_default();
    arena_init(&arena, NULL, 1024 * 1024);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
