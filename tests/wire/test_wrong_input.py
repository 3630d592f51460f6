"""Everything that an operator can get wrong is answered with what is wrong,
where, and how to mend it; `-t` and the start say the same."""
import os
import re
import socket
import subprocess

import pytest

from lib.gateway import BIN
from lib.ports import Port
from lib.wait import PATIENCE
from test_filters_are_an_onion import TEST_MODULES

LISTENER = 'listeners = ( { name = "http"; address = "127.0.0.1:@http@"; } );'
UPSTREAM = ('upstreams = { web = { endpoints = ( { address = "127.0.0.1:9"; '
            '} ); @more@ }; };')
ROUTE = 'routes = ( { path_prefix = "/"; upstream = "web"; } );'
GOOD = "\n".join([LISTENER, UPSTREAM, ROUTE])


def listener(more):
    return LISTENER.replace(" } );", f" {more} }} );") + "\n"


def upstream(more):
    return LISTENER + "\n" + UPSTREAM.replace("@more@", more) + "\n" + ROUTE


def route(text):
    return LISTENER + "\n" + UPSTREAM + "\nroutes = ( " + text + " );"


def endpoint(address):
    return upstream("").replace("127.0.0.1:9", address)


def tls(chain, key):
    return listener('tls = { certificates = ( { chain = "%s"; key = "%s"; } '
                    '); };' % (chain, key))


def hash_on(part):
    return upstream('balance = { policy = "maglev"; hash_on = [ "%s" ]; };'
                    % part)


def to(more):
    return route('{ path_prefix = "/"; %s }' % more)


