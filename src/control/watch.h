/*
 * watch: tells when one of a set of files changes, by inotify on their
 * folders, so that a replaced file and a swapped symbolic link (Kubernetes
 * volumes) count too. Changes within WATCH_SETTLE_MS are told once. Control
 * thread.
 */
#ifndef DAEMUN_CONTROL_WATCH_H
#define DAEMUN_CONTROL_WATCH_H

#include "base/loop.h"

enum { WATCH_SETTLE_MS = 50, WATCH_N_FOLDERS_MAX = 256 };

struct watch;
typedef void watch_fn(void *owner);

/* NULL when the system has no inotify instance left (logged). */
struct watch *watch_new(struct loop *loop, watch_fn *fn, void *owner);
void watch_free(struct watch *w);
/* Forgets all files. */
void watch_clear(struct watch *w);
void watch_add(struct watch *w, const char *path);

#endif
