/*
 * admin: see admin.h. A request is answered as soon as its head is there; its
 * body, if any, is dropped by the codec. At most ADMIN_CONNS_MAX connections.
 */
#include "control/admin.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/codec.h"
#include "net/listener.h"
#include "net/resolve.h"

#include <stdio.h>
#include <unistd.h>

enum { ADMIN_CONNS_MAX = 64, ADMIN_ARENA_BYTES_MAX = 256 * 1024 };

struct admin {
    struct loop *loop;
    struct listener_group *group;
    struct acceptor acceptor;
    const struct admin_ops *ops;
    void *owner;
    const struct codec_limits *limits;
    struct list conns;
    unsigned n_conns;
};

struct admin_conn {
    struct list node;
    struct admin *admin;
    struct conn *conn;
};

/* One request. */
struct admin_request {
    struct arena arena;
    struct admin *admin;
    struct stream *stream;
    struct deferred gone;
};

static void admin_on_gone(struct deferred *d)
{
    struct admin_request *r = CONTAINER_OF(d, struct admin_request, gone);
    arena_reset(&r->arena);
    mem_free(r);
}

static void admin_end(struct admin_request *r)
{
    if (r->stream != NULL) {
        struct stream *s = r->stream;
        r->stream = NULL;
        stream_close(s);
        loop_defer(r->admin->loop, &r->gone);
    }
}

static void admin_send(struct admin_request *r,
                       int status,
                       struct str type,
                       struct buf *body)
{
    struct stream *s = r->stream;
    struct head h;
    head_init(&h, &r->arena);
    h.status = status;
    h.content_length = (int64_t)buf_len(body);
    head_add(&h, NAME_CONTENT_TYPE, name_text(NAME_CONTENT_TYPE), type);
    head_add(&h, NAME_CACHE_CONTROL, name_text(NAME_CACHE_CONTROL),
             STR("no-store"));
    const bool has_body = buf_len(body) > 0 && s->method != METHOD_HEAD;
    stream_send_head(s, &h, !has_body);
    while (has_body && buf_len(body) > 0) {
        const struct str piece = buf_peek(body);
        stream_send_data(s, (const uint8_t *)piece.p, piece.len,
                         piece.len == buf_len(body));
        buf_drop(body, piece.len);
    }
}

static int admin_page_metrics(struct admin *a, struct buf *out)
{
    a->ops->metrics(a->owner, out);
    return 200;
}

static int admin_page_config(struct admin *a, struct buf *out)
{
    a->ops->config(a->owner, out);
    return 200;
}

static int admin_page_healthz(struct admin *a, struct buf *out)
{
    (void)a;
    buf_append_str(out, STR("ok\n"));
    return 200;
}

static int admin_page_readyz(struct admin *a, struct buf *out)
{
    struct str why = STR("ok");
    const bool is_ready = a->ops->is_ready(a->owner, &why);
    buf_append_str(out, why);
    buf_append_str(out, STR("\n"));
    return is_ready ? 200 : 503;
}

static int admin_page_index(struct admin *a, struct buf *out)
{
    (void)a;
    buf_append_str(out, STR("/metrics\n/healthz\n/readyz\n/config\n"));
    return 200;
}

static const struct admin_page {
    const char *path;
    const char *type;
    int (*write)(struct admin *a, struct buf *out);
} admin_pages[] = {
    {"/", "text/plain", admin_page_index},
    {"/config", "text/plain; charset=utf-8", admin_page_config},
    {"/healthz", "text/plain", admin_page_healthz},
    {"/metrics", "text/plain; version=0.0.4", admin_page_metrics},
    {"/readyz", "text/plain", admin_page_readyz},
};

static const struct admin_page *admin_find(struct str path)
{
    const size_t n = sizeof(admin_pages) / sizeof(admin_pages[0]);
    for (size_t i = 0; i < n; i++) {
        if (str_eq(path, str_from(admin_pages[i].path))) {
            return &admin_pages[i];
        }
    }
    return NULL;
}

static void admin_on_head(struct stream *s, struct head *h, bool is_end)
{
    struct admin_request *r = s->owner;
    struct buf body;
    const struct admin_page *page = admin_find(h->path);
    (void)is_end;
    buf_init(&body, &r->admin->loop->bufs);
    if (h->method != METHOD_GET && h->method != METHOD_HEAD) {
        buf_append_str(&body, STR("the admin pages only read: use GET\n"));
        admin_send(r, 405, STR("text/plain"), &body);
    } else if (page == NULL) {
        buf_append_str(&body, STR("no such page; there are:\n"));
        admin_page_index(r->admin, &body);
        admin_send(r, 404, STR("text/plain"), &body);
    } else {
        const int status = page->write(r->admin, &body);
        admin_send(r, status, str_from(page->type), &body);
    }
    buf_fini(&body);
    admin_end(r);
}

