/*
 * Unit tests of net/conn over pairs of sockets: what an owner is told and
 * when, back-pressure, fairness, and each way in which a conn can end. A test
 * turns the loop by hand; nothing sleeps.
 */
#define _GNU_SOURCE
#include "net/conn.c"

#include "net/listener.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { GOT_MAX = 2 * 1024 * 1024, TURNS_MAX = 2000 };

/* An owner that notes what it is told and does what it was told to. */
struct probe {
    struct loop *loop;
    struct conn *c; /* NULL after on_closed */
    int fd;         /* the other end */
    uint8_t *got;
    size_t got_len;
    size_t take_max;   /* of each on_bytes */
    size_t largest;    /* most bytes offered at once */
    size_t n_pause_at; /* pause after so many bytes */
    int n_ready;
    int n_offers;
    int n_eof;
    int n_room;
    int n_timer;
    int n_closed;
    int n_inside; /* calls into the owner that are on the stack */
    enum conn_end end;
    int error_number;
    bool want_close; /* close inside on_bytes */
    bool want_echo;
    const struct conn_ops *next_ops;
};

static void probe_enter(struct probe *p)
{
    assert_int_equal(p->n_inside, 0);
    p->n_inside++;
}

static void probe_on_ready(struct conn *c)
{
    struct probe *p = c->owner;
    probe_enter(p);
    assert_int_equal(p->n_offers, 0);
    p->n_ready++;
    p->n_inside--;
}

static size_t probe_on_bytes(struct conn *c, const uint8_t *bytes, size_t len)
{
    struct probe *p = c->owner;
    probe_enter(p);
    assert_false(c->is_paused);
    assert_int_equal(p->n_ready, 1);
    p->n_offers++;
    p->largest = len > p->largest ? len : p->largest;
    const size_t n = len < p->take_max ? len : p->take_max;
    assert_true(p->got_len + n <= GOT_MAX);
    memcpy(p->got + p->got_len, bytes, n);
    p->got_len += n;
    if (p->want_echo) {
        conn_write(c, bytes, n);
    }
    if (p->n_pause_at > 0 && p->got_len >= p->n_pause_at) {
        conn_pause(c);
    }
    if (p->next_ops != NULL) {
        conn_set_owner(c, p->next_ops, p);
    }
    if (p->want_close) {
        conn_close(c, CONN_CLOSED_BY_US);
    }
    p->n_inside--;
    return n;
}

static void probe_on_eof(struct conn *c)
{
    struct probe *p = c->owner;
    probe_enter(p);
    p->n_eof++;
    p->n_inside--;
}

static void probe_on_room(struct conn *c)
{
    struct probe *p = c->owner;
    probe_enter(p);
    assert_true(conn_n_queued(c) < CONN_ROOM_BYTES);
    p->n_room++;
    p->n_inside--;
}

static void probe_on_closed(struct conn *c, enum conn_end end)
{
    struct probe *p = c->owner;
    probe_enter(p);
    p->n_closed++;
    p->end = end;
    p->error_number = c->error_number;
    p->c = NULL;
    p->n_inside--;
}

static const struct conn_ops probe_ops = {
    .on_ready = probe_on_ready,
    .on_bytes = probe_on_bytes,
    .on_eof = probe_on_eof,
    .on_room = probe_on_room,
    .on_closed = probe_on_closed,
};

static void probe_init(struct probe *p)
{
    memset(p, 0, sizeof(*p));
    p->loop = loop_new("test", 0);
    p->got = malloc(GOT_MAX);
    p->take_max = SIZE_MAX;
    p->fd = -1;
}

static void probe_accept(struct probe *p, int ours, int theirs)
{
    const struct addr none = {.len = 0};
    const int flags = fcntl(ours, F_GETFL);
    assert_int_equal(fcntl(ours, F_SETFL, flags | O_NONBLOCK), 0);
    p->fd = theirs;
    p->c = conn_accept(p->loop, ours, &none, &none, NULL, &probe_ops, p);
}

