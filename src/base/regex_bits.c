/*
 * regex_bits: turns a program into sets of positions (Glushkov's automaton)
 * and runs it with a word as the set of live positions. Most patterns go from
 * a position to itself or to the next one, which is a mask and a shift; only
 * positions with other followers are looked at one by one. Building is for the
 * control thread; matching for every worker at once.
 * Invariants: bit i is the i-th instruction that takes a byte; followers hold
 * for a place within the text, where neither ^ nor $ holds, because after $
 * nothing can be taken and before ^ nothing has been.
 */
#include "base/regex_bits.h"

#include "base/mem.h"

/* What is reached from an instruction without taking a byte. */
struct regex_reach {
    uint64_t bits;
    bool has_taker;
    bool has_match;
};

/* The state of building. */
struct regex_walk {
    const struct regex_prog *prog;
    uint16_t *rank; /* by instruction: how many before it take a byte */
    bool *seen;
    uint16_t *stack;
    size_t n_stack;
};

static bool regex_bits_is_taker(enum regex_op op)
{
    return op == REGEX_OP_BYTE || op == REGEX_OP_CLASS;
}

static void regex_walk_push(struct regex_walk *walk, size_t pc)
{
    if (!walk->seen[pc]) {
        walk->seen[pc] = true;
        walk->stack[walk->n_stack++] = (uint16_t)pc;
    }
}

static void regex_walk_visit(struct regex_walk *walk,
                             size_t pc,
                             bool at_start,
                             bool at_end,
                             struct regex_reach *reach)
{
    const struct regex_inst *inst = &walk->prog->code[pc];
    switch (inst->op) {
    case REGEX_OP_BYTE:
    case REGEX_OP_CLASS:
        reach->has_taker = true;
        reach->bits |= UINT64_C(1) << (walk->rank[pc] % REGEX_BITS_MAX);
        return;
    case REGEX_OP_SPLIT:
        regex_walk_push(walk, pc + (size_t)inst->x);
        regex_walk_push(walk, pc + (size_t)inst->y);
        return;
    case REGEX_OP_JUMP:
        regex_walk_push(walk, pc + (size_t)inst->x);
        return;
    case REGEX_OP_TEXT_START:
        if (at_start) {
            regex_walk_push(walk, pc + 1);
        }
        return;
    case REGEX_OP_TEXT_END:
        if (at_end) {
            regex_walk_push(walk, pc + 1);
        }
        return;
    case REGEX_OP_SAVE:
    case REGEX_OP_EDGE:
    case REGEX_OP_NO_EDGE:
        regex_walk_push(walk, pc + 1);
        return;
    case REGEX_OP_MATCH:
        reach->has_match = true;
        return;
    }
}

static struct regex_reach
regex_walk_from(struct regex_walk *walk, size_t pc, bool at_start, bool at_end)
{
    struct regex_reach reach = {0};
    memset(walk->seen, 0, walk->prog->n_code * sizeof(*walk->seen));
    regex_walk_push(walk, pc);
    while (walk->n_stack > 0) {
        const size_t next = walk->stack[--walk->n_stack];
        regex_walk_visit(walk, next, at_start, at_end, &reach);
    }
    return reach;
}

static bool regex_bits_takes(const struct regex_prog *prog,
                             const struct regex_inst *inst,
                             int c)
{
    if (inst->op == REGEX_OP_BYTE) {
        return inst->x == c;
    }
    return regex_class_has(&prog->classes[inst->x], (uint8_t)c);
}

