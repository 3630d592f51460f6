/*
 * test_regex: what a match promises: the meaning of the syntax, leftmost-first
 * captures, no allocation, nothing written but the scratch, and linear time by
 * counted steps. Every case runs on both engines, the one for captures and the
 * one in regex_bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/mem.h"

/* Counts what the code under test allocates. */
static size_t test_n_allocations;

static size_t test_count(size_t size)
{
    test_n_allocations++;
    return size;
}

#define mem_new(size) mem_new(test_count(size))
#define mem_new_array(n, size) mem_new_array(n, test_count(size))
#define mem_new_raw(size) mem_new_raw(test_count(size))
#define mem_resize(p, size) mem_resize(p, test_count(size))

#include "base/regex.c"
#include "base/regex_bits.c"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- helpers -------------------------------------------------------------
 */

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

/* "begin,end" of each capture with blanks between, "-" for none, or "no". */
static void test_describe(char *out,
                          size_t out_max,
                          struct str text,
                          const struct str *captures,
                          size_t n,
                          bool is_match)
{
    size_t len = 0;
    if (!is_match) {
        snprintf(out, out_max, "no");
        return;
    }
    out[0] = '\0';
    for (size_t i = 0; i < n && len < out_max; i++) {
        const char *blank = i > 0 ? " " : "";
        int added;
        if (captures[i].p == NULL) {
            added = snprintf(out + len, out_max - len, "%s-", blank);
        } else {
            const size_t begin = (size_t)(captures[i].p - text.p);
            added = snprintf(out + len, out_max - len, "%s%zu,%zu", blank,
                             begin, begin + captures[i].len);
        }
        len += (size_t)added;
    }
}

static void
test_match(char *out, size_t out_max, const struct regex *re, struct str text)
{
    struct regex_scratch *scratch = regex_scratch_new(regex_size(re));
    struct str captures[REGEX_CAPTURES_MAX];
    const size_t n = regex_n_groups(re) + 1;
    const bool is_match = regex_match(re, text, scratch, captures, n);
    assert_int_equal(regex_match(re, text, scratch, NULL, 0), is_match);
    test_describe(out, out_max, text, captures, n, is_match);
    regex_scratch_free(scratch);
}

struct test_case {
    const char *pattern;
    unsigned flags;
    const char *text;
    const char *want;
};

/* Each case on both engines. */
static void test_cases(const struct test_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct test_case *tc = &cases[i];
        char got[512];
        struct regex *re = test_compile(str_from(tc->pattern), tc->flags);
        for (int engine = 0; engine < 2; engine++) {
            test_match(got, sizeof(got), re, str_from(tc->text));
            if (strcmp(got, tc->want) != 0) {
                fail_msg("/%s/ on \"%s\": got %s, want %s", tc->pattern,
                         tc->text, got, tc->want);
            }
            re->bits.is_usable = false;
        }
        regex_free(re);
    }
}

/* ---- syntax --------------------------------------------------------------
 */

static void test_regex__matches_atoms(void **state)
{
    static const struct test_case cases[] = {
        {"", 0, "", "0,0"},
        {"", 0, "ab", "0,0"},
        {"a", 0, "bab", "1,2"},
        {"a", 0, "", "no"},
        {"a.c", 0, "abc", "0,3"},
        {"a.c", 0, "a\nc", "no"},
        {"a\\.c", 0, "abc", "no"},
        {"a\\.c\\/", 0, "a.c/", "0,4"},
        {"\\t\\n\\r\\f\\v", 0, "\t\n\r\f\v", "0,5"},
        {"\\x2f\\xFf", 0, "/\xff", "0,2"},
        {"\\(\\)\\[\\]\\{\\}\\*\\+\\?\\|\\^\\$\\\\\\-", 0, "()[]{}*+?|^$\\-",
         "0,14"},
        {"]}-", 0, "]}-", "0,3"},
        {"\xc3\xa9", 0, "caf\xc3\xa9", "3,5"},
        {"/v1/models", 0, "/v1/models", "0,10"},
        {"/v1/models", 0, "/V1/models", "no"},
    };
    (void)state;
    test_cases(cases, ARRAY_LEN(cases));
}

