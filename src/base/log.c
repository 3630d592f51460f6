/*
 * log: the rings that exist, the thread that empties them into the files, and
 * the lines of the error log. The state is the process's. A ring's producer is
 * the thread that made it; threads that have none share one under a lock,
 * which no worker ever takes. Files belong to the writer thread: a reload
 * hands it new ones.
 *
 * Invariants: a producer never waits for the writer; a line that is lost, to a
 * full ring or by its file, is counted; what was written before log_close is
 * taken before it returns.
 */
#include "base/log.h"

#include "base/check.h"
#include "base/error.h"
#include "base/log_file.h"
#include "base/log_ring.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/privilege.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_BATCH_MS = 10, /* how long lines may gather before the next write */
    /* After this many bytes at once there is no time to let them gather. */
    LOG_BATCH_BYTES = 256 * 1024
};

struct log {
    atomic_bool is_open;
    atomic_bool is_access_on;
    atomic_int level;
    atomic_uint_least64_t n_dropped[LOG_N_TARGETS];
    _Atomic(struct log_ring *) rings;
    struct log_ring *shared;
    pthread_mutex_t shared_lock; /* producers of `shared` */
    /* What the writer thread is asked for. */
    pthread_mutex_t next_lock;
    struct log_file *next[LOG_N_TARGETS];
    atomic_bool want_close;
    atomic_bool is_idle; /* the writer sleeps until it is woken */
    int wake_fd;
    pthread_t writer;
    /* The writer thread's own. */
    struct log_file *files[LOG_N_TARGETS];
};

static struct log log_process = {
    .level = LOG_INFO,
    .shared_lock = PTHREAD_MUTEX_INITIALIZER,
    .next_lock = PTHREAD_MUTEX_INITIALIZER,
    .wake_fd = -1,
};

