/*
 * The arithmetic of health: who is out and for how long, and what share one
 * that came back gets.
 */
#include "upstream/vitals.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Probes as a text: '+' passed, '-' failed; the answer has 'o' where the
 * endpoint is out afterwards, and 'u' where it is up. */
static void check_probes(const char *probes, const char *states)
{
    struct vitals v = {0};
    bool was_out = false;
    for (size_t i = 0; probes[i] != '\0'; i++) {
        const bool is_news = vitals_probe(&v, probes[i] == '+', 2, 3);
        assert_int_equal(v.is_probed_out ? 'o' : 'u', states[i]);
        assert_int_equal(is_news, v.is_probed_out != was_out);
        was_out = v.is_probed_out;
    }
    assert_int_equal(v.n_probes, strlen(probes));
}

static void test_vitals__rise_and_fall(void **state)
{
    (void)state;
    check_probes("+++---", "uuuuuo");
    check_probes("+--+--+---", "uuuuuuuuuo");
    check_probes("+---+-+-++", "uuuoooooou");
}

static void test_vitals__the_first_probe_decides_alone(void **state)
{
    (void)state;
    check_probes("-", "o");
    check_probes("-++--", "oouuu");
    check_probes("+--", "uuu");
    struct vitals v = {0};
    vitals_probe(&v, false, 2, 3);
    vitals_forget_probes(&v);
    assert_false(v.is_probed_out);
    assert_int_equal(v.n_probes_failed, 1);
    assert_true(vitals_probe(&v, false, 2, 3));
}

static void test_vitals__ejections_grow_and_are_forgiven(void **state)
{
    (void)state;
    struct vitals v = {0};
    uint64_t now_ms = 1000000;
    const uint32_t times[] = {30000, 60000, 90000, 100000, 100000, 100000};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_int_equal(vitals_eject(&v, 30000, 100000, now_ms), times[i]);
        assert_true(v.is_ejected);
        now_ms += times[i];
        assert_int_equal(v.return_ms, now_ms);
        now_ms += 29999; /* not long enough in service */
    }
    /* Two base times in service take two of the four back. */
    now_ms += 1 + 30000;
    assert_int_equal(vitals_eject(&v, 30000, 100000, now_ms), 90000);
    /* A long time takes all of them. */
    now_ms += 90000 + 100 * 30000;
    assert_int_equal(vitals_eject(&v, 30000, 100000, now_ms), 30000);
    assert_int_equal(v.n_ejections, 8);
    /* It goes out earlier than it was to return. */
    assert_int_equal(vitals_eject(&v, 30000, 100000, now_ms), 60000);
}

static void test_vitals__time_out_does_not_overflow(void **state)
{
    (void)state;
    struct vitals v = {.level = UINT32_MAX};
    assert_int_equal(vitals_eject(&v, UINT32_MAX, UINT32_MAX, 1), UINT32_MAX);
}

static void test_vitals__ejection_has_a_limit(void **state)
{
    (void)state;
    assert_false(vitals_may_eject(1, 0, 50));
    assert_true(vitals_may_eject(1, 0, 100));
    assert_true(vitals_may_eject(2, 0, 50));
    assert_false(vitals_may_eject(2, 1, 50));
    assert_true(vitals_may_eject(3, 0, 50));
    assert_false(vitals_may_eject(3, 1, 50));
    assert_true(vitals_may_eject(4, 1, 50));
    assert_false(vitals_may_eject(4, 2, 50));
    assert_false(vitals_may_eject(4, 0, 0));
    assert_false(vitals_may_eject(0, 0, 100));
}

static void test_vitals__the_floor(void **state)
{
    (void)state;
    assert_true(vitals_is_panic(2, 0, 50));
    assert_false(vitals_is_panic(2, 1, 50));
    assert_true(vitals_is_panic(3, 1, 50));
    assert_false(vitals_is_panic(3, 2, 50));
    assert_true(vitals_is_panic(4, 3, 100));
    assert_false(vitals_is_panic(4, 0, 0));
    assert_false(vitals_is_panic(0, 0, 50));
    assert_true(vitals_is_panic(200, 1, 1));
}

static void test_vitals__a_share_grows_evenly(void **state)
{
    (void)state;
    assert_int_equal(vitals_held_back(0, 10000), VITALS_SHARE * 9 / 10);
    assert_in_range(vitals_held_back(5000, 10000), VITALS_SHARE * 45 / 100,
                    VITALS_SHARE * 45 / 100 + 1);
    assert_in_range(vitals_held_back(9999, 10000), 1, 2);
    assert_int_equal(vitals_held_back(10000, 10000), 0);
    assert_int_equal(vitals_held_back(UINT64_MAX, 10000), 0);
    assert_int_equal(vitals_held_back(0, 0), 0);
    uint32_t last = VITALS_SHARE;
    for (uint64_t ms = 0; ms <= 10000; ms++) {
        const uint32_t now = vitals_held_back(ms, 10000);
        assert_true(now <= last);
        last = now;
    }
}

static void test_vitals__jitter_is_a_fifth(void **state)
{
    (void)state;
    assert_int_equal(vitals_jitter(2000, 0), 1600);
    assert_int_equal(vitals_jitter(2000, UINT64_MAX), 2400);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        const uint64_t ms = vitals_jitter(2000, sample_mix(i));
        assert_in_range(ms, 1600, 2400);
        sum += ms;
    }
    assert_in_range(sum / 10000, 1990, 2010);
    assert_in_range(vitals_jitter(1, UINT64_MAX), 1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vitals__rise_and_fall),
        cmocka_unit_test(test_vitals__the_first_probe_decides_alone),
        cmocka_unit_test(test_vitals__ejections_grow_and_are_forgiven),
        cmocka_unit_test(test_vitals__time_out_does_not_overflow),
        cmocka_unit_test(test_vitals__ejection_has_a_limit),
        cmocka_unit_test(test_vitals__the_floor),
        cmocka_unit_test(test_vitals__a_share_grows_evenly),
        cmocka_unit_test(test_vitals__jitter_is_a_fifth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
