/*
 * model: half_plus_two, y = x/2 + 2, element by element on any shape, in two
 * versions that compute the same and differ in the number they report. Pure
 * functions; the error codes are those of gRPC, which TensorFlow shares.
 */
#ifndef DEMO_MODEL_H
#define DEMO_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define MODEL_NAME "half_plus_two"
#define MODEL_VERSIONS 2
#define MODEL_SIGNATURE "serving_default"

enum model_code {
    MODEL_OK = 0,
    MODEL_INVALID_ARGUMENT = 3,
    MODEL_NOT_FOUND = 5,
    MODEL_UNIMPLEMENTED = 12,
    MODEL_INTERNAL = 13,
};

/* What went wrong, for the client. */
struct model_error {
    enum model_code code;
    char text[256];
};

/* Sets the error; returns false, so that a caller can return it. */
_Bool model_fail(struct model_error *e,
                 enum model_code code,
                 const char *format,
                 ...) __attribute__((format(printf, 3, 4)));

/*
 * The version that serves a request: the newest where neither a version nor a
 * label is asked for (version < 0, label NULL). 0 where the model, the version
 * or the label is unknown, with the error set.
 */
int model_find(const char *name,
               int64_t version,
               const char *label,
               struct model_error *e);

/* False, with the error set, unless the signature is one of the model's. */
_Bool model_signature(const char *name, struct model_error *e);

static inline float model_apply(float x)
{
    return x * 0.5f + 2.0f;
}

#endif
