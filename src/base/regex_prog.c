/*
 * regex_prog: building blocks of a regular expression's program, and the one
 * place that keeps it within its limit. Control thread only.
 * Invariants: n_code never exceeds REGEX_PROGRAM_MAX, so that offsets fit in
 * 16 bits; every offset stays within the piece that holds it, which is what
 * makes regex_prog_repeat a plain copy.
 */
#include "base/regex_prog.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/regex.h"

#include <string.h>

void regex_prog_init(struct regex_prog *prog)
{
    *prog = (struct regex_prog){0};
    prog->code = mem_new_array(REGEX_PROGRAM_MAX, sizeof(*prog->code));
}

void regex_prog_fini(struct regex_prog *prog)
{
    mem_free(prog->code);
    mem_free(prog->classes);
    *prog = (struct regex_prog){0};
}

void regex_prog_trim(struct regex_prog *prog)
{
    prog->code = mem_resize(prog->code, prog->n_code * sizeof(*prog->code));
}

static bool regex_prog_has_room(const struct regex_prog *prog, size_t n)
{
    return n <= REGEX_PROGRAM_MAX - prog->n_code;
}

static void regex_prog_put(struct regex_prog *prog,
                           size_t where,
                           enum regex_op op,
                           int x,
                           int y)
{
    prog->code[where] =
        (struct regex_inst){.op = op, .x = (int16_t)x, .y = (int16_t)y};
}

bool regex_prog_add(struct regex_prog *prog, enum regex_op op, int x, int y)
{
    if (!regex_prog_has_room(prog, 1)) {
        return false;
    }
    regex_prog_put(prog, prog->n_code++, op, x, y);
    return true;
}

bool regex_prog_insert(struct regex_prog *prog,
                       size_t where,
                       enum regex_op op,
                       int x,
                       int y)
{
    if (!regex_prog_has_room(prog, 1)) {
        return false;
    }
    memmove(prog->code + where + 1, prog->code + where,
            (prog->n_code - where) * sizeof(*prog->code));
    regex_prog_put(prog, where, op, x, y);
    prog->n_code++;
    return true;
}

/* Equal classes are stored once; a set of one byte needs none. */
bool regex_prog_add_class(struct regex_prog *prog,
                          const struct regex_class *set)
{
    const int single = regex_class_single(set);
    if (single >= 0) {
        return regex_prog_add(prog, REGEX_OP_BYTE, single, 0);
    }
    size_t i = 0;
    while (i < prog->n_classes &&
           memcmp(&prog->classes[i], set, sizeof(*set)) != 0) {
        i++;
    }
    if (!regex_prog_add(prog, REGEX_OP_CLASS, (int)i, 0)) {
        return false;
    }
    if (i == prog->n_classes) {
        prog->classes =
            mem_resize(prog->classes, (i + 1) * sizeof(*prog->classes));
        prog->classes[prog->n_classes++] = *set;
    }
    return true;
}

/* A choice between the piece, at +inner, and what follows it, at +outer. */
static void regex_prog_put_choice(struct regex_prog *prog,
                                  size_t inner,
                                  size_t outer,
                                  bool is_lazy)
{
    const int to_inner = (int)inner - (int)prog->n_code;
    const int to_outer = (int)outer - (int)prog->n_code;
    regex_prog_put(prog, prog->n_code++, REGEX_OP_SPLIT,
                   is_lazy ? to_outer : to_inner,
                   is_lazy ? to_inner : to_outer);
}

/*
 * At least min copies, then optional ones that each may leave for the end.
 * An unbounded repeat loops after its last copy, so x* is (x+)?: an x that can
 * be empty then leaves after one empty round, as in Perl, and does not lose
 * its priority to longer rounds.
 */
bool regex_prog_repeat(struct regex_prog *prog,
                       size_t start,
                       const struct regex_repeat *repeat)
{
    const size_t len = prog->n_code - start;
    const size_t n_min = (size_t)repeat->min;
    const bool is_loop = repeat->max == REGEX_REPEAT_NO_MAX;
    size_t n_copies = (size_t)repeat->max;
    if (is_loop) {
        n_copies = n_min > 0 ? n_min : 1;
    }
    if (len == 0) {
        return true;
    }
    const size_t total = n_copies * len + (n_copies - n_min) + is_loop;
    if (total > REGEX_PROGRAM_MAX - start) {
        return false;
    }
    struct regex_inst *piece = mem_new_array(len, sizeof(*piece));
    memcpy(piece, prog->code + start, len * sizeof(*piece));
    prog->n_code = start;
    for (size_t i = 0; i < n_copies; i++) {
        if (i >= n_min) {
            regex_prog_put_choice(prog, prog->n_code + 1, start + total,
                                  repeat->is_lazy);
        }
        memcpy(prog->code + prog->n_code, piece, len * sizeof(*piece));
        prog->n_code += len;
    }
    mem_free(piece);
    if (is_loop) {
        regex_prog_put_choice(prog, prog->n_code - len, prog->n_code + 1,
                              repeat->is_lazy);
    }
    CHECK(prog->n_code == start + total);
    return true;
}
