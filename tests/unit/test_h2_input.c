/*
 * Raw frames against one codec: what RFC 9113 forbids, floods, and resets. What
 * a peer provokes is answered by the right code, told to the owner by the right
 * fault, and paid by the peer.
 */
#include "http/h2_input.c"

#include "h2_fixture.h"

enum { END_STREAM = 1 };

/* ---- one malformed request each: the stream is reset, nothing is told ---- */

struct bad_request {
    const char *why;
    bool has_usual;         /* the four pseudo-headers come first */
    const char *fields[11]; /* name, value, ... */
    const char *body;       /* NULL: END_STREAM on HEADERS */
};

static const struct bad_request bad_requests[] = {
    {"upper case name", true, {"X-A", "1"}, NULL},
    {"blank at value end", true, {"x-a", "1 "}, NULL},
    {"blank at value start", true, {"x-a", " 1"}, NULL},
    {"CR in value", true, {"x-a", "1\r2"}, NULL},
    {"LF in value", true, {"x-a", "1\nx: 2"}, NULL},
    {"DEL in value", true, {"x-a", "1\177"}, NULL},
    {"empty name", true, {"", "1"}, NULL},
    {"blank in name", true, {"x a", "1"}, NULL},
    {"colon in name", true, {"x:a", "1"}, NULL},
    {"connection", true, {"connection", "close"}, NULL},
    {"keep-alive", true, {"keep-alive", "5"}, NULL},
    {"proxy-connection", true, {"proxy-connection", "x"}, NULL},
    {"transfer-encoding", true, {"transfer-encoding", "chunked"}, NULL},
    {"upgrade", true, {"upgrade", "h2c"}, NULL},
    {"te", true, {"te", "gzip"}, NULL},
    {"repeated method", true, {":method", "GET"}, NULL},
    {"repeated path", true, {":path", "/"}, NULL},
    {"repeated authority", true, {":authority", "a"}, NULL},
    {"unknown pseudo", true, {":x", "1"}, NULL},
    {"status in request", true, {":status", "200"}, NULL},
    {"extended CONNECT", true, {":protocol", "websocket"}, NULL},
    {"two hosts", true, {"host", "a.example", "host", "a.example"}, NULL},
    {"length not a number", true, {"content-length", "+1"}, "x"},
    {"length list", true, {"content-length", "1,1"}, "x"},
    {"two lengths", true, {"content-length", "1", "content-length", "1"}, "x"},
    {"length and no body", true, {"content-length", "1"}, NULL},
    {"no method",
     false,
     {":scheme", "http", ":path", "/", ":authority", "a"},
     NULL},
    {"no scheme",
     false,
     {":method", "GET", ":path", "/", ":authority", "a"},
     NULL},
    {"no path",
     false,
     {":method", "GET", ":scheme", "http", ":authority", "a"},
     NULL},
    {"no authority",
     false,
     {":method", "GET", ":scheme", "http", ":path", "/"},
     NULL},
    {"empty path",
     false,
     {":method", "GET", ":scheme", "http", ":path", "", ":authority", "a"},
     NULL},
    {"pseudo after regular",
     false,
     {":method", "GET", ":scheme", "http", "x", "1", ":path", "/", "host", "a"},
     NULL},
};

static void
wire_bad_request(struct wire *w, const struct bad_request *bad, uint32_t id)
{
    struct wire *const block = mem_new(sizeof(*block));
    if (bad->has_usual) {
        wire_request_fields(block);
    }
    for (int i = 0; i < 10 && bad->fields[i] != NULL; i += 2) {
        wire_field(block, bad->fields[i], bad->fields[i + 1]);
    }
    wire_headers(w, id, bad->body == NULL ? END_STREAM : 0, block);
    if (bad->body != NULL) {
        wire_frame(w, 0, END_STREAM, id, bad->body, strlen(bad->body));
    }
    mem_free(block);
}

