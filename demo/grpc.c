/*
 * grpc: the gRPC side of the demo server: PredictionService (Predict,
 * GetModelMetadata), ModelService (GetModelStatus) and health v1 (Check,
 * Watch). One message in, one message out, framed as gRPC wants it; an error
 * is an answer of trailers only. Protobuf messages are generated from the
 * .proto files beside this one.
 */
#include "model.h"
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health.pb-c.h"
#include "tfserving.pb-c.h"

#define GRPC_ELEMENTS_MAX (4u << 20)
#define GRPC_TYPE "application/grpc"

static void grpc_fail(struct call *c, const struct model_error *e)
{
    char number[16];
    char text[3 * sizeof e->text];
    size_t n = 0;
    for (const char *at = e->text; *at != '\0'; at++) {
        const unsigned char ch = (unsigned char)*at;
        if (ch < 0x20 || ch > 0x7e || ch == '%') {
            n += (size_t)snprintf(text + n, sizeof text - n, "%%%02X", ch);
        } else {
            text[n++] = (char)ch;
        }
    }
    text[n] = '\0';
    snprintf(number, sizeof number, "%d", (int)e->code);
    call_head(c, 200, GRPC_TYPE);
    call_trailer(c, "grpc-status", number);
    call_trailer(c, "grpc-message", text);
    call_end(c);
}

static void grpc_message(struct call *c, const ProtobufCMessage *m)
{
    const size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = call_alloc(5 + len);
    bytes[1] = (uint8_t)(len >> 24);
    bytes[2] = (uint8_t)(len >> 16);
    bytes[3] = (uint8_t)(len >> 8);
    bytes[4] = (uint8_t)len;
    protobuf_c_message_pack(m, bytes + 5);
    evbuffer_add(c->out, bytes, 5 + len);
    free(bytes);
}

static void grpc_reply(struct call *c, const ProtobufCMessage *m)
{
    grpc_message(c, m);
    call_head(c, 200, GRPC_TYPE);
    call_trailer(c, "grpc-status", "0");
    call_end(c);
}

/* The one request message, or NULL with the error answered. */
static void *grpc_request(struct call *c, const ProtobufCMessageDescriptor *d)
{
    struct model_error e = {.code = MODEL_OK};
    const size_t len = evbuffer_get_length(c->body);
    const uint8_t *bytes = evbuffer_pullup(c->body, -1);
    ProtobufCMessage *m = NULL;
    if (len < 5) {
        model_fail(&e, MODEL_INTERNAL, "the request message is missing");
    } else if (bytes[0] != 0) {
        model_fail(&e, MODEL_UNIMPLEMENTED, "compression is not supported");
    } else if (((size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 |
                (size_t)bytes[3] << 8 | bytes[4]) != len - 5) {
        model_fail(&e, MODEL_INTERNAL,
                   "the request is not exactly one message");
    } else {
        m = protobuf_c_message_unpack(d, NULL, len - 5, bytes + 5);
        if (m == NULL) {
            model_fail(&e, MODEL_INTERNAL, "the request cannot be parsed");
        }
    }
    if (m == NULL) {
        grpc_fail(c, &e);
    }
    return m;
}

static int grpc_find(const Tensorflow__Serving__ModelSpec *spec,
                     struct model_error *e)
{
    if (spec == NULL) {
        model_fail(e, MODEL_INVALID_ARGUMENT, "Missing ModelSpec");
        return 0;
    }
    switch (spec->version_choice_case) {
    case TENSORFLOW__SERVING__MODEL_SPEC__VERSION_CHOICE_VERSION:
        return model_find(spec->name, spec->version->value, NULL, e);
    case TENSORFLOW__SERVING__MODEL_SPEC__VERSION_CHOICE_VERSION_LABEL:
        return model_find(spec->name, -1, spec->version_label, e);
    default:
        return model_find(spec->name, -1, NULL, e);
    }
}

/* How many elements the shape says; -1 where it is wrong or too large. */
static int64_t grpc_elements(const Tensorflow__TensorShapeProto *shape)
{
    uint64_t n = 1;
    bool zero = false;
    for (size_t i = 0; shape != NULL && i < shape->n_dim; i++) {
        const int64_t size = shape->dim[i]->size;
        if (size < 0 || shape->unknown_rank) {
            return -1;
        }
        zero = zero || size == 0;
        n = zero ? 1 : n * (uint64_t)size;
        if (size > GRPC_ELEMENTS_MAX || n > GRPC_ELEMENTS_MAX) {
            return -1;
        }
    }
    return zero ? 0 : (int64_t)n;
}

/*
 * Computes `y` from an input in either spelling: the flat image in
 * tensor_content, or float_val, whose last value repeats to fill the shape.
 */
static bool grpc_compute(const Tensorflow__TensorProto *x,
                         Tensorflow__TensorProto *y,
                         struct model_error *e)
{
    const int64_t n = grpc_elements(x->tensor_shape);
    if (x->dtype != TENSORFLOW__DATA_TYPE__DT_FLOAT) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "Expects arg[0] to be float but type %d is provided",
                          (int)x->dtype);
    }
    if (n < 0 ||
        (x->tensor_content.len > 0 &&
         x->tensor_content.len != (size_t)n * sizeof(float)) ||
        x->n_float_val > (size_t)n) {
        return model_fail(e, MODEL_INVALID_ARGUMENT,
                          "tensor parsing error: x: the values do not fit the "
                          "shape");
    }
    y->dtype = x->dtype;
    y->tensor_shape = x->tensor_shape;
    y->n_float_val = (size_t)n;
    y->float_val = call_alloc((size_t)n * sizeof(float) + 1);
    for (size_t i = 0; i < (size_t)n; i++) {
        float value = 0;
        if (x->tensor_content.len > 0) {
            memcpy(&value, x->tensor_content.data + i * sizeof value,
                   sizeof value);
        } else if (x->n_float_val > 0) {
            value = x->float_val[i < x->n_float_val ? i : x->n_float_val - 1];
        }
        y->float_val[i] = model_apply(value);
    }
    return true;
}

