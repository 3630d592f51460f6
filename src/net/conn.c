/*
 * conn: the life of one connection on its loop's thread: becoming ready,
 * reading fairly, flushing, and the close protocol. See conn.h.
 *
 * Two places run it: the descriptor's event, and the end of the turn. No call
 * of an owner (conn_write, conn_resume, conn_close ...) calls the owner back:
 * such calls leave marks and queue turn_end, so an owner is never re-entered.
 * After each call of the owner the conn may be closed, but its memory stays
 * until conn_die, which only the end of the turn reaches.
 *
 * Invariants: `kept` is NULL when nothing is kept; nothing is read while
 * paused, after EOF, or while conn_start_tls waits; end never changes twice.
 */
#define _GNU_SOURCE
#include "net/conn.h"

#include "base/check.h"
#include "base/mem.h"
#include "net/conn_kept.h"
#include "net/fd_reserve.h"
#include "net/io.h"
#include "net/tls.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONN_KEPT_BYTES_MAX = 256 * 1024, /* more stays in the socket */
    CONN_LINGER_BYTES = 64 * 1024,
    CONN_LINGER_MS = 2000,            /* without a byte */
    CONN_LINGER_MAX_MS = 30 * 1000,   /* with bytes that never end */
    CONN_LINGER_STALL_MS = 30 * 1000, /* nothing left the out queue */
};

static void conn_defer(struct conn *c)
{
    loop_defer(c->loop, &c->turn_end);
}

/* ---- closing ------------------------------------------------------------ */

void conn_close(struct conn *c, enum conn_end end)
{
    CHECK(end != CONN_OPEN);
    if (conn_is_closed(c)) {
        return;
    }
    c->end = end;
    if (c->fd >= 0) {
        event_del(&c->event);
    }
    loop_disarm(c->loop, &c->timer);
    c->on_timer = NULL;
    conn_defer(c);
}

void conn_abort(struct conn *c)
{
    if (conn_is_closed(c)) {
        return;
    }
    c->is_abort = true;
    conn_close(c, CONN_CLOSED_BY_US);
}

static void conn_fail(struct conn *c, enum conn_end end, int error_number)
{
    if (!conn_is_closed(c) && c->error_number == 0) {
        c->error_number = error_number;
    }
    conn_close(c, end);
}

/* With SO_LINGER of 0 s, close sends RST and forgets unsent bytes. */
static void conn_make_rst(struct conn *c)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void conn_close_fd(struct conn *c)
{
    if (c->fd < 0) {
        return;
    }
    if (c->is_abort) {
        conn_make_rst(c);
    } else if (c->end == CONN_CLOSED_BY_US && c->io_state != NULL &&
               c->is_ready && !c->is_shut && buf_len(&c->out) == 0) {
        /* Lost bytes must not look like a complete stream: no close_notify. */
        c->io->shutdown(c);
    }
    c->io->fini(c);
    close(c->fd);
    c->fd = -1;
}

/* The one place where a conn dies. */
static void conn_die(struct conn *c)
{
    c->ops->on_closed(c, c->end);
    conn_close_fd(c);
    tls_server_unref(c->tls_next);
    loop_defer_cancel(&c->turn_end);
    loop_disarm(c->loop, &c->timer);
    buf_fini(&c->out);
    mem_free(c->kept);
    mem_free(c);
}

/* ---- kept bytes --------------------------------------------------------- */

static size_t conn_call_on_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    c->is_reading = true;
    const size_t n_taken = c->ops->on_bytes(c, p, len);
    c->is_reading = false;
    CHECK(n_taken <= len);
    return n_taken;
}

static void conn_offer_kept(struct conn *c)
{
    if (c->kept_len > 0) {
        conn_kept_drop(c, conn_call_on_bytes(c, c->kept, c->kept_len));
    }
}

static void conn_deliver(struct conn *c, const uint8_t *p, size_t len)
{
    if (c->kept_len > 0) {
        conn_kept_append(c, p, len);
        conn_offer_kept(c);
        return;
    }
    const size_t n_taken = conn_call_on_bytes(c, p, len);
    if (!conn_is_closed(c) && !c->want_close) {
        conn_kept_append(c, p + n_taken, len - n_taken);
    }
}

/* ---- reading ------------------------------------------------------------ */

static bool conn_may_offer(const struct conn *c)
{
    return !conn_is_closed(c) && !c->is_paused && c->tls_next == NULL &&
           !c->want_close;
}

static bool conn_may_read(const struct conn *c)
{
    return conn_may_offer(c) && !c->is_eof && c->kept_len < CONN_KEPT_BYTES_MAX;
}

