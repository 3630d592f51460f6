/*
 * forward: bytes between the two streams of an exchange. What one side
 * delivers is given to the other at once; credit goes back when no more than
 * the limit waits there, so a slow reader on one side slows the sender on the
 * other, and memory stays bounded. Nothing is held back for batching. Until
 * the response begins, a small request body is kept for a retry. Worker
 * thread; part of the exchange.
 */
#include "base/check.h"
#include "base/metric.h"
#include "http/grpc.h"
#include "http/hop.h"
#include "http/websocket.h"
#include "proxy/exchange.h"
#include "proxy/filter.h"

#include <stdio.h>

enum { FORWARD_INTERIM_MAX = 8 };

static void forward_moved(struct exchange *x)
{
    x->active_ms = x->w->loop->now_ms;
}

/* Returns credit to `from` when `to` has room, else asks to be told. */
static void
forward_credit(struct forward *f, struct stream *from, struct stream *to)
{
    if (f->n_uncredited == 0 || from == NULL) {
        return;
    }
    if (stream_is_full(to)) {
        stream_want_room(to);
        return;
    }
    const size_t len = f->n_uncredited;
    f->n_uncredited = 0;
    stream_credit(from, len);
}

/* The response is out: nothing more can go wrong for the client. */
static void forward_finish_if_done(struct exchange *x)
{
    if (x->is_tunnel ? x->upload.is_done && x->download.is_done
                     : x->download.is_done) {
        exchange_finish(x);
    }
}

static uint32_t forward_replay_max(const struct exchange *x)
{
    return x->client->limits->buffer_bytes;
}

/* Keeps body bytes while a retry may need them. */
static void forward_keep(struct exchange *x, const uint8_t *p, size_t len)
{
    if (!x->is_replayable && x->us != NULL) {
        return;
    }
    if (x->us != NULL && buf_len(&x->replay) + len > forward_replay_max(x)) {
        x->is_replayable = false;
        buf_drop(&x->replay, buf_len(&x->replay));
        return;
    }
    buf_append(&x->replay, p, len);
}

/* R-LEN-8, for HTTP/2, where a body is seen only when it comes. */
static bool forward_is_unwanted(const struct exchange *x)
{
    return !x->is_tunnel &&
           !(x->route != NULL && x->route->is_get_body_allowed) &&
           (x->h->method == METHOD_GET || x->h->method == METHOD_HEAD);
}

static bool forward_is_too_large(struct exchange *x)
{
    const uint64_t max = x->route != NULL ? x->route->max_body_bytes : 0;
    return max > 0 && !x->is_tunnel && x->upload.n_bytes > max;
}

/* From now on the upstream owes a response head. */
static void forward_upload_done(struct exchange *x)
{
    const uint32_t timeout_ms = x->route->response_timeout_ms != 0
                                    ? x->route->response_timeout_ms
                                    : x->up->response_timeout_ms;
    if (!x->is_tunnel && !x->is_head_sent) {
        x->response_ms = x->w->loop->now_ms + timeout_ms;
        exchange_arm(x);
    }
}

static void forward_start(struct exchange *x);

void forward_pass_upload(struct exchange *x,
                         const uint8_t *p,
                         size_t len,
                         bool is_end)
{
    x->upload.is_done = is_end;
    if (len > 0 && !x->is_tunnel) {
        forward_keep(x, p, len);
    }
    if (x->us == NULL || !x->is_head_up_sent) {
        forward_start(x); /* sends what was kept */
        return;
    }
    if (!x->us->is_out_done && (len > 0 || is_end)) {
        stream_send_data(x->us, p, len, is_end);
    }
    forward_credit(&x->upload, x->cs, x->us);
    if (is_end) {
        forward_upload_done(x);
        if (x->is_tunnel) {
            forward_finish_if_done(x);
        }
    }
}

void forward_client_data(struct exchange *x,
                         const uint8_t *p,
                         size_t len,
                         bool is_end)
{
    forward_moved(x);
    x->upload.n_bytes += len;
    x->upload.n_uncredited += len;
    if (len > 0 && forward_is_unwanted(x)) {
        exchange_fail(x, FAULT_BODY_UNWANTED, STR_NONE);
    } else if (forward_is_too_large(x)) {
        exchange_fail(x, FAULT_BODY_TOO_LARGE, STR_NONE);
    } else if (x->filters != NULL) {
        filter_upload(x, p, len, is_end);
    } else {
        forward_pass_upload(x, p, len, is_end);
    }
}

