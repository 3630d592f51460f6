/*
 * str: comparing, cutting and reading of text that is a pointer and a length.
 * Pure functions without state, callable on every thread; nothing is owned or
 * allocated here. A slice that is cut from another points into the same bytes.
 * Invariant: a slice with p NULL has length 0; no function does arithmetic on
 * such a pointer, nor reads from a slice of length 0.
 */
#include "base/str.h"

/* Longer names than this are never worth a "did you mean". */
enum { STR_DISTANCE_LEN_MAX = 128 };

static unsigned char str_char_lower(char c)
{
    const unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u + ('a' - 'A')) : u;
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (str_char_lower(a.p[i]) != str_char_lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len &&
           (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 ||
            memcmp(s.p + (s.len - suffix.len), suffix.p, suffix.len) == 0);
}

int str_cmp(struct str a, struct str b)
{
    const size_t n = a.len < b.len ? a.len : b.len;
    const int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

size_t str_find_char(struct str s, char c)
{
    const char *at = s.len == 0 ? NULL : memchr(s.p, c, s.len);
    return at == NULL ? s.len : (size_t)(at - s.p);
}

struct str str_from_index(struct str s, size_t from)
{
    if (from == 0 || s.p == NULL) {
        return s;
    }
    if (from > s.len) {
        from = s.len;
    }
    return str_make(s.p + from, s.len - from);
}

struct str str_sub(struct str s, size_t from, size_t len)
{
    struct str piece = str_from_index(s, from);
    if (piece.len > len) {
        piece.len = len;
    }
    return piece;
}

static bool str_char_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && str_char_is_blank(s.p[s.len - 1])) {
        s.len--;
    }
    while (s.len > 0 && str_char_is_blank(s.p[0])) {
        s.p++;
        s.len--;
    }
    return s;
}

/*
 * n separators make n + 1 pieces, some of them empty: what is left after a
 * separator at the very end is an empty slice with a pointer, which is not
 * yet the end.
 */
bool str_split(struct str *rest, char sep, struct str *piece)
{
    if (rest->p == NULL) {
        *rest = STR_NONE;
        *piece = STR_NONE;
        return false;
    }
    const size_t at = str_find_char(*rest, sep);
    *piece = str_make(rest->p, at);
    *rest = at == rest->len ? STR_NONE : str_from_index(*rest, at + 1);
    return true;
}

bool str_to_u64(struct str s, uint64_t *value)
{
    uint64_t sum = 0;
    if (s.len == 0) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        if (__builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(s.p[i] - '0'), &sum)) {
            return false;
        }
    }
    *value = sum;
    return true;
}

void str_lower(char *dst, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        dst[i] = (char)str_char_lower(s.p[i]);
    }
}

static unsigned str_min(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* One row of the table of distances between the prefixes of a and b. */
struct str_row {
    unsigned cost[STR_DISTANCE_LEN_MAX + 1];
};

/*
 * Fills rows[2] for the prefix of `a` that ends at `i` from the two rows
 * before it; returns the smallest cost in it.
 */
static unsigned str_distance_row(struct str_row rows[static 3],
                                 struct str a,
                                 struct str b,
                                 size_t i)
{
    unsigned least = (unsigned)i;
    rows[2].cost[0] = (unsigned)i;
    for (size_t j = 1; j <= b.len; j++) {
        const bool is_same = a.p[i - 1] == b.p[j - 1];
        unsigned cost = rows[1].cost[j - 1] + (is_same ? 0 : 1);
        cost = str_min(cost, rows[1].cost[j] + 1);
        cost = str_min(cost, rows[2].cost[j - 1] + 1);
        if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] &&
            a.p[i - 2] == b.p[j - 1]) {
            cost = str_min(cost, rows[0].cost[j - 2] + 1);
        }
        rows[2].cost[j] = cost;
        least = str_min(least, cost);
    }
    return least;
}

unsigned str_distance(struct str a, struct str b, unsigned max)
{
    const size_t gap = a.len > b.len ? a.len - b.len : b.len - a.len;
    if (gap > max || a.len > STR_DISTANCE_LEN_MAX ||
        b.len > STR_DISTANCE_LEN_MAX) {
        return str_eq(a, b) ? 0 : max + 1;
    }
    struct str_row rows[3];
    memset(rows, 0, sizeof rows);
    for (size_t j = 0; j <= b.len; j++) {
        rows[1].cost[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        /* A swap reaches back two rows, but each row is at most 1 above. */
        if (str_distance_row(rows, a, b, i) > max) {
            return max + 1;
        }
        rows[0] = rows[1];
        rows[1] = rows[2];
    }
    return str_min(rows[1].cost[b.len], max + 1);
}
