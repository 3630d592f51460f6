/*
 * The promises of log_ring: lines come out whole and in order, also around the
 * end of the ring and while another thread puts; a full ring takes no more.
 */
#include "base/log_ring.c"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct log_ring test_ring;

static int test_setup(void **state)
{
    (void)state;
    log_ring_init(&test_ring);
    return 0;
}

static int test_teardown(void **state)
{
    (void)state;
    log_ring_fini(&test_ring);
    return 0;
}

static void test_log_ring__empty_has_no_line(void **state)
{
    (void)state;
    enum log_target target;
    struct str line;
    assert_int_equal(log_ring_len(&test_ring), 0);
    assert_false(log_ring_peek(&test_ring, &target, &line));
}

static void test_log_ring__gives_back_what_was_put(void **state)
{
    (void)state;
    enum log_target target;
    struct str line;
    assert_true(log_ring_put(&test_ring, LOG_TO_ERROR, STR("first")));
    assert_true(log_ring_put(&test_ring, LOG_TO_ACCESS, STR_NONE));
    assert_true(log_ring_peek(&test_ring, &target, &line));
    assert_int_equal(target, LOG_TO_ERROR);
    assert_true(str_eq(line, STR("first")));
    const size_t before = log_ring_len(&test_ring);
    const size_t dropped = log_ring_drop(&test_ring);
    assert_int_equal(log_ring_len(&test_ring), before - dropped);
    assert_true(log_ring_peek(&test_ring, &target, &line));
    assert_int_equal(target, LOG_TO_ACCESS);
    assert_int_equal(line.len, 0);
    log_ring_drop(&test_ring);
    assert_int_equal(log_ring_len(&test_ring), 0);
}

static void test_log_ring__a_long_line_is_cut(void **state)
{
    (void)state;
    static char wide[LOG_LINE_BYTES_MAX + 9];
    enum log_target target;
    struct str line;
    memset(wide, 'w', sizeof wide);
    assert_true(
        log_ring_put(&test_ring, LOG_TO_ERROR, str_make(wide, sizeof wide)));
    assert_true(log_ring_peek(&test_ring, &target, &line));
    assert_int_equal(line.len, LOG_LINE_BYTES_MAX);
}

static void test_log_ring__a_full_ring_refuses_until_there_is_room(void **state)
{
    (void)state;
    static char wide[992];
    size_t n = 0;
    memset(wide, 'w', sizeof wide);
    const struct str line = str_make(wide, sizeof wide);
    assert_true(log_ring_put(&test_ring, LOG_TO_ERROR, str_sub(line, 0, 792)));
    while (log_ring_put(&test_ring, LOG_TO_ERROR, line)) {
        n++;
        assert_true(n < LOG_RING_BYTES / sizeof wide);
    }
    assert_true(n > LOG_RING_BYTES / (sizeof wide + 32));
    /* The 504 bytes left before the end are too short and cost room too. */
    log_ring_drop(&test_ring);
    assert_false(log_ring_put(&test_ring, LOG_TO_ERROR, line));
    log_ring_drop(&test_ring);
    assert_true(log_ring_put(&test_ring, LOG_TO_ERROR, line));
    assert_false(log_ring_put(&test_ring, LOG_TO_ERROR, line));
    assert_true(log_ring_len(&test_ring) <= LOG_RING_BYTES);
}

static void test_log_ring__the_last_byte_can_be_used(void **state)
{
    (void)state;
    enum { RECORD_BYTES = sizeof(struct log_record) + 8 };
    for (size_t i = 0; i < LOG_RING_BYTES / RECORD_BYTES; i++) {
        assert_true(log_ring_put(&test_ring, LOG_TO_ERROR, STR("8 bytes.")));
    }
    assert_int_equal(log_ring_len(&test_ring), LOG_RING_BYTES);
    assert_false(log_ring_put(&test_ring, LOG_TO_ERROR, STR_NONE));
}

/* The text of line number i: a length that varies, and bytes that tell. */
static struct str test_line(char dst[static 4096], unsigned i)
{
    const int n = snprintf(dst, 4096, "%u:", i);
    const size_t len = (size_t)n + i * 37 % 701;
    memset(dst + n, 'a' + (int)(i % 26), len - (size_t)n);
    return str_make(dst, len);
}

enum { N_LINES = 60000 };

static void *test_producer_main(void *arg)
{
    char text[4096];
    (void)arg;
    for (unsigned i = 0; i < N_LINES;) {
        if (log_ring_put(&test_ring, (enum log_target)(i % LOG_N_TARGETS),
                         test_line(text, i))) {
            i++;
        }
    }
    return NULL;
}

static void test_log_ring__two_threads_many_times_around(void **state)
{
    (void)state;
    pthread_t thread;
    char text[4096];
    unsigned i = 0;
    assert_int_equal(pthread_create(&thread, NULL, test_producer_main, NULL),
                     0);
    while (i < N_LINES) {
        enum log_target target;
        struct str line;
        if (!log_ring_peek(&test_ring, &target, &line)) {
            continue;
        }
        assert_int_equal(target, i % LOG_N_TARGETS);
        assert_true(str_eq(line, test_line(text, i)));
        log_ring_drop(&test_ring);
        i++;
    }
    pthread_join(thread, NULL);
    assert_int_equal(log_ring_len(&test_ring), 0);
    assert_true(test_ring.tail > 4 * (size_t)LOG_RING_BYTES);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, test_setup, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_log_ring__empty_has_no_line),
        TEST(test_log_ring__gives_back_what_was_put),
        TEST(test_log_ring__a_long_line_is_cut),
        TEST(test_log_ring__a_full_ring_refuses_until_there_is_room),
        TEST(test_log_ring__the_last_byte_can_be_used),
        TEST(test_log_ring__two_threads_many_times_around),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
