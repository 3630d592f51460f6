/*
 * hash_key: what of a request decides its endpoint. A list of parts in the
 * order of the configuration, each length-prefixed into XXH3 with a configured
 * seed, so that ("ab","c") and ("a","bc") differ and two gateways that share
 * nothing agree. Parsed on the control thread, computed on workers; pure.
 */
#ifndef DAEMUN_UPSTREAM_HASH_KEY_H
#define DAEMUN_UPSTREAM_HASH_KEY_H

#include "base/error.h"
#include "base/str.h"
#include "http/head.h"
#include "net/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hash_part_kind {
    HASH_SOURCE_IP,
    HASH_SOURCE_PORT,
    HASH_DESTINATION_IP,
    HASH_DESTINATION_PORT,
    HASH_COOKIE,   /* cookie:NAME */
    HASH_PROTOCOL, /* http/1.0, http/1.1, h2, grpc, websocket */
    HASH_HEADER,   /* header:NAME, first line */
    HASH_QUERY,    /* query:NAME */
    HASH_HOST,
    HASH_PATH,
    HASH_SNI,
    HASH_N_KINDS
};

enum { HASH_N_PARTS_MAX = 16 };

struct hash_part {
    enum hash_part_kind kind;
    struct str name; /* of cookie, header (lower case), query */
};

struct hash_key {
    struct hash_part parts[HASH_N_PARTS_MAX];
    size_t n_parts; /* 0: no key */
    uint64_t seed;
};

/* What a key is computed from. Slices are borrowed. */
struct hash_input {
    const struct addr *source;
    const struct addr *destination;
    const struct head *head; /* canonical host, path, query, cookies */
    struct str sni;
    /*
     * Value that stands for a cookie which the request does not have and the
     * gateway mints: used for the part whose name is minted_name.
     */
    struct str minted_name;
    struct str minted_value;
};

/*
 * Reads "source_ip", "cookie:NAME" ... into the next part; `text` is borrowed
 * by the key and must live as long (header names are lower case already). A
 * message names the valid parts, and the closest one for a misspelt word.
 */
bool hash_key_add(struct hash_key *key, struct str text, struct error *err);
/*
 * False when every part is absent in the request (no such cookie, header,
 * query or SNI): the policy's fallback decides. Absent parts beside present
 * ones count as absent, distinct from empty.
 */
bool hash_key_compute(const struct hash_key *key,
                      const struct hash_input *in,
                      uint64_t *hash);
/* For people: a part as the conf file spells it ("cookie:id"), and its value in
 * a request, addresses as text; p NULL: the request has none. Both in `arena`.
 */
struct str hash_key_part_text(const struct hash_part *part,
                              struct arena *arena);
struct str hash_key_part_value(const struct hash_part *part,
                               const struct hash_input *in,
                               struct arena *arena);
/* The negotiated application protocol of a request, for HASH_PROTOCOL. */
struct str hash_key_protocol(const struct head *h);

#endif
