/*
 * regex: linear-time regular expressions. regex_parse makes the program, on
 * the control thread; workers run it here. A question without captures is
 * answered by regex_bits when the program fits. Otherwise, and for captures,
 * all threads of the program advance together over the text (Pike's machine):
 * a list holds them in order of priority, an instruction is on it at most once
 * for each place in the text, and that bounds the work whatever the pattern.
 * Invariants: a struct regex never changes after regex_new; a worker writes
 * only its own scratch; a match allocates nothing.
 */
#include "base/regex.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/regex_bits.h"
#include "base/regex_prog.h"

#include <stdint.h>

enum { REGEX_SLOTS_MAX = 2 * REGEX_CAPTURES_MAX };

/* A slot whose group took no part. */
static const size_t regex_slot_unset = SIZE_MAX;

struct regex {
    struct regex_prog prog;
    struct regex_bits bits;
};

/* Threads by falling priority; each stands at an instruction that takes a
 * byte, or at the match, and has its slots at slots[pc * n_slots]. */
struct regex_list {
    uint16_t *pcs;
    size_t n;
    size_t *slots;
};

/* An instruction to go on from, or a slot to put back. */
struct regex_todo {
    size_t pc;
    size_t slot; /* regex_slot_unset: none, go on from pc */
    size_t value;
};

struct regex_scratch {
    size_t program_max;
    uint64_t steps;      /* of the last match */
    uint64_t generation; /* of the place in the text; never repeats */
    uint64_t *seen;      /* by instruction: the last generation it was in */
    struct regex_todo *todo;
    struct regex_list lists[2];
    size_t start_slots[REGEX_SLOTS_MAX]; /* all unset, of a new thread */
};

/* One match in progress. */
struct regex_run {
    const struct regex *re;
    struct regex_scratch *scratch;
    struct str text;
    size_t n_slots;
};

struct regex *regex_new(struct str pattern, unsigned flags, struct error *err)
{
    struct regex *re = mem_new(sizeof(*re));
    regex_prog_init(&re->prog);
    if (!regex_parse(pattern, flags, &re->prog, err)) {
        regex_free(re);
        return NULL;
    }
    regex_prog_trim(&re->prog);
    regex_bits_init(&re->bits, &re->prog);
    return re;
}

void regex_free(struct regex *re)
{
    if (re != NULL) {
        regex_prog_fini(&re->prog);
        mem_free(re);
    }
}

size_t regex_size(const struct regex *re)
{
    return re->prog.n_code;
}

size_t regex_n_groups(const struct regex *re)
{
    return re->prog.n_groups;
}

struct regex_scratch *regex_scratch_new(size_t program_max)
{
    CHECK(program_max > 0 && program_max <= REGEX_PROGRAM_MAX);
    struct regex_scratch *scratch = mem_new(sizeof(*scratch));
    scratch->program_max = program_max;
    scratch->seen = mem_new_array(program_max, sizeof(*scratch->seen));
    /* Each instruction leaves at most one thing to do for later. */
    scratch->todo = mem_new_array(program_max + 1, sizeof(*scratch->todo));
    for (size_t i = 0; i < 2; i++) {
        struct regex_list *list = &scratch->lists[i];
        list->pcs = mem_new_array(program_max, sizeof(*list->pcs));
        /* Not zeroed, so that pages which no program needs stay untouched. */
        list->slots =
            mem_new_raw(program_max * REGEX_SLOTS_MAX * sizeof(*list->slots));
    }
    for (size_t i = 0; i < REGEX_SLOTS_MAX; i++) {
        scratch->start_slots[i] = regex_slot_unset;
    }
    return scratch;
}

void regex_scratch_free(struct regex_scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        mem_free(scratch->lists[i].pcs);
        mem_free(scratch->lists[i].slots);
    }
    mem_free(scratch->todo);
    mem_free(scratch->seen);
    mem_free(scratch);
}

static bool regex_is_word(struct str text, size_t at)
{
    if (at >= text.len) {
        return false;
    }
    const char c = text.p[at];
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_';
}

static bool regex_is_edge(struct str text, size_t at)
{
    const bool before = at > 0 && regex_is_word(text, at - 1);
    return before != regex_is_word(text, at);
}

static bool regex_holds(enum regex_op op, struct str text, size_t at)
{
    switch (op) {
    case REGEX_OP_TEXT_START:
        return at == 0;
    case REGEX_OP_TEXT_END:
        return at == text.len;
    case REGEX_OP_EDGE:
        return regex_is_edge(text, at);
    case REGEX_OP_NO_EDGE:
        return !regex_is_edge(text, at);
    case REGEX_OP_BYTE:
    case REGEX_OP_CLASS:
    case REGEX_OP_SPLIT:
    case REGEX_OP_JUMP:
    case REGEX_OP_SAVE:
    case REGEX_OP_MATCH:
        break;
    }
    return false;
}

static void regex_list_add(struct regex_list *list,
                           size_t pc,
                           const size_t *slots,
                           size_t n_slots)
{
    list->pcs[list->n++] = (uint16_t)pc;
    if (n_slots > 0) {
        memcpy(list->slots + pc * n_slots, slots, n_slots * sizeof(*slots));
    }
}

/*
 * Follows one thread from `pc` as far as it comes without a byte and without
 * a choice; the lesser branches and the slots to restore go on the to-do
 * stack. `slots` are the thread's own, changed on the way.
 */
