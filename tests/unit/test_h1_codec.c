/*
 * Unit tests of http/h1_codec: timers, limits of a connection, reuse, drain,
 * and the lives of codecs and streams.
 */
#include "http/h1_codec.c"

#include "h1_fixture.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/* ---- timers ------------------------------------------------------------- */

static void test_h1_codec__a_slow_head_is_answered_408(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.limits.head_timeout_ms = 20;
    fx_start(&fx);
    fx_say(&fx, "GET / HT", 100000);
    fx_wait(&fx, fx_is_raw_eof);
    assert_string_equal(fx.log, "!head_timeout ");
    assert_string_equal(fx_answers(&fx), "408c.");
    fx_fini(&fx);
}

/* The timeout is absolute: dripping does not move it. */
static void test_h1_codec__dripping_does_not_help(void **state)
{
    struct fx fx;
    bool is_closed = false;

    (void)state;
    fx_init(&fx, true);
    fx.limits.head_timeout_ms = 30;
    fx_start(&fx);
    const uint64_t start_ms = fx.loop->now_ms;
    fx_say(&fx, "GET / HTTP/1.1\r\n", 100000);
    uint64_t sent_ms = start_ms;
    while (!is_closed && fx.loop->now_ms - start_ms < 5000) {
        if (fx.loop->now_ms != sent_ms) {
            sent_ms = fx.loop->now_ms;
            (void)!send(fx.fd, "a", 1, MSG_NOSIGNAL);
        }
        loop_run_once(fx.loop, 1);
        fx_read(&fx);
        is_closed = fx_is_raw_eof(&fx);
    }
    assert_true(is_closed);
    assert_true(fx.loop->now_ms - start_ms >= 30);
    assert_true(fx.loop->now_ms - start_ms < 3000);
    assert_string_equal(fx.log, "!head_timeout ");
    fx_fini(&fx);
}

static void test_h1_codec__who_sends_nothing_is_closed(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.limits.head_timeout_ms = 20;
    fx_start(&fx);
    fx_wait(&fx, fx_is_raw_eof);
    assert_string_equal(fx.log, "");
    assert_string_equal(fx_answers(&fx), ".");
    fx_fini(&fx);
}

static void test_h1_codec__an_idle_connection_is_closed(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.limits.idle_timeout_ms = 20;
    fx_start(&fx);
    fx_say(&fx, GET, 100000);
    fx_wait(&fx, fx_is_raw_eof);
    assert_string_equal(fx_answers(&fx), "200.");
    fx_fini(&fx);
}

/* Timers of waiting for requests do not run while one is served. */
static void test_h1_codec__a_running_request_has_no_deadline(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.limits.idle_timeout_ms = 5;
    fx.limits.head_timeout_ms = 5;
    fx.limits.write_timeout_ms = 5;
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    fx_say(&fx, GET, 100000);
    const uint64_t end_ms = fx.loop->now_ms + 40;
    while (fx.loop->now_ms < end_ms) {
        loop_run_once(fx.loop, 5);
    }
    assert_int_equal(fx.recs[0].fault, FAULT_NONE);
    rec_answer(&fx.recs[0], 200);
    loop_run_once(fx.loop, 0);
    fx_read(&fx);
    assert_string_equal(fx_answers(&fx), "200");
    fx_fini(&fx);
}

static void test_h1_codec__who_does_not_read_is_cut(void **state)
{
    struct fx fx;

    (void)state;
    for (int is_server = 0; is_server < 2; is_server++) {
        static char block[64 * 1024];

        fx_init(&fx, is_server);
        fx.limits.write_timeout_ms = 30;
        fx.mode = FX_BY_HAND;
        fx_start(&fx);
        if (is_server) {
            fx_say(&fx, GET, 100000);
            rec_send(&fx.recs[0], 200, -1, "", false);
        } else {
            fx_ask(&fx, "POST", -1, false);
        }
        struct rec *const r = &fx.recs[0];
        for (int i = 0; i < 20; i++) {
            stream_send_data(r->s, (const uint8_t *)block, sizeof(block),
                             false);
        }
        const uint64_t end_ms = fx.loop->now_ms + 5000;
        while (fx.c != NULL && fx.loop->now_ms < end_ms) {
            loop_run_once(fx.loop, 50);
        }
        assert_null(fx.c);
        assert_int_equal(r->fault,
                         is_server ? FAULT_WRITE_STALLED : FAULT_IDLE_TIMEOUT);
        fx_fini(&fx);
    }
}