/* A conn over one end of a socketpair; the test holds the other. */
static void probe_open(struct probe *p)
{
    int fds[2];
    probe_init(p);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    probe_accept(p, fds[0], fds[1]);
}

/* Two ends of a TCP connection over loopback. */
static void probe_tcp_pair(int fds[2])
{
    struct addr a;
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    const int listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, &a.sa, a.len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, &a.sa, &a.len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fds[1], &a.sa, a.len), 0);
    fds[0] = accept(listening, NULL, NULL);
    assert_true(fds[0] >= 0);
    close(listening);
}

static void probe_open_tcp(struct probe *p)
{
    int fds[2];
    probe_init(p);
    probe_tcp_pair(fds);
    probe_accept(p, fds[0], fds[1]);
}

static void probe_turn(struct probe *p)
{
    loop_run_once(p->loop, 0);
}

static void probe_turns(struct probe *p, int n)
{
    for (int i = 0; i < n; i++) {
        probe_turn(p);
    }
}

/* Turns the loop until it is closed. */
static void probe_wait_closed(struct probe *p)
{
    for (int i = 0; i < TURNS_MAX && p->n_closed == 0; i++) {
        loop_run_once(p->loop, 10);
    }
    assert_int_equal(p->n_closed, 1);
}

static void probe_wait_got(struct probe *p, size_t len)
{
    for (int i = 0; i < TURNS_MAX && p->got_len < len; i++) {
        loop_run_once(p->loop, 10);
    }
    assert_int_equal(p->got_len, len);
}

static void probe_close(struct probe *p)
{
    if (p->c != NULL) {
        conn_close(p->c, CONN_CLOSED_BY_US);
        probe_turn(p);
        assert_int_equal(p->n_closed, 1);
    }
    if (p->fd >= 0) {
        close(p->fd);
    }
    loop_free(p->loop);
    free(p->got);
}

static void probe_send(struct probe *p, const char *text)
{
    const ssize_t len = (ssize_t)strlen(text);
    assert_int_equal(send(p->fd, text, (size_t)len, MSG_NOSIGNAL), len);
}

static bool probe_has(const struct probe *p, const char *text)
{
    return p->got_len == strlen(text) && memcmp(p->got, text, p->got_len) == 0;
}

/* Reads what is there, without waiting; -1: nothing, 0: EOF. */
static ssize_t probe_receive(struct probe *p, void *dst, size_t size)
{
    return recv(p->fd, dst, size, MSG_DONTWAIT);
}

static void test_conn__ready_comes_first_and_once(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    probe_send(&p, "x");
    assert_int_equal(p.n_ready, 0);
    probe_turns(&p, 3);
    assert_int_equal(p.n_ready, 1);
    assert_true(probe_has(&p, "x"));
    probe_close(&p);
}

static void test_conn__untaken_bytes_come_again_in_front(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    p.take_max = 1;
    probe_send(&p, "abc");
    probe_turns(&p, 5);
    assert_true(probe_has(&p, "a"));
    assert_int_equal(p.n_offers, 1);
    probe_send(&p, "de");
    probe_turns(&p, 5);
    assert_true(probe_has(&p, "ab"));
    assert_int_equal(p.largest, 4);
    p.take_max = SIZE_MAX;
    conn_resume(p.c);
    probe_turn(&p);
    assert_true(probe_has(&p, "abcde"));
    assert_null(p.c->kept);
    probe_close(&p);
}

static void test_conn__an_idle_conn_holds_no_buffer(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    p.want_echo = true;
    probe_send(&p, "hello");
    probe_turns(&p, 3);
    assert_null(p.c->kept);
    assert_null(p.c->out.first);
    assert_true(sizeof(struct conn) <= 1024);
    char text[8];
    assert_int_equal(probe_receive(&p, text, sizeof(text)), 5);
    probe_close(&p);
}

