/*
 * grpc_health: the two messages of grpc.health.v1.Health/Check, framed as gRPC
 * sends them. Pure over bytes; every thread.
 */
#ifndef DAEMUN_HTTP_GRPC_HEALTH_H
#define DAEMUN_HTTP_GRPC_HEALTH_H

#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum {
    GRPC_HEALTH_SERVICE_BYTES_MAX = 255,
    GRPC_HEALTH_REQUEST_BYTES_MAX = 5 + 3 + GRPC_HEALTH_SERVICE_BYTES_MAX,
    GRPC_HEALTH_RESPONSE_BYTES_MAX = 256
};

/* ServingStatus; MALFORMED is ours. */
enum grpc_health {
    GRPC_HEALTH_MALFORMED = -1,
    GRPC_HEALTH_UNKNOWN = 0,
    GRPC_HEALTH_SERVING = 1,
    GRPC_HEALTH_NOT_SERVING = 2,
    GRPC_HEALTH_SERVICE_UNKNOWN = 3
};

/* Writes the request for `service` (CHECKs its length); returns its length. */
size_t grpc_health_request(struct str service,
                           uint8_t dst[static GRPC_HEALTH_REQUEST_BYTES_MAX]);
/* The status in a whole response. Values of later versions: UNKNOWN. */
enum grpc_health grpc_health_response(const uint8_t *p, size_t len);
/* "SERVING" and the like. */
const char *grpc_health_name(enum grpc_health status);

#endif