static void test_h1_codec__who_reads_slowly_is_not_cut(void **state)
{
    static char block[64 * 1024];
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.limits.write_timeout_ms = 400;
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    fx_say(&fx, GET, 100000);
    struct rec *const r = &fx.recs[0];
    rec_send(r, 200, -1, "", false);
    for (int i = 0; i < 16; i++) {
        stream_send_data(r->s, (const uint8_t *)block, sizeof(block), false);
    }
    const uint64_t end_ms = fx.loop->now_ms + 900;
    while (fx.loop->now_ms < end_ms) {
        uint8_t some[8192];
        (void)!recv(fx.fd, some, sizeof(some), MSG_DONTWAIT);
        loop_run_once(fx.loop, 5);
        assert_int_equal(r->fault, FAULT_NONE);
    }
    fx_fini(&fx);
}

static void test_h1_codec__draining_a_request_has_an_end(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.mode = FX_AT_HEAD;
    fx_start(&fx);
    fx_say(&fx, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
           100000);
    assert_string_equal(fx_answers(&fx), "200");
    const uint64_t start_ms = fx.loop->now_ms;
    fx_wait(&fx, fx_is_raw_eof);
    assert_true(fx.loop->now_ms - start_ms >= H1_DRAIN_MS - 100);
    fx_fini(&fx);
}

/* ---- limits of a connection --------------------------------------------- */

static void test_h1_codec__the_last_request_says_close(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.limits.n_requests_max = 3;
    fx_start(&fx);
    fx_say(&fx, GET GET GET GET, 100000);
    assert_string_equal(fx_answers(&fx), "200 200 200c.");
    assert_int_equal(fx.n_recs, 3);
    fx_fini(&fx);
}

static void test_h1_codec__an_old_connection_says_close(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.limits.age_max_ms = 0;
    fx_start(&fx);
    fx_say(&fx, GET GET, 100000);
    assert_string_equal(fx_answers(&fx), "200c.");
    fx_fini(&fx);
}

static void test_h1_codec__a_flood_of_requests_is_bounded(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    for (int i = 0; i < 20000; i++) {
        if (send(fx.fd, GET, strlen(GET), MSG_NOSIGNAL) <= 0) {
            break;
        }
        if (i % 100 == 0) {
            fx_turn(&fx, 1);
        }
    }
    fx_turn(&fx, 5);
    assert_int_equal(fx.n_recs, 1);
    assert_true(fx.c->kept_len <= 256 * 1024 + 64 * 1024);
    fx_fini(&fx);
}

/* Answers that nobody reads stop further requests from being served. */
static void test_h1_codec__who_asks_must_read(void **state)
{
    enum { N = 30, BODY = 64 * 1024 };
    static char body[BODY];
    size_t n_answered = 0;
    size_t n_unread = 0;
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    for (int i = 0; i < N; i++) {
        fx_write(&fx, GET, strlen(GET));
    }
    for (int turn = 0; turn < 20 * N; turn++) {
        fx_turn(&fx, 2);
        if (turn == 2 * N) {
            n_unread = fx.n_recs;
        }
        if (turn >= 2 * N) {
            fx_read(&fx);
        }
        if (n_answered < fx.n_recs) {
            struct rec *const r = &fx.recs[n_answered++];

            rec_send(r, 200, BODY, "", false);
            stream_send_data(r->s, (const uint8_t *)body, BODY, true);
            rec_close(r);
        }
        assert_true(buf_len(&fx.c->out) <= fx.limits.buffer_bytes + BODY + 99);
    }
    assert_true(n_unread < N / 2);
    assert_int_equal(fx.n_recs, N);
    assert_int_equal(n_answered, N);
    fx_fini(&fx);
}

static void test_h1_codec__an_idle_codec_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct h1) <= 300);
}

/* ---- streams ------------------------------------------------------------ */

