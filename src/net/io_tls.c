/*
 * io_tls: TLS between a descriptor and a conn, by OpenSSL. Worker thread; the
 * SSL object is the conn's io_state, and what else we need hangs on it as its
 * application data. See io.h.
 *
 * OpenSSL reaches the descriptor through a BIO of ours, because only we know
 * the edges: a short read emptied the socket, so the next one is answered
 * "later" without a system call. The BIO also gives back the bytes that were
 * read in front of the handshake (behind a PROXY header).
 *
 * The thread's error queue is cleared before each call of OpenSSL; what it
 * holds after a failure is kept in the conn. Records that carry no data cost
 * us as much as those that do: a peer may send few without data between them.
 */
#define _GNU_SOURCE
#include "net/io.h"

#include "base/check.h"
#include "base/mem.h"
#include "net/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

enum {
    IO_TLS_RECORD_BYTES = 16 * 1024,
    /* A record that fits into one packet can be read when that arrives. */
    IO_TLS_SMALL_RECORD_BYTES = 1369,
    IO_TLS_N_SMALL_RECORDS = 16,
    IO_TLS_IDLE_MS = 1000, /* after that the congestion window is small again */
    IO_TLS_N_IOV = 64,
    /* Records without data: so many, and one more per so many bytes. */
    IO_TLS_N_CONTROL_MAX = 128,
    IO_TLS_CONTROL_BYTES = 16 * 1024,
    IO_TLS_SNI_MAX = 256,
};

struct io_tls {
    struct conn *c;
    struct tls_server *server; /* one of the two is set; counted */
    struct tls_client *client;
    uint8_t *early; /* read before the handshake began */
    size_t early_len;
    size_t early_at;
    uint64_t written_ms;  /* when a record was written last */
    unsigned n_records;   /* since the last idle time; stops at the limit */
    unsigned n_control;   /* handshake messages after the handshake */
    size_t pending_len;   /* of the write that OpenSSL wants repeated */
    char first_byte;      /* that came, 0: none did */
    bool has_written;     /* the BIO sent bytes */
    bool is_socket_empty; /* the BIO had nothing to give */
    bool is_fin;          /* the BIO saw FIN */
    char sni[IO_TLS_SNI_MAX];
};

