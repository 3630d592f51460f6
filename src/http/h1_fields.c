/*
 * h1_fields: the field lines of an HTTP/1.1 head or trailer section. Names are
 * lower-cased in the copy that the caller made; framing and connection fields
 * are gathered and judged as a whole (rules R-HDR, R-LEN), the rest becomes
 * fields of the head. Pure functions; every thread.
 * Invariant: a walk never passes the last byte, which is a line feed.
 */
#include "http/h1_fields.h"

#include "http/chars.h"
#include "http/grpc.h"
#include "http/h1.h"
#include "http/hop.h"

enum { H1_LENGTH_DIGITS_MAX = 19 };

char *h1_fields_copy(struct arena *arena, const void *p, size_t len)
{
    char *const text = arena_take(arena, len);

    if (text != NULL) {
        memcpy(text, p, len);
    }
    return text;
}

/* ---- field lines -------------------------------------------------------- */

/* Walks over field lines in place. Its last byte is a line feed. */
struct h1_walk {
    char *p;
    char *end;
    bool has_underscore; /* of the line that was read last */
};

enum h1_walk_result { H1_WALK_LINE, H1_WALK_END, H1_WALK_BAD };

/* Lower-cases the name; p stands at what ends it. */
static struct str h1_walk_name(struct h1_walk *w)
{
    char *const start = w->p;
    char *p = start;
    char low;

    w->has_underscore = false;
    while ((low = (char)chars_name[(uint8_t)*p]) != '\0') {
        w->has_underscore |= low == '_';
        *p++ = low;
    }
    w->p = p;
    return str_make(start, (size_t)(p - start));
}

/*
 * Passes over bytes from 0x20 up but 0x7f, eight at a time, for most values
 * are long: where it stops the table decides. Of a word it asks whether any
 * byte is below 0x20, or is zero after XOR with 0x7f.
 */
static char *h1_walk_plain(char *p, const char *end)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t word;

    while ((size_t)(end - p) >= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        const uint64_t del = word ^ (ones * 0x7f);
        const uint64_t low = (word - ones * 0x20) & ~word;

        if (((low | ((del - ones) & ~del)) & (ones * 0x80)) != 0) {
            break;
        }
        p += sizeof(word);
    }
    return p;
}

static enum h1_walk_result
h1_walk_next(struct h1_walk *w, struct str *name, struct str *value)
{
    if (w->end - w->p == 2 && w->p[0] == '\r') {
        return H1_WALK_END;
    }
    if (w->p == w->end) {
        return H1_WALK_BAD;
    }
    *name = h1_walk_name(w);
    if (name->len == 0 || *w->p != ':') {
        return H1_WALK_BAD;
    }
    char *p = w->p + 1;
    while (*p == ' ' || *p == '\t') {
        p++;
    }
    char *const start = p;
    p = h1_walk_plain(p, w->end);
    while (chars_is(*p, CHARS_VALUE)) {
        p++;
    }
    if (p[0] != '\r' || p[1] != '\n') {
        return H1_WALK_BAD;
    }
    *value = str_trim(str_make(start, (size_t)(p - start)));
    w->p = p + 2;
    return H1_WALK_LINE;
}

/* ---- fields ------------------------------------------------------------- */

_Static_assert(NAME_N <= 64, "seen holds a bit per name");

enum fault h1_fields_fault(const struct h1_fields *f)
{
    return f->is_request ? FAULT_BAD_REQUEST : FAULT_BAD_RESPONSE;
}

static enum fault
h1_fields_count(struct h1_fields *f, struct str name, struct str value)
{
    const struct codec_limits *const limits = f->limits;

    f->n_bytes += name.len + value.len + 32;
    if (++f->n_lines > limits->n_fields_max ||
        f->n_bytes > limits->head_bytes_max ||
        value.len > limits->field_bytes_max) {
        return f->is_request ? FAULT_HEAD_TOO_LARGE : FAULT_BAD_RESPONSE;
    }
    return FAULT_NONE;
}

