/*
 * probe: one health check of one endpoint, on a connection of its own, through
 * the same codecs as traffic. Control thread. A probe is made, says once how
 * it went, and ends by itself; nothing of the snapshot is needed after
 * probe_start.
 */
#ifndef DAEMUN_CONTROL_PROBE_H
#define DAEMUN_CONTROL_PROBE_H

#include "base/list.h"
#include "base/loop.h"
#include "upstream/upstream.h"

#include <stdbool.h>

struct probe;

/* `why`: a few words for the log when it failed, valid during the call; "" when
 * it passed. The probe must be forgotten. Never inside probe_start. */
typedef void probe_done_fn(void *owner, bool is_passed, const char *why);

/* Begins to check `ep` as its upstream says (kind is not CHECK_NONE). It is in
 * `all` until its connection has ended. */
struct probe *probe_start(struct loop *loop,
                          struct list *all,
                          const struct endpoint *ep,
                          probe_done_fn *on_done,
                          void *owner);
/* Ends it; on_done does not come. */
void probe_cancel(struct probe *p);
/* Closes the connections of all that are in the list; turns must follow. */
void probe_close_all(struct list *all);

#endif
