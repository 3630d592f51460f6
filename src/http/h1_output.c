/*
 * h1_output: heads and bytes that leave an HTTP/1.1 codec. Everything goes to
 * the conn's out queue at once and to the socket at the end of the turn. One
 * loop's thread. See h1_codec.h.
 * Invariant: exactly as many body bytes leave as the framing announced, or
 * the connection is aborted, so that no peer takes a part for the whole.
 */
#include "http/h1_codec.h"

#include "base/check.h"

#include <stdio.h>

static struct h1 *h1_of_stream(const struct stream *s)
{
    return h1_of(s->codec);
}

static bool h1_can_write(const struct h1 *h)
{
    const struct conn *const c = h->codec.conn;

    return h1_is_open(h) && !c->want_shutdown && !c->is_write_failed;
}

/* Something was appended to the out queue. */
static void h1_wrote(struct h1 *h)
{
    struct conn *const c = h->codec.conn;

    conn_flush_soon(c);
    h1_watch(h);
    if (conn_n_queued(c) >= h->codec.limits->buffer_bytes / 2) {
        conn_want_room(c);
    }
}

/* The message ends short of what was announced. */
static void h1_cut(struct h1 *h)
{
    h->keep = false;
    conn_abort(h->codec.conn);
}

/* ---- server ------------------------------------------------------------- */

/*
 * May the rest of the request be read and dropped cheaply (R-EXP-3)? Nobody
 * knows how much is left of a chunked one: to promise a connection that must
 * be closed after all would cost its client the next request.
 */
static bool h1_can_drain(const struct h1 *h)
{
    switch ((enum h1_state)h->state) {
    case H1_DONE:
        return true;
    case H1_LENGTH_BODY:
        return h->in_left <= H1_DRAIN_BYTES_MAX && !h->is_continue_owed;
    case H1_TRAILERS:
        return true;
    case H1_CHUNKED_BODY:
    case H1_IDLE:
    case H1_HEAD:
    case H1_CLOSE_BODY:
    case H1_RAW:
    case H1_BROKEN:
    case H1_N_STATES:
        break;
    }
    return false;
}

static bool h1_may_keep(const struct h1 *h)
{
    const struct codec *const k = &h->codec;

    return h->keep && !k->is_draining && h1_can_drain(h) &&
           k->n_requests < k->limits->n_requests_max &&
           k->loop->now_ms < h->retire_ms;
}

static void
h1_send_switch(struct h1 *h, struct stream *s, const struct head *head)
{
    struct conn *const c = h->codec.conn;

    h1_write_response(&c->out, head, s->method, h->version, false, false);
    h->state = H1_RAW;
    h->framing = H1_UNTIL_CLOSE;
    h->keep = false;
    s->is_tunnel = true;
    s->is_in_done = false;
    s->is_out_begun = true;
    // What the client sent behind its request is for the tunnel; and a FIN
    // that was told already is told again, at the end of the turn.
    conn_resume(c);
    loop_defer(c->loop, &h->turn_end);
    h1_wrote(h);
}

static void
h1_send_interim(struct h1 *h, struct stream *s, const struct head *head)
{
    if (head->status == 101) {
        h1_send_switch(h, s, head);
        return;
    }
    if (head->status == 100) {
        h->is_continue_owed = false;
    }
    if (h->version >= 11) {
        h1_write_response(&h->codec.conn->out, head, s->method, h->version,
                          false, false);
        h1_wrote(h);
    }
}

static void h1_send_response(struct h1 *h,
                             struct stream *s,
                             const struct head *head,
                             bool is_end)
{
    h->keep = h1_may_keep(h);
    s->is_out_begun = true;
    h->framing = (uint8_t)h1_write_response(
        &h->codec.conn->out, head, s->method, h->version, !h->keep, is_end);
    if (h->framing == H1_UNTIL_CLOSE) {
        h->keep = false;
    }
}

/* ---- client ------------------------------------------------------------- */

static void h1_send_request(struct h1 *h,
                            struct stream *s,
                            const struct head *head,
                            bool is_end)
{
    struct conn *const c = h->codec.conn;

    CHECK(!h->is_head_sent);
    h->is_head_sent = true;
    h->is_upgrade_asked = head->is_websocket;
    h->sent_mark = c->sent_bytes;
    s->method = head->method;
    s->is_out_begun = true;
    h->framing = (uint8_t)h1_write_request(&c->out, head, is_end);
}

/* ---- both --------------------------------------------------------------- */

void h1_send_head(struct stream *s, const struct head *head, bool is_end)
{
    struct h1 *const h = h1_of_stream(s);

    CHECK(!s->is_out_begun || s->is_tunnel);
    if (!h1_can_write(h) || s->is_tunnel) {
        s->is_out_begun =
            s->is_out_begun || head->status >= 200 || !h->codec.is_server;
        s->is_out_done = s->is_out_done || is_end;
        return;
    }
    if (h->codec.is_server && head->status < 200) {
        h1_send_interim(h, s, head);
        return;
    }
    if (h->codec.is_server) {
        h1_send_response(h, s, head, is_end);
    } else {
        h1_send_request(h, s, head, is_end);
    }
    h->out_left = h->framing == H1_LENGTH && head->content_length > 0
                      ? (uint64_t)head->content_length
                      : 0;
    h1_wrote(h);
    if (is_end) {
        s->is_out_done = true;
        if (h->out_left > 0) {
            h1_cut(h);
        }
    }
}

static void h1_write_chunk(struct conn *c, const uint8_t *p, size_t len)
{
    char line[20];
    const int n = snprintf(line, sizeof(line), "%zx\r\n", len);

    conn_write(c, line, (size_t)n);
    conn_write(c, p, len);
    conn_write(c, "\r\n", 2);
}

static void h1_write_body(struct h1 *h, const uint8_t *p, size_t len)
{
    struct conn *const c = h->codec.conn;

    switch ((enum h1_framing)h->framing) {
    case H1_NO_BODY:
        return; // HEAD and the like: dropped.
    case H1_LENGTH:
        CHECK(len <= h->out_left);
        h->out_left -= len;
        conn_write(c, p, len);
        return;
    case H1_CHUNKED:
        h1_write_chunk(c, p, len);
        return;
    case H1_UNTIL_CLOSE:
        conn_write(c, p, len);
        return;
    }
}

static void
h1_end_body(struct h1 *h, const struct stream *s, const struct head *trailers)
{
    struct conn *const c = h->codec.conn;

    if (s->is_tunnel) {
        conn_shutdown(c);
    } else if (h->framing == H1_LENGTH && h->out_left > 0) {
        h1_cut(h);
    } else if (h->framing == H1_CHUNKED && trailers != NULL) {
        h1_write_trailers(&c->out, trailers);
    } else if (h->framing == H1_CHUNKED) {
        conn_write(c, "0\r\n\r\n", 5);
    }
}

void h1_send_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    struct h1 *const h = h1_of_stream(s);

    CHECK(s->is_out_begun && !s->is_out_done);
    s->is_out_done = is_end;
    if (!h1_can_write(h)) {
        return;
    }
    if (len > 0) {
        h1_write_body(h, p, len);
    }
    if (is_end) {
        h1_end_body(h, s, NULL);
    }
    h1_wrote(h);
}

void h1_send_trailers(struct stream *s, const struct head *trailers)
{
    struct h1 *const h = h1_of_stream(s);

    CHECK(s->is_out_begun && !s->is_out_done);
    s->is_out_done = true;
    if (h1_can_write(h)) {
        h1_end_body(h, s, trailers);
        h1_wrote(h);
    }
}
