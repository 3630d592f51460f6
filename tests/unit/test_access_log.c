/*
 * Unit tests of proxy/access_log: what a line holds, what is escaped in it,
 * and what is said about a wrong format.
 */
#include "proxy/access_log.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* An exchange that has been through everything. */
struct fx {
    struct worker w;
    struct loop loop;
    struct client client;
    struct conn conn;
    struct snapshot snap;
    struct listener listener;
    struct route route;
    struct upstream up;
    struct endpoint ep;
    struct head h;
    struct arena arena;
    struct exchange x;
    struct access_line line;
};

static void fx_init(struct fx *fx)
{
    memset(fx, 0, sizeof(*fx));
    struct exchange *x = &fx->x;
    x->end_us = 5000;
    fx->loop.wall_us = UINT64_C(1700000000123456);
    fx->w.loop = &fx->loop;
    fx->listener = (struct listener){.name = STR("web"), .id = 3};
    fx->snap.listeners = &fx->listener;
    fx->snap.n_listeners = 1;
    fx->client.conn = &fx->conn;
    fx->client.listener_id = 3;
    fx->route.name = STR("r1");
    fx->up.name = STR("u1");
    fx->ep.id = STR("10.0.0.1:80");
    arena_init(&fx->arena, NULL, 1 << 20);
    head_init(&fx->h, &fx->arena);
    fx->h.version = 11;
    assert_true(head_add_copy(&fx->h, STR("user-agent"), STR("test/1")));
    x->w = &fx->w;
    x->client = &fx->client;
    x->snap = &fx->snap;
    x->route = &fx->route;
    x->up = &fx->up;
    x->ep = &fx->ep;
    x->h = &fx->h;
    x->request_id = STR("id-1");
    x->log_method = STR("GET");
    x->log_host = STR("a.test");
    x->log_path = STR("/a?b");
    x->status = 200;
    x->grpc_status = -1;
    x->why = "round_robin";
    x->n_attempts = 2;
    x->upload.n_bytes = 7;
    x->download.n_bytes = 9;
    x->begin_us = 1000;
    x->picked_us = 1100;
    x->connected_us = 1300;
    x->response_us = 1700;
    assert_true(addr_parse(STR("192.0.2.1:5"), &x->peer));
}

static void fx_fini(struct fx *fx)
{
    arena_reset(&fx->arena);
}

