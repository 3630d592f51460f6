/*
 * Unit tests of TLS from certificate to byte: a conn of ours against a client
 * of OpenSSL, and against another conn of ours, with certificates that the
 * test makes. Nothing sleeps; the loop is turned by hand.
 */
#define _GNU_SOURCE
#include "net/tls.c"

#include "net/conn.h"
#include "tls_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>

enum { TURNS_MAX = 3000, GOT_MAX = 1024 * 1024 };

static struct {
    struct fixture_cert ca;
    struct fixture_cert other_ca;
    struct fixture_cert a_ec;  /* a.test, www.a.test */
    struct fixture_cert a_rsa; /* a.test */
    struct fixture_cert wild;  /* *.b.test */
    struct fixture_cert local; /* 127.0.0.1, ::1 */
    struct fixture_cert old;   /* expired, old.test */
    struct fixture_cert client;
    struct fixture_cert stranger; /* client of other_ca */
    char ca_path[32];
    struct tls_tickets *tickets;
} fix;

static int fixture_setup(void **state)
{
    (void)state;
    fixture_make(&fix.ca, false, "Test CA", NULL, NULL, 10);
    fixture_make(&fix.other_ca, false, "Other CA", NULL, NULL, 10);
    fixture_make(&fix.a_ec, false, "a", "DNS:a.test,DNS:www.a.test", &fix.ca,
                 10);
    fixture_make(&fix.a_rsa, true, "a", "DNS:A.test", &fix.ca, 10);
    fixture_make(&fix.wild, false, "b", "DNS:*.b.test", &fix.ca, 10);
    fixture_make(&fix.local, false, "l", "IP:127.0.0.1,IP:::1", &fix.ca, 10);
    fixture_make(&fix.old, false, "old", "DNS:old.test", &fix.ca, -1);
    fixture_make(&fix.client, false, "client, one", NULL, &fix.ca, 10);
    fixture_make(&fix.stranger, false, "stranger", NULL, &fix.other_ca, 10);
    snprintf(fix.ca_path, sizeof(fix.ca_path), "/tmp/test_tls_XXXXXX");
    fixture_write_file(fix.ca_path, fix.ca.chain_pem, strlen(fix.ca.chain_pem));
    fix.tickets = tls_tickets_new();
    return 0;
}

static int fixture_teardown(void **state)
{
    (void)state;
    fixture_free(&fix.ca);
    fixture_free(&fix.other_ca);
    fixture_free(&fix.a_ec);
    fixture_free(&fix.a_rsa);
    fixture_free(&fix.wild);
    fixture_free(&fix.local);
    fixture_free(&fix.old);
    fixture_free(&fix.client);
    fixture_free(&fix.stranger);
    unlink(fix.ca_path);
    tls_tickets_free(fix.tickets);
    return 0;
}

/* ---- a server conn and a client of OpenSSL ------------------------------ */

struct side {
    struct conn *c;
    uint8_t *got;
    size_t got_len;
    bool is_ready;
    bool is_eof;
    bool want_echo;
    enum conn_end end;
    char end_text[160];
    char sni[64];
    char alpn[16];
    char subject[128];
    char fingerprint[65];
    bool has_subject;
    bool is_resumed;
};

static void side_copy(char *dst, size_t size, struct str s)
{
    snprintf(dst, size, "%.*s", STR_ARG(s));
}

static void side_on_ready(struct conn *c)
{
    struct side *s = c->owner;
    s->is_ready = true;
    side_copy(s->sni, sizeof(s->sni), conn_sni(c));
    side_copy(s->alpn, sizeof(s->alpn), conn_alpn(c));
    s->is_resumed = tls_is_resumed(c->io_state);
    s->has_subject = tls_peer_subject(c->io_state, s->subject,
                                      sizeof(s->subject), s->fingerprint);
}

static size_t side_on_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    struct side *s = c->owner;
    assert_true(s->got_len + len <= GOT_MAX);
    memcpy(s->got + s->got_len, p, len);
    s->got_len += len;
    if (s->want_echo) {
        conn_write(c, p, len);
    }
    return len;
}

static void side_on_eof(struct conn *c)
{
    struct side *s = c->owner;
    s->is_eof = true;
}

static void side_on_room(struct conn *c)
{
    (void)c;
}

static void side_on_closed(struct conn *c, enum conn_end end)
{
    struct side *s = c->owner;
    s->end = end;
    conn_end_text(c, s->end_text, sizeof(s->end_text));
    s->c = NULL;
}

static const struct conn_ops side_ops = {
    .on_ready = side_on_ready,
    .on_bytes = side_on_bytes,
    .on_eof = side_on_eof,
    .on_room = side_on_room,
    .on_closed = side_on_closed,
};

