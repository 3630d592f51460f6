/*
 * Unit tests of control/admin: the pages over a real socket, what is refused,
 * and that closing leaves nothing.
 */
#include "control/admin.c"

#include "base/metric.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

enum { TURNS_MAX = 2000, TURN_MS = 5 };

struct fx {
    struct loop *loop;
    struct admin *admin;
    struct addr addr;
    bool is_ready;
    size_t n_metrics; /* bytes of that page */
};

static void fx_metrics(void *owner, struct buf *out)
{
    const struct fx *fx = owner;
    for (size_t i = 0; i < fx->n_metrics; i++) {
        buf_append(out, "m", 1);
    }
}

static void fx_config(void *owner, struct buf *out)
{
    (void)owner;
    buf_append_str(out, STR("workers = 1;\n"));
}

static bool fx_is_ready(void *owner, struct str *why)
{
    const struct fx *fx = owner;
    if (!fx->is_ready) {
        *why = STR("draining");
    }
    return fx->is_ready;
}

static const struct admin_ops fx_ops = {
    .metrics = fx_metrics,
    .config = fx_config,
    .is_ready = fx_is_ready,
};

static struct addr free_port(void)
{
    struct addr a;
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &a.sa, a.len), 0);
    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    close(fd);
    return a;
}

static void fx_init(struct fx *fx)
{
    struct error err = {0};
    char text[ADDR_TEXT_MAX];
    memset(fx, 0, sizeof(*fx));
    fx->loop = loop_new("test", 0);
    fx->loop->metrics = metric_set_new();
    fx->is_ready = true;
    fx->n_metrics = 3;
    fx->addr = free_port();
    fx->admin = admin_new(fx->loop, str_from(addr_print(&fx->addr, text)),
                          &fx_ops, fx, &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(fx->admin);
}

static void fx_fini(struct fx *fx)
{
    admin_free(fx->admin);
    loop_free(fx->loop);
}

static int fx_connect(const struct fx *fx)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &fx->addr.sa, fx->addr.len), 0);
    return fd;
}

/* Turns until the peer has ended, or `until` is there; returns the text. */
static const char *fx_read(struct fx *fx, int fd, const char *until)
{
    static char text[512 * 1024];
    size_t len = 0;
    text[0] = '\0';
    for (int i = 0; i < TURNS_MAX; i++) {
        const ssize_t n =
            recv(fd, text + len, sizeof(text) - 1 - len, MSG_DONTWAIT);
        if (n == 0) {
            return text;
        }
        if (n > 0) {
            len += (size_t)n;
            text[len] = '\0';
            if (until != NULL && strstr(text, until) != NULL) {
                return text;
            }
            continue;
        }
        assert_int_equal(errno, EAGAIN);
        loop_run_once(fx->loop, TURN_MS);
    }
    fail_msg("it did not come, but: %s", text);
    return NULL;
}

/* The whole answer to a request that closes the connection. */
static const char *fx_get(struct fx *fx, const char *method, const char *path)
{
    char request[512];
    const int fd = fx_connect(fx);
    const int len = snprintf(request, sizeof(request),
                             "%s %s HTTP/1.1\r\nHost: a\r\n"
                             "Connection: close\r\n\r\n",
                             method, path);
    assert_int_equal(send(fd, request, (size_t)len, 0), len);
    const char *text = fx_read(fx, fd, NULL);
    close(fd);
    return text;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
    const size_t len = strlen(text);
    const size_t with_len = strlen(with);
    return len >= with_len && strcmp(text + len - with_len, with) == 0;
}

