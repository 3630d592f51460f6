/*
 * settings_dump: texts made from the table of settings: the effective
 * configuration as a conf file (for /config), and the reference page
 * (docs/settings.md). Control thread; writes to the caller's buf, owns
 * nothing.
 * Invariants: what settings_dump writes, source_file reads, to the same
 * values but for secrets; these never reach the buf.
 */
#include "control/settings.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SETTINGS_DUMP_LINE_MAX = 512, SETTINGS_DUMP_INDENT = 2 };

static void settings_dump_format(struct buf *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void settings_dump_format(struct buf *out, const char *format, ...)
{
    char text[SETTINGS_DUMP_LINE_MAX];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    CHECK(n >= 0 && (size_t)n < sizeof text);
    buf_append(out, text, (size_t)n);
}

/* ---- the effective configuration ------------------------------------------
 */

static void settings_dump_indent(struct buf *out, unsigned depth)
{
    settings_dump_format(out, "%*s", (int)depth * SETTINGS_DUMP_INDENT, "");
}

/* Text in quotes, with the escapes that libconfig knows. */
static void settings_dump_quote(struct buf *out, struct str s)
{
    buf_append_str(out, STR("\""));
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            settings_dump_format(out, "\\%c", c);
        } else if (c == '\n') {
            buf_append_str(out, STR("\\n"));
        } else if (c < 0x20 || c == 0x7f) {
            settings_dump_format(out, "\\x%02x", c);
        } else {
            buf_append(out, &s.p[i], 1);
        }
    }
    buf_append_str(out, STR("\""));
}

static void settings_dump_number(struct buf *out, int64_t number)
{
    const bool is_long = number > INT32_MAX || number < INT32_MIN;
    settings_dump_format(out, "%" PRId64 "%s", number, is_long ? "L" : "");
}

/* Absolute, so that the page means the same wherever it is saved. */
static void settings_dump_path(struct buf *out, const struct node *n)
{
    char *path = settings_file(n, NULL);
    settings_dump_quote(out, str_from(path));
    mem_free(path);
}

static void
settings_dump_scalar(struct buf *out, const struct node *n, bool is_secret)
{
    if (is_secret) {
        settings_dump_quote(out, STR("***"));
    } else if (n->row != NULL && n->row->kind == SETTING_PATH) {
        settings_dump_path(out, n);
    } else if (n->kind == NODE_TEXT) {
        settings_dump_quote(out, str_from(n->text));
    } else if (n->kind == NODE_NUMBER) {
        settings_dump_number(out, n->number);
    } else if (n->kind == NODE_FLAG) {
        settings_dump_format(out, "%s", n->flag ? "true" : "false");
    } else {
        settings_dump_format(out, "%#.17g", n->real);
    }
}

static bool settings_dump_is_scalar(const struct node *n)
{
    return n->kind != NODE_GROUP && n->kind != NODE_LIST;
}

/* `key = ` of a member of a group; nothing for one of a list. */
static void settings_dump_key(struct buf *out, struct str key, unsigned depth)
{
    settings_dump_indent(out, depth);
    if (key.len > 0) {
        buf_append_str(out, key);
        buf_append_str(out, STR(" = "));
    }
}

/* The value of a setting that the operator did not write. */
static void settings_dump_fallback(struct buf *out,
                                   const struct setting *row,
                                   unsigned depth)
{
    if (row->fallback == NULL) {
        return;
    }
    settings_dump_key(out, settings_row_key(row), depth);
    if (row->kind == SETTING_NUMBER) {
        settings_dump_number(out, strtoll(row->fallback, NULL, 10));
    } else if (row->kind == SETTING_FLAG) {
        settings_dump_format(out, "%s", row->fallback);
    } else {
        settings_dump_quote(out, str_from(row->fallback));
    }
    buf_append_str(out, STR(";\n"));
}

static void settings_dump_members(const struct node *n,
                                  bool is_secret,
                                  unsigned depth,
                                  struct buf *out);

static void settings_dump_node(const struct node *n,
                               bool is_secret,
                               unsigned depth,
                               struct buf *out)
{
    const bool is_listed = n->parent != NULL && n->parent->kind == NODE_LIST;
    if (n->row != NULL && (n->row->flags & SETTING_SECRET) != 0) {
        is_secret = true;
    }
    settings_dump_key(out, is_listed ? STR_NONE : str_from(n->name), depth);
    if (settings_dump_is_scalar(n)) {
        settings_dump_scalar(out, n, is_secret);
    } else if (n->first == NULL && n->kind == NODE_LIST) {
        buf_append_str(out, STR("( )"));
    } else {
        const bool is_list = n->kind == NODE_LIST;
        buf_append_str(out, is_list ? STR("(\n") : STR("{\n"));
        settings_dump_members(n, is_secret, depth + 1, out);
        settings_dump_indent(out, depth);
        buf_append_str(out, is_list ? STR(")") : STR("}"));
    }
    if (is_listed) {
        buf_append_str(out, n->next != NULL ? STR(",\n") : STR("\n"));
    } else {
        buf_append_str(out, STR(";\n"));
    }
}

/* Groups of the table in its order, with defaults; others as written. The
 * check bounds how deep a tree is. */
