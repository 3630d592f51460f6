/*
 * client: see client.h. The set-up: a PROXY header is looked at with MSG_PEEK
 * before the conn is made, so that TLS starts exactly behind it; then the conn
 * shakes hands; then ALPN, or on a plain listener the first bytes, choose the
 * codec, and from there on the codec sits on the conn.
 */
#include "proxy/client.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "net/proxy_protocol.h"
#include "proxy/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection whose PROXY header has not come yet. */
struct client_proxy_wait {
    struct event event;
    struct timer timer;
    struct client *client;
    struct tls_server *tls; /* one reference is ours */
    int fd;
    struct addr peer;
    struct addr local;
    uint32_t timeout_ms;
};

static const char client_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { CLIENT_PREFACE_BYTES = sizeof(client_preface) - 1 };

/* How many clients of a listener there are, for its own limit. */
static uint32_t *client_count(struct worker *w, unsigned listener_id)
{
    if (listener_id >= w->n_listener_counts) {
        const unsigned n = listener_id + 8;
        w->listener_counts =
            mem_resize(w->listener_counts, n * sizeof(uint32_t));
        memset(w->listener_counts + w->n_listener_counts, 0,
               (n - w->n_listener_counts) * sizeof(uint32_t));
        w->n_listener_counts = n;
    }
    return &w->listener_counts[listener_id];
}

static void client_free(struct client *c)
{
    struct worker *w = c->worker;
    list_remove(&c->node);
    if (c->snap != NULL) {
        worker_unpin(w, c->snap);
    }
    handshake_gate_end(&w->handshakes, &c->handshake_node);
    mem_free(c->subject);
    mem_free(c->fingerprint);
    address_limit_leave(w->addresses, &c->place);
    (*client_count(w, c->listener_id))--;
    mem_free(c);
    w->n_clients--;
    metric_sub(w->loop->metrics, METRIC_CLIENT_CONNS, 1);
    worker_client_left(w);
}

static void client_on_stream(struct codec *k, struct stream *s)
{
    exchange_open(k->owner, s);
}

static void client_on_capacity(struct codec *k)
{
    (void)k; /* only clients of upstreams care */
}

static void client_on_codec_closed(struct codec *k, enum conn_end end)
{
    (void)end;
    client_free(k->owner);
}

static const struct codec_owner_ops client_codec_ops = {
    .on_stream = client_on_stream,
    .on_capacity = client_on_capacity,
    .on_closed = client_on_codec_closed,
};

/* The protocol is known: the codec takes the conn over. */
static void client_start_codec(struct client *c, bool is_h2)
{
    conn_set_timer(c->conn, 0, NULL);
    c->codec = is_h2 ? h2_new(c->conn, true, c->limits, &client_codec_ops, c)
                     : h1_new(c->conn, true, c->limits, &client_codec_ops, c);
    if (c->snap != NULL) {
        struct snapshot *snap = c->snap;
        c->snap = NULL;
        worker_unpin(c->worker, snap);
    }
    if (c->worker->is_draining) {
        codec_drain(c->codec);
    }
}

static void client_note_tls(struct client *c)
{
    struct metric_set *ms = c->worker->loop->metrics;
    char subject[512];
    char fingerprint[65];
    metric_add(ms, METRIC_TLS_HANDSHAKES_TOTAL, 1);
    if (tls_is_resumed(c->conn->io_state)) {
        metric_add(ms, METRIC_TLS_RESUMED_TOTAL, 1);
    }
    if (tls_peer_subject(c->conn->io_state, subject, sizeof(subject),
                         fingerprint)) {
        c->subject = mem_copy_text(subject, strlen(subject));
        c->fingerprint = mem_copy_text(fingerprint, strlen(fingerprint));
    }
}

static void client_on_ready(struct conn *conn)
{
    struct client *c = conn->owner;
    handshake_gate_end(&c->worker->handshakes, &c->handshake_node);
    if (conn_is_tls(conn)) {
        client_note_tls(c);
        client_start_codec(c, !c->is_http1_allowed ||
                                  str_eq(conn_alpn(conn), STR("h2")));
    } else if (!c->is_h2_allowed || !c->is_http1_allowed) {
        client_start_codec(c, c->is_h2_allowed);
    }
}

/* Plain listener that speaks both: the first bytes tell HTTP/2 with prior
 * knowledge. */
