/*
 * ip_access: lets requests through, or answers 403, by the address of the
 * client. The first rule that matches decides; `default` decides when none
 * does.
 *
 *   filters = ( { name = "ip_access";
 *                 settings = {
 *                     rules = ( { deny = "10.0.0.66"; },
 *                               { allow = [ "10.0.0.0/8", "fd00::/8" ]; } );
 *                     default = "deny";
 *                 }; } );
 *
 * The address is that of the connection, or of the PROXY protocol where the
 * listener takes it; what clients write into header fields is not looked at.
 * A client on a UNIX socket has no address: only `default` applies.
 */
#include <arpa/inet.h>
#include <daemun/daemun.h>
#include <stdint.h>
#include <stdio.h>

enum { IP_ACCESS_TEXT_MAX = 64 };

/* One network and what is done with clients in it. */
struct ip_rule {
    uint8_t bytes[16];
    size_t n_bytes; /* 4 or 16 */
    unsigned n_bits;
    bool is_allowed;
};

struct ip_access {
    struct ip_rule *rules;
    size_t n_rules;
    bool is_allowed_by_default;
};

/* The decimal number of bits after '/'; false when it is none up to `max`. */
static bool ip_rule_bits(const char *text, unsigned max, unsigned *n_bits)
{
    unsigned value = 0;
    if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text) ||
        strlen(text) > 3) {
        return false;
    }
    for (; text[0] != '\0'; text++) {
        value = value * 10 + (unsigned)(text[0] - '0');
    }
    *n_bits = value;
    return value <= max;
}

