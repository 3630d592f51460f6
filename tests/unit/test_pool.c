/*
 * Unit tests of upstream/pool: a real loop and connections over loopback. The
 * test plays the server: it accepts from a plain socket, reads requests and
 * writes answers, all without blocking, between turns of the loop.
 */
#define _GNU_SOURCE
#include "upstream/pool.c"

#include "base/metric.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { FX_TURNS_MAX = 2000, FX_WAIT_MS = 5 };

struct fx {
    struct loop *loop;
    struct pool_set set;
    struct slot *slot;
    void *slot_block;
    struct upstream up;
    struct endpoint ep;
    struct codec_limits limits;
    int server; /* listening */
};

/* A request of a test, and what became of it. */
struct ask {
    struct pool_request r;
    struct fx *fx;
    struct arena arena;
    struct stream *s;
    struct codec *codec;
    int status;
    enum fault fault;
    unsigned n_ready;
    unsigned n_failed;
    char why[256];
    bool is_held; /* do not close the stream when its answer is complete */
    enum method method;
};

static void ask_close(struct ask *a)
{
    if (a->s != NULL) {
        struct stream *s = a->s;
        a->s = NULL;
        stream_close(s);
    }
}

static void ask_on_head(struct stream *s, struct head *h, bool is_end)
{
    struct ask *a = s->owner;
    a->status = h->status;
    if (is_end && !a->is_held) {
        ask_close(a);
    }
}

static void
ask_on_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    struct ask *a = s->owner;
    (void)p;
    stream_credit(s, len);
    if (is_end && !a->is_held) {
        ask_close(a);
    }
}

static void ask_on_trailers(struct stream *s, struct head *trailers)
{
    (void)trailers;
    ask_close(s->owner);
}

static void ask_on_fault(struct stream *s, enum fault f)
{
    struct ask *a = s->owner;
    a->fault = f;
    ask_close(a);
}

static void ask_on_room(struct stream *s)
{
    (void)s;
}

static const struct stream_ops ask_ops = {
    .on_head = ask_on_head,
    .on_data = ask_on_data,
    .on_trailers = ask_on_trailers,
    .on_fault = ask_on_fault,
    .on_room = ask_on_room,
};

static void ask_on_ready(struct pool_request *r, struct codec *k)
{
    struct ask *a = CONTAINER_OF(r, struct ask, r);
    struct head h;
    a->n_ready++;
    a->codec = k;
    a->s = codec_open(k, &ask_ops, a, &a->arena);
    head_init(&h, &a->arena);
    h.method = a->method;
    h.method_text = a->method == METHOD_POST ? STR("POST") : STR("GET");
    h.scheme = STR("http");
    h.authority = STR("a.test");
    h.path = STR("/");
    stream_send_head(a->s, &h, true);
}

static void ask_on_failed(struct pool_request *r, enum fault f, const char *why)
{
    struct ask *a = CONTAINER_OF(r, struct ask, r);
    a->n_failed++;
    a->fault = f;
    snprintf(a->why, sizeof(a->why), "%s", why);
}

static void ask_init(struct ask *a, struct fx *fx)
{
    memset(a, 0, sizeof(*a));
    a->fx = fx;
    a->method = METHOD_GET;
    arena_init(&a->arena, &fx->loop->arenas, 1 << 20);
    a->r.on_ready = ask_on_ready;
    a->r.on_failed = ask_on_failed;
}

static void ask_begin(struct ask *a, struct fx *fx)
{
    ask_init(a, fx);
    assert_true(pool_acquire(&fx->set, &fx->ep, &a->r));
}

static void ask_fini(struct ask *a)
{
    pool_cancel(&a->r);
    ask_close(a);
    loop_run_once(a->fx->loop, 0);
    arena_reset(&a->arena);
}

/* ---- the fixture -------------------------------------------------------- */

static struct addr fx_listen(int *fd)
{
    struct addr a;
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*fd, &a.sa, a.len), 0);
    assert_int_equal(listen(*fd, 16), 0);
    assert_int_equal(getsockname(*fd, &a.sa, &a.len), 0);
    return a;
}

