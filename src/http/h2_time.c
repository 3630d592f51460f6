/*
 * h2_time: what an h2 does because time has passed: heads and prefaces that do
 * not come, idle and old connections, bytes that nobody takes, peers that are
 * silent, and the second half of a drain. One timer of the conn serves all; it
 * is set at the end of each turn, to the earliest of them. One loop's thread.
 */
#include "http/h2.h"

enum { H2_CHECK_MS_MIN = 50, H2_CHECK_MS_MAX = 5000 };

static void h2_time_check_idle(struct h2 *h2, uint64_t now_ms)
{
    struct codec *const k = &h2->codec;
    const struct codec_limits *const limits = k->limits;
    if (!h2->codec.is_settled && limits->head_timeout_ms > 0 &&
        now_ms - h2->begun_ms >= limits->head_timeout_ms) {
        h2_end(h2, NGHTTP2_SETTINGS_TIMEOUT, FAULT_HEAD_TIMEOUT);
    }
    if (h2->head_since_ms != 0 && limits->head_timeout_ms > 0 &&
        now_ms - h2->head_since_ms >= limits->head_timeout_ms) {
        h2_end(h2, NGHTTP2_ENHANCE_YOUR_CALM, FAULT_HEAD_TIMEOUT);
    }
    if (k->is_server && k->n_streams == 0 && limits->idle_timeout_ms > 0 &&
        now_ms - h2->idle_since_ms >= limits->idle_timeout_ms) {
        h2_end(h2, NGHTTP2_NO_ERROR, FAULT_NONE);
    }
    if (h2->age_at_ms != 0 && now_ms >= h2->age_at_ms) {
        h2->age_at_ms = 0;
        k->ops->drain(k);
    }
}

/* Body bytes that the peer's windows have held back for too long. */
static void h2_time_check_streams(struct h2 *h2, uint64_t now_ms)
{
    const uint32_t timeout_ms = h2->codec.limits->write_timeout_ms;
    struct list *it = NULL;
    struct list *tmp = NULL;
    list_for_each (it, tmp, &h2->codec.streams) {
        struct h2_stream *const st =
            h2_stream_of(CONTAINER_OF(it, struct stream, node));
        if (buf_len(&st->out) == 0 || now_ms - st->out_ms < timeout_ms) {
            continue;
        }
        const enum fault f =
            st->is_server ? FAULT_WRITE_STALLED : FAULT_IDLE_TIMEOUT;
        st->s.can_answer = false;
        h2_stream_fail(h2, st, f);
        h2_stream_reset(h2, st, NGHTTP2_CANCEL);
    }
}

static void h2_time_check_writes(struct h2 *h2, uint64_t now_ms)
{
    struct conn *const c = h2->codec.conn;
    const uint32_t timeout_ms = h2->codec.limits->write_timeout_ms;
    if (conn_n_queued(c) == 0 || c->sent_bytes != h2->write_mark_bytes) {
        h2->write_mark_bytes = c->sent_bytes;
        h2->write_mark_ms = now_ms;
    }
    if (timeout_ms == 0) {
        return;
    }
    if (now_ms - h2->write_mark_ms >= timeout_ms) {
        conn_close(c, CONN_TIMED_OUT);
        return;
    }
    if (conn_n_queued(c) == 0) {
        h2_time_check_streams(h2, now_ms);
    }
}

/* Client: is the peer still there while it answers nothing? */
static void h2_time_check_ping(struct h2 *h2, uint64_t now_ms)
{
    const struct codec *const k = &h2->codec;
    if (k->is_server || h2_is_over(h2)) {
        return;
    }
    if (h2->ping_sent_ms != 0) {
        if (now_ms - h2->ping_sent_ms < H2_PING_ANSWER_MS) {
            return;
        }
        if (h2->read_ms < h2->ping_sent_ms) {
            conn_close(k->conn, CONN_TIMED_OUT);
            return;
        }
        h2->ping_sent_ms = 0; // bytes came, so it lives
    }
    if (k->n_streams == 0 || now_ms - h2->read_ms < H2_PING_AFTER_MS) {
        return;
    }
    // Only one PING in a long silence: gRPC servers count them.
    if (h2->read_ms == h2->ping_answered_ms &&
        now_ms - h2->ping_answered_ms < H2_PING_AGAIN_MS) {
        return;
    }
    (void)nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
    h2->ping_sent_ms = now_ms;
    h2_wake(h2);
}

