/*
 * The promises of source_file: every kind of value arrives whole, with its
 * file and line, through includes as well; what cannot be read or parsed is
 * told with file, line and advice.
 */
#include "control/source_file.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "settings_fixture.h"

static struct node *test_read(const char *text)
{
    struct error err = {0};
    fixture_write("x.conf", text);
    struct node *root = source_file_read("x.conf", &err);
    assert_string_equal(error_text(&err), "");
    assert_non_null(root);
    return root;
}

static const struct node *test_child(const struct node *n, const char *name)
{
    const struct node *m = n->first;
    while (m != NULL && (m->name == NULL || strcmp(m->name, name) != 0)) {
        m = m->next;
    }
    assert_non_null(m);
    return m;
}

static void test_expect_error(const char *path, const char *message)
{
    struct error err = {0};
    struct node *root = source_file_read(path, &err);
    assert_string_equal(error_text(&err), message);
    assert_null(root);
    error_fini(&err);
}

static void test_source_file__every_kind_of_value(void **state)
{
    (void)state;
    struct node *root =
        test_read("text = \"a\\x41\\\"b\" \"c\"; # one\n"
                  "flag = TRUE; // two\n"
                  "real = 1.5e3;\n"
                  "group = { x-y_z = 1 };\n"
                  "array = [ 1, 2 ];\n"
                  "list = ( \"a\", { } ); /* three\n */ last = \"\";\n");
    assert_string_equal(test_child(root, "text")->text, "aA\"bc");
    assert_int_equal(test_child(root, "flag")->kind, NODE_FLAG);
    assert_true(test_child(root, "flag")->flag);
    assert_int_equal(test_child(root, "real")->kind, NODE_FLOAT);
    assert_true(test_child(root, "real")->real > 1499.0);
    assert_int_equal(test_child(test_child(root, "group"), "x-y_z")->number, 1);
    assert_int_equal(test_child(root, "array")->kind, NODE_LIST);
    assert_int_equal(test_child(root, "array")->last->number, 2);
    assert_int_equal(test_child(root, "list")->n_children, 2);
    assert_int_equal(test_child(root, "list")->last->kind, NODE_GROUP);
    assert_string_equal(test_child(root, "last")->text, "");
    assert_int_equal(test_child(root, "last")->line, 7);
    node_free(root);
}

static void test_source_file__whole_numbers_are_64_bits_wide(void **state)
{
    (void)state;
    struct node *root = test_read(
        "a = 5000000000; b = -5000000000; c = 0xffffffff; d = 2147483648;\n"
        "e = 7L; f = 0x10L; g = [ 1, 5000000000 ]; h = +3; "
        "i = 9223372036854775807; a1 = 1; j = \"5 10\";\n");
    assert_true(test_child(root, "a")->number == INT64_C(5000000000));
    assert_true(test_child(root, "b")->number == INT64_C(-5000000000));
    assert_true(test_child(root, "c")->number == INT64_C(4294967295));
    assert_true(test_child(root, "d")->number == INT64_C(2147483648));
    assert_int_equal(test_child(root, "e")->number, 7);
    assert_int_equal(test_child(root, "f")->number, 16);
    assert_true(test_child(root, "g")->last->number == INT64_C(5000000000));
    assert_int_equal(test_child(root, "h")->number, 3);
    assert_true(test_child(root, "i")->number == INT64_MAX);
    assert_int_equal(test_child(root, "a1")->number, 1);
    assert_string_equal(test_child(root, "j")->text, "5 10");
    node_free(root);
}

static void test_source_file__nodes_know_file_and_line(void **state)
{
    (void)state;
    struct node *root = test_read("\n\na = 1;\nb = {\n  c = (\n    2 );\n};\n");
    assert_string_equal(root->file, "x.conf");
    assert_string_equal(test_child(root, "a")->file, "x.conf");
    assert_int_equal(test_child(root, "a")->line, 3);
    assert_int_equal(test_child(root, "b")->line, 4);
    assert_int_equal(test_child(test_child(root, "b"), "c")->line, 5);
    node_free(root);
}