static struct slot *fx_slot(void **block)
{
    char *p = mem_new(sizeof(struct slot) + 63);
    *block = p;
    return (struct slot *)(void *)(p + (64 - (uintptr_t)p % 64) % 64);
}

static void fx_init(struct fx *fx)
{
    memset(fx, 0, sizeof(*fx));
    fx->loop = loop_new("test", 0);
    fx->loop->metrics = metric_set_new();
    pool_set_init(&fx->set, fx->loop);
    fx->slot = fx_slot(&fx->slot_block);
    fx->limits = codec_limits_default();
    fx->up = (struct upstream){
        .name = STR("u"),
        .protocol = UPSTREAM_HTTP1,
        .limits = &fx->limits,
        .connect_timeout_ms = 5000,
        .keep_alive_idle_ms = 60000,
        .n_keep_alive_max = 8,
    };
    fx->ep = (struct endpoint){.id = STR("e"), .slot = fx->slot};
    fx->ep.upstream = &fx->up;
    fx->ep.n_conns_max = 8;
    fx->slot->queue = queue_new();
    fx->ep.addr = fx_listen(&fx->server);
}

static void fx_fini(struct fx *fx)
{
    pool_set_fini(&fx->set);
    loop_run_once(fx->loop, 0);
    assert_int_equal(fx->set.n_conns, 0);
    assert_true(list_is_empty(&fx->set.conns));
    assert_int_equal(atomic_load(&fx->slot->n_conns), 0);
    loop_free(fx->loop);
    queue_free(fx->slot->queue);
    mem_free(fx->slot_block);
    close(fx->server);
}

/* Turns until the server has a connection to take. */
static int fx_accept(struct fx *fx)
{
    for (int i = 0; i < FX_TURNS_MAX; i++) {
        const int fd =
            accept4(fx->server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            return fd;
        }
        loop_run_once(fx->loop, FX_WAIT_MS);
    }
    fail_msg("no connection came");
    return -1;
}

