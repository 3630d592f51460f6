/*
 * Unit tests of proxy/worker with everything that it drives: clients,
 * exchanges and pools, over real sockets.
 */
#define _GNU_SOURCE
#include "proxy/worker.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "gateway_fixture.h"

/* ---- requests ----------------------------------------------------------- */

static void test_worker__a_request_goes_through(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, "GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n");
    const int server = gw_accept(&gw, 0);
    const char *got = gw_read(server, "\r\n\r\n");
    assert_int_equal(strncmp(got, "GET /x?y HTTP/1.1\r\n", 19), 0);
    assert_non_null(strstr(got, "x-forwarded-for: 127.0.0.1\r\n"));
    assert_int_equal(gw_in_flight(&gw), 1);
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    GW_UNTIL(&gw, gw_in_flight(&gw) == 0);
    gw_exchange(client, server); /* both connections are used again */
    close(client);
    close(server);
    gw_fini(&gw);
}

static void
test_worker__answers_without_a_body_keep_the_connection(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    assert_non_null(
        strstr(gw_read(client, "\r\n\r\n"), "content-length: 100\r\n"));
    gw_send(client, gw_get);
    gw_read(server, "\r\n\r\n");
    gw_send(server, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    gw_read(client, "\r\n\r\n");
    gw_send(client, gw_get);
    gw_read(server, "\r\n\r\n");
    gw_send(server, "HTTP/1.1 204 No Content\r\n\r\n");
    gw_read(client, "\r\n\r\n");
    gw_exchange(client, server);
    close(client);
    close(server);
    gw_fini(&gw);
}

static void test_worker__an_answer_that_ends_early_is_cut_off(void **state)
{
    struct gw gw;
    bool is_reset;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    gw_read(client, "half");
    close(server);
    gw_read_end(client, &is_reset);
    assert_true(is_reset);
    GW_UNTIL(&gw, gw_in_flight(&gw) == 0);
    close(client);
    gw_fini(&gw);
}

static void test_worker__more_than_announced_is_not_passed_on(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 "
                    "200 OK\r\n\r\nevil");
    const char *got = gw_read(client, "\r\n\r\nok");
    assert_null(strstr(got, "evil"));
    gw_send(client, gw_get);
    const int next = gw_accept(&gw, 0); /* the other one is out of step */
    gw_read(next, "\r\n\r\n");
    gw_send(next, gw_ok);
    assert_null(strstr(gw_read(client, "\r\n\r\nok"), "evil"));
    close(client);
    close(server);
    close(next);
    gw_fini(&gw);
}

static void test_worker__an_answer_may_come_before_the_body(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, "POST / HTTP/1.1\r\nHost: a.test\r\n"
                    "Content-Length: 1000\r\n\r\nbegin");
    const int server = gw_accept(&gw, 0);
    gw_read(server, "begin");
    gw_send(server, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    gw_read(client, "\r\n\r\nno");
    assert_true(gw_has_ended(server)); /* it cannot be used again */
    char rest[995];
    memset(rest, 'x', sizeof(rest));
    assert_int_equal(send(client, rest, sizeof(rest), MSG_NOSIGNAL),
                     sizeof(rest));
    gw_send(client, gw_get); /* the rest was dropped, this is served */
    const int next = gw_accept(&gw, 0);
    gw_read(next, "\r\n\r\n");
    gw_send(next, gw_ok);
    gw_read(client, "\r\n\r\nok");
    close(client);
    close(server);
    close(next);
    gw_fini(&gw);
}

