/* The gate of TLS handshakes: who is the oldest, and how long to wait. */
#include "proxy/handshake_gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_handshake_gate__a_further_one_names_the_oldest(void **state)
{
    struct handshake_gate g;
    struct list nodes[4];
    const struct handshake_bounds bounds = {.n_max = 2};
    (void)state;
    handshake_gate_init(&g);
    for (int i = 0; i < 4; i++) {
        list_init(&nodes[i]);
    }
    assert_null(handshake_gate_begin(&g, &bounds, &nodes[0], 1));
    assert_null(handshake_gate_begin(&g, &bounds, &nodes[1], 2));
    assert_ptr_equal(handshake_gate_begin(&g, &bounds, &nodes[2], 3),
                     &nodes[0]);
    handshake_gate_end(&g, &nodes[0]);
    handshake_gate_end(&g, &nodes[0]); /* twice does no harm */
    assert_int_equal(g.n, 2);
    handshake_gate_end(&g, &nodes[1]);
    assert_null(handshake_gate_begin(&g, &bounds, &nodes[3], 4));
    assert_int_equal(g.n, 2);
}

static void test_handshake_gate__the_rate_has_a_small_burst(void **state)
{
    struct handshake_gate g;
    struct list nodes[64];
    const struct handshake_bounds bounds = {.n_max = 64, .rate_per_s = 100};
    uint64_t now_us = 10 * 1000 * 1000;
    int n = 0;
    (void)state;
    handshake_gate_init(&g);
    while (handshake_gate_wait_ms(&g, now_us) == 0) {
        assert_true(n < 64);
        list_init(&nodes[n]);
        handshake_gate_begin(&g, &bounds, &nodes[n++], now_us);
    }
    assert_int_equal(n, 11); /* 100 ms of the rate, and the one that is due */
    assert_int_equal(handshake_gate_wait_ms(&g, now_us), 10);
    assert_int_equal(handshake_gate_wait_ms(&g, now_us + 9500), 1);
    assert_int_equal(handshake_gate_wait_ms(&g, now_us + 10000), 0);
}

static void test_handshake_gate__no_rate_is_no_limit(void **state)
{
    struct handshake_gate g;
    struct list nodes[64];
    const struct handshake_bounds bounds = {.n_max = 64};
    (void)state;
    handshake_gate_init(&g);
    for (int i = 0; i < 64; i++) {
        list_init(&nodes[i]);
        assert_null(handshake_gate_begin(&g, &bounds, &nodes[i], 5));
    }
    assert_int_equal(handshake_gate_wait_ms(&g, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_gate__a_further_one_names_the_oldest),
        cmocka_unit_test(test_handshake_gate__the_rate_has_a_small_burst),
        cmocka_unit_test(test_handshake_gate__no_rate_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
