/*
 * settings_check: binds a raw tree to the table of settings and says what is
 * wrong with each single value: unknown and missing keys, kinds, ranges,
 * lengths and words. What concerns several settings is in settings_cross.c.
 * Control thread; the tree stays with its owner, who gets defaults that are
 * groups or lists added to it.
 * Invariant: afterwards a node has its row if, and only if, nothing was wrong
 * with the node itself; what lies inside of a module's own settings has none.
 */
#include "control/settings.h"

#include "base/check.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SETTINGS_CHECK_LIST_MAX = 1024, /* bytes of a list of words in a message */
    SETTINGS_CHECK_QUOTE_MAX = 80,  /* bytes of a value in a message */
};

/*
 * The table as a tree, made for one check: a large configuration has its rows
 * looked up a hundred thousand times.
 */
struct settings_check_place {
    const struct setting *row; /* NULL: the top */
    const char *key;
    struct settings_check_place *first; /* below */
    struct settings_check_place *next;  /* of the same parent */
    bool has_needed; /* something below is required, or there by default */
};

/* Words of a message, cut off at its size. */
struct settings_words {
    char text[SETTINGS_CHECK_LIST_MAX];
    size_t len;
};

static void settings_check_add_word(struct settings_words *w, struct str word)
{
    const size_t room = sizeof w->text - w->len;
    const int n = snprintf(w->text + w->len, room, "%s%.*s",
                           w->len > 0 ? ", " : "", STR_ARG(word));
    if (n > 0) {
        w->len += (size_t)n < room ? (size_t)n : room - 1;
    }
}

/* How far a misspelt word may be from what was meant. */
static unsigned settings_check_reach(struct str word)
{
    const unsigned third = (unsigned)(word.len < 60 ? word.len / 3 : 20);
    return third < 2 ? 2 : third;
}

/* Keeps in `best` what of it and `candidate` is closer to `word`. */
static void settings_check_closer(struct str word,
                                  struct str candidate,
                                  unsigned *distance,
                                  struct str *best)
{
    unsigned d = str_distance(word, candidate, *distance);
    if (d >= *distance && word.len >= 4 &&
        (str_starts(candidate, word) || str_starts(word, candidate))) {
        d = *distance - 1; /* most often a unit was left out */
    }
    if (d < *distance) {
        *distance = d;
        *best = candidate;
    }
}

static void settings_check_unknown(const struct node *n,
                                   const struct setting *parent,
                                   struct error *err)
{
    const struct str key = str_from(n->name);
    struct settings_words known = {.len = 0};
    struct str best = STR_NONE;
    unsigned distance = settings_check_reach(key) + 1;
    const struct setting *row = settings_row_next(parent, NULL);
    for (; row != NULL; row = settings_row_next(parent, row)) {
        const struct str name = settings_row_key(row);
        settings_check_add_word(&known, name);
        if (distance > 0) {
            settings_check_closer(key, name, &distance, &best);
        }
    }
    if (best.len > 0) {
        node_problem(n, err, "unknown key; did you mean \"%.*s\"?",
                     STR_ARG(best));
    } else {
        node_problem(n, err, "unknown key; remove it, or use one of: %s",
                     known.text);
    }
}

static bool settings_check_is_of_groups(const struct setting *list)
{
    const struct setting *member = settings_row_child(list, STR("*"));
    return member->kind == SETTING_GROUP;
}

/* What a value of this row looks like, to be read after "must be". */
static const char *settings_check_wanted(const struct setting *row)
{
    switch (row->kind) {
    case SETTING_GROUP:
    case SETTING_ANY:
        return "a group { ... }";
    case SETTING_MAP:
        return "a group of named members { name = ...; }";
    case SETTING_LIST:
        return settings_check_is_of_groups(row) ? "a list ( { ... }, ... )"
                                                : "a list [ ..., ... ]";
    case SETTING_TEXT:
        return "text in quotes";
    case SETTING_WORD:
        return "a word in quotes";
    case SETTING_PATH:
        return "a file name in quotes";
    case SETTING_NUMBER:
        return "a whole number";
    case SETTING_FLAG:
        return "true or false";
    }
    return "something else";
}

