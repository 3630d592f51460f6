/*
 * admin: the pages for operators and probes, on a listener of their own:
 * /metrics (Prometheus), /healthz, /readyz, /config. They run on the control
 * loop through the same HTTP codecs as everything else, and only read.
 */
#ifndef DAEMUN_CONTROL_ADMIN_H
#define DAEMUN_CONTROL_ADMIN_H

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/str.h"

#include <stdbool.h>

struct admin;

/* Where the pages get their contents; called on the control loop. */
struct admin_ops {
    void (*metrics)(void *owner, struct buf *out);
    void (*config)(void *owner, struct buf *out);
    /* False, and a reason, when no traffic should be sent here. */
    bool (*is_ready)(void *owner, struct str *why);
};

/* Opens the listener; NULL with a message. `address` is "host:port". */
struct admin *admin_new(struct loop *loop,
                        struct str address,
                        const struct admin_ops *ops,
                        void *owner,
                        struct error *err);
/* Closes the listener and every connection; frees at the turn's end. */
void admin_free(struct admin *a);

#endif
