/*
 * log_ring: lines on their way from one thread to the log's writer thread. One
 * producer puts, one consumer peeks and drops; neither waits for the other.
 * Owned by log.c, which links the rings that exist.
 * Invariant: tail <= head <= tail + LOG_RING_BYTES; a line is never split.
 */
#ifndef DAEMUN_BASE_LOG_RING_H
#define DAEMUN_BASE_LOG_RING_H

#include "base/log.h"

#include <stdatomic.h>
#include <stddef.h>

struct log_ring {
    struct log_ring *next; /* never changes once the ring is registered */
    uint8_t *bytes;
    char gap_before[64]; /* head and tail are written by different cores */
    atomic_size_t head;
    char gap_between[64];
    atomic_size_t tail;
    char gap_after[64];
};

void log_ring_init(struct log_ring *ring);
void log_ring_fini(struct log_ring *ring);
/* Producer: false when there is no room. Cuts at LOG_LINE_BYTES_MAX. */
bool log_ring_put(struct log_ring *ring,
                  enum log_target target,
                  struct str line);
/* Consumer: how many bytes are in it now, which only itself can make less. */
size_t log_ring_len(struct log_ring *ring);
/* Consumer: the oldest line, valid until the drop; false when empty. */
bool log_ring_peek(struct log_ring *ring,
                   enum log_target *target,
                   struct str *line);
/* Consumer: gives back the room of the line peeked at; returns its bytes. */
size_t log_ring_drop(struct log_ring *ring);

#endif
