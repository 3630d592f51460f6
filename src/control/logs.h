/*
 * logs: the log files that the settings name: opened at the start, by a reload
 * that names others, and again at SIGUSR1. They are opened on the control
 * thread, which says what is wrong by file and line, and handed to the writer
 * thread of base/log.
 * `user` is whom the process became when it gave up root, NULL if it never
 * was: who then can write a file, but perhaps not make one in its folder.
 */
#ifndef DAEMUN_CONTROL_LOGS_H
#define DAEMUN_CONTROL_LOGS_H

#include "base/log.h"
#include "control/settings.h"

struct log_file;

/*
 * Whether the files of `root` could be opened; makes none. Those that `live`
 * (NULL: none) has already are left out: they stay open.
 */
bool logs_check(const struct node *root,
                const struct node *live,
                const char *user,
                struct error *err);
/* Opens them; NULL for those that stay. Opens none when it fails. */
bool logs_open(const struct node *root,
               const struct node *live,
               struct log_file *files[static LOG_N_TARGETS],
               struct error *err);
enum log_level logs_level(const struct node *root);
/* SIGUSR1: those that can be opened again are; the others stay open, and the
 * error log says so. */
void logs_reopen(const struct node *root, const char *user);
/* Gives the files that root made to the user, who opens them from now on.
 * Devices and pipes stay whose they are. */
void logs_give(const struct node *root, const char *user);
/* After root was given up: warns of folders in which no file can be made. */
void logs_warn(const struct node *root, const char *user);
/* Each line of `err` as a line of the error log; empties it. */
void logs_tell(struct error *err);

#endif
