/*
 * log: lines that leave a thread without ever blocking it. Each thread writes
 * to its own ring (4 MiB, single writer); one writer thread takes the lines to
 * the files. A full ring drops the line and counts it; so does a file that
 * does not take it (disk full). Error-log lines are text for an operator;
 * access-log lines are built by proxy/access_log.c and only carried here.
 */
#ifndef DAEMUN_BASE_LOG_H
#define DAEMUN_BASE_LOG_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct error;

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_target { LOG_TO_ERROR, LOG_TO_ACCESS, LOG_N_TARGETS };
enum { LOG_RING_BYTES = 4 * 1024 * 1024, LOG_LINE_BYTES_MAX = 4096 };

struct log_file;
struct log_ring;

/*
 * Opens the files and starts the writer thread. A path of "-" is standard
 * error (error log) or standard output (access log); "off" writes nothing.
 * May be called again on reload with other paths: the writer switches.
 */
bool log_open(const char *error_path,
              const char *access_path,
              enum log_level level,
              struct error *err);
/*
 * The second half of log_open: files that were opened by log_file_new take the
 * place of those that are written. NULL: that one stays. Takes the files over,
 * also when it fails, which it can only before the writer thread runs.
 * Asynchronous: lines written before may still go to the files before.
 */
bool log_use(struct log_file *files[static LOG_N_TARGETS],
             enum log_level level,
             struct error *err);
/*
 * Writes what is left, ends the writer thread, closes the files and frees the
 * rings: the threads that wrote to them have ended.
 */
void log_close(void);
/* A ring for one thread; registered with the writer; freed by log_close. */
struct log_ring *log_ring_new(void);
/* True when the access log is written at all: skip formatting otherwise. */
bool log_is_access_on(void);
enum log_level log_level_get(void);
/*
 * Carries one finished line (without newline; one is added), cut at
 * LOG_LINE_BYTES_MAX. Never blocks. `ring` may be NULL on a thread that has
 * none, which then takes a shared one under a lock.
 */
void log_write(struct log_ring *ring, enum log_target target, struct str line);
/*
 * Formats a line "2026-01-02T03:04:05.678Z level thread: text" to the current
 * loop's ring; a thread that has none takes one under a lock. While the log is
 * not open the line goes to standard error. Control bytes in the text are
 * escaped as \xHH, so that traffic cannot forge lines.
 */
void log_text(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Lines dropped since start, per target. Any thread. */
uint64_t log_n_dropped(enum log_target target);
/* Writes RFC 3339 UTC time with milliseconds (24 bytes + NUL) to `dst`. */
void log_time(char dst[static 25], uint64_t wall_us);

#endif
