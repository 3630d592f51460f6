/*
 * h1_fixture: an HTTP/1.1 codec on a real conn and loop, whose other end is a
 * socket in the hand of the test; and an owner of streams that writes down in
 * one line what it is told. For the tests of src/http/h1_*.c only.
 */
#ifndef DAEMUN_TEST_H1_FIXTURE_H
#define DAEMUN_TEST_H1_FIXTURE_H

#include "base/mem.h"
#include "http/codec.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { FX_LOG_MAX = 64 * 1024, FX_RAW_MAX = 8 * 1024 * 1024, FX_RECS = 64 };

/* When the owner of a server's stream answers. */
enum fx_mode { FX_AT_END, FX_AT_HEAD, FX_BY_HAND };

struct fx;

/* One stream as its owner sees it. */
struct rec {
    struct fx *fx;
    struct stream *s; /* NULL once closed */
    struct arena arena;
    struct head *head; /* the last one */
    size_t n_body;
    size_t n_data; /* calls of on_data */
    size_t n_owed; /* bytes not credited */
    enum fault fault;
    bool is_end;
    bool is_end_with_data;
    int n_rooms;
};

struct fx {
    struct loop *loop;
    struct codec_limits limits;
    struct codec *k; /* NULL once closed */
    struct conn *c;
    int fd;
    enum fx_mode mode;
    bool is_credit_held;
    bool is_body_logged;
    bool want_close_on_data;
    bool is_server;
    enum conn_end end;
    int n_capacity;
    struct rec recs[FX_RECS];
    size_t n_recs;
    char log[FX_LOG_MAX];
    size_t log_len;
    uint8_t *raw; /* what the other end has received */
    size_t raw_len;
    bool is_raw_eof;
    bool is_raw_reset;
};

__attribute__((format(printf, 2, 3))) static inline void
fx_log(struct fx *fx, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    const int n = vsnprintf(fx->log + fx->log_len, FX_LOG_MAX - fx->log_len,
                            format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < FX_LOG_MAX - fx->log_len);
    fx->log_len += (size_t)n;
}

/* ---- the owner ---------------------------------------------------------- */

static inline void rec_close(struct rec *r)
{
    struct stream *const s = r->s;

    if (s != NULL) {
        r->s = NULL;
        stream_close(s);
    }
}

static inline void rec_send(struct rec *r,
                            int status,
                            int64_t length,
                            const char *body,
                            bool is_end)
{
    struct head h;

    head_init(&h, &r->arena);
    h.status = status;
    h.content_length = length;
    stream_send_head(r->s, &h, is_end && body[0] == '\0');
    if (body[0] != '\0') {
        stream_send_data(r->s, (const uint8_t *)body, strlen(body), is_end);
    }
}

static inline void rec_answer(struct rec *r, int status)
{
    if (r->s->method == METHOD_HEAD) {
        struct head h;

        head_init(&h, &r->arena);
        h.status = status;
        h.content_length = 2;
        stream_send_head(r->s, &h, true);
    } else {
        rec_send(r, status, 2, "ok", true);
    }
    rec_close(r);
}

static inline void rec_ended(struct rec *r)
{
    assert_false(r->is_end);
    r->is_end = true;
    fx_log(r->fx, "] ");
    if (r->fx->is_server && r->fx->mode == FX_AT_END) {
        rec_answer(r, 200);
    } else if (!r->fx->is_server && r->fx->mode == FX_AT_END) {
        rec_close(r);
    }
}

static inline void rec_on_head(struct stream *s, struct head *h, bool is_end)
{
    struct rec *const r = s->owner;
    struct fx *const fx = r->fx;

    assert_false(r->is_end);
    assert_int_equal(is_end, s->is_in_done);
    r->head = h;
    if (!fx->is_server && h->status < 200) {
        fx_log(fx, "%d ", h->status);
        if (h->status == 101) {
            fx_log(fx, "[");
        }
        return;
    }
    if (fx->is_server) {
        fx_log(fx, "%.*s %.*s[", STR_ARG(h->method_text), STR_ARG(h->path));
    } else {
        fx_log(fx, "%d[", h->status);
    }
    if (fx->is_server && fx->mode == FX_AT_HEAD) {
        if (is_end) {
            r->is_end = true;
            fx_log(fx, "] ");
        }
        rec_answer(r, 200);
    } else if (is_end) {
        rec_ended(r);
    }
}

