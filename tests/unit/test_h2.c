/*
 * Two codecs over a socketpair: what one side sends the other is told, in both
 * directions, within bounds; and every ending has its one event.
 */
#include "http/h2.c"

#include "h2_fixture.h"

static void serve_echo(struct rec *r, bool is_end)
{
    if (!is_end) {
        return;
    }
    struct head *const h = fx_response(&r->arena, 200);
    head_add_copy(h, STR("x-path"), r->head->path);
    stream_send_head(r->s, h, false);
    stream_send_data(r->s, (const uint8_t *)"hello", 5, true);
    rec_close(r);
}

static void test_h2__request_and_response_cross(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx->serve = serve_echo;
    rec_init(&r, fx);
    assert_int_equal(codec_capacity(fx->client), 100);
    r.s = codec_open(fx->client, &rec_ops, &r, &r.arena);
    assert_true(r.s->is_first);
    struct head *const h = fx_request(&r.arena, "POST", "/a/b");
    h->query = STR("q=1");
    h->content_length = 3;
    h->has_te_trailers = true;
    head_add_copy(h, STR("x-one"), STR("1"));
    head_add_copy(h, STR("cookie"), STR("k=v"));
    head_add_copy(h, STR("keep-alive"), STR("5"));
    stream_send_head(r.s, h, false);
    stream_send_data(r.s, (const uint8_t *)"abc", 3, true);
    fx_turn(fx, 4);
    const struct rec *const got = &fx->recs[0];
    assert_int_equal(fx->n_recs, 1);
    assert_true(str_eq(got->head->path, STR("/a/b")));
    assert_true(str_eq(got->head->query, STR("q=1")));
    assert_true(str_eq(got->head->authority, STR("a.example")));
    assert_true(str_eq(got->head->scheme, STR("http")));
    assert_int_equal(got->head->method, METHOD_POST);
    assert_int_equal(got->head->content_length, 3);
    assert_int_equal(got->head->version, 20);
    assert_true(got->head->has_te_trailers);
    assert_int_equal(got->head->n_fields, 2); // neither keep-alive nor te
    assert_true(head_find(got->head, NAME_COOKIE)->is_sensitive);
    assert_string_equal(got->first, "abc");
    assert_int_equal(r.n_heads, 1);
    assert_int_equal(r.head->status, 200);
    assert_true(
        str_eq(head_find_name(r.head, STR("x-path"))->value, STR("/a/b")));
    assert_string_equal(r.first, "hello");
    assert_int_equal(r.n_ends, 1);
    rec_fini(&r);
    fx_turn(fx, 2);
    assert_int_equal(fx->client->n_streams, 0);
    assert_int_equal(fx->server->n_streams, 0);
    fx_free(fx);
}

static void serve_trailers(struct rec *r, bool is_end)
{
    (void)is_end;
    struct head *const interim = fx_response(&r->arena, 103);
    head_add_copy(interim, STR("link"), STR("</x>"));
    stream_send_head(r->s, interim, false);
    stream_send_head(r->s, fx_response(&r->arena, 200), false);
    stream_send_data(r->s, (const uint8_t *)"m", 1, false);
    struct head *const t = fx_response(&r->arena, 0);
    head_add_copy(t, STR("grpc-status"), STR("0"));
    head_add_copy(t, STR("set-cookie"), STR("no=1"));
    stream_send_trailers(r->s, t);
    rec_close(r);
    arena_reset(&r->arena); // what was sent must not need it any more
}

