/*
 * websocket: the opening handshake of RFC 6455 as a proxy sees it. Pure
 * functions over heads; worker thread.
 */
#include "http/websocket.h"

#include "http/chars.h"

#include <openssl/evp.h>

enum {
    WEBSOCKET_KEY_LEN = 24,    /* base64 of 16 bytes */
    WEBSOCKET_ACCEPT_LEN = 28, /* base64 of a SHA-1 */
    WEBSOCKET_SHA1_LEN = 20
};

/* The value of a field that must be there exactly once; p NULL otherwise. */
static struct str websocket_once(const struct head *h, enum name_id id)
{
    struct str value = STR_NONE;

    for (uint32_t i = 0; i < h->n_fields; i++) {
        if (h->fields[i].id == id) {
            if (value.p != NULL) {
                return STR_NONE;
            }
            value = h->fields[i].value;
        }
    }
    return value;
}

/* 22 digits of base64, the last of which carries 2 bits, and "==". */
static bool websocket_key_is_valid(struct str key)
{
    if (key.len != WEBSOCKET_KEY_LEN || !str_ends(key, STR("=="))) {
        return false;
    }
    for (size_t i = 0; i < WEBSOCKET_KEY_LEN - 2; i++) {
        const char c = key.p[i];
        const bool is_alnum = chars_is(c, CHARS_UNRESERVED) && c != '-' &&
                              c != '.' && c != '_' && c != '~';

        if (!is_alnum && c != '+' && c != '/') {
            return false;
        }
    }
    return memchr("AQgw", key.p[WEBSOCKET_KEY_LEN - 3], 4) != NULL;
}

bool websocket_request_is_valid(const struct head *h)
{
    return h->method == METHOD_GET && h->version == 11 && !h->is_chunked &&
           h->content_length <= 0 &&
           str_eq(websocket_once(h, NAME_SEC_WEBSOCKET_VERSION), STR("13")) &&
           websocket_key_is_valid(websocket_once(h, NAME_SEC_WEBSOCKET_KEY));
}

/* base64(SHA-1(key GUID)) as RFC 6455 4.2.2 says. */
static bool websocket_accept(struct str key,
                             char accept[static WEBSOCKET_ACCEPT_LEN + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[WEBSOCKET_KEY_LEN + sizeof(guid)];
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned hash_len = 0;

    memcpy(text, key.p, WEBSOCKET_KEY_LEN);
    memcpy(text + WEBSOCKET_KEY_LEN, guid, sizeof(guid));
    if (EVP_Digest(text, sizeof(text) - 1, hash, &hash_len, EVP_sha1(), NULL) !=
            1 ||
        hash_len != WEBSOCKET_SHA1_LEN) {
        return false;
    }
    return EVP_EncodeBlock((unsigned char *)accept, hash, (int)hash_len) ==
           WEBSOCKET_ACCEPT_LEN;
}

bool websocket_response_is_valid(const struct head *request,
                                 const struct head *response)
{
    const struct str key = websocket_once(request, NAME_SEC_WEBSOCKET_KEY);
    char accept[WEBSOCKET_ACCEPT_LEN + 1];

    return response->status == 101 &&
           str_eq_nocase(response->upgrade, STR("websocket")) &&
           websocket_key_is_valid(key) && websocket_accept(key, accept) &&
           str_eq(websocket_once(response, NAME_SEC_WEBSOCKET_ACCEPT),
                  str_make(accept, WEBSOCKET_ACCEPT_LEN));
}
