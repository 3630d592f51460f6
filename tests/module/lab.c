/*
 * Filters for the wire tests, each of which does one thing that the API
 * offers, so that a test can see it from outside:
 *   lab_tag    leaves its label in x-lab of request and response, in order
 *   lab_body   doubles each byte of bodies in both directions, drops 'x', and
 *              adds "." at the end
 *   lab_wait   holds the request, the response, or both for some time
 *   lab_thread holds the request until a thread of its own calls back
 *   lab_stuck  holds the request for ever
 *   lab_reply  answers; or answers when the body has "secret" in it
 *   lab_count  writes one line to the log for each on_done
 */
#define _GNU_SOURCE /* memmem */
#include <daemun/daemun.h>
#include <pthread.h>
#include <stdio.h>

enum { LAB_SCRATCH_BYTES = 256 * 1024 };

struct lab_conf {
    char label[32];
    int64_t request_ms;
    int64_t response_ms;
    int64_t status;
    bool only_secret;
};

static void *lab_new(const struct node *settings, struct error *err)
{
    static const char *const known[] = {"label",  "request_ms",  "response_ms",
                                        "status", "only_secret", NULL};
    struct lab_conf *c = dm_mem_new(sizeof(*c));
    struct str label = DM_STR("lab");
    bool is_ok = dm_conf_known(settings, known, err);
    is_ok = dm_conf_text(settings, "label", &label, err) && is_ok;
    is_ok =
        dm_conf_number(settings, "request_ms", 0, 10000, &c->request_ms, err) &&
        is_ok;
    is_ok = dm_conf_number(settings, "response_ms", 0, 10000, &c->response_ms,
                           err) &&
            is_ok;
    is_ok =
        dm_conf_number(settings, "status", 0, 999, &c->status, err) && is_ok;
    is_ok =
        dm_conf_flag(settings, "only_secret", &c->only_secret, err) && is_ok;
    snprintf(c->label, sizeof(c->label), "%.*s", DM_STR_ARG(label));
    if (!is_ok) {
        dm_mem_free(c);
        return NULL;
    }
    return c;
}

/* ---- lab_tag ---- */

static void
lab_tag_add(struct exchange *x, enum dm_message m, const struct lab_conf *c)
{
    char text[256];
    const struct str old = dm_header_get(x, m, DM_STR("X-Lab"));
    snprintf(text, sizeof(text), "%.*s%s%s", DM_STR_ARG(old),
             old.len > 0 ? "," : "", c->label);
    dm_header_set(x, m, DM_STR("X-Lab"), dm_str_from(text));
}

static enum dm_verdict lab_tag_on_request(struct exchange *x,
                                          const struct filter_use *use)
{
    lab_tag_add(x, DM_REQUEST, use->conf);
    return DM_NEXT;
}

static enum dm_verdict lab_tag_on_response(struct exchange *x,
                                           const struct filter_use *use)
{
    lab_tag_add(x, DM_RESPONSE, use->conf);
    return DM_NEXT;
}

static const struct filter lab_tag = {
    .size = sizeof(struct filter),
    .name = "lab_tag",
    .conf_new = lab_new,
    .conf_free = dm_mem_free,
    .on_request = lab_tag_on_request,
    .on_response = lab_tag_on_response,
};

/* ---- lab_body ---- */

static void *lab_body_enter(const void *conf, unsigned worker)
{
    (void)conf;
    (void)worker;
    return dm_mem_new(LAB_SCRATCH_BYTES);
}

static void lab_body_leave(const void *conf, void *scratch)
{
    (void)conf;
    dm_mem_free(scratch);
}

static enum dm_verdict lab_body_on_data(struct exchange *x,
                                        const struct filter_use *use,
                                        struct dm_data *data)
{
    char *scratch = use->worker;
    size_t n = 0;
    (void)x;
    for (size_t i = 0; i < data->len && n + 3 < LAB_SCRATCH_BYTES; i++) {
        if (data->p[i] != 'x') {
            scratch[n++] = data->p[i];
            scratch[n++] = data->p[i];
        }
    }
    if (data->is_end) {
        scratch[n++] = '.';
    }
    data->p = scratch;
    data->len = n;
    return DM_NEXT;
}

static const struct filter lab_body = {
    .size = sizeof(struct filter),
    .name = "lab_body",
    .flags = DM_FILTER_EDITS_REQUEST | DM_FILTER_EDITS_RESPONSE,
    .worker_enter = lab_body_enter,
    .worker_leave = lab_body_leave,
    .on_request_data = lab_body_on_data,
    .on_response_data = lab_body_on_data,
};

/* ---- lab_wait ---- */

static enum dm_verdict lab_wait_for(struct exchange *x, int64_t ms)
{
    if (ms == 0) {
        return DM_NEXT;
    }
    dm_resume_after(x, (uint32_t)ms);
    return DM_WAIT;
}

static enum dm_verdict lab_wait_on_request(struct exchange *x,
                                           const struct filter_use *use)
{
    const struct lab_conf *c = use->conf;
    return lab_wait_for(x, c->request_ms);
}

