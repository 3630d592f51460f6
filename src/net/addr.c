/*
 * addr: reading, writing and comparing socket addresses and networks. Pure
 * functions over values: any thread, nothing to own. See addr.h.
 *
 * An IPv4 client that arrives on an IPv6 socket has a mapped address
 * (::ffff:1.2.3.4); for hashing, networks and text it counts as IPv4, so that
 * what an operator wrote means the same on either kind of socket.
 */
#include "net/addr.h"

#include "base/check.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { ADDR_HOST_TEXT_MAX = 64 };

static const char addr_unix_prefix[] = "unix:";

/* A C string of `s` when it is short enough and holds no NUL. */
static bool addr_to_c(struct str s, char dst[static ADDR_HOST_TEXT_MAX])
{
    if (s.len == 0 || s.len >= ADDR_HOST_TEXT_MAX ||
        memchr(s.p, '\0', s.len) != NULL) {
        return false;
    }
    memcpy(dst, s.p, s.len);
    dst[s.len] = '\0';
    return true;
}

static bool addr_parse_unix(struct str path, struct addr *a)
{
    if (path.len < 2 || path.p[0] != '/' ||
        path.len >= sizeof(a->un.sun_path) ||
        memchr(path.p, '\0', path.len) != NULL) {
        return false;
    }
    memset(a, 0, sizeof(*a));
    a->un.sun_family = AF_UNIX;
    memcpy(a->un.sun_path, path.p, path.len);
    a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return true;
}

static bool
addr_parse_ip(struct str host, uint16_t port, bool is_v6, struct addr *a)
{
    char text[ADDR_HOST_TEXT_MAX];
    if (!addr_to_c(host, text)) {
        return false;
    }
    struct addr found;
    memset(&found, 0, sizeof(found));
    if (is_v6) {
        found.in6.sin6_family = AF_INET6;
        found.in6.sin6_port = htons(port);
        found.len = sizeof(found.in6);
        if (inet_pton(AF_INET6, text, &found.in6.sin6_addr) != 1) {
            return false;
        }
    } else {
        found.in.sin_family = AF_INET;
        found.in.sin_port = htons(port);
        found.len = sizeof(found.in);
        if (inet_pton(AF_INET, text, &found.in.sin_addr) != 1) {
            return false;
        }
    }
    *a = found;
    return true;
}

static bool addr_parse_port(struct str text, uint16_t *port)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 5 || !str_to_u64(text, &value) ||
        value == 0 || value > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)value;
    return true;
}

bool addr_split(struct str text, struct str *host, uint16_t *port)
{
    if (text.len > 0 && text.p[0] == '[') {
        size_t end = str_find_char(text, ']');
        if (end + 1 >= text.len || end == 1 || text.p[end + 1] != ':') {
            return false;
        }
        *host = str_sub(text, 1, end - 1);
        return addr_parse_port(str_from_index(text, end + 2), port);
    }
    size_t colon = str_find_char(text, ':');
    if (colon == 0 || colon == text.len) {
        return false;
    }
    /* A second colon makes the port invalid: IPv6 needs its brackets. */
    *host = str_sub(text, 0, colon);
    return addr_parse_port(str_from_index(text, colon + 1), port);
}

bool addr_parse(struct str text, struct addr *a)
{
    struct str prefix =
        str_make(addr_unix_prefix, sizeof(addr_unix_prefix) - 1);
    if (str_starts(text, prefix)) {
        return addr_parse_unix(str_from_index(text, prefix.len), a);
    }
    struct str host;
    uint16_t port;
    if (!addr_split(text, &host, &port)) {
        return false;
    }
    return addr_parse_ip(host, port, text.p[0] == '[', a);
}

/* The path of a UNIX address; empty for an unnamed or abstract one. */
static struct str addr_path(const struct addr *a)
{
    size_t start = offsetof(struct sockaddr_un, sun_path);
    if (a->len <= start) {
        return STR_NONE;
    }
    size_t max = a->len - start;
    if (max > sizeof(a->un.sun_path)) {
        max = sizeof(a->un.sun_path);
    }
    return str_make(a->un.sun_path, strnlen(a->un.sun_path, max));
}

