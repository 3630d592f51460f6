/*
 * fuzz_tls_tickets: a file of session ticket keys. Input: the file.
 * Laws: a file that is refused changes nothing and says why; one that is taken
 * gives one to three whole keys.
 */
#include "net/tls_tickets.c"

#include "fuzz.h"

static struct tls_tickets *tickets;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    if (tickets == NULL) {
        tickets = tls_tickets_new();
    }
    const struct tls_tickets_set before = *tls_tickets_get(tickets);
    struct fuzz_file f = fuzz_file_open(str_make((const char *)data, size));
    const bool is_good = tls_tickets_load(tickets, f.path, &err);
    fuzz_file_close(&f);
    const struct tls_tickets_set *now = tls_tickets_get(tickets);
    CHECK(is_good == (err.n_problems == 0));
    if (!is_good) {
        CHECK(memcmp(&before, now, sizeof(before)) == 0);
    }
    CHECK(now->n_keys >= 1 && now->n_keys <= TLS_TICKETS_N_KEYS);
    for (size_t i = 0; i < now->n_keys; i++) {
        CHECK(now->keys[i].half_len == 32 || now->keys[i].half_len == 16);
    }
    error_fini(&err);
    return 0;
}
