/*
 * source_file: the conf file as a settings tree. libconfig parses the text;
 * this file reads it, follows @include, and turns the result into nodes.
 * Control thread; the caller owns the tree, everything else ends with the
 * call.
 * Why the text is walked before libconfig sees it: libconfig 1.5 cuts whole
 * numbers that do not fit 32 bits silently (5000000000 becomes 705032704),
 * takes a text without closing quote or an endless comment up to the end of
 * the file, loses memory when a text stands where none may be, and ends the
 * process when an included name cannot be read. So numbers get the suffix L,
 * and includes are put in their place here, with a table that leads from a
 * line of the whole text to its file and line.
 */
#include "control/source_file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SOURCE_FILE_BYTES_MAX = 64 * 1024 * 1024, /* with all that is included */
    SOURCE_FILE_INCLUDES_MAX = 4096,
    SOURCE_FILE_INCLUDE_DEPTH_MAX = 10,
    SOURCE_FILE_DEPTH_MAX = 32, /* of groups and lists in each other */
    SOURCE_FILE_NUMBER_MAX = 64,
    SOURCE_FILE_EXCERPT_MAX = 60,
};

/* From this line of the whole text on, it is that line of that file. */
struct source_file_span {
    unsigned whole_line;
    unsigned line;
    const char *file;
};

/* The whole text as libconfig gets it. */
struct source_file_text {
    char *p;
    size_t len;
    size_t cap;
    unsigned line; /* that is being written */
    struct source_file_span *spans;
    size_t n_spans;
    size_t n_spans_cap;
    char **files; /* names, for the spans */
    size_t n_files;
    size_t n_files_cap;
    size_t n_read; /* bytes of all files */
    char before;   /* the last sign; 'w' after a word or number */
    char open[SOURCE_FILE_DEPTH_MAX]; /* brackets that are not closed yet */
    unsigned depth;
    source_file_fn *on_file;
    void *on_file_arg;
    struct error *err;
};

/* The walk through one file. */
struct source_file_walk {
    struct source_file_text *t;
    const char *file;
    struct str rest;
    unsigned line;
    unsigned include_depth;
    bool is_line_start; /* nothing but blanks since the last newline */
};

static bool source_file_load(struct source_file_text *t,
                             const char *path,
                             const char *from,
                             unsigned from_line,
                             unsigned include_depth);

/* ---- reading ---------------------------------------------------------------
 */

/* Reads all of `fd`; false after a message. */
static bool source_file_slurp(struct source_file_text *t,
                              int fd,
                              const char *path,
                              char **text,
                              size_t *len)
{
    const size_t room = SOURCE_FILE_BYTES_MAX - t->n_read;
    size_t cap = 64 * 1024;
    *len = 0;
    *text = mem_new_raw(cap + 1);
    for (;;) {
        if (*len == cap) {
            cap *= 2;
            *text = mem_resize(*text, cap + 1);
        }
        const ssize_t n = read(fd, *text + *len, cap - *len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_add(t->err, "%s: cannot be read: %m", path);
        }
        if (n == 0) {
            break;
        }
        *len += (size_t)n;
        if (*len > room) {
            return error_add(t->err,
                             "%s: is too large; a configuration with all that "
                             "it includes may have 64 MiB",
                             path);
        }
    }
    (*text)[*len] = '\0';
    t->n_read += *len;
    return true;
}

static bool source_file_is_regular(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return error_add(err, "%s: cannot be read: %m", path);
    }
    if (S_ISDIR(st.st_mode)) {
        return error_add(err, "%s: is a folder; name a file in it", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return error_add(err, "%s: is not a regular file", path);
    }
    return true;
}

/* ---- the whole text --------------------------------------------------------
 */

static void source_file_put(struct source_file_text *t, struct str s)
{
    if (t->len + s.len + 1 > t->cap) {
        t->cap = (t->len + s.len + 1) * 2;
        t->p = mem_resize(t->p, t->cap);
    }
    memcpy(t->p + t->len, s.p, s.len);
    t->len += s.len;
    t->p[t->len] = '\0';
    for (size_t i = 0; i < s.len; i++) {
        t->line += s.p[i] == '\n';
    }
}

