/*
 * chars: byte classes of HTTP grammar as tables, for the parsers of http/.
 * Constant data; every thread.
 */
#ifndef DAEMUN_HTTP_CHARS_H
#define DAEMUN_HTTP_CHARS_H

#include <stdbool.h>
#include <stdint.h>

enum chars_flag {
    CHARS_TOKEN = 1,       /* tchar of RFC 9110 5.6.2 */
    CHARS_VALUE = 2,       /* R-HDR-4: HTAB, SP, visible, 0x80-0xff */
    CHARS_PATH = 4,        /* pchar of RFC 3986 but '%', and '/' */
    CHARS_HOST = 8,        /* letters, digits, '-', '.', '_' */
    CHARS_UNRESERVED = 16, /* RFC 3986 2.3 */
    CHARS_DIGIT = 32,
    CHARS_HEX = 64,
    CHARS_UPPER = 128
};

extern const uint8_t chars_class[256];
/* The lower-case form of a byte that may stand in a field name, else 0. */
extern const uint8_t chars_name[256];

static inline bool chars_is(char c, unsigned flags)
{
    return (chars_class[(uint8_t)c] & flags) != 0;
}
/* Value of a hexadecimal digit (CHECK the class first). */
static inline unsigned chars_hex(char c)
{
    return (uint8_t)c <= '9' ? (unsigned)(c - '0') : ((unsigned)c | 32) - 87;
}

#endif