static void test_h2_input__malformed_requests_are_reset(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    const size_t n = sizeof(bad_requests) / sizeof(bad_requests[0]);
    for (size_t i = 0; i < n; i++) {
        struct fx *const fx = fx_raw(fx_prepare(), true);
        wire_preface(w);
        wire_bad_request(w, &bad_requests[i], 1);
        fx_raw_send(fx, w);
        if (fx->n_recs != 1 || fx->recs[0].n_heads != 0 ||
            fx->recs[0].fault != FAULT_BAD_REQUEST || fx->recs[0].can_answer ||
            fx_raw_reset(fx, 0) != 1) {
            fail_msg("%s: heads %d fault %d reset %d", bad_requests[i].why,
                     fx->recs[0].n_heads, (int)fx->recs[0].fault,
                     (int)fx_raw_reset(fx, 0));
        }
        assert_non_null(fx->server); // the connection lives
        assert_int_equal(fx->server->n_glitches, 1);
        fx_free(fx);
    }
    mem_free(w);
}

/* ---- bodies that are not as long as was said, at every kind of end ---- */

static void send_with_length(struct fx *fx,
                             const char *length,
                             const char *body,
                             bool has_trailers)
{
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    wire_preface(w);
    wire_request_fields(block);
    wire_field(block, "content-length", length);
    wire_headers(w, 1, 0, block);
    wire_frame(w, 0, has_trailers ? 0 : END_STREAM, 1, body, strlen(body));
    if (has_trailers) {
        block->len = 0;
        wire_field(block, "x-t", "1");
        wire_headers(w, 1, END_STREAM, block);
    }
    fx_raw_send(fx, w);
    mem_free(block);
    mem_free(w);
}

