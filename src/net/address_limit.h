/*
 * address_limit: how many connections one source address (IPv4, or the /64 of
 * an IPv6 address) has open, and how fast it opens them, over all workers. A
 * table of fixed size, counted in two rows by two hashes with a secret seed:
 * the smaller of the two counts never is less than the truth, and it is more
 * only for an address that shares a cell with busy ones in both rows. Nothing
 * is looked up, nothing grows, nobody can fill it. Lives as long as the
 * process; every thread; atomics, no lock.
 * Invariant: of the connections that were let in, never more than n_open_max
 * of one address are open at once. The rate may be overrun by one connection
 * for each other worker.
 */
#ifndef DAEMUN_NET_ADDRESS_LIMIT_H
#define DAEMUN_NET_ADDRESS_LIMIT_H

#include "net/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address_limit;

/* What the settings say; of a snapshot. */
struct address_bounds {
    uint32_t n_open_max;     /* 0: no limit */
    uint32_t rate_per_s;     /* new ones; 0: no limit */
    uint32_t n_burst;        /* as many at once before the rate counts */
    struct addr_net *exempt; /* networks that are not counted */
    size_t n_exempt;
};

enum address_verdict { ADDRESS_OK, ADDRESS_TOO_MANY, ADDRESS_TOO_FAST };

/* Where a connection is counted; zero: nowhere. */
struct address_place {
    uint32_t cells[2];
    bool is_counted;
};

struct address_limit *address_limit_new(void);
void address_limit_free(struct address_limit *a);
/*
 * A connection of `peer` comes at now_us (monotonic). ADDRESS_OK: it is counted
 * until address_limit_leave(place). UNIX sockets and exempt networks always
 * pass, uncounted.
 */
enum address_verdict address_limit_enter(struct address_limit *a,
                                         const struct address_bounds *bounds,
                                         const struct addr *peer,
                                         uint64_t now_us,
                                         struct address_place *place);
/* The connection ended; harmless for one that was not counted, or twice. */
void address_limit_leave(struct address_limit *a, struct address_place *place);

#endif
