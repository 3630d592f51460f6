/*
 * Unit tests of http/head: the tables of names, methods and byte classes, and
 * what can be done to the fields of a head.
 */
#include "http/head.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct arena arena;
    struct head h;
};

static void fixture_init(struct fixture *f)
{
    arena_init(&f->arena, NULL, 64 * 1024);
    head_init(&f->h, &f->arena);
}

static void fixture_add(struct fixture *f, const char *name, const char *value)
{
    assert_true(head_add_copy(&f->h, str_from(name), str_from(value)));
}

static void assert_str(struct str got, const char *want)
{
    if (got.len != strlen(want) || memcmp(got.p, want, got.len) != 0) {
        fail_msg("got '%.*s', want '%s'", STR_ARG(got), want);
    }
}

/* The names once more, as a grammar test of the tables. */
static void test_head__byte_classes_are_those_of_the_grammar(void **state)
{
    static const char token[] = "!#$%&'*+-.^_`|~";
    static const char sub[] = "!$&'()*+,;=:@/-._~";

    (void)state;
    for (int c = 0; c < 256; c++) {
        const bool is_digit = c >= '0' && c <= '9';
        const bool is_upper = c >= 'A' && c <= 'Z';
        const bool is_alnum = is_digit || is_upper || (c >= 'a' && c <= 'z');
        const bool is_hex =
            is_digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        const bool is_token = is_alnum || (c != 0 && strchr(token, c) != NULL);
        const char b = (char)c;

        assert_int_equal(chars_is(b, CHARS_TOKEN), is_token);
        assert_int_equal(chars_is(b, CHARS_VALUE),
                         c == 9 || (c >= 32 && c != 127));
        assert_int_equal(chars_is(b, CHARS_PATH),
                         is_alnum || (c != 0 && strchr(sub, c) != NULL));
        assert_int_equal(chars_is(b, CHARS_HOST),
                         is_alnum || c == '-' || c == '.' || c == '_');
        assert_int_equal(chars_is(b, CHARS_UNRESERVED),
                         is_alnum || c == '-' || c == '.' || c == '_' ||
                             c == '~');
        assert_int_equal(chars_is(b, CHARS_DIGIT), is_digit);
        assert_int_equal(chars_is(b, CHARS_HEX), is_hex);
        assert_int_equal(chars_is(b, CHARS_UPPER), is_upper);
        assert_int_equal(chars_name[c], is_token ? (is_upper ? c + 32 : c) : 0);
        if (is_hex) {
            char text[2] = {b, 0};
            assert_int_equal(chars_hex(b), strtoul(text, NULL, 16));
        }
    }
}

static void test_head__every_known_name_is_found(void **state)
{
    (void)state;
    for (unsigned id = NAME_OTHER + 1; id < NAME_N; id++) {
        assert_int_equal(name_find(name_text((enum name_id)id)), id);
    }
    assert_int_equal(name_find(STR("")), NAME_OTHER);
    assert_int_equal(name_find(STR("x")), NAME_OTHER);
    assert_int_equal(name_find(STR("hosts")), NAME_OTHER);
    assert_int_equal(name_find(STR("x-request-ix")), NAME_OTHER);
    assert_true(name_flags(NAME_CONNECTION) & NAME_FLAG_HOP);
    assert_int_equal(name_flags(NAME_OTHER), 0);
}

static void test_head__methods_are_case_sensitive(void **state)
{
    static const struct {
        const char *text;
        enum method m;
        bool is_idempotent;
    } rows[] = {
        {"GET", METHOD_GET, true},         {"HEAD", METHOD_HEAD, true},
        {"POST", METHOD_POST, false},      {"PUT", METHOD_PUT, true},
        {"DELETE", METHOD_DELETE, true},   {"OPTIONS", METHOD_OPTIONS, true},
        {"PATCH", METHOD_PATCH, false},    {"CONNECT", METHOD_CONNECT, false},
        {"TRACE", METHOD_TRACE, true},     {"get", METHOD_OTHER, false},
        {"GETT", METHOD_OTHER, false},     {"", METHOD_OTHER, false},
        {"PROPFIND", METHOD_OTHER, false}, {"TRACK", METHOD_OTHER, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(method_find(str_from(rows[i].text)), rows[i].m);
        assert_int_equal(method_is_idempotent(rows[i].m),
                         rows[i].is_idempotent);
    }
}

static void test_head__fields_keep_their_order_and_count_bytes(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f);
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof(name), "X-Name-%d", i);
        fixture_add(&f, name, "v");
    }
    assert_int_equal(f.h.n_fields, 40);
    assert_int_equal(f.h.n_bytes, 10 * 8 + 30 * 9 + 40 + 40 * 32);
    assert_str(f.h.fields[39].name, "x-name-39");
    assert_str(f.h.fields[0].name, "x-name-0");
    assert_non_null(head_find_name(&f.h, STR("x-name-17")));
    assert_null(head_find_name(&f.h, STR("x-name-40")));
    arena_reset(&f.arena);
}

