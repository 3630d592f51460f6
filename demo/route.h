/*
 * route: which handler of the demo server a request goes to.
 */
#ifndef DEMO_ROUTE_H
#define DEMO_ROUTE_H

#include "call.h"

/* Sets `data` and `end` of a call whose head is complete. Never NULL `end`. */
void route_call(struct call *c);

/* The handlers, one per file; each answers true when the path is its own. */
bool tools_route(struct call *c);
bool rest_route(struct call *c);
bool grpc_route(struct call *c);

#endif
