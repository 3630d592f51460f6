/*
 * test_regex_bits: both matching engines, the one in regex_bits and the one
 * for captures, against a third that is written here and works otherwise: it
 * backtracks over a tree, and the tree is drawn at random (from a fixed seed)
 * and printed as a pattern, so that the parser has a part in every comparison.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/regex.c"
#include "base/regex_bits.c"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct regex *test_compile(struct str pattern, unsigned flags)
{
    struct error err = {0};
    struct regex *re = regex_new(pattern, flags, &err);
    if (re == NULL) {
        fail_msg("%s", error_text(&err));
    }
    assert_int_equal(err.n_problems, 0);
    error_fini(&err);
    return re;
}

/* "begin,end" of each capture with blanks between, "-" for none, or "no". */
static void test_describe(char *out,
                          size_t out_max,
                          struct str text,
                          const struct str *captures,
                          size_t n,
                          bool is_match)
{
    size_t len = 0;
    if (!is_match) {
        snprintf(out, out_max, "no");
        return;
    }
    out[0] = '\0';
    for (size_t i = 0; i < n && len < out_max; i++) {
        const char *blank = i > 0 ? " " : "";
        int added;
        if (captures[i].p == NULL) {
            added = snprintf(out + len, out_max - len, "%s-", blank);
        } else {
            const size_t begin = (size_t)(captures[i].p - text.p);
            added = snprintf(out + len, out_max - len, "%s%zu,%zu", blank,
                             begin, begin + captures[i].len);
        }
        len += (size_t)added;
    }
}

static void
test_match(char *out, size_t out_max, const struct regex *re, struct str text)
{
    struct regex_scratch *scratch = regex_scratch_new(regex_size(re));
    struct str captures[REGEX_CAPTURES_MAX];
    const size_t n = regex_n_groups(re) + 1;
    const bool is_match = regex_match(re, text, scratch, captures, n);
    assert_int_equal(regex_match(re, text, scratch, NULL, 0), is_match);
    test_describe(out, out_max, text, captures, n, is_match);
    regex_scratch_free(scratch);
}

enum node_kind {
    NODE_EMPTY,
    NODE_LEAF,
    NODE_ASSERTION,
    NODE_CAT,
    NODE_ALT,
    NODE_GROUP,
    NODE_REPEAT,
};

/* A leaf's text and the bytes of test_alphabet that it takes. */
struct leaf {
    const char *text;
    const char *takes;
    const char *takes_nocase;
};

static const char test_alphabet[] = "abcA1/-\n";

static const struct leaf test_leaves[] = {
    {"a", "a", "aA"},
    {"A", "A", "aA"},
    {"b", "b", "b"},
    {"c", "c", "c"},
    {"/", "/", "/"},
    {"\\/", "/", "/"},
    {"-", "-", "-"},
    {"\\n", "\n", "\n"},
    {"\\x61", "a", "aA"},
    {".", "abcA1/-", "abcA1/-"},
    {"[ab]", "ab", "abA"},
    {"[b-c]", "bc", "bc"},
    {"[^a]", "bcA1/-\n", "bc1/-\n"},
    {"[^/]", "abcA1-\n", "abcA1-\n"},
    {"[\\d/-]", "1/-", "1/-"},
    {"[^\\w]", "/-\n", "/-\n"},
    {"\\d", "1", "1"},
    {"\\D", "abcA/-\n", "abcA/-\n"},
    {"\\w", "abcA1", "abcA1"},
    {"\\W", "/-\n", "/-\n"},
    {"\\s", "\n", "\n"},
    {"\\S", "abcA1/-", "abcA1/-"},
};

struct node {
    enum node_kind kind;
    const struct leaf *leaf;
    char assertion; /* ^ $ b B */
    int group;
    int min;
    int max; /* -1: none */
    bool is_lazy;
    bool can_be_empty;
    const struct node *left;
    const struct node *right;
};

enum { NODES_MAX = 256, GROUPS_MAX = 6 };

/* One random pattern. */
struct draw {
    uint64_t random;
    struct node nodes[NODES_MAX];
    size_t n_nodes;
    int n_groups;
    bool allow_empty_loops;
    char text[2048];
    size_t len;
};

static unsigned draw_number(struct draw *d, unsigned below)
{
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return (unsigned)(d->random >> 33) % below;
}

