/*
 * h1_input: what an HTTP/1.1 codec makes of the bytes that come: one small
 * step per state, and a table of them. A step takes bytes from the front and
 * says whether another step may follow at once; bytes that it leaves stay in
 * the conn. One loop's thread. See h1_codec.h.
 *
 * Invariants: a request is parsed only after the one before was closed by its
 * owner; no more than limits->buffer_bytes are with the owner without credit;
 * after any event, h->stream, h->state and the conn may have changed.
 */
#include "http/h1_codec.h"

#include "base/check.h"

/* ---- helpers ------------------------------------------------------------ */

static size_t h1_min(size_t a, uint64_t b)
{
    return a < b ? a : (size_t)b;
}

/* How much may be delivered while `held` bytes are about to be. */
static size_t h1_room(const struct h1 *h, size_t held)
{
    const struct stream *const s = h->stream;

    if (s == NULL) {
        return SIZE_MAX; // Drained bytes have a budget of their own.
    }
    const size_t max = stream_quota(s);
    const size_t with_owner = s->n_uncredited + held;
    return with_owner < max ? max - with_owner : 0;
}

static struct head *h1_head_new(const struct stream *s)
{
    struct head *const head = arena_take(s->arena, sizeof(*head));

    if (head != NULL) {
        head_init(head, s->arena);
    }
    return head;
}

/*
 * The message is complete; `n_behind` bytes stand behind it. A server leaves
 * them for later. A client never asked for them: such a connection is out of
 * step, and must not be reused (before any event can give it to somebody).
 */
static void h1_complete(struct h1 *h, size_t n_behind)
{
    h->state = H1_DONE;
    h->scan_from = 0;
    if (!h->codec.is_server && n_behind > 0) {
        h->keep = false;
    }
}

static void h1_drained(struct h1 *h, size_t len)
{
    struct conn *const c = h->codec.conn;

    if (len > h->drain_left) {
        h->state = H1_BROKEN;
        conn_close_answered(c);
        return;
    }
    h->drain_left -= (uint32_t)len;
    if (h->state == H1_DONE) {
        h1_next(h);
    }
}

/* Hands a piece of the body to the owner, or drops it when there is none. */
static void h1_emit(struct h1 *h, struct str piece, bool is_end)
{
    struct stream *const s = h->stream;

    if (s == NULL) {
        h1_drained(h, piece.len);
        return;
    }
    if (s->is_dead) {
        return;
    }
    s->n_uncredited += piece.len;
    s->is_in_done = is_end;
    s->ops->on_data(s, (const uint8_t *)piece.p, piece.len, is_end);
}

/* What comes is not HTTP. `f` is the fault of a request. */
static bool h1_break(struct h1 *h, enum fault f)
{
    struct conn *const c = h->codec.conn;
    struct stream *const s = h->stream;

    h->state = H1_BROKEN;
    h->keep = false;
    conn_pause(c);
    if (s == NULL) {
        conn_close_linger(c);
    } else if (h->codec.is_server) {
        s->can_answer = !s->is_out_begun;
        stream_fail(s, f);
    } else {
        stream_fail(s, FAULT_BAD_RESPONSE);
        conn_abort(c);
    }
    return false;
}

/* ---- heads of requests -------------------------------------------------- */

static struct stream *h1_announce(struct h1 *h)
{
    struct stream *const s = h1_stream_new(h);

    h->keep = true;
    h->version = 11;
    h->framing = H1_NO_BODY;
    h->n_interim = 0;
    h->scan_from = 0;
    h->deadline_ms = 0;
    h->is_head_begun = false;
    h->is_line_seen = false;
    h->is_line_skipped = false;
    h->is_continue_owed = false;
    h->codec.owner_ops->on_stream(&h->codec, s);
    CHECK(s->ops != NULL && s->arena != NULL);
    return s;
}

static void h1_fail_request(struct h1 *h, struct stream *s, enum fault f)
{
    h->state = H1_BROKEN;
    h->keep = false;
    conn_pause(h->codec.conn);
    s->can_answer = true;
    stream_fail(s, f);
}

void h1_refuse(struct h1 *h, enum fault f)
{
    h1_fail_request(h, h1_announce(h), f);
}