/* What is written from now on is `line` of `file`. */
static void
source_file_mark(struct source_file_text *t, const char *file, unsigned line)
{
    if (t->n_spans == t->n_spans_cap) {
        t->n_spans_cap = t->n_spans_cap == 0 ? 8 : t->n_spans_cap * 2;
        t->spans = mem_resize(t->spans, t->n_spans_cap * sizeof *t->spans);
    }
    t->spans[t->n_spans++] = (struct source_file_span){
        .whole_line = t->line, .line = line, .file = file};
}

static const char *source_file_keep_name(struct source_file_text *t,
                                         const char *path)
{
    if (t->n_files == t->n_files_cap) {
        t->n_files_cap = t->n_files_cap == 0 ? 8 : t->n_files_cap * 2;
        t->files = mem_resize(t->files, t->n_files_cap * sizeof *t->files);
    }
    t->files[t->n_files] = mem_copy_text(path, strlen(path));
    return t->files[t->n_files++];
}

/* The last span that begins at `whole_line` or before it. */
static struct source_file_span
source_file_find(const struct source_file_text *t, unsigned whole_line)
{
    size_t low = 0;
    size_t high = t->n_spans;
    while (high - low > 1) {
        const size_t mid = low + (high - low) / 2;
        if (t->spans[mid].whole_line <= whole_line) {
            low = mid;
        } else {
            high = mid;
        }
    }
    struct source_file_span span = t->spans[low];
    if (whole_line > span.whole_line) {
        span.line += whole_line - span.whole_line;
    }
    return span;
}

static void source_file_text_fini(struct source_file_text *t)
{
    for (size_t i = 0; i < t->n_files; i++) {
        mem_free(t->files[i]);
    }
    mem_free(t->files);
    mem_free(t->spans);
    mem_free(t->p);
}

/* ---- walking through a file -------------------------------------------------
 */

static bool source_file_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool source_file_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           source_file_is_digit(c) || c == '_' || c == '*';
}

static char source_file_peek(const struct source_file_walk *w, size_t at)
{
    return at < w->rest.len ? w->rest.p[at] : '\0';
}

/* Takes `len` bytes over as they are. */
static void source_file_copy(struct source_file_walk *w, size_t len)
{
    const struct str s = str_sub(w->rest, 0, len);
    source_file_put(w->t, s);
    for (size_t i = 0; i < s.len; i++) {
        w->line += s.p[i] == '\n';
    }
    w->rest = str_from_index(w->rest, s.len);
}

static bool source_file_line_comment(struct source_file_walk *w)
{
    source_file_copy(w, str_find_char(w->rest, '\n'));
    return true;
}

static bool source_file_block_comment(struct source_file_walk *w)
{
    for (size_t i = 2; i + 1 < w->rest.len; i++) {
        if (w->rest.p[i] == '*' && w->rest.p[i + 1] == '/') {
            source_file_copy(w, i + 2);
            return true;
        }
    }
    return error_add(w->t->err, "%s:%u: the comment is not closed; add */",
                     w->file, w->line);
}

/* Whether a text may stand here. */
static bool source_file_may_quote(const struct source_file_text *t)
{
    const char innermost = t->depth == 0 ? '\0' : t->open[t->depth - 1];
    switch (t->before) {
    case '=':
    case ':':
    case '(':
    case '[':
    case '"':
        return true;
    case ',':
        return innermost == '(' || innermost == '[';
    default:
        return false;
    }
}

static bool source_file_quoted(struct source_file_walk *w)
{
    size_t i = 1;
    if (!source_file_may_quote(w->t)) {
        return error_add(w->t->err,
                         "%s:%u: a text cannot stand here: look for a missing "
                         "\"=\", \",\" or bracket before it",
                         w->file, w->line);
    }
    w->t->before = '"';
    while (i < w->rest.len && w->rest.p[i] != '"' && w->rest.p[i] != '\n') {
        i += w->rest.p[i] == '\\' ? 2 : 1;
    }
    if (source_file_peek(w, i) != '"') {
        return error_add(w->t->err,
                         "%s:%u: the text is not closed on its line; add the "
                         "quote (a long text may be several in a row, each in "
                         "quotes)",
                         w->file, w->line);
    }
    source_file_copy(w, i + 1);
    return true;
}

