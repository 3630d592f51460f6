/*
 * h2_input: what nghttp2's receiver calls while bytes of a conn go through it:
 * streams begin, fields and bytes come, streams end. It records, and tells
 * owners only what needs no copy: body bytes of a stream whose head was told,
 * and heads of responses. New requests wait for the end of the read. One
 * loop's thread.
 */
#include "http/h2.h"

enum { INPUT_FRAME_HEAD_BYTES = 9, INPUT_PRIORITY_BYTES = 5 };

static struct h2_stream *h2_input_find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* True when nobody wants more of this stream. */
static bool h2_input_is_deaf(const struct h2_stream *st)
{
    return st->s.is_closed || st->s.is_dead || st->is_reset ||
           st->fault != FAULT_NONE;
}

static int h2_input_on_begin_frame(nghttp2_session *session,
                                   const nghttp2_frame_hd *hd,
                                   void *user)
{
    struct h2 *const h2 = user;
    (void)session;
    if (h2->is_ending) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (h2_guard_frame(h2, hd)) {
        return 0;
    }
    h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, FAULT_GLITCHES);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* All streams share turns: a long answer must not starve a short one. */
static void h2_input_share(nghttp2_session *session, int32_t id)
{
    const nghttp2_extpri fair = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY,
                                 .inc = 1};
    (void)nghttp2_session_change_extpri_stream_priority(session, id, &fair, 1);
}

static int h2_input_begin_request(struct h2 *h2, int32_t id)
{
    struct codec *const k = &h2->codec;
    // Streams that we have given up still count until their owner has let go:
    // their work goes on behind us (CVE-2023-44487).
    if (k->n_streams >= k->limits->n_streams_max) {
        (void)nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id,
                                        NGHTTP2_REFUSED_STREAM);
        h2_wake(h2);
        return 0;
    }
    struct h2_stream *const st = h2_stream_new(h2);
    st->s.id = (uint32_t)id;
    (void)nghttp2_session_set_stream_user_data(h2->session, id, st);
    h2_input_share(h2->session, id);
    k->owner_ops->on_stream(k, &st->s);
    h2_head_begin(st, false);
    h2->head_since_ms = k->loop->now_ms;
    if (k->limits->n_requests_max > 0 &&
        k->n_requests >= k->limits->n_requests_max) {
        k->ops->drain(k);
    }
    return 0;
}

static int h2_input_on_begin_headers(nghttp2_session *session,
                                     const nghttp2_frame *frame,
                                     void *user)
{
    struct h2 *const h2 = user;
    const int32_t id = frame->hd.stream_id;
    if (h2->codec.is_server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        return h2_input_begin_request(h2, id);
    }
    struct h2_stream *const st = h2_input_find(session, id);
    if (st == NULL || h2_input_is_deaf(st)) {
        return 0;
    }
    h2_head_begin(st, st->is_head_done);
    h2->head_since_ms = h2->codec.loop->now_ms;
    return 0;
}