static void
h1_begin_request(struct h1 *h, struct stream *s, const struct head *head)
{
    s->method = head->method;
    h->version = head->version;
    h->keep = !head->want_close;
    h->is_continue_owed = head->has_expect;
    if (head->is_chunked) {
        h->state = H1_CHUNKED_BODY;
        h1_chunks_init(&h->chunks);
    } else if (head->content_length > 0) {
        h->state = H1_LENGTH_BODY;
        h->in_left = (uint64_t)head->content_length;
    } else {
        h1_complete(h, 0);
        s->is_in_done = true;
    }
}

static void h1_take_request(struct h1 *h, const uint8_t *p, size_t len)
{
    const struct str scheme =
        conn_is_tls(h->codec.conn) ? STR("https") : STR("http");
    struct stream *const s = h1_announce(h);
    struct head *const head = h1_head_new(s);

    const enum fault f =
        head == NULL ? FAULT_OVERLOAD
                     : h1_parse_request(head, p, len, scheme, h->codec.limits);
    if (f != FAULT_NONE) {
        s->method = head == NULL ? METHOD_OTHER : head->method;
        h1_fail_request(h, s, f);
        return;
    }
    h1_begin_request(h, s, head);
    s->ops->on_head(s, head, s->is_in_done);
}

/* A head that is not complete: is it still going to be one? */
static void h1_wait_request(struct h1 *h, const uint8_t *p, size_t len)
{
    const struct codec_limits *const limits = h->codec.limits;

    if (!h->is_line_seen || len > limits->target_bytes_max) {
        const enum fault f = h1_head_partial(p, len, true, limits);

        if (f != FAULT_NONE) {
            h1_refuse(h, f);
            return;
        }
        h->is_line_seen = memchr(p, '\n', len) != NULL;
    }
    if (h->codec.conn->is_eof_told) {
        conn_close_linger(h->codec.conn);
    } else if (!h->is_head_begun) {
        h->is_head_begun = true;
        h1_set_deadline(h, limits->head_timeout_ms);
    }
}

/* R-LIN-5: one empty line between requests; more is refused. */
static bool h1_skip_line(struct h1 *h, size_t len, size_t *used)
{
    if (h->is_line_skipped) {
        h1_refuse(h, FAULT_BAD_REQUEST);
        return false;
    }
    if (len < 2) {
        return false;
    }
    h->is_line_skipped = true;
    *used = 2;
    return true;
}

static bool
h1_step_request(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    struct conn *const c = h->codec.conn;

    if (len == 0) {
        return false;
    }
    if (conn_n_queued(c) > h->codec.limits->buffer_bytes) {
        // A client that asks and asks but does not read.
        conn_pause(c);
        conn_want_room(c);
        return false;
    }
    if (p[0] == '\r' && (len == 1 || p[1] == '\n')) {
        return h1_skip_line(h, len, used);
    }
    const size_t head_len = h1_head_len(p, len, &h->scan_from);
    if (head_len == 0) {
        h1_wait_request(h, p, len);
        return false;
    }
    *used = head_len;
    h1_take_request(h, p, head_len);
    return true;
}

/* ---- heads of responses ------------------------------------------------- */

static bool h1_response_has_body(const struct head *head, enum method m)
{
    return m != METHOD_HEAD && head->status != 204 && head->status != 205 &&
           head->status != 304;
}

static void h1_begin_tunnel(struct h1 *h, struct stream *s)
{
    h->state = H1_RAW;
    h->framing = H1_UNTIL_CLOSE;
    h->keep = false;
    s->is_tunnel = true;
    s->is_in_done = false;
    s->is_out_done = false;
}

/* Interim: 100 is for us, 101 only for those who asked, others are told. */
static bool h1_take_interim(struct h1 *h, struct stream *s, struct head *head)
{
    if (head->status == 101) {
        if (!h->is_upgrade_asked || !s->is_out_done) {
            return h1_break(h, FAULT_BAD_RESPONSE);
        }
        h1_begin_tunnel(h, s);
        s->ops->on_head(s, head, false);
        return true;
    }
    if (++h->n_interim > H1_INTERIM_MAX) {
        return h1_break(h, FAULT_BAD_RESPONSE);
    }
    if (head->status != 100) {
        s->ops->on_head(s, head, false);
    }
    return true;
}

