/*
 * h2: HTTP/2 for the demo server, on nghttp2 and one bufferevent.
 *
 * The session owns the frames, this file joins its streams to calls. The
 * stream's window is opened as the handler takes the bytes, except where the
 * call holds its credit until the answer drained (the echo stream). Output is
 * produced only while less than 64 KiB wait in the bufferevent. The object
 * owns the bufferevent, the session and every call, and is freed only from
 * the bufferevent's callbacks.
 */
#include "call.h"
#include "conn.h"
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#define H2_OUTPUT_LOW (64u << 10)
#define H2_STREAMS_MAX 1000u
#define H2_STREAM_WINDOW (1u << 20)
#define H2_CONN_WINDOW (16 << 20)

struct h2 {
    const struct conn_server *server;
    struct bufferevent *bev;
    nghttp2_session *session;
    struct h2_stream *streams; // all that are open
    bool in_run;
};

struct h2_stream {
    struct h2 *h2;
    struct h2_stream *next;
    struct h2_stream **link; // what points at this stream
    struct call *call;
    int32_t id;
    bool submitted;
    bool request_ended;
};

static void h2_stream_free(struct h2_stream *s)
{
    *s->link = s->next;
    if (s->next != NULL) {
        s->next->link = s->link;
    }
    call_free(s->call);
    free(s);
}

static void h2_free(struct h2 *h)
{
    while (h->streams != NULL) {
        h2_stream_free(h->streams);
    }
    nghttp2_session_del(h->session);
    bufferevent_free(h->bev);
    free(h);
}

static nghttp2_nv h2_nv(char *name, char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)name,
                        .value = (uint8_t *)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

static size_t
h2_nv_append(nghttp2_nv *nv, size_t n, const struct call_fields *f)
{
    for (size_t i = 0; i < f->n; i++) {
        nv[n++] = h2_nv(f->at[i].name, f->at[i].value);
    }
    return n;
}

static ssize_t h2_read_body(nghttp2_session *session,
                            int32_t id,
                            uint8_t *buf,
                            size_t room,
                            uint32_t *flags,
                            nghttp2_data_source *source,
                            void *arg)
{
    (void)arg;
    struct h2_stream *s = source->ptr;
    struct call *c = s->call;
    if (evbuffer_get_length(c->out) == 0 && !c->ended && c->more != NULL) {
        c->more(c);
    }
    const int n = evbuffer_remove(c->out, buf, room);
    if (n > 0 && c->hold_credit) {
        (void)nghttp2_session_consume_stream(session, id, (size_t)n);
    }
    if (c->ended && evbuffer_get_length(c->out) == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (c->trailers.n > 0) {
            nghttp2_nv nv[CALL_FIELDS_MAX];
            const size_t n_nv = h2_nv_append(nv, 0, &c->trailers);
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            (void)nghttp2_submit_trailer(session, id, nv, n_nv);
        }
    } else if (n <= 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return n < 0 ? 0 : n;
}

static void h2_submit(struct h2_stream *s)
{
    struct call *c = s->call;
    char status[16];
    char length[32];
    char status_name[] = ":status";
    char length_name[] = "content-length";
    nghttp2_nv nv[2 * CALL_FIELDS_MAX + 2];
    size_t n = 0;
    const bool empty = c->ended && evbuffer_get_length(c->out) == 0;
    const bool head_only = strcmp(c->method, "HEAD") == 0;

    snprintf(status, sizeof status, "%d", c->status);
    nv[n++] = h2_nv(status_name, status);
    n = h2_nv_append(nv, n, &c->reply_fields);
    if (c->out_len >= 0 && c->status != 204 && c->status != 304) {
        snprintf(length, sizeof length, "%lld", (long long)c->out_len);
        nv[n++] = h2_nv(length_name, length);
    }
    if (empty) {
        n = h2_nv_append(nv, n, &c->trailers);
    }
    const nghttp2_data_provider body = {.source = {.ptr = s},
                                        .read_callback = h2_read_body};
    s->submitted = true;
    (void)nghttp2_submit_response(s->h2->session, s->id, nv, n,
                                  empty || head_only ? NULL : &body);
}

static void h2_wake(struct call *c)
{
    struct h2_stream *s = c->transport;
    if (c->status == 0) {
        return;
    }
    if (!s->submitted) {
        h2_submit(s);
    } else {
        (void)nghttp2_session_resume_data(s->h2->session, s->id);
    }
    if (!s->h2->in_run) {
        bufferevent_trigger(s->h2->bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
    }
}

static int h2_on_begin_headers(nghttp2_session *session,
                               const nghttp2_frame *frame,
                               void *arg)
{
    struct h2 *h = arg;
    if (frame->hd.type != NGHTTP2_HEADERS ||
        frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    struct h2_stream *s = call_alloc(sizeof *s);
    s->h2 = h;
    s->id = frame->hd.stream_id;
    s->call = call_new(h->server->base, h->server->name);
    s->call->protocol = "h2";
    s->call->transport = s;
    s->call->wake = h2_wake;
    s->next = h->streams;
    s->link = &h->streams;
    if (s->next != NULL) {
        s->next->link = &s->next;
    }
    h->streams = s;
    (void)nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

static int h2_on_header(nghttp2_session *session,
                        const nghttp2_frame *frame,
                        const uint8_t *name,
                        size_t name_len,
                        const uint8_t *value,
                        size_t value_len,
                        uint8_t flags,
                        void *arg)
{
    (void)flags;
    (void)arg;
    struct h2_stream *s =
        nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s == NULL) {
        return 0;
    }
    struct call *c = s->call;
    char **pseudo = NULL;
    if (name_len == 7 && memcmp(name, ":method", 7) == 0) {
        pseudo = &c->method;
    } else if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
        pseudo = &c->path;
    } else if (name_len == 10 && memcmp(name, ":authority", 10) == 0) {
        pseudo = &c->authority;
    } else if (name_len > 0 && name[0] == ':') {
        return 0;
    }
    if (pseudo != NULL) {
        free(*pseudo);
        *pseudo = call_strndup(value, value_len);
        return 0;
    }
    return call_fields_add(&c->fields, name, name_len, value, value_len)
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void h2_request_head(struct h2_stream *s)
{
    struct call *c = s->call;
    char **const must[] = {&c->method, &c->path, &c->authority};
    for (size_t i = 0; i < sizeof must / sizeof must[0]; i++) {
        if (*must[i] == NULL) {
            *must[i] = call_strndup("", 0);
        }
    }
    route_call(c);
}

static int h2_on_frame_recv(nghttp2_session *session,
                            const nghttp2_frame *frame,
                            void *arg)
{
    (void)arg;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }
    struct h2_stream *s =
        nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s == NULL) {
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS &&
        frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        h2_request_head(s);
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        s->request_ended = true;
        call_request_end(s->call);
    }
    return 0;
}

static int h2_on_data(nghttp2_session *session,
                      uint8_t flags,
                      int32_t id,
                      const uint8_t *bytes,
                      size_t len,
                      void *arg)
{
    (void)flags;
    (void)arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)nghttp2_session_consume_connection(session, len);
    if (s == NULL) {
        return 0;
    }
    if (!s->call->hold_credit || s->call->refused) {
        (void)nghttp2_session_consume_stream(session, id, len);
    }
    call_request_data(s->call, bytes, len);
    return 0;
}

