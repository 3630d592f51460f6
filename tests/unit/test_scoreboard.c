/*
 * The promises of scoreboard: a slot per key that outlives snapshots, dense
 * indices, cache lines of its own, and text that Prometheus can read.
 */
#include "upstream/scoreboard.c"

#include <setjmp.h>

#include <cmocka.h>

static char *scoreboard_text(struct scoreboard *sb)
{
    struct buf out;
    buf_init(&out, NULL);
    scoreboard_print(sb, &out);
    char *text = mem_new(buf_len(&out) + 1);
    size_t len = 0;
    while (buf_len(&out) > 0) {
        const struct str piece = buf_peek(&out);
        memcpy(text + len, piece.p, piece.len);
        len += piece.len;
        buf_drop(&out, piece.len);
    }
    buf_fini(&out);
    return text;
}

static size_t text_count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(text, what); at != NULL;
         at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

static void test_scoreboard__same_key_same_slot(void **state)
{
    (void)state;
    struct scoreboard *sb = scoreboard_new();
    struct slot *a = scoreboard_take(sb, STR("endpoint|a"), STR("u"), STR("a"));
    struct slot *b = scoreboard_take(sb, STR("endpoint|b"), STR("u"), STR("b"));
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(scoreboard_take(sb, STR("endpoint|a"), STR("u"), STR("a")),
                     a);
    assert_int_equal(a->n_refs, 2);
    assert_int_equal(scoreboard_count(sb), 2);
    /* Counters survive for as long as one snapshot holds on. */
    slot_begin(a);
    scoreboard_give(sb, a);
    assert_int_equal(slot_in_flight(a), 1);
    slot_end(a);
    assert_int_equal(slot_in_flight(a), 0);
    scoreboard_give(sb, a);
    assert_int_equal(scoreboard_count(sb), 1);
    a = scoreboard_take(sb, STR("endpoint|a"), STR("u"), STR("a"));
    assert_int_equal(atomic_load(&a->n_requests), 0);
    scoreboard_free(sb);
}

static void test_scoreboard__indices_stay_dense(void **state)
{
    (void)state;
    enum { N = 1000 };
    static struct slot *slots[N];
    bool seen[N] = {false};
    char key[32];
    struct scoreboard *sb = scoreboard_new();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < N; i++) {
            if (slots[i] == NULL) {
                snprintf(key, sizeof key, "endpoint|%u|%u", round, i);
                slots[i] =
                    scoreboard_take(sb, str_from(key), STR("u"), str_from(key));
            }
        }
        for (unsigned i = round; i < N; i += 3) {
            scoreboard_give(sb, slots[i]);
            slots[i] = NULL;
        }
    }
    for (unsigned i = 0; i < N; i++) {
        if (slots[i] != NULL) {
            assert_in_range(slots[i]->index, 0, N - 1);
            assert_false(seen[slots[i]->index]);
            seen[slots[i]->index] = true;
        }
    }
    scoreboard_free(sb);
}

static void test_scoreboard__slots_do_not_share_lines(void **state)
{
    (void)state;
    struct scoreboard *sb = scoreboard_new();
    char key[32];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "endpoint|%u", i);
        const struct slot *slot =
            scoreboard_take(sb, str_from(key), STR("u"), str_from(key));
        assert_int_equal((uintptr_t)slot % 64, 0);
    }
    assert_int_equal(offsetof(struct slot, is_down) % 64, 0);
    assert_true(offsetof(struct slot, is_down) >= 64);
    scoreboard_free(sb);
}

