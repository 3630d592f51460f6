/*
 * regex_parse: the text of a regular expression becomes a program, in one pass
 * from left to right without a tree: every piece of the pattern is a run of
 * instructions at the end of the program, and a repeat or an alternation
 * rewrites the runs that it covers. Control thread only.
 * Invariants: the program never grows past REGEX_PROGRAM_MAX, the recursion
 * never past REGEX_NESTING_MAX groups, and offsets stay inside their piece.
 */
#include "base/regex_prog.h"

#include "base/regex.h"

/* Bytes of a pattern shown in a message. */
enum { REGEX_PARSE_EXCERPT_MAX = 64 };

struct regex_parser {
    struct str pattern;
    size_t at;
    unsigned flags;
    unsigned depth;
    struct regex_prog *prog;
    struct error *err;
};

enum regex_item_kind {
    REGEX_ITEM_BYTE,
    REGEX_ITEM_CLASS,
    REGEX_ITEM_ASSERTION,
};

/* What one escape or one member of a class stands for. */
struct regex_item {
    enum regex_item_kind kind;
    uint8_t byte;
    enum regex_op op;
    struct regex_class set;
};

/* A syntax that we refuse by name. */
struct regex_refusal {
    struct str opening;
    const char *problem;
};

#define REGEX_LINEAR "is not supported, because matching must stay linear; "

/* The first that fits counts, so longer openings stand first. */
static const struct regex_refusal regex_parse_group_refusals[] = {
    {STR("(*"), "a verb (*...) is not supported; write \\( for a literal one, "
                "or remove it"},
    {STR("(?="), "lookahead (?=...) " REGEX_LINEAR "match the text itself"},
    {STR("(?!"), "negative lookahead (?!...) " REGEX_LINEAR
                 "use a negated class or a second route"},
    {STR("(?<="), "lookbehind (?<=...) " REGEX_LINEAR "match the text itself"},
    {STR("(?<!"), "negative lookbehind (?<!...) " REGEX_LINEAR
                  "use a negated class or a second route"},
    {STR("(?>"), "an atomic group (?>...) is not supported and not needed, as "
                 "matching is linear; write (?:...)"},
    {STR("(?P="),
     "a backreference (?P=name) " REGEX_LINEAR "write the text out"},
    {STR("(?P>"), "recursion (?P>name) " REGEX_LINEAR "write the group out"},
    {STR("(?P<"), "a named group is not supported; write (...) and count it"},
    {STR("(?<"), "a named group is not supported; write (...) and count it"},
    {STR("(?'"), "a named group is not supported; write (...) and count it"},
    {STR("(?R"), "recursion (?R) " REGEX_LINEAR "write the pattern out"},
    {STR("(?&"), "recursion (?&name) " REGEX_LINEAR "write the group out"},
    {STR("(?("), "a conditional (?(...)...) " REGEX_LINEAR "use | instead"},
    {STR("(?|"), "a branch reset (?|...) is not supported; write (?:...)"},
    {STR("(?#"), "a comment (?#...) is not supported; remove it"},
    {STR("(?i"), "an inline flag (?i) is not supported; ask for matching "
                 "without case where the pattern is configured"},
    {STR("(?"), "this kind of group is not supported; write (...) or (?:...)"},
};

/* `opening` lists the letters after the backslash. */
static const struct regex_refusal regex_parse_escape_refusals[] = {
    {STR("123456789gk"), "a backreference " REGEX_LINEAR "write the text out"},
    {STR("0"), "an octal escape is not supported; write \\x and two digits"},
    {STR("pPXC"), "a Unicode escape is not supported, as patterns match "
                  "bytes; write a class such as [\\x80-\\xff]"},
    {STR("AG"), "this escape is not supported; write ^"},
    {STR("zZ"), "this escape is not supported; write $"},
    {STR("QE"), "quoting by \\Q...\\E is not supported; put a backslash "
                "before each special character"},
};

/* One line for the operator; bytes that could harm a terminal become '?'. */
static bool
regex_parse_fail(const struct regex_parser *ps, size_t at, const char *problem)
{
    char excerpt[REGEX_PARSE_EXCERPT_MAX];
    size_t len = ps->pattern.len;
    if (len > sizeof(excerpt)) {
        len = sizeof(excerpt);
    }
    for (size_t i = 0; i < len; i++) {
        const char c = ps->pattern.p[i];
        excerpt[i] = c;
        if (c < 0x20 || c > 0x7e) {
            excerpt[i] = '?';
        }
    }
    return error_add(ps->err, "regex \"%.*s%s\": position %zu: %s", (int)len,
                     excerpt, len < ps->pattern.len ? "..." : "", at + 1,
                     problem);
}