static size_t client_on_bytes(struct conn *conn, const uint8_t *p, size_t len)
{
    struct client *c = conn->owner;
    const size_t n = len < CLIENT_PREFACE_BYTES ? len : CLIENT_PREFACE_BYTES;
    const bool is_preface = memcmp(p, client_preface, n) == 0;
    if (is_preface && n < CLIENT_PREFACE_BYTES) {
        return 0;
    }
    client_start_codec(c, is_preface);
    return 0; /* the bytes are offered to the codec again */
}

static void client_on_eof(struct conn *conn)
{
    conn_close(conn, CONN_CLOSED_BY_PEER);
}

/* ":PORT" for a URL with https; "" when it is the usual one, or none. */
static void client_port_text(const struct conn *conn, char dst[static 8])
{
    const unsigned port = addr_port(&conn->local);
    dst[0] = '\0';
    if (port != 443 && port != 0) {
        snprintf(dst, 8, ":%u", port);
    }
}

/*
 * Plain HTTP on a TLS listener: told in plain HTTP, for an empty reply tells
 * nothing. The request is not read: it may hold secrets, and whoever sent it
 * has to come again anyway.
 */
static void client_on_plain_http(struct conn *conn)
{
    struct client *c = conn->owner;
    char peer[ADDR_TEXT_MAX];
    char port[8];
    char body[256];
    char head[256];
    client_port_text(conn, port);
    const int body_len = snprintf(
        body, sizeof(body),
        "400 Bad Request: This port speaks TLS, and plain HTTP came. Use "
        "https://<host>%s/ instead.\n",
        port);
    const int head_len = snprintf(
        head, sizeof(head),
        "HTTP/1.1 400 Bad Request\r\ndate: %.*s\r\ncontent-type: text/plain\r\n"
        "content-length: %d\r\nconnection: close\r\n\r\n",
        STR_ARG(worker_date(c->worker)), body_len);
    metric_add(c->worker->loop->metrics, METRIC_TLS_FAILED_TOTAL, 1);
    log_text(LOG_INFO, "client %s: plain HTTP on the TLS port",
             addr_print(&conn->peer, peer));
    conn_write(conn, head, (size_t)head_len);
    conn_write(conn, body, (size_t)body_len);
    conn_close_linger(conn);
}

static void client_on_room(struct conn *conn)
{
    (void)conn;
}

static void client_on_closed(struct conn *conn, enum conn_end end)
{
    struct client *c = conn->owner;
    if (end == CONN_TLS_FAILED) {
        char peer[ADDR_TEXT_MAX];
        char why[256];
        metric_add(c->worker->loop->metrics, METRIC_TLS_FAILED_TOTAL, 1);
        log_text(LOG_INFO, "client %s: %s", addr_print(&conn->peer, peer),
                 conn_end_text(conn, why, sizeof(why)));
    }
    client_free(c);
}

static const struct conn_ops client_conn_ops = {
    .on_ready = client_on_ready,
    .on_bytes = client_on_bytes,
    .on_eof = client_on_eof,
    .on_room = client_on_room,
    .on_plain_http = client_on_plain_http,
    .on_closed = client_on_closed,
};

static void client_on_setup_timer(struct conn *conn)
{
    conn_close(conn, CONN_TIMED_OUT);
}

/* One line a second: an attack shall not fill the log too. */
static void client_log_address(struct worker *w,
                               const struct addr *peer,
                               enum address_verdict verdict)
{
    char text[ADDR_TEXT_MAX];
    const struct address_bounds *b = &w->snap->address_bounds;
    const bool is_many = verdict == ADDRESS_TOO_MANY;
    w->n_address_refused++;
    if (w->address_log_ms != 0 && w->loop->now_ms < w->address_log_ms + 1000) {
        return;
    }
    log_text(LOG_WARN,
             "client %s: refused, its address has %s: %u %s "
             "(limits.connections_per_address_%s); %u refused since the last "
             "such line",
             addr_print(peer, text),
             is_many ? "too many connections open" : "opened too many too fast",
             is_many ? b->n_open_max : b->rate_per_s,
             is_many ? "may be open" : "a second are taken",
             is_many ? "max" : "rate", w->n_address_refused);
    w->address_log_ms = w->loop->now_ms;
    w->n_address_refused = 0;
}

/* A proxy that tells us the client's address in a field, and not in a PROXY
 * header, brings many clients by one address. */