static void h1_begin_response(struct h1 *h,
                              struct stream *s,
                              const struct head *head,
                              size_t n_behind)
{
    // A server that was asked to switch may still do so later (5.11).
    h->keep = h->keep && !head->want_close && head->version == 11 &&
              !h->is_upgrade_asked;
    if (!h1_response_has_body(head, s->method) || head->content_length == 0) {
        h1_complete(h, n_behind);
        s->is_in_done = true;
    } else if (head->is_chunked) {
        h->state = H1_CHUNKED_BODY;
        h1_chunks_init(&h->chunks);
    } else if (head->content_length > 0) {
        h->state = H1_LENGTH_BODY;
        h->in_left = (uint64_t)head->content_length;
    } else {
        h->state = H1_CLOSE_BODY;
        h->keep = false;
    }
}

static bool
h1_step_response(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    struct stream *const s = h->stream;

    if (len == 0) {
        return false;
    }
    if (h1_is_unsent(h)) {
        // Bytes before our request left cannot be its answer.
        h->state = H1_BROKEN;
        stream_fail(s, FAULT_REFUSED);
        conn_abort(h->codec.conn);
        return false;
    }
    const size_t head_len = h1_head_len(p, len, &h->scan_from);
    if (head_len == 0) {
        return h1_head_partial(p, len, false, h->codec.limits) == FAULT_NONE
                   ? false
                   : h1_break(h, FAULT_BAD_RESPONSE);
    }
    struct head *const head = h1_head_new(s);
    if (head == NULL || h1_parse_response(head, p, head_len, s->method,
                                          h->codec.limits) != FAULT_NONE) {
        return h1_break(h, FAULT_BAD_RESPONSE);
    }
    h->scan_from = 0;
    *used = head_len;
    if (head->status < 200) {
        return h1_take_interim(h, s, head);
    }
    h1_begin_response(h, s, head, len - head_len);
    s->ops->on_head(s, head, s->is_in_done);
    return true;
}

static bool
h1_step_head(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    return h->codec.is_server ? h1_step_request(h, p, len, used)
                              : h1_step_response(h, p, len, used);
}

/* ---- bodies ------------------------------------------------------------- */

static bool
h1_step_length(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    const size_t n = h1_min(h1_min(len, h->in_left), h1_room(h, 0));

    if (n == 0) {
        if (len > 0) {
            conn_pause(h->codec.conn);
        }
        return false;
    }
    *used = n;
    h->in_left -= n;
    const bool is_end = h->in_left == 0;
    if (is_end) {
        h1_complete(h, len - n);
    }
    h1_emit(h, str_make((const char *)p, n), is_end);
    return true;
}

/* Until FIN, and tunnels: all that comes, as credit allows. */
static bool
h1_step_raw(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    const size_t n = h1_min(len, h1_room(h, 0));

    if (n == 0) {
        if (len > 0) {
            conn_pause(h->codec.conn);
        }
        return false;
    }
    *used = n;
    h1_emit(h, str_make((const char *)p, n), false);
    return true;
}

/* Length of the trailer section; 0 when it is not complete. */
static size_t h1_trailer_len(struct h1 *h, const uint8_t *p, size_t len)
{
    if (len >= 2 && p[0] == '\r' && p[1] == '\n') {
        return 2;
    }
    if (len >= 1 && p[0] == '\n') {
        return 1; // The parser refuses it.
    }
    return h1_head_len(p, len, &h->scan_from);
}

static enum fault h1_parse_own_trailers(const struct h1 *h,
                                        struct head *t,
                                        const uint8_t *p,
                                        size_t len)
{
    struct codec_limits limits = *h->codec.limits;

    // R-HDR-5 speaks of requests.
    limits.is_underscore_allowed |= !h->codec.is_server;
    return h1_parse_trailers(t, p, len, &limits);
}