/* Back-pressure must not stall: the upstream reads late, and in pieces. */
static void test_worker__a_large_upload_arrives_whole(void **state)
{
    enum { TOTAL = 8 * 1024 * 1024 };
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    char head[128];
    snprintf(head, sizeof(head),
             "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n",
             TOTAL);
    gw_send(client, head);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    static char block[32 * 1024];
    memset(block, 'b', sizeof(block));
    size_t n_sent = 0;
    size_t n_got = 0;
    while (n_got < TOTAL) {
        const size_t left = TOTAL - n_sent;
        const ssize_t n =
            send(client, block, left < sizeof(block) ? left : sizeof(block),
                 MSG_NOSIGNAL | (n_sent > n_got ? MSG_DONTWAIT : 0));
        n_sent += n > 0 ? (size_t)n : 0;
        if (n <= 0 || n_sent == TOTAL) {
            const ssize_t m = recv(server, block, sizeof(block), 0);
            assert_true(m > 0);
            n_got += (size_t)m;
            memset(block, 'b', sizeof(block));
        }
    }
    assert_int_equal(n_got, TOTAL);
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    close(client);
    close(server);
    gw_fini(&gw);
}

/* The other way, through a tunnel too: a client that reads late. */
static void check_download(int client, int server)
{
    enum { TOTAL = 8 * 1024 * 1024 };
    static char block[32 * 1024];
    size_t n_sent = 0;
    size_t n_got = 0;
    memset(block, 'b', sizeof(block));
    while (n_got < TOTAL) {
        const size_t left = TOTAL - n_sent;
        const ssize_t n =
            send(server, block, left < sizeof(block) ? left : sizeof(block),
                 MSG_NOSIGNAL | (n_sent > n_got ? MSG_DONTWAIT : 0));
        n_sent += n > 0 ? (size_t)n : 0;
        if (n <= 0) {
            const ssize_t m = recv(client, block, sizeof(block), 0);
            assert_true(m > 0);
            n_got += (size_t)m;
        }
    }
    assert_int_equal(n_got, TOTAL);
}

static void test_worker__a_large_download_arrives_whole(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n");
    gw_read(client, "\r\n\r\n");
    check_download(client, server);
    gw_exchange(client, server);
    close(client);
    close(server);
    gw_fini(&gw);
}

/* What came of the body while there was no connection is sent when there is
 * one, however large the buffer may be. */
