/*
 * h1_write: from the typed head to the bytes of an HTTP/1.1 head. Pure; the
 * one place that writes framing and connection fields, always from typed
 * members, so that they cannot contradict the body that follows.
 * Invariant: what is written here is accepted by h1_parse with the same
 * meaning.
 */
#include "http/h1.h"

#include "base/check.h"

#include <stdio.h>

enum { WRITE_OVERHEAD_BYTES = 320 /* status line, framing, connection */ };

/*
 * Appends to reserved room when the whole head fits into one block, which is
 * nearly always; otherwise piece by piece.
 */
struct h1_writer {
    struct buf *out;
    char *p; /* NULL: append instead */
    char *start;
};

static void h1_write_begin(struct h1_writer *w, struct buf *out, size_t len_max)
{
    *w = (struct h1_writer){.out = out};
    if (len_max <= BUF_BLOCK_BYTES) {
        w->start = (char *)buf_reserve(out, len_max);
        w->p = w->start;
    }
}

static void h1_write_end(const struct h1_writer *w)
{
    if (w->p != NULL) {
        buf_commit(w->out, (size_t)(w->p - w->start));
    }
}

static void h1_write_text(struct h1_writer *w, struct str s)
{
    if (w->p == NULL) {
        buf_append_str(w->out, s);
    } else if (s.len > 0) {
        memcpy(w->p, s.p, s.len);
        w->p += s.len;
    }
}

static void
h1_write_field(struct h1_writer *w, struct str name, struct str value)
{
    h1_write_text(w, name);
    h1_write_text(w, STR(": "));
    h1_write_text(w, value);
    h1_write_text(w, STR("\r\n"));
}

static void h1_write_fields(struct h1_writer *w, const struct head *h)
{
    for (uint32_t i = 0; i < h->n_fields; i++) {
        h1_write_field(w, h->fields[i].name, h->fields[i].value);
    }
}

static void h1_write_number(struct h1_writer *w, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    h1_write_text(w, str_make(digits + at, sizeof(digits) - at));
}

static void h1_write_length(struct h1_writer *w, int64_t length)
{
    h1_write_text(w, STR("content-length: "));
    h1_write_number(w, (uint64_t)length);
    h1_write_text(w, STR("\r\n"));
}

static void h1_write_chunked(struct h1_writer *w)
{
    h1_write_text(w, STR("transfer-encoding: chunked\r\n"));
}

/* An upper bound of what the head takes; fields may have been changed by
 * hand, so that n_bytes is not to be trusted here. */
static size_t h1_write_len_max(const struct head *h)
{
    size_t len = WRITE_OVERHEAD_BYTES + h->method_text.len + h->path.len +
                 h->query.len + h->authority.len + h->upgrade.len;

    for (uint32_t i = 0; i < h->n_fields; i++) {
        len += h->fields[i].name.len + h->fields[i].value.len + 4;
    }
    return len;
}

static void h1_write_request_line(struct h1_writer *w, const struct head *h)
{
    h1_write_text(w, h->method_text);
    h1_write_text(w, STR(" "));
    h1_write_text(w, h->path);
    if (h->query.p != NULL) {
        h1_write_text(w, STR("?"));
        h1_write_text(w, h->query);
    }
    h1_write_text(w, STR(" HTTP/1.1\r\n"));
    h1_write_field(w, STR("host"), h->authority);
}

/* Methods whose body is expected say that there is none (RFC 9110 8.6). */
static bool h1_write_is_body_expected(enum method m)
{
    return m == METHOD_POST || m == METHOD_PUT || m == METHOD_PATCH;
}

static enum h1_framing
h1_write_request_framing(struct h1_writer *w, const struct head *h, bool is_end)
{
    if (h->content_length >= 0) {
        h1_write_length(w, h->content_length);
        return H1_LENGTH;
    }
    if (!is_end) {
        h1_write_chunked(w);
        return H1_CHUNKED;
    }
    if (h1_write_is_body_expected(h->method)) {
        h1_write_length(w, 0);
    }
    return H1_NO_BODY;
}

enum h1_framing
h1_write_request(struct buf *out, const struct head *h, bool is_end)
{
    struct h1_writer w;
    enum h1_framing framing = H1_NO_BODY;

    h1_write_begin(&w, out, h1_write_len_max(h));
    h1_write_request_line(&w, h);
    h1_write_fields(&w, h);
    if (h->is_websocket) {
        h1_write_field(&w, STR("connection"), STR("Upgrade"));
        h1_write_field(&w, STR("upgrade"), STR("websocket"));
    } else {
        framing = h1_write_request_framing(&w, h, is_end);
    }
    h1_write_text(&w, STR("\r\n"));
    h1_write_end(&w);
    return framing;
}

static void h1_write_status_line(struct h1_writer *w, int status)
{
    CHECK(status >= 100 && status <= 599);
    h1_write_text(w, STR("HTTP/1.1 "));
    h1_write_number(w, (uint64_t)status);
    h1_write_text(w, STR(" "));
    h1_write_text(w, h1_reason(status));
    h1_write_text(w, STR("\r\n"));
}

