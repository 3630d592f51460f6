/*
 * The promises of balance: policies by name, a fallback for requests without a
 * key, failing open, caps, the set already tried, and shares under a bound.
 */
#include "upstream/balance.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "balance_fixture.h"

static void test_balance__policies_are_found_by_name(void **state)
{
    (void)state;
    struct str rest = balance_names();
    struct str name;
    size_t n = 0;
    while (str_split(&rest, ',', &name)) {
        const struct balance_ops *ops = balance_find(str_trim(name));
        assert_non_null(ops);
        assert_ptr_equal(ops, balance_registry[n]);
        n++;
    }
    assert_int_equal(n, BALANCE_N_OPS);
    assert_null(balance_find(STR("roundrobin")));
    assert_null(balance_find(STR_NONE));
    assert_true(bal_maglev.is_hashing && bal_ring_hash.is_hashing);
    assert_false(bal_random.is_hashing || bal_round_robin.is_hashing ||
                 bal_least_request.is_hashing);
}

static void test_balance__without_a_key_the_fallback_picks(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(4);
    fixture_build(f, &bal_maglev, &fixture_settings);
    for (unsigned k = 0; k < 40; k++) {
        struct balance_pick p = fixture_pick(f);
        const int i = balance_pick(f->balance, &p);
        assert_in_range(i, 0, 3);
        assert_string_equal(p.why, "fallback");
        f->n_picked[i]++;
    }
    fixture_assert_shares(f, 40, 0);
    struct balance_pick p = fixture_pick_key(f, 1);
    assert_in_range(balance_pick(f->balance, &p), 0, 3);
    assert_string_equal(p.why, "maglev");
    fixture_fini(f);
}

static void test_balance__a_fallback_must_not_hash(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(4);
    struct error err = {0};
    assert_null(balance_build(&bal_maglev, &bal_ring_hash, f->eps, f->n,
                              &fixture_settings, &err));
    assert_non_null(strstr(error_text(&err), "ring_hash: cannot stand in"));
    error_fini(&err);
    /* Where it is never asked it does not matter. */
    f->balance = balance_build(&bal_random, &bal_ring_hash, f->eps, f->n,
                               &fixture_settings, &err);
    assert_non_null(f->balance);
    assert_in_range(fixture_home(f, 1), 0, 3);
    fixture_fini(f);
}

static void test_balance__panic_fails_open(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(3);
    f->eps[2].weight = 0;
    fixture_build(f, &bal_maglev, &fixture_settings);
    struct balance_pick p = fixture_pick_key(f, 5);
    const int home = balance_pick(f->balance, &p);
    fixture_down(f, 0, true);
    fixture_down(f, 1, true);
    p = fixture_pick_key(f, 5);
    assert_int_equal(balance_pick(f->balance, &p), BALANCE_NONE);
    atomic_store(&f->upstream.is_panic, true);
    p = fixture_pick_key(f, 5);
    /* A key stays at home: the caches there are still warm. */
    assert_int_equal(balance_pick(f->balance, &p), home);
    assert_string_equal(p.why, "panic");
    fixture_down(f, 0, false);
    atomic_store(&f->upstream.is_panic, false);
    p = fixture_pick_key(f, 5);
    assert_int_equal(balance_pick(f->balance, &p), 0);
    assert_string_not_equal(p.why, "panic");
    p = fixture_pick_key(f, 5);
    p.tried[0] = 0;
    p.n_tried = 1;
    assert_int_equal(balance_pick(f->balance, &p), BALANCE_NONE);
    fixture_fini(f);
}

/* With every policy: of 4 endpoints the one in slow start gets what is not held
 * back, of its quarter (random draws) or of what the others get (turns). */