struct str addr_bytes(const struct addr *a)
{
    if (a->len == 0) {
        return STR_NONE;
    }
    if (a->sa.sa_family == AF_INET) {
        return str_make((const char *)&a->in.sin_addr, 4);
    }
    if (a->sa.sa_family == AF_INET6) {
        const char *p = (const char *)&a->in6.sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
            return str_make(p + 12, 4);
        }
        return str_make(p, 16);
    }
    return addr_path(a);
}

const char *addr_print_host(const struct addr *a,
                            char dst[static ADDR_TEXT_MAX])
{
    struct str bytes = addr_bytes(a);
    if (a->len == 0) {
        snprintf(dst, ADDR_TEXT_MAX, "-");
    } else if (a->sa.sa_family == AF_UNIX) {
        snprintf(dst, ADDR_TEXT_MAX, "%s%.*s", addr_unix_prefix,
                 STR_ARG(bytes));
    } else {
        int family = bytes.len == 4 ? AF_INET : AF_INET6;
        CHECK(inet_ntop(family, bytes.p, dst, ADDR_TEXT_MAX) != NULL);
    }
    return dst;
}

const char *addr_print(const struct addr *a, char dst[static ADDR_TEXT_MAX])
{
    addr_print_host(a, dst);
    if (a->len == 0 || a->sa.sa_family == AF_UNIX) {
        return dst;
    }
    char host[ADDR_HOST_TEXT_MAX];
    snprintf(host, sizeof(host), "%.*s", (int)sizeof(host) - 1, dst);
    bool is_v6 = addr_bytes(a).len == 16;
    snprintf(dst, ADDR_TEXT_MAX, is_v6 ? "[%s]:%u" : "%s:%u", host,
             (unsigned)addr_port(a));
    return dst;
}

uint16_t addr_port(const struct addr *a)
{
    if (a->len == 0) {
        return 0;
    }
    if (a->sa.sa_family == AF_INET) {
        return ntohs(a->in.sin_port);
    }
    return a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->len == 0 || b->len == 0) {
        return a->len == b->len;
    }
    if (a->sa.sa_family != b->sa.sa_family || addr_port(a) != addr_port(b)) {
        return false;
    }
    if (a->sa.sa_family == AF_INET6 &&
        a->in6.sin6_scope_id != b->in6.sin6_scope_id) {
        return false;
    }
    return str_eq(addr_bytes(a), addr_bytes(b));
}

bool addr_net_parse(struct str text, struct addr_net *net, struct error *err)
{
    size_t slash = str_find_char(text, '/');
    struct str host = str_sub(text, 0, slash);
    char host_text[ADDR_HOST_TEXT_MAX];
    struct addr_net found;
    memset(&found, 0, sizeof(found));
    found.family = str_find_char(host, ':') < host.len ? AF_INET6 : AF_INET;
    if (!addr_to_c(host, host_text) ||
        inet_pton(found.family, host_text, found.bytes) != 1) {
        return error_add(err,
                         "%.*s: not an address or network such as "
                         "10.0.0.0/8 or fd00::/8",
                         STR_ARG(text));
    }
    uint64_t n_bits_max = found.family == AF_INET ? 32 : 128;
    uint64_t n_bits = n_bits_max;
    if (slash < text.len &&
        (!str_to_u64(str_from_index(text, slash + 1), &n_bits) ||
         n_bits > n_bits_max)) {
        return error_add(err, "%.*s: the number of bits must be 0 to %u",
                         STR_ARG(text), (unsigned)n_bits_max);
    }
    found.n_bits = (unsigned)n_bits;
    *net = found;
    return true;
}

static bool addr_net_matches(const struct addr_net *net, struct str bytes)
{
    size_t net_len = net->family == AF_INET ? 4 : 16;
    if (bytes.len != net_len) {
        return false;
    }
    size_t n_whole = net->n_bits / 8;
    unsigned n_rest = net->n_bits % 8;
    if (memcmp(net->bytes, bytes.p, n_whole) != 0) {
        return false;
    }
    if (n_rest == 0) {
        return true;
    }
    unsigned differs = net->bytes[n_whole] ^ (uint8_t)bytes.p[n_whole];
    return differs >> (8 - n_rest) == 0;
}

bool addr_net_has(const struct addr_net *nets, size_t n, const struct addr *a)
{
    if (a->len == 0 || a->sa.sa_family == AF_UNIX) {
        return false;
    }
    struct str bytes = addr_bytes(a);
    for (size_t i = 0; i < n; i++) {
        if (addr_net_matches(&nets[i], bytes)) {
            return true;
        }
    }
    return false;
}
