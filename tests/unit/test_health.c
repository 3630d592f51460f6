/*
 * The keeper of endpoints' health: what it decides about slots upon failures,
 * probes (over real sockets) and reloads, and that nothing is left when it
 * ends. Times are short and waited for by turns of the loop.
 */
#include "control/health.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "settings_fixture.h"

#include "base/metric.h"
#include "control/build.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum { TURN_MS = 2, TURNS_MAX = 5000 };

struct fx {
    struct loop *loop;
    struct build_world world;
    struct health *health;
    struct snapshot *snap;
};

/* Turns until the condition holds. */
#define UNTIL(fx, condition)                                                   \
    do {                                                                       \
        int turns = 0;                                                         \
        while (!(condition)) {                                                 \
            assert_true(turns++ < TURNS_MAX);                                  \
            loop_run_once((fx)->loop, TURN_MS);                                \
        }                                                                      \
    } while (0)

/* Another snapshot of n endpoints at ports `first` and up, with these members
 * of the upstream; the old one goes, as it would after a reload. */
static void fx_reload(struct fx *fx, unsigned first, int n, const char *members)
{
    char text[4096];
    struct error err = {0};
    int len = snprintf(text, sizeof(text),
                       "listeners = ( { name = \"l\"; address = "
                       "\"127.0.0.1:1\"; } ); upstreams = { u = { %s "
                       "endpoints = ( ",
                       members);
    for (int i = 0; i < n; i++) {
        len += snprintf(text + len, sizeof(text) - (size_t)len,
                        "%s{ address = \"127.0.0.1:%u\"; }", i == 0 ? "" : ", ",
                        first + (unsigned)i);
    }
    snprintf(text + len, sizeof(text) - (size_t)len, " ); }; };");
    struct node *root = fixture_tree(text);
    struct snapshot *old = fx->snap;
    fx->snap = build_snapshot(&fx->world, root, old, &err);
    assert_string_equal(error_text(&err), "");
    health_watch(fx->health, fx->snap);
    build_free_snapshot(&fx->world, old);
}

static void fx_init(struct fx *fx, int n, const char *members)
{
    memset(fx, 0, sizeof(*fx));
    fx->loop = loop_new("test", 0);
    fx->loop->metrics = metric_set_new();
    build_world_init(&fx->world, 1);
    fx->world.is_test = true;
    fx->health = health_new(fx->loop);
    fx_reload(fx, 60001, n, members);
}

static void fx_fini(struct fx *fx)
{
    health_free(fx->health);
    build_free_snapshot(&fx->world, fx->snap);
    assert_int_equal(scoreboard_count(fx->world.scoreboard), 0);
    build_world_fini(&fx->world);
    loop_free(fx->loop);
}

static struct slot *fx_slot(const struct fx *fx, size_t i)
{
    return fx->snap->upstreams[0]->endpoints[i].slot;
}

static const struct slot *fx_whole(const struct fx *fx)
{
    return fx->snap->upstreams[0]->slot;
}

/* As a worker does it: n failures in a row, told when it is time. */
static void fx_fail(struct fx *fx, size_t i, unsigned n)
{
    const struct ejection *e = &fx->snap->upstreams[0]->ejection;
    for (unsigned k = 0; k < n; k++) {
        if (slot_fail(fx_slot(fx, i), FAULT_CONNECT_FAILED, e->n_failures)) {
            health_failing(fx->health, fx_slot(fx, i));
        }
    }
}

static void test_health__ejects_and_takes_back(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx, 3, "ejection = { base_ms = 30; max_ms = 1000; };");
    assert_int_equal(fx_whole(&fx)->vitals.n_up, 3);
    fx_fail(&fx, 1, 4);
    assert_false(slot_is_down(fx_slot(&fx, 1)));
    slot_succeed(fx_slot(&fx, 1));
    fx_fail(&fx, 1, 4);
    assert_false(slot_is_down(fx_slot(&fx, 1)));
    fx_fail(&fx, 1, 1);
    assert_true(slot_is_down(fx_slot(&fx, 1)));
    assert_int_equal(fx_whole(&fx)->vitals.n_up, 2);
    UNTIL(&fx, !slot_is_down(fx_slot(&fx, 1)));
    assert_int_equal(fx_whole(&fx)->vitals.n_up, 3);
    assert_int_equal(atomic_load(&fx_slot(&fx, 1)->n_failing), 0);
    fx_fini(&fx);
}

