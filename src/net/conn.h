/*
 * conn: one TCP (or UNIX) connection: descriptor, byte transport (io), and the
 * close protocol. It belongs to one loop and is touched on that thread alone.
 *
 * Reading: one edge-triggered event per descriptor, registered once. Bytes are
 * read into the loop's scratch block and handed to what sits on the conn (a
 * codec); bytes that it does not take are kept, contiguous, in `kept` and come
 * again, in front of newer ones. A paused conn reads nothing (back-pressure).
 * Reading is fair: after CONN_READ_TURN_BYTES in one turn the rest waits for
 * the next turn.
 *
 * Writing: conn_write appends to the out queue; the queue is flushed at the
 * end of the turn, or at once when more than CONN_FLUSH_BYTES wait. What the
 * socket does not take stays queued until it is writable again.
 *
 * Closing: conn_close marks; on_closed comes once, at the end of the turn, and
 * after it the memory is gone. This is the one place where a conn dies.
 */
#ifndef DAEMUN_NET_CONN_H
#define DAEMUN_NET_CONN_H

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/timer.h"
#include "net/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONN_FLUSH_BYTES = 32 * 1024,
    CONN_READ_TURN_BYTES = 256 * 1024,
    CONN_ROOM_BYTES = 16 * 1024, /* on_room comes when out falls below this */
};

struct conn;
struct tls_server;
struct tls_client;

/* Why a conn ended. */
enum conn_end {
    CONN_OPEN,           /* it has not */
    CONN_CLOSED_BY_US,   /* conn_close */
    CONN_CLOSED_BY_PEER, /* FIN (or close_notify) and nothing left to say */
    CONN_RESET,          /* RST or another socket error; see conn_errno */
    CONN_CONNECT_FAILED, /* refused, unreachable; see conn_errno */
    CONN_TLS_FAILED,     /* handshake or record failure; see conn_tls_error */
    CONN_NOT_H2,         /* the peer did not choose h2 by ALPN, as it had to */
    CONN_TIMED_OUT,      /* closed by a timer of what sits on it */
};

/* The calls that a conn makes on what sits on it. All are required, but
 * on_plain_http. */
struct conn_ops {
    /* Connected, and TLS done: bytes may flow. Called once, first. */
    void (*on_ready)(struct conn *c);
    /*
     * Bytes came. Returns how many were taken (<= len); the rest comes again
     * together with newer bytes, or after conn_resume. Not called while
     * paused; may pause or close the conn.
     */
    size_t (*on_bytes)(struct conn *c, const uint8_t *p, size_t len);
    /* The peer will send no more (FIN). Untaken bytes were offered before. */
    void (*on_eof)(struct conn *c);
    /* The out queue fell below CONN_ROOM_BYTES after it had been above. */
    void (*on_room)(struct conn *c);
    /*
     * A server with TLS: the peer began with plain HTTP, and nothing was sent
     * yet. The transport is plain from here on; the owner may say so, and must
     * close. NULL: the conn ends with CONN_TLS_FAILED.
     */
    void (*on_plain_http)(struct conn *c);
    /* Over. c and its memory are gone after this call. `owner` must forget. */
    void (*on_closed)(struct conn *c, enum conn_end end);
};

/* Byte transport: plain socket, or TLS. Functions return bytes moved, */
enum { IO_AGAIN = -1, IO_EOF = -2, IO_ERROR = -3, IO_PLAIN_HTTP = -4 };
struct io_ops {
    const char *name;
    /* 1: done, IO_AGAIN, IO_ERROR, IO_PLAIN_HTTP. NULL: nothing to shake. */
    int (*handshake)(struct conn *c);
    ssize_t (*read)(struct conn *c, uint8_t *p, size_t len);
    /* Writes from the front of `b` and drops what was written. */
    ssize_t (*write)(struct conn *c, struct buf *b);
    /* Says goodbye (FIN, close_notify); never blocks. False: again when the
     * socket takes bytes. */
    bool (*shutdown)(struct conn *c);
    /* Looks without taking: 1 when bytes wait, IO_AGAIN, IO_EOF, IO_ERROR. */
    int (*peek)(struct conn *c);
    void (*fini)(struct conn *c);
};

