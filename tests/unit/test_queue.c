/* queue: turns in order, none forgotten, over several threads. */
#include "upstream/queue.c"

#include "upstream/scoreboard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* One who waits; notes when it has its turn. */
struct waiter {
    struct queue_ticket *ticket;
    int n_turns;
    int order;
};

static int n_turns_given;

static void waiter_on_turn(void *owner)
{
    struct waiter *w = owner;
    w->n_turns++;
    w->order = ++n_turns_given;
}

struct fx {
    struct loop *loop;
    struct queue *q;
    struct waiter w[4];
};

static void fx_init(struct fx *fx)
{
    memset(fx, 0, sizeof(*fx));
    n_turns_given = 0;
    fx->loop = loop_new("test", 0);
    fx->q = queue_new();
}

static void fx_fini(struct fx *fx)
{
    loop_free(fx->loop);
    queue_free(fx->q);
}

static bool fx_enter(struct fx *fx, int i, const void *kind)
{
    bool is_turn = false;
    fx->w[i].ticket = queue_enter(fx->q, fx->loop, 4, kind, waiter_on_turn,
                                  &fx->w[i], &is_turn);
    assert_non_null(fx->w[i].ticket);
    return is_turn;
}

/* All four wait; the first tried in vain. */
static void fx_fill(struct fx *fx)
{
    fx_init(fx);
    assert_true(fx_enter(fx, 0, NULL));
    assert_true(queue_stay(fx->w[0].ticket));
    for (int i = 1; i < 4; i++) {
        assert_false(fx_enter(fx, i, NULL));
    }
    assert_int_equal(queue_length(fx->q), 4);
}

static void fx_leave_all(struct fx *fx)
{
    for (int i = 0; i < 4; i++) {
        if (fx->w[i].ticket != NULL) {
            queue_leave(fx->w[i].ticket, false);
        }
    }
}

static void test_queue__first_come_first_served(void **state)
{
    struct fx fx;
    (void)state;
    fx_fill(&fx);
    for (int i = 0; i < 4; i++) {
        queue_wake(fx.q);
        loop_run_once(fx.loop, 0);
        assert_int_equal(fx.w[i].n_turns, 1);
        assert_int_equal(fx.w[i].order, i + 1);
        queue_leave(fx.w[i].ticket, true);
        loop_run_once(fx.loop, 0);
        assert_int_equal(n_turns_given, i + 1);
    }
    fx_fini(&fx);
}

static void test_queue__a_full_queue_takes_nobody(void **state)
{
    struct fx fx;
    bool is_turn = true;
    (void)state;
    fx_fill(&fx);
    assert_null(
        queue_enter(fx.q, fx.loop, 4, NULL, waiter_on_turn, NULL, &is_turn));
    assert_false(is_turn);
    fx_leave_all(&fx);
    fx_fini(&fx);
}

static void test_queue__who_failed_keeps_its_place_in_line(void **state)
{
    struct fx fx;
    (void)state;
    fx_fill(&fx);
    queue_wake(fx.q);
    queue_wake(fx.q);
    loop_run_once(fx.loop, 0);
    assert_int_equal(n_turns_given, 2);
    /* Both fail, the later one first. */
    assert_true(queue_stay(fx.w[1].ticket));
    assert_true(queue_stay(fx.w[0].ticket));
    queue_wake(fx.q);
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.w[0].n_turns, 2);
    assert_int_equal(fx.w[1].n_turns, 1);
    fx_leave_all(&fx);
    fx_fini(&fx);
}

static void test_queue__a_turn_during_a_try_is_not_lost(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    assert_true(fx_enter(&fx, 0, NULL));
    queue_wake(fx.q);
    assert_false(queue_stay(fx.w[0].ticket)); /* look again */
    assert_true(queue_stay(fx.w[0].ticket));
    fx_leave_all(&fx);
    fx_fini(&fx);
}

static void test_queue__who_leaves_hands_its_turn_on(void **state)
{
    struct fx fx;
    (void)state;
    fx_fill(&fx);
    queue_wake(fx.q);
    queue_leave(fx.w[0].ticket, false); /* before it heard of its turn */
    fx.w[0].ticket = NULL;
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.w[0].n_turns, 0);
    assert_int_equal(fx.w[1].n_turns, 1);
    queue_leave(fx.w[1].ticket, false); /* having it */
    fx.w[1].ticket = NULL;
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.w[2].n_turns, 1);
    fx_leave_all(&fx);
    fx_fini(&fx);
}

/* Places that came free before anybody waited gave nobody a turn. */
static void test_queue__the_first_one_in_starts_the_others(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    assert_true(fx_enter(&fx, 0, NULL));
    assert_false(fx_enter(&fx, 1, NULL));
    assert_false(fx_enter(&fx, 2, NULL));
    queue_leave(fx.w[0].ticket, true);
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.w[1].n_turns, 1);
    queue_leave(fx.w[1].ticket, true);
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.w[2].n_turns, 1);
    /* The first that fails ends it. */
    assert_true(queue_stay(fx.w[2].ticket));
    assert_false(fx_enter(&fx, 3, NULL));
    queue_leave(fx.w[2].ticket, false);
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.w[3].n_turns, 0);
    queue_leave(fx.w[3].ticket, false);
    fx_fini(&fx);
}

