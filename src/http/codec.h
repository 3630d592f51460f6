/*
 * codec: the seam between HTTP/1.1 or HTTP/2 on a conn and whatever owns the
 * messages (exchange, probe, admin, Kubernetes client). One implementation
 * serves both sides: `is_server` says who asks.
 *
 * A codec sits on a conn (it is its owner) and belongs to its loop. A stream is
 * one request and its response. Life of a stream: made by codec_open (client)
 * or announced by on_stream (server); the owner ends it by stream_close, once,
 * always; after that no event comes. When the conn dies first, the stream gets
 * on_fault and stays, dead, until its owner closes it.
 *
 * Flow of bytes: on_data brings bytes that the owner must account for: each is
 * given back by stream_credit when it has left on the other side. A codec
 * delivers no more than limits->buffer_bytes without credit (h1: then the conn
 * is paused; h2: the window stays shut). stream_send_data always accepts;
 * the owner looks at stream_n_queued and stops giving credit to the other side
 * while more than limits->buffer_bytes wait; it asks for on_room.
 * Nothing is held back: what was sent in a turn leaves at the end of that turn.
 *
 * Reentrancy: a codec may be inside its parser when it makes an event; the
 * owner may make any call from there. Codecs free nothing inside an event.
 */
#ifndef DAEMUN_HTTP_CODEC_H
#define DAEMUN_HTTP_CODEC_H

#include "base/list.h"
#include "http/head.h"
#include "http/limits.h"
#include "http/stream.h"
#include "net/conn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a codec tells whoever made it. */
struct codec_owner_ops {
    /*
     * Server: a request begins. The owner sets s->ops, s->owner and s->arena
     * here and must not do anything else with s.
     */
    void (*on_stream)(struct codec *k, struct stream *s);
    /* Client: it is new, a stream ended, SETTINGS came. Ask codec_capacity. */
    void (*on_capacity)(struct codec *k);
    /* The conn is gone, and the codec's memory goes after this call. Streams
     * had their on_fault before. */
    void (*on_closed)(struct codec *k, enum conn_end end);
};

enum codec_kind { CODEC_H1, CODEC_H2 };

struct codec_ops {
    struct stream *(*open)(struct codec *k,
                           const struct stream_ops *ops,
                           void *owner,
                           struct arena *arena);
    void (*send_head)(struct stream *s, const struct head *h, bool is_end);
    void (*send_data)(struct stream *s,
                      const uint8_t *p,
                      size_t len,
                      bool is_end);
    void (*send_trailers)(struct stream *s, const struct head *trailers);
    size_t (*n_queued)(const struct stream *s);
    void (*credit)(struct stream *s, size_t len);
    void (*reset)(struct stream *s, enum fault f);
    void (*close)(struct stream *s);
    size_t (*capacity)(const struct codec *k);
    void (*drain)(struct codec *k);
};

struct codec {
    const struct codec_ops *ops;
    enum codec_kind kind;
    struct conn *conn;
    struct loop *loop;
    const struct codec_limits *limits;
    const struct codec_owner_ops *owner_ops;
    void *owner;
    struct list streams;
    uint32_t n_streams;  /* open now, also those not closed by the owner */
    uint32_t n_requests; /* ever, on this connection */
    uint32_t n_glitches;
    /* Bytes that wait to leave, all streams together; above
     * limits->conn_buffer_bytes the quota is small. */
    size_t n_out_bytes;
    uint32_t quota; /* most that a stream takes at a time; see stream_follow */
    bool is_server;
    bool is_draining; /* no new streams; ends when the last has ended */
    bool is_settled;  /* the peer's limits are known (h2: SETTINGS came) */
};

/* Makers. They take the conn over, which must be ready, and begin to read. */
struct codec *h1_new(struct conn *c,
                     bool is_server,
                     const struct codec_limits *limits,
                     const struct codec_owner_ops *owner_ops,
                     void *owner);
struct codec *h2_new(struct conn *c,
                     bool is_server,
                     const struct codec_limits *limits,
                     const struct codec_owner_ops *owner_ops,
                     void *owner);

/* Client: opens a stream; CHECKs capacity. Then stream_send_head. */
static inline struct stream *codec_open(struct codec *k,
                                        const struct stream_ops *ops,
                                        void *owner,
                                        struct arena *arena)
{
    return k->ops->open(k, ops, owner, arena);
}
/* Client: how many streams may be opened now (h1: 0 or 1). */
static inline size_t codec_capacity(const struct codec *k)
{
    return k->ops->capacity(k);
}
/* Ends gently: h1 says Connection: close with the running response, or closes
 * at once; h2 sends GOAWAY and closes after the last. */