static void test_conn__a_paused_conn_reads_nothing(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    p.n_pause_at = 1;
    probe_send(&p, "a");
    probe_turns(&p, 3);
    probe_send(&p, "bc");
    probe_turns(&p, 3);
    assert_true(probe_has(&p, "a"));
    assert_int_equal(p.c->received_bytes, 1);
    p.n_pause_at = 0;
    conn_resume(p.c);
    probe_turn(&p);
    assert_true(probe_has(&p, "abc"));
    probe_close(&p);
}

/* Fills the way to us while paused; all arrives, in order, afterwards. */
static void test_conn__back_pressure_loses_nothing(void **state)
{
    struct probe p;
    uint8_t block[4096];
    size_t n_sent = 0;
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_pause(p.c);
    for (;;) {
        for (size_t i = 0; i < sizeof(block); i++) {
            block[i] = (uint8_t)((n_sent + i) * 31 >> 3);
        }
        const ssize_t n = send(p.fd, block, sizeof(block), MSG_DONTWAIT);
        if (n < 0) {
            break;
        }
        n_sent += (size_t)n;
        probe_turn(&p);
    }
    assert_true(n_sent > 16 * 1024);
    assert_int_equal(p.got_len, 0);
    p.take_max = 1000;
    for (int i = 0; i < TURNS_MAX && p.got_len < n_sent; i++) {
        conn_resume(p.c);
        probe_turn(&p);
    }
    assert_int_equal(p.got_len, n_sent);
    for (size_t i = 0; i < n_sent; i++) {
        assert_int_equal(p.got[i], (uint8_t)(i * 31 >> 3));
    }
    probe_close(&p);
}

static void test_conn__one_turn_reads_a_fair_share(void **state)
{
    struct probe p;
    const size_t len = 1024 * 1024;
    uint8_t *bytes = calloc(1, len);
    (void)state;
    probe_open_tcp(&p);
    probe_turns(&p, 2);
    const ssize_t n_sent = send(p.fd, bytes, len, MSG_DONTWAIT);
    /* More than a share waits, or the test would prove nothing. */
    assert_true(n_sent > CONN_READ_TURN_BYTES + LOOP_SCRATCH_BYTES);
    probe_turn(&p);
    assert_true(p.got_len > 0);
    assert_true(p.got_len <= CONN_READ_TURN_BYTES + LOOP_SCRATCH_BYTES);
    /* What was left comes without a new edge. */
    probe_wait_got(&p, (size_t)n_sent);
    free(bytes);
    probe_close(&p);
}

static void test_conn__the_queue_leaves_at_the_end_of_the_turn(void **state)
{
    struct probe p;
    char text[16];
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_write(p.c, "one", 3);
    conn_write(p.c, "two", 3);
    assert_int_equal(probe_receive(&p, text, sizeof(text)), -1);
    probe_turn(&p);
    assert_int_equal(probe_receive(&p, text, sizeof(text)), 6);
    assert_memory_equal(text, "onetwo", 6);
    assert_int_equal(p.c->sent_bytes, 6);
    probe_close(&p);
}

/* Writes more than the socket takes and drains it from the other end. */
static size_t drain(struct probe *p, size_t len)
{
    uint8_t block[8192];
    size_t n_drained = 0;
    for (int i = 0; i < TURNS_MAX && n_drained < len; i++) {
        const ssize_t n = probe_receive(p, block, sizeof(block));
        if (n == 0) {
            break;
        }
        n_drained += n > 0 ? (size_t)n : 0;
        probe_turn(p);
    }
    return n_drained;
}

static void test_conn__room_is_told_once_when_the_queue_fell(void **state)
{
    struct probe p;
    const size_t len = 1024 * 1024;
    uint8_t *bytes = calloc(1, len);
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_write(p.c, bytes, len);
    conn_want_room(p.c);
    probe_turns(&p, 5);
    assert_int_equal(p.n_room, 0);
    assert_true(conn_n_queued(p.c) > 0);
    assert_int_equal(drain(&p, len), len);
    assert_int_equal(p.n_room, 1);
    assert_int_equal(conn_n_queued(p.c), 0);
    free(bytes);
    probe_close(&p);
}

