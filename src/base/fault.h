/*
 * fault: every way in which a request can fail is one row of fault.def. The
 * table stands in base/, below all layers, because the codecs and the pool
 * must be able to name what went wrong; only proxy/ decides what follows.
 * Constant data; every thread.
 */
#ifndef DAEMUN_BASE_FAULT_H
#define DAEMUN_BASE_FAULT_H

#include "base/str.h"

#include <stdbool.h>

struct buf;

enum fault_blame { BLAME_NOBODY, BLAME_CLIENT, BLAME_UPSTREAM, BLAME_GATEWAY };

/*
 * May another endpoint be tried? ALWAYS: nothing of the request can have been
 * acted upon. REPLAY: only when the request is idempotent, and its body was
 * not consumed.
 */
enum fault_retry { RETRY_NEVER, RETRY_ALWAYS, RETRY_REPLAY };

enum fault {
    FAULT_NONE,
#define FAULT(id, word, status, grpc, blame, retry, text) FAULT_##id,
#include "base/fault.def"
#undef FAULT
    FAULT_N
};

struct fault_row {
    struct str word; /* in logs, metrics and X-Daemun-Fault */
    int status;      /* HTTP status; 0: no answer is possible */
    int grpc_status; /* gRPC status code */
    enum fault_blame blame;
    enum fault_retry retry;
    struct str text; /* one line for the client */
};

/* The row of a fault; of FAULT_NONE: word "-", status 0. */
const struct fault_row *fault_row(enum fault f);
/* docs/faults.md in Markdown. */
void fault_print_docs(struct buf *out);

#endif
