/*
 * The promises of str: comparing, cutting and reading of text by pointer and
 * length, also at the edges where there is no byte to look at.
 */
#include "base/str.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_str__nocase_compares_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Content-Length"), STR("content-LENGTH")));
    assert_false(str_eq_nocase(STR("host"), STR("hosts")));
    /* '@' and '`', '[' and '{' differ by the case bit but are no letters. */
    assert_false(str_eq_nocase(STR("@["), STR("`{")));
    assert_false(str_eq_nocase(STR("\xc4"), STR("\xe4")));
    assert_true(str_eq_nocase(STR_NONE, STR("")));
}

static void test_str__starts_and_ends(void **state)
{
    (void)state;
    assert_true(str_starts(STR("/v1/chat"), STR("/v1")));
    assert_true(str_starts(STR("/v1"), STR("/v1")));
    assert_false(str_starts(STR("/v"), STR("/v1")));
    assert_true(str_starts(STR_NONE, STR_NONE));
    assert_true(str_ends(STR("a.example"), STR(".example")));
    assert_false(str_ends(STR("example"), STR(".example")));
    assert_true(str_ends(STR("x"), STR_NONE));
}

static void test_str__cmp_orders_by_bytes_then_length(void **state)
{
    (void)state;
    assert_int_equal(str_cmp(STR("abc"), STR("abc")), 0);
    assert_true(str_cmp(STR("ab"), STR("abc")) < 0);
    assert_true(str_cmp(STR("abc"), STR("ab")) > 0);
    assert_true(str_cmp(STR("b"), STR("abc")) > 0);
    assert_true(str_cmp(STR("\x7f"), STR("\x80")) < 0);
    assert_int_equal(str_cmp(STR_NONE, STR("")), 0);
}

static void test_str__find_char_answers_len_when_absent(void **state)
{
    (void)state;
    assert_int_equal(str_find_char(STR("a:b:c"), ':'), 1);
    assert_int_equal(str_find_char(STR("abc"), ':'), 3);
    assert_int_equal(str_find_char(STR_NONE, ':'), 0);
}

static void test_str__sub_is_clamped(void **state)
{
    (void)state;
    assert_true(str_eq(str_sub(STR("hello"), 1, 3), STR("ell")));
    assert_true(str_eq(str_sub(STR("hello"), 3, 99), STR("lo")));
    assert_int_equal(str_sub(STR("hello"), 9, 1).len, 0);
    assert_int_equal(str_from_index(STR("hello"), 9).len, 0);
    assert_null(str_from_index(STR_NONE, 4).p);
    assert_true(str_eq(str_sub(STR("hello"), 2, SIZE_MAX), STR("llo")));
}

static void test_str__trim_takes_blanks_and_tabs_only(void **state)
{
    (void)state;
    assert_true(str_eq(str_trim(STR(" \t a b\t ")), STR("a b")));
    assert_true(str_eq(str_trim(STR("\r\nx")), STR("\r\nx")));
    assert_int_equal(str_trim(STR(" \t ")).len, 0);
    assert_int_equal(str_trim(STR_NONE).len, 0);
}

static void test_str__split_gives_one_piece_more_than_separators(void **state)
{
    (void)state;
    static const char *const want[] = {"a", "", "bc", ""};
    struct str rest = STR("a,,bc,");
    struct str piece;
    size_t n = 0;
    while (str_split(&rest, ',', &piece)) {
        assert_true(n < 4);
        assert_true(str_eq(piece, str_from(want[n])));
        n++;
    }
    assert_int_equal(n, 4);
    assert_null(rest.p);
    assert_false(str_split(&rest, ',', &piece));
}

static void test_str__split_of_nothing_gives_nothing(void **state)
{
    (void)state;
    struct str rest = STR_NONE;
    struct str piece = STR("old");
    assert_false(str_split(&rest, ',', &piece));
    assert_int_equal(piece.len, 0);
    rest = STR("");
    assert_true(str_split(&rest, ',', &piece));
    assert_int_equal(piece.len, 0);
    assert_false(str_split(&rest, ',', &piece));
}

static void test_str__numbers_are_digits_that_fit(void **state)
{
    (void)state;
    uint64_t value = 7;
    static const char *const bad[] = {"",
                                      "+1",
                                      "-1",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "1a",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(str_to_u64(str_from(bad[i]), &value));
        assert_int_equal(value, 7);
    }
    assert_true(str_to_u64(STR("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(str_to_u64(STR("007"), &value));
    assert_int_equal(value, 7);
    /* Only the slice counts, not what follows it. */
    assert_true(str_to_u64(str_make("123456", 3), &value));
    assert_int_equal(value, 123);
}

static void test_str__lower_keeps_other_bytes(void **state)
{
    (void)state;
    char dst[8] = "-------";
    str_lower(dst, STR("AZ@[\xc4z"));
    assert_memory_equal(dst, "az@[\xc4z-", 7);
}

static void test_str__distance_counts_edits_and_swaps(void **state)
{
    (void)state;
    assert_int_equal(str_distance(STR("listener"), STR("listener"), 3), 0);
    assert_int_equal(str_distance(STR("listner"), STR("listener"), 3), 1);
    assert_int_equal(str_distance(STR("lisetner"), STR("listener"), 3), 1);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 3), 3);
    assert_int_equal(str_distance(STR(""), STR("abc"), 3), 3);
}

static void test_str__distance_stops_above_max(void **state)
{
    (void)state;
    assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 2), 3);
    assert_int_equal(str_distance(STR("a"), STR("abcdefgh"), 2), 3);
    assert_int_equal(str_distance(STR("abcd"), STR("wxyz"), 1), 2);
    char wide[300];
    memset(wide, 'x', sizeof wide);
    const struct str s = str_make(wide, sizeof wide);
    assert_int_equal(str_distance(s, s, 2), 0);
    assert_int_equal(str_distance(s, str_sub(s, 1, 299), 2), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str__nocase_compares_ascii_letters_only),
        cmocka_unit_test(test_str__starts_and_ends),
        cmocka_unit_test(test_str__cmp_orders_by_bytes_then_length),
        cmocka_unit_test(test_str__find_char_answers_len_when_absent),
        cmocka_unit_test(test_str__sub_is_clamped),
        cmocka_unit_test(test_str__trim_takes_blanks_and_tabs_only),
        cmocka_unit_test(test_str__split_gives_one_piece_more_than_separators),
        cmocka_unit_test(test_str__split_of_nothing_gives_nothing),
        cmocka_unit_test(test_str__numbers_are_digits_that_fit),
        cmocka_unit_test(test_str__lower_keeps_other_bytes),
        cmocka_unit_test(test_str__distance_counts_edits_and_swaps),
        cmocka_unit_test(test_str__distance_stops_above_max),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