static void test_worker__a_body_waits_for_its_connection(void **state)
{
    enum { TOTAL = 3 * 1024 * 1024 };
    struct gw gw;
    (void)state;
    gw_init(&gw);
    gw_use(&gw, gw_conf(&gw, "connections_max = 1;", "",
                        "limits = { buffer_bytes = 4194304; };"));
    const int first = gw_connect(&gw);
    gw_send(first, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    const int client = gw_connect(&gw);
    char head[128];
    snprintf(head, sizeof(head),
             "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n",
             TOTAL);
    gw_send(client, head);
    static char block[TOTAL];
    memset(block, 'b', sizeof(block));
    size_t n_sent = 0;
    while (n_sent < TOTAL) {
        const ssize_t n =
            send(client, block + n_sent, TOTAL - n_sent, MSG_NOSIGNAL);
        assert_true(n > 0);
        n_sent += (size_t)n;
    }
    gw_send(server, gw_ok); /* the place comes free */
    gw_read(first, "\r\n\r\nok");
    const char *got = gw_read(server, "\r\n\r\n");
    size_t n_got = strlen(strstr(got, "\r\n\r\n") + 4);
    while (n_got < TOTAL) {
        const ssize_t n = recv(server, block, sizeof(block), 0);
        assert_true(n > 0);
        n_got += (size_t)n;
    }
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    close(first);
    close(client);
    close(server);
    gw_fini(&gw);
}

/* R-LEN-8, where the head does not tell: HTTP/2 without content-length. */
static void test_worker__a_get_brings_no_body(void **state)
{
    static const char request[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        "\0\0\0\4\0\0\0\0\0"                           /* SETTINGS */
        "\0\0\x0b\1\4\0\0\0\1\x82\x86\x84\x41\6a.test" /* GET / */
        "\0\0\4\0\0\0\0\0\1body";
    struct gw gw;
    unsigned char got[4096];
    size_t len = 0;
    bool is_refused = false;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    assert_int_equal(send(client, request, sizeof(request) - 1, 0),
                     sizeof(request) - 1);
    while (!is_refused) {
        const ssize_t n = recv(client, got + len, sizeof(got) - len, 0);
        assert_true(n > 0);
        len += (size_t)n;
        for (size_t at = 0; at + 9 < len;
             at += 9 + ((size_t)got[at + 1] << 8 | got[at + 2])) {
            /* HEADERS whose first field is ":status: 400" */
            is_refused |= got[at + 3] == 1 && got[at + 9] == 0x8c;
        }
    }
    close(client);
    gw_fini(&gw);
}

static void test_worker__a_plain_listener_points_to_tls(void **state)
{
    static const struct {
        const char *request;
        const char *answer;
    } rows[] = {
        {"GET /a?b HTTP/1.1\r\nHost: A.test:80\r\n\r\n",
         "location: https://a.test/a?b\r\n"},
        {"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
         "location: https://[::1]/\r\n"},
        {"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
         "location: https://a.test/\r\n"},
        {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 400 "}, /* whereto? */
    };
    struct gw gw;
    char text[512];
    (void)state;
    gw_init(&gw);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"web\"; address = \"127.0.0.1:%u\"; "
             "redirect_to_https = true; } );",
             addr_port(&gw.addr));
    gw_use(&gw, text);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const int client = gw_connect(&gw);
        gw_send(client, rows[i].request);
        assert_non_null(strstr(gw_read(client, "\r\n\r\n"), rows[i].answer));
        close(client);
    }
    gw_fini(&gw);
}

/* ---- retries ------------------------------------------------------------ */

static void reset(int fd)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

static void test_worker__an_idempotent_request_is_tried_again(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, "PUT / HTTP/1.1\r\nHost: a.test\r\n"
                    "Content-Length: 4\r\n\r\nbody");
    int server = gw_accept(&gw, 0);
    gw_read(server, "body");
    reset(server);
    server = gw_accept(&gw, 0);
    const char *got = gw_read(server, "body"); /* replayed */
    assert_non_null(strstr(got, "content-length: 4\r\n"));
    const struct upstream *up = gw.snap->upstreams[0];
    assert_int_equal(atomic_load(&up->endpoints[0].slot->n_requests), 2);
    assert_int_equal(atomic_load(&up->endpoints[0].slot->n_retries), 1);
    assert_int_equal(atomic_load(&up->endpoints[0].slot->n_failures), 1);
    assert_int_equal(atomic_load(&up->slot->n_requests), 1);
    assert_int_equal(slot_in_flight(up->slot), 1);
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    GW_UNTIL(&gw, slot_in_flight(up->slot) == 0);
    assert_int_equal(slot_in_flight(up->endpoints[0].slot), 0);
    close(client);
    close(server);
    gw_fini(&gw);
}

static void test_worker__a_post_is_not_sent_twice(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, "POST / HTTP/1.1\r\nHost: a.test\r\n"
                    "Content-Length: 4\r\n\r\nbody");
    const int server = gw_accept(&gw, 0);
    gw_read(server, "body");
    reset(server);
    assert_non_null(strstr(gw_read(client, "\r\n\r\n"), "502 Bad Gateway"));
    close(client);
    gw_fini(&gw);
}

/* A retry is counted where it goes to, not where it comes from. */
static void test_worker__a_retry_goes_to_another_endpoint(void **state)
{
    struct gw gw;
    char text[4096];
    int refusing;
    (void)state;
    gw_init(&gw);
    const struct addr bad = gw_bind(&refusing, false);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"web\"; address = \"127.0.0.1:%u\"; } );"
             "upstreams = { u = { balance = { policy = \"round_robin\"; };"
             "endpoints = ( { address = \"127.0.0.1:%u\"; },"
             "{ address = \"127.0.0.1:%u\"; } ); }; };"
             "routes = ( { path_prefix = \"/\"; upstream = \"u\"; } );",
             addr_port(&gw.addr), addr_port(&gw.upstream_addr[0]),
             addr_port(&bad));
    gw_use(&gw, text);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    gw_exchange(client, server);
    const struct upstream *up = gw.snap->upstreams[0];
    const size_t i_bad = addr_eq(&up->endpoints[0].addr, &bad) ? 0 : 1;
    struct slot *lame = up->endpoints[i_bad].slot;
    struct slot *good = up->endpoints[1 - i_bad].slot;
    const uint64_t n_failed = atomic_load(&lame->n_failures);
    assert_true(n_failed >= 1);
    assert_int_equal(atomic_load(&good->n_failures), 0);
    assert_int_equal(atomic_load(&good->n_retries), n_failed);
    assert_int_equal(atomic_load(&lame->n_retries), 0);
    assert_int_equal(atomic_load(&good->n_requests), 2);
    assert_int_equal(atomic_load(&up->slot->n_requests), 2);
    close(client);
    close(server);
    close(refusing);
    gw_fini(&gw);
}

