/*
 * map: open addressing with linear probing in a table whose size is a power of
 * two and which is at most three quarters full. Owned and changed by one
 * thread; once it no longer changes any thread may look things up. Keys are
 * copies that the map owns, values stay the caller's.
 * Invariants: between the slot that a key hashes to and the slot it is in no
 * slot is empty; removing moves later keys back instead of leaving a mark, so
 * lookups never get slower with age.
 */
#include "base/map.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAP_SLOTS_MIN = 8, MAP_SLOTS_MAX = 1 << 28 };

struct map_slot {
    char *key; /* NULL: empty; ours */
    size_t key_len;
    uint64_t hash;
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t n_slots;
    size_t n_used;
    uint64_t seed;
};

/*
 * One seed for the process, from the kernel, so that nobody outside can choose
 * keys that collide. Two threads may both draw one: the first to store it wins.
 */
static uint64_t map_seed(void)
{
    static atomic_uint_least64_t shared;
    uint64_t seed = atomic_load(&shared);
    while (seed == 0) {
        uint64_t drawn = 0;
        const ssize_t n = getrandom(&drawn, sizeof drawn, 0);
        CHECK(n == (ssize_t)sizeof drawn || errno == EINTR);
        if (n == (ssize_t)sizeof drawn &&
            atomic_compare_exchange_strong(&shared, &seed, drawn)) {
            seed = drawn;
        }
    }
    return seed;
}

struct map *map_new(void)
{
    struct map *m = mem_new(sizeof *m);
    m->seed = map_seed();
    m->n_slots = MAP_SLOTS_MIN;
    m->slots = mem_new_array(m->n_slots, sizeof *m->slots);
    return m;
}

void map_free(struct map *m)
{
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->n_slots; i++) {
        mem_free(m->slots[i].key);
    }
    mem_free(m->slots);
    mem_free(m);
}

static uint64_t map_hash(const struct map *m, struct str key)
{
    return XXH3_64bits_withSeed(key.len > 0 ? key.p : "", key.len, m->seed);
}

/* The slot that holds the key, or the empty one where it belongs. */
static struct map_slot *
map_probe(const struct map *m, struct str key, uint64_t hash)
{
    const size_t mask = m->n_slots - 1;
    size_t i = hash & mask;
    for (;;) {
        struct map_slot *slot = &m->slots[i];
        if (slot->key == NULL ||
            (slot->hash == hash &&
             str_eq(str_make(slot->key, slot->key_len), key))) {
            return slot;
        }
        i = (i + 1) & mask;
    }
}

static void map_grow(struct map *m)
{
    struct map_slot *before = m->slots;
    const size_t n_before = m->n_slots;
    CHECK(n_before < MAP_SLOTS_MAX);
    m->n_slots = n_before * 2;
    m->slots = mem_new_array(m->n_slots, sizeof *m->slots);
    for (size_t i = 0; i < n_before; i++) {
        const struct map_slot *slot = &before[i];
        if (slot->key != NULL) {
            const struct str key = str_make(slot->key, slot->key_len);
            *map_probe(m, key, slot->hash) = *slot;
        }
    }
    mem_free(before);
}

void *map_set(struct map *m, struct str key, void *value)
{
    const uint64_t hash = map_hash(m, key);
    struct map_slot *slot = map_probe(m, key, hash);
    if (slot->key != NULL) {
        void *before = slot->value;
        slot->value = value;
        return before;
    }
    if ((m->n_used + 1) * 4 > m->n_slots * 3) {
        map_grow(m);
        slot = map_probe(m, key, hash);
    }
    *slot = (struct map_slot){
        .key = mem_copy_text(key.p, key.len),
        .key_len = key.len,
        .hash = hash,
        .value = value,
    };
    m->n_used++;
    return NULL;
}

void *map_find(const struct map *m, struct str key)
{
    const struct map_slot *slot = map_probe(m, key, map_hash(m, key));
    return slot->key == NULL ? NULL : slot->value;
}

/* Fills the hole at `hole` with keys behind it that may stand there. */
static void map_close_hole(struct map *m, size_t hole)
{
    const size_t mask = m->n_slots - 1;
    size_t i = (hole + 1) & mask;
    while (m->slots[i].key != NULL) {
        const size_t home = m->slots[i].hash & mask;
        /* How far the key is from home, against how far the hole is. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
        i = (i + 1) & mask;
    }
    m->slots[hole] = (struct map_slot){0};
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *slot = map_probe(m, key, map_hash(m, key));
    if (slot->key == NULL) {
        return NULL;
    }
    void *value = slot->value;
    mem_free(slot->key);
    map_close_hole(m, (size_t)(slot - m->slots));
    m->n_used--;
    return value;
}

size_t map_count(const struct map *m)
{
    return m->n_used;
}

bool map_next(const struct map *m,
              size_t *cursor,
              struct str *key,
              void **value)
{
    while (*cursor < m->n_slots) {
        const struct map_slot *slot = &m->slots[(*cursor)++];
        if (slot->key != NULL) {
            *key = str_make(slot->key, slot->key_len);
            *value = slot->value;
            return true;
        }
    }
    return false;
}
