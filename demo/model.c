/*
 * model: see model.h.
 */
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Bool model_fail(struct model_error *e,
                 enum model_code code,
                 const char *format,
                 ...)
{
    va_list args;
    va_start(args, format);
    e->code = code;
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return 0;
}

int model_find(const char *name,
               int64_t version,
               const char *label,
               struct model_error *e)
{
    if (name[0] == '\0') {
        model_fail(e, MODEL_INVALID_ARGUMENT, "Missing model name");
        return 0;
    }
    if (label != NULL) {
        model_fail(e, MODEL_INVALID_ARGUMENT,
                   "Unrecognized servable version label: %.100s", label);
        return 0;
    }
    const _Bool known = strcmp(name, MODEL_NAME) == 0;
    if (version < 0) {
        if (!known) {
            model_fail(e, MODEL_NOT_FOUND,
                       "Servable not found for request: Latest(%.150s)", name);
        }
        return known ? MODEL_VERSIONS : 0;
    }
    if (!known || version < 1 || version > MODEL_VERSIONS) {
        model_fail(e, MODEL_NOT_FOUND,
                   "Servable not found for request: Specific(%.150s, %lld)",
                   name, (long long)version);
        return 0;
    }
    return (int)version;
}

_Bool model_signature(const char *name, struct model_error *e)
{
    if (name[0] == '\0' || strcmp(name, MODEL_SIGNATURE) == 0) {
        return 1;
    }
    return model_fail(e, MODEL_INVALID_ARGUMENT,
                      "Serving signature name: \"%.100s\" not found in "
                      "signature def",
                      name);
}
