/*
 * codec: what HTTP/1.1 and HTTP/2 have in common: setting up, the one way in
 * which a stream is told that it failed, letting go of streams, and the table
 * of limits. Codecs and streams belong to one loop. See codec.h.
 *
 * Invariants: a stream hears of at most one fault, and of nothing after it was
 * closed. A stream is one mem_new'd object that begins with `struct stream`;
 * its codec frees it, unless the codec has died before: then stream_close does.
 */
#include "http/codec.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdatomic.h>

enum {
    CODEC_QUOTA_MIN = 2 * 1024,
    CODEC_QUOTA_SHARE = 128, /* of what the client has taken so far */
};

enum { CODEC_LIMITS_N_MAX = 100000 };

/* Interned limits: a list that only grows, so readers need no guard. */
struct limits_node {
    struct limits_node *next;
    struct codec_limits limits;
};

static _Atomic(struct limits_node *) limits_nodes;
static atomic_uint limits_n;

struct codec_limits codec_limits_default(void)
{
    return (struct codec_limits){
        .head_bytes_max = 32 * 1024,
        .n_fields_max = 100,
        .field_bytes_max = 16 * 1024,
        .target_bytes_max = 8 * 1024,
        .trailer_bytes_max = 8 * 1024,
        .n_trailers_max = 32,
        .head_timeout_ms = 10 * 1000,
        .idle_timeout_ms = 60 * 1000,
        .write_timeout_ms = 30 * 1000,
        .buffer_bytes = 32 * 1024,
        .n_requests_max = 10 * 1000,
        .age_max_ms = 3600 * 1000,
        .n_streams_max = 100,
        .stream_window_bytes = 64 * 1024,
        .conn_window_bytes = 1024 * 1024,
        .conn_buffer_bytes = 256 * 1024,
        .n_glitches_max = 500,
        .n_resets_max = 200,
    };
}

/* Member by member: padding must not make equal limits differ. */
static bool codec_limits_are_equal(const struct codec_limits *a,
                                   const struct codec_limits *b)
{
    return a->head_bytes_max == b->head_bytes_max &&
           a->n_fields_max == b->n_fields_max &&
           a->field_bytes_max == b->field_bytes_max &&
           a->target_bytes_max == b->target_bytes_max &&
           a->trailer_bytes_max == b->trailer_bytes_max &&
           a->n_trailers_max == b->n_trailers_max &&
           a->head_timeout_ms == b->head_timeout_ms &&
           a->idle_timeout_ms == b->idle_timeout_ms &&
           a->write_timeout_ms == b->write_timeout_ms &&
           a->buffer_bytes == b->buffer_bytes &&
           a->n_requests_max == b->n_requests_max &&
           a->age_max_ms == b->age_max_ms &&
           a->n_streams_max == b->n_streams_max &&
           a->stream_window_bytes == b->stream_window_bytes &&
           a->conn_window_bytes == b->conn_window_bytes &&
           a->conn_buffer_bytes == b->conn_buffer_bytes &&
           a->n_glitches_max == b->n_glitches_max &&
           a->n_resets_max == b->n_resets_max &&
           a->is_underscore_allowed == b->is_underscore_allowed &&
           a->is_encoded_slash_allowed == b->is_encoded_slash_allowed &&
           a->has_prior_knowledge == b->has_prior_knowledge;
}

/*
 * Two threads that intern the same new limits at once may make two equal
 * objects: harmless, for nobody compares the addresses for inequality.
 */
const struct codec_limits *codec_limits_intern(const struct codec_limits *l)
{
    struct limits_node *first = atomic_load(&limits_nodes);

    for (struct limits_node *it = first; it != NULL; it = it->next) {
        if (codec_limits_are_equal(&it->limits, l)) {
            return &it->limits;
        }
    }
    CHECK(atomic_fetch_add(&limits_n, 1) < CODEC_LIMITS_N_MAX);
    struct limits_node *const node = mem_new(sizeof(*node));
    node->limits = *l;
    node->next = first;
    while (!atomic_compare_exchange_weak(&limits_nodes, &node->next, node)) {
    }
    return &node->limits;
}

void codec_init(struct codec *k,
                const struct codec_ops *ops,
                enum codec_kind kind,
                struct conn *c,
                bool is_server,
                const struct codec_limits *limits,
                const struct codec_owner_ops *owner_ops,
                void *owner)
{
    CHECK(limits->buffer_bytes > 0);
    *k = (struct codec){.ops = ops,
                        .kind = kind,
                        .conn = c,
                        .loop = c->loop,
                        .limits = limits,
                        .owner_ops = owner_ops,
                        .owner = owner,
                        .quota = UINT32_MAX,
                        .is_server = is_server,
                        .is_settled = kind == CODEC_H1};
    list_init(&k->streams);
}

/*
 * A connection with too much waiting takes little at a time, unless it has
 * shown that it takes a lot: with its windows shut from the start it holds next
 * to nothing, and a download of many files at once is not slowed down.
 */
void codec_count_out(struct codec *k, size_t more, size_t less)
{
    k->n_out_bytes += more;
    k->n_out_bytes -= less;
    if (k->n_out_bytes <= k->limits->conn_buffer_bytes) {
        k->quota = UINT32_MAX;
        return;
    }
    const uint64_t earned = k->conn->sent_bytes / CODEC_QUOTA_SHARE;
    k->quota = earned < CODEC_QUOTA_MIN ? CODEC_QUOTA_MIN
               : earned > UINT32_MAX    ? UINT32_MAX
                                        : (uint32_t)earned;
}

void stream_fail(struct stream *s, enum fault f)
{
    if (s->is_dead || s->is_closed) {
        return;
    }
    s->is_dead = true;
    s->ops->on_fault(s, f);
}

void stream_close(struct stream *s)
{
    CHECK(!s->is_closed);
    s->is_closed = true;
    if (s->codec == NULL) {
        // Its codec has died and left the memory to us.
        mem_free(s);
        return;
    }
    s->codec->ops->close(s);
}
