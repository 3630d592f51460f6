/*
 * uri: request targets and hosts in canonical form. Pure functions; text of a
 * result lies in the arena of the caller, or is a slice of what came in when
 * nothing had to change. See uri.h.
 * Invariants: canonical(canonical(x)) = canonical(x); the query is never
 * rewritten; nothing climbs above the root.
 */
#include "http/uri.h"

#include "http/chars.h"

#include <arpa/inet.h>

enum { URI_HOST_BYTES_MAX = 255, URI_PORT_DIGITS_MAX = 5 };

/* ---- path --------------------------------------------------------------- */

static bool uri_is_escape(struct str s, size_t at)
{
    return at + 2 < s.len && chars_is(s.p[at + 1], CHARS_HEX) &&
           chars_is(s.p[at + 2], CHARS_HEX);
}

/*
 * A byte of R-TGT-4; in a query '?' is one of them, and so are the brackets,
 * which browsers leave there as they are ("?ids[]=1").
 */
static bool uri_is_query_char(char c)
{
    return chars_is(c, CHARS_PATH) || c == '?' || c == '[' || c == ']';
}

static bool uri_query_is_valid(struct str s, size_t from)
{
    for (size_t i = from; i < s.len; i++) {
        if (!uri_is_query_char(s.p[i]) &&
            !(s.p[i] == '%' && uri_is_escape(s, i))) {
            return false;
        }
    }
    return true;
}

/*
 * Looks over the path part of `target`: its length, and whether it may differ
 * from its canonical form.
 */
static bool uri_path_scan(struct str target, size_t *path_len, bool *is_plain)
{
    size_t i = 0;
    char before = '\0';

    *is_plain = true;
    for (; i < target.len && target.p[i] != '?'; i++) {
        const char c = target.p[i];

        if (!chars_is(c, CHARS_PATH)) {
            if (c != '%' || !uri_is_escape(target, i)) {
                return false;
            }
            *is_plain = false;
        } else if (before == '/' && (c == '/' || c == '.')) {
            *is_plain = false;
        }
        before = c;
    }
    *path_len = i;
    return true;
}

/* One %XX at `p` to `dst`; how many bytes were written, 0 when forbidden. */
static size_t uri_unescape(const char *p, bool is_slash_allowed, char *dst)
{
    static const char digits[] = "0123456789ABCDEF";
    const unsigned v = chars_hex(p[1]) * 16 + chars_hex(p[2]);

    if (v < 0x20 || v == 0x7f) {
        return 0;
    }
    if ((v == '/' || v == '\\') && !is_slash_allowed) {
        return 0;
    }
    if (chars_is((char)v, CHARS_UNRESERVED)) {
        dst[0] = (char)v;
        return 1;
    }
    dst[0] = '%';
    dst[1] = digits[v >> 4];
    dst[2] = digits[v & 15];
    return 3;
}

/* Decodes one segment into dst (which holds its length). */
static bool
uri_segment(struct str segment, bool is_slash_allowed, char *dst, size_t *len)
{
    size_t n = 0;

    for (size_t i = 0; i < segment.len;) {
        if (segment.p[i] != '%') {
            dst[n++] = segment.p[i++];
            continue;
        }
        const size_t written =
            uri_unescape(segment.p + i, is_slash_allowed, dst + n);
        if (written == 0) {
            return false;
        }
        n += written;
        i += 3;
    }
    *len = n;
    return true;
}

/* Rule 8: "." or ".." followed by parameters. */
static bool uri_is_dotted_param(struct str s)
{
    return str_starts(s, STR(".;")) || str_starts(s, STR("..;"));
}

/* `out` ends in '/': takes the last segment away. False at the root. */
static bool uri_climb(const char *out, size_t *len)
{
    size_t n = *len;

    if (n == 1) {
        return false;
    }
    do {
        n--;
    } while (out[n - 1] != '/');
    *len = n;
    return true;
}

