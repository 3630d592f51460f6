/*
 * The promises of hash_key: every kind of part counts, order and borders
 * count, absent is not empty, and a mistake in the configuration is explained.
 */
#include "upstream/hash_key.c"

#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

struct request {
    struct arena arena;
    struct head head;
    struct addr source;
    struct addr destination;
    struct hash_input in;
};

static void request_init(struct request *r)
{
    arena_init(&r->arena, NULL, 1 << 20);
    head_init(&r->head, &r->arena);
    r->head.version = 11;
    r->head.host = STR("www.example.com");
    r->head.path = STR("/a/b");
    r->head.query = STR("user=u1&empty=&x=y");
    head_add_copy(&r->head, STR("x-tenant"), STR("t1"));
    head_add_copy(&r->head, STR("x-tenant"), STR("second"));
    head_add_copy(&r->head, STR("x-empty"), STR(""));
    head_add_copy(&r->head, STR("cookie"), STR("a=1; session=s1"));
    assert_true(addr_parse(STR("10.1.2.3:5555"), &r->source));
    assert_true(addr_parse(STR("[2001:db8::1]:443"), &r->destination));
    r->in = (struct hash_input){
        .source = &r->source,
        .destination = &r->destination,
        .head = &r->head,
        .sni = STR("sni.example.com"),
    };
}

static void key_add(struct hash_key *key, struct str text)
{
    struct error err = {0};
    const bool is_ok = hash_key_add(key, text, &err);
    assert_string_equal(error_text(&err), "");
    assert_true(is_ok);
}

/* The hash of `r` by a key of one or two parts. */
static uint64_t
key_hash(const struct request *r, const char *first, const char *second)
{
    struct hash_key key = {.seed = 3};
    uint64_t hash = 0;
    key_add(&key, str_from(first));
    if (second != NULL) {
        key_add(&key, str_from(second));
    }
    assert_true(hash_key_compute(&key, &r->in, &hash));
    return hash;
}

static bool key_is_absent(const struct request *r, const char *part)
{
    struct hash_key key = {.seed = 3};
    uint64_t hash = 0;
    key_add(&key, str_from(part));
    return !hash_key_compute(&key, &r->in, &hash);
}

static void key_fails(struct hash_key *key, struct str text, const char *why)
{
    struct error err = {0};
    const size_t n_parts = key->n_parts;
    assert_false(hash_key_add(key, text, &err));
    assert_non_null(strstr(error_text(&err), why));
    assert_int_equal(err.n_problems, 1);
    assert_int_equal(key->n_parts, n_parts);
    error_fini(&err);
}

/* The bytes that the header promises: the hash of them, made by hand. */
static uint64_t hash_of(const struct str *values, size_t n, uint64_t seed)
{
    uint8_t bytes[8192];
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        memset(bytes + len, 0, 8);
        if (values[i].p != NULL) {
            bytes[len] = (uint8_t)(values[i].len + 1);
            bytes[len + 1] = (uint8_t)((values[i].len + 1) >> 8);
        }
        len += 8;
        memcpy(bytes + len, values[i].len ? values[i].p : "", values[i].len);
        len += values[i].len;
    }
    return XXH3_64bits_withSeed(bytes, len, seed);
}

static void test_hash_key__every_part_reads_its_value(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        struct str value;
    } cases[] = {
        {"source_ip", {"\x0a\x01\x02\x03", 4}},
        {"source_port", {"\x15\xb3", 2}},
        {"destination_ip", {"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16}},
        {"destination_port", {"\x01\xbb", 2}},
        {"cookie:session", {"s1", 2}},
        {"protocol", {"http/1.1", 8}},
        {"header:x-tenant", {"t1", 2}},
        {"header:x-empty", {"", 0}},
        {"query:user", {"u1", 2}},
        {"query:empty", {"", 0}},
        {"host", {"www.example.com", 15}},
        {"path", {"/a/b", 4}},
        {"sni", {"sni.example.com", 15}},
    };
    struct request r;
    request_init(&r);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(key_hash(&r, cases[i].part, NULL),
                         hash_of(&cases[i].value, 1, 3));
    }
    arena_reset(&r.arena);
}

