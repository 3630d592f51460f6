/*
 * replay: runs a fuzz target over files, one after the other: `TARGET FILE...`.
 * Each name is told before the file is run, so that whoever called knows which
 * one ended the process. A file may take REPLAY_SECONDS.
 */
#include "fuzz.h"

#include <stdio.h>
#include <unistd.h>

enum { REPLAY_SECONDS = 30, REPLAY_BYTES_MAX = 1 << 20 };

static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *all = mem_new_raw(REPLAY_BYTES_MAX);
    printf("run %s\n", path);
    fflush(stdout);
    CHECK(f != NULL);
    const size_t len = fread(all, 1, REPLAY_BYTES_MAX, f);
    CHECK(len < REPLAY_BYTES_MAX && ferror(f) == 0);
    fclose(f);
    const struct str exact = fuzz_copy(str_make((const char *)all, len));
    mem_free(all);
    alarm(REPLAY_SECONDS);
    LLVMFuzzerTestOneInput((const uint8_t *)exact.p, exact.len);
    alarm(0);
    fuzz_free(exact);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        replay_file(argv[i]);
    }
    printf("ran %d\n", argc - 1);
    return 0;
}
