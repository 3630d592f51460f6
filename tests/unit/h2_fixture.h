/*
 * h2_fixture: two HTTP/2 codecs that face each other over a socketpair, or one
 * that faces a test which speaks raw frames; and an owner of streams that
 * writes down what it is told. For the tests of src/http/h2*.c only.
 */
#ifndef DAEMUN_TEST_H2_FIXTURE_H
#define DAEMUN_TEST_H2_FIXTURE_H

#include "base/check.h"
#include "base/mem.h"
#include "http/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { FX_RECS_MAX = 400, FX_RAW_MAX = 1 << 20 };

/* What the owner of one stream has seen. */
struct rec {
    struct fx *fx;
    struct stream *s; /* NULL once closed */
    struct arena arena;
    struct head *head; /* the last one */
    struct head *trailers;
    int n_heads;
    int statuses[16];
    size_t n_body;
    char first[128]; /* of the body */
    bool is_end;
    int n_ends;
    enum fault fault;
    int n_faults;
    bool can_answer;
    int n_rooms;
    size_t n_owed; /* bytes not credited */
};

struct fx {
    struct loop *loop;
    struct codec_limits limits[2]; /* [1]: the server's */
    struct codec *client;
    struct codec *server;
    struct conn *conns[2];
    int fds[2];
    int raw_fd; /* -1: a codec is there */
    bool is_credit_held;
    bool want_close_on_data;
    void (*serve)(struct rec *r, bool is_end);
    struct rec recs[FX_RECS_MAX]; /* of requests that came */
    size_t n_recs;
    int n_closed;
    enum conn_end end;
    int n_capacity;
    uint8_t *raw; /* what the raw side has received */
    size_t raw_len;
    bool is_raw_eof;
};

static inline void rec_close(struct rec *r)
{
    if (r->s != NULL) {
        struct stream *const s = r->s;
        r->s = NULL;
        stream_close(s);
    }
}

static inline void rec_on_head(struct stream *s, struct head *h, bool is_end)
{
    struct rec *const r = s->owner;
    assert_false(r->is_end);
    assert_int_equal(r->n_faults, 0);
    assert_true(r->n_heads < 16);
    r->statuses[r->n_heads++] = h->status;
    r->head = h;
    r->is_end = is_end;
    r->n_ends += is_end;
    if (s->codec->is_server && r->fx->serve != NULL) {
        r->fx->serve(r, is_end);
    }
}

static inline void
rec_on_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    struct rec *const r = s->owner;
    assert_false(r->is_end);
    assert_int_equal(r->n_faults, 0);
    assert_true(r->n_heads > 0);
    for (size_t i = 0; i < len && r->n_body + i < sizeof(r->first) - 1; i++) {
        r->first[r->n_body + i] = (char)p[i];
    }
    r->n_body += len;
    r->n_owed += len;
    r->is_end = is_end;
    r->n_ends += is_end;
    assert_true(r->n_owed <= s->codec->limits->buffer_bytes);
    if (r->fx->want_close_on_data) {
        rec_close(r);
        return;
    }
    if (!r->fx->is_credit_held) {
        r->n_owed = 0;
        stream_credit(s, s->n_uncredited);
    }
    if (is_end && s->codec->is_server && r->fx->serve != NULL) {
        r->fx->serve(r, true);
    }
}

static inline void rec_on_trailers(struct stream *s, struct head *t)
{
    struct rec *const r = s->owner;
    assert_false(r->is_end);
    r->trailers = t;
    r->is_end = true;
    r->n_ends++;
    if (s->codec->is_server && r->fx->serve != NULL) {
        r->fx->serve(r, true);
    }
}

static inline void rec_on_fault(struct stream *s, enum fault f)
{
    struct rec *const r = s->owner;
    assert_int_equal(r->n_faults, 0);
    r->fault = f;
    r->n_faults++;
    r->can_answer = s->can_answer;
}

static inline void rec_on_room(struct stream *s)
{
    struct rec *const r = s->owner;
    r->n_rooms++;
}

static const struct stream_ops rec_ops = {.on_head = rec_on_head,
                                          .on_data = rec_on_data,
                                          .on_trailers = rec_on_trailers,
                                          .on_fault = rec_on_fault,
                                          .on_room = rec_on_room};

static inline struct rec *rec_init(struct rec *r, struct fx *fx)
{
    *r = (struct rec){.fx = fx};
    arena_init(&r->arena, &fx->loop->arenas, 256 * 1024);
    return r;
}

static inline void rec_fini(struct rec *r)
{
    rec_close(r);
    arena_reset(&r->arena);
}

static inline void fx_on_stream(struct codec *k, struct stream *s)
{
    struct fx *const fx = k->owner;
    assert_true(fx->n_recs < FX_RECS_MAX);
    struct rec *const r = rec_init(&fx->recs[fx->n_recs++], fx);
    r->s = s;
    s->ops = &rec_ops;
    s->owner = r;
    s->arena = &r->arena;
}

