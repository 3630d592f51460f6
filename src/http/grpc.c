/*
 * grpc: what the gateway must know of gRPC over HTTP/2 (PROTOCOL-HTTP2.md and
 * http-grpc-status-mapping.md of gRPC): is it gRPC, until when may it take, and
 * how is an error said. Messages themselves are only moved. Pure over text and
 * heads; every thread. Text that is made lies in the arena of its head.
 */
#include "http/grpc.h"

#include "base/check.h"

#include <stdio.h>

enum { GRPC_TIMEOUT_DIGITS_MAX = 8, GRPC_STATUS_MAX = 16 };

/* One unit of grpc-timeout; nanoseconds are finer than ours. */
struct grpc_unit {
    char letter;
    uint64_t us;
};

/* From fine to coarse. */
static const struct grpc_unit grpc_units[] = {
    {'u', 1},
    {'m', 1000},
    {'S', 1000 * 1000},
    {'M', 60ULL * 1000 * 1000},
    {'H', 3600ULL * 1000 * 1000},
};
enum { GRPC_N_UNITS = sizeof(grpc_units) / sizeof(grpc_units[0]) };

bool grpc_content_type(struct str value)
{
    static const char type[] = "application/grpc";
    const size_t len = sizeof(type) - 1;
    if (value.len < len ||
        !str_eq_nocase(str_sub(value, 0, len), str_make(type, len))) {
        return false;
    }
    if (value.len == len) {
        return true;
    }
    // "application/grpc-web" is another protocol.
    const char next = value.p[len];
    return next == '+' || next == ';' || next == ' ' || next == '\t';
}

bool grpc_timeout_parse(struct str value, uint64_t *timeout_us)
{
    uint64_t n = 0;
    if (value.len < 2 || value.len > GRPC_TIMEOUT_DIGITS_MAX + 1 ||
        !str_to_u64(str_sub(value, 0, value.len - 1), &n)) {
        return false;
    }
    const char letter = value.p[value.len - 1];
    if (letter == 'n') {
        // Down, so that nobody behind us is given more time than we were.
        *timeout_us = n / 1000 + (n > 0 && n < 1000 ? 1 : 0);
        return true;
    }
    for (size_t i = 0; i < GRPC_N_UNITS; i++) {
        if (grpc_units[i].letter == letter) {
            *timeout_us = n * grpc_units[i].us; // 10^8 h fit by far
            return true;
        }
    }
    return false;
}

struct str grpc_timeout_print(uint64_t timeout_us, char dst[static 16])
{
    uint64_t n = timeout_us;
    size_t i = 0;
    // The finest unit that fits; rounded up, so that a call never loses time.
    while (n > 99999999 && i + 1 < GRPC_N_UNITS) {
        i++;
        n = timeout_us / grpc_units[i].us +
            (timeout_us % grpc_units[i].us != 0 ? 1 : 0);
    }
    if (n > 99999999) {
        n = 99999999;
    }
    const int len = snprintf(dst, 16, "%llu%c", (unsigned long long)n,
                             grpc_units[i].letter);
    CHECK(len > 0 && len < 16);
    return str_make(dst, (size_t)len);
}

/* Printable ASCII but '%' stands for itself. */
static bool grpc_is_plain(unsigned char c)
{
    return c >= 0x20 && c <= 0x7e && c != '%';
}

struct str grpc_message_encode(struct arena *arena, struct str message)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = 0;
    for (size_t i = 0; i < message.len; i++) {
        len += grpc_is_plain((unsigned char)message.p[i]) ? 1 : 3;
    }
    if (len == message.len) {
        return arena_copy(arena, message);
    }
    char *const text = arena_take(arena, len + 1);
    if (text == NULL) {
        return STR_NONE;
    }
    size_t at = 0;
    for (size_t i = 0; i < message.len; i++) {
        const unsigned char c = (unsigned char)message.p[i];
        if (grpc_is_plain(c)) {
            text[at++] = (char)c;
        } else {
            text[at++] = '%';
            text[at++] = hex[c >> 4];
            text[at++] = hex[c & 15];
        }
    }
    text[at] = '\0';
    return str_make(text, len);
}

bool grpc_reply(struct head *h, int grpc_status, struct str message)
{
    CHECK(grpc_status >= 0 && grpc_status <= GRPC_STATUS_MAX);
    h->status = 200;
    h->content_length = -1;
    h->is_grpc = true;
    (void)head_remove_id(h, NAME_CONTENT_TYPE);
    (void)head_remove_id(h, NAME_GRPC_STATUS);
    (void)head_remove_id(h, NAME_GRPC_MESSAGE);
    const struct str code = arena_print(h->arena, "%d", grpc_status);
    const struct str text = grpc_message_encode(h->arena, message);
    if (code.p == NULL || text.p == NULL) {
        return false;
    }
    return head_add(h, NAME_CONTENT_TYPE, name_text(NAME_CONTENT_TYPE),
                    STR("application/grpc")) &&
           head_add(h, NAME_GRPC_STATUS, name_text(NAME_GRPC_STATUS), code) &&
           (text.len == 0 ||
            head_add(h, NAME_GRPC_MESSAGE, name_text(NAME_GRPC_MESSAGE), text));
}

int grpc_status_of_http(int http_status)
{
    switch (http_status) {
    case 400:
        return 13; // INTERNAL
    case 401:
        return 16; // UNAUTHENTICATED
    case 403:
        return 7; // PERMISSION_DENIED
    case 404:
        return 12; // UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
        return 14; // UNAVAILABLE
    default:
        return 2; // UNKNOWN
    }
}

int grpc_status_find(const struct head *h)
{
    const struct field *const f = head_find(h, NAME_GRPC_STATUS);
    uint64_t n = 0;
    if (f == NULL) {
        return -1;
    }
    if (f->value.len > 3 || !str_to_u64(f->value, &n)) {
        return 2; // a status that cannot be read is UNKNOWN
    }
    return (int)n;
}

int grpc_code_find(struct str name)
{
    static const char *const names[] = {
        "ok",
        "cancelled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "unimplemented",
        "internal",
        "unavailable",
        "data_loss",
        "unauthenticated",
    };
    for (int i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++) {
        if (str_eq(name, str_from(names[i]))) {
            return i;
        }
    }
    return -1;
}
