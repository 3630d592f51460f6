/*
 * h1_codec: HTTP/1.1 on a conn, as server and as client: life of the codec
 * and of its streams, timers, and the end of a message pair. What comes is in
 * h1_input.c, what leaves in h1_output.c. One loop's thread; the codec belongs
 * to its conn and dies with it. See h1_codec.h.
 *
 * Timers: the conn's one timer serves the deadline (head, idle, drain) and the
 * watch on the out queue. It is armed lazily: a deadline that moves away is
 * only stored, and looked at when the timer comes, so that a request on a busy
 * connection costs no timer operation.
 */
#include "http/h1_codec.h"

#include "base/check.h"
#include "base/mem.h"

enum {
    H1_STALL_LOOKS = 4, /* at the out queue, per write timeout */
    H1_AGE_JITTER = 10  /* percent of age_max_ms */
};

/* ---- streams ------------------------------------------------------------ */

void h1_reap(struct h1 *h)
{
    struct list *node;

    while ((node = list_first(&h->closed)) != NULL) {
        struct stream *const s = CONTAINER_OF(node, struct stream, node);

        list_remove(node);
        if (h->spare == NULL) {
            h->spare = s;
        } else {
            mem_free(s);
        }
    }
}

void h1_enter(struct h1 *h)
{
    h->n_depth++;
}

void h1_leave(struct h1 *h)
{
    CHECK(h->n_depth > 0);
    if (--h->n_depth == 0) {
        h1_reap(h);
    }
}

struct stream *h1_stream_new(struct h1 *h)
{
    struct codec *const k = &h->codec;
    struct stream *s = h->spare;

    CHECK(h->stream == NULL);
    if (s != NULL) {
        h->spare = NULL;
        *s = (struct stream){0};
    } else {
        s = mem_new(sizeof(*s));
    }
    s->codec = k;
    s->is_first = k->n_requests == 0;
    s->id = ++k->n_requests;
    list_push_back(&k->streams, &s->node);
    k->n_streams++;
    h->stream = s;
    return s;
}

/* The stream leaves the codec's list. */
static void h1_stream_unlink(struct h1 *h, struct stream *s)
{
    list_remove(&s->node);
    h->codec.n_streams--;
    h->stream = NULL;
}

/* ---- timers ------------------------------------------------------------- */

static void h1_on_timer(struct conn *c);

static void h1_arm(struct h1 *h, uint64_t due_ms)
{
    const uint64_t now_ms = h->codec.loop->now_ms;

    if (h->armed_ms != 0 && h->armed_ms <= due_ms) {
        return;
    }
    h->armed_ms = due_ms;
    conn_set_timer(h->codec.conn, due_ms > now_ms ? due_ms - now_ms : 0,
                   h1_on_timer);
}

void h1_set_deadline(struct h1 *h, uint64_t after_ms)
{
    h->deadline_ms = h->codec.loop->now_ms + after_ms;
    h1_arm(h, h->deadline_ms);
}

static uint64_t h1_next_look_ms(const struct h1 *h)
{
    return h->codec.loop->now_ms +
           h->codec.limits->write_timeout_ms / H1_STALL_LOOKS + 1;
}

void h1_watch(struct h1 *h)
{
    if (h->stall_since_ms == 0 && h1_is_open(h)) {
        h->stall_since_ms = h->codec.loop->now_ms;
        h->stall_mark = h->codec.conn->sent_bytes;
        h1_arm(h, h1_next_look_ms(h));
    }
}

static void h1_stalled(struct h1 *h)
{
    if (h->stream != NULL) {
        stream_fail(h->stream, h->codec.is_server ? FAULT_WRITE_STALLED
                                                  : FAULT_IDLE_TIMEOUT);
    }
    h->state = H1_BROKEN;
    conn_abort(h->codec.conn);
}