static const Tensorflow__TensorProto *
grpc_input(const Tensorflow__Serving__PredictRequest *request,
           struct model_error *e)
{
    const Tensorflow__TensorProto *x = NULL;
    for (size_t i = 0; i < request->n_inputs; i++) {
        if (strcmp(request->inputs[i]->key, "x") != 0) {
            model_fail(e, MODEL_INVALID_ARGUMENT,
                       "input tensor alias not found in signature: %.100s. "
                       "Inputs expected to be in the set {x}.",
                       request->inputs[i]->key);
            return NULL;
        }
        x = request->inputs[i]->value;
    }
    if (x == NULL) {
        model_fail(e, MODEL_INVALID_ARGUMENT,
                   "input size does not match signature: 0 != 1 len({x}).");
    }
    return x;
}

static void grpc_predict(struct call *c)
{
    struct model_error e = {.code = MODEL_OK};
    Tensorflow__Serving__PredictRequest *request =
        grpc_request(c, &tensorflow__serving__predict_request__descriptor);
    if (request == NULL) {
        return;
    }
    Tensorflow__TensorProto y = TENSORFLOW__TENSOR_PROTO__INIT;
    const int version = grpc_find(request->model_spec, &e);
    const Tensorflow__TensorProto *x = NULL;
    if (version != 0 &&
        model_signature(request->model_spec->signature_name, &e)) {
        x = grpc_input(request, &e);
    }
    if (x == NULL || !grpc_compute(x, &y, &e)) {
        grpc_fail(c, &e);
    } else {
        char name[] = MODEL_NAME;
        char signature[] = MODEL_SIGNATURE;
        char key[] = "y";
        Tensorflow__Serving__Int64Value number =
            TENSORFLOW__SERVING__INT64_VALUE__INIT;
        Tensorflow__Serving__ModelSpec spec =
            TENSORFLOW__SERVING__MODEL_SPEC__INIT;
        Tensorflow__Serving__PredictResponse__OutputsEntry entry =
            TENSORFLOW__SERVING__PREDICT_RESPONSE__OUTPUTS_ENTRY__INIT;
        Tensorflow__Serving__PredictResponse__OutputsEntry *outputs[] = {
            &entry};
        Tensorflow__Serving__PredictResponse response =
            TENSORFLOW__SERVING__PREDICT_RESPONSE__INIT;
        number.value = version;
        spec.name = name;
        spec.signature_name = signature;
        spec.version_choice_case =
            TENSORFLOW__SERVING__MODEL_SPEC__VERSION_CHOICE_VERSION;
        spec.version = &number;
        entry.key = key;
        entry.value = &y;
        response.n_outputs = 1;
        response.outputs = outputs;
        response.model_spec = &spec;
        grpc_reply(c, &response.base);
    }
    free(y.float_val);
    protobuf_c_message_free_unpacked(&request->base, NULL);
}

