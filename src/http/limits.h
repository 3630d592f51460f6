/*
 * limits: the bounds of a codec, from the settings. Limits are interned: equal
 * ones are one object, which lives as long as the process, so that a conn may
 * outlive the snapshot it came with. Made on the control thread, read by all.
 */
#ifndef DAEMUN_HTTP_LIMITS_H
#define DAEMUN_HTTP_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* Bounds of one codec. Interned: lives as long as the process. */
struct codec_limits {
    uint32_t head_bytes_max;   /* decoded, +32 per field */
    uint32_t n_fields_max;     /* cookie crumbs count */
    uint32_t field_bytes_max;  /* one value */
    uint32_t target_bytes_max; /* request line, path */
    uint32_t trailer_bytes_max;
    uint32_t n_trailers_max;
    uint32_t head_timeout_ms;  /* first byte to complete head, absolute */
    uint32_t idle_timeout_ms;  /* between requests (server), unused (client) */
    uint32_t write_timeout_ms; /* out queue does not move */
    uint32_t buffer_bytes;     /* per direction and stream */
    uint32_t n_requests_max;   /* per connection, then close / GOAWAY */
    uint32_t age_max_ms;       /* of a connection, 10 % jitter */
    uint32_t n_streams_max;    /* h2: concurrent */
    uint32_t stream_window_bytes;
    uint32_t conn_window_bytes;
    uint32_t conn_buffer_bytes; /* waits to leave, all streams together */
    uint32_t n_glitches_max;    /* bucket of oddities; refills 33 a second */
    uint32_t n_resets_max;      /* bucket of resets; refills 33 a second */
    bool is_underscore_allowed; /* R-HDR-5 */
    bool is_encoded_slash_allowed;
    bool has_prior_knowledge; /* R-LIN-7: h2 preface on a cleartext port */
};

/* Defaults of docs/settings.md; `limits_intern` returns an equal object that
 * lives for ever (control thread). */
struct codec_limits codec_limits_default(void);
const struct codec_limits *codec_limits_intern(const struct codec_limits *l);

#endif