static enum fault h1_fields_keep(struct h1_fields *f,
                                 enum name_id id,
                                 struct str name,
                                 struct str value)
{
    if ((name_flags(id) & NAME_FLAG_HOP) != 0) {
        return FAULT_NONE;
    }
    if (id == NAME_CONTENT_TYPE) {
        f->h->is_grpc = grpc_content_type(value);
    }
    return head_add(f->h, id, name, value) ? FAULT_NONE : FAULT_OVERLOAD;
}

/* Framing and connection fields are gathered, the rest becomes a field. */
static enum fault h1_fields_take(struct h1_fields *f,
                                 enum name_id id,
                                 struct str name,
                                 struct str value)
{
    switch (id) {
    case NAME_HOST:
        f->n_host++;
        f->host = value;
        return FAULT_NONE;
    case NAME_CONTENT_LENGTH:
        f->is_length_repeated |= f->n_length > 0 && !str_eq(f->length, value);
        f->n_length++;
        f->length = value;
        return FAULT_NONE;
    case NAME_TRANSFER_ENCODING:
        f->n_coding++;
        f->coding = value;
        return FAULT_NONE;
    case NAME_CONNECTION:
        if (f->n_connection == H1_CONNECTION_LINES_MAX) {
            return h1_fields_fault(f);
        }
        f->connection[f->n_connection++] = value;
        return FAULT_NONE;
    case NAME_EXPECT:
        f->expect = value;
        return FAULT_NONE;
    case NAME_TE:
        f->h->has_te_trailers |= value_has_token(value, STR("trailers"));
        return FAULT_NONE;
    case NAME_UPGRADE:
        if (f->is_request && value_has_token(value, STR("websocket"))) {
            f->upgrade = STR("websocket");
        } else if (!f->is_request) {
            f->upgrade = value;
        }
        return FAULT_NONE;
    default:
        return h1_fields_keep(f, id, name, value);
    }
}

static enum fault h1_fields_line(struct h1_fields *f,
                                 struct str name,
                                 struct str value,
                                 bool has_underscore)
{
    const enum fault limit = h1_fields_count(f, name, value);
    const enum name_id id = name_find(name);
    const uint64_t bit = UINT64_C(1) << id;

    if (limit != FAULT_NONE) {
        return limit;
    }
    if (f->is_request) {
        if (has_underscore && !f->limits->is_underscore_allowed) {
            return FAULT_BAD_REQUEST;
        }
        if ((name_flags(id) & NAME_FLAG_ONCE) != 0 && (f->seen & bit) != 0) {
            return FAULT_BAD_REQUEST;
        }
    }
    f->seen |= bit;
    return h1_fields_take(f, id, name, value);
}

enum fault h1_fields_read(struct h1_fields *f, char *p, char *end)
{
    struct h1_walk w = {p, end, false};
    struct str name;
    struct str value;
    enum h1_walk_result got;

    while ((got = h1_walk_next(&w, &name, &value)) == H1_WALK_LINE) {
        const enum fault fault =
            h1_fields_line(f, name, value, w.has_underscore);

        if (fault != FAULT_NONE) {
            return fault;
        }
    }
    return got == H1_WALK_END ? FAULT_NONE : h1_fields_fault(f);
}

bool h1_fields_have_token(const struct h1_fields *f, struct str token)
{
    for (unsigned i = 0; i < f->n_connection; i++) {
        if (value_has_token(f->connection[i], token)) {
            return true;
        }
    }
    return false;
}

/* Removes what Connection names; reads who wants to close. */
enum fault h1_fields_connection(struct h1_fields *f)
{
    unsigned n_glitches = 0;

