/*
 * io: the two byte transports of a conn. io_plain moves bytes by readv and
 * writev; io_tls by OpenSSL over the same descriptor. Worker thread.
 */
#ifndef DAEMUN_NET_IO_H
#define DAEMUN_NET_IO_H

#include "net/conn.h"

extern const struct io_ops io_plain;
extern const struct io_ops io_tls_server;
extern const struct io_ops io_tls_client;

/* Attaches TLS state before the handshake; takes a reference on `tls`. */
void io_tls_server_init(struct conn *c, struct tls_server *tls);
void io_tls_client_init(struct conn *c, struct tls_client *tls);

#endif
