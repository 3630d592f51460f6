/*
 * h2: the HTTP/2 codec on a conn, for both sides: what its owner asks for, what
 * its conn tells it, the turn's end, and time. See h2.h for how the parts meet
 * and codec.h for the contract. It owns its nghttp2 session and its streams
 * (until their owners outlive it), and belongs to the conn's loop.
 *
 * It ends in three ways: gently (drain: GOAWAY, last streams, close), for a
 * reason (h2_end: GOAWAY with a code, streams told, close), or with its conn.
 */
#include "http/h2.h"

#include "base/check.h"
#include "base/mem.h"

/* ---- what the owner asks for --------------------------------------------- */

static struct stream *h2_open(struct codec *k,
                              const struct stream_ops *ops,
                              void *owner,
                              struct arena *arena)
{
    CHECK(!k->is_server && k->ops->capacity(k) > 0);
    struct h2_stream *const st = h2_stream_new(h2_of(k));
    if (k->limits->n_requests_max > 0 &&
        k->n_requests >= k->limits->n_requests_max) {
        k->is_draining = true; // this was the last
    }
    st->s.ops = ops;
    st->s.owner = owner;
    st->s.arena = arena;
    return &st->s;
}

/* True when what the owner sends has nowhere to go. */
static bool h2_is_mute(const struct h2 *h2, const struct h2_stream *st)
{
    return st->is_gone || st->is_reset || h2_is_over(h2) ||
           (st->s.is_dead && !st->s.can_answer);
}

static void h2_send_head(struct stream *s, const struct head *h, bool is_end)
{
    struct h2 *const h2 = h2_of(s->codec);
    struct h2_stream *const st = h2_stream_of(s);
    const bool is_final = !st->is_server || h->status >= 200;
    CHECK(!s->is_out_begun && (is_final || !is_end));
    s->is_out_begun = is_final;
    s->is_out_done = is_end;
    if (is_final && !is_end) {
        st->out_left = h->content_length;
    }
    if (h2_is_mute(h2, st)) {
        return;
    }
    if (st->is_server) {
        if (h->status != 101) { // RFC 9113 8.6: there is none
            h2_output_response(h2, st, h, is_end);
        }
        return;
    }
    s->method = h->method;
    h2_output_request(h2, st, h, is_end);
}

static void
h2_send_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    struct h2 *const h2 = h2_of(s->codec);
    struct h2_stream *const st = h2_stream_of(s);
    CHECK(s->is_out_begun && !s->is_out_done);
    if (st->out_left >= 0) {
        CHECK(len <= (uint64_t)st->out_left);
        st->out_left -= (int64_t)len;
    }
    s->is_out_done = is_end;
    if (h2_is_mute(h2, st) || (len == 0 && !is_end)) {
        return;
    }
    if (buf_len(&st->out) == 0) {
        st->out_ms = h2->codec.loop->now_ms;
    }
    if (len > 0) {
        buf_append(&st->out, p, len);
        codec_count_out(&h2->codec, len, 0);
    }
    h2_output_resume(h2, st);
}

static void h2_send_trailers(struct stream *s, const struct head *trailers)
{
    struct h2 *const h2 = h2_of(s->codec);
    struct h2_stream *const st = h2_stream_of(s);
    CHECK(s->is_out_begun && !s->is_out_done);
    s->is_out_done = true;
    if (!h2_is_mute(h2, st)) {
        h2_output_trailers(h2, st, trailers);
    }
}

static size_t h2_n_queued(const struct stream *s)
{
    return buf_len(&h2_stream_of_const(s)->out);
}

static void h2_credit(struct stream *s, size_t len)
{
    struct h2 *const h2 = h2_of(s->codec);
    struct h2_stream *const st = h2_stream_of(s);
    CHECK(len <= s->n_uncredited);
    s->n_uncredited -= len;
    // Less than len when the stream was dropped: then the connection has it.
    const size_t n = len < st->n_unconsumed ? len : st->n_unconsumed;
    st->n_unconsumed -= n;
    if (n > 0 && !h2_is_over(h2)) {
        if (st->is_gone) {
            (void)nghttp2_session_consume_connection(h2->session, n);
        } else {
            (void)nghttp2_session_consume(h2->session, (int32_t)s->id, n);
        }
        h2_wake(h2);
    }
    if (buf_len(&st->in) > 0) {
        h2_stream_news(h2, st);
    }
}

