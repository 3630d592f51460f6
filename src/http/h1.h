/*
 * h1: parsing and writing HTTP/1.1 heads and chunks (RFC 9112; rules R-LIN,
 * R-TGT, R-HDR, R-LEN, R-CHK). Pure functions over bytes; the codec on a conn
 * is in h1_codec.c (see codec.h, h1_new). Every thread.
 */
#ifndef DAEMUN_HTTP_H1_H
#define DAEMUN_HTTP_H1_H

#include "base/buf.h"
#include "base/fault.h"
#include "http/codec.h"
#include "http/head.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Length of the head at the front of the bytes (up to and with the empty
 * line), 0 when incomplete. *scan_from remembers how far was looked, so that a
 * head that comes byte by byte costs linear time; set it to 0 for a new head.
 */
size_t h1_head_len(const uint8_t *p, size_t len, size_t *scan_from);
/*
 * Judges the bytes of a head that is not complete yet: FAULT_NONE while it may
 * still become one, else what the parser would say of it (so that garbage, an
 * endless line or an endless head need not wait for a timeout).
 */
enum fault h1_head_partial(const uint8_t *p,
                           size_t len,
                           bool is_request,
                           const struct codec_limits *limits);
/*
 * Parses a complete request head into `h` (text copied to h->arena). `scheme`
 * is that of the listener. Framing fields go to typed members, the rest to
 * fields. FAULT_NONE or the fault to answer.
 */
enum fault h1_parse_request(struct head *h,
                            const uint8_t *p,
                            size_t len,
                            struct str scheme,
                            const struct codec_limits *limits);
/* The same for a response to a request of method `m`; FAULT_BAD_RESPONSE. */
enum fault h1_parse_response(struct head *h,
                             const uint8_t *p,
                             size_t len,
                             enum method m,
                             const struct codec_limits *limits);

/* Chunked decoding, incremental. */
struct h1_chunks {
    uint64_t left;       /* bytes of data left in this chunk */
    uint64_t data_bytes; /* all data so far */
    uint64_t wire_bytes; /* all bytes so far (R-CHK-5) */
    uint32_t line_len;
    uint8_t state;
    uint8_t n_digits;
    uint8_t extension_state;
};
enum h1_chunk_result {
    H1_CHUNK_MORE,    /* all consumed, more needed */
    H1_CHUNK_DATA,    /* *data holds a piece of the body */
    H1_CHUNK_TRAILER, /* last chunk seen: the trailer section is next */
    H1_CHUNK_BAD
};
void h1_chunks_init(struct h1_chunks *ch);
/* Consumes from the front: *used bytes; delivers at most one piece. */
enum h1_chunk_result h1_chunks_next(struct h1_chunks *ch,
                                    const uint8_t *p,
                                    size_t len,
                                    size_t *used,
                                    struct str *data);
/* Parses a complete trailer section (ends in an empty line, which may be all
 * there is); filters by 5.7 into `t`. */
enum fault h1_parse_trailers(struct head *t,
                             const uint8_t *p,
                             size_t len,
                             const struct codec_limits *limits);

/* How the body of a message that we write is framed. */
enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE };
/* Writes a request head; chunked when length is unknown and !is_end. */
enum h1_framing
h1_write_request(struct buf *out, const struct head *h, bool is_end);
/*
 * Writes a response head for a client of `client_version` to a request of
 * method `m`. `is_close`: say Connection: close (or, to 1.0 clients that asked
 * for it and may keep the connection, keep-alive).
 */
enum h1_framing h1_write_response(struct buf *out,
                                  const struct head *h,
                                  enum method m,
                                  uint8_t client_version,
                                  bool is_close,
                                  bool is_end);
/* Writes the last chunk and the trailer section. */
void h1_write_trailers(struct buf *out, const struct head *t);
/* The reason phrase of a status; "" for unknown ones. */
struct str h1_reason(int status);

#endif
