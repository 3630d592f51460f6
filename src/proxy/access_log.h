/*
 * access_log: one line per exchange, as a JSON object or by a format string of
 * "${variable}" and text. The format is compiled on the control thread into a
 * list of pieces; the line is written on the worker into a fixed buffer and
 * handed to the loop's log ring. Values are escaped, so that traffic cannot
 * forge lines.
 */
#ifndef DAEMUN_PROXY_ACCESS_LOG_H
#define DAEMUN_PROXY_ACCESS_LOG_H

#include "base/error.h"
#include "base/str.h"

struct access_format;

/* "json", or a format; unknown variables are listed in `err`. */
struct access_format *access_format_new(struct str format, struct error *err);
void access_format_free(struct access_format *f);

#endif
