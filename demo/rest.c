/*
 * rest: TensorFlow Serving's REST API under /v1/: predict in row form
 * (instances) and column form (inputs), model status, metadata. The JSON is
 * compact, floats in the shortest form with at least one decimal. Errors are
 * {"error": text} with the HTTP status that belongs to the code.
 */
#include "model.h"
#include "route.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define REST_DEPTH_MAX 16
#define REST_NAME_MAX 256

/* A path taken apart. */
struct rest_target {
    char model[REST_NAME_MAX];
    char label[REST_NAME_MAX];
    bool has_label;
    int64_t version;  // -1: the newest
    const char *rest; // what follows: "", "/metadata", ":predict"
};

static int rest_status(enum model_code code)
{
    switch (code) {
    case MODEL_OK:
        return 200;
    case MODEL_INVALID_ARGUMENT:
        return 400;
    case MODEL_NOT_FOUND:
        return 404;
    case MODEL_UNIMPLEMENTED:
        return 501;
    case MODEL_INTERNAL:
        return 500;
    }
    return 500;
}

static void rest_reply_json(struct call *c, int status, json_t *all)
{
    char *text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    call_reply(c, status, "application/json",
               text == NULL ? "{\"error\":\"not printable\"}" : text);
    free(text);
}

static void rest_error(struct call *c, const struct model_error *e)
{
    // json_string() refuses what is no UTF-8; the name came from a URL.
    json_t *text = json_string(e->text);
    const int status = text == NULL ? 400 : rest_status(e->code);
    if (text == NULL) {
        text = json_string("Malformed request: not UTF-8");
    }
    json_t *all = json_object();
    json_object_set_new(all, "error", text);
    rest_reply_json(c, status, all);
}

/* Copies one percent-decoded path element up to a '/' or ':'; NULL: wrong. */
static const char *rest_element(const char *at, char *to)
{
    size_t n = 0;
    while (*at != '\0' && *at != '/' && *at != ':') {
        char ch = *at++;
        if (ch == '%') {
            if (!isxdigit((unsigned char)at[0]) ||
                !isxdigit((unsigned char)at[1])) {
                return NULL;
            }
            const char hex[3] = {at[0], at[1], '\0'};
            ch = (char)strtol(hex, NULL, 16);
            at += 2;
        }
        if (ch == '\0' || n == REST_NAME_MAX - 1) {
            return NULL;
        }
        to[n++] = ch;
    }
    to[n] = '\0';
    return n > 0 ? at : NULL;
}

static bool rest_parse_path(const char *path, struct rest_target *t)
{
    static const char models[] = "/v1/models/";
    if (strncasecmp(path, models, sizeof models - 1) != 0) {
        return false;
    }
    t->version = -1;
    const char *at = rest_element(path + sizeof models - 1, t->model);
    if (at != NULL && strncasecmp(at, "/versions/", 10) == 0) {
        const size_t digits = strspn(at + 10, "0123456789");
        if (digits == 0 || digits > 18) {
            return false;
        }
        t->version = strtoll(at + 10, NULL, 10);
        at += 10 + digits;
    } else if (at != NULL && strncasecmp(at, "/labels/", 8) == 0) {
        at = rest_element(at + 8, t->label);
        t->has_label = true;
    }
    t->rest = at;
    return at != NULL;
}

/* Six digits where they round-trip, else nine; always a decimal. */
static void rest_print_float(struct evbuffer *out, float y)
{
    char text[40];
    if (isnan(y)) {
        evbuffer_add(out, "NaN", 3);
        return;
    }
    if (isinf(y)) {
        evbuffer_add_printf(out, "%sInfinity", y < 0 ? "-" : "");
        return;
    }
    snprintf(text, sizeof text, "%.6g", (double)y);
    if (strtof(text, NULL) != y) {
        snprintf(text, sizeof text, "%.9g", (double)y);
    }
    evbuffer_add_printf(out, "%s%s", text,
                        strpbrk(text, ".e") == NULL ? ".0" : "");
}

/*
 * Applies the model to nested arrays of numbers and prints the result. Every
 * array at one depth must have the length of the first one there.
 */
