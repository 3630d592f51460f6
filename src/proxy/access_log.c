/*
 * access_log: see access_log.h. Each variable is one row of the table at the
 * end: its name, whether JSON quotes it, and the function that writes it.
 */
#include "proxy/access_log.h"

#include "base/log.h"
#include "base/mem.h"
#include "proxy/exchange.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    ACCESS_VALUE_BYTES_MAX = 1024,
    ACCESS_MEMBER_BYTES = 48 /* of JSON: name, number and punctuation */
};

/* The line under construction; what does not fit is cut. */
struct access_line {
    char text[LOG_LINE_BYTES_MAX];
    size_t len;
    size_t end; /* of text values: what is behind is for what must follow */
};

static void access_put(struct access_line *l, const char *p, size_t len)
{
    const size_t room = sizeof(l->text) - l->len;
    const size_t n = len < room ? len : room;
    if (n > 0) {
        memcpy(l->text + l->len, p, n);
        l->len += n;
    }
}

static void access_put_number(struct access_line *l, uint64_t value)
{
    char text[24];
    size_t at = sizeof(text);
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    access_put(l, text + at, sizeof(text) - at);
}

/* One byte as JSON and a log line can bear it; returns its length. */
static size_t access_escape(char dst[static 6], unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        dst[0] = '\\';
        dst[1] = (char)c;
        return 2;
    }
    if (c >= 0x20 && c < 0x7f) {
        dst[0] = (char)c;
        return 1;
    }
    memcpy(dst, "\\u00", 4);
    dst[4] = hex[c >> 4];
    dst[5] = hex[c & 15];
    return 6;
}

/* One long value must not push the later ones off the line. */
static void access_put_text(struct access_line *l, struct str s)
{
    char escaped[6];
    const size_t most = l->len + ACCESS_VALUE_BYTES_MAX;
    const size_t end = most < l->end ? most : l->end;
    for (size_t i = 0; i < s.len; i++) {
        const size_t len = access_escape(escaped, (unsigned char)s.p[i]);
        if (l->len + len > end) {
            return;
        }
        access_put(l, escaped, len);
    }
}

static void access_put_or_dash(struct access_line *l, struct str s)
{
    access_put_text(l, s.len > 0 ? s : STR("-"));
}

static void
access_put_span(struct access_line *l, uint64_t from_us, uint64_t to_us)
{
    access_put_number(l,
                      from_us != 0 && to_us >= from_us ? to_us - from_us : 0);
}

static void access_time(struct access_line *l, const struct exchange *x)
{
    char text[25];
    log_time(text, x->w->loop->wall_us);
    access_put(l, text, strlen(text));
}

static void access_request_id(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->request_id);
}

static void access_client(struct access_line *l, const struct exchange *x)
{
    char text[ADDR_TEXT_MAX];
    access_put_or_dash(l, str_from(addr_print(&x->peer, text)));
}

static void access_listener(struct access_line *l, const struct exchange *x)
{
    const struct listener *li =
        snapshot_listener(x->snap, x->client->listener_id);
    access_put_or_dash(l, li != NULL ? li->name : STR_NONE);
}

static void access_protocol(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->h != NULL ? hash_key_protocol(x->h) : STR_NONE);
}

static void access_method(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->log_method);
}

static void access_host(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->log_host);
}

static void access_path(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->log_path);
}

static void access_status(struct access_line *l, const struct exchange *x)
{
    access_put_number(l, (uint64_t)(x->status > 0 ? x->status : 0));
}

static void access_grpc_status(struct access_line *l, const struct exchange *x)
{
    if (x->grpc_status < 0) {
        access_put(l, "null", 4);
        return;
    }
    access_put_number(l, (uint64_t)x->grpc_status);
}

static void access_route(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->route != NULL ? x->route->name : STR_NONE);
}

static void access_upstream(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->up != NULL ? x->up->name : STR_NONE);
}

static void access_endpoint(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->ep != NULL ? x->ep->id : STR_NONE);
}

