/*
 * proxy_protocol: the PROXY header, version 1 and 2, that a load balancer in
 * front of us sends before everything else (HAProxy's specification,
 * proxy-protocol.txt of 2020/03/05, sections 2.1 and 2.2). Pure function over
 * bytes; any doubt is BAD and closes the connection.
 */
#ifndef DAEMUN_NET_PROXY_PROTOCOL_H
#define DAEMUN_NET_PROXY_PROTOCOL_H

#include "net/addr.h"

#include <stddef.h>
#include <stdint.h>

enum proxy_protocol_result {
    PROXY_PROTOCOL_MORE, /* not complete yet, nothing wrong so far */
    PROXY_PROTOCOL_OK,
    PROXY_PROTOCOL_BAD
};

enum { PROXY_PROTOCOL_BYTES_MAX = 16 + 4096 };

struct proxy_protocol {
    struct addr source; /* len 0: LOCAL or UNKNOWN: keep the socket's */
    struct addr destination;
    size_t header_len;
    uint8_t version; /* 1 or 2 */
};

enum proxy_protocol_result
proxy_protocol_parse(const uint8_t *p, size_t len, struct proxy_protocol *out);

#endif
