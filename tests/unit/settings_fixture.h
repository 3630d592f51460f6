/*
 * settings_fixture: conf files for the tests of the settings. Each test
 * program works in a temporary folder of its own, so that messages say
 * "x.conf:2: ..." on every machine. Included after cmocka.h.
 * Invariant: fixture_leave removes everything that fixture_write made.
 */
#ifndef DAEMUN_TESTS_SETTINGS_FIXTURE_H
#define DAEMUN_TESTS_SETTINGS_FIXTURE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "control/settings.h"
#include "control/source_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char fixture_folder[] = "/tmp/daemun-test-XXXXXX";

/* The least that a conf file needs, in one line. */
#define FIXTURE_LISTENER                                                       \
    "listeners = ( { name = \"l\"; address = \"a:1\"; } );\n"

static inline int fixture_enter(void **state)
{
    (void)state;
    return mkdtemp(fixture_folder) == NULL || chdir(fixture_folder) != 0;
}

static inline int fixture_leave(void **state)
{
    (void)state;
    DIR *dir = opendir(".");
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && unlink(entry->d_name) != 0) {
            rmdir(entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return chdir("/") != 0 || rmdir(fixture_folder) != 0;
}

static inline void
fixture_write_bytes(const char *name, const char *p, size_t len)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline void fixture_write(const char *name, const char *text)
{
    fixture_write_bytes(name, text, strlen(text));
}

/* The tree of a conf text that must be sound. */
static inline struct node *fixture_tree(const char *text)
{
    struct error err = {0};
    fixture_write("x.conf", text);
    struct node *root = source_file_read("x.conf", &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(root);
    const bool is_sound = settings_check(root, &err);
    assert_string_equal(error_text(&err), "");
    assert_true(is_sound);
    return root;
}

/* One row of a table of wrong conf texts. */
struct fixture_case {
    const char *text;
    const char *message; /* all lines; "" for none */
};

/* `before` is put in front of each text. */
static inline void fixture_check_cases(const struct fixture_case *cases,
                                       size_t n,
                                       const char *before)
{
    for (size_t i = 0; i < n; i++) {
        char text[4096];
        struct error err = {0};
        snprintf(text, sizeof text, "%s%s\n", before, cases[i].text);
        fixture_write("x.conf", text);
        struct node *root = source_file_read("x.conf", &err);
        assert_string_equal(error_text(&err), "");
        const bool is_sound = settings_check(root, &err);
        assert_string_equal(error_text(&err), cases[i].message);
        assert_int_equal(is_sound, cases[i].message[0] == '\0');
        node_free(root);
        error_fini(&err);
    }
}

/* All bytes of a buf, as a C string to be freed; empties it. */
static inline char *fixture_take(struct buf *b)
{
    const size_t len = buf_len(b);
    char *text = mem_new(len + 1);
    size_t at = 0;
    while (at < len) {
        const struct str piece = buf_peek(b);
        memcpy(text + at, piece.p, piece.len);
        at += piece.len;
        buf_drop(b, piece.len);
    }
    return text;
}

#endif