static bool source_file_word(struct source_file_walk *w)
{
    size_t i = 0;
    while (source_file_is_word(source_file_peek(w, i)) ||
           source_file_peek(w, i) == '-') {
        i++;
    }
    source_file_copy(w, i);
    w->t->before = 'w';
    return true;
}

/* How many bytes from here on look like a number. */
static size_t source_file_number_len(const struct source_file_walk *w)
{
    size_t i = source_file_peek(w, 0) == '-' || source_file_peek(w, 0) == '+';
    const bool is_hex = source_file_peek(w, i) == '0' &&
                        (source_file_peek(w, i + 1) | 0x20) == 'x';
    for (;; i++) {
        const char c = source_file_peek(w, i);
        const bool is_sign = (c == '-' || c == '+') && !is_hex && i > 0 &&
                             (source_file_peek(w, i - 1) | 0x20) == 'e';
        if (!source_file_is_word(c) && c != '.' && !is_sign) {
            return i;
        }
    }
}

/* Whole numbers are made 64 bits wide. */
static bool source_file_number(struct source_file_walk *w)
{
    char text[SOURCE_FILE_NUMBER_MAX];
    char *end;
    const size_t len = source_file_number_len(w);
    if (len >= sizeof text) {
        return error_add(w->t->err, "%s:%u: the number is too long", w->file,
                         w->line);
    }
    memcpy(text, w->rest.p, len);
    text[len] = '\0';
    source_file_copy(w, len);
    w->t->before = 'w';
    if (strpbrk(text, "*_") != NULL) {
        return true; // not a number; libconfig will say so
    }
    const bool is_hex = text[0] == '0' && (text[1] | 0x20) == 'x';
    errno = 0;
    (void)strtoll(text, &end, is_hex ? 16 : 10);
    if (end != text && errno == ERANGE && strchr(text, '.') == NULL) {
        return error_add(w->t->err, "%s:%u: the number %s does not fit 64 bits",
                         w->file, w->line, text);
    }
    if (end != text && *end == '\0') {
        source_file_put(w->t, STR("L"));
    }
    return true;
}

/* The path of an @include, relative to the folder of the first file. */
static char *source_file_include_path(const struct source_file_text *t,
                                      struct str name)
{
    const char *first = t->files[0];
    const char *slash = strrchr(first, '/');
    const size_t folder_len =
        name.p[0] == '/' || slash == NULL ? 0 : (size_t)(slash - first) + 1;
    char *path = mem_new_raw(folder_len + name.len + 1);
    memcpy(path, first, folder_len);
    memcpy(path + folder_len, name.p, name.len);
    path[folder_len + name.len] = '\0';
    return path;
}

/*
 * The file's text takes the place of the statement; what follows the statement
 * on its line goes on in a line of its own.
 */
static bool source_file_include(struct source_file_walk *w)
{
    struct str s = str_trim(str_from_index(w->rest, strlen("@include")));
    const size_t end = str_find_char(str_from_index(s, 1), '"');
    if (s.len < 3 || s.p[0] != '"' || end + 1 >= s.len || end == 0 ||
        str_find_char(s, '\n') < end + 1) {
        return error_add(w->t->err,
                         "%s:%u: write the name of a file in quotes after "
                         "@include",
                         w->file, w->line);
    }
    const struct str name = str_sub(s, 1, end);
    if (w->include_depth >= SOURCE_FILE_INCLUDE_DEPTH_MAX ||
        w->t->n_files >= SOURCE_FILE_INCLUDES_MAX) {
        return error_add(w->t->err,
                         "%s:%u: too many files include each other (does one "
                         "include itself?)",
                         w->file, w->line);
    }
    char *path = source_file_include_path(w->t, name);
    source_file_put(w->t, STR("\n"));
    const bool is_ok =
        source_file_load(w->t, path, w->file, w->line, w->include_depth + 1);
    mem_free(path);
    source_file_put(w->t, STR("\n"));
    source_file_mark(w->t, w->file, w->line);
    const char *after = name.p + name.len + 1;
    w->rest = str_from_index(w->rest, (size_t)(after - w->rest.p));
    return is_ok;
}