static inline void fx_on_capacity(struct codec *k)
{
    struct fx *const fx = k->owner;
    fx->n_capacity++;
}

static inline void fx_on_codec_closed(struct codec *k, enum conn_end end)
{
    struct fx *const fx = k->owner;
    fx->n_closed++;
    fx->end = end;
    if (k == fx->client) {
        fx->client = NULL;
        fx->conns[0] = NULL;
    } else {
        fx->server = NULL;
        fx->conns[1] = NULL;
    }
}

static const struct codec_owner_ops fx_owner_ops = {
    .on_stream = fx_on_stream,
    .on_capacity = fx_on_capacity,
    .on_closed = fx_on_codec_closed};

static inline void fx_on_ready(struct conn *c)
{
    struct fx *const fx = c->owner;
    const bool is_server = c == fx->conns[1];
    struct codec *const k =
        h2_new(c, is_server, &fx->limits[is_server], &fx_owner_ops, fx);
    if (is_server) {
        fx->server = k;
    } else {
        fx->client = k;
    }
}

static inline size_t fx_on_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    (void)c;
    (void)p;
    (void)len;
    return 0;
}

static inline void fx_on_conn(struct conn *c)
{
    (void)c;
}

static inline void fx_on_conn_closed(struct conn *c, enum conn_end end)
{
    (void)c;
    (void)end;
}

static const struct conn_ops fx_conn_ops = {.on_ready = fx_on_ready,
                                            .on_bytes = fx_on_bytes,
                                            .on_eof = fx_on_conn,
                                            .on_room = fx_on_conn,
                                            .on_closed = fx_on_conn_closed};

/* Reads what the codec has sent to the raw side. */
static inline void fx_raw_read(struct fx *fx)
{
    while (fx->raw_fd >= 0 && !fx->is_raw_eof) {
        const ssize_t n = recv(fx->raw_fd, fx->raw + fx->raw_len,
                               FX_RAW_MAX - fx->raw_len, MSG_DONTWAIT);
        if (n < 0) {
            return;
        }
        fx->is_raw_eof = n == 0;
        fx->raw_len += (size_t)n;
        assert_true(fx->raw_len < FX_RAW_MAX);
    }
}

static inline void fx_turn(struct fx *fx, int n)
{
    for (int i = 0; i < n; i++) {
        loop_run_once(fx->loop, 0);
        fx_raw_read(fx);
    }
}

static inline struct fx *fx_prepare(void)
{
    struct fx *const fx = mem_new(sizeof(*fx));
    fx->loop = loop_new("test", 0);
    fx->limits[0] = codec_limits_default();
    fx->limits[1] = codec_limits_default();
    fx->raw_fd = -1;
    assert_int_equal(socketpair(AF_UNIX,
                                SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                                fx->fds),
                     0);
    return fx;
}

static inline void fx_start(struct fx *fx, int i)
{
    struct addr none = {0};
    fx->conns[i] =
        conn_accept(fx->loop, fx->fds[i], &none, &none, NULL, &fx_conn_ops, fx);
}

/* Two codecs. */
static inline struct fx *fx_pair(struct fx *fx)
{
    fx_start(fx, 0);
    fx_start(fx, 1);
    fx_turn(fx, 4);
    assert_non_null(fx->client);
    assert_non_null(fx->server);
    return fx;
}

/* A codec (server or client) before a test that speaks frames. */
static inline struct fx *fx_raw(struct fx *fx, bool is_server)
{
    fx_start(fx, is_server);
    fx->raw_fd = fx->fds[!is_server];
    fx->raw = mem_new(FX_RAW_MAX);
    fx_turn(fx, 2);
    assert_non_null(is_server ? fx->server : fx->client);
    return fx;
}

static inline void fx_free(struct fx *fx)
{
    for (int i = 0; i < 2; i++) {
        if (fx->conns[i] != NULL) {
            conn_close(fx->conns[i], CONN_CLOSED_BY_US);
        }
    }
    fx_turn(fx, 2);
    for (size_t i = 0; i < fx->n_recs; i++) {
        rec_fini(&fx->recs[i]);
    }
    if (fx->raw_fd >= 0) {
        close(fx->raw_fd);
    }
    loop_free(fx->loop);
    mem_free(fx->raw);
    mem_free(fx);
}

/* ---- heads ---- */

static inline struct head *
fx_request(struct arena *arena, const char *method, const char *path)
{
    struct head *const h = arena_take(arena, sizeof(*h));
    head_init(h, arena);
    h->method_text = str_from(method);
    h->method = method_find(h->method_text);
    h->scheme = STR("http");
    h->authority = STR("a.example");
    h->host = h->authority;
    h->path = str_from(path);
    return h;
}

static inline struct head *fx_response(struct arena *arena, int status)
{
    struct head *const h = arena_take(arena, sizeof(*h));
    head_init(h, arena);
    h->status = status;
    return h;
}

