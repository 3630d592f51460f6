/*
 * fuzz_h1_request: an HTTP/1.1 request head, the chunked body behind it and its
 * trailers. Input: a byte of options, then what a client sends.
 * Laws: what a head is, and its fault, do not depend on how it was cut; an
 * accepted head, written and parsed again, is the same typed message; chunks
 * give the same data and end in the same place however they are cut.
 */
#include "fuzz.h"
#include "head_same.h"
#include "http/h1.h"

enum { ARENA_MAX = 256 * 1024 };

/* The length of the head when it comes in cuts. */
static size_t request_head_len_cut(const uint8_t *p, size_t len, uint64_t seed)
{
    size_t scan_from = 0;
    size_t at = 0;
    while (at < len) {
        at += fuzz_cut(&seed, len - at);
        const size_t head_len = h1_head_len(p, at, &scan_from);
        if (head_len > 0) {
            return head_len;
        }
    }
    return 0;
}

/* Every prefix is judged as the whole will be, or not yet. */
static void request_check_partial(const uint8_t *p,
                                  size_t len,
                                  enum fault whole,
                                  const struct codec_limits *limits)
{
    const size_t step = len > 512 ? len / 256 : 1;
    for (size_t n = 1; n < len; n += step) {
        const enum fault f = h1_head_partial(p, n, true, limits);
        CHECK(f == FAULT_NONE || f == whole);
    }
}

static void request_check_again(const struct head *h,
                                const struct codec_limits *limits)
{
    struct buf out;
    struct head again;
    struct arena arena;
    if (h->authority.len == 0) {
        return; /* HTTP/1.0 without Host: the owner refuses or fills it in */
    }
    buf_init(&out, NULL);
    arena_init(&arena, NULL, ARENA_MAX);
    head_init(&again, &arena);
    const bool is_end = !h->is_chunked && h->content_length <= 0;
    h1_write_request(&out, h, is_end);
    const size_t len = buf_len(&out);
    uint8_t *text = mem_new_raw(len);
    for (size_t at = 0; at < len;) {
        const struct str piece = buf_peek(&out);
        memcpy(text + at, piece.p, piece.len);
        at += piece.len;
        buf_drop(&out, piece.len);
    }
    size_t scan_from = 0;
    CHECK(h1_head_len(text, len, &scan_from) == len);
    /* Our own framing fields count too, so a full head may now be too much. */
    struct codec_limits wide = *limits;
    wide.n_fields_max += 4;
    wide.head_bytes_max += 1024;
    wide.field_bytes_max += 256;
    wide.target_bytes_max += 64;
    CHECK(h1_parse_request(&again, text, len, h->scheme, &wide) == FAULT_NONE);
    head_check_request(h, &again);
    mem_free(text);
    arena_reset(&arena);
    buf_fini(&out);
}

/* The state of a body after all of it was fed. */
struct request_body {
    uint64_t hash;
    size_t n_data;
    size_t n_used;
    enum h1_chunk_result end;
};

static struct request_body
request_chunks(const uint8_t *p, size_t len, bool is_cut)
{
    struct h1_chunks ch;
    struct request_body b = {.end = H1_CHUNK_MORE};
    uint64_t seed = fuzz_hash(p, len);
    h1_chunks_init(&ch);
    while (b.n_used < len &&
           (b.end == H1_CHUNK_MORE || b.end == H1_CHUNK_DATA)) {
        struct str data = STR_NONE;
        size_t used = 0;
        const size_t left = len - b.n_used;
        const size_t n = is_cut ? fuzz_cut(&seed, left) : left;
        b.end = h1_chunks_next(&ch, p + b.n_used, n, &used, &data);
        CHECK(used <= n && (used > 0 || b.end != H1_CHUNK_MORE));
        b.n_used += used;
        if (b.end == H1_CHUNK_DATA) {
            CHECK(data.len > 0 && data.len <= used);
            for (size_t i = 0; i < data.len; i++) {
                b.hash = b.hash * 31 + (uint8_t)data.p[i];
            }
            b.n_data += data.len;
        }
    }
    CHECK(ch.data_bytes == b.n_data || b.end == H1_CHUNK_BAD);
    return b;
}

