/*
 * log_ring: a ring of bytes with records in it, a header and a line each. Head
 * and tail count bytes since the start and are never taken modulo, so that
 * full and empty differ. Records are aligned, which leaves room for at least a
 * header before the end; a line that does not fit there starts over at the
 * beginning, behind a record that only fills the rest.
 * The producer stores head alone, the consumer tail alone.
 */
#include "base/log_ring.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

enum {
    LOG_RING_FILLER = LOG_N_TARGETS, /* in the place of a target */
    LOG_RING_ALIGN = 8
};

/* Stands before each line; `len` bytes and padding follow. */
struct log_record {
    uint32_t len;
    uint32_t target;
};

void log_ring_init(struct log_ring *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->bytes = mem_new_raw(LOG_RING_BYTES);
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
}

void log_ring_fini(struct log_ring *ring)
{
    mem_free(ring->bytes);
    ring->bytes = NULL;
}

static size_t log_ring_record_bytes(size_t len)
{
    return sizeof(struct log_record) +
           ((len + LOG_RING_ALIGN - 1) & ~(size_t)(LOG_RING_ALIGN - 1));
}

static void log_ring_store(struct log_ring *ring,
                           size_t head,
                           uint32_t target,
                           size_t len,
                           const char *p)
{
    uint8_t *at = ring->bytes + head % LOG_RING_BYTES;
    const struct log_record record = {.len = (uint32_t)len, .target = target};
    memcpy(at, &record, sizeof record);
    if (p != NULL) {
        memcpy(at + sizeof record, p, len);
    }
}

bool log_ring_put(struct log_ring *ring,
                  enum log_target target,
                  struct str line)
{
    line = str_sub(line, 0, LOG_LINE_BYTES_MAX);
    const size_t need = log_ring_record_bytes(line.len);
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    const size_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    const size_t to_end = LOG_RING_BYTES - head % LOG_RING_BYTES;
    const size_t filler = need > to_end ? to_end : 0;
    if (head - tail + filler + need > LOG_RING_BYTES) {
        return false;
    }
    if (filler > 0) {
        log_ring_store(ring, head, LOG_RING_FILLER,
                       filler - sizeof(struct log_record), NULL);
        head += filler;
    }
    log_ring_store(ring, head, (uint32_t)target, line.len, line.p);
    /*
     * Sequentially consistent, as is the writer's store that it goes to sleep:
     * either we see that it sleeps, or it sees this line before it does.
     */
    atomic_store(&ring->head, head + need);
    return true;
}

size_t log_ring_len(struct log_ring *ring)
{
    return atomic_load(&ring->head) -
           atomic_load_explicit(&ring->tail, memory_order_relaxed);
}

static struct log_record log_ring_first(const struct log_ring *ring,
                                        size_t tail)
{
    struct log_record record;
    memcpy(&record, ring->bytes + tail % LOG_RING_BYTES, sizeof record);
    return record;
}

size_t log_ring_drop(struct log_ring *ring)
{
    const size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    const size_t len = log_ring_record_bytes(log_ring_first(ring, tail).len);
    atomic_store_explicit(&ring->tail, tail + len, memory_order_release);
    return len;
}

bool log_ring_peek(struct log_ring *ring,
                   enum log_target *target,
                   struct str *line)
{
    while (log_ring_len(ring) > 0) {
        const size_t tail =
            atomic_load_explicit(&ring->tail, memory_order_relaxed);
        const struct log_record record = log_ring_first(ring, tail);
        if (record.target == LOG_RING_FILLER) {
            log_ring_drop(ring);
            continue;
        }
        CHECK(record.target < LOG_N_TARGETS);
        const void *bytes = ring->bytes + tail % LOG_RING_BYTES + sizeof record;
        *target = (enum log_target)record.target;
        *line = str_make(bytes, record.len);
        return true;
    }
    return false;
}
