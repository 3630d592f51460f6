/*
 * listener: opening sockets (control thread) and accepting from them
 * (workers). See listener.h.
 *
 * With SO_REUSEPORT a second process of the same user could silently take
 * half of our clients, or we half of its: so the first socket of an address is
 * bound once without it, to learn whether somebody else is there. That is left
 * out when one of our own listeners has the port, since a reload may move from
 * 127.0.0.1:80 to 0.0.0.0:80.
 */
#define _GNU_SOURCE
#include "net/listener.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/fd_reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LISTENER_N_INHERITED_MAX = 64,
    LISTENER_FIRST_FD = 3, /* SD_LISTEN_FDS_START */
    LISTENER_PAUSE_MS = 50,
    LISTENER_UNSENT_BYTES = 128 * 1024,
    LISTENER_DRAIN_MAX = 64 * 1024, /* accepted at most while closing */
};

/* Descriptors that were inherited and not taken yet; control thread. */
static int listener_inherited[LISTENER_N_INHERITED_MAX];
static size_t listener_n_inherited;

/* All open groups of this process; control thread. */
static struct list listener_groups = {&listener_groups, &listener_groups};

static bool listener_add_errno(struct error *err,
                               const struct addr *addr,
                               const char *what,
                               int error_number)
{
    char text[ADDR_TEXT_MAX];
    char reason[128];
    return error_add(err, "%s: %s: %s", addr_print(addr, text), what,
                     strerror_r(error_number, reason, sizeof(reason)));
}

static bool listener_get_name(int fd, struct addr *a)
{
    memset(a, 0, sizeof(*a));
    a->len = sizeof(a->un);
    if (getsockname(fd, &a->sa, &a->len) != 0) {
        a->len = 0;
        return false;
    }
    if (a->len > sizeof(a->un)) {
        a->len = sizeof(a->un);
    }
    return true;
}

/* A socket that the service manager handed over, and that no listener took,
 * often has the port: an address written in another way does not match. */
static const char *
listener_inherited_hint(const struct addr *addr, char *dst, size_t size)
{
    for (size_t i = 0; i < listener_n_inherited; i++) {
        struct addr bound;
        char text[ADDR_TEXT_MAX];
        if (listener_get_name(listener_inherited[i], &bound) &&
            addr_port(&bound) == addr_port(addr)) {
            snprintf(dst, size,
                     "; the inherited socket %s is taken by a listener with "
                     "exactly that address",
                     addr_print(&bound, text));
            return dst;
        }
    }
    return "";
}

static bool listener_add_bind_error(struct error *err,
                                    const struct addr *addr,
                                    int error_number)
{
    char text[ADDR_TEXT_MAX];
    char hint[ADDR_TEXT_MAX + 96];
    const unsigned port = addr_port(addr);
    addr_print(addr, text);
    if (error_number == EADDRINUSE && addr->sa.sa_family == AF_UNIX) {
        return error_add(err,
                         "%s: another process listens there (`ss -xlp` "
                         "names it)",
                         text);
    }
    if (error_number == EADDRINUSE) {
        return error_add(err,
                         "%s: another process listens on port %u (`ss "
                         "-ltnp sport = :%u` names it)%s",
                         text, port, port,
                         listener_inherited_hint(addr, hint, sizeof(hint)));
    }
    if (error_number == EACCES && port != 0 && port < 1024) {
        return error_add(err,
                         "%s: ports below 1024 need the capability "
                         "CAP_NET_BIND_SERVICE",
                         text);
    }
    if (error_number == EADDRNOTAVAIL) {
        return error_add(err,
                         "%s: no interface of this machine has that "
                         "address",
                         text);
    }
    return listener_add_errno(err, addr, "cannot bind", error_number);
}