static void test_source_file__includes_keep_their_lines(void **state)
{
    (void)state;
    fixture_write("in.conf", "# a\nb = 5000000000;\n  @include \"deep.conf\"\n"
                             "c = 3;");
    fixture_write("deep.conf", "\nd = 4;\n");
    fixture_write("empty.conf", "");
    struct node *root =
        test_read("a = 1;\n\t@include \"in.conf\" // why\ne = 5;\n"
                  "g = {\n@include \"empty.conf\"\n f = 6; };\n"
                  "# @include \"no.conf\"\n/*\n@include \"no.conf\"\n*/\n"
                  "h = \" @include \";\n");
    const struct node *n = test_child(root, "b");
    assert_string_equal(n->file, "in.conf");
    assert_int_equal(n->line, 2);
    assert_true(n->number == INT64_C(5000000000));
    assert_string_equal(test_child(root, "c")->file, "in.conf");
    assert_int_equal(test_child(root, "c")->line, 4);
    assert_string_equal(test_child(root, "d")->file, "deep.conf");
    assert_int_equal(test_child(root, "d")->line, 2);
    assert_string_equal(test_child(root, "e")->file, "x.conf");
    assert_int_equal(test_child(root, "e")->line, 3);
    n = test_child(test_child(root, "g"), "f");
    assert_string_equal(n->file, "x.conf");
    assert_int_equal(n->line, 6);
    assert_int_equal(test_child(root, "h")->line, 11);
    node_free(root);
}

static void test_source_file__includes_are_relative_to_the_file(void **state)
{
    (void)state;
    struct error err = {0};
    char path[128];
    fixture_write("in.conf", "b = 2;");
    fixture_write("x.conf", "@include \"in.conf\"\n");
    snprintf(path, sizeof path, "%s/x.conf", fixture_folder);
    assert_int_equal(chdir("/"), 0);
    struct node *root = source_file_read(path, &err);
    assert_int_equal(chdir(fixture_folder), 0);
    assert_non_null(root);
    snprintf(path, sizeof path, "%s/in.conf", fixture_folder);
    assert_string_equal(test_child(root, "b")->file, path);
    node_free(root);
}

static void test_source_file__files_that_cannot_be_read(void **state)
{
    (void)state;
    test_expect_error(
        "none.conf",
        "none.conf: cannot be opened: No such file or directory\n");
    test_expect_error(".", ".: is a folder; name a file in it\n");
    test_expect_error("/dev/null", "/dev/null: is not a regular file\n");
    fixture_write_bytes("x.conf", "a = 1;\nb\0", 9);
    test_expect_error("x.conf",
                      "x.conf:2: has a NUL byte, so it is not a text file\n");
    fixture_write("big.conf", "");
    assert_int_equal(truncate("big.conf", SOURCE_FILE_BYTES_MAX + 1), 0);
    test_expect_error("big.conf",
                      "big.conf: is too large; a configuration with all that "
                      "it includes may have 64 MiB\n");
}

static void test_source_file__includes_that_cannot_be_read(void **state)
{
    (void)state;
    fixture_write("x.conf", "a = 1;\n@include \"none.conf\"\n");
    test_expect_error("x.conf", "x.conf:2: none.conf: cannot be opened: No "
                                "such file or directory\n");
    fixture_write("x.conf", "@include \"/\"\n");
    test_expect_error("x.conf", "/: is a folder; name a file in it\n");
    fixture_write("x.conf", "@include none.conf\n");
    test_expect_error("x.conf", "x.conf:1: write the name of a file in quotes "
                                "after @include\n");
    fixture_write("x.conf", "\n@include \"x.conf\"\n");
    test_expect_error("x.conf", "x.conf:2: too many files include each other "
                                "(does one include itself?)\n");
}

struct test_syntax {
    const char *text;
    const char *message;
};

#define SYNTAX_END                                                             \
    "syntax error here or before it: look for a missing \";\", quote or "      \
    "bracket, or a \",\" after the last member"
#define SYNTAX SYNTAX_END ": "

#define MISPLACED                                                              \
    "a text cannot stand here: look for a missing \"=\", \",\" or bracket "    \
    "before it\n"

