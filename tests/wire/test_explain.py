"""daemun explain says beforehand what a running gateway does with a request,
and why each other listener, route and endpoint does not get it."""
import random
import re
import subprocess

from lib.client import ask
from lib.gateway import BIN, ROOT
from lib.server import reply
from lib.wait import wait_until


def explain(conf_path, url, *options, status=0):
    got = subprocess.run([BIN, "explain", "-c", str(conf_path), *options, url],
                         capture_output=True, text=True, timeout=60,
                         check=False)
    assert got.returncode == status, got.stdout + got.stderr
    return got.stdout if status == 0 else got.stderr


def told(text, word):
    """The rest of the first line that begins with `word`, or None."""
    found = re.search(rf"^{word} +(.*)$", text, re.M)
    return found and found.group(1)


def write(tmp_path, text):
    path = tmp_path / "explained.conf"
    path.write_text(text)
    return path


ROUTES = """
  { name = "exact_host"; host = "www.a.test"; path_prefix = "/"; upstream = "h"; },
  { name = "exact_path"; host = "www.a.test"; path = "/x/y"; upstream = "h"; },
  { name = "post"; host = "www.a.test"; path = "/x/y"; methods = [ "POST" ];
    upstream = "m"; },
  { name = "regex"; host = "www.a.test"; path_regex = "/r[0-9]+/.*";
    upstream = "h"; },
  { name = "wild"; host = "*.a.test"; path_prefix = "/x"; upstream = "m"; },
  { name = "canary"; host = "*.a.test"; path_prefix = "/x";
    headers = ( { name = "x-canary"; value = "yes"; } ); upstream = "h"; },
  { name = "no_debug"; path_prefix = "/x/y";
    headers = ( { name = "x-debug"; present = false; } ); upstream = "m"; },
  { name = "puts"; path_prefix = "/put"; methods = [ "PUT", "DELETE" ];
    upstream = "m"; },
  { name = "moved"; path_prefix = "/old"; redirect = {
    to = "https://${host}/new${path}"; status = 308; }; },
  { name = "text"; path = "/text"; answer = { status = 200; body = "hi"; }; },
  { name = "rest"; path_prefix = "/x/y/z"; upstream = "h"; },
  { name = "two"; listeners = [ "two" ]; path_prefix = "/x"; upstream = "h"; }
"""


def conf_of(backends):
    ends = " , ".join(f'{{ address = "{b}"; }}' for b in backends)
    return f"""
listeners = ( {{ name = "http"; address = "127.0.0.1:@http@"; }},
              {{ name = "two"; address = "127.0.0.1:@two@"; }} );
upstreams = {{
  h = {{ endpoints = ( {ends} ); balance = {{ policy = "ring_hash";
         hash_on = [ "header:x-user", "path", "cookie:id" ]; }}; }};
  m = {{ endpoints = ( {ends} ); balance = {{ policy = "maglev";
         table_size = 1009;
         hash_on = [ "source_ip", "query:model", "destination_port" ]; }}; }};
}};
routes = ( {ROUTES} );
"""


def access_line(g, mark):
    return wait_until(lambda: next((
        line for line in reversed(g.access_lines())
        if line["path"].endswith(mark)), None), f"an access line of {mark}")


def some_request(r):
    path = "".join(r.sample(["/x", "/y", "/z", "/r7", "/put", "/old", ";p"],
                            r.randint(0, 3))).lstrip(";p") or "/"
    if not path.startswith("/"):
        path = "/" + path
    fields = [f for f in (("x-canary", r.choice(["yes", "no"])),
                          ("x-debug", "1"), ("x-user", str(r.randint(0, 9))),
                          ("cookie", f"id={r.randint(0, 9)}"))
              if r.random() < 0.4]
    if r.random() < 0.5:
        path += f"?model=m{r.randint(0, 9)}"
    host = r.choice(["www.a.test", "b.a.test", "c.b.a.test", "other.test"])
    return (r.choice(["http", "two"]), host,
            r.choice(["GET", "POST", "PUT", "DELETE"]), path, fields)


def test_it_says_what_the_gateway_does(gateway, backend):
    """Two hundred requests: listener, route, upstream and endpoint that were
    told are those of the access log, and so is the status of a refusal."""
    backends = [backend(lambda _: reply(200, "ok")) for _ in range(5)]
    g = gateway(conf_of(backends))
    r = random.Random(7)
    n_by_route = {}
    for i in range(200):
        listener, host, method, path, fields = some_request(r)
        path += ("&" if "?" in path else "?") + f"n={i}"
        options = [o for f in fields for o in ("-H", f"{f[0]}: {f[1]}")]
        text = explain(g.conf_path,
                       f"http://{host}:{g.port(listener)}{path}",
                       "-X", method, *options)
        got = ask(g.port(listener), path, host=host, method=method,
                  fields=fields)
        line = access_line(g, f"n={i}")
        route = told(text, "route")
        n_by_route[route] = n_by_route.get(route, 0) + 1
        assert told(text, "listener").startswith(line["listener"] + " ")
        assert line["route"].replace("-", "none") == route
        answer = told(text, "answer")
        assert (answer is None) == (line["endpoint"] != "-")
        if answer is not None:
            assert int(answer.split()[0].rstrip(",")) == got.status
            continue
        assert told(text, "upstream").startswith(line["upstream"] + ":")
        assert told(text, "endpoint").split()[0] == line["endpoint"]
    assert len(n_by_route) >= 8


def losers(text):
    return dict(re.findall(r"^  not +(\S+?):? (?:\(\S+\): )?(.*)$", text, re.M))


