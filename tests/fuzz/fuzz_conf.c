/*
 * fuzz_conf: the conf file. Input: its text.
 * Laws: what is refused says why, and what is taken says nothing; a sound tree
 * that is written out (settings_dump) is read again, is sound, and is written
 * out the same.
 */
#define _GNU_SOURCE
#include "base/buf.h"
#include "control/settings.h"
#include "control/source_file.h"
#include "fuzz.h"

/* The tree of a text; NULL when it was refused. */
static struct node *conf_read(struct str text)
{
    struct error err = {0};
    struct fuzz_file f = fuzz_file_open(text);
    struct node *root = source_file_read(f.path, &err);
    fuzz_file_close(&f);
    CHECK((root == NULL) == (err.n_problems > 0));
    CHECK(root != NULL || err.len > 0);
    error_fini(&err);
    return root;
}

static bool conf_check(struct node *root)
{
    struct error err = {0};
    const bool is_sound = settings_check(root, &err);
    CHECK(is_sound == (err.n_problems == 0));
    CHECK(err.len <= ERROR_TEXT_MAX);
    error_fini(&err);
    return is_sound;
}

static struct str conf_dump(const struct node *root)
{
    struct buf out;
    buf_init(&out, NULL);
    settings_dump(root, &out);
    const size_t len = buf_len(&out);
    char *text = mem_new_raw(len + 1);
    for (size_t at = 0; at < len;) {
        const struct str piece = buf_peek(&out);
        memcpy(text + at, piece.p, piece.len);
        at += piece.len;
        buf_drop(&out, piece.len);
    }
    buf_fini(&out);
    return str_make(text, len);
}

static void conf_check_dump(const struct node *root)
{
    const struct str text = conf_dump(root);
    struct node *again = conf_read(text);
    CHECK(again != NULL && conf_check(again));
    const struct str twice = conf_dump(again);
    CHECK(str_eq(text, twice));
    node_free(again);
    fuzz_free(text);
    fuzz_free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct str text = str_make((const char *)data, size);
    /* No other file is read: what lies on this machine is no input. */
    if (size > 0 && memmem(data, size, "@include", 8) != NULL) {
        return 0;
    }
    struct node *root = conf_read(text);
    if (root == NULL) {
        return 0;
    }
    if (conf_check(root)) {
        conf_check_dump(root);
    }
    node_free(root);
    return 0;
}
