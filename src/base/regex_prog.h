/*
 * regex_prog: the program that regex_parse makes of a pattern and regex runs.
 * Private to the regex files. Offsets are relative to the instruction that
 * holds them, so that a piece of a program may be copied and moved; a piece
 * never jumps further than to its own end. Built on the control thread, then
 * read-only. Functions that add return false, and add nothing, when the
 * program would exceed REGEX_PROGRAM_MAX.
 */
#ifndef DAEMUN_BASE_REGEX_PROG_H
#define DAEMUN_BASE_REGEX_PROG_H

#include "base/error.h"
#include "base/regex_class.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The upper bound of a repeat that has none. */
enum { REGEX_REPEAT_NO_MAX = -1 };

enum regex_op {
    REGEX_OP_BYTE,       /* takes the byte x */
    REGEX_OP_CLASS,      /* takes a byte of classes[x] */
    REGEX_OP_SPLIT,      /* goes on at +x, or, with less priority, at +y */
    REGEX_OP_JUMP,       /* goes on at +x */
    REGEX_OP_SAVE,       /* notes the position in slot x */
    REGEX_OP_TEXT_START, /* holds before the first byte only */
    REGEX_OP_TEXT_END,   /* holds after the last byte only */
    REGEX_OP_EDGE,       /* holds between a word byte and another: \b */
    REGEX_OP_NO_EDGE,    /* the opposite: \B */
    REGEX_OP_MATCH,      /* the pattern is satisfied; the last instruction */
};

struct regex_inst {
    enum regex_op op;
    int16_t x;
    int16_t y;
};

struct regex_prog {
    struct regex_inst *code; /* room for REGEX_PROGRAM_MAX while building */
    size_t n_code;
    struct regex_class *classes; /* all different */
    size_t n_classes;
    size_t n_groups; /* capturing ones, without the whole match */
};

/* How often: from min to max times; lazy prefers fewer. */
struct regex_repeat {
    int min;
    int max; /* or REGEX_REPEAT_NO_MAX */
    bool is_lazy;
};

void regex_prog_init(struct regex_prog *prog);
void regex_prog_fini(struct regex_prog *prog);
/* Gives back the room that the finished program does not need. */
void regex_prog_trim(struct regex_prog *prog);
bool regex_prog_add(struct regex_prog *prog, enum regex_op op, int x, int y);
/* An instruction that takes a byte of `set`. */
bool regex_prog_add_class(struct regex_prog *prog,
                          const struct regex_class *set);
/* Puts an instruction before `where`; the piece there moves by one. */
bool regex_prog_insert(struct regex_prog *prog,
                       size_t where,
                       enum regex_op op,
                       int x,
                       int y);
/* Repeats the piece from `start` to the program's end. */
bool regex_prog_repeat(struct regex_prog *prog,
                       size_t start,
                       const struct regex_repeat *repeat);

/*
 * In regex_parse.c: fills `prog`, which is initialised, from `pattern`. False
 * with a line in `err` when the pattern is bad.
 */
bool regex_parse(struct str pattern,
                 unsigned flags,
                 struct regex_prog *prog,
                 struct error *err);

#endif