static void test_regex__matches_classes(void **state)
{
    static const struct test_case cases[] = {
        {"[abc]+", 0, "xxcabx", "2,5"},
        {"[a-c0-9]+", 0, "zb7d", "1,3"},
        {"[^/]+", 0, "/ab/c", "1,3"},
        {"[^a-z]", 0, "abc\xe9", "3,4"},
        {"[]x]+", 0, "a]x", "1,3"},
        {"[^]x]+", 0, "]ax", "1,2"},
        {"[a-]+", 0, "b-a", "1,3"},
        {"[-a]+", 0, "b-a", "1,3"},
        {"[\\w-]+", 0, "/a-b_9/", "1,6"},
        {"[\\w-.]+", 0, "/a-b.9/", "1,6"},
        {"[+-\\d]+", 0, "a+-7", "1,4"},
        {"[\\]\\\\^-]+", 0, "a]\\^-", "1,5"},
        {"[\\x30-\\x39]+", 0, "a12", "1,3"},
        {"[.*+(|)$]+", 0, "a.*+(|)$", "1,8"},
        {"[[:]+", 0, "a[:", "1,3"},
        {"\\d+", 0, "a12b", "1,3"},
        {"\\D+", 0, "12ab", "2,4"},
        {"\\w+", 0, "/aZ_0-", "1,5"},
        {"\\W+", 0, "a-/b", "1,3"},
        {"\\s+", 0, "a \t\r\n\v\fb", "1,7"},
        {"\\S+", 0, " ab ", "1,3"},
        {"[\\S\\n]+", 0, " a\nb ", "1,4"},
        {"[^\\d\\s]+", 0, "1 ab2", "2,4"},
        {"[^\\x00-\\xff]", 0, "abc", "no"},
    };
    (void)state;
    test_cases(cases, ARRAY_LEN(cases));
}

static void test_regex__repeats_greedy_and_lazy(void **state)
{
    static const struct test_case cases[] = {
        {"a*", 0, "aaab", "0,3"},
        {"a*?", 0, "aaab", "0,0"},
        {"a+?b", 0, "aaab", "0,4"},
        {"(a+)(a*)", 0, "aaa", "0,3 0,3 3,3"},
        {"(a+?)(a*)", 0, "aaa", "0,3 0,1 1,3"},
        {"(a?)(a?"
         "?)(a*)",
         0, "aaa", "0,3 0,1 1,1 1,3"},
        {"a{2}", 0, "aaaaa", "0,2"},
        {"a{2,}", 0, "abaaaa", "2,6"},
        {"a{2,}?", 0, "aaaaa", "0,2"},
        {"a{2,3}", 0, "aaaaa", "0,3"},
        {"(a{2,3}?)(a*)", 0, "aaaaa", "0,5 0,2 2,5"},
        {"^a{2,3}$", 0, "aaaa", "no"},
        {"ba{0}c", 0, "bc", "0,2"},
        {"ba{0,1}c", 0, "bac", "0,3"},
        {"(?:ab){2}", 0, "abab", "0,4"},
        {"(a|bc){2,3}", 0, "abcabc", "0,4 3,4"},
        {"^a{255}$", 0, "aaa", "no"},
        {"(?:)*a", 0, "a", "0,1"},
        {"(|a)*", 0, "aa", "0,0 0,0"},
        {"(|a)+", 0, "aa", "0,0 0,0"},
        {"(a*)*b", 0, "aab", "0,3 0,2"},
        {"(a*)+", 0, "b", "0,0 0,0"},
        {"(?:^)*a", 0, "a", "0,1"},
    };
    (void)state;
    test_cases(cases, ARRAY_LEN(cases));
}