static void test_h2__interim_heads_and_trailers_pass(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx->serve = serve_trailers;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 4);
    assert_int_equal(r.n_heads, 2);
    assert_int_equal(r.statuses[0], 103);
    assert_int_equal(r.statuses[1], 200);
    assert_int_equal(r.n_body, 1);
    assert_non_null(r.trailers);
    assert_int_equal(r.trailers->n_fields, 1);
    assert_non_null(head_find(r.trailers, NAME_GRPC_STATUS));
    assert_int_equal(r.n_ends, 1);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__trailers_of_a_request_pass(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx_open(fx, &r, "POST", "/", false);
    fx_turn(fx, 3);
    struct head *const t = fx_response(&r.arena, 0);
    head_add_copy(t, STR("x-sum"), STR("7"));
    stream_send_trailers(r.s, t);
    fx_turn(fx, 3);
    assert_int_equal(fx->recs[0].n_body, 0);
    assert_non_null(fx->recs[0].trailers);
    assert_int_equal(fx->recs[0].n_ends, 1);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__credit_bounds_what_is_delivered(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    static uint8_t body[300 * 1024];
    fx->is_credit_held = true;
    fx_open(fx, &r, "POST", "/", false);
    stream_send_data(r.s, body, sizeof(body), true);
    stream_want_room(r.s);
    fx_turn(fx, 20);
    struct rec *const got = &fx->recs[0];
    // The owner has its share, the window holds the rest back.
    assert_int_equal(got->n_body, fx->limits[1].buffer_bytes);
    assert_int_equal(stream_n_queued(r.s),
                     sizeof(body) - fx->limits[1].stream_window_bytes);
    assert_int_equal(r.n_rooms, 0);
    for (int i = 0; i < 100 && !got->is_end; i++) {
        const size_t n = got->n_owed;
        got->n_owed = 0;
        stream_credit(got->s, n);
        fx_turn(fx, 4);
    }
    assert_true(got->is_end);
    assert_int_equal(got->n_body, sizeof(body));
    assert_int_equal(r.n_rooms, 1);
    assert_int_equal(stream_n_queued(r.s), 0);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__dropped_bytes_return_to_the_connection(void **state)
{
    (void)state;
    struct fx *const fx = fx_prepare();
    fx->limits[1].conn_window_bytes = 128 * 1024;
    (void)fx_pair(fx);
    static uint8_t body[60 * 1024];
    fx->is_credit_held = true;
    // Far more than the window of the connection, none of it credited.
    for (int i = 0; i < 20; i++) {
        struct rec r;
        fx_open(fx, &r, "POST", "/", false);
        stream_send_data(r.s, body, sizeof(body), false);
        fx_turn(fx, 6);
        assert_true(fx->recs[i].n_body > 0);
        assert_int_equal(stream_n_queued(r.s), 0);
        if (i % 2 == 0) {
            rec_close(&fx->recs[i]);
            fx_turn(fx, 3);
        }
        rec_fini(&r);
        fx_turn(fx, 3);
        rec_close(&fx->recs[i]);
    }
    fx_turn(fx, 3);
    assert_int_equal(fx->server->n_streams, 0);
    fx_free(fx);
}

static void test_h2__owner_may_close_inside_an_event(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    static uint8_t body[100 * 1024];
    fx->want_close_on_data = true;
    fx_open(fx, &r, "POST", "/", false);
    stream_send_data(r.s, body, sizeof(body), false);
    fx_turn(fx, 10);
    assert_null(fx->recs[0].s);
    assert_int_equal(fx->server->n_streams, 0);
    assert_int_equal(r.n_faults, 1);
    assert_int_equal(r.fault, FAULT_RESET_BY_UPSTREAM);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__cancel_reaches_the_server(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 3);
    assert_int_equal(fx->recs[0].n_heads, 1);
    assert_true(fx->recs[0].is_end);
    rec_fini(&r);
    fx_turn(fx, 2);
    assert_int_equal(fx->recs[0].n_faults, 1);
    assert_int_equal(fx->recs[0].fault, FAULT_RESET_BY_CLIENT);
    assert_false(fx->recs[0].can_answer);
    // It counts until its owner has let go.
    assert_int_equal(fx->server->n_streams, 1);
    rec_close(&fx->recs[0]);
    fx_turn(fx, 1);
    assert_int_equal(fx->server->n_streams, 0);
    fx_free(fx);
}

static void test_h2__request_reset_in_its_turn_is_never_sent(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx_open(fx, &r, "GET", "/", false);
    rec_fini(&r);
    fx_turn(fx, 4);
    assert_int_equal(fx->n_recs, 0);
    assert_int_equal(fx->client->n_streams, 0);
    rec_init(&r, fx);
    r.s = codec_open(fx->client, &rec_ops, &r, &r.arena);
    rec_fini(&r);
    fx_turn(fx, 4);
    assert_int_equal(fx->client->n_streams, 0);
    fx_free(fx);
}

static void serve_early(struct rec *r, bool is_end)
{
    (void)is_end;
    struct head *const h = fx_response(&r->arena, 413);
    h->content_length = 0;
    stream_send_head(r->s, h, true);
    rec_close(r);
}

static void test_h2__early_answer_comes_before_the_reset(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx->serve = serve_early;
    fx_open(fx, &r, "POST", "/", false);
    fx_turn(fx, 4);
    assert_int_equal(r.n_heads, 1);
    assert_int_equal(r.head->status, 413);
    assert_true(r.is_end);
    assert_int_equal(r.n_faults, 0);
    assert_int_equal(fx->server->n_streams, 0);
    rec_fini(&r);
    fx_turn(fx, 2);
    assert_int_equal(fx->client->n_streams, 0);
    fx_free(fx);
}

static void serve_reset(struct rec *r, bool is_end)
{
    (void)is_end;
    stream_reset(r->s, FAULT_OVERLOAD);
    rec_close(r);
}

static void serve_truncate(struct rec *r, bool is_end)
{
    (void)is_end;
    stream_send_head(r->s, fx_response(&r->arena, 200), false);
    stream_send_data(r->s, (const uint8_t *)"x", 1, false);
}

static void test_h2__resets_have_their_faults(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx->serve = serve_reset;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 3);
    assert_int_equal(r.fault, FAULT_REFUSED);
    rec_fini(&r);
    fx->serve = serve_truncate;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 3);
    assert_int_equal(r.n_body, 1);
    rec_close(&fx->recs[1]);
    fx_turn(fx, 3);
    assert_int_equal(r.fault, FAULT_TRUNCATED);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__death_of_the_conn_is_told_to_each_stream(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r[3];
    fx_open(fx, &r[0], "GET", "/", true);
    fx_open(fx, &r[1], "GET", "/", true);
    fx_turn(fx, 3);
    stream_send_head(fx->recs[1].s, fx_response(&fx->recs[1].arena, 200),
                     false);
    fx_turn(fx, 2);
    fx_open(fx, &r[2], "GET", "/", true); // not yet sent
    conn_abort(fx->conns[1]);
    conn_close(fx->conns[0], CONN_RESET);
    fx_turn(fx, 3);
    assert_int_equal(fx->n_closed, 2);
    assert_int_equal(fx->recs[0].fault, FAULT_CLIENT_GONE);
    assert_int_equal(r[0].fault, FAULT_RESET_BY_UPSTREAM);
    assert_int_equal(r[1].fault, FAULT_TRUNCATED);
    assert_null(r[1].s->codec);
    assert_int_equal(stream_n_queued(r[1].s), 0);
    stream_send_data(r[1].s, NULL, 0, true); // harmless
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r[i].n_faults, 1);
        rec_fini(&r[i]);
    }
    fx_free(fx);
}

