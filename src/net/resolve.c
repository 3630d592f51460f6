/*
 * resolve: names to addresses. See resolve.h. Control thread: getaddrinfo
 * waits for the network. The result is sorted by family and bytes, without
 * doubles, so that all gateways (and all reloads) see one order whatever the
 * order of the answer was.
 */
#define _GNU_SOURCE
#include "net/resolve.h"

#include "base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

enum { RESOLVE_NAME_MAX = 254 };

static int resolve_compare(const void *a, const void *b)
{
    const struct addr *x = a;
    const struct addr *y = b;
    const int x_family = x->sa.sa_family == AF_INET ? 0 : 1;
    const int y_family = y->sa.sa_family == AF_INET ? 0 : 1;
    if (x_family != y_family) {
        return x_family - y_family;
    }
    return str_cmp(addr_bytes(x), addr_bytes(y));
}

static bool
resolve_has(const struct addr *addrs, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (addr_eq(&addrs[i], a)) {
            return true;
        }
    }
    return false;
}

static size_t resolve_collect(const struct addrinfo *found, struct addr *addrs)
{
    size_t n = 0;
    for (; found != NULL && n < RESOLVE_N_MAX; found = found->ai_next) {
        struct addr a;
        if (found->ai_addrlen > sizeof(a.un)) {
            continue;
        }
        memset(&a, 0, sizeof(a));
        memcpy(&a.sa, found->ai_addr, found->ai_addrlen);
        a.len = found->ai_addrlen;
        if ((a.sa.sa_family == AF_INET || a.sa.sa_family == AF_INET6) &&
            !resolve_has(addrs, n, &a)) {
            addrs[n++] = a;
        }
    }
    qsort(addrs, n, sizeof(*addrs), resolve_compare);
    return n;
}

static const char *resolve_reason(int code, char *dst, size_t size)
{
    return code == EAI_SYSTEM ? strerror_r(errno, dst, size)
                              : gai_strerror(code);
}

static size_t resolve_name(const char *host,
                           uint16_t port,
                           struct addr *addrs,
                           struct error *err)
{
    char port_text[8];
    char buffer[128];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
    snprintf(port_text, sizeof(port_text), "%u", (unsigned)port);
    const int code = getaddrinfo(host, port_text, &hints, &found);
    if (code != 0) {
        error_add(err,
                  "%s: %s; correct the name, write an address, or look at "
                  "/etc/resolv.conf",
                  host, resolve_reason(code, buffer, sizeof(buffer)));
        return 0;
    }
    const size_t n = resolve_collect(found, addrs);
    freeaddrinfo(found);
    if (n == 0) {
        error_add(err, "%s: the resolver gave no address", host);
    }
    return n;
}

size_t resolve(struct str text, struct addr *addrs, struct error *err)
{
    struct str host;
    uint16_t port;
    if (addr_parse(text, &addrs[0])) {
        return 1;
    }
    if (str_starts(text, STR("unix:")) || !addr_split(text, &host, &port)) {
        error_add(err,
                  "%.*s: must be host:port, [address]:port or unix:/path; a "
                  "port is a number from 1 to 65535",
                  STR_ARG(text));
        return 0;
    }
    if (text.p[0] == '[' || host.len >= RESOLVE_NAME_MAX ||
        memchr(host.p, '\0', host.len) != NULL) {
        error_add(err, "%.*s: not an address", STR_ARG(text));
        return 0;
    }
    char *name = mem_copy_text(host.p, host.len);
    const size_t n = resolve_name(name, port, addrs, err);
    mem_free(name);
    return n;
}
