"""5.3: Host and authority."""
from row import CLOSED, Saw, bad, get, good, head

# What no host is, by a name for the row.
NO_HOSTS = {
    # HAProxy 2026-04: a comma joins two hosts into one.
    "comma": "h,i", "comma-blank": "h, h", "userinfo": "u@h",
    "password": "u:p@h", "slash": "h/", "path": "h/a", "query": "h?a",
    "fragment": "h#a", "escape": "h%20", "escape-of-letter": "%68",
    "blank": "h i", "tab": "h\ti", "scheme": "http://h", "star": "*",
    "wildcard": "*.h", "plus": "h+i", "bang": "h!", "quote": '"h"',
    "backslash": "h\\i", "underline-of-8-bit": "h\xe9", "utf-8": "\xc3\xa9",
    "open-angle": "<h>", "semicolon": "h;a", "equals": "h=i",
    "pipe": "a|b", "dollar": "$h", "braces": "{h}",
    # ---- labels
    "label-empty": "a..b", "label-empty-first": ".a", "dot": ".",
    "two-dots-last": "a..", "port-only": ":80", "dot-port": ".:80",
    # ---- ports
    "port-empty": "h:", "port-0": "h:0", "port-00000": "h:00000",
    "port-65536": "h:65536", "port-99999": "h:99999",
    "port-6-digits": "h:000080", "port-word": "h:http", "port-hex": "h:0x50",
    "port-plus": "h:+80", "port-minus": "h:-80", "port-blank": "h: 80",
    "port-twice": "h:80:80", "port-dot": "h:80.", "port-fraction": "h:8.0",
    "port-path": "h:80/a", "port-20-digits": "h:18446744073709551696",
    # ---- CVE-2025-47912, CVE-2026-25679: what stands in brackets
    "bracket-open": "[", "bracket-unclosed": "[::1", "bracket-empty": "[]",
    "bracket-close": "::1]", "v6-without-brackets": "::1",
    "v6-bare-long": "2001:db8::1", "v6-behind": "[::1]x",
    "v6-two-compressions": "[1::2::3]", "v6-nine-groups":
    "[1:2:3:4:5:6:7:8:9]", "v6-seven-groups": "[1:2:3:4:5:6:7]",
    "v6-five-digits": "[12345::]", "v6-bad-digit": "[::g]",
    "v6-three-colons": "[:::1]", "v6-zone": "[fe80::1%eth0]",
    "v6-zone-escaped": "[fe80::1%25eth0]", "v6-blank": "[ ::1]",
    "v6-nested": "[[::1]]", "v6-port-empty": "[::1]:",
    "v6-port-behind-dot": "[::1].:80", "v6-bad-v4": "[::1.2.3.256]",
    "v-future": "[v1.a]", "bracket-v4": "[127.0.0.1]",
    "bracket-name": "[h]", "v6-in-name": "a[::1]",
    # ---- CVE-2024-32475: longer than 255
    "length-256": "a" * 256, "length-of-labels": "a." * 127 + "abc",
}
# How a host is written, and how it goes on.
HOSTS = {
    "plain": ("h", "h"), "labels": ("a.b.c", "a.b.c"),
    "upper-case": ("WWW.Example.COM", "www.example.com"),
    "default-port": ("h:80", "h"), "default-port-zeros": ("h:00080", "h"),
    "other-port": ("h:8080", "h:8080"), "port-zeros": ("h:0081", "h:81"),
    "port-1": ("h:1", "h:1"), "port-65535": ("h:65535", "h:65535"),
    "https-port-on-http": ("h:443", "h:443"),
    "dot-last": ("h.", "h"), "dot-and-port": ("h.:80", "h"),
    "dot-and-other-port": ("A.B.:81", "a.b:81"),
    "underscore": ("my_host", "my_host"), "digits": ("123", "123"),
    "hyphens": ("a-b--c", "a-b--c"), "puny": ("xn--e1afmkfd", "xn--e1afmkfd"),
    "v4": ("127.0.0.1", "127.0.0.1"), "v4-port": ("10.0.0.1:81",
                                                   "10.0.0.1:81"),
    "v6": ("[::1]", "[::1]"), "v6-any": ("[::]", "[::]"),
    "v6-port": ("[2001:db8::1]:81", "[2001:db8::1]:81"),
    "v6-default-port": ("[::1]:80", "[::1]"),
    "v6-upper-case": ("[2001:DB8::A]", "[2001:db8::a]"),
    "v6-mapped": ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
    "v6-whole": ("[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7:8]"),
    "blanks-around": (" \t h \t ", "h"),
    "length-255": ("a" * 255, "a" * 255),
}

ROWS = [
    # ---- R-HST-1, -2, -6: exactly one ------------------------------------------
    bad("hst-none", "R-HST-1", get(host=None), "bad_host"),
    bad("hst-none-but-fields", "R-HST-1", get("X: h", host=None), "bad_host"),
    bad("hst-two", "R-HST-1", get("Host: i"), "bad_host"),
    bad("hst-two-equal", "R-HST-1", get("Host: h"), "bad_host"),
    bad("hst-two-cases", "R-HST-1", get("hOST: h"), "bad_host"),
    bad("hst-two-apart", "R-HST-1", get("X: a", "Host: h"), "bad_host"),
    bad("hst-two-first-empty", "R-HST-1", get("Host: h", host=""), "bad_host"),
    bad("hst-two-second-empty", "R-HST-1", get("Host:"), "bad_host"),
    bad("hst-three", "R-HST-1", get("Host: h", "Host: h"), "bad_host"),
    bad("hst-two-1.0", "R-HST-1", get("Host: h", version="HTTP/1.0"),
        "bad_host"),
    bad("hst-empty", "R-HST-6", get(host=""), "bad_host"),
    bad("hst-blanks-only", "R-HST-6", get(host=" \t "), "bad_host"),
    bad("hst-empty-1.0", "R-HST-6", get(host="", version="HTTP/1.0"),
        "bad_host"),
    bad("hst-authority-is-none", "R-HST-1", get(":authority: h", host=None)),
    bad("hst-blank-before-colon", "R-HST-1",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n"),
    bad("hst-forwarded-is-none", "R-HST-1",
        get("X-Forwarded-Host: h", host=None), "bad_host"),

    # ---- R-HST-3: the grammar --------------------------------------------------
    *[bad(f"hst-{name}", "R-HST-3", get(host=host), "bad_host")
      for name, host in NO_HOSTS.items()],

    # ---- R-HST-4: what goes on -------------------------------------------------
    *[good(f"hst-good-{name}", "R-HST-4", get(host=host),
           Saw("GET /", host=seen), tls=":" not in host)
      for name, (host, seen) in HOSTS.items()],
    good("hst-no-blank-behind-colon", "R-HST-4",
         b"GET / HTTP/1.1\r\nHost:h\r\n\r\n", Saw("GET /")),
    good("hst-name-in-capitals", "R-HST-4",
         b"GET / HTTP/1.1\r\nHOST: h\r\n\r\n", Saw("GET /")),
    good("hst-last-line", "R-HST-4",
         head("GET / HTTP/1.1", "X: a", "Host: h", host=None),
         Saw("GET /", ("x: a",))),
    good("hst-1.0", "R-HST-4", get(version="HTTP/1.0"), Saw("GET /"),
         fate=CLOSED),
    # The default virtual host is a route that names no host.
    good("hst-none-1.0", "R-HST-2", get(host=None, version="HTTP/1.0"),
         Saw("GET /", host=None), fate=CLOSED),
]