static bool forward_wants_trailers(const struct exchange *x)
{
    return x->h->is_grpc || x->h->has_te_trailers;
}

void forward_pass_upload_trailers(struct exchange *x, struct head *trailers)
{
    x->upload.is_done = true;
    x->trailers = trailers;
    if (x->us == NULL || !x->is_head_up_sent) {
        forward_start(x);
        return;
    }
    if (forward_wants_trailers(x)) {
        stream_send_trailers(x->us, trailers);
    } else {
        stream_send_data(x->us, NULL, 0, true);
    }
    forward_upload_done(x);
}

void forward_client_trailers(struct exchange *x, struct head *trailers)
{
    forward_moved(x);
    if (x->filters != NULL) {
        filter_upload_trailers(x, trailers);
    } else {
        forward_pass_upload_trailers(x, trailers);
    }
}

/*
 * The host of a request that names none (HTTP/1.0): HTTP/2 has no place for an
 * empty one (RFC 9113 8.3.1).
 */
static struct str forward_default_authority(const struct endpoint *ep)
{
    return ep->addr.sa.sa_family == AF_UNIX ? STR("localhost") : ep->id;
}

/* The head that goes out: path and host as the route says, deadline anew. */
static bool forward_make_head(struct exchange *x, struct head *out)
{
    *out = *x->h;
    out->path = route_rewrite_path(x->route, &x->arena, x->h->path);
    if (x->up->host.p != NULL) {
        out->authority = x->up->host;
    } else if (out->authority.len == 0) {
        out->authority = forward_default_authority(x->ep);
    }
    out->scheme = x->ep->tls != NULL ? STR("https") : STR("http");
    out->has_expect = false;
    if (x->deadline_ms != 0) {
        char text[16];
        const uint64_t now_ms = x->w->loop->now_ms;
        const uint64_t left_ms =
            x->deadline_ms > now_ms ? x->deadline_ms - now_ms : 1;
        const struct str value =
            arena_copy(&x->arena, grpc_timeout_print(left_ms * 1000, text));
        if (value.p == NULL ||
            !head_set(out, name_text(NAME_GRPC_TIMEOUT), value)) {
            return false;
        }
    }
    return out->path.p != NULL;
}

/* The kept part of the body, and its end if that came already. */
static void forward_send_kept(struct exchange *x)
{
    struct buf again; /* the same bytes, for a retry */
    const bool has_trailers = x->trailers != NULL;
    buf_init(&again, &x->w->loop->bufs);
    x->is_replayable =
        x->is_replayable && buf_len(&x->replay) <= forward_replay_max(x);
    while (buf_len(&x->replay) > 0) {
        const struct str piece = buf_peek(&x->replay);
        const bool is_last = piece.len == buf_len(&x->replay);
        if (x->is_replayable) {
            buf_append_str(&again, piece);
        }
        stream_send_data(x->us, (const uint8_t *)piece.p, piece.len,
                         is_last && x->upload.is_done && !has_trailers);
        buf_drop(&x->replay, piece.len);
    }
    buf_move(&x->replay, &again);
    if (has_trailers) {
        forward_pass_upload_trailers(x, x->trailers);
    } else if (x->upload.is_done && !x->us->is_out_done) {
        stream_send_data(x->us, NULL, 0, true);
    }
    forward_credit(&x->upload, x->cs, x->us);
}

/*
 * Sends the request as far as it came, once there is an upstream. A body of
 * length 0 is announced by its head: that must not go before the end came, or
 * an HTTP/1.1 backend takes a request for whole which is malformed (R-H2-6).
 */
static void forward_start(struct exchange *x)
{
    struct head out;
    if (x->us == NULL || (x->h->content_length == 0 && !x->upload.is_done)) {
        return;
    }
    if (!forward_make_head(x, &out)) {
        exchange_fail(x, FAULT_HEAD_TOO_LARGE, STR_NONE);
        return;
    }
    const bool has_body =
        !x->upload.is_done || buf_len(&x->replay) > 0 || x->trailers != NULL;
    x->is_head_up_sent = true;
    forward_moved(x);
    stream_send_head(x->us, &out, !has_body);
    if (has_body) {
        forward_send_kept(x);
    }
    if (x->upload.is_done) {
        forward_upload_done(x);
    }
}

