/*
 * The promises of error: problems are lines, and a flood of them stays within
 * its bound while the count stays true.
 */
#include "base/error.c"

#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

static void test_error__empty_has_empty_text(void **state)
{
    (void)state;
    struct error err = {0};
    assert_string_equal(error_text(&err), "");
    error_fini(&err);
}

static void test_error__gathers_lines(void **state)
{
    (void)state;
    struct error err = {0};
    assert_false(
        error_add(&err, "routes[%d].path: %s", 3, "must start with /"));
    assert_false(error_add(&err, "listeners: none\n"));
    assert_string_equal(error_text(&err), "routes[3].path: must start with /\n"
                                          "listeners: none\n");
    assert_int_equal(err.n_problems, 2);
    assert_int_equal(err.len, strlen(err.text));
    error_fini(&err);
    assert_null(err.text);
    assert_int_equal(err.n_problems, 0);
}

static void test_error__a_flood_is_cut_and_counted(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct error err = {0};
    size_t n_kept = 0;
    char last[64];
    for (int i = 0; i < N; i++) {
        error_add(&err, "x[%d]: bad", i);
        assert_true(err.len < ERROR_TEXT_MAX);
    }
    for (const char *p = err.text; *p != '\0'; p++) {
        n_kept += *p == '\n' ? 1 : 0;
    }
    n_kept--; /* the line that counts the others */
    assert_int_equal(err.n_problems, N);
    assert_int_equal(err.n_dropped, N - n_kept);
    assert_true(err.len > ERROR_TEXT_MAX - 256);
    snprintf(last, sizeof last, "]: bad\n(and %zu more)\n", N - n_kept);
    assert_string_equal(err.text + err.len - strlen(last), last);
    assert_int_equal(err.len, strlen(err.text));
    error_fini(&err);
}

static void
test_error__after_the_first_drop_short_lines_are_dropped(void **state)
{
    (void)state;
    struct error err = {0};
    char wide[4000];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    for (int i = 0; i < 17; i++) {
        error_add(&err, "%s", wide);
    }
    assert_int_equal(err.n_dropped, 1);
    error_add(&err, "short");
    assert_int_equal(err.n_dropped, 2);
    assert_null(strstr(err.text, "short"));
    assert_non_null(strstr(err.text, "\n(and 2 more)\n"));
    error_fini(&err);
}

static void test_error__a_line_is_bounded(void **state)
{
    (void)state;
    struct error err = {0};
    char wide[3 * ERROR_LINE_MAX];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    error_add(&err, "%s", wide);
    assert_true(err.len <= ERROR_LINE_MAX);
    assert_int_equal(err.text[err.len - 1], '\n');
    error_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error__empty_has_empty_text),
        cmocka_unit_test(test_error__gathers_lines),
        cmocka_unit_test(test_error__a_flood_is_cut_and_counted),
        cmocka_unit_test(
            test_error__after_the_first_drop_short_lines_are_dropped),
        cmocka_unit_test(test_error__a_line_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
