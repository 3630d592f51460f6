/*
 * exchange: a client stream joined to an upstream stream, and the steps that a
 * request takes: admit, route, request, pick, connect, forward, reply, finish.
 * Worker thread; owned by the worker. It pins the snapshot it began with. All
 * memory of the request is in its arena and goes at the end of the turn in
 * which the exchange finishes.
 * Invariants: cs is closed exactly once, by exchange_finish; each attempt that
 * was begun on the scoreboard is ended; the client gets at most one final head.
 */
#ifndef DAEMUN_PROXY_EXCHANGE_H
#define DAEMUN_PROXY_EXCHANGE_H

#include "base/arena.h"
#include "base/fault.h"
#include "http/codec.h"
#include "proxy/client.h"
#include "proxy/route.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"
#include "upstream/pool.h"

#include <stdbool.h>
#include <stdint.h>

enum { EXCHANGE_ARENA_BYTES_MAX = 512 * 1024 };

enum exchange_step {
    STEP_ADMIT,
    STEP_ROUTE,
    STEP_REQUEST,
    STEP_PICK,
    STEP_CONNECT,
    STEP_FORWARD,
    STEP_REPLY,
    STEP_FINISH,
    STEP_N
};

/* Bytes of one direction that wait for room on the other side. */
struct forward {
    size_t n_uncredited; /* delivered to us, credit not yet returned */
    uint64_t n_bytes;    /* body bytes in all */
    bool is_done;        /* the message has ended */
};

struct exchange {
    struct list node; /* in worker->free_exchanges while unused */
    struct worker *w;
    struct snapshot *snap; /* pinned */
    struct client *client; /* valid while cs != NULL */
    struct arena arena;
    enum exchange_step step;
    struct stream *cs;
    struct stream *us;
    struct head *h;        /* the request; NULL when its head was malformed */
    struct head *response; /* the final head from the upstream, or ours */
    struct head *trailers; /* of the request, until they are sent */
    struct str request_id;
    struct str allow; /* methods that the path has, for status 405 */
    const struct route *route;
    struct upstream *up;
    const struct endpoint *ep;
    struct balance_pick pick;
    struct pool_request pool_request;
    struct queue_ticket *ticket; /* while it waits for an endpoint; or NULL */
    struct forward upload;
    struct forward download;
    struct buf replay; /* the body so far, while a retry may need it */
    bool is_replayable;
    struct str minted_cookie; /* value to hand to the client */
    bool want_sticky;         /* tell the client its endpoint */
    uint32_t n_attempts;
    uint32_t n_retries_max;
    struct timer timer;
    uint64_t deadline_ms; /* of the call (grpc-timeout); 0: none */
    uint64_t response_ms; /* when the response head is due; 0: not yet */
    uint64_t queue_ms;    /* how long it waits for a place; 0: it does not */
    uint64_t active_ms;   /* when bytes last moved */
    uint32_t idle_timeout_ms;
    enum fault fault;
    const char *why;   /* how the endpoint was picked */
    struct str detail; /* of a fault, for the log */
    struct deferred gone;
    struct filter_run *filters; /* NULL: the route has none */
    /* times, microseconds of the loop's clock; 0: did not happen */
    uint64_t begin_us;
    uint64_t picked_us;
    uint64_t connected_us;
    uint64_t response_us;
    uint64_t end_us; /* the clock itself, not that of the turn */
    int status;
    int grpc_status;
    int answer_status;    /* of the endpoint's final head; 0: none came */
    bool is_attempt_open; /* counted on the scoreboard */
    bool is_retrying;     /* counted in the retry budget */
    bool is_turn;         /* of the ticket */
    bool is_head_sent;    /* a final head went to the client */
    bool is_head_up_sent; /* the request's head went to the upstream */
    bool is_tunnel;
    bool is_finished;
    bool is_method_other;
    bool is_last_recipient; /* OPTIONS with Max-Forwards: 0 */
    char id_text[37];
    /* copied for the log: the head may be rewritten */
    struct str log_method;
    struct str log_host;
    struct str log_path;
    struct addr peer;
};

