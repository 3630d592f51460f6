/*
 * folder: whether files that settings name could be written, found out without
 * making them. As the effective user of the process. Control thread.
 */
#ifndef DAEMUN_CONTROL_FOLDER_H
#define DAEMUN_CONTROL_FOLDER_H

#include <stdbool.h>

/* The folder that a path is in: mem_free it. */
char *folder_of(const char *path);
/* Whether files can be made in it. */
bool folder_is_writable(const char *folder);
/* 0 when the file could be opened for writing, being made if it is not there;
 * else the errno of what is in the way. */
int folder_try_file(const char *path);

#endif
