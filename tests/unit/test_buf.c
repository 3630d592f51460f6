/*
 * The promises of buf: what goes in comes out in order, blocks move without a
 * copy, and an empty buffer holds nothing. A long random run is compared with
 * a plain array.
 */
#include "base/buf.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Copies all bytes out by buf_peek_iov and looks whether len agrees. */
static size_t test_copy_out(const struct buf *b, uint8_t *dst, size_t max)
{
    struct iovec iov[64];
    size_t len = 0;
    const int n = buf_peek_iov(b, iov, 64);
    for (int i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0);
        assert_true(len + iov[i].iov_len <= max);
        memcpy(dst + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    return len;
}

static void test_fill(uint8_t *p, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(i * 7 + seed + i / 251);
    }
}

static void test_buf__append_spans_blocks(void **state)
{
    (void)state;
    static uint8_t in[3 * BUF_BLOCK_BYTES + 17];
    static uint8_t out[sizeof in];
    struct buf b;
    test_fill(in, sizeof in, 1);
    buf_init(&b, NULL);
    buf_append(&b, in, 5);
    buf_append(&b, in + 5, sizeof in - 5);
    assert_int_equal(buf_len(&b), sizeof in);
    assert_int_equal(test_copy_out(&b, out, sizeof out), sizeof in);
    assert_memory_equal(in, out, sizeof in);
    assert_int_equal(buf_peek(&b).len, BUF_BLOCK_BYTES);
    buf_fini(&b);
    assert_int_equal(buf_len(&b), 0);
    assert_null(buf_peek(&b).p);
}

static void test_buf__drop_takes_from_the_front(void **state)
{
    (void)state;
    static uint8_t in[2 * BUF_BLOCK_BYTES];
    struct buf b;
    test_fill(in, sizeof in, 2);
    buf_init(&b, NULL);
    buf_append(&b, in, sizeof in);
    buf_drop(&b, 0);
    buf_drop(&b, 10);
    assert_memory_equal(buf_peek(&b).p, in + 10, 100);
    buf_drop(&b, BUF_BLOCK_BYTES - 10);
    assert_int_equal(buf_peek(&b).len, BUF_BLOCK_BYTES);
    assert_memory_equal(buf_peek(&b).p, in + BUF_BLOCK_BYTES, 100);
    buf_drop(&b, BUF_BLOCK_BYTES);
    assert_null(b.first);
    assert_null(b.last);
}

static void test_buf__reserve_then_commit(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, NULL);
    uint8_t *p = buf_reserve(&b, 100);
    memcpy(p, "hello", 5);
    buf_commit(&b, 5);
    assert_true(str_eq(buf_peek(&b), STR("hello")));
    p = buf_reserve(&b, BUF_BLOCK_BYTES);
    memset(p, 'x', BUF_BLOCK_BYTES);
    buf_commit(&b, BUF_BLOCK_BYTES);
    assert_int_equal(buf_len(&b), 5 + BUF_BLOCK_BYTES);
    buf_fini(&b);
}

static void test_buf__reserve_without_commit_leaves_no_trace(void **state)
{
    (void)state;
    struct iovec iov[4];
    struct buf b;
    buf_init(&b, NULL);
    buf_reserve(&b, 10);
    assert_null(buf_peek(&b).p);
    assert_int_equal(buf_peek_iov(&b, iov, 4), 0);
    buf_commit(&b, 0);
    assert_null(b.first);
    buf_append(&b, "ab", 2);
    buf_reserve(&b, BUF_BLOCK_BYTES);
    assert_int_equal(buf_peek_iov(&b, iov, 4), 1);
    buf_append(&b, "cd", 2);
    buf_drop(&b, 2);
    assert_true(str_eq(buf_peek(&b), STR("cd")));
    buf_drop(&b, 2);
    assert_null(b.first);
}

