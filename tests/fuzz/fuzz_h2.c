/*
 * fuzz_h2: the HTTP/2 codec on a conn, as a server or as a client, before a
 * peer that speaks frames. Input: a byte of options, then, as the options say,
 * bytes as they are or frames without their length: type, flags, stream,
 * length of one byte, payload.
 * Laws: what the codec sends is lawful (h2_wire.h); owners are told of one end
 * each, a fault or the whole message; when the peer is gone nothing is left.
 */
#include "h2_fixture.h"

#include "fuzz.h"
#include "h2_wire.h"

enum {
    SERVER = 1, /* options */
    CUT = 2,    /* the bytes come in pieces */
    FRAMES = 4, /* framed by us */
    EARLY = 8,  /* answers come with the head */
    SLOW = 16,  /* no credit is given */
    HELLO = 32, /* preface and SETTINGS are ours */
    CLOSE = 64, /* the owner closes with the first data */
    INPUT_MAX = 4096,
    REQUESTS = 3, /* of the client */
};

static bool is_early;

static void fuzz_h2_serve(struct rec *r, bool is_end)
{
    static const uint8_t body[] = "okok";
    if (r->s == NULL || r->s->is_out_begun || (!is_end && !is_early)) {
        return;
    }
    if (r->s->method == METHOD_HEAD) {
        stream_send_head(r->s, fx_response(&r->arena, 200), true);
        return;
    }
    stream_send_head(r->s, fx_response(&r->arena, 200), false);
    stream_send_data(r->s, body, 4, false);
    stream_send_data(r->s, body, 4, true);
}

/* As many requests as the peer takes by now: one before its SETTINGS. */
static void fuzz_h2_ask(struct fx *fx)
{
    static const char *const methods[REQUESTS] = {"GET", "HEAD", "POST"};
    while (fx->client != NULL && fx->n_recs < REQUESTS &&
           codec_capacity(fx->client) > 0) {
        struct rec *r = &fx->recs[fx->n_recs++];
        fx_open(fx, r, methods[fx->n_recs - 1], "/", fx->n_recs != REQUESTS);
    }
    fx_turn(fx, 2);
}

static void fuzz_h2_send(struct fx *fx, const uint8_t *p, size_t len, bool cut)
{
    uint64_t seed = fuzz_hash(p, len);
    for (size_t at = 0; at < len;) {
        const size_t left = len - at;
        const size_t n = cut ? fuzz_cut(&seed, left) : left;
        const ssize_t sent =
            send(fx->raw_fd, p + at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        fuzz_h2_ask(fx);
        if (sent <= 0) {
            return;
        }
        at += (size_t)sent;
    }
    fx_turn(fx, 3);
}

/* Frames with the right length in their heads. */
static void fuzz_h2_build(struct wire *w, struct fuzz *in)
{
    while (in->len > 0 && w->len < sizeof(w->bytes) - 1024) {
        const uint8_t type = fuzz_byte(in);
        const uint8_t flags = fuzz_byte(in);
        const uint8_t id = fuzz_byte(in);
        const struct str payload = fuzz_take(in, fuzz_byte(in));
        wire_frame(w, type, flags, id, payload.p, payload.len);
    }
}

static void fuzz_h2_hello(struct wire *w, bool is_server)
{
    if (is_server) {
        wire_preface(w);
    } else {
        wire_frame(w, 4, 0, 0, NULL, 0);
    }
}

static void fuzz_h2_check(struct fx *fx, bool is_server)
{
    struct h2_wire *w = mem_new(sizeof(*w));
    w->is_server = is_server;
    h2_wire_read(w, fx->raw, fx->raw_len);
    h2_wire_fini(w);
    mem_free(w);
    for (size_t i = 0; i < fx->n_recs; i++) {
        const struct rec *r = &fx->recs[i];
        CHECK(r->n_ends <= 1 && r->n_faults <= 1);
        /* Nobody is left waiting when the connection has gone. */
        CHECK(fx->server != NULL || fx->client != NULL || r->s == NULL ||
              r->n_ends + r->n_faults > 0);
    }
}

static void fuzz_h2_leave(struct fx *fx)
{
    shutdown(fx->raw_fd, SHUT_WR);
    fx_turn(fx, 4);
    for (int i = 0; i < 2; i++) {
        if (fx->conns[i] != NULL) {
            conn_close(fx->conns[i], CONN_CLOSED_BY_US);
        }
    }
    fx_turn(fx, 3);
    CHECK(fx->server == NULL && fx->client == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size < INPUT_MAX ? size : INPUT_MAX};
    const uint8_t options = fuzz_byte(&in);
    const bool is_server = (options & SERVER) != 0;
    struct wire *w = mem_new(sizeof(*w));
    struct fx *fx = fx_prepare();
    fx->limits[1].n_requests_max = FX_RECS_MAX - 10;
    fx->serve = fuzz_h2_serve;
    is_early = (options & EARLY) != 0;
    fx->is_credit_held = (options & SLOW) != 0;
    fx->want_close_on_data = (options & CLOSE) != 0;
    fx_raw(fx, is_server);
    if ((options & HELLO) != 0) {
        fuzz_h2_hello(w, is_server);
    }
    if ((options & FRAMES) != 0) {
        fuzz_h2_build(w, &in);
    } else {
        wire_add(w, in.p, in.len);
    }
    fuzz_h2_ask(fx);
    fuzz_h2_send(fx, w->bytes, w->len, (options & CUT) != 0);
    fuzz_h2_leave(fx);
    fuzz_h2_check(fx, is_server);
    fx_free(fx);
    mem_free(w);
    return 0;
}