/* One test: a server conn over a socketpair, and the client's end. */
struct bench {
    struct loop *loop;
    struct side server;
    SSL_CTX *ctx; /* the client's */
    SSL *ssl;
    SSL_SESSION *session; /* what the server gave last */
    int fd;
};

static int bench_on_session(SSL *ssl, SSL_SESSION *session)
{
    struct bench *b = SSL_get_app_data(ssl);
    SSL_SESSION_free(b->session);
    b->session = session;
    return 1;
}

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    b->fd = -1;
    b->loop = loop_new("test", 0);
    b->server.got = malloc(GOT_MAX);
    b->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(b->ctx, SSL_SESS_CACHE_CLIENT |
                                               SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(b->ctx, bench_on_session);
}

static void bench_hang_up(struct bench *b)
{
    if (b->server.c != NULL) {
        conn_close(b->server.c, CONN_CLOSED_BY_US);
        loop_run_once(b->loop, 0);
    }
    if (b->ssl != NULL) {
        /* Otherwise OpenSSL takes the session for broken. */
        SSL_set_shutdown(b->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(b->ssl);
    b->ssl = NULL;
    if (b->fd >= 0) {
        close(b->fd);
        b->fd = -1;
    }
}

static void bench_fini(struct bench *b)
{
    bench_hang_up(b);
    SSL_SESSION_free(b->session);
    SSL_CTX_free(b->ctx);
    loop_free(b->loop);
    free(b->server.got);
}

/* Opens a pair of sockets: a conn at one end, an SSL at the other. */
static void bench_open(struct bench *b, struct tls_server *tls, const char *sni)
{
    const struct addr none = {.len = 0};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
                     0);
    uint8_t *got = b->server.got;
    memset(&b->server, 0, sizeof(b->server));
    b->server.got = got;
    b->fd = fds[1];
    b->server.c =
        conn_accept(b->loop, fds[0], &none, &none, tls, &side_ops, &b->server);
    b->ssl = SSL_new(b->ctx);
    SSL_set_app_data(b->ssl, b);
    SSL_set_fd(b->ssl, b->fd);
    if (sni != NULL) {
        /* OpenSSL's macro wants it writable. */
        SSL_set_tlsext_host_name(b->ssl, (char *)(uintptr_t)sni);
    }
    if (b->session != NULL) {
        SSL_set_session(b->ssl, b->session);
    }
}

/* Drives both ends until the client is done; false when it failed. */
static bool bench_shake(struct bench *b)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        ERR_clear_error();
        const int result = SSL_connect(b->ssl);
        loop_run_once(b->loop, 0);
        if (result == 1) {
            loop_run_once(b->loop, 0);
            return true;
        }
        const int reason = SSL_get_error(b->ssl, result);
        if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
            return false;
        }
    }
    return false;
}

/* Reads exactly `len` bytes (or what came after all turns). */
static size_t bench_read(struct bench *b, void *dst, size_t len)
{
    size_t n_read = 0;
    for (int i = 0; i < TURNS_MAX && n_read < len; i++) {
        ERR_clear_error();
        const int n =
            SSL_read(b->ssl, (char *)dst + n_read, (int)(len - n_read));
        n_read += n > 0 ? (size_t)n : 0;
        if (n <= 0) {
            loop_run_once(b->loop, 0);
        }
    }
    return n_read;
}

/* Handshake, one byte to and fro (which brings the tickets), hang up. */
static bool
bench_visit(struct bench *b, struct tls_server *tls, const char *sni)
{
    char byte = 'x';
    bench_open(b, tls, sni);
    b->server.want_echo = true;
    const bool is_good = bench_shake(b) && SSL_write(b->ssl, &byte, 1) == 1 &&
                         bench_read(b, &byte, 1) == 1;
    return is_good;
}

