/*
 * The promises of loop: messages from other threads in order, a clock that is
 * fresh when events are handled, timers, and an end of the turn that may queue
 * more or free what it runs. Threads meet by messages and joins.
 */
#include "base/loop.c"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/timerfd.h>

#include <cmocka.h>

enum { LONG_MS = 20000 };

/* Notes what happened, in order. */
static char test_trace[64];
static size_t test_trace_len;

static void test_note(char what)
{
    assert_true(test_trace_len < sizeof test_trace - 1);
    test_trace[test_trace_len++] = what;
    test_trace[test_trace_len] = '\0';
}

static int test_setup(void **state)
{
    test_trace_len = 0;
    test_trace[0] = '\0';
    *state = loop_new("test", 3);
    return 0;
}

static int test_teardown(void **state)
{
    loop_free(*state);
    return 0;
}

static void test_loop__new_is_ready(void **state)
{
    const struct loop *loop = *state;
    assert_true(loop->now_ms > 0);
    assert_true(loop->wall_us > UINT64_C(1600000000000000));
    assert_int_equal(loop->index, 3);
    assert_string_equal(loop->name, "test");
    assert_null(loop_current());
    loop_free(NULL);
}

static void test_post_note(struct loop *loop, void *arg)
{
    assert_ptr_equal(loop_current(), loop);
    test_note(*(const char *)arg);
}

static void test_loop__messages_run_in_order_and_each_once(void **state)
{
    static char names[] = "abc";
    struct loop *loop = *state;
    for (size_t i = 0; i < 3; i++) {
        loop_post(loop, test_post_note, &names[i]);
    }
    assert_string_equal(test_trace, "");
    loop_run_once(loop, LONG_MS);
    assert_string_equal(test_trace, "abc");
    loop_run_once(loop, 0);
    assert_string_equal(test_trace, "abc");
}

static void test_post_again(struct loop *loop, void *arg)
{
    test_note('1');
    loop_post(loop, test_post_note, arg);
}

static void test_loop__a_message_posted_by_a_message_waits_a_turn(void **state)
{
    static char name = '2';
    struct loop *loop = *state;
    loop_post(loop, test_post_again, &name);
    loop_run_once(loop, LONG_MS);
    assert_string_equal(test_trace, "1");
    loop_run_once(loop, LONG_MS);
    assert_string_equal(test_trace, "12");
}

struct poster {
    pthread_t thread;
    struct loop *loop;
    unsigned n_posted;
    unsigned n_run; /* by the loop */
};

struct numbered {
    struct poster *from;
    unsigned number;
};

enum { N_POSTERS = 4, N_POSTS = 3000 };

static unsigned test_n_done;

static void test_post_count(struct loop *loop, void *arg)
{
    struct numbered *m = arg;
    assert_int_equal(m->number, m->from->n_run);
    m->from->n_run++;
    mem_free(m);
    test_n_done++;
    if (test_n_done == N_POSTERS * N_POSTS) {
        loop_stop(loop);
    }
}

static void *test_poster_main(void *arg)
{
    struct poster *p = arg;
    while (p->n_posted < N_POSTS) {
        struct numbered *m = mem_new(sizeof *m);
        m->from = p;
        m->number = p->n_posted++;
        loop_post(p->loop, test_post_count, m);
    }
    return NULL;
}

static void test_loop__many_threads_may_post(void **state)
{
    struct loop *loop = *state;
    struct poster posters[N_POSTERS] = {0};
    test_n_done = 0;
    for (size_t i = 0; i < N_POSTERS; i++) {
        posters[i].loop = loop;
        assert_int_equal(pthread_create(&posters[i].thread, NULL,
                                        test_poster_main, &posters[i]),
                         0);
    }
    loop_run(loop);
    for (size_t i = 0; i < N_POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(posters[i].n_run, N_POSTS);
    }
}

static void *test_runner_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void test_loop__stop_ends_a_loop_that_waits(void **state)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, test_runner_main, *state),
                     0);
    loop_stop(*state);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_loop__free_runs_what_was_posted(void **state)
{
    static char name = 'p';
    struct loop *loop = *state;
    loop_post(loop, test_post_again, &name);
    loop_free(loop);
    *state = NULL;
    assert_string_equal(test_trace, "1p");
}

struct job {
    struct deferred deferred;
    struct loop *loop;
    struct job *then;
    char name;
    bool is_freed;
};

static void test_job_run(struct deferred *d)
{
    struct job *job = CONTAINER_OF(d, struct job, deferred);
    test_note(job->name);
    assert_false(loop_is_deferred(d));
    if (job->then != NULL) {
        loop_defer(job->loop, &job->then->deferred);
    }
    if (job->is_freed) {
        mem_free(job);
    }
}

static struct job *test_job_new(struct loop *loop, char name)
{
    struct job *job = mem_new(sizeof *job);
    job->deferred.fn = test_job_run;
    job->loop = loop;
    job->name = name;
    job->is_freed = true;
    return job;
}

