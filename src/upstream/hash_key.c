/*
 * hash_key: reads the parts of a key and hashes what a request has of them.
 * Parsing runs on the control thread; computing is pure and runs on workers,
 * without allocation.
 * Invariant: the bytes that are hashed are, for each part in order, 8 bytes
 * little-endian (0 for an absent part, its length + 1 for a present one) and
 * the value. They depend on nothing but the request and the configuration, so
 * every gateway computes the same hash.
 */
#include "upstream/hash_key.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    HASH_KEY_PREFIX_BYTES = 8,
    HASH_KEY_FLAT_BYTES = 512, /* up to here: one copy, one call */
    HASH_KEY_TYPOS_MAX = 2
};

struct hash_key_word {
    const char *text;
    bool has_name; /* written as text:NAME */
};

static const struct hash_key_word hash_key_words[HASH_N_KINDS] = {
    [HASH_SOURCE_IP] = {"source_ip", false},
    [HASH_SOURCE_PORT] = {"source_port", false},
    [HASH_DESTINATION_IP] = {"destination_ip", false},
    [HASH_DESTINATION_PORT] = {"destination_port", false},
    [HASH_COOKIE] = {"cookie", true},
    [HASH_PROTOCOL] = {"protocol", false},
    [HASH_HEADER] = {"header", true},
    [HASH_QUERY] = {"query", true},
    [HASH_HOST] = {"host", false},
    [HASH_PATH] = {"path", false},
    [HASH_SNI] = {"sni", false},
};

#define HASH_KEY_VALID                                                         \
    "source_ip, source_port, destination_ip, destination_port, cookie:NAME, "  \
    "protocol, header:NAME, query:NAME, host, path, sni"

static bool hash_key_word_find(struct str word, enum hash_part_kind *kind)
{
    for (unsigned i = 0; i < HASH_N_KINDS; i++) {
        if (str_eq(word, str_from(hash_key_words[i].text))) {
            *kind = (enum hash_part_kind)i;
            return true;
        }
    }
    return false;
}

static bool
hash_key_fail_unknown(struct str text, struct str word, struct error *err)
{
    unsigned least = HASH_KEY_TYPOS_MAX + 1;
    const struct hash_key_word *closest = NULL;
    for (unsigned i = 0; i < HASH_N_KINDS; i++) {
        const struct str valid = str_from(hash_key_words[i].text);
        const unsigned n_typos = str_distance(word, valid, HASH_KEY_TYPOS_MAX);
        if (n_typos < least) {
            least = n_typos;
            closest = &hash_key_words[i];
        }
    }
    if (closest == NULL) {
        return error_add(err,
                         "\"%.*s\": not a part of a hash key; valid parts: %s",
                         STR_ARG(text), HASH_KEY_VALID);
    }
    return error_add(err,
                     "\"%.*s\": not a part of a hash key; did you mean "
                     "\"%s%s\"? valid parts: %s",
                     STR_ARG(text), closest->text,
                     closest->has_name ? ":NAME" : "", HASH_KEY_VALID);
}

/* Fields that the codecs keep out of the head's fields (see head.h). */
static bool hash_key_header_is_typed(struct str name)
{
    const enum name_id id = name_find(name);
    return id == NAME_HOST || id == NAME_CONTENT_LENGTH || id == NAME_EXPECT ||
           (name_flags(id) & NAME_FLAG_HOP) != 0;
}

static bool
hash_key_header_check(struct str text, struct str name, struct error *err)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] >= 'A' && name.p[i] <= 'Z') {
            return error_add(err, "\"%.*s\": write the header in lower case",
                             STR_ARG(text));
        }
    }
    if (str_eq(name, STR("host"))) {
        return error_add(err, "\"%.*s\": write \"host\" instead",
                         STR_ARG(text));
    }
    if (hash_key_header_is_typed(name)) {
        return error_add(err,
                         "\"%.*s\": belongs to one connection, a hash key "
                         "cannot use it",
                         STR_ARG(text));
    }
    return true;
}