static void test_buf__move_takes_blocks_along(void **state)
{
    (void)state;
    struct buf a;
    struct buf b;
    uint8_t wide[2000];
    memset(wide, 'w', sizeof wide);
    buf_init(&a, NULL);
    buf_init(&b, NULL);
    buf_append(&a, "a", 1);
    buf_append(&b, wide, sizeof wide);
    const char *where = buf_peek(&b).p;
    buf_move(&a, &b);
    assert_null(b.first);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_len(&a), 2001);
    buf_drop(&a, 1);
    assert_ptr_equal(buf_peek(&a).p, where);
    buf_move(&b, &a);
    assert_ptr_equal(buf_peek(&b).p, where);
    buf_move(&b, &a);
    assert_int_equal(buf_len(&b), 2000);
    buf_fini(&b);
}

static void test_buf__small_moves_do_not_pile_up_blocks(void **state)
{
    (void)state;
    struct buf_cache cache = {.n_free_max = 100};
    struct iovec iov[8];
    struct buf a;
    struct buf b;
    buf_init(&a, &cache);
    buf_init(&b, &cache);
    for (int i = 0; i < 100; i++) {
        buf_append(&b, "token ", 6);
        buf_move(&a, &b);
    }
    assert_int_equal(buf_len(&a), 600);
    assert_int_equal(buf_peek_iov(&a, iov, 8), 1);
    buf_fini(&a);
    assert_int_equal(cache.n_free, 2);
    buf_cache_fini(&cache);
}

static void test_buf__cache_is_bounded(void **state)
{
    (void)state;
    struct buf_cache cache = {.n_free_max = 2};
    static uint8_t in[5 * BUF_BLOCK_BYTES];
    struct buf b;
    buf_init(&b, &cache);
    buf_append(&b, in, sizeof in);
    buf_fini(&b);
    assert_int_equal(cache.n_free, 2);
    buf_append(&b, in, 1);
    assert_int_equal(cache.n_free, 1);
    buf_fini(&b);
    buf_cache_fini(&cache);
    assert_int_equal(cache.n_free, 0);
}

/* Two buffers and two arrays do the same things for a while. */
static void test_buf__behaves_as_an_array(void **state)
{
    (void)state;
    enum { MAX = 8 * BUF_BLOCK_BYTES };
    static uint8_t model[MAX];
    static uint8_t piece[MAX];
    static uint8_t out[MAX];
    struct buf_cache cache = {.n_free_max = 4};
    struct buf b;
    struct buf side;
    size_t len = 0;
    uint32_t random = 12345;
    buf_init(&b, &cache);
    buf_init(&side, &cache);
    for (unsigned step = 0; step < 3000; step++) {
        random = random * 1664525 + 1013904223;
        size_t n = (random >> 8) % (step % 3 == 0 ? 40000 : 900);
        if (len + n > MAX) {
            n = 0;
        }
        test_fill(piece, n, step);
        switch (random >> 30) {
        case 0:
            buf_append(&b, piece, n);
            break;
        case 1:
            buf_append(&side, piece, n);
            buf_move(&b, &side);
            break;
        case 2:
            n = n < BUF_BLOCK_BYTES ? n : BUF_BLOCK_BYTES;
            memcpy(buf_reserve(&b, BUF_BLOCK_BYTES), piece, n);
            buf_commit(&b, n);
            break;
        default:
            n = n < len ? n : len;
            buf_drop(&b, n);
            memmove(model, model + n, len - n);
            len -= n;
            n = 0;
            break;
        }
        memcpy(model + len, piece, n);
        len += n;
        assert_int_equal(buf_len(&b), len);
        if (len > 0) {
            assert_memory_equal(buf_peek(&b).p, model, buf_peek(&b).len);
        }
        if (step % 16 == 0) {
            assert_int_equal(test_copy_out(&b, out, MAX), len);
            assert_memory_equal(out, model, len);
        }
    }
    buf_fini(&b);
    buf_cache_fini(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf__append_spans_blocks),
        cmocka_unit_test(test_buf__drop_takes_from_the_front),
        cmocka_unit_test(test_buf__reserve_then_commit),
        cmocka_unit_test(test_buf__reserve_without_commit_leaves_no_trace),
        cmocka_unit_test(test_buf__move_takes_blocks_along),
        cmocka_unit_test(test_buf__small_moves_do_not_pile_up_blocks),
        cmocka_unit_test(test_buf__cache_is_bounded),
        cmocka_unit_test(test_buf__behaves_as_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