/* A third of three may go, a second one may not; later it may. */
static void test_health__never_ejects_more_than_allowed(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx, 3, "ejection = { base_ms = 30; max_ms = 1000; };");
    fx_fail(&fx, 0, 5);
    fx_fail(&fx, 1, 12);
    assert_false(slot_is_down(fx_slot(&fx, 1)));
    assert_true(fx_slot(&fx, 1)->vitals.is_spared);
    UNTIL(&fx, !slot_is_down(fx_slot(&fx, 0)));
    fx_fail(&fx, 1, 5); /* the 15th of them asks again */
    assert_true(slot_is_down(fx_slot(&fx, 1)));
    fx_fini(&fx);
}

/* What a message says may be over when it comes. */
static void test_health__late_messages_do_no_harm(void **state)
{
    struct fx fx;
    struct slot stranger = {.index = 0};
    (void)state;
    fx_init(&fx, 2, "");
    atomic_store(&stranger.n_failing, 9);
    health_failing(fx.health, &stranger);
    stranger.index = 12345;
    health_failing(fx.health, &stranger);
    health_failing(fx.health, fx_slot(&fx, 0));
    assert_false(slot_is_down(fx_slot(&fx, 0)));
    fx_fail(&fx, 0, 5);
    assert_true(slot_is_down(fx_slot(&fx, 0)));
    fx_fail(&fx, 0, 5); /* those that were on their way */
    assert_int_equal(fx_slot(&fx, 0)->vitals.n_ejections, 1);
    fx_fini(&fx);
}

static void test_health__fails_open_below_the_floor(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx, 3, "ejection = { max_percent = 100; };");
    fx_fail(&fx, 0, 5);
    assert_false(slot_is_panic(fx_whole(&fx)));
    fx_fail(&fx, 1, 5);
    assert_true(slot_is_panic(fx_whole(&fx)));
    assert_false(slot_is_down(fx_whole(&fx)));
    fx_fail(&fx, 2, 5);
    assert_true(slot_is_down(fx_whole(&fx)));
    fx_reload(&fx, 60001, 3,
              "healthy_min_percent = 0; "
              "ejection = { max_percent = 100; };");
    assert_false(slot_is_panic(fx_whole(&fx)));
    assert_true(slot_is_down(fx_whole(&fx)));
    fx_reload(&fx, 60001, 3, "ejection = { consecutive_failures = 0; };");
    assert_false(slot_is_down(fx_whole(&fx)));
    assert_int_equal(fx_whole(&fx)->vitals.n_up, 3);
    fx_fini(&fx);
}

static void test_health__state_survives_a_reload(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx, 3, "ejection = { base_ms = 100; max_ms = 1000; };");
    fx_fail(&fx, 0, 5);
    fx_reload(&fx, 60001, 3,
              "retries_max = 2; "
              "ejection = { base_ms = 100; max_ms = 1000; };");
    assert_true(slot_is_down(fx_slot(&fx, 0)));
    assert_int_equal(fx_whole(&fx)->vitals.n_up, 2);
    UNTIL(&fx, !slot_is_down(fx_slot(&fx, 0)));
    fx_fini(&fx);
}

/* Its slot outlives the watch while an older snapshot is in use. */
static void test_health__removed_and_added_while_ejected(void **state)
{
    struct fx fx;
    struct error err = {0};
    (void)state;
    fx_init(&fx, 2, "ejection = { base_ms = 50; max_ms = 50; };");
    fx_fail(&fx, 0, 5);
    struct snapshot *first = fx.snap;
    struct node *root = fixture_tree(
        "listeners = ( { name = \"l\"; address = \"127.0.0.1:1\"; } ); "
        "upstreams = { u = { endpoints = ( { address = \"127.0.0.1:60002\"; } "
        "); }; };");
    fx.snap = build_snapshot(&fx.world, root, first, &err);
    health_watch(fx.health, fx.snap);
    fx_reload(&fx, 60001, 2, "ejection = { base_ms = 50; max_ms = 50; };");
    assert_ptr_equal(fx_slot(&fx, 0), first->upstreams[0]->endpoints[0].slot);
    assert_true(slot_is_down(fx_slot(&fx, 0)));
    UNTIL(&fx, !slot_is_down(fx_slot(&fx, 0)));
    build_free_snapshot(&fx.world, first);
    fx_fini(&fx);
}