static struct node *draw_new(struct draw *d, enum node_kind kind)
{
    assert_true(d->n_nodes < NODES_MAX);
    struct node *node = &d->nodes[d->n_nodes++];
    *node = (struct node){.kind = kind};
    return node;
}

static const struct node *draw_atom(struct draw *d)
{
    const unsigned kind = draw_number(d, 12);
    struct node *node;
    if (kind == 0) {
        node = draw_new(d, NODE_EMPTY);
        node->can_be_empty = true;
    } else if (kind == 1) {
        node = draw_new(d, NODE_ASSERTION);
        node->assertion = "^$bB"[draw_number(d, 4)];
        node->can_be_empty = true;
    } else {
        node = draw_new(d, NODE_LEAF);
        node->leaf = &test_leaves[draw_number(d, ARRAY_LEN(test_leaves))];
    }
    return node;
}

static const struct node *draw_repeat(struct draw *d, const struct node *body)
{
    static const int bounds[][2] = {{0, -1}, {1, -1}, {0, 1}, {2, 2},
                                    {2, -1}, {0, 2},  {1, 3}, {0, 0}};
    if (body->can_be_empty && !d->allow_empty_loops) {
        return body;
    }
    struct node *node = draw_new(d, NODE_REPEAT);
    const int *pair = bounds[draw_number(d, ARRAY_LEN(bounds))];
    node->left = body;
    node->min = pair[0];
    node->max = pair[1];
    node->is_lazy = draw_number(d, 3) == 0;
    node->can_be_empty = body->can_be_empty || node->min == 0;
    return node;
}

static const struct node *draw_node(struct draw *d, unsigned depth)
{
    const unsigned kind = depth > 0 ? draw_number(d, 8) : 0;
    struct node *node;
    if (kind < 2) {
        return draw_atom(d);
    }
    if (kind < 4) {
        return draw_repeat(d, draw_node(d, depth - 1));
    }
    if (kind == 4) {
        const struct node *body;
        const int group = ++d->n_groups;
        if (group > GROUPS_MAX) {
            d->n_groups--;
            return draw_atom(d);
        }
        body = draw_node(d, depth - 1);
        node = draw_new(d, NODE_GROUP);
        node->group = group;
        node->left = body;
        node->can_be_empty = body->can_be_empty;
        return node;
    }
    const struct node *left = draw_node(d, depth - 1);
    const struct node *right = draw_node(d, depth - 1);
    node = draw_new(d, kind == 5 ? NODE_ALT : NODE_CAT);
    node->left = left;
    node->right = right;
    node->can_be_empty = kind == 5 ? left->can_be_empty || right->can_be_empty
                                   : left->can_be_empty && right->can_be_empty;
    return node;
}

static void draw_put(struct draw *d, const char *text)
{
    const size_t len = strlen(text);
    assert_true(d->len + len < sizeof(d->text));
    memcpy(d->text + d->len, text, len + 1);
    d->len += len;
}

static void draw_print(struct draw *d, const struct node *node)
{
    char text[32];
    switch (node->kind) {
    case NODE_EMPTY:
        draw_put(d, "(?:)");
        break;
    case NODE_LEAF:
        draw_put(d, node->leaf->text);
        break;
    case NODE_ASSERTION:
        snprintf(text, sizeof(text), "%s%c",
                 node->assertion == 'b' || node->assertion == 'B' ? "\\" : "",
                 node->assertion);
        draw_put(d, text);
        break;
    case NODE_CAT:
        draw_print(d, node->left);
        draw_print(d, node->right);
        break;
    case NODE_ALT:
        draw_put(d, "(?:");
        draw_print(d, node->left);
        draw_put(d, "|");
        draw_print(d, node->right);
        draw_put(d, ")");
        break;
    case NODE_GROUP:
        draw_put(d, "(");
        draw_print(d, node->left);
        draw_put(d, ")");
        break;
    case NODE_REPEAT:
        draw_put(d, node->left->kind == NODE_LEAF ? "" : "(?:");
        draw_print(d, node->left);
        draw_put(d, node->left->kind == NODE_LEAF ? "" : ")");
        if (node->min < 2 && node->max < 0) {
            draw_put(d, node->min == 0 ? "*" : "+");
        } else if (node->min == 0 && node->max == 1) {
            draw_put(d, "?");
        } else {
            snprintf(text, sizeof(text), node->max < 0 ? "{%d,}" : "{%d,%d}",
                     node->min, node->max);
            draw_put(d, text);
        }
        draw_put(d, node->is_lazy ? "?" : "");
        break;
    }
}

