/*
 * fd_reserve: see fd_reserve.h.
 */
#include "net/fd_reserve.h"

#include <limits.h>

enum { FD_RESERVE_N = 64 };

static int fd_reserve_first = INT_MAX;

void fd_reserve_init(uint64_t n_fds)
{
    const uint64_t n = n_fds / 4 < FD_RESERVE_N ? n_fds / 4 : FD_RESERVE_N;
    fd_reserve_first = n_fds - n < INT_MAX ? (int)(n_fds - n) : INT_MAX;
}

bool fd_reserve_has(int fd)
{
    return fd >= fd_reserve_first;
}
