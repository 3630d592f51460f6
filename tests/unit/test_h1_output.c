/*
 * Unit tests of http/h1_output: the exact bytes that leave for what an owner
 * sends, tunnels, and what happens when an owner ends a message early.
 */
#include "http/h1_output.c"

#include "h1_fixture.h"

static void fx_request(struct fx *fx, const char *wire)
{
    fx->mode = FX_BY_HAND;
    fx_start(fx);
    fx_say(fx, wire, 100000);
    assert_int_equal(fx->n_recs, 1);
}

static void assert_raw(struct fx *fx, const char *want)
{
    fx_turn(fx, 3);
    fx_read(fx);
    fx->raw[fx->raw_len] = '\0';
    assert_string_equal((const char *)fx->raw, want);
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET10 "GET / HTTP/1.0\r\n\r\n"
#define DATA(s, text, is_end)                                                  \
    stream_send_data(s, (const uint8_t *)(text), strlen(text), is_end)

static void test_h1_output__each_piece_leaves_in_its_turn(void **state)
{
    static const char head[] =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    char want[256];
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_request(&fx, GET);
    struct stream *const s = fx.recs[0].s;
    rec_send(&fx.recs[0], 200, -1, "", false);
    loop_run_once(fx.loop, 0);
    fx_read(&fx);
    assert_int_equal(fx.raw_len, strlen(head));
    DATA(s, "one", false);
    DATA(s, "", false);
    DATA(s, "0123456789abcdef", false);
    loop_run_once(fx.loop, 0);
    snprintf(want, sizeof(want), "%s3\r\none\r\n10\r\n0123456789abcdef\r\n",
             head);
    assert_raw(&fx, want);
    DATA(s, "", true);
    rec_close(&fx.recs[0]);
    snprintf(want, sizeof(want),
             "%s3\r\none\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", head);
    assert_raw(&fx, want);
    assert_false(fx.is_raw_eof);
    fx_fini(&fx);
}

static void test_h1_output__an_old_client_reads_until_the_end(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_request(&fx, GET10);
    rec_send(&fx.recs[0], 200, -1, "abc", true);
    rec_close(&fx.recs[0]);
    assert_raw(&fx, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc");
    assert_true(fx.is_raw_eof);
    fx_fini(&fx);
}

static void test_h1_output__head_requests_get_no_body(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_request(&fx, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    rec_send(&fx.recs[0], 200, 3, "abc", true);
    rec_close(&fx.recs[0]);
    assert_raw(&fx, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n");
    assert_false(fx.is_raw_eof);
    fx_fini(&fx);
}

static void
test_h1_output__a_message_cut_short_kills_the_connection(void **state)
{
    static const struct {
        int64_t length;
        bool is_end; /* the owner says that all was sent */
        bool is_reset;
    } rows[] = {{5, true, false},
                {5, false, false},
                {-1, false, false},
                {5, false, true},
                {-1, false, true}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fx fx;

        fx_init(&fx, true);
        fx_request(&fx, GET);
        rec_send(&fx.recs[0], 200, rows[i].length, "abc", rows[i].is_end);
        if (rows[i].is_reset) {
            stream_reset(fx.recs[0].s, FAULT_TRUNCATED);
        }
        rec_close(&fx.recs[0]);
        fx_turn(&fx, 2);
        assert_null(fx.c);
        assert_null(strstr(fx_answers(&fx), "\r\n0\r\n"));
        assert_true(fx_is_raw_eof(&fx));
        assert_int_equal(fx.recs[0].fault, FAULT_NONE);
        fx_fini(&fx);
    }
}

static void test_h1_output__trailers_follow_chunks_only(void **state)
{
    static const struct {
        int64_t length;
        const char *wire;
    } rows[] = {
        {-1, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
             "3\r\nabc\r\n0\r\nx: y\r\n\r\n"},
        {3, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"},
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct head t;
        struct fx fx;

        fx_init(&fx, true);
        fx_request(&fx, GET);
        head_init(&t, &fx.recs[0].arena);
        assert_true(head_add(&t, NAME_OTHER, STR("x"), STR("y")));
        rec_send(&fx.recs[0], 200, rows[i].length, "abc", false);
        stream_send_trailers(fx.recs[0].s, &t);
        rec_close(&fx.recs[0]);
        assert_raw(&fx, rows[i].wire);
        assert_false(fx.is_raw_eof);
        fx_fini(&fx);
    }
}

/* ---- interim heads ------------------------------------------------------ */

#define EXPECT                                                                 \
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"                      \
    "Expect: 100-continue\r\n\r\n"

static void test_h1_output__continue_is_sent_when_told(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_request(&fx, EXPECT);
    assert_true(fx.recs[0].head->has_expect);
    rec_send(&fx.recs[0], 100, -1, "", false);
    assert_raw(&fx, "HTTP/1.1 100 Continue\r\n\r\n");
    fx_say(&fx, "abc", 1);
    assert_string_equal(fx.log, "POST /[abc] ");
    rec_answer(&fx.recs[0], 200);
    assert_raw(&fx, "HTTP/1.1 100 Continue\r\n\r\n"
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    fx_fini(&fx);
}

/* Nobody can tell whether the body will come: the connection ends. */
static void test_h1_output__a_refused_expectation_closes(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_request(&fx, EXPECT);
    rec_answer(&fx.recs[0], 404);
    fx_turn(&fx, 3);
    assert_string_equal(fx_answers(&fx), "404c.");
    fx_fini(&fx);
}

static void test_h1_output__old_clients_see_no_interim_head(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_request(&fx, GET10);
    rec_send(&fx.recs[0], 103, -1, "", false);
    rec_answer(&fx.recs[0], 200);
    fx_turn(&fx, 3);
    assert_string_equal(fx_answers(&fx), "200c.");
    fx_fini(&fx);
}

/* ---- requests ----------------------------------------------------------- */

static void test_h1_output__requests(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    struct rec *const r = fx_ask(&fx, "POST", -1, false);
    DATA(r->s, "abc", false);
    DATA(r->s, "d", true);
    assert_raw(&fx, "POST / HTTP/1.1\r\nhost: a\r\n"
                    "transfer-encoding: chunked\r\n\r\n"
                    "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n");
    fx_say(&fx, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1);
    fx.raw_len = 0;
    struct rec *const r2 = fx_ask(&fx, "PUT", 3, false);
    DATA(r2->s, "abc", true);
    assert_raw(&fx,
               "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
    fx_fini(&fx);
}

/* fault 12: the answer came first; the rest is not sent, the conn not kept. */
static void test_h1_output__an_answer_before_the_upload_ended(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    fx_ask(&fx, "POST", 100, false);
    fx_turn(&fx, 2);
    fx_say(&fx, "HTTP/1.1 413 x\r\nContent-Length: 2\r\n\r\nno", 100000);
    assert_string_equal(fx.log, "413[no] ");
    assert_null(fx.c);
    assert_int_equal(fx.n_capacity, 1);
    fx_fini(&fx);
}

/* ---- room --------------------------------------------------------------- */

static void test_h1_output__room_is_told_when_the_peer_reads(void **state)
{
    static const uint32_t limits[] = {1024, 32 * 1024, 128 * 1024};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        static char block[8192];
        size_t n_sent = 0;
        struct fx fx;

        fx_init(&fx, true);
        fx.limits.buffer_bytes = limits[i];
        fx_request(&fx, GET);
        struct rec *const r = &fx.recs[0];
        rec_send(r, 200, -1, "", false);
        while (n_sent < 4 * 1024 * 1024) {
            if (stream_n_queued(r->s) > limits[i]) {
                const int n_rooms = r->n_rooms;
                stream_want_room(r->s);
                fx_turn(&fx, 2);
                for (int t = 0; t < 50 && r->n_rooms == n_rooms; t++) {
                    fx_read(&fx);
                    fx_turn(&fx, 1);
                }
                assert_int_equal(r->n_rooms, n_rooms + 1);
                assert_false(r->s->want_room);
            }
            stream_send_data(r->s, (const uint8_t *)block, sizeof(block),
                             false);
            n_sent += sizeof(block);
            assert_true(buf_len(&fx.c->out) < limits[i] + 64 * 1024);
        }
        assert_true(r->n_rooms > 0);
        fx_fini(&fx);
    }
}

/* ---- tunnels ------------------------------------------------------------ */

#define KEYS                                                                   \
    "Sec-WebSocket-Version: 13\r\n"                                            \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define WEBSOCKET                                                              \
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"                     \
    "Upgrade: websocket\r\n" KEYS "\r\n"

static void rec_switch(struct rec *r)
{
    struct head h;

    head_init(&h, &r->arena);
    h.status = 101;
    h.upgrade = STR("websocket");
    stream_send_head(r->s, &h, false);
    r->is_end = false;
}

static void test_h1_output__a_server_becomes_a_tunnel(void **state)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                 "connection: Upgrade\r\n"
                                 "upgrade: websocket\r\n\r\n";
    char want[256];
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    // Bytes behind the head wait until the switch.
    fx_request(&fx, WEBSOCKET "early");
    struct rec *const r = &fx.recs[0];
    assert_true(r->head->is_websocket);
    assert_string_equal(fx.log, "GET /[] ");
    rec_switch(r);
    assert_raw(&fx, answer);
    assert_string_equal(fx.log, "GET /[] early");
    fx_say(&fx, "more", 1);
    assert_string_equal(fx.log, "GET /[] earlymore");
    DATA(r->s, "back", false);
    snprintf(want, sizeof(want), "%sback", answer);
    assert_raw(&fx, want);
    // Half-close one way, then the other.
    shutdown(fx.fd, SHUT_WR);
    fx_turn(&fx, 3);
    assert_string_equal(fx.log, "GET /[] earlymore] ");
    DATA(r->s, "last", true);
    rec_close(r);
    snprintf(want, sizeof(want), "%sbacklast", answer);
    assert_raw(&fx, want);
    assert_true(fx.is_raw_eof);
    assert_int_equal(r->fault, FAULT_NONE);
    fx_fini(&fx);
}

static void
test_h1_output__a_fin_before_the_switch_is_told_after_it(void **state)
{
    static const char *const wires[] = {WEBSOCKET, WEBSOCKET "x"};
    static const char *const logs[] = {"GET /[] ] ", "GET /[] x] "};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fx fx;

        fx_init(&fx, true);
        fx_request(&fx, wires[i]);
        shutdown(fx.fd, SHUT_WR);
        fx_turn(&fx, 3);
        rec_switch(&fx.recs[0]);
        fx_turn(&fx, 4);
        assert_string_equal(fx.log, logs[i]);
        fx_fini(&fx);
    }
}

static void test_h1_output__tunnels_obey_credit(void **state)
{
    static const char block[4096];
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx.is_body_logged = false;
    fx.is_credit_held = true;
    fx_request(&fx, WEBSOCKET);
    struct rec *const r = &fx.recs[0];
    rec_switch(r);
    for (int i = 0; i < 100; i++) {
        if (send(fx.fd, block, sizeof(block), MSG_NOSIGNAL) <= 0) {
            break;
        }
        fx_turn(&fx, 2);
    }
    assert_int_equal(r->n_body, fx.limits.buffer_bytes);
    stream_credit(r->s, 1000);
    r->n_owed -= 1000;
    fx_turn(&fx, 3);
    assert_int_equal(r->n_body, fx.limits.buffer_bytes + 1000);
    fx_fini(&fx);
}

static struct rec *fx_ask_switch(struct fx *fx)
{
    struct rec *const r = fx_rec_new(fx);
    struct head h;

    r->s = codec_open(fx->k, &rec_ops, r, &r->arena);
    head_init(&h, &r->arena);
    h.method_text = STR("GET");
    h.method = METHOD_GET;
    h.path = STR("/");
    h.authority = STR("a");
    h.is_websocket = true;
    stream_send_head(r->s, &h, true);
    fx_turn(fx, 2);
    return r;
}

/* 5.11: an ordinary answer, but the connection is not used again. */
static void test_h1_output__a_refused_switch_is_not_kept(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx_start(&fx);
    fx_ask_switch(&fx);
    fx_say(&fx, "HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\nno", 1);
    assert_string_equal(fx.log, "403[no] ");
    assert_int_equal(fx.n_capacity, 1);
    assert_null(fx.c);
    fx_fini(&fx);
}

static void test_h1_output__a_client_becomes_a_tunnel(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, false);
    fx.mode = FX_BY_HAND;
    fx_start(&fx);
    struct rec *const r = fx_ask_switch(&fx);
    fx_say(&fx,
           "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
           "\r\nhello",
           1);
    assert_string_equal(fx.log, "101 [hello");
    fx_read(&fx);
    fx.raw_len = 0;
    DATA(r->s, "raw", true);
    assert_raw(&fx, "raw");
    assert_true(fx.is_raw_eof);
    shutdown(fx.fd, SHUT_WR);
    fx_turn(&fx, 3);
    assert_string_equal(fx.log, "101 [hello] ");
    rec_close(r);
    fx_turn(&fx, 3);
    assert_null(fx.c);
    assert_int_equal(r->fault, FAULT_NONE);
    assert_int_equal(fx.n_capacity, 1);
    fx_fini(&fx);
}

/* ---- after the end ------------------------------------------------------ */

static void test_h1_output__sending_to_the_dead_is_harmless(void **state)
{
    struct fx fx;

    (void)state;
    fx_init(&fx, true);
    fx_request(&fx, GET);
    struct rec *const r = &fx.recs[0];
    conn_close(fx.c, CONN_RESET);
    rec_send(r, 200, 6, "abc", false); // marked, not yet gone
    fx_turn(&fx, 2);
    assert_null(fx.c);
    assert_int_equal(r->fault, FAULT_CLIENT_GONE);
    DATA(r->s, "def", true);
    stream_credit(r->s, 1);
    stream_reset(r->s, FAULT_INTERNAL);
    assert_int_equal(stream_n_queued(r->s), 0);
    fx_fini(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_output__each_piece_leaves_in_its_turn),
        cmocka_unit_test(test_h1_output__an_old_client_reads_until_the_end),
        cmocka_unit_test(test_h1_output__head_requests_get_no_body),
        cmocka_unit_test(
            test_h1_output__a_message_cut_short_kills_the_connection),
        cmocka_unit_test(test_h1_output__trailers_follow_chunks_only),
        cmocka_unit_test(test_h1_output__continue_is_sent_when_told),
        cmocka_unit_test(test_h1_output__a_refused_expectation_closes),
        cmocka_unit_test(test_h1_output__old_clients_see_no_interim_head),
        cmocka_unit_test(test_h1_output__requests),
        cmocka_unit_test(test_h1_output__an_answer_before_the_upload_ended),
        cmocka_unit_test(test_h1_output__room_is_told_when_the_peer_reads),
        cmocka_unit_test(test_h1_output__a_server_becomes_a_tunnel),
        cmocka_unit_test(
            test_h1_output__a_fin_before_the_switch_is_told_after_it),
        cmocka_unit_test(test_h1_output__tunnels_obey_credit),
        cmocka_unit_test(test_h1_output__a_refused_switch_is_not_kept),
        cmocka_unit_test(test_h1_output__a_client_becomes_a_tunnel),
        cmocka_unit_test(test_h1_output__sending_to_the_dead_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
