/*
 * head: the typed head of one message (or its trailers). Parsed once, changed
 * by filters and hop rules, serialised from these members only. Text lies in
 * the arena of the exchange. One thread; owned by the exchange.
 *
 * Framing is not among the fields: Content-Length, Transfer-Encoding,
 * Connection, Host, Expect, TE, Upgrade and the like are read into typed
 * members by the codec's parser and written from them by the serialiser, so
 * that a field can never contradict the framing.
 * Invariant: names are lower case tokens; values obey R-HDR-4.
 */
#ifndef DAEMUN_HTTP_HEAD_H
#define DAEMUN_HTTP_HEAD_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum name_id {
    NAME_OTHER,
#define NAME(id, name, flags) NAME_##id,
#include "http/names.def"
#undef NAME
    NAME_N
};

enum name_flag {
    NAME_FLAG_HOP = 1,
    NAME_FLAG_ONCE = 2,
    NAME_FLAG_KEEP = 4,
    NAME_FLAG_NOTRAILER = 8,
    NAME_FLAG_FORWARD = 16
};

enum method {
    METHOD_OTHER,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_PATCH,
    METHOD_CONNECT,
    METHOD_TRACE
};

struct field {
    struct str name; /* lower case */
    struct str value;
    enum name_id id;
    bool is_sensitive; /* never indexed by HPACK */
};

struct head {
    struct arena *arena;
    /* request */
    struct str method_text;
    enum method method;
    struct str scheme;    /* "http" or "https" */
    struct str authority; /* canonical host[:port], as forwarded; lower case */
    struct str host;      /* of authority, without port and brackets */
    struct str path;      /* canonical (5.8), with path parameters; or "*" */
    struct str query;     /* without '?'; p NULL: there is none */
    /* response */
    int status;
    /* both */
    uint8_t version; /* 10, 11 or 20: as it was received */
    struct field *fields;
    uint32_t n_fields;
    uint32_t n_fields_cap;
    uint32_t n_bytes;       /* decoded size, names + values + 32 each */
    int64_t content_length; /* -1: not announced */
    bool is_chunked;        /* h1, received */
    bool want_close;        /* peer wants to close after this message */
    bool has_expect;        /* Expect: 100-continue */
    bool has_te_trailers;   /* TE: trailers */
    bool is_websocket;      /* valid upgrade to websocket (5.11) */
    bool is_grpc;           /* content-type application/grpc[+...] */
    struct str upgrade;     /* response 101: the token; request: "websocket" */
};

/* Empty head; content_length -1. */
void head_init(struct head *h, struct arena *arena);
/* The id of a lower-case name, NAME_OTHER when it has none. */
enum name_id name_find(struct str lower_name);
/* Name of an id; flags of an id. */
struct str name_text(enum name_id id);
unsigned name_flags(enum name_id id);
enum method method_find(struct str token);
bool method_is_idempotent(enum method m);
/*
 * Appends; text is NOT copied (it must live in the arena or for ever). `name`
 * must be lower case. False when the arena is at its limit.
 */
bool head_add(struct head *h,
              enum name_id id,
              struct str name,
              struct str value);
/* Copies both into the arena first, lower-casing the name. */
bool head_add_copy(struct head *h, struct str name, struct str value);
/* First field of that id / name; NULL when absent. */
struct field *head_find(const struct head *h, enum name_id id);
struct field *head_find_name(const struct head *h, struct str lower_name);
/* Replaces all lines of that name by one. `name` and `value` as head_add. */
bool head_set(struct head *h, struct str lower_name, struct str value);
/* Removes all lines of that name; returns how many. */
size_t head_remove(struct head *h, struct str lower_name);
size_t head_remove_id(struct head *h, enum name_id id);
/* Value of cookie NAME in the Cookie fields; p NULL when absent. */
struct str head_cookie(const struct head *h, struct str name);
/* Value (raw, undecoded) of query parameter NAME; p NULL when absent. */
struct str head_query(const struct head *h, struct str name);
/* Grammar checks, for parsers and configuration. */
bool name_is_valid(struct str s);  /* 1*tchar */
bool value_is_valid(struct str s); /* R-HDR-4 */
/* True when the comma list `value` has `token` (any case). */
bool value_has_token(struct str value, struct str token);

#endif