/* What is still to be matched after the current node. */
struct then {
    const struct node *node;
    const struct then *next;
    bool is_close; /* of the group `node`, begun at `began` */
    bool is_round; /* of the repeat `node`, begun at `began` */
    int n_rounds;
    size_t began;
};

struct backtrack {
    struct str text;
    unsigned flags;
    size_t begin;
    size_t end;
    size_t from[GROUPS_MAX + 1]; /* SIZE_MAX: took no part */
    size_t to[GROUPS_MAX + 1];
    long budget;
};

static bool
backtrack_run(struct backtrack *b, const struct then *then, size_t at);

static bool backtrack_is_word(const struct backtrack *b, size_t at)
{
    return at < b->text.len && strchr("abcA1", b->text.p[at]) != NULL;
}

static bool
backtrack_holds(const struct backtrack *b, char assertion, size_t at)
{
    const bool edge =
        (at > 0 && backtrack_is_word(b, at - 1)) != backtrack_is_word(b, at);
    switch (assertion) {
    case '^':
        return at == 0;
    case '$':
        return at == b->text.len;
    case 'b':
        return edge;
    default:
        return !edge;
    }
}

static bool backtrack_round(struct backtrack *b,
                            const struct node *node,
                            int n_rounds,
                            const struct then *next,
                            size_t at)
{
    const struct then round = {.node = node,
                               .next = next,
                               .is_round = true,
                               .n_rounds = n_rounds + 1,
                               .began = at};
    const struct then body = {.node = node->left, .next = &round};
    const bool can_go_on = node->max < 0 || n_rounds < node->max;
    const bool can_stop = n_rounds >= node->min;
    if (node->is_lazy && can_stop && backtrack_run(b, next, at)) {
        return true;
    }
    if (can_go_on && backtrack_run(b, &body, at)) {
        return true;
    }
    return !node->is_lazy && can_stop && backtrack_run(b, next, at);
}

static bool
backtrack_close(struct backtrack *b, const struct then *then, size_t at)
{
    const int group = then->node->group;
    const size_t from = b->from[group];
    const size_t to = b->to[group];
    b->from[group] = then->began;
    b->to[group] = at;
    if (backtrack_run(b, then->next, at)) {
        return true;
    }
    b->from[group] = from;
    b->to[group] = to;
    return false;
}

static bool
backtrack_leaf(const struct backtrack *b, const struct leaf *leaf, size_t at)
{
    const bool nocase = (b->flags & REGEX_NOCASE) != 0;
    return at < b->text.len && strchr(nocase ? leaf->takes_nocase : leaf->takes,
                                      b->text.p[at]) != NULL;
}

static bool backtrack_node(struct backtrack *b,
                           const struct node *node,
                           const struct then *next,
                           size_t at)
{
    const struct then left = {.node = node->left, .next = next};
    const struct then right = {.node = node->right, .next = next};
    const struct then both = {.node = node->left, .next = &right};
    const struct then close = {
        .node = node, .next = next, .is_close = true, .began = at};
    const struct then group = {.node = node->left, .next = &close};
    switch (node->kind) {
    case NODE_EMPTY:
        return backtrack_run(b, next, at);
    case NODE_LEAF:
        return backtrack_leaf(b, node->leaf, at) &&
               backtrack_run(b, next, at + 1);
    case NODE_ASSERTION:
        return backtrack_holds(b, node->assertion, at) &&
               backtrack_run(b, next, at);
    case NODE_CAT:
        return backtrack_run(b, &both, at);
    case NODE_ALT:
        return backtrack_run(b, &left, at) || backtrack_run(b, &right, at);
    case NODE_GROUP:
        return backtrack_run(b, &group, at);
    case NODE_REPEAT:
        return backtrack_round(b, node, 0, next, at);
    }
    return false;
}

