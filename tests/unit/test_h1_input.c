/*
 * Unit tests of http/h1_input: what an HTTP/1.1 codec tells of the bytes that
 * come. Each row runs with the bytes in one piece, byte by byte and in pieces
 * of seven, over a real conn, and must come out the same.
 */
#include "http/h1_input.c"

#include "h1_fixture.h"

#define H "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" H "\r\n"
#define POST(path, more) "POST " path " HTTP/1.1\r\n" H more "\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define LENGTH(n) "Content-Length: " #n "\r\n"

static const size_t steps[] = {100000, 1, 7};
enum { N_STEPS = sizeof(steps) / sizeof(steps[0]) };

/* ---- requests ----------------------------------------------------------- */

static const struct {
    const char *wire;
    bool is_shut; /* the client then sends FIN */
    const char *log;
    const char *answers;
} request_rows[] = {
    {GET("/a"), false, "GET /a[] ", "200"},
    {GET("/a") GET("/b") GET("/c"), false, "GET /a[] GET /b[] GET /c[] ",
     "200 200 200"},
    {"HEAD / HTTP/1.1\r\n" H "\r\n", false, "HEAD /[] ", "200"},
    {POST("/", LENGTH(3)) "abc", false, "POST /[abc] ", "200"},
    {POST("/", LENGTH(0)) GET("/b"), false, "POST /[] GET /b[] ", "200 200"},
    {POST("/", LENGTH(3)) "abc" GET("/b"), false, "POST /[abc] GET /b[] ",
     "200 200"},
    {POST("/", CHUNKED) "3\r\nabc\r\n0\r\n\r\n" GET("/b"), false,
     "POST /[abc] GET /b[] ", "200 200"},
    {POST("/", CHUNKED) "1;x=y\r\na\r\n2\r\nbc\r\n00\r\n\r\n" GET("/b"), false,
     "POST /[abc] GET /b[] ", "200 200"},
    {POST("/", CHUNKED) "0\r\n\r\n" GET("/b"), false, "POST /[] GET /b[] ",
     "200 200"},
    {POST("/", CHUNKED) "3\r\nabc\r\n0\r\nX-A: 1\r\nHost: b\r\n\r\n" GET("/b"),
     false, "POST /[abc+x-a=1] GET /b[] ", "200 200"},
    {POST("/", CHUNKED) "3\r\nabc\r\n0\r\nHost: b\r\n\r\n" GET("/b"), false,
     "POST /[abc] GET /b[] ", "200 200"},
    // Empty lines: one is skipped.
    {"\r\n" GET("/a") "\r\n" GET("/b"), false, "GET /a[] GET /b[] ", "200 200"},
    {"\r\n\r\n" GET("/a"), false, "!bad_request ", "400c."},
    // Keeping and closing.
    {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n" GET("/b"), false,
     "GET /[] ", "200c."},
    {"GET / HTTP/1.0\r\n\r\n" GET("/b"), false, "GET /[] ", "200c."},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET("/b"), false,
     "GET /[] GET /b[] ", "200 200"},
    // Malformed: answered, closed, nothing behind it is served.
    {"GET /\r\n\r\n" GET("/b"), false, "!bad_request ", "400c."},
    {GET("/a") "BAD\r\n\r\n" GET("/b"), false, "GET /a[] !bad_request ",
     "200 400c."},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, "!bad_request ", "400c."},
    {"\x16\x03\x01\x02", false, "!tls_on_plain_port ", "400c."},
    {"GET / HTTP/1.1\n", false, "!bad_request ", "400c."},
    {"GET / HTTP/3.0\r\n" H "\r\n", false, "!http_version ", "505c."},
    {"CONNECT a:1 HTTP/1.1\r\n" H "\r\n", false, "!method_not_allowed ",
     "405c."},
    {POST("/", CHUNKED LENGTH(3)) "abc", false, "!bad_request ", "400c."},
    {POST("/", "Transfer-Encoding: gzip\r\n"), false, "!not_implemented ",
     "501c."},
    {POST("/", LENGTH(3) "Expect: x\r\n"), false, "!bad_expectation ", "417c."},
    {POST("/", CHUNKED) "3\r\nabcX", false, "POST /[abc!bad_request ", "400c."},
    {POST("/", CHUNKED) "3\r\nabc\r\n0\r\nbad\r\n\r\n", false,
     "POST /[abc!bad_request ", "400c."},
    {POST("/", CHUNKED) "-1\r\n", false, "POST /[!bad_request ", "400c."},
    // FIN.
    {GET("/a"), true, "GET /a[] ", "200."},
    {GET("/a") GET("/b"), true, "GET /a[] GET /b[] ", "200 200."},
    {GET("/a") "GET /b", true, "GET /a[] ", "200."},
    {"", true, "", "."},
    {"GET /a HTT", true, "", "."},
    {POST("/", LENGTH(3)) "ab", true, "POST /[ab!client_gone ", "."},
    {POST("/", CHUNKED) "3\r\nabc\r\n", true, "POST /[abc!client_gone ", "."},
    {POST("/", CHUNKED) "3\r\nabc\r\n0\r\n", true, "POST /[abc!client_gone ",
     "."},
    {POST("/", CHUNKED) "1\r\na\r\n0\r\n\r\n", true, "POST /[a] ", "200."},
};

