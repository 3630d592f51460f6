/*
 * tls: what a listener or an upstream needs to speak TLS. A tls_server holds
 * the certificates of one listener (by SNI) and a tls_client what to verify.
 * Both are built on the control thread, immutable afterwards except for ticket
 * keys, shared by all workers, and counted by reference (atomic, once per
 * connection), because a handshake may outlive its snapshot.
 * TLS 1.2 and 1.3 only; suites, groups and options as in docs/design.md.
 */
#ifndef DAEMUN_NET_TLS_H
#define DAEMUN_NET_TLS_H

#include "base/error.h"
#include "base/str.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_server;
struct tls_client;
struct tls_tickets;

enum tls_client_auth {
    TLS_CLIENT_AUTH_OFF,
    TLS_CLIENT_AUTH_OPTIONAL,
    TLS_CLIENT_AUTH_REQUIRED
};

/* One chain and key, in PEM files, or in memory (Kubernetes). */
struct tls_pair {
    const char *chain_path;
    const char *key_path;
    struct str chain_pem; /* used when chain_path is NULL */
    struct str key_pem;
};

struct tls_server_settings {
    const char *name; /* of the listener: part of the session id context */
    const struct tls_pair *pairs;
    size_t n_pairs;     /* the first one is the default certificate */
    bool is_sni_strict; /* unknown SNI: alert unrecognized_name */
    enum tls_client_auth client_auth;
    const char *client_ca_path;
    bool has_h2; /* offer h2 by ALPN */
    bool has_http1;
    bool is_http1_first;         /* preferred where the client offers both */
    int min_version;             /* TLS1_2_VERSION or TLS1_3_VERSION */
    struct tls_tickets *tickets; /* borrowed: lives as long as the process */
};

struct tls_client_settings {
    const char *ca_path;     /* NULL: the system's roots */
    const char *server_name; /* SNI and name to verify; may be an address */
    bool is_verify_off;
    const char *chain_path; /* client certificate, or NULL */
    const char *key_path;
    bool has_h2; /* offer h2 */
    bool has_http1;
};

/*
 * Control thread. NULL with lines in `err` that name file and problem (file
 * missing, not PEM, key does not match, expired is a warning in the log).
 * The caller holds the one reference.
 */
struct tls_server *tls_server_new(const struct tls_server_settings *settings,
                                  struct error *err);
struct tls_client *tls_client_new(const struct tls_client_settings *settings,
                                  struct error *err);
void tls_server_ref(struct tls_server *t);
void tls_server_unref(struct tls_server *t);
void tls_client_ref(struct tls_client *t);
void tls_client_unref(struct tls_client *t);
/* True when one certificate of the listener covers `host` as well as SNI's
 * (R-HST-5): both names select the same certificate. */
bool tls_server_covers(const struct tls_server *t,
                       struct str sni,
                       struct str host);
/* Lower-case hex SHA-256 of everything that decides whom this client trusts:
 * part of the key of a connection pool. 64 characters. */
struct str tls_client_identity(const struct tls_client *t);

/*
 * Ticket keys: three of them, newest first; rotated every `rotate_seconds` by
 * tls_tickets_rotate (control thread, timer), or read from a file shared by
 * replicas (each line or 48/80 raw bytes a key; first encrypts). Own keys live
 * as long as the process, so that resumption survives a reload.
 */
struct tls_tickets *tls_tickets_new(void);
void tls_tickets_free(struct tls_tickets *t);
void tls_tickets_rotate(struct tls_tickets *t);
bool tls_tickets_load(struct tls_tickets *t,
                      const char *path,
                      struct error *err);
/* Takes the keys of `from` over: the half of loading that cannot fail. */
void tls_tickets_copy(struct tls_tickets *t, const struct tls_tickets *from);

/* New SSL objects, ready for SSL_set_fd. Worker thread. */
SSL *tls_server_ssl_new(struct tls_server *t);
SSL *tls_client_ssl_new(struct tls_client *t);
/* Before the handshake: offers HTTP/1.1 alone, whatever the client offers
 * otherwise. */
void tls_offer_http1(SSL *ssl);
/* The verified client certificate's subject (RFC 2253, one line) and its
 * SHA-256 fingerprint in hex; false when there is none. */
bool tls_peer_subject(SSL *ssl,
                      char *subject,
                      size_t size,
                      char fingerprint[static 65]);
/* Whether this handshake resumed a session. */
bool tls_is_resumed(SSL *ssl);

#endif
