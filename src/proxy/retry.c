/*
 * retry: may a failed attempt be made again, on another endpoint? Only while
 * the client has seen nothing, while the whole body so far is still at hand,
 * and when the fault says that the upstream cannot have acted upon the request
 * (ALWAYS), or acting twice does no harm (REPLAY: idempotent methods; gRPC
 * codes that the operator names).
 * What an upstream may have worked on is repeated within a budget only: a share
 * of the requests that run, so that an upstream in trouble does not get twice
 * the load. What never reached it costs it nothing, and is not refused.
 * Worker thread; part of the exchange.
 */
#include "base/log.h"
#include "base/metric.h"
#include "http/grpc.h"
#include "proxy/exchange.h"

static bool retry_is_possible(const struct exchange *x)
{
    return !x->is_head_sent && x->up != NULL && x->h != NULL && x->cs != NULL &&
           !x->cs->is_dead && x->is_replayable &&
           x->n_attempts <= x->n_retries_max && x->w->loop->now_ms != 0;
}

/* May one more request be in a further attempt? Counts it. */
static bool retry_is_within_budget(struct exchange *x)
{
    struct slot *whole = x->up->slot;
    const uint64_t share =
        (uint64_t)slot_in_flight(whole) * x->up->retry_budget_percent / 100;
    const uint64_t max =
        share > x->up->n_retry_budget_min ? share : x->up->n_retry_budget_min;
    if (x->is_retrying) {
        return true;
    }
    if (max == 0 || !slot_take_place(&whole->n_retrying, (uint32_t)max)) {
        metric_add(x->w->loop->metrics, METRIC_RETRIES_REFUSED_TOTAL, 1);
        return false;
    }
    x->is_retrying = true;
    return true;
}

static bool retry_is_allowed(struct exchange *x, enum fault f)
{
    if (!retry_is_possible(x)) {
        return false;
    }
    switch (fault_row(f)->retry) {
    case RETRY_NEVER:
        return false;
    case RETRY_ALWAYS:
        return true;
    case RETRY_REPLAY:
        return method_is_idempotent(x->h->method) && retry_is_within_budget(x);
    }
    return false;
}

static void retry_again(struct exchange *x)
{
    metric_add(x->w->loop->metrics, METRIC_RETRIES_TOTAL, 1);
    /* With a single endpoint the same one is tried again. */
    if (x->pick.n_tried >= x->up->n_endpoints ||
        x->pick.n_tried >= BALANCE_TRIED_MAX) {
        x->pick.n_tried = 0;
    }
    x->response_ms = 0;
    exchange_run(x, STEP_PICK);
}

bool retry_try(struct exchange *x, enum fault f)
{
    if (!retry_is_allowed(x, f)) {
        return false;
    }
    retry_again(x);
    return true;
}

bool retry_answer(struct exchange *x, const struct head *h)
{
    const int code = x->h->is_grpc ? grpc_status_find(h) : -1;
    if (code < 0 || code > 16 ||
        (x->up->retry_grpc_codes & (UINT32_C(1) << code)) == 0 ||
        !retry_is_possible(x) || !retry_is_within_budget(x)) {
        return false;
    }
    exchange_attempt_end(x, true);
    retry_again(x);
    return true;
}

void retry_end(struct exchange *x)
{
    if (x->is_retrying) {
        x->is_retrying = false;
        slot_give_place(&x->up->slot->n_retrying);
    }
}