static bool client_may_enter(struct worker *w,
                             const struct addr *peer,
                             bool is_trusted,
                             struct address_place *place)
{
    *place = (struct address_place){.is_counted = false};
    if (is_trusted) {
        return true;
    }
    const enum address_verdict verdict = address_limit_enter(
        w->addresses, &w->snap->address_bounds, peer, w->loop->now_us, place);
    if (verdict == ADDRESS_OK) {
        return true;
    }
    metric_add(w->loop->metrics, METRIC_CLIENT_REFUSED, 1);
    metric_add(w->loop->metrics, METRIC_CLIENT_REFUSED_ADDRESS, 1);
    client_log_address(w, peer, verdict);
    return false;
}

/* One line a second, as for addresses. */
static void client_log_evicted(struct worker *w, const struct client *oldest)
{
    char text[ADDR_TEXT_MAX];
    w->n_evicted++;
    if (w->evicted_log_ms != 0 && w->loop->now_ms < w->evicted_log_ms + 1000) {
        return;
    }
    log_text(LOG_WARN,
             "client %s: its TLS handshake was ended, the oldest of %u that "
             "are in progress (limits.tls_handshakes_max); %u ended since the "
             "last such line",
             addr_print(&oldest->conn->peer, text), w->handshakes.n - 1,
             w->n_evicted);
    w->evicted_log_ms = w->loop->now_ms;
    w->n_evicted = 0;
}

/* Whoever is slowest to go on makes room: of those who attack by opening and
 * waiting that is one of theirs. */
static void client_begin_handshake(struct client *c)
{
    struct worker *w = c->worker;
    struct list *node =
        handshake_gate_begin(&w->handshakes, &w->snap->handshake_bounds,
                             &c->handshake_node, w->loop->now_us);
    if (node == NULL) {
        return;
    }
    struct client *oldest = CONTAINER_OF(node, struct client, handshake_node);
    client_log_evicted(w, oldest);
    metric_add(w->loop->metrics, METRIC_TLS_EVICTED_TOTAL, 1);
    handshake_gate_end(&w->handshakes, node);
    conn_close(oldest->conn, CONN_TIMED_OUT);
}

static void client_start_conn(struct client *c,
                              int fd,
                              const struct addr *peer,
                              const struct addr *local,
                              struct tls_server *tls,
                              uint32_t timeout_ms)
{
    c->conn =
        conn_accept(c->worker->loop, fd, peer, local, tls, &client_conn_ops, c);
    conn_set_timer(c->conn, timeout_ms, client_on_setup_timer);
    if (tls != NULL) {
        client_begin_handshake(c);
    }
}

static void client_wait_free(struct client_proxy_wait *wait)
{
    struct client *c = wait->client;
    c->wait = NULL;
    event_del(&wait->event);
    loop_disarm(c->worker->loop, &wait->timer);
    tls_server_unref(wait->tls);
    mem_free(wait);
}

static void client_wait_fail(struct client_proxy_wait *wait, const char *why)
{
    struct client *c = wait->client;
    char peer[ADDR_TEXT_MAX];
    log_text(LOG_INFO, "client %s: PROXY header: %s",
             addr_print(&wait->peer, peer), why);
    close(wait->fd);
    client_wait_free(wait);
    client_free(c);
}

static void client_wait_on_timer(struct timer *t)
{
    client_wait_fail(CONTAINER_OF(t, struct client_proxy_wait, timer),
                     "it did not come in time");
}

static void client_wait_done(struct client_proxy_wait *wait,
                             const struct proxy_protocol *pp)
{
    struct client *c = wait->client;
    uint8_t sink[PROXY_PROTOCOL_BYTES_MAX];
    if (recv(wait->fd, sink, pp->header_len, 0) != (ssize_t)pp->header_len) {
        client_wait_fail(wait, "the connection broke");
        return;
    }
    const struct addr *peer = pp->source.len != 0 ? &pp->source : &wait->peer;
    const struct addr *local =
        pp->destination.len != 0 ? &pp->destination : &wait->local;
    if (!client_may_enter(c->worker, peer, false, &c->place)) {
        close(wait->fd);
        client_wait_free(wait);
        client_free(c);
        return;
    }
    client_start_conn(c, wait->fd, peer, local, wait->tls, wait->timeout_ms);
    client_wait_free(wait);
}

