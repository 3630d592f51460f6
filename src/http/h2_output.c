/*
 * h2_output: what leaves an h2. Heads are given to nghttp2 from their typed
 * members; body bytes stay in the stream's `out` until nghttp2 asks for them
 * and then move to the conn without a copy when they are many. nghttp2's
 * sender runs at the end of a turn, while the conn has room. One loop's thread.
 */
#include "http/h2.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum {
    OUTPUT_NVS_FIRST = 64,
    OUTPUT_TARGET_BYTES = 1024,
    OUTPUT_DATA_BYTES_MIN = 256 /* less is tiny, if more was there */
};

/* A field list for nghttp2, which copies it. */
struct h2_nvs {
    nghttp2_nv first[OUTPUT_NVS_FIRST];
    nghttp2_nv *nvs;
    size_t n;
    char status[4];
    char length[24];
    char target[OUTPUT_TARGET_BYTES];
    char *long_target;
};

/* nghttp2 does not write through these pointers. */
static uint8_t *h2_output_bytes(struct str s)
{
    return (uint8_t *)(uintptr_t)(s.p != NULL ? s.p : "");
}

static void h2_output_nv(struct h2_nvs *list,
                         struct str name,
                         struct str value,
                         bool is_sensitive)
{
    list->nvs[list->n++] =
        (nghttp2_nv){.name = h2_output_bytes(name),
                     .value = h2_output_bytes(value),
                     .namelen = name.len,
                     .valuelen = value.len,
                     .flags = is_sensitive ? NGHTTP2_NV_FLAG_NO_INDEX
                                           : NGHTTP2_NV_FLAG_NONE};
}

/* Room for all fields of `h` and for what is made from typed members. */
static void h2_output_nvs_init(struct h2_nvs *list, const struct head *h)
{
    const size_t n_max = (size_t)h->n_fields + 8;
    list->n = 0;
    list->long_target = NULL;
    list->nvs = n_max <= OUTPUT_NVS_FIRST
                    ? list->first
                    : mem_new_array(n_max, sizeof(nghttp2_nv));
}

static void h2_output_nvs_fini(struct h2_nvs *list)
{
    if (list->nvs != list->first) {
        mem_free(list->nvs);
    }
    mem_free(list->long_target);
}

static void h2_output_fields(struct h2_nvs *list, const struct head *h)
{
    for (uint32_t i = 0; i < h->n_fields; i++) {
        const struct field *const f = &h->fields[i];
        const bool is_framing =
            f->id == NAME_CONTENT_LENGTH || f->id == NAME_HOST;
        if ((name_flags(f->id) & NAME_FLAG_HOP) == 0 && !is_framing) {
            h2_output_nv(list, f->name, f->value, f->is_sensitive);
        }
    }
}

static void h2_output_length(struct h2_nvs *list, int64_t length)
{
    const int n =
        snprintf(list->length, sizeof(list->length), "%lld", (long long)length);
    h2_output_nv(list, STR("content-length"), str_make(list->length, (size_t)n),
                 false);
}

/* ":path" with its query. */
static struct str h2_output_target(struct h2_nvs *list, const struct head *h)
{
    if (h->query.p == NULL) {
        return h->path;
    }
    const size_t len = h->path.len + 1 + h->query.len;
    char *text = list->target;
    if (len > sizeof(list->target)) {
        list->long_target = mem_new_raw(len);
        text = list->long_target;
    }
    memcpy(text, h->path.p, h->path.len);
    text[h->path.len] = '?';
    if (h->query.len > 0) {
        memcpy(text + h->path.len + 1, h->query.p, h->query.len);
    }
    return str_make(text, len);
}

/* Hands the trailers to nghttp2, behind the last DATA. */
static void h2_output_submit_trailers(struct h2 *h2, struct h2_stream *st)
{
    const int rv = nghttp2_submit_trailer(h2->session, (int32_t)st->s.id,
                                          st->out_trailers, st->n_out_trailers);
    CHECK(rv == 0);
    mem_free(st->out_trailers);
    st->out_trailers = NULL;
}

/* nghttp2 wants DATA of a stream. */
static ssize_t h2_output_on_read(nghttp2_session *session,
                                 int32_t id,
                                 uint8_t *p,
                                 size_t len,
                                 uint32_t *flags,
                                 nghttp2_data_source *source,
                                 void *user)
{
    struct h2 *const h2 = user;
    struct h2_stream *const st = source->ptr;
    const size_t have = buf_len(&st->out);
    (void)session;
    (void)id;
    (void)p;
    if (have == 0 && !st->s.is_out_done) {
        st->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (have > len) {
        return (ssize_t)len;
    }
    if (st->s.is_out_done) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (st->out_trailers != NULL) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            h2_output_submit_trailers(h2, st);
        }
    }
    return (ssize_t)have;
}