static bool hash_key_name_check(enum hash_part_kind kind,
                                struct str text,
                                struct str name,
                                struct error *err)
{
    const char *word = hash_key_words[kind].text;
    if (!hash_key_words[kind].has_name) {
        return name.p == NULL ||
               error_add(err, "\"%.*s\": %s takes no name; write \"%s\"",
                         STR_ARG(text), word, word);
    }
    if (name.len == 0) {
        return error_add(err, "\"%.*s\": %s needs a name; write \"%s:NAME\"",
                         STR_ARG(text), word, word);
    }
    if (kind != HASH_QUERY && !name_is_valid(name)) {
        return error_add(err, "\"%.*s\": not a valid name of a %s",
                         STR_ARG(text), word);
    }
    return kind != HASH_HEADER || hash_key_header_check(text, name, err);
}

static bool hash_key_has(const struct hash_key *key,
                         const struct hash_part *part)
{
    for (size_t i = 0; i < key->n_parts; i++) {
        if (key->parts[i].kind == part->kind &&
            str_eq(key->parts[i].name, part->name)) {
            return true;
        }
    }
    return false;
}

bool hash_key_add(struct hash_key *key, struct str text, struct error *err)
{
    struct hash_part part = {0};
    const size_t colon = str_find_char(text, ':');
    const struct str word = str_sub(text, 0, colon);
    if (!hash_key_word_find(word, &part.kind)) {
        return hash_key_fail_unknown(text, word, err);
    }
    part.name = colon == text.len ? STR_NONE : str_from_index(text, colon + 1);
    if (!hash_key_name_check(part.kind, text, part.name, err)) {
        return false;
    }
    if (hash_key_has(key, &part)) {
        return error_add(err, "\"%.*s\": is in the hash key twice",
                         STR_ARG(text));
    }
    if (key->n_parts == HASH_N_PARTS_MAX) {
        return error_add(err, "\"%.*s\": a hash key has at most %d parts",
                         STR_ARG(text), HASH_N_PARTS_MAX);
    }
    key->parts[key->n_parts++] = part;
    return true;
}

struct str hash_key_protocol(const struct head *h)
{
    if (h->is_websocket) {
        return STR("websocket");
    }
    if (h->is_grpc) {
        return STR("grpc");
    }
    if (h->version == 20) {
        return STR("h2");
    }
    return h->version == 10 ? STR("http/1.0") : STR("http/1.1");
}

static struct str hash_key_some(struct str s)
{
    return s.len == 0 ? STR_NONE : s;
}

/* The address of a UNIX socket has no bytes and no port: absent. */
static struct str hash_key_ip(const struct addr *a)
{
    return a == NULL || a->len == 0 ? STR_NONE : hash_key_some(addr_bytes(a));
}

static struct str hash_key_port(const struct addr *a, char dst[static 2])
{
    const uint16_t port = a == NULL || a->len == 0 ? 0 : addr_port(a);
    if (port == 0) {
        return STR_NONE;
    }
    dst[0] = (char)(port >> 8);
    dst[1] = (char)(port & 0xff);
    return str_make(dst, 2);
}

static struct str hash_key_cookie(const struct hash_part *part,
                                  const struct hash_input *in)
{
    const struct str value = head_cookie(in->head, part->name);
    if (value.p == NULL && str_eq(part->name, in->minted_name)) {
        return in->minted_value;
    }
    return value;
}

static struct str hash_key_header(const struct hash_part *part,
                                  const struct hash_input *in)
{
    const struct field *field = head_find_name(in->head, part->name);
    if (field == NULL) {
        return STR_NONE;
    }
    return field->value.p == NULL ? STR("") : field->value;
}