void h2_time_drain(struct h2 *h2, uint64_t now_ms)
{
    if (h2->drain_final_ms == 0 || now_ms < h2->drain_final_ms ||
        h2_is_over(h2)) {
        return;
    }
    h2->drain_final_ms = 0;
    h2->is_final_sent = true;
    (void)nghttp2_submit_goaway(
        h2->session, NGHTTP2_FLAG_NONE,
        nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
        NULL, 0);
    h2_wake(h2);
}

/* How often to look for stalls while something is under way. */
static uint64_t h2_time_check_after_ms(const struct h2 *h2)
{
    const uint64_t after_ms = h2->codec.limits->write_timeout_ms / 4;
    if (after_ms < H2_CHECK_MS_MIN) {
        return H2_CHECK_MS_MIN;
    }
    return after_ms < H2_CHECK_MS_MAX ? after_ms : H2_CHECK_MS_MAX;
}

static void h2_time_earliest(uint64_t *at_ms, uint64_t candidate_ms)
{
    if (candidate_ms < *at_ms) {
        *at_ms = candidate_ms;
    }
}

static uint64_t h2_time_next_ms(struct h2 *h2, uint64_t now_ms)
{
    const struct codec *const k = &h2->codec;
    const struct codec_limits *const limits = k->limits;
    uint64_t at_ms = UINT64_MAX;
    if (!h2->codec.is_settled && limits->head_timeout_ms > 0) {
        h2_time_earliest(&at_ms, h2->begun_ms + limits->head_timeout_ms);
    }
    if (h2->head_since_ms != 0 && limits->head_timeout_ms > 0) {
        h2_time_earliest(&at_ms, h2->head_since_ms + limits->head_timeout_ms);
    }
    if (k->is_server && k->n_streams == 0 && limits->idle_timeout_ms > 0) {
        h2_time_earliest(&at_ms, h2->idle_since_ms + limits->idle_timeout_ms);
    }
    if (h2->age_at_ms != 0) {
        h2_time_earliest(&at_ms, h2->age_at_ms);
    }
    if (h2->drain_final_ms != 0) {
        h2_time_earliest(&at_ms, h2->drain_final_ms);
    }
    if (k->n_streams > 0 || conn_n_queued(k->conn) > 0) {
        if (h2->check_ms <= now_ms) {
            h2->check_ms = now_ms + h2_time_check_after_ms(h2);
        }
        h2_time_earliest(&at_ms, h2->check_ms);
    }
    return at_ms;
}

void h2_time_check(struct h2 *h2)
{
    const uint64_t now_ms = h2->codec.loop->now_ms;
    if (!h2_is_over(h2)) {
        h2_time_check_idle(h2, now_ms);
        h2_time_drain(h2, now_ms);
        h2_time_check_writes(h2, now_ms);
        h2_time_check_ping(h2, now_ms);
    }
    h2_wake(h2); // the turn's end arms the timer anew
}

static void h2_time_on_timer(struct conn *c)
{
    h2_time_check(c->owner);
}

void h2_time_arm(struct h2 *h2)
{
    const uint64_t now_ms = h2->codec.loop->now_ms;
    const uint64_t at_ms = h2_time_next_ms(h2, now_ms);
    if (h2->is_closing || at_ms == UINT64_MAX) {
        return; // a lingering conn has its own timer
    }
    conn_set_timer(h2->codec.conn, at_ms > now_ms ? at_ms - now_ms : 1,
                   h2_time_on_timer);
}