static const char *settings_check_found(enum node_kind kind)
{
    switch (kind) {
    case NODE_GROUP:
        return "a group";
    case NODE_LIST:
        return "a list";
    case NODE_TEXT:
        return "text";
    case NODE_NUMBER:
        return "a number";
    case NODE_FLAG:
        return "true or false";
    case NODE_FLOAT:
        return "a number with a fraction";
    }
    return "something else";
}

static enum node_kind settings_check_node_kind(const struct setting *row)
{
    switch (row->kind) {
    case SETTING_GROUP:
    case SETTING_MAP:
    case SETTING_ANY:
        return NODE_GROUP;
    case SETTING_LIST:
        return NODE_LIST;
    case SETTING_TEXT:
    case SETTING_WORD:
    case SETTING_PATH:
        return NODE_TEXT;
    case SETTING_NUMBER:
        return NODE_NUMBER;
    case SETTING_FLAG:
        return NODE_FLAG;
    }
    return NODE_GROUP;
}

static bool settings_check_is_number(struct str text)
{
    uint64_t value;
    return text.len < 20 && str_to_u64(text, &value);
}

/* Writes how to mend a value of the wrong kind, or nothing. */
static void settings_check_mend(const struct node *n,
                                const struct setting *row,
                                char *dst,
                                size_t size)
{
    const struct str text = str_from(n->text);
    const enum node_kind wanted = settings_check_node_kind(row);
    dst[0] = '\0';
    if (wanted == NODE_TEXT && n->kind == NODE_NUMBER) {
        snprintf(dst, size, "; write \"%" PRId64 "\"", n->number);
    } else if (wanted == NODE_TEXT && n->kind == NODE_FLAG) {
        snprintf(dst, size, "; write \"%s\"", n->flag ? "true" : "false");
    } else if (wanted == NODE_NUMBER && n->kind == NODE_TEXT &&
               settings_check_is_number(text)) {
        snprintf(dst, size, "; write %s without quotes", n->text);
    } else if (wanted == NODE_FLAG && n->kind == NODE_NUMBER) {
        snprintf(dst, size, "; write %s", n->number != 0 ? "true" : "false");
    } else if (wanted == NODE_FLAG && n->kind == NODE_TEXT &&
               (str_eq_nocase(text, STR("true")) ||
                str_eq_nocase(text, STR("false")))) {
        snprintf(dst, size, "; write %s without quotes", n->text);
    } else if (wanted == NODE_LIST && n->kind == NODE_TEXT &&
               text.len < SETTINGS_CHECK_QUOTE_MAX) {
        snprintf(dst, size, "; write [ \"%s\" ]", n->text);
    } else if (wanted == NODE_LIST && n->kind == NODE_GROUP) {
        snprintf(dst, size, "; put ( and ) around it");
    } else if (wanted == NODE_GROUP && n->kind == NODE_LIST &&
               row->kind == SETTING_MAP) {
        snprintf(dst, size, "; give each member a name");
    }
}

static bool settings_check_kind(const struct node *n,
                                const struct setting *row,
                                struct error *err)
{
    char mend[SETTINGS_CHECK_QUOTE_MAX + 32];
    if (n->kind == settings_check_node_kind(row)) {
        return true;
    }
    settings_check_mend(n, row, mend, sizeof mend);
    return node_problem(n, err, "must be %s, not %s%s",
                        settings_check_wanted(row),
                        settings_check_found(n->kind), mend);
}

static bool settings_check_number(const struct node *n,
                                  const struct setting *row,
                                  struct error *err)
{
    if (n->number < row->min) {
        return node_problem(n, err,
                            "%" PRId64 " is too small; the smallest value is "
                            "%" PRId64,
                            n->number, row->min);
    }
    if (n->number > row->max) {
        return node_problem(n, err,
                            "%" PRId64 " is too large; the largest value is "
                            "%" PRId64,
                            n->number, row->max);
    }
    return true;
}

/* The index of the first control byte but a tab; s.len when there is none. */
static size_t settings_check_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return i;
        }
    }
    return s.len;
}

