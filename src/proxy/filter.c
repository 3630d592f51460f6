/*
 * filter: see filter.h. A verdict is acted upon in one place for each phase:
 * filter_request, filter_respond and the two functions that walk a piece of a
 * body through the chain. Everything that ends a wait goes through the end of
 * the turn (filter_on_resumed), so no hook is called from within a hook.
 * Worker thread, but for the chain's own functions.
 */
#include "proxy/filter.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/exchange.h"

enum {
    FILTER_ALIGN = 16,
    /* What hooks may have made of a body that no upstream takes yet. */
    FILTER_KEPT_BYTES_MAX = 512 * 1024
};

struct filter_chain *filter_chain_new(size_t n, size_t n_workers)
{
    struct filter_chain *chain =
        mem_new(sizeof(*chain) + n * sizeof(chain->links[0]));
    chain->n_links_max = n;
    chain->n_workers = n_workers;
    return chain;
}

void filter_chain_add(struct filter_chain *chain,
                      const struct filter *f,
                      void *conf)
{
    CHECK(chain->n_links < chain->n_links_max);
    CHECK(f->state_size <= FILTER_STATE_BYTES_MAX);
    chain->links[chain->n_links++] = (struct filter_link){
        .filter = f,
        .conf = conf,
        .workers =
            mem_new_array(chain->n_workers, sizeof(struct filter_worker)),
        .state_offset = chain->state_bytes,
    };
    chain->state_bytes +=
        (f->state_size + FILTER_ALIGN - 1) / FILTER_ALIGN * FILTER_ALIGN;
    chain->flags |= f->flags;
}

static void filter_link_fini(struct filter_link *l, size_t n_workers)
{
    for (size_t i = 0; i < n_workers; i++) {
        if (l->workers[i].is_entered && l->filter->worker_leave != NULL) {
            l->filter->worker_leave(l->conf, l->workers[i].state);
        }
    }
    mem_free(l->workers);
    if (l->filter->conf_free != NULL) {
        l->filter->conf_free(l->conf);
    }
}

void filter_chain_free(struct filter_chain *chain)
{
    if (chain == NULL) {
        return;
    }
    for (size_t i = 0; i < chain->n_links; i++) {
        filter_link_fini(&chain->links[i], chain->n_workers);
    }
    mem_free(chain);
}

/* The state of a use on this worker; made when it is first needed. */
static void *filter_worker_state(struct filter_link *l, unsigned index)
{
    struct filter_worker *w = &l->workers[index];
    if (!w->is_entered && l->filter->worker_enter != NULL) {
        w->is_entered = true;
        w->state = l->filter->worker_enter(l->conf, index);
    }
    return w->state;
}

static void filter_hold_bytes(struct filter_held *held,
                              const uint8_t *p,
                              size_t len,
                              bool is_end)
{
    if (len > 0) {
        buf_append(&held->bytes, p, len);
    }
    held->is_end = is_end;
}

/* Gives kept bytes to `next`, as if they came now. */
static void filter_release(
    struct exchange *x,
    struct filter_held *held,
    void (*next)(struct exchange *x, const uint8_t *p, size_t len, bool is_end),
    void (*next_trailers)(struct exchange *x, struct head *trailers))
{
    struct buf bytes;
    const bool is_end = held->is_end;
    struct head *trailers = held->trailers;
    buf_init(&bytes, held->bytes.cache);
    buf_move(&bytes, &held->bytes); /* the run may end while we are at it */
    *held = (struct filter_held){.bytes = held->bytes};
    if (is_end && buf_len(&bytes) == 0) {
        next(x, NULL, 0, true);
    }
    while (buf_len(&bytes) > 0 && !x->is_finished) {
        const struct str piece = buf_peek(&bytes);
        next(x, (const uint8_t *)piece.p, piece.len,
             is_end && piece.len == buf_len(&bytes));
        buf_drop(&bytes, piece.len);
    }
    buf_fini(&bytes);
    if (trailers != NULL && !x->is_finished) {
        next_trailers(x, trailers);
    }
}

/* The filter at `i` does what it may not; the exchange cannot go on. */
static void filter_refuse(struct exchange *x, size_t i, const char *what)
{
    const char *name = x->filters->chain->links[i].filter->name;
    log_text(LOG_ERROR, "filter %s: %s", name, what);
    exchange_fail(x, FAULT_INTERNAL,
                  arena_print(&x->arena, "filter %s: %s", name, what));
}