static void test_loop__turn_end_runs_until_empty(void **state)
{
    struct loop *loop = *state;
    struct job *a = test_job_new(loop, 'a');
    struct job *b = test_job_new(loop, 'b');
    struct job *c = test_job_new(loop, 'c');
    a->then = c;
    loop_defer(loop, &a->deferred);
    loop_defer(loop, &b->deferred);
    loop_defer(loop, &a->deferred);
    assert_true(loop_is_deferred(&a->deferred));
    const uint64_t begin_us = loop_clock_us();
    loop_run_once(loop, LONG_MS);
    assert_true(loop_clock_us() - begin_us < LONG_MS * 1000 / 2);
    assert_string_equal(test_trace, "abc");
}

static void test_loop__a_cancelled_job_does_not_run(void **state)
{
    struct loop *loop = *state;
    struct job *a = test_job_new(loop, 'a');
    loop_defer(loop, &a->deferred);
    loop_defer_cancel(&a->deferred);
    loop_defer_cancel(&a->deferred);
    loop_run_once(loop, 0);
    assert_string_equal(test_trace, "");
    mem_free(a);
}

static void test_loop__free_runs_the_end_of_the_turn(void **state)
{
    struct loop *loop = *state;
    struct job *a = test_job_new(loop, 'a');
    a->then = test_job_new(loop, 'b');
    loop_defer(loop, &a->deferred);
    loop_free(loop);
    *state = NULL;
    assert_string_equal(test_trace, "ab");
}

struct alarm {
    struct timer timer;
    struct loop *loop;
    uint64_t fired_ms;
};

static void test_alarm_on_timer(struct timer *t)
{
    struct alarm *alarm = CONTAINER_OF(t, struct alarm, timer);
    alarm->fired_ms = alarm->loop->now_ms;
    test_note('t');
}

static void test_loop__timers_end_the_wait(void **state)
{
    struct loop *loop = *state;
    struct alarm alarm = {.loop = loop};
    timer_init(&alarm.timer, test_alarm_on_timer);
    loop_update_clock(loop);
    const uint64_t begin_ms = loop->now_ms;
    loop_arm(loop, &alarm.timer, 15);
    while (alarm.fired_ms == 0) {
        loop_run_once(loop, LONG_MS);
    }
    assert_true(alarm.fired_ms >= begin_ms + 15);
    assert_true(alarm.fired_ms < begin_ms + LONG_MS / 2);
    loop_arm(loop, &alarm.timer, 1);
    loop_disarm(loop, &alarm.timer);
    loop_arm(loop, &alarm.timer, UINT64_MAX);
    loop_run_once(loop, 10);
    assert_string_equal(test_trace, "t");
    loop_disarm(loop, &alarm.timer);
}

static void test_loop__waits_no_longer_than_told(void **state)
{
    struct loop *loop = *state;
    const uint64_t begin_us = loop_clock_us();
    loop_run_once(loop, 12);
    const uint64_t took_us = loop_clock_us() - begin_us;
    assert_true(took_us >= 12000);
    assert_true(took_us < LONG_MS * 1000 / 2);
}

struct ticker {
    struct event event;
    struct loop *loop;
    uint64_t seen_us;
};

static void test_ticker_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct ticker *ticker = arg;
    uint64_t n = 0;
    assert_true(what & EV_READ);
    assert_int_equal(read(fd, &n, sizeof n), sizeof n);
    ticker->seen_us = ticker->loop->now_us;
    test_note('e');
}

static int test_ticker_open(struct ticker *ticker, long after_ms)
{
    const struct itimerspec when = {.it_value.tv_nsec = after_ms * 1000000};
    const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(timerfd_settime(fd, 0, &when, NULL), 0);
    assert_int_equal(event_assign(&ticker->event, ticker->loop->base, fd,
                                  EV_READ | EV_PERSIST | EV_ET,
                                  test_ticker_on_event, ticker),
                     0);
    assert_int_equal(event_add(&ticker->event, NULL), 0);
    return fd;
}

static void test_ticker_on_flood(evutil_socket_t fd, short what, void *arg)
{
    struct ticker *ticker = arg;
    (void)fd;
    (void)what;
    test_note('e');
    if (test_trace_len > 8) {
        event_del(&ticker->event); /* or a broken loop would never return */
    }
}

/* Level-triggered and never read: it is ready again at once. */
static void test_loop__a_turn_ends_though_events_keep_coming(void **state)
{
    struct ticker ticker = {.loop = *state};
    const int fd = test_ticker_open(&ticker, 1);
    event_del(&ticker.event);
    assert_int_equal(event_assign(&ticker.event, ticker.loop->base, fd,
                                  EV_READ | EV_PERSIST, test_ticker_on_flood,
                                  &ticker),
                     0);
    assert_int_equal(event_add(&ticker.event, NULL), 0);
    while (test_trace_len == 0) {
        loop_run_once(*state, LONG_MS);
    }
    assert_string_equal(test_trace, "e");
    event_del(&ticker.event);
    close(fd);
}

