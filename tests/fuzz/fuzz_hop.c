/*
 * fuzz_hop: what changes when a head crosses the gateway. Input: a byte of
 * options, an address, a line feed, then a request head (parsed as from a
 * client) and, behind the empty line, a list as Connection would name it.
 * Laws: nothing that only we write comes from the client; what an untrusted
 * peer forwarded is gone; each of our fields is there once and is a valid
 * value; crossing twice as an untrusted peer gives the same head.
 */
#include "fuzz.h"
#include "head_same.h"
#include "http/h1.h"
#include "http/hop.h"

enum { ARENA_MAX = 512 * 1024 };

static size_t hop_count(const struct head *h, struct str name)
{
    size_t n = 0;
    for (uint32_t i = 0; i < h->n_fields; i++) {
        n += str_eq(h->fields[i].name, name);
    }
    return n;
}

static bool hop_is_secret(struct str name)
{
    return str_starts(name, STR("x-daemun-")) ||
           str_eq(name, STR("x-client-cert-subject")) ||
           str_eq(name, STR("x-client-cert-sha256"));
}

static void hop_check_ours(const struct head *h, const struct hop *hop)
{
    static const struct str once[] = {{"x-forwarded-for", 15},
                                      {"x-forwarded-proto", 17},
                                      {"x-real-ip", 9},
                                      {"x-request-id", 12},
                                      {"x-forwarded-port", 16}};
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        CHECK(hop_count(h, once[i]) >= 1);
        CHECK(hop_count(h, once[i]) == 1 || hop->is_peer_trusted);
    }
    for (uint32_t i = 0; i < h->n_fields; i++) {
        const struct field *f = &h->fields[i];
        CHECK(name_is_valid(f->name) && value_is_valid(f->value));
        CHECK(!hop_is_secret(f->name) || hop->client_subject.p != NULL);
    }
    CHECK(hop_count(h, STR("x-client-cert-subject")) <= 1);
    CHECK(hop_count(h, STR("forwarded")) <= 1 || hop->is_peer_trusted);
    if (hop->has_forwarded) {
        CHECK(hop_count(h, STR("forwarded")) == 1);
    }
}

static void hop_check_twice(struct head *h, struct hop *hop)
{
    struct str id;
    hop->is_peer_trusted = false;
    if (!hop_request(h, hop, &id)) {
        return;
    }
    const uint32_t n_fields = h->n_fields;
    struct field *before = mem_new_array(n_fields + 1, sizeof(*before));
    memcpy(before, h->fields, n_fields * sizeof(*before));
    /* It counts down at each hop, which is no matter here. */
    head_remove_id(h, NAME_MAX_FORWARDS);
    if (h->n_fields == n_fields && hop_request(h, hop, &id)) {
        CHECK(h->n_fields == n_fields);
        for (uint32_t i = 0; i < n_fields; i++) {
            CHECK(str_eq(before[i].name, h->fields[i].name) &&
                  str_eq(before[i].value, h->fields[i].value));
        }
        CHECK(str_eq(id, hop->request_id));
    }
    mem_free(before);
}

static void hop_check_connection(struct head *h, struct str list)
{
    unsigned n_glitches = 0;
    const size_t n_before = hop_count(h, STR("authorization"));
    const uint32_t n_fields = h->n_fields;
    if (hop_connection(h, list, &n_glitches) != FAULT_NONE) {
        return;
    }
    CHECK(h->n_fields <= n_fields);
    CHECK(!value_has_token(list, STR("content-length")));
    /* R-HOP-2: a client cannot have these removed. */
    CHECK(hop_count(h, STR("authorization")) == n_before);
    for (uint32_t i = 0; i < h->n_fields; i++) {
        const struct field *f = &h->fields[i];
        CHECK(!value_has_token(list, f->name) ||
              (name_flags(f->id) & NAME_FLAG_KEEP) != 0 ||
              hop_is_secret(f->name) ||
              str_starts(f->name, STR("x-forwarded-")));
    }
    hop_response(h);
    for (uint32_t i = 0; i < h->n_fields; i++) {
        CHECK(!str_starts(h->fields[i].name, STR("x-daemun-")));
        CHECK((name_flags(h->fields[i].id) & NAME_FLAG_HOP) == 0);
    }
}

static bool
hop_parse(struct head *h, struct arena *arena, struct str text, size_t *n)
{
    const struct codec_limits limits = codec_limits_default();
    size_t scan_from = 0;
    const uint8_t *p = (const uint8_t *)text.p;
    *n = h1_head_len(p, text.len, &scan_from);
    head_init(h, arena);
    return *n > 0 &&
           h1_parse_request(h, p, *n, STR("http"), &limits) == FAULT_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size};
    const uint8_t options = fuzz_byte(&in);
    const struct str address = fuzz_until(&in, '\n');
    const struct str text = fuzz_take(&in, in.len);
    struct addr peer;
    struct arena arena;
    struct head h;
    size_t n = 0;
    struct str id;
    if (!addr_parse(address, &peer)) {
        addr_parse(STR("192.0.2.1:1234"), &peer);
    }
    struct hop hop = {
        .peer = &peer,
        .local = &peer,
        .scheme = (options & 8) != 0 ? STR("https") : STR("http"),
        .request_id = STR("01234567-0123-4123-8123-0123456789ab"),
        .client_subject = (options & 1) != 0 ? address : STR_NONE,
        .client_fingerprint = STR("00"),
        .is_peer_trusted = (options & 2) != 0,
        .has_forwarded = (options & 4) != 0,
    };
    arena_init(&arena, NULL, ARENA_MAX);
    if (hop_parse(&h, &arena, text, &n)) {
        hop_check_connection(&h, str_from_index(text, n));
        CHECK(hop_parse(&h, &arena, text, &n));
        if (hop_request(&h, &hop, &id)) {
            hop_check_ours(&h, &hop);
            CHECK(id.len > 0 && id.len <= 128);
        }
        if (hop_parse(&h, &arena, text, &n)) {
            hop_check_twice(&h, &hop);
        }
    }
    arena_reset(&arena);
    return 0;
}
