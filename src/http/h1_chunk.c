/*
 * h1_chunk: decoding of the chunked coding, byte by byte where the grammar
 * matters and by block where data lies (rules R-CHK). Pure; its state is in
 * the caller's struct h1_chunks.
 * Invariants: the result does not depend on how the bytes were cut; chunk
 * lines and extensions are never passed on; a line has at most 256 bytes.
 */
#include "http/h1.h"

#include "http/chars.h"

enum {
    CHUNK_LINE_BYTES_MAX = 256,
    CHUNK_DIGITS_MAX = 16,
    CHUNK_OVERHEAD_FREE = 16 * 1024, /* R-CHK-5 */
    CHUNK_OVERHEAD_FACTOR = 16
};

enum chunk_state {
    CHUNK_SIZE,      /* digits of the size */
    CHUNK_EXTENSION, /* behind them */
    CHUNK_LINE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_LAST /* trailers are next; or it is broken */
};

/* Within an extension: *( BWS ";" BWS name [ BWS "=" BWS value ] ). */
enum chunk_extension {
    CHUNK_EXT_END,      /* a size or a value is complete: ';', CR or BWS */
    CHUNK_EXT_END_BWS,  /* blanks behind it: only ';' may follow */
    CHUNK_EXT_SEMI,     /* behind ';' */
    CHUNK_EXT_NAME,     /* in a name */
    CHUNK_EXT_NAME_BWS, /* blanks behind a name: '=' or ';' */
    CHUNK_EXT_EQUALS,   /* behind '=' */
    CHUNK_EXT_VALUE,    /* in a token */
    CHUNK_EXT_QUOTED,   /* in a quoted string */
    CHUNK_EXT_ESCAPE,   /* behind its backslash */
    CHUNK_EXT_BAD
};

void h1_chunks_init(struct h1_chunks *ch)
{
    *ch = (struct h1_chunks){.state = CHUNK_SIZE};
}

static bool h1_chunk_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static enum chunk_extension
h1_chunk_ext_end(char c, enum chunk_extension blank, bool can_equal)
{
    if (h1_chunk_is_blank(c)) {
        return blank;
    }
    if (c == ';') {
        return CHUNK_EXT_SEMI;
    }
    return can_equal && c == '=' ? CHUNK_EXT_EQUALS : CHUNK_EXT_BAD;
}

static enum chunk_extension h1_chunk_ext_equals(char c)
{
    if (h1_chunk_is_blank(c)) {
        return CHUNK_EXT_EQUALS;
    }
    if (c == '"') {
        return CHUNK_EXT_QUOTED;
    }
    return chars_is(c, CHARS_TOKEN) ? CHUNK_EXT_VALUE : CHUNK_EXT_BAD;
}

static enum chunk_extension h1_chunk_ext_quoted(char c)
{
    if (c == '"') {
        return CHUNK_EXT_END;
    }
    if (c == '\\') {
        return CHUNK_EXT_ESCAPE;
    }
    return chars_is(c, CHARS_VALUE) ? CHUNK_EXT_QUOTED : CHUNK_EXT_BAD;
}

/* One step of the extension grammar; CR is handled by the caller. */
static enum chunk_extension h1_chunk_ext_step(enum chunk_extension at, char c)
{
    switch (at) {
    case CHUNK_EXT_END:
    case CHUNK_EXT_END_BWS:
        return h1_chunk_ext_end(c, CHUNK_EXT_END_BWS, false);
    case CHUNK_EXT_SEMI:
        if (h1_chunk_is_blank(c)) {
            return CHUNK_EXT_SEMI;
        }
        return chars_is(c, CHARS_TOKEN) ? CHUNK_EXT_NAME : CHUNK_EXT_BAD;
    case CHUNK_EXT_NAME:
        return chars_is(c, CHARS_TOKEN)
                   ? CHUNK_EXT_NAME
                   : h1_chunk_ext_end(c, CHUNK_EXT_NAME_BWS, true);
    case CHUNK_EXT_NAME_BWS:
        return h1_chunk_ext_end(c, CHUNK_EXT_NAME_BWS, true);
    case CHUNK_EXT_EQUALS:
        return h1_chunk_ext_equals(c);
    case CHUNK_EXT_VALUE:
        return chars_is(c, CHARS_TOKEN)
                   ? CHUNK_EXT_VALUE
                   : h1_chunk_ext_end(c, CHUNK_EXT_END_BWS, false);
    case CHUNK_EXT_QUOTED:
        return h1_chunk_ext_quoted(c);
    case CHUNK_EXT_ESCAPE:
        return chars_is(c, CHARS_VALUE) ? CHUNK_EXT_QUOTED : CHUNK_EXT_BAD;
    case CHUNK_EXT_BAD:
        break;
    }
    return CHUNK_EXT_BAD;
}

