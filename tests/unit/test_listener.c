/*
 * Unit tests of net/listener: opening, what is said when that fails, sockets
 * that were inherited, and accepting.
 */
#define _GNU_SOURCE
#include "net/listener.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#include <cmocka.h>

static struct addr any_port(void)
{
    struct addr a;
    assert_true(addr_parse(STR("127.0.0.1:1"), &a));
    a.in.sin_port = 0;
    return a;
}

/* A socket that listens on a free port; its address comes back in `a`. */
static int listen_plain(struct addr *a)
{
    *a = any_port();
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &a->sa, a->len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_true(listener_get_name(fd, a));
    return fd;
}

static struct addr free_port(void)
{
    struct addr a;
    close(listen_plain(&a));
    return a;
}

static int connect_to(const struct addr *a)
{
    const int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &a->sa, a->len), 0);
    return fd;
}

/* ---- groups ------------------------------------------------------------- */

static void test_listener__each_worker_has_its_own_socket(void **state)
{
    struct error err = {0};
    const struct addr a = free_port();
    struct listener_group *g = listener_group_open(&a, 0666, 3, 16, &err);
    (void)state;
    assert_string_equal(error_text(&err), "");
    assert_non_null(g);
    assert_false(g->is_inherited);
    for (size_t i = 0; i < 3; i++) {
        struct addr bound;
        assert_true(listener_get_name(g->fds[i], &bound));
        assert_true(addr_eq(&bound, &a));
        assert_int_not_equal(fcntl(g->fds[i], F_GETFL) & O_NONBLOCK, 0);
        assert_int_not_equal(fcntl(g->fds[i], F_GETFD) & FD_CLOEXEC, 0);
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(g->fds[i], g->fds[k]);
        }
    }
    listener_group_close(g);
    assert_true(list_is_empty(&listener_groups));
}

static void test_listener__a_port_in_use_is_named(void **state)
{
    struct error err = {0};
    struct addr a;
    char text[ADDR_TEXT_MAX];
    const int other = listen_plain(&a);
    (void)state;
    assert_null(listener_group_open(&a, 0666, 2, 16, &err));
    assert_non_null(strstr(error_text(&err), addr_print(&a, text)));
    assert_non_null(strstr(error_text(&err), "ss -ltnp"));
    assert_true(list_is_empty(&listener_groups));
    error_fini(&err);
    close(other);
}

/* SO_REUSEPORT alone would let a second gateway take half of the clients. */
static void test_listener__a_second_gateway_is_noticed(void **state)
{
    struct error err = {0};
    struct addr a;
    int on = 1;
    const int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    a = any_port();
    setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    assert_int_equal(bind(other, &a.sa, a.len), 0);
    assert_int_equal(listen(other, 8), 0);
    assert_true(listener_get_name(other, &a));
    assert_null(listener_group_open(&a, 0666, 1, 16, &err));
    assert_int_equal(err.n_problems, 1);
    error_fini(&err);
    close(other);
}

static void test_listener__a_reload_may_widen_an_address(void **state)
{
    struct error err = {0};
    const struct addr narrow = free_port();
    struct addr wide = narrow;
    (void)state;
    wide.in.sin_addr.s_addr = htonl(INADDR_ANY);
    struct listener_group *g = listener_group_open(&narrow, 0666, 1, 16, &err);
    struct listener_group *h = listener_group_open(&wide, 0666, 1, 16, &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(h);
    listener_group_close(g);
    listener_group_close(h);
}

static void test_listener__an_address_of_nobody_is_named(void **state)
{
    struct error err = {0};
    struct addr a;
    (void)state;
    assert_true(addr_parse(STR("192.0.2.1:8080"), &a));
    assert_null(listener_group_open(&a, 0666, 1, 16, &err));
    assert_non_null(strstr(error_text(&err), "no interface"));
    error_fini(&err);
}

static void test_listener__unix_sockets_replace_dead_ones_only(void **state)
{
    struct error err = {0};
    char dir[] = "/tmp/test_listener_XXXXXX";
    char text[64];
    struct addr a;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(text, sizeof(text), "unix:%s/socket", dir);
    assert_true(addr_parse(str_from(text), &a));
    const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, &a.sa, a.len), 0);
    close(dead);
    struct listener_group *g = listener_group_open(&a, 0666, 2, 16, &err);
    assert_string_equal(error_text(&err), "");
    assert_null(listener_group_open(&a, 0666, 1, 16, &err));
    assert_non_null(strstr(error_text(&err), "another process"));
    error_fini(&err);
    close(connect_to(&a));
    listener_group_close(g);
    assert_int_equal(access(a.un.sun_path, F_OK), -1);
    FILE *file = fopen(a.un.sun_path, "w");
    fclose(file);
    assert_null(listener_group_open(&a, 0666, 1, 16, &err));
    assert_int_equal(access(a.un.sun_path, F_OK), 0);
    error_fini(&err);
    unlink(a.un.sun_path);
    rmdir(dir);
}

