/*
 * log_file: where the writer thread puts the lines of one log. Lines gather in
 * a block; a file that does not take them loses them, but never the rest of
 * the program. Made by the thread that reads the configuration, then owned by
 * the writer thread.
 */
#ifndef DAEMUN_BASE_LOG_FILE_H
#define DAEMUN_BASE_LOG_FILE_H

#include "base/log.h"

#include <stddef.h>

struct error;

enum { LOG_FILE_BLOCK_BYTES = 256 * 1024 };

struct log_file {
    int fd;           /* -1: off */
    bool is_ours;     /* opened by path, so to be closed */
    bool is_regular;  /* takes any amount without waiting for a reader */
    bool is_mid_line; /* a write failed in the middle of a line */
    bool is_stalled;  /* a pipe took nothing: not waited for again */
    uint64_t n_lost;  /* lines that the file did not take */
    size_t len;
    char bytes[LOG_FILE_BLOCK_BYTES];
};

/* NULL with "PATH: problem; how to mend" in `err`. A path, "-" for the standard
 * stream of the target, or "off". */
struct log_file *
log_file_new(enum log_target target, const char *path, struct error *err);
/* Closes it; what was added and not flushed is gone. Takes NULL. */
void log_file_free(struct log_file *f);
/* Adds a line and its newline; writes when the block is full. */
void log_file_add(struct log_file *f, struct str line);
/* Writes all that was added, or gives it up. */
void log_file_flush(struct log_file *f);

#endif
