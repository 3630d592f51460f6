/*
 * The promises of node: a tree keeps order, names, texts and places, outlives
 * the strings it was made from, and names a node the way operators do.
 */
#include "control/node.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_node__children_keep_their_order(void **state)
{
    (void)state;
    struct node *root = node_new(NULL, NULL, NODE_GROUP, "a.conf", 0);
    struct node *a = node_new(root, "a", NODE_NUMBER, "a.conf", 1);
    struct node *b = node_new(root, "b", NODE_TEXT, "a.conf", 2);
    assert_ptr_equal(root->first, a);
    assert_ptr_equal(a->next, b);
    assert_ptr_equal(root->last, b);
    assert_null(b->next);
    assert_int_equal(root->n_children, 2);
    assert_ptr_equal(b->parent, root);
    node_free(root);
    node_free(NULL);
}

static void test_node__owns_names_texts_and_files(void **state)
{
    (void)state;
    char file[] = "a.conf";
    char other[] = "b.conf";
    char name[] = "key";
    char text[] = "value";
    struct node *root = node_new(NULL, NULL, NODE_GROUP, file, 0);
    struct node *a = node_new(root, name, NODE_TEXT, other, 7);
    struct node *b = node_new(root, name, NODE_TEXT, other, 8);
    node_set_text(a, str_from("first"));
    node_set_text(a, str_make(text, 3));
    memset(file, 'x', sizeof file - 1);
    memset(other, 'x', sizeof other - 1);
    memset(name, 'x', sizeof name - 1);
    memset(text, 'x', sizeof text - 1);
    assert_string_equal(root->file, "a.conf");
    assert_string_equal(a->file, "b.conf");
    assert_ptr_equal(a->file, b->file);
    assert_string_equal(a->name, "key");
    assert_string_equal(a->text, "val");
    node_set_text(a, STR_NONE);
    assert_string_equal(a->text, "");
    node_free(root);
}

static void test_node__path_names_members_and_indices(void **state)
{
    (void)state;
    char dst[64];
    struct node *root = node_new(NULL, NULL, NODE_GROUP, "a.conf", 0);
    struct node *routes = node_new(root, "routes", NODE_LIST, "a.conf", 1);
    node_new(routes, NULL, NODE_GROUP, "a.conf", 2);
    struct node *r = node_new(routes, NULL, NODE_GROUP, "a.conf", 3);
    struct node *p = node_new(r, "path_prefix", NODE_TEXT, "a.conf", 4);
    assert_string_equal(node_path(p, dst, sizeof dst), "routes[1].path_prefix");
    assert_string_equal(node_path(routes, dst, sizeof dst), "routes");
    assert_string_equal(node_path(root, dst, sizeof dst), "");
    node_free(root);
}

static void test_node__path_is_cut_at_the_size(void **state)
{
    (void)state;
    char dst[8];
    struct node *root = node_new(NULL, NULL, NODE_GROUP, "a.conf", 0);
    struct node *n = root;
    for (int i = 0; i < 10; i++) {
        n = node_new(n, "abc", NODE_GROUP, "a.conf", 1);
    }
    assert_string_equal(node_path(n, dst, sizeof dst), "abc.abc");
    assert_string_equal(node_path(n, dst, 1), "");
    node_free(root);
}

static void test_node__problem_says_file_line_and_path(void **state)
{
    (void)state;
    struct error err = {0};
    struct node *root = node_new(NULL, NULL, NODE_GROUP, "a.conf", 0);
    struct node *n = node_new(root, "workers", NODE_NUMBER, "a.conf", 12);
    assert_false(node_problem(n, &err, "%d is wrong", 5));
    assert_false(node_problem(root, &err, "is empty"));
    assert_string_equal(error_text(&err), "a.conf:12: workers: 5 is wrong\n"
                                          "a.conf: is empty\n");
    error_fini(&err);
    node_free(root);
}

static void test_node__problem_without_a_file(void **state)
{
    (void)state;
    struct error err = {0};
    struct node *root = node_new(NULL, NULL, NODE_GROUP, NULL, 0);
    struct node *n = node_new(root, "workers", NODE_NUMBER, NULL, 0);
    node_problem(n, &err, "is wrong");
    assert_string_equal(error_text(&err), "workers: is wrong\n");
    error_fini(&err);
    node_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node__children_keep_their_order),
        cmocka_unit_test(test_node__owns_names_texts_and_files),
        cmocka_unit_test(test_node__path_names_members_and_indices),
        cmocka_unit_test(test_node__path_is_cut_at_the_size),
        cmocka_unit_test(test_node__problem_says_file_line_and_path),
        cmocka_unit_test(test_node__problem_without_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
