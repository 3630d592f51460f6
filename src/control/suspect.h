/*
 * suspect: what a conf file says that is lawful, and yet surely not meant: an
 * upstream nobody uses, a route no request reaches, an upstream without an
 * endpoint that takes requests. Told as warnings with place and mending, by
 * `daemun -t`, at the start and at each reload; nothing is refused. Only what
 * is certain is told, so that nobody learns to read over it. Control thread.
 * (Certificates near their end are told where they are loaded: net/tls_cert.)
 */
#ifndef DAEMUN_CONTROL_SUSPECT_H
#define DAEMUN_CONTROL_SUSPECT_H

#include "proxy/snapshot.h"

/* Writes a line of the log for each; `snap` with its settings tree. */
void suspect_warn(const struct snapshot *snap, const struct node *root);

#endif
