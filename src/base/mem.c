/*
 * mem: allocation that never returns NULL. A process that cannot get memory
 * has no sensible way on: limits on connections, heads and buffered bytes are
 * what keeps traffic from bringing us here. Thread-safe because malloc is;
 * the memory belongs to the caller.
 * Invariant: a size of 0 yields memory too, so that NULL never means success.
 */
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void mem_fail(size_t n, size_t size)
{
    char line[96];
    const int len =
        snprintf(line, sizeof line, "daemun: out of memory (%zu x %zu bytes)\n",
                 n, size);
    if (len > 0) {
        const ssize_t ignored = write(STDERR_FILENO, line, (size_t)len);
        (void)ignored;
    }
    abort();
}

void *mem_new_array(size_t n, size_t size)
{
    /* calloc checks the product; it is asked for a byte where it is 0. */
    void *p = n == 0 || size == 0 ? calloc(1, 1) : calloc(n, size);
    if (p == NULL) {
        mem_fail(n, size);
    }
    return p;
}

void *mem_new(size_t size)
{
    return mem_new_array(1, size);
}

void *mem_new_lines(size_t n, size_t size)
{
    void *p = NULL;
    if (size != 0 && n > SIZE_MAX / size) {
        mem_fail(n, size);
    }
    const size_t n_bytes = n * size == 0 ? 1 : n * size;
    if (posix_memalign(&p, MEM_LINE_BYTES, n_bytes) != 0) {
        mem_fail(n, size);
    }
    memset(p, 0, n_bytes);
    return p;
}

void *mem_new_raw(size_t size)
{
    void *p = malloc(size == 0 ? 1 : size);
    if (p == NULL) {
        mem_fail(1, size);
    }
    return p;
}

void *mem_resize(void *p, size_t size)
{
    void *q = realloc(p, size == 0 ? 1 : size);
    if (q == NULL) {
        mem_fail(1, size);
    }
    return q;
}

char *mem_copy_text(const char *p, size_t len)
{
    if (len == SIZE_MAX) {
        mem_fail(1, len);
    }
    char *copy = mem_new_raw(len + 1);
    if (len > 0) {
        memcpy(copy, p, len);
    }
    copy[len] = '\0';
    return copy;
}

void mem_free(void *p)
{
    free(p);
}
