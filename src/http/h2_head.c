/*
 * h2_head: a header block of HTTP/2 becomes a typed head (rules R-H2, 5.3, 5.4
 * and 5.7). nghttp2 has decoded it and checked names, values, pseudo-headers
 * and connection fields (RFC 9113 8.2, 8.3); limits, canonical target and host,
 * singletons and cookies are ours. Limits act field by field: after the first
 * fault nothing is stored, and far beyond it decoding ends. Text goes to the
 * arena of the stream's owner. One loop's thread.
 */
#include "http/h2.h"

#include "http/grpc.h"
#include "http/hop.h"
#include "http/uri.h"

enum { HEAD_METHOD_BYTES_MAX = 32, HEAD_FIELD_COST = 32 };

static struct head *h2_head_new(struct h2_stream *st)
{
    struct head *const h = arena_take(st->s.arena, sizeof(*h));
    if (h == NULL) {
        st->intake.fault = FAULT_OVERLOAD;
        return NULL;
    }
    head_init(h, st->s.arena);
    h->version = 20;
    return h;
}

void h2_head_begin(struct h2_stream *st, bool is_trailers)
{
    st->intake = (struct h2_intake){.is_trailers = is_trailers};
    struct head *const h = h2_head_new(st);
    if (is_trailers) {
        st->trailers = h;
    } else {
        st->head = h;
    }
}

static void h2_head_fault(struct h2_intake *in, enum fault f)
{
    if (in->fault == FAULT_NONE) {
        in->fault = f;
    }
}

/* A copy in the arena; p NULL (and a fault) at its limit. */
static struct str h2_head_copy(struct h2_stream *st, struct str s)
{
    const struct str copy = arena_copy(st->s.arena, s);
    if (copy.p == NULL) {
        h2_head_fault(&st->intake, FAULT_OVERLOAD);
    }
    return copy;
}

static void
h2_head_pseudo(struct h2_stream *st, struct str name, struct str value)
{
    struct head *const h = st->head;
    struct h2_intake *const in = &st->intake;
    if (str_eq(name, STR(":method"))) {
        if (value.len > HEAD_METHOD_BYTES_MAX || !name_is_valid(value)) {
            h2_head_fault(in, FAULT_BAD_REQUEST);
            return;
        }
        h->method_text = h2_head_copy(st, value);
        h->method = method_find(value);
        st->s.method = h->method;
    } else if (str_eq(name, STR(":scheme"))) {
        in->scheme = h2_head_copy(st, value);
    } else if (str_eq(name, STR(":authority"))) {
        in->authority = h2_head_copy(st, value);
    } else if (str_eq(name, STR(":path"))) {
        if (value.len > st->s.codec->limits->target_bytes_max) {
            h2_head_fault(in, FAULT_TARGET_TOO_LONG);
            return;
        }
        in->path = h2_head_copy(st, value);
    } else if (str_eq(name, STR(":status"))) {
        uint64_t status = 0;
        if (value.len != 3 || !str_to_u64(value, &status) || status < 100 ||
            status > 599 || status == 101) {
            h2_head_fault(in, FAULT_BAD_RESPONSE);
        }
        h->status = (int)status;
    } else {
        h2_head_fault(in, FAULT_BAD_REQUEST); // :protocol is not offered
    }
}

/* The second line of a field that may come once (R-HDR-7). */
static bool h2_head_is_repeated(struct h2_intake *in, enum name_id id)
{
    bool *seen = NULL;
    if (id == NAME_CONTENT_TYPE) {
        seen = &in->has_content_type;
    } else if (id == NAME_AUTHORIZATION) {
        seen = &in->has_authorization;
    } else if (id == NAME_EXPECT) {
        seen = &in->has_expect;
    } else if (id == NAME_PROXY_AUTHORIZATION) {
        seen = &in->has_proxy_authorization;
    } else {
        return false;
    }
    const bool was_seen = *seen;
    *seen = true;
    return was_seen;
}

/* Adds text that lies in the arena. */
static void h2_head_add(struct h2_stream *st,
                        struct head *h,
                        enum name_id id,
                        struct str name,
                        struct str value,
                        bool is_sensitive)
{
    if (!head_add(h, id, name, value)) {
        h2_head_fault(&st->intake, FAULT_OVERLOAD);
        return;
    }
    // head_add knows the fields that are secret by name.
    if (is_sensitive) {
        h->fields[h->n_fields - 1].is_sensitive = true;
    }
}

