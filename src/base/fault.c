/*
 * fault: the rows of fault.def as a constant table. See fault.h.
 */
#include "base/fault.h"

#include "base/buf.h"
#include "base/check.h"

#include <stdio.h>

static const struct fault_row fault_rows[FAULT_N] = {
    [FAULT_NONE] = {{"-", 1}, 0, 0, BLAME_NOBODY, RETRY_NEVER, {"", 0}},
#define FAULT(id, word, status, grpc, blame, retry, text)                      \
    [FAULT_##id] = {{"" word, sizeof(word) - 1},                               \
                    status,                                                    \
                    grpc,                                                      \
                    BLAME_##blame,                                             \
                    RETRY_##retry,                                             \
                    {"" text, sizeof(text) - 1}},
#include "base/fault.def"
#undef FAULT
};

const struct fault_row *fault_row(enum fault f)
{
    CHECK(f >= 0 && f < FAULT_N);
    return &fault_rows[f];
}

void fault_print_docs(struct buf *out)
{
    static const char *const blames[] = {"nobody", "client", "upstream",
                                         "gateway"};
    static const char *const retries[] = {"never", "always", "if idempotent"};
    char line[512];
    buf_append_str(out, STR("# Faults\n\nEvery way in which a request can "
                            "fail. Made from `src/base/fault.def` by `make "
                            "docs`.\n\n| word | HTTP | gRPC | blame | retried "
                            "| what the client reads |\n|---|--:|--:|---|---|"
                            "---|\n"));
    for (int f = 1; f < FAULT_N; f++) {
        const struct fault_row *r = &fault_rows[f];
        const int len = snprintf(
            line, sizeof(line), "| `%.*s` | %d | %d | %s | %s | %.*s |\n",
            STR_ARG(r->word), r->status, r->grpc_status, blames[r->blame],
            retries[r->retry], STR_ARG(r->text));
        buf_append(out, line, (size_t)len);
    }
}
