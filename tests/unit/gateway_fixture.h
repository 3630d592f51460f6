/*
 * gateway_fixture: one worker with a snapshot built from a conf text, and the
 * plain blocking sockets of a test around it: the test is client and upstream
 * at once. The test's own loop stands for control: the worker's messages come
 * there. Sockets give up after GW_PATIENCE_S, so that nothing can hang.
 * Included after the .c under test and cmocka.h.
 */
#ifndef DAEMUN_TESTS_GATEWAY_FIXTURE_H
#define DAEMUN_TESTS_GATEWAY_FIXTURE_H

#include "settings_fixture.h"

#include "base/log.h"
#include "base/metric.h"
#include "control/build.h"
#include "proxy/worker.h"
#include "upstream/queue.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { GW_PATIENCE_S = 10, GW_TURN_MS = 10, GW_TEXT_BYTES = 64 * 1024 };

struct gw {
    struct loop *loop;
    struct build_world world;
    struct worker *w;
    struct snapshot *snap; /* the newest */
    unsigned n_left;       /* snapshots that were left, and freed */
    unsigned n_drained;
    struct addr addr; /* of the listener "web" */
    int upstream[2];  /* listening */
    struct addr upstream_addr[2];
};

struct gw_message {
    struct gw *gw;
    struct snapshot *snap;
};

static inline void gw_on_left(struct loop *loop, void *arg)
{
    struct gw *gw = loop->owner;
    gw->n_left++;
    build_free_snapshot(&gw->world, arg);
}

static inline void gw_on_drained_message(struct loop *loop, void *arg)
{
    struct gw *gw = loop->owner;
    (void)arg;
    gw->n_drained++;
}

static inline void gw_on_snapshot_left(struct worker *w, struct snapshot *snap)
{
    struct gw *gw = w->owner;
    loop_post(gw->loop, gw_on_left, snap);
}

static inline void gw_on_drained(struct worker *w)
{
    struct gw *gw = w->owner;
    loop_post(gw->loop, gw_on_drained_message, NULL);
}

static const struct worker_owner_ops gw_worker_ops = {
    .on_snapshot_left = gw_on_snapshot_left,
    .on_drained = gw_on_drained,
};

/* A socket on a free port; `is_listening` false: bound only, so that it
 * refuses. */
static inline struct addr gw_bind(int *fd, bool is_listening)
{
    struct addr a;
    const int on = 1;
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(*fd, &a.sa, a.len), 0);
    assert_int_equal(getsockname(*fd, &a.sa, &a.len), 0);
    if (is_listening) {
        assert_int_equal(listen(*fd, 64), 0);
    }
    return a;
}