static void test_scoreboard__prints_each_metric_as_a_group(void **state)
{
    (void)state;
    struct scoreboard *sb = scoreboard_new();
    struct slot *b = scoreboard_take(sb, STR("e|b"), STR("web"), STR("b:80"));
    struct slot *a = scoreboard_take(sb, STR("e|a"), STR("web"), STR("a:80"));
    struct slot *u = scoreboard_take(sb, STR("u|web"), STR("web"), STR_NONE);
    slot_begin(a);
    slot_begin(b);
    slot_begin(b);
    slot_end(b);
    slot_begin(u);
    atomic_store(&b->n_failures, 5);
    atomic_store(&b->n_conns, 6);
    atomic_store(&b->n_connects, 7);
    atomic_store(&b->n_retries, 1ULL << 60);
    atomic_store(&a->is_down, true);
    char *text = scoreboard_text(sb);
    const char *const lines =
        "dm_endpoint_requests_total{upstream=\"web\",endpoint=\"a:80\"} 1\n"
        "dm_endpoint_requests_total{upstream=\"web\",endpoint=\"b:80\"} 2\n";
    assert_non_null(strstr(text, lines));
    const char *const values[] = {
        "dm_endpoint_failures_total{upstream=\"web\",endpoint=\"b:80\"} 5\n",
        "dm_endpoint_in_flight{upstream=\"web\",endpoint=\"b:80\"} 1\n",
        "dm_endpoint_connections{upstream=\"web\",endpoint=\"b:80\"} 6\n",
        "dm_endpoint_connects_total{upstream=\"web\",endpoint=\"b:80\"} 7\n",
        "dm_endpoint_down{upstream=\"web\",endpoint=\"a:80\"} 1\n",
        "dm_endpoint_down{upstream=\"web\",endpoint=\"b:80\"} 0\n",
        "dm_upstream_requests_total{upstream=\"web\"} 1\n",
        "dm_upstream_in_flight{upstream=\"web\"} 1\n",
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_non_null(strstr(text, values[i]));
    }
    assert_non_null(strstr(text, "dm_endpoint_retries_total{upstream=\"web\","
                                 "endpoint=\"b:80\"} 1152921504606846976\n"));
    assert_int_equal(text_count(text, "# HELP "), 21);
    assert_int_equal(text_count(text, "# TYPE "), 21);
    assert_int_equal(text_count(text, "\n"), 42 + 13 * 2 + 8);
    mem_free(text);
    scoreboard_free(sb);
}

static void test_scoreboard__escapes_labels(void **state)
{
    (void)state;
    struct scoreboard *sb = scoreboard_new();
    scoreboard_take(sb, STR("e"), STR("a\"b\\c\nd"), STR(""));
    char *text = scoreboard_text(sb);
    assert_non_null(strstr(text, "{upstream=\"a\\\"b\\\\c\\nd\",endpoint=\"\"}"
                                 " 0\n"));
    mem_free(text);
    scoreboard_free(sb);
}

static void test_scoreboard__a_series_is_never_there_twice(void **state)
{
    (void)state;
    struct scoreboard *sb = scoreboard_new();
    struct slot *old = scoreboard_take(sb, STR("e|1"), STR("u"), STR("x"));
    struct slot *new = scoreboard_take(sb, STR("e|2"), STR("u"), STR("x"));
    slot_begin(old);
    slot_begin(new);
    slot_begin(new);
    atomic_store(&old->is_down, true);
    atomic_store(&new->is_down, true);
    char *text = scoreboard_text(sb);
    assert_int_equal(text_count(text, "dm_endpoint_requests_total{"), 1);
    assert_non_null(strstr(text, "dm_endpoint_requests_total{upstream=\"u\","
                                 "endpoint=\"x\"} 3\n"));
    assert_non_null(
        strstr(text, "dm_endpoint_down{upstream=\"u\",endpoint=\"x\"} 1\n"));
    mem_free(text);
    scoreboard_free(sb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scoreboard__same_key_same_slot),
        cmocka_unit_test(test_scoreboard__indices_stay_dense),
        cmocka_unit_test(test_scoreboard__slots_do_not_share_lines),
        cmocka_unit_test(test_scoreboard__prints_each_metric_as_a_group),
        cmocka_unit_test(test_scoreboard__escapes_labels),
        cmocka_unit_test(test_scoreboard__a_series_is_never_there_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
