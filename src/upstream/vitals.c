/*
 * vitals: see vitals.h.
 */
#include "upstream/vitals.h"

#include "upstream/sample.h"

bool vitals_probe(struct vitals *v,
                  bool is_passed,
                  uint32_t rise,
                  uint32_t fall)
{
    const bool is_first = !v->is_judged;
    v->is_judged = true;
    v->n_probes++;
    if (is_passed) {
        v->n_failed = 0;
        v->n_passed++;
        if (!v->is_probed_out || v->n_passed < rise) {
            return false;
        }
        v->is_probed_out = false;
        return true;
    }
    v->n_probes_failed++;
    v->n_passed = 0;
    v->n_failed++;
    if (v->is_probed_out || (!is_first && v->n_failed < fall)) {
        return false;
    }
    v->is_probed_out = true;
    return true;
}

void vitals_forget_probes(struct vitals *v)
{
    v->is_judged = false;
    v->is_probed_out = false;
    v->n_passed = 0;
    v->n_failed = 0;
}

uint32_t vitals_eject(struct vitals *v,
                      uint32_t base_ms,
                      uint32_t max_ms,
                      uint64_t now_ms)
{
    const uint64_t healthy_ms =
        v->return_ms != 0 && now_ms > v->return_ms ? now_ms - v->return_ms : 0;
    const uint64_t n_forgiven = healthy_ms / base_ms;
    v->level -= n_forgiven < v->level ? (uint32_t)n_forgiven : v->level;
    if ((uint64_t)v->level * base_ms < max_ms) {
        v->level++;
    }
    const uint64_t out_ms = (uint64_t)v->level * base_ms;
    const uint32_t time_ms = out_ms < max_ms ? (uint32_t)out_ms : max_ms;
    v->is_ejected = true;
    v->is_spared = false;
    v->n_ejections++;
    v->return_ms = now_ms + time_ms;
    return time_ms;
}

bool vitals_may_eject(uint32_t n, uint32_t n_ejected, uint32_t max_percent)
{
    return ((uint64_t)n_ejected + 1) * 100 <= (uint64_t)n * max_percent;
}

bool vitals_is_panic(uint32_t n, uint32_t n_up, uint32_t min_percent)
{
    return (uint64_t)n_up * 100 < (uint64_t)n * min_percent;
}

uint32_t vitals_held_back(uint64_t elapsed_ms, uint32_t slow_start_ms)
{
    const uint64_t first = VITALS_SHARE * 9 / 10;
    if (elapsed_ms >= slow_start_ms) {
        return 0;
    }
    /* Up: it is 0 at the end only. */
    return (
        uint32_t)((first * (slow_start_ms - elapsed_ms) + slow_start_ms - 1) /
                  slow_start_ms);
}

uint64_t vitals_jitter(uint32_t interval_ms, uint64_t random)
{
    const uint64_t fifth = interval_ms / 5;
    return interval_ms - fifth + sample_range(random, 2 * fifth + 1);
}
