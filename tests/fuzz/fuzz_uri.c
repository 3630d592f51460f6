/*
 * fuzz_uri: request targets and hosts. Input: a byte of options, a target, a
 * line feed, a host.
 * Laws: the canonical form of a canonical form is itself; it has no dot
 * segments, no empty elements, no escaped letters and nothing that ends a
 * request line; what is matched against routes has no parameters.
 */
#include "fuzz.h"
#include "http/chars.h"
#include "http/uri.h"

enum { ARENA_MAX = 256 * 1024 };

static void uri_check_escapes(struct str path, bool is_slash_allowed)
{
    for (size_t i = 0; i < path.len; i++) {
        CHECK((uint8_t)path.p[i] > 0x20 && path.p[i] != 0x7f);
        if (path.p[i] != '%') {
            continue;
        }
        CHECK(i + 2 < path.len);
        const unsigned v =
            chars_hex(path.p[i + 1]) * 16 + chars_hex(path.p[i + 2]);
        CHECK(v >= 0x20 && v != 0x7f);
        CHECK(!chars_is((char)v, CHARS_UNRESERVED));
        CHECK(is_slash_allowed || (v != '/' && v != '\\'));
    }
}

static void uri_check_elements(struct str path)
{
    struct str rest = str_from_index(path, 1);
    struct str element;
    while (str_split(&rest, '/', &element)) {
        const struct str name =
            str_sub(element, 0, str_find_char(element, ';'));
        CHECK(!str_eq(name, STR(".")) && !str_eq(name, STR("..")));
        CHECK(element.len > 0 || rest.p == NULL);
    }
}

static void
uri_check_target(struct arena *arena, struct str target, bool is_slash_allowed)
{
    const struct uri_options options = {is_slash_allowed};
    struct str path;
    struct str query;
    if (uri_target(arena, target, &options, &path, &query) != FAULT_NONE) {
        return;
    }
    CHECK(path.len <= URI_PATH_BYTES_MAX);
    if (!str_eq(path, STR("*"))) {
        CHECK(path.len > 0 && path.p[0] == '/');
        uri_check_elements(path);
        uri_check_escapes(path, is_slash_allowed);
    }
    const struct str whole =
        query.p == NULL
            ? path
            : arena_print(arena, "%.*s?%.*s", STR_ARG(path), STR_ARG(query));
    struct str path_again;
    struct str query_again;
    CHECK(uri_target(arena, whole, &options, &path_again, &query_again) ==
          FAULT_NONE);
    CHECK(str_eq(path, path_again) && str_eq(query, query_again));
    CHECK((query.p == NULL) == (query_again.p == NULL));
    const struct str match = uri_match_path(arena, path);
    CHECK(match.len > 0 && match.len <= path.len);
    CHECK(str_find_char(match, ';') == match.len);
    CHECK(str_eq(match, uri_match_path(arena, match)));
}

static void uri_check_host(struct arena *arena, struct str text)
{
    static const struct str schemes[] = {{"http", 4}, {"https", 5}};
    for (size_t i = 0; i < 2; i++) {
        struct str authority;
        struct str host;
        struct str authority_again;
        struct str host_again;
        if (uri_host(arena, text, schemes[i], &authority, &host) !=
            FAULT_NONE) {
            continue;
        }
        CHECK(host.len > 0 && authority.len >= host.len);
        for (size_t j = 0; j < authority.len; j++) {
            CHECK(!chars_is(authority.p[j], CHARS_UPPER));
            CHECK((uint8_t)authority.p[j] > 0x20);
            CHECK(strchr("/?#@,\\", authority.p[j]) == NULL);
        }
        CHECK(uri_host(arena, authority, schemes[i], &authority_again,
                       &host_again) == FAULT_NONE);
        CHECK(str_eq(authority, authority_again) && str_eq(host, host_again));
    }
}

static void uri_check_absolute(struct str target)
{
    struct str scheme;
    struct str authority;
    struct str rest;
    if (uri_absolute(target, &scheme, &authority, &rest) == FAULT_NONE) {
        CHECK(authority.len > 0);
        CHECK(rest.len == 0 || rest.p[0] == '/' || rest.p[0] == '?');
        CHECK(rest.p + rest.len == target.p + target.len || rest.len == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size};
    const uint8_t options = fuzz_byte(&in);
    const struct str target = fuzz_copy(fuzz_until(&in, '\n'));
    const struct str host = fuzz_copy(fuzz_take(&in, in.len));
    struct arena arena;
    arena_init(&arena, NULL, ARENA_MAX);
    uri_check_target(&arena, target, (options & 1) != 0);
    uri_check_absolute(target);
    uri_check_host(&arena, host);
    arena_reset(&arena);
    fuzz_free(target);
    fuzz_free(host);
    return 0;
}
