/*
 * The promises of log: every line written before log_close is in its file or
 * counted, in the order of its thread; traffic cannot forge lines; files can
 * be switched and opened again; without a log there is standard error.
 */
#include "base/log.c"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

static char test_dir[] = "/tmp/test_log.XXXXXX";
static char test_text[8 * 1024 * 1024];

struct paths {
    char error[64];
    char access[64];
    char other[64];
};

static struct paths test_paths;

static int test_group_setup(void **state)
{
    (void)state;
    if (mkdtemp(test_dir) == NULL) {
        return -1;
    }
    struct paths *p = &test_paths;
    snprintf(p->error, sizeof p->error, "%s/error", test_dir);
    snprintf(p->access, sizeof p->access, "%s/access", test_dir);
    snprintf(p->other, sizeof p->other, "%s/other", test_dir);
    return 0;
}

static int test_teardown(void **state)
{
    (void)state;
    log_close();
    unlink(test_paths.error);
    unlink(test_paths.access);
    unlink(test_paths.other);
    return 0;
}

static int test_group_teardown(void **state)
{
    (void)state;
    return rmdir(test_dir);
}

static void test_open(enum log_level level)
{
    struct error err = {0};
    assert_true(log_open(test_paths.error, test_paths.access, level, &err));
    assert_int_equal(err.n_problems, 0);
}

static const char *test_read(const char *path)
{
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    const size_t n = fread(test_text, 1, sizeof test_text - 1, in);
    test_text[n] = '\0';
    fclose(in);
    return test_text;
}

static void test_log__time_is_rfc_3339(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.789Z"},
        {951782399, "2000-02-28T23:59:59.789Z"},
        {951782400, "2000-02-29T00:00:00.789Z"},
        {951868800, "2000-03-01T00:00:00.789Z"},
        {1704067199, "2023-12-31T23:59:59.789Z"},
        {1709210096, "2024-02-29T12:34:56.789Z"},
        {4107542400, "2100-03-01T00:00:00.789Z"},
        {4102444799, "2099-12-31T23:59:59.789Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[25];
        log_time(text, rows[i].seconds * 1000000 + 789012);
        assert_string_equal(text, rows[i].text);
    }
}

/* Day by day through two centuries, beside a calendar that counts up. */
static void test_log__each_day_follows_the_day_before(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {31, 28, 31, 30, 31, 30,
                                       31, 31, 30, 31, 30, 31};
    struct log_date want = {.year = 1970, .month = 1, .day = 1};
    for (uint64_t days = 0; want.year < 2170; days++) {
        const struct log_date got = log_date_from_days(days);
        assert_int_equal(got.year, want.year);
        assert_int_equal(got.month, want.month);
        assert_int_equal(got.day, want.day);
        const bool is_leap = want.year % 4 == 0 &&
                             (want.year % 100 != 0 || want.year % 400 == 0);
        uint64_t len = lengths[want.month - 1];
        if (want.month == 2 && is_leap) {
            len++;
        }
        want.day++;
        if (want.day > len) {
            want.day = 1;
            want.month++;
        }
        if (want.month > 12) {
            want.month = 1;
            want.year++;
        }
    }
}

static void test_log__lines_go_to_their_file_in_order(void **state)
{
    (void)state;
    test_open(LOG_INFO);
    assert_true(log_is_access_on());
    struct log_ring *ring = log_ring_new();
    log_write(ring, LOG_TO_ACCESS, STR("{\"n\":1}"));
    log_write(ring, LOG_TO_ERROR, STR("first"));
    log_write(ring, LOG_TO_ACCESS, STR("{\"n\":2}"));
    log_write(ring, LOG_TO_ERROR, STR("second"));
    log_close();
    assert_string_equal(test_read(test_paths.access), "{\"n\":1}\n{\"n\":2}\n");
    assert_string_equal(test_read(test_paths.error), "first\nsecond\n");
    assert_false(log_is_access_on());
}

static void test_log__a_thread_without_ring_is_served_too(void **state)
{
    (void)state;
    test_open(LOG_INFO);
    log_text(LOG_WARN, "upstream %s: %d endpoints", "chat", 0);
    log_close();
    const char *text = test_read(test_paths.error);
    assert_string_equal(text + 24, " warn main: upstream chat: 0 endpoints\n");
    assert_int_equal(text[10], 'T');
    assert_int_equal(text[23], 'Z');
}

static void test_post_text(struct loop *loop, void *arg)
{
    log_text(LOG_INFO, "%s", (const char *)arg);
    assert_true(log_ring_len(loop->log) > 0 ||
                atomic_load(&loop->log->tail) > 0);
}

static void test_log__text_names_the_loop_and_uses_its_ring(void **state)
{
    (void)state;
    static char hello[] = "hello";
    test_open(LOG_INFO);
    struct loop *loop = loop_new("worker-7", 7);
    loop->log = log_ring_new();
    loop_post(loop, test_post_text, hello);
    loop_run_once(loop, 1000);
    loop_free(loop);
    log_close();
    assert_non_null(
        strstr(test_read(test_paths.error), " info worker-7: hello\n"));
}

