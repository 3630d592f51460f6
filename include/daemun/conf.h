/*
 * conf: the settings of a filter, as the operator wrote them: the group
 * `settings` of the filter in the conf file. Control thread, within conf_new
 * only: the tree does not outlive that call, so copy what you keep.
 *
 * Every function that can fail adds lines "file:line: path: problem" to `err`
 * and returns false. Read everything before you give up, so that the operator
 * sees all problems at once:
 *
 *   bool is_ok = dm_conf_known(n, (const char *const[]){"limit", NULL}, err);
 *   is_ok = dm_conf_number(n, "limit", 1, 100, &c->limit, err) && is_ok;
 */
#ifndef DAEMUN_CONF_H
#define DAEMUN_CONF_H

#include <daemun/api.h>
#include <daemun/str.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;  /* one value of the settings: a group, a list, a text, ... */
struct error; /* problems, gathered for the operator */

enum dm_conf_kind {
    DM_CONF_GROUP,  /* { a = 1; } */
    DM_CONF_LIST,   /* ( ... ) or [ ... ] */
    DM_CONF_TEXT,   /* "..." */
    DM_CONF_NUMBER, /* 1 */
    DM_CONF_FLAG,   /* true */
    DM_CONF_FLOAT,  /* 1.5 */
};

/* The kind of a value. */
DM_API enum dm_conf_kind dm_conf_kind(const struct node *n);
/* The member `key` of a group; NULL when it is not there. `n` may be NULL. */
DM_API const struct node *dm_conf_child(const struct node *n, const char *key);
/* The first member of a group or list; NULL when it is empty. `n` may be
 * NULL. */
DM_API const struct node *dm_conf_first(const struct node *n);
/* The member after `n`; NULL at the end. */
DM_API const struct node *dm_conf_next(const struct node *n);
/* The name of a member of a group; p NULL in a list. */
DM_API struct str dm_conf_name(const struct node *n);

/*
 * The four below read the member `key` of group `n`, or `n` itself when `key`
 * is NULL. What is not given (also: `n` is NULL) leaves `*value` alone, so put
 * the default there first. False when it is of another kind or out of range.
 */

/* A text. It lies in the tree: copy it. */
DM_API bool dm_conf_text(const struct node *n,
                         const char *key,
                         struct str *value,
                         struct error *err);
/* A whole number from `min` to `max`. */
DM_API bool dm_conf_number(const struct node *n,
                           const char *key,
                           int64_t min,
                           int64_t max,
                           int64_t *value,
                           struct error *err);
/* true or false. */
DM_API bool dm_conf_flag(const struct node *n,
                         const char *key,
                         bool *value,
                         struct error *err);
/* The name of a file, made absolute from the folder of the conf file. Yours:
 * dm_mem_free. */
DM_API bool dm_conf_file(const struct node *n,
                         const char *key,
                         char **value,
                         struct error *err);

/*
 * A list: `*value` becomes the member `key`, for dm_conf_first; it stays as it
 * is when there is no such member. False when it is no list.
 */
DM_API bool dm_conf_list(const struct node *n,
                         const char *key,
                         const struct node **value,
                         struct error *err);
/*
 * Complains about each member of group `n` whose name is not in `known` (ends
 * in NULL), with a suggestion: so a misspelt key is never a silent default.
 */
DM_API bool dm_conf_known(const struct node *n,
                          const char *const *known,
                          struct error *err);
/* Adds "file:line: path: problem" for the value `n`, or the bare problem when
 * `n` is NULL. Always returns false, so `return dm_conf_problem(...)`. */
DM_API bool dm_conf_problem(const struct node *n,
                            struct error *err,
                            const char *format,
                            ...) __attribute__((format(printf, 3, 4)));

#endif
