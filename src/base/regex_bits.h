/*
 * regex_bits: the quick yes-or-no form of a regular expression: one bit for
 * each instruction that takes a byte, so that a step over a byte of text is a
 * few operations on one word. Built once on the control thread, then read-only
 * and shared. Private to the regex files.
 */
#ifndef DAEMUN_BASE_REGEX_BITS_H
#define DAEMUN_BASE_REGEX_BITS_H

#include "base/regex_prog.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { REGEX_BITS_MAX = 64 };

struct regex_bits {
    bool is_usable;   /* at most REGEX_BITS_MAX bits and no \b or \B */
    bool is_anchored; /* a match can only begin at the text's start; this and
                         only this is also set when it is not usable */
    /* Whether an empty match is one, by the place in the text. */
    bool takes_empty_text;
    bool takes_empty_at_start;
    bool takes_empty_within;
    bool takes_empty_at_end;
    uint64_t first;      /* may take the text's first byte */
    uint64_t later;      /* may take another byte as a match's first */
    uint64_t accept;     /* having taken a byte these satisfy the pattern */
    uint64_t accept_end; /* these do when that byte was the last */
    uint64_t stay;       /* may take the next byte too */
    uint64_t step;       /* the next higher bit may take the next byte */
    uint64_t jump;       /* have other bits in `follow` */
    uint64_t follow[REGEX_BITS_MAX];
    uint64_t takes[256]; /* the bits that take this byte */
};

void regex_bits_init(struct regex_bits *bits, const struct regex_prog *prog);
/* Adds what it does to `steps`. Only when is_usable. Allocates nothing. */
bool regex_bits_match(const struct regex_bits *bits,
                      struct str text,
                      uint64_t *steps);

#endif
