"""The fixtures of the wire tests: the actors of tests/wire/lib, ended after
each test in the reverse order of their start, and one merged log of all of
them when a test fails."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

# pylint: disable=wrong-import-position
from lib import wait  # noqa: E402
from lib.gateway import Gateway  # noqa: E402
from lib.rpc import RpcServer  # noqa: E402
from lib.server import Backend, Demo, RawServer  # noqa: E402
from lib.tls import Authority  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what all actors did; a skip is a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is not allowed: {report.longrepr}"
    actors = getattr(item, "wire_actors", [])
    if call.when == "call":
        item.wire_failed = report.failed
    if report.failed and actors and not getattr(item, "wire_told", False):
        item.wire_told = True
        for actor in actors:
            if hasattr(actor, "tell"):
                actor.tell(wait.transcript)
        report.sections.append(("all actors", wait.transcript.show()))


@pytest.fixture
def actors(request):
    """What was started in this test; each is stopped at its end."""
    wait.new_transcript()
    started = request.node.wire_actors = []
    yield started
    problems = []
    for actor in reversed(started):
        try:
            actor.stop()
        except Exception as problem:  # pylint: disable=broad-except
            problems.append(problem)
    if problems:
        raise problems[0]


def _starter(actors, make):
    def start(*args, **kw):
        actor = make(*args, **kw)
        actors.append(actor)
        return actor
    return start


@pytest.fixture
def gateway(actors, tmp_path):
    """gateway(conf, **values) -> a running lib.gateway.Gateway."""
    def start(conf, **kw):
        n = sum(isinstance(a, Gateway) for a in actors)
        kw.setdefault("name", "gateway" if n == 0 else f"gateway{n + 1}")
        actor = Gateway.__new__(Gateway)
        actors.append(actor)
        actor.__init__(conf, tmp_path, **kw)
        return actor
    return start


@pytest.fixture
def server(actors):
    """server(script, tls=None) -> a running lib.server.RawServer."""
    return _starter(actors, RawServer)


@pytest.fixture
def backend(actors):
    """backend(answer, protocol=...) -> a running lib.server.Backend."""
    return _starter(actors, Backend)


@pytest.fixture
def rpc_server(actors):
    """rpc_server(methods) -> a running lib.rpc.RpcServer."""
    return _starter(actors, RpcServer)


@pytest.fixture
def demo(actors):
    """demo(name) -> a running demo model server."""
    return _starter(actors, Demo)


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    """An authority that clients trust when told so."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def leaf(ca):
    """Its certificate for localhost, 127.0.0.1 and ::1."""
    return ca.leaf()


@pytest.fixture
def stranger(tmp_path):
    """Another authority, which nobody trusts."""
    return Authority(tmp_path, "stranger")