static void h2_head_store(struct h2_stream *st,
                          struct head *h,
                          enum name_id id,
                          struct str name,
                          struct str value,
                          bool is_sensitive)
{
    const struct str own_name =
        id != NAME_OTHER ? name_text(id) : h2_head_copy(st, name);
    const struct str own_value = h2_head_copy(st, value);
    if (st->intake.fault == FAULT_NONE) {
        h2_head_add(st, h, id, own_name, own_value, is_sensitive);
    }
}

static void h2_head_content_length(struct h2_stream *st, struct str value)
{
    uint64_t n = 0;
    if (st->head->content_length >= 0 || value.len > 19 ||
        !str_to_u64(value, &n) || n > INT64_MAX) {
        h2_head_fault(&st->intake, FAULT_BAD_REQUEST);
        return;
    }
    st->head->content_length = (int64_t)n;
}

static void h2_head_expect(struct h2_stream *st, struct str value)
{
    if (!str_eq_nocase(value, STR("100-continue"))) {
        h2_head_fault(&st->intake, FAULT_EXPECTATION);
        return;
    }
    st->head->has_expect = true;
}

/* Fields that are read into typed members. True when this was one. */
static bool
h2_head_typed(struct h2_stream *st, enum name_id id, struct str value)
{
    struct head *const h = st->head;
    if (id == NAME_CONTENT_LENGTH) {
        h2_head_content_length(st, value);
        return true;
    }
    if (!st->is_server) {
        return (name_flags(id) & NAME_FLAG_HOP) != 0;
    }
    if (id == NAME_HOST) {
        if (st->intake.host.p != NULL) {
            h2_head_fault(&st->intake, FAULT_BAD_HOST);
        }
        st->intake.host = h2_head_copy(st, value);
        return true;
    }
    if (id == NAME_TE) {
        h->has_te_trailers = str_eq_nocase(value, STR("trailers"));
        return true;
    }
    if (id == NAME_EXPECT) {
        h2_head_expect(st, value);
        return true;
    }
    return (name_flags(id) & NAME_FLAG_HOP) != 0;
}

static void h2_head_regular(struct h2_stream *st,
                            enum name_id id,
                            struct str name,
                            struct str value,
                            bool is_sensitive)
{
    struct h2_intake *const in = &st->intake;
    if (st->is_server && h2_head_is_repeated(in, id)) {
        h2_head_fault(in, FAULT_BAD_REQUEST);
        return;
    }
    if (h2_head_typed(st, id, value)) {
        return;
    }
    if (id == NAME_CONTENT_TYPE) {
        st->head->is_grpc = grpc_content_type(value);
    } else if (id == NAME_COOKIE) {
        in->n_cookies++;
    }
    h2_head_store(st, st->head, id, name, value, is_sensitive);
}

/* Counts a field against the limits; false: far over them. */
static bool
h2_head_count(struct h2_stream *st, struct str name, struct str value)
{
    const struct codec_limits *const limits = st->s.codec->limits;
    struct h2_intake *const in = &st->intake;
    const uint32_t bytes_max =
        in->is_trailers ? limits->trailer_bytes_max : limits->head_bytes_max;
    const uint32_t n_max =
        in->is_trailers ? limits->n_trailers_max : limits->n_fields_max;
    in->n_bytes += (uint32_t)(name.len + value.len + HEAD_FIELD_COST);
    if (name.len == 0 || name.p[0] != ':') {
        in->n_fields++;
    }
    if (in->n_bytes > bytes_max || in->n_fields > n_max ||
        (value.len > limits->field_bytes_max && name.p[0] != ':')) {
        h2_head_fault(in, FAULT_HEAD_TOO_LARGE);
    }
    return in->n_bytes / H2_KILL_FACTOR <= bytes_max &&
           in->n_fields / H2_KILL_FACTOR <= n_max;
}

bool h2_head_field(struct h2_stream *st,
                   struct str name,
                   struct str value,
                   bool is_sensitive)
{
    struct h2_intake *const in = &st->intake;
    if (!h2_head_count(st, name, value)) {
        return false;
    }
    if (in->fault != FAULT_NONE) {
        return true;
    }
    if (name.p[0] == ':') {
        h2_head_pseudo(st, name, value);
        return true;
    }
    if (!st->s.codec->limits->is_underscore_allowed && st->is_server &&
        str_find_char(name, '_') < name.len) {
        h2_head_fault(in, FAULT_BAD_REQUEST);
        return true;
    }
    const enum name_id id = name_find(name);
    if (!in->is_trailers) {
        h2_head_regular(st, id, name, value, is_sensitive);
    } else if (hop_trailer_may_pass(id, name)) {
        h2_head_store(st, st->trailers, id, name, value, is_sensitive);
    }
    return true;
}