/* A blank, or a sign of the syntax; remembers brackets. */
static bool source_file_sign(struct source_file_walk *w)
{
    struct source_file_text *t = w->t;
    const char c = w->rest.p[0];
    if (c == '(' || c == '[' || c == '{') {
        if (t->depth == SOURCE_FILE_DEPTH_MAX) {
            return error_add(t->err,
                             "%s:%u: groups and lists are nested more than %d "
                             "deep",
                             w->file, w->line, SOURCE_FILE_DEPTH_MAX);
        }
        t->open[t->depth++] = c;
    } else if ((c == ')' || c == ']' || c == '}') && t->depth > 0) {
        t->depth--;
    }
    if (strchr(" \t\r\n\f", c) == NULL) {
        t->before = c;
    }
    source_file_copy(w, 1);
    return true;
}

/* Copies what begins here, up to its end. */
static bool source_file_step(struct source_file_walk *w)
{
    const char c = w->rest.p[0];
    const char next = source_file_peek(w, 1);
    const bool was_line_start = w->is_line_start;
    w->is_line_start = c == '\n' || (was_line_start && strchr(" \t\r", c));
    if (c == '#' || (c == '/' && next == '/')) {
        return source_file_line_comment(w);
    }
    if (c == '/' && next == '*') {
        return source_file_block_comment(w);
    }
    if (c == '"') {
        return source_file_quoted(w);
    }
    if (was_line_start && str_starts(w->rest, STR("@include"))) {
        return source_file_include(w);
    }
    if (source_file_is_digit(c) ||
        ((c == '-' || c == '+' || c == '.') && source_file_is_digit(next))) {
        return source_file_number(w);
    }
    if (source_file_is_word(c)) {
        return source_file_word(w);
    }
    return source_file_sign(w);
}

/* A NUL would end the text for libconfig. */
static bool source_file_has_no_nul(const struct source_file_walk *w)
{
    const char *nul =
        w->rest.len == 0 ? NULL : memchr(w->rest.p, '\0', w->rest.len);
    unsigned line = 1;
    if (nul == NULL) {
        return true;
    }
    for (const char *p = w->rest.p; p < nul; p++) {
        line += *p == '\n';
    }
    return error_add(w->t->err,
                     "%s:%u: has a NUL byte, so it is not a text file", w->file,
                     line);
}

static bool source_file_walk_all(struct source_file_walk *w)
{
    if (!source_file_has_no_nul(w)) {
        return false;
    }
    if (str_starts(w->rest, STR("\xef\xbb\xbf"))) {
        w->rest = str_from_index(w->rest, 3); // a byte order mark
    }
    while (w->rest.len > 0) {
        if (!source_file_step(w)) {
            return false;
        }
    }
    return true;
}

/* Reads a file and adds it to the whole text; `from` includes it, or NULL. */
static bool source_file_load(struct source_file_text *t,
                             const char *path,
                             const char *from,
                             unsigned from_line,
                             unsigned include_depth)
{
    char *text = NULL;
    size_t len = 0;
    if (t->on_file != NULL) {
        t->on_file(t->on_file_arg, path);
    }
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && from == NULL) {
        return error_add(t->err, "%s: cannot be opened: %m", path);
    }
    if (fd < 0) {
        return error_add(t->err, "%s:%u: %s: cannot be opened: %m", from,
                         from_line, path);
    }
    bool is_ok = source_file_is_regular(fd, path, t->err) &&
                 source_file_slurp(t, fd, path, &text, &len);
    close(fd);
    if (is_ok) {
        struct source_file_walk w = {.t = t,
                                     .file = source_file_keep_name(t, path),
                                     .rest = str_make(text, len),
                                     .line = 1,
                                     .include_depth = include_depth,
                                     .is_line_start = true};
        source_file_mark(t, w.file, 1);
        is_ok = source_file_walk_all(&w);
    }
    mem_free(text);
    return is_ok;
}

/* ---- from libconfig's tree to ours
 * ------------------------------------------- */

static enum node_kind source_file_kind(const config_setting_t *s)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return NODE_NUMBER;
    case CONFIG_TYPE_FLOAT:
        return NODE_FLOAT;
    case CONFIG_TYPE_STRING:
        return NODE_TEXT;
    case CONFIG_TYPE_BOOL:
        return NODE_FLAG;
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        return NODE_LIST;
    default:
        return NODE_GROUP;
    }
}

