/*
 * websocket: the opening handshake (RFC 6455 4.2) as a proxy sees it. Pure.
 */
#ifndef DAEMUN_HTTP_WEBSOCKET_H
#define DAEMUN_HTTP_WEBSOCKET_H

#include "http/head.h"

#include <stdbool.h>

/* Request: GET, HTTP/1.1, version 13, a valid key (16 bytes of base64), no
 * body. `upgrade` and `connection` tokens are checked by the parser. */
bool websocket_request_is_valid(const struct head *h);
/* Response 101: the token and the accept hash fit the request's key. */
bool websocket_response_is_valid(const struct head *request,
                                 const struct head *response);

#endif
