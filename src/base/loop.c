/*
 * loop: the turn of a thread. Owned by the thread that made it, which runs it;
 * the mailbox and is_stopping are all that other threads touch.
 *
 * libevent handles events inside the call that waits for them, so a clock that
 * is read between two calls would be as old as the wait was long. A turn
 * therefore waits by poll(2) on libevent's epoll descriptor, reads the clock,
 * and then lets libevent handle what is ready without waiting. A loop that is
 * busy finds events ready anyway and leaves the poll out.
 *
 * Invariants: now_ms does not change while events are handled; a message that
 * was posted is run before loop_free returns; turn_end is empty while waiting.
 */
#include "base/loop.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOP_FREE_BUFS_MAX = 256,
    LOOP_FREE_ARENAS_MAX = 256,
    /* A turn with this many events is taken for a sign of more to come. */
    LOOP_BUSY_EVENTS = 4,
    LOOP_FDS_MAX = 1 << 20
};

struct loop_message {
    struct loop_message *next;
    loop_fn *fn;
    void *arg;
};

/*
 * A stack that any thread pushes to and the loop takes as a whole, which needs
 * no lock. Whoever makes it non-empty wakes the loop.
 */
struct mailbox {
    _Atomic(struct loop_message *) newest;
    struct event event;
    int wake_fd;
};

static _Thread_local struct loop *loop_of_thread;

struct loop *loop_current(void)
{
    return loop_of_thread;
}

