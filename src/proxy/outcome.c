/*
 * outcome: what an attempt says about its endpoint. Failures that are the
 * endpoint's own count towards its ejection; a good answer ends the row.
 * Neither says anything: what the client, the gateway's limits or a deadline
 * of the client ended, a request that the endpoint refused in order (GOAWAY,
 * REFUSED_STREAM), and the death of a connection that had served before, for
 * that is one event however many streams it takes along. Worker thread; part
 * of the exchange.
 */
#include "proxy/exchange.h"

/* gRPC codes that a server gives when it fails itself. */
enum { OUTCOME_UNKNOWN = 2, OUTCOME_INTERNAL = 13, OUTCOME_UNAVAILABLE = 14 };

/* The connection died, and it was not this request that it was made for. */
static bool outcome_is_stale(const struct exchange *x, enum fault f)
{
    const struct stream *s = x->us;
    if (s == NULL || s->is_first ||
        (s->codec != NULL && !conn_is_closed(s->codec->conn))) {
        return false;
    }
    return f == FAULT_RESET_BY_UPSTREAM ||
           (f == FAULT_TRUNCATED && s->codec != NULL &&
            s->codec->kind == CODEC_H2);
}

static bool outcome_is_failure(const struct exchange *x, enum fault f)
{
    if (x->is_tunnel) {
        return false; /* how the two of them part is their business */
    }
    switch (f) {
    case FAULT_CONNECT_FAILED:
    case FAULT_CONNECT_TIMEOUT:
    case FAULT_UPSTREAM_TLS:
    case FAULT_RESPONSE_TIMEOUT:
    case FAULT_BAD_RESPONSE:
        return true;
    case FAULT_RESET_BY_UPSTREAM:
    case FAULT_TRUNCATED:
        return !outcome_is_stale(x, f);
    default:
        return false;
    }
}

static void outcome_fail(struct exchange *x, unsigned by)
{
    const uint32_t n_max = x->up->ejection.n_failures;
    if (n_max > 0 && slot_fail(x->ep->slot, by, n_max)) {
        worker_tell_failing(x->w, x->ep->slot);
    }
}

void outcome_fault(struct exchange *x, enum fault f)
{
    if (x->is_attempt_open && outcome_is_failure(x, f)) {
        outcome_fail(x, (unsigned)f);
    }
}

static bool outcome_is_bad_status(int status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

static bool outcome_is_bad_grpc(int status)
{
    return status == OUTCOME_UNKNOWN || status == OUTCOME_INTERNAL ||
           status == OUTCOME_UNAVAILABLE;
}

void outcome_answer(struct exchange *x)
{
    if (!x->is_attempt_open || x->answer_status == 0) {
        return;
    }
    if (outcome_is_bad_status(x->answer_status)) {
        outcome_fail(x, SLOT_FAILED_HTTP + (unsigned)x->answer_status);
    } else if (x->h->is_grpc && outcome_is_bad_grpc(x->grpc_status)) {
        outcome_fail(x, SLOT_FAILED_GRPC + (unsigned)x->grpc_status);
    } else {
        slot_succeed(x->ep->slot);
    }
}

enum fault outcome_told(const struct exchange *x, enum fault f)
{
    const bool is_connect = f == FAULT_CONNECT_FAILED ||
                            f == FAULT_CONNECT_TIMEOUT ||
                            f == FAULT_UPSTREAM_TLS;
    return is_connect && x->up != NULL && slot_is_down(x->up->slot)
               ? FAULT_NO_ENDPOINT
               : f;
}
