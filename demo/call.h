/*
 * call: one request and its answer, as the demo server's handlers see it. The
 * two transports (h1, h2) fill in the request and drain the answer; a handler
 * never knows which of them it talks to.
 *
 * One thread. A call belongs to its transport, which makes it when a head is
 * complete and frees it after the answer left or the peer went away.
 *
 * An answer is a head, bytes in `out`, and perhaps trailers. A handler that
 * cannot say everything at once either sets `more`, which is asked for bytes
 * whenever `out` ran empty, or appends later and calls call_wake().
 */
#ifndef DEMO_CALL_H
#define DEMO_CALL_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALL_FIELDS_MAX 128
#define CALL_BODY_MAX (16u << 20)
#define CALL_BODIES_MAX (256u << 20) // gathered by all calls together

struct call_field {
    char *name;
    char *value;
};

struct call_fields {
    struct call_field at[CALL_FIELDS_MAX];
    size_t n;
};

struct call {
    struct event_base *base;
    const char *server_name;
    const char *protocol; // "http/1.0", "http/1.1" or "h2"

    char *method;
    char *path; // with its query
    char *authority;
    struct call_fields fields; // as received, in order
    struct evbuffer *body;
    uint64_t body_len;

    // What the handler set at the head: each piece of the body goes to `data`
    // where it is set, else it is gathered in `body`; `end` comes once, after
    // the last piece.
    void (*data)(struct call *c, const uint8_t *bytes, size_t len);
    void (*end)(struct call *c);

    int status; // 0 until the answer has a head
    struct call_fields reply_fields;
    struct call_fields trailers;
    struct evbuffer *out;
    int64_t out_len; // of the whole answer body, -1: not known
    bool ended;
    bool hold_credit; // the request's window opens only as `out` drains (h2)
    bool refused;     // answered before the request's end; the rest is dropped
    void (*more)(struct call *c);

    // State of a handler that answers over time.
    struct event *timer;
    uint64_t left;
    int gap_ms;
    struct evbuffer *scratch;

    void (*wake)(struct call *c);
    void *transport;
};

/* A zeroed object; aborts where there is no memory. */
void *call_alloc(size_t size);

/* Copies `len` bytes as a string; aborts where there is no memory. */
char *call_strndup(const void *bytes, size_t len);

struct call *call_new(struct event_base *base, const char *server_name);
void call_free(struct call *c);

/* Adds a copy of one field; false when there are too many. */
bool call_fields_add(struct call_fields *f,
                     const void *name,
                     size_t name_len,
                     const void *value,
                     size_t value_len);

/* The first request field of that (lower case) name, or NULL. */
const char *call_field(const struct call *c, const char *name);

/* A number out of the query (?name=5), or `otherwise`; never above `max`. */
uint64_t call_query(const struct call *c,
                    const char *name,
                    uint64_t otherwise,
                    uint64_t max);

/* Is the path, without its query, exactly this? */
bool call_path_is(const struct call *c, const char *path);

/* What a transport calls as the body arrives and ends. */
void call_request_data(struct call *c, const uint8_t *bytes, size_t len);
void call_request_end(struct call *c);

/* The head of the answer; the body follows in `out`. */
void call_head(struct call *c, int status, const char *content_type);
void call_reply_field(struct call *c, const char *name, const char *value);
void call_trailer(struct call *c, const char *name, const char *value);

/* A whole answer at once. */
void call_reply(struct call *c,
                int status,
                const char *content_type,
                const char *text);

/* Forgets an answer of which nothing was sent. */
void call_take_back(struct call *c);

/* Nothing more will be appended. */
void call_end(struct call *c);

/* Tells the transport that there is something to send. */
void call_wake(struct call *c);

/* Calls `f` once, after `ms`. */
void call_timer(struct call *c, int ms, event_callback_fn f);

#endif