static void access_picked_by(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, str_from(x->why));
}

static void access_attempts(struct access_line *l, const struct exchange *x)
{
    access_put_number(l, x->n_attempts);
}

static void access_fault(struct access_line *l, const struct exchange *x)
{
    access_put_text(l, fault_row(x->fault)->word);
}

static void access_detail(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, x->detail);
}

static void access_received(struct access_line *l, const struct exchange *x)
{
    access_put_number(l, x->upload.n_bytes);
}

static void access_sent(struct access_line *l, const struct exchange *x)
{
    access_put_number(l, x->download.n_bytes);
}

static void access_duration(struct access_line *l, const struct exchange *x)
{
    access_put_span(l, x->begin_us, x->end_us);
}

static void access_pick_us(struct access_line *l, const struct exchange *x)
{
    access_put_span(l, x->begin_us, x->picked_us);
}

static void access_connect_us(struct access_line *l, const struct exchange *x)
{
    access_put_span(l, x->picked_us, x->connected_us);
}

static void access_wait_us(struct access_line *l, const struct exchange *x)
{
    access_put_span(l, x->connected_us, x->response_us);
}

static void access_body_us(struct access_line *l, const struct exchange *x)
{
    access_put_span(l, x->response_us, x->end_us);
}

static void access_user_agent(struct access_line *l, const struct exchange *x)
{
    const struct field *f =
        x->h != NULL ? head_find(x->h, NAME_USER_AGENT) : NULL;
    access_put_or_dash(l, f != NULL ? f->value : STR_NONE);
}

static void access_sni(struct access_line *l, const struct exchange *x)
{
    const struct conn *c = x->client->conn;
    access_put_or_dash(l, conn_is_tls(c) ? conn_sni(c) : STR_NONE);
}

static void access_subject(struct access_line *l, const struct exchange *x)
{
    access_put_or_dash(l, str_from(x->client->subject));
}

typedef void access_put_fn(struct access_line *l, const struct exchange *x);

/* In the order of the JSON line. */
static const struct access_variable {
    const char *name;
    access_put_fn *put;
    bool is_text;
} access_variables[] = {
    {"time", access_time, true},
    {"request_id", access_request_id, true},
    {"client", access_client, true},
    {"listener", access_listener, true},
    {"sni", access_sni, true},
    {"client_subject", access_subject, true},
    {"protocol", access_protocol, true},
    {"method", access_method, true},
    {"host", access_host, true},
    {"path", access_path, true},
    {"status", access_status, false},
    {"grpc_status", access_grpc_status, false},
    {"route", access_route, true},
    {"upstream", access_upstream, true},
    {"endpoint", access_endpoint, true},
    {"picked_by", access_picked_by, true},
    {"attempts", access_attempts, false},
    {"fault", access_fault, true},
    {"detail", access_detail, true},
    {"received_bytes", access_received, false},
    {"sent_bytes", access_sent, false},
    {"duration_us", access_duration, false},
    {"pick_us", access_pick_us, false},
    {"connect_us", access_connect_us, false},
    {"wait_us", access_wait_us, false},
    {"body_us", access_body_us, false},
    {"user_agent", access_user_agent, true},
};

enum {
    ACCESS_N_VARIABLES = sizeof(access_variables) / sizeof(access_variables[0]),
    ACCESS_N_PIECES_MAX = 128
};

/* A piece of a format: text, then a variable (NULL at the end). */
struct access_piece {
    struct str text;
    const struct access_variable *variable;
};

struct access_format {
    bool is_json;
    char *text; /* what the pieces point into */
    struct access_piece pieces[ACCESS_N_PIECES_MAX];
    size_t n_pieces;
};

static const struct access_variable *access_variable_find(struct str name)
{
    for (size_t i = 0; i < ACCESS_N_VARIABLES; i++) {
        if (str_eq(name, str_from(access_variables[i].name))) {
            return &access_variables[i];
        }
    }
    return NULL;
}

