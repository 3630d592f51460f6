/*
 * tools: what tests ask of a server that they hold in their hand. /echo says
 * what arrived; /sink reads a body and counts it; /bytes/N sends N bytes;
 * /sse?n=&gap_ms= sends events one at a time; /slow?ms= answers late;
 * /daemun.demo.Echo/Stream (gRPC) returns each byte as it comes, and so
 * returns each message.
 */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define TOOLS_BLOCK 65536u

/* A JSON string even where the bytes are no UTF-8. */
static json_t *tools_text(const char *s)
{
    json_t *text = json_string(s);
    if (text != NULL) {
        return text;
    }
    const size_t len = strlen(s);
    char *hex = call_alloc(len * 2 + 1);
    for (size_t i = 0; i < len; i++) {
        snprintf(hex + i * 2, 3, "%02x", (unsigned char)s[i]);
    }
    text = json_pack("{s:s}", "hex", hex);
    free(hex);
    return text;
}

static void tools_echo(struct call *c)
{
    json_t *fields = json_array();
    for (size_t i = 0; i < c->fields.n; i++) {
        json_t *pair = json_array();
        json_array_append_new(pair, tools_text(c->fields.at[i].name));
        json_array_append_new(pair, tools_text(c->fields.at[i].value));
        json_array_append_new(fields, pair);
    }
    json_t *all = json_object();
    json_object_set_new(all, "server", tools_text(c->server_name));
    json_object_set_new(all, "protocol", json_string(c->protocol));
    json_object_set_new(all, "method", tools_text(c->method));
    json_object_set_new(all, "path", tools_text(c->path));
    json_object_set_new(all, "authority", tools_text(c->authority));
    json_object_set_new(all, "headers", fields);
    json_object_set_new(all, "body_bytes",
                        json_integer((json_int_t)c->body_len));
    char *text = json_dumps(all, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(all);
    if (text == NULL) {
        call_reply(c, 500, "text/plain", "The echo cannot be written.\n");
        return;
    }
    call_reply(c, 200, "application/json", text);
    free(text);
}

static void tools_drop(struct call *c, const uint8_t *bytes, size_t len)
{
    (void)c;
    (void)bytes;
    (void)len;
}

static void tools_sink(struct call *c)
{
    char text[64];
    snprintf(text, sizeof text, "{\"bytes\":%llu}",
             (unsigned long long)c->body_len);
    call_reply(c, 200, "application/json", text);
}

static void tools_bytes_more(struct call *c)
{
    static const char block[TOOLS_BLOCK];
    const size_t n = c->left < TOOLS_BLOCK ? (size_t)c->left : TOOLS_BLOCK;
    evbuffer_add_reference(c->out, block, n, NULL, NULL);
    c->left -= n;
    c->ended = c->left == 0;
}

static void tools_bytes(struct call *c)
{
    c->left = strtoull(c->path + strlen("/bytes/"), NULL, 10);
    if (c->left > INT64_MAX) {
        c->left = INT64_MAX;
    }
    call_head(c, 200, "application/octet-stream");
    c->out_len = (int64_t)c->left;
    c->more = tools_bytes_more;
    c->ended = c->left == 0;
    call_wake(c);
}

static void tools_sse_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct call *c = arg;
    if (c->left == 0) {
        call_end(c);
        return;
    }
    // A peer that does not read is waited for, so it holds little memory.
    if (evbuffer_get_length(c->out) < TOOLS_BLOCK) {
        c->left--;
        evbuffer_add_printf(c->out, "data: {\"left\":%llu}\n\n",
                            (unsigned long long)c->left);
    }
    if (c->left == 0) {
        call_end(c);
        return;
    }
    call_timer(c, c->gap_ms, tools_sse_tick);
    call_wake(c);
}

static void tools_sse(struct call *c)
{
    c->left = call_query(c, "n", 5, UINT64_MAX);
    c->gap_ms = (int)call_query(c, "gap_ms", 100, 3600000);
    call_head(c, 200, "text/event-stream");
    call_reply_field(c, "cache-control", "no-store");
    tools_sse_tick(-1, 0, c);
}

static void tools_slow_done(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    call_reply(arg, 200, "text/plain", "done\n");
}

static void tools_slow(struct call *c)
{
    call_timer(c, (int)call_query(c, "ms", 1000, 3600000), tools_slow_done);
}

static void tools_stream_data(struct call *c, const uint8_t *bytes, size_t len)
{
    evbuffer_add(c->out, bytes, len);
    call_wake(c);
}

static void tools_stream_end(struct call *c)
{
    call_trailer(c, "grpc-status", "0");
    call_end(c);
}

bool tools_route(struct call *c)
{
    if (call_path_is(c, "/echo")) {
        c->data = tools_drop;
        c->end = tools_echo;
    } else if (call_path_is(c, "/sink")) {
        c->data = tools_drop;
        c->end = tools_sink;
    } else if (strncmp(c->path, "/bytes/", 7) == 0) {
        c->end = tools_bytes;
    } else if (call_path_is(c, "/sse")) {
        c->end = tools_sse;
    } else if (call_path_is(c, "/slow")) {
        c->end = tools_slow;
    } else if (call_path_is(c, "/daemun.demo.Echo/Stream") &&
               strcmp(c->protocol, "h2") == 0) {
        c->data = tools_stream_data;
        c->end = tools_stream_end;
        c->hold_credit = true;
        call_head(c, 200, "application/grpc");
        call_wake(c);
    } else {
        return false;
    }
    return true;
}