/* A signature of one input and one output, each a float list of any length. */
static void grpc_signature(ProtobufCBinaryData *packed)
{
    char x_key[] = "x";
    char x_name[] = "x:0";
    char y_key[] = "y";
    char y_name[] = "y:0";
    char method[] = "tensorflow/serving/predict";
    char key[] = MODEL_SIGNATURE;
    Tensorflow__TensorShapeProto__Dim dim =
        TENSORFLOW__TENSOR_SHAPE_PROTO__DIM__INIT;
    Tensorflow__TensorShapeProto__Dim *dims[] = {&dim};
    Tensorflow__TensorShapeProto shape = TENSORFLOW__TENSOR_SHAPE_PROTO__INIT;
    Tensorflow__TensorInfo x = TENSORFLOW__TENSOR_INFO__INIT;
    Tensorflow__TensorInfo y = TENSORFLOW__TENSOR_INFO__INIT;
    Tensorflow__SignatureDef__InputsEntry in =
        TENSORFLOW__SIGNATURE_DEF__INPUTS_ENTRY__INIT;
    Tensorflow__SignatureDef__InputsEntry *ins[] = {&in};
    Tensorflow__SignatureDef__OutputsEntry out =
        TENSORFLOW__SIGNATURE_DEF__OUTPUTS_ENTRY__INIT;
    Tensorflow__SignatureDef__OutputsEntry *outs[] = {&out};
    Tensorflow__SignatureDef signature = TENSORFLOW__SIGNATURE_DEF__INIT;
    Tensorflow__Serving__SignatureDefMap__SignatureDefEntry entry =
        TENSORFLOW__SERVING__SIGNATURE_DEF_MAP__SIGNATURE_DEF_ENTRY__INIT;
    Tensorflow__Serving__SignatureDefMap__SignatureDefEntry *entries[] = {
        &entry};
    Tensorflow__Serving__SignatureDefMap map =
        TENSORFLOW__SERVING__SIGNATURE_DEF_MAP__INIT;

    dim.size = -1;
    shape.n_dim = 1;
    shape.dim = dims;
    x.name = x_name;
    y.name = y_name;
    x.dtype = y.dtype = TENSORFLOW__DATA_TYPE__DT_FLOAT;
    x.tensor_shape = y.tensor_shape = &shape;
    in.key = x_key;
    in.value = &x;
    out.key = y_key;
    out.value = &y;
    signature.n_inputs = signature.n_outputs = 1;
    signature.inputs = ins;
    signature.outputs = outs;
    signature.method_name = method;
    entry.key = key;
    entry.value = &signature;
    map.n_signature_def = 1;
    map.signature_def = entries;
    packed->len = protobuf_c_message_get_packed_size(&map.base);
    packed->data = call_alloc(packed->len);
    protobuf_c_message_pack(&map.base, packed->data);
}

static void grpc_metadata(struct call *c)
{
    struct model_error e = {.code = MODEL_OK};
    Tensorflow__Serving__GetModelMetadataRequest *request = grpc_request(
        c, &tensorflow__serving__get_model_metadata_request__descriptor);
    if (request == NULL) {
        return;
    }
    const int version = grpc_find(request->model_spec, &e);
    const bool asked = request->n_metadata_field == 1 &&
                       strcmp(request->metadata_field[0], "signature_def") == 0;
    if (version != 0 && !asked) {
        model_fail(&e, MODEL_INVALID_ARGUMENT,
                   "metadata_field must be exactly \"signature_def\"");
    }
    if (version == 0 || !asked) {
        grpc_fail(c, &e);
    } else {
        char name[] = MODEL_NAME;
        char key[] = "signature_def";
        char type[] = "type.googleapis.com/tensorflow.serving.SignatureDefMap";
        Tensorflow__Serving__Int64Value number =
            TENSORFLOW__SERVING__INT64_VALUE__INIT;
        Tensorflow__Serving__ModelSpec spec =
            TENSORFLOW__SERVING__MODEL_SPEC__INIT;
        Tensorflow__Serving__Any any = TENSORFLOW__SERVING__ANY__INIT;
        Tensorflow__Serving__GetModelMetadataResponse__MetadataEntry entry =
            TENSORFLOW__SERVING__GET_MODEL_METADATA_RESPONSE__METADATA_ENTRY__INIT;
        Tensorflow__Serving__GetModelMetadataResponse__MetadataEntry
            *entries[] = {&entry};
        Tensorflow__Serving__GetModelMetadataResponse response =
            TENSORFLOW__SERVING__GET_MODEL_METADATA_RESPONSE__INIT;
        number.value = version;
        spec.name = name;
        spec.version_choice_case =
            TENSORFLOW__SERVING__MODEL_SPEC__VERSION_CHOICE_VERSION;
        spec.version = &number;
        any.type_url = type;
        grpc_signature(&any.value);
        entry.key = key;
        entry.value = &any;
        response.model_spec = &spec;
        response.n_metadata = 1;
        response.metadata = entries;
        grpc_reply(c, &response.base);
        free(any.value.data);
    }
    protobuf_c_message_free_unpacked(&request->base, NULL);
}