/* Broken bodies: whether the last piece was told depends on where it is cut;
 * what matters is that no end was told. */
static void fx_forget_cut_piece(struct fx *fx)
{
    char *const at = strstr(fx->log, "abc!");

    if (at != NULL) {
        memmove(at, at + 3, strlen(at + 3) + 1);
    }
}

static void test_h1_input__requests_come_the_same_in_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(request_rows) / sizeof(request_rows[0]);
         i++) {
        for (size_t j = 0; j < N_STEPS; j++) {
            char want[256];
            struct fx fx;

            fx_init(&fx, true);
            fx_start(&fx);
            fx_say(&fx, request_rows[i].wire, steps[j]);
            if (request_rows[i].is_shut) {
                shutdown(fx.fd, SHUT_WR);
                fx_turn(&fx, 6);
            }
            fx_forget_cut_piece(&fx);
            snprintf(want, sizeof(want), "%s", request_rows[i].log);
            char *const cut = strstr(want, "abc!");
            if (cut != NULL) {
                memmove(cut, cut + 3, strlen(cut + 3) + 1);
            }
            if (strcmp(fx.log, want) != 0) {
                fail_msg("'%s' by %zu: got '%s', want '%s'",
                         request_rows[i].wire, steps[j], fx.log, want);
            }
            const char *const answers = fx_answers(&fx);
            if (strcmp(answers, request_rows[i].answers) != 0) {
                fail_msg("'%s' by %zu: got '%s', want '%s'",
                         request_rows[i].wire, steps[j], answers,
                         request_rows[i].answers);
            }
            fx_fini(&fx);
        }
    }
}

/* The owner hears of the end in the call that brings the last bytes. */
static void test_h1_input__the_end_comes_with_the_last_data(void **state)
{
    static const char *const wires[] = {
        POST("/", LENGTH(3)) "abc",
        POST("/", CHUNKED) "3\r\nabc\r\n0\r\n\r\n",
        POST("/", CHUNKED) "1\r\na\r\n2\r\nbc\r\n0\r\nHost: x\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wires) / sizeof(wires[0]); i++) {
        struct fx fx;

        fx_init(&fx, true);
        fx_start(&fx);
        fx_say(&fx, wires[i], 100000);
        assert_true(fx.recs[0].is_end_with_data);
        assert_int_equal(fx.recs[0].n_body, 3);
        fx_fini(&fx);
    }
}

