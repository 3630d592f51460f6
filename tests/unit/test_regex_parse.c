/*
 * test_regex_parse: what an operator sees when a pattern is bad: one line with
 * the position and how to mend it, unsupported syntax called by its name, and
 * every limit kept. Also that no pattern, however odd, does worse than that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/regex.h"
#include "base/regex_parse.c"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct regex *test_compile(struct str pattern, unsigned flags)
{
    struct error err = {0};
    struct regex *re = regex_new(pattern, flags, &err);
    if (re == NULL) {
        fail_msg("%s", error_text(&err));
    }
    assert_int_equal(err.n_problems, 0);
    error_fini(&err);
    return re;
}

struct test_bad {
    const char *pattern;
    const char *position;
    const char *problem;
};

static void
test_refused(struct str pattern, const char *position, const char *problem)
{
    struct error err = {0};
    struct regex *re = regex_new(pattern, 0, &err);
    if (re != NULL) {
        fail_msg("/%.*s/ was accepted", STR_ARG(pattern));
    }
    assert_int_equal(err.n_problems, 1);
    const char *text = error_text(&err);
    if (strstr(text, position) == NULL || strstr(text, problem) == NULL) {
        fail_msg("/%.*s/: \"%s\" lacks \"%s\" or \"%s\"", STR_ARG(pattern),
                 text, position, problem);
    }
    error_fini(&err);
}

static void test_regex_parse__says_where_and_how_to_mend(void **state)
{
    static const struct test_bad bads[] = {
        {"ab(c", "position 3:", "add a )"},
        {"ab)c", "position 3:", "remove the )"},
        {"a[b", "position 2:", "add a ]"},
        {"a[]", "position 2:", "add a ]"},
        {"a[^]", "position 2:", "add a ]"},
        {"a[b-", "position 2:", "add a ]"},
        {"a[c-a]", "position 3:", "backwards"},
        {"*a", "position 1:", "nothing to repeat"},
        {"a|+", "position 3:", "nothing to repeat"},
        {"^*", "position 2:", "nothing to repeat"},
        {"a**", "position 3:", "repeat follows a repeat"},
        {"a{2}{3}", "position 5:", "repeat follows a repeat"},
        {"{id}", "position 1:", "nothing to repeat"},
        {"/a{id}", "position 3:", "write \\{"},
        {"a{,3}", "position 2:", "{m,n}"},
        {"a{1,2", "position 2:", "{m,n}"},
        {"a{3,2}", "position 2:", "smaller number first"},
        {"a{256}", "position 2:", "at most 255"},
        {"a{1,99999999999999999999}", "position 2:", "at most 255"},
        {"a\\", "position 2:", "backslash"},
        {"\\x4", "position 1:", "two hexadecimal digits"},
        {"\\x4g", "position 1:", "two hexadecimal digits"},
        {"\\y", "position 1:", "leave the backslash out"},
        {"[\\b]", "position 2:", "\\x08"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
        test_refused(str_from(bads[i].pattern), bads[i].position,
                     bads[i].problem);
    }
}

static void test_regex_parse__names_what_it_does_not_support(void **state)
{
    static const struct test_bad bads[] = {
        {"(a)\\1", "position 4:", "backreference"},
        {"a\\k<n>", "position 2:", "backreference"},
        {"(?P=n)", "position 1:", "backreference"},
        {"a(?=b)", "position 2:", "lookahead"},
        {"a(?!b)", "position 2:", "negative lookahead"},
        {"(?<=a)b", "position 1:", "lookbehind"},
        {"(?<!a)b", "position 1:", "negative lookbehind"},
        {"(?>a)", "position 1:", "atomic"},
        {"(?<n>a)", "position 1:", "named group"},
        {"(?P<n>a)", "position 1:", "named group"},
        {"(?i)a", "position 1:", "inline flag"},
        {"(?#x)a", "position 1:", "comment"},
        {"(?R)", "position 1:", "recursion"},
        {"(?(1)a|b)", "position 1:", "conditional"},
        {"(?|a|b)", "position 1:", "branch reset"},
        {"(*ACCEPT)", "position 1:", "verb"},
        {"(?z)", "position 1:", "kind of group"},
        {"a*+", "position 3:", "possessive"},
        {"a{2}+", "position 5:", "possessive"},
        {"\\pL", "position 1:", "Unicode"},
        {"\\0", "position 1:", "octal"},
        {"\\Aa", "position 1:", "write ^"},
        {"a\\z", "position 2:", "write $"},
        {"\\Qa", "position 1:", "quoting"},
        {"[[:alpha:]]", "position 2:", "POSIX"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
        test_refused(str_from(bads[i].pattern), bads[i].position,
                     bads[i].problem);
    }
}

static void test_regex_parse__message_holds_no_control_bytes(void **state)
{
    (void)state;
    struct error err = {0};
    assert_null(regex_new(STR("\x1b[31m\n\xff("), 0, &err));
    for (const char *p = error_text(&err); *p != '\n'; p++) {
        assert_in_range(*p, 0x20, 0x7e);
    }
    error_fini(&err);
}

/* `n` times `piece`, then `tail`. */
static struct str
test_repeat_text(char *out, size_t n, const char *piece, const char *tail)
{
    const size_t piece_len = strlen(piece);
    for (size_t i = 0; i < n; i++) {
        memcpy(out + i * piece_len, piece, piece_len);
    }
    memcpy(out + n * piece_len, tail, strlen(tail) + 1);
    return str_from(out);
}