static enum dm_verdict lab_wait_on_response(struct exchange *x,
                                            const struct filter_use *use)
{
    const struct lab_conf *c = use->conf;
    return lab_wait_for(x, c->response_ms);
}

static const struct filter lab_wait = {
    .size = sizeof(struct filter),
    .name = "lab_wait",
    .conf_new = lab_new,
    .conf_free = dm_mem_free,
    .on_request = lab_wait_on_request,
    .on_response = lab_wait_on_response,
};

/* ---- lab_thread ---- */

/* Work for a thread. It is freed on the worker, by whoever comes last: the
 * message of the thread, or the end of the exchange. */
struct lab_job {
    struct exchange *x; /* NULL: nobody waits any more */
    struct loop *loop;
    pthread_t thread;
    bool is_back; /* the message has come */
};

struct lab_thread_state {
    struct lab_job *job;
};

static void lab_job_on_back(struct loop *loop, void *arg)
{
    struct lab_job *job = arg;
    (void)loop;
    job->is_back = true;
    if (job->x == NULL) {
        dm_mem_free(job);
        return;
    }
    dm_header_set(job->x, DM_REQUEST, DM_STR("x-lab-thread"), DM_STR("yes"));
    dm_resume(job->x);
}

static void *lab_job_main(void *arg)
{
    struct lab_job *job = arg;
    dm_post(job->loop, lab_job_on_back, job);
    return NULL;
}

static enum dm_verdict lab_thread_on_request(struct exchange *x,
                                             const struct filter_use *use)
{
    struct lab_thread_state *state = use->state;
    struct lab_job *job = dm_mem_new(sizeof(*job));
    job->x = x;
    job->loop = dm_loop(x);
    state->job = job;
    if (pthread_create(&job->thread, NULL, lab_job_main, job) != 0) {
        state->job = NULL;
        dm_mem_free(job);
        return DM_NEXT;
    }
    return DM_WAIT;
}

static void lab_thread_on_done(struct exchange *x, const struct filter_use *use)
{
    struct lab_thread_state *state = use->state;
    (void)x;
    if (state->job == NULL) {
        return;
    }
    pthread_join(state->job->thread, NULL); /* after that it posts no more */
    state->job->x = NULL;
    if (state->job->is_back) {
        dm_mem_free(state->job);
    }
}

static const struct filter lab_thread = {
    .size = sizeof(struct filter),
    .name = "lab_thread",
    .state_size = sizeof(struct lab_thread_state),
    .on_request = lab_thread_on_request,
    .on_done = lab_thread_on_done,
};

/* ---- lab_stuck ---- */

static enum dm_verdict lab_stuck_on_request(struct exchange *x,
                                            const struct filter_use *use)
{
    (void)x;
    (void)use;
    return DM_WAIT;
}

static const struct filter lab_stuck = {
    .size = sizeof(struct filter),
    .name = "lab_stuck",
    .on_request = lab_stuck_on_request,
};

/* ---- lab_reply ---- */

static enum dm_verdict lab_reply_now(struct exchange *x,
                                     const struct lab_conf *c)
{
    if (dm_reply(x, (int)c->status, DM_STR("text/plain"),
                 DM_STR("the lab says no\n"))) {
        dm_header_add(x, DM_RESPONSE, DM_STR("x-lab-reply"),
                      dm_str_from(c->label));
    }
    return DM_REPLY;
}

static enum dm_verdict lab_reply_on_request(struct exchange *x,
                                            const struct filter_use *use)
{
    const struct lab_conf *c = use->conf;
    return c->only_secret ? DM_NEXT : lab_reply_now(x, c);
}

static enum dm_verdict lab_reply_on_data(struct exchange *x,
                                         const struct filter_use *use,
                                         struct dm_data *data)
{
    static const char secret[] = "secret";
    const bool has_secret = data->len > 0 && memmem(data->p, data->len, secret,
                                                    sizeof(secret) - 1) != NULL;
    return has_secret ? lab_reply_now(x, use->conf) : DM_NEXT;
}

static const struct filter lab_reply = {
    .size = sizeof(struct filter),
    .name = "lab_reply",
    .conf_new = lab_new,
    .conf_free = dm_mem_free,
    .on_request = lab_reply_on_request,
    .on_request_data = lab_reply_on_data,
};

/* ---- lab_count ---- */

static void lab_count_on_done(struct exchange *x, const struct filter_use *use)
{
    const struct lab_conf *c = use->conf;
    dm_log(DM_LOG_INFO, "lab: done %s %.*s status %d fault %.*s", c->label,
           DM_STR_ARG(dm_path(x)), dm_status(x), DM_STR_ARG(dm_fault(x)));
}

static const struct filter lab_count = {
    .size = sizeof(struct filter),
    .name = "lab_count",
    .conf_new = lab_new,
    .conf_free = dm_mem_free,
    .on_done = lab_count_on_done,
};

static const struct filter *const lab_filters[] = {
    &lab_tag,   &lab_body,  &lab_wait,  &lab_thread,
    &lab_stuck, &lab_reply, &lab_count, NULL,
};

const struct module_info dm_module = {
    .abi = DM_ABI,
    .size = sizeof(struct module_info),
    .name = "lab",
    .version = "1.0",
    .filters = lab_filters,
};