static bool access_unknown(struct str name, struct error *err)
{
    const struct access_variable *best = &access_variables[0];
    unsigned best_distance = 100;
    for (size_t i = 0; i < ACCESS_N_VARIABLES; i++) {
        const unsigned d =
            str_distance(name, str_from(access_variables[i].name), 50);
        if (d < best_distance) {
            best_distance = d;
            best = &access_variables[i];
        }
    }
    return error_add(err,
                     "${%.*s} is not a variable; did you "
                     "mean ${%s}?",
                     STR_ARG(name), best->name);
}

/* Reads one "text${variable}" off the front. */
static bool access_format_piece(struct access_format *f,
                                struct str *rest,
                                struct error *err)
{
    if (f->n_pieces == ACCESS_N_PIECES_MAX) {
        return error_add(err,
                         "more than %d variables; "
                         "shorten it",
                         ACCESS_N_PIECES_MAX);
    }
    struct access_piece *piece = &f->pieces[f->n_pieces++];
    size_t at = 0;
    while (at + 1 < rest->len &&
           !(rest->p[at] == '$' && rest->p[at + 1] == '{')) {
        at++;
    }
    if (at + 1 >= rest->len) {
        piece->text = *rest;
        *rest = STR_NONE;
        return true;
    }
    piece->text = str_sub(*rest, 0, at);
    const struct str inside = str_from_index(*rest, at + 2);
    const size_t end = str_find_char(inside, '}');
    if (end == inside.len) {
        return error_add(err, "\"${\" without \"}\"; close it");
    }
    const struct str name = str_sub(inside, 0, end);
    piece->variable = access_variable_find(name);
    *rest = str_from_index(inside, end + 1);
    return piece->variable != NULL || access_unknown(name, err);
}

struct access_format *access_format_new(struct str format, struct error *err)
{
    struct access_format *f = mem_new(sizeof(*f));
    f->is_json = str_eq(format, STR("json"));
    if (f->is_json) {
        return f;
    }
    f->text = mem_copy_text(format.p, format.len);
    struct str rest = str_make(f->text, format.len);
    while (rest.len > 0) {
        if (!access_format_piece(f, &rest, err)) {
            access_format_free(f);
            return NULL;
        }
    }
    return f;
}

void access_format_free(struct access_format *f)
{
    if (f != NULL) {
        mem_free(f->text);
        mem_free(f);
    }
}

static void access_write_json(struct access_line *l, const struct exchange *x)
{
    for (size_t i = 0; i < ACCESS_N_VARIABLES; i++) {
        const struct access_variable *v = &access_variables[i];
        /* Whatever the values are, the line stays a whole object. */
        l->end =
            sizeof(l->text) - (ACCESS_N_VARIABLES - i) * ACCESS_MEMBER_BYTES;
        access_put(l, i == 0 ? "{\"" : ",\"", 2);
        access_put(l, v->name, strlen(v->name));
        access_put(l, v->is_text ? "\":\"" : "\":", v->is_text ? 3 : 2);
        v->put(l, x);
        if (v->is_text) {
            access_put(l, "\"", 1);
        }
    }
    access_put(l, "}", 1);
}

static void access_write_text(struct access_line *l,
                              const struct exchange *x,
                              const struct access_format *f)
{
    l->end = sizeof(l->text);
    for (size_t i = 0; i < f->n_pieces; i++) {
        access_put(l, f->pieces[i].text.p, f->pieces[i].text.len);
        if (f->pieces[i].variable != NULL) {
            f->pieces[i].variable->put(l, x);
        }
    }
}

void access_log_write(struct exchange *x)
{
    const struct access_format *f = x->snap->access_format;
    if (f == NULL || x->w->loop->log == NULL || !log_is_access_on()) {
        return;
    }
    struct access_line l;
    l.len = 0;
    if (f->is_json) {
        access_write_json(&l, x);
    } else {
        access_write_text(&l, x, f);
    }
    log_write(x->w->loop->log, LOG_TO_ACCESS, str_make(l.text, l.len));
}