static void test_conn__room_is_told_when_there_is_room_already(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_want_room(p.c);
    assert_int_equal(p.n_room, 0);
    probe_turns(&p, 2);
    assert_int_equal(p.n_room, 1);
    probe_close(&p);
}

static void test_conn__moved_buffers_leave_in_order(void **state)
{
    struct probe p;
    struct buf b;
    char text[16];
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    buf_init(&b, &p.loop->bufs);
    buf_append(&b, "body", 4);
    conn_write(p.c, "head", 4);
    conn_write_buf(p.c, &b);
    assert_int_equal(buf_len(&b), 0);
    probe_turn(&p);
    assert_int_equal(probe_receive(&p, text, sizeof(text)), 8);
    assert_memory_equal(text, "headbody", 8);
    probe_close(&p);
}

static void test_conn__half_close_keeps_the_other_way_open(void **state)
{
    struct probe p;
    char text[8];
    (void)state;
    probe_open(&p);
    probe_send(&p, "last");
    shutdown(p.fd, SHUT_WR);
    probe_turns(&p, 3);
    assert_true(probe_has(&p, "last"));
    assert_int_equal(p.n_eof, 1);
    assert_int_equal(p.n_closed, 0);
    conn_write(p.c, "answer", 6);
    conn_shutdown(p.c);
    probe_wait_closed(&p);
    assert_int_equal(p.end, CONN_CLOSED_BY_PEER);
    assert_int_equal(probe_receive(&p, text, sizeof(text)), 6);
    assert_int_equal(probe_receive(&p, text, sizeof(text)), 0);
    probe_close(&p);
}

static void test_conn__we_may_shut_first_and_read_on(void **state)
{
    struct probe p;
    char text[8];
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_shutdown(p.c);
    probe_turn(&p);
    assert_int_equal(probe_receive(&p, text, sizeof(text)), 0);
    probe_send(&p, "more");
    probe_turns(&p, 2);
    assert_true(probe_has(&p, "more"));
    shutdown(p.fd, SHUT_WR);
    probe_wait_closed(&p);
    assert_int_equal(p.n_eof, 1);
    assert_int_equal(p.end, CONN_CLOSED_BY_PEER);
    probe_close(&p);
}

static void test_conn__eof_is_told_to_a_paused_owner(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_pause(p.c);
    shutdown(p.fd, SHUT_WR);
    probe_turns(&p, 2);
    assert_int_equal(p.n_eof, 1);
    probe_close(&p);
}

static void test_conn__eof_waits_behind_unread_bytes(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_pause(p.c);
    probe_send(&p, "unread");
    shutdown(p.fd, SHUT_WR);
    probe_turns(&p, 3);
    assert_int_equal(p.n_eof, 0);
    conn_resume(p.c);
    probe_turn(&p);
    assert_true(probe_has(&p, "unread"));
    assert_int_equal(p.n_eof, 1);
    probe_close(&p);
}

static void test_conn__kept_bytes_are_offered_after_eof(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    p.take_max = 2;
    probe_send(&p, "abcd");
    shutdown(p.fd, SHUT_WR);
    probe_turns(&p, 3);
    assert_true(probe_has(&p, "ab"));
    assert_int_equal(p.n_eof, 1);
    conn_resume(p.c);
    probe_turns(&p, 2);
    assert_true(probe_has(&p, "abcd"));
    assert_int_equal(p.n_eof, 1);
    probe_close(&p);
}

static void reset_by_peer(struct probe *p)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(p->fd);
    p->fd = -1;
}

static void test_conn__a_reset_ends_it(void **state)
{
    struct probe p;
    char text[128];
    (void)state;
    probe_open_tcp(&p);
    probe_turn(&p);
    reset_by_peer(&p);
    probe_wait_closed(&p);
    assert_int_equal(p.end, CONN_RESET);
    assert_int_equal(p.error_number, ECONNRESET);
    const struct conn over = {.end = p.end, .error_number = p.error_number};
    assert_string_equal(conn_end_text(&over, text, sizeof(text)),
                        "broken: Connection reset by peer");
    probe_close(&p);
}