static inline void codec_drain(struct codec *k)
{
    k->ops->drain(k);
}

/*
 * Sends a head. Server: 1xx (interim; 101 turns the stream into a tunnel) or
 * the final one. The codec writes Host, Connection, Content-Length and
 * Transfer-Encoding (h1) or pseudo-headers (h2) from the typed members; h2 and
 * h1 never see fields of hop-by-hop kind. is_end: no body follows; for HEAD
 * and 304 content_length is still announced.
 */
static inline void
stream_send_head(struct stream *s, const struct head *h, bool is_end)
{
    if (s->codec != NULL) {
        s->codec->ops->send_head(s, h, is_end);
    }
}
/* Copies what cannot leave at once. CHECKs that the body is not ended. More
 * bytes than content_length announced is a CHECK failure of the caller. */
static inline void
stream_send_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    if (s->codec != NULL) {
        s->codec->ops->send_data(s, p, len, is_end);
    }
}
/* Ends the message with trailers (dropped where the peer cannot take them:
 * h1 without chunked coding). */
static inline void stream_send_trailers(struct stream *s,
                                        const struct head *trailers)
{
    if (s->codec != NULL) {
        s->codec->ops->send_trailers(s, trailers);
    }
}
/* Bytes accepted from the owner that have not been given to the socket. */
static inline size_t stream_n_queued(const struct stream *s)
{
    return s->codec != NULL ? s->codec->ops->n_queued(s) : 0;
}
/* Whether the owner should give no more before on_room: the stream has enough,
 * or the connection has too much and the stream something. */
static inline bool stream_is_full(const struct stream *s)
{
    const size_t n = stream_n_queued(s);
    return s->codec != NULL &&
           (n > s->codec->limits->buffer_bytes || n > s->codec->quota);
}
/*
 * What comes on `s` goes out on `to`: from now on `s` delivers no more at a
 * time than a stream of that connection takes. `to` NULL: no longer. The codec
 * of `to` must live until then.
 */
static inline void stream_follow(struct stream *s, const struct stream *to)
{
    s->quota = to != NULL && to->codec != NULL ? &to->codec->quota : NULL;
    if (s->codec != NULL && s->codec->kind == CODEC_H1) {
        s->codec->conn->read_quota = s->quota;
    }
}
/* Most that may be with the owner of `s`, in bytes. */
static inline size_t stream_quota(const struct stream *s)
{
    const size_t usual = s->codec->limits->buffer_bytes;
    return s->quota != NULL && *s->quota < usual ? *s->quota : usual;
}
static inline void stream_want_room(struct stream *s)
{
    s->want_room = true;
}
/* `len` bytes of on_data have left: more may come. */
static inline void stream_credit(struct stream *s, size_t len)
{
    if (s->codec != NULL && len > 0) {
        s->codec->ops->credit(s, len);
    }
}
/*
 * Gives up both directions at once: h2 RST_STREAM with the code that fits `f`
 * (CANCEL, INTERNAL_ERROR, REFUSED_STREAM...), h1 aborts the connection so that
 * the peer cannot take the message for complete. stream_close still follows.
 */
static inline void stream_reset(struct stream *s, enum fault f)
{
    if (s->codec != NULL) {
        s->codec->ops->reset(s, f);
    }
}
/*
 * The owner lets go; s must not be used afterwards. If both directions are not
 * complete this is a reset too, except that a server stream whose response is
 * complete only drops the rest of the request (R-EXP-3: drains up to 64 KiB or
 * 2 s, else closes; h2: RST_STREAM NO_ERROR).
 */
void stream_close(struct stream *s);

/* For codecs. Common parts of init, death of all streams, and freeing. */
void codec_init(struct codec *k,
                const struct codec_ops *ops,
                enum codec_kind kind,
                struct conn *c,
                bool is_server,
                const struct codec_limits *limits,
                const struct codec_owner_ops *owner_ops,
                void *owner);
/* n_out_bytes has changed. */
void codec_count_out(struct codec *k, size_t more, size_t less);
/* Tells the stream once; marks it dead. */
void stream_fail(struct stream *s, enum fault f);

#endif
