/*
 * fuzz_h1_response: the head of an HTTP/1.1 response from a backend. Input: a
 * byte that chooses the method that was asked and the client's version, then
 * what the backend sends.
 * Laws: what a head is does not depend on how it was cut; what h1_head_partial
 * refuses the parser refuses; an accepted head, written for a client and
 * parsed again, is the same message with a framing that fits.
 */
#include "fuzz.h"
#include "head_same.h"
#include "http/h1.h"

enum { ARENA_MAX = 256 * 1024 };

static void response_check_cuts(const uint8_t *p,
                                size_t len,
                                size_t head_len,
                                enum fault whole,
                                const struct codec_limits *limits)
{
    size_t scan_from = 0;
    size_t found = 0;
    uint64_t seed = fuzz_hash(p, len);
    for (size_t at = 0; at < len && found == 0;) {
        at += fuzz_cut(&seed, len - at);
        found = h1_head_len(p, at, &scan_from);
        if (found == 0 && h1_head_partial(p, at, false, limits) != FAULT_NONE) {
            CHECK(whole == FAULT_BAD_RESPONSE || head_len == 0);
        }
    }
    CHECK(found == head_len);
}

/* A body of this framing follows what we write; so it must be read again. */
static void response_check_framing(const struct head *h,
                                   const struct head *again,
                                   enum h1_framing framing)
{
    switch (framing) {
    case H1_NO_BODY:
        CHECK(!again->is_chunked);
        break;
    case H1_LENGTH:
        CHECK(again->content_length >= 0 && !again->is_chunked);
        CHECK(h->content_length == again->content_length ||
              h->content_length < 0);
        break;
    case H1_CHUNKED:
        CHECK(again->is_chunked && again->content_length == -1);
        break;
    case H1_UNTIL_CLOSE:
        CHECK(!again->is_chunked && again->content_length == -1 &&
              again->want_close);
        break;
    }
}

static void response_check_again(const struct head *h,
                                 enum method m,
                                 uint8_t version,
                                 const struct codec_limits *limits)
{
    struct buf out;
    struct head again;
    struct arena arena;
    buf_init(&out, NULL);
    arena_init(&arena, NULL, ARENA_MAX);
    head_init(&again, &arena);
    const enum h1_framing framing =
        h1_write_response(&out, h, m, version, h->want_close, false);
    const size_t len = buf_len(&out);
    uint8_t *text = mem_new_raw(len);
    for (size_t at = 0; at < len;) {
        const struct str piece = buf_peek(&out);
        memcpy(text + at, piece.p, piece.len);
        at += piece.len;
        buf_drop(&out, piece.len);
    }
    struct codec_limits wide = *limits;
    wide.n_fields_max += 4;
    wide.head_bytes_max += 1024;
    size_t scan_from = 0;
    CHECK(h1_head_len(text, len, &scan_from) == len);
    CHECK(h1_parse_response(&again, text, len, m, &wide) == FAULT_NONE);
    CHECK(h->status == again.status);
    CHECK(h->status != 101 || str_eq(h->upgrade, again.upgrade));
    head_check_fields(h, &again);
    response_check_framing(h, &again, framing);
    mem_free(text);
    arena_reset(&arena);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size};
    const uint8_t options = fuzz_byte(&in);
    const enum method m = (options & 1) != 0 ? METHOD_HEAD : METHOD_GET;
    const uint8_t version = (options & 2) != 0 ? 10 : 11;
    struct codec_limits limits = codec_limits_default();
    if ((options & 4) != 0) {
        limits.head_bytes_max = 1024;
        limits.n_fields_max = 8;
        limits.field_bytes_max = 128;
    }
    struct arena arena;
    struct head h;
    size_t scan_from = 0;
    enum fault f = FAULT_NONE;
    const size_t n = h1_head_len(in.p, in.len, &scan_from);
    arena_init(&arena, NULL, ARENA_MAX);
    head_init(&h, &arena);
    if (n > 0) {
        const struct str exact = fuzz_copy(str_make((const char *)in.p, n));
        f = h1_parse_response(&h, (const uint8_t *)exact.p, n, m, &limits);
        fuzz_free(exact);
        CHECK(f == FAULT_NONE || f == FAULT_BAD_RESPONSE ||
              f == FAULT_OVERLOAD);
    }
    response_check_cuts(in.p, in.len, n, f, &limits);
    if (n > 0 && f == FAULT_NONE) {
        CHECK(h.status >= 100 && h.status <= 599);
        CHECK(!h.is_chunked || h.content_length == -1);
        head_check_sound(&h);
        /* A tunnel without its token is refused by the codec. */
        if (h.status != 101 || h.upgrade.len > 0) {
            response_check_again(&h, m, version, &limits);
        }
    }
    arena_reset(&arena);
    return 0;
}