static void test_h1_codec__no_memory_is_taken_per_request(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_start(&fx);
    fx_say(&fx, GET, 100000);
    struct h1 *const h = h1_of(fx.k);
    const struct stream *const spare = h->spare;
    assert_non_null(spare);
    for (int i = 0; i < 5; i++) {
        fx_say(&fx, GET GET, 100000);
        assert_ptr_equal(h->spare, spare);
    }
    assert_int_equal(fx.k->n_streams, 0);
    assert_true(list_is_empty(&fx.k->streams));
    fx_fini(&fx);
}

static void test_h1_codec__a_stream_outlives_its_codec(void **state)
{
    static const struct {
        bool is_server;
        bool is_sent; /* client: the request has left */
        enum fault fault;
    } rows[] = {{true, false, FAULT_CLIENT_GONE},
                {false, false, FAULT_REFUSED},
                {false, true, FAULT_RESET_BY_UPSTREAM}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fx fx;

        fx_init(&fx, rows[i].is_server);
        fx.mode = FX_BY_HAND;
        fx_start(&fx);
        if (rows[i].is_server) {
            fx_say(&fx, GET, 100000);
        } else {
            fx_ask(&fx, "GET", -1, true);
        }
        fx_turn(&fx, rows[i].is_sent ? 2 : 0);
        conn_close(fx.c, CONN_RESET);
        fx_turn(&fx, 2);
        assert_null(fx.k);
        assert_non_null(fx.recs[0].s);
        assert_true(fx.recs[0].s->is_dead);
        assert_null(fx.recs[0].s->codec);
        assert_int_equal(fx.recs[0].fault, rows[i].fault);
        fx_fini(&fx);
    }
}

static void test_h1_codec__a_finished_client_stream_has_no_fault(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    fx_ask(&fx, "GET", -1, true);
    fx_turn(&fx, 2);
    fx_say(&fx, OK, 100000);
    conn_close(fx.c, CONN_RESET);
    fx_turn(&fx, 2);
    assert_string_equal(fx.log, "200[] ");
    fx_fini(&fx);
}

/* ---- clients ------------------------------------------------------------ */

static void test_h1_codec__a_connection_is_used_again(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(fx.n_capacity, i + 1);
        assert_int_equal(codec_capacity(fx.k), 1);
        struct rec *const r = fx_ask(&fx, "GET", -1, true);
        assert_int_equal(r->s->is_first, i == 0);
        assert_int_equal(codec_capacity(fx.k), 0);
        fx_turn(&fx, 2);
        fx_say(&fx, OK, 1);
    }
    assert_string_equal(fx.log, "200[] 200[] 200[] 200[] 200[] ");
    fx_fini(&fx);
}

/* Bytes that come in the turn in which the answer ended: not offered. */
static void test_h1_codec__nothing_unread_is_offered(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    fx_ask(&fx, "GET", -1, true);
    fx_turn(&fx, 2);
    fx_write(&fx, OK, strlen(OK));
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.n_capacity, 2);
    fx_write(&fx, OK, strlen(OK));
    fx_turn(&fx, 2);
    assert_null(fx.c);
    assert_int_equal(fx.n_capacity, 2);
    fx_fini(&fx);
}

static void test_h1_codec__a_client_ends_at_its_limits(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx.limits.n_requests_max = 2;
    fx_start(&fx);
    for (int i = 0; i < 2; i++) {
        fx_ask(&fx, "GET", -1, true);
        fx_turn(&fx, 2);
        fx_say(&fx, OK, 100000);
    }
    assert_int_equal(fx.n_capacity, 2);
    assert_null(fx.c);
    fx_fini(&fx);
}