static void test_h2_input__length_must_match_the_body(void **state)
{
    (void)state;
    static const struct {
        const char *length;
        const char *body;
        bool has_trailers;
        bool is_good;
    } cases[] = {
        {"3", "abc", false, true},   {"3", "abc", true, true},
        {"003", "abc", false, true}, {"3", "ab", false, false},
        {"3", "abcd", false, false}, {"3", "ab", true, false},
        {"3", "abcd", true, false},  {"0", "a", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fx *const fx = fx_raw(fx_prepare(), true);
        send_with_length(fx, cases[i].length, cases[i].body,
                         cases[i].has_trailers);
        assert_int_equal(fx->n_recs, 1);
        assert_int_equal(fx->recs[0].is_end, cases[i].is_good);
        assert_int_equal(fx->recs[0].n_faults, !cases[i].is_good);
        assert_int_equal(fx_raw_reset(fx, 0), cases[i].is_good ? -1 : 1);
        fx_free(fx);
    }
}

/* ---- one frame each that ends the connection ---- */

struct bad_frame {
    const char *why;
    unsigned type;
    unsigned flags;
    uint32_t id;
    size_t len;
    uint8_t payload[16];
    int64_t code;
};

static const struct bad_frame bad_frames[] = {
    {"DATA on stream 0", 0, 0, 0, 1, {0}, NGHTTP2_PROTOCOL_ERROR},
    {"DATA on an idle stream", 0, 0, 5, 1, {0}, NGHTTP2_PROTOCOL_ERROR},
    {"HEADERS on an even stream", 1, 4, 2, 1, {0x82}, NGHTTP2_PROTOCOL_ERROR},
    {"bad HPACK index", 1, 4, 1, 1, {0xff}, NGHTTP2_COMPRESSION_ERROR},
    {"index 0", 1, 4, 1, 1, {0x80}, NGHTTP2_COMPRESSION_ERROR},
    {"RST_STREAM of an idle stream", 3, 0, 9, 4, {0}, NGHTTP2_PROTOCOL_ERROR},
    {"short RST_STREAM", 3, 0, 1, 3, {0}, NGHTTP2_FRAME_SIZE_ERROR},
    {"SETTINGS on a stream", 4, 0, 1, 0, {0}, NGHTTP2_PROTOCOL_ERROR},
    {"SETTINGS of 5 bytes", 4, 0, 0, 5, {0}, NGHTTP2_FRAME_SIZE_ERROR},
    {"unasked SETTINGS ACK with payload",
     4,
     1,
     0,
     6,
     {0},
     NGHTTP2_FRAME_SIZE_ERROR},
    {"ENABLE_PUSH 2", 4, 0, 0, 6, {0, 2, 0, 0, 0, 2}, NGHTTP2_PROTOCOL_ERROR},
    {"window over 2^31-1",
     4,
     0,
     0,
     6,
     {0, 4, 0x80, 0, 0, 0},
     NGHTTP2_FLOW_CONTROL_ERROR},
    {"frame size 1", 4, 0, 0, 6, {0, 5, 0, 0, 0, 1}, NGHTTP2_PROTOCOL_ERROR},
    {"PUSH_PROMISE from a client",
     5,
     4,
     1,
     5,
     {0, 0, 0, 2, 0x82},
     NGHTTP2_PROTOCOL_ERROR},
    {"PING of 7 bytes", 6, 0, 0, 7, {0}, NGHTTP2_FRAME_SIZE_ERROR},
    {"PING on a stream", 6, 0, 1, 8, {0}, NGHTTP2_PROTOCOL_ERROR},
    {"GOAWAY on a stream", 7, 0, 1, 8, {0}, NGHTTP2_PROTOCOL_ERROR},
    {"WINDOW_UPDATE of 0", 8, 0, 0, 4, {0}, NGHTTP2_PROTOCOL_ERROR},
    {"WINDOW_UPDATE over 2^31-1",
     8,
     0,
     0,
     4,
     {0x7f, 0xff, 0xff, 0xff},
     NGHTTP2_FLOW_CONTROL_ERROR},
    {"PRIORITY of stream 0", 2, 0, 0, 5, {0}, NGHTTP2_PROTOCOL_ERROR},
    {"PRIORITY after itself",
     2,
     0,
     5,
     5,
     {0x80, 0, 0, 5, 7},
     NGHTTP2_PROTOCOL_ERROR},
    {"CONTINUATION alone", 9, 4, 1, 0, {0}, NGHTTP2_PROTOCOL_ERROR},
};

static void test_h2_input__connection_errors_say_goaway(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    const size_t n = sizeof(bad_frames) / sizeof(bad_frames[0]);
    for (size_t i = 0; i < n; i++) {
        const struct bad_frame *const bad = &bad_frames[i];
        struct fx *const fx = fx_raw(fx_prepare(), true);
        wire_preface(w);
        wire_frame(w, bad->type, bad->flags, bad->id, bad->payload, bad->len);
        fx_raw_send(fx, w);
        if (fx_raw_goaway(fx) != bad->code) {
            fail_msg("%s: GOAWAY %d", bad->why, (int)fx_raw_goaway(fx));
        }
        assert_true(fx->is_raw_eof);
        fx_free(fx);
    }
    mem_free(w);
}

static void test_h2_input__wrong_preface_is_closed(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    wire_add(w, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    fx_raw_send(fx, w);
    assert_true(fx->is_raw_eof);
    assert_int_equal(fx->n_recs, 0);
    fx_free(fx);
    mem_free(w);
}

/* ---- floods: each is cut off within its budget ---- */

struct flood {
    const char *why;
    unsigned type;
    unsigned flags;
    uint32_t id;
    size_t len;
    uint8_t payload[16];
    int n_allowed; /* so many pass */
    int n_fatal;   /* so many do not */
};

static const struct flood floods[] = {
    {"PING", 6, 0, 0, 8, {0}, 300, 520},
    {"SETTINGS", 4, 0, 0, 0, {0}, 8, 12},
    {"WINDOW_UPDATE", 8, 0, 0, 4, {0, 0, 0, 1}, 400, 620},
    {"PRIORITY", 2, 0, 3, 5, {0, 0, 0, 0, 16}, 300, 620},
    {"unknown frame", 0xbb, 0, 0, 4, {1}, 300, 520},
    {"PRIORITY_UPDATE", 0x10, 0, 0, 5, {0, 0, 0, 1, 'u'}, 300, 620},
    {"empty DATA", 0, 0, 1, 0, {0}, 300, 520},
};

static void flood_send(struct fx *fx, const struct flood *f, int n)
{
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    wire_preface(w);
    wire_request_fields(block);
    wire_headers(w, 1, 0, block);
    fx_raw_send(fx, w);
    for (int i = 0; i < n; i++) {
        wire_frame(w, f->type, f->flags, f->id, f->payload, f->len);
        if (i % 50 == 49) {
            fx_raw_send(fx, w); // the answers are read
        }
    }
    fx_raw_send(fx, w);
    mem_free(block);
    mem_free(w);
}

static void test_h2_input__floods_are_cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
        const struct flood *const f = &floods[i];
        struct fx *fx = fx_raw(fx_prepare(), true);
        flood_send(fx, f, f->n_allowed);
        if (fx->is_raw_eof) {
            fail_msg("%s: closed too early", f->why);
        }
        fx_free(fx);
        fx = fx_raw(fx_prepare(), true);
        flood_send(fx, f, f->n_fatal);
        if (fx_raw_goaway(fx) != NGHTTP2_ENHANCE_YOUR_CALM ||
            fx->recs[0].fault != FAULT_GLITCHES) {
            fail_msg("%s: GOAWAY %d fault %d", f->why, (int)fx_raw_goaway(fx),
                     (int)fx->recs[0].fault);
        }
        assert_true(fx->is_raw_eof);
        fx_free(fx);
    }
}

