/*
 * api: the functions of include/daemun that a filter calls about an exchange
 * (those about settings are in control/module_conf.c). Worker thread, but for
 * dm_log, dm_mem_* and dm_post, which every thread may call. What a module
 * gives is checked here and copied into the arena of the exchange: whatever a
 * module does, a message stays well-formed.
 */
#include "base/log.h"
#include "base/mem.h"
#include "http/uri.h"
#include "proxy/exchange.h"
#include "proxy/filter.h"

#include <daemun/daemun.h>
#include <stdarg.h>
#include <stdio.h>

enum { API_LOG_BYTES_MAX = 1024, API_NAME_BYTES_MAX = 256 };

_Static_assert((int)DM_LOG_ERROR == (int)LOG_ERROR &&
                   (int)DM_LOG_WARN == (int)LOG_WARN &&
                   (int)DM_LOG_INFO == (int)LOG_INFO &&
                   (int)DM_LOG_DEBUG == (int)LOG_DEBUG,
               "the levels of modules are ours");

/* ---- for every thread ---- */

void dm_log(enum dm_log_level level, const char *format, ...)
{
    char line[API_LOG_BYTES_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    log_text((enum log_level)level, "%s", line);
}

void *dm_mem_new(size_t size)
{
    return mem_new(size);
}

void dm_mem_free(void *p)
{
    mem_free(p);
}

void dm_post(struct loop *loop, dm_post_fn *fn, void *arg)
{
    loop_post(loop, fn, arg);
}

/* ---- the request ---- */

struct str dm_method(const struct exchange *x)
{
    return x->h->method_text;
}

struct str dm_scheme(const struct exchange *x)
{
    return x->h->scheme;
}

struct str dm_host(const struct exchange *x)
{
    return x->h->host;
}

struct str dm_path(const struct exchange *x)
{
    return x->h->path;
}

struct str dm_query(const struct exchange *x)
{
    return x->h->query;
}

static bool api_may_edit(const struct exchange *x, enum dm_message m)
{
    return x->filters != NULL && !x->is_finished &&
           x->filters->phase ==
               (m == DM_REQUEST ? FILTER_ON_REQUEST : FILTER_ON_RESPONSE);
}

/* Path and query as a client could have sent them, canonical. */
static bool api_target_set(struct exchange *x, struct str target)
{
    const struct uri_options options = {
        .is_encoded_slash_allowed = x->route->is_encoded_slash_allowed,
    };
    struct str path = STR_NONE;
    struct str query = STR_NONE;
    if (target.p == NULL || target.p[0] != '/' ||
        uri_target(&x->arena, target, &options, &path, &query) != FAULT_NONE) {
        return false;
    }
    x->h->path = path;
    x->h->query = query;
    return true;
}

static bool api_has_char(struct str s, char c)
{
    return str_find_char(s, c) < s.len;
}

bool dm_path_set(struct exchange *x, struct str path)
{
    const struct str query = x->h->query;
    if (!api_may_edit(x, DM_REQUEST) || api_has_char(path, '?') ||
        !api_target_set(x, arena_copy(&x->arena, path))) {
        return false;
    }
    x->h->query = query;
    return true;
}

bool dm_query_set(struct exchange *x, struct str query)
{
    if (!api_may_edit(x, DM_REQUEST)) {
        return false;
    }
    if (query.p == NULL) {
        x->h->query = STR_NONE;
        return true;
    }
    return x->h->path.p[0] == '/' &&
           api_target_set(x, arena_print(&x->arena, "%.*s?%.*s",
                                         STR_ARG(x->h->path), STR_ARG(query)));
}

/* ---- the exchange ---- */

struct str dm_peer(struct exchange *x)
{
    char text[ADDR_TEXT_MAX];
    return arena_copy(&x->arena, str_from(addr_print_host(&x->peer, text)));
}

struct str dm_peer_bytes(const struct exchange *x)
{
    const bool is_ip = x->peer.len > 0 && x->peer.sa.sa_family != AF_UNIX;
    return is_ip ? addr_bytes(&x->peer) : STR_NONE;
}

struct str dm_route(const struct exchange *x)
{
    return x->route->name;
}

struct str dm_request_id(const struct exchange *x)
{
    return x->request_id;
}

/* The response as the filters see it; NULL when there is none. */
static struct head *api_response(const struct exchange *x)
{
    const struct filter_run *run = x->filters;
    if (run != NULL && run->reply != NULL) {
        return run->reply;
    }
    if (run != NULL && run->phase == FILTER_ON_RESPONSE) {
        return run->response;
    }
    return x->response;
}

int dm_status(const struct exchange *x)
{
    const struct head *h = api_response(x);
    return h != NULL && h->status != 0 ? h->status : x->status;
}

struct str dm_fault(const struct exchange *x)
{
    return fault_row(x->fault)->word;
}

uint64_t dm_duration_us(const struct exchange *x)
{
    return x->w->loop->now_us - x->begin_us;
}

uint64_t dm_bytes_received(const struct exchange *x)
{
    return x->upload.n_bytes;
}

uint64_t dm_bytes_sent(const struct exchange *x)
{
    return x->download.n_bytes;
}

void *dm_alloc(struct exchange *x, size_t size)
{
    return arena_take_zero(&x->arena, size);
}

/* ---- header fields ---- */

static struct head *api_head(const struct exchange *x, enum dm_message m)
{
    return m == DM_REQUEST ? x->h : api_response(x);
}

/* The head for a change; NULL when it may not be changed now. A filter that
 * makes an answer changes that. */
static struct head *api_head_edit(struct exchange *x, enum dm_message m)
{
    const bool is_making =
        m == DM_RESPONSE && x->filters != NULL && x->filters->reply != NULL;
    return is_making || api_may_edit(x, m) ? api_head(x, m) : NULL;
}

/* The name in lower case, in `dst`; p NULL when it is none. */
static struct str api_name(char dst[static API_NAME_BYTES_MAX], struct str name)
{
    if (name.len > API_NAME_BYTES_MAX || !name_is_valid(name)) {
        return STR_NONE;
    }
    str_lower(dst, name);
    return str_make(dst, name.len);
}

/* What frames the message is not among the fields (head.h). */
static bool api_is_framing(struct str lower_name)
{
    const enum name_id id = name_find(lower_name);
    return (name_flags(id) & NAME_FLAG_HOP) != 0 || id == NAME_HOST ||
           id == NAME_CONTENT_LENGTH || id == NAME_EXPECT;
}

struct str
dm_header_get(const struct exchange *x, enum dm_message m, struct str name)
{
    char lower[API_NAME_BYTES_MAX];
    const struct head *h = api_head(x, m);
    const struct str key = api_name(lower, name);
    const struct field *f =
        h != NULL && key.p != NULL ? head_find_name(h, key) : NULL;
    return f != NULL ? f->value : STR_NONE;
}

bool dm_header_at(const struct exchange *x,
                  enum dm_message m,
                  size_t index,
                  struct str *name,
                  struct str *value)
{
    const struct head *h = api_head(x, m);
    if (h == NULL || index >= h->n_fields) {
        return false;
    }
    *name = h->fields[index].name;
    *value = h->fields[index].value;
    return true;
}

typedef bool api_put_fn(struct head *h, struct str name, struct str value);

static bool api_put_new(struct head *h, struct str name, struct str value)
{
    return head_add(h, name_find(name), name, value);
}

static bool api_put(struct exchange *x,
                    enum dm_message m,
                    struct str name,
                    struct str value,
                    api_put_fn *put)
{
    char lower[API_NAME_BYTES_MAX];
    struct head *h = api_head_edit(x, m);
    const struct str key = api_name(lower, name);
    if (h == NULL || key.p == NULL || api_is_framing(key) ||
        !value_is_valid(value)) {
        return false;
    }
    const struct str own_key = arena_copy(&x->arena, key);
    const struct str own_value = arena_copy(&x->arena, str_trim(value));
    return own_key.p != NULL && own_value.p != NULL &&
           put(h, own_key, own_value);
}

bool dm_header_set(struct exchange *x,
                   enum dm_message m,
                   struct str name,
                   struct str value)
{
    return api_put(x, m, name, value, head_set);
}

bool dm_header_add(struct exchange *x,
                   enum dm_message m,
                   struct str name,
                   struct str value)
{
    return api_put(x, m, name, value, api_put_new);
}

size_t dm_header_remove(struct exchange *x, enum dm_message m, struct str name)
{
    char lower[API_NAME_BYTES_MAX];
    struct head *h = api_head_edit(x, m);
    const struct str key = api_name(lower, name);
    return h != NULL && key.p != NULL ? head_remove(h, key) : 0;
}

/* ---- the response ---- */

static bool api_status_has_body(int status)
{
    return status != 204 && status != 304;
}

static bool api_status_is_final(int status)
{
    return status >= 200 && status <= 599;
}

bool dm_status_set(struct exchange *x, int status)
{
    struct head *h = api_head_edit(x, DM_RESPONSE);
    if (h == NULL || !api_status_is_final(status) ||
        !api_status_has_body(status) || !api_status_has_body(h->status)) {
        return false;
    }
    h->status = status;
    return true;
}

bool dm_reply(struct exchange *x,
              int status,
              struct str content_type,
              struct str body)
{
    struct filter_run *run = x->filters;
    if (run == NULL || x->is_head_sent || !api_status_is_final(status) ||
        (body.len > 0 && !api_status_has_body(status)) ||
        !value_is_valid(content_type)) {
        return false;
    }
    struct head *h = arena_take_zero(&x->arena, sizeof(*h));
    const struct str type = arena_copy(&x->arena, content_type);
    const struct str text = arena_copy(&x->arena, body);
    if (h == NULL || type.p == NULL || text.p == NULL) {
        return false;
    }
    head_init(h, &x->arena);
    h->status = status;
    if (type.len > 0 &&
        !head_add(h, NAME_CONTENT_TYPE, name_text(NAME_CONTENT_TYPE), type)) {
        return false;
    }
    run->reply = h;
    run->reply_body = text;
    return true;
}

/* ---- waiting ---- */

void dm_resume(struct exchange *x)
{
    filter_resume(x);
}

void dm_resume_after(struct exchange *x, uint32_t after_ms)
{
    filter_resume_after(x, after_ms);
}

struct loop *dm_loop(const struct exchange *x)
{
    return x->w->loop;
}

uint64_t dm_now_ms(const struct exchange *x)
{
    return x->w->loop->now_ms;
}
