/*
 * str: text as pointer and length, passed by value, never owning, not
 * NUL-terminated. C strings exist at system calls only. Pure; every thread.
 */
#ifndef DAEMUN_BASE_STR_H
#define DAEMUN_BASE_STR_H

#include <daemun/str.h> /* struct str: modules see the same one */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A slice of a string literal. */
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
/* For printf-like calls: "%.*s", STR_ARG(s). */
#define STR_ARG(s) (int)(s).len, ((s).p ? (s).p : "")

static inline struct str str_make(const char *p, size_t len)
{
    return (struct str){p, len};
}

static inline struct str str_from(const char *c_string)
{
    return (struct str){c_string, c_string ? strlen(c_string) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* ASCII letters compare without case (RFC 9110 5.1 names, 2.4 of 4343). */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* Order as memcmp, the shorter first when one is a prefix. */
int str_cmp(struct str a, struct str b);
/* Index of the first `c`, or s.len. */
size_t str_find_char(struct str s, char c);
/* From `from` (clamped) to the end. */
struct str str_from_index(struct str s, size_t from);
struct str str_sub(struct str s, size_t from, size_t len);
/* Without SP and HTAB at both ends (OWS of RFC 9110 5.6.3). */
struct str str_trim(struct str s);
/*
 * Takes the text up to `sep` off the front of `*rest` (and the separator).
 * False when nothing is left: `*rest` is then STR_NONE with p NULL.
 */
bool str_split(struct str *rest, char sep, struct str *piece);
/* Decimal digits only, no sign, no blanks; false on anything else/overflow. */
bool str_to_u64(struct str s, uint64_t *value);
/* Lower-cases ASCII from `s` into `dst`, which holds s.len bytes. */
void str_lower(char *dst, struct str s);
/* Damerau-Levenshtein-like distance, at most `max` (then max + 1). */
unsigned str_distance(struct str a, struct str b, unsigned max);

#endif
