/*
 * explain: what a request would get, told in words and offline (daemun
 * explain): listener, route and why the others lose, filters, upstream and
 * endpoint. Builds the snapshot as a start does, without sockets, and asks the
 * functions that serve requests. Control thread; nothing is kept.
 */
#ifndef DAEMUN_CONTROL_EXPLAIN_H
#define DAEMUN_CONTROL_EXPLAIN_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { EXPLAIN_N_HEADERS_MAX = 100 };

/* The request in question. Texts are borrowed. */
struct explain {
    const char *conf_path;
    const char *url; /* http://host[:port]/path?query, or https:// */
    const char *method;
    const char *source;   /* the client: IP, or IP:port */
    const char *listener; /* NULL: the one that the URL leads to */
    const char *headers[EXPLAIN_N_HEADERS_MAX]; /* "name: value" */
    size_t n_headers;
    bool is_h2;
};

/* The command line after the word "explain"; the exit status. */
int explain_command(int argc, char **argv);
/* Writes to `out`. False with lines in `err` when the conf file has problems or
 * the request is none. */
bool explain_print(const struct explain *e, FILE *out, struct error *err);

#endif
