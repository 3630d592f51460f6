/*
 * upstream: the parts of an upstream that need no building: the sticky cookie
 * and the end of its life. Building is in control/build_upstream.c.
 */
#include "upstream/upstream.h"

#include "base/mem.h"

#include <stdio.h>
#include <xxhash.h>

struct str upstream_sticky_value(const struct upstream *up,
                                 size_t index,
                                 char dst[static 17])
{
    const struct str id = up->endpoints[index].id;
    const uint64_t h = XXH3_64bits_withSeed(id.p, id.len, up->key.seed);
    snprintf(dst, 17, "%016llx", (unsigned long long)h);
    return str_make(dst, 16);
}

int upstream_sticky_find(const struct upstream *up, struct str value)
{
    char text[17];
    if (value.len != 16) {
        return -1;
    }
    for (size_t i = 0; i < up->n_endpoints; i++) {
        if (str_eq(upstream_sticky_value(up, i, text), value)) {
            return (int)i;
        }
    }
    return -1;
}

void upstream_free(struct upstream *up)
{
    if (up == NULL) {
        return;
    }
    balance_free(up->balance);
    for (size_t i = 0; i < up->n_endpoints; i++) {
        tls_client_unref(up->endpoints[i].tls);
    }
    mem_free(up->endpoints);
    mem_free(up->balance_endpoints);
    mem_free(up->cursors);
    arena_reset(&up->arena);
    mem_free(up);
}
