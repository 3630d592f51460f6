/*
 * resolve: names to addresses, on the control thread only (it blocks). Sorted
 * by address so that every gateway sees the same order.
 */
#ifndef DAEMUN_NET_RESOLVE_H
#define DAEMUN_NET_RESOLVE_H

#include "base/error.h"
#include "net/addr.h"

#include <stddef.h>

enum { RESOLVE_N_MAX = 64 };

/*
 * "host:port", "[v6]:port" or "unix:/path" to at most RESOLVE_N_MAX distinct
 * addresses. Returns how many; 0 with a message that names the host and what
 * the resolver said.
 */
size_t resolve(struct str text, struct addr *addrs, struct error *err);

#endif