/* Writes all crumbs, "; " between, to `text`; returns the sensitivity. */
static bool h2_head_cookie_text(const struct head *h, char *text)
{
    bool is_sensitive = false;
    size_t at = 0;
    for (uint32_t i = 0; i < h->n_fields; i++) {
        const struct field *const f = &h->fields[i];
        if (f->id != NAME_COOKIE) {
            continue;
        }
        if (at > 0) {
            memcpy(text + at, "; ", 2);
            at += 2;
        }
        if (f->value.len > 0) {
            memcpy(text + at, f->value.p, f->value.len);
        }
        at += f->value.len;
        is_sensitive |= f->is_sensitive;
    }
    return is_sensitive;
}

/* Joins cookie crumbs (R-H2-7): h1 servers know one Cookie field only. */
static enum fault h2_head_join_cookies(struct h2_stream *st)
{
    struct head *const h = st->head;
    size_t len = 2 * ((size_t)st->intake.n_cookies - 1);
    for (uint32_t i = 0; i < h->n_fields; i++) {
        len += h->fields[i].id == NAME_COOKIE ? h->fields[i].value.len : 0;
    }
    char *const text = arena_take(h->arena, len + 1);
    if (text == NULL) {
        return FAULT_OVERLOAD;
    }
    const bool is_sensitive = h2_head_cookie_text(h, text);
    (void)head_remove_id(h, NAME_COOKIE);
    h2_head_add(st, h, NAME_COOKIE, name_text(NAME_COOKIE), str_make(text, len),
                is_sensitive);
    return st->intake.fault;
}

static enum fault h2_head_check_method(const struct head *h)
{
    if (h->method == METHOD_CONNECT || h->method == METHOD_TRACE ||
        str_eq(h->method_text, STR("TRACK"))) {
        return FAULT_METHOD;
    }
    return FAULT_NONE;
}

/* :authority and Host must agree; Host alone will do (R-H2-5). */
static enum fault h2_head_check_authority(struct h2_stream *st)
{
    const struct h2_intake *const in = &st->intake;
    struct head *const h = st->head;
    const bool has_authority = in->authority.p != NULL;
    const struct str text = has_authority ? in->authority : in->host;
    if (text.p == NULL) {
        return FAULT_BAD_HOST;
    }
    const enum fault f =
        uri_host(h->arena, text, h->scheme, &h->authority, &h->host);
    if (f != FAULT_NONE || !has_authority || in->host.p == NULL ||
        str_eq(in->host, text)) {
        return f;
    }
    struct str authority;
    struct str host;
    const enum fault f_host =
        uri_host(h->arena, in->host, h->scheme, &authority, &host);
    if (f_host != FAULT_NONE) {
        return f_host;
    }
    return str_eq(authority, h->authority) ? FAULT_NONE : FAULT_BAD_HOST;
}

static enum fault h2_head_check_target(struct h2_stream *st)
{
    struct head *const h = st->head;
    const struct uri_options options = {
        .is_encoded_slash_allowed =
            st->s.codec->limits->is_encoded_slash_allowed};
    const struct str path = st->intake.path;
    if (path.p == NULL) {
        return FAULT_BAD_TARGET;
    }
    if (str_eq(path, STR("*")) && h->method != METHOD_OPTIONS) {
        return FAULT_BAD_TARGET;
    }
    return uri_target(h->arena, path, &options, &h->path, &h->query);
}

enum fault h2_head_finish_request(struct h2_stream *st, bool is_tls)
{
    struct head *const h = st->head;
    if (st->intake.fault != FAULT_NONE) {
        return st->intake.fault;
    }
    enum fault f = h2_head_check_method(h);
    if (f != FAULT_NONE) {
        return f;
    }
    h->scheme = is_tls ? STR("https") : STR("http");
    if (!str_eq_nocase(st->intake.scheme, h->scheme)) {
        return FAULT_BAD_REQUEST;
    }
    f = h2_head_check_authority(st);
    if (f == FAULT_NONE) {
        f = h2_head_check_target(st);
    }
    if (f == FAULT_NONE && st->intake.n_cookies > 1) {
        f = h2_head_join_cookies(st);
    }
    h->n_bytes = st->intake.n_bytes;
    return f;
}

enum fault h2_head_finish_response(struct h2_stream *st)
{
    if (st->intake.fault == FAULT_OVERLOAD) {
        return FAULT_OVERLOAD;
    }
    if (st->intake.fault != FAULT_NONE || st->head->status == 0) {
        return FAULT_BAD_RESPONSE;
    }
    st->head->n_bytes = st->intake.n_bytes;
    return FAULT_NONE;
}