/* A place that only others can use is theirs. */
static void test_queue__a_useless_turn_goes_to_another_kind(void **state)
{
    struct fx fx;
    static const int old = 0;
    static const int new = 0;
    (void)state;
    fx_init(&fx);
    assert_true(fx_enter(&fx, 0, &old));
    assert_true(queue_stay(fx.w[0].ticket));
    assert_false(fx_enter(&fx, 1, &old));
    /* There may be places for which nobody waits yet. */
    assert_true(fx_enter(&fx, 2, &new));
    assert_true(queue_stay(fx.w[2].ticket));
    queue_wake(fx.q);
    loop_run_once(fx.loop, 0);
    assert_true(queue_stay(fx.w[0].ticket));
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.w[1].n_turns, 0);
    assert_int_equal(fx.w[2].n_turns, 1);
    queue_leave(fx.w[2].ticket, true);
    queue_leave(fx.w[1].ticket, false);
    queue_leave(fx.w[0].ticket, false);
    fx_fini(&fx);
}

static void test_queue__all_are_woken(void **state)
{
    struct fx fx;
    (void)state;
    fx_fill(&fx);
    queue_wake_all(fx.q);
    loop_run_once(fx.loop, 0);
    assert_int_equal(n_turns_given, 4);
    fx_leave_all(&fx);
    fx_fini(&fx);
}

/* ---- threads ------------------------------------------------------------ */

enum { THREADS_N = 4, THREAD_ROUNDS = 20000, THREAD_RUNNERS = 8, PLACES_N = 3 };

static atomic_uint places;
static atomic_uint n_inside;
static atomic_bool is_over;

struct thread {
    struct queue *q;
    struct loop *loop;
    pthread_t id;
    int n_rounds;
    int n_running;
};

/* Wants a place again and again. */
struct runner {
    struct thread *thread;
    struct queue_ticket *ticket;
    struct deferred next;
    bool is_turn;
    bool has_place;
};

static bool runner_try(struct runner *r)
{
    if (r->ticket == NULL && queue_length(r->thread->q) > 0) {
        return false;
    }
    if (r->ticket == NULL) {
        return slot_take_place(&places, PLACES_N);
    }
    while (r->is_turn) {
        if (slot_take_place(&places, PLACES_N)) {
            return true;
        }
        r->is_turn = !queue_stay(r->ticket);
    }
    return false;
}

static void runner_on_turn(void *owner);

static void runner_go(struct runner *r)
{
    if (r->ticket == NULL && !runner_try(r)) {
        r->ticket = queue_enter(r->thread->q, r->thread->loop, UINT32_MAX, NULL,
                                runner_on_turn, r, &r->is_turn);
    } else if (r->ticket == NULL) {
        r->has_place = true;
    }
    if (!r->has_place && runner_try(r)) {
        queue_leave(r->ticket, true);
        r->ticket = NULL;
        r->has_place = true;
    }
    if (r->has_place) {
        if (atomic_fetch_add(&n_inside, 1) >= PLACES_N) {
            atomic_store(&is_over, true);
        }
        loop_defer(r->thread->loop, &r->next);
    }
}

static void runner_on_turn(void *owner)
{
    struct runner *r = owner;
    r->is_turn = true;
    runner_go(r);
}

/* Gives the place back, and begins again. */
static void runner_on_next(struct deferred *d)
{
    struct runner *r = CONTAINER_OF(d, struct runner, next);
    struct thread *t = r->thread;
    r->has_place = false;
    atomic_fetch_sub(&n_inside, 1);
    slot_give_place(&places);
    queue_wake(t->q);
    if (++t->n_rounds < THREAD_ROUNDS) {
        runner_go(r);
    } else if (--t->n_running == 0) {
        loop_stop(t->loop);
    }
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct runner runners[THREAD_RUNNERS];
    memset(runners, 0, sizeof(runners));
    for (int i = 0; i < THREAD_RUNNERS; i++) {
        runners[i].thread = t;
        runners[i].next.fn = runner_on_next;
        t->n_running++;
    }
    for (int i = 0; i < THREAD_RUNNERS; i++) {
        runner_go(&runners[i]);
    }
    loop_run(t->loop);
    return NULL;
}

/* It ends: no turn is lost. And never are there more inside than places. */
static void test_queue__threads_share_places_exactly(void **state)
{
    struct thread threads[THREADS_N];
    struct queue *q = queue_new();
    (void)state;
    memset(threads, 0, sizeof(threads));
    for (int i = 0; i < THREADS_N; i++) {
        threads[i].q = q;
        threads[i].loop = loop_new("test", (unsigned)i);
    }
    for (int i = 0; i < THREADS_N; i++) {
        assert_int_equal(
            pthread_create(&threads[i].id, NULL, thread_main, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS_N; i++) {
        pthread_join(threads[i].id, NULL);
    }
    assert_false(atomic_load(&is_over));
    assert_int_equal(atomic_load(&places), 0);
    for (int i = 0; i < THREADS_N; i++) {
        loop_free(threads[i].loop);
    }
    queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue__first_come_first_served),
        cmocka_unit_test(test_queue__a_full_queue_takes_nobody),
        cmocka_unit_test(test_queue__who_failed_keeps_its_place_in_line),
        cmocka_unit_test(test_queue__a_turn_during_a_try_is_not_lost),
        cmocka_unit_test(test_queue__who_leaves_hands_its_turn_on),
        cmocka_unit_test(test_queue__the_first_one_in_starts_the_others),
        cmocka_unit_test(test_queue__a_useless_turn_goes_to_another_kind),
        cmocka_unit_test(test_queue__all_are_woken),
        cmocka_unit_test(test_queue__threads_share_places_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