# name: (conf, line, what follows "conf:LINE: ")
WRONG = {
    "unknown key": (
        GOOD + "\nnonsense = 1;", 4,
        "nonsense: unknown key; remove it, or use one of: admin, limits, "),
    "misspelt key": (
        "\n" + GOOD.replace("upstreams", "upstrems"), 3,
        'upstrems: unknown key; did you mean "upstreams"?'),
    "misspelt key deep down": (
        upstream('balance = { polcy = "maglev"; };'), 2,
        'upstreams.web.balance.polcy: unknown key; did you mean "policy"?'),
    "text for a number": (
        GOOD + '\nworkers = "two";', 4,
        "workers: must be a whole number, not text"),
    "fraction for a number": (
        GOOD + "\nworkers = 1.5;", 4, "workers: must be a whole number, not "),
    "number for a group": (
        route('{ path = "/"; answer = 1; }'), 3,
        "routes[0].answer: must be a group { ... }, not a number"),
    "group for a list": (
        'listeners = { };', 1, "listeners: must be a list"),
    "number for a flag": (
        GOOD + "\nwatch_files = 1;", 4, "watch_files: must be true or false"),
    "too large": (
        GOOD + "\nworkers = 1000;", 4,
        "workers: 1000 is too large; the largest value is 256"),
    "too small": (
        GOOD + "\nlimits = { streams_max = 0; };", 4,
        "limits.streams_max: 0 is too small; the smallest value is 1"),
    "no such word": (
        upstream('protocol = "http2";'), 2,
        'upstreams.web.protocol: "http2" is not one of http1, h2c, h2, auto; '
        'did you mean "http1"?'),
    "required one missing": (
        'listeners = ( { name = "a"; } );', 1,
        'listeners[0]: "address" is missing; add address = "...";'),
    "protocol that is none": (
        listener('protocols = [ "h3" ];'), 1,
        'listeners[0].protocols[0]: "h3" is not one of h2, http/1.1; did you '
        'mean "h2"?'),
    "no protocol at all": (
        listener('protocols = [ ];'), 1,
        "listeners[0].protocols: "),
    "no protocol left": (
        listener('protocols = [ "h2" ]; h2c = false;'), 1,
        'listeners[0].h2c: protocols has nothing but "h2"; remove this, or '
        'add "http/1.1" there'),
    "mode that is none": (
        listener('socket_mode = "0688";').replace("127.0.0.1:@http@",
                                                  "unix:/run/x.sock"), 1,
        'listeners[0].socket_mode: "0688" is no mode; write octal digits such '
        'as "0660"'),
    "mode of a port": (
        listener('socket_mode = "0660";'), 1,
        "listeners[0].socket_mode: only the file of a unix: address has a "
        "mode; remove this"),
    "list required": (
        UPSTREAM, None, '"listeners" is missing; add listeners = ( ... );'),
    "empty text": (
        listener('trusted_proxies = [ "" ];'), 1,
        "listeners[0].trusted_proxies[0]: is empty; write a value"),
    "key twice": (
        GOOD + "\n" + LISTENER, 4,
        "this name is in the same group twice; remove one: listeners"),
    "not closed": (
        'listeners = (\n  { name = "a";', 2,
        'syntax error here or before it: look for a missing ";", quote or '
        'bracket'),
    "quote not closed": (
        'listeners = (\n  { name = "a; } );', 2,
        "the text is not closed on its line; add the quote"),
    "comment not closed": (
        GOOD + "\n\n/* forgot", 5, "the comment is not closed; add */"),
    "include missing": (
        '\n@include "part.conf"\n', 2,
        "@folder@part.conf: cannot be opened: No such file or directory"),
    "certificate missing": (
        tls("no.pem", "@key@"), 1,
        "listeners[0].tls: @folder@no.pem: cannot be read: No such file or "
        "directory; correct the path"),
    "key missing": (
        tls("@chain@", "no.key"), 1,
        "listeners[0].tls: @folder@no.key: cannot be read: No such file"),
    "certificate is no PEM": (
        tls("rubbish", "@key@"), 1,
        "listeners[0].tls: @folder@rubbish: holds no certificate in PEM form"),
    "key is no PEM": (
        tls("@chain@", "rubbish"), 1,
        "listeners[0].tls: @folder@rubbish: holds no private key in PEM form"),
    "key of another certificate": (
        tls("@chain@", "@other_key@"), 1,
        "listeners[0].tls: @other_key@: the key does not belong"),
    "client_auth without client_ca": (
        tls("@chain@", "@key@").replace(
            "tls = {", 'tls = { client_auth = "required";'), 1,
        'listeners[0].tls.client_auth: "required" needs client_ca, the file '
        "of the authorities"),
    "name that is none": (
        endpoint("no.such.host.invalid:80"), 2,
        "upstreams.web.endpoints[0]: no.such.host.invalid: "),
    "no port": (
        endpoint("10.0.0.1"), 2,
        "upstreams.web.endpoints[0]: 10.0.0.1: must be host:port, "
        "[address]:port or unix:/path"),
    "port too large": (
        endpoint("10.0.0.1:99999"), 2,
        "upstreams.web.endpoints[0]: 10.0.0.1:99999: must be host:port, "
        "[address]:port or unix:/path; a port is a number from 1 to 65535"),
    "IPv6 without brackets": (
        endpoint("::1:80"), 2,
        "upstreams.web.endpoints[0]: ::1:80: must be host:port, "
        "[address]:port"),
    "address that is not ours": (
        LISTENER.replace("127.0.0.1", "192.0.2.1"), 1,
        "listeners[0]: 192.0.2.1:@http@: "),
    "bits of a network": (
        listener('trusted_proxies = [ "10.0.0.0/33" ];'), 1,
        "listeners[0].trusted_proxies[0]: 10.0.0.0/33: the number of bits "
        "must be 0 to 32"),
    "no network": (
        listener('trusted_proxies = [ "ten/8" ];'), 1,
        "listeners[0].trusted_proxies[0]: ten/8: "),
    "group of a regex": (
        to('path_regex = "/(a"; upstream = "web";').replace(
            'path_prefix = "/"; ', ""), 3,
        'routes[0]: regex "/(a": position 2: the group is never closed; add '
        "a ), or write \\( for a literal ("),
    "range of a regex": (
        to('path_regex = "/[z-a]"; upstream = "web";').replace(
            'path_prefix = "/"; ', ""), 3,
        'routes[0]: regex "/[z-a]": position 3: the range runs backwards; '
        "write the smaller end first"),
    "part of a hash key": (
        hash_on("sorce_ip"), 2,
        'upstreams.web.balance.hash_on[0]: "sorce_ip": not a part of a hash '
        'key; did you mean "source_ip"? valid parts: source_ip, '),
    "part without a name": (
        hash_on("cookie:"), 2,
        'upstreams.web.balance.hash_on[0]: "cookie:": cookie needs a name; '
        'write "cookie:NAME"'),
    "hash policy without a key": (
        upstream('balance = { policy = "maglev"; };'), 2,
        'upstreams.web.balance.policy: "maglev" needs hash_on, for example '
        'hash_on = [ "source_ip" ];'),
    "h2 without tls": (
        upstream('protocol = "h2";'), 2,
        'upstreams.web.protocol: "h2" is spoken over TLS; add tls = { }, or '
        'write "h2c" for HTTP/2 without TLS'),
    "upstream misspelt": (
        to('upstream = "wbe";'), 3,
        'routes[0].upstream: there is no upstream "wbe"; did you mean '
        '"web"?'),
    "upstream unknown": (
        to('upstream = "something";'), 3,
        'routes[0].upstream: there is no upstream "something"; add it to '
        "upstreams"),
    "listener unknown": (
        to('upstream = "web"; listeners = [ "htp" ];'), 3,
        'routes[0].listeners[0]: there is no listener "htp"; did you mean '
        '"http"?'),
    "two actions": (
        to('upstream = "web"; redirect = { to = "/x"; };'), 3,
        "routes[0]: has 2 actions (upstream, redirect); keep one of them"),
    "no action": (
        to(""), 3,
        "routes[0]: says what to match, but not what to do; add one of "
        "upstream, split, redirect and answer"),
    "status of a redirect": (
        to('redirect = { to = "/x"; status = 305; };'), 3,
        "routes[0].redirect.status: 305 is not a redirect with a URL; use "
        "301, 302, 303, 307 or 308"),
    "path without its slash": (
        route('{ path = "x"; upstream = "web"; }'), 3,
        'routes[0].path: must begin with "/"; write "/x"'),
    "method in small letters": (
        to('methods = [ "get" ]; upstream = "web";'), 3,
        'routes[0].methods[0]: methods are written in capitals; write "GET"'),
    "weights of nothing": (
        to('split = ( { upstream = "web"; weight = 0; } );'), 3,
        "routes[0].split: all weights are 0; give one upstream at least 1"),
    "variable of a log line": (
        GOOD + '\nlog = { access_format = "${tim}"; };', 4,
        "log.access_format: ${tim} is not a variable; did you mean "
        "${time}?"),
    "variable of a redirect": (
        to('redirect = { to = "https://${hots}/"; };'), 3,
        "routes[0].redirect.to: ${hots} is not a variable; did you mean "
        "${host}? there are ${authority}, ${host}, ${path}, ${query}, "
        "${request_uri}"),
    "variable that is not closed": (
        to('redirect = { to = "https://${host/"; };'), 3,
        'routes[0].redirect.to: "${" without "}"; close it, as in '
        '"${host}"'),
    "no such user": (
        GOOD + '\nuser = "nosuchuser";', 4,
        'user: there is no user "nosuchuser" on this machine; make it '
        "(useradd -r nosuchuser), or name another one"),
    "folder of a log": (
        GOOD + '\nlog = { error = "/no/such/x.log"; };', 4,
        "log.error: /no/such/x.log: cannot be opened for writing: No such "
        "file or directory; make its folder, or name another file"),
    "log that is a folder": (
        GOOD + '\nlog = {\naccess = "."; };', 5,
        "log.access: @folder@.: cannot be opened for writing: Is a directory; "
        "name a file in it"),
    "folder of the pid file": (
        GOOD + '\npid_file = "no/x.pid";', 4,
        "pid_file: @folder@no/x.pid: cannot be written: No such file or "
        "directory; make its folder, or name another file"),
    "ticket keys missing": (
        GOOD + '\ntls = { ticket_key_file = "no.keys"; };', 4,
        "tls.ticket_key_file: @folder@no.keys: cannot be read: No such file "
        "or directory; correct the path"),
    "ticket keys that are none": (
        GOOD + '\ntls = { ticket_key_file = "rubbish"; };', 4,
        "tls.ticket_key_file: @folder@rubbish: ticket keys must be lines of "
        "base64, or raw keys, of 48 or 80 bytes each; `openssl rand -out FILE "
        "80` makes one"),
    "address of the admin pages": (
        GOOD + '\nadmin = { address = "localhost"; };', 4,
        "admin.address: localhost: must be host:port, [address]:port or "
        "unix:/path"),
    "module missing": (
        GOOD + '\nmodules = [ "none.so" ];', 4,
        "modules[0]: none.so: cannot be loaded: No such file or directory"),
    "module is none": (
        GOOD + '\nmodules = [ "rubbish" ];', 4,
        "modules[0]: rubbish: cannot be loaded: "),
    "module of another ABI": (
        GOOD + f'\nmodules = [ "{TEST_MODULES}/other_abi.so" ];', 4,
        f"modules[0]: {TEST_MODULES}/other_abi.so: built for module ABI 3, "
        "this daemun has 1; compile it again"),
    "filter unknown": (
        GOOD.replace('"web"; }', '"web"; filters = ( { name = "none"; } ); }'),
        3, 'routes[0].filters[0]: no module offers a filter "none"'),
}