static int h2_input_on_header(nghttp2_session *session,
                              const nghttp2_frame *frame,
                              const uint8_t *name,
                              size_t name_len,
                              const uint8_t *value,
                              size_t value_len,
                              uint8_t flags,
                              void *user)
{
    struct h2 *const h2 = user;
    struct h2_stream *const st = h2_input_find(session, frame->hd.stream_id);
    if (st == NULL || h2_input_is_deaf(st)) {
        return 0;
    }
    if (h2_head_field(st, str_make((const char *)name, name_len),
                      str_make((const char *)value, value_len),
                      (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0)) {
        return 0;
    }
    h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, FAULT_HEAD_TOO_LARGE);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* A field that breaks RFC 9113 8.2 makes the whole message malformed. */
static int h2_input_on_invalid_header(nghttp2_session *session,
                                      const nghttp2_frame *frame,
                                      const uint8_t *name,
                                      size_t name_len,
                                      const uint8_t *value,
                                      size_t value_len,
                                      uint8_t flags,
                                      void *user)
{
    (void)session;
    (void)frame;
    (void)name;
    (void)name_len;
    (void)value;
    (void)value_len;
    (void)flags;
    (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Straight to the owner, but for the byte that waits for END_STREAM. */
static void h2_input_tell(struct h2_stream *st, const uint8_t *p, size_t len)
{
    struct stream *const s = &st->s;
    const size_t n = h2_stream_take(st, len);
    if (n > 0) {
        s->n_uncredited += n;
        s->ops->on_data(s, p, n, false);
    }
    if (n < len && !h2_input_is_deaf(st)) {
        buf_append(&st->in, p + n, len - n);
    }
}

static int h2_input_on_data(nghttp2_session *session,
                            uint8_t flags,
                            int32_t id,
                            const uint8_t *p,
                            size_t len,
                            void *user)
{
    struct h2 *const h2 = user;
    struct h2_stream *const st = h2_input_find(session, id);
    (void)flags;
    if (st == NULL || h2_input_is_deaf(st)) {
        // Dropped at once, so the connection's window gets it back; the
        // stream's stays shut.
        (void)nghttp2_session_consume_connection(session, len);
        h2_wake(h2);
        return 0;
    }
    struct stream *const s = &st->s;
    st->n_unconsumed += len;
    if (st->is_head_told && buf_len(&st->in) == 0 && !st->is_delivering &&
        s->n_uncredited + len <= stream_quota(s)) {
        h2_input_tell(st, p, len);
        return 0;
    }
    buf_append(&st->in, p, len);
    h2_stream_news(h2, st);
    return 0;
}

/* A fault of ours on a request: an answer can be sent. */
static void h2_input_refuse(struct h2 *h2, struct h2_stream *st, enum fault f)
{
    st->s.can_answer = !st->s.is_out_begun;
    h2_stream_set_fault(h2, st, f);
}

static void h2_input_end_request(struct h2 *h2, struct h2_stream *st)
{
    const enum fault f =
        h2_head_finish_request(st, conn_is_tls(h2->codec.conn));
    if (f != FAULT_NONE) {
        h2_input_refuse(h2, st, f);
        return;
    }
    st->is_head_done = true;
    h2_stream_news(h2, st);
}

static void
h2_input_end_response(struct h2 *h2, struct h2_stream *st, bool is_end)
{
    struct stream *const s = &st->s;
    enum fault f = h2_head_finish_response(st);
    const bool is_interim = f == FAULT_NONE && st->head->status < 200;
    if (is_interim && ++st->n_interim > H2_INTERIM_MAX) {
        f = FAULT_BAD_RESPONSE;
    }
    if (f != FAULT_NONE) {
        (void)nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE,
                                        (int32_t)s->id, NGHTTP2_CANCEL);
        h2_stream_set_fault(h2, st, f);
        return;
    }
    st->is_head_done = !is_interim;
    if (!is_interim && !is_end && st->head->content_length == 0) {
        return; // It looks whole: told when END_STREAM says that it is.
    }
    st->is_head_told = !is_interim;
    st->in_left = is_interim ? -1 : st->head->content_length;
    st->is_in_ended = is_end;
    s->is_in_done = is_end;
    s->ops->on_head(s, st->head, is_end);
}

static void h2_input_end_trailers(struct h2 *h2, struct h2_stream *st)
{
    if (st->intake.fault != FAULT_NONE) {
        if (st->is_server) {
            h2_input_refuse(h2, st, st->intake.fault);
        } else {
            (void)nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE,
                                            (int32_t)st->s.id, NGHTTP2_CANCEL);
            h2_stream_set_fault(h2, st, FAULT_BAD_RESPONSE);
        }
        return;
    }
    st->is_in_ended = true; // nghttp2 insists that trailers end the stream
    h2_stream_news(h2, st);
}

static void h2_input_on_headers(struct h2 *h2, const nghttp2_frame *frame)
{
    struct h2_stream *const st =
        h2_input_find(h2->session, frame->hd.stream_id);
    const bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    h2->head_since_ms = 0;
    if (st == NULL) {
        return;
    }
    if (h2_input_is_deaf(st)) {
        st->is_in_ended |= is_end;
        return;
    }
    if (st->intake.is_trailers) {
        h2_input_end_trailers(h2, st);
    } else if (st->is_server) {
        st->is_in_ended = is_end;
        h2_input_end_request(h2, st);
    } else {
        h2_input_end_response(h2, st, is_end);
    }
}

static void h2_input_on_data_end(struct h2 *h2, const nghttp2_frame *frame)
{
    struct h2_stream *const st =
        h2_input_find(h2->session, frame->hd.stream_id);
    if (st != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        st->is_in_ended = true;
        h2_stream_news(h2, st);
    }
}

static int h2_input_on_rst(struct h2 *h2, const nghttp2_frame *frame)
{
    struct h2_stream *const st =
        h2_input_find(h2->session, frame->hd.stream_id);
    if (st != NULL) {
        st->is_peer_reset = true;
    }
    if (h2_guard_reset(h2)) {
        return 0;
    }
    h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, FAULT_GLITCHES);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void h2_input_on_ping_ack(struct h2 *h2)
{
    h2->ping_sent_ms = 0;
    h2->ping_answered_ms = h2->codec.loop->now_ms;
    if (h2->drain_final_ms != 0) {
        // The peer has read the first GOAWAY: what it sent before is here.
        h2->drain_final_ms = h2->codec.loop->now_ms;
        h2_wake(h2);
    }
}

static int h2_input_on_frame(nghttp2_session *session,
                             const nghttp2_frame *frame,
                             void *user)
{
    struct h2 *const h2 = user;
    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        h2_input_on_headers(h2, frame);
        break;
    case NGHTTP2_DATA:
        h2_input_on_data_end(h2, frame);
        break;
    case NGHTTP2_RST_STREAM:
        return h2_input_on_rst(h2, frame);
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            h2->codec.is_settled = true;
            h2->want_capacity = true;
        }
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
            h2_input_on_ping_ack(h2);
        }
        break;
    case NGHTTP2_GOAWAY:
        h2->codec.is_draining |= !h2->codec.is_server;
        break;
    default:
        break;
    }
    // Whatever came may have to be answered.
    h2_wake(h2);
    return 0;
}