/* A second request waits until the first was answered and closed. */
static void test_h1_input__a_pipelined_request_waits_its_turn(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    fx_say(&fx, GET("/a") GET("/b"), 1);
    assert_string_equal(fx.log, "GET /a[] ");
    rec_answer(&fx.recs[0], 200);
    fx_turn(&fx, 3);
    assert_string_equal(fx.log, "GET /a[] GET /b[] ");
    assert_string_equal(fx_answers(&fx), "200");
    rec_answer(&fx.recs[1], 200);
    fx_turn(&fx, 3);
    assert_string_equal(fx_answers(&fx), "200 200");
    fx_fini(&fx);
}

static void
test_h1_input__a_client_that_goes_is_noticed_while_waiting(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    fx_say(&fx, GET("/a"), 100000);
    shutdown(fx.fd, SHUT_WR);
    fx_turn(&fx, 3);
    assert_string_equal(fx.log, "GET /a[] "); // Half-closed: still wanted.
    close(fx.fd);
    fx.fd = -1;
    rec_send(&fx.recs[0], 200, 100, "x", false);
    fx_turn(&fx, 3);
    assert_string_equal(fx.log, "GET /a[] !client_gone ");
    assert_null(fx.recs[0].s->codec);
    fx_fini(&fx);
}

/* ---- flow of bytes ------------------------------------------------------ */

/* Sends up to `len` bytes of body; how many went. */
static size_t fx_pour(struct fx *fx, size_t len)
{
    static const char zeros[4096];
    size_t at = 0;

    while (at < len) {
        const size_t n = len - at < sizeof(zeros) ? len - at : sizeof(zeros);
        const ssize_t n_sent = send(fx->fd, zeros, n, MSG_NOSIGNAL);

        if (n_sent <= 0) {
            break;
        }
        at += (size_t)n_sent;
        fx_turn(fx, 2);
    }
    return at;
}

static void test_h1_input__no_more_than_the_credit_is_delivered(void **state)
{
    static const char *const heads[] = {
        POST("/", LENGTH(1048576)),
        POST("/", CHUNKED) "100000\r\n",
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fx fx;

        fx_init(&fx, true);
        fx.is_credit_held = true;
        fx.is_body_logged = false;
        fx.mode = FX_BY_HAND;
        fx_start(&fx);
        fx_say(&fx, heads[i], 100000);
        size_t n_poured = fx_pour(&fx, 1024 * 1024);
        struct rec *const r = &fx.recs[0];
        assert_int_equal(r->n_body, fx.limits.buffer_bytes);
        assert_true(fx.c->kept_len <= 256 * 1024);
        for (int round = 0; round < 200 && r->n_body < 1024 * 1024; round++) {
            const size_t n_owed = r->n_owed;
            r->n_owed = 0;
            stream_credit(r->s, n_owed);
            fx_turn(&fx, 3);
            n_poured += fx_pour(&fx, 1024 * 1024 - n_poured);
            assert_true(r->s == NULL ||
                        r->s->n_uncredited <= fx.limits.buffer_bytes);
        }
        assert_int_equal(r->n_body, 1024 * 1024);
        fx_fini(&fx);
    }
}

/* An owner that holds all there is room for must still hear of the end. */
static void test_h1_input__the_end_is_found_without_credit(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.limits.buffer_bytes = 4;
    fx.is_credit_held = true;
    fx_start(&fx);
    fx_say(&fx, POST("/", CHUNKED) "4\r\nabcd\r\n0\r\n\r\n" GET("/b"), 100000);
    assert_string_equal(fx.log, "POST /[abcd] GET /b[] ");
    fx_fini(&fx);
}

/* ---- answers before the end of the request ------------------------------ */

static void test_h1_input__a_short_rest_is_drained(void **state)
{
    (void)state;
    for (size_t j = 0; j < N_STEPS; j++) {
        struct fx fx;

        fx_init(&fx, true);
        fx.mode = FX_AT_HEAD;
        fx_start(&fx);
        fx_say(&fx, POST("/", LENGTH(5)) "ab", steps[j]);
        assert_string_equal(fx_answers(&fx), "200");
        fx_say(&fx, "cde" GET("/b"), steps[j]);
        assert_string_equal(fx.log, "POST /[GET /b[] ");
        assert_string_equal(fx_answers(&fx), "200 200");
        fx_fini(&fx);
    }
}

