/*
 * privilege: giving up root after the sockets are open. The control thread
 * keeps two capabilities, to bind low ports and to read key files at a reload;
 * workers keep none. Linux; called before and at the start of threads.
 */
#ifndef DAEMUN_BASE_PRIVILEGE_H
#define DAEMUN_BASE_PRIVILEGE_H

#include "base/error.h"

/* Whether this machine has a user of that name. */
bool privilege_has_user(const char *user);
/*
 * Becomes `user` and its groups, when the process is root; does nothing
 * otherwise. False with a message when there is no such user or the system
 * refuses. The calling thread keeps CAP_NET_BIND_SERVICE and
 * CAP_DAC_READ_SEARCH.
 */
bool privilege_drop(const char *user, struct error *err);
/* Makes `user` the owner of a file, when the process is root. */
void privilege_give(const char *path, const char *user);
/* The calling thread gives up every capability, for good. */
void privilege_drop_thread(void);

#endif
