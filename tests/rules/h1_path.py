"""5.8: the canonical path, which is what is forwarded."""
from row import CLOSED, KEPT, Row, Saw, bad, get, good, post

# What is written, and what goes on.
PATHS = {
    # ---- rules 2, 3: escapes
    "upper-digits": ("/%e2%82%ac", "/%E2%82%AC"),
    "mixed-digits": ("/%eF", "/%EF"),
    "decode-letter": ("/%61%7a%41%5A", "/azAZ"),
    "decode-digit": ("/%30%39", "/09"),
    "decode-marks": ("/%2d%2E%5f%7e", "/-._~"),
    "keep-blank": ("/a%20b", "/a%20b"), "keep-sub-delims":
    ("/%21%24%26%27%28%29%2a%2b%2c%3b%3d", "/%21%24%26%27%28%29%2A%2B%2C%3B%3D"),
    "keep-colon-at": ("/%3a%40", "/%3A%40"),
    "keep-question": ("/a%3fb", "/a%3Fb"), "keep-hash": ("/a%23b", "/a%23b"),
    "keep-percent": ("/a%25b", "/a%25b"), "keep-80": ("/%80", "/%80"),
    "keep-ff": ("/%ff", "/%FF"), "keep-brackets": ("/%5b%5d", "/%5B%5D"),
    "keep-quote": ("/%22%3c%3e", "/%22%3C%3E"),
    "keep-brace-pipe": ("/%7b%7c%7d%5e%60", "/%7B%7C%7D%5E%60"),
    # ---- rule 14: once, and no more
    "double-encoded-dot": ("/%252e%252e/a", "/%252e%252e/a"),
    "double-encoded-letter": ("/%2561", "/%2561"),
    "double-encoded-slash": ("/%252f", "/%252f"),
    "double-encoded-nul": ("/%2500", "/%2500"),
    # ---- rule 6: slashes
    "slashes-first": ("//a", "/a"), "slashes-inside": ("/a//b", "/a/b"),
    "slashes-last": ("/a//", "/a/"), "slashes-only": ("////", "/"),
    "slashes-and-dots": ("/a//.//b", "/a/b"),
    "slash-last-stays": ("/a/", "/a/"), "slash-none-stays": ("/a", "/a"),
    # ---- rule 7: dot segments
    "dot": ("/./a", "/a"), "dot-inside": ("/a/./b", "/a/b"),
    "dot-last": ("/a/.", "/a/"), "dot-alone": ("/.", "/"),
    "dots": ("/a/../b", "/b"), "dots-last": ("/a/b/..", "/a/"),
    "dots-to-root": ("/a/..", "/"), "dots-twice": ("/a/b/../../c", "/c"),
    "dots-over-slashes": ("/a//../b", "/b"),
    "dots-encoded": ("/a/%2e%2e/b", "/b"),
    "dots-half-encoded": ("/a/.%2E/b", "/b"),
    "dots-other-half": ("/a/%2e./b", "/b"), "dot-encoded": ("/%2e/a", "/a"),
    "dots-deep": ("/a/b/c/../../d/./e/..", "/a/d/"),
    # ---- what only looks like them
    "three-dots": ("/.../a", "/.../a"), "dot-file": ("/.git", "/.git"),
    "dots-prefix": ("/..a/b", "/..a/b"), "dots-suffix": ("/a../b", "/a../b"),
    "dot-suffix": ("/a./b", "/a./b"), "dots-blank": ("/a/..%20/b",
                                                     "/a/..%20/b"),
    # ---- rules 9, 10
    "params": ("/a;b=c/d;e", "/a;b=c/d;e"), "params-alone": ("/;a", "/;a"),
    "params-empty": ("/a;", "/a;"), "params-dots-behind": ("/a;/../b", "/b"),
    "params-with-dots": ("/a;..", "/a;.."), "case": ("/A/b/C", "/A/b/C"),
    "colon-first": ("/:a", "/:a"), "looks-absolute": ("/http://h/a",
                                                      "/http:/h/a"),
    "query-untouched": ("/a/../b?c/../d//e", "/b?c/../d//e"),
    "query-of-root": ("/.?a", "/?a"),
    "130-segments": ("/a/.." * 130 + "/b", "/b"),
    "2000-dots": ("/./." * 1000 + "/b", "/b"),
}
NO_PATHS = {
    # ---- rule 4: encoded controls
    "nul": "/%00", "nul-suffix": "/a%00.html", "lf": "/%0a", "cr": "/%0D",
    "crlf-injection": "/%0d%0aX:%20a", "tab": "/%09", "x01": "/%01",
    "x1f": "/%1f", "escape": "/%1b", "del": "/%7f",
    # ---- rule 5 (CVE-2021-29492)
    "slash": "/a%2fb", "slash-capital": "/a%2Fb", "backslash": "/a%5cb",
    "backslash-capital": "/a%5Cb", "slash-climbs": "/a%2f..%2fb",
    "slash-last": "/a%2f", "slash-first": "/%2fa",
    "backslash-climbs": "/a/..%5cb",
    # ---- rule 7: above the root (CVE-2019-9901)
    "climb": "/..", "climb-slash": "/../", "climb-name": "/../a",
    "climb-twice": "/a/../../b", "climb-encoded": "/%2e%2e/a",
    "climb-half-encoded": "/.%2e/a", "climb-slashes": "//../a",
    "climb-dots": "/./../a", "climb-deep": "/a/b/../../../c",
    "climb-behind-query-is-path": "/a/../..?b",
    # ---- rule 8 (CVE-2026-73511)
    "dot-params": "/.;a/b", "dots-params": "/a/..;/b",
    "dots-params-last": "/a/..;", "dots-params-name": "/a/..;x=y/b",
    "dots-params-encoded": "/a/%2e%2e;/b",
    "dot-params-half-encoded": "/a/.%2e;b/c",
}
LOOSE = {
    "slash": ("/a%2fb", "/a%2Fb"), "backslash": ("/a%5cb", "/a%5Cb"),
    "slash-with-dots": ("/a/..%2fb", "/a/..%2Fb"),
    "dots-still-go": ("/a%2fb/../c", "/c"),
}