static void test_regex__captures_leftmost_first(void **state)
{
    static const struct test_case cases[] = {
        {"a|ab", 0, "ab", "0,1"},
        {"ab|a", 0, "ab", "0,2"},
        {"(a|ab)(c|bcd)(d*)", 0, "abcd", "0,4 0,1 1,4 4,4"},
        {"b|a", 0, "ab", "0,1"},
        {"|a", 0, "a", "0,0"},
        {"a||b", 0, "b", "0,0"},
        {"(a)|(b)", 0, "b", "0,1 - 0,1"},
        {"(?:(a)|b)*", 0, "ab", "0,2 0,1"},
        {"((a)(b)?)+", 0, "aba", "0,3 2,3 2,3 1,2"},
        {"()", 0, "a", "0,0 0,0"},
        {"(?:a(?:b(c)))", 0, "abc", "0,3 2,3"},
        {"^/v(\\d+)/models/([^/:]+)(?::(\\w+))?$", 0,
         "/v1/models/half_plus:predict", "0,28 2,3 11,20 21,28"},
        {"^/v(\\d+)/models/([^/:]+)(?::(\\w+))?$", 0, "/v12/models/m",
         "0,13 2,4 12,13 -"},
        {"/something(/|$)(.*)", 0, "/something/new", "0,14 10,11 11,14"},
        {"(.*)/(.*)", 0, "/a/b/c", "0,6 0,4 5,6"},
        {"(.*?)/(.*)", 0, "a/b/c", "0,5 0,1 2,5"},
    };
    (void)state;
    test_cases(cases, ARRAY_LEN(cases));
}

static void test_regex__anchors_hold_at_the_ends_of_the_text(void **state)
{
    static const struct test_case cases[] = {
        {"^a", 0, "ba", "no"},
        {"^a", 0, "b\na", "no"},
        {"a$", 0, "ab", "no"},
        {"a$", 0, "ba", "1,2"},
        {"a$", 0, "a\n", "no"},
        {"$", 0, "ab", "2,2"},
        {"^", 0, "ab", "0,0"},
        {"^$", 0, "", "0,0"},
        {"^$", 0, "a", "no"},
        {"^b|a", 0, "ca", "1,2"},
        {"^(?:a|b$)", 0, "bb", "no"},
        {"a^b", 0, "ab", "no"},
        {"a$b", 0, "ab", "no"},
        {"\\bfoo\\b", 0, "a foo.", "2,5"},
        {"\\bfoo\\b", 0, "afoo", "no"},
        {"\\Boo", 0, "foo", "1,3"},
        {"\\b", 0, "", "no"},
        {"\\B", 0, "", "0,0"},
        {"a\\b", 0, "a", "0,1"},
        {"a", REGEX_ANCHOR_START, "ba", "no"},
        {"a", REGEX_ANCHOR_START, "ab", "0,1"},
        {"a", REGEX_ANCHOR_END, "ab", "no"},
        {"a", REGEX_ANCHOR_END, "ba", "1,2"},
        {"a|ab", REGEX_ANCHOR_START | REGEX_ANCHOR_END, "ab", "0,2"},
        {"a*?", REGEX_ANCHOR_START | REGEX_ANCHOR_END, "aa", "0,2"},
        {"b|", REGEX_ANCHOR_END, "ba", "2,2"},
        {"a|b", REGEX_ANCHOR_START, "cb", "no"},
    };
    (void)state;
    test_cases(cases, ARRAY_LEN(cases));
}

static void test_regex__nocase_folds_ascii_only(void **state)
{
    static const struct test_case cases[] = {
        {"/Api/v1", REGEX_NOCASE, "/aPI/V1", "0,7"},
        {"[a-c]+", REGEX_NOCASE, "xABCd", "1,4"},
        {"[X-Z]", REGEX_NOCASE, "ay", "1,2"},
        {"[^a]", REGEX_NOCASE, "aA", "no"},
        {"\\x41", REGEX_NOCASE, "a", "0,1"},
        {"\\W", REGEX_NOCASE, "aZ_", "no"},
        {"[@-Z]+", REGEX_NOCASE, "`@az{", "1,4"},
        {"\xc3\x89", REGEX_NOCASE, "\xc3\xa9", "no"},
        {"K", REGEX_NOCASE, "\xe2\x84\xaa", "no"},
    };
    (void)state;
    test_cases(cases, ARRAY_LEN(cases));
}

