/*
 * Unit tests of net/tls_tickets: rotation, and keys from a file. That tickets
 * are honoured is tested in test_tls.
 */
#define _GNU_SOURCE
#include "net/tls_tickets.c"

#include "tls_fixture.h"

static void test_tls_tickets__rotation_keeps_two_old_keys(void **state)
{
    struct tls_tickets *t = tls_tickets_new();
    uint8_t names[6][TLS_TICKETS_NAME_LEN];
    (void)state;
    assert_int_equal(tls_tickets_get(t)->n_keys, 1);
    for (int i = 0; i < 6; i++) {
        const struct tls_tickets_set *set = tls_tickets_get(t);
        memcpy(names[i], set->keys[0].name, sizeof(names[i]));
        assert_int_equal(set->n_keys, i < 2 ? i + 1 : 3);
        for (int k = 1; k < (int)set->n_keys; k++) {
            assert_memory_equal(set->keys[k].name, names[i - k],
                                sizeof(names[0]));
        }
        for (int k = 0; k < i; k++) {
            assert_memory_not_equal(names[i], names[k], sizeof(names[0]));
        }
        tls_tickets_rotate(t);
    }
    tls_tickets_free(t);
}

/* Writes a file, loads it, and removes it again. */
static bool
load(struct tls_tickets *t, const void *p, size_t len, struct error *err)
{
    char path[] = "/tmp/test_tickets_XXXXXX";
    fixture_write_file(path, p, len);
    const bool is_good = tls_tickets_load(t, path, err);
    if (!is_good) {
        assert_non_null(strstr(error_text(err), path));
    }
    unlink(path);
    return is_good;
}

static void fill(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(i * 37 + 200); /* never base64 */
    }
}

static void test_tls_tickets__raw_keys_are_read(void **state)
{
    static const struct {
        size_t len;
        size_t n_keys;
        size_t half_len;
    } rows[] = {
        {80, 1, 32}, {160, 2, 32}, {48, 1, 16}, {144, 3, 16}, {400, 3, 32}};
    uint8_t bytes[400];
    (void)state;
    fill(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_tickets *t = tls_tickets_new();
        struct error err = {0};
        assert_true(load(t, bytes, rows[i].len, &err));
        const struct tls_tickets_set *set = tls_tickets_get(t);
        assert_int_equal(set->n_keys, rows[i].n_keys);
        assert_int_equal(set->keys[0].half_len, rows[i].half_len);
        assert_memory_equal(set->keys[0].name, bytes, 16);
        assert_memory_equal(set->keys[0].hmac, bytes + 16, rows[i].half_len);
        assert_memory_equal(set->keys[0].aes, bytes + 16 + rows[i].half_len,
                            rows[i].half_len);
        tls_tickets_free(t);
    }
}

static void test_tls_tickets__lines_of_base64_are_read(void **state)
{
    uint8_t bytes[80];
    unsigned char line[160];
    char text[400];
    struct tls_tickets *t = tls_tickets_new();
    struct error err = {0};
    (void)state;
    fill(bytes, sizeof(bytes));
    EVP_EncodeBlock(line, bytes, 80);
    int len = snprintf(text, sizeof(text), "%s\r\n\n", line);
    bytes[0] ^= 1;
    EVP_EncodeBlock(line, bytes, 48);
    len += snprintf(text + len, sizeof(text) - (size_t)len, "%s", line);
    assert_true(load(t, text, (size_t)len, &err));
    const struct tls_tickets_set *set = tls_tickets_get(t);
    assert_int_equal(set->n_keys, 2);
    assert_int_equal(set->keys[0].half_len, 32);
    assert_int_equal(set->keys[1].half_len, 16);
    assert_memory_equal(set->keys[1].name, bytes, 16);
    tls_tickets_free(t);
}

static void test_tls_tickets__a_bad_file_changes_nothing(void **state)
{
    static const char *const texts[] = {"", "\n", "short", "AAAA\n", "!"};
    uint8_t name[TLS_TICKETS_NAME_LEN];
    struct tls_tickets *t = tls_tickets_new();
    (void)state;
    memcpy(name, tls_tickets_get(t)->keys[0].name, sizeof(name));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct error err = {0};
        assert_false(load(t, texts[i], strlen(texts[i]), &err));
        error_fini(&err);
    }
    uint8_t bytes[81];
    struct error err = {0};
    fill(bytes, sizeof(bytes));
    assert_false(load(t, bytes, sizeof(bytes), &err));
    assert_false(tls_tickets_load(t, "/nonexistent/keys", &err));
    error_fini(&err);
    assert_memory_equal(tls_tickets_get(t)->keys[0].name, name, sizeof(name));
    tls_tickets_free(t);
}

static void test_tls_tickets__keys_are_taken_over(void **state)
{
    struct tls_tickets *t = tls_tickets_new();
    struct tls_tickets *from = tls_tickets_new();
    (void)state;
    tls_tickets_rotate(from);
    tls_tickets_copy(t, from);
    assert_memory_equal(tls_tickets_get(t), tls_tickets_get(from),
                        sizeof(struct tls_tickets_set));
    tls_tickets_free(from);
    assert_int_equal(tls_tickets_get(t)->n_keys, 2);
    tls_tickets_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_tickets__rotation_keeps_two_old_keys),
        cmocka_unit_test(test_tls_tickets__raw_keys_are_read),
        cmocka_unit_test(test_tls_tickets__lines_of_base64_are_read),
        cmocka_unit_test(test_tls_tickets__a_bad_file_changes_nothing),
        cmocka_unit_test(test_tls_tickets__keys_are_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
