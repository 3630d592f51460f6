/*
 * head: the typed head of a message, and the table of field names that are
 * known by id. The name table is filled once before main from names.def and is
 * constant afterwards; heads belong to their exchange. See head.h.
 * Invariant: text of a head lies in its arena or lives for ever; removing a
 * field never moves text.
 */
#include "http/head.h"

#include "http/chars.h"

enum {
    HEAD_FIELDS_FIRST = 16,
    HEAD_FIELD_OVERHEAD = 32,   /* counted per field, as RFC 9113 6.5.2 */
    HEAD_COOKIE_SHORT_MAX = 20, /* guessable byte by byte through HPACK */
    NAME_N_SLOTS = 256
};

struct name_row {
    struct str text;
    unsigned flags;
};

#define HOP NAME_FLAG_HOP
#define ONCE NAME_FLAG_ONCE
#define KEEP NAME_FLAG_KEEP
#define NOTRAILER NAME_FLAG_NOTRAILER
#define FORWARD NAME_FLAG_FORWARD
static const struct name_row name_rows[NAME_N] = {
    [NAME_OTHER] = {{"", 0}, 0},
#define NAME(id, name, flags)                                                  \
    [NAME_##id] = {{"" name, sizeof(name) - 1}, flags},
#include "http/names.def"
#undef NAME
};
#undef HOP
#undef ONCE
#undef KEEP
#undef NOTRAILER
#undef FORWARD

/* Open addressing; 0 (NAME_OTHER) is an empty slot. */
static uint8_t name_slots[NAME_N_SLOTS];

static unsigned name_hash(struct str s)
{
    const unsigned first = (uint8_t)s.p[0];
    const unsigned middle = (uint8_t)s.p[s.len / 2];
    const unsigned last = (uint8_t)s.p[s.len - 1];

    return ((unsigned)s.len * 37 + first * 5 + middle * 11 + last * 3) %
           NAME_N_SLOTS;
}

/* Runs before main, so that no thread ever sees a half-filled table. */
__attribute__((constructor)) static void name_fill(void)
{
    for (unsigned id = NAME_OTHER + 1; id < NAME_N; id++) {
        unsigned slot = name_hash(name_rows[id].text);

        while (name_slots[slot] != NAME_OTHER) {
            slot = (slot + 1) % NAME_N_SLOTS;
        }
        name_slots[slot] = (uint8_t)id;
    }
}

enum name_id name_find(struct str lower_name)
{
    if (lower_name.len == 0) {
        return NAME_OTHER;
    }
    for (unsigned slot = name_hash(lower_name); name_slots[slot] != NAME_OTHER;
         slot = (slot + 1) % NAME_N_SLOTS) {
        if (str_eq(name_rows[name_slots[slot]].text, lower_name)) {
            return (enum name_id)name_slots[slot];
        }
    }
    return NAME_OTHER;
}

struct str name_text(enum name_id id)
{
    return name_rows[id].text;
}

unsigned name_flags(enum name_id id)
{
    return name_rows[id].flags;
}

static bool name_all_are(struct str s, unsigned class)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!chars_is(s.p[i], class)) {
            return false;
        }
    }
    return true;
}

bool name_is_valid(struct str s)
{
    return s.len > 0 && name_all_are(s, CHARS_TOKEN);
}

bool value_is_valid(struct str s)
{
    return name_all_are(s, CHARS_VALUE);
}

bool value_has_token(struct str value, struct str token)
{
    struct str rest = value;
    struct str piece;

    while (str_split(&rest, ',', &piece)) {
        if (str_eq_nocase(str_trim(piece), token)) {
            return true;
        }
    }
    return false;
}

static enum method method_if(struct str token, struct str text, enum method m)
{
    return str_eq(token, text) ? m : METHOD_OTHER;
}

enum method method_find(struct str token)
{
    if (token.len == 0) {
        return METHOD_OTHER;
    }
    switch (token.p[0]) {
    case 'G':
        return method_if(token, STR("GET"), METHOD_GET);
    case 'H':
        return method_if(token, STR("HEAD"), METHOD_HEAD);
    case 'P':
        if (str_eq(token, STR("POST"))) {
            return METHOD_POST;
        }
        if (str_eq(token, STR("PUT"))) {
            return METHOD_PUT;
        }
        return method_if(token, STR("PATCH"), METHOD_PATCH);
    case 'D':
        return method_if(token, STR("DELETE"), METHOD_DELETE);
    case 'O':
        return method_if(token, STR("OPTIONS"), METHOD_OPTIONS);
    case 'C':
        return method_if(token, STR("CONNECT"), METHOD_CONNECT);
    case 'T':
        return method_if(token, STR("TRACE"), METHOD_TRACE);
    default:
        return METHOD_OTHER;
    }
}

bool method_is_idempotent(enum method m)
{
    switch (m) {
    case METHOD_GET:
    case METHOD_HEAD:
    case METHOD_PUT:
    case METHOD_DELETE:
    case METHOD_OPTIONS:
    case METHOD_TRACE:
        return true;
    case METHOD_OTHER:
    case METHOD_POST:
    case METHOD_PATCH:
    case METHOD_CONNECT:
        return false;
    }
    return false;
}

