"""The README's request answers through the gateway, over HTTP/1.1 and HTTP/2
by curl, and by gRPC on the same port."""
import os
import re
import struct

import pytest

from lib.client import Grpc, curl
from lib.gateway import ROOT

TF = "/tensorflow.serving."
LENGTH, VARINT = 2, 0


def field(number, value):
    """One protobuf field: bytes, or a small number."""
    if isinstance(value, int):
        return bytes([number << 3 | VARINT, value])
    return bytes([number << 3 | LENGTH, len(value)]) + value


SPEC = field(1, field(1, b"half_plus_two"))
TENSOR = (field(1, 1) + field(2, field(2, field(1, 3))) +
          field(5, struct.pack("<3f", 1, 2, 5)))
PREDICT = SPEC + field(2, field(1, b"x") + field(2, TENSOR))


def quickstart(one, two, leaf):
    """conf/quickstart.conf with our ports and our certificate."""
    with open(os.path.join(ROOT, "conf", "quickstart.conf"),
              encoding="utf-8") as f:
        conf = f.read()
    for old, new in {
            "0.0.0.0:8443": "0.0.0.0:@https@", "0.0.0.0:8080": "0.0.0.0:@http@",
            "127.0.0.1:9901": "127.0.0.1:@admin@",
            "127.0.0.1:8500": one.address, "127.0.0.1:8501": two.address,
            "../build/certs/quickstart.pem": str(leaf.chain),
            "../build/certs/quickstart.key": str(leaf.key)}.items():
        assert old in conf, old
        conf = conf.replace(old, new)
    return conf


@pytest.fixture
def running(gateway, demo, leaf):
    return gateway(quickstart(demo("one"), demo("two"), leaf))


@pytest.mark.parametrize("option, version", [("--http1.1", "1.1"),
                                             ("--http2", "2")])
def test_rest(running, option, version):
    got = curl("-k", option, "-w", " %{http_version}",
               running.url("https", "/v1/models/half_plus_two:predict"),
               "-d", '{"instances":[1,2,5]}')
    assert got == f'{{"predictions":[2.5,3.0,4.5]}} {version}'
    line = running.access_log(status=200)
    assert line["upstream"] == "models_rest" and line["fault"] == "-"


def test_grpc(running, ca):
    with Grpc(running.port("https"), ca) as channel:
        got = channel.unary(TF + "PredictionService/Predict", PREDICT)
        assert struct.pack("<3f", 2.5, 3.0, 4.5) in got
        got = channel.unary(TF + "ModelService/GetModelStatus", SPEC)
        assert field(1, 2) + field(2, 30) in got
    assert running.access_log(protocol="grpc", grpc_status=0)


def test_plain_port_redirects(running):
    got = curl("-i", running.url("http", "/v1/models?x=1"))
    assert re.match(r"HTTP/1.1 308 ", got)
    assert "location: https://127.0.0.1" in got.lower()