static void test_regex_parse__keeps_its_limits(void **state)
{
    (void)state;
    char text[2048];
    regex_free(test_compile(test_repeat_text(text, 1024, "a", ""), 0));
    test_refused(test_repeat_text(text, 1025, "a", ""),
                 "position 1025:", "longer than 1024");
    regex_free(test_compile(STR("a{255}"), 0));
    /* Two slots of the whole match and its end make it 4096. */
    struct regex *re = test_compile(STR("(?:a{255}){16}a{13}"), 0);
    assert_int_equal(regex_size(re), REGEX_PROGRAM_MAX);
    regex_free(re);
    test_refused(STR("(?:a{255}){16}a{14}"), "position", "4096");
    test_refused(STR("(?:a{255}){16}a{200}"), "position", "4096");
    test_refused(STR("((((a{255}){255}){255}){255})"), "position", "4096");
}

static void test_regex_parse__limits_nesting_and_groups(void **state)
{
    (void)state;
    char text[2048];
    char closing[64];
    memset(closing, ')', 33);
    closing[33] = '\0';
    test_refused(test_repeat_text(text, 33, "(?:", closing),
                 "position 97:", "more than 32 deep");
    regex_free(test_compile(test_repeat_text(text, 32, "(?:", closing + 1), 0));
    test_refused(test_repeat_text(text, 32, "(a)", ""),
                 "position 94:", "more than 31");
    struct regex *re = test_compile(test_repeat_text(text, 31, "(a)", ""), 0);
    assert_int_equal(regex_n_groups(re), 31);
    regex_free(re);
}

/* The next of a fixed sequence of numbers that look random. */
static unsigned test_random(uint64_t *random, unsigned below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33) % below;
}

/* Patterns of random special bytes: refused with one line, or usable. */
static void test_regex_parse__survives_random_patterns(void **state)
{
    static const char bytes[] = "()()[]{}|*+?^$\\-,.:=!<0129abdwsxpQ \n\xff";
    (void)state;
    struct regex_scratch *scratch = regex_scratch_new(REGEX_PROGRAM_MAX);
    size_t n_good = 0;
    uint64_t random = UINT64_C(0x2545f4914f6cdd1d);
    for (int i = 0; i < 30000; i++) {
        char *pattern = mem_new_raw(24);
        struct error err = {0};
        struct str captures[3];
        const size_t len = test_random(&random, 24);
        for (size_t j = 0; j < len; j++) {
            pattern[j] = bytes[test_random(&random, sizeof(bytes))];
        }
        pattern = mem_resize(pattern, len > 0 ? len : 1);
        struct regex *re =
            regex_new(str_make(pattern, len), test_random(&random, 8), &err);
        assert_int_equal(err.n_problems, re == NULL);
        if (re != NULL) {
            n_good++;
            const struct str text = str_make(pattern, len);
            const bool is_match = regex_match(re, text, scratch, captures, 3);
            assert_int_equal(regex_match(re, text, scratch, NULL, 0), is_match);
        }
        regex_free(re);
        error_fini(&err);
        mem_free(pattern);
    }
    assert_true(n_good > 1000);
    regex_scratch_free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex_parse__says_where_and_how_to_mend),
        cmocka_unit_test(test_regex_parse__names_what_it_does_not_support),
        cmocka_unit_test(test_regex_parse__message_holds_no_control_bytes),
        cmocka_unit_test(test_regex_parse__keeps_its_limits),
        cmocka_unit_test(test_regex_parse__limits_nesting_and_groups),
        cmocka_unit_test(test_regex_parse__survives_random_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
