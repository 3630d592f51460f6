/*
 * conn: see conn.h. An idle or silent peer is closed after two minutes.
 */
#include "conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#define CONN_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define CONN_PREFACE_LEN 24u

static void conn_event(struct bufferevent *bev, short what, void *arg)
{
    (void)what;
    (void)arg;
    bufferevent_free(bev);
}

static void conn_read(struct bufferevent *bev, void *arg)
{
    const struct conn_server *server = arg;
    char first[CONN_PREFACE_LEN];
    const ev_ssize_t n =
        evbuffer_copyout(bufferevent_get_input(bev), first, sizeof first);
    if (n <= 0) {
        return;
    }
    if (memcmp(first, CONN_PREFACE, (size_t)n) != 0) {
        h1_start(server, bev);
    } else if (n == CONN_PREFACE_LEN) {
        h2_start(server, bev);
    }
}

void conn_accept(const struct conn_server *server, evutil_socket_t fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct bufferevent *bev =
        bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (bev == NULL) {
        close(fd);
        return;
    }
    const struct timeval idle = {120, 0};
    union {
        const struct conn_server *in;
        void *out;
    } arg = {.in = server};
    bufferevent_setcb(bev, conn_read, NULL, conn_event, arg.out);
    bufferevent_set_timeouts(bev, &idle, NULL);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}
