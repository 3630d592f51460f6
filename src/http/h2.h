/*
 * h2: what the files of the HTTP/2 codec share: h2.c (the codec on its conn),
 * h2_stream.c (one stream), h2_input.c (callbacks of the receiver), h2_head.c
 * (heads as they come), h2_output.c (heads and bytes that leave), h2_guard.c
 * (limits on what a peer may make us do), h2_time.c (what is due). Private to
 * them: everybody else sees http/codec.h. One loop's thread.
 *
 * nghttp2 does framing, HPACK, flow control and the message rules of RFC 9113;
 * it does no I/O. Its receiver runs in on_bytes, its sender in the turn's end
 * and never inside a callback. Owners hear of new requests after the receiver
 * has returned, so that a request that was reset in the same read goes nowhere.
 * Invariant: a stream is freed only by h2_stream_handle or when the conn ends,
 * never while nghttp2 or an owner is on the stack.
 */
#ifndef DAEMUN_HTTP_H2_H
#define DAEMUN_HTTP_H2_H

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "http/codec.h"
#include "http/head.h"

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    H2_OUT_BYTES_MAX = 64 * 1024, /* no more is put on the conn */
    H2_MOVE_BYTES_MIN = 4 * 1024, /* whole blocks move from here up */
    H2_FRAMES_QUEUED_MAX = 1000,  /* frames that wait to leave */
    H2_ACKS_QUEUED_MAX = 100,     /* PING and SETTINGS ACK among them */
    H2_CONTINUATIONS_MAX = 8,     /* of one header block */
    H2_SETTINGS_ENTRIES_MAX = 32, /* of one SETTINGS frame */
    H2_INTERIM_MAX = 8,           /* 1xx heads before the final one */
    H2_KILL_FACTOR = 4,           /* a block this far over ends the conn */
    H2_STREAMS_UNTOLD = 1, /* before SETTINGS came: more may be refused */
    H2_DRAIN_MS = 1000,    /* longest wait between the two GOAWAY */
    H2_LATE_FRAMES = 1000, /* may come behind an RST_STREAM of ours */
    H2_LATE_FRAMES_MAX = 10 * 1000,
    H2_PING_AFTER_MS = 30 * 1000,  /* client: silence with streams open */
    H2_PING_ANSWER_MS = 15 * 1000, /* then the answer must come */
    H2_PING_AGAIN_MS = 330 * 1000, /* gRPC servers punish more than that */
};

/* Tokens in thousandths; taken by oddities, refilled by time. */
struct h2_bucket {
    uint64_t tokens;
    uint64_t tokens_max;
    uint64_t filled_ms;
    uint32_t per_second;
};

struct h2_guard {
    struct h2_bucket glitches;
    struct h2_bucket resets;
    struct h2_bucket settings;
    struct h2_bucket priorities;
    uint32_t n_free_updates; /* WINDOW_UPDATE frames that cost nothing */
    uint32_t n_free_pings;
};

struct h2 {
    struct codec codec; /* first */
    nghttp2_session *session;
    struct deferred turn_end;
    struct list news; /* streams with something for their owners */
    struct h2_guard guard;
    enum fault end_fault; /* why is_ending; FAULT_NONE: gently */
    uint64_t begun_ms;
    uint64_t idle_since_ms;  /* no stream is open since then */
    uint64_t head_since_ms;  /* a header block is incomplete; 0: none */
    uint64_t read_ms;        /* bytes came last */
    uint64_t age_at_ms;      /* drains then; 0: never */
    uint64_t drain_final_ms; /* the last GOAWAY is due; 0: not */
    uint64_t check_ms;       /* next look for stalls; 0: none due */
    uint64_t write_mark_bytes;
    uint64_t write_mark_ms;
    uint64_t ping_sent_ms; /* keep-alive PING in flight; 0: none */
    uint64_t ping_answered_ms;
    uint64_t frame_left; /* bytes up to the next frame header */
    uint32_t last_id;    /* highest id of HEADERS that came */
    uint32_t n_late;     /* frames on closed streams still tolerated */
    /* Of the next frame, as far as it came; of PRIORITY also whom it names. */
    uint8_t frame_head[13];
    uint8_t frame_head_len;
    uint8_t n_head_early; /* its bytes of earlier reads, not with nghttp2 yet */
    bool is_ending;       /* GOAWAY is queued or sent, input ignored */
    bool is_failed;       /* is_ending, and all streams were told */
    bool is_closing;      /* conn_close* was called */
    bool is_final_sent;   /* the GOAWAY that ends a drain */
    bool is_blocked;      /* DATA waits for room on the conn */
    bool is_eof;          /* the peer has said FIN */
    bool want_capacity;   /* on_capacity is owed */
};

/* What h2_head.c knows of a block while it comes. */
struct h2_intake {
    struct str authority; /* raw, in the arena */
    struct str host;
    struct str scheme;
    struct str path;
    uint32_t n_bytes;
    uint32_t n_fields;
    uint32_t n_cookies;
    enum fault fault; /* the first; nothing is stored after it */
    bool is_trailers;
    bool has_content_type; /* lines that may come once, R-HDR-7 */
    bool has_authorization;
    bool has_expect;
    bool has_proxy_authorization;
};