static void client_wait_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct client_proxy_wait *wait = arg;
    uint8_t bytes[PROXY_PROTOCOL_BYTES_MAX];
    struct proxy_protocol pp;
    (void)what;
    const ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        client_wait_fail(wait, "the connection closed before it");
        return;
    }
    switch (proxy_protocol_parse(bytes, (size_t)n, &pp)) {
    case PROXY_PROTOCOL_MORE:
        return;
    case PROXY_PROTOCOL_OK:
        client_wait_done(wait, &pp);
        return;
    case PROXY_PROTOCOL_BAD:
        client_wait_fail(wait, "malformed");
        return;
    }
}

static void client_wait_open(struct client *c,
                             const struct listener *l,
                             int fd,
                             const struct addr *peer,
                             const struct addr *local)
{
    struct client_proxy_wait *wait = mem_new(sizeof(*wait));
    struct loop *loop = c->worker->loop;
    c->wait = wait;
    wait->client = c;
    wait->fd = fd;
    wait->peer = *peer;
    wait->local = *local;
    wait->timeout_ms = l->handshake_timeout_ms;
    wait->tls = l->tls;
    if (l->tls != NULL) {
        tls_server_ref(l->tls);
    }
    timer_init(&wait->timer, client_wait_on_timer);
    loop_arm(loop, &wait->timer, l->handshake_timeout_ms);
    /* Edge-triggered: a part of a header must not spin. */
    event_assign(&wait->event, loop->base, fd, EV_READ | EV_PERSIST | EV_ET,
                 client_wait_on_event, wait);
    event_add(&wait->event, NULL);
}

static bool client_is_welcome(struct worker *w,
                              const struct listener *l,
                              const struct addr *peer)
{
    if (w->is_draining || w->n_clients >= w->snap->n_conns_max ||
        (l->n_conns_max != 0 && *client_count(w, l->id) >= l->n_conns_max)) {
        return false;
    }
    return !l->has_proxy_protocol ||
           addr_net_has(l->proxy_nets, l->n_proxy_nets, peer);
}

void client_accept(struct worker *w,
                   const struct listener *l,
                   int fd,
                   const struct addr *peer,
                   const struct addr *local)
{
    metric_add(w->loop->metrics, METRIC_CLIENT_CONNS_TOTAL, 1);
    if (!client_is_welcome(w, l, peer)) {
        metric_add(w->loop->metrics, METRIC_CLIENT_REFUSED, 1);
        close(fd);
        return;
    }
    const bool is_trusted =
        addr_net_has(l->trusted_nets, l->n_trusted_nets, peer);
    struct address_place place;
    if (!client_may_enter(w, peer, is_trusted || l->has_proxy_protocol,
                          &place)) {
        close(fd);
        return;
    }
    struct client *c = mem_new(sizeof(*c));
    c->worker = w;
    c->place = place;
    c->listener_id = l->id;
    c->limits = l->limits;
    c->is_trusted = is_trusted;
    c->has_forwarded = l->has_forwarded;
    c->is_h2_allowed = l->is_h2_allowed;
    c->is_http1_allowed = l->is_http1_allowed;
    c->snap = w->snap;
    worker_pin(w, c->snap);
    list_push_back(&w->clients, &c->node);
    w->n_clients++;
    (*client_count(w, l->id))++;
    metric_add(w->loop->metrics, METRIC_CLIENT_CONNS, 1);
    if (l->has_proxy_protocol) {
        client_wait_open(c, l, fd, peer, local);
    } else {
        client_start_conn(c, fd, peer, local, l->tls, l->handshake_timeout_ms);
    }
}

void client_drain(struct client *c)
{
    if (c->codec != NULL) {
        codec_drain(c->codec);
    }
}

bool client_close_idle(struct client *c)
{
    const bool is_head_begun = c->conn != NULL && c->conn->kept_len > 0;
    if (c->codec == NULL || c->codec->n_streams > 0 || is_head_begun ||
        c->codec->is_draining || conn_is_closed(c->conn) ||
        c->conn->is_lingering) {
        return false;
    }
    if (c->codec->kind == CODEC_H2) {
        codec_drain(c->codec);
        return false;
    }
    conn_close(c->conn, CONN_CLOSED_BY_US);
    return true;
}

void client_close(struct client *c)
{
    if (c->wait != NULL) {
        client_wait_fail(c->wait, "the gateway is stopping");
    } else if (!conn_is_closed(c->conn)) {
        conn_close(c->conn, CONN_CLOSED_BY_US);
    }
}
