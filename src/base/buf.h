/*
 * buf: a byte queue of fixed blocks. Bytes are appended at the end and taken
 * from the front; whole blocks move between queues without a copy. An empty
 * buf holds no block. Owned by a conn, a stream or an exchange; one thread.
 * A buf has no limit of its own: whoever appends looks at buf_len first
 * (credit), and CHECKs at BUF_BYTES_MAX.
 */
#ifndef DAEMUN_BASE_BUF_H
#define DAEMUN_BASE_BUF_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { BUF_BLOCK_BYTES = 16 * 1024 - 64, BUF_BYTES_MAX = 256 * 1024 * 1024 };

struct buf_block;

/* Blocks kept for reuse by one thread; gives memory back above n_free_max. */
struct buf_cache {
    struct buf_block *free;
    size_t n_free;
    size_t n_free_max;
};

struct buf {
    struct buf_block *first;
    struct buf_block *last;
    size_t len;
    struct buf_cache *cache; /* may be NULL */
};

void buf_init(struct buf *b, struct buf_cache *cache);
/* Drops all bytes. */
void buf_fini(struct buf *b);
static inline size_t buf_len(const struct buf *b)
{
    return b->len;
}
void buf_append(struct buf *b, const void *p, size_t len);
static inline void buf_append_str(struct buf *b, struct str s)
{
    buf_append(b, s.p, s.len);
}
/*
 * Contiguous writable room of at least `len` (at most BUF_BLOCK_BYTES) at the
 * end; buf_commit says how much of it was filled.
 */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);
/* The first contiguous piece; p NULL when empty. Valid until the next call. */
struct str buf_peek(const struct buf *b);
/* Fills up to `n_max` iovecs from the front; returns how many. */
int buf_peek_iov(const struct buf *b, struct iovec *iov, int n_max);
/* Drops `len` bytes from the front (CHECKs that they are there). */
void buf_drop(struct buf *b, size_t len);
/* Moves everything from `src` to the end of `dst`, by block. */
void buf_move(struct buf *dst, struct buf *src);
void buf_cache_fini(struct buf_cache *cache);

#endif
