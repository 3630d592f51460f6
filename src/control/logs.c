/*
 * logs: see logs.h. Control thread; nothing is kept here.
 */
#include "control/logs.h"

#include "base/log_file.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "control/folder.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static const char *const logs_keys[LOG_N_TARGETS] = {
    [LOG_TO_ERROR] = "error",
    [LOG_TO_ACCESS] = "access",
};

/* A file's path made absolute; "-" and "off" as they are. */
static char *logs_path(const struct node *root, size_t target)
{
    const struct node *log = settings_child(root, "log");
    const struct str text = settings_text(log, logs_keys[target]);
    if (str_eq(text, STR("-")) || str_eq(text, STR("off"))) {
        return mem_copy_text(text.p, text.len);
    }
    return settings_file(log, logs_keys[target]);
}

/* What a problem is told of. */
static const struct node *logs_node(const struct node *root, size_t target)
{
    const struct node *log = settings_child(root, "log");
    const struct node *n = settings_child(log, logs_keys[target]);
    return n != NULL ? n : log;
}

/* The path when it is not the one that is open already; NULL otherwise, and
 * when it is no path at all. */
static char *logs_changed_path(const struct node *root,
                               const struct node *live,
                               size_t target)
{
    const struct node *log = settings_child(root, "log");
    if (log == NULL || log->kind != NODE_GROUP ||
        settings_sound_child(log, logs_keys[target]) !=
            settings_child(log, logs_keys[target])) {
        return NULL;
    }
    char *path = logs_path(root, target);
    if (live != NULL) {
        char *before = logs_path(live, target);
        if (strcmp(path, before) == 0) {
            mem_free(path);
            path = NULL;
        }
        mem_free(before);
    }
    return path;
}

static bool logs_problem(const struct node *n,
                         const char *path,
                         int problem,
                         const char *user,
                         struct error *err)
{
    char mend[256 + 4096];
    struct stat st;
    const bool is_refused = problem == EACCES || problem == EPERM;
    if (is_refused && user != NULL) {
        snprintf(mend, sizeof(mend),
                 stat(path, &st) == 0
                     ? "give it to the user: chown %s %s"
                     : "create it for the user first: install -o %s -m 640 "
                       "/dev/null %s",
                 user, path);
    } else if (problem == ENOENT || problem == ENOTDIR) {
        snprintf(mend, sizeof(mend), "make its folder, or name another file");
    } else if (problem == EISDIR) {
        snprintf(mend, sizeof(mend), "name a file in it");
    } else {
        snprintf(mend, sizeof(mend), "name a file that may be written");
    }
    errno = problem;
    return node_problem(n, err, "%s: cannot be opened for writing: %m; %s",
                        path, mend);
}

/* Whether the file could be opened. */
static bool logs_try(const struct node *n,
                     const char *path,
                     const char *user,
                     struct error *err)
{
    const int problem = path[0] == '/' ? folder_try_file(path) : 0;
    return problem == 0 || logs_problem(n, path, problem, user, err);
}

bool logs_check(const struct node *root,
                const struct node *live,
                const char *user,
                struct error *err)
{
    bool is_ok = true;
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        char *path = logs_changed_path(root, live, i);
        if (path != NULL) {
            is_ok = logs_try(logs_node(root, i), path, user, err) && is_ok;
        }
        mem_free(path);
    }
    return is_ok;
}

bool logs_open(const struct node *root,
               const struct node *live,
               struct log_file *files[static LOG_N_TARGETS],
               struct error *err)
{
    bool is_ok = true;
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        struct error detail = {0};
        char *path = logs_changed_path(root, live, i);
        files[i] = path == NULL
                       ? NULL
                       : log_file_new((enum log_target)i, path, &detail);
        if (path != NULL && files[i] == NULL) {
            is_ok = node_explain(logs_node(root, i), err, &detail);
        }
        mem_free(path);
    }
    for (size_t i = 0; i < LOG_N_TARGETS && !is_ok; i++) {
        log_file_free(files[i]);
        files[i] = NULL;
    }
    return is_ok;
}

enum log_level logs_level(const struct node *root)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    const struct str level =
        settings_text(settings_child(root, "log"), "level");
    for (unsigned i = 0; i < 4; i++) {
        if (str_eq(level, str_from(words[i]))) {
            return (enum log_level)i;
        }
    }
    return LOG_INFO;
}

void logs_tell(struct error *err)
{
    struct str rest = str_from(error_text(err));
    struct str line;
    while (str_split(&rest, '\n', &line)) {
        if (line.len > 0) {
            log_text(LOG_ERROR, "%.*s", STR_ARG(line));
        }
    }
    error_fini(err);
}

/* One file opened anew; NULL when it cannot be, and for what is no file. */
static struct log_file *logs_reopen_one(const struct node *root,
                                        size_t target,
                                        const char *user,
                                        struct error *err)
{
    const struct node *n = logs_node(root, target);
    struct error detail = {0};
    struct log_file *f = NULL;
    char *path = logs_path(root, target);
    if (path[0] == '/' && logs_try(n, path, user, err)) {
        f = log_file_new((enum log_target)target, path, &detail);
        if (f == NULL) {
            node_explain(n, err, &detail);
        }
    }
    mem_free(path);
    return f;
}

void logs_reopen(const struct node *root, const char *user)
{
    struct log_file *files[LOG_N_TARGETS];
    struct error err = {0};
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        files[i] = logs_reopen_one(root, i, user, &err);
    }
    log_use(files, logs_level(root), &err);
    if (err.n_problems > 0) {
        logs_tell(&err);
        log_text(LOG_ERROR, "the log file that was open goes on being "
                            "written; send SIGUSR1 again");
    }
}

void logs_give(const struct node *root, const char *user)
{
    struct stat st;
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        char *path = logs_path(root, i);
        if (path[0] == '/' && lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            privilege_give(path, user);
        }
        mem_free(path);
    }
}

static void logs_warn_one(const struct node *n,
                          const char *path,
                          const char *folder,
                          const char *user)
{
    char where[512];
    log_text(LOG_WARN,
             "%s:%u: %s: the user %s cannot make files in %s, so that after a "
             "rotation (SIGUSR1) %s cannot be opened again; run `chown %s "
             "%s`, or let logrotate make the file (create 0640 %s)",
             n->file, n->line, node_path(n, where, sizeof(where)), user, folder,
             path, user, folder, user);
}

void logs_warn(const struct node *root, const char *user)
{
    char *told = NULL;
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        struct stat st;
        char *path = logs_path(root, i);
        char *folder = folder_of(path);
        if (path[0] == '/' && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
            !folder_is_writable(folder) &&
            (told == NULL || strcmp(told, folder) != 0)) {
            logs_warn_one(logs_node(root, i), path, folder, user);
            mem_free(told);
            told = mem_copy_text(folder, strlen(folder));
        }
        mem_free(folder);
        mem_free(path);
    }
    mem_free(told);
}