static void request_check_trailers(const uint8_t *p,
                                   size_t len,
                                   const struct codec_limits *limits)
{
    size_t scan_from = 0;
    struct arena arena;
    struct head t;
    size_t n = len >= 2 && p[0] == '\r' && p[1] == '\n' ? 2 : 0;
    n = n == 0 ? h1_head_len(p, len, &scan_from) : n;
    arena_init(&arena, NULL, ARENA_MAX);
    head_init(&t, &arena);
    const struct str exact = fuzz_copy(str_make((const char *)p, n));
    if (n > 0 && h1_parse_trailers(&t, (const uint8_t *)exact.p, n, limits) ==
                     FAULT_NONE) {
        head_check_sound(&t);
        CHECK(t.n_fields <= limits->n_trailers_max);
    }
    fuzz_free(exact);
    arena_reset(&arena);
}

static void request_check_body(const uint8_t *p,
                               size_t len,
                               const struct codec_limits *limits)
{
    const struct request_body whole = request_chunks(p, len, false);
    const struct request_body cut = request_chunks(p, len, true);
    CHECK(whole.end == H1_CHUNK_BAD ? cut.end == H1_CHUNK_BAD
                                    : cut.end != H1_CHUNK_BAD);
    CHECK(whole.n_data == cut.n_data && whole.hash == cut.hash);
    if (whole.end == H1_CHUNK_TRAILER) {
        CHECK(cut.end == H1_CHUNK_TRAILER && whole.n_used == cut.n_used);
        request_check_trailers(p + whole.n_used, len - whole.n_used, limits);
    }
}

static struct codec_limits request_limits(uint8_t options)
{
    struct codec_limits limits = codec_limits_default();
    limits.is_underscore_allowed = (options & 1) != 0;
    limits.is_encoded_slash_allowed = (options & 2) != 0;
    if ((options & 4) != 0) {
        limits.target_bytes_max = 64;
        limits.head_bytes_max = 1024;
        limits.n_fields_max = 8;
        limits.field_bytes_max = 128;
        limits.trailer_bytes_max = 128;
        limits.n_trailers_max = 2;
    }
    return limits;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size};
    const struct codec_limits limits = request_limits(fuzz_byte(&in));
    size_t scan_from = 0;
    const size_t n = h1_head_len(in.p, in.len, &scan_from);
    CHECK(n == request_head_len_cut(in.p, in.len, fuzz_hash(data, size)));
    if (n == 0) {
        /* Once refused, always refused, and for the same reason. */
        const enum fault f = in.len == 0
                                 ? FAULT_NONE
                                 : h1_head_partial(in.p, in.len, true, &limits);
        request_check_partial(in.p, in.len, f, &limits);
        return 0;
    }
    struct arena arena;
    struct head h;
    arena_init(&arena, NULL, ARENA_MAX);
    head_init(&h, &arena);
    const struct str exact = fuzz_copy(str_make((const char *)in.p, n));
    const enum fault f =
        h1_parse_request(&h, (const uint8_t *)exact.p, n, STR("http"), &limits);
    request_check_partial(in.p, n, f, &limits);
    fuzz_free(exact);
    if (f == FAULT_NONE) {
        CHECK(!h.is_chunked || h.content_length == -1);
        CHECK(h.path.len > 0 && (h.path.p[0] == '/' || h.path.p[0] == '*'));
        CHECK(h.n_fields <= limits.n_fields_max);
        head_check_sound(&h);
        request_check_again(&h, &limits);
        if (h.is_chunked) {
            request_check_body(in.p + n, in.len - n, &limits);
        }
    }
    arena_reset(&arena);
    return 0;
}
