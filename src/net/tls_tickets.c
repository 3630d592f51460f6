/*
 * tls_tickets: keys that seal session tickets: three of them, newest first. A
 * ticket under an older key is honoured and renewed.
 *
 * The control thread rotates or loads; workers read within handshakes, without
 * a lock: a new set is written into the next of several slots and published
 * by one store. A slot is written again only TLS_TICKETS_N_SLOTS changes
 * later; were a worker asleep in the middle of a copy for that long, one
 * handshake would merely not resume.
 */
#define _GNU_SOURCE
#include "net/tls_tickets.h"

#include "base/check.h"
#include "base/mem.h"
#include "net/tls_cert.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdatomic.h>

enum {
    TLS_TICKETS_N_KEYS = 3,
    TLS_TICKETS_N_SLOTS = 8,
    TLS_TICKETS_NAME_LEN = 16,
    TLS_TICKETS_KEY_LEN = 80,       /* name 16, HMAC 32, AES-256 32 */
    TLS_TICKETS_SHORT_KEY_LEN = 48, /* name 16, HMAC 16, AES-128 16 */
    TLS_TICKETS_LINE_MAX = 256,
};

struct tls_tickets_key {
    uint8_t name[TLS_TICKETS_NAME_LEN];
    uint8_t hmac[32];
    uint8_t aes[32];
    size_t half_len; /* of hmac and aes: 32 or 16 */
};

struct tls_tickets_set {
    struct tls_tickets_key keys[TLS_TICKETS_N_KEYS];
    size_t n_keys;
};

struct tls_tickets {
    struct tls_tickets_set slots[TLS_TICKETS_N_SLOTS];
    atomic_uint current; /* index of the slot in use */
};

static const struct tls_tickets_set *
tls_tickets_get(const struct tls_tickets *t)
{
    return &t->slots[atomic_load_explicit(&t->current, memory_order_acquire)];
}

static void tls_tickets_publish(struct tls_tickets *t,
                                const struct tls_tickets_set *set)
{
    unsigned next = atomic_load_explicit(&t->current, memory_order_relaxed);
    next = (next + 1) % TLS_TICKETS_N_SLOTS;
    t->slots[next] = *set;
    atomic_store_explicit(&t->current, next, memory_order_release);
}

static void tls_tickets_make_key(struct tls_tickets_key *key)
{
    key->half_len = sizeof(key->aes);
    CHECK(RAND_bytes(key->name, sizeof(key->name)) == 1);
    CHECK(RAND_priv_bytes(key->hmac, sizeof(key->hmac)) == 1);
    CHECK(RAND_priv_bytes(key->aes, sizeof(key->aes)) == 1);
}

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *t = mem_new(sizeof(*t));
    atomic_init(&t->current, 0);
    tls_tickets_make_key(&t->slots[0].keys[0]);
    t->slots[0].n_keys = 1;
    return t;
}

void tls_tickets_free(struct tls_tickets *t)
{
    if (t == NULL) {
        return;
    }
    OPENSSL_cleanse(t, sizeof(*t));
    mem_free(t);
}

void tls_tickets_rotate(struct tls_tickets *t)
{
    const struct tls_tickets_set *old = tls_tickets_get(t);
    struct tls_tickets_set set = {.n_keys = old->n_keys + 1};
    if (set.n_keys > TLS_TICKETS_N_KEYS) {
        set.n_keys = TLS_TICKETS_N_KEYS;
    }
    tls_tickets_make_key(&set.keys[0]);
    memcpy(&set.keys[1], &old->keys[0], (set.n_keys - 1) * sizeof(set.keys[0]));
    tls_tickets_publish(t, &set);
    OPENSSL_cleanse(&set, sizeof(set));
}

/* ---- keys from a file --------------------------------------------------- */

static bool
tls_tickets_add_key(struct tls_tickets_set *set, const uint8_t *p, size_t len)
{
    if (len != TLS_TICKETS_KEY_LEN && len != TLS_TICKETS_SHORT_KEY_LEN) {
        return false;
    }
    if (set->n_keys == TLS_TICKETS_N_KEYS) {
        return true; /* older ones than we honour */
    }
    struct tls_tickets_key *key = &set->keys[set->n_keys++];
    memset(key, 0, sizeof(*key));
    key->half_len = (len - TLS_TICKETS_NAME_LEN) / 2;
    memcpy(key->name, p, TLS_TICKETS_NAME_LEN);
    memcpy(key->hmac, p + TLS_TICKETS_NAME_LEN, key->half_len);
    memcpy(key->aes, p + TLS_TICKETS_NAME_LEN + key->half_len, key->half_len);
    return true;
}

/* One line of base64. */
static bool tls_tickets_add_line(struct tls_tickets_set *set, struct str line)
{
    uint8_t raw[TLS_TICKETS_LINE_MAX];
    if (line.len % 4 != 0 || line.len > TLS_TICKETS_LINE_MAX) {
        return false;
    }
    const int n =
        EVP_DecodeBlock(raw, (const unsigned char *)line.p, (int)line.len);
    if (n < 0) {
        return false;
    }
    /* EVP_DecodeBlock counts the padding as bytes. */
    size_t len = (size_t)n;
    for (size_t i = line.len; i > 0 && line.p[i - 1] == '='; i--) {
        len -= len > 0;
    }
    const bool is_good = tls_tickets_add_key(set, raw, len);
    OPENSSL_cleanse(raw, sizeof(raw));
    return is_good;
}

static bool tls_tickets_read_lines(struct tls_tickets_set *set, struct str text)
{
    struct str line;
    set->n_keys = 0;
    while (str_split(&text, '\n', &line)) {
        if (line.len > 0 && line.p[line.len - 1] == '\r') {
            line.len--;
        }
        line = str_trim(line);
        if (line.len > 0 && !tls_tickets_add_line(set, line)) {
            return false;
        }
    }
    return set->n_keys > 0;
}