/* The code that tells the peer what `f` means for it. */
static uint32_t h2_code_of(const struct h2 *h2, enum fault f)
{
    if (!h2->codec.is_server) {
        return NGHTTP2_CANCEL;
    }
    switch (fault_row(f)->blame) {
    case BLAME_CLIENT:
        return f == FAULT_CLIENT_GONE || f == FAULT_RESET_BY_CLIENT
                   ? NGHTTP2_CANCEL
                   : NGHTTP2_PROTOCOL_ERROR;
    case BLAME_GATEWAY:
        return f == FAULT_INTERNAL ? NGHTTP2_INTERNAL_ERROR
                                   : NGHTTP2_REFUSED_STREAM;
    case BLAME_NOBODY:
        return NGHTTP2_CANCEL;
    case BLAME_UPSTREAM:
        return NGHTTP2_INTERNAL_ERROR;
    }
    return NGHTTP2_INTERNAL_ERROR;
}

static void h2_reset(struct stream *s, enum fault f)
{
    struct h2 *const h2 = h2_of(s->codec);
    struct h2_stream *const st = h2_stream_of(s);
    uint32_t code = h2_code_of(h2, f);
    if (code == NGHTTP2_REFUSED_STREAM && s->is_out_begun) {
        code = NGHTTP2_INTERNAL_ERROR; // it cannot be tried again
    }
    if (!st->is_reset) {
        h2_stream_reset(h2, st, code);
    }
}

/*
 * Bytes that the owner has sent still leave. What is not complete is reset;
 * the rest of a request whose response is complete is only refused.
 */
static void h2_close(struct stream *s)
{
    struct h2 *const h2 = h2_of(s->codec);
    struct h2_stream *const st = h2_stream_of(s);
    h2_stream_drop_in(h2, st);
    h2_stream_news(h2, st);
    if (st->is_gone || st->is_reset || h2_is_over(h2)) {
        return;
    }
    if (!s->is_out_done) {
        h2_stream_reset(h2, st,
                        st->is_server && s->is_out_begun
                            ? NGHTTP2_INTERNAL_ERROR
                            : NGHTTP2_CANCEL);
    } else if (st->is_in_ended) {
        return;
    } else if (!st->is_server) {
        h2_stream_reset(h2, st, NGHTTP2_CANCEL);
    } else if (st->is_out_sent) {
        h2_stream_reset(h2, st, NGHTTP2_NO_ERROR);
    } else {
        st->want_reset = true;
    }
}