static void listener_set(int fd, int level, int option, int value)
{
    /* What a socket of its family does not have does no harm. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

/*
 * Accepted sockets inherit these, which saves system calls for each. What the
 * kernel holds unsent (up to 4 MiB otherwise) is as much ours as our buffers:
 * a client that does not read must not have it.
 */
static void listener_set_options(int fd)
{
    listener_set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LISTENER_UNSENT_BYTES);
    listener_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    listener_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static int listener_socket(const struct addr *addr, bool is_shared)
{
    const int fd = socket(addr->sa.sa_family,
                          SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || addr->sa.sa_family == AF_UNIX) {
        return fd;
    }
    listener_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (is_shared) {
        listener_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (addr->sa.sa_family == AF_INET6) {
        listener_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    listener_set_options(fd);
    return fd;
}

static bool listener_is_port_ours(uint16_t port)
{
    struct list *it;
    struct list *tmp;
    list_for_each (it, tmp, &listener_groups) {
        const struct listener_group *g =
            CONTAINER_OF(it, struct listener_group, open_node);
        if (addr_port(&g->addr) == port) {
            return true;
        }
    }
    return false;
}

/* Whether some other process has the address; see the top of the file. */
static bool listener_is_free(const struct addr *addr, struct error *err)
{
    if (listener_is_port_ours(addr_port(addr))) {
        return true;
    }
    const int fd = listener_socket(addr, false);
    if (fd < 0) {
        return listener_add_errno(err, addr, "cannot make a socket", errno);
    }
    const int failed = bind(fd, &addr->sa, addr->len);
    const int error_number = errno;
    close(fd);
    return failed == 0 || listener_add_bind_error(err, addr, error_number);
}

/* One bound and listening socket, or -1 with a message. */
static int
listener_bind(const struct addr *addr, int backlog, struct error *err)
{
    const int fd = listener_socket(addr, true);
    if (fd < 0) {
        listener_add_errno(err, addr, "cannot make a socket", errno);
        return -1;
    }
    if (bind(fd, &addr->sa, addr->len) != 0) {
        listener_add_bind_error(err, addr, errno);
        close(fd);
        return -1;
    }
    if (listen(fd, backlog) != 0) {
        listener_add_errno(err, addr, "cannot listen", errno);
        close(fd);
        return -1;
    }
    return fd;
}

/* Removes the socket file of a process that is gone; one that lives stays. */
static bool listener_clear_path(const struct addr *addr, struct error *err)
{
    const char *path = addr->un.sun_path;
    struct stat st;
    if (lstat(path, &st) != 0) {
        return true; /* bind says what is wrong, if anything */
    }
    if (!S_ISSOCK(st.st_mode)) {
        return error_add(err, "unix:%s: there is a file that is no socket",
                         path);
    }
    const int fd =
        socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return listener_add_errno(err, addr, "cannot make a socket", errno);
    }
    const int error_number = connect(fd, &addr->sa, addr->len) == 0 ? 0 : errno;
    close(fd);
    if (error_number == EACCES) {
        return error_add(err,
                         "unix:%s: there is a socket that we may not try; "
                         "remove it if no process listens there",
                         path);
    }
    if (error_number != ECONNREFUSED) {
        return listener_add_bind_error(err, addr, EADDRINUSE);
    }
    if (unlink(path) != 0) {
        return listener_add_errno(err, addr, "cannot remove the old socket",
                                  errno);
    }
    return true;
}

/* An inherited descriptor that is bound to `addr`, or -1. */
static int listener_take_inherited(const struct addr *addr)
{
    for (size_t i = 0; i < listener_n_inherited; i++) {
        struct addr bound;
        const int fd = listener_inherited[i];
        if (listener_get_name(fd, &bound) && addr_eq(&bound, addr)) {
            listener_inherited[i] = listener_inherited[--listener_n_inherited];
            return fd;
        }
    }
    return -1;
}

/* Gives each worker its own descriptor of the one socket in fds[0]. */
static bool listener_spread(struct listener_group *g, struct error *err)
{
    for (size_t i = 1; i < g->n_fds; i++) {
        g->fds[i] = fcntl(g->fds[0], F_DUPFD_CLOEXEC, 0);
        if (g->fds[i] < 0) {
            return listener_add_errno(err, &g->addr, "cannot share the socket",
                                      errno);
        }
    }
    return true;
}

static bool listener_use_inherited(struct listener_group *g,
                                   int fd,
                                   int backlog,
                                   struct error *err)
{
    g->is_inherited = true;
    g->fds[0] = fd;
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return listener_add_errno(err, &g->addr, "inherited socket", errno);
    }
    listener_set_options(fd);
    if (listen(fd, backlog) != 0) {
        return listener_add_errno(err, &g->addr, "cannot listen", errno);
    }
    return listener_spread(g, err);
}

bool listener_mode_parse(struct str text, mode_t *mode)
{
    mode_t found = 0;
    if (text.len < 3 || text.len > 4 || (text.len == 4 && text.p[0] != '0')) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '7') {
            return false;
        }
        found = found << 3 | (mode_t)(text.p[i] - '0');
    }
    *mode = found;
    return true;
}

/* Whether the file of that name is still the one we made. */
static bool listener_has_file(const struct listener_group *g)
{
    struct stat st;
    return g->addr.sa.sa_family == AF_UNIX && g->file_ino != 0 &&
           lstat(g->addr.un.sun_path, &st) == 0 && st.st_ino == g->file_ino &&
           st.st_dev == g->file_dev;
}