/* One edge tells of both. */
static void test_conn__a_reset_behind_bytes_is_noticed(void **state)
{
    struct probe p;
    (void)state;
    probe_open_tcp(&p);
    probe_turn(&p);
    probe_send(&p, "half an answer");
    reset_by_peer(&p);
    probe_wait_closed(&p);
    assert_true(probe_has(&p, "half an answer"));
    assert_int_equal(p.end, CONN_RESET);
    probe_close(&p);
}

static void test_conn__a_reset_is_noticed_while_paused(void **state)
{
    struct probe p;
    (void)state;
    probe_open_tcp(&p);
    probe_turn(&p);
    conn_pause(p.c);
    probe_send(&p, "unread");
    probe_turns(&p, 2);
    reset_by_peer(&p);
    probe_wait_closed(&p);
    assert_int_equal(p.end, CONN_RESET);
    probe_close(&p);
}

/* The peer answers early, closes, and resets what we still send. */
static void test_conn__an_early_answer_survives_a_failed_write(void **state)
{
    struct probe p;
    const size_t len = 512 * 1024;
    uint8_t *bytes = calloc(1, len);
    (void)state;
    probe_open_tcp(&p);
    probe_turn(&p);
    conn_pause(p.c);
    conn_write(p.c, "unread by the peer", 18);
    probe_turns(&p, 2);
    probe_send(&p, "413 enough");
    close(p.fd); /* unread bytes: the kernel resets */
    p.fd = -1;
    conn_resume(p.c);
    conn_write(p.c, bytes, len);
    probe_wait_closed(&p);
    assert_int_equal(p.end, CONN_RESET);
    assert_true(probe_has(&p, "413 enough"));
    free(bytes);
    probe_close(&p);
}

static void test_conn__writes_after_a_failure_are_dropped(void **state)
{
    struct probe p;
    struct buf b;
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_close(p.c, CONN_TIMED_OUT);
    conn_write(p.c, "x", 1);
    buf_init(&b, NULL);
    buf_append(&b, "y", 1);
    conn_write_buf(p.c, &b);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(conn_n_queued(p.c), 0);
    assert_int_equal(p.n_closed, 0);
    probe_turn(&p);
    assert_int_equal(p.n_closed, 1);
    assert_int_equal(p.end, CONN_TIMED_OUT);
    probe_close(&p);
}

static void test_conn__closing_inside_of_on_bytes_ends_it_once(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    p.want_close = true;
    p.take_max = 1;
    probe_send(&p, "abc");
    probe_wait_closed(&p);
    assert_int_equal(p.n_offers, 1);
    assert_int_equal(p.end, CONN_CLOSED_BY_US);
    probe_close(&p);
}

static void test_conn__close_after_write_sends_all(void **state)
{
    struct probe p;
    const size_t len = 1024 * 1024;
    uint8_t *bytes = calloc(1, len);
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_write(p.c, bytes, len);
    conn_close_after_write(p.c);
    probe_turns(&p, 3);
    assert_int_equal(p.n_closed, 0);
    assert_int_equal(drain(&p, len), len);
    probe_wait_closed(&p);
    assert_int_equal(p.end, CONN_CLOSED_BY_US);
    free(bytes);
    probe_close(&p);
}

static void on_stall(struct conn *c)
{
    struct probe *p = c->owner;
    p->n_timer++;
    conn_close(c, CONN_TIMED_OUT);
}

static void test_conn__a_timer_ends_a_stalled_write(void **state)
{
    struct probe p;
    const size_t len = 1024 * 1024;
    uint8_t *bytes = calloc(1, len);
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_write(p.c, bytes, len);
    conn_close_after_write(p.c);
    conn_set_timer(p.c, 1, on_stall);
    probe_wait_closed(&p);
    assert_int_equal(p.n_timer, 1);
    assert_int_equal(p.end, CONN_TIMED_OUT);
    free(bytes);
    probe_close(&p);
}