static bool rest_apply(const json_t *x,
                       int depth,
                       ssize_t *lengths,
                       int *leaf_depth,
                       struct evbuffer *out,
                       struct model_error *e)
{
    if (json_is_number(x)) {
        if (*leaf_depth >= 0 && *leaf_depth != depth) {
            return model_fail(e, MODEL_INVALID_ARGUMENT,
                              "Encountered numbers at different depths");
        }
        *leaf_depth = depth;
        rest_print_float(out, model_apply((float)json_number_value(x)));
        return true;
    }
    if (!json_is_array(x)) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "JSON Value is not of expected type: float");
    }
    if (depth == REST_DEPTH_MAX) {
        return model_fail(e, MODEL_INVALID_ARGUMENT, "Nested too deeply");
    }
    const ssize_t n = (ssize_t)json_array_size(x);
    if (*leaf_depth >= 0 && *leaf_depth <= depth) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "Encountered a list where a number was expected");
    }
    if (lengths[depth] < 0) {
        lengths[depth] = n;
    } else if (lengths[depth] != n) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "Encountered list at unexpected size: %zd at level: "
                          "%d. Expected size: %zd",
                          n, depth, lengths[depth]);
    }
    evbuffer_add(out, "[", 1);
    for (ssize_t i = 0; i < n; i++) {
        if (i > 0) {
            evbuffer_add(out, ",", 1);
        }
        if (!rest_apply(json_array_get(x, (size_t)i), depth + 1, lengths,
                        leaf_depth, out, e)) {
            return false;
        }
    }
    evbuffer_add(out, "]", 1);
    return true;
}

/* The model has one input, x: a bare value, or an object with that key. */
static const json_t *
rest_unwrap(const json_t *value, bool exact, struct model_error *e)
{
    if (!json_is_object(value)) {
        return value;
    }
    const json_t *x = json_object_get(value, "x");
    if (x == NULL || (exact && json_object_size(value) != 1)) {
        model_fail(e, MODEL_INVALID_ARGUMENT,
                   "Failed to process element: the key set must be {\"x\"}");
        return NULL;
    }
    return x;
}

static bool
rest_rows(const json_t *instances, struct evbuffer *out, struct model_error *e)
{
    ssize_t lengths[REST_DEPTH_MAX];
    int leaf_depth = -1;
    for (size_t i = 0; i < REST_DEPTH_MAX; i++) {
        lengths[i] = -1;
    }
    const size_t n = json_array_size(instances);
    if (n == 0) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "Request data format error: 'instances' must be a "
                          "list that is not empty");
    }
    evbuffer_add_printf(out, "{\"predictions\":[");
    for (size_t i = 0; i < n; i++) {
        const json_t *x = rest_unwrap(json_array_get(instances, i), true, e);
        if (i > 0) {
            evbuffer_add(out, ",", 1);
        }
        if (x == NULL || !rest_apply(x, 0, lengths, &leaf_depth, out, e)) {
            return false;
        }
    }
    evbuffer_add(out, "]}", 2);
    return true;
}

static bool
rest_columns(const json_t *inputs, struct evbuffer *out, struct model_error *e)
{
    ssize_t lengths[REST_DEPTH_MAX];
    int leaf_depth = -1;
    for (size_t i = 0; i < REST_DEPTH_MAX; i++) {
        lengths[i] = -1;
    }
    const json_t *x = rest_unwrap(inputs, false, e);
    evbuffer_add_printf(out, "{\"outputs\":");
    if (x == NULL || !rest_apply(x, 0, lengths, &leaf_depth, out, e)) {
        return false;
    }
    evbuffer_add(out, "}", 1);
    return true;
}

static bool
rest_compute(const json_t *all, struct evbuffer *out, struct model_error *e)
{
    const json_t *signature = json_object_get(all, "signature_name");
    const json_t *instances = json_object_get(all, "instances");
    const json_t *inputs = json_object_get(all, "inputs");
    if (!json_is_object(all)) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "Request JSON must be an object");
    }
    if (signature != NULL && !json_is_string(signature)) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "'signature_name' key must be a string value");
    }
    if (signature != NULL &&
        !model_signature(json_string_value(signature), e)) {
        return false;
    }
    if (instances != NULL && inputs != NULL) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "Request cannot have both 'instances' and 'inputs'");
    }
    if (inputs != NULL) {
        return rest_columns(inputs, out, e);
    }
    if (instances == NULL) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "Missing 'inputs' or 'instances' key");
    }
    return rest_rows(instances, out, e);
}