/* p NULL: the request does not have it. `dst` may hold the value. */
static struct str hash_key_value(const struct hash_part *part,
                                 const struct hash_input *in,
                                 char dst[static 2])
{
    switch (part->kind) {
    case HASH_SOURCE_IP:
        return hash_key_ip(in->source);
    case HASH_SOURCE_PORT:
        return hash_key_port(in->source, dst);
    case HASH_DESTINATION_IP:
        return hash_key_ip(in->destination);
    case HASH_DESTINATION_PORT:
        return hash_key_port(in->destination, dst);
    case HASH_COOKIE:
        return hash_key_cookie(part, in);
    case HASH_PROTOCOL:
        return hash_key_protocol(in->head);
    case HASH_HEADER:
        return hash_key_header(part, in);
    case HASH_QUERY:
        return head_query(in->head, part->name);
    case HASH_HOST:
        return hash_key_some(in->head->host);
    case HASH_PATH:
        return hash_key_some(in->head->path);
    case HASH_SNI:
        return hash_key_some(in->sni);
    case HASH_N_KINDS:
        break;
    }
    return STR_NONE;
}

static void hash_key_prefix(uint8_t dst[static HASH_KEY_PREFIX_BYTES],
                            struct str value)
{
    const uint64_t len = value.p == NULL ? 0 : (uint64_t)value.len + 1;
    for (unsigned i = 0; i < HASH_KEY_PREFIX_BYTES; i++) {
        dst[i] = (uint8_t)(len >> (8 * i));
    }
}

static uint64_t hash_key_flat(const struct str *values, size_t n, uint64_t seed)
{
    uint8_t bytes[HASH_KEY_FLAT_BYTES];
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        hash_key_prefix(bytes + len, values[i]);
        len += HASH_KEY_PREFIX_BYTES;
        if (values[i].len > 0) {
            memcpy(bytes + len, values[i].p, values[i].len);
            len += values[i].len;
        }
    }
    return XXH3_64bits_withSeed(bytes, len, seed);
}

/* The same hash for keys that are too long for one copy. */
static uint64_t
hash_key_streamed(const struct str *values, size_t n, uint64_t seed)
{
    XXH3_state_t state;
    /* Else the reset takes what lies on the stack for this seed's secret. */
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t i = 0; i < n; i++) {
        uint8_t prefix[HASH_KEY_PREFIX_BYTES];
        hash_key_prefix(prefix, values[i]);
        XXH3_64bits_update(&state, prefix, sizeof prefix);
        if (values[i].len > 0) {
            XXH3_64bits_update(&state, values[i].p, values[i].len);
        }
    }
    return XXH3_64bits_digest(&state);
}

bool hash_key_compute(const struct hash_key *key,
                      const struct hash_input *in,
                      uint64_t *hash)
{
    struct str values[HASH_N_PARTS_MAX];
    char ports[HASH_N_PARTS_MAX][2];
    bool is_present = false;
    size_t len = 0;
    for (size_t i = 0; i < key->n_parts; i++) {
        values[i] = hash_key_value(&key->parts[i], in, ports[i]);
        is_present = is_present || values[i].p != NULL;
        len += HASH_KEY_PREFIX_BYTES + values[i].len;
    }
    if (!is_present) {
        return false;
    }
    *hash = len <= HASH_KEY_FLAT_BYTES
                ? hash_key_flat(values, key->n_parts, key->seed)
                : hash_key_streamed(values, key->n_parts, key->seed);
    return true;
}

struct str hash_key_part_text(const struct hash_part *part, struct arena *arena)
{
    const struct hash_key_word *word = &hash_key_words[part->kind];
    return arena_print(arena, "%s%s%.*s", word->text, word->has_name ? ":" : "",
                       STR_ARG(part->name));
}

struct str hash_key_part_value(const struct hash_part *part,
                               const struct hash_input *in,
                               struct arena *arena)
{
    char port[2];
    char text[ADDR_TEXT_MAX];
    switch (part->kind) {
    case HASH_SOURCE_IP:
        return arena_copy(arena, str_from(addr_print_host(in->source, text)));
    case HASH_DESTINATION_IP:
        return arena_copy(arena,
                          str_from(addr_print_host(in->destination, text)));
    case HASH_SOURCE_PORT:
        return arena_print(arena, "%u", addr_port(in->source));
    case HASH_DESTINATION_PORT:
        return arena_print(arena, "%u", addr_port(in->destination));
    default:
        return hash_key_value(part, in, port);
    }
}