static bool fx_has_connection(struct fx *fx)
{
    const int fd =
        accept4(fx->server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* Turns until the server has read a whole request from `fd`. */
static void fx_read_request(struct fx *fx, int fd)
{
    char text[4096];
    size_t len = 0;
    for (int i = 0; i < FX_TURNS_MAX; i++) {
        const ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
        if (n > 0) {
            len += (size_t)n;
            text[len] = '\0';
            if (strstr(text, "\r\n\r\n") != NULL) {
                return;
            }
        }
        loop_run_once(fx->loop, FX_WAIT_MS);
    }
    fail_msg("no request came");
}

static void fx_send(int fd, const char *text)
{
    const ssize_t len = (ssize_t)strlen(text);
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
}

#define FX_UNTIL(fx, condition)                                                \
    do {                                                                       \
        int turns = 0;                                                         \
        while (!(condition)) {                                                 \
            assert_true(turns++ < FX_TURNS_MAX);                               \
            loop_run_once((fx)->loop, FX_WAIT_MS);                             \
        }                                                                      \
    } while (0)

static const char fx_ok[] = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/* A whole request and answer over a new connection, which is kept. */
static int fx_warm(struct fx *fx)
{
    struct ask a;
    ask_begin(&a, fx);
    const int fd = fx_accept(fx);
    fx_read_request(fx, fd);
    fx_send(fd, fx_ok);
    FX_UNTIL(fx, a.status == 200);
    ask_fini(&a);
    return fd;
}

static struct pool *fx_pool(struct fx *fx)
{
    return fx->set.pools[fx->slot->index];
}

/* ---- tests -------------------------------------------------------------- */

static void test_pool__a_connection_is_used_again(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    const int fd = fx_warm(&fx);
    assert_int_equal(fx_pool(&fx)->n_idle, 1);
    ask_begin(&a, &fx);
    assert_int_equal(a.n_ready, 1); /* inside the call */
    fx_read_request(&fx, fd);
    fx_send(fd, fx_ok);
    FX_UNTIL(&fx, a.status == 200);
    assert_int_equal(atomic_load(&fx.slot->n_connects), 1);
    assert_false(fx_has_connection(&fx));
    ask_fini(&a);
    fx_fini(&fx);
    close(fd);
}

static void test_pool__no_more_idle_ones_than_allowed(void **state)
{
    struct fx fx;
    struct ask a[3];
    int fd[3];
    (void)state;
    fx_init(&fx);
    fx.up.n_keep_alive_max = 2;
    for (int i = 0; i < 3; i++) {
        ask_begin(&a[i], &fx);
        fd[i] = fx_accept(&fx);
        fx_read_request(&fx, fd[i]);
    }
    for (int i = 0; i < 3; i++) {
        fx_send(fd[i], fx_ok);
    }
    for (int i = 0; i < 3; i++) {
        FX_UNTIL(&fx, a[i].status == 200);
        ask_fini(&a[i]);
    }
    FX_UNTIL(&fx, fx.set.n_conns == 2);
    assert_int_equal(fx_pool(&fx)->n_idle, 2);
    fx_fini(&fx);
    for (int i = 0; i < 3; i++) {
        close(fd[i]);
    }
}

static void test_pool__at_the_cap_requests_wait_their_turn(void **state)
{
    struct fx fx;
    struct ask a[3];
    (void)state;
    fx_init(&fx);
    fx.ep.n_conns_max = 1;
    for (int i = 0; i < 3; i++) {
        ask_begin(&a[i], &fx);
    }
    const int fd = fx_accept(&fx);
    for (int i = 0; i < 3; i++) {
        fx_read_request(&fx, fd);
        assert_int_equal(a[i].n_ready, 1);
        assert_int_equal(i < 2 ? a[i + 1].n_ready : 0, 0);
        fx_send(fd, fx_ok);
        FX_UNTIL(&fx, a[i].status == 200);
    }
    assert_int_equal(atomic_load(&fx.slot->n_connects), 1);
    for (int i = 0; i < 3; i++) {
        ask_fini(&a[i]);
    }
    fx_fini(&fx);
    close(fd);
}

static void test_pool__a_place_that_closes_serves_the_waiting(void **state)
{
    struct fx fx;
    struct ask a[2];
    (void)state;
    fx_init(&fx);
    fx.ep.n_conns_max = 1;
    ask_begin(&a[0], &fx);
    ask_begin(&a[1], &fx);
    const int fd = fx_accept(&fx);
    fx_read_request(&fx, fd);
    fx_send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
                "connection: close\r\n\r\n");
    const int fd2 = fx_accept(&fx);
    fx_read_request(&fx, fd2);
    fx_send(fd2, fx_ok);
    FX_UNTIL(&fx, a[1].status == 200);
    ask_fini(&a[0]);
    ask_fini(&a[1]);
    fx_fini(&fx);
    close(fd);
    close(fd2);
}

static void test_pool__a_refused_connection_fails_its_request(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    close(fx.server);
    fx.server = -1;
    ask_begin(&a, &fx);
    assert_int_equal(a.n_failed, 0); /* never inside the call */
    FX_UNTIL(&fx, a.n_failed == 1);
    assert_int_equal(a.fault, FAULT_CONNECT_FAILED);
    assert_non_null(strstr(a.why, "refused"));
    assert_int_equal(a.n_ready, 0);
    FX_UNTIL(&fx, fx.set.n_conns == 0);
    ask_fini(&a);
    fx_fini(&fx);
}

static void test_pool__each_waiting_request_is_failed_once(void **state)
{
    struct fx fx;
    struct ask a[4];
    (void)state;
    fx_init(&fx);
    fx.ep.n_conns_max = 2;
    close(fx.server);
    fx.server = -1;
    for (int i = 0; i < 4; i++) {
        ask_begin(&a[i], &fx);
    }
    for (int i = 0; i < 4; i++) {
        FX_UNTIL(&fx, a[i].n_failed == 1);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(a[i].n_failed, 1);
        ask_fini(&a[i]);
    }
    fx_fini(&fx);
}

static void test_pool__a_lost_connection_of_a_leaver_fails_nobody(void **state)
{
    struct fx fx;
    struct ask a[2];
    (void)state;
    fx_init(&fx);
    ask_begin(&a[0], &fx);
    ask_begin(&a[1], &fx);
    struct pool *p = fx_pool(&fx);
    assert_int_equal(p->n_connecting, 2);
    pool_cancel(&a[0].r);
    struct pool_conn *pc =
        CONTAINER_OF(list_first(&p->others), struct pool_conn, node);
    conn_close(pc->conn, CONN_CONNECT_FAILED);
    const int fd = fx_accept(&fx);
    FX_UNTIL(&fx, a[1].n_ready == 1);
    assert_int_equal(a[1].n_failed, 0);
    ask_fini(&a[0]);
    ask_fini(&a[1]);
    fx_fini(&fx);
    close(fd);
}

static void test_pool__a_cancelled_request_hears_nothing(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    ask_begin(&a, &fx);
    pool_cancel(&a.r);
    pool_cancel(&a.r);
    const int fd = fx_accept(&fx);
    FX_UNTIL(&fx, fx_pool(&fx)->n_idle == 1); /* the next one's luck */
    assert_int_equal(a.n_ready + a.n_failed, 0);
    ask_fini(&a);
    fx_fini(&fx);
    close(fd);
}

static void test_pool__a_fresh_connection_is_never_shared(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    const int old = fx_warm(&fx);
    ask_init(&a, &fx);
    a.r.want_fresh = true;
    assert_true(pool_acquire(&fx.set, &fx.ep, &a.r));
    const int fd = fx_accept(&fx);
    fx_read_request(&fx, fd);
    fx_send(fd, fx_ok);
    FX_UNTIL(&fx, a.status == 200);
    FX_UNTIL(&fx, fx.set.n_conns == 1);
    assert_int_equal(fx_pool(&fx)->n_idle, 1);
    ask_fini(&a);
    fx_fini(&fx);
    close(fd);
    close(old);
}

static void test_pool__a_cancelled_fresh_connection_closes(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    ask_init(&a, &fx);
    a.r.want_fresh = true;
    assert_true(pool_acquire(&fx.set, &fx.ep, &a.r));
    pool_cancel(&a.r);
    FX_UNTIL(&fx, fx.set.n_conns == 0);
    assert_int_equal(a.n_ready + a.n_failed, 0);
    ask_fini(&a);
    fx_fini(&fx);
}

static void test_pool__fresh_connections_keep_to_the_cap(void **state)
{
    struct fx fx;
    struct ask a;
    struct ask b;
    (void)state;
    fx_init(&fx);
    fx.ep.n_conns_max = 1;
    const int old = fx_warm(&fx);
    ask_init(&a, &fx);
    a.r.want_fresh = true;
    /* The idle connection gives way, and is closed before. */
    assert_true(pool_acquire(&fx.set, &fx.ep, &a.r));
    assert_int_equal(fx_pool(&fx)->n_conns, 1);
    assert_int_equal(atomic_load(&fx.slot->n_connects), 1);
    const int fd = fx_accept(&fx);
    FX_UNTIL(&fx, a.n_ready == 1 && fx.set.n_conns == 1);
    assert_int_equal(recv(old, &(char){0}, 1, 0), 0);
    /* The next one waits for the place. */
    ask_init(&b, &fx);
    b.r.want_fresh = true;
    assert_true(pool_acquire(&fx.set, &fx.ep, &b.r));
    assert_int_equal(atomic_load(&fx.slot->n_connects), 2);
    ask_fini(&a);
    const int fd2 = fx_accept(&fx);
    FX_UNTIL(&fx, b.n_ready == 1 && fx.set.n_conns == 1);
    ask_fini(&b);
    fx_fini(&fx);
    close(fd);
    close(fd2);
    close(old);
}

/* Two workers share the one place: who has it idle is asked, and gives it. */
static void test_pool__an_idle_place_goes_to_the_other_worker(void **state)
{
    struct fx fx;
    struct ask a;
    struct pool_set other;
    (void)state;
    fx_init(&fx);
    fx.ep.n_conns_max = 1;
    pool_set_init(&other, fx.loop);
    struct pool_set *sets[] = {&fx.set, &other};
    const struct pool_peers peers = {.sets = sets, .n = 2};
    fx.set.peers = &peers;
    other.peers = &peers;
    const int old = fx_warm(&fx);
    ask_init(&a, &fx);
    assert_true(pool_acquire(&other, &fx.ep, &a.r));
    assert_int_equal(atomic_load(&fx.slot->n_conns), 1);
    const int fd = fx_accept(&fx);
    FX_UNTIL(&fx, a.n_ready == 1);
    assert_int_equal(fx.set.n_conns, 0);
    assert_int_equal(atomic_load(&fx.slot->n_conns), 1);
    assert_int_equal(queue_length(fx.slot->queue), 0);
    ask_fini(&a);
    pool_set_fini(&other);
    fx_fini(&fx);
    close(fd);
    close(old);
}

static void
test_pool__a_refused_fresh_connection_fails_its_request(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    close(fx.server);
    fx.server = -1;
    ask_init(&a, &fx);
    a.r.want_fresh = true;
    assert_true(pool_acquire(&fx.set, &fx.ep, &a.r));
    FX_UNTIL(&fx, a.n_failed == 1);
    assert_int_equal(a.fault, FAULT_CONNECT_FAILED);
    pool_cancel(&a.r); /* harmless */
    ask_fini(&a);
    fx_fini(&fx);
}

/* The place of a fresh connection that failed is one for the waiting. */
static void test_pool__a_lost_fresh_connection_serves_the_waiting(void **state)
{
    struct fx fx;
    struct ask a;
    struct ask b;
    (void)state;
    fx_init(&fx);
    fx.ep.n_conns_max = 1;
    ask_init(&a, &fx);
    a.r.want_fresh = true;
    assert_true(pool_acquire(&fx.set, &fx.ep, &a.r));
    ask_begin(&b, &fx);
    pool_cancel(&a.r);
    FX_UNTIL(&fx, b.n_ready == 1);
    ask_fini(&a);
    ask_fini(&b);
    fx_fini(&fx);
}

static void test_pool__a_retired_pool_lets_running_streams_end(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    const int idle = fx_warm(&fx);
    ask_begin(&a, &fx);
    fx_read_request(&fx, idle);
    pool_retire(&fx.set, fx.slot);
    assert_null(fx_pool(&fx));
    assert_int_equal(atomic_load(&fx.slot->n_conns), 0);
    fx_send(idle, fx_ok);
    FX_UNTIL(&fx, a.status == 200);
    FX_UNTIL(&fx, fx.set.n_conns == 0);
    ask_fini(&a);
    fx_fini(&fx);
    close(idle);
}

/* An older snapshot may still wait for the slot: the newer one must not take
 * the pool away. */
static void test_pool__a_pool_that_is_waited_for_is_not_retired(void **state)
{
    struct fx fx;
    struct ask a;
    struct ask b;
    (void)state;
    fx_init(&fx);
    ask_init(&a, &fx);
    a.r.want_fresh = true;
    assert_true(pool_acquire(&fx.set, &fx.ep, &a.r));
    pool_retire(&fx.set, fx.slot);
    ask_begin(&b, &fx);
    pool_retire(&fx.set, fx.slot);
    FX_UNTIL(&fx, a.n_ready == 1 && b.n_ready == 1);
    pool_retire(&fx.set, fx.slot);
    assert_null(fx_pool(&fx));
    ask_fini(&a);
    ask_fini(&b);
    fx_fini(&fx);
}

/* Retired connections that still connect are closed with the rest. */
static void test_pool__the_end_closes_retired_connections(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    ask_begin(&a, &fx);
    pool_cancel(&a.r);
    pool_retire(&fx.set, fx.slot);
    assert_int_equal(fx.set.n_conns, 1);
    ask_fini(&a);
    fx_fini(&fx); /* checks that none is left */
}

static void test_pool__draining_serves_those_who_wait(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    ask_begin(&a, &fx);
    pool_set_drain(&fx.set);
    const int fd = fx_accept(&fx);
    FX_UNTIL(&fx, a.n_ready == 1);
    fx_read_request(&fx, fd);
    fx_send(fd, fx_ok);
    FX_UNTIL(&fx, a.status == 200);
    FX_UNTIL(&fx, fx.set.n_conns == 0); /* and keeps nothing */
    assert_int_equal(atomic_load(&fx.slot->n_connects), 1);
    ask_fini(&a);
    fx_fini(&fx);
    close(fd);
}

/* The peer's FIN lay in the socket when the request was given the connection:
 * none of its bytes left, so even a POST may be tried again. */
static void test_pool__a_stale_connection_refuses_the_request(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    const int fd = fx_warm(&fx);
    ask_init(&a, &fx);
    a.method = METHOD_POST;
    shutdown(fd, SHUT_WR);
    assert_true(pool_acquire(&fx.set, &fx.ep, &a.r));
    assert_int_equal(a.n_ready, 1);
    FX_UNTIL(&fx, a.fault != FAULT_NONE);
    assert_int_equal(a.fault, FAULT_REFUSED);
    char byte;
    assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
    ask_fini(&a);
    fx_fini(&fx);
    close(fd);
}

/* Once bytes have left, the peer may have acted upon them. */
static void test_pool__a_connection_that_ends_later_is_a_reset(void **state)
{
    struct fx fx;
    struct ask a;
    (void)state;
    fx_init(&fx);
    const int fd = fx_warm(&fx);
    ask_begin(&a, &fx);
    fx_read_request(&fx, fd);
    shutdown(fd, SHUT_WR);
    FX_UNTIL(&fx, a.fault != FAULT_NONE);
    assert_int_equal(a.fault, FAULT_RESET_BY_UPSTREAM);
    ask_fini(&a);
    fx_fini(&fx);
    close(fd);
}

/* SETTINGS that say nothing, so that the defaults count. */
static void fx_send_settings(int fd)
{
    static const char frame[9] = {0, 0, 0, 4};
    assert_int_equal(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), 9);
}

