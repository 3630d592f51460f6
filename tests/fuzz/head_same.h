/*
 * head_same: are two heads the same typed message? For targets that write what
 * they parsed and parse it again.
 */
#ifndef DAEMUN_TESTS_FUZZ_HEAD_SAME_H
#define DAEMUN_TESTS_FUZZ_HEAD_SAME_H

#include "fuzz.h"
#include "http/head.h"

/* The same fields in the same order; ids and names agree. */
static inline void head_check_fields(const struct head *a, const struct head *b)
{
    CHECK(a->n_fields == b->n_fields);
    for (uint32_t i = 0; i < a->n_fields; i++) {
        const struct field *fa = &a->fields[i];
        const struct field *fb = &b->fields[i];
        CHECK(fa->id == fb->id && str_eq(fa->name, fb->name) &&
              str_eq(fa->value, fb->value));
    }
}

/* What head.h promises of each field. */
static inline void head_check_sound(const struct head *h)
{
    for (uint32_t i = 0; i < h->n_fields; i++) {
        const struct field *f = &h->fields[i];
        CHECK(name_is_valid(f->name) && value_is_valid(f->value));
        CHECK(f->id == name_find(f->name));
        CHECK((name_flags(f->id) & NAME_FLAG_HOP) == 0);
        for (size_t j = 0; j < f->name.len; j++) {
            CHECK(f->name.p[j] < 'A' || f->name.p[j] > 'Z');
        }
    }
}

static inline void head_check_request(const struct head *a,
                                      const struct head *b)
{
    CHECK(str_eq(a->method_text, b->method_text) && a->method == b->method);
    CHECK(str_eq(a->authority, b->authority) && str_eq(a->host, b->host));
    CHECK(str_eq(a->path, b->path) && str_eq(a->query, b->query));
    CHECK((a->query.p == NULL) == (b->query.p == NULL));
    CHECK(a->content_length == b->content_length || a->content_length <= 0);
    CHECK(a->is_chunked == b->is_chunked);
    CHECK(a->is_websocket == b->is_websocket && a->is_grpc == b->is_grpc);
    head_check_fields(a, b);
}

#endif