static enum h1_framing h1_write_response_framing(struct h1_writer *w,
                                                 const struct head *h,
                                                 enum method m,
                                                 uint8_t version,
                                                 bool is_end)
{
    const int status = h->status;

    if (status < 200 || status == 204) {
        return H1_NO_BODY;
    }
    if (status == 205) {
        h1_write_length(w, 0);
        return H1_NO_BODY;
    }
    if (m == METHOD_HEAD || status == 304) {
        if (h->content_length >= 0) {
            h1_write_length(w, h->content_length);
        }
        return H1_NO_BODY;
    }
    if (h->content_length >= 0 || is_end) {
        h1_write_length(w, h->content_length >= 0 ? h->content_length : 0);
        return H1_LENGTH;
    }
    if (version >= 11) {
        h1_write_chunked(w);
        return H1_CHUNKED;
    }
    return H1_UNTIL_CLOSE;
}

static void h1_write_connection(struct h1_writer *w,
                                const struct head *h,
                                uint8_t version,
                                bool is_close)
{
    if (h->status == 101) {
        h1_write_field(w, STR("connection"), STR("Upgrade"));
        h1_write_field(w, STR("upgrade"), h->upgrade);
    } else if (h->status >= 200 && is_close) {
        h1_write_field(w, STR("connection"), STR("close"));
    } else if (h->status >= 200 && version == 10) {
        h1_write_field(w, STR("connection"), STR("keep-alive"));
    }
}

enum h1_framing h1_write_response(struct buf *out,
                                  const struct head *h,
                                  enum method m,
                                  uint8_t client_version,
                                  bool is_close,
                                  bool is_end)
{
    struct h1_writer w;

    h1_write_begin(&w, out, h1_write_len_max(h));
    h1_write_status_line(&w, h->status);
    h1_write_fields(&w, h);
    const enum h1_framing framing =
        h1_write_response_framing(&w, h, m, client_version, is_end);
    h1_write_connection(&w, h, client_version,
                        is_close || framing == H1_UNTIL_CLOSE);
    h1_write_text(&w, STR("\r\n"));
    h1_write_end(&w);
    return framing;
}

/* With the last chunk in front: it is never sent without what follows it. */
void h1_write_trailers(struct buf *out, const struct head *t)
{
    struct h1_writer w;

    h1_write_begin(&w, out, h1_write_len_max(t));
    h1_write_text(&w, STR("0\r\n"));
    h1_write_fields(&w, t);
    h1_write_text(&w, STR("\r\n"));
    h1_write_end(&w);
}

/* Sorted by status. */
static const struct {
    int status;
    struct str text;
} h1_write_reasons[] = {
    {100, {"Continue", 8}},
    {101, {"Switching Protocols", 19}},
    {102, {"Processing", 10}},
    {103, {"Early Hints", 11}},
    {200, {"OK", 2}},
    {201, {"Created", 7}},
    {202, {"Accepted", 8}},
    {203, {"Non-Authoritative Information", 29}},
    {204, {"No Content", 10}},
    {205, {"Reset Content", 13}},
    {206, {"Partial Content", 15}},
    {207, {"Multi-Status", 12}},
    {208, {"Already Reported", 16}},
    {226, {"IM Used", 7}},
    {300, {"Multiple Choices", 16}},
    {301, {"Moved Permanently", 17}},
    {302, {"Found", 5}},
    {303, {"See Other", 9}},
    {304, {"Not Modified", 12}},
    {305, {"Use Proxy", 9}},
    {307, {"Temporary Redirect", 18}},
    {308, {"Permanent Redirect", 18}},
    {400, {"Bad Request", 11}},
    {401, {"Unauthorized", 12}},
    {402, {"Payment Required", 16}},
    {403, {"Forbidden", 9}},
    {404, {"Not Found", 9}},
    {405, {"Method Not Allowed", 18}},
    {406, {"Not Acceptable", 14}},
    {407, {"Proxy Authentication Required", 29}},
    {408, {"Request Timeout", 15}},
    {409, {"Conflict", 8}},
    {410, {"Gone", 4}},
    {411, {"Length Required", 15}},
    {412, {"Precondition Failed", 19}},
    {413, {"Content Too Large", 17}},
    {414, {"URI Too Long", 12}},
    {415, {"Unsupported Media Type", 22}},
    {416, {"Range Not Satisfiable", 21}},
    {417, {"Expectation Failed", 18}},
    {421, {"Misdirected Request", 19}},
    {422, {"Unprocessable Content", 21}},
    {423, {"Locked", 6}},
    {424, {"Failed Dependency", 17}},
    {425, {"Too Early", 9}},
    {426, {"Upgrade Required", 16}},
    {428, {"Precondition Required", 21}},
    {429, {"Too Many Requests", 17}},
    {431, {"Request Header Fields Too Large", 31}},
    {451, {"Unavailable For Legal Reasons", 29}},
    {499, {"Client Closed Request", 21}},
    {500, {"Internal Server Error", 21}},
    {501, {"Not Implemented", 15}},
    {502, {"Bad Gateway", 11}},
    {503, {"Service Unavailable", 19}},
    {504, {"Gateway Timeout", 15}},
    {505, {"HTTP Version Not Supported", 26}},
    {506, {"Variant Also Negotiates", 23}},
    {507, {"Insufficient Storage", 20}},
    {508, {"Loop Detected", 13}},
    {511, {"Network Authentication Required", 31}},
};

struct str h1_reason(int status)
{
    size_t low = 0;
    size_t high = sizeof(h1_write_reasons) / sizeof(h1_write_reasons[0]);

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (h1_write_reasons[middle].status == status) {
            return h1_write_reasons[middle].text;
        }
        if (h1_write_reasons[middle].status < status) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return STR("");
}
