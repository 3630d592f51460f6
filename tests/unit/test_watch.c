/*
 * Unit tests of control/watch, with real files in a folder of its own. The
 * kernel queues an event within the call that changes a file, so one turn of
 * the loop tells whether it counts: then the timer is armed.
 */
#include "control/watch.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fx {
    struct loop *loop;
    struct watch *w;
    unsigned n_told;
    char folder[64];
};

static void fx_on_change(void *owner)
{
    struct fx *fx = owner;
    fx->n_told++;
}

/* The name of a file in the folder; one buffer for two uses in a row. */
static const char *fx_path(const struct fx *fx, const char *name)
{
    static char paths[2][256];
    static unsigned at;
    char *path = paths[at++ % 2];
    snprintf(path, sizeof(paths[0]), "%s/%s", fx->folder, name);
    return path;
}

static void fx_write(const struct fx *fx, const char *name)
{
    FILE *f = fopen(fx_path(fx, name), "w");
    assert_non_null(f);
    assert_true(fputs("x", f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void fx_rename(const struct fx *fx, const char *from, const char *to)
{
    assert_int_equal(rename(fx_path(fx, from), fx_path(fx, to)), 0);
}

static void fx_init(struct fx *fx)
{
    memset(fx, 0, sizeof(*fx));
    snprintf(fx->folder, sizeof(fx->folder), "/tmp/daemun-watch-XXXXXX");
    assert_non_null(mkdtemp(fx->folder));
    fx->loop = loop_new("test", 0);
    fx->w = watch_new(fx->loop, fx_on_change, fx);
    assert_non_null(fx->w);
}

static void fx_fini(struct fx *fx)
{
    static const char *const names[] = {
        "a.conf",    "b.conf", "new",   "link", "v1/a.conf",
        "v2/a.conf", "..data", "..tmp", "v1",   "v2"};
    watch_free(fx->w);
    loop_free(fx->loop);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (unlink(fx_path(fx, names[i])) != 0) {
            rmdir(fx_path(fx, names[i]));
        }
    }
    assert_int_equal(rmdir(fx->folder), 0);
}

/* Did what happened since the last call count? */
static bool fx_counts(struct fx *fx)
{
    loop_run_once(fx->loop, 0);
    const bool is_armed = timer_is_armed(&fx->w->settle);
    loop_disarm(fx->loop, &fx->w->settle);
    return is_armed;
}

static void test_watch__a_change_is_told_once(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    fx_write(&fx, "a.conf");
    watch_add(fx.w, fx_path(&fx, "a.conf"));
    for (int i = 0; i < 5; i++) {
        fx_write(&fx, "a.conf");
        loop_run_once(fx.loop, 0);
    }
    assert_int_equal(fx.n_told, 0); /* it settles first */
    for (int i = 0; i < 200 && fx.n_told == 0; i++) {
        loop_run_once(fx.loop, 50);
    }
    assert_int_equal(fx.n_told, 1);
    assert_false(fx_counts(&fx));
    fx_fini(&fx);
}

static void test_watch__other_files_do_not_count(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    watch_add(fx.w, fx_path(&fx, "a.conf"));
    fx_write(&fx, "b.conf");
    assert_false(fx_counts(&fx));
    fx_write(&fx, "a.conf"); /* it was not there before */
    assert_true(fx_counts(&fx));
    fx_fini(&fx);
}

/* Editors write a new file and put it in the place of the old one. */
static void test_watch__a_replaced_file_counts(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    fx_write(&fx, "a.conf");
    watch_add(fx.w, fx_path(&fx, "a.conf"));
    for (int i = 0; i < 2; i++) {
        fx_write(&fx, "new");
        assert_false(fx_counts(&fx));
        fx_rename(&fx, "new", "a.conf");
        assert_true(fx_counts(&fx));
    }
    assert_int_equal(unlink(fx_path(&fx, "a.conf")), 0);
    fx_write(&fx, "a.conf");
    assert_true(fx_counts(&fx));
    fx_fini(&fx);
}

/* The file is a link into another folder: a change there counts. */
static void test_watch__the_target_of_a_link_counts(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    assert_int_equal(mkdir(fx_path(&fx, "v1"), 0700), 0);
    fx_write(&fx, "v1/a.conf");
    assert_int_equal(symlink("v1/a.conf", fx_path(&fx, "link")), 0);
    watch_add(fx.w, fx_path(&fx, "link"));
    fx_write(&fx, "v1/a.conf");
    assert_true(fx_counts(&fx));
    fx_fini(&fx);
}

/* A Kubernetes volume: a.conf -> ..data/a.conf, ..data -> v1, then v2. */
static void test_watch__a_swapped_volume_counts(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    assert_int_equal(mkdir(fx_path(&fx, "v1"), 0700), 0);
    assert_int_equal(mkdir(fx_path(&fx, "v2"), 0700), 0);
    fx_write(&fx, "v1/a.conf");
    fx_write(&fx, "v2/a.conf");
    assert_int_equal(symlink("v1", fx_path(&fx, "..data")), 0);
    assert_int_equal(symlink("..data/a.conf", fx_path(&fx, "a.conf")), 0);
    watch_add(fx.w, fx_path(&fx, "a.conf"));
    assert_int_equal(symlink("v2", fx_path(&fx, "..tmp")), 0);
    assert_false(fx_counts(&fx));
    fx_rename(&fx, "..tmp", "..data");
    assert_true(fx_counts(&fx));
    fx_fini(&fx);
}

static void test_watch__clearing_forgets(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    watch_add(fx.w, fx_path(&fx, "a.conf"));
    watch_clear(fx.w);
    fx_write(&fx, "a.conf");
    assert_false(fx_counts(&fx));
    watch_add(fx.w, fx_path(&fx, "b.conf"));
    fx_write(&fx, "a.conf");
    assert_false(fx_counts(&fx));
    fx_write(&fx, "b.conf");
    assert_true(fx_counts(&fx));
    fx_fini(&fx);
}

/* When the kernel lost events, any file may have changed. */
static void test_watch__lost_events_count(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    const struct inotify_event lost = {.wd = -1, .mask = IN_Q_OVERFLOW};
    const struct inotify_event ignored = {.wd = 1, .mask = IN_IGNORED};
    assert_true(watch_counts(fx.w, &lost));
    assert_false(watch_counts(fx.w, &ignored));
    fx_fini(&fx);
}

static void test_watch__folders_have_a_limit(void **state)
{
    struct fx fx;
    (void)state;
    fx_init(&fx);
    for (int i = 0; i < WATCH_N_FOLDERS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        map_set(fx.w->folders, str_from(name), (void *)(intptr_t)1);
    }
    watch_add(fx.w, fx_path(&fx, "a.conf"));
    assert_int_equal(map_count(fx.w->folders), WATCH_N_FOLDERS_MAX);
    fx_fini(&fx);
}

static void test_watch__nothing_is_harmless(void **state)
{
    struct fx fx;
    (void)state;
    watch_add(NULL, "a");
    watch_clear(NULL);
    watch_free(NULL);
    fx_init(&fx);
    watch_add(fx.w, NULL);
    watch_add(fx.w, "/no/such/folder/a.conf"); /* a warning in the log */
    fx_fini(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch__a_change_is_told_once),
        cmocka_unit_test(test_watch__other_files_do_not_count),
        cmocka_unit_test(test_watch__a_replaced_file_counts),
        cmocka_unit_test(test_watch__the_target_of_a_link_counts),
        cmocka_unit_test(test_watch__a_swapped_volume_counts),
        cmocka_unit_test(test_watch__clearing_forgets),
        cmocka_unit_test(test_watch__lost_events_count),
        cmocka_unit_test(test_watch__folders_have_a_limit),
        cmocka_unit_test(test_watch__nothing_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