static void test_hash_key__order_and_borders_count(void **state)
{
    (void)state;
    struct request r;
    request_init(&r);
    assert_int_not_equal(key_hash(&r, "host", "path"),
                         key_hash(&r, "path", "host"));
    r.head.host = STR("ab");
    r.head.path = STR("c");
    const uint64_t one = key_hash(&r, "host", "path");
    r.head.host = STR("a");
    r.head.path = STR("bc");
    assert_int_not_equal(key_hash(&r, "host", "path"), one);
    arena_reset(&r.arena);
}

static void test_hash_key__absent_is_not_empty(void **state)
{
    (void)state;
    struct request r;
    request_init(&r);
    assert_int_not_equal(key_hash(&r, "host", "query:empty"),
                         key_hash(&r, "host", "query:none"));
    assert_int_not_equal(key_hash(&r, "host", "header:x-empty"),
                         key_hash(&r, "host", "header:x-none"));
    const struct str values[] = {r.head.host, STR_NONE};
    assert_int_equal(key_hash(&r, "host", "cookie:none"),
                     hash_of(values, 2, 3));
    arena_reset(&r.arena);
}

static void test_hash_key__nothing_there_is_no_key(void **state)
{
    (void)state;
    struct hash_key key = {0};
    uint64_t hash = 0;
    struct request r;
    request_init(&r);
    assert_false(hash_key_compute(&key, &r.in, &hash));
    key_add(&key, STR("cookie:none"));
    key_add(&key, STR("header:x-none"));
    key_add(&key, STR("query:none"));
    assert_false(hash_key_compute(&key, &r.in, &hash));
    key_add(&key, STR("path"));
    assert_true(hash_key_compute(&key, &r.in, &hash));
    r.in.sni = STR_NONE;
    assert_true(key_is_absent(&r, "sni"));
    r.in.destination = NULL;
    assert_true(key_is_absent(&r, "destination_ip"));
    assert_true(key_is_absent(&r, "destination_port"));
    assert_true(addr_parse(STR("unix:/run/x.sock"), &r.source));
    assert_true(key_is_absent(&r, "source_port"));
    r.source.len = 0;
    assert_true(key_is_absent(&r, "source_ip"));
    arena_reset(&r.arena);
}

static void test_hash_key__a_minted_cookie_stands_in(void **state)
{
    (void)state;
    struct request r;
    request_init(&r);
    const uint64_t had = key_hash(&r, "cookie:session", NULL);
    r.in.minted_name = STR("session");
    r.in.minted_value = STR("new");
    /* Not in place of one that the request has. */
    assert_int_equal(key_hash(&r, "cookie:session", NULL), had);
    assert_true(key_is_absent(&r, "cookie:other"));
    head_remove_id(&r.head, NAME_COOKIE);
    const uint64_t minted = key_hash(&r, "cookie:session", NULL);
    /* The client that comes back with it goes to the same endpoint. */
    r.in.minted_name = STR_NONE;
    r.in.minted_value = STR_NONE;
    assert_true(key_is_absent(&r, "cookie:session"));
    head_add_copy(&r.head, STR("cookie"), STR("session=new"));
    assert_int_equal(key_hash(&r, "cookie:session", NULL), minted);
    arena_reset(&r.arena);
}

static void test_hash_key__seed_changes_all(void **state)
{
    (void)state;
    struct request r;
    uint64_t hashes[2] = {0, 0};
    request_init(&r);
    for (uint64_t seed = 0; seed < 2; seed++) {
        struct hash_key key = {.seed = seed};
        key_add(&key, STR("source_ip"));
        assert_true(hash_key_compute(&key, &r.in, &hashes[seed]));
    }
    assert_int_not_equal(hashes[0], hashes[1]);
    arena_reset(&r.arena);
}

static void test_hash_key__long_values_hash_as_short_ones(void **state)
{
    (void)state;
    static char text[4000];
    struct request r;
    request_init(&r);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)('a' + i % 26);
    }
    for (size_t len = 400; len <= sizeof text; len += 7) {
        r.head.path = str_make(text, len);
        const struct str values[] = {r.head.path, r.head.host};
        assert_int_equal(key_hash(&r, "path", "host"), hash_of(values, 2, 3));
    }
    arena_reset(&r.arena);
}

/*
 * What earlier calls left on the stack: where XXH3's state of a stream comes to
 * lie, a seed that is ours already and no secret that belongs to it.
 */