void forward_begin(struct exchange *x, struct codec *k)
{
    x->us = codec_open(k, &forward_upstream_ops, x, &x->arena);
    stream_follow(x->us, x->cs);
    x->answer_status = 0;
    forward_start(x);
}

/* Set-Cookie for a minted key, or for the endpoint that was chosen. */
static bool forward_add_cookie(struct exchange *x,
                               struct head *h,
                               const struct cookie_rule *rule,
                               struct str value)
{
    char age[40] = "";
    if (rule->ttl_seconds != 0) {
        snprintf(age, sizeof(age), "; Max-Age=%u", rule->ttl_seconds);
    }
    const bool is_tls = conn_is_tls(x->client->conn);
    const struct str text = arena_print(
        &x->arena, "%.*s=%.*s; Path=%.*s%s; HttpOnly; SameSite=Lax%s",
        STR_ARG(rule->name), STR_ARG(value), STR_ARG(rule->path), age,
        is_tls ? "; Secure" : "");
    return text.p != NULL &&
           head_add(h, NAME_SET_COOKIE, name_text(NAME_SET_COOKIE), text);
}

static bool forward_add_cookies(struct exchange *x, struct head *h)
{
    char sticky[17];
    if (x->minted_cookie.p != NULL &&
        !forward_add_cookie(x, h, &x->up->mint, x->minted_cookie)) {
        return false;
    }
    if (!x->want_sticky) {
        return true;
    }
    const size_t index = (size_t)(x->ep - x->up->endpoints);
    return forward_add_cookie(x, h, &x->up->sticky,
                              upstream_sticky_value(x->up, index, sticky));
}

/*
 * What a final response must have and the upstream did not send: Date (RFC 9110
 * 6.6.1), and the id under which we log the request, so that the client can
 * tell it. An id is not worth a place in HPACK's table: it comes once.
 */
static bool forward_stamp(struct exchange *x, struct head *h)
{
    if (head_find(h, NAME_DATE) == NULL &&
        !head_add(h, NAME_DATE, name_text(NAME_DATE), worker_date(x->w))) {
        return false;
    }
    if (head_find(h, NAME_X_REQUEST_ID) != NULL) {
        return true;
    }
    if (!head_add(h, NAME_X_REQUEST_ID, name_text(NAME_X_REQUEST_ID),
                  x->request_id)) {
        return false;
    }
    h->fields[h->n_fields - 1].is_sensitive = true;
    return true;
}

static bool forward_may_relay_interim(const struct exchange *x, int status)
{
    return status != 100 && status != 101 && x->h->version >= 11;
}

/* What we change in a response; false: the exchange has failed. The route's
 * own edits come last: they may take away what we added. */
static bool forward_edit_response(struct exchange *x, struct head *h)
{
    hop_response(h);
    if ((h->status >= 200 && !forward_stamp(x, h)) ||
        !route_edit(&x->route->response_edits, h) ||
        !forward_add_cookies(x, h)) {
        exchange_fail(x, FAULT_BAD_RESPONSE, STR("head too large"));
        return false;
    }
    return true;
}

/* 101: both streams are tunnels from here on. */
static void forward_begin_tunnel(struct exchange *x, struct head *h)
{
    if (!x->h->is_websocket || !websocket_response_is_valid(x->h, h)) {
        exchange_fail(x, FAULT_BAD_RESPONSE,
                      STR("101 without a valid upgrade"));
        return;
    }
    if (!forward_edit_response(x, h)) {
        return;
    }
    x->is_tunnel = true;
    x->answer_status = 101;
    x->upload.is_done = false;
    x->response = h;
    x->status = 101;
    x->is_head_sent = true;
    x->response_us = x->w->loop->now_us;
    x->idle_timeout_ms = x->snap->tunnel_idle_timeout_ms;
    x->response_ms = 0;
    metric_add(x->w->loop->metrics, METRIC_TUNNELS, 1);
    stream_send_head(x->cs, h, false);
    exchange_arm(x);
}

void forward_pass_response(struct exchange *x, struct head *h)
{
    x->is_replayable = false;
    buf_drop(&x->replay, buf_len(&x->replay));
    x->response = h;
    x->status = h->status;
    x->grpc_status = x->h->is_grpc ? grpc_status_find(h) : -1;
    x->is_head_sent = true;
    x->response_us = x->w->loop->now_us;
    x->response_ms = 0;
    stream_send_head(x->cs, h, x->download.is_done);
    forward_finish_if_done(x);
}

