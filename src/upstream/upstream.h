/*
 * upstream: a named set of endpoints with a balancing policy, a hash key, its
 * TLS trust and its timeouts. Built on the control thread, immutable on
 * workers except for the cursors, of which each worker writes its own.
 * Owned by the snapshots that share it (n_refs, control thread): an upstream
 * that a reload did not change is the same object in the new snapshot.
 */
#ifndef DAEMUN_UPSTREAM_UPSTREAM_H
#define DAEMUN_UPSTREAM_UPSTREAM_H

#include "base/str.h"
#include "http/codec.h"
#include "net/addr.h"
#include "net/tls.h"
#include "upstream/balance.h"
#include "upstream/hash_key.h"
#include "upstream/scoreboard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum upstream_protocol {
    UPSTREAM_HTTP1, /* HTTP/1.1; over TLS when tls is given */
    UPSTREAM_H2C,   /* HTTP/2 with prior knowledge, no TLS */
    UPSTREAM_H2,    /* HTTP/2 over TLS */
    UPSTREAM_AUTO,  /* over TLS, ALPN decides */
};

struct upstream;

struct endpoint {
    struct addr addr;
    struct str id; /* text of addr; stable over reloads and machines */
    struct slot *slot;
    struct upstream *upstream;
    struct tls_client *tls; /* one reference is ours; NULL: plain */
    uint32_t n_conns_max;   /* over all workers */
};

enum check_kind {
    CHECK_NONE, /* no health checks */
    CHECK_TCP,  /* it takes a connection */
    CHECK_HTTP, /* it answers GET with a good status */
    CHECK_GRPC, /* grpc.health.v1 says SERVING */
};

/* How the endpoints of an upstream are probed. */
struct check {
    enum check_kind kind;
    struct str path;    /* HTTP, with its query */
    struct str host;    /* p NULL: that of the upstream, else the address */
    struct str service; /* gRPC; empty: the server as a whole */
    int status_min;     /* HTTP: a good status is in this range */
    int status_max;
    uint16_t port; /* 0: that of the endpoint */
    uint32_t interval_ms;
    uint32_t timeout_ms;
    uint32_t rise;
    uint32_t fall;
};

/* When requests that fail take an endpoint out. */
struct ejection {
    uint32_t n_failures; /* in a row; 0: never */
    uint32_t base_ms;
    uint32_t max_ms;
    uint32_t max_percent; /* of the endpoints, at once */
};

/* A cookie that the gateway gives to the client. */
struct cookie_rule {
    struct str name; /* p NULL: none */
    struct str path;
    uint32_t ttl_seconds; /* 0: until the browser closes */
};

struct upstream {
    struct str name;
    enum upstream_protocol protocol;
    struct str host;            /* Host to send; p NULL: that of the client */
    struct endpoint *endpoints; /* sorted by id */
    struct balance_endpoint *balance_endpoints;
    size_t n_endpoints;
    struct balance *balance;
    struct balance_cursor *cursors; /* one per worker */
    struct hash_key key;
    struct cookie_rule mint;   /* stands in for a missing cookie of the key */
    struct cookie_rule sticky; /* remembers the endpoint itself */
    struct check check;
    struct ejection ejection;
    uint32_t slow_start_ms;       /* 0: off */
    uint32_t healthy_min_percent; /* fewer up: all are used */
    const struct codec_limits *limits;
    struct slot *slot; /* of the whole upstream */
    uint32_t connect_timeout_ms;
    uint32_t response_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t keep_alive_idle_ms;
    uint32_t n_keep_alive_max; /* idle connections per worker and endpoint */
    uint32_t n_queue_max;      /* requests that may wait for a place */
    uint32_t queue_timeout_ms;
    uint32_t n_retries_max;
    uint32_t retry_budget_percent; /* of the requests that run */
    uint32_t n_retry_budget_min;
    uint32_t retry_grpc_codes; /* bit n: an answer with code n is retried */
    uint32_t n_refs;           /* control thread: snapshots that hold it */
    struct str fingerprint;    /* everything it was built from, to share it */
    struct arena arena;        /* the texts */
};

/* Opaque value of the sticky cookie for an endpoint: 16 hex digits of
 * XXH3(id, seed of the key); dst holds 17 bytes. */
struct str upstream_sticky_value(const struct upstream *up,
                                 size_t index,
                                 char dst[static 17]);
/* Index of the endpoint that a sticky cookie names, or -1. */
int upstream_sticky_find(const struct upstream *up, struct str value);
/* Frees tables, texts, the TLS reference; the slots were given back before. */
void upstream_free(struct upstream *up);

#endif
