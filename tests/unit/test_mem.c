/*
 * The promises of mem: memory or the end of the process, never NULL.
 */
#include "base/mem.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

static void test_mem__new_is_zeroed(void **state)
{
    (void)state;
    char *p = mem_new(4096);
    for (size_t i = 0; i < 4096; i++) {
        assert_int_equal(p[i], 0);
    }
    mem_free(p);
    mem_free(NULL);
}

static void test_mem__a_size_of_zero_is_memory_too(void **state)
{
    (void)state;
    void *a = mem_new(0);
    void *b = mem_new_raw(0);
    void *c = mem_new_array(0, 8);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    a = mem_resize(a, 0);
    assert_non_null(a);
    mem_free(a);
    mem_free(b);
    mem_free(c);
}

static void test_mem__resize_keeps_the_bytes(void **state)
{
    (void)state;
    char *p = mem_copy_text("hello", 5);
    p = mem_resize(p, 100000);
    assert_string_equal(p, "hello");
    mem_free(p);
}

static void test_mem__lines_begin_cache_lines(void **state)
{
    (void)state;
    for (size_t n = 0; n < 4; n++) {
        unsigned char *p = mem_new_lines(n, MEM_LINE_BYTES);
        assert_int_equal((uintptr_t)p % MEM_LINE_BYTES, 0);
        for (size_t i = 0; i < n * MEM_LINE_BYTES; i++) {
            assert_int_equal(p[i], 0);
        }
        mem_free(p);
    }
}

static void test_mem__a_copy_ends_in_nul(void **state)
{
    (void)state;
    char *p = mem_copy_text("hello", 2);
    assert_string_equal(p, "he");
    mem_free(p);
    p = mem_copy_text(NULL, 0);
    assert_string_equal(p, "");
    mem_free(p);
}

static void test_mem__an_array_that_overflows_ends_the_process(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        volatile size_t n = SIZE_MAX / 2;
        mem_free(mem_new_array(n, 3));
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    /* By SIGABRT, or by the exit of a sanitizer that found it first. */
    assert_int_not_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem__new_is_zeroed),
        cmocka_unit_test(test_mem__a_size_of_zero_is_memory_too),
        cmocka_unit_test(test_mem__resize_keeps_the_bytes),
        cmocka_unit_test(test_mem__lines_begin_cache_lines),
        cmocka_unit_test(test_mem__a_copy_ends_in_nul),
        cmocka_unit_test(test_mem__an_array_that_overflows_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