static void h1_look_at_queue(struct h1 *h)
{
    const struct conn *const c = h->codec.conn;
    const uint64_t now_ms = h->codec.loop->now_ms;

    if (h->stall_since_ms == 0) {
        return;
    }
    if (conn_n_queued(c) == 0) {
        h->stall_since_ms = 0;
        return;
    }
    if (c->sent_bytes != h->stall_mark) {
        h->stall_since_ms = now_ms;
        h->stall_mark = c->sent_bytes;
    } else if (now_ms - h->stall_since_ms >=
               h->codec.limits->write_timeout_ms) {
        h1_stalled(h);
        return;
    }
    h1_arm(h, h1_next_look_ms(h));
}

/* Only servers have one: for a head, between requests, while draining. */
static void h1_on_deadline(struct h1 *h)
{
    h->deadline_ms = 0;
    if (h->state == H1_HEAD && h->is_head_begun) {
        h1_refuse(h, FAULT_HEAD_TIMEOUT);
    } else if (h->stream == NULL) {
        h->state = H1_BROKEN;
        conn_close_answered(h->codec.conn);
    }
}

static void h1_on_timer(struct conn *c)
{
    struct h1 *const h = c->owner;

    h1_enter(h);
    h->armed_ms = 0;
    if (h->deadline_ms != 0 && h->deadline_ms <= h->codec.loop->now_ms) {
        h1_on_deadline(h);
    } else if (h->deadline_ms != 0) {
        h1_arm(h, h->deadline_ms);
    }
    if (h1_is_open(h)) {
        h1_look_at_queue(h);
    }
    h1_leave(h);
}

/* ---- calls of owners ---------------------------------------------------- */

/*
 * For a client, the connection is offered again only at the end of a turn in
 * which all that had come was read: then nothing unasked stands on it.
 */
static size_t h1_capacity(const struct codec *k)
{
    const struct h1 *const h = h1_of(k);
    const struct conn *const c = k->conn;

    return !k->is_server && h->state == H1_IDLE && h->is_checked &&
                   !k->is_draining && h1_is_open(h) && !c->is_eof &&
                   !c->is_write_failed &&
                   k->n_requests < k->limits->n_requests_max &&
                   k->loop->now_ms < h->retire_ms
               ? 1
               : 0;
}

static struct stream *h1_open(struct codec *k,
                              const struct stream_ops *ops,
                              void *owner,
                              struct arena *arena)
{
    struct h1 *const h = h1_of(k);

    CHECK(h1_capacity(k) == 1);
    struct stream *const s = h1_stream_new(h);
    s->ops = ops;
    s->owner = owner;
    s->arena = arena;
    h->state = H1_HEAD;
    h->scan_from = 0;
    h->n_interim = 0;
    h->keep = true;
    h->is_head_sent = false;
    h->is_upgrade_asked = false;
    return s;
}

static size_t h1_n_queued(const struct stream *s)
{
    const size_t n = conn_n_queued(s->codec->conn);

    // The conn tells of room at one level only; a smaller limit than that
    // must not make an owner wait for a call that has come already.
    if (n < CONN_ROOM_BYTES &&
        s->codec->limits->buffer_bytes < 2 * CONN_ROOM_BYTES) {
        return 0;
    }
    return n;
}

static void h1_credit(struct stream *s, size_t len)
{
    const struct h1 *const h = h1_of(s->codec);
    struct conn *const c = h->codec.conn;

    CHECK(len <= s->n_uncredited);
    s->n_uncredited -= len;
    if (c->is_paused && h->state != H1_DONE && h->state != H1_BROKEN) {
        conn_resume(c);
    }
}

static void h1_reset(struct stream *s, enum fault f)
{
    struct h1 *const h = h1_of(s->codec);

    (void)f;
    s->is_dead = true;
    h->state = H1_BROKEN;
    h->keep = false;
    conn_abort(h->codec.conn);
}

/* ---- the end of a message pair ------------------------------------------ */

/* The answer is complete, the request is not: R-EXP-3. */
static void h1_begin_drain(struct h1 *h)
{
    h->drain_left = H1_DRAIN_BYTES_MAX;
    h1_set_deadline(h, H1_DRAIN_MS);
    if (h->codec.conn->is_paused) {
        conn_resume(h->codec.conn);
    }
}

