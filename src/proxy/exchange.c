/*
 * exchange: the steps of a request, one function each and one table that names
 * them, and the events of the client's stream. See exchange.h. What moves
 * bytes is in forward.c, what chooses endpoints in pick.c, what answers in
 * reply.c.
 */
#include "proxy/exchange.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "http/grpc.h"
#include "http/hop.h"
#include "http/uri.h"
#include "http/websocket.h"
#include "proxy/filter.h"

#include <stdio.h>

/* A step: true goes on to the next one, false: waits, or has finished. */
typedef bool exchange_step_fn(struct exchange *x);

/* Makes the error of a step: fails the exchange and stops the steps. */
static bool exchange_refuse(struct exchange *x, enum fault f)
{
    exchange_fail(x, f, STR_NONE);
    return false;
}

static bool exchange_has_body(const struct exchange *x)
{
    return !x->upload.is_done &&
           (x->h->content_length != 0 || x->h->is_chunked);
}

/* R-LEN-8: GET and HEAD carry no content, unless the route wants it; h2 may
 * announce it only later. */
static bool exchange_is_body_allowed(const struct exchange *x)
{
    const bool is_bodyless =
        x->h->method == METHOD_GET || x->h->method == METHOD_HEAD;
    if (!is_bodyless || x->upload.is_done || x->route->is_get_body_allowed) {
        return true;
    }
    return x->h->version == 20 ? x->h->content_length <= 0
                               : !x->h->is_chunked && x->h->content_length <= 0;
}

/* R-HST-5: the certificate of the connection must be good for the host. */
static bool exchange_is_directed(const struct exchange *x)
{
    const struct conn *c = x->client->conn;
    const struct str sni = conn_is_tls(c) ? conn_sni(c) : STR_NONE;
    if (sni.p == NULL || str_eq(sni, x->h->host)) {
        return true;
    }
    const struct listener *l =
        snapshot_listener(x->snap, x->client->listener_id);
    return l == NULL || l->tls == NULL ||
           tls_server_covers(l->tls, sni, x->h->host);
}

static void exchange_note_head(struct exchange *x)
{
    const struct head *h = x->h;
    x->log_method = h->method_text;
    x->log_host = h->authority;
    x->log_path = h->path;
    if (h->query.p != NULL) {
        x->log_path = arena_print(&x->arena, "%.*s?%.*s", STR_ARG(h->path),
                                  STR_ARG(h->query));
    }
}

/* The deadline that a gRPC client gives to its call. */
static bool exchange_read_deadline(struct exchange *x)
{
    const struct field *f = head_find(x->h, NAME_GRPC_TIMEOUT);
    uint64_t timeout_us;
    if (!x->h->is_grpc || f == NULL) {
        return true;
    }
    if (!grpc_timeout_parse(f->value, &timeout_us)) {
        return false;
    }
    /* Down: the upstream is told no more time than the client gave. */
    const uint64_t timeout_ms = timeout_us < 1000 ? 1 : timeout_us / 1000;
    x->deadline_ms = x->w->loop->now_ms + timeout_ms;
    return true;
}

/* Rebuilds what is told about the client (5.14) and takes the request id. */
static bool exchange_cross(struct exchange *x)
{
    const struct client *c = x->client;
    const struct hop hop = {
        .peer = &c->conn->peer,
        .local = &c->conn->local,
        .scheme = conn_is_tls(c->conn) ? STR("https") : STR("http"),
        .request_id = x->request_id,
        .client_subject = str_from(c->subject),
        .client_fingerprint = str_from(c->fingerprint),
        .is_peer_trusted = c->is_trusted,
        /* What a trusted peer began must not end short of us. */
        .has_forwarded =
            c->has_forwarded ||
            (c->is_trusted && head_find(x->h, NAME_FORWARDED) != NULL),
    };
    return hop_request(x->h, &hop, &x->request_id);
}

/* At Max-Forwards 0 we are the last recipient (RFC 9110 7.6.2). Asked before
 * the count goes down. */
static bool exchange_is_last(const struct exchange *x)
{
    const struct field *f = head_find(x->h, NAME_MAX_FORWARDS);
    uint64_t left = 1;
    return x->h->method == METHOD_OPTIONS && f != NULL &&
           str_to_u64(f->value, &left) && left == 0;
}