static void test_conn__linger_waits_for_the_fin(void **state)
{
    struct probe p;
    char text[16];
    (void)state;
    probe_open_tcp(&p);
    probe_send(&p, "request");
    probe_turns(&p, 3);
    conn_write(p.c, "answer", 6);
    conn_close_linger(p.c);
    probe_turns(&p, 3);
    assert_int_equal(p.n_closed, 0);
    probe_send(&p, "more of the body");
    probe_turns(&p, 3);
    assert_true(probe_has(&p, "request"));
    assert_int_equal(recv(p.fd, text, sizeof(text), 0), 6);
    assert_int_equal(recv(p.fd, text, sizeof(text), 0), 0);
    assert_int_equal(p.n_closed, 0);
    close(p.fd);
    p.fd = -1;
    probe_wait_closed(&p);
    assert_int_equal(p.n_eof, 0);
    assert_int_equal(p.end, CONN_CLOSED_BY_US);
    probe_close(&p);
}

/* Sends until the conn is closed, `n_max` blocks of 8 KiB at most. */
static void probe_flood(struct probe *p, int n_max)
{
    const uint8_t block[8192] = {0};
    for (int i = 0; i < n_max && p->n_closed == 0; i++) {
        send(p->fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
        probe_turn(p);
    }
}

static void test_conn__linger_has_its_limits(void **state)
{
    struct probe p;
    (void)state;
    probe_open_tcp(&p);
    probe_turn(&p);
    conn_close_linger(p.c);
    probe_turn(&p);
    assert_true(p.c->is_shut);
    assert_true(timer_is_armed(&p.c->timer));
    probe_flood(&p, TURNS_MAX);
    assert_int_equal(p.n_closed, 1);
    assert_int_equal(p.end, CONN_CLOSED_BY_US);
    probe_close(&p);
}

/* However much comes, it goes on, until its time is over. */
static void test_conn__an_answered_one_reads_on(void **state)
{
    struct probe p;
    (void)state;
    probe_open_tcp(&p);
    probe_turn(&p);
    conn_close_answered(p.c);
    probe_turn(&p);
    probe_flood(&p, 64);
    assert_int_equal(p.n_closed, 0);
    assert_true(p.c->timer.deadline_ms >= p.loop->now_ms + CONN_LINGER_MS - 5);
    p.c->linger_end_ms = p.loop->now_ms + 1;
    probe_flood(&p, TURNS_MAX);
    assert_int_equal(p.n_closed, 1);
    assert_int_equal(p.end, CONN_CLOSED_BY_US);
    probe_close(&p);
}

static void test_conn__linger_ends_by_its_own_timer(void **state)
{
    struct probe p;
    (void)state;
    probe_open_tcp(&p);
    probe_turn(&p);
    conn_set_timer(p.c, 1, on_stall);
    conn_close_linger(p.c);
    probe_turn(&p);
    assert_true(p.c->timer.deadline_ms >= p.loop->now_ms + CONN_LINGER_MS - 5);
    conn_on_timer(&p.c->timer);
    probe_turn(&p);
    assert_int_equal(p.n_closed, 1);
    assert_int_equal(p.n_timer, 0);
    probe_close(&p);
}

static void test_conn__abort_sends_a_reset(void **state)
{
    struct probe p;
    char text[8];
    (void)state;
    probe_open_tcp(&p);
    probe_turn(&p);
    conn_write(p.c, "lost", 4);
    conn_abort(p.c);
    probe_turn(&p);
    assert_int_equal(p.n_closed, 1);
    assert_int_equal(p.end, CONN_CLOSED_BY_US);
    assert_int_equal(recv(p.fd, text, sizeof(text), 0), -1);
    assert_int_equal(errno, ECONNRESET);
    probe_close(&p);
}

static size_t second_on_bytes(struct conn *c, const uint8_t *bytes, size_t len)
{
    struct probe *p = c->owner;
    assert_memory_equal(bytes, "rest", len < 4 ? len : 4);
    memcpy(p->got + p->got_len, bytes, len);
    p->got_len += len;
    return len;
}

static void test_conn__a_new_owner_gets_the_rest(void **state)
{
    static struct conn_ops second;
    struct probe p;
    (void)state;
    second = probe_ops;
    second.on_bytes = second_on_bytes;
    probe_open(&p);
    p.take_max = 5;
    p.next_ops = &second;
    probe_send(&p, "PROXYrest");
    probe_turns(&p, 3);
    assert_int_equal(p.n_offers, 1);
    assert_true(probe_has(&p, "PROXYrest"));
    probe_close(&p);
}

static size_t third_on_bytes(struct conn *c, const uint8_t *bytes, size_t len)
{
    const struct probe *p = c->owner;
    assert_int_equal(p->n_eof, 0);
    return second_on_bytes(c, bytes, len);
}

/* The client sent all it had, FIN included, before we first looked. */
static void test_conn__a_new_owner_gets_the_rest_before_eof(void **state)
{
    static struct conn_ops third;
    struct probe p;
    (void)state;
    third = probe_ops;
    third.on_bytes = third_on_bytes;
    probe_open(&p);
    p.take_max = 5;
    p.next_ops = &third;
    probe_send(&p, "PROXYrest");
    shutdown(p.fd, SHUT_WR);
    probe_turns(&p, 3);
    assert_true(probe_has(&p, "PROXYrest"));
    assert_int_equal(p.n_eof, 1);
    probe_close(&p);
}

static void test_conn__the_timer_fires_once(void **state)
{
    struct probe p;
    (void)state;
    probe_open(&p);
    probe_turn(&p);
    conn_set_timer(p.c, 1, on_stall);
    conn_set_timer(p.c, 0, NULL);
    assert_false(timer_is_armed(&p.c->timer));
    conn_set_timer(p.c, 1, on_stall);
    probe_wait_closed(&p);
    assert_int_equal(p.n_timer, 1);
    probe_close(&p);
}

static void test_conn__connect_reaches_a_listener(void **state)
{
    struct probe p;
    struct addr a;
    char text[8];
    (void)state;
    probe_init(&p);
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    const int listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, &a.sa, a.len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, &a.sa, &a.len), 0);
    p.c = conn_connect(p.loop, &a, NULL, &probe_ops, &p);
    assert_int_equal(p.n_ready, 0);
    conn_write(p.c, "early", 5); /* leaves when it is connected */
    probe_turns(&p, 5);
    assert_int_equal(p.n_ready, 1);
    p.fd = accept(listening, NULL, NULL);
    assert_int_equal(recv(p.fd, text, sizeof(text), 0), 5);
    assert_true(addr_port(&p.c->local) != 0);
    close(listening);
    probe_close(&p);
}