/* What it means for the owner that a stream ended before its messages. */
static enum fault h2_input_close_fault(const struct h2_stream *st,
                                       uint32_t code)
{
    if (st->is_server) {
        return st->is_peer_reset ? FAULT_RESET_BY_CLIENT : FAULT_BAD_REQUEST;
    }
    if (code == NGHTTP2_REFUSED_STREAM || !st->is_sent) {
        return FAULT_REFUSED;
    }
    if (!st->is_peer_reset) {
        return FAULT_BAD_RESPONSE; // nghttp2 found its message malformed
    }
    return st->is_head_done ? FAULT_TRUNCATED : FAULT_RESET_BY_UPSTREAM;
}

/* Called from the receiver, and from the sender when a frame of ours ended
 * the stream: so it records only. */
static int h2_input_on_stream_close(nghttp2_session *session,
                                    int32_t id,
                                    uint32_t code,
                                    void *user)
{
    struct h2 *const h2 = user;
    struct h2_stream *const st = h2_input_find(session, id);
    if (st == NULL) {
        return 0;
    }
    const bool is_complete =
        st->is_in_ended && (!st->is_server || st->is_out_sent);
    st->is_gone = true;
    h2_stream_drop_out(st);
    if (!is_complete && !st->is_reset) {
        st->s.can_answer = false;
        h2_stream_set_fault(h2, st, h2_input_close_fault(st, code));
    }
    h2_stream_news(h2, st);
    return 0;
}

/* Frames of unknown types are of no use, whatever they hold. */
static int h2_input_on_extension(nghttp2_session *session,
                                 void **payload,
                                 const nghttp2_frame_hd *hd,
                                 void *user)
{
    (void)session;
    (void)hd;
    (void)user;
    *payload = NULL;
    return NGHTTP2_ERR_CANCEL;
}