static bool exchange_admit(struct exchange *x)
{
    exchange_note_head(x);
    if (!exchange_read_deadline(x)) {
        return exchange_refuse(x, FAULT_BAD_REQUEST);
    }
    x->is_last_recipient = exchange_is_last(x);
    if (!exchange_cross(x)) {
        return exchange_refuse(x, FAULT_HEAD_TOO_LARGE);
    }
    if (!exchange_is_directed(x)) {
        return exchange_refuse(x, FAULT_MISDIRECTED);
    }
    const struct listener *l =
        snapshot_listener(x->snap, x->client->listener_id);
    if (l != NULL && l->is_redirecting) {
        reply_to_https(x);
        return false;
    }
    return true;
}

static bool exchange_is_websocket_ok(const struct exchange *x)
{
    return !x->h->is_websocket || x->route->is_websocket_allowed;
}

/* "*" is about the server, which for the client is the gateway (RFC 9110
 * 9.3.7), and no rule for a path guards it. */
static bool exchange_is_server_wide(const struct exchange *x)
{
    return str_eq(x->h->path, STR("*"));
}

/* What the route does not allow of this request; FAULT_NONE: nothing. */
static enum fault exchange_forbidden(const struct exchange *x)
{
    const uint64_t max = x->route->max_body_bytes;
    if (!exchange_is_body_allowed(x)) {
        return FAULT_BODY_UNWANTED;
    }
    if (max > 0 && x->h->content_length > 0 &&
        (uint64_t)x->h->content_length > max) {
        return FAULT_BODY_TOO_LARGE;
    }
    if (!x->route->is_encoded_slash_allowed &&
        uri_has_encoded_slash(x->h->path)) {
        return FAULT_BAD_TARGET;
    }
    return FAULT_NONE;
}

static bool exchange_find_route(struct exchange *x)
{
    const struct route_match m = {
        .head = x->h,
        .listener_id = x->client->listener_id,
        .arena = &x->arena,
        .scratch = x->w->scratch,
        .allow = &x->allow,
    };
    enum fault f;
    x->route = route_find(x->snap->routes, &m, &f);
    return x->route != NULL || exchange_refuse(x, f);
}

static bool exchange_route(struct exchange *x)
{
    const bool is_server_wide = exchange_is_server_wide(x);
    if (!is_server_wide && !exchange_find_route(x)) {
        return false;
    }
    if (is_server_wide || x->is_last_recipient) {
        reply_options(x);
        return false;
    }
    const enum fault f = exchange_forbidden(x);
    if (f != FAULT_NONE) {
        return exchange_refuse(x, f);
    }
    if (!exchange_is_websocket_ok(x)) {
        x->h->is_websocket = false; /* an ordinary request then (5.11) */
    }
    return true;
}

/* Filters, the route's own edits, and the answer to Expect. */
static bool exchange_request(struct exchange *x)
{
    if (!filter_request(x)) {
        return false;
    }
    if (x->route->action == ROUTE_REDIRECT ||
        x->route->action == ROUTE_ANSWER) {
        reply_route(x);
        return false;
    }
    if (!route_edit(&x->route->request_edits, x->h)) {
        return exchange_refuse(x, FAULT_HEAD_TOO_LARGE);
    }
    if (x->h->has_expect && exchange_has_body(x)) {
        struct head interim;
        head_init(&interim, &x->arena);
        interim.status = 100;
        stream_send_head(x->cs, &interim, false);
    }
    return true;
}

static bool exchange_wait(struct exchange *x)
{
    (void)x;
    return false; /* events go on from here */
}

static const struct {
    const char *name;
    exchange_step_fn *run;
} exchange_steps[STEP_N] = {
    [STEP_ADMIT] = {"admit", exchange_admit},
    [STEP_ROUTE] = {"route", exchange_route},
    [STEP_REQUEST] = {"request", exchange_request},
    [STEP_PICK] = {"pick", exchange_pick},
    [STEP_CONNECT] = {"connect", exchange_connect},
    [STEP_FORWARD] = {"forward", exchange_wait},
    [STEP_REPLY] = {"reply", exchange_wait},
    [STEP_FINISH] = {"finish", exchange_wait},
};

const char *exchange_step_name(enum exchange_step step)
{
    return exchange_steps[step].name;
}