static void test_h2__complete_answer_survives_the_conn(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    static uint8_t body[50 * 1024];
    fx->is_credit_held = true;
    fx->limits[0].buffer_bytes = 64 * 1024;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 3);
    fx->limits[0].buffer_bytes = 1000;
    stream_send_head(fx->recs[0].s, fx_response(&fx->recs[0].arena, 200),
                     false);
    stream_send_data(fx->recs[0].s, body, sizeof(body), true);
    fx_turn(fx, 6);
    assert_int_equal(r.n_body, 1000);
    fx->limits[0].buffer_bytes = 64 * 1024;
    conn_close(fx->conns[0], CONN_RESET);
    fx_turn(fx, 2);
    assert_int_equal(r.n_body, sizeof(body));
    assert_true(r.is_end);
    assert_int_equal(r.n_faults, 0);
    assert_null(r.s->codec);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__drained_server_finishes_what_runs(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 3);
    codec_drain(fx->server);
    fx_turn(fx, 6);
    assert_true(fx->client->is_draining);
    assert_int_equal(codec_capacity(fx->client), 0);
    assert_int_equal(fx->n_closed, 0);
    serve_echo(&fx->recs[0], true);
    fx_turn(fx, 3);
    assert_string_equal(r.first, "hello");
    rec_fini(&r);
    fx_turn(fx, 8);
    assert_int_equal(fx->n_closed, 2);
    fx_free(fx);
}

static void test_h2__drained_client_closes_when_idle(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx->serve = serve_echo;
    fx_open(fx, &r, "GET", "/", true);
    codec_drain(fx->client);
    fx_turn(fx, 4);
    assert_string_equal(r.first, "hello");
    rec_fini(&r);
    fx_turn(fx, 8);
    assert_int_equal(fx->n_closed, 2);
    fx_free(fx);
}