static void test_log__levels_below_are_left_out(void **state)
{
    (void)state;
    test_open(LOG_WARN);
    assert_int_equal(log_level_get(), LOG_WARN);
    log_text(LOG_ERROR, "e");
    log_text(LOG_WARN, "w");
    log_text(LOG_INFO, "i");
    log_text(LOG_DEBUG, "d");
    log_close();
    const char *text = test_read(test_paths.error);
    assert_non_null(strstr(text, " error main: e\n"));
    assert_non_null(strstr(text, " warn main: w\n"));
    assert_null(strstr(text, "main: i\n"));
    assert_null(strstr(text, "main: d\n"));
}

static void test_log__control_bytes_cannot_forge_lines(void **state)
{
    (void)state;
    test_open(LOG_INFO);
    log_text(LOG_INFO, "path /a\n2026-01-01 error: \x1b[2J\x7f\t\xc3\xa4\n");
    log_close();
    assert_non_null(
        strstr(test_read(test_paths.error),
               "path /a\\x0a2026-01-01 error: \\x1b[2J\\x7f\\x09\xc3\xa4\n"));
}

static void test_log__a_long_text_is_cut(void **state)
{
    (void)state;
    test_open(LOG_INFO);
    log_text(LOG_INFO, "%09000d", 1);
    log_text(LOG_INFO, "next");
    log_close();
    const char *text = test_read(test_paths.error);
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_true(end - text <= LOG_LINE_BYTES_MAX);
    assert_non_null(strstr(end, "next\n"));
}

static void test_log__off_writes_nothing(void **state)
{
    (void)state;
    struct error err = {0};
    const uint64_t before = log_n_dropped(LOG_TO_ACCESS);
    assert_true(log_open(test_paths.error, "off", LOG_INFO, &err));
    assert_false(log_is_access_on());
    log_write(NULL, LOG_TO_ACCESS, STR("gone"));
    log_close();
    assert_int_equal(log_n_dropped(LOG_TO_ACCESS), before);
    assert_int_equal(access(test_paths.access, F_OK), -1);
}

static void test_log__a_bad_path_is_told_and_changes_nothing(void **state)
{
    (void)state;
    struct error err = {0};
    test_open(LOG_INFO);
    assert_false(
        log_open("/nowhere/at/all", test_paths.other, LOG_DEBUG, &err));
    assert_int_equal(err.n_problems, 1);
    assert_int_equal(log_level_get(), LOG_INFO);
    log_text(LOG_INFO, "still here");
    log_close();
    assert_non_null(strstr(test_read(test_paths.error), "still here\n"));
    error_fini(&err);
}

/* Until the writer has taken over what log_open has offered. */
static void test_wait_for_switch(void)
{
    bool is_taken = false;
    while (!is_taken) {
        pthread_mutex_lock(&log_process.next_lock);
        is_taken = log_process.next[LOG_TO_ACCESS] == NULL;
        pthread_mutex_unlock(&log_process.next_lock);
        sched_yield();
    }
}

static void test_log__opening_again_switches_files(void **state)
{
    (void)state;
    struct error err = {0};
    test_open(LOG_INFO);
    log_write(NULL, LOG_TO_ACCESS, STR("one"));
    assert_true(log_open(test_paths.error, test_paths.other, LOG_DEBUG, &err));
    assert_int_equal(log_level_get(), LOG_DEBUG);
    test_wait_for_switch();
    log_write(NULL, LOG_TO_ACCESS, STR("two"));
    log_close();
    assert_string_equal(test_read(test_paths.access), "one\n");
    assert_string_equal(test_read(test_paths.other), "two\n");
}

static void test_log__closing_takes_what_was_offered_last(void **state)
{
    (void)state;
    struct error err = {0};
    test_open(LOG_INFO);
    assert_true(log_open(test_paths.error, test_paths.other, LOG_INFO, &err));
    assert_true(log_open(test_paths.error, test_paths.access, LOG_INFO, &err));
    log_write(NULL, LOG_TO_ERROR, STR("last"));
    log_close();
    assert_null(log_process.next[LOG_TO_ACCESS]);
    assert_string_equal(test_read(test_paths.error), "last\n");
}

static void test_log__a_file_that_is_not_given_stays(void **state)
{
    (void)state;
    struct error err = {0};
    test_open(LOG_INFO);
    struct log_file *files[LOG_N_TARGETS] = {
        [LOG_TO_ACCESS] = log_file_new(LOG_TO_ACCESS, test_paths.other, &err),
    };
    assert_true(log_use(files, LOG_INFO, &err));
    test_wait_for_switch();
    log_write(NULL, LOG_TO_ERROR, STR("same"));
    log_write(NULL, LOG_TO_ACCESS, STR("moved"));
    files[LOG_TO_ACCESS] = NULL;
    assert_true(log_use(files, LOG_DEBUG, &err));
    assert_int_equal(log_level_get(), LOG_DEBUG);
    assert_true(log_is_access_on());
    log_close();
    assert_string_equal(test_read(test_paths.error), "same\n");
    assert_string_equal(test_read(test_paths.other), "moved\n");
}