def test_each_reason_is_told(tmp_path):
    path = write(tmp_path, conf_of(["10.0.0.1:80", "10.0.0.2:80"])
                 .replace("@http@", "8080").replace("@two@", "8081"))
    got = losers(explain(path, "http://www.a.test:8080/x/y"))
    assert got["exact_host"] == "it fits, but an exact path goes first"
    assert got["post"] == "its methods are POST"
    assert got["regex"] == "its path_regex is /r[0-9]+/.*"
    assert got["wild"] == "it fits, but host www.a.test is more specific"
    assert got["canary"] == "the request has no header x-canary"
    assert got["puts"] == "its path_prefix is /put/"
    assert got["text"] == "its path is /text"
    assert got["two"].startswith("it is for other listeners")
    got = losers(explain(path, "http://b.a.test:8080/x/y/z", "-H",
                         "X-Canary: yes", "-H", "x-debug: 1"))
    assert got["wild"] == "it fits, but the other one has more conditions"
    assert got["no_debug"] == ("the request has the header x-debug, which "
                               "must not be there")
    assert got["rest"] == "it fits, but host *.a.test is more specific"
    assert got["4"] == "others: for other hosts"
    got = losers(explain(path, "http://b.a.test:8080/x", "-H", "x-canary: no"))
    assert got["canary"] == ("the request has the header x-canary, but with "
                             "another value")


def test_answers_of_the_gateway(tmp_path):
    path = write(tmp_path, conf_of(["10.0.0.1:80"])
                 .replace("@http@", "8080").replace("@two@", "8081"))
    def answer(url, *options):
        return told(explain(path, "http://other.test:8080" + url, *options),
                    "answer")
    assert answer("/none").startswith("404 (no_route)")
    assert answer("/put").startswith("405 (")
    assert answer("/old/a?b") == "308 to https://other.test/new/old/a"
    assert answer("/text") == "200, 2 bytes of text/plain"
    assert answer("/a%2fb").startswith("400 (bad_target)")
    assert answer("/x", "-H", "a b: c").startswith("400 (")


def test_load_cookies_and_shares(tmp_path):
    path = write(tmp_path, """
listeners = ( { name = "http"; address = "0.0.0.0:8080"; } );
upstreams = {
  any = { endpoints = ( { address = "10.0.0.1:80"; },
                        { address = "10.0.0.2:80"; weight = 0; } );
          balance = { policy = "least_request"; }; };
  made = { endpoints = ( { address = "10.0.0.3:80"; } );
           host = "inside.test";
           balance = { policy = "maglev"; hash_on = [ "cookie:id" ];
                       mint_cookie = { name = "id"; }; }; };
  none = { endpoints = ( ); };
};
routes = (
  { path_prefix = "/split"; split = ( { upstream = "any"; weight = 3; },
                                      { upstream = "made"; weight = 1; } );
    request_headers = { set = { x-a = "b"; }; remove = [ "x-c" ]; }; },
  { path_prefix = "/none"; upstream = "none"; replace_prefix = "/all"; }
);
""")
    text = explain(path, "http://h/split")
    assert re.findall(r"^split +(.*)$", text, re.M) == [
        "75.0 % of the requests:", "25.0 % of the requests:"]
    assert "endpoint  any of them, by least_request\n" in text
    assert "  maybe   10.0.0.1:80\n" in text
    assert "  not     10.0.0.2:80: its weight is 0\n" in text
    assert "key       cookie:id is not there: a new one is made" in text
    assert "by maglev and the cookie that is made\n" in text
    assert "request   host is inside.test\n" in text
    assert 'request   x-a set to "b"\n' in text
    assert "request   without x-c\n" in text
    assert "if its port is the one that clients come to" in text
    text = explain(path, "http://h/split", "-H", "cookie: id=7")
    assert 'key       cookie:id = "7"\n' in text
    assert "endpoint  10.0.0.3:80 by maglev" in text
    text = explain(path, "http://h:8080/none/x")
    assert "request   path is /all/x\n" in text
    assert told(text, "answer").startswith("503 (no_endpoint)")


def test_wrong_input_is_explained(tmp_path):
    path = write(tmp_path, conf_of(["10.0.0.1:80"])
                 .replace("@http@", "8080").replace("@two@", "8081"))
    assert "write it as http://host/path" in explain(path, "/x", status=1)
    assert "write it as http://host/path" in explain(path, "ftp://h/", status=1)
    text = explain(path, "http://h:9/", status=1)
    assert "no listener takes http://h:9/" in text
    assert "two (127.0.0.1:8081): it has another port" in text
    assert "it has no TLS, and the URL is https" in explain(
        path, "https://h:8080/", status=1)
    assert "not an address" in explain(path, "http://h:8080/", "-s", "me",
                                       status=1)
    assert "cannot be opened" in explain(tmp_path / "none", "http://h/",
                                         status=1)
    bad = write(tmp_path, "listeners = 5;")
    assert f"{bad}:1: listeners" in explain(bad, "http://h/", status=1)
    assert "usage: daemun explain" in explain(path, "--frob", status=2)
    assert "name one URL only" in explain(path, "http://a/", "http://b/",
                                          status=2)


def test_the_example_of_the_readme():
    """The command and its answer stand there as they are."""
    with open(f"{ROOT}/README.md", encoding="utf-8") as f:
        text = f.read()
    command, answer = re.search(
        r"build/daemun explain -c (\S+ \S+)\n```\n```\n(.*?)```", text,
        re.S).groups()
    conf, url = command.split()
    assert explain(f"{ROOT}/{conf}", url) == answer