static void test_head__set_replaces_all_lines_by_one(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "a", "1");
    fixture_add(&f, "cookie", "x=1");
    fixture_add(&f, "b", "2");
    fixture_add(&f, "Cookie", "y=2");
    fixture_add(&f, "c", "3");
    assert_true(head_set(&f.h, STR("cookie"), STR("z")));
    assert_int_equal(f.h.n_fields, 4);
    assert_str(f.h.fields[1].value, "z");
    assert_str(f.h.fields[2].name, "b");
    assert_str(f.h.fields[3].name, "c");
    assert_int_equal(f.h.n_bytes, 3 * 34 + 6 + 1 + 32);
    assert_true(head_set(&f.h, STR("new"), STR("n")));
    assert_int_equal(f.h.n_fields, 5);
    assert_int_equal(f.h.fields[4].id, NAME_OTHER);
    arena_reset(&f.arena);
}

static void test_head__remove_takes_all_lines(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "via", "1");
    fixture_add(&f, "a", "1");
    fixture_add(&f, "Via", "2");
    assert_int_equal(head_remove_id(&f.h, NAME_VIA), 2);
    assert_int_equal(head_remove(&f.h, STR("via")), 0);
    assert_int_equal(f.h.n_fields, 1);
    assert_int_equal(f.h.n_bytes, 34);
    assert_null(head_find(&f.h, NAME_VIA));
    arena_reset(&f.arena);
}

static void test_head__the_arena_limit_is_told(void **state)
{
    struct arena arena;
    struct head h;
    bool is_full = false;

    (void)state;
    arena_init(&arena, NULL, 8 * 1024);
    head_init(&h, &arena);
    for (int i = 0; i < 1000 && !is_full; i++) {
        is_full = !head_add_copy(&h, STR("name"), STR("value"));
    }
    assert_true(is_full);
    arena_reset(&arena);
}

static void test_head__cookie_and_query_find_exact_names(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "cookie", "sess=1; session=abc; empty=; flag");
    fixture_add(&f, "cookie", "late=z=1");
    assert_str(head_cookie(&f.h, STR("session")), "abc");
    assert_str(head_cookie(&f.h, STR("sess")), "1");
    assert_str(head_cookie(&f.h, STR("late")), "z=1");
    assert_str(head_cookie(&f.h, STR("empty")), "");
    assert_non_null(head_cookie(&f.h, STR("flag")).p);
    assert_null(head_cookie(&f.h, STR("ses")).p);
    assert_null(head_cookie(&f.h, STR("SESSION")).p);

    assert_null(head_query(&f.h, STR("a")).p);
    f.h.query = STR("a=1&ab=2&c=%20x&a=9");
    assert_str(head_query(&f.h, STR("a")), "1");
    assert_str(head_query(&f.h, STR("ab")), "2");
    assert_str(head_query(&f.h, STR("c")), "%20x");
    assert_null(head_query(&f.h, STR("b")).p);
    arena_reset(&f.arena);
}

static void test_head__tokens_of_a_list(void **state)
{
    (void)state;
    assert_true(value_has_token(STR("close"), STR("close")));
    assert_true(value_has_token(STR("a ,\tCLOSE"), STR("close")));
    assert_true(value_has_token(STR(",,x,"), STR("x")));
    assert_false(value_has_token(STR("closed"), STR("close")));
    assert_false(value_has_token(STR("x close"), STR("close")));
    assert_false(value_has_token(STR(""), STR("close")));
    assert_true(name_is_valid(STR("a-b_c~")));
    assert_false(name_is_valid(STR("")));
    assert_false(name_is_valid(STR("a b")));
    assert_true(value_is_valid(STR("a\tb \xff")));
    assert_false(value_is_valid(STR("a\nb")));
    assert_false(value_is_valid(STR("\x7f")));
}

static void test_head__secrets_are_sensitive(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "authorization", "Bearer x");
    fixture_add(&f, "cookie", "short");
    fixture_add(&f, "cookie", "long enough not to be guessed");
    fixture_add(&f, "accept", "*/*");
    assert_true(f.h.fields[0].is_sensitive);
    assert_true(f.h.fields[1].is_sensitive);
    assert_false(f.h.fields[2].is_sensitive);
    assert_false(f.h.fields[3].is_sensitive);
    arena_reset(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head__byte_classes_are_those_of_the_grammar),
        cmocka_unit_test(test_head__every_known_name_is_found),
        cmocka_unit_test(test_head__methods_are_case_sensitive),
        cmocka_unit_test(test_head__fields_keep_their_order_and_count_bytes),
        cmocka_unit_test(test_head__set_replaces_all_lines_by_one),
        cmocka_unit_test(test_head__remove_takes_all_lines),
        cmocka_unit_test(test_head__the_arena_limit_is_told),
        cmocka_unit_test(test_head__cookie_and_query_find_exact_names),
        cmocka_unit_test(test_head__tokens_of_a_list),
        cmocka_unit_test(test_head__secrets_are_sensitive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
