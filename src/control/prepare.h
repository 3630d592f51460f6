/*
 * prepare: what a start or a reload puts in place beside the snapshot: log
 * files and ticket keys. In two phases: everything is looked at and opened
 * first, with every problem told and nothing changed; putting it in place then
 * cannot fail. Control thread.
 */
#ifndef DAEMUN_CONTROL_PREPARE_H
#define DAEMUN_CONTROL_PREPARE_H

#include "base/log.h"
#include "control/settings.h"

struct log_file;
struct tls_tickets;

struct prepare {
    const struct node *live; /* what a reload would replace; else NULL */
    const char *user;        /* whom we became; NULL: root was not given up */
    struct log_file *files[LOG_N_TARGETS]; /* NULL: stays as it is */
    struct tls_tickets *tickets;           /* NULL: the keys stay */
};

/* The name of the user to become: never NULL. */
const char *prepare_user(const struct node *root);
/*
 * Looks at what the settings want of the machine: the user, files and folders
 * that are written, the admin address, the ticket keys (which it reads). The
 * tree may have problems: then at what is sound of it.
 */
bool prepare_check(struct prepare *p,
                   const struct node *root,
                   struct error *err);
/* Opens the log files. */
bool prepare_open(struct prepare *p,
                  const struct node *root,
                  struct error *err);
/* False when the writer thread of the logs cannot be started, at the start. */
bool prepare_commit(struct prepare *p,
                    const struct node *root,
                    struct tls_tickets *tickets,
                    struct error *err);
/* Frees what was not put in place. */
void prepare_fini(struct prepare *p);

#endif