/* Opens a stream and sends its head. */
static inline void fx_open(struct fx *fx,
                           struct rec *r,
                           const char *method,
                           const char *path,
                           bool is_end)
{
    rec_init(r, fx);
    r->s = codec_open(fx->client, &rec_ops, r, &r->arena);
    stream_send_head(r->s, fx_request(&r->arena, method, path), is_end);
}

/* ---- raw frames ---- */

struct wire {
    uint8_t bytes[128 * 1024];
    size_t len;
};

static inline void wire_add(struct wire *w, const void *p, size_t len)
{
    assert_true(w->len + len <= sizeof(w->bytes));
    if (len > 0) {
        memcpy(w->bytes + w->len, p, len);
    }
    w->len += len;
}

static inline void wire_frame(struct wire *w,
                              unsigned type,
                              unsigned flags,
                              uint32_t id,
                              const void *p,
                              size_t len)
{
    const uint8_t header[9] = {
        (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
        (uint8_t)type,        (uint8_t)flags,      (uint8_t)(id >> 24),
        (uint8_t)(id >> 16),  (uint8_t)(id >> 8),  (uint8_t)id};
    wire_add(w, header, sizeof(header));
    wire_add(w, p, len);
}

/* A literal field without indexing. */
static inline void wire_field_len(struct wire *w,
                                  const char *name,
                                  const char *value,
                                  size_t value_len)
{
    const size_t name_len = strlen(name);
    assert_true(name_len < 127);
    const uint8_t head[2] = {0, (uint8_t)name_len};
    wire_add(w, head, 2);
    wire_add(w, name, name_len);
    if (value_len < 127) {
        const uint8_t n = (uint8_t)value_len;
        wire_add(w, &n, 1);
    } else {
        uint8_t n[6] = {127};
        size_t i = 1;
        size_t rest = value_len - 127;
        for (; rest >= 128; rest /= 128) {
            n[i++] = (uint8_t)(rest % 128 + 128);
        }
        n[i++] = (uint8_t)rest;
        wire_add(w, n, i);
    }
    wire_add(w, value, value_len);
}

static inline void
wire_field(struct wire *w, const char *name, const char *value)
{
    wire_field_len(w, name, value, strlen(value));
}

/* HEADERS of the fields in `block`. */
static inline void wire_headers(struct wire *w,
                                uint32_t id,
                                unsigned flags,
                                const struct wire *block)
{
    wire_frame(w, 1, flags | 4, id, block->bytes, block->len);
}

static inline void wire_request_fields(struct wire *block)
{
    wire_field(block, ":method", "POST");
    wire_field(block, ":scheme", "http");
    wire_field(block, ":path", "/p");
    wire_field(block, ":authority", "a.example");
}

static inline void wire_preface(struct wire *w)
{
    wire_add(w, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    wire_frame(w, 4, 0, 0, NULL, 0);
}

static inline void fx_raw_send(struct fx *fx, struct wire *w)
{
    size_t sent = 0;
    for (int i = 0; sent < w->len && i < 1000; i++) {
        const ssize_t n = send(fx->raw_fd, w->bytes + sent, w->len - sent,
                               MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
        } else if (fx->is_raw_eof) {
            break;
        }
        fx_turn(fx, 1);
    }
    w->len = 0;
    fx_turn(fx, 3);
}

/* A frame that the codec sent. */
struct raw_frame {
    uint8_t type;
    uint8_t flags;
    uint32_t id;
    const uint8_t *p;
    size_t len;
};

/* The n-th frame of a type; false when there are not so many. */
static inline bool fx_raw_find(const struct fx *fx,
                               size_t skip,
                               unsigned type,
                               int nth,
                               struct raw_frame *f)
{
    size_t at = skip;
    while (at + 9 <= fx->raw_len) {
        const uint8_t *const h = fx->raw + at;
        const size_t len = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
        if (at + 9 + len > fx->raw_len) {
            return false;
        }
        if (h[3] == type && nth-- == 0) {
            *f = (struct raw_frame){.type = h[3],
                                    .flags = h[4],
                                    .id = (uint32_t)(h[5] & 127) << 24 |
                                          (uint32_t)h[6] << 16 |
                                          (uint32_t)h[7] << 8 | h[8],
                                    .p = h + 9,
                                    .len = len};
            return true;
        }
        at += 9 + len;
    }
    return false;
}

static inline uint32_t raw_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/* The code of the last GOAWAY (of the n-th RST_STREAM); -1: none was sent. */
static inline int64_t fx_raw_goaway(const struct fx *fx)
{
    struct raw_frame f;
    int64_t code = -1;
    for (int i = 0; fx_raw_find(fx, 0, 7, i, &f); i++) {
        code = raw_u32(f.p + 4);
    }
    return code;
}

static inline int64_t fx_raw_reset(const struct fx *fx, int nth)
{
    struct raw_frame f;
    return fx_raw_find(fx, 0, 3, nth, &f) ? (int64_t)raw_u32(f.p) : -1;
}

#endif