/* Whether this turn's share is used up; a new turn brings a new share. */
static bool conn_is_turn_spent(struct conn *c)
{
    if (c->turn_us != c->loop->now_us) {
        c->turn_us = c->loop->now_us;
        c->turn_bytes = 0;
    }
    return c->turn_bytes >= CONN_READ_TURN_BYTES;
}

static void conn_read_failed(struct conn *c)
{
    if (c->is_write_failed) {
        conn_fail(c, CONN_RESET, ECONNRESET);
    } else if (c->tls_error != 0) {
        conn_close(c, CONN_TLS_FAILED);
    } else {
        conn_fail(c, CONN_RESET, ECONNRESET);
    }
}

/* The next `len` bytes of the turn into the scratch block; 0: no more now. */
static size_t conn_read_some(struct conn *c)
{
    const size_t n_max =
        c->read_quota != NULL && *c->read_quota < LOOP_SCRATCH_BYTES
            ? *c->read_quota
            : LOOP_SCRATCH_BYTES;
    const ssize_t n = c->io->read(c, c->loop->scratch, n_max);
    if (n > 0) {
        c->received_bytes += (uint64_t)n;
        c->turn_bytes += (size_t)n;
        return (size_t)n;
    }
    if (n == IO_EOF) {
        c->is_eof = true;
        c->is_readable = false;
    } else if (n == IO_ERROR) {
        conn_read_failed(c);
    }
    return 0;
}

/* Reads on in the next turn, after all others had theirs. */
static void conn_read_later(struct conn *c)
{
    c->want_next_turn = true;
    conn_defer(c);
}

/*
 * A short read is taken for the end of what came, for the kernel tells of more
 * by a new edge. But it tells of bytes and of the RST behind them by one, and
 * libevent does not show that it was an error: who still waits for bytes would
 * wait for ever. The second look costs a system call, so whoever has its whole
 * message does without; an RST is found there by the next write.
 */
static void conn_look_again(struct conn *c)
{
    if (c->is_midway && !c->is_eof && !conn_is_closed(c)) {
        c->is_readable = true;
        c->is_drained = false;
    }
}

static void conn_read(struct conn *c)
{
    while (c->is_readable && conn_may_read(c)) {
        if (conn_is_turn_spent(c)) {
            conn_read_later(c);
            return;
        }
        const size_t n = conn_read_some(c);
        if (n == 0) {
            return;
        }
        conn_deliver(c, c->loop->scratch, n);
        conn_look_again(c);
    }
}

static void conn_tell_eof(struct conn *c)
{
    if (c->is_eof && !c->is_eof_told && !conn_is_closed(c) && !c->want_close &&
        c->tls_next == NULL) {
        c->is_eof_told = true;
        c->ops->on_eof(c);
    }
}

/* After our FIN: a quiet peer is waited for shortly, a sending one longer. */
static void conn_linger_on(struct conn *c)
{
    const uint64_t now_ms = c->loop->now_ms;

    if (c->linger_end_ms == 0) {
        c->linger_end_ms = now_ms + CONN_LINGER_MAX_MS;
    }
    const uint64_t left_ms =
        c->linger_end_ms > now_ms ? c->linger_end_ms - now_ms : 0;
    loop_arm(c->loop, &c->timer,
             left_ms < CONN_LINGER_MS ? left_ms : CONN_LINGER_MS);
}

/* Lingering: drops what comes until FIN. */
static void conn_read_drop(struct conn *c)
{
    while (c->is_readable && !c->is_eof && !conn_is_closed(c)) {
        if (conn_is_turn_spent(c)) {
            conn_read_later(c);
            return;
        }
        const size_t n = conn_read_some(c);
        if (n == 0) {
            break;
        }
        if (c->is_shut && n > c->n_linger_left) {
            conn_close(c, CONN_CLOSED_BY_US);
        } else if (c->is_shut) {
            c->n_linger_left -= n;
            conn_linger_on(c);
        }
    }
}

/*
 * A paused conn reads nothing, yet a peer that is gone must be noticed: an RST
 * at once, a FIN when no unread byte stands in front of it.
 */
static void conn_probe(struct conn *c)
{
    int error_number = 0;
    socklen_t size = sizeof(error_number);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error_number, &size) == 0 &&
        error_number != 0) {
        conn_fail(c, CONN_RESET, error_number);
        return;
    }
    if (!c->is_peer_shut || c->is_eof || c->kept_len > 0 || c->want_close) {
        return;
    }
    const int found = c->io->peek(c);
    if (found == IO_EOF) {
        c->is_eof = true;
        c->is_readable = false;
    } else if (found == IO_ERROR) {
        conn_read_failed(c);
    }
}

