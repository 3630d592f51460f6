/*
 * control: the thread that changes things. It reads the conf file, builds
 * snapshots, hands them to the workers, frees the old ones, serves the admin
 * pages, and answers signals: SIGHUP reload, SIGTERM drain and stop, SIGINT
 * and SIGQUIT stop at once, SIGUSR1 reopen the logs. It may be slow; no worker
 * waits for it.
 */
#ifndef DAEMUN_CONTROL_CONTROL_H
#define DAEMUN_CONTROL_CONTROL_H

#include "base/error.h"

#include <stdbool.h>

struct control;

/* Blocks the signals that control reads; before any thread is made. */
void control_block_signals(void);
/*
 * Reads, checks and builds `conf_path`, opens sockets and logs, drops
 * privileges, starts workers. NULL with every problem in `err`.
 */
struct control *control_new(const char *conf_path, struct error *err);
/* Serves until a signal ends it; returns the exit status. */
int control_run(struct control *c);
/* Stops the workers and frees everything. */
void control_free(struct control *c);
/* daemun -t: everything that control_new does but opening of sockets, logs and
 * pid file, whose folders it looks at. False with every problem in `err`. */
bool control_test(const char *conf_path, struct error *err);

#endif