/* The end of a chunked message; `piece` is the last of its data. */
static void
h1_end_chunked(struct h1 *h, struct head *t, struct str piece, size_t n_behind)
{
    struct stream *const s = h->stream;

    h1_complete(h, n_behind);
    if (t == NULL || t->n_fields == 0) {
        h1_emit(h, piece, true);
        return;
    }
    if (piece.len > 0) {
        h1_emit(h, piece, false);
    }
    if (h->stream == s && !s->is_dead && h1_is_open(h)) {
        s->is_in_done = true;
        s->ops->on_trailers(s, t);
    }
}

/*
 * Trailers, with the last piece of data in hand, so that the owner hears of
 * the end together with it.
 */
static bool h1_take_trailers(struct h1 *h,
                             const uint8_t *p,
                             size_t len,
                             size_t *used,
                             struct str piece)
{
    const struct codec_limits *const limits = h->codec.limits;
    const size_t max =
        limits->trailer_bytes_max + 4 * (size_t)limits->n_trailers_max + 16;
    struct head *t = NULL;

    const size_t n = h1_trailer_len(h, p, len);
    if (n > max || (n == 0 && len > max)) {
        return h1_break(h, FAULT_HEAD_TOO_LARGE);
    }
    if (n == 0) {
        if (piece.len > 0) {
            h1_emit(h, piece, false);
        }
        return false;
    }
    *used = n;
    if (h->stream != NULL && n != 2) {
        t = h1_head_new(h->stream);
        const enum fault f =
            t == NULL ? FAULT_OVERLOAD : h1_parse_own_trailers(h, t, p, n);
        if (f != FAULT_NONE) {
            return h1_break(h, f);
        }
    }
    h1_end_chunked(h, t, piece, len - n);
    return true;
}

static bool
h1_step_trailers(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    return len > 0 && h1_take_trailers(h, p, len, used, STR_NONE);
}

/*
 * How many bytes the decoder may see so that it finds no more data than there
 * is room for. Lines are read also without room, one byte at a time: the end
 * of the message may be all that is left.
 */
static size_t h1_chunk_feed(const struct h1 *h, size_t len, size_t room)
{
    if (h->chunks.left > 0) {
        return h1_min(len, room);
    }
    return h1_min(len, room > 0 ? room : 1);
}

/*
 * One piece of data is held back while the bytes behind it are looked at: it
 * may be the last one. Nothing stays held when this returns.
 */
static bool
h1_step_chunked(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    struct str piece = STR_NONE;
    size_t at = 0;

    while (at < len && h->state == H1_CHUNKED_BODY && h1_is_open(h)) {
        const size_t n_feed = h1_chunk_feed(h, len - at, h1_room(h, piece.len));
        struct str next = STR_NONE;
        size_t n = 0;

        if (n_feed == 0) {
            break;
        }
        const enum h1_chunk_result got =
            h1_chunks_next(&h->chunks, p + at, n_feed, &n, &next);
        at += n;
        *used = at;
        if (got == H1_CHUNK_BAD) {
            return h1_break(h, FAULT_BAD_REQUEST);
        }
        if (got == H1_CHUNK_DATA) {
            if (piece.len > 0) {
                h1_emit(h, piece, false);
            }
            piece = next;
        } else if (got == H1_CHUNK_TRAILER) {
            h->state = H1_TRAILERS;
        }
    }
    if (h->state == H1_TRAILERS && h1_is_open(h)) {
        size_t n = 0;
        const bool more = h1_take_trailers(h, p + at, len - at, &n, piece);
        *used = at + n;
        return more;
    }
    if (piece.len > 0 && h1_is_open(h)) {
        h1_emit(h, piece, false);
        return true;
    }
    if (at < len) {
        conn_pause(h->codec.conn);
    }
    return false;
}

/* ---- between messages --------------------------------------------------- */

static bool
h1_step_idle(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    (void)p;
    if (len > 0) {
        // Nobody asked: what comes cannot be trusted to be in step.
        *used = len;
        conn_abort(h->codec.conn);
    }
    return false;
}

static bool
h1_step_done(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    (void)p;
    if (len == 0) {
        return false;
    }
    if (!h->codec.is_server) {
        h->keep = false;
        *used = len;
    }
    conn_pause(h->codec.conn);
    return false;
}