static void test_h1_input__a_long_rest_closes(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.mode = FX_AT_HEAD;
    fx_start(&fx);
    fx_say(&fx, POST("/", LENGTH(1000000)) "ab", 100000);
    assert_string_equal(fx_answers(&fx), "200c.");
    fx_fini(&fx);
}

/* A connection that was promised must not be closed over what follows. */
static void test_h1_input__an_unknown_rest_closes(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.mode = FX_AT_HEAD;
    fx_start(&fx);
    fx_say(&fx, POST("/", CHUNKED) "5\r\nab", 100000);
    assert_string_equal(fx_answers(&fx), "200c.");
    fx_fini(&fx);
}

static void test_h1_input__an_owner_may_close_in_any_event(void **state)
{
    static const char *const wires[] = {
        POST("/", LENGTH(6)) "abcdef",
        POST("/", CHUNKED) "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
        POST("/", CHUNKED) "3\r\nabc\r\n3\r\ndef\r\n0\r\nX: y\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < N_STEPS; j++) {
            struct fx fx;

            fx_init(&fx, true);
            fx.want_close_on_data = true;
            fx_start(&fx);
            fx_say(&fx, wires[i], steps[j]);
            // Unanswered and closed, or answered because all came at once.
            assert_null(fx.recs[0].s);
            fx_fini(&fx);
        }
    }
}

/* ---- responses ---------------------------------------------------------- */

static const struct {
    const char *method;
    const char *wire;
    bool is_shut;
    const char *log;
    bool is_kept;
} response_rows[] = {
    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false,
     "200[abc] ", true},
    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, "200[] ",
     true},
    {"GET", "HTTP/1.1 200 OK\r\n" CHUNKED "\r\n3\r\nabc\r\n0\r\n\r\n", false,
     "200[abc] ", true},
    {"GET", "HTTP/1.1 200 OK\r\n" CHUNKED "\r\n3\r\nabc\r\n0\r\na_b: c\r\n\r\n",
     false, "200[abc+a_b=c] ", true},
    {"GET", "HTTP/1.1 204 x\r\n\r\n", false, "204[] ", true},
    {"GET", "HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\n", false, "304[] ",
     true},
    {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false, "200[] ",
     true},
    {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, "200[] ",
     false},
    {"GET", "HTTP/1.1 200 OK\r\n\r\nabc", true, "200[abc] ", false},
    {"GET", "HTTP/1.0 200 OK\r\n\r\n", true, "200[] ", false},
    {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", false,
     "200[abc] ", false},
    {"GET",
     "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"
     "abc",
     false, "200[abc] ", false},
    {"GET",
     "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\n\r\n"
     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
     false, "103 200[] ", true},
    {"GET", "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
     false, "!bad_response ", false},
    // More than was announced: the extra is not told, the conn not reused.
    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", false,
     "200[abc] ", false},
    {"GET",
     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
     false, "200[] ", false},
    // Broken ones.
    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", true,
     "200[ab!truncated ", false},
    {"GET", "HTTP/1.1 200 OK\r\n" CHUNKED "\r\n3\r\nabc\r\n", true,
     "200[abc!truncated ", false},
    {"GET", "HTTP/1.1 200 OK\r\n" CHUNKED "\r\nx", false, "200[!bad_response ",
     false},
    {"GET", "HTTP/1.1 200 OK\r\nConte", true, "!truncated ", false},
    {"GET", "", true, "!reset_by_upstream ", false},
    {"GET", "HTTP/1.1 200 OK\r\na b: c\r\n\r\n", false, "!bad_response ",
     false},
    {"GET", "SSH-2.0", false, "!bad_response ", false},
    {"GET", "HTTP/1.1 999 x\r\n\r\n", false, "!bad_response ", false},
    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" CHUNKED "\r\n", false,
     "!bad_response ", false},
};