static void source_file_set_value(struct node *n, const config_setting_t *s)
{
    switch (n->kind) {
    case NODE_NUMBER:
        n->number = config_setting_get_int64(s);
        break;
    case NODE_FLOAT:
        n->real = config_setting_get_float(s);
        break;
    case NODE_FLAG:
        n->flag = config_setting_get_bool(s) != 0;
        break;
    case NODE_TEXT:
        node_set_text(n, str_from(config_setting_get_string(s)));
        break;
    case NODE_GROUP:
    case NODE_LIST:
        break;
    }
}

/* Copies the members of `s` below `parent`; the walk bounds how deep. */
static void source_file_convert(const struct source_file_text *t,
                                const config_setting_t *s,
                                struct node *parent)
{
    const int n_members = config_setting_length(s);
    for (int i = 0; i < n_members; i++) {
        const config_setting_t *m = config_setting_get_elem(s, (unsigned)i);
        const struct source_file_span at =
            source_file_find(t, config_setting_source_line(m));
        struct node *n = node_new(parent, config_setting_name(m),
                                  source_file_kind(m), at.file, at.line);
        source_file_set_value(n, m);
        if (config_setting_is_aggregate(m)) {
            source_file_convert(t, m, n);
        }
    }
}

/* A line of the whole text as it was in its file: without blanks around it,
 * without the L that was added to numbers, and not too long. */
static void source_file_excerpt(const struct source_file_text *t,
                                unsigned whole_line,
                                char dst[static SOURCE_FILE_EXCERPT_MAX + 1])
{
    struct str rest = str_make(t->p, t->len);
    struct str line = STR_NONE;
    size_t len = 0;
    for (unsigned i = 0; i < whole_line; i++) {
        str_split(&rest, '\n', &line);
    }
    line = str_trim(line);
    for (size_t i = 0; i < line.len && len < SOURCE_FILE_EXCERPT_MAX; i++) {
        const char c = line.p[i];
        if (c == 'L' && i > 0 && source_file_is_digit(line.p[i - 1])) {
            continue;
        }
        dst[len++] = (unsigned char)c < 0x20 ? ' ' : c;
    }
    dst[len] = '\0';
}

static const char *source_file_advice(const char *what)
{
    if (strstr(what, "duplicate") != NULL) {
        return "this name is in the same group twice; remove one";
    }
    if (strstr(what, "mismatched") != NULL) {
        return "the members of [ ] must be of one kind; use ( ) for a mixture";
    }
    return "syntax error here or before it: look for a missing \";\", quote "
           "or bracket, or a \",\" after the last member";
}

static bool source_file_syntax(const struct source_file_text *t,
                               const config_t *config)
{
    const unsigned line = (unsigned)config_error_line(config);
    const struct source_file_span at = source_file_find(t, line);
    char excerpt[SOURCE_FILE_EXCERPT_MAX + 1];
    const char *what = config_error_text(config);
    source_file_excerpt(t, line, excerpt);
    return error_add(t->err, "%s:%u: %s%s%s", at.file, at.line,
                     source_file_advice(what == NULL ? "" : what),
                     excerpt[0] == '\0' ? "" : ": ", excerpt);
}

struct node *source_file_read(const char *path, struct error *err)
{
    return source_file_read_told(path, NULL, NULL, err);
}

struct node *source_file_read_told(const char *path,
                                   source_file_fn *on_file,
                                   void *arg,
                                   struct error *err)
{
    struct source_file_text t = {
        .on_file = on_file, .on_file_arg = arg, .err = err, .line = 1};
    struct node *root = NULL;
    config_t config;
    config_init(&config);
    source_file_put(&t, STR(""));
    if (source_file_load(&t, path, NULL, 0, 0)) {
        if (config_read_string(&config, t.p) != CONFIG_TRUE) {
            source_file_syntax(&t, &config);
        } else {
            root = node_new(NULL, NULL, NODE_GROUP, path, 0);
            source_file_convert(&t, config_root_setting(&config), root);
        }
    }
    config_destroy(&config);
    source_file_text_fini(&t);
    return root;
}
