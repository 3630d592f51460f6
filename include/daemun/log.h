/*
 * log: lines for the operator, in the error log.
 */
#ifndef DAEMUN_LOG_H
#define DAEMUN_LOG_H

#include <daemun/api.h>

enum dm_log_level { DM_LOG_ERROR, DM_LOG_WARN, DM_LOG_INFO, DM_LOG_DEBUG };

/*
 * Writes one line to the error log, cut at 1 KiB; begin it with the name of
 * the module. Never blocks: when the log is slower than you, lines are
 * dropped and counted. Control bytes are escaped. Any thread.
 */
DM_API void dm_log(enum dm_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