/* Another resume than that of a wait which is over must not count. */
static void filter_forget_resume(struct filter_run *run)
{
    loop_defer_cancel(&run->resumed);
    loop_disarm(run->x->w->loop, &run->timer);
}

static void filter_wait(struct filter_run *run)
{
    struct exchange *x = run->x;
    run->is_waiting = true;
    x->response_ms = 0; /* nobody but the filter keeps us waiting */
    if (x->route->idle_timeout_ms != 0) {
        x->idle_timeout_ms = x->route->idle_timeout_ms;
    }
    x->active_ms = x->w->loop->now_ms;
    exchange_arm(x);
}

/* The answer of filter `i` becomes the response. False: there is none. */
static bool filter_take_reply(struct filter_run *run, size_t i)
{
    struct exchange *x = run->x;
    if (run->reply == NULL) {
        filter_refuse(x, i, "DM_REPLY without an answer by dm_reply");
        return false;
    }
    exchange_attempt_end(x, false);
    x->detail = arena_print(&x->arena, "answered by filter %s",
                            run->chain->links[i].filter->name);
    run->phase = FILTER_ON_RESPONSE;
    run->n_left = i;
    run->response = run->reply;
    run->reply = NULL;
    run->is_reply = true;
    x->is_replayable = false;
    return true;
}

/* Shows the response to the filters that are left. False: one holds it, or
 * the exchange has failed. */
static bool filter_walk_back(struct filter_run *run)
{
    struct exchange *x = run->x;
    while (run->n_left > 0) {
        const size_t i = --run->n_left;
        const struct filter *f = run->chain->links[i].filter;
        if (f->on_response == NULL) {
            continue;
        }
        const enum dm_verdict verdict = f->on_response(x, &run->uses[i]);
        switch (verdict) {
        case DM_WAIT:
            filter_wait(run);
            return false;
        case DM_REPLY:
            if (!filter_take_reply(run, i)) {
                return false;
            }
            break;
        case DM_NEXT:
            break;
        }
        filter_forget_resume(run);
    }
    return true;
}

/* True: the upstream's response may go out now. An answer of a filter is sent
 * from here. */
static bool filter_respond(struct filter_run *run)
{
    if (!filter_walk_back(run)) {
        return false;
    }
    run->phase = FILTER_ON_BODY;
    if (run->is_reply) {
        reply_filter(run->x, run->response, run->reply_body);
        return false;
    }
    return true;
}

static void filter_on_resumed(struct deferred *d)
{
    struct filter_run *run = CONTAINER_OF(d, struct filter_run, resumed);
    struct exchange *x = run->x;
    if (!run->is_waiting) {
        return;
    }
    run->is_waiting = false;
    filter_forget_resume(run);
    x->active_ms = x->w->loop->now_ms;
    if (run->phase == FILTER_ON_REQUEST) {
        exchange_run(x, STEP_REQUEST);
    } else if (filter_respond(run)) {
        forward_pass_response(x, run->response);
        if (!x->is_finished) {
            filter_release(x, &run->download, filter_download,
                           filter_download_trailers);
        }
    }
}

static void filter_on_timer(struct timer *t)
{
    struct filter_run *run = CONTAINER_OF(t, struct filter_run, timer);
    filter_resume(run->x);
}

void filter_resume(struct exchange *x)
{
    if (x->filters != NULL) {
        loop_defer(x->w->loop, &x->filters->resumed);
    }
}

void filter_resume_after(struct exchange *x, uint32_t after_ms)
{
    if (x->filters != NULL) {
        loop_arm(x->w->loop, &x->filters->timer, after_ms);
    }
}

bool filter_is_waiting(const struct exchange *x)
{
    return x->filters != NULL && x->filters->is_waiting;
}

