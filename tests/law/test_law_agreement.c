/*
 * The laws of agreement: gateways that share nothing choose the same endpoint
 * for each key, whatever the order of the endpoints in the file, the order of
 * a name's addresses in the resolver's answer, and the number of workers; and
 * a gateway agrees with itself after a reload and a restart. Built from conf
 * texts as the gateway builds them; the resolver is this test's own.
 */
#include "control/build.h"
#include "net/resolve.h"
#include "upstream/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../unit/settings_fixture.h"
#include "law.h"

#define LISTENER                                                               \
    "listeners = ( { name = \"l\"; address = \"127.0.0.1:1\"; } );\n"

enum { N_ENDPOINTS = 200, N_NAMED = 60, TEXT_BYTES = 64 * 1024 };

#ifdef DAEMUN_CHECK_SLOW
enum { N_KEYS = 20000 };
#else
enum { N_KEYS = 1000000 };
#endif

/* The order of the answer and of the file; another one for each gateway. */
static uint64_t agreement_random = 1;

static void agreement_shuffle(uint32_t *numbers, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        numbers[i] = i;
    }
    for (uint32_t i = n; i > 1; i--) {
        agreement_random = sample_mix(agreement_random);
        const uint64_t j = sample_range(agreement_random, i);
        const uint32_t other = numbers[j];
        numbers[j] = numbers[i - 1];
        numbers[i - 1] = other;
    }
}

/* Stands in for the one of the archive: one name, answers in any order. */
size_t resolve(struct str text, struct addr *addrs, struct error *err)
{
    (void)err;
    if (addr_parse(text, &addrs[0])) {
        return 1;
    }
    assert_true(str_eq(text, STR("pool.test:8080")));
    uint32_t numbers[N_NAMED];
    agreement_shuffle(numbers, N_NAMED);
    for (unsigned i = 0; i < N_NAMED; i++) {
        char address[ADDR_TEXT_MAX];
        snprintf(address, sizeof address, "10.1.0.%u:8080", numbers[i]);
        assert_true(addr_parse(str_from(address), &addrs[i]));
    }
    return N_NAMED;
}

struct agreement {
    struct build_world world;
    struct snapshot *snap;
    struct balance_cursor cursor;
    char text[TEXT_BYTES];
};

static void agreement_text(struct agreement *a, const char *policy)
{
    uint32_t numbers[N_ENDPOINTS];
    agreement_shuffle(numbers, N_ENDPOINTS);
    size_t at = (size_t)snprintf(
        a->text, sizeof a->text,
        LISTENER "upstreams = { u = { balance = { policy = \"%s\"; "
                 "hash_on = [ \"path\" ]; hash_seed = 5; };\n"
                 "endpoints = ( ",
        policy);
    for (unsigned i = 0; i < N_ENDPOINTS; i++) {
        const char *comma = i == 0 ? "" : ", ";
        if (numbers[i] == 0) {
            at +=
                (size_t)snprintf(a->text + at, sizeof a->text - at,
                                 "%s{ address = \"pool.test:8080\"; }", comma);
        } else {
            at += (size_t)snprintf(
                a->text + at, sizeof a->text - at,
                "%s{ address = \"10.0.%u.%u:8080\"; weight = %u; }", comma,
                numbers[i] >> 4, numbers[i] & 15, 1 + numbers[i] % 3);
        }
    }
    snprintf(a->text + at, sizeof a->text - at, " ); }; };\n");
}

/* Builds from the text, in place of what was there. */
static void agreement_load(struct agreement *a)
{
    struct error err = {0};
    struct node *root = fixture_tree(a->text);
    struct snapshot *snap = build_snapshot(&a->world, root, a->snap, &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(snap);
    if (a->snap != NULL) {
        build_free_snapshot(&a->world, a->snap);
    }
    a->snap = snap;
}

static struct agreement *agreement_start(const char *policy, size_t n_workers)
{
    struct agreement *a = mem_new_lines(1, sizeof *a);
    build_world_init(&a->world, n_workers);
    a->world.is_test = true;
    agreement_text(a, policy);
    agreement_load(a);
    return a;
}

static void agreement_stop(struct agreement *a)
{
    build_free_snapshot(&a->world, a->snap);
    build_world_fini(&a->world);
    mem_free(a);
}

static struct str agreement_home(struct agreement *a, uint64_t key)
{
    const struct upstream *up = a->snap->upstreams[0];
    struct balance_pick p = {
        .has_hash = true,
        .hash = sample_mix(key),
        .cursor = &a->cursor,
        .upstream = up->slot,
    };
    const int i = balance_pick(up->balance, &p);
    assert_in_range(i, 0, up->n_endpoints - 1);
    return up->endpoints[i].id;
}

static void agreement_check(struct agreement *one, struct agreement *other)
{
    for (uint64_t k = 0; k < N_KEYS; k++) {
        assert_true(str_eq(agreement_home(one, k), agreement_home(other, k)));
    }
}

static void check_policy(const char *policy)
{
    struct agreement *one = agreement_start(policy, 1);
    struct agreement *other = agreement_start(policy, 7);
    assert_int_equal(one->snap->upstreams[0]->n_endpoints,
                     N_ENDPOINTS - 1 + N_NAMED);
    assert_string_not_equal(one->text, other->text);
    agreement_check(one, other);
    /* A reload with yet another order, in file and answer. */
    agreement_text(other, policy);
    agreement_load(other);
    agreement_check(one, other);
    agreement_stop(other);
    /* A restart. */
    other = agreement_start(policy, 2);
    agreement_check(one, other);
    agreement_stop(other);
    agreement_stop(one);
    law_measured("agreement, %s: %d keys alike for any order of %d endpoints "
                 "in file and answer, 1, 2 or 7 workers, reload, restart",
                 policy, N_KEYS, N_ENDPOINTS - 1 + N_NAMED);
}

static void test_law_agreement__ring_hash(void **state)
{
    (void)state;
    check_policy("ring_hash");
}

static void test_law_agreement__maglev(void **state)
{
    (void)state;
    check_policy("maglev");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_law_agreement__ring_hash),
        cmocka_unit_test(test_law_agreement__maglev),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
