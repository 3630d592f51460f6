/*
 * h1_fields: the field lines of an HTTP/1.1 head, between h1_parse.c (start
 * lines and what a whole head means) and h1_fields.c (lines, limits, framing
 * fields, trailers). Private to these two. Every thread.
 */
#ifndef DAEMUN_HTTP_H1_FIELDS_H
#define DAEMUN_HTTP_H1_FIELDS_H

#include "http/codec.h"
#include "http/head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { H1_CONNECTION_LINES_MAX = 16 };

/* What is gathered from the field lines before it is judged as a whole. */
struct h1_fields {
    struct head *h;
    const struct codec_limits *limits;
    struct str host;
    struct str length;
    struct str coding;
    struct str expect;
    struct str upgrade;
    struct str connection[H1_CONNECTION_LINES_MAX];
    unsigned n_connection;
    unsigned n_host;
    unsigned n_length;
    unsigned n_coding;
    unsigned n_lines;
    size_t n_bytes;
    uint64_t seen; /* bit per name id */
    bool is_request;
    bool is_length_repeated; /* with a different value */
};

/* The one copy of a head to the arena; NULL at the limit. */
char *h1_fields_copy(struct arena *arena, const void *p, size_t len);
/* The fault of a malformed message of this kind. */
enum fault h1_fields_fault(const struct h1_fields *f);
/*
 * Reads the lines from `p` to `end`, the empty one included, in place. The
 * last byte must be a line feed.
 */
enum fault h1_fields_read(struct h1_fields *f, char *p, char *end);
/* True when a Connection line has the token. */
bool h1_fields_have_token(const struct h1_fields *f, struct str token);
/* Removes what Connection names; reads who wants to close. */
enum fault h1_fields_connection(struct h1_fields *f);
/* R-LEN-1 to R-LEN-7, and their counterparts for responses. */
enum fault h1_fields_framing(struct h1_fields *f);

#endif