static void conn_receive(struct conn *c)
{
    if (c->is_lingering) {
        conn_read_drop(c);
        return;
    }
    if (c->has_kept_news && conn_may_offer(c)) {
        c->has_kept_news = false;
        conn_offer_kept(c);
    }
    conn_read(c);
    // Not in front of bytes that are to be offered again at the turn's end.
    if (c->kept_len == 0 || (!c->is_paused && !c->has_kept_news)) {
        conn_tell_eof(c);
    }
}

/* ---- writing ------------------------------------------------------------ */

/*
 * The peer takes no more bytes, but its last words (an early answer) may lie
 * in our receive queue: they are read before the conn dies.
 */
static void conn_write_failed(struct conn *c)
{
    if (c->error_number == 0) {
        c->error_number = EPIPE;
    }
    c->is_write_failed = true;
    c->is_readable = true;
    buf_fini(&c->out);
    buf_init(&c->out, &c->loop->bufs);
    conn_defer(c);
}

static void conn_flush(struct conn *c)
{
    bool is_moved = false;
    while (c->is_ready && c->is_writable && buf_len(&c->out) > 0) {
        const ssize_t n = c->io->write(c, &c->out);
        if (n == IO_ERROR) {
            conn_write_failed(c);
            return;
        }
        if (n <= 0) {
            break;
        }
        c->sent_bytes += (uint64_t)n;
        is_moved = true;
    }
    if (is_moved && c->is_lingering && !c->is_shut) {
        loop_arm(c->loop, &c->timer, CONN_LINGER_STALL_MS);
    }
}

static void conn_tell_room(struct conn *c)
{
    if (c->want_room && buf_len(&c->out) < CONN_ROOM_BYTES && !c->want_close &&
        !c->is_write_failed) {
        c->want_room = false;
        c->ops->on_room(c);
    }
}

/* All bytes left: FIN or the end, when asked for. */
static void conn_finish_sending(struct conn *c)
{
    if (c->want_shutdown && !c->is_shut) {
        c->is_shut = c->io->shutdown(c);
        if (!c->is_shut) {
            return;
        }
        if (c->is_lingering) {
            conn_linger_on(c);
        }
    }
    if (c->want_close && (!c->is_lingering || c->is_eof)) {
        conn_close(c, CONN_CLOSED_BY_US);
    } else if (c->is_shut && c->is_eof_told && c->kept_len == 0) {
        conn_close(c, CONN_CLOSED_BY_PEER);
    }
}

static void conn_send(struct conn *c)
{
    if (conn_is_closed(c) || !c->is_ready) {
        return;
    }
    conn_flush(c);
    conn_tell_room(c);
    if (!conn_is_closed(c) && buf_len(&c->out) == 0 && !c->is_write_failed) {
        conn_finish_sending(c);
    }
}

/* ---- becoming ready ----------------------------------------------------- */

/* False while the connection is not made, or when it failed. */
static bool conn_finish_connect(struct conn *c)
{
    if (!c->is_writable) {
        return false;
    }
    int error_number = 0;
    socklen_t size = sizeof(error_number);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error_number, &size) != 0) {
        error_number = errno;
    }
    if (error_number != 0) {
        conn_fail(c, CONN_CONNECT_FAILED, error_number);
        return false;
    }
    c->is_connecting = false;
    c->local.len = sizeof(struct sockaddr_un);
    if (getsockname(c->fd, &c->local.sa, &c->local.len) != 0) {
        c->local.len = 0;
    }
    return true;
}

/* TLS was expected and plain HTTP came: the owner says so without TLS. */
static void conn_on_plain_http(struct conn *c)
{
    if (c->ops->on_plain_http == NULL) {
        conn_close(c, CONN_TLS_FAILED);
        return;
    }
    c->io->fini(c);
    c->io = &io_plain;
    c->tls_error = 0;
    c->error_number = 0;
    c->is_readable = true;
    c->is_ready = true;
    c->ops->on_plain_http(c);
    CHECK(conn_is_closed(c) || c->want_close);
}

