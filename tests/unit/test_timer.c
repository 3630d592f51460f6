/*
 * The promises of timer: never early, at most a tick late, lazy re-arming that
 * nobody can see, and callbacks that may arm, disarm and free.
 */
#include "base/timer.c"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { START_MS = 1000003 };

struct probe {
    struct timer timer;
    struct timer_wheel *w;
    uint64_t now_ms; /* of the run that is going on */
    uint64_t fired_ms;
    unsigned n_fired;
    uint64_t again_ms; /* re-arm this much later */
    struct probe *victim;
};

static uint64_t test_now_ms;

static void probe_on_timer(struct timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);
    p->fired_ms = test_now_ms;
    p->n_fired++;
    if (p->again_ms > 0) {
        timer_arm(p->w, t, test_now_ms + p->again_ms);
    }
    if (p->victim != NULL) {
        timer_disarm(p->w, &p->victim->timer);
    }
}

static struct timer_wheel *test_wheel_new(void)
{
    struct timer_wheel *w = mem_new(sizeof *w);
    timer_wheel_init(w, START_MS);
    test_now_ms = START_MS;
    return w;
}

static void test_run(struct timer_wheel *w, uint64_t now_ms)
{
    test_now_ms = now_ms;
    timer_wheel_run(w, now_ms);
}

static void probe_init(struct probe *p, struct timer_wheel *w)
{
    *p = (struct probe){.w = w};
    timer_init(&p->timer, probe_on_timer);
}

static void test_timer__fires_never_early_and_at_most_a_tick_late(void **state)
{
    (void)state;
    struct timer_wheel *w = test_wheel_new();
    struct probe p;
    probe_init(&p, w);
    for (uint64_t after = 1; after < 60; after++) {
        const uint64_t deadline = test_now_ms + after;
        p.n_fired = 0;
        timer_arm(w, &p.timer, deadline);
        while (p.n_fired == 0) {
            test_run(w, test_now_ms + 1);
        }
        assert_true(p.fired_ms >= deadline);
        assert_true(p.fired_ms <= deadline + TIMER_TICK_MS);
        assert_false(timer_is_armed(&p.timer));
    }
    assert_int_equal(w->n_armed, 0);
    mem_free(w);
}

static void test_timer__next_says_when_to_run(void **state)
{
    (void)state;
    struct timer_wheel *w = test_wheel_new();
    struct probe p;
    probe_init(&p, w);
    assert_true(timer_wheel_next_ms(w) == UINT64_MAX);
    for (uint64_t after = 1; after < 200000; after = after * 3 + 1) {
        p.n_fired = 0;
        const uint64_t deadline = test_now_ms + after;
        timer_arm(w, &p.timer, deadline);
        unsigned n_runs = 0;
        while (p.n_fired == 0) {
            const uint64_t next = timer_wheel_next_ms(w);
            assert_true(next > test_now_ms);
            assert_true(next <= deadline + TIMER_TICK_MS);
            test_run(w, next);
            n_runs++;
        }
        assert_true(p.fired_ms >= deadline);
        assert_true(p.fired_ms <= deadline + TIMER_TICK_MS);
        assert_true(n_runs <= 2 + after / (TIMER_N_SLOTS * TIMER_TICK_MS / 2));
    }
    assert_true(timer_wheel_next_ms(w) == UINT64_MAX);
    mem_free(w);
}

static void test_timer__far_deadlines_wait_beyond_the_wheel(void **state)
{
    (void)state;
    struct timer_wheel *w = test_wheel_new();
    struct probe p;
    probe_init(&p, w);
    const uint64_t hour = 3600 * 1000;
    timer_arm(w, &p.timer, START_MS + hour);
    test_run(w, START_MS + hour - 1);
    assert_int_equal(p.n_fired, 0);
    test_run(w, START_MS + hour + TIMER_TICK_MS);
    assert_int_equal(p.n_fired, 1);
    /* As far as can be said at all. */
    timer_arm(w, &p.timer, UINT64_MAX);
    test_run(w, START_MS + 100 * hour);
    assert_int_equal(p.n_fired, 1);
    timer_disarm(w, &p.timer);
    mem_free(w);
}

static void test_timer__moving_back_is_lazy_and_unseen(void **state)
{
    (void)state;
    struct timer_wheel *w = test_wheel_new();
    struct probe p;
    probe_init(&p, w);
    timer_arm(w, &p.timer, START_MS + 100);
    const struct list *slot = p.timer.node.next;
    for (uint64_t i = 1; i <= 50; i++) {
        timer_arm(w, &p.timer, START_MS + 100 + i * 100);
        assert_ptr_equal(p.timer.node.next, slot);
    }
    assert_int_equal(w->n_armed, 1);
    test_run(w, START_MS + 5099);
    assert_int_equal(p.n_fired, 0);
    test_run(w, START_MS + 5100 + TIMER_TICK_MS);
    assert_int_equal(p.n_fired, 1);
    mem_free(w);
}

