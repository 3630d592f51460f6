/*
 * client: a client's connection from accept to its end: PROXY header, TLS,
 * choice of the codec, and what all its requests have in common. Worker
 * thread; owned by the worker's list. While it is being set up it pins the
 * snapshot whose TLS objects it uses; later it needs none.
 */
#ifndef DAEMUN_PROXY_CLIENT_H
#define DAEMUN_PROXY_CLIENT_H

#include "http/codec.h"
#include "proxy/worker.h"

#include <stdbool.h>

struct client {
    struct list node; /* in worker->clients */
    struct worker *worker;
    struct conn *conn;     /* NULL while the PROXY header is awaited */
    struct codec *codec;   /* NULL until the protocol is known */
    struct snapshot *snap; /* pinned during the set-up only */
    unsigned listener_id;
    const struct codec_limits *limits;
    struct client_proxy_wait *wait;
    char *subject; /* of a verified certificate; NULL: none */
    char *fingerprint;
    struct list handshake_node; /* in worker->handshakes while it lasts */
    struct address_place place; /* where its source address is counted */
    bool is_trusted;            /* its X-Forwarded-* are kept */
    bool has_forwarded;         /* Forwarded is written for it */
    bool is_h2_allowed;
    bool is_http1_allowed;
};

/* A connection was accepted for listener `l` of the worker's snapshot. Takes
 * the descriptor. */
void client_accept(struct worker *w,
                   const struct listener *l,
                   int fd,
                   const struct addr *peer,
                   const struct addr *local);
/* Ends gently (drain). */
void client_drain(struct client *c);
/* Ends it when it has no request and is past its set-up: HTTP/1 by the end of
 * the turn, HTTP/2 gently. True when its descriptor comes back then. */
bool client_close_idle(struct client *c);
/* Ends at once. */
void client_close(struct client *c);

#endif
