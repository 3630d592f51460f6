/*
 * route: see route.h.
 */
#include "route.h"

static void route_not_found(struct call *c)
{
    call_reply(c, 404, "text/plain", "The demo server has no such path.\n");
}

void route_call(struct call *c)
{
    if (!grpc_route(c) && !rest_route(c) && !tools_route(c)) {
        c->end = route_not_found;
    }
}