static void test_pool__http2_requests_share_a_connection(void **state)
{
    struct fx fx;
    struct ask a[3];
    (void)state;
    fx_init(&fx);
    fx.up.protocol = UPSTREAM_H2C;
    for (int i = 0; i < 3; i++) {
        ask_begin(&a[i], &fx);
    }
    assert_int_equal(fx_pool(&fx)->n_connecting, 1);
    FX_UNTIL(&fx, a[0].n_ready == 1);
    const int fd = fx_accept(&fx);
    /* How many it takes is not known yet: the others wait for it. */
    for (int i = 0; i < 5; i++) {
        loop_run_once(fx.loop, 1);
    }
    assert_int_equal(a[1].n_ready + a[2].n_ready, 0);
    fx_send_settings(fd);
    for (int i = 0; i < 3; i++) {
        FX_UNTIL(&fx, a[i].n_ready == 1);
        assert_ptr_equal(a[i].codec, a[0].codec);
    }
    assert_int_equal(atomic_load(&fx.slot->n_connects), 1);
    for (int i = 0; i < 3; i++) {
        ask_fini(&a[i]);
    }
    fx_fini(&fx);
    close(fd);
}

static void test_pool__who_waits_for_settings_is_told_of_the_end(void **state)
{
    struct fx fx;
    struct ask a[3];
    (void)state;
    fx_init(&fx);
    fx.up.protocol = UPSTREAM_H2C;
    for (int i = 0; i < 3; i++) {
        ask_begin(&a[i], &fx);
    }
    FX_UNTIL(&fx, a[0].n_ready == 1);
    close(fx_accept(&fx));
    for (int i = 1; i < 3; i++) {
        FX_UNTIL(&fx, a[i].n_failed == 1);
        assert_int_equal(a[i].fault, FAULT_CONNECT_FAILED);
        assert_non_null(strstr(a[i].why, "SETTINGS"));
    }
    assert_int_equal(atomic_load(&fx.slot->n_connects), 1);
    for (int i = 0; i < 3; i++) {
        ask_fini(&a[i]);
    }
    fx_fini(&fx);
}

