/*
 * The promises of arena: aligned pieces that do not overlap, a limit that is
 * exact, and blocks that are used again.
 */
#include "base/arena.c"

#include <setjmp.h>

#include <cmocka.h>

static void test_arena__pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { N = 300 };
    struct arena a;
    uint8_t *pieces[N];
    arena_init(&a, NULL, 1 << 20);
    for (size_t i = 0; i < N; i++) {
        pieces[i] = arena_take(&a, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % ARENA_ALIGN, 0);
        memset(pieces[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_int_equal(pieces[i][k], i & 0xff);
        }
    }
    arena_reset(&a);
}

static void test_arena__the_limit_is_never_exceeded(void **state)
{
    (void)state;
    struct arena a;
    size_t taken = 0;
    arena_init(&a, NULL, 20000);
    while (arena_take(&a, 160) != NULL) {
        taken += 160;
        assert_true(a.total_bytes <= 20000);
    }
    assert_true(taken <= 20000);
    assert_true(taken > 20000 - 3 * 160);
    arena_reset(&a);
    assert_int_equal(a.total_bytes, 0);
    assert_null(arena_take(&a, 20001));
    assert_null(arena_take(&a, SIZE_MAX));
    assert_non_null(arena_take(&a, 20000));
    assert_null(arena_take(&a, 1));
    arena_reset(&a);
}

static void test_arena__a_limit_below_a_block_works(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 100);
    char *p = arena_take(&a, 99);
    assert_non_null(p);
    memset(p, 1, 99);
    assert_null(arena_take(&a, 16));
    arena_reset(&a);
}

static void test_arena__a_large_piece_leaves_the_first_block_open(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 1 << 20);
    uint8_t *first = arena_take(&a, 16);
    assert_non_null(arena_take(&a, 100000));
    uint8_t *second = arena_take(&a, 16);
    assert_ptr_equal(second, first + 16);
    arena_reset(&a);
}

static void test_arena__blocks_are_used_again(void **state)
{
    (void)state;
    struct arena_cache cache = {.n_free_max = 1};
    struct arena a;
    arena_init(&a, &cache, 1 << 20);
    void *before = arena_take(&a, 100);
    assert_non_null(arena_take(&a, ARENA_BLOCK_BYTES - 50));
    assert_non_null(arena_take(&a, 100000));
    arena_reset(&a);
    assert_int_equal(cache.n_free, 1);
    void *block = cache.free;
    assert_non_null(arena_take(&a, 3000));
    assert_ptr_equal(a.blocks, block);
    assert_int_equal(cache.n_free, 0);
    arena_reset(&a);
    arena_cache_fini(&cache);
    assert_null(cache.free);
    assert_non_null(before);
}

static void test_arena__copy_ends_in_nul(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 4096);
    const struct str s = arena_copy(&a, str_make("hello!", 5));
    assert_int_equal(s.len, 5);
    assert_string_equal(s.p, "hello");
    const struct str none = arena_copy(&a, STR_NONE);
    assert_non_null(none.p);
    assert_int_equal(none.len, 0);
    static const char wide[5000];
    assert_null(arena_copy(&a, str_make(wide, sizeof wide)).p);
    arena_reset(&a);
}

static void test_arena__print_takes_any_length(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 8192);
    const struct str s = arena_print(&a, "%s-%d", "a", 7);
    assert_true(str_eq(s, STR("a-7")));
    const struct str wide = arena_print(&a, "%01000d", 1);
    assert_int_equal(wide.len, 1000);
    assert_int_equal(wide.p[999], '1');
    assert_int_equal(wide.p[1000], '\0');
    assert_null(arena_print(&a, "%09000d", 1).p);
    arena_reset(&a);
}

static void test_arena__take_zero_is_zero(void **state)
{
    (void)state;
    struct arena_cache cache = {.n_free_max = 4};
    struct arena a;
    arena_init(&a, &cache, 1 << 20);
    memset(arena_take(&a, 1000), 0xff, 1000);
    arena_reset(&a);
    const uint8_t *p = arena_take_zero(&a, 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(p[i], 0);
    }
    arena_reset(&a);
    arena_cache_fini(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena__pieces_are_aligned_and_apart),
        cmocka_unit_test(test_arena__the_limit_is_never_exceeded),
        cmocka_unit_test(test_arena__a_limit_below_a_block_works),
        cmocka_unit_test(test_arena__a_large_piece_leaves_the_first_block_open),
        cmocka_unit_test(test_arena__blocks_are_used_again),
        cmocka_unit_test(test_arena__copy_ends_in_nul),
        cmocka_unit_test(test_arena__print_takes_any_length),
        cmocka_unit_test(test_arena__take_zero_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
