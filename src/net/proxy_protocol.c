/*
 * proxy_protocol: the PROXY header, versions 1 and 2. See proxy_protocol.h. A
 * pure function: it keeps nothing between calls, so the caller offers all
 * bytes from the start again when more came. Headers are short and come in
 * one packet.
 *
 * Strict on purpose: the header decides who a client is. Whatever the
 * specification does not allow is BAD, and BAD as early as it can be seen.
 */
#include "net/proxy_protocol.h"

#include <arpa/inet.h>

enum {
    PROXY_PROTOCOL_V1_BYTES_MAX = 107, /* with CR LF, section 2.1 */
    PROXY_PROTOCOL_V2_HEAD_LEN = 16,
    PROXY_PROTOCOL_SIGNATURE_LEN = 12,
    PROXY_PROTOCOL_IP_TEXT_MAX = 46,
    PROXY_PROTOCOL_TLV_HEAD_LEN = 3,
    PROXY_PROTOCOL_TLV_CRC32C = 0x03,
};

/* Of the byte 13: version and command; of the byte 14: family and kind. */
enum {
    PROXY_PROTOCOL_LOCAL = 0x20,
    PROXY_PROTOCOL_PROXY = 0x21,
    PROXY_PROTOCOL_UNSPEC = 0x00,
    PROXY_PROTOCOL_TCP4 = 0x11,
    PROXY_PROTOCOL_TCP6 = 0x21,
    PROXY_PROTOCOL_UNIX = 0x31,
};

static const char proxy_protocol_v1_start[] = "PROXY ";
static const uint8_t proxy_protocol_signature[PROXY_PROTOCOL_SIGNATURE_LEN] = {
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

/* ---- version 1 ---------------------------------------------------------- */

static bool proxy_protocol_read_ip(struct str text,
                                   struct str port_text,
                                   int family,
                                   struct addr *a)
{
    char ip[PROXY_PROTOCOL_IP_TEXT_MAX];
    uint64_t port = 0;
    if (text.len == 0 || text.len >= sizeof(ip) ||
        !str_to_u64(port_text, &port) || port > UINT16_MAX ||
        (port_text.len > 1 && port_text.p[0] == '0')) {
        return false;
    }
    memcpy(ip, text.p, text.len);
    ip[text.len] = '\0';
    memset(a, 0, sizeof(*a));
    if (family == AF_INET) {
        a->in.sin_family = AF_INET;
        a->in.sin_port = htons((uint16_t)port);
        a->len = sizeof(a->in);
        return inet_pton(AF_INET, ip, &a->in.sin_addr) == 1;
    }
    a->in6.sin6_family = AF_INET6;
    a->in6.sin6_port = htons((uint16_t)port);
    a->len = sizeof(a->in6);
    return inet_pton(AF_INET6, ip, &a->in6.sin6_addr) == 1;
}

/* "TCP4 source destination source-port destination-port", one blank each. */
static bool proxy_protocol_read_line(struct str line,
                                     struct proxy_protocol *out)
{
    struct str words[5];
    if (str_eq(line, STR("UNKNOWN")) || str_starts(line, STR("UNKNOWN "))) {
        return true;
    }
    for (size_t i = 0; i < 5; i++) {
        const size_t end = i < 4 ? str_find_char(line, ' ') : line.len;
        words[i] = str_sub(line, 0, end);
        line = str_from_index(line, end + 1);
    }
    const bool is_v4 = str_eq(words[0], STR("TCP4"));
    if (!is_v4 && !str_eq(words[0], STR("TCP6"))) {
        return false;
    }
    const int family = is_v4 ? AF_INET : AF_INET6;
    return proxy_protocol_read_ip(words[1], words[3], family, &out->source) &&
           proxy_protocol_read_ip(words[2], words[4], family,
                                  &out->destination);
}

static enum proxy_protocol_result
proxy_protocol_parse_v1(const uint8_t *p,
                        size_t len,
                        struct proxy_protocol *out)
{
    const size_t start_len = sizeof(proxy_protocol_v1_start) - 1;
    const size_t max =
        len < PROXY_PROTOCOL_V1_BYTES_MAX ? len : PROXY_PROTOCOL_V1_BYTES_MAX;
    size_t i = start_len;
    while (i < max && p[i] >= 0x20 && p[i] < 0x7f) {
        i++;
    }
    if (i >= max) {
        return max == PROXY_PROTOCOL_V1_BYTES_MAX ? PROXY_PROTOCOL_BAD
                                                  : PROXY_PROTOCOL_MORE;
    }
    if (p[i] != '\r' || i + 1 == PROXY_PROTOCOL_V1_BYTES_MAX) {
        return PROXY_PROTOCOL_BAD;
    }
    if (i + 1 == max) {
        return PROXY_PROTOCOL_MORE;
    }
    const struct str line =
        str_make((const char *)p + start_len, i - start_len);
    if (p[i + 1] != '\n' || !proxy_protocol_read_line(line, out)) {
        return PROXY_PROTOCOL_BAD;
    }
    out->version = 1;
    out->header_len = i + 2;
    return PROXY_PROTOCOL_OK;
}

/* ---- version 2 ---------------------------------------------------------- */

static uint32_t proxy_protocol_crc32c_byte(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    }
    return crc;
}

