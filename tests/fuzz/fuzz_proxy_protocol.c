/*
 * fuzz_proxy_protocol: the PROXY header, versions 1 and 2. Input: its bytes.
 * Laws: the verdict on a prefix is MORE or that on the whole; a header ends
 * where the prefix that completed it ended; addresses can be printed and read.
 */
#include "fuzz.h"
#include "net/proxy_protocol.h"

static void proxy_protocol_check_addr(const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    struct addr again;
    if (a->len == 0) {
        return;
    }
    addr_print(a, text);
    CHECK(strlen(text) < ADDR_TEXT_MAX);
    if (a->sa.sa_family != AF_UNIX && addr_port(a) > 0) {
        CHECK(addr_parse(str_from(text), &again));
        CHECK(addr_port(&again) == addr_port(a));
    }
    addr_print_host(a, text);
    addr_bytes(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_protocol whole = {.version = 0};
    const enum proxy_protocol_result r =
        proxy_protocol_parse(data, size, &whole);
    if (r == PROXY_PROTOCOL_OK) {
        CHECK(whole.header_len > 0 && whole.header_len <= size);
        CHECK(whole.header_len <= PROXY_PROTOCOL_BYTES_MAX);
        CHECK(whole.version == 1 || whole.version == 2);
        CHECK((whole.source.len == 0) == (whole.destination.len == 0));
        proxy_protocol_check_addr(&whole.source);
        proxy_protocol_check_addr(&whole.destination);
    }
    CHECK(r != PROXY_PROTOCOL_MORE || size < PROXY_PROTOCOL_BYTES_MAX);
    for (size_t n = 0; n < size && n < 512; n++) {
        struct proxy_protocol part = {.version = 0};
        const struct str exact = fuzz_copy(str_make((const char *)data, n));
        const enum proxy_protocol_result got =
            proxy_protocol_parse((const uint8_t *)exact.p, n, &part);
        fuzz_free(exact);
        CHECK(got == PROXY_PROTOCOL_MORE || got == r);
        if (got == PROXY_PROTOCOL_OK) {
            CHECK(part.header_len == whole.header_len && part.header_len == n);
            break;
        }
        if (got == PROXY_PROTOCOL_BAD) {
            break;
        }
    }
    return 0;
}