__attribute__((noinline)) static void stack_soil(uint64_t seed)
{
    enum { SOIL_WORDS = 2048, LINE_WORDS = 64 / sizeof(uint64_t) };
    const size_t at = offsetof(XXH3_state_t, seed) / 8 % LINE_WORDS;
    volatile uint64_t words[SOIL_WORDS] __attribute__((aligned(64)));
    for (size_t i = 0; i < SOIL_WORDS; i++) {
        words[i] = i % LINE_WORDS == at ? seed : 0;
    }
    (void)words[0];
}

static void test_hash_key__the_stack_does_not_matter(void **state)
{
    (void)state;
    static char text[1000];
    struct request r;
    request_init(&r);
    memset(text, 'x', sizeof text);
    r.head.path = str_make(text, sizeof text);
    stack_soil(3);
    const uint64_t hash = key_hash(&r, "path", NULL);
    assert_int_equal(hash, hash_of(&r.head.path, 1, 3));
    arena_reset(&r.arena);
}

static void test_hash_key__protocol_is_what_was_negotiated(void **state)
{
    (void)state;
    struct head h;
    head_init(&h, NULL);
    h.version = 10;
    assert_true(str_eq(hash_key_protocol(&h), STR("http/1.0")));
    h.version = 11;
    assert_true(str_eq(hash_key_protocol(&h), STR("http/1.1")));
    h.is_websocket = true;
    assert_true(str_eq(hash_key_protocol(&h), STR("websocket")));
    h.is_websocket = false;
    h.version = 20;
    assert_true(str_eq(hash_key_protocol(&h), STR("h2")));
    h.is_grpc = true;
    assert_true(str_eq(hash_key_protocol(&h), STR("grpc")));
}

static void test_hash_key__mistakes_are_explained(void **state)
{
    (void)state;
    struct hash_key key = {0};
    key_fails(&key, STR("sorce_ip"), "did you mean \"source_ip\"?");
    key_fails(&key, STR("cookei:sid"), "did you mean \"cookie:NAME\"?");
    key_fails(&key, STR("colour"),
              "valid parts: source_ip, source_port, "
              "destination_ip, destination_port, "
              "cookie:NAME, protocol, header:NAME, "
              "query:NAME, host, path, sni\n");
    key_fails(&key, STR(""), "\"\": not a part");
    key_fails(&key, STR("cookie"), "write \"cookie:NAME\"");
    key_fails(&key, STR("query:"), "write \"query:NAME\"");
    key_fails(&key, STR("host:x"), "write \"host\"");
    key_fails(&key, STR("host:"), "write \"host\"");
    key_fails(&key, STR("header:X-Tenant"), "lower case");
    key_fails(&key, STR("header:x tenant"), "not a valid name");
    key_fails(&key, STR("header:host"), "write \"host\" instead");
    key_fails(&key, STR("header:connection"), "cannot use it");
    key_fails(&key, STR("header:content-length"), "cannot use it");
    key_add(&key, STR("header:x-a"));
    key_fails(&key, STR("header:x-a"), "twice");
    key_add(&key, STR("header:x-b"));
}

static void test_hash_key__has_a_most_of_parts(void **state)
{
    (void)state;
    static char texts[HASH_N_PARTS_MAX + 1][16];
    struct hash_key key = {0};
    for (unsigned i = 0; i <= HASH_N_PARTS_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "query:q%u", i);
    }
    for (unsigned i = 0; i < HASH_N_PARTS_MAX; i++) {
        key_add(&key, str_from(texts[i]));
    }
    key_fails(&key, str_from(texts[HASH_N_PARTS_MAX]), "at most 16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_key__every_part_reads_its_value),
        cmocka_unit_test(test_hash_key__order_and_borders_count),
        cmocka_unit_test(test_hash_key__absent_is_not_empty),
        cmocka_unit_test(test_hash_key__nothing_there_is_no_key),
        cmocka_unit_test(test_hash_key__a_minted_cookie_stands_in),
        cmocka_unit_test(test_hash_key__seed_changes_all),
        cmocka_unit_test(test_hash_key__long_values_hash_as_short_ones),
        cmocka_unit_test(test_hash_key__the_stack_does_not_matter),
        cmocka_unit_test(test_hash_key__protocol_is_what_was_negotiated),
        cmocka_unit_test(test_hash_key__mistakes_are_explained),
        cmocka_unit_test(test_hash_key__has_a_most_of_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