static void test_balance__slow_start_holds_a_share_back(void **state)
{
    static const struct balance_ops *const all[] = {
        &bal_round_robin, &bal_least_request, &bal_random, &bal_ring_hash,
        &bal_maglev};
    enum { N = 40000 };
    (void)state;
    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        struct fixture *f = fixture_make(4);
        fixture_build(f, all[k], &fixture_settings);
        fixture_count(f, N);
        const unsigned n_whole = f->n_picked[2];
        for (unsigned kept = 0; kept <= 4; kept++) {
            atomic_store(&f->slots[2].held_back, VITALS_SHARE * kept / 4);
            fixture_count(f, N);
            const unsigned due = n_whole * (4 - kept) / 4;
            const unsigned most = n_whole * 4 * (4 - kept) / (16 - kept);
            const unsigned low = due > N / 100 ? due - N / 100 : 0;
            assert_in_range(f->n_picked[2], low, most + N / 100);
            assert_int_equal(f->n_picked[0] + f->n_picked[1] + f->n_picked[2] +
                                 f->n_picked[3],
                             N);
        }
        fixture_fini(f);
    }
}

/* A key that has come to the endpoint stays there while the share grows. */
static void test_balance__slow_start_moves_each_key_once(void **state)
{
    enum { N = 2000 };
    static bool has_come[N];
    (void)state;
    struct fixture *f = fixture_make(4);
    fixture_build(f, &bal_maglev, &fixture_settings);
    memset(has_come, 0, sizeof(has_come));
    for (unsigned held = VITALS_SHARE * 9 / 10; held <= VITALS_SHARE;
         held -= 32) {
        atomic_store(&f->slots[1].held_back, held);
        for (unsigned k = 0; k < N; k++) {
            struct balance_pick p = fixture_pick_key(f, sample_mix(k));
            const int i = balance_pick(f->balance, &p);
            assert_true(i == 1 || !has_come[k]);
            has_come[k] = i == 1;
        }
    }
    fixture_fini(f);
}

static void test_balance__slow_start_never_refuses(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(20);
    fixture_build(f, &bal_round_robin, &fixture_settings);
    for (size_t i = 0; i < 20; i++) {
        atomic_store(&f->slots[i].held_back, VITALS_SHARE);
    }
    fixture_count(f, 2000);
    /* What was tried stays out, and the list is as it was. */
    fixture_down(f, 0, true);
    struct balance_pick p = fixture_pick(f);
    p.tried[0] = 7;
    p.n_tried = 1;
    for (unsigned k = 0; k < 200; k++) {
        const int i = balance_pick(f->balance, &p);
        assert_true(i > 0 && i != 7);
        assert_int_equal(p.n_tried, 1);
        assert_int_equal(p.tried[0], 7);
    }
    fixture_fini(f);
}

static void test_balance__usable_means_all_of_it(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(2);
    struct balance_pick p = fixture_pick(f);
    assert_true(balance_is_usable(f->eps, 1, &p));
    f->eps[1].max_requests = 2;
    assert_true(balance_is_usable(f->eps, 1, &p));
    slot_begin(&f->slots[1]);
    assert_true(balance_is_usable(f->eps, 1, &p));
    slot_begin(&f->slots[1]);
    assert_false(balance_is_usable(f->eps, 1, &p));
    slot_end(&f->slots[1]);
    assert_true(balance_is_usable(f->eps, 1, &p));
    fixture_down(f, 1, true);
    assert_false(balance_is_usable(f->eps, 1, &p));
    atomic_store(&f->upstream.is_panic, true);
    assert_true(balance_is_usable(f->eps, 1, &p));
    p.upstream = NULL; /* nobody who could say so */
    assert_false(balance_is_usable(f->eps, 1, &p));
    p.upstream = &f->upstream;
    p.tried[BALANCE_TRIED_MAX - 1] = 1;
    assert_true(balance_is_usable(f->eps, 1, &p));
    p.n_tried = BALANCE_TRIED_MAX;
    assert_false(balance_is_usable(f->eps, 1, &p));
    p.n_tried = 0;
    f->eps[1].weight = 0;
    assert_false(balance_is_usable(f->eps, 1, &p));
}

static void test_balance__bound_is_the_share_rounded_up(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(4);
    f->eps[0].weight = 3;
    struct balance_pick p = fixture_pick(f);
    for (unsigned all = 0; all < 50; all++) {
        atomic_store(&f->upstream.in_flight, all);
        for (unsigned own = 0; own <= all; own++) {
            atomic_store(&f->slots[0].in_flight, own);
            /* ceil(1.25 * (all + 1) * 3 / 6) */
            const unsigned cap = (125 * (all + 1) * 3 + 599) / 600;
            assert_int_equal(balance_is_within_bound(&f->eps[0], &p, 6, 125),
                             own + 1 <= cap);
            assert_true(balance_is_within_bound(&f->eps[0], &p, 6, 0));
        }
    }
    p.upstream = NULL;
    assert_true(balance_is_within_bound(&f->eps[0], &p, 6, 125));
}

