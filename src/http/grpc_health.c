/*
 * grpc_health: see grpc_health.h. A message is a flag byte (0: not compressed),
 * its length in four bytes, and protocol buffers: the request has the string
 * `service` as field 1, the response the enum `status` as field 1.
 */
#include "http/grpc_health.h"

#include "base/check.h"

#include <string.h>

enum { GRPC_HEALTH_PREFIX_BYTES = 5 };

size_t grpc_health_request(struct str service,
                           uint8_t dst[static GRPC_HEALTH_REQUEST_BYTES_MAX])
{
    CHECK(service.len <= GRPC_HEALTH_SERVICE_BYTES_MAX);
    uint8_t *at = dst + GRPC_HEALTH_PREFIX_BYTES;
    if (service.len > 0) {
        *at++ = 1 << 3 | 2; /* field 1, length-delimited */
        if (service.len >= 128) {
            *at++ = (uint8_t)(0x80 | (service.len & 0x7f));
            *at++ = (uint8_t)(service.len >> 7);
        } else {
            *at++ = (uint8_t)service.len;
        }
        memcpy(at, service.p, service.len);
        at += service.len;
    }
    const size_t len = (size_t)(at - dst) - GRPC_HEALTH_PREFIX_BYTES;
    memset(dst, 0, GRPC_HEALTH_PREFIX_BYTES);
    dst[3] = (uint8_t)(len >> 8);
    dst[4] = (uint8_t)len;
    return (size_t)(at - dst);
}

/* What is left to read. */
struct grpc_health_in {
    const uint8_t *p;
    size_t len;
};

static bool grpc_health_varint(struct grpc_health_in *in, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
        const uint8_t byte = *in->p;
        in->p++;
        in->len--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return false;
}

/* Passes over a field that we do not know, by its wire type. */
static bool grpc_health_skip(struct grpc_health_in *in, unsigned wire_type)
{
    uint64_t n = 0;
    switch (wire_type) {
    case 0:
        return grpc_health_varint(in, &n);
    case 1:
        n = 8;
        break;
    case 2:
        if (!grpc_health_varint(in, &n)) {
            return false;
        }
        break;
    case 5:
        n = 4;
        break;
    default:
        return false;
    }
    if (n > in->len) {
        return false;
    }
    in->p += n;
    in->len -= (size_t)n;
    return true;
}

enum grpc_health grpc_health_response(const uint8_t *p, size_t len)
{
    uint64_t status = GRPC_HEALTH_UNKNOWN;
    if (len < GRPC_HEALTH_PREFIX_BYTES || p[0] != 0) {
        return GRPC_HEALTH_MALFORMED;
    }
    const uint32_t n = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 |
                       (uint32_t)p[3] << 8 | p[4];
    if (n != len - GRPC_HEALTH_PREFIX_BYTES) {
        return GRPC_HEALTH_MALFORMED;
    }
    struct grpc_health_in in = {p + GRPC_HEALTH_PREFIX_BYTES, n};
    while (in.len > 0) {
        uint64_t tag;
        if (!grpc_health_varint(&in, &tag)) {
            return GRPC_HEALTH_MALFORMED;
        }
        const bool is_status = tag == 1 << 3;
        if (is_status ? !grpc_health_varint(&in, &status)
                      : !grpc_health_skip(&in, (unsigned)(tag & 7))) {
            return GRPC_HEALTH_MALFORMED;
        }
    }
    return status <= GRPC_HEALTH_SERVICE_UNKNOWN ? (enum grpc_health)status
                                                 : GRPC_HEALTH_UNKNOWN;
}

const char *grpc_health_name(enum grpc_health status)
{
    switch (status) {
    case GRPC_HEALTH_MALFORMED:
        return "malformed";
    case GRPC_HEALTH_UNKNOWN:
        return "UNKNOWN";
    case GRPC_HEALTH_SERVING:
        return "SERVING";
    case GRPC_HEALTH_NOT_SERVING:
        return "NOT_SERVING";
    case GRPC_HEALTH_SERVICE_UNKNOWN:
        return "SERVICE_UNKNOWN";
    }
    return "UNKNOWN";
}