static void test_listener__the_mode_is_octal(void **state)
{
    static const char *const bad[] = {"", "66", "0688", "1777", "00660", "rw-"};
    mode_t mode = 1;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(listener_mode_parse(str_from(bad[i]), &mode));
    }
    assert_int_equal(mode, 1);
    assert_true(listener_mode_parse(STR("0660"), &mode));
    assert_int_equal(mode, 0660);
    assert_true(listener_mode_parse(STR("007"), &mode));
    assert_int_equal(mode, 07);
}

static void test_listener__a_file_of_another_is_left_alone(void **state)
{
    struct error err = {0};
    char dir[] = "/tmp/test_listener_XXXXXX";
    char text[64];
    struct addr a;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(text, sizeof(text), "unix:%s/socket", dir);
    assert_true(addr_parse(str_from(text), &a));
    struct listener_group *g = listener_group_open(&a, 0640, 1, 16, &err);
    assert_int_equal(stat(a.un.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_true(listener_group_set_mode(g, 0604, &err));
    assert_int_equal(stat(a.un.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0604);
    snprintf(text, sizeof(text), "%s/kept", dir);
    assert_int_equal(rename(a.un.sun_path, text), 0);
    fclose(fopen(a.un.sun_path, "w"));
    assert_int_equal(chmod(a.un.sun_path, 0600), 0);
    assert_false(listener_group_set_mode(g, 0666, &err));
    assert_int_equal(stat(a.un.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    listener_group_close(g);
    assert_int_equal(unlink(a.un.sun_path), 0);
    unlink(text);
    rmdir(dir);
    error_fini(&err);
}

static void set_listen_env(long pid, const char *n_fds)
{
    char text[32];
    snprintf(text, sizeof(text), "%ld", pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", n_fds, 1);
}

static void test_listener__inherited_sockets_are_found_again(void **state)
{
    struct error err = {0};
    struct addr a;
    (void)state;
    assert_int_equal(fcntl(LISTENER_FIRST_FD, F_GETFD), -1);
    const int plain = listen_plain(&a);
    if (plain != LISTENER_FIRST_FD) {
        assert_int_equal(dup2(plain, LISTENER_FIRST_FD), LISTENER_FIRST_FD);
        close(plain);
    }
    set_listen_env(getpid() + 1, "1");
    assert_int_equal(listener_inherit(), 0);
    set_listen_env(getpid(), "x");
    assert_int_equal(listener_inherit(), 0);
    set_listen_env(getpid(), "2"); /* one of them does not exist */
    assert_int_equal(listener_inherit(), 1);
    assert_null(getenv("LISTEN_FDS"));
    const int client = connect_to(&a); /* before the gateway is there */
    struct listener_group *g = listener_group_open(&a, 0666, 2, 16, &err);
    assert_string_equal(error_text(&err), "");
    assert_true(g->is_inherited);
    assert_int_equal(g->fds[0], LISTENER_FIRST_FD);
    const int fd = accept4(g->fds[1], NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    close(client);
    listener_group_close(g);
}

/* ---- acceptors ---------------------------------------------------------- */

struct clients {
    struct acceptor a;
    struct loop *loop;
    struct listener_group *g;
    int n;
    struct addr peer;
    struct addr local;
};

static void clients_on_accept(struct acceptor *a,
                              int fd,
                              const struct addr *peer,
                              const struct addr *local)
{
    struct clients *c = a->owner;
    c->n++;
    c->peer = *peer;
    c->local = *local;
    assert_int_not_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    assert_int_not_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    int on = 0;
    socklen_t size = sizeof(on);
    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size);
    assert_int_equal(on, 1);
    close(fd);
}

static void clients_open(struct clients *c, const struct addr *addr)
{
    struct error err = {0};
    memset(c, 0, sizeof(*c));
    c->loop = loop_new("test", 0);
    c->g = listener_group_open(addr, 0666, 1, 200, &err);
    assert_non_null(c->g);
    acceptor_open(&c->a, c->loop, c->g->fds[0], clients_on_accept, c);
}

static void clients_close(struct clients *c)
{
    acceptor_close(&c->a);
    listener_group_close(c->g);
    loop_free(c->loop);
}

static void test_acceptor__accepts_in_batches(void **state)
{
    enum { N = LISTENER_ACCEPT_BATCH + 6 };
    struct clients c;
    int fds[N];
    const struct addr a = free_port();
    (void)state;
    clients_open(&c, &a);
    for (int i = 0; i < N; i++) {
        fds[i] = connect_to(&a);
    }
    loop_run_once(c.loop, 0);
    assert_int_equal(c.n, LISTENER_ACCEPT_BATCH);
    loop_run_once(c.loop, 0);
    assert_int_equal(c.n, N);
    assert_true(addr_eq(&c.local, &a));
    struct addr last;
    assert_true(listener_get_name(fds[N - 1], &last));
    assert_true(addr_eq(&c.peer, &last));
    for (int i = 0; i < N; i++) {
        close(fds[i]);
    }
    clients_close(&c);
}

static void test_acceptor__a_wildcard_tells_the_real_address(void **state)
{
    struct clients c;
    const struct addr a = free_port();
    struct addr wide = a;
    (void)state;
    wide.in.sin_addr.s_addr = htonl(INADDR_ANY);
    clients_open(&c, &wide);
    const int fd = connect_to(&a);
    loop_run_once(c.loop, 0);
    assert_int_equal(c.n, 1);
    assert_true(addr_eq(&c.local, &a));
    close(fd);
    clients_close(&c);
}

static void test_acceptor__closing_serves_those_who_wait(void **state)
{
    struct clients c;
    const struct addr a = free_port();
    (void)state;
    clients_open(&c, &a);
    const int first = connect_to(&a);
    const int second = connect_to(&a);
    acceptor_close(&c.a);
    assert_int_equal(c.n, 2);
    acceptor_close(&c.a);
    assert_int_equal(c.n, 2);
    close(first);
    close(second);
    clients_close(&c);
}

/* The descriptor may stay open for long (a snapshot that is still used): who
 * connects meanwhile must be told, not left hanging. */
static void test_acceptor__a_closed_one_refuses(void **state)
{
    struct clients c;
    const struct addr a = free_port();
    (void)state;
    clients_open(&c, &a);
    acceptor_close(&c.a);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &a.sa, a.len), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    clients_close(&c);
}

/* A reload took the address away, and another one brought it back. */
static void test_acceptor__opens_again_on_the_same_socket(void **state)
{
    enum { N = 40 };
    struct clients c;
    int fds[N];
    const struct addr a = free_port();
    (void)state;
    clients_open(&c, &a);
    acceptor_close(&c.a);
    acceptor_open(&c.a, c.loop, c.g->fds[0], clients_on_accept, &c);
    for (int i = 0; i < N; i++) {
        fds[i] = connect_to(&a); /* would hang with a backlog of 0 */
    }
    loop_run_once(c.loop, 0);
    assert_int_equal(c.n, N);
    for (int i = 0; i < N; i++) {
        close(fds[i]);
    }
    clients_close(&c);
}

static void test_acceptor__a_shared_socket_goes_on_listening(void **state)
{
    struct clients c;
    const struct addr a = free_port();
    (void)state;
    clients_open(&c, &a);
    c.a.is_shared = true;
    acceptor_close(&c.a);
    close(connect_to(&a));
    clients_close(&c);
}

static void test_acceptor__waits_when_descriptors_are_out(void **state)
{
    struct clients c;
    struct rlimit limit;
    const struct addr a = free_port();
    (void)state;
    clients_open(&c, &a);
    const int fd = connect_to(&a);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit few = {.rlim_cur = (rlim_t)fd + 1,
                               .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    loop_run_once(c.loop, 0);
    assert_int_equal(c.n, 0);
    assert_true(timer_is_armed(&c.a.pause));
    assert_false(event_pending(&c.a.event, EV_READ, NULL));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    acceptor_on_pause_end(&c.a.pause); /* as the timer will */
    loop_run_once(c.loop, 0);
    assert_int_equal(c.n, 1);
    close(fd);
    clients_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listener__the_mode_is_octal),
        cmocka_unit_test(test_listener__a_file_of_another_is_left_alone),
        cmocka_unit_test(test_listener__inherited_sockets_are_found_again),
        cmocka_unit_test(test_listener__each_worker_has_its_own_socket),
        cmocka_unit_test(test_listener__a_port_in_use_is_named),
        cmocka_unit_test(test_listener__a_second_gateway_is_noticed),
        cmocka_unit_test(test_listener__a_reload_may_widen_an_address),
        cmocka_unit_test(test_listener__an_address_of_nobody_is_named),
        cmocka_unit_test(test_listener__unix_sockets_replace_dead_ones_only),
        cmocka_unit_test(test_acceptor__accepts_in_batches),
        cmocka_unit_test(test_acceptor__a_wildcard_tells_the_real_address),
        cmocka_unit_test(test_acceptor__closing_serves_those_who_wait),
        cmocka_unit_test(test_acceptor__a_closed_one_refuses),
        cmocka_unit_test(test_acceptor__opens_again_on_the_same_socket),
        cmocka_unit_test(test_acceptor__a_shared_socket_goes_on_listening),
        cmocka_unit_test(test_acceptor__waits_when_descriptors_are_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
