/*
 * tls_tickets: the keys of session tickets, as a context needs them. Private
 * to net/; see tls.h for the calls that others make.
 */
#ifndef DAEMUN_NET_TLS_TICKETS_H
#define DAEMUN_NET_TLS_TICKETS_H

#include "net/tls.h"

/* Tickets of `ctx` are made and read with these keys. */
void tls_tickets_attach(struct tls_tickets *t, SSL_CTX *ctx);

#endif