static bool regex_parse_is_end(const struct regex_parser *ps)
{
    return ps->at >= ps->pattern.len;
}

/* The byte `ahead` bytes on, or -1 past the end. */
static int regex_parse_peek(const struct regex_parser *ps, size_t ahead)
{
    if (ahead >= ps->pattern.len - ps->at) {
        return -1;
    }
    return (uint8_t)ps->pattern.p[ps->at + ahead];
}

static bool regex_parse_is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool regex_parse_is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool regex_parse_fail_room(const struct regex_parser *ps)
{
    return regex_parse_fail(ps, ps->at > 0 ? ps->at - 1 : 0,
                            "the pattern needs more than 4096 instructions "
                            "up to here; use smaller repeat counts");
}

static bool regex_parse_emit(struct regex_parser *ps, enum regex_op op, int x)
{
    return regex_prog_add(ps->prog, op, x, 0) || regex_parse_fail_room(ps);
}

static bool regex_parse_emit_class(struct regex_parser *ps,
                                   const struct regex_class *set)
{
    return regex_prog_add_class(ps->prog, set) || regex_parse_fail_room(ps);
}

static bool regex_parse_emit_byte(struct regex_parser *ps, uint8_t byte)
{
    struct regex_class set = {0};
    regex_class_add(&set, byte, byte);
    if ((ps->flags & REGEX_NOCASE) != 0) {
        regex_class_fold(&set);
    }
    return regex_parse_emit_class(ps, &set);
}

