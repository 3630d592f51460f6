/*
 * fuzz: what every fuzz target shares: reading parts off the front of an
 * input. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput; it
 * states what must hold by CHECK, which aborts. The program around it is
 * libFuzzer's (make fuzz) or replay.c (make fuzz-replay).
 */
#ifndef DAEMUN_TESTS_FUZZ_H
#define DAEMUN_TESTS_FUZZ_H

#include "base/check.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input. */
struct fuzz {
    const uint8_t *p;
    size_t len;
};

/* The next byte; 0 when nothing is left. */
static inline uint8_t fuzz_byte(struct fuzz *f)
{
    if (f->len == 0) {
        return 0;
    }
    f->len--;
    return *f->p++;
}

/* At most `len` bytes off the front. */
static inline struct str fuzz_take(struct fuzz *f, size_t len)
{
    const size_t n = len < f->len ? len : f->len;
    const struct str s = str_make((const char *)f->p, n);
    f->p += n;
    f->len -= n;
    return s;
}

/* Up to the next `end`, which is dropped, or all that is left. */
static inline struct str fuzz_until(struct fuzz *f, char end)
{
    const uint8_t *at = f->len > 0 ? memchr(f->p, end, f->len) : NULL;
    const struct str s =
        fuzz_take(f, at != NULL ? (size_t)(at - f->p) : f->len);
    if (at != NULL) {
        fuzz_byte(f);
    }
    return s;
}

/* A copy that ends where its memory ends, so that ASan sees a byte too far;
 * the caller frees `p`. */
static inline struct str fuzz_copy(struct str s)
{
    char *p = mem_new_raw(s.len > 0 ? s.len : 1);
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    return str_make(p, s.len);
}

static inline void fuzz_free(struct str s)
{
    mem_free((void *)(uintptr_t)s.p);
}

/* A number that depends on the bytes alone (FNV-1a): where to cut, say. */
static inline uint64_t fuzz_hash(const void *p, size_t len)
{
    const uint8_t *bytes = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++) {
        h = (h ^ bytes[i]) * 0x100000001b3u;
    }
    return h;
}

/* The next length of a cut, 1 to 16 (or less: `left`). */
static inline size_t fuzz_cut(uint64_t *state, size_t left)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    const size_t n = 1 + (*state >> 60);
    return n < left ? n : left;
}

/* A file without a name that holds the bytes, for readers that want a path. */
struct fuzz_file {
    int fd;
    char path[32];
};
struct fuzz_file fuzz_file_open(struct str bytes);
void fuzz_file_close(struct fuzz_file *f);

#endif
