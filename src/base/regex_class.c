/*
 * regex_class: sets of bytes for regular expressions. Letters, digits and
 * blanks are the ASCII ones, whatever the locale. Used on the control thread
 * while a pattern is compiled; workers only ask regex_class_has.
 * Invariant: bits[i] holds the bytes 64 * i to 64 * i + 63.
 */
#include "base/regex_class.h"

#include <stddef.h>

void regex_class_add(struct regex_class *set, int first, int last)
{
    for (int c = first; c <= last; c++) {
        set->bits[c >> 6] |= UINT64_C(1) << (c & 63);
    }
}

void regex_class_join(struct regex_class *set, const struct regex_class *other)
{
    for (size_t i = 0; i < 4; i++) {
        set->bits[i] |= other->bits[i];
    }
}

void regex_class_negate(struct regex_class *set)
{
    for (size_t i = 0; i < 4; i++) {
        set->bits[i] = ~set->bits[i];
    }
}

void regex_class_fold(struct regex_class *set)
{
    for (int lower = 'a'; lower <= 'z'; lower++) {
        const int upper = lower - 'a' + 'A';
        if (regex_class_has(set, (uint8_t)lower)) {
            regex_class_add(set, upper, upper);
        }
        if (regex_class_has(set, (uint8_t)upper)) {
            regex_class_add(set, lower, lower);
        }
    }
}

int regex_class_single(const struct regex_class *set)
{
    int single = -1;
    for (int c = 0; c < 256; c++) {
        if (regex_class_has(set, (uint8_t)c)) {
            if (single >= 0) {
                return -1;
            }
            single = c;
        }
    }
    return single;
}

bool regex_class_add_named(struct regex_class *set, int letter)
{
    struct regex_class named = {0};
    const int lower = letter | 0x20;
    if (lower != 'd' && lower != 'w' && lower != 's') {
        return false;
    }
    if (lower == 's') {
        regex_class_add(&named, '\t', '\r');
        regex_class_add(&named, ' ', ' ');
    } else {
        regex_class_add(&named, '0', '9');
    }
    if (lower == 'w') {
        regex_class_add(&named, 'a', 'z');
        regex_class_add(&named, 'A', 'Z');
        regex_class_add(&named, '_', '_');
    }
    if (letter != lower) {
        regex_class_negate(&named);
    }
    regex_class_join(set, &named);
    return true;
}
