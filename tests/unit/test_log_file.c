/*
 * The promises of log_file: lines arrive whole, and a file that does not take
 * them costs only those lines, which are counted.
 */
#include "base/log_file.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

static char test_dir[] = "/tmp/test_log_file.XXXXXX";

static const char *test_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", test_dir, name);
    return path;
}

static int test_group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(test_dir) == NULL ? -1 : 0;
}

static int test_group_teardown(void **state)
{
    static const char *const names[] = {"a", "b", "fifo", "moved", "cut"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unlink(test_path(names[i]));
    }
    return rmdir(test_dir);
}

/* What a file holds, as text that is good until the next call. */
static const char *test_read(const char *name)
{
    static char text[4096];
    FILE *in = fopen(test_path(name), "r");
    assert_non_null(in);
    const size_t n = fread(text, 1, sizeof text - 1, in);
    text[n] = '\0';
    fclose(in);
    return text;
}

static struct log_file *test_open(const char *name)
{
    struct error err = {0};
    struct log_file *f = log_file_new(LOG_TO_ERROR, test_path(name), &err);
    assert_non_null(f);
    assert_string_equal(error_text(&err), "");
    return f;
}

static void test_log_file__lines_arrive_at_the_flush(void **state)
{
    (void)state;
    struct log_file *f = test_open("a");
    log_file_add(f, STR("one"));
    log_file_add(f, STR_NONE);
    log_file_add(f, STR("three"));
    assert_string_equal(test_read("a"), "");
    log_file_flush(f);
    log_file_flush(f);
    assert_string_equal(test_read("a"), "one\n\nthree\n");
    log_file_free(f);
    f = test_open("a");
    log_file_add(f, STR("appended"));
    log_file_flush(f);
    assert_string_equal(test_read("a"), "one\n\nthree\nappended\n");
    log_file_free(f);
    log_file_free(NULL);
}

static void test_log_file__a_full_block_is_written_by_itself(void **state)
{
    (void)state;
    struct stat st;
    static char wide[1000];
    memset(wide, 'w', sizeof wide);
    struct log_file *f = test_open("b");
    for (int i = 0; i < 600; i++) {
        log_file_add(f, str_make(wide, sizeof wide));
    }
    log_file_flush(f);
    assert_int_equal(fstat(f->fd, &st), 0);
    assert_int_equal(st.st_size, 600 * 1001);
    log_file_free(f);
}

static void test_log_file__a_path_that_cannot_be_opened_is_told(void **state)
{
    (void)state;
    struct error err = {0};
    assert_null(log_file_new(LOG_TO_ERROR, test_path("no/such"), &err));
    assert_non_null(strstr(error_text(&err), "no/such: cannot be opened"));
    error_fini(&err);
}

static void test_log_file__off_takes_lines_and_counts_none(void **state)
{
    (void)state;
    struct log_file *f = log_file_new(LOG_TO_ACCESS, "off", NULL);
    log_file_add(f, STR("gone"));
    log_file_flush(f);
    assert_int_equal(f->n_lost, 0);
    assert_int_equal(f->len, 0);
    log_file_free(f);
}

static void test_log_file__dash_is_the_standard_stream(void **state)
{
    (void)state;
    struct log_file *f = log_file_new(LOG_TO_ACCESS, "-", NULL);
    assert_int_equal(f->fd, STDOUT_FILENO);
    log_file_free(f);
    f = log_file_new(LOG_TO_ERROR, "-", NULL);
    assert_int_equal(f->fd, STDERR_FILENO);
    log_file_free(f);
    assert_true(fcntl(STDERR_FILENO, F_GETFD) >= 0);
}

static void test_log_file__a_full_disk_costs_and_counts_the_lines(void **state)
{
    (void)state;
    struct error err = {0};
    struct log_file *f = log_file_new(LOG_TO_ERROR, "/dev/full", &err);
    assert_non_null(f);
    for (uint64_t i = 1; i <= 3; i++) {
        log_file_add(f, STR("a"));
        log_file_add(f, STR("b"));
        log_file_flush(f);
        assert_int_equal(f->n_lost, 2 * i);
        assert_int_equal(f->len, 0);
    }
    log_file_free(f);
}

/* The disk is full after a few bytes and has room again later. */
static void test_log_file__a_cut_line_does_not_swallow_the_next(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit low = before;
    struct log_file *f = test_open("cut");
    low.rlim_cur = 7;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    log_file_add(f, STR("one"));
    log_file_add(f, STR("two-is-cut"));
    log_file_add(f, STR("three"));
    log_file_flush(f);
    assert_int_equal(f->n_lost, 2);
    log_file_add(f, STR("four"));
    log_file_flush(f);
    assert_int_equal(f->n_lost, 3);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    log_file_add(f, STR("five"));
    log_file_flush(f);
    assert_int_equal(f->n_lost, 3);
    assert_string_equal(test_read("cut"), "one\ntwo\nfive\n");
    log_file_free(f);
}

static void test_log_file__a_pipe_without_reader_is_an_error(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(mkfifo(test_path("fifo"), 0600), 0);
    assert_null(log_file_new(LOG_TO_ERROR, test_path("fifo"), &err));
    error_fini(&err);
}

static void test_log_file__a_reader_who_stops_or_goes_costs_lines(void **state)
{
    (void)state;
    static char wide[4000];
    memset(wide, 'w', sizeof wide);
    const int reader = open(test_path("fifo"), O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    struct log_file *f = test_open("fifo");
    for (int i = 0; i < 200; i++) {
        log_file_add(f, str_make(wide, sizeof wide));
    }
    log_file_flush(f);
    assert_true(f->is_stalled);
    assert_true(f->n_lost > 100 && f->n_lost < 200);
    while (read(reader, wide, sizeof wide) > 0) {
    }
    const uint64_t n_lost = f->n_lost;
    log_file_add(f, STR("again"));
    log_file_flush(f);
    assert_false(f->is_stalled);
    assert_int_equal(f->n_lost, n_lost);
    close(reader);
    log_file_add(f, STR("nobody reads"));
    log_file_flush(f);
    assert_int_equal(f->n_lost, n_lost + 1);
    log_file_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_file__lines_arrive_at_the_flush),
        cmocka_unit_test(test_log_file__a_full_block_is_written_by_itself),
        cmocka_unit_test(test_log_file__a_path_that_cannot_be_opened_is_told),
        cmocka_unit_test(test_log_file__off_takes_lines_and_counts_none),
        cmocka_unit_test(test_log_file__dash_is_the_standard_stream),
        cmocka_unit_test(test_log_file__a_full_disk_costs_and_counts_the_lines),
        cmocka_unit_test(test_log_file__a_cut_line_does_not_swallow_the_next),
        cmocka_unit_test(test_log_file__a_pipe_without_reader_is_an_error),
        cmocka_unit_test(test_log_file__a_reader_who_stops_or_goes_costs_lines),
    };
    return cmocka_run_group_tests(tests, test_group_setup, test_group_teardown);
}