/* The run of this exchange; NULL at the arena's limit. */
static struct filter_run *filter_run_new(struct exchange *x)
{
    struct filter_chain *chain = x->route->filters;
    const size_t head_bytes =
        (sizeof(struct filter_run) +
         chain->n_links * sizeof(struct filter_use) + FILTER_ALIGN - 1) /
        FILTER_ALIGN * FILTER_ALIGN;
    char *p = arena_take_zero(&x->arena, head_bytes + chain->state_bytes);
    struct filter_run *run = (struct filter_run *)(void *)p;
    if (run == NULL) {
        return NULL;
    }
    run->x = x;
    run->chain = chain;
    run->resumed.fn = filter_on_resumed;
    timer_init(&run->timer, filter_on_timer);
    buf_init(&run->upload.bytes, &x->w->loop->bufs);
    buf_init(&run->download.bytes, &x->w->loop->bufs);
    for (size_t i = 0; i < chain->n_links; i++) {
        struct filter_link *l = &chain->links[i];
        run->uses[i] = (struct filter_use){
            .conf = l->conf,
            .worker = filter_worker_state(l, x->w->index),
            .state = l->filter->state_size > 0
                         ? p + head_bytes + l->state_offset
                         : NULL,
        };
    }
    return run;
}

/* All filters have let the request pass. */
static bool filter_request_passed(struct filter_run *run)
{
    struct exchange *x = run->x;
    run->phase = FILTER_ON_BODY;
    if ((run->chain->flags & DM_FILTER_EDITS_REQUEST) != 0 &&
        !x->upload.is_done && !x->h->is_websocket) {
        x->h->content_length = -1;
    }
    filter_release(x, &run->upload, filter_upload, filter_upload_trailers);
    return !x->is_finished;
}

bool filter_request(struct exchange *x)
{
    if (x->filters == NULL) {
        if (x->route->filters == NULL) {
            return true;
        }
        x->filters = filter_run_new(x);
        if (x->filters == NULL) {
            exchange_fail(x, FAULT_OVERLOAD, STR_NONE);
            return false;
        }
    }
    struct filter_run *run = x->filters;
    while (run->n_begun < run->chain->n_links) {
        const size_t i = run->n_begun++;
        const struct filter *f = run->chain->links[i].filter;
        if (f->on_request == NULL) {
            continue;
        }
        const enum dm_verdict verdict = f->on_request(x, &run->uses[i]);
        switch (verdict) {
        case DM_WAIT:
            filter_wait(run);
            return false;
        case DM_REPLY:
            filter_forget_resume(run);
            return filter_take_reply(run, i) && filter_respond(run);
        case DM_NEXT:
            filter_forget_resume(run);
            break;
        }
    }
    return filter_request_passed(run);
}

bool filter_response(struct exchange *x, struct head *h)
{
    struct filter_run *run = x->filters;
    if (run == NULL) {
        return true;
    }
    x->is_replayable = false; /* it has been seen: no other one may come */
    run->phase = FILTER_ON_RESPONSE;
    run->response = h;
    run->n_left = run->n_begun;
    if ((run->chain->flags & DM_FILTER_EDITS_RESPONSE) != 0 &&
        !x->download.is_done) {
        h->content_length = -1;
    }
    return filter_respond(run);
}

typedef enum dm_verdict filter_data_fn(struct exchange *x,
                                       const struct filter_use *use,
                                       struct dm_data *data);

/* One hook on a piece of a body. False: the exchange has ended. */
static bool filter_call_data(struct filter_run *run,
                             size_t i,
                             filter_data_fn *hook,
                             unsigned edit_flag,
                             struct dm_data *d)
{
    struct exchange *x = run->x;
    struct dm_data seen = *d;
    const enum dm_verdict verdict = hook(x, &run->uses[i], &seen);
    switch (verdict) {
    case DM_NEXT:
        break;
    case DM_WAIT:
        filter_refuse(x, i, "DM_WAIT from a data hook");
        return false;
    case DM_REPLY:
        if (x->is_head_sent || run->phase == FILTER_ON_RESPONSE) {
            filter_refuse(x, i, "the message was cut off");
        } else if (filter_take_reply(run, i)) {
            filter_respond(run);
        }
        return false;
    }
    if ((run->chain->links[i].filter->flags & edit_flag) != 0) {
        d->p = seen.p;
        d->len = seen.len;
    }
    return true;
}

