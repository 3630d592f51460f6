/*
 * The promises of metric: sums over sets, the bounds of the histogram and the
 * text that Prometheus reads.
 */
#include "base/metric.c"

#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

/* The whole page as one C string; the caller frees it. */
static char *test_page(void)
{
    struct buf out;
    buf_init(&out, NULL);
    metric_print(&out);
    const size_t len = buf_len(&out);
    char *page = mem_new(len + 1);
    size_t at = 0;
    while (buf_len(&out) > 0) {
        const struct str piece = buf_peek(&out);
        memcpy(page + at, piece.p, piece.len);
        at += piece.len;
        buf_drop(&out, piece.len);
    }
    return page;
}

static void test_metric__total_adds_up_the_sets(void **state)
{
    (void)state;
    struct metric_set *a = metric_set_new();
    struct metric_set *b = metric_set_new();
    const uint64_t before = metric_total(METRIC_EXCHANGES_TOTAL);
    metric_add(a, METRIC_EXCHANGES_TOTAL, 3);
    metric_add(b, METRIC_EXCHANGES_TOTAL, 4);
    metric_add(b, METRIC_RETRIES_TOTAL, 100);
    assert_int_equal(metric_total(METRIC_EXCHANGES_TOTAL), before + 7);
    metric_add(a, METRIC_EXCHANGES, 5);
    metric_sub(a, METRIC_EXCHANGES, 2);
    assert_int_equal(metric_total(METRIC_EXCHANGES), 3);
}

static void test_metric__page_has_help_type_and_value_of_each(void **state)
{
    (void)state;
    struct metric_set *set = metric_set_new();
    metric_add(set, METRIC_TUNNELS, 2);
    metric_add(set, METRIC_SENT_BYTES, UINT64_C(5000000000));
    char *page = test_page();
    assert_non_null(strstr(page, "# HELP dm_tunnels Upgraded connections "
                                 "(WebSocket) that are open now.\n"
                                 "# TYPE dm_tunnels gauge\n"
                                 "dm_tunnels 2\n"));
    assert_non_null(strstr(page, "# TYPE dm_client_sent_bytes_total counter\n"
                                 "dm_client_sent_bytes_total 5000000000\n"));
    assert_non_null(
        strstr(page, "\ndm_log_lines_dropped_total{log=\"access\"} 0\n"));
    for (size_t i = 0; i < METRIC_N; i++) {
        char want[128];
        snprintf(want, sizeof want, "\n%s ", metric_rows[i].name);
        assert_non_null(strstr(page, want));
    }
    assert_int_equal(page[strlen(page) - 1], '\n');
    mem_free(page);
}

static void test_metric__histogram_is_cumulative(void **state)
{
    (void)state;
    struct metric_set *set = metric_set_new();
    metric_observe_duration(set, 0);
    metric_observe_duration(set, 250);
    metric_observe_duration(set, 251);
    metric_observe_duration(set, 8192000);
    metric_observe_duration(set, 8192001);
    char *page = test_page();
    assert_non_null(strstr(page, "_bucket{le=\"0.00025\"} 2\n"));
    assert_non_null(strstr(page, "_bucket{le=\"0.0005\"} 3\n"));
    assert_non_null(strstr(page, "_bucket{le=\"4.096\"} 3\n"));
    assert_non_null(strstr(page, "_bucket{le=\"8.192\"} 4\n"));
    assert_non_null(strstr(page, "_bucket{le=\"+Inf\"} 5\n"));
    assert_non_null(strstr(page, "dm_exchange_duration_seconds_sum 16.384502\n"
                                 "dm_exchange_duration_seconds_count 5\n"));
    mem_free(page);
}

static void test_metric__sets_of_two_loops_share_no_cache_line(void **state)
{
    (void)state;
    assert_true(offsetof(struct metric_node, set) >= 64);
    assert_true(sizeof(struct metric_node) >=
                offsetof(struct metric_node, set) + sizeof(struct metric_set) +
                    64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metric__histogram_is_cumulative),
        cmocka_unit_test(test_metric__total_adds_up_the_sets),
        cmocka_unit_test(test_metric__page_has_help_type_and_value_of_each),
        cmocka_unit_test(test_metric__sets_of_two_loops_share_no_cache_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