/* A server codec announced a stream (codec_owner_ops.on_stream). */
void exchange_open(struct client *c, struct stream *s);
/* Goes on from `step`; filters that waited call it. */
void exchange_run(struct exchange *x, enum exchange_step step);
/* The request cannot be served: retried, answered or cut off, by the row of
 * `f`. The one way for everything that goes wrong. */
void exchange_fail(struct exchange *x, enum fault f, struct str detail);
/* The end: closes both streams, logs, counts, unpins. Harmless when done. */
void exchange_finish(struct exchange *x);
/* Arms the timer for the nearest of deadline, response and idle. */
void exchange_arm(struct exchange *x);
/* Frees the worker's unused exchanges. */
void exchange_cache_fini(struct worker *w);
const char *exchange_step_name(enum exchange_step step);

/* pick.c: steps pick and connect, and the attempts. */
bool exchange_pick(struct exchange *x);
bool exchange_connect(struct exchange *x);
/* Ends the attempt: scoreboard, upstream stream. `is_failure`: the endpoint is
 * to blame. */
void exchange_attempt_end(struct exchange *x, bool is_failure);

/* forward.c: bytes between the two streams. */
extern const struct stream_ops forward_upstream_ops;
/* The connection is there: head and what came of the body go out. */
void forward_begin(struct exchange *x, struct codec *k);
void forward_client_data(struct exchange *x,
                         const uint8_t *p,
                         size_t len,
                         bool is_end);
void forward_client_trailers(struct exchange *x, struct head *trailers);
/* Bytes that have passed the filters, to the other side. */
void forward_pass_upload(struct exchange *x,
                         const uint8_t *p,
                         size_t len,
                         bool is_end);
void forward_pass_upload_trailers(struct exchange *x, struct head *trailers);
void forward_pass_response(struct exchange *x, struct head *h);
void forward_pass_download(struct exchange *x,
                           const uint8_t *p,
                           size_t len,
                           bool is_end);
void forward_pass_download_trailers(struct exchange *x, struct head *trailers);
/* Room on the client's side: more of the response may come. */
void forward_client_room(struct exchange *x);
/* Ends a response to the client that has begun and cannot be completed. */
void forward_cut(struct exchange *x, enum fault f);

/* retry.c */
/* True when another attempt is allowed for this fault; makes it. */
bool retry_try(struct exchange *x, enum fault f);
/* The same for a gRPC answer of one block (RFC 9113 has no name for it; gRPC:
 * Trailers-Only) whose code the upstream's settings say to retry. */
bool retry_answer(struct exchange *x, const struct head *h);
/* The exchange ends: it counts no more as a retry. */
void retry_end(struct exchange *x);

/* outcome.c: what an attempt says about the health of its endpoint. Called
 * before exchange_attempt_end. */
void outcome_fault(struct exchange *x, enum fault f);
void outcome_answer(struct exchange *x);
/* What the client is told: no connection where no endpoint is up at all is
 * "no endpoint" (503), not a bad gateway. */
enum fault outcome_told(const struct exchange *x, enum fault f);

/* reply.c: answers of the gateway itself. Each ends the exchange. */
void reply_fault(struct exchange *x, enum fault f);
void reply_route(struct exchange *x);    /* redirect or fixed answer */
void reply_to_https(struct exchange *x); /* redirect_to_https */
void reply_options(struct exchange *x);  /* OPTIONS that ends with us */
/* The answer of a filter; `h` has its status and fields but ours. */
void reply_filter(struct exchange *x, struct head *h, struct str body);

/* access_log.c */
void access_log_write(struct exchange *x);

/* filter.c: the hooks of modules; true: go on. */
bool filter_request(struct exchange *x);
bool filter_response(struct exchange *x, struct head *h);
void filter_done(struct exchange *x);

#endif
