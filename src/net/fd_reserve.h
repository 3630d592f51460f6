/*
 * fd_reserve: descriptors that connections must leave free, for log files,
 * certificates, reloads and the admin pages (64, or a quarter of a small
 * limit). The kernel gives the lowest free number, so a number in the reserve
 * says that all below are taken. Set once before threads start, then read by
 * all.
 */
#ifndef DAEMUN_NET_FD_RESERVE_H
#define DAEMUN_NET_FD_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

/* Main thread, at the start: `n_fds` is the limit of the process. */
void fd_reserve_init(uint64_t n_fds);
/* True when a connection must not keep this descriptor. */
bool fd_reserve_has(int fd);

#endif
