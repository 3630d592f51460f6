/*
 * arena: memory that is freed at once. Blocks come from a per-arena-pool free
 * list of the loop, so the steady state allocates nothing. One owner (an
 * exchange, or a snapshot), one thread at a time.
 * Invariant: the sum of blocks never exceeds `max_bytes`; arena_take then
 * returns NULL and the caller answers with an overload fault.
 */
#ifndef DAEMUN_BASE_ARENA_H
#define DAEMUN_BASE_ARENA_H

#include "base/str.h"

#include <stddef.h>

struct arena_block;

/* Blocks kept for reuse by one thread. */
struct arena_cache {
    struct arena_block *free;
    size_t n_free;
    size_t n_free_max;
};

struct arena {
    struct arena_block *blocks;
    struct arena_cache *cache; /* may be NULL: then malloc and free */
    size_t total_bytes;
    size_t max_bytes;
};

void arena_init(struct arena *a, struct arena_cache *cache, size_t max_bytes);
/* Frees everything; the arena may be used again. */
void arena_reset(struct arena *a);
/* 16-byte aligned, not zeroed; NULL when max_bytes would be exceeded. */
void *arena_take(struct arena *a, size_t size);
/* Zeroed. */
void *arena_take_zero(struct arena *a, size_t size);
/* A copy followed by a NUL (not counted in len). p is NULL at the limit. */
struct str arena_copy(struct arena *a, struct str s);
/* Formatted text; p is NULL at the limit. */
struct str arena_print(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void arena_cache_fini(struct arena_cache *cache);

#endif
