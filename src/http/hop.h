/*
 * hop: what changes when a message crosses a proxy (rules R-HOP, 5.7, 5.14;
 * RFC 9110 7.6, RFC 7239). Pure over heads; worker thread.
 */
#ifndef DAEMUN_HTTP_HOP_H
#define DAEMUN_HTTP_HOP_H

#include "base/str.h"
#include "http/head.h"
#include "net/addr.h"

#include <stdbool.h>

struct hop {
    const struct addr *peer;   /* the client, after PROXY protocol */
    const struct addr *local;  /* where it arrived */
    struct str scheme;         /* "http" or "https" */
    struct str request_id;     /* 36 characters; used when none is trusted */
    struct str client_subject; /* verified client certificate; p NULL: none */
    struct str client_fingerprint;
    bool is_peer_trusted; /* keeps and appends what the peer forwarded */
    bool has_forwarded;   /* also write RFC 7239 Forwarded */
};

/*
 * Request on its way to an upstream: on untrusted peers removes X-Forwarded-*,
 * Forwarded, X-Real-IP, X-Request-Id, and always our own x-daemun-* fields and
 * x-client-cert-subject / x-client-cert-sha256; then writes them anew
 * (x-forwarded-for appended when the peer is trusted). Returns the request id
 * in force. False when the arena is at its limit.
 */
bool hop_request(struct head *h, const struct hop *hop, struct str *request_id);
/* Response on its way to the client: removes x-daemun-* and hop-by-hop
 * leftovers. */
void hop_response(struct head *h);
/*
 * For parsers: removes from h->fields what a Connection list names (R-HOP-1,
 * R-HOP-2); counts ignored listings in *n_glitches. FAULT_BAD_REQUEST when it
 * names Transfer-Encoding or Content-Length.
 */
enum fault
hop_connection(struct head *h, struct str list, unsigned *n_glitches);
/* True when the trailer name may pass (5.7). */
bool hop_trailer_may_pass(enum name_id id, struct str name);

#endif
