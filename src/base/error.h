/*
 * error: what an operator has to mend, gathered as lines `path: problem`.
 * Grows to at most ERROR_TEXT_MAX bytes, then says how many more there were.
 * Owned by the caller of the function that fills it; one thread at a time.
 */
#ifndef DAEMUN_BASE_ERROR_H
#define DAEMUN_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum { ERROR_TEXT_MAX = 64 * 1024 };

struct error {
    char *text; /* NUL-terminated lines, each ends in \n; NULL when none */
    size_t len;
    size_t n_problems;
    size_t n_dropped; /* of n_problems: counted, but not in the text */
};

/* Adds one line (the newline is added); always returns false, so that a
 * failing function may end in `return error_add(err, ...)`. */
bool error_add(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "" when there is none. */
const char *error_text(const struct error *err);
void error_fini(struct error *err);

#endif