/* "10.0.0.0/8", "10.1.2.3", "fd00::/8", "::1". */
static bool ip_rule_parse(struct ip_rule *r, struct str network)
{
    char text[IP_ACCESS_TEXT_MAX];
    if (network.len == 0 || network.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, network.p, network.len);
    text[network.len] = '\0';
    char *slash = strchr(text, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    if (inet_pton(AF_INET, text, r->bytes) == 1) {
        r->n_bytes = 4;
    } else if (inet_pton(AF_INET6, text, r->bytes) == 1) {
        r->n_bytes = 16;
    } else {
        return false;
    }
    r->n_bits = (unsigned)r->n_bytes * 8;
    return slash == NULL || ip_rule_bits(slash + 1, r->n_bits, &r->n_bits);
}

static bool ip_rule_has(const struct ip_rule *r, struct str address)
{
    const size_t n_whole = r->n_bits / 8;
    const unsigned n_rest = r->n_bits % 8;
    if (address.len != r->n_bytes ||
        memcmp(address.p, r->bytes, n_whole) != 0) {
        return false;
    }
    const unsigned mask = 0xffu << (8 - n_rest) & 0xffu;
    return n_rest == 0 ||
           (((unsigned char)address.p[n_whole] ^ r->bytes[n_whole]) & mask) ==
               0;
}

/* Adds the rule of one network. */
static bool ip_access_add(struct ip_access *a,
                          const struct node *n,
                          bool is_allowed,
                          struct error *err)
{
    struct str text = DM_STR_NONE;
    struct ip_rule *r = &a->rules[a->n_rules];
    if (!dm_conf_text(n, NULL, &text, err)) {
        return false;
    }
    if (!ip_rule_parse(r, text)) {
        return dm_conf_problem(n, err,
                               "\"%.*s\" is no address or network; write "
                               "\"10.0.0.0/8\", \"10.1.2.3\" or \"fd00::/8\"",
                               DM_STR_ARG(text));
    }
    r->is_allowed = is_allowed;
    a->n_rules++;
    return true;
}

/* { allow = "..."; } or { deny = [ "...", "..." ]; } */
static bool
ip_access_rule(struct ip_access *a, const struct node *n, struct error *err)
{
    static const char *const known[] = {"allow", "deny", NULL};
    const struct node *allow = dm_conf_child(n, "allow");
    const struct node *deny = dm_conf_child(n, "deny");
    const struct node *value = allow != NULL ? allow : deny;
    if (dm_conf_kind(n) != DM_CONF_GROUP || (allow != NULL) == (deny != NULL)) {
        return dm_conf_problem(n, err,
                               "must be { allow = ...; } or "
                               "{ deny = ...; }");
    }
    if (!dm_conf_known(n, known, err)) {
        return false;
    }
    if (dm_conf_kind(value) != DM_CONF_LIST) {
        return ip_access_add(a, value, value == allow, err);
    }
    bool is_ok = true;
    for (const struct node *m = dm_conf_first(value); m != NULL;
         m = dm_conf_next(m)) {
        is_ok = ip_access_add(a, m, value == allow, err) && is_ok;
    }
    return is_ok;
}

/* At least as many networks as the rules have: one, or a list of them, each. */
static size_t ip_access_count(const struct node *rules)
{
    size_t n_networks = 0;
    for (const struct node *n = dm_conf_first(rules); n != NULL;
         n = dm_conf_next(n)) {
        const struct node *m = dm_conf_first(dm_conf_first(n));
        for (n_networks++; m != NULL; m = dm_conf_next(m)) {
            n_networks++;
        }
    }
    return n_networks;
}

static bool ip_access_default(struct ip_access *a,
                              const struct node *settings,
                              struct error *err)
{
    struct str text = DM_STR("deny");
    if (!dm_conf_text(settings, "default", &text, err)) {
        return false;
    }
    a->is_allowed_by_default = dm_str_eq(text, DM_STR("allow"));
    return a->is_allowed_by_default || dm_str_eq(text, DM_STR("deny")) ||
           dm_conf_problem(dm_conf_child(settings, "default"), err,
                           "must be \"allow\" or \"deny\"");
}

static bool ip_access_read(struct ip_access *a,
                           const struct node *settings,
                           struct error *err)
{
    static const char *const known[] = {"rules", "default", NULL};
    const struct node *rules = NULL;
    bool is_ok = dm_conf_known(settings, known, err);
    is_ok = ip_access_default(a, settings, err) && is_ok;
    is_ok = dm_conf_list(settings, "rules", &rules, err) && is_ok;
    a->rules = dm_mem_new(ip_access_count(rules) * sizeof(*a->rules));
    for (const struct node *n = dm_conf_first(rules); n != NULL;
         n = dm_conf_next(n)) {
        is_ok = ip_access_rule(a, n, err) && is_ok;
    }
    if (is_ok && a->n_rules == 0 && !a->is_allowed_by_default) {
        return dm_conf_problem(settings, err,
                               "without rules nobody is let in; write rules, "
                               "or default = \"allow\"");
    }
    return is_ok;
}

static void ip_access_free(void *conf)
{
    struct ip_access *a = conf;
    dm_mem_free(a->rules);
    dm_mem_free(a);
}

static void *ip_access_new(const struct node *settings, struct error *err)
{
    struct ip_access *a = dm_mem_new(sizeof(*a));
    if (!ip_access_read(a, settings, err)) {
        ip_access_free(a);
        return NULL;
    }
    return a;
}

static bool ip_access_allows(const struct ip_access *a, struct str address)
{
    for (size_t i = 0; i < a->n_rules; i++) {
        if (ip_rule_has(&a->rules[i], address)) {
            return a->rules[i].is_allowed;
        }
    }
    return a->is_allowed_by_default;
}

static enum dm_verdict ip_access_on_request(struct exchange *x,
                                            const struct filter_use *use)
{
    if (ip_access_allows(use->conf, dm_peer_bytes(x))) {
        return DM_NEXT;
    }
    /* No room for the text is no reason to let somebody in. */
    if (!dm_reply(x, 403, DM_STR("text/plain"),
                  DM_STR("403 Forbidden: your address may not use this "
                         "site.\n"))) {
        dm_reply(x, 403, DM_STR_NONE, DM_STR_NONE);
    }
    return DM_REPLY;
}

static const struct filter ip_access = {
    .size = sizeof(struct filter),
    .name = "ip_access",
    .conf_new = ip_access_new,
    .conf_free = ip_access_free,
    .on_request = ip_access_on_request,
};

static const struct filter *const ip_access_filters[] = {&ip_access, NULL};

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "ip_access",
    .version = "1.0",
    .summary = "Allows or denies requests by the client's address.",
    .filters = ip_access_filters,
};
