/*
 * mem: the one place that calls malloc. An allocation that fails aborts the
 * process with a message: limits protect us from traffic, not NULL checks.
 * Callable on every thread.
 */
#ifndef DAEMUN_BASE_MEM_H
#define DAEMUN_BASE_MEM_H

#include <stddef.h>

enum { MEM_LINE_BYTES = 64 };

/* Zeroed memory of `size` bytes; the caller owns it. Never NULL. */
void *mem_new(size_t size);
/* Zeroed array of `n` members of `size` bytes; overflow aborts. */
void *mem_new_array(size_t n, size_t size);
/* Zeroed array whose members begin cache lines: each on a line of its own when
 * its size is a multiple of MEM_LINE_BYTES. */
void *mem_new_lines(size_t n, size_t size);
/* Unzeroed memory. */
void *mem_new_raw(size_t size);
/* As realloc; new bytes are not zeroed. */
void *mem_resize(void *p, size_t size);
/* A copy of `len` bytes followed by a NUL. */
char *mem_copy_text(const char *p, size_t len);
/* Frees; takes NULL. */
void mem_free(void *p);

#endif
