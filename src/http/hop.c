/*
 * hop: what changes when a message crosses this proxy: what Connection names
 * goes, what untrusted peers forwarded goes, and then ours is written
 * (R-HOP-3: strip first, then add). Pure functions over heads; text lies in
 * the head's arena. Worker thread.
 */
#include "http/hop.h"

#include "http/chars.h"

enum {
    HOP_TOKENS_MAX = 64, /* of one Connection line; bounds the work */
    HOP_REQUEST_ID_BYTES_MAX = 128
};

static const struct str hop_own_prefix = {"x-daemun-", 9};
static const struct str hop_cert_subject = {"x-client-cert-subject", 21};
static const struct str hop_cert_sha256 = {"x-client-cert-sha256", 20};

/* Names that only we write. */
static bool hop_is_own(struct str name)
{
    return str_starts(name, hop_own_prefix) || str_eq(name, hop_cert_subject) ||
           str_eq(name, hop_cert_sha256);
}

/* R-HOP-2: names that a client cannot have removed. */
static bool hop_is_kept(enum name_id id, struct str name)
{
    return (name_flags(id) & NAME_FLAG_KEEP) != 0 || hop_is_own(name) ||
           str_starts(name, STR("x-forwarded-"));
}

/* Removes the fields called `token` (any case) unless they must stay. */
static void
hop_remove_listed(struct head *h, struct str token, unsigned *n_glitches)
{
    for (uint32_t i = 0; i < h->n_fields; i++) {
        const struct field *const f = &h->fields[i];

        if (!str_eq_nocase(f->name, token)) {
            continue;
        }
        if (hop_is_kept(f->id, f->name)) {
            (*n_glitches)++;
        } else {
            head_remove(h, f->name);
        }
        return;
    }
}

enum fault hop_connection(struct head *h, struct str list, unsigned *n_glitches)
{
    struct str rest = list;
    struct str token;
    unsigned n_tokens = 0;

    while (str_split(&rest, ',', &token)) {
        token = str_trim(token);
        if (++n_tokens > HOP_TOKENS_MAX ||
            str_eq_nocase(token, STR("transfer-encoding")) ||
            str_eq_nocase(token, STR("content-length"))) {
            return FAULT_BAD_REQUEST;
        }
        if (str_eq_nocase(token, STR("host"))) {
            (*n_glitches)++; // Host is not among the fields.
        } else if (name_is_valid(token)) {
            hop_remove_listed(h, token, n_glitches);
        } else if (token.len > 0) {
            (*n_glitches)++;
        }
    }
    return FAULT_NONE;
}

bool hop_trailer_may_pass(enum name_id id, struct str name)
{
    return (name_flags(id) & NAME_FLAG_NOTRAILER) == 0 && !hop_is_own(name) &&
           !str_starts(name, STR("x-forwarded-")) &&
           !str_starts(name, STR("content-"));
}

static bool hop_is_forwarding(const struct field *f)
{
    return (name_flags(f->id) & NAME_FLAG_FORWARD) != 0 ||
           str_starts(f->name, STR("x-forwarded-"));
}

/* Drops our own names always, and the peer's forwarding unless trusted. */
static void hop_strip(struct head *h, bool is_trusted)
{
    for (uint32_t i = 0; i < h->n_fields;) {
        const struct field *const f = &h->fields[i];

        if (hop_is_own(f->name) || (!is_trusted && hop_is_forwarding(f))) {
            // Moves the next field to place i.
            head_remove(h, f->name);
        } else {
            i++;
        }
    }
}

/* All lines of `id` as one list with `last` behind; p NULL at the limit. */
static struct str hop_append(struct head *h, enum name_id id, struct str last)
{
    struct str list = last;

    for (uint32_t i = h->n_fields; i > 0; i--) {
        const struct field *const f = &h->fields[i - 1];

        if (f->id == id && f->value.len > 0) {
            list = arena_print(h->arena, "%.*s, %.*s", STR_ARG(f->value),
                               STR_ARG(list));
            if (list.p == NULL) {
                return STR_NONE;
            }
        }
    }
    return list;
}

static bool hop_set_list(struct head *h, enum name_id id, struct str last)
{
    const struct str value =
        last.p == NULL ? STR_NONE : hop_append(h, id, last);

    return value.p != NULL && head_set(h, name_text(id), value);
}

/* Sets a field that a trusted peer may have set already. */
static bool hop_set_new(struct head *h, enum name_id id, struct str value)
{
    if (head_find(h, id) != NULL) {
        return true;
    }
    return value.p != NULL && head_add(h, id, name_text(id), value);
}

static struct str hop_host_text(struct head *h, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];

    /* RFC 7239 6.2: a UNIX socket's client has no address to tell. */
    if (a->sa.sa_family == AF_UNIX) {
        return STR("unknown");
    }
    return arena_copy(h->arena, str_from(addr_print_host(a, text)));
}