# 5.8.12: a guard on /admin and on /exact cannot be walked round
# (CVE-2019-9901, CVE-2024-38473, CVE-2026-73551, CVE-2026-73553).
GUARDED = {
    "itself": "/admin", "below": "/admin/a", "slash": "/admin/",
    "query": "/admin?a", "slashes": "//admin", "slashes-inside":
    "/admin//a", "dot": "/./admin", "dots": "/a/../admin",
    "dots-below": "/admin/a/..", "dots-encoded": "/a/%2e%2e/admin",
    "letter-encoded": "/%61dmin", "all-encoded": "/%61%64%6d%69%6E",
    "params": "/admin;a=b", "params-below": "/admin;a/b",
    "params-empty": "/admin;", "params-alone-before": "/;a/admin",
    "params-before": "/;/admin", "params-and-dots": "/x;a/../admin",
    "params-encoded-name": "/%61dmin;a", "exact": "/exact",
    "exact-params": "/exact;a", "exact-dots": "/exact/b/../../exact",
    "exact-encoded": "/e%78act", "exact-slashes": "//exact",
}
# These are other paths, for the backend too.
UNGUARDED = {
    "case": ("/Admin", "/Admin"), "longer": ("/adminx", "/adminx"),
    "left": ("/admin/..", "/"), "left-for": ("/admin/../a", "/a"),
    "double-encoded": ("/%2561dmin", "/%2561dmin"),
    "in-params": ("/a;/admin", "/a;/admin"),
    "in-query": ("/?/admin", "/?/admin"), "exact-below": ("/exact/a",
                                                          "/exact/a"),
    "exact-slash": ("/exact/", "/exact/"), "escaped-semicolon":
    ("/admin%3ba", "/admin%3Ba"), "blank-behind": ("/admin%20",
                                                   "/admin%20"),
}
NOWHERE = {
    "slash-encoded": "/a%2f..%2fadmin", "backslash": "/a/..\\admin",
    "dots-params": "/a/..;/admin", "dot-params": "/.;/admin",
    "nul": "/admin%00", "lf": "/admin%0a", "fragment": "/admin#a",
    "fragment-before": "/#/admin", "above": "/../admin",
    "no-slash": "admin", "absolute-of-no-scheme": "://h/admin",
}

ROWS = [
    *[Row(f"pth-guarded-{name}", "5.8.12", get(target=path), (403,), KEPT,
          conf="guarded") for name, path in GUARDED.items()],
    *[good(f"pth-unguarded-{name}", "5.8.12", get(target=path),
           Saw(f"GET {seen}"), conf="guarded")
      for name, (path, seen) in UNGUARDED.items()],
    *[bad(f"pth-nowhere-{name}", "5.8.12", get(target=path), "bad_target",
          conf="guarded") for name, path in NOWHERE.items()],
    Row("pth-guarded-absolute", "5.8.12", get(target="http://h/a/../admin"),
        (403,), KEPT, conf="guarded", tls=False),
    Row("pth-guarded-body", "5.8.12",
        post("Content-Length: 5", body=b"12345", target="/admin"), (403,),
        KEPT, conf="guarded"),
    Row("pth-guarded-chunked", "5.8.12",
        post("Transfer-Encoding: chunked", target="/admin",
             body=b"5\r\n12345\r\n0\r\n\r\n"), (403,), CLOSED,
        conf="guarded"),
    *[good(f"pth-{name}", "5.8", get(target=path), Saw(f"GET {seen}"))
      for name, (path, seen) in PATHS.items()],
    # 5.8.13: what came out is not changed again.
    *[good(f"pth-again-{name}", "5.8.13", get(target=seen),
           Saw(f"GET {seen}"))
      for name, (path, seen) in PATHS.items()
      if path != seen and len(path) < 40 and name.startswith(
          ("upper", "decode", "keep", "params", "looks"))],
    *[bad(f"pth-no-{name}", "5.8", get(target=path), "bad_target")
      for name, path in NO_PATHS.items()],
    *[good(f"pth-loose-{name}", "5.8.5", get(target=path),
           Saw(f"GET {seen}"), conf="loose")
      for name, (path, seen) in LOOSE.items()],
    bad("pth-loose-nul", "5.8.4", get(target="/%2f%00"), "bad_target",
        conf="loose"),
    bad("pth-loose-raw-backslash", "5.8.5", get(target="/a\\b"),
        "bad_target", conf="loose"),
    bad("pth-loose-climb", "5.8.7", get(target="/a%2fb/../../c"),
        "bad_target", conf="loose"),
]