static void test_log__the_same_path_is_opened_anew(void **state)
{
    (void)state;
    struct error err = {0};
    struct stat st;
    test_open(LOG_INFO);
    log_write(NULL, LOG_TO_ACCESS, STR("before"));
    /* The writer has taken the line when it has written it. */
    while (stat(test_paths.access, &st) != 0 || st.st_size == 0) {
        sched_yield();
    }
    assert_int_equal(rename(test_paths.access, test_paths.other), 0);
    assert_true(log_open(test_paths.error, test_paths.access, LOG_INFO, &err));
    test_wait_for_switch();
    log_write(NULL, LOG_TO_ACCESS, STR("after"));
    log_close();
    assert_string_equal(test_read(test_paths.other), "before\n");
    assert_string_equal(test_read(test_paths.access), "after\n");
}

static void test_log__a_full_disk_costs_lines_only(void **state)
{
    (void)state;
    struct error err = {0};
    const uint64_t before = log_n_dropped(LOG_TO_ACCESS);
    assert_true(log_open(test_paths.error, "/dev/full", LOG_INFO, &err));
    for (int i = 0; i < 10; i++) {
        log_write(NULL, LOG_TO_ACCESS, STR("lost"));
        log_write(NULL, LOG_TO_ERROR, STR("kept"));
    }
    log_close();
    assert_int_equal(log_n_dropped(LOG_TO_ACCESS), before + 10);
    assert_int_equal(strlen(test_read(test_paths.error)), 10 * 5);
}

/* Standard error is a file while `line` is written without a log. */
static void test_log__unopened_goes_to_standard_error(void **state)
{
    (void)state;
    const uint64_t before = log_n_dropped(LOG_TO_ACCESS);
    const int saved = dup(STDERR_FILENO);
    const int fd = open(test_paths.other, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(saved >= 0 && fd >= 0);
    dup2(fd, STDERR_FILENO);
    log_text(LOG_ERROR, "no log yet");
    log_write(NULL, LOG_TO_ACCESS, STR("nowhere to go"));
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    assert_non_null(
        strstr(test_read(test_paths.other), "error main: no log yet\n"));
    assert_int_equal(log_n_dropped(LOG_TO_ACCESS), before + 1);
}

enum { N_THREADS = 4, N_LINES = 20000 };

static void *test_writer_main(void *arg)
{
    const unsigned *index = arg;
    struct log_ring *ring = *index == 0 ? NULL : log_ring_new();
    for (unsigned i = 0; i < N_LINES; i++) {
        char line[64];
        const int n = snprintf(line, sizeof line, "%u %u", *index, i);
        log_write(ring, LOG_TO_ACCESS, str_make(line, (size_t)n));
    }
    return NULL;
}

static void test_log__many_threads_lose_nothing_uncounted(void **state)
{
    (void)state;
    pthread_t threads[N_THREADS];
    unsigned indexes[N_THREADS];
    unsigned n_lines = 0;
    int64_t last[N_THREADS];
    const uint64_t before = log_n_dropped(LOG_TO_ACCESS);
    test_open(LOG_INFO);
    for (unsigned i = 0; i < N_THREADS; i++) {
        indexes[i] = i;
        last[i] = -1;
        pthread_create(&threads[i], NULL, test_writer_main, &indexes[i]);
    }
    for (unsigned i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    log_close();
    const char *p = test_read(test_paths.access);
    while (*p != '\0') {
        char *end = NULL;
        const unsigned long thread = strtoul(p, &end, 10);
        const long number = strtol(end, &end, 10);
        assert_true(thread < N_THREADS);
        assert_true(number > last[thread]);
        assert_int_equal(*end, '\n');
        last[thread] = number;
        n_lines++;
        p = end + 1;
    }
    assert_int_equal(n_lines + (log_n_dropped(LOG_TO_ACCESS) - before),
                     N_THREADS * N_LINES);
}

#define TEST(fn) cmocka_unit_test_teardown(fn, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_log__time_is_rfc_3339),
        TEST(test_log__each_day_follows_the_day_before),
        TEST(test_log__lines_go_to_their_file_in_order),
        TEST(test_log__a_thread_without_ring_is_served_too),
        TEST(test_log__text_names_the_loop_and_uses_its_ring),
        TEST(test_log__levels_below_are_left_out),
        TEST(test_log__control_bytes_cannot_forge_lines),
        TEST(test_log__a_long_text_is_cut),
        TEST(test_log__off_writes_nothing),
        TEST(test_log__a_bad_path_is_told_and_changes_nothing),
        TEST(test_log__opening_again_switches_files),
        TEST(test_log__closing_takes_what_was_offered_last),
        TEST(test_log__a_file_that_is_not_given_stays),
        TEST(test_log__the_same_path_is_opened_anew),
        TEST(test_log__a_full_disk_costs_lines_only),
        TEST(test_log__unopened_goes_to_standard_error),
        TEST(test_log__many_threads_lose_nothing_uncounted),
    };
    return cmocka_run_group_tests(tests, test_group_setup, test_group_teardown);
}
