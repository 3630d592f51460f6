/*
 * settings: the table of every setting, walking in it, and the accessors by
 * which builders read a checked tree. Control thread; the table is constant,
 * and nothing is owned here but what settings_file returns.
 * Invariant: the table is sorted by path in the order of bytes, so the rows
 * below a row follow it closely and a row is found by halving. An accessor
 * that is asked for a key which is not in the table aborts: that is a
 * programmer's mistake, whatever the operator wrote.
 */
#include "control/settings.h"

#include "base/check.h"
#include "base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct setting settings_table[] = {
#define SETTING(path_, kind_, words_, fallback_, min_, max_, reload_, flags_,  \
                doc_)                                                          \
    {                                                                          \
        .path = path_,                                                         \
        .kind = SETTING_##kind_,                                               \
        .words = words_,                                                       \
        .fallback = fallback_,                                                 \
        .min = min_,                                                           \
        .max = max_,                                                           \
        .reload = RELOAD_##reload_,                                            \
        .flags = flags_,                                                       \
        .doc = doc_,                                                           \
    },
#include "control/settings.def"
#undef SETTING
};

enum { SETTINGS_N_ROWS = sizeof settings_table / sizeof settings_table[0] };

const struct setting *settings_row(size_t index)
{
    return index < SETTINGS_N_ROWS ? &settings_table[index] : NULL;
}

struct str settings_row_key(const struct setting *row)
{
    const char *dot = strrchr(row->path, '.');
    return str_from(dot == NULL ? row->path : dot + 1);
}

/* Orders a row against the path "parent.key". */
static int settings_row_compare(const struct setting *row,
                                struct str parent,
                                struct str key)
{
    struct str rest = str_from(row->path);
    if (parent.len > 0) {
        const int order = str_cmp(str_sub(rest, 0, parent.len), parent);
        if (order != 0) {
            return order;
        }
        rest = str_from_index(rest, parent.len);
        if (rest.len == 0 || rest.p[0] != '.') {
            return rest.len == 0 || rest.p[0] < '.' ? -1 : 1;
        }
        rest = str_from_index(rest, 1);
    }
    return str_cmp(rest, key);
}

const struct setting *settings_row_child(const struct setting *parent,
                                         struct str key)
{
    const struct str path = str_from(parent == NULL ? "" : parent->path);
    size_t low = 0;
    size_t high = SETTINGS_N_ROWS;
    if (parent != NULL &&
        (parent->kind == SETTING_LIST || parent->kind == SETTING_MAP)) {
        key = STR("*");
    }
    if (key.len == 0 || str_find_char(key, '.') < key.len) {
        return NULL;
    }
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int order = settings_row_compare(&settings_table[mid], path, key);
        if (order == 0) {
            return &settings_table[mid];
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

const struct setting *settings_row_next(const struct setting *parent,
                                        const struct setting *before)
{
    const struct str path = str_from(parent == NULL ? "" : parent->path);
    const struct setting *from = before == NULL ? parent : before;
    size_t i = from == NULL ? 0 : (size_t)(from - settings_table) + 1;
    for (; i < SETTINGS_N_ROWS; i++) {
        const struct setting *row = &settings_table[i];
        struct str rest = str_from(row->path);
        if (!str_starts(rest, path)) {
            return NULL;
        }
        rest = str_from_index(rest, path.len);
        if (path.len > 0) {
            if (rest.len == 0 || rest.p[0] != '.') {
                continue;
            }
            rest = str_from_index(rest, 1);
        }
        if (str_find_char(rest, '.') == rest.len) {
            return row;
        }
    }
    return NULL;
}

/* The row of a key; NULL only inside of what is a module's own business. */
static const struct setting *settings_row_of(const struct node *n,
                                             const char *key)
{
    if (n->row == NULL && n->parent != NULL) {
        return NULL;
    }
    if (n->row != NULL && n->row->kind == SETTING_ANY) {
        return NULL;
    }
    const struct setting *row = settings_row_child(n->row, str_from(key));
    CHECK(row != NULL);
    return row;
}

const struct node *settings_child(const struct node *n, const char *key)
{
    if (n == NULL || key == NULL) {
        return n;
    }
    for (const struct node *m = n->first; m != NULL; m = m->next) {
        if (m->name != NULL && strcmp(m->name, key) == 0) {
            return m;
        }
    }
    return NULL;
}

bool settings_is_sound(const struct node *n)
{
    if (n == NULL) {
        return true;
    }
    if (n->row == NULL || n->is_wrong) {
        return false;
    }
    if (n->row->kind == SETTING_ANY) {
        return true;
    }
    for (const struct node *m = n->first; m != NULL; m = m->next) {
        if (!settings_is_sound(m)) {
            return false;
        }
    }
    return true;
}

const struct node *settings_sound_child(const struct node *n, const char *key)
{
    const struct node *m = settings_child(n, key);
    return settings_is_sound(m) ? m : NULL;
}

/* The default of a key that is not given, as text; NULL when there is none. */
static const char *settings_fallback(const struct node *n, const char *key)
{
    if (n == NULL || key == NULL) {
        return NULL;
    }
    const struct setting *row = settings_row_of(n, key);
    return row == NULL ? NULL : row->fallback;
}

struct str settings_text(const struct node *n, const char *key)
{
    const struct node *m = settings_child(n, key);
    const char *text = m == NULL ? settings_fallback(n, key) : m->text;
    return text == NULL ? STR_NONE : str_from(text);
}

int64_t settings_number(const struct node *n, const char *key)
{
    const struct node *m = settings_child(n, key);
    if (m != NULL) {
        return m->number;
    }
    const char *text = settings_fallback(n, key);
    return text == NULL ? 0 : (int64_t)strtoll(text, NULL, 10);
}

bool settings_flag(const struct node *n, const char *key)
{
    const struct node *m = settings_child(n, key);
    if (m != NULL) {
        return m->flag;
    }
    const char *text = settings_fallback(n, key);
    return text != NULL && strcmp(text, "true") == 0;
}

bool settings_has(const struct node *n, const char *key)
{
    return settings_child(n, key) != NULL;
}

bool settings_lists(const struct node *n, const char *key, struct str word)
{
    const struct node *list = settings_child(n, key);
    const struct node *m = list == NULL ? NULL : list->first;
    while (m != NULL &&
           !(m->kind == NODE_TEXT && str_eq(str_from(m->text), word))) {
        m = m->next;
    }
    return list == NULL || m != NULL;
}

/* The folder of the conf file with its last slash: "" for the current one. */
static struct str settings_folder(const struct node *n)
{
    while (n->parent != NULL) {
        n = n->parent;
    }
    const char *slash = n->file == NULL ? NULL : strrchr(n->file, '/');
    return slash == NULL ? STR("")
                         : str_make(n->file, (size_t)(slash - n->file) + 1);
}

char *settings_file(const struct node *n, const char *key)
{
    char cwd[PATH_MAX];
    const struct str path = settings_text(n, key);
    if (path.len == 0) {
        return NULL;
    }
    const struct str folder = path.p[0] == '/' ? STR("") : settings_folder(n);
    const bool is_absolute = path.p[0] == '/' || str_starts(folder, STR("/"));
    if (is_absolute || getcwd(cwd, sizeof cwd) == NULL) {
        cwd[0] = '\0';
    }
    const size_t size = strlen(cwd) + 1 + folder.len + path.len + 1;
    char *file = mem_new_raw(size);
    snprintf(file, size, "%s%s%.*s%.*s", cwd, cwd[0] == '\0' ? "" : "/",
             STR_ARG(folder), STR_ARG(path));
    return file;
}
