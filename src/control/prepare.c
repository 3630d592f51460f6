/*
 * prepare: see prepare.h. Invariant: until prepare_commit nothing outside of
 * struct prepare has changed, but for log files that prepare_open made.
 */
#include "control/prepare.h"

#include "base/log_file.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "control/logs.h"
#include "control/pid_file.h"
#include "net/resolve.h"
#include "net/tls.h"

#include <unistd.h>

const char *prepare_user(const struct node *root)
{
    /* The default is a literal, what is written belongs to the tree. */
    return settings_text(root, "user").p;
}

/* The default counts only where it will be used. */
static bool prepare_check_user(const struct node *root, struct error *err)
{
    const struct node *n = settings_child(root, "user");
    if (!settings_is_sound(n) || (n == NULL && geteuid() != 0) ||
        privilege_has_user(prepare_user(root))) {
        return true;
    }
    return node_problem(n != NULL ? n : root, err,
                        "there is no user \"%s\" on this machine; make it "
                        "(useradd -r %s), or name another one",
                        prepare_user(root), prepare_user(root));
}

static bool prepare_check_admin(const struct node *root, struct error *err)
{
    struct addr addrs[RESOLVE_N_MAX];
    struct error detail = {0};
    const struct node *n =
        settings_sound_child(settings_child(root, "admin"), "address");
    if (n == NULL || str_eq(settings_text(n, NULL), STR("off")) ||
        resolve(settings_text(n, NULL), addrs, &detail) > 0) {
        error_fini(&detail);
        return true;
    }
    return node_explain(n, err, &detail);
}

static bool prepare_load_tickets(struct prepare *p,
                                 const struct node *root,
                                 struct error *err)
{
    const struct node *n =
        settings_sound_child(settings_child(root, "tls"), "ticket_key_file");
    struct error detail = {0};
    if (n == NULL) {
        return true;
    }
    char *path = settings_file(n, NULL);
    p->tickets = tls_tickets_new();
    const bool is_ok = tls_tickets_load(p->tickets, path, &detail) ||
                       node_explain(n, err, &detail);
    mem_free(path);
    return is_ok;
}

bool prepare_check(struct prepare *p,
                   const struct node *root,
                   struct error *err)
{
    bool is_ok = prepare_check_user(root, err);
    is_ok = prepare_check_admin(root, err) && is_ok;
    is_ok = logs_check(root, p->live, p->user, err) && is_ok;
    is_ok = prepare_load_tickets(p, root, err) && is_ok;
    /* A reload leaves it alone, and could not make it any more. */
    return (p->live != NULL || pid_file_check(root, err)) && is_ok;
}

bool prepare_open(struct prepare *p, const struct node *root, struct error *err)
{
    return logs_open(root, p->live, p->files, err);
}

bool prepare_commit(struct prepare *p,
                    const struct node *root,
                    struct tls_tickets *tickets,
                    struct error *err)
{
    const bool is_ok = log_use(p->files, logs_level(root), err);
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        p->files[i] = NULL;
    }
    if (p->tickets != NULL) {
        tls_tickets_copy(tickets, p->tickets);
    }
    return is_ok;
}

void prepare_fini(struct prepare *p)
{
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        log_file_free(p->files[i]);
        p->files[i] = NULL;
    }
    tls_tickets_free(p->tickets);
    p->tickets = NULL;
}
