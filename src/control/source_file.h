/*
 * source_file: the conf file (libconfig) as a settings tree. Control thread.
 */
#ifndef DAEMUN_CONTROL_SOURCE_FILE_H
#define DAEMUN_CONTROL_SOURCE_FILE_H

#include "control/settings.h"

/*
 * Reads and parses `path` (with @include relative to its folder). NULL with
 * "file:line: problem" lines in `err`: missing, unreadable, a folder, larger
 * than 64 MiB, syntax error. The caller frees the tree by node_free.
 */
struct node *source_file_read(const char *path, struct error *err);

typedef void source_file_fn(void *arg, const char *path);
/* The same, and tells of each file before it is opened: those that cannot be
 * read, too, so that they can be watched. */
struct node *source_file_read_told(const char *path,
                                   source_file_fn *on_file,
                                   void *arg,
                                   struct error *err);

#endif