void exchange_run(struct exchange *x, enum exchange_step step)
{
    x->step = step;
    check_context_set(exchange_steps[step].name);
    while (!x->is_finished && exchange_steps[x->step].run(x)) {
        x->step++;
        check_context_set(exchange_steps[x->step].name);
    }
    if (!x->is_finished) {
        exchange_arm(x);
    }
    check_context_set(NULL);
}

void exchange_fail(struct exchange *x, enum fault f, struct str detail)
{
    const struct fault_row *row = fault_row(f);
    if (x->is_finished) {
        return;
    }
    if (detail.p != NULL) {
        x->detail = arena_copy(&x->arena, detail);
    }
    outcome_fault(x, f);
    exchange_attempt_end(x, row->blame == BLAME_UPSTREAM);
    if (retry_try(x, f)) {
        return;
    }
    f = outcome_told(x, f);
    x->fault = f;
    if (x->is_head_sent) {
        forward_cut(x, f);
    } else {
        reply_fault(x, f);
    }
    exchange_finish(x);
}

/* Is it the client whose bytes we wait for? Not while we do not take them,
 * nor while there is no upstream that could. */
static bool exchange_is_client_late(const struct exchange *x)
{
    return x->us != NULL && !x->upload.is_done && !x->is_head_sent &&
           x->upload.n_uncredited == 0 && !filter_is_waiting(x);
}

/* Which deadline has passed; FAULT_NONE when none has. */
static enum fault exchange_overdue(const struct exchange *x, uint64_t now_ms)
{
    if (x->deadline_ms != 0 && now_ms >= x->deadline_ms) {
        return FAULT_DEADLINE;
    }
    if (x->response_ms != 0 && !x->is_head_sent && now_ms >= x->response_ms) {
        return FAULT_RESPONSE_TIMEOUT;
    }
    if (x->queue_ms != 0 && now_ms >= x->queue_ms) {
        return FAULT_QUEUE_TIMEOUT;
    }
    if (now_ms < x->active_ms + x->idle_timeout_ms) {
        return FAULT_NONE;
    }
    return exchange_is_client_late(x) ? FAULT_BODY_TIMEOUT : FAULT_IDLE_TIMEOUT;
}

static void exchange_on_timer(struct timer *t)
{
    struct exchange *x = CONTAINER_OF(t, struct exchange, timer);
    const enum fault f = exchange_overdue(x, x->w->loop->now_ms);
    if (f == FAULT_QUEUE_TIMEOUT) {
        slot_count(&x->up->slot->n_queue_failures);
    }
    if (f != FAULT_NONE) {
        exchange_fail(x, f, STR_NONE);
        return;
    }
    exchange_arm(x);
}

void exchange_arm(struct exchange *x)
{
    uint64_t at_ms = x->active_ms + x->idle_timeout_ms;
    if (x->deadline_ms != 0 && x->deadline_ms < at_ms) {
        at_ms = x->deadline_ms;
    }
    if (x->response_ms != 0 && !x->is_head_sent && x->response_ms < at_ms) {
        at_ms = x->response_ms;
    }
    if (x->queue_ms != 0 && x->queue_ms < at_ms) {
        at_ms = x->queue_ms;
    }
    timer_arm(&x->w->loop->wheel, &x->timer, at_ms);
}

static void exchange_count(struct exchange *x)
{
    struct metric_set *ms = x->w->loop->metrics;
    static const enum metric_id by_class[6] = {
        [2] = METRIC_RESPONSES_2XX,
        [3] = METRIC_RESPONSES_3XX,
        [4] = METRIC_RESPONSES_4XX,
        [5] = METRIC_RESPONSES_5XX,
    };
    const int class = x->status / 100;
    if (class >= 2 && class <= 5) {
        metric_add(ms, by_class[class], 1);
    }
    metric_add(ms, METRIC_RECEIVED_BYTES, x->upload.n_bytes);
    metric_add(ms, METRIC_SENT_BYTES, x->download.n_bytes);
    metric_sub(ms, METRIC_EXCHANGES, 1);
    if (x->fault != FAULT_NONE) {
        metric_add(ms, METRIC_FAULTS_TOTAL, 1);
    }
    if (x->is_tunnel) {
        metric_sub(ms, METRIC_TUNNELS, 1);
    }
    metric_observe_duration(ms, x->end_us - x->begin_us);
}