static void settings_dump_members(const struct node *n,
                                  bool is_secret,
                                  unsigned depth,
                                  struct buf *out)
{
    const bool is_top = n->parent == NULL;
    if (!is_top && (n->row == NULL || n->row->kind != SETTING_GROUP)) {
        for (const struct node *m = n->first; m != NULL; m = m->next) {
            settings_dump_node(m, is_secret, depth, out);
        }
        return;
    }
    const struct setting *row = settings_row_next(n->row, NULL);
    for (; row != NULL; row = settings_row_next(n->row, row)) {
        const struct node *m = settings_child(n, settings_row_key(row).p);
        if (m != NULL) {
            settings_dump_node(m, is_secret, depth, out);
        } else {
            settings_dump_fallback(out, row, depth);
        }
    }
}

void settings_dump(const struct node *root, struct buf *out)
{
    settings_dump_members(root, false, 0, out);
}

/* ---- the reference page ----------------------------------------------------
 */

static const char *settings_print_kind(enum setting_kind kind)
{
    switch (kind) {
    case SETTING_GROUP:
        return "group";
    case SETTING_MAP:
        return "map";
    case SETTING_LIST:
        return "list";
    case SETTING_TEXT:
        return "text";
    case SETTING_NUMBER:
        return "number";
    case SETTING_FLAG:
        return "true or false";
    case SETTING_WORD:
        return "word";
    case SETTING_PATH:
        return "file";
    case SETTING_ANY:
        return "any group";
    }
    return "";
}

static const char *settings_print_reload(enum setting_reload reload)
{
    switch (reload) {
    case RELOAD_LIVE:
        return "at once";
    case RELOAD_NEW_CONNS:
        return "new connections";
    case RELOAD_RESTART:
        return "restart";
    }
    return "";
}

/* A cell of a table must not hold a bar. */
static void settings_print_cell(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '|') {
            buf_append_str(out, STR("\\"));
        }
        buf_append(out, &s.p[i], 1);
    }
}

static void settings_print_bounds(struct buf *out, const struct setting *row)
{
    switch (row->kind) {
    case SETTING_WORD: {
        struct str rest = str_from(row->words);
        struct str word;
        bool is_first = true;
        while (str_split(&rest, '|', &word)) {
            settings_dump_format(out, "%s`%.*s`", is_first ? "" : ", ",
                                 STR_ARG(word));
            is_first = false;
        }
        break;
    }
    case SETTING_NUMBER:
        settings_dump_format(out, "%" PRId64 " to %" PRId64, row->min,
                             row->max);
        break;
    case SETTING_TEXT:
    case SETTING_PATH:
        settings_dump_format(out, "%" PRId64 " to %" PRId64 " bytes", row->min,
                             row->max);
        break;
    case SETTING_LIST:
    case SETTING_MAP:
        settings_dump_format(out, "%" PRId64 " to %" PRId64 " members",
                             row->min, row->max);
        break;
    case SETTING_GROUP:
    case SETTING_FLAG:
    case SETTING_ANY:
        break;
    }
}

static void settings_print_default(struct buf *out, const struct setting *row)
{
    if ((row->flags & SETTING_REQUIRED) != 0) {
        buf_append_str(out, STR("(required)"));
    } else if (row->fallback != NULL && row->kind == SETTING_GROUP) {
        buf_append_str(out, STR("(always there)"));
    } else if (row->fallback != NULL && row->kind == SETTING_TEXT) {
        settings_dump_format(out, "`\"%s\"`", row->fallback);
    } else if (row->fallback != NULL) {
        settings_dump_format(out, "`%s`", row->fallback);
    }
}

static void settings_print_row(struct buf *out, const struct setting *row)
{
    settings_dump_format(out, "| `%s` | %s | ", row->path,
                         settings_print_kind(row->kind));
    settings_print_default(out, row);
    buf_append_str(out, STR(" | "));
    settings_print_bounds(out, row);
    settings_dump_format(out, " | %s | ", settings_print_reload(row->reload));
    settings_print_cell(out, str_from(row->doc));
    if ((row->flags & SETTING_SECRET) != 0) {
        buf_append_str(out, STR(" Masked in /config."));
    }
    buf_append_str(out, STR(" |\n"));
}

void settings_print(struct buf *out)
{
    struct str section = STR_NONE;
    buf_append_str(
        out,
        STR("# Settings\n\n"
            "Made from `src/control/settings.def` by `make docs`; do not edit "
            "by hand.\n\n"
            "The conf file is in the syntax of libconfig. In a name below, "
            "`*` stands for each\nmember of a list, or for a name that you "
            "choose. Files are relative to the folder of\nthe conf file. "
            "\"Reload\" says from when on a changed value counts.\n"));
    for (size_t i = 0; settings_row(i) != NULL; i++) {
        const struct setting *row = settings_row(i);
        const struct str path = str_from(row->path);
        const struct str top = str_sub(path, 0, str_find_char(path, '.'));
        if (!str_eq(top, section)) {
            section = top;
            settings_dump_format(
                out,
                "\n## %.*s\n\n"
                "| Setting | Kind | Default | Bounds | Reload | Meaning |\n"
                "|---|---|---|---|---|---|\n",
                STR_ARG(top));
        }
        settings_print_row(out, row);
    }
}