static void
admin_on_data(struct stream *s, const uint8_t *p, size_t len, bool is_end)
{
    (void)p;
    (void)is_end;
    stream_credit(s, len);
}

static void admin_on_trailers(struct stream *s, struct head *trailers)
{
    (void)s;
    (void)trailers;
}

static void admin_on_fault(struct stream *s, enum fault f)
{
    struct admin_request *r = s->owner;
    const struct fault_row *row = fault_row(f);
    if (s->can_answer && row->status != 0) {
        struct buf body;
        buf_init(&body, &r->admin->loop->bufs);
        buf_append_str(&body, row->text);
        buf_append_str(&body, STR("\n"));
        admin_send(r, row->status, STR("text/plain"), &body);
        buf_fini(&body);
    }
    admin_end(r);
}

static void admin_on_room(struct stream *s)
{
    (void)s;
}

static const struct stream_ops admin_stream_ops = {
    .on_head = admin_on_head,
    .on_data = admin_on_data,
    .on_trailers = admin_on_trailers,
    .on_fault = admin_on_fault,
    .on_room = admin_on_room,
};

static void admin_on_stream(struct codec *k, struct stream *s)
{
    struct admin_conn *ac = k->owner;
    struct admin_request *r = mem_new(sizeof(*r));
    r->admin = ac->admin;
    r->stream = s;
    r->gone.fn = admin_on_gone;
    arena_init(&r->arena, &k->loop->arenas, ADMIN_ARENA_BYTES_MAX);
    s->ops = &admin_stream_ops;
    s->owner = r;
    s->arena = &r->arena;
}

static void admin_on_capacity(struct codec *k)
{
    (void)k;
}

static void admin_conn_free(struct admin_conn *ac)
{
    if (ac->admin != NULL) {
        ac->admin->n_conns--;
    }
    list_remove(&ac->node);
    mem_free(ac);
}

static void admin_on_codec_closed(struct codec *k, enum conn_end end)
{
    (void)end;
    admin_conn_free(k->owner);
}

static const struct codec_owner_ops admin_codec_ops = {
    .on_stream = admin_on_stream,
    .on_capacity = admin_on_capacity,
    .on_closed = admin_on_codec_closed,
};

static void admin_on_ready(struct conn *c)
{
    struct admin_conn *ac = c->owner;
    h1_new(c, true, ac->admin->limits, &admin_codec_ops, ac);
}

static size_t admin_on_bytes(struct conn *c, const uint8_t *p, size_t len)
{
    (void)c;
    (void)p;
    (void)len;
    return 0;
}

static void admin_on_conn_event(struct conn *c)
{
    (void)c;
}

static void admin_on_conn_closed(struct conn *c, enum conn_end end)
{
    (void)end;
    admin_conn_free(c->owner);
}

static const struct conn_ops admin_conn_ops = {
    .on_ready = admin_on_ready,
    .on_bytes = admin_on_bytes,
    .on_eof = admin_on_conn_event,
    .on_room = admin_on_conn_event,
    .on_closed = admin_on_conn_closed,
};

static void admin_on_accept(struct acceptor *acceptor,
                            int fd,
                            const struct addr *peer,
                            const struct addr *local)
{
    struct admin *a = acceptor->owner;
    if (a->n_conns >= ADMIN_CONNS_MAX) {
        close(fd);
        return;
    }
    struct admin_conn *ac = mem_new(sizeof(*ac));
    ac->admin = a;
    list_push_back(&a->conns, &ac->node);
    a->n_conns++;
    ac->conn = conn_accept(a->loop, fd, peer, local, NULL, &admin_conn_ops, ac);
}

struct admin *admin_new(struct loop *loop,
                        struct str address,
                        const struct admin_ops *ops,
                        void *owner,
                        struct error *err)
{
    struct addr addrs[RESOLVE_N_MAX];
    if (resolve(address, addrs, err) == 0) {
        return NULL;
    }
    struct listener_group *group =
        listener_group_open(&addrs[0], 0600, 1, 128, err);
    if (group == NULL) {
        return NULL;
    }
    struct admin *a = mem_new(sizeof(*a));
    a->loop = loop;
    a->group = group;
    a->ops = ops;
    a->owner = owner;
    const struct codec_limits limits = codec_limits_default();
    a->limits = codec_limits_intern(&limits);
    list_init(&a->conns);
    acceptor_open(&a->acceptor, loop, group->fds[0], admin_on_accept, a);
    return a;
}

void admin_free(struct admin *a)
{
    struct list *it;
    struct list *tmp;
    if (a == NULL) {
        return;
    }
    acceptor_close(&a->acceptor);
    list_for_each (it, tmp, &a->conns) {
        struct admin_conn *ac = CONTAINER_OF(it, struct admin_conn, node);
        conn_close(ac->conn, CONN_CLOSED_BY_US);
    }
    loop_run_once(a->loop, 0); /* the conns die at the end of this turn */
    listener_group_close(a->group);
    mem_free(a);
}
