/*
 * build_filter: loads the modules that the settings list, and makes the chain
 * of filters of each route. A settings object that a module made belongs to
 * the chain, and the chain to the route, so a build that fails frees both.
 * Control thread.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "control/build.h"
#include "control/module.h"
#include "proxy/filter.h"

/* Adds "file:line: modules[i]: modules/x.so: problem". */
static void
build_explain_module(struct build *b, const struct node *n, struct error *from)
{
    struct str rest = str_from(error_text(from));
    struct str line;
    while (str_split(&rest, '\n', &line)) {
        if (line.len > 0) {
            node_problem(n, b->err, "%s: %.*s", n->text, STR_ARG(line));
        }
    }
    error_fini(from);
}

bool build_modules(struct build *b)
{
    const struct node *list = settings_child(b->root, "modules");
    bool is_ok = true;
    b->lacks_modules = !settings_is_sound(list);
    for (const struct node *n = list != NULL ? list->first : NULL; n != NULL;
         n = n->next) {
        struct error err = {0};
        char *path = settings_is_sound(n) ? settings_file(n, NULL) : NULL;
        if (path != NULL && !module_load(path, &err)) {
            build_explain_module(b, n, &err);
            b->lacks_modules = true;
            is_ok = false;
        }
        mem_free(path);
    }
    return is_ok;
}

static bool
build_unknown_filter(struct build *b, const struct node *n, struct str name)
{
    struct buf names;
    if (b->lacks_modules) {
        return false; /* it may be in a module that was not loaded */
    }
    buf_init(&names, NULL);
    module_print_filters(&names);
    const struct str offered = buf_peek(&names);
    if (offered.len == 0) {
        node_problem(n, b->err,
                     "no module offers a filter \"%.*s\": none is loaded; see "
                     "`modules`",
                     STR_ARG(name));
    } else {
        node_problem(n, b->err,
                     "no module offers a filter \"%.*s\"; there are: %.*s",
                     STR_ARG(name), STR_ARG(offered));
    }
    buf_fini(&names);
    return false;
}

/* The settings object of one use. NULL is right when the filter has none. */
static bool build_filter_conf(struct build *b,
                              const struct node *n,
                              const struct filter *f,
                              void **conf)
{
    const struct node *settings = settings_child(n, "settings");
    const size_t n_problems = b->err->n_problems;
    *conf = NULL;
    if (f->conf_new == NULL) {
        return settings == NULL || settings->first == NULL ||
               node_problem(settings, b->err, "filter \"%s\" has no settings",
                            f->name);
    }
    *conf = f->conf_new(settings, b->err);
    if (*conf == NULL && b->err->n_problems == n_problems) {
        node_problem(n, b->err,
                     "filter \"%s\" refuses its settings and gives no reason",
                     f->name);
    }
    return *conf != NULL;
}

static bool
build_filter(struct build *b, const struct node *n, struct filter_chain *chain)
{
    void *conf;
    const struct str name = settings_text(n, "name");
    const struct filter *f = module_find_filter(name);
    if (f == NULL) {
        return build_unknown_filter(b, n, name);
    }
    if (!build_filter_conf(b, n, f, &conf)) {
        return false;
    }
    filter_chain_add(chain, f, conf);
    return true;
}

bool build_filters(struct build *b, const struct node *n, struct route *r)
{
    const struct node *list = settings_child(n, "filters");
    bool is_ok = true;
    if (list == NULL || list->first == NULL) {
        return true;
    }
    /* Freed with the route, also when this build fails. */
    r->filters = filter_chain_new(list->n_children, b->world->n_workers);
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        is_ok = settings_is_sound(m) && build_filter(b, m, r->filters) && is_ok;
    }
    return is_ok;
}