static bool conn_get_ready(struct conn *c)
{
    if (c->is_connecting && !conn_finish_connect(c)) {
        return false;
    }
    if (c->io->handshake != NULL) {
        const int done = c->io->handshake(c);
        if (done == IO_ERROR) {
            conn_close(c, CONN_TLS_FAILED);
        } else if (done == IO_PLAIN_HTTP) {
            conn_on_plain_http(c);
        }
        if (done != 1) {
            return false;
        }
        /* Bytes may lie behind the handshake, inside of the transport. */
        c->is_readable = true;
    }
    c->is_ready = true;
    c->ops->on_ready(c);
    conn_defer(c);
    return !conn_is_closed(c);
}

/* The plain transport gives way to TLS; kept bytes begin the handshake. */
static void conn_begin_tls(struct conn *c)
{
    struct tls_server *tls = c->tls_next;
    c->tls_next = NULL;
    io_tls_server_init(c, tls);
    tls_server_unref(tls);
    conn_kept_drop(c, c->kept_len);
    c->has_kept_news = false;
    c->is_ready = false;
    c->is_readable = true;
}

static void conn_step(struct conn *c)
{
    if (!c->is_ready && !conn_get_ready(c)) {
        return;
    }
    conn_receive(c);
}

static void conn_on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct conn *c = arg;
    if (conn_is_closed(c)) {
        return;
    }
    const bool was_stuck = !c->is_writable;
    if ((what & (EV_READ | EV_CLOSED)) != 0) {
        c->is_readable = true;
        c->is_drained = false;
    }
    c->is_writable |= (what & EV_WRITE) != 0;
    c->is_peer_shut |= (what & EV_CLOSED) != 0;
    if (c->is_ready && !c->is_lingering && (c->is_paused || c->want_close)) {
        conn_probe(c);
    }
    conn_step(c);
    if ((was_stuck && c->is_writable) || c->is_eof) {
        conn_send(c);
    }
    if (c->is_write_failed) {
        conn_defer(c);
    }
}

static void conn_on_turn_end(struct deferred *d)
{
    struct conn *c = CONTAINER_OF(d, struct conn, turn_end);
    if (conn_is_closed(c)) {
        conn_die(c);
        return;
    }
    if (c->tls_next != NULL) {
        conn_begin_tls(c);
    }
    if (c->want_next_turn) {
        c->want_next_turn = false;
        event_active(&c->event, EV_READ, 0);
    } else {
        conn_step(c);
    }
    conn_send(c);
    if (c->is_write_failed && !c->want_next_turn) {
        conn_fail(c, CONN_RESET, EPIPE);
    }
}

static void conn_on_timer(struct timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);
    if (c->is_lingering) {
        conn_close(c, c->is_shut ? CONN_CLOSED_BY_US : CONN_TIMED_OUT);
        return;
    }
    void (*fn)(struct conn *) = c->on_timer;
    c->on_timer = NULL;
    if (fn != NULL && !conn_is_closed(c)) {
        fn(c);
    }
}

/* ---- making one --------------------------------------------------------- */

static struct conn *
conn_new(struct loop *loop, int fd, const struct conn_ops *ops, void *owner)
{
    struct conn *c = mem_new(sizeof(*c));
    c->loop = loop;
    c->fd = fd;
    c->io = &io_plain;
    c->ops = ops;
    c->owner = owner;
    c->opened_ms = loop->now_ms;
    c->turn_end.fn = conn_on_turn_end;
    c->is_midway = true;
    buf_init(&c->out, &loop->bufs);
    timer_init(&c->timer, conn_on_timer);
    return c;
}

static void conn_watch(struct conn *c)
{
    const short what = EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST;
    CHECK(event_assign(&c->event, c->loop->base, c->fd, what, conn_on_event,
                       c) == 0);
    CHECK(event_add(&c->event, NULL) == 0);
}

struct conn *conn_accept(struct loop *loop,
                         int fd,
                         const struct addr *peer,
                         const struct addr *local,
                         struct tls_server *tls,
                         const struct conn_ops *ops,
                         void *owner)
{
    struct conn *c = conn_new(loop, fd, ops, owner);
    c->peer = *peer;
    c->local = *local;
    c->is_writable = true;
    if (tls != NULL) {
        io_tls_server_init(c, tls);
    }
    conn_watch(c);
    conn_defer(c);
    return c;
}

/* -1 with errno. */
static int conn_open_socket(const struct addr *to)
{
    const int fd =
        socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && fd_reserve_has(fd)) {
        close(fd);
        errno = EMFILE;
        return -1;
    }
    if (fd >= 0 && to->sa.sa_family != AF_UNIX) {
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    return fd;
}

