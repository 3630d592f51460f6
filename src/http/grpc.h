/*
 * grpc: timeouts, status and messages of gRPC over HTTP/2 (PROTOCOL-HTTP2.md
 * of gRPC). Pure over text and heads; every thread.
 */
#ifndef DAEMUN_HTTP_GRPC_H
#define DAEMUN_HTTP_GRPC_H

#include "base/str.h"
#include "http/head.h"

#include <stdbool.h>
#include <stdint.h>

/* content-type is application/grpc, +proto, +json, ;params (not grpc-web). */
bool grpc_content_type(struct str value);
/* "1H 1M 1S 1m 1u 1n", 1 to 8 digits; microseconds, 0 for sub-microsecond
 * values rounds up to 1. False: malformed. */
bool grpc_timeout_parse(struct str value, uint64_t *timeout_us);
/* Writes a timeout of at most 8 digits into dst (16 bytes); returns it. */
struct str grpc_timeout_print(uint64_t timeout_us, char dst[static 16]);
/*
 * Turns `h` into a trailers-only response: status 200, content-type
 * application/grpc, grpc-status, grpc-message (percent-encoded).
 */
bool grpc_reply(struct head *h, int grpc_status, struct str message);
/* Percent-encodes a grpc-message into the arena. */
struct str grpc_message_encode(struct arena *arena, struct str message);
/* The code for an HTTP status that came without grpc-status
 * (http-grpc-status-mapping.md). */
int grpc_status_of_http(int http_status);
/* grpc-status of trailers or a trailers-only head; -1 when there is none. */
int grpc_status_find(const struct head *h);

/* The number of a code by its name in lower case ("unavailable"); -1: none. */
int grpc_code_find(struct str name);

#endif
