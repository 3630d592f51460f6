/*
 * fuzz_hash_key: the key that chooses an endpoint. Input: lines that name parts
 * of a key up to an empty line, then a request head.
 * Laws: two heads with the same text at other addresses have the same hash,
 * whatever lies on the stack; a field that no part names changes nothing; a
 * part that is refused leaves the key as it was.
 */
#include "fuzz.h"
#include "http/h1.h"
#include "upstream/hash_key.h"

enum { ARENA_MAX = 256 * 1024 };

/* Fills what the next call will find on its stack. */
__attribute__((noinline)) static void hash_key_dirty_stack(int byte)
{
    volatile char room[8192];
    for (size_t i = 0; i < sizeof(room); i++) {
        room[i] = (char)byte;
    }
}

static void hash_key_read(struct hash_key *key, struct fuzz *in)
{
    struct str line;
    while ((line = fuzz_until(in, '\n')).len > 0) {
        struct error err = {0};
        const size_t n_parts = key->n_parts;
        const bool is_ok = hash_key_add(key, line, &err);
        CHECK(is_ok == (err.n_problems == 0));
        CHECK(key->n_parts == n_parts + is_ok);
        CHECK(key->n_parts <= HASH_N_PARTS_MAX);
        error_fini(&err);
    }
}

static bool hash_key_head(struct head *h, struct arena *arena, struct str text)
{
    const struct codec_limits limits = codec_limits_default();
    const struct str copy = fuzz_copy(text);
    const uint8_t *p = (const uint8_t *)copy.p;
    size_t scan_from = 0;
    const size_t n = h1_head_len(p, copy.len, &scan_from);
    arena_init(arena, NULL, ARENA_MAX);
    head_init(h, arena);
    const bool is_ok =
        n > 0 && h1_parse_request(h, p, n, STR("http"), &limits) == FAULT_NONE;
    fuzz_free(copy);
    return is_ok;
}

static void hash_key_check(const struct hash_key *key, struct str text)
{
    struct arena arenas[2];
    struct head heads[2];
    struct addr source;
    struct addr other;
    uint64_t hashes[3] = {1, 2, 3};
    addr_parse(STR("192.0.2.1:1234"), &source);
    addr_parse(STR("[2001:db8::1]:443"), &other);
    const bool is_ok = hash_key_head(&heads[0], &arenas[0], text) &&
                       hash_key_head(&heads[1], &arenas[1], text);
    if (!is_ok) {
        arena_reset(&arenas[0]);
        return;
    }
    struct hash_input in = {.source = &source,
                            .destination = &other,
                            .head = &heads[0],
                            .minted_name = STR("minted"),
                            .minted_value = STR("value")};
    hash_key_dirty_stack(0xaa);
    const bool has_hash = hash_key_compute(key, &in, &hashes[0]);
    in.head = &heads[1];
    hash_key_dirty_stack(0x55);
    CHECK(hash_key_compute(key, &in, &hashes[1]) == has_hash);
    CHECK(!has_hash || hashes[0] == hashes[1]);
    /* A name that is too long for any part. */
    CHECK(head_add(&heads[1], NAME_OTHER,
                   STR("x-nobody-hashes-this-name-0123456789"), STR("1")));
    CHECK(hash_key_compute(key, &in, &hashes[2]) == has_hash);
    CHECK(!has_hash || hashes[0] == hashes[2]);
    arena_reset(&arenas[0]);
    arena_reset(&arenas[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size};
    struct hash_key key = {.seed = 7};
    const struct str name = STR("header:x-nobody-hashes-this-name-0123456789");
    hash_key_read(&key, &in);
    for (size_t i = 0; i < key.n_parts; i++) {
        if (str_eq(key.parts[i].name, str_from_index(name, 7))) {
            return 0;
        }
    }
    hash_key_check(&key, fuzz_take(&in, in.len));
    return 0;
}
