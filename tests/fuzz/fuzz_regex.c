/*
 * fuzz_regex: our own regular expressions. Input: a byte of flags, a pattern, a
 * NUL, a text.
 * Laws: a match takes at most 3 * size * (n + 1) steps on either engine; both
 * engines agree on whether there is a match; captures lie in the text, groups
 * in the whole match; anchors only take matches away.
 */
#include "base/regex.c"

#include "fuzz.h"

enum { FUZZ_TEXT_MAX = 4096 };

static struct regex_scratch *scratch;

static bool regex_try(const struct regex *re,
                      struct str text,
                      struct str *captures,
                      size_t n_captures)
{
    const bool is_found = regex_match(re, text, scratch, captures, n_captures);
    /* A question for captures asks the other engine first. */
    const uint64_t factor = n_captures > 0 ? 6 : 3;
    CHECK(scratch->steps <= factor * (regex_size(re) + 1) * (text.len + 1));
    return is_found;
}

static void regex_check_captures(const struct regex *re,
                                 struct str text,
                                 const struct str *captures)
{
    const char *end = text.p + text.len;
    CHECK(captures[0].p != NULL);
    for (size_t i = 0; i < REGEX_CAPTURES_MAX; i++) {
        const struct str c = captures[i];
        if (c.p == NULL) {
            continue;
        }
        CHECK(i <= regex_n_groups(re));
        CHECK(c.p >= text.p && c.p <= end && c.len <= (size_t)(end - c.p));
        CHECK(c.p >= captures[0].p &&
              c.p + c.len <= captures[0].p + captures[0].len);
    }
}

static void regex_check_anchored(struct str pattern,
                                 unsigned flags,
                                 struct str text,
                                 bool is_found)
{
    struct error err = {0};
    struct str captures[1];
    struct regex *re =
        regex_new(pattern, flags | REGEX_ANCHOR_START | REGEX_ANCHOR_END, &err);
    if (re != NULL && regex_try(re, text, captures, 1)) {
        CHECK(is_found);
        CHECK(captures[0].len == text.len);
    }
    regex_free(re);
    error_fini(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size};
    const unsigned flags = fuzz_byte(&in) & 7u;
    const struct str pattern = fuzz_copy(fuzz_until(&in, '\0'));
    const struct str text = fuzz_copy(fuzz_take(&in, FUZZ_TEXT_MAX));
    struct error err = {0};
    struct str captures[REGEX_CAPTURES_MAX];
    if (scratch == NULL) {
        scratch = regex_scratch_new(REGEX_PROGRAM_MAX);
    }
    struct regex *re = regex_new(pattern, flags, &err);
    CHECK((re == NULL) == (err.n_problems > 0));
    if (re != NULL) {
        CHECK(regex_size(re) <= REGEX_PROGRAM_MAX);
        CHECK(regex_n_groups(re) < REGEX_CAPTURES_MAX);
        const bool is_found = regex_try(re, text, NULL, 0);
        CHECK(regex_try(re, text, captures, REGEX_CAPTURES_MAX) == is_found);
        if (is_found) {
            regex_check_captures(re, text, captures);
        }
        re->bits.is_usable = false;
        struct str slow[1];
        CHECK(regex_try(re, text, slow, 1) == is_found);
        CHECK(!is_found ||
              (slow[0].p == captures[0].p && slow[0].len == captures[0].len));
        regex_check_anchored(pattern, flags, text, is_found);
    }
    regex_free(re);
    error_fini(&err);
    fuzz_free(pattern);
    fuzz_free(text);
    return 0;
}
