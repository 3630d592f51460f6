/*
 * h2_guard: what a peer may make us do for nothing. Control frames, resets and
 * oddities are paid from buckets that refill with time, and frames that answer
 * what we sent are free; a peer that is over its budget loses the connection
 * (ENHANCE_YOUR_CALM), early, because closing early is what keeps the others
 * unharmed. Belongs to one h2; one loop's thread.
 */
#include "http/h2.h"

#include "base/metric.h"

enum {
    GUARD_REFILL = 33,          /* a second, glitches and resets */
    GUARD_SETTINGS_MAX = 10,    /* in 10 s */
    GUARD_PRIORITIES_MAX = 100, /* in a minute */
    GUARD_UPDATES_PER_SENT = 10,
    GUARD_UPDATES_MAX = 1000,
    GUARD_PINGS_MAX = 8,
    GUARD_TYPE_PRIORITY_UPDATE = 0x10
};

static void h2_guard_bucket_init(struct h2_bucket *b,
                                 uint32_t max,
                                 uint32_t per_second,
                                 uint64_t now_ms)
{
    b->tokens_max = (uint64_t)max * 1000;
    b->tokens = b->tokens_max;
    b->per_second = per_second;
    b->filled_ms = now_ms;
}

static bool h2_guard_take(struct h2_bucket *b, uint64_t now_ms)
{
    if (now_ms > b->filled_ms) {
        const uint64_t room = b->tokens_max - b->tokens;
        const uint64_t passed_ms = now_ms - b->filled_ms;
        // Compared by division, so that a long pause cannot overflow.
        if (passed_ms >= room / b->per_second + 1) {
            b->tokens = b->tokens_max;
        } else {
            b->tokens += passed_ms * b->per_second;
        }
        b->filled_ms = now_ms;
    }
    if (b->tokens < 1000) {
        return false;
    }
    b->tokens -= 1000;
    return true;
}

void h2_guard_init(struct h2 *h2)
{
    struct h2_guard *const g = &h2->guard;
    const struct codec_limits *const limits = h2->codec.limits;
    const uint64_t now_ms = h2->codec.loop->now_ms;
    h2_guard_bucket_init(&g->glitches, limits->n_glitches_max, GUARD_REFILL,
                         now_ms);
    h2_guard_bucket_init(&g->resets, limits->n_resets_max, GUARD_REFILL,
                         now_ms);
    h2_guard_bucket_init(&g->settings, GUARD_SETTINGS_MAX, 1, now_ms);
    h2_guard_bucket_init(&g->priorities, GUARD_PRIORITIES_MAX, 2, now_ms);
    g->n_free_updates = 100;
    g->n_free_pings = GUARD_PINGS_MAX;
}

bool h2_guard_glitch(struct h2 *h2)
{
    struct codec *const k = &h2->codec;
    struct h2_bucket *const b = &h2->guard.glitches;
    k->n_glitches++;
    if (k->is_server && k->loop->metrics != NULL) {
        metric_add(k->loop->metrics, METRIC_GLITCHES_TOTAL, 1);
    }
    if (!h2_guard_take(b, k->loop->now_ms)) {
        return false;
    }
    if (b->tokens < b->tokens_max / 4 && !k->is_draining) {
        k->ops->drain(k);
    }
    return true;
}

bool h2_guard_reset(struct h2 *h2)
{
    // A backend that resets is judged by the balancer, not here.
    return !h2->codec.is_server ||
           h2_guard_take(&h2->guard.resets, h2->codec.loop->now_ms);
}

void h2_guard_on_sent(struct h2 *h2)
{
    struct h2_guard *const g = &h2->guard;
    if (g->n_free_updates < GUARD_UPDATES_MAX) {
        g->n_free_updates += GUARD_UPDATES_PER_SENT;
    }
    // Peers measure the round trip with a PING for what they receive.
    if (g->n_free_pings < GUARD_PINGS_MAX) {
        g->n_free_pings++;
    }
}

static bool h2_guard_free(struct h2 *h2, uint32_t *n_free)
{
    if (*n_free > 0) {
        (*n_free)--;
        return true;
    }
    return h2_guard_glitch(h2);
}

/* Small frames of ours that the peer pays with its own. */
static bool h2_guard_settings(struct h2 *h2, const nghttp2_frame_hd *hd)
{
    return (hd->flags & NGHTTP2_FLAG_ACK) != 0 ||
           h2_guard_take(&h2->guard.settings, h2->codec.loop->now_ms);
}

bool h2_guard_frame(struct h2 *h2, const nghttp2_frame_hd *hd)
{
    struct h2_guard *const g = &h2->guard;
    const bool is_end = (hd->flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (hd->type) {
    case NGHTTP2_DATA:
        return hd->length > 0 || is_end || h2_guard_glitch(h2);
    case NGHTTP2_SETTINGS:
        return h2_guard_settings(h2, hd);
    case NGHTTP2_PING:
        return (hd->flags & NGHTTP2_FLAG_ACK) != 0 ||
               h2_guard_free(h2, &g->n_free_pings);
    case NGHTTP2_WINDOW_UPDATE:
        return h2_guard_free(h2, &g->n_free_updates);
    case NGHTTP2_PRIORITY:
    case GUARD_TYPE_PRIORITY_UPDATE:
        return h2_guard_take(&g->priorities, h2->codec.loop->now_ms) ||
               h2_guard_glitch(h2);
    case NGHTTP2_HEADERS:
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_GOAWAY:
    case NGHTTP2_CONTINUATION:
        return true;
    default:
        return h2_guard_glitch(h2); // unknown, or not for us
    }
}
