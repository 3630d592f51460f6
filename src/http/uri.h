/*
 * uri: request targets and hosts, canonical form (rules R-TGT, R-HST and 5.8
 * of the HTTP rule set; RFC 3986, RFC 9112 3.2). Pure; every thread.
 */
#ifndef DAEMUN_HTTP_URI_H
#define DAEMUN_HTTP_URI_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/str.h"
#include "http/head.h"

#include <stdbool.h>
#include <stdint.h>

enum { URI_PATH_BYTES_MAX = 8 * 1024 };

struct uri_options {
    bool is_encoded_slash_allowed; /* %2F and %5C pass untouched */
};

/*
 * Canonical path and query of an origin-form target ("/a?b"), or "*". Fills
 * path and query (in `arena`, or a slice of `target` when nothing changed).
 * FAULT_NONE, FAULT_BAD_TARGET, FAULT_TARGET_TOO_LONG or FAULT_OVERLOAD.
 */
enum fault uri_target(struct arena *arena,
                      struct str target,
                      const struct uri_options *options,
                      struct str *path,
                      struct str *query);
/*
 * Host grammar R-HST-3 and canonical form R-HST-4: lower case, one trailing
 * dot removed, port removed when it is the default of `scheme`. `*authority`
 * is host[:port] (brackets kept), `*host` is without port and brackets.
 * FAULT_NONE, FAULT_BAD_HOST or FAULT_OVERLOAD.
 */
enum fault uri_host(struct arena *arena,
                    struct str text,
                    struct str scheme,
                    struct str *authority,
                    struct str *host);
/* Splits an absolute-form target (R-TGT-5); FAULT_BAD_TARGET otherwise. */
enum fault uri_absolute(struct str target,
                        struct str *scheme,
                        struct str *authority,
                        struct str *rest);
/* "%2F" or "%5C" in a canonical path: the parser lets these pass when any route
 * does, and each route decides. */
bool uri_has_encoded_slash(struct str path);
/*
 * Path for matching: parameters (";...") of each segment stripped. Returns
 * `path` itself when there are none.
 */
struct str uri_match_path(struct arena *arena, struct str path);

#endif
