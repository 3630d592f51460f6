/*
 * check: assertions that stay on. A failed CHECK is a programmer's error: it
 * prints the condition, the place and what the current loop was doing, then a
 * backtrace, and aborts. Traffic and operators can never make one fail.
 * Callable on every thread.
 */
#ifndef DAEMUN_BASE_CHECK_H
#define DAEMUN_BASE_CHECK_H

#include <stdbool.h>

/* Aborts with a message. `what` is the text of the condition. */
_Noreturn void check_fail(const char *what, const char *file, int line);

/*
 * Remembers for this thread what it works on, so that a failed CHECK can say
 * it. `what` must outlive the work; NULL clears it.
 */
void check_context_set(const char *what);

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (__builtin_expect(!(cond), 0)) {                                    \
            check_fail(#cond, __FILE__, __LINE__);                             \
        }                                                                      \
    } while (0)

/* Costly checks: compiled in by the sanitizer builds (-DDAEMUN_CHECK_SLOW). */
#ifdef DAEMUN_CHECK_SLOW
#define CHECK_IS_SLOW true
#define CHECK_SLOW(cond) CHECK(cond)
#else
#define CHECK_IS_SLOW false
#define CHECK_SLOW(cond)                                                       \
    do {                                                                       \
    } while (0)
#endif

#endif