/* Written out digit by digit: the C library's calls for dates take a lock. */
static char *log_put_number(char *dst, uint64_t value, int n_digits)
{
    for (int i = n_digits - 1; i >= 0; i--) {
        dst[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return dst + n_digits;
}

struct log_date {
    uint64_t year;
    uint64_t month;
    uint64_t day;
};

/*
 * Days are counted from 1 March of the year 0, so that the leap day is the
 * last of its year and the lengths of months repeat every five of them.
 */
static struct log_date log_date_from_days(uint64_t unix_days)
{
    const uint64_t days = unix_days + 719468;
    const uint64_t era = days / 146097; /* 400 years */
    const uint64_t in_era = days % 146097;
    const uint64_t year =
        (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    const uint64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    const uint64_t month = (5 * in_year + 2) / 153; /* 0 is March */
    return (struct log_date){
        .year = era * 400 + year + (month >= 10 ? 1 : 0),
        .month = month < 10 ? month + 3 : month - 9,
        .day = in_year - (153 * month + 2) / 5 + 1,
    };
}

void log_time(char dst[static 25], uint64_t wall_us)
{
    const uint64_t seconds = wall_us / 1000000;
    const struct log_date date = log_date_from_days(seconds / 86400);
    const uint64_t in_day = seconds % 86400;
    char *p = log_put_number(dst, date.year, 4);
    *p++ = '-';
    p = log_put_number(p, date.month, 2);
    *p++ = '-';
    p = log_put_number(p, date.day, 2);
    *p++ = 'T';
    p = log_put_number(p, in_day / 3600, 2);
    *p++ = ':';
    p = log_put_number(p, in_day / 60 % 60, 2);
    *p++ = ':';
    p = log_put_number(p, in_day % 60, 2);
    *p++ = '.';
    p = log_put_number(p, wall_us / 1000 % 1000, 3);
    *p++ = 'Z';
    *p = '\0';
}

static void log_drop(enum log_target target, uint64_t n_lines)
{
    atomic_fetch_add_explicit(&log_process.n_dropped[target], n_lines,
                              memory_order_relaxed);
}

uint64_t log_n_dropped(enum log_target target)
{
    return atomic_load_explicit(&log_process.n_dropped[target],
                                memory_order_relaxed);
}

bool log_is_access_on(void)
{
    return atomic_load_explicit(&log_process.is_access_on,
                                memory_order_relaxed);
}

enum log_level log_level_get(void)
{
    return (enum log_level)atomic_load_explicit(&log_process.level,
                                                memory_order_relaxed);
}

/* Ends the writer's sleep, or the next one. */
static void log_wake(void)
{
    const uint64_t one = 1;
    ssize_t n = 0;
    do {
        n = write(log_process.wake_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
}

struct log_ring *log_ring_new(void)
{
    struct log_ring *ring = mem_new(sizeof *ring);
    log_ring_init(ring);
    ring->next = atomic_load(&log_process.rings);
    while (
        !atomic_compare_exchange_weak(&log_process.rings, &ring->next, ring)) {
    }
    return ring;
}

/* ---- lines ---- */

static const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {
        [LOG_ERROR] = "error",
        [LOG_WARN] = "warn",
        [LOG_INFO] = "info",
        [LOG_DEBUG] = "debug",
    };
    return names[level];
}

/* Appends text with control bytes escaped; returns the new length. */
static size_t log_escape(char *dst, size_t len, size_t len_max, struct str text)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < text.len; i++) {
        const unsigned char c = (unsigned char)text.p[i];
        const bool is_control = c < 0x20 || c == 0x7f;
        if (len + (is_control ? 4 : 1) > len_max) {
            break;
        }
        if (is_control) {
            dst[len++] = '\\';
            dst[len++] = 'x';
            dst[len++] = hex[c >> 4];
            dst[len++] = hex[c & 15];
        } else {
            dst[len++] = (char)c;
        }
    }
    return len;
}

static uint64_t log_wall_us(const struct loop *loop)
{
    struct timespec ts;
    if (loop != NULL) {
        return loop->wall_us;
    }
    CHECK(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Builds the whole line without its newline; returns its length. */
__attribute__((format(printf, 3, 0))) static size_t
log_format(char dst[static LOG_LINE_BYTES_MAX],
           enum log_level level,
           const char *format,
           va_list args)
{
    char text[LOG_LINE_BYTES_MAX];
    char time[25];
    const struct loop *loop = loop_current();
    log_time(time, log_wall_us(loop));
    const int n =
        snprintf(dst, LOG_LINE_BYTES_MAX, "%s %s %.64s: ", time,
                 log_level_name(level), loop == NULL ? "main" : loop->name);
    CHECK(n > 0 && n < LOG_LINE_BYTES_MAX);
    const int n_text = vsnprintf(text, sizeof text, format, args);
    size_t len = n_text < 0 ? 0 : strnlen(text, sizeof text - 1);
    if (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    return log_escape(dst, (size_t)n, LOG_LINE_BYTES_MAX, str_make(text, len));
}

/* Before log_open and after log_close there is only standard error. */
static void log_write_unopened(enum log_target target, struct str line)
{
    if (target != LOG_TO_ERROR) {
        log_drop(target, 1);
        return;
    }
    char bytes[LOG_LINE_BYTES_MAX + 1];
    if (line.len > 0) {
        memcpy(bytes, line.p, line.len);
    }
    bytes[line.len] = '\n';
    const ssize_t ignored = write(STDERR_FILENO, bytes, line.len + 1);
    (void)ignored;
}

void log_write(struct log_ring *ring, enum log_target target, struct str line)
{
    struct log *log = &log_process;
    bool is_put = false;
    line = str_sub(line, 0, LOG_LINE_BYTES_MAX);
    if (!atomic_load_explicit(&log->is_open, memory_order_acquire)) {
        log_write_unopened(target, line);
        return;
    }
    if (ring != NULL) {
        is_put = log_ring_put(ring, target, line);
    } else {
        pthread_mutex_lock(&log->shared_lock);
        is_put = log_ring_put(log->shared, target, line);
        pthread_mutex_unlock(&log->shared_lock);
    }
    if (!is_put) {
        log_drop(target, 1);
    } else if (atomic_load(&log->is_idle) &&
               atomic_exchange(&log->is_idle, false)) {
        log_wake();
    }
}

void log_text(enum log_level level, const char *format, ...)
{
    char line[LOG_LINE_BYTES_MAX];
    const struct loop *loop = loop_current();
    if (level > log_level_get()) {
        return;
    }
    va_list args;
    va_start(args, format);
    const size_t len = log_format(line, level, format, args);
    va_end(args);
    log_write(loop == NULL ? NULL : loop->log, LOG_TO_ERROR,
              str_make(line, len));
}

/* ---- the writer thread ---- */

/* Takes what is in the ring at the moment; returns how many bytes that was. */
static size_t log_writer_drain(struct log *log, struct log_ring *ring)
{
    const size_t n_bytes = log_ring_len(ring);
    enum log_target target;
    struct str line;
    size_t n_done = 0;
    while (n_done < n_bytes && log_ring_peek(ring, &target, &line)) {
        log_file_add(log->files[target], line);
        n_done += log_ring_drop(ring);
    }
    return n_bytes;
}

static size_t log_writer_drain_all(struct log *log)
{
    size_t n_bytes = 0;
    struct log_ring *ring = atomic_load(&log->rings);
    while (ring != NULL) {
        n_bytes += log_writer_drain(log, ring);
        ring = ring->next;
    }
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        struct log_file *f = log->files[i];
        log_file_flush(f);
        if (f->n_lost > 0) {
            log_drop((enum log_target)i, f->n_lost);
            f->n_lost = 0;
        }
    }
    return n_bytes;
}

/* Takes over the files that a reload has opened. */
static void log_writer_switch(struct log *log)
{
    struct log_file *next[LOG_N_TARGETS];
    pthread_mutex_lock(&log->next_lock);
    memcpy(next, log->next, sizeof next);
    memset(log->next, 0, sizeof log->next);
    pthread_mutex_unlock(&log->next_lock);
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        if (next[i] != NULL) {
            log_file_free(log->files[i]);
            log->files[i] = next[i];
        }
    }
}

static bool log_writer_has_lines(struct log *log)
{
    struct log_ring *ring = atomic_load(&log->rings);
    while (ring != NULL) {
        if (log_ring_len(ring) > 0) {
            return true;
        }
        ring = ring->next;
    }
    return false;
}

/*
 * After some lines, more are likely: they gather for a moment, and producers
 * do not make the system call that wakes us. After none, sleeps until woken.
 */
static void log_writer_wait(struct log *log, size_t n_bytes)
{
    struct pollfd wake = {.fd = log->wake_fd, .events = POLLIN};
    uint64_t ignored = 0;
    if (n_bytes >= LOG_BATCH_BYTES) {
        return;
    }
    if (n_bytes > 0) {
        poll(&wake, 1, LOG_BATCH_MS);
    } else {
        atomic_store(&log->is_idle, true);
        if (!log_writer_has_lines(log)) {
            poll(&wake, 1, -1);
        }
        atomic_store(&log->is_idle, false);
    }
    if (read(log->wake_fd, &ignored, sizeof ignored) < 0) {
        CHECK(errno == EAGAIN || errno == EINTR);
    }
}

static void *log_writer_main(void *arg)
{
    struct log *log = arg;
    bool is_last = false;
    /* Started as root it has none after privilege_drop, and until then opens
     * files as root; who was given some to begin with keeps none here. */
    if (geteuid() != 0) {
        privilege_drop_thread();
    }
    while (!is_last) {
        /* Read first: lines written before log_close are then seen below. */
        is_last = atomic_load(&log->want_close);
        const size_t n_bytes = log_writer_drain_all(log);
        log_writer_switch(log);
        if (!is_last) {
            log_writer_wait(log, n_bytes);
        }
    }
    return NULL;
}

/* ---- opening and closing ---- */

/* The writer takes no signal: control reads them all. */
static bool log_writer_start(struct log *log, struct error *err)
{
    sigset_t all;
    sigset_t before;
    log->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (log->wake_fd < 0) {
        return error_add(err, "log: cannot make an eventfd: %s",
                         strerror(errno));
    }
    log->shared = log_ring_new();
    atomic_store(&log->want_close, false);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int problem =
        pthread_create(&log->writer, NULL, log_writer_main, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (problem != 0) {
        close(log->wake_fd);
        return error_add(err, "log: cannot start the writer thread: %s",
                         strerror(problem));
    }
    return true;
}

/* Puts the files where the writer finds them; frees those it never took. */
static void log_offer_files(struct log *log,
                            struct log_file *files[static LOG_N_TARGETS])
{
    pthread_mutex_lock(&log->next_lock);
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        if (files[i] != NULL) {
            log_file_free(log->next[i]);
            log->next[i] = files[i];
        }
    }
    pthread_mutex_unlock(&log->next_lock);
}

static void log_free_files(struct log_file *files[static LOG_N_TARGETS])
{
    for (size_t i = 0; i < LOG_N_TARGETS; i++) {
        log_file_free(files[i]);
        files[i] = NULL;
    }
}

bool log_use(struct log_file *files[static LOG_N_TARGETS],
             enum log_level level,
             struct error *err)
{
    struct log *log = &log_process;
    const struct log_file *access = files[LOG_TO_ACCESS];
    const bool has_access = access != NULL && access->fd >= 0;
    const bool is_running = atomic_load(&log->is_open);
    if (is_running) {
        log_offer_files(log, files);
        log_wake();
    } else {
        CHECK(files[LOG_TO_ERROR] != NULL && access != NULL);
        memcpy(log->files, files, sizeof log->files);
        if (!log_writer_start(log, err)) {
            log_free_files(log->files);
            return false;
        }
    }
    atomic_store(&log->level, (int)level);
    if (access != NULL) {
        atomic_store(&log->is_access_on, has_access);
    }
    atomic_store(&log->is_open, true);
    return true;
}

bool log_open(const char *error_path,
              const char *access_path,
              enum log_level level,
              struct error *err)
{
    struct log_file *files[LOG_N_TARGETS];
    files[LOG_TO_ERROR] = log_file_new(LOG_TO_ERROR, error_path, err);
    files[LOG_TO_ACCESS] = log_file_new(LOG_TO_ACCESS, access_path, err);
    if (files[LOG_TO_ERROR] == NULL || files[LOG_TO_ACCESS] == NULL) {
        log_free_files(files);
        return false;
    }
    return log_use(files, level, err);
}

void log_close(void)
{
    struct log *log = &log_process;
    if (!atomic_exchange(&log->is_open, false)) {
        return;
    }
    atomic_store(&log->want_close, true);
    log_wake();
    CHECK(pthread_join(log->writer, NULL) == 0);
    close(log->wake_fd);
    log->wake_fd = -1;
    log_free_files(log->files);
    log_free_files(log->next);
    struct log_ring *ring = atomic_exchange(&log->rings, NULL);
    while (ring != NULL) {
        struct log_ring *next = ring->next;
        log_ring_fini(ring);
        mem_free(ring);
        ring = next;
    }
    log->shared = NULL;
    atomic_store(&log->is_access_on, false);
}
