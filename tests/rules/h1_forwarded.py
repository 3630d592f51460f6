"""5.14: what is told about the client."""
from row import CLOSED, Saw, bad, get, good

FORGED = ("X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: https",
          "X-Forwarded-Host: evil", "X-Forwarded-Port: 1",
          "X-Forwarded-Server: evil", "X-Forwarded-Prefix: /evil",
          "X-Forwarded-Any-Other: a", "X-Real-IP: 10.0.0.1",
          "Forwarded: for=10.0.0.1", "X-Request-Id: forged",
          # CVE-2023-27487: a name that only the gateway may write.
          "X-Daemun-Model: m", "X-DAEMUN-Any: a",
          "X-Client-Cert-Subject: CN=root", "X-Client-Cert-Sha256: 00",
          # CVE-2022-32148: empty, and repeated.
          "X-Forwarded-For:", "X-Request-Id:")
ROWS = [
    *[good(f"fwd-forged-{line.lower()}", "5.14", get("A: 1", line, "B: 2"),
           Saw("GET /", ("a: 1", "b: 2"))) for line in FORGED],
    good("fwd-forged-twice", "5.14",
         get("X-Forwarded-For: 10.0.0.1", "X: a", "X-Forwarded-For: 10.0.0.2"),
         Saw("GET /", ("x: a",))),
    good("fwd-forged-all", "5.14", get(*FORGED), Saw("GET /")),
    good("fwd-names-that-only-begin-so", "5.14",
         get("X-Forwarded: a", "X-Forward-For: b", "X-Daemun: c",
             "X-Real-IPs: d", "Forwarded-For: e"),
         Saw("GET /", ("x-forwarded: a", "x-forward-for: b", "x-daemun: c",
                       "x-real-ips: d", "forwarded-for: e"))),
    good("fwd-host-is-canonical", "5.14", get(host="WWW.Example.org.:80"),
         Saw("GET /", host="www.example.org"), tls=False),
    good("fwd-1.0", "5.14", get("X-Forwarded-For: 10.0.0.1",
                                version="HTTP/1.0"),
         Saw("GET /"), fate=CLOSED),
    # ---- an underscore is no way round it
    bad("fwd-underscore", "R-HDR-5", get("X_Forwarded_For: 10.0.0.1")),
    bad("fwd-underscore-own", "R-HDR-5", get("X_Daemun_Model: m")),
]
