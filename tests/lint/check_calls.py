#!/usr/bin/env python3
"""Calls that are banned, with what to use instead: everywhere, outside base/,
and in the folders that run on workers, which never wait and never lock."""
import re
from source import code, files, finish

ALL = "src/ modules/ demo/"
NOT_BASE = "src/net src/http src/upstream src/proxy src/control src/kube " \
    "src/main.c"
WORKER = "src/http src/upstream src/proxy"
RULES = [
    (ALL, "strcpy|strcat|strncpy|strncat", "copy by length: memcpy or str_*"),
    (ALL, "sprintf|vsprintf|gets", "use snprintf with the size of the target"),
    (ALL, "strtok|strtok_r", "split a struct str"),
    (ALL, "atoi|atol|atoll|atof", "use a parser that reports errors"),
    (ALL, "alloca", "the stack is small: use an arena"),
    (NOT_BASE, "strerror|localtime|gmtime|ctime|asctime",
     "not thread-safe: use the _r form or base/"),
    (ALL, "rand|srand|random|drand48", "use base/'s generator"),
    (ALL, "system|popen|vfork", "the gateway starts no programs"),
    (ALL, "assert", "use CHECK, which is always on"),
    (NOT_BASE, "malloc|calloc|realloc|strdup|strndup|asprintf|vasprintf",
     "use mem_new and its kin, which abort where there is no memory"),
    (WORKER, r"(?:pthread_(?:mutex|rwlock|cond|spin)|mtx|sem)_\w+",
     "no locks on workers: keep the state per worker, or send a mail"),
    (WORKER, "sleep|usleep|nanosleep|poll|select|epoll_wait|getaddrinfo|"
     "gethostbyname|fopen|fread|fgets|open|openat|stat|fsync|fdatasync|"
     "opendir|waitpid|sem_wait|flock",
     "a worker never waits: let the control thread do it, or use the loop"),
]
# The exact, process-wide wait line: the one short lock that workers share.
LOCK_ALLOWED = re.compile(r"src/upstream/(queue|rate)\w*\.[ch]$")


def call(names):
    return re.compile(rf"(?<![\w.>])(?<!->)(?:{names})\s*\(")


findings = []
for where, names, advice in RULES:
    pattern = call(names)
    for path in files("src/**/*.[ch]", "modules/**/*.[ch]", "demo/*.[ch]"):
        if not path.startswith(tuple(where.split())):
            continue
        if "no locks" in advice and LOCK_ALLOWED.match(path):
            continue
        for number, line in enumerate(code(path), 1):
            match = pattern.search(line)
            if match:
                findings.append(f"{path}:{number}: "
                                f"{match.group(0).rstrip('( ')}: {advice}")
finish(findings)