    for (unsigned i = 0; i < f->n_connection; i++) {
        const enum fault fault =
            hop_connection(f->h, f->connection[i], &n_glitches);

        // Servers do list Transfer-Encoding; it is typed and harmless here.
        if (fault != FAULT_NONE && f->is_request) {
            return fault;
        }
    }
    f->h->want_close =
        h1_fields_have_token(f, STR("close")) ||
        (f->h->version == 10 && !h1_fields_have_token(f, STR("keep-alive")));
    return FAULT_NONE;
}

/* ---- framing ------------------------------------------------------------ */

static bool h1_coding_is_known(struct str s)
{
    return str_eq_nocase(s, STR("gzip")) || str_eq_nocase(s, STR("x-gzip")) ||
           str_eq_nocase(s, STR("deflate")) ||
           str_eq_nocase(s, STR("compress")) ||
           str_eq_nocase(s, STR("x-compress"));
}

/* A coding that is not plain `chunked`: 501 if it is sound, 400 if not. */
static enum fault h1_coding_fault(struct str value)
{
    struct str rest = value;
    struct str piece;
    bool is_known = false;

    while (str_split(&rest, ',', &piece)) {
        piece = str_trim(piece);
        if (rest.p == NULL && is_known &&
            str_eq_nocase(piece, STR("chunked"))) {
            break;
        }
        is_known = h1_coding_is_known(piece);
        if (!is_known) {
            return FAULT_BAD_REQUEST;
        }
    }
    return FAULT_NOT_IMPLEMENTED;
}

static bool h1_length(struct str digits, int64_t *length)
{
    uint64_t value = 0;

    if (digits.len > H1_LENGTH_DIGITS_MAX || !str_to_u64(digits, &value) ||
        value > INT64_MAX) {
        return false;
    }
    *length = (int64_t)value;
    return true;
}

/* R-LEN-1 to R-LEN-7, and their counterparts for responses. */
enum fault h1_fields_framing(struct h1_fields *f)
{
    struct head *const h = f->h;
    const enum fault bad = h1_fields_fault(f);

    if (f->n_coding > 0) {
        if (f->n_length > 0 || f->n_coding > 1 || h->version != 11) {
            return bad;
        }
        if (!str_eq_nocase(f->coding, STR("chunked"))) {
            return f->is_request ? h1_coding_fault(f->coding) : bad;
        }
        h->is_chunked = true;
    }
    if (f->n_length > 0) {
        if ((f->n_length > 1 && f->is_request) || f->is_length_repeated ||
            !h1_length(f->length, &h->content_length)) {
            return bad;
        }
    }
    return FAULT_NONE;
}

/* ---- trailers ----------------------------------------------------------- */

enum fault h1_parse_trailers(struct head *t,
                             const uint8_t *p,
                             size_t len,
                             const struct codec_limits *limits)
{
    unsigned n_lines = 0;
    size_t n_bytes = 0;
    struct str name;
    struct str value;
    enum h1_walk_result got;

    char *const text = h1_fields_copy(t->arena, p, len);
    if (text == NULL) {
        return FAULT_OVERLOAD;
    }
    if (len == 0 || text[len - 1] != '\n') {
        return FAULT_BAD_REQUEST;
    }
    struct h1_walk w = {text, text + len, false};
    while ((got = h1_walk_next(&w, &name, &value)) == H1_WALK_LINE) {
        const enum name_id id = name_find(name);

        n_bytes += name.len + value.len + 32;
        if (++n_lines > limits->n_trailers_max ||
            n_bytes > limits->trailer_bytes_max) {
            return FAULT_HEAD_TOO_LARGE;
        }
        if (w.has_underscore && !limits->is_underscore_allowed) {
            return FAULT_BAD_REQUEST;
        }
        if (hop_trailer_may_pass(id, name) && !head_add(t, id, name, value)) {
            return FAULT_OVERLOAD;
        }
    }
    return got == H1_WALK_END ? FAULT_NONE : FAULT_BAD_REQUEST;
}
