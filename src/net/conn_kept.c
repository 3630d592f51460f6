/*
 * conn_kept: the bytes of a conn that its owner has not taken. See conn_kept.h.
 */
#include "net/conn_kept.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

void conn_kept_append(struct conn *c, const uint8_t *p, size_t len)
{
    if (len == 0) {
        return;
    }
    if (c->kept_len + len > c->kept_cap) {
        size_t cap = c->kept_cap == 0 ? 1024 : c->kept_cap * 2;
        while (cap < c->kept_len + len) {
            cap *= 2;
        }
        c->kept = mem_resize(c->kept, cap);
        c->kept_cap = cap;
    }
    memcpy(c->kept + c->kept_len, p, len);
    c->kept_len += len;
}

void conn_kept_drop(struct conn *c, size_t len)
{
    CHECK(len <= c->kept_len);
    c->kept_len -= len;
    if (c->kept_len > 0) {
        memmove(c->kept, c->kept + len, c->kept_len);
        return;
    }
    mem_free(c->kept);
    c->kept = NULL;
    c->kept_cap = 0;
}