static void test_regex__takes_nul_and_high_bytes(void **state)
{
    (void)state;
    char got[64];
    struct regex *re = test_compile(STR("a\0[\0-\x01]\\x00(.)"), 0);
    test_match(got, sizeof(got), re, STR("a\0\x01\0\xff"));
    assert_string_equal(got, "0,5 4,5");
    regex_free(re);
}

/* ---- the contract of a match ---------------------------------------------
 */

static void test_regex__fills_as_many_captures_as_asked(void **state)
{
    (void)state;
    struct regex *re = test_compile(STR("(a)(b)?"), 0);
    struct regex_scratch *scratch = regex_scratch_new(REGEX_PROGRAM_MAX);
    struct str captures[40];
    const struct str text = STR("xa");
    captures[1] = STR("kept");
    assert_true(regex_match(re, text, scratch, captures, 1));
    assert_true(str_eq(captures[0], STR("a")));
    assert_true(str_eq(captures[1], STR("kept")));
    assert_true(regex_match(re, text, scratch, captures, 40));
    assert_ptr_equal(captures[1].p, text.p + 1);
    for (size_t i = 2; i < 40; i++) {
        assert_null(captures[i].p);
        assert_int_equal(captures[i].len, 0);
    }
    assert_false(regex_match(re, STR("x"), scratch, captures, 2));
    assert_null(captures[0].p);
    assert_null(captures[1].p);
    regex_scratch_free(scratch);
    regex_free(re);
}

static void test_regex__an_empty_capture_has_a_place(void **state)
{
    (void)state;
    struct regex *re = test_compile(STR("(a*)"), 0);
    struct regex_scratch *scratch = regex_scratch_new(regex_size(re));
    struct str captures[2];
    assert_true(regex_match(re, STR_NONE, scratch, captures, 2));
    assert_non_null(captures[0].p);
    assert_non_null(captures[1].p);
    assert_int_equal(captures[1].len, 0);
    regex_scratch_free(scratch);
    regex_free(re);
    regex_free(NULL);
    regex_scratch_free(NULL);
}

static void test_regex__a_match_allocates_nothing(void **state)
{
    static const char *const patterns[] = {"^/v(\\d+)/(.*)$", "(a|b)*c\\b",
                                           "(?:(a)|b){40}", "x*"};
    (void)state;
    struct regex_scratch *scratch = regex_scratch_new(REGEX_PROGRAM_MAX);
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct regex *re = test_compile(str_from(patterns[i]), 0);
        struct str captures[4];
        const size_t before = test_n_allocations;
        assert_true(before > 0);
        regex_match(re, STR("/v1/abababc"), scratch, captures, 4);
        regex_match(re, STR("/v1/abababc"), scratch, NULL, 0);
        assert_int_equal(test_n_allocations, before);
        regex_free(re);
    }
    regex_scratch_free(scratch);
}

static void test_regex__a_match_changes_only_the_scratch(void **state)
{
    (void)state;
    struct regex *re = test_compile(STR("(\\w+)-([a-z]+)|x"), REGEX_NOCASE);
    const struct regex before = *re;
    struct regex_inst code[64];
    struct regex_class classes[8];
    const size_t code_len = re->prog.n_code * sizeof(*code);
    const size_t classes_len = re->prog.n_classes * sizeof(*classes);
    assert_true(code_len <= sizeof(code) && classes_len <= sizeof(classes));
    memcpy(code, re->prog.code, code_len);
    memcpy(classes, re->prog.classes, classes_len);
    struct regex_scratch *one = regex_scratch_new(regex_size(re));
    struct regex_scratch *two = regex_scratch_new(REGEX_PROGRAM_MAX);
    struct str captures[3];
    struct str other[3];
    for (int i = 0; i < 3; i++) {
        assert_true(regex_match(re, STR(" ab-CD"), one, captures, 3));
        assert_true(regex_match(re, STR("q-r"), two, other, 3));
        assert_false(regex_match(re, STR("--"), two, other, 3));
        assert_true(str_eq(captures[1], STR("ab")));
        assert_true(str_eq(captures[2], STR("CD")));
    }
    assert_memory_equal(&before, re, sizeof(before));
    assert_memory_equal(code, re->prog.code, code_len);
    assert_memory_equal(classes, re->prog.classes, classes_len);
    regex_scratch_free(one);
    regex_scratch_free(two);
    regex_free(re);
}