static struct str hop_port_text(struct head *h, const struct hop *hop)
{
    const unsigned port = addr_port(hop->local);

    if (port == 0) {
        return str_eq(hop->scheme, STR("https")) ? STR("443") : STR("80");
    }
    return arena_print(h->arena, "%u", port);
}

/* RFC 7239: IPv6 addresses in brackets and quotes. */
static struct str
hop_forwarded(struct head *h, const struct hop *hop, struct str peer)
{
    const bool is_v6 = str_find_char(peer, ':') < peer.len &&
                       hop->peer->sa.sa_family == AF_INET6;
    const char *const open = is_v6 ? "\"[" : "";
    const char *const shut = is_v6 ? "]\"" : "";
    const struct str by =
        hop->peer->sa.sa_family == AF_UNIX ? STR("unknown") : peer;

    const char *const host = h->authority.len > 0 ? ";host=\"" : "";
    const char *const quote = h->authority.len > 0 ? "\"" : "";

    return arena_print(h->arena, "for=%s%.*s%s%s%.*s%s;proto=%.*s", open,
                       STR_ARG(by), shut, host, STR_ARG(h->authority), quote,
                       STR_ARG(hop->scheme));
}

static bool hop_write_forwarding(struct head *h, const struct hop *hop)
{
    const struct str peer = hop_host_text(h, hop->peer);

    if (!hop_set_list(h, NAME_X_FORWARDED_FOR, peer) ||
        !hop_set_new(h, NAME_X_FORWARDED_PROTO, hop->scheme) ||
        !hop_set_new(h, NAME_X_FORWARDED_PORT, hop_port_text(h, hop)) ||
        !hop_set_new(h, NAME_X_REAL_IP, peer)) {
        return false;
    }
    if (h->authority.len > 0 &&
        !hop_set_new(h, NAME_X_FORWARDED_HOST, h->authority)) {
        return false;
    }
    return !hop->has_forwarded ||
           hop_set_list(h, NAME_FORWARDED, hop_forwarded(h, hop, peer));
}

/* A request id of a trusted peer: short, and safe in any log. */
static bool hop_id_is_valid(struct str id)
{
    if (id.len == 0 || id.len > HOP_REQUEST_ID_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        if (!chars_is(id.p[i], CHARS_UNRESERVED) && id.p[i] != ':' &&
            id.p[i] != '=' && id.p[i] != '/' && id.p[i] != '+') {
            return false;
        }
    }
    return true;
}

static bool
hop_write_id(struct head *h, const struct hop *hop, struct str *request_id)
{
    const struct field *const f = head_find(h, NAME_X_REQUEST_ID);

    if (f != NULL && hop_id_is_valid(f->value)) {
        *request_id = f->value;
    } else {
        *request_id = arena_copy(h->arena, hop->request_id);
    }
    return request_id->p != NULL &&
           head_set(h, name_text(NAME_X_REQUEST_ID), *request_id);
}

/* Values come from a certificate: what no field may hold becomes '?'. */
static bool
hop_write_cert_field(struct head *h, struct str name, struct str value)
{
    char *const text = arena_take(h->arena, value.len + 1);

    if (text == NULL) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        text[i] = chars_is(value.p[i], CHARS_VALUE) ? value.p[i] : '?';
    }
    return head_add(h, NAME_OTHER, name, str_make(text, value.len));
}

static bool hop_write_cert(struct head *h, const struct hop *hop)
{
    if (hop->client_subject.p == NULL) {
        return true;
    }
    return hop_write_cert_field(h, hop_cert_subject, hop->client_subject) &&
           hop_write_cert_field(h, hop_cert_sha256, hop->client_fingerprint);
}

/* R-HDR-9. At 0 we are the last recipient; the owner answers. */
static bool hop_count_down(struct head *h)
{
    struct field *const f = head_find(h, NAME_MAX_FORWARDS);
    uint64_t left = 0;

    if (f == NULL || h->method != METHOD_OPTIONS ||
        !str_to_u64(f->value, &left) || left == 0) {
        return true;
    }
    const struct str value =
        arena_print(h->arena, "%llu", (unsigned long long)(left - 1));
    return value.p != NULL && head_set(h, name_text(NAME_MAX_FORWARDS), value);
}

bool hop_request(struct head *h, const struct hop *hop, struct str *request_id)
{
    hop_strip(h, hop->is_peer_trusted);
    return hop_write_forwarding(h, hop) && hop_write_id(h, hop, request_id) &&
           hop_write_cert(h, hop) && hop_count_down(h);
}

void hop_response(struct head *h)
{
    for (uint32_t i = 0; i < h->n_fields;) {
        const struct field *const f = &h->fields[i];
        const bool is_hop = (name_flags(f->id) & NAME_FLAG_HOP) != 0;

        if (is_hop || str_starts(f->name, hop_own_prefix)) {
            head_remove(h, f->name);
        } else {
            i++;
        }
    }
}
