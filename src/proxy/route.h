/*
 * route: what to do with a request, and how the right one is found. The table
 * is a map from host to an immutable table of that host; in it exact paths and
 * prefixes (by element) are maps, so that ten thousand routes cost no more
 * than ten. Built on the control thread, const on workers.
 *
 * Order, most specific first: exact host, wildcard host (one label), any
 * host; within a host exact path, regular expressions in the order of the
 * file, prefixes from the longest; within a path the route with more
 * conditions (methods, headers, listeners) first, then the order of the file.
 * A host without a matching path falls through to the less specific host.
 */
#ifndef DAEMUN_PROXY_ROUTE_H
#define DAEMUN_PROXY_ROUTE_H

#include "base/error.h"
#include "base/fault.h"
#include "base/regex.h"
#include "base/str.h"
#include "http/head.h"
#include "upstream/upstream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct filter_chain;

enum route_path_kind { ROUTE_PATH_PREFIX, ROUTE_PATH_EXACT, ROUTE_PATH_REGEX };
enum route_action {
    ROUTE_TO_UPSTREAM,
    ROUTE_SPLIT,
    ROUTE_REDIRECT,
    ROUTE_ANSWER
};

struct route_header_match {
    struct str name;     /* lower case */
    struct str value;    /* exact; p NULL: any */
    struct regex *regex; /* or NULL */
    bool is_absent;      /* the header must not be there */
};

struct route_split {
    struct upstream *upstream;
    uint64_t weight_end; /* cumulative */
};

/* Header edits of one direction. */
struct route_header {
    struct str name;
    struct str value;
};
struct route_edits {
    struct route_header *set;
    size_t n_set;
    struct route_header *add;
    size_t n_add;
    struct str *remove;
    size_t n_remove;
};

struct route {
    struct str name; /* for the log; made from host and path when not given */
    unsigned order;  /* place in the file */
    /* conditions */
    struct str host; /* p NULL: any; "*.x": one or more labels before x */
    enum route_path_kind path_kind;
    struct str path; /* exact, or prefix without trailing '/', or pattern */
    struct regex *regex;
    struct str *methods;
    size_t n_methods;
    struct route_header_match *headers;
    size_t n_headers;
    unsigned *listener_ids;
    size_t n_listener_ids;
    /* action */
    enum route_action action;
    struct upstream *upstream;
    struct route_split *split;
    size_t n_split;
    int status;      /* of redirect or answer */
    struct str to;   /* redirect target with ${host} ${path} ${query} */
    struct str body; /* answer */
    struct str content_type;
    /* on the way */
    bool has_replace_prefix; /* the matched prefix becomes replace_prefix */
    struct str replace_prefix;
    struct route_edits request_edits;
    struct route_edits response_edits;
    struct filter_chain *filters; /* NULL: none */
    uint64_t max_body_bytes;      /* 0: no limit */
    uint32_t response_timeout_ms; /* 0: that of the upstream */
    uint32_t idle_timeout_ms;     /* 0: that of the upstream */
    int32_t n_retries_max;        /* -1: that of the upstream */
    bool is_websocket_allowed;
    bool is_encoded_slash_allowed; /* %2F and %5C in the path */
    bool is_get_body_allowed;      /* R-LEN-8: a body on GET and HEAD */
};

struct route_table;

/*
 * Control thread. `routes` must outlive the table (snapshot arena). Duplicates
 * with equal conditions keep the order of the file; the later one is reported
 * in the log by the caller.
 */
struct route_table *route_table_build(const struct route *routes, size_t n);
void route_table_free(struct route_table *t);
/* Largest regular expression, for the scratch objects of the workers. */
size_t route_table_regex_max(const struct route_table *t);

struct route_match {
    const struct head *head;
    unsigned listener_id;
    struct arena *arena;
    struct regex_scratch *scratch;
    struct str *allow; /* gets the methods of near misses; NULL: unwanted */
};
/*
 * Worker. NULL when none matches: then *f is FAULT_METHOD when one would have
 * matched with another method, else FAULT_NO_ROUTE.
 */
const struct route *route_find(const struct route_table *t,
                               const struct route_match *m,
                               enum fault *f);
/* Single conditions of a route. The number of conditions decides between
 * routes of one path. */
bool route_has_method(const struct route *r, struct str method);
bool route_has_listener(const struct route *r, unsigned id);
bool route_header_fits(const struct route_header_match *hm,
                       const struct route_match *m);
size_t route_n_conditions(const struct route *r);
/* Adds the methods of a route to a list for the Allow field. */
void route_allow(const struct route *r, struct arena *arena, struct str *allow);
/* The upstream of a route: its own, or one of the split by `random`. */
struct upstream *route_upstream(const struct route *r, uint64_t random);
/* The canonical path after prefix replacement; p NULL at the arena's limit. */
struct str
route_rewrite_path(const struct route *r, struct arena *arena, struct str path);
/* Applies edits; false at the arena's limit. */
bool route_edit(const struct route_edits *e, struct head *h);
/* What may stand between "${" and "}" in a redirect: NULL at the end. */
const char *route_variable_name(size_t index);
bool route_is_variable(struct str name);
/* Location of a redirect, its variables filled in. */
struct str route_location(const struct route *r,
                          struct arena *arena,
                          const struct head *h);

#endif