static void test_conn__a_refused_connect_is_told(void **state)
{
    struct probe p;
    struct addr a;
    (void)state;
    probe_init(&p);
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    const int bound = socket(AF_INET, SOCK_STREAM, 0); /* listens to nobody */
    assert_int_equal(bind(bound, &a.sa, a.len), 0);
    assert_int_equal(getsockname(bound, &a.sa, &a.len), 0);
    p.c = conn_connect(p.loop, &a, NULL, &probe_ops, &p);
    assert_int_equal(p.n_closed, 0);
    probe_wait_closed(&p);
    assert_int_equal(p.end, CONN_CONNECT_FAILED);
    assert_int_equal(p.error_number, ECONNREFUSED);
    assert_int_equal(p.n_ready, 0);
    close(bound);
    probe_close(&p);
}

static void test_conn__a_missing_path_is_told_later(void **state)
{
    struct probe p;
    struct addr a;
    (void)state;
    probe_init(&p);
    assert_true(addr_parse(STR("unix:/nonexistent/socket"), &a));
    p.c = conn_connect(p.loop, &a, NULL, &probe_ops, &p);
    assert_int_equal(p.n_closed, 0);
    probe_turn(&p);
    assert_int_equal(p.n_closed, 1);
    assert_int_equal(p.end, CONN_CONNECT_FAILED);
    assert_int_equal(p.error_number, ENOENT);
    probe_close(&p);
}

