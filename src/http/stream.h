/*
 * stream: one request and its response on a codec, as its owner sees it: the
 * state that both share, and the events. What an owner can do with one, and
 * its life, stands in codec.h. On the thread of the codec's loop.
 * Invariant: once on_fault was called or is_closed is set, no event comes.
 */
#ifndef DAEMUN_HTTP_STREAM_H
#define DAEMUN_HTTP_STREAM_H

#include "base/fault.h"
#include "base/list.h"
#include "http/head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct codec;
struct stream;

/* Events of a stream to its owner. All are required. */
struct stream_ops {
    /*
     * Server: the request. Client: a response, also 1xx (then more heads
     * follow and is_end is false). `h` lies in s->arena and stays.
     */
    void (*on_head)(struct stream *s, struct head *h, bool is_end);
    /* Body bytes, valid during the call. len may be 0 when is_end. */
    void (*on_data)(struct stream *s,
                    const uint8_t *p,
                    size_t len,
                    bool is_end);
    /* The message ends with trailers (checked and filtered by 5.7). */
    void (*on_trailers)(struct stream *s, struct head *trailers);
    /*
     * The message cannot be completed. Nothing further comes. When
     * s->can_answer (server only) a response may still be sent; the codec
     * closes the connection (h1) or stream (h2) after it.
     */
    void (*on_fault)(struct stream *s, enum fault f);
    /* stream_n_queued fell below half of limits->buffer_bytes; only after
     * stream_want_room. */
    void (*on_room)(struct stream *s);
};

/* Embedded at the front of the codec's own stream. Members marked (o) belong
 * to the owner, the rest to the codec. */
struct stream {
    struct codec *codec;          /* NULL once the conn has died */
    const struct stream_ops *ops; /* (o) */
    void *owner;                  /* (o) */
    struct arena *arena;          /* (o) heads are parsed into it; outlives s */
    struct list node;             /* in codec->streams */
    uint32_t id;        /* h2 stream id; h1: number on the connection */
    enum method method; /* of the request (HEAD decides framing) */
    bool is_in_done;    /* the message to the owner is complete */
    bool is_out_done;   /* the message from the owner is complete */
    bool is_out_begun;  /* a final head was sent */
    bool can_answer;    /* after on_fault: a response may be sent */
    bool is_dead;       /* on_fault was called */
    bool is_closed;     /* the owner has let go */
    bool want_room;
    bool is_tunnel;        /* after 101: raw bytes both ways */
    bool is_first;         /* client: first request on this connection, so a
                              failure is not a stale keep-alive connection */
    size_t n_uncredited;   /* delivered, credit not yet returned */
    const uint32_t *quota; /* (o) see stream_follow; NULL: buffer_bytes */
};

#endif
