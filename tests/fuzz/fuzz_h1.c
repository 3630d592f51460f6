/*
 * fuzz_h1: the HTTP/1.1 codec on a conn, as a server or as a client. Input: a
 * byte of options, then what the peer sends before its FIN.
 * Law: what owners are told, and what is answered, is the same when the bytes
 * come at once, one by one, and in cuts; each stream ends once. Only how much
 * of a body was told before a fault in it may differ: nobody relies on it.
 */
#include "h1_fixture.h"

#include "fuzz.h"

enum { OUTCOME_MAX = FX_LOG_MAX + 1024, INPUT_MAX = 4096 };

/* What was told and answered. */
struct outcome {
    char text[OUTCOME_MAX];
    size_t len;
};

/* The statuses of what was answered, and what they say of the connection. */
static void outcome_add_answers(struct outcome *o, struct fx *fx)
{
    fx_read(fx);
    fx->raw[fx->raw_len] = '\0';
    for (const char *p = (const char *)fx->raw;
         (p = strstr(p, "HTTP/1.1 ")) != NULL; p += 9) {
        const int n =
            snprintf(o->text + o->len, OUTCOME_MAX - o->len, " %.3s", p + 9);
        CHECK(n > 0 && (size_t)n < OUTCOME_MAX - o->len);
        o->len += (size_t)n;
    }
}

static void fuzz_h1_say(struct fx *fx, struct str text, unsigned cut)
{
    uint64_t seed = fuzz_hash(text.p, text.len);
    for (size_t at = 0; at < text.len;) {
        const size_t left = text.len - at;
        const size_t n = cut == 0 ? left : cut == 1 ? 1 : fuzz_cut(&seed, left);
        if (send(fx->fd, text.p + at, n, MSG_NOSIGNAL) != (ssize_t)n) {
            break;
        }
        at += n;
        fx_turn(fx, 2);
    }
    fx_turn(fx, 4);
    shutdown(fx->fd, SHUT_WR);
    fx_turn(fx, 4);
}

static void fuzz_h1_check_ends(const struct fx *fx)
{
    for (size_t i = 0; i < fx->n_recs; i++) {
        const struct rec *r = &fx->recs[i];
        CHECK(!r->is_end || r->fault == FAULT_NONE ||
              r->fault == FAULT_CLIENT_GONE);
    }
}

static void
fuzz_h1_run(struct outcome *o, uint8_t options, struct str text, unsigned cut)
{
    struct fx *fx = mem_new_raw(sizeof(*fx));
    fx_init(fx, (options & 1) == 0);
    fx->limits.n_requests_max = FX_RECS - 4;
    fx->mode = (options & 2) != 0 ? FX_AT_HEAD : FX_AT_END;
    if ((options & 8) != 0) {
        fx->limits.target_bytes_max = 64;
        fx->limits.head_bytes_max = 1024;
        fx->limits.buffer_bytes = 64;
        fx->limits.trailer_bytes_max = 64;
    }
    fx_start(fx);
    if (!fx->is_server) {
        const char *method = (options & 4) != 0 ? "HEAD" : "GET";
        fx_ask(fx, method, -1, true);
        fx_turn(fx, 2);
    }
    fuzz_h1_say(fx, text, cut);
    fuzz_h1_check_ends(fx);
    CHECK(fx->log_len < FX_LOG_MAX);
    memcpy(o->text, fx->log, fx->log_len);
    o->len = fx->log_len;
    if (fx->is_server) {
        outcome_add_answers(o, fx);
    }
    o->text[o->len] = '\0';
    fx_fini(fx);
    mem_free(fx);
}

static bool outcome_is_same(const struct outcome *a, const struct outcome *b)
{
    if (strcmp(a->text, b->text) == 0) {
        return true;
    }
    const char *fault_a = strrchr(a->text, '!');
    const char *fault_b = strrchr(b->text, '!');
    if (fault_a == NULL || fault_b == NULL || strcmp(fault_a, fault_b) != 0) {
        return false;
    }
    const size_t n_a = (size_t)(fault_a - a->text);
    const size_t n_b = (size_t)(fault_b - b->text);
    return memcmp(a->text, b->text, n_a < n_b ? n_a : n_b) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz in = {data, size};
    const uint8_t options = fuzz_byte(&in);
    const struct str text = fuzz_take(&in, INPUT_MAX);
    struct outcome *whole = mem_new_raw(sizeof(*whole));
    struct outcome *cut = mem_new_raw(sizeof(*cut));
    fuzz_h1_run(whole, options, text, 0);
    for (unsigned way = 1; way <= 2; way++) {
        if (way == 1 && text.len > 512) {
            continue; /* byte by byte costs a turn of the loop for each */
        }
        fuzz_h1_run(cut, options, text, way);
        if (!outcome_is_same(whole, cut)) {
            fprintf(stderr, "at once: %s\nin cuts: %s\n", whole->text,
                    cut->text);
            check_fail("the same however it is cut", __FILE__, __LINE__);
        }
    }
    mem_free(whole);
    mem_free(cut);
    return 0;
}
