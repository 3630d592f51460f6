/*
 * settings: the tree of what an operator (or Kubernetes) wants, and the table
 * of every setting there is. A source makes a raw tree of nodes; check.c binds
 * each node to its row of settings.def and finds every problem; build.c reads
 * the values through the accessors here, which give the row's default when the
 * operator was silent. Control thread; a tree is owned by whoever loaded it.
 */
#ifndef DAEMUN_CONTROL_SETTINGS_H
#define DAEMUN_CONTROL_SETTINGS_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum setting_kind {
    SETTING_GROUP, /* { a = 1; }: named members, each a row below it */
    SETTING_MAP,   /* { x = {...}; y = {...}; }: names are the operator's */
    SETTING_LIST,  /* ( ... ) or [ ... ]: members are rows "path.*" */
    SETTING_TEXT,
    SETTING_NUMBER,
    SETTING_FLAG,
    SETTING_WORD, /* one of `words`, separated by '|' */
    SETTING_PATH, /* a file, relative to the conf file's folder */
    SETTING_ANY,  /* a group whose members are a module's own business */
};

/* What a reload does with a changed value. */
enum setting_reload { RELOAD_LIVE, RELOAD_NEW_CONNS, RELOAD_RESTART };

enum setting_flag {
    SETTING_REQUIRED = 1,
    SETTING_SECRET = 2,    /* /config shows *** */
    SETTING_MULTILINE = 4, /* TEXT that may hold control bytes */
};

/* One row. In `path`, "*" stands for a list member or a map name. */
struct setting {
    const char *path;
    enum setting_kind kind;
    const char *words;    /* SETTING_WORD */
    const char *fallback; /* default as text; NULL: none */
    int64_t min; /* NUMBER: value; TEXT: length; LIST and MAP: members */
    int64_t max;
    enum setting_reload reload;
    unsigned flags;
    const char *doc; /* one sentence for docs/settings.md */
};

enum node_kind {
    NODE_GROUP,
    NODE_LIST,
    NODE_TEXT,
    NODE_NUMBER,
    NODE_FLAG,
    NODE_FLOAT
};

/* One value of the tree. Text is owned by the tree. */
struct node {
    enum node_kind kind;
    char *name; /* NULL in a list */
    char *text;
    int64_t number;
    double real;
    bool flag;
    struct node *parent;
    struct node *first;
    struct node *last;
    struct node *next;
    size_t n_children;
    const struct setting *row; /* bound by settings_check; NULL: not sound */
    bool is_wrong;             /* a problem was told about it */
    const char *file;          /* where it was written; owned by the root */
    unsigned line;
};

/* Trees. node_new appends to `parent` (may be NULL for a root). */
struct node *node_new(struct node *parent,
                      const char *name,
                      enum node_kind kind,
                      const char *file,
                      unsigned line);
void node_set_text(struct node *n, struct str text);
void node_free(struct node *root);
/* "routes[2].path_prefix", for messages; at most `size` bytes. */
const char *node_path(const struct node *n, char *dst, size_t size);
/* Adds "file:line: path: problem" to `err` and marks the node; returns
 * false. */
bool node_problem(const struct node *n,
                  struct error *err,
                  const char *format,
                  ...) __attribute__((format(printf, 3, 4)));
/* The lines of `from`, each as a problem of `n`; empties it. Returns false. */
bool node_explain(const struct node *n, struct error *err, struct error *from);

/*
 * Binds every node to its row and checks kind, range, words, required members
 * and unknown keys (with a suggestion by str_distance). All problems are
 * listed, not the first one only. False when there was any.
 */
bool settings_check(struct node *root, struct error *err);
/* The part of it that looks at several settings together: names that refer to
 * something, things that exclude each other. Called at the end of
 * settings_check; leaves out what follows from a problem told already. */
bool settings_check_cross(const struct node *root, struct error *err);
/* Of it: health checks and ejection of one upstream. */
void settings_check_health(const struct node *up, struct error *err);
/*
 * After a check: whether no problem was told of `n` or of anything in it. What
 * is not there (NULL) is sound. Later phases look at sound parts of a tree
 * that is not sound as a whole, so that all problems are told at once and none
 * as the consequence of another.
 */
bool settings_is_sound(const struct node *n);
/* A member that is there and sound, or NULL. */
const struct node *settings_sound_child(const struct node *n, const char *key);

/* Accessors after a successful check. `n` may be NULL: then the result is
 * NULL, 0 or the like. A value that is not given is the row's default; a group
 * or list whose default is not "none" is always there. `key` NULL: `n` itself
 * (a member of a list). */
const struct node *settings_child(const struct node *n, const char *key);
struct str settings_text(const struct node *n, const char *key);
int64_t settings_number(const struct node *n, const char *key);
bool settings_flag(const struct node *n, const char *key);
bool settings_has(const struct node *n, const char *key);
/* Whether the list `key` of `n` has the word; a list that is not there has. */
bool settings_lists(const struct node *n, const char *key, struct str word);
/* A PATH made absolute (relative to the conf file); mem_free it. NULL when
 * there is none. */
char *settings_file(const struct node *n, const char *key);

/* The table, for documents and tests. */
const struct setting *settings_row(size_t index); /* NULL at the end */
/* The row of `key` below `parent` (NULL: the top): the one of that name, or
 * "*". NULL when there is none. */
const struct setting *settings_row_child(const struct setting *parent,
                                         struct str key);
/* The last element of a row's path. */
struct str settings_row_key(const struct setting *row);
/* Walks the rows directly below `parent` (NULL: the top) in order: the one
 * after `before`, the first one if that is NULL, NULL at the end. */
const struct setting *settings_row_next(const struct setting *parent,
                                        const struct setting *before);
/* docs/settings.md in Markdown. */
void settings_print(struct buf *out);
/* The effective configuration as a conf file: defaults spelled out, secrets
 * masked. For /config. */
void settings_dump(const struct node *root, struct buf *out);

#endif