/* Writes the canonical form of `path` to `out`; its length, 0 when refused. */
static size_t uri_canonical(struct str path, bool is_slash_allowed, char *out)
{
    struct str rest = str_from_index(path, 1);
    struct str piece;
    size_t n = 1;

    out[0] = '/';
    while (str_split(&rest, '/', &piece)) {
        size_t len = 0;

        if (!uri_segment(piece, is_slash_allowed, out + n, &len)) {
            return 0;
        }
        const struct str segment = str_make(out + n, len);
        if (uri_is_dotted_param(segment)) {
            return 0;
        }
        if (len == 0 || str_eq(segment, STR("."))) {
            continue;
        }
        if (str_eq(segment, STR(".."))) {
            if (!uri_climb(out, &n)) {
                return 0;
            }
            continue;
        }
        n += len;
        if (rest.p != NULL) {
            out[n++] = '/';
        }
    }
    return n;
}

static enum fault uri_path(struct arena *arena,
                           struct str text,
                           const struct uri_options *options,
                           struct str *path)
{
    char *const out = arena_take(arena, text.len + 1);

    if (out == NULL) {
        return FAULT_OVERLOAD;
    }
    const size_t len =
        uri_canonical(text, options->is_encoded_slash_allowed, out);
    if (len == 0) {
        return FAULT_BAD_TARGET;
    }
    *path = str_make(out, len);
    return FAULT_NONE;
}

enum fault uri_target(struct arena *arena,
                      struct str target,
                      const struct uri_options *options,
                      struct str *path,
                      struct str *query)
{
    size_t path_len = 0;
    bool is_plain = true;

    *query = STR_NONE;
    if (str_eq(target, STR("*"))) {
        *path = target;
        return FAULT_NONE;
    }
    if (target.len == 0 || target.p[0] != '/' ||
        !uri_path_scan(target, &path_len, &is_plain)) {
        return FAULT_BAD_TARGET;
    }
    if (path_len < target.len) {
        if (!uri_query_is_valid(target, path_len + 1)) {
            return FAULT_BAD_TARGET;
        }
        *query = str_from_index(target, path_len + 1);
    }
    *path = str_make(target.p, path_len);
    if (!is_plain) {
        const enum fault f = uri_path(arena, *path, options, path);

        if (f != FAULT_NONE) {
            return f;
        }
    }
    return path->len > URI_PATH_BYTES_MAX ? FAULT_TARGET_TOO_LONG : FAULT_NONE;
}

/*
 * Slashes are merged once more: "/;x/admin" must be matched by what guards
 * "/admin", since that is how servers that know parameters read it.
 */
struct str uri_match_path(struct arena *arena, struct str path)
{
    if (str_find_char(path, ';') == path.len) {
        return path;
    }
    char *const out = arena_take(arena, path.len);
    size_t n = 0;
    bool is_param = false;

    if (out == NULL) {
        return STR_NONE;
    }
    for (size_t i = 0; i < path.len; i++) {
        const char c = path.p[i];

        is_param = c != '/' && (is_param || c == ';');
        if (!is_param && !(c == '/' && n > 0 && out[n - 1] == '/')) {
            out[n++] = c;
        }
    }
    return str_make(out, n);
}

enum fault uri_absolute(struct str target,
                        struct str *scheme,
                        struct str *authority,
                        struct str *rest)
{
    const struct str http = STR("http");
    const struct str https = STR("https");
    const size_t colon = str_find_char(target, ':');
    const struct str name = str_make(target.p, colon);

    if (str_eq_nocase(name, http)) {
        *scheme = http;
    } else if (str_eq_nocase(name, https)) {
        *scheme = https;
    } else {
        return FAULT_BAD_TARGET;
    }
    const struct str tail = str_from_index(target, colon);
    if (!str_starts(tail, STR("://"))) {
        return FAULT_BAD_TARGET;
    }
    const struct str body = str_from_index(tail, 3);
    size_t end = 0;
    while (end < body.len && body.p[end] != '/' && body.p[end] != '?') {
        end++;
    }
    *authority = str_make(body.p, end);
    *rest = str_from_index(body, end);
    // No userinfo: an '@' is not in the grammar of a host (R-HST-3).
    return end == 0 || str_find_char(*authority, '@') < end ? FAULT_BAD_TARGET
                                                            : FAULT_NONE;
}

/* ---- host --------------------------------------------------------------- */

