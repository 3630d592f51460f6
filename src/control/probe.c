/*
 * probe: see probe.h. A probe dies with its connection. It says how it went
 * when it knows, which is before that: what is left of a good answer may still
 * be read, so that the backend sees an orderly end.
 */
#include "control/probe.h"

#include "base/check.h"
#include "base/mem.h"
#include "http/codec.h"
#include "http/grpc.h"
#include "http/grpc_health.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    PROBE_ARENA_BYTES_MAX = 256 * 1024,
    PROBE_BODY_BYTES_MAX = 64 * 1024, /* read to its end, else cut off */
    PROBE_WHY_BYTES = 160
};

struct probe {
    struct list node; /* of all probes */
    struct loop *loop;
    struct conn *conn;
    struct codec *codec; /* NULL: connecting, or a TCP check */
    struct stream *stream;
    struct timer timer;
    struct arena arena;
    struct check check; /* its texts are in the arena */
    enum upstream_protocol protocol;
    bool is_tls;
    const struct codec_limits *limits;
    probe_done_fn *on_done;
    void *owner;
    int status; /* of the final head; 0: none yet */
    size_t n_body;
    uint8_t body[GRPC_HEALTH_RESPONSE_BYTES_MAX]; /* of a gRPC answer */
    bool is_over;                                 /* on_done was called */
};

/* Lets go of the connection: in order after a good answer, else at once. */
static void probe_leave(struct probe *p, bool is_orderly)
{
    struct stream *s = p->stream;
    p->is_over = true;
    loop_disarm(p->loop, &p->timer);
    if (s != NULL) {
        p->stream = NULL;
        stream_close(s);
    }
    if (p->codec != NULL && is_orderly) {
        codec_drain(p->codec);
    } else if (!conn_is_closed(p->conn)) {
        conn_close(p->conn, CONN_CLOSED_BY_US);
    }
}

static void probe_pass(struct probe *p)
{
    if (!p->is_over) {
        p->is_over = true;
        p->on_done(p->owner, true, "");
        probe_leave(p, true);
    }
}

__attribute__((format(printf, 2, 3))) static void
probe_fail(struct probe *p, const char *format, ...)
{
    char why[PROBE_WHY_BYTES];
    va_list args;
    if (p->is_over) {
        return;
    }
    p->is_over = true;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    p->on_done(p->owner, false, why);
    probe_leave(p, false);
}

void probe_cancel(struct probe *p)
{
    if (!p->is_over) {
        probe_leave(p, false);
    }
}

void probe_close_all(struct list *all)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, all) {
        struct probe *p = CONTAINER_OF(it, struct probe, node);
        probe_leave(p, false);
    }
}

static void probe_free(struct probe *p)
{
    loop_disarm(p->loop, &p->timer);
    list_remove(&p->node);
    arena_reset(&p->arena);
    mem_free(p);
}

static void probe_on_timer(struct timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);
    if (p->check.kind == CHECK_HTTP && p->status != 0) {
        probe_pass(p); /* the head was good; the body is of no interest */
        return;
    }
    probe_fail(p, "no answer in %u ms", p->check.timeout_ms);
}

/* ---- the answer --------------------------------------------------------- */

static void probe_judge_grpc(struct probe *p, int grpc_status)
{
    if (grpc_status != 0) {
        if (grpc_status < 0) {
            probe_fail(p, "no gRPC status");
        } else {
            probe_fail(p, "gRPC status %d", grpc_status);
        }
        return;
    }
    const enum grpc_health health = grpc_health_response(p->body, p->n_body);
    if (health == GRPC_HEALTH_SERVING) {
        probe_pass(p);
    } else {
        probe_fail(p, "health is %s", grpc_health_name(health));
    }
}

static void probe_on_head(struct stream *s, struct head *h, bool is_end)
{
    struct probe *p = s->owner;
    const bool is_grpc = p->check.kind == CHECK_GRPC;
    if (h->status < 200 && h->status != 101) {
        return;
    }
    p->status = h->status;
    if (is_grpc ? h->status != 200
                : h->status < p->check.status_min ||
                      h->status > p->check.status_max) {
        probe_fail(p, "status %d", h->status);
    } else if (is_end && is_grpc) {
        probe_judge_grpc(p, grpc_status_find(h));
    } else if (is_end) {
        probe_pass(p);
    }
}