static void h1_end_server(struct h1 *h, const struct stream *s)
{
    struct conn *const c = h->codec.conn;

    if (s->is_tunnel && !(s->is_in_done && s->is_out_done)) {
        conn_abort(c);
    } else if (!s->is_out_done && s->is_out_begun) {
        conn_abort(c);
    } else if (h->state == H1_BROKEN) {
        conn_close_linger(c);
    } else if (!s->is_out_done || !h->keep) {
        h->state = H1_BROKEN;
        conn_close_answered(c);
    } else if (h->state == H1_DONE) {
        h1_next(h);
    } else {
        h1_begin_drain(h);
    }
}

static void h1_end_client(struct h1 *h, const struct stream *s)
{
    struct conn *const c = h->codec.conn;
    const bool is_complete = s->is_in_done && s->is_out_done;

    // While bytes are being offered, kept ones are counted by h1_complete.
    const bool is_clean = c->is_reading || c->kept_len == 0;

    if (is_complete && !s->is_tunnel && h->keep && !h->codec.is_draining &&
        !c->is_eof && is_clean) {
        h->state = H1_IDLE;
        h->is_checked = false;
        if (c->is_paused) {
            conn_resume(c);
        }
        loop_defer(c->loop, &h->turn_end);
        return;
    }
    h->state = H1_BROKEN;
    if (is_complete && s->is_tunnel) {
        conn_close_linger(c);
    } else if (s->is_in_done) {
        conn_close(c, CONN_CLOSED_BY_US);
    } else {
        conn_abort(c);
    }
}

static void h1_close(struct stream *s)
{
    struct h1 *const h = h1_of(s->codec);

    CHECK(h->stream == s);
    h1_enter(h);
    h1_stream_unlink(h, s);
    list_push_back(&h->closed, &s->node);
    if (h1_is_open(h)) {
        if (h->codec.is_server) {
            h1_end_server(h, s);
        } else {
            h1_end_client(h, s);
        }
    }
    h1_leave(h);
}

static void h1_drain(struct codec *k)
{
    struct h1 *const h = h1_of(k);

    k->is_draining = true;
    if (h->stream != NULL || !h1_is_open(h)) {
        return;
    }
    if (h->state == H1_IDLE) {
        conn_close(k->conn, CONN_CLOSED_BY_US);
    } else if (h->state != H1_HEAD || h->is_head_begun ||
               k->conn->kept_len > 0 || k->conn->is_reading) {
        return; // What runs is finished first.
    } else if (k->n_requests == 0) {
        // A new client: its first request may be on the way, and is answered.
        h1_set_deadline(h, H1_DRAIN_MS);
    } else {
        conn_close_linger(k->conn);
    }
}

/* ---- the conn ----------------------------------------------------------- */

static void h1_on_ready(struct conn *c)
{
    (void)c;
}

static void h1_on_room(struct conn *c)
{
    struct h1 *const h = c->owner;
    struct stream *const s = h->stream;

    h1_enter(h);
    if (s != NULL && s->want_room && (!s->is_dead || s->can_answer)) {
        s->want_room = false;
        s->ops->on_room(s);
    }
    if (h->state == H1_HEAD && c->is_paused && h1_is_open(h)) {
        conn_resume(c);
    }
    h1_leave(h);
}

/* The fault of a stream whose conn is gone; FAULT_NONE when it lost nothing. */
static enum fault
h1_fault_of_end(const struct h1 *h, const struct stream *s, enum conn_end end)
{
    const bool is_gentle =
        end == CONN_CLOSED_BY_US || end == CONN_CLOSED_BY_PEER;

    if (h->codec.is_server) {
        return s->is_in_done && s->is_out_done && is_gentle ? FAULT_NONE
                                                            : FAULT_CLIENT_GONE;
    }
    if (s->is_in_done) {
        return FAULT_NONE;
    }
    return h1_fault_of_silence(h);
}