static void test_h2__capacity_follows_the_peer(void **state)
{
    (void)state;
    struct fx *const fx = fx_prepare();
    fx->limits[1].n_streams_max = 2;
    (void)fx_pair(fx);
    struct rec r[2];
    assert_int_equal(codec_capacity(fx->client), 2);
    fx->serve = serve_echo;
    fx_open(fx, &r[0], "GET", "/", true);
    fx_open(fx, &r[1], "GET", "/", true);
    assert_int_equal(codec_capacity(fx->client), 0);
    fx_turn(fx, 4);
    const int n_before = fx->n_capacity;
    rec_fini(&r[0]);
    fx_turn(fx, 1);
    assert_int_equal(fx->n_capacity, n_before + 1);
    assert_int_equal(codec_capacity(fx->client), 1);
    rec_fini(&r[1]);
    fx_free(fx);
}

static void test_h2__connection_ends_after_its_requests(void **state)
{
    (void)state;
    struct fx *const fx = fx_prepare();
    fx->limits[1].n_requests_max = 3;
    (void)fx_pair(fx);
    fx->serve = serve_echo;
    for (int i = 0; i < 3; i++) {
        struct rec r;
        fx_open(fx, &r, "GET", "/", true);
        fx_turn(fx, 4);
        assert_string_equal(r.first, "hello");
        rec_fini(&r);
    }
    fx_turn(fx, 8);
    assert_int_equal(fx->n_closed, 2);
    fx_free(fx);
}

/* As if `ms` had passed for the codec. */
static void age(struct codec *k, uint64_t ms)
{
    struct h2 *const h2 = h2_of(k);
    h2->begun_ms -= ms;
    h2->idle_since_ms -= ms;
    h2->read_ms -= ms;
    h2->write_mark_ms -= ms;
    h2->head_since_ms -= h2->head_since_ms != 0 ? ms : 0;
    h2->age_at_ms -= ms;
    h2->ping_sent_ms -= h2->ping_sent_ms != 0 ? ms : 0;
    h2->ping_answered_ms -= h2->ping_answered_ms != 0 ? ms : 0;
    h2->drain_final_ms -= h2->drain_final_ms != 0 ? ms : 0;
    struct list *it = NULL;
    struct list *tmp = NULL;
    list_for_each (it, tmp, &k->streams) {
        h2_stream_of(CONTAINER_OF(it, struct stream, node))->out_ms -= ms;
    }
    h2_time_check(h2);
}

static void test_h2__idle_server_says_goodbye(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    age(fx->server, fx->limits[1].idle_timeout_ms - 10);
    fx_turn(fx, 2);
    assert_int_equal(fx->n_closed, 0);
    age(fx->server, 100);
    fx_turn(fx, 6);
    assert_int_equal(fx->n_closed, 2);
    fx_free(fx);
}

