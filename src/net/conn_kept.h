/*
 * conn_kept: the bytes of a conn that its owner has not taken, contiguous, so
 * that a parser sees a head in one piece. Part of conn, on its thread; the
 * limit (CONN_KEPT_BYTES_MAX) is kept by whoever reads.
 * Invariant: `kept` is NULL and kept_cap 0 when nothing is kept.
 */
#ifndef DAEMUN_NET_CONN_KEPT_H
#define DAEMUN_NET_CONN_KEPT_H

#include "net/conn.h"

#include <stddef.h>
#include <stdint.h>

/* Copies `len` bytes behind those that are kept. */
void conn_kept_append(struct conn *c, const uint8_t *p, size_t len);
/* Forgets the first `len` bytes (CHECKs that they are there). */
void conn_kept_drop(struct conn *c, size_t len);

#endif