static void h1_on_closed(struct conn *c, enum conn_end end)
{
    struct h1 *const h = c->owner;

    h1_enter(h);
    if (h->stream != NULL) {
        const enum fault f = h1_fault_of_end(h, h->stream, end);

        if (f != FAULT_NONE) {
            stream_fail(h->stream, f);
        }
    }
    if (h->stream != NULL) {
        // Its owner has not let go: it frees the stream by stream_close.
        h->stream->codec = NULL;
        h1_stream_unlink(h, h->stream);
    }
    h1_leave(h);
    loop_defer_cancel(&h->turn_end);
    h->codec.owner_ops->on_closed(&h->codec, end);
    mem_free(h->spare);
    mem_free(h);
}

static const struct conn_ops h1_conn_ops = {
    .on_ready = h1_on_ready,
    .on_bytes = h1_on_bytes,
    .on_eof = h1_on_eof,
    .on_room = h1_on_room,
    .on_closed = h1_on_closed,
};

/* A client that is idle again: has all that came been read, and was nothing
 * there? Then it may be offered. */
static void h1_offer(struct h1 *h)
{
    struct conn *const c = h->codec.conn;

    if (h->state != H1_IDLE || !h1_is_open(h)) {
        return;
    }
    if (loop_is_deferred(&c->turn_end)) {
        loop_defer(c->loop, &h->turn_end); // It reads first.
        return;
    }
    if (c->is_readable || c->is_eof || h->codec.is_draining) {
        conn_close(c, CONN_CLOSED_BY_US);
        return;
    }
    h->is_checked = true;
    if (h1_capacity(&h->codec) == 0) {
        conn_close(c, CONN_CLOSED_BY_US); // Too old, or enough requests.
        return;
    }
    h->codec.owner_ops->on_capacity(&h->codec);
}

static void h1_on_turn_end(struct deferred *d)
{
    struct h1 *const h = CONTAINER_OF(d, struct h1, turn_end);
    struct conn *const c = h->codec.conn;

    h1_enter(h);
    if (!h->codec.is_server) {
        h1_offer(h);
    } else if (h->state == H1_RAW && c->is_eof_told && c->kept_len == 0 &&
               h1_is_open(h)) {
        h1_on_eof(c);
    }
    h1_leave(h);
}

static const struct codec_ops h1_ops = {
    .open = h1_open,
    .send_head = h1_send_head,
    .send_data = h1_send_data,
    .send_trailers = h1_send_trailers,
    .n_queued = h1_n_queued,
    .credit = h1_credit,
    .reset = h1_reset,
    .close = h1_close,
    .capacity = h1_capacity,
    .drain = h1_drain,
};

/* age_max_ms less up to a tenth, so that connections made at once do not end
 * at once. */
static uint64_t h1_retire_ms(struct conn *c, uint64_t age_max_ms)
{
    const uint64_t jitter_ms = age_max_ms * H1_AGE_JITTER / 100;

    return c->opened_ms + age_max_ms - loop_random(c->loop) % (jitter_ms + 1);
}

struct codec *h1_new(struct conn *c,
                     bool is_server,
                     const struct codec_limits *limits,
                     const struct codec_owner_ops *owner_ops,
                     void *owner)
{
    struct h1 *const h = mem_new(sizeof(*h));

    CHECK(c->is_ready);
    codec_init(&h->codec, &h1_ops, CODEC_H1, c, is_server, limits, owner_ops,
               owner);
    list_init(&h->closed);
    h->turn_end.fn = h1_on_turn_end;
    h->state = is_server ? H1_HEAD : H1_IDLE;
    h->keep = true;
    h->retire_ms = h1_retire_ms(c, limits->age_max_ms);
    conn_set_owner(c, &h1_conn_ops, h);
    conn_resume(c);
    if (is_server) {
        // Also for the first byte: who sends nothing goes as quickly.
        h1_set_deadline(h, limits->head_timeout_ms);
    } else {
        h->is_checked = true;
        loop_defer(c->loop, &h->turn_end);
    }
    return &h->codec;
}
