/*
 * The promises of map: it remembers exactly what was set, through growth and
 * removal, for keys of any bytes.
 */
#include "base/map.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct str test_key(char dst[static 32], unsigned i)
{
    const int len = snprintf(dst, 32, "host-%u.example", i);
    return str_make(dst, (size_t)len);
}

static void test_map__set_find_replace_remove(void **state)
{
    (void)state;
    int a = 0;
    int b = 0;
    struct map *m = map_new();
    assert_null(map_find(m, STR("k")));
    assert_null(map_set(m, STR("k"), &a));
    assert_ptr_equal(map_find(m, STR("k")), &a);
    assert_ptr_equal(map_set(m, STR("k"), &b), &a);
    assert_int_equal(map_count(m), 1);
    assert_ptr_equal(map_remove(m, STR("k")), &b);
    assert_null(map_remove(m, STR("k")));
    assert_int_equal(map_count(m), 0);
    map_free(m);
    map_free(NULL);
}

static void test_map__keys_are_copied_and_of_any_bytes(void **state)
{
    (void)state;
    int a = 0;
    int b = 0;
    int c = 0;
    char key[] = {'a', '\0', 'b'};
    struct map *m = map_new();
    map_set(m, str_make(key, 3), &a);
    map_set(m, str_make("a\0c", 3), &b);
    map_set(m, STR_NONE, &c);
    key[0] = 'z';
    assert_ptr_equal(map_find(m, str_make("a\0b", 3)), &a);
    assert_ptr_equal(map_find(m, str_make("a\0c", 3)), &b);
    assert_ptr_equal(map_find(m, STR("")), &c);
    assert_null(map_find(m, STR("a")));
    map_free(m);
}

static void test_map__survives_growth_and_removal(void **state)
{
    (void)state;
    enum { N = 5000 };
    static int values[N];
    char text[32];
    struct map *m = map_new();
    for (unsigned i = 0; i < N; i++) {
        assert_null(map_set(m, test_key(text, i), &values[i]));
    }
    assert_int_equal(map_count(m), N);
    for (unsigned i = 0; i < N; i += 3) {
        assert_ptr_equal(map_remove(m, test_key(text, i)), &values[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        void *want = i % 3 == 0 ? NULL : &values[i];
        assert_ptr_equal(map_find(m, test_key(text, i)), want);
    }
    map_free(m);
}

/* A table that stays small has many collisions and wraps around often. */
static void test_map__small_table_agrees_with_a_flag_array(void **state)
{
    (void)state;
    enum { N = 12 };
    static int values[N];
    bool is_in[N] = {false};
    char text[32];
    uint32_t random = 5;
    struct map *m = map_new();
    for (unsigned step = 0; step < 20000; step++) {
        random = random * 1664525 + 1013904223;
        const unsigned i = (random >> 16) % N;
        if (random >> 31 == 0) {
            map_set(m, test_key(text, i), &values[i]);
            is_in[i] = true;
        } else {
            void *was = map_remove(m, test_key(text, i));
            assert_ptr_equal(was, is_in[i] ? &values[i] : NULL);
            is_in[i] = false;
        }
        const unsigned k = (random >> 8) % N;
        void *want = is_in[k] ? &values[k] : NULL;
        assert_ptr_equal(map_find(m, test_key(text, k)), want);
    }
    assert_true(m->n_slots <= 16);
    map_free(m);
}

static void test_map__walk_visits_each_once(void **state)
{
    (void)state;
    enum { N = 100 };
    int seen[N] = {0};
    char text[32];
    struct map *m = map_new();
    for (unsigned i = 0; i < N; i++) {
        map_set(m, test_key(text, i), &seen[i]);
    }
    size_t cursor = 0;
    size_t n = 0;
    struct str key;
    void *value = NULL;
    while (map_next(m, &cursor, &key, &value)) {
        int *count = value;
        (*count)++;
        assert_true(str_eq(key, test_key(text, (unsigned)(count - seen))));
        n++;
    }
    assert_int_equal(n, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(seen[i], 1);
    }
    map_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map__set_find_replace_remove),
        cmocka_unit_test(test_map__keys_are_copied_and_of_any_bytes),
        cmocka_unit_test(test_map__survives_growth_and_removal),
        cmocka_unit_test(test_map__small_table_agrees_with_a_flag_array),
        cmocka_unit_test(test_map__walk_visits_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