struct h2_stream {
    struct stream s; /* first */
    struct list news_node;
    struct head *head;     /* comes, or waits to be told */
    struct head *trailers; /* come, or wait to be told */
    struct h2_intake intake;
    struct buf in;            /* received, not yet delivered */
    struct buf out;           /* from the owner, not yet on the conn */
    nghttp2_nv *out_trailers; /* one block with its text; NULL: none */
    size_t n_out_trailers;
    int64_t in_left;     /* of content_length, not told; -1: not announced */
    int64_t out_left;    /* of content_length; -1: not announced */
    size_t n_unconsumed; /* counted against the windows */
    uint64_t out_ms;     /* bytes of `out` moved last */
    enum fault fault;    /* to be told */
    uint8_t n_interim;
    bool is_server;
    bool is_head_done; /* a complete final head came */
    bool is_head_told;
    bool is_in_ended;   /* END_STREAM came and was lawful */
    bool is_delivering; /* inside on_data with bytes of `in` */
    bool is_submitted;  /* nghttp2 has our head */
    bool is_sent;       /* our head is on the conn */
    bool is_out_sent;   /* our END_STREAM is on the conn */
    bool is_deferred;   /* nghttp2 waits for nghttp2_session_resume_data */
    bool is_peer_reset; /* RST_STREAM came */
    bool is_reset;      /* we gave it up: no more events */
    bool is_gone;       /* nghttp2 has forgotten it */
    bool want_reset;    /* RST_STREAM NO_ERROR after our END_STREAM */
};

static inline struct h2_stream *h2_stream_of(struct stream *s)
{
    return (struct h2_stream *)(void *)s;
}
static inline const struct h2_stream *h2_stream_of_const(const struct stream *s)
{
    return (const struct h2_stream *)(const void *)s;
}
static inline struct h2 *h2_of(struct codec *k)
{
    return (struct h2 *)(void *)k;
}
/* The turn's end will send what is queued. */
static inline void h2_wake(struct h2 *h2)
{
    loop_defer(h2->codec.loop, &h2->turn_end);
}
/* Nothing can be written or sent any more. */
static inline bool h2_is_over(const struct h2 *h2)
{
    return h2->is_closing || h2->is_ending || conn_is_closed(h2->codec.conn);
}
/* GOAWAY with `code`; streams are told at the turn's end. */
static inline void h2_end(struct h2 *h2, uint32_t code, enum fault f)
{
    if (!h2->is_ending) {
        h2->is_ending = true;
        h2->end_fault = f;
        (void)nghttp2_session_terminate_session(h2->session, code);
    }
    h2_wake(h2);
}

/* h2_guard.c */
void h2_guard_init(struct h2 *h2);
/* Charges for a frame that begins; false: the peer is over its budget. */
bool h2_guard_frame(struct h2 *h2, const nghttp2_frame_hd *hd);
/* Charges one oddity; false as above. */
bool h2_guard_glitch(struct h2 *h2);
/* An RST_STREAM came; false as above. */
bool h2_guard_reset(struct h2 *h2);
/* We sent DATA or HEADERS: the peer may answer them with some frames. */
void h2_guard_on_sent(struct h2 *h2);

/* h2_head.c */
void h2_head_begin(struct h2_stream *st, bool is_trailers);
/* One field; false: the block is so far over its limits that it must not be
 * decoded any further. */
bool h2_head_field(struct h2_stream *st,
                   struct str name,
                   struct str value,
                   bool is_sensitive);
/* Checks a block that is complete and makes it canonical. */
enum fault h2_head_finish_request(struct h2_stream *st, bool is_tls);
enum fault h2_head_finish_response(struct h2_stream *st);

/* h2_stream.c */
struct h2_stream *h2_stream_new(struct h2 *h2);
void h2_stream_free(struct h2 *h2, struct h2_stream *st);
/* Something is to be told; the turn's end (or the read's) will. */
void h2_stream_news(struct h2 *h2, struct h2_stream *st);
void h2_stream_set_fault(struct h2 *h2, struct h2_stream *st, enum fault f);
void h2_stream_drop_in(struct h2 *h2, struct h2_stream *st);
void h2_stream_drop_out(struct h2_stream *st);
/* RST_STREAM if nghttp2 still has it; drops both directions. */
void h2_stream_reset(struct h2 *h2, struct h2_stream *st, uint32_t code);
/* Tells the owner of a fault, at most once. */
void h2_stream_fail(struct h2 *h2, struct h2_stream *st, enum fault f);
/* How many of `len` bytes may be told; they are counted as told. */
size_t h2_stream_take(struct h2_stream *st, size_t len);
/* Tells everything that can be told; `is_last`: credit does not matter. */
void h2_stream_deliver(struct h2 *h2, struct h2_stream *st, bool is_last);
/* deliver, fault, room, and the end of st when nobody needs it. */
void h2_stream_handle(struct h2 *h2, struct h2_stream *st);

/* h2_time.c */
void h2_time_check(struct h2 *h2);
/* Sends the GOAWAY that ends a drain, when it is due. */
void h2_time_drain(struct h2 *h2, uint64_t now_ms);
/* Sets the conn's timer for the next thing that is due. */
void h2_time_arm(struct h2 *h2);

/* h2_input.c */
void h2_input_init(nghttp2_session_callbacks *cb);
void h2_input_run(struct h2 *h2, const uint8_t *p, size_t len);

/* h2_output.c */
void h2_output_init(nghttp2_session_callbacks *cb);
void h2_output_request(struct h2 *h2,
                       struct h2_stream *st,
                       const struct head *h,
                       bool is_end);
void h2_output_response(struct h2 *h2,
                        struct h2_stream *st,
                        const struct head *h,
                        bool is_end);
void h2_output_trailers(struct h2 *h2,
                        struct h2_stream *st,
                        const struct head *t);
void h2_output_resume(struct h2 *h2, struct h2_stream *st);
/* Runs nghttp2's sender until it is empty or the conn is full. */
void h2_output_run(struct h2 *h2);

#endif