static void test_loop__the_clock_is_read_after_the_wait(void **state)
{
    struct ticker ticker = {.loop = *state};
    const uint64_t begin_us = loop_clock_us();
    const int fd = test_ticker_open(&ticker, 25);
    while (ticker.seen_us == 0) {
        loop_run_once(*state, LONG_MS);
    }
    assert_true(ticker.seen_us >= begin_us + 25000);
    event_del(&ticker.event);
    close(fd);
}

static void test_loop__the_parts_of_a_turn_keep_their_order(void **state)
{
    static char name = 'm';
    struct loop *loop = *state;
    struct ticker ticker = {.loop = loop};
    struct alarm alarm = {.loop = loop};
    struct job *job = test_job_new(loop, 'd');
    const int fd = test_ticker_open(&ticker, 1);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, LONG_MS), 1);
    timer_init(&alarm.timer, test_alarm_on_timer);
    timer_arm(&loop->wheel, &alarm.timer, 1);
    while (loop_clock_us() / 1000 < loop->now_ms + 2 * TIMER_TICK_MS) {
    }
    loop_defer(loop, &job->deferred);
    loop_post(loop, test_post_note, &name);
    loop_run_once(loop, LONG_MS);
    assert_string_equal(test_trace, "emtd");
    event_del(&ticker.event);
    close(fd);
}

static void test_loop__a_busy_turn_is_followed_by_one_without_wait(void **state)
{
    enum { N = 2 * LOOP_BUSY_EVENTS };
    struct loop *loop = *state;
    struct ticker tickers[N] = {0};
    int fds[N];
    for (size_t i = 0; i < N; i++) {
        tickers[i].loop = loop;
        fds[i] = test_ticker_open(&tickers[i], 1);
        struct pollfd ready = {.fd = fds[i], .events = POLLIN};
        assert_int_equal(poll(&ready, 1, LONG_MS), 1);
    }
    loop_run_turn(loop, LONG_MS);
    assert_int_equal(test_trace_len, N);
    assert_true(loop->is_busy);
    const uint64_t begin_us = loop_clock_us();
    loop_run_turn(loop, LONG_MS);
    assert_true(loop_clock_us() - begin_us < LONG_MS * 1000 / 2);
    assert_false(loop->is_busy);
    for (size_t i = 0; i < N; i++) {
        event_del(&tickers[i].event);
        close(fds[i]);
    }
}

static void test_loop__event_made_active_by_hand_is_not_waited_for(void **state)
{
    struct loop *loop = *state;
    const int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    struct ticker ticker = {.loop = loop};
    assert_int_equal(event_assign(&ticker.event, loop->base, fd, EV_READ,
                                  test_ticker_on_event, &ticker),
                     0);
    const uint64_t begin_us = loop_clock_us();
    event_active(&ticker.event, EV_READ, 1);
    loop_run_once(loop, LONG_MS);
    assert_string_equal(test_trace, "e");
    assert_true(loop_clock_us() - begin_us < LONG_MS * 1000 / 2);
    close(fd);
}

static void test_loop__each_loop_finds_its_own_epoll(void **state)
{
    const struct loop *a = *state;
    struct loop *b = loop_new("other", 0);
    assert_int_not_equal(a->poll_fd, b->poll_fd);
    static char name = 'b';
    loop_post(b, test_post_note, &name);
    struct pollfd ready = {.fd = a->poll_fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 0), 0);
    ready.fd = b->poll_fd;
    assert_int_equal(poll(&ready, 1, 0), 1);
    loop_run_once(b, 0);
    assert_string_equal(test_trace, "b");
    loop_free(b);
}

static void test_loop__random_numbers_differ(void **state)
{
    struct loop *a = *state;
    struct loop *b = loop_new("other", 0);
    uint64_t ones = 0;
    uint64_t zeros = 0;
    for (int i = 0; i < 200; i++) {
        const uint64_t x = loop_random(a);
        assert_true(x != loop_random(b));
        ones |= x;
        zeros |= ~x;
    }
    assert_true(ones == UINT64_MAX && zeros == UINT64_MAX);
    loop_free(b);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, test_setup, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_loop__new_is_ready),
        TEST(test_loop__messages_run_in_order_and_each_once),
        TEST(test_loop__a_message_posted_by_a_message_waits_a_turn),
        TEST(test_loop__many_threads_may_post),
        TEST(test_loop__stop_ends_a_loop_that_waits),
        TEST(test_loop__free_runs_what_was_posted),
        TEST(test_loop__turn_end_runs_until_empty),
        TEST(test_loop__a_cancelled_job_does_not_run),
        TEST(test_loop__free_runs_the_end_of_the_turn),
        TEST(test_loop__timers_end_the_wait),
        TEST(test_loop__waits_no_longer_than_told),
        TEST(test_loop__the_clock_is_read_after_the_wait),
        TEST(test_loop__a_turn_ends_though_events_keep_coming),
        TEST(test_loop__the_parts_of_a_turn_keep_their_order),
        TEST(test_loop__a_busy_turn_is_followed_by_one_without_wait),
        TEST(test_loop__event_made_active_by_hand_is_not_waited_for),
        TEST(test_loop__each_loop_finds_its_own_epoll),
        TEST(test_loop__random_numbers_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
