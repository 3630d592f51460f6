/*
 * reply: answers that the gateway makes itself: faults, redirects and fixed
 * answers. A fault says in one line what happened and carries the request id;
 * to a gRPC call it is a status. Worker thread; part of the exchange.
 */
#include "http/grpc.h"
#include "http/h1.h"
#include "proxy/exchange.h"

#include <stdio.h>

/* Adds a field whose value is made in the arena; false at its limit. */
static bool reply_add(struct head *h, enum name_id id, struct str value)
{
    return value.p != NULL && head_add(h, id, name_text(id), value);
}

/* The fields that every answer of ours has. */
static bool reply_stamp(struct exchange *x, struct head *h)
{
    return reply_add(h, NAME_DATE, arena_copy(&x->arena, worker_date(x->w))) &&
           reply_add(h, NAME_X_REQUEST_ID, x->request_id);
}

static bool reply_begin(struct exchange *x, struct head *h, int status)
{
    head_init(h, &x->arena);
    h->status = status;
    return reply_stamp(x, h);
}

/* RFC 9110 8.6: a 204 has no Content-Length, and that of a 304 would be the
 * length of what the client has already, which we do not know. */
static int64_t reply_length(int status, size_t len)
{
    return status == 204 || status == 304 ? -1 : (int64_t)len;
}

static bool reply_may_have_body(int status)
{
    return status != 204 && status != 205 && status != 304;
}

/* Sends a finished answer and ends the exchange. */
static void reply_send(struct exchange *x, struct head *h, struct str body)
{
    const size_t len = reply_may_have_body(h->status) ? body.len : 0;
    /* The codec knows the method of a request whose head was refused too. */
    const bool has_body = len > 0 && x->cs->method != METHOD_HEAD;
    h->content_length = reply_length(h->status, len);
    x->step = STEP_REPLY;
    x->response = h;
    x->status = h->status;
    x->is_head_sent = true;
    stream_send_head(x->cs, h, !has_body);
    if (has_body) {
        stream_send_data(x->cs, (const uint8_t *)body.p, body.len, true);
        x->download.n_bytes += body.len;
    }
    x->download.is_done = true;
}

static struct head *reply_new(struct exchange *x)
{
    struct head *h = arena_take_zero(&x->arena, sizeof(*h));
    return h;
}

/* No memory left for an answer: the stream is cut. */
static void reply_give_up(struct exchange *x)
{
    x->status = 0;
    stream_reset(x->cs, FAULT_OVERLOAD);
}

/* Clients of application/grpc+json and the like insist on their own type. */
static bool reply_grpc_type(const struct exchange *x, struct head *h)
{
    const struct field *type = head_find(x->h, NAME_CONTENT_TYPE);
    return type == NULL ||
           head_set(h, name_text(NAME_CONTENT_TYPE), type->value);
}

static void reply_grpc(struct exchange *x, const struct fault_row *row)
{
    struct head *h = reply_new(x);
    if (h == NULL || !reply_begin(x, h, 200) ||
        !grpc_reply(h, row->grpc_status, row->text) || !reply_grpc_type(x, h)) {
        reply_give_up(x);
        return;
    }
    x->grpc_status = row->grpc_status;
    x->response = h;
    x->status = h->status;
    x->is_head_sent = true;
    x->download.is_done = true;
    stream_send_head(x->cs, h, true);
}

/* RFC 9110 15.5.6: always there. Without a route these are all that we know;
 * others pass as well. */
static bool reply_add_allow(const struct exchange *x, struct head *h)
{
    const struct str all = STR("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");
    return head_add(h, NAME_OTHER, STR("allow"),
                    x->allow.p != NULL ? x->allow : all);
}

/* Clients that were refused together shall not come back together. */
static struct str reply_retry_after(struct exchange *x)
{
    static const char *const seconds[] = {"1", "2", "3"};
    return str_from(seconds[loop_random(x->w->loop) % 3]);
}

static bool reply_add_for_status(struct exchange *x, struct head *h, int status)
{
    if (status == 503) {
        return reply_add(h, NAME_RETRY_AFTER, reply_retry_after(x));
    }
    return status != 405 || reply_add_allow(x, h);
}