/* What bit `i`, the instruction at `pc`, takes and what follows it. */
static void regex_bits_add(struct regex_bits *bits,
                           struct regex_walk *walk,
                           size_t pc,
                           size_t i)
{
    const uint64_t self = UINT64_C(1) << i;
    const uint64_t next = self << 1; /* none after the last bit */
    const struct regex_reach within =
        regex_walk_from(walk, pc + 1, false, false);
    const struct regex_reach end = regex_walk_from(walk, pc + 1, false, true);
    bits->accept |= within.has_match ? self : 0;
    bits->accept_end |= end.has_match ? self : 0;
    bits->stay |= within.bits & self;
    bits->step |= (within.bits & next) != 0 ? self : 0;
    bits->follow[i] = within.bits & ~self & ~next;
    bits->jump |= bits->follow[i] != 0 ? self : 0;
    for (int c = 0; c < 256; c++) {
        if (regex_bits_takes(walk->prog, &walk->prog->code[pc], c)) {
            bits->takes[c] |= self;
        }
    }
}

/* What may begin a match, by the place in the text. */
static void regex_bits_begin(struct regex_bits *bits, struct regex_walk *walk)
{
    const struct regex_reach first = regex_walk_from(walk, 0, true, false);
    const struct regex_reach within = regex_walk_from(walk, 0, false, false);
    const struct regex_reach end = regex_walk_from(walk, 0, false, true);
    bits->takes_empty_text = regex_walk_from(walk, 0, true, true).has_match;
    bits->takes_empty_at_start = first.has_match;
    bits->takes_empty_within = within.has_match;
    bits->takes_empty_at_end = end.has_match;
    bits->first = first.bits;
    bits->later = within.bits;
    bits->is_anchored =
        !within.has_taker && !within.has_match && !end.has_match;
}

void regex_bits_init(struct regex_bits *bits, const struct regex_prog *prog)
{
    struct regex_walk walk = {
        .prog = prog,
        .rank = mem_new_array(prog->n_code, sizeof(*walk.rank)),
        .seen = mem_new_array(prog->n_code, sizeof(*walk.seen)),
        .stack = mem_new_array(prog->n_code, sizeof(*walk.stack))};
    size_t n_takers = 0;
    bool has_edge = false;
    *bits = (struct regex_bits){0};
    for (size_t pc = 0; pc < prog->n_code; pc++) {
        const enum regex_op op = prog->code[pc].op;
        walk.rank[pc] = (uint16_t)n_takers;
        n_takers += regex_bits_is_taker(op);
        has_edge |= op == REGEX_OP_EDGE || op == REGEX_OP_NO_EDGE;
    }
    bits->is_usable = !has_edge && n_takers <= REGEX_BITS_MAX;
    regex_bits_begin(bits, &walk);
    for (size_t pc = 0; bits->is_usable && pc < prog->n_code; pc++) {
        if (regex_bits_is_taker(prog->code[pc].op)) {
            regex_bits_add(bits, &walk, pc, walk.rank[pc]);
        }
    }
    mem_free(walk.rank);
    mem_free(walk.seen);
    mem_free(walk.stack);
}

/* The positions live after those in `hits` took a byte. */
static uint64_t
regex_bits_follow(const struct regex_bits *bits, uint64_t hits, uint64_t *steps)
{
    uint64_t next = (hits & bits->stay) | (hits & bits->step) << 1;
    for (uint64_t rest = hits & bits->jump; rest != 0; rest &= rest - 1) {
        next |= bits->follow[__builtin_ctzll(rest)];
        ++*steps;
    }
    return next;
}

bool regex_bits_match(const struct regex_bits *bits,
                      struct str text,
                      uint64_t *steps)
{
    if (text.len == 0) {
        return bits->takes_empty_text;
    }
    if (bits->takes_empty_at_start) {
        return true;
    }
    uint64_t live = bits->first;
    for (size_t i = 0; i + 1 < text.len; i++) {
        const uint64_t hits = live & bits->takes[(uint8_t)text.p[i]];
        ++*steps;
        if ((hits & bits->accept) != 0 || bits->takes_empty_within) {
            return true;
        }
        live = bits->later | regex_bits_follow(bits, hits, steps);
        if (live == 0 && bits->is_anchored) {
            return false;
        }
    }
    const uint8_t last = (uint8_t)text.p[text.len - 1];
    return (live & bits->takes[last] & bits->accept_end) != 0 ||
           bits->takes_empty_at_end;
}
