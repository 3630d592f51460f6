/*
 * demo-server: a small model server to try the gateway with. It serves the
 * well-known model half_plus_two (y = x/2 + 2) in the manner of TensorFlow
 * Serving, over REST and gRPC on one port, and a few paths that tests use
 * (see tools.c). One thread, one event base; not for production.
 */
#define _GNU_SOURCE // accept4
#include "conn.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/util.h>

#define MAIN_LISTEN_MAX 8

static struct conn_server main_server;

static void main_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    (void)arg;
    for (int i = 0; i < 64; i++) {
        const int client =
            accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            return;
        }
        conn_accept(&main_server, client);
    }
}

static void main_stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

/* "127.0.0.1:8500" or "[::1]:8500"; false: it is neither. */
static bool
main_address(const char *text, struct sockaddr_storage *sa, socklen_t *sa_len)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[64];
    const char *port = strrchr(text, ':');
    const bool has_brackets = text[0] == '[' && port != NULL && port[-1] == ']';
    const char *from = text + has_brackets;
    const size_t len = port == NULL ? 0 : (size_t)(port - has_brackets - from);
    if (len == 0 || len >= sizeof host) {
        return false;
    }
    memcpy(host, from, len);
    host[len] = '\0';
    if (getaddrinfo(host, port + 1, &hints, &found) != 0) {
        return false;
    }
    memcpy(sa, found->ai_addr, found->ai_addrlen);
    *sa_len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool main_listen(const char *address)
{
    struct sockaddr_storage sa;
    socklen_t sa_len = 0;
    const int on = 1;
    if (!main_address(address, &sa, &sa_len)) {
        fprintf(stderr,
                "demo-server: --listen %s: not an address such as "
                "127.0.0.1:8500\n",
                address);
        return false;
    }
    const int fd =
        socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&sa, sa_len) < 0 || listen(fd, 1024) < 0) {
        fprintf(stderr, "demo-server: cannot listen on %s: %s\n", address,
                evutil_socket_error_to_string(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    socklen_t bound_len = sizeof sa;
    char port[8] = "?";
    if (getsockname(fd, (struct sockaddr *)&sa, &bound_len) == 0) {
        (void)getnameinfo((struct sockaddr *)&sa, bound_len, NULL, 0, port,
                          sizeof port, NI_NUMERICSERV);
    }
    event_add(event_new(main_server.base, fd, EV_READ | EV_PERSIST, main_accept,
                        NULL),
              NULL);
    printf("demo-server: %s listens on %s, port %s\n", main_server.name,
           address, port);
    return true;
}

static void main_usage(FILE *to)
{
    fprintf(to, "usage: demo-server [--listen ADDRESS:PORT]... [--name NAME]\n"
                "  --listen  where to listen (127.0.0.1:8500; port 0: any)\n"
                "  --name    answered in the header x-demo-server (demo)\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"name", required_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *listens[MAIN_LISTEN_MAX] = {"127.0.0.1:8500"};
    int n_listens = 0;
    main_server.name = "demo";
    for (int o; (o = getopt_long(argc, argv, "l:n:h", options, NULL)) != -1;) {
        if (o == 'l' && n_listens < MAIN_LISTEN_MAX) {
            listens[n_listens++] = optarg;
        } else if (o == 'n') {
            main_server.name = optarg;
        } else {
            main_usage(o == 'h' ? stdout : stderr);
            return o == 'h' ? 0 : 2;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    main_server.base = event_base_new();
    for (int i = 0; i == 0 || i < n_listens; i++) {
        if (!main_listen(listens[i])) {
            return 1;
        }
    }
    const int stops[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        event_add(evsignal_new(main_server.base, stops[i], main_stop,
                               main_server.base),
                  NULL);
    }
    // What is open at the stop is left to the kernel: the process ends here.
    event_base_dispatch(main_server.base);
    return 0;
}