static void test_balance__bound_does_not_overflow(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(1);
    f->eps[0].weight = 1000;
    struct balance_pick p = fixture_pick(f);
    atomic_store(&f->upstream.in_flight, UINT32_MAX);
    atomic_store(&f->slots[0].in_flight, UINT32_MAX);
    const uint64_t total = UINT64_C(1000) << 20;
    assert_false(balance_is_within_bound(&f->eps[0], &p, total, 125));
    assert_true(balance_is_within_bound(&f->eps[0], &p, 1000, 125));
}

static void test_balance__scan_draws_by_weight_among_usable(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(5);
    for (uint32_t i = 0; i < 5; i++) {
        f->eps[i].weight = i;
    }
    for (unsigned k = 0; k < 100000; k++) {
        const struct balance_pick p = fixture_pick(f);
        const int i = balance_scan(f->eps, f->n, &p, p.random);
        assert_in_range(i, 1, 4);
        f->n_picked[i]++;
    }
    fixture_assert_shares(f, 100000, 5);
    fixture_down(f, 4, true);
    struct balance_pick p = fixture_pick(f);
    assert_int_equal(balance_usable_weight(f->eps, f->n, &p), 6);
    assert_int_equal(balance_scan(f->eps, f->n, &p, UINT64_MAX), 3);
    assert_int_equal(balance_scan(f->eps, f->n, &p, 0), 1);
    p.tried[0] = 1;
    p.tried[1] = 2;
    p.tried[2] = 3;
    p.n_tried = 3;
    assert_int_equal(balance_scan(f->eps, f->n, &p, 0), BALANCE_NONE);
}

static void test_balance__a_share_grows_when_others_are_down(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(10);
    const struct balance_settings settings = {.bounded_load_percent = 125};
    fixture_build(f, &bal_maglev, &settings);
    for (size_t i = 0; i < 6; i++) {
        fixture_down(f, i, true);
    }
    for (unsigned k = 0; k < 400; k++) {
        const int i = fixture_home(f, k % 2);
        assert_in_range(i, 6, 9);
        slot_begin(&f->slots[i]);
        slot_begin(&f->upstream);
    }
    /* At most 1.25 of the mean of the four that are left. */
    for (size_t i = 6; i < 10; i++) {
        assert_in_range(slot_in_flight(&f->slots[i]), 1, 125);
    }
    fixture_fini(f);
}

static void test_balance__a_bound_below_the_mean_is_given_up(void **state)
{
    (void)state;
    struct fixture *f = fixture_make(4);
    const struct balance_settings settings = {.bounded_load_percent = 50};
    fixture_build(f, &bal_ring_hash, &settings);
    for (unsigned k = 0; k < 1000; k++) {
        const int i = fixture_home(f, k);
        assert_in_range(i, 0, 3);
        slot_begin(&f->slots[i]);
        slot_begin(&f->upstream);
    }
    fixture_fini(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_balance__policies_are_found_by_name),
        cmocka_unit_test(test_balance__without_a_key_the_fallback_picks),
        cmocka_unit_test(test_balance__a_fallback_must_not_hash),
        cmocka_unit_test(test_balance__panic_fails_open),
        cmocka_unit_test(test_balance__slow_start_holds_a_share_back),
        cmocka_unit_test(test_balance__slow_start_moves_each_key_once),
        cmocka_unit_test(test_balance__slow_start_never_refuses),
        cmocka_unit_test(test_balance__usable_means_all_of_it),
        cmocka_unit_test(test_balance__bound_is_the_share_rounded_up),
        cmocka_unit_test(test_balance__bound_does_not_overflow),
        cmocka_unit_test(test_balance__scan_draws_by_weight_among_usable),
        cmocka_unit_test(test_balance__a_share_grows_when_others_are_down),
        cmocka_unit_test(test_balance__a_bound_below_the_mean_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
