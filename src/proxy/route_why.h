/*
 * route_why: why a route does not get a request, in words. For people who ask
 * (daemun explain); the winner itself comes from route_find. Pure over a built
 * table's routes; control thread, never on the way of a request.
 */
#ifndef DAEMUN_PROXY_ROUTE_WHY_H
#define DAEMUN_PROXY_ROUTE_WHY_H

#include "proxy/route.h"

/* Is the route for this host at all? */
bool route_why_has_host(const struct route *r, struct str host);
/*
 * What is against `r` in the request of `m`, which goes to `winner` (NULL: to
 * none). The first condition that does not hold, else what sets the winner
 * before it. Text in m->arena; p NULL at its limit.
 */
struct str route_why(const struct route *r,
                     const struct route *winner,
                     const struct route_match *m);

#endif
