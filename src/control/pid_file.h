/*
 * pid_file: the file that holds the process number while the gateway runs. It
 * is made before root is given up and emptied afterwards at least, so that a
 * number which is another process's by then never stays behind. Control
 * thread.
 */
#ifndef DAEMUN_CONTROL_PID_FILE_H
#define DAEMUN_CONTROL_PID_FILE_H

#include "control/settings.h"

struct pid_file {
    char *path; /* NULL: none */
    int fd;
};

/* Whether it could be written; makes nothing. */
bool pid_file_check(const struct node *root, struct error *err);
/* Writes it, if the settings name one. */
bool pid_file_open(struct pid_file *p,
                   const struct node *root,
                   struct error *err);
/* Removes the file, or empties it where it cannot be removed. */
void pid_file_close(struct pid_file *p);

#endif