static size_t h2_capacity(const struct codec *k)
{
    const struct h2 *const h2 = (const struct h2 *)(const void *)k;
    if (k->is_server || k->is_draining || h2->is_eof || h2_is_over(h2)) {
        return 0;
    }
    size_t n_max = H2_STREAMS_UNTOLD;
    if (h2->codec.is_settled) {
        n_max = nghttp2_session_get_remote_settings(
            h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    }
    if (n_max > k->limits->n_streams_max) {
        n_max = k->limits->n_streams_max;
    }
    size_t n = n_max > k->n_streams ? n_max - k->n_streams : 0;
    const uint32_t n_requests_max = k->limits->n_requests_max;
    if (n_requests_max > 0) {
        const size_t n_left =
            n_requests_max > k->n_requests ? n_requests_max - k->n_requests : 0;
        n = n < n_left ? n : n_left;
    }
    return n;
}

/*
 * A server says GOAWAY twice (RFC 9113 6.8): first without a limit, and after a
 * round trip, when no request can be on its way any more, with the last id.
 */
static void h2_drain(struct codec *k)
{
    struct h2 *const h2 = h2_of(k);
    if (k->is_draining || h2_is_over(h2)) {
        return;
    }
    k->is_draining = true;
    if (k->is_server) {
        (void)nghttp2_submit_shutdown_notice(h2->session);
        (void)nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
        h2->drain_final_ms = k->loop->now_ms + H2_DRAIN_MS;
    }
    h2_wake(h2);
}

static const struct codec_ops h2_codec_ops = {
    .open = h2_open,
    .send_head = h2_send_head,
    .send_data = h2_send_data,
    .send_trailers = h2_send_trailers,
    .n_queued = h2_n_queued,
    .credit = h2_credit,
    .reset = h2_reset,
    .close = h2_close,
    .capacity = h2_capacity,
    .drain = h2_drain,
};

/* ---- endings --------------------------------------------------------------
 */

static enum fault h2_end_fault(const struct h2 *h2, const struct h2_stream *st)
{
    if (st->is_server) {
        return h2->end_fault != FAULT_NONE ? h2->end_fault : FAULT_CLIENT_GONE;
    }
    if (!st->is_sent) {
        return FAULT_REFUSED;
    }
    if (h2->end_fault == FAULT_IDLE_TIMEOUT) {
        return FAULT_IDLE_TIMEOUT;
    }
    if (st->is_head_done) {
        return FAULT_TRUNCATED;
    }
    const bool is_bad = h2->end_fault == FAULT_BAD_RESPONSE ||
                        h2->end_fault == FAULT_GLITCHES ||
                        h2->end_fault == FAULT_HEAD_TOO_LARGE;
    return is_bad ? FAULT_BAD_RESPONSE : FAULT_RESET_BY_UPSTREAM;
}

/* The stream will move no more: what is complete is told, the rest failed. */
static void h2_fail_stream(struct h2 *h2, struct h2_stream *st)
{
    struct stream *const s = &st->s;
    if (!st->is_server && st->is_in_ended) {
        h2_stream_deliver(h2, st, true);
        return;
    }
    const bool is_complete =
        st->is_in_ended && st->is_out_sent && buf_len(&st->in) == 0;
    if (!is_complete) {
        s->can_answer = false;
        h2_stream_fail(
            h2, st, st->fault != FAULT_NONE ? st->fault : h2_end_fault(h2, st));
    }
}

static void h2_fail_streams(struct h2 *h2)
{
    struct list *it = NULL;
    struct list *tmp = NULL;
    h2->is_failed = true;
    list_for_each (it, tmp, &h2->codec.streams) {
        struct stream *const s = CONTAINER_OF(it, struct stream, node);
        h2_fail_stream(h2, h2_stream_of(s));
    }
}

/* Streams that their owners still hold live on without us. */
static void h2_leave_streams(struct h2 *h2)
{
    struct list *it = NULL;
    struct list *tmp = NULL;
    list_for_each (it, tmp, &h2->codec.streams) {
        struct h2_stream *const st =
            h2_stream_of(CONTAINER_OF(it, struct stream, node));
        if (st->s.is_closed) {
            h2_stream_free(h2, st);
            continue;
        }
        list_remove(&st->s.node);
        list_remove(&st->news_node);
        buf_fini(&st->in);
        h2_stream_drop_out(st);
        st->s.codec = NULL;
    }
}

static void h2_on_closed(struct conn *c, enum conn_end end)
{
    struct h2 *const h2 = c->owner;
    struct codec *const k = &h2->codec;
    if (end == CONN_TIMED_OUT && h2->end_fault == FAULT_NONE) {
        h2->end_fault = k->is_server ? FAULT_WRITE_STALLED : FAULT_IDLE_TIMEOUT;
    }
    h2->is_closing = true;
    h2_fail_streams(h2);
    h2_leave_streams(h2);
    k->owner_ops->on_closed(k, end);
    loop_defer_cancel(&h2->turn_end);
    nghttp2_session_del(h2->session);
    mem_free(h2);
}

static void h2_close_conn(struct h2 *h2)
{
    struct conn *const c = h2->codec.conn;
    h2->is_closing = true;
    if (h2->is_eof && conn_n_queued(c) == 0) {
        conn_close(c, CONN_CLOSED_BY_PEER);
    } else {
        conn_close_linger(c); // so that GOAWAY is not destroyed by an RST
    }
}

/* Closes the conn once everything has been said. */
static void h2_check_end(struct h2 *h2)
{
    struct codec *const k = &h2->codec;
    if (h2->is_closing || conn_is_closed(k->conn)) {
        return;
    }
    if (nghttp2_session_get_outbound_queue_size(h2->session) >
        H2_FRAMES_QUEUED_MAX) {
        h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, FAULT_GLITCHES);
    }
    if (h2->is_ending && !h2->is_failed) {
        h2_fail_streams(h2);
    }
    const bool is_silent = nghttp2_session_want_write(h2->session) == 0;
    const bool is_full = conn_n_queued(k->conn) >= H2_OUT_BYTES_MAX;
    if (h2->is_eof || (h2->is_ending && (is_silent || is_full))) {
        h2_close_conn(h2);
        return;
    }
    const bool is_drained =
        k->is_draining && (!k->is_server || h2->is_final_sent);
    const bool is_deaf = nghttp2_session_want_read(h2->session) == 0;
    if (k->n_streams == 0 && (is_drained || (is_deaf && is_silent))) {
        h2_end(h2, NGHTTP2_NO_ERROR, FAULT_NONE);
    }
}

