/*
 * addr: a socket address (IPv4, IPv6 or a UNIX path) and networks in CIDR
 * form. Values, copied freely; pure functions; every thread.
 */
#ifndef DAEMUN_NET_ADDR_H
#define DAEMUN_NET_ADDR_H

#include "base/error.h"
#include "base/str.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ADDR_TEXT_MAX = 128 };

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t len; /* 0: no address */
};

/* A network: bytes of an address and how many leading bits count. */
struct addr_net {
    int family;
    uint8_t bytes[16];
    unsigned n_bits;
};

/*
 * Reads "1.2.3.4:80", "[::1]:80" or "unix:/path". No names: see addr_split
 * and resolve.h. False without a message when it is not of that form.
 */
bool addr_parse(struct str text, struct addr *a);
/*
 * Splits "host:port", "[v6]:port" into host (without brackets) and port
 * 1..65535. False when there is no valid port or the host is empty.
 */
bool addr_split(struct str text, struct str *host, uint16_t *port);
/* Writes "1.2.3.4:80", "[::1]:80" or "unix:/path"; returns dst. */
const char *addr_print(const struct addr *a, char dst[static ADDR_TEXT_MAX]);
/* Without the port. IPv4-mapped IPv6 is written as IPv4. */
const char *addr_print_host(const struct addr *a,
                            char dst[static ADDR_TEXT_MAX]);
/* Host byte order; 0 for a UNIX address. */
uint16_t addr_port(const struct addr *a);
bool addr_eq(const struct addr *a, const struct addr *b);
/* The raw bytes (4 or 16) of the address for hashing; mapped IPv4 as 4. */
struct str addr_bytes(const struct addr *a);
/* "10.0.0.0/8", "::1", "fd00::/8"; a message in `err` otherwise. */
bool addr_net_parse(struct str text, struct addr_net *net, struct error *err);
/* True when `a` lies in one of the `n` networks (mapped IPv4 counts). */
bool addr_net_has(const struct addr_net *nets, size_t n, const struct addr *a);

#endif
