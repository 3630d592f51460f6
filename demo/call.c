/*
 * call: see call.h. Memory, the request's fields, the answer's parts.
 */
#include "call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t call_bodies_len;

void *call_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL) {
        fprintf(stderr, "demo-server: out of memory\n");
        abort();
    }
    return p;
}

char *call_strndup(const void *bytes, size_t len)
{
    char *s = call_alloc(len + 1);
    if (len > 0) {
        memcpy(s, bytes, len);
    }
    return s;
}

struct call *call_new(struct event_base *base, const char *server_name)
{
    struct call *c = call_alloc(sizeof *c);
    c->base = base;
    c->server_name = server_name;
    c->body = evbuffer_new();
    c->out = evbuffer_new();
    c->out_len = -1;
    if (c->body == NULL || c->out == NULL) {
        abort();
    }
    return c;
}

static void call_fields_free(struct call_fields *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->at[i].name);
        free(f->at[i].value);
    }
    f->n = 0;
}

void call_free(struct call *c)
{
    if (c->timer != NULL) {
        event_free(c->timer);
    }
    if (c->scratch != NULL) {
        evbuffer_free(c->scratch);
    }
    call_bodies_len -= evbuffer_get_length(c->body);
    evbuffer_free(c->body);
    evbuffer_free(c->out);
    call_fields_free(&c->fields);
    call_fields_free(&c->reply_fields);
    call_fields_free(&c->trailers);
    free(c->method);
    free(c->path);
    free(c->authority);
    free(c);
}

bool call_fields_add(struct call_fields *f,
                     const void *name,
                     size_t name_len,
                     const void *value,
                     size_t value_len)
{
    if (f->n == CALL_FIELDS_MAX) {
        return false;
    }
    f->at[f->n].name = call_strndup(name, name_len);
    f->at[f->n].value = call_strndup(value, value_len);
    f->n++;
    return true;
}

const char *call_field(const struct call *c, const char *name)
{
    for (size_t i = 0; i < c->fields.n; i++) {
        if (strcasecmp(c->fields.at[i].name, name) == 0) {
            return c->fields.at[i].value;
        }
    }
    return NULL;
}

uint64_t call_query(const struct call *c,
                    const char *name,
                    uint64_t otherwise,
                    uint64_t max)
{
    const size_t name_len = strlen(name);
    const char *at = strchr(c->path, '?');
    while (at != NULL) {
        at++;
        if (strncmp(at, name, name_len) == 0 && at[name_len] == '=') {
            const uint64_t n = strtoull(at + name_len + 1, NULL, 10);
            return n < max ? n : max;
        }
        at = strchr(at, '&');
    }
    return otherwise;
}

bool call_path_is(const struct call *c, const char *path)
{
    const size_t len = strlen(path);
    return strncmp(c->path, path, len) == 0 &&
           (c->path[len] == '\0' || c->path[len] == '?');
}

void call_request_data(struct call *c, const uint8_t *bytes, size_t len)
{
    c->body_len += len;
    if (c->refused) {
        return;
    }
    if (c->data != NULL) {
        c->data(c, bytes, len);
        return;
    }
    if (evbuffer_get_length(c->body) + len > CALL_BODY_MAX) {
        c->refused = true;
        call_reply(c, 413, "text/plain", "The body is over 16 MiB.\n");
        return;
    }
    if (call_bodies_len + len > CALL_BODIES_MAX) {
        c->refused = true;
        call_reply(c, 503, "text/plain", "Too many bodies at a time.\n");
        return;
    }
    call_bodies_len += len;
    evbuffer_add(c->body, bytes, len);
}

void call_request_end(struct call *c)
{
    if (!c->refused && c->end != NULL) {
        c->end(c);
    }
}

void call_head(struct call *c, int status, const char *content_type)
{
    c->status = status;
    call_reply_field(c, "server", "daemun-demo");
    call_reply_field(c, "x-demo-server", c->server_name);
    if (content_type != NULL) {
        call_reply_field(c, "content-type", content_type);
    }
}

void call_reply_field(struct call *c, const char *name, const char *value)
{
    call_fields_add(&c->reply_fields, name, strlen(name), value, strlen(value));
}

void call_trailer(struct call *c, const char *name, const char *value)
{
    call_fields_add(&c->trailers, name, strlen(name), value, strlen(value));
}

void call_reply(struct call *c,
                int status,
                const char *content_type,
                const char *text)
{
    if (c->status != 0) {
        return;
    }
    call_head(c, status, content_type);
    evbuffer_add(c->out, text, strlen(text));
    c->out_len = (int64_t)strlen(text);
    call_end(c);
}

void call_take_back(struct call *c)
{
    c->status = 0;
    c->ended = false;
    c->more = NULL;
    c->out_len = -1;
    evbuffer_drain(c->out, evbuffer_get_length(c->out));
    call_fields_free(&c->reply_fields);
    call_fields_free(&c->trailers);
}

void call_end(struct call *c)
{
    c->ended = true;
    call_wake(c);
}

void call_wake(struct call *c)
{
    c->wake(c);
}

void call_timer(struct call *c, int ms, event_callback_fn f)
{
    const struct timeval after = {ms / 1000, ms % 1000 * 1000};
    if (c->timer == NULL) {
        c->timer = event_new(c->base, -1, 0, f, c);
    }
    event_add(c->timer, &after);
}