static bool tls_tickets_read_raw(struct tls_tickets_set *set, struct str bytes)
{
    size_t key_len = TLS_TICKETS_KEY_LEN;
    if (bytes.len % key_len != 0) {
        key_len = TLS_TICKETS_SHORT_KEY_LEN;
    }
    set->n_keys = 0;
    if (bytes.len == 0 || bytes.len % key_len != 0) {
        return false;
    }
    for (size_t at = 0; at < bytes.len; at += key_len) {
        tls_tickets_add_key(set, (const uint8_t *)bytes.p + at, key_len);
    }
    return true;
}

bool tls_tickets_load(struct tls_tickets *t,
                      const char *path,
                      struct error *err)
{
    struct str text = tls_cert_read_file(path, err);
    if (text.p == NULL) {
        return false;
    }
    struct tls_tickets_set set = {.n_keys = 0};
    const bool is_good =
        tls_tickets_read_lines(&set, text) || tls_tickets_read_raw(&set, text);
    if (is_good) {
        tls_tickets_publish(t, &set);
    } else {
        error_add(err,
                  "%s: ticket keys must be lines of base64, or raw keys, "
                  "of 48 or 80 bytes each; `openssl rand -out FILE 80` makes "
                  "one",
                  path);
    }
    OPENSSL_cleanse(&set, sizeof(set));
    OPENSSL_cleanse((void *)(uintptr_t)text.p, text.len);
    mem_free((void *)(uintptr_t)text.p);
    return is_good;
}

void tls_tickets_copy(struct tls_tickets *t, const struct tls_tickets *from)
{
    tls_tickets_publish(t, tls_tickets_get(from));
}

/* ---- sealing and opening ------------------------------------------------ */

static bool tls_tickets_start_hmac(const struct tls_tickets_key *key,
                                   EVP_MAC_CTX *hmac)
{
    char digest[] = "SHA256";
    uint8_t secret[sizeof(key->hmac)];
    memcpy(secret, key->hmac, sizeof(secret));
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret,
                                          key->half_len),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    const bool is_good = EVP_MAC_CTX_set_params(hmac, params) == 1;
    OPENSSL_cleanse(secret, sizeof(secret));
    return is_good;
}

static const EVP_CIPHER *tls_tickets_cipher(const struct tls_tickets_key *key)
{
    return key->half_len == sizeof(key->aes) ? EVP_aes_256_cbc()
                                             : EVP_aes_128_cbc();
}

static int tls_tickets_seal(const struct tls_tickets_set *set,
                            uint8_t *name,
                            uint8_t *iv,
                            EVP_CIPHER_CTX *cipher,
                            EVP_MAC_CTX *hmac)
{
    const struct tls_tickets_key *key = &set->keys[0];
    const EVP_CIPHER *type = tls_tickets_cipher(key);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(type)) != 1 ||
        EVP_EncryptInit_ex(cipher, type, NULL, key->aes, iv) != 1 ||
        !tls_tickets_start_hmac(key, hmac)) {
        return -1;
    }
    memcpy(name, key->name, TLS_TICKETS_NAME_LEN);
    return 1;
}

/*
 * 0: no such key, full handshake; 1: good; 2: good, make a new ticket. Of
 * TLS 1.3 a ticket is to be used once (RFC 8446 C.4), so it always gets one.
 */
static int tls_tickets_unseal(const struct tls_tickets_set *set,
                              bool is_renewed,
                              const uint8_t *name,
                              const uint8_t *iv,
                              EVP_CIPHER_CTX *cipher,
                              EVP_MAC_CTX *hmac)
{
    for (size_t i = 0; i < set->n_keys; i++) {
        const struct tls_tickets_key *key = &set->keys[i];
        if (CRYPTO_memcmp(key->name, name, TLS_TICKETS_NAME_LEN) != 0) {
            continue;
        }
        if (EVP_DecryptInit_ex(cipher, tls_tickets_cipher(key), NULL, key->aes,
                               iv) != 1 ||
            !tls_tickets_start_hmac(key, hmac)) {
            return -1;
        }
        return i == 0 && !is_renewed ? 1 : 2;
    }
    return 0;
}

static int tls_tickets_ex_index(void)
{
    static atomic_int index_plus_1;
    int index = atomic_load_explicit(&index_plus_1, memory_order_acquire);
    if (index == 0) {
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL) + 1;
        CHECK(index > 0);
        atomic_store_explicit(&index_plus_1, index, memory_order_release);
    }
    return index - 1;
}

static int tls_tickets_on_key(SSL *ssl,
                              unsigned char *name,
                              unsigned char *iv,
                              EVP_CIPHER_CTX *cipher,
                              EVP_MAC_CTX *hmac,
                              int is_sealing)
{
    const struct tls_tickets *t =
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tls_tickets_ex_index());
    if (t == NULL) {
        return 0;
    }
    const struct tls_tickets_set *set = tls_tickets_get(t);
    if (is_sealing) {
        return tls_tickets_seal(set, name, iv, cipher, hmac);
    }
    const bool is_renewed = SSL_version(ssl) >= TLS1_3_VERSION;
    return tls_tickets_unseal(set, is_renewed, name, iv, cipher, hmac);
}

void tls_tickets_attach(struct tls_tickets *t, SSL_CTX *ctx)
{
    CHECK(SSL_CTX_set_ex_data(ctx, tls_tickets_ex_index(), t) == 1);
    CHECK(SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_tickets_on_key) == 1);
}