void reply_fault(struct exchange *x, enum fault f)
{
    const struct fault_row *row = fault_row(f);
    if (x->cs == NULL || x->is_head_sent) {
        return;
    }
    if (row->status == 0 || (x->cs->is_dead && !x->cs->can_answer) ||
        f == FAULT_CLIENT_GONE || f == FAULT_RESET_BY_CLIENT) {
        x->status = row->status;
        stream_reset(x->cs, f);
        return;
    }
    if (x->h != NULL && x->h->is_grpc && x->h->version == 20) {
        reply_grpc(x, row);
        return;
    }
    struct head *h = reply_new(x);
    const struct str body =
        arena_print(&x->arena, "%d %.*s: %.*s (request id %.*s)\n", row->status,
                    STR_ARG(h1_reason(row->status)), STR_ARG(row->text),
                    STR_ARG(x->request_id));
    if (h == NULL || body.p == NULL || !reply_begin(x, h, row->status) ||
        !reply_add(h, NAME_CONTENT_TYPE, STR("text/plain")) ||
        !reply_add_for_status(x, h, row->status)) {
        reply_give_up(x);
        return;
    }
    reply_send(x, h, body);
}

static void reply_redirect(struct exchange *x, int status, struct str to)
{
    struct head *h = reply_new(x);
    if (h == NULL || !value_is_valid(to) || !reply_begin(x, h, status) ||
        !reply_add(h, NAME_LOCATION, to)) {
        reply_give_up(x);
    } else {
        reply_send(x, h, STR_NONE);
    }
    exchange_finish(x);
}

void reply_to_https(struct exchange *x)
{
    const struct head *h = x->h;
    const bool has_query = h->query.p != NULL;
    if (h->host.len == 0) {
        exchange_fail(x, FAULT_BAD_HOST, STR_NONE); /* HTTP/1.0: whereto? */
        return;
    }
    /* The port of a plain listener means nothing on the TLS one. */
    const bool is_v6 = str_find_char(h->host, ':') < h->host.len;
    const struct str path = str_eq(h->path, STR("*")) ? STR("/") : h->path;
    const struct listener *tls = NULL;
    for (size_t i = 0; i < x->snap->n_listeners && tls == NULL; i++) {
        tls = x->snap->listeners[i].tls != NULL ? &x->snap->listeners[i] : NULL;
    }
    char port[8] = "";
    if (tls != NULL && addr_port(&tls->addr) != 443) {
        snprintf(port, sizeof(port), ":%u", addr_port(&tls->addr));
    }
    reply_redirect(x, 308,
                   arena_print(&x->arena, "https://%s%.*s%s%s%.*s%s%.*s",
                               is_v6 ? "[" : "", STR_ARG(h->host),
                               is_v6 ? "]" : "", port, STR_ARG(path),
                               has_query ? "?" : "", STR_ARG(h->query)));
}

void reply_options(struct exchange *x)
{
    struct head *h = reply_new(x);
    if (x->route != NULL) {
        route_allow(x->route, &x->arena, &x->allow);
    }
    if (h == NULL || !reply_begin(x, h, 200) || !reply_add_allow(x, h)) {
        reply_give_up(x);
    } else {
        reply_send(x, h, STR_NONE);
    }
    exchange_finish(x);
}

void reply_route(struct exchange *x)
{
    const struct route *r = x->route;
    if (r->action == ROUTE_REDIRECT) {
        reply_redirect(x, r->status, route_location(r, &x->arena, x->h));
        return;
    }
    struct head *h = reply_new(x);
    if (h == NULL || !reply_begin(x, h, r->status) ||
        (r->body.len > 0 &&
         !reply_add(h, NAME_CONTENT_TYPE, r->content_type)) ||
        !route_edit(&r->response_edits, h)) {
        reply_give_up(x);
    } else {
        reply_send(x, h, r->body);
    }
    exchange_finish(x);
}

void reply_filter(struct exchange *x, struct head *h, struct str body)
{
    head_remove_id(h, NAME_DATE);
    head_remove_id(h, NAME_X_REQUEST_ID);
    if (!reply_stamp(x, h) || !route_edit(&x->route->response_edits, h)) {
        reply_give_up(x);
    } else {
        reply_send(x, h, body);
    }
    exchange_finish(x);
}
