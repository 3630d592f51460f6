/*
 * explain_command: the command line of daemun explain. See explain.h.
 */
#include "control/explain.h"

#include <getopt.h>
#include <string.h>

static const char explain_usage[] =
    "usage: daemun explain -c FILE [options] URL\n"
    "       says which listener, route, filters, upstream and endpoint a\n"
    "       request would get, and why not the others\n"
    "\n"
    "  -c, --conf FILE      the conf file\n"
    "  -H, --header 'N: V'  a header field of the request; may be repeated\n"
    "  -X, --method M       the method (GET)\n"
    "  -s, --source ADDR    the client's address, IP or IP:port (127.0.0.1)\n"
    "  -l, --listener NAME  the listener, instead of the one of the URL's "
    "port\n"
    "  -2, --http2          the client speaks HTTP/2\n";

static const struct option explain_options[] = {
    {"conf", required_argument, NULL, 'c'},
    {"header", required_argument, NULL, 'H'},
    {"help", no_argument, NULL, 'h'},
    {"http2", no_argument, NULL, '2'},
    {"listener", required_argument, NULL, 'l'},
    {"method", required_argument, NULL, 'X'},
    {"source", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

/* False: not an option, or too many of them. */
static bool explain_option(struct explain *e, int option)
{
    switch (option) {
    case 'c':
        e->conf_path = optarg;
        return true;
    case 'H':
        if (e->n_headers == EXPLAIN_N_HEADERS_MAX) {
            fprintf(stderr, "daemun: more than %d header fields\n",
                    EXPLAIN_N_HEADERS_MAX);
            return false;
        }
        e->headers[e->n_headers++] = optarg;
        return true;
    case 'X':
        e->method = optarg;
        return true;
    case 's':
        e->source = optarg;
        return true;
    case 'l':
        e->listener = optarg;
        return true;
    case '2':
        e->is_h2 = true;
        return true;
    default:
        return false;
    }
}

static int explain_misused(const char *why)
{
    if (why != NULL) {
        fprintf(stderr, "daemun: %s\n", why);
    }
    fputs(explain_usage, stderr);
    return 2;
}

int explain_command(int argc, char **argv)
{
    struct explain e = {.method = "GET", .source = "127.0.0.1"};
    struct error err = {0};
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "c:H:X:s:l:2h", explain_options,
                                 NULL)) != -1) {
        if (option == 'h') {
            fputs(explain_usage, stdout);
            return 0;
        }
        if (!explain_option(&e, option)) {
            return explain_misused(NULL);
        }
    }
    if (e.conf_path == NULL) {
        return explain_misused("name the conf file with -c FILE");
    }
    if (optind != argc - 1) {
        return explain_misused(optind == argc ? "name a URL"
                                              : "name one URL only");
    }
    e.url = argv[optind];
    if (!explain_print(&e, stdout, &err)) {
        fputs(error_text(&err), stderr);
        error_fini(&err);
        return 1;
    }
    return 0;
}