static void test_h1_input__responses_come_the_same_in_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(response_rows) / sizeof(response_rows[0]);
         i++) {
        for (size_t j = 0; j < N_STEPS; j++) {
            struct fx fx;

            fx_init(&fx, false);
            fx_start(&fx);
            assert_int_equal(fx.n_capacity, 1);
            fx_ask(&fx, response_rows[i].method, -1, true);
            fx_turn(&fx, 2);
            fx_say(&fx, response_rows[i].wire, steps[j]);
            if (response_rows[i].is_shut) {
                shutdown(fx.fd, SHUT_WR);
                fx_turn(&fx, 4);
            }
            if (strcmp(fx.log, response_rows[i].log) != 0) {
                fail_msg("'%s' by %zu: got '%s', want '%s'",
                         response_rows[i].wire, steps[j], fx.log,
                         response_rows[i].log);
            }
            const bool is_kept = fx.n_capacity > 1 && fx.c != NULL;
            // Extra bytes that come later kill it later.
            if (is_kept != response_rows[i].is_kept) {
                fail_msg("'%s' by %zu: kept: %d", response_rows[i].wire,
                         steps[j], is_kept);
            }
            fx_fini(&fx);
        }
    }
}

static void test_h1_input__interim_heads_have_a_limit(void **state)
{
    static const char interim[] = "HTTP/1.1 102 x\r\n\r\n";
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    fx_ask(&fx, "GET", -1, true);
    fx_turn(&fx, 2);
    for (int i = 0; i < 8; i++) {
        fx_say(&fx, interim, 100000);
    }
    assert_string_equal(fx.log, "102 102 102 102 102 102 102 102 ");
    fx_say(&fx, interim, 100000);
    assert_string_equal(fx.log,
                        "102 102 102 102 102 102 102 102 !bad_response ");
    fx_fini(&fx);
}

static void
test_h1_input__bytes_nobody_asked_for_kill_the_connection(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    fx_say(&fx, "HTTP/1.1 408 x\r\n\r\n", 100000);
    assert_null(fx.c);
    fx_fini(&fx);
}

/* An answer that comes before the request left is not its answer. */
static void test_h1_input__an_answer_needs_a_question(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    fx_write(&fx, "HTTP/1.1 408 x\r\n\r\n", 18);
    fx_ask(&fx, "GET", -1, true);
    fx_turn(&fx, 3);
    assert_string_equal(fx.log, "!refused_by_upstream ");
    fx_fini(&fx);
}

static void test_h1_input__a_fin_while_idle_closes(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    shutdown(fx.fd, SHUT_WR);
    fx_turn(&fx, 3);
    assert_null(fx.c);
    assert_int_equal(fx.end, CONN_CLOSED_BY_PEER);
    fx_fini(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_input__requests_come_the_same_in_every_cut),
        cmocka_unit_test(test_h1_input__the_end_comes_with_the_last_data),
        cmocka_unit_test(test_h1_input__a_pipelined_request_waits_its_turn),
        cmocka_unit_test(
            test_h1_input__a_client_that_goes_is_noticed_while_waiting),
        cmocka_unit_test(test_h1_input__no_more_than_the_credit_is_delivered),
        cmocka_unit_test(test_h1_input__the_end_is_found_without_credit),
        cmocka_unit_test(test_h1_input__a_short_rest_is_drained),
        cmocka_unit_test(test_h1_input__a_long_rest_closes),
        cmocka_unit_test(test_h1_input__an_unknown_rest_closes),
        cmocka_unit_test(test_h1_input__an_owner_may_close_in_any_event),
        cmocka_unit_test(test_h1_input__responses_come_the_same_in_every_cut),
        cmocka_unit_test(test_h1_input__interim_heads_have_a_limit),
        cmocka_unit_test(
            test_h1_input__bytes_nobody_asked_for_kill_the_connection),
        cmocka_unit_test(test_h1_input__an_answer_needs_a_question),
        cmocka_unit_test(test_h1_input__a_fin_while_idle_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