static void test_h1_codec__cancelling_a_request_closes_upstream(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    struct rec *const r = fx_ask(&fx, "GET", -1, true);
    fx_turn(&fx, 2);
    fx_say(&fx, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", 100000);
    rec_close(r);
    loop_run_once(fx.loop, 0);
    assert_null(fx.c);
    assert_int_equal(r->fault, FAULT_NONE);
    fx_fini(&fx);
}

/* ---- drain -------------------------------------------------------------- */

static void test_h1_codec__drain_ends_an_idle_connection_at_once(void **state)
{
    (void)state;
    for (int is_server = 0; is_server < 2; is_server++) {
        struct fx fx;

        fx_init(&fx, is_server);
        fx_start(&fx);
        if (is_server) {
            fx_say(&fx, GET, 100000);
        }
        codec_drain(fx.k);
        fx_turn(&fx, 2);
        fx_read(&fx);
        assert_true(fx_is_raw_eof(&fx));
        fx_fini(&fx);
    }
}

/* Its first request may be on the way. */
static void test_h1_codec__drain_answers_a_new_client_once(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_start(&fx);
    codec_drain(fx.k);
    fx_turn(&fx, 2);
    fx_say(&fx, GET, 100000);
    fx_turn(&fx, 3);
    assert_string_equal(fx_answers(&fx), "200c.");
    fx_fini(&fx);
}

static void test_h1_codec__drain_lets_a_request_end(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    fx_say(&fx, GET GET, 100000);
    codec_drain(fx.k);
    fx_turn(&fx, 2);
    rec_answer(&fx.recs[0], 200);
    fx_turn(&fx, 3);
    assert_string_equal(fx_answers(&fx), "200c.");
    assert_int_equal(fx.n_recs, 1);
    fx_fini(&fx);

    fx_init(&fx, false);
    fx_start(&fx);
    fx_ask(&fx, "GET", -1, true);
    codec_drain(fx.k);
    fx_turn(&fx, 2);
    fx_say(&fx, OK, 100000);
    assert_string_equal(fx.log, "200[] ");
    assert_null(fx.c);
    assert_int_equal(fx.n_capacity, 1);
    fx_fini(&fx);
}

/* A request whose first bytes are here is served before the end. */
static void test_h1_codec__drain_serves_what_has_begun(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_start(&fx);
    fx_say(&fx, "GET / HTTP/1.1\r\n", 100000);
    codec_drain(fx.k);
    fx_turn(&fx, 2);
    fx_say(&fx, "Host: a\r\n\r\n", 1);
    assert_string_equal(fx.log, "GET /[] ");
    assert_string_equal(fx_answers(&fx), "200c.");
    fx_fini(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_codec__a_slow_head_is_answered_408),
        cmocka_unit_test(test_h1_codec__dripping_does_not_help),
        cmocka_unit_test(test_h1_codec__who_sends_nothing_is_closed),
        cmocka_unit_test(test_h1_codec__an_idle_connection_is_closed),
        cmocka_unit_test(test_h1_codec__a_running_request_has_no_deadline),
        cmocka_unit_test(test_h1_codec__who_does_not_read_is_cut),
        cmocka_unit_test(test_h1_codec__who_reads_slowly_is_not_cut),
        cmocka_unit_test(test_h1_codec__draining_a_request_has_an_end),
        cmocka_unit_test(test_h1_codec__the_last_request_says_close),
        cmocka_unit_test(test_h1_codec__an_old_connection_says_close),
        cmocka_unit_test(test_h1_codec__a_flood_of_requests_is_bounded),
        cmocka_unit_test(test_h1_codec__who_asks_must_read),
        cmocka_unit_test(test_h1_codec__an_idle_codec_is_small),
        cmocka_unit_test(test_h1_codec__no_memory_is_taken_per_request),
        cmocka_unit_test(test_h1_codec__a_stream_outlives_its_codec),
        cmocka_unit_test(test_h1_codec__a_finished_client_stream_has_no_fault),
        cmocka_unit_test(test_h1_codec__a_connection_is_used_again),
        cmocka_unit_test(test_h1_codec__nothing_unread_is_offered),
        cmocka_unit_test(test_h1_codec__a_client_ends_at_its_limits),
        cmocka_unit_test(test_h1_codec__cancelling_a_request_closes_upstream),
        cmocka_unit_test(test_h1_codec__drain_ends_an_idle_connection_at_once),
        cmocka_unit_test(test_h1_codec__drain_answers_a_new_client_once),
        cmocka_unit_test(test_h1_codec__drain_lets_a_request_end),
        cmocka_unit_test(test_h1_codec__drain_serves_what_has_begun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
