/* Connections per source address: exact over threads, and in time. */
#define _GNU_SOURCE
#include "net/address_limit.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 20000, OPEN_MAX = 7 };

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_true(addr_parse(str_from(text), &a));
    return a;
}

static enum address_verdict enter(struct address_limit *a,
                                  const struct address_bounds *b,
                                  const char *peer,
                                  uint64_t now_us,
                                  struct address_place *place)
{
    const struct addr addr = addr_of(peer);
    return address_limit_enter(a, b, &addr, now_us, place);
}

static void test_address_limit__counts_each_address(void **state)
{
    (void)state;
    struct address_limit *a = address_limit_new();
    const struct address_bounds b = {.n_open_max = 2};
    struct address_place p[3];
    struct address_place other;
    assert_int_equal(enter(a, &b, "192.0.2.1:1", 0, &p[0]), ADDRESS_OK);
    assert_int_equal(enter(a, &b, "192.0.2.1:2", 0, &p[1]), ADDRESS_OK);
    assert_int_equal(enter(a, &b, "192.0.2.1:3", 0, &p[2]), ADDRESS_TOO_MANY);
    assert_false(p[2].is_counted);
    assert_int_equal(enter(a, &b, "192.0.2.2:1", 0, &other), ADDRESS_OK);
    address_limit_leave(a, &p[0]);
    address_limit_leave(a, &p[0]); /* harmless */
    address_limit_leave(a, &p[2]); /* was not counted */
    assert_int_equal(enter(a, &b, "192.0.2.1:4", 0, &p[0]), ADDRESS_OK);
    assert_int_equal(enter(a, &b, "192.0.2.1:5", 0, &p[2]), ADDRESS_TOO_MANY);
    address_limit_free(a);
}

static void test_address_limit__an_ipv6_network_is_one(void **state)
{
    (void)state;
    struct address_limit *a = address_limit_new();
    const struct address_bounds b = {.n_open_max = 1};
    struct address_place p;
    assert_int_equal(enter(a, &b, "[2001:db8:1:1::1]:1", 0, &p), ADDRESS_OK);
    assert_int_equal(enter(a, &b, "[2001:db8:1:1:ffff::9]:1", 0, &p),
                     ADDRESS_TOO_MANY);
    assert_int_equal(enter(a, &b, "[2001:db8:1:2::1]:1", 0, &p), ADDRESS_OK);
    /* IPv4 in IPv6 is that IPv4 address. */
    assert_int_equal(enter(a, &b, "[::ffff:192.0.2.1]:1", 0, &p), ADDRESS_OK);
    assert_int_equal(enter(a, &b, "192.0.2.1:1", 0, &p), ADDRESS_TOO_MANY);
    assert_int_equal(enter(a, &b, "[::ffff:192.0.2.2]:1", 0, &p), ADDRESS_OK);
    address_limit_free(a);
}

static void test_address_limit__lets_the_rate_in(void **state)
{
    (void)state;
    struct address_limit *a = address_limit_new();
    const struct address_bounds b = {.rate_per_s = 10, .n_burst = 5};
    struct address_place p;
    const uint64_t start_us = 1000000000;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(enter(a, &b, "192.0.2.1:1", start_us, &p), ADDRESS_OK);
    }
    assert_int_equal(enter(a, &b, "192.0.2.1:1", start_us, &p),
                     ADDRESS_TOO_FAST);
    /* Those that were refused cost nothing: one in each tenth of a second. */
    for (uint64_t i = 1; i <= 20; i++) {
        const uint64_t now_us = start_us + i * 100000;
        assert_int_equal(enter(a, &b, "192.0.2.1:1", now_us, &p), ADDRESS_OK);
        assert_int_equal(enter(a, &b, "192.0.2.1:1", now_us, &p),
                         ADDRESS_TOO_FAST);
    }
    /* After a pause the burst is whole again, and no more than that. */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(enter(a, &b, "192.0.2.1:1", start_us + 60000000, &p),
                         ADDRESS_OK);
    }
    assert_int_equal(enter(a, &b, "192.0.2.1:1", start_us + 60000000, &p),
                     ADDRESS_TOO_FAST);
    address_limit_free(a);
}

static void test_address_limit__leaves_some_alone(void **state)
{
    (void)state;
    struct address_limit *a = address_limit_new();
    struct addr_net net;
    struct error err = {0};
    assert_true(addr_net_parse(STR("192.0.2.0/24"), &net, &err));
    const struct address_bounds b = {
        .n_open_max = 1, .rate_per_s = 1, .exempt = &net, .n_exempt = 1};
    struct address_place p;
    for (int i = 0; i < 9; i++) {
        assert_int_equal(enter(a, &b, "192.0.2.7:1", 0, &p), ADDRESS_OK);
        assert_int_equal(enter(a, &b, "unix:/run/x", 0, &p), ADDRESS_OK);
        assert_false(p.is_counted);
    }
    const struct address_bounds none = {0};
    for (int i = 0; i < 9; i++) {
        assert_int_equal(enter(a, &none, "198.51.100.1:1", 0, &p), ADDRESS_OK);
    }
    address_limit_free(a);
}

struct crowd {
    struct address_limit *a;
    atomic_int n_inside;
    atomic_int n_most;
    atomic_int n_let_in;
};

static void *crowd_run(void *arg)
{
    struct crowd *c = arg;
    const struct address_bounds b = {.n_open_max = OPEN_MAX};
    struct address_place p[3];
    const struct addr peer = addr_of("192.0.2.1:1");
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < 3; k++) {
            if (address_limit_enter(c->a, &b, &peer, 0, &p[k]) == ADDRESS_OK) {
                const int n = atomic_fetch_add(&c->n_inside, 1) + 1;
                int most = atomic_load(&c->n_most);
                while (n > most &&
                       !atomic_compare_exchange_weak(&c->n_most, &most, n)) {
                }
                atomic_fetch_add(&c->n_let_in, 1);
            }
        }
        for (int k = 0; k < 3; k++) {
            if (p[k].is_counted) {
                atomic_fetch_sub(&c->n_inside, 1);
                address_limit_leave(c->a, &p[k]);
            }
        }
    }
    return NULL;
}

static void test_address_limit__is_exact_over_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct crowd c = {.a = address_limit_new()};
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &c), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(c.n_most <= OPEN_MAX);
    assert_true(c.n_let_in >= ROUNDS);
    assert_int_equal(c.n_inside, 0);
    /* All is given back. */
    for (int i = 0; i < ADDRESS_N_CELLS; i++) {
        assert_int_equal(c.a->n_open[0][i], 0);
        assert_int_equal(c.a->n_open[1][i], 0);
    }
    address_limit_free(c.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_limit__counts_each_address),
        cmocka_unit_test(test_address_limit__an_ipv6_network_is_one),
        cmocka_unit_test(test_address_limit__lets_the_rate_in),
        cmocka_unit_test(test_address_limit__leaves_some_alone),
        cmocka_unit_test(test_address_limit__is_exact_over_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
