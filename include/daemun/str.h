/*
 * str: text as pointer and length, passed by value, never owning, not
 * NUL-terminated. Text of an exchange is valid until on_done of the filter
 * returns; text of settings as long as the settings object.
 */
#ifndef DAEMUN_STR_H
#define DAEMUN_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *p; /* NULL: there is none */
    size_t len;
};

/* A slice of a string literal. */
#define DM_STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
/* No text at all. */
#define DM_STR_NONE ((struct str){NULL, 0})
/* For printf-like calls: "%.*s", DM_STR_ARG(s). */
#define DM_STR_ARG(s) (int)(s).len, ((s).p ? (s).p : "")

/* A slice of `len` bytes at `p`. */
static inline struct str dm_str_make(const char *p, size_t len)
{
    return (struct str){p, len};
}

/* A slice of a C string; NULL gives DM_STR_NONE. */
static inline struct str dm_str_from(const char *c_string)
{
    return (struct str){c_string, c_string ? strlen(c_string) : 0};
}

/* True when both have the same bytes. */
static inline bool dm_str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

#endif
