/*
 * log_file: writing that copes with what files do: short writes, a full disk,
 * a pipe whose reader has stopped or gone. Used on the writer thread, which
 * blocks all signals, so that a broken pipe is an error number.
 * Invariants: each line ends in a newline in the block; after a line that was
 * cut by an error the next one that is written starts on a line of its own;
 * n_lost counts each line of which the file did not get all.
 */
#include "base/log_file.h"

#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG_FILE_STALL_MS = 1000,  /* how long a pipe may take nothing */
    LOG_FILE_PIPE_BYTES = 4096 /* what a pipe takes when it is ready */
};

void log_file_free(struct log_file *f)
{
    if (f == NULL) {
        return;
    }
    if (f->is_ours) {
        close(f->fd);
    }
    mem_free(f);
}

static int log_file_open(const char *path)
{
    /* O_NONBLOCK: a named pipe without a reader is refused, not waited for. */
    return open(
        path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
        0640);
}

static void log_file_set_fd(struct log_file *f, int fd)
{
    struct stat st;
    f->fd = fd;
    f->is_regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

struct log_file *
log_file_new(enum log_target target, const char *path, struct error *err)
{
    int fd = -1;
    bool is_ours = false;
    if (strcmp(path, "-") == 0) {
        fd = target == LOG_TO_ERROR ? STDERR_FILENO : STDOUT_FILENO;
    } else if (strcmp(path, "off") != 0) {
        fd = log_file_open(path);
        is_ours = true;
    }
    if (is_ours && fd < 0) {
        error_add(err,
                  "%s: cannot be opened for writing: %s; make its folder, "
                  "or name another file",
                  path, strerror(errno));
        return NULL;
    }
    struct log_file *f = mem_new(sizeof *f);
    f->is_ours = is_ours;
    log_file_set_fd(f, fd);
    return f;
}

/*
 * Pipes and terminals are waited for up to a time, so that a reader who has
 * stopped costs lines but never the end of the process.
 */
static bool log_file_wait(struct log_file *f)
{
    struct pollfd ready = {.fd = f->fd, .events = POLLOUT};
    if (!f->is_regular) {
        f->is_stalled =
            poll(&ready, 1, f->is_stalled ? 0 : LOG_FILE_STALL_MS) == 0;
    }
    return !f->is_stalled;
}

/* Writes some of it; how much, or -1 when the file takes nothing. */
static ssize_t log_file_write(struct log_file *f, const char *p, size_t len)
{
    ssize_t n = 0;
    if (!f->is_regular && len > LOG_FILE_PIPE_BYTES) {
        len = LOG_FILE_PIPE_BYTES;
    }
    do {
        if (!log_file_wait(f)) {
            return -1;
        }
        n = write(f->fd, p, len);
    } while (n < 0 && (errno == EINTR || (errno == EAGAIN && !f->is_regular)));
    return n > 0 ? n : -1;
}

static uint64_t log_file_count_lines(const char *p, size_t len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += p[i] == '\n' ? 1 : 0;
    }
    return n;
}

void log_file_flush(struct log_file *f)
{
    size_t at = 0;
    while (at < f->len && f->fd >= 0) {
        const ssize_t n = log_file_write(f, f->bytes + at, f->len - at);
        if (n < 0) {
            f->n_lost += log_file_count_lines(f->bytes + at, f->len - at);
            if (at == 0 && f->is_mid_line) {
                f->n_lost--; /* the newline that was to end the cut line */
            }
            break;
        }
        at += (size_t)n;
    }
    if (at > 0) {
        f->is_mid_line = f->bytes[at - 1] != '\n';
    }
    f->len = 0;
}

void log_file_add(struct log_file *f, struct str line)
{
    line = str_sub(line, 0, LOG_LINE_BYTES_MAX);
    if (f->len + line.len + 2 > sizeof f->bytes) {
        log_file_flush(f);
    }
    if (f->len == 0 && f->is_mid_line) {
        f->bytes[f->len++] = '\n';
    }
    if (line.len > 0) {
        memcpy(f->bytes + f->len, line.p, line.len);
    }
    f->len += line.len;
    f->bytes[f->len++] = '\n';
}