static void grpc_model_status(struct call *c)
{
    struct model_error e = {.code = MODEL_OK};
    Tensorflow__Serving__GetModelStatusRequest *request = grpc_request(
        c, &tensorflow__serving__get_model_status_request__descriptor);
    if (request == NULL) {
        return;
    }
    const int version = grpc_find(request->model_spec, &e);
    if (version == 0) {
        grpc_fail(c, &e);
    } else {
        const bool all =
            request->model_spec->version_choice_case ==
            TENSORFLOW__SERVING__MODEL_SPEC__VERSION_CHOICE__NOT_SET;
        Tensorflow__Serving__StatusProto ok =
            TENSORFLOW__SERVING__STATUS_PROTO__INIT;
        Tensorflow__Serving__ModelVersionStatus of[MODEL_VERSIONS];
        Tensorflow__Serving__ModelVersionStatus *list[MODEL_VERSIONS];
        Tensorflow__Serving__GetModelStatusResponse response =
            TENSORFLOW__SERVING__GET_MODEL_STATUS_RESPONSE__INIT;
        for (int v = MODEL_VERSIONS; v >= 1; v--) {
            if (all || v == version) {
                const size_t i = response.n_model_version_status++;
                tensorflow__serving__model_version_status__init(&of[i]);
                of[i].version = v;
                of[i].state =
                    TENSORFLOW__SERVING__MODEL_VERSION_STATUS__STATE__AVAILABLE;
                of[i].status = &ok;
                list[i] = &of[i];
            }
        }
        response.model_version_status = list;
        grpc_reply(c, &response.base);
    }
    protobuf_c_message_free_unpacked(&request->base, NULL);
}

static bool grpc_health_knows(const char *service)
{
    static const char *const names[] = {"", "ModelService", "PredictionService",
                                        "tensorflow.serving.ModelService",
                                        "tensorflow.serving.PredictionService"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(service, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void grpc_health_check(struct call *c)
{
    Grpc__Health__V1__HealthCheckRequest *request =
        grpc_request(c, &grpc__health__v1__health_check_request__descriptor);
    if (request == NULL) {
        return;
    }
    Grpc__Health__V1__HealthCheckResponse response =
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    if (grpc_health_knows(request->service)) {
        response.status =
            GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
        grpc_reply(c, &response.base);
    } else {
        struct model_error e;
        model_fail(&e, MODEL_NOT_FOUND, "unknown service");
        grpc_fail(c, &e);
    }
    protobuf_c_message_free_unpacked(&request->base, NULL);
}

/* Says the state once and leaves the stream open: it never changes here. */
static void grpc_health_watch(struct call *c)
{
    Grpc__Health__V1__HealthCheckRequest *request =
        grpc_request(c, &grpc__health__v1__health_check_request__descriptor);
    if (request == NULL) {
        return;
    }
    Grpc__Health__V1__HealthCheckResponse response =
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status =
        grpc_health_knows(request->service)
            ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
            : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    grpc_message(c, &response.base);
    call_head(c, 200, GRPC_TYPE);
    call_wake(c);
    protobuf_c_message_free_unpacked(&request->base, NULL);
}

static void grpc_unknown(struct call *c)
{
    struct model_error e;
    model_fail(&e, MODEL_UNIMPLEMENTED, "unknown method %.150s", c->path);
    grpc_fail(c, &e);
}

static const struct {
    const char *path;
    void (*end)(struct call *c);
} grpc_methods[] = {
    {"/tensorflow.serving.PredictionService/Predict", grpc_predict},
    {"/tensorflow.serving.PredictionService/GetModelMetadata", grpc_metadata},
    {"/tensorflow.serving.ModelService/GetModelStatus", grpc_model_status},
    {"/grpc.health.v1.Health/Check", grpc_health_check},
    {"/grpc.health.v1.Health/Watch", grpc_health_watch},
};

bool grpc_route(struct call *c)
{
    const char *type = call_field(c, "content-type");
    if (strcmp(c->protocol, "h2") != 0 || type == NULL ||
        strncmp(type, GRPC_TYPE, strlen(GRPC_TYPE)) != 0 ||
        strncmp(c->path, "/daemun.demo.", 13) == 0) {
        return false;
    }
    c->end = grpc_unknown;
    for (size_t i = 0; i < sizeof grpc_methods / sizeof grpc_methods[0]; i++) {
        if (strcmp(c->path, grpc_methods[i].path) == 0) {
            c->end = grpc_methods[i].end;
        }
    }
    return true;
}