/* Moves `len` bytes of `from` to the conn. */
static void h2_output_move(struct conn *c, struct buf *from, size_t len)
{
    if (len == buf_len(from) && len >= H2_MOVE_BYTES_MIN) {
        conn_write_buf(c, from);
        return;
    }
    while (len > 0 && !conn_is_closed(c)) {
        const struct str piece = buf_peek(from);
        const size_t n = piece.len < len ? piece.len : len;
        conn_write(c, piece.p, n);
        buf_drop(from, n);
        len -= n;
    }
}

/* nghttp2 sends a DATA frame whose bytes are ours. */
static int h2_output_on_send_data(nghttp2_session *session,
                                  nghttp2_frame *frame,
                                  const uint8_t *header,
                                  size_t len,
                                  nghttp2_data_source *source,
                                  void *user)
{
    struct h2 *const h2 = user;
    struct h2_stream *const st = source->ptr;
    struct conn *const c = h2->codec.conn;
    const size_t have = buf_len(&st->out);
    (void)session;
    CHECK(frame->data.padlen == 0);
    if (conn_is_closed(c) || conn_n_queued(c) >= H2_OUT_BYTES_MAX) {
        h2->is_blocked = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (have < len) {
        // The stream was given up after nghttp2 had planned this frame.
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    conn_write(c, header, 9);
    if (!conn_is_closed(c)) {
        h2_output_move(c, &st->out, len);
        codec_count_out(&h2->codec, 0, have - buf_len(&st->out));
    }
    st->out_ms = h2->codec.loop->now_ms;
    if (st->s.want_room) {
        h2_stream_news(h2, st);
    }
    return 0;
}

static const nghttp2_data_provider *
h2_output_provider(nghttp2_data_provider *provider,
                   struct h2_stream *st,
                   bool is_end)
{
    provider->source.ptr = st;
    provider->read_callback = h2_output_on_read;
    return is_end ? NULL : provider;
}

void h2_output_request(struct h2 *h2,
                       struct h2_stream *st,
                       const struct head *h,
                       bool is_end)
{
    struct h2_nvs list;
    nghttp2_data_provider provider;
    h2_output_nvs_init(&list, h);
    h2_output_nv(&list, STR(":method"), h->method_text, false);
    h2_output_nv(&list, STR(":scheme"), h->scheme, false);
    h2_output_nv(&list, STR(":authority"), h->authority, false);
    h2_output_nv(&list, STR(":path"), h2_output_target(&list, h), false);
    h2_output_fields(&list, h);
    if (h->has_te_trailers || h->is_grpc) {
        h2_output_nv(&list, STR("te"), STR("trailers"), false);
    }
    if (h->content_length >= 0) {
        h2_output_length(&list, h->content_length);
    }
    const int32_t id =
        nghttp2_submit_request(h2->session, NULL, list.nvs, list.n,
                               h2_output_provider(&provider, st, is_end), st);
    h2_output_nvs_fini(&list);
    if (id < 0) {
        // Stream ids are used up: another connection will do.
        st->is_gone = true;
        h2->codec.is_draining = true;
        h2_stream_set_fault(h2, st, FAULT_REFUSED);
        return;
    }
    st->s.id = (uint32_t)id;
    st->is_submitted = true;
    h2_wake(h2);
}

/* A final response with a body length that may be said (RFC 9110 8.6). */
static bool h2_output_has_length(const struct head *h)
{
    return h->content_length >= 0 && h->status >= 200 && h->status != 204;
}

void h2_output_response(struct h2 *h2,
                        struct h2_stream *st,
                        const struct head *h,
                        bool is_end)
{
    struct h2_nvs list;
    nghttp2_data_provider provider;
    const int32_t id = (int32_t)st->s.id;
    CHECK(h->status >= 100 && h->status <= 999);
    h2_output_nvs_init(&list, h);
    (void)snprintf(list.status, sizeof(list.status), "%03u",
                   (unsigned)h->status % 1000);
    h2_output_nv(&list, STR(":status"), str_make(list.status, 3), false);
    h2_output_fields(&list, h);
    if (h2_output_has_length(h)) {
        h2_output_length(&list, h->content_length);
    }
    int rv = 0;
    if (h->status < 200) {
        rv = nghttp2_submit_headers(h2->session, NGHTTP2_FLAG_NONE, id, NULL,
                                    list.nvs, list.n, NULL);
    } else {
        rv = nghttp2_submit_response(h2->session, id, list.nvs, list.n,
                                     h2_output_provider(&provider, st, is_end));
        st->is_submitted = true;
    }
    CHECK(rv == 0);
    h2_output_nvs_fini(&list);
    h2_wake(h2);
}

static char *h2_output_append(char *to, struct str s)
{
    if (s.len > 0) {
        memcpy(to, s.p, s.len);
    }
    return to + s.len;
}

/* The head may be gone before the last DATA has left: so they are copied. */
void h2_output_trailers(struct h2 *h2,
                        struct h2_stream *st,
                        const struct head *t)
{
    struct h2_nvs list;
    h2_output_nvs_init(&list, t);
    h2_output_fields(&list, t);
    size_t size = 0;
    for (size_t i = 0; i < list.n; i++) {
        size += sizeof(nghttp2_nv) + list.nvs[i].namelen + list.nvs[i].valuelen;
    }
    if (size > 0) {
        nghttp2_nv *const nvs = mem_new_raw(size);
        char *text = (char *)(nvs + list.n);
        for (size_t i = 0; i < list.n; i++) {
            nvs[i] = list.nvs[i];
            nvs[i].name = (uint8_t *)text;
            text =
                h2_output_append(text, str_make((const char *)list.nvs[i].name,
                                                list.nvs[i].namelen));
            nvs[i].value = (uint8_t *)text;
            text =
                h2_output_append(text, str_make((const char *)list.nvs[i].value,
                                                list.nvs[i].valuelen));
        }
        st->out_trailers = nvs;
        st->n_out_trailers = list.n;
    }
    h2_output_nvs_fini(&list);
    h2_output_resume(h2, st);
}

void h2_output_resume(struct h2 *h2, struct h2_stream *st)
{
    if (st->is_deferred) {
        st->is_deferred = false;
        (void)nghttp2_session_resume_data(h2->session, (int32_t)st->s.id);
    }
    h2_wake(h2);
}

/* Resets that a peer provokes are oddities (MadeYouReset, CVE-2025-8671). */
static bool h2_output_is_glitch(uint32_t code)
{
    return code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL &&
           code != NGHTTP2_INTERNAL_ERROR;
}

static void h2_output_on_sent_end(struct h2 *h2, struct h2_stream *st)
{
    st->is_out_sent = true;
    if (st->want_reset && !st->is_in_ended) {
        (void)nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE,
                                        (int32_t)st->s.id, NGHTTP2_NO_ERROR);
    }
}

static void h2_output_on_message(struct h2 *h2, const nghttp2_frame *frame)
{
    struct h2_stream *const st =
        nghttp2_session_get_stream_user_data(h2->session, frame->hd.stream_id);
    // Windows opened byte by byte must not pay for themselves.
    if (st == NULL || frame->hd.type == NGHTTP2_HEADERS ||
        frame->hd.length >= OUTPUT_DATA_BYTES_MIN || buf_len(&st->out) == 0) {
        h2_guard_on_sent(h2);
    }
    if (st == NULL) {
        return;
    }
    st->is_sent = true;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        h2_output_on_sent_end(h2, st);
    }
}