static bool h1_chunk_ext_may_end(uint8_t at)
{
    return at == CHUNK_EXT_END || at == CHUNK_EXT_NAME || at == CHUNK_EXT_VALUE;
}

static bool h1_chunk_on_size(struct h1_chunks *ch, char c)
{
    if (chars_is(c, CHARS_HEX)) {
        if (++ch->n_digits > CHUNK_DIGITS_MAX) {
            return false;
        }
        ch->left = ch->left << 4 | chars_hex(c);
        return ch->left <= INT64_MAX;
    }
    if (ch->n_digits == 0) {
        return false;
    }
    ch->extension_state = CHUNK_EXT_END;
    if (c == '\r') {
        ch->state = CHUNK_LINE_LF;
        return true;
    }
    ch->state = CHUNK_EXTENSION;
    ch->extension_state = (uint8_t)h1_chunk_ext_step(CHUNK_EXT_END, c);
    return ch->extension_state != CHUNK_EXT_BAD;
}

static bool h1_chunk_on_extension(struct h1_chunks *ch, char c)
{
    if (c == '\r') {
        ch->state = CHUNK_LINE_LF;
        return h1_chunk_ext_may_end(ch->extension_state);
    }
    ch->extension_state = (uint8_t)h1_chunk_ext_step(
        (enum chunk_extension)ch->extension_state, c);
    return ch->extension_state != CHUNK_EXT_BAD;
}

/* R-CHK-5: lines that carry next to nothing. Looked at once per line. */
static bool h1_chunk_is_wasteful(const struct h1_chunks *ch)
{
    const uint64_t overhead = ch->wire_bytes - ch->data_bytes;

    return ch->wire_bytes > CHUNK_OVERHEAD_FREE &&
           overhead / CHUNK_OVERHEAD_FACTOR > ch->data_bytes;
}

static bool h1_chunk_on_line_lf(struct h1_chunks *ch, char c)
{
    ch->state = ch->left == 0 ? CHUNK_LAST : CHUNK_DATA;
    return c == '\n' && !h1_chunk_is_wasteful(ch);
}

static bool h1_chunk_on_data_lf(struct h1_chunks *ch, char c)
{
    ch->state = CHUNK_SIZE;
    ch->n_digits = 0;
    ch->line_len = 0;
    return c == '\n';
}

/* One byte outside of data. False: malformed. */
static bool h1_chunk_step(struct h1_chunks *ch, char c)
{
    ch->wire_bytes++;
    if (++ch->line_len > CHUNK_LINE_BYTES_MAX) {
        return false;
    }
    switch ((enum chunk_state)ch->state) {
    case CHUNK_SIZE:
        return h1_chunk_on_size(ch, c);
    case CHUNK_EXTENSION:
        return h1_chunk_on_extension(ch, c);
    case CHUNK_LINE_LF:
        return h1_chunk_on_line_lf(ch, c);
    case CHUNK_DATA_CR:
        ch->state = CHUNK_DATA_LF;
        return c == '\r';
    case CHUNK_DATA_LF:
        return h1_chunk_on_data_lf(ch, c);
    case CHUNK_DATA:
    case CHUNK_LAST:
        break;
    }
    return false;
}

enum h1_chunk_result h1_chunks_next(struct h1_chunks *ch,
                                    const uint8_t *p,
                                    size_t len,
                                    size_t *used,
                                    struct str *data)
{
    size_t i = 0;

    while (i < len && ch->state != CHUNK_DATA) {
        if (!h1_chunk_step(ch, (char)p[i++])) {
            *used = i;
            return H1_CHUNK_BAD;
        }
        if (ch->state == CHUNK_LAST) {
            *used = i;
            return H1_CHUNK_TRAILER;
        }
    }
    if (i == len) {
        *used = len;
        return H1_CHUNK_MORE;
    }
    const size_t n = len - i < ch->left ? len - i : (size_t)ch->left;
    *data = str_make((const char *)p + i, n);
    *used = i + n;
    ch->left -= n;
    ch->data_bytes += n;
    ch->wire_bytes += n;
    if (ch->left == 0) {
        ch->state = CHUNK_DATA_CR;
        ch->line_len = 0;
    }
    return H1_CHUNK_DATA;
}