/* ---- what the conn tells ----------------------------------------------------
 */

/* Tells owners what came. Streams may get new news meanwhile: they wait for
 * the next call, so that no owner can keep this one busy. */
static void h2_tell(struct h2 *h2)
{
    struct list todo;
    list_init(&todo);
    while (!list_is_empty(&h2->news)) {
        struct list *const node = list_first(&h2->news);
        list_remove(node);
        list_push_back(&todo, node);
    }
    while (!list_is_empty(&todo)) {
        struct list *const node = list_first(&todo);
        list_remove(node);
        h2_stream_handle(h2, CONTAINER_OF(node, struct h2_stream, news_node));
    }
    if (!list_is_empty(&h2->news)) {
        h2_wake(h2);
    }
}

static void h2_on_turn_end(struct deferred *d)
{
    struct h2 *const h2 = CONTAINER_OF(d, struct h2, turn_end);
    struct codec *const k = &h2->codec;
    h2_tell(h2);
    if (!h2->is_closing && !conn_is_closed(k->conn)) {
        h2_time_drain(h2, k->loop->now_ms);
        h2_output_run(h2);
    }
    h2_tell(h2);
    h2_check_end(h2);
    if (h2->want_capacity) {
        h2->want_capacity = false;
        if (!k->is_server && h2_capacity(k) > 0) {
            k->owner_ops->on_capacity(k);
        }
    }
    h2_time_arm(h2);
}

static void h2_on_ready(struct conn *c)
{
    (void)c; // h2_new takes conns that are ready
}

static size_t h2_on_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    struct h2 *const h2 = c->owner;
    if (h2_is_over(h2)) {
        return len;
    }
    h2->read_ms = h2->codec.loop->now_ms;
    h2_input_run(h2, p, len);
    h2_tell(h2);
    h2_wake(h2);
    c->is_midway = h2->codec.n_streams > 0;
    return len;
}

static void h2_on_eof(struct conn *c)
{
    struct h2 *const h2 = c->owner;
    h2->is_eof = true;
    h2_wake(h2);
}

static void h2_on_room(struct conn *c)
{
    h2_wake(c->owner);
}

static const struct conn_ops h2_conn_ops = {
    .on_ready = h2_on_ready,
    .on_bytes = h2_on_bytes,
    .on_eof = h2_on_eof,
    .on_room = h2_on_room,
    .on_closed = h2_on_closed,
};

/* ---- making one
 * -------------------------------------------------------------- */

static void *h2_mem_malloc(size_t size, void *user)
{
    (void)user;
    return mem_new_raw(size);
}

static void h2_mem_free(void *p, void *user)
{
    (void)user;
    mem_free(p);
}

static void *h2_mem_calloc(size_t n, size_t size, void *user)
{
    (void)user;
    return mem_new_array(n, size);
}

