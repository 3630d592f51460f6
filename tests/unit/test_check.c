/*
 * The promises of check: a condition that fails ends the process by SIGABRT
 * and says what, where and while doing what; one that holds does nothing.
 */
#include "base/check.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static void test_check__a_true_condition_is_evaluated_once(void **state)
{
    (void)state;
    int n = 0;
    CHECK(++n == 1);
    assert_int_equal(n, 1);
}

static void test_check__a_false_condition_tells_and_aborts(void **state)
{
    (void)state;
    char text[8192];
    size_t len = 0;
    ssize_t n = 0;
    int status = 0;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        check_context_set("route chat");
        CHECK(1 + 1 == 3);
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], text + len, sizeof text - 1 - len)) > 0) {
        len += (size_t)n;
    }
    text[len] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "check failed: 1 + 1 == 3\n"));
    assert_non_null(strstr(text, "test_check.c:"));
    assert_non_null(strstr(text, "thread: none\n"));
    assert_non_null(strstr(text, "working on: route chat\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check__a_true_condition_is_evaluated_once),
        cmocka_unit_test(test_check__a_false_condition_tells_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