static void test_h2_input__continuations_are_bounded(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    wire_preface(w);
    wire_request_fields(block);
    wire_frame(w, 1, 0, 1, block->bytes, block->len);
    for (int i = 0; i < 12; i++) {
        wire_frame(w, 9, 0, 1, NULL, 0);
    }
    fx_raw_send(fx, w);
    assert_int_equal(fx_raw_goaway(fx), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(fx->recs[0].n_heads, 0);
    assert_true(fx->is_raw_eof);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

static void test_h2_input__settings_entries_are_bounded(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    static const uint8_t entries[33 * 6];
    wire_preface(w);
    wire_frame(w, 4, 0, 0, entries, sizeof(entries));
    fx_raw_send(fx, w);
    assert_true(fx->is_raw_eof);
    fx_free(fx);
    mem_free(w);
}

/* ---- resets ---- */

static void wire_reset_request(struct wire *w, uint32_t id)
{
    struct wire *const block = mem_new(sizeof(*block));
    static const uint8_t cancel[4] = {0, 0, 0, 8};
    wire_request_fields(block);
    wire_headers(w, id, END_STREAM, block);
    wire_frame(w, 3, 0, id, cancel, sizeof(cancel));
    mem_free(block);
}

static void test_h2_input__request_reset_in_one_read_is_not_told(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    wire_preface(w);
    wire_reset_request(w, 1);
    fx_raw_send(fx, w);
    assert_int_equal(fx->n_recs, 1);
    assert_int_equal(fx->recs[0].n_heads, 0);
    assert_int_equal(fx->recs[0].fault, FAULT_RESET_BY_CLIENT);
    fx_free(fx);
    mem_free(w);
}

static void test_h2_input__rapid_reset_ends_the_connection(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    wire_preface(w);
    uint32_t id = 1;
    for (int i = 0; i < 300 && !fx->is_raw_eof; i++, id += 2) {
        wire_reset_request(w, id);
        if (i % 40 == 39) {
            fx_raw_send(fx, w);
            for (size_t j = 0; j < fx->n_recs; j++) {
                rec_close(&fx->recs[j]);
            }
        }
    }
    fx_raw_send(fx, w);
    assert_int_equal(fx_raw_goaway(fx), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(fx->is_raw_eof);
    assert_in_range(fx->n_recs, 150, 260);
    for (size_t j = 0; j < fx->n_recs; j++) {
        assert_int_equal(fx->recs[j].n_heads, 0);
    }
    fx_free(fx);
    mem_free(w);
}

static void test_h2_input__reset_streams_count_until_closed(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct fx *const fx = fx_prepare();
    fx->limits[1].n_streams_max = 10;
    (void)fx_raw(fx, true);
    wire_preface(w);
    for (uint32_t i = 0; i < 20; i++) {
        wire_reset_request(w, 2 * i + 1);
    }
    fx_raw_send(fx, w);
    assert_int_equal(fx->n_recs, 10);
    assert_int_equal(fx->server->n_streams, 10);
    rec_close(&fx->recs[0]);
    fx_turn(fx, 1);
    wire_reset_request(w, 101);
    fx_raw_send(fx, w);
    assert_int_equal(fx->n_recs, 11);
    fx_free(fx);
    mem_free(w);
}

static void test_h2_input__streams_over_the_limit_are_refused(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    struct fx *const fx = fx_prepare();
    fx->limits[1].n_streams_max = 2;
    (void)fx_raw(fx, true);
    wire_preface(w); // our SETTINGS are not known to the peer yet
    wire_request_fields(block);
    for (uint32_t i = 0; i < 3; i++) {
        wire_headers(w, 2 * i + 1, END_STREAM, block);
    }
    fx_raw_send(fx, w);
    assert_int_equal(fx->n_recs, 2);
    assert_int_equal(fx_raw_reset(fx, 0), NGHTTP2_REFUSED_STREAM);
    assert_non_null(fx->server);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

/* Making us reset is paid like resetting (CVE-2025-8671). */
static void test_h2_input__made_you_reset_ends_the_connection(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    static const uint8_t too_much[4] = {0x7f, 0xff, 0xff, 0xff};
    struct fx *const fx = fx_prepare();
    fx->limits[1].n_glitches_max = 50;
    (void)fx_raw(fx, true);
    wire_preface(w);
    wire_request_fields(block);
    for (uint32_t i = 0; i < 100 && !fx->is_raw_eof; i++) {
        wire_headers(w, 2 * i + 1, END_STREAM, block);
        wire_frame(w, 8, 0, 2 * i + 1, too_much, sizeof(too_much));
        fx_raw_send(fx, w);
        rec_close(&fx->recs[fx->n_recs - 1]);
    }
    assert_int_equal(fx_raw_goaway(fx), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(fx->n_recs < 80);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

/* ---- frames on closed streams ---- */

static void test_h2_input__closed_streams_are_closed(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    wire_request_fields(block);
    for (int is_headers = 0; is_headers < 2; is_headers++) {
        struct fx *const fx = fx_raw(fx_prepare(), true);
        wire_preface(w);
        wire_reset_request(w, 5);
        if (is_headers) {
            wire_headers(w, 3, END_STREAM, block); // skipped, so closed
        } else {
            wire_frame(w, 0, 0, 5, "x", 1);
        }
        fx_raw_send(fx, w);
        assert_int_equal(fx_raw_goaway(fx), NGHTTP2_STREAM_CLOSED);
        assert_int_equal(fx->n_recs, 1);
        assert_true(fx->is_raw_eof);
        fx_free(fx);
    }
    mem_free(block);
    mem_free(w);
}

static void test_h2_input__frames_that_crossed_a_reset_are_dropped(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    wire_preface(w);
    wire_request_fields(block);
    wire_headers(w, 1, 0, block);
    fx_raw_send(fx, w);
    stream_reset(fx->recs[0].s, FAULT_OVERLOAD);
    rec_close(&fx->recs[0]);
    fx_turn(fx, 2);
    for (int i = 0; i < 900; i++) {
        wire_frame(w, 0, 0, 1, "x", 1);
    }
    fx_raw_send(fx, w);
    assert_int_equal(fx_raw_goaway(fx), -1);
    for (int i = 0; i < 200; i++) {
        wire_frame(w, 0, 0, 1, "x", 1);
    }
    fx_raw_send(fx, w);
    assert_int_equal(fx_raw_goaway(fx), NGHTTP2_STREAM_CLOSED);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

/* ---- limits on heads ---- */

static void test_h2_input__too_large_heads_can_be_answered(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    wire_preface(w);
    wire_request_fields(block);
    for (int i = 0; i < 101; i++) {
        wire_field(block, "cookie", "a=b");
    }
    wire_headers(w, 1, 0, block);
    fx_raw_send(fx, w);
    struct rec *const r = &fx->recs[0];
    assert_int_equal(r->fault, FAULT_HEAD_TOO_LARGE);
    assert_true(r->can_answer);
    struct head *const h = fx_response(&r->arena, 431);
    h->content_length = 2;
    stream_send_head(r->s, h, false);
    stream_send_data(r->s, (const uint8_t *)"no", 2, true);
    rec_close(r);
    fx_turn(fx, 2);
    struct raw_frame f;
    assert_true(fx_raw_find(fx, 0, 1, 0, &f));
    assert_int_equal(f.id, 1);
    assert_true(fx_raw_find(fx, 0, 0, 0, &f));
    assert_int_equal(f.flags, END_STREAM);
    assert_int_equal(fx_raw_reset(fx, 0), NGHTTP2_NO_ERROR);
    assert_int_equal(fx->server->n_streams, 0);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

static void test_h2_input__endless_heads_end_the_connection(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    wire_preface(w);
    wire_request_fields(block);
    wire_field(block, "x", "");
    // Thousands of references to an entry of the static table.
    for (int i = 0; i < 10000; i++) {
        const uint8_t indexed = 0x90;
        wire_add(block, &indexed, 1);
    }
    wire_headers(w, 1, END_STREAM, block);
    fx_raw_send(fx, w);
    assert_int_equal(fx_raw_goaway(fx), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(fx->is_raw_eof);
    assert_int_equal(fx->recs[0].n_heads, 0);
    assert_int_equal(fx->recs[0].fault, FAULT_HEAD_TOO_LARGE);
    assert_true(fx->recs[0].arena.total_bytes < 128 * 1024);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

/* ---- input cut anywhere means the same ---- */

static void test_h2_input__cuts_do_not_matter(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const one = mem_new(sizeof(*one));
    struct wire *const block = mem_new(sizeof(*block));
    struct fx *const fx = fx_raw(fx_prepare(), true);
    wire_preface(w);
    wire_request_fields(block);
    wire_field(block, "cookie", "a=1");
    wire_field(block, "cookie", "b=2");
    wire_headers(w, 1, 0, block);
    wire_frame(w, 2, 0, 1, "\0\0\0\3\7", 5);
    wire_frame(w, 0, 0, 1, "hel", 3);
    wire_frame(w, 0, END_STREAM, 1, "lo", 2);
    for (size_t i = 0; i < w->len; i++) {
        wire_add(one, w->bytes + i, 1);
        fx_raw_send(fx, one);
    }
    const struct rec *const r = &fx->recs[0];
    assert_int_equal(r->n_heads, 1);
    assert_true(
        str_eq(head_find(r->head, NAME_COOKIE)->value, STR("a=1; b=2")));
    assert_string_equal(r->first, "hello");
    assert_true(r->is_end);
    fx_free(fx);
    mem_free(block);
    mem_free(one);
    mem_free(w);
}

/* ---- the client's side ---- */

static struct fx *raw_client(struct rec *r, struct wire *w)
{
    struct fx *const fx = fx_raw(fx_prepare(), false);
    wire_frame(w, 4, 0, 0, NULL, 0);
    fx_open(fx, r, "GET", "/", true);
    fx_turn(fx, 2);
    return fx;
}

static void test_h2_input__malformed_responses_are_faults(void **state)
{
    (void)state;
    static const char *const cases[][8] = {
        {":status", "101"},
        {":status", "20"},
        {":status", "abc"},
        {"x-a", "1"},
        {":status", "200", ":status", "200"},
        {":status", "200", "connection", "close"},
        {":status", "200", "X-A", "1"},
        {":status", "200", "content-length", "5"},
        {":status", "200", "content-length", "x"},
        {":status", "200", ":path", "/"},
        {":status", "100"}, // END_STREAM on an interim head
    };
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rec r;
        struct fx *const fx = raw_client(&r, w);
        block->len = 0;
        for (int j = 0; j < 8 && cases[i][j] != NULL; j += 2) {
            wire_field(block, cases[i][j], cases[i][j + 1]);
        }
        wire_headers(w, 1, END_STREAM, block);
        fx_raw_send(fx, w);
        if (r.fault != FAULT_BAD_RESPONSE || r.is_end) {
            fail_msg("case %zu: fault %d", i, (int)r.fault);
        }
        rec_fini(&r);
        fx_free(fx);
    }
    mem_free(block);
    mem_free(w);
}

static void test_h2_input__endless_interim_heads_are_a_fault(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    struct rec r;
    struct fx *const fx = raw_client(&r, w);
    wire_field(block, ":status", "103");
    for (int i = 0; i < 20; i++) {
        wire_headers(w, 1, 0, block);
    }
    fx_raw_send(fx, w);
    assert_int_equal(r.n_heads, 8);
    assert_int_equal(r.fault, FAULT_BAD_RESPONSE);
    assert_int_equal(fx_raw_reset(fx, 24), -1);
    rec_fini(&r);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

static void test_h2_input__goaway_refuses_later_streams(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    struct rec r[2];
    struct fx *const fx = raw_client(&r[0], w);
    fx_raw_send(fx, w); // SETTINGS: more than one stream may be opened
    fx_open(fx, &r[1], "POST", "/", false);
    fx_turn(fx, 2);
    static const uint8_t last_is_1[8] = {0, 0, 0, 1, 0, 0, 0, 0};
    wire_frame(w, 7, 0, 0, last_is_1, sizeof(last_is_1));
    fx_raw_send(fx, w);
    assert_int_equal(r[1].fault, FAULT_REFUSED);
    assert_int_equal(r[0].n_faults, 0);
    assert_int_equal(codec_capacity(fx->client), 0);
    wire_field(block, ":status", "200");
    wire_headers(w, 1, END_STREAM, block);
    fx_raw_send(fx, w);
    assert_true(r[0].is_end);
    rec_fini(&r[0]);
    rec_fini(&r[1]);
    fx_turn(fx, 4);
    assert_true(fx->is_raw_eof);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

static void test_h2_input__reset_after_a_complete_answer_is_none(void **state)
{
    (void)state;
    struct wire *const w = mem_new(sizeof(*w));
    struct wire *const block = mem_new(sizeof(*block));
    struct rec r;
    struct fx *const fx = fx_raw(fx_prepare(), false);
    static const uint8_t no_error[4];
    wire_frame(w, 4, 0, 0, NULL, 0);
    fx->is_credit_held = true;
    fx->limits[0].buffer_bytes = 4;
    fx_open(fx, &r, "POST", "/", false);
    fx_turn(fx, 2);
    wire_field(block, ":status", "413");
    wire_headers(w, 1, 0, block);
    wire_frame(w, 0, END_STREAM, 1, "too large", 9);
    wire_frame(w, 3, 0, 1, no_error, sizeof(no_error));
    fx_raw_send(fx, w);
    assert_int_equal(r.n_body, 4);
    r.n_owed = 0;
    stream_credit(r.s, 4);
    fx_turn(fx, 2);
    r.n_owed = 0;
    stream_credit(r.s, 4);
    fx_turn(fx, 2);
    assert_string_equal(r.first, "too large");
    assert_true(r.is_end);
    assert_int_equal(r.n_faults, 0);
    rec_fini(&r);
    fx_free(fx);
    mem_free(block);
    mem_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h2_input__malformed_requests_are_reset),
        cmocka_unit_test(test_h2_input__length_must_match_the_body),
        cmocka_unit_test(test_h2_input__connection_errors_say_goaway),
        cmocka_unit_test(test_h2_input__wrong_preface_is_closed),
        cmocka_unit_test(test_h2_input__floods_are_cut_off),
        cmocka_unit_test(test_h2_input__continuations_are_bounded),
        cmocka_unit_test(test_h2_input__settings_entries_are_bounded),
        cmocka_unit_test(test_h2_input__request_reset_in_one_read_is_not_told),
        cmocka_unit_test(test_h2_input__rapid_reset_ends_the_connection),
        cmocka_unit_test(test_h2_input__reset_streams_count_until_closed),
        cmocka_unit_test(test_h2_input__streams_over_the_limit_are_refused),
        cmocka_unit_test(test_h2_input__made_you_reset_ends_the_connection),
        cmocka_unit_test(test_h2_input__closed_streams_are_closed),
        cmocka_unit_test(
            test_h2_input__frames_that_crossed_a_reset_are_dropped),
        cmocka_unit_test(test_h2_input__too_large_heads_can_be_answered),
        cmocka_unit_test(test_h2_input__endless_heads_end_the_connection),
        cmocka_unit_test(test_h2_input__cuts_do_not_matter),
        cmocka_unit_test(test_h2_input__malformed_responses_are_faults),
        cmocka_unit_test(test_h2_input__endless_interim_heads_are_a_fault),
        cmocka_unit_test(test_h2_input__goaway_refuses_later_streams),
        cmocka_unit_test(test_h2_input__reset_after_a_complete_answer_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
