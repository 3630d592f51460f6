/*
 * fuzz_grpc_frames: what of gRPC the gateway itself reads and writes; messages
 * it only moves. Input: a byte that chooses the status, a grpc-timeout, a line
 * feed, a content type, a line feed, a message.
 * Laws: a timeout that is printed is never longer by more than its unit, and
 * never shorter; a message survives its percent-encoding; a reply has the
 * status that was asked for.
 */
#include "fuzz.h"
#include "head_same.h"
#include "http/chars.h"
#include "http/grpc.h"

enum { ARENA_MAX = 256 * 1024 };

static void grpc_check_timeout(struct str text)
{
    uint64_t us = 0;
    uint64_t again = 0;
    char dst[16];
    if (!grpc_timeout_parse(text, &us)) {
        return;
    }
    CHECK(text.len >= 2 && text.len <= 9);
    const struct str printed = grpc_timeout_print(us, dst);
    CHECK(printed.len <= 9 && grpc_timeout_parse(printed, &again));
    CHECK(again >= us);
    /* Eight digits of the coarser unit: off by one in a million at most. */
    CHECK(again - us <= us / 1000000 + 1 || us > 99999999ull * 3600000000ull);
    const struct str twice = grpc_timeout_print(again, dst);
    uint64_t last = 0;
    CHECK(grpc_timeout_parse(twice, &last) && last == again);
}

static void grpc_check_message(struct arena *arena, struct str message)
{
    const struct str text = grpc_message_encode(arena, message);
    size_t at = 0;
    CHECK(text.p != NULL && value_is_valid(str_trim(text)));
    for (size_t i = 0; i < message.len; i++) {
        CHECK(at < text.len);
        unsigned c = (uint8_t)text.p[at];
        CHECK(c >= 0x20 && c <= 0x7e);
        if (c == '%') {
            CHECK(at + 2 < text.len);
            c = chars_hex(text.p[at + 1]) * 16 + chars_hex(text.p[at + 2]);
            at += 2;
        }
        CHECK(c == (uint8_t)message.p[i]);
        at++;
    }
    CHECK(at == text.len);
}

static void grpc_check_status(struct arena *arena, struct str value)
{
    struct head h;
    head_init(&h, arena);
    CHECK(grpc_status_find(&h) == -1);
    CHECK(head_add(&h, NAME_GRPC_STATUS, name_text(NAME_GRPC_STATUS), value));
    const int status = grpc_status_find(&h);
    CHECK(status >= 0 && status <= 999);
}

static void grpc_check_reply(struct arena *arena, int status, struct str text)
{
    struct head h;
    head_init(&h, arena);
    if (grpc_reply(&h, status, text)) {
        CHECK(grpc_status_find(&h) == status && h.status == 200 && h.is_grpc);
        CHECK(grpc_reply(&h, status, text) && h.n_fields <= 3);
    }
    const int mapped = grpc_status_of_http(status * 37 + 100);
    CHECK(mapped > 0 && mapped <= 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size};
    const int status = fuzz_byte(&in) % 17;
    const struct str timeout = fuzz_copy(fuzz_until(&in, '\n'));
    const struct str type = fuzz_copy(fuzz_until(&in, '\n'));
    const struct str message = fuzz_copy(fuzz_take(&in, 4096));
    struct arena arena;
    arena_init(&arena, NULL, ARENA_MAX);
    grpc_check_timeout(timeout);
    if (grpc_content_type(type)) {
        CHECK(type.len >= 16 && (type.len == 16 || type.p[16] != '-'));
    }
    grpc_check_message(&arena, message);
    grpc_check_status(&arena, timeout);
    grpc_check_reply(&arena, status, message);
    arena_reset(&arena);
    fuzz_free(timeout);
    fuzz_free(type);
    fuzz_free(message);
    return 0;
}