static void test_source_file__syntax_errors(void **state)
{
    (void)state;
    static const struct test_syntax cases[] = {
        {"a = ;\n", "x.conf:1: " SYNTAX "a = ;\n"},
        {"a = ( 1,\n  2, );\n", "x.conf:2: " SYNTAX "2, );\n"},
        {"a = 1;\n\nb = abc;\n", "x.conf:3: " SYNTAX "b = abc;\n"},
        {"a = {\n", "x.conf:2: " SYNTAX_END "\n"},
        {"a.b = 1;\n", "x.conf:1: " SYNTAX "a.b = 1;\n"},
        {"a = 1.2.3.4;\n", "x.conf:1: " SYNTAX "a = 1.2.3.4;\n"},
        {"a = 1;\na = 2;\n", "x.conf:2: this name is in the same group twice; "
                             "remove one: a = 2;\n"},
        {"a = [ 1, \"x\" ];\n",
         "x.conf:1: the members of [ ] must be of one kind; use ( ) for a "
         "mixture: a = [ 1, \"x\" ];\n"},
        {"a = \"b\n;\n",
         "x.conf:1: the text is not closed on its line; add the quote (a long "
         "text may be several in a row, each in quotes)\n"},
        {"a = 1;\nb \"c\";\n", "x.conf:2: " MISPLACED},
        {"a = \"b\" ; \"c\";\n", "x.conf:1: " MISPLACED},
        {"a = ( 1 \"c\" );\n", "x.conf:1: " MISPLACED},
        {"a = { b = 1, \"c\" };\n", "x.conf:1: " MISPLACED},
        {"\"c\"\n", "x.conf:1: " MISPLACED},
        {"a = 1;\n/* b\n", "x.conf:2: the comment is not closed; add */\n"},
        {"a = 99999999999999999999;\n",
         "x.conf:1: the number 99999999999999999999 does not fit 64 bits\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_write("x.conf", cases[i].text);
        test_expect_error("x.conf", cases[i].message);
    }
}

static void test_source_file__syntax_error_in_an_include(void **state)
{
    (void)state;
    fixture_write("in.conf", "b = 1;\nc = = 2;\n");
    fixture_write("x.conf", "a = 1;\n\n@include \"in.conf\"\n");
    test_expect_error("x.conf", "in.conf:2: " SYNTAX "c = = 2;\n");
}

static void test_source_file__depth_is_bounded(void **state)
{
    (void)state;
    char text[512] = "a = ";
    size_t len = strlen(text);
    memset(text + len, '(', 100);
    memset(text + len + 100, ')', 100);
    memcpy(text + len + 200, ";\n", 3);
    fixture_write("x.conf", text);
    test_expect_error(
        "x.conf", "x.conf:1: groups and lists are nested more than 32 deep\n");
}

static void test_source_file__empty_files_and_other_line_ends(void **state)
{
    (void)state;
    struct node *root = test_read("");
    assert_int_equal(root->n_children, 0);
    node_free(root);
    root = test_read("\xef\xbb\xbf"
                     "a = 1;\r\nb = 2;\r\n");
    assert_int_equal(test_child(root, "b")->number, 2);
    assert_int_equal(test_child(root, "b")->line, 2);
    node_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_file__every_kind_of_value),
        cmocka_unit_test(test_source_file__whole_numbers_are_64_bits_wide),
        cmocka_unit_test(test_source_file__nodes_know_file_and_line),
        cmocka_unit_test(test_source_file__includes_keep_their_lines),
        cmocka_unit_test(test_source_file__includes_are_relative_to_the_file),
        cmocka_unit_test(test_source_file__files_that_cannot_be_read),
        cmocka_unit_test(test_source_file__includes_that_cannot_be_read),
        cmocka_unit_test(test_source_file__syntax_errors),
        cmocka_unit_test(test_source_file__syntax_error_in_an_include),
        cmocka_unit_test(test_source_file__depth_is_bounded),
        cmocka_unit_test(test_source_file__empty_files_and_other_line_ends),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