@pytest.fixture(scope="module")
def files(ca):
    leaf = ca.leaf()
    return {"chain": leaf.chain, "key": leaf.key,
            "other_key": ca.leaf().key, "more": ""}


def daemun(*args):
    return subprocess.run([BIN, *map(str, args)], capture_output=True,
                          text=True, timeout=PATIENCE * 2, check=False,
                          stdin=subprocess.DEVNULL)


def fill(text, folder, files, port):
    for name, value in {**files, "http": port,
                        "folder": f"{folder}/"}.items():
        text = text.replace(f"@{name}@", str(value))
    return text


@pytest.fixture
def port():
    held = Port()
    yield held.give()
    held.release()


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name, tmp_path, files, port):
    conf, line, message = (fill(x, tmp_path, files, port)
                           if isinstance(x, str) else x for x in WRONG[name])
    (tmp_path / "rubbish").write_text("rubbish\n")
    path = tmp_path / "d.conf"
    path.write_text(conf)
    where = f"{path}:{line}: " if line else f"{path}: "
    if name == "address that is not ours":
        # Only the start opens sockets.
        assert daemun("-t", "-c", path).returncode == 0
    else:
        test = daemun("-t", "-c", path)
        assert test.returncode == 1
        assert where + message in test.stderr
        assert test.stderr.endswith("daemun: 1 problem\n") and \
            test.stderr.count("\n") == 2, test.stderr
        assert test.stdout == ""
    start = daemun("-c", path)
    assert start.returncode == 1
    assert where + message in start.stderr