/* An answer that did not wait for the request's end asks for no more of it. */
static int h2_on_frame_send(nghttp2_session *session,
                            const nghttp2_frame *frame,
                            void *arg)
{
    (void)arg;
    const bool ends =
        (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!ends) {
        return 0;
    }
    const struct h2_stream *s =
        nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s != NULL && !s->request_ended) {
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id,
                                        NGHTTP2_NO_ERROR);
    }
    return 0;
}

static int h2_on_stream_close(nghttp2_session *session,
                              int32_t id,
                              uint32_t error_code,
                              void *arg)
{
    (void)error_code;
    (void)arg;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s != NULL) {
        h2_stream_free(s);
    }
    return 0;
}

/* Feeds the session and takes its frames; false: the connection is over. */
static bool h2_run(struct h2 *h)
{
    struct evbuffer *in = bufferevent_get_input(h->bev);
    struct evbuffer *out = bufferevent_get_output(h->bev);
    struct evbuffer_iovec v;
    h->in_run = true;
    while (evbuffer_peek(in, -1, NULL, &v, 1) > 0 && v.iov_len > 0) {
        const ssize_t n =
            nghttp2_session_mem_recv(h->session, v.iov_base, v.iov_len);
        if (n < 0) {
            h->in_run = false;
            return false;
        }
        evbuffer_drain(in, (size_t)n);
    }
    while (evbuffer_get_length(out) < H2_OUTPUT_LOW) {
        const uint8_t *bytes;
        const ssize_t n = nghttp2_session_mem_send(h->session, &bytes);
        if (n <= 0) {
            break;
        }
        evbuffer_add(out, bytes, (size_t)n);
    }
    h->in_run = false;
    return nghttp2_session_want_read(h->session) != 0 ||
           nghttp2_session_want_write(h->session) != 0 ||
           evbuffer_get_length(out) > 0;
}

static void h2_io(struct bufferevent *bev, void *arg)
{
    (void)bev;
    struct h2 *h = arg;
    if (!h2_run(h)) {
        h2_free(h);
    }
}

static void h2_event(struct bufferevent *bev, short what, void *arg)
{
    struct h2 *h = arg;
    if ((what & BEV_EVENT_TIMEOUT) != 0 && h->streams != NULL) {
        bufferevent_enable(bev, EV_READ);
        return;
    }
    h2_free(h);
}

static nghttp2_session *h2_session(struct h2 *h)
{
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *option = NULL;
    nghttp2_session *session = NULL;
    if (nghttp2_session_callbacks_new(&cb) != 0 ||
        nghttp2_option_new(&option) != 0) {
        abort();
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        cb, h2_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, h2_on_frame_send);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb,
                                                           h2_on_stream_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    if (nghttp2_session_server_new2(&session, cb, h, option) != 0) {
        abort();
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return session;
}

void h2_start(const struct conn_server *server, struct bufferevent *bev)
{
    struct h2 *h = call_alloc(sizeof *h);
    h->server = server;
    h->bev = bev;
    h->session = h2_session(h);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
    };
    (void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                  sizeof settings / sizeof settings[0]);
    (void)nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE,
                                                0, H2_CONN_WINDOW);
    bufferevent_setcb(bev, h2_io, h2_io, h2_event, h);
    bufferevent_setwatermark(bev, EV_WRITE, H2_OUTPUT_LOW / 2, 0);
    h2_io(bev, h);
}