struct conn *conn_connect(struct loop *loop,
                          const struct addr *to,
                          struct tls_client *tls,
                          const struct conn_ops *ops,
                          void *owner)
{
    CHECK(to->len > 0);
    struct conn *c = conn_new(loop, conn_open_socket(to), ops, owner);
    c->peer = *to;
    c->is_connecting = true;
    if (c->fd < 0) {
        conn_fail(c, CONN_CONNECT_FAILED, errno);
        return c;
    }
    if (tls != NULL) {
        io_tls_client_init(c, tls);
    }
    const int failed = connect(c->fd, &to->sa, to->len);
    const int error_number = errno;
    conn_watch(c);
    if (failed != 0 && error_number != EINPROGRESS) {
        conn_fail(c, CONN_CONNECT_FAILED, error_number);
        return c;
    }
    c->is_writable = failed == 0;
    conn_defer(c);
    return c;
}

void conn_start_tls(struct conn *c, struct tls_server *tls)
{
    CHECK(c->is_ready && c->io == &io_plain && c->tls_next == NULL);
    if (conn_is_closed(c)) {
        return;
    }
    tls_server_ref(tls);
    c->tls_next = tls;
    conn_defer(c);
}

/* ---- what an owner asks for --------------------------------------------- */

void conn_set_owner(struct conn *c, const struct conn_ops *ops, void *owner)
{
    c->ops = ops;
    c->owner = owner;
    if (!conn_is_closed(c)) {
        c->has_kept_news = true;
        conn_defer(c);
    }
}

/* Marks that bytes were queued; a long queue leaves at once. */
static void conn_wrote(struct conn *c)
{
    if (buf_len(&c->out) > CONN_FLUSH_BYTES) {
        conn_flush(c);
    }
    conn_defer(c);
}

static bool conn_may_write(const struct conn *c)
{
    if (conn_is_closed(c) || c->is_write_failed) {
        return false;
    }
    CHECK(!c->want_close && !c->want_shutdown);
    return true;
}

void conn_write(struct conn *c, const void *p, size_t len)
{
    if (len > 0 && conn_may_write(c)) {
        buf_append(&c->out, p, len);
        conn_wrote(c);
    }
}

void conn_write_buf(struct conn *c, struct buf *b)
{
    if (buf_len(b) == 0) {
        return;
    }
    if (!conn_may_write(c)) {
        buf_drop(b, buf_len(b));
        return;
    }
    buf_move(&c->out, b);
    conn_wrote(c);
}

void conn_want_room(struct conn *c)
{
    c->want_room = true;
    conn_flush_soon(c);
}

void conn_flush_soon(struct conn *c)
{
    if (!conn_is_closed(c)) {
        conn_defer(c);
    }
}

void conn_pause(struct conn *c)
{
    c->is_paused = true;
}

void conn_resume(struct conn *c)
{
    c->is_paused = false;
    if (!conn_is_closed(c)) {
        c->has_kept_news = true;
        conn_defer(c);
    }
}

void conn_close_after_write(struct conn *c)
{
    if (!conn_is_closed(c)) {
        c->want_close = true;
        c->want_room = false;
        conn_defer(c);
    }
}

static void conn_linger(struct conn *c, uint64_t n_bytes_max)
{
    if (conn_is_closed(c) || c->is_lingering) {
        return;
    }
    c->n_linger_left = n_bytes_max;
    if (c->is_write_failed || !c->is_ready) {
        conn_close(c, CONN_CLOSED_BY_US);
        return;
    }
    conn_close_after_write(c);
    c->is_lingering = true;
    c->want_shutdown = true;
    c->on_timer = NULL;
    if (c->is_shut) {
        conn_linger_on(c);
    } else {
        loop_arm(c->loop, &c->timer, CONN_LINGER_STALL_MS);
    }
    if (!c->is_reading) {
        conn_kept_drop(c, c->kept_len);
    }
}

void conn_close_linger(struct conn *c)
{
    conn_linger(c, CONN_LINGER_BYTES);
}

void conn_close_answered(struct conn *c)
{
    conn_linger(c, UINT64_MAX);
}

void conn_shutdown(struct conn *c)
{
    if (!conn_is_closed(c)) {
        c->want_shutdown = true;
        c->want_room = false;
        conn_defer(c);
    }
}

void conn_set_timer(struct conn *c,
                    uint64_t after_ms,
                    void (*fn)(struct conn *c))
{
    if (conn_is_closed(c) || c->is_lingering) {
        return;
    }
    c->on_timer = fn;
    if (fn == NULL) {
        loop_disarm(c->loop, &c->timer);
    } else {
        loop_arm(c->loop, &c->timer, after_ms);
    }
}
