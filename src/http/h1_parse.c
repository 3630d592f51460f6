/*
 * h1_parse: from the bytes of an HTTP/1.1 head to the typed head. Pure
 * functions; every thread. The text is copied to the arena once, names are
 * lower-cased in that copy, and all slices of the result point into it.
 *
 * Any doubt about where a message ends is a fault; nothing is repaired
 * (rules R-LIN, R-TGT, R-HST, R-HDR, R-LEN). Invariant: the fault of a head
 * does not depend on how its bytes were cut, so what h1_head_partial refuses
 * early is what the parser looks at first.
 */
#include "http/h1.h"

#include "http/chars.h"
#include "http/h1_fields.h"
#include "http/uri.h"
#include "http/websocket.h"

enum {
    H1_METHOD_BYTES_MAX = 32,
    H1_VERSION_LEN = 8,     /* "HTTP/1.1" */
    H1_TLS_HANDSHAKE = 0x16 /* first byte of a ClientHello */
};

/* ---- where a head ends -------------------------------------------------- */

/*
 * An empty line ends the head, also one that is ended by LF alone: the parser
 * refuses it at once, and the peer need not wait for a timeout.
 */
size_t h1_head_len(const uint8_t *p, size_t len, size_t *scan_from)
{
    size_t at = *scan_from;

    while (at < len) {
        const uint8_t *const lf = memchr(p + at, '\n', len - at);

        if (lf == NULL) {
            *scan_from = len;
            return 0;
        }
        at = (size_t)(lf - p);
        if (at + 1 < len && p[at + 1] == '\n') {
            return at + 2;
        }
        if (at + 2 < len && p[at + 1] == '\r' && p[at + 2] == '\n') {
            return at + 3;
        }
        if (at + 1 == len || (at + 2 == len && p[at + 1] == '\r')) {
            break;
        }
        at++;
    }
    *scan_from = at;
    return 0;
}

static size_t h1_raw_bytes_max(const struct codec_limits *limits)
{
    return (size_t)limits->target_bytes_max + limits->head_bytes_max +
           4 * (size_t)limits->n_fields_max + 16;
}

/* ---- request line ------------------------------------------------------- */

struct h1_line {
    struct str method;
    struct str target;
    uint8_t version;
};

/* "HTTP/1.1" or "HTTP/1.0" to 11 or 10; else the fault. */
static enum fault h1_version(struct str text, uint8_t *version)
{
    if (text.len != H1_VERSION_LEN || !str_starts(text, STR("HTTP/")) ||
        !chars_is(text.p[5], CHARS_DIGIT) || text.p[6] != '.' ||
        !chars_is(text.p[7], CHARS_DIGIT)) {
        return FAULT_BAD_REQUEST;
    }
    if (text.p[5] != '1' || text.p[7] > '1') {
        return FAULT_VERSION;
    }
    *version = text.p[7] == '1' ? 11 : 10;
    return FAULT_NONE;
}

static enum fault h1_method_check(struct str method)
{
    if (method.len > H1_METHOD_BYTES_MAX || !name_is_valid(method)) {
        return FAULT_BAD_REQUEST;
    }
    if (str_eq(method, STR("CONNECT")) || str_eq(method, STR("TRACE")) ||
        str_eq(method, STR("TRACK"))) {
        return FAULT_METHOD;
    }
    return FAULT_NONE;
}

/* Splits a request line without its CR LF. */
static enum fault h1_line_split(struct str text, struct h1_line *line)
{
    const size_t first = str_find_char(text, ' ');
    const struct str rest = str_from_index(text, first + 1);
    const size_t second = str_find_char(rest, ' ');
    const struct str version = str_from_index(rest, second + 1);

    // The preface of HTTP/2 is no request of a version that we lack.
    if (second == rest.len || second == 0 ||
        str_eq(text, STR("PRI * HTTP/2.0"))) {
        return FAULT_BAD_REQUEST;
    }
    line->method = str_sub(text, 0, first);
    line->target = str_sub(rest, 0, second);
    const enum fault f = h1_version(version, &line->version);
    return f != FAULT_NONE ? f : h1_method_check(line->method);
}

/* R-LIN-5: at most one empty line in front. */
static struct str h1_skip_empty_line(const uint8_t *p, size_t len)
{
    const struct str text = str_make((const char *)p, len);

    return str_starts(text, STR("\r\n")) ? str_from_index(text, 2) : text;
}

/* The first byte is not one of a method. That of a TLS handshake is known by
 * itself, so that its fault does not depend on how the bytes were cut. */
static enum fault h1_line_bad_start(struct str text)
{
    if (text.len == 1 && text.p[0] == '\r') {
        return FAULT_NONE;
    }
    return text.p[0] == H1_TLS_HANDSHAKE ? FAULT_TLS_ON_PLAIN
                                         : FAULT_BAD_REQUEST;
}

/*
 * Looks at the request line at the front of `text`. `*line_len` is its length
 * with CR LF, 0 when it is not complete.
 */
