/*
 * h2_stream: one request and its response on an h2. Bytes that came wait in
 * `in` until the owner may have them (its head was told, and its credit allows
 * it); bytes that go wait in `out` until the peer's windows and the conn have
 * room. Everything the owner is told is told from h2_stream_handle (or, without
 * a copy, straight from the receiver), never from the sender. One loop's
 * thread.
 */
#include "http/h2.h"

#include "base/check.h"
#include "base/mem.h"

struct h2_stream *h2_stream_new(struct h2 *h2)
{
    struct codec *const k = &h2->codec;
    struct h2_stream *const st = mem_new(sizeof(*st));
    st->s.codec = k;
    st->s.is_first = k->n_requests == 0;
    st->is_server = k->is_server;
    st->in_left = -1;
    st->out_left = -1;
    buf_init(&st->in, &k->loop->bufs);
    buf_init(&st->out, &k->loop->bufs);
    list_push_back(&k->streams, &st->s.node);
    k->n_streams++;
    k->n_requests++;
    return st;
}

void h2_stream_free(struct h2 *h2, struct h2_stream *st)
{
    struct codec *const k = &h2->codec;
    CHECK(k->n_streams > 0);
    list_remove(&st->news_node);
    list_remove(&st->s.node);
    k->n_streams--;
    h2->idle_since_ms = k->loop->now_ms;
    h2->want_capacity = true;
    buf_fini(&st->in);
    codec_count_out(k, 0, buf_len(&st->out));
    buf_fini(&st->out);
    mem_free(st->out_trailers);
    mem_free(st);
}

void h2_stream_news(struct h2 *h2, struct h2_stream *st)
{
    if (!list_is_linked(&st->news_node)) {
        list_push_back(&h2->news, &st->news_node);
    }
    h2_wake(h2);
}

void h2_stream_set_fault(struct h2 *h2, struct h2_stream *st, enum fault f)
{
    if (st->fault == FAULT_NONE) {
        st->fault = f;
    }
    h2_stream_news(h2, st);
}

static void h2_stream_empty(struct buf *b)
{
    struct buf_cache *const cache = b->cache;
    buf_fini(b);
    buf_init(b, cache);
}

void h2_stream_drop_in(struct h2 *h2, struct h2_stream *st)
{
    if (st->n_unconsumed > 0) {
        // The connection's window must not leak with the stream.
        (void)nghttp2_session_consume_connection(h2->session, st->n_unconsumed);
        st->n_unconsumed = 0;
        h2_wake(h2);
    }
    if (!st->is_delivering) {
        h2_stream_empty(&st->in);
    }
}

void h2_stream_drop_out(struct h2_stream *st)
{
    if (st->s.codec != NULL) {
        codec_count_out(st->s.codec, 0, buf_len(&st->out));
    }
    h2_stream_empty(&st->out);
    mem_free(st->out_trailers);
    st->out_trailers = NULL;
}

void h2_stream_reset(struct h2 *h2, struct h2_stream *st, uint32_t code)
{
    st->is_reset = true;
    if (!st->is_gone) {
        if (st->is_submitted || st->is_server) {
            (void)nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE,
                                            (int32_t)st->s.id, code);
        } else {
            st->is_gone = true; // nghttp2 has never seen it
        }
    }
    h2_stream_drop_in(h2, st);
    h2_stream_drop_out(st);
    h2_stream_news(h2, st);
}

void h2_stream_fail(struct h2 *h2, struct h2_stream *st, enum fault f)
{
    struct stream *const s = &st->s;
    if (s->is_closed || s->is_dead || st->is_reset) {
        return;
    }
    h2_stream_drop_in(h2, st);
    if (!s->can_answer) {
        h2_stream_drop_out(st);
    }
    stream_fail(s, f);
}

/* May events be made? */
static bool h2_stream_is_live(const struct h2_stream *st)
{
    return !st->s.is_closed && !st->s.is_dead && !st->is_reset;
}

static void h2_stream_tell_head(struct h2_stream *st)
{
    struct stream *const s = &st->s;
    const bool is_end =
        st->is_in_ended && buf_len(&st->in) == 0 && st->trailers == NULL;
    st->is_head_told = true;
    st->in_left = st->head->content_length;
    s->is_in_done = is_end;
    s->ops->on_head(s, st->head, is_end);
}

/* The last byte of an announced length waits for END_STREAM: only then is the
 * message known to be no longer (R-H2-6), and the other side must not take it
 * for whole before. */
size_t h2_stream_take(struct h2_stream *st, size_t len)
{
    if (st->in_left < 0) {
        return len;
    }
    if (len > 0 && (uint64_t)st->in_left <= len && !st->is_in_ended) {
        len--;
    }
    st->in_left -= (int64_t)len;
    return len;
}

static void
h2_stream_tell_data(struct h2 *h2, struct h2_stream *st, bool is_last)
{
    struct stream *const s = &st->s;
    const size_t most = stream_quota(s);
    while (h2_stream_is_live(st) && buf_len(&st->in) > 0 &&
           (is_last || s->n_uncredited < most)) {
        const struct str piece = buf_peek(&st->in);
        const size_t room = is_last ? piece.len : most - s->n_uncredited;
        const size_t len =
            h2_stream_take(st, piece.len < room ? piece.len : room);
        if (len == 0) {
            break;
        }
        const bool is_end =
            st->is_in_ended && st->trailers == NULL && len == buf_len(&st->in);
        s->n_uncredited += len;
        s->is_in_done = is_end;
        st->is_delivering = true;
        s->ops->on_data(s, (const uint8_t *)piece.p, len, is_end);
        st->is_delivering = false;
        buf_drop(&st->in, len);
    }
    if (!h2_stream_is_live(st)) {
        h2_stream_drop_in(h2, st);
    }
}

static void h2_stream_tell_end(struct h2_stream *st)
{
    struct stream *const s = &st->s;
    s->is_in_done = true;
    if (st->trailers != NULL && st->trailers->n_fields > 0) {
        s->ops->on_trailers(s, st->trailers);
    } else {
        s->ops->on_data(s, NULL, 0, true);
    }
}

void h2_stream_deliver(struct h2 *h2, struct h2_stream *st, bool is_last)
{
    if (!h2_stream_is_live(st) || !st->is_head_done || st->is_delivering) {
        return;
    }
    if (!st->is_head_told) {
        h2_stream_tell_head(st);
    }
    h2_stream_tell_data(h2, st, is_last);
    if (h2_stream_is_live(st) && st->is_in_ended && !st->s.is_in_done &&
        buf_len(&st->in) == 0) {
        h2_stream_tell_end(st);
    }
}

void h2_stream_handle(struct h2 *h2, struct h2_stream *st)
{
    struct stream *const s = &st->s;
    if (st->fault != FAULT_NONE) {
        const enum fault f = st->fault;
        st->fault = FAULT_NONE;
        h2_stream_fail(h2, st, f);
    } else if (!h2->is_ending || !st->is_server) {
        // A connection that is being ended starts no new work.
        h2_stream_deliver(h2, st, false);
    }
    if (s->want_room && !s->is_closed && !st->is_reset && !st->is_gone &&
        buf_len(&st->out) < h2->codec.limits->buffer_bytes / 2) {
        s->want_room = false;
        s->ops->on_room(s);
    }
    if (s->is_closed && st->is_gone) {
        h2_stream_free(h2, st);
    }
}