/* The other endpoint is there, but takes nothing: the same one is tried. */
static void
test_worker__a_retry_finds_the_only_endpoint_that_serves(void **state)
{
    struct gw gw;
    char text[1024];
    (void)state;
    gw_init(&gw);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"web\"; address = \"127.0.0.1:%u\"; } );"
             "upstreams = { u = { endpoints = ( { address = \"127.0.0.1:%u\"; "
             "}, { address = \"127.0.0.1:%u\"; weight = 0; } ); }; };"
             "routes = ( { path_prefix = \"/\"; upstream = \"u\"; } );",
             addr_port(&gw.addr), addr_port(&gw.upstream_addr[0]),
             addr_port(&gw.upstream_addr[1]));
    gw_use(&gw, text);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    reset(server);
    server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, gw_ok);
    assert_non_null(strstr(gw_read(client, "\r\n\r\n"), "200 OK"));
    close(client);
    close(server);
    gw_fini(&gw);
}

static void test_worker__a_request_that_waits_is_cancelled(void **state)
{
    struct gw gw;
    (void)state;
    gw_init(&gw);
    gw_use(&gw, gw_conf(&gw, "connections_max = 1;", "", ""));
    const int first = gw_connect(&gw);
    gw_send(first, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    const int second = gw_connect(&gw);
    gw_send(second, gw_get);
    GW_UNTIL(&gw, gw_waiting(&gw) == 1);
    reset(second);
    GW_UNTIL(&gw, gw_waiting(&gw) == 0);
    gw_send(server, gw_ok);
    gw_read(first, "\r\n\r\nok");
    gw_exchange(first, server);
    close(first);
    close(server);
    gw_fini(&gw);
}

/* ---- tunnels ------------------------------------------------------------ */

static const char upgrade[] =
    "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
static const char upgraded[] =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void tunnel_open(const struct gw *gw, int *client, int *server)
{
    *client = gw_connect(gw);
    gw_send(*client, upgrade);
    *server = gw_accept(gw, 0);
    gw_read(*server, "\r\n\r\n");
    gw_send(*server, upgraded);
    assert_non_null(strstr(gw_read(*client, "\r\n\r\n"), " 101 "));
}

static void test_worker__a_tunnel_ends_one_way_at_a_time(void **state)
{
    struct gw gw;
    int client;
    int server;
    bool is_reset;
    (void)state;
    gw_start(&gw);
    tunnel_open(&gw, &client, &server);
    gw_send(client, "ping");
    gw_read(server, "ping");
    gw_send(server, "pong");
    gw_read(client, "pong");
    shutdown(client, SHUT_WR);
    assert_string_equal(gw_read_end(server, &is_reset), "");
    assert_false(is_reset);
    gw_send(server, "last words");
    gw_read(client, "last words");
    assert_int_equal(gw_in_flight(&gw), 1);
    close(server);
    assert_string_equal(gw_read_end(client, &is_reset), "");
    assert_false(is_reset);
    GW_UNTIL(&gw, gw_in_flight(&gw) == 0);
    close(client);
    gw_fini(&gw);
}

static void test_worker__a_tunnel_does_not_stall(void **state)
{
    struct gw gw;
    int client;
    int server;
    (void)state;
    gw_start(&gw);
    tunnel_open(&gw, &client, &server);
    check_download(client, server);
    check_download(server, client); /* and upwards */
    close(client);
    close(server);
    gw_fini(&gw);
}

static void test_worker__a_tunnel_carries_the_cookie(void **state)
{
    struct gw gw;
    (void)state;
    gw_init(&gw);
    gw_use(&gw, gw_conf(&gw,
                        "balance = { policy = \"maglev\"; hash_on = "
                        "( \"cookie:k\" ); mint_cookie = { name = \"k\"; }; };",
                        "response_headers = { set = { x-a = \"b\"; }; };", ""));
    const int client = gw_connect(&gw);
    gw_send(client, upgrade);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, upgraded);
    const char *got = gw_read(client, "\r\n\r\n");
    assert_non_null(strstr(got, "set-cookie: k="));
    assert_non_null(strstr(got, "x-a: b\r\n"));
    close(client);
    close(server);
    gw_fini(&gw);
}

