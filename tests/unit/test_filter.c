/*
 * The promises of filter: request hooks in order, response hooks in reverse,
 * on_done exactly once and only for those that had their turn; a wait goes on
 * where it stopped, and what arrives meanwhile is kept; an answer passes the
 * outer filters only; edits count only where they were declared. The exchange
 * is real, the streams and steps around it are not: what the filters pass on
 * is written into one trace.
 */
#include "proxy/api.c"
#include "proxy/filter.c"

#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

/* ---- what stands around the filters: all of it goes into the trace ---- */

static char trace[4096];

static void trace_add(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

static void trace_add(const char *format, ...)
{
    const size_t len = strlen(trace);
    va_list args;
    va_start(args, format);
    vsnprintf(trace + len, sizeof(trace) - len, format, args);
    va_end(args);
}

static void trace_is(const char *expected)
{
    assert_string_equal(trace, expected);
    trace[0] = '\0';
}

void exchange_run(struct exchange *x, enum exchange_step step)
{
    assert_int_equal(step, STEP_REQUEST);
    if (filter_request(x)) {
        trace_add("[pick]");
    }
}

void exchange_finish(struct exchange *x)
{
    if (!x->is_finished) {
        x->is_finished = true;
        filter_done(x);
    }
}

void exchange_fail(struct exchange *x, enum fault f, struct str detail)
{
    (void)detail;
    x->fault = f;
    trace_add("[fail %.*s]", STR_ARG(fault_row(f)->word));
    exchange_finish(x);
}

void exchange_attempt_end(struct exchange *x, bool is_failure)
{
    (void)x;
    assert_false(is_failure);
}

void exchange_arm(struct exchange *x)
{
    (void)x;
}

void reply_filter(struct exchange *x, struct head *h, struct str body)
{
    trace_add("[reply %d %.*s]", h->status, STR_ARG(body));
    exchange_finish(x);
}

static void
trace_piece(const char *what, const uint8_t *p, size_t len, bool is_end)
{
    trace_add("[%s %.*s%s]", what, (int)len, len > 0 ? (const char *)p : "",
              is_end ? "$" : "");
}

void forward_pass_upload(struct exchange *x,
                         const uint8_t *p,
                         size_t len,
                         bool is_end)
{
    (void)x;
    trace_piece("up", p, len, is_end);
}

void forward_pass_upload_trailers(struct exchange *x, struct head *trailers)
{
    (void)x;
    (void)trailers;
    trace_add("[up trailers]");
}

void forward_pass_response(struct exchange *x, struct head *h)
{
    x->is_head_sent = true;
    x->response = h;
    trace_add("[response %d]", h->status);
}

void forward_pass_download(struct exchange *x,
                           const uint8_t *p,
                           size_t len,
                           bool is_end)
{
    trace_piece("down", p, len, is_end);
    if (is_end) {
        exchange_finish(x);
    }
}

void forward_pass_download_trailers(struct exchange *x, struct head *trailers)
{
    (void)trailers;
    trace_add("[down trailers]");
    exchange_finish(x);
}

/* ---- the filters: their settings object is a script ---- */

/* What a filter does; the name is what it writes into the trace. */
struct script {
    const char *name;
    enum dm_verdict on_request;
    enum dm_verdict on_response;
    enum dm_verdict on_data;
    bool is_resuming_at_once;
    bool is_doubling; /* data hooks give each piece twice */
    bool is_swallowing;
    bool is_answering; /* sets an answer before DM_REPLY */
    unsigned *n_freed;
    unsigned *n_left;
};

static void script_prepare(struct exchange *x,
                           const struct script *s,
                           enum dm_verdict verdict)
{
    if (verdict == DM_REPLY && s->is_answering) {
        assert_true(dm_reply(x, 403, DM_STR("text/plain"), DM_STR("no")));
    }
    if (s->is_resuming_at_once) {
        dm_resume(x);
    }
}

static enum dm_verdict script_on_request(struct exchange *x,
                                         const struct filter_use *use)
{
    const struct script *s = use->conf;
    uint64_t *n_calls = use->state;
    assert_int_equal(*n_calls, 0); /* zeroed, and the first call */
    assert_int_equal((uintptr_t)n_calls % 16, 0);
    (*n_calls)++;
    trace_add("%s>", s->name);
    script_prepare(x, s, s->on_request);
    return s->on_request;
}

static enum dm_verdict script_on_response(struct exchange *x,
                                          const struct filter_use *use)
{
    const struct script *s = use->conf;
    trace_add("<%s", s->name);
    script_prepare(x, s, s->on_response);
    return s->on_response;
}

static enum dm_verdict script_on_data(struct exchange *x,
                                      const struct filter_use *use,
                                      struct dm_data *data)
{
    const struct script *s = use->conf;
    trace_add("%s:%.*s%s ", s->name, (int)data->len,
              data->len > 0 ? data->p : "", data->is_end ? "$" : "");
    if (s->is_doubling) {
        char *p = dm_alloc(x, 2 * data->len + 1);
        for (size_t i = 0; i < data->len; i++) {
            p[2 * i] = data->p[i];
            p[2 * i + 1] = data->p[i];
        }
        data->p = p;
        data->len *= 2;
    }
    if (s->is_swallowing) {
        data->len = 0;
    }
    script_prepare(x, s, s->on_data);
    return s->on_data;
}

static void script_on_done(struct exchange *x, const struct filter_use *use)
{
    const struct script *s = use->conf;
    dm_resume(x); /* must not do harm */
    trace_add("!%s", s->name);
}

static void *script_enter(const void *conf, unsigned worker)
{
    const struct script *s = conf;
    trace_add("+%s%u", s->name, worker);
    return (void *)(uintptr_t)conf;
}

static void script_leave(const void *conf, void *worker_state)
{
    const struct script *s = conf;
    assert_ptr_equal(worker_state, conf);
    (*s->n_left)++;
}

static void script_free(void *conf)
{
    const struct script *s = conf;
    if (s->n_freed != NULL) {
        (*s->n_freed)++;
    }
}

/* Looks and edits heads, waits, answers; looks at data without editing. */
static const struct filter looking = {
    .size = sizeof(struct filter),
    .name = "looking",
    .state_size = 8,
    .on_request = script_on_request,
    .on_response = script_on_response,
    .on_done = script_on_done,
};

static const struct filter peeking = {
    .size = sizeof(struct filter),
    .name = "peeking",
    .state_size = 8,
    .on_request_data = script_on_data,
    .on_response_data = script_on_data,
    .on_done = script_on_done,
};

static const struct filter editing = {
    .size = sizeof(struct filter),
    .name = "editing",
    .flags = DM_FILTER_EDITS_REQUEST | DM_FILTER_EDITS_RESPONSE,
    .on_request_data = script_on_data,
    .on_response_data = script_on_data,
};

static const struct filter silent = {
    .size = sizeof(struct filter),
    .name = "silent",
};

static const struct filter entering = {
    .size = sizeof(struct filter),
    .name = "entering",
    .conf_free = script_free,
    .worker_enter = script_enter,
    .worker_leave = script_leave,
};

/* ---- the exchange ---- */

struct fixture {
    struct loop *loop;
    struct worker worker;
    struct snapshot snap;
    struct route route;
    struct filter_chain *chain;
    struct exchange x;
    struct head head;
    struct head response;
};

static struct fixture *fixture_new(size_t n_filters)
{
    struct fixture *t = mem_new(sizeof(*t));
    trace[0] = '\0';
    t->loop = loop_new("test", 0);
    t->worker.loop = t->loop;
    t->route.name = STR("r");
    t->chain = filter_chain_new(n_filters, 1);
    t->route.filters = n_filters > 0 ? t->chain : NULL;
    struct exchange *x = &t->x;
    x->w = &t->worker;
    x->snap = &t->snap;
    x->route = &t->route;
    x->h = &t->head;
    arena_init(&x->arena, &t->loop->arenas, EXCHANGE_ARENA_BYTES_MAX);
    buf_init(&x->replay, &t->loop->bufs);
    head_init(&t->head, &x->arena);
    head_init(&t->response, &x->arena);
    t->head.method_text = STR("POST");
    t->head.path = STR("/a");
    t->head.host = STR("h");
    t->head.content_length = 5;
    t->response.status = 200;
    t->response.content_length = 5;
    return t;
}

static void
fixture_add(struct fixture *t, const struct filter *f, struct script *s)
{
    filter_chain_add(t->chain, f, s);
}

/* Ends the turn: what was resumed goes on. */
static void fixture_turn(struct fixture *t)
{
    loop_run_once(t->loop, 0);
}

static void fixture_free(struct fixture *t)
{
    filter_done(&t->x);
    fixture_turn(t);
    filter_chain_free(t->chain);
    buf_fini(&t->x.replay);
    arena_reset(&t->x.arena);
    loop_free(t->loop);
    mem_free(t);
}

static void fixture_up(struct fixture *t, const char *text, bool is_end)
{
    filter_upload(&t->x, (const uint8_t *)text, strlen(text), is_end);
}

static void fixture_down(struct fixture *t, const char *text, bool is_end)
{
    filter_download(&t->x, (const uint8_t *)text, strlen(text), is_end);
}

/* ---- tests ---- */

static void test_filter__a_route_without_filters_makes_no_run(void **state)
{
    (void)state;
    struct fixture *t = fixture_new(0);
    assert_true(filter_request(&t->x));
    assert_null(t->x.filters);
    assert_true(filter_response(&t->x, &t->response));
    filter_done(&t->x);
    assert_int_equal(t->x.arena.total_bytes, 0);
    fixture_free(t);
}

static void test_filter__requests_in_order_responses_in_reverse(void **state)
{
    (void)state;
    struct script a = {.name = "a"};
    struct script b = {.name = "b"};
    struct script c = {.name = "c"};
    struct fixture *t = fixture_new(4);
    fixture_add(t, &looking, &a);
    fixture_add(t, &looking, &b);
    fixture_add(t, &silent, &b);
    fixture_add(t, &looking, &c);
    assert_true(filter_request(&t->x));
    trace_is("a>b>c>");
    assert_true(filter_response(&t->x, &t->response));
    trace_is("<c<b<a");
    filter_done(&t->x);
    trace_is("!c!b!a");
    filter_done(&t->x);
    trace_is("");
    assert_int_equal(t->head.content_length, 5);
    assert_int_equal(t->response.content_length, 5);
    fixture_free(t);
}

static void test_filter__only_those_that_had_their_turn_are_done(void **state)
{
    (void)state;
    struct script a = {.name = "a"};
    struct script b = {
        .name = "b", .on_request = DM_REPLY, .is_answering = true};
    struct script c = {.name = "c"};
    struct fixture *t = fixture_new(3);
    fixture_add(t, &looking, &a);
    fixture_add(t, &looking, &b);
    fixture_add(t, &looking, &c);
    assert_false(filter_request(&t->x));
    trace_is("a>b><a[reply 403 no]!b!a");
    assert_true(str_eq(t->x.detail, STR("answered by filter looking")));
    fixture_free(t);
}

static void test_filter__an_answer_that_was_not_set_is_internal(void **state)
{
    (void)state;
    struct script a = {.name = "a", .on_request = DM_REPLY};
    struct fixture *t = fixture_new(1);
    fixture_add(t, &looking, &a);
    assert_false(filter_request(&t->x));
    trace_is("a>[fail internal]!a");
    fixture_free(t);
}

static void test_filter__a_wait_goes_on_with_the_next_one(void **state)
{
    (void)state;
    struct script a = {.name = "a", .on_request = DM_WAIT};
    struct script b = {.name = "b"};
    struct fixture *t = fixture_new(2);
    fixture_add(t, &looking, &a);
    fixture_add(t, &looking, &b);
    assert_false(filter_request(&t->x));
    assert_true(filter_is_waiting(&t->x));
    fixture_turn(t);
    trace_is("a>");
    dm_resume(&t->x);
    dm_resume(&t->x);
    trace_is(""); /* not within the call */
    fixture_turn(t);
    trace_is("b>[pick]");
    assert_false(filter_is_waiting(&t->x));
    dm_resume(&t->x);
    fixture_turn(t);
    trace_is("");
    fixture_free(t);
}

static void test_filter__resuming_before_waiting_counts(void **state)
{
    (void)state;
    struct script a = {
        .name = "a", .on_request = DM_WAIT, .is_resuming_at_once = true};
    struct fixture *t = fixture_new(1);
    fixture_add(t, &looking, &a);
    assert_false(filter_request(&t->x));
    fixture_turn(t);
    trace_is("a>[pick]");
    fixture_free(t);
}

static void test_filter__a_resume_without_wait_ends_no_later_wait(void **state)
{
    (void)state;
    struct script a = {.name = "a", .is_resuming_at_once = true};
    struct script b = {.name = "b", .on_request = DM_WAIT};
    struct fixture *t = fixture_new(2);
    fixture_add(t, &looking, &a);
    fixture_add(t, &looking, &b);
    assert_false(filter_request(&t->x));
    fixture_turn(t);
    trace_is("a>b>");
    assert_true(filter_is_waiting(&t->x));
    fixture_free(t);
}

static void test_filter__the_end_while_waiting_is_told_once(void **state)
{
    (void)state;
    struct script a = {.name = "a", .on_request = DM_WAIT};
    struct script b = {.name = "b"};
    struct fixture *t = fixture_new(2);
    fixture_add(t, &looking, &a);
    fixture_add(t, &looking, &b);
    assert_false(filter_request(&t->x));
    dm_resume(&t->x);
    exchange_fail(&t->x, FAULT_IDLE_TIMEOUT, STR_NONE);
    fixture_turn(t);
    trace_is("a>[fail idle_timeout]!a");
    fixture_free(t);
}

static void test_filter__a_body_that_comes_during_a_wait_is_kept(void **state)
{
    (void)state;
    struct script a = {.name = "a", .on_request = DM_WAIT};
    struct script b = {.name = "b"};
    struct fixture *t = fixture_new(2);
    fixture_add(t, &looking, &a);
    fixture_add(t, &peeking, &b);
    assert_false(filter_request(&t->x));
    fixture_up(t, "one", false);
    fixture_up(t, "two", true);
    trace_is("a>");
    dm_resume(&t->x);
    fixture_turn(t);
    trace_is("b:onetwo$ [up onetwo$][pick]");
    fixture_free(t);
}

static void test_filter__an_end_alone_and_trailers_are_kept_too(void **state)
{
    (void)state;
    struct script a = {.name = "a", .on_request = DM_WAIT};
    struct script b = {.name = "b"};
    struct fixture *t = fixture_new(2);
    fixture_add(t, &looking, &a);
    fixture_add(t, &peeking, &b);
    assert_false(filter_request(&t->x));
    fixture_up(t, "one", false);
    filter_upload_trailers(&t->x, &t->response);
    dm_resume(&t->x);
    fixture_turn(t);
    trace_is("a>b:one [up one]b:$ [up trailers][pick]");
    fixture_free(t);
}

static void test_filter__a_response_waits_with_its_body(void **state)
{
    (void)state;
    struct script a = {.name = "a"};
    struct script b = {.name = "b", .on_response = DM_WAIT};
    struct fixture *t = fixture_new(3);
    fixture_add(t, &looking, &a);
    fixture_add(t, &looking, &b);
    fixture_add(t, &peeking, &a);
    assert_true(filter_request(&t->x));
    trace_is("a>b>");
    assert_false(filter_response(&t->x, &t->response));
    assert_false(t->x.is_replayable);
    fixture_down(t, "one", false);
    fixture_down(t, "two", true);
    trace_is("<b");
    dm_resume(&t->x);
    fixture_turn(t);
    trace_is("<a[response 200]a:onetwo$ [down onetwo$]!a!b!a");
    fixture_free(t);
}

static void test_filter__an_answer_replaces_the_response(void **state)
{
    (void)state;
    struct script a = {.name = "a"};
    struct script b = {
        .name = "b", .on_response = DM_REPLY, .is_answering = true};
    struct script c = {.name = "c"};
    struct fixture *t = fixture_new(3);
    fixture_add(t, &looking, &a);
    fixture_add(t, &looking, &b);
    fixture_add(t, &looking, &c);
    assert_true(filter_request(&t->x));
    assert_false(filter_response(&t->x, &t->response));
    trace_is("a>b>c><c<b<a[reply 403 no]!c!b!a");
    fixture_free(t);
}

static void test_filter__data_passes_like_heads(void **state)
{
    (void)state;
    struct script a = {.name = "a", .is_doubling = true};
    struct script b = {.name = "b"};
    struct fixture *t = fixture_new(2);
    fixture_add(t, &editing, &a);
    fixture_add(t, &peeking, &b);
    assert_true(filter_request(&t->x));
    assert_int_equal(t->head.content_length, -1);
    fixture_up(t, "xy", false);
    fixture_up(t, "", true);
    trace_is("a:xy b:xxyy [up xxyy]a:$ b:$ [up $]");
    assert_true(filter_response(&t->x, &t->response));
    assert_int_equal(t->response.content_length, -1);
    fixture_down(t, "xy", true);
    trace_is("b:xy$ a:xy$ [down xxyy$]!b");
    fixture_free(t);
}

static void test_filter__edits_that_were_not_declared_are_none(void **state)
{
    (void)state;
    struct script a = {.name = "a", .is_doubling = true};
    struct script b = {.name = "b", .is_swallowing = true};
    struct fixture *t = fixture_new(2);
    fixture_add(t, &peeking, &a);
    fixture_add(t, &peeking, &b);
    assert_true(filter_request(&t->x));
    assert_int_equal(t->head.content_length, 5);
    fixture_up(t, "xy", true);
    trace_is("a:xy$ b:xy$ [up xy$]");
    fixture_free(t);
}

static void test_filter__swallowed_bytes_are_passed_as_nothing(void **state)
{
    (void)state;
    struct script a = {.name = "a", .is_swallowing = true};
    struct fixture *t = fixture_new(1);
    fixture_add(t, &editing, &a);
    assert_true(filter_request(&t->x));
    fixture_up(t, "xy", false);
    trace_is("a:xy [up ]"); /* the credit still goes back */
    fixture_free(t);
}

static void test_filter__a_message_without_body_keeps_its_length(void **state)
{
    (void)state;
    struct script a = {.name = "a"};
    struct fixture *t = fixture_new(1);
    fixture_add(t, &editing, &a);
    t->x.upload.is_done = true;
    t->x.download.is_done = true;
    assert_true(filter_request(&t->x));
    assert_true(filter_response(&t->x, &t->response));
    assert_int_equal(t->head.content_length, 5);
    assert_int_equal(t->response.content_length, 5);
    fixture_free(t);
}

static void test_filter__a_data_hook_answers_until_the_response(void **state)
{
    (void)state;
    struct script a = {.name = "a", .on_data = DM_REPLY, .is_answering = true};
    struct fixture *t = fixture_new(1);
    fixture_add(t, &peeking, &a);
    assert_true(filter_request(&t->x));
    fixture_up(t, "bad", false);
    trace_is("a:bad [reply 403 no]!a");
    fixture_free(t);

    struct script b = {.name = "b", .on_data = DM_REPLY};
    t = fixture_new(1);
    fixture_add(t, &peeking, &b);
    assert_true(filter_request(&t->x));
    assert_true(filter_response(&t->x, &t->response));
    forward_pass_response(&t->x, &t->response);
    fixture_down(t, "bad", false);
    trace_is("[response 200]b:bad [fail internal]!b");
    fixture_free(t);
}

static void test_filter__a_data_hook_cannot_wait(void **state)
{
    (void)state;
    struct script a = {.name = "a", .on_data = DM_WAIT};
    struct fixture *t = fixture_new(1);
    fixture_add(t, &peeking, &a);
    assert_true(filter_request(&t->x));
    fixture_up(t, "x", false);
    trace_is("a:x [fail internal]!a");
    fixture_free(t);
}

static void test_filter__a_body_that_grows_has_a_limit(void **state)
{
    (void)state;
    struct script a = {.name = "a", .is_doubling = true};
    struct fixture *t = fixture_new(1);
    static char full[FILTER_KEPT_BYTES_MAX];
    fixture_add(t, &editing, &a);
    assert_true(filter_request(&t->x));
    buf_append(&t->x.replay, full, sizeof(full) - 2);
    fixture_up(t, "x", false);
    trace_is("a:x [up xx]");
    fixture_up(t, "xy", false);
    trace_is("a:xy [fail body_too_large]");
    fixture_free(t);
}

static void test_filter__worker_state_is_made_once_and_freed(void **state)
{
    (void)state;
    unsigned n_freed = 0;
    unsigned n_left = 0;
    struct script a = {.name = "a", .n_freed = &n_freed, .n_left = &n_left};
    struct fixture *t = fixture_new(1);
    fixture_add(t, &entering, &a);
    assert_true(filter_request(&t->x));
    assert_ptr_equal(t->x.filters->uses[0].worker, &a);
    assert_null(t->x.filters->uses[0].state);
    filter_done(&t->x);
    assert_true(filter_request(&t->x));
    trace_is("+a0");
    assert_int_equal(n_left + n_freed, 0);
    fixture_free(t);
    assert_int_equal(n_left, 1);
    assert_int_equal(n_freed, 1);
    filter_chain_free(NULL);
}

static void test_filter__an_unused_chain_leaves_no_worker(void **state)
{
    (void)state;
    unsigned n_freed = 0;
    unsigned n_left = 0;
    struct script a = {.name = "a", .n_freed = &n_freed, .n_left = &n_left};
    struct filter_chain *chain = filter_chain_new(1, 8);
    filter_chain_add(chain, &entering, &a);
    filter_chain_free(chain);
    assert_int_equal(n_left, 0);
    assert_int_equal(n_freed, 1);
}

static void test_filter__no_room_for_the_run_is_overload(void **state)
{
    (void)state;
    struct script a = {.name = "a"};
    struct fixture *t = fixture_new(1);
    fixture_add(t, &looking, &a);
    t->x.arena.max_bytes = 0;
    assert_false(filter_request(&t->x));
    trace_is("[fail overload]");
    fixture_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter__a_route_without_filters_makes_no_run),
        cmocka_unit_test(test_filter__requests_in_order_responses_in_reverse),
        cmocka_unit_test(test_filter__only_those_that_had_their_turn_are_done),
        cmocka_unit_test(test_filter__an_answer_that_was_not_set_is_internal),
        cmocka_unit_test(test_filter__a_wait_goes_on_with_the_next_one),
        cmocka_unit_test(test_filter__resuming_before_waiting_counts),
        cmocka_unit_test(test_filter__a_resume_without_wait_ends_no_later_wait),
        cmocka_unit_test(test_filter__the_end_while_waiting_is_told_once),
        cmocka_unit_test(test_filter__a_body_that_comes_during_a_wait_is_kept),
        cmocka_unit_test(test_filter__an_end_alone_and_trailers_are_kept_too),
        cmocka_unit_test(test_filter__a_response_waits_with_its_body),
        cmocka_unit_test(test_filter__an_answer_replaces_the_response),
        cmocka_unit_test(test_filter__data_passes_like_heads),
        cmocka_unit_test(test_filter__edits_that_were_not_declared_are_none),
        cmocka_unit_test(test_filter__swallowed_bytes_are_passed_as_nothing),
        cmocka_unit_test(test_filter__a_message_without_body_keeps_its_length),
        cmocka_unit_test(test_filter__a_data_hook_answers_until_the_response),
        cmocka_unit_test(test_filter__a_data_hook_cannot_wait),
        cmocka_unit_test(test_filter__a_body_that_grows_has_a_limit),
        cmocka_unit_test(test_filter__worker_state_is_made_once_and_freed),
        cmocka_unit_test(test_filter__an_unused_chain_leaves_no_worker),
        cmocka_unit_test(test_filter__no_room_for_the_run_is_overload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