/* The checksum of the whole header, its own four bytes at `at` taken as 0. */
static bool proxy_protocol_is_sum_good(const uint8_t *p, size_t len, size_t at)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        const bool is_sum = i >= at && i < at + 4;
        crc = proxy_protocol_crc32c_byte(crc, is_sum ? 0 : p[i]);
    }
    const uint32_t told = (uint32_t)p[at] << 24 | (uint32_t)p[at + 1] << 16 |
                          (uint32_t)p[at + 2] << 8 | p[at + 3];
    return ~crc == told;
}

/* The extensions from `at` to the end must fill the header exactly. */
static bool
proxy_protocol_are_tlvs_good(const uint8_t *p, size_t len, size_t at)
{
    while (at < len) {
        if (len - at < PROXY_PROTOCOL_TLV_HEAD_LEN) {
            return false;
        }
        const size_t value_len = (size_t)p[at + 1] << 8 | p[at + 2];
        const size_t value_at = at + PROXY_PROTOCOL_TLV_HEAD_LEN;
        if (value_len > len - value_at) {
            return false;
        }
        if (p[at] == PROXY_PROTOCOL_TLV_CRC32C &&
            (value_len != 4 || !proxy_protocol_is_sum_good(p, len, value_at))) {
            return false;
        }
        at = value_at + value_len;
    }
    return true;
}

/* How long the addresses of a family are; false when it is not for us. */
static bool proxy_protocol_address_len(uint8_t family, size_t *len)
{
    switch (family) {
    case PROXY_PROTOCOL_UNSPEC:
        *len = 0;
        return true;
    case PROXY_PROTOCOL_TCP4:
        *len = 12;
        return true;
    case PROXY_PROTOCOL_TCP6:
        *len = 36;
        return true;
    case PROXY_PROTOCOL_UNIX:
        *len = 216;
        return true;
    default:
        return false;
    }
}

static void
proxy_protocol_set_v4(struct addr *a, const uint8_t *ip, const uint8_t *port)
{
    memset(a, 0, sizeof(*a));
    a->in.sin_family = AF_INET;
    memcpy(&a->in.sin_addr, ip, 4);
    memcpy(&a->in.sin_port, port, 2);
    a->len = sizeof(a->in);
}

static void
proxy_protocol_set_v6(struct addr *a, const uint8_t *ip, const uint8_t *port)
{
    memset(a, 0, sizeof(*a));
    a->in6.sin6_family = AF_INET6;
    memcpy(&a->in6.sin6_addr, ip, 16);
    memcpy(&a->in6.sin6_port, port, 2);
    a->len = sizeof(a->in6);
}

static void proxy_protocol_set_unix(struct addr *a, const uint8_t *path)
{
    memset(a, 0, sizeof(*a));
    a->un.sun_family = AF_UNIX;
    memcpy(a->un.sun_path, path, sizeof(a->un.sun_path));
    a->len = sizeof(a->un);
}

