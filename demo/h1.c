/*
 * h1: HTTP/1.0 and HTTP/1.1 for the demo server, on one bufferevent.
 *
 * It is strict, because hostile bytes reach it in tests: a head of at most
 * 64 KiB, one Content-Length of digits or one Transfer-Encoding of `chunked`,
 * never both; anything else is answered with 400 and the connection closed.
 * One request at a time: bytes of the next one wait in the input buffer, whose
 * high watermark stops the reading. The object owns the bufferevent and the
 * call, and frees itself when the connection ends.
 */
#define _GNU_SOURCE // memmem, strcasestr
#include "call.h"
#include "conn.h"
#include "route.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define H1_HEAD_MAX 65536u
#define H1_LINE_MAX 4096u
#define H1_INPUT_MAX (256u << 10)
#define H1_OUTPUT_LOW (64u << 10)

enum h1_state {
    H1_HEAD,
    H1_BODY,
    H1_CHUNK_SIZE,
    H1_CHUNK_DATA,
    H1_CHUNK_END,
    H1_TRAILERS,
    H1_ANSWER, // the request is complete, its answer is not
    H1_CLOSING // the answer is leaving; input is dropped
};

struct h1 {
    const struct conn_server *server;
    struct bufferevent *bev;
    struct call *call;
    enum h1_state state;
    uint64_t left; // bytes of the body or of the chunk
    bool keep_alive;
    bool chunked_out;
    bool head_sent;
    bool answered; // the whole answer is in the output buffer
    bool in_run;   // h1_run() is on the stack and will send by itself
    bool lingering;
};

static void h1_free(struct h1 *h)
{
    if (h->call != NULL) {
        call_free(h->call);
    }
    bufferevent_free(h->bev);
    free(h);
}

static void h1_send_head(struct h1 *h)
{
    struct call *c = h->call;
    struct evbuffer *out = bufferevent_get_output(h->bev);
    const bool bodyless = c->status == 204 || c->status == 304;
    if (c->out_len < 0 && c->ended && c->trailers.n == 0) {
        c->out_len = (int64_t)evbuffer_get_length(c->out);
    }
    h->chunked_out = false;
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", c->status,
                        c->status < 400 ? "OK" : "Error");
    for (size_t i = 0; i < c->reply_fields.n; i++) {
        evbuffer_add_printf(out, "%s: %s\r\n", c->reply_fields.at[i].name,
                            c->reply_fields.at[i].value);
    }
    if (bodyless) {
        // No length at all.
    } else if (c->out_len >= 0) {
        evbuffer_add_printf(out, "content-length: %lld\r\n",
                            (long long)c->out_len);
    } else if (strcmp(c->protocol, "http/1.1") == 0) {
        h->chunked_out = true;
        evbuffer_add_printf(out, "transfer-encoding: chunked\r\n");
    } else {
        h->keep_alive = false;
    }
    if (h->state != H1_ANSWER) {
        h->keep_alive = false; // answered before the request ended
    }
    if (!h->keep_alive) {
        evbuffer_add_printf(out, "connection: close\r\n");
    } else if (strcmp(c->protocol, "http/1.0") == 0) {
        evbuffer_add_printf(out, "connection: keep-alive\r\n");
    }
    evbuffer_add(out, "\r\n", 2);
    h->head_sent = true;
}

static void h1_send_end(struct h1 *h)
{
    struct evbuffer *out = bufferevent_get_output(h->bev);
    if (h->chunked_out) {
        evbuffer_add(out, "0\r\n", 3);
        for (size_t i = 0; i < h->call->trailers.n; i++) {
            evbuffer_add_printf(out, "%s: %s\r\n", h->call->trailers.at[i].name,
                                h->call->trailers.at[i].value);
        }
        evbuffer_add(out, "\r\n", 2);
    }
    h->answered = true;
}

/* Moves what the call has to say into the output, up to the low watermark. */
static void h1_send(struct h1 *h)
{
    struct call *c = h->call;
    struct evbuffer *out = bufferevent_get_output(h->bev);
    if (c == NULL || h->answered || c->status == 0) {
        return;
    }
    if (!h->head_sent) {
        h1_send_head(h);
    }
    const bool head_only =
        strcmp(c->method, "HEAD") == 0 || c->status == 204 || c->status == 304;
    while (!head_only && evbuffer_get_length(out) < H1_OUTPUT_LOW) {
        if (evbuffer_get_length(c->out) == 0 && !c->ended && c->more != NULL) {
            c->more(c);
        }
        const size_t n = evbuffer_get_length(c->out);
        if (n == 0) {
            break;
        }
        if (h->chunked_out) {
            evbuffer_add_printf(out, "%zx\r\n", n);
        }
        evbuffer_add_buffer(out, c->out);
        if (h->chunked_out) {
            evbuffer_add(out, "\r\n", 2);
        }
    }
    if (head_only) {
        h->chunked_out = false;
        h->answered = true;
    } else if (c->ended && evbuffer_get_length(c->out) == 0) {
        h1_send_end(h);
    }
}

