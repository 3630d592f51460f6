/*
 * check: the end of a process that found itself to be wrong. Prints the
 * condition, the place, what the thread worked on and a backtrace to standard
 * error, then aborts, so that a core dump shows the stack as it was.
 * Any thread; the state is one thread-local pointer per thread, which borrows
 * its text, and a flag that keeps a failure while failing from recursing.
 */
#include "base/check.h"

#include "base/loop.h"

#include <execinfo.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHECK_FRAMES_MAX = 64 };

static _Thread_local const char *check_context;
static atomic_flag check_is_failing = ATOMIC_FLAG_INIT;

void check_context_set(const char *what)
{
    check_context = what;
}

void check_fail(const char *what, const char *file, int line)
{
    if (atomic_flag_test_and_set(&check_is_failing)) {
        abort();
    }
    const struct loop *loop = loop_current();
    dprintf(STDERR_FILENO,
            "daemun: check failed: %s\n  at %s:%d\n  thread: %s\n"
            "  working on: %s\n",
            what, file, line, loop == NULL ? "none" : loop->name,
            check_context == NULL ? "nothing noted" : check_context);
    void *frames[CHECK_FRAMES_MAX];
    const int n_frames = backtrace(frames, CHECK_FRAMES_MAX);
    backtrace_symbols_fd(frames, n_frames, STDERR_FILENO);
    abort();
}