static void
forward_send_response(struct exchange *x, struct head *h, bool is_end)
{
    x->answer_status = h->status;
    if (!forward_edit_response(x, h)) {
        return;
    }
    x->download.is_done = is_end;
    if (filter_response(x, h)) {
        forward_pass_response(x, h);
    }
}

static void forward_on_head(struct stream *s, struct head *h, bool is_end)
{
    struct exchange *x = s->owner;
    forward_moved(x);
    if (h->status == 101) {
        forward_begin_tunnel(x, h);
        return;
    }
    if (h->status < 200) {
        if (forward_may_relay_interim(x, h->status)) {
            hop_response(h);
            stream_send_head(x->cs, h, false);
        }
        return;
    }
    if (is_end && retry_answer(x, h)) {
        return;
    }
    forward_send_response(x, h, is_end);
}

void forward_pass_download(struct exchange *x,
                           const uint8_t *p,
                           size_t len,
                           bool is_end)
{
    x->download.is_done = is_end;
    if (len > 0 || is_end) {
        stream_send_data(x->cs, p, len, is_end);
    }
    forward_credit(&x->download, x->us, x->cs);
    if (is_end) {
        forward_finish_if_done(x);
    }
}

static void
forward_on_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    struct exchange *x = s->owner;
    forward_moved(x);
    x->download.n_bytes += len;
    x->download.n_uncredited += len;
    if (x->filters != NULL) {
        filter_download(x, p, len, is_end);
    } else {
        forward_pass_download(x, p, len, is_end);
    }
}

void forward_pass_download_trailers(struct exchange *x, struct head *trailers)
{
    x->download.is_done = true;
    hop_response(trailers);
    if (x->h->is_grpc) {
        x->grpc_status = grpc_status_find(trailers);
    }
    if (forward_wants_trailers(x)) {
        stream_send_trailers(x->cs, trailers);
    } else {
        stream_send_data(x->cs, NULL, 0, true);
    }
    forward_finish_if_done(x);
}

static void forward_on_trailers(struct stream *s, struct head *trailers)
{
    struct exchange *x = s->owner;
    forward_moved(x);
    if (x->filters != NULL) {
        filter_download_trailers(x, trailers);
    } else {
        forward_pass_download_trailers(x, trailers);
    }
}

static void forward_on_fault(struct stream *s, enum fault f)
{
    struct exchange *x = s->owner;
    exchange_fail(x, f, STR_NONE);
}

static void forward_on_room(struct stream *s)
{
    struct exchange *x = s->owner;
    forward_moved(x);
    forward_credit(&x->upload, x->cs, x->us);
}

const struct stream_ops forward_upstream_ops = {
    .on_head = forward_on_head,
    .on_data = forward_on_data,
    .on_trailers = forward_on_trailers,
    .on_fault = forward_on_fault,
    .on_room = forward_on_room,
};

void forward_client_room(struct exchange *x)
{
    forward_moved(x);
    if (x->us != NULL) {
        forward_credit(&x->download, x->us, x->cs);
    }
}

void forward_cut(struct exchange *x, enum fault f)
{
    const struct fault_row *row = fault_row(f);
    const bool is_grpc_h2 =
        x->h != NULL && x->h->is_grpc && x->h->version == 20 && !x->is_tunnel;
    if (x->cs == NULL || x->cs->is_out_done) {
        return;
    }
    if (!is_grpc_h2 || x->cs->is_dead) {
        stream_reset(x->cs, f);
        return;
    }
    struct head t;
    head_init(&t, &x->arena);
    x->grpc_status = row->grpc_status;
    const struct str code = arena_print(&x->arena, "%d", row->grpc_status);
    const struct str text = grpc_message_encode(&x->arena, row->text);
    if (code.p == NULL || text.p == NULL ||
        !head_add(&t, NAME_GRPC_STATUS, name_text(NAME_GRPC_STATUS), code) ||
        !head_add(&t, NAME_GRPC_MESSAGE, name_text(NAME_GRPC_MESSAGE), text)) {
        stream_reset(x->cs, f);
        return;
    }
    stream_send_trailers(x->cs, &t);
}