static void proxy_protocol_set_addresses(uint8_t family,
                                         const uint8_t *p,
                                         struct proxy_protocol *out)
{
    if (family == PROXY_PROTOCOL_TCP4) {
        proxy_protocol_set_v4(&out->source, p, p + 8);
        proxy_protocol_set_v4(&out->destination, p + 4, p + 10);
    } else if (family == PROXY_PROTOCOL_TCP6) {
        proxy_protocol_set_v6(&out->source, p, p + 32);
        proxy_protocol_set_v6(&out->destination, p + 16, p + 34);
    } else if (family == PROXY_PROTOCOL_UNIX) {
        proxy_protocol_set_unix(&out->source, p);
        proxy_protocol_set_unix(&out->destination, p + 108);
    }
}

/* Whether the bytes behind the signature, as far as they came, may stand. */
static bool proxy_protocol_is_head_good(const uint8_t *p, size_t len)
{
    size_t address_len = 0;
    if (len > 12 && p[12] != PROXY_PROTOCOL_LOCAL &&
        p[12] != PROXY_PROTOCOL_PROXY) {
        return false;
    }
    if (len > 13 && p[12] == PROXY_PROTOCOL_PROXY &&
        !proxy_protocol_address_len(p[13], &address_len)) {
        return false;
    }
    if (len < PROXY_PROTOCOL_V2_HEAD_LEN) {
        return true;
    }
    const size_t rest_len = (size_t)p[14] << 8 | p[15];
    return rest_len >= address_len &&
           rest_len <= PROXY_PROTOCOL_BYTES_MAX - PROXY_PROTOCOL_V2_HEAD_LEN;
}

static enum proxy_protocol_result
proxy_protocol_parse_v2(const uint8_t *p,
                        size_t len,
                        struct proxy_protocol *out)
{
    if (!proxy_protocol_is_head_good(p, len)) {
        return PROXY_PROTOCOL_BAD;
    }
    if (len < PROXY_PROTOCOL_V2_HEAD_LEN) {
        return PROXY_PROTOCOL_MORE;
    }
    const size_t whole_len =
        PROXY_PROTOCOL_V2_HEAD_LEN + ((size_t)p[14] << 8 | p[15]);
    if (len < whole_len) {
        return PROXY_PROTOCOL_MORE;
    }
    /* LOCAL: a health check of the balancer; the rest is to be skipped. */
    if (p[12] == PROXY_PROTOCOL_PROXY) {
        size_t address_len = 0;
        proxy_protocol_address_len(p[13], &address_len);
        if (!proxy_protocol_are_tlvs_good(
                p, whole_len, PROXY_PROTOCOL_V2_HEAD_LEN + address_len)) {
            return PROXY_PROTOCOL_BAD;
        }
        proxy_protocol_set_addresses(p[13], p + PROXY_PROTOCOL_V2_HEAD_LEN,
                                     out);
    }
    out->version = 2;
    out->header_len = whole_len;
    return PROXY_PROTOCOL_OK;
}

enum proxy_protocol_result
proxy_protocol_parse(const uint8_t *p, size_t len, struct proxy_protocol *out)
{
    const size_t v1_len = sizeof(proxy_protocol_v1_start) - 1;
    const size_t v2_len = sizeof(proxy_protocol_signature);
    memset(out, 0, sizeof(*out));
    if (len == 0) {
        return PROXY_PROTOCOL_MORE;
    }
    if (memcmp(p, proxy_protocol_v1_start, len < v1_len ? len : v1_len) == 0) {
        return len < v1_len ? PROXY_PROTOCOL_MORE
                            : proxy_protocol_parse_v1(p, len, out);
    }
    if (memcmp(p, proxy_protocol_signature, len < v2_len ? len : v2_len) == 0) {
        return len < v2_len ? PROXY_PROTOCOL_MORE
                            : proxy_protocol_parse_v2(p, len, out);
    }
    return PROXY_PROTOCOL_BAD;
}
