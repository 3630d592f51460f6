/*
 * regex: regular expressions for route paths, matched in linear time. A
 * pattern is compiled on the control thread into an immutable `struct regex`
 * that every worker may use at once; what a match writes lives in a `struct
 * regex_scratch`, one per worker, so that a match allocates nothing.
 *
 * Syntax, a subset of PCRE on bytes (no UTF-8): literals, `.` (all but \n),
 * [...] with ranges and ^, \d \w \s \D \W \S, \t \n \r \f \v \xHH, \ before
 * punctuation, (...) and (?:...), |, * + ? {m} {m,} {m,n} and their lazy forms
 * with ?, ^ $ \b \B. `^` and `$` are the ends of the text, never of a line,
 * and `$` does not match before a final \n. A literal { is written \{.
 *
 * Captures follow the leftmost-first rule of Perl. One exception: in a loop
 * whose body may be empty, as in (a*)* or (?:a?|b)+, Perl's choice depends on
 * the way taken so far, so captures and the end of the match may differ from
 * Perl's there; whether there is a match never does.
 *
 * Invariant: a match of n bytes takes at most 3 * regex_size() * (n + 1) steps.
 */
#ifndef DAEMUN_BASE_REGEX_H
#define DAEMUN_BASE_REGEX_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    REGEX_PATTERN_MAX = 1024, /* bytes of a pattern */
    REGEX_PROGRAM_MAX = 4096, /* instructions of a compiled pattern */
    REGEX_REPEAT_MAX = 255,   /* the numbers in {m,n} */
    REGEX_NESTING_MAX = 32,   /* groups in groups */
    REGEX_CAPTURES_MAX = 32,  /* the whole match and 31 groups */
};

enum regex_flag {
    REGEX_ANCHOR_START = 1, /* the match must begin at the text's start */
    REGEX_ANCHOR_END = 2,   /* ... and must end at the text's end */
    REGEX_NOCASE = 4,       /* ASCII letters match either case */
};

struct regex;
struct regex_scratch;

/*
 * Compiles `pattern`; `flags` is a sum of enum regex_flag. On a bad pattern
 * returns NULL and adds one line to `err` that tells the position (from 1),
 * what is wrong and how to mend it. Control thread; the caller owns the result.
 */
struct regex *regex_new(struct str pattern, unsigned flags, struct error *err);
/* Takes NULL. No worker may still use it. */
void regex_free(struct regex *re);

/* Instructions of the program: what a scratch must be able to hold. */
size_t regex_size(const struct regex *re);
/* The capturing groups, without the whole match. */
size_t regex_n_groups(const struct regex *re);

/*
 * Room to match programs of up to `program_max` instructions; a worker that
 * must match any later configuration passes REGEX_PROGRAM_MAX (about 4 MiB of
 * addresses, of which only the touched pages take memory). One thread at a
 * time; the caller owns it.
 */
struct regex_scratch *regex_scratch_new(size_t program_max);
/* Takes NULL. */
void regex_scratch_free(struct regex_scratch *scratch);

/*
 * Searches `text` for `re`. captures[0] becomes the whole match, captures[i]
 * the group i, as slices of `text`; a group that took no part, and all of them
 * when nothing matches, become STR_NONE (p NULL; an empty capture has a p).
 * With n_captures 0 it only tells whether there is a match, which is quicker.
 * The scratch must hold regex_size(re) instructions. Allocates nothing.
 */
bool regex_match(const struct regex *re,
                 struct str text,
                 struct regex_scratch *scratch,
                 struct str *captures,
                 size_t n_captures);

#endif