static void test_pool__all_wait_for_one_http2_connection(void **state)
{
    struct fx fx;
    struct ask a[3];
    (void)state;
    fx_init(&fx);
    fx.up.protocol = UPSTREAM_H2C;
    close(fx.server);
    fx.server = -1;
    for (int i = 0; i < 3; i++) {
        ask_begin(&a[i], &fx);
    }
    for (int i = 0; i < 3; i++) {
        FX_UNTIL(&fx, a[i].n_failed == 1);
        ask_fini(&a[i]);
    }
    assert_int_equal(atomic_load(&fx.slot->n_connects), 1);
    fx_fini(&fx);
}

/* Comes in the turn in which the connection got ready, before the turn's end
 * hands it out. */
struct late {
    struct deferred d;
    struct fx *fx;
    struct ask a;
    bool is_begun;
};

static void late_on_turn_end(struct deferred *d)
{
    struct late *l = CONTAINER_OF(d, struct late, d);
    const struct pool *p = fx_pool(l->fx);
    if (!l->is_begun && p->n_conns == 1 && p->n_connecting == 0) {
        l->is_begun = true;
        ask_begin(&l->a, l->fx);
    }
}

static void test_pool__who_comes_late_in_the_turn_waits_too(void **state)
{
    static const enum upstream_protocol protocols[] = {UPSTREAM_H2C,
                                                       UPSTREAM_HTTP1};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fx fx;
        struct ask a[2];
        const bool is_h2 = protocols[i] == UPSTREAM_H2C;
        struct late l = {.d.fn = late_on_turn_end, .fx = &fx};
        fx_init(&fx);
        fx.up.protocol = protocols[i];
        ask_begin(&a[0], &fx);
        if (is_h2) {
            ask_begin(&a[1], &fx);
        }
        for (int n = 0; !l.is_begun; n++) {
            assert_true(n < FX_TURNS_MAX);
            loop_defer(fx.loop, &l.d);
            loop_run_once(fx.loop, FX_WAIT_MS);
        }
        const int fd = fx_accept(&fx);
        if (is_h2) {
            fx_send_settings(fd);
        }
        FX_UNTIL(&fx, a[0].n_ready == 1 && l.a.n_ready == 1);
        assert_int_equal(atomic_load(&fx.slot->n_connects), is_h2 ? 1 : 2);
        ask_fini(&l.a);
        ask_fini(&a[0]);
        if (is_h2) {
            ask_fini(&a[1]);
        }
        fx_fini(&fx);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool__a_connection_is_used_again),
        cmocka_unit_test(test_pool__no_more_idle_ones_than_allowed),
        cmocka_unit_test(test_pool__at_the_cap_requests_wait_their_turn),
        cmocka_unit_test(test_pool__a_place_that_closes_serves_the_waiting),
        cmocka_unit_test(test_pool__a_refused_connection_fails_its_request),
        cmocka_unit_test(test_pool__each_waiting_request_is_failed_once),
        cmocka_unit_test(test_pool__a_lost_connection_of_a_leaver_fails_nobody),
        cmocka_unit_test(test_pool__a_cancelled_request_hears_nothing),
        cmocka_unit_test(test_pool__a_fresh_connection_is_never_shared),
        cmocka_unit_test(test_pool__a_cancelled_fresh_connection_closes),
        cmocka_unit_test(test_pool__fresh_connections_keep_to_the_cap),
        cmocka_unit_test(test_pool__an_idle_place_goes_to_the_other_worker),
        cmocka_unit_test(
            test_pool__a_refused_fresh_connection_fails_its_request),
        cmocka_unit_test(test_pool__a_lost_fresh_connection_serves_the_waiting),
        cmocka_unit_test(test_pool__a_retired_pool_lets_running_streams_end),
        cmocka_unit_test(test_pool__a_pool_that_is_waited_for_is_not_retired),
        cmocka_unit_test(test_pool__the_end_closes_retired_connections),
        cmocka_unit_test(test_pool__draining_serves_those_who_wait),
        cmocka_unit_test(test_pool__a_stale_connection_refuses_the_request),
        cmocka_unit_test(test_pool__a_connection_that_ends_later_is_a_reset),
        cmocka_unit_test(test_pool__http2_requests_share_a_connection),
        cmocka_unit_test(test_pool__who_waits_for_settings_is_told_of_the_end),
        cmocka_unit_test(test_pool__all_wait_for_one_http2_connection),
        cmocka_unit_test(test_pool__who_comes_late_in_the_turn_waits_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