/* The line of a format, as a C string. */
static const char *fx_print(struct fx *fx, const char *format)
{
    static char text[LOG_LINE_BYTES_MAX + 1];
    struct error err = {0};
    struct access_format *f = access_format_new(str_from(format), &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(f);
    fx->line.len = 0;
    if (f->is_json) {
        access_write_json(&fx->line, &fx->x);
    } else {
        access_write_text(&fx->line, &fx->x, f);
    }
    access_format_free(f);
    memcpy(text, fx->line.text, fx->line.len);
    text[fx->line.len] = '\0';
    return text;
}

static void test_access_log__json_holds_everything(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    assert_string_equal(
        fx_print(&fx, "json"),
        "{\"time\":\"2023-11-14T22:13:20.123Z\",\"request_id\":\"id-1\","
        "\"client\":\"192.0.2.1:5\",\"listener\":\"web\",\"sni\":\"-\","
        "\"client_subject\":\"-\",\"protocol\":\"http/1.1\","
        "\"method\":\"GET\",\"host\":\"a.test\",\"path\":\"/a?b\","
        "\"status\":200,\"grpc_status\":null,\"route\":\"r1\","
        "\"upstream\":\"u1\",\"endpoint\":\"10.0.0.1:80\","
        "\"picked_by\":\"round_robin\",\"attempts\":2,\"fault\":\"-\","
        "\"detail\":\"-\",\"received_bytes\":7,\"sent_bytes\":9,"
        "\"duration_us\":4000,\"pick_us\":100,\"connect_us\":200,"
        "\"wait_us\":400,\"body_us\":3300,\"user_agent\":\"test/1\"}");
    fx_fini(&fx);
}

/* A request whose head was refused has next to nothing to tell. */
static void test_access_log__what_is_missing_is_a_dash(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    struct exchange x = {
        .w = &fx.w,
        .client = &fx.client,
        .snap = &fx.snap,
        .begin_us = 5000,
        .grpc_status = -1,
        .fault = FAULT_BAD_REQUEST,
        .status = 400,
    };
    fx.client.listener_id = 99; /* a reload took the listener away */
    fx.x = x;
    assert_string_equal(
        fx_print(&fx, "${listener} ${method} ${host} ${path} ${route} "
                      "${upstream} ${endpoint} ${picked_by} ${user_agent} "
                      "${protocol} ${status} ${fault} ${wait_us} ${pick_us}"),
        "- - - - - - - - - - 400 bad_request 0 0");
    const char *json = fx_print(&fx, "json");
    assert_int_equal(json[strlen(json) - 1], '}');
    fx_fini(&fx);
}

static void test_access_log__a_format_is_text_and_variables(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    assert_string_equal(fx_print(&fx, "${method} ${path}"), "GET /a?b");
    assert_string_equal(fx_print(&fx, "[${status}] $x ${method}$"),
                        "[200] $x GET$");
    assert_string_equal(fx_print(&fx, "plain"), "plain");
    assert_string_equal(fx_print(&fx, "${status}${status}"), "200200");
    fx_fini(&fx);
}

static void test_access_log__traffic_cannot_forge_lines(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    fx.x.log_path = STR("/\"\\\n\r\x01\x7f\xff");
    assert_string_equal(fx_print(&fx, "${path}"),
                        "/\\\"\\\\\\u000a\\u000d\\u0001\\u007f\\u00ff");
    fx_fini(&fx);
}

/* Long values are cut one by one, so that the later ones are still there. */
static void test_access_log__long_values_are_cut(void **state)
{
    struct fx fx;
    static char path[20000];
    (void)state;
    fx_init(&fx);
    memset(path, 'p', sizeof(path));
    fx.x.log_path = str_make(path, sizeof(path));
    const char *line = fx_print(&fx, "${path}|${status}");
    assert_int_equal(strlen(line), 1024 + 4);
    assert_string_equal(line + 1024, "|200");
    fx_fini(&fx);
}

/* However bad it gets, no more than a line is written. */
static void test_access_log__a_line_has_its_limit(void **state)
{
    struct fx fx;
    static char path[2000];
    char format[2048] = "";
    (void)state;
    fx_init(&fx);
    memset(path, '\n', sizeof(path));
    fx.x.log_path = str_make(path, sizeof(path));
    for (int i = 0; i < 60; i++) {
        strncat(format, "${path}", sizeof(format) - strlen(format) - 1);
    }
    const size_t len = strlen(fx_print(&fx, format));
    assert_in_range(len, LOG_LINE_BYTES_MAX - 6, LOG_LINE_BYTES_MAX);
    fx_fini(&fx);
}

static void test_access_log__json_is_whole_whatever_comes(void **state)
{
    struct fx fx;
    static char bytes[3000];
    (void)state;
    fx_init(&fx);
    memset(bytes, 0x80, sizeof(bytes));
    const struct str all = str_make(bytes, sizeof(bytes));
    fx.x.request_id = fx.x.log_method = fx.x.log_host = fx.x.log_path = all;
    fx.x.detail = fx.route.name = fx.up.name = fx.ep.id = all;
    fx.listener.name = all;
    head_set(&fx.h, STR("user-agent"), all);
    fx.x.upload.n_bytes = fx.x.download.n_bytes = UINT64_MAX;
    fx.x.end_us = UINT64_MAX;
    const char *json = fx_print(&fx, "json");
    const size_t len = strlen(json);
    assert_true(len <= LOG_LINE_BYTES_MAX);
    assert_non_null(strstr(json, "\"sent_bytes\":18446744073709551615,"));
    assert_int_equal(strncmp(json + len - 2, "\"}", 2), 0);
    assert_non_null(strstr(json, "\"user_agent\":\""));
    fx_fini(&fx);
}

static void test_access_log__grpc_has_its_own_status(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    assert_string_equal(fx_print(&fx, "${grpc_status}"), "null");
    fx.x.grpc_status = 14;
    fx.h.version = 20;
    fx.h.is_grpc = true;
    assert_string_equal(fx_print(&fx, "${grpc_status} ${protocol}"), "14 grpc");
    fx_fini(&fx);
}

static void check_problem(const char *format, const char *message)
{
    struct error err = {0};
    assert_null(access_format_new(str_from(format), &err));
    assert_string_equal(error_text(&err), message);
    error_fini(&err);
}

static void test_access_log__a_wrong_format_is_explained(void **state)
{
    (void)state;
    check_problem("${statsu}",
                  "${statsu} is not a variable; did you mean ${status}?\n");
    check_problem("a ${method", "\"${\" without \"}\"; close it\n");
    char many[129 * 9 + 1] = "";
    for (int i = 0; i < 129; i++) {
        memcpy(many + 9 * i, "${status}", 10);
    }
    check_problem(many, "more than 128 variables; shorten it\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_log__json_holds_everything),
        cmocka_unit_test(test_access_log__what_is_missing_is_a_dash),
        cmocka_unit_test(test_access_log__a_format_is_text_and_variables),
        cmocka_unit_test(test_access_log__traffic_cannot_forge_lines),
        cmocka_unit_test(test_access_log__long_values_are_cut),
        cmocka_unit_test(test_access_log__a_line_has_its_limit),
        cmocka_unit_test(test_access_log__json_is_whole_whatever_comes),
        cmocka_unit_test(test_access_log__grpc_has_its_own_status),
        cmocka_unit_test(test_access_log__a_wrong_format_is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
