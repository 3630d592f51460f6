/*
 * Unit tests of http/codec: limits, and what a stream hears of its death.
 */
#include "http/codec.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int n_faults;
static int n_closes;
static bool want_close;

static void note_fault(struct stream *s, enum fault f)
{
    assert_int_equal(f, FAULT_CLIENT_GONE);
    assert_true(s->is_dead);
    n_faults++;
    if (want_close) {
        stream_close(s);
    }
}

static void note_close(struct stream *s)
{
    assert_true(s->is_closed);
    n_closes++;
}

static const struct stream_ops note_ops = {.on_fault = note_fault};
static const struct codec_ops codec_note_ops = {.close = note_close};

static void test_codec__equal_limits_are_one_object(void **state)
{
    struct codec_limits a;
    struct codec_limits b;

    (void)state;
    // Padding that differs must not matter.
    memset(&a, 0xff, sizeof(a));
    memset(&b, 0x00, sizeof(b));
    a = codec_limits_default();
    b = codec_limits_default();
    const struct codec_limits *const first = codec_limits_intern(&a);
    assert_ptr_equal(codec_limits_intern(&b), first);
    b.head_timeout_ms++;
    const struct codec_limits *const second = codec_limits_intern(&b);
    assert_ptr_not_equal(second, first);
    assert_int_equal(second->head_timeout_ms, first->head_timeout_ms + 1);
    b.head_timeout_ms--;
    b.has_prior_knowledge = true;
    assert_ptr_not_equal(codec_limits_intern(&b), first);
    assert_ptr_equal(codec_limits_intern(&a), first);
}

static void test_codec__a_stream_fails_once(void **state)
{
    struct codec k = {.ops = &codec_note_ops};
    struct stream s = {.codec = &k, .ops = &note_ops};

    (void)state;
    n_faults = 0;
    n_closes = 0;
    want_close = false;
    stream_fail(&s, FAULT_CLIENT_GONE);
    stream_fail(&s, FAULT_CLIENT_GONE);
    assert_int_equal(n_faults, 1);
    stream_close(&s);
    assert_int_equal(n_closes, 1);
}

static void test_codec__a_closed_stream_hears_nothing(void **state)
{
    struct codec k = {.ops = &codec_note_ops};
    struct stream s = {.codec = &k, .ops = &note_ops};

    (void)state;
    n_faults = 0;
    n_closes = 0;
    stream_close(&s);
    stream_fail(&s, FAULT_CLIENT_GONE);
    assert_int_equal(n_faults, 0);
    assert_int_equal(n_closes, 1);
}

static void test_codec__a_stream_may_be_closed_in_its_fault(void **state)
{
    struct codec k = {.ops = &codec_note_ops};
    struct stream s = {.codec = &k, .ops = &note_ops};

    (void)state;
    n_faults = 0;
    n_closes = 0;
    want_close = true;
    stream_fail(&s, FAULT_CLIENT_GONE);
    assert_int_equal(n_faults, 1);
    assert_int_equal(n_closes, 1);
}

/* The leak checker sees whether the memory went. */
static void test_codec__an_orphan_is_freed_by_its_owner(void **state)
{
    struct stream *const s = mem_new(sizeof(*s));

    (void)state;
    s->ops = &note_ops;
    s->is_dead = true;
    assert_int_equal(stream_n_queued(s), 0);
    stream_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec__equal_limits_are_one_object),
        cmocka_unit_test(test_codec__a_stream_fails_once),
        cmocka_unit_test(test_codec__a_closed_stream_hears_nothing),
        cmocka_unit_test(test_codec__a_stream_may_be_closed_in_its_fault),
        cmocka_unit_test(test_codec__an_orphan_is_freed_by_its_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
