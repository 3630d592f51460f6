/*
 * folder: see folder.h. Nothing is kept. What is found out may be otherwise a
 * moment later, so whoever opens the file afterwards looks at that result too.
 */
#include "control/folder.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return mem_copy_text(".", 1);
    }
    return mem_copy_text(path, slash == path ? 1 : (size_t)(slash - path));
}

bool folder_is_writable(const char *folder)
{
    return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0;
}

int folder_try_file(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            return EISDIR;
        }
        return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 ? 0 : errno;
    }
    if (errno != ENOENT) {
        return errno;
    }
    char *folder = folder_of(path);
    const int problem = folder_is_writable(folder) ? 0 : errno;
    mem_free(folder);
    return problem;
}
