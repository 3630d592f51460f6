/*
 * The buckets of h2_guard: what is free, what is paid, what time gives back.
 */
#include "http/h2_guard.c"

#include "h2_fixture.h"

struct guarded {
    struct h2 h2;
    struct loop loop;
    struct codec_limits limits;
    int n_drains;
};

static struct guarded *guarded_of_test;

static void guarded_drain(struct codec *k)
{
    k->is_draining = true;
    guarded_of_test->n_drains++;
}

static const struct codec_ops guarded_ops = {.drain = guarded_drain};

static struct guarded *guarded_new(bool is_server)
{
    struct guarded *const g = mem_new(sizeof(*g));
    g->limits = codec_limits_default();
    g->loop.now_ms = 1000;
    g->h2.codec.limits = &g->limits;
    g->h2.codec.loop = &g->loop;
    g->h2.codec.ops = &guarded_ops;
    g->h2.codec.is_server = is_server;
    guarded_of_test = g;
    h2_guard_init(&g->h2);
    return g;
}

static int
guarded_count(struct guarded *g, uint8_t type, uint8_t flags, size_t len)
{
    const nghttp2_frame_hd hd = {.type = type, .flags = flags, .length = len};
    int n = 0;
    while (n < 5000 && h2_guard_frame(&g->h2, &hd)) {
        n++;
    }
    return n;
}

static void test_h2_guard__each_frame_has_its_budget(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        uint8_t flags;
        size_t len;
        int n;
    } cases[] = {
        {NGHTTP2_HEADERS, 0, 9, 5000},
        {NGHTTP2_DATA, 0, 1, 5000},
        {NGHTTP2_DATA, 1, 0, 5000},
        {NGHTTP2_DATA, 0, 0, 500},
        {NGHTTP2_SETTINGS, 0, 0, 10},
        {NGHTTP2_SETTINGS, 1, 0, 5000},
        {NGHTTP2_PING, 0, 8, 508},
        {NGHTTP2_PING, 1, 8, 5000},
        {NGHTTP2_PRIORITY, 0, 5, 600},
        {NGHTTP2_WINDOW_UPDATE, 0, 4, 600},
        {0x10, 0, 5, 600},
        {0xfa, 0, 5, 500},
        {NGHTTP2_PUSH_PROMISE, 0, 5, 500},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct guarded *const g = guarded_new(true);
        assert_int_equal(
            guarded_count(g, cases[i].type, cases[i].flags, cases[i].len),
            cases[i].n);
        mem_free(g);
    }
}

static void test_h2_guard__time_gives_back(void **state)
{
    (void)state;
    struct guarded *const g = guarded_new(true);
    assert_int_equal(guarded_count(g, 0xfa, 0, 5), 500);
    g->loop.now_ms += 1000;
    assert_int_equal(guarded_count(g, 0xfa, 0, 5), 33);
    g->loop.now_ms += UINT64_MAX / 2;
    assert_int_equal(guarded_count(g, 0xfa, 0, 5), 500);
    mem_free(g);
}

static void test_h2_guard__three_quarters_drain(void **state)
{
    (void)state;
    struct guarded *const g = guarded_new(true);
    for (int i = 0; i < 375; i++) {
        assert_true(h2_guard_glitch(&g->h2));
    }
    assert_int_equal(g->n_drains, 0);
    assert_true(h2_guard_glitch(&g->h2));
    assert_int_equal(g->n_drains, 1);
    assert_true(h2_guard_glitch(&g->h2));
    assert_int_equal(g->n_drains, 1);
    assert_int_equal(g->h2.codec.n_glitches, 377);
    mem_free(g);
}

static void test_h2_guard__what_we_send_may_be_answered(void **state)
{
    (void)state;
    struct guarded *const g = guarded_new(true);
    const nghttp2_frame_hd ping = {.type = NGHTTP2_PING, .length = 8};
    const nghttp2_frame_hd update = {.type = NGHTTP2_WINDOW_UPDATE,
                                     .length = 4};
    for (int i = 0; i < 5000; i++) {
        h2_guard_on_sent(&g->h2);
        assert_true(h2_guard_frame(&g->h2, &ping));
        for (int j = 0; j < 10; j++) {
            assert_true(h2_guard_frame(&g->h2, &update));
        }
    }
    assert_int_equal(g->h2.codec.n_glitches, 0);
    mem_free(g);
}

static void test_h2_guard__resets_of_clients_are_counted(void **state)
{
    (void)state;
    struct guarded *g = guarded_new(true);
    int n = 0;
    while (n < 1000 && h2_guard_reset(&g->h2)) {
        n++;
    }
    assert_int_equal(n, 200);
    mem_free(g);
    g = guarded_new(false);
    for (n = 0; n < 1000; n++) {
        assert_true(h2_guard_reset(&g->h2));
    }
    mem_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h2_guard__each_frame_has_its_budget),
        cmocka_unit_test(test_h2_guard__time_gives_back),
        cmocka_unit_test(test_h2_guard__three_quarters_drain),
        cmocka_unit_test(test_h2_guard__what_we_send_may_be_answered),
        cmocka_unit_test(test_h2_guard__resets_of_clients_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