static void
probe_on_data(struct stream *s, const uint8_t *bytes, size_t len, bool is_end)
{
    struct probe *p = s->owner;
    stream_credit(s, len);
    if (p->check.kind == CHECK_HTTP) {
        p->n_body += len;
        if (is_end || p->n_body > PROBE_BODY_BYTES_MAX) {
            probe_pass(p);
        }
        return;
    }
    if (len > sizeof(p->body) - p->n_body) {
        probe_fail(p, "an answer of more than %zu bytes", sizeof(p->body));
        return;
    }
    if (len > 0) {
        memcpy(p->body + p->n_body, bytes, len);
        p->n_body += len;
    }
    if (is_end) {
        probe_judge_grpc(p, -1);
    }
}

static void probe_on_trailers(struct stream *s, struct head *trailers)
{
    struct probe *p = s->owner;
    if (p->check.kind == CHECK_GRPC) {
        probe_judge_grpc(p, grpc_status_find(trailers));
    } else {
        probe_pass(p);
    }
}

static void probe_on_fault(struct stream *s, enum fault f)
{
    struct probe *p = s->owner;
    if (p->check.kind == CHECK_HTTP && p->status != 0) {
        probe_pass(p); /* as on_timer */
        return;
    }
    probe_fail(p, "%.*s", STR_ARG(fault_row(f)->word));
}

static void probe_on_room(struct stream *s)
{
    (void)s;
}

static const struct stream_ops probe_stream_ops = {
    .on_head = probe_on_head,
    .on_data = probe_on_data,
    .on_trailers = probe_on_trailers,
    .on_fault = probe_on_fault,
    .on_room = probe_on_room,
};

/* ---- the question ------------------------------------------------------- */

static bool probe_head(struct probe *p, struct head *h)
{
    const bool is_grpc = p->check.kind == CHECK_GRPC;
    const struct str path = p->check.path;
    const size_t mark = str_find_char(path, '?');
    head_init(h, &p->arena);
    h->method = is_grpc ? METHOD_POST : METHOD_GET;
    h->method_text = is_grpc ? STR("POST") : STR("GET");
    h->scheme = p->is_tls ? STR("https") : STR("http");
    h->authority = p->check.host;
    h->host = p->check.host;
    h->version = 11;
    h->path = str_sub(path, 0, mark);
    if (mark < path.len) {
        h->query = str_from_index(path, mark + 1);
    }
    if (!is_grpc) {
        return head_add(h, NAME_USER_AGENT, name_text(NAME_USER_AGENT),
                        STR("daemun-health"));
    }
    h->path = STR("/grpc.health.v1.Health/Check");
    h->query = STR_NONE;
    h->version = 20;
    h->is_grpc = true;
    h->has_te_trailers = true;
    return head_add(h, NAME_USER_AGENT, name_text(NAME_USER_AGENT),
                    STR("daemun-health")) &&
           head_add(h, NAME_CONTENT_TYPE, name_text(NAME_CONTENT_TYPE),
                    STR("application/grpc"));
}

static void probe_ask(struct probe *p)
{
    struct head h;
    uint8_t message[GRPC_HEALTH_REQUEST_BYTES_MAX];
    if (p->stream != NULL || p->is_over || codec_capacity(p->codec) == 0) {
        return;
    }
    p->stream = codec_open(p->codec, &probe_stream_ops, p, &p->arena);
    CHECK(probe_head(p, &h));
    if (p->check.kind == CHECK_HTTP) {
        stream_send_head(p->stream, &h, true);
        return;
    }
    stream_send_head(p->stream, &h, false);
    const size_t len = grpc_health_request(p->check.service, message);
    stream_send_data(p->stream, message, len, true);
}

/* ---- the connection ----------------------------------------------------- */

static void probe_on_stream(struct codec *k, struct stream *s)
{
    (void)s;
    CHECK(k->is_server); /* a client codec announces no streams */
}

static void probe_on_capacity(struct codec *k)
{
    probe_ask(k->owner);
}