static void regex_run_follow(struct regex_run *run,
                             struct regex_list *list,
                             size_t pc,
                             size_t at,
                             size_t *slots,
                             size_t *n_todo)
{
    struct regex_scratch *scratch = run->scratch;
    while (scratch->seen[pc] != scratch->generation) {
        const struct regex_inst *inst = &run->re->prog.code[pc];
        scratch->seen[pc] = scratch->generation;
        scratch->steps++;
        switch (inst->op) {
        case REGEX_OP_BYTE:
        case REGEX_OP_CLASS:
        case REGEX_OP_MATCH:
            regex_list_add(list, pc, slots, run->n_slots);
            return;
        case REGEX_OP_SPLIT:
            scratch->todo[(*n_todo)++] = (struct regex_todo){
                .pc = pc + (size_t)inst->y, .slot = regex_slot_unset};
            pc += (size_t)inst->x;
            break;
        case REGEX_OP_JUMP:
            pc += (size_t)inst->x;
            break;
        case REGEX_OP_SAVE:
            if ((size_t)inst->x < run->n_slots) {
                scratch->todo[(*n_todo)++] = (struct regex_todo){
                    .slot = (size_t)inst->x, .value = slots[inst->x]};
                slots[inst->x] = at;
            }
            pc++;
            break;
        case REGEX_OP_TEXT_START:
        case REGEX_OP_TEXT_END:
        case REGEX_OP_EDGE:
        case REGEX_OP_NO_EDGE:
            if (!regex_holds(inst->op, run->text, at)) {
                return;
            }
            pc++;
            break;
        }
    }
}

/* Adds to `list` what a thread at `pc` becomes at `at`. Leaves `slots` as
 * they were. */
static void regex_run_add(struct regex_run *run,
                          struct regex_list *list,
                          size_t pc,
                          size_t at,
                          size_t *slots)
{
    const struct regex_todo *todo = run->scratch->todo;
    size_t n_todo = 0;
    regex_run_follow(run, list, pc, at, slots, &n_todo);
    while (n_todo > 0) {
        const struct regex_todo *top = &todo[--n_todo];
        if (top->slot != regex_slot_unset) {
            slots[top->slot] = top->value;
        } else {
            regex_run_follow(run, list, top->pc, at, slots, &n_todo);
        }
    }
}

static bool regex_run_takes(const struct regex_run *run,
                            const struct regex_inst *inst,
                            size_t at)
{
    if (at >= run->text.len) {
        return false;
    }
    const uint8_t c = (uint8_t)run->text.p[at];
    if (inst->op == REGEX_OP_BYTE) {
        return inst->x == c;
    }
    return regex_class_has(&run->re->prog.classes[inst->x], c);
}

/*
 * Moves the threads of `now` over the byte at `at` into `next`. At a match,
 * the threads of less priority are dropped and the slots are copied to `best`.
 */
static bool regex_run_advance(struct regex_run *run,
                              struct regex_list *now,
                              struct regex_list *next,
                              size_t at,
                              size_t *best)
{
    struct regex_scratch *scratch = run->scratch;
    next->n = 0;
    scratch->generation++;
    for (size_t i = 0; i < now->n; i++) {
        const size_t pc = now->pcs[i];
        const struct regex_inst *inst = &run->re->prog.code[pc];
        size_t *slots = now->slots + pc * run->n_slots;
        scratch->steps++;
        if (inst->op == REGEX_OP_MATCH) {
            if (run->n_slots > 0) {
                memcpy(best, slots, run->n_slots * sizeof(*best));
            }
            return true;
        }
        if (regex_run_takes(run, inst, at)) {
            regex_run_add(run, next, pc + 1, at + 1, slots);
        }
    }
    return false;
}

/* Leftmost match, first by priority; its slots go to `best`. */
static bool regex_run_search(struct regex_run *run, size_t *best)
{
    struct regex_scratch *scratch = run->scratch;
    struct regex_list *now = &scratch->lists[0];
    struct regex_list *next = &scratch->lists[1];
    bool is_found = false;
    now->n = 0;
    scratch->generation++;
    for (size_t at = 0; at <= run->text.len; at++) {
        const bool may_begin = at == 0 || !run->re->bits.is_anchored;
        if (!is_found && may_begin) {
            regex_run_add(run, now, 0, at, scratch->start_slots);
        } else if (now->n == 0) {
            break;
        }
        is_found |= regex_run_advance(run, now, next, at, best);
        if (is_found && run->n_slots == 0) {
            break;
        }
        struct regex_list *const done = now;
        now = next;
        next = done;
    }
    return is_found;
}

static struct str regex_capture(struct str text, const size_t *slots)
{
    if (slots[0] == regex_slot_unset || slots[1] == regex_slot_unset) {
        return STR_NONE;
    }
    const char *base = text.p != NULL ? text.p : "";
    return str_make(base + slots[0], slots[1] - slots[0]);
}

bool regex_match(const struct regex *re,
                 struct str text,
                 struct regex_scratch *scratch,
                 struct str *captures,
                 size_t n_captures)
{
    CHECK(re->prog.n_code <= scratch->program_max);
    const size_t n_known = re->prog.n_groups + 1;
    const size_t n_wanted = n_captures < n_known ? n_captures : n_known;
    struct regex_run run = {
        .re = re, .scratch = scratch, .text = text, .n_slots = 2 * n_wanted};
    size_t best[REGEX_SLOTS_MAX];
    scratch->steps = 0;
    for (size_t i = 0; i < n_captures; i++) {
        captures[i] = STR_NONE;
    }
    if (re->bits.is_usable) {
        const bool is_found =
            regex_bits_match(&re->bits, text, &scratch->steps);
        if (!is_found || n_wanted == 0) {
            return is_found;
        }
    }
    if (!regex_run_search(&run, best)) {
        return false;
    }
    for (size_t i = 0; i < n_wanted; i++) {
        captures[i] = regex_capture(text, &best[2 * i]);
    }
    return true;
}