static enum fault h1_line_check(struct str text,
                                const struct codec_limits *limits,
                                struct h1_line *line,
                                size_t *line_len)
{
    const size_t line_max = limits->target_bytes_max;

    *line_len = 0;
    if (text.len == 0) {
        return FAULT_NONE;
    }
    if (!chars_is(text.p[0], CHARS_TOKEN)) {
        return h1_line_bad_start(text);
    }
    const size_t lf = str_find_char(text, '\n');
    if (lf > line_max + 1) {
        return FAULT_TARGET_TOO_LONG;
    }
    if (lf == text.len) {
        return FAULT_NONE;
    }
    if (text.p[lf - 1] != '\r') {
        return FAULT_BAD_REQUEST;
    }
    *line_len = lf + 1;
    return h1_line_split(str_sub(text, 0, lf - 1), line);
}

enum fault h1_head_partial(const uint8_t *p,
                           size_t len,
                           bool is_request,
                           const struct codec_limits *limits)
{
    const size_t bytes_max = h1_raw_bytes_max(limits);
    struct h1_line line;
    size_t line_len = 0;

    if (!is_request) {
        static const char start[] = "HTTP/1.";
        const size_t n = len < sizeof(start) - 1 ? len : sizeof(start) - 1;

        return memcmp(p, start, n) != 0 || len > bytes_max ? FAULT_BAD_RESPONSE
                                                           : FAULT_NONE;
    }
    const enum fault f =
        h1_line_check(h1_skip_empty_line(p, len), limits, &line, &line_len);
    if (f != FAULT_NONE) {
        return f;
    }
    return len > bytes_max ? FAULT_HEAD_TOO_LARGE : FAULT_NONE;
}

/* ---- requests ----------------------------------------------------------- */

/* R-HST-1, -2, -6: Host when the target has no authority. */
static enum fault h1_request_host(struct h1_fields *f)
{
    struct head *const h = f->h;

    if (f->n_host == 0 && h->version == 10) {
        return FAULT_NONE; // The owner knows whether there is a default.
    }
    if (f->n_host != 1) {
        return FAULT_BAD_HOST;
    }
    return uri_host(h->arena, f->host, h->scheme, &h->authority, &h->host);
}

/* R-TGT-5: the target's authority replaces Host, which must be equal. */
static enum fault
h1_request_absolute(struct h1_fields *f, struct str target, struct str *rest)
{
    struct head *const h = f->h;
    struct str scheme;
    struct str text;
    struct str authority;
    struct str host;

    enum fault fault = h1_request_host(f);
    if (fault != FAULT_NONE) {
        return fault;
    }
    fault = uri_absolute(target, &scheme, &text, rest);
    if (fault != FAULT_NONE) {
        return fault;
    }
    if (!str_eq(scheme, h->scheme)) {
        return FAULT_BAD_TARGET;
    }
    fault = uri_host(h->arena, text, scheme, &authority, &host);
    if (fault != FAULT_NONE) {
        return fault;
    }
    if (f->n_host > 0 && !str_eq(authority, h->authority)) {
        return FAULT_BAD_HOST;
    }
    h->authority = authority;
    h->host = host;
    return FAULT_NONE;
}

/* "http://host?a" has the path "/"; of OPTIONS without a path it is "*". */
static struct str h1_request_rest(struct head *h, struct str rest)
{
    if (rest.len == 0) {
        return h->method == METHOD_OPTIONS ? STR("*") : STR("/");
    }
    return rest.p[0] == '/' ? rest
                            : arena_print(h->arena, "/%.*s", STR_ARG(rest));
}

static enum fault h1_request_target(struct h1_fields *f, struct str target)
{
    struct head *const h = f->h;
    const struct uri_options options = {
        .is_encoded_slash_allowed = f->limits->is_encoded_slash_allowed};
    struct str path = target;
    enum fault fault;

    if (target.p[0] == '/' || str_eq(target, STR("*"))) {
        fault = h1_request_host(f);
    } else {
        fault = h1_request_absolute(f, target, &path);
        path = fault == FAULT_NONE ? h1_request_rest(h, path) : path;
    }
    if (fault != FAULT_NONE) {
        return fault;
    }
    if (path.p == NULL) {
        return FAULT_OVERLOAD;
    }
    if (path.p[0] == '*' && h->method != METHOD_OPTIONS) {
        return FAULT_BAD_TARGET;
    }
    return uri_target(h->arena, path, &options, &h->path, &h->query);
}

/* R-EXP-1. */
static enum fault h1_request_expect(struct h1_fields *f)
{
    struct head *const h = f->h;
    const bool has_body = h->is_chunked || h->content_length > 0;

    if (f->expect.p == NULL || h->version == 10) {
        return FAULT_NONE;
    }
    if (!has_body || !str_eq_nocase(f->expect, STR("100-continue"))) {
        return FAULT_EXPECTATION;
    }
    h->has_expect = true;
    return FAULT_NONE;
}