static void probe_on_codec_closed(struct codec *k, enum conn_end end)
{
    struct probe *p = k->owner;
    (void)end;
    probe_fail(p, "the connection ended");
    probe_free(p);
}

static const struct codec_owner_ops probe_codec_ops = {
    .on_stream = probe_on_stream,
    .on_capacity = probe_on_capacity,
    .on_closed = probe_on_codec_closed,
};

static void probe_on_ready(struct conn *c)
{
    struct probe *p = c->owner;
    const bool has_h2 = str_eq(conn_alpn(c), STR("h2"));
    if (p->is_over) {
        return;
    }
    if (p->check.kind == CHECK_TCP) {
        probe_pass(p);
        return;
    }
    const bool is_h2 = p->protocol == UPSTREAM_H2C || has_h2;
    if (!is_h2 && (p->protocol == UPSTREAM_H2 || p->check.kind == CHECK_GRPC)) {
        probe_fail(p, "TLS: no HTTP/2 by ALPN");
        return;
    }
    p->codec = is_h2 ? h2_new(c, false, p->limits, &probe_codec_ops, p)
                     : h1_new(c, false, p->limits, &probe_codec_ops, p);
    probe_ask(p);
}

static size_t probe_on_bytes(struct conn *c, const uint8_t *bytes, size_t len)
{
    (void)c;
    (void)bytes;
    (void)len;
    return 0; /* of interest to a codec only */
}

static void probe_on_nothing(struct conn *c)
{
    (void)c;
}

static void probe_on_conn_closed(struct conn *c, enum conn_end end)
{
    struct probe *p = c->owner;
    char text[PROBE_WHY_BYTES];
    (void)end;
    probe_fail(p, "%s", conn_end_text(c, text, sizeof(text)));
    probe_free(p);
}

static const struct conn_ops probe_conn_ops = {
    .on_ready = probe_on_ready,
    .on_bytes = probe_on_bytes,
    .on_eof = probe_on_nothing,
    .on_room = probe_on_nothing,
    .on_closed = probe_on_conn_closed,
};

/* Where to: the endpoint, perhaps by another port. */
static struct addr probe_addr(const struct endpoint *ep, uint16_t port)
{
    struct addr a = ep->addr;
    if (port != 0 && a.sa.sa_family == AF_INET) {
        a.in.sin_port = htons(port);
    } else if (port != 0 && a.sa.sa_family == AF_INET6) {
        a.in6.sin6_port = htons(port);
    }
    return a;
}

static struct str probe_copy(struct probe *p, struct str s)
{
    const struct str copy = s.len > 0 ? arena_copy(&p->arena, s) : STR("");
    CHECK(copy.p != NULL);
    return copy;
}

/* The host to name: what is given, that of the upstream, or the address. */
static struct str probe_host(const struct endpoint *ep)
{
    const struct upstream *up = ep->upstream;
    if (up->check.host.len > 0) {
        return up->check.host;
    }
    if (up->host.len > 0) {
        return up->host;
    }
    return ep->addr.sa.sa_family == AF_UNIX ? STR("localhost") : ep->id;
}

struct probe *probe_start(struct loop *loop,
                          struct list *all,
                          const struct endpoint *ep,
                          probe_done_fn *on_done,
                          void *owner)
{
    const struct upstream *up = ep->upstream;
    struct probe *p = mem_new(sizeof(*p));
    p->loop = loop;
    p->on_done = on_done;
    p->owner = owner;
    arena_init(&p->arena, NULL, PROBE_ARENA_BYTES_MAX);
    p->check = up->check;
    p->check.path = probe_copy(p, up->check.path);
    p->check.host = probe_copy(p, probe_host(ep));
    p->check.service = probe_copy(p, up->check.service);
    p->protocol = up->protocol;
    p->limits = up->limits;
    list_push_back(all, &p->node);
    timer_init(&p->timer, probe_on_timer);
    loop_arm(loop, &p->timer, p->check.timeout_ms);
    const struct addr to = probe_addr(ep, up->check.port);
    struct tls_client *tls = up->check.kind == CHECK_TCP ? NULL : ep->tls;
    p->is_tls = tls != NULL;
    p->conn = conn_connect(loop, &to, tls, &probe_conn_ops, p);
    return p;
}