static bool
h1_step_broken(struct h1 *h, const uint8_t *p, size_t len, size_t *used)
{
    (void)p;
    (void)len;
    (void)used;
    conn_pause(h->codec.conn);
    return false;
}

typedef bool
h1_step_fn(struct h1 *h, const uint8_t *p, size_t len, size_t *used);

static h1_step_fn *const h1_steps[H1_N_STATES] = {
    [H1_IDLE] = h1_step_idle,
    [H1_HEAD] = h1_step_head,
    [H1_LENGTH_BODY] = h1_step_length,
    [H1_CHUNKED_BODY] = h1_step_chunked,
    [H1_TRAILERS] = h1_step_trailers,
    [H1_CLOSE_BODY] = h1_step_raw,
    [H1_RAW] = h1_step_raw,
    [H1_DONE] = h1_step_done,
    [H1_BROKEN] = h1_step_broken,
};

void h1_next(struct h1 *h)
{
    struct conn *const c = h->codec.conn;

    h->state = H1_HEAD;
    h->scan_from = 0;
    if (h->codec.is_draining || !h->keep ||
        (c->is_eof_told && !c->is_reading && c->kept_len == 0)) {
        conn_close_linger(c);
        return;
    }
    h1_set_deadline(h, h->codec.limits->idle_timeout_ms);
    if (c->is_paused) {
        conn_resume(c);
    }
}

/* ---- FIN ---------------------------------------------------------------- */

static void h1_server_eof(struct h1 *h)
{
    struct conn *const c = h->codec.conn;
    struct stream *const s = h->stream;

    if (h->state == H1_DONE || h->state == H1_BROKEN) {
        return; // Half-closed: the answer is still wanted.
    }
    h->keep = false;
    h->state = H1_BROKEN;
    if (s == NULL) {
        conn_close_linger(c);
    } else {
        stream_fail(s, FAULT_CLIENT_GONE);
    }
}

static void h1_client_eof(struct h1 *h)
{
    struct conn *const c = h->codec.conn;
    struct stream *const s = h->stream;

    h->keep = false;
    if (h->state == H1_DONE || h->state == H1_BROKEN) {
        return;
    }
    if (h->state == H1_CLOSE_BODY) {
        h1_complete(h, 0);
        h1_emit(h, STR_NONE, true);
        return;
    }
    const enum fault f = h1_fault_of_silence(h);
    h->state = H1_BROKEN;
    if (s != NULL) {
        stream_fail(s, f);
    }
    conn_close(c, CONN_CLOSED_BY_PEER);
}

void h1_on_eof(struct conn *c)
{
    struct h1 *const h = c->owner;

    h1_enter(h);
    if (h->state == H1_RAW) {
        h1_complete(h, 0);
        h1_emit(h, STR_NONE, true);
    } else if (h->codec.is_server) {
        h1_server_eof(h);
    } else {
        h1_client_eof(h);
    }
    h1_leave(h);
}

/* Must more bytes come? `n_left` of what came were not taken. */
static bool h1_is_midway(const struct h1 *h, size_t n_left)
{
    switch ((enum h1_state)h->state) {
    case H1_HEAD:
        return !h->codec.is_server || n_left > 0;
    case H1_LENGTH_BODY:
    case H1_CHUNKED_BODY:
    case H1_TRAILERS:
    case H1_CLOSE_BODY:
    case H1_RAW:
        return true;
    case H1_IDLE:
    case H1_DONE:
    case H1_BROKEN:
    case H1_N_STATES:
        break;
    }
    return false;
}

size_t h1_on_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    struct h1 *const h = c->owner;
    size_t at = 0;
    bool more = true;

    h1_enter(h);
    while (more && h1_is_open(h)) {
        size_t used = 0;

        more = h1_steps[h->state](h, p + at, len - at, &used);
        at += used;
        if (h->n_depth == 1) {
            h1_reap(h);
        }
    }
    if (h1_is_open(h) && c->is_eof_told && at == len &&
        (h->state == H1_HEAD || h->state == H1_RAW)) {
        h1_on_eof(c); // It was told while other bytes stood in front.
    }
    c->is_midway = h1_is_midway(h, len - at);
    h1_leave(h);
    return at;
}