static bool h1_is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char ch = (unsigned char)s[i];
        if (ch == 0 ||
            (!isalnum(ch) && strchr("!#$%&'*+-.^_`|~", ch) == NULL)) {
            return false;
        }
    }
    return len > 0;
}

static bool h1_is_value(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char ch = (unsigned char)s[i];
        if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool h1_parse_field(struct call_fields *f, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (colon == NULL || !h1_is_token(line, (size_t)(colon - line))) {
        return false;
    }
    const char *value = colon + 1;
    const char *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (end > value && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    return h1_is_value(value, (size_t)(end - value)) &&
           call_fields_add(f, line, (size_t)(colon - line), value,
                           (size_t)(end - value));
}

static bool h1_parse_request_line(struct call *c, const char *line, size_t len)
{
    const char *const end = line + len;
    const char *const path = memchr(line, ' ', len);
    if (path == NULL || !h1_is_token(line, (size_t)(path - line))) {
        return false;
    }
    const char *const version = memchr(path + 1, ' ', (size_t)(end - path - 1));
    if (version == NULL || version == path + 1 || end - version != 9 ||
        !h1_is_value(path + 1, (size_t)(version - path - 1))) {
        return false;
    }
    if (memcmp(version, " HTTP/1.1", 9) == 0) {
        c->protocol = "http/1.1";
    } else if (memcmp(version, " HTTP/1.0", 9) == 0) {
        c->protocol = "http/1.0";
    } else {
        return false;
    }
    c->method = call_strndup(line, (size_t)(path - line));
    c->path = call_strndup(path + 1, (size_t)(version - path - 1));
    return true;
}

/* Decides the framing of the body; false where it is in doubt. */
static bool h1_parse_framing(struct h1 *h)
{
    const struct call *c = h->call;
    const char *length = NULL;
    const char *coding = NULL;
    for (size_t i = 0; i < c->fields.n; i++) {
        const struct call_field *f = &c->fields.at[i];
        if (strcasecmp(f->name, "content-length") == 0) {
            const size_t digits = strspn(f->value, "0123456789");
            if (length != NULL || digits == 0 || digits > 18 ||
                f->value[digits] != '\0') {
                return false;
            }
            length = f->value;
        } else if (strcasecmp(f->name, "transfer-encoding") == 0) {
            if (coding != NULL || strcasecmp(f->value, "chunked") != 0) {
                return false;
            }
            coding = f->value;
        }
    }
    if (coding != NULL) {
        h->state = H1_CHUNK_SIZE;
        return length == NULL && strcmp(c->protocol, "http/1.1") == 0;
    }
    h->left = length == NULL ? 0 : strtoull(length, NULL, 10);
    h->state = H1_BODY;
    return true;
}

static void h1_parse_connection(struct h1 *h)
{
    const struct call *c = h->call;
    const char *value = call_field(c, "connection");
    h->keep_alive = strcmp(c->protocol, "http/1.1") == 0;
    if (value == NULL) {
        return;
    }
    if (strcasestr(value, "close") != NULL) {
        h->keep_alive = false;
    } else if (strcasestr(value, "keep-alive") != NULL) {
        h->keep_alive = true;
    }
}

/* Fills the call from a complete head; false: it is not HTTP. */
static bool h1_parse_head(struct h1 *h, const char *head, size_t len)
{
    const char *const end = head + len;
    const char *line = head;
    bool first = true;
    while (line < end) {
        const char *eol = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (eol == NULL) {
            return false;
        }
        const size_t n = (size_t)(eol - line);
        const bool ok = first ? h1_parse_request_line(h->call, line, n)
                              : h1_parse_field(&h->call->fields, line, n);
        if (!ok) {
            return false;
        }
        first = false;
        line = eol + 2;
    }
    if (first) {
        return false;
    }
    const char *host = call_field(h->call, "host");
    if (host == NULL && strcmp(h->call->protocol, "http/1.1") == 0) {
        return false;
    }
    h->call->authority =
        call_strndup(host == NULL ? "" : host, host == NULL ? 0 : strlen(host));
    h1_parse_connection(h);
    return h1_parse_framing(h);
}

/* Answers what cannot be read as a request, and closes. */
static void h1_refuse(struct h1 *h, const char *why)
{
    struct call *c = h->call;
    if (c->method == NULL) {
        c->method = call_strndup("", 0);
    }
    if (c->protocol == NULL) {
        c->protocol = "http/1.1";
    }
    c->refused = true;
    h->state = H1_CLOSING;
    h->keep_alive = false;
    if (c->status != 0 && h->head_sent) {
        h->answered = true;
        return;
    }
    call_take_back(c);
    call_reply(c, 400, "text/plain", why);
}

static void h1_wake(struct call *c)
{
    struct h1 *h = c->transport;
    if (!h->in_run) {
        // Never send on the handler's stack: a write of the bufferevent, or
        // the next read, comes soon enough from the loop itself.
        bufferevent_trigger(h->bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
    }
}

static bool h1_step_head(struct h1 *h, struct evbuffer *in)
{
    char eol[2];
    while (evbuffer_copyout(in, eol, 2) == 2 && memcmp(eol, "\r\n", 2) == 0) {
        evbuffer_drain(in, 2); // empty lines before a request are allowed
    }
    const struct evbuffer_ptr at = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    if (at.pos < 0 && evbuffer_get_length(in) < H1_HEAD_MAX) {
        return false;
    }
    h->call = call_new(h->server->base, h->server->name);
    h->call->transport = h;
    h->call->wake = h1_wake;
    h->head_sent = false;
    h->answered = false;
    if (at.pos < 0 || at.pos > (ev_ssize_t)H1_HEAD_MAX) {
        h1_refuse(h, "The head of the request is too large.\n");
        return true;
    }
    const size_t len = (size_t)at.pos + 2;
    const unsigned char *head = evbuffer_pullup(in, (ev_ssize_t)len);
    if (!h1_parse_head(h, (const char *)head, len)) {
        h1_refuse(h, "This is not a request.\n");
        return true;
    }
    evbuffer_drain(in, len + 2);
    route_call(h->call);
    const char *expect = call_field(h->call, "expect");
    if (expect != NULL && strcasecmp(expect, "100-continue") == 0 &&
        h->call->status == 0 && evbuffer_get_length(in) == 0) {
        evbuffer_add_printf(bufferevent_get_output(h->bev),
                            "HTTP/1.1 100 Continue\r\n\r\n");
    }
    return true;
}

/* Passes on up to `left` bytes; false: more input is needed. */
static bool h1_step_data(struct h1 *h, struct evbuffer *in)
{
    while (h->left > 0) {
        struct evbuffer_iovec v;
        if (evbuffer_peek(in, -1, NULL, &v, 1) < 1 || v.iov_len == 0) {
            return false;
        }
        const size_t n = v.iov_len < h->left ? v.iov_len : (size_t)h->left;
        call_request_data(h->call, v.iov_base, n);
        evbuffer_drain(in, n);
        h->left -= n;
    }
    return true;
}

/* Reads one line into `line`; -1: not there yet, -2: too long. */
static ev_ssize_t h1_line(struct evbuffer *in, char *line)
{
    const struct evbuffer_ptr at = evbuffer_search(in, "\r\n", 2, NULL);
    if (at.pos >= (ev_ssize_t)H1_LINE_MAX ||
        (at.pos < 0 && evbuffer_get_length(in) >= H1_LINE_MAX)) {
        return -2;
    }
    if (at.pos < 0) {
        return -1;
    }
    evbuffer_remove(in, line, (size_t)at.pos);
    line[at.pos] = '\0';
    evbuffer_drain(in, 2);
    return at.pos;
}

static bool h1_step_chunk_size(struct h1 *h, struct evbuffer *in)
{
    char line[H1_LINE_MAX + 1];
    const ev_ssize_t len = h1_line(in, line);
    if (len == -1) {
        return false;
    }
    const size_t digits = len < 0 ? 0 : strspn(line, "0123456789abcdefABCDEF");
    if (digits == 0 || digits > 15 ||
        (line[digits] != '\0' && line[digits] != ';')) {
        h1_refuse(h, "A chunk size is wrong.\n");
        return true;
    }
    h->left = strtoull(line, NULL, 16);
    h->state = h->left == 0 ? H1_TRAILERS : H1_CHUNK_DATA;
    return true;
}

static bool h1_step_chunk_end(struct h1 *h, struct evbuffer *in)
{
    char eol[2];
    if (evbuffer_get_length(in) < 2) {
        return false;
    }
    evbuffer_remove(in, eol, 2);
    if (memcmp(eol, "\r\n", 2) != 0) {
        h1_refuse(h, "A chunk does not end.\n");
        return true;
    }
    h->state = H1_CHUNK_SIZE;
    return true;
}

static void h1_request_end(struct h1 *h)
{
    h->state = H1_ANSWER;
    call_request_end(h->call);
}

static bool h1_step_trailers(struct h1 *h, struct evbuffer *in)
{
    char line[H1_LINE_MAX + 1];
    const ev_ssize_t len = h1_line(in, line);
    if (len == -1) {
        return false;
    }
    if (len == -2) {
        h1_refuse(h, "A trailer is too long.\n");
    } else if (len == 0) {
        h1_request_end(h);
    } else if (!h1_parse_field(&h->call->fields, line, (size_t)len)) {
        h1_refuse(h, "A trailer is wrong.\n");
    }
    return true;
}

/* One step of reading; false: nothing more can be done with this input. */
static bool h1_step(struct h1 *h, struct evbuffer *in)
{
    switch (h->state) {
    case H1_HEAD:
        return h1_step_head(h, in);
    case H1_BODY:
        if (!h1_step_data(h, in)) {
            return false;
        }
        h1_request_end(h);
        return true;
    case H1_CHUNK_SIZE:
        return h1_step_chunk_size(h, in);
    case H1_CHUNK_DATA:
        if (!h1_step_data(h, in)) {
            return false;
        }
        h->state = H1_CHUNK_END;
        return true;
    case H1_CHUNK_END:
        return h1_step_chunk_end(h, in);
    case H1_TRAILERS:
        return h1_step_trailers(h, in);
    case H1_ANSWER:
        return false;
    case H1_CLOSING:
        evbuffer_drain(in, evbuffer_get_length(in));
        return false;
    }
    return false;
}

/*
 * After an answer: the next request, or a close in two steps, so that a peer
 * which still sends reads the answer before its connection is reset.
 */
static bool h1_finish(struct h1 *h)
{
    if (h->state == H1_ANSWER && h->keep_alive) {
        call_free(h->call);
        h->call = NULL;
        h->state = H1_HEAD;
        return true;
    }
    h->state = H1_CLOSING;
    return false;
}

/*
 * A peer that says nothing while its answer is being made may wait; one that
 * has closed its side still gets an answer that is already complete.
 */
static void h1_event(struct bufferevent *bev, short what, void *arg)
{
    struct h1 *h = arg;
    const bool answering = h->call != NULL && h->state != H1_CLOSING;
    if ((what & BEV_EVENT_TIMEOUT) != 0 && answering) {
        bufferevent_enable(bev, EV_READ);
        return;
    }
    if ((what & BEV_EVENT_EOF) != 0 && !answering && !h->lingering &&
        evbuffer_get_length(bufferevent_get_output(bev)) > 0) {
        h->state = H1_CLOSING;
        return;
    }
    h1_free(h);
}

static void h1_linger(struct h1 *h)
{
    if (evbuffer_get_length(bufferevent_get_output(h->bev)) > 0 ||
        h->lingering) {
        return;
    }
    const struct timeval wait = {2, 0};
    h->lingering = true;
    shutdown(bufferevent_getfd(h->bev), SHUT_WR);
    bufferevent_set_timeouts(h->bev, &wait, NULL);
    bufferevent_setwatermark(h->bev, EV_READ, 0, 0);
    bufferevent_enable(h->bev, EV_READ);
}

/* Reads and answers as far as both sides allow. */
static void h1_run(struct h1 *h)
{
    struct evbuffer *in = bufferevent_get_input(h->bev);
    if (h->in_run) {
        return;
    }
    h->in_run = true;
    bool again = true;
    while (again) {
        again = false;
        while (h->state != H1_CLOSING && h1_step(h, in)) {
        }
        h1_send(h);
        if (h->answered && h->call != NULL) {
            again = h1_finish(h);
        }
    }
    if (h->state == H1_CLOSING) {
        evbuffer_drain(in, evbuffer_get_length(in));
        h1_linger(h);
    }
    h->in_run = false;
}

static void h1_io(struct bufferevent *bev, void *arg)
{
    (void)bev;
    h1_run(arg);
}

void h1_start(const struct conn_server *server, struct bufferevent *bev)
{
    struct h1 *h = call_alloc(sizeof *h);
    h->server = server;
    h->bev = bev;
    bufferevent_setcb(bev, h1_io, h1_io, h1_event, h);
    bufferevent_setwatermark(bev, EV_READ, 0, H1_INPUT_MAX);
    bufferevent_setwatermark(bev, EV_WRITE, H1_OUTPUT_LOW / 2, 0);
    h1_run(h);
}
