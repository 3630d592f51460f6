/*
 * node: the raw tree of settings, as some source wrote it: groups, lists and
 * values with file and line. Control thread; whoever made the root owns the
 * whole tree and frees it by node_free.
 * Invariants: a node is in its parent's list of children exactly once and in
 * the order in which it was written; names and texts belong to their node;
 * names of files belong to the root, which is a bigger object for that, so
 * that a tree outlives the source that made it.
 */
#include "control/settings.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { NODE_PATH_MAX = 512, NODE_PROBLEM_MAX = 2048 };

/* What a node without a parent really is. */
struct node_root {
    struct node node;
    char **files;
    size_t n_files;
    size_t n_files_cap;
};

static struct node_root *node_root_find(struct node *n)
{
    while (n->parent != NULL) {
        n = n->parent;
    }
    return (struct node_root *)n;
}

/* The root's copy of a file name; `near` most often has the same one. */
static const char *node_file_keep(struct node *near, const char *file)
{
    if (file == NULL || (near->file != NULL && strcmp(near->file, file) == 0)) {
        return file == NULL ? NULL : near->file;
    }
    struct node_root *root = node_root_find(near);
    if (root->n_files > 0 &&
        strcmp(root->files[root->n_files - 1], file) == 0) {
        return root->files[root->n_files - 1];
    }
    if (root->n_files == root->n_files_cap) {
        root->n_files_cap = root->n_files_cap == 0 ? 4 : root->n_files_cap * 2;
        root->files =
            mem_resize(root->files, root->n_files_cap * sizeof *root->files);
    }
    char *copy = mem_copy_text(file, strlen(file));
    root->files[root->n_files++] = copy;
    return copy;
}

static void node_append(struct node *parent, struct node *n)
{
    n->parent = parent;
    if (parent->last == NULL) {
        parent->first = n;
    } else {
        parent->last->next = n;
    }
    parent->last = n;
    parent->n_children++;
}

struct node *node_new(struct node *parent,
                      const char *name,
                      enum node_kind kind,
                      const char *file,
                      unsigned line)
{
    struct node *n;
    if (parent == NULL) {
        struct node_root *root = mem_new(sizeof *root);
        n = &root->node;
    } else {
        CHECK(parent->kind == NODE_GROUP || parent->kind == NODE_LIST);
        n = mem_new(sizeof *n);
        node_append(parent, n);
    }
    n->kind = kind;
    n->name = name == NULL ? NULL : mem_copy_text(name, strlen(name));
    n->file = node_file_keep(parent == NULL ? n : parent, file);
    n->line = line;
    return n;
}

void node_set_text(struct node *n, struct str text)
{
    mem_free(n->text);
    n->text = mem_copy_text(text.p == NULL ? "" : text.p, text.len);
}

void node_free(struct node *root)
{
    if (root == NULL) {
        return;
    }
    struct node *next;
    for (struct node *n = root->first; n != NULL; n = next) {
        next = n->next;
        node_free(n);
    }
    if (root->parent == NULL) {
        struct node_root *r = (struct node_root *)root;
        for (size_t i = 0; i < r->n_files; i++) {
            mem_free(r->files[i]);
        }
        mem_free(r->files);
    }
    mem_free(root->name);
    mem_free(root->text);
    mem_free(root);
}

static size_t node_index(const struct node *n)
{
    size_t i = 0;
    for (const struct node *m = n->parent->first; m != n; m = m->next) {
        i++;
    }
    return i;
}

/* Writes at `dst + len` as far as there is room; returns the new length. */
static size_t node_path_add(const struct node *n, char *dst, size_t size)
{
    if (n == NULL || n->parent == NULL) {
        return 0;
    }
    size_t len = node_path_add(n->parent, dst, size);
    int added;
    if (len >= size) {
        return len;
    }
    if (n->name == NULL) {
        added = snprintf(dst + len, size - len, "[%zu]", node_index(n));
    } else {
        added = snprintf(dst + len, size - len, "%s%s", len > 0 ? "." : "",
                         n->name);
    }
    return added < 0 ? len : len + (size_t)added;
}

const char *node_path(const struct node *n, char *dst, size_t size)
{
    CHECK(size > 0);
    dst[0] = '\0';
    node_path_add(n, dst, size);
    return dst;
}

bool node_problem(const struct node *n,
                  struct error *err,
                  const char *format,
                  ...)
{
    char text[NODE_PROBLEM_MAX];
    char path[NODE_PATH_MAX];
    char line[32] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    node_path(n, path, sizeof path);
    /* Trees are made of nodes that may change; most users only read them. */
    ((struct node *)(uintptr_t)n)->is_wrong = true;
    if (n->file != NULL && n->line > 0) {
        snprintf(line, sizeof line, ":%u", n->line);
    }
    return error_add(err, "%s%s%s%s%s%s", n->file == NULL ? "" : n->file, line,
                     n->file == NULL ? "" : ": ", path,
                     path[0] == '\0' ? "" : ": ", text);
}

bool node_explain(const struct node *n, struct error *err, struct error *from)
{
    struct str rest = str_from(error_text(from));
    struct str line;
    while (str_split(&rest, '\n', &line)) {
        if (line.len > 0) {
            node_problem(n, err, "%.*s", STR_ARG(line));
        }
    }
    error_fini(from);
    return false;
}