static inline void gw_be_patient(int fd)
{
    const struct timeval limit = {.tv_sec = GW_PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static inline struct snapshot *gw_build(struct gw *gw, const char *text)
{
    struct error err = {0};
    struct node *root = fixture_tree(text);
    struct snapshot *snap = build_snapshot(&gw->world, root, gw->snap, &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(snap);
    return snap;
}

/* The worker goes over to what the text says; what it serves next is new. */
static inline void gw_use(struct gw *gw, const char *text)
{
    gw->snap = gw_build(gw, text);
    worker_post_snapshot(gw->w, gw->snap);
}

#define GW_UNTIL(gw, condition)                                                \
    do {                                                                       \
        int turns = 0;                                                         \
        while (!(condition)) {                                                 \
            assert_true(turns++ < GW_PATIENCE_S * 1000 / GW_TURN_MS);          \
            loop_run_once((gw)->loop, GW_TURN_MS);                             \
        }                                                                      \
    } while (0)

/* The conf text of most tests: %s are members of the upstream and of the
 * route, and whole groups. */
static inline const char *gw_conf(const struct gw *gw,
                                  const char *upstream,
                                  const char *route,
                                  const char *groups)
{
    static char text[8192];
    const int len = snprintf(
        text, sizeof(text),
        "listeners = ( { name = \"web\"; address = \"127.0.0.1:%u\"; } );\n"
        "log = { access = \"off\"; };\n"
        "upstreams = { u = { endpoints = ( { address = \"127.0.0.1:%u\"; } );"
        " %s }; };\n"
        "routes = ( { path_prefix = \"/\"; upstream = \"u\"; %s } );\n%s\n",
        addr_port(&gw->addr), addr_port(&gw->upstream_addr[0]), upstream, route,
        groups);
    assert_true(len > 0 && (size_t)len < sizeof(text));
    return text;
}

/* Everything but the snapshot: the texts need the addresses. */
static inline void gw_init(struct gw *gw)
{
    int fd;
    memset(gw, 0, sizeof(*gw));
    gw->addr = gw_bind(&fd, false);
    close(fd);
    for (int i = 0; i < 2; i++) {
        gw->upstream_addr[i] = gw_bind(&gw->upstream[i], true);
        gw_be_patient(gw->upstream[i]);
    }
    gw->loop = loop_new("test", 0);
    gw->loop->owner = gw;
    build_world_init(&gw->world, 1);
    gw->w = worker_new(0, &gw_worker_ops, gw);
}

static inline void gw_start(struct gw *gw)
{
    gw_init(gw);
    gw_use(gw, gw_conf(gw, "", "", ""));
}

static inline void gw_fini(struct gw *gw)
{
    worker_stop(gw->w);
    worker_free(gw->w);
    loop_free(gw->loop); /* frees the last snapshot by its message */
    assert_int_equal(scoreboard_count(gw->world.scoreboard), 0);
    build_world_fini(&gw->world);
    close(gw->upstream[0]);
    close(gw->upstream[1]);
}

static inline int gw_try_connect(const struct gw *gw)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    gw_be_patient(fd);
    if (connect(fd, &gw->addr.sa, gw->addr.len) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline int gw_connect(const struct gw *gw)
{
    /* The listener opens with the snapshot; the socket is there before. */
    const int fd = gw_try_connect(gw);
    assert_true(fd >= 0);
    return fd;
}

/* The gateway's connection to upstream `i`. */
static inline int gw_accept(const struct gw *gw, int i)
{
    const int fd = accept(gw->upstream[i], NULL, NULL);
    assert_true(fd >= 0);
    gw_be_patient(fd);
    return fd;
}

static inline void gw_send(int fd, const char *text)
{
    const ssize_t len = (ssize_t)strlen(text);
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
}

/* Reads until `until` is there; the text read so far. */
static inline const char *gw_read(int fd, const char *until)
{
    static char text[GW_TEXT_BYTES];
    size_t len = 0;
    text[0] = '\0';
    while (strstr(text, until) == NULL) {
        const ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
        if (n <= 0) {
            fail_msg("\"%s\" did not come; but \"%s\"", until, text);
        }
        len += (size_t)n;
        text[len] = '\0';
    }
    return text;
}

/* Reads to the end; the text. `*is_reset`: it ended by an RST. */
static inline const char *gw_read_end(int fd, bool *is_reset)
{
    static char text[GW_TEXT_BYTES];
    size_t len = 0;
    for (;;) {
        const ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
        if (n > 0) {
            len += (size_t)n;
            continue;
        }
        assert_true(n == 0 || errno == ECONNRESET);
        *is_reset = n < 0;
        text[len] = '\0';
        return text;
    }
}

static inline bool gw_has_ended(int fd)
{
    bool is_reset;
    gw_read_end(fd, &is_reset);
    return true;
}

static const char gw_get[] = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
static const char gw_ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/* A whole request; both connections stay. */
static inline void gw_exchange(int client, int server)
{
    gw_send(client, gw_get);
    gw_read(server, "\r\n\r\n");
    gw_send(server, gw_ok);
    assert_non_null(strstr(gw_read(client, "\r\n\r\nok"), "200 OK"));
}

static inline unsigned gw_in_flight(const struct gw *gw)
{
    return slot_in_flight(gw->snap->upstreams[0]->slot);
}

/* Requests that wait for a place on an endpoint. */
static inline unsigned gw_waiting(const struct gw *gw)
{
    return queue_length(gw->snap->upstreams[0]->slot->queue);
}

#endif
