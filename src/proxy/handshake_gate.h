/*
 * handshake_gate: the TLS handshakes of clients that are in progress on one
 * worker, oldest first, and how fast new ones begin. A handshake costs more CPU
 * than a hundred requests, and one that never goes on costs its memory: so
 * their number has a bound (a new one ends the oldest) and their rate has one
 * (the worker does not accept on TLS listeners for a moment; clients wait in
 * the kernel's queue, and none is refused). Belongs to a worker, on its thread.
 * Invariant: n is the length of the list.
 */
#ifndef DAEMUN_PROXY_HANDSHAKE_GATE_H
#define DAEMUN_PROXY_HANDSHAKE_GATE_H

#include "base/list.h"

#include <stdint.h>

/* What the settings say; of a snapshot. For each worker. */
struct handshake_bounds {
    uint32_t n_max;
    uint32_t rate_per_s; /* 0: no limit */
};

struct handshake_gate {
    struct list running; /* the owner's nodes, oldest first */
    uint32_t n;
    uint64_t paid_us; /* the handshakes so far use the rate up to then */
};

void handshake_gate_init(struct handshake_gate *g);
/*
 * A handshake begins at now_us (monotonic). Returns the node of the oldest one
 * when there are too many now: its owner has to end it. NULL: there are not.
 */
struct list *handshake_gate_begin(struct handshake_gate *g,
                                  const struct handshake_bounds *bounds,
                                  struct list *node,
                                  uint64_t now_us);
/* It is over, or its client is gone; harmless for a node that is not in. */
void handshake_gate_end(struct handshake_gate *g, struct list *node);
/* How long no further one should begin, in ms, rounded up; 0: go on. */
uint32_t handshake_gate_wait_ms(const struct handshake_gate *g,
                                uint64_t now_us);

#endif