static int h2_output_on_frame(nghttp2_session *session,
                              const nghttp2_frame *frame,
                              void *user)
{
    struct h2 *const h2 = user;
    (void)session;
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
        h2_output_on_message(h2, frame);
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        h2->head_since_ms = 0; // nobody waits for that head any more
        // What the peer sent before it reads this is no offence.
        if (h2->n_late < H2_LATE_FRAMES_MAX) {
            h2->n_late += H2_LATE_FRAMES;
        }
        if (h2_output_is_glitch(frame->rst_stream.error_code) &&
            !h2_guard_glitch(h2)) {
            h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, FAULT_GLITCHES);
        }
    } else if (frame->hd.type == NGHTTP2_GOAWAY &&
               frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        // nghttp2 found an error of the whole connection.
        h2_end(h2, frame->goaway.error_code,
               h2->codec.is_server ? FAULT_BAD_REQUEST : FAULT_BAD_RESPONSE);
    }
    return 0;
}

/* A request that could not be sent is as good as refused. */
static int h2_output_on_not_sent(nghttp2_session *session,
                                 const nghttp2_frame *frame,
                                 int error,
                                 void *user)
{
    struct h2 *const h2 = user;
    struct h2_stream *const st =
        nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)error;
    if (st != NULL && frame->hd.type == NGHTTP2_HEADERS && !st->is_sent &&
        !st->is_server) {
        h2_stream_set_fault(h2, st, FAULT_REFUSED);
    }
    return 0;
}

void h2_output_init(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_send_data_callback(cb,
                                                     h2_output_on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb,
                                                         h2_output_on_frame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(
        cb, h2_output_on_not_sent);
}

void h2_output_run(struct h2 *h2)
{
    struct conn *const c = h2->codec.conn;
    while (!conn_is_closed(c)) {
        if (conn_n_queued(c) >= H2_OUT_BYTES_MAX) {
            conn_want_room(c);
            return;
        }
        const uint8_t *p = NULL;
        h2->is_blocked = false;
        const ssize_t n = nghttp2_session_mem_send(h2->session, &p);
        if (n < 0) {
            conn_abort(c);
            return;
        }
        if (n > 0) {
            conn_write(c, p, (size_t)n);
        } else if (!h2->is_blocked) {
            return;
        }
    }
}