static void test_worker__a_tunnel_that_is_refused_is_an_answer(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, upgrade);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    assert_true(gw_has_ended(server)); /* it was for this request alone */
    gw_send(client, gw_get);
    const int next = gw_accept(&gw, 0);
    close(client);
    close(server);
    close(next);
    gw_fini(&gw);
}

/* ---- drain and stop ----------------------------------------------------- */

static void test_worker__draining_closes_idle_clients(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    worker_post_drain(gw.w);
    assert_true(gw_has_ended(client));
    close(client);
    GW_UNTIL(&gw, gw.n_drained == 1);
    assert_int_equal(gw_try_connect(&gw), -1);
    close(server);
    gw_fini(&gw);
}

static void test_worker__draining_finishes_what_runs(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    worker_post_drain(gw.w);
    GW_UNTIL(&gw, (gw_try_connect(&gw)) == -1);
    gw_send(server, gw_ok);
    assert_non_null(
        strstr(gw_read(client, "\r\n\r\nok"), "connection: close\r\n"));
    assert_true(gw_has_ended(client));
    close(client);
    GW_UNTIL(&gw, gw.n_drained == 1);
    close(server);
    gw_fini(&gw);
}

/* A request that needs a new connection to the upstream gets one. */
static void test_worker__draining_still_connects(void **state)
{
    struct gw gw;
    (void)state;
    gw_init(&gw);
    gw_use(&gw, gw_conf(&gw, "connections_max = 1;", "", ""));
    const int first = gw_connect(&gw);
    gw_send(first, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    const int second = gw_connect(&gw);
    gw_send(second, gw_get);
    GW_UNTIL(&gw, gw_waiting(&gw) == 1);
    worker_post_drain(gw.w);
    GW_UNTIL(&gw, gw_try_connect(&gw) == -1);
    gw_send(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                    "Connection: close\r\n\r\n");
    gw_read(first, "\r\n\r\n");
    close(first);
    const int next = gw_accept(&gw, 0);
    gw_read(next, "\r\n\r\n");
    gw_send(next, gw_ok);
    gw_read(second, "\r\n\r\nok");
    close(second);
    GW_UNTIL(&gw, gw.n_drained == 1);
    close(server);
    close(next);
    gw_fini(&gw);
}

/* Who came just before is served, too. */
static void test_worker__draining_answers_a_new_client(void **state)
{
    struct gw gw;
    (void)state;
    gw_init(&gw);
    gw_use(&gw, gw_conf(&gw, "", "", ""));
    const int first = gw_connect(&gw);
    gw_send(first, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_send(server, gw_ok);
    gw_read(first, "\r\n\r\nok");
    const int client = gw_connect(&gw);
    worker_post_drain(gw.w);
    assert_true(gw_has_ended(first)); /* the drain has begun */
    gw_send(client, gw_get);
    const int next = gw_accept(&gw, 0);
    gw_read(next, "\r\n\r\n");
    gw_send(next, gw_ok);
    gw_read(client, "\r\n\r\nok");
    close(first);
    close(client);
    GW_UNTIL(&gw, gw.n_drained == 1);
    close(server);
    close(next);
    gw_fini(&gw);
}

static void test_worker__the_limit_ends_the_drain(void **state)
{
    struct gw gw;
    int client;
    int server;
    (void)state;
    gw_init(&gw);
    gw_use(&gw, gw_conf(&gw, "", "", "timeouts = { drain_timeout_ms = 50; };"));
    tunnel_open(&gw, &client, &server);
    worker_post_drain(gw.w);
    assert_true(gw_has_ended(client));
    assert_true(gw_has_ended(server));
    GW_UNTIL(&gw, gw.n_drained == 1);
    close(client);
    close(server);
    gw_fini(&gw);
}

/* A client that owes its PROXY header does not hold the drain up for ever. */
static void test_worker__the_limit_ends_the_wait_for_a_header(void **state)
{
    struct gw gw;
    char text[2048];
    (void)state;
    gw_init(&gw);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"web\"; address = \"127.0.0.1:%u\";"
             "proxy_protocol = true; proxy_protocol_from = ( \"127.0.0.1/32\" "
             "); } ); timeouts = { drain_timeout_ms = 50; };"
             "routes = ( { path_prefix = \"/\"; answer = { status = 200; }; } "
             ");",
             addr_port(&gw.addr));
    gw_use(&gw, text);
    const int client = gw_connect(&gw);
    gw_send(client, "PROXY TC");
    worker_post_drain(gw.w);
    assert_true(gw_has_ended(client));
    GW_UNTIL(&gw, gw.n_drained == 1);
    close(client);
    gw_fini(&gw);
}

static void test_worker__stopping_ends_everything(void **state)
{
    struct gw gw;
    int tunnel;
    int tunnel_up;
    (void)state;
    gw_init(&gw);
    gw_use(&gw, gw_conf(&gw, "connections_max = 2;", "", ""));
    tunnel_open(&gw, &tunnel, &tunnel_up);
    const int first = gw_connect(&gw);
    gw_send(first, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    const int second = gw_connect(&gw); /* waits for a place */
    gw_send(second, gw_get);
    GW_UNTIL(&gw, gw_in_flight(&gw) == 2 && gw_waiting(&gw) == 1);
    gw_fini(&gw);
    close(tunnel);
    close(tunnel_up);
    close(first);
    close(second);
    close(server);
}

/* ---- reload ------------------------------------------------------------- */

static void test_worker__an_exchange_keeps_its_snapshot(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw_use(&gw, gw_conf(&gw, "retries_max = 2;", "", ""));
    gw_use(&gw, gw_conf(&gw, "retries_max = 3;", "", ""));
    GW_UNTIL(&gw, gw.n_left == 1); /* the middle one */
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    GW_UNTIL(&gw, gw.n_left == 2);
    gw_exchange(client, server); /* no connection was lost by it */
    close(client);
    close(server);
    gw_fini(&gw);
}

/* The endpoint is gone: its connection ends with the request on it. */
static void test_worker__an_endpoint_that_left_is_let_go(void **state)
{
    struct gw gw;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    gw.upstream_addr[0] = gw.upstream_addr[1];
    gw_use(&gw, gw_conf(&gw, "", "", ""));
    gw_send(server, gw_ok);
    gw_read(client, "\r\n\r\nok");
    assert_true(gw_has_ended(server));
    GW_UNTIL(&gw, gw.n_left == 1);
    gw_send(client, gw_get);
    const int next = gw_accept(&gw, 1);
    gw_read(next, "\r\n\r\n");
    gw_send(next, gw_ok);
    gw_read(client, "\r\n\r\nok");
    assert_int_equal(scoreboard_count(gw.world.scoreboard), 2);
    close(client);
    close(server);
    close(next);
    gw_fini(&gw);
}

/* An old snapshot still runs, so the descriptor is open; yet nobody hangs, and
 * the address can come back. */
static void test_worker__a_listener_goes_and_comes_back(void **state)
{
    struct gw gw;
    char text[1024];
    int spare;
    (void)state;
    gw_start(&gw);
    const int client = gw_connect(&gw);
    gw_send(client, gw_get);
    const int server = gw_accept(&gw, 0);
    gw_read(server, "\r\n\r\n");
    const struct addr other = gw_bind(&spare, false);
    close(spare);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"other\"; address = \"127.0.0.1:%u\"; } "
             ");",
             addr_port(&other));
    gw_use(&gw, text);
    GW_UNTIL(&gw, gw_try_connect(&gw) == -1);
    gw_use(&gw, gw_conf(&gw, "", "", ""));
    int next = -1;
    GW_UNTIL(&gw, (next = gw_try_connect(&gw)) >= 0);
    gw_send(next, gw_get);
    const int next_server = gw_accept(&gw, 0);
    gw_read(next_server, "\r\n\r\n");
    gw_send(next_server, gw_ok);
    gw_read(next, "\r\n\r\nok");
    gw_send(server, gw_ok); /* the first one is still good */
    gw_read(client, "\r\n\r\nok");
    close(client);
    close(server);
    close(next);
    close(next_server);
    gw_fini(&gw);
}

static void test_worker__a_listener_counts_its_own_clients(void **state)
{
    struct gw gw;
    char text[2048];
    int spare;
    (void)state;
    gw_init(&gw);
    const struct addr other = gw_bind(&spare, false);
    close(spare);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"web\"; address = \"127.0.0.1:%u\"; },"
             "{ name = \"few\"; address = \"127.0.0.1:%u\"; "
             "connections_max = 1; } );"
             "routes = ( { path_prefix = \"/\"; answer = { status = 200; "
             "body = \"ok\"; }; } );",
             addr_port(&gw.addr), addr_port(&other));
    gw_use(&gw, text);
    const int many[2] = {gw_connect(&gw), gw_connect(&gw)};
    for (int i = 0; i < 2; i++) {
        gw_send(many[i], gw_get);
        gw_read(many[i], "\r\n\r\nok");
    }
    gw.addr = other;
    const int one = gw_connect(&gw);
    gw_send(one, gw_get);
    gw_read(one, "\r\n\r\nok");
    const int two = gw_connect(&gw);
    assert_true(gw_has_ended(two));
    close(one);
    close(two);
    close(many[0]);
    close(many[1]);
    gw_fini(&gw);
}

