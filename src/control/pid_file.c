/*
 * pid_file: see pid_file.h. The descriptor stays open: once root was given up
 * the file itself can be written by it still, its folder perhaps not.
 */
#include "control/pid_file.h"

#include "base/log.h"
#include "base/mem.h"
#include "control/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool pid_file_problem(const struct node *root,
                             const char *path,
                             int problem,
                             struct error *err)
{
    errno = problem;
    return node_problem(settings_child(root, "pid_file"), err,
                        "%s: cannot be written: %m; %s", path,
                        problem == ENOENT || problem == ENOTDIR
                            ? "make its folder, or name another file"
                            : "name a file that may be written");
}

bool pid_file_check(const struct node *root, struct error *err)
{
    const struct node *n = settings_sound_child(root, "pid_file");
    bool is_ok = true;
    if (n != NULL) {
        char *path = settings_file(n, NULL);
        const int problem = folder_try_file(path);
        is_ok = problem == 0 || pid_file_problem(root, path, problem, err);
        mem_free(path);
    }
    return is_ok;
}

/* 0, or why the number is not in the file. */
static int pid_file_write(int fd)
{
    char text[32];
    const int len = snprintf(text, sizeof(text), "%d\n", getpid());
    const ssize_t n = write(fd, text, (size_t)len);
    if (n == len) {
        return 0;
    }
    return n < 0 ? errno : ENOSPC;
}

bool pid_file_open(struct pid_file *p,
                   const struct node *root,
                   struct error *err)
{
    char *path = settings_file(root, "pid_file");
    p->path = NULL;
    if (path == NULL) {
        return true;
    }
    p->fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
    int problem = p->fd < 0 ? errno : pid_file_write(p->fd);
    if (problem == 0) {
        p->path = path;
        return true;
    }
    if (p->fd >= 0) {
        unlink(path);
        close(p->fd);
    }
    pid_file_problem(root, path, problem, err);
    mem_free(path);
    return false;
}

/* Another gateway may have put its own file there meanwhile. */
static bool pid_file_is_ours(const struct pid_file *p)
{
    struct stat here;
    struct stat there;
    return fstat(p->fd, &here) == 0 && stat(p->path, &there) == 0 &&
           here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

void pid_file_close(struct pid_file *p)
{
    if (p->path == NULL) {
        return;
    }
    if (pid_file_is_ours(p) && unlink(p->path) != 0 &&
        ftruncate(p->fd, 0) != 0) {
        log_text(LOG_WARN, "%s: can neither be removed nor emptied: %m",
                 p->path);
    }
    close(p->fd);
    mem_free(p->path);
    p->path = NULL;
}
