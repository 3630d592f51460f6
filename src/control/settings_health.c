/*
 * settings_health: what health checks and ejection say that makes no sense
 * together with the rest of their upstream. Part of settings_check; control
 * thread.
 */
#include "control/settings.h"

#include <inttypes.h>
#include <string.h>

/* Members that belong to another kind of check than the one that is given. */
static void settings_health_kind(const struct node *check, struct error *err)
{
    static const struct {
        const char *key;
        const char *kinds;
    } rows[] = {
        {"host", "http grpc"},  {"path", "http"},       {"service", "grpc"},
        {"status_max", "http"}, {"status_min", "http"},
    };
    const struct str kind = settings_text(check, "kind");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (settings_has(check, rows[i].key) &&
            strstr(rows[i].kinds, settings_child(check, "kind")->text) ==
                NULL) {
            node_problem(settings_child(check, rows[i].key), err,
                         "has no effect on a check of kind \"%.*s\"; remove "
                         "it, or change kind",
                         STR_ARG(kind));
        }
    }
}

/* A path that can be sent as it is: no blanks, no fragment, no bytes that a
 * client would have to encode. */
static bool settings_health_is_path(struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.p[i] <= 0x20 || path.p[i] >= 0x7f || path.p[i] == '#') {
            return false;
        }
    }
    return path.len > 0 && path.p[0] == '/';
}

/* "name", "name:port", "[v6]:port": what a Host field may hold. */
static bool settings_health_is_authority(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        const char c = host.p[i];
        if (c <= 0x20 || c >= 0x7f || strchr("/?#@\\\"<>", c) != NULL) {
            return false;
        }
    }
    return true;
}

static void settings_health_port(const struct node *up,
                                 const struct node *check,
                                 struct error *err)
{
    const struct node *list = settings_sound_child(up, "endpoints");
    if (list == NULL || settings_number(check, "port") == 0) {
        return;
    }
    for (const struct node *m = list->first; m != NULL; m = m->next) {
        if (str_starts(settings_text(m, "address"), STR("unix:"))) {
            node_problem(settings_child(check, "port"), err,
                         "an endpoint of this upstream is a UNIX socket, which "
                         "has no port; remove port");
            return;
        }
    }
}

static void settings_health_check(const struct node *up, struct error *err)
{
    const struct node *check = settings_sound_child(up, "health_check");
    if (check == NULL || !settings_has(check, "kind")) {
        return;
    }
    const bool is_grpc = str_eq(settings_text(check, "kind"), STR("grpc")) &&
                         settings_is_sound(settings_child(up, "protocol"));
    const int64_t min = settings_number(check, "status_min");
    const int64_t max = settings_number(check, "status_max");
    settings_health_kind(check, err);
    settings_health_port(up, check, err);
    if (is_grpc && str_eq(settings_text(up, "protocol"), STR("http1"))) {
        node_problem(settings_child(check, "kind"), err,
                     "\"grpc\" needs HTTP/2; write protocol = \"h2c\" (or "
                     "\"h2\" with tls), or use kind \"http\" or \"tcp\"");
    }
    if (min > max) {
        node_problem(check, err,
                     "no status is good: status_min %" PRId64
                     " is above status_max %" PRId64,
                     min, max);
    }
    if (settings_has(check, "path") &&
        !settings_health_is_path(settings_text(check, "path"))) {
        node_problem(settings_child(check, "path"), err,
                     "a path begins with / and has no blanks and no # in it; "
                     "write other bytes as %%XX");
    }
    if (!settings_health_is_authority(settings_text(check, "host"))) {
        node_problem(settings_child(check, "host"), err,
                     "is not a host; write \"www.example.org\" or "
                     "\"www.example.org:8080\"");
    }
}

static void settings_health_ejection(const struct node *up, struct error *err)
{
    const struct node *e = settings_sound_child(up, "ejection");
    if (e == NULL) {
        return;
    }
    const int64_t base = settings_number(e, "base_ms");
    const int64_t max = settings_number(e, "max_ms");
    if (base > max) {
        node_problem(e, err,
                     "base_ms %" PRId64 " is above max_ms %" PRId64
                     "; raise max_ms",
                     base, max);
    }
}

void settings_check_health(const struct node *up, struct error *err)
{
    settings_health_check(up, err);
    settings_health_ejection(up, err);
}