bool listener_group_set_mode(struct listener_group *g,
                             mode_t mode,
                             struct error *err)
{
    if (g->addr.sa.sa_family != AF_UNIX || g->is_inherited || g->mode == mode) {
        return true;
    }
    if (!listener_has_file(g)) {
        return listener_add_errno(err, &g->addr, "cannot set the mode", ENOENT);
    }
    if (chmod(g->addr.un.sun_path, mode) != 0) {
        return listener_add_errno(err, &g->addr, "cannot set the mode", errno);
    }
    g->mode = mode;
    return true;
}

/*
 * The file comes to be with the mode of the socket, less the umask; the rest
 * is given before anybody can connect. So the mode is never wider.
 */
static bool listener_bind_file(struct listener_group *g,
                               mode_t mode,
                               int backlog,
                               struct error *err)
{
    struct stat st;
    const int fd = g->fds[0] = listener_socket(&g->addr, false);
    if (fd < 0 || fchmod(fd, mode) != 0) {
        return listener_add_errno(err, &g->addr, "cannot make a socket", errno);
    }
    if (bind(fd, &g->addr.sa, g->addr.len) != 0) {
        return listener_add_bind_error(err, &g->addr, errno);
    }
    if (lstat(g->addr.un.sun_path, &st) == 0) {
        g->file_dev = st.st_dev;
        g->file_ino = st.st_ino;
        g->mode = st.st_mode & 07777;
    }
    if (!listener_group_set_mode(g, mode, err)) {
        return false;
    }
    if (listen(fd, backlog) != 0) {
        return listener_add_errno(err, &g->addr, "cannot listen", errno);
    }
    return true;
}

static bool listener_fill(struct listener_group *g,
                          mode_t mode,
                          int backlog,
                          struct error *err)
{
    const int inherited = listener_take_inherited(&g->addr);
    if (inherited >= 0) {
        return listener_use_inherited(g, inherited, backlog, err);
    }
    if (g->addr.sa.sa_family == AF_UNIX) {
        return listener_clear_path(&g->addr, err) &&
               listener_bind_file(g, mode, backlog, err) &&
               listener_spread(g, err);
    }
    if (!listener_is_free(&g->addr, err)) {
        return false;
    }
    for (size_t i = 0; i < g->n_fds; i++) {
        g->fds[i] = listener_bind(&g->addr, backlog, err);
        if (g->fds[i] < 0) {
            return false;
        }
    }
    return true;
}

struct listener_group *listener_group_open(const struct addr *addr,
                                           mode_t mode,
                                           size_t n_workers,
                                           int backlog,
                                           struct error *err)
{
    CHECK(n_workers > 0 && addr->len > 0);
    struct listener_group *g = mem_new(sizeof(*g));
    g->addr = *addr;
    g->n_fds = n_workers;
    g->fds = mem_new_array(n_workers, sizeof(*g->fds));
    for (size_t i = 0; i < n_workers; i++) {
        g->fds[i] = -1;
    }
    if (!listener_fill(g, mode, backlog, err)) {
        listener_group_close(g);
        return NULL;
    }
    list_push_back(&listener_groups, &g->open_node);
    return g;
}

void listener_group_close(struct listener_group *g)
{
    if (g == NULL) {
        return;
    }
    const bool has_file = listener_has_file(g);
    for (size_t i = 0; i < g->n_fds; i++) {
        if (g->fds[i] >= 0) {
            close(g->fds[i]);
        }
    }
    if (has_file) {
        unlink(g->addr.un.sun_path);
    }
    list_remove(&g->open_node);
    mem_free(g->fds);
    mem_free(g);
}

size_t listener_inherit(void)
{
    const struct str pid_text = str_from(getenv("LISTEN_PID"));
    const struct str n_text = str_from(getenv("LISTEN_FDS"));
    uint64_t pid = 0;
    uint64_t n = 0;
    const bool is_ours = str_to_u64(pid_text, &pid) && str_to_u64(n_text, &n) &&
                         pid == (uint64_t)getpid();
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    listener_n_inherited = 0;
    if (!is_ours) {
        return 0;
    }
    for (uint64_t i = 0; i < n && i < LISTENER_N_INHERITED_MAX; i++) {
        const int fd = LISTENER_FIRST_FD + (int)i;
        int is_listening = 0;
        socklen_t size = sizeof(is_listening);
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) ==
                0 &&
            is_listening != 0) {
            listener_inherited[listener_n_inherited++] = fd;
        }
    }
    return listener_n_inherited;
}

/* ---- a worker's end ----------------------------------------------------- */

static bool acceptor_is_out_of_room(int error_number)
{
    return error_number == EMFILE || error_number == ENFILE ||
           error_number == ENOBUFS || error_number == ENOMEM;
}

