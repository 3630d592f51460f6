/*
 * regex_class: a set of bytes, as a regular expression's [...] means it. Pure
 * values; built on the control thread, then read-only and shared.
 */
#ifndef DAEMUN_BASE_REGEX_CLASS_H
#define DAEMUN_BASE_REGEX_CLASS_H

#include <stdbool.h>
#include <stdint.h>

struct regex_class {
    uint64_t bits[4];
};

static inline bool regex_class_has(const struct regex_class *set, uint8_t byte)
{
    return (set->bits[byte >> 6] >> (byte & 63) & 1) != 0;
}

/* Adds the bytes from first to last. */
void regex_class_add(struct regex_class *set, int first, int last);
void regex_class_join(struct regex_class *set, const struct regex_class *other);
void regex_class_negate(struct regex_class *set);
/* Adds the other case of each ASCII letter. */
void regex_class_fold(struct regex_class *set);
/* The only byte of the set, or -1 when it has none or several. */
int regex_class_single(const struct regex_class *set);
/* Adds what `letter` stands for (d w s D W S); false for other letters. */
bool regex_class_add_named(struct regex_class *set, int letter);

#endif
