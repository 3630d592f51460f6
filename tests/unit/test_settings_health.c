/*
 * What is said about health checks and ejection that make no sense.
 */
#include "control/settings_health.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "settings_fixture.h"

/* `members` are those of the upstream on line 2; "" problem: it is sound. */
static void check(const char *members, const char *problem)
{
    char text[2048];
    char message[1024] = "";
    struct error err = {0};
    snprintf(text, sizeof(text),
             FIXTURE_LISTENER "upstreams = { u = { %s }; };", members);
    if (problem[0] != '\0') {
        snprintf(message, sizeof(message), "x.conf:2: upstreams.u.%s\n",
                 problem);
    }
    fixture_write("x.conf", text);
    struct node *root = source_file_read("x.conf", &err);
    assert_non_null(root);
    assert_int_equal(settings_check(root, &err), problem[0] == '\0');
    assert_string_equal(error_text(&err), message);
    error_fini(&err);
    node_free(root);
}

#define EP "endpoints = ( { address = \"127.0.0.1:1\"; } ); "

static void test_settings_health__sound(void **state)
{
    (void)state;
    check(EP "health_check = { kind = \"tcp\"; port = 81; };", "");
    check(EP "health_check = { kind = \"http\"; path = \"/a?b=%20c\"; host = "
             "\"[::1]:80\"; status_min = 301; status_max = 301; };",
          "");
    check(EP "protocol = \"h2c\"; health_check = { kind = \"grpc\"; service = "
             "\"a.B\"; host = \"a.test\"; };",
          "");
    check(EP "protocol = \"auto\"; tls = { }; health_check = { kind = "
             "\"grpc\"; };",
          "");
    check(EP "ejection = { base_ms = 300000; };", "");
}

static void test_settings_health__members_of_another_kind(void **state)
{
    (void)state;
    check(EP "health_check = { kind = \"tcp\"; host = \"a\"; };",
          "health_check.host: has no effect on a check of kind \"tcp\"; remove "
          "it, or change kind");
    check(EP "health_check = { kind = \"http\"; service = \"a\"; };",
          "health_check.service: has no effect on a check of kind \"http\"; "
          "remove it, or change kind");
    check(EP "protocol = \"h2c\"; health_check = { kind = \"grpc\"; "
             "status_max = 399; };",
          "health_check.status_max: has no effect on a check of kind "
          "\"grpc\"; remove it, or change kind");
    check(EP "health_check = { kind = \"grpc\"; };",
          "health_check.kind: \"grpc\" needs HTTP/2; write protocol = \"h2c\" "
          "(or \"h2\" with tls), or use kind \"http\" or \"tcp\"");
    check("endpoints = ( { address = \"unix:/a\"; } ); health_check = { kind = "
          "\"tcp\"; port = 81; };",
          "health_check.port: an endpoint of this upstream is a UNIX socket, "
          "which has no port; remove port");
}

static void test_settings_health__values(void **state)
{
    (void)state;
    static const char path[] =
        "health_check.path: a path begins with / and has no blanks and no # "
        "in it; write other bytes as %XX";
    static const char host[] =
        "health_check.host: is not a host; write \"www.example.org\" or "
        "\"www.example.org:8080\"";
    check(EP "health_check = { kind = \"http\"; path = \"a\"; };", path);
    check(EP "health_check = { kind = \"http\"; path = \"/a b\"; };", path);
    check(EP "health_check = { kind = \"http\"; path = \"/a#b\"; };", path);
    check(EP "health_check = { kind = \"http\"; path = \"/\xc3\xa9\"; };",
          path);
    check(EP "health_check = { kind = \"http\"; host = \"a/b\"; };", host);
    check(EP "health_check = { kind = \"http\"; host = \"a b\"; };", host);
    check(EP "health_check = { kind = \"http\"; host = \"a@b\"; };", host);
    check(EP "health_check = { kind = \"http\"; status_min = 300; };",
          "health_check: no status is good: status_min 300 is above status_max "
          "299");
    check(EP "ejection = { base_ms = 300001; };",
          "ejection: base_ms 300001 is above max_ms 300000; raise max_ms");
    check(EP "health_check = { };",
          "health_check: \"kind\" is missing; add kind = ...;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_health__sound),
        cmocka_unit_test(test_settings_health__members_of_another_kind),
        cmocka_unit_test(test_settings_health__values),
    };
    return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