static inline void
rec_on_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    struct rec *const r = s->owner;
    struct fx *const fx = r->fx;

    assert_false(r->is_end);
    assert_int_equal(is_end, s->is_in_done);
    r->n_body += len;
    r->n_data++;
    r->n_owed += len;
    r->is_end_with_data |= is_end && len > 0;
    assert_true(s->n_uncredited <= fx->limits.buffer_bytes);
    if (fx->is_body_logged) {
        fx_log(fx, "%.*s", (int)len, (const char *)p);
    }
    if (!fx->is_credit_held) {
        stream_credit(s, r->n_owed);
        r->n_owed = 0;
    }
    if (is_end) {
        rec_ended(r);
    } else if (fx->want_close_on_data) {
        rec_close(r);
    }
}

static inline void rec_on_trailers(struct stream *s, struct head *t)
{
    struct rec *const r = s->owner;

    assert_true(t->n_fields > 0 && s->is_in_done);
    for (uint32_t i = 0; i < t->n_fields; i++) {
        fx_log(r->fx, "+%.*s=%.*s", STR_ARG(t->fields[i].name),
               STR_ARG(t->fields[i].value));
    }
    rec_ended(r);
}

static inline void rec_on_fault(struct stream *s, enum fault f)
{
    struct rec *const r = s->owner;

    assert_int_equal(r->fault, FAULT_NONE);
    r->fault = f;
    fx_log(r->fx, "!%.*s ", STR_ARG(fault_row(f)->word));
    if (r->fx->mode == FX_BY_HAND) {
        return;
    }
    if (s->can_answer) {
        rec_answer(r, fault_row(f)->status);
    } else {
        rec_close(r);
    }
}

static inline void rec_on_room(struct stream *s)
{
    struct rec *const r = s->owner;
    r->n_rooms++;
}

static const struct stream_ops rec_ops = {
    .on_head = rec_on_head,
    .on_data = rec_on_data,
    .on_trailers = rec_on_trailers,
    .on_fault = rec_on_fault,
    .on_room = rec_on_room,
};

static inline struct rec *fx_rec_new(struct fx *fx)
{
    assert_true(fx->n_recs < FX_RECS);
    struct rec *const r = &fx->recs[fx->n_recs++];
    *r = (struct rec){.fx = fx};
    arena_init(&r->arena, &fx->loop->arenas, 256 * 1024);
    return r;
}

static inline void fx_on_stream(struct codec *k, struct stream *s)
{
    struct rec *const r = fx_rec_new(k->owner);

    s->ops = &rec_ops;
    s->owner = r;
    s->arena = &r->arena;
    r->s = s;
}

static inline void fx_on_capacity(struct codec *k)
{
    struct fx *const fx = k->owner;

    assert_int_equal(codec_capacity(k), 1);
    fx->n_capacity++;
}

static inline void fx_on_closed(struct codec *k, enum conn_end end)
{
    struct fx *const fx = k->owner;

    fx->k = NULL;
    fx->c = NULL;
    fx->end = end;
}

static const struct codec_owner_ops fx_owner_ops = {
    .on_stream = fx_on_stream,
    .on_capacity = fx_on_capacity,
    .on_closed = fx_on_closed,
};

/* ---- the two ends ------------------------------------------------------- */

static inline void fx_ready(struct conn *c)
{
    struct fx *const fx = c->owner;
    fx->k = h1_new(c, fx->is_server, &fx->limits, &fx_owner_ops, fx);
}

static inline size_t fx_no_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    (void)c;
    (void)p;
    return len;
}

static inline void fx_nothing(struct conn *c)
{
    (void)c;
}

static inline void fx_no_end(struct conn *c, enum conn_end end)
{
    (void)c;
    (void)end;
}

static const struct conn_ops fx_ops = {
    .on_ready = fx_ready,
    .on_bytes = fx_no_bytes,
    .on_eof = fx_nothing,
    .on_room = fx_nothing,
    .on_closed = fx_no_end,
};

/* Reads what the codec has sent. */
static inline void fx_read(struct fx *fx)
{
    while (!fx->is_raw_eof && !fx->is_raw_reset) {
        assert_true(fx->raw_len < FX_RAW_MAX);
        const ssize_t n = recv(fx->fd, fx->raw + fx->raw_len,
                               FX_RAW_MAX - fx->raw_len, MSG_DONTWAIT);
        if (n > 0) {
            fx->raw_len += (size_t)n;
        } else if (n == 0) {
            fx->is_raw_eof = true;
        } else if (errno == EAGAIN) {
            return;
        } else {
            fx->is_raw_reset = true;
        }
    }
}