/* 5.11: an upgrade that is not sound in every part is no upgrade. */
static void h1_request_upgrade(struct h1_fields *f)
{
    struct head *const h = f->h;

    if (f->upgrade.p != NULL && h1_fields_have_token(f, STR("upgrade")) &&
        websocket_request_is_valid(h)) {
        h->is_websocket = true;
        h->upgrade = f->upgrade;
    }
}

static enum fault h1_request_finish(struct h1_fields *f, struct str target)
{
    enum fault fault = h1_fields_framing(f);

    if (fault == FAULT_NONE) {
        fault = h1_request_target(f, target);
    }
    if (fault == FAULT_NONE) {
        fault = h1_request_expect(f);
    }
    if (fault == FAULT_NONE) {
        fault = h1_fields_connection(f);
    }
    if (fault == FAULT_NONE) {
        h1_request_upgrade(f);
    }
    return fault;
}

enum fault h1_parse_request(struct head *h,
                            const uint8_t *p,
                            size_t len,
                            struct str scheme,
                            const struct codec_limits *limits)
{
    const struct str raw = h1_skip_empty_line(p, len);
    struct h1_fields f = {.h = h, .limits = limits, .is_request = true};
    struct h1_line line;
    size_t line_len = 0;

    const enum fault early = h1_head_partial(p, len, true, limits);
    if (early != FAULT_NONE) {
        return early;
    }
    char *const text = h1_fields_copy(h->arena, raw.p, raw.len);
    if (text == NULL) {
        return FAULT_OVERLOAD;
    }
    const struct str copy = str_make(text, raw.len);
    if (h1_line_check(copy, limits, &line, &line_len) != FAULT_NONE ||
        line_len == 0 || text[raw.len - 1] != '\n') {
        return FAULT_BAD_REQUEST;
    }
    h->scheme = scheme;
    h->version = line.version;
    h->method_text = line.method;
    h->method = method_find(line.method);
    const enum fault fault =
        h1_fields_read(&f, text + line_len, text + raw.len);
    return fault != FAULT_NONE ? fault : h1_request_finish(&f, line.target);
}

/* ---- responses ---------------------------------------------------------- */

/* "HTTP/1.1 200 reason"; the blank behind the status may be missing. */
static bool h1_status_line(struct str line, struct head *h)
{
    if (line.len < 12 || line.p[8] != ' ' ||
        h1_version(str_sub(line, 0, H1_VERSION_LEN), &h->version) !=
            FAULT_NONE ||
        (line.len > 12 && line.p[12] != ' ')) {
        return false;
    }
    for (size_t i = 9; i < 12; i++) {
        if (!chars_is(line.p[i], CHARS_DIGIT)) {
            return false;
        }
        h->status = h->status * 10 + (line.p[i] - '0');
    }
    return h->status >= 100 && h->status <= 599 &&
           value_is_valid(str_from_index(line, 12));
}

/* Messages that have no body, whatever their fields say. */
static void h1_response_body(struct head *h, enum method m)
{
    if (h->status < 200 || h->status == 204) {
        h->content_length = -1;
        h->is_chunked = false;
    } else if (h->status == 205) {
        h->content_length = 0;
        h->is_chunked = false;
    } else if (h->status == 304 || m == METHOD_HEAD) {
        h->is_chunked = false;
    }
}

static enum fault h1_response_finish(struct h1_fields *f, enum method m)
{
    struct head *const h = f->h;
    enum fault fault = h1_fields_framing(f);

    if (fault == FAULT_NONE) {
        fault = h1_fields_connection(f);
    }
    if (fault != FAULT_NONE) {
        return FAULT_BAD_RESPONSE;
    }
    if (h->status == 101 && h1_fields_have_token(f, STR("upgrade"))) {
        h->upgrade = f->upgrade;
    }
    h1_response_body(h, m);
    return FAULT_NONE;
}

enum fault h1_parse_response(struct head *h,
                             const uint8_t *p,
                             size_t len,
                             enum method m,
                             const struct codec_limits *limits)
{
    struct h1_fields f = {.h = h, .limits = limits, .is_request = false};

    const enum fault early = h1_head_partial(p, len, false, limits);
    if (early != FAULT_NONE) {
        return early;
    }
    char *const text = h1_fields_copy(h->arena, p, len);
    if (text == NULL) {
        return FAULT_OVERLOAD;
    }
    const struct str copy = str_make(text, len);
    const size_t lf = str_find_char(copy, '\n');
    if (lf == len || lf == 0 || text[lf - 1] != '\r' || text[len - 1] != '\n' ||
        !h1_status_line(str_sub(copy, 0, lf - 1), h)) {
        return FAULT_BAD_RESPONSE;
    }
    const enum fault fault = h1_fields_read(&f, text + lf + 1, text + len);
    return fault != FAULT_NONE ? fault : h1_response_finish(&f, m);
}
