/*
 * h2_wire: a reader of HTTP/2 frames that the gateway sent, which knows no more
 * than RFC 9113 and CHECKs that what was sent is lawful: frames in order, one
 * final head per stream, nothing behind its end, a body as long as announced.
 */
#ifndef DAEMUN_TESTS_FUZZ_H2_WIRE_H
#define DAEMUN_TESTS_FUZZ_H2_WIRE_H

#include "fuzz.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

enum { H2_WIRE_STREAMS_MAX = 2048, H2_WIRE_FRAME_MAX = 16384 };

struct h2_wire_stream {
    uint32_t id;
    uint32_t n_final; /* heads that are not 1xx */
    uint64_t n_data;
    int64_t content_length; /* -1: not announced */
    int status;
    bool is_end;
    bool is_reset;
    bool is_bodyless; /* of a HEAD request: tells the caller */
};

struct h2_wire {
    bool is_server; /* who sent it */
    nghttp2_hd_inflater *inflater;
    struct h2_wire_stream streams[H2_WIRE_STREAMS_MAX];
    size_t n_streams;
    uint8_t *block; /* of HEADERS and CONTINUATION */
    size_t block_len;
    size_t block_cap;
    uint32_t block_id; /* 0: none is open */
    bool is_block_end; /* END_STREAM of its HEADERS */
    size_t n_frames;
    bool is_goaway;
};

static inline struct h2_wire_stream *h2_wire_stream(struct h2_wire *w,
                                                    uint32_t id)
{
    for (size_t i = 0; i < w->n_streams; i++) {
        if (w->streams[i].id == id) {
            return &w->streams[i];
        }
    }
    CHECK(w->n_streams < H2_WIRE_STREAMS_MAX);
    w->streams[w->n_streams] =
        (struct h2_wire_stream){.id = id, .content_length = -1};
    return &w->streams[w->n_streams++];
}

/* What one block says. */
struct h2_wire_block {
    int status;
    bool has_method;
    bool has_regular;
    int64_t content_length;
};

static inline void
h2_wire_field(struct h2_wire_block *b, struct str name, struct str value)
{
    static const char *const hops[] = {"connection", "transfer-encoding",
                                       "keep-alive", "upgrade",
                                       "proxy-connection"};
    CHECK(name.len > 0);
    for (size_t i = 0; i < name.len; i++) {
        CHECK(name.p[i] < 'A' || name.p[i] > 'Z');
        CHECK((uint8_t)name.p[i] > 0x20);
    }
    for (size_t i = 0; i < value.len; i++) {
        CHECK(value.p[i] != '\0' && value.p[i] != '\r' && value.p[i] != '\n');
    }
    for (size_t i = 0; i < sizeof(hops) / sizeof(hops[0]); i++) {
        CHECK(!str_eq(name, str_from(hops[i])));
    }
    if (name.p[0] == ':') {
        CHECK(!b->has_regular);
        b->has_method |= str_eq(name, STR(":method"));
        if (str_eq(name, STR(":status"))) {
            CHECK(b->status == 0 && value.len == 3);
            b->status = atoi(value.p);
            CHECK(b->status >= 100 && b->status <= 599);
        }
        return;
    }
    b->has_regular = true;
    if (str_eq(name, STR("content-length"))) {
        uint64_t n;
        CHECK(b->content_length == -1 && str_to_u64(value, &n));
        b->content_length = (int64_t)n;
    }
}

static inline void h2_wire_end(struct h2_wire_stream *s)
{
    CHECK(!s->is_end);
    s->is_end = true;
    /* To HEAD, and with 304, a length may be announced without a body. */
    CHECK(s->content_length < 0 || s->n_data == 0 ||
          s->n_data == (uint64_t)s->content_length);
}

static inline void h2_wire_block(struct h2_wire *w)
{
    struct h2_wire_block b = {.content_length = -1};
    const uint8_t *p = w->block;
    size_t left = w->block_len;
    int flags = 0;
    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
        nghttp2_nv nv;
        const ssize_t n =
            nghttp2_hd_inflate_hd2(w->inflater, &nv, &flags, p, left, 1);
        CHECK(n >= 0);
        p += n;
        left -= (size_t)n;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
            h2_wire_field(&b, str_make((const char *)nv.name, nv.namelen),
                          str_make((const char *)nv.value, nv.valuelen));
        }
    }
    nghttp2_hd_inflate_end_headers(w->inflater);
    struct h2_wire_stream *s = h2_wire_stream(w, w->block_id);
    const bool is_head = w->is_server ? b.status != 0 : b.has_method;
    if (is_head && b.status >= 100 && b.status < 200) {
        CHECK(s->n_final == 0 && !w->is_block_end && b.content_length == -1);
    } else if (is_head) {
        CHECK(s->n_final++ == 0);
        s->status = b.status;
        s->content_length = b.content_length;
    } else {
        /* Trailers: behind a final head, and the last of the stream. */
        CHECK(s->n_final == 1 && w->is_block_end);
    }
    if (w->is_block_end) {
        h2_wire_end(s);
    }
    w->block_id = 0;
    w->block_len = 0;
}