static bool acceptor_has_made_room(struct acceptor *a)
{
    return a->on_full != NULL && a->on_full(a);
}

/* Accepts one. 1: another may follow; 0: none waits; -1: no room for it. */
static int acceptor_accept(struct acceptor *a)
{
    struct addr peer;
    memset(&peer, 0, sizeof(peer));
    peer.len = sizeof(peer.un);
    const int fd =
        accept4(a->fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINVAL ||
            errno == EBADF) {
            return 0;
        }
        /* Else a client that left while it waited: go on with the next. */
        return acceptor_is_out_of_room(errno) ? -1 : 1;
    }
    /* The last ones are for logs, reloads and admin pages. */
    const bool is_last = fd_reserve_has(fd);
    if (is_last && !acceptor_has_made_room(a)) {
        close(fd);
        return -1;
    }
    struct addr local = a->local;
    if (!a->is_local_known) {
        listener_get_name(fd, &local);
    }
    a->fn(a, fd, &peer, &local);
    return is_last ? 0 : 1;
}

void acceptor_pause(struct acceptor *a, uint32_t for_ms)
{
    if (a->is_open) {
        event_del(&a->event);
        loop_arm(a->loop, &a->pause, for_ms);
    }
}

/* One line a second, however often it is tried. */
static void acceptor_full(struct acceptor *a)
{
    const uint64_t now_ms = a->loop->now_ms;
    if (a->full_log_ms == 0 || now_ms >= a->full_log_ms + 1000) {
        a->full_log_ms = now_ms;
        log_text(LOG_WARN,
                 "accept: out of descriptors or memory, and no connection is "
                 "idle: clients wait (raise the limit of descriptors, or lower "
                 "limits.connections_max)");
    }
    acceptor_pause(a, LISTENER_PAUSE_MS);
    (void)acceptor_has_made_room(a);
}

static void acceptor_on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct acceptor *a = arg;
    /* The event is level-triggered: what is left comes in the next turn. */
    for (int i = 0;
         i < LISTENER_ACCEPT_BATCH && a->is_open && !timer_is_armed(&a->pause);
         i++) {
        const int result = acceptor_accept(a);
        if (result < 0) {
            acceptor_full(a);
        }
        if (result <= 0) {
            return;
        }
    }
}

static void acceptor_on_pause_end(struct timer *t)
{
    struct acceptor *a = CONTAINER_OF(t, struct acceptor, pause);
    loop_disarm(a->loop, &a->pause);
    if (a->is_open) {
        CHECK(event_add(&a->event, NULL) == 0);
    }
}

static bool acceptor_is_wildcard(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET) {
        return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
    }
    return a->sa.sa_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

static bool acceptor_has_option(int fd, int option)
{
    int value = 0;
    socklen_t size = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value != 0;
}

void acceptor_open(struct acceptor *a,
                   struct loop *loop,
                   int fd,
                   acceptor_fn *fn,
                   void *owner)
{
    memset(a, 0, sizeof(*a));
    a->loop = loop;
    a->fd = fd;
    a->fn = fn;
    a->owner = owner;
    a->is_open = true;
    a->is_local_known =
        listener_get_name(fd, &a->local) && !acceptor_is_wildcard(&a->local);
    timer_init(&a->pause, acceptor_on_pause_end);
    if (!acceptor_has_option(fd, SO_ACCEPTCONN)) {
        listen(fd, SOMAXCONN); /* an acceptor had it before, and closed */
    }
    CHECK(event_assign(&a->event, loop->base, fd, EV_READ | EV_PERSIST,
                       acceptor_on_event, a) == 0);
    CHECK(event_add(&a->event, NULL) == 0);
}

void acceptor_close(struct acceptor *a)
{
    if (!a->is_open) {
        return;
    }
    a->is_open = false;
    event_del(&a->event);
    loop_disarm(a->loop, &a->pause);
    /*
     * Whoever finished the TCP handshake sees no difference: it is accepted.
     * A backlog of 0 keeps later ones out of a queue that nobody empties, and
     * then the socket stops listening: the kernel refuses clients, or takes
     * them to another process with the same port, though the descriptor stays
     * open. A socket that others share (activation) goes on for them.
     */
    const bool is_own =
        !a->is_shared && acceptor_has_option(a->fd, SO_REUSEPORT);
    if (is_own) {
        listen(a->fd, 0);
    }
    for (int i = 0; i < LISTENER_DRAIN_MAX && acceptor_accept(a) > 0; i++) {
    }
    if (is_own) {
        shutdown(a->fd, SHUT_RD);
    }
}