/* ---- linear time ---------------------------------------------------------
 */

/* Steps of one match, which must stay within the promise of regex.h. */
static uint64_t
test_steps(const struct regex *re, struct str text, bool want_match)
{
    struct regex_scratch *scratch = regex_scratch_new(regex_size(re));
    struct str captures[2];
    const uint64_t most = 3 * regex_size(re) * (text.len + 1);
    assert_int_equal(regex_match(re, text, scratch, NULL, 0), want_match);
    assert_true(scratch->steps <= most);
    assert_int_equal(regex_match(re, text, scratch, captures, 2), want_match);
    assert_true(scratch->steps <= most);
    const uint64_t steps = scratch->steps;
    regex_scratch_free(scratch);
    return steps;
}

static void test_regex__steps_grow_with_the_text_only(void **state)
{
    static const char *const patterns[] = {
        "(a*)*b",        "(a|a)*b",          "(a+)+b",
        "(a|aa)+b",      "(.*)(.*)(.*)b",    "^(?:a?){30}a{30}b",
        "(?:a*a*)*b",    "(?:(?:a*)*)*b\\b", "(?:a{0,9}){0,9}b",
        "(x+x+|a+a+)+b", "((a?|a*)+|(a)*)*b"};
    (void)state;
    char *as = mem_new_raw(8001);
    memset(as, 'a', 8000);
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct regex *re = test_compile(str_from(patterns[i]), 0);
        for (int engine = 0; engine < 2; engine++) {
            const uint64_t once = test_steps(re, str_make(as, 1000), false);
            const uint64_t twice = test_steps(re, str_make(as, 2000), false);
            assert_true(once > 0 && twice <= 2 * once + 8 * regex_size(re));
            re->bits.is_usable = false;
        }
        regex_free(re);
    }
    struct regex *re = test_compile(STR("(a*)*b"), 0);
    as[8000] = 'b';
    test_steps(re, str_make(as, 8001), true);
    regex_free(re);
    mem_free(as);
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

/* a?^n a^n against a^n: two to the power of n for a backtracking matcher. */
static void test_regex__optional_copies_stay_polynomial(void **state)
{
    (void)state;
    for (size_t n = 5; n <= 200; n += 15) {
        char pattern[64];
        char text[256];
        snprintf(pattern, sizeof(pattern), "^(?:a?){%zu}a{%zu}$", n, n);
        struct regex *re = test_compile(str_from(pattern), 0);
        assert_true(regex_size(re) <= 3 * n + 8);
        const struct str as = test_repeat_text(text, n, "a", "");
        const uint64_t steps = test_steps(re, as, true);
        assert_true(steps <= 3 * (3 * n + 8) * (n + 1));
        regex_free(re);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex__matches_atoms),
        cmocka_unit_test(test_regex__matches_classes),
        cmocka_unit_test(test_regex__repeats_greedy_and_lazy),
        cmocka_unit_test(test_regex__captures_leftmost_first),
        cmocka_unit_test(test_regex__anchors_hold_at_the_ends_of_the_text),
        cmocka_unit_test(test_regex__nocase_folds_ascii_only),
        cmocka_unit_test(test_regex__takes_nul_and_high_bytes),
        cmocka_unit_test(test_regex__fills_as_many_captures_as_asked),
        cmocka_unit_test(test_regex__an_empty_capture_has_a_place),
        cmocka_unit_test(test_regex__a_match_allocates_nothing),
        cmocka_unit_test(test_regex__a_match_changes_only_the_scratch),
        cmocka_unit_test(test_regex__steps_grow_with_the_text_only),
        cmocka_unit_test(test_regex__optional_copies_stay_polynomial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