def test_all_problems_are_told_at_once(tmp_path):
    path = tmp_path / "d.conf"
    path.write_text("nonsense = 1;\nworkers = -1;\n" + to('upstream = "a";')
                    .replace("@http@", "1").replace("@more@", "x = 1;"))
    got = daemun("-t", "-c", path)
    lines = re.findall(r"^.*d\.conf:(\d+): (\S+): ", got.stderr, re.M)
    assert lines == [("1", "nonsense"), ("2", "workers"),
                     ("4", "upstreams.web.x"), ("5", "routes[0].upstream")]
    assert got.stderr.endswith("daemun: 4 problems\n")


@pytest.mark.parametrize("what", ["listener", "admin"])
def test_port_in_use(tmp_path, what):
    with socket.socket() as taken, socket.socket() as other:
        for s in (taken, other):
            s.bind(("127.0.0.1", 0))
        taken.listen()
        used, free = (s.getsockname()[1] for s in (taken, other))
        other.close()
        ports = (used, free) if what == "listener" else (free, used)
        path = tmp_path / "d.conf"
        path.write_text(LISTENER.replace("@http@", str(ports[0])) + '\nadmin '
                        '= { address = "127.0.0.1:%d"; };\n' % ports[1])
        assert daemun("-t", "-c", path).returncode == 0
        got = daemun("-c", path)
    where = f"{path}:1: listeners[0]" if what == "listener" else \
        f"{path}:2: admin.address"
    assert got.returncode == 1
    assert (f"{where}: 127.0.0.1:{used}: another process listens on port "
            f"{used} (`ss -ltnp sport = :{used}` names it)") in got.stderr


def test_looking_makes_no_file(tmp_path, port):
    """-t opens nothing, and where something else is wrong neither does the
    start."""
    path = tmp_path / "d.conf"
    good = LISTENER.replace("@http@", str(port)) + \
        'log = { error = "e.log"; access = "a.log"; }; pid_file = "x.pid";'
    path.write_text(good)
    got = daemun("-t", "-c", path)
    assert got.returncode == 0, got.stderr
    path.write_text(good + 'tls = { ticket_key_file = "no.keys"; };')
    assert daemun("-c", path).returncode == 1
    assert [f.name for f in tmp_path.iterdir()] == ["d.conf"]


def test_a_folder_that_may_not_be_written(tmp_path, port):
    """What root may do anyway, others are told of."""
    folder = tmp_path / "closed"
    folder.mkdir(0o555)
    path = tmp_path / "d.conf"
    path.write_text(LISTENER.replace("@http@", str(port)) +
                    'pid_file = "closed/x.pid";')
    got = daemun("-t", "-c", path)
    if os.geteuid() == 0:
        assert got.returncode == 0, got.stderr
    else:
        assert got.returncode == 1
        assert (f"{path}:1: pid_file: {folder}/x.pid: cannot be written: "
                "Permission denied") in got.stderr
    assert not any(folder.iterdir())