static void test_conn__each_end_has_its_words(void **state)
{
    char text[256];
    (void)state;
    const struct conn verify = {.end = CONN_TLS_FAILED,
                                .tls_verify_error =
                                    X509_V_ERR_HOSTNAME_MISMATCH};
    assert_non_null(strstr(conn_end_text(&verify, text, sizeof(text)),
                           "hostname mismatch"));
    const struct conn cut = {.end = CONN_TLS_FAILED};
    assert_non_null(
        strstr(conn_end_text(&cut, text, sizeof(text)), "handshake"));
    const struct conn refused = {.end = CONN_CONNECT_FAILED,
                                 .error_number = ECONNREFUSED};
    assert_non_null(
        strstr(conn_end_text(&refused, text, sizeof(text)), "refused"));
    const struct conn open_conn = {.end = CONN_OPEN};
    assert_string_equal(conn_end_text(&open_conn, text, sizeof(text)), "open");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn__ready_comes_first_and_once),
        cmocka_unit_test(test_conn__untaken_bytes_come_again_in_front),
        cmocka_unit_test(test_conn__an_idle_conn_holds_no_buffer),
        cmocka_unit_test(test_conn__a_paused_conn_reads_nothing),
        cmocka_unit_test(test_conn__back_pressure_loses_nothing),
        cmocka_unit_test(test_conn__one_turn_reads_a_fair_share),
        cmocka_unit_test(test_conn__the_queue_leaves_at_the_end_of_the_turn),
        cmocka_unit_test(test_conn__room_is_told_once_when_the_queue_fell),
        cmocka_unit_test(test_conn__room_is_told_when_there_is_room_already),
        cmocka_unit_test(test_conn__moved_buffers_leave_in_order),
        cmocka_unit_test(test_conn__half_close_keeps_the_other_way_open),
        cmocka_unit_test(test_conn__we_may_shut_first_and_read_on),
        cmocka_unit_test(test_conn__eof_is_told_to_a_paused_owner),
        cmocka_unit_test(test_conn__eof_waits_behind_unread_bytes),
        cmocka_unit_test(test_conn__kept_bytes_are_offered_after_eof),
        cmocka_unit_test(test_conn__a_reset_ends_it),
        cmocka_unit_test(test_conn__a_reset_behind_bytes_is_noticed),
        cmocka_unit_test(test_conn__a_reset_is_noticed_while_paused),
        cmocka_unit_test(test_conn__an_early_answer_survives_a_failed_write),
        cmocka_unit_test(test_conn__writes_after_a_failure_are_dropped),
        cmocka_unit_test(test_conn__closing_inside_of_on_bytes_ends_it_once),
        cmocka_unit_test(test_conn__close_after_write_sends_all),
        cmocka_unit_test(test_conn__a_timer_ends_a_stalled_write),
        cmocka_unit_test(test_conn__linger_waits_for_the_fin),
        cmocka_unit_test(test_conn__linger_has_its_limits),
        cmocka_unit_test(test_conn__an_answered_one_reads_on),
        cmocka_unit_test(test_conn__linger_ends_by_its_own_timer),
        cmocka_unit_test(test_conn__abort_sends_a_reset),
        cmocka_unit_test(test_conn__a_new_owner_gets_the_rest),
        cmocka_unit_test(test_conn__a_new_owner_gets_the_rest_before_eof),
        cmocka_unit_test(test_conn__the_timer_fires_once),
        cmocka_unit_test(test_conn__connect_reaches_a_listener),
        cmocka_unit_test(test_conn__a_refused_connect_is_told),
        cmocka_unit_test(test_conn__a_missing_path_is_told_later),
        cmocka_unit_test(test_conn__each_end_has_its_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