static void test_health__an_added_endpoint_starts_slowly(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx, 2, "slow_start_ms = 60;");
    assert_int_equal(slot_held_back(fx_slot(&fx, 0)), 0);
    fx_reload(&fx, 60001, 3, "slow_start_ms = 60;");
    assert_int_equal(slot_held_back(fx_slot(&fx, 0)), 0);
    uint32_t last = slot_held_back(fx_slot(&fx, 2));
    assert_int_equal(last, VITALS_SHARE * 9 / 10);
    bool has_grown = false;
    while (last != 0) {
        loop_run_once(fx.loop, TURN_MS);
        const uint32_t now = slot_held_back(fx_slot(&fx, 2));
        assert_true(now <= last);
        has_grown = has_grown || (now < last && now > 0);
        last = now;
    }
    assert_true(has_grown);
    assert_false(
        timer_is_armed(&health_find(fx.health, fx_slot(&fx, 2))->slow_timer));
    fx_fini(&fx);
}

/* A listening socket; its port. */
static unsigned fx_listen(int *fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(*fd, 16), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

#define CHECK_TEXT                                                             \
    "health_check = { kind = \"tcp\"; interval_ms = 10; fall = 3; };"

static void test_health__a_tcp_probe_takes_out_and_lets_in(void **state)
{
    struct fx fx;
    int fd;
    (void)state;
    const unsigned port = fx_listen(&fd);
    fx_init(&fx, 0, "");
    fx_reload(&fx, port, 1, CHECK_TEXT);
    struct slot *slot = fx_slot(&fx, 0);
    UNTIL(&fx, slot->vitals.n_probes >= 3);
    assert_int_equal(slot->vitals.n_probes_failed, 0);
    close(fd);
    UNTIL(&fx, slot_is_down(slot));
    assert_int_equal(slot->vitals.n_probes_failed, 3);
    assert_true(slot_is_panic(fx_whole(&fx)));
    /* Without checks it is up, and nothing is armed any more. */
    fx_reload(&fx, port, 1, "");
    assert_false(slot_is_down(slot));
    const uint64_t n = slot->vitals.n_probes;
    const struct health_watch *w = health_find(fx.health, slot);
    assert_null(w->probe);
    assert_false(timer_is_armed(&w->probe_timer));
    /* The first probe of new checks decides alone. */
    fx_reload(&fx, port, 1, CHECK_TEXT);
    UNTIL(&fx, slot_is_down(slot));
    assert_int_equal(slot->vitals.n_probes, n + 1);
    fx_fini(&fx);
}

static void test_health__no_more_probes_than_allowed(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx, 2, CHECK_TEXT);
    fx.health->n_probing = HEALTH_N_PROBES_MAX;
    for (int i = 0; i < 30; i++) {
        loop_run_once(fx.loop, TURN_MS);
    }
    assert_int_equal(fx_slot(&fx, 0)->vitals.n_probes, 0);
    fx.health->n_probing = 0;
    UNTIL(&fx, fx_slot(&fx, 0)->vitals.n_probes > 0);
    fx_fini(&fx);
}

/* Ends, and a reload that removes the endpoint, while a probe waits. */
static void test_health__a_probe_that_hangs_is_dropped(void **state)
{
    struct fx fx;
    int fd;
    (void)state;
    const unsigned port = fx_listen(&fd);
    const char *check = "health_check = { kind = \"http\"; interval_ms = 10; "
                        "timeout_ms = 60000; };";
    fx_init(&fx, 0, "");
    fx_reload(&fx, port, 1, check);
    UNTIL(&fx, !list_is_empty(&fx.health->probes));
    assert_int_equal(fx.health->n_probing, 1);
    fx_reload(&fx, port, 0, check);
    assert_int_equal(fx.health->n_probing, 0);
    UNTIL(&fx, list_is_empty(&fx.health->probes));
    fx_reload(&fx, port, 1, check);
    UNTIL(&fx, !list_is_empty(&fx.health->probes));
    fx_fini(&fx);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health__ejects_and_takes_back),
        cmocka_unit_test(test_health__never_ejects_more_than_allowed),
        cmocka_unit_test(test_health__late_messages_do_no_harm),
        cmocka_unit_test(test_health__fails_open_below_the_floor),
        cmocka_unit_test(test_health__state_survives_a_reload),
        cmocka_unit_test(test_health__removed_and_added_while_ejected),
        cmocka_unit_test(test_health__an_added_endpoint_starts_slowly),
        cmocka_unit_test(test_health__a_tcp_probe_takes_out_and_lets_in),
        cmocka_unit_test(test_health__no_more_probes_than_allowed),
        cmocka_unit_test(test_health__a_probe_that_hangs_is_dropped),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