static struct io_tls *io_tls_get(SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* ---- the BIO ------------------------------------------------------------ */

static int io_tls_bio_take_early(struct io_tls *t, char *dst, size_t size)
{
    size_t n = t->early_len - t->early_at;
    n = n < size ? n : size;
    memcpy(dst, t->early + t->early_at, n);
    t->early_at += n;
    if (t->early_at == t->early_len) {
        mem_free(t->early);
        t->early = NULL;
    }
    return (int)n;
}

static void io_tls_note_first(struct io_tls *t, const char *p, ssize_t len)
{
    if (len > 0 && t->first_byte == 0) {
        t->first_byte = p[0];
    }
}

static int io_tls_bio_read(BIO *bio, char *dst, int size)
{
    struct io_tls *t = BIO_get_data(bio);
    struct conn *c = t->c;
    BIO_clear_retry_flags(bio);
    if (size <= 0) {
        return 0;
    }
    if (t->early != NULL) {
        const int n_early = io_tls_bio_take_early(t, dst, (size_t)size);
        io_tls_note_first(t, dst, n_early);
        return n_early;
    }
    ssize_t n = -1;
    if (c->is_drained && !c->is_peer_shut) {
        errno = EAGAIN;
    } else {
        do {
            n = recv(c->fd, dst, (size_t)size, 0);
        } while (n < 0 && errno == EINTR);
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        c->is_drained = true;
        t->is_socket_empty = true;
        BIO_set_retry_read(bio);
    } else if (n < 0 && c->error_number == 0) {
        c->error_number = errno;
    }
    io_tls_note_first(t, dst, n);
    t->is_fin |= n == 0;
    c->is_drained |= n > 0 && n < size;
    return (int)n;
}

static int io_tls_bio_write(BIO *bio, const char *p, int len)
{
    struct io_tls *t = BIO_get_data(bio);
    struct conn *c = t->c;
    BIO_clear_retry_flags(bio);
    if (len <= 0) {
        return 0;
    }
    ssize_t n;
    do {
        n = send(c->fd, p, (size_t)len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < len) {
        c->is_writable = false;
    }
    t->has_written |= n > 0;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_write(bio);
    } else if (n < 0 && c->error_number == 0) {
        c->error_number = errno;
    }
    return (int)n;
}

static long io_tls_bio_ctrl(BIO *bio, int command, long number, void *p)
{
    (void)bio;
    (void)number;
    (void)p;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int io_tls_bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

/* One for the process, made at the first use and never freed. */
static BIO_METHOD *io_tls_bio_method;

static void io_tls_bio_init(void)
{
    BIO_METHOD *m =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");
    CHECK(m != NULL);
    BIO_meth_set_read(m, io_tls_bio_read);
    BIO_meth_set_write(m, io_tls_bio_write);
    BIO_meth_set_ctrl(m, io_tls_bio_ctrl);
    BIO_meth_set_create(m, io_tls_bio_create);
    io_tls_bio_method = m;
}

/* ---- attaching ---------------------------------------------------------- */

/* OpenSSL steps through its states: behind the handshake, for a message that
 * carries no data (a key update, a ticket). */
static void io_tls_on_info(const SSL *ssl, int where, int value)
{
    (void)value;
    struct io_tls *t = SSL_get_app_data(ssl);
    if ((where & SSL_CB_LOOP) != 0 && t->c->is_ready) {
        t->n_control++;
    }
}

static struct io_tls *
io_tls_attach(struct conn *c, SSL *ssl, const struct io_ops *ops)
{
    static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
    CHECK(CRYPTO_THREAD_run_once(&once, io_tls_bio_init) == 1);
    struct io_tls *t = mem_new(sizeof(*t));
    t->c = c;
    BIO *bio = BIO_new(io_tls_bio_method);
    CHECK(bio != NULL);
    BIO_set_data(bio, t);
    SSL_set_bio(ssl, bio, bio);
    CHECK(SSL_set_app_data(ssl, t) == 1);
    SSL_set_info_callback(ssl, io_tls_on_info);
    if (c->kept_len > 0) {
        t->early = mem_new_raw(c->kept_len);
        t->early_len = c->kept_len;
        memcpy(t->early, c->kept, c->kept_len);
    }
    c->io = ops;
    c->io_state = ssl;
    return t;
}

void io_tls_server_init(struct conn *c, struct tls_server *tls)
{
    tls_server_ref(tls);
    struct io_tls *t =
        io_tls_attach(c, tls_server_ssl_new(tls), &io_tls_server);
    t->server = tls;
}

void io_tls_client_init(struct conn *c, struct tls_client *tls)
{
    tls_client_ref(tls);
    struct io_tls *t =
        io_tls_attach(c, tls_client_ssl_new(tls), &io_tls_client);
    t->client = tls;
}

static void io_tls_fini(struct conn *c)
{
    SSL *ssl = c->io_state;
    if (ssl == NULL) {
        return;
    }
    struct io_tls *t = io_tls_get(ssl);
    c->io_state = NULL;
    SSL_free(ssl);
    tls_server_unref(t->server);
    tls_client_unref(t->client);
    mem_free(t->early);
    mem_free(t);
}

/* ---- moving bytes ------------------------------------------------------- */

static int io_tls_fail(struct conn *c)
{
    if (c->tls_error == 0) {
        c->tls_error = ERR_peek_error();
    }
    ERR_clear_error();
    return IO_ERROR;
}

/* What a call that returned `result` means: IO_AGAIN, IO_EOF or IO_ERROR. */
static int io_tls_result(struct conn *c, SSL *ssl, int result)
{
    struct io_tls *t = io_tls_get(ssl);
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
        if (t->is_socket_empty) {
            c->is_readable = false;
        }
        return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return IO_EOF;
    case SSL_ERROR_SYSCALL:
        /* FIN without close_notify: what came may have been cut short. */
        if (c->error_number == 0) {
            c->error_number = ECONNRESET;
        }
        return io_tls_fail(c);
    default:
        return io_tls_fail(c);
    }
}

static void io_tls_keep_sni(struct io_tls *t, SSL *ssl)
{
    const struct str sni =
        str_from(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    if (sni.len > 0 && sni.len < sizeof(t->sni)) {
        str_lower(t->sni, sni);
        t->sni[sni.len] = '\0';
    }
}

/*
 * A handshake that failed upon a letter: no record of TLS and no SSL 2 hello
 * begins with one, but every method of HTTP does (and "PRI * HTTP/2.0").
 */
static bool io_tls_is_plain_http(const struct io_tls *t)
{
    return t->server != NULL && !t->has_written && t->first_byte >= 'A' &&
           t->first_byte <= 'Z';
}

static int io_tls_handshake(struct conn *c)
{
    SSL *ssl = c->io_state;
    struct io_tls *t = io_tls_get(ssl);
    t->is_socket_empty = false;
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl);
    if (result == 1) {
        io_tls_keep_sni(t, ssl);
        return 1;
    }
    const int meaning = io_tls_result(c, ssl, result);
    if (meaning == IO_AGAIN) {
        return IO_AGAIN;
    }
    if (io_tls_is_plain_http(t)) {
        return IO_PLAIN_HTTP;
    }
    const long verified = SSL_get_verify_result(ssl);
    if (verified != X509_V_OK) {
        c->tls_verify_error = verified;
    }
    return IO_ERROR;
}

/* More records without data than a peer of good will has reason to send. */
static bool io_tls_is_flood(const struct conn *c, const struct io_tls *t)
{
    return t->n_control >
           IO_TLS_N_CONTROL_MAX + c->received_bytes / IO_TLS_CONTROL_BYTES;
}

/* One record's bytes at most; goes on over records that carry none. */
static int io_tls_read_record(struct conn *c, uint8_t *p, size_t len)
{
    SSL *ssl = c->io_state;
    struct io_tls *t = io_tls_get(ssl);
    for (;;) {
        t->is_socket_empty = false;
        ERR_clear_error();
        const int n = SSL_read(ssl, p, (int)len);
        if (io_tls_is_flood(c, t)) {
            c->error_number = EPROTO;
            return IO_ERROR;
        }
        if (n > 0) {
            return n;
        }
        const int meaning = io_tls_result(c, ssl, n);
        if (meaning != IO_AGAIN || t->is_socket_empty || !c->is_writable) {
            return meaning;
        }
    }
}

/* Several records, so that a codec sees them as one piece. */
static ssize_t io_tls_read(struct conn *c, uint8_t *p, size_t len)
{
    size_t n_read = 0;
    if (c->tls_error != 0) {
        return IO_ERROR;
    }
    while (n_read < len) {
        const int n = io_tls_read_record(c, p + n_read, len - n_read);
        if (n < 0) {
            /* After bytes, an end or an error comes again next time. */
            return n_read > 0 ? (ssize_t)n_read : n;
        }
        n_read += (size_t)n;
    }
    return (ssize_t)n_read;
}

static int io_tls_peek(struct conn *c)
{
    SSL *ssl = c->io_state;
    struct io_tls *t = io_tls_get(ssl);
    uint8_t byte;
    do {
        t->is_socket_empty = false;
        ERR_clear_error();
        const int n = SSL_peek(ssl, &byte, 1);
        if (io_tls_is_flood(c, t)) {
            c->error_number = EPROTO;
            return IO_ERROR;
        }
        if (n > 0) {
            c->is_readable = true;
            return 1;
        }
        const int meaning = io_tls_result(c, ssl, n);
        if (meaning != IO_AGAIN) {
            return meaning;
        }
    } while (!t->is_socket_empty && c->is_writable);
    return IO_AGAIN;
}

/* How much the next record may carry. */
static size_t io_tls_record_limit(struct io_tls *t)
{
    const uint64_t now_ms = t->c->loop->now_ms;
    if (now_ms - t->written_ms > IO_TLS_IDLE_MS) {
        t->n_records = 0;
    }
    t->written_ms = now_ms;
    if (t->n_records >= IO_TLS_N_SMALL_RECORDS) {
        return IO_TLS_RECORD_BYTES;
    }
    t->n_records++;
    return IO_TLS_SMALL_RECORD_BYTES;
}

/* The front of the queue in one piece: as it lies, or copied to `room`. */
static struct str io_tls_gather(const struct buf *b, size_t len, uint8_t *room)
{
    struct iovec iov[IO_TLS_N_IOV];
    const int n_iov = buf_peek_iov(b, iov, IO_TLS_N_IOV);
    if (n_iov > 0 && iov[0].iov_len >= len) {
        return str_make(iov[0].iov_base, len);
    }
    size_t n_copied = 0;
    for (int i = 0; i < n_iov && n_copied < len; i++) {
        size_t n = len - n_copied;
        n = n < iov[i].iov_len ? n : iov[i].iov_len;
        memcpy(room + n_copied, iov[i].iov_base, n);
        n_copied += n;
    }
    return str_make((const char *)room, n_copied);
}

static ssize_t io_tls_write(struct conn *c, struct buf *b)
{
    SSL *ssl = c->io_state;
    struct io_tls *t = io_tls_get(ssl);
    uint8_t room[IO_TLS_RECORD_BYTES];
    /* A write that did not finish must be repeated with the same bytes. */
    size_t len = t->pending_len;
    if (len == 0) {
        len = io_tls_record_limit(t);
        len = len < buf_len(b) ? len : buf_len(b);
    }
    const struct str piece = io_tls_gather(b, len, room);
    ERR_clear_error();
    const int n = SSL_write(ssl, piece.p, (int)piece.len);
    if (n > 0) {
        t->pending_len = 0;
        buf_drop(b, (size_t)n);
        return n;
    }
    const int meaning = io_tls_result(c, ssl, n);
    if (meaning == IO_AGAIN) {
        t->pending_len = piece.len;
        return IO_AGAIN;
    }
    return IO_ERROR;
}

static bool io_tls_shutdown(struct conn *c)
{
    SSL *ssl = c->io_state;
    ERR_clear_error();
    const int result = SSL_shutdown(ssl);
    if (result < 0 && SSL_get_error(ssl, result) == SSL_ERROR_WANT_WRITE) {
        return false;
    }
    ERR_clear_error();
    shutdown(c->fd, SHUT_WR);
    return true;
}

/* ---- what the handshake settled ----------------------------------------- */

struct str conn_alpn(const struct conn *c)
{
    const unsigned char *p = NULL;
    unsigned len = 0;
    if (c->io_state != NULL) {
        SSL_get0_alpn_selected(c->io_state, &p, &len);
    }
    return str_make((const char *)p, len);
}

struct str conn_sni(const struct conn *c)
{
    if (c->io_state == NULL) {
        return STR_NONE;
    }
    const struct io_tls *t = io_tls_get(c->io_state);
    return t->sni[0] != '\0' ? str_from(t->sni) : STR_NONE;
}

const struct io_ops io_tls_server = {
    .name = "tls-server",
    .handshake = io_tls_handshake,
    .read = io_tls_read,
    .write = io_tls_write,
    .shutdown = io_tls_shutdown,
    .peek = io_tls_peek,
    .fini = io_tls_fini,
};

const struct io_ops io_tls_client = {
    .name = "tls-client",
    .handshake = io_tls_handshake,
    .read = io_tls_read,
    .write = io_tls_write,
    .shutdown = io_tls_shutdown,
    .peek = io_tls_peek,
    .fini = io_tls_fini,
};