static void test_admin__pages(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    const char *text = fx_get(&fx, "GET", "/metrics");
    assert_true(begins(text, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(
        strstr(text, "content-type: text/plain; version=0.0.4\r\n"));
    assert_non_null(strstr(text, "cache-control: no-store\r\n"));
    assert_true(ends(text, "\r\n\r\nmmm"));
    assert_true(ends(fx_get(&fx, "GET", "/config"), "\r\n\r\nworkers = 1;\n"));
    assert_true(ends(fx_get(&fx, "GET", "/healthz"), "\r\n\r\nok\n"));
    assert_true(ends(fx_get(&fx, "GET", "/"),
                     "\r\n\r\n/metrics\n/healthz\n/readyz\n/config\n"));
    fx_fini(&fx);
}

static void test_admin__readiness_follows_the_gateway(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    const char *text = fx_get(&fx, "GET", "/readyz");
    assert_true(begins(text, "HTTP/1.1 200 OK\r\n"));
    assert_true(ends(text, "\r\n\r\nok\n"));
    fx.is_ready = false;
    text = fx_get(&fx, "GET", "/readyz");
    assert_true(begins(text, "HTTP/1.1 503 "));
    assert_true(ends(text, "\r\n\r\ndraining\n"));
    assert_true(begins(fx_get(&fx, "GET", "/healthz"), "HTTP/1.1 200 "));
    fx_fini(&fx);
}

static void test_admin__only_known_pages_and_only_reading(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    const char *text = fx_get(&fx, "GET", "/metricz");
    assert_true(begins(text, "HTTP/1.1 404 "));
    assert_non_null(strstr(text, "\n/metrics\n"));
    text = fx_get(&fx, "POST", "/metrics");
    assert_true(begins(text, "HTTP/1.1 405 "));
    text = fx_get(&fx, "HEAD", "/metrics");
    assert_true(begins(text, "HTTP/1.1 200 "));
    assert_non_null(strstr(text, "content-length: 3\r\n"));
    assert_true(ends(text, "\r\n\r\n"));
    text = fx_get(&fx, "GET", "no-slash");
    assert_true(begins(text, "HTTP/1.1 400 "));
    fx_fini(&fx);
}

static void test_admin__a_connection_serves_many(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    const int fd = fx_connect(&fx);
    for (int i = 0; i < 3; i++) {
        static const char request[] =
            "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_int_equal(send(fd, request, sizeof(request) - 1, 0),
                         sizeof(request) - 1);
        assert_non_null(fx_read(&fx, fd, "\r\n\r\nok\n"));
    }
    close(fd);
    fx_fini(&fx);
}

static void test_admin__a_large_page_arrives_whole(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    fx.n_metrics = 300 * 1024;
    const char *text = fx_get(&fx, "GET", "/metrics");
    const char *body = strstr(text, "\r\n\r\n") + 4;
    assert_int_equal(strlen(body), 300 * 1024);
    fx_fini(&fx);
}

static void test_admin__connections_have_a_limit(void **state)
{
    struct fx fx;
    int fds[ADMIN_CONNS_MAX + 1];
    (void)state;
    fx_init(&fx);
    for (int i = 0; i <= ADMIN_CONNS_MAX; i++) {
        fds[i] = fx_connect(&fx);
        loop_run_once(fx.loop, TURN_MS);
    }
    assert_string_equal(fx_read(&fx, fds[ADMIN_CONNS_MAX], NULL), "");
    assert_int_equal(fx.admin->n_conns, ADMIN_CONNS_MAX);
    close(fds[0]);
    close(fds[ADMIN_CONNS_MAX]);
    for (int i = 0; i < TURNS_MAX && fx.admin->n_conns == ADMIN_CONNS_MAX;
         i++) {
        loop_run_once(fx.loop, TURN_MS);
    }
    assert_true(begins(fx_get(&fx, "GET", "/healthz"), "HTTP/1.1 200 "));
    for (int i = 1; i < ADMIN_CONNS_MAX; i++) {
        close(fds[i]);
    }
    fx_fini(&fx);
}

/* A request that is half here, and one that waits in the kernel. */
static void test_admin__closing_ends_every_connection(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    const int fd = fx_connect(&fx);
    assert_int_equal(send(fd, "GET /he", 7, 0), 7);
    loop_run_once(fx.loop, TURN_MS);
    loop_run_once(fx.loop, 0);
    assert_int_equal(fx.admin->n_conns, 1);
    const int waiting = fx_connect(&fx);
    fx_fini(&fx); /* LeakSanitizer watches */
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    assert_true(recv(waiting, &byte, 1, 0) <= 0);
    close(fd);
    close(waiting);
    admin_free(NULL);
}

static void test_admin__a_port_in_use_is_told(void **state)
{
    struct fx fx;
    struct error err = {0};
    char text[ADDR_TEXT_MAX];
    struct addr a;
    (void)state;
    fx_init(&fx);
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &a.sa, a.len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    assert_null(
        admin_new(fx.loop, str_from(addr_print(&a, text)), &fx_ops, &fx, &err));
    assert_true(begins(error_text(&err), text));
    error_fini(&err);
    assert_null(admin_new(fx.loop, STR("no-port"), &fx_ops, &fx, &err));
    assert_true(begins(error_text(&err), "no-port: "));
    assert_int_equal(err.n_problems, 1);
    error_fini(&err);
    close(fd);
    fx_fini(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admin__pages),
        cmocka_unit_test(test_admin__readiness_follows_the_gateway),
        cmocka_unit_test(test_admin__only_known_pages_and_only_reading),
        cmocka_unit_test(test_admin__a_connection_serves_many),
        cmocka_unit_test(test_admin__a_large_page_arrives_whole),
        cmocka_unit_test(test_admin__connections_have_a_limit),
        cmocka_unit_test(test_admin__closing_ends_every_connection),
        cmocka_unit_test(test_admin__a_port_in_use_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
