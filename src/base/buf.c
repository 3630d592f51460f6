/*
 * buf: bytes on their way from one connection to another, in blocks of a
 * fixed size. Owned by a conn, a stream or an exchange and touched by that
 * one's thread; blocks go back to the cache of the loop.
 * Invariants: len is the sum of what the blocks hold. When len is above 0 the
 * first block is not empty; a block without bytes exists only at the end, as
 * room that buf_reserve made, or behind bytes that buf_move put there. When
 * len is 0 there is no block but the reserved one, until the commit.
 */
#include "base/buf.h"

#include "base/check.h"
#include "base/mem.h"

/* Moving less than this by copy saves a mostly empty block of 16 KiB. */
enum { BUF_COPY_BYTES_MAX = 1024 };

struct buf_block {
    struct buf_block *next;
    uint32_t begin;
    uint32_t end;
    uint8_t room[BUF_BLOCK_BYTES];
};

static struct buf_block *buf_block_new(struct buf_cache *cache)
{
    struct buf_block *block = NULL;
    if (cache != NULL && cache->free != NULL) {
        block = cache->free;
        cache->free = block->next;
        cache->n_free--;
    } else {
        block = mem_new_raw(sizeof *block);
    }
    block->next = NULL;
    block->begin = 0;
    block->end = 0;
    return block;
}

static void buf_block_free(struct buf_cache *cache, struct buf_block *block)
{
    if (cache == NULL || cache->n_free >= cache->n_free_max) {
        mem_free(block);
        return;
    }
    block->next = cache->free;
    cache->free = block;
    cache->n_free++;
}

static size_t buf_block_left(const struct buf_block *block)
{
    return BUF_BLOCK_BYTES - block->end;
}

static void buf_pop_block(struct buf *b)
{
    struct buf_block *block = b->first;
    b->first = block->next;
    if (b->first == NULL) {
        b->last = NULL;
    }
    buf_block_free(b->cache, block);
}

/* The last block, when it has room for `len` more, else a new one. */
static struct buf_block *buf_tail(struct buf *b, size_t len)
{
    if (b->last != NULL && buf_block_left(b->last) >= len) {
        return b->last;
    }
    struct buf_block *block = buf_block_new(b->cache);
    if (b->last == NULL) {
        b->first = block;
    } else {
        b->last->next = block;
    }
    b->last = block;
    return block;
}

void buf_init(struct buf *b, struct buf_cache *cache)
{
    *b = (struct buf){.cache = cache};
}

void buf_fini(struct buf *b)
{
    while (b->first != NULL) {
        buf_pop_block(b);
    }
    b->len = 0;
}

void buf_append(struct buf *b, const void *p, size_t len)
{
    const uint8_t *from = p;
    CHECK(len <= BUF_BYTES_MAX && b->len <= BUF_BYTES_MAX - len);
    while (len > 0) {
        struct buf_block *block = buf_tail(b, 1);
        const size_t left = buf_block_left(block);
        const size_t n = len < left ? len : left;
        memcpy(block->room + block->end, from, n);
        block->end += (uint32_t)n;
        b->len += n;
        from += n;
        len -= n;
    }
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    CHECK(len <= BUF_BLOCK_BYTES);
    struct buf_block *block = buf_tail(b, len);
    return block->room + block->end;
}

void buf_commit(struct buf *b, size_t len)
{
    struct buf_block *block = b->last;
    if (len > 0) {
        CHECK(block != NULL && len <= buf_block_left(block));
        CHECK(b->len <= BUF_BYTES_MAX - len);
        block->end += (uint32_t)len;
        b->len += len;
    }
    if (b->len == 0) {
        buf_fini(b);
    }
}

struct str buf_peek(const struct buf *b)
{
    const struct buf_block *block = b->first;
    if (b->len == 0) {
        return STR_NONE;
    }
    const void *bytes = block->room + block->begin;
    return str_make(bytes, block->end - block->begin);
}

int buf_peek_iov(const struct buf *b, struct iovec *iov, int n_max)
{
    int n = 0;
    struct buf_block *block = b->first;
    while (block != NULL && n < n_max) {
        if (block->end > block->begin) {
            iov[n].iov_base = block->room + block->begin;
            iov[n].iov_len = block->end - block->begin;
            n++;
        }
        block = block->next;
    }
    return n;
}

void buf_drop(struct buf *b, size_t len)
{
    CHECK(len <= b->len);
    b->len -= len;
    if (b->len == 0) {
        buf_fini(b);
        return;
    }
    while (b->first->end - b->first->begin <= len) {
        len -= b->first->end - b->first->begin;
        buf_pop_block(b);
    }
    b->first->begin += (uint32_t)len;
}

void buf_move(struct buf *dst, struct buf *src)
{
    CHECK(dst != src && dst->len <= BUF_BYTES_MAX - src->len);
    if (src->len == 0) {
        buf_fini(src);
        return;
    }
    if (src->len <= BUF_COPY_BYTES_MAX && dst->len > 0 &&
        src->first->end - src->first->begin == src->len &&
        buf_block_left(dst->last) >= src->len) {
        buf_append_str(dst, buf_peek(src));
        buf_fini(src);
        return;
    }
    if (dst->len == 0) {
        buf_fini(dst);
        dst->first = src->first;
    } else {
        dst->last->next = src->first;
    }
    dst->last = src->last;
    dst->len += src->len;
    src->first = NULL;
    src->last = NULL;
    src->len = 0;
}

void buf_cache_fini(struct buf_cache *cache)
{
    while (cache->free != NULL) {
        struct buf_block *block = cache->free;
        cache->free = block->next;
        mem_free(block);
    }
    cache->n_free = 0;
}
