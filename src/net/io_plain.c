/*
 * io_plain: bytes between a plain socket and a conn. Worker thread; no state
 * but the conn's own. See io.h.
 *
 * The descriptor is edge-triggered: a read or write that moved less than it
 * was asked for emptied (or filled) the socket, and the kernel tells when
 * that changes. So the usual read costs one system call, not a second one
 * that says EAGAIN. After a FIN was told there is no further edge: then we
 * read until the FIN itself is read.
 */
#define _GNU_SOURCE
#include "net/io.h"

#include <errno.h>
#include <sys/socket.h>

enum { IO_PLAIN_N_IOV = 16 };

static ssize_t io_plain_fail(struct conn *c)
{
    if (c->error_number == 0) {
        c->error_number = errno;
    }
    return IO_ERROR;
}

static bool io_plain_is_again(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static ssize_t io_plain_read(struct conn *c, uint8_t *p, size_t len)
{
    ssize_t n;
    do {
        n = recv(c->fd, p, len, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        if ((size_t)n < len && !c->is_peer_shut) {
            c->is_readable = false;
        }
        return n;
    }
    if (n == 0) {
        return IO_EOF;
    }
    if (!io_plain_is_again()) {
        return io_plain_fail(c);
    }
    c->is_readable = false;
    return IO_AGAIN;
}

static ssize_t io_plain_write(struct conn *c, struct buf *b)
{
    struct iovec iov[IO_PLAIN_N_IOV];
    struct msghdr message = {.msg_iov = iov};
    message.msg_iovlen = (size_t)buf_peek_iov(b, iov, IO_PLAIN_N_IOV);
    size_t len = 0;
    for (size_t i = 0; i < message.msg_iovlen; i++) {
        len += iov[i].iov_len;
    }
    ssize_t n;
    do {
        n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && !io_plain_is_again()) {
        return io_plain_fail(c);
    }
    if (n < 0 || (size_t)n < len) {
        c->is_writable = false;
    }
    if (n <= 0) {
        return IO_AGAIN;
    }
    buf_drop(b, (size_t)n);
    return n;
}

static bool io_plain_shutdown(struct conn *c)
{
    shutdown(c->fd, SHUT_WR);
    return true;
}

static int io_plain_peek(struct conn *c)
{
    uint8_t byte;
    ssize_t n;
    do {
        n = recv(c->fd, &byte, 1, MSG_PEEK);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        return 1;
    }
    if (n == 0) {
        return IO_EOF;
    }
    return io_plain_is_again() ? IO_AGAIN : (int)io_plain_fail(c);
}

static void io_plain_fini(struct conn *c)
{
    (void)c;
}

const struct io_ops io_plain = {
    .name = "plain",
    .handshake = NULL,
    .read = io_plain_read,
    .write = io_plain_write,
    .shutdown = io_plain_shutdown,
    .peek = io_plain_peek,
    .fini = io_plain_fini,
};
