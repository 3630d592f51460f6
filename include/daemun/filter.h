/*
 * filter: hooks on the way of a request through a route. A route names its
 * filters in order; request hooks run in that order, response hooks in
 * reverse, so the first filter is the outermost skin of an onion.
 *
 * State has three lifetimes, each handed to the hooks in struct filter_use:
 *   conf    what conf_new returned: one for each use in the conf file, const
 *           on workers, freed when no request can see it any more;
 *   worker  what worker_enter returned: one for each use and worker, touched
 *           by that worker alone, so it needs no lock;
 *   state   `state_size` zeroed bytes for each request.
 *
 * Hooks run on a worker, which serves thousands of other requests: they never
 * block. A hook that needs time returns DM_WAIT.
 */
#ifndef DAEMUN_FILTER_H
#define DAEMUN_FILTER_H

#include <daemun/api.h>
#include <daemun/str.h>
#include <stdbool.h>
#include <stddef.h>

struct error;
struct exchange; /* a request and its response; see exchange.h */
struct node;

/* What a hook wants to happen. */
enum dm_verdict {
    /* Go on. */
    DM_NEXT,
    /*
     * Hold the exchange until dm_resume or dm_resume_after; then the next
     * filter is asked, not this one again. Only from on_request and
     * on_response. When the idle timeout of the route passes first, the
     * exchange fails, and the log names the filter.
     */
    DM_WAIT,
    /*
     * Answer with what dm_reply set. The filters before this one see the
     * answer in their on_response; the upstream is not asked, or is left.
     * From on_request_data only while the response has not begun; where an
     * answer is not possible any more, the exchange is cut off.
     */
    DM_REPLY,
};

/* What a filter declares about itself. */
enum dm_filter_flag {
    /* on_request_data changes the body: its length is not announced. */
    DM_FILTER_EDITS_REQUEST = 1,
    /* on_response_data changes the body: its length is not announced. */
    DM_FILTER_EDITS_RESPONSE = 2,
};

/* One use of a filter by one exchange. */
struct filter_use {
    const void *conf; /* of conf_new; NULL without conf_new */
    void *worker;     /* of worker_enter; NULL without worker_enter */
    void *state;      /* state_size bytes, zeroed; NULL when that is 0 */
};

/*
 * A piece of a body. A filter that declared so may let `p` and `len` stand for
 * other bytes: a part of these, none (len 0), or bytes of its own, which must
 * stay untouched until the hook of this filter is called again on this worker
 * (a scratch buffer in the worker state will do) or, from dm_alloc, as long as
 * the exchange. Edits of a filter that did not declare them are ignored.
 */
struct dm_data {
    const char *p;
    size_t len;
    bool is_end; /* nothing follows (trailers perhaps); changing it does
                    nothing */
};

/*
 * A filter. Every hook may be NULL. Set `size` to sizeof(struct filter):
 * members that a module does not know yet are absent.
 */
struct filter {
    size_t size;
    const char *name;  /* unique among all modules, as the conf file says it */
    unsigned flags;    /* enum dm_filter_flag */
    size_t state_size; /* bytes for each exchange, at most 16 KiB */

    /*
     * Control thread: makes the settings object from the filter's settings
     * (NULL when the operator gave none). NULL, with a problem in `err`,
     * refuses the configuration. Without conf_new the operator may give no
     * settings.
     */
    void *(*conf_new)(const struct node *settings, struct error *err);
    /* Control thread: no request can see `conf` any more. */
    void (*conf_free)(void *conf);
    /*
     * Worker thread, before the first request of this use on a worker.
     * Cannot fail: what can fail belongs into conf_new.
     */
    void *(*worker_enter)(const void *conf, unsigned worker);
    /* Control thread, before conf_free, once for each worker_enter: frees what
     * that returned. The worker is done with it. */
    void (*worker_leave)(const void *conf, void *worker_state);

    /* The head of the request is complete and the route is chosen. The head
     * may be changed, also later while waiting. */
    enum dm_verdict (*on_request)(struct exchange *x,
                                  const struct filter_use *use);
    /* A piece of the request's body. Not called for requests without one, nor
     * for tunnels. DM_NEXT or DM_REPLY. */
    enum dm_verdict (*on_request_data)(struct exchange *x,
                                       const struct filter_use *use,
                                       struct dm_data *data);
    /* The head of the response: of the upstream, or an answer by a filter
     * after this one. Not called for 1xx, and not for faults, redirects and
     * fixed answers that daemun makes itself. */
    enum dm_verdict (*on_response)(struct exchange *x,
                                   const struct filter_use *use);
    /* A piece of the upstream's body. DM_NEXT, or DM_REPLY to cut the response
     * off. */
    enum dm_verdict (*on_response_data)(struct exchange *x,
                                        const struct filter_use *use,
                                        struct dm_data *data);
    /*
     * The end, exactly once for each exchange whose on_request had its turn,
     * whatever happened: see dm_status and dm_fault. Keep no pointer to `x` or
     * to its texts beyond it.
     */
    void (*on_done)(struct exchange *x, const struct filter_use *use);
};

#endif