static int regex_parse_hex_digit(int c)
{
    if (regex_parse_is_digit(c)) {
        return c - '0';
    }
    const int lower = c | 0x20;
    return c >= 0 && lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* After \x. */
static bool regex_parse_hex(struct regex_parser *ps, struct regex_item *item)
{
    const int high = regex_parse_hex_digit(regex_parse_peek(ps, 0));
    const int low = regex_parse_hex_digit(regex_parse_peek(ps, 1));
    if (high < 0 || low < 0) {
        return regex_parse_fail(
            ps, ps->at - 2, "\\x needs two hexadecimal digits, as in \\x2f");
    }
    item->byte = (uint8_t)(high * 16 + low);
    ps->at += 2;
    return true;
}

/* Letters that stand for one control byte. */
static bool regex_parse_control(int c, struct regex_item *item)
{
    static const struct str controls = STR("t\tn\nr\rf\fv\v");
    for (size_t i = 0; i < controls.len; i += 2) {
        if (c == controls.p[i]) {
            item->byte = (uint8_t)controls.p[i + 1];
            return true;
        }
    }
    return false;
}

static bool regex_parse_refuse_escape(const struct regex_parser *ps, int c)
{
    const size_t n = sizeof(regex_parse_escape_refusals) /
                     sizeof(regex_parse_escape_refusals[0]);
    for (size_t i = 0; i < n; i++) {
        const struct regex_refusal *refusal = &regex_parse_escape_refusals[i];
        if (memchr(refusal->opening.p, c, refusal->opening.len) != NULL) {
            return regex_parse_fail(ps, ps->at - 2, refusal->problem);
        }
    }
    return regex_parse_fail(ps, ps->at - 2,
                            "this escape is not supported; for the letter "
                            "itself leave the backslash out");
}

/* At a backslash. */
static bool regex_parse_escape(struct regex_parser *ps, struct regex_item *item)
{
    const int c = regex_parse_peek(ps, 1);
    if (c < 0) {
        return regex_parse_fail(ps, ps->at,
                                "the pattern ends in a backslash; write two "
                                "for a literal one");
    }
    ps->at += 2;
    item->kind = REGEX_ITEM_BYTE;
    item->byte = (uint8_t)c;
    if (c == 'b' || c == 'B') {
        item->kind = REGEX_ITEM_ASSERTION;
        item->op = c == 'b' ? REGEX_OP_EDGE : REGEX_OP_NO_EDGE;
        return true;
    }
    if (c == 'x') {
        return regex_parse_hex(ps, item);
    }
    item->set = (struct regex_class){0};
    if (regex_class_add_named(&item->set, c)) {
        item->kind = REGEX_ITEM_CLASS;
        return true;
    }
    if (regex_parse_control(c, item)) {
        return true;
    }
    if (regex_parse_is_letter(c) || regex_parse_is_digit(c)) {
        return regex_parse_refuse_escape(ps, c);
    }
    return true;
}

/* True at the opening of [:name:], which is refused, inside a class. */
static bool regex_parse_is_posix(const struct regex_parser *ps)
{
    size_t i = 2;
    if (regex_parse_peek(ps, 1) != ':') {
        return false;
    }
    while (regex_parse_is_letter(regex_parse_peek(ps, i)) ||
           regex_parse_peek(ps, i) == '^') {
        i++;
    }
    return regex_parse_peek(ps, i) == ':' && regex_parse_peek(ps, i + 1) == ']';
}

/* One byte or escape inside [...]. */
static bool regex_parse_member(struct regex_parser *ps, struct regex_item *item)
{
    const size_t start = ps->at;
    const int c = regex_parse_peek(ps, 0);
    if (c == '[' && regex_parse_is_posix(ps)) {
        return regex_parse_fail(ps, start,
                                "a POSIX class such as [:alpha:] is not "
                                "supported; write a range such as a-z, or \\w");
    }
    if (c != '\\') {
        item->kind = REGEX_ITEM_BYTE;
        item->byte = (uint8_t)c;
        ps->at++;
        return true;
    }
    if (!regex_parse_escape(ps, item)) {
        return false;
    }
    if (item->kind == REGEX_ITEM_ASSERTION) {
        return regex_parse_fail(ps, start,
                                "\\b and \\B have no meaning inside [...]; "
                                "for a backspace write \\x08");
    }
    return true;
}

static void regex_parse_add_item(struct regex_class *set,
                                 const struct regex_item *item)
{
    if (item->kind == REGEX_ITEM_CLASS) {
        regex_class_join(set, &item->set);
    } else {
        regex_class_add(set, item->byte, item->byte);
    }
}

/* A member or a range; a '-' next to an escape such as \w is literal. */
static bool regex_parse_range(struct regex_parser *ps, struct regex_class *set)
{
    const size_t start = ps->at;
    struct regex_item low = {0};
    struct regex_item high = {0};
    if (!regex_parse_member(ps, &low)) {
        return false;
    }
    regex_parse_add_item(set, &low);
    const int after = regex_parse_peek(ps, 1);
    if (low.kind != REGEX_ITEM_BYTE || regex_parse_peek(ps, 0) != '-' ||
        after < 0 || after == ']') {
        return true;
    }
    ps->at++;
    if (!regex_parse_member(ps, &high)) {
        return false;
    }
    if (high.kind == REGEX_ITEM_CLASS) {
        regex_class_add(set, '-', '-');
        regex_parse_add_item(set, &high);
        return true;
    }
    if (high.byte < low.byte) {
        return regex_parse_fail(ps, start,
                                "the range runs backwards; write the smaller "
                                "end first, or \\- for a literal -");
    }
    regex_class_add(set, low.byte, high.byte);
    return true;
}

/* At a '['. */
static bool regex_parse_class(struct regex_parser *ps)
{
    const size_t start = ps->at++;
    const bool is_negated = regex_parse_peek(ps, 0) == '^';
    struct regex_class set = {0};
    ps->at += is_negated;
    const size_t first = ps->at;
    while (!regex_parse_is_end(ps) &&
           (ps->at == first || regex_parse_peek(ps, 0) != ']')) {
        if (!regex_parse_range(ps, &set)) {
            return false;
        }
    }
    if (regex_parse_is_end(ps)) {
        return regex_parse_fail(ps, start,
                                "the class is never closed; add a ], or write "
                                "\\[ for a literal [");
    }
    ps->at++;
    if ((ps->flags & REGEX_NOCASE) != 0) {
        regex_class_fold(&set);
    }
    if (is_negated) {
        regex_class_negate(&set);
    }
    return regex_parse_emit_class(ps, &set);
}

/* Up to three digits at the current place; -1 when there is none. */
static int regex_parse_number(struct regex_parser *ps)
{
    int value = -1;
    while (regex_parse_is_digit(regex_parse_peek(ps, 0))) {
        value = (value < 0 ? 0 : value) * 10 + regex_parse_peek(ps, 0) - '0';
        if (value > REGEX_REPEAT_MAX) {
            value = REGEX_REPEAT_MAX + 1;
        }
        ps->at++;
    }
    return value;
}

/* At a '{'. */
static bool regex_parse_count(struct regex_parser *ps,
                              struct regex_repeat *repeat)
{
    const size_t start = ps->at++;
    repeat->min = regex_parse_number(ps);
    repeat->max = repeat->min;
    if (repeat->min >= 0 && regex_parse_peek(ps, 0) == ',') {
        ps->at++;
        repeat->max = regex_parse_number(ps);
    }
    if (repeat->min < 0 || regex_parse_peek(ps, 0) != '}') {
        return regex_parse_fail(ps, start,
                                "a repeat is written {m}, {m,} or {m,n}; write "
                                "\\{ for a literal {");
    }
    ps->at++;
    if (repeat->min > REGEX_REPEAT_MAX || repeat->max > REGEX_REPEAT_MAX) {
        return regex_parse_fail(ps, start,
                                "a repeat count is at most 255; use *, + or a "
                                "smaller number");
    }
    if (repeat->max != REGEX_REPEAT_NO_MAX && repeat->max < repeat->min) {
        return regex_parse_fail(ps, start,
                                "the repeat's bounds are the wrong way round; "
                                "write the smaller number first");
    }
    return true;
}

static bool regex_parse_is_repeat(int c)
{
    return c == '*' || c == '+' || c == '?' || c == '{';
}

/* At the first byte of a repeat. */
static bool regex_parse_bounds(struct regex_parser *ps,
                               struct regex_repeat *repeat)
{
    const int c = regex_parse_peek(ps, 0);
    *repeat = (struct regex_repeat){.max = REGEX_REPEAT_NO_MAX};
    if (c == '{') {
        if (!regex_parse_count(ps, repeat)) {
            return false;
        }
    } else {
        repeat->min = c == '+';
        repeat->max = c == '?' ? 1 : REGEX_REPEAT_NO_MAX;
        ps->at++;
    }
    if (regex_parse_peek(ps, 0) == '?') {
        repeat->is_lazy = true;
        ps->at++;
    }
    if (regex_parse_peek(ps, 0) == '+') {
        return regex_parse_fail(ps, ps->at,
                                "a possessive repeat is not supported and not "
                                "needed, as matching is linear; remove the +");
    }
    if (regex_parse_is_repeat(regex_parse_peek(ps, 0))) {
        return regex_parse_fail(ps, ps->at,
                                "a repeat follows a repeat; wrap the first in "
                                "(?:...) or escape the character");
    }
    return true;
}

/* At a byte or escape that is neither group nor class nor repeat. */
static bool regex_parse_simple(struct regex_parser *ps, bool *can_repeat)
{
    const int c = regex_parse_peek(ps, 0);
    struct regex_item item = {.kind = REGEX_ITEM_BYTE, .byte = (uint8_t)c};
    if (c == '\\') {
        if (!regex_parse_escape(ps, &item)) {
            return false;
        }
    } else {
        ps->at++;
    }
    if (c == '^' || c == '$') {
        item.kind = REGEX_ITEM_ASSERTION;
        item.op = c == '^' ? REGEX_OP_TEXT_START : REGEX_OP_TEXT_END;
    }
    if (c == '.') {
        item.kind = REGEX_ITEM_CLASS;
        regex_class_add(&item.set, '\n', '\n');
        regex_class_negate(&item.set);
    }
    *can_repeat = item.kind != REGEX_ITEM_ASSERTION;
    switch (item.kind) {
    case REGEX_ITEM_BYTE:
        return regex_parse_emit_byte(ps, item.byte);
    case REGEX_ITEM_CLASS:
        return regex_parse_emit_class(ps, &item.set);
    case REGEX_ITEM_ASSERTION:
        break;
    }
    return regex_parse_emit(ps, item.op, 0);
}

static bool regex_parse_refuse_group(const struct regex_parser *ps)
{
    const struct str rest = str_from_index(ps->pattern, ps->at);
    const size_t n = sizeof(regex_parse_group_refusals) /
                     sizeof(regex_parse_group_refusals[0]);
    for (size_t i = 0; i < n; i++) {
        const struct regex_refusal *refusal = &regex_parse_group_refusals[i];
        if (str_starts(rest, refusal->opening)) {
            return regex_parse_fail(ps, ps->at, refusal->problem);
        }
    }
    return true;
}

static bool regex_parse_alternation(struct regex_parser *ps);

/* Takes the opening of a group; *slot is its first slot, -1 for none. */
static bool regex_parse_open(struct regex_parser *ps, int *slot)
{
    *slot = -1;
    if (ps->depth == REGEX_NESTING_MAX) {
        return regex_parse_fail(ps, ps->at,
                                "groups are nested more than 32 deep; flatten "
                                "the pattern");
    }
    if (str_starts(str_from_index(ps->pattern, ps->at), STR("(?:"))) {
        ps->at += 3;
        return true;
    }
    if (!regex_parse_refuse_group(ps)) {
        return false;
    }
    if (ps->prog->n_groups + 1 == REGEX_CAPTURES_MAX) {
        return regex_parse_fail(ps, ps->at,
                                "there are more than 31 capturing groups; "
                                "write (?:...) where nothing is captured");
    }
    ps->at++;
    *slot = (int)(++ps->prog->n_groups * 2);
    return regex_parse_emit(ps, REGEX_OP_SAVE, *slot);
}

/* At a '('. */
static bool regex_parse_group(struct regex_parser *ps)
{
    const size_t start = ps->at;
    int slot;
    if (!regex_parse_open(ps, &slot)) {
        return false;
    }
    ps->depth++;
    if (!regex_parse_alternation(ps)) {
        return false;
    }
    ps->depth--;
    if (regex_parse_is_end(ps)) {
        return regex_parse_fail(ps, start,
                                "the group is never closed; add a ), or write "
                                "\\( for a literal (");
    }
    ps->at++;
    return slot < 0 || regex_parse_emit(ps, REGEX_OP_SAVE, slot + 1);
}

/* One atom and the repeat that may follow it. */
static bool regex_parse_piece(struct regex_parser *ps)
{
    const size_t start = ps->prog->n_code;
    const int c = regex_parse_peek(ps, 0);
    bool can_repeat = true;
    bool is_good;
    if (c == '(') {
        is_good = regex_parse_group(ps);
    } else if (c == '[') {
        is_good = regex_parse_class(ps);
    } else {
        can_repeat = !regex_parse_is_repeat(c);
        is_good = !can_repeat || regex_parse_simple(ps, &can_repeat);
    }
    if (!is_good || !regex_parse_is_repeat(regex_parse_peek(ps, 0))) {
        return is_good;
    }
    if (!can_repeat) {
        return regex_parse_fail(ps, ps->at,
                                "there is nothing to repeat here; put a "
                                "backslash before the character if it is "
                                "meant literally");
    }
    struct regex_repeat repeat;
    return regex_parse_bounds(ps, &repeat) &&
           (regex_prog_repeat(ps->prog, start, &repeat) ||
            regex_parse_fail_room(ps));
}

/*
 * Branches up to a ')' or the end. Each but the last begins with a split that
 * leads to the next and ends in a jump to the end; until the end is known the
 * jumps form a chain of absolute indexes.
 */
static bool regex_parse_alternation(struct regex_parser *ps)
{
    struct regex_prog *prog = ps->prog;
    int chain = -1;
    size_t start = prog->n_code;
    while (!regex_parse_is_end(ps) && regex_parse_peek(ps, 0) != ')') {
        if (regex_parse_peek(ps, 0) != '|') {
            if (!regex_parse_piece(ps)) {
                return false;
            }
            continue;
        }
        ps->at++;
        const size_t len = prog->n_code - start;
        if (!regex_prog_insert(prog, start, REGEX_OP_SPLIT, 1, (int)len + 2) ||
            !regex_prog_add(prog, REGEX_OP_JUMP, chain, 0)) {
            return regex_parse_fail_room(ps);
        }
        chain = (int)prog->n_code - 1;
        start = prog->n_code;
    }
    while (chain >= 0) {
        struct regex_inst *jump = &prog->code[chain];
        const int next = jump->x;
        jump->x = (int16_t)((int)prog->n_code - chain);
        chain = next;
    }
    return true;
}

/* The pattern, between the assertions that the flags ask for. */
static bool regex_parse_all(struct regex_parser *ps)
{
    if (ps->pattern.len > REGEX_PATTERN_MAX) {
        return regex_parse_fail(ps, REGEX_PATTERN_MAX,
                                "the pattern is longer than 1024 bytes; split "
                                "it into several routes");
    }
    if (((ps->flags & REGEX_ANCHOR_START) != 0 &&
         !regex_parse_emit(ps, REGEX_OP_TEXT_START, 0)) ||
        !regex_parse_emit(ps, REGEX_OP_SAVE, 0) ||
        !regex_parse_alternation(ps)) {
        return false;
    }
    if (!regex_parse_is_end(ps)) {
        return regex_parse_fail(ps, ps->at,
                                "no group is open here; remove the ), or write "
                                "\\) for a literal )");
    }
    return ((ps->flags & REGEX_ANCHOR_END) == 0 ||
            regex_parse_emit(ps, REGEX_OP_TEXT_END, 0)) &&
           regex_parse_emit(ps, REGEX_OP_SAVE, 1) &&
           regex_parse_emit(ps, REGEX_OP_MATCH, 0);
}

bool regex_parse(struct str pattern,
                 unsigned flags,
                 struct regex_prog *prog,
                 struct error *err)
{
    struct regex_parser ps = {
        .pattern = pattern, .flags = flags, .prog = prog, .err = err};
    return regex_parse_all(&ps);
}
