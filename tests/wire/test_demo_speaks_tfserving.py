"""The demo model server answers as TensorFlow Serving does: REST in row and
column form, gRPC in both spellings of a tensor, errors with the right code."""
import os
import re
import struct
import subprocess
import sys

import grpc
import httpx
import pytest

DEMO = os.environ.get("DEMO_BIN", "build/demo-server")
PROTOS = os.path.join(os.path.dirname(__file__), "..", "..", "demo")
MODEL = "/v1/models/half_plus_two"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def address():
    with subprocess.Popen([DEMO, "--listen", "127.0.0.1:0", "--name", "one"],
                          stdout=subprocess.PIPE, text=True) as demo:
        port = re.search(r"port (\d+)", demo.stdout.readline()).group(1)
        yield f"127.0.0.1:{port}"
        demo.terminate()
        assert demo.wait(10) == 0


@pytest.fixture(scope="module")
def pb(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("pb"))
    names = ["tensorflow", "tfserving", "health"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}",
                    f"--python_out={out}", *(n + ".proto" for n in names)],
                   check=True)
    sys.path.insert(0, out)
    yield {n: __import__(n + "_pb2") for n in names}
    sys.path.remove(out)


def call(address, path, request, answer):
    with grpc.insecure_channel(address) as channel:
        return channel.unary_unary(
            path, request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=answer.FromString)(request, timeout=5)


def request_of(pb, size, version=None, **values):
    request = pb["tfserving"].PredictRequest()
    request.model_spec.name = "half_plus_two"
    if version is not None:
        request.model_spec.version.value = version
    tensor = request.inputs["x"]
    tensor.dtype = pb["tensorflow"].DT_FLOAT
    tensor.tensor_shape.dim.add().size = size
    tensor.MergeFrom(pb["tensorflow"].TensorProto(**values))
    return request


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("body, answer", [
    ('{"instances":[1,2,5]}', '{"predictions":[2.5,3.0,4.5]}'),
    ('{"instances":[{"x":[1]},{"x":[2]}]}', '{"predictions":[[2.5],[3.0]]}'),
    ('{"inputs":{"x":[1,2,5]}}', '{"outputs":[2.5,3.0,4.5]}'),
    ('{"inputs":0.1}', '{"outputs":2.05}'),
])
def test_predict_rest(address, body, answer, http2):
    with httpx.Client(http1=not http2, http2=http2) as client:
        got = client.post(f"http://{address}{MODEL}:predict", content=body)
    assert (got.status_code, got.text) == (200, answer)
    assert got.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert got.headers["x-demo-server"] == "one"
    assert got.headers["x-model-version"] == "2"


@pytest.mark.parametrize("path, body, status, error", [
    (MODEL + ":predict", "{", 400, "JSON Parse error"),
    (MODEL + ":predict", "{}", 400, "Missing 'inputs' or 'instances' key"),
    (MODEL + ":predict", '{"instances":[[1],[1,2]]}', 400, "unexpected size"),
    (MODEL + ":predict", '{"instances":["a"]}', 400, "float"),
    (MODEL + ":predict?a=1", '{"instances":[1]}', 400, "Malformed request"),
    (MODEL + "/versions/9:predict", "{}", 404, "Specific(half_plus_two, 9)"),
    ("/v1/models/other:predict", "{}", 404, "Latest(other)"),
])
def test_errors_rest(address, path, body, status, error):
    got = httpx.post(f"http://{address}{path}", content=body)
    assert (got.status_code, list(got.json())) == (status, ["error"])
    assert error in got.json()["error"]


@pytest.mark.parametrize("version, served", [(None, 2), (1, 1), (2, 2)])
@pytest.mark.parametrize("values, answer", [
    ({"float_val": [1, 2, 5]}, [2.5, 3.0, 4.5]),
    ({"float_val": [4]}, [4.0, 4.0, 4.0]),
    ({"tensor_content": struct.pack("<3f", 1, 2, 5)}, [2.5, 3.0, 4.5]),
])
def test_predict_grpc(address, pb, values, answer, version, served):
    request = request_of(pb, 3, version, **values)
    got = call(address, PREDICT, request, pb["tfserving"].PredictResponse)
    assert list(got.outputs["y"].float_val) == answer
    assert got.model_spec.version.value == served


def test_status_and_metadata_grpc(address, pb):
    tf = pb["tfserving"]
    spec = tf.ModelSpec(name="half_plus_two")
    status = call(address, "/tensorflow.serving.ModelService/GetModelStatus",
                  tf.GetModelStatusRequest(model_spec=spec),
                  tf.GetModelStatusResponse).model_version_status
    assert [(s.version, s.state) for s in status] == [(2, 30), (1, 30)]
    got = call(
        address, "/tensorflow.serving.PredictionService/GetModelMetadata",
        tf.GetModelMetadataRequest(model_spec=spec,
                                   metadata_field=["signature_def"]),
        tf.GetModelMetadataResponse)
    names = tf.SignatureDefMap.FromString(got.metadata["signature_def"].value)
    assert names.signature_def["serving_default"].inputs["x"].name == "x:0"


@pytest.mark.parametrize("path, change, code", [
    (PREDICT, {"version": 9}, grpc.StatusCode.NOT_FOUND),
    (PREDICT, {"float_val": [1, 2]}, grpc.StatusCode.INVALID_ARGUMENT),
    (PREDICT, {"dtype": 2}, grpc.StatusCode.INVALID_ARGUMENT),
    (PREDICT + "ed", {}, grpc.StatusCode.UNIMPLEMENTED),
])
def test_errors_grpc(address, pb, path, change, code):
    with pytest.raises(grpc.RpcError) as caught:
        call(address, path, request_of(pb, 1, **change),
             pb["tfserving"].PredictResponse)
    assert caught.value.code() == code


def test_health(address, pb):
    health = pb["health"]
    path = "/grpc.health.v1.Health/"
    got = call(address, path + "Check", health.HealthCheckRequest(),
               health.HealthCheckResponse)
    assert got.status == 1
    with grpc.insecure_channel(address) as channel:
        watch = channel.unary_stream(
            path + "Watch", request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=health.HealthCheckResponse.FromString)
        stream = watch(health.HealthCheckRequest(service="no such"), timeout=5)
        assert next(stream).status == 3
        stream.cancel()