void exchange_finish(struct exchange *x)
{
    if (x->is_finished) {
        return;
    }
    x->is_finished = true;
    x->step = STEP_FINISH;
    x->end_us = loop_clock_us();
    outcome_answer(x);
    exchange_attempt_end(x, false);
    retry_end(x);
    filter_done(x);
    access_log_write(x);
    exchange_count(x);
    struct stream *cs = x->cs;
    x->cs = NULL;
    stream_close(cs);
    loop_disarm(x->w->loop, &x->timer);
    loop_defer(x->w->loop, &x->gone);
}

/* The end of the turn: nothing points at x any more. */
static void exchange_on_gone(struct deferred *d)
{
    struct exchange *x = CONTAINER_OF(d, struct exchange, gone);
    struct worker *w = x->w;
    struct snapshot *snap = x->snap;
    buf_fini(&x->replay);
    arena_reset(&x->arena);
    w->n_exchanges--;
    if (w->n_free_exchanges < 1024) {
        list_push_front(&w->free_exchanges, &x->node);
        w->n_free_exchanges++;
    } else {
        mem_free(x);
    }
    worker_unpin(w, snap);
}

static void exchange_on_head(struct stream *s, struct head *h, bool is_end)
{
    struct exchange *x = s->owner;
    x->h = h;
    x->upload.is_done = is_end;
    exchange_run(x, STEP_ADMIT);
}

static void
exchange_on_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    forward_client_data(s->owner, p, len, is_end);
}

static void exchange_on_trailers(struct stream *s, struct head *trailers)
{
    forward_client_trailers(s->owner, trailers);
}

static void exchange_on_fault(struct stream *s, enum fault f)
{
    struct exchange *x = s->owner;
    exchange_attempt_end(x, false);
    x->fault = f;
    if (s->can_answer && !x->is_head_sent) {
        reply_fault(x, f);
    }
    if (x->status == 0) {
        x->status = fault_row(f)->status;
    }
    exchange_finish(x);
}

static void exchange_on_room(struct stream *s)
{
    forward_client_room(s->owner);
}

static const struct stream_ops exchange_client_ops = {
    .on_head = exchange_on_head,
    .on_data = exchange_on_data,
    .on_trailers = exchange_on_trailers,
    .on_fault = exchange_on_fault,
    .on_room = exchange_on_room,
};

static struct exchange *exchange_take(struct worker *w)
{
    struct list *first = list_first(&w->free_exchanges);
    if (first == NULL) {
        return mem_new(sizeof(struct exchange));
    }
    list_remove(first);
    w->n_free_exchanges--;
    struct exchange *x = CONTAINER_OF(first, struct exchange, node);
    memset(x, 0, sizeof(*x));
    return x;
}

void exchange_open(struct client *c, struct stream *s)
{
    struct worker *w = c->worker;
    struct exchange *x = exchange_take(w);
    x->w = w;
    x->client = c;
    x->snap = w->snap;
    worker_pin(w, x->snap);
    arena_init(&x->arena, &w->loop->arenas, EXCHANGE_ARENA_BYTES_MAX);
    buf_init(&x->replay, &w->loop->bufs);
    timer_init(&x->timer, exchange_on_timer);
    x->gone.fn = exchange_on_gone;
    x->begin_us = w->loop->now_us;
    x->active_ms = w->loop->now_ms;
    x->idle_timeout_ms = x->snap->body_timeout_ms;
    x->grpc_status = -1;
    x->peer = c->conn->peer;
    x->request_id = worker_request_id(w, x->id_text);
    x->cs = s;
    s->ops = &exchange_client_ops;
    s->owner = x;
    s->arena = &x->arena;
    w->n_exchanges++;
    metric_add(w->loop->metrics, METRIC_EXCHANGES, 1);
    metric_add(w->loop->metrics, METRIC_EXCHANGES_TOTAL, 1);
}

void exchange_cache_fini(struct worker *w)
{
    struct list *first;
    while ((first = list_first(&w->free_exchanges)) != NULL) {
        list_remove(first);
        mem_free(CONTAINER_OF(first, struct exchange, node));
    }
    w->n_free_exchanges = 0;
}