void h2_input_init(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(
        cb, h2_input_on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        cb, h2_input_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_input_on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(
        cb, h2_input_on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb,
                                                              h2_input_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_input_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(
        cb, h2_input_on_stream_close);
    nghttp2_session_callbacks_set_unpack_extension_callback(
        cb, h2_input_on_extension);
}

static void h2_input_fail(struct h2 *h2, ssize_t error)
{
    const bool is_flood = error == NGHTTP2_ERR_FLOODED ||
                          error == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    if (is_flood) {
        h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, FAULT_GLITCHES);
    } else {
        h2_end(h2, NGHTTP2_PROTOCOL_ERROR,
               h2->codec.is_server ? FAULT_BAD_REQUEST : FAULT_BAD_RESPONSE);
    }
}

/* False: nghttp2 takes no more. */
static bool h2_input_feed(struct h2 *h2, const uint8_t *p, size_t len)
{
    if (len == 0) {
        return true;
    }
    const ssize_t n = nghttp2_session_mem_recv(h2->session, p, len);
    if (n < 0) {
        h2_input_fail(h2, n);
    }
    return !h2->is_ending;
}

/* A message frame on a stream that is closed: nghttp2 would drop it in silence,
 * for ever. Only clients are held to it, and not for what crossed a reset. */
static bool h2_input_is_late(struct h2 *h2, uint32_t id)
{
    // Requests that crossed our last GOAWAY are dropped in silence, too.
    if (!h2->codec.is_server || h2->is_final_sent || id > h2->last_id ||
        nghttp2_session_find_stream(h2->session, (int32_t)id) != NULL) {
        return false;
    }
    if (h2->n_late > 0) {
        h2->n_late--;
        return false;
    }
    return true;
}

static uint32_t h2_input_number(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

static uint32_t h2_input_frame_len(const struct h2 *h2)
{
    return h2_input_number(h2->frame_head) >> 8;
}

/* How much of a frame is looked at. */
static size_t h2_input_head_len(const struct h2 *h2)
{
    const bool has_priority = h2->frame_head_len >= INPUT_FRAME_HEAD_BYTES &&
                              h2->frame_head[3] == NGHTTP2_PRIORITY &&
                              h2_input_frame_len(h2) == INPUT_PRIORITY_BYTES;
    return has_priority ? sizeof(h2->frame_head) : INPUT_FRAME_HEAD_BYTES;
}

/* nghttp2 passes over these frames, as our SETTINGS say that priorities are of
 * no use; those without a stream, or with one that depends on itself, remain
 * errors. */
static bool h2_input_is_bad_priority(const struct h2 *h2, uint32_t id)
{
    const uint8_t *const f = h2->frame_head;
    return f[3] == NGHTTP2_PRIORITY &&
           (id == 0 || (h2_input_head_len(h2) > INPUT_FRAME_HEAD_BYTES &&
                        (h2_input_number(f + 9) & INT32_MAX) == id));
}

/* All frames before the one at `at` must have had their effect. False: the
 * connection ends. */
static bool
h2_input_catch_up(struct h2 *h2, const uint8_t *p, size_t at, size_t *fed)
{
    const size_t from = *fed;
    if (at <= from) {
        return true;
    }
    *fed = at;
    return h2_input_feed(h2, p + from, at - from);
}

/* The header of a frame is complete; `fed` bytes of `p` are with nghttp2, and
 * the frame begins at `at`. False: the connection ends. */
static bool
h2_input_check_frame(struct h2 *h2, const uint8_t *p, size_t at, size_t *fed)
{
    const uint8_t *const f = h2->frame_head;
    const uint8_t type = f[3];
    const uint32_t id = h2_input_number(f + 5) & INT32_MAX;
    const size_t n_early = h2->n_head_early;
    h2->frame_left =
        h2_input_frame_len(h2) + INPUT_FRAME_HEAD_BYTES - h2->frame_head_len;
    h2->n_head_early = 0;
    if (h2_input_is_bad_priority(h2, id)) {
        h2_end(h2, NGHTTP2_PROTOCOL_ERROR, FAULT_BAD_REQUEST);
        return false;
    }
    h2->frame_head_len = 0;
    if (type == NGHTTP2_HEADERS && id > h2->last_id) {
        h2->last_id = id;
    } else if (type == NGHTTP2_HEADERS || type == NGHTTP2_DATA) {
        if (!h2_input_catch_up(h2, p, at, fed)) {
            return false;
        }
        if (h2_input_is_late(h2, id)) {
            h2_end(h2, NGHTTP2_STREAM_CLOSED, FAULT_BAD_REQUEST);
            return false;
        }
    }
    return h2_input_feed(h2, f, n_early);
}

/*
 * The header of a frame goes to nghttp2 in one piece, whenever its bytes come:
 * nghttp2 1.52 counts each piece of one as a CONTINUATION frame of its own, and
 * a peer would be too much for it whose segments are small.
 */
void h2_input_run(struct h2 *h2, const uint8_t *p, size_t len)
{
    size_t fed = 0;
    size_t at = 0;
    size_t begin = 0; // of the frame, as far as it lies in these bytes
    while (at < len) {
        if (h2->frame_left > 0) {
            const size_t left = len - at;
            const size_t n = h2->frame_left < left ? h2->frame_left : left;
            h2->frame_left -= n;
            at += n;
            begin = at;
            continue;
        }
        h2->frame_head[h2->frame_head_len++] = p[at++];
        if (h2->frame_head_len == h2_input_head_len(h2)) {
            if (!h2_input_check_frame(h2, p, begin, &fed)) {
                return;
            }
            begin = at;
        }
    }
    if (h2_input_catch_up(h2, p, begin, &fed)) {
        h2->n_head_early = h2->frame_head_len;
    }
}
