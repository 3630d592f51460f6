/*
 * map: hash table from text to pointer, open addressing, XXH3 hashed with a
 * per-process seed. Keys are copied. Built on the control thread; read-only
 * use from several threads is safe. The map does not own its values.
 */
#ifndef DAEMUN_BASE_MAP_H
#define DAEMUN_BASE_MAP_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct map;

struct map *map_new(void);
/* Takes NULL. Values are not touched. */
void map_free(struct map *m);
/* Sets or replaces; returns the value that was there before, or NULL. */
void *map_set(struct map *m, struct str key, void *value);
/* NULL when absent. */
void *map_find(const struct map *m, struct str key);
/* Removes; returns the value that was there, or NULL. */
void *map_remove(struct map *m, struct str key);
size_t map_count(const struct map *m);
/*
 * Walks in unspecified order: *cursor starts at 0; false at the end. The map
 * must not change while walking.
 */
bool map_next(const struct map *m,
              size_t *cursor,
              struct str *key,
              void **value);

#endif