static bool settings_check_text(const struct node *n,
                                const struct setting *row,
                                struct error *err)
{
    const struct str text = str_from(n->text);
    if (text.len == 0 && row->min > 0) {
        return node_problem(n, err, "is empty; write a value, or remove it");
    }
    if ((int64_t)text.len < row->min) {
        return node_problem(n, err,
                            "\"%s\" is too short; the shortest value has "
                            "%" PRId64 " bytes",
                            n->text, row->min);
    }
    if ((int64_t)text.len > row->max) {
        return node_problem(n, err,
                            "is %zu bytes long; the longest value has %" PRId64,
                            text.len, row->max);
    }
    const size_t at = settings_check_control(text);
    if (at < text.len && (row->flags & SETTING_MULTILINE) == 0) {
        return node_problem(n, err,
                            "has the control byte 0x%02x at position %zu; "
                            "remove it",
                            (unsigned char)text.p[at], at + 1);
    }
    return true;
}

static bool settings_check_word(const struct node *n,
                                const struct setting *row,
                                struct error *err)
{
    const struct str text = str_from(n->text);
    struct settings_words known = {.len = 0};
    struct str rest = str_from(row->words);
    struct str word;
    struct str best = STR_NONE;
    unsigned distance = settings_check_reach(text) + 1;
    while (str_split(&rest, '|', &word)) {
        if (str_eq(word, text)) {
            return true;
        }
        settings_check_add_word(&known, word);
        if (distance > 0) {
            settings_check_closer(text, word, &distance, &best);
        }
    }
    if (best.len > 0) {
        return node_problem(n, err,
                            "\"%.*s\" is not one of %s; did you mean "
                            "\"%.*s\"?",
                            SETTINGS_CHECK_QUOTE_MAX, n->text, known.text,
                            STR_ARG(best));
    }
    return node_problem(n, err, "\"%.*s\" is not one of %s",
                        SETTINGS_CHECK_QUOTE_MAX, n->text, known.text);
}

static bool settings_check_count(const struct node *n,
                                 const struct setting *row,
                                 struct error *err)
{
    const int64_t count = (int64_t)n->n_children;
    if (count < row->min) {
        return node_problem(n, err,
                            "has %" PRId64 " members; it needs at least "
                            "%" PRId64,
                            count, row->min);
    }
    if (count > row->max) {
        return node_problem(n, err,
                            "has %" PRId64 " members; it may have at most "
                            "%" PRId64,
                            count, row->max);
    }
    return true;
}

/* The value of one node alone, kind first. */
static bool settings_check_value(const struct node *n,
                                 const struct setting *row,
                                 struct error *err)
{
    if (!settings_check_kind(n, row, err)) {
        return false;
    }
    switch (row->kind) {
    case SETTING_NUMBER:
        return settings_check_number(n, row, err);
    case SETTING_TEXT:
    case SETTING_PATH:
        return settings_check_text(n, row, err);
    case SETTING_WORD:
        return settings_check_word(n, row, err);
    case SETTING_LIST:
    case SETTING_MAP:
        return settings_check_count(n, row, err);
    case SETTING_GROUP:
    case SETTING_FLAG:
    case SETTING_ANY:
        return true;
    }
    return true;
}

static bool settings_check_missing(const struct node *n,
                                   const struct setting *row,
                                   struct error *err)
{
    const struct str key = settings_row_key(row);
    const char *example = "...";
    if (row->kind == SETTING_TEXT || row->kind == SETTING_PATH) {
        example = "\"...\"";
    } else if (row->kind == SETTING_LIST) {
        example = row->min > 0 ? "( ... )" : "( )";
    }
    return node_problem(n, err, "\"%.*s\" is missing; add %.*s = %s;",
                        STR_ARG(key), STR_ARG(key), example);
}

/* Adds what is there by default: an empty group, or a list of words. */
static struct node *settings_check_add_default(struct node *n,
                                               const struct setting *row)
{
    const struct str key = settings_row_key(row);
    const bool is_list = row->kind == SETTING_LIST;
    struct node *m =
        node_new(n, key.p, is_list ? NODE_LIST : NODE_GROUP, n->file, n->line);
    struct str rest = is_list ? str_from(row->fallback) : STR_NONE;
    struct str word;
    while (str_split(&rest, ',', &word)) {
        node_set_text(node_new(m, NULL, NODE_TEXT, n->file, n->line), word);
    }
    return m;
}

