/*
 * filter: the hooks of modules on the way of an exchange. A chain belongs to a
 * route of a snapshot: built by the control thread, const on workers but for
 * the state of each worker, which that worker alone touches. A run is the
 * passage of one exchange through a chain; it lies in the exchange's arena and
 * ends with filter_done. Routes without filters have neither, so everything
 * here costs them one pointer test.
 * Invariants: request hooks run in order, response hooks in reverse; no hook
 * is called before on_request had its turn, nor after on_done; while a filter
 * holds the exchange, bytes that arrive are kept, bounded by their credit.
 */
#ifndef DAEMUN_PROXY_FILTER_H
#define DAEMUN_PROXY_FILTER_H

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/str.h"
#include "base/timer.h"
#include "http/head.h"

#include <daemun/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;

enum { FILTER_STATE_BYTES_MAX = 16 * 1024 };

/* State of a use on one worker. */
struct filter_worker {
    void *state;
    bool is_entered;
};

/* One use of a filter by a route. */
struct filter_link {
    const struct filter *filter; /* of a module: lives for ever */
    void *conf;                  /* ours, by conf_free */
    struct filter_worker *workers;
    size_t state_offset; /* in filter_run.states */
};

struct filter_chain {
    size_t n_workers;
    size_t state_bytes; /* of one run */
    unsigned flags;     /* of all filters: enum dm_filter_flag */
    size_t n_links;
    size_t n_links_max;
    struct filter_link links[];
};

/* Bytes and the end of a message that wait for a filter. */
struct filter_held {
    struct buf bytes;
    struct head *trailers;
    bool is_end;
};

enum filter_phase { FILTER_ON_REQUEST, FILTER_ON_BODY, FILTER_ON_RESPONSE };

struct filter_run {
    struct exchange *x;
    struct filter_chain *chain;
    enum filter_phase phase;
    size_t n_begun; /* filters whose on_request had its turn */
    size_t n_left;  /* response: filters that have not seen it */
    bool is_waiting;
    bool is_reply;         /* `response` is an answer of a filter */
    struct head *response; /* the one that is being looked at */
    struct head *reply;    /* of dm_reply, until DM_REPLY takes it */
    struct str reply_body;
    struct filter_held upload;
    struct filter_held download;
    struct timer timer;       /* dm_resume_after */
    struct deferred resumed;  /* dm_resume */
    struct filter_use uses[]; /* n_links of them */
};

/* Control thread. Room for `n` filters. */
struct filter_chain *filter_chain_new(size_t n, size_t n_workers);
/* Appends a filter; `conf` is the chain's from now on. */
void filter_chain_add(struct filter_chain *chain,
                      const struct filter *f,
                      void *conf);
/* No worker can see it any more. Takes NULL. */
void filter_chain_free(struct filter_chain *chain);

/*
 * Bytes of a body on their way: through the hooks, then to the forward_pass_*
 * of the same direction; or kept while a filter holds the exchange. Only for
 * exchanges with filters.
 */
void filter_upload(struct exchange *x,
                   const uint8_t *p,
                   size_t len,
                   bool is_end);
void filter_upload_trailers(struct exchange *x, struct head *trailers);
void filter_download(struct exchange *x,
                     const uint8_t *p,
                     size_t len,
                     bool is_end);
void filter_download_trailers(struct exchange *x, struct head *trailers);

/* For api.c: go on at the end of the turn, or later. */
void filter_resume(struct exchange *x);
void filter_resume_after(struct exchange *x, uint32_t after_ms);
/* True while a filter holds the exchange. */
bool filter_is_waiting(const struct exchange *x);

#endif
