/*
 * main: the command line, and the order of start and stop. Everything else is
 * control's.
 */
#include "base/buf.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/metric.h"
#include "control/control.h"
#include "control/explain.h"
#include "control/settings.h"
#include "net/listener.h"

#include <event2/event.h>
#include <libconfig.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define MAIN_VERSION "0.1.0"

static const char main_usage[] =
    "usage: daemun -c FILE        serve as the conf file says\n"
    "       daemun -t -c FILE     check the conf file; exit 0 or 1\n"
    "       daemun explain -c FILE URL\n"
    "                             say what a request would get, and why\n"
    "       daemun -V             print the version and the libraries\n"
    "       daemun -h             print this\n"
    "\n"
    "signals: HUP reload, TERM drain and stop, INT stop at once,\n"
    "         USR1 reopen the log files\n";

static int main_version(void)
{
    printf("daemun %s\n", MAIN_VERSION);
    printf("libevent %s\n", event_get_version());
    printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
    printf("nghttp2 %s\n", nghttp2_version(0)->version_str);
    printf("xxHash %u.%u.%u\n", XXH_versionNumber() / 10000,
           XXH_versionNumber() / 100 % 100, XXH_versionNumber() % 100);
    /* The one that cannot be asked which it is. */
    printf("libconfig %d.%d.%d (built with)\n", LIBCONFIG_VER_MAJOR,
           LIBCONFIG_VER_MINOR, LIBCONFIG_VER_REVISION);
    return 0;
}

static int main_print(void (*print)(struct buf *out))
{
    struct buf out;
    buf_init(&out, NULL);
    print(&out);
    while (buf_len(&out) > 0) {
        const struct str piece = buf_peek(&out);
        fwrite(piece.p, 1, piece.len, stdout);
        buf_drop(&out, piece.len);
    }
    buf_fini(&out);
    return 0;
}

static int main_problems(struct error *err)
{
    fputs(error_text(err), stderr);
    fprintf(stderr, "daemun: %zu problem%s\n", err->n_problems,
            err->n_problems == 1 ? "" : "s");
    error_fini(err);
    return 1;
}

static int main_test(const char *conf_path)
{
    struct error err = {0};
    if (!control_test(conf_path, &err)) {
        return main_problems(&err);
    }
    printf("%s: good\n", conf_path);
    return 0;
}

static int main_serve(const char *conf_path)
{
    struct error err = {0};
    control_block_signals();
    listener_inherit();
    struct control *c = control_new(conf_path, &err);
    if (c == NULL) {
        return main_problems(&err);
    }
    const int status = control_run(c);
    control_free(c);
    return status;
}

/* Options for `make docs`: the tables as pages. -1: none of them. */
static int main_documents(const char *option)
{
    if (strcmp(option, "--print-settings") == 0) {
        return main_print(settings_print);
    }
    if (strcmp(option, "--print-metrics") == 0) {
        return main_print(metric_print_docs);
    }
    if (strcmp(option, "--print-faults") == 0) {
        return main_print(fault_print_docs);
    }
    return -1;
}

struct main_options {
    const char *conf_path;
    bool is_test;
    bool is_wrong;
    bool want_version;
    bool want_help;
};

static struct main_options main_parse(int argc, char **argv)
{
    struct main_options o = {0};
    int option;
    while ((option = getopt(argc, argv, "c:tVh")) != -1) {
        switch (option) {
        case 'c':
            o.conf_path = optarg;
            break;
        case 't':
            o.is_test = true;
            break;
        case 'V':
            o.want_version = true;
            break;
        case 'h':
            o.want_help = true;
            break;
        default:
            o.is_wrong = true;
            break;
        }
    }
    return o;
}

/* A check ends in 0 or 1, whatever goes wrong. */
static int main_misused(const struct main_options *o)
{
    if (!o->is_wrong) {
        fputs("daemun: name the conf file with -c FILE\n", stderr);
    }
    fputs(main_usage, stderr);
    return o->is_test ? 1 : 2;
}

int main(int argc, char **argv)
{
    const int documents = argc == 2 ? main_documents(argv[1]) : -1;
    if (documents >= 0) {
        return documents;
    }
    if (argc > 1 && strcmp(argv[1], "explain") == 0) {
        return explain_command(argc - 1, argv + 1);
    }
    const struct main_options o = main_parse(argc, argv);
    if (o.is_wrong) {
        return main_misused(&o);
    }
    if (o.want_version) {
        return main_version();
    }
    if (o.want_help) {
        fputs(main_usage, stdout);
        return 0;
    }
    if (o.conf_path == NULL || optind != argc) {
        return main_misused(&o);
    }
    return o.is_test ? main_test(o.conf_path) : main_serve(o.conf_path);
}