void head_init(struct head *h, struct arena *arena)
{
    *h = (struct head){.arena = arena, .content_length = -1};
}

/* Fields move to a larger array in the arena; the old one stays there. */
static bool head_grow(struct head *h)
{
    const uint32_t cap =
        h->n_fields_cap == 0 ? HEAD_FIELDS_FIRST : 2 * h->n_fields_cap;
    struct field *fields = arena_take(h->arena, cap * sizeof(*fields));

    if (fields == NULL) {
        return false;
    }
    if (h->n_fields > 0) {
        memcpy(fields, h->fields, h->n_fields * sizeof(*fields));
    }
    h->fields = fields;
    h->n_fields_cap = cap;
    return true;
}

static uint32_t head_field_bytes(struct str name, struct str value)
{
    return (uint32_t)(name.len + value.len) + HEAD_FIELD_OVERHEAD;
}

/* RFC 7541 7.1.3: what must not be guessed through a shared table. */
static bool head_is_sensitive(enum name_id id, struct str value)
{
    return id == NAME_AUTHORIZATION || id == NAME_PROXY_AUTHORIZATION ||
           (id == NAME_COOKIE && value.len < HEAD_COOKIE_SHORT_MAX);
}

bool head_add(struct head *h,
              enum name_id id,
              struct str name,
              struct str value)
{
    if (h->n_fields == h->n_fields_cap && !head_grow(h)) {
        return false;
    }
    h->fields[h->n_fields++] =
        (struct field){name, value, id, head_is_sensitive(id, value)};
    h->n_bytes += head_field_bytes(name, value);
    return true;
}

bool head_add_copy(struct head *h, struct str name, struct str value)
{
    char *const text = arena_take(h->arena, name.len + value.len + 1);

    if (text == NULL) {
        return false;
    }
    str_lower(text, name);
    if (value.len > 0) {
        memcpy(text + name.len, value.p, value.len);
    }
    const struct str lower = str_make(text, name.len);
    return head_add(h, name_find(lower), lower,
                    str_make(text + name.len, value.len));
}

struct field *head_find(const struct head *h, enum name_id id)
{
    for (uint32_t i = 0; i < h->n_fields; i++) {
        if (h->fields[i].id == id) {
            return &h->fields[i];
        }
    }
    return NULL;
}

struct field *head_find_name(const struct head *h, struct str lower_name)
{
    for (uint32_t i = 0; i < h->n_fields; i++) {
        if (str_eq(h->fields[i].name, lower_name)) {
            return &h->fields[i];
        }
    }
    return NULL;
}

bool head_set(struct head *h, struct str lower_name, struct str value)
{
    struct field *const f = head_find_name(h, lower_name);

    if (f == NULL) {
        return head_add(h, name_find(lower_name), lower_name, value);
    }
    // The first line keeps its place; later ones go.
    const struct field first = *f;
    const size_t at = (size_t)(f - h->fields);
    size_t kept = at;

    for (size_t i = at; i < h->n_fields; i++) {
        if (str_eq(h->fields[i].name, lower_name)) {
            h->n_bytes -= head_field_bytes(lower_name, h->fields[i].value);
        } else {
            h->fields[++kept] = h->fields[i];
        }
    }
    h->fields[at] = (struct field){first.name, value, first.id,
                                   head_is_sensitive(first.id, value)};
    h->n_bytes += head_field_bytes(lower_name, value);
    h->n_fields = (uint32_t)kept + 1;
    return true;
}

size_t head_remove(struct head *h, struct str lower_name)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < h->n_fields; i++) {
        const struct field f = h->fields[i];

        if (str_eq(f.name, lower_name)) {
            h->n_bytes -= head_field_bytes(f.name, f.value);
        } else {
            h->fields[kept++] = f;
        }
    }
    const size_t n_removed = h->n_fields - kept;
    h->n_fields = kept;
    return n_removed;
}

size_t head_remove_id(struct head *h, enum name_id id)
{
    return head_remove(h, name_rows[id].text);
}

/* Value of NAME in "a=1<sep> b=2"; names compare exactly. */
static struct str head_pair(struct str list, char sep, struct str name)
{
    struct str rest = list;
    struct str piece;

    while (str_split(&rest, sep, &piece)) {
        piece = str_trim(piece);
        if (str_starts(piece, name) &&
            (piece.len == name.len || piece.p[name.len] == '=')) {
            return str_from_index(piece, name.len + 1);
        }
    }
    return STR_NONE;
}

struct str head_cookie(const struct head *h, struct str name)
{
    for (uint32_t i = 0; i < h->n_fields; i++) {
        if (h->fields[i].id == NAME_COOKIE) {
            const struct str value = head_pair(h->fields[i].value, ';', name);

            if (value.p != NULL) {
                return value;
            }
        }
    }
    return STR_NONE;
}

struct str head_query(const struct head *h, struct str name)
{
    return h->query.p == NULL ? STR_NONE : head_pair(h->query, '&', name);
}