struct conn {
    struct loop *loop;
    int fd;
    struct event event;
    const struct io_ops *io;
    void *io_state; /* SSL object of io_tls */
    const struct conn_ops *ops;
    void *owner; /* what sits on the conn: a codec, or its maker before */
    struct buf out;
    uint8_t *kept; /* untaken bytes */
    size_t kept_len;
    size_t kept_cap;
    struct deferred turn_end; /* flush, go on reading, or die */
    struct timer timer;       /* for whoever sits on it, see conn_set_timer */
    void (*on_timer)(struct conn *c);
    struct addr peer;  /* who it is (from PROXY protocol when told) */
    struct addr local; /* destination address as the client saw it */
    enum conn_end end;
    int error_number;        /* errno of the failure */
    unsigned long tls_error; /* OpenSSL's error of the failure */
    long tls_verify_error;   /* X509_V_ERR_* of the failure, or 0 */
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint64_t opened_ms;
    bool is_connecting;
    bool is_ready;
    bool is_paused;
    bool is_readable;     /* the socket may have bytes (edge seen) */
    bool is_writable;     /* the socket may take bytes */
    bool is_eof;          /* FIN seen */
    bool is_eof_told;     /* on_eof was called */
    bool want_room;       /* on_room is owed */
    bool want_close;      /* close once the out queue is empty */
    bool want_shutdown;   /* send FIN once the out queue is empty */
    bool is_shut;         /* FIN was sent */
    bool is_lingering;    /* read and drop until FIN, see conn_close_linger */
    bool has_kept_news;   /* offer kept bytes again */
    bool is_reading;      /* inside on_bytes */
    bool is_drained;      /* io_tls: socket emptied since the last edge */
    bool is_peer_shut;    /* the kernel told of a FIN behind unread bytes */
    bool is_write_failed; /* read what is left, then die of CONN_RESET */
    bool is_abort;        /* conn_abort: no goodbye */
    bool want_next_turn;  /* its share of this turn is used up */
    bool is_midway;       /* owner, in on_bytes: more must come. An RST that
                             came together with bytes is then looked for */
    uint64_t turn_us;     /* the turn that turn_bytes counts */
    size_t turn_bytes;    /* read in that turn */
    const uint32_t *read_quota; /* most per read; NULL: LOOP_SCRATCH_BYTES */
    uint64_t linger_end_ms; /* latest end of lingering; 0: no FIN sent yet */
    uint64_t n_linger_left; /* bytes that may still come after the FIN */
    struct tls_server *tls_next; /* conn_start_tls was called */
};

/*
 * Makes a conn over an accepted, non-blocking descriptor (taken). `tls` NULL:
 * plain. on_ready is called before the first bytes, possibly in this call's
 * turn, never inside this call.
 */
struct conn *conn_accept(struct loop *loop,
                         int fd,
                         const struct addr *peer,
                         const struct addr *local,
                         struct tls_server *tls,
                         const struct conn_ops *ops,
                         void *owner);
/*
 * Begins to connect to `to`. `tls` NULL: plain. Never NULL; failures arrive
 * as on_closed(CONN_CONNECT_FAILED or CONN_TLS_FAILED), never inside the call.
 */
struct conn *conn_connect(struct loop *loop,
                          const struct addr *to,
                          struct tls_client *tls,
                          const struct conn_ops *ops,
                          void *owner);
/*
 * A plain conn that is ready goes on as TLS (a PROXY header came before the
 * handshake). Bytes that on_bytes does not take begin the handshake; on_ready
 * comes again when it is done.
 */
void conn_start_tls(struct conn *c, struct tls_server *tls);
/*
 * Another thing sits on the conn from now on (ALPN chose a codec). Bytes that
 * the one before did not take are offered to it at the end of the turn.
 */
void conn_set_owner(struct conn *c, const struct conn_ops *ops, void *owner);
/*
 * Queues bytes (copied). CHECKs that we have not said to write no more. When
 * the conn failed meanwhile the bytes are dropped: on_closed is on its way.
 */
void conn_write(struct conn *c, const void *p, size_t len);
/* Moves all of `b` into the out queue, by block. */
void conn_write_buf(struct conn *c, struct buf *b);
/* Bytes that wait for the socket. */
static inline size_t conn_n_queued(const struct conn *c)
{
    return buf_len(&c->out);
}
/* Asks for on_room once, when the out queue is below CONN_ROOM_BYTES (at the
 * end of this turn at the earliest). */
void conn_want_room(struct conn *c);
/* Flush at the end of this turn (conn_write does this by itself). */
void conn_flush_soon(struct conn *c);
void conn_pause(struct conn *c);
/* Reads again, and offers kept bytes again, at the end of this turn. */
void conn_resume(struct conn *c);
/* Closes now; queued bytes are lost; sends RST if `is_abort`. */
void conn_close(struct conn *c, enum conn_end end);
void conn_abort(struct conn *c);
/* Closes after the out queue has left (or its timer ended it). */
void conn_close_after_write(struct conn *c);
/*
 * As conn_close_after_write, then sends FIN and reads and drops what the peer
 * still sends, until its FIN, 64 KiB, 2 s of silence or 30 s in all (RFC 9112
 * 9.6): so that our last words are not destroyed by an RST. No call is made on
 * the owner but on_closed.
 */
void conn_close_linger(struct conn *c);
/*
 * The same without a limit in bytes, for an answer that came before the end of
 * a lawful request: clients that read only once their body is sent get it too.
 */
void conn_close_answered(struct conn *c);
/* Sends FIN after the out queue has left; reading goes on (tunnels). */
void conn_shutdown(struct conn *c);
static inline bool conn_is_closed(const struct conn *c)
{
    return c->end != CONN_OPEN;
}
/* One timer for whoever sits on the conn; `fn` NULL disarms. */
void conn_set_timer(struct conn *c,
                    uint64_t after_ms,
                    void (*fn)(struct conn *c));
/* Negotiated protocol ("h2", "http/1.1"), p NULL when none. */
struct str conn_alpn(const struct conn *c);
/* SNI the client sent, lower case; p NULL when none. Valid while open. */
struct str conn_sni(const struct conn *c);
static inline bool conn_is_tls(const struct conn *c)
{
    return c->io_state != NULL;
}
/* One line that says why it failed, for logs; written to dst. */
const char *conn_end_text(const struct conn *c, char *dst, size_t size);

#endif