static void test_timer__moving_forward_takes_effect(void **state)
{
    (void)state;
    struct timer_wheel *w = test_wheel_new();
    struct probe p;
    probe_init(&p, w);
    timer_arm(w, &p.timer, START_MS + 10000);
    timer_arm(w, &p.timer, START_MS + 20);
    test_run(w, START_MS + 24);
    assert_int_equal(p.n_fired, 1);
    /* A deadline that has passed fires with the next tick. */
    timer_arm(w, &p.timer, 5);
    test_run(w, START_MS + 24 + TIMER_TICK_MS);
    assert_int_equal(p.n_fired, 2);
    mem_free(w);
}

static void test_timer__disarmed_stays_silent(void **state)
{
    (void)state;
    struct timer_wheel *w = test_wheel_new();
    struct probe p;
    probe_init(&p, w);
    timer_disarm(w, &p.timer);
    timer_arm(w, &p.timer, START_MS + 8);
    timer_disarm(w, &p.timer);
    timer_disarm(w, &p.timer);
    assert_true(timer_wheel_next_ms(w) == UINT64_MAX);
    test_run(w, START_MS + 100);
    assert_int_equal(p.n_fired, 0);
    for (size_t i = 0; i < TIMER_N_WORDS; i++) {
        assert_true(w->bitmap[i] == 0);
    }
    mem_free(w);
}

static void
test_timer__a_callback_may_arm_itself_and_disarm_others(void **state)
{
    (void)state;
    struct timer_wheel *w = test_wheel_new();
    struct probe a;
    struct probe b;
    probe_init(&a, w);
    probe_init(&b, w);
    a.again_ms = 1;
    a.victim = &b;
    timer_arm(w, &a.timer, START_MS + 10);
    timer_arm(w, &b.timer, START_MS + 10);
    test_run(w, START_MS + 1000);
    assert_int_equal(a.n_fired, 1);
    assert_int_equal(b.n_fired, 0);
    assert_true(timer_is_armed(&a.timer));
    assert_int_equal(w->n_armed, 1);
    test_run(w, START_MS + 1000 + 2 * TIMER_TICK_MS);
    assert_int_equal(a.n_fired, 2);
    timer_disarm(w, &a.timer);
    mem_free(w);
}

static void test_free_on_timer(struct timer *t)
{
    mem_free(CONTAINER_OF(t, struct probe, timer));
}

static void test_timer__a_callback_may_free_its_timer(void **state)
{
    (void)state;
    struct timer_wheel *w = test_wheel_new();
    for (int i = 0; i < 100; i++) {
        struct probe *p = mem_new(sizeof *p);
        timer_init(&p->timer, test_free_on_timer);
        timer_arm(w, &p->timer, START_MS + 1 + (uint64_t)i % 7);
    }
    test_run(w, START_MS + 50);
    assert_int_equal(w->n_armed, 0);
    mem_free(w);
}

/* Many timers, random times and random jumps of the clock. */
static void test_timer__holds_its_promise_in_a_crowd(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct probe probes[N];
    struct timer_wheel *w = test_wheel_new();
    uint32_t random = 99;
    size_t n_fired = 0;
    for (size_t i = 0; i < N; i++) {
        probe_init(&probes[i], w);
    }
    for (unsigned step = 0; step < 20000; step++) {
        random = random * 1664525 + 1013904223;
        struct probe *p = &probes[(random >> 8) % N];
        const uint64_t after = (random >> 12) % (step % 9 == 0 ? 90000 : 3000);
        if (step % 5 == 0) {
            timer_disarm(w, &p->timer);
        } else {
            timer_arm(w, &p->timer, test_now_ms + 1 + after);
        }
        if (step % 3 != 0) {
            continue;
        }
        uint64_t deadlines[N];
        for (size_t i = 0; i < N; i++) {
            deadlines[i] = probes[i].timer.deadline_ms;
            probes[i].n_fired = 0;
        }
        test_run(w,
                 test_now_ms + (random >> 20) % (step % 999 == 0 ? 40000 : 9));
        for (size_t i = 0; i < N; i++) {
            const bool is_due = deadlines[i] != 0 &&
                                deadlines[i] + TIMER_TICK_MS <= test_now_ms;
            const bool is_early =
                deadlines[i] == 0 || deadlines[i] > test_now_ms;
            assert_true(probes[i].n_fired <= 1);
            assert_true(!is_due || probes[i].n_fired == 1);
            assert_true(!is_early || probes[i].n_fired == 0);
            n_fired += probes[i].n_fired;
        }
    }
    assert_true(n_fired > 1000);
    mem_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer__fires_never_early_and_at_most_a_tick_late),
        cmocka_unit_test(test_timer__next_says_when_to_run),
        cmocka_unit_test(test_timer__far_deadlines_wait_beyond_the_wheel),
        cmocka_unit_test(test_timer__moving_back_is_lazy_and_unseen),
        cmocka_unit_test(test_timer__moving_forward_takes_effect),
        cmocka_unit_test(test_timer__disarmed_stays_silent),
        cmocka_unit_test(
            test_timer__a_callback_may_arm_itself_and_disarm_others),
        cmocka_unit_test(test_timer__a_callback_may_free_its_timer),
        cmocka_unit_test(test_timer__holds_its_promise_in_a_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