#define TEST(name) cmocka_unit_test(test_worker__##name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_goes_through),
        TEST(answers_without_a_body_keep_the_connection),
        TEST(an_answer_that_ends_early_is_cut_off),
        TEST(more_than_announced_is_not_passed_on),
        TEST(an_answer_may_come_before_the_body),
        TEST(a_large_upload_arrives_whole),
        TEST(a_large_download_arrives_whole),
        TEST(a_body_waits_for_its_connection),
        TEST(a_get_brings_no_body),
        TEST(a_plain_listener_points_to_tls),
        TEST(an_idempotent_request_is_tried_again),
        TEST(a_post_is_not_sent_twice),
        TEST(a_retry_goes_to_another_endpoint),
        TEST(a_retry_finds_the_only_endpoint_that_serves),
        TEST(a_request_that_waits_is_cancelled),
        TEST(a_tunnel_ends_one_way_at_a_time),
        TEST(a_tunnel_does_not_stall),
        TEST(a_tunnel_carries_the_cookie),
        TEST(a_tunnel_that_is_refused_is_an_answer),
        TEST(draining_closes_idle_clients),
        TEST(draining_finishes_what_runs),
        TEST(draining_still_connects),
        TEST(draining_answers_a_new_client),
        TEST(the_limit_ends_the_drain),
        TEST(the_limit_ends_the_wait_for_a_header),
        TEST(stopping_ends_everything),
        TEST(an_exchange_keeps_its_snapshot),
        TEST(an_endpoint_that_left_is_let_go),
        TEST(a_listener_goes_and_comes_back),
        TEST(a_listener_counts_its_own_clients),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
