/*
 * bal_least_request: the endpoint with the least to do for its weight, as
 * counted over all workers. Few endpoints are all looked at. Of many, two are
 * drawn by weight, which avoids the herd that would run to the one best
 * endpoint, and the next few of a cursor that goes round are looked at too:
 * drawing alone leaves some endpoints behind for long (the load of the least
 * loaded falls by the logarithm of n under the mean), the cursor comes by each
 * of them every n / 4 picks. Measured in tests/law/test_law_least_request.c.
 * Invariant: an idle endpoint is better than any busy one, and idle ones share
 * by weight: otherwise the heaviest would get all of a quiet upstream.
 */
#include "base/mem.h"
#include "upstream/balance.h"
#include "upstream/sample.h"

enum {
    LEAST_REQUEST_N_SCANNED = 16, /* up to here all are looked at */
    LEAST_REQUEST_N_ATTEMPTS = 8,
    LEAST_REQUEST_N_VISITED = 4 /* by the cursor */
};

struct least_request {
    struct sample *sample; /* NULL: no endpoint has a weight */
};

/* What an endpoint would have to do with one more: load / weight. */
struct least_request_load {
    uint64_t load;
    uint64_t weight;
};

static void *least_request_build(const struct balance_endpoint *eps,
                                 size_t n,
                                 const struct balance_settings *settings,
                                 struct error *err)
{
    (void)settings;
    (void)err;
    struct least_request *t = mem_new(sizeof *t);
    uint32_t *weights = mem_new_array(n, sizeof *weights);
    for (size_t i = 0; i < n; i++) {
        weights[i] = eps[i].weight;
    }
    t->sample = sample_build(weights, n);
    mem_free(weights);
    return t;
}

static struct least_request_load
least_request_load(const struct balance_endpoint *ep)
{
    const unsigned n = slot_in_flight(ep->slot);
    return (struct least_request_load){n == 0 ? 0 : (uint64_t)n + 1,
                                       ep->weight};
}

/* Below 0 when `a` is better. */
static int least_request_cmp(struct least_request_load a,
                             struct least_request_load b)
{
    const uint64_t x = a.load * b.weight;
    const uint64_t y = b.load * a.weight;
    return (x > y) - (x < y);
}

/*
 * The best of all. Of equal ones each is kept with the chance that its weight
 * has among those seen so far.
 */
static int least_request_scan(const struct balance_endpoint *eps,
                              size_t n,
                              const struct balance_pick *p)
{
    int best = BALANCE_NONE;
    struct least_request_load best_load = {0, 1};
    uint64_t n_weight = 0;
    uint64_t bits = p->random;
    for (size_t i = 0; i < n; i++) {
        if (!balance_is_usable(eps, (int)i, p)) {
            continue;
        }
        const struct least_request_load load = least_request_load(&eps[i]);
        const int order =
            best == BALANCE_NONE ? -1 : least_request_cmp(load, best_load);
        if (order > 0) {
            continue;
        }
        n_weight = order < 0 ? load.weight : n_weight + load.weight;
        bits = sample_mix(bits);
        if (order < 0 || sample_range(bits, n_weight) < load.weight) {
            best = (int)i;
            best_load = load;
        }
    }
    return best;
}

/* The better of two that differ; one if no second one turned up. */
static int least_request_two(const struct least_request *t,
                             const struct balance_endpoint *eps,
                             const struct balance_pick *p)
{
    int first = BALANCE_NONE;
    uint64_t bits = p->random;
    for (unsigned k = 0; k < LEAST_REQUEST_N_ATTEMPTS; k++) {
        const int i = (int)sample_draw(t->sample, bits);
        bits = sample_mix(bits);
        if (i == first || !balance_is_usable(eps, i, p)) {
            continue;
        }
        if (first == BALANCE_NONE) {
            first = i;
            continue;
        }
        const int order = least_request_cmp(least_request_load(&eps[i]),
                                            least_request_load(&eps[first]));
        return order < 0 ? i : first;
    }
    return first;
}

/* The place where this worker's cursor stands; workers start anywhere. */
static size_t least_request_cursor(const struct balance_pick *p, size_t n)
{
    struct balance_cursor *cursor = p->cursor;
    if (cursor->aux == 0) {
        cursor->aux = 1;
        cursor->next = sample_range(sample_mix(~p->random), n);
    }
    return cursor->next < n ? (size_t)cursor->next : 0;
}

/*
 * The best of `best` and the next ones of the cursor. A draw wins a tie, so
 * that idle endpoints share by weight.
 */
static int least_request_visit(const struct balance_endpoint *eps,
                               size_t n,
                               const struct balance_pick *p,
                               int best)
{
    struct least_request_load best_load = least_request_load(&eps[best]);
    size_t at = least_request_cursor(p, n);
    for (unsigned k = 0; k < LEAST_REQUEST_N_VISITED; k++) {
        const struct least_request_load load = least_request_load(&eps[at]);
        if (least_request_cmp(load, best_load) < 0 &&
            balance_is_usable(eps, (int)at, p)) {
            best = (int)at;
            best_load = load;
        }
        at = at + 1 == n ? 0 : at + 1;
    }
    p->cursor->next = at;
    return best;
}

static int least_request_pick(const void *table,
                              const struct balance_endpoint *eps,
                              size_t n,
                              struct balance_pick *p)
{
    const struct least_request *t = table;
    if (t->sample == NULL) {
        return BALANCE_NONE;
    }
    int i = BALANCE_NONE;
    if (n > LEAST_REQUEST_N_SCANNED) {
        i = least_request_two(t, eps, p);
    }
    return i == BALANCE_NONE ? least_request_scan(eps, n, p)
                             : least_request_visit(eps, n, p, i);
}

static void least_request_free(void *table)
{
    struct least_request *t = table;
    mem_free(t->sample);
    mem_free(t);
}

const struct balance_ops bal_least_request = {
    .name = "least_request",
    .build = least_request_build,
    .pick = least_request_pick,
    .free = least_request_free,
};