/* False: nothing is to be passed on any more. */
static bool filter_upload_walk(struct filter_run *run, struct dm_data *d)
{
    struct exchange *x = run->x;
    const size_t len = d->len;
    for (size_t i = 0; i < run->n_begun; i++) {
        filter_data_fn *hook = run->chain->links[i].filter->on_request_data;
        if (hook != NULL &&
            !filter_call_data(run, i, hook, DM_FILTER_EDITS_REQUEST, d)) {
            return false;
        }
    }
    if (d->len > len && x->us == NULL &&
        buf_len(&x->replay) + d->len > FILTER_KEPT_BYTES_MAX) {
        exchange_fail(x, FAULT_BODY_TOO_LARGE, STR_NONE);
        return false;
    }
    return true;
}

static bool filter_download_walk(struct filter_run *run, struct dm_data *d)
{
    for (size_t i = run->n_begun; i > 0; i--) {
        filter_data_fn *hook =
            run->chain->links[i - 1].filter->on_response_data;
        if (hook != NULL &&
            !filter_call_data(run, i - 1, hook, DM_FILTER_EDITS_RESPONSE, d)) {
            return false;
        }
    }
    return true;
}

void filter_upload(struct exchange *x,
                   const uint8_t *p,
                   size_t len,
                   bool is_end)
{
    struct filter_run *run = x->filters;
    struct dm_data d = {(const char *)p, len, is_end};
    if (run->phase == FILTER_ON_REQUEST) {
        filter_hold_bytes(&run->upload, p, len, is_end);
    } else if (x->is_tunnel || filter_upload_walk(run, &d)) {
        forward_pass_upload(x, (const uint8_t *)d.p, d.len, is_end);
    }
}

/* Trailers are the end of the body too, which the hooks are told first. */
void filter_upload_trailers(struct exchange *x, struct head *trailers)
{
    struct filter_run *run = x->filters;
    struct dm_data d = {NULL, 0, true};
    if (run->phase == FILTER_ON_REQUEST) {
        run->upload.trailers = trailers;
        return;
    }
    if (!filter_upload_walk(run, &d)) {
        return;
    }
    if (d.len > 0) {
        forward_pass_upload(x, (const uint8_t *)d.p, d.len, false);
    }
    if (!x->is_finished) {
        forward_pass_upload_trailers(x, trailers);
    }
}

void filter_download(struct exchange *x,
                     const uint8_t *p,
                     size_t len,
                     bool is_end)
{
    struct filter_run *run = x->filters;
    struct dm_data d = {(const char *)p, len, is_end};
    if (run->phase == FILTER_ON_RESPONSE) {
        filter_hold_bytes(&run->download, p, len, is_end);
    } else if (x->is_tunnel || filter_download_walk(run, &d)) {
        forward_pass_download(x, (const uint8_t *)d.p, d.len, is_end);
    }
}

void filter_download_trailers(struct exchange *x, struct head *trailers)
{
    struct filter_run *run = x->filters;
    struct dm_data d = {NULL, 0, true};
    if (run->phase == FILTER_ON_RESPONSE) {
        run->download.trailers = trailers;
        return;
    }
    if (!filter_download_walk(run, &d)) {
        return;
    }
    if (d.len > 0) {
        forward_pass_download(x, (const uint8_t *)d.p, d.len, false);
    }
    if (!x->is_finished) {
        forward_pass_download_trailers(x, trailers);
    }
}

/* The filter that holds the exchange. */
static const char *filter_holder(const struct filter_run *run)
{
    const size_t i =
        run->phase == FILTER_ON_REQUEST ? run->n_begun - 1 : run->n_left;
    return run->chain->links[i].filter->name;
}

void filter_done(struct exchange *x)
{
    struct filter_run *run = x->filters;
    if (run == NULL) {
        return;
    }
    if (run->is_waiting &&
        (x->fault == FAULT_IDLE_TIMEOUT || x->fault == FAULT_DEADLINE)) {
        log_text(LOG_WARN, "route %.*s: filter %s did not resume in time",
                 STR_ARG(x->route->name), filter_holder(run));
    }
    run->is_waiting = false;
    for (size_t i = run->n_begun; i > 0; i--) {
        const struct filter *f = run->chain->links[i - 1].filter;
        if (f->on_done != NULL) {
            f->on_done(x, &run->uses[i - 1]);
        }
    }
    filter_forget_resume(run); /* on_done may have asked for one */
    buf_fini(&run->upload.bytes);
    buf_fini(&run->download.bytes);
    x->filters = NULL;
}
