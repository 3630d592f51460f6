/*
 * error: problems for an operator, one line each. Filled by functions that
 * return false on failure and owned by whoever called them; one thread at a
 * time. A zeroed struct error is an empty one.
 * Invariant: text is NULL or ends in "\n\0" and len is its strlen; it never
 * grows beyond ERROR_TEXT_MAX. Once a line did not fit, no later one is taken
 * either, and the last line says how many are missing: gaps in the middle of
 * a list would be harder to read than a list that ends.
 */
#include "base/error.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line is cut here; a tail of this size always stays free for the end. */
enum { ERROR_LINE_MAX = 4096, ERROR_TAIL_BYTES = 64 };

static void error_append(struct error *err, const char *line, size_t len)
{
    err->text = mem_resize(err->text, err->len + len + 1);
    memcpy(err->text + err->len, line, len);
    err->len += len;
    err->text[err->len] = '\0';
}

/* Replaces the line that counts what was left out, or adds it. */
static void error_count_dropped(struct error *err)
{
    char tail[ERROR_TAIL_BYTES];
    if (err->n_dropped > 0) {
        err->len--;
        while (err->len > 0 && err->text[err->len - 1] != '\n') {
            err->len--;
        }
    }
    err->n_dropped++;
    const int len =
        snprintf(tail, sizeof tail, "(and %zu more)\n", err->n_dropped);
    error_append(err, tail, (size_t)len);
}

bool error_add(struct error *err, const char *format, ...)
{
    char line[ERROR_LINE_MAX + 1];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, ERROR_LINE_MAX, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : strnlen(line, ERROR_LINE_MAX);
    if (len == 0 || line[len - 1] != '\n') {
        line[len++] = '\n';
    }
    err->n_problems++;
    if (err->n_dropped > 0 ||
        err->len + len + ERROR_TAIL_BYTES > ERROR_TEXT_MAX) {
        error_count_dropped(err);
    } else {
        error_append(err, line, len);
    }
    return false;
}

const char *error_text(const struct error *err)
{
    return err->text == NULL ? "" : err->text;
}

void error_fini(struct error *err)
{
    mem_free(err->text);
    *err = (struct error){0};
}
