/*
 * retry: may a failed attempt be made again, on another endpoint? Only while
 * the client has seen nothing, while the whole body so far is still at hand,
 * and when the fault says that the upstream cannot have acted upon the request
 * (ALWAYS), or acting twice does no harm (REPLAY: idempotent methods).
 * Worker thread; part of the exchange.
 */
#include "base/log.h"
#include "base/metric.h"
#include "proxy/exchange.h"

static bool retry_is_allowed(const struct exchange *x, enum fault f)
{
    if (x->is_head_sent || x->up == NULL || x->h == NULL || x->cs == NULL ||
        x->cs->is_dead || !x->is_replayable ||
        x->n_attempts > x->n_retries_max || x->w->loop->now_ms == 0) {
        return false;
    }
    switch (fault_row(f)->retry) {
    case RETRY_NEVER:
        return false;
    case RETRY_ALWAYS:
        return true;
    case RETRY_REPLAY:
        return method_is_idempotent(x->h->method);
    }
    return false;
}

bool retry_try(struct exchange *x, enum fault f)
{
    if (!retry_is_allowed(x, f)) {
        return false;
    }
    metric_add(x->w->loop->metrics, METRIC_RETRIES_TOTAL, 1);
    /* With a single endpoint the same one is tried again. */
    if (x->pick.n_tried >= x->up->n_endpoints ||
        x->pick.n_tried >= BALANCE_TRIED_MAX) {
        x->pick.n_tried = 0;
    }
    x->response_ms = 0;
    exchange_run(x, STEP_PICK);
    return true;
}