static inline void fx_turn(struct fx *fx, int n_turns)
{
    for (int i = 0; i < n_turns; i++) {
        loop_run_once(fx->loop, 0);
    }
}

static inline void fx_init(struct fx *fx, bool is_server)
{
    int fds[2];
    const struct addr none = {.len = 0};

    memset(fx, 0, sizeof(*fx));
    fx->is_server = is_server;
    fx->is_body_logged = true;
    fx->limits = codec_limits_default();
    fx->loop = loop_new("test", 0);
    fx->raw = mem_new_raw(FX_RAW_MAX);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
                     0);
    fx->fd = fds[1];
    fx->c = conn_accept(fx->loop, fds[0], &none, &none, NULL, &fx_ops, fx);
}

static inline void fx_start(struct fx *fx)
{
    fx_turn(fx, 2);
    assert_non_null(fx->k);
}

static inline void fx_fini(struct fx *fx)
{
    for (size_t i = 0; i < fx->n_recs; i++) {
        rec_close(&fx->recs[i]);
    }
    if (fx->c != NULL) {
        conn_close(fx->c, CONN_CLOSED_BY_US);
    }
    fx_turn(fx, 3);
    assert_null(fx->c);
    for (size_t i = 0; i < fx->n_recs; i++) {
        arena_reset(&fx->recs[i].arena);
    }
    if (fx->fd >= 0) {
        close(fx->fd);
    }
    loop_free(fx->loop);
    mem_free(fx->raw);
}

static inline void fx_write(struct fx *fx, const char *p, size_t len)
{
    assert_int_equal(send(fx->fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Sends `text` in pieces of `step` bytes, a few turns after each. */
static inline void fx_say(struct fx *fx, const char *text, size_t step)
{
    const size_t len = strlen(text);

    for (size_t at = 0; at < len; at += step) {
        const size_t n = len - at < step ? len - at : step;

        // The codec may have closed: what follows is lost, as in life.
        if (send(fx->fd, text + at, n, MSG_NOSIGNAL) != (ssize_t)n) {
            break;
        }
        fx_turn(fx, 2);
    }
    fx_turn(fx, 6);
}

/* Lets time pass on the loop's clock until `is_done`, at most 5 s. */
static inline void fx_wait(struct fx *fx, bool (*is_done)(const struct fx *fx))
{
    const uint64_t end_ms = fx->loop->now_ms + 5000;

    while (!is_done(fx) && fx->loop->now_ms < end_ms) {
        loop_run_once(fx->loop, 50);
        fx_read(fx);
    }
    assert_true(is_done(fx));
}

static inline bool fx_is_closed(const struct fx *fx)
{
    return fx->c == NULL;
}

static inline bool fx_is_raw_eof(const struct fx *fx)
{
    return fx->is_raw_eof || fx->is_raw_reset;
}

/*
 * What the other end has received, in short: the status of each head, with
 * 'c' when it says Connection: close, then '.' for FIN or 'R' for a reset.
 */
static inline const char *fx_answers(struct fx *fx)
{
    static char text[256];
    size_t n = 0;

    fx_read(fx);
    fx->raw[fx->raw_len] = '\0';
    text[0] = '\0';
    for (char *p = (char *)fx->raw; (p = strstr(p, "HTTP/1.1 ")) != NULL;) {
        char *const end = strstr(p, "\r\n\r\n");
        char *const word = strstr(p, "connection: close\r\n");
        const bool is_close = word != NULL && end != NULL && word < end;

        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.3s%s",
                              n > 0 ? " " : "", p + 9, is_close ? "c" : "");
        p += 9;
    }
    snprintf(text + n, sizeof(text) - n, "%s%s", fx->is_raw_eof ? "." : "",
             fx->is_raw_reset ? "R" : "");
    return text;
}

/* Client: opens a stream and sends a request. */
static inline struct rec *
fx_ask(struct fx *fx, const char *method, int64_t length, bool is_end)
{
    struct rec *const r = fx_rec_new(fx);
    struct head h;

    r->s = codec_open(fx->k, &rec_ops, r, &r->arena);
    head_init(&h, &r->arena);
    h.method_text = str_from(method);
    h.method = method_find(h.method_text);
    h.path = STR("/");
    h.authority = STR("a");
    h.content_length = length;
    stream_send_head(r->s, &h, is_end);
    return r;
}

#endif
