/*
 * module_conf: the functions of include/daemun/conf.h, by which a module reads
 * its settings: a view of the settings tree below a row of kind ANY, where
 * only the module knows what is right. Control thread; nothing is owned here.
 */
#include "base/mem.h"
#include "control/settings.h"

#include <daemun/conf.h>
#include <stdarg.h>
#include <stdio.h>

enum { MODULE_CONF_PROBLEM_MAX = 1024, MODULE_CONF_TYPO_MAX = 2 };

_Static_assert((int)DM_CONF_GROUP == (int)NODE_GROUP &&
                   (int)DM_CONF_LIST == (int)NODE_LIST &&
                   (int)DM_CONF_TEXT == (int)NODE_TEXT &&
                   (int)DM_CONF_NUMBER == (int)NODE_NUMBER &&
                   (int)DM_CONF_FLAG == (int)NODE_FLAG &&
                   (int)DM_CONF_FLOAT == (int)NODE_FLOAT,
               "the kinds of modules are ours");

enum dm_conf_kind dm_conf_kind(const struct node *n)
{
    return (enum dm_conf_kind)n->kind;
}

const struct node *dm_conf_child(const struct node *n, const char *key)
{
    return settings_child(n, key);
}

const struct node *dm_conf_first(const struct node *n)
{
    return n != NULL ? n->first : NULL;
}

const struct node *dm_conf_next(const struct node *n)
{
    return n->next;
}

struct str dm_conf_name(const struct node *n)
{
    return str_from(n->name);
}

bool dm_conf_problem(const struct node *n,
                     struct error *err,
                     const char *format,
                     ...)
{
    char text[MODULE_CONF_PROBLEM_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return n != NULL ? node_problem(n, err, "%s", text)
                     : error_add(err, "%s", text);
}

/* The value of `key`, NULL when it is not given. False: of another kind. */
static bool module_conf_find(const struct node *n,
                             const char *key,
                             enum node_kind kind,
                             const char *what,
                             const struct node **value,
                             struct error *err)
{
    *value = settings_child(n, key);
    if (*value == NULL || (*value)->kind == kind) {
        return true;
    }
    return node_problem(*value, err, "must be %s", what);
}

bool dm_conf_text(const struct node *n,
                  const char *key,
                  struct str *value,
                  struct error *err)
{
    const struct node *m;
    if (!module_conf_find(n, key, NODE_TEXT, "a text in quotes", &m, err)) {
        return false;
    }
    if (m != NULL) {
        *value = str_from(m->text);
    }
    return true;
}

bool dm_conf_number(const struct node *n,
                    const char *key,
                    int64_t min,
                    int64_t max,
                    int64_t *value,
                    struct error *err)
{
    const struct node *m;
    if (!module_conf_find(n, key, NODE_NUMBER, "a whole number", &m, err)) {
        return false;
    }
    if (m != NULL && (m->number < min || m->number > max)) {
        return node_problem(m, err, "must be from %lld to %lld", (long long)min,
                            (long long)max);
    }
    if (m != NULL) {
        *value = m->number;
    }
    return true;
}

bool dm_conf_flag(const struct node *n,
                  const char *key,
                  bool *value,
                  struct error *err)
{
    const struct node *m;
    if (!module_conf_find(n, key, NODE_FLAG, "true or false", &m, err)) {
        return false;
    }
    if (m != NULL) {
        *value = m->flag;
    }
    return true;
}

bool dm_conf_file(const struct node *n,
                  const char *key,
                  char **value,
                  struct error *err)
{
    const struct node *m;
    if (!module_conf_find(n, key, NODE_TEXT, "the name of a file", &m, err)) {
        return false;
    }
    if (m != NULL) {
        char *file = settings_file(m, NULL);
        if (file == NULL) {
            return node_problem(m, err, "must be the name of a file");
        }
        *value = file;
    }
    return true;
}

bool dm_conf_list(const struct node *n,
                  const char *key,
                  const struct node **value,
                  struct error *err)
{
    const struct node *m;
    if (!module_conf_find(n, key, NODE_LIST, "a list", &m, err)) {
        return false;
    }
    if (m != NULL) {
        *value = m;
    }
    return true;
}

/* The known name that is nearest to a wrong one; NULL when none is near. */
static const char *module_conf_guess(struct str name, const char *const *known)
{
    const char *best = NULL;
    unsigned best_distance = MODULE_CONF_TYPO_MAX + 1;
    for (; *known != NULL; known++) {
        const unsigned distance =
            str_distance(name, str_from(*known), MODULE_CONF_TYPO_MAX);
        if (distance < best_distance) {
            best_distance = distance;
            best = *known;
        }
    }
    return best;
}

static bool module_conf_is_known(struct str name, const char *const *known)
{
    for (; *known != NULL; known++) {
        if (str_eq(name, str_from(*known))) {
            return true;
        }
    }
    return false;
}

bool dm_conf_known(const struct node *n,
                   const char *const *known,
                   struct error *err)
{
    bool is_ok = true;
    for (const struct node *m = dm_conf_first(n); m != NULL; m = m->next) {
        const struct str name = str_from(m->name);
        if (m->name == NULL || module_conf_is_known(name, known)) {
            continue;
        }
        const char *guess = module_conf_guess(name, known);
        is_ok = guess != NULL ? node_problem(m, err,
                                             "unknown key; did you mean "
                                             "\"%s\"?",
                                             guess)
                              : node_problem(m, err, "unknown key");
    }
    return is_ok;
}