/* An empty round past the minimum adds nothing and is not tried further. */
static bool
backtrack_run(struct backtrack *b, const struct then *then, size_t at)
{
    if (b->budget-- <= 0) {
        return false;
    }
    if (then == NULL) {
        b->end = at;
        return (b->flags & REGEX_ANCHOR_END) == 0 || at == b->text.len;
    }
    if (then->is_close) {
        return backtrack_close(b, then, at);
    }
    if (then->is_round) {
        const bool is_idle =
            at == then->began && then->n_rounds > then->node->min;
        return !is_idle &&
               backtrack_round(b, then->node, then->n_rounds, then->next, at);
    }
    return backtrack_node(b, then->node, then->next, at);
}

static bool backtrack_search(struct backtrack *b, const struct node *root)
{
    const struct then start = {.node = root};
    const bool is_anchored = (b->flags & REGEX_ANCHOR_START) != 0;
    for (size_t at = 0; at <= (is_anchored ? 0 : b->text.len); at++) {
        b->begin = at;
        for (size_t i = 0; i <= GROUPS_MAX; i++) {
            b->from[i] = SIZE_MAX;
        }
        if (backtrack_run(b, &start, at)) {
            return true;
        }
    }
    return false;
}

static void
backtrack_captures(const struct backtrack *b, size_t n, struct str *captures)
{
    captures[0] = str_sub(b->text, b->begin, b->end - b->begin);
    for (size_t i = 1; i < n; i++) {
        captures[i] = STR_NONE;
        if (b->from[i] != SIZE_MAX) {
            captures[i] =
                str_make(b->text.p + b->from[i], b->to[i] - b->from[i]);
        }
    }
}

/* True when the backtracking matcher finished; fails when results differ. */
static bool test_compare(const struct draw *d,
                         const struct node *root,
                         const struct regex *re,
                         unsigned flags,
                         struct str text)
{
    struct backtrack b = {.text = text, .flags = flags, .budget = 200000};
    const bool want_match = backtrack_search(&b, root);
    char want[256];
    char got[256];
    if (b.budget <= 0) {
        return false;
    }
    struct str captures[GROUPS_MAX + 1];
    const size_t n = (size_t)d->n_groups + 1;
    backtrack_captures(&b, n, captures);
    test_describe(want, sizeof(want), text, captures, n, want_match);
    test_match(got, sizeof(got), re, text);
    if (d->allow_empty_loops) {
        /* Only whether there is a match is promised. */
        snprintf(want, sizeof(want), "%s", want_match ? "yes" : "no");
        snprintf(got, sizeof(got), "%s", strcmp(got, "no") == 0 ? "no" : "yes");
    }
    if (strcmp(want, got) != 0) {
        fail_msg("/%s/ flags %u on \"%.*s\": got %s, want %s", d->text, flags,
                 STR_ARG(text), got, want);
    }
    return true;
}

static void test_agreement(uint64_t seed, bool allow_empty_loops)
{
    struct draw *d = mem_new(sizeof(*d));
    size_t n_compared = 0;
    size_t n_unfinished = 0;
    d->random = seed;
    d->allow_empty_loops = allow_empty_loops;
    for (int i = 0; i < 4000; i++) {
        d->n_nodes = 0;
        d->n_groups = 0;
        d->len = 0;
        const struct node *root = draw_node(d, 6);
        draw_print(d, root);
        const unsigned flags = draw_number(d, 8);
        struct regex *re = test_compile(str_make(d->text, d->len), flags);
        assert_int_equal(regex_n_groups(re), d->n_groups);
        for (int j = 0; j < 6; j++) {
            char text[16];
            const size_t len = draw_number(d, 12);
            for (size_t k = 0; k < len; k++) {
                text[k] = test_alphabet[draw_number(d, 8)];
            }
            re->bits.is_usable &= j < 3;
            const bool is_done =
                test_compare(d, root, re, flags, str_make(text, len));
            n_compared += is_done;
            n_unfinished += !is_done;
        }
        regex_free(re);
    }
    assert_true(n_compared > 50 * n_unfinished);
    mem_free(d);
}

static void test_regex_bits__agrees_with_backtracking(void **state)
{
    (void)state;
    test_agreement(UINT64_C(0x9e3779b97f4a7c15), false);
}

static void test_regex_bits__agrees_on_loops_with_empty_bodies(void **state)
{
    (void)state;
    test_agreement(UINT64_C(0xd1b54a32d192ed03), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex_bits__agrees_with_backtracking),
        cmocka_unit_test(test_regex_bits__agrees_on_loops_with_empty_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
