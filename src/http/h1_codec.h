/*
 * h1_codec: what the files of the HTTP/1.1 codec share: h1_codec.c (life,
 * timers, streams), h1_input.c (bytes that come), h1_output.c (heads and bytes
 * that leave). Private to them; the rest of the tree sees codec.h. One loop's
 * thread; the codec owns its conn.
 *
 * One message pair runs at a time. What is known of the message being read
 * lives here, not in the stream, because the rest of a request is read and
 * dropped after its stream was closed (R-EXP-3).
 * Invariant: h->stream is the stream that was opened and not yet closed by its
 * owner; a closed one is freed when no event is on the stack (h1_leave).
 */
#ifndef DAEMUN_HTTP_H1_CODEC_H
#define DAEMUN_HTTP_H1_CODEC_H

#include "base/list.h"
#include "base/loop.h"
#include "http/codec.h"
#include "http/h1.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    H1_DRAIN_BYTES_MAX = 64 * 1024, /* of a request nobody wants any more */
    H1_DRAIN_MS = 2000,
    H1_INTERIM_MAX = 8 /* 1xx heads before the final one */
};

/* What is being read. */
enum h1_state {
    H1_IDLE, /* client: no request is running */
    H1_HEAD, /* a head is next */
    H1_LENGTH_BODY,
    H1_CHUNKED_BODY,
    H1_TRAILERS,
    H1_CLOSE_BODY, /* client: until FIN */
    H1_RAW,        /* tunnel */
    H1_DONE,       /* message complete; what follows waits */
    H1_BROKEN,     /* nothing is read any more */
    H1_N_STATES
};

struct h1 {
    struct codec codec; /* must be first */
    struct stream *stream;
    struct stream *spare;
    struct list closed; /* streams that owners let go, not yet freed */
    struct deferred turn_end;
    uint64_t deadline_ms;    /* of a head, of idling, of draining; 0: none */
    uint64_t stall_since_ms; /* out queue was last seen to move; 0: empty */
    uint64_t stall_mark;     /* sent_bytes at that time */
    uint64_t armed_ms;       /* when the timer fires at the latest; 0: not */
    uint64_t retire_ms;      /* no request is served after it */
    uint64_t sent_mark;      /* client: sent_bytes when the head was queued */
    uint64_t in_left;        /* H1_LENGTH_BODY */
    uint64_t out_left;       /* H1_LENGTH */
    size_t scan_from;        /* of h1_head_len */
    struct h1_chunks chunks;
    uint32_t drain_left;
    uint32_t n_depth; /* events on the stack */
    uint8_t state;    /* enum h1_state */
    uint8_t framing;  /* enum h1_framing of the message that leaves */
    uint8_t version;  /* server: of the client */
    uint8_t n_interim;
    bool keep;             /* the connection may serve another message */
    bool is_head_begun;    /* server: its first byte came */
    bool is_line_seen;     /* server: the request line was judged */
    bool is_line_skipped;  /* R-LIN-5 */
    bool is_head_sent;     /* client: send_head was called */
    bool is_continue_owed; /* server: Expect, no 100 sent yet */
    bool is_upgrade_asked; /* client */
    bool is_checked;       /* client: no unread bytes stand on it */
};

static inline struct h1 *h1_of(const struct codec *k)
{
    return (struct h1 *)(uintptr_t)k;
}

/* False once the conn is closed or is to close: nothing is read or written. */
static inline bool h1_is_open(const struct h1 *h)
{
    return !conn_is_closed(h->codec.conn) && !h->codec.conn->want_close;
}

/* Client: no byte of the running request has left, so that the peer cannot have
 * acted upon it. */
static inline bool h1_is_unsent(const struct h1 *h)
{
    return !h->is_head_sent || h->codec.conn->sent_bytes == h->sent_mark;
}

/* Client: the peer says no more, and its message is not complete. */
static inline enum fault h1_fault_of_silence(const struct h1 *h)
{
    if (h->state != H1_HEAD || h->codec.conn->kept_len > 0) {
        return FAULT_TRUNCATED;
    }
    return h1_is_unsent(h) ? FAULT_REFUSED : FAULT_RESET_BY_UPSTREAM;
}

/* h1_codec.c */

/* Brackets whatever may call an owner. */
void h1_enter(struct h1 *h);
void h1_leave(struct h1 *h);
/* Frees what owners let go; only where no event is on the stack. */
void h1_reap(struct h1 *h);
struct stream *h1_stream_new(struct h1 *h);
/* The one deadline of the codec; 0: none. */
void h1_set_deadline(struct h1 *h, uint64_t after_ms);
/* Bytes were queued: sees to it that they move. */
void h1_watch(struct h1 *h);

/* h1_input.c */

size_t h1_on_bytes(struct conn *c, const uint8_t *p, size_t len);
void h1_on_eof(struct conn *c);
/* Server: a request that cannot be served becomes a stream with a fault. */
void h1_refuse(struct h1 *h, enum fault f);
/* Server: ready for the next request. */
void h1_next(struct h1 *h);

/* h1_output.c */

void h1_send_head(struct stream *s, const struct head *head, bool is_end);
void h1_send_data(struct stream *s, const uint8_t *p, size_t len, bool is_end);
void h1_send_trailers(struct stream *s, const struct head *trailers);

#endif
