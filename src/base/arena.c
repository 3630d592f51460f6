/*
 * arena: memory of one exchange or one snapshot, taken piece by piece and
 * freed at once. Blocks of the usual size go back to the cache of the loop;
 * a piece that is larger, or an arena whose limit leaves less, gets a block
 * made to measure, which goes back to malloc. One thread at a time.
 * Invariants: total_bytes is the sum of the blocks' room and never exceeds
 * max_bytes; only the first block is filled further.
 */
#include "base/arena.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

enum { ARENA_ALIGN = 16, ARENA_BLOCK_BYTES = 4 * 1024 - 48 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* bytes of room */
    size_t used;
    size_t unused;
    uint8_t room[] __attribute__((aligned(ARENA_ALIGN)));
};

void arena_init(struct arena *a, struct arena_cache *cache, size_t max_bytes)
{
    *a = (struct arena){.cache = cache, .max_bytes = max_bytes};
}

static struct arena_block *arena_block_new(struct arena_cache *cache,
                                           size_t size)
{
    struct arena_block *block = NULL;
    if (size == ARENA_BLOCK_BYTES && cache != NULL && cache->free != NULL) {
        block = cache->free;
        cache->free = block->next;
        cache->n_free--;
    } else {
        block = mem_new_raw(sizeof *block + size);
    }
    block->next = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

static void arena_block_free(struct arena_cache *cache,
                             struct arena_block *block)
{
    if (cache == NULL || block->size != ARENA_BLOCK_BYTES ||
        cache->n_free >= cache->n_free_max) {
        mem_free(block);
        return;
    }
    block->next = cache->free;
    cache->free = block;
    cache->n_free++;
}

void arena_reset(struct arena *a)
{
    while (a->blocks != NULL) {
        struct arena_block *block = a->blocks;
        a->blocks = block->next;
        arena_block_free(a->cache, block);
    }
    a->total_bytes = 0;
}

static size_t arena_block_left(const struct arena_block *block)
{
    return block->size - block->used;
}

/*
 * Adds a block with at least `size` of room and returns it; NULL at the limit.
 * It goes behind the first one when that will have more room left.
 */
static struct arena_block *arena_grow(struct arena *a, size_t size)
{
    const size_t left = a->max_bytes - a->total_bytes;
    struct arena_block *first = a->blocks;
    if (size > left) {
        return NULL;
    }
    size_t room = size;
    if (size <= ARENA_BLOCK_BYTES) {
        room = left < ARENA_BLOCK_BYTES ? left : ARENA_BLOCK_BYTES;
    }
    struct arena_block *block = arena_block_new(a->cache, room);
    a->total_bytes += room;
    if (first != NULL && arena_block_left(first) >= room - size) {
        block->next = first->next;
        first->next = block;
    } else {
        block->next = first;
        a->blocks = block;
    }
    return block;
}

void *arena_take(struct arena *a, size_t size)
{
    if (size > a->max_bytes) {
        return NULL;
    }
    if (size == 0) {
        size = 1;
    }
    struct arena_block *block = a->blocks;
    if (block == NULL || arena_block_left(block) < size) {
        block = arena_grow(a, size);
        if (block == NULL) {
            return NULL;
        }
    }
    void *p = block->room + block->used;
    /* The next piece starts aligned; room that is not a multiple ends here. */
    const size_t step = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    const size_t left = arena_block_left(block);
    block->used += step < left ? step : left;
    CHECK_SLOW(a->total_bytes <= a->max_bytes);
    return p;
}

void *arena_take_zero(struct arena *a, size_t size)
{
    void *p = arena_take(a, size);
    if (p != NULL) {
        memset(p, 0, size);
    }
    return p;
}

struct str arena_copy(struct arena *a, struct str s)
{
    char *p = s.len == SIZE_MAX ? NULL : arena_take(a, s.len + 1);
    if (p == NULL) {
        return STR_NONE;
    }
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    p[s.len] = '\0';
    return str_make(p, s.len);
}

struct str arena_print(struct arena *a, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    CHECK(n >= 0);
    const size_t len = (size_t)n;
    if (len < sizeof text) {
        return arena_copy(a, str_make(text, len));
    }
    char *p = arena_take(a, len + 1);
    if (p == NULL) {
        return STR_NONE;
    }
    va_start(args, format);
    const int again = vsnprintf(p, len + 1, format, args);
    va_end(args);
    CHECK(again == n);
    return str_make(p, len);
}

void arena_cache_fini(struct arena_cache *cache)
{
    while (cache->free != NULL) {
        struct arena_block *block = cache->free;
        cache->free = block->next;
        mem_free(block);
    }
    cache->n_free = 0;
}
