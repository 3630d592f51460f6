/*
 * exchange: a request and its response, as a filter sees it. Worker thread,
 * from on_request to on_done of a filter. Text that is returned stays valid
 * until on_done returns, also when the field it came from is changed; text
 * that is given is copied.
 *
 * The head of the request may be changed in on_request and while waiting
 * there; that of the response in on_response and while waiting there. At other
 * times such a function does nothing and returns false.
 */
#ifndef DAEMUN_EXCHANGE_H
#define DAEMUN_EXCHANGE_H

#include <daemun/api.h>
#include <daemun/str.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;
struct loop; /* the worker's event loop */

enum dm_message { DM_REQUEST, DM_RESPONSE };

/* ---- what is asked ---- */

/* "GET", as the client wrote it. */
DM_API struct str dm_method(const struct exchange *x);
/* "https" when the client's connection is TLS, else "http". */
DM_API struct str dm_scheme(const struct exchange *x);
/* The host, lower case, without port and brackets. */
DM_API struct str dm_host(const struct exchange *x);
/* The path in canonical form, as the route was chosen by it. */
DM_API struct str dm_path(const struct exchange *x);
/* What follows '?', not decoded; p NULL when there is no '?'. */
DM_API struct str dm_query(const struct exchange *x);
/* The path for the upstream: "/" first, no '?' and '#'. The route stays the
 * one that was chosen. False when it is malformed or there is no room. */
DM_API bool dm_path_set(struct exchange *x, struct str path);
/* The query for the upstream; DM_STR_NONE removes it. As dm_path_set. */
DM_API bool dm_query_set(struct exchange *x, struct str query);

/* ---- who asks ---- */

/* The client's address as text, without port, "unix:..." for a UNIX socket.
 * After the PROXY protocol, where a listener takes it. */
DM_API struct str dm_peer(struct exchange *x);
/* Its bytes in network order: 4 (also for IPv4 mapped into IPv6) or 16; len 0
 * for a UNIX socket. */
DM_API struct str dm_peer_bytes(const struct exchange *x);

/* ---- the exchange itself ---- */

/* The name of the route. */
DM_API struct str dm_route(const struct exchange *x);
/* The request id, as in the access log and in X-Request-Id. */
DM_API struct str dm_request_id(const struct exchange *x);
/* The status of the response; 0 while there is none. */
DM_API int dm_status(const struct exchange *x);
/* What went wrong, the word of docs/faults.md; "-" when nothing did. */
DM_API struct str dm_fault(const struct exchange *x);
/* Microseconds since the exchange began. */
DM_API uint64_t dm_duration_us(const struct exchange *x);
/* Body bytes from the client so far, before any edit. */
DM_API uint64_t dm_bytes_received(const struct exchange *x);
/* Body bytes of the response so far, before any edit. */
DM_API uint64_t dm_bytes_sent(const struct exchange *x);
/* Memory that goes with the exchange, 16-byte aligned, zeroed. NULL when the
 * exchange has had its share (512 KiB in all). */
DM_API void *dm_alloc(struct exchange *x, size_t size);

/* ---- header fields ---- */

/*
 * Names are given in any case. Fields that frame the message (Host,
 * Content-Length, Transfer-Encoding, Connection, Upgrade, TE, Trailer, Expect,
 * Keep-Alive, Proxy-*) are not among the fields; setting one returns false, as
 * do a malformed name or value and a lack of room.
 */

/* The value of the first field of that name; p NULL when there is none. */
DM_API struct str
dm_header_get(const struct exchange *x, enum dm_message m, struct str name);
/* The field at `index`, from 0; false beyond the last. Names are lower case. */
DM_API bool dm_header_at(const struct exchange *x,
                         enum dm_message m,
                         size_t index,
                         struct str *name,
                         struct str *value);
/* Makes it the only field of that name. */
DM_API bool dm_header_set(struct exchange *x,
                          enum dm_message m,
                          struct str name,
                          struct str value);
/* Adds a field and leaves others of that name alone. */
DM_API bool dm_header_add(struct exchange *x,
                          enum dm_message m,
                          struct str name,
                          struct str value);
/* Removes all fields of that name; returns how many there were. */
DM_API size_t dm_header_remove(struct exchange *x,
                               enum dm_message m,
                               struct str name);

/* ---- the response ---- */

/* Changes the status of the response, 200 to 599. Not to or from 204 and 304,
 * which frame the message. */
DM_API bool dm_status_set(struct exchange *x, int status);
/*
 * Sets the answer that DM_REPLY gives: status 200 to 599, a body (may be
 * empty; none with 204 and 304) and its type (p NULL: none). Further fields:
 * dm_header_add(x, DM_RESPONSE, ...) after it. False when something of it is
 * malformed or too large; do not return DM_REPLY then.
 */
DM_API bool dm_reply(struct exchange *x,
                     int status,
                     struct str content_type,
                     struct str body);

/* ---- waiting ---- */

/*
 * Ends DM_WAIT: the exchange goes on at the end of this turn of the worker.
 * May be called before the hook has returned DM_WAIT. Does nothing when the
 * exchange does not wait. On the exchange's own worker only.
 */
DM_API void dm_resume(struct exchange *x);
/* As dm_resume, after that many milliseconds. */
DM_API void dm_resume_after(struct exchange *x, uint32_t after_ms);
/* The loop of the worker that serves x, for dm_post. */
DM_API struct loop *dm_loop(const struct exchange *x);
/* What dm_post has called, on the worker's thread. */
typedef void dm_post_fn(struct loop *loop, void *arg);
/*
 * Any thread: has `fn(loop, arg)` called on the worker of that loop. This is
 * the way back from a thread of the module. The loop is sure to be there
 * while an exchange of it has not had its on_done; so a module that gives work
 * to a thread has on_done tell the thread that nobody waits any more, and
 * posts no more after that.
 */
DM_API void dm_post(struct loop *loop, dm_post_fn *fn, void *arg);
/* The worker's monotonic clock in milliseconds, read once a turn. */
DM_API uint64_t dm_now_ms(const struct exchange *x);

#endif