def test_every_phase_tells_its_problems(tmp_path, files):
    """Values, names that refer to nothing, files, and what the machine lacks:
    all at once, none twice, none as the consequence of another."""
    path = tmp_path / "d.conf"
    path.write_text("""
listeners = ( { name = "l"; address = "127.0.0.1:1"; nam = 1;
  tls = { certificates = ( { chain = "no.pem"; key = "no.key"; } ); }; } );
workers = 1000;
log = { access_format = "${x}"; level = "loud"; error = "/no/e"; };
upstreams = { u = {
  endpoints = ( { address = "here"; }, { address = "127.0.0.1:99999"; } );
  balance = { policy = "maglev"; hash_on = [ "cokie:a" ]; }; tls = {
  ca = "no.ca"; }; }; };
routes = ( { upstream = "v";
  filters = ( { name = "f"; } ); } );
modules = [ "no.so" ];
user = "nosuchuser";
tls = { ticket_key_file = "no.keys"; };
""")
    test, start = daemun("-t", "-c", path), daemun("-c", path)
    lines = re.findall(r"^.*d\.conf:(\d+): (\S+): ", test.stderr, re.M)
    assert sorted(lines, key=lambda found: int(found[0])) == [
        ("2", "listeners[0].nam"), ("3", "listeners[0].tls"),
        ("3", "listeners[0].tls"), ("4", "workers"), ("5", "log.level"),
        ("5", "log.error"), ("5", "log.access_format"),
        ("7", "upstreams.u.endpoints[0]"), ("7", "upstreams.u.endpoints[1]"),
        ("8", "upstreams.u.tls"), ("8", "upstreams.u.balance.hash_on[0]"),
        ("10", "routes[0].upstream"), ("12", "modules[0]"), ("13", "user"),
        ("14", "tls.ticket_key_file")]
    assert test.stderr.endswith("daemun: 15 problems\n")
    told = re.findall(r"^.*d\.conf:.*$", start.stderr, re.M)
    # Only the start opens sockets, of which this one may or may not be had.
    assert [t for t in told if "127.0.0.1:1:" not in t] == \
        re.findall(r"^.*d\.conf:.*$", test.stderr, re.M)


@pytest.mark.parametrize("make, message", [
    (lambda path: None, "d.conf: cannot be opened: No such file or directory"),
    (lambda path: path.mkdir(), "d.conf: is a folder; name a file in it"),
    (lambda path: path.write_bytes(b"a\0b"), "d.conf:1: has a NUL byte"),
    (lambda path: path.touch(), 'd.conf: "listeners" is missing')])
def test_conf_file_itself(tmp_path, make, message):
    path = tmp_path / "d.conf"
    make(path)
    for args in (["-t"], []):
        got = daemun(*args, "-c", path)
        assert got.returncode == 1 and message in got.stderr, got.stderr


def test_relative_paths_are_relative_to_the_conf_file(tmp_path, files, port):
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "a.pem").write_bytes(files["chain"].read_bytes())
    (tmp_path / "certs" / "a.key").write_bytes(files["key"].read_bytes())
    path = tmp_path / "d.conf"
    path.write_text(fill(tls("certs/a.pem", "certs/a.key"), tmp_path, files,
                         port))
    got = daemun("-t", "-c", path)
    assert (got.returncode, got.stdout) == (0, f"{path}: good\n")
    got = subprocess.run([BIN, "-t", "-c", "d.conf"], cwd=tmp_path,
                         capture_output=True, text=True, check=False)
    assert got.returncode == 0, got.stderr


@pytest.mark.parametrize("args, text", [
    ([], "name the conf file with -c FILE"), (["-t"], "name the conf file"),
    (["-x"], "invalid option -- 'x'"), (["-c"], "requires an argument -- 'c'"),
    (["-c", "a.conf", "b.conf"], "name the conf file"),
    (["-x", "-t", "-c", "a.conf"], "invalid option -- 'x'"),
    (["-t", "-c"], "requires an argument -- 'c'"),
    (["-t", "-c", "a.conf", "b.conf"], "name the conf file")])
def test_wrong_command_line(args, text):
    """-t exits 0 or 1, whatever goes wrong."""
    got = daemun(*args)
    assert got.returncode == (1 if "-t" in args else 2) and got.stdout == ""
    assert text in got.stderr and "usage: daemun -c FILE" in got.stderr


def test_help_and_version():
    got = daemun("-h")
    assert got.returncode == 0 and got.stderr == ""
    for word in ("-c FILE", "-t", "-V", "HUP", "TERM", "USR1"):
        assert word in got.stdout
    got = daemun("-V")
    assert got.returncode == 0
    for line in (r"daemun \d+\.\d+\.\d+", r"libevent 2\.", r"OpenSSL 3\.",
                 r"nghttp2 1\.", r"xxHash 0\.", r"libconfig 1\.[\d.]+ \(built with\)$"):
        assert re.search(rf"^{line}", got.stdout, re.M), got.stdout