static struct tls_server *
make_server(const struct tls_pair *pairs, size_t n, const char *name)
{
    struct error err = {0};
    const struct tls_server_settings settings = {
        .name = name,
        .pairs = pairs,
        .n_pairs = n,
        .has_h2 = true,
        .has_http1 = true,
        .min_version = TLS1_2_VERSION,
        .tickets = fix.tickets,
    };
    struct tls_server *t = tls_server_new(&settings, &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(t);
    return t;
}

static struct tls_server *make_server_of_all(void)
{
    const struct tls_pair pairs[] = {
        fixture_pair(&fix.a_ec),
        fixture_pair(&fix.a_rsa),
        fixture_pair(&fix.wild),
        fixture_pair(&fix.local),
    };
    return make_server(pairs, 4, "all");
}

static void check_served(struct bench *b, const struct fixture_cert *cert)
{
    X509 *x = SSL_get1_peer_certificate(b->ssl);
    assert_non_null(x);
    assert_int_equal(X509_cmp(x, cert->x), 0);
    X509_free(x);
}

/* ---- tests -------------------------------------------------------------- */

static void test_tls__bytes_pass_both_ways(void **state)
{
    struct bench b;
    const size_t len = 300 * 1024;
    uint8_t *bytes = malloc(len);
    uint8_t *back = calloc(1, len);
    struct tls_server *t = make_server_of_all();
    (void)state;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(i * 7 >> 2);
    }
    bench_init(&b);
    bench_open(&b, t, "a.test");
    b.server.want_echo = true;
    assert_true(bench_shake(&b));
    assert_string_equal(SSL_get_version(b.ssl), "TLSv1.3");
    size_t n_sent = 0;
    size_t n_back = 0;
    for (int i = 0; i < TURNS_MAX && n_back < len; i++) {
        ERR_clear_error();
        SSL_set_mode(b.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        int n = n_sent < len
                    ? SSL_write(b.ssl, bytes + n_sent, (int)(len - n_sent))
                    : 0;
        n_sent += n > 0 ? (size_t)n : 0;
        loop_run_once(b.loop, 0);
        ERR_clear_error();
        n = SSL_read(b.ssl, back + n_back, (int)(len - n_back));
        n_back += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(n_back, len);
    assert_memory_equal(back, bytes, len);
    assert_int_equal(b.server.c->received_bytes, len);
    assert_int_equal(b.server.c->sent_bytes, len);
    free(bytes);
    free(back);
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__sni_chooses_the_certificate(void **state)
{
    static const struct {
        const char *sni;
        const struct fixture_cert *cert;
    } rows[] = {
        {"a.test", &fix.a_ec},     {"WWW.a.Test", &fix.a_ec},
        {"x.b.test", &fix.wild},   {"b.test", &fix.a_ec},
        {"x.y.b.test", &fix.a_ec}, {"unknown.test", &fix.a_ec},
        {NULL, &fix.a_ec},         {"*.b.test", &fix.wild},
    };
    struct tls_server *t = make_server_of_all();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b;
        bench_init(&b);
        bench_open(&b, t, rows[i].sni);
        assert_true(bench_shake(&b));
        check_served(&b, rows[i].cert);
        assert_true(b.server.is_ready);
        bench_fini(&b);
    }
    tls_server_unref(t);
}

static void test_tls__sni_is_kept_in_lower_case(void **state)
{
    struct bench b;
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    bench_open(&b, t, "A.TEST");
    assert_true(bench_shake(&b));
    assert_string_equal(b.server.sni, "a.test");
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__strict_sni_refuses_unknown_names(void **state)
{
    struct bench b;
    struct error err = {0};
    const struct tls_pair pair = fixture_pair(&fix.a_ec);
    const struct tls_server_settings settings = {
        .name = "strict", .pairs = &pair, .n_pairs = 1, .is_sni_strict = true};
    struct tls_server *t = tls_server_new(&settings, &err);
    (void)state;
    assert_non_null(t);
    bench_init(&b);
    bench_open(&b, t, "unknown.test");
    assert_false(bench_shake(&b));
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
                     SSL_R_TLSV1_UNRECOGNIZED_NAME);
    loop_run_once(b.loop, 0);
    assert_int_equal(b.server.end, CONN_TLS_FAILED);
    assert_false(b.server.is_ready);
    bench_hang_up(&b);
    bench_open(&b, t, "a.test");
    assert_true(bench_shake(&b));
    bench_fini(&b);
    assert_false(tls_server_covers(t, STR("a.test"), STR("unknown.test")));
    tls_server_unref(t);
}

static void test_tls__one_name_may_have_two_kinds_of_key(void **state)
{
    struct bench b;
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    char rsa_only[] = "RSA-PSS+SHA256:RSA+SHA256";
    SSL_CTX_set1_sigalgs_list(b.ctx, rsa_only);
    bench_open(&b, t, "a.test");
    assert_true(bench_shake(&b));
    check_served(&b, &fix.a_rsa);
    bench_fini(&b);
    bench_init(&b);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(b.ctx, "ECDHE-RSA-AES128-GCM-SHA256");
    bench_open(&b, t, NULL); /* the default has both kinds too */
    assert_true(bench_shake(&b));
    check_served(&b, &fix.a_rsa);
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__weak_versions_and_suites_are_refused(void **state)
{
    static const char *const suites[] = {"AES128-SHA", "AES128-GCM-SHA256",
                                         "ECDHE-ECDSA-AES128-SHA",
                                         "DHE-RSA-AES128-GCM-SHA256"};
    struct tls_server *t = make_server_of_all();
    struct bench b;
    (void)state;
    bench_init(&b);
    SSL_CTX_set_security_level(b.ctx, 0);
    SSL_CTX_set_min_proto_version(b.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_1_VERSION);
    bench_open(&b, t, "a.test");
    assert_false(bench_shake(&b));
    bench_fini(&b);
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        bench_init(&b);
        SSL_CTX_set_max_proto_version(b.ctx, TLS1_2_VERSION);
        assert_int_equal(SSL_CTX_set_cipher_list(b.ctx, suites[i]), 1);
        bench_open(&b, t, "a.test");
        assert_false(bench_shake(&b));
        bench_fini(&b);
    }
    tls_server_unref(t);
}

/* Upgrades are HTTP/1.1, whatever the upstream would rather speak. */
static void test_tls__a_connection_may_offer_http1_alone(void **state)
{
    struct tls_server *t = make_server_of_all();
    struct bench b;
    (void)state;
    bench_init(&b);
    SSL_CTX_set_alpn_protos(b.ctx, (const unsigned char *)"\x02h2", 3);
    bench_open(&b, t, "a.test");
    tls_offer_http1(b.ssl);
    assert_true(bench_shake(&b));
    assert_string_equal(b.server.alpn, "http/1.1");
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__alpn_prefers_h2_and_refuses_strangers(void **state)
{
    static const struct {
        const char *offer;
        const char *chosen; /* NULL: refused */
    } rows[] = {
        {"\x08http/1.1\x02h2", "h2"},
        {"\x08http/1.1", "http/1.1"},
        {"\x03xyz", NULL},
        {"", ""},
    };
    struct tls_server *t = make_server_of_all();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b;
        bench_init(&b);
        SSL_CTX_set_alpn_protos(b.ctx, (const unsigned char *)rows[i].offer,
                                (unsigned)strlen(rows[i].offer));
        bench_open(&b, t, "a.test");
        assert_int_equal(bench_shake(&b), rows[i].chosen != NULL);
        if (rows[i].chosen != NULL) {
            assert_string_equal(b.server.alpn, rows[i].chosen);
        }
        bench_fini(&b);
    }
    tls_server_unref(t);
}

static void test_tls__plain_bytes_end_the_handshake(void **state)
{
    struct bench b;
    char text[64];
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    bench_open(&b, t, NULL);
    assert_true(send(b.fd, "GET / HTTP/1.1\r\n\r\n", 18, 0) == 18);
    for (int i = 0; i < 5; i++) {
        loop_run_once(b.loop, 0);
    }
    assert_int_equal(b.server.end, CONN_TLS_FAILED);
    assert_non_null(strstr(b.server.end_text, "http request"));
    assert_true(recv(b.fd, text, sizeof(text), 0) >= 0); /* alert, then FIN */
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__a_fin_without_goodbye_is_a_break(void **state)
{
    struct bench b;
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    assert_true(bench_visit(&b, t, "a.test"));
    shutdown(b.fd, SHUT_WR);
    loop_run_once(b.loop, 0);
    loop_run_once(b.loop, 0);
    assert_int_equal(b.server.end, CONN_RESET);
    assert_false(b.server.is_eof);
    bench_hang_up(&b);
    assert_true(bench_visit(&b, t, "a.test"));
    SSL_shutdown(b.ssl); /* with one it is an end */
    loop_run_once(b.loop, 0);
    loop_run_once(b.loop, 0);
    assert_true(b.server.is_eof);
    assert_non_null(b.server.c);
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__a_vanished_client_is_noticed_while_paused(void **state)
{
    struct bench b;
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    assert_true(bench_visit(&b, t, "a.test"));
    conn_pause(b.server.c);
    SSL_shutdown(b.ssl);
    shutdown(b.fd, SHUT_WR);
    loop_run_once(b.loop, 0);
    loop_run_once(b.loop, 0);
    assert_true(b.server.is_eof);
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__we_say_goodbye(void **state)
{
    struct bench b;
    char byte;
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    assert_true(bench_visit(&b, t, "a.test"));
    conn_write(b.server.c, "bye", 3);
    conn_close_after_write(b.server.c);
    loop_run_once(b.loop, 0);
    loop_run_once(b.loop, 0);
    assert_null(b.server.c);
    char text[4] = {0};
    assert_int_equal(bench_read(&b, text, 3), 3);
    const int n = SSL_read(b.ssl, &byte, 1);
    assert_int_equal(SSL_get_error(b.ssl, n), SSL_ERROR_ZERO_RETURN);
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__a_flood_of_key_updates_is_ended(void **state)
{
    struct bench b;
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    assert_true(bench_visit(&b, t, "a.test"));
    int i = 0;
    for (; i < TURNS_MAX && b.server.c != NULL; i++) {
        ERR_clear_error();
        SSL_key_update(b.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        if (SSL_do_handshake(b.ssl) != 1) {
            break;
        }
        loop_run_once(b.loop, 0);
    }
    loop_run_once(b.loop, 0);
    assert_null(b.server.c);
    assert_true(i > 5 && i < 1000);
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__records_are_small_first(void **state)
{
    struct bench b;
    const size_t len = 60000;
    uint8_t *bytes = calloc(1, len);
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    assert_true(bench_visit(&b, t, "a.test"));
    conn_write(b.server.c, bytes, len);
    loop_run_once(b.loop, 0);
    /* SSL_read gives one record at a time. */
    size_t largest = 0;
    size_t n_read = (size_t)SSL_read(b.ssl, bytes, (int)len);
    assert_true(n_read <= 1400);
    for (int i = 0; i < TURNS_MAX && n_read < len; i++) {
        const int n = SSL_read(b.ssl, bytes, (int)len);
        n_read += n > 0 ? (size_t)n : 0;
        largest = n > 0 && (size_t)n > largest ? (size_t)n : largest;
        loop_run_once(b.loop, 0);
    }
    assert_int_equal(n_read, len);
    assert_int_equal(largest, 16384);
    free(bytes);
    bench_fini(&b);
    tls_server_unref(t);
}

/* ---- certificates of clients -------------------------------------------- */

static struct tls_server *make_auth_server(enum tls_client_auth auth,
                                           const char *name)
{
    struct error err = {0};
    const struct tls_pair pair = fixture_pair(&fix.a_ec);
    const struct tls_server_settings settings = {
        .name = name,
        .pairs = &pair,
        .n_pairs = 1,
        .client_auth = auth,
        .client_ca_path = fix.ca_path,
        .tickets = fix.tickets,
    };
    struct tls_server *t = tls_server_new(&settings, &err);
    assert_string_equal(error_text(&err), "");
    return t;
}

static void bench_use_cert(struct bench *b, const struct fixture_cert *cert)
{
    assert_int_equal(SSL_CTX_use_certificate(b->ctx, cert->x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(b->ctx, cert->key), 1);
}

static void test_tls__required_client_certificates_are_required(void **state)
{
    struct bench b;
    struct tls_server *t = make_auth_server(TLS_CLIENT_AUTH_REQUIRED, "mtls");
    (void)state;
    bench_init(&b);
    bench_visit(&b, t, "a.test");
    assert_int_equal(b.server.end, CONN_TLS_FAILED);
    assert_false(b.server.is_ready);
    bench_fini(&b);
    bench_init(&b);
    bench_use_cert(&b, &fix.stranger);
    bench_visit(&b, t, "a.test");
    assert_int_equal(b.server.end, CONN_TLS_FAILED);
    assert_false(b.server.is_ready);
    assert_non_null(strstr(b.server.end_text, "issuer"));
    bench_fini(&b);
    bench_init(&b);
    bench_use_cert(&b, &fix.client);
    assert_true(bench_visit(&b, t, "a.test"));
    assert_true(b.server.has_subject);
    assert_string_equal(b.server.subject, "CN=client\\, one");
    assert_int_equal(strlen(b.server.fingerprint), 64);
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__optional_client_certificates_may_be_missing(void **state)
{
    struct bench b;
    struct tls_server *t = make_auth_server(TLS_CLIENT_AUTH_OPTIONAL, "opt");
    (void)state;
    bench_init(&b);
    assert_true(bench_visit(&b, t, "a.test"));
    assert_false(b.server.has_subject);
    bench_fini(&b);
    bench_init(&b);
    bench_use_cert(&b, &fix.stranger);
    assert_false(bench_visit(&b, t, "a.test"));
    bench_fini(&b);
    tls_server_unref(t);
}

/* ---- resumption --------------------------------------------------------- */

static void check_resumption(int version)
{
    struct bench b;
    struct tls_server *before = make_server_of_all();
    bench_init(&b);
    SSL_CTX_set_max_proto_version(b.ctx, version);
    assert_true(bench_visit(&b, before, "a.test"));
    assert_false(b.server.is_resumed);
    assert_non_null(b.session);
    bench_hang_up(&b);
    struct tls_server *after = make_server_of_all(); /* a reload */
    tls_server_unref(before);
    assert_true(bench_visit(&b, after, "a.test"));
    assert_true(b.server.is_resumed);
    assert_true(SSL_session_reused(b.ssl));
    assert_string_equal(b.server.sni, "a.test");
    bench_fini(&b);
    tls_server_unref(after);
}

static void test_tls__sessions_survive_a_reload(void **state)
{
    (void)state;
    check_resumption(TLS1_3_VERSION);
    check_resumption(TLS1_2_VERSION);
}

static void test_tls__sessions_survive_two_rotations(void **state)
{
    struct bench b;
    struct tls_server *t = make_server_of_all();
    (void)state;
    bench_init(&b);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_2_VERSION);
    assert_true(bench_visit(&b, t, "a.test"));
    SSL_SESSION *first = SSL_get1_session(b.ssl);
    bench_hang_up(&b);
    tls_tickets_rotate(fix.tickets);
    tls_tickets_rotate(fix.tickets);
    assert_true(bench_visit(&b, t, "a.test"));
    assert_true(b.server.is_resumed);
    bench_hang_up(&b);
    tls_tickets_rotate(fix.tickets);
    SSL_SESSION_free(b.session);
    b.session = first; /* its key is gone now */
    assert_true(bench_visit(&b, t, "a.test"));
    assert_false(b.server.is_resumed);
    bench_fini(&b);
    tls_server_unref(t);
}

static void test_tls__sessions_never_cross_client_auth(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct tls_server *open_server =
        make_auth_server(TLS_CLIENT_AUTH_OPTIONAL, "same name");
    struct tls_server *closed_server =
        make_auth_server(TLS_CLIENT_AUTH_REQUIRED, "same name");
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct bench b;
        bench_init(&b);
        SSL_CTX_set_max_proto_version(b.ctx, versions[i]);
        assert_true(bench_visit(&b, open_server, "a.test"));
        assert_non_null(b.session);
        bench_hang_up(&b);
        /* Without a certificate there is no way in, ticket or not. */
        bench_visit(&b, closed_server, "a.test");
        assert_false(b.server.is_ready);
        bench_fini(&b);
    }
    tls_server_unref(open_server);
    tls_server_unref(closed_server);
}

/* ---- what an operator is told ------------------------------------------- */

static void check_refused(const struct tls_pair *pair, const char *words)
{
    struct error err = {0};
    const struct tls_server_settings settings = {.pairs = pair, .n_pairs = 1};
    assert_null(tls_server_new(&settings, &err));
    if (strstr(error_text(&err), words) == NULL) {
        fail_msg("no '%s' in '%s'", words, error_text(&err));
    }
    error_fini(&err);
}

static void test_tls__bad_pairs_are_named(void **state)
{
    struct tls_pair pair = fixture_pair(&fix.a_ec);
    (void)state;
    pair.key_pem = str_from(fix.wild.key_pem);
    check_refused(&pair, "does not belong");
    pair = fixture_pair(&fix.a_ec);
    pair.chain_pem = STR("nonsense");
    check_refused(&pair, "no certificate in PEM form");
    pair.chain_pem = STR("-----BEGIN CERTIFICATE-----\nAAAA\n"
                         "-----END CERTIFICATE-----\n");
    check_refused(&pair, "damaged");
    pair = fixture_pair(&fix.a_ec);
    pair.key_pem = str_from(fix.a_ec.chain_pem);
    check_refused(&pair, "no private key");
    const struct tls_pair missing = {.chain_path = "/nonexistent/chain.pem",
                                     .key_path = fix.ca_path};
    check_refused(&missing, "/nonexistent/chain.pem: cannot be read: No such");
    const struct tls_pair mixed = {.chain_path = fix.ca_path,
                                   .key_path = fix.ca_path};
    check_refused(&mixed, fix.ca_path);
}

static void test_tls__an_encrypted_key_is_told_apart(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    unsigned char password[] = "secret";
    struct tls_pair pair = fixture_pair(&fix.a_ec);
    (void)state;
    PEM_write_bio_PrivateKey(bio, fix.a_ec.key, EVP_aes_128_cbc(), password, 6,
                             NULL, NULL);
    char *pem = fixture_bio_text(bio);
    pair.key_pem = str_from(pem);
    check_refused(&pair, "encrypted");
    free(pem);
}

static void test_tls__covers_follows_the_certificates(void **state)
{
    struct tls_server *t = make_server_of_all();
    (void)state;
    assert_true(tls_server_covers(t, STR("a.test"), STR("A.test")));
    assert_true(tls_server_covers(t, STR("a.test"), STR("www.a.test")));
    assert_true(tls_server_covers(t, STR("x.b.test"), STR("y.b.test")));
    assert_false(tls_server_covers(t, STR("a.test"), STR("x.b.test")));
    assert_false(tls_server_covers(t, STR("x.b.test"), STR("b.test")));
    assert_true(tls_server_covers(t, STR_NONE, STR("a.test")));
    assert_false(tls_server_covers(t, STR_NONE, STR("x.b.test")));
    assert_true(tls_server_covers(t, STR("127.0.0.1"), STR("::1")));
    tls_server_unref(t);
}

/* ---- our own client ----------------------------------------------------- */

struct duo {
    struct loop *loop;
    struct side server;
    struct side client;
};

/* Connects a client conn to a server conn by TCP and turns until settled. */
static void duo_run(struct duo *d,
                    const struct fixture_cert *cert,
                    const struct tls_client_settings *settings)
{
    struct error err = {0};
    struct addr a;
    const struct tls_pair pair = fixture_pair(cert);
    struct tls_server *server = make_server(&pair, 1, "duo");
    struct tls_client *client = tls_client_new(settings, &err);
    assert_string_equal(error_text(&err), "");
    memset(d, 0, sizeof(*d));
    d->loop = loop_new("test", 0);
    d->server.got = malloc(GOT_MAX);
    d->client.got = malloc(GOT_MAX);
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    const int listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, &a.sa, a.len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, &a.sa, &a.len), 0);
    d->client.c = conn_connect(d->loop, &a, client, &side_ops, &d->client);
    const int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    d->server.c =
        conn_accept(d->loop, fd, &a, &a, server, &side_ops, &d->server);
    d->server.want_echo = true;
    tls_server_unref(server); /* the conns hold on to them */
    tls_client_unref(client);
    conn_write(d->client.c, "hello", 5);
    for (int i = 0;
         i < TURNS_MAX && d->client.got_len < 5 && d->client.c != NULL; i++) {
        loop_run_once(d->loop, 5);
    }
    close(listening);
}

static void duo_fini(struct duo *d)
{
    if (d->client.c != NULL) {
        conn_close(d->client.c, CONN_CLOSED_BY_US);
    }
    if (d->server.c != NULL) {
        conn_close(d->server.c, CONN_CLOSED_BY_US);
    }
    loop_run_once(d->loop, 0);
    loop_free(d->loop);
    free(d->server.got);
    free(d->client.got);
}

static void test_tls__our_client_reaches_whom_it_trusts(void **state)
{
    struct duo d;
    const struct tls_client_settings by_name = {
        .ca_path = fix.ca_path, .server_name = "www.a.test", .has_h2 = true};
    const struct tls_client_settings by_address = {.ca_path = fix.ca_path,
                                                   .server_name = "127.0.0.1"};
    (void)state;
    duo_run(&d, &fix.a_ec, &by_name);
    assert_int_equal(d.client.got_len, 5);
    assert_string_equal(d.client.alpn, "h2");
    assert_string_equal(d.server.sni, "www.a.test");
    duo_fini(&d);
    duo_run(&d, &fix.local, &by_address);
    assert_int_equal(d.client.got_len, 5);
    assert_string_equal(d.server.sni, ""); /* no SNI for addresses */
    duo_fini(&d);
}

static void check_distrust(const struct fixture_cert *cert,
                           const struct tls_client_settings *settings,
                           const char *words)
{
    struct duo d;
    duo_run(&d, cert, settings);
    assert_int_equal(d.client.end, CONN_TLS_FAILED);
    assert_false(d.client.is_ready);
    assert_int_equal(d.server.got_len, 0); /* nothing was said to it */
    if (strstr(d.client.end_text, words) == NULL) {
        fail_msg("no '%s' in '%s'", words, d.client.end_text);
    }
    duo_fini(&d);
}

static void test_tls__our_client_refuses_whom_it_distrusts(void **state)
{
    const struct tls_client_settings other_name = {.ca_path = fix.ca_path,
                                                   .server_name = "c.test"};
    const struct tls_client_settings other_address = {
        .ca_path = fix.ca_path, .server_name = "127.0.0.2"};
    const struct tls_client_settings old_name = {.ca_path = fix.ca_path,
                                                 .server_name = "old.test"};
    const struct tls_client_settings system_roots = {.server_name = "a.test"};
    (void)state;
    check_distrust(&fix.a_ec, &other_name, "hostname mismatch");
    check_distrust(&fix.local, &other_address, "IP address mismatch");
    check_distrust(&fix.old, &old_name, "expired");
    check_distrust(&fix.a_ec, &system_roots, "issuer");
}

static void test_tls__verification_can_be_turned_off(void **state)
{
    struct duo d;
    const struct tls_client_settings settings = {.is_verify_off = true};
    (void)state;
    duo_run(&d, &fix.old, &settings);
    assert_int_equal(d.client.got_len, 5);
    assert_false(d.client.has_subject);
    duo_fini(&d);
}

static void test_tls__a_client_needs_a_name(void **state)
{
    struct error err = {0};
    const struct tls_client_settings settings = {.ca_path = fix.ca_path};
    (void)state;
    assert_null(tls_client_new(&settings, &err));
    assert_non_null(strstr(error_text(&err), "name"));
    error_fini(&err);
}

static void test_tls__identity_tells_clients_apart(void **state)
{
    const struct tls_client_settings rows[] = {
        {.ca_path = fix.ca_path, .server_name = "a.test"},
        {.ca_path = fix.ca_path, .server_name = "b.test"},
        {.server_name = "a.test"},
        {.server_name = "a.test", .is_verify_off = true},
        {.server_name = "a.test", .is_verify_off = true, .has_h2 = true},
    };
    enum { N = sizeof(rows) / sizeof(rows[0]) };
    char seen[N][65];
    struct error err = {0};
    (void)state;
    for (size_t i = 0; i < N; i++) {
        struct tls_client *t = tls_client_new(&rows[i], &err);
        struct tls_client *again = tls_client_new(&rows[i], &err);
        assert_true(str_eq(tls_client_identity(t), tls_client_identity(again)));
        assert_int_equal(tls_client_identity(t).len, 64);
        side_copy(seen[i], sizeof(seen[i]), tls_client_identity(t));
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(seen[i], seen[k]);
        }
        tls_client_unref(t);
        tls_client_unref(again);
    }
}

/* ---- TLS behind a PROXY header ------------------------------------------ */

static struct tls_server *late_tls;

static void late_on_ready(struct conn *c)
{
    if (conn_is_tls(c)) {
        side_on_ready(c);
    }
}

static size_t late_on_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    if (conn_is_tls(c)) {
        return side_on_bytes(c, p, len);
    }
    assert_memory_equal(p, "HEADER", 6);
    conn_start_tls(c, late_tls);
    return 6;
}

static void test_tls__may_begin_behind_other_bytes(void **state)
{
    struct conn_ops late = side_ops;
    struct bench b;
    char hello[4096];
    (void)state;
    late.on_ready = late_on_ready;
    late.on_bytes = late_on_bytes;
    late_tls = make_server_of_all();
    bench_init(&b);
    bench_open(&b, NULL, "a.test");
    conn_set_owner(b.server.c, &late, &b.server);
    b.server.want_echo = true;
    /* Header and ClientHello in one piece. */
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    BIO *keep = SSL_get_rbio(b.ssl);
    BIO_up_ref(keep);
    SSL_set_bio(b.ssl, in, out);
    assert_int_equal(SSL_connect(b.ssl), -1);
    memcpy(hello, "HEADER", 6);
    const int n = BIO_read(out, hello + 6, sizeof(hello) - 6);
    assert_int_equal(send(b.fd, hello, (size_t)n + 6, 0), n + 6);
    SSL_set_bio(b.ssl, keep, keep);
    assert_true(bench_shake(&b));
    assert_int_equal(SSL_write(b.ssl, "x", 1), 1);
    assert_int_equal(bench_read(&b, hello, 1), 1);
    assert_true(b.server.is_ready);
    assert_string_equal(b.server.sni, "a.test");
    bench_fini(&b);
    tls_server_unref(late_tls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls__bytes_pass_both_ways),
        cmocka_unit_test(test_tls__sni_chooses_the_certificate),
        cmocka_unit_test(test_tls__sni_is_kept_in_lower_case),
        cmocka_unit_test(test_tls__strict_sni_refuses_unknown_names),
        cmocka_unit_test(test_tls__one_name_may_have_two_kinds_of_key),
        cmocka_unit_test(test_tls__weak_versions_and_suites_are_refused),
        cmocka_unit_test(test_tls__alpn_prefers_h2_and_refuses_strangers),
        cmocka_unit_test(test_tls__a_connection_may_offer_http1_alone),
        cmocka_unit_test(test_tls__plain_bytes_end_the_handshake),
        cmocka_unit_test(test_tls__a_fin_without_goodbye_is_a_break),
        cmocka_unit_test(test_tls__a_vanished_client_is_noticed_while_paused),
        cmocka_unit_test(test_tls__we_say_goodbye),
        cmocka_unit_test(test_tls__a_flood_of_key_updates_is_ended),
        cmocka_unit_test(test_tls__records_are_small_first),
        cmocka_unit_test(test_tls__required_client_certificates_are_required),
        cmocka_unit_test(test_tls__optional_client_certificates_may_be_missing),
        cmocka_unit_test(test_tls__sessions_survive_a_reload),
        cmocka_unit_test(test_tls__sessions_survive_two_rotations),
        cmocka_unit_test(test_tls__sessions_never_cross_client_auth),
        cmocka_unit_test(test_tls__bad_pairs_are_named),
        cmocka_unit_test(test_tls__an_encrypted_key_is_told_apart),
        cmocka_unit_test(test_tls__covers_follows_the_certificates),
        cmocka_unit_test(test_tls__our_client_reaches_whom_it_trusts),
        cmocka_unit_test(test_tls__our_client_refuses_whom_it_distrusts),
        cmocka_unit_test(test_tls__verification_can_be_turned_off),
        cmocka_unit_test(test_tls__a_client_needs_a_name),
        cmocka_unit_test(test_tls__identity_tells_clients_apart),
        cmocka_unit_test(test_tls__may_begin_behind_other_bytes),
    };
    signal(SIGPIPE, SIG_IGN); /* for OpenSSL's client; ours does without */
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
