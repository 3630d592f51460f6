/*
 * handshake_gate: see handshake_gate.h. The rate is kept as the time up to
 * which it is used (GCRA), so there is nothing to refill.
 */
#include "proxy/handshake_gate.h"

#include "base/check.h"

enum {
    HANDSHAKE_SECOND_US = 1000 * 1000,
    /* As many may begin at once as the rate allows in this time: a turn must
     * not be a rate of its own. */
    HANDSHAKE_BURST_US = 100 * 1000,
};

void handshake_gate_init(struct handshake_gate *g)
{
    *g = (struct handshake_gate){.n = 0};
    list_init(&g->running);
}

struct list *handshake_gate_begin(struct handshake_gate *g,
                                  const struct handshake_bounds *bounds,
                                  struct list *node,
                                  uint64_t now_us)
{
    struct list *oldest = NULL;
    if (g->n >= bounds->n_max) {
        oldest = list_first(&g->running);
    }
    list_push_back(&g->running, node);
    g->n++;
    if (bounds->rate_per_s == 0) {
        g->paid_us = 0;
        return oldest;
    }
    const uint64_t unused_us =
        now_us > HANDSHAKE_BURST_US ? now_us - HANDSHAKE_BURST_US : 0;
    if (g->paid_us < unused_us) {
        g->paid_us = unused_us;
    }
    g->paid_us += HANDSHAKE_SECOND_US / bounds->rate_per_s;
    return oldest;
}

void handshake_gate_end(struct handshake_gate *g, struct list *node)
{
    if (list_is_linked(node)) {
        CHECK(g->n > 0);
        list_remove(node);
        g->n--;
    }
}

uint32_t handshake_gate_wait_ms(const struct handshake_gate *g, uint64_t now_us)
{
    if (g->paid_us <= now_us) {
        return 0;
    }
    return (uint32_t)((g->paid_us - now_us + 999) / 1000);
}
