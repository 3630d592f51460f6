/*
 * conn: one accepted connection of the demo server. It waits for the first
 * bytes, decides whether they are HTTP/2's preface or HTTP/1, and hands the
 * bufferevent over to that transport, which owns it from then on.
 */
#ifndef DEMO_CONN_H
#define DEMO_CONN_H

#include <event2/bufferevent.h>

struct conn_server {
    struct event_base *base;
    const char *name;
};

/* Takes an accepted, non-blocking descriptor. `server` outlives it. */
void conn_accept(const struct conn_server *server, evutil_socket_t fd);

/* The transports; each takes over a bufferevent that may hold input. */
void h1_start(const struct conn_server *server, struct bufferevent *bev);
void h2_start(const struct conn_server *server, struct bufferevent *bev);

#endif