static void rest_predict(struct call *c, int version)
{
    struct model_error e = {.code = MODEL_OK};
    json_error_t where;
    const size_t len = evbuffer_get_length(c->body);
    const char *text = (const char *)evbuffer_pullup(c->body, -1);
    json_t *all =
        json_loadb(text == NULL ? "" : text, len,
                   JSON_DISABLE_EOF_CHECK | JSON_DECODE_INT_AS_REAL, &where);
    struct evbuffer *out = evbuffer_new();
    if (all == NULL) {
        model_fail(&e, MODEL_INVALID_ARGUMENT,
                   "JSON Parse error: %.120s at offset: %d", where.text,
                   where.position);
        rest_error(c, &e);
    } else if (!rest_compute(all, out, &e)) {
        rest_error(c, &e);
    } else {
        char number[16];
        snprintf(number, sizeof number, "%d", version);
        c->out_len = (int64_t)evbuffer_get_length(out);
        call_head(c, 200, "application/json");
        call_reply_field(c, "x-model-version", number);
        evbuffer_add_buffer(c->out, out);
        call_end(c);
    }
    evbuffer_free(out);
    json_decref(all);
}

static json_t *rest_version_status(int version)
{
    char number[16];
    snprintf(number, sizeof number, "%d", version);
    return json_pack("{s:s, s:s, s:{s:s, s:s}}", "version", number, "state",
                     "AVAILABLE", "status", "error_code", "OK", "error_message",
                     "");
}

static void rest_model_status(struct call *c, int version, bool all)
{
    json_t *list = json_array();
    for (int v = MODEL_VERSIONS; v >= 1; v--) {
        if (all || v == version) {
            json_array_append_new(list, rest_version_status(v));
        }
    }
    rest_reply_json(c, 200, json_pack("{s:o}", "model_version_status", list));
}

static json_t *rest_tensor_info(const char *name)
{
    return json_pack("{s:s, s:{s:[{s:s, s:s}], s:b}, s:s}", "dtype", "DT_FLOAT",
                     "tensor_shape", "dim", "size", "-1", "name", "",
                     "unknown_rank", 0, "name", name);
}

static void rest_metadata(struct call *c, int version)
{
    char number[16];
    snprintf(number, sizeof number, "%d", version);
    json_t *signature = json_pack("{s:{s:o}, s:{s:o}, s:s}", "inputs", "x",
                                  rest_tensor_info("x:0"), "outputs", "y",
                                  rest_tensor_info("y:0"), "method_name",
                                  "tensorflow/serving/predict");
    rest_reply_json(c, 200,
                    json_pack("{s:{s:s, s:s, s:s}, s:{s:{s:{s:o}}}}",
                              "model_spec", "name", MODEL_NAME,
                              "signature_name", "", "version", number,
                              "metadata", "signature_def", "signature_def",
                              MODEL_SIGNATURE, signature));
}

/* TensorFlow Serving matches the whole target: a query makes it malformed. */
static void rest_answer(struct call *c)
{
    struct rest_target t = {.version = -1};
    struct model_error e = {.code = MODEL_OK};
    const bool get = strcmp(c->method, "GET") == 0;
    const bool post = strcmp(c->method, "POST") == 0;
    if (strcasecmp(c->path, "/v1/models") == 0) {
        model_fail(&e, MODEL_INVALID_ARGUMENT, "Missing model name");
        rest_error(c, &e);
        return;
    }
    const bool parsed =
        strchr(c->path, '?') == NULL && rest_parse_path(c->path, &t);
    const bool predict = parsed && post && strcasecmp(t.rest, ":predict") == 0;
    const bool metadata = parsed && get && strcasecmp(t.rest, "/metadata") == 0;
    const bool status = parsed && get && t.rest[0] == '\0';
    if (!predict && !metadata && !status) {
        model_fail(&e, MODEL_INVALID_ARGUMENT,
                   "Malformed request: %.20s %.200s", c->method, c->path);
        rest_error(c, &e);
        return;
    }
    const int version =
        model_find(t.model, t.version, t.has_label ? t.label : NULL, &e);
    if (version == 0) {
        rest_error(c, &e);
    } else if (predict) {
        rest_predict(c, version);
    } else if (metadata) {
        rest_metadata(c, version);
    } else {
        rest_model_status(c, version, t.version < 0);
    }
}

bool rest_route(struct call *c)
{
    if (strncmp(c->path, "/v1/", 4) != 0) {
        return false;
    }
    c->end = rest_answer;
    return true;
}