/* Whether a row matters where the operator did not write it. */
static bool settings_check_is_needed(const struct setting *row)
{
    return (row->flags & SETTING_REQUIRED) != 0 ||
           (row->fallback != NULL &&
            (row->kind == SETTING_GROUP || row->kind == SETTING_LIST));
}

/* What is not there: an error, or a default to be added (then returned). */
static struct node *settings_check_absent(struct node *n,
                                          const struct setting *row,
                                          bool *is_sound,
                                          struct error *err)
{
    if (!settings_check_is_needed(row) ||
        settings_has(n, settings_row_key(row).p)) {
        return NULL;
    }
    if ((row->flags & SETTING_REQUIRED) != 0) {
        *is_sound = settings_check_missing(n, row, err);
        return NULL;
    }
    return settings_check_add_default(n, row);
}

/* places[0] is the top, places[i + 1] that of row i. */
static struct settings_check_place *settings_check_places(void)
{
    size_t n = 0;
    while (settings_row(n) != NULL) {
        n++;
    }
    struct settings_check_place *places = mem_new_array(n + 1, sizeof *places);
    for (size_t i = 0; i <= n; i++) {
        struct settings_check_place *at = &places[i];
        struct settings_check_place **end = &at->first;
        at->row = i == 0 ? NULL : settings_row(i - 1);
        at->key = i == 0 ? NULL : settings_row_key(at->row).p;
        const struct setting *below = settings_row_next(at->row, NULL);
        for (; below != NULL; below = settings_row_next(at->row, below)) {
            *end = &places[below - settings_row(0) + 1];
            end = &(*end)->next;
            at->has_needed |= settings_check_is_needed(below);
        }
    }
    return places;
}

/* The place of a member; NULL when there is no such key. */
static const struct settings_check_place *
settings_check_place_of(const struct settings_check_place *parent,
                        const struct node *n)
{
    const struct settings_check_place *at = parent->first;
    if (parent->row != NULL && (parent->row->kind == SETTING_LIST ||
                                parent->row->kind == SETTING_MAP)) {
        return at;
    }
    while (at != NULL && (n->name == NULL || strcmp(at->key, n->name) != 0)) {
        at = at->next;
    }
    return at;
}

static void settings_check_node(struct node *n,
                                const struct settings_check_place *at,
                                struct error *err);

/* Binds and checks what is there, then what is not. */
static bool settings_check_members(struct node *n,
                                   const struct settings_check_place *at,
                                   struct error *err)
{
    bool is_sound = true;
    for (struct node *m = n->first; m != NULL; m = m->next) {
        const struct settings_check_place *below =
            settings_check_place_of(at, m);
        if (below == NULL) {
            settings_check_unknown(m, at->row, err);
        } else {
            settings_check_node(m, below, err);
        }
    }
    if (at->row != NULL && at->row->kind != SETTING_GROUP) {
        return true;
    }
    const struct settings_check_place *below =
        at->has_needed ? at->first : NULL;
    for (; below != NULL; below = below->next) {
        struct node *m = settings_check_absent(n, below->row, &is_sound, err);
        if (m != NULL) {
            settings_check_node(m, below, err);
        }
    }
    return is_sound;
}

/* The bottom of the recursion is the depth of the table, not of the tree. */
static void settings_check_node(struct node *n,
                                const struct settings_check_place *at,
                                struct error *err)
{
    n->is_wrong = false;
    bool is_sound = settings_check_value(n, at->row, err);
    if (n->kind == settings_check_node_kind(at->row) &&
        at->row->kind != SETTING_ANY) {
        is_sound = settings_check_members(n, at, err) && is_sound;
    }
    n->row = is_sound ? at->row : NULL;
}

bool settings_check(struct node *root, struct error *err)
{
    const size_t n_before = err->n_problems;
    CHECK(root->parent == NULL && root->kind == NODE_GROUP);
    struct settings_check_place *places = settings_check_places();
    settings_check_members(root, &places[0], err);
    mem_free(places);
    settings_check_cross(root, err);
    return err->n_problems == n_before;
}