static uint64_t loop_read_clock_us(clockid_t clock)
{
    struct timespec ts;
    CHECK(clock_gettime(clock, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t loop_clock_us(void)
{
    return loop_read_clock_us(CLOCK_MONOTONIC);
}

void loop_update_clock(struct loop *loop)
{
    loop->now_us = loop_clock_us();
    loop->now_ms = loop->now_us / 1000;
    if (loop->now_ms == 0) {
        loop->now_ms = 1; /* 0 means "not armed" in a timer */
    }
    loop->wall_us = loop_read_clock_us(CLOCK_REALTIME);
}

/* The event only ends the wait; each turn looks into the mailbox anyway. */
static void loop_mailbox_on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static void loop_mailbox_wake(struct mailbox *mb)
{
    const uint64_t one = 1;
    ssize_t n = 0;
    do {
        n = write(mb->wake_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so the loop is awake. */
    CHECK(n == (ssize_t)sizeof one || errno == EAGAIN);
}

static struct mailbox *loop_mailbox_new(struct event_base *base)
{
    struct mailbox *mb = mem_new(sizeof *mb);
    mb->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(mb->wake_fd >= 0);
    atomic_init(&mb->newest, NULL);
    /* Edge-triggered: the counter need never be read. */
    const int is_bad =
        event_assign(&mb->event, base, mb->wake_fd,
                     EV_READ | EV_PERSIST | EV_ET, loop_mailbox_on_event, NULL);
    CHECK(is_bad == 0 && event_add(&mb->event, NULL) == 0);
    return mb;
}

static bool loop_mailbox_is_empty(const struct mailbox *mb)
{
    return atomic_load_explicit(&mb->newest, memory_order_relaxed) == NULL;
}

void loop_post(struct loop *loop, loop_fn *fn, void *arg)
{
    struct mailbox *mb = loop->mailbox;
    struct loop_message *m = mem_new_raw(sizeof *m);
    m->fn = fn;
    m->arg = arg;
    struct loop_message *below =
        atomic_load_explicit(&mb->newest, memory_order_relaxed);
    do {
        m->next = below;
    } while (!atomic_compare_exchange_weak_explicit(
        &mb->newest, &below, m, memory_order_acq_rel, memory_order_relaxed));
    /* From here on the message may have been run; it is not ours any more. */
    if (below == NULL) {
        loop_mailbox_wake(mb);
    }
}

/* Runs what was posted before the call, oldest first. */
static void loop_mailbox_run(struct loop *loop)
{
    struct loop_message *oldest = NULL;
    if (loop_mailbox_is_empty(loop->mailbox)) {
        return;
    }
    struct loop_message *m = atomic_exchange_explicit(
        &loop->mailbox->newest, NULL, memory_order_acq_rel);
    while (m != NULL) {
        struct loop_message *before = m->next;
        m->next = oldest;
        oldest = m;
        m = before;
    }
    while (oldest != NULL) {
        m = oldest;
        oldest = m->next;
        m->fn(loop, m->arg);
        mem_free(m);
    }
}

static void loop_mailbox_free(struct mailbox *mb)
{
    event_del(&mb->event);
    close(mb->wake_fd);
    mem_free(mb);
}

static struct event_base *loop_new_base(void)
{
    struct event_config *config = event_config_new();
    CHECK(config != NULL);
    /* Edge-triggered and O(1) leaves epoll alone to choose. */
    CHECK(event_config_require_features(config,
                                        EV_FEATURE_ET | EV_FEATURE_O1) == 0);
    CHECK(event_config_set_flag(
              config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
                          EVENT_BASE_FLAG_NO_CACHE_TIME) == 0);
    struct event_base *base = event_base_new_with_config(config);
    CHECK(base != NULL);
    event_config_free(config);
    return base;
}

/*
 * libevent has no call that names its epoll descriptor. It is the one from
 * which a descriptor that we just registered can be taken out again: epoll_ctl
 * changes nothing on any other.
 */
static int loop_find_poll_fd(struct event_base *base)
{
    struct event probe;
    struct rlimit limit = {0};
    const int probe_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(probe_fd >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(event_assign(&probe, base, probe_fd, EV_READ, loop_mailbox_on_event,
                       NULL) == 0);
    CHECK(event_add(&probe, NULL) == 0);
    const int n_fds =
        limit.rlim_cur < LOOP_FDS_MAX ? (int)limit.rlim_cur : LOOP_FDS_MAX;
    int found = -1;
    for (int fd = 0; fd < n_fds && found < 0; fd++) {
        if (epoll_ctl(fd, EPOLL_CTL_DEL, probe_fd, NULL) == 0) {
            found = fd;
        }
    }
    CHECK(found >= 0);
    event_del(&probe);
    close(probe_fd);
    return found;
}

static void loop_seed(struct loop *loop)
{
    ssize_t n = 0;
    do {
        n = getrandom(loop->random_state, sizeof loop->random_state, 0);
    } while (n < 0 && errno == EINTR);
    CHECK(n == (ssize_t)sizeof loop->random_state);
    loop->random_state[0] |= 1; /* a state of zeros would stay zeros */
}

struct loop *loop_new(const char *name, unsigned index)
{
    struct loop *loop = mem_new(sizeof *loop);
    loop->name = name;
    loop->index = index;
    loop->base = loop_new_base();
    loop->poll_fd = loop_find_poll_fd(loop->base);
    loop->mailbox = loop_mailbox_new(loop->base);
    loop->scratch = mem_new_raw(LOOP_SCRATCH_BYTES);
    /* Without spare blocks the sanitizers see each use after free. */
    loop->bufs.n_free_max = CHECK_IS_SLOW ? 0 : LOOP_FREE_BUFS_MAX;
    loop->arenas.n_free_max = CHECK_IS_SLOW ? 0 : LOOP_FREE_ARENAS_MAX;
    list_init(&loop->turn_end);
    atomic_init(&loop->is_stopping, false);
    loop_update_clock(loop);
    timer_wheel_init(&loop->wheel, loop->now_ms);
    loop_seed(loop);
    return loop;
}

void loop_defer(struct loop *loop, struct deferred *d)
{
    if (!list_is_linked(&d->node)) {
        CHECK(d->fn != NULL);
        list_push_back(&loop->turn_end, &d->node);
    }
}

void loop_defer_cancel(struct deferred *d)
{
    list_remove(&d->node);
}

/* Until empty: what is run may queue more, itself included, or free itself. */
static void loop_run_turn_end(struct loop *loop)
{
    struct list *node;
    while ((node = list_first(&loop->turn_end)) != NULL) {
        struct deferred *d = CONTAINER_OF(node, struct deferred, node);
        list_remove(node);
        d->fn(d);
    }
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    struct loop *before = loop_of_thread;
    loop_of_thread = loop;
    do {
        loop_mailbox_run(loop);
        loop_run_turn_end(loop);
    } while (!loop_mailbox_is_empty(loop->mailbox));
    loop_of_thread = before == loop ? NULL : before;
    loop_mailbox_free(loop->mailbox);
    event_base_free(loop->base);
    buf_cache_fini(&loop->bufs);
    arena_cache_fini(&loop->arenas);
    mem_free(loop->scratch);
    mem_free(loop);
}

static bool loop_has_work(const struct loop *loop)
{
    return !list_is_empty(&loop->turn_end) ||
           !loop_mailbox_is_empty(loop->mailbox) ||
           atomic_load_explicit(&loop->is_stopping, memory_order_acquire) ||
           event_base_get_num_events(loop->base, EVENT_BASE_COUNT_ACTIVE) > 0;
}

/* Waits for events, the next timer or `wait_ms`, whatever comes first. */
static void loop_wait(struct loop *loop, uint64_t wait_ms)
{
    struct pollfd p = {.fd = loop->poll_fd, .events = POLLIN};
    const uint64_t next_ms = timer_wheel_next_ms(&loop->wheel);
    if (next_ms != UINT64_MAX) {
        loop_update_clock(loop);
        const uint64_t left_ms =
            next_ms > loop->now_ms ? next_ms - loop->now_ms : 0;
        wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
    }
    if (loop_has_work(loop)) {
        return;
    }
    int timeout_ms = -1;
    if (wait_ms != UINT64_MAX) {
        timeout_ms = wait_ms < INT_MAX ? (int)wait_ms : INT_MAX;
    }
    const int n = poll(&p, 1, timeout_ms);
    CHECK(n >= 0 || errno == EINTR);
}

static void loop_run_turn(struct loop *loop, uint64_t wait_ms)
{
    struct loop *before = loop_of_thread;
    loop_of_thread = loop;
    if (!loop->is_busy) {
        loop_wait(loop, wait_ms);
    }
    loop_update_clock(loop);
    /* ONCE: without it libevent goes on for as long as events keep coming, and
     * the end of the turn would wait for a quiet moment. */
    CHECK(event_base_loop(loop->base, EVLOOP_NONBLOCK | EVLOOP_ONCE) >= 0);
    /* The most that were ready at once since it was asked last. */
    const int n_events =
        event_base_get_max_events(loop->base, EVENT_BASE_COUNT_ACTIVE, 1);
    loop->is_busy = n_events >= LOOP_BUSY_EVENTS;
    loop_mailbox_run(loop);
    timer_wheel_run(&loop->wheel, loop->now_ms);
    loop_run_turn_end(loop);
    loop_of_thread = before;
}

void loop_run(struct loop *loop)
{
    loop_of_thread = loop;
    while (!atomic_load_explicit(&loop->is_stopping, memory_order_acquire)) {
        loop_run_turn(loop, UINT64_MAX);
    }
    loop_of_thread = NULL;
}

void loop_run_once(struct loop *loop, uint64_t wait_ms)
{
    loop->is_busy = false;
    loop_run_turn(loop, wait_ms);
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->is_stopping, true, memory_order_release);
    loop_mailbox_wake(loop->mailbox);
}

void loop_arm(struct loop *loop, struct timer *t, uint64_t after_ms)
{
    const uint64_t longest_ms = UINT64_MAX - loop->now_ms;
    timer_arm(&loop->wheel, t,
              loop->now_ms + (after_ms < longest_ms ? after_ms : longest_ms));
}

void loop_disarm(struct loop *loop, struct timer *t)
{
    timer_disarm(&loop->wheel, t);
}

uint64_t loop_random(struct loop *loop)
{
    /* xorshift128+: two words of state, period 2^128 - 1. */
    uint64_t a = loop->random_state[0];
    const uint64_t b = loop->random_state[1];
    loop->random_state[0] = b;
    a ^= a << 23;
    loop->random_state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return loop->random_state[1] + b;
}
