/*
 * file: see fuzz_file in fuzz.h.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct fuzz_file fuzz_file_open(struct str bytes)
{
    struct fuzz_file f = {.fd = memfd_create("fuzz", MFD_CLOEXEC)};
    CHECK(f.fd >= 0);
    CHECK(write(f.fd, bytes.p, bytes.len) == (ssize_t)bytes.len);
    snprintf(f.path, sizeof(f.path), "/proc/self/fd/%d", f.fd);
    return f;
}

void fuzz_file_close(struct fuzz_file *f)
{
    close(f->fd);
    f->fd = -1;
}