/* Takes a port off; *port 0: there was none. */
static bool uri_host_port(struct str text, size_t colon, unsigned *port)
{
    const struct str digits = str_from_index(text, colon + 1);
    uint64_t value = 0;

    *port = 0;
    if (colon == text.len) {
        return true;
    }
    if (digits.len > URI_PORT_DIGITS_MAX || !str_to_u64(digits, &value) ||
        value == 0 || value > 65535) {
        return false;
    }
    *port = (unsigned)value;
    return true;
}

/* "[::1]" without a zone; `len` is that of text up to and with the bracket. */
static bool uri_host_is_v6(struct str text, size_t len)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;

    if (len < 4 || len - 2 >= sizeof(address)) {
        return false;
    }
    memcpy(address, text.p + 1, len - 2);
    address[len - 2] = '\0';
    return memchr(address, '\0', len - 2) == NULL &&
           inet_pton(AF_INET6, address, &parsed) == 1;
}

/* Letters, digits, '-', '_', with no empty label. */
static bool uri_host_is_name(struct str name)
{
    char before = '.';

    for (size_t i = 0; i < name.len; i++) {
        if (!chars_is(name.p[i], CHARS_HOST) ||
            (name.p[i] == '.' && before == '.')) {
            return false;
        }
        before = name.p[i];
    }
    return name.len > 0 && before != '.';
}

/* Length of the host part of `text` (brackets and a last dot included). */
static size_t uri_host_len(struct str text)
{
    if (text.len > 0 && text.p[0] == '[') {
        const size_t end = str_find_char(text, ']');
        return end == text.len ? 0 : end + 1;
    }
    return str_find_char(text, ':');
}

static unsigned uri_default_port(struct str scheme)
{
    return str_eq(scheme, STR("https")) ? 443 : 80;
}

static bool uri_has_upper(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (chars_is(s.p[i], CHARS_UPPER)) {
            return true;
        }
    }
    return false;
}

/* Host and port in canonical form; slices of `text` when it is so already. */
static struct str uri_host_make(struct arena *arena,
                                struct str text,
                                struct str name,
                                unsigned port)
{
    const bool is_cut = port == 0 || text.len == name.len;

    if (!uri_has_upper(name) &&
        (is_cut || (text.p[name.len] == ':' && text.p[name.len + 1] != '0'))) {
        return is_cut ? name : text;
    }
    char *const lower = arena_take(arena, name.len);
    if (lower == NULL) {
        return STR_NONE;
    }
    str_lower(lower, name);
    const struct str host = str_make(lower, name.len);
    return port == 0 ? host
                     : arena_print(arena, "%.*s:%u", STR_ARG(host), port);
}

enum fault uri_host(struct arena *arena,
                    struct str text,
                    struct str scheme,
                    struct str *authority,
                    struct str *host)
{
    const size_t len = uri_host_len(text);
    unsigned port = 0;

    if (len == 0 || (len < text.len && text.p[len] != ':') ||
        !uri_host_port(text, len, &port)) {
        return FAULT_BAD_HOST;
    }
    struct str name = str_make(text.p, len);
    const bool is_v6 = name.p[0] == '[';
    if (!is_v6 && name.p[len - 1] == '.') {
        name.len--;
    }
    if (name.len > URI_HOST_BYTES_MAX ||
        !(is_v6 ? uri_host_is_v6(name, len) : uri_host_is_name(name))) {
        return FAULT_BAD_HOST;
    }
    if (port == uri_default_port(scheme)) {
        port = 0;
    }
    *authority = uri_host_make(arena, text, name, port);
    if (authority->p == NULL) {
        return FAULT_OVERLOAD;
    }
    *host = is_v6 ? str_sub(*authority, 1, name.len - 2)
                  : str_sub(*authority, 0, name.len);
    return FAULT_NONE;
}

bool uri_has_encoded_slash(struct str path)
{
    for (size_t i = 0; i + 2 < path.len; i++) {
        if (path.p[i] == '%' &&
            ((path.p[i + 1] == '2' && path.p[i + 2] == 'F') ||
             (path.p[i + 1] == '5' && path.p[i + 2] == 'C'))) {
            return true;
        }
    }
    return false;
}