static void test_h2__old_connection_drains(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 3);
    age(fx->server, fx->limits[1].age_max_ms / 10 * 11 + 1);
    assert_true(fx->server->is_draining);
    fx_turn(fx, 3);
    assert_int_equal(r.n_faults, 0);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__shut_window_ends_the_stream_alone(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    static uint8_t body[200 * 1024];
    fx->is_credit_held = true;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 3);
    struct rec *const got = &fx->recs[0];
    stream_send_head(got->s, fx_response(&got->arena, 200), false);
    stream_send_data(got->s, body, sizeof(body), true);
    fx_turn(fx, 8);
    assert_true(stream_n_queued(got->s) > 0);
    age(fx->server, fx->limits[1].write_timeout_ms - 1000);
    assert_int_equal(got->n_faults, 0);
    age(fx->server, 1000);
    fx_turn(fx, 3);
    assert_int_equal(got->fault, FAULT_WRITE_STALLED);
    assert_int_equal(r.fault, FAULT_TRUNCATED);
    assert_int_equal(fx->n_closed, 0);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__silent_upstream_is_pinged_once(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    fx_open(fx, &r, "GET", "/", true);
    fx_turn(fx, 3);
    age(fx->client, H2_PING_AFTER_MS);
    assert_true(h2_of(fx->client)->ping_sent_ms != 0);
    fx_turn(fx, 4);
    assert_int_equal(h2_of(fx->client)->ping_sent_ms, 0);
    age(fx->client, H2_PING_AFTER_MS);
    assert_int_equal(h2_of(fx->client)->ping_sent_ms, 0);
    age(fx->client, H2_PING_AGAIN_MS);
    assert_true(h2_of(fx->client)->ping_sent_ms != 0);
    // This time no answer is read.
    age(fx->client, H2_PING_ANSWER_MS);
    fx_turn(fx, 1);
    assert_null(fx->client);
    assert_int_equal(fx->end, CONN_TIMED_OUT);
    assert_int_equal(r.fault, FAULT_IDLE_TIMEOUT);
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__large_bodies_go_both_ways(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    struct rec r;
    static uint8_t body[3 * 1024 * 1024];
    fx_open(fx, &r, "POST", "/", false);
    stream_send_data(r.s, body, sizeof(body), true);
    fx_turn(fx, 3);
    struct rec *const got = &fx->recs[0];
    stream_send_head(got->s, fx_response(&got->arena, 200), false);
    stream_send_data(got->s, body, sizeof(body), true);
    for (int i = 0; i < 2000 && !(r.is_end && got->is_end); i++) {
        fx_turn(fx, 1);
        assert_true(conn_n_queued(fx->conns[0]) <= H2_OUT_BYTES_MAX + 32768);
    }
    assert_int_equal(got->n_body, sizeof(body));
    assert_int_equal(r.n_body, sizeof(body));
    rec_fini(&r);
    fx_free(fx);
}

static void test_h2__many_streams_share_the_connection(void **state)
{
    (void)state;
    struct fx *const fx = fx_pair(fx_prepare());
    static struct rec r[100];
    static uint8_t body[64 * 1024];
    for (int i = 0; i < 100; i++) {
        fx_open(fx, &r[i], "GET", "/", true);
    }
    fx_turn(fx, 4);
    assert_int_equal(fx->n_recs, 100);
    for (int i = 0; i < 100; i++) {
        struct rec *const got = &fx->recs[i];
        stream_send_head(got->s, fx_response(&got->arena, 200), false);
        stream_send_data(got->s, body, sizeof(body), true);
        rec_close(got);
    }
    fx_turn(fx, 2);
    size_t n_begun = 0;
    for (int i = 0; i < 100; i++) {
        n_begun += r[i].n_body > 0;
    }
    assert_true(n_begun > 2); // not one after the other
    for (int i = 0; i < 2000 && !r[99].is_end; i++) {
        fx_turn(fx, 1);
    }
    fx_turn(fx, 50);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(r[i].n_body, sizeof(body));
        rec_fini(&r[i]);
    }
    fx_turn(fx, 2);
    assert_int_equal(fx->server->n_streams, 0);
    fx_free(fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h2__request_and_response_cross),
        cmocka_unit_test(test_h2__interim_heads_and_trailers_pass),
        cmocka_unit_test(test_h2__trailers_of_a_request_pass),
        cmocka_unit_test(test_h2__credit_bounds_what_is_delivered),
        cmocka_unit_test(test_h2__dropped_bytes_return_to_the_connection),
        cmocka_unit_test(test_h2__owner_may_close_inside_an_event),
        cmocka_unit_test(test_h2__cancel_reaches_the_server),
        cmocka_unit_test(test_h2__request_reset_in_its_turn_is_never_sent),
        cmocka_unit_test(test_h2__early_answer_comes_before_the_reset),
        cmocka_unit_test(test_h2__resets_have_their_faults),
        cmocka_unit_test(test_h2__death_of_the_conn_is_told_to_each_stream),
        cmocka_unit_test(test_h2__complete_answer_survives_the_conn),
        cmocka_unit_test(test_h2__drained_server_finishes_what_runs),
        cmocka_unit_test(test_h2__drained_client_closes_when_idle),
        cmocka_unit_test(test_h2__capacity_follows_the_peer),
        cmocka_unit_test(test_h2__connection_ends_after_its_requests),
        cmocka_unit_test(test_h2__idle_server_says_goodbye),
        cmocka_unit_test(test_h2__old_connection_drains),
        cmocka_unit_test(test_h2__shut_window_ends_the_stream_alone),
        cmocka_unit_test(test_h2__silent_upstream_is_pinged_once),
        cmocka_unit_test(test_h2__large_bodies_go_both_ways),
        cmocka_unit_test(test_h2__many_streams_share_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
