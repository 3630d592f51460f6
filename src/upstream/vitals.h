/*
 * vitals: what is known about the health of an endpoint, and the arithmetic of
 * what follows: when probes take it out and let it in again, how long it stays
 * ejected, how its share grows in slow start, and when an upstream fails open.
 * Pure over these numbers; control thread. Vitals lie in the scoreboard's slot,
 * so that they survive reloads; workers see their outcome only (is_down,
 * is_panic, held_back of the slot).
 */
#ifndef DAEMUN_UPSTREAM_VITALS_H
#define DAEMUN_UPSTREAM_VITALS_H

#include <stdbool.h>
#include <stdint.h>

/* The whole share of an endpoint; in slow start a part of it is held back. */
enum { VITALS_SHARE = 1024 };

struct vitals {
    bool is_judged;     /* a probe has decided once */
    bool is_probed_out; /* by probes */
    bool is_ejected;    /* by failed requests */
    bool is_spared;     /* it would be ejected, but enough others are */
    uint32_t n_passed;  /* probes in a row */
    uint32_t n_failed;
    uint32_t level;      /* ejections that still count for the next one */
    uint64_t changed_ms; /* when it went down or came up; 0: never */
    uint64_t return_ms;  /* when the last ejection ends or ended; 0: never */
    uint64_t slow_ms;    /* when its slow start began; 0: none */
    uint64_t n_probes;
    uint64_t n_probes_failed;
    uint64_t n_ejections;
    /* Of a whole upstream: endpoints that take new requests. */
    uint32_t n_endpoints;
    uint32_t n_up;
};

/*
 * A probe has ended. True when it takes the endpoint out or lets it in: after
 * `fall` failures or `rise` passes in a row, but the very first probe decides
 * alone.
 */
bool vitals_probe(struct vitals *v,
                  bool is_passed,
                  uint32_t rise,
                  uint32_t fall);
/* Probes are over: what they said counts no more. */
void vitals_forget_probes(struct vitals *v);
/*
 * Ejects; returns for how long: base_ms times the ejections that still count,
 * at most max_ms. Each base_ms in service takes one of them back.
 */
uint32_t vitals_eject(struct vitals *v,
                      uint32_t base_ms,
                      uint32_t max_ms,
                      uint64_t now_ms);
/* May one more of `n` endpoints be ejected when `n_ejected` are? */
bool vitals_may_eject(uint32_t n, uint32_t n_ejected, uint32_t max_percent);
/* Fewer are up than the floor. */
bool vitals_is_panic(uint32_t n, uint32_t n_up, uint32_t min_percent);
/* What is held back of VITALS_SHARE: 90 % at first, falling evenly to 0. */
uint32_t vitals_held_back(uint64_t elapsed_ms, uint32_t slow_start_ms);
/* An interval give or take 20 %, by 64 random bits. */
uint64_t vitals_jitter(uint32_t interval_ms, uint64_t random);

#endif