static inline void
h2_wire_block_add(struct h2_wire *w, const uint8_t *p, size_t len, bool is_last)
{
    if (w->block_len + len > w->block_cap) {
        w->block_cap = w->block_len + len;
        w->block = mem_resize(w->block, w->block_cap);
    }
    if (len > 0) {
        memcpy(w->block + w->block_len, p, len);
    }
    w->block_len += len;
    if (is_last) {
        h2_wire_block(w);
    }
}

static inline void h2_wire_on_headers(struct h2_wire *w,
                                      uint8_t flags,
                                      uint32_t id,
                                      const uint8_t *p,
                                      size_t len)
{
    const struct h2_wire_stream *s = h2_wire_stream(w, id);
    CHECK(id % 2 == 1 && !s->is_end && !s->is_reset);
    CHECK((flags & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY)) == 0);
    w->block_id = id;
    w->is_block_end = (flags & NGHTTP2_FLAG_END_STREAM) != 0;
    h2_wire_block_add(w, p, len, (flags & NGHTTP2_FLAG_END_HEADERS) != 0);
}

static inline void
h2_wire_on_data(struct h2_wire *w, uint8_t flags, uint32_t id, size_t len)
{
    struct h2_wire_stream *s = h2_wire_stream(w, id);
    CHECK(s->n_final == 1 && !s->is_end && !s->is_reset);
    CHECK((flags & NGHTTP2_FLAG_PADDED) == 0);
    s->n_data += len;
    CHECK(s->content_length < 0 || s->n_data <= (uint64_t)s->content_length);
    if ((flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        h2_wire_end(s);
    }
}

static inline void h2_wire_frame(struct h2_wire *w,
                                 uint8_t type,
                                 uint8_t flags,
                                 uint32_t id,
                                 const uint8_t *p,
                                 size_t len)
{
    const bool is_ack = (flags & NGHTTP2_FLAG_ACK) != 0;
    CHECK(len <= H2_WIRE_FRAME_MAX);
    CHECK(w->n_frames++ > 0 || (type == NGHTTP2_SETTINGS && !is_ack));
    CHECK(w->block_id == 0 ||
          (type == NGHTTP2_CONTINUATION && id == w->block_id));
    switch (type) {
    case NGHTTP2_DATA:
        h2_wire_on_data(w, flags, id, len);
        return;
    case NGHTTP2_HEADERS:
        h2_wire_on_headers(w, flags, id, p, len);
        return;
    case NGHTTP2_CONTINUATION:
        CHECK(w->block_id != 0);
        h2_wire_block_add(w, p, len, (flags & NGHTTP2_FLAG_END_HEADERS) != 0);
        return;
    case NGHTTP2_RST_STREAM:
        CHECK(len == 4 && id != 0 && !h2_wire_stream(w, id)->is_reset);
        h2_wire_stream(w, id)->is_reset = true;
        return;
    case NGHTTP2_SETTINGS:
        CHECK(id == 0 && len % 6 == 0 && (!is_ack || len == 0));
        return;
    case NGHTTP2_PING:
        CHECK(id == 0 && len == 8);
        return;
    case NGHTTP2_GOAWAY:
        CHECK(id == 0 && len >= 8);
        w->is_goaway = true;
        return;
    case NGHTTP2_WINDOW_UPDATE:
        CHECK(len == 4);
        return;
    default:
        check_fail("a frame that we never send", __FILE__, __LINE__);
    }
}

/* Reads all whole frames; `w` has the streams afterwards. */
static inline void h2_wire_read(struct h2_wire *w, const uint8_t *p, size_t len)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t at = w->is_server ? 0 : sizeof(preface) - 1;
    CHECK(nghttp2_hd_inflate_new(&w->inflater) == 0);
    if (!w->is_server && len > 0) {
        CHECK(memcmp(p, preface, len < at ? len : at) == 0);
    }
    while (at + 9 <= len) {
        const uint8_t *h = p + at;
        const size_t n = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
        const uint32_t id = (uint32_t)(h[5] & 127) << 24 |
                            (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8];
        if (at + 9 + n > len) {
            break;
        }
        h2_wire_frame(w, h[3], h[4], id, h + 9, n);
        at += 9 + n;
    }
}

static inline void h2_wire_fini(struct h2_wire *w)
{
    nghttp2_hd_inflate_del(w->inflater);
    mem_free(w->block);
}

#endif