static void *h2_mem_realloc(void *p, size_t size, void *user)
{
    (void)user;
    return mem_resize(p, size);
}

static nghttp2_option *h2_option_new(const struct codec_limits *limits)
{
    enum { EXTENSION_FIRST = 0x0a, EXTENSION_LAST = 0xff };
    nghttp2_option *option = NULL;
    CHECK(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, H2_STREAMS_UNTOLD);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, H2_ACKS_QUEUED_MAX);
    nghttp2_option_set_max_settings(option, H2_SETTINGS_ENTRIES_MAX);
    nghttp2_option_set_max_continuations(option, H2_CONTINUATIONS_MAX);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, 4096);
    // Our own bucket comes first; this one is the second lock.
    nghttp2_option_set_stream_reset_rate_limit(
        option, (uint64_t)limits->n_resets_max + 1, 33);
    // Unknown frames are announced to us only when their types are taken.
    for (unsigned type = EXTENSION_FIRST; type <= EXTENSION_LAST; type++) {
        nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
    }
    return option;
}

static void h2_session_new(struct h2 *h2)
{
    nghttp2_mem mem = {.malloc = h2_mem_malloc,
                       .free = h2_mem_free,
                       .calloc = h2_mem_calloc,
                       .realloc = h2_mem_realloc};
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *const option = h2_option_new(h2->codec.limits);
    CHECK(nghttp2_session_callbacks_new(&cb) == 0);
    h2_input_init(cb);
    h2_output_init(cb);
    const int rv =
        h2->codec.is_server
            ? nghttp2_session_server_new3(&h2->session, cb, h2, option, &mem)
            : nghttp2_session_client_new3(&h2->session, cb, h2, option, &mem);
    CHECK(rv == 0);
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(option);
}

/*
 * A connection to a backend carries answers for many clients: one of them who
 * takes nothing must not use up the window of the others. There the windows of
 * the streams are the bound.
 */
static int32_t h2_conn_window_bytes(const struct h2 *h2)
{
    return h2->codec.is_server ? (int32_t)h2->codec.limits->conn_window_bytes
                               : NGHTTP2_MAX_WINDOW_SIZE;
}

static void h2_say_settings(struct h2 *h2)
{
    const struct codec_limits *const limits = h2->codec.limits;
    nghttp2_settings_entry entries[4] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->stream_window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits->head_bytes_max},
    };
    size_t n = 2;
    if (h2->codec.is_server) {
        entries[n++] = (nghttp2_settings_entry){
            NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->n_streams_max};
        entries[n++] =
            (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
    } else {
        entries[n++] =
            (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    }
    CHECK(nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, entries, n) ==
          0);
    CHECK(nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE,
                                                0,
                                                h2_conn_window_bytes(h2)) == 0);
}

struct codec *h2_new(struct conn *c,
                     bool is_server,
                     const struct codec_limits *limits,
                     const struct codec_owner_ops *owner_ops,
                     void *owner)
{
    struct h2 *const h2 = mem_new(sizeof(*h2));
    codec_init(&h2->codec, &h2_codec_ops, CODEC_H2, c, is_server, limits,
               owner_ops, owner);
    const uint64_t now_ms = c->loop->now_ms;
    list_init(&h2->news);
    h2->frame_left = is_server ? NGHTTP2_CLIENT_MAGIC_LEN : 0;
    h2->turn_end.fn = h2_on_turn_end;
    h2->begun_ms = now_ms;
    h2->idle_since_ms = now_ms;
    h2->read_ms = now_ms;
    h2->write_mark_ms = now_ms;
    h2->want_capacity = !is_server;
    if (limits->age_max_ms > 0) {
        h2->age_at_ms =
            now_ms + limits->age_max_ms +
            loop_random(c->loop) % ((uint64_t)limits->age_max_ms / 10 + 1);
    }
    h2_guard_init(h2);
    h2_session_new(h2);
    h2_say_settings(h2);
    conn_set_owner(c, &h2_conn_ops, h2);
    conn_resume(c);
    h2_wake(h2);
    return &h2->codec;
}
