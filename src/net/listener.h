/*
 * listener: sockets where clients arrive. The control thread opens them (and
 * says why it cannot); each worker has its own SO_REUSEPORT socket of the
 * group and accepts from it in bounded batches. Sockets survive reloads: a
 * listener is found again by its address.
 */
#ifndef DAEMUN_NET_LISTENER_H
#define DAEMUN_NET_LISTENER_H

#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "net/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    LISTENER_ACCEPT_BATCH = 64,
    LISTENER_MODE_DEFAULT = 0666, /* of a UNIX socket's file */
};

/* The sockets of one address: one per worker. Owned by the control thread. */
struct listener_group {
    struct list node;
    struct addr addr;
    int *fds; /* n_fds of them; -1: given to nobody */
    size_t n_fds;
    bool is_inherited;     /* one socket (socket activation), dup'ed to all */
    mode_t mode;           /* of a UNIX socket's file that we made */
    dev_t file_dev;        /* and which file that is: a later one of the */
    ino_t file_ino;        /* same name is not ours to change or remove */
    struct list open_node; /* in the list of all that are open */
};

/*
 * Opens `n_workers` sockets bound to `addr`, or takes an inherited descriptor
 * that is bound to it (LISTEN_FDS of sd_listen_fds(3), read once by
 * listener_inherit): one that has the very same address and port, or path.
 * NULL with a message (port in use: says by which address, and how to find who
 * uses it). `mode` is that of the file of a UNIX socket; at no time have more
 * users access to it. An inherited socket's file stays as it is.
 */
struct listener_group *listener_group_open(const struct addr *addr,
                                           mode_t mode,
                                           size_t n_workers,
                                           int backlog,
                                           struct error *err);
/* Changes the mode of a UNIX socket's file, if it has another one; no other
 * address has a mode. False with a message. */
bool listener_group_set_mode(struct listener_group *g,
                             mode_t mode,
                             struct error *err);
/* Three or four octal digits, such as 0660. */
bool listener_mode_parse(struct str text, mode_t *mode);
/* Closes the control thread's descriptors, and removes the file of a UNIX
 * socket that we made, if the folder lets us. */
void listener_group_close(struct listener_group *g);
/* Reads LISTEN_PID and LISTEN_FDS, marks the descriptors close-on-exec and
 * remembers them; returns how many. Called once, by main. */
size_t listener_inherit(void);

/* One worker's end of a group. */
struct acceptor;
/* A connection came: `fd` is non-blocking, close-on-exec, and now yours. */
typedef void acceptor_fn(struct acceptor *a,
                         int fd,
                         const struct addr *peer,
                         const struct addr *local);
struct acceptor {
    struct loop *loop;
    struct event event;
    int fd;
    acceptor_fn *fn;
    void *owner;
    /* Descriptors run short: by its owner, after open; NULL: nothing can be
     * done. True when some come back by the end of the turn. */
    bool (*on_full)(struct acceptor *a);
    struct timer pause;   /* then: wait 50 ms, never spin */
    uint64_t full_log_ms; /* the last line about it */
    bool is_open;
    bool is_shared; /* by its owner, after open: the socket is inherited, and
                       must go on listening for others when we close */
    bool is_local_known; /* bound to one address: no getsockname per client */
    struct addr local;
};
/* Worker. `fd` is borrowed from the group. */
void acceptor_open(struct acceptor *a,
                   struct loop *loop,
                   int fd,
                   acceptor_fn *fn,
                   void *owner);
/* Accepts nothing for so long; clients wait in the kernel's queue. */
void acceptor_pause(struct acceptor *a, uint32_t for_ms);
/* Accepts what the kernel has queued already, then stops listening (a later
 * acceptor_open on the same descriptor listens again). */
void acceptor_close(struct acceptor *a);

#endif
